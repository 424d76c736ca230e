"""The linear response of a network, kept exact while bonds are cut and returned one by one."""

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import InputError
from amorph.handover.arguments import (
    check_kind,
    count,
    described,
    real_numbers,
    whole_numbers,
)
from amorph.handover.showing import shown

from ..errors import FloppyModeError, SingularHessianError
from ..features.moduli import strain_index
from ..matter.packing import Packing
from ..matter.springs import Springs
from ._compiled import BondResponse, dissect
from .building import bond_units, bond_vectors, check_network
from .loads import Load, periodic_load

__all__ = ["NetworkResponse", "Trials"]

# A pivot below this part of the mean stiffness: nothing holds the network there.
LEAST_PIVOT = 1e-11
# A cut that would leave a pivot below this is not made: factorised anew, the network were loose.
SOFTEST_PIVOT = 1e-9
# A change makes rounding grow by 1 over what is left of a bond's part in states of self stress:
# where the sum of their squares reaches this, everything is computed anew.
MOST_GROWTH = 1e5
# A bond's M that its own column contradicts by more than this has drifted.
DRIFTED = 1e-9


@dataclass(frozen=True, eq=False)
class Trials:
    """Responses of a network after single changes of bonds, each of them alone.

    Attributes
    ----------
    response:
        The upper triangle, by rows, of Y for each change (n, n_loads (n_loads + 1)/2).
    left:
        1 + δ M, (n,): for a cut, its bond's part in the states of self stress; 0 would leave a
        floppy mode.
    """

    response: NDArray[np.float64]
    left: NDArray[np.float64]


