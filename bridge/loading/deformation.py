"""Affine deformation of a packing and its box."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import InputError
from amorph.handover.arguments import real_numbers
from amorph.handover.showing import box_shown, shown

from ..matter.arguments import check
from ..matter.packing import Packing

__all__ = ["Deformation", "deform", "deformation"]

# Box vectors tilted by more than this fraction of another are reduced. A little above one half, so
# that round-off does not flip a box tilted by exactly half back and forth.
LARGEST_TILT = 0.5 + 1e-9


@dataclass(frozen=True, eq=False)
class Deformation:
    """A packing after an affine deformation, and how its box was brought to the usual form.

    Attributes
    ----------
    packing:
        Its box upper triangular.
    gradient:
        (d, d), Qᵀ F: what positions and box vectors were multiplied by.
    rotation:
        (d, d), Q: turns a vector of the new packing into the frame in which F was given. The
        identity where F and the old box are upper triangular.
    lattice:
        (d, d) whole numbers, determinant 1: the new box is gradient @ old box @ lattice.
    """

    packing: Packing
    gradient: NDArray[np.float64]
    rotation: NDArray[np.float64]
    lattice: NDArray[np.int64]

    def __repr__(self) -> str:
        turned = not np.array_equal(self.rotation, np.eye(len(self.rotation)))
        replaced = not np.array_equal(self.lattice, np.eye(len(self.lattice)))
        return shown(
            f"Deformation of {self.packing.n_particles} particles in {self.packing.dimension} "
            "dimensions",
            [
                ("gradient", str(self.gradient.tolist())),
                ("box", box_shown(self.packing.box)),
                ("turned by", str(self.rotation.tolist()) if turned else "nothing"),
                ("box vectors", f"replaced by {self.lattice.tolist()}" if replaced else "kept"),
            ],
        )


def square_matrix(values: ArrayLike, dimension: int, name: str) -> NDArray[np.float64]:
    """A finite (d, d) matrix; raises `InputError` otherwise."""
    matrix = real_numbers(name, values, f"a ({dimension}, {dimension}) matrix")
    if matrix.shape != (dimension, dimension):
        raise InputError(
            f"{name} has shape {matrix.shape}: for this packing it must be "
            f"({dimension}, {dimension})."
        )
    if not np.isfinite(matrix).all():
        raise InputError(f"{name} is not finite: {matrix.tolist()}.")
    return matrix


def _least_tilted(
    box: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """An upper triangular box of the same lattice that leans by at most half, and the change."""
    d = len(box)
    out, lattice = box.copy(), np.eye(d, dtype=np.int64)
    for column in range(1, d):
        for row in range(column - 1, -1, -1):  # a later row must not spoil an earlier one
            tilt = out[row, column] / out[row, row]
            if abs(tilt) > LARGEST_TILT:
                times = int(np.rint(tilt))
                out[:, column] -= times * out[:, row]
                lattice[:, column] -= times * lattice[:, row]
    return out, lattice


def _upper_triangular(
    box: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Q and R of box = Q R, R upper triangular with a positive diagonal."""
    if not np.tril(box, -1).any() and (np.diagonal(box) > 0).all():
        return np.eye(len(box)), box
    q, r = np.linalg.qr(box)
    sign = np.sign(np.diagonal(r))
    return q * sign, np.triu(r * sign[:, None])


def deformation(packing: Packing, gradient: ArrayLike, *, flip: bool = True) -> Deformation:
    """As `deform`, with an account of how the box was turned and its vectors replaced."""
    check(packing=packing)
    d = packing.dimension
    matrix = square_matrix(gradient, d, "the deformation gradient")
    determinant = float(np.linalg.det(matrix))
    if not determinant > 0:
        raise InputError(
            f"the deformation gradient has determinant {determinant:.6g}: it must be greater than "
            "0, or space would be turned inside out."
        )
    unchanged = np.eye(d, dtype=np.int64)
    if packing.box is None:
        moved = packing.with_positions(packing.positions @ matrix.T)
        return Deformation(moved, matrix, np.eye(d), unchanged)
    turn, box = _upper_triangular(matrix @ packing.box)
    total = turn.T @ matrix
    box, lattice = _least_tilted(box) if flip else (box, unchanged)
    images = packing.images
    if images is not None and (lattice != unchanged).any():
        # The old box's images in whole numbers of the new vectors.
        back = np.rint(np.linalg.inv(lattice)).astype(np.int64)
        images = (images @ back.T).astype(np.int32)
    moved = replace(packing, positions=packing.positions @ total.T, box=box, images=images)
    return Deformation(moved, total, turn, lattice)


def deform(packing: Packing, gradient: ArrayLike, *, flip: bool = True) -> Packing:
    """A packing and its box under a deformation gradient F: x -> F x, not relaxed.

    The box stays upper triangular: where F would make it otherwise, the whole system is turned by
    the rotation of F box = Q R, so that positions become Qᵀ F x and the box R. An upper triangular
    F (a simple shear of x along y, a stretch along the axes) needs no turn. `deformation` returns
    Q.

    A box vector that leans over another by more than half of it is replaced by one of the same
    lattice that does not (Lees and Edwards, J. Phys. C 5, 1921 (1972), as boxes: the cell of a
    simple shear by 1 is the square cell again), so that the box stays as wide as it can. Positions
    are not wrapped by it, energies and stresses the same to round-off; `images` are counted in the
    new vectors, so that positions + images @ box.T goes on continuously.

    Parameters
    ----------
    packing:
        In a box, or a cluster in open space, which is not turned.
    gradient:
        F, (d, d), det F > 0; 1 + ε for a strain ε.
    flip:
        Whether strongly tilted boxes are replaced.

    Raises
    ------
    InputError
        If F is of another shape, not finite, or has no positive determinant.
    """
    return deformation(packing, gradient, flip=flip).packing
