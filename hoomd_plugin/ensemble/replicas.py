"""Replicas as they are given to the engine: arrays checked before work starts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import InputError, UnknownTypeError

from .engine import Tables, boxes_for

__all__ = ["Replicas", "checked_replicas"]


@dataclass(frozen=True)
class Replicas:
    """Positions (R, N, d), a copy the engine may write to; typeid (N,); boxes (1 or R, d, d)."""

    positions: NDArray[np.float64]
    typeid: NDArray[np.int32]
    boxes: NDArray[np.float64]


def checked_replicas(
    table: Tables, positions: ArrayLike, typeid: ArrayLike, box: ArrayLike
) -> Replicas:
    """Check and copy what describes the replicas.

    Raises `InputError` for shapes that do not fit or positions that are not finite,
    `UnknownTypeError` for a type without parameters, `BoxTooSmallError` for a box narrower than
    twice the cutoff.
    """
    points = np.array(positions, dtype=np.float64, order="C")
    if points.ndim == 2:
        points = points[None]
    if points.ndim != 3 or points.shape[2] not in (2, 3) or 0 in points.shape:
        raise InputError(
            f"positions have shape {np.shape(positions)}: they must be (replicas, particles, 2) "
            "or (replicas, particles, 3)."
        )
    finite = np.isfinite(points).all(axis=(1, 2))
    if not finite.all():
        raise InputError(f"positions of replica {int(np.argmin(finite))} are not finite.")
    replicas, n, dimension = points.shape
    if n >= 2**24:
        raise InputError(f"{n} particles a replica: at most {2**24 - 1} are possible.")
    types = np.asarray(typeid)
    if types.shape != (n,) or types.dtype.kind not in "iu":
        raise InputError(
            f"typeid must be {n} integers, one a particle; its shape is {types.shape}."
        )
    if types.min() < 0 or types.max() >= table.n_types:
        raise UnknownTypeError(
            f"typeid reaches from {types.min()} to {types.max()}, but the potential has parameters "
            f"for {table.n_types} types: give a diameter for each."
        )
    boxes = boxes_for(box, table, replicas, dimension)
    return Replicas(points, np.ascontiguousarray(types, dtype=np.int32), boxes)
