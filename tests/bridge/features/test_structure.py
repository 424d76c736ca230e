"""g(r): histograms by NumPy, the smooth form's limits, ideal gases, refusals."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amorph import bridge
from amorph.bridge import Packing
from amorph.handover import BoxTooSmallError, InputError


def gas(n: int, dimension: int, seed: int, length: float = 6.0, tilt: float = 0.0) -> Packing:
    box = length * np.eye(dimension)
    box[0, 1] = tilt * length
    points = np.random.default_rng(seed).uniform(size=(n, dimension)) @ box.T
    return Packing.of(points, np.arange(n) % 3, box)


def shells(edges: np.ndarray, dimension: int) -> np.ndarray:
    return np.diff(np.pi * edges**2 if dimension == 2 else 4 / 3 * np.pi * edges**3)


@given(
    dimension=st.sampled_from([2, 3]),
    seed=st.integers(0, 50),
    tilt=st.sampled_from([0.0, 0.4]),
    types=st.sampled_from([None, (0, 0), (0, 2), (2, 0)]),
)
def test_histogram(
    nearest_pairs: Any, dimension: int, seed: int, tilt: float, types: tuple[int, int] | None
) -> None:
    """Counted by NumPy, in uneven bins that need not begin at 0."""
    packing = gas(30, dimension, seed, tilt=tilt)
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.uniform(0, 2.7, 9))
    i, j, vector = nearest_pairs(packing)
    r = np.linalg.norm(vector, axis=1)
    kind = packing.typeid
    if types is None:
        amount, norm = np.full(len(r), 2.0), 30**2
    else:
        a, b = types
        amount = 1.0 * ((kind[i] == a) & (kind[j] == b)) + ((kind[i] == b) & (kind[j] == a))
        norm = (kind == a).sum() * (kind == b).sum()
    counts, _ = np.histogram(r, edges, weights=amount)
    expected = counts * packing.volume / (norm * shells(edges, dimension))
    found = bridge.pair_distribution(packing, edges, types=types)
    assert found.g == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert np.array_equal(found.edges, edges)


def test_square_lattice() -> None:
    """Four neighbours at 1, four at sqrt(2), four at 2, eight at sqrt(5)."""
    grid = np.stack(np.meshgrid(*[np.arange(8.0)] * 2, indexing="ij"), -1).reshape(-1, 2)
    packing = Packing.of(grid, np.zeros(64, dtype=int), 8 * np.eye(2))
    found = bridge.pair_distribution(packing, r_max=2.5, bins=25)
    number = found.g * shells(found.edges, 2)  # at density 1
    expected = np.zeros(25)
    expected[[10, 14, 20, 22]] = 4, 4, 4, 8
    assert number == pytest.approx(expected, abs=1e-12)
    # From the same edges on, a pair at an edge is half in either bin.
    smooth = bridge.pair_distribution(packing, r_max=2.5, bins=25, width=0.1)
    assert smooth.g[9] * shells(found.edges, 2)[9] == pytest.approx(2, abs=1e-12)
    assert smooth.g[10] * shells(found.edges, 2)[10] == pytest.approx(2, abs=1e-12)


@pytest.mark.parametrize("dimension", [2, 3])
def test_smooth_tends_to_the_histogram(dimension: int, nearest_pairs: Any) -> None:
    packing = gas(40, dimension, 1)
    edges = np.linspace(0.5, 2.5, 11)
    r = np.linalg.norm(nearest_pairs(packing)[2], axis=1)
    gap = 2 * np.abs(r[:, None] - edges).min()
    sharp = bridge.pair_distribution(packing, edges)
    apart = [
        np.abs(bridge.pair_distribution(packing, edges, width=w).g - sharp.g).max()
        for w in (0.2, 0.05, 0.9 * gap)
    ]
    assert apart[0] > apart[1] > 1e-3
    # In three dimensions the shells are smoothed too, by less than (width/r)².
    assert apart[2] < 1e-5


@pytest.mark.parametrize("dimension", [2, 3])
def test_smooth_conserves_pairs(dimension: int) -> None:
    """Pairs that leave a bin enter the next: those within the outer edges stay as many."""
    packing = gas(50, dimension, 2)
    edges, width = np.linspace(0, 2.6, 14), 0.2
    fine = np.linspace(0, 2.6, 2)
    smooth = bridge.pair_distribution(packing, edges, width=width)
    whole = bridge.pair_distribution(packing, fine, width=width)
    v = width**2 / 28
    moments = edges**2 + v * (edges > 0) if dimension == 2 else edges**3 + 3 * edges * v
    parts = np.diff(moments)
    assert (smooth.g * parts).sum() / parts.sum() == pytest.approx(whole.g[0], rel=1e-12)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("width", [0.0, 0.15])
def test_ideal_gas_has_one_everywhere(dimension: int, width: float) -> None:
    """To within the scatter of 60 frames; at small r too, where the width matters."""
    edges = np.array([0.0, 0.2, 0.4, 0.7, 1.2, 2.0, 2.9])
    n = 60
    frames = np.array(
        [
            bridge.pair_distribution(gas(n, dimension, 100 + k), edges, width=width).g
            for k in range(60)
        ]
    )
    error = frames.std(axis=0, ddof=1) / np.sqrt(len(frames))
    assert (np.abs(frames.mean(axis=0) - (1 - 1 / n)) < 4 * error).all()
    assert error[2:].max() < 0.1


def test_nothing_passes_an_edge_at_zero() -> None:
    """Nearest pairs count whole in the first bin, nearer than half the width too."""
    packing = Packing.of([[0.0, 0.0], [0.01, 0.0]], [0, 0], 6 * np.eye(2))
    smooth, sharp = (bridge.pair_distribution(packing, [0, 0.2, 0.4], width=w) for w in (0.2, 0))
    assert sharp.g == pytest.approx([36 / 2 / (np.pi * 0.04), 0], rel=1e-12)
    assert smooth.g == pytest.approx([36 / 2 / (np.pi * (0.04 + 0.04 / 28)), 0], rel=1e-12)


def test_feature_measures_what_the_function_does(solid: Packing, theta2: Any) -> None:
    half = 0.5 * solid.box[0, 0]
    edges = np.linspace(0.6, 0.95 * half, 12)
    width = 0.1
    f = bridge.pair_distribution_feature(edges, width)
    h = bridge.pair_distribution_feature(edges, 0, types=(0, 1))
    assert (f.name, h.name) == ("pair_distribution", "pair_distribution_0_1")
    assert f.differentiable
    assert not h.differentiable
    found = bridge.measure(theta2, solid, [f, h]).values
    direct = bridge.pair_distribution(solid, edges, width=width)
    assert found[f.name] == pytest.approx(direct.g, rel=1e-12)
    partial = bridge.pair_distribution(solid, edges, types=(0, 1))
    assert found[h.name] == pytest.approx(partial.g, rel=1e-12)
    assert direct.width == width
    with pytest.raises(bridge.errors.FeatureError, match="jumps"):
        bridge.value_and_grad(h)(theta2, solid)


def test_range() -> None:
    """Up to half the box's smallest width, and not beyond."""
    for tilt in (0.0, 0.5):
        packing = gas(20, 2, 3, tilt=tilt)
        half = 0.5 * 6.0 / np.hypot(1, tilt)
        assert bridge.pair_distribution(packing).edges[-1] == pytest.approx(half, rel=1e-15)
        assert bridge.pair_distribution(packing, width=0.02).edges[-1] == pytest.approx(half - 0.01)
        for given_range in ({"r_max": half * 1.001}, {"r_max": half, "width": 0.02}):
            with pytest.raises(BoxTooSmallError, match="smaller r_max"):
                bridge.pair_distribution(packing, **given_range)


