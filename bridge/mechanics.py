"""Energy, forces, stress and Hessian of a packing from its pairs.

The functions of a `State` can be traced by JAX; those of a `Packing` are for users.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from amorph.handover import InputError

from .packing import Packing
from .pairs import Pairs, find_pairs
from .potentials import PairPotential
from .precision import require_float64

__all__ = ["PairTerms", "State", "energy", "forces", "hessian", "stress", "volume_of"]


@dataclass(frozen=True, eq=False)
class State:
    """What a feature is computed from: positions and all that is held fixed beside them.

    Attributes
    ----------
    positions:
        (N, d).
    typeid:
        (N,).
    box:
        (d, d) or None.
    pairs:
        The pairs in reach.
    nonaffine:
        W = H⁻¹Ξ, (N, d, n_strains): minus the displacement that the particles answer a unit strain
        with; None where no feature asked for it.
    rattlers:
        (N,) bool.
    """

    positions: Any
    typeid: Any
    box: Any
    pairs: Pairs
    nonaffine: Any
    rattlers: Any
    memo: dict[Any, tuple[Any, Any]] = field(default_factory=dict, init=False, repr=False)


jax.tree_util.register_dataclass(
    State,
    data_fields=["positions", "typeid", "box", "pairs", "nonaffine", "rattlers"],
    meta_fields=[],
    drop_fields=["memo"],  # a state made anew, by JAX too, starts with none
)

Function = TypeVar("Function", bound=Callable[[Any, Any], Any])


def once(function: Function) -> Function:
    """Compute a function of (theta, state) once for a state: features share what they need."""

    @wraps(function)
    def remembered(theta: PairPotential, state: State) -> Any:
        known = state.memo.get(remembered)
        if known is None or known[0] is not theta:
            state.memo[remembered] = known = (theta, function(theta, state))
        return known[1]

    return cast(Function, remembered)


@dataclass(frozen=True, eq=False)
class PairTerms:
    """The pairs of a state: vectors (M, d), distances (M,), unit vectors, and their parameters."""

    vector: Array
    distance: Array
    unit: Array
    parameters: dict[str, Array]


@once
def pair_terms(theta: PairPotential, state: State) -> PairTerms:
    """The geometry and parameters of every pair."""
    pairs = state.pairs
    vector = state.positions[pairs.j] - state.positions[pairs.i] + pairs.shift
    distance = jnp.sqrt(jnp.sum(vector**2, axis=1))
    parameters = theta.of_pairs(state.typeid[pairs.i], state.typeid[pairs.j])
    return PairTerms(vector, distance, vector / distance[:, None], parameters)


@once
def pair_energies(theta: PairPotential, state: State) -> Array:
    """u of each pair, (M,)."""
    terms = pair_terms(theta, state)
    return theta.pair_energy(terms.distance, terms.parameters)


@once
def pair_slopes(theta: PairPotential, state: State) -> Array:
    """u' of each pair, (M,)."""
    terms = pair_terms(theta, state)
    return jax.vmap(jax.grad(theta.pair_energy))(terms.distance, terms.parameters)


@once
def pair_curvatures(theta: PairPotential, state: State) -> Array:
    """u'' of each pair, (M,)."""
    terms = pair_terms(theta, state)
    return jax.vmap(jax.grad(jax.grad(theta.pair_energy)))(terms.distance, terms.parameters)


def volume_of(state: State) -> Array:
    """The volume of the state's box."""
    return jnp.prod(jnp.diagonal(state.box))


def energy_of(theta: PairPotential, state: State) -> Array:
    """The total energy."""
    return jnp.sum(pair_energies(theta, state))


def forces_of(theta: PairPotential, state: State) -> Array:
    """Forces (N, d)."""
    terms = pair_terms(theta, state)
    pull = pair_slopes(theta, state)[:, None] * terms.unit  # on i, towards j
    out = jnp.zeros_like(state.positions)
    return out.at[state.pairs.i].add(pull).at[state.pairs.j].add(-pull)


