"""Whether a packing came to rest where it was: displacements and neighbours counted by hand."""

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge.minima.departure import Departure
from amorph.handover import InputError

SOFT = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)
# A triangular lattice of 4 x 4 sites, 1 apart: each of 16 discs has 6 neighbours, 48 pairs in all.
SIDE = 4.0
HEIGHT = 4.0 * np.sqrt(0.75)
SITES = np.array([[x + 0.5 * (y % 2), np.sqrt(0.75) * y] for y in range(4) for x in range(4)])
BOX = np.diag([SIDE, HEIGHT])
NONE = np.zeros(16, dtype=bool)


def lattice(sites: np.ndarray = SITES) -> bridge.Packing:
    return bridge.Packing.of(sites, np.zeros(16, dtype=int), BOX)


def test_displacements_and_neighbours_are_counted() -> None:
    moved = SITES.copy()
    moved[5] += [0.03, 0.04]
    found = bridge.departure(SOFT, lattice(), lattice(moved), NONE)
    assert found.moved == pytest.approx(0.05, rel=1e-12)
    assert found.changed == 0
    assert not found.elsewhere
    # 1.45, 1.285 and 1.285 away from the three on its left, which are neighbours within 1.275.
    moved[5] = SITES[5] + [0.45, 0.0]
    found = bridge.departure(SOFT, lattice(), lattice(moved), NONE)
    assert found.changed == pytest.approx(3 / 48)
    assert found.moved == pytest.approx(0.45)
    assert found.elsewhere


def test_a_rattler_counts_for_nothing() -> None:
    moved = SITES.copy()
    moved[5] += [0.4, 0.1]
    rattlers = np.arange(16) == 5
    found = bridge.departure(SOFT, lattice(), lattice(moved), rattlers)
    assert found == Departure(0.0, 0.0)


def test_it_is_the_same_for_the_whole_moved_across_the_boundary() -> None:
    rng = np.random.default_rng(1)
    after = SITES + 0.05 * rng.normal(size=SITES.shape)
    a = bridge.departure(SOFT, lattice(), lattice(after), NONE)
    shift = np.array([1.7, -2.9])
    b = bridge.departure(SOFT, lattice(SITES + shift), lattice(after + shift), NONE)
    assert b.moved == pytest.approx(a.moved, rel=1e-12)
    assert b.changed == a.changed


def test_packings_of_different_particles_are_refused() -> None:
    few = bridge.Packing.of(SITES[:15], np.zeros(15, dtype=int), BOX)
    with pytest.raises(InputError, match=r"\(16, 2\).*\(15, 2\)"):
        bridge.departure(SOFT, lattice(), few, NONE)


def test_springs_have_displacements_alone() -> None:
    springs = bridge.Springs([1.0], [1.0])
    ends = bridge.Packing.of([[0.0, 0.0], [1.0, 0.0]], [0, 0], bonds=[[0, 1]])
    after = ends.with_positions([[0.0, 0.0], [1.3, 0.0]])
    found = bridge.departure(springs, ends, after, np.zeros(2, dtype=bool))
    assert found == Departure(pytest.approx(0.3), 0.0)
