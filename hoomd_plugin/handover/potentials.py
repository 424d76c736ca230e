"""The potentials and the names, order and bounds of their parameters, from ``potentials.json``.

Parameters of a type are vectors over the types; parameters of a pair of types are vectors over
``numpy.triu_indices(n_types)``: AA, AB, ..., BB, BC, ... All are in reduced units.
"""

import difflib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arguments import check_kind, count, described, real_numbers
from .errors import InputError, UnknownPotentialError

__all__ = [
    "FOUR_TERM_ONSET",
    "MANIFEST",
    "MORSE_SWITCH",
    "POTENTIALS",
    "Parameter",
    "attracts",
    "check_declared",
    "check_foreign_parameters",
    "check_parameters",
    "check_potential",
    "component_names",
    "matrix_to_pairs",
    "n_pairs",
    "n_types",
    "own_cutoffs",
    "pair_places",
    "pairs_to_matrix",
    "type_names",
]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a potential: its name, whether it is per pair of types, and its bounds.

    Values lie from ``low`` to ``high``, both included; 0 where it is the lower bound only if
    ``zero_allowed``.
    """

    name: str
    per_pair: bool = True
    zero_allowed: bool = False
    low: float = 0.0
    high: float = math.inf

    def allows(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of some values are finite and within the bounds."""
        within = np.isfinite(values) & (values >= self.low) & (values <= self.high)
        return within if self.zero_allowed or self.low != 0 else within & (values != 0)

    @property
    def bounds(self) -> str:
        """What a value must be, in words."""
        if self.low == 0:
            lowest = "at least 0" if self.zero_allowed else "greater than 0"
        else:
            lowest = "" if self.low == -math.inf else f"at least {self.low:g}"
        highest = "" if self.high == math.inf else f"at most {self.high:g}"
        return " and ".join(part for part in ("finite", lowest, highest) if part)


def _listed() -> Mapping[str, Mapping[str, Any]]:
    text = Path(__file__).with_name("potentials.json").read_text(encoding="utf-8")
    return MappingProxyType({own["name"]: own for own in json.loads(text)["potentials"]})


MANIFEST: Mapping[str, Mapping[str, Any]] = _listed()
"""What ``potentials.json`` says of each potential."""

POTENTIALS: Mapping[str, tuple[Parameter, ...]] = MappingProxyType(
    {
        name: (
            Parameter("diameters", per_pair=False),
            *(
                Parameter(p["name"], per_pair=True, zero_allowed=p.get("zero", False))
                for p in own["parameters"]
            ),
        )
        for name, own in MANIFEST.items()
    }
)
"""The parameters of each potential, in the order in which they are written and listed."""

MORSE_SWITCH: tuple[float, float] = (
    MANIFEST["morse"]["r_on"]["over"]["alpha"],
    MANIFEST["morse"]["r_cut"]["over"]["alpha"],
)
"""Where the XPLOR switch of a Morse well begins and ends: a (r_on - σ), a (r_cut - σ)."""

FOUR_TERM_ONSET: float = MANIFEST["four_term"]["r_on"]["times"]["r_cut"]
"""Where that of the potential of four terms begins: r_on / r_cut."""


def own_cutoffs(
    potential: str, sigma: NDArray[np.float64], pairs: Mapping[str, NDArray[np.float64]]
) -> tuple[str, NDArray[np.float64], NDArray[np.float64]]:
    """HOOMD's mode of a potential, and the r_on and r_cut, (n_pairs,), that its parameters give it.

    ``sigma`` (n_pairs,) are the means of two diameters, ``pairs`` the parameters over pairs of
    types. Without a switch r_on is r_cut. Raises `UnknownPotentialError` for another potential.
    """
    own = MANIFEST[check_potential(potential)]
    r_cut = _distance(own["r_cut"], sigma, pairs)
    if "r_on" not in own:
        return "none", r_cut, r_cut
    return "xplor", _distance(own["r_on"], sigma, pairs), r_cut


def _distance(
    form: Mapping[str, Any],
    sigma: NDArray[np.float64],
    pairs: Mapping[str, NDArray[np.float64]],
) -> NDArray[np.float64]:
    out = form.get("sigma", 0.0) * sigma
    for name, number in form.get("over", {}).items():
        out = out + number / pairs[name]
    for name, number in form.get("times", {}).items():
        out = out + number * pairs[name]
    return out


def attracts(potential: str, parameters: Mapping[str, NDArray[np.float64]]) -> bool:
    """Whether a potential with these parameters attracts at any distance."""
    how = MANIFEST[check_potential(potential)]["attracts"]
    return how == "always" or (how != "never" and bool(parameters[how].any()))


