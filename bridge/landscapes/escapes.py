"""Saddles around a packing's minimum, found by pushing a few particles at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import AmorphError, InputError
from amorph.handover.arguments import count, positive, real_numbers
from amorph.handover.boxes import nearest_images

from ..errors import NotASaddleError
from ..matter.arguments import check
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..minima.relaxing import relaxation
from ..minima.responses import force_tolerance
from ..precision import require_float64
from .climbing import climb
from .saddles import Saddle, Saddles

__all__ = ["random_pushes", "saddles_around"]


def random_pushes(
    packing: Packing, number: int = 10, *, seed: int = 0, width: float = 1.0
) -> NDArray[np.float64]:
    """Random displacements of a particle and its neighbourhood, (number, N, d).

    The particle in the middle is chosen at random; each displacement is a vector of normal numbers
    times exp(-r²/2w²) of the distance from it, as the activation-relaxation technique begins
    (Malek and Mousseau, Phys. Rev. E 62, 7723 (2000)). Fixed particles stay.

    Parameters
    ----------
    number:
        At least 1.
    seed:
        Push k is that of [seed, k]: the same whatever others are asked for.
    width:
        w, length.

    Raises `InputError` for other arguments.

    Example
    -------
    >>> landscapes.random_pushes(packing, 3, seed=1).shape
    (3, 256, 2)
    """
    check(packing=packing)
    count("number", number)
    count("seed", seed, least=0)
    positive("width", width)
    x = np.asarray(packing.positions)
    box = None if packing.box is None else np.asarray(packing.box)
    out = np.empty((number, *x.shape))
    for k in range(number):
        rng = np.random.default_rng([seed, k])
        apart = x - x[rng.integers(len(x))]
        if box is not None:
            apart = nearest_images(apart, box)
        weight = np.exp(-np.sum(apart**2, axis=1) / (2.0 * width**2))
        out[k] = weight[:, None] * rng.standard_normal(x.shape)
    if packing.fixed is not None:
        out[:, np.asarray(packing.fixed)] = 0.0
    return out


def saddles_around(
    theta: Theta,
    packing: Packing,
    directions: ArrayLike | None = None,
    *,
    number: int = 10,
    seed: int = 0,
    tolerance: float | None = None,
    max_steps: int = 200,
    progress: Callable[[int, int], object] | None = None,
) -> Saddles:
    """Saddles that a packing of any size is led to, out of its minimum along some directions.

    Each search drags the particles along its direction, all others relaxing, until a mode is
    negative, and follows the lowest mode uphill from there. It may pass into the basin of another
    minimum: which minima a saddle joins, `transitions_over` says. One search after another, each by
    sparse factors: a step costs one factorisation.

    Parameters
    ----------
    theta, packing:
        The packing is relaxed first.
    directions:
        (B, N, d), of any length: those of soft modes, of a plastic event
        (`bridge.PlasticEvent.displacement`), or of one's own; by default `random_pushes`.
    number, seed:
        Of the random pushes.
    tolerance:
        The largest |F| at rest, energy / length; by default `default_tolerance`.
    max_steps:
        Steps of a search at most.
    progress:
        Called after each search with how many there have been, and how many there are.

    Returns
    -------
    Saddles
        In the directions' order, several of which may lead to one saddle. A search that failed has
        its error there, `NotASaddleError`.

    Raises
    ------
    InputError
        For arguments that are something else.
    RelaxationError, NotAMinimumError, SingularHessianError, BoxTooSmallError, UnknownTypeError,
    PrecisionError
        As `relax`.

    Example
    -------
    >>> found = landscapes.saddles_around(theta, packing, number=20, seed=1)
    >>> ways = landscapes.transitions_over(theta, list(found.found.values()))

    Source: Munro and Wales, Phys. Rev. B 59, 3969 (1999) for hybrid eigenvector-following; here
    with the factors of sparse Hessians.
    """
    check(theta=theta, packing=packing)
    require_float64()
    count("max_steps", max_steps)
    limit = force_tolerance(theta, packing, tolerance)
    if directions is None:
        pushes = random_pushes(packing, number, seed=seed, width=float(theta.size_range()[1]))
    else:
        pushes = real_numbers("directions", directions, "(B, N, d) numbers")
        if pushes.ndim != 3 or pushes.shape[1:] != packing.positions.shape or not len(pushes):
            n, d = packing.positions.shape
            raise InputError(f"directions have shape {pushes.shape}: they must be (B, {n}, {d}).")
        if not np.isfinite(pushes).all() or not pushes.any(axis=(1, 2)).all():
            raise InputError("directions must be finite, none of them zero.")
    start = relaxation(theta, packing, tolerance=limit).packing
    found: list[Saddle | AmorphError] = []
    for k, push in enumerate(pushes):
        found.append(_searched(theta, start, push, limit, max_steps))
        if progress is not None:
            progress(k + 1, len(pushes))
    return Saddles(found)


def _searched(theta: Theta, packing: Packing, push: Any, limit: float, most: int) -> Any:
    """A saddle, or the error that there is none."""
    try:
        return climb(theta, packing, push, limit, most)
    except NotASaddleError as error:
        return error
