"""The conventions for boxes, in this one place.

A box is a (d, d) float64 matrix whose columns are the box vectors, upper triangular as HOOMD-blue's
(Lx, Ly, Lz, xy, xz, yz)::

    [[Lx, xy Ly, xz Lz],
     [ 0,    Ly, yz Lz],
     [ 0,     0,    Lz]]

and its upper left (2, 2) part in two dimensions. ``None`` is an open boundary (clusters). Lengths
are in reduced units, tilt factors have none.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arguments import real_numbers
from .errors import BoxTooSmallError, InputError

__all__ = [
    "FLAT",
    "box_from_hoomd",
    "box_to_hoomd",
    "check_box",
    "check_box_matrix",
    "nearest_images",
    "reduce_tilt",
    "widths",
    "wrap",
]

# Particles that differ in z by less than this part of their extent in x and y lie in one plane: in
# single precision such a z is round-off.
FLAT = 1e-6
_AXES = "xyz"
# Tilts of half a box, where programs flip it, and round-off about that are left as they are.
_HALF = 0.5 + 1e-9
# After the shift by whole boxes, rounding can leave a position just outside a face, once.
_CORRECTIONS = 1


def check_box_matrix(box: ArrayLike) -> NDArray[np.float64]:
    """Return a box (d, d) as a contiguous float64 matrix, d = 2 or 3.

    Raises `InputError` if it is of another shape, not finite, not upper triangular, or has a
    diagonal element that is not greater than 0.
    """
    matrix = real_numbers("a box", box, "(2, 2) or (3, 3) numbers, or None for open space")
    if matrix.shape not in ((2, 2), (3, 3)):
        raise InputError(
            f"a box has shape {matrix.shape}: it must be (2, 2) or (3, 3), its columns the "
            "box vectors, or None for an open boundary."
        )
    if not np.isfinite(matrix).all():
        raise InputError(f"a box is not finite: {matrix.tolist()}.")
    if np.tril(matrix, -1).any():
        raise InputError(
            f"a box is not upper triangular: {matrix.tolist()}. Rotate the system so that the "
            "first box vector lies along x and the second in the xy plane."
        )
    for axis, length in zip(_AXES, np.diagonal(matrix), strict=False):
        if length <= 0:
            raise InputError(
                f"a box has L{axis} = {float(length)!r}: it must be greater than 0. "
                "For an open boundary the box is None."
            )
    return matrix


def box_to_hoomd(box: ArrayLike | None) -> NDArray[np.float64]:
    """HOOMD's form (6,) of a box (d, d): Lx, Ly, Lz, xy, xz, yz; Lz = 0 in two dimensions.

    An open boundary (None) is all zeros. Raises `InputError` as `check_box_matrix` does.
    """
    six = np.zeros(6)
    if box is None:
        return six
    matrix = check_box_matrix(box)
    d = matrix.shape[0]
    six[:d] = np.diagonal(matrix)
    with np.errstate(over="ignore"):
        six[3] = matrix[0, 1] / matrix[1, 1]
        if d == 3:
            six[4] = matrix[0, 2] / matrix[2, 2]
            six[5] = matrix[1, 2] / matrix[2, 2]
        back = six[3:] * six[[1, 2, 2]]
    # Both ways: a tilt factor rounded up can overflow in the product that gives the vector back.
    if not (np.isfinite(six).all() and np.isfinite(back).all()):
        raise InputError(
            f"a box is so flat or so large that its tilt factors overflow: {matrix.tolist()}."
        )
    return six


def box_from_hoomd(six: ArrayLike, dimension: int) -> NDArray[np.float64] | None:
    """The box (d, d) of HOOMD's form (6,); all zeros is an open boundary, None.

    In two dimensions Lz, xz and yz are not used. Raises `InputError` for a wrong shape or
    dimension, values that are not finite, or lengths that are not greater than 0.
    """
    if dimension not in (2, 3):
        raise InputError(f"dimension = {dimension!r}: it must be 2 or 3.")
    values = real_numbers("a box in HOOMD's form", six, "(6,) numbers")
    if values.shape != (6,):
        raise InputError(
            f"a box in HOOMD's form has shape {values.shape}: it must be (6,), "
            "Lx, Ly, Lz, xy, xz, yz."
        )
    if not values.any():
        return None
    lx, ly, lz, xy, xz, yz = values
    with np.errstate(all="ignore"):  # what overflows is refused by the check below
        matrix = np.array([[lx, xy * ly, xz * lz], [0.0, ly, yz * lz], [0.0, 0.0, lz]])
    return check_box_matrix(matrix[:dimension, :dimension])


def reduce_tilt(box: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The same lattice by the box vectors that are tilted least, and what they are of the old.

    Returns (B', M) with B' = B M, M (d, d) upper triangular of integers with ones on the diagonal:
    each vector of B' reaches at most half a diagonal element of B along the axes before its own. A
    box (d, d) whose tilts are that small comes back bit for bit. The least perpendicular width is
    never smaller than before.

    Raises `InputError` as `check_box_matrix` does, and for tilts of 2^53 boxes or more.

    >>> reduce_tilt([[1.0, 3.2], [0.0, 1.0]])[0].round(12).tolist()
    [[1.0, 0.2], [0.0, 1.0]]
    """
    matrix = check_box_matrix(box).copy()
    steps = np.eye(len(matrix), dtype=np.int64)
    for column in range(1, len(matrix)):
        for row in reversed(range(column)):
            part = matrix[row, column] / matrix[row, row]
            if abs(part) <= _HALF:
                continue
            if not abs(part) < 2.0**53:
                raise InputError(
                    f"a box is tilted by {part:.3g} times its length: {matrix.tolist()}. Reduce "
                    "its tilt."
                )
            whole = int(np.rint(part))
            matrix[:, column] -= whole * matrix[:, row]
            steps[:, column] -= whole * steps[:, row]
    return matrix, steps


