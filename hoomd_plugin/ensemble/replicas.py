"""Replicas as they are given to the engine: arrays checked before work starts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import InputError, UnknownTypeError

from . import _engine
from .engine import Tables, boxes_for, chosen_instruction_set, thread_count

__all__ = ["Replicas", "checked_replicas", "run"]


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


def run(
    table: Tables,
    start: Replicas,
    *,
    minimize: bool,
    tolerance: float = 0.0,
    max_steps: int = 0,
    fire: Mapping[str, float] | None = None,
    newton: Mapping[str, float] | None = None,
    threads: int | None = None,
    instruction_set: str = "auto",
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Let the engine minimise the replicas in place, or measure them with their forces."""
    return _engine.run(
        table.potential,
        table.sigma,
        table.pairs,
        start.boxes,
        start.typeid,
        start.positions,
        minimize=minimize,
        want_forces=not minimize,
        tolerance=tolerance,
        max_steps=max_steps,
        fire=fire or {},
        newton=newton or {},
        threads=thread_count(threads),
        instruction_set=chosen_instruction_set(instruction_set),
        progress=progress,
    )
