"""Minimisation at fixed pressure: the pressure itself, where it ends, and where it cannot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.ensemble import Langevin, Minimize, Status
from amorph.handover import read_gsd

POTENTIALS = list(ensemble.potentials())
SIZES = {2: (48, 0.8), 3: (250, 0.9)}  # particles, density


def crowd(
    potential: str, dimension: int, theta_of: Callable[..., Any]
) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """Three different replicas of two types, with forces on all particles, in tilted boxes."""
    theta = theta_of(potential, [1.0, 0.8])
    n, density = SIZES[dimension]
    shape = np.array([[1.0, 0.15, -0.1], [0.0, 0.95, 0.2], [0.0, 0.0, 1.1]])[:dimension, :dimension]
    box = shape * (n / density / np.prod(np.diag(shape))) ** (1 / dimension)
    per_side = int(np.ceil(n ** (1 / dimension)))
    grid = np.stack(np.meshgrid(*[np.arange(per_side)] * dimension, indexing="ij"), axis=-1)
    fractions = grid.reshape(-1, dimension)[:n] / per_side - 0.5
    rng = np.random.default_rng(4)
    fractions = fractions + rng.uniform(-0.15, 0.15, (3, n, dimension)) / per_side
    return theta, fractions @ box.T, rng.permutation(np.arange(n) % 2), box


def pressure_of(stress: np.ndarray) -> np.ndarray:
    return -np.trace(stress, axis1=-2, axis2=-1) / stress.shape[-1]


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("potential", POTENTIALS)
def test_the_pressure_is_the_energys_slope_by_volume(
    potential: str, dimension: int, theta_of: Any
) -> None:
    theta, x, types, box = crowd(potential, dimension, theta_of)
    volume = np.prod(np.diag(box))
    found = pressure_of(ensemble.forces(theta, x, types, box).stress)
    assert (np.abs(found) > 1e-3).all()
    for step in (1e-5, 2e-5):
        grown = [(1 + k * step) ** (1 / dimension) for k in (1, -1, 2, -2)]
        e = [ensemble.forces(theta, g * x, types, g * box).energy for g in grown]
        slope = (8 * (e[0] - e[1]) - (e[2] - e[3])) / (12 * step * volume)
        np.testing.assert_allclose(found, -slope, rtol=2e-7, atol=1e-9)
    # And what a preparation reports is the same.
    e = ensemble.prepare(theta, x, types, box, [Langevin(1, 1e-12, 0.0)])
    np.testing.assert_allclose(e.pressure, found, rtol=1e-7)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("potential", POTENTIALS)
def test_it_ends_at_the_pressure_and_keeps_the_boxs_shape(
    potential: str, dimension: int, theta_of: Any
) -> None:
    theta, x, types, box = crowd(potential, dimension, theta_of)
    before = x.copy(), box.copy()
    pressure = {"soft_sphere": 0.15, "four_term": 1.0}.get(potential, 0.3)
    e = ensemble.minimize(theta, x, types, box, pressure=pressure, pressure_tolerance=1e-7)
    assert e.converged.all(), e.failures()
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(box, before[1])
    # Three replicas, three boxes, each the first one's image in another size.
    assert e.boxes.shape == (3, dimension, dimension)
    factors = e.boxes / np.where(box == 0, 1, box)
    sizes = factors[:, 0, 0]
    assert len(set(sizes.tolist())) == 3
    assert (np.abs(sizes - 1) > 1e-3).all()
    np.testing.assert_allclose(
        e.boxes, sizes[:, None, None] * box, rtol=1e-12, atol=0, err_msg="the strain is isotropic"
    )
    now = ensemble.forces(theta, e.positions, types, e.boxes)
    assert np.sqrt((now.forces**2).sum(-1)).max() <= 1.01e-10
    np.testing.assert_allclose(pressure_of(now.stress), pressure, rtol=1.01e-7)
    np.testing.assert_allclose(e.pressure, pressure, rtol=1.01e-7)
    np.testing.assert_allclose(e.energy, now.energy, rtol=1e-12)
    # Minimised again it stays, as it is one.
    again = ensemble.minimize(
        theta, e.positions, types, e.boxes, pressure=pressure, tolerance=1.1e-10
    )
    assert again.converged.all()
    assert (again.steps <= 1).all()
    np.testing.assert_allclose(again.boxes, e.boxes, rtol=1e-9)


SPHERES = {2: (64, 0.8), 3: (100, 0.85)}


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("pressure", [1e-1, 1e-2, 1e-4, pytest.param(1e-6, marks=pytest.mark.slow)])
def test_soft_spheres_at_low_pressures(
    pressure: float, dimension: int, parameters: Any, tmp_path: Path
) -> None:
    """Overlaps of a millionth are not lost in the file: its pressure is the same."""
    theta = parameters("soft_sphere", [1.0, 1.4], stiffness=1.0)
    n, density = SPHERES[dimension]
    e = ensemble.quench(
        theta, n, density, dimension, 4, seed=8, pressure=pressure, tolerance=1e-12, threads=2
    )
    assert e.converged.all(), e.failures()
    np.testing.assert_allclose(e.pressure, pressure, rtol=1e-6)
    assert len(set(e.boxes[:, 0, 0].tolist())) == 4
    e.write(tmp_path / "jammed.gsd")
    packings = list(bridge.read_gsd(tmp_path / "jammed.gsd"))
    assert len(packings) == 4
    for k, (own, packing) in enumerate(packings[:2]):  # as JAX takes its time with each
        np.testing.assert_array_equal(packing.box, e.boxes[k])
        measured = -np.trace(bridge.stress(own, packing)) / dimension
        assert measured == pytest.approx(pressure, rel=1e-3)
        assert measured == pytest.approx(e.pressure[k], rel=1e-8)
        assert np.abs(bridge.forces(own, packing)).max() < 1.01e-12
    # Above jamming as Durian and O'Hern found: energies fall as p², overlaps as p.
    overlaps = np.sqrt(2 * e.energy / n)
    assert (overlaps < 5 * pressure).all()
    assert (overlaps > 0.2 * pressure).all()


@pytest.mark.parametrize("tolerance", [1e-6, 1e-10])
@pytest.mark.parametrize("pressure", [1e-2, 1e-4, 1e-6])
def test_converged_means_at_the_pressure(
    pressure: float, tolerance: float, parameters: Any
) -> None:
    """`Minimize`: converged when the pressure is that, to `pressure_tolerance`, relative."""
    theta = parameters("soft_sphere", [1.0, 1.4], stiffness=1.0)
    e = ensemble.quench(
        theta, 48, 0.8, 2, 12, seed=2, pressure=pressure, pressure_tolerance=1e-6,
        tolerance=tolerance, threads=2,
    )  # fmt: skip
    off = np.abs(e.pressure[e.converged] / pressure - 1)
    assert len(off) > 0
    assert off.max() <= 1.01e-6, f"'converged' at {off.max():.1e} from the pressure"


def test_no_pressure_and_tension(parameters: Any) -> None:
    """At p = 0, and below as far as bonds hold; where they tear there is no state."""
    theta = parameters("harmonic_morse", [0.8, 1.0], binding=0.1, stiffness=5.0, alpha=10.0)
    free = ensemble.quench(theta, 64, 1.4, 2, 6, seed=1, pressure=0.0)
    assert free.converged.all()
    assert np.abs(free.pressure).max() < 1e-9
    held = ensemble.minimize(theta, free.positions, free.typeid, free.boxes, pressure=-0.05)
    assert held.converged.all()
    np.testing.assert_allclose(held.pressure, -0.05, rtol=1e-6)
    assert (np.linalg.det(held.boxes) > 1.001 * np.linalg.det(free.boxes)).all()
    torn = ensemble.minimize(
        theta, free.positions, free.typeid, free.boxes, pressure=-0.5, first_replica=3
    )
    assert (torn.status == Status.BOX_UNBOUNDED).all()
    assert not torn.ok.any()
    assert torn.failures()[2].startswith("replica 5, stage 0, step ")
    assert "no state holds that pressure" in torn.failures()[2]
    assert torn.table()["status"].tolist() == ["box_unbounded"] * 6


def test_a_box_that_becomes_too_small(parameters: Any, tmp_path: Path) -> None:
    """One replica's particles are soft, the other's hard: only the first box shrinks too far."""
    pairs = {"binding": 0.1, "alpha": 10.0}
    soft = parameters("harmonic_morse", [0.8, 1.0], stiffness=0.5, **pairs)
    hard = parameters("harmonic_morse", [0.8, 1.0], stiffness=50.0, **pairs)
    start = ensemble.make_start(hard, 64, 1.4, 2, 2, seed=1)
    given = (start.positions, start.typeid, start.boxes[0])
    stages = [Minimize(1e-2), Minimize(pressure=2.0), Langevin(10, 0.01, 0.0)]
    e = ensemble.prepare([soft, hard], *given, stages, first_replica=10)
    assert e.status.tolist() == [Status.BOX_TOO_SMALL, Status.RAN]
    assert e.stage.tolist() == [1, 2]
    (line,) = e.failures()
    assert line.startswith(f"replica 10, stage 1, step {e.steps[0]}: the box shrank below twice")
    assert "more particles" in line
    assert "lower pressure" in line
    # In the other order, and alone, the hard one ends the same.
    other = ensemble.prepare(
        [hard], start.positions[1:], start.typeid, start.boxes[0], stages, first_replica=11
    )
    np.testing.assert_array_equal(other.positions[0], e.positions[1])
    np.testing.assert_array_equal(other.boxes[0], e.boxes[1])
    e.write(tmp_path / "both.gsd")
    logs = {int(f.log["replica"][0]): int(f.log["converged"][0])
            for f in read_gsd(tmp_path / "both.gsd")}  # fmt: skip
    assert logs.get(10, 0) == 0


def test_what_is_given_for_a_box_too_small_is_no_wrong_number(parameters: Any) -> None:
    """Below twice the cutoff only the nearest images are counted: the sums would be wrong."""
    theta = parameters("harmonic_morse", [0.8, 1.0], binding=0.1, stiffness=5.0, alpha=10.0)
    e = ensemble.quench(theta, 48, 1.4, 2, 4, seed=1, pressure=50.0)
    assert (e.status == Status.BOX_TOO_SMALL).all()
    assert (np.diagonal(e.boxes, axis1=1, axis2=2) < 2 * (1 + 0.99)).any()
    for k in range(4):
        if np.isnan(e.energy[k]):
            assert np.isnan(e.pressure[k])
            continue
        # Three by three boxes are wide enough to sum over.
        shifts = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)]) @ e.boxes[k].T
        x = (e.positions[k][None] + shifts[:, None]).reshape(-1, 2)
        whole = ensemble.forces(theta, x, np.tile(e.typeid, 9), 3 * e.boxes[k])
        assert e.energy[k] == pytest.approx(whole.energy[0] / 9, rel=1e-9)
        assert e.pressure[k] == pytest.approx(pressure_of(whole.stress)[0], rel=1e-9)


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_state_does_not_depend_on_the_way_to_it(dimension: int, parameters: Any) -> None:
    """By factors of ten or at once: other minima, but the same density on average."""
    theta = parameters("soft_sphere", [1.0, 1.4], stiffness=1.0)
    n, density = SPHERES[dimension]
    start = ensemble.make_start(theta, n, density, dimension, 8, seed=3)
    given = (theta, start.positions, start.typeid, start.boxes[0])
    ends = [
        ensemble.prepare(*given, [stage], threads=2)
        for stage in (Minimize(pressure=1e-3), Minimize(pressure=1e-3, from_pressure=0.1))
    ]
    densities = []
    for e in ends:
        assert e.converged.all()
        np.testing.assert_allclose(e.pressure, 1e-3, rtol=1e-6)
        densities.append(n / np.linalg.det(e.boxes))
    assert abs(np.diff([d.mean() for d in densities])[0]) < 0.02 * densities[0].mean()
    # `quench` takes the second way by itself.
    quenched = ensemble.quench(theta, n, density, dimension, 8, seed=3, pressure=1e-3, threads=2)
    unit = 0.1 / 1.4 ** (dimension - 2)  # k_max = 1, σ_max = 1.4: a tenth of k σ^(2 - d)
    by_hand = ensemble.prepare(*given, [Minimize(pressure=1e-3, from_pressure=unit)], threads=2)
    np.testing.assert_array_equal(quenched.boxes, by_hand.boxes)


def test_the_start_is_forgotten(parameters: Any) -> None:
    """From a gas or from far above: a pressure of 1e-3 is held at the same density, within 1 %."""
    theta = parameters("soft_sphere", [1.0, 1.4], stiffness=1.0)
    found = [
        128 / np.linalg.det(ensemble.quench(
            theta, 128, density, 2, 12, seed=1, pressure=1e-3, tolerance=1e-8, threads=2).boxes)
        for density in (0.05, 0.6, 2.0)
    ]  # fmt: skip
    means = [f.mean() for f in found]
    assert max(means) / min(means) < 1.01
    # About that of random close packing, 0.84 of the plane, and the overlaps.
    filled = np.mean(means) * np.pi / 4 * (1.0**2 + 1.4**2) / 2
    assert 0.82 < filled < 0.88
