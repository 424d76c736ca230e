"""Langevin dynamics by HOOMD-blue on one CPU core: velocity Verlet with friction and noise."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import DynamicsResult
from .formulas import PairPotential
from .hoomd_system import HoomdSystem

__all__ = ["HoomdLangevin"]


class HoomdLangevin(HoomdSystem):
    """``md.methods.Langevin``.

    Args:
        potential, typeid, length, system: as `HoomdSystem` takes them.
        dt: time step [time].
        temperature: kT [energy].
        friction: of the velocity, mass 1 [1 / time].
    """

    def __init__(
        self,
        potential: PairPotential,
        typeid: NDArray[np.integer[Any]],
        length: float,
        *,
        dt: float,
        temperature: float,
        friction: float,
        **system: Any,
    ) -> None:
        super().__init__(potential, typeid, length, **system)
        self._temperature = float(temperature)
        method = self.md.methods.Langevin(self.everyone, temperature, default_gamma=friction)
        self.simulation.operations.integrator = self.md.Integrator(
            dt, methods=[method], forces=[self.force]
        )

    def __call__(self, positions: NDArray[np.float64], steps: int) -> DynamicsResult:
        """So many steps from positions (N, d) [length], velocities drawn at the temperature."""
        self.begin(positions)
        state = self.simulation.state
        state.thermalize_particle_momenta(self.everyone, self._temperature)
        self.simulation.run(0)
        started = time.perf_counter()
        self.simulation.run(steps)
        seconds = time.perf_counter() - started
        velocity = state.get_snapshot().particles.velocity[:, : self.dimension]
        return DynamicsResult.of(np.asarray(velocity, np.float64), steps, seconds)
