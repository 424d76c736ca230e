"""A pair potential as a table: what the engine and the HOOMD-blue component take of any formula.

A table is made by `build_table`. How it is laid out, and why, stands in
``hoomd_plugin/potentials/table.h``: cells over the squared distance s = r², which the upper bits of
s as a floating-point number count, each with the polynomial of -u'(r)/r in s and with the energy at
its beginning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arguments import check_kind, count, described, real_numbers, whole_numbers
from .errors import InputError
from .potentials import POTENTIALS, check_foreign_parameters, check_parameters
from .showing import parameters_shown, shown, spread_shown

__all__ = [
    "CELL_SIZE",
    "MOST_BITS",
    "MOST_BREAKS",
    "PairTable",
    "cell_number",
    "cell_start",
    "checked_parameters",
]

CELL_SIZE = 8
"""Numbers of a cell: seven of -u'(r)/r, and the energy."""

MOST_BREAKS = 8
"""The most distances at which u'' of a pair of types may jump, its cutoff included."""

MOST_BITS = 16
"""An octave of s has 2**bits cells, at most so many bits."""

Floats = NDArray[np.float64]


def cell_number(squares: Floats, bits: int) -> NDArray[np.int64]:
    """The numbers of the cells that squared distances lie in, counted from 0."""
    return np.ascontiguousarray(squares).view(np.int64) >> (52 - bits)


def cell_start(numbers: NDArray[np.int64], bits: int) -> Floats:
    """Where cells begin, by their numbers: the inverse of `cell_number`."""
    return (np.asarray(numbers, dtype=np.int64) << (52 - bits)).view(np.float64)


