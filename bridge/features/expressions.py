"""Arithmetic of features, as a design's objective or a table's column may be: read, never executed.

``bulk_modulus / shear_modulus``, ``elastic_constants[0] - elastic_constants[1]``,
``sqrt(youngs_modulus ** 2 + 1)``: numbers, names of features of one number, components of others,
+ - * / **, brackets, and the functions sqrt, log and exp. What comes out is a feature like any
other, with the derivatives that its parts have.
"""

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import jax.numpy as jnp
import numpy as np

from ..errors import FeatureError
from .kinds import Feature

__all__ = ["Tree", "combined", "is_expression", "parsed"]

# Longer texts are no objective.
LONGEST = 500
_NEWLINES = {ord("\n"): " ", ord("\r"): " ", ord("\t"): " "}
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
}
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {"sqrt": jnp.sqrt, "log": jnp.log, "exp": jnp.exp}
_READ = "it may have numbers, features, their components [0], + - * / ** ( ), sqrt, log and exp"

Evaluated = Callable[[dict[Feature, Any]], Any]


@dataclass(frozen=True)
class Tree:
    """An expression that was read.

    Attributes: features, those in it, each once; value, a function of their values.
    """

    features: tuple[Feature, ...]
    value: Evaluated


def is_expression(text: str) -> bool:
    """Whether a text that is no feature's name may be arithmetic: it has a sign of it."""
    return any(sign in text for sign in "+-*/()[]")


def parsed(text: str, find: Callable[[str], Feature]) -> Tree:
    """An expression, with features that a function finds by name.

    Raises `FeatureError`, which names the place in the text, for what cannot be read, and for names
    that there are not.
    """
    return _Reader(text, find).tree()


def combined(text: str, tree: Tree) -> Feature:
    """The feature that an expression of features is; raises `FeatureError` for one defined nowhere.

    It is defined, has a derivative and jump terms where all its parts have.
    """
    parts = tree.features
    dimensions = tuple(d for d in (2, 3) if all(d in f.dimensions for f in parts))
    if not dimensions:
        raise FeatureError(f"{text!r}: its features are defined in different dimensions.")

    def function(theta: Any, state: Any) -> Any:
        return tree.value({f: f.function(theta, state) for f in parts})

    def reach(theta: Any) -> Any:
        lengths = [f.reach(theta) for f in parts]
        return max(lengths) if all(isinstance(x, float) for x in lengths) else _largest(lengths)

    from_tensor = {f: f.of_tensor for f in parts if f.of_tensor is not None}

    def of_tensor(tensor: Any) -> Any:
        return tree.value({f: own(tensor) for f, own in from_tensor.items()})

    return Feature(
        text,
        function,
        reach=reach,
        dimensions=dimensions,
        needs_box=any(f.needs_box for f in parts),
        needs_pairs=any(f.needs_pairs for f in parts),
        differentiable=all(f.differentiable for f in parts),
        describe=text,
        modes=max(f.modes for f in parts),
        listed=False,
        source="arithmetic of features",
        stationary=all(f.stationary for f in parts),
        single_modes=any(f.per_mode or f.single_modes for f in parts),
        of_tensor=of_tensor if len(from_tensor) == len(parts) else None,
    )


