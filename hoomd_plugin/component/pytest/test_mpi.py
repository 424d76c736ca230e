"""Several MPI ranks: one system cut into domains, and a farm of systems."""

import shutil
import subprocess
import sys
import textwrap

import hoomd
import pytest

pytest.importorskip("amorph")
pytestmark = pytest.mark.usefixtures("one_process")

needs_mpi = pytest.mark.skipif(
    not hoomd.version.mpi_enabled or shutil.which("mpiexec") is None,
    reason="HOOMD-blue was built without MPI, or there is no mpiexec",
)


def on_ranks(ranks, code, folder, fails=False):
    """Run a program on so many ranks; its output."""
    script = folder / "program.py"
    script.write_text(textwrap.dedent(code))
    done = subprocess.run(
        ["mpiexec", "-n", str(ranks), sys.executable, str(script)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


TRAJECTORY = """
    import sys
    import hoomd, hoomd.amorph, numpy as np
    from amorph import bridge

    theta = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0)
    device = hoomd.device.CPU()
    n, side = 600, (600 / 1.3) ** 0.5
    snapshot = hoomd.Snapshot(device.communicator)
    if device.communicator.rank == 0:
        snapshot.configuration.box = [side, side, 0, 0, 0, 0]
        snapshot.particles.N = n
        snapshot.particles.types = ["A", "B"]
        snapshot.particles.typeid[:] = np.arange(n) % 2
        grid = np.stack(np.meshgrid(np.arange(25), np.arange(24)), -1).reshape(-1, 2)
        spread = (grid + 0.5) / [25, 24] - 0.5
        rng = np.random.default_rng(2)
        snapshot.particles.position[:, :2] = spread * side + 0.05 * rng.normal(size=(n, 2))
        snapshot.particles.velocity[:, :2] = 0.1 * rng.normal(size=(n, 2))
    sim = hoomd.Simulation(device=device, seed=1)
    sim.create_state_from_snapshot(snapshot)
    force = hoomd.amorph.pair.HarmonicMorse.from_theta(
        theta, ["A", "B"], hoomd.md.nlist.Cell(buffer=0.2)
    )
    method = hoomd.md.methods.ConstantVolume(hoomd.filter.All())
    sim.operations.integrator = hoomd.md.Integrator(0.01, methods=[method], forces=[force])
    sim.run(0)
    first = force.forces
    sim.run(200)
    snapshot = sim.state.get_snapshot()
    energy = force.energy
    logger = hoomd.logging.Logger()
    logger.add(force)
    hoomd.write.GSD.write(
        sim.state, "ranks%d.gsd" % device.communicator.num_ranks, mode="wb", logger=logger
    )
    if device.communicator.rank == 0:
        np.savez("ranks%d.npz" % device.communicator.num_ranks, first=first, energy=energy,
                 position=snapshot.particles.position)
"""


@needs_mpi
def test_two_ranks_move_as_one(tmp_path):
    import numpy as np

    from amorph import bridge

    for ranks in (1, 2):
        on_ranks(ranks, TRAJECTORY, tmp_path)
    one, two = (np.load(tmp_path / f"ranks{ranks}.npz") for ranks in (1, 2))
    np.testing.assert_allclose(two["first"], one["first"], atol=1e-12)
    np.testing.assert_allclose(two["position"], one["position"], atol=1e-9)
    assert two["energy"] == pytest.approx(one["energy"], rel=1e-10)
    ((theta, packing),) = bridge.read_gsd(tmp_path / "ranks2.gsd")
    assert float(bridge.energy(theta, packing)) == pytest.approx(two["energy"], rel=1e-5)


FARM = """
    import hoomd, hoomd.amorph, numpy as np
    from amorph import bridge

    theta = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)
    communicator = hoomd.communicator.Communicator(ranks_per_partition=1)
    device = hoomd.device.CPU(communicator=communicator)
    force = hoomd.amorph.pair.SoftSphere.from_theta(
        theta, ["A", "B"], hoomd.md.nlist.Cell(buffer=0.2)
    )
    first = 3 * communicator.partition
    ensemble = hoomd.amorph.prepare.Ensemble(
        device, force, ["A", "B"], n_particles=60, density=0.9, replicas=3, seed=5,
        first_replica=first,
    )
    ensemble.quench()
    ensemble.write("farm%d.gsd" % communicator.partition)
    # A simulation of each rank's own goes on from there.
    sim = hoomd.Simulation(device=device, seed=1)
    sim.create_state_from_snapshot(ensemble.snapshots()[0])
    method = hoomd.md.methods.ConstantVolume(hoomd.filter.All())
    sim.operations.integrator = hoomd.md.Integrator(0.0, methods=[method], forces=[force])
    sim.run(0)
    assert abs(force.energy - ensemble.result.energy[0]) < 1e-12
"""


@needs_mpi
def test_a_farm_of_ranks_prepares_one_ensemble(tmp_path):
    import numpy as np

    from amorph import bridge, ensemble

    on_ranks(2, FARM, tmp_path)
    theta = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)
    whole = ensemble.quench(theta, 60, 0.9, replicas=6, seed=5)
    frames = [
        np.asarray(packing.positions)
        for rank in (0, 1)
        for _, packing in bridge.read_gsd(tmp_path / f"farm{rank}.gsd")
    ]
    np.testing.assert_array_equal(np.stack(frames), whole.positions)


SPREAD = """
    import hoomd, hoomd.amorph
    from amorph import bridge

    theta = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
    force = hoomd.amorph.pair.SoftSphere.from_theta(theta, ["A"], hoomd.md.nlist.Cell(buffer=0.2))
    hoomd.amorph.prepare.Ensemble(
        hoomd.device.CPU(), force, ["A"], n_particles=60, density=0.9
    )
"""


@needs_mpi
def test_an_ensemble_is_not_spread_over_ranks(tmp_path):
    said = on_ranks(2, SPREAD, tmp_path, fails=True)
    assert "a communicator of its own" in said
