"""The factorisation of a packing's Hessian: dense, sparse, or by iteration, as its size demands.

Rigid motions and rattlers, the zero modes that belong to every packing, are taken out exactly. A
stiffness is given to rattlers' own coordinates and to the rigid motions (in the dense form) or to
as many coordinates of a few particles as there are rigid motions (in the others): no load that is
free of rigid motions couples to either.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from jax import Array
from numpy.typing import NDArray

from amorph.handover.arguments import check_choice

from ..errors import ConvergenceError
from ..matter.mechanics import Interactions, State, hessian_of, interactions, listed
from .blas import one_blas_thread
from .krylov import WEAK, Krylov
from .rigid import rigid_modes
from .sparse import BACKENDS, NotPositiveError, Pattern, SparseHessian, direct

__all__ = [
    "SMALLEST_PIVOT",
    "SOLVERS",
    "Factor",
    "factorise",
    "held_hessian",
    "lowest_mode",
]

# Up to this many degrees of freedom dense algebra is as fast (measured on two cores: a relaxation
# by PARDISO takes 0.9 and 0.3 times as long at N = 368 and 1,000 in the plane, 1.1 and 0.9 times in
# space).
DENSE = {2: 1000, 3: 2400}
# A direct factorisation larger than this, in bytes, gives way to iterations: in the plane for its
# memory, in space because they are faster from there on (measured: relaxation and gradient take 0.8
# times as long at N = 1,000 and 0.5 at 3,000 with 156 neighbours, 0.9 at 8,000 with 12).
DIRECT_BYTES = {2: 6 * 2**30, 3: 3 * 2**26}
# A pivot or an eigenvalue this small beside the mean diagonal is a zero mode that should not be
# there: no number computed through it would be good to more than a few digits.
SMALLEST_PIVOT = 1e-12
ROUGH = 1e-4  # of the residual beside the load, in a step of a minimisation

SOLVERS = ("auto", "dense", "direct", *BACKENDS, "krylov")
"""How the Hessian can be dealt with; ``direct`` is the first of the libraries installed."""


def held_hessian(
    theta: Any, state: State, rigid: Any, stiffness: Array | None = None
) -> tuple[Array, Array]:
    """H made positive definite at a minimum, and the stiffness given to its zero modes.

    Rattlers' rows and columns hold that stiffness on the diagonal and nothing else; the rigid
    motions of the others carry it too. By default it is H's mean diagonal element.
    """
    n, d = state.positions.shape
    free = jnp.repeat(state.still, d)
    matrix = jnp.where(free[:, None] | free[None, :], 0.0, hessian_of(theta, state))
    if stiffness is None:
        stiffness = jnp.trace(matrix) / jnp.maximum(n * d - jnp.sum(free), 1)
    matrix = matrix + stiffness * (rigid @ rigid.T)
    return matrix + jnp.diag(jnp.where(free, stiffness, 0.0)), stiffness


_held = jax.jit(held_hessian)


class Factor(ABC):
    """A factorised Hessian, its zero modes held.

    Attributes
    ----------
    stiffness:
        H's mean diagonal element.
    method:
        How it was done: dense, a library's name, or krylov.
    rigid:
        Orthonormal rigid motions, (N d, d or more).
    gain:
        By how much a further step with this factor must lower the forces to be worth its time:
        less than a new factorisation would, where solving is cheap beside factorising.
    """

    stiffness: float
    method: str
    gain = 4.0

    def __init__(self, state: State, rigid: NDArray[np.float64]) -> None:
        self._shape = tuple(state.positions.shape)
        self._free = np.repeat(np.asarray(state.still), self._shape[1])
        self.rigid = rigid

    def is_of(self, state: State) -> bool:
        """Whether the same particles are still in a state: its factor may serve there too."""
        return np.array_equal(self._free[:: self._shape[1]], np.asarray(state.still))

    def project(self, loads: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take rigid motions and rattlers out of (N d, k)."""
        out = loads - self.rigid @ (self.rigid.T @ loads)
        if self._free.any():
            out[self._free] = 0.0
        return out

    def solve(self, load: Any, *, rough: bool = False) -> NDArray[np.float64]:
        """H⁻¹ load for loads (N, d, k); what they have along zero modes is left out.

        ``rough`` is enough for a step of a minimisation: iterations then end sooner.
        """
        loads = np.asarray(load)
        flat = loads.reshape(self._shape[0] * self._shape[1], -1)
        return self.project(self._solve(self.project(flat), rough)).reshape(loads.shape)

    def compliance(self, loads: NDArray[np.float64]) -> NDArray[np.float64]:
        """l·H⁻¹l of loads (N, d, k) without zero modes, (k,); as good as a rough solution."""
        out: NDArray[np.float64] = np.einsum("ndk,ndk->k", loads, self.solve(loads, rough=True))
        return out

    @abstractmethod
    def _solve(self, loads: NDArray[np.float64], rough: bool) -> NDArray[np.float64]:
        """The solution (N d, k) of loads without zero modes."""

    def singular(self) -> bool:
        """Whether the factorisation itself shows a zero mode that should not be there."""
        return False

    @property
    @abstractmethod
    def n_bytes(self) -> int:
        """Its size."""

    @abstractmethod
    def smallest(self) -> float:
        """An estimate, from above, of the smallest eigenvalue beside `stiffness`."""


