"""Dense, sparse and iterative solutions of one Hessian: the same numbers, the same refusals."""

import platform
from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import Packing
from amorph.bridge.matter.mechanics import state_of
from amorph.bridge.minima.rattlers import find_rattlers
from amorph.bridge.minima.relaxing import relaxation
from amorph.bridge.solve.blocks import BlockMatrix, assembled
from amorph.bridge.solve.factors import factorise, lowest_mode
from amorph.bridge.solve.sparse import installed
from amorph.handover import InputError

SPARSE = ["band", *installed(), "krylov"]
FEATURES = ["elastic_tensor", "poisson_ratio", "frequencies_4"]


def test_the_libraries_are_here() -> None:
    """The test environment has them all, so that none is left out in silence."""
    expected = ("pardiso", "cholmod", "superlu")
    # Intel's library is for its kind of processor alone.
    assert installed() == (expected if platform.machine() == "x86_64" else expected[1:])


@pytest.mark.parametrize("solver", SPARSE)
@pytest.mark.parametrize("kind", ["plane", "space", "rattlers"])
def test_same_answers(
    solver: str, kind: str, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing,
    references: Any,
) -> None:  # fmt: skip
    theta, packing = {
        "plane": (theta2, solid),
        "space": (spheres3, solid3),
        "rattlers": references["soft2d_n128_rattlers_s12"][:2],
    }[kind]
    packing = bridge.relax(theta, packing)
    fresh = packing.with_positions(packing.positions)
    dense = bridge.jacobian(theta, packing, FEATURES, "diameters/particle")
    assert dense.response.solver == "dense"
    found = bridge.jacobian(theta, fresh, FEATURES, "diameters/particle", solver=solver)
    assert found.response.solver == solver
    for name in FEATURES:
        np.testing.assert_allclose(found.values[name], dense.values[name], rtol=1e-9, atol=1e-12)
    scale = np.abs(dense.matrix).max(axis=1)
    assert (np.abs(found.matrix - dense.matrix).max(axis=1) < 1e-8 * scale).all()
    np.testing.assert_array_equal(found.response.rattlers, dense.response.rattlers)


