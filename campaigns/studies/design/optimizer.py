"""Optimisers of designs: from what packings measured to the next parameters to try."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from amorph import bridge
from amorph.handover import AmorphError

from ...errors import DesignError, NotFiniteError
from .campaign import Campaign
from .free import Free
from .steps import Arrays, Step

__all__ = ["Along", "Optimizer", "lost"]

State = TypeVar("State")

# By which part of a change the parameters are probed, in both senses: see `Along`.
PART = 0.1


@dataclass(frozen=True)
class Along:
    """A change of the free parameters along which a design's end is probed.

    Attributes: `name`, what it is; `change`, by parameter; `part` of it that the probes take, on
    and back.
    """

    name: str
    change: Arrays
    part: float = PART


class Optimizer(ABC, Generic[State]):
    """A rule by which a design's free parameters are changed.

    Class attributes
    ----------------
    pace_name:
        What a step's `pace` is: how far the rule goes, by its own measure.
    needs_slopes:
        Whether it needs each packing's derivatives of each objective, which frames then keep.
    needs_gaps:
        Whether it needs the pairs of followed packings that are near to where u'' jumps.
    refusals:
        The errors of a packing at the parameters that are tried which `refused` is told of.
    descent:
        Steps of FIRE after which a followed packing that lost its minimum is given up.
    """

    pace_name: ClassVar[str]
    needs_slopes: ClassVar[bool] = False
    needs_gaps: ClassVar[bool] = False
    refusals: ClassVar[tuple[type[AmorphError], ...]] = (
        NotFiniteError,
        bridge.errors.RelaxationError,
        bridge.errors.NotAMinimumError,
        bridge.errors.RattlerError,
    )
    descent: ClassVar[int | None] = None

    def __init__(self, campaign: Campaign, replica: int = 0) -> None:
        self.campaign = campaign
        self.replica = replica
        self.free = Free(campaign)

    @abstractmethod
    def start(self, theta: bridge.PairPotential) -> State:
        """The state before the first step."""

    @abstractmethod
    def pace(self, state: State, number: int) -> float:
        """How far the step that follows step `number` goes, by its own measure."""

    @abstractmethod
    def propose(self, step: Step) -> tuple[bridge.PairPotential, State]:
        """The parameters to try next, and the state that goes with them."""

    @abstractmethod
    def judge(self, step: Step, trial: Step) -> Step:
        """The step that the design goes on from, of what was tried from a step."""

    def refused(self, step: Step, state: State, error: AmorphError) -> Step:
        """As `judge`, where packings could not be followed or measured; by default raises.

        Raises `DesignError`, or `NotFiniteError` for what was not finite.
        """
        lost(step.number + 1, error)

    def arrived(self, step: Step) -> bool:
        """Whether the rule itself knows that a step has what was asked for (`stop.error`)."""
        return False

    def out_of_reach(self, step: Step) -> str:
        """Why the targets cannot be reached from a step, in words; empty where that is not known.

        A design ends there.
        """
        return ""

    def told(self, step: Step) -> dict[str, Any] | None:
        """The rule's estimates at a step, for JSON; None where they are what was measured."""
        return None

    def reason(self, step: Step) -> str:
        """Why a step may be as far as the rule comes, in words; empty where all is well."""
        return ""

    @abstractmethod
    def log(self, state: State) -> Arrays:
        """The state as a frame records it."""

    @abstractmethod
    def restored(self, theta: bridge.PairPotential, log: Mapping[str, NDArray[Any]]) -> State:
        """The state that a frame recorded, to the last bit; raises `RecordError`."""

    def along(self, step: Step) -> Along:
        """The change along which a step's end is probed.

        By default the last step; where no step was taken, or it changed nothing, the next one;
        where that is nothing either, all parameters by a thousandth of themselves.
        """
        now = self.free.of(step.theta)

        def change(other: bridge.PairPotential) -> Arrays:
            return {k: v - now[k] for k, v in self.free.of(other).items()}

        if step.before is not None:
            last = {k: -v for k, v in change(step.before).items()}
            if any(v.any() for v in last.values()):
                return Along("last step", last)
        if all(np.isfinite(g).all() for g in step.gradient.values()):
            following = change(self.propose(step)[0])
            if any(v.any() for v in following.values()):
                return Along("next step", following)
        return Along("all parameters", {k: 1e-3 * v for k, v in now.items()})


def lost(number: int, error: AmorphError) -> NoReturn:
    """Raise what ends a design that has no packings at the parameters of step `number`."""
    if isinstance(error, NotFiniteError):
        raise NotFiniteError(f"step {number}: {error}") from error
    if isinstance(error, DesignError):
        raise error
    raise DesignError(
        f"step {number}: no packing to go on from at the new parameters: {error}"
    ) from error
