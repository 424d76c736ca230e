"""Quenches by jax-md: its own FIRE on its own neighbour lists, compiled, in float64.

Importing this module switches JAX to float64, as importing ``amorph.bridge`` does.

A neighbour list that overflows is never used: the loop stops, the list is allocated anew with
more room, the quench is made again from its start, and later quenches keep the larger list.
Compilation is timed apart from the quenches.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import QuenchResult, require
from .formulas import HarmonicMorse, PairPotential, SoftSphere

jax: Any = require("jax", "JAX")
jnp: Any = require("jax.numpy", "JAX")
jax_md: Any = require("jax_md", "jax-md")
jax.config.update("jax_enable_x64", True)

__all__ = ["JaxMdQuench", "NeighborOverflow", "harmonic_morse", "pair_matrix"]


class NeighborOverflow(RuntimeError):
    """Neighbour lists overflowed again and again although they were given more room."""


def harmonic_morse(dr: Any, sigma: Any, binding: Any, stiffness: Any, alpha: Any, **_: Any) -> Any:
    """Harmonic repulsion and XPLOR-switched Morse attraction.

    Each branch is given arguments from its own side of sigma and of the cutoff, so that no
    derivative of the branch not taken can be infinite.

    Args:
        dr: distances, any shape [length].
        sigma: mean diameter [length].
        binding: B [energy].
        stiffness: k [energy / length^2].
        alpha: a [1 / length].

    Returns:
        u(dr), the shape of ``dr`` [energy].
    """
    on2 = (sigma + 5.0 / alpha) ** 2
    cut2 = (sigma + 9.9 / alpha) ** 2
    touching = dr < sigma
    inner = jnp.where(touching, dr, sigma)
    outer = jnp.where(touching, sigma, dr)
    r2 = jnp.clip(outer * outer, on2, cut2)
    switch = (cut2 - r2) ** 2 * (cut2 + 2.0 * r2 - 3.0 * on2) / (cut2 - on2) ** 3
    decay = jnp.exp(-alpha * (outer - sigma))
    attraction = binding * (decay * decay - 2.0 * decay) * switch
    return jnp.where(touching, 0.5 * stiffness * (sigma - inner) ** 2 - binding, attraction)


def pair_matrix(vector: Any, n_types: int) -> Any:
    """Symmetric matrix (n_types, n_types) from a vector over ``numpy.triu_indices(n_types)``."""
    vector = jnp.broadcast_to(jnp.asarray(vector), (n_types * (n_types + 1) // 2,))
    rows, columns = np.triu_indices(n_types)
    index = np.zeros((n_types, n_types), np.int64)
    index[rows, columns] = index[columns, rows] = np.arange(rows.size)
    return vector[index]


def _pair_energy(potential: PairPotential) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The energy of a distance, and its parameters, matrices over the types."""
    d = jnp.asarray(potential.diameters, jnp.float64)
    sigma = 0.5 * (d[:, None] + d[None, :])
    if isinstance(potential, HarmonicMorse):
        return harmonic_morse, {
            "sigma": sigma,
            "binding": pair_matrix(jnp.asarray(potential.binding), potential.n_types),
            "stiffness": pair_matrix(jnp.asarray(potential.stiffness), potential.n_types),
            "alpha": potential.alpha,
        }
    if isinstance(potential, SoftSphere):
        stiffness = pair_matrix(jnp.asarray(potential.stiffness), potential.n_types)
        squared = functools.partial(jax_md.energy.soft_sphere, alpha=2)
        return squared, {"sigma": sigma, "epsilon": stiffness}
    raise TypeError(f"jax-md is not set up for {potential.potential}")


