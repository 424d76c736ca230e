"""Rates measured of trajectories: where on a transition's path a system is, and for how long.

Snapshots are put on the path, what flickers is filtered away, and what is left is one of two
states: as Goodrich et al. (PNAS 118, e2024083118 (2021), Fig. 3C) do. Rates are passages over the
time in which they could have happened.
"""

from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import scipy.signal
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from amorph.handover import InputError
from amorph.handover.arguments import check_kind, positive, real_numbers
from amorph.handover.showing import shown

from .transitions import Transition

__all__ = ["Passages", "count_passages", "filtered", "path_position"]

# Frames are looked at in pieces of about so many numbers.
PIECE = 1 << 22


@dataclass(frozen=True, eq=False)
class Passages:
    """Passages between the two states of a transition, as trajectories show them.

    Attributes
    ----------
    number:
        (2,), passages from start to end, and back.
    time:
        (2,), the whole time spent at the start, and at the end.
    rate:
        (2,), number / time, 1/time.
    interval:
        (2, 2), of each rate, exact for passages that are independent (Poisson).
    dwell_times:
        Of start and end, each (n,): from a passage in to the next out, both of them seen.
    confidence:
        Of the interval.
    """

    number: NDArray[np.int64]
    time: NDArray[np.float64]
    rate: NDArray[np.float64]
    interval: NDArray[np.float64]
    dwell_times: tuple[NDArray[np.float64], NDArray[np.float64]]
    confidence: float

    def __repr__(self) -> str:
        lines = [
            (
                way,
                f"{self.number[k]} passages in {self.time[k]:.6g}: {self.rate[k]:.4g} "
                f"({self.interval[k, 0]:.4g} to {self.interval[k, 1]:.4g})",
            )
            for k, way in enumerate(("from the start", "from the end"))
        ]
        return shown("Passages", lines)


def _invariants(x: NDArray[np.float64], chiral: NDArray[np.int64]) -> NDArray[np.float64]:
    """What tells shapes apart however they are turned: distances, and signed volumes, (..., M)."""
    i, j = np.triu_indices(x.shape[-2], 1)
    apart = np.sqrt(np.sum((x[..., j, :] - x[..., i, :]) ** 2, axis=-1))
    edges = x[..., chiral[:, 1:], :] - x[..., chiral[:, :1], :]
    return np.concatenate([apart, np.linalg.det(edges)], axis=-1)