def _is_whole(node: ast.expr) -> bool:
    """Whether an exponent is a small whole number, with a sign or without."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value < 100


def _largest(lengths: list[Any]) -> Any:
    return jnp.max(jnp.stack([jnp.asarray(x) for x in lengths]))


class _Reader:
    """Reads one expression."""

    def __init__(self, text: str, find: Callable[[str], Feature]) -> None:
        self._text = text
        self._find = find
        self._features: dict[str, Feature] = {}

    def tree(self) -> Tree:
        if len(self._text) > LONGEST:
            raise FeatureError(
                f"an expression of {len(self._text)} characters: at most {LONGEST} are read."
            )
        # In brackets, or a space before it would be an error; places are counted without them.
        source = f"({self._text.translate(_NEWLINES)})"
        try:
            body = ast.parse(source, mode="eval").body
        except SyntaxError as error:
            self._refuse((error.offset or 2) - 2, f"cannot be read ({error.msg})")
        except (ValueError, RecursionError, MemoryError) as error:
            self._refuse(0, f"cannot be read ({error})")
        value = self._read(body)
        if not self._features:
            self._refuse(0, "has no feature in it")
        return Tree(tuple(self._features.values()), value)

    def _refuse(self, place: int, what: str) -> NoReturn:
        # ast counts bytes of UTF-8.
        start = len(self._text.encode()[: max(place, 0)].decode(errors="ignore"))
        raise FeatureError(
            f"{self._text!r} {what} at character {start + 1}, {self._text[start : start + 20]!r}: "
            f"{_READ}."
        )

    def _read(self, node: ast.expr) -> Evaluated:
        place = node.col_offset - 1
        if isinstance(node, ast.Constant):
            return self._number(node.value, place)
        if isinstance(node, ast.Name):
            return self._whole(node.id, place)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            return self._component(node.value.id, node.slice, place)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
            inner = self._read(node.operand)
            return inner if isinstance(node.op, ast.UAdd) else lambda values: -inner(values)
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            if isinstance(node.op, ast.Pow) and _is_whole(node.right):
                # Not as an array: a power with a whole exponent has a derivative at and below 0.
                base, exponent = self._read(node.left), ast.literal_eval(node.right)
                return lambda values: base(values) ** exponent
            apply = _OPERATORS[type(node.op)]
            left, right = self._read(node.left), self._read(node.right)
            return lambda values: apply(left(values), right(values))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self._function(node, node.func.id, place)
        self._refuse(place, f"has {type(node).__name__}, which is not read,")

    def _number(self, value: Any, place: int) -> Evaluated:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self._refuse(place, f"has {value!r}, which is no number,")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self._refuse(place, "has a number that is too large")
        return lambda values: jnp.asarray(number)

    def _feature(self, name: str, place: int) -> Feature:
        if name not in self._features:
            try:
                self._features[name] = self._find(name)
            except FeatureError as error:
                raise FeatureError(f"{self._text!r}, at character {place + 1}: {error}") from error
        return self._features[name]

    def _whole(self, name: str, place: int) -> Evaluated:
        f = self._feature(name, place)
        if not f.scalar:
            self._refuse(
                place, f"has {name!r}, which is not one number: name a component, {name}[0],"
            )

        def value(values: dict[Feature, Any]) -> Any:
            if np.shape(values[f]):
                self._refuse(
                    place,
                    f"has {name!r}, which has shape {np.shape(values[f])}: name a component of it,",
                )
            return values[f]

        return value

    def _component(self, name: str, index: ast.expr, place: int) -> Evaluated:
        listed = index.elts if isinstance(index, ast.Tuple) else [index]
        places = [i.value for i in listed if isinstance(i, ast.Constant)]
        if len(places) != len(listed) or not all(type(i) is int and i >= 0 for i in places):
            self._refuse(
                index.col_offset - 1,
                f"has a component of {name!r} that is no whole number from 0 on",
            )
        f = self._feature(name, place)
        at: tuple[Any, ...] = tuple(places)

        def value(values: dict[Feature, Any]) -> Any:
            shape = np.shape(values[f])
            # JAX would take the nearest component in place of one that there is not.
            if len(at) != len(shape) or any(i >= n for i, n in zip(at, shape, strict=True)):
                self._refuse(
                    place,
                    f"has component {list(at)} of {name!r}, which has shape {shape}: none such,",
                )
            return values[f][at]

        return value

    def _function(self, node: ast.Call, name: str, place: int) -> Evaluated:
        if name not in _FUNCTIONS or len(node.args) != 1 or node.keywords:
            self._refuse(place, f"has {name}(...), which is no function of one value read here,")
        apply, inner = _FUNCTIONS[name], self._read(node.args[0])
        return lambda values: apply(inner(values))
