"""Springs between listed pairs: against their formula, and beside a pair potential."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.ensemble import Bonds
from amorph.handover import InputError, read_gsd

SOFT = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)


def network(dimension: int, replicas: int = 3, seed: int = 1) -> tuple[Any, list[Any]]:
    """Packings and the pairs that touch in each."""
    density = 0.8 if dimension == 2 else 0.75
    packings = ensemble.quench(SOFT, 64, density, dimension, replicas, seed=seed)
    sigma = 0.5 * np.add.outer(*2 * [np.array([1.0, 1.4])[packings.typeid]])
    side = np.diag(packings.boxes[0])
    bonds = []
    for x in packings.positions:
        d = x[:, None] - x[None]
        d -= side * np.rint(d / side)
        r = np.linalg.norm(d, axis=2)
        bonds.append(np.argwhere(np.triu(r < 1.05 * sigma, 1)))
    return packings, bonds


def energy_of(
    x: np.ndarray, side: np.ndarray, pairs: np.ndarray, k: np.ndarray, length: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, forces and stress, typed anew."""
    d = x[pairs[:, 1]] - x[pairs[:, 0]]
    d -= side * np.rint(d / side)
    r = np.linalg.norm(d, axis=1)
    pull = (k * (r - length) / r)[:, None] * d
    f = np.zeros_like(x)
    np.add.at(f, pairs[:, 0], pull)
    np.add.at(f, pairs[:, 1], -pull)
    stress = np.einsum("ba,bc->ac", pull, d) / np.prod(side)
    return 0.5 * float((k * (r - length) ** 2).sum()), f, stress


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("name", ensemble.instruction_sets())
def test_a_network_at_rest_is_at_rest_by_the_formula(name: str, dimension: int) -> None:
    packings, pairs = network(dimension)
    rng = np.random.default_rng(dimension)
    bonds = [
        Bonds(rng.permutation(p), rng.uniform(0.5, 2.0, len(p)), rng.uniform(0.8, 1.3, len(p)))
        for p in pairs
    ]
    done = ensemble.prepare(
        None,
        packings.positions,
        packings.typeid,
        packings.boxes[0],
        [ensemble.Minimize(tolerance=1e-11)],
        bonds=bonds,
        instruction_set=name,
    )
    assert done.converged.all()
    side = np.diag(packings.boxes[0])
    for r, own in enumerate(bonds):
        u, f, stress = energy_of(
            done.positions[r],
            side,
            *(np.asarray(a) for a in (own.pairs, own.stiffness, own.length)),
        )
        assert done.energy[r] == pytest.approx(u, rel=1e-12)
        assert np.linalg.norm(f, axis=1).max() < 1.1e-11
        assert np.abs(done.stress[r] - stress).max() < 1e-13  # type: ignore[index]
        assert u > 0.1, "the network is frustrated"


def test_bonds_add_to_the_pair_forces() -> None:
    packings, pairs = network(2)
    x = packings.positions + 0.02 * np.random.default_rng(1).standard_normal((3, 64, 2))
    start = ensemble.forces(SOFT, x, packings.typeid, packings.boxes[0])
    side = np.diag(packings.boxes[0])
    bonds = [Bonds(p, 0.7, 1.1) for p in pairs]
    # One short Newtonian step from rest tells the force: x' = x + dt^2/2 F.
    dt = 1e-4
    stage = ensemble.Langevin(1, dt, 0.0, friction=0.0, draw_velocities=False)
    moved = ensemble.prepare(
        SOFT, x, packings.typeid, packings.boxes[0], [stage], bonds=bonds, trajectory_every=1
    )
    assert moved.trajectory is not None
    assert moved.velocities is not None
    for r, p in enumerate(pairs):
        ones = np.ones(len(p))
        u, f, _ = energy_of(moved.positions[r], side, p, 0.7 * ones, 1.1 * ones)
        _, before, _ = energy_of(x[r], side, p, 0.7 * ones, 1.1 * ones)
        after = ensemble.forces(SOFT, moved.positions[r], packings.typeid, packings.boxes[0])
        whole = 0.5 * (start.forces[r] + before + after.forces[0] + f)
        np.testing.assert_allclose(moved.velocities[r], dt * whole, atol=1e-15)
        assert moved.energy[r] == pytest.approx(u + after.energy[0], rel=1e-12)


