"""Local bond-orientational order in two dimensions."""

import jax.numpy as jnp
from jax import Array

from .mechanics import PairTerms, State, pair_terms
from .springs import Theta

__all__ = ["psi_sharp_of", "psi_smooth_of"]

WINDOW = (1.15, 1.4)  # in units of σ_ij: about the gap of g(r/σ) after the first shell
SOFTENING = 1e-6


def _bond_order(state: State, terms: PairTerms, weight: Array, k: int) -> tuple[Array, Array]:
    """Σ_j w z and Σ_j w of each particle, z = ((dx + i dy)/r)^k."""
    z = weight * (terms.unit[:, 0] + 1j * terms.unit[:, 1]) ** k
    n = len(state.typeid)
    i, j = state.pairs.i, state.pairs.j
    # Seen from j the bond points the other way.
    order = jnp.zeros(n, dtype=z.dtype).at[i].add(z).at[j].add(z * (-1) ** k)
    return order, jnp.zeros(n).at[i].add(weight).at[j].add(weight)


def psi_smooth_of(theta: Theta, state: State, k: int) -> Array:
    """The mean over particles of |Σ_j w e^{ikθ}| / D(Σ_j w), differentiable everywhere.

    w(r) is 1 below 1.15 σ_ij and falls to 0 at 1.4 σ_ij by the C² quintic; the modulus is
    sqrt(|·|² + e²) - e with e = 1e-6; D(s) is s where s >= 1 and s + (1 - s)³/3 below, so that a
    particle's last neighbour leaves smoothly.
    """
    terms = pair_terms(theta, state)
    inner, outer = WINDOW
    t = jnp.clip((terms.distance / terms.parameters["sigma"] - inner) / (outer - inner), 0.0, 1.0)
    weight = 1.0 - t**3 * (10.0 - 15.0 * t + 6.0 * t**2)
    order, total = _bond_order(state, terms, weight, k)
    below = jnp.maximum(1.0 - total, 0.0)
    ratio = order / (total + below**3 / 3.0)
    size = jnp.sqrt(ratio.real**2 + ratio.imag**2 + SOFTENING**2) - SOFTENING
    return jnp.mean(size)


def psi_sharp_of(theta: Theta, state: State, k: int) -> Array:
    """P0's measure: neighbours are those nearer than the largest diameter, each with weight 1."""
    terms = pair_terms(theta, state)
    weight = jnp.where(terms.distance < jnp.max(theta.diameters), 1.0, 0.0)
    order, total = _bond_order(state, terms, weight, k)
    return jnp.mean(jnp.abs(order) / jnp.maximum(total, 1.0))
