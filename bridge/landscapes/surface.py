"""The energy of one packing's particles as a function of where they are, for many places at once.

Bands, searches for saddles and paths of steepest descent ask for the energy, its gradient and its
Hessian at hundreds of places in one array. In small systems every pair is looked at, by matrices
that take positions to the pairs' vectors and their forces back: no place in memory is looked up.
Larger ones have a list of pairs, as everything else in the bridge.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from amorph.handover import UnknownTypeError, check_box

from ..matter.mechanics import (
    Interactions,
    State,
    hessian_of,
    interactions,
    near_parameters,
    state_of,
)
from ..matter.packing import Packing
from ..matter.pairs import Pairs
from ..matter.springs import Theta
from ..solve.rigid import rigid_modes_of

__all__ = ["MOST_DENSE", "Surface", "surface_of"]

# Up to so many particles every pair is looked at.
MOST_DENSE = 48


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Surface:
    """The energy landscape of some particles.

    Attributes
    ----------
    theta:
        Their interactions.
    state:
        All but where they are: types, box, who is fixed, and the pairs; positions (N, d) as an
        example.
    ends:
        (n_pairs, N): -1 at a pair's first particle, 1 at its second, where all pairs are looked
        at; None where the state's list has those in reach.
    size:
        The smallest diameter or rest length: the unit of steps.
    """

    theta: Any
    state: State
    ends: Any
    size: Any

    @property
    def shape(self) -> tuple[int, int]:
        """(N, d)."""
        n, d = self.state.positions.shape
        return n, d

    def at(self, x: Array) -> State:
        """The state with the particles at x (N, d), each pair by its nearest image."""
        state = replace(self.state, positions=x)
        if self.ends is None or state.box is None:
            return state
        shift = -jnp.round((self.ends @ x) @ jnp.linalg.inv(state.box).T) @ state.box.T
        return replace(state, pairs=replace(state.pairs, shift=jax.lax.stop_gradient(shift)))

    def parts(self, x: Array) -> tuple[Interactions, ...]:
        """Every kind of interaction with the particles at x (N, d)."""
        if self.ends is None:
            return interactions(self.theta, self.at(x))
        box, pairs = self.state.box, self.state.pairs
        vector = self.ends @ x
        if box is not None:
            vector = vector - jnp.round(vector @ jnp.linalg.inv(box).T) @ box.T
        held = jnp.ones(vector.shape[0], dtype=bool)
        parameters = near_parameters(self.theta, self.state)
        return (Interactions(pairs.i, pairs.j, vector, parameters, held, self.theta.near.kind),)

    def energy(self, x: Array) -> Array:
        """U at x (N, d)."""
        return jnp.sum(jnp.stack([jnp.sum(part.energy) for part in self.parts(x)]))

    def energy_and_gradient(self, x: Array) -> tuple[Array, Array]:
        """U and ∂U/∂x (N, d) at x (N, d); 0 on fixed particles."""
        value, slope = jnp.zeros(()), jnp.zeros_like(x)
        for part in self.parts(x):
            value = value + jnp.sum(part.energy)
            push = part.slope[:, None] * part.unit
            if self.ends is None:
                slope = slope.at[part.j].add(push).at[part.i].add(-push)
            else:
                slope = slope + self.ends.T @ push
        fixed = self.state.fixed
        return value, slope if fixed is None else jnp.where(fixed[:, None], 0.0, slope)

    def hessian(self, x: Array) -> Array:
        """∂²U/∂x∂x (N d, N d) at x (N, d), of all particles."""
        if self.ends is None:
            return hessian_of(self.theta, self.at(x))
        (part,) = self.parts(x)
        n, d = self.shape
        blocks = part.stiffness_matrices()
        found = jnp.einsum("mi,mab,mj->iajb", self.ends, blocks, self.ends)
        return found.reshape(n * d, n * d)

    def rigid(self, x: Array) -> Array:
        """Orthonormal rigid motions (N d, n_rigid) at x; columns of zeros for those that are none.

        Fixed particles have no part in them.
        """
        return jnp.asarray(rigid_modes_of(self.at(x)))


def surface_of(theta: Theta, packing: Packing, *, skin: float = 0.0) -> Surface:
    """The landscape of a packing's particles.

    With a list of pairs (more than `MOST_DENSE` particles, or springs) it holds as long as no
    particle goes farther than half the skin.

    Raises as `find_pairs` does.
    """
    size = np.float64(theta.size_range()[0])
    n = packing.n_particles
    if n > MOST_DENSE or theta.springs is not None or theta.near is None:
        state = state_of(theta, packing, skin=skin)
        return Surface(theta, state, None, size)
    near = theta.near
    if int(np.max(packing.typeid)) >= near.n_types:
        raise UnknownTypeError(
            f"a particle has typeid {int(np.max(packing.typeid))}, but the potential has "
            f"parameters for {near.n_types} types: give parameters for each."
        )
    if packing.box is not None:
        check_box(np.asarray(packing.box), float(near.cutoffs().max()))
    i, j = (k.astype(np.int32) for k in np.triu_indices(n, 1))
    pairs = Pairs(i, j, np.zeros((len(i), packing.dimension)), np.int64(len(i)))
    ends = np.zeros((len(i), n))
    ends[np.arange(len(i)), i] = -1.0
    ends[np.arange(len(i)), j] = 1.0
    return Surface(theta, state_of(theta, packing, pairs=pairs), ends, size)
