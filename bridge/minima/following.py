"""Following one minimum while parameters change, and noticing when it is lost."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from amorph.handover import InputError
from amorph.handover.arguments import described, not_negative
from amorph.handover.boxes import nearest_images
from amorph.handover.showing import shown

from ..errors import NotAMinimumError
from ..matter.arguments import check
from ..matter.breaks import curvature_jumps
from ..matter.mechanics import State, pair_terms, state_of
from ..matter.packing import Packing
from ..matter.pairs import PairList, Pairs
from ..matter.springs import Theta
from ..solve.blas import blas_on_one_thread
from ..solve.lapack import Lapack
from .relaxing import SKIN, Work, relaxation, run_known, run_newton, settle_rattlers
from .responses import (
    Response,
    force_tolerance,
    keep,
    largest,
    respond,
    response,
)
from .rules import NEWTON_MOVE

__all__ = ["Followed", "crossings", "follow", "next_crossing"]

# A minimum counts as lost when it cannot be followed over this part of the parameters' change.
SMALLEST_PART = 2.0**-8
# The displacement may differ by this part from the linear response before the change is divided.
NONLINEARITY = 0.5
# Of the greatest u'': a jump of u'' by less is none that a crossing is told of for.
LEAST_JUMP = 0.01


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

    def __repr__(self) -> str:
        lost = f"rearranged, at {self.lost_at:.3g} of the way"
        return shown(
            f"Followed: {self.packing.n_particles} particles in {self.packing.dimension} "
            "dimensions, at rest at new parameters",
            [
                ("minimum", lost if self.rearranged else "the same"),
                ("crossings", f"{self.crossings} pairs crossed a distance where u'' jumps"),
                ("moved", f"{self.moved:.3g} at most"),
            ],
        )


def _breaks(theta: Theta) -> NDArray[np.float64]:
    """Where u'' jumps, of pairs of types; springs are smooth."""
    return np.zeros((0, 1, 1)) if theta.near is None else theta.near.breaks()


def _classes(theta: Theta, state: State, breaks: NDArray[np.float64]) -> NDArray[np.int64]:
    """Between which of the distances where u'' jumps each listed pair lies, (M,)."""
    pairs = state.pairs
    real = int(pairs.count)
    i, j, shift = pairs.i[:real], pairs.j[:real], pairs.shift[:real]
    x, types = np.asarray(state.positions), state.typeid
    vector = x[j] - x[i] + shift
    distance = np.sqrt(np.einsum("ma,ma->m", vector, vector))
    classes = np.zeros(real, dtype=np.int64)
    kinds = types[i] * breaks.shape[2] + types[j]
    for at in breaks:
        classes += distance >= at.ravel()[kinds]
    return classes


def pairs_around(theta: Theta, packing: Packing, margin: float | None = None) -> PairList:
    """A list of the pairs of a packing nearer than their cutoffs and a margin, kept with it.

    By default the margin lets particles go a twentieth of a diameter. Whatever list it is, it has
    the pairs within reach in the same order, so that what is found with it is the same.
    """
    size = theta.size_range()[1]
    least = 0.5 * SKIN * size if margin is None else margin
    kept: PairList | None = packing.kept.get("pairs")
    if kept is None or not kept.serves(theta.near, packing.positions, least):
        kept = PairList.around(theta.near, packing, max(SKIN * size, least))
        packing.kept["pairs"] = kept
    return kept


def crossings(before: tuple[Theta, Packing], after: tuple[Theta, Packing]) -> int:
    """The number of pairs that crossed a distance where u'' jumps (σ, r_on, r_cut).

    The packings must be the same particles, moved by less than a tenth of a diameter for the count
    to be exact: pairs are listed from the first, with a skin. Raises `InputError` for what is no
    packing with its interactions.
    """
    _check_ends(before, after)
    moved = 0.5 * SKIN * before[0].size_range()[1]
    return int(np.count_nonzero(crossed(before, after, moved=moved)[0]))


def _check_ends(before: tuple[Theta, Packing], after: tuple[Theta, Packing]) -> None:
    """Raise `InputError` unless both are packings of the same particles, with their potentials."""
    for name, pair in (("before", before), ("after", after)):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InputError(f"{name} is {described(pair)}: it must be (theta, packing).")
        check(theta=pair[0], packing=pair[1])
    if before[1].positions.shape != after[1].positions.shape:
        raise InputError(
            f"positions have shapes {before[1].positions.shape} and {after[1].positions.shape}: "
            "they must be those of the same particles."
        )


def crossed(
    before: tuple[Theta, Packing],
    after: tuple[Theta, Packing],
    *,
    moved: float,
    gradient: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Which of the pairs near the first packing crossed a distance where u'' jumps, (M,).

    `gradient` (d, d) is what took the first box's vectors to those of the second, where they
    differ; `moved` the largest displacement beyond it. The pairs (M, 2) are the second result.
    """
    theta, packing = before
    # A pair that is not listed was farther than the margin; both its ends moved, and its cutoff.
    pairs = pairs_around(theta, packing, 2.0 * moved + _growth(theta, after[0])).pairs
    state = state_of(theta, packing, pairs=pairs)
    if gradient is not None:
        pairs = replace(pairs, shift=np.asarray(pairs.shift) @ np.asarray(gradient).T)
    there = replace(state, positions=after[1].positions, pairs=pairs)
    found = _classes(theta, state, _breaks(theta)) != _classes(after[0], there, _breaks(after[0]))
    real = int(pairs.count)
    return found, np.stack([pairs.i, pairs.j], axis=1)[:real]


