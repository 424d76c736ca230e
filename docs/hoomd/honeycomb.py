"""Let identical particles assemble into a honeycomb lattice.

The potential of four terms of Goodrich, King, Schoenholz, Cubuk and Brenner (PNAS 118,
e2024083118), eq. 1, with the parameters of Rechtsman, Stillinger and Torquato (Phys. Rev. Lett. 95,
228301). Overdamped dynamics melt a honeycomb, for the box that fits one, and cool the liquid.
"""

import argparse
from pathlib import Path

import hoomd
import hoomd.amorph
import numpy as np

PARAMETERS = dict(b0=5.0, a0=5.89, a1=17.9, a2=2.49, b1=1.823, b2=40.0, a3=1.823, r_cut=2.8)


def with_three_neighbours(state: hoomd.State, reach: float = 1.4) -> float:
    """The share of particles with exactly three neighbours, as all have in a honeycomb."""
    snapshot = state.get_snapshot()
    positions = np.array(snapshot.particles.position)[:, :2]
    sides = np.array(snapshot.configuration.box[:2])
    apart = positions[:, None] - positions[None]
    apart -= sides * np.round(apart / sides)
    near = (np.linalg.norm(apart, axis=-1) < reach).sum(axis=1) - 1
    return float(np.mean(near == 3))


def main() -> None:
    """Assemble, write, tell how many have three neighbours."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--n", type=int, default=96, help="particles (%(default)s)")
    options.add_argument("--density", type=float, default=0.66, help="(%(default)s)")
    options.add_argument("--steps", type=int, default=1_000_000, help="(%(default)s)")
    options.add_argument("--hot", type=float, default=1.0, help="kT at first (%(default)s)")
    options.add_argument("--cold", type=float, default=0.05, help="kT at last (%(default)s)")
    options.add_argument("--output", type=Path, default=Path("honeycomb.gsd"))
    chosen = options.parse_args()

    device = hoomd.device.auto_select()
    force = hoomd.amorph.pair.FourTerm(hoomd.md.nlist.Cell(buffer=0.3))
    force.params[("A", "A")] = PARAMETERS
    start = hoomd.amorph.prepare.Ensemble(
        device,
        force,
        ["A"],
        n_particles=chosen.n,
        density=chosen.density,
        start="honeycomb",
    )
    simulation = hoomd.Simulation(device=device, seed=1)
    simulation.create_state_from_snapshot(start.snapshots()[0])
    melting = chosen.steps // 10
    ramp = hoomd.variant.Ramp(chosen.hot, chosen.cold, melting, chosen.steps - melting)
    brownian = hoomd.md.methods.Brownian(hoomd.filter.All(), kT=ramp, default_gamma=1.0)
    simulation.operations.integrator = hoomd.md.Integrator(
        dt=2e-4, methods=[brownian], forces=[force]
    )
    simulation.run(melting)
    molten = with_three_neighbours(simulation.state)
    simulation.run(chosen.steps - melting)
    assembled = with_three_neighbours(simulation.state)

    logger = hoomd.logging.Logger(categories=["sequence"])
    logger.add(force)
    hoomd.write.GSD.write(simulation.state, str(chosen.output), mode="wb", logger=logger)
    print(
        f"with three neighbours: {molten:.0%} in the liquid, {assembled:.0%} at the end; written: "
        f"{chosen.output}"
    )


if __name__ == "__main__":
    main()
