"""Goals and limits of pruning: values of many responses, and their distance, at once."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from amorph.handover import InputError
from amorph.handover.arguments import check_kind, described, positive, whole_numbers

from ..errors import FeatureError
from ..features.expressions import combined, is_expression, parsed
from ..features.kinds import Feature
from ..features.moduli import strain_index
from ..features.registry import feature
from ..matter.packing import Packing
from .building import check_bonded
from .loads import Load, between_plates, edge_nodes, periodic_load

__all__ = ["ISOTROPIC", "Evaluator", "Loading", "check_names", "periodic", "plates"]

ISOTROPIC: Mapping[str, tuple[float, float]] = {
    "poisson_ratios[0] - poisson_ratios[1]": (-0.1, 0.1),
    "shear_moduli[0] / shear_moduli[1]": (1 / 1.5, 1.5),
}
"""Limits by which a network in the plane counts as isotropic (P2 shows ν_x beside ν_y)."""

# The elastic tensor counts as positive definite where its eigenvalues are above this part of its
# largest diagonal element.
LEAST_EIGENVALUE = 1e-9


Form = tuple[str, int, int, int]  # of a loading: its kind, dimension, strains, functionals
Responses = Any  # Y of each load, the part of the strains over the volume: a list of arrays


@dataclass(frozen=True, eq=False)
class Loading:
    """The loads under which a network is looked at, each with a response Y of its own.

    Attributes: loads; kind, ``periodic`` or ``plates``, which says what can be measured there;
    packing, of which they are; pairs of nodes that are looked at, (n_pairs, 2).
    """

    loads: tuple[Load, ...]
    kind: str
    packing: Packing
    pairs: NDArray[np.int64]

    def check_is_of(self, packing: Packing) -> None:
        """Raise `InputError` for another network than the loads were made of."""
        mine = self.packing
        same = all(
            np.array_equal(np.asarray(getattr(mine, name)), np.asarray(getattr(packing, name)))
            for name in ("positions", "bonds")
        )
        if not same:
            raise InputError("loading is that of another network: make it of this packing.")

    @property
    def form(self) -> Form:
        """The kind and sizes that functions of the responses depend on, whatever the network."""
        load = self.loads[0]
        return (self.kind, load.held.shape[1], load.n_strains, len(load.functionals))


def periodic(packing: Packing, pairs: Any = None) -> Loading:
    """All strains of a periodic network: features of its elastic tensor, and strains of pairs.

    Parameters
    ----------
    packing:
        The network.
    pairs:
        Pairs of nodes (n_pairs, 2) whose distances are looked at. ``pair_strains[g, s]`` is then
        how much pair g is stretched where pair s is pulled apart by forces on its nodes, in units
        of that one's strain; ``strained_pairs[g, a]`` how much it is stretched by the strain a of
        the box, in the order of the elastic constants. An open network has the first alone.

    Raises `InputError` for pairs that are none.
    """
    check_bonded(packing)
    ends = None if pairs is None else whole_numbers("pairs", pairs, "integers (n_pairs, 2)")
    none = np.zeros((0, 2), dtype=np.int64)
    looked = none if ends is None else np.asarray(ends, dtype=np.int64)
    return Loading((periodic_load(packing, ends),), "periodic", packing, looked)


def plates(packing: Packing, edges: dict[str, NDArray[np.int64]] | None = None) -> Loading:
    """Uniaxial loads of an open network in the plane between plates without friction.

    ``poisson_ratios`` are ν_x under a load along x and ν_y under one along y, ``poisson_ratio`` is
    their mean (P2), ``youngs_moduli`` the stresses over the strains.

    Parameters
    ----------
    packing:
        The network.
    edges:
        Its nodes at the left, right, bottom and top; by default as `edge_nodes` finds them.

    Raises `FeatureError` as `edge_nodes` does.
    """
    found = edge_nodes(packing) if edges is None else edges
    # Without plates, and without a load: what is not rigid by itself is no solid.
    free = periodic_load(packing)
    loads = (*(between_plates(packing, axis, found) for axis in (0, 1)), free)
    return Loading(loads, "plates", packing, np.zeros((0, 2), dtype=np.int64))


def _ratios_between_plates(ys: Responses) -> Array:
    return jnp.stack([y[0, 1] for y in ys[:2]])


_BETWEEN_PLATES: Mapping[str, tuple[Callable[[Responses], Array], bool]] = {
    "poisson_ratio": (lambda ys: jnp.mean(_ratios_between_plates(ys)), True),
    "poisson_ratios": (_ratios_between_plates, False),
    "youngs_moduli": (lambda ys: jnp.stack([y[0, 0] for y in ys[:2]]), False),
}
_OF_TENSOR = ("bulk_modulus", "shear_modulus", "poisson_ratio", "elastic_constants[0]", "...")


def _named(form: Form, word: str) -> Feature:
    """A feature whose `of_tensor` takes the responses; raises `FeatureError` where there is none.

    Its `function` is that of the registered feature, by which it is known again.
    """
    kind, d, n, pairs = form
    known: dict[str, tuple[Callable[[Responses], Array], bool]] = {}
    if kind == "plates":
        known = dict(_BETWEEN_PLATES)
    elif pairs:
        known["pair_strains"] = (
            lambda ys: ys[0][n:, n:] / jnp.diagonal(ys[0][n:, n:])[None, :],
            False,
        )
        if n:
            known["strained_pairs"] = (lambda ys: -ys[0][n:, :n], False)
    if word in known:
        of_responses, scalar = known[word]
        return Feature(word, _no_packing, scalar=scalar, of_tensor=of_responses)
    with suppress(FeatureError):
        found = feature(word) if kind == "periodic" and n and not is_expression(word) else None
        if found is not None and found.of_tensor is not None:
            of_tensor, index = found.of_tensor, strain_index(d)
            where = (index[:, :, None, None], index[None, None])
            return Feature(
                word,
                found.of_tensor,
                scalar=found.scalar,
                of_tensor=lambda ys: of_tensor(ys[0][where]),
            )
    there = [*known, *(_OF_TENSOR if kind == "periodic" and n else ())]
    if not there:
        raise FeatureError(
            f"{word!r} cannot be had of a network with open edges: look at pairs of its nodes "
            "(networks.periodic(packing, pairs)), or press it between networks.plates."
        )
    raise FeatureError(
        f"{word!r} cannot be had of a network's responses here. There are: {', '.join(there)}, and "
        "arithmetic of these."
    )


def _wanted(form: Form, name: str) -> tuple[tuple[Any, ...], Callable[[Responses], Array]]:
    """A name's function of the responses, and what it is made of; raises `FeatureError`."""
    check_kind("a goal", name, str, "a feature's name, as 'poisson_ratio'")
    if is_expression(name):
        tree = parsed(name, lambda word: _named(form, word))
        found, parts = combined(name, tree), tree.features
    else:
        found = _named(form, name)
        parts = (found,)
        if not found.scalar:
            raise FeatureError(f"{name!r} is not one number: name a component, {name}[0].")
    assert found.of_tensor is not None
    return tuple(f.function for f in parts), found.of_tensor


