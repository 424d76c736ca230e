"""The time steps of the dynamics against the papers' formulas in NumPy, and against exact paths."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amorph import ensemble
from amorph.ensemble import Brownian, Langevin, Minimize

POTENTIALS = list(ensemble.potentials())
SIZES = {2: (96, 0.8), 3: (160, 0.7)}  # particles, density


def fluid(
    potential: str, dimension: int, theta_of: Callable[..., Any], replicas: int = 2
) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """Different replicas of particles that touch and attract, in tilted boxes of their own."""
    theta = theta_of(potential, [1.0, 0.8])
    n, density = SIZES[dimension]
    shape = np.array([[1.0, 0.2, -0.1], [0.0, 1.05, 0.15], [0.0, 0.0, 1.0]])[:dimension, :dimension]
    box = shape * (n / density / np.prod(np.diag(shape))) ** (1 / dimension)
    boxes = np.stack([box * (1 + 0.02 * r) for r in range(replicas)])
    per_side = round(n ** (1 / dimension) + 0.4999)
    grid = np.stack(np.meshgrid(*[np.arange(per_side)] * dimension, indexing="ij"), axis=-1)
    fractions = grid.reshape(-1, dimension)[:n] / per_side - 0.5
    rng = np.random.default_rng(1)
    fractions = fractions + rng.uniform(-0.08, 0.08, (replicas, n, dimension)) / per_side
    types = rng.permutation(np.arange(n) % 2)
    return theta, fractions @ boxes.transpose(0, 2, 1), types, boxes


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("potential", POTENTIALS)
def test_langevin_is_baoab(
    potential: str, dimension: int, theta_of: Any, normals: Callable[..., np.ndarray]
) -> None:
    theta, x, types, boxes = fluid(potential, dimension, theta_of)
    v = np.random.default_rng(2).normal(size=x.shape) * 0.3
    n = x.shape[1]
    dt, friction, temperature, seed, steps = 0.013, 0.8, 0.25, 99, 12
    e = ensemble.prepare(
        theta, x, types, boxes,
        [Langevin(steps, dt, temperature, friction=friction, draw_velocities=False)],
        velocities=v, seed=seed, first_replica=3, trajectory_every=1, trajectory_velocities=True,
    )  # fmt: skip
    assert e.ok.all()
    at, f = x.copy(), ensemble.forces(theta, x, types, boxes).forces
    assert np.abs(f).max() > 0.1, "the particles must feel each other"
    for step in range(1, steps + 1):
        v = v + dt / 2 * f  # B
        at = at + dt / 2 * v  # A
        xi = np.stack([normals(seed, "noise", np.arange(n), 3 + r, step, dimension)
                       for r in range(2)])  # fmt: skip
        v = (
            np.exp(-friction * dt) * v
            + np.sqrt(temperature * (1 - np.exp(-2 * friction * dt))) * xi
        )  # O
        at = at + dt / 2 * v  # A
        f = ensemble.forces(theta, at, types, boxes).forces
        v = v + dt / 2 * f  # B
        close = {"rtol": 0, "atol": 1e-10}
        np.testing.assert_allclose(e.trajectory.positions[:, step - 1], at, **close)
        np.testing.assert_allclose(e.trajectory.velocities[:, step - 1], v, **close)
    again = ensemble.forces(theta, e.positions, types, boxes)
    np.testing.assert_allclose(e.energy, again.energy, rtol=1e-12)
    np.testing.assert_allclose(e.stress, again.stress, rtol=0, atol=1e-12)
    np.testing.assert_allclose(e.max_force, np.sqrt((again.forces**2).sum(-1)).max(1), rtol=1e-12)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("potential", POTENTIALS)
def test_brownian_takes_the_mean_of_two(
    potential: str, dimension: int, theta_of: Any, normals: Callable[..., np.ndarray]
) -> None:
    theta, x, types, boxes = fluid(potential, dimension, theta_of)
    n = x.shape[1]
    dt, friction, temperature, seed, steps = 5e-4, 1.4, 0.4, 98, 12
    e = ensemble.prepare(
        theta, x, types, boxes, [Brownian(steps, dt, temperature, friction=friction)],
        seed=seed, first_replica=3, trajectory_every=1,
    )  # fmt: skip
    assert e.ok.all()
    at = x.copy()
    xi = np.stack([[normals(seed, "noise", np.arange(n), 3 + r, step, dimension) for r in range(2)]
                   for step in range(steps + 1)])  # fmt: skip
    for step in range(steps):
        f = ensemble.forces(theta, at, types, boxes).forces
        mean = (xi[step] + xi[step + 1]) / 2
        at = at + dt / friction * f + np.sqrt(2 * temperature * dt / friction) * mean
        np.testing.assert_allclose(
            e.trajectory.positions[:, step], at, rtol=0, atol=1e-10, err_msg=f"step {step}"
        )


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_list_is_built_in_time(
    dimension: int, theta_of: Any, normals: Callable[..., np.ndarray]
) -> None:
    """Fast particles and many steps: forces of all pairs, at every step."""
    theta, x, types, boxes = fluid("soft_sphere", dimension, theta_of)
    v = np.random.default_rng(2).normal(size=x.shape) * 1.5
    dt, steps = 0.03, 80
    e = ensemble.prepare(
        theta, x, types, boxes, [Langevin(steps, dt, 0.0, friction=0.0, draw_velocities=False)],
        velocities=v, trajectory_every=1,
    )  # fmt: skip
    assert e.ok.all()
    assert (e.list_builds > 8).all()
    at, f = x.copy(), ensemble.forces(theta, x, types, boxes).forces
    for step in range(steps):
        v = v + dt / 2 * f
        at = at + dt * v
        f = ensemble.forces(theta, at, types, boxes).forces
        v = v + dt / 2 * f
        # Round-off grows as paths part; a pair that is missed shows at 1e-3.
        np.testing.assert_allclose(
            e.trajectory.positions[:, step], at, rtol=0, atol=1e-7, err_msg=f"step {step}"
        )


def approaching_pair(
    overlap: float, parameters: Any
) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    theta = parameters("soft_sphere", [1.0], stiffness=2.0)
    along = np.array([0.6, 0.8]) * (1 - overlap) / 2
    return theta, np.stack([along, -along]), np.zeros(2, dtype=int), 5.0 * np.eye(2)


def test_without_temperature_it_is_damped_motion(parameters: Any) -> None:
    """Two overlapping spheres, more than critically damped: δ'' = -2k δ - γ δ' until they part.

    The error of the path is of second order in dt.
    """
    overlap, k, friction, end = 0.2, 2.0, 5.0, 3.0
    theta, x, types, box = approaching_pair(overlap, parameters)
    root = np.sqrt(friction**2 / 4 - 2 * k)
    slow, fast = friction / 2 - root, friction / 2 + root
    errors = []
    for steps in (30, 60, 120, 240):
        e = ensemble.prepare(
            theta, x, types, box,
            [Langevin(steps, end / steps, 0.0, friction=friction, draw_velocities=False)],
            trajectory_every=steps // 30, trajectory_velocities=True,
        )  # fmt: skip
        t = end / 30 * np.arange(1, 31)
        exact = overlap * (fast * np.exp(-slow * t) - slow * np.exp(-fast * t)) / (fast - slow)
        apart = e.trajectory.positions[0, :, 0] - e.trajectory.positions[0, :, 1]
        errors.append(np.abs(1 - np.sqrt((apart**2).sum(-1)) - exact).max())
        # They move against each other, along the line between them.
        np.testing.assert_allclose(
            e.trajectory.velocities[0].sum(axis=1), np.zeros((30, 2)), atol=1e-15
        )
        np.testing.assert_allclose(apart[:, 0] * 0.8, apart[:, 1] * 0.6, rtol=1e-12)
    assert errors[0] < 0.02 * overlap
    for coarse, fine in zip(errors[:-1], errors[1:], strict=True):
        assert coarse / fine == pytest.approx(4, rel=0.1)


def test_without_temperature_brownian_dynamics_is_steepest_descent(parameters: Any) -> None:
    overlap, k, friction, dt = 0.2, 2.0, 4.0, 0.05
    theta, x, types, box = approaching_pair(overlap, parameters)
    e = ensemble.prepare(
        theta, x, types, box, [Brownian(50, dt, 0.0, friction=friction)], trajectory_every=1
    )
    apart = e.trajectory.positions[0, :, 0] - e.trajectory.positions[0, :, 1]
    # Exactly Euler's steps: each leaves 1 - 2 k dt/γ of the overlap.
    expected = overlap * (1 - 2 * k * dt / friction) ** np.arange(1, 51)
    np.testing.assert_allclose(1 - np.sqrt((apart**2).sum(-1)), expected, rtol=0, atol=1e-14)


def test_friction_alone_ends_in_the_minimum(morse: Any) -> None:
    """Langevin dynamics at T = 0 comes to rest, and the energy falls all the way."""
    start = ensemble.quench(morse, 96, 1.6, 2, 3, seed=4, tolerance=0.05)
    e = ensemble.prepare(
        morse, start.positions, start.typeid, start.boxes,
        [Langevin(6000, 0.1, 0.0, friction=0.5, draw_velocities=False)],
        trajectory_every=50, trajectory_velocities=True,
    )  # fmt: skip
    total = np.array([
        ensemble.forces(morse, path, e.typeid, e.boxes[0]).energy + (v**2).sum((1, 2)) / 2
        for path, v in zip(e.trajectory.positions, e.trajectory.velocities, strict=True)
    ])  # fmt: skip
    assert (total[:, 0] < start.energy + 1e-6).all()
    assert (np.diff(total, axis=1) < 1e-12).all()
    assert np.abs(e.velocities).max() < 1e-5
    assert (e.max_force < 1e-5).all()
    rest = ensemble.minimize(morse, e.positions, e.typeid, e.boxes)
    assert np.abs(rest.energy - e.energy).max() < 1e-7
    assert (rest.energy < start.energy - 1e-4).all()


def test_newtons_dynamics_runs_backwards(theta_of: Any) -> None:
    """Without friction the velocities turned round lead back to the start."""
    theta, x, types, boxes = fluid("harmonic_morse", 2, theta_of)
    v = np.random.default_rng(3).normal(size=x.shape) * 0.3
    # Temperature has no say without friction.
    stage = Langevin(150, 0.02, 5.0, friction=0.0, draw_velocities=False)
    there = ensemble.prepare(
        theta, x, types, boxes, [stage], velocities=v, seed=1,
        trajectory_every=150, trajectory_velocities=True,
    )  # fmt: skip
    assert np.abs(there.trajectory.positions[:, -1] - x).max() > 0.3
    np.testing.assert_array_equal(there.velocities, there.trajectory.velocities[:, -1])
    back = ensemble.prepare(
        theta, there.trajectory.positions[:, -1], types, boxes, [stage],
        velocities=-there.velocities, seed=2, trajectory_every=150,
    )  # fmt: skip
    np.testing.assert_allclose(back.trajectory.positions[:, -1], x, rtol=0, atol=1e-8)
    np.testing.assert_allclose(-back.velocities, v, rtol=0, atol=1e-8)
    # Momentum is kept.
    np.testing.assert_allclose(there.velocities.sum(1), v.sum(1), rtol=0, atol=1e-11)


def test_velocities_are_kept_from_stage_to_stage(theta_of: Any) -> None:
    """One stage of 60 steps, or two of 30: the same path."""
    theta, x, types, boxes = fluid("harmonic_morse", 2, theta_of)
    v = np.random.default_rng(3).normal(size=x.shape) * 0.2
    given = v.copy()

    def run(*steps: int) -> ensemble.Ensemble:
        stages = [Langevin(s, 0.02, 0.1, friction=0.5, draw_velocities=False) for s in steps]
        return ensemble.prepare(theta, x, types, boxes, stages, velocities=given, seed=5)

    whole, halves = run(60), run(30, 30)
    np.testing.assert_allclose(halves.velocities, whole.velocities, rtol=0, atol=1e-9)
    np.testing.assert_allclose(halves.energy, whole.energy, rtol=1e-9)
    np.testing.assert_array_equal(given, v)


def test_minimised_particles_are_at_rest(theta_of: Any) -> None:
    """FIRE's velocities are none of the particles': dynamics after it start from rest.

    `Langevin.draw_velocities`: kept as they are, at rest at the beginning of a preparation.
    """
    theta, x, types, boxes = fluid("harmonic_morse", 2, theta_of)
    heated = Langevin(20, 0.02, 0.1)
    e = ensemble.prepare(theta, x, types, boxes, [heated, Minimize(1e-6)], seed=1)
    assert e.converged.all()
    assert e.velocities is None or not e.velocities.any(), (
        f"velocities of minimised particles: {np.abs(e.velocities).max():.2g}"
    )
    # At a force of 1e-3 a particle at rest picks up 1e-5 in a hundredth of the time unit.
    stages = [Minimize(1e-3), Langevin(1, 0.01, 0.0, draw_velocities=False)]
    e = ensemble.prepare(theta, x, types, boxes, stages, seed=1)
    assert np.abs(e.velocities).max() <= 1.01e-5
