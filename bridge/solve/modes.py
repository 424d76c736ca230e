"""The lowest vibrational modes inside of JAX, differentiable to any order."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..matter.mechanics import State, hessian_of
from .held import held_hessian
from .rigid import rigid_projector

__all__ = ["SEPARATE", "above_all", "lowest_modes_of", "spectrum"]

# Modes are degenerate if their squared frequencies differ by at most this part of the larger.
SEPARATE = 1e-8


def above_all(theta: Any, state: State, rigid: Any) -> Array:
    """H with its zero modes moved above the highest frequency (by Gershgorin's bound); traced.

    ``rigid`` as `held_hessian` has it.
    """
    bound = jnp.max(jnp.sum(jnp.abs(hessian_of(theta, state)), axis=1))
    return held_hessian(theta, state, rigid, stiffness=jax.lax.stop_gradient(bound))[0]


def lowest_modes_of(theta: Any, state: State, number: int) -> Array:
    """The lowest modes that are not zero modes, (N, d, number), orthonormal; traced.

    Their derivatives are those of perturbation theory, v_k' = Σ_j v_j (v_j·H' v_k) / (λ_k - λ_j);
    where a mode is degenerate it has none, and they are NaN.
    """
    n, d = state.positions.shape
    matrix = above_all(theta, state, rigid_projector(state))
    return spectrum(number, matrix)[1][:, :number].reshape(n, d, number)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def spectrum(number: int, matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and eigenvectors of a symmetric matrix.

    Their derivatives hold for the `number` lowest, and for sums over all others.
    """
    values, vectors = jnp.linalg.eigh(matrix)
    return values, vectors


@spectrum.defjvp
def _spectrum_jvp(number: int, primals: Any, tangents: Any) -> tuple[Any, Any]:
    values, vectors = spectrum(number, *primals)
    change = vectors.T @ tangents[0] @ vectors
    apart = values[None, :] - values[:, None]
    size = jnp.maximum(jnp.abs(values)[None, :], jnp.abs(values)[:, None])
    alike = jnp.abs(apart) <= SEPARATE * size
    low = jnp.arange(len(values)) < number
    # Sums over a degenerate group above do not depend on its basis: it may stay as it is.
    same = jnp.eye(len(values), dtype=bool)
    missing = jnp.where((low[:, None] | low[None, :]) & ~same, jnp.nan, 0.0)
    turning = jnp.where(alike, missing, 1.0 / jnp.where(alike, 1.0, apart))
    return (values, vectors), (jnp.diagonal(change), vectors @ (turning * change))
