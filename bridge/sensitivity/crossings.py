"""Pairs close to a distance at which u'' jumps, and by how much features jump as they cross it.

A pair whose u'' changes by k adds k n nᵀ to the Hessian (n on its ends), so that V C_ab changes by
k s_a s_b / (1 + k n·H⁻¹n), with s_a the pair's lengthening under strain a: exact, with one solve.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..errors import FeatureError
from ..features.elasticity import elastic_tensor_of
from ..features.moduli import strain_index
from ..features.registry import Feature
from ..matter.breaks import curvature_jumps
from ..matter.mechanics import State, volume_of
from ..matter.potentials import PairPotential
from ..matter.springs import Theta
from ..matter.strains import strain_basis
from ..minima.responses import Response

__all__ = ["Crossings", "check_jump_terms", "close_pairs", "steps"]

# Jumps of u'' below this fraction of the stiffest pair's are ignored (the switch's are 1e-3 of it).
SMALLEST_JUMP = 1e-2


@dataclass(frozen=True, eq=False)
class Crossings:
    """Pairs close to where u'' jumps, m of them.

    Attributes
    ----------
    pairs, of_break:
        Their places in the state's list, and in that of the distances at which u'' jumps, (m,).
    first, second, vector:
        The particles, (m,) each, and what leads from one to the other, (m, d).
    offset:
        r - b, (m,).
    following:
        How far the nearest pair that is left out is from the same break, (m,).
    stiffer:
        By how much u'' grows as the pair crosses from where it is, (m,).
    slopes:
        ∂b/∂p by the pair's own parameters, (m,) each.
    """

    pairs: NDArray[np.int64]
    of_break: NDArray[np.int64]
    first: NDArray[Any]
    second: NDArray[Any]
    vector: NDArray[np.float64]
    offset: NDArray[np.float64]
    following: NDArray[np.float64]
    stiffer: NDArray[np.float64]
    slopes: dict[str, NDArray[np.float64]]

    @property
    def unit(self) -> NDArray[np.float64]:
        """From the first particle to the second, of length 1, (m, d)."""
        out: NDArray[np.float64] = self.vector / np.linalg.norm(self.vector, axis=1)[:, None]
        return out

    def lost(self, compliance: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which crossings leave a saddle, so that the packing rearranges, by n·H⁻¹n (m,)."""
        out: NDArray[np.bool_] = 1.0 + self.stiffer * compliance <= 0.0
        return out

    def pulls(self, n_particles: int) -> NDArray[np.float64]:
        """∂r/∂R of each pair, (m, N, d)."""
        m, d = self.vector.shape
        pull = np.zeros((m, n_particles, d))
        unit = self.unit
        pull[np.arange(m), self.second] += unit
        pull[np.arange(m), self.first] -= unit
        return pull

    def stretch(self) -> NDArray[np.float64]:
        """∂r/∂ε of each pair at fixed relative positions, (m, n_strains)."""
        basis = strain_basis(self.vector.shape[1])
        out: NDArray[np.float64] = np.einsum("mi,aij,mj->ma", self.unit, basis, self.vector)
        return out


@partial(jax.jit, static_argnums=0)
def _jumps(kind: Any, parameters: Any, at: Any) -> Array:
    return curvature_jumps(kind, parameters, at)


def check_jump_terms(features: Sequence[Feature], cure: str) -> None:
    """Raise `FeatureError`, with a cure, for features whose steps are not known."""
    for f in features:
        if not f.has_jump_terms:
            raise FeatureError(f"{f.name}: frequencies have no jump terms: {cure}")


