"""Following a minimum while parameters change."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import Packing
from amorph.handover import InputError


def test_a_small_change(theta2: Any, solid: Packing) -> None:
    new = theta2.replace(diameters=theta2.diameters * (1 + 1e-5))
    found = bridge.follow(solid, theta2, new)
    assert not found.rearranged
    assert found.lost_at == 1.0
    direct = bridge.relax(solid, new)
    np.testing.assert_allclose(found.packing.positions, direct.positions, atol=1e-10)
    assert found.moved == pytest.approx(
        np.sqrt(((direct.positions - solid.positions) ** 2).sum(1).max()), rel=1e-6
    )
    # As the linear response says.
    assert bridge.pressure(new, found.packing) != bridge.pressure(theta2, solid)


def test_there_and_back(theta2: Any, solid: Packing) -> None:
    new = theta2.replace(binding=theta2.binding * 1.02)
    there = bridge.follow(solid, theta2, new)
    back = bridge.follow(there.packing, new, theta2)
    if not (there.rearranged or back.rearranged):
        np.testing.assert_allclose(back.packing.positions, solid.positions, atol=1e-8)
    assert bridge.forces(there.packing, new) == pytest.approx(0, abs=1e-11)


def test_no_change(theta2: Any, solid: Packing) -> None:
    found = bridge.follow(solid, theta2, theta2)
    assert (found.rearranged, found.crossings) == (False, 0)
    assert found.moved < 1e-12


def test_a_large_change_rearranges(theta2: Any, solid: Packing) -> None:
    """Types swap their sizes: no minimum survives that."""
    new = theta2.replace(diameters=theta2.diameters[::-1])
    found = bridge.follow(solid, theta2, new)
    assert found.rearranged
    assert 0 <= found.lost_at < 1
    force = np.abs(bridge.forces(found.packing, new)).max()
    assert force < 1e-11


def test_crossings_are_counted(theta2: Any, solid: Packing, classes: Any) -> None:
    new = theta2.replace(diameters=theta2.diameters * 1.002)
    found = bridge.follow(solid, theta2, new)
    expected = int((classes(solid, theta2) != classes(found.packing, new)).sum())
    assert expected > 0
    assert found.crossings == expected
    assert bridge.crossings((solid, theta2), (found.packing, new)) == expected


def test_other_kinds(theta2: Any, solid: Packing) -> None:
    with pytest.raises(InputError, match="cannot follow"):
        bridge.follow(solid, theta2, bridge.SoftSphere(diameters=[1.0, 1.0], stiffness=1.0))
