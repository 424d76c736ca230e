"""Measuring features of a packing at rest, and differentiating them through the minimum."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from amorph.handover.showing import numbers_shown, shown

from ..features.finiteness import check_slopes, check_values
from ..features.registry import (
    Feature,
    check_features,
    feature,
    features_of,
    plain,
    response_for,
    values_of,
)
from ..matter.arguments import check
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..minima.responses import Response
from .derivatives import by_choices
from .parameters import Choice, by_type

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
    jump_terms:
        By feature, as the gradients, where they were asked for: to be added to the gradients before
        these are averaged over packings, for pairs that cross a distance at which u'' jumps.
    """

    values: dict[str, Any]
    gradients: dict[str, Theta]
    response: Response
    jump_terms: dict[str, Theta] = field(default_factory=dict)

    def __repr__(self) -> str:
        n, d = np.shape(self.response.state.positions)
        return shown(
            f"Measurement of a packing of {n} particles in {d} dimensions",
            [
                *((name, numbers_shown(value)) for name, value in self.values.items()),
                *((f"d {name}", repr(slope)) for name, slope in self.gradients.items()),
                ("jump terms of", ", ".join(self.jump_terms)),
            ],
        )


def measure(
    theta: Theta,
    packing: Packing,
    features: "str | Feature | Sequence[str | Feature]",
    gradients: "str | Feature | Sequence[str | Feature]" = (),
    *,
    tolerance: float | None = None,
    jump_terms: bool = False,
) -> Measurement:
    """Values of features of a packing at rest, and gradients through the minimum.

    Everything comes from one factorisation of the Hessian, which is kept with the packing. A
    gradient is that of the feature of the packing that follows the parameters at fixed box,
    df/dθ = ∂f/∂θ - λ·∂²U/∂R∂θ with λ = H⁻¹ ∂f/∂R; it holds until a pair crosses a distance where
    u'' jumps, or the packing rearranges. The mean of gradients over packings is therefore not the
    gradient of the mean; with the jump terms added it is, but for rearrangements
    (`amorph.bridge.sensitivity.jumps`).

    Parameters
    ----------
    theta, packing:
        A packing as `relax` returns it, and its potential.
    features, gradients:
        Names or features to measure, and to differentiate by all parameters of types; one alone
        stands for itself.
    tolerance:
        The largest |F| that counts as rest; by default `default_tolerance`.
    jump_terms:
        Compute also the terms to add to the gradients before they are averaged over packings.

    Raises
    ------
    FeatureError
        For a feature that is not there, not defined here, or not differentiable; for frequencies
        with ``jump_terms``.
    RattlerError
        If a gradient depends on where a rattler lies.
    NotFiniteError
        For a value, a gradient or a jump term that is not finite: named with the component, the
        parameter and the packing's lowest eigenvalue.
    InputError
        For arguments that are something else, swapped ones among them.
    NotAMinimumError, SingularHessianError, BoxTooSmallError, UnknownTypeError, PrecisionError
        As `response` does.
    """
    check(theta=theta, packing=packing, tolerance=tolerance)
    differentiated = features_of("gradients", gradients)
    only = tuple(f for f in features_of("features", features) if f not in differentiated)
    check_features(packing, only, differentiated)
    found = response_for(theta, packing, (*only, *differentiated), tolerance=tolerance)
    values: dict[str, Any] = {}
    slopes: dict[str, Theta] = {}
    terms: dict[str, Theta] = {}
    if only:
        known = values_of(only, theta, found)
        check_values([f.name for f in only], known, theta, found)
        values |= {f.name: value for f, value in zip(only, known, strict=True)}
    if differentiated:
        chosen = [by_type(name) for name in theta.arrays()]
        y, matrix = by_choices(differentiated, theta, found, chosen, jump_terms=jump_terms)
        check_values([f.name for f in differentiated], y, theta, found)
        if not np.isfinite(matrix).all():
            _not_finite(differentiated, y, chosen, matrix, theta, found)
        values |= {f.name: plain(v) for f, v in zip(differentiated, y, strict=True)}
        slopes = _like_theta(theta, differentiated, y, matrix)
        if jump_terms:
            terms = _like_theta(theta, differentiated, y, matrix[len(matrix) // 2 :])
    return Measurement(values, slopes, found, terms)


def _not_finite(
    features: Sequence[Feature],
    values: Sequence[Any],
    chosen: Sequence[Choice],
    matrix: Any,
    theta: Theta,
    found: Response,
) -> None:
    """Raise `NotFiniteError` for derivatives of features, or for jump terms."""
    rows = [name for f, value in zip(features, values, strict=True) for name in row_names(f, value)]
    columns = [label for c in chosen for label in c.labels(theta, found.state)]
    check_slopes(rows, columns, matrix[: len(rows)], theta, found)
    jumps = "the jump term of the gradient of"
    check_slopes(rows, columns, matrix[len(rows) :], theta, found, what=jumps)


def row_values(values: Mapping[str, Any], names: Sequence[str]) -> NDArray[np.float64]:
    """The components of all features in one vector, (n_rows,), in the order of `row_names`."""
    return np.concatenate([np.ravel(np.asarray(values[name], dtype=float)) for name in names])


def row_names(f: Feature, value: Any) -> list[str]:
    """The names of a feature's components."""
    if np.ndim(value) == 0:
        return [f.name]
    return [f"{f.name}[{','.join(map(str, index))}]" for index in np.ndindex(np.shape(value))]


def _like_theta(
    theta: Theta, features: Sequence[Feature], values: Sequence[Any], matrix: Any
) -> dict[str, Theta]:
    """Rows of derivatives by all parameters of types, by feature, as objects like theta."""
    columns = np.split(matrix, np.cumsum([len(v) for v in theta.arrays().values()])[:-1], axis=1)
    out: dict[str, Theta] = {}
    rows = 0
    for f, value in zip(features, values, strict=True):
        part = slice(rows, rows + value.size)
        leaves = [c[part].reshape(*value.shape, -1) for c in columns]
        out[f.name] = jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(theta), leaves)
        rows += value.size
    return out


def value_and_grad(which: "str | Feature") -> Callable[[Theta, Packing], tuple[Any, Theta]]:
    """A function of (theta, packing) that gives a feature's value and its gradient by theta.

    The gradient is an object like theta: its attributes are the derivatives by each parameter of
    types, through the energy minimum, at fixed box. See `measure` for what it means and raises.
    """
    f = feature(which)

    def evaluate(theta: Theta, packing: Packing) -> tuple[Any, Theta]:
        measured = measure(theta, packing, (), [f])
        return measured.values[f.name], measured.gradients[f.name]

    return evaluate
