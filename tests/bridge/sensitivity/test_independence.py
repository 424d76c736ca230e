"""Independent response: singular values, the rank and what justifies it, one step to a change."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import Packing
from amorph.handover import InputError


@pytest.fixture(scope="module")
def system() -> tuple[bridge.PairPotential, Packing]:
    theta = bridge.SoftSphere(diameters=[0.8, 0.8, 0.8, 1.2, 1.2, 1.2], stiffness=1.0)
    batch = ensemble.quench(
        theta, n_particles=60, density=1.1, dimension=2, seed=3, tolerance=1e-13, pressure=0.1
    )
    _, packing = next(bridge.packings_of(batch))
    return theta, bridge.relax(theta, packing)


def test_disordered_solids_respond_independently(system: Any) -> None:
    theta, packing = system
    found = bridge.independence(theta, packing, "elastic_constants", "diameters")
    assert found.matrix.shape == (6, 6)
    assert found.rank == 6
    assert found.fully_independent
    np.testing.assert_allclose(
        found.left * found.susceptibilities @ found.right, found.matrix, atol=1e-12
    )
    assert np.all(np.diff(found.susceptibilities) <= 0)
    # What round-off makes is far below the least that counts, and above nothing.
    assert 0 < found.error < 1e-6 * found.susceptibilities[-1]
    assert found.margin > 1e6
    assert "6 of 6 components" in repr(found)


def test_a_crystal_does_not() -> None:
    """All its particles are alike: their diameters change all constants in one way."""
    theta = bridge.SoftSphere(diameters=np.ones(8), stiffness=1.0)
    start = ensemble.make_start(theta, 64, 1.25, 2, 1, 0, start="triangular")
    types = np.arange(64) % 8
    packing = bridge.relax(theta, Packing.of(start.positions[0], types, start.box))
    found = bridge.independence(theta, packing, "elastic_constants", "diameters")
    assert found.rank == 1
    assert not found.fully_independent
    assert found.susceptibilities[1] < 1e-12 * found.susceptibilities[0]


def test_features_that_say_the_same_count_once(system: Any) -> None:
    theta, packing = system
    several = ["bulk_modulus", "shear_modulus", "poisson_ratio", "youngs_modulus"]
    found = bridge.independence(theta, packing, several, "diameters")
    assert found.rank == 2  # ν and E follow from B and G


def test_the_rank_does_not_depend_on_units(system: Any) -> None:
    """Small derivatives are known as well as large ones: round-off of these hides none."""
    theta, packing = system
    plain = bridge.independence(
        theta, packing, ["elastic_constants", "pressure"], ["diameters", "stiffness"]
    )
    units = {"diameters": 1e-9, "pressure": 1e6}
    odd = bridge.independence(
        theta, packing, ["elastic_constants", "pressure"], ["diameters", "stiffness"], units=units
    )
    assert odd.rank == plain.rank == 7
    np.testing.assert_allclose(odd.matrix[:6, :6], 1e-9 * plain.matrix[:6, :6], rtol=1e-5)
    np.testing.assert_allclose(odd.matrix[6, 6:], 1e-6 * plain.matrix[6, 6:], rtol=1e-5)


def test_relative_changes(system: Any) -> None:
    theta, packing = system
    found = bridge.independence(theta, packing, "bulk_modulus", "diameters", relative=True)
    value = bridge.bulk_modulus(theta, packing)
    gradient = bridge.value_and_grad(bridge.bulk_modulus)(theta, packing)[1].diameters
    np.testing.assert_allclose(found.matrix[0], gradient * theta.diameters / value, rtol=1e-8)


def test_a_step_reaches_what_linear_response_says(system: Any) -> None:
    theta, packing = system
    found = bridge.independence(theta, packing, "elastic_constants", "diameters")
    wanted = 1e-7 * np.array([1.0, -2.0, 0.5, 1.0, 0.3, -1.0])
    change = found.change(wanted)
    np.testing.assert_allclose(found.reached(change), wanted, rtol=1e-6)
    new = theta.replace(diameters=theta.diameters + change)
    followed = bridge.follow(theta, packing, new)
    before, after = (
        bridge.measure(t, p, ["elastic_constants"]).values["elastic_constants"]
        for t, p in ((theta, packing), (new, followed.packing))
    )
    # But for the second order, which is a thousandth of so short a step.
    np.testing.assert_allclose(after - before, wanted, rtol=1e-3, atol=1e-10)


def test_named_faults(system: Any) -> None:
    theta, packing = system
    with pytest.raises(InputError, match="there is no 'binding' here"):
        bridge.independence(theta, packing, "pressure", "diameters", units={"binding": 1.0})
    with pytest.raises(InputError, match="units"):
        bridge.independence(theta, packing, "pressure", "diameters", units={"diameters": 0.0})
    with pytest.raises(InputError, match="no value of its own"):
        bridge.independence(theta, packing, "pressure", "strain", relative=True)
    found = bridge.independence(theta, packing, "pressure", "diameters")
    with pytest.raises(InputError, match="one change for each of the 1 components"):
        found.change([1.0, 2.0])


def test_the_reach_of_linear_response(system: Any) -> None:
    theta, packing = system
    found = bridge.independence(theta, packing, "elastic_constants", "diameters")
    mode = {"diameters": found.right[0]}
    reach = bridge.linear_reach(theta, packing, "elastic_constants", mode, smallest=1e-6)
    np.testing.assert_allclose(np.linalg.norm(reach.slope), found.susceptibilities[0], rtol=1e-9)
    # The first changes are linear, and what is off grows by the second order.
    off = np.linalg.norm(reach.measured - reach.gamma[:, None] * reach.slope, axis=1)
    ratio = off / (reach.gamma * np.linalg.norm(reach.slope))
    assert reach.ended is not None
    low, high = reach.ended
    assert low < high
    assert np.all(ratio[reach.gamma <= low] <= 0.1)
    assert ratio[reach.gamma >= high][0] > 0.1
    assert reach.curvature is not None
    small = (reach.gamma > 1e-5) & (reach.gamma < 0.1 * low)
    second = 0.5 * reach.gamma[small] ** 2 * np.linalg.norm(reach.curvature)
    assert small.any()
    assert reach.crossed is None or reach.gamma[small].max() < reach.crossed[0]
    # But for the third order, a tenth of the second there.
    np.testing.assert_allclose(off[small], second, rtol=0.2)
    assert reach.tunability == pytest.approx(reach.end * found.susceptibilities[0])
    assert "γ*" in repr(reach)


def test_faults_of_directions(system: Any) -> None:
    theta, packing = system
    with pytest.raises(InputError, match="none of the parameters"):
        bridge.linear_reach(theta, packing, "pressure", {"strain": [1.0, 0.0, 0.0]})
    with pytest.raises(InputError, match="has shape"):
        bridge.linear_reach(theta, packing, "pressure", {"diameters": [1.0]})
    with pytest.raises(InputError, match="nothing but zeros"):
        bridge.linear_reach(theta, packing, "pressure", {"diameters": np.zeros(6)})
    with pytest.raises(InputError, match="below largest"):
        bridge.linear_reach(
            theta, packing, "pressure", {"diameters": np.ones(6)}, smallest=1.0, largest=0.1
        )