class Dense(Factor):
    """By LAPACK's Cholesky factorisation, on one thread."""

    method = "dense"

    @one_blas_thread
    def __init__(
        self, theta: Any, state: State, rigid: NDArray[np.float64], raised: float = 0.0
    ) -> None:
        super().__init__(state, rigid)
        matrix, stiffness = _held(theta, state, rigid)
        self.stiffness = float(stiffness)
        held = np.array(matrix).T  # symmetric: this is LAPACK's order of it
        if raised:
            held[np.diag_indices(len(held))] += raised * self.stiffness
        self.lower, info = scipy.linalg.lapack.dpotrf(held, lower=1, clean=0, overwrite_a=1)
        if info != 0:
            raise NotPositiveError

    @one_blas_thread
    def _solve(self, loads: NDArray[np.float64], rough: bool) -> NDArray[np.float64]:
        found, _ = scipy.linalg.lapack.dpotrs(self.lower, loads, lower=1)
        return np.asarray(found)

    @one_blas_thread
    def compliance(self, loads: NDArray[np.float64]) -> NDArray[np.float64]:  # half of a solution
        flat = np.asfortranarray(loads.reshape(len(self.lower), -1))
        half, _ = scipy.linalg.lapack.dtrtrs(self.lower, flat, lower=1, overwrite_b=1)
        out: NDArray[np.float64] = np.einsum("nk,nk->k", half, half)
        return out

    @property
    def n_bytes(self) -> int:
        return int(self.lower.nbytes)

    def smallest(self) -> float:
        return float(np.min(np.diagonal(self.lower))) ** 2 / self.stiffness

    def singular(self) -> bool:
        return not self.smallest() > SMALLEST_PIVOT


@jax.jit
def _blocks(theta: Any, state: State) -> list[tuple[Array, ...]]:
    """Pairs of each kind and their stiffness matrices, zero where a rattler takes part."""

    def of(part: Interactions) -> tuple[Array, ...]:
        free = state.rattlers[part.i] | state.rattlers[part.j]
        return part.i, part.j, jnp.where(free[:, None, None], 0.0, part.stiffness_matrices())

    return [of(part) for part in interactions(theta, state)]


@dataclass(frozen=True, eq=False)
class Assembled:
    """The pairs of a sparse Hessian and their stiffness matrices, and what its diagonal gets.

    Attributes
    ----------
    stiffness:
        H's mean diagonal element.
    i, j, blocks:
        The pairs with a stiffness, (M,), and their matrices (M, d, d).
    free:
        For each particle (N, d, d): a stiffness for rattlers, and by what the others are raised.
    grounds:
        Particles, and the axes along which they are held against rigid motions.
    """

    stiffness: float
    i: NDArray[np.int32]
    j: NDArray[np.int32]
    blocks: NDArray[np.float64]
    free: NDArray[np.float64]
    grounds: list[tuple[int, NDArray[np.float64]]]

    def _matrix(self, kept: Any, diagonal: NDArray[np.float64]) -> SparseHessian:
        pattern = Pattern.of(len(self.free), self.i[kept], self.j[kept])
        return SparseHessian.of(pattern, self.blocks[kept], diagonal)

    def grounded(self) -> SparseHessian:
        """H with its rigid motions held by a few coordinates."""
        diagonal = self.free.copy()
        for particle, axes in self.grounds:
            diagonal[particle] += self.stiffness * axes
        return self._matrix(slice(None), diagonal)

    def ungrounded(self) -> SparseHessian:
        """H with its rigid motions free."""
        return self._matrix(slice(None), self.free)

    def strong(self) -> SparseHessian:
        """The same without the pairs whose stiffness is small."""
        size = np.sqrt(np.max(np.sum(self.blocks**2, axis=2), axis=1))
        return self._matrix(size > WEAK * self.stiffness, self.free)