def _growth(theta: Theta, new_theta: Theta) -> float:
    """By how much the cutoff of a pair grows at most, from one potential to another."""
    if theta.near is None or new_theta.near is None:
        return 0.0
    old, new = theta.near.cutoffs(), new_theta.near.cutoffs()
    grown = new - old if new.shape == old.shape else new.max() - old.min()
    return max(float(np.max(grown)), 0.0)


@jax.jit
def _gaps(theta: Theta, state: State, breaks: Any) -> tuple[jax.Array, jax.Array]:
    """How far each pair is behind each distance where u'' jumps, and by how much, (n_jumps, M)."""
    assert theta.near is not None
    terms = pair_terms(theta, state)
    at = breaks[:, state.typeid[state.pairs.i], state.typeid[state.pairs.j]]
    return terms.distance - at, curvature_jumps(theta.near.kind, terms.parameters, at)


def next_crossing(
    before: tuple[Theta, Packing], after: tuple[Theta, Packing], within: float
) -> float:
    """How far on the way from one packing to another a pair first crosses where u'' jumps.

    Jumps of less than a hundredth of the greatest u'' do not count: those where a cutoff is smooth
    change no modulus to speak of. Distances, and where u'' jumps, are taken to go on as they went:
    1 is at the second packing, and it may lie beyond, up to `within`. Infinite where no pair
    crosses so far.

    Parameters
    ----------
    before, after:
        The same particles in one box, each with its potential, a little apart.
    within:
        In units of the way, at least 0.

    Raises `BoxTooSmallError` where particles moved so far that pairs are no longer listed once, and
    `InputError` for what is no packing with its interactions.
    """
    _check_ends(before, after)
    not_negative("within", within)
    (theta, packing), (new_theta, there) = before, after
    if theta.near is None:  # springs are smooth
        return np.inf
    change = np.asarray(there.positions - packing.positions)
    if packing.box is not None:  # one of them may have been put back into the box
        change = nearest_images(change, packing.box)
    skin = max(SKIN * theta.size_range()[1], 2.0 * within * largest(change))
    state = state_of(theta, packing, skin=skin)
    real = int(state.pairs.count)
    moved = replace(state, positions=state.positions + change)
    breaks, new_breaks = _breaks(theta), _breaks(new_theta)
    if breaks.shape != new_breaks.shape:
        raise InputError(
            f"u'' of {theta.potential} jumps at {len(breaks)} distances before, at "
            f"{len(new_breaks)} after: which is which is not known. Give its class a function "
            "pair_breaks(pair)."
        )
    old, jump = (np.asarray(x)[:, :real] for x in _gaps(theta, state, breaks))
    new = np.asarray(_gaps(new_theta, moved, new_breaks)[0])[:, :real]
    large = np.abs(jump) >= LEAST_JUMP * theta.near.max_stiffness()
    towards = large & (old * (old - new) > 0)
    parts = old[towards] / (old - new)[towards]
    first = float(parts.min(initial=np.inf))
    return first if first <= within else np.inf


def _between(start: Theta, end: Theta, part: float) -> Theta:
    if part == 1.0:
        return end
    if part == 0.0:
        return start
    return jax.tree_util.tree_map(lambda a, b: a + part * (b - a), start, end)


def _without(pairs: Pairs, rattlers: NDArray[np.bool_], theta: Theta) -> Pairs:
    """The pairs without those of rattlers, which become padding."""
    i, j, shift = np.array(pairs.i), np.array(pairs.j), np.array(pairs.shift)
    out = rattlers[i] | rattlers[j]
    i[out], j[out], shift[out] = 0, 0, 0.0
    shift[out, 0] = 10.0 * (theta.longest_cutoff() + 1.0)
    return replace(pairs, i=i, j=j, shift=shift)


