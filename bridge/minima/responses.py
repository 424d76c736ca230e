"""The linear response of a packing at rest: one factorisation of its Hessian, used for everything.

With H = ∂²U/∂R² and Ξ_a = ∂²U/∂R∂ε_a, W = H⁻¹Ξ is minus the displacement per unit strain. Zero
modes are taken out exactly: rigid motions by adding a stiffness along them alone, to which no
force couples; rattlers by leaving their rows out.
"""

from dataclasses import dataclass, replace
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from amorph.handover import InputError
from amorph.handover.arguments import check_choice, not_negative, positive
from amorph.handover.showing import shown

from ..errors import NotAMinimumError, NotFiniteError, SingularHessianError
from ..matter.arguments import check
from ..matter.mechanics import State, driving_forces_of, energy_of, state_of
from ..matter.packing import Packing
from ..matter.pairs import find_pairs
from ..matter.springs import Theta
from ..matter.strains import strain_forces
from ..precision import require_float64
from ..solve.blocks import pair_stiffness
from ..solve.factors import SOLVERS, Factor, factorise, lowest_mode
from ..solve.sparse import BACKENDS, NotPositiveError
from .rattlers import Contact, contacts_of, rattlers_among
from .rules import round_off_force

__all__ = ["Response", "default_tolerance", "response", "round_off_force"]


def default_tolerance(theta: Theta, packing: Packing) -> float:
    """The largest |F| of a packing at rest: max(1e-12, 8 eps k_max L).

    k_max is the stiffest pair's u'', L the longest box vector (or the extent of a cluster):
    round-off of the positions alone makes forces of this size. Raises `InputError` for parameters
    so extreme that it is not finite.
    """
    check(theta=theta, packing=packing)
    if packing.box is None:
        length = float(np.max(np.ptp(np.asarray(packing.positions), axis=0)))
    else:
        length = float(np.linalg.norm(np.asarray(packing.box), axis=0).max())
    stiffness = theta.max_stiffness()
    limit = float(round_off_force(stiffness, length))
    if not np.isfinite(limit):
        raise InputError(
            f"the stiffest pair's u'' is {stiffness} in {theta!r}: its parameters are beyond what "
            "numbers can hold."
        )
    return limit


def force_tolerance(theta: Theta, packing: Packing, tolerance: float | None) -> float:
    """The tolerance asked for, or the default; raises `InputError` for an impossible one."""
    return default_tolerance(theta, packing) if tolerance is None else checked_tolerance(tolerance)


def checked_tolerance(tolerance: float) -> float:
    """A force that was asked for; raises `InputError` for an impossible one."""
    return positive("tolerance", tolerance)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Survey:
    """All that is asked of a state before its Hessian is.

    Attributes: forces (N, d), 0 on fixed particles; largest, the largest of them; contacts of each
    kind of interaction; energy; stiffness, the pairs' matrices; strain_forces, Ξ (N, d, n_strains)
    of a packing with a box.
    """

    forces: Any
    largest: Any
    contacts: list[Contact]
    energy: Any = None
    stiffness: Any = None
    strain_forces: Any = None


def survey(theta: Any, state: State, residual: Any = None) -> Survey:
    """Forces and contacts of a state, from one pass over its pairs.

    Forces up to ``residual``, by default up to the largest that is left, do not make a contact.
    """
    forces = driving_forces_of(theta, state)
    most = jnp.sqrt(jnp.max(jnp.sum(forces**2, axis=1)))
    return Survey(forces, most, contacts_of(theta, state, most if residual is None else residual))


surveyed = jax.jit(survey)


@jax.jit
def _weighed(theta: Any, state: State, residual: Any) -> Survey:
    return replace(
        survey(theta, state, residual),
        energy=energy_of(theta, state),
        stiffness=pair_stiffness(theta, state),
        strain_forces=None if state.box is None else strain_forces(theta, state),
    )


@jax.jit
def _resisting(theta: Any, state: State) -> tuple[Any, Any]:
    """The pairs' matrices and Ξ, of a state whose rattlers are known."""
    return pair_stiffness(theta, state), (
        None if state.box is None else strain_forces(theta, state)
    )


