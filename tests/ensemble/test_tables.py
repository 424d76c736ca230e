"""Tabulated potentials in the engine: against their tables, their formulas, and all pairs."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import ensemble
from amorph.ensemble import _engine
from amorph.handover import (
    InputError,
    PairTable,
    UnknownPotentialError,
    build_table,
    read_gsd,
)
from amorph.handover.pair_table import MOST_BITS, MOST_BREAKS

SETS = ensemble.instruction_sets()
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def lennard_jones(depth: float, size: float) -> Callable[[np.ndarray], Arrays]:
    """Force-shifted at 2.5 sizes: u and u' vanish there."""
    end = (2.5 / 1.0) ** -6.0
    at_end, slope_at_end = 4 * (end**2 - end), (24 * end - 48 * end**2) / 2.5

    def formula(r: np.ndarray) -> Arrays:
        x = r / size
        a = x**-6.0
        return (
            depth * (4 * (a * a - a) - at_end - (x - 2.5) * slope_at_end),
            depth / size * ((24 * a - 48 * a * a) / x - slope_at_end),
            depth / size**2 * (624 * a * a - 168 * a) / x**2,
        )

    return formula


def mixture(types: int, tolerance: float = 1e-8) -> PairTable:
    """Kob and Andersen's for two types; more, all different, some with an inner break."""
    i, j = np.triu_indices(types)
    size = np.array([1.0, 0.8, 0.88])[:3] if types == 2 else 0.8 + 0.02 * i + 0.03 * j
    depth = np.array([1.0, 1.5, 0.5]) if types == 2 else 1.0 + 0.1 * i
    breaks = [[2.5 * s] if k % 3 else [1.1, 2.5 * s] for k, s in enumerate(size)]
    return build_table(
        [lennard_jones(*own) for own in zip(depth, size, strict=True)],
        breaks,
        np.linspace(1.0, 0.88, types),
        potential="lennard_jones_smooth",
        parameters={"depth": depth, "size": size},
        tolerance=tolerance,
    )


@pytest.fixture(scope="module")
def two() -> PairTable:
    return mixture(2)


def test_limits_are_the_engines() -> None:
    assert (_engine.most_breaks, _engine.most_bits) == (MOST_BREAKS, MOST_BITS)


@pytest.mark.parametrize("name", SETS)
def test_the_engine_has_what_the_table_says(two: PairTable, name: str) -> None:
    cut, first = two.r_cut[0, 0], two.r_first[0, 0]
    at = [first, 1.1, cut]
    beside = [np.nextafter(r, to) for r in at for to in (0, np.inf)]
    r = np.array([1e-9, *at, *beside, 7.0, 1e5, *np.random.default_rng(2).uniform(0, 3, 4000)])
    u, force_over_r = ensemble.evaluate_pairs(two, r, instruction_set=name)
    exact, slope, _ = two.evaluate(0, 0, r)
    scale = np.abs(exact) + r * np.abs(slope)
    assert (np.abs(u - exact) <= 1e-13 * scale + 1e-15).all()
    assert (np.abs(force_over_r * r + slope) <= 1e-13 * scale / r + 1e-15).all()
    assert not u[r >= cut].any()
    assert not force_over_r[r >= cut].any()


def all_pairs(table: PairTable, x: np.ndarray, typeid: np.ndarray, box: np.ndarray) -> Any:
    """Energy, forces and stress by every nearest image, of an upright box."""
    lengths = np.diagonal(box)
    d = x[:, None] - x[None]
    d -= lengths * np.round(d / lengths)
    i, j = np.triu_indices(len(x), 1)
    d = d[i, j]
    r = np.sqrt((d**2).sum(-1))
    u, slope, _ = table.evaluate(typeid[i], typeid[j], r)
    pull = (slope / r)[:, None] * d
    forces = np.zeros_like(x)
    np.add.at(forces, i, -pull)
    np.add.at(forces, j, pull)
    return u.sum(), forces, np.einsum("ka,kb->ab", pull, d) / lengths.prod()


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("types", "dimension"), [(2, 2), (2, 3), (9, 3)])
def test_forces_are_those_of_all_pairs(types: int, dimension: int, name: str) -> None:
    # Nine types do not fit a register; and each replica has a table of its own.
    tables = [mixture(types), mixture(types, 1e-5)]
    assert tables[0].bits != tables[1].bits
    rng = np.random.default_rng(3)
    n, box = 150, np.eye(dimension) * 6.5
    x = rng.uniform(-3, 3, (2, n, dimension))
    typeid = rng.integers(0, types, n)
    found = ensemble.forces(tables, x, typeid, box, instruction_set=name)
    for k, table in enumerate(tables):
        u, forces, stress = all_pairs(table, x[k], typeid, box)
        size = np.abs(forces).max()
        assert found.energy[k] == pytest.approx(u, rel=1e-13)
        assert np.abs(found.forces[k] - forces).max() < 1e-13 * size
        assert np.abs(found.stress[k] - stress).max() < 1e-12 * np.abs(stress).max()


