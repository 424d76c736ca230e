"""Newton's method at the end of a minimisation: the same minima, sooner and closer."""

from typing import Any

import numpy as np
import pytest

from amorph import ensemble
from amorph.ensemble import Minimize, Status

FIRE_ALONE = Minimize(newton={"start": 0})


def standard(parameters: Any) -> dict[str, tuple[Any, int, float, int]]:
    """Potentials, particles, density, dimension: 40 quenches of each."""
    return {
        "bound": (
            parameters("harmonic_morse", [0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0),
            96, 1.6, 2,
        ),
        "stiff": (
            parameters("harmonic_morse", [0.8, 1.0], binding=0.1, stiffness=5.0, alpha=50.0),
            64, 1.6, 2,
        ),
        "soft spheres": (parameters("soft_sphere", [1.0, 1.4], stiffness=1.0), 64, 0.9, 2),
        "soft spheres in space": (
            parameters("soft_sphere", [1.0, 1.4], stiffness=1.0), 64, 1.0, 3,
        ),
    }  # fmt: skip


KINDS = list(standard(lambda *_, **__: None))


def nearest(apart: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The largest displacement in each replica, but for a common one."""
    apart = apart - length * np.round(apart / length)
    apart = apart - apart[:, :1]
    apart = apart - length * np.round(apart / length)
    return np.sqrt((apart**2).sum(-1)).max(axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_minima_are_those_of_fire_alone(kind: str, parameters: Any) -> None:
    theta, n, density, dimension = standard(parameters)[kind]
    start = ensemble.make_start(theta, n, density, dimension, 40, seed=12)
    given = (theta, start.positions, start.typeid, start.boxes)
    alone = ensemble.prepare(*given, [FIRE_ALONE], threads=2)
    both = ensemble.prepare(*given, [Minimize()], threads=2)
    assert alone.converged.all()
    assert both.converged.all()
    assert not alone.hessian_products.any()
    assert (both.hessian_products > 0).mean() > 0.9
    same = np.abs(alone.energy - both.energy) <= 1e-9 * np.maximum(1, np.abs(alone.energy))
    assert same.mean() >= 0.95, f"{(~same).sum()} of 40 ended in another minimum"
    assert len(np.unique(np.round(both.energy, 9))) > 35
    # The same places, not only the same energies (rattlers apart: they rest anywhere).
    if kind == "bound":
        moved = nearest(alone.positions - both.positions, np.diag(start.boxes[0]))
        assert (moved[same] < 1e-6).all()
    # That is what it is for.
    assert both.steps.sum() < 0.8 * alone.steps.sum()


@pytest.mark.parametrize("tolerance", [1e-8, 1e-12])
@pytest.mark.parametrize("kind", KINDS)
def test_it_converges_as_far_as_asked(kind: str, tolerance: float, parameters: Any) -> None:
    theta, n, density, dimension = standard(parameters)[kind]
    e = ensemble.quench(theta, n, density, dimension, 8, seed=21, tolerance=tolerance, threads=2)
    assert e.converged.all(), e.failures()
    now = ensemble.forces(theta, e.positions, e.typeid, e.boxes)
    forces = np.sqrt((now.forces**2).sum(-1)).max(axis=1)
    # Another order of summation: a little round-off.
    assert (forces <= tolerance + 2e-13).all()
    assert (e.max_force <= tolerance + 2e-13).all()
    # No saddle: along the softest of many random ways the energy rises.
    rng = np.random.default_rng(0)
    for _ in range(5):
        step = rng.standard_normal(e.positions.shape) * 1e-5
        for sign in (1, -1):
            moved = ensemble.forces(theta, e.positions + sign * step, e.typeid, e.boxes)
            assert (moved.energy > e.energy).all()


def test_the_hessian_at_the_end_is_not_negative(parameters: Any) -> None:
    """Newton's method alone would as well find saddles: all eigenvalues are at least zero."""
    theta, n, density, dimension = standard(parameters)["bound"]
    start = ensemble.make_start(theta, n, density, dimension, 12, seed=3)
    # Tried from far away, where it must fail and be safe.
    early = Minimize(newton={"start": 1e-1, "reach": 0.5})
    e = ensemble.prepare(theta, start.positions, start.typeid, start.boxes, [early], threads=2)
    assert e.converged.all()
    h = 1e-6
    for k in range(12):
        step = h * np.eye(2 * n).reshape(2 * n, n, 2)
        up, down = (
            ensemble.forces(theta, e.positions[k] + s * step, e.typeid, e.boxes[0]).forces
            for s in (1, -1)
        )
        hessian = -(up - down).reshape(2 * n, 2 * n) / (2 * h)
        values = np.linalg.eigvalsh((hessian + hessian.T) / 2)
        assert values[0] > -1e-5 * values[-1]


def test_at_fixed_pressure_too(parameters: Any) -> None:
    theta, n, density, _ = standard(parameters)["bound"]
    start = ensemble.make_start(theta, n, density, 2, 40, seed=12)
    given = (theta, start.positions, start.typeid, start.boxes)
    alone = ensemble.prepare(*given, [Minimize(pressure=0.3, newton={"start": 0})], threads=2)
    both = ensemble.prepare(*given, [Minimize(pressure=0.3)], threads=2)
    assert alone.converged.all()
    assert both.converged.all()
    enthalpy = [e.energy + 0.3 * np.linalg.det(e.boxes) for e in (alone, both)]
    # Pressures agree to 1e-6 of 0.3: the enthalpy at its minimum to far less.
    same = np.abs(enthalpy[0] - enthalpy[1]) <= 1e-9 * np.abs(enthalpy[0]).max()
    assert same.mean() >= 0.95
    assert both.steps.sum() < 0.9 * alone.steps.sum()


def test_settings_are_used(parameters: Any) -> None:
    theta, n, density, dimension = standard(parameters)["bound"]
    start = ensemble.make_start(theta, n, density, dimension, 6, seed=2)

    def run(**newton: float) -> ensemble.Ensemble:
        return ensemble.prepare(
            theta, start.positions, start.typeid, start.boxes, [Minimize(newton=newton)]
        )

    plain = run()
    assert plain.converged.all()
    # The defaults that are documented in `stage.h`, given by name: the same path.
    same = run(start=1e-5, reach=0.05, forcing=0.01, max_products=1000)
    np.testing.assert_array_equal(same.positions, plain.positions)
    np.testing.assert_array_equal(same.hessian_products, plain.hessian_products)
    never, late, tight, starved, short = (
        run(start=0),
        run(start=1e-8),
        run(forcing=1e-8),
        run(max_products=1),
        run(reach=1e-12),
    )
    for e in (never, late, tight, starved, short):
        assert e.converged.all()
        assert (np.abs(e.energy - plain.energy) < 1e-9).mean() > 0.8
    assert not never.hessian_products.any()
    assert (late.steps > plain.steps).all()
    assert tight.hessian_products.sum() > 1.2 * plain.hessian_products.sum()
    # Where each try fails, FIRE goes on to the end.
    assert (starved.steps > plain.steps).all()
    assert (starved.hessian_products < 20).all()
    assert (short.steps > plain.steps).all()


def test_a_failed_try_changes_nothing(parameters: Any) -> None:
    """Tries that reach nowhere leave FIRE's own way, but for the order of its sums."""
    theta, n, density, dimension = standard(parameters)["bound"]
    start = ensemble.make_start(theta, n, density, dimension, 6, seed=2)
    given = (theta, start.positions, start.typeid, start.boxes)
    tried = ensemble.prepare(*given, [Minimize(1e-5, newton={"start": 1.0, "max_products": 1})])
    alone = ensemble.prepare(*given, [Minimize(1e-5, newton={"start": 0})])
    assert tried.converged.all()
    assert (tried.hessian_products > 0).all()
    assert np.abs(tried.energy - alone.energy).max() < 1e-8
    assert (np.abs(tried.steps - alone.steps) <= 0.2 * alone.steps).all()


def test_steps_count_for_the_limit(parameters: Any) -> None:
    theta, n, density, dimension = standard(parameters)["bound"]
    plain = ensemble.quench(theta, n, density, dimension, 4, seed=2)
    least = int(plain.steps.min())
    e = ensemble.quench(theta, n, density, dimension, 4, seed=2, max_steps=least // 2)
    assert (e.status == Status.STEP_LIMIT).all()
    assert (e.steps == least // 2).all()
    assert "allow more max_steps" in e.failures()[0]
