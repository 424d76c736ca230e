"""Factors at saddles, with fixed particles, updated and renewed, against dense linear algebra."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from amorph import bridge
from amorph.bridge import Packing
from amorph.bridge.matter.mechanics import State, state_of
from amorph.bridge.minima.rattlers import find_rattlers
from amorph.bridge.solve.factors import Factor, NotPositiveError, Sparse, Updated, factorise
from amorph.bridge.solve.sparse import installed
from amorph.handover import InputError

DEFINITE = ["dense", "band", *installed(), "krylov"]
DIRECT = ["dense", *installed()]
INDEFINITE = [*DIRECT, "krylov"]


def hessian(theta: Any, state: State) -> np.ndarray:
    """H of the particles that move, zero elsewhere, by NumPy from the pairs' second derivatives."""
    still = np.repeat(np.asarray(state.still), state.positions.shape[1])
    packing = Packing(state.positions, state.typeid, state.box)
    out = np.array(bridge.hessian(theta, packing))
    out[still] = out[:, still] = 0.0
    return out


def solution(matrix: np.ndarray, load: np.ndarray) -> np.ndarray:
    """By the pseudo-inverse, zero modes left out."""
    flat = load.reshape(len(matrix), -1)
    return (np.linalg.pinv(matrix, rcond=1e-10, hermitian=True) @ flat).reshape(load.shape)


