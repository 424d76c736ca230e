"""Pairs of particles near enough to interact, as padded arrays of fixed images."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from amorph.handover import InputError, UnknownTypeError, check_box

from .packing import Packing
from .potentials import PairPotential
from .springs import Springs

__all__ = ["CHUNK", "PairList", "Pairs", "find_bonds", "find_pairs"]

# Sums over many pairs are split into pieces of this size, so that temporaries stay in cache.
CHUNK = 1 << 14


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs (i, j), each once: the vector from i to j is positions[j] - positions[i] + shift.

    The image of a pair is settled when the list is made, so that distances are plain functions of
    positions. Places past the last pair hold a particle with itself, far beyond every cutoff.

    Attributes: i, j (M,) int32; shift (M, d) float64; count, the number of real pairs.
    """

    i: Any
    j: Any
    shift: Any
    count: Any


def capacity(count: int) -> int:
    """The padded length for a number of pairs: it depends on that number alone.

    Steps of an eighth to a quarter, so that a packing that changes a little keeps its shape, and
    nothing need be compiled anew. Above four times `CHUNK` it is a multiple of `CHUNK`.
    """
    step = max(64, 1 << max(0, count.bit_length() - 3))
    return -(-max(count, 1) // step) * step


def find_pairs(
    near: PairPotential | None, packing: Packing, *, skin: float = 0.0, reach: float = 0.0
) -> Pairs:
    """The pairs nearer than max(cutoff of their types, reach) + skin; none without a potential.

    Raises `BoxTooSmallError` if the box is narrower than twice the largest cutoff (so that no
    particle meets two images of another), `UnknownTypeError` for a type without parameters.
    """
    if near is None:
        d = packing.dimension
        return _padded(np.zeros(0, int), np.zeros(0, int), np.zeros((0, d)), far=1.0)
    cutoffs = np.maximum(near.cutoffs(), reach)
    if int(np.max(packing.typeid)) >= near.n_types:
        raise UnknownTypeError(
            f"a particle has typeid {int(np.max(packing.typeid))}, but the potential has "
            f"parameters for {near.n_types} types: give parameters for each."
        )
    x = np.asarray(packing.positions)
    n, d = x.shape
    radius = float(cutoffs.max()) + skin
    box = None if packing.box is None else np.asarray(packing.box)
    if box is None:
        points, owner, crossed = x, np.arange(n), np.zeros((n, d))
        home = crossed
    else:
        check_box(box, float(cutoffs.max()))
        inverse = np.linalg.inv(box)
        fractions = x @ inverse.T
        home = np.floor(fractions + 0.5)  # the box a particle is in
        inside = x - home @ box.T
        # Images of the particles in a rim as wide as the radius.
        rim = radius * np.linalg.norm(inverse, axis=1)
        which, images = _images(fractions - home, rim)
        points = np.concatenate([inside, inside[which] + images @ box.T])
        owner = np.concatenate([np.arange(n), which])
        # A pair's first end is moved home, its second by its image.
        crossed = np.concatenate([np.zeros((n, d)), images]) - home[owner]
    # As fast to query as a balanced tree, and built in half to three quarters of its time.
    tree = cKDTree(points, balanced_tree=False, compact_nodes=False)
    first, second = tree.query_pairs(radius, output_type="ndarray").T
    # A pair across the boundary is met twice, from either side; a particle does not meet itself
    # (its images lie two cutoffs away).
    once = np.flatnonzero((first < n) & (first < owner.take(second)))
    i, second = first.take(once), second.take(once)
    j = owner.take(second)
    shift = crossed.take(second, axis=0) + home.take(i, axis=0)
    shift = shift if box is None else shift @ box.T
    kept = np.flatnonzero(_nearer(x, packing.typeid, i, j, shift, cutoffs + skin))
    kept = kept[np.argsort(i[kept] * n + j[kept])]  # the tree's order is its own affair
    return _padded(i[kept], j[kept], shift[kept], far=10.0 * (radius + 1.0))


def _nearer(
    x: NDArray[np.float64],
    typeid: NDArray[Any],
    i: NDArray[Any],
    j: NDArray[Any],
    shift: NDArray[np.float64],
    limits: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Which pairs are nearer than the limit of their types (n_types, n_types), (M,)."""
    vector = x.take(j, axis=0) - x.take(i, axis=0) + shift
    limit = np.square(limits).ravel().take(typeid.take(i) * len(limits) + typeid.take(j))
    nearer: NDArray[np.bool_] = np.einsum("ma,ma->m", vector, vector) < limit
    return nearer


def _images(
    fractions: NDArray[np.float64], rim: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The particles with images in a rim around the box, and the boxes these images lie in."""
    n, d = fractions.shape
    which, image = np.arange(n), np.zeros((n, d))
    for axis in range(d):
        # Copies along one axis after the other: those of the corners come from copies.
        at = fractions[which, axis]
        for side in (-1.0, 1.0):
            near = np.flatnonzero(np.abs(at + side) <= 0.5 + rim[axis] + 1e-12)
            moved = image[near]
            moved[:, axis] += side
            which = np.concatenate([which, which[near]])
            image = np.concatenate([image, moved])
    return which[n:], image[n:]


def find_bonds(springs: Springs | None, packing: Packing) -> Pairs | None:
    """The packing's bonds, each by the nearest image of its ends; None without springs.

    Raises `InputError` where the number of springs is not that of the bonds, `BoxTooSmallError` for
    a bond as long as half the box's smallest width, whose nearest image is not certain.
    """
    if springs is None:
        return None
    bonds = np.zeros((0, 2), dtype=np.int32) if packing.bonds is None else packing.bonds
    if len(bonds) != springs.n_bonds:
        raise InputError(
            f"the packing has {len(bonds)} bonds, but there are {springs.n_bonds} springs: give "
            "each bond a stiffness and a length, in the bonds' order."
        )
    i, j = np.asarray(bonds, dtype=np.int64).T
    vector = packing.positions[j] - packing.positions[i]
    shift = np.zeros_like(vector)
    if packing.box is not None:
        # Exact below half the box's smallest width, which is checked.
        shift = -np.round(vector @ np.linalg.inv(packing.box).T) @ packing.box.T
        longest = float(np.sqrt(np.max(np.sum((vector + shift) ** 2, axis=1), initial=0.0)))
        check_box(packing.box, longest)
    return _padded(i, j, shift, far=1.0)


def within(near: PairPotential | None, packing: Packing, pairs: Pairs, reach: float) -> Pairs:
    """The listed pairs that `find_pairs` would list; the list must contain them all."""
    if near is None:
        return pairs
    count = int(pairs.count)
    i, j, shift = pairs.i[:count], pairs.j[:count], pairs.shift[:count]
    cutoffs = np.maximum(near.cutoffs(), reach)
    kept = _nearer(np.asarray(packing.positions), packing.typeid, i, j, shift, cutoffs)
    return _padded(i[kept], j[kept], shift[kept], far=10.0 * (float(cutoffs.max()) + 1.0))


@dataclass(frozen=True, eq=False)
class PairList:
    """Pairs of particles near their cutoffs, which serve until one has gone too far.

    Attributes
    ----------
    pairs:
        Nearer than the cutoffs given, with particles at ``origin``.
    origin:
        (N, d).
    cutoffs:
        Up to which pairs of types are listed, (n_types, n_types); empty without a pair potential.
    """

    pairs: Pairs
    origin: NDArray[np.float64]
    cutoffs: NDArray[np.float64]

    @classmethod
    def around(cls, near: PairPotential | None, packing: Packing, skin: float) -> "PairList":
        """The pairs of a packing nearer than their cutoffs and a skin; errors as `find_pairs`."""
        cutoffs = np.zeros((0, 0)) if near is None else near.cutoffs() + skin
        return cls(find_pairs(near, packing, skin=skin), packing.positions, cutoffs)

    def serves(
        self, near: PairPotential | None, positions: NDArray[np.float64], margin: float
    ) -> bool:
        """Whether all pairs nearer than a potential's cutoffs and a margin are listed."""
        skin = self.skin(near)
        if not skin > margin:
            return False
        gone = np.max(np.sum((positions - self.origin) ** 2, axis=1), initial=0.0)
        return bool(skin - 2.0 * np.sqrt(gone) >= margin)

    def skin(self, near: PairPotential | None) -> float:
        """How far beyond the cutoffs of a potential it reaches: particles may move half of it."""
        if near is None:
            return np.inf
        if self.cutoffs.shape != (near.n_types, near.n_types):
            return 0.0
        return float(np.min(self.cutoffs - near.cutoffs()))


def _padded(
    i: NDArray[np.int64], j: NDArray[np.int64], shift: NDArray[np.float64], far: float
) -> Pairs:
    count, d = shift.shape
    size = capacity(count)
    padded_i = np.zeros(size, dtype=np.int32)
    padded_j = np.zeros(size, dtype=np.int32)
    padded_shift = np.zeros((size, d))
    padded_shift[:, 0] = far
    padded_i[:count], padded_j[:count], padded_shift[:count] = i, j, shift
    return Pairs(padded_i, padded_j, padded_shift, np.int64(count))
