"""The optimiser of second order for means over fresh packings: Gauss-Newton with noise.

Each step's mean has an error, and so has each derivative. What all steps so far have measured is
put together: every mean is that of the parameters in hand but for the way between, along the mean
derivatives, of which it is told how far they may be off. So the steps before, which cost as much,
count as well as the last, the more the nearer they are; and the estimate's error says when it is
enough. From the estimate the step is that of `amorph.campaigns.studies.design.trust_region`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph import bridge
from amorph.handover import AmorphError

from ...errors import DesignError
from ..averaging import cut
from ..trust_region import within_bounds
from .gauss_newton import GROWTH, LARGEST, NEARER, REFUSALS, SHRINKAGE
from .optimizer import lost
from .scaled import ScaledOptimizer, Vector, check_frame
from .steps import Arrays, Step

__all__ = ["Estimate", "Known", "MeanGaussNewtonOptimizer", "estimate"]

# Derivatives are taken to be known to this part of their length (cut at the median, and without
# rearrangements, they are too short), and to change by themselves over this way.
DOUBT = 0.3
BEND = 1.0
# A mean that misses its prediction by so many errors, and by so much of what the step was to
# bring, halves the radius.
SURPRISING, MISSED = 2.0, 0.5
# Variances are not taken for less than this, so that nothing is divided by zero.
LEAST = 1e-12
# So many steps are kept.
MOST = 64
# Targets are out of reach where after so many steps means are off by so many of their errors, and
# no change within bounds promises more than this part of the way.
SETTLED, CERTAIN, NOTHING = 12, 4.0, 0.05
# Of common starts the noise is the same at every step: it is no part of the differences.
COMMON_NOISE = 0.1


@dataclass(frozen=True, eq=False)
class Known:
    """The measurements of K steps.

    Attributes
    ----------
    at:
        (K, n) the free numbers.
    mean:
        (K, n_objectives) over the packings that count.
    spread:
        (K, n_objectives) the variance of a single packing's value.
    count:
        (K, n_objectives) how many packings count.
    slope:
        (K, n_objectives, n) the mean derivatives.
    scatter:
        (K, n_objectives) the variance of a mean derivative, summed over the free numbers.
    """

    at: Vector
    mean: Vector
    spread: Vector
    count: Vector
    slope: Vector
    scatter: Vector

    @classmethod
    def of_nothing(cls, n: int, objectives: int) -> "Known":
        """No step's."""
        values = np.zeros((0, objectives))
        slope = np.zeros((0, objectives, n))
        return cls(np.zeros((0, n)), values, values, values, slope, values)

    def and_(self, other: "Known") -> "Known":
        """Both together, the oldest left out where they are too many."""
        return Known(
            *(
                np.concatenate([getattr(self, name), getattr(other, name)])[-MOST:]
                for name in self.__dataclass_fields__
            )
        )


@dataclass(frozen=True, eq=False)
class Estimate:
    """Means at some parameters, and how they change with these.

    Attributes
    ----------
    mean, error:
        (n_objectives,).
    slope:
        (n_objectives, n).
    """

    mean: Vector
    error: Vector
    slope: Vector

    def beyond(self, change: Vector) -> "Estimate":
        """As predicted after a change of the free numbers."""
        way = self.slope @ change
        return Estimate(self.mean + way, np.hypot(self.error, DOUBT * np.abs(way)), self.slope)