def loads(state: State, columns: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((*state.positions.shape, columns))


def moved(theta: Any, packing: Packing, size: float) -> State:
    """A packing far from rest: its translations are zero modes all the same."""
    step = size * np.random.default_rng(2).standard_normal(packing.positions.shape)
    return state_of(theta, packing.with_positions(packing.positions + step))


def square(dimension: int) -> tuple[Any, State]:
    """Four particles on a square, at rest by its symmetry: a saddle on the way to a rhombus."""
    theta = bridge.HarmonicMorse(diameters=[1.0], binding=1.0, stiffness=50.0, alpha=3.0)

    def at(side: float) -> Packing:
        x = np.zeros((4, dimension))
        x[:, :2] = side * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        return Packing.of(x, np.zeros(4, dtype=int))

    side = brentq(lambda s: bridge.forces(theta, at(s))[0, 0], 0.9, 1.05, xtol=1e-15)
    return theta, state_of(theta, at(side))


@pytest.fixture(scope="module")
def saddles(theta2: Any, solid: Packing, spheres3: Any, solid3: Packing) -> dict[str, Any]:
    plane, space = moved(theta2, solid, 0.2), moved(spheres3, solid3, 0.15)
    rattlers = np.zeros(len(solid.positions), dtype=bool)
    rattlers[[3, 17]] = True
    fixed = np.roll(rattlers, 5)
    return {
        "plane": (theta2, plane),
        "space": (spheres3, space),
        "square": square(2),
        "square in space": square(3),
        "fixed": (theta2, replace(plane, fixed=fixed)),
    }


KINDS = ["plane", "space", "square", "square in space", "fixed"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", INDEFINITE)
def test_saddles(solver: str, kind: str, saddles: dict[str, Any]) -> None:
    """Solved, and their negative modes counted; to be definite they are refused."""
    theta, state = saddles[kind]
    h = hessian(theta, state)
    values = np.linalg.eigvalsh(h)
    negative = int(np.sum(values < -1e-9 * values[-1]))
    assert negative > 0
    factor = factorise(theta, state, solver, definite=False)
    load = loads(state, 3)
    expected = solution(h, load)
    np.testing.assert_allclose(
        factor.solve(load), expected, rtol=0, atol=1e-9 * np.abs(expected).max()
    )
    found = factor.inertia()
    if solver == "krylov":
        assert found is None
    else:
        assert found is not None
        assert (found.negative, found.zero, found.exact) == (negative, 0, True)
    small = np.min(np.abs(values[np.abs(values) > 1e-9 * values[-1]])) / factor.stiffness
    assert factor.smallest() > 0.999 * small
    with pytest.raises(NotPositiveError):
        factor.prove()
    assert definite_factor(theta, state, solver) is None


def definite_factor(theta: Any, state: State, solver: str) -> Factor | None:
    """None where it is seen that the matrix is not positive definite, at the latest by proving."""
    try:
        factor = factorise(theta, state, solver)
        factor.prove()
    except NotPositiveError:
        return None
    return factor


@pytest.mark.parametrize("solver", DEFINITE)
def test_fixed_particles_are_no_unknowns(solver: str, theta2: Any, solid: Packing) -> None:
    fixed = np.zeros(len(solid.positions), dtype=bool)
    fixed[[0, 1, 30]] = True
    state = replace(state_of(theta2, solid), fixed=fixed)
    h = hessian(theta2, state)
    factor = factorise(theta2, state, solver)
    factor.prove()
    assert factor.rigid.shape[1] == 0
    load = loads(state, 2)
    load[fixed] = 0.0
    expected = solution(h, load)
    np.testing.assert_allclose(
        factor.solve(load), expected, rtol=0, atol=1e-9 * np.abs(expected).max()
    )
    assert not factor.solve(load)[fixed].any()


def test_zero_modes_are_told(saddles: dict[str, Any]) -> None:
    """A chain that bends for free: counted, and no solution is given."""
    theta = bridge.HarmonicMorse(diameters=[1.0], binding=1.0, stiffness=50.0, alpha=20.0)
    x = np.stack([np.arange(6.0), np.zeros(6)], axis=1)
    state = state_of(theta, Packing.of(x, np.zeros(6, dtype=int), np.eye(2) * 6))
    factor = factorise(theta, state, "dense", definite=False)
    found = factor.inertia()
    assert found is not None
    assert (found.negative, found.zero) == (0, 5)
    with pytest.raises(bridge.errors.SingularHessianError, match="5 zero modes"):
        factor.solve(loads(state, 1))


def test_a_band_is_for_minima(saddles: dict[str, Any]) -> None:
    theta, state = saddles["plane"]
    with pytest.raises(InputError, match="no band"):
        factorise(theta, state, "band", definite=False)


@pytest.mark.parametrize("shape", ["sheared", "cluster"])
def test_band_of_many_columns(shape: str, theta2: Any, solid: Packing) -> None:
    """Blocks of the band do what LAPACK does column by column."""
    if shape == "sheared":
        f = np.array([[1.0, 0.05], [0.0, 1.0]])
        packing = Packing(solid.positions @ f.T, solid.typeid, f @ solid.box)
    else:
        packing = Packing(solid.positions, solid.typeid, None)
    state = state_of(theta2, packing)
    load = loads(state, 20)
    # Not at rest: made definite by raising the diagonal.
    band, dense = (factorise(theta2, state, s, raised=1.0) for s in ("band", "dense"))
    one_by_one = np.concatenate([band.solve(load[:, :, [k]]) for k in range(20)], axis=2)
    expected = dense.solve(load)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(band.solve(load), expected, rtol=0, atol=1e-11 * scale)
    np.testing.assert_allclose(one_by_one, expected, rtol=0, atol=1e-11 * scale)
    kept = dense.project(load.reshape(-1, 20)).reshape(load.shape)
    np.testing.assert_allclose(band.compliance(kept), dense.compliance(kept), rtol=1e-10)


@pytest.mark.parametrize("definite", [True, False])
@pytest.mark.parametrize("solver", installed())
def test_an_analysis_serves_again(solver: str, definite: bool, theta2: Any, solid: Packing) -> None:
    """Where the pairs are the same: with the same result, and without harm to the first factor."""
    state = state_of(theta2, solid)
    near = replace(state, positions=state.positions * (1 + 1e-9))
    load = loads(state, 2)
    first = factorise(theta2, state, solver, definite=definite)
    before = first.solve(load)
    new = factorise(theta2, near, solver, definite=definite)
    like = factorise(theta2, near, solver, definite=definite, like=first)
    np.testing.assert_array_equal(like.solve(load), new.solve(load))
    np.testing.assert_array_equal(first.solve(load), before)
    assert not np.array_equal(new.solve(load), before)
    assert isinstance(first, Sparse)
    assert isinstance(like, Sparse)
    assert like._direct._analysis is first._direct._analysis
    del first
    again = factorise(theta2, state, solver, definite=definite, like=like)
    np.testing.assert_array_equal(again.solve(load), before)
    # Other pairs: nothing to use.
    far = replace(state, positions=state.positions * 1.01)
    other = factorise(theta2, far, solver, definite=definite, like=like)
    assert isinstance(other, Sparse)
    assert other._direct._analysis is not like._direct._analysis
    other.solve(load)


# Updates


def bond(state: State, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
    """The columns of a bond, along and across, (N, d, d)."""
    x = np.asarray(state.positions)
    vector = x[j] - x[i]
    if state.box is not None:
        vector = vector - state.box @ np.rint(np.linalg.solve(state.box, vector))
    axes = np.linalg.svd(vector[None])[2]  # along first
    out = np.zeros((*x.shape, x.shape[1]))
    out[i], out[j] = -axes.T, axes.T
    return out, vector


def network() -> tuple[Any, State]:
    """A triangular lattice of springs, and a particle that hangs on two of its own."""
    a, b = np.meshgrid(np.arange(5), np.arange(5), indexing="ij")
    cell = np.array([[1.0, 0.5], [0.0, np.sqrt(0.75)]])
    x = np.stack([a.ravel(), b.ravel()], axis=1) @ cell.T
    rng = np.random.default_rng(5)
    x = x + 0.05 * rng.standard_normal(x.shape)
    box = 5 * cell
    i, j = np.triu_indices(25, 1)
    vector = x[j] - x[i]
    vector -= np.rint(np.linalg.solve(box, vector.T)).T @ box.T
    near = np.linalg.norm(vector, axis=1) < 1.4
    bonds = np.stack([i[near], j[near]], axis=1)
    x = np.concatenate([x, [x[0] + [0.4, 0.3]]])
    bonds = np.concatenate([bonds, [[0, 25], [1, 25]]])
    vector = x[bonds[:, 1]] - x[bonds[:, 0]]
    vector -= np.rint(np.linalg.solve(box, vector.T)).T @ box.T
    packing = Packing.of(x, np.zeros(26, dtype=int), box, bonds=bonds)
    theta = bridge.Springs(
        stiffness=rng.uniform(0.5, 2.0, len(bonds)), length=np.linalg.norm(vector, axis=1)
    )
    return theta, state_of(theta, packing)


def changed(h: np.ndarray, columns: np.ndarray, weights: Any) -> np.ndarray:
    flat = columns.reshape(len(h), -1)
    return h + (flat * np.asarray(weights)) @ flat.T


def check(factor: Factor, h: np.ndarray, state: State, tolerance: float = 1e-9) -> None:
    """Solutions, compliances and negative modes of a matrix, by NumPy."""
    load = loads(state, 3)
    load = factor.project(load.reshape(len(h), -1)).reshape(load.shape)
    expected = solution(h, load)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(factor.solve(load), expected, rtol=0, atol=tolerance * scale)
    stiff = np.einsum("ndk,ndk->k", load, expected)
    close = (1e-7 if factor.method == "krylov" else tolerance) * np.abs(stiff).max()
    np.testing.assert_allclose(factor.compliance(load), stiff, rtol=0, atol=close)
    found = factor.inertia()
    if found is not None:
        values = np.linalg.eigvalsh(h)
        assert found.negative == int(np.sum(values < -1e-9 * values[-1]))
        assert found.zero == 0


@pytest.fixture(scope="module")
def updated(theta2: Any, solid: Packing, spheres3: Any, solid3: Packing) -> dict[str, Any]:
    """States at rest: in the plane, in space, a cluster, a network."""
    theta = bridge.HarmonicMorse(diameters=[1.0], binding=1.0, stiffness=50.0, alpha=4.0)
    x = np.random.default_rng(0).uniform(-1, 1, (7, 3))
    cluster = bridge.relax(theta, Packing.of(1.1 * x, np.zeros(7, dtype=int)))
    springs, net = network()
    bonds = np.stack([net.bonds.i, net.bonds.j], axis=1)[: int(net.bonds.count)]
    packing = Packing(net.positions, net.typeid, net.box, bonds)
    at_rest = bridge.response(spheres3, solid3).state
    return {
        "plane": (theta2, state_of(theta2, solid), bridge.hessian(theta2, solid)),
        "space": (spheres3, at_rest, hessian(spheres3, at_rest)),
        "cluster": (theta, state_of(theta, cluster), bridge.hessian(theta, cluster)),
        "network": (springs, net, bridge.hessian(springs, packing)),
    }


@pytest.mark.parametrize("kind", ["plane", "space", "cluster", "network"])
@pytest.mark.parametrize("solver", DEFINITE)
def test_updates(solver: str, kind: str, updated: dict[str, Any]) -> None:
    """A bond weakened, another added, both changed again: as the changed matrix, factorised."""
    theta, state, h = updated[kind]
    factor = factorise(theta, state, solver)
    moving = np.flatnonzero(~np.asarray(state.still))
    i, j, k = moving[[0, 2, 5]]
    first, second = bond(state, i, j)[0], bond(state, j, k)[0]
    stiffness = factor.stiffness
    weaker = factor.update(first[:, :, :1], [-0.2 * stiffness])
    h = changed(h, first[:, :, :1], [-0.2 * stiffness])
    check(weaker, h, state)
    assert isinstance(weaker, Updated)
    added = weaker.update(second[:, :, :1], [1.5 * stiffness])
    h = changed(h, second[:, :, :1], [1.5 * stiffness])
    check(added, h, state)
    assert isinstance(added, Updated)
    assert added.base is factor
    assert added.rank == 2
    # The first again, back and stiffer than ever; what changes nothing is no column.
    again = added.update(np.stack([first[:, :, 0], second[:, :, 0]], axis=2), [stiffness, 0.0])
    h = changed(h, first[:, :, :1], [stiffness])
    check(again, h, state)
    assert again.rank == 3
    check(again.renewed(), h, state)
    assert not isinstance(again.renewed(), Updated)
    # The factor it came from is what it was.
    check(factor, updated[kind][2], state)


def test_prestress_goes_across(updated: dict[str, Any]) -> None:
    """All columns of a bond, and columns of no bond at all, in a periodic packing."""
    theta, state, h = updated["plane"]
    factor = factorise(theta, state, "cholmod")
    columns, _ = bond(state, 3, 20)
    weights = np.array([0.7, -0.05]) * factor.stiffness
    check(factor.update(columns, weights), changed(h, columns, weights), state)
    general = loads(state, 2)
    general -= general.mean(axis=0)
    general /= np.linalg.norm(general, axis=(0, 1))
    weights = np.array([0.3, 0.6]) * factor.stiffness
    found = factor.update(general, weights)
    check(found, changed(h, general, weights), state)
    check(found.renewed(), changed(h, general, weights), state)


@pytest.mark.parametrize("solver", DIRECT)
def test_updates_may_end_at_a_saddle(solver: str, updated: dict[str, Any]) -> None:
    """The inertia follows; a saddle's factor is brought back to a minimum as well."""
    theta, state, h = updated["plane"]
    factor = factorise(theta, state, solver)
    columns, _ = bond(state, 3, 20)
    columns = columns[:, :, :1]
    lost = factor.update(columns, [-20.0 * factor.stiffness])
    matrix = changed(h, columns, [-20.0 * factor.stiffness])
    check(lost, matrix, state)
    found = lost.inertia()
    assert found is not None
    assert found.negative == 1
    with pytest.raises(NotPositiveError):
        lost.prove()
    check(lost.renewed(), matrix, state)
    back = lost.renewed().update(columns, [20.0 * factor.stiffness])
    check(back, h, state)
    back.prove()


def test_cutting_what_holds(updated: dict[str, Any]) -> None:
    """A bond in no state of self stress is refused; one in a faint one is refactorised."""
    theta, state, h = updated["network"]
    assert not find_rattlers(theta, state).any()
    last = int(state.bonds.count) - 1
    k = float(np.asarray(theta.stiffness)[last])
    i, j = int(state.bonds.i[last]), int(state.bonds.j[last])
    column = bond(state, i, j)[0][:, :, :1]
    factor = factorise(theta, state, "dense")
    with pytest.raises(bridge.errors.FloppyModeError, match="state of self stress"):
        factor.update(column, [-k])
    # A third bond holds the particle, faintly.
    other = bond(state, 6, 25)[0][:, :, :1]
    held = factor.update(other, [1e-4])
    cut = held.update(column, [-k])
    assert not isinstance(cut, Updated)
    matrix = changed(changed(h, other, [1e-4]), column, [-k])
    left = matrix @ cut.solve(loads(state, 1)).ravel()
    load = loads(state, 1)
    load -= load.mean(axis=0)
    np.testing.assert_allclose(left, load.ravel(), atol=1e-8)
    # Both at once are one change.
    both = factor.update(np.concatenate([other, column], axis=2), [1e-4, -k])
    scale = np.abs(cut.solve(load)).max()
    np.testing.assert_allclose(both.solve(load), cut.solve(load), rtol=0, atol=1e-9 * scale)


def test_changes_that_are_none(updated: dict[str, Any], loose: Any) -> None:
    theta, state, h = updated["cluster"]
    factor = factorise(theta, state)
    columns, _ = bond(state, 0, 1)
    with pytest.raises(InputError, match=r"must be \(7, 3, k\) and \(k,\)"):
        factor.update(columns, [1.0])
    with pytest.raises(InputError, match="finite"):
        factor.update(columns[:, :, :1], [np.nan])
    with pytest.raises(InputError, match="as a whole"):  # across alone it would turn
        factor.update(columns[:, :, 1:2], [1.0])
    pinned = np.zeros((7, 3, 1))
    pinned[4, 1] = 1.0
    with pytest.raises(InputError, match="as a whole"):
        factor.update(pinned, [1.0])
    check(factor.update(columns[:, :, :0], []), h, state)
    theta, packing = loose
    found = bridge.response(theta, packing)
    rattler = int(np.flatnonzero(found.rattlers)[0])
    other = int(np.flatnonzero(~found.rattlers)[0])
    with pytest.raises(InputError, match="on a rattler"):
        found.factor.update(bond(found.state, rattler, other)[0], [1.0, 0.0])


def test_bonds_to_fixed_particles(theta2: Any, solid: Packing) -> None:
    """They hold one end alone."""
    fixed = np.zeros(len(solid.positions), dtype=bool)
    fixed[[0, 1, 30]] = True
    state = replace(state_of(theta2, solid), fixed=fixed)
    h = hessian(theta2, state)
    factor = factorise(theta2, state)
    columns, _ = bond(state, 0, 7)
    found = factor.update(columns, [0.4, -0.1])
    columns[fixed] = 0.0
    check(found, changed(h, columns, [0.4, -0.1]), state)
