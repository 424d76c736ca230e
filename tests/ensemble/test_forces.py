"""Energy, forces and stress against NumPy over all pairs and images, and against differences."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amorph import ensemble
from amorph.handover import AmorphError, check_box

INSTRUCTION_SETS = ensemble.instruction_sets()


def pair_matrix(vector: np.ndarray, n: int) -> np.ndarray:
    out = np.zeros((n, n))
    out[np.triu_indices(n)] = vector
    return np.maximum(out, out.T)


def brute_force(theta: Any, x: np.ndarray, typeid: np.ndarray, box: np.ndarray) -> tuple:
    """DESIGN.md's formulas in NumPy, over every pair and every image near enough."""
    n, d = x.shape
    # Brought home first, by fractions: what is nearer than half a width lies one image away at
    # most. Two are tried.
    fractions = x @ np.linalg.inv(box).T
    x = (fractions - np.round(fractions)) @ box.T
    n_types = len(theta["diameters"])
    sigma = np.add.outer(theta["diameters"], theta["diameters"])[typeid][:, typeid] / 2
    spread = {
        k: pair_matrix(theta[k], n_types)[typeid][:, typeid]
        for k in theta.values
        if k != "diameters"
    }
    energy, forces, virial = 0.0, np.zeros_like(x), np.zeros((d, d))
    shells = np.stack(np.meshgrid(*([np.arange(-2, 3)],) * d, indexing="ij"), -1).reshape(-1, d)
    for shell in shells:
        vector = x[:, None] - x[None] + box @ shell
        r = np.sqrt((vector**2).sum(-1))
        there = r > 0 if shell.any() else ~np.eye(n, dtype=bool)
        r = np.where(there, r, 1.0)
        k = spread["stiffness"]
        if theta.potential == "harmonic_morse":
            core, core_slope = k / 2 * (sigma - r) ** 2, -k * (sigma - r)
        else:
            core, core_slope = k / 2 * (1 - r / sigma) ** 2, -k / sigma * (1 - r / sigma)
        if theta.potential == "soft_sphere":
            u, slope = core * (r < sigma), core_slope * (r < sigma)
        else:
            a, b = spread["alpha"], spread["binding"]
            on, cut = sigma + 5 / a, sigma + 9.9 / a
            e = np.exp(-a * np.maximum(r - sigma, 0))
            x_, o, c = r**2, on**2, cut**2
            s = np.where(r < on, 1, (c - x_) ** 2 * (c + 2 * x_ - 3 * o) / (c - o) ** 3)
            s1 = np.where(r < on, 0, 12 * r * (c - x_) * (o - x_) / (c - o) ** 3)
            well, well_slope = b * (e * e - 2 * e), 2 * a * b * (e - e * e)
            inside = r < cut
            u = np.where(r < sigma, core - b, well * s * inside)
            slope = np.where(r < sigma, core_slope, (well_slope * s + well * s1) * inside)
        u, slope = np.where(there, u, 0), np.where(there, slope, 0)
        energy += u.sum() / 2
        forces -= ((slope / r)[..., None] * vector).sum(axis=1)
        virial += np.einsum("ij,ija,ijb->ab", slope / r, vector, vector) / 2
    return energy, forces, virial / np.prod(np.diag(box))


# The neighbours and images do not depend on the potential, and these have a formula above.
BOUNDED = ["harmonic_morse", "harmonic_morse_reduced", "soft_sphere"]

TILTS = {
    "square": np.zeros(3),
    "tilted": np.array([0.45, -0.3, 0.2]),
    "very tilted": np.array([1.9, -1.2, 1.4]),
}


def tight_box(r_cut: float, dimension: int, tilt: np.ndarray, slack: float = 1e-9) -> np.ndarray:
    """A box whose every width is 2 r_cut, and a hair."""
    xy, xz, yz = tilt if dimension == 3 else (tilt[0], 0.0, 0.0)
    width = 2 * r_cut * (1 + slack)
    if dimension == 2:
        box = np.array([[width * np.hypot(1, xy), xy * width], [0, width]])
    else:
        lz, ly = width, width * np.hypot(1, yz)
        lx = width * np.sqrt(1 + xy**2 + (xy * yz - xz) ** 2)
        box = np.array([[lx, xy * ly, xz * lz], [0, ly, yz * lz], [0, 0, lz]])
    check_box(box, r_cut)
    return box


def some_theta(potential: str, n_types: int, parameters: Callable[..., Any]) -> Any:
    rng = np.random.default_rng(n_types)
    pairs = n_types * (n_types + 1) // 2
    values = {"stiffness": rng.uniform(2, 8, pairs)}
    if potential != "soft_sphere":
        values |= {"binding": rng.uniform(0, 0.5, pairs), "alpha": rng.uniform(6, 20, pairs)}
    return parameters(potential, rng.uniform(0.6, 1.2, n_types), **values)


