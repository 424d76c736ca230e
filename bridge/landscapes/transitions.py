"""Transitions: a saddle, the two minima that it joins, and the path of steepest descent to each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import AmorphError, InputError
from amorph.handover.arguments import check_choice, check_kind, count, positive, real_numbers
from amorph.handover.showing import shown

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
from ..minima.responses import force_tolerance
from ..precision import require_float64
from .bands import OPTIMISERS, relax_bands
from .batches import Batch, batch_of
from .descent import descend
from .paths import aligned, between, carried, distance
from .stationary import ENDED, FLAT, NOT_FINITE, OTHER_INDEX, OUT_OF_STEPS, follow_modes
from .surface import MOST_DENSE

__all__ = [
    "Saddle",
    "Saddles",
    "Transition",
    "Transitions",
    "find_saddles",
    "find_transition",
    "find_transitions",
    "transitions_over",
]

# Two minima are one where no particle lies farther from its place, in smallest diameters.
SAME = 1e-3
# Ends that are at rest move no farther than this when their forces are brought to round-off.
AT_REST = 0.05
# The steepest descent begins so far along the saddle's mode, and goes in such steps.
OFF_SADDLE = 0.02
DESCENT_STEP = 0.02
MOST_DESCENT = 2000
MOST_REFINING = 200
# A band ends once the force on its climbing image is this beside the stiffness times the size.
CLIMBED = 1e-3
# Particles nearer than this, in smallest diameters, on the first path: they would pass through one
# another.
COINCIDE = 0.2


@dataclass(frozen=True, eq=False)
class Saddle:
    """A saddle: a packing at rest with exactly one negative mode.

    Attributes
    ----------
    packing:
        Where the particles are.
    energy:
        U.
    force:
        The largest force left.
    eigenvalue:
        The negative one, energy / length².
    mode:
        Its eigenvector, (N, d), of length 1.
    steps:
        How many steps, each with a gradient and a Hessian, led there.
    """

    packing: Packing
    energy: float
    force: float
    eigenvalue: float
    mode: NDArray[np.float64]
    steps: int

    def __repr__(self) -> str:
        return shown(
            f"Saddle of {self.packing.n_particles} particles in {self.packing.dimension} "
            "dimensions",
            [
                ("energy", f"{self.energy:.10g}"),
                ("largest force", f"{self.force:.2e}"),
                ("negative eigenvalue", f"{self.eigenvalue:.6g}"),
            ],
        )


@dataclass(frozen=True, eq=False)
class Transition:
    """A minimum, a saddle and the minimum behind it, and the path of steepest descent.

    Attributes
    ----------
    start, end:
        The minima; the saddle and the end are turned as the path from the start leads to them.
    saddle:
        Between them.
    energies:
        Of start, saddle and end, (3,).
    path:
        Positions (n_points, N, d) from start to end, the saddle among them.
    path_energies:
        (n_points,).
    evaluations:
        How many gradients its search took: a band's are those of all its images.
    """

    start: Packing
    saddle: Saddle
    end: Packing
    energies: NDArray[np.float64]
    path: NDArray[np.float64]
    path_energies: NDArray[np.float64]
    evaluations: int

    @property
    def barrier(self) -> float:
        """ΔE from the start to the saddle."""
        return float(self.energies[1] - self.energies[0])

    @property
    def reverse_barrier(self) -> float:
        """ΔE from the end to the saddle."""
        return float(self.energies[1] - self.energies[2])

    @property
    def arc_length(self) -> NDArray[np.float64]:
        """How far along the path each point lies, (n_points,)."""
        steps = np.sqrt(np.sum(np.diff(self.path, axis=0) ** 2, axis=(1, 2)))
        return np.concatenate([[0.0], np.cumsum(steps)])

    def reversed(self) -> "Transition":
        """The same from its end to its start."""
        return Transition(
            self.end,
            self.saddle,
            self.start,
            self.energies[::-1],
            self.path[::-1],
            self.path_energies[::-1],
            self.evaluations,
        )

    def __repr__(self) -> str:
        return shown(
            f"Transition of {self.start.n_particles} particles in {self.start.dimension} "
            "dimensions",
            [
                ("barrier", f"{self.barrier:.8g}, back {self.reverse_barrier:.8g}"),
                ("negative eigenvalue", f"{self.saddle.eigenvalue:.6g}"),
                ("path", f"{self.arc_length[-1]:.4g} long, {len(self.path)} points"),
            ],
        )


class _Results(Sequence[Any]):
    """Results of many searches, of which some have failed: asked for, these raise their error."""

    def __init__(self, found: Sequence[Any]) -> None:
        self._found = tuple(found)

    @property
    def failures(self) -> dict[int, AmorphError]:
        """The error of each search that failed, by its number."""
        return {k: f for k, f in enumerate(self._found) if isinstance(f, AmorphError)}

    @property
    def found(self) -> dict[int, Any]:
        """What was found, by the numbers of the searches."""
        return {k: f for k, f in enumerate(self._found) if not isinstance(f, AmorphError)}

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, k: Any) -> Any:
        if isinstance(k, slice):
            return type(self)(self._found[k])
        found = self._found[k]
        if isinstance(found, AmorphError):
            raise found
        return found

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__} of {len(self)} searches: {len(self.found)} found, "
            f"{len(self.failures)} failed"
        )


class Saddles(_Results):
    """The `Saddle` of each search; one that failed raises its error when it is asked for.

    Attributes: found and failures, saddles and errors by the numbers of the searches.
    """


class Transitions(_Results):
    """The transitions of each search, a tuple of one or more `Transition`, in their order.

    One that failed raises its error when it is asked for.

    Attributes: found and failures, tuples and errors by the numbers of the searches.
    """


def find_saddles(
    theta: Theta | Sequence[Theta],
    packing: Packing,
    starts: ArrayLike | None = None,
    *,
    tolerance: float | None = None,
    max_steps: int = 500,
) -> Saddles:
    """Saddles by following the lowest mode uphill from each of some starts, many at once.

    Parameters
    ----------
    theta:
        The particles' interactions, or those of each start.
    packing:
        The particles: their types, box and fixed ones.
    starts:
        Positions (B, N, d); by default the packing's, one search.
    tolerance:
        The largest |F| at rest, energy / length; by default `default_tolerance`.
    max_steps:
        Steps of a search at most.

    Returns
    -------
    Saddles
        In the starts' order. A search that failed has its error there: `NotASaddleError` where it
        ended at a minimum, a saddle of several negative modes or a flat place, or did not end.

    Raises
    ------
    InputError
        For arguments that are something else, more than 48 particles, and springs.

    Example
    -------
    >>> starts = packing.positions + 0.3 * rng.standard_normal((100, 7, 3))
    >>> saddles = landscapes.find_saddles(theta, packing, starts)
    >>> energies = [saddle.energy for saddle in saddles.found.values()]

    Source: Wales, J. Chem. Phys. 101, 3750 (1994), eq. 8.
    """
    check(packing=packing)
    x = _starts(packing, starts)
    thetas = _thetas(theta, len(x))
    count("max_steps", max_steps)
    batch = _batch(theta, packing)
    limit = _tolerances(thetas, packing, tolerance)
    found = follow_modes(batch, x, 1, limit, max_steps)
    return Saddles([_saddle(packing, found, k) for k in range(len(x))])


def _saddle(packing: Packing, found: dict[str, Any], k: int) -> Saddle | AmorphError:
    status, steps = int(found["status"][k]), int(found["steps"][k])
    if status != ENDED:
        return NotASaddleError(_why(found, k))
    return Saddle(
        packing.with_positions(found["x"][k]),
        float(found["energy"][k]),
        float(found["force"][k]),
        float(found["lowest"][k, 0]),
        found["mode"][k],
        steps,
    )


def _why(found: dict[str, Any], k: int) -> str:
    """Why a search did not end at a saddle, in words."""
    status, force = int(found["status"][k]), float(found["force"][k])
    if status == NOT_FINITE:
        return "the search met forces that are not finite: two particles coincide. Start elsewhere."
    if status == OUT_OF_STEPS:
        return (
            f"the search did not end in {int(found['steps'][k])} steps: a force of {force:.1e} is "
            "left. Parts of the packing may have come apart; else give more with max_steps."
        )
    if status == FLAT:
        return (
            f"the search ended where the energy is flat along {int(found['zero'][k])} modes "
            "besides rigid motions: parts of the packing move freely."
        )
    assert status == OTHER_INDEX
    negative = int(found["negative"][k])
    kind = "a minimum" if negative == 0 else f"a saddle of {negative} negative modes"
    return f"the search ended at {kind}. Start nearer to the saddle wanted."


def transitions_over(
    theta: Theta | Sequence[Theta],
    saddles: Sequence[Saddle],
    *,
    tolerance: float | None = None,
) -> Transitions:
    """The transitions over saddles: the minima that steepest descent leads to on both sides.

    Parameters
    ----------
    theta:
        The particles' interactions, or those of each saddle.
    saddles:
        Of the same particles.
    tolerance:
        As in `find_saddles`.

    Returns a tuple of one `Transition` for each saddle, downhill along its mode first against it.
    A descent that does not end at a minimum has its error there, `NotAMinimumError`.

    Raises `InputError` as `find_saddles` does.

    Source: the steps are those of Page and McIver, J. Chem. Phys. 88, 922 (1988).
    """
    check_kind("saddles", saddles, Sequence, "saddles, as find_saddles gives them")
    saddles = list(saddles)
    if not saddles:
        return Transitions([])
    for saddle in saddles:
        check_kind("a saddle", saddle, Saddle, "a Saddle, as find_saddles gives it")
    packing = saddles[0].packing
    _same_particles([s.packing for s in saddles])
    thetas = _thetas(theta, len(saddles))
    batch = _batch(theta, packing)
    limit = _tolerances(thetas, packing, tolerance)
    return Transitions(
        [
            found if isinstance(found, AmorphError) else (found,)
            for found in _over(batch, packing, saddles, limit, np.zeros(len(saddles), dtype=int))
        ]
    )


def _over(
    batch: Batch,
    packing: Packing,
    saddles: Sequence[Saddle],
    limit: NDArray[np.float64],
    evaluations: NDArray[np.int64],
) -> list[Transition | AmorphError]:
    size = np.broadcast_to(batch.surface.size, len(saddles))
    x = np.stack([np.asarray(s.packing.positions) for s in saddles])
    off = OFF_SADDLE * size[:, None, None] * np.stack([s.mode for s in saddles])
    # Both sides of all saddles in one array.
    both = Batch(batch.of(np.tile(np.arange(len(saddles)), 2)), batch.own)
    walked = descend(
        both,
        np.concatenate([x - off, x + off]),
        np.tile(limit, 2),
        length=DESCENT_STEP,
        most_steps=MOST_DESCENT,
    )
    half = len(saddles)
    out: list[Transition | AmorphError] = []
    for k, saddle in enumerate(saddles):
        wrong = [int(walked["status"][s]) for s in (k, k + half)]
        if wrong != [ENDED, ENDED]:
            out.append(
                NotAMinimumError(
                    "steepest descent from the saddle does not lead to a minimum: parts of the "
                    "packing come apart, or the landscape is flat there."
                )
            )
            continue
        sides = []
        for s in (k, k + half):
            points = int(walked["points"][s])
            sides.append((walked["path"][s, :points], walked["energies"][s, :points]))
        down, up = walked["x"][k], walked["x"][k + half]
        ends = [float(walked["energy"][s]) for s in (k, k + half)]
        out.append(
            Transition(
                packing.with_positions(down),
                saddle,
                packing.with_positions(up),
                np.array([ends[0], saddle.energy, ends[1]]),
                np.concatenate(
                    [down[None], sides[0][0][::-1], x[k : k + 1], sides[1][0], up[None]]
                ),
                np.concatenate(
                    [ends[:1], sides[0][1][::-1], [saddle.energy], sides[1][1], ends[1:]]
                ),
                int(evaluations[k])
                + saddle.steps
                + sum(len(side[1]) for side in sides)
                + sum(int(walked["steps"][s]) for s in (k, k + half)),
            )
        )
    return out


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
    thetas = _thetas(theta, len(pairs))
    first = pairs[0][0]
    batch = _batch(theta, first)
    limit = _tolerances(thetas, first, tolerance)
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
                found = _saddle(self.packing, refined, k)
                if isinstance(found, AmorphError):
                    out[k] = NotASaddleError(f"pair {pair}: {found}")
                else:
                    saddles.append((k, found))
        if saddles:
            numbers = np.array([k for k, _ in saddles])
            own = Batch(batch.of(numbers), batch.own)
            spent = relaxed["steps"][numbers] * self.n_images
            over = _over(own, self.packing, [s for _, s in saddles], limit[numbers], spent)
            for k, found in zip(numbers.tolist(), over, strict=True):
                out[k] = self._placed(gaps[good[k]], found)
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
        from .stationary import prove

        return np.stack([prove(batch, x[:, k])["energy"] for k in range(x.shape[1])], axis=1)


def _nearest(band: NDArray[np.float64], packing: Packing) -> float:
    """The smallest distance of two particles on a band."""
    from amorph.handover.boxes import nearest_images

    i, j = np.triu_indices(packing.n_particles, 1)
    vector = band[:, j] - band[:, i]
    if packing.box is not None:
        flat = vector.reshape(-1, vector.shape[-1])
        vector = nearest_images(flat, np.asarray(packing.box)).reshape(vector.shape)
    return float(np.sqrt(np.min(np.sum(vector**2, axis=-1))))


def _batch(theta: Theta | Sequence[Theta], packing: Packing) -> Batch:
    require_float64()
    one = theta[0] if isinstance(theta, (list, tuple)) else theta
    if packing.n_particles > MOST_DENSE or one.springs is not None:
        raise InputError(
            f"the packing has {packing.n_particles} particles: at most {MOST_DENSE}, without "
            "springs, are searched many at once."
        )
    return batch_of(theta, packing)


def _thetas(theta: Theta | Sequence[Theta], number: int) -> list[Theta]:
    """The interactions of each of a number of searches; raises `InputError`."""
    each = list(theta) if isinstance(theta, (list, tuple)) else [theta] * number
    for one in each:
        check(theta=one)
    if len(each) != number:
        raise InputError(f"theta: {len(each)} for {number} searches: give one, or one for each.")
    return each


def _tolerances(
    thetas: Sequence[Theta], packing: Packing, tolerance: float | None
) -> NDArray[np.float64]:
    if tolerance is not None:
        positive("tolerance", tolerance)
    known = {id(one): force_tolerance(one, packing, tolerance) for one in thetas}
    return np.array([known[id(one)] for one in thetas])


def _starts(packing: Packing, starts: ArrayLike | None) -> NDArray[np.float64]:
    if starts is None:
        return np.asarray(packing.positions)[None]
    x = real_numbers("starts", starts, "(B, N, d) numbers")
    if x.ndim != 3 or x.shape[1:] != packing.positions.shape or not len(x):
        n, d = packing.positions.shape
        raise InputError(f"starts have shape {x.shape}: they must be (B, {n}, {d}).")
    if not np.isfinite(x).all():
        raise InputError("starts are not finite.")
    return x


def _pairs(ends: Any) -> list[tuple[Packing, Packing]]:
    check_kind("ends", ends, Sequence, "pairs of packings (start, end)")
    out = []
    for k, pair in enumerate(ends):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InputError(f"ends: pair {k} is no (start, end).")
        for packing in pair:
            check(packing=packing)
        out.append((pair[0], pair[1]))
    _same_particles([p for pair in out for p in pair])
    return out


def _same_particles(packings: Sequence[Packing]) -> None:
    for other in packings[1:]:
        for name in ("typeid", "box", "fixed", "bonds"):
            a, b = getattr(packings[0], name), getattr(other, name)
            if (a is None) != (b is None) or (a is not None and not np.array_equal(a, b)):
                raise InputError(f"packings differ in their {name}: they must be one system's.")


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
