"""HOOMD-blue on one CPU core, with particles in a periodic box and pair forces.

Harmonic-Morse pairs are read from tables (``md.pair.Table``), even in r and interpolated
linearly; soft spheres are ``md.pair.DPDConservative`` with A = k/sigma and r_cut = sigma, which
is the same potential.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import require
from .formulas import PairPotential, SoftSphere

__all__ = ["HoomdSystem", "describe_hoomd"]

_HOW = "HOOMD-blue 4.8 is on conda-forge, and builds from source; it is not on PyPI"


def describe_hoomd() -> str:
    """HOOMD's version and the precision it was built with, in words."""
    version: Any = require("hoomd", "HOOMD-blue", _HOW).version
    long, short = version.floating_point_precision
    return f"{version.version}, {long}-bit positions and forces ({short}-bit where reduced)"


class HoomdSystem:
    """Particles of one potential in one box.

    Args:
        potential: soft spheres, or any that can be tabulated.
        typeid: the particles' types from zero, shape (N,).
        length: edge of the square or cubic box [length].
        dimension: 2 or 3.
        points: entries of each table.
        buffer: neighbour list's margin; less where the box leaves less room [length].
    """

    def __init__(
        self,
        potential: PairPotential,
        typeid: NDArray[np.integer[Any]],
        length: float,
        *,
        dimension: int = 2,
        points: int = 4_000,
        buffer: float = 0.3,
    ) -> None:
        hoomd: Any = require("hoomd", "HOOMD-blue", _HOW)
        self.md: Any = require("hoomd.md", "HOOMD-blue", _HOW)
        self.everyone: Any = hoomd.filter.All()
        self.length, self.dimension = float(length), int(dimension)
        room = 0.5 * self.length - potential.largest_cutoff
        if room <= 0:
            raise ValueError(f"the box {length} is smaller than twice the cutoff")
        device = hoomd.device.CPU()
        device.notice_level = 0
        self.simulation: Any = hoomd.Simulation(device=device, seed=1)
        self.simulation.create_state_from_snapshot(self._first_snapshot(hoomd, typeid, potential))
        # The sorter puts neighbours near each other in memory, where these small systems lie
        # anyway.
        self.simulation.operations.tuners.clear()
        lists = self.md.nlist.Cell(buffer=min(buffer, 0.98 * room))
        self.force: Any = _pair_force(self.md, potential, lists, points)

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

    def begin(self, positions: NDArray[np.float64]) -> None:
        """Bring the simulation to a start, at rest, as if nothing had been run before."""
        state, d = self.simulation.state, self.dimension
        snapshot = state.get_snapshot()
        # HOOMD's box has its middle at the origin and takes [-L/2, L/2).
        wrapped = np.mod(positions, self.length) - 0.5 * self.length
        snapshot.particles.position[:, :d] = np.where(
            wrapped < 0.5 * self.length, wrapped, -0.5 * self.length
        )
        snapshot.particles.velocity[:] = 0.0
        snapshot.particles.image[:] = 0
        state.set_snapshot(snapshot)


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
