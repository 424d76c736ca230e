"""Paths of steepest descent from saddles: they prove which minima a saddle joins.

By steps each of which is the exact path of the local quadratic approximation (Page and McIver, J.
Chem. Phys. 88, 922 (1988)), of a length that is chosen; where the bottom of a convex approximation
is nearer than that, the minimum is gone to, and proven, by Newton's steps.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from .batches import Batch, in_flight
from .stationary import ENDED, NOT_FINITE, OUT_OF_STEPS, follow_modes, spectrum
from .surface import Surface

__all__ = ["descend"]

# Steps between two looks at who goes on.
ROUND = 16
# How often a step's time is halved on the way to its length.
HALVINGS = 60


def _step(surface: Surface, x: Array, length: Array) -> tuple[Array, Array, Array]:
    """A step (N, d) of a length along the path, whether it ends at a bottom, and its energy."""
    energy, slope = surface.energy_and_gradient(x)
    values, vectors, modes, _ = spectrum(surface, x)
    real = jnp.arange(len(values)) < modes
    along = jnp.where(real, vectors.T @ slope.ravel(), 0.0)
    w = jnp.where(real, values, 1.0)

    def moved(t: Array) -> Array:
        # (e^{-wt} - 1)/w, also where w t is small, and never beyond what numbers hold.
        power = jnp.clip(-w * t, -700.0, 700.0)
        whole = jnp.where(jnp.abs(w * t) > 1e-12, jnp.expm1(power) / w, -t)
        return along * whole

    stiffest = jnp.maximum(jnp.max(jnp.abs(w)), 1e-300)
    low, high = jnp.log(1e-12 / stiffest), jnp.log(1e18 / stiffest)

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        short = jnp.linalg.norm(moved(jnp.exp(middle))) < length
        return jnp.where(short, middle, low), jnp.where(short, high, middle)

    low, _ = jax.lax.fori_loop(0, HALVINGS, halve, (low, high))
    newton = jnp.where(real, -along / jnp.where(w == 0.0, 1.0, w), 0.0)
    bottom = jnp.all(w > 0) & (jnp.linalg.norm(newton) <= length)
    step = jnp.where(bottom, newton, moved(jnp.exp(low)))
    return (vectors @ step).reshape(x.shape), bottom, energy


def _one(surface: Surface, carry: dict[str, Array], *, length: float) -> dict[str, Array]:
    """Some steps of one path; its points and energies are kept."""

    def step(c: dict[str, Array]) -> dict[str, Array]:
        moved, bottom, energy = _step(surface, c["x"], length * surface.size)
        finite = jnp.all(jnp.isfinite(moved)) & jnp.isfinite(energy)
        k = c["round"]
        out = c["steps"] + 1 >= c["limit"]
        return c | {
            "path": c["path"].at[k].set(c["x"]),
            "energies": c["energies"].at[k].set(energy),
            "x": jnp.where(finite, c["x"] + moved, c["x"]),
            "steps": c["steps"] + 1,
            "round": k + 1,
            "going": finite & ~bottom & ~out,
            "status": jnp.where(finite, jnp.where(bottom, ENDED, OUT_OF_STEPS), NOT_FINITE),
        }

    return jax.lax.while_loop(
        lambda c: c["going"] & (c["round"] < ROUND), step, carry | {"round": jnp.zeros((), int)}
    )


@partial(jax.jit, static_argnames=("own", "length"))
def _advance(surface: Surface, carry: dict[str, Array], *, own: bool, length: float) -> Any:
    one = partial(_one, length=length)
    return jax.vmap(one, in_axes=(Batch(surface, own).axes, 0))(surface, carry)


def descend(
    batch: Batch,
    x: NDArray[np.float64],
    tolerance: Any,
    *,
    length: float,
    most_steps: int,
) -> tuple[dict[str, NDArray[Any]], list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """The minima below points x (B, N, d), and the paths there.

    Returns what `follow_modes` does of the minima; for each the points of its path (n_points, N,
    d), `length` smallest diameters from one to the next; and their energies (n_points,).
    """
    size = len(x)
    carry = {
        "x": np.array(x, dtype=np.float64),
        "path": np.zeros((size, ROUND, *x.shape[1:])),  # of a round
        "energies": np.zeros((size, ROUND)),
        "limit": np.full(size, most_steps),
        "steps": np.zeros(size, dtype=np.int64),
        "round": np.zeros(size, dtype=np.int64),
        "going": np.ones(size, dtype=bool),
        "status": np.full(size, OUT_OF_STEPS),
    }
    advance = partial(_advance, own=batch.own, length=length)
    paths: list[list[Any]] = [[] for _ in range(size)]
    energies: list[list[Any]] = [[] for _ in range(size)]

    def note(rows: Any, there: Any) -> None:
        for at, row in enumerate(rows.tolist()):
            taken = int(there["round"][at])
            paths[row].append(there["path"][at, :taken].copy())
            energies[row].append(there["energies"][at, :taken].copy())

    walked = in_flight(advance, batch, carry, most_steps // ROUND + 2, note)
    found = follow_modes(batch, walked["x"], 0, tolerance, 100)
    ended = walked["status"] == ENDED
    found["status"] = np.where(ended, found["status"], walked["status"])
    return (
        found,
        [np.concatenate(parts) for parts in paths],
        [np.concatenate(parts) for parts in energies],
    )