@dataclass(frozen=True, eq=False)
class Response:
    """A packing at rest with the factorisation of its Hessian.

    Attributes
    ----------
    state:
        Positions, pairs and rattlers; with `nonaffine` for a packing with a box.
    factor:
        The factorised Hessian, its zero modes held.
    energy, max_force:
        Total energy and largest |F|.
    tolerance:
        The largest |F| that was allowed.
    """

    state: State
    factor: Factor
    energy: float
    max_force: float
    tolerance: float

    def __repr__(self) -> str:
        n, d = np.shape(self.state.positions)
        return shown(
            f"Response of a packing of {n} particles in {d} dimensions at rest",
            [
                ("energy", f"{self.energy:.10g} ({self.energy / n:.6g} a particle)"),
                ("largest force", f"{self.max_force:.2e} (at most {self.tolerance:.1e})"),
                ("rattlers", str(int(self.rattlers.sum()))),
                ("Hessian by", self.solver),
            ],
        )

    @property
    def rattlers(self) -> NDArray[np.bool_]:
        """(N,): which particles are rattlers."""
        return np.asarray(self.state.rattlers)

    @property
    def solver(self) -> str:
        """How the Hessian was dealt with: dense, a library's name, or krylov."""
        return self.factor.method

    def solve(self, load: Any) -> NDArray[np.float64]:
        """H⁻¹ load for loads (N, d, k); what they have along zero modes is left out."""
        return self.factor.solve(load)


def largest(vectors: Any) -> float:
    """The largest length of vectors (N, d)."""
    return float(np.sqrt(np.max(np.sum(np.asarray(vectors) ** 2, axis=1))))


def respond(
    state: State,
    theta: Any,
    tolerance: float,
    solver: str = "auto",
    *,
    minimum: bool = True,
    like: Factor | None = None,
) -> Response:
    """Find the rattlers, factorise the Hessian, prove that the state is a minimum, and compute W.

    Without ``minimum`` nothing is to be proven: a saddle has a response too. ``like`` is a factor
    of a state nearby, see `factorise`.

    Raises `NotAMinimumError` when forces above the tolerance remain or the Hessian has a negative
    mode, `SingularHessianError` when it has further zero modes.
    """
    seen = _weighed(theta, state, tolerance)
    state = replace(state, rattlers=rattlers_among(theta, state, seen.contacts))
    if bool(np.all(state.rattlers)):
        raise SingularHessianError(
            "no particle is held by its neighbours: the packing is below jamming, and has no "
            "elastic response. Compress it or enlarge the diameters."
        )
    max_force = float(seen.largest)
    check_forces(max_force, state)
    if not max_force <= tolerance:
        raise NotAMinimumError(
            f"the largest force is {max_force:.2e}, above the tolerance {tolerance:.1e}: call "
            "bridge.relax(theta, packing) first."
        )
    if bool(np.any(state.rattlers)):
        # One that touches its neighbours by round-off has a stiffness, which they must not feel.
        stiffness, loads = _resisting(theta, state)
        seen = replace(seen, stiffness=stiffness, strain_forces=loads)
    try:
        factor = factorise(
            theta, state, solver, definite=minimum, like=like, stiffness=seen.stiffness
        )
        if minimum:
            factor.prove()
        if seen.strain_forces is not None:
            load = np.where(state.still[:, None, None], 0.0, seen.strain_forces)
            state = replace(state, nonaffine=factor.solve(load))
    except NotPositiveError:
        _raise_not_minimum(theta, state)
    if state.nonaffine is not None and not np.isfinite(state.nonaffine).all():
        raise NotFiniteError(
            "the non-affine response H⁻¹Ξ of the packing is not finite: its parameters are beyond "
            "what numbers can hold."
        )
    return Response(state, factor, float(seen.energy), max_force, tolerance)


def check_forces(max_force: float, state: State) -> None:
    """Raise `NotFiniteError` where the largest force is not finite, naming who coincides."""
    if not np.isfinite(max_force):
        raise NotFiniteError(
            f"the largest force of the packing is {max_force}: {coinciding(state)}"
        )


def coinciding(state: State) -> str:
    """Why forces are not finite, in words: the pair of particles that is nearest."""
    pairs, count = state.pairs, int(state.pairs.count)
    x = np.asarray(state.positions)
    i, j = np.asarray(pairs.i)[:count], np.asarray(pairs.j)[:count]
    if count == 0:
        return "its parameters are extreme."
    distance = np.sqrt(np.sum((x[j] - x[i] + np.asarray(pairs.shift)[:count]) ** 2, axis=1))
    k = int(np.argmin(distance))
    return (
        f"particles {i[k]} and {j[k]} are {distance[k]:.3g} apart. Two particles that coincide "
        "have no direction between them: move one, or start from another packing."
    )


