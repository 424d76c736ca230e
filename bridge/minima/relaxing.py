"""Re-minimisation to a proven minimum: FIRE from afar, safeguarded Newton at the end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from amorph.handover import check_box
from amorph.handover.arguments import check_choice, count, not_negative
from amorph.handover.showing import shown

from ..errors import NotAMinimumError, RelaxationError, SingularHessianError
from ..matter.arguments import check
from ..matter.mechanics import (
    State,
    attractive,
    driving_forces_of,
    energy_of,
    interactions,
    state_of,
)
from ..matter.packing import Packing
from ..matter.pairs import PairList, within
from ..matter.springs import Theta
from ..precision import require_float64
from ..solve.factors import DENSE, SOLVERS, Factor, factorise, lowest_mode
from ..solve.sparse import NotPositiveError
from .rattlers import rattlers_among
from .responses import (
    Response,
    coinciding,
    force_tolerance,
    keep,
    kept_response,
    largest,
    respond,
    surveyed,
)
from .rules import NEWTON_MOVE, step_is_accepted

__all__ = ["Relaxation", "relax", "relaxation"]

# Newton is tried once forces are this small beside k_max σ; it is given up, and FIRE goes on to
# forces a hundred times smaller, when a step does not at least halve them, would move a particle
# farther than this part of a diameter, or meets a negative mode.
NEWTON_FORCE = 1e-2
FIRE_GAIN = 1e-2
MOST_CHORDS = 12
# Steps by a factor that is there go on to this part of the tolerance, about what round-off of the
# forces leaves: one more costs little, and differences between packings are as exact as can be.
BELOW = 1e-2
MOST_NEWTON = 30
# Large packings whose forces are this small beside k_max σ are not left to FIRE: see `run_newton`.
BOUNDED_FORCE = 1e-6
MOST_BOUNDED = 60
MOST_HALVINGS = 10
# By these parts of its mean diagonal element a Hessian is raised, the first that is enough.
RAISED = (0.0, *10.0 ** np.arange(-6.0, 1.0))
SKIN = 0.2  # of the largest diameter


@dataclass(frozen=True, eq=False)
class Relaxation:
    """How a packing came to rest.

    Attributes: packing; response; newton_steps and fire_steps; moved, the largest displacement of
    a particle.
    """

    packing: Packing
    response: Response
    newton_steps: int
    fire_steps: int
    moved: float

    def __repr__(self) -> str:
        found = self.response
        return shown(
            f"Relaxation of {self.packing.n_particles} particles in {self.packing.dimension} "
            "dimensions",
            [
                ("energy", f"{found.energy:.10g}"),
                ("largest force", f"{found.max_force:.2e} (at most {found.tolerance:.1e})"),
                ("rattlers", str(int(found.rattlers.sum()))),
                ("steps", f"{self.fire_steps} of FIRE, {self.newton_steps} of Newton's method"),
                ("moved", f"{self.moved:.3g} at most"),
            ],
        )


@dataclass
class Work:
    """The state of one relaxation: positions that move, and the pairs around them."""

    theta: Theta
    packing: Packing
    skin: float
    state: State
    origin: NDArray[np.float64]

    @classmethod
    def start(cls, theta: Theta, packing: Packing, known: PairList | None = None) -> "Work":
        """The state of a packing, by a list of pairs that is known if it serves."""
        x = packing.positions
        if known is not None:
            skin = known.skin(theta.near)
            if skin > 0.0 and largest(x - known.origin) < 0.25 * skin:
                if packing.box is not None:
                    check_box(np.asarray(packing.box), theta.longest_cutoff())
                state = state_of(theta, packing, pairs=known.pairs)
                return cls(theta, packing, skin, state, known.origin)
        skin = SKIN * theta.size_range()[1]
        state = state_of(theta, packing, skin=skin)
        return cls(theta, packing, skin, state, x)

    def final(self, reach: float) -> State:
        """The state where the particles are now, with the pairs within reach and no others."""
        packing = self.packing.with_positions(self.state.positions)
        if self.theta.near is not None and reach > float(self.theta.near.cutoffs().min()):
            return state_of(self.theta, packing, reach=reach)
        return replace(self.state, pairs=within(self.theta.near, packing, self.state.pairs, reach))

    def move_to(self, positions: Any) -> None:
        """Put the particles somewhere, with new pairs where one has left half the skin."""
        points = np.asarray(positions)
        if not np.isfinite(points).all():
            raise RelaxationError(
                "positions are no longer finite: two particles coincide, or the parameters are "
                "extreme. Start from another packing."
            )
        if largest(points - self.origin) >= 0.5 * self.skin:
            packing = self.packing.with_positions(points)
            self.state = state_of(self.theta, packing, skin=self.skin)
            self.origin = points
        self.state = replace(self.state, positions=points)


@jax.jit
def _forces(theta: Theta, state: State) -> Array:
    return driving_forces_of(theta, state)


@jax.jit
def _held_forces(theta: Theta, state: State) -> Array:
    return driving_forces_of(theta, state, held=True)


@jax.jit
def _energy(theta: Theta, state: State) -> Array:
    return energy_of(theta, state)


@jax.jit
def _overlaps(theta: Theta, state: State) -> tuple[Array, Array]:
    """How far each pair that only pushes lies within its cutoff, (M,), and its unit vector."""
    near = interactions(theta, state)[0]
    depth = near.kind.pair_cutoff(near.parameters) - near.distance
    return jnp.where(attractive(theta, state)[0], 0.0, depth), near.unit


@partial(jax.jit, static_argnames="max_steps")
def _fire(
    theta: Theta,
    state: State,
    velocities: Array,
    dt: Array,
    mixing: Array,
    downhill: Array,
    target: Array,
    dt_max: Array,
    half_skin: Array,
    max_steps: int,
) -> tuple[Array, ...]:
    """FIRE 2 (Guénolé et al. 2020) with fixed pairs, until a particle leaves half the skin."""
    origin = state.positions

    def at(positions: Array) -> Array:
        return driving_forces_of(theta, replace(state, positions=positions))

    def going(carry: tuple[Array, ...]) -> Array:
        x, _, f, _, _, _, steps = carry
        far = jnp.max(jnp.sum((x - origin) ** 2, axis=1)) >= half_skin**2
        small = jnp.max(jnp.sum(f**2, axis=1)) <= target**2
        return (steps < max_steps) & ~far & ~small & jnp.all(jnp.isfinite(f))

    def step(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        x, v, f, dt, mixing, downhill, steps = carry
        power = jnp.vdot(f, v)
        onward = power > 0
        downhill = jnp.where(onward, downhill + 1, 0)
        faster = onward & (downhill > 5)
        x = jnp.where(onward, x, x - 0.5 * dt * v)
        dt = jnp.where(
            faster,
            jnp.minimum(1.1 * dt, dt_max),
            jnp.where(onward, dt, jnp.maximum(0.5 * dt, 4e-3 * dt_max)),
        )
        speed, push = jnp.linalg.norm(v), jnp.linalg.norm(f)
        v = jnp.where(
            onward,
            (1 - mixing) * (v + dt * f) + mixing * f * speed / jnp.maximum(push, 1e-300),
            dt * f,
        )
        mixing = jnp.where(faster, 0.99 * mixing, jnp.where(onward, mixing, 0.25))
        # No particle moves farther than a quarter of the skin in one step.
        fastest = jnp.sqrt(jnp.max(jnp.sum(v**2, axis=1)))
        x = x + v * jnp.minimum(dt, 0.25 * half_skin / jnp.maximum(fastest, 1e-300))
        return x, v, at(x), dt, mixing, downhill, steps + 1

    zero = jnp.zeros((), dtype=int)
    start = (origin, velocities, at(origin), dt, mixing, downhill, zero)
    return lax.while_loop(going, step, start)


def _run_fire(work: Work, target: float, max_steps: int) -> int:
    """FIRE until the largest |F| is at most the target; returns the steps taken."""
    dt_max = 0.5 / np.sqrt(work.theta.max_stiffness())
    velocities: Any = np.zeros_like(work.origin)
    dt, mixing, downhill = np.float64(0.3 * dt_max), np.float64(0.25), np.int64(0)
    taken = 0
    if max_steps <= 0:
        raise RelaxationError(
            f"FIRE used up its steps before the forces fell below {target:.1e}: give more with "
            "max_steps, or start from another packing."
        )
    while True:
        x, velocities, f, dt, mixing, downhill, steps = _fire(
            work.theta,
            work.state,
            velocities,
            dt,
            mixing,
            downhill,
            np.float64(target),
            np.float64(dt_max),
            np.float64(0.5 * work.skin),
            max_steps=2000,
        )
        taken += int(steps)
        work.move_to(x)
        force = largest(f)
        if force <= target:
            return taken
        if taken >= max_steps:
            raise RelaxationError(
                f"FIRE did not bring the largest force below {target:.1e} in {taken} steps (it is "
                f"{force:.1e}): give more with max_steps, or start from another packing."
            )


def settle_rattlers(work: Work, rattlers: NDArray[np.bool_]) -> bool:
    """Move rattlers alone out of the overlaps that hold them; False if that cannot be done.

    Nothing pushes a rattler back. Moves by the overlap creep where a cage is narrow; going on
    almost as far again takes up to forty times fewer rounds. What attracts is left to the
    minimisation: it has a place where it rests.
    """
    if work.theta.near is None:
        return True
    for _ in range(100):
        pairs = work.state.pairs
        i, j = np.asarray(pairs.i), np.asarray(pairs.j)
        depth, unit = (np.asarray(x) for x in _overlaps(work.theta, work.state))
        touching = (depth > 0) & (rattlers[i] | rattlers[j])
        touching &= np.arange(len(i)) < int(pairs.count)
        if not touching.any():
            return True
        i, j = i[touching], j[touching]
        move = (1.9 * depth[touching] + 1e-13)[:, None] * unit[touching]
        share = np.where(rattlers[i] & rattlers[j], 0.5, 1.0)[:, None] * move
        step = np.zeros_like(work.origin)
        np.add.at(step, i, np.where(rattlers[i][:, None], -share, 0.0))
        np.add.at(step, j, np.where(rattlers[j][:, None], share, 0.0))
        work.move_to(work.state.positions + step)
    return False


def run_newton(
    work: Work,
    tolerance: float,
    solver: str = "auto",
    *,
    bounded: bool = False,
) -> tuple[bool, int, NDArray[np.float64]]:
    """Newton steps as long as each does what it should.

    A factorisation serves for as many steps as make the forces smaller by its `gain` each: near a
    minimum one is enough. Returns whether the packing is at rest, the factorisations made, and the
    first step, (N, d).

    ``bounded`` goes on where a step does not do what it should. In a large packing there is always
    a place so soft, or unstable, that a Newton step leaves its basin; FIRE would take tens of
    thousands of steps to settle that one place. The matrix is then raised until it is positive
    definite, no particle moves farther than `NEWTON_MOVE`, and the energy falls along the step.
    """
    taken = 0
    first = np.zeros_like(work.origin)
    seen = surveyed(work.theta, work.state)
    while True:
        rattlers = rattlers_among(work.theta, work.state, seen.contacts)
        loose = bool(rattlers.any())
        if loose and not rattlers.all():
            if not settle_rattlers(work, rattlers):
                return False, taken, first
            seen = surveyed(work.theta, work.state)
        work.state = replace(work.state, rattlers=rattlers)
        force = float(seen.largest)
        if force <= tolerance:
            return True, taken, first
        if rattlers.all() or taken == (MOST_BOUNDED if bounded else MOST_NEWTON):
            return False, taken, first
        forces = np.asarray(_held_forces(work.theta, work.state) if loose else seen.forces)
        if largest(forces) <= tolerance:
            # What is left is on particles that are held, but not rigidly: nothing for Newton.
            return False, taken, first
        step, left = _one_factorisation(work, forces, force, tolerance, solver, bounded)
        if step is not None:
            taken += 1
            first = step if not first.any() else first
        if left is None:
            return False, taken, first
        seen = surveyed(work.theta, work.state, left)


def _one_factorisation(
    work: Work,
    forces: NDArray[np.float64],
    force: float,
    tolerance: float,
    solver: str,
    bounded: bool,
) -> tuple[NDArray[np.float64] | None, float | None]:
    """Steps by one factorisation: the first of them, and the largest force they leave.

    No step where the Hessian is not positive definite, no force where the step was refused.
    """
    found = _factorised(work, forces, solver, RAISED if bounded else (0.0,))
    if found is None:
        return None, None
    factor, step = found
    _, left = _steps(work, factor, forces, force, tolerance, step)
    if left is None and bounded:
        left = _bounded_step(work, step)
    return step, left


def run_known(
    work: Work, tolerance: float, factor: Factor
) -> tuple[bool, NDArray[np.float64] | None]:
    """Steps by the factor of a state nearby: whether they lead to rest, and the first, (N, d).

    Who is a rattler is as the state says. No step where the first was refused.
    """
    if not factor.is_of(work.state):
        return False, None
    forces = np.asarray(_held_forces(work.theta, work.state))
    force = largest(forces)
    if force <= tolerance:
        return True, np.zeros_like(forces)
    first, left = _steps(work, factor, forces, force, tolerance)
    if left is None:
        return False, None
    return left <= tolerance, first


def _steps(
    work: Work,
    factor: Factor,
    forces: NDArray[np.float64],
    force: float,
    tolerance: float,
    step: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], float | None]:
    """Steps by one factor as long as they gain: the first, and the largest force they leave.

    They are those of L-BFGS whose first matrix is the factorised Hessian: what forces did along
    each step corrects the next, so that few pairs that crossed a jump of u'' since the factor was
    made need no other. No force where the first step was refused, and taken back.

    Source: Nocedal and Wright, Numerical Optimization (2006), algorithm 7.4.
    """
    sigma = work.theta.size_range()[0]
    known: list[Curvature] = []
    first: NDArray[np.float64] | None = None
    gained = [np.inf, force]  # the largest forces before the last two steps
    for chord in range(MOST_CHORDS):
        if chord or step is None:
            step = _corrected(factor, known, forces)
        first = step if first is None else first
        before = work.state.positions
        moved = largest(step)
        smaller = np.inf
        left = forces
        if moved <= NEWTON_MOVE * sigma:
            work.move_to(before + step)
            # A rattler that a step runs into is moved clear later: it does not count here.
            left = np.asarray(_held_forces(work.theta, work.state))
            smaller = largest(left)
        if not step_is_accepted(gained[-1], smaller, moved, sigma, tolerance):
            # Not in the quadratic part of this basin, or the factor is too old: back.
            work.move_to(before)
            if chord == 0:
                return first, None
            break
        known.append(Curvature.of(step, forces - left))
        forces = left
        slow = smaller > gained[0] / factor.gain**2
        gained = [gained[1], smaller]
        if smaller <= BELOW * tolerance or slow:
            break
    assert first is not None
    return first, gained[-1]


@dataclass(frozen=True, eq=False)
class Curvature:
    """A step s, the fall y of the forces along it, (N, d) both, and 1/(s·y): L-BFGS's memory."""

    step: NDArray[np.float64]
    fall: NDArray[np.float64]
    inverse: float

    @classmethod
    def of(cls, step: NDArray[np.float64], fall: NDArray[np.float64]) -> "Curvature":
        """Of a step (N, d); one along which forces did not fall tells nothing."""
        along = float(np.vdot(step, fall))
        return cls(step, fall, 1.0 / along if along > 0.0 else 0.0)


