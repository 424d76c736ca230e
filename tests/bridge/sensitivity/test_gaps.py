"""Gaps: how they change with parameters, and what features do as a pair crosses."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import Packing
from amorph.bridge.sensitivity.parameters import of_strain

MORSE = bridge.HarmonicMorse(diameters=[0.8, 1.0], stiffness=5.0, binding=0.1, alpha=6.0)
SHORT = MORSE.replace(alpha=[12.0] * 3)
SOFT = bridge.SoftSphere(diameters=[0.8, 1.0], stiffness=1.0)
CASES = [(MORSE, 2, 64, 1.6), (SHORT, 3, 130, 1.6), (SOFT, 2, 48, 1.6), (SOFT, 3, 64, 1.8)]


def quenched(theta: Any, d: int, n: int, density: float, seed: int = 1) -> Packing:
    batch = ensemble.quench(
        theta, n_particles=n, density=density, dimension=d, seed=seed, tolerance=1e-11
    )
    frame = next(batch.frames())
    return bridge.relax(theta, Packing.of(frame.positions, frame.typeid, frame.box))


def gap_of(theta: Any, packing: Packing, found: bridge.Gaps, before: Packing) -> np.ndarray:
    """The gaps of the same pairs, each to the break that was the nearest."""
    i, j = found.pairs.T
    box, types = np.asarray(packing.box), np.asarray(packing.typeid)

    def distance(x: np.ndarray, of: np.ndarray) -> np.ndarray:
        apart = x[j] - x[i]
        whole = np.round(apart @ np.linalg.inv(of).T)
        return np.asarray(np.linalg.norm(apart - whole @ of.T, axis=1))

    at = theta.breaks()[:, types[i], types[j]]
    first = distance(before.positions, np.asarray(before.box))
    which = np.argmin(np.abs(first - at - found.gap), axis=0)
    gap = distance(packing.positions, box) - at[which, np.arange(len(i))]
    return np.asarray(gap)


@pytest.mark.parametrize(("theta", "d", "n", "density"), CASES)
def test_derivatives_are_differences(theta: Any, d: int, n: int, density: float) -> None:
    packing = quenched(theta, d, n, density)
    found = bridge.gaps(theta, packing, (), list(theta.arrays()))
    assert len(found.columns) == found.slopes.shape[1]
    assert found.slopes.shape[0] >= n
    np.testing.assert_allclose(gap_of(theta, packing, found, packing), found.gap, atol=1e-13)
    assert np.any(found.gap > 0)
    assert np.any(found.gap < 0)
    # A pair beyond its contact is one too.
    if theta is SOFT:
        assert np.any(found.gap > 1e-3)
    h, column = 1e-7, 0
    for name, value in theta.arrays().items():
        for k in range(value.size):
            ends = []
            for sign in (h, -h):
                changed = np.array(value)
                changed[k] += sign
                there = theta.replace(**{name: changed})
                at = bridge.follow(theta, packing, there).packing
                ends.append(gap_of(there, at, found, packing))
            slope = (ends[0] - ends[1]) / (2 * h)
            scale = np.abs(slope).max()
            np.testing.assert_allclose(found.slopes[:, column], slope, atol=1e-5 * scale)
            column += 1


def test_derivatives_by_the_strain() -> None:
    packing = quenched(MORSE, 2, 64, 1.6)
    found = bridge.gaps(MORSE, packing, (), ["diameters", of_strain()])
    h = 1e-7
    for k, strain in enumerate(([[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 0.5], [0.5, 0]])):
        ends = []
        for sign in (h, -h):
            there = bridge.relax(
                MORSE, bridge.deform(packing, np.eye(2) + sign * np.array(strain, dtype=float))
            )
            ends.append(gap_of(MORSE, there, found, packing))
        slope = (ends[0] - ends[1]) / (2 * h)
        scale = np.abs(slope).max()
        np.testing.assert_allclose(found.slopes[:, 2 + k], slope, atol=1e-5 * scale)


def test_steps_are_those_of_the_moduli() -> None:
    # The next crossing along a direction, by linear response and by following.
    packing = quenched(MORSE, 2, 64, 1.6, 3)
    names = ["bulk_modulus", "shear_modulus"]
    found = bridge.gaps(MORSE, packing, names, "diameters")
    ends = -found.gap / found.slopes.sum(axis=1)
    k = int(np.argmin(np.where((ends > 0) & ~found.lost, ends, np.inf)))

    def at(x: float) -> tuple[Any, Packing]:
        there = MORSE.replace(diameters=np.asarray(MORSE.diameters) + x)
        return there, bridge.follow(MORSE, packing, there).packing

    near, beyond = at(ends[k] * (1 - 1e-2)), at(ends[k] * (1 + 1e-2))
    assert bridge.crossings(near, beyond) == 1

    there = bridge.gaps(*near, names, "diameters")
    same = np.all(there.pairs == found.pairs[k], axis=1)
    step = there.steps[:, same & (np.abs(there.gap) < abs(found.gap[k]))]
    gained = np.zeros(2)
    for end, sign, way in ((near, -1.0, 1e-2), (beyond, 1.0, -1e-2)):
        at_end = bridge.jacobian(*end, names, "diameters")
        smooth = at_end.matrix.sum(axis=1) * ends[k] * way
        gained += sign * (np.array(list(at_end.values.values())) + smooth)
    # The ends lie a hundredth of the way beside the crossing: the second order is left.
    np.testing.assert_allclose(gained, step[:, 0], rtol=0.01)


def test_lost_pairs_have_no_step() -> None:
    packing = quenched(MORSE, 2, 64, 1.6, 7)
    found = bridge.gaps(MORSE, packing, "poisson_ratio", "diameters", number=200)
    assert found.lost.any()
    assert np.all(found.steps[:, found.lost] == 0)
    assert np.all(np.isfinite(found.steps))


def test_where_nothing_jumps() -> None:
    packing = quenched(SOFT, 2, 48, 1.6)
    first = bridge.gaps(SOFT, packing, "pressure", "diameters")
    assert not first.steps.any()  # the pressure has no second derivative
    with pytest.raises(bridge.errors.FeatureError, match="jump terms"):
        bridge.gaps(SOFT, packing, "frequencies_2", "diameters")


def test_springs_have_none() -> None:
    springs = bridge.Springs([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    packing = Packing.of(
        [[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]], [0, 0, 0], bonds=[[0, 1], [1, 2], [2, 0]]
    )
    found = bridge.gaps(springs, packing)
    assert found.slopes.shape == (0, 6)
    assert len(found.gap) == 0


def test_so_many_of_each_break() -> None:
    packing = quenched(SOFT, 2, 48, 1.6)
    few = bridge.gaps(SOFT, packing, (), "diameters", number=7)
    assert len(few.gap) == 7
    all_of_them = bridge.gaps(SOFT, packing, (), "diameters", number=10_000)
    nearest = np.sort(np.abs(all_of_them.gap))[:7]
    np.testing.assert_array_equal(np.sort(np.abs(few.gap)), nearest)
    assert "7 pairs" in repr(few)
