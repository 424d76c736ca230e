"""Local bond-orientational order in three dimensions: Steinhardt's q_l and its average."""

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
    FIRST_SHELL_SHARP,
    WINDOW,
    Window,
    saturating,
    soft_modulus,
    sum_over_neighbours,
)
from ..matter.packing import Packing
from ..matter.springs import Theta
from .registry import Feature

__all__ = ["steinhardt_feature", "steinhardt_of", "steinhardt_order"]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def solid_harmonics(degree: int, vector: Array) -> Array:
    """r^l sqrt(4π/(2l+1)) Y_lm of vectors (M, 3), for m = 0 to l: (M, l + 1), complex.

    Racah's normalisation, without the Condon-Shortley phase: the squared moduli over all m, those
    of m > 0 counted twice for ±m, sum to r^(2l). Polynomials in x, y and z, by the stable
    three-term recurrence in l.
    """
    x, y, z = vector[:, 0], vector[:, 1], vector[:, 2]
    squared = (x * x + y * y + z * z)[:, None]
    m = np.arange(degree + 1)
    before, now = jnp.zeros((len(z), degree + 1)), jnp.ones((len(z), degree + 1))
    # The part of each m that is a polynomial in z and r² alone; it starts at l = m, where it is
    # sqrt((2m - 1)!!/(2m)!!). Below, the column holds its start.
    start = np.cumprod(np.concatenate([[1.0], np.sqrt((2 * m[1:] - 1) / (2 * m[1:]))]))
    now = now * start
    for n in range(degree):
        on = m <= n
        up = np.sqrt(np.where(on, (n + 1.0) ** 2 - m**2, 1.0))
        down = np.sqrt(np.where(on, float(n) ** 2 - m**2, 0.0).clip(0.0))
        following = ((2 * n + 1) * z[:, None] * now - down * squared * before) / up
        before, now = jnp.where(on, now, 0.0), jnp.where(on, following, now)
    turning = jnp.broadcast_to((x + 1j * y)[:, None], (len(z), degree))
    powers = jnp.cumprod(turning, axis=1)
    return now * jnp.concatenate([jnp.ones((len(z), 1), dtype=powers.dtype), powers], axis=1)


