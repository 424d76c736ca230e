"""The pair force of any potential as a table: what `amorph.handover.build_table` makes."""

import hoomd
import numpy as np
from hoomd.amorph import _amorph
from hoomd.amorph.acting import as_bytes, exclusions_at_work, others_at_work
from hoomd.amorph.formulas import LONG, LONGEST, check_built_for, pairs_of
from hoomd.data.parameterdicts import TypeParameterDict
from hoomd.data.typeconverter import NDArrayValidator
from hoomd.data.typeparam import TypeParameter
from hoomd.error import IncompleteSpecificationError
from hoomd.logging import log
from hoomd.md.pair import Pair

__all__ = ["Table"]


class Table(Pair):
    r"""Tabulated pair force, twice differentiable between the breaks of its formula.

    The table is that of `amorph.ensemble`, and so is the force, to round-off: polynomials of
    :math:`r^2`, to 1e-8 of the formula unless said otherwise. Beyond the cutoff there is nothing,
    below the first distance a soft wall.

    Args:
        nlist (hoomd.md.nlist.NeighborList): neighbour list.
        default_r_cut (float): for pairs whose ``r_cut`` is not set :math:`[\mathrm{length}]`.

    .. py:attribute:: params

        By pair of types, as ``of_pair`` of an `amorph.handover.PairTable` gives them:
        ``coefficients`` (2 + breaks,), ``cells`` (n_cells, 8), ``bits``.

    Example::

        table = amorph.handover.build_table(...)
        force = hoomd.amorph.pair.Table.from_theta(table, types=["A", "B"])
    """

    __module__ = "hoomd.amorph.pair"  # where it is found, and what it is logged under
    _ext_module = _amorph
    _cpp_class_name = "PotentialPair_table"
    _accepted_modes = ("none",)

    def __init__(self, nlist, default_r_cut=None):
        super().__init__(nlist, default_r_cut=default_r_cut, default_r_on=0.0, mode="none")
        self._theta, self._types = None, None
        self._add_typeparam(
            TypeParameter(
                "params",
                "particle_types",
                TypeParameterDict(
                    coefficients=NDArrayValidator(np.float64),
                    cells=NDArrayValidator(np.float64, shape=(None, 8), order="C"),
                    bits=int,
                    len_keys=2,
                ),
            )
        )

    @classmethod
    def from_theta(cls, theta, types, nlist=None, **settings):
        """The force of a table, or of a potential that has one.

        Args:
            theta: an `amorph.handover.PairTable`, or a potential whose ``table()`` gives one.
            types (Sequence[str]): the types' names, in theta's order.
            nlist (hoomd.md.nlist.NeighborList): neighbour list; by default cells with a buffer of
                0.3 of the largest diameter.
            settings: as the class takes them.

        Raises:
            ValueError: for what is no table, or a wrong number of types.
        """
        if not hasattr(theta, "of_pair") and callable(getattr(theta, "table", None)):
            theta = theta.table()
        if not hasattr(theta, "of_pair"):
            raise ValueError(
                f"theta is {theta!r}: it must be a table, as amorph.handover.build_table makes it, "
                "or have one by its table()."
            )
        if len(types) != theta.n_types:
            raise ValueError(f"there are {len(types)} types, but {theta.n_types} in the table.")
        if nlist is None:
            nlist = hoomd.md.nlist.Cell(buffer=0.3 * float(np.max(theta.diameters)))
        force = cls(nlist=nlist, **settings)
        for s, t in zip(*np.triu_indices(len(types)), strict=True):
            coefficients, cells = theta.of_pair(int(s), int(t))
            pair = (types[s], types[t])
            force.params[pair] = dict(coefficients=coefficients, cells=cells, bits=int(theta.bits))
            force.r_cut[pair] = float(theta.r_cut[s, t])
        force._theta, force._types = theta, list(types)
        return force

    def to_theta(self, types=None):
        """The table that the force was made of.

        Args:
            types (Sequence[str]): the types' names in order; by default those it was made with.

        Raises:
            ValueError: if it was not made of a table, for other types, or where parameters or
                ``r_cut`` were changed since.
        """
        if self._theta is None or self._types is None:
            raise ValueError("the force was not made by Table.from_theta: there is no table of it.")
        if types is not None and list(types) != self._types:
            raise ValueError(f"types are {list(types)}: the force was made for {self._types}.")
        self.check_own_cutoffs(self._types)
        for s, t in zip(*np.triu_indices(len(self._types)), strict=True):
            own = self.params[(self._types[s], self._types[t])]
            for name, value in zip(
                ("coefficients", "cells"), self._theta.of_pair(int(s), int(t)), strict=True
            ):
                if not np.array_equal(np.asarray(own[name]), value):
                    raise ValueError(
                        f"params[{(self._types[s], self._types[t])}] were changed: they are no "
                        "longer those of the table."
                    )
        return self._theta

    def check_own_cutoffs(self, types):
        """Raise where a cutoff is not the table's own: the engine has no others.

        Args:
            types (Sequence[str]): the types' names.

        Raises:
            ValueError: if ``r_cut`` was set to something else, or there is no table.
        """
        if self._theta is None or list(types) != self._types:
            raise ValueError(
                f"the force is not made for the types {list(types)}: make it by Table.from_theta."
            )
        for s, t in zip(*np.triu_indices(len(types)), strict=True):
            pair, own = (types[s], types[t]), float(self._theta.r_cut[s, t])
            if abs(self.r_cut[pair] - own) > 1e-6 * own:
                raise ValueError(
                    f"r_cut[{pair}] = {self.r_cut[pair]}: Amorph's engine has the table's own, "
                    f"{own}, alone. Leave r_cut out."
                )

    def _attach_hook(self):
        for pair in pairs_of(self._simulation.state.particle_types):
            if self.params.param_dict.get(pair) is None:
                raise IncompleteSpecificationError(
                    f"Table has no parameters for the types {pair}: make it by Table.from_theta."
                )
        check_built_for(self._simulation.device)
        super()._attach_hook()

    @log(category="sequence", requires_run=True)
    def potential(self):
        """The formula's name, in bytes."""
        return as_bytes("table" if self._theta is None else self._theta.potential, LONG)

    @log(category="sequence", requires_run=True)
    def applied_exclusions(self):
        """The exclusions of the neighbour list that leave out pairs of this system, in bytes."""
        return as_bytes(exclusions_at_work(self._simulation, self.nlist), LONGEST)

    @log(category="sequence", requires_run=True)
    def other_forces(self):
        """The names of all that acts on the particles besides this force, in bytes."""
        return as_bytes(others_at_work(self._simulation, self), LONGEST)