def same_minimum(
    theta: Theta,
    packing: Packing,
    tolerance: float,
    predicted: NDArray[np.float64] | None = None,
    *,
    before: Response,
    known: PairList | None = None,
) -> Packing | None:
    """The minimum of a packing under a slight change, or None if Newton does not lead to it.

    The packing is at rest no longer, since its parameters or its box were changed. `predicted` is
    its linear response (N, d), from which Newton starts; without it the first Newton step is taken
    for it. None also if the displacement differs from the linear response by more than half.
    `before` is its response before the change, `known` the pairs around it.
    """
    smallest, largest_size = theta.size_range()
    start = packing
    if predicted is not None:
        if not largest(predicted) <= NEWTON_MOVE * smallest:
            return None
        start = packing.with_positions(packing.positions + predicted)
    work = Work.start(theta, start, known)
    rattlers = before.rattlers if before.rattlers.any() else None
    if rattlers is not None:
        # Rattlers rest at marginal contact. Pushed by the change, they would hide weak contacts of
        # the others, which must carry more than the largest force to count; so they come last.
        work.state = replace(
            work.state, pairs=_without(work.state.pairs, rattlers, theta), rattlers=rattlers
        )
    at_rest, first = run_known(work, tolerance, before.factor)
    found = None
    if at_rest and rattlers is None:
        found = _proven(work, tolerance, before)
        if found is None:
            return None
    if found is None or found.rattlers.any():
        # The steps were not enough; or somebody is held no longer, or may be held from now on.
        at_rest, _, newton = run_newton(work, tolerance)
        if not at_rest:
            return None
        first = newton if first is None else first
        if rattlers is not None:
            work = Work.start(theta, packing.with_positions(work.state.positions), known)
            if not settle_rattlers(work, rattlers):
                # One of them is held from now on.
                at_rest, _, _ = run_newton(work, tolerance)
                if not at_rest:
                    return None
        found = _proven(work, tolerance, before)
        if found is None:
            return None
    final = packing.with_positions(work.state.positions)
    assert first is not None
    held = ~found.rattlers[:, None]
    change = np.where(held, final.positions - packing.positions, 0.0)
    linear = np.where(held, first if predicted is None else predicted, 0.0)
    # Below this size the difference is round-off of the minimisation.
    noise = 1e-9 * largest_size
    if largest(change - linear) > NONLINEARITY * largest(linear) + noise:
        return None
    keep(theta, final, 0.0, found)
    if known is not None:
        final.kept["pairs"] = known
    return final


def _proven(work: Work, tolerance: float, before: Response) -> Response | None:
    """The response where the particles are now, None where that is no minimum."""
    try:
        return respond(work.final(0.0), work.theta, tolerance, like=before.factor)
    except NotAMinimumError:
        return None


def follow(
    theta: Theta,
    packing: Packing,
    new_theta: Theta,
    *,
    tolerance: float | None = None,
    descend: Callable[[Theta, Packing], Packing] | None = None,
) -> Followed:
    """The minimum that a packing's minimum becomes while its parameters change.

    The change is made in as many parts as it takes for each to be one Newton iteration whose
    displacement is what the linear response says, to within half. Where no part is small enough,
    the minimum has turned into a saddle: the packing is then relaxed by FIRE at the new
    parameters, to whichever minimum lies downhill, and `rearranged` says so.

    Source: Zu and Goodrich, Commun. Mater. 5 (2024), "Training individual configurations".

    Parameters
    ----------
    theta, packing:
        The old potential, and a packing at rest at it.
    new_theta:
        The new one, of the same kind and number of types.
    tolerance:
        As in `relax`.
    descend:
        What brings a packing whose minimum was lost downhill, as descend(theta, packing); `relax`
        goes on from there. By default `relax` does it all, by FIRE.

    Raises
    ------
    InputError
        For potentials of different kinds.
    RelaxationError, NotAMinimumError, SingularHessianError, BoxTooSmallError
        If no minimum is found after a rearrangement.
    """
    check(theta=theta, packing=packing, new_theta=new_theta)
    old, new = theta.arrays(), new_theta.arrays()
    if theta.potential != new_theta.potential or any(len(old[k]) != len(new[k]) for k in old):
        raise InputError(
            f"cannot follow from {theta!r} to {new_theta!r}: they must be of one kind, with as "
            "many types and springs."
        )
    limit = force_tolerance(new_theta, packing, tolerance)
    here, done, part = packing, 0.0, 1.0
    rearranged = False
    while done < 1.0:
        target = min(1.0, done + part)
        last = _between(theta, new_theta, done)
        before = response(last, here, tolerance=tolerance)
        with blas_on_one_thread(when=isinstance(before.factor, Lapack)):
            there = same_minimum(
                _between(theta, new_theta, target),
                here,
                limit,
                before=before,
                known=pairs_around(last, here),
            )
        if there is not None:
            here, done = there, target
            part = min(2.0 * part, 1.0)
        elif part > SMALLEST_PART:
            part *= 0.5
        else:
            rearranged = True
            downhill = here if descend is None else descend(new_theta, here)
            here = relaxation(new_theta, downhill, tolerance=limit).packing
            break
    moved = largest(here.positions - packing.positions)
    counted = min(moved, 0.5 * SKIN * theta.size_range()[1])  # as `crossings` counts
    crossing, _ = crossed((theta, packing), (new_theta, here), moved=counted)
    return Followed(
        packing=here,
        rearranged=rearranged,
        lost_at=done,
        crossings=int(np.count_nonzero(crossing)),
        moved=moved,
    )
