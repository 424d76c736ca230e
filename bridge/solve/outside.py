"""Inverses of a Hessian by factorisations outside of JAX, called from inside of it."""

import hashlib
import threading
from collections import OrderedDict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..matter.mechanics import State
from .blocks import pair_stiffness
from .differentiable import Operands
from .factors import factorise
from .inertia import NotPositiveError
from .interface import Factor

__all__ = ["ByLibrary", "Factorised"]

MOST_KEPT = 8  # factors of a search and its derivatives, of a few packings


class Factorised:
    """An `Inverse` by a factorisation that is there already, whatever the operands."""

    constant = True

    def __init__(self, factor: Factor) -> None:
        self._factor = factor

    def outside(self, operands: Operands, load: NDArray[Any]) -> NDArray[np.float64]:
        """The solution of loads (N, d, k)."""
        return self._factor.solve(load)


class ByLibrary:
    """An `Inverse` that factorises the matrices it meets, by any of `SOLVERS`.

    JAX evaluates the stiffness of the pairs, NumPy and the library do the rest in a call back. The
    last few factors are kept with this object, so that solutions with one matrix need one
    factorisation; what is computed does not depend on that. Where a matrix is not positive definite
    solutions are NaN. Two of one solver are equal: JAX compiles a program once for both.
    """

    constant = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByLibrary) and other._solver == self._solver

    def __hash__(self) -> int:
        return hash((ByLibrary, self._solver))

    def __init__(self, solver: str) -> None:
        self._solver = solver
        self._kept: OrderedDict[bytes, Factor | None] = OrderedDict()
        self._lock = threading.Lock()

    def prepare(self, theta: Any, state: State, rigid: Any) -> tuple[list[Array], Array]:
        """The stiffness of the pairs, and whether the Hessian is positive definite."""
        operands = Operands(theta, state, rigid, pair_stiffness(theta, state))
        positive = jax.pure_callback(
            self._proven,
            jax.ShapeDtypeStruct((), jnp.bool_),
            operands,
            vmap_method="sequential",
        )
        return operands.lower, positive

    def __call__(self, operands: Operands, load: Array) -> Array:
        """The solution of loads (N, d, k) that hold no zero modes."""
        found: Array = jax.pure_callback(
            self.outside,
            jax.ShapeDtypeStruct(load.shape, load.dtype),
            operands,
            load,
            vmap_method="sequential",
        )
        return found

    def outside(self, operands: Operands, load: Any) -> NDArray[np.float64]:
        """The same of concrete operands."""
        factor = self._factor(operands)
        loads = np.asarray(load)
        return np.full(loads.shape, np.nan) if factor is None else factor.solve(loads)

    def _proven(self, operands: Operands) -> NDArray[np.bool_]:
        factor = self._factor(operands)
        try:
            if factor is not None:
                factor.prove()
        except NotPositiveError:
            factor = None
        return np.asarray(factor is not None)

    def _factor(self, operands: Operands) -> Factor | None:
        """The factor of a matrix; None where it is not positive definite."""
        given = jax.tree_util.tree_map(np.asarray, operands)
        stiffness, state = given.lower, given.state
        parts = [*stiffness, state.still, state.positions, state.pairs.i, state.pairs.j]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(np.ascontiguousarray(part).tobytes())
        key = digest.digest()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._made(given.theta, state, stiffness)
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]

    def _made(self, theta: Any, state: State, stiffness: Any) -> Factor | None:
        if not all(np.isfinite(s).all() for s in stiffness) or np.all(state.still):
            return None
        try:
            return factorise(theta, state, self._solver, stiffness=stiffness)
        except NotPositiveError:
            return None
