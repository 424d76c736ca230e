"""Local bond-orientational order in two dimensions: ψ_k for any k."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from amorph.handover import InputError
from amorph.handover.arguments import check_kind, described

from ..errors import FeatureError
from ..matter.arguments import check
from ..matter.mechanics import State, pair_terms, state_of
from ..matter.neighbours import (
    FIRST_SHELL,
    WINDOW,
    WITHIN_LARGEST_DIAMETER,
    Window,
    saturating,
    soft_modulus,
    sum_over_neighbours,
)
from ..matter.packing import Packing
from ..matter.springs import Theta
from .registry import Feature

__all__ = [
    "bond_order",
    "bond_order_feature",
    "bond_order_of",
    "psi_sharp_of",
    "psi_smooth_of",
]


def bond_order_of(theta: Theta, state: State, k: int, window: Window) -> Array:
    """Σ_j w e^{ikθ} / D(Σ_j w) of each particle, (N,) complex; see `bond_order`."""
    unit = pair_terms(theta, state).unit
    weight = window.weights(theta, state)
    # No arctan2: its derivative is singular at the branch cut.
    z = weight * (unit[:, 0] + 1j * unit[:, 1]) ** k
    order = sum_over_neighbours(state, z, z * (-1) ** k)  # j sees the bond the other way round
    return order / saturating(sum_over_neighbours(state, weight, weight))


def psi_smooth_of(theta: Theta, state: State, k: int, window: Window = FIRST_SHELL) -> Array:
    """The mean over particles of |Σ_j w e^{ikθ}| / D(Σ_j w), differentiable everywhere.

    By default w(r) is 1 below 1.15 σ_ij and falls to 0 at 1.4 σ_ij by the C² quintic; the modulus
    is sqrt(|·|² + e²) - e with e = 1e-6; D(s) is s where s >= 1 and s + (1 - s)³/3 below, so that a
    particle's last neighbour leaves smoothly.
    """
    order = bond_order_of(theta, state, k, window)
    return jnp.mean(soft_modulus(order.real**2 + order.imag**2))


def psi_sharp_of(
    theta: Theta, state: State, k: int, window: Window = WITHIN_LARGEST_DIAMETER
) -> Array:
    """The mean of |ψ_k(i)| with all neighbours within the largest diameter, each of weight 1."""
    return jnp.mean(jnp.abs(bond_order_of(theta, state, k, window)))


def _check_fold(k: int, error: type[InputError]) -> None:
    if not (isinstance(k, int | np.integer) and k >= 1):
        told = k if isinstance(k, (int, float)) else described(k)
        raise error(f"psi_{told}: k must be a whole number of at least 1.")


def bond_order_feature(k: int, window: Window = FIRST_SHELL, *, name: str | None = None) -> Feature:
    """The feature ψ_k, the mean over particles of |ψ_k(i)|, with any window.

    Parameters
    ----------
    k:
        The fold, at least 1.
    window:
        Who is a neighbour, and with which weight. In a sharp window the feature jumps and has no
        gradient; in a smooth one the modulus is softened, see `psi_smooth_of`.
    name:
        Its name; by default ``psi_k`` for the default window, ``psi_k_sharp`` for all pairs
        nearer than the largest diameter, and ``psi_k (WINDOW)`` for others.

    Returns
    -------
    A `Feature` to give to `measure`, `value_and_grad` or `register`; raises `FeatureError` for a k
    that is no whole number of at least 1.
    """
    _check_fold(k, FeatureError)
    check_kind("window", window, Window, WINDOW)
    if name is None:
        known = {FIRST_SHELL: f"psi_{k}", WITHIN_LARGEST_DIAMETER: f"psi_{k}_sharp"}
        name = known.get(window, f"psi_{k} ({window})")
    return Feature(
        name,
        partial(psi_sharp_of if window.is_sharp else psi_smooth_of, k=int(k), window=window),
        reach=window.reach,
        dimensions=(2,),
        needs_box=False,
        needs_pairs=True,
        differentiable=window.differentiable,
        describe=f"{k}-fold order ψ{str(k).translate(SUBSCRIPTS)}"
        + (", sharp" if window.is_sharp else ""),
        bounds={2: (0.0, 1.0)},
        symbol=f"ψ{str(k).translate(SUBSCRIPTS)}",
        units="1",
        stationary=True,
    )


SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

_bond_order = jax.jit(bond_order_of, static_argnums=(2, 3))


def bond_order(
    theta: Theta, packing: Packing, k: int, window: Window = FIRST_SHELL
) -> NDArray[np.complex128]:
    """The k-fold bond order of each particle, ψ_k(i) = Σ_j w_ij e^{ikθ_ij} / D(Σ_j w_ij).

    θ_ij is the angle between the x axis and the bond from i to j. D(s) = s for s >= 1 and
    s + (1 - s)³/3 below; it differs from s only for a particle whose neighbours weigh less than
    one together, and never in a sharp window. A particle without neighbours has ψ_k = 0.

    Parameters
    ----------
    theta, packing:
        A packing in two dimensions, at rest or not, and the potential that gives its diameters.
    k:
        The fold, at least 1.
    window:
        Who is a neighbour, and with which weight.

    Returns
    -------
    (N,) complex, without unit, of modulus <= 1. The mean of its modulus is the feature ``psi_k``
    to 1e-6, by which that one's modulus is softened.

    Raises
    ------
    InputError
        For a packing in three dimensions, k < 1, or particles that coincide.
    BoxTooSmallError
        If the box is narrower than twice the window's reach or the potential's cutoff.
    UnknownTypeError, PrecisionError
        As `measure` does.

    Source: Nelson and Halperin, Phys. Rev. B 19, 2457 (1979), for k = 6 and w = 1.
    """
    check(theta=theta, packing=packing)
    check_kind("window", window, Window, WINDOW)
    _check_fold(k, InputError)
    if packing.dimension != 2:
        raise InputError("ψ_k is defined in two dimensions: in three, use `steinhardt_order`.")
    state = state_of(theta, packing, reach=window.reach(theta))
    found = np.asarray(_bond_order(theta, state, int(k), window))
    if not np.isfinite(found).all():
        raise InputError("a bond has no direction: two particles coincide. Move one of them.")
    return found
