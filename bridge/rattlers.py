"""Rattlers: particles that nothing holds in place."""

from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from .mechanics import State, interactions, listed
from .springs import Theta

__all__ = ["find_rattlers"]

FORCE_FRACTION = 1e-9


@jax.jit
def _contacts(theta: Any, state: State) -> list[tuple[Any, ...]]:
    out = []
    for part in interactions(theta, state):
        touching = part.distance < part.kind.pair_cutoff(part.parameters)
        attracts = part.kind.pair_attracts(part.parameters) & touching
        out.append((part.i, part.j, part.unit, part.slope, touching, attracts))
    return out


def find_rattlers(theta: Theta, state: State, *, residual: float = 0.0) -> NDArray[np.bool_]:
    """Which particles are rattlers, (N,), found recursively.

    A repulsive pair counts as a contact if its force is above 1e-9 of the mean contact force: a
    rattler comes to rest at marginal contact, where round-off decides whether there is any. A pair
    with an attractive part counts wherever it lies below its cutoff: at the bottom of the well it
    has no force, but holds. A particle is a rattler if its contacts leave it free to move, that is
    if they do not span space, or if they all push and are fewer than d + 1. Contacts with rattlers
    do not count.

    Parameters
    ----------
    theta, state:
        A packing at rest.
    residual:
        Forces up to this size count as none: what is left in a packing not fully relaxed.
    """
    i, j, units, slopes, touching, attracts = listed(theta, state, _contacts(theta, state))
    size = np.abs(slopes)
    pushing = touching & ~attracts
    carrying = size[touching & (size > 0)]
    threshold = max(FORCE_FRACTION * float(carrying.mean()) if carrying.size else 0.0, residual)
    counts = attracts | (pushing & (size > threshold))

    n, d = state.positions.shape
    out = np.zeros(n, dtype=bool)
    while True:
        live = counts & ~out[i] & ~out[j]
        ends = np.concatenate([i[live], j[live]])
        number = np.bincount(ends, minlength=n)
        pulls = np.bincount(ends, weights=np.tile(attracts[live], 2), minlength=n) > 0
        # Do the directions span space? Their second moment has no zero eigenvalue.
        moment = np.empty((n, d, d))
        for a in range(d):
            for b in range(a, d):
                outer = np.tile(units[live, a] * units[live, b], 2)
                moment[:, a, b] = moment[:, b, a] = np.bincount(ends, outer, n)
        flat = np.linalg.eigvalsh(moment)[:, 0] < 1e-9
        found = ~out & (flat | (~pulls & (number < d + 1)))
        if not found.any():
            return out
        out |= found
