"""Quenches: from given or random positions to the nearest local minimum, for many replicas."""

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import Frame, InputError, Purpose, check_box_matrix, type_names, write_gsd

from . import _engine
from .engine import (
    Parameters,
    boxes_for,
    count,
    positive,
    tables,
    thread_count,
)
from .replicas import checked_replicas, run

if TYPE_CHECKING:
    import pandas

__all__ = ["Ensemble", "Status", "minimize", "quench", "random_positions", "typeids"]

Progress = Callable[[int, int], object]


class Status(enum.IntEnum):
    """How a replica's minimisation ended."""

    CONVERGED = 0
    STEP_LIMIT = 1
    NOT_FINITE = 2


@dataclass(frozen=True)
class Ensemble:
    """Prepared replicas. R replicas of N particles in d dimensions, reduced units.

    Attributes
    ----------
    positions:
        (R, N, d), in the box.
    typeid:
        (N,).
    boxes:
        (1 or R, d, d), columns the box vectors.
    potential, parameters:
        What they were prepared with.
    energy, max_force, stress:
        (R,), (R,), (R, d, d): total energy, largest |F| over the particles, (1/V) dU/dε.
    status, steps, hessian_products, list_builds, seconds:
        (R,) each: a `Status`, steps of the minimiser, products of the Hessian with a vector within
        them, builds of the neighbour list, time taken.
        Where the status is `NOT_FINITE`, energy, max_force and stress are NaN.
    tolerance:
        The largest |F| at which a replica counts as converged.
    seed, replica:
        The key of the random starts (None where positions were given) and (R,) replica numbers.
    """

    positions: NDArray[np.float64]
    typeid: NDArray[np.int32]
    boxes: NDArray[np.float64]
    potential: str
    parameters: Mapping[str, NDArray[np.float64]]
    energy: NDArray[np.float64]
    max_force: NDArray[np.float64]
    stress: NDArray[np.float64]
    status: NDArray[np.int32]
    steps: NDArray[np.int64]
    list_builds: NDArray[np.int64]
    hessian_products: NDArray[np.int64]
    seconds: NDArray[np.float64]
    tolerance: float
    seed: int | None
    replica: NDArray[np.int64]

    def __len__(self) -> int:
        """The number of replicas."""
        return len(self.positions)

    @property
    def converged(self) -> NDArray[np.bool_]:
        """(R,): whether a replica reached the tolerance."""
        return self.status == Status.CONVERGED

    @property
    def pressure(self) -> NDArray[np.float64]:
        """(R,): -tr(stress)/d."""
        return -np.trace(self.stress, axis1=1, axis2=2) / self.positions.shape[2]

    def frames(self) -> Iterator[Frame]:
        """The replicas as frames of a GSD file, in order.

        A replica whose positions are not finite is left out, as there is nothing to write; the
        frames' logs tell each one's number, and whether it converged.
        """
        names = type_names(len(self.parameters["diameters"]))
        for r in np.flatnonzero(np.isfinite(self.positions).all(axis=(1, 2))):
            log: dict[str, ArrayLike] = {
                "replica": self.replica[r],
                "energy": self.energy[r],
                "max_force": self.max_force[r],
                "converged": self.converged[r],
                "steps": self.steps[r],
                "tolerance": self.tolerance,
            }
            if self.seed is not None:
                log["seed"] = np.uint64(self.seed)
            yield Frame(
                positions=self.positions[r],
                typeid=self.typeid,
                types=names,
                box=self.boxes[r if len(self.boxes) > 1 else 0],
                potential=self.potential,
                parameters=dict(self.parameters),
                log={key: np.asarray(value) for key, value in log.items()},
            )

    def write(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write a GSD file, one frame a replica; it appears under its name only when whole.

        Raises `OutputExistsError` unless `overwrite`, `OutputError` where it cannot be written.
        """
        write_gsd(path, self.frames(), overwrite=overwrite)

    def table(self) -> "pandas.DataFrame":
        """Statistics, a row a replica: replica, status, steps, energy, max_force, pressure, ..."""
        import pandas

        return pandas.DataFrame(
            {
                "replica": self.replica,
                "status": [Status(s).name.lower() for s in self.status],
                "steps": self.steps,
                "hessian_products": self.hessian_products,
                "list_builds": self.list_builds,
                "seconds": self.seconds,
                "energy": self.energy,
                "energy_per_particle": self.energy / self.positions.shape[1],
                "max_force": self.max_force,
                "pressure": self.pressure,
            }
        )


def typeids(
    n_particles: int, n_types: int, composition: Sequence[float] | None = None
) -> NDArray[np.int32]:
    """Types of the particles (N,), in order: first all of type 0, then of type 1, ...

    Parameters
    ----------
    n_particles, n_types:
        How many there are.
    composition:
        The share of each type, in any proportion ([1, 1], [0.5, 0.5]); by default all equal.

    Raises
    ------
    InputError
        If the composition does not divide the particles into whole numbers.
    """
    n_particles = count("n_particles", n_particles)
    shares = np.ones(n_types) if composition is None else np.asarray(composition, dtype=np.float64)
    if shares.shape != (n_types,) or not np.isfinite(shares).all() or (shares < 0).any():
        raise InputError(
            f"composition = {composition!r}: it must give {n_types} shares, none below 0, "
            "one for each type."
        )
    if shares.sum() <= 0:
        raise InputError(f"composition = {composition!r}: the shares must not all be 0.")
    exact = n_particles * shares / shares.sum()
    numbers = np.rint(exact).astype(np.int64)
    if np.abs(exact - numbers).max() > 1e-6 or numbers.sum() != n_particles:
        raise InputError(
            f"composition {shares.tolist()} does not divide {n_particles} particles into whole "
            f"numbers ({', '.join(f'{x:g}' for x in exact)}): change n_particles or composition."
        )
    return np.repeat(np.arange(n_types, dtype=np.int32), numbers)


def random_positions(
    n_particles: int,
    box: ArrayLike,
    replicas: int,
    seed: int,
    *,
    first_replica: int = 0,
) -> NDArray[np.float64]:
    """Uniform random positions (R, N, d) in a box.

    A replica's positions depend on (seed, replica number) alone: see
    `amorph.handover.random_keys`.

    Parameters
    ----------
    n_particles, replicas:
        N and R.
    box:
        (d, d), columns the box vectors.
    seed:
        0 to 2^64 - 1.
    first_replica:
        The number of the first replica; the others follow.

    Raises
    ------
    InputError
        For numbers out of bounds.
    """
    matrix = check_box_matrix(box)
    n = count("n_particles", n_particles, below=2**24)
    r = count("replicas", replicas)
    key, first = checked_keys(seed, first_replica, r)
    positions = np.empty((r, n, len(matrix)))
    _engine.random_positions(
        key,
        [Purpose.START_POSITION, Purpose.START_POSITION_Z],
        first,
        np.ascontiguousarray(matrix[None]),
        positions,
    )
    return positions


def minimize(
    theta: Parameters,
    positions: ArrayLike,
    typeid: ArrayLike,
    box: ArrayLike,
    *,
    tolerance: float = 1e-10,
    max_steps: int = 200_000,
    threads: int | None = None,
    progress: Progress | None = None,
    fire: Mapping[str, float] | None = None,
    newton: Mapping[str, float] | None = None,
    instruction_set: str = "auto",
    seed: int | None = None,
    first_replica: int = 0,
) -> Ensemble:
    """Minimise the energy of every replica from given positions by FIRE, then Newton's method.

    The minimiser is FIRE 2 with semi-implicit Euler steps and the half step back (Guénolé et al.,
    Comput. Mater. Sci. 175, 109584 (2020)), one state a replica. Close to the minimum it hands
    over to Newton's method with conjugate gradients (Nocedal & Wright, Numerical Optimization,
    2nd ed., algorithm 7.1), whose steps stand only where the energy is convex, the step short and
    the forces fall; where not, FIRE goes on. A replica's result depends on its own start only: not
    on `threads` nor on the rest of the batch.

    Parameters
    ----------
    theta:
        A potential.
    positions:
        (R, N, d), or (N, d) for one replica; they are not changed.
    typeid:
        (N,), the same in every replica.
    box:
        (d, d), columns the box vectors, or one for each replica, (R, d, d).
    tolerance:
        Converged when the largest |F| over the particles is at most this.
    max_steps:
        Steps after which a replica ends with `Status.STEP_LIMIT`.
    threads:
        Threads over replicas; by default as many as this process may use.
    progress:
        Called as progress(done, replicas), about ten times a second.
    fire:
        Settings of FIRE that differ from the default: ``dt_start``, ``dt_max``, ``dt_min`` in
        units of (largest pair stiffness)^(-1/2), ``max_move`` in units of the largest diameter,
        ``grow``, ``shrink``, ``mixing``, ``mixing_decay``, ``delay``.
    newton:
        Settings of Newton's method that differ from the default: ``start``, the largest |F| at
        which it is tried, in units of (largest pair stiffness) x (largest diameter), 0 for never;
        ``reach``, the farthest it may move a particle, in largest diameters; ``forcing``, the
        residual force of each of its linear systems, relative; ``max_products`` for each.
    instruction_set:
        ``auto``, or one of `instruction_sets`.
    seed, first_replica:
        Recorded with the ensemble.

    Raises
    ------
    InputError, BoxTooSmallError, UnknownTypeError, UnknownPotentialError
        For what cannot be computed, before work starts.
    """
    table = tables(theta)
    start = checked_replicas(table, positions, typeid, box)
    limit = positive("tolerance", tolerance)
    steps = count("max_steps", max_steps)
    settings = checked_fire(fire or {})
    finish = checked_newton(newton or {})
    total = len(start.positions)
    key, first = checked_keys(0 if seed is None else seed, first_replica, total)

    def report(done: int) -> None:
        if progress is not None:
            progress(done, total)

    result = run(
        table,
        start,
        minimize=True,
        tolerance=limit,
        max_steps=steps,
        fire=settings,
        newton=finish,
        threads=threads,
        instruction_set=instruction_set,
        progress=report,
    )
    report(total)
    return Ensemble(
        positions=start.positions,
        typeid=start.typeid,
        boxes=start.boxes,
        potential=table.potential,
        parameters=table.parameters,
        tolerance=limit,
        seed=None if seed is None else key,
        replica=np.arange(first, first + total),
        **result,
    )


def checked_keys(seed: int, first_replica: int, replicas: int) -> tuple[int, int]:
    """The seed and the first replica's number as keys of random numbers; raises `InputError`."""
    key = count("seed", seed, least=0, below=2**64)
    first = count("first_replica", first_replica, least=0, below=2**32)
    if first + replicas > 2**32:
        raise InputError(
            f"first_replica = {first} with {replicas} replicas: replica numbers end at {2**32 - 1}."
        )
    return key, first


