"""Steinhardt's q_l: harmonics against SciPy's, lattices, rotations, poles, the average."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y

from amorph import bridge
from amorph.bridge import Packing, Window
from amorph.bridge.features.steinhardt import solid_harmonics
from amorph.bridge.matter.mechanics import state_of
from amorph.bridge.matter.neighbours import FIRST_SHELL, FIRST_SHELL_SHARP
from amorph.handover import BoxTooSmallError, InputError

SPHERES = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
AXES = np.vstack([np.eye(3), -np.eye(3)])


def by_angles(degree: int, unit: np.ndarray) -> np.ndarray:
    """sqrt(4π/(2l+1)) Y_lm for m = -l to l, (M, 2l + 1), by SciPy."""
    polar, azimuth = np.arccos(np.clip(unit[:, 2], -1, 1)), np.arctan2(unit[:, 1], unit[:, 0])
    m = np.arange(-degree, degree + 1)
    harmonics = sph_harm_y(degree, m[None], polar[:, None], azimuth[:, None])
    return np.sqrt(4 * np.pi / (2 * degree + 1)) * harmonics


def directions(n: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, 3))
    return np.vstack([vectors / np.linalg.norm(vectors, axis=1)[:, None], AXES])


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 6, 12, 20])
def test_harmonics_are_scipys(degree: int) -> None:
    unit = directions(40, degree)
    expected = by_angles(degree, unit)[:, degree:] * (-1.0) ** np.arange(degree + 1)
    assert np.asarray(solid_harmonics(degree, jnp.asarray(unit))) == pytest.approx(
        expected, abs=1e-13
    )


@pytest.mark.parametrize("degree", [1, 2, 3, 6, 12])
def test_harmonics_derivatives(degree: int) -> None:
    """First and second, everywhere, the poles and the origin included."""
    rng = np.random.default_rng(degree)
    at = jnp.asarray(np.vstack([rng.normal(size=(10, 3)), AXES, np.zeros((1, 3))]))
    along = jnp.asarray(rng.normal(size=at.shape))

    def f(t: Any) -> Any:
        return solid_harmonics(degree, at + t * along)

    def slope(t: Any) -> Any:
        return jax.jvp(f, (t,), (1.0,))[1]

    for function, derivative in ((f, slope), (slope, lambda t: jax.jvp(slope, (t,), (1.0,))[1])):
        exact = np.asarray(derivative(0.0))
        assert np.isfinite(exact).all()
        scale = np.abs(exact).max()
        for h in (2e-4, 1e-4):
            differences = np.asarray(
                8 * (function(h) - function(-h)) - (function(2 * h) - function(-2 * h))
            ) / (12 * h)
            assert np.abs(differences - exact).max() <= 1e-8 * max(scale, 1)


def crystal(basis: Any, cells: int, spacing: Any, seed: int | None = None) -> Packing:
    """A cubic or orthorhombic crystal; its particles in another order if there is a seed."""
    cell = np.broadcast_to(np.asarray(spacing, dtype=float), (3,))
    corners = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    points = ((corners + np.array(basis)) * cell).reshape(-1, 3)
    if seed is not None:
        points = np.random.default_rng(seed).permutation(points)
    return Packing.of(points, np.zeros(len(points), dtype=int), np.diag(cells * cell))


ROOT2, ROOT3 = np.sqrt(2.0), np.sqrt(3.0)
SC = crystal([[0, 0, 0]], 5, 1.0)
BCC = crystal([[0, 0, 0], [0.5, 0.5, 0.5]], 4, 2 / ROOT3, seed=1)
FCC = crystal([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], 3, ROOT2, seed=2)
HCP = crystal(
    [[0, 0, 0], [0.5, 0.5, 0], [0.5, 5 / 6, 0.5], [0, 1 / 3, 0.5]],
    3,
    [1.0, ROOT3, np.sqrt(8 / 3)],
    seed=3,
)
KNOWN = {
    "sc": (SC, Window(1.1, 1.3), np.sqrt(7 / 12), np.sqrt(1 / 8)),
    "bcc, 8": (BCC, Window(1.02, 1.12), np.sqrt(7 / 27), np.sqrt(32 / 81)),
    # Both shells, at 1 and 2/sqrt(3): their harmonics have one direction, of either sign.
    "bcc, 14": (
        BCC,
        Window(1.2, 1.5),
        (6 * np.sqrt(7 / 12) - 8 * np.sqrt(7 / 27)) / 14,
        (6 * np.sqrt(1 / 8) + 8 * np.sqrt(32 / 81)) / 14,
    ),
    "fcc": (FCC, FIRST_SHELL, np.sqrt(7 / 192), np.sqrt(169 / 512)),
    "hcp": (HCP, FIRST_SHELL, 7 / 72, 0.484762),
}


@pytest.mark.parametrize("name", KNOWN)
def test_crystals(name: str) -> None:
    """Q_4 and Q_6 in closed form (hcp's Q_6: to the six places of the literature)."""
    packing, window, *known = KNOWN[name]
    for degree, expected in zip((4, 6), known, strict=True):
        for averaged in (False, True):
            found = bridge.steinhardt_order(SPHERES, packing, degree, window, averaged=averaged)
            if averaged and name == "hcp":
                # Its two sites are mirror images: their q_lm differ, and averaging lowers q_l.
                assert (found < expected + 1e-6).all()
            else:
                assert found == pytest.approx(expected, abs=1.5e-6)
    for degree in (1, 3):
        found = bridge.steinhardt_order(SPHERES, packing, degree, window, averaged=True)
        assert found.max() < 0.2 if name == "hcp" else found.max() < 1e-12


def test_default_windows_have_the_usual_shells() -> None:
    """12 neighbours in fcc and hcp, 14 in bcc, 6 in sc, where pairs touch."""
    for packing, usual in ((FCC, 12), (HCP, 12), (BCC, 14), (SC, 6)):
        for window in (FIRST_SHELL_SHARP, FIRST_SHELL):
            f = bridge.coordination_feature(window)
            state = state_of(SPHERES, packing, reach=f.reach(SPHERES))
            found = float(jax.jit(f.function)(SPHERES, state))
            assert found == pytest.approx(usual, abs=1e-2 if packing is BCC else 1e-12)


@given(seed=st.integers(0, 100), degree=st.sampled_from([2, 3, 6, 12]), averaged=st.booleans())
def test_rotations_and_inversion_change_nothing(seed: int, degree: int, averaged: bool) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(size=(14, 3)) * 2
    turn = Rotation.random(rng=rng).as_matrix() * rng.choice([-1, 1])
    before, after = (
        bridge.steinhardt_order(
            SPHERES, Packing.of(x, np.zeros(14, dtype=int)), degree, averaged=averaged
        )
        for x in (points, points @ turn.T + 1.0)
    )
    assert after == pytest.approx(before, abs=1e-11)
    assert before.max() <= 1
    assert before.max() > 0.05


@pytest.mark.parametrize("degree", [1, 3, 6, 12])
def test_smooth_and_averaged_by_angles(
    solid3: Packing, spheres3: Any, nearest_pairs: Any, degree: int
) -> None:
    """The definition, with SciPy's harmonics of all m and a dense matrix of weights."""
    window = Window(1.0, 1.3)
    i, j, vector = nearest_pairs(solid3)
    r = np.linalg.norm(vector, axis=1)
    sigma = spheres3.of_types()["sigma"][solid3.typeid[i], solid3.typeid[j]]
    t = np.clip((r / sigma - 1.0) / 0.3, 0, 1)
    w = 1 - 10 * t**3 + 15 * t**4 - 6 * t**5
    n = solid3.n_particles
    weight, bonds = np.zeros((n, n)), np.zeros((n, n, 2 * degree + 1), dtype=complex)
    for a, b, sign in ((i, j, 1), (j, i, -1)):
        weight[a, b] = w
        bonds[a, b] = by_angles(degree, sign * vector / r[:, None])
    total = weight.sum(axis=1)
    q = np.einsum("ij,ijm->im", weight, bonds) / total[:, None]
    assert total.min() > 1
    around = (q + weight @ q) / (1 + total)[:, None]
    for parts, averaged in ((q, False), (around, True)):
        expected = np.sqrt((np.abs(parts) ** 2).sum(axis=1) + 1e-12) - 1e-6
        found = bridge.steinhardt_order(spheres3, solid3, degree, window, averaged=averaged)
        assert found == pytest.approx(expected, abs=1e-12)


def test_bonds_along_z_have_exact_derivatives() -> None:
    """A particle with two bonds at the poles, where angles have no derivatives."""
    points = np.array([[0, 0, 0], [1, 0, 0], [0.7, 0.4, 0.6], [0, 0, 1.18], [0, 0, -1.2]])
    cross = Packing.of(points, np.zeros(5, dtype=int))
    for name in ("steinhardt_6", "steinhardt_4_averaged", "steinhardt_3", "steinhardt_12"):
        f = bridge.feature(name)
        state = state_of(SPHERES, cross, reach=1.5)

        @jax.jit
        def value(x: Any, f: Any = f, state: Any = state) -> Any:
            return f.function(SPHERES, replace(state, positions=x))

        slope = np.asarray(jax.jit(jax.grad(value))(points))
        for k in range(3):
            for particle in (0, 3, 4):
                step = np.zeros_like(points)
                step[particle, k] = 1e-4
                one, two = ((value(points + h * step) - value(points - h * step)) for h in (1, 2))
                differences = float(8 * one - two) / 12e-4
                assert slope[particle, k] == pytest.approx(differences, abs=1e-9)
        assert np.abs(slope[3:]).min() > 1e-4, "in every direction"


def test_lonely_particles_have_none() -> None:
    packing = Packing.of([[0.0, 0, 0], [0, 0, 1.0], [0, 0, 50.0]], [0, 0, 0])
    for averaged in (False, True):
        for window in (FIRST_SHELL, FIRST_SHELL_SHARP):
            found = bridge.steinhardt_order(SPHERES, packing, 6, window, averaged=averaged)
            assert found == pytest.approx([1, 1, 0], abs=2e-6)
            assert found[2] == 0
        f = bridge.steinhardt_feature(6, averaged=averaged)
        state = state_of(SPHERES, packing, reach=1.5)
        slope = np.asarray(
            jax.jit(jax.grad(lambda x, f=f, s=state: f.function(SPHERES, replace(s, positions=x))))(
                packing.positions
            )
        )
        assert np.isfinite(slope).all()
        assert not slope[2].any()
    assert bridge.steinhardt_order(SPHERES, Packing.of(np.zeros((1, 3)), [0]), 4) == np.zeros(1)


@pytest.mark.parametrize("degree", [6, 12])
def test_memory_is_that_of_a_few_harmonics(degree: int) -> None:
    """The derivative keeps no step of the recurrence, or it would grow with l."""
    rng = np.random.default_rng(1)
    packing = Packing.of(rng.uniform(size=(600, 3)) * 8, np.zeros(600, dtype=int), np.eye(3) * 8)
    f = bridge.feature(f"steinhardt_{degree}")
    state = state_of(SPHERES, packing, reach=f.reach(SPHERES))
    gradient = jax.jit(jax.grad(lambda x: f.function(SPHERES, replace(state, positions=x))))
    compiled = gradient.lower(jnp.asarray(packing.positions)).compile()
    used = compiled.memory_analysis().temp_size_in_bytes
    assert used < 15 * 8 * (2 * degree + 1) * len(state.pairs.i)


def test_registry() -> None:
    assert bridge.feature("steinhardt_6") is bridge.feature("steinhardt_6")
    assert bridge.feature("steinhardt_6").dimensions == (3,)
    for name in ("steinhardt_4", "steinhardt_4_averaged"):
        assert bridge.feature(name).name == name
        assert bridge.feature(name).differentiable
        assert bridge.feature(f"{name}_sharp").name == f"{name}_sharp"
        assert not bridge.feature(f"{name}_sharp").differentiable
    other = bridge.steinhardt_feature(6, Window(1.2, 1.3, "length"), averaged=True)
    assert other.name == "steinhardt_6_averaged (1.2 to 1.3 length)"
    with pytest.raises(bridge.errors.FeatureError, match="at least 1"):
        bridge.feature("steinhardt_0")


def test_refusals(solid: Packing, theta2: Any) -> None:
    with pytest.raises(InputError, match="bond_order"):
        bridge.steinhardt_order(theta2, solid, 6)
    with pytest.raises(InputError, match="at least 1"):
        bridge.steinhardt_order(SPHERES, SC, 0)
    with pytest.raises(InputError, match="coincide"):
        bridge.steinhardt_order(SPHERES, Packing.of(np.zeros((2, 3)), [0, 0]), 6)
    with pytest.raises(BoxTooSmallError):
        bridge.steinhardt_order(SPHERES, SC, 6, Window(2.5, 2.6))
    with pytest.raises(bridge.errors.FeatureError, match="3"):
        bridge.measure(theta2, solid, ["steinhardt_6"])
