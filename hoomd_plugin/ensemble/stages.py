"""What can be done to a replica: the stages a preparation is made of, checked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from amorph.handover import InputError
from amorph.handover.arguments import check_choice, check_kind, count, not_negative, positive

from . import _engine

__all__ = ["Brownian", "Compress", "Langevin", "Minimize", "Stage", "total_steps"]

_KINDS = _engine.stage_kinds()
_FIRE = (
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
TOLERANCE = 1e-10
"""The largest force at which a minimisation has converged, unless another one is asked for."""
MAX_STEPS = 200_000
"""The steps after which a minimisation ends, unless others are asked for."""
# The counter of the random numbers holds the time step in 32 bits.
_MOST_STEPS = 2**32


@dataclass(frozen=True)
class Minimize:
    """Minimise the energy U, or at fixed pressure p the enthalpy U + p V.

    FIRE 2 with semi-implicit Euler steps and the half step back (Guénolé et al., Comput. Mater.
    Sci. 175, 109584 (2020)), one state a replica. Close to the minimum it hands over to Newton's
    method with conjugate gradients (Nocedal & Wright, Numerical Optimization, 2nd ed., algorithm
    7.1), whose steps stand only where the function is convex, the step short and the forces fall;
    where not, FIRE goes on. At fixed pressure the logarithm of the box's lengths, isotropic, is
    one more degree of freedom.

    Attributes
    ----------
    tolerance:
        Converged when the largest |F| over the particles is at most this,
    pressure, pressure_tolerance:
        and when the pressure is that, to this relative accuracy. None: at fixed volume.
    max_steps:
        Steps after which it ends, not converged.
    from_pressure:
        Come to the pressure from this one by factors of ten, minimising at each to forces of 1e-4
        of it. At a pressure far below the stiffness a start at random would first fly apart, and
        come together slowly.
    fire:
        Settings of FIRE that differ from the default: ``dt_start``, ``dt_max``, ``dt_min`` in
        units of (largest pair stiffness)^(-1/2), ``max_move`` in units of the largest diameter,
        ``grow``, ``shrink``, ``mixing``, ``mixing_decay``, ``delay``.
    newton:
        Settings of Newton's method that differ from the default: ``start``, the largest |F| at
        which it is tried, in units of (largest pair stiffness) x (largest diameter), 0 for never;
        ``reach``, the farthest it may move a particle, in largest diameters; ``forcing``, the
        residual force of each of its linear systems, relative; ``max_products`` for each.
    """

    tolerance: float = TOLERANCE
    max_steps: int = MAX_STEPS
    pressure: float | None = None
    pressure_tolerance: float = 1e-6
    from_pressure: float | None = None
    fire: Mapping[str, float] = field(default_factory=dict)
    newton: Mapping[str, float] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `InputError` for what cannot be."""
        positive("tolerance", self.tolerance)
        count("max_steps", self.max_steps)
        positive("pressure_tolerance", self.pressure_tolerance)
        if self.pressure is not None:
            finite("pressure", self.pressure)
        if self.from_pressure is not None:
            positive("from_pressure", self.from_pressure)
            if self.pressure is None or not 0 < self.pressure <= self.from_pressure:
                raise InputError(
                    f"from_pressure = {self.from_pressure!r}: pressure must be greater than 0 and "
                    f"at most that, not {self.pressure!r}."
                )
        for name, given in (("fire", self.fire), ("newton", self.newton)):
            check_kind(name, given, Mapping, "a dict of settings by name")
        for name, value in self.fire.items():
            if name not in _FIRE:
                raise InputError(f"FIRE has no setting {name!r}: it has {', '.join(_FIRE)}.")
            if name == "delay":
                count("fire['delay']", value)  # type: ignore[arg-type]
            else:
                positive(f"fire[{name!r}]", value)
        for name, value in self.newton.items():
            if name == "max_products":
                count("newton['max_products']", value)  # type: ignore[arg-type]
            elif name == "start":
                not_negative("newton['start']", value)
            elif name in ("reach", "forcing"):
                positive(f"newton[{name!r}]", value)
            else:
                raise InputError(
                    f"Newton's method has no setting {name!r}: it has start, reach, forcing, "
                    "max_products."
                )

    def engine(self, dimension: int, n_particles: int) -> Iterator[dict[str, Any]]:
        """The stage, or those of its way to the pressure, as the engine takes them."""
        on_the_way = self.from_pressure
        while on_the_way is not None and self.pressure and on_the_way > 1.001 * self.pressure:
            yield self._at(on_the_way, 1e-4 * on_the_way, 0.1)
            on_the_way /= 10
        yield self._at(self.pressure, self.tolerance, self.pressure_tolerance)

    def _at(
        self, pressure: float | None, tolerance: float, pressure_tolerance: float
    ) -> dict[str, Any]:
        return {
            "kind": _KINDS["minimize"],
            "steps": int(self.max_steps),
            "tolerance": float(tolerance),
            "at_pressure": pressure is not None,
            "pressure": float(pressure or 0.0),
            "pressure_tolerance": float(pressure_tolerance),
            "fire": _numbers(self.fire, "delay"),
            "newton": _numbers(self.newton, "max_products"),
        }


