"""Quenches by HOOMD-blue on one CPU core: its FIRE, one replica at a time.

Harmonic-Morse pairs are read from tables (``md.pair.Table``), even in r and interpolated
linearly; soft spheres are ``md.pair.DPDConservative`` with A = k/sigma and r_cut = sigma, which
is the same potential.

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

from . import QuenchResult, require
from .formulas import PairPotential, SoftSphere

__all__ = ["HoomdFire", "HoomdQuench", "describe_hoomd"]

_NEVER = 1e300
_HOW = "HOOMD-blue 4.8 is on conda-forge, and builds from source; it is not on PyPI"


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


def describe_hoomd() -> str:
    """HOOMD's version and the precision it was built with, in words."""
    version: Any = require("hoomd", "HOOMD-blue", _HOW).version
    long, short = version.floating_point_precision
    return f"{version.version}, {long}-bit positions and forces ({short}-bit where reduced)"


class HoomdQuench:
    """FIRE quenches of many starts by one HOOMD simulation.

    Args:
        potential: soft spheres, or any that can be tabulated.
        typeid: the particles' types from zero, shape (N,).
        length: edge of the square or cubic box [length].
        dimension: 2 or 3.
        tolerance: length of the longest force vector at convergence [energy / length].
        max_steps: steps after which a quench ends unconverged.
        fire: the minimiser's settings.
        points: entries of each table.
        buffer: neighbour list's margin; less where the box leaves less room [length].
        piece: steps between two looks at the forces.
    """

    def __init__(
        self,
        potential: PairPotential,
        typeid: NDArray[np.integer[Any]],
        length: float,
        *,
        dimension: int = 2,
        tolerance: float = 1e-10,
        max_steps: int = 100_000,
        fire: HoomdFire | None = None,
        points: int = 4_000,
        buffer: float = 0.3,
        piece: int = 25,
    ) -> None:
        hoomd: Any = require("hoomd", "HOOMD-blue", _HOW)
        md: Any = require("hoomd.md", "HOOMD-blue", _HOW)
        self.tolerance, self.max_steps, self.piece = float(tolerance), int(max_steps), int(piece)
        self.length, self.dimension = float(length), int(dimension)
        room = 0.5 * self.length - potential.largest_cutoff
        if room <= 0:
            raise ValueError(f"the box {length} is smaller than twice the cutoff")
        device = hoomd.device.CPU()
        device.notice_level = 0
        self._simulation: Any = hoomd.Simulation(device=device, seed=1)
        self._simulation.create_state_from_snapshot(self._first_snapshot(hoomd, typeid, potential))
        # The sorter puts neighbours near each other in memory, where these small systems lie
        # anyway.
        self._simulation.operations.tuners.clear()
        lists = md.nlist.Cell(buffer=min(buffer, 0.98 * room))
        self._fire: Any = md.minimize.FIRE(
            force_tol=0.0, angmom_tol=_NEVER, energy_tol=_NEVER, **asdict(fire or HoomdFire())
        )
        self._fire.forces.append(_pair_force(md, potential, lists, points))
        self._fire.methods.append(md.methods.ConstantVolume(hoomd.filter.All()))
        self._simulation.operations.integrator = self._fire

    def _first_snapshot(
        self, hoomd: Any, typeid: NDArray[np.integer[Any]], potential: PairPotential
    ) -> Any:
        snapshot = hoomd.Snapshot()
        n, d, edge = typeid.size, self.dimension, self.length
        snapshot.configuration.box = [edge, edge, edge if d == 3 else 0.0, 0.0, 0.0, 0.0]
        snapshot.particles.N = n
        snapshot.particles.types = _names(potential)
        snapshot.particles.typeid[:] = typeid
        generator = np.random.default_rng(0)
        snapshot.particles.position[:, :d] = (generator.uniform(size=(n, d)) - 0.5) * edge
        return snapshot

    def _start_at(self, positions: NDArray[np.float64]) -> None:
        """Bring the simulation to a start, at rest, as if nothing had been run before."""
        state, d = self._simulation.state, self.dimension
        snapshot = state.get_snapshot()
        # HOOMD's box has its middle at the origin and takes [-L/2, L/2).
        wrapped = np.mod(positions, self.length) - 0.5 * self.length
        snapshot.particles.position[:, :d] = np.where(
            wrapped < 0.5 * self.length, wrapped, -0.5 * self.length
        )
        snapshot.particles.velocity[:] = 0.0
        snapshot.particles.image[:] = 0
        state.set_snapshot(snapshot)
        self._simulation.run(0)
        self._fire.reset()

    def _longest_force(self) -> float:
        with self._simulation.state.cpu_local_snapshot as data:
            force = np.array(data.particles.net_force, dtype=np.float64)
        return float(np.sqrt(np.einsum("ij,ij->i", force, force).max()))

    def __call__(self, positions: NDArray[np.float64]) -> QuenchResult:
        """Quench one start, shape (N, d) [length]."""
        self._start_at(positions)
        steps = 0
        began = time.perf_counter()
        while True:
            self._simulation.run(self.piece)
            steps += self.piece
            max_force = self._longest_force()
            if max_force < self.tolerance or steps >= self.max_steps:
                break
        seconds = time.perf_counter() - began
        final = self._simulation.state.get_snapshot().particles.position[:, : self.dimension]
        return QuenchResult(
            positions=np.mod(np.asarray(final, np.float64) + 0.5 * self.length, self.length),
            energy=float(self._fire.energy),
            max_force=max_force,
            steps=steps,
            converged=bool(max_force < self.tolerance),
            seconds=seconds,
        )


def _names(potential: PairPotential) -> list[str]:
    return [f"T{t}" for t in range(potential.n_types)]


def _pair_force(md: Any, potential: PairPotential, lists: Any, points: int) -> Any:
    names = _names(potential)
    soft = isinstance(potential, SoftSphere)
    force = md.pair.DPDConservative(lists) if soft else md.pair.Table(lists)
    for pair in potential.pairs():
        types = (names[pair.first], names[pair.second])
        force.r_cut[types] = pair.cutoff
        if isinstance(potential, SoftSphere):
            stiffness = potential.of_pair(potential.stiffness, pair.first, pair.second)
            force.params[types] = {"A": stiffness / pair.cutoff}
        else:
            r = np.linspace(0.0, pair.cutoff, points, endpoint=False)
            r[0] = 1e-9 * pair.cutoff
            force.params[types] = {"r_min": 0.0, "U": pair.energy(r), "F": pair.force(r)}
    return force
