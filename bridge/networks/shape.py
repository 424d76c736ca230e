"""Which bonds may be cut so that every node keeps enough of them, and none becomes concave."""

import numpy as np
from numpy.typing import NDArray

from amorph.handover import InputError
from amorph.handover.arguments import count

from ..matter.packing import Packing
from .building import bond_units, check_bonded

__all__ = ["Shape", "concave_nodes"]

# Directions that are nearer than this to one half-plane's edge count as on it.
FLAT = 1e-9


class Shape:
    """The bonds around each node of a network, and which of them it can do without.

    A node is concave where a half-plane (half-space) at it has no bond: then a polygon of the
    network has an inner angle of 180° or more there. Nodes that are so from the first, as those at
    an open edge are, may stay so, and nodes that have fewer bonds than others may keep these.

    Parameters
    ----------
    packing:
        The network.
    alive:
        Which bonds there are, (n_bonds,) bool; the others may return.
    least_bonds:
        How many a node has to keep.
    convex:
        Whether no node may become concave.

    Attributes
    ----------
    may_be_cut:
        (n_bonds,) bool, of bonds that are there; kept up to date by `cut` and `put_back`.
    """

    def __init__(
        self, packing: Packing, alive: NDArray[np.bool_], least_bonds: int, convex: bool
    ) -> None:
        count("least_bonds", least_bonds, least=1)
        if not isinstance(convex, bool):
            raise InputError(f"convex is {convex!r}: it must be True or False.")
        self._bonds = np.asarray(packing.bonds).tolist()
        self._unit = bond_units(packing)
        self._around = bonds_around(packing)
        self._alive = alive.tolist()
        self._flat = packing.dimension == 2
        self._angle = np.arctan2(self._unit[:, 1], self._unit[:, 0]).tolist() if self._flat else []
        held = [[b for b, _ in around if self._alive[b]] for around in self._around]
        self._least = [min(least_bonds, len(own)) for own in held]
        self._convex = [
            convex and not self._concave(i, frozenset()) for i in range(packing.n_particles)
        ]
        self._free = np.zeros((len(self._bonds), 2), dtype=bool)
        self.may_be_cut = np.zeros(len(self._bonds), dtype=bool)
        for i in range(packing.n_particles):
            self._look(i)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which bonds there are, (n_bonds,)."""
        return np.array(self._alive, dtype=bool)

    def cut(self, bond: int) -> None:
        """Take a bond out."""
        self._set(bond, False)

    def put_back(self, bond: int) -> None:
        """Return a bond."""
        self._set(bond, True)

    def _set(self, bond: int, there: bool) -> None:
        self._alive[bond] = there
        self.may_be_cut[bond] = False
        for i in self._bonds[bond]:
            self._look(i)

    def _look(self, i: int) -> None:
        """Which of a node's bonds it can do without."""
        own = [(b, end) for b, end in self._around[i] if self._alive[b]]
        enough = len(own) > self._least[i]
        looked = enough and self._convex[i]
        free = self._bearable(i, own) if looked else [enough] * len(own)
        for (b, end), may in zip(own, free, strict=True):
            self._free[b, end] = may
            self.may_be_cut[b] = may and self._free[b, 1 - end]

    def _bearable(self, i: int, own: list[tuple[int, int]]) -> list[bool]:
        """For each bond of a node, whether the node is convex without it."""
        if not self._flat:
            return [not self._concave(i, frozenset((b,))) for b, _ in own]
        turn, half = 2 * np.pi, np.pi - FLAT
        angles = [(self._angle[b] + end * np.pi) % turn for b, end in own]
        order = sorted(range(len(own)), key=angles.__getitem__)
        n = len(order)
        free = [False] * n
        for k, place in enumerate(order):
            before, after = angles[order[k - 1]], angles[order[(k + 1) % n]]
            free[place] = 0 < (after - before) % turn < half
        return free

    def _concave(self, i: int, without: frozenset[int]) -> bool:
        """Whether a node has a half-space without a bond."""
        own = [(b, end) for b, end in self._around[i] if self._alive[b] and b not in without]
        d = self._unit.shape[1]
        if len(own) <= d:
            return True
        u = np.array([self._unit[b] * (1 - 2 * end) for b, end in own])
        if d == 2:
            normal = np.stack([-u[:, 1], u[:, 0]], axis=1)
        else:
            first, second = np.triu_indices(len(u), 1)
            normal = np.cross(u[first], u[second])
        # A half-space without a bond can be turned until its edge has d - 1 of them.
        side = normal @ u.T
        one_sided = (side.max(axis=1) < FLAT) | (side.min(axis=1) > -FLAT)
        return bool((one_sided & (np.linalg.norm(normal, axis=1) > FLAT)).any())


def bonds_around(packing: Packing) -> list[list[tuple[int, int]]]:
    """Each node's bonds, as (bond, which end of it the node is)."""
    out: list[list[tuple[int, int]]] = [[] for _ in range(packing.n_particles)]
    for b, ends in enumerate(np.asarray(packing.bonds).tolist()):
        for end, i in enumerate(ends):
            out[i].append((b, end))
    return out


def concave_nodes(packing: Packing, alive: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """The nodes at which a half-plane (half-space) has no bond, those of open edges among them.

    ``alive``: which bonds there are, (n_bonds,) bool; by default all of the packing's.

    Raises `InputError` for a packing without bonds, and another array.
    """
    check_bonded(packing)
    n = len(np.asarray(packing.bonds))
    there = np.ones(n, dtype=bool) if alive is None else np.asarray(alive)
    if there.shape != (n,) or there.dtype != np.bool_:
        raise InputError(f"alive must be {n} Booleans, one for each bond.")
    shape = Shape(packing, there, 1, False)
    return np.array(
        [i for i in range(packing.n_particles) if shape._concave(i, frozenset())], dtype=np.int64
    )
