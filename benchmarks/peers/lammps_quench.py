"""Quenches by LAMMPS with its FIRE minimiser."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import QuenchResult
from .formulas import PairPotential
from .lammps_system import LammpsSystem

__all__ = ["FireSettings", "LammpsQuench"]


@dataclass(frozen=True)
class FireSettings:
    """LAMMPS's FIRE (``min_style fire``), by the names of ``min_modify``.

    Attributes:
        timestep: the time step FIRE starts from [time].
        tmax: largest time step, in units of ``timestep``.
        tmin: smallest time step, in units of ``timestep``.
        dmax: farthest that a particle may move in a step [length].
        delaystep: steps with positive power before the time step may grow.
        dtgrow, dtshrink: factors by which the time step grows and shrinks.
        alpha0: mixing of the velocity with the force at the start.
        alphashrink: factor by which the mixing falls.
        halfstepback: whether to go half a step back when the power turns negative.
        integrator: ``eulerimplicit``, ``verlet``, ``leapfrog`` or ``eulerexplicit``.
        norm: ``max`` compares the longest force vector with the tolerance, ``inf`` its
            largest component.
    """

    timestep: float = 0.05
    tmax: float = 4.0
    tmin: float = 0.02
    dmax: float = 0.1
    delaystep: int = 20
    dtgrow: float = 1.1
    dtshrink: float = 0.5
    alpha0: float = 0.25
    alphashrink: float = 0.99
    halfstepback: bool = True
    integrator: str = "eulerimplicit"
    norm: str = "max"

    def command(self) -> str:
        """The ``min_modify`` line."""
        return (
            f"min_modify norm {self.norm} dmax {self.dmax!r} tmax {self.tmax!r} "
            f"tmin {self.tmin!r} delaystep {self.delaystep} dtgrow {self.dtgrow!r} "
            f"dtshrink {self.dtshrink!r} alpha0 {self.alpha0!r} "
            f"alphashrink {self.alphashrink!r} "
            f"halfstepback {'yes' if self.halfstepback else 'no'} "
            f"integrator {self.integrator}"
        )


class LammpsQuench(LammpsSystem):
    """FIRE quenches of many starts by one LAMMPS instance, on one core.

    Args:
        potential, typeid, lengths, system: as `LammpsSystem` takes them.
        tolerance: force at which a quench has converged, by ``fire.norm`` [energy / length].
        max_steps: steps after which a quench ends unconverged.
        fire: the minimiser's settings.
        stress: whether to measure the stress at the end of each quench.
    """

    def __init__(
        self,
        potential: PairPotential,
        typeid: NDArray[np.integer[Any]],
        lengths: ArrayLike,
        *,
        tolerance: float = 1e-10,
        max_steps: int = 100_000,
        fire: FireSettings | None = None,
        stress: bool = True,
        **system: Any,
    ) -> None:
        thermo = "fmax c_virial[1]" if stress else "fmax"
        super().__init__(potential, typeid, lengths, thermo=thermo, **system)
        self.tolerance = float(tolerance)
        self.max_steps = int(max_steps)
        self._with_stress = stress
        self._lammps.command("min_style fire")
        self.set_fire(fire or FireSettings())

    def set_fire(self, fire: FireSettings) -> None:
        """Change the minimiser's settings for the quenches to come."""
        self.fire = fire
        self._lammps.command(fire.command())

    def __call__(self, positions: NDArray[np.float64]) -> QuenchResult:
        """Quench one start.

        Args:
            positions: shape (N, d), anywhere; wrapped into the box [length].

        Returns:
            The packing; ``seconds`` covers the ``minimize`` command alone, which includes the
            neighbour lists and the first force.
        """
        self.begin(positions, self.fire.timestep)
        lammps = self._lammps
        line = f"minimize 0.0 {self.tolerance!r} {self.max_steps} {self.max_steps + 2}"
        started = time.perf_counter()
        lammps.command(line)
        seconds = time.perf_counter() - started
        final = self.gather("x")
        force = self.gather("f")
        size = np.abs(force) if self.fire.norm == "inf" else np.linalg.norm(force, axis=1)
        max_force = float(size.max())
        stress = self.stress() if self._with_stress else None
        return QuenchResult(
            positions=final - self.lengths * np.floor(final / self.lengths),
            energy=float(lammps.get_thermo("pe")),
            max_force=max_force,
            steps=int(lammps.extract_global("ntimestep")),
            converged=bool(max_force < self.tolerance),
            seconds=seconds,
            stress=stress,
        )
