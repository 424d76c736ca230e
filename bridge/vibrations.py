"""Vibrational frequencies of a packing at rest."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array
from numpy.typing import NDArray

from .blas import one_blas_thread
from .linear_response import Response, held_hessian, response
from .mechanics import State, hessian_of
from .packing import Packing
from .potentials import PairPotential

__all__ = ["lowest_frequencies"]


def lowest_frequencies(
    packing: Packing, theta: PairPotential, n_modes: int = 16
) -> NDArray[np.float64]:
    """The lowest frequencies sqrt(λ) of the eigenvalues λ of H, ascending, mass 1.

    First the zero modes of rigid translation (d) and of rattlers (d each), exactly zero, then
    `n_modes` others, or all there are: (n_modes + d (1 + rattlers),).

    Raises as `response` does, and `InputError` for a packing without a box.
    """
    _ = packing.volume
    return frequencies_of(response(packing, theta), theta, n_modes)


@one_blas_thread
def frequencies_of(found: Response, theta: PairPotential, n_modes: int) -> NDArray[np.float64]:
    """The lowest frequencies of a response's state; see `lowest_frequencies`."""
    n, d = found.state.positions.shape
    n_zero = d * (1 + int(found.rattlers.sum()))
    matrix = np.array(_held_far_up(theta, found.state))
    last = min(n_modes, n * d - n_zero) - 1
    values = scipy.linalg.eigh(
        matrix, eigvals_only=True, subset_by_index=[0, last], check_finite=False
    )
    # Proven to be a minimum: what is left is positive.
    return np.concatenate([np.zeros(n_zero), np.sqrt(values)])


@jax.jit
def _held_far_up(theta: PairPotential, state: State) -> Array:
    """H with its zero modes moved above the highest frequency (by Gershgorin's bound)."""
    bound = jnp.max(jnp.sum(jnp.abs(hessian_of(theta, state)), axis=1))
    return held_hessian(theta, state, stiffness=bound)[0]