class NetworkResponse:
    """The linear response of a network under one load, for any change of single bonds.

    With q_e the row of the rigidity matrix, H = Σ k q qᵀ, and M_ef = q_e·H⁻¹q_f, a change δ of bond
    e's stiffness changes the matrix of responses Y (V C, and what is read off) by
    δ X_e X_eᵀ/(1 + δ M_ee), where X_e is the bond's extension under each load: a trial costs no
    solve. A move costs one, with a sparse factor that is updated, not made anew; M_ee of all bonds
    comes from the inverse at the factor's own places. Everything is computed anew after some
    moves, and `drift` says by how much it had gone astray.

    Parameters
    ----------
    springs, packing:
        The network. Springs of stiffness 0 are bonds that were cut, and may return.
    load:
        How it is loaded; by default all strains of its periodic box.
    renew_every:
        After so many moves everything is computed anew, and earlier where rounding grows.

    Raises
    ------
    SingularHessianError
        For a network that something of is loose: a part apart, a floppy mode. Names a node of it.
    InputError
        For what is no network at rest.

    Source: Goodrich, Liu and Nagel, Phys. Rev. Lett. 114, 225501 (2015), for bond-level response;
    Sherman and Morrison, Ann. Math. Stat. 21, 124 (1950).

    Example
    -------
    >>> network = networks.NetworkResponse(*networks.triangular_network((12, 12)))
    >>> network.elastic_tensor
    >>> trials = network.try_cuts([0, 1, 2])
    >>> network.cut(1)
    """

    def __init__(
        self,
        springs: Springs,
        packing: Packing,
        load: Load | None = None,
        *,
        renew_every: int = 500,
    ) -> None:
        check_network(springs, packing)
        _check_relaxed(springs, packing)
        self.packing = packing
        self.load = periodic_load(packing) if load is None else load
        check_kind("load", self.load, Load, "one of networks.periodic(packing).loads")
        values = springs.arrays()
        self._rest = values["length"]
        self._renew_every = count("renew_every", renew_every)
        self._growth, self._moves = 0.0, 0
        self.drift = 0.0
        if self.load.held.shape != np.shape(packing.positions) or len(self.load.strained) != len(
            self._rest
        ):
            raise InputError("load is that of another network: make it of this packing.")
        if self.load.held.all():
            raise InputError("every node is held: the network has no displacement of its own.")
        self._places = elimination_order(packing, self.load.held)
        self._inner = _compiled(values["stiffness"], packing, self.load, self._places)
        self._renew()

    def __repr__(self) -> str:
        cut = int(np.sum(self.stiffness == 0))
        return shown(
            f"NetworkResponse of {self.n_bonds} bonds in {self.packing.dimension} dimensions",
            [("cut", str(cut)), ("drift", f"{self.drift:.1e}")],
        )

    @property
    def n_bonds(self) -> int:
        """How many bonds there are, those that were cut among them."""
        return len(self._rest)

    @property
    def stiffness(self) -> NDArray[np.float64]:
        """k of each bond now, (n_bonds,), 0 where it is cut; read-only."""
        return self._inner.stiffness

    @property
    def springs(self) -> Springs:
        """The springs as they are now."""
        return Springs(self.stiffness.copy(), self._rest)

    @property
    def extension(self) -> NDArray[np.float64]:
        """X: each bond's extension under each load, (n_bonds, n_loads), length; read-only.

        Strains come first, then forces on what is read off; of bonds that are cut, the extension
        of the line between their nodes.
        """
        return self._inner.extension

    @property
    def compliance(self) -> NDArray[np.float64]:
        """M_ee = q_e·H⁻¹q_e of each bond, cut or not, (n_bonds,), 1/stiffness; read-only."""
        return self._inner.compliance

    @property
    def response(self) -> NDArray[np.float64]:
        """Y, (n_loads, n_loads): V C of the strains; minus what is read off, of each load."""
        return self._inner.response

    def displacement(self, load: int) -> NDArray[np.float64]:
        """Where nodes go under a unit load, (N, d): the strain's own part and the answer to it.

        Raises `InputError` for no such load, of strains and forces on what is read off.
        """
        count("load", load, least=0, below=len(self.response))
        out = np.zeros(self._places.shape)
        if load < self.load.n_strains:
            out += self.load.carried[load]
        free = self._places >= 0
        out[free] += self._inner.displace(load)[self._places[free]]
        return out

    @property
    def elastic_tensor(self) -> NDArray[np.float64]:
        """C_ijkl, (d, d, d, d), energy / length^d; raises `InputError` for another load."""
        return tensor_of(self.response, self.packing.dimension, self.load)

    def try_changes(self, bonds: ArrayLike, deltas: ArrayLike) -> Trials:
        """The responses after each change alone: bond e's stiffness larger by δ.

        Raises `InputError` for what are no bonds and numbers, one for each.
        """
        chosen = self.checked_bonds(bonds)
        changes = real_numbers("deltas", deltas)
        if changes.shape != chosen.shape or not np.isfinite(changes).all():
            raise InputError(f"deltas must be {len(chosen)} finite numbers, one for each bond.")
        return self.tried(chosen, np.ascontiguousarray(changes))

    def checked_bonds(self, bonds: ArrayLike) -> NDArray[np.int32]:
        """Numbers of bonds (n,); raises `InputError` for those that there are not."""
        chosen = whole_numbers("bonds", bonds)
        if chosen.ndim != 1:
            raise InputError(f"bonds have shape {chosen.shape}: they must be (n,).")
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < self.n_bonds):
            raise InputError(f"bonds: there are {self.n_bonds}, from 0 on; there is no such bond.")
        return np.ascontiguousarray(chosen, dtype=np.int32)

    def tried(self, bonds: NDArray[np.int32], deltas: NDArray[np.float64]) -> Trials:
        """As `try_changes`, of bonds that there are, in the order of memory: for long chains."""
        return Trials(*self._inner.try_changes(bonds, deltas))

    def try_cuts(self, bonds: ArrayLike) -> Trials:
        """The responses after cutting each of some bonds alone; as `try_changes`."""
        chosen = self.checked_bonds(bonds)
        return self.tried(chosen, -self.stiffness[chosen])

    def cut(self, bond: int) -> None:
        """Cut a bond; raises as `change` does."""
        self.change(bond, -float(self.stiffness[self.checked_bond(bond)]))

    def checked_bond(self, bond: int) -> int:
        """A bond's number; raises `InputError` where there is no such bond."""
        number = count("bond", bond, least=0)
        if number >= self.n_bonds:
            raise InputError(f"bond = {bond}: there are {self.n_bonds}, from 0 on.")
        return number

    def change(self, bond: int, delta: float) -> None:
        """Make a bond's stiffness larger by δ, smaller where δ < 0.

        Raises
        ------
        FloppyModeError
            Where 1 + δ M vanishes, or the network becomes as soft as if: a cut that would leave a
            floppy mode. It is not made.
        InputError
            For no such bond, or a stiffness below 0.
        """
        after = float(self.stiffness[self.checked_bond(bond)]) + float(real_numbers("delta", delta))
        if not 0 <= after < np.inf:
            raise InputError(f"bond {bond}: a stiffness of {after:.6g} cannot be.")
        if not delta:
            return
        before = float(self.compliance[bond])
        exact = self._inner.solve_column(bond)
        if abs(exact - before) * abs(delta) > DRIFTED:
            self._renew()
            exact = self._inner.solve_column(bond)
        left = 1.0 + delta * exact
        if not left > LEAST_PIVOT:
            raise FloppyModeError(
                f"cutting bond {bond} leaves a floppy mode: its part in states of self stress is "
                f"{left:.1e}."
            )
        pivot = self._inner.move(bond, delta)
        if delta < 0 and not pivot > SOFTEST_PIVOT:
            self._undo(bond, delta)
        self._moves += 1
        self._growth += left**-2
        if self._moves >= self._renew_every or self._growth > MOST_GROWTH:
            try:
                self._renew()
            except SingularHessianError:
                self._undo(bond, delta)

    def _undo(self, bond: int, delta: float) -> NoReturn:
        """Take a change back, everything computed anew; raises `FloppyModeError`."""
        before = self.stiffness.copy()
        before[bond] = max(before[bond] - delta, 0.0)
        self.set_stiffness(before)
        raise FloppyModeError(f"changing bond {bond} leaves a mode that is hardly held.")

    def set_stiffness(self, stiffness: ArrayLike) -> None:
        """Give every bond a stiffness k >= 0 (n_bonds,), and compute everything anew.

        Raises `InputError` for other values, `SingularHessianError` where they leave it loose.
        """
        values = np.ascontiguousarray(stiffness, dtype=np.float64)
        if values.shape != (self.n_bonds,) or not (np.isfinite(values) & (values >= 0)).all():
            raise InputError(
                f"stiffness is {described(stiffness)}: it must be {self.n_bonds} numbers >= 0."
            )
        before = self.stiffness.copy()
        self._inner.set_stiffness(values)
        self._moves = 0
        try:
            self._renew()
        except SingularHessianError:
            self._inner.set_stiffness(before)  # as if nothing had been asked
            self._inner.renew(LEAST_PIVOT)
            raise

    def renew(self) -> float:
        """Compute everything anew; returns `drift`, the most that Y has gone astray so far."""
        self._renew()
        return self.drift

    def _renew(self) -> None:
        moved = self._moves > 0
        before = self.response.copy() if moved else None
        loose = self._inner.renew(LEAST_PIVOT)
        if loose >= 0:
            node = int(np.nonzero(self._places == loose)[0][0])
            raise SingularHessianError(
                f"the network is not rigid: node {node}, at "
                f"{np.asarray(self.packing.positions)[node].round(4).tolist()}, or a part that it "
                "belongs to, is loose. Take out what nothing holds, or give it more bonds."
            )
        if before is not None and before.size:
            size = float(np.max(np.abs(self.response)))
            self.drift = max(self.drift, float(np.max(np.abs(before - self.response))) / size)
        self._growth, self._moves = 0.0, 0


