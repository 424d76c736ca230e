"""Results print as a few lines with what a reader wants first, whatever is in them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge.loading.deformation import deformation
from amorph.bridge.minima.relaxing import relaxation

THETA = bridge.SoftSphere(diameters=[1.0, 1.1], stiffness=[1.0, 1.2, 1.4])


@pytest.fixture(scope="module")
def solid() -> bridge.Packing:
    x, box = ensemble.lattice("triangular", 16, 1.4)
    types = np.random.default_rng(3).permutation(np.arange(16) % 2)
    return bridge.relax(THETA, bridge.Packing(x, types, box))


def lines(result: Any) -> dict[str, str]:
    """The lines below the title, by their names."""
    told = repr(result).splitlines()
    assert len(told) <= 12
    assert max(map(len, told)) < 160
    return dict(line.strip().split("  ", maxsplit=1) for line in told[1:])


def test_a_packing(solid: bridge.Packing) -> None:
    assert repr(solid).startswith("Packing of 16 particles in 2 dimensions\n")
    shown = lines(solid)
    assert shown["types"].strip() == "8 of type 0, 8 of type 1"
    assert shown["density"].strip() == "1.4"
    assert shown["box"].strip() == f"{solid.box[0, 0]:.6g} x {solid.box[1, 1]:.6g}"
    tilted = bridge.deform(solid, [[1.0, 0.1], [0.0, 1.0]])
    assert f"tilted by {0.1 * solid.box[1, 1]:.4g}" in repr(tilted)
    cluster = bridge.Packing(solid.positions, solid.typeid, bonds=np.array([[0, 1]]))
    assert lines(cluster)["box"].strip() == "open space"
    assert lines(cluster)["bonds"].strip() == "1"


def test_interactions() -> None:
    assert repr(THETA) == "SoftSphere(diameters=[1, 1.1], stiffness=[1, 1.2, 1.4])"
    alike = bridge.SoftSphere(diameters=[1.0, 1.0], stiffness=2.0)
    assert repr(alike) == "SoftSphere(diameters=[1, 1], stiffness=2)"
    many = bridge.SoftSphere(diameters=np.linspace(0.8, 1.2, 100), stiffness=2.0)
    assert repr(many).count(",") == 7
    assert "100 in all" in repr(many)
    springs = bridge.Springs(np.linspace(1, 2, 50), np.ones(50))
    assert repr(springs).startswith("Springs of 50 bonds (stiffness=[1, ")
    assert "length=1)" in repr(springs)
    jax.jit(lambda theta: repr(theta) and theta.diameters)(THETA)  # traced, they print too
    assert "None" in repr(jax.tree_util.tree_map(lambda _: None, THETA))


def test_rest_and_response(solid: bridge.Packing) -> None:
    found = bridge.response(THETA, solid)
    shown = lines(found)
    energy = bridge.energy(THETA, solid)
    assert shown["energy"].strip().startswith(f"{energy:.10g} ({energy / 16:.6g} a particle")
    assert shown["rattlers"].strip() == "0"
    assert f"{found.max_force:.2e}" in shown["largest force"]
    rest = relaxation(THETA, solid)
    assert lines(rest)["moved"].strip() == f"{rest.moved:.3g} at most"


def test_measurements(solid: bridge.Packing) -> None:
    found = bridge.measure(THETA, solid, ["pressure", "stress"], ["bulk_modulus"])
    shown = lines(found)
    assert shown["pressure"].strip() == f"{found.values['pressure']:.6g}"
    assert shown["bulk_modulus"].strip() == f"{found.values['bulk_modulus']:.6g}"
    assert repr(found.gradients["bulk_modulus"]) in shown["d bulk_modulus"]
    table = bridge.jacobian(THETA, solid, ["pressure", "elastic_constants"], "diameters/particle")
    assert repr(table).startswith("Jacobian: 7 components of features by 16 parameters\n")
    assert lines(table)["with respect to"].strip() == "diameters/particle"
    batch = bridge.measure_batch(
        THETA, np.stack([solid.positions] * 2), solid.typeid, solid.box, "pressure"
    )
    assert repr(batch).startswith("BatchMeasurement: 2 of 2 packings measured\n")
    assert lines(batch)["pressure"].strip().startswith(f"mean {found.values['pressure']:.6g}")


def test_contacts_modes_and_g(solid: bridge.Packing) -> None:
    contacts = bridge.contacts(THETA, solid)
    assert lines(contacts)["mean number"].strip() == f"{contacts.mean:.6g}"
    modes = bridge.lowest_modes(THETA, solid, 3)
    assert repr(modes).startswith("Modes: the 3 lowest of a packing of 16 particles")
    assert f"{modes.frequencies[0]:.6g}" in lines(modes)["frequencies"]
    g = bridge.pair_distribution(solid, bins=20)
    assert f"{g.g.max():.6g} at r = {g.r[np.argmax(g.g)]:.6g}" in lines(g)["highest"]
    states = bridge.density_of_states(THETA, solid, 10)
    assert repr(states).startswith("DensityOfStates of 30 modes in 10 bins\n")
    bonds = bridge.bond_contributions(THETA, solid)
    assert f"sum B = {float(jnp.asarray(bonds.bulk).sum()):.6g}" in lines(bonds)["bulk"]
    turned = deformation(solid, [[1.0, 0.0], [0.1, 1.0]])
    assert "turned by" in repr(turned)
    same = bridge.follow(THETA, solid, THETA)
    assert lines(same)["minimum"].strip() == "the same"
