"""Springs between listed pairs of particles: networks, or bonds beside a pair potential."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import InputError, check_box_matrix, widths
from amorph.handover.arguments import (
    one_or_several,
    positive,
    real_numbers,
    whole_numbers,
)
from amorph.handover.showing import numbers_shown

__all__ = ["Bonds"]


@dataclass(frozen=True)
class Bonds:
    """Springs: u(r) = (k/2)(r - l)² between the particles of each pair, at any distance.

    Attributes
    ----------
    pairs:
        (B, 2), two different particles each, no pair twice.
    stiffness:
        k > 0, (B,) or a number for all, energy / length².
    length:
        The rest lengths l >= 0, (B,) or a number for all; None: as long as the bonds are at the
        start.
    """

    pairs: ArrayLike
    stiffness: ArrayLike
    length: ArrayLike | None = None

    def __repr__(self) -> str:
        length = "as at the start" if self.length is None else numbers_shown(self.length)
        number = len(np.asarray(self.pairs))
        return f"Bonds of {number} pairs (stiffness={numbers_shown(self.stiffness)}, {length=!s})"

    @classmethod
    def within(
        cls,
        positions: ArrayLike,
        box: ArrayLike | None,
        distance: float,
        stiffness: float,
        length: float | None = None,
    ) -> "Bonds":
        """Springs between all pairs of particles nearer than a distance.

        Parameters
        ----------
        positions:
            (N, d), of one replica.
        box:
            (d, d), columns the box vectors; None for open boundaries.
        distance:
            Of the nearest images, below half the box's smallest width.
        stiffness, length:
            As the attributes, of all springs.

        Raises
        ------
        InputError
            For positions or a distance that cannot be, or where no pair is so near.
        """
        points = real_numbers("bonds: positions", positions, "(N, 2) or (N, 3) numbers")
        if points.ndim != 2 or points.shape[1] not in (2, 3) or not np.isfinite(points).all():
            raise InputError(f"bonds: positions have shape {points.shape}: give (N, 2) or (N, 3).")
        reach = positive("bonds: within", distance)
        matrix = None if box is None else check_box_matrix(box)
        if matrix is not None and not reach < 0.5 * float(np.min(widths(matrix))):
            raise InputError(
                f"bonds: within = {reach:g}: in this box it must be below "
                f"{0.5 * float(np.min(widths(matrix))):g}, half its smallest width."
            )
        pairs = []
        for i in range(len(points) - 1):
            apart = nearest_image(points[i + 1 :] - points[i], matrix)
            near = i + 1 + np.flatnonzero(np.einsum("ij,ij->i", apart, apart) < reach**2)
            pairs.append(np.stack([np.full_like(near, i), near], axis=1))
        found = np.concatenate(pairs) if pairs else np.zeros((0, 2), dtype=np.int64)
        if len(found) == 0:
            raise InputError(f"bonds: no two particles are within {reach:g} of each other.")
        return cls(found, stiffness, length)


def nearest_image(
    apart: NDArray[np.float64], box: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Vectors (B, d) to the nearest image by rounding, as the engine takes it."""
    if box is None:
        return apart
    nearest = apart.copy()
    for b in range(len(box) - 1, -1, -1):
        nearest -= np.rint(nearest[:, b] / box[b, b])[:, None] * box[:, b]
    return nearest


@dataclass(frozen=True)
class CheckedBonds:
    """Bonds of one replica: pairs (B, 2), stiffness and length (B,)."""

    pairs: NDArray[np.int32]
    stiffness: NDArray[np.float64]
    length: NDArray[np.float64]


def checked_bonds(
    bonds: Bonds | Sequence[Bonds], positions: NDArray[np.float64], boxes: NDArray[np.float64]
) -> tuple[CheckedBonds, ...]:
    """The bonds of all replicas, or of each; raises `InputError` for what cannot be."""
    each = one_or_several("bonds", bonds, Bonds, "ensemble.Bonds, or those of each replica")
    replicas = len(positions)
    if len(each) not in (1, replicas):
        raise InputError(f"there are {len(each)} lists of bonds for {replicas} replicas.")
    if len(each) == 1 and each[0].length is None and replicas > 1:
        each = each * replicas  # each replica's bonds are as long as its own
    return tuple(
        _checked(own, positions[r], boxes[r if len(boxes) > 1 else 0], r)
        for r, own in enumerate(each)
    )


def _checked(
    bonds: Bonds, positions: NDArray[np.float64], box: NDArray[np.float64], replica: int
) -> CheckedBonds:
    pairs = whole_numbers("bonds: pairs", bonds.pairs, "integers (B, 2)")
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) == 0 or pairs.dtype.kind not in "iu":
        raise InputError(f"bonds: pairs have shape {pairs.shape}: they must be integers (B, 2).")
    n = len(positions)
    if pairs.min() < 0 or pairs.max() >= n:
        raise InputError(f"bonds: pairs reach from {pairs.min()} to {pairs.max()}: there are {n}.")
    ordered = np.sort(pairs, axis=1)
    if (ordered[:, 0] == ordered[:, 1]).any():
        b = int(np.argmax(ordered[:, 0] == ordered[:, 1]))
        raise InputError(f"bonds: bond {b} joins particle {ordered[b, 0]} with itself.")
    _, first = np.unique(ordered, axis=0, return_index=True)
    if len(first) < len(pairs):
        b = int(np.setdiff1d(np.arange(len(pairs)), first)[0])
        raise InputError(f"bonds: pair {ordered[b].tolist()} stands there twice.")
    apart = nearest_image(positions[pairs[:, 1]] - positions[pairs[:, 0]], box)
    distance = np.linalg.norm(apart, axis=1)
    half = 0.5 * float(np.min(widths(box)))
    if distance.max() >= half:
        b = int(np.argmax(distance))
        raise InputError(
            f"bonds: in replica {replica} bond {b} is {distance[b]:g} long: in this box it must be "
            f"below {half:g}, or its image is not settled."
        )
    stiffness = _values("stiffness", bonds.stiffness, len(pairs), zero_allowed=False)
    length = (
        distance
        if bonds.length is None
        else _values("length", bonds.length, len(pairs), zero_allowed=True)
    )
    return CheckedBonds(np.ascontiguousarray(pairs, dtype=np.int32), stiffness, length)


def _values(name: str, given: ArrayLike, count: int, *, zero_allowed: bool) -> NDArray[np.float64]:
    values = real_numbers(f"bonds: {name}", given)
    if values.shape not in ((), (count,)):
        raise InputError(f"bonds: {name} has shape {values.shape}: it must be ({count},) or one.")
    if (
        not np.isfinite(values).all()
        or (values < 0).any()
        or (not zero_allowed and not values.all())
    ):
        bound = "at least 0" if zero_allowed else "greater than 0"
        raise InputError(f"bonds: {name} must be finite and {bound}.")
    return np.array(np.broadcast_to(values, (count,)))
