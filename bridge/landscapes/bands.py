"""Elastic bands between two minima, many at once: doubly nudged, with a climbing image.

A band is a chain of images of all particles. Each image feels the true force across the band and
springs along it; of the springs' force across the band it keeps what is across the true force
too, which fades as that vanishes (doubly nudged: Trygubenko and Wales, J. Chem. Phys. 120, 2082
(2004); faded by Sheppard, Terrell and Henkelman, J. Chem. Phys. 128, 134106 (2008)). The tangent is
Henkelman and Jónsson's (J. Chem. Phys. 113, 9978 (2000)), and the highest image climbs (Henkelman,
Uberuaga and Jónsson, J. Chem. Phys. 113, 9901 (2000)).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from .batches import Batch, in_flight
from .stationary import ENDED, NOT_FINITE, OUT_OF_STEPS
from .surface import Surface

__all__ = ["OPTIMISERS", "relax_bands"]

OPTIMISERS = ("lbfgs", "fire")
# Steps between two looks at which bands go on.
ROUND = 16
# Pairs of steps and changes of force that L-BFGS keeps.
MEMORY = 8
# The longest step of a particle, in units of the smallest diameter.
LARGEST_MOVE = 0.1
# The springs' stiffness beside that of the stiffest pair.
SPRING = 0.05
# The highest image climbs once forces across the band are below so many times the tolerance.
CLIMBS_BELOW = 20.0


def _dot(a: Array, b: Array) -> Array:
    return jnp.sum(a * b, axis=(-2, -1), keepdims=True)


def _unit(a: Array) -> Array:
    return a / jnp.sqrt(jnp.maximum(_dot(a, a), 1e-300))


def band_forces(
    surface: Surface, whole: Array, ends: Array, spring: Array, climbing: Array
) -> dict[str, Array]:
    """Forces on the inner images of a band (n + 2, N, d), and what is across it of the true ones.

    ``ends`` (2,) are the energies of the outer images.
    """
    inner = whole[1:-1]
    energies, slopes = jax.vmap(surface.energy_and_gradient)(inner)
    levels = jnp.concatenate([ends[:1], energies, ends[1:]])
    before, after = inner - whole[:-2], whole[2:] - inner
    up, down = levels[2:] - levels[1:-1], levels[1:-1] - levels[:-2]
    # Of the two neighbours the higher one; both, where the image is an extremum.
    most = jnp.maximum(jnp.abs(up), jnp.abs(down))[:, None, None]
    least = jnp.minimum(jnp.abs(up), jnp.abs(down))[:, None, None]
    higher = (levels[2:] > levels[:-2])[:, None, None]
    mixed = jnp.where(higher, most * after + least * before, least * after + most * before)
    rising = ((up > 0) & (down > 0))[:, None, None]
    falling = ((up <= 0) & (down <= 0))[:, None, None]
    tangent = _unit(jnp.where(rising, after, jnp.where(falling, before, mixed)))
    across = slopes - _dot(slopes, tangent) * tangent
    apart = jnp.sqrt(_dot(after, after)) - jnp.sqrt(_dot(before, before))
    pull = spring * (after - before)
    aside = pull - _dot(pull, tangent) * tangent
    way = _unit(across)
    doubly = aside - _dot(aside, way) * way
    share = (2.0 / jnp.pi) * jnp.arctan(
        _dot(across, across) / jnp.maximum(_dot(aside, aside), 1e-300)
    )
    force = -across + spring * apart * tangent + share * doubly
    top = jnp.argmax(levels[1:-1])
    climber = (jnp.arange(len(inner)) == top)[:, None, None] & climbing
    force = jnp.where(climber, -slopes + 2.0 * _dot(slopes, tangent) * tangent, force)
    # Springs would turn a cluster: nothing that moves an image as a whole is kept.
    rigid = jax.vmap(surface.rigid)(inner)
    flat = force.reshape(len(inner), -1)
    flat = flat - jnp.einsum("iak,ibk,ib->ia", rigid, rigid, flat)
    largest = jnp.sqrt(jnp.max(jnp.sum(across**2, axis=-1), axis=-1))
    return {
        "force": flat.reshape(force.shape),
        "energies": energies,
        "across": jnp.max(largest),
        "top": top,
        "top_force": jnp.sqrt(jnp.max(jnp.sum(slopes[top] ** 2, axis=-1))),
    }


def _direction(force: Array, s: Array, y: Array, count: Array) -> Array:
    """The L-BFGS step for a force, from the last steps s and changes of the force -y."""
    q = force
    weights = []
    for k in range(MEMORY):  # the latest first
        own = jnp.sum(s[k] * y[k])
        used = (k < count) & (own > 0)
        rho = jnp.where(used, 1.0 / jnp.where(used, own, 1.0), 0.0)
        alpha = rho * jnp.sum(s[k] * q)
        q = q - alpha * y[k]
        weights.append((rho, alpha))
    scale = jnp.sum(s[0] * y[0]) / jnp.maximum(jnp.sum(y[0] * y[0]), 1e-300)
    q = q * scale
    for k in reversed(range(MEMORY)):
        rho, alpha = weights[k]
        q = q + s[k] * (alpha - rho * jnp.sum(y[k] * q))
    return q


def _lbfgs(c: dict[str, Array], force: Array, first: Array, most: Array) -> dict[str, Array]:
    """A step of L-BFGS without a search along it: forces are no gradient of a function."""
    change = c["force"] - force
    started = c["steps"] > 0
    # A history in which the force has turned against the step is none.
    good = started & (jnp.sum(c["moved"] * change) > 0)
    s = jnp.where(good, jnp.concatenate([c["moved"][None], c["s"][:-1]]), c["s"])
    y = jnp.where(good, jnp.concatenate([change[None], c["y"][:-1]]), c["y"])
    count = jnp.where(good, jnp.minimum(c["count"] + 1, MEMORY), 0)
    step = jnp.where(count > 0, _direction(force, s, y, count), first * force)
    uphill = jnp.sum(step * force) <= 0
    step = jnp.where(uphill, first * force, step)
    longest = jnp.sqrt(jnp.max(jnp.sum(step**2, axis=-1)))
    step = step * jnp.minimum(1.0, most / jnp.maximum(longest, 1e-300))
    return {"moved": step, "s": s, "y": y, "count": jnp.where(uphill, 0, count)}


def _fire(c: dict[str, Array], force: Array, first: Array, most: Array) -> dict[str, Array]:
    """A step of FIRE (Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006)), semi-implicit.

    In the history's places: velocities s[0]; dt, mixing and steps downhill in y[0]'s first ones.
    """
    v = c["s"][0]
    own = c["y"][0].ravel()
    fresh = c["steps"] == 0
    dt_max = 3.0 * jnp.sqrt(first)
    dt = jnp.where(fresh, jnp.sqrt(first), own[0])
    mixing = jnp.where(fresh, 0.1, own[1])
    downhill = jnp.where(fresh, 0.0, own[2])
    onward = jnp.sum(force * v) > 0
    downhill = jnp.where(onward, downhill + 1, 0.0)
    faster = onward & (downhill > 5)
    dt = jnp.where(faster, jnp.minimum(1.1 * dt, dt_max), jnp.where(onward | fresh, dt, 0.5 * dt))
    v = jnp.where(onward, v, 0.0) + dt * force
    speed, push = jnp.linalg.norm(v), jnp.linalg.norm(force)
    v = (1 - mixing) * v + mixing * force * speed / jnp.maximum(push, 1e-300)
    mixing = jnp.where(faster, 0.99 * mixing, jnp.where(onward, mixing, 0.1))
    step = dt * v
    longest = jnp.sqrt(jnp.max(jnp.sum(step**2, axis=-1)))
    step = step * jnp.minimum(1.0, most / jnp.maximum(longest, 1e-300))
    kept = jnp.zeros(own.shape).at[:3].set(jnp.stack([dt, mixing, downhill]))
    return {
        "moved": step,
        "s": c["s"].at[0].set(v),
        "y": c["y"].at[0].set(kept.reshape(force.shape)),
        "count": c["count"],
    }


def _one(
    surface: Surface, carry: dict[str, Array], *, optimiser: str, climb: bool
) -> dict[str, Array]:
    """Some steps of one band."""
    move = _lbfgs if optimiser == "lbfgs" else _fire
    first = 1.0 / carry["stiffness"]
    most = LARGEST_MOVE * surface.size
    spring = SPRING * carry["stiffness"]

    def step(c: dict[str, Array]) -> dict[str, Array]:
        found = band_forces(surface, c["band"], c["ends"], spring, c["climbing"])
        force = found["force"]
        finite = jnp.all(jnp.isfinite(force))
        small = found["across"] <= c["tolerance"]
        there = found["top_force"] <= c["tolerance"]
        # With a climbing image it ends there, without one the whole band has to be at rest.
        rest = (c["climbing"] & there) if climb else small
        climbing = c["climbing"] | (climb & (found["across"] <= CLIMBS_BELOW * c["tolerance"]))
        out = c["steps"] + 1 >= c["limit"]
        begun = climbing & ~c["climbing"]
        went = move(c, force, first, most)
        going = finite & ~rest & ~out
        inner = c["band"][1:-1]
        return (
            c
            | went
            | {
                "band": c["band"]
                .at[1:-1]
                .set(jnp.where(finite & ~rest, inner + went["moved"], inner)),
                "force": force,
                "count": jnp.where(begun, 0, went["count"]),
                "energies": found["energies"],
                "across": found["across"],
                "top": found["top"],
                "top_force": found["top_force"],
                "climbing": climbing,
                "steps": c["steps"] + 1,
                "round": c["round"] + 1,
                "going": going,
                "status": jnp.where(rest, ENDED, jnp.where(finite, OUT_OF_STEPS, NOT_FINITE)),
            }
        )

    return jax.lax.while_loop(
        lambda c: c["going"] & (c["round"] < ROUND), step, carry | {"round": jnp.zeros((), int)}
    )


@partial(jax.jit, static_argnames=("own", "optimiser", "climb"))
def _advance(
    surface: Surface, carry: dict[str, Array], *, own: bool, optimiser: str, climb: bool
) -> Any:
    one = partial(_one, optimiser=optimiser, climb=climb)
    return jax.vmap(one, in_axes=(Batch(surface, own).axes, 0))(surface, carry)


def relax_bands(
    batch: Batch,
    bands: NDArray[np.float64],
    ends: NDArray[np.float64],
    *,
    stiffness: Any,
    tolerance: Any,
    most_steps: int,
    optimiser: str = "lbfgs",
    climb: bool = True,
) -> dict[str, NDArray[Any]]:
    """Bring bands (B, n + 2, N, d) to rest; their outer images stay.

    Parameters
    ----------
    ends:
        Energies of the outer images, (B, 2).
    stiffness:
        Of the stiffest pair, (B,) or one: the unit of springs, and of the first step.
    tolerance:
        The largest force, (B,) or one: on the climbing image, or without one across the band.

    Returns ``band``, ``energies`` (B, n), ``top``, the number of the highest inner image,
    ``top_force`` on it, ``across``, the largest force across the band, ``steps``, ``status``.
    """
    size, inner = len(bands), bands[:, 1:-1]
    carry = {
        "band": np.array(bands),
        "ends": np.asarray(ends),
        "stiffness": np.broadcast_to(np.asarray(stiffness, dtype=np.float64), size),
        "tolerance": np.broadcast_to(np.asarray(tolerance, dtype=np.float64), size),
        "limit": np.full(size, most_steps),
        "force": np.zeros(inner.shape),
        "moved": np.zeros(inner.shape),
        "s": np.zeros((size, MEMORY, *inner.shape[1:])),
        "y": np.zeros((size, MEMORY, *inner.shape[1:])),
        "count": np.zeros(size, dtype=np.int64),
        "energies": np.zeros(inner.shape[:2]),
        "across": np.full(size, np.inf),
        "top": np.zeros(size, dtype=np.int64),
        "top_force": np.full(size, np.inf),
        "climbing": np.zeros(size, dtype=bool),
        "steps": np.zeros(size, dtype=np.int64),
        "round": np.zeros(size, dtype=np.int64),
        "going": np.ones(size, dtype=bool),
        "status": np.full(size, OUT_OF_STEPS),
    }
    advance = partial(_advance, own=batch.own, optimiser=optimiser, climb=climb)
    found = in_flight(advance, batch, carry, most_steps // ROUND + 2)
    kept = ("band", "energies", "top", "top_force", "across", "steps", "status")
    return {k: found[k] for k in kept}
