"""The decisions about minima, each made in one place, for NumPy and for traced arrays alike."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = [
    "NEWTON_MOVE",
    "along_rigid",
    "is_loose",
    "on_rattlers",
    "round_off_force",
    "step_is_accepted",
]

# A Newton step that would move a particle farther than this part of the smallest diameter is none.
NEWTON_MOVE = 0.05
# Directions of contacts whose second moment has an eigenvalue below this do not span space.
SPANNING = 1e-9


def _numpy_of(*values: Any) -> Any:
    """NumPy for its own arrays and numbers, else JAX's."""
    return jnp if any(isinstance(v, jax.Array) for v in values) else np


def round_off_force(stiffness: Any, length: Any) -> Any:
    """max(1e-12, 8 eps k_max L): the largest |F| of a packing at rest, see `default_tolerance`."""
    xp = _numpy_of(stiffness, length)
    return xp.maximum(1e-12, 8 * float(np.finfo(np.float64).eps) * stiffness * length)


def step_is_accepted(
    before: Any, after: Any, moved: Any, sigma: Any, limit: Any, part: Any = 1.0
) -> Any:
    """Whether a Newton step, or a part of it, did what it should.

    It must be small, and the largest force halved by it, by less as the part is less, or at rest.
    """
    fell = (after <= (1.0 - 0.5 * part) * before) | (after <= limit)
    return (moved <= NEWTON_MOVE * sigma) & fell


def is_loose(moment: Any, number: Any, pulls: Any) -> Any:
    """Which particles their contacts leave free to move, (N,).

    ``moment`` (N, d, d) is the sum of n nᵀ over a particle's contacts, ``number`` (N,) how many
    there are, ``pulls`` (N,) whether any can pull.
    """
    d = moment.shape[-1]
    if d == 2:
        half = 0.5 * (moment[:, 0, 0] + moment[:, 1, 1])
        apart = 0.25 * (moment[:, 0, 0] - moment[:, 1, 1]) ** 2 + moment[:, 0, 1] ** 2
        lowest = half - apart**0.5
    else:
        lowest = _numpy_of(moment).linalg.eigvalsh(moment)[:, 0]
    return (lowest < SPANNING) | (~pulls & (number < d + 1))


def on_rattlers(load: Any, rattlers: Any, scale: Any = 0.0) -> Any:
    """Whether loads (N, d, k) act on rattlers, whose places no parameter determines.

    ``scale`` is the size of the loads that these belong to, if it is above theirs.
    """
    xp = _numpy_of(load, rattlers)
    size = xp.abs(load)
    loose = xp.where(rattlers[:, None, None], size, 0.0)
    largest = xp.maximum(xp.max(size, initial=0.0), scale)
    return xp.max(loose, initial=0.0) > 1e-12 * xp.maximum(largest, 1.0)


def along_rigid(load: Any, rigid: Any) -> Any:
    """Whether loads (N, d, k) push a packing as a whole, or turn it."""
    xp = _numpy_of(load, rigid)
    flat = load.reshape(rigid.shape[0], -1)
    largest = xp.max(xp.linalg.norm(flat, axis=0), initial=0.0)
    return xp.max(xp.abs(rigid.T @ flat), initial=0.0) > 1e-7 * xp.maximum(largest, 1e-5)
