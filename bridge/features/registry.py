"""The registry of features: what a packing can be measured and designed by, each by its name.

A feature is a function (theta, packing) -> array. Adding one is writing a function of
(theta, `State`) that JAX can trace, and naming it with `register`; a family of them, such as ψ_k
for any k, is named with `register_family`.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray

from amorph.handover.arguments import check_kind, described, one_or_several

from ..errors import FeatureError
from ..matter.arguments import check
from ..matter.mechanics import State
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..minima.responses import Response
from .finiteness import check_finite
from .vibrations import response_with

__all__ = [
    "FAMILIES",
    "FEATURES",
    "Family",
    "Feature",
    "feature",
    "features_of",
    "register",
    "register_family",
]


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
        (theta, state) -> array, traceable by JAX. `state.nonaffine` may be used in expressions
        that are stationary in it, as the elastic tensor's is.
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
        return not self.modes

    def range_in(self, dimension: int) -> tuple[float, float]:
        """The range possible for an isotropic solid; infinite where nothing is known."""
        return (self.bounds or {}).get(dimension, (-np.inf, np.inf))

    def __call__(self, theta: Theta, packing: Packing) -> "NDArray[np.float64] | float":
        """The feature of a packing at rest; a float where it is a scalar.

        Raises as `amorph.bridge.response` does, and `FeatureError` where it is not defined.
        """
        check(theta=theta, packing=packing)
        check_features(packing, [self])
        found = response_for(theta, packing, [self])
        (value,) = values_of([self], theta, found)
        check_finite(f"the feature {self.name!r}", value, theta, found)
        return value

    def __repr__(self) -> str:
        return f"Feature({self.name!r})"


FEATURES: dict[str, Feature] = {}
"""All features by name, families apart."""


@dataclass(frozen=True, eq=False)
class Family:
    """Features that differ by numbers in their names; see `register_family`."""

    name: str
    pattern: re.Pattern[str]
    make: Callable[..., Feature]


FAMILIES: dict[str, Family] = {}
"""All families of features by name."""

_KNOWN: dict[str, Feature] = {}  # members of families that were asked for: one object each


def register(new: Feature) -> Feature:
    """Put a feature into the registry; raises `FeatureError` if its name is taken.

    Raises `InputError` for anything but a `Feature`.
    """
    check_kind("new", new, Feature, 'a Feature, as Feature("name", function)')
    if new.name in FEATURES:
        raise FeatureError(f"there is a feature {new.name!r} already: choose another name.")
    FEATURES[new.name] = new
    return new


def register_family(name: str, make: Callable[..., Feature]) -> Family:
    """Put a family of features into the registry, such as ``psi_{k}``.

    Each ``{...}`` of the name stands for a whole number; ``make`` gets these numbers and returns
    the feature, or raises `FeatureError` where there is none for them. Raises `FeatureError` if
    the name is taken, `InputError` for anything but a name and a function.
    """
    check_kind("name", name, str, "a name such as 'psi_{k}'")
    check_kind("make", make, Callable, "a function of whole numbers that returns a Feature")
    if name in FAMILIES:
        raise FeatureError(f"there is a family {name!r} already: choose another name.")
    parts = re.split(r"\{\w+\}", name)
    pattern = r"(0|[1-9]\d*)".join(re.escape(part) for part in parts)
    FAMILIES[name] = family = Family(name, re.compile(pattern), make)
    return family


def feature(which: "str | Feature") -> Feature:
    """A feature by its name; raises `FeatureError`, which names the nearest one."""
    if isinstance(which, Feature):
        return which
    if not isinstance(which, str):
        raise FeatureError(f"a feature is named by a text or a Feature, not {described(which)}.")
    if which in FEATURES:
        return FEATURES[which]
    for family in FAMILIES.values():
        matched = family.pattern.fullmatch(str(which))
        if matched:
            return _KNOWN.setdefault(str(which), family.make(*map(int, matched.groups())))
    names = [*FEATURES, *FAMILIES]
    near = difflib.get_close_matches(str(which), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise FeatureError(f"there is no feature {which!r}{hint} There are: {', '.join(names)}.")


def features_of(name: str, given: "str | Feature | Iterable[str | Feature]") -> tuple[Feature, ...]:
    """The features that an argument names; one alone stands for itself, in every function.

    Raises `InputError` for anything but names and features, `FeatureError` as `feature` does.
    """
    right = 'names or features, as ["poisson_ratio"]: see bridge.FEATURES'
    return tuple(feature(f) for f in one_or_several(name, given, (str, Feature), right))


def check_features(
    packing: Packing, features: Sequence[Feature], gradients: Sequence[Feature] = ()
) -> None:
    """Raise `FeatureError` for features not defined for a packing, or not differentiable."""
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
