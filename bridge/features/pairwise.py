"""Sums and means over pairs, for features of users' own: without the places past the last pair.

Lists of pairs are longer than there are pairs, and reach farther than the potential where a
minimum is found inside of JAX or a feature looks beyond the cutoff. Here a pair counts by its
distance alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array

from amorph.handover.arguments import check_kind, positive

from ..matter.arguments import check
from ..matter.mechanics import Resolved, State, pair_terms

__all__ = ["PairView", "pair_distances", "pair_mean", "pair_sum"]


@dataclass(frozen=True, eq=False)
class PairView:
    """Pairs of particles as a function of them sees them; those that do not count are harmless.

    Attributes
    ----------
    i, j:
        The particles of each, (M,).
    vector, unit:
        From i to j, and of length 1, (M, d).
    distance:
        (M,).
    parameters:
        The potential's for each pair, (M,) each: ``sigma`` and the others.
    counts:
        (M,) bool: which of them count.
    """

    i: Any
    j: Any
    vector: Array
    unit: Array
    distance: Array
    parameters: Mapping[str, Array]
    counts: Array

    @property
    def sigma(self) -> Array:
        """σ of each pair, (M,)."""
        return self.parameters["sigma"]


def pairs_within(theta: Any, state: State, within: Any = None) -> PairView:
    """The pairs of a state that are nearer than a distance, by default than their cutoffs."""
    if not isinstance(theta, Resolved):
        check(theta=theta)
    check_kind("state", state, State, "a State, as a feature's function gets, or bridge.minimum")
    if isinstance(within, (int, float, str)):
        positive("within", within)  # type: ignore[arg-type]
    terms = pair_terms(theta, state)
    end = theta.near.kind.pair_cutoff(terms.parameters) if within is None else within
    real = jnp.arange(len(terms.distance)) < state.pairs.count
    counts = real & (terms.distance < end)
    # The others lie at σ, where what is computed of them is finite, and so are its derivatives.
    away = jnp.zeros_like(terms.vector).at[:, 0].set(terms.parameters["sigma"])
    vector = jnp.where(counts[:, None], terms.vector, away)
    distance = jnp.sqrt(jnp.sum(vector**2, axis=1))
    return PairView(
        state.pairs.i, state.pairs.j, vector, vector / distance[:, None], distance,
        terms.parameters, counts,
    )  # fmt: skip


def pair_distances(theta: Any, state: State, within: Any = None) -> tuple[Array, Array]:
    """The distances of pairs, (M,), and which of them count, (M,) bool.

    Parameters
    ----------
    theta, state:
        As a feature's function gets them.
    within:
        Pairs nearer than this count, a length or one for each listed pair; by default those that
        interact, nearer than their cutoffs. Beyond the cutoff a feature must have a ``reach``.

    Raises `FeatureError` for a network of springs alone.
    """
    view = pairs_within(theta, state, within)
    return view.distance, view.counts


def pair_sum(
    theta: Any, state: State, function: Callable[[PairView], Any], within: Any = None
) -> Array:
    """The sum of a function over pairs, each once.

    Parameters
    ----------
    theta, state, within:
        As in `pair_distances`.
    function:
        Of a `PairView`: gives (M, ...), a row for each pair.

    Raises `FeatureError` for a network of springs alone.

    Example
    -------
    >>> @bridge.feature
    ... def overlap(theta, state):
    ...     return bridge.pair_sum(theta, state, lambda pair: (1 - pair.distance / pair.sigma) ** 2)
    """
    check_kind("function", function, Callable, "a function of pairs, lambda pair: pair.distance")
    view = pairs_within(theta, state, within)
    return _summed(jnp.asarray(function(view)), view.counts)


def pair_mean(
    theta: Any, state: State, function: Callable[[PairView], Any], within: Any = None
) -> Array:
    """The mean of a function over pairs, as `pair_sum`; not a number where there is no pair.

    How many pairs there are is a number that jumps: the derivative is that at a fixed number.
    """
    found = pair_sum(theta, state, function, within)
    return found / jnp.sum(pair_distances(theta, state, within)[1])


def _summed(values: Array, counts: Array) -> Array:
    shape = (-1, *[1] * (values.ndim - 1))
    return jnp.sum(jnp.where(counts.reshape(shape), values, 0.0), axis=0)
