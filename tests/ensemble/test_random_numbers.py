"""The noise of the dynamics: which numbers, whose, and that nothing else decides on them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from amorph import ensemble
from amorph.ensemble import Brownian, Compress, Langevin, Minimize

INSTRUCTION_SETS = ensemble.instruction_sets()
DENSITY = 1.6
# Every kind of stage, after what makes its start sane.
STAGES: dict[str, list[Any]] = {
    "quench": [Minimize()],
    "pressure": [Minimize(pressure=0.6)],
    "low pressure": [Minimize(pressure=1e-2, from_pressure=1.0)],
    "langevin": [Minimize(1e-2), Langevin(150, 0.03, 0.05, friction=0.7)],
    "newton's dynamics": [Minimize(1e-2), Langevin(150, 0.03, 0.05, friction=0.0)],
    "brownian": [Minimize(1e-2), Brownian(150, 0.02, 0.05, friction=1.3)],
    "compress": [Minimize(1e-3), Compress(1.7, increments=4)],
    "all": [
        Minimize(1e-2),
        Langevin(40, 0.03, [0.1, 0.05]),
        Compress(1.65, 2, tolerance=1e-3),
        Brownian(40, 0.02, 0.02),
        Minimize(1e-3, pressure=1.0),
        Langevin(40, 0.03, 0.02, draw_velocities=False),
        Minimize(),
    ],
}
FIELDS = (
    "positions", "boxes", "energy", "max_force", "stress", "status", "stage", "steps",
    "list_builds", "hessian_products",
)  # fmt: skip


def prepared(
    theta: Any, start: ensemble.Start, stages: Any, rows: Any, first: int, threads: int = 1
) -> ensemble.Ensemble:
    moving = any(isinstance(s, Langevin | Brownian) for s in stages)
    return ensemble.prepare(
        theta,
        start.positions[rows],
        start.typeid[rows],
        start.boxes[0],
        stages,
        seed=17,
        first_replica=first,
        threads=threads,
        trajectory_every=10 if moving else None,
        trajectory_velocities=moving,
    )


def assert_same(found: ensemble.Ensemble, whole: ensemble.Ensemble, rows: Any) -> None:
    for name in FIELDS:
        expected = getattr(whole, name)
        if name == "boxes" and len(expected) == 1:
            expected = np.repeat(expected, len(whole), axis=0)
            given = np.broadcast_to(found.boxes, (len(found), *expected.shape[1:]))
        else:
            given = getattr(found, name)
        np.testing.assert_array_equal(given, expected[rows], err_msg=name)
    if whole.velocities is not None:
        assert found.velocities is not None
        np.testing.assert_array_equal(found.velocities, whole.velocities[rows])
    if whole.trajectory is not None:
        assert found.trajectory is not None
        np.testing.assert_array_equal(found.trajectory.positions, whole.trajectory.positions[rows])
        np.testing.assert_array_equal(
            found.trajectory.velocities, whole.trajectory.velocities[rows]
        )


@pytest.mark.parametrize("kind", list(STAGES))
def test_threads_and_batches_do_not_matter(kind: str, morse: Any) -> None:
    stages = STAGES[kind]
    start = ensemble.make_start(morse, 96, DENSITY, 2, 6, seed=3, order="random", first_replica=20)
    whole = prepared(morse, start, stages, slice(None), 20)
    assert whole.ok.all(), whole.failures()
    assert len(set(whole.energy.tolist())) == 6
    assert_same(prepared(morse, start, stages, slice(None), 20, threads=2), whole, slice(None))
    assert_same(prepared(morse, start, stages, slice(None), 20, threads=5), whole, slice(None))
    # Split in two, and each alone, by a team of threads and in any order of the calls.
    assert_same(prepared(morse, start, stages, slice(2, 6), 22, threads=2), whole, slice(2, 6))
    for row in (5, 0, 3):
        rows = slice(row, row + 1)
        assert_same(prepared(morse, start, stages, rows, 20 + row), whole, rows)
    if kind in ("quench", "pressure", "low pressure", "compress"):  # no random numbers
        order = [4, 1, 1, 0]
        assert_same(prepared(morse, start, stages, order, 7, threads=2), whole, order)


@pytest.mark.parametrize("kind", ["langevin", "brownian"])
def test_replicas_with_one_start_are_no_clones(kind: str, morse: Any) -> None:
    start = ensemble.make_start(morse, 64, DENSITY, 2, 1, seed=3)
    x = np.repeat(start.positions, 4, axis=0)

    def ends(seed: int, first: int, stream: int = 0) -> np.ndarray:
        return ensemble.prepare(
            morse, x, start.typeid, start.boxes, STAGES[kind],
            seed=seed, first_replica=first, stream=stream,
        ).positions  # fmt: skip

    found = ends(1, 0)
    for a in range(4):
        for b in range(a):
            assert (np.abs(found[a] - found[b]).max(axis=1) > 1e-3).all()
    # Replica 3 is replica 3, wherever it stands; another seed is another path.
    np.testing.assert_array_equal(ends(1, 2)[1], found[3])
    assert (np.abs(ends(2, 0) - found).max(axis=2) > 1e-3).all()
    # And so is another design step.
    assert (np.abs(ends(1, 0, 1) - found).max(axis=2) > 1e-3).all()
    np.testing.assert_array_equal(ends(1, 0, 0), found)


def free(dimension: int, n: int, replicas: int, parameters: Any) -> tuple[Any, Any, Any, Any]:
    """Small spheres that stand too far apart to meet, their place in no order."""
    box = np.diag([60.0, 70.0, 50.0])[:dimension, :dimension]
    per_side = int(np.ceil(n ** (1 / dimension)))
    grid = np.stack(np.meshgrid(*[np.arange(per_side)] * dimension, indexing="ij"), axis=-1)
    sites = ((grid.reshape(-1, dimension) + 0.5) / per_side - 0.5) @ box
    rng = np.random.default_rng(dimension)
    x = np.stack([rng.permutation(sites)[:n] for _ in range(replicas)])
    x += rng.uniform(-0.5, 0.5, x.shape) * (np.diag(box) / per_side - 1.2)
    return parameters("soft_sphere", [0.2], stiffness=1.0), x, np.zeros(n, dtype=int), box


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("dimension", [2, 3])
def test_a_free_particle_moves_as_the_uniforms_say(
    dimension: int, instruction_set: str, parameters: Any, normals: Callable[..., np.ndarray]
) -> None:
    """Langevin: BAOAB without forces, from `uniforms`, particle by particle."""
    n, first, seed = 43, 2**32 - 3, 2**63 + 12345
    theta, x, types, box = free(dimension, n, 3, parameters)
    dt, temperature, friction, steps = 0.02, 0.4, 1.7, 9
    e = ensemble.prepare(
        theta, x, types, box,
        [Langevin(steps, dt, temperature, friction=friction)],
        seed=seed, first_replica=first, instruction_set=instruction_set,
        trajectory_every=1, trajectory_velocities=True,
    )  # fmt: skip
    keep = np.exp(-friction * dt)
    kick = np.sqrt(temperature * (1 - np.exp(-2 * friction * dt)))
    for r in range(3):
        own = (np.arange(n), first + r)
        v = np.sqrt(temperature) * normals(seed, "velocity", *own, 0, dimension)
        at = x[r].copy()
        for step in range(1, steps + 1):
            at = at + dt / 2 * v
            v = keep * v + kick * normals(seed, "noise", *own, step, dimension)
            at = at + dt / 2 * v
            np.testing.assert_allclose(e.trajectory.positions[r, step - 1], at, rtol=0, atol=1e-12)
            np.testing.assert_allclose(e.trajectory.velocities[r, step - 1], v, rtol=0, atol=1e-12)
        np.testing.assert_allclose(e.velocities[r], v, rtol=0, atol=1e-12)


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("dimension", [2, 3])
def test_a_free_brownian_particle_moves_as_the_uniforms_say(
    dimension: int, instruction_set: str, parameters: Any, normals: Callable[..., np.ndarray]
) -> None:
    """The noise of a step is the mean of two of one particle, also when the list is built anew."""
    n, first, seed, steps = 243, 5, 11, 60
    theta, x, types, box = free(dimension, n, 3, parameters)
    dt, temperature, friction = 0.02, 0.02, 2.0
    e = ensemble.prepare(
        theta, x, types, box, [Brownian(steps, dt, temperature, friction=friction)],
        seed=seed, first_replica=first, instruction_set=instruction_set, trajectory_every=1,
    )  # fmt: skip
    assert (e.list_builds > 3).all()
    width = np.sqrt(2 * temperature * dt / friction)
    off = np.zeros(steps)
    for r in range(3):
        xi = [normals(seed, "noise", np.arange(n), first + r, s, dimension)
              for s in range(steps + 1)]  # fmt: skip
        at = x[r].copy()
        for step in range(steps):
            at = at + width * (xi[step] + xi[step + 1]) / 2
            here = np.abs(e.trajectory.positions[r, step] - at).max()
            off[step] = max(off[step], here)
    assert off.max() < 1e-12, f"first off at step {int(np.argmax(off > 1e-12))}: {off.max():.2g}"


def test_stages_go_on_with_the_count_of_steps(
    parameters: Any, normals: Callable[..., np.ndarray]
) -> None:
    n, seed = 30, 8
    theta, x, types, box = free(2, n, 2, parameters)
    dt, t, g = 0.02, 0.3, 2.0

    def langevin(steps: int, draw: bool) -> Langevin:
        return Langevin(steps, dt, t, friction=g, draw_velocities=draw)

    def ends(*stages: Any) -> ensemble.Ensemble:
        return ensemble.prepare(theta, x, types, box, stages, seed=seed)

    whole = ends(langevin(7, True))
    parts = ends(langevin(3, True), langevin(4, False))
    np.testing.assert_allclose(parts.positions, whole.positions, rtol=0, atol=1e-13)
    np.testing.assert_allclose(parts.velocities, whole.velocities, rtol=0, atol=1e-13)
    # Velocities drawn again are others: those of the step they are drawn at.
    again = ends(langevin(3, True), Langevin(1, 1e-9, t, friction=0.0))
    for r in range(2):
        np.testing.assert_allclose(
            again.velocities[r],
            np.sqrt(t) * normals(seed, "velocity", np.arange(n), r, 3, 2),
            rtol=0,
            atol=1e-12,
        )


@pytest.fixture(scope="module")
def noise(parameters: Any) -> np.ndarray:
    """The normal numbers (R, steps, N, 3) that the engine used: with much friction v = T^½ R."""
    theta, x, types, box = free(3, 500, 10, parameters)
    e = ensemble.prepare(
        theta, x, types, box, [Langevin(16, 1e-3, 1.0, friction=5e4)],
        seed=2, trajectory_every=1, trajectory_velocities=True, threads=2,
    )  # fmt: skip
    return e.trajectory.velocities


def test_the_noise_is_normal(noise: np.ndarray) -> None:
    count = noise.size
    assert count == 240_000
    assert len(np.unique(noise)) == count
    assert abs(noise.mean()) < 4.5 / np.sqrt(count)
    assert abs(noise.var() - 1) < 4.5 * np.sqrt(2 / count)
    assert abs((noise**3).mean()) < 4.5 * np.sqrt(15 / count)
    assert abs((noise**4).mean() - 3) < 4.5 * np.sqrt(96 / count)
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-4
    for component in range(3):
        assert stats.kstest(noise[..., component].ravel(), "norm").pvalue > 1e-4
    # The tails are there: of 240,000 numbers 15.2 are expected beyond 4.
    assert 2 <= (np.abs(noise) > 4).sum() <= 35


def pairs_of(noise: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        "x and y": (noise[..., 0], noise[..., 1]),
        "x and z": (noise[..., 0], noise[..., 2]),
        "y and z": (noise[..., 1], noise[..., 2]),
        "next particle": (noise[:, :, :-1], noise[:, :, 1:]),
        "eighth particle": (noise[:, :, :-8], noise[:, :, 8:]),
        "next particle's y": (noise[:, :, :-1, 0], noise[:, :, 1:, 1]),
        "next step": (noise[:, :-1], noise[:, 1:]),
        "step after next": (noise[:, :-2], noise[:, 2:]),
        "next replica": (noise[:-1], noise[1:]),
        "next replica's particle before": (noise[:-1, :, 1:], noise[1:, :, :-1]),
    }


@pytest.mark.parametrize("name", list(pairs_of(np.zeros((3, 3, 9, 3)))))
def test_the_noise_is_not_correlated(name: str, noise: np.ndarray) -> None:
    a, b = pairs_of(noise)[name]
    # Of the numbers, of their sizes, and of one with the other's size.
    for f, g in ((a, b), (a**2, b**2), (a, b**2), (a**2, b)):
        r = np.corrcoef(f.ravel(), g.ravel())[0, 1]
        assert abs(r) < 4.5 / np.sqrt(a.size)


def test_no_number_is_used_twice(parameters: Any) -> None:
    """The velocities drawn, Langevin's noise and that of Brownian dynamics after it."""
    theta, x, types, box = free(2, 2000, 1, parameters)
    quick = {"seed": 3, "trajectory_every": 1, "trajectory_velocities": True}
    drawn = ensemble.prepare(theta, x, types, box, [Langevin(1, 1e-3, 1.0, friction=0.0)], **quick)
    e = ensemble.prepare(
        theta, x, types, box,
        [Langevin(2, 1e-3, 1.0, friction=5e4), Brownian(2, 1e-3, 0.1, friction=1.0)], **quick,
    )  # fmt: skip
    path = e.trajectory.positions[0]
    numbers = {
        "drawn": drawn.velocities[0],
        "first": e.trajectory.velocities[0, 0],
        "second": e.trajectory.velocities[0, 1],
        "third, Brownian": path[2] - path[1],
    }
    names = list(numbers)
    for k, a in enumerate(names):
        for b in names[:k]:
            r = np.corrcoef(numbers[a].ravel(), numbers[b].ravel())[0, 1]
            assert abs(r) < 4.5 / np.sqrt(4000), f"{a} and {b}: correlation {r:.2f}"
