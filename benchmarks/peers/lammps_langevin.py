"""Langevin dynamics by LAMMPS: velocity Verlet with forces of friction and noise."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import DynamicsResult
from .formulas import PairPotential
from .lammps_system import LammpsSystem

__all__ = ["LammpsLangevin"]


class LammpsLangevin(LammpsSystem):
    """``fix nve`` and ``fix langevin``, on one core.

    Args:
        potential, typeid, lengths, system: as `LammpsSystem` takes them.
        dt: time step [time].
        temperature: kT [energy].
        friction: of the velocity, mass 1 [1 / time].
    """

    def __init__(
        self,
        potential: PairPotential,
        typeid: NDArray[np.integer[Any]],
        lengths: ArrayLike,
        *,
        dt: float,
        temperature: float,
        friction: float,
        **system: Any,
    ) -> None:
        super().__init__(potential, typeid, lengths, **system)
        self._dt, self._temperature = float(dt), float(temperature)
        self._lammps.command("fix motion all nve")
        self._lammps.command(f"fix bath all langevin {temperature} {temperature} {1 / friction} 1")
        if self.dimension == 2:  # last, after all that adds forces
            self._lammps.command("unfix flat")
            self._lammps.command("fix flat all enforce2d")

    def __call__(self, positions: NDArray[np.float64], steps: int) -> DynamicsResult:
        """So many steps from positions (N, d) [length], velocities drawn at the temperature."""
        self.begin(positions, self._dt)
        self._lammps.command(f"velocity all create {self._temperature} 1 mom no rot no")
        started = time.perf_counter()
        self._lammps.command(f"run {steps} post no")
        seconds = time.perf_counter() - started
        return DynamicsResult.of(self.gather("v"), steps, seconds)