@dataclass(frozen=True)
class _Motion:
    """What both kinds of dynamics have: see `Langevin`."""

    steps: int
    dt: float
    temperature: float | Sequence[float]
    schedule: Literal["linear", "exponential"] = "linear"
    temperature_at: Sequence[float] | None = None

    def check(self) -> None:
        """Raise `InputError` for what cannot be."""
        count("steps", self.steps, below=_MOST_STEPS)
        positive("dt", self.dt)
        at, values = self.temperatures()
        for value in values:
            not_negative("temperature", value)
        check_choice("schedule", self.schedule, ("linear", "exponential"))
        if self.schedule == "exponential" and min(values) == 0:
            raise InputError(
                f"temperature = {values}: an exponential schedule cannot reach 0; give a small "
                "last temperature, or schedule = 'linear'."
            )
        ascending = bool(np.isfinite(at).all() and (np.diff(at) > 0).all())
        if len(at) != len(values) or not ascending or at[0] < 0 or at[-1] > 1:
            raise InputError(
                f"temperature_at = {self.temperature_at!r}: it must have a part of the stage, "
                f"ascending between 0 and 1, for each of the {len(values)} temperatures."
            )

    def temperatures(self) -> tuple[list[float], list[float]]:
        """Parts of the stage, from 0 to 1, and the temperatures there."""
        given = self.temperature
        one = isinstance(given, (int, float, np.number)) and not isinstance(given, bool)
        values = _listed("temperature", [given] if one else given)
        if not values:
            raise InputError("temperature = []: give a temperature, or a list of them.")
        if self.temperature_at is not None:
            return _listed("temperature_at", self.temperature_at), values
        return [float(t) for t in np.linspace(0, 1, len(values))], values

    def _motion(self) -> dict[str, Any]:
        at, values = self.temperatures()
        return {
            "steps": int(self.steps),
            "dt": float(self.dt),
            "temperature": [float(v) for v in values],
            "temperature_steps": [t * self.steps for t in at],
            "geometric": self.schedule == "exponential",
        }