class JaxMdQuench:
    """FIRE quenches of many starts with one compiled loop.

    Args:
        potential: harmonic-Morse, or soft spheres, which are jax-md's own.
        typeid: shape (N,).
        length: edge of the square or cubic box [length].
        dimension: 2 or 3.
        tolerance: length of the longest force vector at convergence [energy / length].
        max_steps: steps after which a quench ends unconverged.
        dt_start, dt_max: FIRE's first and largest time step; for harmonic-Morse 0.25 takes
            the fewest steps in two dimensions; at 0.4, jax-md's default, nothing settles, nor
            at 0.25 in every packing in three: take 0.2 there [time].
        dr_threshold: neighbour list's margin [length].
        capacity: room in the neighbour list over what the first start needs.
        cells: build the neighbour lists by cells, jax-md's own default; ``False`` compares all
            pairs, which is faster for some hundreds of particles.
        stress: whether to measure the stress at the end (outside the time measured).
        minimizer: a function like ``jax_md.minimize.fire_descent``, which it is by default.
    """

    def __init__(
        self,
        potential: PairPotential,
        typeid: NDArray[np.integer[Any]],
        length: float,
        *,
        dimension: int = 2,
        tolerance: float = 1e-10,
        max_steps: int = 100_000,
        dt_start: float = 0.1,
        dt_max: float = 0.25,
        dr_threshold: float = 0.5,
        capacity: float = 1.25,
        cells: bool = False,
        stress: bool = False,
        minimizer: Callable[..., Any] | None = None,
    ) -> None:
        self.tolerance = float(tolerance)
        self.length = float(length)
        self._with_stress = stress
        cutoff = potential.largest_cutoff
        if length < 2 * cutoff:
            raise ValueError(f"the box {length} is smaller than twice the cutoff {cutoff}")
        space, smap, partition = jax_md.space, jax_md.smap, jax_md.partition
        displacement, shift = space.periodic(length)
        pair, parameters = _pair_energy(potential)
        self.energy_fn = smap.pair_neighbor_list(
            pair,
            space.canonicalize_displacement_or_metric(displacement),
            species=jnp.asarray(typeid, jnp.int32),
            **parameters,
        )
        self._lists = partition.neighbor_list(
            displacement,
            length,
            r_cutoff=cutoff,
            dr_threshold=dr_threshold,
            capacity_multiplier=capacity,
            disable_cell_list=not cells,
            format=partition.OrderedSparse,
        )
        make = minimizer or jax_md.minimize.fire_descent
        init, apply = make(self.energy_fn, shift, dt_start=dt_start, dt_max=dt_max)

        def longest(force: Any) -> Any:
            return jnp.sqrt(jnp.max(jnp.sum(force * force, axis=-1)))

        def going_on(carry: Any) -> Any:
            state, neighbors, step = carry
            unfinished = longest(state.force) >= tolerance
            overflow = neighbors.did_buffer_overflow
            return unfinished & (step < max_steps) & jnp.logical_not(overflow)

        def advance(carry: Any) -> Any:
            state, neighbors, step = carry
            neighbors = neighbors.update(state.position)
            return apply(state, neighbor=neighbors), neighbors, step + 1

        def quench(positions: Any, neighbors: Any) -> Any:
            neighbors = neighbors.update(positions)
            state = init(positions, neighbor=neighbors)
            state, neighbors, step = jax.lax.while_loop(going_on, advance, (state, neighbors, 0))
            energy = self.energy_fn(state.position, neighbor=neighbors)
            overflow = neighbors.did_buffer_overflow
            return state.position, energy, longest(state.force), step, overflow

        self._quench = jax.jit(quench)
        self._stress = jax.jit(
            lambda positions, neighbors: (
                -jax_md.quantity.stress(self.energy_fn, positions, length, neighbor=neighbors)
            )
        )
        self._dimension = dimension
        self._neighbors: Any = None
        self._extra = 0
        self.grown = 0
        self.compile_seconds = 0.0

    def _prepare(self, positions: Any) -> None:
        """Allocate the neighbour list with the room known to be needed, and compile for it."""
        started = time.perf_counter()
        self._neighbors = self._lists.allocate(positions, extra_capacity=self._extra)
        jax.block_until_ready(self._quench(positions, self._neighbors))
        self.compile_seconds += time.perf_counter() - started

    def __call__(self, positions: NDArray[np.float64]) -> QuenchResult:
        """Quench one start, shape (N, d) [length]."""
        start = jnp.asarray(np.mod(positions, self.length), jnp.float64)
        if self._neighbors is None:
            self._prepare(start)
        for _ in range(20):
            started = time.perf_counter()
            found = jax.block_until_ready(self._quench(start, self._neighbors))
            seconds = time.perf_counter() - started
            final, energy, max_force, steps, overflow = found
            if not bool(overflow):
                break
            self.grown += 1
            self._extra += 4
            self._prepare(start)
        else:
            raise NeighborOverflow(
                f"neighbour lists still overflowed with room for {self._extra} more neighbours "
                "a particle; check that the positions are finite and the density is meant"
            )
        stress = None
        if self._with_stress:
            neighbors = self._neighbors.update(final)
            if bool(neighbors.did_buffer_overflow):
                neighbors = self._lists.allocate(final)
            stress = np.asarray(self._stress(final, neighbors))
        return QuenchResult(
            positions=np.asarray(final),
            energy=float(energy),
            max_force=float(max_force),
            steps=int(steps),
            converged=bool(max_force < self.tolerance),
            seconds=seconds,
            stress=stress,
        )
