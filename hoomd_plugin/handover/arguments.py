"""Checks of arguments: an argument by its name, what it is, what is right."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

__all__ = [
    "check_choice",
    "check_kind",
    "count",
    "described",
    "file_path",
    "not_negative",
    "one_or_several",
    "positive",
    "real_numbers",
    "whole_numbers",
]

_LONGEST = 60


def described(value: object) -> str:
    """Describe a value in a few words, for a message."""
    if value is None or isinstance(value, (bool, int, float, np.number)):
        return repr(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST else value[:_LONGEST] + "...")
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} of {', '.join(map(str, value)) or 'nothing'}"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"an array of shape {shape}"
    if isinstance(value, (list, tuple)):
        kinds = list(dict.fromkeys(type(item).__name__ for item in value))
        return f"a {type(value).__name__} of {' and '.join(kinds[:3]) or 'nothing'}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"


def check_kind(name: str, value: object, kinds: Any, right: str) -> None:
    """Raise `InputError` for an argument of another kind; ``right`` says what it must be."""
    if not isinstance(value, kinds):
        raise InputError(f"{name} is {described(value)}: it must be {right}.")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise `InputError` for an argument that is none of some words, which are named."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} = {described(value)}: it must be one of {', '.join(choices)}.")


def real_numbers(name: str, value: object, right: str = "real numbers") -> NDArray[np.float64]:
    """An argument as a new array of float64; raises `InputError` for what holds other things."""
    array = _array(name, value, right)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name} is {_content(value, array)}: it must be {right}.")
    return np.array(array, dtype=np.float64, order="C")


def whole_numbers(name: str, value: object, right: str = "whole numbers") -> NDArray[Any]:
    """An argument as an array of integers; raises `InputError` for what holds other things."""
    array = _array(name, value, right)
    if array.dtype.kind not in "iu":
        raise InputError(f"{name} is {_content(value, array)}: it must be {right}.")
    return array


def _array(name: str, value: object, right: str) -> NDArray[Any]:
    if value is None or isinstance(value, (str, bytes, Mapping)):
        raise InputError(f"{name} is {described(value)}: it must be {right}.")
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of different lengths, and more
        raise InputError(f"{name} is {described(value)}: it must be {right}.") from error


def _content(value: object, array: NDArray[Any]) -> str:
    told = described(value)
    return told if array.dtype.kind == "O" else f"{told}, which holds {array.dtype}"


def one_or_several(name: str, value: object, kinds: Any, right: str) -> list[Any]:
    """One thing or several of some kinds as a list; one is taken as a list of one.

    Raises `InputError` for what is neither; ``right`` says what it must be.
    """
    if isinstance(value, kinds):
        return [value]
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise InputError(f"{name} is {described(value)}: it must be {right}.")
    if getattr(value, "shape", None) == ():
        raise InputError(f"{name} is {described(value)}: it must be {right}.")
    items = list(value)
    for item in items:
        if not isinstance(item, kinds):
            raise InputError(f"{name} holds {described(item)}: it must be {right}.")
    return items


def file_path(name: str, value: object) -> Path:
    """A path that was given as text or as a path; raises `InputError` for anything else."""
    if isinstance(value, str) and value:
        return Path(value)
    if isinstance(value, os.PathLike):
        text = os.fspath(value)
        if isinstance(text, str):
            return Path(text)
    raise InputError(f"{name} is {described(value)}: it must be the path of a file.")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _told(value: object) -> str:
    return repr(value) if _is_number(value) else described(value)


def positive(name: str, value: float) -> float:
    """A number that must be finite and greater than 0; raises `InputError`."""
    if not _is_number(value) or not np.isfinite(value) or value <= 0:
        raise InputError(f"{name} = {_told(value)}: it must be a finite number greater than 0.")
    return float(value)


def not_negative(name: str, value: float) -> float:
    """A number that must be finite and at least 0; raises `InputError`."""
    if not _is_number(value) or not np.isfinite(value) or value < 0:
        raise InputError(f"{name} = {_told(value)}: it must be a finite number of at least 0.")
    return float(value)


def count(name: str, value: int, least: int = 1, below: int = 2**63) -> int:
    """A whole number of at least `least` and below `below`; raises `InputError`."""
    if (
        not _is_number(value)
        or not np.isfinite(float(value))
        or int(value) != value
        or not least <= value < below
    ):
        raise InputError(
            f"{name} = {_told(value)}: it must be a whole number of at least {least}"
            + (f" and below {below}." if below < 2**63 else ".")
        )
    return int(value)
