"""Forces from JAX functions, beside HOOMD's own."""

import copy

import hoomd
import numpy as np
import pytest
from hoomd.amorph import force

pytest.importorskip("amorph")
jnp = pytest.importorskip("jax.numpy")


def chain(n=6, dimension=3, device=None):
    snapshot = hoomd.Snapshot()
    rng = np.random.default_rng(4)
    snapshot.configuration.box = [20, 20, 20 if dimension == 3 else 0, 0, 0, 0]
    snapshot.particles.N = n
    snapshot.particles.types = ["A"]
    snapshot.particles.position[:, 0] = 1.1 * np.arange(n) - 3
    snapshot.particles.position[:, :dimension] += 0.1 * rng.normal(size=(n, dimension))
    snapshot.particles.velocity[:, :dimension] = 0.3 * rng.normal(size=(n, dimension))
    snapshot.bonds.N = n - 1
    snapshot.bonds.types = ["A"]
    snapshot.bonds.group[:] = [[i, i + 1] for i in range(n - 1)]
    sim = hoomd.Simulation(device=device or hoomd.device.CPU(), seed=1)
    sim.create_state_from_snapshot(snapshot)
    return sim


def springs(positions, box, parameters):
    apart = positions[1:] - positions[:-1]
    apart = apart - jnp.diag(box) * jnp.round(apart / jnp.diag(box))
    stretch = jnp.linalg.norm(apart, axis=1) - parameters["r0"]
    return 0.5 * parameters["k"] * jnp.sum(stretch**2)


def run(acting, steps, dimension=3):
    sim = chain(dimension=dimension)
    method = hoomd.md.methods.ConstantVolume(hoomd.filter.All())
    sim.operations.integrator = hoomd.md.Integrator(0.01, methods=[method], forces=[acting])
    thermo = hoomd.md.compute.ThermodynamicQuantities(hoomd.filter.All())
    sim.operations.computes.append(thermo)
    sim.always_compute_pressure = True
    sim.run(steps)
    snapshot = sim.state.get_snapshot()
    return snapshot.particles.position, thermo.potential_energy, thermo.pressure_tensor


def own():
    harmonic = hoomd.md.bond.Harmonic()
    harmonic.params["A"] = dict(k=30.0, r0=1.0)
    return harmonic


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_bond_in_jax_moves_as_hoomds_own(dimension):
    ours = force.FromJAX(springs, parameters={"k": 30.0, "r0": 1.0})
    there, energy, pressure = run(ours, 300, dimension)
    theirs, their_energy, their_pressure = run(own(), 300, dimension)
    np.testing.assert_allclose(there, theirs, atol=1e-9)
    assert energy == pytest.approx(their_energy, rel=1e-8)
    np.testing.assert_allclose(pressure, their_pressure, atol=1e-9)


def test_parameters_may_change_between_runs():
    bias = force.FromJAX(springs, parameters={"k": 30.0, "r0": 1.0})
    sim = chain()
    method = hoomd.md.methods.ConstantVolume(hoomd.filter.All())
    sim.operations.integrator = hoomd.md.Integrator(0.0, methods=[method], forces=[bias])
    sim.run(1)
    before = bias.energy
    bias.parameters = {"k": 60.0, "r0": 1.0}
    sim.run(1)
    assert bias.energy == pytest.approx(2 * before, rel=1e-12)


def test_a_function_without_parameters():
    bias = force.FromJAX(lambda positions, box: jnp.sum(positions[:, 0] ** 2) / jnp.trace(box))
    energy, forces, _ = bias.evaluate(np.array([[1.0, 0.0], [2.0, 0.0]]), 5 * np.eye(2))
    assert energy == pytest.approx(0.5)
    np.testing.assert_allclose(forces, [[-0.2, 0], [-0.4, 0]])


def test_parameters_may_come_and_go():
    def energy(positions, box, parameters=None):
        return jnp.sum(positions[:, 0] ** 2) * (1.0 if parameters is None else parameters)

    bias = force.FromJAX(energy)
    x = np.array([[1.0, 0.0]])
    values = []
    for parameters in (None, 3.0, None):
        bias.parameters = parameters
        values.append(bias.evaluate(x, np.eye(2))[0])
    assert values == [1.0, 3.0, 1.0]
    assert copy.deepcopy(bias).evaluate(x, np.eye(2))[0] == 1.0


def test_what_is_not_finite_is_named():
    bias = force.FromJAX(lambda positions, box: jnp.sqrt(jnp.sum(positions[0]) - 1e9))
    sim = chain()
    method = hoomd.md.methods.ConstantVolume(hoomd.filter.All())
    sim.operations.integrator = hoomd.md.Integrator(0.01, methods=[method], forces=[bias])
    with pytest.raises(RuntimeError, match="at step 0 the energy is nan"):
        sim.run(1)
