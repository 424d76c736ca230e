"""Pairs of particles near enough to interact, as padded arrays of fixed images."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from amorph.handover import UnknownTypeError, check_box

from .packing import Packing
from .potentials import PairPotential

__all__ = ["Pairs", "find_pairs"]


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
    nothing need be compiled anew.
    """
    step = max(64, 1 << max(0, count.bit_length() - 3))
    return -(-max(count, 1) // step) * step


def find_pairs(
    packing: Packing, theta: PairPotential, *, skin: float = 0.0, reach: float = 0.0
) -> Pairs:
    """The pairs nearer than max(cutoff of their types, reach) + skin.

    Raises `BoxTooSmallError` if the box is narrower than twice the largest cutoff (so that no
    particle meets two images of another), `UnknownTypeError` for a type without parameters.
    """
    cutoffs = np.maximum(theta.cutoffs(), reach)
    if int(np.max(packing.typeid)) >= theta.n_types:
        raise UnknownTypeError(
            f"a particle has typeid {int(np.max(packing.typeid))}, but the potential has "
            f"parameters for {theta.n_types} types: give a diameter for each."
        )
    x = np.asarray(packing.positions)
    n, d = x.shape
    radius = float(cutoffs.max()) + skin
    box = None if packing.box is None else np.asarray(packing.box)
    images = np.zeros((1, d))
    if box is not None:
        check_box(box, float(cutoffs.max()))
        images = np.stack(np.meshgrid(*([-1.0, 0.0, 1.0],) * d, indexing="ij"), -1).reshape(-1, d)
        fractions = x @ np.linalg.inv(box).T
        home = np.floor(fractions + 0.5)  # the box a particle is in
        inside = x - home @ box.T
        # Images of the particles in a rim as wide as the radius.
        rim = radius / np.asarray([1.0 / np.linalg.norm(row) for row in np.linalg.inv(box)])
        near = fractions - home
        shells = near[None] + images[:, None]
        keep = (np.abs(shells) <= 0.5 + rim + 1e-12).all(axis=2)
        which_image, which = np.nonzero(keep)
        ghosts = inside[which] + images[which_image] @ box.T
    else:
        inside, which, ghosts = x, np.arange(n), x
        home, which_image = np.zeros((n, d)), np.zeros(n, dtype=np.int64)
    found = cKDTree(inside).sparse_distance_matrix(
        cKDTree(ghosts), radius, output_type="coo_matrix"
    )
    i, ghost, distance = found.row, found.col, found.data
    j = which[ghost]
    # Each pair once; a particle does not meet itself (its images lie two cutoffs away).
    wanted = (i < j) & (distance < cutoffs[packing.typeid[i], packing.typeid[j]] + skin)
    i, j, ghost = i[wanted], j[wanted], ghost[wanted]
    order = np.lexsort((j, i))  # the tree's order is its own affair
    i, j, ghost = i[order], j[order], ghost[order]
    shift = np.zeros((len(i), d))
    if box is not None:
        # x_j + shift lies in i's frame: i is moved home by home_i, the ghost by its image.
        shift = (images[which_image[ghost]] - home[j] + home[i]) @ box.T
    return _padded(i, j, shift, far=10.0 * (radius + 1.0))


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
