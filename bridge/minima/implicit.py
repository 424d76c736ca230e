"""A minimum as a function of what it follows from, differentiable to any order.

The positions R of a minimum and its linear response W satisfy F(R, θ) = 0 and H(R, θ) W = Ξ(R, θ).
Both are differentiated implicitly,

    H R' = (∂F/∂θ) θ',    H W' = Ξ' - H' W,

with one factor for both, whatever is made of R and W afterwards, and again for the derivatives of
the derivatives. Parameters, the box and the places of fixed particles are what they follow.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from amorph.handover import InputError
from amorph.handover.arguments import check_choice, count, not_negative

from ..matter.arguments import check
from ..matter.mechanics import State, driving_forces_of
from ..matter.packing import Packing
from ..matter.pairs import Pairs, capacity
from ..matter.springs import Theta
from ..matter.tracing import traced
from ..precision import require_float64
from ..solve.dense import Dense
from ..solve.differentiable import Operands, left_over, solve
from ..solve.factors import DENSE, SOLVERS, Factor
from ..solve.modes import lowest_modes_of
from ..solve.outside import ByLibrary, Factorised
from .relaxing import relaxation
from .responses import checked_tolerance
from .status import Status
from .traced import Found, Search, search

__all__ = ["minimum"]

# Places for pairs inside of a transformation, where their number is not known: so many a particle.
PAIRS_A_PARTICLE = {2: 24, 3: 80}


_search = jax.jit(search, static_argnums=(0, 1))


def _searched(
    how: Search,
    solver: str,
    packing: Packing,
    theta: Any,
    x: Any,
    box: Any,
    typeid: Any,
    bonds: Any,
    fixed: Any,
) -> tuple[Any, Found]:
    """The minimum, by the bridge's own means where all is concrete, else inside of JAX.

    And what solves its equations. The packing itself is taken where it is concrete.
    """
    given = (theta, x, box, typeid, bonds, fixed)
    if traced(given):
        inverse = _inverse(solver, *x.shape)
        return inverse, _search(how, inverse, *given)
    if traced(packing):
        own: Any = [None if v is None else np.asarray(v) for v in given[1:]]
        packing = Packing(own[0], own[2], own[1], own[3], fixed=own[4])
    found = relaxation(
        theta, packing, tolerance=how.tolerance, reach=how.reach, solver=solver
    ).response
    return Factorised(found.factor), _found(found.state, found.factor)


def _inverse(solver: str, n: int, d: int) -> Any:
    """The inverse that solves linear systems inside of a transformation."""
    if solver == "dense" or (solver == "auto" and n * d <= DENSE[d]):
        return Dense()
    return ByLibrary(solver)


def _found(state: State, factor: Factor) -> Found:
    """A response found outside of JAX in the form of traced searches."""
    box = None if state.box is None else np.asarray(state.box)

    def crossed(pairs: Pairs) -> tuple[Any, Any]:
        shift = np.asarray(pairs.shift)
        beyond = np.where((np.arange(len(shift)) < int(pairs.count))[:, None], 0.0, shift)
        if box is None:
            return np.zeros_like(shift), beyond
        return np.rint((shift - beyond) @ np.linalg.inv(box).T), beyond

    images, beyond = crossed(state.pairs)
    bonded = None if state.bonds is None else crossed(state.bonds)
    made = Found(
        state.positions, state.nonaffine, state.pairs, state.bonds, images,
        None if bonded is None else bonded[0], beyond, None if bonded is None else bonded[1],
        state.rattlers, np.int32(Status.OK),
        factor.rigid, None,
    )  # fmt: skip
    return jax.tree_util.tree_map(jnp.asarray, made)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _following(
    inverse: Any, theta: Any, x: Any, box: Any, typeid: Any, fixed: Any, found: Found
) -> tuple[Any, Any]:
    """R and W of what was found, which follow theta, the box and fixed particles' places."""
    return found.positions, found.nonaffine


@_following.defjvp
def _following_jvp(inverse: Any, primals: Any, tangents: Any) -> tuple[Any, Any]:
    theta, _, box, typeid, fixed, numbers = primals
    theta_change, moved, box_change, *_ = tangents
    positions, nonaffine = _following(inverse, *primals)
    found = replace(numbers, positions=positions, nonaffine=nonaffine)
    state = found.state(typeid, box, fixed)
    operands = Operands(theta, state, found.rigid, found.lower)
    # Positions that are given: those of fixed particles. All others follow.
    own = jnp.zeros_like(positions)
    if fixed is not None:
        own = jnp.where(fixed[:, None], moved, 0.0)
    shifts: Any = (None, None)
    if box is not None:
        shifts = (
            found.crossed @ box_change.T,
            None if found.bonds is None else found.bonds_crossed @ box_change.T,
        )
    pushed = _force_change(theta, state, theta_change, own, shifts)
    change = own + solve(inverse, operands, pushed[:, :, None])[:, :, 0]
    response_change = None
    if nonaffine is not None:
        left = _response_change(theta, state, theta_change, change, shifts)
        response_change = solve(inverse, operands, left)
    return (positions, nonaffine), (change, response_change)


