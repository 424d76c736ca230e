"""Properties of a pair potential that its formula tells: its stiffness, whether it attracts, where
u'' jumps.

They stand in for what a potential does not state itself, and are as honest as a search on a grid
can be: a well narrower than a cell, or two breaks within one, are not seen. Whoever knows better
states it.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

__all__ = ["MOST_FOUND", "attracts_and_stiffness", "break_slopes", "evaluated", "find_breaks"]

Pair = Mapping[str, Any]
Floats = NDArray[np.float64]

# Distances below the cutoff at which u' and u'' are looked at.
POINTS = 1000
# They are even up to this many σ; beyond, so many more are even in the logarithm.
FAR, TAIL = 10.0, 64
# An attraction weaker than this part of the strongest r u' from half of the cutoff on is round-off.
LEAST_PULL = 1e-9
# How far inside of its first minimum, or of sigma, a potential is compressed.
INSIDE = 0.95
# A core that is at most so many times as stiff at half of that distance is soft: it counts whole.
SOFT = 100.0

MOST_FOUND = 4
"""How many distances at which u'' jumps are looked for beside the cutoff."""
CELLS = 2048
INNERMOST = 0.2  # of sigma: breaks below are not looked for
# Jumps of u'' below this part of |u''| there, and this part of the largest, are none.
LEAST_JUMP, LEAST_OF_LARGEST = 1e-6, 1e-8
BISECTIONS = 60
# Parts of a distance: within which a break is looked for again at other parameters, and by which
# part of themselves these are changed.
NEAR, CHANGE = 1e-5, 1e-7

CHUNK = 1 << 12


def slopes(kind: Any, r: Array, pair: Pair, order: int) -> tuple[Array, ...]:
    """u and its derivatives up to an order at distances r, by parameters that broadcast to them."""
    parameters = {k: jnp.broadcast_to(v, r.shape) for k, v in pair.items()}

    def energy(x: Array) -> tuple[Array, ...]:
        return (kind.pair_energy(x, parameters),)

    def with_derivative(of: Any) -> Any:
        def more(x: Array) -> tuple[Array, ...]:
            known, change = jax.jvp(of, (x,), (jnp.ones_like(x),))
            return (*known, change[-1])

        return more

    function = energy
    for _ in range(order):
        function = with_derivative(function)
    return function(r)


_compiled = jax.jit(slopes, static_argnums=(0, 3))


def evaluated(kind: Any, r: Floats, pair: Pair, order: int = 3) -> tuple[Floats, ...]:
    """`slopes` of NumPy arrays, compiled once for a class whatever their shapes."""
    shape, size = r.shape, r.size
    if size == 0:
        return (r,) * (order + 1)
    flat = {k: np.broadcast_to(v, shape).ravel() for k, v in pair.items()}
    places = np.minimum(np.arange(-(-size // CHUNK) * CHUNK), size - 1).reshape(-1, CHUNK)
    # At once, also inside of a function that JAX traces, whose constants these numbers are.
    with jax.ensure_compile_time_eval():
        parts = [
            _compiled(kind, r.ravel()[at], {k: v[at] for k, v in flat.items()}, order)
            for at in places
        ]
        return tuple(
            np.concatenate([np.asarray(x) for x in of])[:size].reshape(shape)
            for of in zip(*parts, strict=True)
        )


def attracts_and_stiffness(kind: Any, pair: Pair) -> tuple[Any, Any]:
    """Whether u' > 0 anywhere below the cutoff, and the u'' that steps are measured by.

    That is the largest |u''| from a little inside of the first minimum on; of a pair that only
    repels, from a little inside of sigma on. A hard core is steeper without bound further in; a
    soft one, whose |u''| hardly grows there, counts from half of that distance on. Of the shape of
    the pairs' parameters, NumPy's or JAX's as these are.
    """
    if not any(isinstance(v, jax.Array) for v in pair.values()):
        return _profile(np, partial(evaluated, kind), kind.pair_cutoff(pair), pair)
    return _profile(jnp, partial(slopes, kind), kind.pair_cutoff(pair), pair)


def _profile(xp: Any, slopes_at: Any, cutoff: Any, pair: Pair) -> tuple[Any, Any]:
    ends = xp.asarray(cutoff)
    # A well is of the size of σ, however far away the cutoff is.
    near = xp.minimum(ends, FAR * xp.asarray(pair["sigma"]))
    r = _grid(near / POINTS, near * (1 - 1e-9), POINTS)
    beyond = np.linspace(0.0, 1.0, TAIL + 1)[1:].reshape(-1, *[1] * np.ndim(ends))
    r = xp.concatenate([r, near * (ends / near) ** beyond * (1 - 1e-9)])
    _, slope, curvature, *_ = slopes_at(r, pair, order=2)
    pull, stiff = r * slope, xp.abs(curvature)
    outer = xp.where(r >= 0.5 * ends, xp.abs(pull), 0.0)
    pulls = pull > LEAST_PULL * xp.max(outer, axis=0)
    attracts = xp.any(pulls, axis=0)
    first = xp.min(xp.where(pulls, r, ends), axis=0)
    size = INSIDE * xp.where(attracts, first, xp.minimum(xp.asarray(pair["sigma"]), ends))
    outside = xp.max(xp.where(r >= xp.minimum(size, r[-1]), stiff, 0.0), axis=0)
    inside = xp.max(xp.where((r >= 0.5 * size) & (r < size), stiff, 0.0), axis=0)
    soft = inside <= SOFT * outside
    return attracts, xp.where(soft, xp.maximum(inside, outside), outside)


def _grid(low: Any, high: Any, points: int) -> Any:
    part = np.linspace(0.0, 1.0, points).reshape(-1, *[1] * np.ndim(high))
    return low + part * (high - low)


def find_breaks(kind: Any, pair: Pair) -> Floats:
    """Distances below the cutoff at which u'' jumps, ascending, (n_found, ...).

    Those that a pair lacks lie at twice its cutoff, where nothing jumps. A cell is suspect where
    the change of u'' over it is not what u''' at its ends says; there the place is found by
    bisection.
    """
    cutoff = np.asarray(kind.pair_cutoff(pair))
    size = np.minimum(pair["sigma"], cutoff)
    r = _grid(INNERMOST * size, cutoff * (1 - 1e-9), CELLS + 1)
    nodes = _at(kind, pair, r)
    suspect = _unexplained(tuple(v[:-1] for v in nodes), tuple(v[1:] for v in nodes))
    cell = np.argsort(-suspect, axis=0, kind="stable")[:MOST_FOUND]
    low, high = (np.take_along_axis(r, cell + k, axis=0) for k in (0, 1))
    at = narrowed(kind, pair, low, high)
    jump = np.abs(_jump(kind, pair, at))
    _, curvature, third = _at(kind, pair, at * (1 + BESIDE))
    outer = np.where(r >= INSIDE * size, np.abs(nodes[1]), 0.0)
    least = LEAST_JUMP * (np.abs(curvature) + 1e-2 * at * np.abs(third) + jump)
    least = np.maximum(least, LEAST_OF_LARGEST * np.max(outer, axis=0))
    at = np.sort(np.where(jump > least, at, np.inf), axis=0)
    with np.errstate(invalid="ignore"):  # a jump at the end of a cell is found from both sides
        again = np.diff(at, axis=0, prepend=0.0) < 1e-8 * at
    at = np.sort(np.where(again & np.isfinite(at), np.inf, at), axis=0)
    there = np.isfinite(at)
    return np.where(there, at, 2.0 * cutoff)[there.reshape(len(at), -1).any(axis=1)]


BESIDE = 1e-9


def _at(kind: Any, pair: Pair, r: Floats) -> tuple[Floats, ...]:
    _, _, curvature, third = evaluated(kind, r, pair)
    return r, curvature, third


def _jump(kind: Any, pair: Pair, at: Floats) -> Floats:
    """By how much u'' changes over two places beside a distance more than u''' says."""
    low, high = (_at(kind, pair, at * (1 + s)) for s in (-BESIDE, BESIDE))
    return _change(low, high)


def _change(low: tuple[Floats, ...], high: tuple[Floats, ...]) -> Floats:
    (r, curvature, third), (there, other, its_third) = low, high
    return other - curvature - 0.5 * (there - r) * (third + its_third)


def _unexplained(low: tuple[Floats, ...], high: tuple[Floats, ...]) -> Floats:
    """How much of the change of u'' over a cell u''' does not explain, relative to both."""
    left = np.abs(_change(low, high))
    scale = np.abs(low[1]) + np.abs(high[1])
    scale = scale + (high[0] - low[0]) * (np.abs(low[2]) + np.abs(high[2]))
    return np.where(scale > 0, left / np.where(scale > 0, scale, 1.0), 0.0)


def narrowed(kind: Any, pair: Pair, low: Floats, high: Floats) -> Floats:
    """Where between two distances u'' jumps, by bisection: the first beyond, (k, ...)."""
    a, b = _at(kind, pair, low), _at(kind, pair, high)
    for _ in range(BISECTIONS):
        middle = 0.5 * (a[0] + b[0])
        if ((middle <= a[0]) | (middle >= b[0])).all():
            break
        m = _at(kind, pair, middle)
        first = _unexplained(a, m) >= _unexplained(m, b)
        a, b = (
            tuple(np.where(first, x, y) for x, y in zip(a, m, strict=True)),
            tuple(np.where(first, x, y) for x, y in zip(m, b, strict=True)),
        )
    return b[0]


def break_slopes(kind: Any, pair: Pair, at: Floats) -> dict[str, Floats]:
    """∂b/∂p of distances that `find_breaks` found, by each parameter, as they are; 0 for none.

    By differences of what is found nearby at other parameters, to about 1e-8.
    """
    there = at < np.asarray(kind.pair_cutoff(pair))
    place = np.where(there, at, 0.5 * at)
    out = {}
    for name, given in pair.items():
        value = np.asarray(given)
        step = CHANGE * np.where(value == 0, 1.0, np.abs(value))
        more, less = (
            narrowed(kind, {**pair, name: value + s}, place * (1 - NEAR), place * (1 + NEAR))
            for s in (step, -step)
        )
        out[name] = np.where(there, (more - less) / (2 * step), 0.0)
    return out
