"""Barriers of packings of any size: their derivatives, and transitions that follow parameters.

The energy is stationary at both ends of a barrier, so that its derivative is the difference of
partial ones, at fixed positions: dΔE/dθ = ∂U/∂θ at the saddle less ∂U/∂θ at the minimum. Nothing
need be solved for.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from amorph.handover.arguments import check_kind

from ..errors import NotAMinimumError, NotASaddleError
from ..features.kinds import Feature
from ..matter.arguments import check
from ..matter.mechanics import State, driving_forces_of, energy_of, state_of
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..minima.relaxing import relaxation
from ..minima.responses import force_tolerance, largest
from ..precision import require_float64
from .climbing import refined
from .transitions import Transition

__all__ = ["barrier_feature", "barriers_and_gradients", "follow_transition"]

# A stationary point that goes farther than this, in smallest diameters, is lost.
FARTHEST = 0.5
# Forces at a saddle up to so many times the tolerance are round-off of another place in memory.
ROUNDING = 10.0
# Of a distance.
ROUND_OFF = 1e-9


@jax.jit
def _energy_and_slopes(theta: Any, state: State) -> tuple[Any, Any, Any]:
    """U, ∂U/∂θ at fixed positions, and the largest force."""
    energy, slopes = jax.value_and_grad(energy_of)(theta, state)
    return energy, slopes, jnp.sqrt(jnp.max(jnp.sum(driving_forces_of(theta, state) ** 2, axis=1)))


def barriers_and_gradients(
    theta: Theta, transition: Transition
) -> tuple[NDArray[np.float64], tuple[Theta, Theta]]:
    """Barriers from start and from end (2,), and their derivatives by theta, of any size.

    Parameters
    ----------
    theta:
        What the transition was found with.
    transition:
        As `transitions_over` gives it.

    Returns energies (2,), and two objects like theta with the derivatives: exact, also where pairs
    cross a distance at which u'' jumps, until a point is lost.

    Raises `InputError` for what is no transition, `NotAMinimumError` where it is none of theta's.

    Example
    -------
    >>> (there, back), (slope, _) = landscapes.barriers_and_gradients(theta, way)
    >>> slope.diameters
    """
    check(theta=theta)
    require_float64()
    check_kind("transition", transition, Transition, "a Transition, as transitions_over gives it")
    points = (transition.start, transition.saddle.packing, transition.end)
    found = [_energy_and_slopes(theta, state_of(theta, p)) for p in points]
    limit = ROUNDING * force_tolerance(theta, transition.start, None)
    force = max(float(f[2]) for f in found)
    # What was found with a tolerance of its own may be less at rest.
    if not force <= max(limit, ROUNDING * transition.saddle.force):
        raise NotAMinimumError(
            f"the transition is not at rest: a force of {force:.1e} is left. It is of other "
            "interactions: call landscapes.follow_transition(theta, transition) first."
        )
    (start, s_start, _), (top, s_top, _), (end, s_end, _) = found

    def less(a: Any, b: Any) -> Any:
        return jax.tree_util.tree_map(lambda p, q: np.asarray(p) - np.asarray(q), a, b)

    values = np.array([float(top) - float(start), float(top) - float(end)])
    return values, (less(s_top, s_start), less(s_top, s_end))


def follow_transition(
    theta: Theta, transition: Transition, *, tolerance: float | None = None
) -> Transition:
    """The same transition at other interactions: each of its three points followed.

    Parameters
    ----------
    theta:
        The new interactions; near to those it was found with.
    transition:
        Of the same particles.
    tolerance:
        As in `saddles_around`.

    Returns a `Transition` whose path has the three points alone: steepest descent is not walked.

    Raises `NotASaddleError`, `NotAMinimumError` where a point is lost: it is no stationary point of
    its kind any more, or lies half a diameter away.

    Example
    -------
    >>> way = landscapes.follow_transition(theta.replace(binding=1.01 * theta.binding), way)
    """
    check(theta=theta)
    require_float64()
    check_kind("transition", transition, Transition, "a Transition, as transitions_over gives it")
    limit = force_tolerance(theta, transition.start, tolerance)
    most = FARTHEST * theta.size_range()[0]
    saddle = refined(theta, transition.saddle, limit)
    moved = largest(
        np.asarray(saddle.packing.positions) - np.asarray(transition.saddle.packing.positions)
    )
    if moved > most:
        raise NotASaddleError(f"the saddle was lost: the one found lies {moved:.3g} away.")
    ends = [_minimum(theta, p, limit, most) for p in (transition.start, transition.end)]
    energies = np.array([ends[0][1], saddle.energy, ends[1][1]])
    points = (ends[0][0], saddle.packing, ends[1][0])
    return Transition(
        ends[0][0],
        saddle,
        ends[1][0],
        energies,
        np.stack([np.asarray(p.positions) for p in points]),
        energies,
        transition.evaluations,
    )


def _minimum(theta: Theta, packing: Packing, limit: float, most: float) -> tuple[Packing, float]:
    """The minimum that a packing follows to, and its energy."""
    found = relaxation(theta, packing, tolerance=limit)
    held = ~found.response.rattlers
    moved = found.packing.positions - np.asarray(packing.positions)
    if held.any() and largest(moved[held]) > most:
        raise NotAMinimumError(
            f"the minimum was lost: the one found lies {largest(moved[held]):.3g} away."
        )
    return found.packing, found.response.energy


def _reach(theta: Theta, transition: Transition, away: NDArray[np.float64]) -> float:
    """How far apart at the minimum pairs are that are in reach of each other at the saddle."""
    state = state_of(theta, transition.saddle.packing)
    count = int(state.pairs.count)
    if not count:
        return 0.0
    i, j = np.asarray(state.pairs.i)[:count], np.asarray(state.pairs.j)[:count]
    x = np.asarray(state.positions) - away
    vector = x[j] - x[i] + np.asarray(state.pairs.shift)[:count]
    return float(np.sqrt(np.max(np.sum(vector**2, axis=1)))) * (1.0 + ROUND_OFF)


def barrier_feature(theta: Theta, transition: Transition, name: str = "barrier") -> Feature:
    """The barrier from a transition's start as a feature of that packing, like any other.

    It is measured, differentiated through the minimum and combined with others as all features are.
    It knows its saddle as a displacement from the minimum, so that it is of the interactions that
    the transition is of: at others, where the saddle is no longer at rest, it is NaN, which
    `measure` refuses by name. Follow the transition, and make it anew.

    Parameters
    ----------
    theta, transition:
        As in `barriers_and_gradients`.
    name:
        Of the feature.

    Raises as `barriers_and_gradients` does.

    Example
    -------
    >>> barrier = landscapes.barrier_feature(theta, way)
    >>> bridge.measure(theta, way.start, ["pressure"], gradients=[barrier])
    """
    barriers_and_gradients(theta, transition)
    away = np.asarray(transition.saddle.packing.positions) - np.asarray(transition.start.positions)
    limit = ROUNDING * max(force_tolerance(theta, transition.start, None), transition.saddle.force)
    reach = _reach(theta, transition, away)

    def of(own: Any, state: State) -> Array:
        there = replace(state, positions=state.positions + away, nonaffine=None)
        force = jnp.sqrt(jnp.max(jnp.sum(driving_forces_of(own, there) ** 2, axis=1)))
        rests = jax.lax.stop_gradient(force) <= limit
        return jnp.where(rests, energy_of(own, there) - energy_of(own, state), jnp.nan)

    return Feature(
        name,
        of,
        reach=lambda theta: reach,
        needs_box=False,
        stationary=True,
        describe="energy barrier to a saddle",
        symbol="ΔE",
        units="energy",
        source="amorph.bridge.landscapes",
    )
