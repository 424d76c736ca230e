"""Transitions between given minima: bands, saddles and descents, until each part is proven."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import AmorphError, InputError
from amorph.handover.arguments import check_choice, check_kind, count, real_numbers
from amorph.handover.boxes import nearest_images

from ..errors import (
    FurtherMinimaError,
    NoBarrierError,
    NotAMinimumError,
    PathError,
)
from ..matter.arguments import check
from ..matter.packing import Packing
from ..matter.springs import Theta
from .bands import OPTIMISERS, relax_bands
from .batches import Batch
from .chains import Known
from .paths import aligned, between
from .saddles import saddle_of
from .searches import check_same_particles, each_theta, searched, tolerances
from .stationary import ENDED, NOT_FINITE, OUT_OF_STEPS, follow_modes, prove
from .transitions import Transition, Transitions, descents

__all__ = ["find_transition", "find_transitions"]

# Ends that are at rest move no farther than this when their forces are brought to round-off.
AT_REST = 0.05
MOST_REFINING = 200
# Bands one after another for each saddle that a chain may have.
ROUNDS = 4
# A band ends once the force on its climbing image is this beside the stiffness times the size.
CLIMBED = 1e-3
# Particles nearer than this, in smallest diameters, on the first path: they would pass through one
# another.
COINCIDE = 0.2


def find_transition(theta: Theta, start: Packing, end: Packing, **settings: Any) -> Transition:
    """The transition between two minima that one saddle joins.

    Parameters
    ----------
    theta:
        The particles' interactions.
    start, end:
        Two minima of the same particles, as `relax` gives them.
    settings:
        As in `find_transitions`.

    Raises
    ------
    FurtherMinimaError
        Where the path leads through other minima; its ``chain`` has the transitions.
    NoBarrierError, PathError, NotAMinimumError, NotASaddleError, InputError
        As `find_transitions` says.

    Example
    -------
    >>> transition = landscapes.find_transition(theta, start, end)
    >>> transition.barrier
    """
    chain = find_transitions(theta, [(start, end)], **settings)[0]
    if len(chain) > 1:
        raise FurtherMinimaError(
            f"the path leads through {len(chain) - 1} other minima: the error's chain has the "
            f"{len(chain)} transitions, as has find_transitions.",
            chain,
        )
    return chain[0]


def find_transitions(
    theta: Theta | Sequence[Theta],
    ends: Sequence[tuple[Packing, Packing]],
    *,
    n_images: int = 10,
    paths: Sequence[ArrayLike | None] | None = None,
    optimiser: str = "lbfgs",
    max_steps: int = 300,
    most_saddles: int = 12,
    tolerance: float | None = None,
) -> Transitions:
    """Transitions between pairs of minima, many at once, each proven.

    Doubly nudged elastic bands with a climbing image find the highest point of a path; following
    the lowest mode makes it a saddle, with forces at round-off and exactly one negative mode;
    paths of steepest descent prove which minima it joins. Where these are others than the two
    wanted, gaps between those that are known are tried in the same way, on the shortest way first,
    and the result is a chain.

    Parameters
    ----------
    theta:
        The particles' interactions, or those of each pair.
    ends:
        Pairs of minima (start, end), all of the same particles. Particles are told apart, and so
        are mirror images; the end may lie anywhere and be turned.
    n_images:
        Of a band, its ends apart.
    paths:
        Where bands begin, (n_images, N, d) each, or None: by default straight from start to end,
        after the end is laid on the start, or around particles that would meet.
    optimiser:
        ``lbfgs`` or ``fire``.
    max_steps:
        Steps of a band at most.
    most_saddles:
        Of a chain.
    tolerance:
        The largest |F| at rest, energy / length; by default `default_tolerance`.

    Returns
    -------
    Transitions
        For each pair a tuple of one or more transitions in their order, from start to end. A pair
        that failed has its error there: `NoBarrierError` where both ends are one minimum, or no
        image is higher than both;
        `PathError` where particles would pass through one another, bands do not come to rest near
        saddles that lead on, or the chain is longer than allowed; `NotASaddleError` where no saddle
        is near the highest image; `NotAMinimumError` where an end is none.

    Raises
    ------
    InputError
        For arguments that are something else, ends of different particles, more than 48 particles,
        and springs.

    Example
    -------
    >>> found = landscapes.find_transitions(theta, [(a, b), (a, c)])
    >>> [transition.barrier for (transition,) in found.found.values()]

    Sources: `amorph.bridge.landscapes.bands`, `stationary` and `chains` name them.
    """
    pairs = _pairs(ends)
    count("n_images", n_images, least=3)
    count("max_steps", max_steps)
    count("most_saddles", most_saddles)
    check_choice("optimiser", optimiser, OPTIMISERS)
    if not pairs:
        return Transitions([])
    thetas = each_theta(theta, len(pairs))
    first = pairs[0][0]
    batch = searched(theta, first)
    limit = tolerances(thetas, first, tolerance)
    given = _given_paths(paths, pairs, n_images)
    search = _Search(batch, thetas, first, limit, n_images, optimiser, max_steps, most_saddles)
    return Transitions(search.run(pairs, given))


@dataclass(frozen=True, eq=False)
class _Gap:
    """Two minima (N, d) of a pair between which a transition is looked for."""

    pair: int
    left: NDArray[np.float64]
    right: NDArray[np.float64]
    path: NDArray[np.float64] | None = None


@dataclass(eq=False)
class _Search:
    """What `find_transitions` does with pairs that were checked."""

    batch: Batch
    thetas: Sequence[Theta]
    packing: Packing
    limit: NDArray[np.float64]
    n_images: int
    optimiser: str
    max_steps: int
    most_saddles: int

    def run(
        self, pairs: Sequence[tuple[Packing, Packing]], given: Sequence[Any]
    ) -> list[tuple[Transition, ...] | AmorphError]:
        out: list[Any] = [None] * len(pairs)
        known = self._ends(pairs, out)
        first = True
        for _ in range(ROUNDS * self.most_saddles):
            gaps: list[_Gap] = []
            numbers: list[tuple[int, int]] = []
            for k, own in enumerate(known):
                if out[k] is not None:
                    continue
                try:
                    todo = own.next_gap()
                except AmorphError as error:
                    out[k] = _named(k, error)
                    continue
                if todo is None:
                    out[k] = own.chain(pairs[k][0])
                    continue
                left, right = (own.minima[i] for i in todo)
                gaps.append(_Gap(k, left, right, given[k] if first else None))
                numbers.append(todo)
            if not gaps:
                break
            first = False
            for gap, number, (ways, reason) in zip(gaps, numbers, self._bridged(gaps), strict=True):
                for way in ways:
                    known[gap.pair].add(way)
                known[gap.pair].tried(number, reason)
        for k in range(len(pairs)):
            if out[k] is None:
                out[k] = PathError(
                    f"pair {k}: no way was found by {ROUNDS * self.most_saddles} bands one after "
                    "another. Give more with most_saddles, or another first path, with paths."
                )
        return out

    def _ends(self, pairs: Sequence[tuple[Packing, Packing]], out: list[Any]) -> list[Known]:
        """What is known of each pair: its ends, at rest; errors where these are no minima."""
        size = np.broadcast_to(self.batch.surface.size, len(pairs))
        starts = np.stack([np.asarray(p.positions) for pair in pairs for p in pair])
        twice = np.repeat(np.arange(len(pairs)), 2)
        rested = follow_modes(
            Batch(self.batch.of(twice), self.batch.own), starts, 0, self.limit[twice], 50
        )
        known = []
        for k in range(len(pairs)):
            ends = rested["x"][2 * k : 2 * k + 2]
            own = Known(self.packing, ends, float(size[k]), self.most_saddles)
            known.append(own)
            for s, which in ((2 * k, "start"), (2 * k + 1, "end")):
                moved = np.sqrt(np.max(np.sum((rested["x"][s] - starts[s]) ** 2, axis=1)))
                if rested["status"][s] != ENDED or not moved <= AT_REST * size[k]:
                    out[k] = NotAMinimumError(
                        f"pair {k}: its {which} is no minimum of the energy. Call "
                        "bridge.relax(theta, packing) first."
                    )
            if out[k] is None and len(own.minima) == 1:
                out[k] = NoBarrierError(f"pair {k}: its start and its end are the same minimum.")
        return known

    def _bridged(self, gaps: Sequence[_Gap]) -> list[tuple[list[Transition], AmorphError | None]]:
        """The transitions found by a band in each gap, or why there are none."""
        rows = np.array([gap.pair for gap in gaps])
        batch = Batch(self.batch.of(rows), self.batch.own)
        size = np.broadcast_to(batch.surface.size, len(gaps))
        reasons: dict[int, AmorphError] = {}
        found: dict[int, list[Transition]] = {}
        bands = np.zeros((len(gaps), self.n_images + 2, *gaps[0].left.shape))
        for k, gap in enumerate(gaps):
            start = self.packing.with_positions(gap.left)
            if gap.path is None:
                bands[k] = between(start, gap.right, self.n_images, size=float(size[k]))
            else:
                bands[k, 0], bands[k, -1] = gap.left, aligned(start, gap.right)
                bands[k, 1:-1] = gap.path
            near = _nearest(bands[k], self.packing)
            if not near > COINCIDE * size[k]:
                reasons[k] = PathError(
                    f"two particles come to {near:.2g} of each other on the first path: they would "
                    "pass through one another. Give a path around, with paths."
                )
        good = np.array([k for k in range(len(gaps)) if k not in reasons], dtype=np.int64)
        if len(good):
            own = Batch(batch.of(good), batch.own)
            stiffness = np.array([self.thetas[r].max_stiffness() for r in rows[good]])
            ends = np.stack([prove(own, bands[good, end])["energy"] for end in (0, -1)], axis=1)
            relaxed = relax_bands(
                own,
                bands[good],
                ends,
                stiffness=stiffness,
                tolerance=CLIMBED * stiffness * size[good],
                most_steps=self.max_steps,
                optimiser=self.optimiser,
            )
            self._over_tops(own, good, self.limit[rows[good]], relaxed, ends, found, reasons)
        return [(found.get(k, []), reasons.get(k)) for k in range(len(gaps))]

    def _over_tops(
        self,
        batch: Batch,
        good: NDArray[np.int64],
        limit: NDArray[np.float64],
        relaxed: dict[str, Any],
        ends: NDArray[np.float64],
        found: dict[int, list[Transition]],
        reasons: dict[int, AmorphError],
    ) -> None:
        """Refine the tops of bands, and go down from them: into what is found, or reasons."""
        rows, images = [], []
        for k, gap in enumerate(good.tolist()):
            tops, reason = self._tops(relaxed, k, ends[k])
            if reason is not None:
                reasons[gap] = reason
            rows += [k] * len(tops)
            images += tops
        if not rows:
            return
        which = np.array(rows)
        own = Batch(batch.of(which), batch.own)
        tops = relaxed["band"][which, np.array(images) + 1]
        refined = follow_modes(own, tops, 1, limit[which], MOST_REFINING)
        kept, saddles = [], []
        for k, row in enumerate(rows):
            saddle = saddle_of(self.packing, refined, k)
            if isinstance(saddle, AmorphError):
                reasons.setdefault(int(good[row]), saddle)
            else:
                kept.append(row)
                saddles.append(saddle)
        if not kept:
            return
        below = np.array(kept)
        # What a band took is told once, of its first saddle.
        spent = relaxed["steps"][below] * self.n_images
        spent[1:][below[1:] == below[:-1]] = 0
        over = descents(
            Batch(batch.of(below), batch.own), self.packing, saddles, limit[below], spent
        )
        for row, way in zip(kept, over, strict=True):
            if isinstance(way, AmorphError):
                reasons.setdefault(int(good[row]), way)
            else:
                found.setdefault(int(good[row]), []).append(way)

    def _tops(
        self, relaxed: dict[str, Any], k: int, ends: NDArray[np.float64]
    ) -> tuple[list[int], AmorphError | None]:
        """The images of a band from which saddles are looked for: all higher than both beside."""
        energies, top = relaxed["energies"][k], int(relaxed["top"][k])
        if relaxed["status"][k] == NOT_FINITE:
            return [], PathError(
                "particles met on the band, whose forces are not finite. Give another path, with "
                "paths."
            )
        if not energies[top] > ends.max():
            return [], NoBarrierError(
                f"no image of the band lies higher than both of its ends ({ends.max():.8g}). Give "
                "more images if a barrier is there."
            )
        levels = np.concatenate([ends[:1], energies, ends[1:]])
        higher = (levels[1:-1] > levels[:-2]) & (levels[1:-1] > levels[2:])
        higher[top] = True
        tops = np.flatnonzero(higher).tolist()
        if relaxed["status"][k] != OUT_OF_STEPS:
            return tops, None
        return tops, PathError(
            f"the band did not come to rest in {self.max_steps} steps (a force of "
            f"{relaxed['top_force'][k]:.1e} is left on its highest image), and its saddles do not "
            "join the two minima. Give more with max_steps, or another first path, with paths."
        )


def _named(pair: int, error: AmorphError) -> AmorphError:
    """An error of a pair, which says of which."""
    return type(error)(f"pair {pair}: {error}")


def _nearest(band: NDArray[np.float64], packing: Packing) -> float:
    """The smallest distance of two particles on a band."""
    i, j = np.triu_indices(packing.n_particles, 1)
    vector = band[:, j] - band[:, i]
    if packing.box is not None:
        flat = vector.reshape(-1, vector.shape[-1])
        vector = nearest_images(flat, np.asarray(packing.box)).reshape(vector.shape)
    return float(np.sqrt(np.min(np.sum(vector**2, axis=-1))))


def _pairs(ends: Any) -> list[tuple[Packing, Packing]]:
    check_kind("ends", ends, Sequence, "pairs of packings (start, end)")
    out = []
    for k, pair in enumerate(ends):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InputError(f"ends: pair {k} is no (start, end).")
        for packing in pair:
            check(packing=packing)
        out.append((pair[0], pair[1]))
    check_same_particles([p for pair in out for p in pair])
    return out


def _given_paths(
    paths: Sequence[ArrayLike | None] | None, pairs: Sequence[Any], n_images: int
) -> list[Any]:
    if paths is None:
        return [None] * len(pairs)
    check_kind("paths", paths, Sequence, "a path for each pair, or None")
    if len(paths) != len(pairs):
        raise InputError(f"paths: {len(paths)} for {len(pairs)} pairs: give one for each, or None.")
    out: list[Any] = []
    for k, path in enumerate(paths):
        if path is None:
            out.append(None)
            continue
        x = real_numbers(f"paths[{k}]", path, "(n_images, N, d) numbers")
        shape = (n_images, *pairs[k][0].positions.shape)
        if x.shape != shape or not np.isfinite(x).all():
            raise InputError(f"paths[{k}] has shape {x.shape}: it must be {shape}, and finite.")
        out.append(x)
    return out
