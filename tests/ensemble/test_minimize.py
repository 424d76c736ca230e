"""Quenches end in minima, whatever the threads and the company, and say how they ended."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import ensemble
from amorph.ensemble import Status
from amorph.handover import OutputExistsError, check_box, read_gsd

INSTRUCTION_SETS = ensemble.instruction_sets()
RESULTS = ("positions", "energy", "max_force", "stress", "status", "steps", "list_builds")


def assert_equal_results(
    a: ensemble.Ensemble, b: ensemble.Ensemble, rows: Any = slice(None)
) -> None:
    for name in RESULTS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name)[rows], err_msg=name)


def soft_forces(x: np.ndarray, sigma: np.ndarray, k: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Forces of soft spheres over every image, in NumPy. sigma and k are (N, N)."""
    d = x.shape[1]
    forces = np.zeros_like(x)
    for shell in itertools.product(range(-2, 3), repeat=d):
        vector = x[:, None] - x[None] + box @ np.array(shell, dtype=float)
        r = np.sqrt((vector**2).sum(-1))
        r[r == 0] = 1e9  # a particle with itself
        push = np.where(r < sigma, k / sigma * (1 - r / sigma) / r, 0.0)
        forces += (push[..., None] * vector).sum(axis=1)
    return forces


def morse_forces(theta: Any, x: np.ndarray, typeid: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Harmonic-Morse forces with equal B, k and a for all pairs, over the nearest images."""
    (b,), (k,), (a,) = (set(theta[n].tolist()) for n in ("binding", "stiffness", "alpha"))
    length = np.diag(box)
    vector = x[:, None] - x[None]
    vector -= length * np.round(vector / length)
    r = np.sqrt((vector**2).sum(-1)) + 1e3 * np.eye(len(x))
    diameters = theta["diameters"][typeid]
    sigma = (diameters[:, None] + diameters[None]) / 2
    on, cut = sigma + 5 / a, sigma + 9.9 / a
    e = np.exp(-a * np.maximum(r - sigma, 0))
    width = (cut**2 - on**2) ** 3
    s = np.where(r < on, 1, (cut**2 - r**2) ** 2 * (cut**2 + 2 * r**2 - 3 * on**2) / width)
    s1 = np.where(r < on, 0, -12 * r * (cut**2 - r**2) * (r**2 - on**2) / width)
    slope = 2 * a * b * (e - e**2) * s + b * (e**2 - 2 * e) * s1
    slope = np.where(r < sigma, -k * (sigma - r), np.where(r < cut, slope, 0))
    return -((slope / r)[..., None] * vector).sum(axis=1)


def largest(forces: np.ndarray) -> float:
    return float(np.sqrt((forces**2).sum(axis=-1).max()))


def test_quench_ends_in_a_minimum(morse: Any, batch: ensemble.Ensemble) -> None:
    assert batch.converged.all()
    assert len(batch) == 12
    assert batch.tolerance == 1e-10
    for k in range(len(batch)):
        force = largest(morse_forces(morse, batch.positions[k], batch.typeid, batch.boxes[0]))
        assert force <= 1e-10 * (1 + 1e-3)
        assert force == pytest.approx(batch.max_force[k], rel=1e-3)
    # Displaced either way, the energy rises.
    rng = np.random.default_rng(0)
    step = 1e-4 * rng.standard_normal(batch.positions.shape)
    for sign in (1, -1):
        moved = ensemble.forces(morse, batch.positions + sign * step, batch.typeid, batch.boxes[0])
        assert (moved.energy > batch.energy).all()


def test_what_is_reported_belongs_to_the_positions(morse: Any, batch: ensemble.Ensemble) -> None:
    again = ensemble.forces(morse, batch.positions, batch.typeid, batch.boxes[0])
    np.testing.assert_allclose(again.energy, batch.energy, rtol=1e-13)
    np.testing.assert_allclose(again.stress, batch.stress, rtol=0, atol=1e-13)
    np.testing.assert_allclose(batch.pressure, -(batch.stress[:, 0, 0] + batch.stress[:, 1, 1]) / 2)
    assert len(set(batch.energy.tolist())) == 12
    assert (batch.steps > 0).all()
    assert (batch.list_builds > 0).all()
    assert (batch.seconds > 0).all()


def test_positions_are_in_the_box(batch: ensemble.Ensemble) -> None:
    # As `Ensemble.positions` says; HOOMD-blue refuses frames with particles outside.
    half = batch.boxes[0][0, 0] / 2
    assert np.abs(batch.positions).max() <= half * (1 + 1e-12)


@pytest.mark.parametrize("max_steps", [1, 7, 40])
def test_step_limit(morse: Any, max_steps: int) -> None:
    e = ensemble.quench(morse, 64, 1.6, 2, 5, seed=2, max_steps=max_steps)
    assert (e.status == Status.STEP_LIMIT).all()
    assert not e.converged.any()
    assert (e.steps == max_steps).all()
    now = ensemble.forces(morse, e.positions, e.typeid, e.boxes[0])
    np.testing.assert_allclose(e.energy, now.energy, rtol=1e-13)
    np.testing.assert_allclose(e.stress, now.stress, rtol=0, atol=1e-12)
    for k in range(5):
        force = largest(morse_forces(morse, e.positions[k], e.typeid, e.boxes[0]))
        assert force > e.tolerance
        assert e.max_force[k] == pytest.approx(force, rel=1e-10)


def test_a_start_that_is_a_minimum_takes_no_step(morse: Any, batch: ensemble.Ensemble) -> None:
    e = ensemble.minimize(morse, batch.positions, batch.typeid, batch.boxes[0], tolerance=1.1e-10)
    assert e.converged.all()
    assert not e.steps.any()
    assert (
        np.abs(np.sin((e.positions - batch.positions) * np.pi / batch.boxes[0][0, 0])).max() < 1e-14
    )


def test_energy_falls(morse: Any) -> None:
    """A later stop of the same path lies lower, all in all: FIRE is no descent at each step."""
    energies = [
        ensemble.quench(morse, 64, 1.6, 2, 8, seed=5, max_steps=m).energy
        for m in (1, 30, 100, 5000)
    ]
    for before, after in itertools.pairwise(energies):
        assert (after < before).all()


@pytest.fixture(scope="module")
def starts(morse: Any) -> np.ndarray:
    return ensemble.random_positions(64, np.eye(2) * 40**0.5, 10, seed=9)


@pytest.fixture(scope="module")
def whole(morse: Any, starts: np.ndarray) -> ensemble.Ensemble:
    return ensemble.quench(morse, 64, 1.6, 2, 10, seed=9, threads=1)


def test_threads_do_not_matter(morse: Any, whole: ensemble.Ensemble) -> None:
    for threads in (2, 3, 16):
        assert_equal_results(ensemble.quench(morse, 64, 1.6, 2, 10, seed=9, threads=threads), whole)


def test_batches_do_not_matter(morse: Any, starts: np.ndarray, whole: ensemble.Ensemble) -> None:
    box = whole.boxes[0]
    for order in (np.arange(10)[::-1], [3], [7, 2], [9, 0, 4, 4, 1]):
        found = ensemble.minimize(morse, starts[order], whole.typeid, box, threads=2)
        assert_equal_results(found, whole, order)
    # Split, with `first_replica`; one replica may be given without its axis.
    tail = ensemble.quench(morse, 64, 1.6, 2, 4, seed=9, first_replica=6)
    assert_equal_results(tail, whole, slice(6, None))
    assert tail.replica.tolist() == [6, 7, 8, 9]
    alone = ensemble.minimize(morse, starts[5], whole.typeid, box)
    assert_equal_results(alone, whole, [5])


def test_boxes_for_each_replica(morse: Any, starts: np.ndarray, whole: ensemble.Ensemble) -> None:
    box = whole.boxes[0]
    boxes = np.stack([box, 1.05 * box, box * [[1.1, 1], [1, 1.0]]])
    found = ensemble.minimize(morse, starts[:3], whole.typeid, boxes, threads=2)
    assert_equal_results(
        ensemble.minimize(morse, starts[:1], whole.typeid, box), found, slice(0, 1)
    )
    assert_equal_results(
        ensemble.minimize(morse, starts[2], whole.typeid, boxes[2]), found, slice(2, 3)
    )
    for k in range(3):
        assert largest(morse_forces(morse, found.positions[k], whole.typeid, boxes[k])) < 1.01e-10


def test_another_size_before_leaves_no_trace(morse: Any, whole: ensemble.Ensemble) -> None:
    """Workspaces are reused: sizes, dimensions and tables of types come one after the other."""
    ensemble.quench(morse, 130, 1.6, 2, 2, seed=1, threads=1)
    ensemble.quench(morse, 200, 1.2, 3, 1, seed=1, threads=1, max_steps=20)
    assert_equal_results(ensemble.quench(morse, 64, 1.6, 2, 10, seed=9, threads=1), whole)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("potential", ["harmonic_morse", "soft_sphere"])
def test_instruction_sets_agree_to_round_off(
    potential: str, dimension: int, parameters: Callable[..., Any]
) -> None:
    values = {} if potential == "soft_sphere" else {"binding": 0.1, "alpha": 10.0}
    theta = parameters(potential, [0.8, 1.0], stiffness=5.0, **values)
    n, density = (50, 1.6) if dimension == 2 else (90, 1.4)
    box = np.eye(dimension) * (n / density) ** (1 / dimension)
    x = ensemble.random_positions(n, box, 4, seed=3)
    found = [
        ensemble.minimize(theta, x, ensemble.typeids(n, 2), box, max_steps=30, instruction_set=name)
        for name in INSTRUCTION_SETS
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other.energy, found[0].energy, rtol=1e-11)
        np.testing.assert_allclose(other.max_force, found[0].max_force, rtol=1e-8)
        np.testing.assert_array_equal(other.steps, found[0].steps)
    # Threads and batches do not matter in any of them.
    for name, result in zip(INSTRUCTION_SETS, found, strict=True):
        one = ensemble.minimize(
            theta, x[2], ensemble.typeids(n, 2), box, max_steps=30, instruction_set=name
        )
        assert_equal_results(one, result, [2])


@pytest.mark.parametrize("n_types", [1, 2, 4, 9])
@pytest.mark.parametrize("dimension", [2, 3])
def test_minima_of_all_kinds(dimension: int, n_types: int, parameters: Callable[..., Any]) -> None:
    diameters = np.linspace(0.8, 1.2, n_types)
    pairs = n_types * (n_types + 1) // 2
    stiffness = np.linspace(3, 6, pairs)
    theta = parameters("soft_sphere", diameters, stiffness=stiffness)
    n = 36
    # Replicas in different triclinic boxes.
    box = np.array([[1.0, 0.3, -0.2], [0, 1.1, 0.25], [0, 0, 0.95]])[:dimension, :dimension]
    box *= (n / 1.15 / np.prod(np.diag(box))) ** (1 / dimension)
    boxes = np.stack([box, 0.97 * box])
    check_box(boxes[1], 1.2)
    x = ensemble.random_positions(n, np.eye(dimension), 2, seed=4) @ boxes.transpose(0, 2, 1)
    e = ensemble.minimize(theta, x, ensemble.typeids(n, n_types), boxes)
    assert e.converged.all()
    full = np.zeros((n_types, n_types))
    full[np.triu_indices(n_types)] = stiffness
    full = np.maximum(full, full.T)[e.typeid][:, e.typeid]
    sigma = np.add.outer(diameters[e.typeid], diameters[e.typeid]) / 2
    for k in range(2):
        assert largest(soft_forces(e.positions[k], sigma, full, boxes[k])) <= 1.01e-10


@pytest.mark.parametrize("tilt", [0.0, 0.77, -1.67])
def test_minima_in_boxes_just_two_cutoffs_wide(tilt: float, parameters: Callable[..., Any]) -> None:
    """The list reaches a skin beyond the cutoff, hence beyond half the box: no pair may be lost."""
    theta = parameters("soft_sphere", [1.0], stiffness=1.0)
    rng = np.random.default_rng(1)
    for _ in range(12):
        ly = 2 * (1 + 1e-9) * rng.uniform(1, 1.4)
        lx = 2 * (1 + 1e-9) * np.hypot(1, tilt) * rng.uniform(1, 1.1)
        box = np.array([[lx, tilt * ly], [0, ly]])
        n = int(1.1 * lx * ly) + 1
        x = rng.uniform(-0.5, 0.5, (20, n, 2)) @ box.T
        e = ensemble.minimize(theta, x, np.zeros(n, dtype=int), box)
        one = np.ones((n, n))
        for k in np.flatnonzero(e.converged):
            force = largest(soft_forces(e.positions[k], one, one, box))
            assert force <= 1.01e-10, (
                f"'converged', but max |F| = {force:.1e} in box {box.tolist()}"
            )
        assert e.converged.mean() > 0.8


def test_coincident_particles(morse: Any, starts: np.ndarray, whole: ensemble.Ensemble) -> None:
    x = starts.copy()
    x[3, 10] = x[3, 20]
    found = ensemble.minimize(morse, x, whole.typeid, whole.boxes[0], threads=2)
    expected = whole.status.copy()
    expected[3] = Status.NOT_FINITE
    assert found.status.tolist() == expected.tolist()
    assert not found.converged[3]
    rest = np.delete(np.arange(10), 3)
    for name in RESULTS:
        np.testing.assert_array_equal(getattr(found, name)[rest], getattr(whole, name)[rest])


def test_what_is_not_finite_is_no_number(morse: Any, starts: np.ndarray, whole: Any) -> None:
    """A failed replica's energy, force and pressure cannot be mistaken for values."""
    x = starts[:2].copy()
    x[0, 10] = x[0, 20]
    found = ensemble.minimize(morse, x, whole.typeid, whole.boxes[0])
    assert found.status[0] == Status.NOT_FINITE
    for name in ("energy", "max_force", "pressure"):
        value = getattr(found, name)[0]
        assert not np.isfinite(value), f"{name} of a replica that failed is given as {value}"


def test_a_failed_replica_does_not_spoil_the_file(
    morse: Any, starts: np.ndarray, whole: ensemble.Ensemble, tmp_path: Path
) -> None:
    x = starts[:3].copy()
    x[1, 10] = x[1, 20]
    found = ensemble.minimize(morse, x, whole.typeid, whole.boxes[0])
    found.write(tmp_path / "batch.gsd")
    frames = list(read_gsd(tmp_path / "batch.gsd"))
    assert [int(f.log["converged"][0]) for f in frames] == [1, 0, 1]


def test_gsd_round_trip_to_the_bit(morse: Any, batch: ensemble.Ensemble, tmp_path: Path) -> None:
    path = tmp_path / "quench.gsd"
    batch.write(path)
    frames = list(read_gsd(path))
    assert len(frames) == len(batch)
    for k, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.positions, batch.positions[k])
        np.testing.assert_array_equal(frame.typeid, batch.typeid)
        np.testing.assert_array_equal(frame.box, batch.boxes[0])
        assert frame.types == ("A", "B")
        assert frame.potential == "harmonic_morse"
        for name, values in morse.values.items():
            np.testing.assert_array_equal(frame.parameters[name], values)
        for name in ("energy", "max_force", "steps", "replica"):
            np.testing.assert_array_equal(frame.log[name], [getattr(batch, name)[k]])
        assert frame.log["converged"].tolist() == [1]
        assert frame.log["seed"].tolist() == [11]
        assert frame.log["tolerance"].tolist() == [1e-10]
    with pytest.raises(OutputExistsError, match="exists"):
        batch.write(path)
    batch.write(path, overwrite=True)


