"""Pair forces of ours that HOOMD-blue has logged: their names, and whether a potential is them.

HOOMD's logger files a force under ``log/amorph/pair/<name>/``, the name being its class, with
``_1``, ``_2``, ... for further ones, or what ``Logger.add(force, user_name=...)`` says. Beside the
parameters stands how the run used them: cutoffs, mode, exclusions of the neighbour list, and the
forces that acted besides. Files written before these were logged have the parameters alone.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CorruptFrameError, UnknownPotentialError
from .potentials import MANIFEST, POTENTIALS, own_cutoffs, pairs_to_matrix

__all__ = ["check_force", "force_potentials", "is_force_key", "parameter_key", "text_of"]

PREFIX = "pair/"
# The classes of hoomd.amorph.pair.
_CLASSES: Mapping[str, str] = {own["class"]: name for name, own in MANIFEST.items()}
# Parameters whose names there are not ours: a force's r_cut is a table of its own.
_RENAMED: Mapping[str, str] = {"r_cut": "cutoff"}
POTENTIAL, SIGMA = "potential", "sigma"
R_CUT, R_ON, MODE = "applied_r_cut", "applied_r_on", "applied_mode"
EXCLUSIONS, OTHERS = "applied_exclusions", "other_forces"
NOTHING = "none"
_KEYS = frozenset({POTENTIAL, SIGMA, R_CUT, R_ON, MODE, EXCLUSIONS, OTHERS}) | frozenset(
    _RENAMED.get(p.name, p.name) for parameters in POTENTIALS.values() for p in parameters
)
# Of forces whose sigma is a diameter to draw.
_WITHOUT_CORE = frozenset(name for name, own in MANIFEST.items() if not own["core"])
# HOOMD may hold cutoffs in single precision; sums of two doubles are exact to their rounding.
_SINGLE, _DOUBLE = 1e-6, 1e-12
_ON_PURPOSE = (
    "To measure with another potential on purpose, give one when reading: on the command line, "
    "--potential FILE.toml."
)


def parameter_key(prefix: str, parameter: str) -> str:
    """Where a parameter stands under a potential's name, or under that of HOOMD's force."""
    name = _RENAMED.get(parameter, parameter) if prefix.startswith(PREFIX) else parameter
    return f"{prefix}/{name}"


def is_force_key(key: str) -> bool:
    """Whether a key under ``log/amorph/`` is one that tells of a force of HOOMD's."""
    parts = key.split("/")
    return len(parts) == 3 and parts[0] == PREFIX[:-1] and parts[2] in _KEYS


