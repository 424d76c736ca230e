"""The linear response to a strain: non-affine motion, and the change of the stress."""

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import InputError
from amorph.handover.arguments import real_numbers

from ..matter.arguments import check
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..matter.strains import strain_components, strain_forces
from ..minima.responses import response
from .deformation import square_matrix

__all__ = ["nonaffine_displacement", "nonaffine_forces", "tangent_stiffness"]


def nonaffine_forces(
    theta: Theta, packing: Packing, strain: ArrayLike, *, tolerance: float | None = None
) -> NDArray[np.float64]:
    """Forces per unit of an affine strain, before the particles relax: -Ξ·ε, (N, d), energy/length.

    Ξ = ∂²U/∂R∂ε, so that `nonaffine_displacement` is H⁻¹ times these forces. They sum to 0. Those
    on rattlers are 0.

    Source: Lemaître and Maloney, J. Stat. Phys. 123, 415 (2006), who call these
    forces Ξ.

    Parameters, errors: as `nonaffine_displacement`.
    """
    check(theta=theta, packing=packing)
    _ = packing.volume
    components = strain_components(square_matrix(strain, packing.dimension, "the strain"))
    state = response(theta, packing, tolerance=tolerance).state
    out = -np.asarray(jnp.asarray(strain_forces(theta, state)) @ components)
    out[np.asarray(state.rattlers)] = 0.0
    return out


def nonaffine_displacement(
    theta: Theta, packing: Packing, strain: ArrayLike, *, tolerance: float | None = None
) -> NDArray[np.float64]:
    """The non-affine displacements of linear response per unit of a strain, (N, d), length.

    Under the strain t ε, for small t, the minimum at r is at (1 + t ε) r + t u: u = -W·ε is what is
    returned, W = H⁻¹Ξ. It is without components along rigid motions; rattlers' displacements are 0.

    Source: Lemaître and Maloney, J. Stat. Phys. 123, 415 (2006).

    Parameters
    ----------
    theta, packing:
        At rest, in a box, and its potential.
    strain:
        (d, d), symmetric, or any displacement gradient: a rotation moves no particle against
        another, so its symmetric part alone counts. A simple shear of unit γ is ε_xy = ε_yx = 1/2
        or, the same, u_xy = 1.
    tolerance:
        As in `response`.

    Raises
    ------
    InputError
        For a cluster without a box, or a strain of another shape or not finite.
    NotAMinimumError, SingularHessianError
        As `response`: the packing is not at rest, or has no linear response.
    """
    check(theta=theta, packing=packing)
    _ = packing.volume
    components = strain_components(square_matrix(strain, packing.dimension, "the strain"))
    found = response(theta, packing, tolerance=tolerance)
    out = -np.asarray(found.state.nonaffine) @ components
    out[found.rattlers] = 0.0
    return out


def tangent_stiffness(tensor: ArrayLike, stress: ArrayLike) -> NDArray[np.float64]:
    """The change of stress with a displacement gradient, dσ_ij = A_ijkl du_kl: A, (d, d, d, d).

    σ is the true (Cauchy) stress per present volume, tension positive; the deformation is
    x -> (1 + du) x, and A includes the rotation that a du that is not symmetric makes.

    The energy depends on F = 1 + u through the stretch (FᵀF)^(1/2) = 1 + e alone, with
    e = ε + (εω - ωε - ω²)/2 to second order in the strain ε and rotation ω, the symmetric and
    antisymmetric parts of u. With U/V = σ:e + e:C:e/2 and C = (1/V) ∂²U/∂ε∂ε as `elastic_tensor`
    has it, σ(F) = (1/V det F) (∂U/∂F) Fᵀ gives to first order

        dσ = B:ε + ωσ - σω,
        B_ijkl = C_ijkl + (δ_ik σ_jl + δ_il σ_jk + δ_jk σ_il + δ_jl σ_ik)/4 - σ_ij δ_kl.

    Source: the B are the Birch coefficients, also called those of Barron and Klein (Proc. Phys.
    Soc. 85, 523 (1965)) and Wallace (Thermodynamics of Crystals (1972), sect. 2). They are usually
    written with second derivatives by the Green-Lagrange strain η = e + e²/2 instead of C: those
    are C_ijkl - (δ_ik σ_jl + δ_il σ_jk + δ_jk σ_il + δ_jl σ_ik)/4, whence the factor 1/2 there. The
    rotation makes dσ - ωσ + σω Jaumann's rate.

    Contracted with symmetric strains, A gives B. Under a pressure p alone its bulk modulus is
    -V dp/dV = K + (d - 1) p/d with K that of C, and its shear moduli are those of C less p/2.

    Parameters
    ----------
    tensor:
        C, (d, d, d, d), energy / length^d.
    stress:
        σ, (d, d), at which C was measured.

    Raises
    ------
    InputError
        For other shapes, or values that are not finite.
    """
    sigma = real_numbers("the stress", stress, "a (2, 2) or (3, 3) matrix")
    if sigma.shape not in ((2, 2), (3, 3)):
        raise InputError(f"the stress has shape {sigma.shape}: it must be (2, 2) or (3, 3).")
    d = len(sigma)
    sigma = square_matrix(sigma, d, "the stress")
    c = real_numbers("the elastic tensor", tensor, f"of shape {(d,) * 4}")
    if c.shape != (d,) * 4 or not np.isfinite(c).all():
        raise InputError(
            f"the elastic tensor has shape {c.shape}: it must be {(d,) * 4} and finite."
        )
    one = np.eye(d)
    ik_jl = np.einsum("ik,jl->ijkl", one, sigma)
    il_jk = np.einsum("il,jk->ijkl", one, sigma)
    jk_il = np.einsum("jk,il->ijkl", one, sigma)
    jl_ik = np.einsum("jl,ik->ijkl", one, sigma)
    birch = c + 0.25 * (ik_jl + il_jk + jk_il + jl_ik) - np.einsum("ij,kl->ijkl", sigma, one)
    # ωσ - σω with ω_kl = (u_kl - u_lk)/2
    turned = 0.5 * (ik_jl - il_jk - jl_ik + jk_il)
    return birch + turned
