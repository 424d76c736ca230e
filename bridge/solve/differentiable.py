"""The solution of H x = b as a JAX primitive, differentiable to any order.

x follows both b and H: x' = H⁻¹(b' - H' x), with the same H⁻¹ for every derivative, and in reverse
mode by the symmetry of H. What applies H⁻¹ may be a factorisation outside of JAX: the primitive
calls it with all right-hand sides of a batch at once.

An *inverse* here is an object that gives the solution of loads (N, d, k) without zero modes:
``inverse(operands, load)`` traceable by JAX, as `dense.Dense`; or, from outside of JAX, by
``inverse.outside(operands, load)`` in NumPy, any number of columns at once, as those of
`outside.py`, where ``inverse.constant`` says whether it is that of one matrix, known beforehand.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from ..matter.mechanics import State, interactions
from ..matter.strains import strain_forces

__all__ = [
    "Operands",
    "hessian_times",
    "left_over",
    "project",
    "solve",
    "through_response",
]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Operands:
    """All that H is made of, and what an `Inverse` in JAX needs beside it.

    Attributes
    ----------
    theta, state:
        The interactions and the packing.
    rigid:
        Orthonormal rigid motions of the particles that are not still, (N d, n_rigid): the zero
        modes that are left out of the solution. Constant: no derivative is taken of them.
    lower:
        What the inverse keeps, such as a triangular factor; None without.
    """

    theta: Any
    state: State
    rigid: Any
    lower: Any = None


def project(operands: Operands, vectors: Any) -> Any:
    """Take zero modes out of vectors (N, d, k): rigid motions, and those who are still."""
    rigid, still = operands.rigid, operands.state.still
    flat = vectors.reshape(rigid.shape[0], -1)
    kept = (flat - rigid @ (rigid.T @ flat)).reshape(vectors.shape)
    xp = np if isinstance(kept, np.ndarray) else jnp
    return xp.where(still[:, None, None], 0.0, kept)


def hessian_times(theta: Any, state: State, vectors: Array) -> Array:
    """H v of displacements (N, d, k)."""
    out = jnp.zeros_like(vectors)
    for part in interactions(theta, state):
        apart = vectors[part.j] - vectors[part.i]
        push = jnp.einsum("mab,mbk->mak", part.stiffness_matrices(), apart)
        out = out.at[part.j].add(push).at[part.i].add(-push)
    return out


def left_over(theta: Any, state: State) -> Array:
    """Ξ - H W of a state's W, (N, d, n_strains): 0 at a minimum, and W follows by its changes."""
    return strain_forces(theta, state) - hessian_times(theta, state, state.nonaffine)


def _operator(operands: Operands, vectors: Array) -> Array:
    """H between vectors without zero modes, which it gives back as they are."""
    kept = project(operands, vectors)
    pushed = hessian_times(operands.theta, operands.state, kept)
    return project(operands, pushed) + vectors - kept


@partial(jax.jit, static_argnums=(0, 1))
def _operator_change(
    tree: Any, places: tuple[int, ...], leaves: Any, changes: Any, vectors: Array
) -> Array:
    """The derivative of `_operator` along changes of some leaves of the operands."""

    def at(some: Any) -> Array:
        whole = list(leaves)
        for place, leaf in zip(places, some, strict=True):
            whole[place] = leaf
        return _operator(jax.tree_util.tree_unflatten(tree, whole), vectors)

    return jax.jvp(at, ([leaves[k] for k in places],), (changes,))[1]


def through_response(
    inverse: Any, operands: Operands, theta: Any, load: Array
) -> tuple[Any, Array]:
    """The gain of a function f by W's own motion, with ``load`` = ∂f/∂W (N, d, a).

    W follows theta and the positions by H W = Ξ. With μ = H⁻¹ ∂f/∂W it is the derivative of
    μ·(Ξ - H W), at fixed μ and W, by theta and by positions (N, d): what f has directly is to be
    added before its adjoint is solved for. theta may have each pair's own parameters.
    """
    state = operands.state
    mu = solve(inverse, operands, load)

    def of(theta: Any, x: Array) -> Array:
        return jnp.vdot(mu, left_over(theta, replace(state, positions=x)))

    found: tuple[Any, Array] = jax.grad(of, argnums=(0, 1))(theta, state.positions)
    return found


def solve(inverse: Any, operands: Operands, load: Array) -> Array:
    """H⁻¹ b of loads (N, d, k), without zero modes; see this module."""
    leaves, tree = jax.tree_util.tree_flatten(operands)
    return _solve_p.bind(*leaves, project(operands, load), inverse=inverse, tree=tree, levels=())


_solve_p = Primitive("hessian_solve")


def _mapped(function: Callable[..., Any], levels: tuple[tuple[int | None, ...], ...]) -> Any:
    """A function of leaves and a load for batches of them, one level of batching after another."""
    for axes in levels:
        function = jax.vmap(function, in_axes=axes)
    return function


