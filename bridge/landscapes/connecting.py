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
    NotASaddleError,
    PathError,
)
from ..matter.arguments import check
from ..matter.packing import Packing
from ..matter.springs import Theta
from .bands import OPTIMISERS, relax_bands
from .batches import Batch
from .paths import aligned, between, carried, distance
from .saddles import Saddle, saddle_of
from .searches import check_same_particles, each_theta, searched, tolerances
from .stationary import ENDED, NOT_FINITE, OUT_OF_STEPS, follow_modes, prove
from .transitions import Transition, Transitions, descents

__all__ = ["SAME", "find_transition", "find_transitions"]

# Two minima are one where no particle lies farther from its place, in smallest diameters.
SAME = 1e-3
# Ends that are at rest move no farther than this when their forces are brought to round-off.
AT_REST = 0.05
MOST_REFINING = 200
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
    max_steps: int = 1000,
    most_saddles: int = 8,
    tolerance: float | None = None,
) -> Transitions:
    """Transitions between pairs of minima, many at once, each proven.

    Doubly nudged elastic bands with a climbing image find the highest point of a path; following
    the lowest mode makes it a saddle, with forces at round-off and exactly one negative mode;
    paths of steepest descent prove which minima it joins. Where these are others than the two
    wanted, the parts that are missing are searched for in the same way, and the result is a chain.

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
        `PathError` where particles would pass through one another, the band does not come to rest,
        or the chain is longer than allowed; `NotASaddleError` where no saddle is near the highest
        image; `NotAMinimumError` where an end is none.

    Raises
    ------
    InputError
        For arguments that are something else, ends of different particles, more than 48 particles,
        and springs.

    Example
    -------
    >>> found = landscapes.find_transitions(theta, [(a, b), (a, c)])
    >>> [transition.barrier for (transition,) in found.found.values()]

    Sources: `amorph.bridge.landscapes.bands` and `stationary` name them.
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
    """A part of a way that no transition covers yet: between two minima (N, d) of a pair."""

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
        size = np.broadcast_to(self.batch.surface.size, len(pairs))
        number = len(pairs)
        starts = np.stack([np.asarray(p.positions) for pair in pairs for p in pair])
        twice = np.repeat(np.arange(number), 2)
        rested = follow_modes(
            Batch(self.batch.of(twice), self.batch.own), starts, 0, self.limit[twice], 50
        )
        ways: list[list[Any]] = []
        out: list[Any] = [None] * number
        for k in range(number):
            left, right = rested["x"][2 * k], rested["x"][2 * k + 1]
            for s in (2 * k, 2 * k + 1):
                moved = np.sqrt(np.max(np.sum((rested["x"][s] - starts[s]) ** 2, axis=1)))
                if rested["status"][s] != ENDED or not moved <= AT_REST * size[k]:
                    which = "start" if s == 2 * k else "end"
                    out[k] = NotAMinimumError(
                        f"pair {k}: its {which} is no minimum of the energy. Call "
                        "bridge.relax(theta, packing) first."
                    )
            if out[k] is None and self._same(left, right, k):
                out[k] = NoBarrierError(f"pair {k}: its start and its end are the same minimum.")
            ways.append([_Gap(k, left, right, given[k])])
        while True:
            gaps = [
                (k, at)
                for k, way in enumerate(ways)
                if out[k] is None
                for at, part in enumerate(way)
                if isinstance(part, _Gap)
            ]
            if not gaps:
                break
            found = self._bridged([ways[k][at] for k, at in gaps])
            for (k, at), part in reversed(list(zip(gaps, found, strict=True))):
                if isinstance(part, AmorphError):
                    out[k] = part
                    continue
                ways[k][at : at + 1] = part
            for k, way in enumerate(ways):
                if out[k] is None and len(way) > self.most_saddles:
                    out[k] = PathError(
                        f"pair {k}: more than {self.most_saddles} saddles lie on the way. Give "
                        "more with most_saddles, more images, or another first path."
                    )
        return [
            self._joined(pairs[k][0], way) if out[k] is None else out[k]
            for k, way in enumerate(ways)
        ]

    def _same(self, x: NDArray[np.float64], y: NDArray[np.float64], k: int) -> bool:
        size = float(np.broadcast_to(self.batch.surface.size, len(self.thetas))[k])
        return bool(distance(self.packing.with_positions(x), y) <= SAME * size)

    def _bridged(self, gaps: Sequence[_Gap]) -> list[list[Any] | AmorphError]:
        """For each gap the transition found in it, and the gaps that are left around it."""
        rows = np.array([gap.pair for gap in gaps])
        batch = Batch(self.batch.of(rows), self.batch.own)
        size = np.broadcast_to(batch.surface.size, len(gaps))
        out: list[Any] = [None] * len(gaps)
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
                out[k] = PathError(
                    f"pair {gap.pair}: two particles come to {near:.2g} of each other on the first "
                    "path: they would pass through one another. Give a path around, with paths."
                )
        ends = self._energies(batch, bands[:, [0, -1]])
        stiffness = np.array([self.thetas[r].max_stiffness() for r in rows])
        good = [k for k in range(len(gaps)) if out[k] is None]
        if good:
            own = Batch(batch.of(np.array(good)), batch.own)
            relaxed = relax_bands(
                own,
                bands[good],
                ends[good],
                stiffness=stiffness[good],
                tolerance=CLIMBED * stiffness[good] * size[good],
                most_steps=self.max_steps,
                optimiser=self.optimiser,
            )
            for k, part in zip(good, self._over_tops(own, gaps, good, relaxed, ends), strict=True):
                out[k] = part
        return out

    def _over_tops(
        self,
        batch: Batch,
        gaps: Sequence[_Gap],
        good: Sequence[int],
        relaxed: dict[str, Any],
        ends: NDArray[np.float64],
    ) -> list[list[Any] | AmorphError]:
        limit = self.limit[[gaps[k].pair for k in good]]
        rows = np.arange(len(good))
        tops = relaxed["band"][rows, relaxed["top"] + 1]
        refined = follow_modes(batch, tops, 1, limit, MOST_REFINING)
        out: list[Any] = [None] * len(good)
        saddles: list[Any] = []
        for k, gap in enumerate(good):
            pair = gaps[gap].pair
            highest = relaxed["energies"][k, relaxed["top"][k]]
            if relaxed["status"][k] == NOT_FINITE:
                out[k] = PathError(
                    f"pair {pair}: particles met on the band, whose forces are "
                    "not finite. Give another path, with paths."
                )
            elif not highest > ends[gap].max():
                out[k] = NoBarrierError(
                    f"pair {pair}: no image of the band lies higher than both of its ends "
                    f"({ends[gap].max():.8g}). Give more images if a barrier is there."
                )
            elif relaxed["status"][k] == OUT_OF_STEPS:
                out[k] = PathError(
                    f"pair {pair}: the band did not come to rest in {self.max_steps} steps (a "
                    f"force of {relaxed['top_force'][k]:.1e} is left on its highest image). Give "
                    "more with max_steps, or another first path, with paths."
                )
            else:
                found = saddle_of(self.packing, refined, k)
                if isinstance(found, AmorphError):
                    out[k] = NotASaddleError(f"pair {pair}: {found}")
                else:
                    saddles.append((k, found))
        if saddles:
            numbers = np.array([k for k, _ in saddles])
            own = Batch(batch.of(numbers), batch.own)
            spent = relaxed["steps"][numbers] * self.n_images
            over = descents(own, self.packing, [s for _, s in saddles], limit[numbers], spent)
            for k, way in zip(numbers.tolist(), over, strict=True):
                out[k] = self._placed(gaps[good[k]], way)
        return out

    def _placed(self, gap: _Gap, found: Transition | AmorphError) -> list[Any] | AmorphError:
        """A transition in its gap, the right way round, and the gaps on its sides."""
        if isinstance(found, AmorphError):
            return type(found)(f"pair {gap.pair}: {found}")
        left = self.packing.with_positions(gap.left)
        right = self.packing.with_positions(gap.right)
        onward = distance(left, found.start.positions) + distance(right, found.end.positions)
        backward = distance(left, found.end.positions) + distance(right, found.start.positions)
        if backward < onward:
            found = found.reversed()
        before = self._same(gap.left, found.start.positions, gap.pair)
        after = self._same(gap.right, found.end.positions, gap.pair)
        if not (before or after) and self._same(
            found.start.positions, found.end.positions, gap.pair
        ):
            return PathError(
                f"pair {gap.pair}: the saddle found joins a minimum with itself, and neither is "
                "wanted. Give another first path, with paths."
            )
        parts: list[Any] = [found]
        if not before:
            parts.insert(0, _Gap(gap.pair, gap.left, found.start.positions))
        if not after:
            parts.append(_Gap(gap.pair, found.end.positions, gap.right))
        return parts

    def _joined(self, start: Packing, way: Sequence[Transition]) -> tuple[Transition, ...]:
        """Transitions turned so that each begins where the one before ends."""
        out: list[Transition] = []
        for found in way:
            at = start if not out else out[-1].end
            path = carried(at, found.path[0], found.path)
            where = int(np.argmax(found.path_energies))
            n, d = found.path.shape[1:]
            mode = found.saddle.mode
            if at.box is None:
                origin = carried(at, found.path[0], np.zeros((1, n, d)))
                mode = carried(at, found.path[0], mode[None])[0] - origin[0]
            saddle = Saddle(
                self.packing.with_positions(path[where]),
                found.saddle.energy,
                found.saddle.force,
                found.saddle.eigenvalue,
                mode,
                found.saddle.steps,
            )
            out.append(
                Transition(
                    self.packing.with_positions(path[0]),
                    saddle,
                    self.packing.with_positions(path[-1]),
                    found.energies,
                    path,
                    found.path_energies,
                    found.evaluations,
                )
            )
        return tuple(out)

    def _energies(self, batch: Batch, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([prove(batch, x[:, k])["energy"] for k in range(x.shape[1])], axis=1)


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