def test_rest_lengths_of_the_start_and_newtons_finish() -> None:
    packings, pairs = network(3)
    kept = ensemble.prepare(
        None,
        packings.positions,
        packings.typeid,
        packings.boxes[0],
        [ensemble.Minimize()],
        bonds=[Bonds(p, 1.0) for p in pairs],
    )
    # As long as they are at the start: nothing moves, nothing is stored.
    assert np.abs(kept.energy).max() < 1e-25
    assert (kept.steps == 0).all()
    noisy = packings.positions + 0.05 * np.random.default_rng(3).standard_normal((3, 64, 3))
    bonds = [Bonds(p, 1.0, 1.1) for p in pairs]
    args = (packings.typeid, packings.boxes[0])
    with_newton, alone = (
        ensemble.prepare(
            None, noisy, *args, [ensemble.Minimize(tolerance=1e-11, newton=n)], bonds=bonds
        )
        for n in ({}, {"start": 0.0})
    )
    assert (with_newton.hessian_products > 0).all()
    assert with_newton.energy == pytest.approx(alone.energy, rel=1e-9)


def test_a_network_under_pressure() -> None:
    packings, pairs = network(2)
    done = ensemble.prepare(
        None,
        packings.positions,
        packings.typeid,
        packings.boxes[0],
        [ensemble.Minimize(tolerance=1e-11, pressure=0.02)],
        bonds=[Bonds(p, 1.0) for p in pairs],
    )
    assert done.converged.all()
    assert done.pressure == pytest.approx(np.full(3, 0.02), rel=1e-6)
    assert done.boxes is not None
    assert (done.boxes[:, 0, 0] < packings.boxes[0, 0, 0]).all()


def test_bonds_are_written_and_come_back(tmp_path: Path) -> None:
    packings, pairs = network(2)
    done = ensemble.prepare(
        SOFT,
        packings.positions,
        packings.typeid,
        packings.boxes[0],
        [ensemble.Minimize()],
        bonds=[Bonds(p, 0.3, 1.0) for p in pairs],
    )
    done.write(tmp_path / "bonds.gsd")
    for frame, p in zip(read_gsd(tmp_path / "bonds.gsd"), pairs, strict=True):
        assert frame.bonds is not None
        np.testing.assert_array_equal(frame.bonds, p)
        assert frame.log["springs/stiffness"].tolist() == [0.3] * len(p)
        assert frame.log["springs/length"].tolist() == [1.0] * len(p)


@pytest.mark.parametrize(
    ("bonds", "named"),
    [
        (Bonds([[0, 64]], 1.0), "reach from 0 to 64"),
        (Bonds([[3, 3]], 1.0), "particle 3 with itself"),
        (Bonds([[1, 2], [2, 1]], 1.0), r"pair \[1, 2\] stands there twice"),
        (Bonds([[0, 1, 2]], 1.0), r"\(B, 2\)"),
        (Bonds(np.zeros((0, 2), int), 1.0), r"\(B, 2\)"),
        (Bonds([[0, 1]], 0.0), "stiffness must be finite and greater than 0"),
        (Bonds([[0, 1]], 1.0, -1.0), "length must be finite and at least 0"),
        (Bonds([[0, 1]], [1.0, 2.0]), r"stiffness has shape \(2,\)"),
    ],
)
def test_impossible_bonds_are_named(bonds: Bonds, named: str) -> None:
    packings, _ = network(2, 1)
    x = np.array(packings.positions)
    x[:, 1] = x[:, 0] + 0.1
    with pytest.raises(InputError, match=named):
        ensemble.prepare(
            None, x, packings.typeid, packings.boxes[0], [ensemble.Minimize()], bonds=bonds
        )


def test_what_bonds_need() -> None:
    packings, _ = network(2, 2)
    args = (packings.positions, packings.typeid, packings.boxes[0], [ensemble.Minimize()])
    with pytest.raises(InputError, match="neither a potential nor bonds"):
        ensemble.prepare(None, *args)
    with pytest.raises(InputError, match="3 lists of bonds for 2 replicas"):
        ensemble.prepare(None, *args, bonds=[Bonds([[0, 1]], 1.0)] * 3)
    x = np.array(packings.positions)
    x[1, 0], x[1, 1] = [0.0, 0.0], np.diag(packings.boxes[0]) * [0.5, 0.45]
    with pytest.raises(InputError, match="in replica 1 bond 0"):
        ensemble.prepare(None, x, *args[1:], bonds=Bonds([[0, 1]], 1.0))
