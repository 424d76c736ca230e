"""The tabulated pair force against the engine and its formula."""

import pickle

import hoomd
import hoomd.amorph
import numpy as np
import pytest
from hoomd.error import IncompleteSpecificationError

pytest.importorskip("amorph")
from amorph import ensemble
from amorph.handover import GSDReader, UnknownPotentialError, box_to_hoomd, build_table, read_gsd

Table = hoomd.amorph.pair.Table
TYPES = ["A", "B"]
DEVICES = [hoomd.device.CPU]
if hoomd.amorph.built_for_gpu() and hoomd.device.GPU.is_available():
    DEVICES.append(hoomd.device.GPU)


def lennard_jones(depth, size):
    def formula(r):
        a = (size / r) ** 6
        return (
            4 * depth * (a * a - a),
            depth * (24 * a - 48 * a * a) / r,
            depth * (624 * a * a - 168 * a) / r**2,
        )

    return formula


DEPTH, SIZE = (1.0, 1.5, 0.5), (1.0, 0.8, 0.88)
THETA = build_table(
    [lennard_jones(*own) for own in zip(DEPTH, SIZE, strict=True)],
    [[1.3, 2.5], [2.0], [2.2]],
    [1.0, 0.88],
    potential="lennard_jones_cut",
    parameters={"depth": DEPTH, "size": SIZE},
)


def simulation(positions, typeid, box, device):
    n, d = positions.shape
    snapshot = hoomd.Snapshot()
    if snapshot.communicator.rank == 0:
        snapshot.configuration.box = list(box_to_hoomd(box))
        snapshot.particles.N = n
        snapshot.particles.types = TYPES
        snapshot.particles.typeid[:] = typeid
        fractions = positions @ np.linalg.inv(box).T
        snapshot.particles.position[:, :d] = (fractions - np.floor(fractions + 0.5)) @ box.T
    sim = hoomd.Simulation(device=device, seed=1)
    sim.create_state_from_snapshot(snapshot)
    return sim


