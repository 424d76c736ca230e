"""The registry of pair potentials: their classes by the names that files and tables have.

A class stands here as soon as it is defined. One that is defined again, as in a notebook's cell
that is run twice, takes the place of the first; another one of the same name is refused.
"""

import difflib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from amorph.handover import POTENTIALS, InputError, UnknownPotentialError
from amorph.handover.arguments import described

if TYPE_CHECKING:
    from .potentials import PairPotential

__all__ = ["POTENTIAL_CLASSES", "from_arrays", "potential_class", "register_potential"]

POTENTIAL_CLASSES: "dict[str, type[PairPotential]]" = {}
"""All pair potentials by name, those of users' own too."""


def register_potential(new: "type[PairPotential]") -> None:
    """Put a class of potentials into the registry; raises `InputError` as `check_free` does."""
    check_free(new)
    POTENTIAL_CLASSES[new.potential] = new


def check_free(new: "type[PairPotential]") -> None:
    """Raise `InputError` for a class whose name another one has."""
    there = POTENTIAL_CLASSES.get(new.potential)
    if there is not None and origin(there) != origin(new):
        raise InputError(
            f"there is a potential {new.potential!r} already, {there.__module__}."
            f"{there.__qualname__}: give {new.__name__} another name, potential = '...'."
        )


def origin(thing: Any) -> tuple[str, str]:
    """Where a class or a function was defined, by which it is known again: its file and its name.

    Of what was defined in no file, as in a notebook's cell, the module's name stands for it.
    """
    file = getattr(sys.modules.get(thing.__module__), "__file__", None)
    return str(Path(file).resolve()) if file else thing.__module__, thing.__qualname__


def potential_class(potential: str) -> "type[PairPotential]":
    """The class of a name; raises `UnknownPotentialError`, which names the nearest one."""
    if isinstance(potential, str) and potential in POTENTIAL_CLASSES:
        return POTENTIAL_CLASSES[potential]
    near = difflib.get_close_matches(str(potential), POTENTIAL_CLASSES, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    raise UnknownPotentialError(
        f"unknown potential {described(potential)}{hint} Known: {', '.join(POTENTIAL_CLASSES)}. "
        "One of your own is known once its module is imported: in Python import it first, on the "
        "command line give --plugin FILE, in a campaign plugins = ['FILE']."
    )


def from_arrays(potential: str, arrays: Mapping[str, ArrayLike]) -> "PairPotential":
    """The potential of a name with the given parameters, as a GSD file or a TOML table has them.

    Raises `UnknownPotentialError` or `InputError`.
    """
    kind = potential_class(potential)
    if not isinstance(arrays, Mapping):
        raise InputError(
            f"arrays is {described(arrays)}: it must be a dict of arrays by parameter, as "
            "theta.arrays() gives it."
        )
    given = dict(arrays)
    if potential not in POTENTIALS and "sigma" in given:
        given.pop("diameters", None)  # files have them beside sigma: its diagonal
    return kind(**given)