def close_pairs(
    near: PairPotential, found: Response, number: int, *, beyond_cutoff: bool = False
) -> Crossings:
    """Of each distance at which u'' jumps, the pairs that are nearest to it, so many at most.

    Pairs of rattlers are left out, and jumps of less than a hundredth of the stiffest pair's u''.
    Pairs beyond the last break, the cutoff, are taken where the state's list has them all.
    """
    state = found.state
    at, by_parameter = near.breaks(), near.break_slopes()
    jump = np.asarray(_jumps(near.kind, near.of_types(), at))
    listed = int(state.pairs.count)
    first, second = (np.asarray(x)[:listed] for x in (state.pairs.i, state.pairs.j))
    x = np.asarray(state.positions)
    vector = x[second] - x[first] + np.asarray(state.pairs.shift)[:listed]
    distance = np.sqrt(np.sum(vector**2, axis=1))
    types = np.asarray(state.typeid)
    kinds = (types[first], types[second])
    held = ~(found.rattlers[first] | found.rattlers[second])
    large = np.abs(jump) > SMALLEST_JUMP * near.max_stiffness()
    chosen: list[tuple[Any, ...]] = []
    for b in np.flatnonzero(large.any(axis=(1, 2))):
        offset = distance - at[b][kinds]
        usable = held & large[b][kinds]
        if b == len(at) - 1 and not beyond_cutoff:
            usable &= offset < 0
        places = np.flatnonzero(usable)
        most = min(number, len(places) - 1)
        if most < 1:
            continue
        order = np.argpartition(np.abs(offset[places]), most)
        inside, following = places[order[:most]], abs(offset[places[order[most]]])
        chosen.append((inside, np.full(most, b), offset[inside], np.full(most, following)))
    if not chosen:
        none = (np.zeros(0, dtype=np.int64),) * 2 + (np.zeros(0),) * 2
        chosen = [none]
    pairs, of_break, offset, following = (np.concatenate(p) for p in zip(*chosen, strict=True))
    of = (of_break, kinds[0][pairs], kinds[1][pairs])
    return Crossings(
        pairs,
        of_break,
        first[pairs],
        second[pairs],
        vector[pairs],
        offset,
        following,
        np.where(offset >= 0, -1.0, 1.0) * jump[of],
        {name: np.asarray(v)[of] for name, v in by_parameter.items()},
    )


@partial(jax.jit, static_argnums=0)
def _changed(
    features: tuple[Feature, ...],
    theta: Any,
    state: State,
    tensor: Array,
    unit: Array,
    ends: Any,
    stiffer: Array,
) -> Array:
    """Features' components (rows, m) with u'' of each of some pairs changed, less without."""
    i, j, vector, compliance = ends
    w = state.nonaffine[j] - state.nonaffine[i]
    strained = jnp.einsum("aij,mj->mia", jnp.asarray(strain_basis(unit.shape[1])), vector) - w
    along = jnp.einsum("mi,mia->ma", unit, strained)
    factor = stiffer / (1.0 + stiffer * compliance) / volume_of(state)
    change = factor[:, None, None] * along[:, :, None] * along[:, None, :]
    index = strain_index(unit.shape[1])
    change = change[:, index[:, :, None, None], index[None, None]]

    def of(changed: Array) -> Array:
        there = replace(state)
        # Features take the tensor from here: it is computed once for a state.
        there.memo[elastic_tensor_of] = (theta, changed)
        return jnp.concatenate([jnp.ravel(f.function(theta, there)) for f in features])

    return (jax.vmap(of)(tensor + change) - of(tensor)).T


def steps(
    features: Sequence[Feature],
    theta: Theta,
    state: State,
    tensor: Any,
    close: Crossings,
    compliance: NDArray[np.float64],
) -> NDArray[np.float64]:
    """By how much features' components (rows, m) jump as each pair crosses.

    `tensor` is the packing's elastic tensor, `compliance` n·H⁻¹n of each pair, (m,). Steps are
    those through the tensor: a feature that does not take it from `elastic_tensor_of` has none.
    Neither has a pair whose crossing leaves a saddle.
    """
    stiffer = np.where(close.lost(compliance), 0.0, close.stiffer)
    ends = (close.first, close.second, close.vector, compliance)
    return np.asarray(_changed(tuple(features), theta, state, tensor, close.unit, ends, stiffer))