def attach(sim, force, dt=0.0):
    method = hoomd.md.methods.ConstantVolume(hoomd.filter.All())
    sim.operations.integrator = hoomd.md.Integrator(dt, methods=[method], forces=[force])
    sim.always_compute_pressure = True
    sim.run(0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dimension", [2, 3])
def test_forces_are_the_engines(dimension, device):
    rng = np.random.default_rng(3)
    n, box = 300, 8.0 * np.eye(dimension)
    box[0, 1] = 1.1
    # At random: from the wall to beyond the cutoff.
    positions, typeid = rng.uniform(size=(n, dimension)) @ box.T, rng.integers(0, 2, n)
    force = Table.from_theta(THETA, TYPES, hoomd.md.nlist.Cell(buffer=0.2))
    sim = simulation(positions, typeid, box, device())
    attach(sim, force)
    ours = ensemble.forces(THETA, positions, typeid, box)
    scale = np.abs(ours.forces).max()
    np.testing.assert_allclose(force.forces[:, :dimension], ours.forces[0], atol=1e-12 * scale)
    assert force.energy == pytest.approx(ours.energy[0], rel=1e-12)


@pytest.mark.parametrize("types", [(0, 0), (0, 1), (1, 1)])
def test_a_pair_has_the_formulas_force_up_to_its_cutoff(types):
    p = sum(types)
    cut = THETA.r_cut[types]
    for r in (0.9, 1.2999, 1.3001, cut * (1 - 1e-9), cut * (1 + 1e-9)):
        positions = np.array([[0.0, 0, 0], [r, 0, 0]])
        sim = simulation(positions, list(types), 12 * np.eye(3), hoomd.device.CPU())
        force = Table.from_theta(THETA, TYPES)
        attach(sim, force)
        u, slope, _ = lennard_jones(DEPTH[p], SIZE[p])(np.array(r))
        inside = r < cut
        assert force.energy == pytest.approx(u * inside, rel=1e-7, abs=1e-14)
        assert force.forces[0, 0] == pytest.approx(slope * inside, rel=1e-7, abs=1e-14)


def test_parameters_go_in_and_come_out():
    force = Table.from_theta(THETA, TYPES)
    assert force.to_theta() is THETA
    sim = simulation(np.eye(3) * 2, [0, 1, 1], 12 * np.eye(3), hoomd.device.CPU())
    attach(sim, force)
    for s, t in ((0, 0), (0, 1), (1, 1)):
        coefficients, cells = THETA.of_pair(s, t)
        own = force.params[(TYPES[s], TYPES[t])]
        np.testing.assert_array_equal(np.asarray(own["coefficients"]), coefficients)
        np.testing.assert_array_equal(np.asarray(own["cells"]), cells)
        assert own["bits"] == THETA.bits
        assert force.r_cut[(TYPES[s], TYPES[t])] == THETA.r_cut[s, t]
    again = pickle.loads(pickle.dumps(force))
    assert again.r_cut[("A", "B")] == THETA.r_cut[0, 1]


def test_a_potential_that_has_a_table_will_do():
    class Own:
        def table(self):
            return THETA

    assert Table.from_theta(Own(), TYPES).to_theta() is THETA


def test_what_cannot_be_is_told():
    with pytest.raises(ValueError, match="it must be a table"):
        Table.from_theta({"cells": 1}, TYPES)
    with pytest.raises(ValueError, match="there are 1 types, but 2 in the table"):
        Table.from_theta(THETA, ["A"])
    place = (np.eye(3) * 2, [0, 1, 1], 12 * np.eye(3), hoomd.device.CPU())
    bare = Table(hoomd.md.nlist.Cell(buffer=0.3), default_r_cut=2.5)
    with pytest.raises(ValueError, match=r"not made by Table\.from_theta"):
        bare.to_theta()
    with pytest.raises(IncompleteSpecificationError, match="no parameters for the types"):
        attach(simulation(*place), bare)
    changed = Table.from_theta(THETA, TYPES)
    changed.r_cut[("A", "A")] = 1.5
    with pytest.raises(ValueError, match=r"r_cut\[\('A', 'A'\)\] = 1\.5"):
        changed.to_theta()
    for name, value, match in (
        ("bits", 99, "bits of a table"),
        ("coefficients", [1.0, 2.0], "1 to 8 breaks"),
        ("coefficients", [9000.0, *THETA.of_pair(0, 0)[0][1:]], "reach beyond its cells"),
    ):
        wrong = Table.from_theta(THETA, TYPES)
        own = dict(zip(("coefficients", "cells"), THETA.of_pair(0, 0), strict=True))
        wrong.params[("A", "A")] = own | {"bits": THETA.bits} | {name: value}
        # HOOMD-blue puts an error of its own around it.
        with pytest.raises((ValueError, RuntimeError, TypeError)) as caught:
            attach(simulation(*place), wrong)
        assert match in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"


def test_the_engine_prepares_ensembles_of_it(tmp_path):
    device = hoomd.device.CPU()
    if device.communicator.num_ranks > 1:
        pytest.skip("a device of one rank each")
    force = Table.from_theta(THETA, TYPES)
    made = hoomd.amorph.prepare.Ensemble(
        device, force, TYPES, n_particles=200, density=1.1, dimension=3, replicas=2, seed=3
    )
    made.quench(1e-8)
    path = tmp_path / "made.gsd"
    made.write(path)
    frame = next(iter(read_gsd(path)))
    assert frame.potential == "lennard_jones_cut"
    assert frame.foreign


def test_a_run_is_logged_by_its_name(tmp_path):
    force = Table.from_theta(THETA, TYPES)
    sim = simulation(np.eye(3) * 2, [0, 1, 1], 12 * np.eye(3), hoomd.device.CPU())
    attach(sim, force)
    if sim.device.communicator.num_ranks > 1:
        pytest.skip("one rank reads")
    path = tmp_path / "run.gsd"
    hoomd.write.GSD.write(sim.state, str(path), logger=_logger(force))
    with (
        GSDReader(path) as file,
        pytest.raises(UnknownPotentialError, match="unknown potential, 'lennard_jones_cut'"),
    ):
        file.read(0)


def _logger(force):
    logger = hoomd.logging.Logger()
    logger.add(force)
    return logger
