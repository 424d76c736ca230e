"""Equipartition near a minimum, where all is known: positions and velocities, mode by mode.

In a harmonic well of stiffness λ BAOAB and its overdamped limit have <x²> = T/λ for every time
step (Leimkuhler & Matthews 2013), and BAOAB has <v²> = T (1 - λ dt²/4): the recursion of one step,
solved for its stationary covariance, says so.
"""

from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats

from amorph import bridge, ensemble
from amorph.bridge import Packing
from amorph.ensemble import Brownian, Langevin

TEMPERATURE = 1e-9  # vibrations of 3e-5 of a diameter, at overlaps of a tenth


def stationary(stiffness: float, dt: float, friction: float) -> tuple[float, float]:
    """<x²>/T and <v²>/T of BAOAB in a well, from its linear recursion."""
    kick = np.array([[1, 0], [-stiffness * dt / 2, 1]])
    drift = np.array([[1, dt / 2], [0, 1]])
    decay = np.exp(-friction * dt)
    rub = np.diag([1.0, decay])
    step = kick @ drift @ rub @ drift @ kick
    push = kick @ drift @ np.array([0.0, np.sqrt(1 - decay**2)])
    covariance = np.linalg.solve(
        np.eye(4) - np.kron(step, step), np.outer(push, push).ravel()
    ).reshape(2, 2)
    return covariance[0, 0], covariance[1, 1]


@pytest.mark.parametrize(("stiffness", "dt", "friction"), [(1, 0.1, 1), (4, 0.7, 0.3), (2, 1, 5)])
def test_what_is_known_of_the_recursion(stiffness: float, dt: float, friction: float) -> None:
    x, v = stationary(stiffness, dt, friction)
    assert x == pytest.approx(1 / stiffness, rel=1e-12)
    assert v == pytest.approx(1 - stiffness * dt**2 / 4, rel=1e-12)


NAMES = ["soft crystal", "soft crystal in space", "bound crystal", "glass"]


@cache
def wells() -> dict[str, tuple[Any, np.ndarray, np.ndarray, np.ndarray]]:
    """Crystals and a disordered packing at rest: potential, positions, types, box."""
    soft = bridge.SoftSphere(diameters=[1.0], stiffness=2.0)
    bound = bridge.HarmonicMorse(diameters=[1.0], binding=0.2, stiffness=6.0, alpha=12.0)
    out = {}
    x, box = ensemble.lattice("triangular", 16, 2 / np.sqrt(3) / 0.9**2)
    out["soft crystal"] = (soft, x, np.zeros(16, dtype=int), box)
    x, box = ensemble.lattice("fcc", 32, np.sqrt(2) / 0.93**3)
    out["soft crystal in space"] = (soft, x, np.zeros(32, dtype=int), box)
    x, box = ensemble.lattice("triangular", 30, 2 / np.sqrt(3) / 0.97**2)
    out["bound crystal"] = (bound, x, np.zeros(30, dtype=int), box)
    glass = bridge.SoftSphere(diameters=[1.0, 1.3], stiffness=[1.0, 2.0, 3.0])
    e = ensemble.quench(glass, 24, 1.15, 2, 1, seed=2, tolerance=1e-12)
    assert e.converged.all()
    out["glass"] = (glass, e.positions[0], e.typeid, e.boxes[0])
    return out


