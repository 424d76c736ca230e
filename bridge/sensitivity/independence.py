"""Independent response: how many features parameters can tune apart, and by how much.

The Jacobian J of features by parameters has a singular value for each independent way: a change of
the parameters along its right vector (a relevant design mode) changes the features along its left
one (a set of compatible feature strains), by so much (the susceptibility). Source: Zu, Desai and
Goodrich, "Fully independent response in disordered solids", eqs. 2 to 4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import InputError
from amorph.handover.arguments import positive, real_numbers
from amorph.handover.showing import shown, spread_shown

from ..features.registry import Feature
from ..matter.mechanics import interactions, state_of
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..minima.relaxing import relax
from .jacobian import Jacobian, jacobian
from .parameters import Choice

__all__ = ["Independence", "independence"]

Array = NDArray[np.float64]

# The packing that is differentiated once more is shaken before it comes to rest again: so much that
# every rounding is another, so little that it is the same minimum: by this part of a diameter, and
# by no more than this part of what its forces compress its stiffest pair by.
SHAKEN, SHAKEN_OVERLAP = 1e-8, 1e-7
# Singular values below so many times their uncertainty are none.
ERRORS = 10.0


@dataclass(frozen=True, eq=False)
class Independence:
    """A Jacobian's singular values, and which of them are there.

    Attributes
    ----------
    jacobian:
        The derivatives in reduced units.
    feature_units, parameter_units:
        (n_rows,) and (n_columns,): what features and parameters are counted in.
    matrix:
        (n_rows, n_columns) the Jacobian in these units.
    difference:
        (n_rows, n_columns) between J and that of the same packing at rest once more, in these
        units: what round-off makes of J.
    left, susceptibilities, right:
        (n_rows, K), (K,), (K, n_columns): compatible feature strains, singular values, largest
        first, and relevant design modes, K = min(n_rows, n_columns).
    """

    jacobian: Jacobian
    feature_units: Array
    parameter_units: Array
    matrix: Array
    difference: Array

    @cached_property
    def _decomposed(self) -> tuple[Array, Array, Array]:
        return np.linalg.svd(self.matrix, full_matrices=False)

    @property
    def left(self) -> Array:
        """Compatible feature strains, a column each."""
        return self._decomposed[0]

    @property
    def susceptibilities(self) -> Array:
        """The singular values, largest first."""
        return self._decomposed[1]

    @property
    def right(self) -> Array:
        """Relevant design modes, a row each."""
        return self._decomposed[2]

    @property
    def error(self) -> float:
        """How far J is uncertain, the largest singular value of `difference`.

        No singular value is off by more (Weyl).
        """
        return _uncertain(self.matrix, self.difference)

    @cached_property
    def _balanced(self) -> tuple[Array, float]:
        """The singular values where all rows and columns are as long, and their uncertainty."""
        matrix, difference = self.matrix, self.difference
        for axis in (0, 1):
            length = np.linalg.norm(matrix, axis=axis, keepdims=True)
            # What is nothing but round-off must not be made as long as the others.
            known = length > ERRORS * np.linalg.norm(difference, axis=axis, keepdims=True)
            scale = np.where(known, length, 1.0)
            matrix, difference = (np.where(known, m / scale, 0.0) for m in (matrix, difference))
        return _singular_values(matrix), _uncertain(matrix, difference)

    @property
    def rank(self) -> int:
        """How many features can be tuned independently.

        Since the rank does not depend on what features and parameters are counted in, it is found
        where all of them weigh the same, each row and column of J being of length 1: else the
        round-off of a few large derivatives would hide small ones that are known as well. (Rows and
        columns that are not ten times as long as their own round-off count as nothing.) It is the
        number of singular values there that exceed ten times their uncertainty.
        """
        values, error = self._balanced
        return int(np.sum(values > ERRORS * error))

    @property
    def margin(self) -> float:
        """The least of the singular values that count over their uncertainty; 0 of rank 0."""
        values, error = self._balanced
        return float(values[self.rank - 1] / error) if self.rank else 0.0

    @property
    def fully_independent(self) -> bool:
        """Whether the rank is as large as it can be."""
        return self.rank == min(self.matrix.shape)

    def __repr__(self) -> str:
        n_rows, n_columns = self.matrix.shape
        how = "fully" if self.fully_independent else "partially"
        return shown(
            f"Independence: {self.rank} of {n_rows} components of features by {n_columns} "
            f"parameters, {how} independent",
            [
                ("features", ", ".join(self.jacobian.features)),
                ("parameters", ", ".join(self.jacobian.choices)),
                ("susceptibilities", spread_shown(self.susceptibilities)),
                ("uncertain by", f"{self.error:.2g}"),
                ("least that counts", f"{self.margin:.2g} times its uncertainty"),
            ],
        )

    def change(self, wanted: ArrayLike) -> Array:
        """The shortest change of the parameters that by linear response changes the features so.

        Source: eq. 4, the pseudo-inverse over the singular values that are there.

        Parameters
        ----------
        wanted:
            (n_rows,) changes of the components of features, in reduced units, in the order of
            ``jacobian.rows``.

        Returns (n_columns,) in reduced units, in the order of ``jacobian.columns``.

        Raises `InputError` for another number of changes.
        """
        asked = real_numbers("wanted", wanted)
        if asked.shape != self.feature_units.shape:
            raise InputError(
                f"wanted has shape {asked.shape}: give one change for each of the "
                f"{len(self.feature_units)} components, {', '.join(self.jacobian.rows)}."
            )
        k = self.rank
        along = self.left[:, :k].T @ (asked / self.feature_units)
        found = self.right[:k].T @ (along / self.susceptibilities[:k])
        return np.asarray(found * self.parameter_units)

    def reached(self, change: ArrayLike) -> Array:
        """The change of the features (n_rows,) that a change of the parameters (n_columns,) brings.

        By linear response, both in reduced units.
        """
        return np.asarray(self.jacobian.matrix @ real_numbers("change", change))

    def by_choice(self, change: Array) -> dict[str, Array]:
        """A change of the parameters (n_columns,), divided by choice."""
        return {name: change[where] for name, where in self.jacobian.column_slices.items()}

    def mode(self, k: int) -> dict[str, Array]:
        """The relevant design mode of a number, by choice, in reduced units."""
        return self.by_choice(self.right[k] * self.parameter_units)


def independence(
    theta: Theta,
    packing: Packing,
    features: "str | Feature | Sequence[str | Feature]",
    with_respect_to: "str | Choice | Sequence[str | Choice] | None" = None,
    *,
    units: Mapping[str, float] | None = None,
    relative: bool = False,
    held: str = "box",
    degenerate: str = "raise",
    solver: str = "auto",
    seed: int = 0,
) -> Independence:
    """Which features can be tuned apart by which parameters, and how susceptible they are.

    Parameters
    ----------
    theta, packing, features, with_respect_to, held, degenerate, solver:
        As in `jacobian`.
    units:
        In which unit a feature or a choice of parameters is counted, by name; others in reduced
        units (Zu, Desai and Goodrich count all so).
    relative:
        Count every component of a feature, and every parameter, in units of its own value instead.
    seed:
        Of the shake by which the round-off of J is found.

    Raises `InputError` for units that do not fit or a value of 0 to count by, else as `jacobian`
    and `relax` do.

    Example
    -------
    >>> found = independence(theta, packing, "elastic_constants", "diameters")
    >>> found.rank, found.susceptibilities
    """

    def differentiated(there: Packing) -> Jacobian:
        return jacobian(
            theta,
            there,
            features,
            with_respect_to,
            held=held,
            degenerate=degenerate,
            solver=solver,
        )

    first = differentiated(packing)
    again = differentiated(relax(theta, _shaken(theta, packing, seed), solver=solver))
    rows, columns = _units(theta, first, units or {}, relative)
    scale = columns[None, :] / rows[:, None]
    difference = (again.matrix - first.matrix) * scale
    return Independence(first, rows, columns, first.matrix * scale, difference)


def _uncertain(matrix: Array, difference: Array) -> float:
    """The length of a difference, never less than what a matrix of its size is known to."""
    if not matrix.size:
        return 0.0
    least = np.finfo(float).eps * np.linalg.norm(matrix, 2) * max(matrix.shape)
    return float(max(np.finfo(float).tiny, np.linalg.norm(difference, 2), least))


def _singular_values(matrix: Array) -> Array:
    return np.asarray(np.linalg.svd(matrix, compute_uv=False))


def _shaken(theta: Theta, packing: Packing, seed: int) -> Packing:
    """The packing a little off its minimum, and moved as a whole."""
    rng = np.random.default_rng(seed)
    shape = packing.positions.shape
    far = SHAKEN * theta.size_range()[0]
    overlap = _typical_force(theta, packing) / theta.max_stiffness()
    if overlap > 0:
        far = min(far, SHAKEN_OVERLAP * overlap)
    off = far * rng.uniform(-1.0, 1.0, shape)
    return packing.with_positions(packing.positions + off + rng.uniform(0.0, 1.0, shape[1]))


def _typical_force(theta: Theta, packing: Packing) -> float:
    """The mean |u'| over pairs that have one; 0 where none has."""
    forces = np.concatenate(
        [np.abs(np.asarray(part.slope)) for part in interactions(theta, state_of(theta, packing))]
    )
    return float(forces[forces > 0].mean()) if (forces > 0).any() else 0.0


