"""Temperatures that change in time: the noise's width, step by step, and what cannot be."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amorph import ensemble
from amorph.ensemble import Brownian, Langevin, Minimize
from amorph.handover import InputError

STEPS = 40


def linear(at: list[float], values: list[float]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda t: np.interp(t, at, values)


def exponential(at: list[float], values: list[float]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda t: np.exp(np.interp(t, at, np.log(values)))


# What is given, and T at a part t of the stage.
SCHEDULES: dict[str, tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]] = {
    "constant": ({"temperature": 0.3}, lambda t: np.full_like(t, 0.3)),
    "one of a list": ({"temperature": [0.3]}, lambda t: np.full_like(t, 0.3)),
    "zero": ({"temperature": 0.0}, np.zeros_like),
    "falling": ({"temperature": [0.5, 0.1]}, linear([0, 1], [0.5, 0.1])),
    "to zero": ({"temperature": (0.5, 0.0)}, linear([0, 1], [0.5, 0.0])),
    "rising": ({"temperature": np.array([0.0, 0.4])}, linear([0, 1], [0.0, 0.4])),
    "table": (
        {"temperature": [0.1, 0.5, 0.5, 0.05, 0.2]},
        linear([0, 0.25, 0.5, 0.75, 1], [0.1, 0.5, 0.5, 0.05, 0.2]),
    ),
    "table with places": (
        {"temperature": [0.1, 0.5, 0.02], "temperature_at": [0.0, 0.2, 1.0]},
        linear([0, 0.2, 1], [0.1, 0.5, 0.02]),
    ),
    "held before and after": (
        {"temperature": [0.4, 0.1], "temperature_at": [0.3, 0.6]},
        linear([0.3, 0.6], [0.4, 0.1]),
    ),
    "one with a place": (
        {"temperature": [0.4], "temperature_at": [0.5]}, lambda t: np.full_like(t, 0.4)
    ),
    "exponential": (
        {"temperature": [0.5, 0.005], "schedule": "exponential"},
        exponential([0, 1], [0.5, 0.005]),
    ),
    "exponential table": (
        {"temperature": [0.01, 0.5, 0.002], "temperature_at": [0.1, 0.2, 0.9],
         "schedule": "exponential"},
        exponential([0.1, 0.2, 0.9], [0.01, 0.5, 0.002]),
    ),
}  # fmt: skip


def gas(parameters: Any, n: int) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """Small spheres on a square lattice with much space: none meets another."""
    side = int(np.ceil(np.sqrt(n)))
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)[:n]
    box = 30.0 * side * np.eye(2)
    x = np.repeat(((grid + 0.5) / side - 0.5)[None] @ box, 2, axis=0)
    return parameters("soft_sphere", [0.2], stiffness=1.0), x, np.zeros(n, dtype=int), box


def bounds(
    schedule: Callable[[np.ndarray], np.ndarray], steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest temperature within each time step."""
    t = np.linspace(0, 1, 50 * steps + 1)
    values = schedule(t)
    windows = np.stack([values[k * 50 : k * 50 + 51] for k in range(steps)])
    return windows.min(axis=1), windows.max(axis=1)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_langevin_follows_the_schedule(
    name: str, parameters: Any, normals: Callable[..., np.ndarray]
) -> None:
    """With much friction a step's velocities are its noise's: T^½ times known numbers.

    The temperature of every step is one that the schedule has within the step.
    """
    given, schedule = SCHEDULES[name]
    theta, x, types, box = gas(parameters, 60)
    e = ensemble.prepare(
        theta, x, types, box, [Langevin(STEPS, 1e-3, friction=5e4, **given)],
        seed=4, trajectory_every=1, trajectory_velocities=True,
    )  # fmt: skip
    assert e.ok.all()
    low, high = bounds(schedule, STEPS)
    for step in range(1, STEPS + 1):
        for r in range(2):
            xi = normals(4, "noise", np.arange(60), r, step, 2)
            v = e.trajectory.velocities[r, step - 1]
            width = (v * xi).sum() / (xi**2).sum()
            np.testing.assert_allclose(v, width * xi, rtol=0, atol=1e-12)
            assert np.sqrt(low[step - 1]) - 1e-9 <= width <= np.sqrt(high[step - 1]) + 1e-9


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_the_kinetic_temperature_is_the_schedules(name: str, parameters: Any) -> None:
    """A gas with friction: measured, it lies behind by 1/γ."""
    given, schedule = SCHEDULES[name]
    n, steps = 4000, 200
    theta, x, types, box = gas(parameters, n)
    friction, dt = 20.0, 5e-3
    e = ensemble.prepare(
        theta, x, types, box, [Langevin(steps, dt, friction=friction, **given)],
        seed=4, trajectory_every=10, trajectory_velocities=True, threads=2,
    )  # fmt: skip
    measured = (e.trajectory.velocities**2).mean(axis=(0, 2, 3))
    # dK/dt = 2 γ (T - K) without noise: K lags.
    expected = []
    kinetic = schedule(np.array([0.0]))[0]
    for t in (np.arange(steps) + 0.5) / steps:
        goal = schedule(np.array([t]))[0]
        kinetic = goal + (kinetic - goal) * np.exp(-2 * friction * dt)
        expected.append(kinetic)
    aim = np.array(expected)[9::10]
    error = np.sqrt(2 / (2 * n * 2)) * aim
    # Half a time step of the schedule's slope is left open.
    slope = np.abs(np.diff(schedule(np.linspace(0, 1, steps + 1)))).max()
    assert (np.abs(measured - aim) <= 4 * error + slope).all()


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_brownian_follows_the_schedule(name: str, parameters: Any) -> None:
    """Free steps have the variance 2 T dt/γ (1/2)."""
    given, schedule = SCHEDULES[name]
    n = 4000
    theta, x, types, box = gas(parameters, n)
    friction, dt = 2.0, 1e-3
    e = ensemble.prepare(
        theta, x, types, box, [Brownian(STEPS, dt, friction=friction, **given)],
        seed=4, trajectory_every=1, threads=2,
    )  # fmt: skip
    path = np.concatenate([x[:, None], e.trajectory.positions], axis=1)
    found = (np.diff(path, axis=1) ** 2).mean(axis=(0, 2, 3)) * friction / dt
    low, high = bounds(schedule, STEPS)
    part = 5 * np.sqrt(2 / (2 * n * 2))
    assert (found >= low * (1 - part) - 1e-20).all()
    assert (found <= high * (1 + part) + 1e-20).all()


