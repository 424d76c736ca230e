"""The pair distribution function g(r), as a histogram and as a smooth function of positions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from amorph.handover import BoxTooSmallError, InputError, widths
from amorph.handover.arguments import (
    count,
    not_negative,
    positive,
    real_numbers,
    whole_numbers,
)
from amorph.handover.showing import shown, spread_shown

from ..errors import FeatureError
from ..matter.arguments import check
from ..matter.builtin_potentials import SoftSphere
from ..matter.mechanics import State, pair_terms, state_of, volume_of
from ..matter.neighbours import fall
from ..matter.packing import Packing
from ..matter.springs import Theta
from .registry import Feature

__all__ = ["PairDistribution", "pair_distribution", "pair_distribution_feature"]


@dataclass(frozen=True, eq=False)
class PairDistribution:
    """g(r) of a packing.

    Attributes
    ----------
    edges:
        The bins' edges (n_bins + 1,), length.
    g:
        g of each bin (n_bins,), without unit.
    width:
        The distance over which pairs pass from a bin to the next; 0 for a histogram.
    """

    edges: NDArray[np.float64]
    g: NDArray[np.float64]
    width: float

    def __repr__(self) -> str:
        highest = int(np.argmax(self.g))
        return shown(
            f"PairDistribution g(r) in {len(self.g)} bins",
            [
                ("r", spread_shown(self.edges)),
                ("g", spread_shown(self.g)),
                ("highest", f"{self.g[highest]:.6g} at r = {self.r[highest]:.6g}"),
                ("spread over", f"{self.width:.6g}" if self.width else ""),
            ],
        )

    @property
    def r(self) -> NDArray[np.float64]:
        """The bins' middles (n_bins,), length."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])


def _binned(r: Array, amount: Array, edges: Array, width: Any) -> Array:
    """The amount in each bin, (n_bins,), where each pair passes an edge over `width` (or None)."""
    # At most one edge lies within half a width of a pair, so that it is in two bins at most.
    nearest = jnp.searchsorted(0.5 * (edges[1:] + edges[:-1]), r, side="right")
    edge = edges[nearest]
    if width is None:
        beyond = jnp.where(r >= edge, 1.0, 0.0)
    else:
        beyond = jnp.where(edge > 0, 1.0 - fall((r - edge) / width + 0.5), 1.0)
    slots = jnp.zeros(len(edges) + 1)
    slots = slots.at[nearest + 1].add(amount * beyond).at[nearest].add(amount * (1.0 - beyond))
    return slots[1:-1]


def _shells(edges: Array, width: Any, dimension: int) -> Array:
    """The volume of each bin, (n_bins,), smoothed as the pairs are."""
    # The switch's slope has the variance width²/28 about the edge, and no third moment.
    variance = 0.0 if width is None else jnp.where(edges > 0, width**2 / 28.0, 0.0)
    if dimension == 2:
        inside = np.pi * (edges**2 + variance)
    else:
        inside = 4.0 / 3.0 * np.pi * (edges**3 + 3.0 * edges * variance)
    return jnp.diff(inside)


def pair_distribution_of(
    theta: Theta,
    state: State,
    edges: Any,
    width: Any,
    types: tuple[int, int] | None,
) -> Array:
    """g of each bin, (n_bins,); `width` None for a histogram. See `pair_distribution`."""
    edges = jnp.asarray(edges)
    n = len(state.typeid)
    if types is None:
        amount, possible = jnp.full(len(state.pairs.i), 2.0), jnp.asarray(float(n * n))
    else:
        first, second = (jnp.asarray(state.typeid) == t for t in types)
        i, j = state.pairs.i, state.pairs.j
        amount = 1.0 * (first[i] & second[j]) + 1.0 * (second[i] & first[j])
        possible = 1.0 * jnp.sum(first) * jnp.sum(second)
    counted = _binned(pair_terms(theta, state).distance, amount, edges, width)
    density = jnp.maximum(possible, 1.0) / volume_of(state)  # without particles there are no pairs
    return counted / (density * _shells(edges, width, state.positions.shape[1]))


_pair_distribution = jax.jit(pair_distribution_of, static_argnums=4)


def _check_width(width: float) -> None:
    not_negative("width", width)


def _check(
    edges: ArrayLike, width: float, types: Sequence[int] | None
) -> tuple[NDArray[np.float64], float | None, tuple[int, int] | None]:
    """Edges, the width or None, and types, checked; raises `InputError`."""
    e = real_numbers("edges", edges, "ascending lengths")
    if e.ndim != 1 or len(e) < 2 or not np.isfinite(e).all() or e[0] < 0 or (np.diff(e) <= 0).any():
        raise InputError(
            "edges must be at least two finite lengths, ascending, the first of them at least 0."
        )
    _check_width(width)
    if width > np.diff(e).min() * (1 + 1e-12):
        raise InputError(
            f"width = {width:g} is more than the narrowest bin, {np.diff(e).min():g}: a pair would "
            "pass two edges at once. Use wider bins or a smaller width."
        )
    if 0 < e[0] < 0.5 * width:
        raise InputError(
            f"the first edge, {e[0]:g}, is nearer to 0 than half the width {width:g}: begin at 0 "
            "or farther out."
        )
    pair = None
    if types is not None:
        numbers = whole_numbers("types", types, "two type numbers of at least 0")
        if numbers.shape != (2,) or numbers.min() < 0:
            raise InputError(f"types = {types!r}: they must be two type numbers of at least 0.")
        pair = int(numbers[0]), int(numbers[1])
    return e, float(width) if width > 0 else None, pair


