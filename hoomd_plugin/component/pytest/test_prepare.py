"""Ensembles from HOOMD scripts."""

import hoomd
import numpy as np
import pytest
from hoomd.amorph import pair, prepare

amorph = pytest.importorskip("amorph")
from amorph import bridge, ensemble  # noqa: E402

THETA = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0)
TYPES = ["A", "B"]


# In three dimensions particles with the wider well fall together.
NARROW = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=10.0)


def force(theta=THETA, **settings):
    cell = hoomd.md.nlist.Cell(buffer=0.2)
    return pair.HarmonicMorse.from_theta(theta, TYPES, cell, **settings)


def make(**settings):
    given = dict(n_particles=80, density=1.6, replicas=4, seed=3) | settings
    return prepare.Ensemble(hoomd.device.CPU(), force(), TYPES, **given)


def test_a_quench_is_the_engines():
    made = make()
    result = made.quench()
    ours = ensemble.quench(THETA, 80, 1.6, 2, 4, seed=3)
    np.testing.assert_array_equal(result.positions, ours.positions)
    assert made.result is result


@pytest.mark.parametrize("dimension", [2, 3])
def test_snapshots_are_minima_of_hoomds_force(dimension):
    theta, n = {2: (THETA, 120), 3: (NARROW, 250)}[dimension]
    made = prepare.Ensemble(
        hoomd.device.CPU(),
        force(theta),
        TYPES,
        n_particles=n,
        density=1.2,
        dimension=dimension,
        replicas=2,
    )
    result = made.quench()
    for r, snapshot in enumerate(made.snapshots()):
        sim = hoomd.Simulation(device=hoomd.device.CPU(), seed=1)
        sim.create_state_from_snapshot(snapshot)
        own = force(theta)
        method = hoomd.md.methods.ConstantVolume(hoomd.filter.All())
        sim.operations.integrator = hoomd.md.Integrator(0.0, methods=[method], forces=[own])
        sim.run(0)
        assert own.energy == pytest.approx(result.energy[r], rel=1e-10)
        assert np.abs(own.forces).max() < 1e-8


def test_snapshots_there_and_back():
    made = make(dimension=2)
    made.quench(tolerance=1e-6)
    again = prepare.Ensemble.from_snapshots(hoomd.device.CPU(), force(), made.snapshots(), seed=3)
    result = again.quench()
    assert result.converged.all()
    np.testing.assert_allclose(result.energy, made.result.energy, rtol=1e-8)


def test_dynamics_go_on_with_their_velocities():
    made = make()
    made.quench(tolerance=1e-3)
    first = made.langevin(50, 0.01, 0.02)
    before = first.velocities.copy()
    drift = made.langevin(1, 1e-9, 0.0, gamma=0.0)
    np.testing.assert_allclose(drift.velocities, before, atol=1e-6)
    snapshot = made.snapshots()[0]
    np.testing.assert_allclose(snapshot.particles.velocity[:, :2], drift.velocities[0], rtol=1e-12)
    assert made.quench().converged.all()


def test_noise_does_not_come_again():
    made = make(n_particles=200, replicas=1)
    made.quench(tolerance=1e-3)
    # With such friction velocities are forgotten: what is left is the last steps' noise.
    first, second = (made.langevin(20, 0.01, 1e-6, gamma=500.0).velocities for _ in range(2))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.25


def test_one_that_breaks_down_does_not_hold_up_the_others():
    made = make(replicas=3)
    made.quench(tolerance=1e-3)
    wild = made.snapshots()
    wild[1].particles.position[:2] = 0.0  # at one place there is no force
    again = prepare.Ensemble.from_snapshots(hoomd.device.CPU(), force(), wild)
    result = again.langevin(5, 0.01, 0.01)
    assert list(np.isfinite(result.energy)) == [True, False, True]
    ended = again.quench()
    assert ended.converged[[0, 2]].all()


def test_at_pressure_the_boxes_differ():
    made = make(replicas=2)
    made.quench(pressure=0.2)
    sides = [s.configuration.box[0] for s in made.snapshots()]
    assert sides[0] != sides[1]
    np.testing.assert_allclose(made.result.pressure, 0.2, rtol=1e-5)


def test_files_say_all_that_the_bridge_asks(tmp_path):
    made = make()
    with pytest.raises(RuntimeError, match="nothing was run yet"):
        made.write(tmp_path / "a.gsd")
    made.quench()
    made.write(tmp_path / "a.gsd")
    packings = list(bridge.read_gsd(tmp_path / "a.gsd"))
    assert len(packings) == 4
    with pytest.raises(OSError, match="exists"):
        made.write(tmp_path / "a.gsd")


def test_what_the_engine_has_not_is_refused():
    given = dict(n_particles=80, density=1.6)
    device = hoomd.device.CPU()
    with pytest.raises(ValueError, match="mode = 'shift'"):
        prepare.Ensemble(device, force(mode="shift"), TYPES, **given)
    wider = force()
    wider.r_cut[("A", "B")] = 3.0
    with pytest.raises(ValueError, match="Leave r_cut out"):
        prepare.Ensemble(device, wider, TYPES, **given)
    with pytest.raises(ValueError, match=r"narrower|smaller|width"):
        prepare.Ensemble(device, force(), TYPES, n_particles=4, density=1.6)
    with pytest.raises(ValueError, match="no snapshots"):
        prepare.Ensemble.from_snapshots(device, force(), [])
    lj = hoomd.md.pair.LJ(hoomd.md.nlist.Cell(buffer=0.2))
    for wrong in (lj, None, THETA):
        with pytest.raises(TypeError, match=r"must be a pair force of hoomd\.amorph\.pair"):
            prepare.Ensemble(device, wrong, TYPES, **given)
    for wrong in ("cpu", None, hoomd.device.CPU):
        with pytest.raises(TypeError, match=r"must be a hoomd\.device\.Device"):
            prepare.Ensemble(wrong, force(), TYPES, **given)
        with pytest.raises(TypeError, match=r"must be a hoomd\.device\.Device"):
            prepare.Ensemble.from_snapshots(wrong, force(), make(replicas=1).snapshots())
    with pytest.raises(TypeError, match=r"snapshot 0 is 'a\.gsd': it must be a hoomd\.Snapshot"):
        prepare.Ensemble.from_snapshots(device, force(), ["a.gsd"])
    snapshots = make(replicas=2).snapshots()
    snapshots[1].particles.types = ["A", "C"]
    with pytest.raises(ValueError, match="snapshot 1 differs"):
        prepare.Ensemble.from_snapshots(device, force(), snapshots)


