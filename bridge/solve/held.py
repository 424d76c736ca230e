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

__all__ = ["grounds", "held_hessian", "rigid_modes"]


def rigid_modes(state: State) -> NDArray[np.float64]:
    """Orthonormal rigid motions of the particles that are held, (N d, d or more)."""
    x = np.asarray(state.positions)
    n, d = x.shape
    held = ~np.asarray(state.rattlers)
    columns = np.zeros((n, d, d))
    for a in range(d):
        columns[held, a, a] = 1.0
    if state.box is not None:
        flat: NDArray[np.float64] = columns.reshape(n * d, d)
        return flat / np.sqrt(np.count_nonzero(held))
    centred = np.where(held[:, None], x - np.mean(x[held], axis=0), 0.0)
    turns = []
    for a, b in [(0, 1)] if d == 2 else [(0, 1), (0, 2), (1, 2)]:
        turn = np.zeros((d, d))
        turn[a, b], turn[b, a] = 1.0, -1.0
        turns.append(centred @ turn.T)
    both = np.concatenate([columns, np.stack(turns, axis=2)], axis=2)
    basis, _ = np.linalg.qr(both.reshape(n * d, -1))
    return basis


def held_hessian(
    theta: Any, state: State, rigid: Any, stiffness: Array | None = None
) -> tuple[Array, Array]:
    """H made positive definite at a minimum, and the stiffness given to its zero modes; traced.

    Rattlers' rows and columns hold that stiffness on the diagonal and nothing else; the rigid
    motions of the others carry it too. By default it is H's mean diagonal element.
    """
    n, d = state.positions.shape
    free = jnp.repeat(state.rattlers, d)
    matrix = jnp.where(free[:, None] | free[None, :], 0.0, hessian_of(theta, state))
    if stiffness is None:
        stiffness = jnp.trace(matrix) / jnp.maximum(n * d - jnp.sum(free), 1)
    matrix = matrix + stiffness * (rigid @ rigid.T)
    return matrix + jnp.diag(jnp.where(free, stiffness, 0.0)), stiffness


def grounds(
    x: NDArray[np.float64], rattlers: NDArray[np.bool_], cluster: bool
) -> list[tuple[int, NDArray[np.float64]]]:
    """Particles with projections (d, d) on what is held of them: as many axes as rigid motions."""
    d = x.shape[1]
    held = np.flatnonzero(~rattlers)
    first = int(held[0])
    out = [(first, np.eye(d))]
    if cluster:
        # One far away keeps its distance and one off that line its side: they hold the rotations.
        away = x[held] - x[first]
        second = int(held[np.argmax(np.sum(away**2, axis=1))])
        line = (x[second] - x[first]) / np.linalg.norm(x[second] - x[first])
        out.append((second, np.eye(d) - np.outer(line, line)))
        if d == 3:
            aside = np.cross(away, line)
            third = int(np.argmax(np.sum(aside**2, axis=1)))
            normal = aside[third] / np.linalg.norm(aside[third])
            out.append((int(held[third]), np.outer(normal, normal)))
    return out
