"""The log of a force in a run, and what is made of it: HOOMD's value, or a named refusal."""

import hoomd
import numpy as np
import pytest
from hoomd.amorph import force as own_force
from hoomd.amorph import pair

pytest.importorskip("amorph")
from amorph import bridge, handover

PAIRS = [("A", "A"), ("A", "B"), ("B", "B")]
SIGMA = dict(zip(PAIRS, (0.8, 0.9, 1.0), strict=True))
REFUSED = handover.FrameError


def make(kind="HarmonicMorse", nlist=None, sigma=None, **settings):
    force = getattr(pair, kind)(nlist or hoomd.md.nlist.Cell(buffer=0.3), **settings)
    for key in PAIRS:
        force.params[key] = {"sigma": (sigma or SIGMA)[key], "stiffness": 5.0} | (
            {} if kind == "SoftSphere" else {"binding": 0.1, "alpha": 6.0}
        )
    return force


def start(bonds=0, held=False, n=128, density=1.4):
    snapshot = hoomd.Snapshot()
    side = (n / density) ** 0.5
    rng = np.random.default_rng(5)
    snapshot.configuration.box = [side, side, 0, 0, 0, 0]
    snapshot.particles.N = n
    snapshot.particles.types = ["A", "B"]
    snapshot.particles.typeid[:] = np.arange(n) % 2
    snapshot.particles.position[:, :2] = side * (rng.uniform(size=(n, 2)) - 0.5)
    if bonds:
        snapshot.bonds.types = ["b"]
        snapshot.bonds.N = bonds
        snapshot.bonds.group[:] = np.arange(2 * bonds).reshape(bonds, 2)
    if held:
        snapshot.constraints.N = 1
        snapshot.constraints.group[:] = [[0, 1]]
        snapshot.constraints.value[:] = 1.0
    sim = hoomd.Simulation(device=hoomd.device.CPU(), seed=3)
    sim.create_state_from_snapshot(snapshot)
    return sim


def quench(sim, forces, steps=300, **settings):
    """Some steps downhill under forces."""
    method = hoomd.md.methods.ConstantVolume(hoomd.filter.All())
    sim.operations.integrator = hoomd.md.minimize.FIRE(
        dt=0.05, force_tol=1e-6, angmom_tol=1, energy_tol=1e-9,
        forces=forces, methods=[method], **settings,
    )  # fmt: skip
    sim.run(steps)


def written(sim, path, *forces):
    """A file with what the forces log, as docs/hoomd.md has it."""
    logger = hoomd.logging.Logger(categories=["sequence"])
    for force in forces:
        logger.add(force)
    hoomd.write.GSD.write(sim.state, str(path), mode="wb", logger=logger)
    return path


def energy(path):
    ((theta, packing),) = bridge.read_gsd(path)
    return float(bridge.energy(theta, packing))


@pytest.mark.parametrize("kind", ["HarmonicMorse", "HarmonicMorseReduced", "SoftSphere", "Morse"])
def test_a_run_with_its_own_cutoffs_is_measured(kind, tmp_path):
    # Bonds that the neighbour list may exclude matter only where there are some.
    sim, force = start(), None
    force = make("HarmonicMorse" if kind == "Morse" else kind)
    if kind == "Morse":
        quench(sim, [force])
        force = pair.Morse(hoomd.md.nlist.Cell(buffer=0.3))
        for key in PAIRS:
            force.params[key] = dict(sigma=SIGMA[key], binding=0.1, alpha=6.0)
    quench(sim, [force])
    path = written(sim, tmp_path / "a.gsd", force)
    assert energy(path) == pytest.approx(force.energy, rel=1e-5)


def test_a_force_that_is_only_computed_is_measured(tmp_path):
    # As one that adds the potential to configurations from elsewhere.
    sim, force = start(), make()
    quench(sim, [force])
    sim.operations.integrator.forces.clear()
    sim.operations.integrator = None
    sim.operations.computes.append(force)
    sim.run(0)
    path = written(sim, tmp_path / "a.gsd", force)
    assert energy(path) == pytest.approx(force.energy, rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "change", "named"),
    [
        (dict(mode="none"), None, "mode = 'none'"),
        (dict(mode="shift"), None, "mode = 'shift'"),
        (dict(default_r_cut=1.2), None, r"r_cut = 1\.2 for \(A, A\)"),
        (dict(default_r_on=1.1), None, r"r_on = 1\.1\d* for \(A, A\)"),
        ({}, "r_cut", r"r_cut = 0 for \(A, B\)"),
    ],
)
def test_other_cutoffs_and_modes_are_refused(settings, change, named, tmp_path):
    sim, force = start(), make(**settings)
    if change:
        force.r_cut[("A", "B")] = 0.0
    quench(sim, [force])
    path = written(sim, tmp_path / "a.gsd", force)
    with pytest.raises(REFUSED, match=named):
        energy(path)


