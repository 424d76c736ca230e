"""Derivatives through the energy minimum: of any features, by any parameters.

With λ = H⁻¹ ∂f/∂R, a feature f of the packing that follows its parameters changes by
df/dp = ∂f/∂p - λ·∂²U/∂R∂p, where p are each pair's own parameters or the strain of the box. One
factorisation serves for every feature.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..errors import DegenerateModesError, FeatureError, RattlerError
from ..features.elasticity import elastic_tensor_of
from ..features.registry import Feature
from ..features.vibrations import squared_between, squared_frequencies
from ..matter.mechanics import Interactions, Resolved, State, interactions, resolved, strained
from ..matter.springs import Theta
from ..matter.strains import strain_basis
from ..minima.responses import Response
from ..minima.rules import along_rigid, on_rattlers
from ..solve.differentiable import left_over
from ..solve.modes import SEPARATE
from .jumps import jumps_of
from .parameters import Choice, Slopes

__all__ = ["Rows", "by_choices", "slopes_of", "through"]


def moved(state: State, positions: Any, strain: Any) -> State:
    """The state at other positions, under a strain given by its components (n_strains,)."""
    there = replace(state, positions=positions)
    if strain is None:
        return there
    d = state.positions.shape[1]
    return strained(there, jnp.eye(d) + jnp.tensordot(strain, jnp.asarray(strain_basis(d)), 1))


@partial(jax.jit, static_argnums=(0, 3, 4))
def _partials(
    features: tuple[Feature, ...],
    theta: Theta,
    state: State,
    with_strain: bool,
    with_tensor: bool,
) -> tuple[Any, ...]:
    """Values, and partial derivatives by pairs' parameters, positions, the strain, and by W.

    The elastic tensor comes with the values: a feature that is made of it has computed it.
    """
    own = resolved(theta, state)
    zero = jnp.zeros(len(strain_basis(state.positions.shape[1]))) if with_strain else None

    # Stationary features have no derivative by W.
    nonaffine = None if all(f.stationary for f in features) else state.nonaffine

    def of(own: Resolved, positions: Array, strain: Any, nonaffine: Any) -> tuple[Array, Any]:
        there = moved(state, positions, strain)
        if nonaffine is not None:
            there = replace(there, nonaffine=nonaffine)
        values = [f.function(own, there) for f in features]
        tensor = elastic_tensor_of(own, there) if with_tensor else None
        return jnp.concatenate([jnp.ravel(v) for v in values]), (values, tensor)

    here = (own, jnp.asarray(state.positions), zero, nonaffine)
    y, pull_back, found = jax.vjp(of, *here, has_aux=True)
    return found, *jax.vmap(pull_back)(jnp.eye(len(y)))


@partial(jax.jit, static_argnums=3)
def _by_response(theta: Theta, state: State, mu: Array, with_strain: bool) -> tuple[Any, ...]:
    """Derivatives of μ·(Ξ - H W) by pairs' parameters, positions and the strain, for rows of μ.

    With μ = H⁻¹ ∂f/∂W they are what a feature f gains by the motion of W, which follows H W = Ξ.
    """
    zero = jnp.zeros(len(strain_basis(state.positions.shape[1]))) if with_strain else None

    def of(own: Resolved, positions: Array, strain: Any) -> Array:
        there = moved(state, positions, strain)
        return jnp.einsum("nda,rnda->r", left_over(own, there), mu)

    here = (resolved(theta, state), jnp.asarray(state.positions), zero)
    _, pull_back = jax.vjp(of, *here)
    return tuple(jax.vmap(pull_back)(jnp.eye(len(mu))))


@jax.jit
def _slope_changes(theta: Theta, state: State) -> list[tuple[Array, dict[str, Array]]]:
    """∂u'/∂p, a pair's own, and the pairs' directions; for each kind of interaction."""

    def of(part: Interactions) -> dict[str, Array]:
        def slopes(parameters: Any) -> Array:
            return replace(part, parameters=parameters).held_slope

        values, pull_back = jax.vjp(slopes, part.parameters)
        (by_parameter,) = pull_back(jnp.ones_like(values))
        return dict(by_parameter)

    return [(part.unit, of(part)) for part in interactions(resolved(theta, state), state)]


# By name of a parameter, (rows, pairs).
Rows = dict[str, NDArray[np.float64]]


