"""The optimiser of second order for packings that are followed: Gauss-Newton in a trust region.

Each value is taken to follow its derivatives, and the shortest change of the parameters (in their
scales) that meets all targets is tried, within a radius: where it brings what was predicted the
radius grows, where it brings the loss up it is not taken, and shrinks.

Moduli jump where a pair crosses a distance at which u'' jumps. Between two such crossings this is
Newton's method; a jump that brings the values nearer is taken as it comes. At one that leads away
the radius shrinks to nothing, since the gradients of both sides point at it: then a step goes
across, with a random part, and what comes is taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph import bridge
from amorph.handover import AmorphError, BoxTooSmallError
from amorph.handover.random_keys import Purpose, uniforms

from .optimizer import Along, lost
from .scaled import ScaledOptimizer, Vector, check_frame
from .steps import Arrays, Step
from .trust_region import least_change, within_bounds

__all__ = ["GaussNewtonOptimizer", "Region"]

# What part of the predicted gain has to come for the radius to grow, and below which it shrinks.
GOOD, POOR = 0.5, 0.25
GROWTH, SHRINKAGE = 2.0, 1.0 / 3.0
LARGEST = 1.0
# A radius below this one is stuck at a jump. The first step across is so long, each attempt that
# brings nothing makes the next so much longer, up to the longest; then the radius is AFTER.
STUCK = 5e-3
ACROSS, LONGER, LONGEST = 0.02, 1.4, 0.3
RANDOM = 0.5
AFTER = 0.02
# An attempt has brought something where the residual has fallen to this part.
NEARER = 0.9
# A prediction below this part of the residual is none.
NEGLIGIBLE = 1e-9
# Steps in a row that led to no packing at all, before the design is given up.
REFUSALS = 20
# An end is probed by this part of what moves the values by their tolerance.
HALF = 0.5


@dataclass(frozen=True)
class Region:
    """The state of a design by Gauss-Newton steps.

    Attributes
    ----------
    radius:
        How far linear response is trusted, in units of the parameters' scales.
    attempts:
        Steps across a jump since they last brought the values nearer.
    best:
        The residual's length then.
    refusals:
        Steps in a row that led to no packing.
    across:
        Whether the step in hand goes across.
    """

    radius: float
    attempts: int = 0
    best: float = np.inf
    refusals: int = 0
    across: bool = False


class GaussNewtonOptimizer(ScaledOptimizer[Region]):
    """Gauss-Newton steps in a trust region, for one packing or several with common parameters."""

    refusals = (
        *ScaledOptimizer.refusals,
        BoxTooSmallError,
        bridge.errors.DegenerateModesError,
    )
    descent = 10_000  # a packing needs some hundred; where it needs many more it is about to tear

    def start(self, theta: bridge.PairPotential) -> Region:
        """As `Optimizer.start`."""
        return Region(self.first_radius)

    def pace(self, state: Region, number: int) -> float:
        """As `Optimizer.pace`: the trust radius, in units of the parameters' scales."""
        return state.radius

    def propose(self, step: Step) -> tuple[bridge.PairPotential, Region]:
        """As `Optimizer.propose`: the shortest change that meets the targets, or one across."""
        state: Region = step.state
        residual, jacobian = self._residual(step), self._jacobian(step)
        low, high = self.room(step.theta)
        length = float(np.linalg.norm(residual))
        # Whoever asks for more with the loss below its threshold has seen that it does not hold.
        threshold = self.campaign.threshold
        passing = threshold is not None and step.loss < threshold
        change = within_bounds(jacobian, residual, state.radius, low, high)
        gain = length - float(np.linalg.norm(residual + jacobian @ change))
        across = passing or state.radius < STUCK or gain <= NEGLIGIBLE * length
        if across:
            nearer = length < NEARER * state.best
            attempts, best = (0, length) if nearer else (state.attempts, state.best)
            random = self._random(step.number, len(change))
            far = min(ACROSS * LONGER**attempts, LONGEST) * (0.5 + random[0, 1])
            far *= SHRINKAGE**state.refusals
            change = within_bounds(jacobian, residual, far, low, high)
            change = np.clip(change + RANDOM * far * _direction(random), low, high)
            state = replace(state, attempts=attempts + 1, best=best)
        state = replace(state, across=across)
        return self.changed(step.theta, change), state

    def judge(self, step: Step, trial: Step) -> Step:
        """As `Optimizer.judge`."""
        state: Region = replace(trial.state, refusals=0)
        change = self.flat(trial.theta) - self.flat(step.theta)
        far = float(np.linalg.norm(change))
        if state.across:
            state = replace(state, radius=AFTER)
            return replace(trial, state=state, pace=state.radius)
        residual = self._residual(step)
        length = np.linalg.norm(residual)
        predicted = length - np.linalg.norm(residual + self._jacobian(step) @ change)
        actual = length - np.linalg.norm(self._residual(trial))
        if not actual > 0:
            return self.kept(step, replace(state, radius=SHRINKAGE * far, across=False))
        if actual < POOR * predicted:
            state = replace(state, radius=0.5 * far)
        elif actual > GOOD * predicted and far > NEARER * state.radius:
            state = replace(state, radius=min(GROWTH * state.radius, LARGEST))
        return replace(trial, state=state, pace=state.radius)

    def refused(self, step: Step, state: Region, error: AmorphError) -> Step:
        """As `Optimizer.refused`: a shorter step is tried next, so many times."""
        if state.refusals + 1 >= REFUSALS:
            lost(step.number + 1, error)
        radius = state.radius if state.across else SHRINKAGE * state.radius
        return self.kept(
            step, replace(state, radius=radius, refusals=state.refusals + 1, across=False)
        )

    def along(self, step: Step) -> Along:
        """As `Optimizer.along`: the shortest change that moves the values by their tolerance.

        By linear response, and no longer than the first radius. A last step, short as Newton's are,
        would tell nothing.
        """
        threshold = self.campaign.threshold
        assert threshold is not None
        residual = np.full(step.each.size, -np.sqrt(threshold))
        change = least_change(self._jacobian(step), residual, self.first_radius)
        if not change.any():
            return super().along(step)
        return Along("tolerance", self.named(change), HALF)

    def reason(self, step: Step) -> str:
        """As `Optimizer.reason`."""
        state: Region = step.state
        if not state.attempts:
            return ""
        return (
            f"No change of the parameters brought the values much nearer in the last "
            f"{state.attempts} attempts to step across a jump: another packing, more parameters or "
            "wider bounds may."
        )

    def log(self, state: Region) -> Arrays:
        """As `Optimizer.log`."""
        return {
            "attempts": state.attempts,
            "best": state.best,
            "refusals": state.refusals,
        }

    def restored(self, theta: bridge.PairPotential, log: Mapping[str, NDArray[Any]]) -> Region:
        """As `Optimizer.restored`."""
        check_frame(log)
        return Region(
            float(log["radius"][0]),
            int(log["attempts"][0]),
            float(log["best"][0]),
            int(log["refusals"][0]),
        )

    def _residual(self, step: Step) -> Vector:
        """Of each packing and objective, by its weight."""
        return np.asarray((self.weight * (step.each - self.target)).ravel())

    def _jacobian(self, step: Step) -> Vector:
        """The residual's derivatives by the free numbers in their scales."""
        slopes = self.slopes(step)
        return (self.weight[:, None] * slopes).reshape(-1, slopes.shape[2])

    def _random(self, number: int, n: int) -> Vector:
        """Uniform numbers of a step, (n + 1, 2): two for each parameter, and two for the length."""
        seed = self.campaign.preparation.seed
        return uniforms(seed, Purpose.DESIGN_STEP, np.arange(n + 1), self.replica, number)


def _direction(random: Vector) -> Vector:
    """A direction at random, of length 1; all but the first of some pairs of uniform numbers."""
    first, second = 1.0 - random[1:, 0], random[1:, 1]
    normal = np.sqrt(-2.0 * np.log(first)) * np.cos(2.0 * np.pi * second)
    out: Vector = normal / np.linalg.norm(normal)
    return out
