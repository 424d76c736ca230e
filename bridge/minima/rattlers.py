"""Rattlers: particles that nothing holds in place."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ..matter.mechanics import State, attractive, interactions, listed
from ..matter.springs import Theta
from .rules import is_loose

__all__ = ["Contact", "contacts_of", "find_rattlers", "rattlers_among"]

FORCE_FRACTION = 1e-9


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Contact:
    """Of each pair of a kind: its ends, direction, whether it is a contact, and may pull."""

    i: Any
    j: Any
    unit: Any
    counts: Any
    attracts: Any


def contacts_of(theta: Any, state: State, residual: Any = 0.0) -> list[Contact]:
    """The contacts among each kind of interaction, rattlers' too.

    A repulsive pair counts if its force is above 1e-9 of the mean contact force and above the
    residual: a rattler comes to rest at marginal contact, where round-off decides whether there is
    any. A pair with an attractive part counts wherever it lies below its cutoff: at the bottom of
    the well it has no force, but holds. So does a spring.
    """
    parts = interactions(theta, state)
    touching = [p.distance < p.kind.pair_cutoff(p.parameters) for p in parts]
    carrying = [t & (p.slope != 0) for p, t in zip(parts, touching, strict=True)]
    total = sum(
        jnp.sum(jnp.where(c, jnp.abs(p.slope), 0.0)) for p, c in zip(parts, carrying, strict=True)
    )
    mean = total / jnp.maximum(sum(jnp.sum(c) for c in carrying), 1)
    threshold = jnp.maximum(FORCE_FRACTION * mean, residual)
    out = []
    for part, near, pulls in zip(parts, touching, attractive(theta, state), strict=True):
        attracts = pulls & near
        counts = attracts | (near & (jnp.abs(part.slope) > threshold))
        out.append(Contact(part.i, part.j, part.unit, counts, attracts))
    return out


_contacts = jax.jit(contacts_of)


def find_rattlers(theta: Theta, state: State, *, residual: float = 0.0) -> NDArray[np.bool_]:
    """A mask of the rattlers, (N,) bool, found recursively.

    What a contact is, `contacts_of` says. A particle is a rattler if its contacts leave it free to
    move, that is if they do not span space, or if they all push and are fewer than d + 1. Contacts
    with rattlers do not count. A particle that is fixed is none.

    Parameters
    ----------
    theta, state:
        A packing at rest.
    residual:
        Forces up to this size count as none: the residual of a packing not fully relaxed.
    """
    return rattlers_among(theta, state, _contacts(theta, state, residual))


def rattlers_among(theta: Theta, state: State, contacts: list[Contact]) -> NDArray[np.bool_]:
    """As `find_rattlers`, of contacts that are known."""
    found = [(c.i, c.j, c.unit, c.counts, c.attracts) for c in contacts]
    i, j, units, counts, attracts = listed(theta, state, found)
    if not counts.all():
        i, j, units, attracts = i[counts], j[counts], units[counts], attracts[counts]
    n, d = state.positions.shape
    out = np.zeros(n, dtype=bool)
    movable = True if state.fixed is None else ~np.asarray(state.fixed)
    while True:
        ends = np.concatenate([i, j])
        number = np.bincount(ends, minlength=n)
        pulls = np.zeros(n, dtype=bool)
        pulls[i[attracts]] = pulls[j[attracts]] = True
        # Do the directions span space? Their second moment has no zero eigenvalue.
        moment = np.empty((n, d, d))
        for a in range(d):
            for b in range(a, d):
                outer = units[:, a] * units[:, b]
                sums = np.bincount(i, outer, n) + np.bincount(j, outer, n)
                moment[:, a, b] = moment[:, b, a] = sums
        found_now = movable & ~out & is_loose(moment, number, pulls)
        if not found_now.any():
            return out
        out |= found_now
        live = ~out[i] & ~out[j]
        i, j, units, attracts = i[live], j[live], units[live], attracts[live]
