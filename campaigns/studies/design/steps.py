"""A design at one of its steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph import bridge

from .confirming import Confirmation
from .members import Near

__all__ = ["PACES", "Arrays", "Step", "Verdict"]

Arrays = dict[str, Any]

PACES: Mapping[str, str] = {"learning_rate": "learning rate", "radius": "trust radius"}
"""How far an optimiser's next step goes, as frames and tables call it, and in words."""


@dataclass(frozen=True, eq=False)
class Step:
    """A design after some steps: the packings at rest at its parameters, and the optimiser.

    Attributes
    ----------
    number:
        How many steps were taken.
    packings:
        Followed packings; of an ensemble the first that was measured.
    theta:
        The interactions.
    loss, value:
        The loss, and each objective's value, (n_objectives,), the mean over packings.
    each:
        Each packing's values (n_packings, n_objectives), NaN where it could not be measured.
    gradient:
        dloss/dparameter, by parameter.
    pace:
        Of the step that follows: what its mover calls `pace_name`.
    state:
        Of the mover.
    rearranged, crossings, moved:
        Of each packing, what happened in the step that led here: see `amorph.bridge.follow`.
    limited:
        Of each packing, whether its gradient was cut to the campaign's limit.
    before:
        The interactions one step before; None at step 0.
    slopes:
        Each packing's derivatives of each objective, by parameter, (n_packings, n_objectives,
        n_components); empty where the mover does without them.
    accepted:
        Whether the parameters that were tried were taken. Where they were not, everything else is
        as it was before.
    near:
        Of each packing, the pairs near to where u'' jumps; empty until the mover needs them. They
        are no part of a frame: they follow from the packings.
    """

    number: int
    packings: tuple[bridge.Packing, ...]
    theta: bridge.PairPotential
    loss: float
    value: NDArray[np.float64]
    each: NDArray[np.float64]
    gradient: Arrays
    pace: float
    state: Any
    rearranged: NDArray[np.bool_]
    crossings: NDArray[np.int64]
    moved: NDArray[np.float64]
    limited: NDArray[np.bool_]
    before: bridge.PairPotential | None = None
    slopes: Arrays = field(default_factory=dict)
    accepted: bool = True
    near: tuple[Near, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Whether a design ends with a step.

    `ended` is ``converged``, ``step_limit``, ``out_of_reach``, or None while there is more to do;
    `confirmation` says whether a loss below the threshold holds, and is None where the loss is not
    below it.
    """

    ended: str | None
    confirmation: Confirmation | None = None