def _raise_not_minimum(theta: Any, state: State) -> NoReturn:
    lowest, _, stiffness = lowest_mode(theta, state)
    if lowest < -1e-10 * stiffness:
        raise NotAMinimumError(
            f"the packing is a saddle: the Hessian has an eigenvalue of {lowest:.3e}. "
            "bridge.relax(theta, packing) leaves it along that mode."
        ) from None
    raise SingularHessianError(
        f"the Hessian has zero modes besides rigid motions and rattlers (smallest eigenvalue "
        f"{lowest:.1e}, typical {stiffness:.1e}): parts of the packing are not connected "
        "rigidly, so that its linear response is not defined."
    ) from None


@dataclass(frozen=True, eq=False)
class Kept:
    """A response that belongs to a packing, and what it is the response for."""

    theta: Theta
    reach: float
    response: Response

    def serves(self, theta: Theta, tolerance: float | None, limit: float, solver: str) -> bool:
        """Whether it is what is asked for; parameters are compared by their values."""
        found = self.response
        return (
            (tolerance is None or found.tolerance <= limit)
            and (
                solver in ("auto", found.solver)
                or (solver == "direct" and found.solver in BACKENDS)
            )
            and same_interactions(self.theta, theta)
        )


def same_interactions(one: Theta, other: Theta) -> bool:
    """Whether two potentials are of one kind and have the same parameters, bit for bit."""
    if one is other:
        return True
    leaves, others = jax.tree_util.tree_leaves(one), jax.tree_util.tree_leaves(other)
    kinds: list[Any] = [jax.tree_util.tree_structure(t) for t in (one, other)]
    return bool(kinds[0] == kinds[1]) and all(
        a is b or np.array_equal(np.asarray(a), np.asarray(b))
        for a, b in zip(leaves, others, strict=True)
    )


def keep(theta: Theta, packing: Packing, reach: float, found: Response) -> None:
    """Keep a response with its packing, for as long as the packing object lives."""
    packing.kept["response"] = Kept(theta, reach, found)


def kept_response(
    theta: Theta, packing: Packing, tolerance: float | None, limit: float, solver: str
) -> Kept | None:
    """The response that is kept with a packing, where it serves."""
    kept: Kept | None = packing.kept.get("response")
    return kept if kept is not None and kept.serves(theta, tolerance, limit, solver) else None


def response(
    theta: Theta,
    packing: Packing,
    *,
    tolerance: float | None = None,
    reach: float = 0.0,
    solver: str = "auto",
    minimum: bool = True,
) -> Response:
    """The linear response of a packing at rest.

    It is kept with the packing object, and given again for the same parameters (compared by value),
    a tolerance that it meets and a solver that is its own, or any.

    Parameters
    ----------
    theta, packing:
        A packing as `relax` returns it, and its potential.
    tolerance:
        The largest |F| allowed; by default `default_tolerance`, or what the packing was relaxed to.
    reach:
        Pairs up to this distance are listed, if it is beyond the potential's cutoff.
    solver:
        One of `SOLVERS`: ``auto`` (dense algebra for small packings, a library's sparse
        factorisation for large ones, iterations for larger ones), ``dense``, ``direct``, a
        library's name, or ``krylov``.
    minimum:
        Raise an error unless the packing is at a minimum of the energy. Without it the response of
        a saddle is given too; ``response.factor.inertia()`` counts its negative modes.

    Raises
    ------
    ConvergenceError
        If iterations do not reach their tolerance.
    NotFiniteError
        If the forces are not: two particles coincide.
    InputError
        For arguments that are something else, swapped ones among them.
    NotAMinimumError, SingularHessianError, BoxTooSmallError, UnknownTypeError, PrecisionError
    """
    check(theta=theta, packing=packing)
    require_float64()
    not_negative("reach", reach)
    limit = force_tolerance(theta, packing, tolerance)
    check_choice("solver", solver, SOLVERS)
    known = kept_response(theta, packing, tolerance, limit, solver)
    if known is not None and known.reach >= reach:
        return known.response
    if known is not None:
        # Pairs beyond the cutoff have no stiffness: the factorisation is the same.
        pairs = find_pairs(theta.near, packing, reach=reach)
        found = replace(known.response, state=replace(known.response.state, pairs=pairs))
    else:
        state = state_of(theta, packing, reach=reach)
        found = respond(state, theta, limit, solver, minimum=minimum)
    if not minimum and not found.factor.definite:
        return found  # what is kept is known to be a minimum
    keep(theta, packing, reach, found)
    return found
