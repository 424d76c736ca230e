"""Do HOOMD-blue and Amorph hand packings over? Its FIRE with our force, against our engine.

From the same random starts, one core each: HOOMD-blue's FIRE with ``hoomd.amorph.pair`` takes one
replica at a time until its longest force is below the tolerance, ``hoomd.amorph.prepare.Ensemble``
all of them. Compared are the energies of the minima (two-sample Kolmogorov-Smirnov test) and the
times. Then HOOMD's packings go through a GSD file in single precision to ``bridge.relax``: how many
stay in their basin, energy falling, no particle moving by 1e-4, Poisson's ratio finite.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from common import one_core, output, wide_console, write_json
from peers.hoomd_quench import HoomdFire
from rich.progress import track
from rich.table import Table
from scipy.stats import ks_2samp


def main() -> None:
    """Quench on both sides, compare, hand over."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--n", type=int, default=368, help="discs (%(default)s)")
    options.add_argument("--starts", type=int, default=64, help="(%(default)s)")
    options.add_argument("--handed-over", type=int, default=100, help="packings (%(default)s)")
    options.add_argument("--tolerance", type=float, default=1e-6, help="force (%(default)s)")
    options.add_argument("--json", type=output, metavar="OUT", help="write the figures")
    chosen = options.parse_args()
    one_core()

    import hoomd
    import hoomd.amorph

    from amorph import bridge

    theta = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0)
    types = ["A", "B"]
    device = hoomd.device.CPU()
    device.notice_level = 0

    def ensemble(count: int) -> hoomd.amorph.prepare.Ensemble:
        force = hoomd.amorph.pair.HarmonicMorse.from_theta(
            theta, types, hoomd.md.nlist.Cell(buffer=0.3)
        )
        return hoomd.amorph.prepare.Ensemble(
            device, force, types, n_particles=chosen.n, density=1.6, replicas=count, seed=1
        )

    def fire(settings: HoomdFire, snapshot: hoomd.Snapshot) -> tuple[hoomd.Simulation, float, bool]:
        """A quench by HOOMD, its seconds, and whether it converged."""
        simulation = hoomd.Simulation(device=device, seed=1)
        simulation.create_state_from_snapshot(snapshot)
        simulation.operations.tuners.clear()
        force = hoomd.amorph.pair.HarmonicMorse.from_theta(
            theta, types, hoomd.md.nlist.Cell(buffer=0.3)
        )
        minimiser = hoomd.md.minimize.FIRE(
            force_tol=0.0, angmom_tol=1e300, energy_tol=1e300, **vars(settings)
        )
        minimiser.forces.append(force)
        minimiser.methods.append(hoomd.md.methods.ConstantVolume(hoomd.filter.All()))
        simulation.operations.integrator = minimiser
        simulation.run(0)
        began = time.perf_counter()
        longest = np.inf
        while longest > chosen.tolerance and simulation.timestep < 50_000:
            simulation.run(25)
            longest = float(np.linalg.norm(force.forces, axis=1).max())
        return simulation, time.perf_counter() - began, longest <= chosen.tolerance

    time_unit = 1 / np.sqrt(2 * 6.0**2 * 0.1)
    contenders = {
        "HOOMD": HoomdFire(dt=0.27 * time_unit),
        "HOOMD tuned": HoomdFire(dt=0.67 * time_unit, alpha_start=0.25, fdec_dt=0.7),
    }
    starts = ensemble(chosen.starts)
    snapshots = starts.snapshots()
    began = time.perf_counter()
    ours = starts.quench(tolerance=chosen.tolerance)
    seconds = (time.perf_counter() - began) / chosen.starts
    table = Table(title=f"{chosen.starts} starts, N = {chosen.n}, to {chosen.tolerance:g}")
    for name in ("who", "s a quench", "over ours", "converged", "E/N", "KS against ours, p"):
        table.add_column(name, justify="right")
    mean = ours.energy.mean() / chosen.n
    table.add_row(
        "Amorph", f"{seconds:.4f}", "1", f"{ours.converged.mean():.0%}", f"{mean:.6f}", ""
    )
    found: dict[str, object] = {"n": chosen.n, "amorph, s": seconds}
    for who, settings in contenders.items():
        energies, times, done = [], [], 0
        for snapshot in track(snapshots, who):
            simulation, took, converged = fire(settings, snapshot)
            energies.append(simulation.operations.integrator.forces[0].energy)
            times.append(took)
            done += converged
        p = float(ks_2samp(energies, ours.energy).pvalue)
        ratio = float(np.median(times)) / seconds
        mean = float(np.mean(energies)) / chosen.n
        share = done / len(snapshots)
        table.add_row(
            who,
            f"{np.median(times):.4f}",
            f"{ratio:.1f}",
            f"{share:.0%}",
            f"{mean:.6f}",
            f"{p:.2f}",
        )
        found[who] = {"s": float(np.median(times)), "ratio": ratio, "p": p, "converged": share}
    console = wide_console()
    console.print(table)

    stayed, moved, fell = 0, [], 0
    with tempfile.TemporaryDirectory() as folder:
        for k, snapshot in enumerate(track(ensemble(chosen.handed_over).snapshots(), "hand-over")):
            simulation, _, _ = fire(contenders["HOOMD tuned"], snapshot)
            file = Path(folder) / f"{k}.gsd"
            logger = hoomd.logging.Logger(categories=["sequence"])
            logger.add(simulation.operations.integrator.forces[0])
            hoomd.write.GSD.write(simulation.state, str(file), logger=logger)
            ((own, packing),) = bridge.read_gsd(file)
            relaxed = bridge.relax(own, packing)
            before, after = bridge.energy(own, packing), bridge.energy(own, relaxed)
            held = ~bridge.response(own, relaxed).rattlers
            away = np.asarray(relaxed.positions) - np.asarray(packing.positions)
            moved.append(float(np.linalg.norm(away[held], axis=1).max()))
            fell += after <= before
            nu = float(bridge.poisson_ratio(own, relaxed))
            stayed += after <= before and moved[-1] < 1e-4 and np.isfinite(nu)
    console.print(
        f"{stayed} of {chosen.handed_over} packings stayed in their basin through a GSD file in "
        f"single precision: energy fell in {fell}, largest displacement {max(moved):.1e}"
    )
    found["hand-over"] = {"stayed": int(stayed), "of": chosen.handed_over, "moved": max(moved)}
    if chosen.json:
        write_json(chosen.json, found)


if __name__ == "__main__":
    main()