def stress_of(theta: PairPotential, state: State) -> Array:
    """(1/V) dU/dε, (d, d), tension positive."""
    terms = pair_terms(theta, state)
    weighted = (pair_slopes(theta, state) * terms.distance)[:, None] * terms.unit
    return weighted.T @ terms.unit / volume_of(state)


def pressure_of(theta: PairPotential, state: State) -> Array:
    """-tr(stress)/d."""
    stress_tensor = stress_of(theta, state)
    return -jnp.trace(stress_tensor) / len(stress_tensor)


def pair_stiffness_matrices(theta: PairPotential, state: State) -> Array:
    """∂²u/∂r∂r of each pair, (M, d, d): u'' n n + (u'/r)(1 - n n)."""
    terms = pair_terms(theta, state)
    along = terms.unit[:, :, None] * terms.unit[:, None, :]
    across = jnp.eye(terms.vector.shape[1]) - along
    bent = pair_slopes(theta, state) / terms.distance
    return pair_curvatures(theta, state)[:, None, None] * along + bent[:, None, None] * across


def hessian_of(theta: PairPotential, state: State) -> Array:
    """∂²U/∂R², dense, (N d, N d)."""
    n, d = state.positions.shape
    blocks = pair_stiffness_matrices(theta, state)
    i, j = state.pairs.i, state.pairs.j
    out = jnp.zeros((n, n, d, d))
    out = out.at[i, j].add(-blocks).at[j, i].add(-blocks).at[i, i].add(blocks).at[j, j].add(blocks)
    return out.transpose(0, 2, 1, 3).reshape(n * d, n * d)


def state_of(
    packing: Packing, theta: PairPotential, *, skin: float = 0.0, reach: float = 0.0
) -> State:
    """The state of a packing, without its response; errors as `find_pairs`."""
    require_float64()
    return State(
        positions=np.asarray(packing.positions, dtype=np.float64),
        typeid=packing.typeid,
        box=packing.box,
        pairs=find_pairs(packing, theta, skin=skin, reach=reach),
        nonaffine=None,
        rattlers=np.zeros(packing.n_particles, dtype=bool),
    )


@partial(jax.jit, static_argnums=0)
def _evaluate(function: Any, theta: PairPotential, state: State) -> Any:
    return function(theta, state)


def _finite(function: Any, packing: Packing, theta: PairPotential) -> NDArray[np.float64]:
    found = np.asarray(_evaluate(function, theta, state_of(packing, theta)))
    if not np.isfinite(found).all():
        raise InputError(
            "the forces of the packing are not finite: two particles coincide, or positions are no "
            "numbers. Move one of them."
        )
    return found


def energy(packing: Packing, theta: PairPotential) -> float:
    """The packing's total energy.

    Raises as `find_pairs` does, and `InputError` if it is not finite.
    """
    return float(_finite(energy_of, packing, theta))


def forces(packing: Packing, theta: PairPotential) -> NDArray[np.float64]:
    """Forces (N, d), energy / length.

    Raises as `find_pairs` does, and `InputError` if they are not finite (two particles coincide).
    """
    return _finite(forces_of, packing, theta)


def hessian(packing: Packing, theta: PairPotential) -> NDArray[np.float64]:
    """∂²U/∂R², (N d, N d), energy / length², of all particles, rattlers included.

    Raises as `find_pairs` does, and `InputError` if it is not finite (two particles coincide).
    """
    return _finite(hessian_of, packing, theta)


def stress(packing: Packing, theta: PairPotential) -> NDArray[np.float64]:
    """(1/V) ∂U/∂ε, (d, d), energy / length^d, tension positive, whatever the forces.

    Raises as `find_pairs` does, and `InputError` for a packing without a box or if it is not
    finite (two particles coincide).
    """
    _ = packing.volume
    return _finite(stress_of, packing, theta)
