"""Checks of the arguments of the bridge's functions: packings, interactions, numbers."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from amorph.handover import Frame, InputError
from amorph.handover.arguments import count, described, positive

from .packing import Packing
from .springs import Theta

__all__ = ["check"]


def _of_packing(value: object) -> str:
    """Advice on how to make a packing of the value that was given instead."""
    if isinstance(value, Frame):
        return "make one of the frame by bridge.Packing.from_frame(frame)"
    if isinstance(value, (str, os.PathLike)):
        return "read a file by bridge.read_gsd(path)"
    if isinstance(value, tuple) and any(isinstance(v, Packing) for v in value):
        return "take it out of the tuple: theta, packing = ..."
    if hasattr(value, "frames"):
        return "take an ensemble's by bridge.packings_of(ensemble)"
    if hasattr(value, "__next__"):
        return "go through them: for theta, packing in ..."
    return "make one by bridge.Packing.of(positions, typeid, box), or read it by bridge.read_gsd"


def _of_theta(value: object) -> str:
    """Advice on how to make interactions of the value that was given instead."""
    if isinstance(value, Mapping):
        return 'make it of arrays by name: bridge.from_arrays("harmonic_morse", {...})'
    if isinstance(value, Frame):
        return "take it out of the frame by bridge.theta_of(frame)"
    if isinstance(value, type) and issubclass(value, Theta):
        return f"give it its parameters: {value.__name__}(...)"
    if hasattr(value, "potential") and hasattr(value, "arrays"):
        return "make it of its arrays: bridge.from_arrays(theta.potential, theta.arrays())"
    return "a potential such as bridge.HarmonicMorse(...), or bridge.Springs(...)"


_RIGHT: dict[str, tuple[Any, str, Callable[[object], str]]] = {
    "packing": (Packing, "a Packing", _of_packing),
    "theta": (Theta, "the particles' interactions", _of_theta),
}


def check(**given: Any) -> None:
    """Raise `InputError` for an argument that is not what its name stands for.

    Names that end with ``packing`` stand for a `Packing`, with ``theta`` for the particles'
    interactions, with ``tolerance`` for a force or None, and those that begin with ``n_`` for a
    number of at least 1.
    """
    if isinstance(given.get("packing"), Theta) and isinstance(given.get("theta"), Packing):
        raise InputError(
            "theta and packing are swapped: the interactions come first, then the packing."
        )
    for name, value in given.items():
        kind = name.rpartition("_")[2]
        if kind in _RIGHT:
            kinds, right, cure = _RIGHT[kind]
            if not isinstance(value, kinds):
                raise InputError(
                    f"{name} is {described(value)}: it must be {right}: {cure(value)}."
                )
        elif kind == "tolerance":
            if value is not None:
                positive(name, value)
        elif name.startswith("n_"):
            try:
                count(name, value)
            except InputError:
                told = f"{name} = {described(value)}: it must be a whole number, at least one."
                raise InputError(told) from None
        else:
            raise AssertionError(f"nothing is known of {name}")
