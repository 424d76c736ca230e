"""The elastic tensor with the non-affine relaxation, and each bond's part in it.

V C_ab is the second derivative of U(R - W t, ε = t) with respect to the strains t_a and t_b. That
form is stationary in W = H⁻¹Ξ, so its derivatives with respect to positions and parameters are
taken at fixed W.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from amorph.handover.showing import shown, spread_shown

from ..matter.arguments import check
from ..matter.mechanics import (
    Interactions,
    State,
    interactions,
    listed,
    once,
    stress_of,
    sum_over_pairs,
    volume_of,
)
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..matter.strains import strain_basis
from ..minima.responses import response
from .moduli import bulk_modulus, shear_modulus, strain_index

__all__ = [
    "BondContributions",
    "bond_contributions",
    "elastic_tensor_of",
    "of_tensor",
    "stress_components_of",
]


def pair_moduli(part: Interactions, nonaffine: Any) -> Array:
    """Each pair's part of V C_ab, (M, n_strains, n_strains).

    u'' (n·v_a)(n·v_b) + (u'/r) [v_a·v_b - (n·v_a)(n·v_b)] + u' n·s_ab with v_a = E_a r - w_a and
    s_ab = -E_a w_b - E_b w_a, w = W_j - W_i.
    """
    basis = jnp.asarray(strain_basis(part.vector.shape[1]))
    unit = part.unit
    slope, curvature = part.slope_and_curvature
    w = nonaffine[part.j] - nonaffine[part.i]  # (M, d, a)
    v = jnp.einsum("aij,mj->mia", basis, part.vector) - w
    along = jnp.einsum("mi,mia->ma", unit, v)
    parallel = along[:, :, None] * along[:, None, :]
    full = jnp.einsum("mia,mib->mab", v, v)
    turned = jnp.einsum("mi,aij,mjb->mab", unit, basis, w)
    bent = slope / part.distance
    return (
        curvature[:, None, None] * parallel
        + bent[:, None, None] * (full - parallel)
        - slope[:, None, None] * (turned + turned.transpose(0, 2, 1))
    )


@once
def elastic_tensor_of(theta: Any, state: State) -> Array:
    """C_ijkl = (1/V) ∂²U/∂ε_ij∂ε_kl, (d, d, d, d)."""
    total = sum_over_pairs(
        lambda part: jnp.sum(pair_moduli(part, state.nonaffine), axis=0),
        interactions(theta, state),
    )
    index = strain_index(state.positions.shape[1])
    return (total / volume_of(state))[index[:, :, None, None], index[None, None]]


def of_tensor(function: Callable[[Array], Array]) -> Callable[[Any, State], Array]:
    """A function of the elastic tensor, such as those of `moduli`, as one of (theta, state)."""

    @wraps(function)
    def of_state(theta: Any, state: State) -> Array:
        return function(elastic_tensor_of(theta, state))

    return of_state


def stress_components_of(theta: Any, state: State) -> Array:
    """The independent components of the stress, xx, yy, (zz, yz, xz,) xy."""
    stress = stress_of(theta, state)
    if stress.shape[0] == 2:
        return stress[jnp.array([0, 1, 0]), jnp.array([0, 1, 1])]
    return stress[jnp.array([0, 1, 2, 1, 0, 0]), jnp.array([0, 1, 2, 2, 2, 1])]


@dataclass(frozen=True, eq=False)
class BondContributions:
    """The contribution of each interacting pair to the moduli.

    Attributes: pairs (M, 2); bulk (M,), b_ij, and shear (M,), g_ij, which sum to B and G; vector
    (M, d) from the first particle to the second; force (M,), -u', positive where they repel.
    """

    pairs: NDArray[np.int32]
    bulk: NDArray[np.float64]
    shear: NDArray[np.float64]
    vector: NDArray[np.float64]
    force: NDArray[np.float64]

    def __repr__(self) -> str:
        return shown(
            f"BondContributions of {len(self.pairs)} interacting pairs",
            [
                ("bulk", f"{spread_shown(self.bulk)}, sum B = {self.bulk.sum():.6g}"),
                ("shear", f"{spread_shown(self.shear)}, sum G = {self.shear.sum():.6g}"),
                ("force", spread_shown(self.force)),
            ],
        )


@jax.jit
def _bonds(theta: Any, state: State) -> list[tuple[Array, ...]]:
    index = strain_index(state.positions.shape[1])
    out: list[tuple[Array, ...]] = []
    for part in interactions(theta, state):
        voigt = pair_moduli(part, state.nonaffine) / volume_of(state)
        tensors = voigt[:, index[:, :, None, None], index[None, None]]
        inside = part.distance < part.kind.pair_cutoff(part.parameters)
        ends = jnp.stack([part.i, part.j], axis=1)
        out.append(
            (
                ends,
                jax.vmap(bulk_modulus)(tensors),
                jax.vmap(shear_modulus)(tensors),
                part.vector,
                -part.slope,
                inside,
            )
        )
    return out


def bond_contributions(theta: Theta, packing: Packing) -> BondContributions:
    """Contributions b_ij and g_ij of each pair within its cutoff to B and G.

    b_ij = (1/(V d²)) d²/dt² of u_ij along R - W_I t, ε = t·1; g_ij by the combination of strains
    that makes G. Source: Zu and Goodrich, Commun. Mater. 5 (2024), Fig. 1e, after
    Hexner, Liu and Nagel, Soft Matter 14, 312 (2017).

    Raises as `response` does, and `InputError` for a packing without a box.
    """
    check(theta=theta, packing=packing)
    _ = packing.volume
    found = response(theta, packing)
    *values, inside = listed(theta, found.state, _bonds(theta, found.state))
    return BondContributions(*(v[inside] for v in values))
