"""Rigid motions of a packing: the zero modes that no force couples to."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..matter.mechanics import State

__all__ = ["rigid_modes", "rigid_modes_of", "rigid_projector"]

# Motions count as one where their squared size, beside that of a motion of length 1, is below this.
ALIKE = 1e-12


def rigid_modes(state: State) -> NDArray[np.float64]:
    """Orthonormal rigid motions of the particles that are not still, (N d, n_rigid).

    Motions as a whole: d translations, and in open space the rotations too (a line of particles has
    one less); of these only those that leave fixed particles where they are.
    """
    basis = np.asarray(rigid_modes_of(state))
    return basis[:, basis.any(axis=0)]


def rigid_projector(state: State) -> Array:
    """The projector onto rigid motions, (N d, N d), differentiable by positions; traced."""
    if state.box is not None or state.fixed is not None:
        # Translations do not depend on positions. (With fixed particles in open space rotations
        # are taken as they are.)
        rigid = jax.lax.stop_gradient(jnp.asarray(rigid_modes_of(state)))
        return rigid @ rigid.T
    moving = jnp.where(state.rattlers, 0.0, 1.0)
    flat = _motions(state, moving, jnp).reshape(state.positions.size, -1)
    square = flat.T @ flat + ALIKE * jnp.sum(moving) * jnp.eye(flat.shape[1])
    return flat @ jnp.linalg.solve(square, flat.T)


def rigid_modes_of(state: State) -> Any:
    """The same for NumPy or for traced arrays; motions that are none are columns of zeros."""
    x, rattlers, fixed = state.positions, state.rattlers, state.fixed
    traced = any(isinstance(v, jax.Array) for v in (x, rattlers, fixed))
    xp: Any = jnp if traced else np
    n, d = x.shape
    moving = xp.where(rattlers, 0.0, 1.0)
    number = xp.maximum(xp.sum(moving), 1.0)
    if state.box is not None:
        along = xp.repeat(moving, d)[:, None] * xp.tile(xp.eye(d), (n, 1))
        if fixed is not None:  # nothing moves as a whole where one does not move
            along = xp.where(xp.any(fixed), 0.0, along)
        return along / xp.sqrt(number)
    motions = _motions(state, moving, xp)
    if fixed is not None:
        held = (motions * fixed[:, None, None]).reshape(n * d, -1)
        values, vectors = xp.linalg.eigh(held.T @ held)
        motions = motions @ (vectors * (values < ALIKE * n))
        moving = xp.where(fixed, 0.0, moving)
    flat = (motions * moving[:, None, None]).reshape(n * d, -1)
    values, vectors = xp.linalg.eigh(flat.T @ flat)
    own = values > ALIKE * number
    return flat @ (vectors * xp.where(own, 1.0, 0.0) / xp.sqrt(xp.where(own, values, 1.0)))


def _motions(state: State, moving: Any, xp: Any) -> Any:
    """Translations and rotations about the centre of who moves, (N, d, n_motions), of size 1."""
    x = state.positions
    n, d = x.shape
    away = x - xp.sum(moving[:, None] * x, axis=0) / xp.maximum(xp.sum(moving), 1.0)
    size = xp.sqrt(xp.maximum(xp.max(xp.sum(away**2, axis=1)), 1e-300))
    columns = [xp.tile(xp.eye(d)[a], (n, 1)) for a in range(d)]
    for a, b in [(0, 1)] if d == 2 else [(0, 1), (0, 2), (1, 2)]:
        turn = np.zeros((d, d))
        turn[a, b], turn[b, a] = 1.0, -1.0
        columns.append(away @ turn.T / size)
    return xp.stack(columns, axis=2)
