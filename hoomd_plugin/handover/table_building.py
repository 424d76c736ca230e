"""Makes tables of pair potentials: `build_table`."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arguments import check_kind, described, positive, real_numbers
from .errors import InputError, NotFiniteError, TableError
from .pair_table import (
    CELL_SIZE,
    MOST_BITS,
    MOST_BREAKS,
    PairTable,
    cell_number,
    cell_start,
    checked_parameters,
)
from .potentials import n_pairs, pair_places

__all__ = ["build_table"]

Floats = NDArray[np.float64]
Formula = Callable[[Floats], tuple[ArrayLike, ArrayLike, ArrayLike]]

# A polynomial of degree 7 on [0, 1] from its u, u', u'' at 0, u, u' at 1/2, and u, u', u'' at 1:
# Hermite's. Its error is u⁗⁗ x³ (x - 1/2)² (1 - x)³ / 8!, so that of u' is at most 6.4e-8 u⁗⁗ h⁷.
_HERMITE = np.array(
    [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0, 0, 0],
        [0, 0, 0.5, 0, 0, 0, 0, 0],
        [-102, -30, -3.5, 64, -32, 38, -8, 0.5],
        [411, 108, 9.5, -192, 160, -219, 47, -3],
        [-642, -159, -12.5, 192, -288, 450, -99, 6.5],
        [452, 108, 8, -64, 224, -388, 88, -6],
        [-120, -28, -2, 0, -64, 120, -28, 2],
    ]
)
# Where errors are measured: around their extremes, and between.
_PROBES = np.array([0.04, 0.12, 0.25, 0.37, 0.45, 0.55, 0.63, 0.75, 0.88, 0.96])
# A piece beside a break that is narrower than this share of its cell is one with its neighbour:
# a polynomial stretched from a narrow piece to its cell would lose as many digits.
_NARROW = 0.3
_LEAST_ASKED = 256
# Below this share of what they are from the mean diameter on, errors do not count.
_FLOOR = 1e-6
_LEAST_BITS = 2
# From a quarter of the cutoff on, s has four octaves.
_LEAST_CELLS = 4 * 2**_LEAST_BITS
# The distance at which tabulation begins, in mean diameters (or cutoffs, if these are less).
_FARTHEST_FIRST, _NEAREST_FIRST = 1 / 4, 1 / 64
# A pair is not followed farther inwards than to so many times its energies outside.
_HARD = 1e6


def build_table(
    formulas: Sequence[Formula],
    breaks: Sequence[ArrayLike],
    diameters: ArrayLike,
    *,
    potential: str,
    parameters: Mapping[str, ArrayLike] | None = None,
    tolerance: float = 1e-8,
    first: ArrayLike | None = None,
    stiffness: ArrayLike | None = None,
    derivatives: Mapping[str, Sequence[Formula]] | None = None,
    most_bytes: int = 64 * 2**20,
) -> PairTable:
    """A pair potential as a table, for the engine: piecewise polynomials, twice differentiable.

    The cells are halved until u and u' are within ``tolerance`` of the formula at ten distances of
    each. Errors of u are relative to the largest of \\|u\\| and r \\|u'\\| in the cell, those of u'
    to the largest of \\|u'\\| and r \\|u''\\|, so that zeros of u or u' do not count; and no such
    scale is taken to be below 1e-6 of the largest from the mean diameter on. Below ``first`` a soft
    wall continues the formula: see `PairTable`.

    Parameters
    ----------
    formulas:
        One for each pair of types, over ``numpy.triu_indices(n_types)``: called with distances
        (M,), it gives u, u' and u'', (M,) each.
    breaks:
        One for each pair of types: the distances, ascending, at which u'' (or u, or u') jumps. The
        last is the cutoff, at and beyond which u = 0. There are at most 8. Empty, or a cutoff of 0,
        for pairs of types that do not interact.
    diameters:
        (n_types,), > 0: the unit of length of steps and skins.
    potential:
        The formula's name.
    parameters:
        Its parameters, kept with the table and written to files: of length n_types, of the length
        of ``numpy.triu_indices(n_types)``, or of length 1.
    tolerance:
        The relative error, at least 1e-12.
    first:
        Where tabulation begins, at the most: a distance for all pairs of types, or one for each. By
        default a quarter of the mean diameter (of the cutoff, if that is less); or less, down to a
        64th, for formulas that are softer than 1e6 times their energies from 0.95 of the first
        minimum (or of the mean diameter) on. It is brought down to a square that is a power of two.
        Breaks below it are the wall's.
    stiffness:
        For all pairs of types or each: the u'' that time steps are measured by. By default the
        largest \\|u''\\| from 0.95 of the minimum on, or of the mean diameter where there is no
        minimum; for formulas as soft as above from half of that on.
    derivatives:
        Formulas as ``formulas``, by name: derivatives of u by what they are named for, with u's
        breaks, tabulated beside it to the same tolerance. Below ``first`` they are continued by
        their parabola in r².
    most_bytes:
        What all cells may take.

    Returns
    -------
    table:
        `PairTable`; it says what it takes and which errors it has.

    Raises
    ------
    InputError
        For malformed input; for a formula that attracts at its first distance, which no soft wall
        continues.
    NotFiniteError
        Where a formula gives what is not finite.
    TableError
        If the tolerance is not reached within ``most_bytes``: for very many types, or for a formula
        that has breaks besides those named or is not computed as accurately itself.

    Examples
    --------
    Lennard-Jones, cut at 2.5:

    >>> import numpy as np
    >>> def formula(r):
    ...     a = r**-6.0
    ...     return 4 * (a**2 - a), (24 * a - 48 * a**2) / r, (624 * a**2 - 168 * a) / r**2
    >>> table = build_table([formula], [[2.5]], [1.0], potential="lennard_jones_cut")
    >>> u, slope, curvature = table.evaluate(0, 0, [1.0, 2.6])
    >>> bool(abs(u[0]) < 1e-8), float(u[1])
    (True, 0.0)
    """
    sizes = real_numbers("diameters", diameters, "one diameter for each type").reshape(-1)
    if sizes.size == 0 or not (np.isfinite(sizes) & (sizes > 0)).all():
        raise InputError(f"diameters = {sizes.tolist()}: they must be finite and greater than 0.")
    n = int(sizes.size)
    kept = checked_parameters(potential, {"diameters": sizes, **_parameters(parameters)})
    goal = positive("tolerance", tolerance)
    if goal < 1e-12:
        raise InputError(f"tolerance = {goal!r}: doubles hold no table better than 1e-12.")
    limit = positive("most_bytes", most_bytes)
    least = n_pairs(n) * _LEAST_CELLS * CELL_SIZE * 8 * (1 + len(derivatives or {}))
    if least > limit:
        raise TableError(
            f"tables of {n_pairs(n)} pairs of types take {least} bytes at least: more than "
            f"most_bytes = {limit:.0f}. Take fewer types, or give more most_bytes."
        )
    pairs = _pairs(formulas, breaks, sizes, first, derivatives or {})

    cells, reached = _refine(pairs, goal, limit, 1 + len(derivatives or {}))
    places = pair_places(n)
    stiff = (
        np.array([pair.stiffness for pair in pairs])
        if stiffness is None
        else _of_pairs("stiffness", stiffness, len(pairs))
    )
    meet = np.array([pair.interacts for pair in pairs])

    def spread(values: Sequence[Any] | Floats) -> Floats:
        return np.asarray(values, dtype=np.float64)[places]

    return PairTable(
        potential=potential,
        parameters=kept,
        r_cut=spread([pair.r_cut for pair in pairs]),
        r_first=spread([math.sqrt(pair.first) if pair.interacts else 0.0 for pair in pairs]),
        stiffness=spread(np.where(meet, stiff, 0.0)),
        attracts=spread([pair.attracts for pair in pairs]) > 0,
        coefficients=cells.coefficients[places],
        cells=cells.cells[0],
        bits=cells.bits,
        tolerance=goal,
        energy_error=reached[0],
        force_error=reached[1],
        derivatives=dict(zip(derivatives or {}, cells.cells[1:], strict=True)),
    )


def _parameters(given: Mapping[str, ArrayLike] | None) -> dict[str, Floats]:
    if given is None:
        return {}
    check_kind("parameters", given, Mapping, "a dict of arrays by name")
    return {
        name: real_numbers(f"parameter {name!r}", values).reshape(-1)
        for name, values in given.items()
        if name != "diameters"
    }


def _of_pairs(name: str, values: ArrayLike, count: int) -> Floats:
    given = real_numbers(name, values)
    out = np.full(count, given) if given.ndim == 0 else given
    if out.shape != (count,):
        raise InputError(
            f"{name} has shape {given.shape}: it must be one number, or {count}, one for each pair "
            "of types."
        )
    if not (np.isfinite(out) & (out > 0)).all():
        raise InputError(f"{name} = {out.tolist()}: it must be finite and greater than 0.")
    return out


class _Pair:
    """A pair of types: its formulas, of which the first is u, and its range in s = r²."""

    def __init__(
        self, name: str, formulas: list[Formula], breaks: Floats, sigma: float, first: float | None
    ) -> None:
        self.name, self.formulas = name, formulas
        self.r_cut = float(breaks[-1]) if breaks.size else 0.0
        self.interacts = self.r_cut > 0
        self.first = 0.0
        self.stiffness, self.attracts = 0.0, False
        self.breaks = np.empty(0)
        if not self.interacts:
            return
        self.length = min(sigma, self.r_cut)
        self._look(breaks, first)
        self.breaks = (breaks * breaks)[breaks * breaks > self.first]
        self.edges = np.concatenate([[self.first], self.breaks])

    def formula(self, r: Floats, which: int = 0) -> list[Floats]:
        """u, u', u'' of one of the formulas, checked.

        It is asked for powers of two of distances, as formulas in JAX are compiled for each number.
        """
        number = max(_LEAST_ASKED, 1 << (r.size - 1).bit_length())
        asked = np.concatenate([r, np.full(number - r.size, r[-1])])
        values = self.formulas[which](asked)
        if not isinstance(values, (tuple, list)) or len(values) != 3:
            raise InputError(
                f"the formula of the {self.name} gives {described(values)}: it must give three "
                "arrays, u, u' and u''."
            )
        out = []
        for what, value in zip(("u", "u'", "u''"), values, strict=True):
            array = real_numbers(f"{what} of the {self.name}", value)
            if array.shape != asked.shape:
                raise InputError(
                    f"{what} of the {self.name} has shape {array.shape} for distances of shape "
                    f"{asked.shape}: it must have the same."
                )
            out.append(array[: r.size])
        return out

    def _at(self, r: Floats, which: int = 0) -> list[Floats]:
        out = self.formula(r, which)
        for what, array in zip(("u", "u'", "u''"), out, strict=True):
            if not np.isfinite(array).all():
                k = int(np.argmin(np.isfinite(array)))
                raise NotFiniteError(
                    f"{what} of the {self.name} is {array[k]} at r = {r[k]!r}. If that lies below "
                    "the distances that matter, give a larger first."
                )
        return out

    def _look(self, breaks: Floats, first: float | None) -> None:
        """Choose where tabulation begins, and look at what is beyond."""
        between = np.unique(np.concatenate([[self.length / 4], breaks, [self.length]]))
        between = between[between >= self.length / 4]
        r = np.unique(
            np.concatenate(
                [
                    a + (b - a) * np.linspace(1e-9, 1 - 1e-9, 200)
                    for a, b in itertools.pairwise(between.tolist())
                ]
            )
        )
        u, slope, curvature = self._at(r)
        self.attracts = bool((slope > 0).any())
        inside = self.length
        if self.attracts:
            inside = float(r[int(np.argmin(u))])
        outer = r >= min(0.95 * inside, 0.95 * self.r_cut)
        scale = float(np.abs(u[outer]).max())
        soft = self._choose_first(first, scale)
        if soft:
            outer = r >= 0.5 * inside
        self.stiffness = float(np.abs(curvature[outer]).max())

    def _choose_first(self, first: float | None, scale: float) -> bool:
        """Set s at which tabulation begins, a power of two; say whether the formula is soft."""

        def power(r: float) -> int:
            return math.frexp(r * r)[1] - 1

        most = power(self.length * _FARTHEST_FIRST if first is None else first)
        least = power(self.length * _NEAREST_FIRST) if first is None else most
        squares = 2.0 ** np.arange(most, least - 1, -1)
        if squares[0] >= self.r_cut**2:
            raise InputError(
                f"first = {first!r} of the {self.name}: it must be less than the cutoff, "
                f"{self.r_cut}."
            )
        u, slope, curvature = self.formula(np.sqrt(squares))
        good = np.isfinite(u) & np.isfinite(slope) & np.isfinite(curvature) & (slope <= 0)
        # A parabola in s with its top at the first distance would attract below it.
        good &= (slope < 0) | (curvature == 0)
        if not good[0]:
            raise InputError(
                f"the {self.name} has u' = {slope[0]} at r = {math.sqrt(squares[0])}, where "
                "tabulation begins: a soft wall can continue repulsion alone. Give as first a "
                "distance at which it repels."
            )
        hard = good & (scale > 0) & (u >= _HARD * scale)
        last = (
            int(np.argmax(hard))
            if hard.any()
            else int(good.size if good.all() else np.argmin(good)) - 1
        )
        self.first = float(squares[last])
        return not hard.any()

    def in_squares(self, s: Floats, segment: NDArray[np.int64], which: int) -> list[Floats]:
        """u, du/ds, d²u/ds² at s, from within the given segments between breaks."""
        low, high = np.sqrt(self.edges[segment]), np.sqrt(self.edges[segment + 1])
        r = np.minimum(np.maximum(np.sqrt(s), low * (1 + 4e-16)), high * (1 - 4e-16))
        u, slope, curvature = self._at(r, which)
        return [u, slope / (2 * r), (curvature - slope / r) / (4 * r * r)]


def _pairs(
    formulas: Sequence[Formula],
    breaks: Sequence[ArrayLike],
    sizes: Floats,
    first: ArrayLike | None,
    derivatives: Mapping[str, Sequence[Formula]],
) -> list[_Pair]:
    n = int(sizes.size)
    count = n_pairs(n)
    check_kind("derivatives", derivatives, Mapping, "a dict of formulas by name")
    for name, given in (
        ("formulas", formulas),
        ("breaks", breaks),
        *((f"derivatives[{name!r}]", own) for name, own in derivatives.items()),
    ):
        if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
            raise InputError(
                f"{name} is {described(given)}: it must be a list, with one for each pair of types."
            )
        if len(given) != count:
            raise InputError(
                f"{name} has {len(given)} entries: {n} types have {count} pairs, over "
                f"numpy.triu_indices({n})."
            )
        for p, formula in enumerate(given):
            if name != "breaks" and not callable(formula):
                raise InputError(f"{name}[{p}] is {described(formula)}: it must be a function.")
    firsts = [None] * count if first is None else _of_pairs("first", first, count).tolist()
    out = []
    for p, (i, j) in enumerate(zip(*np.triu_indices(n), strict=True)):
        name = f"pair of types ({i}, {j})"
        own = real_numbers(f"breaks of the {name}", breaks[p], "distances").reshape(-1)
        if not np.isfinite(own).all() or (own < 0).any() or (np.diff(own) <= 0).any():
            raise InputError(
                f"breaks of the {name} are {own.tolist()}: they must be finite and ascend, the "
                "last the cutoff."
            )
        if own.size > MOST_BREAKS:
            raise InputError(f"the {name} has {own.size} breaks: at most {MOST_BREAKS} can be.")
        of_pair = [formulas[p], *(other[p] for other in derivatives.values())]
        out.append(_Pair(name, of_pair, own, 0.5 * float(sizes[i] + sizes[j]), firsts[p]))
    return out


@dataclass
class _Laid:
    """Cells of all pairs: coefficients (n_pairs, 2 + n_breaks), and cells of each formula."""

    bits: int
    coefficients: Floats
    cells: Floats  # (formulas, n_cells, 8)


@dataclass
class _Pieces:
    """The pieces of a pair between its breaks and the borders of its cells, ascending."""

    low: Floats
    high: Floats
    segment: NDArray[np.int64]
    start: Floats  # of the cell
    place: NDArray[np.int64]  # among the pair's cells
    # What each one's polynomial is fitted to: itself, or itself and a neighbour.
    fit_low: Floats
    fit_high: Floats


def _pieces(pair: _Pair, bits: int) -> _Pieces:
    numbers = cell_number(pair.edges, bits)
    borders = cell_start(np.arange(numbers[0], numbers[-1] + 1), bits)
    marks = np.unique(np.concatenate([borders, pair.edges]))
    marks = marks[(marks >= pair.edges[0]) & (marks <= pair.edges[-1])]
    low, high = marks[:-1], marks[1:]
    segment = np.searchsorted(pair.edges, low, side="right") - 1
    number = cell_number(low, bits)
    start = cell_start(number, bits)
    narrow = high - low < _NARROW * (cell_start(number + 1, bits) - start)
    fit_low, fit_high = low.copy(), high.copy()
    alone_below = np.concatenate([[True], segment[1:] != segment[:-1]])
    alone_above = np.concatenate([segment[1:] != segment[:-1], [True]])
    for k in np.flatnonzero(narrow):
        other = k + 1 if not alone_above[k] and alone_below[k] else k - 1
        if (other == k - 1 and alone_below[k]) or not 0 <= other < low.size:
            continue  # a segment of one piece
        a, b = min(fit_low[k], fit_low[other]), max(fit_high[k], fit_high[other])
        # Three pieces may be one: two narrow ones and what is between.
        same = (low >= a) & (high <= b)
        fit_low[same], fit_high[same] = a, b
    return _Pieces(low, high, segment, start, number - numbers[0] + segment + 1, fit_low, fit_high)


def _fit(pair: _Pair, pieces: _Pieces, which: int) -> Floats:
    """The cells' numbers (pieces, 8)."""
    low, width = pieces.fit_low, pieces.fit_high - pieces.fit_low
    at = [low, low + 0.5 * width, pieces.fit_high]
    ends = [pair.in_squares(s, pieces.segment, which) for s in at]
    # Of u only differences count: its own size would cost digits where it hardly changes.
    u = ends[0][0]
    parts = [ends[0][1] * width, ends[0][2] * width**2]
    parts += [ends[1][0] - u, ends[1][1] * width]
    parts += [ends[2][0] - u, ends[2][1] * width, ends[2][2] * width**2]
    given = np.stack([np.zeros_like(u), *parts], axis=-1)
    c = given @ _HERMITE.T
    c[:, 0] = u
    c /= width[:, None] ** np.arange(8)
    # From the fit's beginning to the cell's.
    by = pieces.start - low
    for k in range(7):
        for q in range(6, k - 1, -1):
            c[:, q] += by * c[:, q + 1]
    return np.concatenate([-2.0 * np.arange(1, 8) * c[:, 1:], c[:, :1]], axis=1)


def _wall(pair: _Pair, bits: int, which: int) -> Floats:
    """The cell that reaches down to r = 0."""
    first = np.array([pair.first])
    start = cell_start(cell_number(first, bits) - 1, bits)
    u, a, b = (float(x[0]) for x in pair.in_squares(first, np.zeros(1, dtype=np.int64), which))
    # du/ds = a + b y + q y², y = s - first
    q = b * b / (2 * a) if which == 0 and a != 0 else 0.0
    y = float(start[0]) - pair.first
    cell = np.zeros(CELL_SIZE)
    cell[:3] = [-2 * (a + b * y + q * y * y), -2 * (b + 2 * q * y), -2 * q]
    cell[7] = u + y * (a + y * (b / 2 + y * q / 3))
    return cell


def _n_cells(pairs: list[_Pair], bits: int) -> int:
    most = max(pair.breaks.size for pair in pairs)
    total = most
    for pair in pairs:
        if pair.interacts:
            numbers = cell_number(pair.edges[[0, -1]], bits)
            total += int(numbers[1] - numbers[0]) + pair.breaks.size + 2
    return max(total, 1)


def _lay_out(pairs: list[_Pair], bits: int, formulas: int) -> tuple[_Laid, list[_Pieces | None]]:
    most = max(1, max(pair.breaks.size for pair in pairs))
    coefficients = np.zeros((len(pairs), 2 + most))
    cells = np.zeros((formulas, _n_cells(pairs, bits), CELL_SIZE))
    # The first cell is empty; a pair's own begin as many before as it has breaks less than others.
    place = most
    laid: list[_Pieces | None] = []
    for p, pair in enumerate(pairs):
        if not pair.interacts:
            laid.append(None)
            continue
        pieces = _pieces(pair, bits)
        first = cell_number(pair.edges[:1], bits)
        missing = most - pair.breaks.size
        coefficients[p, 0] = place - missing
        coefficients[p, 1] = cell_start(first - 1, bits)[0]
        coefficients[p, 2 + missing :] = pair.breaks
        for which in range(formulas):
            cells[which, place] = _wall(pair, bits, which)
            cells[which, place + pieces.place] = _fit(pair, pieces, which)
        place += int(cell_number(pair.edges[-1:], bits)[0] - first[0]) + pair.breaks.size + 2
        laid.append(pieces)
    return _Laid(bits, coefficients, cells), laid


def _errors(
    pair: _Pair, pieces: _Pieces, laid: _Laid, place: int, which: int
) -> tuple[float, float]:
    """The largest relative errors of u and of u' in the pieces."""
    s = pieces.low[:, None] + (pieces.high - pieces.low)[:, None] * _PROBES
    segment = np.repeat(pieces.segment, _PROBES.size)
    u, slope, curvature = (x.reshape(s.shape) for x in pair.in_squares(s.ravel(), segment, which))
    line = laid.cells[which, place + pieces.place][:, None, :]
    t = s - pieces.start[:, None]
    g, integral = np.zeros(s.shape), np.zeros(s.shape)
    for k in range(6, -1, -1):
        g = g * t + line[..., k]
        integral = integral * t + line[..., k] / (k + 1)
    r = np.sqrt(s)
    # u' = 2 r du/ds, u'' = 2 du/ds + 4 s d²u/ds²
    energy_error = np.abs(line[..., 7] - 0.5 * t * integral - u)
    force_error = r * np.abs(g + 2 * slope)
    energies = np.maximum(np.abs(u), 2 * s * np.abs(slope))
    forces = np.maximum(2 * r * np.abs(slope), r * np.abs(2 * slope + 4 * s * curvature))
    outside = pieces.high > min(pair.length, 0.95 * pair.r_cut) ** 2
    worst = []
    for error, scale in ((energy_error, energies), (force_error, forces)):
        of_cell = scale.max(axis=1)
        of_cell = np.maximum(of_cell, _FLOOR * of_cell[outside].max(initial=0.0))
        # Where there is nothing, nothing must be.
        relative = error.max(axis=1) / np.where(of_cell > 0, of_cell, np.finfo(np.float64).tiny)
        worst.append(float(relative.max()))
    return worst[0], worst[1]


def _refine(
    pairs: list[_Pair], goal: float, limit: float, formulas: int
) -> tuple[_Laid, tuple[float, float]]:
    reached = best = (math.inf, math.inf)
    best_bits, where = 0, ""
    for bits in range(_LEAST_BITS, MOST_BITS + 1):
        size = _n_cells(pairs, bits) * CELL_SIZE * 8 * formulas
        if size > limit:
            why = (
                f"the coarsest takes {size} bytes"
                if bits == _LEAST_BITS
                else f"with less, the relative errors of u and u' are {reached[0]:.1e} and "
                f"{reached[1]:.1e}, the largest that of the {where}"
            )
            raise TableError(
                f"a table with relative errors of {goal:.1e} takes more than most_bytes = "
                f"{limit:.0f}: {why}. Name all distances at which u'' jumps as breaks; or give a "
                "larger tolerance, a larger first or more most_bytes."
            )
        laid, all_pieces = _lay_out(pairs, bits, formulas)
        worst, energy, force = 0.0, 0.0, 0.0
        for p, (pair, pieces) in enumerate(zip(pairs, all_pieces, strict=True)):
            if pieces is None:
                continue
            missing = laid.coefficients.shape[1] - 2 - pair.breaks.size
            place = int(laid.coefficients[p, 0]) + missing
            for which in range(formulas):
                errors = _errors(pair, pieces, laid, place, which)
                energy, force = max(energy, errors[0]), max(force, errors[1])
                if max(errors) > worst:
                    worst, where = max(errors), pair.name
        reached = (energy, force)
        if worst <= goal:
            return laid, reached
        if worst < max(best):
            best, best_bits = reached, bits
        elif bits >= best_bits + 3:
            break  # round-off, which narrower cells make worse
    raise TableError(
        f"no table of the {where} has relative errors of {goal:.1e}: at best they are "
        f"{best[0]:.1e} of u and {best[1]:.1e} of u'. Name all distances at which u'' jumps as "
        "breaks, compute u, u' and u'' to all digits, or give a larger tolerance."
    )
