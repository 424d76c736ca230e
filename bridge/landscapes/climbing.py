"""Saddles of packings of any size: out of a minimum along a direction, then by the lowest modes.

In large systems nothing but the factors of sparse matrices is affordable, and they are enough. As
long as no mode is negative the particles are dragged along the direction, all others relaxing at
once: one solution with two loads. From there on every step is Newton's with the negative modes
turned: uphill along the lowest one, downhill along all else, their number known by the factor's
inertia. Where pairs cross a distance at which u'' jumps, a whole Newton step may lead back and
forth for ever, so steps end where the force along them does, the lowest mode's part turned.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import scipy.sparse.linalg
from numpy.typing import NDArray

from ..errors import ConvergenceError, NotASaddleError
from ..matter.mechanics import State, driving_forces_of, energy_of
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..minima.relaxing import Work
from ..minima.responses import largest, surveyed
from ..solve.blas import one_blas_thread
from ..solve.blocks import pair_stiffness
from ..solve.factors import TINY, Factor, factorise
from .saddles import Saddle

__all__ = ["climb", "refined"]

Vectors = NDArray[np.float64]

# So much is the particle that is dragged the most moved in a step, in smallest diameters; and a
# step of all is no longer, at first, at most and at least.
DRAG = 0.1
FIRST_MOVE, LARGEST_MOVE, SMALLEST_MOVE = 0.1, 0.3, 1e-3
# A direction along which a packing has not become unstable after so many diameters leads nowhere.
FARTHEST_DRAG = 3.0
# By this part of its mean diagonal element the Hessian is raised: rattlers have no stiffness.
RAISED = 1e-8
# Forces along a step, turned, beside those at its beginning: a step ends well between the first two
# and is not cut below the third; beyond the last a wall stands in the way.
BACK, AHEAD, WALL = -0.3, 0.5, 1.5
MOST_TRIALS = 12
# Of modes, while the search is on its way.
MODE_TOLERANCE = 1e-5

_forces = jax.jit(driving_forces_of)
_energy = jax.jit(energy_of)


@jax.jit
def _look(theta: Any, state: State) -> tuple[Any, Any]:
    """Forces (N, d), and the pairs' matrices."""
    return driving_forces_of(theta, state), pair_stiffness(theta, state)


