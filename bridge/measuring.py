"""Measuring features of a packing at rest, and differentiating them through the minimum."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .blas import one_blas_thread
from .errors import FeatureError, RattlerError
from .linear_response import Response, response, solve
from .mechanics import State, forces_of
from .packing import Packing
from .potentials import PairPotential
from .registry import Feature, feature, theta_and_packing

__all__ = ["Measurement", "measure", "value_and_grad"]


@dataclass(frozen=True, eq=False)
class Measurement:
    """Values of features and, where asked for, their derivatives by parameters of types.

    Attributes
    ----------
    values:
        By feature: a float, or an array.
    gradients:
        By feature: an object like theta whose leaves have the feature's shape followed by the
        parameter's.
    response:
        The factorisation they were computed from.
    """

    values: dict[str, Any]
    gradients: dict[str, PairPotential]
    response: Response


def _check(packing: Packing, features: Sequence[Feature], gradients: Sequence[Feature]) -> None:
    for f in (*features, *gradients):
        if packing.dimension not in f.dimensions:
            raise FeatureError(
                f"feature {f.name!r} is defined in {' and '.join(map(str, f.dimensions))} "
                f"dimensions, but the packing has {packing.dimension}: leave it out."
            )
        if f.needs_box and packing.box is None:
            raise FeatureError(
                f"feature {f.name!r} needs a volume, but the packing is a cluster in open space."
            )
    for f in gradients:
        if not f.differentiable:
            raise FeatureError(f"feature {f.name!r} jumps: it has no gradient. Use a smooth form.")


@partial(jax.jit, static_argnums=0)
def _values(features: tuple[Feature, ...], theta: PairPotential, state: State) -> list[Array]:
    return [f.function(theta, state) for f in features]


@partial(jax.jit, static_argnums=0)
def _derivatives(
    features: tuple[Feature, ...], theta: PairPotential, state: State, factor: Array
) -> tuple[list[Array], list[PairPotential], Array]:
    """Values, total derivatives by theta, and how much each depends on where rattlers lie."""
    shapes = [jax.eval_shape(f.function, theta, state).shape for f in features]

    def stacked(theta: PairPotential, positions: Array) -> Array:
        moved = replace(state, positions=positions)
        return jnp.concatenate([jnp.ravel(f.function(theta, moved)) for f in features])

    y, pull_back = jax.vjp(stacked, theta, jnp.asarray(state.positions))
    by_theta, by_position = jax.vmap(pull_back)(jnp.eye(len(y)))
    # The adjoint: λ = H⁻¹ ∂y/∂R, and dy/dθ = ∂y/∂θ - λ·∂²U/∂R∂θ.
    loads = by_position.transpose(1, 2, 0)
    on_rattlers = jnp.where(state.rattlers[:, None, None], jnp.abs(loads), 0.0)
    adjoint = solve(factor, loads, len(state.typeid))
    _, force_pull_back = jax.vjp(lambda t: -forces_of(t, state), theta)
    through = jax.vmap(lambda a: force_pull_back(a)[0])(adjoint.transpose(2, 0, 1))
    total = jax.tree_util.tree_map(lambda a, b: a - b, by_theta, through)

    sizes = [int(np.prod(s)) for s in shapes]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    values, gradients, dangling = [], [], []
    for k, shape in enumerate(shapes):
        part = slice(int(starts[k]), int(starts[k + 1]))
        values.append(y[part].reshape(shape))
        gradients.append(
            jax.tree_util.tree_map(lambda g, p=part, s=shape: g[p].reshape(s + g.shape[1:]), total)
        )
        dangling.append(jnp.max(on_rattlers[:, :, part]))
    return values, gradients, jnp.stack(dangling)


def _plain(value: Array) -> Any:
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array


@one_blas_thread
def measure(
    packing: Packing,
    theta: PairPotential,
    features: Sequence["str | Feature"],
    gradients: Sequence["str | Feature"] = (),
    *,
    tolerance: float | None = None,
) -> Measurement:
    """Values of features of a packing at rest, and gradients through the minimum.

    Everything comes from one factorisation of the Hessian, which is kept with the packing. A
    gradient is that of the feature of the packing that follows the parameters at fixed box,
    df/dθ = ∂f/∂θ - λ·∂²U/∂R∂θ with λ = H⁻¹ ∂f/∂R; it holds until a pair crosses a distance where
    u'' jumps, or the packing rearranges.

    Parameters
    ----------
    packing, theta:
        A packing as `relax` returns it, and its potential.
    features, gradients:
        Names or features to measure, and to differentiate by all parameters of types.
    tolerance:
        The largest |F| that counts as rest; by default `default_tolerance`.

    Raises
    ------
    FeatureError
        For a feature that is not there, not defined here, or not differentiable.
    RattlerError
        If a gradient depends on where a rattler lies.
    NotAMinimumError, SingularHessianError, BoxTooSmallError, UnknownTypeError, PrecisionError
        As `response` does.
    """
    differentiated = tuple(feature(f) for f in gradients)
    plain = tuple(f for f in map(feature, features) if f not in differentiated)
    _check(packing, plain, differentiated)
    reach = max((f.reach(theta) for f in (*plain, *differentiated)), default=0.0)
    found = response(packing, theta, tolerance=tolerance, reach=reach)
    values: dict[str, Any] = {}
    slopes: dict[str, PairPotential] = {}
    if plain:
        for f, value in zip(plain, _values(plain, theta, found.state), strict=True):
            values[f.name] = _plain(value)
    if differentiated:
        y, dy, dangling = _derivatives(differentiated, theta, found.state, found.factor)
        for f, value, slope, loose in zip(differentiated, y, dy, dangling, strict=True):
            if float(loose) > 1e-12 * max(1.0, float(np.max(np.abs(np.asarray(value))))):
                raise RattlerError(
                    f"the gradient of {f.name!r} depends on where "
                    f"{int(found.rattlers.sum())} rattlers lie, which the parameters do not "
                    "determine: remove them, or choose a feature of the backbone."
                )
            values[f.name] = _plain(value)
            slopes[f.name] = slope
    return Measurement(values, jax.block_until_ready(slopes), found)


def value_and_grad(which: "str | Feature") -> Callable[[Any, Any], tuple[Any, PairPotential]]:
    """A function of (theta, packing) that gives a feature's value and its gradient by theta.

    The gradient is an object like theta: its attributes are the derivatives by each parameter of
    types, through the energy minimum, at fixed box. See `measure` for what it means and raises.
    """
    f = feature(which)

    def evaluate(first: Any, second: Any) -> tuple[Any, PairPotential]:
        theta, packing = theta_and_packing(first, second)
        measured = measure(packing, theta, (), [f])
        return measured.values[f.name], measured.gradients[f.name]

    return evaluate
