"""Modes and frequencies against dense algebra, closed forms of lattices, and differences."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import Packing
from amorph.bridge.features.vibrations import Modes
from amorph.handover import AmorphError, InputError


def triangular(side: int, spacing: float) -> Packing:
    """A triangular lattice of side x 2 side particles in an upright box."""
    cell = np.array([[0.0, 0.0], [0.5, np.sqrt(3) / 2]])
    at = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).reshape(-1, 2)
    x = (at[:, None] * [1.0, np.sqrt(3)] + cell).reshape(-1, 2)
    box = np.diag([side, np.sqrt(3) * side]) * spacing
    return Packing.of(spacing * x, np.zeros(len(x), dtype=int), box)


@pytest.mark.parametrize("dimension", [2, 3])
def test_modes_by_dense_algebra(
    dimension: int, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing
) -> None:
    theta, packing = (theta2, solid) if dimension == 2 else (spheres3, solid3)
    found = bridge.lowest_modes(theta, packing, 10)
    n, d = packing.positions.shape
    rattlers = int(bridge.response(theta, packing).rattlers.sum())
    assert found.n_zero == d * (1 + rattlers)
    values, vectors = np.linalg.eigh(bridge.hessian(theta, packing))
    wanted = slice(found.n_zero, found.n_zero + 10)
    np.testing.assert_allclose(found.frequencies**2, values[wanted], rtol=1e-9)
    flat = found.vectors.reshape(n * d, 10)
    np.testing.assert_allclose(flat.T @ flat, np.eye(10), atol=1e-12)
    overlap = np.abs(np.sum(flat * vectors[:, wanted], axis=0))
    np.testing.assert_allclose(overlap, 1.0, atol=1e-6)
    np.testing.assert_allclose(
        bridge.lowest_frequencies(theta, packing, 10)[found.n_zero :], found.frequencies, rtol=1e-9
    )
    squares = (vectors[:, wanted].reshape(n, d, 10) ** 2).sum(axis=1)
    expected = squares.sum(axis=0) ** 2 / (n * (squares**2).sum(axis=0))
    np.testing.assert_allclose(found.participation_ratio, expected, rtol=1e-6)
    assert ((expected > 1 / n) & (expected <= 1)).all()


def test_modes_by_iterations(theta2: Any) -> None:
    batch = ensemble.quench(theta2, 400, 1.4, 2, 1, seed=4, threads=1)
    packing = bridge.relax(theta2, Packing(batch.positions[0], batch.typeid, batch.boxes[0]))
    dense = bridge.lowest_modes(theta2, packing, 12)
    for solver in ("direct", "krylov"):
        again = packing.with_positions(packing.positions)
        assert bridge.response(theta2, again, solver=solver).solver != "dense"
        found = bridge.lowest_modes(theta2, again, 12)
        np.testing.assert_allclose(found.frequencies, dense.frequencies, rtol=1e-9)
        overlap = np.abs(np.einsum("ndk,ndk->k", found.vectors, dense.vectors))
        np.testing.assert_allclose(overlap, 1.0, atol=1e-7)


def test_triangular_lattice_of_springs() -> None:
    """ω² of plane waves in closed form; the whole spectrum."""
    side = 6
    lattice = triangular(side, 0.95)
    theta = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
    # u' = -k(1 - r)/σ, u'' = k/σ².
    r, slope, curvature = 0.95, -(1 - 0.95), 1.0
    angles = np.arange(3) * np.pi / 3
    units = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    waves = [
        2 * np.pi * np.array([a / (side * 0.95), b / (side * np.sqrt(3) * 0.95)])
        for a in range(side)
        for b in range(2 * side)
    ]
    squared = []
    for k in waves:
        d = sum(
            2 * (1 - np.cos(k @ (r * n)))
            * (curvature * np.outer(n, n) + slope / r * (np.eye(2) - np.outer(n, n)))
            for n in units
        )  # fmt: skip
        squared += list(np.linalg.eigvalsh(d))
    # An upright cell holds two particles: a and b run over its whole zone.
    expected = np.sqrt(np.maximum(np.sort(squared), 0))[2:]
    found = bridge.lowest_frequencies(theta, lattice, 10**6)
    assert len(found) == 2 * 72
    np.testing.assert_allclose(found[2:], expected, rtol=1e-9)
    states = bridge.density_of_states(theta, lattice, 20)
    assert states.n_modes == 142
    assert np.sum(states.density * np.diff(states.edges)) == pytest.approx(1.0)
    counts, _ = np.histogram(expected, states.edges)
    np.testing.assert_allclose(states.density * 142 * np.diff(states.edges), counts, atol=1e-9)


def test_degenerate_modes(theta2: Any, solid: Packing) -> None:
    """A crystal's lowest frequencies come in groups: named, unless nothing splits them."""
    lattice = triangular(6, 0.95)
    theta = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
    found = bridge.jacobian(theta, lattice, ["frequencies_5"], ["stiffness", "diameters"])
    # Every frequency grows with the square root of the stiffness: no mode is split.
    np.testing.assert_allclose(
        found.block("frequencies_5", "stiffness")[:, 0],
        found.values["frequencies_5"] / 2,
        rtol=1e-9,
    )
    with pytest.raises(bridge.errors.DegenerateModesError, match="share a frequency"):
        bridge.jacobian(theta, lattice, ["frequencies_5"], "diameters/particle")
    mean = bridge.jacobian(
        theta, lattice, ["frequencies_5"], "diameters/particle", degenerate="mean"
    )
    # Changed alike, all diameters together split nothing.
    np.testing.assert_allclose(
        mean.matrix.sum(axis=1), found.block("frequencies_5", "diameters")[:, 0], rtol=1e-7
    )
    # A disordered packing has none of this.
    bridge.jacobian(theta2, solid, ["frequencies_5"], "diameters/particle")


