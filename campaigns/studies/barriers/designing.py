"""One design of a packing's barrier: Gauss-Newton steps that all of its points follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph import bridge
from amorph.bridge import landscapes
from amorph.handover import AmorphError

from ..trust_region import within_bounds

__all__ = ["Raised", "raise_barrier"]

# Of the trust region: the length of the diameters' relative changes.
FIRST, LARGEST, SMALLEST = 0.02, 0.2, 1e-6
GOOD, POOR = 0.5, 0.25
# No diameter becomes smaller or larger than these parts of what it was.
LOWEST, HIGHEST = 0.5, 1.5
# A step that is to bring less than this part of what is left is none.
LEAST_GAIN = 1e-6

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Raised:
    """Where a design ended.

    Attributes
    ----------
    theta, transition:
        As designed.
    status:
        ``reached``; ``no gain``; ``lost``: a point ceases to be one on all ways on; ``stopped``: by
        the number of steps.
    barriers:
        ΔE after each step that was taken, (n_steps + 1,).
    held:
        The features that are held, after each, (n_steps + 1, n).
    evaluations:
        How often the points were followed.
    """

    theta: bridge.PairPotential
    transition: landscapes.Transition
    status: str
    barriers: Vector
    held: Vector
    evaluations: int


class _Here:
    """A packing and its transition, what is measured there, and the derivatives."""

    def __init__(self, theta: Any, transition: Any, held: Sequence[str]) -> None:
        self.theta, self.transition = theta, transition
        (self.barrier, _), (slope, _) = landscapes.barriers_and_gradients(theta, transition)
        sizes = np.asarray(theta.diameters)
        rows = [np.asarray(slope.arrays()["diameters"]) * sizes / self.barrier]
        self.values = np.zeros(0)
        if held:
            found = bridge.jacobian(theta, transition.start, list(held), "diameters")
            self.values = np.array([float(v) for v in found.values.values()])
            rows += list(found.matrix * sizes / np.abs(self.values)[:, None])
        self.jacobian = np.stack(rows)

    def left(self, wanted: float, before: Vector) -> Vector:
        """Residuals: of the barrier's logarithm, and of the others' relative changes."""
        return np.concatenate([[np.log(self.barrier / wanted)], self.values / before - 1.0])


def raise_barrier(
    theta: bridge.PairPotential,
    transition: landscapes.Transition,
    factor: float,
    *,
    held: Sequence[str],
    within: float,
    tolerance: float,
    most: int,
) -> Raised:
    """Change diameters until the barrier from a transition's start is `factor` times as high.

    Parameters
    ----------
    held:
        Features of the start that are to stay as they are, within a part of themselves.
    tolerance:
        The largest relative error of the barrier.
    most:
        Steps.

    Raises as `landscapes.barriers_and_gradients` does.
    """
    here = _Here(theta, transition, held)
    wanted, before = factor * here.barrier, here.values.copy()
    sizes = np.array(theta.diameters)
    left = here.left(wanted, before)
    barriers, values = [here.barrier], [here.values]
    radius, status, evaluations, lost = FIRST, "stopped", 1, False
    for _ in range(most):
        if abs(np.expm1(left[0])) <= tolerance and np.all(np.abs(left[1:]) <= within):
            status = "reached"
            break
        now = np.asarray(here.theta.diameters)
        room = (LOWEST * sizes / now - 1.0, HIGHEST * sizes / now - 1.0)
        change = within_bounds(here.jacobian, left, radius, *room)
        length = float(np.linalg.norm(left))
        predicted = length - float(np.linalg.norm(left + here.jacobian @ change))
        if predicted <= LEAST_GAIN * length or radius < SMALLEST:
            status = "lost" if lost else "no gain"
            break
        evaluations += 1
        far = float(np.linalg.norm(change))
        there = _tried(here, now * (1.0 + change), held)
        lost = there is None
        actual = -np.inf
        if there is not None:
            actual = length - float(np.linalg.norm(there.left(wanted, before)))
        if there is None or not actual > 0:
            radius = far / 3.0
            continue
        if actual < POOR * predicted:
            radius = 0.5 * far
        elif actual > GOOD * predicted and far > 0.9 * radius:
            radius = min(2.0 * radius, LARGEST)
        here, left = there, there.left(wanted, before)
        barriers.append(here.barrier)
        values.append(here.values)
    return Raised(
        here.theta, here.transition, status, np.array(barriers), np.array(values), evaluations
    )


def _tried(here: _Here, diameters: Vector, held: Sequence[str]) -> _Here | None:
    """The same with other diameters; None where a point is lost."""
    theta = here.theta.replace(diameters=diameters)
    try:
        found = landscapes.follow_transition(theta, here.transition)
        return _Here(theta, found, held) if found.barrier > 0 else None
    except AmorphError:
        return None
