"""What is kept on the way, and replicas whose time step was too long."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import ensemble
from amorph.ensemble import Brownian, Compress, Langevin, Minimize, Status
from amorph.handover import read_gsd

BOXES = {
    "square": np.diag([9.0, 8.0]),
    "tilted": np.array([[9.0, 3.0], [0.0, 8.0]]),
    "cubic": np.diag([6.0, 5.0, 7.0]),
    "tilted in space": np.array([[6.0, 1.5, -2.0], [0.0, 5.0, 1.0], [0.0, 0.0, 7.0]]),
}


def lattice_gas(
    box: np.ndarray, per_side: int, replicas: int, parameters: Any
) -> tuple[Any, np.ndarray, np.ndarray]:
    d = len(box)
    grid = np.stack(np.meshgrid(*[np.arange(per_side)] * d, indexing="ij"), axis=-1)
    x = ((grid.reshape(-1, d) + 0.5) / per_side - 0.5) @ box.T
    rng = np.random.default_rng(0)
    x = x + rng.uniform(-0.1, 0.1, (replicas, *x.shape))
    return parameters("soft_sphere", [0.4], stiffness=1.0), x, np.zeros(x.shape[1], dtype=int)


@pytest.mark.parametrize("name", list(BOXES))
def test_paths_go_on_through_the_faces(name: str, parameters: Any) -> None:
    """A gas that drifts as a whole: straight lines, many boxes long, also from outside the box."""
    box = BOXES[name]
    d = len(box)
    theta, x, types = lattice_gas(box, 4, 3, parameters)
    x[1] += 2 * box[:, 0] - 3 * box[:, d - 1]
    v = np.zeros_like(x) + np.array([[3.0, -2.0, 4.0], [-1.0, 4.0, 1.0], [0.3, 0.1, -5.0]])[
        :, None, :d
    ]  # fmt: skip
    dt, steps = 0.03, 400
    e = ensemble.prepare(
        theta, x, types, box, [Langevin(steps, dt, 0.0, friction=0.0, draw_velocities=False)],
        velocities=v, trajectory_every=8, trajectory_velocities=True, threads=2,
    )  # fmt: skip
    assert e.ok.all()
    assert e.trajectory.every == 8
    assert e.trajectory.positions.shape == (3, 50, 4**d, d)
    times = dt * 8 * np.arange(1, 51)
    expected = x[:, None] + v[:, None] * times[:, None, None]
    np.testing.assert_allclose(e.trajectory.positions, expected, rtol=0, atol=1e-11)
    np.testing.assert_array_equal(e.trajectory.velocities, np.repeat(v[:, None], 50, axis=1))
    # At the end they are in the box, and the same but for whole boxes.
    fractions = e.positions @ np.linalg.inv(box).T
    assert np.abs(fractions).max() <= 0.5 + 1e-12
    boxes = (e.trajectory.positions[:, -1] - e.positions) @ np.linalg.inv(box).T
    np.testing.assert_allclose(boxes, np.round(boxes), rtol=0, atol=1e-11)
    assert np.abs(boxes).max() > 3


@pytest.mark.parametrize("kind", ["langevin", "brownian"])
def test_hot_particles_never_jump(kind: str, parameters: Any) -> None:
    """Colliding, in a tilted box, over many builds of the list."""
    box = BOXES["tilted"]
    theta, x, types = lattice_gas(box, 8, 2, parameters)
    theta = parameters("soft_sphere", [0.9], stiffness=20.0)
    stage: Any = (
        Langevin(1500, 0.02, 2.0, friction=0.1)
        if kind == "langevin"
        else Brownian(3000, 0.01, 0.5, friction=1.0)
    )
    e = ensemble.prepare(theta, x, types, box, [Minimize(1e-2), stage], seed=3, trajectory_every=1)
    assert e.ok.all(), e.failures()
    steps = np.diff(e.trajectory.positions, axis=1)
    assert np.abs(steps).max() < 0.45
    assert (np.abs(e.trajectory.positions[:, -1] - x).max(axis=(1, 2)) > 6).all()
    boxes = (e.trajectory.positions[:, -1] - e.positions) @ np.linalg.inv(box).T
    np.testing.assert_allclose(boxes, np.round(boxes), rtol=0, atol=1e-11)


def solid_start(morse: Any) -> ensemble.Ensemble:
    return ensemble.quench(morse, 96, 1.6, 2, 3, seed=6, tolerance=1e-3)


def test_velocities_are_the_differences_of_positions(morse: Any) -> None:
    """Velocity Verlet: v(t) = (x(t + dt) - x(t - dt)) / (2 dt), exactly."""
    start = solid_start(morse)
    dt = 0.02
    e = ensemble.prepare(
        morse, start.positions, start.typeid, start.boxes, [Langevin(300, dt, 0.1, friction=0.0)],
        seed=2, trajectory_every=1, trajectory_velocities=True,
    )  # fmt: skip
    x, v = e.trajectory.positions, e.trajectory.velocities
    np.testing.assert_allclose(v[:, 1:-1], (x[:, 2:] - x[:, :-2]) / (2 * dt), rtol=0, atol=1e-11)
    np.testing.assert_array_equal(e.velocities, v[:, -1])
    # With friction they are so but for the noise of two steps, (2 γ T dt)^½ a component.
    e = ensemble.prepare(
        morse, start.positions, start.typeid, start.boxes, [Langevin(300, dt, 0.1, friction=0.5)],
        seed=2, trajectory_every=1, trajectory_velocities=True,
    )  # fmt: skip
    x, v = e.trajectory.positions, e.trajectory.velocities
    off = v[:, 1:-1] - (x[:, 2:] - x[:, :-2]) / (2 * dt)
    assert 0.1 * np.sqrt(0.002) < off.std() < np.sqrt(0.002)


STAGES = [
    Minimize(1e-2),
    Langevin(35, 0.02, 0.05),
    Compress(1.65, 2, tolerance=1e-3),
    Brownian(22, 0.01, 0.05),
    Minimize(1e-3),
    Langevin(16, 0.02, 0.05),
    Minimize(),
]


@pytest.mark.parametrize("every", [2, 7, 10, 50, 73])
def test_frames_stand_where_they_should(every: int, morse: Any) -> None:
    """Counted over the time steps of all stages, those of minimisations left out."""
    start = solid_start(morse)
    given = (morse, start.positions, start.typeid, start.boxes[0], STAGES)
    whole = ensemble.prepare(
        *given, seed=5, trajectory_every=1, trajectory_velocities=True
    ).trajectory
    assert whole.positions.shape == (3, 73, 96, 2)
    assert np.isfinite(whole.positions).all()
    e = ensemble.prepare(*given, seed=5, trajectory_every=every)
    assert e.trajectory.velocities is None
    assert e.trajectory.every == every
    np.testing.assert_array_equal(e.trajectory.positions, whole.positions[:, every - 1 :: every])
    # Keeping frames changes nothing.
    none = ensemble.prepare(*given, seed=5)
    assert none.trajectory is None
    np.testing.assert_array_equal(none.positions, e.positions)
    # Overdamped particles have no velocities.
    assert not whole.velocities[:, 35:57].any()
    assert np.abs(whole.velocities[:, :35]).min() > 0


def test_one_fast_particle_fails_its_replica_alone(morse: Any, tmp_path: Path) -> None:
    """Velocity 40 is 0.4 a step of 0.01 and 0.8 of 0.02, with half a diameter of 0.5."""
    start = solid_start(morse)
    v = np.random.default_rng(1).normal(size=start.positions.shape) * 0.2
    bad = v.copy()
    bad[1, 17] = [24.0, 32.0]
    stages = [
        Langevin(20, 0.01, 0.0, friction=0.0, draw_velocities=False),
        Langevin(20, 0.02, 0.0, friction=0.0, draw_velocities=False),
        Minimize(),
    ]

    def run(velocities: np.ndarray) -> ensemble.Ensemble:
        return ensemble.prepare(
            morse, start.positions, start.typeid, start.boxes, stages, velocities=velocities,
            seed=5, first_replica=40, trajectory_every=1, trajectory_velocities=True, threads=2,
        )  # fmt: skip

    e, good = run(bad), run(v)
    assert e.status.tolist() == [Status.CONVERGED, Status.UNSTABLE, Status.CONVERGED]
    assert e.ok.tolist() == e.converged.tolist() == [True, False, True]
    assert e.stage.tolist() == [2, 1, 2]
    assert e.steps[1] == 21
    (line,) = e.failures()
    assert line.startswith("replica 41, stage 1, step 21: ")
    assert "half the largest diameter" in line
    assert "smaller dt" in line
    for name in ("energy", "max_force", "stress", "pressure"):
        assert np.isnan(getattr(e, name)[1]).all(), name
        assert np.isfinite(getattr(e, name)[[0, 2]]).all(), name
    # Frames up to the step before, and none after.
    for kept in (e.trajectory.positions, e.trajectory.velocities):
        assert np.isfinite(kept[1, :20]).all()
        assert np.isnan(kept[1, 20:]).all()
        assert np.isfinite(kept[[0, 2]]).all()
    # The others are as without it.
    rest = [0, 2]
    np.testing.assert_array_equal(e.positions[rest], good.positions[rest])
    np.testing.assert_array_equal(e.trajectory.positions[rest], good.trajectory.positions[rest])
    assert good.ok.all()
    assert good.failures() == []
    assert e.table()["status"].tolist() == ["converged", "unstable", "converged"]
    e.write(tmp_path / "some.gsd")
    logs = {int(f.log["replica"][0]): int(f.log["converged"][0])
            for f in read_gsd(tmp_path / "some.gsd")}  # fmt: skip
    assert logs.pop(41, 0) == 0
    assert logs == {40: 1, 42: 1}


@pytest.mark.parametrize("diameters", [[0.8], [0.8, 0.2], [0.3, 0.8]])
def test_half_the_largest_diameter_is_the_limit(diameters: list[float], parameters: Any) -> None:
    theta = parameters("soft_sphere", diameters, stiffness=1.0)
    x = np.array([[[-5.0, 0.0], [5.0, 1.0]]] * 3)
    v = np.zeros_like(x)
    v[:, 1] = np.array([[0.6], [-0.6], [1.0]]) * [[0.0, 1.0], [0.8, 0.6], [0.6, 0.8]]
    v *= 0.4 / 0.6  # 0.4 per unit of time, twice, and 0.667
    types = np.array([0, len(diameters) - 1])
    for dt, expected in ((0.999, [True, True, False]), (1.001, [False] * 3), (0.5, [True] * 3)):
        stage = Langevin(3, dt, 0.0, friction=0.0, draw_velocities=False)
        e = ensemble.prepare(theta, x, types, 30 * np.eye(2), [stage], velocities=v)
        assert e.ok.tolist() == expected
        assert (e.status[~e.ok] == Status.UNSTABLE).all()
        assert (e.steps[~e.ok] == 1).all()
    # Brownian dynamics: the noise alone.
    x = np.random.default_rng(1).uniform(-500, 500, (4, 50, 2))
    types = np.zeros(50, dtype=int)
    hot = ensemble.prepare(theta, x, types, 1000 * np.eye(2), [Brownian(50, 1.0, 0.1)], seed=1)
    assert (hot.status == Status.UNSTABLE).all()
    cold = ensemble.prepare(theta, x, types, 1000 * np.eye(2), [Brownian(50, 1.0, 3e-3)], seed=1)
    assert cold.ok.all()


@pytest.mark.parametrize("dynamics", [Langevin, Brownian])
def test_too_long_a_time_step_is_named(dynamics: Any, morse: Any) -> None:
    start = solid_start(morse)
    e = ensemble.prepare(
        morse, start.positions, start.typeid, start.boxes,
        [Minimize(1e-3), dynamics(5000, 5.0, 0.05), Minimize()], seed=1, first_replica=7,
    )  # fmt: skip
    assert (e.status == Status.UNSTABLE).all()
    assert [line.split(":")[0].rsplit(",", 1)[0] for line in e.failures()] == [
        f"replica {r}, stage 1" for r in (7, 8, 9)
    ]
    assert np.isnan(e.energy).all()


def test_stages_are_counted_as_they_were_given(morse: Any) -> None:
    """A compression is one stage, in however many steps."""
    start = solid_start(morse)
    stages = [Compress(1.7, 5, 1e-3), Minimize(1e-3, pressure=1e-2, from_pressure=1.0),
              Langevin(10, 50.0, 0.1)]  # fmt: skip
    e = ensemble.prepare(morse, start.positions, start.typeid, start.boxes, stages, seed=1)
    assert (e.status == Status.UNSTABLE).all(), e.failures()
    assert (e.stage == 2).all()
    e = ensemble.prepare(morse, start.positions, start.typeid, start.boxes, stages[:1], seed=1)
    assert e.ok.all()
    assert (e.stage == 0).all()
    assert e.velocities is None  # nothing moved with a temperature
    assert e.trajectory is None


@pytest.mark.parametrize("dynamics", [Langevin, Brownian])
def test_coincident_particles_are_named(dynamics: Any, morse: Any) -> None:
    """Their force is no number: that, and not a long time step, is what failed."""
    start = solid_start(morse)
    x = start.positions.copy()
    x[1, 5] = x[1, 9]
    stages = [dynamics(10, 1e-3, 0.01)]
    e = ensemble.prepare(morse, x, start.typeid, start.boxes, stages, seed=1)
    assert e.ok.tolist() == [True, False, True]
    assert e.status[1] == Status.NOT_FINITE, e.failures()
