"""Jump terms: the part of a mean's derivative due to pairs that cross where u'' jumps.

A feature f made of second derivatives of the energy jumps by Δf when a pair crosses such a distance
b. A packing's own derivative knows nothing of that, but a mean over packings goes smoothly: pairs
cross at the rate at which they are found at b. So

    d⟨f⟩/dθ = ⟨df/dθ⟩ + ⟨Σ_pairs δ(r - b) Δf d(r - b)/dθ⟩,

what rearrangements do apart. Each pair close to b stands for those at b: δ is a kernel as wide as
it takes to hold some of them. Δf is exact: a pair whose u'' changes by k adds k n nᵀ to the Hessian
(n on its ends), so that V C_ab changes by k s_a s_b / (1 + k n·H⁻¹n), with s_a the pair's
lengthening under strain a. With its weights fixed the sum differentiates as a feature does, by the
same adjoint.

Source: derived here; an application of smoothed perturbation analysis (Gong and Ho, IEEE Trans.
Autom. Control 32, 858 (1987)).
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
from ..features.elasticity import elastic_tensor_of, strain_index
from ..features.registry import Feature
from ..matter.breaks import curvature_jumps
from ..matter.mechanics import State, volume_of
from ..matter.springs import Theta
from ..matter.strains import strain_basis
from ..minima.responses import Response

__all__ = ["Jumps", "jumps_of"]

# The kernel is as wide as it takes to hold this many pairs per particle, and between FEWEST and
# MOST, but at most WIDEST of the smallest diameter. (With diameters 0.8 and 1.0, a = 6 and density
# 1.6 the nearest 0.08 lie within 0.003 σ; kernels of 0.003 σ and 0.01 σ give the same sum within
# its error, one of 0.03 σ twice as much.)
PAIRS_A_PARTICLE = 0.08
FEWEST, MOST = 8, 256
WIDEST = 0.01
# Jumps of u'' below this fraction of the stiffest pair's are ignored (the switch's are 1e-3 of it).
SMALLEST_JUMP = 1e-2


@dataclass(frozen=True, eq=False)
class Jumps:
    """Pairs close to where u'' jumps, and what features gain when they cross.

    Attributes
    ----------
    pairs:
        Their places in the state's list, (m,).
    offset:
        r - b, (m,).
    density:
        What each contributes to the density of pairs at b, (m,), 1 / length.
    step:
        Of features' components, with the pair beyond b less with it within, (rows, m).
    slopes:
        ∂b/∂p by the pair's parameters, (m,) each.
    """

    pairs: NDArray[np.int64]
    offset: NDArray[np.float64]
    density: NDArray[np.float64]
    step: NDArray[np.float64]
    slopes: dict[str, NDArray[np.float64]]

    def partials(
        self, state: State
    ) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64], NDArray[np.float64]]:
        """Partial derivatives of Σ density step (r - b) at fixed weights.

        By each listed pair's own parameters, (rows, M); by positions, (rows, N, d); by the strain,
        (rows, n_strains).
        """
        weight = self.density * self.step
        rows, size = len(weight), len(np.asarray(state.pairs.i))
        own = {}
        for name, slope in self.slopes.items():
            by_pair = np.zeros((size, rows))
            np.add.at(by_pair, self.pairs, (-weight * slope).T)  # one may be close to two breaks
            own[name] = by_pair.T
        i, j, vector = _ends(state, self.pairs)
        unit = vector / np.sqrt(np.sum(vector**2, axis=1))[:, None]
        pull = weight.T[:, :, None] * unit[:, None, :]  # (m, rows, d)
        n, d = np.shape(state.positions)
        loads = np.zeros((n, rows, d))
        np.add.at(loads, j, pull)
        np.add.at(loads, i, -pull)
        strain = np.einsum("mri,aij,mj->ra", pull, strain_basis(d), vector)
        return own, loads.transpose(1, 0, 2), strain


def _ends(state: State, places: NDArray[np.int64]) -> tuple[Any, Any, NDArray[np.float64]]:
    i, j = np.asarray(state.pairs.i)[places], np.asarray(state.pairs.j)[places]
    x = np.asarray(state.positions)
    return i, j, x[j] - x[i] + np.asarray(state.pairs.shift)[places]


@partial(jax.jit, static_argnums=0)
def _jumps(kind: Any, parameters: Any, at: Any) -> Array:
    return curvature_jumps(kind, parameters, at)


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


def _close(
    offset: NDArray[Any], usable: NDArray[np.bool_], number: int, widest: float, one_side: bool
) -> Any:
    """The pairs nearest to a break, and what each contributes to the density of pairs there.

    The kernel is Epanechnikov's, as wide as the number-th nearest pair is far, if that is less than
    the widest. Those beyond it contribute nothing; they stay, for their number to be always one.
    """
    places = np.flatnonzero(usable & (offset < 0)) if one_side else np.flatnonzero(usable)
    number = min(number, len(places) - 1)
    if number < 1:
        return places[:0], np.zeros(0)
    far = np.abs(offset[places])
    order = np.argpartition(far, number)
    width = min(far[order[number]], widest)
    inside = order[:number]
    density = 0.75 * np.maximum(1.0 - (far[inside] / width) ** 2, 0.0) / width
    return places[inside], (2.0 if one_side else 1.0) * density


def jumps_of(
    features: Sequence[Feature],
    theta: Theta,
    found: Response,
    rows: int,
    tensor: Any,
) -> Jumps:
    """The pairs close to a jump of u'', and the steps of features as each of them crosses it.

    `rows` is the features' number of components, `tensor` the packing's elastic tensor, or None.
    Steps are those through the elastic tensor: a feature that does not take it from
    `elastic_tensor_of` has none. Neither has a pair whose crossing would leave a saddle, since the
    packing then rearranges.

    Raises `FeatureError` for features of vibrational modes.
    """
    for f in features:
        if not f.has_jump_terms:
            raise FeatureError(f"{f.name}: frequencies have no jump terms: leave jump_terms out.")
    state = found.state
    none = np.zeros(0)
    nothing = Jumps(np.zeros(0, dtype=np.int64), none, none, np.zeros((rows, 0)), {})
    if theta.near is None or tensor is None:
        return nothing  # springs are smooth, and clusters have no moduli
    near = theta.near
    at, by_parameter = near.breaks(), near.break_slopes()
    jump = np.asarray(_jumps(near.kind, near.of_types(), at))
    first, second, vector = _ends(state, np.arange(int(state.pairs.count)))
    distance = np.sqrt(np.sum(vector**2, axis=1))
    types = np.asarray(state.typeid)
    kinds = (types[first], types[second])
    held = ~(found.rattlers[first] | found.rattlers[second])
    number = int(np.clip(np.ceil(PAIRS_A_PARTICLE * len(types)), FEWEST, MOST))
    widest = WIDEST * theta.near.size_range()[0]
    large = np.abs(jump) > SMALLEST_JUMP * theta.near.max_stiffness()
    chosen: list[tuple[Any, ...]] = []
    for b in np.flatnonzero(large.any(axis=(1, 2))):
        offset = distance - at[b][kinds]
        # The pair list may end at the last break, the cutoff: only pairs within it are used there.
        usable = held & large[b][kinds]
        close, density = _close(offset, usable, number, widest, b == len(at) - 1)
        chosen.append((close, offset[close], density, np.full(len(close), b)))
    if not chosen:
        return nothing
    pairs, offset, density, of_break = (np.concatenate(p) for p in zip(*chosen, strict=True))
    first, second, vector = first[pairs], second[pairs], vector[pairs]
    unit = vector / distance[pairs, None]
    places = (of_break, types[first], types[second])
    m = np.arange(len(pairs))
    load = np.zeros((*np.shape(state.positions), len(pairs)))
    load[first, :, m] -= unit
    load[second, :, m] += unit
    compliance = found.factor.compliance(load)
    side = np.where(offset >= 0, -1.0, 1.0)  # of the change that brings a pair across
    stiffer = side * jump[places]
    lost = 1.0 + stiffer * compliance <= 0.0
    ends = (first, second, vector, compliance)
    stiffer = np.where(lost, 0.0, stiffer)
    changed = _changed(tuple(features), theta, state, tensor, unit, ends, stiffer)
    slopes = {name: np.asarray(v)[places] for name, v in by_parameter.items()}
    return Jumps(pairs, offset, density, side * np.asarray(changed), slopes)