def _units(
    theta: Theta,
    found: Jacobian,
    units: Mapping[str, float],
    relative: bool,
) -> tuple[Array, Array]:
    """The units of rows and of columns."""
    rows, columns = np.ones(len(found.rows)), np.ones(len(found.columns))
    known = {**found.row_slices, **found.column_slices}
    for name in units:
        if name not in known:
            raise InputError(f"units: there is no {name!r} here: there are {', '.join(known)}.")
    if relative:
        for name, where in found.row_slices.items():
            rows[where] = np.abs(np.ravel(found.values[name]))
        for name, where in found.column_slices.items():
            columns[where] = np.abs(_values_of(theta, name))
        if not (rows.all() and columns.all()):
            names = np.array([*found.rows, *found.columns])
            none = names[np.concatenate([rows, columns]) == 0]
            raise InputError(f"{', '.join(none)}: is 0, nothing to count changes of it by.")
    for name, unit in units.items():
        value = positive(f"units[{name!r}]", unit)
        for values, slices in ((rows, found.row_slices), (columns, found.column_slices)):
            if name in slices:
                values[slices[name]] = value
    return rows, columns


def _values_of(theta: Theta, name: str) -> Array:
    """The values of parameters of types or springs."""
    values = theta.arrays().get(name)
    if values is None:
        raise InputError(
            f"{name}: has no value of its own to count changes by: give its unit in `units`."
        )
    return np.asarray(values, dtype=float)
