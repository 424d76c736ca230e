"""Where paths begin: two states laid on each other, and a first chain of images between them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from amorph.handover.boxes import nearest_images

from ..matter.packing import Packing

__all__ = ["aligned", "between", "carried", "distance"]

# Steps of the first path's relaxation, and how stiff they are held.
SHAPING_STEPS = 30
DAMPING = 1e-3


def aligned(packing: Packing, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions x (..., N, d) moved as a whole, and in open space turned, to lie nearest a packing.

    By the nearest images of all particles in a box, by the best proper rotation in open space
    (Kabsch, Acta Cryst. A32, 922 (1976)): mirror images stay apart, and no particle takes another's
    place. With fixed particles nothing is moved.
    """
    target = np.asarray(packing.positions)
    x = np.asarray(x, dtype=np.float64)
    if packing.box is not None:
        apart = nearest_images((x - target).reshape(-1, x.shape[-1]), packing.box).reshape(x.shape)
        if packing.fixed is None:
            apart = apart - apart.mean(axis=-2, keepdims=True)
        return target + apart
    turn, middle, centre = _turn(packing, x)
    return (x - middle) @ turn + centre


def carried(
    packing: Packing, x: NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Positions (..., N, d) moved and turned as x (N, d) is, to lie nearest a packing.

    In a box, of places that are continuous from x on.
    """
    if packing.box is not None:
        return others + (aligned(packing, x) - x)
    turn, middle, centre = _turn(packing, x)
    return (others - middle) @ turn + centre


def _turn(packing: Packing, x: NDArray[np.float64]) -> tuple[Any, Any, Any]:
    """The best rotation (..., d, d) of x about its middle, (..., 1, d), to a centre (d,)."""
    if packing.fixed is not None:
        return np.eye(x.shape[-1]), 0.0, 0.0
    target = np.asarray(packing.positions)
    centre, middle = target.mean(axis=0), x.mean(axis=-2, keepdims=True)
    u, _, v = np.linalg.svd(np.swapaxes(x - middle, -1, -2) @ (target - centre))
    sign = np.ones((*u.shape[:-2], x.shape[-1]))
    sign[..., -1] = np.sign(np.linalg.det(u @ v))
    return (u * sign[..., None, :]) @ v, middle, centre


def distance(packing: Packing, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest distance of a particle from its place in a packing, of x (..., N, d), aligned."""
    apart = aligned(packing, x) - np.asarray(packing.positions)
    return np.sqrt(np.max(np.sum(apart**2, axis=-1), axis=-1))


def between(
    packing: Packing, end: NDArray[np.float64], n_images: int, *, size: float
) -> NDArray[np.float64]:
    """A band (n_images + 2, N, d) from a packing to an end (N, d), which is aligned to it first.

    Straight where no pair comes too near; else each image is moved until its distances are as near
    as they can be to those between the ends (Smidstrup et al., J. Chem. Phys. 140, 214106 (2014)).
    """
    start = np.asarray(packing.positions)
    last = aligned(packing, end)
    parts = np.linspace(0.0, 1.0, n_images + 2)[:, None, None]
    band = start + parts * (last - start)
    n = packing.n_particles
    i, j = np.triu_indices(n, 1)
    box = None if packing.box is None else np.asarray(packing.box)

    def near(x: NDArray[np.float64]) -> NDArray[np.float64]:
        vector = x[..., j, :] - x[..., i, :]
        if box is not None:
            vector = nearest_images(vector.reshape(-1, vector.shape[-1]), box).reshape(vector.shape)
        out: NDArray[np.float64] = np.sqrt(np.sum(vector**2, axis=-1))
        return out

    if box is not None and n > 200:
        return band  # of many particles few move far: a straight path it is
    apart = near(band)
    if apart.min() >= 0.8 * min(size, apart[0].min(), apart[-1].min()):
        return band
    wanted = apart[0] + parts[:, :, 0] * (apart[-1] - apart[0])
    free = np.ones(n, dtype=bool) if packing.fixed is None else ~np.asarray(packing.fixed)
    shaped = np.asarray(_shaped(band[1:-1], wanted[1:-1], box, i, j, free))
    return np.concatenate([band[:1], shaped, band[-1:]])


@jax.jit
def _shaped(x: Array, wanted: Array, box: Any, i: Array, j: Array, free: Array) -> Array:
    return jax.vmap(partial(_shape, box=box, i=i, j=j, free=free))(x, wanted)


def _shape(x: Array, wanted: Array, *, box: Any, i: Array, j: Array, free: Array) -> Array:
    """One image: Levenberg's steps for the weighted squares of its distances' misfits."""

    def misfit(flat: Array) -> Array:
        y = flat.reshape(x.shape)
        vector = y[j] - y[i]
        if box is not None:
            vector = vector - jnp.round(vector @ jnp.linalg.inv(box).T) @ box.T
        r = jnp.sqrt(jnp.sum(vector**2, axis=1) + 1e-30)
        return (r - wanted) / wanted**2

    moving = jnp.repeat(jnp.where(free, 1.0, 0.0), x.shape[1])

    def step(_: int, flat: Array) -> Array:
        jacobian = jax.jacfwd(misfit)(flat) * moving
        matrix = jacobian.T @ jacobian + DAMPING * jnp.eye(len(flat))
        move = jnp.linalg.solve(matrix, jacobian.T @ misfit(flat))
        return flat - move * jnp.minimum(1.0, 0.3 / jnp.maximum(jnp.max(jnp.abs(move)), 1e-300))

    return jax.lax.fori_loop(0, SHAPING_STEPS, step, x.ravel()).reshape(x.shape)
