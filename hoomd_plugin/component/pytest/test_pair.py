"""The pair forces against the engine, the bridge and finite differences."""

import copy
import pickle
import subprocess
import sys

import hoomd
import hoomd.amorph
import numpy as np
import pytest
from hoomd.amorph import formulas, pair
from hoomd.error import IncompleteSpecificationError

pytest.importorskip("amorph")
from amorph import bridge, ensemble
from amorph.handover import box_to_hoomd, read_gsd

THETAS = {
    "HarmonicMorse": bridge.HarmonicMorse(
        diameters=[0.8, 1.0], binding=[0.1, 0.13, 0.2], stiffness=[5.0, 6.0, 4.0], alpha=6.0
    ),
    "HarmonicMorseReduced": bridge.HarmonicMorseReduced(
        diameters=[0.8, 1.0], binding=[0.1, 0.13, 0.2], stiffness=[5.0, 6.0, 4.0], alpha=7.0
    ),
    "SoftSphere": bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=[1.0, 2.0, 1.5]),
    "Morse": bridge.Morse(diameters=[0.9, 1.1], binding=[0.1, 0.3, 0.2], alpha=8.0),
    "FourTerm": bridge.FourTerm(
        diameters=[1.0, 1.0], b0=5.0, a0=5.89, a1=17.9, a2=2.49, b1=1.823, b2=40.0, a3=1.823,
        r_cut=[2.4, 2.5, 2.6],
    ),
}  # fmt: skip
TYPES = ["A", "B"]
DEVICES = [hoomd.device.CPU]
if hoomd.amorph.built_for_gpu() and hoomd.device.GPU.is_available():
    DEVICES.append(hoomd.device.GPU)


def simulation(positions, typeid, box, device=None):
    """A simulation of particles (N, d) in a box (d, d), columns its vectors."""
    n, d = positions.shape
    snapshot = hoomd.Snapshot()
    if snapshot.communicator.rank == 0:
        snapshot.configuration.box = list(box_to_hoomd(box))
        snapshot.particles.N = n
        snapshot.particles.types = TYPES
        snapshot.particles.typeid[:] = typeid
        fractions = positions @ np.linalg.inv(box).T
        wrapped = (fractions - np.floor(fractions + 0.5)) @ box.T
        snapshot.particles.position[:, :d] = wrapped
    sim = hoomd.Simulation(device=device or hoomd.device.CPU(), seed=1)
    sim.create_state_from_snapshot(snapshot)
    return sim


def attach(sim, force, dt=0.0):
    method = hoomd.md.methods.ConstantVolume(hoomd.filter.All())
    sim.operations.integrator = hoomd.md.Integrator(dt, methods=[method], forces=[force])
    sim.always_compute_pressure = True
    sim.run(0)


def make(name, buffer=0.2, **settings):
    cell = hoomd.md.nlist.Cell(buffer=buffer)
    return getattr(pair, name).from_theta(THETAS[name], TYPES, cell, **settings)


def packing(name, dimension, tilt=0.0, seed=1):
    theta = THETAS[name]
    n = 160 if dimension == 2 else 500
    density = {"FourTerm": 0.6, "Morse": 0.8}.get(name, 0.9)
    box = (n / density) ** (1 / dimension) * np.eye(dimension)
    box[0, 1] = tilt * box[1, 1]
    rng = np.random.default_rng(seed)
    typeid = rng.integers(0, 2, n)
    start = rng.uniform(size=(n, dimension)) @ box.T
    near = ensemble.minimize(theta, start, typeid, box, tolerance=1e-2, max_steps=2000)
    return near.positions[0] + 0.02 * rng.normal(size=(n, dimension)), typeid, box


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("tilt", [0.0, 0.15])
@pytest.mark.parametrize("name", list(THETAS))
def test_forces_are_the_engines(name, dimension, tilt, device):
    positions, typeid, box = packing(name, dimension, tilt)
    force = make(name)
    sim = simulation(positions, typeid, box, device())
    attach(sim, force)
    ours = ensemble.forces(THETAS[name], positions, typeid, box)
    scale = np.abs(ours.forces).max()
    np.testing.assert_allclose(force.forces[:, :dimension], ours.forces[0], atol=1e-12 * scale)
    assert force.energy == pytest.approx(ours.energy[0], rel=1e-12)
    # HOOMD's virials are -r dU/dr by particle: xx, xy, xz, yy, yz, zz.
    virial = force.virials.sum(axis=0)
    full = np.array([[virial[0], virial[1], virial[2]], [virial[1], virial[3], virial[4]],
                     [virial[2], virial[4], virial[5]]])[:dimension, :dimension]  # fmt: skip
    volume = np.linalg.det(box)
    np.testing.assert_allclose(
        -full / volume, ours.stress[0], atol=1e-12 * np.abs(ours.stress).max()
    )


