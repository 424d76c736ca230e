"""What is prepared at fixed pressure is a minimum of the enthalpy H(x, V) = U + p V."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble

CASES = {
    "soft spheres": (
        bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=[1.0, 1.5, 2.0]), 2, 40, 0.8, 1e-2
    ),
    "soft spheres, barely touching": (
        bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0), 2, 40, 0.8, 1e-4
    ),
    "soft spheres in space": (
        bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0), 3, 60, 0.8, 1e-2
    ),
    "bound, no pressure": (
        bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=10.0),
        2, 48, 1.4, 0.0,
    ),
    "bound, under tension": (
        bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=10.0),
        2, 48, 1.4, -0.03,
    ),
    "bound, under pressure": (
        bridge.HarmonicMorseReduced(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=10.0),
        2, 48, 1.4, 0.5,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=list(CASES))
def prepared(request: pytest.FixtureRequest) -> tuple[Any, ensemble.Ensemble, float]:
    theta, dimension, n, density, pressure = CASES[request.param]
    tolerance = 1e-12 if pressure == 1e-4 else 1e-11
    e = ensemble.quench(
        theta, n, density, dimension, 3, seed=4, pressure=pressure, tolerance=tolerance,
        pressure_tolerance=1e-8, threads=2,
    )  # fmt: skip
    assert e.converged.all(), e.failures()
    return theta, e, pressure


def enthalpies(
    theta: Any,
    e: ensemble.Ensemble,
    k: int,
    pressure: float,
    along: np.ndarray,
    strains: np.ndarray,
) -> np.ndarray:
    """H with the particles moved by `along` (M, N, d), then all lengths times exp(strains)."""
    grown = np.exp(strains)
    boxes = grown[:, None, None] * e.boxes[k]
    x = grown[:, None, None] * (e.positions[k] + along)
    return ensemble.forces(theta, x, e.typeid, boxes).energy + pressure * np.linalg.det(boxes)


def test_the_enthalpy_rises_in_every_direction(prepared: Any) -> None:
    theta, e, pressure = prepared
    rng = np.random.default_rng(0)
    n, d = e.positions.shape[1:]
    for k in range(3):
        length = np.linalg.det(e.boxes[k]) ** (1 / d)
        # Steps that keep most contacts, also of spheres that barely touch.
        step = 1e-5 if abs(pressure) > 1e-3 or pressure == 0 else 1e-7
        directions = rng.standard_normal((40, n, d))
        strains = rng.standard_normal(40) / length
        strains[0], directions[0] = 1 / length, 0.0  # the volume alone
        strains[1] = 0.0  # the particles alone
        here = enthalpies(theta, e, k, pressure, np.zeros((1, n, d)), np.zeros(1))
        there = [
            enthalpies(theta, e, k, pressure, s * step * directions, s * step * strains)
            for s in (1, -1)
        ]
        second = (there[0] + there[1] - 2 * here) / step**2
        slope = (there[0] - there[1]) / (2 * step)
        assert (second > 1e-3).all(), second.min()
        # A linear part would rule the change at a thousandth of a step.
        assert (np.abs(slope) < 1e-2 * step * second).all()
        assert (there[0] > here).all()
        assert (there[1] > here).all()


def gradients(
    theta: Any,
    e: ensemble.Ensemble,
    k: int,
    pressure: float,
    along: np.ndarray,
    strains: np.ndarray,
) -> np.ndarray:
    """dH/d(x, u s) (M, N d + 1) of positions exp(s) x, from forces and pressure.

    The unit u = d V^½ makes the strain s a length, of a stiffness like the particles'.
    """
    box, d = e.boxes[k], e.positions.shape[2]
    grown = np.exp(strains)[:, None, None]
    found = ensemble.forces(theta, grown * (e.positions[k] + along), e.typeid, grown * box)
    excess = pressure + np.trace(found.stress, axis1=1, axis2=2) / d
    by_strain = d * np.linalg.det(grown * box) * excess / (d * np.sqrt(np.linalg.det(box)))
    by_place = -(grown * found.forces).reshape(len(strains), -1)
    return np.concatenate([by_place, by_strain[:, None]], axis=1)


def test_the_enthalpys_hessian_is_positive(prepared: Any) -> None:
    """By differences, over positions and one strain: no way is downhill."""
    theta, e, pressure = prepared
    n, d = e.positions.shape[1:]
    h = 1e-6 if abs(pressure) > 1e-3 or pressure == 0 else 1e-8
    steps = h * np.eye(n * d + 1)
    for k in range(2):
        rest = gradients(theta, e, k, pressure, np.zeros((1, n, d)), np.zeros(1))[0]
        assert np.abs(rest[:-1]).max() < 1e-10
        assert abs(rest[-1]) < 1e-8
        moves = steps[:, :-1].reshape(-1, n, d)
        strains = steps[:, -1] / (d * np.sqrt(np.linalg.det(e.boxes[k])))
        up, down = (gradients(theta, e, k, pressure, s * moves, s * strains) for s in (1, -1))
        hessian = (up - down) / (2 * h)
        np.testing.assert_allclose(hessian, hessian.T, rtol=0, atol=2e-4)
        values = np.linalg.eigvalsh((hessian + hessian.T) / 2)
        assert values[0] > -1e-4 * values[-1]
        # The volume is a stiff direction: it is no zero mode.
        assert hessian[-1, -1] > 1e-2 * values[-1]