def elimination_order(packing: Packing, held: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The unknown of each displacement (N, d) in the order of elimination, -1 where it is held."""
    x = np.ascontiguousarray(packing.positions, dtype=np.float64)
    order = dissect(x, np.ascontiguousarray(packing.bonds, dtype=np.int32))
    places = np.full(held.shape, -1, dtype=np.int64)
    free = ~held[order]
    numbers = np.full(free.shape, -1, dtype=np.int64)
    numbers[free] = np.arange(np.count_nonzero(free))
    places[order] = numbers
    return places


def _compiled(
    stiffness: NDArray[np.float64], packing: Packing, load: Load, places: NDArray[np.int64]
) -> BondResponse:
    bonds, unit = np.asarray(packing.bonds), bond_units(packing)
    ends = np.concatenate([places[bonds[:, 0]], places[bonds[:, 1]]], axis=1)
    free = int(places.max()) + 1
    read = np.zeros((len(load.functionals), free))
    for row, functional in zip(read, load.functionals, strict=True):
        row[places[places >= 0]] = functional[places >= 0]
    return BondResponse(
        free,
        np.ascontiguousarray(ends, dtype=np.int32),
        np.concatenate([-unit, unit], axis=1),
        np.ascontiguousarray(stiffness),
        np.ascontiguousarray(load.strained),
        read,
        np.ascontiguousarray(load.functionals_strained),
    )


def _check_relaxed(springs: Springs, packing: Packing) -> None:
    """Raise `InputError` for springs that are stretched: prestress is not in the formulas."""
    length = np.linalg.norm(bond_vectors(packing), axis=1)
    rest, k = springs.arrays()["length"], springs.arrays()["stiffness"]
    off = np.abs(length - rest) * (k > 0)
    if off.max() > 1e-9 * length.mean():
        e = int(np.argmax(off))
        raise InputError(
            f"bond {e} is {length[e]:.9g} long at a rest length of {rest[e]:.9g}: the springs of a "
            "network to be pruned are at rest. Set their lengths to the distances."
        )


def tensor_of(response: Any, dimension: int, load: Load) -> Any:
    """C_ijkl (d, d, d, d) of a matrix of responses Y; raises `InputError` for another load."""
    n = dimension * (dimension + 1) // 2
    if load.n_strains != n:
        raise InputError("an elastic tensor is that of a periodic box under all strains.")
    index = strain_index(dimension)
    return response[index[:, :, None, None], index[None, None]] / load.volume