@dataclass(frozen=True, eq=False)
class PairTable:
    """A pair potential as piecewise polynomials of the squared distance, for every pair of types.

    Between two breaks u is twice continuously differentiable, and the force is that of the energy,
    its slope that of the force, to round-off. Beyond the cutoff u = u' = 0. Below `r_first` a wall
    continues the formula: du/ds = a (1 + x + x²/2) with x = b (s - s_first) / a, where a < 0 and b
    are the formula's du/ds and d²u/ds² at s_first = r_first². It repels at all distances, and
    energy and force are finite at r = 0.

    `amorph.ensemble` takes it wherever it takes a potential. All values are in reduced units.

    Attributes
    ----------
    potential:
        The formula's name.
    parameters:
        The formula's parameters, for the record: ``diameters`` (n_types,), and others of length
        n_types, of the length of ``numpy.triu_indices(n_types)``, or of length 1.
    r_cut, r_first:
        (n_types, n_types): the cutoffs, and the distances at which tabulation begins; both 0 for
        pairs of types that do not interact.
    stiffness, attracts:
        (n_types, n_types): the u'' that time steps are measured by, and whether a pair attracts.
    coefficients:
        (n_types, n_types, 2 + n_breaks): the place of the pair's first cell, less the breaks below
        it; where that begins in s; and the squares of the breaks, ascending.
    cells:
        (n_cells, 8): -u'(r)/r is the polynomial of the first seven in s - (the cell's beginning),
        the last is u at its beginning.
    bits:
        An octave of s has 2**bits cells.
    tolerance, energy_error, force_error:
        The relative error asked for, and those reached: of u relative to the largest of \\|u\\| and
        r \\|u'\\|, of u' relative to the largest of \\|u'\\| and r \\|u''\\|, in the same cell (see
        `build_table`).
    derivatives:
        Cells as `cells`, by name: of derivatives of u with respect to what they are named for.
    """

    potential: str
    parameters: Mapping[str, Floats]
    r_cut: Floats
    r_first: Floats
    stiffness: Floats
    attracts: NDArray[np.bool_]
    coefficients: Floats
    cells: Floats
    bits: int
    tolerance: float
    energy_error: float
    force_error: float
    derivatives: Mapping[str, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("parameters", _frozen(checked_parameters(self.potential, self.parameters)))
        n = self.n_types
        for name in ("r_cut", "r_first", "stiffness"):
            put(name, _matrix(name, getattr(self, name), n))
        put("attracts", np.array(self.attracts, dtype=bool))
        if self.attracts.shape != (n, n):
            raise InputError(f"attracts has shape {self.attracts.shape}: it must be {(n, n)}.")
        put("coefficients", real_numbers("coefficients", self.coefficients))
        put("cells", _cells("cells", self.cells, None))
        check_kind("derivatives", self.derivatives, Mapping, "a dict of cells by name")
        put(
            "derivatives",
            {
                k: _cells(f"derivatives[{k!r}]", v, len(self.cells))
                for k, v in self.derivatives.items()
            },
        )
        if not isinstance(self.bits, (int, np.integer)) or not 0 <= self.bits <= MOST_BITS:
            raise InputError(f"bits = {described(self.bits)}: it must be from 0 to {MOST_BITS}.")
        self._check_places()
        for name in ("attracts", "coefficients"):
            getattr(self, name).flags.writeable = False

    def _check_places(self) -> None:
        n, shape = self.n_types, self.coefficients.shape
        if len(shape) != 3 or shape[:2] != (n, n) or not 3 <= shape[2] <= 2 + MOST_BREAKS:
            raise InputError(
                f"coefficients have shape {shape}: they must be ({n}, {n}, 3 to {2 + MOST_BREAKS})."
            )
        first, wall = self.coefficients[..., 0], self.coefficients[..., 1]
        breaks = self.coefficients[..., 2:]
        meet = breaks[..., -1] > 0
        inside = (first >= 0) & (first == np.round(first)) & (first < 2**31) & (wall > 0)
        inside &= (wall < breaks[..., -1]) & (np.diff(breaks, axis=-1) >= 0).all(axis=-1)
        with np.errstate(invalid="ignore"):
            span = cell_number(breaks[..., -1], self.bits) - cell_number(wall, self.bits)
            behind = first + span + breaks.shape[-1]
        wrong = np.argwhere(meet & ~(inside & (behind < len(self.cells))))
        if not np.isfinite(self.coefficients).all() or wrong.size:
            raise InputError(
                f"coefficients of the pair of types {tuple(wrong[0]) if wrong.size else '?'} reach "
                f"beyond the {len(self.cells)} cells: make the table by build_table."
            )
        if self.cells[0].any():
            raise InputError("the first cell must be empty: make the table by build_table.")

    def __repr__(self) -> str:
        return shown(
            f"PairTable of {self.potential}({parameters_shown(self.parameters)})",
            [
                ("types", str(self.n_types)),
                ("distances", f"{spread_shown(self.r_first)} up to {spread_shown(self.r_cut)}"),
                ("cells", f"{len(self.cells)}, {2**self.bits} an octave of r²"),
                ("memory", f"{self.n_bytes} bytes"),
                ("relative error of u", f"{self.energy_error:.1e}"),
                ("of u'", f"{self.force_error:.1e}"),
                ("derivatives", ", ".join(self.derivatives)),
            ],
        )

    @property
    def n_types(self) -> int:
        """The number of types."""
        return int(self.parameters["diameters"].size)

    @property
    def diameters(self) -> Floats:
        """Diameters (n_types,)."""
        return self.parameters["diameters"]

    @property
    def n_bytes(self) -> int:
        """Bytes of all cells, those of the derivatives included."""
        return self.cells.nbytes + sum(v.nbytes for v in self.derivatives.values())

    def arrays(self) -> dict[str, Floats]:
        """The formula's parameters by name."""
        return dict(self.parameters)

    def of_pair(self, type_i: int, type_j: int) -> tuple[Floats, Floats]:
        """A pair of types alone: its coefficients (2 + its breaks,) and cells (n_cells, 8).

        As `coefficients` and `cells`, with breaks of its own alone and places among its own cells,
        of which the first is empty. A pair that does not interact has one break at 0 and that cell.
        Raises `InputError` for a type that is not there.
        """
        for name, one in (("type_i", type_i), ("type_j", type_j)):
            count(name, one, least=0, below=self.n_types)
        c = self.coefficients[type_i, type_j]
        breaks = c[2:][c[2:] > 0]
        if breaks.size == 0:
            return np.zeros(3), np.zeros((1, CELL_SIZE))
        first = int(c[0]) + (c.size - 2 - breaks.size)
        numbers = cell_number(np.array([c[1], breaks[-1]]), self.bits)
        end = first + int(numbers[1] - numbers[0]) + breaks.size + 1
        cells = np.concatenate([np.zeros((1, CELL_SIZE)), self.cells[first:end]])
        return np.array([1.0, c[1], *breaks]), cells

    def evaluate(
        self, type_i: ArrayLike, type_j: ArrayLike, r: ArrayLike, *, derivative: str | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Energy u, u' and u'' of pairs of particles at distances r, as the engine computes them.

        Parameters
        ----------
        type_i, type_j:
            Types, from 0; any shapes that broadcast with r.
        r:
            Distances, at least 0.
        derivative:
            One of `derivatives`: the same of it in place of u.

        Returns
        -------
        u, slope, curvature:
            Of the broadcast shape. At r = 0 the slope is 0.

        Raises `InputError` for types or distances that cannot be.
        """
        if derivative is not None and derivative not in self.derivatives:
            raise InputError(
                f"derivative = {described(derivative)}: the table has "
                f"{', '.join(self.derivatives) or 'none'}."
            )
        i, j = whole_numbers("type_i", type_i), whole_numbers("type_j", type_j)
        for name, types in (("type_i", i), ("type_j", j)):
            if types.size and (types.min() < 0 or types.max() >= self.n_types):
                raise InputError(
                    f"{name} reaches from {types.min()} to {types.max()}: there are "
                    f"{self.n_types} types."
                )
        distances = real_numbers("r", r, "distances")
        if not (distances >= 0).all() or not np.isfinite(distances).all():
            raise InputError("r: distances must be finite and at least 0.")
        i, j, distances = np.broadcast_arrays(i, j, distances)
        s = distances * distances
        c = self.coefficients[i, j]
        breaks = c[..., 2:]
        kept = np.minimum(np.maximum(s, c[..., 1]), breaks[..., -1])
        number = cell_number(kept, self.bits)
        place = c[..., 0].astype(np.int64) + (s[..., None] >= breaks).sum(axis=-1)
        place += number - cell_number(c[..., 1], self.bits)
        cells = self.cells if derivative is None else self.derivatives[derivative]
        line = cells[np.where(breaks[..., -1] > 0, place, 0)]
        t = s - cell_start(number, self.bits)
        g = _horner(line[..., :7], t)
        slope = _horner(line[..., 1:7] * np.arange(1, 7), t)
        u = line[..., 7] - 0.5 * t * _horner(line[..., :7] / np.arange(1, 8), t)
        return u, -distances * g, -g - 2.0 * s * slope


def checked_parameters(potential: str, parameters: Mapping[str, ArrayLike]) -> dict[str, Floats]:
    """The parameters of a potential, be it Amorph's own or not; raises `InputError`."""
    check_kind("parameters", parameters, Mapping, "a dict of arrays by name")
    own = isinstance(potential, str) and potential in POTENTIALS
    return (check_parameters if own else check_foreign_parameters)(potential, parameters)


def _horner(c: Floats, t: Floats) -> Floats:
    out: Floats = c[..., -1]
    for k in range(c.shape[-1] - 2, -1, -1):
        out = out * t + c[..., k]
    return out


def _frozen(arrays: dict[str, Floats]) -> dict[str, Floats]:
    for values in arrays.values():
        values.flags.writeable = False
    return arrays


def _matrix(name: str, values: ArrayLike, n: int) -> Floats:
    matrix = real_numbers(name, values)
    if matrix.shape != (n, n) or not np.isfinite(matrix).all() or (matrix < 0).any():
        raise InputError(f"{name} must be {(n, n)} finite numbers, at least 0.")
    matrix.flags.writeable = False
    return matrix


def _cells(name: str, values: ArrayLike, number: int | None) -> Floats:
    cells = real_numbers(name, values)
    right = cells.ndim == 2 and cells.shape[1] == CELL_SIZE and len(cells) > 0
    if not right or (number is not None and len(cells) != number):
        raise InputError(
            f"{name} has shape {cells.shape}: it must be ({number or 'n_cells'}, {CELL_SIZE})."
        )
    if not np.isfinite(cells).all():
        raise InputError(f"{name} holds what is not finite.")
    cells.flags.writeable = False
    return cells
