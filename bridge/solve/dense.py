"""The dense inverse of a Hessian inside of JAX: on any device, in batches."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..matter.mechanics import State
from .differentiable import Operands
from .factors import SMALLEST_PIVOT, held_hessian

__all__ = ["Dense"]


@dataclass(frozen=True)
class Dense:
    """An `Inverse` by the Cholesky factor of the dense Hessian, its zero modes held."""

    def prepare(self, theta: Any, state: State, rigid: Any) -> tuple[Array, Array]:
        """The factor (N d, N d), lower, and whether the Hessian is positive definite."""
        matrix, stiffness = held_hessian(theta, state, rigid)
        lower = jnp.linalg.cholesky(matrix, symmetrize_input=False)
        pivot = jnp.min(jnp.diagonal(lower)) ** 2 / stiffness  # NaN where not positive definite
        return lower, pivot > SMALLEST_PIVOT

    def __call__(self, operands: Operands, load: Array) -> Array:
        """The solution of loads (N, d, k) that hold no zero modes."""
        flat = load.reshape(len(operands.lower), -1)
        found = jax.scipy.linalg.cho_solve((operands.lower, True), flat)
        return found.reshape(load.shape)