_FIRE_SETTINGS = (
    "dt_start",
    "dt_max",
    "dt_min",
    "max_move",
    "grow",
    "shrink",
    "mixing",
    "mixing_decay",
    "delay",
)


def checked_fire(fire: Mapping[str, float]) -> dict[str, float]:
    """FIRE's settings, those given; raises `InputError` for an unknown or impossible one."""
    for name, value in fire.items():
        if name not in _FIRE_SETTINGS:
            raise InputError(f"FIRE has no setting {name!r}: it has {', '.join(_FIRE_SETTINGS)}.")
        positive(f"fire[{name!r}]", value)
    out = dict(fire)
    if "delay" in out:
        out["delay"] = count("fire['delay']", fire["delay"])  # type: ignore[arg-type]
    return out


def checked_newton(newton: Mapping[str, float]) -> dict[str, float]:
    """Settings of Newton's method; raises `InputError` for an unknown or impossible one."""
    out: dict[str, float] = {}
    for name, value in newton.items():
        if name == "max_products":
            out[name] = count("newton['max_products']", value)  # type: ignore[arg-type]
        elif name == "start" and value == 0:
            out[name] = 0.0
        elif name in ("start", "reach", "forcing"):
            out[name] = positive(f"newton[{name!r}]", value)
        else:
            raise InputError(
                f"Newton's method has no setting {name!r}: it has start, reach, forcing, "
                "max_products."
            )
    return out