def two(name, r, types=(0, 1), **settings):
    """Energy and force of two particles at a distance."""
    sim = simulation(np.array([[0.0, 0, 0], [r, 0, 0]]), list(types), 20 * np.eye(3))
    force = make(name, **settings)
    attach(sim, force)
    return force.energy, force.forces[0, 0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("name", list(THETAS))
def test_forces_are_those_of_jax(name, dimension, device):
    positions, typeid, box = packing(name, dimension)
    force = make(name)
    sim = simulation(positions, typeid, box, device())
    attach(sim, force)
    state = bridge.Packing.of(positions=positions, typeid=typeid, box=box)
    theirs = bridge.forces(THETAS[name], state)
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(force.forces[:, :dimension], theirs, atol=1e-12 * scale)
    assert force.energy == pytest.approx(bridge.energy(THETAS[name], state), rel=1e-12)


@pytest.mark.parametrize("name", list(THETAS))
def test_a_pair_through_the_switch_and_at_the_cutoff(name):
    theta = THETAS[name]
    force = make(name)
    r_on, r_cut = force.r_on[("A", "B")], force.r_cut[("A", "B")]
    inside = np.linspace(0.7 * r_on, 1.001 * r_cut, 23)
    edges = [r * (1 + e) for r in (r_on, r_cut) for e in (-1e-9, 1e-9)]
    for r in [*inside, *edges]:
        energy, push = two(name, r)
        ours = ensemble.forces(theta, np.array([[0.0, 0, 0], [r, 0, 0]]), [0, 1], 20 * np.eye(3))
        scale = max(1e-3, abs(ours.energy[0]))
        assert energy == pytest.approx(ours.energy[0], abs=1e-12 * scale)
        assert push == pytest.approx(ours.forces[0, 0, 0], abs=1e-11 * scale)
    assert two(name, r_cut * (1 + 1e-9)) == (0.0, 0.0)


@pytest.mark.parametrize("name", list(THETAS))
def test_force_is_minus_the_slope_of_energy(name):
    force = make(name)
    for r in np.linspace(0.8 * force.r_on[("A", "A")], 0.99 * force.r_cut[("A", "A")], 7):
        h = 1e-5
        higher, lower = two(name, r + h, (0, 0))[0], two(name, r - h, (0, 0))[0]
        assert two(name, r, (0, 0))[1] == pytest.approx(
            (higher - lower) / (2 * h), rel=1e-6, abs=1e-9
        )


def test_cutoffs_follow_the_parameters_until_they_are_set():
    force = pair.HarmonicMorse(hoomd.md.nlist.Cell(buffer=0.2))
    own = dict(sigma=1.0, binding=0.1, stiffness=5.0, alpha=6.0)
    force.params[("A", "A")] = own
    assert force.r_cut[("A", "A")] == pytest.approx(1 + 9.9 / 6)
    assert force.r_on[("A", "A")] == pytest.approx(1 + 5 / 6)
    force.params[("A", "A")] = dict(own, alpha=10.0)
    assert force.r_cut[("A", "A")] == pytest.approx(1.99)
    force.r_cut[("A", "A")] = 1.5
    force.params[("A", "A")] = own
    assert force.r_cut[("A", "A")] == 1.5
    assert force.r_on[("A", "A")] == pytest.approx(1 + 5 / 6)


def test_cutoffs_follow_while_the_simulation_runs():
    positions, typeid, box = packing("HarmonicMorse", 2)
    force = make("HarmonicMorse")
    sim = simulation(positions, typeid, box)
    attach(sim, force)
    stiffer = dict(sigma=0.8, binding=0.1, stiffness=5.0, alpha=9.0)
    force.params[("A", "A")] = stiffer
    assert force.r_cut[("A", "A")] == pytest.approx(0.8 + 9.9 / 9)
    force.params[("A", "A")]["alpha"] = 11.0
    assert force.r_cut[("A", "A")] == pytest.approx(0.8 + 9.9 / 11)
    sim.run(1)  # by no time
    theta = THETAS["HarmonicMorse"]
    alpha = np.broadcast_to(theta.arrays()["alpha"], (3,)).copy()
    alpha[0] = 11.0
    changed = bridge.HarmonicMorse(**{**theta.arrays(), "alpha": alpha})
    assert force.energy == pytest.approx(
        ensemble.forces(changed, positions, typeid, box).energy[0], rel=1e-12
    )


@pytest.mark.parametrize("mode", ["none", "shift"])
def test_other_modes_are_honoured(mode):
    r = 1.7
    energy, _ = two("Morse", r, (1, 1), mode=mode)
    theta = {k: np.asarray(v) for k, v in THETAS["Morse"].arrays().items()}
    b, a, s = theta["binding"][2], np.broadcast_to(theta["alpha"], 3)[2], theta["diameters"][1]

    def u(x):
        return b * (np.exp(-2 * a * (x - s)) - 2 * np.exp(-a * (x - s)))

    at_cut = u(s + 9.9 / a) if mode == "shift" else 0.0
    assert energy == pytest.approx(u(r) - at_cut, rel=1e-12)


def test_a_wider_cutoff_is_honoured():
    energy, _ = two("Morse", 2.6, (1, 1), mode="none", default_r_cut=3.0)
    assert energy == pytest.approx(0.2 * (np.exp(-24.0) - 2 * np.exp(-12.0)), rel=1e-12)


def test_drift_without_friction_falls_as_the_square_of_the_time_step():
    positions, typeid, box = packing("HarmonicMorse", 2)
    drift = []
    for dt in (0.02, 0.01):
        sim = simulation(positions, typeid, box)
        force = make("HarmonicMorse")
        method = hoomd.md.methods.ConstantVolume(hoomd.filter.All())
        sim.operations.integrator = hoomd.md.Integrator(dt, methods=[method], forces=[force])
        sim.state.thermalize_particle_momenta(hoomd.filter.All(), kT=0.02)
        thermo = hoomd.md.compute.ThermodynamicQuantities(hoomd.filter.All())
        sim.operations.computes.append(thermo)
        energies = []
        for _ in range(100):
            sim.run(round(0.1 / dt))
            energies.append(thermo.kinetic_energy + thermo.potential_energy)
        drift.append(np.std(energies))
    assert 3.0 < drift[0] / drift[1] < 5.5


@pytest.mark.parametrize("name", list(THETAS))
def test_theta_there_and_back(name):
    force = make(name)
    back = force.to_theta(TYPES)
    for key, values in THETAS[name].arrays().items():
        shape = np.shape(np.asarray(back.arrays()[key]))
        np.testing.assert_array_equal(back.arrays()[key], np.broadcast_to(values, shape))
    with pytest.raises(ValueError, match="give the types"):
        force.to_theta()


@pytest.mark.parametrize("name", list(THETAS))
def test_the_bridge_reads_what_hoomd_writes(name, tmp_path):
    positions, typeid, box = packing(name, 2)
    force = make(name)
    sim = simulation(positions, typeid, box)
    attach(sim, force)
    logger = hoomd.logging.Logger(categories=["sequence"])
    logger.add(force)
    out = tmp_path / "a.gsd"
    hoomd.write.GSD.write(sim.state, str(out), logger=logger)
    (frame,) = read_gsd(out)
    assert frame.potential == THETAS[name].potential
    for key, values in THETAS[name].arrays().items():
        np.testing.assert_array_equal(
            frame.parameters[key], np.broadcast_to(values, frame.parameters[key].shape)
        )


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_copies_keep_what_was_set(copied):
    force = make("HarmonicMorse")
    force.r_cut[("A", "B")] = 2.0
    twin = copied(force)
    assert twin.r_cut[("A", "B")] == 2.0
    own = dict(sigma=1.0, binding=0.1, stiffness=5.0, alpha=9.0)
    twin.params[("A", "B")] = own
    twin.params[("A", "A")] = own
    assert twin.r_cut[("A", "B")] == 2.0
    assert twin.r_cut[("A", "A")] == pytest.approx(2.1)
    assert force.r_cut[("A", "A")] == pytest.approx(0.8 + 9.9 / 6)


def test_default_parameters_are_taken():
    force = pair.HarmonicMorse(hoomd.md.nlist.Cell(buffer=0.2))
    force.params.default = dict(sigma=1.0, binding=0.1, stiffness=5.0, alpha=6.0)
    sim = simulation(np.array([[0.0, 0, 0], [1, 0, 0]]), [0, 1], 20 * np.eye(3))
    attach(sim, force)
    assert force.r_cut[("A", "B")] == pytest.approx(1 + 9.9 / 6)
    assert force.energy == pytest.approx(-0.1)


def test_cutoffs_follow_values_within_a_pairs_parameters():
    force = make("HarmonicMorse")
    force.params[("A", "A")]["sigma"] = 2.0
    assert force.r_cut[("A", "A")] == pytest.approx(2.0 + 9.9 / 6)
    force.r_cut[("A", "A")] = 2.5
    force.params[("A", "A")]["sigma"] = 3.0
    sim = simulation(np.array([[0.0, 0, 0], [1, 0, 0]]), [0, 1], 20 * np.eye(3))
    with pytest.raises(ValueError, match="below sigma = 3"):
        attach(sim, force)


def test_a_core_that_outgrows_its_cutoff_is_refused_in_a_run():
    force = make("HarmonicMorse")
    force.r_cut[("A", "A")] = 1.5
    sim = simulation(np.array([[0.0, 0, 0], [1, 0, 0]]), [0, 1], 20 * np.eye(3))
    attach(sim, force)
    own = dict(sigma=2.0, binding=0.1, stiffness=5.0, alpha=6.0)
    with pytest.raises(ValueError, match="below sigma = 2"):
        force.params[("A", "A")] = own
    assert force.params[("A", "A")]["sigma"] == 0.8


def test_looking_at_what_is_not_set_sets_nothing():
    force = pair.HarmonicMorse(hoomd.md.nlist.Cell(buffer=0.2))
    with pytest.raises(hoomd.error.TypeConversionError):  # as HOOMD's own forces have it
        force.r_cut[("A", "B")]
    force.params[("A", "B")] = dict(sigma=1.0, binding=0.1, stiffness=5.0, alpha=6.0)
    assert force.r_cut[("A", "B")] == pytest.approx(1 + 9.9 / 6)


def test_a_force_goes_on_in_another_simulation():
    force = make("SoftSphere")
    positions = np.array([[0.0, 0, 0], [0.9, 0, 0]])
    energies = []
    for _ in range(2):
        sim = simulation(positions, [0, 1], 20 * np.eye(3))
        attach(sim, force)
        energies.append(force.energy)
        sim.operations.integrator.forces.clear()
    assert energies[0] == energies[1] > 0


def test_missing_parameters_are_named():
    force = pair.HarmonicMorse(hoomd.md.nlist.Cell(buffer=0.2))
    force.params[("A", "A")] = dict(sigma=1.0, binding=0.1, stiffness=5.0, alpha=6.0)
    sim = simulation(np.array([[0.0, 0, 0], [1, 0, 0]]), [0, 1], 20 * np.eye(3))
    with pytest.raises(
        IncompleteSpecificationError, match=r"\('A', 'B'\): set params\[\('A', 'B'\)\]"
    ):
        attach(sim, force)


@pytest.mark.parametrize("late", [False, True])
def test_a_cutoff_within_the_core_is_refused(late):
    force = make("HarmonicMorse")
    if late:
        force = pair.HarmonicMorse(hoomd.md.nlist.Cell(buffer=0.2))
        force.r_cut[("A", "A")] = 0.5
        for key in (("A", "A"), ("A", "B"), ("B", "B")):
            force.params[key] = dict(sigma=1.0, binding=0.1, stiffness=5.0, alpha=6.0)
        sim = simulation(np.array([[0.0, 0, 0], [1, 0, 0]]), [0, 1], 20 * np.eye(3))
        with pytest.raises(ValueError, match=r"0\.5 lies below sigma"):
            attach(sim, force)
    else:
        with pytest.raises(ValueError, match=r"0\.5 lies below sigma"):
            force.r_cut[("A", "A")] = 0.5
    # No interaction at all is possible.
    force.r_cut[("A", "A")] = 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        dict(sigma=-1.0, binding=0.1, stiffness=5.0, alpha=6.0),
        dict(sigma=1.0, binding=0.1, stiffness=5.0, alpha=0.0),
        dict(sigma=1.0, binding="much", stiffness=5.0, alpha=6.0),
        dict(sigma=1.0, binding=0.1, stiffness=5.0, alpha=6.0, beta=1.0),
    ],
)
def test_parameters_out_of_bounds_are_refused(wrong):
    force = pair.HarmonicMorse(hoomd.md.nlist.Cell(buffer=0.2))
    with pytest.raises((ValueError, hoomd.error.TypeConversionError, KeyError)):
        force.params[("A", "A")] = wrong


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), -1.0])
@pytest.mark.parametrize("name", list(THETAS))
def test_what_is_no_finite_number_is_refused(name, wrong):
    # HOOMD's own converters take NaN: such a pair would not interact, without a word.
    force = make(name)
    for key, value in dict(force.params[("A", "B")]).items():
        with pytest.raises(hoomd.error.TypeConversionError):
            force.params[("A", "B")] = {**dict(force.params[("A", "B")]), key: wrong}
        with pytest.raises(hoomd.error.TypeConversionError):
            force.params[("A", "B")][key] = wrong
        assert force.params[("A", "B")][key] == value
    for cutoffs in (force.r_cut, force.r_on):
        before = cutoffs[("A", "B")]
        with pytest.raises(hoomd.error.TypeConversionError):
            cutoffs[("A", "B")] = wrong
        assert cutoffs[("A", "B")] == before
    with pytest.raises(hoomd.error.TypeConversionError):
        make(name, default_r_cut=wrong)