def _traced(*args: Any, inverse: Any, tree: Any, levels: Any) -> Array:
    def one(*given: Any) -> Array:
        operands = jax.tree_util.tree_unflatten(tree, given[:-1])
        return project(operands, inverse(operands, project(operands, given[-1])))

    return _mapped(one, levels)(*args)


_compiled = jax.jit(_traced, static_argnames=("inverse", "tree", "levels"))


def _impl(*args: Any, inverse: Any, tree: Any, levels: Any) -> Array:
    if not hasattr(inverse, "outside"):
        return _compiled(*args, inverse=inverse, tree=tree, levels=levels)
    return jnp.asarray(_outside(inverse, tree, levels, *map(np.asarray, args)))


def _outside(inverse: Any, tree: Any, levels: Any, *args: np.ndarray) -> np.ndarray:
    """The solutions by an inverse outside of JAX, all loads of one matrix at once."""
    if not levels:
        operands = jax.tree_util.tree_unflatten(tree, args[:-1])
        return np.asarray(
            project(operands, inverse.outside(operands, project(operands, np.asarray(args[-1]))))
        )
    *inner, axes = levels
    load = args[-1]
    if inverse.constant or all(axis is None for axis in axes[:-1]):
        # One matrix: the batch becomes columns.
        own = [a if axis is None else a[0] for a, axis in zip(args[:-1], axes, strict=False)]
        moved = np.moveaxis(load, 0, -2)
        out = _outside(inverse, tree, tuple(inner), *own, moved.reshape(*moved.shape[:-2], -1))
        return np.moveaxis(out.reshape(moved.shape), -2, 0)
    return np.stack(
        [
            _outside(
                inverse,
                tree,
                tuple(inner),
                *(a if axis is None else a[k] for a, axis in zip(args[:-1], axes, strict=False)),
                load[k],
            )
            for k in range(len(load))
        ]
    )


def _abstract(*args: Any, inverse: Any, tree: Any, levels: Any) -> ShapedArray:
    return ShapedArray(args[-1].shape, args[-1].dtype)


def _jvp(primals: Any, tangents: Any, *, inverse: Any, tree: Any, levels: Any) -> Any:
    *leaves, load = primals
    *changes, load_change = tangents
    out = _solve_p.bind(*leaves, load, inverse=inverse, tree=tree, levels=levels)
    right = ad.instantiate_zeros(load_change)
    places = tuple(k for k, c in enumerate(changes) if type(c) is not ad.Zero)
    if places:
        count = len(leaves)

        def one(*given: Any) -> Array:
            own, along, x = list(given[:count]), list(given[count:-1]), given[-1]
            return _operator_change(tree, places, own, along, x)

        doubled = tuple((*axes[:-1], *(axes[k] for k in places), 0) for axes in levels)
        right = right - _mapped(one, doubled)(*leaves, *(changes[k] for k in places), out)
    return out, _solve_p.bind(*leaves, right, inverse=inverse, tree=tree, levels=levels)


def _transpose(ct: Any, *args: Any, inverse: Any, tree: Any, levels: Any) -> Any:
    *leaves, load = args
    assert ad.is_undefined_primal(load)
    if type(ct) is ad.Zero:
        return [*[None] * len(leaves), ad.Zero(load.aval)]
    return [
        *[None] * len(leaves),
        _solve_p.bind(*leaves, ct, inverse=inverse, tree=tree, levels=levels),
    ]


def _batch(args: Any, dims: Any, *, inverse: Any, tree: Any, levels: Any) -> Any:
    size = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
    moved = [a if d is None else jnp.moveaxis(a, d, 0) for a, d in zip(args, dims, strict=True)]
    if dims[-1] is None:
        moved[-1] = jnp.broadcast_to(moved[-1], (size, *moved[-1].shape))
    axes = (*(None if d is None else 0 for d in dims[:-1]), 0)
    out = _solve_p.bind(*moved, inverse=inverse, tree=tree, levels=(*levels, axes))
    return out, 0


def _lowered(*args: Any, inverse: Any, tree: Any, levels: Any) -> Array:
    if not hasattr(inverse, "outside"):
        return _traced(*args, inverse=inverse, tree=tree, levels=levels)
    return jax.pure_callback(
        partial(_outside, inverse, tree, levels),
        jax.ShapeDtypeStruct(args[-1].shape, args[-1].dtype),
        *args,
    )


_solve_p.def_impl(_impl)
_solve_p.def_abstract_eval(_abstract)
ad.primitive_jvps[_solve_p] = _jvp
ad.primitive_transposes[_solve_p] = _transpose
batching.primitive_batchers[_solve_p] = _batch
mlir.register_lowering(_solve_p, mlir.lower_fun(_lowered, multiple_results=False))
