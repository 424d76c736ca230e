"""The linear response of a packing at rest: one factorisation of its Hessian, used for everything.

With H = ∂²U/∂R² and Ξ_a = ∂²U/∂R∂ε_a, W = H⁻¹Ξ is minus the displacement per unit strain. Zero
modes are taken out exactly: rigid motions by adding a stiffness along them alone, to which no
force couples; rattlers by leaving their rows out.
"""

import weakref
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from amorph.handover import InputError

from .blas import one_blas_thread
from .errors import NotAMinimumError, SingularHessianError
from .mechanics import (
    State,
    energy_of,
    forces_of,
    hessian_of,
    pair_curvatures,
    pair_slopes,
    pair_terms,
    state_of,
)
from .packing import Packing
from .potentials import PairPotential
from .precision import require_float64
from .rattlers import find_rattlers

__all__ = ["Response", "default_tolerance", "response", "strain_basis"]

# A pivot of the factorisation this small beside the largest is a zero mode that should not be
# there: no number computed through it would be good to more than a few digits.
SMALLEST_PIVOT = 1e-12


def strain_basis(dimension: int) -> NDArray[np.float64]:
    """Symmetric strains of unit size, (n_strains, d, d): xx, yy, (zz,) then (yz, xz,) xy.

    A shear has 1/2 in both places, so that second derivatives of the energy along the basis are
    the components of the elastic tensor.
    """
    diagonal = [(a, a) for a in range(dimension)]
    shears = [(0, 1)] if dimension == 2 else [(1, 2), (0, 2), (0, 1)]
    out = np.zeros((len(diagonal) + len(shears), dimension, dimension))
    for k, (a, b) in enumerate(diagonal + shears):
        out[k, a, b] += 0.5
        out[k, b, a] += 0.5
    return out


def default_tolerance(packing: Packing, theta: PairPotential) -> float:
    """The largest |F| of a packing at rest: max(1e-12, 8 eps k_max L).

    k_max is the stiffest pair's u'', L the longest box vector (or the extent of a cluster):
    round-off of the positions alone makes forces of this size.
    """
    if packing.box is None:
        length = float(np.max(np.ptp(np.asarray(packing.positions), axis=0)))
    else:
        length = float(np.linalg.norm(np.asarray(packing.box), axis=0).max())
    return max(1e-12, 8 * float(np.finfo(np.float64).eps) * theta.max_stiffness() * length)


def force_tolerance(packing: Packing, theta: PairPotential, tolerance: float | None) -> float:
    """The tolerance asked for, or the default; raises `InputError` for an impossible one."""
    if tolerance is None:
        return default_tolerance(packing, theta)
    if not (np.isfinite(tolerance) and tolerance > 0):
        raise InputError(f"tolerance = {tolerance!r}: it must be a force greater than 0.")
    return float(tolerance)


def _rigid_modes(state: State) -> Array:
    """Orthonormal rigid motions of the particles that are held, (N d, d or more)."""
    n, d = state.positions.shape
    held = jnp.where(state.rattlers, 0.0, 1.0)
    modes = [held[:, None] * jnp.eye(d)[a] for a in range(d)]
    if state.box is None:
        centred = state.positions - jnp.sum(held[:, None] * state.positions, axis=0) / jnp.sum(held)
        for a, b in [(0, 1)] if d == 2 else [(0, 1), (0, 2), (1, 2)]:
            turn = jnp.zeros((d, d)).at[a, b].set(1.0).at[b, a].set(-1.0)
            modes.append(held[:, None] * (centred @ turn.T))
    basis, _ = jnp.linalg.qr(jnp.stack([m.reshape(n * d) for m in modes], axis=1))
    return basis


def held_hessian(
    theta: PairPotential, state: State, stiffness: Array | None = None
) -> tuple[Array, Array]:
    """H made positive definite at a minimum, and the stiffness given to its zero modes.

    Rattlers' rows and columns hold that stiffness on the diagonal and nothing else; the rigid
    motions of the others carry it too. By default it is H's mean diagonal element.
    """
    n, d = state.positions.shape
    free = jnp.repeat(state.rattlers, d)
    matrix = jnp.where(free[:, None] | free[None, :], 0.0, hessian_of(theta, state))
    if stiffness is None:
        stiffness = jnp.trace(matrix) / jnp.maximum(n * d - jnp.sum(free), 1)
    rigid = _rigid_modes(state)
    matrix = matrix + stiffness * (rigid @ rigid.T)
    return matrix + jnp.diag(jnp.where(free, stiffness, 0.0)), stiffness


def strain_forces(theta: PairPotential, state: State) -> Array:
    """Ξ = ∂²U/∂R∂ε, (N, d, n_strains)."""
    terms = pair_terms(theta, state)
    basis = jnp.asarray(strain_basis(state.positions.shape[1]))
    slope, curvature = pair_slopes(theta, state), pair_curvatures(theta, state)
    strained = jnp.einsum("aij,mj->mia", basis, terms.unit)
    along = jnp.einsum("mi,mia->ma", terms.unit, strained)
    change = (curvature * terms.distance - slope)[:, None] * along
    per_pair = terms.unit[:, :, None] * change[:, None, :] + 2 * slope[:, None, None] * strained
    out = jnp.zeros((*state.positions.shape, len(basis)))
    return out.at[state.pairs.j].add(per_pair).at[state.pairs.i].add(-per_pair)