def _along(
    function: Any, theta: Any, state: State, theta_change: Any, moved: Any, shifts: Any
) -> Any:
    """The derivative of a function of (theta, state) along changes of what it is made of."""

    def at(theta: Any, x: Any, shift: Any, bond_shift: Any) -> Any:
        there = replace(state, positions=x)
        if shift is not None:
            there = replace(there, pairs=replace(state.pairs, shift=shift))
        if bond_shift is not None and state.bonds is not None:
            there = replace(there, bonds=replace(state.bonds, shift=bond_shift))
        return function(theta, there)

    own = (
        None if shifts[0] is None else state.pairs.shift,
        None if shifts[1] is None or state.bonds is None else state.bonds.shift,
    )
    return jax.jvp(at, (theta, state.positions, *own), (theta_change, moved, *shifts))[1]


@jax.jit
def _force_change(theta: Any, state: State, theta_change: Any, moved: Any, shifts: Any) -> Any:
    held = partial(driving_forces_of, held=True)
    return _along(held, theta, state, theta_change, moved, shifts)


@jax.jit
def _response_change(theta: Any, state: State, theta_change: Any, moved: Any, shifts: Any) -> Any:
    return _along(left_over, theta, state, theta_change, moved, shifts)


def minimum(
    theta: Theta,
    packing: Packing,
    *,
    tolerance: float | None = None,
    reach: float = 0.0,
    modes: int = 0,
    solver: str = "auto",
    max_pairs: int | None = None,
) -> State:
    """The minimum that a packing belongs to, with its linear response, as a function JAX knows.

    What is computed of the state that is returned, by any JAX functions, has the derivative of the
    packing that follows: positions R and response W = H⁻¹Ξ move with the parameters, the box (in
    Cartesian coordinates: all that is no rattler follows anyway) and the places of fixed particles.
    It composes with ``grad``, ``jacfwd``, ``jacrev``, ``jvp``, ``hessian`` and higher derivatives,
    ``jit`` and ``vmap``, over parameters and over packings of one shape.

    Where all values are concrete (also under ``grad`` and the like) the packing is relaxed as by
    `relax`, and errors are raised by name. Inside of ``jit`` and ``vmap`` it is Newton's method
    from the positions given: start near the minimum. Where that does not end at
    a proven minimum all that is computed is NaN, and `check_status` says why.

    Rattlers stay where they are: their places, which no parameter determines, have no derivative.

    Parameters
    ----------
    theta, packing:
        What particles interact by, and where they are.
    tolerance:
        The largest |F| at rest, energy / length; by default `default_tolerance`.
    reach:
        Pairs up to this distance are listed, if it is beyond the potential's cutoff, length.
    modes:
        How many of the lowest vibrational modes the state has, by dense algebra in JAX; they
        follow too. A degenerate mode has no derivative: where one is among them that of what is
        computed of it is NaN, in reverse mode that of all else too.
    solver:
        How linear systems are solved: see `response`. Inside of ``jit`` and ``vmap`` ``dense`` is
        JAX's own algebra, on any device and in batches; the others are called from there, one
        packing after another.
    max_pairs:
        How many places there are for pairs inside of ``jit`` and ``vmap``; by default all pairs of
        small packings, and 24 (in space 80) a particle of others.

    Returns
    -------
    State
        ``positions`` (N, d), ``nonaffine`` W (N, d, n_strains) for a packing with a box, ``pairs``,
        ``rattlers`` (N,), ``modes`` (N, d, modes) where there are to be some, ``status``: what
        features, energies and stresses are functions of, ``f(theta, state)``.

    Raises
    ------
    InputError
        For arguments that are something else.
    RelaxationError, NotAMinimumError, SingularHessianError, BoxTooSmallError, UnknownTypeError,
    PrecisionError
        As `relax`, where values are concrete.

    Example
    -------
    >>> def distance(theta):
    ...     state = bridge.minimum(theta, packing)
    ...     return jnp.linalg.norm(state.positions[1] - state.positions[0])
    >>> jax.grad(distance)(theta).diameters

    Source: implicit differentiation of both equations; for the elastic constants alone Zu and
    Goodrich, Commun. Mater. 5 (2024), and here `measure`.
    """
    check(theta=theta, packing=packing)
    require_float64()
    not_negative("reach", reach)
    check_choice("solver", solver, SOLVERS)
    count("modes", modes, least=0)
    if tolerance is not None:
        checked_tolerance(tolerance)
    n, d = packing.positions.shape
    places = _places(n, d) if max_pairs is None else count("max_pairs", max_pairs)
    given = (theta, packing.positions, packing.box, packing.typeid, packing.bonds, packing.fixed)
    if theta.springs is not None and packing.bonds is None:
        raise InputError(
            "the packing has no bonds for its springs: give Packing.of(..., bonds=...)."
        )
    how = Search(places, float(reach), tolerance)
    # The search itself is not differentiated; under `grad` and the like it sees numbers.
    numbers = jax.tree_util.tree_map(jax.lax.stop_gradient, given)
    inverse, found = _searched(how, solver, packing, *numbers)
    _, x, box, typeid, _, fixed = given
    positions, nonaffine = _following(inverse, theta, x, box, typeid, fixed, found)
    found = replace(found, positions=positions, nonaffine=nonaffine)
    state = replace(found.state(typeid, box, fixed), reach=jnp.asarray(how.reach))
    if modes:
        state = replace(state, modes=lowest_modes_of(theta, state, modes))
    return state


def _places(n: int, d: int) -> int:
    """Places for pairs of a packing of n particles, whose number is not known."""
    everything = n * (n - 1) // 2
    return min(everything, capacity(max(PAIRS_A_PARTICLE[d] * n, 4096)))
