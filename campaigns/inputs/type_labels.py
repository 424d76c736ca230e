"""The types of a text file's particles: by number, by name, never by guess."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from amorph.handover import UnknownTypeError, type_names

from .text_frames import TextFrame

__all__ = ["deduced_names", "typeid_of", "unknown_name"]

# Element names do not tell types: LAMMPS calls every element C unless told otherwise.
_ELEMENTS = ("element", "symbol", "symbols")
_ASK = "Say which is which by types = [...] in the [potential] table, a name for each diameter"


def typeid_of(
    frame: TextFrame, n_types: int, names: Sequence[str] | None, where: str
) -> NDArray[np.int32]:
    """The typeid (N,) of a frame's particles, for a potential of so many types.

    By `names` where they are given; by number, 1 being the first, where every label is a number;
    of the one type there is, where the potential has one and the frame no more.

    Raises `UnknownTypeError` for labels that are none of these.
    """
    n = len(frame.positions)
    if names is not None:
        return _by_name(frame.labels, names, where)
    numbers = _numbers(frame.labels)
    if numbers is not None:
        return _by_number(numbers, n_types, where)
    if n_types == 1 and all(len(set(labels)) <= 1 for labels in frame.labels.values()):
        return np.zeros(n, dtype=np.int32)
    if not frame.labels:
        raise UnknownTypeError(
            f"{where}: there is no column that says the particles' types, but the potential has "
            f"{n_types}. Write one (in a dump: type)."
        )
    raise _not_told(frame.labels, n_types, where)


def deduced_names(
    frame: TextFrame, n_types: int, where: str
) -> tuple[tuple[str, ...] | None, str | None]:
    """The names of a file's types in the order of the parameters, if the file tells that order.

    It does where they are called A, B, ..., as ours are, a letter for each type; and in a dump with
    type labels (LAMMPS's ``typelabel``), where the particles of each label have consecutive
    numbers: LAMMPS numbers particles as it creates them, those of type 1 first. That is then said
    in words, the second value. (None, None) where `typeid_of` needs no names.

    Raises `UnknownTypeError` where it does not tell.
    """
    if _numbers(frame.labels) is not None or not frame.labels:
        return None, None
    for column, labels in frame.labels.items():
        found = sorted(set(labels))
        if column not in _ELEMENTS and tuple(found) == type_names(n_types):
            return tuple(found), None
        if n_types == 1 and len(found) == 1:
            return None, None
        if column == "typelabel" and frame.ids is not None and len(found) == n_types:
            order = list(dict.fromkeys(labels))
            changes = sum(a != b for a, b in pairwise(labels))
            if changes == n_types - 1:
                return tuple(order), (
                    f"{where}: the types are labelled and not numbered: they are taken in the "
                    f"order of the particles' ids, types = {_toml(order)}. Write that, or what is "
                    "right, into the [potential] table."
                )
    raise _not_told(frame.labels, n_types, where)


def _not_told(labels: Mapping[str, Sequence[str]], n_types: int, where: str) -> UnknownTypeError:
    column, values = next(iter(labels.items()))
    found = sorted(set(values))
    kind = "elements, which are no types," if column in _ELEMENTS else "types"
    return UnknownTypeError(
        f"{where}: its {kind} are {_listed(found)}, and the potential has parameters for "
        f"{n_types}: nothing tells which name has which parameters. {_ASK}, as "
        f"types = {_toml(found)}."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _toml(names: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names[:8]) + "]"


def _numbers(labels: Mapping[str, Sequence[str]]) -> NDArray[np.int64] | None:
    """The first column in which every label is a number; elements are none."""
    for column, values in labels.items():
        if column not in _ELEMENTS and all(v.isascii() and v.isdigit() for v in values):
            return np.array([min(int(v), 2**31) for v in values], dtype=np.int64)
    return None


def _by_name(
    labels: Mapping[str, Sequence[str]], types: Sequence[str], where: str
) -> NDArray[np.int32]:
    number = {name: k for k, name in enumerate(types)}
    strange: str | None = None
    for values in labels.values():
        unknown = next((v for v in values if v not in number), None)
        if unknown is None:
            return np.array([number[v] for v in values], dtype=np.int32)
        strange = strange or unknown
    if strange is None:
        raise UnknownTypeError(
            f"{where}: there is no column that says the particles' types, but types = "
            f"{_toml(types)} are given. Write one (in a dump: type)."
        )
    raise unknown_name(strange, types, where)


def unknown_name(strange: str, types: Sequence[str], where: str) -> UnknownTypeError:
    """The error of a particle whose type is none of those that were named."""
    return UnknownTypeError(
        f"{where}: a particle is of type {strange!r}, but the types are {', '.join(types)}. Name "
        "them all, in the order of the parameters, by types = [...] in the [potential] table."
    )


def _by_number(numbers: NDArray[np.int64], n_types: int, where: str) -> NDArray[np.int32]:
    wrong = (numbers < 1) | (numbers > n_types)
    if wrong.any():
        raise UnknownTypeError(
            f"{where}: particle {int(np.argmax(wrong))} is of type "
            f"{int(numbers[np.argmax(wrong)])}, but the potential has parameters for types 1 to "
            f"{n_types}: give a diameter for each, or name the types in their order by types = "
            "[...] in the [potential] table."
        )
    return (numbers - 1).astype(np.int32)