def _nearest(word: str, words: Mapping[str, object] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean '{close[0]}'?" if close else "."


def check_potential(potential: str) -> str:
    """Return the name of a potential if Amorph has it; raises `UnknownPotentialError` if not."""
    if not isinstance(potential, str) or potential not in POTENTIALS:
        raise UnknownPotentialError(
            f"unknown potential {described(potential)}{_nearest(str(potential), POTENTIALS)} "
            f"Known: {', '.join(POTENTIALS)}."
        )
    return potential


def n_pairs(n_types: int) -> int:
    """The number of unordered pairs of types, a type with itself included: n (n + 1) / 2."""
    count("n_types", n_types)
    return n_types * (n_types + 1) // 2


def type_names(n_types: int) -> tuple[str, ...]:
    """Names of types as we write them: A, B, ..., Z, then A1, B1, ..."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return tuple(letters[t % 26] + (str(t // 26) if t >= 26 else "") for t in range(n_types))


def component_names(potential: str, parameter: str, types: Sequence[str]) -> list[str]:
    """What a parameter's components belong to: types (A, B), or pairs of them (AA, AB, BB).

    Names of more than one letter are joined by a hyphen (A1-B1). Raises `UnknownPotentialError`, or
    `InputError` for a parameter that the potential lacks.
    """
    return names_of_components(potential, POTENTIALS[check_potential(potential)], parameter, types)


def names_of_components(
    potential: str, parameters: Sequence[Parameter], parameter: str, types: Sequence[str]
) -> list[str]:
    """The same of a potential by what its parameters are declared to be; raises `InputError`."""
    known = {p.name: p.per_pair for p in parameters}
    if parameter not in known:
        raise InputError(
            f"{potential} has no parameter {described(parameter)}: it has {', '.join(known)}."
        )
    if not known[parameter]:
        return list(types)
    between = "" if all(len(name) == 1 for name in types) else "-"
    return [f"{a}{between}{b}" for k, a in enumerate(types) for b in types[k:]]


def n_types(arrays: Mapping[str, ArrayLike]) -> int:
    """The number of types that a potential's arrays describe: the length of ``diameters``.

    Raises `InputError` if ``diameters`` is missing, empty or not a vector.
    """
    check_kind("arrays", arrays, Mapping, "a dict of arrays by parameter")
    if "diameters" not in arrays:
        raise InputError("parameter 'diameters' is missing: give one diameter for each type.")
    diameters = np.asarray(arrays["diameters"])
    if diameters.ndim != 1 or diameters.size == 0:
        raise InputError(
            f"parameter 'diameters' has shape {diameters.shape}: give a vector, "
            "one diameter for each type."
        )
    return int(diameters.size)


@cache
def pair_places(n: int) -> NDArray[np.int32]:
    """Where a pair of n types stands in ``numpy.triu_indices(n)``, (n, n), not to be written to."""
    places = np.zeros((n, n), dtype=np.int32)
    places[np.triu_indices(n)] = np.arange(n * (n + 1) // 2)
    places = np.maximum(places, places.T)
    places.flags.writeable = False
    return places


def pairs_to_matrix(vector: ArrayLike, n_types: int) -> NDArray[np.float64]:
    """Spread a pair vector (n_pairs,) into a symmetric matrix (n_types, n_types), bit for bit.

    Raises `InputError` if the vector's length is not ``n_pairs(n_types)``.
    """
    values = real_numbers("a pair vector", vector)
    if values.shape != (n_pairs(n_types),):
        raise InputError(
            f"a pair vector has shape {values.shape}, but {n_types} types have "
            f"{n_pairs(n_types)} pairs (over numpy.triu_indices({n_types}))."
        )
    return values[pair_places(n_types)]


def matrix_to_pairs(matrix: ArrayLike) -> NDArray[np.float64]:
    """The pair vector (n_pairs,) of a symmetric matrix (n_types, n_types), bit for bit.

    Raises `InputError` if the matrix is not square or not exactly symmetric: which half was meant
    cannot be known.
    """
    values = real_numbers("a matrix over pairs of types", matrix)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or values.size == 0:
        raise InputError(
            f"a matrix over pairs of types has shape {values.shape}: it must be square."
        )
    # A pair of NaN is symmetric here: that a value is not finite is reported as such, later.
    unequal = np.argwhere(~((values == values.T) | (np.isnan(values) & np.isnan(values.T))))
    if unequal.size:
        i, j = (int(k) for k in unequal[0])
        raise InputError(
            f"a matrix over pairs of types is not symmetric: [{i}, {j}] = {float(values[i, j])!r} "
            f"but [{j}, {i}] = {float(values[j, i])!r}. Make both equal."
        )
    return values[np.triu_indices(values.shape[0])]


def check_parameters(
    potential: str, arrays: Mapping[str, ArrayLike]
) -> dict[str, NDArray[np.float64]]:
    """Check a potential's parameters and return them as new contiguous float64 vectors.

    Parameters
    ----------
    potential:
        A name in `POTENTIALS`.
    arrays:
        ``diameters`` (n_types,), in units of length, > 0; and over pairs of types, each (n_pairs,)
        or a scalar for all pairs: ``stiffness`` > 0 (energy / length², for
        ``harmonic_morse_reduced`` and ``soft_sphere`` energy); for the two harmonic-Morse forms
        also, and for ``morse`` instead, ``binding`` >= 0 (energy) and ``alpha`` > 0 (1 / length);
        for ``four_term`` ``b0`` > 0, ``a0``, ``a1``, ``a2``, ``b1``, ``b2``, ``a3`` >= 0 and
        ``r_cut`` > 0 (length): see `amorph.bridge.FourTerm`.

    Raises
    ------
    UnknownPotentialError
        If there is no such potential.
    InputError
        If a parameter is missing, unknown, of wrong length, not finite or out of bounds; the
        message names it and its value.
    """
    check_potential(potential)
    check_kind("arrays", arrays, Mapping, "a dict of arrays by parameter")
    return check_declared(potential, POTENTIALS[potential], arrays)


def check_declared(
    potential: str,
    parameters: Sequence[Parameter],
    arrays: Mapping[str, ArrayLike],
    n_types_of: Callable[[Mapping[str, ArrayLike]], int] = n_types,
) -> dict[str, NDArray[np.float64]]:
    """The same of a potential by what its parameters are declared to be.

    ``n_types_of`` gives the number of types that arrays describe. Raises `InputError`.
    """
    known = tuple(parameter.name for parameter in parameters)
    for name in arrays:
        if name not in known:
            raise InputError(
                f"{potential} has no parameter {name!r}{_nearest(str(name), known)} "
                f"Its parameters: {', '.join(known)}."
            )
    for name in known:
        if name not in arrays:
            raise InputError(
                f"{potential}: parameter '{name}' is missing. Its parameters: {', '.join(known)}."
            )
    types = n_types_of(arrays)
    return {
        parameter.name: _checked(potential, parameter, arrays[parameter.name], types)
        for parameter in parameters
    }


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
# What stands beside potentials under the same prefix of a frame's log.
_TAKEN = ("springs", "potential")


def check_foreign_parameters(
    potential: str, arrays: Mapping[str, ArrayLike]
) -> dict[str, NDArray[np.float64]]:
    """Check the parameters of a potential that is not Amorph's own; return float64 vectors.

    Which there are, and in which bounds, its owner knows. Each has a length: that of ``diameters``,
    n_types, for one value a type; that of ``numpy.triu_indices(n_types)`` for one a pair of types;
    1 for one in all.

    Raises `InputError` for names that cannot be written to a file, and for values that are missing,
    not finite, or of another length.
    """
    if not isinstance(potential, str) or not _NAME.fullmatch(potential) or potential in _TAKEN:
        raise InputError(
            f"the potential's name is {described(potential)}: it must be a letter and up to 63 "
            f"letters, digits and underscores, and not {' or '.join(_TAKEN)}."
        )
    check_kind("arrays", arrays, Mapping, "a dict of arrays by parameter")
    types = n_types(arrays)
    out = {}
    for name, values in arrays.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError(
                f"{potential}: a parameter's name is {described(name)}: it must be a letter and up "
                "to 63 letters, digits and underscores."
            )
        given = real_numbers(f"{potential}: parameter '{name}'", values).reshape(-1)
        lengths = {types: "types", n_pairs(types): "pairs of types", 1: "in all"}
        if given.size not in lengths or (name == "diameters" and given.size != types):
            told = ", ".join(f"{length} ({what})" for length, what in lengths.items())
            raise InputError(
                f"{potential}: parameter '{name}' has length {given.size}: it must be one of "
                f"{told}."
            )
        good = np.isfinite(given) & ((given > 0) | (name != "diameters"))
        if not good.all():
            i = int(np.argmin(good))
            bound = "finite and greater than 0" if name == "diameters" else "finite"
            raise InputError(
                f"{potential}: parameter '{name}', element {i} is {float(given[i])!r}: it must be "
                f"{bound}."
            )
        out[name] = given
    return out


def _checked(
    potential: str, parameter: Parameter, values: ArrayLike, types: int
) -> NDArray[np.float64]:
    where = f"{potential}: parameter '{parameter.name}'"
    given = real_numbers(where, values)
    length = n_pairs(types) if parameter.per_pair else types
    if parameter.per_pair and given.ndim == 0:
        given = np.full(length, given)
    if given.shape != (length,):
        what = "pairs of types, over numpy.triu_indices" if parameter.per_pair else "types"
        raise InputError(
            f"{where} has shape {given.shape}: it must have length {length} (there are "
            f"{types} types, so {length} {what})."
        )
    bad = ~parameter.allows(given)
    if bad.any():
        i = int(np.argmax(bad))
        raise InputError(
            f"{where}, element {i} is {float(given[i])!r}: it must be {parameter.bounds}."
        )
    return given
