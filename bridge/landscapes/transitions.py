"""Transitions: a saddle, the two minima that it joins, and the path of steepest descent to each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph.handover import AmorphError
from amorph.handover.arguments import check_kind
from amorph.handover.showing import shown

from ..errors import NotAMinimumError
from ..matter.mechanics import energy
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..minima.responses import largest
from .batches import Batch
from .descent import descend
from .flowing import flow
from .saddles import Saddle
from .searches import (
    Results,
    check_same_particles,
    each_theta,
    searched,
    searched_at_once,
    tolerances,
)
from .stationary import ENDED

__all__ = ["Transition", "Transitions", "descents", "transitions_over"]

# The steepest descent begins so far along the saddle's mode, and goes in such steps.
OFF_SADDLE = 0.02
DESCENT_STEP = 0.02
MOST_DESCENT = 2000
MOST_FLOW = 3000
MOST_HALVINGS = 10


@dataclass(frozen=True, eq=False)
class Transition:
    """A minimum, a saddle and the minimum behind it, and the path of steepest descent.

    Attributes
    ----------
    start, end:
        The minima; the saddle and the end are turned as the path from the start leads to them.
    saddle:
        Between them.
    energies:
        Of start, saddle and end, (3,).
    path:
        Positions (n_points, N, d) from start to end, the saddle among them.
    path_energies:
        (n_points,).
    evaluations:
        How many gradients its search took: a band's are those of all its images.
    """

    start: Packing
    saddle: Saddle
    end: Packing
    energies: NDArray[np.float64]
    path: NDArray[np.float64]
    path_energies: NDArray[np.float64]
    evaluations: int

    @property
    def barrier(self) -> float:
        """ΔE from the start to the saddle."""
        return float(self.energies[1] - self.energies[0])

    @property
    def reverse_barrier(self) -> float:
        """ΔE from the end to the saddle."""
        return float(self.energies[1] - self.energies[2])

    @property
    def arc_length(self) -> NDArray[np.float64]:
        """How far along the path each point lies, (n_points,)."""
        steps = np.sqrt(np.sum(np.diff(self.path, axis=0) ** 2, axis=(1, 2)))
        return np.concatenate([[0.0], np.cumsum(steps)])

    def reversed(self) -> "Transition":
        """The same from its end to its start."""
        return Transition(
            self.end,
            self.saddle,
            self.start,
            self.energies[::-1],
            self.path[::-1],
            self.path_energies[::-1],
            self.evaluations,
        )

    def __repr__(self) -> str:
        return shown(
            f"Transition of {self.start.n_particles} particles in {self.start.dimension} "
            "dimensions",
            [
                ("barrier", f"{self.barrier:.8g}, back {self.reverse_barrier:.8g}"),
                ("negative eigenvalue", f"{self.saddle.eigenvalue:.6g}"),
                ("path", f"{self.arc_length[-1]:.4g} long, {len(self.path)} points"),
            ],
        )


class Transitions(Results):
    """The transitions of each search, a tuple of one or more `Transition`, in their order.

    One that failed raises its error when it is asked for.

    Attributes: found and failures, tuples and errors by the numbers of the searches.
    """


def transitions_over(
    theta: Theta | Sequence[Theta],
    saddles: Sequence[Saddle],
    *,
    tolerance: float | None = None,
) -> Transitions:
    """The transitions over saddles: the minima that steepest descent leads to on both sides.

    Parameters
    ----------
    theta:
        The particles' interactions, or those of each saddle.
    saddles:
        Of the same particles.
    tolerance:
        As in `find_saddles`.

    Returns a tuple of one `Transition` for each saddle, downhill along its mode first against it.
    A descent that does not end at a minimum has its error there, `NotAMinimumError`.

    Of more than 48 particles, and of springs, one descent is walked after another.

    Raises `InputError` for what is no saddle, or of other particles.

    Source: the steps are those of Page and McIver, J. Chem. Phys. 88, 922 (1988), in large systems
    those of Sommeijer, Shampine and Verwer, J. Comput. Appl. Math. 88, 315 (1998).
    """
    check_kind("saddles", saddles, Sequence, "saddles, as find_saddles gives them")
    saddles = list(saddles)
    if not saddles:
        return Transitions([])
    for saddle in saddles:
        check_kind("a saddle", saddle, Saddle, "a Saddle, as find_saddles gives it")
    packing = saddles[0].packing
    check_same_particles([s.packing for s in saddles])
    thetas = each_theta(theta, len(saddles))
    if not searched_at_once(thetas[0], packing):
        limits = tolerances(thetas, packing, tolerance)
        own = zip(thetas, saddles, limits.tolist(), strict=True)
        return Transitions([_walked(*one) for one in own])
    batch = searched(theta, packing)
    limit = tolerances(thetas, packing, tolerance)
    return Transitions(
        [
            found if isinstance(found, AmorphError) else (found,)
            for found in descents(batch, packing, saddles, limit, np.zeros(len(saddles), dtype=int))
        ]
    )


def _walked(theta: Theta, saddle: Saddle, limit: float) -> Any:
    """The transition over a saddle of a large system, in a tuple; or why there is none."""
    x = np.asarray(saddle.packing.positions)
    try:
        down, up = (
            flow(theta, _beside(theta, saddle, side), limit, MOST_FLOW) for side in (-1.0, 1.0)
        )
    except AmorphError as error:
        return error
    ends = [energy(theta, found[0]) for found in (down, up)]
    own = np.concatenate
    return (
        Transition(
            down[0],
            saddle,
            up[0],
            np.array([ends[0], saddle.energy, ends[1]]),
            own([down[0].positions[None], down[1][::-1], x[None], up[1], up[0].positions[None]]),
            own([ends[:1], down[2][::-1], [saddle.energy], up[2], ends[1:]]),
            saddle.evaluations + down[3] + up[3],
        ),
    )


def _beside(theta: Theta, saddle: Saddle, side: float) -> Packing:
    """A packing a little off its saddle, as near as it must be for the energy to have fallen."""
    x = np.asarray(saddle.packing.positions)
    length = OFF_SADDLE * theta.size_range()[0] / largest(saddle.mode)
    for _ in range(MOST_HALVINGS):
        packing = saddle.packing.with_positions(x + side * length * saddle.mode)
        # By a quarter of what the mode says: contacts that close nearby may bring it up again.
        if energy(theta, packing) < saddle.energy + 0.125 * saddle.eigenvalue * length**2:
            return packing
        length *= 0.5
    raise NotAMinimumError(
        "the energy does not fall on both sides of the saddle: contacts close right beside it."
    )


def descents(
    batch: Batch,
    packing: Packing,
    saddles: Sequence[Saddle],
    limit: NDArray[np.float64],
    evaluations: NDArray[np.int64],
) -> list[Transition | AmorphError]:
    """The transition over each saddle, or why there is none; of a batch with a row for each."""
    size = np.broadcast_to(batch.surface.size, len(saddles))
    x = np.stack([np.asarray(s.packing.positions) for s in saddles])
    off = OFF_SADDLE * size[:, None, None] * np.stack([s.mode for s in saddles])
    # Both sides of all saddles in one array.
    both = Batch(batch.of(np.tile(np.arange(len(saddles)), 2)), batch.own)
    walked, paths, levels = descend(
        both,
        np.concatenate([x - off, x + off]),
        np.tile(limit, 2),
        length=DESCENT_STEP,
        most_steps=MOST_DESCENT,
    )
    half = len(saddles)
    out: list[Transition | AmorphError] = []
    for k, saddle in enumerate(saddles):
        wrong = [int(walked["status"][s]) for s in (k, k + half)]
        if wrong != [ENDED, ENDED]:
            out.append(
                NotAMinimumError(
                    "steepest descent from the saddle does not lead to a minimum: parts of the "
                    "packing come apart, or the landscape is flat there."
                )
            )
            continue
        sides = [(paths[s], levels[s]) for s in (k, k + half)]
        down, up = walked["x"][k], walked["x"][k + half]
        ends = [float(walked["energy"][s]) for s in (k, k + half)]
        out.append(
            Transition(
                packing.with_positions(down),
                saddle,
                packing.with_positions(up),
                np.array([ends[0], saddle.energy, ends[1]]),
                np.concatenate(
                    [down[None], sides[0][0][::-1], x[k : k + 1], sides[1][0], up[None]]
                ),
                np.concatenate(
                    [ends[:1], sides[0][1][::-1], [saddle.energy], sides[1][1], ends[1:]]
                ),
                int(evaluations[k])
                + saddle.evaluations
                + sum(len(side[1]) for side in sides)
                + sum(int(walked["steps"][s]) for s in (k, k + half)),
            )
        )
    return out