@dataclass
class Climb:
    """One search: the particles where they are, and what is known of them.

    Attributes
    ----------
    work:
        Theta, the packing and the state.
    start:
        Where the particles were, (N, d).
    direction:
        Uphill, (N, d): at first the one asked for, then the lowest mode, its largest row of
        length 1.
    most:
        The longest step.
    factor:
        Of the Hessian where the particles are, slightly raised.
    unstable:
        Whether a mode has been negative.
    evaluations:
        How many gradients there were.
    """

    work: Work
    start: Vectors
    direction: Vectors
    most: float
    factor: Factor | None = None
    unstable: bool = False
    evaluations: int = 0

    @property
    def size(self) -> float:
        """The smallest diameter."""
        return self.work.theta.size_range()[0]

    @property
    def positions(self) -> Vectors:
        """(N, d)."""
        return np.asarray(self.work.state.positions)

    def factorised(self) -> tuple[Vectors, Factor]:
        """The forces (N, d), and a new factor."""
        work = self.work
        n, d = self.start.shape
        work.state = replace(work.state, rattlers=np.zeros(n, dtype=bool))
        forces, stiffness = _look(work.theta, work.state)
        self.evaluations += 1
        if not np.isfinite(np.asarray(forces)).all():
            raise NotASaddleError(
                "the search met forces that are not finite: two particles coincide. Take another "
                "direction."
            )
        solver = "dense" if n * d <= TINY else "direct"
        self.factor = factorise(
            work.theta,
            work.state,
            solver,
            RAISED,
            definite=False,
            like=self.factor,
            stiffness=stiffness,
        )
        return np.asarray(forces), self.factor

    def forces(self) -> Vectors:
        """The forces where the particles are, (N, d)."""
        self.evaluations += 1
        return np.asarray(_forces(self.work.theta, self.work.state))

    def drag(self, forces: Vectors, factor: Factor) -> None:
        """A step so far along the direction, all else relaxing."""
        if self.unstable and np.vdot(self.direction, forces) > 0.0:
            self.direction = -self.direction  # uphill is against the forces
        v = self.direction
        both = factor.solve(np.stack([forces, v], axis=-1))
        push = DRAG * self.size * np.vdot(v, v) - np.vdot(v, both[..., 0])
        step = both[..., 0] + push / np.vdot(v, both[..., 1]) * both[..., 1]
        longest = min(1.0, 2.0 * self.most / largest(step))
        self.work.move_to(self.positions + longest * step)

    def climb(self, forces: Vectors, factor: Factor, negative: int) -> None:
        """Newton's step with negative modes turned, as far as its forces allow."""
        values, modes = lowest_modes(factor, negative, self.direction)
        lowest = modes[0]
        self.unstable = True
        self.direction = lowest / largest(lowest)
        step = factor.solve(forces[:, :, None])[:, :, 0]
        for value, mode in zip(values[1:], modes[1:], strict=True):
            step = step - 2.0 * (np.vdot(mode, forces) / value) * mode
        whole = min(1.0, self.most / largest(step))

        def along(forces: Vectors) -> float:
            """Of forces with the lowest mode's part turned, what is along the step."""
            turned = np.vdot(step, forces) - 2.0 * np.vdot(lowest, forces) * np.vdot(step, lowest)
            return float(turned)

        part, trials = self._searched(step, whole, along, along(forces))
        if part < 0.25 * whole:
            self.most = max(0.5 * self.most, SMALLEST_MOVE * self.size)
        elif trials == 1:
            self.most = min(1.5 * self.most, LARGEST_MOVE * self.size)

    def _searched(
        self, step: Vectors, whole: float, along: Callable[[Vectors], float], first: float
    ) -> tuple[float, int]:
        """Go a part of a step, found by interpolation between where forces turn; that, and trials.

        That the turned force vanishes is what a line search asks of the turned energy; a step ends
        before a wall, too, which would make another mode the lowest.
        """
        before = self.positions
        low, at_low, high, at_high = 0.0, 1.0, whole, 0.0
        part, aim, bracketed = whole, 0.0, False
        for trial in range(1, MOST_TRIALS + 1):
            self.work.move_to(before + part * step)
            here = along(self.forces()) / first
            if BACK <= here <= AHEAD:
                break
            if AHEAD < here <= WALL:
                if part == whole or (bracketed and aim > 0.0):
                    break
                low, at_low = part, here
            else:
                high, at_high, bracketed = part, here, True
                aim = 0.0 if here < 0.0 else 0.5 * (1.0 + WALL) - 0.05
            share = 0.5
            if trial % 3:
                share = float(np.clip((at_low - aim) / (at_low - at_high), 0.05, 0.95))
            part = low + share * (high - low)
        return part, trial


def lowest_modes(factor: Factor, number: int, near: Vectors) -> tuple[Vectors, Vectors]:
    """Negative eigenvalues (number,), ascending, of a factor's matrix, and modes (number, N, d).

    Lanczos' iteration with the inverse, from a vector `near`.
    """
    n, d = near.shape

    def inverse(v: Vectors) -> Vectors:
        return factor.solve(v.reshape(n, d, 1)).ravel()

    operator = scipy.sparse.linalg.LinearOperator((n * d, n * d), inverse, dtype=np.float64)
    try:
        values, modes = scipy.sparse.linalg.eigsh(
            operator, k=number, which="SA", v0=near.ravel(), tol=MODE_TOLERANCE
        )
    except scipy.sparse.linalg.ArpackNoConvergence as error:
        raise ConvergenceError(f"the lowest modes were not found: {error}.") from error
    order = np.argsort(1.0 / values)
    return 1.0 / values[order], modes.T[order].reshape(number, n, d)