@cache
def modes(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Stiffnesses and directions of a well's vibrations, translations left out."""
    theta, x, types, box = wells()[name]
    d = x.shape[1]
    values, vectors = np.linalg.eigh(bridge.hessian(theta, Packing(x, types, box)))
    assert np.abs(values[:d]).max() < 1e-9
    assert values[d] > 1e-2
    return values[d:], vectors[:, d:]


def sample(name: str, stage: Any, replicas: int, every: int, skip: int) -> tuple[Any, Any]:
    """Displacements and velocities in modes, (replicas x frames, modes)."""
    theta, x, types, box = wells()[name]
    _, directions = modes(name)
    e = ensemble.prepare(
        theta, np.repeat(x[None], replicas, axis=0), types, box, [stage],
        seed=4, trajectory_every=every, trajectory_velocities=True, threads=2,
    )  # fmt: skip
    assert e.ok.all()
    moved = (e.trajectory.positions[:, skip:] - x).reshape(-1, x.size)
    speed = e.trajectory.velocities[:, skip:].reshape(-1, x.size)
    # The centre of mass diffuses: it is no part of the modes.
    return moved @ directions, speed @ directions


def assert_variances(samples: np.ndarray, expected: np.ndarray) -> None:
    """Independent normal samples (M, modes) of known variances, uncorrelated."""
    m, count = samples.shape
    scaled = samples / np.sqrt(expected)
    ratio = (scaled**2).mean(axis=0)
    assert np.abs(ratio - 1).max() < 4.8 * np.sqrt(2 / m)
    # All modes together, sharper.
    assert abs(ratio.mean() - 1) < 4.5 * np.sqrt(2 / (m * count))
    covariance = scaled.T @ scaled / m
    off = covariance[np.triu_indices(count, 1)]
    assert np.abs(off).max() < 5.2 / np.sqrt(m)
    assert abs((off**2).mean() * m - 1) < 4.5 * np.sqrt(2 / len(off))
    assert stats.kstest(scaled[:, count // 2], "norm").pvalue > 1e-4


@pytest.mark.parametrize("part", [1.0, 0.5])
@pytest.mark.parametrize("name", NAMES)
def test_langevin_fills_every_mode(name: str, part: float) -> None:
    """Exact at every time step: at 0.7 and 0.35 of the longest that is stable, 2/ω."""
    stiffness, _ = modes(name)
    dt = part * 0.7 * 2 / np.sqrt(stiffness.max())
    friction = 1.5 * np.sqrt(stiffness.min())
    # Frames far apart: slow modes forget in 2/γ or γ/λ.
    every = int(np.ceil(6 / (0.75 * np.sqrt(stiffness.min())) / dt))
    stage = Langevin(every * 10, dt, TEMPERATURE, friction=friction)
    x, v = sample(name, stage, 300, every, 2)
    assert_variances(x, TEMPERATURE / stiffness)
    assert_variances(v, TEMPERATURE * (1 - stiffness * dt**2 / 4))
    # Positions and velocities of a time are independent.
    r = (x * v).mean(axis=0) / np.sqrt((x**2).mean(axis=0) * (v**2).mean(axis=0))
    assert np.abs(r).max() < 5 / np.sqrt(len(x))


@pytest.mark.parametrize("part", [1.0, 0.5])
@pytest.mark.parametrize("name", NAMES)
def test_brownian_fills_every_mode(name: str, part: float) -> None:
    """Where Euler's method would have 1/(1 - λ dt/(2 γ)) too much: twice in the stiffest mode."""
    stiffness, _ = modes(name)
    friction = 3.0
    dt = part * friction / stiffness.max()
    every = int(np.ceil(6 * friction / stiffness.min() / dt))
    stage = Brownian(every * 6, dt, TEMPERATURE, friction=friction)
    x, v = sample(name, stage, 200, every, 1)
    assert not v.any()
    assert_variances(x, TEMPERATURE / stiffness)


@pytest.mark.parametrize("friction", [0.05, 0.3, 10.0])
def test_the_friction_does_not_matter_for_what_is_filled(friction: float) -> None:
    name = "soft crystal"
    stiffness, _ = modes(name)
    dt = 0.5
    slowest = max(2 / friction, friction / stiffness.min())
    every = int(np.ceil(4 * slowest / dt))
    x, v = sample(name, Langevin(every * 4, dt, TEMPERATURE, friction=friction), 600, every, 1)
    assert_variances(x, TEMPERATURE / stiffness)
    assert_variances(v, TEMPERATURE * (1 - stiffness * dt**2 / 4))


def test_the_energy_is_half_t_a_mode() -> None:
    """<U> - U_min = (modes) T/2, by the engine's own energies."""
    for name, (theta, x, types, box) in wells().items():
        stiffness, _ = modes(name)
        least = ensemble.forces(theta, x, types, box).energy[0]
        friction = 1.5 * np.sqrt(stiffness.min())
        e = ensemble.prepare(
            theta, np.repeat(x[None], 400, axis=0), types, box,
            [Langevin(400, 0.5 / np.sqrt(stiffness.max()) * 2, TEMPERATURE, friction=friction)],
            seed=1, threads=2,
        )  # fmt: skip
        expected = len(stiffness) * TEMPERATURE / 2
        found = (e.energy - least).mean()
        error = expected * np.sqrt(2 / len(stiffness) / 400)
        assert abs(found - expected) < 4.5 * error, name
