"""Dynamics at a temperature: which temperature, by two thermometers; diffusion; conservation."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats

from amorph import bridge, ensemble
from amorph.ensemble import Brownian, Langevin

# Potential, particles, dimension, density, temperature, time step.
SYSTEMS: dict[str, tuple[Any, int, int, float, float, float]] = {
    "bound solid": (
        bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=10.0),
        60, 2, 1.4, 2e-4, 0.1,
    ),
    "soft solid": (
        bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0), 60, 2, 1.0, 1e-5, 0.4
    ),
    "soft fluid": (
        bridge.SoftSphere(diameters=[1.0, 1.2], stiffness=2.0), 60, 2, 0.8, 0.05, 0.2
    ),
    "soft fluid in space": (
        bridge.SoftSphere(diameters=[1.0, 1.2], stiffness=2.0), 70, 3, 0.8, 0.05, 0.2
    ),
}  # fmt: skip
REPLICAS, TIME, APART = 32, 400.0, 2.0


def mean_and_error(of_replicas: np.ndarray) -> tuple[float, float]:
    """Replicas are independent: they are the blocks."""
    return of_replicas.mean(), of_replicas.std(ddof=1) / np.sqrt(len(of_replicas))


def laplacians(theta: Any, paths: np.ndarray, types: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The sum of all second derivatives of U (M,), by differences of forces along random signs."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=paths.shape)
    h = 1e-7
    up, down = (
        ensemble.forces(theta, paths + s * h * signs, types, box, threads=2).forces for s in (1, -1)
    )
    return ((down - up) * signs).sum(axis=(1, 2)) / (2 * h)


@cache
def thermometers(name: str, part: float) -> dict[str, tuple[float, float]]:
    """Kinetic and configurational temperature, and <∇²U>/(N d), each with its error."""
    theta, n, d, density, temperature, dt = SYSTEMS[name]
    dt = dt * part
    start = ensemble.quench(theta, n, density, d, REPLICAS, seed=3, tolerance=1e-8, threads=2)
    kept = round(APART / dt)
    given = {"seed": 5, "threads": 2, "trajectory_every": kept, "trajectory_velocities": True}
    e = ensemble.prepare(
        theta, start.positions, start.typeid, start.boxes,
        [Langevin(round(TIME / dt), dt, temperature, friction=0.8)], **given,
    )  # fmt: skip
    assert e.ok.all()
    settled = slice(round(30 / APART), None)
    paths = e.trajectory.positions[:, settled]
    frames = paths.shape[1]
    flat = paths.reshape(-1, n, d)
    forces = ensemble.forces(theta, flat, e.typeid, e.boxes[0], threads=2).forces
    squares = (forces**2).sum(axis=(1, 2)).reshape(REPLICAS, frames).mean(axis=1)
    curvature = laplacians(theta, flat, e.typeid, e.boxes[0])
    curvature = curvature.reshape(REPLICAS, frames).mean(axis=1)
    kinetic = (e.trajectory.velocities[:, settled] ** 2).mean(axis=(1, 2, 3))
    ratio = squares.mean() / curvature.mean()
    residual = (squares - ratio * curvature) / curvature.mean()  # of a ratio of means
    return {
        "kinetic": mean_and_error(kinetic / temperature),
        "configurational": (
            ratio / temperature,
            residual.std(ddof=1) / np.sqrt(REPLICAS) / temperature,
        ),
        "stiffness": mean_and_error(curvature / (n * d)),
    }


@pytest.mark.parametrize("part", [1.0, 0.5])
@pytest.mark.parametrize("name", ["bound solid", "soft solid"])
def test_solids_at_low_temperature(name: str, part: float) -> None:
    """Near a minimum: T by the positions exactly, by the velocities less by <∇²U> dt²/(4 N d)."""
    found = thermometers(name, part)
    dt = SYSTEMS[name][5] * part
    stiffness, _ = found["stiffness"]
    value, error = found["configurational"]
    assert error < 0.01
    assert abs(value - 1) < 4.5 * error
    value, error = found["kinetic"]
    shift = stiffness * dt**2 / 4
    assert shift > 0.01, "the shift must be there to be seen"
    assert error < 0.2 * shift
    assert abs(value - (1 - shift)) < 4.5 * error


@pytest.mark.parametrize("name", ["soft fluid", "soft fluid in space"])
def test_fluids(name: str) -> None:
    """Contacts open and close all the time: errors of second order in dt, that fall by four."""
    whole, half = thermometers(name, 1.0), thermometers(name, 0.5)
    dt = SYSTEMS[name][5]
    expected = whole["stiffness"][0] * dt**2 / 4
    off = {k: (found["kinetic"][0] - 1, found["kinetic"][1])
           for k, found in (("whole", whole), ("half", half))}  # fmt: skip
    assert off["whole"][0] == pytest.approx(-expected, abs=0.15 * expected + 4.5 * off["whole"][1])
    error = np.hypot(off["whole"][1], 4 * off["half"][1])
    assert abs(off["whole"][0] - 4 * off["half"][0]) < 4.5 * error + 0.1 * expected
    assert abs(off["half"][0]) < 0.4 * abs(off["whole"][0]) + 3 * off["half"][1]
    for found, allowed in ((whole, 0.3 * expected), (half, 0.3 * expected / 4)):
        value, error = found["configurational"]
        assert error < 0.01
        assert abs(value - 1) < 4.5 * error + allowed


@pytest.mark.slow
@pytest.mark.parametrize("friction", [0.1, 10.0])
@pytest.mark.parametrize("name", list(SYSTEMS))
def test_temperatures_do_not_depend_on_the_friction(name: str, friction: float) -> None:
    theta, n, d, density, temperature, dt = SYSTEMS[name]
    dt /= 2
    start = ensemble.quench(theta, n, density, d, 64, seed=3, tolerance=1e-8, threads=2)
    e = ensemble.prepare(
        theta, start.positions, start.typeid, start.boxes,
        [Langevin(round(1500 / dt), dt, temperature, friction=friction)], seed=6, threads=2,
        trajectory_every=round(5 / dt), trajectory_velocities=True,
    )  # fmt: skip
    paths = e.trajectory.positions[:, 40:]
    flat = paths.reshape(-1, n, d)
    f = ensemble.forces(theta, flat, e.typeid, e.boxes[0], threads=2).forces
    squares = (f**2).sum(axis=(1, 2)).reshape(64, -1).mean(axis=1)
    curvature = laplacians(theta, flat, e.typeid, e.boxes[0]).reshape(64, -1).mean(axis=1)
    ratio = squares.mean() / curvature.mean()
    error = (squares / curvature).std() / 8
    shift = curvature.mean() / (n * d) * dt**2 / 4
    assert abs(ratio - temperature) < 4.5 * error + 0.3 * shift * temperature
    kinetic, error = mean_and_error((e.trajectory.velocities[:, 40:] ** 2).mean(axis=(1, 2, 3)))
    assert abs(kinetic / temperature - 1 + shift) < 4.5 * error / temperature + 0.2 * shift


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SYSTEMS))
def test_brownian_positions_have_the_temperature(name: str) -> None:
    """To second order in dt: Euler's error would be <∇²U>/(N d) dt/(2 γ), and shows."""
    theta, n, d, density, temperature, _ = SYSTEMS[name]
    friction = 1.0
    start = ensemble.quench(theta, n, density, d, 64, seed=3, tolerance=1e-8, threads=2)
    dt = 0.02 if name == "bound solid" else 0.1
    e = ensemble.prepare(
        theta, start.positions, start.typeid, start.boxes,
        [Brownian(round(1000 / dt), dt, temperature, friction=friction)], seed=6, threads=2,
        trajectory_every=round(4 / dt),
    )  # fmt: skip
    assert e.ok.all(), e.failures()
    flat = e.trajectory.positions[:, 25:].reshape(-1, n, d)
    f = ensemble.forces(theta, flat, e.typeid, e.boxes[0], threads=2).forces
    squares = (f**2).sum(axis=(1, 2)).reshape(64, -1).mean(axis=1)
    curvature = laplacians(theta, flat, e.typeid, e.boxes[0]).reshape(64, -1).mean(axis=1)
    error = (squares / curvature).std() / 8 / temperature
    off = squares.mean() / curvature.mean() / temperature - 1
    euler = curvature.mean() / (n * d) * dt / (2 * friction)
    assert error < 0.1 * euler
    assert abs(off) < 4.5 * error + 0.15 * euler


