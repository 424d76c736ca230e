"""A stationary point as a function of the interactions, differentiable to any order.

At a saddle as at a minimum the forces vanish, F(R, θ) = 0, and so R' = H⁻¹ (∂F/∂θ) θ', with an H
that is indefinite at a saddle. Nothing need be found again while parameters change: Newton's steps
follow the point, and say where it is lost.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..matter.mechanics import driving_forces_of
from ..minima.rules import round_off_force
from ..minima.traced import stiffest
from ..solve.held import held_hessian
from ..solve.inertia import SMALLEST_PIVOT
from ..solve.rigid import rigid_projector
from .surface import Surface

__all__ = ["followed", "held_matrix"]

MOST_NEWTON = 20
# A point that goes farther than this from where it was, in smallest diameters, is lost.
FARTHEST = 0.5
# One Newton step moves no particle farther, in smallest diameters.
LONGEST_STEP = 0.1


def held_matrix(surface: Surface, x: Array) -> tuple[Array, Array, Array]:
    """H with its zero modes held, the stiffness given to them, and how many there are.

    That stiffness, H's mean diagonal element, is taken to be constant.
    """
    state = surface.at(x)
    projector = rigid_projector(state)
    mean = jnp.trace(surface.hessian(jax.lax.stop_gradient(x))) / x.size
    stiffness = jax.lax.stop_gradient(jnp.abs(mean))
    matrix, _ = held_hessian(surface.theta, state, projector, stiffness=stiffness)
    number = jnp.round(jnp.trace(projector))
    if state.fixed is not None:
        number = number + x.shape[1] * jnp.sum(state.fixed)
    return matrix, stiffness, jax.lax.stop_gradient(number)


def followed(surface: Surface, x: Array, negative: Array, tolerance: float | None) -> Array:
    """The stationary point (N, d) of a surface that x is near to, with its derivatives.

    NaN where Newton's steps do not end at one of so many negative modes, or go far.
    """
    return _place(tolerance, surface, jax.lax.stop_gradient(x), negative)


def _newton(surface: Surface, x: Array, negative: Array, tolerance: float | None) -> Array:
    extent = jnp.max(jnp.ptp(x, axis=0))
    if surface.state.box is not None:
        extent = jnp.sqrt(jnp.max(jnp.sum(surface.state.box**2, axis=0)))
    limit = round_off_force(stiffest(surface.theta), extent) if tolerance is None else tolerance
    most = LONGEST_STEP * surface.size

    def force_at(x: Array) -> Array:
        return driving_forces_of(surface.theta, surface.at(x))

    def largest(vectors: Array) -> Array:
        return jnp.sqrt(jnp.max(jnp.sum(vectors**2, axis=1)))

    def going(c: tuple[Array, Array, Array]) -> Array:
        _, force, steps = c
        return (largest(force) > limit) & (steps < MOST_NEWTON)

    def step(c: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, force, steps = c
        matrix, _, _ = held_matrix(surface, x)
        move = jnp.linalg.solve(matrix, force.ravel()).reshape(x.shape)
        x = x + move * jnp.minimum(1.0, most / jnp.maximum(largest(move), 1e-300))
        return x, force_at(x), steps + 1

    first = (x, force_at(x), jnp.zeros((), int))
    there, force, _ = jax.lax.while_loop(going, step, first)
    matrix, stiffness, _ = held_matrix(surface, there)
    values = jnp.linalg.eigvalsh(matrix)
    firm = jnp.all(jnp.abs(values) > SMALLEST_PIVOT * stiffness)
    right = jnp.sum(values < 0) == negative
    near = largest(there - x) <= FARTHEST * surface.size
    return jnp.where((largest(force) <= limit) & firm & right & near, there, jnp.nan)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _place(tolerance: float | None, surface: Surface, x: Array, negative: Array) -> Array:
    return _newton(surface, x, negative, tolerance)


@_place.defjvp
def _place_jvp(tolerance: Any, primals: Any, tangents: Any) -> tuple[Array, Array]:
    surface, x, negative = primals
    there = _place(tolerance, surface, x, negative)

    def force_of(theta: Any) -> Array:
        return driving_forces_of(theta, surface.at(there))

    pushed = jax.jvp(force_of, (surface.theta,), (tangents[0].theta,))[1]
    matrix, _, _ = held_matrix(surface, there)
    moved = jnp.linalg.solve(matrix, pushed.ravel()).reshape(there.shape)
    return there, moved
