"""Barriers and rates against their formulas in NumPy, and their derivatives against differences."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import landscapes
from amorph.handover import InputError

from .conftest import morse, real_modes, trimer

KT = 0.2


@pytest.fixture(scope="module")
def points(ways: Any) -> Any:
    theta = morse()
    found = landscapes.find_transitions(theta, ways[:3])
    transitions = [way for chain in found for way in chain]
    return theta, transitions, landscapes.points_of(theta, transitions)


def inertia(packing: bridge.Packing) -> float:
    x = packing.positions - packing.positions.mean(axis=0)
    return float(np.linalg.det(np.sum(x**2) * np.eye(3) - x.T @ x))


def test_the_formula(points: Any) -> None:
    """Kramers' rate by frequencies, as P4's eq. 4 has it, and with both factors."""
    theta, transitions, own = points
    barriers = np.asarray(landscapes.barriers(theta, own))
    friction = 1.7
    plain = np.exp(
        landscapes.log_rates(theta, own, KT, friction, rotations=False, equivalents=False)
    )
    whole = np.exp(landscapes.log_rates(theta, own, KT, friction))
    for t, way in enumerate(transitions):
        assert barriers[t] == pytest.approx([way.barrier, way.reverse_barrier], rel=1e-10)
        top = real_modes(theta, way.saddle.packing)
        for k, end in enumerate((way.start, way.end)):
            bottom = real_modes(theta, end)
            assert len(bottom) == len(top) == 15
            products = np.prod(bottom**0.5) / np.prod(top[1:] ** 0.5)
            right = abs(top[0]) ** 0.5 / (2 * np.pi * friction) * products
            right *= np.exp(-barriers[t, k] / KT)
            assert plain[t, k] == pytest.approx(right, rel=1e-8)
            turned = (inertia(way.saddle.packing) / inertia(end)) ** 0.5
            assert whole[t, k] / plain[t, k] == pytest.approx(
                turned * landscapes.equivalent_saddles(way), rel=1e-8
            )


def test_detailed_balance(points: Any) -> None:
    """k_AB/k_BA is the ratio of both states' partition functions: the saddle is not in it."""
    theta, transitions, own = points
    logs = np.asarray(landscapes.log_rates(theta, own, KT))
    for t, way in enumerate(transitions):
        free = [
            bridge.energy(theta, end) / KT
            + 0.5 * np.sum(np.log(real_modes(theta, end)))
            - 0.5 * np.log(inertia(end))
            for end in (way.start, way.end)
        ]
        assert logs[t, 0] - logs[t, 1] == pytest.approx(free[0] - free[1], abs=1e-9)


def test_a_trimer_in_the_plane() -> None:
    """Its saddle is its own mirror image: one way over. A flat tensor of inertia is I^½."""
    theta, one, other = trimer()
    way = landscapes.find_transition(theta, one, other)
    own = landscapes.points_of(theta, [way])
    assert own.equivalent.tolist() == [1.0]
    ratio = landscapes.log_rates(theta, own) - landscapes.log_rates(theta, own, rotations=False)

    def size(packing: bridge.Packing) -> float:
        return float(np.sum((packing.positions - packing.positions.mean(axis=0)) ** 2))

    right = 0.5 * np.log(size(way.saddle.packing) / size(one))
    assert np.asarray(ratio) == pytest.approx(np.full((1, 2), right), abs=1e-10)


def test_mirror_images_double_a_rate(points: Any) -> None:
    """Planar minima are their own mirror images; a saddle out of the plane is passed twice."""
    _, transitions, own = points
    assert own.equivalent.tolist() == [1.0] * len(transitions)  # numbered, no cluster is planar
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    bent = square + np.array([[0, 0, 0.3], [0, 0, 0], [0, 0, 0.3], [0, 0, 0]])

    def made(x: np.ndarray) -> bridge.Packing:
        return bridge.Packing.of(x, np.arange(4))

    def over(start: np.ndarray, top: np.ndarray, end: np.ndarray) -> int:
        saddle = replace(transitions[0].saddle, packing=made(top))
        way = replace(transitions[0], start=made(start), saddle=saddle, end=made(end))
        return landscapes.equivalent_saddles(way)

    rhombus = square * [1.3, 1.0, 1.0]
    assert over(square, bent, rhombus) == 2
    assert over(square, 1.1 * square, rhombus) == 1
    assert over(bent, 1.1 * bent, rhombus) == 1


