"""Preparations: replicas taken through stages, from positions given."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import BoxTooSmallError, InputError, check_box, random_key
from amorph.handover.arguments import count, described, real_numbers, whole_numbers
from amorph.handover.potentials import attracts

from .bonds import Bonds, CheckedBonds, checked_bonds
from .devices import chosen_device
from .engine import Parameters, Tables, no_pairs, tables, thread_count
from .replicas import EngineBonds, Replicas, checked_replicas, run
from .result import Ensemble, Trajectory
from .stages import Brownian, Compress, Langevin, Minimize, Stage, total_steps

__all__ = ["check", "prepare"]

Progress = Callable[[int, int], object]


def prepare(
    theta: Parameters | Sequence[Parameters] | Tables | None,
    positions: ArrayLike,
    typeid: ArrayLike,
    box: ArrayLike | None,
    stages: Sequence[Stage],
    *,
    bonds: Bonds | Sequence[Bonds] | None = None,
    velocities: ArrayLike | None = None,
    seed: int | None = None,
    first_replica: int = 0,
    stream: int = 0,
    trajectory_every: int | None = None,
    trajectory_velocities: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
    instruction_set: str = "auto",
) -> Ensemble:
    """Take replicas from given positions through stages, one after another.

    A replica's result depends on its own start, parameters and number only: not on `threads` nor
    on the rest of the batch.

    Parameters
    ----------
    theta:
        A potential, or one for each replica; None for particles that meet through bonds alone. Of
        a formula that the engine lacks a table (`amorph.handover.PairTable`), or whatever has one
        by its ``table()``; or what `amorph.ensemble.engine.tables` laid out of any of these.
    positions:
        (R, N, d), or (N, d) for one replica; they are not changed.
    typeid:
        (N,), the same in every replica, or (R, N).
    box:
        (d, d), columns the box vectors, or one for each replica, (R, d, d); None for open
        boundaries (clusters), which have no pressure.
    stages:
        `Minimize`, `Langevin`, `Brownian`, `Compress`, in any order and number.
    bonds:
        Springs between listed pairs, beside the potential: the same in every replica, or those of
        each.
    velocities:
        (R, N, d) at the beginning; by default all are at rest.
    seed:
        The key of all random numbers, 0 to 2^64 - 1; 0 if dynamics need one and none is given.
    first_replica:
        The number of the first replica, which its random numbers depend on.
    stream:
        A further number they depend on, 0 to 2^32 - 1: another one in each call that goes on with
        the same replicas, whose noise would else be the same again.
    trajectory_every, trajectory_velocities:
        Keep the positions (and velocities) of every so many time steps of the dynamics.
    device:
        ``cpu``, ``gpu``, or ``gpu:N`` for the one numbered N (see `gpus`). On a GPU a replica may
        have 10,000 particles, and FIRE minimises alone, without Newton's method at its end.
    threads:
        Threads of the CPU over replicas; by default as many as this process may use.
    progress:
        Called as progress(done, replicas), about ten times a second.
    instruction_set:
        Of the CPU: ``auto``, or one of `amorph.ensemble.instruction_sets`.

    Raises
    ------
    InputError, BoxTooSmallError, UnknownTypeError, UnknownPotentialError
        For what cannot be computed, before work starts. A replica that fails on its way has a
        status that says so, and `Ensemble.failures` a line: the others are not lost with it.
    DeviceError
        Where there is no such GPU, or CUDA fails.
    """
    table, start, springs = _checked(theta, positions, typeid, box, bonds)
    total, n, dimension = start.positions.shape
    check_stages(stages, table, start, open_space=box is None)
    key = random_key(0 if seed is None else seed, first_replica, stream, replicas=total)
    thread_count(threads)
    chosen_device(device)
    moving = total_steps(stages) > 0
    if velocities is not None and not moving:
        raise InputError("velocities: no stage has time steps that they would matter to.")
    if trajectory_velocities and trajectory_every is None:
        raise InputError("trajectory_velocities: give trajectory_every too.")
    speeds = _velocities(velocities, start.positions.shape) if moving else None
    boxes_change = any(
        isinstance(s, Compress) or (isinstance(s, Minimize) and s.pressure is not None)
        for s in stages
    )
    if boxes_change and len(start.boxes) != total:
        start = Replicas(start.positions, start.typeid, np.repeat(start.boxes, total, axis=0))
    trajectory = None
    if trajectory_every is not None:
        every = count("trajectory_every", trajectory_every)
        if not moving:
            raise InputError("trajectory_every: no stage has time steps to keep frames of.")
        shape = (total, total_steps(stages) // every, n, dimension)
        if shape[1] == 0:
            raise InputError(
                f"trajectory_every = {every}: the stages have only {total_steps(stages)} steps."
            )
        trajectory = Trajectory(
            every,
            np.full(shape, np.nan),
            np.full(shape, np.nan) if trajectory_velocities else None,
        )

    def report(done: int) -> None:
        if progress is not None:
            progress(done, total)

    parts = [list(stage.engine(dimension, n)) for stage in stages]
    result = run(
        table,
        start,
        [part for own in parts for part in own],
        velocities=speeds,
        key=key,
        every=0 if trajectory is None else trajectory.every,
        trajectory=None if trajectory is None else trajectory.positions,
        trajectory_velocities=None if trajectory is None else trajectory.velocities,
        bonds=_as_engine_takes(springs),
        threads=threads,
        instruction_set=instruction_set,
        device=device,
        progress=report,
    )
    report(total)
    of_part = np.repeat(np.arange(len(stages), dtype=np.int32), [len(own) for own in parts])
    result["stage"] = of_part[result["stage"]]
    last = stages[-1]
    if box is None:
        result["stress"] = None
    return Ensemble(
        positions=start.positions,
        typeid=start.typeid,
        boxes=None if box is None else start.boxes,
        potential=None if theta is None else table.potential,
        parameters=table.parameters,
        tolerance=float(last.tolerance) if isinstance(last, (Minimize, Compress)) else None,
        seed=None if seed is None else key.seed,
        replica=np.arange(key.replica, key.replica + total),
        velocities=speeds,
        trajectory=trajectory,
        bonds=springs,
        **result,
    )


def _types(typeid: ArrayLike) -> int:
    types = whole_numbers("typeid", typeid, "integers, one a particle")
    return int(types.max(initial=0)) + 1


def _as_engine_takes(springs: tuple[CheckedBonds, ...]) -> EngineBonds | None:
    if not springs:
        return None
    first = [0, *np.cumsum([len(own.pairs) for own in springs]).tolist()]
    return (
        first,
        np.concatenate([own.pairs for own in springs]),
        np.concatenate([own.stiffness for own in springs]),
        np.concatenate([own.length for own in springs]),
    )


def check(
    theta: Parameters | Sequence[Parameters] | Tables | None,
    positions: ArrayLike,
    typeid: ArrayLike,
    box: ArrayLike | None,
    stages: Sequence[Stage],
    *,
    bonds: Bonds | Sequence[Bonds] | None = None,
) -> None:
    """Raise for what `prepare` would refuse before work starts, and do nothing else."""
    table, start, _ = _checked(theta, positions, typeid, box, bonds)
    check_stages(stages, table, start, open_space=box is None)


def _checked(
    theta: Parameters | Sequence[Parameters] | Tables | None,
    positions: ArrayLike,
    typeid: ArrayLike,
    box: ArrayLike | None,
    bonds: Bonds | Sequence[Bonds] | None,
) -> tuple[Tables, Replicas, tuple[CheckedBonds, ...]]:
    if theta is None and bonds is None:
        raise InputError("there is neither a potential nor bonds: give one of them.")
    table = tables(theta) if theta is not None else no_pairs(_types(typeid), 1.0)
    start = checked_replicas(table, positions, typeid, space(table, positions, box))
    springs = () if bonds is None else checked_bonds(bonds, start.positions, start.boxes)
    if theta is None:
        # Steps and skins are measured in bond lengths.
        length = float(np.mean([b.length.mean() for b in springs]))
        table = no_pairs(table.n_types, length if length > 0 else 1.0)
    return table, start, springs


def space(table: Tables, positions: ArrayLike, box: ArrayLike | None) -> ArrayLike:
    """The box, or for open boundaries one so wide that no particle meets another's image."""
    if box is not None:
        return box
    points = real_numbers("positions", positions, "(replicas, particles, 2 or 3) numbers")
    if points.ndim not in (2, 3) or points.size == 0 or not np.isfinite(points).all():
        return np.eye(2)  # what is wrong with the positions is said where they are checked
    extent = float(np.abs(points).max()) + float(table.r_cut.max())
    return np.eye(points.shape[-1]) * (2.0**20 * extent)