def test_newton_ends_a_minimisation_at_the_formulas_minimum(two: PairTable) -> None:
    made = ensemble.quench(two, 200, 1.2, 3, 2, seed=5, composition=[0.8, 0.2])
    assert made.converged.all()
    assert (made.hessian_products > 0).all()
    assert np.abs(made.max_force).max() <= 1e-10
    finer = ensemble.minimize(mixture(2, 1e-11), made.positions, made.typeid, made.boxes)
    assert finer.converged.all()
    assert finer.energy == pytest.approx(made.energy, rel=1e-9)
    assert np.abs(finer.positions - made.positions).max() < 1e-6


def test_it_takes_all_preparations(two: PairTable) -> None:
    warm = ensemble.anneal(
        two, 300, 1.1, 3, 2, temperature=[1.0, 0.1], steps=100, dt=0.002, pressure=1.0
    )
    assert warm.ok.all()
    assert warm.pressure == pytest.approx([1.0, 1.0], rel=1e-5)
    dense = ensemble.compress(two, 200, 1.1, 1.2, 3, increments=3)
    assert dense.ok.all()
    # It attracts: it holds a pull.
    pulled = ensemble.minimize(two, warm.positions, warm.typeid, warm.boxes, pressure=-0.5)
    assert pulled.pressure == pytest.approx([-0.5, -0.5], rel=1e-5)


def test_its_own_formula_as_a_table_gives_the_formulas_packing() -> None:
    def soft(sigma: float, stiffness: float) -> Callable[[np.ndarray], Arrays]:
        def formula(r: np.ndarray) -> Arrays:
            x = 1 - r / sigma
            return (
                stiffness / 2 * x * x,
                -stiffness / sigma * x,
                stiffness / sigma**2 + 0 * r,
            )

        return formula

    parameters = {"diameters": np.array([1.0, 1.4]), "stiffness": np.array([1.0, 2.0, 3.0])}
    sigma = [1.0, 1.2, 1.4]
    table = build_table(
        [soft(s, k) for s, k in zip(sigma, parameters["stiffness"], strict=True)],
        [[s] for s in sigma],
        parameters["diameters"],
        potential="soft_sphere",
        parameters=parameters,
    )

    class Formula:
        potential = "soft_sphere"

        def arrays(self) -> Mapping[str, np.ndarray]:
            return parameters

    start = ensemble.quench(Formula(), 60, 0.9, 2, 2, seed=4)
    shaken = start.positions + 1e-5 * np.random.default_rng(1).normal(size=start.positions.shape)
    ends = [
        ensemble.minimize(theta, shaken, start.typeid, start.boxes, tolerance=1e-11)
        for theta in (Formula(), table)
    ]
    assert ends[1].energy == pytest.approx(ends[0].energy, rel=1e-8)
    assert np.abs(ends[1].max_force).max() <= 1e-11
    assert next(ends[1].frames()).foreign is False
    with pytest.raises(InputError, match="particles that only repel"):
        ensemble.minimize(table, shaken, start.typeid, start.boxes, pressure=-0.1)


class Own:
    """A potential as a user's class has it."""

    potential = "lennard_jones_smooth"

    def __init__(self, made: Any) -> None:
        self.made, self.asked = made, 0

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {"diameters": np.ones(2)}

    def table(self) -> Any:
        self.asked += 1
        return self.made


def test_any_potential_with_a_table_will_do(two: PairTable, tmp_path: Path) -> None:
    theta = Own(two)
    made = ensemble.quench(theta, 200, 1.1, 3, 2, seed=5, tolerance=1e-6)
    assert theta.asked == 1
    same = ensemble.quench(two, 200, 1.1, 3, 2, seed=5, tolerance=1e-6)
    assert np.array_equal(made.positions, same.positions)
    path = tmp_path / "own.gsd"
    made.write(path)
    for frame, x in zip(read_gsd(path), made.positions, strict=True):
        assert frame.foreign
        assert frame.potential == theta.potential
        assert np.array_equal(frame.positions, x)
        for name, values in two.parameters.items():
            assert np.array_equal(frame.parameters[name], values)
    # What was read has no table: the engine cannot go on with it alone.
    start = ensemble.read_start(path)
    with pytest.raises(
        UnknownPotentialError, match=r"as a table: see amorph\.handover\.build_table"
    ):
        ensemble.minimize(start.parameters, start.positions, start.typeid, start.box)
    again = ensemble.minimize(two, start.positions, start.typeid, start.box, tolerance=1e-6)
    assert again.steps.max() <= 1


def test_what_is_no_table_is_told(two: PairTable) -> None:
    x, typeid, box = np.zeros((1, 2, 3)), [0, 1], np.eye(3) * 6
    x[0, 1, 0] = 1
    with pytest.raises(InputError, match=r"Own\.table\(\) gives None: it must give a PairTable"):
        ensemble.minimize(Own(None), x, typeid, box)
    for theta, match in (
        ([two, mixture(3)], "number of types of replica 1 is 3"),
        ([two, dataclasses.replace(two, potential="other")], "potential of replica 1 is other"),
    ):
        with pytest.raises(InputError, match=match):
            ensemble.forces(theta, np.repeat(x, 2, axis=0), typeid, box)
