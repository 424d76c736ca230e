"""A name for all that is not finite: the feature, its component, the parameter, the packing."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge.matter.mechanics import energy_of, pressure_of
from amorph.handover import InputError

THETA = bridge.SoftSphere(diameters=[1.0, 1.1], stiffness=[1.0, 1.2, 1.4])


def of(name: str, function: Callable[[Any, Any], Any], **more: Any) -> bridge.Feature:
    return bridge.Feature(name, function, **more)


LOST = of("lost", lambda theta, state: energy_of(theta, state) / 0.0 * 0.0)
# Its value is 0, and its derivative infinite.
KINK = of("kink", lambda t, s: jnp.sqrt(pressure_of(t, s) - pressure_of(t, s)))
HALF = of("half", lambda t, s: jnp.array([pressure_of(t, s), jnp.inf]), scalar=False)
LOST_MODULUS = of("lost_modulus", lambda t, s: bridge.bulk_modulus.function(t, s) * jnp.nan)


@pytest.fixture(scope="module")
def packings() -> list[bridge.Packing]:
    """Sixteen spheres of two types on triangular lattices, each packing mixed in its own way."""
    x, box = ensemble.lattice("triangular", 16, 1.4)
    rng = np.random.default_rng(3)
    mixed = [rng.permutation(np.arange(16) % 2).astype(np.int32) for _ in range(3)]
    return [bridge.relax(THETA, bridge.Packing(x, types, box)) for types in mixed]


def smallest_eigenvalue(theta: Any, packing: bridge.Packing) -> float:
    """Of the Hessian, the two translations left out, by NumPy."""
    return float(np.linalg.eigvalsh(bridge.hessian(theta, packing))[2])


def test_a_value_has_its_feature_packing_and_eigenvalue(packings: list[bridge.Packing]) -> None:
    with pytest.raises(bridge.errors.NotFiniteError) as caught:
        bridge.measure(THETA, packings[0], ["pressure", LOST])
    told = str(caught.value)
    assert "the feature 'lost' is nan, of a packing of 16 particles in 2 dimensions" in told
    assert f"energy {bridge.energy(THETA, packings[0]):.10g}" in told
    lowest = smallest_eigenvalue(THETA, packings[0])
    assert f"the lowest eigenvalue of its Hessian is {lowest:.3e}" in told
    assert "it is stable" in told
    assert "edge of stability" not in told


def test_a_component_is_named(packings: list[bridge.Packing]) -> None:
    told = r"the feature 'half' is not finite in 1 of 2 components, \[1\] \(inf\)"
    for call in (
        lambda: bridge.measure(THETA, packings[0], HALF),
        lambda: bridge.jacobian(THETA, packings[0], HALF),
        lambda: bridge.measure(THETA, packings[0], (), HALF),
    ):
        with pytest.raises(bridge.errors.NotFiniteError, match=told):
            call()


def test_a_gradient_has_its_parameters(packings: list[bridge.Packing]) -> None:
    value = bridge.measure(THETA, packings[0], KINK).values["kink"]
    assert value == 0.0
    named = r"the gradient of kink is not finite by diameters\[A\] \((nan|-?inf)\), diameters\[B\]"
    for call in (
        lambda: bridge.value_and_grad(KINK)(THETA, packings[0]),
        lambda: bridge.measure(THETA, packings[0], "pressure", KINK),
        lambda: bridge.jacobian(THETA, packings[0], KINK),
    ):
        with pytest.raises(bridge.errors.NotFiniteError, match=named):
            call()
    with pytest.raises(bridge.errors.NotFiniteError, match=r"not finite by strain\[xx\]"):
        bridge.jacobian(THETA, packings[0], KINK, "strain")
    along = "the first derivative of 'kink' along the direction is"
    with pytest.raises(bridge.errors.NotFiniteError, match=along):
        bridge.second_order(THETA, packings[0], KINK, {"diameters": [1.0, 0.0]})


def test_what_needs_the_response_is_looked_at_too(packings: list[bridge.Packing]) -> None:
    with pytest.raises(bridge.errors.NotFiniteError, match="feature 'lost_modulus' is nan"):
        LOST_MODULUS(THETA, packings[1])
    with pytest.raises(bridge.errors.NotFiniteError, match="feature 'lost_modulus' is nan"):
        bridge.jacobian(THETA, packings[1], LOST_MODULUS, held="pressure")


def lost_above(limit: float, theta: Any, state: Any) -> Any:
    energy = energy_of(theta, state)
    return jnp.where(energy > limit, jnp.nan, energy)


def test_in_a_batch_each_packing_has_its_own_status(packings: list[bridge.Packing]) -> None:
    energies = np.array([bridge.energy(THETA, p) for p in packings])
    order = np.argsort(energies)
    limit = float(energies[order[1:]].mean())
    some = of("some", partial(lost_above, limit))
    # First comes one whose positions are no numbers.
    x = np.stack([p.positions for p in [packings[0], *packings]])
    x[0, 3] = np.nan
    types = np.stack([p.typeid for p in [packings[0], *packings]])
    found = bridge.measure_batch(THETA, x, types, packings[0].box, [some, "pressure"])
    lost = 1 + int(order[2])
    assert found.status[lost] == "NotFiniteError"
    assert found.messages[lost].startswith(f"replica {lost}: the feature 'some' is nan")
    assert found.status[0] == "InputError"
    assert "replica 0: positions are not finite: particle 3" in found.messages[0]
    assert sorted(found.replicas) == sorted(1 + order[:2])
    assert np.allclose(found.values["some"], energies[found.replicas - 1], rtol=1e-12)
    assert "1 InputError, 1 NotFiniteError" in repr(found)


def test_particles_that_coincide_are_named(packings: list[bridge.Packing]) -> None:
    x = packings[0].positions.copy()
    x[7] = x[2]
    here = bridge.Packing(x, packings[0].typeid, packings[0].box)
    for call in (bridge.response, bridge.contacts, bridge.lowest_modes, bridge.bond_contributions):
        with pytest.raises(bridge.errors.NotFiniteError, match="particles 2 and 7 are 0 apart"):
            call(THETA, here)
    with pytest.raises(bridge.errors.RelaxationError, match="particles 2 and 7 are 0 apart"):
        bridge.relax(THETA, here)


@pytest.mark.parametrize("weak", [1e-10, 1e-4])
def test_the_edge_of_stability_is_said_only_where_an_eigenvalue_shows_it(weak: float) -> None:
    """A triangle of stiff springs, and a fourth particle held by weak ones."""
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5], [0.5, 0.75**0.5 / 3]])
    bonds = np.array([[0, 1], [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]])
    length = np.linalg.norm(x[bonds[:, 1]] - x[bonds[:, 0]], axis=1)
    springs = bridge.Springs([1.0, 1.0, 1.0, weak, weak, weak], length)
    packing = bridge.Packing(x, np.zeros(4, dtype=np.int32), bonds=bonds)
    lowest = np.linalg.eigvalsh(bridge.hessian(springs, packing))[3]  # after the rigid motions
    assert lowest == pytest.approx(2.0 * weak, rel=1e-3)  # 1.5 weak (1 + 1/3)
    kink = of("kink", lambda t, s: jnp.sqrt(energy_of(t, s) * 0.0), needs_box=False)
    with pytest.raises(bridge.errors.NotFiniteError) as caught:
        bridge.value_and_grad(kink)(springs, packing)
    told = str(caught.value)
    assert f"is {lowest:.3e}" in told
    assert ("at the edge of stability" in told) == (weak < 1e-8)
    assert ("it is stable" in told) == (weak > 1e-8)


def test_parameters_beyond_what_numbers_hold_are_no_rest(packings: list[bridge.Packing]) -> None:
    steep = bridge.HarmonicMorse([1.0, 1.1], binding=1.0, stiffness=1.0, alpha=1e160)
    with pytest.raises(InputError, match="beyond what numbers can hold"):
        bridge.default_tolerance(steep, packings[0])
    with pytest.raises(bridge.errors.NotFiniteError, match=r"four_term at r = 1e-30: u is inf"):
        ensemble.evaluate_pairs(FOUR, [1.0, 1e-30])


FOUR = bridge.FourTerm(
    [1.0], b0=5.0, a0=5.89, a1=17.9, a2=2.49, b1=0.4, b2=40.0, a3=1.823, r_cut=2.4
)
