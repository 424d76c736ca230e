"""Free parameters in units of their scales, for optimisers of second order."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from amorph import bridge

from ...errors import RecordError
from .campaign import Campaign, GaussNewton
from .optimizer import Optimizer
from .steps import Arrays, Step

__all__ = ["ScaledOptimizer", "Vector", "check_frame"]

State = TypeVar("State")
Vector = NDArray[np.float64]


def check_frame(log: Mapping[str, NDArray[Any]]) -> None:
    """Raise `RecordError` for a frame of a design of first order."""
    if "radius" not in log:
        raise RecordError(
            "its frames are not of a design with [optimizer] kind = 'gauss_newton'. Before this "
            "was what a file without [optimizer] has, kind = 'rmsprop' was, with the learning rate "
            "1e-3 and that of the rate 3e-3: resume with that in the file."
        )


class ScaledOptimizer(Optimizer[State]):
    """An optimiser that sees the free numbers as one vector, each in units of its scale.

    Attributes
    ----------
    first_radius:
        How far its first step goes.
    target, weight:
        Of the objectives, (n_objectives,); a weight is the root of the loss's.
    """

    pace_name = "radius"
    needs_slopes = True

    def __init__(self, campaign: Campaign, replica: int = 0) -> None:
        super().__init__(campaign, replica)
        assert isinstance(campaign.optimizer, GaussNewton)
        self.first_radius = campaign.first_radius
        self.target = np.array([o.target for o in campaign.objective])
        self.weight = np.sqrt([o.weight for o in campaign.objective])
        start = self.free.of(campaign.potential.theta())
        scales, bounds = campaign.scales(), {name: campaign.bounds_of(name) for name in start}
        self._scale = np.concatenate([np.full(len(v), scales[k]) for k, v in start.items()])
        self._low, self._high = (
            np.concatenate([np.full(len(v), bounds[k][side]) for k, v in start.items()])
            for side in (0, 1)
        )
        self._cuts = np.cumsum([len(v) for v in start.values()])[:-1]

    def flat(self, theta: bridge.PairPotential) -> Vector:
        """The free numbers of some parameters, (n,)."""
        return self._joined(self.free.of(theta)) / self._scale

    def named(self, change: Vector) -> Arrays:
        """A change (n,) of the free numbers, by parameter and in its own units."""
        return self._divided(change * self._scale)

    def room(self, theta: bridge.PairPotential) -> tuple[Vector, Vector]:
        """How far each free number may go, down and up, (n,) each.

        Parameters may start beyond their bounds: then they need not come back at once.
        """
        now = self._joined(self.free.of(theta))
        down, up = (self._low - now) / self._scale, (self._high - now) / self._scale
        return np.minimum(down, 0.0), np.maximum(up, 0.0)

    def changed(self, theta: bridge.PairPotential, change: Vector) -> bridge.PairPotential:
        """Parameters whose free numbers are changed; bounds are kept to the last bit."""
        now = self._joined(self.free.of(theta))
        low, high = np.minimum(self._low, now), np.maximum(self._high, now)
        moved = np.clip(now + change * self._scale, low, high)
        return self.free.put(self._divided(moved), theta)

    def slopes(self, step: Step) -> Vector:
        """The objectives' derivatives by the free numbers, (n_packings, n_objectives, n)."""
        packings, objectives = step.each.shape
        rows = [
            self._joined(self.free.gathered({k: v[p, o] for k, v in step.slopes.items()}))
            for p in range(packings)
            for o in range(objectives)
        ]
        return (np.array(rows) * self._scale).reshape(packings, objectives, -1)

    def kept(self, step: Step, state: State) -> Step:
        """A step at which everything stays, but for the state."""
        return replace(
            step,
            number=step.number + 1,
            state=state,
            pace=self.pace(state, step.number + 1),
            rearranged=np.zeros_like(step.rearranged),
            crossings=np.zeros_like(step.crossings),
            moved=np.zeros_like(step.moved),
            before=step.theta,
            accepted=False,
        )

    def _joined(self, free: Arrays) -> Vector:
        return np.concatenate([np.asarray(v, dtype=float) for v in free.values()])

    def _divided(self, values: Vector) -> Arrays:
        return dict(zip(self.free.places, np.split(values, self._cuts), strict=True))
