"""The shortest change that meets the targets: against SciPy, and what makes it the shortest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from amorph.campaigns.studies.trust_region import (
    Held,
    beside,
    least_change,
    within_bounds,
)

SIZES = st.integers(1, 6)
SEEDS = st.integers(0, 10_000)


def problem(rows: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, columns)), rng.normal(size=rows)


@given(SIZES, SIZES, SEEDS)
def test_with_room_it_is_the_pseudo_inverse(rows: int, columns: int, seed: int) -> None:
    jacobian, residual = problem(rows, columns, seed)
    expected = -np.linalg.pinv(jacobian) @ residual
    np.testing.assert_allclose(least_change(jacobian, residual, np.inf), expected, atol=1e-9)


@given(SIZES, SIZES, SEEDS)
def test_at_the_radius_no_change_as_short_does_better(rows: int, columns: int, seed: int) -> None:
    jacobian, residual = problem(rows, columns, seed)
    radius = 0.5 * float(np.linalg.norm(np.linalg.pinv(jacobian) @ residual))
    change = least_change(jacobian, residual, radius)
    assert np.linalg.norm(change) == pytest.approx(radius, rel=1e-9)
    # The gradient there points along the change: Karush, Kuhn and Tucker's condition.
    slope = jacobian.T @ (residual + jacobian @ change)
    damping = -(slope @ change) / radius**2
    assert damping > 0
    np.testing.assert_allclose(slope, -damping * change, atol=1e-8 * np.abs(slope).max())


def test_what_no_parameter_changes_is_let_be() -> None:
    assert np.array_equal(least_change(np.zeros((2, 3)), np.ones(2), 1.0), np.zeros(3))
    assert np.array_equal(least_change(np.ones((2, 3)), np.ones(2), 0.0), np.zeros(3))
    assert np.array_equal(least_change(np.ones((2, 3)), np.zeros(2), 1.0), np.zeros(3))
    # A row that is another's double asks for nothing new.
    doubled = np.array([[3.0, 4.0], [6.0, 8.0]])
    np.testing.assert_allclose(least_change(doubled, np.array([-5.0, -10.0]), 10.0), [0.6, 0.8])


@given(SIZES, SIZES, SEEDS)
def test_within_bounds_it_is_as_near_as_can_be(rows: int, columns: int, seed: int) -> None:
    jacobian, residual = problem(rows, columns, seed)
    rng = np.random.default_rng(seed + 1)
    low, high = -rng.uniform(0, 1, columns), rng.uniform(0, 1, columns)
    low[rng.random(columns) < 0.2] = 0.0
    high[rng.random(columns) < 0.2] = 0.0
    change = within_bounds(jacobian, residual, 1e3, low, high)
    assert np.all((low <= change) & (change <= high))
    nearest = np.linalg.norm(residual)
    if np.any(low < high):
        free = low < high
        found = lsq_linear(jacobian[:, free], -residual, (low[free], high[free]), method="bvls")
        nearest = np.linalg.norm(found.fun)
    assert np.linalg.norm(jacobian @ change + residual) == pytest.approx(nearest, abs=1e-6)
    for radius in (0.3, 0.01):
        change = within_bounds(jacobian, residual, radius, low, high)
        assert np.all((low <= change) & (change <= high))
        assert np.linalg.norm(change) <= radius * (1 + 1e-9)


@given(SIZES, SIZES, st.integers(1, 8), SEEDS)
def test_what_is_held_counts_in_the_length(rows: int, columns: int, held: int, seed: int) -> None:
    jacobian, residual = problem(rows, columns, seed)
    others, _ = problem(held, columns, seed + 1)
    whole = Held(jacobian, others)
    for radius in (0.1, 3.0):
        # In units of the length it is the shortest change, at most 1 long.
        root = np.linalg.cholesky(np.eye(columns) / radius**2 + others.T @ others).T
        expected = np.linalg.solve(root, least_change(jacobian @ np.linalg.inv(root), residual, 1))
        change = whole.change(residual, radius)
        np.testing.assert_allclose(change, expected, atol=1e-7)
        assert np.linalg.norm(root @ change) <= 1 + 1e-9
        assert np.linalg.norm(others @ change) <= 1 + 1e-9
        assert np.linalg.norm(change) <= radius * (1 + 1e-9)
        low, high = -np.full(columns, 0.01), np.full(columns, 0.02)
        change = whole.change(residual, radius, (low, high))
        assert np.all((low <= change) & (change <= high))
        assert np.linalg.norm(root @ change) <= 1 + 1e-9
    assert np.array_equal(whole.change(residual, 0.0), np.zeros(columns))


@given(st.integers(1, 3), st.integers(1, 2), SEEDS)
def test_beside_the_values_stay(rows: int, others: int, seed: int) -> None:
    columns = 8
    jacobian, _ = problem(rows, columns, seed)
    slopes, by = problem(others, columns, seed + 1)
    none = np.zeros((0, columns))
    free = (np.full(columns, -np.inf), np.full(columns, np.inf))
    change = beside(jacobian, (slopes, by), 1e6, none, free)
    np.testing.assert_allclose(jacobian @ change, 0.0, atol=1e-8)
    np.testing.assert_allclose(slopes @ change, by, atol=1e-6)
    assert np.linalg.norm(beside(jacobian, (slopes, by), 0.01, none, free)) <= 0.01 * (1 + 1e-9)
    # Within bounds too; those that are fixed stay.
    low, high = -np.full(columns, 0.1), np.full(columns, 0.1)
    low[0] = high[0] = 0.0
    change = beside(jacobian, (slopes, by), 1e6, none, (low, high))
    assert change[0] == 0
    assert np.all((low <= change) & (change <= high))
    np.testing.assert_allclose(jacobian @ change, 0.0, atol=1e-8)