@jax.jit
def _factorise(theta: PairPotential, state: State) -> dict[str, Array]:
    matrix, stiffness = held_hessian(theta, state)
    factor = jnp.linalg.cholesky(matrix, symmetrize_input=False)
    forces = jnp.where(state.rattlers[:, None], 0.0, forces_of(theta, state))
    pivots = jnp.diagonal(factor) ** 2
    return {
        "factor": factor,
        "smallest_pivot": jnp.min(pivots) / stiffness,  # NaN where not positive definite
        "forces": forces,
        "all_forces": forces_of(theta, state),
        "energy": energy_of(theta, state),
    }


@jax.jit
def _nonaffine(theta: PairPotential, state: State, factor: Array) -> Array:
    n, d = state.positions.shape
    load = jnp.where(state.rattlers[:, None, None], 0.0, strain_forces(theta, state))
    solved = jax.scipy.linalg.cho_solve((factor, True), load.reshape(n * d, -1))
    return solved.reshape(load.shape)


@partial(jax.jit, static_argnames="n_particles")
def solve(factor: Array, load: Array, n_particles: int) -> Array:
    """H⁻¹ load, for loads (N, d, k) that do not couple to zero modes."""
    flat = load.reshape(n_particles * load.shape[1], -1)
    return jax.scipy.linalg.cho_solve((factor, True), flat).reshape(load.shape)


@one_blas_thread
def _solve_now(factor: Array, load: Array, n_particles: int) -> Array:
    return solve(factor, load, n_particles).block_until_ready()


@dataclass(frozen=True, eq=False)
class Response:
    """A packing at rest with the factorisation of its Hessian.

    Attributes
    ----------
    state:
        Positions, pairs and rattlers; with `nonaffine` for a packing with a box.
    factor:
        Lower Cholesky factor of the Hessian with its zero modes held, (N d, N d).
    energy, max_force:
        Total energy and largest |F|.
    tolerance:
        The largest |F| that was allowed.
    """

    state: State
    factor: Array
    energy: float
    max_force: float
    tolerance: float

    @property
    def rattlers(self) -> NDArray[np.bool_]:
        """(N,): which particles are rattlers."""
        return np.asarray(self.state.rattlers)

    def solve(self, load: Any) -> Array:
        """H⁻¹ load for loads (N, d, k) without components along zero modes."""
        return _solve_now(self.factor, jnp.asarray(load), len(self.state.typeid))


def largest(vectors: Any) -> float:
    """The largest length of vectors (N, d)."""
    return float(np.sqrt(np.max(np.sum(np.asarray(vectors) ** 2, axis=1))))


@one_blas_thread
def respond(state: State, theta: PairPotential, tolerance: float) -> Response:
    """Find the rattlers, prove that the state is a minimum, factorise, and compute W.

    Raises `NotAMinimumError` when forces above the tolerance remain or the Hessian has a negative
    mode, `SingularHessianError` when it has further zero modes.
    """
    state = replace(state, rattlers=find_rattlers(theta, state, residual=tolerance))
    if bool(np.all(state.rattlers)):
        raise SingularHessianError(
            "no particle is held by its neighbours: the packing is below jamming, and has no "
            "elastic response. Compress it or enlarge the diameters."
        )
    parts = _factorise(theta, state)
    max_force = largest(parts["all_forces"])
    if not max_force <= tolerance:
        raise NotAMinimumError(
            f"the largest force is {max_force:.2e}, above the tolerance {tolerance:.1e}: call "
            "bridge.relax(packing, theta) first."
        )
    pivot = float(parts["smallest_pivot"])
    if not pivot > SMALLEST_PIVOT:
        _raise_not_minimum(theta, state)
    if state.box is not None:
        state = replace(
            state, nonaffine=_nonaffine(theta, state, parts["factor"]).block_until_ready()
        )
    return Response(state, parts["factor"], float(parts["energy"]), max_force, tolerance)


def _raise_not_minimum(theta: PairPotential, state: State) -> None:
    matrix, stiffness = held_hessian(theta, state)
    lowest = float(np.linalg.eigvalsh(np.asarray(matrix))[0])
    if lowest < -1e-10 * float(stiffness):
        raise NotAMinimumError(
            f"the packing is a saddle: the Hessian has an eigenvalue of {lowest:.3e}. "
            "bridge.relax(packing, theta) leaves it along that mode."
        )
    raise SingularHessianError(
        f"the Hessian has zero modes besides rigid motions and rattlers (smallest eigenvalue "
        f"{lowest:.1e}, typical {float(stiffness):.1e}): parts of the packing are not connected "
        "rigidly, so that its linear response is not defined."
    )


_known: "weakref.WeakKeyDictionary[Packing, list[tuple[Any, float, float, Response]]]"
_known = weakref.WeakKeyDictionary()


def remember(packing: Packing, theta: PairPotential, reach: float, found: Response) -> None:
    """Keep a packing's response for as long as the packing object lives."""
    _known[packing] = [(weakref.ref(theta), reach, found.tolerance, found)]


def response(
    packing: Packing, theta: PairPotential, *, tolerance: float | None = None, reach: float = 0.0
) -> Response:
    """The linear response of a packing at rest, computed once for a packing and its parameters.

    Parameters
    ----------
    packing, theta:
        A packing as `relax` returns it, and its potential.
    tolerance:
        The largest |F| allowed; by default `default_tolerance`.
    reach:
        Pairs up to this distance are listed, if it is beyond the potential's cutoff.

    Raises
    ------
    NotAMinimumError, SingularHessianError, BoxTooSmallError, UnknownTypeError, PrecisionError
    """
    require_float64()
    limit = force_tolerance(packing, theta, tolerance)
    for known_theta, known_reach, known_limit, found in _known.get(packing, ()):
        if known_theta() is theta and known_reach >= reach and known_limit <= limit:
            return found
    found = respond(state_of(packing, theta, reach=reach), theta, limit)
    remember(packing, theta, reach, found)
    return found
