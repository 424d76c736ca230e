"""Following one minimum while parameters change, and noticing when it is lost."""

from dataclasses import dataclass, replace

import jax
import numpy as np
from numpy.typing import NDArray

from amorph.handover import InputError

from .errors import NotAMinimumError
from .linear_response import force_tolerance, largest, remember, respond
from .mechanics import State, pair_terms, state_of
from .minimizer import SKIN, Work, relaxation, run_newton
from .packing import Packing
from .springs import Theta

__all__ = ["Followed", "crossings", "follow"]

# A minimum counts as lost when it cannot be followed over this part of the parameters' change.
SMALLEST_PART = 2.0**-8
# The displacement may differ by this part from the linear response before the change is divided.
NONLINEARITY = 0.5


@dataclass(frozen=True, eq=False)
class Followed:
    """A packing at new parameters.

    Attributes
    ----------
    packing:
        At rest, its response kept with it.
    rearranged:
        Whether the minimum was lost on the way, so that the packing jumped to another.
    lost_at:
        Where on the way from the old parameters (0) to the new ones (1); 1 if it was not lost.
    crossings:
        How many pairs crossed a distance where u'' jumps, between the old packing and the new.
    moved:
        The largest displacement of a particle.
    """

    packing: Packing
    rearranged: bool
    lost_at: float
    crossings: int
    moved: float


@jax.jit
def _classes(theta: Theta, state: State) -> jax.Array:
    terms = pair_terms(theta, state)
    return sum(terms.distance >= at for at in theta.pair_breaks(terms.parameters))


def crossings(before: tuple[Packing, Theta], after: tuple[Packing, Theta]) -> int:
    """How many pairs crossed a distance where u'' jumps (σ, r_on, r_cut).

    The packings must be the same particles, moved by less than a tenth of a diameter for the count
    to be exact: pairs are listed from the first, with a skin.
    """
    packing, theta = before
    skin = SKIN * theta.size_range()[1]
    state = state_of(packing, theta, skin=skin)
    moved = replace(state, positions=after[0].positions)
    real = int(state.pairs.count)
    old = np.asarray(_classes(theta, state))[:real]
    new = np.asarray(_classes(after[1], moved))[:real]
    return int(np.sum(old != new))


def _between(start: Theta, end: Theta, part: float) -> Theta:
    if part == 1.0:
        return end
    return jax.tree_util.tree_map(lambda a, b: a + part * (b - a), start, end)


def _step(packing: Packing, theta: Theta, tolerance: float) -> Packing | None:
    """The same minimum at slightly changed parameters, or None if Newton does not lead to it."""
    work = Work.start(packing, theta)
    at_rest, _, first = run_newton(work, tolerance)
    if not at_rest:
        return None
    final = packing.with_positions(work.state.positions)
    try:
        found = respond(state_of(final, theta), theta, tolerance)
    except NotAMinimumError:
        return None
    held = ~found.rattlers[:, None]
    change = np.where(held, final.positions - packing.positions, 0.0)
    linear = np.where(held, first, 0.0)
    # Below this size the difference is round-off of the minimisation.
    noise = 1e-9 * theta.size_range()[1]
    if largest(change - linear) > NONLINEARITY * largest(linear) + noise:
        return None
    remember(final, theta, 0.0, found)
    return final


def follow(
    packing: Packing,
    theta: Theta,
    new_theta: Theta,
    *,
    tolerance: float | None = None,
) -> Followed:
    """The minimum that a packing's minimum becomes while its parameters change.

    The change is made in as many parts as it takes for each to be one Newton iteration whose
    displacement is what the linear response says, to within half. Where no part is small enough,
    the minimum has turned into a saddle: the packing is then relaxed by FIRE at the new
    parameters, to whichever minimum lies downhill, and `rearranged` says so. This is P0's
    tracking of a configuration ("occasionally, the energy minimum transforms into a saddle point
    and the system undergoes a rearrangement").

    Parameters
    ----------
    packing:
        At rest at `theta`.
    theta, new_theta:
        Potentials of one kind and number of types.
    tolerance:
        As in `relax`.

    Raises
    ------
    InputError
        For potentials of different kinds.
    RelaxationError, NotAMinimumError, SingularHessianError, BoxTooSmallError
        If no minimum is found after a rearrangement.
    """
    old, new = theta.arrays(), new_theta.arrays()
    if theta.potential != new_theta.potential or any(len(old[k]) != len(new[k]) for k in old):
        raise InputError(
            f"cannot follow from {theta!r} to {new_theta!r}: they must be of one kind, with as "
            "many types and springs."
        )
    limit = force_tolerance(packing, new_theta, tolerance)
    here, done, part = packing, 0.0, 1.0
    rearranged = False
    while done < 1.0:
        target = min(1.0, done + part)
        there = _step(here, _between(theta, new_theta, target), limit)
        if there is not None:
            here, done = there, target
            part = min(2.0 * part, 1.0)
        elif part > SMALLEST_PART:
            part *= 0.5
        else:
            rearranged = True
            here = relaxation(here, new_theta, tolerance=limit).packing
            break
    displacement: NDArray[np.float64] = here.positions - packing.positions
    return Followed(
        packing=here,
        rearranged=rearranged,
        lost_at=done,
        crossings=crossings((packing, theta), (here, new_theta)),
        moved=largest(displacement),
    )