def test_a_diameter_to_draw_is_one_if_nothing_is_said():
    force = pair.FourTerm(hoomd.md.nlist.Cell(buffer=0.2))
    own = dict(b0=5.0, a0=5.9, a1=18.0, a2=2.5, b1=1.8, b2=40.0, a3=1.8, r_cut=2.5)
    force.params[("A", "A")] = own
    assert dict(force.params[("A", "A")]) == {**own, "sigma": 1.0}
    sim = simulation(np.array([[0.0, 0, 0], [1, 0, 0]]), [0, 0], 20 * np.eye(3))
    with pytest.raises(IncompleteSpecificationError, match="no parameters for the types"):
        attach(sim, force)


def test_what_the_bridge_cannot_be_has_no_theta():
    for mode in ("none", "shift"):
        with pytest.raises(ValueError, match=rf"mode = '{mode}': .*'xplor' alone\. Leave mode"):
            make("Morse", mode=mode).to_theta(TYPES)
    for name, value in (("r_cut", 0.0), ("r_cut", 2.0), ("r_on", 1.0)):
        force = make("HarmonicMorse")
        getattr(force, name)[("A", "B")] = value
        with pytest.raises(ValueError, match=rf"{name}.*'A', 'B'.* = {value}: .*Leave {name} out"):
            force.to_theta(TYPES)
    with pytest.raises(ValueError, match=r"r_cut.*Leave r_cut out"):
        make("SoftSphere", default_r_cut=2.0).to_theta(TYPES)
    force = make("HarmonicMorse")
    force.params[("A", "B")]["sigma"] = 0.95
    with pytest.raises(ValueError, match=r"sigma = 0\.95: .*two types, 0\.9"):
        force.to_theta(TYPES)
    # On a diameter that is there to be drawn no force depends.
    force = make("FourTerm")
    force.params[("A", "B")]["sigma"] = 3.0
    assert force.to_theta(TYPES).potential == "four_term"


def test_a_component_for_another_hoomd_is_refused(environment):
    program = (
        "import hoomd; hoomd.version.version = '9.9.9'\n"
        "try:\n    import hoomd.amorph\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert "was built for HOOMD-blue" in done.stdout
    assert "9.9.9: build it again" in done.stdout


@pytest.mark.skipif(hoomd.amorph.built_for_gpu(), reason="the component was built for GPUs")
def test_a_gpu_asked_of_a_build_without_is_refused():
    formulas.check_built_for(hoomd.device.CPU())
    with pytest.raises(RuntimeError, match="built without GPU support: build it"):
        formulas.check_built_for(object())  # what is no CPU


def test_another_potentials_theta_is_refused():
    with pytest.raises(ValueError, match="'soft_sphere'"):
        pair.HarmonicMorse.from_theta(THETAS["SoftSphere"], TYPES)
    with pytest.raises(ValueError, match="1 types, but 2 diameters"):
        pair.SoftSphere.from_theta(THETAS["SoftSphere"], ["A"])
