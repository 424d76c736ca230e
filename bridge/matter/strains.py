"""Symmetric strains of a box: their basis, and the forces that a strain makes."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from .mechanics import State, interactions

__all__ = ["strain_basis", "strain_components", "strain_forces"]


def strain_basis(dimension: int) -> NDArray[np.float64]:
    """Symmetric strains of unit size, (n_strains, d, d): xx, yy, (zz,) then (yz, xz,) xy.

    A shear has 1/2 in both places, so that second derivatives of the energy along the basis are
    the components of the elastic tensor.
    """
    diagonal = [(a, a) for a in range(dimension)]
    shears = [(0, 1)] if dimension == 2 else [(1, 2), (0, 2), (0, 1)]
    out = np.zeros((len(diagonal) + len(shears), dimension, dimension))
    for k, (a, b) in enumerate(diagonal + shears):
        out[k, a, b] += 0.5
        out[k, b, a] += 0.5
    return out


def strain_components(strain: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric part of a displacement gradient over `strain_basis`, (n_strains,)."""
    basis = strain_basis(len(strain))
    # The basis is orthogonal; its shears have norm 1/2.
    return np.einsum("aij,ij->a", basis, strain) / np.einsum("aij,aij->a", basis, basis)


def strain_forces(theta: Any, state: State) -> Array:
    """Ξ = ∂²U/∂R∂ε, (N, d, n_strains)."""
    basis = jnp.asarray(strain_basis(state.positions.shape[1]))
    out = jnp.zeros((*state.positions.shape, len(basis)))
    for part in interactions(theta, state):
        unit = part.unit
        slope, curvature = part.slope_and_curvature
        strained = jnp.einsum("aij,mj->mia", basis, unit)
        along = jnp.einsum("mi,mia->ma", unit, strained)
        change = (curvature * part.distance - slope)[:, None] * along
        per_pair = unit[:, :, None] * change[:, None, :] + 2 * slope[:, None, None] * strained
        out = out.at[part.j].add(per_pair).at[part.i].add(-per_pair)
    return out
