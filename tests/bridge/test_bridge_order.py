"""ψ_8 against freud, with the same neighbours and the same weights."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import Packing


@pytest.fixture(scope="module")
def freud() -> Any:
    return pytest.importorskip("freud")


def by_freud(
    freud: Any, packing: Packing, bonds: tuple, weight: np.ndarray, weighted: bool
) -> np.ndarray:
    i, j, vector = bonds
    n = packing.n_particles
    first, second = np.concatenate([i, j]), np.concatenate([j, i])
    vectors = np.concatenate([vector, -vector])
    order = np.lexsort((second, first))
    flat = np.column_stack([vectors, np.zeros(len(vectors))])[order]
    neighbours = freud.locality.NeighborList.from_arrays(
        n, n, first[order], second[order], flat, np.concatenate([weight, weight])[order]
    )
    length = np.diag(packing.box)
    points = np.column_stack([packing.wrapped().positions, np.zeros(n)])
    compute = freud.order.Hexatic(k=8, weighted=weighted)
    compute.compute((freud.box.Box(*length), points), neighbors=neighbours)
    return np.abs(compute.particle_order)


@pytest.fixture(scope="module")
def bonds(theta2: Any, solid: Packing, nearest_pairs: Any) -> Any:
    i, j, vector = nearest_pairs(solid)
    r = np.sqrt((vector**2).sum(-1))
    sigma = theta2.of_types()["sigma"][solid.typeid[i], solid.typeid[j]]
    return i, j, vector, r, sigma


def test_sharp(freud: Any, theta2: Any, solid: Packing, bonds: Any) -> None:
    """Neighbours are those nearer than the largest diameter, as in P0."""
    i, j, vector, r, _ = bonds
    near = r < theta2.arrays()["diameters"].max()
    assert 0 < near.sum() < len(near)
    order = by_freud(freud, solid, (i[near], j[near], vector[near]), np.ones(near.sum()), False)
    lonely = np.bincount(np.concatenate([i[near], j[near]]), minlength=48) == 0
    order[lonely] = 0  # freud has NaN for a particle without neighbours
    assert bridge.psi_8_sharp(theta2, solid) == pytest.approx(order.mean(), abs=5e-5)


def test_smooth(freud: Any, theta2: Any, solid: Packing, bonds: Any) -> None:
    i, j, vector, r, sigma = bonds
    t = np.clip((r / sigma - 1.15) / (1.4 - 1.15), 0, 1)
    weight = 1 - (10 * t**3 - 15 * t**4 + 6 * t**5)
    near = weight > 0
    assert (weight[near] < 1).any(), "some lie within the switch"
    order = by_freud(freud, solid, (i[near], j[near], vector[near]), weight[near], True)
    total = np.bincount(np.concatenate([i, j]), np.tile(weight, 2), minlength=48)
    # Stated differences: the softened modulus, and the denominator of nearly lonely particles.
    order = np.where(total > 0, order, 0)
    order = order * total / np.where(total >= 1, total, total + (1 - total) ** 3 / 3)
    order = np.sqrt(order**2 + 1e-12) - 1e-6
    assert bridge.psi_8(theta2, solid) == pytest.approx(order.mean(), abs=5e-5)


def test_against_angles_in_numpy(theta2: Any, solid: Packing, bonds: Any) -> None:
    """The definition, with angles, to round-off."""
    i, j, vector, r, sigma = bonds
    angle = np.arctan2(vector[:, 1], vector[:, 0])
    sharp = (r < theta2.arrays()["diameters"].max()) * 1.0
    t = np.clip((r / sigma - 1.15) / (1.4 - 1.15), 0, 1)
    smooth = 1 - (10 * t**3 - 15 * t**4 + 6 * t**5)
    found = bridge.measure(solid, theta2, ["psi_8", "psi_8_sharp"]).values
    for name, w in (("psi_8_sharp", sharp), ("psi_8", smooth)):
        z = np.zeros(48, dtype=complex)
        np.add.at(z, i, w * np.exp(8j * angle))
        np.add.at(z, j, w * np.exp(8j * (angle + np.pi)))
        total = np.bincount(np.concatenate([i, j]), np.tile(w, 2), minlength=48)
        if name == "psi_8":
            below = np.maximum(1 - total, 0)
            expected = np.sqrt(np.abs(z / (total + below**3 / 3)) ** 2 + 1e-12) - 1e-6
        else:
            expected = np.abs(z) / np.maximum(total, 1)
        assert found[name] == pytest.approx(expected.mean(), abs=1e-12)


def test_square_lattice_has_full_order() -> None:
    """Neighbours along the axes: e^{8iθ} = 1 for all of them."""
    theta = bridge.HarmonicMorse(diameters=[1.0, 1.0], binding=1.0, stiffness=50.0, alpha=20.0)
    grid = np.stack(np.meshgrid(*[np.arange(6.0)] * 2, indexing="ij"), -1).reshape(-1, 2)
    from amorph.bridge.mechanics import state_of
    from amorph.bridge.order import psi_smooth_of

    lattice = Packing.of(grid, np.zeros(36, dtype=int), np.eye(2) * 6)
    assert float(psi_smooth_of(theta, state_of(lattice, theta), 8)) == pytest.approx(1.0, abs=2e-6)
    assert float(psi_smooth_of(theta, state_of(lattice, theta), 4)) == pytest.approx(1.0, abs=2e-6)
    assert float(psi_smooth_of(theta, state_of(lattice, theta), 6)) == pytest.approx(0.0, abs=2e-6)
