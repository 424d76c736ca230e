"""The Jacobian of any features with respect to any parameters, and the second order beyond it."""

from collections.abc import ItemsView, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from amorph.handover import InputError
from amorph.handover.arguments import check_choice, check_kind, described, real_numbers
from amorph.handover.showing import numbers_shown, shown, spread_shown

from ..errors import FeatureError, NotAMinimumError
from ..features.finiteness import check_finite, check_slopes, check_values
from ..features.registry import Feature, check_features, feature, features_of, response_for
from ..matter.arguments import check
from ..matter.mechanics import Resolved, State, driving_forces_of, resolved
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..matter.strains import strain_basis
from ..minima.responses import Response
from ..solve.differentiable import left_over
from .derivatives import by_choices, coupling, degenerate_groups, partials
from .measuring import row_names
from .parameters import Choice, check_pairs, choices, of_strain

__all__ = ["Jacobian", "SecondOrder", "frequency_slopes", "jacobian", "second_order"]

HELD = ("box", "pressure", "stress")


@dataclass(frozen=True, eq=False)
class Jacobian:
    """The first derivatives of features by parameters, through the minimum.

    Attributes
    ----------
    features, choices:
        What was differentiated, and with respect to what, in order.
    values:
        By feature: a float or an array.
    matrix:
        (n_rows, n_columns): a row for each component of each feature, a column for each parameter.
    rows, columns:
        What they are, in words.
    held:
        What was held fixed: the box, the pressure, or the stress.
    response:
        The factorisation that was used.
    jump_terms:
        (n_rows, n_columns), where they were asked for: to be added to the matrix before it is
        averaged over packings; see `measure`.
    """

    features: tuple[str, ...]
    choices: tuple[str, ...]
    values: dict[str, Any]
    matrix: NDArray[np.float64]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    held: str
    response: Response
    row_slices: dict[str, slice]
    column_slices: dict[str, slice]
    jump_terms: NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        n_rows, n_columns = self.matrix.shape
        return shown(
            f"Jacobian: {n_rows} components of features by {n_columns} parameters",
            [
                *((name, numbers_shown(value)) for name, value in self.values.items()),
                ("with respect to", ", ".join(self.choices)),
                ("held", f"the {self.held}"),
                ("derivatives", spread_shown(self.matrix)),
            ],
        )

    def block(self, which: str, parameter: str) -> NDArray[np.float64]:
        """The derivatives of one feature by one choice: the feature's shape, then the parameter's.

        Raises `InputError` for a feature or choice that is not there.
        """
        for name, known in ((which, self.row_slices), (parameter, self.column_slices)):
            if name not in known:
                raise InputError(f"there is no {name!r} here: there are {', '.join(known)}.")
        found = self.matrix[self.row_slices[which], self.column_slices[parameter]]
        return found.reshape(*np.shape(self.values[which]), found.shape[1])

    def svd(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """U, s, Wᵀ with matrix = U s Wᵀ: compatible feature changes, susceptibilities, directions.

        Source: Zu, Desai and Goodrich, "Fully independent response in disordered solids", eq. 3.
        """
        u, s, wt = np.linalg.svd(self.matrix, full_matrices=False)
        return u, s, wt

    def rank(self, tolerance: float = 1e-10) -> int:
        """The number of singular values above a part of the largest."""
        s = np.linalg.svd(self.matrix, compute_uv=False)
        return int(np.sum(s > tolerance * s[0])) if len(s) and s[0] > 0 else 0


def jacobian(
    theta: Theta,
    packing: Packing,
    features: "str | Feature | Sequence[str | Feature]",
    with_respect_to: "str | Choice | Sequence[str | Choice] | None" = None,
    *,
    held: str = "box",
    degenerate: str = "raise",
    tolerance: float | None = None,
    solver: str = "auto",
    jump_terms: bool = False,
) -> Jacobian:
    """The Jacobian of features with respect to parameters, from one factorisation.

    Parameters
    ----------
    theta, packing:
        A packing as `relax` returns it, and its interactions.
    features:
        Names or features; arrays have a row for each component.
    with_respect_to:
        Names such as ``diameters`` (of types), ``diameters/particle``, ``stiffness/bond``,
        ``strain`` and ``box``, or choices made by `by_type`, `by_group`, `by_particle`, `by_bond`,
        `of_strain`, `of_box`; by default all parameters of types and springs.
    held:
        What stays fixed while parameters change: the ``box``; the ``pressure``, the box keeping
        its shape (as a packing prepared at fixed pressure does); or the whole ``stress`` tensor,
        the box straining without turning.
    degenerate:
        What to do where frequencies of degenerate modes have no derivative: ``raise`` an error, or
        give each the ``mean`` over its group, which has one.
    tolerance, solver:
        As in `response`.
    jump_terms:
        Give the jump terms too, at fixed box.

    Raises
    ------
    InputError
        For a parameter or something held that is not there, and jump terms at anything but a fixed
        box.
    FeatureError
        For a feature that is not there, not defined here, or not differentiable.
    DegenerateModesError
        For frequencies of degenerate modes whose derivatives are not defined.
    RattlerError
        If a derivative depends on where a rattler lies.
    NotAMinimumError, SingularHessianError, BoxTooSmallError, UnknownTypeError, PrecisionError
        As `response` does; `NotAMinimumError` also at fixed pressure or stress, where the packing
        would not keep its shape.
    NotFiniteError
        For a value or a derivative that is not finite, as in `measure`.
    """
    check(theta=theta, packing=packing, tolerance=tolerance)
    check_choice("held", held, HELD)
    if held != "box":
        _ = packing.volume
    check_choice("degenerate", degenerate, ("raise", "mean"))
    if jump_terms and held != "box":
        raise InputError(f"jump_terms: are known at a fixed box, not where the {held} is held.")
    chosen = choices(with_respect_to, theta)
    for choice in chosen:
        choice.check(theta, packing)
        if choice.needs_strain and held != "box":
            raise InputError(f"{choice.name} cannot change while the {held} is held by the box.")
    wanted = list(features_of("features", features))
    _check_names("features", [f.name for f in wanted])
    _check_names("with_respect_to", [c.name for c in chosen])
    check_features(packing, (), wanted)
    extra = {"box": [], "pressure": ["pressure"], "stress": ["stress"]}[held]
    followed = [feature(name) for name in extra]
    found = response_for(theta, packing, [*wanted, *followed], tolerance=tolerance, solver=solver)
    strain = [of_strain()] if held != "box" else []
    values, matrix = by_choices(
        [*wanted, *followed],
        theta,
        found,
        [*chosen, *strain],
        degenerate=degenerate,
        jump_terms=jump_terms,
    )
    matrix, terms = np.split(matrix, 2) if jump_terms else (matrix, None)
    check_values([f.name for f in (*wanted, *followed)], values, theta, found)
    n_rows = sum(v.size for v in values[: len(wanted)])
    if held != "box":
        split = matrix.shape[1] - len(strain_basis(packing.dimension))
        matrix = _relaxed_box(matrix[:, :split], matrix[:, split:], n_rows, held, packing.dimension)

    rows: list[str] = []
    row_slices: dict[str, slice] = {}
    for f, value in zip(wanted, values, strict=False):
        row_slices[f.name] = slice(len(rows), len(rows) + value.size)
        rows += row_names(f, value)
    columns: list[str] = []
    column_slices: dict[str, slice] = {}
    for choice in chosen:
        labels = choice.labels(theta, found.state)
        column_slices[choice.name] = slice(len(columns), len(columns) + len(labels))
        columns += labels
    check_slopes(rows, columns, matrix, theta, found)
    plain = {f.name: float(v) if v.ndim == 0 else v for f, v in zip(wanted, values, strict=False)}
    return Jacobian(
        tuple(f.name for f in wanted),
        tuple(c.name for c in chosen),
        plain,
        matrix,
        tuple(rows),
        tuple(columns),
        held,
        found,
        row_slices,
        column_slices,
        terms,
    )


def _check_names(what: str, names: Sequence[str]) -> None:
    """Raise `InputError` for names that are none, or stand there twice."""
    if not names:
        raise InputError(f"{what}: name at least one.")
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError(
            f"{what}: {', '.join(twice)} stands there twice: leave one out, or give by_group a "
            "name."
        )


def _relaxed_box(
    matrix: NDArray[np.float64], strain: NDArray[np.float64], n_rows: int, held: str, d: int
) -> NDArray[np.float64]:
    """The rows' derivatives with the box strained so that what stands in the last rows stays."""
    if held == "pressure":
        by_box = strain[:, :d].sum(axis=1, keepdims=True)  # along the dilation
        kept, kept_by_box = matrix[n_rows:], by_box[n_rows:]
    else:
        basis = strain_basis(d)
        by_box = strain
        # The stress's components conjugate to the strains.
        kept, kept_by_box = (
            np.einsum("aij,ijc->ac", basis, rows[n_rows:].reshape(d, d, -1))
            for rows in (matrix, by_box)
        )
    sign = -1.0 if held == "pressure" else 1.0
    # A solid resists: its pressure falls as it grows, its stress follows its strain.
    stable = np.linalg.eigvalsh(0.5 * sign * (kept_by_box + kept_by_box.T)) > 0
    if not stable.all():
        raise NotAMinimumError(
            f"at fixed {held} the packing is not stable: its box would not keep its size or shape. "
            "Differentiate at fixed box."
        )
    answer = np.linalg.solve(kept_by_box, kept)
    return matrix[:n_rows] - by_box[:n_rows] @ answer


def _bent(start: Any, path: tuple[Any, Any], gamma: Array) -> Any:
    """start + γ first + (γ²/2) second; None where there is nothing, zeros for what is not known."""
    if start is None:
        return None
    first, second = path
    out = start + gamma * first
    return out if second is None else out + 0.5 * gamma**2 * second


def _twice(at: Any) -> tuple[Any, Any]:
    """First and second derivatives of a function of γ at γ = 0."""
    zero, one = jnp.zeros(()), jnp.ones(())
    return jax.jvp(lambda g: jax.jvp(at, (g,), (one,))[1], (zero,), (one,))


@partial(jax.jit, static_argnums=0)
def _second(
    features: tuple[Feature, ...], state: State, own: Resolved, change: Resolved, x: Any, w: Any
) -> tuple[list[Array], list[Array]]:
    """First and second derivatives of features along R + γ R₁ + γ² R₂/2 and the same of W."""

    def at(gamma: Array) -> list[Array]:
        along = jax.tree_util.tree_map(lambda p, c: p + gamma * c, own, change)
        there = replace(
            state,
            positions=_bent(state.positions, x, gamma),
            nonaffine=_bent(state.nonaffine, w, gamma),
        )
        return [f.function(along, there) for f in features]

    return _twice(at)


@jax.jit
def _force_changes(
    state: State, own: Resolved, change: Resolved, first: Any
) -> tuple[Array, Array]:
    """First and second derivatives of the forces along R + γ R₁ (R₁ = 0 for the first to count)."""

    def at(gamma: Array) -> Array:
        along = jax.tree_util.tree_map(lambda p, c: p + gamma * c, own, change)
        there = replace(state, positions=_bent(state.positions, (first, None), gamma))
        return driving_forces_of(along, there, held=True)

    return _twice(at)


@jax.jit
def _response_changes(
    state: State, own: Resolved, change: Resolved, x: Any, w: Any
) -> tuple[Array, Array]:
    """First and second derivatives of Ξ - H W along R + γ R₁ + γ² R₂/2 and W + γ W₁.

    At W₁ = 0 the first is H W₁, at W₁ the second is H W₂.
    """

    def at(gamma: Array) -> Array:
        along = jax.tree_util.tree_map(lambda p, c: p + gamma * c, own, change)
        there = replace(state, positions=_bent(state.positions, x, gamma))
        now = _bent(state.nonaffine, (w, None), gamma)
        return left_over(along, replace(there, nonaffine=now))

    return _twice(at)


@dataclass(frozen=True, eq=False)
class SecondOrder:
    """A feature along a direction γ of parameters: values + γ slopes + (γ²/2) curvatures.

    Attributes: values, slopes, curvatures, by feature; displacement (N, d), the particles' change
    by γ.
    """

    values: dict[str, Any]
    slopes: dict[str, Any]
    curvatures: dict[str, Any]
    displacement: NDArray[np.float64]

    def __repr__(self) -> str:
        lines = []
        for name, value in self.values.items():
            slope, curvature = self.slopes[name], self.curvatures[name]
            lines.append((name, numbers_shown(value)))
            lines.append(
                ("  slope, curvature", f"{numbers_shown(slope)}, {numbers_shown(curvature)}")
            )
        return shown("SecondOrder along a direction γ", lines)


def second_order(
    theta: Theta,
    packing: Packing,
    features: "str | Feature | Sequence[str | Feature]",
    direction: "Mapping[str, ArrayLike] | Sequence[tuple[str | Choice, ArrayLike]]",
    *,
    tolerance: float | None = None,
    solver: str = "auto",
) -> SecondOrder:
    """Features' first and second derivatives along a direction in parameter space, at fixed box.

    The packing follows to second order, R + γ R₁ + (γ²/2) R₂, with H R₁ and H R₂ the derivatives of
    the forces along the way; where pairs cross a distance at which u'' jumps the expansion ends.

    Parameters
    ----------
    theta, packing, features, tolerance, solver:
        As in `jacobian`.
    direction:
        By choice (names as in `jacobian`, or pairs of a choice and its components): how parameters
        change with γ.

    Source: the γ² term of Zu, Desai and Goodrich, "Fully independent response in disordered
    solids", Fig. 3, whose supplement is not to hand: derived here. Raises as `jacobian` does, and
    `FeatureError` for features of vibrational modes.
    """
    check(theta=theta, packing=packing, tolerance=tolerance)
    wanted = list(features_of("features", features))
    check_features(packing, (), wanted)
    for f in wanted:
        if f.modes:
            raise FeatureError(f"{f.name}: the second order of vibrational modes is not available.")
    pairs = _pairs(direction)
    chosen = [choices(name, theta)[0] for name, _ in pairs]
    for choice in chosen:
        choice.check(theta, packing)
    found = response_for(theta, packing, wanted, tolerance=tolerance, solver=solver)
    _, by_own, *_ = partials(wanted, theta, found)  # raises for what is not determined
    read = {} if by_own.near is None else by_own.near.types.arrays()
    state = found.state
    own = resolved(theta, state)
    change = jax.tree_util.tree_map(jnp.zeros_like, own)
    for choice, (_, values) in zip(chosen, pairs, strict=True):
        if not choice.of_types:
            check_pairs(choice.name, read)
        for name, spread in choice.spread(values, theta, state).items():
            change = _added(change, name, spread)

    zero = np.zeros_like(state.positions)
    pushed, _ = _force_changes(state, own, change, zero)
    first = found.solve(np.asarray(pushed)[:, :, None])[:, :, 0]
    _, pushed = _force_changes(state, own, change, first)
    second = found.solve(np.asarray(pushed)[:, :, None])[:, :, 0]
    path = (first, second)
    response_path: Any = (None, None)
    if state.nonaffine is not None:
        still = np.zeros_like(state.nonaffine)
        pushed, _ = _response_changes(state, own, change, path, still)
        bent = found.solve(np.asarray(pushed))
        response_path = (bent, None)
        if not all(f.stationary for f in wanted):  # else W₂ plays no part
            _, pushed = _response_changes(state, own, change, path, bent)
            response_path = (bent, found.solve(np.asarray(pushed)))
    slopes, curvatures = _second(tuple(wanted), state, own, change, path, response_path)
    now = [np.asarray(f.function(own, state)) for f in wanted]
    check_values([f.name for f in wanted], now, theta, found)
    for order, arrays in (("first", slopes), ("second", curvatures)):
        for f, value in zip(wanted, arrays, strict=True):
            along = f"the {order} derivative of {f.name!r} along the direction"
            check_finite(along, value, theta, found)

    def plain(arrays: Sequence[Any]) -> dict[str, Any]:
        return {
            f.name: float(v) if np.ndim(v) == 0 else np.asarray(v)
            for f, v in zip(wanted, arrays, strict=True)
        }

    return SecondOrder(plain(now), plain(slopes), plain(curvatures), first)


def _pairs(
    direction: "Mapping[str, ArrayLike] | Sequence[tuple[str | Choice, ArrayLike]]",
) -> "list[tuple[str | Choice, NDArray[np.float64]]]":
    """A direction's choices with their components; raises `InputError` for anything else."""
    right = "changes by parameter, as {'diameters': [1.0, 0.0]}"
    items = direction.items() if isinstance(direction, Mapping) else direction
    check_kind("direction", items, (list, tuple, ItemsView), right)
    if not items or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in items):
        raise InputError(f"direction is {described(direction)}: it must be {right}.")
    return [(name, real_numbers(f"direction[{name!r}]", change)) for name, change in items]


