"""One packing: where particles are, of which types, in which box."""

from dataclasses import dataclass, replace
from typing import Self

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import Frame, InputError, check_box_matrix, wrap

__all__ = ["Packing"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Packing:
    """N particles in d = 2 or 3 dimensions, reduced units.

    Attributes
    ----------
    positions:
        (N, d) float64.
    typeid:
        (N,) int32.
    box:
        (d, d) float64, columns the box vectors, upper triangular; None for a cluster in open space.
    bonds:
        (M, 2) int32 or None.
    images:
        (N, d) int32: how many boxes a particle was carried over since it started; None: none.

    A JAX pytree. Its arrays are NumPy's, read-only, unless JAX transforms it. `Packing.of` checks
    what it is given.
    """

    positions: NDArray[np.float64]
    typeid: NDArray[np.int32]
    box: NDArray[np.float64] | None = None
    bonds: NDArray[np.int32] | None = None
    images: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        """Make the arrays read-only: what was computed for a packing is kept with it."""
        for name in ("positions", "typeid", "box", "bonds", "images"):
            value = getattr(self, name)
            if isinstance(value, np.ndarray) and value.flags.writeable:
                own = value.copy()  # whoever made the array may go on writing into it
                own.flags.writeable = False
                object.__setattr__(self, name, own)

    @classmethod
    def of(
        cls,
        positions: ArrayLike,
        typeid: ArrayLike,
        box: ArrayLike | None = None,
        bonds: ArrayLike | None = None,
        images: ArrayLike | None = None,
    ) -> Self:
        """Make a packing from anything array-like; raises `InputError` for what does not fit."""
        points = np.array(positions, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] not in (2, 3) or len(points) == 0:
            raise InputError(f"positions have shape {points.shape}: they must be (N, 2) or (N, 3).")
        if not np.isfinite(points).all():
            raise InputError("positions are not finite.")
        types = np.asarray(typeid)
        if types.shape != (len(points),) or types.dtype.kind not in "iu" or types.min() < 0:
            raise InputError(f"typeid must be {len(points)} integers of at least 0.")
        matrix = None if box is None else check_box_matrix(box)
        if matrix is not None and len(matrix) != points.shape[1]:
            raise InputError(
                f"positions are in {points.shape[1]} dimensions, box in {len(matrix)}."
            )
        pairs = None if bonds is None else _checked_bonds(bonds, len(points))
        return cls(
            points,
            types.astype(np.int32),
            matrix,
            pairs,
            None if images is None else np.asarray(images, dtype=np.int32).reshape(points.shape),
        )

    @classmethod
    def from_frame(cls, frame: Frame) -> Self:
        """The packing of a GSD frame."""
        return cls(frame.positions, frame.typeid, frame.box, frame.bonds, frame.images)

    @property
    def n_particles(self) -> int:
        """N."""
        return int(self.positions.shape[0])

    @property
    def dimension(self) -> int:
        """d, 2 or 3."""
        return int(self.positions.shape[1])

    @property
    def volume(self) -> float:
        """The box's volume (area in two dimensions); raises `InputError` without a box."""
        if self.box is None:
            raise InputError("a cluster in open space has no volume: give the packing a box.")
        return float(np.prod(np.diagonal(self.box)))

    def with_positions(self, positions: ArrayLike) -> Self:
        """The same packing at other positions (N, d)."""
        return replace(self, positions=np.asarray(positions, dtype=np.float64))

    def wrapped(self) -> Self:
        """The same packing with every particle in the box, the boxes crossed added to `images`."""
        if self.box is None:
            return self
        positions, crossed = wrap(self.positions, self.box)
        if not crossed.any():
            return replace(self, positions=positions)
        images = crossed if self.images is None else self.images + crossed
        return replace(self, positions=positions, images=images.astype(np.int32))


def _checked_bonds(bonds: ArrayLike, n: int) -> NDArray[np.int32]:
    """Bonds (M, 2) of n particles; raises `InputError` for what cannot be."""
    pairs = np.asarray(bonds)
    if pairs.size == 0:
        return np.zeros((0, 2), dtype=np.int32)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise InputError(f"bonds have shape {pairs.shape}: they must be integers (M, 2).")
    if pairs.min() < 0 or pairs.max() >= n:
        raise InputError(
            f"bonds reach from {pairs.min()} to {pairs.max()}: there are {n} particles."
        )
    if (pairs[:, 0] == pairs[:, 1]).any():
        raise InputError("a bond joins a particle with itself.")
    return pairs.astype(np.int32)
