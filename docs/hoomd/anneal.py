"""Cool a liquid slowly by Langevin dynamics, then quench it: HOOMD-blue with Amorph's potential."""

import argparse
from pathlib import Path

import hoomd
import hoomd.amorph
from quench_large import PAIRS, SIGMA, random_start


def main() -> None:
    """Anneal, quench, write the trajectory and the packing."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--n", type=int, default=1000, help="discs (%(default)s)")
    options.add_argument("--steps", type=int, default=100_000, help="of cooling (%(default)s)")
    options.add_argument("--hot", type=float, default=0.05, help="kT at first (%(default)s)")
    options.add_argument("--cold", type=float, default=0.001, help="kT at last (%(default)s)")
    options.add_argument("--output", type=Path, default=Path("anneal.gsd"))
    chosen = options.parse_args()

    device = hoomd.device.auto_select()
    simulation = hoomd.Simulation(device=device, seed=1)
    simulation.create_state_from_snapshot(random_start(chosen.n, 1.4, device))
    everyone = hoomd.filter.All()

    force = hoomd.amorph.pair.HarmonicMorse(hoomd.md.nlist.Cell(buffer=0.3))
    for pair in PAIRS:
        force.params[pair] = dict(sigma=SIGMA[pair], binding=0.1, stiffness=5.0, alpha=6.0)
    logger = hoomd.logging.Logger(categories=["sequence"])
    logger.add(force)

    # Random discs overlap by more than a time step stands: a few steps of FIRE first.
    fire = hoomd.md.minimize.FIRE(dt=0.1, force_tol=1e-2, angmom_tol=1.0, energy_tol=1e-4)
    fire.forces.append(force)
    fire.methods.append(hoomd.md.methods.ConstantVolume(everyone))
    simulation.operations.integrator = fire
    simulation.run(300)
    fire.forces.clear()

    ramp = hoomd.variant.Ramp(chosen.hot, chosen.cold, simulation.timestep, chosen.steps)
    langevin = hoomd.md.methods.Langevin(everyone, kT=ramp, default_gamma=1.0)
    simulation.operations.integrator = hoomd.md.Integrator(
        dt=0.02, methods=[langevin], forces=[force]
    )
    simulation.state.thermalize_particle_momenta(everyone, kT=chosen.hot)
    simulation.operations.writers.append(
        hoomd.write.GSD(
            trigger=max(1, chosen.steps // 10),
            filename=str(chosen.output.with_suffix(".trajectory.gsd")),
            mode="wb",
            logger=logger,
        )
    )
    simulation.run(chosen.steps)
    simulation.operations.integrator.forces.clear()

    fire = hoomd.md.minimize.FIRE(dt=0.2, force_tol=1e-6, angmom_tol=1.0, energy_tol=1e-12)
    fire.forces.append(force)
    fire.methods.append(hoomd.md.methods.ConstantVolume(everyone))
    simulation.operations.integrator = fire
    for _ in range(100):
        simulation.run(500)
        if fire.converged:
            break
    hoomd.write.GSD.write(simulation.state, str(chosen.output), mode="wb", logger=logger)
    device.notice(f"energy per particle {force.energy / chosen.n:.6f}; written: {chosen.output}")


if __name__ == "__main__":
    main()