def _corrected(
    factor: Factor, known: Sequence[Curvature], forces: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The step that forces (N, d) ask for by a factor, corrected by what is known since."""
    load, parts = forces, []
    for past in reversed(known):
        part = past.inverse * float(np.vdot(past.step, load))
        load = load - part * past.fall
        parts.append(part)
    step = factor.solve(load[:, :, None], rough=True)[:, :, 0]
    for past, part in zip(known, reversed(parts), strict=True):
        step = step + (part - past.inverse * float(np.vdot(past.fall, step))) * past.step
    return step


def _factorised(
    work: Work, forces: NDArray[np.float64], solver: str, raised: Sequence[float]
) -> tuple[Factor, NDArray[np.float64]] | None:
    """The first of some raised Hessians that is positive definite, and its Newton step (N, d)."""
    for part in raised:
        try:
            factor = factorise(work.theta, work.state, solver, part)
            if not factor.singular():
                return factor, factor.solve(forces[:, :, None], rough=True)[:, :, 0]
        except NotPositiveError:
            continue
    return None


def _bounded_step(work: Work, step: NDArray[np.float64]) -> float:
    """A Newton step with every particle's part bounded, halved while the forces turn back.

    Returns the largest force it leaves.
    """
    limit = NEWTON_MOVE * work.theta.size_range()[0]
    before = work.state.positions
    forces = np.asarray(_held_forces(work.theta, work.state))
    size = np.sqrt(np.sum(step**2, axis=1))[:, None]
    bounded = step * np.minimum(1.0, limit / np.maximum(size, 1e-300))
    if np.vdot(forces, bounded) <= 0:  # cut particle by particle it may lead uphill
        bounded = step * min(1.0, limit / np.max(size))
    slope = np.vdot(forces, bounded)
    for _ in range(MOST_HALVINGS):
        work.move_to(before + bounded)
        forces = np.asarray(_held_forces(work.theta, work.state))
        if np.vdot(forces, bounded) >= -0.5 * slope:
            break
        bounded, slope = 0.5 * bounded, 0.5 * slope
    return largest(forces)


def _leave_saddle(work: Work) -> None:
    """Step off a saddle along its lowest mode, downhill."""
    _, mode, _ = lowest_mode(work.theta, work.state)
    sigma = work.theta.size_range()[0]
    step = 1e-3 * sigma * mode / largest(mode)
    start = work.state.positions
    sides = []
    for sign in (1.0, -1.0):
        work.move_to(start + sign * step)
        sides.append((float(_energy(work.theta, work.state)), sign))
    work.move_to(start + min(sides)[1] * step)


def _targets(force: float, scale: float, tolerance: float) -> Iterator[float]:
    """Forces down to which FIRE goes before Newton is tried (again)."""
    target = min(NEWTON_FORCE * scale, max(force, tolerance))
    while True:
        yield target
        target = max(target * FIRE_GAIN, tolerance)


def relaxation(
    theta: Theta,
    packing: Packing,
    *,
    tolerance: float | None = None,
    max_steps: int = 200_000,
    reach: float = 0.0,
    solver: str = "auto",
) -> Relaxation:
    """As `relax`, with an account of how the packing came to rest."""
    check(theta=theta, packing=packing)
    require_float64()
    count("max_steps", max_steps, least=0)
    check_choice("solver", solver, SOLVERS)
    not_negative("reach", reach)
    limit = force_tolerance(theta, packing, tolerance)
    known = kept_response(theta, packing, tolerance, limit, solver)
    if known is not None and known.reach >= reach:
        return Relaxation(packing, known.response, 0, 0, 0.0)
    work = Work.start(theta, packing)
    start = work.origin
    scale = theta.max_stiffness() * theta.size_range()[0]
    force = largest(_forces(theta, work.state))
    if not np.isfinite(force):
        raise RelaxationError(f"the forces of the packing are not finite: {coinciding(work.state)}")
    newton_steps = fire_steps = saddles = 0
    for target in _targets(force, scale, limit):
        if force > target:
            fire_steps += _run_fire(work, target, max_steps - fire_steps)
            force = largest(_forces(theta, work.state))
        if force > limit:
            bounded = packing.positions.size > DENSE[packing.dimension]
            bounded = bounded and force <= BOUNDED_FORCE * scale
            at_rest, steps, _ = run_newton(work, limit, solver, bounded=bounded)
            newton_steps += steps
            force = largest(_forces(theta, work.state))
            if not at_rest and force > limit:
                continue
        final = packing.with_positions(work.state.positions)
        try:
            found = respond(work.final(reach), theta, limit, solver)
        except SingularHessianError:
            raise
        except NotAMinimumError:
            if saddles == 10:
                raise
            saddles += 1
            _leave_saddle(work)
            force = largest(_forces(theta, work.state))
            fire_steps += _run_fire(work, max(1e-2 * force, limit), max_steps - fire_steps)
            continue
        keep(theta, final, reach, found)
        moved = largest(final.positions - start)
        return Relaxation(final, found, newton_steps, fire_steps, moved)
    raise AssertionError("unreachable: the targets do not end")


def relax(
    theta: Theta,
    packing: Packing,
    *,
    tolerance: float | None = None,
    max_steps: int = 200_000,
    solver: str = "auto",
) -> Packing:
    """The minimum of the energy that a packing belongs to.

    FIRE (Guénolé et al. 2020) brings the forces down to where Newton's method converges; Newton
    steps that leave the basin are taken back. The result is proven to be a minimum: its forces are
    below the tolerance, and its Hessian, rigid motions and rattlers apart, is positive definite.
    Positions move continuously: they are not wrapped. The factorisation stays with the packing
    that is returned, for the features measured next.

    Parameters
    ----------
    theta, packing:
        Any packing, from float32 files too, and its potential.
    tolerance:
        The largest |F| over particles; by default `default_tolerance`.
    max_steps:
        Of FIRE, in all.
    solver:
        How Newton's steps are solved and the minimum is proven: see `response`.

    Raises
    ------
    ConvergenceError
        If an iterative solver does not reach its tolerance.
    RelaxationError
        If the forces do not fall below the tolerance.
    NotAMinimumError, SingularHessianError
        If what was found is no minimum with a linear response (no particle held, for example).
    InputError, BoxTooSmallError, UnknownTypeError, PrecisionError
        Before work starts; `InputError` for arguments that are something else, swapped ones among
        them.
    """
    return relaxation(
        theta, packing, tolerance=tolerance, max_steps=max_steps, solver=solver
    ).packing