def _added(change: Resolved, name: str, values: NDArray[np.float64]) -> Resolved:
    if name.startswith("springs."):
        key = name.removeprefix("springs.")
        assert change.springs is not None
        leaves = {**change.springs._values}
        leaves[key] = leaves[key] + values
        made = jax.tree_util.tree_unflatten(
            jax.tree_util.tree_structure(change.springs), list(leaves.values())
        )
        return replace(change, springs=made)
    assert change.near is not None
    if name.startswith("types."):
        leaf = name.removeprefix("types.")
        own = change.near.types._values
        types = jax.tree_util.tree_unflatten(
            jax.tree_util.tree_structure(change.near.types),
            [v + values if k == leaf else v for k, v in own.items()],
        )
        return replace(change, near=replace(change.near, types=types))
    parameters = {**change.near.parameters}
    parameters[name] = parameters[name] + values
    return replace(change, near=replace(change.near, parameters=parameters))


def frequency_slopes(
    theta: Theta,
    packing: Packing,
    n_modes: int,
    direction: "Mapping[str, ArrayLike]",
    *,
    solver: str = "auto",
) -> NDArray[np.float64]:
    """dω/dγ of the lowest frequencies along a direction, degenerate ones included, (n_modes,).

    A degenerate group splits along a direction into branches, whose slopes are the eigenvalues of
    the derivative of H within the group: ascending within each group, for γ > 0.

    Parameters
    ----------
    theta, packing, solver:
        As in `jacobian`.
    n_modes:
        How many of the lowest frequencies that are not zero.
    direction:
        By choice, named as in `jacobian`: how parameters change with γ. A choice that does not move
        any parameter of the interactions (strain, box) serves too.

    Raises as `jacobian` does, and `InputError` for a direction that does not fit.
    """
    check(theta=theta, packing=packing, n_modes=n_modes)
    pairs = _pairs(direction)
    wanted = feature(f"frequencies_{n_modes}")
    chosen = [choices(name, theta)[0] for name, _ in pairs]
    for choice in chosen:
        choice.check(theta, packing)
    found = response_for(theta, packing, [wanted], solver=solver)
    have = found.state.modes.shape[2]
    _, matrix = by_choices([coupling(0, have)], theta, found, chosen)
    change = np.concatenate([np.ravel(values) for _, values in pairs])
    if len(change) != matrix.shape[1]:
        raise InputError(f"a direction has {matrix.shape[1]} components here, not {len(change)}.")
    bent = (matrix @ change).reshape(have, have)
    squared = np.diagonal(np.asarray(coupling(0, have).function(theta, found.state)))
    slopes = np.diagonal(bent).copy()
    for group in degenerate_groups(theta, found.state):
        within = bent[group.start : group.stop, group.start : group.stop]
        slopes[group.start : group.stop] = np.linalg.eigvalsh(0.5 * (within + within.T))
    out: NDArray[np.float64] = (slopes / (2 * np.sqrt(squared)))[:n_modes]
    check_finite("the slope of the lowest frequencies", out, theta, found)
    return out