def test_velocities_are_drawn_at_the_first_temperature(parameters: Any) -> None:
    theta, x, types, box = gas(parameters, 4000)
    table = Langevin(1, 1e-6, [0.4, 0.1], temperature_at=[0.3, 0.6], friction=0.0)
    e = ensemble.prepare(theta, x, types, box, [table], seed=1)
    assert (e.velocities**2).mean() == pytest.approx(0.4, rel=4 * np.sqrt(2 / 16000))


def test_schedules_of_stages_are_their_own(parameters: Any) -> None:
    """The second stage's table starts with the second stage."""
    theta, x, types, box = gas(parameters, 4000)
    stages = [
        Langevin(20, 1e-3, 0.1, friction=5e4),
        Langevin(20, 1e-3, [0.4, 0.2], friction=5e4, draw_velocities=False),
    ]
    e = ensemble.prepare(
        theta, x, types, box, stages, seed=1, trajectory_every=1, trajectory_velocities=True
    )
    found = (e.trajectory.velocities**2).mean(axis=(0, 2, 3))
    part = 5 * np.sqrt(2 / 16000)
    np.testing.assert_allclose(found[:20], 0.1, rtol=part)
    np.testing.assert_allclose(found[20:], 0.4 - 0.2 * (np.arange(20) + 0.5) / 20, rtol=part + 0.02)