def test_derivatives_with_everything_found_anew(points: Any) -> None:
    """By bindings and ranges, against differences for which bands are relaxed again."""
    theta, transitions, own = points
    rng = np.random.default_rng(4)
    u = rng.normal(size=28)
    v = rng.normal(size=28)
    ends = [(way.start, way.end) for way in transitions]

    def anew(step: float) -> tuple[np.ndarray, np.ndarray]:
        other = theta.replace(binding=theta.binding + step * u, alpha=theta.alpha + step * v)
        rested = [tuple(bridge.relax(other, p) for p in pair) for pair in ends]
        found = landscapes.find_transitions(other, rested)
        there = landscapes.points_of(other, [way for chain in found for way in chain])
        return (
            np.asarray(landscapes.barriers(other, there, motion=False)),
            np.asarray(landscapes.log_rates(other, there, KT, motion=False)),
        )

    h = 2e-4
    levels = [anew(s * h) for s in (-2, -1, 1, 2)]
    for k, function in enumerate(
        (landscapes.barriers, lambda t, p: landscapes.log_rates(t, p, KT))
    ):
        a, b, c, d = (level[k] for level in levels)
        right = (a - 8 * b + 8 * c - d) / (12 * h)
        tangent = jax.tree_util.tree_map(jnp.zeros_like, theta)
        tangent._values["binding"], tangent._values["alpha"] = jnp.asarray(u), jnp.asarray(v)
        forward = jax.jvp(lambda t, f=function: f(t, own), (theta,), (tangent,))[1]
        assert np.asarray(forward) == pytest.approx(right, rel=1e-6, abs=1e-6)
        reverse = jax.jacrev(lambda t, f=function: f(t, own))(theta)
        along = reverse.binding @ u + reverse.alpha @ v
        assert np.asarray(along) == pytest.approx(np.asarray(forward), rel=1e-9, abs=1e-9)


def test_second_derivatives(points: Any) -> None:
    theta, _, own = points
    binding = np.asarray(theta.binding)
    u = np.random.default_rng(5).normal(size=28)

    def loss(binding: Any) -> Any:
        return jnp.sum(landscapes.log_rates(theta.replace(binding=binding), own, KT) ** 2)

    matrix = jax.hessian(loss)(binding)
    assert np.allclose(matrix, matrix.T, rtol=1e-8, atol=1e-8)
    slope, h = jax.jit(jax.grad(loss)), 1e-4
    a, b, c, d = (slope(binding + s * h * u) for s in (-2, -1, 1, 2))
    right = np.asarray((a - 8 * b + 8 * c - d) / (12 * h))
    assert np.asarray(matrix @ u) == pytest.approx(right, rel=1e-6, abs=1e-6 * np.abs(right).max())


def test_at_fixed_points_the_energy_alone_is_the_same(points: Any) -> None:
    """A stationary energy's first derivative does not need the motion; a determinant's does."""
    theta, _, own = points
    for function, same in (
        (landscapes.barriers, True),
        (lambda t, p, motion: landscapes.log_rates(t, p, KT, motion=motion), False),
    ):
        moving, fixed = (
            jax.jacrev(lambda t, f=function, m=motion: f(t, own, motion=m))(theta).binding
            for motion in (True, False)
        )
        assert np.allclose(moving, fixed, atol=1e-9) == same


def test_lost_points_are_no_numbers(points: Any) -> None:
    """Parameters at which a saddle is none any more; never a wrong number."""
    theta, _, own = points
    found = landscapes.barriers(theta.replace(alpha=np.full(28, 2.5)), own)
    assert np.isnan(np.asarray(found)).any()
    near = landscapes.barriers(theta.replace(binding=1.1 * theta.binding), own)
    assert np.asarray(near) == pytest.approx(1.1 * np.asarray(landscapes.barriers(theta, own)))
    batch = jax.vmap(lambda b: landscapes.barriers(theta.replace(binding=b), own))
    many = batch(jnp.stack([theta.binding, 1.1 * theta.binding]))
    assert np.asarray(many[1]) == pytest.approx(np.asarray(near), rel=1e-9)


def test_bad_input_is_named(points: Any) -> None:
    theta, transitions, own = points
    with pytest.raises(InputError, match="there are none"):
        landscapes.points_of(theta, [])
    with pytest.raises(InputError, match="a transition"):
        landscapes.points_of(theta, [theta])  # type: ignore[list-item]
    with pytest.raises(InputError, match="temperature"):
        landscapes.log_rates(theta, own, temperature=0.0)
    with pytest.raises(InputError, match="friction"):
        landscapes.log_rates(theta, own, friction=-1.0)
    with pytest.raises(InputError, match="points"):
        landscapes.barriers(theta, transitions)