def check_stages(
    stages: Sequence[Stage], table: Tables, start: Replicas, *, open_space: bool = False
) -> None:
    """Raise for stages that cannot be: `InputError`, or `BoxTooSmallError` for a final box."""
    _, n, dimension = start.positions.shape
    check_stages_in(stages, table, n, dimension, start.boxes, open_space=open_space)


def check_stages_in(
    stages: Sequence[Stage],
    table: Tables,
    n: int,
    dimension: int,
    boxes: NDArray[np.float64],
    *,
    open_space: bool = False,
) -> None:
    """The same from the boxes (1 or R, d, d) alone, before there are positions."""
    if isinstance(stages, (str, bytes)) or not isinstance(stages, Sequence):
        raise InputError(f"stages is {described(stages)}: give a list of them, as [Minimize()].")
    if not stages:
        raise InputError("there are no stages: give at least one, as [Minimize()].")
    for stage in stages:
        if not isinstance(stage, (Minimize, Langevin, Brownian, Compress)):
            raise InputError(
                f"{described(stage)} is no stage: there are Minimize, Langevin, Brownian, Compress."
            )
        stage.check()
        if open_space and (
            isinstance(stage, Compress)
            or (isinstance(stage, Minimize) and stage.pressure is not None)
        ):
            raise InputError(
                f"{type(stage).__name__}: open boundaries hold no pressure and have no density: "
                "give a box."
            )
        if isinstance(stage, Minimize) and stage.pressure is not None:
            _check_pressure(stage.pressure, table)
        if isinstance(stage, Compress):
            scale = (n / stage.density / np.abs(np.linalg.det(boxes))) ** (1 / dimension)
            for factor, matrix in zip(scale, boxes, strict=True):
                try:
                    check_box(matrix * factor, float(table.r_cut.max()))
                except BoxTooSmallError as error:
                    raise BoxTooSmallError(f"at density {stage.density}: {error}") from error
    total_steps(stages)


def _check_pressure(pressure: float, table: Tables) -> None:
    """Whether a potential without attraction is asked to pull."""
    if pressure > 0:
        return
    for replica, own in enumerate(table.parameters):
        if table.tabulated:
            bound = bool(table.tabulated[replica].attracts.any())
        else:
            bound = attracts(table.potential, own)
        if not bound:
            raise InputError(
                f"pressure = {pressure!r}: particles that only repel, as those of "
                f"{table.potential} here"
                + (f" in replica {replica}" if len(table.parameters) > 1 else "")
                + ", hold a pressure greater than 0 alone."
            )


def _velocities(given: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.float64]:
    if given is None:
        return np.zeros(shape)
    speeds = real_numbers("velocities", given, "numbers as the positions")
    if shape[0] == 1 and speeds.shape == shape[1:]:
        speeds = speeds[None]
    if speeds.shape != shape:
        raise InputError(
            f"velocities have shape {np.shape(given)}: they must be as the positions, {shape}."
        )
    if not np.isfinite(speeds).all():
        raise InputError("velocities are not finite.")
    return speeds
