"""Contacts, rattlers and coordination: counted by NumPy, at isostaticity, and smooth."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import Packing, Window
from amorph.bridge.matter.neighbours import FIRST_SHELL
from amorph.handover import InputError

NEAR_JAMMING = bridge.SoftSphere(diameters=[0.8, 1.12], stiffness=[4.0, 5.0, 6.0])


@pytest.fixture(scope="module")
def loose(minima: Any) -> Packing:
    """Not far above jamming, with rattlers."""
    for packing in minima(NEAR_JAMMING, 64, 1.21, 2, tries=60):
        if bridge.response(NEAR_JAMMING, packing).rattlers.any():
            return packing
    pytest.fail("no packing with rattlers was found")


def touching(theta: Any, packing: Packing, nearest_pairs: Any) -> tuple[np.ndarray, np.ndarray]:
    i, j, vector = nearest_pairs(packing)
    r = np.linalg.norm(vector, axis=1)
    near = r < theta.cutoffs()[packing.typeid[i], packing.typeid[j]] * (1 - 1e-12)
    return i[near], j[near]


def test_rattlers_are_left_out_and_counted(loose: Packing, nearest_pairs: Any) -> None:
    found = bridge.contacts(NEAR_JAMMING, loose)
    rattlers = bridge.response(NEAR_JAMMING, loose).rattlers
    assert np.array_equal(found.rattlers, rattlers)
    assert found.n_rattlers == rattlers.sum() > 0
    i, j = touching(NEAR_JAMMING, loose, nearest_pairs)
    both = ~rattlers[i] & ~rattlers[j]
    number = np.bincount(np.concatenate([i[both], j[both]]), minlength=64)
    assert np.array_equal(found.number, number)
    assert set(map(tuple, found.pairs.tolist())) == set(zip(i[both], j[both], strict=True))
    assert not found.number[rattlers].any()
    assert found.number[~rattlers].min() >= 3, "d + 1 contacts hold a particle that they push"
    held = 64 - found.n_rattlers
    assert found.mean == pytest.approx(number.sum() / held)
    assert found.excess == found.n_contacts - (2 * held - 2)
    assert found.excess >= 1
    measured = bridge.measure(NEAR_JAMMING, loose, ["coordination"]).values["coordination"]
    assert measured == pytest.approx(found.mean, abs=1e-12)
    assert bridge.FEATURES["coordination"] is bridge.feature("coordination")


def test_attractive_pairs_touch_up_to_their_cutoff(
    solid: Packing, theta2: Any, nearest_pairs: Any
) -> None:
    found = bridge.contacts(theta2, solid)
    i, _ = touching(theta2, solid, nearest_pairs)
    assert found.n_contacts == len(i)
    assert found.mean > 6, "more than those that repel"
    repelling = theta2.replace(binding=0.0)
    packing = bridge.relax(repelling, solid)
    fewer = bridge.contacts(repelling, packing)
    assert fewer.n_contacts < found.n_contacts


def test_three_dimensions(solid3: Packing, spheres3: Any, nearest_pairs: Any) -> None:
    found = bridge.contacts(spheres3, solid3)
    i, _ = touching(spheres3, solid3, nearest_pairs)
    assert found.n_rattlers == 0
    assert found.excess == len(i) - (3 * 40 - 3)


def test_cluster_has_rotations_too() -> None:
    """A triangle of Morse particles: three contacts, isostatic."""
    theta = bridge.Morse(diameters=[1.0], binding=1.0, alpha=20.0)
    corners = np.array([[0, 0], [1, 0], [0.5, np.sqrt(3) / 2]])
    packing = bridge.relax(theta, Packing.of(corners, [0, 0, 0]))
    found = bridge.contacts(theta, packing)
    assert (found.n_contacts, found.excess, found.mean) == (3, 0, 2.0)
    assert bridge.feature("coordination")(theta, packing) == 2.0
    # A fourth that hangs on one bond is a rattler, and its bond no contact.
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        hanging = np.vstack([packing.positions, packing.positions[0] - [1.0, 0.0]])[order]
        four = Packing.of(hanging, [0, 0, 0, 0])
        found = bridge.contacts(theta, four, tolerance=1e-6)
        assert bridge.forces(theta, four).any(), "it does pull"
        assert found.rattlers[order.index(3)]
        assert (found.n_rattlers, found.n_contacts, found.excess) == (1, 3, 0)
    # Rattlers all: they are named, not counted as zero.
    apart = Packing.of(corners * 10, [0, 0, 0])
    none = bridge.contacts(theta, apart)
    assert none.n_rattlers == 3
    with pytest.raises(InputError, match="every particle is a rattler"):
        _ = none.mean


def test_not_at_rest_is_refused(loose: Packing) -> None:
    moved = loose.positions.copy()
    moved[0] += 0.1
    with pytest.raises(bridge.errors.NotAMinimumError, match="relax"):
        bridge.contacts(NEAR_JAMMING, loose.with_positions(moved))


def test_smooth(loose: Packing, nearest_pairs: Any) -> None:
    """Weights of the backbone, by NumPy; with a narrow window at contact, nearly Z."""
    i, j, vector = nearest_pairs(loose)
    found = bridge.contacts(NEAR_JAMMING, loose)
    held = ~found.rattlers
    sigma = NEAR_JAMMING.of_types()["sigma"][loose.typeid[i], loose.typeid[j]]
    s = np.linalg.norm(vector, axis=1) / sigma
    both = held[i] & held[j]
    for window in (FIRST_SHELL, Window(1.0, 1.2)):
        t = np.clip((s - window.inner) / (window.outer - window.inner), 0, 1)
        w = 1 - 10 * t**3 + 15 * t**4 - 6 * t**5
        f = bridge.coordination_feature(window)
        assert f(NEAR_JAMMING, loose) == pytest.approx(2 * w[both].sum() / held.sum(), rel=1e-12)
    nearest_gap = s[both & (s > 1)].min()
    narrow = bridge.coordination_feature(Window(1.0, nearest_gap))
    assert narrow(NEAR_JAMMING, loose) == pytest.approx(found.mean, rel=1e-12)
    assert bridge.feature("coordination_smooth").name == "coordination_smooth"
    assert "coordination_smooth" not in bridge.FEATURES, "asked for by name only"
