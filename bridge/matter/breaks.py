"""The jumps of a pair's u'': their distances and sizes."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["curvature_jumps"]

# u'' is evaluated at this relative distance on either side of a break.
BESIDE = 1e-9


def curvature_jumps(kind: Any, parameters: Any, at: Any) -> Array:
    """By how much u'' jumps at distances (n_breaks, ...), of pairs' parameters (...)."""

    def curvature(r: Array) -> Array:
        def slope(x: Array) -> Array:
            return jax.jvp(lambda y: kind.pair_energy(y, parameters), (x,), (jnp.ones_like(x),))[1]

        return jax.jvp(slope, (r,), (jnp.ones_like(r),))[1]

    return jnp.stack([curvature(b * (1 + BESIDE)) - curvature(b * (1 - BESIDE)) for b in at])
