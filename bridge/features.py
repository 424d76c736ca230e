"""Features: what a packing is measured and designed by, from one registry.

A feature is a function (theta, packing) -> array. Adding one is writing a function of
(theta, `State`) that JAX can trace, and naming it with `register`.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from .blas import one_blas_thread
from .elasticity import (
    bulk_modulus_of,
    elastic_tensor_of,
    lowest_modulus_of,
    poisson_ratio_of,
    shear_modulus_of,
)
from .errors import FeatureError, RattlerError
from .linear_response import Response, response, solve
from .mechanics import State, energy_of, forces_of, pressure_of, stress_of
from .order import WINDOW, psi_sharp_of, psi_smooth_of
from .packing import Packing
from .potentials import PairPotential

__all__ = [
    "FEATURES",
    "Feature",
    "Measurement",
    "bulk_modulus",
    "elastic_tensor",
    "feature",
    "lowest_modulus",
    "measure",
    "poisson_ratio",
    "pressure",
    "psi_8",
    "psi_8_sharp",
    "register",
    "shear_modulus",
    "value_and_grad",
]


def _no_reach(theta: PairPotential) -> float:
    return 0.0


@dataclass(frozen=True, eq=False)
class Feature:
    """A named feature.

    Attributes
    ----------
    name:
        Its name in the registry, in tables and in campaign files.
    function:
        (theta, state) -> array, traceable by JAX. `state.nonaffine` may be used in expressions
        that are stationary in it, as the elastic tensor's is.
    reach:
        How far pairs must be listed, given theta, where it looks beyond the potential's cutoff.
    dimensions:
        Where it is defined.
    needs_box:
        Whether it is undefined for clusters.
    differentiable:
        False for counts and other discontinuous measures.
    describe:
        One line with the symbol, for pictures and messages.
    bounds:
        What is possible for an isotropic solid in 2 and 3 dimensions, if anything is known.
    """

    name: str
    function: Callable[[PairPotential, State], Array]
    reach: Callable[[PairPotential], float] = _no_reach
    dimensions: tuple[int, ...] = (2, 3)
    needs_box: bool = True
    differentiable: bool = True
    describe: str = ""
    bounds: Mapping[int, tuple[float, float]] | None = None

    def __call__(
        self, first: "PairPotential | Packing", second: "PairPotential | Packing"
    ) -> "NDArray[np.float64] | float":
        """The feature of a packing at rest; a float where it is a scalar.

        Takes (theta, packing), or (packing, theta): they cannot be mistaken for each other.
        Raises as `amorph.bridge.response` does, and `FeatureError` where it is not defined.
        """
        theta, packing = theta_and_packing(first, second)
        return measure(packing, theta, [self]).values[self.name]

    def __repr__(self) -> str:
        return f"Feature({self.name!r})"


FEATURES: dict[str, Feature] = {}
"""All features by name."""


def register(new: Feature) -> Feature:
    """Put a feature into the registry; raises `FeatureError` if its name is taken."""
    if new.name in FEATURES:
        raise FeatureError(f"there is a feature {new.name!r} already: choose another name.")
    FEATURES[new.name] = new
    return new


def feature(which: "str | Feature") -> Feature:
    """A feature by its name; raises `FeatureError`, which names the nearest one."""
    if isinstance(which, Feature):
        return which
    if which not in FEATURES:
        near = difflib.get_close_matches(str(which), FEATURES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise FeatureError(f"there is no feature {which!r}{hint} There are: {', '.join(FEATURES)}.")
    return FEATURES[which]


def theta_and_packing(first: Any, second: Any) -> tuple[PairPotential, Packing]:
    """Sort out which of two arguments is the potential; raises `FeatureError`."""
    if isinstance(first, PairPotential) and isinstance(second, Packing):
        return first, second
    if isinstance(second, PairPotential) and isinstance(first, Packing):
        return second, first
    raise FeatureError(
        "a feature takes a potential and a Packing, but was given "
        f"{type(first).__name__} and {type(second).__name__}."
    )


poisson_ratio = register(
    Feature(
        "poisson_ratio",
        poisson_ratio_of,
        describe="Poisson's ratio ν",
        bounds={2: (-1.0, 1.0), 3: (-1.0, 0.5)},
    )
)
bulk_modulus = register(Feature("bulk_modulus", bulk_modulus_of, describe="bulk modulus B"))
shear_modulus = register(Feature("shear_modulus", shear_modulus_of, describe="shear modulus G"))
pressure = register(Feature("pressure", pressure_of, describe="pressure p"))
_stress = register(Feature("stress", stress_of, describe="stress"))
elastic_tensor = register(Feature("elastic_tensor", elastic_tensor_of, describe="elastic tensor"))
lowest_modulus = register(
    Feature(
        "lowest_modulus",
        lowest_modulus_of,
        describe="smallest eigenvalue of the elastic tensor",
    )
)
_energy = register(Feature("energy", energy_of, needs_box=False, describe="energy U"))
psi_8 = register(
    Feature(
        "psi_8",
        partial(psi_smooth_of, k=8),
        reach=lambda theta: WINDOW[1] * float(np.max(theta.arrays()["diameters"])),
        dimensions=(2,),
        needs_box=False,
        describe="8-fold order ψ₈",
        bounds={2: (0.0, 1.0)},
    )
)
psi_8_sharp = register(
    Feature(
        "psi_8_sharp",
        partial(psi_sharp_of, k=8),
        reach=lambda theta: float(np.max(theta.arrays()["diameters"])),
        dimensions=(2,),
        needs_box=False,
        differentiable=False,
        describe="8-fold order ψ₈, sharp",
        bounds={2: (0.0, 1.0)},
    )
)


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
