"""The zero modes that belong to every packing: rigid motions and rattlers, held exactly.

A stiffness is given to rattlers' own coordinates and to the rigid motions: in the traced form to
the motions themselves, in the others to as many coordinates of a few particles as there are rigid
motions. No load that is free of rigid motions couples to either, and neither adds a negative mode:
the held matrix has as many as H has.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..matter.mechanics import State, hessian_of

__all__ = ["grounds", "held_hessian"]


def held_hessian(
    theta: Any, state: State, rigid: Any, stiffness: Array | None = None
) -> tuple[Array, Array]:
    """H made positive definite at a minimum, and the stiffness given to its zero modes; traced.

    Rows and columns of rattlers and fixed particles hold that stiffness on the diagonal and nothing
    else; the rigid motions of the others, orthonormal (N d, n_rigid) or the projector onto them
    (N d, N d), carry it too. By default it is H's mean diagonal element.
    """
    n, d = state.positions.shape
    free = jnp.repeat(state.still, d)
    matrix = jnp.where(free[:, None] | free[None, :], 0.0, hessian_of(theta, state))
    if stiffness is None:
        stiffness = jnp.trace(matrix) / jnp.maximum(n * d - jnp.sum(free), 1)
    matrix = matrix + stiffness * (rigid @ rigid.T)
    return matrix + jnp.diag(jnp.where(free, stiffness, 0.0)), stiffness


def grounds(rigid: NDArray[np.float64], translations: bool) -> NDArray[np.int64]:
    """Coordinates that no rigid motion leaves all where they are, as many as there are motions.

    Of ``rigid`` (N d, n_rigid), orthonormal: for ``translations``, one for each axis, those of the
    first particle that moves; otherwise each time the coordinate that what is left of the motions
    moves most (Gram and Schmidt's way with pivots).
    """
    number = rigid.shape[1]
    if translations and number:
        return int(np.argmax(rigid[:, 0] != 0)) + np.arange(number)
    left, out = rigid, np.empty(number, dtype=np.int64)
    for k in range(number):
        size = np.sum(left**2, axis=1)
        out[k] = np.argmax(size > 0.5 * np.max(size))  # the first of those that are alike
        row = left[out[k]]
        left = left - np.outer(left @ row, row / (row @ row))
    return out