def test_two_forces_are_refused(tmp_path):
    sim, first, second = start(), make(), make()
    lj = hoomd.md.pair.LJ(hoomd.md.nlist.Cell(buffer=0.3), default_r_cut=2.0)
    for key in PAIRS:
        lj.params[key] = dict(epsilon=0.1, sigma=0.8)
    named = r"besides HarmonicMorse these acted in the run: "
    for others, what in (
        ([second], r"amorph\.pair\.HarmonicMorse"),
        ([make("SoftSphere")], r"amorph\.pair\.SoftSphere"),
        ([lj], r"md\.pair\.LJ"),
        ([own_force.FromJAX(lambda positions, box: 0.0 * positions[0, 0])],
         r"amorph\.force\.FromJAX"),
    ):  # fmt: skip
        quench(sim, [first, *others], steps=0)
        path = written(sim, tmp_path / "a.gsd", first)
        with pytest.raises(REFUSED, match=named + what):
            energy(path)
        sim.operations.integrator.forces.clear()
    quench(sim, [first, second], steps=0)
    path = written(sim, tmp_path / "two.gsd", first, second)
    with pytest.raises(REFUSED, match=r"HarmonicMorse, log/amorph/pair/HarmonicMorse_1"):
        energy(path)


def test_bonds_are_refused_and_exclusions_too(tmp_path):
    nlist = hoomd.md.nlist.Cell(buffer=0.3)
    force, springs = make(nlist=nlist), hoomd.md.bond.Harmonic()
    springs.params["b"] = dict(k=10.0, r0=0.8)
    sim = start(bonds=40)
    quench(sim, [force, springs], steps=20)
    with pytest.raises(REFUSED, match=r"md\.bond\.Harmonic"):
        energy(written(sim, tmp_path / "a.gsd", force))
    sim.operations.integrator.forces.remove(springs)
    sim.run(1)
    with pytest.raises(REFUSED, match=r"by the exclusions bond of.*exclusions to \(\)"):
        energy(written(sim, tmp_path / "b.gsd", force))
    nlist.exclusions = ["1-4", "angle", "bond"]
    sim.run(1)
    with pytest.raises(REFUSED, match=r"by the exclusions (1-4, bond|bond, 1-4) of"):
        energy(written(sim, tmp_path / "c.gsd", force))
    nlist.exclusions = []
    sim.run(1)
    path = written(sim, tmp_path / "d.gsd", force)
    with pytest.warns(UserWarning, match="40 bonds have no springs"):
        ((theta, packing),) = bridge.read_gsd(path)
    assert float(bridge.energy(theta, packing)) == pytest.approx(force.energy, rel=1e-5)


def test_bodies_are_refused(tmp_path):
    nlist = hoomd.md.nlist.Cell(buffer=0.3, exclusions=["bond", "body"])
    force = make(nlist=nlist)
    sim = start()
    quench(sim, [force], steps=5)
    assert energy(written(sim, tmp_path / "a.gsd", force)) == pytest.approx(force.energy, rel=1e-5)
    snapshot = sim.state.get_snapshot()
    if snapshot.communicator.rank == 0:
        snapshot.particles.body[:2] = 0
    bound = hoomd.Simulation(device=hoomd.device.CPU(), seed=3)
    bound.create_state_from_snapshot(snapshot)
    force = make(nlist=hoomd.md.nlist.Cell(buffer=0.3, exclusions=["body"]))
    bound.operations.computes.append(force)
    bound.run(0)
    with pytest.raises(REFUSED, match="by the exclusions body of"):
        energy(written(bound, tmp_path / "b.gsd", force))


def test_distance_constraints_are_refused(tmp_path):
    sim, force = start(held=True), make()
    quench(sim, [force], constraints=[hoomd.md.constrain.Distance()], steps=0)
    with pytest.raises(REFUSED, match=r"md\.constrain\.Distance"):
        energy(written(sim, tmp_path / "a.gsd", force))


def test_a_run_with_any_sigma_goes_on_and_is_refused(tmp_path):
    sigma = {**SIGMA, ("A", "B"): 0.8}
    sim, force = start(), make(sigma=sigma)
    quench(sim, [force], steps=50)
    logger = hoomd.logging.Logger()
    logger.add(force)  # all of it
    path = tmp_path / "a.gsd"
    writer = hoomd.write.GSD(filename=str(path), trigger=10, mode="wb", logger=logger)
    sim.operations.writers.append(writer)
    sim.run(31)
    writer.flush()
    with pytest.raises(REFUSED, match=r"sigma = 0\.8 for \(A, B\).*diameters.*0\.9"):
        list(bridge.read_gsd(path))
    # Everything is there for those who can use it.
    (frame, *_) = handover.read_gsd(path, need_potential=False)
    assert frame.potential is None
    np.testing.assert_array_equal(force.sigma, [[0.8, 0.8], [0.8, 1.0]])
    np.testing.assert_array_equal(force.diameters, [0.8, 1.0])