def through(
    theta: Theta, state: State, near: Rows, springs: Rows, adjoint: NDArray[np.float64]
) -> tuple[Rows, Rows]:
    """Total derivatives by the parameters of near pairs and of springs.

    They are the partial ones less λ·∂²U/∂R∂p; adjoint is λ, (N, d, rows). In NumPy: compiled, it
    would be so anew for every number of rows.
    """
    changes = iter(_slope_changes(theta, state))
    by_axis = np.ascontiguousarray(adjoint.transpose(1, 2, 0))  # (d, rows, N)

    def total(pairs: Any, partial_slopes: Rows) -> Rows:
        unit, by_parameter = next(changes)
        count = int(pairs.count)
        i, j, unit = (np.asarray(x)[:count] for x in (pairs.i, pairs.j, unit))
        # ∂²U/∂R∂p of a pair is n ∂u'/∂p, on its ends; an axis at a time, to hold less.
        lengthening = np.zeros((by_axis.shape[1], count))
        for along, moves in zip(unit.T, by_axis, strict=True):
            lengthening += along * (moves.take(j, axis=1) - moves.take(i, axis=1))
        return {
            k: v[:, :count] - lengthening * np.asarray(by_parameter[k])[:count]
            for k, v in partial_slopes.items()
        }

    return (
        total(state.pairs, near) if near else {},
        total(state.bonds, springs) if springs else {},
    )


def check_loads(
    features: Sequence[Feature], sizes: Sequence[int], found: Response, loads: NDArray[Any]
) -> None:
    """Refuse derivatives of what the parameters do not determine: loads (rows, N, d).

    Raises `RattlerError` for a feature that depends on where rattlers lie, `FeatureError` for one
    that changes when the packing moves as a whole.
    """
    rows = np.split(loads, np.cumsum(sizes)[:-1])
    scale = float(np.max(np.abs(loads), initial=0.0))
    for f, row in zip(features, rows, strict=True):
        load = row.transpose(1, 2, 0)
        if found.rattlers.any() and on_rattlers(load, found.rattlers, scale):
            raise RattlerError(
                f"the gradient of {f.name!r} depends on where {int(found.rattlers.sum())} rattlers "
                "lie, which the parameters do not determine: remove them, or choose a feature of "
                "the backbone."
            )
        if along_rigid(load, found.factor.rigid):
            raise FeatureError(
                f"the gradient of {f.name!r} depends on where the packing as a whole lies, or how "
                "it is turned, which the parameters do not determine."
            )


def partials(
    features: Sequence[Feature],
    theta: Theta,
    found: Response,
    *,
    strain: bool = False,
    tensor: bool = False,
) -> tuple[list[NDArray[np.float64]], Resolved, NDArray[np.float64], Any, Any]:
    """Features' values and partial derivatives by pairs' parameters, positions and the strain.

    Those by positions are (rows, N, d). Last comes the elastic tensor if it is wanted, else None.
    Raises as `check_loads` does.
    """
    (y, moduli), by_own, by_position, by_strain, by_response = _partials(
        tuple(features), theta, found.state, strain, tensor
    )
    values = [np.asarray(v) for v in y]
    if by_response is not None and np.any(by_response):
        w = np.asarray(by_response)  # (rows, N, d, a)
        columns = w.transpose(1, 2, 0, 3).reshape(*w.shape[1:3], -1)
        mu = found.solve(columns).reshape(*w.shape[1:3], w.shape[0], -1).transpose(2, 0, 1, 3)
        more = _by_response(theta, found.state, mu, strain)
        by_own, by_position, by_strain = jax.tree_util.tree_map(
            jnp.add, (by_own, by_position, by_strain), more
        )
    loads = np.asarray(by_position)
    check_loads(features, [v.size for v in values], found, loads)
    return values, by_own, loads, by_strain, moduli


def slopes_of(
    features: Sequence[Feature],
    theta: Theta,
    found: Response,
    *,
    strain: bool = False,
    jump_terms: bool = False,
) -> tuple[list[NDArray[np.float64]], Slopes]:
    """Features' values, and their total derivatives by each pair's parameters and the strain.

    The rows of the derivatives are the features' components, one feature after the other. With
    ``jump_terms`` as many rows follow, to be added where derivatives are averaged over packings
    (`amorph.bridge.sensitivity.jumps`). Raises as `partials` and `jumps_of` do.
    """
    state = found.state
    values, by_own, loads, by_strain, tensor = partials(
        features, theta, found, strain=strain, tensor=jump_terms and state.nonaffine is not None
    )
    near = {} if by_own.near is None else _rows(by_own.near.parameters)
    springs = {} if by_own.springs is None else _rows(by_own.springs._values)
    if jump_terms:
        jumps = jumps_of(features, theta, found, tensor)
        by_pairs: Rows = {}
        pulls, stretch = np.zeros_like(loads), np.zeros((len(loads), 1))
        if jumps is not None:
            by_pairs, pulls, stretch = jumps.partials(state)
        near = _with_rows(near, by_pairs, len(pulls))
        springs = _with_rows(springs, {}, len(pulls))
        loads = np.concatenate([loads, pulls])
        if by_strain is not None:
            shape = np.shape(by_strain)
            by_strain = np.concatenate([by_strain, np.broadcast_to(stretch, shape)])
    adjoint = found.solve(np.ascontiguousarray(loads.transpose(1, 2, 0)))
    near, springs = through(theta, state, near, springs, adjoint)
    if by_strain is not None:
        # λ·∂²U/∂R∂ε = ∂f/∂R·W, with W that was solved for already.
        by_strain = np.asarray(by_strain) - np.einsum("rnd,nda->ra", loads, state.nonaffine)
    types = {} if by_own.near is None else _rows(by_own.near.types._values)
    if jump_terms:
        types = _with_rows(types, {}, len(pulls))
    return values, Slopes(theta, state, near, springs, by_strain, types)