@one_blas_thread
def climb(
    theta: Theta, packing: Packing, direction: Vectors, tolerance: float, max_steps: int
) -> Saddle:
    """The saddle that a packing at rest is led to along a direction (N, d).

    Raises `NotASaddleError` where none is met.
    """
    work = Work.start(theta, packing)
    start = np.array(packing.positions)
    size = theta.size_range()[0]
    search = Climb(work, start, direction / largest(direction), FIRST_MOVE * size)
    for steps in range(max_steps):
        forces, factor = search.factorised()
        found = factor.inertia()
        assert found is not None
        if found.negative == 1 and largest(forces) <= tolerance:
            return _proven(search, tolerance, steps)
        if found.negative:
            search.climb(forces, factor, found.negative)
            continue
        search.drag(forces, factor)
        if not search.unstable and steps * DRAG > FARTHEST_DRAG:
            raise NotASaddleError(
                f"the packing does not become unstable along the direction, {FARTHEST_DRAG:g} "
                "diameters far. Take another one."
            )
    raise NotASaddleError(
        f"the search did not end in {max_steps} steps: a force of {largest(forces):.1e} is left. "
        "Where contacts open and close all the time (harmonic spheres near jamming) many do not: "
        "take another direction, or give more with max_steps."
    )


@one_blas_thread
def refined(theta: Theta, saddle: Saddle, tolerance: float, max_steps: int = 50) -> Saddle:
    """The saddle near to one of other interactions; raises `NotASaddleError` where it is lost."""
    work = Work.start(theta, saddle.packing)
    start = np.array(saddle.packing.positions)
    search = Climb(work, start, saddle.mode, FIRST_MOVE * theta.size_range()[0], unstable=True)
    for steps in range(max_steps):
        forces, factor = search.factorised()
        found = factor.inertia()
        assert found is not None
        if not found.negative:
            break
        if found.negative == 1 and largest(forces) <= tolerance:
            return _proven(search, tolerance, steps)
        search.climb(forces, factor, found.negative)
    raise NotASaddleError("the saddle was lost: no stationary point of one negative mode is near.")


def _proven(search: Climb, tolerance: float, steps: int) -> Saddle:
    """The saddle where a search ended; raises `NotASaddleError` where it is none."""
    work = search.work
    n, d = search.start.shape
    work.state = work.final(0.0)
    seen = surveyed(work.theta, work.state, tolerance)
    # At a minimum whoever may be held by too few contacts is a rattler; at a saddle just that
    # particle may be the one that passes: here it is who has no contact.
    held = np.zeros(n, dtype=bool)
    for contact in seen.contacts:
        counts = np.asarray(contact.counts)
        held[np.asarray(contact.i)[counts]] = held[np.asarray(contact.j)[counts]] = True
    fixed = work.state.fixed
    still = ~held if fixed is None else ~held & ~np.asarray(fixed)
    work.state = replace(work.state, rattlers=still)
    factor = factorise(
        work.theta, work.state, "dense" if n * d <= TINY else "direct", definite=False
    )
    inertia = factor.inertia()
    assert inertia is not None
    if inertia.zero:
        raise NotASaddleError(
            f"the search ended where the energy is flat along {inertia.zero} modes besides rigid "
            "motions: parts of the packing move freely. Take another direction."
        )
    if inertia.negative != 1:
        raise NotASaddleError(
            f"the search ended at a stationary point of {inertia.negative} negative modes. Take "
            "another direction."
        )
    values, modes = lowest_modes(factor, 1, search.direction)
    return Saddle(
        work.packing.with_positions(work.state.positions),
        float(_energy(work.theta, work.state)),
        float(seen.largest),
        float(values[0]),
        modes[0],
        steps,
        search.evaluations,
    )
