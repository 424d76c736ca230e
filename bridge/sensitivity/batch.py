"""Many small packings at once: relaxed, measured and differentiated as one array computation.

On a GPU the packings of a batch share each kernel; on a CPU the gain is that nothing is dispatched
packing by packing. What the fast way does not settle (a step that leaves its basin, rattlers in
the way, a saddle) goes the way of single packings, one after another, so that both give the same
answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import ArrayLike, NDArray

from amorph.handover import (
    AmorphError,
    InputError,
    UnknownTypeError,
    check_box,
    check_box_matrix,
)
from amorph.handover.arguments import count, one_or_several, real_numbers, whole_numbers
from amorph.handover.showing import shown, spread_shown

from ..errors import FeatureError
from ..features.registry import Feature, check_features, features_of
from ..matter.arguments import check
from ..matter.mechanics import driving_forces_of
from ..matter.packing import Packing
from ..matter.pairs import capacity
from ..matter.potentials import PairPotential
from ..minima.relaxing import relax
from ..minima.responses import checked_tolerance
from ..minima.rules import along_rigid, on_rattlers, round_off_force
from ..minima.status import Status
from ..minima.traced import Search, number_of_pairs, search
from ..precision import require_float64
from ..programs import make_room
from ..solve.blas import one_blas_thread
from ..solve.dense import Dense
from ..solve.differentiable import Operands, solve, through_response
from .measuring import measure

__all__ = ["BatchMeasurement", "measure_batch"]

# Bytes of the Hessians held at once; temporary arrays take a few times as much.
CHUNK_BYTES = {"cpu": 2**29, "gpu": 2**33}


@dataclass(frozen=True, eq=False)
class BatchMeasurement:
    """Features of the packings of a batch that could be measured, and why others could not.

    Attributes
    ----------
    status:
        (R,): ``ok``, or the name of the error that the packing alone raises.
    messages:
        By replica, what the errors say.
    replicas:
        (n_ok,): the replicas that the other arrays are about, ascending.
    values:
        By feature, (n_ok, ...).
    gradients:
        By feature and parameter of types, (n_ok, ..., n_parameters).
    positions:
        At rest, (n_ok, N, d).
    single:
        How many packings went the way of single ones.
    """

    status: NDArray[np.str_]
    messages: dict[int, str]
    replicas: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    gradients: dict[str, dict[str, NDArray[np.float64]]]
    positions: NDArray[np.float64]
    single: int

    def __repr__(self) -> str:
        failed, numbers = np.unique(self.status[self.status != "ok"], return_counts=True)
        why = ", ".join(f"{n} {name}" for name, n in zip(failed, numbers, strict=True))
        return shown(
            f"BatchMeasurement: {len(self.replicas)} of {len(self.status)} packings measured",
            [
                ("not measured", why),
                *((name, _values_shown(v)) for name, v in self.values.items()),
                ("gradients of", ", ".join(self.gradients)),
                ("the single way", f"{self.single} packings" if self.single else ""),
            ],
        )


def _values_shown(values: NDArray[np.float64]) -> str:
    if len(values) == 0:
        return ""
    if values.ndim > 1:
        return f"{values.shape}, {spread_shown(values)}"
    return f"mean {values.mean():.6g}, {spread_shown(values)}"


def measure_batch(
    theta: "PairPotential | Sequence[PairPotential]",
    positions: ArrayLike,
    typeid: ArrayLike,
    boxes: ArrayLike,
    features: "str | Feature | Sequence[str | Feature]" = (),
    gradients: "str | Feature | Sequence[str | Feature]" = (),
    *,
    tolerance: float | None = None,
    device: "jax.Device | None" = None,
    chunk: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> BatchMeasurement:
    """Relax, measure and differentiate packings of one size, many at a time.

    Parameters
    ----------
    theta:
        A pair potential, or one for each replica, of one kind and number of types.
    positions:
        (R, N, d), near minima: quenched to forces of 1e-4 or less, else single packings' way is
        taken, which is slower.
    typeid:
        (N,) or (R, N).
    boxes:
        (d, d) or (R, d, d).
    features, gradients:
        What to measure, and what to differentiate by all parameters of types, at fixed box; one
        alone stands for itself.
    tolerance:
        The largest |F| that counts as rest; by default `default_tolerance`.
    device:
        JAX's; by default its first.
    chunk:
        How many packings at once; by default as many as 0.5 GiB of Hessians (8 GiB on a GPU).
    progress:
        Called with the number of replicas done, and of all.

    Raises
    ------
    FeatureError
        For a feature that is not there, not defined here, not differentiable, or of modes.
    InputError, BoxTooSmallError, UnknownTypeError, PrecisionError
        Before work starts, for arguments that cannot be. Errors of one replica alone, such as
        positions or results that are not finite, are in its `BatchMeasurement.status`.
    """
    require_float64()
    make_room()
    check(tolerance=tolerance)
    if tolerance is not None:
        checked_tolerance(tolerance)
    x = real_numbers("positions", positions, "(R, N, d) numbers")
    if x.ndim != 3 or x.shape[2] not in (2, 3) or 0 in x.shape:
        raise InputError(f"positions have shape {x.shape}: they must be (R, N, d).")
    r, n, d = x.shape
    types = _spread("typeid", whole_numbers("typeid", typeid, "integers"), (n,), r)
    types = types.astype(np.int32)
    given = real_numbers("boxes", boxes, f"({d}, {d}) or ({r}, {d}, {d}) numbers")
    box = _spread("boxes", given, (d, d), r)
    right = f"one pair potential, or {r} of them"
    one = one_or_several("theta", theta, PairPotential, right)
    if len(one) not in (1, r):
        raise InputError(f"theta holds {len(one)} potentials: give {right}.")
    if len({(t.potential, t.n_types) for t in one}) > 1:
        raise InputError("theta: potentials of one batch are of one kind and number of types.")
    differentiated = features_of("gradients", gradients)
    plain = tuple(f for f in features_of("features", features) if f not in differentiated)
    anywhere = Packing.of(np.zeros((n, d)), types[0], box[0])  # what is wrong with x, rows tell
    check_features(anywhere, plain, differentiated)
    for f in (*plain, *differentiated):
        if f.modes:
            raise FeatureError(f"{f.name}: modes are for single packings: use measure.")
    reach = max((f.reach(t) for f in (*plain, *differentiated) for t in one), default=0.0)
    longest = np.array([max(t.longest_cutoff(), reach) for t in one])
    if int(types.max()) >= one[0].n_types or int(types.min()) < 0:
        raise UnknownTypeError(
            f"typeids reach from {int(types.min())} to {int(types.max())}, but the potential has "
            f"parameters for {one[0].n_types} types."
        )
    alike = given.ndim == 2 or len(given) == 1
    for k in range(1 if alike else r):
        own = longest.max() if alike or len(one) == 1 else longest[k]
        check_box(check_box_matrix(box[k]), float(own))
    if tolerance is None:
        _check_limits(one, box)

    where = device or jax.devices()[0]
    most = max(1, CHUNK_BYTES.get(where.platform, 2**33) // (8 * (n * d) ** 2))
    size = most if chunk is None else count("chunk", chunk)
    stacked = jax.tree_util.tree_map(lambda *v: jnp.stack(v), *one)
    done: list[dict[str, Any]] = []
    for start in range(0, r, size):
        part = slice(start, min(start + size, r))
        # The last chunk is filled up, so that nothing is compiled anew.
        index = np.minimum(np.arange(start, start + min(size, r)), r - 1)
        each = index if len(one) > 1 else np.zeros(len(index), dtype=int)
        arguments = (
            jax.tree_util.tree_map(lambda v, e=each: v[e], stacked),
            x[index], types[index], box[index],
        )  # fmt: skip
        arguments = jax.device_put(arguments, where)
        found = _run(plain, differentiated, reach, tolerance, arguments)
        done.append({k: _cut(v, part.stop - part.start) for k, v in found.items()})
        if progress is not None:
            progress(part.stop, r)
    whole = {k: _joined([one_part[k] for one_part in done]) for k in done[0]}
    return _finished(whole, x, types, box, one, plain, differentiated, tolerance)


def _spread(name: str, values: NDArray[Any], shape: tuple[int, ...], replicas: int) -> NDArray[Any]:
    """One array for all replicas, or that of each, (R, ...); raises `InputError` for others."""
    if values.shape not in (shape, (1, *shape), (replicas, *shape)):
        raise InputError(
            f"{name} has shape {values.shape}: it must be {shape}, or {(replicas, *shape)} for "
            "each replica its own."
        )
    return np.broadcast_to(values, (replicas, *shape))


def _check_limits(thetas: Sequence[PairPotential], box: NDArray[np.float64]) -> None:
    """Raise `InputError` where the largest |F| at rest is beyond what numbers can hold."""
    stiffness = max(t.max_stiffness() for t in thetas)
    if not np.isfinite(round_off_force(stiffness, float(np.linalg.norm(box, axis=1).max()))):
        raise InputError("theta: the stiffest pair's u'' is beyond what numbers can hold.")


def _cut(value: Any, count: int) -> Any:
    return jax.tree_util.tree_map(lambda v: np.asarray(v)[:count], value)


def _joined(parts: Sequence[Any]) -> Any:
    return jax.tree_util.tree_map(lambda *v: np.concatenate(v), *parts)


@one_blas_thread
def _run(
    plain: tuple[Feature, ...],
    differentiated: tuple[Feature, ...],
    reach: float,
    tolerance: float | None,
    arguments: tuple[Any, ...],
) -> dict[str, Any]:
    """The fast way for a chunk, its lists of pairs as long as they must be."""
    most = int(np.max(_counts(*arguments, reach)))
    how = Search(capacity(most), reach, tolerance)
    return dict(jax.block_until_ready(_batch(plain, differentiated, how, *arguments)))


@partial(jax.jit, static_argnums=4)
def _counts(theta: Any, x: Array, typeid: Array, box: Array, reach: float) -> Array:
    def of(one: tuple[Any, Array, Array, Array]) -> Array:
        return number_of_pairs(one[0], one[1], one[2], one[3], reach)

    return lax.map(of, (theta, x, typeid, box))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _batch(
    plain: tuple[Feature, ...], differentiated: tuple[Feature, ...], how: Search, *arguments: Any
) -> dict[str, Any]:
    return jax.vmap(partial(_one, plain, differentiated, how))(*arguments)


def _one(
    plain: tuple[Feature, ...],
    differentiated: tuple[Feature, ...],
    how: Search,
    theta: Any,
    x: Array,
    typeid: Array,
    box: Array,
) -> dict[str, Any]:
    """The minimum, values and gradients of one packing; `ok` tells whether it has them."""
    inverse = Dense()
    found = search(how, inverse, theta, x, box, typeid, None, None)
    state = found.state(typeid, box, None)
    operands = Operands(theta, state, found.rigid, found.lower)
    ok = found.status == Status.OK
    out: dict[str, Any] = {"positions": found.positions}
    out["values"] = {f.name: f.function(theta, state) for f in plain}
    out["gradients"] = {}
    if differentiated:

        def of(theta: Any, positions: Array, nonaffine: Array) -> tuple[Array, list[Array]]:
            there = replace(state, positions=positions, nonaffine=nonaffine)
            values = [f.function(theta, there) for f in differentiated]
            return jnp.concatenate([jnp.ravel(v) for v in values]), values

        y, pull_back, values = jax.vjp(of, theta, found.positions, found.nonaffine, has_aux=True)
        by_theta, by_position, by_response = jax.vmap(pull_back)(jnp.eye(len(y)))
        if not all(f.stationary for f in differentiated):
            more_theta, more_position = jax.vmap(
                partial(through_response, inverse, operands, theta)
            )(by_response)
            by_theta = jax.tree_util.tree_map(jnp.add, by_theta, more_theta)
            by_position = by_position + more_position
        loads = by_position.transpose(1, 2, 0)
        # Single packings say these by name.
        ok &= ~on_rattlers(loads, state.rattlers) & ~along_rigid(loads, found.rigid)
        adjoint = solve(inverse, operands, loads)
        _, force_pull_back = jax.vjp(lambda t: -driving_forces_of(t, state, held=True), theta)
        through = jax.vmap(lambda a: force_pull_back(a)[0])(adjoint.transpose(2, 0, 1))
        total = jax.tree_util.tree_map(lambda a, b: a - b, by_theta, through)
        start = 0
        for f, value in zip(differentiated, values, strict=True):
            rows = slice(start, start + value.size)
            start += value.size
            out["values"][f.name] = value
            out["gradients"][f.name] = {
                k: v[rows].reshape(*value.shape, -1) for k, v in total._values.items()
            }
    out["ok"] = ok
    return out


def _finished(
    whole: dict[str, Any],
    x: NDArray[np.float64],
    types: NDArray[np.int32],
    box: NDArray[np.float64],
    thetas: Sequence[PairPotential],
    plain: Sequence[Feature],
    differentiated: Sequence[Feature],
    tolerance: float | None,
) -> BatchMeasurement:
    """The fast way's answers, and single packings' where it has none."""
    status = np.full(len(x), "ok", dtype="<U32")
    messages: dict[int, str] = {}
    values = {k: np.array(v) for k, v in whole["values"].items()}
    slopes = {f: {k: np.array(v) for k, v in g.items()} for f, g in whole["gradients"].items()}
    ok = np.array(whole["ok"])
    for found in (values, *slopes.values()):
        for array in found.values():
            ok &= np.isfinite(array).reshape(len(ok), -1).all(axis=1)
    left = np.flatnonzero(~ok)
    positions = np.array(whole["positions"])
    for k in left.tolist():
        theta = thetas[k if len(thetas) > 1 else 0]
        try:
            packing = relax(theta, Packing.of(x[k], types[k], box[k]), tolerance=tolerance)
            single = measure(theta, packing, plain, differentiated, tolerance=tolerance)
        except AmorphError as error:
            status[k] = type(error).__name__
            messages[k] = f"replica {k}: {error}"
            continue
        positions[k] = packing.positions
        for name, value in single.values.items():
            values[name][k] = value
        for name, gradient in single.gradients.items():
            for parameter, slope in gradient.arrays().items():
                slopes[name][parameter][k] = slope
    kept = np.flatnonzero(status == "ok")
    return BatchMeasurement(
        status,
        messages,
        kept,
        {k: v[kept] for k, v in values.items()},
        {f: {k: v[kept] for k, v in g.items()} for f, g in slopes.items()},
        positions[kept],
        len(left),
    )