def _rows(by_parameter: dict[str, Any]) -> Rows:
    return {k: np.asarray(v) for k, v in by_parameter.items()}


def _with_rows(partial_slopes: Rows, more: dict[str, Any], rows: int) -> Rows:
    """Partial derivatives with further rows: zeros for parameters that have none."""
    return {
        k: np.concatenate([v, more[k] if k in more else np.zeros((rows, v.shape[1]))])
        for k, v in partial_slopes.items()
    }


def degenerate_groups(theta: Theta, state: State) -> list[range]:
    """The groups of more than one mode among the state's modes that share a frequency."""
    squared = squared_frequencies(theta, state)
    new = np.abs(np.diff(squared)) > SEPARATE * np.abs(squared[1:])
    ends = [0, *(np.flatnonzero(new) + 1).tolist(), len(squared)]
    return [range(a, b) for a, b in pairwise(ends) if b - a > 1]


@cache
def coupling(first: int, last: int) -> Feature:
    """v_kᵀ H v_l of the modes from first to last, as a feature (n, n)."""

    def of(theta: Any, state: State) -> Array:
        return squared_between(theta, state, state.modes[:, :, first:last])

    return Feature(
        f"coupling of modes {first} to {last - 1}", of, needs_box=False, modes=last, stationary=True
    )


def by_choices(
    features: Sequence[Feature],
    theta: Theta,
    found: Response,
    chosen: Sequence[Choice],
    *,
    degenerate: str = "raise",
    jump_terms: bool = False,
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Features' values, and their total derivatives by some choices, (rows, columns).

    With ``jump_terms`` as many rows follow as in `slopes_of`.

    Raises `DegenerateModesError` for frequencies of modes that the parameters split, unless
    ``degenerate`` is ``mean``.
    """
    n_modes = max((f.modes for f in features), default=0)
    groups = degenerate_groups(theta, found.state) if n_modes else []
    groups = [g for g in groups if g.start < n_modes]
    extra = [coupling(g.start, g.stop) for g in groups]
    strain = any(c.needs_strain for c in chosen)
    values, slopes = slopes_of(
        [*features, *extra], theta, found, strain=strain, jump_terms=jump_terms
    )
    matrix = np.concatenate([c.columns(slopes) for c in chosen], axis=1)
    sizes = [v.size for v in values]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    for k, group in enumerate(groups):
        at = len(features) + k
        size = len(group)
        rows = matrix[starts[at] : starts[at + 1]].reshape(size, size, -1)
        mean = np.einsum("kkc->c", rows) / size
        split = np.max(np.abs(rows - mean * np.eye(size)[:, :, None]), axis=(0, 1))
        defined = split <= 1e-7 * np.max(np.abs(rows))
        for f, start in zip(features, starts, strict=False):
            if f.modes <= group.start or defined.all():
                continue
            if degenerate == "mean" and f.per_mode:
                inside = start + np.array([m for m in group if m < f.modes])
                root = np.sqrt(np.diagonal(values[at]).mean())
                matrix[inside] = mean / (2 * root)
            elif f.per_mode or f.single_modes or f.modes < group.stop:
                raise DegenerateModesError(
                    f"{f.name}: modes {group.start} to {group.stop - 1} share a frequency, and "
                    f"{int(np.sum(~defined))} of the parameters split them: none of them has a "
                    "derivative. Ask for degenerate='mean', or for frequency_slopes along a "
                    "direction."
                )
    # Features with modes, and so with groups, have no jump terms.
    return values[: len(features)], matrix if jump_terms else matrix[: starts[len(features)]]