def force_potentials(log: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """The potentials of the forces that were logged, by their prefix, ``pair/<name>``."""
    found = {}
    for key in log:
        if not is_force_key(key):
            continue
        prefix = key.rpartition("/")[0]
        said = log.get(f"{prefix}/{POTENTIAL}")
        if said is not None:
            found[prefix] = text_of(said)
        else:
            name = prefix.removeprefix(PREFIX)
            known = _CLASSES.get(name, _CLASSES.get(re.sub(r"_[0-9]+$", "", name)))
            if known is not None:
                found[prefix] = known
    return found


def text_of(value: NDArray[Any]) -> str:
    """A text as HOOMD logs it: bytes, ended by zeros."""
    array = np.asarray(value)
    if array.dtype.kind == "U":
        return str(array)
    return array.tobytes().split(b"\0", 1)[0].decode("ascii", "replace")


def check_force(
    where: str,
    prefix: str,
    potential: str,
    parameters: Mapping[str, NDArray[np.float64]],
    log: Mapping[str, NDArray[Any]],
    types: tuple[str, ...],
) -> None:
    """Check that a potential is what acted in the run, as far as its force has logged that.

    ``parameters`` are the potential's vectors, ``types`` the names of the frame's types.

    Raises
    ------
    UnknownPotentialError
        There were other forces or excluded neighbours, other cutoffs or another mode than the
        potential has, or a sigma other than the mean of two diameters.
    CorruptFrameError
        What was logged is malformed.
    """
    force = prefix.removeprefix(PREFIX)

    def refuse(what: str, cure: str) -> None:
        raise UnknownPotentialError(f"{where}: {what}. {cure} {_ON_PURPOSE}")

    others = _text(prefix, OTHERS, log)
    if others != NOTHING:
        refuse(
            f"besides {force} these acted in the run: {others}",
            "No potential here is that force together with them.",
        )
    exclusions = _text(prefix, EXCLUSIONS, log)
    if exclusions != NOTHING:
        refuse(
            f"{force} left out neighbours, by the exclusions {exclusions} of its neighbour list",
            "The potentials here leave out none: set the list's exclusions to ().",
        )
    n = parameters["diameters"].size
    mean = 0.5 * (parameters["diameters"][:, None] + parameters["diameters"])
    sigma = _matrix(where, prefix, SIGMA, log, n)
    if sigma is not None and potential not in _WITHOUT_CORE:
        pair = _differing(sigma, mean, _DOUBLE)
        if pair is not None:
            refuse(
                f"{force} had sigma = {sigma[pair]:.12g} for {_named(pair, types)}, but here it is "
                f"the mean of the diameters of the two types, {mean[pair]:.12g}",
                "Such mixtures, as the inert types of rigid bodies, have no potential here.",
            )
    pairs = {p.name: parameters[p.name] for p in POTENTIALS[potential] if p.per_pair}
    upper = np.triu_indices(n)
    mode, r_on, r_cut = own_cutoffs(potential, mean[upper], pairs)
    applied = _text(prefix, MODE, log, mode)
    if applied != mode:
        refuse(
            f"{force} had mode = {applied!r}, but the potential {potential} has {mode!r} alone",
            "Leave mode unset in HOOMD-blue.",
        )
    for key, own in ((R_CUT, r_cut), (R_ON, r_on)):
        if key == R_ON and mode != "xplor":
            continue
        used = _matrix(where, prefix, key, log, n)
        natural = pairs_to_matrix(own, n)
        pair = None if used is None else _differing(used, natural, _SINGLE)
        if used is not None and pair is not None:
            name = key.removeprefix("applied_")
            refuse(
                f"{force} had {name} = {used[pair]:.9g} for {_named(pair, types)}, but the "
                f"potential {potential} has {natural[pair]:.9g}, which follows from its parameters",
                f"Leave {name} unset in HOOMD-blue."
                if used[pair]
                else "Pairs that do not interact have no potential here.",
            )


def _text(prefix: str, key: str, log: Mapping[str, NDArray[Any]], default: str = NOTHING) -> str:
    value = log.get(f"{prefix}/{key}")
    return default if value is None else text_of(value)


def _matrix(
    where: str, prefix: str, key: str, log: Mapping[str, NDArray[Any]], n: int
) -> NDArray[np.float64] | None:
    values = log.get(f"{prefix}/{key}")
    if values is None:
        return None
    if values.size != n * n or values.dtype.kind not in "iuf":
        raise CorruptFrameError(
            f"{where}: 'log/amorph/{prefix}/{key}' has shape {values.shape} and type "
            f"{values.dtype}: it must be ({n}, {n}) real numbers, over the types."
        )
    return values.astype(np.float64).reshape(n, n)


def _differing(
    used: NDArray[np.float64], own: NDArray[np.float64], tolerance: float
) -> tuple[int, int] | None:
    # What is not a number differs too.
    wrong = np.argwhere(~(np.abs(used - own) <= tolerance * np.abs(own)))
    return (int(wrong[0, 0]), int(wrong[0, 1])) if wrong.size else None


def _named(pair: tuple[int, int], types: tuple[str, ...]) -> str:
    names = [types[t] if t < len(types) else f"type {t}" for t in pair]
    return f"({names[0]}, {names[1]})"