def test_velocities_are_maxwells() -> None:
    """In an interacting fluid, one velocity a replica and particle: independent samples."""
    theta, n, d, density, temperature, _ = SYSTEMS["soft fluid"]
    start = ensemble.quench(theta, n, density, d, 250, seed=9, tolerance=1e-4, threads=2)
    e = ensemble.prepare(
        theta, start.positions, start.typeid, start.boxes,
        [Langevin(400, 0.05, temperature, friction=0.8)], seed=1, threads=2,
    )  # fmt: skip
    v = e.velocities
    scaled = (v / v.std()).ravel()
    assert len(scaled) == 30_000
    assert abs((scaled**3).mean()) < 4.5 * np.sqrt(15 / len(scaled))
    assert abs((scaled**4).mean() - 3) < 4.5 * np.sqrt(96 / len(scaled))
    assert stats.kstest(scaled, "norm").pvalue > 1e-4
    speed = np.sqrt((v**2).sum(axis=-1)).ravel() / v.std()
    assert stats.kstest(speed, "rayleigh").pvalue > 1e-4
    # Both kinds of particles have the same, and no direction is special.
    for kind in (0, 1):
        own = v[:, e.typeid == kind]
        assert (own**2).mean() == pytest.approx((v**2).mean(), rel=4.5 * np.sqrt(2 / own.size))
    # Velocities know nothing of the forces, nor of each other.
    f = ensemble.forces(theta, e.positions, e.typeid, e.boxes[0], threads=2).forces
    for a, b in ((v, f), (v[:, :-1], v[:, 1:]), (v[..., 0], v[..., 1]), (v[:-1], v[1:])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4.5 / np.sqrt(a.size)


def gas(dimension: int, n: int, replicas: int) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """Tiny spheres with room to wander that never touch; lists are built all the time."""
    per_side = int(np.ceil(n ** (1 / dimension)))
    box = 40.0 * per_side * np.eye(dimension)
    grid = np.stack(np.meshgrid(*[np.arange(per_side)] * dimension, indexing="ij"), axis=-1)
    x = ((grid.reshape(-1, dimension)[:n] + 0.5) / per_side - 0.5) @ box
    rng = np.random.default_rng(1)
    # Some stand by the faces of cells, and cross them.
    x = np.stack([rng.permutation(x) for _ in range(replicas)])
    x += rng.uniform(-15, 15, x.shape)
    return bridge.SoftSphere(diameters=[0.5], stiffness=1.0), x, np.zeros(n, dtype=int), box


def assert_spread(found: np.ndarray, expected: float, what: str) -> None:
    """Mean squares of independent normal numbers."""
    moved = (found**2).mean()
    assert abs(moved / expected - 1) < 4.5 * np.sqrt(2 / found.size), (
        f"{what}: {moved / expected:.4f} of the exact value"
    )


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_free_particle_diffuses_as_ornstein_and_uhlenbeck_say(dimension: int) -> None:
    """<Δx²> = 2 T/γ² (γ t - 1 + exp(-γ t)), from flying to diffusing."""
    temperature, friction, dt = 0.5, 2.0, 0.02
    theta, x, types, box = gas(dimension, 1000, 8)
    e = ensemble.prepare(
        theta, x, types, box, [Langevin(600, dt, temperature, friction=friction)],
        seed=3, threads=2, trajectory_every=5, trajectory_velocities=True,
    )  # fmt: skip
    assert e.ok.all()
    for frame in (0, 3, 9, 29, 119):
        t = dt * 5 * (frame + 1)
        exact = 2 * temperature / friction**2 * (friction * t - 1 + np.exp(-friction * t))
        moved = e.trajectory.positions[:, frame] - x
        assert_spread(moved, exact, f"at t = {t:.2g}")
        assert abs(moved.mean()) < 4.5 * np.sqrt(exact / moved.size)
        assert_spread(e.trajectory.velocities[:, frame], temperature, "velocities")
    # Velocities forget as exp(-γ t).
    v = e.trajectory.velocities
    for lag in (1, 4, 10):
        r = (v[:, lag:] * v[:, :-lag]).mean() / temperature
        expected = np.exp(-friction * dt * 5 * lag)
        assert r == pytest.approx(expected, abs=4.5 / np.sqrt(v[:, ::10].size))


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_free_brownian_particle_diffuses(dimension: int) -> None:
    """<Δx²> = 2 (T/γ) t, less half a step's, as the first half of the noise has no partner."""
    temperature, friction, dt = 0.02, 2.0, 0.1
    theta, x, types, box = gas(dimension, 1000, 8)
    e = ensemble.prepare(
        theta, x, types, box, [Brownian(600, dt, temperature, friction=friction)],
        seed=3, threads=2, trajectory_every=1,
    )  # fmt: skip
    assert e.ok.all()
    assert (e.list_builds > 50).all()
    for steps in (1, 2, 10, 100, 600):
        moved = e.trajectory.positions[:, steps - 1] - x
        exact = 2 * temperature / friction * dt * (steps - 0.5)
        assert_spread(moved, exact, f"after {steps} steps")
    # Over all starts on the way: sharper.
    path = e.trajectory.positions[:, ::12]
    moved = np.diff(path, axis=1)
    assert_spread(moved, 2 * temperature / friction * dt * 11.5, "over 12 steps")


def test_both_dynamics_diffuse_alike() -> None:
    """Langevin dynamics with much friction and Brownian dynamics: T/γ each."""
    temperature, friction = 0.05, 10.0
    theta, x, types, box = gas(2, 1000, 8)
    fast = ensemble.prepare(
        theta, x, types, box, [Langevin(1000, 0.01, temperature, friction=friction)],
        seed=3, threads=2,
    )  # fmt: skip
    slow = ensemble.prepare(
        theta, x, types, box, [Brownian(100, 0.1, temperature, friction=friction)],
        seed=4, threads=2,
    )  # fmt: skip
    length = box[0, 0]
    for e, exact in ((fast, 10 - 1 / friction), (slow, 10 - 0.05)):
        moved = e.positions - x
        moved -= length * np.round(moved / length)
        assert_spread(moved, 2 * temperature / friction * exact, "both")


CRYSTALS = {"triangular": (48, 0.85), "fcc": (108, 0.9)}  # particles, spacing in diameters


def vibrating(name: str) -> tuple[Any, ensemble.Ensemble]:
    """Crystals of soft spheres whose neighbours always touch: no force has a kink."""
    theta = bridge.SoftSphere(diameters=[1.0], stiffness=2.0)
    n, spacing = CRYSTALS[name]
    d = 2 if name == "triangular" else 3
    unit = 2 / np.sqrt(3) if d == 2 else np.sqrt(2)
    start = ensemble.make_start(theta, n, unit / spacing**d, d, 4, 1, start=name)
    e = ensemble.prepare(
        theta, start.positions, start.typeid, start.boxes,
        [Langevin(400, 0.2, 1e-4, friction=0.5)], seed=1,
    )  # fmt: skip
    return theta, e


def totals(theta: Any, begin: ensemble.Ensemble, dt: float, time: float, every: float) -> Any:
    """Kinetic and potential energy along Newton's dynamics, (R, frames)."""
    e = ensemble.prepare(
        theta, begin.positions, begin.typeid, begin.boxes,
        [Langevin(round(time / dt), dt, 1.0, friction=0.0, draw_velocities=False)],
        velocities=begin.velocities, seed=1, threads=2,
        trajectory_every=round(every / dt), trajectory_velocities=True,
    )  # fmt: skip
    assert e.ok.all()
    paths = e.trajectory.positions
    flat = paths.reshape(-1, *paths.shape[2:])
    potential = ensemble.forces(theta, flat, e.typeid, e.boxes[0]).energy
    return potential.reshape(paths.shape[:2]) + (e.trajectory.velocities**2).sum((2, 3)) / 2


@pytest.mark.parametrize("name", list(CRYSTALS))
def test_energy_is_conserved(name: str) -> None:
    """Without friction: errors of second order in dt, that do not grow."""
    theta, begin = vibrating(name)
    n, d = begin.positions.shape[1:]
    energy = begin.energy + (begin.velocities**2).sum((1, 2)) / 2
    dt = 0.2
    errors = []
    for part in (1.0, 0.5, 0.25):
        found = totals(theta, begin, dt * part, 300.0, dt) - energy[:, None]
        errors.append(found.std())
        assert np.abs(found).max() < 0.02 * n * d * 1e-4
        # No drift: the last quarter lies where the first does, within the swing itself.
        quarters = np.array_split(found, 4, axis=1)
        drift = np.abs(quarters[3].mean(axis=1) - quarters[0].mean(axis=1))
        assert (drift < 0.5 * found.std(axis=1)).all()
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CRYSTALS))
def test_energy_does_not_drift_in_the_long_run(name: str) -> None:
    theta, begin = vibrating(name)
    found = totals(theta, begin, 0.2, 100_000.0, 50.0)
    slope = np.array([np.polyfit(np.linspace(0, 1, found.shape[1]), f, 1)[0] for f in found])
    assert (np.abs(slope) < 0.3 * found.std(axis=1)).all()