def pair_distribution(
    packing: Packing,
    edges: ArrayLike | None = None,
    *,
    r_max: float | None = None,
    bins: int = 100,
    width: float = 0.0,
    types: Sequence[int] | None = None,
) -> PairDistribution:
    """The pair distribution function g(r) of a packing, or g_ab(r) of two types.

    g is the number of ordered pairs in a bin over that of an ideal gas of the same density,
    N_a N_b v/V with v the volume of the bin's shell. As N² rather than N (N - 1) stands there, g
    of a fluid tends to 1 - 1/N far out. With `width` = 0 it is a histogram of bins that hold their
    lower edges. Otherwise a pair passes from one bin to the next by the C² quintic while its
    distance goes from half a width before the edge to half a width behind it, and v is smoothed
    alike: g is a C² function of positions, an ideal gas has g = 1 in every bin, and the histogram
    is its limit for a small width. (An edge at 0 stays sharp: nothing passes it.)

    Parameters
    ----------
    packing:
        A packing in a box, at rest or not. No potential is needed.
    edges:
        The bins' edges, ascending, length; or
    r_max, bins:
        equal bins from 0 to r_max, by default as far as the box allows.
    width:
        How far the passage from bin to bin is spread, length, at most the narrowest bin.
    types:
        Two type numbers (a, b), to count pairs of a particle of type a and one of type b.

    Raises
    ------
    BoxTooSmallError
        If the last edge, plus half the width, is beyond half the box's smallest width, where
        shells leave the box.
    InputError
        For a packing without a box, a type without particles, or edges or widths that do not fit.

    Source: Hansen and McDonald, Theory of Simple Liquids, sec. 2.5 and 2.6.
    """
    check(packing=packing)
    if packing.box is None:
        raise InputError("g(r) needs a density, but the packing is a cluster in open space.")
    _check_width(width)
    half = 0.5 * float(widths(packing.box).min())
    if edges is None:
        end = positive("r_max", half - 0.5 * width if r_max is None else r_max)
        edges = np.linspace(0.0, end, count("bins", bins) + 1)
    elif r_max is not None:
        raise InputError("edges and r_max say the same thing: give one of them.")
    e, spread, pair = _check(edges, width, types)
    reach = float(e[-1]) + 0.5 * (spread or 0.0)
    if reach > half:
        raise BoxTooSmallError(
            f"g(r) is asked for up to {reach:g}, but half the box's smallest width is {half:g}, "
            "and shells beyond leave the box: choose a smaller r_max or a larger packing."
        )
    present = np.bincount(packing.typeid)
    for t in pair or ():
        if t >= len(present) or present[t] == 0:
            raise InputError(f"types = {pair}: there is no particle of type {t}.")
    # Only its cutoff is used: all pairs within reach are listed.
    listing = SoftSphere(diameters=np.full(len(present), reach), stiffness=1.0)
    g = np.asarray(_pair_distribution(listing, state_of(listing, packing), e, spread, pair))
    return PairDistribution(e, g, spread or 0.0)


def pair_distribution_feature(
    edges: ArrayLike,
    width: float,
    *,
    types: Sequence[int] | None = None,
    name: str | None = None,
) -> Feature:
    """The feature g(r) on given bins, (n_bins,), as `pair_distribution` defines it.

    Parameters
    ----------
    edges:
        The bins' edges (n_bins + 1,), ascending, length. A packing whose box is narrower than
        twice the last edge plus the width is refused with `BoxTooSmallError` when it is measured.
    width:
        How far the passage from bin to bin is spread, length, at most the narrowest bin; with 0
        the feature is a histogram and has no gradient.
    types:
        Two type numbers, for g_ab(r); with a type the potential lacks, measuring raises
        `FeatureError`. In a packing that has no such particles g_ab is 0: there are no such pairs.
    name:
        Its name; by default ``pair_distribution``, or ``pair_distribution_A_B``.

    Returns
    -------
    A `Feature` to give to `measure`, `value_and_grad` or `register`; raises `InputError` as
    `pair_distribution` does.
    """
    e, spread, pair = _check(edges, width, types)
    reach = float(e[-1]) + 0.5 * (spread or 0.0)

    def checked_reach(theta: Theta) -> float:
        known = 0 if theta.near is None else theta.near.n_types
        if pair is not None and max(pair) >= known:
            raise FeatureError(f"g(r) is asked for types {pair}, but the potential has {known}.")
        return reach

    if name is None:
        name = "_".join(["pair_distribution", *map(str, pair or ())])
    return Feature(
        name,
        partial(pair_distribution_of, edges=e, width=spread, types=pair),
        reach=checked_reach,
        differentiable=spread is not None,
        scalar=False,
        describe="pair distribution function g(r)",
        symbol="g(r)",
        units="1",
        stationary=True,
    )
