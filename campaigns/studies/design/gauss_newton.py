"""The optimiser of second order for packings that are followed: Gauss-Newton in a trust region.

Each value is taken to follow its derivatives, and the shortest change of the parameters (in their
scales) that meets all targets is tried, within a radius: where it brings what was predicted the
radius grows, where it brings the loss up it is not taken, and shrinks.

Moduli jump where a pair crosses a distance at which u'' jumps. Between two such crossings this is
Newton's method. So a step is to be short in units of the gaps, too, each by as much as what its
crossing would do weighs beside what is left to do: with many parameters there are ways on which
none crosses, with few some do, and a jump that brings the values nearer is taken as it comes. At
one that leads away the radius shrinks to nothing, since the gradients of both sides point at it:
then a step goes across, with a random part, and what comes is taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph import bridge
from amorph.handover import AmorphError, BoxTooSmallError
from amorph.handover.random_keys import Purpose, uniforms

from ..trust_region import Held, beside, least_change, within_bounds
from .members import Near
from .optimizer import Along, lost
from .scaled import ScaledOptimizer, Vector, check_frame
from .steps import Arrays, Step

__all__ = ["GaussNewtonOptimizer", "Region"]

# What part of the predicted gain has to come for the radius to grow, and below which it shrinks.
GOOD, POOR = 0.5, 0.25
GROWTH, SHRINKAGE = 2.0, 1.0 / 3.0
LARGEST = 1.0
# The part of a step's gain that has to be left for gaps to be held firmly, or of so much of the
# residual if that is less.
WORTH, PATIENCE = 0.3, 0.1
# A radius below this one is stuck at a jump. The first step across is so long, each attempt that
# brings nothing makes the next so much longer, up to the longest; then the radius is AFTER.
STUCK = 5e-3
ACROSS, LONGER, LONGEST = 0.02, 1.4, 0.3
RANDOM = 0.5
AFTER = 0.02
# Where an end does not hold since pairs cross as it is probed, so many attempts are made to move
# them away at the same values, until their gaps are so many times what the probe changes them by.
# Those whose crossing changes the values by less than a part of their tolerance do not count.
APART, CLEAR, SMALL = 4, 4.0, 0.1
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


@dataclass(frozen=True, eq=False)
class Gaps:
    """The pairs that are near to where u'' jumps, m of them.

    Attributes: `slopes`, the derivatives of the gaps' logarithms by the free numbers (m, n);
    `jumps`, how far the residual jumps as each crosses (m,), infinite where the packing rearranges
    or that is not known.
    """

    slopes: Vector
    jumps: Vector


class GaussNewtonOptimizer(ScaledOptimizer[Region]):
    """Gauss-Newton steps in a trust region, for one packing or several with common parameters."""

    refusals = (
        *ScaledOptimizer.refusals,
        BoxTooSmallError,
        bridge.errors.DegenerateModesError,
    )
    needs_gaps = True
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
        gaps = self._gaps(step.near)
        change, gain = self._held(residual, jacobian, gaps, state.radius, (low, high))
        across = passing or state.radius < STUCK or gain <= NEGLIGIBLE * length
        if across:
            nearer = length < NEARER * state.best
            attempts, best = (0, length) if nearer else (state.attempts, state.best)
            apart = self._apart(jacobian, gaps, (low, high)) if passing else None
            if apart is not None and apart.any() and attempts < APART:
                change = change + apart
            else:
                random = self._random(step.number, len(change))
                far = min(ACROSS * LONGER**attempts, LONGEST) * (0.5 + random[0, 1])
                far *= SHRINKAGE**state.refusals
                change = within_bounds(jacobian, residual, far, low, high)
                change = change + RANDOM * far * _direction(random)
            change = np.clip(change, low, high)
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
        change = self._probing(self._jacobian(step))
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

    def _held(
        self,
        residual: Vector,
        jacobian: Vector,
        gaps: Gaps,
        radius: float,
        bounds: tuple[Vector, Vector],
    ) -> tuple[Vector, float]:
        """The change to try within a radius, and by how much the residual should get shorter.

        A gap is held by what its pair's jump is beside what the step is to bring. Of a single value
        it is beside all that is left to do: jumps lead it across its target as steps do. So it is
        for several values where holding the gaps costs most of the step.
        """
        length = float(np.linalg.norm(residual))

        def gained(change: Vector) -> float:
            return length - float(np.linalg.norm(residual + jacobian @ change))

        def tried(most: float) -> tuple[Vector, float]:
            weight = np.minimum(gaps.jumps, most) / most
            held = Held(jacobian, weight[:, None] * gaps.slopes)
            change = held.change(residual, radius, bounds)
            return change, gained(change)

        if not length > 0:
            return np.zeros(jacobian.shape[1]), 0.0
        if len(residual) == 1:
            return tried(length)
        free = within_bounds(jacobian, residual, radius, *bounds)  # no gap held
        whole = gained(free)
        if not whole > NEGLIGIBLE * length:
            return free, whole
        change, gain = tried(whole)
        if gain >= WORTH * min(whole, PATIENCE * length):
            return change, gain
        return tried(length)

    def _gaps(self, near: Sequence[Near]) -> Gaps:
        """Of all packings' pairs near to where u'' jumps, by the free numbers in their scales."""
        slopes, jumps = [np.zeros((0, len(self._scale)))], [np.zeros(0)]
        for one in near:
            jumps.append(np.linalg.norm(self.weight[:, None] * one.steps, axis=0))
            slope = np.empty((len(jumps[-1]), len(self._scale)))
            for p in range(len(slope)):
                free = self.free.gathered({k: v[p] for k, v in one.slopes.items()})
                slope[p] = self._joined(free) * self._scale
            slopes.append(slope)
        return Gaps(np.concatenate(slopes), np.concatenate(jumps))

    def _apart(self, jacobian: Vector, gaps: Gaps, bounds: tuple[Vector, Vector]) -> Vector:
        """The change that makes room for an end to hold: no pair may cross as it is probed.

        Pairs that would, or nearly, are moved away from where they cross, at the same values.
        """
        threshold = self.campaign.threshold
        assert threshold is not None
        counts = gaps.jumps > SMALL * np.sqrt(threshold)
        probe = HALF * (gaps.slopes @ self._probing(jacobian))
        close = counts & (CLEAR * np.abs(probe) > 1.0)
        wider = CLEAR * np.abs(probe[close]) - 1.0
        wanted = (gaps.slopes[close], wider)
        return beside(jacobian, wanted, self.first_radius, gaps.slopes[counts & ~close], bounds)

    def _probing(self, jacobian: Vector) -> Vector:
        """The shortest change that moves the values by their tolerance, by linear response."""
        threshold = self.campaign.threshold
        assert threshold is not None
        residual = np.full(len(jacobian), -np.sqrt(threshold))
        return least_change(jacobian, residual, self.first_radius)

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
