"""Affine deformation, and the linear response to it."""

import itertools
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import Packing
from amorph.bridge.loading.deformation import deformation
from amorph.bridge.loading.strain_response import nonaffine_forces
from amorph.bridge.loading.stress_strain import velocity_gradient
from amorph.handover import BoxTooSmallError, InputError

MODES = ("simple_shear", "pure_shear", "dilation")


# Affine deformation.


@pytest.mark.parametrize("dimension", [2, 3])
def test_distances_are_those_of_the_gradient(
    dimension: int, solid: Packing, solid3: Packing, nearest_pairs: Any
) -> None:
    packing = solid if dimension == 2 else solid3
    rng = np.random.default_rng(1)
    f = np.eye(dimension) + 0.05 * rng.normal(size=(dimension, dimension))
    found = deformation(packing, f)
    new = found.packing
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(dimension), atol=1e-14)
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    assert not np.tril(new.box, -1).any()
    assert new.volume == pytest.approx(packing.volume * np.linalg.det(f), rel=1e-13)
    i, j, vector = nearest_pairs(packing)
    expected = vector @ f.T @ found.rotation
    apart = new.positions[j] - new.positions[i]
    images = (expected - apart) @ np.linalg.inv(new.box).T
    np.testing.assert_allclose(images, np.rint(images), atol=1e-12)
    np.testing.assert_allclose(
        new.box, found.rotation.T @ f @ packing.box @ found.lattice, atol=1e-13
    )


def test_upper_triangular_gradients_do_not_turn(solid: Packing) -> None:
    f = np.array([[1.01, 0.2], [0.0, 0.98]])
    found = deformation(solid, f)
    assert (found.rotation == np.eye(2)).all()
    np.testing.assert_array_equal(found.packing.box, f @ solid.box)
    np.testing.assert_array_equal(found.packing.positions, solid.positions @ f.T)


@pytest.mark.parametrize("dimension", [2, 3])
def test_flips_change_nothing_but_the_box(
    dimension: int, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing
) -> None:
    theta, packing = (theta2, solid) if dimension == 2 else (spheres3, solid3)
    packing = packing.with_positions(packing.positions + 0.3)
    count = np.random.default_rng(3).integers(-5, 6, packing.positions.shape)
    packing = Packing.of(packing.positions, packing.typeid, packing.box, images=count)
    f = np.eye(dimension)
    f[0, 1] = 0.55
    if dimension == 3:
        f[0, 2], f[1, 2] = -0.1, 0.52
    plain = deformation(packing, f, flip=False)
    flipped = deformation(packing, f)
    assert (plain.lattice == np.eye(dimension)).all()
    assert (flipped.lattice != np.eye(dimension)).any()
    assert np.linalg.det(flipped.lattice) == pytest.approx(1)
    lean = flipped.packing.box / np.diagonal(flipped.packing.box)[:, None]
    assert np.abs(np.triu(lean, 1)).max() <= 0.5 + 1e-8
    a, b = plain.packing, flipped.packing
    assert bridge.energy(theta, b) == pytest.approx(bridge.energy(theta, a), rel=1e-13)
    np.testing.assert_allclose(
        bridge.stress(theta, b), bridge.stress(theta, a), rtol=1e-11, atol=1e-12
    )
    np.testing.assert_allclose(
        b.positions + b.images @ b.box.T, a.positions + a.images @ a.box.T, atol=1e-12
    )
    np.testing.assert_array_equal(a.images, count)


