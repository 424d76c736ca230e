"""Stationary points by following eigenvectors: minima, and saddles of a given number of modes.

Every step is along the eigenvectors of the Hessian, downhill along all but the lowest ones, uphill
along these; near the point they are those of Newton's method. What ends is proven: the largest
force at most a tolerance, and as many negative modes as were asked for, rigid motions apart.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..solve.inertia import SMALLEST_PIVOT
from .batches import Batch, in_flight, padded
from .surface import Surface

__all__ = ["ENDED", "FLAT", "NOT_FINITE", "OTHER_INDEX", "OUT_OF_STEPS", "follow_modes", "spectrum"]

# How a search ended.
ENDED, OUT_OF_STEPS, NOT_FINITE, OTHER_INDEX, FLAT = range(5)
# The longest step, in units of the smallest diameter: at first, and later.
FIRST_MOVE, LARGEST_MOVE, SMALLEST_MOVE = 0.1, 0.2, 1e-3
# Steps between two looks at who goes on.
ROUND = 8


def spectrum(surface: Surface, x: Array) -> tuple[Array, Array, Array, Array]:
    """Eigenvalues (N d,), eigenvectors (N d, N d), how many are real modes, and H's mean diagonal.

    Rigid motions and fixed particles come last, above all modes.
    """
    n, d = surface.shape
    matrix = surface.hessian(x)
    fixed = surface.state.fixed
    held = jnp.zeros(n * d) if fixed is None else jnp.repeat(jnp.where(fixed, 1.0, 0.0), d)
    rigid = surface.rigid(x)
    matrix = matrix * ((1.0 - held)[:, None] * (1.0 - held)[None])
    kept = matrix - rigid @ (rigid.T @ matrix)
    kept = kept - (kept @ rigid) @ rigid.T
    top = 2.0 * jnp.max(jnp.sum(jnp.abs(matrix), axis=1)) + 1e-300
    values, vectors = jnp.linalg.eigh(kept + top * (rigid @ rigid.T) + jnp.diag(top * held))
    out = jnp.sum(held) + jnp.sum(jnp.any(rigid != 0.0, axis=0))
    return values, vectors, n * d - out.astype(int), jnp.trace(matrix) / (n * d)


def _step(surface: Surface, x: Array, n_negative: int, most: Array) -> tuple[Array, Array]:
    """A step (N, d) by the eigenvectors, no longer than the most, and the largest force before."""
    _, slope = surface.energy_and_gradient(x)
    values, vectors, modes, mean = spectrum(surface, x)
    along = vectors.T @ slope.ravel()
    k = jnp.arange(len(values))
    size = jnp.maximum(jnp.abs(values), 1e-12 * jnp.abs(mean) + 1e-300)
    # Wales, J. Chem. Phys. 101, 3750 (1994), eq. 8: of Newton's length where the slope is small.
    step = 2.0 * along / (size * (1.0 + jnp.sqrt(1.0 + 4.0 * (along / size) ** 2 / most**2)))
    step = jnp.where(k < n_negative, step, -step)
    step = jnp.where(k < modes, step, 0.0)
    moved = (vectors @ step).reshape(x.shape)
    length = jnp.sqrt(jnp.max(jnp.sum(moved**2, axis=1)))
    moved = moved * jnp.minimum(1.0, most / jnp.maximum(length, 1e-300))
    return moved, jnp.sqrt(jnp.max(jnp.sum(slope**2, axis=1)))


def _one(surface: Surface, carry: dict[str, Array], *, n_negative: int) -> dict[str, Array]:
    """Some steps of one search."""

    def going(c: dict[str, Array]) -> Array:
        return c["going"] & (c["round"] < ROUND)

    def step(c: dict[str, Array]) -> dict[str, Array]:
        moved, force = _step(surface, c["x"], n_negative, c["most"] * surface.size)
        finite = jnp.isfinite(force) & jnp.all(jnp.isfinite(moved))
        rest = force <= c["tolerance"]
        # A step after which the force has grown was too long.
        most = jnp.where(force > 1.5 * c["force"], 0.5 * c["most"], 1.2 * c["most"])
        most = jnp.clip(most, SMALLEST_MOVE, LARGEST_MOVE)
        out = c["steps"] + 1 >= c["limit"]
        return c | {
            "x": jnp.where(finite & ~rest, c["x"] + moved, c["x"]),
            "force": force,
            "most": most,
            "steps": c["steps"] + jnp.where(rest, 0, 1),
            "round": c["round"] + 1,
            "going": finite & ~rest & ~out,
            "status": jnp.where(rest, ENDED, jnp.where(finite, OUT_OF_STEPS, NOT_FINITE)),
        }

    return jax.lax.while_loop(going, step, carry | {"round": jnp.zeros((), int)})


@partial(jax.jit, static_argnames=("own", "n_negative"))
def _advance(surface: Surface, carry: dict[str, Array], *, own: bool, n_negative: int) -> Any:
    one = partial(_one, n_negative=n_negative)
    return jax.vmap(one, in_axes=(Batch(surface, own).axes, 0))(surface, carry)


@partial(jax.jit, static_argnames="own")
def _proven(surface: Surface, x: Array, *, own: bool) -> Any:
    def one(surface: Surface, x: Array) -> dict[str, Array]:
        values, vectors, modes, mean = spectrum(surface, x)
        real = jnp.arange(len(values)) < modes
        zero = real & (jnp.abs(values) <= SMALLEST_PIVOT * jnp.abs(mean))
        return {
            "energy": surface.energy(x),
            "negative": jnp.sum(real & (values < 0) & ~zero),
            "zero": jnp.sum(zero),
            "lowest": values[:2],
            "mode": vectors[:, 0].reshape(x.shape),
        }

    return jax.vmap(one, in_axes=(Batch(surface, own).axes, 0))(surface, x)


def follow_modes(
    batch: Batch,
    x: NDArray[np.float64],
    n_negative: int,
    tolerance: Any,
    most_steps: int,
) -> dict[str, NDArray[Any]]:
    """The stationary points that searches from x (B, N, d) end at.

    Returns ``x`` (B, N, d), ``force`` (B,) the largest there, ``steps``, ``status`` (see `ENDED`
    and those beside it), ``energy``, ``negative`` and ``zero``, how many modes are, ``lowest``
    (B, 2) eigenvalues, and ``mode`` (B, N, d), the lowest.
    """
    size = len(x)
    carry = {
        "x": np.array(x, dtype=np.float64),
        "force": np.full(size, np.inf),
        "most": np.full(size, FIRST_MOVE),
        "steps": np.zeros(size, dtype=np.int64),
        "round": np.zeros(size, dtype=np.int64),
        "limit": np.full(size, most_steps),
        "tolerance": np.broadcast_to(np.asarray(tolerance, dtype=np.float64), size),
        "going": np.ones(size, dtype=bool),
        "status": np.full(size, OUT_OF_STEPS),
    }
    advance = partial(_advance, own=batch.own, n_negative=n_negative)
    found = in_flight(advance, batch, carry, most_steps // ROUND + 2)
    out = {k: found[k] for k in ("x", "force", "steps", "status")}
    proven = prove(batch, found["x"])
    other = (out["status"] == ENDED) & (proven["negative"] != n_negative)
    flat = (out["status"] == ENDED) & (proven["zero"] > 0)
    out["status"] = np.where(flat, FLAT, np.where(other, OTHER_INDEX, out["status"]))
    return out | proven


def prove(batch: Batch, x: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Energies, and how many modes of points x (B, N, d) are negative or zero."""
    rows = np.resize(np.arange(len(x)), padded(len(x)))
    found = _proven(batch.of(rows), x[rows], own=batch.own)
    return {k: np.asarray(v)[: len(x)] for k, v in found.items()}