@dataclass(frozen=True)
class Langevin(_Motion):
    """Langevin dynamics at constant volume, mass 1, by BAOAB.

    B. Leimkuhler and C. Matthews, Appl. Math. Res. Express 2013, 34 (2013): dv = F dt - γ v dt +
    (2 γ T)^½ dW. Friction 0 is Newtonian dynamics by velocity Verlet.

    Attributes
    ----------
    steps, dt:
        How many time steps, of what length.
    temperature:
        T, in units of energy: a number; or a table of values, evenly spaced over the stage or at
        the parts of it (0 to 1) in ``temperature_at``, between which T changes as ``schedule``
        says: ``linear`` or ``exponential``.
    friction:
        γ, in units of 1/time.
    draw_velocities:
        Whether velocities are drawn at the first temperature, or kept as they are (at rest at the
        beginning of a preparation, unless given).
    """

    friction: float = 1.0
    draw_velocities: bool = True

    def check(self) -> None:
        """Raise `InputError` for what cannot be."""
        super().check()
        not_negative("friction", self.friction)

    def engine(self, dimension: int, n_particles: int) -> Iterator[dict[str, Any]]:
        """The stage as the engine takes it."""
        yield {
            "kind": _KINDS["langevin"],
            "friction": float(self.friction),
            "draw_velocities": bool(self.draw_velocities),
            **self._motion(),
        }


@dataclass(frozen=True)
class Brownian(_Motion):
    """Overdamped dynamics at constant volume: dx = F/γ dt + (2 T/γ)^½ dW.

    By the limit of large friction of BAOAB, in which the noise of a step is the mean of two
    (Leimkuhler & Matthews 2013): as cheap as Euler's method, and without its error in the
    positions' distribution to first order in dt. Attributes as in `Langevin`, with γ > 0.
    """

    friction: float = 1.0

    def check(self) -> None:
        """Raise `InputError` for what cannot be."""
        super().check()
        positive("friction", self.friction)

    def engine(self, dimension: int, n_particles: int) -> Iterator[dict[str, Any]]:
        """The stage as the engine takes it."""
        yield {
            "kind": _KINDS["brownian"],
            "friction": float(self.friction),
            **self._motion(),
        }


@dataclass(frozen=True)
class Compress:
    """Bring the box to a number density (or expand it) in equal steps, minimising after each.

    Attributes
    ----------
    density:
        N/V at the end.
    increments:
        In how many steps, equal in the logarithm of the lengths.
    tolerance, max_steps:
        Of each minimisation: see `Minimize`.
    """

    density: float
    increments: int = 1
    tolerance: float = TOLERANCE
    max_steps: int = MAX_STEPS

    def check(self) -> None:
        """Raise `InputError` for what cannot be."""
        positive("density", self.density)
        count("increments", self.increments, below=2**31)
        self._minimize().check()

    def _minimize(self) -> Minimize:
        return Minimize(self.tolerance, self.max_steps)

    def engine(self, dimension: int, n_particles: int) -> Iterator[dict[str, Any]]:
        """The stages as the engine takes them."""
        for left in range(self.increments, 0, -1):
            yield {
                "kind": _KINDS["rescale"],
                "volume": n_particles / float(self.density),
                "steps_left": left,
            }
            yield from self._minimize().engine(dimension, n_particles)


def _listed(name: str, given: object) -> list[float]:
    """A sequence of numbers as a list; raises `InputError`."""
    array = np.asarray(given)
    if array.dtype.kind not in "iuf" or array.ndim != 1:
        raise InputError(f"{name} = {given!r}: it must be a list of numbers.")
    return [float(x) for x in array]


Stage = Minimize | Langevin | Brownian | Compress


def finite(name: str, value: float) -> float:
    """A finite number; raises `InputError`."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise InputError(f"{name} = {value!r}: it must be a finite number.")
    if not np.isfinite(value):
        raise InputError(f"{name} = {value!r}: it must be a finite number.")
    return float(value)


def total_steps(stages: Sequence[Stage]) -> int:
    """The time steps of all dynamics among the stages; raises `InputError` if too many."""
    total = sum(stage.steps for stage in stages if isinstance(stage, _Motion))
    if total >= _MOST_STEPS:
        raise InputError(
            f"the stages have {total} time steps: at most {_MOST_STEPS - 1} are possible."
        )
    return total


def _numbers(settings: Mapping[str, float], whole: str) -> dict[str, float]:
    return {k: int(v) if k == whole else float(v) for k, v in settings.items()}
