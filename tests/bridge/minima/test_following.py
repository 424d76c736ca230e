"""Following a minimum while parameters change."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import Packing
from amorph.bridge.minima.following import next_crossing
from amorph.handover import InputError


def test_a_small_change(theta2: Any, solid: Packing) -> None:
    new = theta2.replace(diameters=theta2.diameters * (1 + 1e-5))
    found = bridge.follow(theta2, solid, new)
    assert not found.rearranged
    assert found.lost_at == 1.0
    direct = bridge.relax(new, solid)
    np.testing.assert_allclose(found.packing.positions, direct.positions, atol=1e-10)
    assert found.moved == pytest.approx(
        np.sqrt(((direct.positions - solid.positions) ** 2).sum(1).max()), rel=1e-6
    )
    # As the linear response says.
    assert bridge.pressure(new, found.packing) != bridge.pressure(theta2, solid)


def test_there_and_back(theta2: Any, solid: Packing) -> None:
    new = theta2.replace(binding=theta2.binding * 1.02)
    there = bridge.follow(theta2, solid, new)
    back = bridge.follow(new, there.packing, theta2)
    if not (there.rearranged or back.rearranged):
        np.testing.assert_allclose(back.packing.positions, solid.positions, atol=1e-8)
    assert bridge.forces(new, there.packing) == pytest.approx(0, abs=1e-11)


def test_no_change(theta2: Any, solid: Packing) -> None:
    found = bridge.follow(theta2, solid, theta2)
    assert (found.rearranged, found.crossings) == (False, 0)
    assert found.moved < 1e-12


def test_a_large_change_rearranges(theta2: Any, solid: Packing) -> None:
    """Types swap their sizes: no minimum survives that."""
    new = theta2.replace(diameters=theta2.diameters[::-1])
    found = bridge.follow(theta2, solid, new)
    assert found.rearranged
    assert 0 <= found.lost_at < 1
    force = np.abs(bridge.forces(new, found.packing)).max()
    assert force < 1e-11


def test_who_brings_it_downhill_may_be_chosen(theta2: Any, solid: Packing) -> None:
    new = theta2.replace(diameters=theta2.diameters[::-1])
    asked = []

    def nudged(theta: Any, packing: Packing) -> Packing:
        asked.append(theta)
        return packing.with_positions(packing.positions + 1e-3)

    found = bridge.follow(theta2, solid, new, descend=nudged)
    assert found.rearranged
    assert asked == [new]
    assert np.abs(bridge.forces(new, found.packing)).max() < 1e-11
    # Only where a minimum is lost.
    bridge.follow(
        theta2, solid, theta2.replace(diameters=theta2.diameters * (1 + 1e-5)), descend=nudged
    )
    assert len(asked) == 1


def test_crossings_are_counted(theta2: Any, solid: Packing, classes: Any) -> None:
    new = theta2.replace(diameters=theta2.diameters * 1.002)
    found = bridge.follow(theta2, solid, new)
    expected = int((classes(theta2, solid) != classes(new, found.packing)).sum())
    assert expected > 0
    assert found.crossings == expected
    assert bridge.crossings((theta2, solid), (new, found.packing)) == expected


def test_other_kinds(theta2: Any, solid: Packing) -> None:
    with pytest.raises(InputError, match="cannot follow"):
        bridge.follow(theta2, solid, bridge.SoftSphere(diameters=[1.0, 1.0], stiffness=1.0))


def test_the_next_crossing_is_where_a_pair_crosses(
    theta2: Any, solid: Packing, classes: Any
) -> None:
    def there(part: float) -> tuple[Any, Packing]:
        new = theta2.replace(diameters=theta2.diameters * (1 + 1e-4 * part))
        return new, bridge.follow(theta2, solid, new).packing

    near = 1.0
    for _ in range(5):  # the nearer it is looked at from, the better its place is known
        found = near * next_crossing((theta2, solid), there(near), 50.0 / near)
        near = 0.999 * found
    before, after = (classes(*there(found * s)) for s in (1 - 5e-4, 1 + 5e-4))
    assert (after != before).sum() == 1
    # A particle on the other side of the box is where it was.
    theta, packing = there(near)
    wrapped = packing.positions + np.round(np.eye(len(packing.positions), 2)) @ packing.box.T
    again = next_crossing((theta2, solid), (theta, packing.with_positions(wrapped)), 2.0)
    assert again == pytest.approx(found / near, rel=1e-6)
    assert next_crossing((theta2, solid), there(near), 0.9) == np.inf
    assert next_crossing((theta2, solid), (theta2, solid), 1.0) == np.inf