def widths(box: ArrayLike) -> NDArray[np.float64]:
    """The perpendicular widths (d,) of a box (d, d): the distances between opposite faces.

    Exact for boxes without tilt. Raises `InputError` as `check_box_matrix` does.
    """
    matrix = check_box_matrix(box)
    lx, ly, lz, xy, xz, yz = box_to_hoomd(matrix)
    if matrix.shape[0] == 2:
        return np.array([lx / np.hypot(1, xy), ly])
    slant = np.hypot(np.hypot(1, xy), xy * yz - xz)
    return np.array([lx / slant, ly / np.hypot(1, yz), lz])


def check_box(box: ArrayLike | None, r_cut: ArrayLike) -> None:
    """Raise `BoxTooSmallError` if a width of the box is less than twice the largest cutoff.

    Below that a particle would meet two images of another at once. ``box`` is (d, d) or None
    (nothing to check), ``r_cut`` a scalar or an array of cutoff radii. Raises `InputError` if the
    box is malformed or a cutoff is negative or not finite.
    """
    radii = real_numbers("r_cut", r_cut, "cutoffs, finite and at least 0")
    if radii.size == 0 or not np.isfinite(radii).all() or (radii < 0).any():
        raise InputError(f"r_cut = {radii.tolist()}: cutoffs must be finite and at least 0.")
    if box is None:
        return
    largest = float(radii.max())
    for axis, width in zip(_AXES, widths(box), strict=False):
        if width < 2 * largest:
            cure = (
                "Use more particles or a lower density, or shorten the interaction (a larger "
                "alpha, smaller diameters)."
            )
            if (widths(reduce_tilt(box)[0]) >= 2 * largest).all():
                cure = (
                    "It is tilted that far: the same lattice by less tilted vectors "
                    "(amorph.handover.reduce_tilt) is wide enough."
                )
            raise BoxTooSmallError(
                f"the box is {float(width):.6g} wide across its {axis} faces, less than twice the "
                f"largest cutoff, 2 x {largest:.6g} = {2 * largest:.6g}. {cure}"
            )


def wrap(
    positions: ArrayLike, box: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Bring positions into the primary cell, fractions in [-1/2, 1/2) up to rounding.

    ``positions`` is (N, d) and ``box`` (d, d) or None. Returns the wrapped positions (N, d) and the
    images (N, d) int32, with ``positions = wrapped + images @ box.T``; a position that lies inside
    is returned bit for bit. Without a box the positions are returned as they are, with images 0.
    Raises `InputError` if a position is not finite, if the shapes do not match, or if an image
    would not fit 32 bits.
    """
    points = real_numbers("positions", positions, "(N, 2) or (N, 3) numbers")
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise InputError(f"positions have shape {points.shape}: they must be (N, 2) or (N, 3).")
    if not np.isfinite(points).all():
        raise InputError("positions are not finite: they cannot be wrapped into a box.")
    images = np.zeros(points.shape)
    if box is not None:
        matrix = check_box_matrix(box)
        if matrix.shape[0] != points.shape[1]:
            raise InputError(
                f"positions have {points.shape[1]} dimensions, but the box {matrix.shape[0]}."
            )
        with np.errstate(all="ignore"):  # what overflows is refused as too far away
            _wrap_in_place(points, images, matrix)
        if not (np.abs(images) < 2**31).all():
            raise InputError(
                "a position lies 2^31 boxes away or more: the system has blown up; "
                "start it anew with a smaller step."
            )
    return points, images.astype(np.int32)


def _wrap_in_place(
    points: NDArray[np.float64], images: NDArray[np.float64], box: NDArray[np.float64]
) -> None:
    # From the last axis to the first, since a box vector reaches only into earlier axes.
    fractions = np.zeros_like(points)
    for i in reversed(range(len(box))):
        length = box[i, i]

        def along(i: int = i) -> NDArray[np.float64]:
            return points[:, i] - fractions[:, i + 1 :] @ box[i, i + 1 :]

        shift = np.rint(along() / length)
        for _ in range(_CORRECTIONS + 1):
            # A point with shift 0 is left as it is, a negative zero included.
            moved = shift != 0
            points[moved] -= shift[moved, None] * box[:, i]
            images[:, i] += shift
            # Compared by length, not by fraction: without tilt these comparisons are exact.
            rest = along()
            shift = np.where(rest >= length / 2, 1.0, np.where(rest < -length / 2, -1.0, 0.0))
        fractions[:, i] = rest / length


def nearest_images(vectors: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors (M, d) of a periodic box (d, d), each by whole box vectors to its cell around 0.

    For vectors shorter than half of the box's widths: these come out as the shortest.

    Example
    -------
    >>> nearest_images(np.array([[3.0, 0.0]]), 4.0 * np.eye(2))
    array([[-1.,  0.]])
    """
    images: NDArray[np.float64] = np.rint(np.linalg.solve(box, vectors.T)).T @ box.T
    return vectors - images
