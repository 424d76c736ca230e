"""Passages of signals whose rates are known, and places on a path."""

from typing import Any

import numpy as np
import pytest

from amorph.bridge import landscapes
from amorph.handover import InputError

from .conftest import trimer


def telegraph(rates: tuple[float, float], replicas: int, frames: int, dt: float) -> np.ndarray:
    """States 0 and 1 that change at random with these rates."""
    rng = np.random.default_rng(1)
    state = np.zeros((replicas, frames), dtype=int)
    for k in range(1, frames):
        leaves = rng.random(replicas) < 1 - np.exp(-np.array(rates)[state[:, k - 1]] * dt)
        state[:, k] = np.where(leaves, 1 - state[:, k - 1], state[:, k - 1])
    return state


def test_known_rates() -> None:
    rates, dt = (0.5, 0.2), 0.05
    state = telegraph(rates, 60, 4000, dt)
    rng = np.random.default_rng(2)
    noisy = state + 0.1 * rng.normal(size=state.shape)
    found = landscapes.count_passages(noisy, dt, low=0.3, high=0.7)
    clean = landscapes.count_passages(state, dt, low=0.5)
    assert found.number == pytest.approx(clean.number, abs=2)
    for k in (0, 1):
        assert found.interval[k, 0] < rates[k] < found.interval[k, 1]
        assert found.rate[k] == pytest.approx(rates[k], rel=0.06)
        assert np.mean(found.dwell_times[k]) == pytest.approx(1 / rates[k], rel=0.1)
        assert (found.interval[k, 1] - found.interval[k, 0]) / rates[k] < 0.15
    assert found.time.sum() == pytest.approx(60 * 3999 * dt)
    assert "passages in" in repr(found)


def test_what_flickers_is_filtered() -> None:
    dt = 0.05
    state = telegraph((0.05, 0.05), 20, 4000, dt)
    noisy = state + 0.5 * np.random.default_rng(3).normal(size=state.shape)
    right = landscapes.count_passages(state, dt, low=0.5).number
    raw = landscapes.count_passages(noisy, dt, low=0.5).number
    assert raw.min() > 20 * right.max()
    smooth = landscapes.filtered(noisy, 0.01)
    assert landscapes.count_passages(smooth, dt, low=0.5).number == pytest.approx(right, rel=0.35)


def test_what_is_elsewhere_does_not_count() -> None:
    signal = np.array([[0, 0, 1, 1, 1, 0, 0, 1, 1, 0.5, 0.5, 0, 0]], dtype=float)
    inside = np.ones(signal.shape, dtype=bool)
    whole = landscapes.count_passages(signal, 1.0, low=0.25, high=0.75, inside=inside)
    assert whole.number.tolist() == [2, 2]
    assert whole.time.tolist() == [5, 7]
    assert [d.tolist() for d in whole.dwell_times] == [[2.0], [3.0, 4.0]]
    inside[0, 5:7] = False  # away between two visits: neither a passage nor time
    found = landscapes.count_passages(signal, 1.0, low=0.25, high=0.75, inside=inside)
    assert found.number.tolist() == [1, 1]
    assert found.time.tolist() == [3, 7]
    assert [d.tolist() for d in found.dwell_times] == [[], []]


def test_nothing_seen_has_an_interval_all_the_same() -> None:
    found = landscapes.count_passages(np.zeros((2, 51)), 0.1, low=0.5)
    assert found.rate[0] == 0.0
    assert np.isnan(found.rate[1])
    # Three divided by the time: the rule of three, here for both ends of 95 %.
    assert found.interval[0] == pytest.approx([0.0, 3.689 / 10.0], rel=1e-3)


def test_places_on_a_path() -> None:
    """Points of the path are where they are, turned too; the mirror image is at its other end."""
    theta, one, other = trimer()
    way = landscapes.find_transition(theta, one, other)
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, len(way.path))
    turn = np.stack(
        [
            np.stack([np.cos(angle), -np.sin(angle)], -1),
            np.stack([np.sin(angle), np.cos(angle)], -1),
        ],
        axis=1,
    )
    where, beside = landscapes.path_position(way, way.path @ turn + 3.0)
    assert where == pytest.approx(way.arc_length / way.arc_length[-1], abs=1e-9)
    assert beside.max() < 1e-7
    ends, _ = landscapes.path_position(way, np.stack([one.positions, other.positions]))
    assert ends.tolist() == [0.0, 1.0]
    _, far = landscapes.path_position(way, 2.0 * one.positions)
    assert far > 0.5


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"interval": 0.0}, "interval"),
        ({"low": 0.8, "high": 0.2}, "is above high"),
        ({"inside": np.ones(3, bool)}, "inside has shape"),
        ({"confidence": 1.5}, "confidence"),
        ({"signal": np.zeros((2, 2, 2))}, "signal has shape"),
    ],
)
def test_bad_input_is_named(given: dict[str, Any], named: str) -> None:
    right: dict[str, Any] = {"signal": np.zeros((1, 9)), "interval": 1.0, "low": 0.5}
    with pytest.raises(InputError, match=named):
        landscapes.count_passages(**{**right, **given})
    with pytest.raises(InputError, match=r"below 0\.5"):
        landscapes.filtered(np.zeros(100), 0.7)
    with pytest.raises(InputError, match="too few"):
        landscapes.filtered(np.zeros(5), 0.1)
