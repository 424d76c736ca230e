"""Affine deformation, linear response to it, and stress-strain curves."""

import itertools
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import Packing
from amorph.handover import BoxTooSmallError, InputError

MODES = ("simple_shear", "pure_shear", "dilation")


@pytest.fixture(scope="module")
def sheared(theta2: Any, solid: Packing) -> bridge.StressStrain:
    """A curve with a plastic event or more, and contacts that change."""
    return bridge.stress_strain(solid, theta2, max_strain=0.12, step=2e-3, keep=True)


@pytest.fixture(scope="module")
def elastic(theta2: Any, solid: Packing) -> bridge.StressStrain:
    """A curve without an event."""
    found = bridge.stress_strain(solid, theta2, max_strain=-0.01, step=1e-3, keep=True)
    assert not found.events
    return found


@pytest.fixture(scope="module")
def loose(references: Any) -> tuple[Packing, Any]:
    """Soft spheres near jamming, with rattlers."""
    packing, theta, _ = references["soft2d_n128_rattlers_s12"]
    packing = bridge.relax(packing, theta)
    assert bridge.response(packing, theta).rattlers.sum() == 4
    return packing, theta


# Affine deformation.


@pytest.mark.parametrize("dimension", [2, 3])
def test_distances_are_those_of_the_gradient(
    dimension: int, solid: Packing, solid3: Packing, nearest_pairs: Any
) -> None:
    packing = solid if dimension == 2 else solid3
    rng = np.random.default_rng(1)
    f = np.eye(dimension) + 0.05 * rng.normal(size=(dimension, dimension))
    found = bridge.deformation(packing, f)
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
    found = bridge.deformation(solid, f)
    assert (found.rotation == np.eye(2)).all()
    np.testing.assert_array_equal(found.packing.box, f @ solid.box)
    np.testing.assert_array_equal(found.packing.positions, solid.positions @ f.T)


@pytest.mark.parametrize("dimension", [2, 3])
def test_flips_change_nothing_but_the_box(
    dimension: int, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing
) -> None:
    packing, theta = (solid, theta2) if dimension == 2 else (solid3, spheres3)
    packing = packing.with_positions(packing.positions + 0.3)
    count = np.random.default_rng(3).integers(-5, 6, packing.positions.shape)
    packing = Packing.of(packing.positions, packing.typeid, packing.box, images=count)
    f = np.eye(dimension)
    f[0, 1] = 0.55
    if dimension == 3:
        f[0, 2], f[1, 2] = -0.1, 0.52
    plain = bridge.deformation(packing, f, flip=False)
    flipped = bridge.deformation(packing, f)
    assert (plain.lattice == np.eye(dimension)).all()
    assert (flipped.lattice != np.eye(dimension)).any()
    assert np.linalg.det(flipped.lattice) == pytest.approx(1)
    lean = flipped.packing.box / np.diagonal(flipped.packing.box)[:, None]
    assert np.abs(np.triu(lean, 1)).max() <= 0.5 + 1e-8
    a, b = plain.packing, flipped.packing
    assert bridge.energy(b, theta) == pytest.approx(bridge.energy(a, theta), rel=1e-13)
    np.testing.assert_allclose(
        bridge.stress(b, theta), bridge.stress(a, theta), rtol=1e-11, atol=1e-12
    )
    np.testing.assert_allclose(
        b.positions + b.images @ b.box.T, a.positions + a.images @ a.box.T, atol=1e-12
    )
    np.testing.assert_array_equal(a.images, count)