@pytest.mark.parametrize("solver", SPARSE)
@pytest.mark.parametrize("dimension", [2, 3])
def test_cluster(solver: str, dimension: int) -> None:
    """In open space a few coordinates hold the rotations too."""
    theta = bridge.HarmonicMorse(diameters=[1.0], binding=1.0, stiffness=50.0, alpha=6.0)
    x = 1.1 * np.random.default_rng(0).uniform(-1, 1, (7, dimension))
    cluster = bridge.relax(theta, Packing.of(x, np.zeros(7, dtype=int)))
    dense = bridge.jacobian(theta, cluster, ["energy", "frequencies_3"])
    fresh = cluster.with_positions(cluster.positions)
    found = bridge.jacobian(theta, fresh, ["energy", "frequencies_3"], solver=solver)
    assert found.response.solver == solver
    np.testing.assert_allclose(found.matrix, dense.matrix, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("solver", ["dense", *SPARSE])
def test_relaxes_to_the_same_minimum(solver: str, theta2: Any, solid: Packing) -> None:
    push = 1e-5 * np.random.default_rng(1).standard_normal(solid.positions.shape)
    found = relaxation(theta2, solid.with_positions(solid.positions + push), solver=solver)
    back = found.packing.positions - solid.positions
    assert np.abs(back - back.mean(axis=0)).max() < 1e-9
    assert found.response.solver == solver


@pytest.mark.parametrize("solver", ["dense", *SPARSE])
def test_saddles_and_floppy_packings_are_refused(solver: str) -> None:
    spheres = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
    grid = 0.9 * np.stack(np.meshgrid(*[np.arange(6.0)] * 2, indexing="ij"), -1).reshape(-1, 2)
    lattice = Packing.of(grid, np.zeros(36, dtype=int), np.eye(2) * 5.4)
    with pytest.raises(bridge.errors.NotAMinimumError, match="eigenvalue"):
        bridge.response(spheres, lattice, solver=solver)

    # Two rows of bonded spheres that slide past each other for free: unstressed, no rattlers.
    theta = bridge.HarmonicMorse(diameters=[1.0], binding=1.0, stiffness=50.0, alpha=20.0)
    chain = Packing.of(
        np.stack([np.arange(6.0), np.zeros(6)], axis=1), np.zeros(6, dtype=int), np.eye(2) * 6
    )
    with pytest.raises(bridge.errors.NotAMinimumError):
        bridge.response(theta, chain, solver=solver)


def test_lowest_mode_of_a_large_saddle() -> None:
    """Found by inverse iterations with a raised matrix: the same as densely."""
    theta = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
    side = 34  # 1156 particles: above what is done densely
    grid = 0.9 * np.stack(np.meshgrid(*[np.arange(float(side))] * 2, indexing="ij"), -1)
    lattice = Packing.of(
        grid.reshape(-1, 2), np.zeros(side * side, dtype=int), np.eye(2) * 0.9 * side
    )
    state = state_of(theta, lattice)
    lowest, mode, _ = lowest_mode(theta, state)
    h = bridge.hessian(theta, lattice)
    assert lowest == pytest.approx(np.linalg.eigvalsh(h)[0], rel=1e-8)
    assert lowest < 0
    v = mode.ravel()
    np.testing.assert_allclose(h @ v, lowest * v, atol=1e-8)


def test_choice_by_size(theta2: Any) -> None:
    """The form of the matrix that takes least work is chosen by itself, whichever it is."""
    batch = ensemble.quench(theta2, 1200, 1.4, 2, 1, seed=1, threads=1)
    packing = bridge.relax(theta2, Packing(batch.positions[0], batch.typeid, batch.boxes[0]))
    found = bridge.response(theta2, packing)
    assert found.solver in ("band", installed()[0])
    dense = bridge.measure(theta2, packing.with_positions(packing.positions), FEATURES)
    again = packing.with_positions(packing.positions)
    by_dense = bridge.response(theta2, again, solver="dense")
    assert by_dense.solver == "dense"
    compared = bridge.measure(theta2, again, FEATURES)
    for name in FEATURES:
        np.testing.assert_allclose(dense.values[name], compared.values[name], rtol=1e-8, atol=1e-11)


def test_unknown_solver(theta2: Any, solid: Packing) -> None:
    with pytest.raises(InputError, match="solver = 'lu'"):
        bridge.response(theta2, solid.with_positions(solid.positions), solver="lu")


def triangular(side: int) -> Packing:
    """A triangular lattice of touching spheres, periodic."""
    a, b = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    cell = 0.9 * np.array([[1.0, 0.5], [0.0, np.sqrt(0.75)]])
    x = np.stack([a.ravel(), b.ravel()], axis=1) @ cell.T
    return Packing.of(x, np.zeros(side * side, dtype=int), cell * side)


@pytest.mark.parametrize(("side", "method"), [(8, "dense"), (20, "band"), (60, "direct")])
def test_choice_by_work(side: int, method: str) -> None:
    theta = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
    found = factorise(theta, state_of(theta, triangular(side)))
    assert found.method == (installed()[0] if method == "direct" else method)


@pytest.mark.parametrize("dimension", [2, 3])
def test_assembly(dimension: int, theta2: Any, solid: Packing, spheres3: Any, solid3: Any) -> None:
    theta, packing = (theta2, solid) if dimension == 2 else (spheres3, solid3)
    state = state_of(theta, packing)
    whole = assembled(theta, state)
    np.testing.assert_allclose(
        whole.matrix.full().toarray(), bridge.hessian(theta, packing), atol=1e-12
    )
    matrix = whole.grounded()
    full = matrix.full().toarray()
    ground = np.zeros_like(full)
    ground[whole.grounds, whole.grounds] = whole.stiffness
    np.testing.assert_allclose(full, whole.matrix.full().toarray() + ground, atol=1e-13)
    np.testing.assert_array_equal(matrix.upper().toarray(), np.triu(full))
    np.testing.assert_array_equal(np.tril(matrix.dense()), np.tril(full))
    n, d = packing.positions.shape
    rank = np.random.default_rng(0).permutation(n)
    place = (d * rank[:, None] + np.arange(d)).ravel()
    ordered = np.zeros_like(full)
    ordered[np.ix_(place, place)] = full
    band = matrix.banded(rank, n * d - 1, n * d)
    for below in range(n * d):
        np.testing.assert_array_equal(band[below, : n * d - below], np.diagonal(ordered, -below))


def test_pairs_listed_twice() -> None:
    """A pair that is bonded and near stands there twice: its blocks are added."""
    rng = np.random.default_rng(3)
    i, j = np.array([0, 2, 0, 1]), np.array([1, 1, 1, 2])
    blocks = rng.standard_normal((4, 2, 2))
    blocks = blocks + blocks.transpose(0, 2, 1)
    found = BlockMatrix.of_pairs(3, i, j, blocks.transpose(1, 2, 0))
    expected = np.zeros((6, 6))
    for a, b, k in zip(i, j, blocks, strict=True):
        for p, q, s in ((a, a, 1), (b, b, 1), (a, b, -1), (b, a, -1)):
            expected[2 * p : 2 * p + 2, 2 * q : 2 * q + 2] += s * k
    np.testing.assert_allclose(found.full().toarray(), expected, atol=1e-14)
    columns = rng.standard_normal((6, 2))
    columns[2:4, 0] = 0.0  # on the first and the last particle alone
    changed = found.plus(columns, np.array([0.5, -2.0]))
    expected += (columns * [0.5, -2.0]) @ columns.T
    np.testing.assert_allclose(changed.full().toarray(), expected, atol=1e-14)
    np.testing.assert_allclose(changed.upper().toarray(), np.triu(expected), atol=1e-14)


def test_residuals_are_small(theta2: Any, solid: Packing) -> None:
    """H x = b, checked with the dense Hessian."""
    state = state_of(theta2, solid)
    rattlers = find_rattlers(theta2, state)
    assert not rattlers.any()
    h = bridge.hessian(theta2, solid)
    load = np.random.default_rng(0).standard_normal((48, 2, 3))
    load -= load.mean(axis=0)
    for solver in ("dense", *SPARSE):
        x = factorise(theta2, state, solver).solve(load)
        off = h @ x.reshape(96, 3) - load.reshape(96, 3)
        assert np.abs(off).max() < 1e-9, solver
        assert np.abs(x.mean(axis=0)).max() < 1e-12