def assembled(theta: Any, state: State, raised: float = 0.0) -> Assembled:
    """The sparse Hessian of a state, in parts.

    Every diagonal element is ``raised`` by this part of their mean.
    """
    d = state.positions.shape[1]
    i, j, blocks = listed(theta, state, _blocks(theta, state))
    kept = np.flatnonzero(np.any(blocks, axis=(1, 2)))  # none beyond its cutoff, no rattlers
    if len(kept) < len(i):
        i, j, blocks = i[kept], j[kept], blocks[kept]
    rattlers = np.asarray(state.rattlers)
    n_held = int(np.sum(~rattlers))
    stiffness = 2 * float(np.einsum("mii->", blocks)) / max(n_held * d, 1)
    free = stiffness * np.where(rattlers, 1.0, raised)[:, None, None] * np.eye(d)
    grounds = _grounds(np.asarray(state.positions), rattlers, state.box is None)
    return Assembled(stiffness, i, j, blocks, free, grounds)


def _grounds(
    x: NDArray[np.float64], rattlers: NDArray[np.bool_], cluster: bool
) -> list[tuple[int, NDArray[np.float64]]]:
    """Particles with projections on what is held of them: as many axes as rigid motions."""
    d = x.shape[1]
    held = np.flatnonzero(~rattlers)
    first = int(held[0])
    out = [(first, np.eye(d))]
    if cluster:
        # One far away keeps its distance and one off that line its side: they hold the rotations.
        away = x[held] - x[first]
        second = int(held[np.argmax(np.sum(away**2, axis=1))])
        line = (x[second] - x[first]) / np.linalg.norm(x[second] - x[first])
        out.append((second, np.eye(d) - np.outer(line, line)))
        if d == 3:
            aside = np.cross(away, line)
            third = int(np.argmax(np.sum(aside**2, axis=1)))
            normal = aside[third] / np.linalg.norm(aside[third])
            out.append((int(held[third]), np.outer(normal, normal)))
    return out


class Sparse(Factor):
    """By a library's sparse Cholesky factorisation."""

    def __init__(
        self, whole: Assembled, state: State, rigid: NDArray[np.float64], backend: str | None
    ) -> None:
        super().__init__(state, rigid)
        self.stiffness = whole.stiffness
        self._direct = direct(whole.grounded(), backend)
        self.method = self._direct.name

    def _solve(self, loads: NDArray[np.float64], rough: bool) -> NDArray[np.float64]:
        return self._direct.solve(loads)

    @property
    def n_bytes(self) -> int:
        return self._direct.n_bytes

    def smallest(self) -> float:
        return smallest_by_iteration(self)


class Iterative(Factor):
    """By preconditioned conjugate gradients."""

    method = "krylov"
    gain = 30.0  # a solution costs as much as the preconditioner

    def __init__(self, whole: Assembled, state: State, rigid: NDArray[np.float64]) -> None:
        super().__init__(state, rigid)
        self.stiffness = whole.stiffness
        # Held by a few coordinates, a matrix is far worse conditioned than without its rigid
        # motions, which the iteration leaves out by itself.
        self._krylov = Krylov(whole.ungrounded(), whole.strong(), whole.stiffness, self.project)

    def _solve(self, loads: NDArray[np.float64], rough: bool) -> NDArray[np.float64]:
        return self._krylov.solve(loads, *((ROUGH,) if rough else ()))

    @property
    def n_bytes(self) -> int:
        return self._krylov.n_bytes

    @property
    def steps(self) -> int:
        """How many iterations the last solution took."""
        return self._krylov.steps

    def smallest(self) -> float:
        # That a random load was solved with nothing but positive curvature on the way shows that
        # there is no negative mode: conjugate gradients meet every mode the load contains.
        return smallest_by_iteration(self, steps=1)


