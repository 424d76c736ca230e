"""The registry of features: what a packing can be measured and designed by, each by its name.

A feature is a function (theta, packing) -> array. Adding one is writing a function of
(theta, `State`) that JAX can trace, and decorating it with `feature`; a family of them, such as ψ_k
for any k, is named with `register_family`. Arithmetic of features is a feature too: see
`amorph.bridge.features.expressions`.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from amorph.handover.arguments import check_kind, described, one_or_several

from ..errors import FeatureError
from ..matter.registered import origin
from .expressions import combined, is_expression, parsed
from .kinds import Feature, check_features, plain, response_for, values_of

__all__ = [
    "FAMILIES",
    "FEATURES",
    "Family",
    "Feature",
    "check_features",
    "feature",
    "features_of",
    "plain",
    "register",
    "register_family",
    "response_for",
    "values_of",
]

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
_EXPRESSIONS: dict[str, tuple[tuple[Feature, ...], Feature]] = {}  # with the features in them


def register(new: Feature) -> Feature:
    """Put a feature into the registry; raises `FeatureError` if its name is taken.

    One whose function was defined again, as in a notebook's cell that is run twice, takes the place
    of the first.

    Raises `InputError` for anything but a `Feature`.
    """
    check_kind("new", new, Feature, 'a Feature, as Feature("name", function)')
    there = FEATURES.get(new.name)
    if there is not None and (_origin(new) is None or _origin(new) != _origin(there)):
        raise FeatureError(f"there is a feature {new.name!r} already: choose another name.")
    FEATURES[new.name] = new
    return new


def _origin(f: Feature) -> tuple[str, str] | None:
    """Where a feature's function was defined, by which it is known again."""
    return origin(f.function) if hasattr(f.function, "__qualname__") else None


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


_NOTHING = object()


def feature(which: Any = _NOTHING, **options: Any) -> Any:
    """A feature by its name, or of a function: then it is a decorator, which registers it.

    Parameters
    ----------
    which:
        A name, arithmetic of names (``"bulk_modulus / shear_modulus"``,
        ``"elastic_constants[0] - elastic_constants[1]"``), or a `Feature`, which is given back; or
        a function of (theta, state) that JAX can trace.
    options:
        Of a function's feature: ``name``, by default the function's, and all else that a `Feature`
        has. Unless they say otherwise it needs no box, is one number, and has a derivative, which
        includes that of the response W; ``stationary=True`` says that this is not needed, and that
        jump terms (`measure`) are known.

    Returns
    -------
    The `Feature`; of options alone a decorator.

    Raises
    ------
    FeatureError
        For a name that there is not (the nearest is named), or that another function has; for
        arithmetic that cannot be read, with the place in it.

    Examples
    --------
    >>> @bridge.feature(symbol="d", units="length")
    ... def mean_gap(theta, state):
    ...     return bridge.pair_mean(theta, state, lambda pair: pair.distance - pair.sigma)
    >>> mean_gap(theta, packing)
    >>> bridge.measure(theta, packing, [], gradients=["mean_gap / pressure"])
    """
    if which is _NOTHING:
        return partial(_decorated, options)
    if callable(which) and not isinstance(which, Feature):
        return _decorated(options, which)
    if options:
        raise FeatureError(
            f"{', '.join(options)}: only a function's feature takes options, as in "
            "@bridge.feature(units='length')."
        )
    return named(which)


def _decorated(options: dict[str, Any], function: Any) -> Feature:
    if not callable(function) or isinstance(function, Feature):
        raise FeatureError(f"{described(function)} is no function of (theta, state).")
    known = [name for name in Feature.__dataclass_fields__ if name != "function"]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise FeatureError(
                f"a feature has no option {name!r}{hint} There are: {', '.join(known)}."
            )
    told = (getattr(function, "__doc__", None) or "").strip().partition("\n")[0].rstrip(".")
    whole = {
        "name": getattr(function, "__name__", ""),
        "needs_box": False,
        "stationary": False,
        "describe": told,
        "source": getattr(function, "__module__", ""),
        **options,
    }
    if not str(whole["name"]).isidentifier():
        raise FeatureError(f"a feature of {described(function)} needs a name: name='...'.")
    return register(Feature(function=function, **whole))


def named(which: "str | Feature") -> Feature:
    """A feature by its name, or of arithmetic; raises `FeatureError`, which names the nearest."""
    if isinstance(which, Feature):
        return which
    if not isinstance(which, str):
        raise FeatureError(f"a feature is named by a text or a Feature, not {described(which)}.")
    found = _registered(which)
    if found is None and is_expression(which):
        return _expression(which)
    if found is None:
        raise FeatureError(unknown(which))
    return found


def _registered(name: str) -> Feature | None:
    """A feature or a family's member by its name, if there is one."""
    if name in FEATURES:
        return FEATURES[name]
    for family in FAMILIES.values():
        matched = family.pattern.fullmatch(name)
        if matched:
            return _KNOWN.setdefault(name, family.make(*map(int, matched.groups())))
    return None


def unknown(name: str) -> str:
    """The message for a name that there is not."""
    names = [*FEATURES, *FAMILIES]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return (
        f"there is no feature {name!r}{hint} There are: {', '.join(names)}. One of your own is "
        "known once its module is imported: on the command line give --plugin FILE, in a campaign "
        "plugins = ['FILE']."
    )


def _expression(text: str) -> Feature:
    def find(name: str) -> Feature:
        found = _registered(name)
        if found is None:
            raise FeatureError(unknown(name))
        return found

    tree = parsed(text, find)
    known = _EXPRESSIONS.get(text)
    if known is None or known[0] != tree.features:  # one of them may have been defined anew
        _EXPRESSIONS[text] = known = (tree.features, combined(text, tree))
    return known[1]


def features_of(name: str, given: "str | Feature | Iterable[str | Feature]") -> tuple[Feature, ...]:
    """The features that an argument names; one alone stands for itself, in every function.

    Raises `InputError` for anything but names and features, `FeatureError` as `feature` does.
    """
    right = 'names or features, as ["poisson_ratio"]: see bridge.FEATURES'
    return tuple(named(f) for f in one_or_several(name, given, (str, Feature), right))
