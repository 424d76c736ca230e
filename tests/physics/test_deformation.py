"""Solids under finite strain: closed forms, mirror images, and what plastic events must do."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import Packing
from amorph.handover import AmorphError

SPACING, STIFFNESS = 0.93, 4.0
BONDS = SPACING * np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)], [-0.5, np.sqrt(0.75)]])


def triangular(cells: int) -> Packing:
    height = SPACING * np.sqrt(3)
    corners = np.array([[0, 0], [SPACING / 2, height / 2]])
    cell = np.array([[i * SPACING, j * height] for i in range(cells) for j in range(cells // 2)])
    x = (cell[:, None] + corners).reshape(-1, 2)
    return Packing.of(
        x, np.zeros(len(x), dtype=int), np.diag([cells * SPACING, cells // 2 * height])
    )


def closed_form(rate: np.ndarray, strain: float) -> tuple[float, np.ndarray, float]:
    """Energy a particle, stress and d(σ:L)/ds of a lattice of springs under F = exp(sL).

    Its points are centres of symmetry, so each is where F carries it.
    """
    from scipy.linalg import expm

    f = expm(strain * rate)
    area = SPACING**2 * np.sqrt(0.75) * np.linalg.det(f)
    energy, stress, tangent = 0.0, np.zeros((2, 2)), 0.0
    for bond in BONDS @ f.T:
        r = np.linalg.norm(bond)
        assert r < 1
        n = bond / r
        slope = -STIFFNESS * (1 - r)
        energy += 0.5 * STIFFNESS * (1 - r) ** 2
        stress += slope * r * np.outer(n, n) / area
        # u(s) = φ(r(s)), and V σ:L = du/ds; r' = n·L·b, b' = L b.
        first = n @ rate @ bond
        moved = rate @ bond
        second = (moved @ moved + bond @ rate @ moved - first**2) / r
        tangent += (STIFFNESS * first**2 + slope * second) / area
    return energy, stress, tangent - np.trace(rate) * float(np.sum(stress * rate))


@pytest.mark.parametrize("mode", ["simple_shear", "pure_shear", "dilation"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_crystal_of_springs(mode: str, sign: int) -> None:
    theta = bridge.SoftSphere(diameters=[1.0], stiffness=STIFFNESS)
    curve = bridge.stress_strain(theta, triangular(6), mode, max_strain=sign * 0.06, step=0.02)
    assert not curve.events
    assert curve.nonaffine_squared.max() < 1e-22
    for k, strain in enumerate(curve.strain):
        energy, stress, tangent = closed_form(curve.velocity_gradient, strain)
        assert curve.energy[k] == pytest.approx(36 * energy, rel=1e-12)
        np.testing.assert_allclose(curve.stress[k], stress, atol=1e-12)
        assert curve.tangent[k] == pytest.approx(tangent, rel=1e-9)
        assert curve.conjugate[k] == pytest.approx(
            np.sum(stress * curve.velocity_gradient), abs=1e-12
        )


def packings(theta: Any, n: int, density: float, dimension: int) -> Any:
    for seed in range(20):
        found = ensemble.quench(theta, n, density, dimension, 1, seed=seed, threads=1)
        if found.converged[0]:
            try:
                packing = Packing(found.positions[0], found.typeid, found.boxes[0])
                yield bridge.relax(theta, packing)
            except AmorphError:
                continue


@pytest.mark.slow
def test_mirror_images_are_sheared_the_other_way() -> None:
    theta = bridge.HarmonicMorse([0.85, 1.1], 0.1, 5.0, 11.0)
    packing = next(packings(theta, 48, 1.4, 2))
    mirror = np.diag([-1.0, 1.0])
    image = packing.with_positions(packing.positions @ mirror)
    a = bridge.stress_strain(theta, packing, max_strain=0.12, step=2e-3)
    b = bridge.stress_strain(theta, image, max_strain=-0.12, step=2e-3)
    assert a.events
    assert len(a.events) == len(b.events)
    np.testing.assert_allclose(a.energy, b.energy, rtol=1e-8)
    np.testing.assert_allclose(a.stress, mirror @ b.stress @ mirror, atol=1e-7)
    np.testing.assert_array_equal(a.plastic, b.plastic)
    for here, there in zip(a.events, b.events, strict=True):
        assert here.strain == pytest.approx(-there.strain, abs=here.resolution)
        assert here.stress_drop == pytest.approx(there.stress_drop, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dimension", [2, 3])
def test_events_lower_the_energy_at_fixed_strain(dimension: int) -> None:
    """At the strain of an event, the state before it, brought there, is higher in energy."""
    if dimension == 2:
        theta: Any = bridge.HarmonicMorse([0.85, 1.1], 0.1, 5.0, 11.0)
        n, density = 48, 1.4
    else:
        theta, n, density = bridge.SoftSphere([0.9, 1.1], [4.0, 5.0, 6.0]), 40, 1.6
    seen = 0
    for packing in packings(theta, n, density, dimension):
        curve = bridge.stress_strain(theta, packing, max_strain=0.06, step=2e-3)
        for event in curve.events[:1]:
            seen += 1
            last = event.strain - event.resolution
            before = bridge.stress_strain(theta, packing, max_strain=last, step=2e-3)
            assert not before.events
            shear = np.eye(dimension)
            shear[0, 1] = event.resolution
            brought = bridge.deform(before.final, shear)
            after = bridge.relax(theta, brought)
            assert bridge.energy(theta, brought) - bridge.energy(theta, after) == pytest.approx(
                event.energy_drop, rel=1e-2
            )
            assert event.energy_drop > 0
            if dimension == 2:
                # Towards the event a mode goes to zero as the fourth root of the distance. Of
                # spheres that only touch, contacts are lost, and minima with them, all at once.
                soft = bridge.lowest_frequencies(theta, before.final, 1)[2]
                assert 0 < soft < 0.5 * bridge.lowest_frequencies(theta, packing, 1)[2]
        if seen >= 3:
            return
    pytest.fail("no plastic events")