def test_the_widest_seed_is_written(morse: Any, tmp_path: Path) -> None:
    e = ensemble.quench(morse, 64, 1.6, 2, 1, seed=2**64 - 1, max_steps=2)
    e.write(tmp_path / "seed.gsd")
    (frame,) = read_gsd(tmp_path / "seed.gsd")
    assert int(frame.log["seed"][0]) == 2**64 - 1
    assert frame.log["converged"].tolist() == [0]


def test_table(batch: ensemble.Ensemble) -> None:
    table = batch.table()
    assert len(table) == 12
    assert table["status"].tolist() == ["converged"] * 12
    assert table["energy"].tolist() == batch.energy.tolist()
    np.testing.assert_allclose(table["energy_per_particle"], batch.energy / 96)


def test_typeids() -> None:
    assert ensemble.typeids(6, 2).tolist() == [0, 0, 0, 1, 1, 1]
    assert ensemble.typeids(6, 2, [1, 2]).tolist() == [0, 0, 1, 1, 1, 1]
    assert ensemble.typeids(10, 3, [0.2, 0.3, 0.5]).tolist() == [0] * 2 + [1] * 3 + [2] * 5
    assert ensemble.typeids(4, 2, [0, 1]).tolist() == [1] * 4
    assert ensemble.typeids(5, 1).dtype == np.int32