def test_replicas_that_fail_are_told(tmp_path):
    messages = tmp_path / "messages"
    device = hoomd.device.CPU(message_filename=str(messages))
    made = prepare.Ensemble(device, force(), TYPES, n_particles=80, density=1.6, replicas=2)
    result = made.quench(max_steps=3)
    assert not result.converged.any()
    text = messages.read_text()
    assert "replica 0" in text
    assert "replica 1" in text


def test_what_the_engine_would_drop_is_refused():
    def bonds(snapshot):
        snapshot.bonds.types = ["b"]
        snapshot.bonds.N = 2
        snapshot.bonds.group[:] = [[0, 1], [2, 3]]

    def special(snapshot):
        snapshot.pairs.types = ["p"]
        snapshot.pairs.N = 1
        snapshot.pairs.group[:] = [[0, 1]]

    def distance(snapshot):
        snapshot.constraints.N = 1
        snapshot.constraints.group[:] = [[0, 1]]
        snapshot.constraints.value[:] = 1.0

    def particles(name, value):
        def change(snapshot):
            getattr(snapshot.particles, name)[3] = value

        return change

    cases = {
        r"2 bonds: .*bonds\.N = 0": bonds,
        "1 special pairs": special,
        "1 constraints": distance,
        r"particles\.mass other than 1\.0: .*particles\.mass\[:\] = 1\.0": particles("mass", 5.0),
        r"particles\.charge other": particles("charge", -1.0),
        r"particles\.body other": particles("body", 3),
        r"particles\.orientation other": particles("orientation", (0.0, 1.0, 0.0, 0.0)),
        r"particles\.moment_inertia other": particles("moment_inertia", (0.0, 0.0, 1.0)),
    }
    for named, change in cases.items():
        snapshots = make(replicas=2).snapshots()
        change(snapshots[1])
        with pytest.raises(ValueError, match=f"snapshot 1 has {named}"):
            prepare.Ensemble.from_snapshots(hoomd.device.CPU(), force(), snapshots)
    # From a running simulation nothing of that comes.
    sim = hoomd.Simulation(device=hoomd.device.CPU(), seed=1)
    sim.create_state_from_snapshot(make(replicas=1).snapshots()[0])
    sim.state.thermalize_particle_momenta(hoomd.filter.All(), kT=1.0)
    here = [sim.state.get_snapshot()]
    made = prepare.Ensemble.from_snapshots(hoomd.device.CPU(), force(), here)
    assert made.quench().converged.all()


def test_frames_of_gsd_are_taken(tmp_path):
    gsd_hoomd = pytest.importorskip("gsd.hoomd")
    made = make(replicas=2)
    made.quench(tolerance=1e-6)
    made.write(tmp_path / "a.gsd")
    with gsd_hoomd.open(tmp_path / "a.gsd") as trajectory:
        frames = list(trajectory)
    device = hoomd.device.CPU()
    again = prepare.Ensemble.from_snapshots(device, force(), frames).quench()
    np.testing.assert_allclose(again.energy, made.result.energy, rtol=1e-8)
    frames[0].particles.mass = np.full(80, 2.0)
    with pytest.raises(ValueError, match=r"snapshot 0 has particles\.mass"):
        prepare.Ensemble.from_snapshots(device, force(), frames)


@pytest.mark.parametrize(("dimension", "pressure"), [(2, None), (2, 0.1), (3, None)])
def test_every_hoomd_goes_on_from_what_is_written(tmp_path, dimension, pressure):
    theta, n = {2: (THETA, 120), 3: (NARROW, 250)}[dimension]
    made = prepare.Ensemble(
        hoomd.device.CPU(), force(theta), TYPES,
        n_particles=n, density=1.3, dimension=dimension, replicas=2, seed=4,
    )  # fmt: skip
    result = made.quench(pressure=pressure, tolerance=1e-8)
    made.write(tmp_path / "a.gsd")
    for frame in range(2):
        sim = hoomd.Simulation(device=hoomd.device.CPU(), seed=1)
        sim.create_state_from_gsd(str(tmp_path / "a.gsd"), frame=frame)
        assert list(sim.state.particle_types) == TYPES
        own = force(theta)
        method = hoomd.md.methods.ConstantVolume(hoomd.filter.All())
        sim.operations.integrator = hoomd.md.Integrator(0.0, methods=[method], forces=[own])
        sim.run(0)
        assert own.energy == pytest.approx(result.energy[frame], rel=1e-6)
        snapshot = sim.state.get_snapshot()
        assert snapshot.configuration.dimensions == dimension
        # Positions in single precision, up to whole boxes.
        sides = np.array(snapshot.configuration.box[:dimension])
        apart = snapshot.particles.position[:, :dimension] - result.positions[frame]
        apart -= sides * np.rint(apart / sides)
        assert np.abs(apart).max() < 1e-6 * sides.max()
        assert set(snapshot.particles.diameter) == set(np.float32(theta.arrays()["diameters"]))
