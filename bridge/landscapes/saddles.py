"""Saddles found by following the lowest mode uphill, many at once, and proven."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import AmorphError, InputError
from amorph.handover.arguments import count, real_numbers
from amorph.handover.showing import shown

from ..errors import NotASaddleError
from ..matter.arguments import check
from ..matter.packing import Packing
from ..matter.springs import Theta
from .searches import Results, each_theta, searched, tolerances
from .stationary import ENDED, FLAT, NOT_FINITE, OTHER_INDEX, OUT_OF_STEPS, follow_modes

__all__ = ["Saddle", "Saddles", "find_saddles", "saddle_of"]


@dataclass(frozen=True, eq=False)
class Saddle:
    """A saddle: a packing at rest with exactly one negative mode.

    Attributes
    ----------
    packing:
        Where the particles are.
    energy:
        U.
    force:
        The largest force left.
    eigenvalue:
        The negative one, energy / length².
    mode:
        Its eigenvector, (N, d), of length 1.
    steps:
        How many steps, each with a gradient and a Hessian, led there.
    evaluations:
        How many gradients, those of line searches included.
    """

    packing: Packing
    energy: float
    force: float
    eigenvalue: float
    mode: NDArray[np.float64]
    steps: int
    evaluations: int

    def __repr__(self) -> str:
        return shown(
            f"Saddle of {self.packing.n_particles} particles in {self.packing.dimension} "
            "dimensions",
            [
                ("energy", f"{self.energy:.10g}"),
                ("largest force", f"{self.force:.2e}"),
                ("negative eigenvalue", f"{self.eigenvalue:.6g}"),
            ],
        )


class Saddles(Results):
    """The `Saddle` of each search; one that failed raises its error when it is asked for.

    Attributes: found and failures, saddles and errors by the numbers of the searches.
    """


def find_saddles(
    theta: Theta | Sequence[Theta],
    packing: Packing,
    starts: ArrayLike | None = None,
    *,
    tolerance: float | None = None,
    max_steps: int = 500,
) -> Saddles:
    """Saddles by following the lowest mode uphill from each of some starts, many at once.

    Parameters
    ----------
    theta:
        The particles' interactions, or those of each start.
    packing:
        The particles: their types, box and fixed ones.
    starts:
        Positions (B, N, d); by default the packing's, one search.
    tolerance:
        The largest |F| at rest, energy / length; by default `default_tolerance`.
    max_steps:
        Steps of a search at most.

    Returns
    -------
    Saddles
        In the starts' order. A search that failed has its error there: `NotASaddleError` where it
        ended at a minimum, a saddle of several negative modes or a flat place, or did not end.

    Raises
    ------
    InputError
        For arguments that are something else, more than 48 particles, and springs.

    Example
    -------
    >>> starts = packing.positions + 0.3 * rng.standard_normal((100, 7, 3))
    >>> saddles = landscapes.find_saddles(theta, packing, starts)
    >>> energies = [saddle.energy for saddle in saddles.found.values()]

    Source: Wales, J. Chem. Phys. 101, 3750 (1994), eq. 8.
    """
    check(packing=packing)
    x = _starts(packing, starts)
    thetas = each_theta(theta, len(x))
    count("max_steps", max_steps)
    batch = searched(theta, packing)
    limit = tolerances(thetas, packing, tolerance)
    found = follow_modes(batch, x, 1, limit, max_steps)
    return Saddles([saddle_of(packing, found, k) for k in range(len(x))])


def saddle_of(packing: Packing, found: dict[str, Any], k: int) -> Saddle | AmorphError:
    """A search's saddle, of what `follow_modes` found, or why there is none."""
    status, steps = int(found["status"][k]), int(found["steps"][k])
    if status != ENDED:
        return NotASaddleError(_why(found, k))
    return Saddle(
        packing.with_positions(found["x"][k]),
        float(found["energy"][k]),
        float(found["force"][k]),
        float(found["lowest"][k, 0]),
        found["mode"][k],
        steps,
        steps,
    )


def _why(found: dict[str, Any], k: int) -> str:
    """Why a search did not end at a saddle, in words."""
    status, force = int(found["status"][k]), float(found["force"][k])
    if status == NOT_FINITE:
        return "the search met forces that are not finite: two particles coincide. Start elsewhere."
    if status == OUT_OF_STEPS:
        return (
            f"the search did not end in {int(found['steps'][k])} steps: a force of {force:.1e} is "
            "left. Parts of the packing may have come apart; else give more with max_steps."
        )
    if status == FLAT:
        return (
            f"the search ended where the energy is flat along {int(found['zero'][k])} modes "
            "besides rigid motions: parts of the packing move freely."
        )
    assert status == OTHER_INDEX
    negative = int(found["negative"][k])
    kind = "a minimum" if negative == 0 else f"a saddle of {negative} negative modes"
    return f"the search ended at {kind}. Start nearer to the saddle wanted."


def _starts(packing: Packing, starts: ArrayLike | None) -> NDArray[np.float64]:
    if starts is None:
        return np.asarray(packing.positions)[None]
    x = real_numbers("starts", starts, "(B, N, d) numbers")
    if x.ndim != 3 or x.shape[1:] != packing.positions.shape or not len(x):
        n, d = packing.positions.shape
        raise InputError(f"starts have shape {x.shape}: they must be (B, {n}, {d}).")
    if not np.isfinite(x).all():
        raise InputError("starts are not finite.")
    return x