def test_progress_is_monotone_and_ends_at_the_total(morse: Any) -> None:
    calls: list[tuple[int, int]] = []
    ensemble.quench(
        morse, 96, 1.6, 2, 300, seed=1, threads=1, progress=lambda *call: calls.append(call)
    )
    done = [call[0] for call in calls]
    assert {call[1] for call in calls} == {300}
    assert done == sorted(done)
    assert done[-1] == 300
    assert all(0 <= n <= 300 for n in done)
    assert len(calls) >= 3, "a run of about half a second reports several times"


def test_an_error_in_progress_ends_the_run(morse: Any) -> None:
    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        ensemble.quench(morse, 96, 1.6, 2, 100_000, seed=1, threads=2, progress=stop)
    # And the engine can be used again.
    assert ensemble.quench(morse, 64, 1.6, 2, 1, seed=9).converged.all()


def test_fire_settings_are_used(morse: Any) -> None:
    plain = ensemble.quench(morse, 64, 1.6, 2, 2, seed=9)
    x = ensemble.random_positions(64, plain.boxes[0], 2, 9)
    slow = ensemble.minimize(
        morse, x, plain.typeid, plain.boxes[0], fire={"dt_max": 0.1}, newton={"start": 0}
    )
    assert slow.converged.all()
    assert (slow.steps > plain.steps).all()
