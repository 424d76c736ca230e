"""ψ_k: against freud with the same neighbours and weights, against angles, on lattices."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amorph import bridge
from amorph.bridge import Packing, Window
from amorph.bridge.matter.mechanics import state_of
from amorph.bridge.matter.neighbours import FIRST_SHELL, WITHIN_LARGEST_DIAMETER
from amorph.handover import BoxTooSmallError, InputError


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
    """Neighbours are those nearer than the largest diameter."""
    i, j, vector, r, _ = bonds
    near = r < theta2.arrays()["diameters"].max()
    assert 0 < near.sum() < len(near)
    order = by_freud(freud, solid, (i[near], j[near], vector[near]), np.ones(near.sum()), False)
    lonely = np.bincount(np.concatenate([i[near], j[near]]), minlength=48) == 0
    order[lonely] = 0  # freud has NaN for a particle without neighbours
    assert bridge.feature("psi_8_sharp")(theta2, solid) == pytest.approx(order.mean(), abs=5e-5)


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
    assert bridge.feature("psi_8")(theta2, solid) == pytest.approx(order.mean(), abs=5e-5)


def test_against_angles_in_numpy(theta2: Any, solid: Packing, bonds: Any) -> None:
    """The definition, with angles, to round-off."""
    i, j, vector, r, sigma = bonds
    angle = np.arctan2(vector[:, 1], vector[:, 0])
    sharp = (r < theta2.arrays()["diameters"].max()) * 1.0
    t = np.clip((r / sigma - 1.15) / (1.4 - 1.15), 0, 1)
    smooth = 1 - (10 * t**3 - 15 * t**4 + 6 * t**5)
    found = bridge.measure(theta2, solid, ["psi_8", "psi_8_sharp"]).values
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


DISCS = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)


def lattice(vectors: list, basis: list, cells: tuple[int, int]) -> Packing:
    """Cells of a lattice in a box without tilt; the shortest distance is 1."""
    a = np.array(vectors)
    corners = np.stack(np.meshgrid(*map(np.arange, cells), indexing="ij"), -1).reshape(-1, 1, 2)
    points = ((corners + np.array(basis)) @ a).reshape(-1, 2)
    box = np.diag(np.array(cells) * np.diag(a))
    return Packing.of(points, np.zeros(len(points), dtype=int), box)


ROOT3 = np.sqrt(3.0)
SQUARE = lattice([[1, 0], [0, 1]], [[0, 0]], (6, 6))
TRIANGULAR = lattice([[1, 0], [0, ROOT3]], [[0, 0], [0.5, 0.5]], (6, 4))
HONEYCOMB = lattice([[ROOT3, 0], [0, 3]], [[0, 0], [0.5, 0.5], [0.5, 1 / 6], [0, 2 / 3]], (4, 2))


@pytest.mark.parametrize(
    ("packing", "full"),
    [(SQUARE, {4, 8, 12}), (TRIANGULAR, {6, 12}), (HONEYCOMB, {3, 6, 9, 12})],
    ids=["square", "triangular", "honeycomb"],
)
@pytest.mark.parametrize("window", [FIRST_SHELL, Window.sharp(1.2)], ids=str)
def test_lattices(packing: Packing, full: set[int], window: Window) -> None:
    """|ψ_k| is 1 where k is a multiple of the symmetry about a particle, else 0."""
    for k in (1, 2, 3, 4, 6, 8, 9, 12):
        size = np.abs(bridge.bond_order(DISCS, packing, k, window))
        assert size == pytest.approx(1.0 * (k in full), abs=1e-12), k


def test_phase_is_the_lattices_direction() -> None:
    """Turned by φ, a lattice has ψ_k e^{ikφ}."""
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    axes = np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [0, 0]]) @ turn.T
    cross = Packing.of(axes, np.zeros(5, dtype=int))
    centre = bridge.bond_order(DISCS, cross, 4, Window.sharp(1.1))[4]
    assert centre == pytest.approx(np.exp(4j * angle), abs=1e-12)


@given(
    angle=st.floats(-10, 10),
    k=st.sampled_from([1, 2, 3, 8, 13]),
    seed=st.integers(0, 5),
    mirrored=st.booleans(),
)
def test_rotations_and_mirrors_change_nothing(
    angle: float, k: int, seed: int, mirrored: bool
) -> None:
    points = np.random.default_rng(seed).uniform(size=(12, 2)) * 3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = points * ([1, -1] if mirrored else [1, 1]) @ turn.T + [3.0, -1.0]
    before, after = (
        np.abs(bridge.bond_order(DISCS, Packing.of(x, np.zeros(12, dtype=int)), k))
        for x in (points, moved)
    )
    assert after == pytest.approx(before, abs=1e-11)
    assert (before <= 1 + 1e-12).all()


def test_smooth_tends_to_sharp(theta2: Any, solid: Packing, bonds: Any) -> None:
    """As the window narrows about the cut; exactly so once no pair lies in it."""
    *_, r, sigma = bonds
    cut = 1.275
    gap = 2 * np.abs(r / sigma - cut).min()
    sharp = bridge.bond_order(theta2, solid, 8, Window.sharp(cut))
    apart = [
        np.abs(bridge.bond_order(theta2, solid, 8, Window(cut - w / 2, cut + w / 2)) - sharp).max()
        for w in (0.3, 0.1, 0.99 * gap)
    ]
    assert apart[0] > apart[1] > 1e-3
    assert apart[2] < 1e-14


def test_last_neighbour_leaves_smoothly() -> None:
    """ψ of a pair goes to 0 with no jump and no kink, and with it its derivative."""
    window = Window(1.0, 1.4)
    f = bridge.bond_order_feature(6, window)

    pair = Packing.of([[0.0, 0.0], [1.2, 0.0]], [0, 0])
    state = state_of(DISCS, pair, reach=window.reach(DISCS))

    def value(r: Any) -> Any:
        positions = jnp.zeros((2, 2)).at[1, 0].set(r)
        return f.function(DISCS, replace(state, positions=positions))

    distances = jnp.linspace(0.99, 1.41, 421)
    values, slopes = (
        np.asarray(x) for x in jax.jit(jax.vmap(jax.value_and_grad(value)))(distances)
    )
    t = np.clip((np.asarray(distances) - 1.0) / 0.4, 0, 1)
    w = 1 - 10 * t**3 + 15 * t**4 - 6 * t**5
    expected = np.sqrt((w / (w + (1 - w) ** 3 / 3)) ** 2 + 1e-12) - 1e-6
    assert values == pytest.approx(expected, abs=1e-12)
    assert values[-1] == 0
    assert slopes[-1] == 0
    assert np.abs(np.diff(values)).max() < 0.02
    assert np.isfinite(slopes).all()


def test_lonely_particles_have_none() -> None:
    """No neighbour, no order: 0 and finite derivatives, and padded pairs count for nothing."""
    packing = Packing.of([[0.0, 0.0], [1.0, 0.0], [50.0, 0.0]], [0, 0, 0])
    for window in (FIRST_SHELL, WITHIN_LARGEST_DIAMETER, Window.sharp(1.1, "length")):
        order = bridge.bond_order(DISCS, packing, 7, window)
        assert order[2] == 0
    alone = Packing.of([[0.0, 0.0]], [0])
    assert bridge.bond_order(DISCS, alone, 3) == np.zeros(1)
    state = state_of(DISCS, packing, reach=2.0)

    def value(x: Any) -> Any:
        return bridge.feature("psi_7").function(DISCS, replace(state, positions=x))

    slope = np.asarray(jax.jit(jax.grad(value))(packing.positions))
    assert np.isfinite(slope).all()
    assert not slope[2].any()


def test_registry() -> None:
    assert bridge.feature("psi_8") is bridge.FEATURES["psi_8"]
    assert bridge.feature("psi_8_sharp") is bridge.FEATURES["psi_8_sharp"]
    assert bridge.feature("psi_5") is bridge.feature("psi_5")
    assert bridge.feature("psi_5").differentiable
    assert not bridge.feature("psi_5_sharp").differentiable
    assert bridge.feature("psi_12").describe == "12-fold order ψ₁₂"
    other = bridge.bond_order_feature(6, Window(1.1, 1.3, "length"))
    assert other.name == "psi_6 (1.1 to 1.3 length)"
    assert other.reach(DISCS) == 1.3
    with pytest.raises(bridge.errors.FeatureError, match="psi_0"):
        bridge.feature("psi_0")


def test_refusals(solid3: Packing, spheres3: Any) -> None:
    with pytest.raises(InputError, match="steinhardt"):
        bridge.bond_order(spheres3, solid3, 6)
    with pytest.raises(InputError, match="at least 1"):
        bridge.bond_order(DISCS, SQUARE, 0)
    with pytest.raises(InputError, match="coincide"):
        bridge.bond_order(DISCS, Packing.of(np.zeros((2, 2)), [0, 0]), 6)
    with pytest.raises(BoxTooSmallError):
        bridge.bond_order(DISCS, SQUARE, 6, Window(3.0, 3.1))
    for bad in ((1.4, 1.15), (-1, 1), (0, 0), (1, np.inf), (np.nan, 1)):
        with pytest.raises(InputError, match="window"):
            Window(*bad)
    with pytest.raises(InputError, match="unit"):
        Window(1, 2, "nm")
    with pytest.raises(InputError, match="largest diameter"):
        Window(1, 2, "largest_diameter")