def smallest_by_iteration(factor: Factor, steps: int = 3) -> float:
    """The smallest eigenvalue beside the stiffness by inverse iteration, from above.

    A few steps do not converge to it, but find its size where it stands out below the others, as
    that of a mode that should not be there does.
    """
    n, d = factor._shape
    vector = factor.project(np.random.default_rng(0).standard_normal((n * d, 1)))
    estimate = np.inf
    for _ in range(steps):
        vector /= np.linalg.norm(vector)
        found = factor.solve(vector.reshape(n, d, 1)).reshape(n * d, 1)
        estimate = min(estimate, 1.0 / float(np.vdot(vector, found)))
        vector = found
    return estimate / factor.stiffness


def factorise(theta: Any, state: State, solver: str = "auto", raised: float = 0.0) -> Factor:
    """Factorise the Hessian of a state, its rattlers known.

    ``auto`` takes the dense form for small packings, a library's sparse factorisation for large
    ones, and iterations where that would take more than 6 GiB (in space 0.2 GiB). Every diagonal
    element is ``raised`` by this part of their mean.

    Raises `NotPositiveError` where the Hessian has a negative mode (or one that is zero to
    round-off), `InputError` for a solver that is unknown or not installed.
    """
    check_choice("solver", solver, SOLVERS)
    rigid = rigid_modes(state)
    n, d = state.positions.shape
    if solver == "auto":
        solver = "direct"
        if n * d <= DENSE[d]:
            solver = "dense"
        elif direct_bytes(n, d, _blocks_of(theta, state)) > DIRECT_BYTES[d]:
            solver = "krylov"
    if solver == "dense":
        return Dense(theta, state, rigid, raised)
    whole = assembled(theta, state, raised)
    if solver == "krylov":
        return Iterative(whole, state, rigid)
    return Sparse(whole, state, rigid, None if solver == "direct" else solver)


def _blocks_of(theta: Any, state: State) -> int:
    """How many pairs can have a stiffness."""
    bonds = 0 if state.bonds is None else int(state.bonds.count)
    return bonds + (0 if theta.near is None else int(state.pairs.count))


def direct_bytes(n: int, d: int, pairs: int) -> float:
    """About how large a sparse factor becomes (nested dissection; fitted to PARDISO's)."""
    blocks = n + pairs
    growth = 1.1 * np.log2(max(n, 2)) if d == 2 else 0.09 * n ** (2 / 3)
    return 8.0 * d * d * blocks * float(growth)


def lowest_mode(theta: Any, state: State) -> tuple[float, NDArray[np.float64], float]:
    """The lowest eigenvalue of H, its mode (N, d), and H's mean diagonal element.

    Rigid motions and rattlers, known in the state, do not count.
    """
    n, d = state.positions.shape
    rigid = rigid_modes(state)
    if n * d <= DENSE[d]:
        matrix, stiffness = _held(theta, state, rigid)
        values, modes = np.linalg.eigh(np.asarray(matrix))
        return float(values[0]), modes[:, 0].reshape(n, d), float(stiffness)
    whole = assembled(theta, state)
    free, scale = whole.ungrounded(), whole.stiffness
    shift = 1e-9
    while True:
        # Raised until it can be factorised: inverse iterations then find the lowest modes.
        try:
            raised = direct(free.raised(shift * scale))
            break
        except NotPositiveError:
            shift *= 10

    def inverse(v: NDArray[np.float64]) -> NDArray[np.float64]:
        loads = v.reshape(-1, 1)
        loads = loads - rigid @ (rigid.T @ loads)
        found = raised.solve(loads)
        return (found - rigid @ (rigid.T @ found))[:, 0]

    try:
        values, modes = scipy.sparse.linalg.eigsh(
            scipy.sparse.linalg.LinearOperator((n * d, n * d), inverse, dtype=np.float64),
            k=1,
            which="LA",
            v0=np.random.default_rng(0).standard_normal(n * d),
        )
    except scipy.sparse.linalg.ArpackNoConvergence as error:
        raise ConvergenceError(f"the lowest mode was not found: {error}.") from error
    lowest = 1.0 / float(values[0]) - shift * scale
    return lowest, modes[:, 0].reshape(n, d), scale
