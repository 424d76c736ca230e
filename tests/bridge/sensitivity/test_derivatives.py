"""The ladder of derivatives: pairs, energy, forces, stress, Hessian."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amorph import bridge
from amorph.bridge import Packing
from amorph.bridge.matter.pairs import find_pairs
from amorph.handover import InputError, widths

TILTS = [(0.0, 0.0, 0.0), (0.45, -0.3, 0.2), (1.9, -1.2, 1.4)]
SOFT = bridge.SoftSphere(diameters=[0.9, 1.1], stiffness=[4.0, 5.0, 6.0])


def box_of_widths(width: float, dimension: int, tilt: tuple[float, float, float]) -> np.ndarray:
    xy, xz, yz = tilt
    box = np.array([[1, xy, xz], [0, 1, yz], [0, 0, 1.0]])[:dimension, :dimension]
    return box * width / widths(box).min()


def brute_pairs(packing: Packing, cutoffs: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Every pair and image nearer than the cutoff, the slow way: i < j -> vectors."""
    x, box, d = packing.positions, packing.box, packing.dimension
    found: dict[tuple[int, int], np.ndarray] = {}
    for i, j in itertools.combinations(range(len(x)), 2):
        vectors = (x[j] - x[i])[None]
        if box is not None:
            home = np.round(vectors @ np.linalg.inv(box).T)
            shells = np.array(list(itertools.product(range(-2, 3), repeat=d)))
            vectors = vectors - home @ box.T + shells @ box.T
        near = np.sqrt((vectors**2).sum(-1)) < cutoffs[packing.typeid[i], packing.typeid[j]]
        if near.any():
            found[i, j] = vectors[near]
    return found


@pytest.mark.parametrize("tilt", TILTS, ids=["square", "tilted", "very tilted"])
@pytest.mark.parametrize("dimension", [2, 3])
@settings(max_examples=12)
@given(seed=st.integers(0, 10**6), slack=st.floats(1 + 1e-9, 2.0), reach=st.floats(0, 1.05))
def test_pairs(dimension: int, tilt: tuple, seed: int, slack: float, reach: float) -> None:
    rng = np.random.default_rng(seed)
    box = box_of_widths(2 * 1.1 * slack, dimension, tilt)
    n = 24
    x = rng.uniform(-0.5, 0.5, (n, dimension)) @ box.T
    x += rng.integers(-3, 4, (n, dimension)) @ box.T  # far outside the box
    packing = Packing.of(x, np.arange(n) % 2, box)
    check_pairs(packing, reach)


def check_pairs(packing: Packing, reach: float) -> None:
    pairs = find_pairs(SOFT, packing, reach=reach)
    count = int(pairs.count)
    i, j, shift = pairs.i[:count], pairs.j[:count], pairs.shift[:count]
    expected = brute_pairs(packing, np.maximum(SOFT.cutoffs(), reach))
    vectors = packing.positions[j] - packing.positions[i] + shift
    found = dict(zip(zip(i.tolist(), j.tolist(), strict=True), vectors, strict=True))
    assert len(found) == count, "each pair once"
    assert found.keys() == expected.keys()
    for key, vector in found.items():
        assert len(expected[key]) == 1
        np.testing.assert_allclose(vector, expected[key][0], rtol=0, atol=1e-12)
    # Places past the last are far beyond every cutoff.
    rest = packing.positions[pairs.j] - packing.positions[pairs.i] + pairs.shift
    assert (np.sqrt((rest[count:] ** 2).sum(-1)) > 5).all()


@pytest.mark.parametrize("dimension", [2, 3])
def test_pairs_of_a_cluster(dimension: int) -> None:
    x = np.random.default_rng(1).uniform(-2, 2, (20, dimension))
    check_pairs(Packing.of(x, np.arange(20) % 2), 0.0)
    check_pairs(Packing.of(x + 1e3, np.arange(20) % 2), 1.0)


def test_pairs_with_a_skin_include_the_pairs_without(solid: Packing, theta2: Any) -> None:
    plain, wide = find_pairs(theta2, solid), find_pairs(theta2, solid, skin=0.3)
    few = set(zip(plain.i[: plain.count].tolist(), plain.j[: plain.count].tolist(), strict=True))
    many = set(zip(wide.i[: wide.count].tolist(), wide.j[: wide.count].tolist(), strict=True))
    assert few < many


