"""Quench one large system by HOOMD-blue's FIRE, on one core or with domain decomposition.

    python quench_large.py                       # 50,000 discs
    mpirun -n 4 python quench_large.py           # the same, cut into four domains (MPI builds)

The GSD file carries the potential: ``amorph analyze`` needs nothing else.
"""

import argparse
from pathlib import Path

import hoomd
import hoomd.amorph
import numpy as np

PAIRS = [("A", "A"), ("A", "B"), ("B", "B")]
SIGMA = dict(zip(PAIRS, (0.8, 0.9, 1.0), strict=True))


def random_start(n: int, density: float, device: hoomd.device.Device) -> hoomd.Snapshot:
    """Discs of two types at random; only rank 0 fills the snapshot."""
    snapshot = hoomd.Snapshot(device.communicator)
    if snapshot.communicator.rank == 0:
        side = (n / density) ** 0.5
        snapshot.configuration.box = [side, side, 0, 0, 0, 0]
        snapshot.particles.N = n
        snapshot.particles.types = ["A", "B"]
        snapshot.particles.typeid[:] = np.arange(n) % 2
        rng = np.random.default_rng(1)
        snapshot.particles.position[:, :2] = (rng.uniform(size=(n, 2)) - 0.5) * side
    return snapshot


def main() -> None:
    """Quench and write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--n", type=int, default=50_000, help="discs (%(default)s)")
    options.add_argument("--density", type=float, default=1.6)
    options.add_argument("--steps", type=int, default=20_000, help="at most (%(default)s)")
    options.add_argument("--output", type=Path, default=Path("quench.gsd"))
    chosen = options.parse_args()

    device = hoomd.device.auto_select()
    simulation = hoomd.Simulation(device=device, seed=1)
    simulation.create_state_from_snapshot(random_start(chosen.n, chosen.density, device))

    force = hoomd.amorph.pair.HarmonicMorse(hoomd.md.nlist.Cell(buffer=0.3))
    for pair in PAIRS:
        force.params[pair] = dict(sigma=SIGMA[pair], binding=0.1, stiffness=5.0, alpha=6.0)

    fire = hoomd.md.minimize.FIRE(dt=0.2, force_tol=1e-5, angmom_tol=1.0, energy_tol=1e-10)
    fire.forces.append(force)
    fire.methods.append(hoomd.md.methods.ConstantVolume(hoomd.filter.All()))
    simulation.operations.integrator = fire
    while not fire.converged and simulation.timestep < chosen.steps:
        simulation.run(min(200, chosen.steps - simulation.timestep))
        device.notice(
            f"step {simulation.timestep}: energy per particle {force.energy / chosen.n:.6f}"
        )

    logger = hoomd.logging.Logger(categories=["sequence"])
    logger.add(force)
    hoomd.write.GSD.write(simulation.state, str(chosen.output), mode="wb", logger=logger)
    device.notice(f"converged: {fire.converged}; written: {chosen.output}")


if __name__ == "__main__":
    main()
