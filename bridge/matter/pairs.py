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

    i: NDArray[np.int32]
    j: NDArray[np.int32]
    shift: NDArray[np.float64]
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
    inside, which, ghosts = x, np.zeros(0, dtype=np.int64), np.zeros((0, d))
    home, image = np.zeros((n, d)), np.zeros((0, d))
    if box is not None:
        check_box(box, float(cutoffs.max()))
        inverse = np.linalg.inv(box)
        fractions = x @ inverse.T
        home = np.floor(fractions + 0.5)  # the box a particle is in
        inside = x - home @ box.T
        # Images of the particles in a rim as wide as the radius.
        rim = radius * np.linalg.norm(inverse, axis=1)
        which, image = _images(fractions - home, rim)
        ghosts = inside[which] + image @ box.T
    found = cKDTree(np.concatenate([inside, ghosts])).query_pairs(radius, output_type="ndarray")
    i, second = found[found[:, 0] < n].T
    ghost = second - n
    own = ghost < 0
    j = second.copy()
    j[~own] = which[ghost[~own]]
    # A pair across the boundary is met twice, from either side; a particle does not meet itself
    # (its images lie two cutoffs away).
    wanted = i < j
    i, j, ghost, own = i[wanted], j[wanted], ghost[wanted], own[wanted]
    shift = np.zeros((len(i), d))
    if box is not None:
        # x_j + shift lies in i's frame: i is moved home by home_i, the ghost by its image.
        crossed = home[i] - home[j]
        crossed[~own] += image[ghost[~own]]
        shift = crossed @ box.T
    distance = np.sqrt(np.sum((x[j] - x[i] + shift) ** 2, axis=1))
    kept = np.flatnonzero(distance < cutoffs[packing.typeid[i], packing.typeid[j]] + skin)
    kept = kept[np.lexsort((j[kept], i[kept]))]  # the tree's order is its own affair
    return _padded(i[kept], j[kept], shift[kept], far=10.0 * (radius + 1.0))


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
    x = packing.positions
    distance = np.sqrt(np.sum((x[j] - x[i] + shift) ** 2, axis=1))
    cutoffs = np.maximum(near.cutoffs(), reach)
    kept = distance < cutoffs[packing.typeid[i], packing.typeid[j]]
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