def slope_of(theta: Any, r: np.ndarray, pair: dict) -> np.ndarray:
    """u' by a difference of the pair energy: independent of JAX's derivatives."""
    h = 1e-5
    u = [np.asarray(theta.pair_energy(r + k * h, pair)) for k in (1, -1, 2, -2)]
    return (8 * (u[0] - u[1]) - (u[2] - u[3])) / (12 * h)


@pytest.mark.parametrize("kind", ["2D", "3D", "triclinic", "cluster"])
def test_forces_energy_and_hessian(
    kind: str, theta2: Any, spheres3: Any, solid: Packing, solid3: Packing, nearest_pairs: Any
) -> None:
    theta, packing = (spheres3, solid3) if kind == "3D" else (theta2, solid)
    rng = np.random.default_rng(2)
    x = packing.positions + 0.03 * rng.standard_normal(packing.positions.shape)
    box = packing.box
    if kind == "triclinic":
        shear = np.array([[1.0, 0.21], [0.0, 1.0]])
        x, box = x @ shear.T, shear @ box
    packing = Packing.of(x, packing.typeid, None if kind == "cluster" else box)

    # Against all pairs in NumPy.
    i, j, vector = nearest_pairs(packing)
    r = np.sqrt((vector**2).sum(-1))
    spread = theta.of_types()
    pair = {k: v[packing.typeid[i], packing.typeid[j]] for k, v in spread.items()}
    energy = float(np.sum(theta.pair_energy(r, pair)))
    assert bridge.energy(theta, packing) == pytest.approx(energy, rel=1e-12)
    pull = slope_of(theta, r, pair)[:, None] * vector / r[:, None]
    forces = np.zeros_like(x)
    np.add.at(forces, i, pull)
    np.add.at(forces, j, -pull)
    found = bridge.forces(theta, packing)
    # u'' jumps within some pairs' stencils.
    np.testing.assert_allclose(found, forces, rtol=0, atol=2e-4)
    assert np.median(np.abs(found - forces)) < 1e-9

    # Forces are -dE/dR, and H the derivative of forces, along random directions.
    hessian = bridge.hessian(theta, packing)
    np.testing.assert_allclose(hessian, hessian.T, rtol=0, atol=1e-13)
    for _ in range(4):
        along = rng.standard_normal(x.shape)
        h = 1e-6
        there, back = (packing.with_positions(x + s * h * along) for s in (1, -1))
        slope = (bridge.energy(theta, there) - bridge.energy(theta, back)) / (2 * h)
        assert slope == pytest.approx(-np.vdot(found, along), rel=1e-5, abs=1e-7)
        bent = -(bridge.forces(theta, there) - bridge.forces(theta, back)) / (2 * h)
        np.testing.assert_allclose(
            (hessian @ along.ravel()).reshape(x.shape), bent, rtol=0, atol=1e-3
        )
        assert np.median(np.abs((hessian @ along.ravel()).reshape(x.shape) - bent)) < 1e-6
    assert np.abs(found.sum(axis=0)).max() < 1e-12
    assert np.abs(hessian @ np.tile(np.eye(len(x.T)), (len(x), 1))).max() < 1e-11

    if kind == "cluster":
        with pytest.raises(InputError, match="volume"):
            bridge.stress(theta, packing)
        return
    # Stress is (1/V) dU/dε.
    stress = bridge.stress(theta, packing)
    d = packing.dimension
    for a in range(d):
        for b in range(a, d):
            ends = []
            for s in (1, -1):
                strain = np.eye(d)
                strain[a, b] += s * 1e-6
                ends.append(
                    bridge.energy(theta, Packing(x @ strain.T, packing.typeid, strain @ box))
                )
            assert stress[a, b] == pytest.approx(
                (ends[0] - ends[1]) / 2e-6 / packing.volume, rel=1e-5, abs=1e-7
            )
    np.testing.assert_allclose(stress, stress.T, rtol=0, atol=1e-14)


def test_engine_and_bridge_agree(
    theta2: Any, solid: Packing, spheres3: Any, solid3: Packing
) -> None:
    from amorph import ensemble

    rng = np.random.default_rng(3)
    for theta, packing in ((theta2, solid), (spheres3, solid3)):
        x = packing.positions + 0.05 * rng.standard_normal(packing.positions.shape)
        moved = packing.with_positions(x)
        engine = ensemble.forces(theta, x, packing.typeid, packing.box)
        assert bridge.energy(theta, moved) == pytest.approx(engine.energy[0], rel=1e-12)
        np.testing.assert_allclose(bridge.forces(theta, moved), engine.forces[0], atol=1e-12)
        np.testing.assert_allclose(bridge.stress(theta, moved), engine.stress[0], atol=1e-13)