def test_feature_beyond_the_box_is_refused(solid: Packing, theta2: Any) -> None:
    f = bridge.pair_distribution_feature([0.5, 0.51 * solid.box[0, 0]], 0.1)
    with pytest.raises(BoxTooSmallError):
        bridge.measure(theta2, solid, [f])
    absent = bridge.pair_distribution_feature([0.5, 1.0], 0.1, types=(0, 2))
    with pytest.raises(bridge.errors.FeatureError, match="2"):
        bridge.measure(theta2, solid, [absent])
    cluster = replace(solid, box=None)
    with pytest.raises(bridge.errors.FeatureError, match="cluster"):
        bridge.measure(theta2, cluster, [f])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"edges": [1.0]}, "edges"),
        ({"edges": [1.0, 0.5]}, "edges"),
        ({"edges": [-1.0, 0.5]}, "edges"),
        ({"edges": [0.0, np.nan]}, "edges"),
        ({"edges": [0.0, 1.0], "r_max": 1.0}, "same thing"),
        ({"r_max": -1.0}, "r_max"),
        ({"bins": 0}, "bins"),
        ({"edges": [0.0, 0.1, 1.0], "width": 0.2}, "narrowest"),
        ({"edges": [0.01, 1.0], "width": 0.2}, "nearer to 0"),
        ({"width": -0.1}, "width"),
        ({"width": np.nan}, "width"),
        ({"types": (0, 5)}, "type 5"),
        ({"types": (0, 1, 2)}, "two type"),
        ({"types": (0, -1)}, "two type"),
    ],
)
def test_refusals(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        bridge.pair_distribution(gas(20, 2, 3), **arguments)


def test_cluster_is_refused() -> None:
    with pytest.raises(InputError, match="density"):
        bridge.pair_distribution(Packing.of(np.eye(3), [0, 0, 0]), r_max=1.0)