def quench(
    theta: Parameters,
    n_particles: int,
    density: float,
    dimension: int = 2,
    replicas: int = 1,
    seed: int = 0,
    *,
    composition: Sequence[float] | None = None,
    tolerance: float = 1e-10,
    max_steps: int = 200_000,
    threads: int | None = None,
    progress: Progress | None = None,
    first_replica: int = 0,
) -> Ensemble:
    """Quench replicas from random positions (infinite temperature) to the nearest minimum.

    The protocol of O'Hern et al., Phys. Rev. E 68, 011306 (2003), at fixed volume in a cubic
    (square) box. A replica's start follows from (seed, replica number) alone.

    Parameters
    ----------
    theta:
        A potential with n_types diameters.
    n_particles:
        N, in each replica.
    density:
        Number density N/V.
    dimension:
        2 or 3.
    replicas:
        R.
    seed:
        0 to 2^64 - 1.
    composition:
        The share of each type; by default all equal. See `typeids`.
    first_replica:
        The number of the first replica, so that a later call can go on with further ones.
    tolerance, max_steps, threads, progress:
        As in `minimize`.

    Raises
    ------
    InputError, BoxTooSmallError, UnknownPotentialError
        For what cannot be prepared, before work starts.
    """
    if not isinstance(dimension, (int, np.integer)) or dimension not in (2, 3):
        raise InputError(f"dimension = {dimension!r}: it must be 2 or 3.")
    n = count("n_particles", n_particles)
    length = (n / positive("density", density)) ** (1.0 / dimension)
    table = tables(theta)
    types = typeids(n, table.n_types, composition)
    box = np.eye(dimension) * length
    boxes_for(box, table, 1, dimension)
    positive("tolerance", tolerance)
    count("max_steps", max_steps)
    thread_count(threads)
    positions = random_positions(n, box, replicas, seed, first_replica=first_replica)
    return minimize(
        theta,
        positions,
        types,
        box,
        tolerance=tolerance,
        max_steps=max_steps,
        threads=threads,
        progress=progress,
        seed=seed,
        first_replica=first_replica,
    )
