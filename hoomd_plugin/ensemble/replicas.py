"""Replicas as they are given to the engine: arrays checked before work starts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import DeviceError, InputError, Purpose, RandomKey, UnknownTypeError
from amorph.handover.arguments import real_numbers, whole_numbers

from . import _engine
from .devices import chosen_device
from .engine import Tables, boxes_for, chosen_instruction_set, thread_count

__all__ = ["Replicas", "checked_replicas", "run"]


# First bond of each replica, pairs, stiffnesses, lengths.
EngineBonds = tuple[list[int], NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Replicas:
    """Positions (R, N, d) and boxes (1 or R, d, d), copies; typeid (N,) or (R, N)."""

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
    points = real_numbers("positions", positions, "(replicas, particles, 2 or 3) numbers")
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
    types = whole_numbers("typeid", typeid, f"{n} integers, one a particle")
    if types.shape not in ((n,), (replicas, n)):
        raise InputError(
            f"typeid must be {n} integers, one a particle, or such a row for each of the "
            f"{replicas} replicas; its shape is {types.shape}."
        )
    if len(table.parameters) not in (1, replicas):
        raise InputError(
            f"there are parameters for {len(table.parameters)} replicas, but {replicas} replicas: "
            "give one potential, or one for each."
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
    stages: Sequence[Mapping[str, Any]],
    *,
    want_forces: bool = False,
    velocities: NDArray[np.float64] | None = None,
    key: RandomKey | None = None,
    every: int = 0,
    trajectory: NDArray[np.float64] | None = None,
    trajectory_velocities: NDArray[np.float64] | None = None,
    bonds: EngineBonds | None = None,
    threads: int | None = None,
    instruction_set: str = "auto",
    device: str = "cpu",
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Let the engine take the replicas through the stages, in place, or measure them if none."""
    gpu = chosen_device(device)
    try:
        return _engine.run(
            table.potential,
            table.sigma,
            table.pairs,
            table.for_engine,
            start.boxes,
            start.typeid,
            start.positions,
            velocities=velocities,
            stages=list(stages),
            want_forces=want_forces,
            key=key or RandomKey(),
            purposes=[Purpose.NOISE, Purpose.NOISE_Z, Purpose.VELOCITY, Purpose.VELOCITY_Z],
            every=every,
            trajectory=trajectory,
            trajectory_velocities=trajectory_velocities,
            bonds=bonds,
            threads=thread_count(threads),
            instruction_set=chosen_instruction_set(instruction_set),
            gpu=gpu,
            progress=progress,
        )
    except _engine.GpuError as error:
        raise DeviceError(f"{error}.") from None
    except ValueError as error:
        if gpu is None:
            raise
        raise InputError(f"device = {device!r}: {error}.") from None
