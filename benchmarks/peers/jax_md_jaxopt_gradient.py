"""Poisson's ratio of a quenched packing and its gradient, put together from jax-md and jaxopt.

This is the way of the programs published with Zu and Goodrich, Commun. Mater. 5 (2024), written
anew: a FIRE minimisation made differentiable by ``jaxopt.implicit_diff.custom_root`` with its
default solve, the elastic constants by ``jax_md.elasticity.athermal_moduli``, and
``jax.value_and_grad`` over the whole with respect to diameters and binding energies, compiled.
Neighbour lists that overflow are made larger and the run repeated; whether the solves converged is
handed back.

Importing this module switches JAX to float64.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import require
from .jax_md_quench import NeighborOverflow, harmonic_morse, jax, jax_md, jnp, pair_matrix

__all__ = ["GradientResult", "JaxMdJaxoptGradient", "fire2"]


class _Fire2State(NamedTuple):
    position: Any
    velocity: Any
    force: Any
    dt: Any
    mixing: Any
    uphill_free: Any


def fire2(
    energy_fn: Callable[..., Any],
    shift_fn: Callable[..., Any],
    dt_start: float = 0.1,
    dt_max: float = 0.2,
    delay: int = 5,
    grow: float = 1.1,
    shrink: float = 0.5,
    mixing_start: float = 0.1,
    mixing_shrink: float = 0.99,
) -> tuple[Callable[..., _Fire2State], Callable[..., _Fire2State]]:
    """FIRE 2 (Guenole et al. 2020): semi-implicit Euler, half a step back when going uphill.

    Args:
        energy_fn: energy of positions (N, d), given keyword arguments [energy].
        shift_fn: moves positions within the box.
        dt_start, dt_max: first and largest time step [time].
        delay: steps downhill before the time step may grow.
        grow, shrink: factors of the time step.
        mixing_start, mixing_shrink: how much of the force's direction the velocity takes, and
            the factor by which that falls.

    Returns:
        ``init(positions, **kwargs)`` and ``apply(state, **kwargs)``, as jax-md's minimisers.
    """
    force_fn = jax_md.quantity.force(energy_fn)

    def init(positions: Any, **kwargs: Any) -> _Fire2State:
        force = force_fn(positions, **kwargs)
        return _Fire2State(
            positions,
            jnp.zeros_like(positions),
            force,
            jnp.asarray(dt_start, positions.dtype),
            jnp.asarray(mixing_start, positions.dtype),
            jnp.zeros((), jnp.int32),
        )

    def apply(state: _Fire2State, **kwargs: Any) -> _Fire2State:
        x, v, f, dt, mixing, count = state
        downhill = jnp.vdot(f, v) > 0
        count = jnp.where(downhill, count + 1, 0)
        settled = count > delay
        step = jnp.where(settled, jnp.minimum(dt * grow, dt_max), dt)
        less = jnp.where(settled, mixing * mixing_shrink, mixing)
        moving = jnp.any(v != 0)
        new_dt = jnp.where(downhill, step, jnp.where(moving, dt * shrink, dt))
        mixing = jnp.where(downhill, less, mixing_start)
        back = jnp.where(downhill, 0.0, -0.5 * new_dt) * v
        v = jnp.where(downhill, v, 0.0) + new_dt * f
        force_norm2 = jnp.vdot(f, f)
        ratio = jnp.sqrt(jnp.vdot(v, v) / jnp.where(force_norm2 > 0, force_norm2, 1.0))
        v = (1.0 - mixing) * v + mixing * ratio * f
        x = shift_fn(x, back + new_dt * v)
        return _Fire2State(x, v, force_fn(x, **kwargs), new_dt, mixing, count)

    return init, apply


@dataclass(frozen=True)
class GradientResult:
    """A quench, the Poisson's ratio of what it led to, and the ratio's gradient.

    Attributes:
        value: Poisson's ratio.
        diameters: its derivatives, shape (T,) [1 / length].
        binding: its derivatives over ``numpy.triu_indices(T)`` [1 / energy].
        positions: the packing, shape (N, d) [length].
        max_force: the longest force vector [energy / length].
        steps: minimiser steps.
        converged: whether the minimisation and the solve for the moduli converged (the
            solve for the gradient does not tell).
        seconds: the whole, compilation apart.
    """

    value: float
    diameters: NDArray[np.float64]
    binding: NDArray[np.float64]
    positions: NDArray[np.float64]
    max_force: float
    steps: int
    converged: bool
    seconds: float


class JaxMdJaxoptGradient:
    """Value and gradient of the Poisson's ratio through a quench, compiled once.

    Args:
        diameters: one a type, shape (T,); the parameters at hand [length].
        binding: over ``numpy.triu_indices(T)``, or one number [energy].
        stiffness: likewise [energy / length^2].
        alpha: Morse width [1 / length].
        typeid: shape (N,).
        length: edge of the square or cubic box [length].
        tolerance: longest force vector at convergence [energy / length].
        max_steps: steps after which a quench ends unconverged.
        dt_start, dt_max: FIRE's first and largest time step [time].
        dr_threshold: neighbour list's margin [length].
        capacity: room in the neighbour list over what the first start needs.
        cells: build neighbour lists by cells; comparing all pairs is faster for some hundreds.
        minimizer: ``jax_md.minimize.fire_descent``, which it is by default and which is the
            faster, or ``fire2``, the published programs' kind.
        feature: the feature; ``nu`` or another of ``jax_md.elasticity``'s isotropic moduli
            (``B``, ``G``, ``E``), or ``pressure``.
    """

    def __init__(
        self,
        diameters: Sequence[float],
        binding: ArrayLike,
        stiffness: ArrayLike,
        alpha: float,
        typeid: NDArray[np.integer[Any]],
        length: float,
        *,
        tolerance: float = 1e-12,
        max_steps: int = 100_000,
        dt_start: float = 0.1,
        dt_max: float = 0.25,
        dr_threshold: float = 0.5,
        capacity: float = 1.25,
        cells: bool = False,
        minimizer: Callable[..., Any] | None = None,
        feature: str = "nu",
    ) -> None:
        with warnings.catch_warnings():  # jaxopt says at import that it is no longer developed
            warnings.simplefilter("ignore", DeprecationWarning)
            implicit: Any = require("jaxopt.implicit_diff", "jaxopt")
        n_types = len(diameters)
        self._types = n_types
        self.parameters = {
            "diameters": jnp.asarray(diameters, jnp.float64),
            "binding": jnp.broadcast_to(
                jnp.asarray(binding, jnp.float64), (n_types * (n_types + 1) // 2,)
            ),
        }
        self.tolerance, self.max_steps, self.length = tolerance, max_steps, float(length)
        self._feature = feature
        self._minimizer = minimizer or jax_md.minimize.fire_descent
        self._dt_start, self._dt_max, self._alpha = dt_start, dt_max, alpha
        self._stiffness = pair_matrix(jnp.asarray(stiffness, jnp.float64), n_types)
        self._species = jnp.asarray(typeid, jnp.int32)
        self._displacement, self._shift = jax_md.space.periodic(self.length)
        self._custom_root = implicit.custom_root
        self._lists = jax_md.partition.neighbor_list(
            self._displacement,
            self.length,
            r_cutoff=max(diameters) + 9.9 / alpha,
            dr_threshold=dr_threshold,
            capacity_multiplier=capacity,
            disable_cell_list=not cells,
            format=jax_md.partition.OrderedSparse,
        )
        self._run: Callable[..., Any] | None = None
        self._extra = 0
        self.grown = 0
        self.compile_seconds = 0.0

    def _energy(self, parameters: dict[str, Any]) -> Callable[..., Any]:
        d = parameters["diameters"]
        return jax_md.smap.pair_neighbor_list(  # type: ignore[no-any-return]
            harmonic_morse,
            jax_md.space.canonicalize_displacement_or_metric(self._displacement),
            species=self._species,
            sigma=0.5 * (d[:, None] + d[None, :]),
            binding=pair_matrix(parameters["binding"], self._types),
            stiffness=self._stiffness,
            alpha=self._alpha,
        )

    def _build(self, neighbors: Any) -> Callable[..., Any]:
        """Compile the whole for neighbour lists of the size of ``neighbors``."""
        tolerance, max_steps = self.tolerance, self.max_steps

        def longest(force: Any) -> Any:
            return jnp.sqrt(jnp.max(jnp.sum(force * force, axis=-1)))

        def minimum(start: Any, parameters: Any) -> Any:
            init, apply = self._minimizer(
                self._energy(parameters), self._shift, dt_start=self._dt_start, dt_max=self._dt_max
            )

            def going_on(carry: Any) -> Any:
                state, lists, step = carry
                unfinished = longest(state.force) >= tolerance
                ok = jnp.logical_not(lists.did_buffer_overflow)
                return unfinished & (step < max_steps) & ok

            def advance(carry: Any) -> Any:
                state, lists, step = carry
                lists = lists.update(state.position)
                return apply(state, neighbor=lists), lists, step + 1

            lists = neighbors.update(start)
            first = (init(start, neighbor=lists), lists, 0)
            state, lists, step = jax.lax.while_loop(going_on, advance, first)
            return state.position, (longest(state.force), step, lists.did_buffer_overflow)

        def residual(positions: Any, parameters: Any) -> Any:
            lists = neighbors.update(positions)
            return jax_md.quantity.force(self._energy(parameters))(positions, neighbor=lists)

        solver = self._custom_root(residual, has_aux=True)(minimum)

        def feature(parameters: Any, start: Any) -> Any:
            positions, (force, step, overflow) = solver(start, parameters)
            lists = neighbors.update(positions)
            energy = self._energy(parameters)
            solved = jnp.asarray(True)
            if self._feature == "pressure":
                value = jax_md.quantity.pressure(energy, positions, self.length, neighbor=lists)
            else:
                moduli = jax_md.elasticity.athermal_moduli(energy, check_convergence=True)
                tensor, solved = moduli(positions, self.length, neighbor=lists)
                value = jax_md.elasticity.extract_isotropic_moduli(tensor)[self._feature]
            overflow = jnp.logical_or(overflow, lists.did_buffer_overflow)
            return value, (positions, force, step, overflow, solved)

        return jax.jit(jax.value_and_grad(feature, has_aux=True))  # type: ignore[no-any-return]

    def _prepare(self, start: Any) -> Callable[..., Any]:
        began = time.perf_counter()
        neighbors = self._lists.allocate(start, extra_capacity=self._extra)
        self._run = run = self._build(neighbors)
        jax.block_until_ready(run(self.parameters, start))
        self.compile_seconds += time.perf_counter() - began
        return run

    def __call__(self, positions: NDArray[np.float64]) -> GradientResult:
        """Minimise from ``positions``, shape (N, d), measure, differentiate."""
        start = jnp.asarray(np.mod(positions, self.length), jnp.float64)
        run = self._run or self._prepare(start)
        for _ in range(20):
            began = time.perf_counter()
            (value, rest), gradient = jax.block_until_ready(run(self.parameters, start))
            seconds = time.perf_counter() - began
            final, force, steps, overflow, solved = rest
            if not bool(overflow):
                break
            self.grown += 1
            self._extra += 4
            run = self._prepare(start)
        else:
            raise NeighborOverflow(
                f"neighbour lists still overflowed with room for {self._extra} more neighbours "
                "a particle; check that the positions are finite and the density is meant"
            )
        return GradientResult(
            value=float(value),
            diameters=np.asarray(gradient["diameters"]),
            binding=np.asarray(gradient["binding"]),
            positions=np.asarray(final),
            max_force=float(force),
            steps=int(steps),
            converged=bool(force < self.tolerance) and bool(solved),
            seconds=seconds,
        )
