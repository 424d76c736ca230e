"""The elastic tensor and what follows from it, with the non-affine relaxation.

V C_ab is the second derivative of U(R - W t, ε = t) with respect to the strains t_a and t_b. That
form is stationary in W = H⁻¹Ξ, so its derivatives with respect to positions and parameters are
taken at fixed W.
"""

from dataclasses import dataclass
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

__all__ = [
    "BondContributions",
    "anisotropy_of",
    "bond_contributions",
    "bulk_modulus_of",
    "elastic_constants_of",
    "elastic_tensor_of",
    "lowest_modulus_of",
    "poisson_ratio_of",
    "shear_modulus_of",
    "stress_components_of",
    "youngs_moduli_of",
    "youngs_modulus_of",
]


def strain_index(dimension: int) -> NDArray[np.int64]:
    """The index of the basis strain that each pair of axes belongs to, (d, d)."""
    if dimension == 2:
        return np.array([[0, 2], [2, 1]])
    return np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


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


def _bulk(tensor: Array) -> Array:
    return jnp.einsum("...iijj->...", tensor) / tensor.shape[-1] ** 2


def _shear(tensor: Array) -> Array:
    d = tensor.shape[-1]
    return (jnp.einsum("...ijij->...", tensor) - d * _bulk(tensor)) / (d * d + d - 2)


def bulk_modulus_of(theta: Theta, state: State) -> Array:
    """B = C_iijj / d²."""
    return _bulk(elastic_tensor_of(theta, state))


def shear_modulus_of(theta: Theta, state: State) -> Array:
    """G = (C_ijij - d B) / (d² + d - 2)."""
    return _shear(elastic_tensor_of(theta, state))


def poisson_ratio_of(theta: Theta, state: State) -> Array:
    """ν = (d B - 2 G) / (d (d - 1) B + 2 G)."""
    tensor = elastic_tensor_of(theta, state)
    d, bulk, shear = tensor.shape[-1], _bulk(tensor), _shear(tensor)
    return (d * bulk - 2 * shear) / (d * (d - 1) * bulk + 2 * shear)


def lowest_modulus_of(theta: Theta, state: State) -> Array:
    """The smallest eigenvalue of C as a map from symmetric strains to stresses.

    The box is held, so nothing keeps it positive: where it is negative, a packing at rest would
    shear its box if it were let.
    """
    tensor = elastic_tensor_of(theta, state)
    # Strains of unit norm, so that eigenvalues do not depend on the axes (Mandel's form).
    basis = _mandel(tensor.shape[-1])
    return jnp.linalg.eigvalsh(jnp.einsum("aij,ijkl,bkl->ab", basis, tensor, basis))[0]


def elastic_constants_of(theta: Any, state: State) -> Array:
    """The independent components of C, (6,) in two dimensions, (21,) in three.

    The upper triangle, by rows, of the matrix over xx, yy, (zz, yz, xz,) xy.
    """
    tensor = elastic_tensor_of(theta, state)
    d = tensor.shape[-1]
    pairs = [(a, a) for a in range(d)] + ([(0, 1)] if d == 2 else [(1, 2), (0, 2), (0, 1)])
    i, j = (np.array(axes) for axes in zip(*pairs, strict=True))
    a, b = np.triu_indices(len(pairs))
    return tensor[i[a], j[a], i[b], j[b]]


def stress_components_of(theta: Any, state: State) -> Array:
    """The independent components of the stress, xx, yy, (zz, yz, xz,) xy."""
    stress = stress_of(theta, state)
    if stress.shape[0] == 2:
        return stress[jnp.array([0, 1, 0]), jnp.array([0, 1, 1])]
    return stress[jnp.array([0, 1, 2, 1, 0, 0]), jnp.array([0, 1, 2, 2, 2, 1])]


def _mandel(dimension: int) -> NDArray[np.float64]:
    """Orthonormal symmetric strains, (n_strains, d, d)."""
    basis = strain_basis(dimension)
    return basis / np.sqrt(np.einsum("aij,aij->a", basis, basis))[:, None, None]


@once
def compliance_of(theta: Any, state: State) -> Array:
    """S_ijkl, the inverse of C as a map from symmetric strains to stresses, (d, d, d, d)."""
    tensor = elastic_tensor_of(theta, state)
    basis = _mandel(tensor.shape[-1])
    inverse = jnp.linalg.inv(jnp.einsum("aij,ijkl,bkl->ab", basis, tensor, basis))
    return jnp.einsum("aij,ab,bkl->ijkl", basis, inverse, basis)


def youngs_modulus_of(theta: Any, state: State) -> Array:
    """E of the isotropic solid with B and G: 4BG/(B + G) in the plane, 9BG/(3B + G) in space."""
    tensor = elastic_tensor_of(theta, state)
    d, bulk, shear = tensor.shape[-1], _bulk(tensor), _shear(tensor)
    return 2 * d**2 * bulk * shear / (d * (d - 1) * bulk + 2 * shear)


def youngs_moduli_of(theta: Any, state: State) -> Array:
    """1/S_xxxx and the like, (d,): the moduli for uniaxial stress along each axis."""
    compliance = compliance_of(theta, state)
    axes = jnp.arange(compliance.shape[-1])
    return 1.0 / compliance[axes, axes, axes, axes]


def anisotropy_of(theta: Any, state: State) -> Array:
    """The universal elastic anisotropy index, K_V/K_R + (n - 1) G_V/G_R - n, 0 if isotropic.

    n = d(d + 1)/2; V and R are the averages of C and of its inverse. Source: Ranganathan and
    Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008), eq. 6, here for either dimension.
    """
    tensor, compliance = elastic_tensor_of(theta, state), compliance_of(theta, state)
    d = tensor.shape[-1]
    n = d * (d + 1) // 2
    trace = jnp.einsum("iijj->", compliance)
    soft = 2 * (jnp.einsum("ijij->", compliance) - trace / d) / (n - 1)
    return _bulk(tensor) * trace + (n - 1) * _shear(tensor) * soft - n


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
        out.append((ends, _bulk(tensors), _shear(tensors), part.vector, -part.slope, inside))
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
