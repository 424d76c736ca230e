"""Quenches by HOOMD-blue on one CPU core: its FIRE, one replica at a time.

HOOMD's own criterion is an average over the particles. It is switched off: the run goes on in
pieces, and after each the longest force vector is compared with the tolerance, so that a quench
ends on the same terms as the other contenders', at most ``piece`` steps late.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import QuenchResult
from .formulas import PairPotential
from .hoomd_system import HoomdSystem

__all__ = ["HoomdFire", "HoomdQuench"]

_NEVER = 1e300


@dataclass(frozen=True)
class HoomdFire:
    """HOOMD's FIRE (``md.minimize.FIRE``), by the names of its settings and with its defaults.

    Attributes:
        dt: largest time step, ten times the first; it has no default [time].
        min_steps_adapt: steps with positive power before the time step may grow.
        finc_dt, fdec_dt: factors by which the time step grows and shrinks.
        alpha_start: mixing of the velocity with the force at the start.
        fdec_alpha: factor by which the mixing falls.
    """

    dt: float = 0.05
    min_steps_adapt: int = 5
    finc_dt: float = 1.1
    fdec_dt: float = 0.5
    alpha_start: float = 0.1
    fdec_alpha: float = 0.99


class HoomdQuench(HoomdSystem):
    """FIRE quenches of many starts by one HOOMD simulation.

    Args:
        potential, typeid, length, system: as `HoomdSystem` takes them.
        tolerance: length of the longest force vector at convergence [energy / length].
        max_steps: steps after which a quench ends unconverged.
        fire: the minimiser's settings.
        piece: steps between two looks at the forces.
    """

    def __init__(
        self,
        potential: PairPotential,
        typeid: NDArray[np.integer[Any]],
        length: float,
        *,
        tolerance: float = 1e-10,
        max_steps: int = 100_000,
        fire: HoomdFire | None = None,
        piece: int = 25,
        **system: Any,
    ) -> None:
        super().__init__(potential, typeid, length, **system)
        self.tolerance, self.max_steps, self.piece = float(tolerance), int(max_steps), int(piece)
        self._fire: Any = self.md.minimize.FIRE(
            force_tol=0.0, angmom_tol=_NEVER, energy_tol=_NEVER, **asdict(fire or HoomdFire())
        )
        self._fire.forces.append(self.force)
        self._fire.methods.append(self.md.methods.ConstantVolume(self.everyone))
        self.simulation.operations.integrator = self._fire

    def _longest_force(self) -> float:
        with self.simulation.state.cpu_local_snapshot as data:
            force = np.array(data.particles.net_force, dtype=np.float64)
        return float(np.sqrt(np.einsum("ij,ij->i", force, force).max()))

    def __call__(self, positions: NDArray[np.float64]) -> QuenchResult:
        """Quench one start, shape (N, d) [length]."""
        self.begin(positions)
        self.simulation.run(0)
        self._fire.reset()
        steps = 0
        began = time.perf_counter()
        while True:
            self.simulation.run(self.piece)
            steps += self.piece
            max_force = self._longest_force()
            if max_force < self.tolerance or steps >= self.max_steps:
                break
        seconds = time.perf_counter() - began
        final = self.simulation.state.get_snapshot().particles.position[:, : self.dimension]
        return QuenchResult(
            positions=np.mod(np.asarray(final, np.float64) + 0.5 * self.length, self.length),
            energy=float(self._fire.energy),
            max_force=max_force,
            steps=steps,
            converged=bool(max_force < self.tolerance),
            seconds=seconds,
        )