@pytest.mark.parametrize("name", ["bound solid", "soft fluid", "soft fluid in space"])
def test_energy_is_nearly_conserved_where_contacts_change(name: str) -> None:
    """Each kink of the force that is crossed costs an error of second order, of either sign."""
    theta, n, d, density, temperature, dt = SYSTEMS[name]
    start = ensemble.quench(theta, n, density, d, 8, seed=3, tolerance=1e-8, threads=2)
    begin = ensemble.prepare(
        theta, start.positions, start.typeid, start.boxes,
        [Langevin(round(40 / dt), dt, temperature, friction=0.5)], seed=1, threads=2,
    )  # fmt: skip
    energy = begin.energy + (begin.velocities**2).sum((1, 2)) / 2
    errors = []
    for part in (0.5, 0.25, 0.125):
        found = totals(theta, begin, dt * part, 100.0, dt) - energy[:, None]
        errors.append(np.sqrt((found**2).mean()))
    assert errors[0] < 0.01 * n * d * temperature
    assert errors[0] / errors[2] == pytest.approx(16, rel=0.5)


def test_momentum_and_the_centre_are_conserved() -> None:
    theta, begin = vibrating("fcc")
    dt, steps = 0.1, 500
    e = ensemble.prepare(
        theta, begin.positions, begin.typeid, begin.boxes,
        [Langevin(steps, dt, 1.0, friction=0.0, draw_velocities=False)],
        velocities=begin.velocities, trajectory_every=steps,
    )  # fmt: skip
    before = begin.velocities.mean(axis=1)
    np.testing.assert_allclose(e.velocities.mean(axis=1), before, rtol=0, atol=1e-13)
    moved = (e.trajectory.positions[:, -1] - begin.positions).mean(axis=1)
    np.testing.assert_allclose(moved, before * dt * steps, rtol=0, atol=1e-10)