def check_names(kind: str, dimension: int, names: Sequence[str], *, pairs: int, box: bool) -> None:
    """Raise `FeatureError` for names that networks under a kind of load do not have.

    Of `dimension`, with so many `pairs` of nodes, in a box or with open edges.
    """
    strains = 1 if kind == "plates" else (dimension * (dimension + 1) // 2 if box else 0)
    form = (kind, dimension, strains, pairs)
    size = strains + (1 if kind == "plates" else pairs)
    for name in names:
        # With numbers of no meaning: components that there are not are named.
        _wanted(form, name)[1]([jnp.eye(size)] * (2 if kind == "plates" else 1))


def _no_packing(theta: Any, state: Any) -> Array:
    raise FeatureError("this is measured of a network's responses, not of a packing.")


@dataclass(frozen=True, eq=False)
class _Compiled:
    """Values of names, for loads of a form; compiled once for all networks of that form.

    They are NaN where the elastic tensor is not positive definite.
    """

    parts: tuple[Any, ...]
    evaluated: Callable[[Any], Any]
    sloped: Callable[[Any], Any]


_COMPILED: dict[tuple[Form, int, tuple[str, ...]], _Compiled] = {}


def _compiled(loading: Loading, names: tuple[str, ...]) -> _Compiled:
    form, key = loading.form, (loading.form, len(loading.loads), names)
    wanted = [_wanted(form, name) for name in names]
    parts = tuple(part for own, _ in wanted for part in own)
    known = _COMPILED.get(key)
    if known is not None and known.parts == parts:  # a feature may have been defined anew
        return known
    functions = [f for _, f in wanted]
    n = form[2]

    def one(packed: tuple[Any, ...]) -> Array:
        ys = [_unpacked(p) for p in packed]
        firm = jnp.array(True)
        for y in ys:
            firm &= _positive_definite(y[:n, :n])
        return jnp.where(firm, jnp.stack([f(ys) for f in functions]), jnp.nan)

    made = _Compiled(parts, jax.jit(jax.vmap(one)), jax.jit(jax.jacrev(one)))
    _COMPILED[key] = made
    return made


class Evaluator:
    """Goals and limits of a network's responses, for many networks at once.

    Parameters
    ----------
    loading:
        What can be measured.
    goals:
        A target for each name; together they are a distance, (Σ (value - target)²)^½ with each
        value in units of its entry in `units`, by default 1.
    limits:
        The lowest and the highest value for each name.

    Raises `FeatureError` for names that cannot be had, `InputError` for targets and limits that
    are no numbers.
    """

    def __init__(
        self,
        loading: Loading,
        goals: Mapping[str, float],
        limits: Mapping[str, tuple[float, float]],
        units: Mapping[str, float] | None = None,
    ) -> None:
        check_kind("goals", goals, Mapping, "targets by name, as {'poisson_ratio': -0.9}")
        check_kind("limits", limits, Mapping, "(lowest, highest) by name")
        if not goals:
            raise InputError("goals: there are none: give a target, as {'poisson_ratio': -0.9}.")
        self.names = tuple(goals)
        self.limited = tuple(limits)
        self._compiled = _compiled(loading, (*goals, *limits))
        self.target = _numbers("goals", list(goals.values()))
        bounds = _numbers("limits", [list(v) for v in limits.values()], infinite=True)
        self._low, self._high = bounds.reshape(-1, 2).T
        width = self._high - self._low
        self._width = np.where(np.isfinite(width), width, 1.0)
        given = {} if units is None else units
        check_kind("units", given, Mapping, "numbers by the goals' names")
        for name in given:
            if name not in goals:
                raise InputError(f"units: {name!r} is no goal.")
        unit = {name: positive(f"units[{name!r}]", value) for name, value in given.items()}
        self._unit = np.array([unit.get(name, 1.0) for name in goals])
        self._scale = []
        for load in loading.loads:
            a, b = np.triu_indices(load.n_strains + len(load.functionals))
            own = (a < load.n_strains) & (b < load.n_strains)
            self._scale.append(np.where(own, 1.0 / load.volume, 1.0))

    def __call__(
        self, packed: Sequence[NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Values (n, n_goals), how far limits are exceeded (n,), and distances (n,).

        Of the packed responses (n, size) under each load. A network whose elastic tensor is not
        positive definite exceeds all limits.
        """
        n = len(packed[0])
        width = 1 << max(int(n - 1).bit_length(), 4)  # few shapes, each compiled once
        wide = []
        for p, scale in zip(packed, self._scale, strict=True):
            wide.append(np.empty((width, p.shape[1])))
            np.multiply(p, scale, out=wide[-1][:n])
            wide[-1][n:] = wide[-1][0]
        values = np.asarray(self._compiled.evaluated(tuple(wide)))[:n]
        k = len(self.names)
        exceeded = np.where(np.isfinite(values).all(axis=1), 0.0, np.inf)
        if self.limited:
            beyond = np.maximum(self._low - values[:, k:], values[:, k:] - self._high)
            over = np.maximum(beyond / self._width, 0.0).max(axis=1)
            exceeded = np.where(exceeded == 0, over, np.inf)
        return values[:, :k], exceeded, self.distance(values[:, :k])

    def residuals(
        self, packed: Sequence[NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
        """The distances left to goals and of limits that are exceeded, (n,), of one network's Y.

        With its derivatives by each packed response, (n, size).
        """
        scaled = tuple(p * scale for p, scale in zip(packed, self._scale, strict=True))
        values = np.asarray(self._compiled.evaluated(tuple(p[None] for p in scaled))[0])
        found = self._compiled.sloped(scaled)
        slopes = [np.asarray(x) * scale for x, scale in zip(found, self._scale, strict=True)]
        k = len(self.names)
        over = np.maximum(values[k:] - self._high, 0.0) - np.maximum(self._low - values[k:], 0.0)
        left = np.concatenate([(values[:k] - self.target) / self._unit, over])
        scale = np.concatenate([1.0 / self._unit, np.ones(len(over))])
        rows = np.concatenate([np.arange(k), k + np.flatnonzero(over)])
        return left[rows], [(scale[:, None] * s)[rows] for s in slopes]

    def distance(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far values (..., n_goals) are from their targets."""
        off = (values - self.target) / self._unit
        return np.abs(off[..., 0]) if off.shape[-1] == 1 else np.linalg.norm(off, axis=-1)


def _numbers(name: str, given: Any, *, infinite: bool = False) -> NDArray[np.float64]:
    try:
        out = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} hold {described(given)}: they must be numbers.") from None
    if np.isnan(out).any() or not (infinite or np.isfinite(out).all()):
        raise InputError(f"{name} are {out.tolist()}: they must be numbers.")
    return out


def _unpacked(packed: Any) -> Array:
    """The symmetric matrix of an upper triangle, by rows."""
    n = int((2 * packed.shape[0]) ** 0.5)
    a, b = np.triu_indices(n)
    index = np.zeros((n, n), dtype=np.int64)
    index[a, b] = index[b, a] = np.arange(len(a))
    return packed[index]


def _positive_definite(matrix: Array) -> Array:
    """Whether the lowest eigenvalue is above `LEAST_EIGENVALUE` of the largest diagonal element.

    By the pivots of the matrix less that number: thousands of small matrices take no library. A
    pivot itself may lie far above the lowest eigenvalue.
    """
    n = matrix.shape[0]
    firm = jnp.array(True)
    if n:
        matrix = matrix - LEAST_EIGENVALUE * jnp.max(jnp.diagonal(matrix)) * jnp.eye(n)
    for k in range(n):
        pivot = matrix[k, k]
        firm &= pivot > 0
        below = matrix[k + 1 :, k]
        rest = matrix[k + 1 :, k + 1 :] - jnp.outer(below, below) / pivot
        matrix = matrix.at[k + 1 :, k + 1 :].set(rest)
    return firm