@solid_harmonics.defjvp
def _solid_harmonics_jvp(
    degree: int, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    """The derivatives of harmonics are harmonics of one degree less.

    With ∂± = ∂x ± i∂y: ∂z S_l^m = sqrt(l² - m²) S_{l-1}^m,
    ∂- S_l^m = sqrt((l+m)(l+m-1)) S_{l-1}^{m-1}, ∂+ S_l^m = -sqrt((l-m)(l-m-1)) S_{l-1}^{m+1}, and
    S^{-1} = -conj(S^1). So nothing of the recurrence is kept for the derivative.
    """
    (vector,), (change,) = primals, tangents
    values = solid_harmonics(degree, vector)
    if degree == 0:
        return values, jnp.zeros_like(values)
    less = solid_harmonics(degree - 1, vector)
    m = np.arange(degree + 1)
    nothing = jnp.zeros((len(less), 1), dtype=less.dtype)
    below = -jnp.conj(less[:, 1:2]) if degree > 1 else nothing
    same = jnp.concatenate([less, nothing], axis=1)
    lower = jnp.concatenate([below, less], axis=1)
    upper = jnp.concatenate([less[:, 1:], nothing, nothing], axis=1)
    along_z = np.sqrt(degree**2 - m**2.0) * same
    minus = np.sqrt((degree + m) * (degree + m - 1.0)) * lower
    plus = -np.sqrt((degree - m) * (degree - m - 1.0).clip(0.0)) * upper
    slope = (
        0.5 * (plus + minus) * change[:, 0:1]
        + 0.5j * (minus - plus) * change[:, 1:2]
        + along_z * change[:, 2:3]
    )
    return values, slope


def _components(theta: Theta, state: State, degree: int, window: Window, averaged: bool) -> Array:
    """sqrt(4π/(2l+1)) q_lm of each particle for m = 0 to l, (N, l + 1) complex."""
    weight = window.weights(theta, state)
    total = sum_over_neighbours(state, weight, weight)
    bonds = weight[:, None] * solid_harmonics(degree, pair_terms(theta, state).unit)
    # j sees the bond the other way round.
    summed = sum_over_neighbours(state, bonds, bonds * (-1) ** degree)
    components = summed / saturating(total)[:, None]
    if not averaged:
        return components
    i, j = state.pairs.i, state.pairs.j
    around = sum_over_neighbours(
        state, weight[:, None] * components[j], weight[:, None] * components[i]
    )
    return (components + around) / (1.0 + total)[:, None]


def steinhardt_of(
    theta: Theta,
    state: State,
    degree: int,
    window: Window = FIRST_SHELL,
    averaged: bool = False,
) -> Array:
    """q_l of each particle, (N,); see `steinhardt_order`."""
    parts = _components(theta, state, degree, window, averaged)
    squares = parts.real**2 + parts.imag**2
    squared = squares[:, 0] + 2.0 * jnp.sum(squares[:, 1:], axis=1)
    return jnp.sqrt(squared) if window.is_sharp else soft_modulus(squared)


def _mean_of(theta: Theta, state: State, degree: int, window: Window, averaged: bool) -> Array:
    return jnp.mean(steinhardt_of(theta, state, degree, window, averaged))


def _check_degree(degree: int, error: type[InputError]) -> None:
    if not (isinstance(degree, int | np.integer) and degree >= 1):
        told = degree if isinstance(degree, (int, float)) else described(degree)
        raise error(f"steinhardt_{told}: l must be a whole number of at least 1.")


def steinhardt_feature(
    degree: int,
    window: Window = FIRST_SHELL,
    *,
    averaged: bool = False,
    name: str | None = None,
) -> Feature:
    """The feature Q_l, the mean over particles of q_l(i), with any window.

    Parameters
    ----------
    degree:
        l, at least 1.
    window:
        Who is a neighbour, and with which weight. In a sharp window the feature jumps and has no
        gradient.
    averaged:
        Whether each particle's q_lm are averaged with its neighbours' first.
    name:
        Its name; by default ``steinhardt_l``, ``steinhardt_l_averaged``, with ``_sharp`` for pairs
        nearer than 1.275 σ_ij, and with the window in brackets for others.

    Returns
    -------
    A `Feature` to give to `measure`, `value_and_grad` or `register`; raises `FeatureError` for an l
    that is no whole number of at least 1.
    """
    _check_degree(degree, FeatureError)
    check_kind("window", window, Window, WINDOW)
    if name is None:
        name = f"steinhardt_{degree}" + ("_averaged" if averaged else "")
        known = {FIRST_SHELL: name, FIRST_SHELL_SHARP: f"{name}_sharp"}
        name = known.get(window, f"{name} ({window})")
    return Feature(
        name,
        partial(_mean_of, degree=int(degree), window=window, averaged=averaged),
        reach=window.reach,
        dimensions=(3,),
        needs_box=False,
        needs_pairs=True,
        differentiable=window.differentiable,
        describe=f"Steinhardt's Q, l = {degree}"
        + (", neighbour-averaged" if averaged else "")
        + (", sharp" if window.is_sharp else ""),
        bounds={3: (0.0, 1.0)},
        symbol=f"q_{degree}",
        units="1",
        source="Steinhardt, Nelson and Ronchetti, Phys. Rev. B 28, 784 (1983), eq. 1.4",
        stationary=True,
    )


_steinhardt = jax.jit(steinhardt_of, static_argnums=(2, 3, 4))


def steinhardt_order(
    theta: Theta,
    packing: Packing,
    degree: int,
    window: Window = FIRST_SHELL,
    *,
    averaged: bool = False,
) -> NDArray[np.float64]:
    """Steinhardt's local order of each particle, q_l(i) = sqrt(4π/(2l+1) Σ_m |q_lm(i)|²).

    q_lm(i) = Σ_j w_ij Y_lm(r_ij) / D(Σ_j w_ij), with D(s) = s for s >= 1 and s + (1 - s)³/3 below.
    Averaged, each q_lm(i) is replaced by [q_lm(i) + Σ_j w_ij q_lm(j)] / (1 + Σ_j w_ij). In a smooth
    window the modulus is softened, sqrt(q² + e²) - e with e = 1e-6, so that it has derivatives
    where it vanishes. A particle without neighbours has 0.

    Parameters
    ----------
    theta, packing:
        A packing in three dimensions, at rest or not, and the potential that gives its diameters.
    degree:
        l, at least 1. For odd l, environments with an inversion centre have 0.
    window:
        Who is a neighbour, and with which weight.
    averaged:
        Whether to average over neighbours.

    Returns
    -------
    (N,), without unit, between 0 and 1.

    Raises
    ------
    InputError
        For a packing in two dimensions, l < 1, or particles that coincide.
    BoxTooSmallError
        If the box is narrower than twice the window's reach or the potential's cutoff.
    UnknownTypeError, PrecisionError
        As `measure` does.

    Source: Steinhardt, Nelson and Ronchetti, Phys. Rev. B 28, 784 (1983), eqs. 1.1 to 1.3, for one
    particle's bonds; averaged: Lechner and Dellago, J. Chem. Phys. 129, 114707 (2008), eqs. 5 and
    6; both with w = 1.
    """
    check(theta=theta, packing=packing)
    check_kind("window", window, Window, WINDOW)
    _check_degree(degree, InputError)
    if packing.dimension != 3:
        raise InputError("q_l is defined in three dimensions: in two, use `bond_order`.")
    state = state_of(theta, packing, reach=window.reach(theta))
    found = np.asarray(_steinhardt(theta, state, int(degree), window, bool(averaged)))
    if not np.isfinite(found).all():
        raise InputError("a bond has no direction: two particles coincide. Move one of them.")
    return found