@pytest.mark.parametrize("n_types", [1, 2, 4, 9])
@pytest.mark.parametrize("tilt", list(TILTS))
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("potential", BOUNDED)
def test_against_brute_force(
    potential: str,
    dimension: int,
    tilt: str,
    n_types: int,
    parameters: Callable[..., Any],
) -> None:
    theta = some_theta(potential, n_types, parameters)
    r_cut = ensemble.engine.tables(theta).r_cut.max()
    n = 23 if dimension == 2 else 31  # no whole number of packs
    rng = np.random.default_rng(5)
    typeid = rng.permutation(np.arange(n) % n_types)
    tight = tight_box(r_cut, dimension, TILTS[tilt])
    boxes = np.stack([tight, 1.3 * tight, 2.9 * tight])
    # Different replicas, with particles up to three boxes away.
    x = np.stack([(rng.uniform(-0.5, 0.5, (n, dimension))) @ box.T for box in boxes])
    x[1] += rng.integers(-3, 4, (n, dimension)) @ boxes[1].T
    expected = [brute_force(theta, *each) for each in zip(x, [typeid] * 3, boxes, strict=True)]
    for name in INSTRUCTION_SETS:
        found = ensemble.forces(theta, x, typeid, boxes, instruction_set=name, threads=1)
        for k, (energy, forces, stress) in enumerate(expected):
            size = np.abs(forces).max()
            assert size > 0
            assert abs(found.energy[k] - energy) <= 1e-12 * max(1, abs(energy)), (name, k)
            np.testing.assert_allclose(found.forces[k], forces, rtol=0, atol=1e-11 * size)
            np.testing.assert_allclose(
                found.stress[k], stress, rtol=0, atol=1e-12 * np.abs(stress).max()
            )


def test_one_particle_and_two(parameters: Callable[..., Any]) -> None:
    theta = parameters("soft_sphere", [1.0], stiffness=2.0)
    alone = ensemble.forces(theta, [[0.3, 0.1]], [0], 3 * np.eye(2))
    assert alone.energy.tolist() == [0.0]
    assert not alone.forces.any()
    # Through the face of the box: 0.75 apart.
    pair = ensemble.forces(theta, [[-1.4, 0.0], [0.85, 0.0]], [0, 0], 3 * np.eye(2))
    assert pair.energy == pytest.approx([0.0625], rel=1e-14)
    np.testing.assert_allclose(pair.forces[0], [[0.5, 0], [-0.5, 0]], rtol=1e-13)
    np.testing.assert_allclose(pair.stress[0], [[-0.5 * 0.75 / 9, 0], [0, 0]], rtol=1e-13)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("potential", BOUNDED)
def test_force_and_stress_are_derivatives_of_the_energy(
    potential: str, dimension: int, parameters: Callable[..., Any]
) -> None:
    theta = some_theta(potential, 2, parameters)
    rng = np.random.default_rng(8)
    n = 20
    typeid = np.arange(n) % 2
    r_cut = ensemble.engine.tables(theta).r_cut.max()
    box = 1.1 * tight_box(r_cut, dimension, TILTS["tilted"])
    x = rng.uniform(-0.4, 0.4, (n, dimension)) @ box.T
    start = ensemble.forces(theta, x, typeid, box)

    def energies(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        return ensemble.forces(theta, points, typeid, boxes).energy

    h = 1e-5
    for i, a in [(0, 0), (7, 1), (13, dimension - 1)]:
        points = np.repeat(x[None], 4, axis=0)
        points[:, i, a] += h * np.array([1, -1, 2, -2])
        e = energies(points, box)
        slope = (8 * (e[0] - e[1]) - (e[2] - e[3])) / (12 * h)
        assert start.forces[0, i, a] == pytest.approx(-slope, rel=1e-7, abs=1e-8)
    for a in range(dimension):
        # Strains that keep the box upper triangular: with no net torque, e_ab alone is enough.
        for b in range(a, dimension):
            strains = np.repeat(np.eye(dimension)[None], 4, axis=0)
            strains[:, a, b] += h * np.array([1, -1, 2, -2])
            e = energies(x @ strains.transpose(0, 2, 1), strains @ box)
            slope = (8 * (e[0] - e[1]) - (e[2] - e[3])) / (12 * h) / np.prod(np.diag(box))
            assert start.stress[0, a, b] == pytest.approx(slope, rel=1e-7, abs=1e-9)
    np.testing.assert_allclose(start.stress[0], start.stress[0].T, rtol=0, atol=1e-15)
    assert np.abs(start.forces[0].sum(axis=0)).max() < 1e-12


def test_coincident_particles_are_not_passed_off_as_forces(morse: Any, batch: Any) -> None:
    # DESIGN.md: "No NaN, zero or 'best effort' stands for a failure."
    x = batch.positions[:3].copy()
    x[1, 4] = x[1, 5]
    try:
        found = ensemble.forces(morse, x, batch.typeid, batch.boxes[0])
    except AmorphError:
        return
    assert np.isfinite(found.forces).all(), "NaN forces were returned without an error"


def test_inputs_are_not_changed(morse: Any, batch: Any) -> None:
    x, t, box = batch.positions.copy(), batch.typeid.copy(), batch.boxes[0].copy()
    for array in (x, t, box):
        array.flags.writeable = False
    ensemble.forces(morse, x, t, box)
    ensemble.minimize(morse, x + 0.01, t, box, max_steps=3)
    np.testing.assert_array_equal(x, batch.positions)
    # Any layout and number type is taken.
    again = ensemble.forces(morse, np.asfortranarray(x), t.astype(np.uint8), np.asfortranarray(box))
    np.testing.assert_array_equal(again.forces, ensemble.forces(morse, x, t, box).forces)


def test_a_theta_of_the_bridge_is_the_same(morse: Any, batch: Any) -> None:
    from amorph import bridge

    theta = bridge.HarmonicMorse(**morse.values)
    a = ensemble.forces(theta, batch.positions, batch.typeid, batch.boxes[0])
    b = ensemble.forces(morse, batch.positions, batch.typeid, batch.boxes[0])
    np.testing.assert_array_equal(a.forces, b.forces)