def test_slopes_of_split_frequencies() -> None:
    """Along a direction a degenerate group fans out: one slope for each branch."""
    lattice = triangular(6, 0.95)
    theta = bridge.SoftSphere(diameters=np.ones(72), stiffness=1.0)
    own = Packing.of(lattice.positions, np.arange(72), lattice.box)
    v = np.random.default_rng(2).standard_normal(72)
    slopes = bridge.frequency_slopes(theta, own, 4, {"diameters": v})
    h = 1e-7
    ends = []
    for sign in (1, -1):
        there = theta.replace(diameters=1.0 + sign * h * v)
        rest = bridge.relax(there, own)
        ends.append(bridge.lowest_frequencies(there, rest, 40)[2:])
    now = bridge.lowest_frequencies(theta, own, 40)[2:]
    checked = 0
    while checked < 4:
        group = np.flatnonzero(np.abs(now - now[checked]) < 1e-9 * now[checked])
        assert len(group) > 1
        branches = np.sort((ends[0] - now)[group] / h)
        wanted = slopes[group[group < 4]]
        np.testing.assert_allclose(branches[: len(wanted)], wanted, rtol=1e-4, atol=1e-5)
        # The other way the branches come in the opposite order.
        back = np.sort((now - ends[1])[group] / h)
        np.testing.assert_allclose(back, branches, rtol=1e-4, atol=1e-5)
        checked += len(group)


def test_projection_of_a_deformation(theta2: Any, solid: Packing) -> None:
    """Over all modes the weights sum to 1; a mode on modes is itself (Zhu et al., eq. 1)."""
    n = solid.n_particles
    modes = bridge.lowest_modes(theta2, solid, 2 * n)
    assert modes.vectors.shape[2] == 2 * n - modes.n_zero
    field = np.random.default_rng(0).standard_normal((n, 2))
    field -= field.mean(axis=0)
    weights = bridge.project_on_modes(modes, field)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    weights = bridge.project_on_modes(modes, 3.0 * modes.vectors[:, :, 5])
    assert weights[5] == pytest.approx(1.0, abs=1e-12)
    # A uniaxial strain's answer is mostly in soft modes.
    answer = np.asarray(bridge.response(theta2, solid).state.nonaffine)[:, :, 0]
    weights = bridge.project_on_modes(modes, answer)
    assert weights[: n // 2].sum() > 0.5
    with pytest.raises(InputError, match="no direction"):
        bridge.project_on_modes(modes, np.zeros((n, 2)))


def test_poisson_ratio_of_a_mode() -> None:
    """Of fields that are homogeneous strains it is -e_yy/e_xx, whatever their size or place."""
    rng = np.random.default_rng(5)
    theta = bridge.HarmonicMorse(diameters=[1.0], binding=1.0, stiffness=50.0, alpha=6.0)
    x = 2.0 * rng.uniform(-1, 1, (20, 2))
    cluster = bridge.relax(theta, Packing.of(x, np.zeros(20, dtype=int)))
    modes = bridge.lowest_modes(theta, cluster, 3)
    for strain, expected in [
        (np.diag([1.0, -0.3]), 0.3), (np.diag([0.2, -1.0]), 0.2), (np.eye(2), -1.0),
        (np.array([[0.0, 1.0], [-1.0, 0.0]]), None),
    ]:  # fmt: skip
        field = cluster.positions @ strain.T + 7.0
        given = Modes(modes.frequencies[:1], field[:, :, None], modes.n_zero, theta, cluster)
        symmetric = 0.5 * (strain + strain.T)
        np.testing.assert_allclose(given.strain()[0], symmetric, atol=1e-12)
        if expected is not None:
            assert given.poisson_ratio()[0] == pytest.approx(expected)
    assert (np.abs(modes.poisson_ratio()) <= 1).all()


def test_named_failures(theta2: Any, solid: Packing, spheres3: Any, solid3: Packing) -> None:
    with pytest.raises(InputError, match="at least one"):
        bridge.lowest_modes(theta2, solid, 0)
    with pytest.raises(InputError, match="fewer than"):
        bridge.jacobian(theta2, solid, ["frequencies_500"])
    with pytest.raises(InputError, match="two dimensions"):
        bridge.lowest_modes(spheres3, solid3, 2).poisson_ratio()
    moved = solid.with_positions(
        solid.positions + 1e-3 * np.random.default_rng(0).standard_normal((48, 2))
    )
    with pytest.raises(AmorphError, match="relax"):
        bridge.lowest_modes(theta2, moved)


def test_what_was_asked_before_does_not_matter() -> None:
    """Modes that are kept with a packing are used only where their last group is whole."""
    theta = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
    v = np.random.default_rng(0).standard_normal(72)
    answers = []
    for before in ([], ["frequencies_1"], ["frequencies_2"], ["frequencies_5"]):
        lattice = triangular(6, 0.9)
        if before:
            bridge.measure(theta, lattice, before)
        found = bridge.jacobian(
            theta, lattice, "frequencies_3", "diameters/particle", degenerate="mean"
        )
        slopes = bridge.frequency_slopes(theta, lattice, 3, {"diameters/particle": v})
        answers.append(np.concatenate([found.matrix @ v, slopes]))
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], rtol=1e-7, atol=1e-10)