def test_a_box_that_leans_too_far(theta2: Any, solid: Packing) -> None:
    shear = [[1.0, 1.2], [0.0, 1.0]]
    with pytest.raises(BoxTooSmallError):
        bridge.energy(theta2, bridge.deform(solid, shear, flip=False))
    flipped = bridge.deform(solid, shear)
    bridge.energy(theta2, flipped)
    # A shear by 1 and back is nothing at all.
    whole = bridge.deform(solid, [[1.0, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(whole.box, solid.box, atol=1e-14)


def test_clusters_are_deformed(solid: Packing) -> None:
    f = np.array([[0.9, 0.1], [0.3, 1.1]])
    cluster = Packing.of(solid.positions, solid.typeid)
    found = deformation(cluster, f)
    assert found.packing.box is None
    np.testing.assert_allclose(found.packing.positions, solid.positions @ f.T, rtol=1e-14)


@pytest.mark.parametrize(
    ("gradient", "message"),
    [
        (np.eye(3), "shape"),
        ([[1.0, np.nan], [0.0, 1.0]], "finite"),
        ([[-1.0, 0.0], [0.0, 1.0]], "determinant"),
        (np.zeros((2, 2)), "determinant"),
        ("shear", "matrix"),
        ([[1.0, 0.0], [1.0]], "matrix"),
    ],
)
def test_impossible_gradients(solid: Packing, gradient: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        bridge.deform(solid, gradient)


# Linear response.


def random_strain(d: int, seed: int = 0) -> np.ndarray:
    matrix = np.random.default_rng(seed).normal(size=(d, d))
    return matrix + matrix.T


@pytest.mark.parametrize(
    "which", ["solid", "solid3", pytest.param("loose", marks=pytest.mark.slow)]
)
def test_nonaffine_forces_and_displacements(which: str, request: Any) -> None:
    if which == "loose":
        theta, packing = request.getfixturevalue("loose")
    else:
        theta = request.getfixturevalue({"solid": "theta2", "solid3": "spheres3"}[which])
        packing = request.getfixturevalue(which)
    d = packing.dimension
    strain = random_strain(d)
    force = nonaffine_forces(theta, packing, strain)
    move = bridge.nonaffine_displacement(theta, packing, strain)
    scale = np.abs(force).max()
    rattlers = bridge.response(theta, packing).rattlers
    assert rattlers.any() == (which == "loose")
    # Acoustic sum rule, and no motion as a whole.
    assert np.abs(force.sum(0)).max() < 1e-12 * scale * len(force)
    assert np.abs(move.sum(0)).max() < 1e-10 * np.abs(move).max() * len(force)
    assert not force[rattlers].any()
    assert not move[rattlers].any()
    held = np.repeat(~rattlers, d)
    hessian = bridge.hessian(theta, packing)[np.ix_(held, held)]
    np.testing.assert_allclose(hessian @ move.ravel()[held], force.ravel()[held], atol=1e-9 * scale)
    # The forces are what an affine strain raises.
    h = 1e-6
    sides = []
    for t in (h, -h):
        strained = deformation(packing, np.eye(d) + t * strain)
        sides.append(bridge.forces(theta, strained.packing) @ strained.rotation.T)
    np.testing.assert_allclose(
        ((sides[0] - sides[1]) / (2 * h))[~rattlers], force[~rattlers], atol=1e-5 * scale
    )
    # A rotation moves no particle against another; a simple shear is half a pure one.
    turn = np.triu(np.ones((d, d)), 1)
    assert np.abs(nonaffine_forces(theta, packing, turn - turn.T)).max() < 1e-11 * scale
    np.testing.assert_allclose(
        bridge.nonaffine_displacement(theta, packing, turn),
        bridge.nonaffine_displacement(theta, packing, 0.5 * (turn + turn.T)),
        atol=1e-10,
    )


@pytest.mark.parametrize("dimension", [2, 3])
def test_displacements_against_finite_strain(
    dimension: int, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing, classes: Any
) -> None:
    theta, packing = (theta2, solid) if dimension == 2 else (spheres3, solid3)
    before = classes(theta, packing)
    for seed in range(20):
        strain = random_strain(dimension, seed)
        expected = bridge.nonaffine_displacement(theta, packing, strain)
        found, crossed = [], False
        for h in (1e-6, 2e-6):
            sides = []
            for t in (h, -h):
                strained = deformation(packing, np.eye(dimension) + t * strain)
                relaxed = bridge.relax(theta, strained.packing)
                crossed |= bool((classes(theta, relaxed) != before).any())
                sides.append((relaxed.positions - strained.packing.positions) @ strained.rotation.T)
            found.append((sides[0] - sides[1]) / (2 * h))
        if crossed:
            continue
        scale = np.abs(expected).max()
        assert np.abs(found[0] - found[1]).max() < 1e-5 * scale
        assert np.abs(found[0] - found[0].mean(0) - expected).max() < 1e-5 * scale
        return
    pytest.fail("pairs cross under every strain")


def test_against_matscipy(spheres3: Any, solid3: Packing) -> None:
    """The Hessian, the non-affine forces, and the coefficients of the stress in three parts."""
    pytest.importorskip("matscipy")
    ase = pytest.importorskip("ase")
    from matscipy.calculators.pair_potential import PairPotential
    from matscipy.calculators.pair_potential.calculator import CutoffInteraction

    class Harmonic(CutoffInteraction):  # type: ignore[misc]
        def __init__(self, stiffness: float, sigma: float) -> None:
            super().__init__(sigma)
            self.k, self.sigma = stiffness, sigma

        def __call__(self, r: Any, *_: Any) -> Any:
            return 0.5 * self.k * (1 - r / self.sigma) ** 2

        def first_derivative(self, r: Any, *_: Any) -> Any:
            return -self.k / self.sigma * (1 - r / self.sigma)

        def second_derivative(self, r: Any, *_: Any) -> Any:
            return np.full_like(r, self.k / self.sigma**2)

    pair = spheres3.of_types()
    interactions = {
        (a + 1, b + 1): Harmonic(pair["stiffness"][a, b], pair["sigma"][a, b])
        for a, b in itertools.combinations_with_replacement(range(2), 2)
    }
    assert not bridge.response(spheres3, solid3).rattlers.any()
    packing = solid3.wrapped()
    atoms = ase.Atoms(
        numbers=packing.typeid + 1, positions=packing.positions, cell=packing.box.T, pbc=True
    )
    atoms.calc = PairPotential(interactions)
    assert atoms.get_potential_energy() == pytest.approx(bridge.energy(spheres3, solid3), rel=1e-12)
    theirs = atoms.calc.get_property("hessian", atoms).toarray()
    np.testing.assert_allclose(
        bridge.hessian(spheres3, packing), theirs, atol=1e-12 * np.abs(theirs).max()
    )
    theirs = atoms.calc.get_property("nonaffine_forces", atoms)  # (N, component, strain)
    strain = random_strain(3)
    ours = nonaffine_forces(spheres3, solid3, strain)
    expected = np.einsum("icab,ab->ic", theirs, strain)
    np.testing.assert_allclose(ours, expected, atol=1e-10 * np.abs(expected).max())
    tight = {"x0": None, "rtol": 1e-12, "maxiter": None, "M": None, "atol": 1e-12, "callback": None}
    theirs = atoms.calc.get_elastic_constants(atoms, cg_parameters=tight)
    tangent = bridge.tangent_stiffness(
        bridge.elastic_tensor(spheres3, solid3), bridge.stress(spheres3, solid3)
    )
    birch = 0.5 * (tangent + tangent.transpose(0, 1, 3, 2))
    scale = np.abs(birch).max()
    assert np.abs(birch - theirs).max() < 1e-8 * scale
    # It matters: without the stress they differ.
    assert np.abs(bridge.elastic_tensor(spheres3, solid3) - theirs).max() > 0.05 * scale


TENSE = {
    2: (bridge.HarmonicMorse([0.85, 1.1], [0.1, 0.15, 0.08], [5.0, 6.0, 4.5], 9.0), 48, 1.15),
    3: (bridge.HarmonicMorse([0.9, 1.1], 0.1, 5.0, 14.0), 96, 1.0),
}


@pytest.mark.parametrize(
    ("dimension", "tense"),
    [(2, False), (2, True), (3, False), pytest.param(3, True, marks=pytest.mark.slow)],
)
def test_slope_is_the_corrected_tensor(
    dimension: int, tense: bool, theta2: Any, spheres3: Any, minima: Any
) -> None:
    """All components of dσ, in all three modes, by two step sizes and without a step."""
    theta, n, density = (theta2, 48, 1.4) if dimension == 2 else (spheres3, 40, 1.6)
    if tense:
        theta, n, density = TENSE[dimension]
    modes = list(MODES)
    for packing in minima(theta, n, density, dimension):
        sigma = bridge.stress(theta, packing)
        assert (np.trace(sigma) > 0) == tense
        tensor = bridge.elastic_tensor(theta, packing)
        tangent = bridge.tangent_stiffness(tensor, sigma)
        for mode in list(modes):
            rate = velocity_gradient(mode, dimension)
            slopes, crossed, conjugate = [], 0, []
            for h in (2e-6, 4e-6):
                sides = [
                    bridge.stress_strain(theta, packing, mode, max_strain=s, step=h, check=False)
                    for s in (h, -h)
                ]
                crossed += sum(side.contact_changes.sum() for side in sides)
                slopes.append((sides[0].stress[1] - sides[1].stress[1]) / (2 * h))
                conjugate.append((sides[0].conjugate[1] - sides[1].conjugate[1]) / (2 * h))
            if crossed:
                continue
            expected = np.einsum("ijkl,kl", tangent, rate)
            scale = np.abs(expected).max()
            assert np.abs(slopes[0] - slopes[1]).max() < 4e-6 * scale
            assert np.abs(slopes[0] - expected).max() < 1e-6 * scale
            # Error h²: it goes where the step goes.
            assert np.abs((4 * slopes[0] - slopes[1]) / 3 - expected).max() < 1e-8 * scale
            assert sides[0].tangent[0] == pytest.approx(np.sum(expected * rate), rel=1e-12)
            assert conjugate[0] == pytest.approx(sides[0].tangent[0], rel=1e-6)
            # It could fail: the tensor alone is a few per cent off.
            assert np.abs(slopes[0] - np.einsum("ijkl,kl", tensor, rate)).max() > 1e-2 * scale
            modes.remove(mode)
        if not modes:
            return
    pytest.fail(f"pairs cross in every packing in {modes}")


def test_tangent_under_pressure_alone() -> None:
    """-V dp/dV = B + (d - 1) p/d; shear moduli G - p/2; a turn of isotropic stress is nothing."""
    for d in (2, 3):
        bulk, shear, pressure = 3.0, 1.2, 0.7
        one = np.eye(d)
        tensor = (bulk - 2 * shear / d) * np.einsum("ij,kl->ijkl", one, one) + shear * (
            np.einsum("ik,jl->ijkl", one, one) + np.einsum("il,jk->ijkl", one, one)
        )
        tangent = bridge.tangent_stiffness(tensor, -pressure * one)
        assert np.einsum("iijj", tangent) / d**2 == pytest.approx(bulk + (d - 1) * pressure / d)
        assert tangent[0, 1, 0, 1] == pytest.approx(shear - pressure / 2)
        assert tangent[0, 1, 1, 0] == pytest.approx(shear - pressure / 2)
    with pytest.raises(InputError, match="shape"):
        bridge.tangent_stiffness(tensor, np.eye(2))
    with pytest.raises(InputError, match="finite"):
        bridge.tangent_stiffness(tensor, np.full((3, 3), np.nan))
    with pytest.raises(InputError, match="shape"):
        bridge.tangent_stiffness(tensor, np.eye(4))


def test_linear_response_needs_rest_and_a_box(theta2: Any, solid: Packing) -> None:
    shaken = solid.with_positions(solid.positions + 0.01 * np.sin(np.arange(96.0)).reshape(-1, 2))
    for function in (bridge.nonaffine_displacement, nonaffine_forces):
        with pytest.raises(bridge.errors.NotAMinimumError, match="relax"):
            function(theta2, shaken, np.eye(2))
        with pytest.raises(InputError, match="volume"):
            function(theta2, Packing.of(solid.positions, solid.typeid), np.eye(2))
        with pytest.raises(InputError, match="shape"):
            function(theta2, solid, np.eye(3))