def estimate(known: Known, at: Vector, common: bool = False) -> Estimate:
    """The means at some parameters (n,), from all that is known.

    A Bayesian linear regression for each objective: the mean m there and its derivatives J are
    unknown, J by `DOUBT` about the mean of the steps' own, and each step's mean is m + J·Δ, with an
    error that is its own and that of the line, |J| |Δ|² / 2 `BEND`.
    """
    way = known.at - at
    far = np.linalg.norm(way, axis=1)
    near = 1.0 / (1.0 + (2.0 * far / BEND) ** 2)
    near /= near.sum()
    mean, error, slope = [], [], []
    for o in range(known.mean.shape[1]):
        # The less they scatter, the more they count: close to instabilities they scatter widely.
        scatter = np.maximum(known.scatter[:, o], LEAST * known.scatter[:, o].max(initial=LEAST))
        share = near / scatter
        share /= share.sum()
        prior = share @ known.slope[:, o]
        length = max(float(np.linalg.norm(prior)), LEAST)
        # One spread for all, since a small sample's own goes with its mean where tails are long.
        noise = (near @ known.spread[:, o]) / known.count[:, o]
        if common:
            noise = noise * COMMON_NOISE**2
        weight = 1.0 / (noise + (length * far**2 / (2.0 * BEND)) ** 2 + LEAST**2)
        rows = np.concatenate([np.ones((len(far), 1)), way], axis=1)
        certainty = (rows * weight[:, None]).T @ rows
        told = rows.T @ (weight * known.mean[:, o])
        own = share**2 @ scatter / len(at)
        doubt = np.full(len(at), 1.0 / ((DOUBT * length) ** 2 + own))
        certainty[1:, 1:] += np.diag(doubt)
        told[1:] += doubt * prior
        covariance = np.linalg.inv(certainty)
        found = covariance @ told
        mean.append(found[0])
        slope.append(found[1:])
        error.append(np.sqrt(covariance[0, 0]))
    return Estimate(np.array(mean), np.array(error), np.array(slope))


@dataclass(frozen=True, eq=False)
class Learned:
    """The state of a design of means.

    Attributes
    ----------
    radius:
        How far a step may go, in units of the parameters' scales.
    known:
        What the steps before have measured.
    refusals:
        Steps in a row that led to too few packings.
    predicted, gain:
        What the step in hand is to have, and by how much the means change on the way; None at
        other times.
    """

    radius: float
    known: Known
    refusals: int = 0
    predicted: Estimate | None = None
    gain: Vector | None = None