def test_friction_takes_energy_as_it_should() -> None:
    """A gas of free particles cools as exp(-2 γ t), step by step."""
    theta, x, types, box = gas(2, 500, 2)
    v = np.random.default_rng(1).normal(size=x.shape)
    e = ensemble.prepare(
        theta, x, types, box, [Langevin(50, 0.04, 0.0, friction=0.7, draw_velocities=False)],
        velocities=v, trajectory_every=1, trajectory_velocities=True,
    )  # fmt: skip
    t = 0.04 * np.arange(1, 51)[None, :, None, None]
    np.testing.assert_allclose(
        e.trajectory.velocities, v[:, None] * np.exp(-0.7 * t), rtol=1e-12, atol=1e-15
    )


def pair_energy(theta: Any) -> Callable[[np.ndarray], np.ndarray]:
    return lambda r: ensemble.evaluate_pairs(theta, r)[0]


def test_two_particles_are_boltzmann_distributed() -> None:
    """Two soft spheres alone: their distance has the density r exp(-u(r)/T)."""
    theta = bridge.SoftSphere(diameters=[1.0], stiffness=2.0)
    temperature, length = 0.2, 2.2
    box = length * np.eye(2)
    x = np.repeat(np.array([[[0.0, 0.0], [0.8, 0.5]]]), 400, axis=0)
    for stage in (
        Langevin(4000, 0.1, temperature, friction=1.0),
        Brownian(20000, 0.02, temperature, friction=1.0),
    ):
        e = ensemble.prepare(
            theta, x, [0, 0], box, [stage], seed=2, threads=2,
            trajectory_every=stage.steps // 40,
        )  # fmt: skip
        assert e.ok.all()
        apart = e.trajectory.positions[:, 3:, 0] - e.trajectory.positions[:, 3:, 1]
        apart -= length * np.round(apart / length)
        r = np.sqrt((apart**2).sum(-1)).ravel()
        # Over the half-box disc, where all directions are there.
        inside = np.sort(r[r < length / 2])
        grid = np.linspace(1e-6, length / 2, 4001)
        weight = grid * np.exp(-pair_energy(theta)(grid) / temperature)
        cumulative = np.concatenate([[0], np.cumsum((weight[1:] + weight[:-1]) / 2)])
        cumulative /= cumulative[-1]
        found = stats.kstest(inside, lambda q: np.interp(q, grid, cumulative))  # noqa: B023
        assert len(inside) > 8000
        assert found.pvalue > 1e-4, f"{type(stage).__name__}: {found}"
