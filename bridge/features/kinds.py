"""A feature: a named function of (theta, state), and how it is evaluated."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from amorph.handover import AmorphError
from amorph.handover.arguments import check_kind

from ..errors import FeatureError
from ..matter.arguments import check
from ..matter.mechanics import State
from ..matter.packing import Packing
from ..matter.pairs import Pairs
from ..matter.springs import Theta
from ..matter.tracing import traced
from ..minima.implicit import minimum
from ..minima.responses import Response
from .finiteness import check_finite
from .vibrations import response_with

__all__ = ["Feature", "check_features", "plain", "response_for", "values_of"]


def _no_reach(theta: Theta) -> float:
    return 0.0


@dataclass(frozen=True, eq=False)
class Feature:
    """A named feature.

    Attributes
    ----------
    name:
        Its name in the registry, in tables and in campaign files.
    function:
        (theta, state) -> array, traceable by JAX.
    stationary:
        Whether its derivative by `state.nonaffine` (and `state.modes`) is zero at a minimum, as the
        elastic tensor's is: then one adjoint solve is all that its gradient takes. Where it is not
        said, that derivative is taken too, and a second solve with it.
    reach:
        How far pairs must be listed, given theta, where it looks beyond the potential's cutoff.
    dimensions:
        Where it is defined.
    needs_box:
        Whether it is undefined for clusters.
    needs_pairs:
        Whether it counts neighbours by diameters, so that it is undefined for springs alone.
    differentiable:
        False for counts and other discontinuous measures.
    scalar:
        Whether it is one number, as a design's objective must be.
    describe:
        One line with the symbol, for pictures and messages.
    modes:
        How many of the lowest vibrational modes it needs in `state.modes`. They may be used in
        expressions that are stationary in each of them, as a frequency is.
    per_mode:
        Whether its component k belongs to mode k.
    listed:
        Whether `amorph analyze` measures it unless told otherwise.
    bounds:
        The range possible for an isotropic solid in 2 and in 3 dimensions, where known.
    symbol, units, source:
        For lists: ``B``; ``energy / length^d``; authors and equation, or where it was defined.
    single_modes:
        Whether it depends on modes one by one, so that a degenerate one leaves it no derivative.
    of_tensor:
        The same of an elastic tensor (d, d, d, d), where that alone decides it: pruning takes it.
    """

    name: str
    function: Callable[[Any, State], Array]
    reach: Callable[[Theta], float] = _no_reach
    dimensions: tuple[int, ...] = (2, 3)
    needs_box: bool = True
    needs_pairs: bool = False
    differentiable: bool = True
    scalar: bool = True
    describe: str = ""
    modes: int = 0
    per_mode: bool = False
    listed: bool = True
    bounds: Mapping[int, tuple[float, float]] | None = None
    symbol: str = ""
    units: str = ""
    source: str = ""
    single_modes: bool = False
    stationary: bool = False
    of_tensor: Callable[[Array], Array] | None = None

    def __post_init__(self) -> None:
        """Raise `InputError` for a name that is none, and for what cannot be called."""
        check_kind("a feature's name", self.name, str, "a text, as 'poisson_ratio'")
        check_kind("a feature's function", self.function, Callable, "a function of (theta, state)")
        check_kind("a feature's reach", self.reach, Callable, "a function of theta")

    @property
    def has_jump_terms(self) -> bool:
        """Whether its step is known where a pair crosses a distance at which u'' jumps.

        It is where it takes second derivatives of the energy from the elastic tensor alone.
        """
        return self.stationary and not self.modes

    def range_in(self, dimension: int) -> tuple[float, float]:
        """The range possible for an isotropic solid; infinite where nothing is known."""
        return (self.bounds or {}).get(dimension, (-np.inf, np.inf))

    def __call__(self, theta: Theta, packing: Packing | State) -> Any:
        """The feature of a packing at rest, a float where it is a scalar; or of a state.

        Of a `State`, as `amorph.bridge.minimum` gives it, it is a JAX array, inside of JAX's
        transformations and outside. Where JAX transforms theta or the packing, the state is found
        by `minimum`, so that derivatives are those of the packing that follows.

        Raises as `amorph.bridge.response` does, and `FeatureError` where it is not defined, or
        needs what the state does not have: pairs farther away than were listed, vibrational modes.
        """
        if isinstance(packing, State):
            return of_state(self, theta, packing)
        check(theta=theta, packing=packing)
        if traced((theta, packing)):
            reach = _fixed_reach(self, theta)
            return of_state(self, theta, minimum(theta, packing, reach=reach, modes=self.modes))
        check_features(packing, [self])
        found = response_for(theta, packing, [self])
        (value,) = values_of([self], theta, found)
        check_finite(f"the feature {self.name!r}", value, theta, found)
        return value

    def __repr__(self) -> str:
        return f"Feature({self.name!r})"


def _fixed_reach(f: Feature, theta: Theta) -> float:
    """How far a feature looks, as a number; raises `FeatureError` where JAX knows none."""
    reach = f.reach(jax.tree_util.tree_map(jax.lax.stop_gradient, theta))
    if traced(reach):
        raise FeatureError(
            f"how far the feature {f.name!r} looks depends on parameters that have no value inside "
            "of jit or vmap: give it bridge.minimum(theta, packing, reach=...) with a length."
        )
    return float(reach)


def of_state(f: Feature, theta: Any, state: State) -> Array:
    """A feature of a state, as a JAX array; raises `FeatureError` where it is not defined there.

    Where JAX traces the state and its pairs do not reach as far as the feature looks, it is NaN.
    """
    check(theta=theta)
    check_defined(f, state.positions.shape[1], state.box is not None)
    if f.modes and (state.modes is None or state.modes.shape[2] < f.modes):
        raise FeatureError(
            f"the feature {f.name!r} needs the state's {f.modes} lowest modes: find it by "
            f"bridge.minimum(theta, packing, modes={f.modes}), or give the packing."
        )
    (value,) = _values((f,), theta, state)
    wanted = f.reach(theta)
    if theta.near is None or state.reach is None or not (traced(wanted) or wanted):
        return value
    xp = jnp if traced((wanted, state.reach, theta)) else np
    listed = xp.maximum(state.reach, xp.min(theta.near.pair_cutoff(theta.near.of_types())))
    # A length that went through other arithmetic may differ in its last digit.
    enough = wanted <= listed * (1 + 1e-12)
    if xp is jnp:
        return jnp.where(enough, value, jnp.nan)
    if not enough:
        raise FeatureError(
            f"the feature {f.name!r} looks as far as {float(wanted):.6g}, but the state lists "
            f"pairs up to {float(listed):.6g}: find it by bridge.minimum(theta, packing, "
            f"reach={float(wanted):.6g}) or more."
        )
    return value


def check_scalar(f: Feature, theta: Theta, dimension: int) -> None:
    """Raise `FeatureError` for a feature that is not one number, or whose function fails.

    Of Amorph's own that is known; other functions are traced, with four particles.
    """
    module = getattr(getattr(f.function, "func", f.function), "__module__", "")
    if module.startswith("amorph.") and not module.endswith(".expressions"):
        return
    n, d, pairs = 4, dimension, 8
    strains = d * (d + 1) // 2
    index = np.zeros(pairs, dtype=np.int32)
    state = State(
        positions=np.zeros((n, d)),
        typeid=np.zeros(n, dtype=np.int32),
        box=np.eye(d),
        pairs=Pairs(index, index, np.ones((pairs, d)), np.int64(0)),
        nonaffine=np.zeros((n, d, strains)),
        rattlers=np.zeros(n, dtype=bool),
        modes=np.zeros((n, d, f.modes)) if f.modes else None,
    )
    try:
        found = jax.eval_shape(f.function, theta, state)
    except AmorphError:
        raise
    except Exception as error:  # whatever a function of a user's may raise
        raise FeatureError(
            f"the feature {f.name!r} cannot be evaluated: {type(error).__name__}: {error}. It must "
            "be arithmetic by jax.numpy on (theta, state)."
        ) from error
    shape = getattr(found, "shape", None)
    if shape != ():
        told = f"a {type(found).__name__}" if shape is None else f"shape {shape}"
        raise FeatureError(
            f"the feature {f.name!r} gives {told}: a design needs one number, as {f.name}[0]."
        )


def check_defined(f: Feature, dimension: int, has_box: bool) -> None:
    """Raise `FeatureError` for a feature not defined in a dimension, or in open space."""
    if dimension not in f.dimensions:
        raise FeatureError(
            f"feature {f.name!r} is defined in {' and '.join(map(str, f.dimensions))} "
            f"dimensions, but the packing has {dimension}: leave it out."
        )
    if f.needs_box and not has_box:
        raise FeatureError(
            f"feature {f.name!r} needs a volume, but the packing is a cluster in open space."
        )


def check_features(
    packing: Packing, features: Sequence[Feature], gradients: Sequence[Feature] = ()
) -> None:
    """Raise `FeatureError` for features not defined for a packing, or not differentiable."""
    for f in (*features, *gradients):
        check_defined(f, packing.dimension, packing.box is not None)
    for f in gradients:
        if not f.differentiable:
            raise FeatureError(f"feature {f.name!r} jumps: it has no gradient. Use a smooth form.")


def response_for(
    theta: Theta,
    packing: Packing,
    features: Sequence[Feature],
    *,
    tolerance: float | None = None,
    solver: str = "auto",
) -> Response:
    """The response of a packing, with the pairs and the modes that features need."""
    return response_with(
        theta,
        packing,
        reach=max((f.reach(theta) for f in features), default=0.0),
        n_modes=max((f.modes for f in features), default=0),
        tolerance=tolerance,
        solver=solver,
    )


def values_of(
    features: Sequence[Feature], theta: Theta, found: Response
) -> list["float | NDArray[np.float64]"]:
    """The values of features of a packing at rest; floats where they are scalars."""
    return [plain(v) for v in _values(tuple(features), theta, found.state)]


@partial(jax.jit, static_argnums=0)
def _values(features: tuple[Feature, ...], theta: Theta, state: State) -> list[Array]:
    return [f.function(theta, state) for f in features]


def plain(value: Any) -> "float | NDArray[np.float64]":
    """A scalar as a float, all else as an array."""
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array