def test_anneal_takes_schedules(morse: Any) -> None:
    """`anneal` is a coarse minimum, the dynamics of its schedule, and a quench."""
    given = {"temperature": [0.05, 0.002], "schedule": "exponential", "temperature_at": [0.1, 1.0]}
    e = ensemble.anneal(morse, 96, 1.6, 2, 3, 7, steps=300, dt=0.05, friction=0.7, **given)
    start = ensemble.make_start(morse, 96, 1.6, 2, 3, 7)
    unit = 2 * 6.0**2 * 0.1 * 1.0  # the largest u'' is 2 a² B, the largest diameter 1
    by_hand = ensemble.prepare(
        morse, start.positions, start.typeid, start.boxes,
        [Minimize(0.01 * unit), Langevin(300, 0.05, friction=0.7, **given), Minimize()], seed=7,
    )  # fmt: skip
    assert e.converged.all()
    np.testing.assert_array_equal(e.positions, by_hand.positions)
    np.testing.assert_array_equal(e.energy, by_hand.energy)
    # A slow fall of the temperature finds deeper minima than a quench.
    quenched = ensemble.quench(morse, 96, 1.6, 2, 16, seed=7).energy.mean()
    slow = ensemble.anneal(
        morse, 96, 1.6, 2, 16, 7, temperature=[0.05, 0.0], steps=3000, dt=0.1, threads=2
    )
    assert slow.converged.all()
    assert slow.energy.mean() < quenched - 0.02 * 96 * 0.1
    # And Brownian dynamics, if asked for.
    over = ensemble.anneal(
        morse, 96, 1.6, 2, 2, 7, steps=100, dt=0.02, temperature=0.01, dynamics="brownian"
    )
    by_hand = ensemble.prepare(
        morse, start.positions[:2], start.typeid, start.boxes,
        [Minimize(0.01 * unit), Brownian(100, 0.02, 0.01), Minimize()], seed=7,
    )  # fmt: skip
    np.testing.assert_array_equal(over.positions, by_hand.positions)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"temperature": -0.1}, "temperature = -0.1"),
        ({"temperature": [0.1, -0.2]}, "temperature = -0.2"),
        ({"temperature": np.nan}, "temperature = nan"),
        ({"temperature": np.inf}, "temperature = inf"),
        ({"temperature": [0.1, np.nan]}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": []}, "temperature"),
        ({"temperature": "0.1"}, "temperature"),
        ({"temperature": ["hot", "cold"]}, "temperature"),
        ({"temperature": None}, "temperature"),
        ({"temperature": [[0.1, 0.2], [0.3, 0.4]]}, "temperature"),
        ({"schedule": "cosine"}, "schedule = 'cosine'"),
        ({"schedule": None}, "schedule"),
        ({"temperature": [0.1, 0.0], "schedule": "exponential"}, "cannot reach 0"),
        ({"temperature": [0.0, 0.1], "schedule": "exponential"}, "exponential"),
        ({"temperature": 0.0, "schedule": "exponential"}, "exponential"),
        ({"temperature": [0.1, 0.2], "temperature_at": [1.0, 0.0]}, "ascending"),
        ({"temperature": [0.1, 0.2], "temperature_at": [0.5, 0.5]}, "ascending"),
        ({"temperature": [0.1, 0.2, 0.3], "temperature_at": [0, 0.7, 0.6]}, "ascending"),
        ({"temperature": [0.1, 0.2], "temperature_at": [0.0, 1.1]}, "temperature_at"),
        ({"temperature": [0.1, 0.2], "temperature_at": [-0.1, 1.0]}, "temperature_at"),
        ({"temperature": [0.1, 0.2], "temperature_at": [0.0]}, "2 temperatures"),
        ({"temperature": [0.1, 0.2], "temperature_at": [0.0, 0.5, 1.0]}, "2 temperatures"),
        ({"temperature": [0.1, 0.2], "temperature_at": []}, "2 temperatures"),
        ({"temperature": 0.1, "temperature_at": [0.0, 1.0]}, "1 temperatures"),
        ({"temperature": 0.1, "temperature_at": 0.5}, "temperature_at"),
        ({"temperature": [0.1, 0.2], "temperature_at": [np.nan, np.nan]}, "temperature_at"),
        ({"temperature": [1, 2, 3], "temperature_at": [0, np.nan, 1]}, "temperature_at"),
    ],
    ids=lambda x: str(x) if isinstance(x, dict) else "",
)
@pytest.mark.parametrize("kind", [Langevin, Brownian])
@pytest.mark.usefixtures("no_work")
def test_schedules_that_cannot_be(kind: Any, changes: dict, named: str, morse: Any) -> None:
    x = np.random.default_rng(3).uniform(-4, 4, (2, 96, 2))
    given = {"steps": 10, "dt": 0.01, "temperature": 0.1} | changes
    with pytest.raises(InputError, match=named):
        ensemble.prepare(morse, x, np.repeat([0, 1], 48), 8 * np.eye(2), [kind(**given)])
    dynamics: Any = kind.__name__.lower()
    with pytest.raises(InputError, match=named):
        ensemble.anneal(morse, 96, 1.6, 2, 2, 1, dynamics=dynamics, **given)