def test_a_box_that_leans_too_far(theta2: Any, solid: Packing) -> None:
    shear = [[1.0, 1.2], [0.0, 1.0]]
    with pytest.raises(BoxTooSmallError):
        bridge.energy(bridge.deform(solid, shear, flip=False), theta2)
    flipped = bridge.deform(solid, shear)
    bridge.energy(flipped, theta2)
    # A shear by 1 and back is nothing at all.
    whole = bridge.deform(solid, [[1.0, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(whole.box, solid.box, atol=1e-14)


def test_clusters_are_deformed(solid: Packing) -> None:
    f = np.array([[0.9, 0.1], [0.3, 1.1]])
    cluster = Packing.of(solid.positions, solid.typeid)
    found = bridge.deformation(cluster, f)
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
        packing, theta = request.getfixturevalue("loose")
    else:
        theta = request.getfixturevalue({"solid": "theta2", "solid3": "spheres3"}[which])
        packing = request.getfixturevalue(which)
    d = packing.dimension
    strain = random_strain(d)
    force = bridge.nonaffine_forces(packing, theta, strain)
    move = bridge.nonaffine_displacement(packing, theta, strain)
    scale = np.abs(force).max()
    rattlers = bridge.response(packing, theta).rattlers
    assert rattlers.any() == (which == "loose")
    # Acoustic sum rule, and no motion as a whole.
    assert np.abs(force.sum(0)).max() < 1e-12 * scale * len(force)
    assert np.abs(move.sum(0)).max() < 1e-10 * np.abs(move).max() * len(force)
    assert not force[rattlers].any()
    assert not move[rattlers].any()
    held = np.repeat(~rattlers, d)
    hessian = bridge.hessian(packing, theta)[np.ix_(held, held)]
    np.testing.assert_allclose(hessian @ move.ravel()[held], force.ravel()[held], atol=1e-9 * scale)
    # The forces are what an affine strain raises.
    h = 1e-6
    sides = []
    for t in (h, -h):
        strained = bridge.deformation(packing, np.eye(d) + t * strain)
        sides.append(bridge.forces(strained.packing, theta) @ strained.rotation.T)
    np.testing.assert_allclose(
        ((sides[0] - sides[1]) / (2 * h))[~rattlers], force[~rattlers], atol=1e-5 * scale
    )
    # A rotation moves no particle against another; a simple shear is half a pure one.
    turn = np.triu(np.ones((d, d)), 1)
    assert np.abs(bridge.nonaffine_forces(packing, theta, turn - turn.T)).max() < 1e-11 * scale
    np.testing.assert_allclose(
        bridge.nonaffine_displacement(packing, theta, turn),
        bridge.nonaffine_displacement(packing, theta, 0.5 * (turn + turn.T)),
        atol=1e-10,
    )


@pytest.mark.parametrize("dimension", [2, 3])
def test_displacements_against_finite_strain(
    dimension: int, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing, classes: Any
) -> None:
    packing, theta = (solid, theta2) if dimension == 2 else (solid3, spheres3)
    before = classes(packing, theta)
    for seed in range(20):
        strain = random_strain(dimension, seed)
        expected = bridge.nonaffine_displacement(packing, theta, strain)
        found, crossed = [], False
        for h in (1e-6, 2e-6):
            sides = []
            for t in (h, -h):
                strained = bridge.deformation(packing, np.eye(dimension) + t * strain)
                relaxed = bridge.relax(strained.packing, theta)
                crossed |= bool((classes(relaxed, theta) != before).any())
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
    assert not bridge.response(solid3, spheres3).rattlers.any()
    packing = solid3.wrapped()
    atoms = ase.Atoms(
        numbers=packing.typeid + 1, positions=packing.positions, cell=packing.box.T, pbc=True
    )
    atoms.calc = PairPotential(interactions)
    assert atoms.get_potential_energy() == pytest.approx(bridge.energy(solid3, spheres3), rel=1e-12)
    theirs = atoms.calc.get_property("hessian", atoms).toarray()
    np.testing.assert_allclose(
        bridge.hessian(packing, spheres3), theirs, atol=1e-12 * np.abs(theirs).max()
    )
    theirs = atoms.calc.get_property("nonaffine_forces", atoms)  # (N, component, strain)
    strain = random_strain(3)
    ours = bridge.nonaffine_forces(solid3, spheres3, strain)
    expected = np.einsum("icab,ab->ic", theirs, strain)
    np.testing.assert_allclose(ours, expected, atol=1e-10 * np.abs(expected).max())
    tight = {"x0": None, "rtol": 1e-12, "maxiter": None, "M": None, "atol": 1e-12, "callback": None}
    theirs = atoms.calc.get_elastic_constants(atoms, cg_parameters=tight)
    tangent = bridge.tangent_stiffness(
        bridge.elastic_tensor(solid3, spheres3), bridge.stress(solid3, spheres3)
    )
    birch = 0.5 * (tangent + tangent.transpose(0, 1, 3, 2))
    scale = np.abs(birch).max()
    assert np.abs(birch - theirs).max() < 1e-8 * scale
    # It matters: without the stress they differ.
    assert np.abs(bridge.elastic_tensor(solid3, spheres3) - theirs).max() > 0.05 * scale


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
        sigma = bridge.stress(packing, theta)
        assert (np.trace(sigma) > 0) == tense
        tensor = bridge.elastic_tensor(packing, theta)
        tangent = bridge.tangent_stiffness(tensor, sigma)
        for mode in list(modes):
            rate = bridge.velocity_gradient(mode, dimension)
            slopes, crossed, conjugate = [], 0, []
            for h in (2e-6, 4e-6):
                sides = [
                    bridge.stress_strain(packing, theta, mode, max_strain=s, step=h, check=False)
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
    for function in (bridge.nonaffine_displacement, bridge.nonaffine_forces):
        with pytest.raises(bridge.NotAMinimumError, match="relax"):
            function(shaken, theta2, np.eye(2))
        with pytest.raises(InputError, match="volume"):
            function(Packing.of(solid.positions, solid.typeid), theta2, np.eye(2))
        with pytest.raises(InputError, match="shape"):
            function(solid, theta2, np.eye(3))


# Stress-strain curves.


def test_the_curve_starts_at_the_packing(sheared: Any, theta2: Any, solid: Packing) -> None:
    n = 61
    assert sheared.complete
    np.testing.assert_allclose(sheared.strain, 2e-3 * np.arange(n), rtol=1e-12)
    assert sheared.strain[-1] == 0.12
    for name in ("energy", "volume", "pressure", "conjugate", "tangent", "rattlers", "plastic"):
        assert getattr(sheared, name).shape == (n,)
    assert sheared.stress.shape == (n, 2, 2)
    assert sheared.energy[0] == pytest.approx(bridge.energy(solid, theta2), rel=1e-13)
    assert len(sheared.packings) == n
    assert (sheared.max_force <= bridge.default_tolerance(solid, theta2)).all()
    for k in (0, 17, 60):
        packing = sheared.packings[k]
        assert bridge.energy(packing, theta2) == pytest.approx(sheared.energy[k], rel=1e-13)
        np.testing.assert_allclose(bridge.stress(packing, theta2), sheared.stress[k], atol=1e-13)
        np.testing.assert_allclose(
            packing.box, bridge.deform(solid, [[1, sheared.strain[k]], [0, 1]]).box, atol=1e-12
        )
        assert sheared.conjugate[k] == pytest.approx(sheared.stress[k][0, 1])
        assert sheared.pressure[k] == pytest.approx(-np.trace(sheared.stress[k]) / 2)
    assert sheared.nonaffine_squared[0] == sheared.contact_changes[0] == 0
    assert (sheared.nonaffine_squared[1:] > 0).all()


def test_contact_changes_and_nonaffine_motion(elastic: Any, theta2: Any, classes: Any) -> None:
    for k in range(1, len(elastic.strain)):
        before, after = elastic.packings[k - 1 : k + 1]
        expected = (classes(before, theta2) != classes(after, theta2)).sum()
        assert elastic.contact_changes[k] == expected
        f = np.eye(2)
        f[0, 1] = elastic.strain[k] - elastic.strain[k - 1]
        u = after.positions - before.positions @ f.T
        u = u - u.mean(0)
        assert elastic.nonaffine_squared[k] == pytest.approx(np.mean(np.sum(u**2, 1)), rel=1e-6)
    assert elastic.contact_changes.sum() > 0
    # And the first step is nearly the linear response.
    linear = bridge.nonaffine_displacement(elastic.packings[0], theta2, [[0, -1e-3], [0, 0]])
    assert elastic.nonaffine_squared[1] == pytest.approx(np.mean(np.sum(linear**2, 1)), rel=0.2)


def integral(curve: bridge.StressStrain, first: int, last: int) -> float:
    """∫ V σ:L ds, corrected at the ends of each step by its derivative."""
    v, s, t = curve.volume, curve.conjugate, curve.tangent
    power = v * s
    slope = v * (t + np.trace(curve.velocity_gradient) * s)
    h = np.diff(curve.strain)
    parts = h / 2 * (power[1:] + power[:-1]) + h**2 / 12 * (slope[:-1] - slope[1:])
    return float(parts[first:last].sum())


@pytest.mark.parametrize("mode", [*MODES, "matrix"])
@pytest.mark.parametrize("dimension", [2, 3])
def test_work_is_energy(
    dimension: int, mode: Any, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing
) -> None:
    """∫ V σ:L ds is the change of the energy; sharply where no pair crosses."""
    packing, theta = (solid, theta2) if dimension == 2 else (solid3, spheres3)
    if mode == "matrix":  # which turns the box
        mode = np.array([[0.3, -0.2, 0.1], [0.9, 0.1, 0.4], [-0.5, 0.6, 0.2]])[
            :dimension, :dimension
        ]
    curve = bridge.stress_strain(packing, theta, mode, max_strain=-4e-3, step=2.5e-4, check=False)
    change = np.diff(curve.energy)
    work = np.array([integral(curve, k, k + 1) for k in range(len(change))])
    # Up to the first event, short of the step before it: there the stress turns as the root of
    # the distance.
    quiet = np.cumsum(np.append(curve.plastic[2:], False)) == 0
    smooth = (curve.contact_changes[1:] == 0) & quiet
    scale = np.abs(change).max()
    assert smooth.sum() >= 4
    assert np.abs(work - change)[smooth].max() < 1e-7 * scale
    assert work[quiet].sum() == pytest.approx(change[quiet].sum(), rel=1e-4)
    without = np.diff(curve.strain) * (curve.volume * curve.conjugate)[:-1]
    assert np.abs(without - change)[smooth].max() > 1e-5 * scale


@pytest.mark.parametrize("dimension", [2, 3])
def test_stress_is_the_derivative_of_the_energy(
    dimension: int, theta2: Any, sheared: Any, spheres3: Any, solid3: Packing
) -> None:
    if dimension == 2:
        packing, theta, sigma = sheared.packings[40], theta2, sheared.stress[40]
    else:
        theta = spheres3
        curve = bridge.stress_strain(solid3, theta, max_strain=4e-3, step=2e-3)
        packing, sigma = curve.final, curve.stress[-1]
    h = 1e-5
    for a, b in itertools.combinations_with_replacement(range(dimension), 2):
        strain = np.zeros((dimension, dimension))
        strain[a, b] += 0.5
        strain[b, a] += 0.5
        strained = [bridge.deform(packing, np.eye(dimension) + t * strain) for t in (h, -h)]
        energies = [bridge.energy(bridge.relax(p, theta), theta) for p in strained]
        slope = (energies[0] - energies[1]) / (2 * h) / packing.volume
        assert slope == pytest.approx(sigma[a, b], abs=1e-7)


def test_events_are_found_where_they_are(sheared: Any, theta2: Any, solid: Packing) -> None:
    assert sheared.events
    assert sheared.plastic.any()
    for event in sheared.events:
        k = int(np.searchsorted(sheared.strain, event.strain))
        assert sheared.plastic[k]
        assert 0 < event.resolution <= 2e-3 / 256 * 1.001
        assert event.energy_drop > 0
        assert 1 / 48 <= event.participation_ratio <= 1
        assert event.displacement.shape == (48, 2)
        assert np.abs(event.displacement.mean(0)).max() < 1e-10
        assert event.stress_drop == pytest.approx(
            event.stress_before[0, 1] - event.stress_after[0, 1]
        )
    first = sheared.events[0]
    # Up to there the way is elastic, and leads back.
    below = first.strain - 1.01 * first.resolution
    there = bridge.stress_strain(solid, theta2, max_strain=below, step=2e-3)
    assert not there.events
    back = bridge.stress_strain(there.final, theta2, max_strain=-below, step=2e-3)
    assert not back.events
    np.testing.assert_allclose(back.final.positions, solid.positions, atol=1e-8)
    # A finer look and other steps find it at the same place.
    beyond = first.strain + first.resolution
    finer = bridge.stress_strain(
        solid, theta2, max_strain=beyond, step=1.3e-3, resolution=first.resolution / 16
    )
    (same,) = finer.events
    assert abs(same.strain - first.strain) <= 1.3 * first.resolution
    assert same.energy_drop == pytest.approx(first.energy_drop, rel=1e-2)
    assert same.participation_ratio == pytest.approx(first.participation_ratio, rel=0.05)
    # From behind it the way does not lead back.
    away = bridge.stress_strain(finer.final, theta2, max_strain=-beyond, step=2e-3)
    gone = away.final.positions - solid.positions
    assert np.abs(gone - gone.mean(0)).max() > 1e-2


def test_energy_balance_over_events(sheared: Any) -> None:
    """U changes by the work, less what the events dissipate."""
    quiet = ~sheared.plastic[1:]
    n = len(quiet)
    work = np.array([integral(sheared, k, k + 1) for k in range(n)])
    change = np.diff(sheared.energy)
    assert np.abs(work - change)[quiet].max() < 1e-3 * np.abs(change).max()
    # Across an event, by the stresses before and after it.
    for k in np.flatnonzero(sheared.plastic[1:]):
        inside = [
            e for e in sheared.events if sheared.strain[k] < e.strain <= sheared.strain[k + 1]
        ]
        at, stress = [sheared.strain[k]], [sheared.conjugate[k]]
        for e in inside:
            at += [e.strain, e.strain]
            stress += [e.stress_before[0, 1], e.stress_after[0, 1]]
        at, stress = [*at, sheared.strain[k + 1]], [*stress, sheared.conjugate[k + 1]]
        done = sheared.volume[k] * np.trapezoid(stress, at)
        lost = sum(e.energy_drop for e in inside)
        assert change[k] == pytest.approx(done - lost, abs=0.05 * lost)


def test_elastic_ways_lead_back(elastic: Any, theta2: Any, solid: Packing) -> None:
    """Contacts change on the way; that is no event."""
    back = bridge.stress_strain(elastic.final, theta2, max_strain=0.01, step=2.5e-3)
    assert not back.events
    np.testing.assert_allclose(back.final.positions, solid.positions, atol=1e-9)
    assert back.energy[-1] == pytest.approx(elastic.energy[0], rel=1e-12)
    np.testing.assert_allclose(back.final.box, solid.box, atol=1e-14)


def test_steps_do_not_matter(elastic: Any, theta2: Any, solid: Packing) -> None:
    for step, check in ((3e-3, True), (-1e-2, False)):
        other = bridge.stress_strain(solid, theta2, max_strain=-0.01, step=step, check=check)
        assert len(other.strain) == (5 if step > 0 else 2)
        assert other.energy[-1] == pytest.approx(elastic.energy[-1], rel=1e-12)
        np.testing.assert_allclose(other.stress[-1], elastic.stress[-1], atol=1e-10)


def test_other_vectors_of_the_lattice_and_a_flip_on_the_way(theta2: Any, solid: Packing) -> None:
    """A box that starts just below half its tilt is replaced on the way; nothing else changes."""
    leaning = bridge.deform(solid, [[1.0, 0.497], [0.0, 1.0]])
    leaning = bridge.relax(leaning, theta2)
    combination = np.array([[1.0, -1.0], [0.0, 1.0]])
    other = Packing(leaning.positions, leaning.typeid, leaning.box @ combination)
    assert other.box[0, 1] < 0 < leaning.box[0, 1]
    a = bridge.stress_strain(leaning, theta2, max_strain=0.006, step=2e-3)
    b = bridge.stress_strain(other, theta2, max_strain=0.006, step=2e-3)
    assert a.final.box[0, 1] < 0
    assert len(a.events) == len(b.events)
    np.testing.assert_allclose(a.energy, b.energy, rtol=1e-11)
    np.testing.assert_allclose(a.stress, b.stress, atol=1e-10)
    np.testing.assert_allclose(a.tangent, b.tangent, atol=1e-7)
    np.testing.assert_array_equal(a.contact_changes, b.contact_changes)
    np.testing.assert_allclose(a.nonaffine_squared, b.nonaffine_squared, rtol=1e-6)


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_turned_box_is_in_the_frame_of_the_gradient(
    dimension: int, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing
) -> None:
    """y sheared along x is x sheared along y with the axes exchanged."""
    packing, theta = (solid, theta2) if dimension == 2 else (solid3, spheres3)
    order = [1, 0, 2][:dimension]
    mirrored = Packing(packing.positions[:, order], packing.typeid, packing.box)
    assert packing.box[0, 0] == packing.box[1, 1]
    rate = np.zeros((dimension, dimension))
    rate[1, 0] = 1.0
    a = bridge.stress_strain(packing, theta, "simple_shear", max_strain=4e-3, step=1e-3)
    b = bridge.stress_strain(mirrored, theta, rate, max_strain=4e-3, step=1e-3)
    assert (b.final.box != a.final.box).any()
    np.testing.assert_allclose(a.energy, b.energy, rtol=1e-10)
    np.testing.assert_allclose(a.conjugate, b.conjugate, atol=1e-9)
    np.testing.assert_allclose(a.tangent, b.tangent, rtol=1e-6)
    np.testing.assert_allclose(a.stress, b.stress[:, order][:, :, order], atol=1e-9)
    np.testing.assert_allclose(a.nonaffine_squared, b.nonaffine_squared, rtol=1e-6)


def test_rattlers_are_neither_motion_nor_events(loose: Any) -> None:
    packing, theta = loose
    rattlers = bridge.response(packing, theta).rattlers
    curve = bridge.stress_strain(packing, theta, max_strain=2e-5, step=1e-5)
    assert curve.rattlers[0] == 4
    assert not curve.events
    # Elsewhere in their cages they make no difference.
    for shift in (1e-4, -1e-4):
        moved = packing.with_positions(packing.positions + shift * rattlers[:, None])
        moved = bridge.relax(moved, theta)
        other = bridge.stress_strain(moved, theta, max_strain=2e-5, step=1e-5)
        np.testing.assert_allclose(other.energy, curve.energy, rtol=1e-9)
        np.testing.assert_allclose(other.nonaffine_squared, curve.nonaffine_squared, rtol=1e-5)
        np.testing.assert_array_equal(other.contact_changes, curve.contact_changes)
        assert not other.events


# Failures.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "shear"}, "there is no mode 'shear'"),
        ({"mode": np.zeros((2, 2))}, "zero"),
        ({"mode": np.eye(3)}, "shape"),
        ({"mode": [[0.0, np.nan], [0.0, 0.0]]}, "finite"),
        ({"max_strain": np.nan}, "max_strain = nan"),
        ({"max_strain": 0.0}, "max_strain = 0.0"),
        ({"max_strain": np.inf}, "max_strain = inf"),
        ({"step": 0.0}, "step = 0.0"),
        ({"step": np.nan}, "step = nan"),
        ({"step": -1e-3}, "leads away"),
        ({"step": 1e-12}, "more than 1,000,000 steps"),
        ({"resolution": 0.0}, "resolution"),
        ({"resolution": 1.0}, "resolution"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"mode": "dilation", "max_strain": -500.0, "step": 100.0}, "beyond what numbers|wide"),
    ],
)
def test_what_is_refused_before_work(
    theta2: Any, solid: Packing, change: dict, message: str
) -> None:
    called: list[float] = []
    given = {"mode": "simple_shear", "max_strain": 0.01, "step": 1e-3, **change}
    with pytest.raises(InputError, match=message):
        bridge.stress_strain(solid, theta2, callback=lambda s, _: called.append(s), **given)
    assert not called


def test_narrow_boxes_are_found_before_work(theta2: Any, solid: Packing) -> None:
    called: list[float] = []
    for mode, strain in (("pure_shear", 0.5), ("pure_shear", -0.5), ("dilation", -0.5)):
        with pytest.raises(BoxTooSmallError, match=f"at strain .*{strain:.1g}"):
            bridge.stress_strain(
                solid, theta2, mode, max_strain=strain, step=0.5,
                callback=lambda s, _: called.append(s),
            )  # fmt: skip
    assert not called


def test_packings_that_cannot_start(theta2: Any, solid: Packing, spheres3: Any) -> None:
    shaken = solid.with_positions(solid.positions + 0.01 * np.sin(np.arange(96.0)).reshape(-1, 2))
    with pytest.raises(bridge.NotAMinimumError, match="relax"):
        bridge.stress_strain(shaken, theta2, max_strain=0.01, step=1e-3)
    with pytest.raises(InputError, match="volume"):
        bridge.stress_strain(
            Packing.of(solid.positions, solid.typeid), theta2, max_strain=0.01, step=1e-3
        )
    gas = Packing.of([[0.0, 0, 0], [2.0, 2, 2]], [0, 0], np.eye(3) * 5)
    with pytest.raises(bridge.SingularHessianError, match="below jamming"):
        bridge.stress_strain(gas, spheres3, max_strain=0.01, step=1e-3)


def test_what_was_computed_is_not_lost() -> None:
    """Dilated until nothing holds it: the curve up to there comes with the error."""
    theta = bridge.SoftSphere(diameters=[1.0], stiffness=4.0)
    side, height = 0.95, 0.95 * np.sqrt(3)
    corners = np.array([[0, 0], [side / 2, height / 2]])
    cells = np.array([[i * side, j * height] for i in range(4) for j in range(2)])
    x = (cells[:, None] + corners).reshape(-1, 2)
    crystal = Packing.of(x, np.zeros(16, dtype=int), np.diag([4 * side, 2 * height]))
    lost = -np.log(0.95)
    with pytest.raises(bridge.DeformationError, match="could be deformed to") as caught:
        bridge.stress_strain(crystal, theta, "dilation", max_strain=0.1, step=1e-2)
    result = caught.value.result
    assert isinstance(caught.value.__cause__, bridge.SingularHessianError)
    assert not result.complete
    np.testing.assert_allclose(result.strain, 1e-2 * np.arange(1 + int(lost / 1e-2)), atol=1e-15)
    assert len(result.energy) == len(result.stress) == len(result.plastic) == len(result.strain)
    assert result.final.volume == pytest.approx(result.volume[-1])
    assert f"{lost:.4f}"[:5] in str(caught.value)


@pytest.mark.slow
def test_a_disordered_packing_is_dilated_until_it_is_lost(loose: Any) -> None:
    packing, theta = loose
    with pytest.raises(bridge.DeformationError, match="could be deformed to") as caught:
        bridge.stress_strain(packing, theta, "dilation", max_strain=0.05, step=2e-3)
    assert isinstance(caught.value.__cause__, bridge.NotAMinimumError | bridge.RelaxationError)
    assert 1 <= len(caught.value.result.strain) < 26
    assert caught.value.result.energy[0] == bridge.energy(packing, theta)


def test_callback_sees_each_packing(theta2: Any, solid: Packing) -> None:
    seen: list[tuple[float, float]] = []
    curve = bridge.stress_strain(
        solid, theta2, max_strain=-3e-3, step=1e-3,
        callback=lambda s, p: seen.append((s, bridge.energy(p, theta2))),
    )  # fmt: skip
    np.testing.assert_allclose([s for s, _ in seen], curve.strain)
    np.testing.assert_allclose([u for _, u in seen], curve.energy, rtol=1e-13)
    assert curve.packings is None