def test_an_inert_type_is_logged_and_refused(tmp_path):
    snapshot = hoomd.Snapshot()
    snapshot.configuration.box = [12, 12, 12, 0, 0, 0]
    snapshot.particles.N = 2
    snapshot.particles.types = ["A", "centre"]
    snapshot.particles.typeid[:] = 1
    snapshot.particles.position[:] = [[-2, 0, 0], [2, 0, 0]]
    snapshot.particles.moment_inertia[:] = [[0, 1, 1]] * 2
    sim = hoomd.Simulation(device=hoomd.device.CPU(), seed=1)
    sim.create_state_from_snapshot(snapshot)
    rigid = hoomd.md.constrain.Rigid()
    rigid.body["centre"] = {
        "constituent_types": ["A", "A"],
        "positions": [(-0.5, 0, 0), (0.5, 0, 0)],
        "orientations": [(1, 0, 0, 0)] * 2,
    }
    rigid.create_bodies(sim.state)
    force = pair.SoftSphere(hoomd.md.nlist.Cell(buffer=0.3, exclusions=["body"]))
    force.params[("A", "A")] = dict(sigma=1.0, stiffness=1.0)
    for key in (("A", "centre"), ("centre", "centre")):
        force.params[key] = dict(sigma=0.1, stiffness=1.0)
        force.r_cut[key] = 0.0
    method = hoomd.md.methods.ConstantVolume(hoomd.filter.Rigid(("center", "free")))
    sim.operations.integrator = hoomd.md.Integrator(
        0.001, methods=[method], forces=[force], rigid=rigid, integrate_rotational_dof=True
    )
    logger = hoomd.logging.Logger()
    logger.add(force)
    path = tmp_path / "a.gsd"
    writer = hoomd.write.GSD(filename=str(path), trigger=2, mode="wb", logger=logger)
    sim.operations.writers.append(writer)
    sim.run(5)
    writer.flush()
    with pytest.raises(REFUSED, match=r"md\.constrain\.Rigid"):
        list(bridge.read_gsd(path))
    np.testing.assert_array_equal(force.applied_r_cut, [[1.0, 0.0], [0.0, 0.0]])


def test_a_potential_given_on_purpose_is_used(tmp_path):
    sim, force = start(), make(mode="none")
    quench(sim, [force], steps=20)
    path = written(sim, tmp_path / "a.gsd", force)
    theta = bridge.SoftSphere([0.8, 1.0], 2.0)
    ((used, _),) = bridge.read_gsd(path, theta=theta)
    assert used is theta


def test_a_force_under_another_name_is_read(tmp_path):
    sim, force = start(), make("HarmonicMorseReduced")
    quench(sim, [force], steps=20)
    logger = hoomd.logging.Logger(categories=["sequence"])
    logger.add(force, user_name="core")
    path = tmp_path / "a.gsd"
    hoomd.write.GSD.write(sim.state, str(path), mode="wb", logger=logger)
    assert energy(path) == pytest.approx(force.energy, rel=1e-5)


def test_a_file_without_the_force_names_the_option(tmp_path):
    sim, force = start(), make()
    for name in ("before.gsd", "after.gsd"):
        path = written(sim, tmp_path / name, force)
        with pytest.raises(REFUSED, match=r"no potential.*--potential.*run\(0\)"):
            energy(path)
        quench(sim, [force], steps=1)
        sim.operations.integrator.forces.clear()


def test_what_is_logged_keeps_its_shape(tmp_path):
    sim, force = start(), make()
    before = {}
    for others in ([], [make(), make("SoftSphere")], [make("SoftSphere") for _ in range(20)]):
        quench(sim, [force, *others], steps=1)
        found = {name: np.asarray(getattr(force, name)) for name in force.loggables
                 if force.loggables[name] == "sequence"}  # fmt: skip
        shapes = {name: (values.shape, values.dtype) for name, values in found.items()}
        assert before in ({}, shapes)
        before = shapes
        sim.operations.integrator.forces.clear()
    assert {"sigma", "applied_r_cut", "applied_r_on", "applied_mode", "other_forces"} <= set(before)


def test_tables_in_hdf5_take_it(tmp_path):
    h5py = pytest.importorskip("h5py")
    sim, force = start(), make()
    quench(sim, [force], steps=1)
    logger = hoomd.logging.Logger(categories=["scalar", "sequence"])
    logger.add(force)
    writer = hoomd.write.HDF5Log(filename=tmp_path / "a.h5", trigger=5, mode="w", logger=logger)
    sim.operations.writers.append(writer)
    sim.run(10)
    sim.operations.integrator.forces.append(make("SoftSphere"))
    sim.run(10)
    writer.flush()
    sim.operations.writers.clear()
    with h5py.File(tmp_path / "a.h5") as table:
        names = table["hoomd-data/amorph/pair/HarmonicMorse/other_forces"][:]
    texts = [row.tobytes().rstrip(b"\0").decode() for row in names]
    assert texts[0] == "none"
    assert texts[-1] == "amorph.pair.SoftSphere"