def path_position(
    transition: Transition, positions: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far along a transition's path snapshots lie, and how far beside it.

    A snapshot is at the point of the path that it is most like: by the distances of all pairs, and
    the signed volumes (in the plane areas) of all particles, so that mirror images are apart and
    nothing need be turned.

    Parameters
    ----------
    transition:
        In open space.
    positions:
        (..., N, d).

    Returns the parts of the path's length (...), 0 at its start, 1 at its end; and the root mean
    square of what they differ by there (...).

    Raises `InputError` for a transition in a box, and positions of other particles.
    """
    check_kind("transition", transition, Transition, "a Transition, as find_transition gives it")
    if transition.start.box is not None:
        raise InputError("the transition is in a box: paths in open space alone are looked at.")
    x = real_numbers("positions", positions, "(..., N, d) numbers")
    n, d = transition.path.shape[1:]
    if x.shape[-2:] != (n, d):
        raise InputError(f"positions have shape {x.shape}: they must be (..., {n}, {d}).")
    chiral = np.array(list(combinations(range(n), d + 1)), dtype=np.int64)
    points = _invariants(transition.path, chiral)
    part = transition.arc_length / transition.arc_length[-1]
    square = np.sum(points**2, axis=1)
    flat = x.reshape(-1, n, d)
    where, beside = np.empty(len(flat)), np.empty(len(flat))
    size = max(1, PIECE // (points.size + points.shape[1]))
    for first in range(0, len(flat), size):
        own = _invariants(flat[first : first + size], chiral)
        off = square - 2.0 * own @ points.T + np.sum(own**2, axis=1)[:, None]
        best = np.argmin(off, axis=1)
        where[first : first + size] = part[best]
        least = np.maximum(off[np.arange(len(best)), best], 0.0)
        beside[first : first + size] = np.sqrt(least / points.shape[1])
    return where.reshape(x.shape[:-2]), beside.reshape(x.shape[:-2])


def filtered(signal: ArrayLike, cutoff: float, *, order: int = 2) -> NDArray[np.float64]:
    """A signal (..., n_frames) without what changes faster than a frequency.

    By a Butterworth filter that goes over it in both directions and so delays nothing; ``cutoff``
    is in units of 1/frame, below a half.

    Raises `InputError` for other numbers, and signals too short to be filtered.
    """
    values = real_numbers("signal", signal, "(..., n_frames) numbers")
    if not 0 < positive("cutoff", cutoff) < 0.5:
        raise InputError(f"cutoff = {cutoff}: it must be below 0.5 of a frame's frequency.")
    sections = scipy.signal.butter(order, 2.0 * cutoff, output="sos")
    if values.shape[-1] <= 3 * (2 * len(sections) + 1):
        raise InputError(f"the signal has {values.shape[-1]} frames: too few to be filtered.")
    out: NDArray[np.float64] = scipy.signal.sosfiltfilt(sections, values, axis=-1)
    return out


def count_passages(
    signal: ArrayLike,
    interval: float,
    *,
    low: float,
    high: float | None = None,
    inside: Any = None,
    confidence: float = 0.95,
) -> Passages:
    """Passages between two states: below ``low`` and above ``high``.

    A trajectory is in the state in which it was last; between the two it stays there. With one
    threshold, low = high, every crossing counts (which a filtered signal is made for).

    Parameters
    ----------
    signal:
        (R, n_frames), of R independent trajectories.
    interval:
        The time between frames.
    low, high:
        The start's state is below low, the end's above high, by default the same.
    inside:
        (R, n_frames) bool: where a trajectory is in neither state but somewhere else. What it
        spends there does not count, nor how it came or went.
    confidence:
        Of the rates' intervals.

    Raises `InputError` for arrays of other shapes.

    Example
    -------
    >>> where, beside = landscapes.path_position(transition, trajectory)
    >>> landscapes.count_passages(where, 0.1, low=0.3, high=0.7, inside=beside < 0.1).rate

    Source of the intervals: Garwood, Biometrika 28, 437 (1936).
    """
    values = np.atleast_2d(real_numbers("signal", signal, "(R, n_frames) numbers"))
    high = low if high is None else high
    positive("interval", interval)
    if values.ndim != 2:
        raise InputError(f"signal has shape {values.shape}: it must be (R, n_frames).")
    if not low <= high:
        raise InputError(f"low = {low} is above high = {high}.")
    if not 0 < positive("confidence", confidence) < 1:
        raise InputError(f"confidence = {confidence}: it must lie between 0 and 1.")
    here = np.ones(values.shape, bool) if inside is None else np.atleast_2d(np.asarray(inside))
    if here.shape != values.shape or here.dtype != np.bool_:
        raise InputError(f"inside has shape {here.shape}: it must be {values.shape} Booleans.")
    # 0 and 1 are the states, -1 is elsewhere, -2 between them.
    seen = np.where(values < low, 0, np.where(values >= high, 1, -2))
    seen = np.where(here, seen, -1)
    frames = np.arange(values.shape[1])
    last = np.maximum.accumulate(np.where(seen != -2, frames, -1), axis=1)
    state = np.where(last >= 0, np.take_along_axis(seen, np.maximum(last, 0), axis=1), -1)
    changed = state[:, 1:] != state[:, :-1]
    number = np.array(
        [np.sum((state[:, :-1] == k) & (state[:, 1:] == 1 - k)) for k in (0, 1)], dtype=np.int64
    )
    time = np.array([np.sum(state[:, :-1] == k) for k in (0, 1)]) * interval
    dwells: tuple[list[float], list[float]] = ([], [])
    for row, moves in zip(state, changed, strict=True):
        at = np.flatnonzero(moves)
        for before, after in pairwise(at.tolist()):
            k = row[after]
            if k >= 0 and row[before] == 1 - k and row[after + 1] == 1 - k:
                dwells[k].append(float(after - before) * interval)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(time > 0, number / np.maximum(time, 1e-300), np.nan)
    tail = 0.5 * (1.0 - confidence)
    ends = np.full((2, 2), np.nan)
    for k in (0, 1):
        if time[k] > 0:
            least = scipy.stats.chi2.ppf(tail, 2 * number[k]) / 2 if number[k] else 0.0
            most = scipy.stats.chi2.ppf(1 - tail, 2 * number[k] + 2) / 2
            ends[k] = np.array([least, most]) / time[k]
    return Passages(
        number, time, rate, ends, (np.array(dwells[0]), np.array(dwells[1])), confidence
    )