class MeanGaussNewtonOptimizer(ScaledOptimizer[Learned]):
    """Gauss-Newton steps for means over fresh packings."""

    refusals = (DesignError,)

    def start(self, theta: bridge.PairPotential) -> Learned:
        """As `Optimizer.start`."""
        n, objectives = len(self.flat(theta)), len(self.target)
        return Learned(self.first_radius, Known.of_nothing(n, objectives))

    def pace(self, state: Learned, number: int) -> float:
        """As `Optimizer.pace`: the trust radius, in units of the parameters' scales."""
        return state.radius

    def propose(self, step: Step) -> tuple[bridge.PairPotential, Learned]:
        """As `Optimizer.propose`: the shortest change by which the means are as wanted."""
        state: Learned = step.state
        known = self._known(step)
        found = self._estimate(known, step)
        low, high = self.room(step.theta)
        change = within_bounds(
            self.weight[:, None] * found.slope,
            self.weight * (found.mean - self.target),
            state.radius,
            low,
            high,
        )
        ahead = replace(
            state, known=known, predicted=found.beyond(change), gain=found.slope @ change
        )
        return self.changed(step.theta, change), ahead

    def judge(self, step: Step, trial: Step) -> Step:
        """As `Optimizer.judge`: every step is taken that has packings enough."""
        state: Learned = trial.state
        assert state.predicted is not None
        assert state.gain is not None
        now = self._measured(trial)
        missed = np.abs(now.mean[0] - state.predicted.mean)
        error = np.hypot(np.sqrt(now.spread[0] / now.count[0]), state.predicted.error)
        far = np.linalg.norm(self.flat(trial.theta) - self.flat(step.theta))
        radius = state.radius
        if np.any((missed > SURPRISING * error) & (missed > MISSED * np.abs(state.gain))):
            radius *= 0.5
        elif far > NEARER * radius:
            radius = min(GROWTH * radius, LARGEST)
        state = Learned(radius, state.known)
        return replace(trial, state=state, pace=radius)

    def refused(self, step: Step, state: Learned, error: AmorphError) -> Step:
        """As `Optimizer.refused`: a shorter step is tried next, so many times."""
        refusals = step.state.refusals + 1
        if refusals >= REFUSALS:
            lost(step.number + 1, error)
        return self.kept(step, Learned(SHRINKAGE * step.state.radius, step.state.known, refusals))

    def arrived(self, step: Step) -> bool:
        """As `Optimizer.arrived`: the interval of each mean is within the error asked for."""
        asked = self.campaign.stop.error
        if asked is None or not step.accepted:
            return False
        found = self._estimate(self._known(step), step)
        return bool(np.all(np.abs(found.mean - self.target) + 2.0 * found.error <= asked))

    def out_of_reach(self, step: Step) -> str:
        """As `Optimizer.out_of_reach`: where no change within bounds brings the means nearer.

        It takes some steps, and means that are off by more than their errors.
        """
        known = self._known(step)
        if len(known.at) < SETTLED or not step.accepted:
            return ""
        found = self._estimate(known, step)
        residual, error = self.weight * (found.mean - self.target), self.weight * found.error
        length = float(np.linalg.norm(residual))
        if length <= CERTAIN * float(np.linalg.norm(error)):
            return ""
        jacobian = self.weight[:, None] * found.slope
        low, high = self.room(step.theta)
        change = within_bounds(jacobian, residual, LARGEST, low, high)
        if length - float(np.linalg.norm(residual + jacobian @ change)) > NOTHING * length:
            return ""
        means = ", ".join(
            f"{o.feature} {m:.4g} ± {e:.2g} in place of {t:.4g}"
            for o, m, e, t in zip(
                self.campaign.objective, found.mean, found.error, self.target, strict=True
            )
        )
        at = [
            f"{name}[{self.campaign.components(name)[k]}]"
            for name, values in self.free.places.items()
            for k, place in enumerate(values)
            if place >= 0
            and any(
                step.theta.arrays()[name][k] == bound for bound in self.campaign.bounds_of(name)
            )
        ]
        return (
            f"No change of the parameters within their bounds brings the means nearer: {means}"
            + (f", with {', '.join(at)} at a bound" if at else "")
            + ". Other parameters, wider bounds or another start may."
        )

    def told(self, step: Step) -> dict[str, Any]:
        """As `Optimizer.told`."""
        known = self._known(step)
        found = self._estimate(known, step)
        return {
            "mean": found.mean.tolist(),
            "error": found.error.tolist(),
            "packings": known.count.sum(axis=0).tolist(),
        }

    def log(self, state: Learned) -> Arrays:
        """As `Optimizer.log`."""
        known = {f"known/{k}": v.ravel() for k, v in vars(state.known).items()}
        return {"refusals": state.refusals, **known}

    def restored(self, theta: bridge.PairPotential, log: Mapping[str, NDArray[Any]]) -> Learned:
        """As `Optimizer.restored`."""
        check_frame(log)
        empty = vars(Known.of_nothing(len(self.flat(theta)), len(self.target)))
        known = Known(**{k: log[f"known/{k}"].reshape(-1, *v.shape[1:]) for k, v in empty.items()})
        return Learned(float(log["radius"][0]), known, int(log["refusals"][0]))

    def _estimate(self, known: Known, step: Step) -> Estimate:
        common = self.campaign.design.starts == "common"
        return estimate(known, self.flat(step.theta), common)

    def _known(self, step: Step) -> Known:
        """All that was measured up to a step, its own included."""
        before: Known = step.state.known
        return before.and_(self._measured(step))

    def _measured(self, step: Step) -> Known:
        """The measurement of a step: of the packings that count, their derivatives cut alike."""
        counted = self.campaign.counted(step.each)
        slopes, limit = self.slopes(step), self.campaign.design.limit
        mean, spread, slope, scatter = [], [], [], []
        for o in range(len(self.target)):
            which = counted[:, o]
            values, own = step.each[which, o], slopes[which, o]
            own = own * cut(np.linalg.norm(own, axis=1), limit)[:, None]
            mean.append(values.mean())
            spread.append(values.var(ddof=1) if len(values) > 1 else 0.0)
            slope.append(own.mean(axis=0))
            scatter.append(own.var(axis=0).sum() / len(own))
        return Known(
            self.flat(step.theta)[None],
            np.array(mean)[None],
            np.array(spread)[None],
            counted.sum(axis=0).astype(float)[None],
            np.array(slope)[None],
            np.array(scatter)[None],
        )
