"""The usual preparations, by name: quenches, annealing, compression."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict, Unpack

from numpy.typing import ArrayLike

from amorph.handover import InputError
from amorph.handover.arguments import check_choice

from .devices import chosen_device
from .engine import Parameters, Tables, tables, thread_count
from .preparation import Progress, check_stages_in, prepare
from .result import Ensemble
from .stages import (
    MAX_STEPS,
    TOLERANCE,
    Brownian,
    Compress,
    Langevin,
    Minimize,
    Stage,
)
from .starts import Order, make_start, start_box

__all__ = [
    "Begin",
    "anneal",
    "anneal_stages",
    "compress",
    "compress_stages",
    "minimize",
    "quench",
    "quench_stages",
]


class Begin(TypedDict, total=False):
    """What `quench`, `anneal` and `compress` have besides, by keyword.

    Attributes
    ----------
    start, noise:
        ``random`` (the default), or a lattice and the noise on it: see `make_start`.
    composition, order:
        The share of each type, by default all equal, and who has which: see `typeids`.
    first_replica:
        The number of the first replica, so that a later call can go on with further ones.
    device, threads, progress:
        As in `prepare`.
    """

    start: str
    noise: float
    composition: Sequence[float] | None
    order: Order
    first_replica: int
    device: str
    threads: int | None
    progress: Progress | None


_STARTS = ("start", "noise", "composition", "order")
AnyParameters = Parameters | Sequence[Parameters] | Tables


def minimize(
    theta: AnyParameters,
    positions: ArrayLike,
    typeid: ArrayLike,
    box: ArrayLike | None,
    *,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
    pressure: float | None = None,
    pressure_tolerance: float = 1e-6,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
    fire: Mapping[str, float] | None = None,
    newton: Mapping[str, float] | None = None,
    instruction_set: str = "auto",
    seed: int | None = None,
    first_replica: int = 0,
) -> Ensemble:
    """Minimise every replica from given positions: one `Minimize` stage.

    Parameters
    ----------
    theta, positions, typeid, box, device, threads, progress, instruction_set:
        As in `prepare`.
    tolerance, max_steps, pressure, pressure_tolerance, fire, newton:
        As in `Minimize`.
    seed, first_replica:
        Recorded with the ensemble.

    Raises
    ------
    InputError, BoxTooSmallError, UnknownTypeError, UnknownPotentialError, DeviceError
        For what cannot be computed, before work starts.
    """
    stage = Minimize(
        tolerance, max_steps, pressure, pressure_tolerance, fire=fire or {}, newton=newton or {}
    )
    return prepare(
        theta,
        positions,
        typeid,
        box,
        [stage],
        device=device,
        threads=threads,
        progress=progress,
        instruction_set=instruction_set,
        seed=seed,
        first_replica=first_replica,
    )


def quench(
    theta: Parameters,
    n_particles: int,
    density: float | None,
    dimension: int = 2,
    replicas: int = 1,
    seed: int = 0,
    *,
    pressure: float | None = None,
    pressure_tolerance: float = 1e-6,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
    **begin: Unpack[Begin],
) -> Ensemble:
    """Quench replicas from random positions (infinite temperature) to the nearest minimum.

    The protocol of O'Hern et al., Phys. Rev. E 68, 011306 (2003), in a cubic (square) box, at
    fixed volume or at fixed pressure. A pressure below a tenth of (largest pair stiffness) x
    (largest diameter)^(2 - d) is reached from there by factors of ten (see `Minimize`). A
    replica's start follows from (seed, replica number) alone.

    Parameters
    ----------
    theta:
        A potential with n_types diameters.
    n_particles:
        N, in each replica.
    density:
        Number density N/V; at fixed pressure that of the start. None: no box, for clusters in open
        space (see `make_start`).
    dimension:
        2 or 3.
    replicas:
        R.
    seed:
        0 to 2^64 - 1.
    pressure, pressure_tolerance, tolerance, max_steps:
        As in `Minimize`.
    begin:
        Where replicas start and who computes: see `Begin`.

    Raises
    ------
    InputError, BoxTooSmallError, UnknownPotentialError, DeviceError
        For what cannot be prepared, before work starts.
    """
    table = tables(theta)
    return _from_start(
        "quench",
        table,
        n_particles,
        density,
        dimension,
        replicas,
        seed,
        quench_stages(
            table,
            dimension,
            tolerance=tolerance,
            max_steps=max_steps,
            pressure=pressure,
            pressure_tolerance=pressure_tolerance,
        ),
        **begin,
    )


def anneal(
    theta: Parameters,
    n_particles: int,
    density: float | None,
    dimension: int = 2,
    replicas: int = 1,
    seed: int = 0,
    *,
    temperature: float | Sequence[float],
    steps: int,
    dt: float = 0.01,
    friction: float = 1.0,
    schedule: Literal["linear", "exponential"] = "linear",
    temperature_at: Sequence[float] | None = None,
    dynamics: Literal["langevin", "brownian"] = "langevin",
    pressure: float | None = None,
    pressure_tolerance: float = 1e-6,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
    **begin: Unpack[Begin],
) -> Ensemble:
    """Let replicas move at a temperature that changes by a schedule, then quench them.

    The starts are first minimised to forces of a hundredth of (largest pair stiffness) x (largest
    diameter), as particles at random overlap by more than any time step stands.

    Parameters
    ----------
    theta, n_particles, density, dimension, replicas, seed, pressure, pressure_tolerance:
        As in `quench`; the pressure is that of the final quench.
    temperature, schedule, temperature_at, steps, dt, friction:
        As in `Langevin`, or `Brownian` where ``dynamics`` says so.
    tolerance, max_steps, begin:
        As in `quench`.

    Raises
    ------
    InputError, BoxTooSmallError, UnknownPotentialError, DeviceError
        For what cannot be prepared, before work starts.
    """
    table = tables(theta)
    return _from_start(
        "anneal",
        table,
        n_particles,
        density,
        dimension,
        replicas,
        seed,
        anneal_stages(
            table,
            dimension,
            temperature=temperature,
            steps=steps,
            dt=dt,
            friction=friction,
            schedule=schedule,
            temperature_at=temperature_at,
            dynamics=dynamics,
            tolerance=tolerance,
            max_steps=max_steps,
            pressure=pressure,
            pressure_tolerance=pressure_tolerance,
        ),
        **begin,
    )


def compress(
    theta: Parameters,
    n_particles: int,
    density: float,
    final_density: float,
    dimension: int = 2,
    replicas: int = 1,
    seed: int = 0,
    *,
    increments: int = 100,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
    **begin: Unpack[Begin],
) -> Ensemble:
    """Quench replicas at a density, and bring them to another in steps, minimising after each.

    Parameters
    ----------
    theta, n_particles, density, dimension, replicas, seed:
        As in `quench`.
    final_density, increments:
        N/V at the end, and the number of steps to it: see `Compress`.
    tolerance, max_steps, begin:
        As in `quench`.

    Raises
    ------
    InputError, BoxTooSmallError, UnknownPotentialError, DeviceError
        For what cannot be prepared, before work starts.
    """
    table = tables(theta)
    return _from_start(
        "compress",
        table,
        n_particles,
        density,
        dimension,
        replicas,
        seed,
        compress_stages(
            table,
            dimension,
            final_density=final_density,
            increments=increments,
            tolerance=tolerance,
            max_steps=max_steps,
        ),
        **begin,
    )


def quench_stages(
    theta: AnyParameters | None,
    dimension: int,
    *,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
    pressure: float | None = None,
    pressure_tolerance: float = 1e-6,
) -> list[Stage]:
    """What `quench` does to its replicas, as `prepare` takes it; arguments as there."""
    table = None if theta is None else tables(theta)
    return [
        Minimize(
            tolerance,
            max_steps,
            pressure,
            pressure_tolerance,
            None if table is None else _from_pressure(table, pressure, dimension),
        )
    ]


def anneal_stages(
    theta: AnyParameters | None,
    dimension: int,
    *,
    temperature: float | Sequence[float],
    steps: int,
    dt: float = 0.01,
    friction: float = 1.0,
    schedule: Literal["linear", "exponential"] = "linear",
    temperature_at: Sequence[float] | None = None,
    dynamics: Literal["langevin", "brownian"] = "langevin",
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
    pressure: float | None = None,
    pressure_tolerance: float = 1e-6,
) -> list[Stage]:
    """What `anneal` does to its replicas, as `prepare` takes it; arguments as there."""
    kinds = {"langevin": Langevin, "brownian": Brownian}
    check_choice("dynamics", dynamics, tuple(kinds))
    if theta is None:
        raise InputError(
            "without a potential there is no unit of force: give the stages one by one."
        )
    table = tables(theta)
    return [
        Minimize(0.01 * table.max_force, max_steps),
        kinds[dynamics](steps, dt, temperature, schedule, temperature_at, friction=friction),
        *quench_stages(
            table,
            dimension,
            tolerance=tolerance,
            max_steps=max_steps,
            pressure=pressure,
            pressure_tolerance=pressure_tolerance,
        ),
    ]


def compress_stages(
    theta: AnyParameters | None,
    dimension: int,
    *,
    final_density: float,
    increments: int = 100,
    tolerance: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
) -> list[Stage]:
    """What `compress` does to its replicas, as `prepare` takes it; arguments as there."""
    return [
        Minimize(tolerance, max_steps),
        Compress(final_density, increments, tolerance, max_steps),
    ]


def _from_start(
    name: str,
    table: Tables,
    n_particles: int,
    density: float | None,
    dimension: int,
    replicas: int,
    seed: int,
    stages: Sequence[Stage],
    **begin: Unpack[Begin],
) -> Ensemble:
    for key in begin.keys() - Begin.__annotations__.keys():
        raise TypeError(
            f"{name}() got an unexpected keyword argument {key!r}; besides its own there are "
            f"{', '.join(Begin.__annotations__)}"
        )
    thread_count(begin.get("threads"))
    chosen_device(begin.get("device", "cpu"))
    made = {k: begin[k] for k in _STARTS if k in begin}  # type: ignore[literal-required]
    first = begin.get("first_replica", 0)
    box = start_box(
        begin.get("start", "random"), n_particles, 1.0 if density is None else density, dimension
    )
    check_stages_in(stages, table, n_particles, dimension, box[None], open_space=density is None)
    started = make_start(
        table, n_particles, density, dimension, replicas, seed, first_replica=first, **made
    )
    return prepare(
        table,
        started.positions,
        started.typeid,
        started.box,
        stages,
        seed=seed,
        first_replica=first,
        device=begin.get("device", "cpu"),
        threads=begin.get("threads"),
        progress=begin.get("progress"),
    )


def _from_pressure(table: Tables, pressure: float | None, dimension: int) -> float | None:
    if pressure is None or pressure <= 0:
        return None
    unit = table.max_force / float(table.sigma.max()) ** (dimension - 1)
    return 0.1 * unit if pressure < 0.1 * unit else None
