"""The factorisation of a packing's Hessian: whole, as a band, sparse, or by iteration.

Which, is for its size and its pairs to say. All are used by one interface, `Factor`: factorise,
prove, solve, count the negative modes, update.
"""

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from numpy.typing import NDArray

from amorph.handover import InputError
from amorph.handover.arguments import check_choice

from ..errors import ConvergenceError
from ..matter.mechanics import State
from .blas import blas_on_one_thread, one_blas_thread
from .blocks import Assembled, assembled
from .held import held_hessian
from .inertia import SMALLEST_PIVOT, Inertia, NotPositiveError
from .interface import Factor, Updated, smallest_by_iteration
from .krylov import Krylov
from .lapack import Band, Dense, Lapack, band_order
from .sparse import BACKENDS, Direct, direct, installed

__all__ = [
    "DENSE",
    "SMALLEST_PIVOT",
    "SOLVERS",
    "Band",
    "Dense",
    "Factor",
    "Inertia",
    "Iterative",
    "Lapack",
    "NotPositiveError",
    "Sparse",
    "Updated",
    "factorise",
    "held_hessian",
    "lowest_mode",
]

# Up to this many degrees of freedom a packing is small: whatever is done to its whole matrix, its
# spectrum included, takes no longer than preparing it.
DENSE = {2: 1000, 3: 2400}
# A direct factorisation larger than this, in bytes, gives way to iterations: in the plane for its
# memory, in space because they are faster from there on (measured: relaxation and gradient take 0.8
# times as long at N = 1,000 and 0.5 at 3,000 with 156 neighbours, 0.9 at 8,000 with 12).
DIRECT_BYTES = {2: 6 * 2**30, 3: 3 * 2**26}
ROUGH = 1e-4  # of the residual beside the load, in a step of a minimisation
# LAPACK's operations a second; and what a library needs beside a factorisation's operations, in
# seconds: for each element of the matrix (its order, and the matrix in its own form), and at least.
LAPACK_RATE = 25e9
ANALYSIS = 1e-7
OVERHEAD = 1e-3

# So few degrees of freedom are dealt with as soon as an order is found.
TINY = 300

SOLVERS = ("auto", "dense", "band", "direct", *BACKENDS, "krylov")
"""How the Hessian can be dealt with; ``direct`` is the first of the libraries installed."""


class Sparse(Factor):
    """By a library's sparse factorisation."""

    def __init__(
        self,
        whole: Assembled,
        backend: str | None,
        *,
        definite: bool = True,
        like: Factor | None = None,
    ) -> None:
        super().__init__(whole, definite)
        known = like._direct if isinstance(like, Sparse) else None
        self._direct: Direct = direct(whole.grounded(), backend, definite=definite, like=known)
        self.method = self._direct.name

    def _solve(self, loads: NDArray[np.float64], rough: bool) -> NDArray[np.float64]:
        return self._direct.solve(loads)

    def inertia(self) -> Inertia:
        """By the library's pivots."""
        negative, zero = self._direct.inertia(SMALLEST_PIVOT * self.stiffness)
        return Inertia(negative, zero, exact=True)

    def _smallest_pivot(self) -> float | None:
        return self._direct.smallest_pivot()

    def again(self, whole: Assembled, definite: bool) -> "Sparse":
        """Another matrix of the same packing, by the same library."""
        return Sparse(whole, self.method, definite=definite)

    @property
    def n_bytes(self) -> int:
        """Its size; 0 where the library does not tell."""
        return self._direct.n_bytes


class Iterative(Factor):
    """By preconditioned conjugate gradients, or where it may be indefinite by MINRES."""

    method = "krylov"
    gain = 30.0  # a solution costs as much as the preconditioner

    def __init__(self, whole: Assembled, *, definite: bool = True) -> None:
        super().__init__(whole, definite)
        # Held by a few coordinates, a matrix is far worse conditioned than without its rigid
        # motions, which the iteration leaves out by itself.
        self._krylov = Krylov(
            whole.matrix, whole.strong(), whole.stiffness, self.project, definite=definite
        )

    def _solve(self, loads: NDArray[np.float64], rough: bool) -> NDArray[np.float64]:
        return self._krylov.solve(loads, *((ROUGH,) if rough else ()))

    def inertia(self) -> Inertia | None:
        """None negative, as an estimate: conjugate gradients that met one would have said so.

        They meet every mode that a load contains, a random one all of them.
        """
        return Inertia(0, 0, exact=False) if self.definite else None

    def smallest(self) -> float:
        """A random load's solution: it shows a mode that should not be there."""
        return smallest_by_iteration(self, steps=1)

    def again(self, whole: Assembled, definite: bool) -> "Iterative":
        """Another matrix of the same packing, by iteration."""
        return Iterative(whole, definite=definite)

    @property
    def n_bytes(self) -> int:
        """Its size; 0 where the library does not tell."""
        return self._krylov.n_bytes

    @property
    def steps(self) -> int:
        """How many iterations the last solution took."""
        return self._krylov.steps


def factorise(
    theta: Any,
    state: State,
    solver: str = "auto",
    raised: float = 0.0,
    *,
    definite: bool = True,
    like: Factor | None = None,
    stiffness: Any = None,
) -> Factor:
    """Factorise the Hessian of a state, its rattlers known.

    Parameters
    ----------
    solver:
        One of `SOLVERS`. ``auto`` takes whichever of ``dense``, ``band`` and ``direct`` has least
        to do for this matrix, and ``krylov`` where a direct factor would take more than 6 GiB (in
        space 0.2 GiB). Of an indefinite matrix there is no band.
    raised:
        Every diagonal element is raised by this part of their mean.
    definite:
        Raise unless the Hessian is positive definite. Otherwise it is factorised whatever it is,
        at a saddle too, and `Factor.inertia` tells.
    like:
        A factor of the same packing a little earlier. What a library found out about its pattern
        is used again where the pairs are the same; the result is the same with and without.
    stiffness:
        What `blocks.pair_stiffness` gives for this state, where it was evaluated with other
        things.

    Raises
    ------
    NotPositiveError
        Where what is to be definite has a negative mode, or one that is zero to round-off.
    InputError
        For a solver that is unknown, not installed, or cannot do what is asked.
    """
    check_choice("solver", solver, SOLVERS)
    before = like.base if isinstance(like, Updated) else like
    whole = assembled(
        theta, state, raised, like=None if before is None else before.pattern, stiffness=stiffness
    )
    order = None
    if solver == "auto":
        solver, order = _choice(whole, definite)
    if solver == "dense":
        return Dense(whole, definite=definite)
    if solver == "band":
        if not definite:
            raise InputError(
                "there is no band factorisation of an indefinite matrix: choose solver='dense' or "
                "solver='direct'."
            )
        return Band(whole, order)
    if solver == "krylov":
        return Iterative(whole, definite=definite)
    backend = None if solver == "direct" else solver
    return Sparse(whole, backend, definite=definite, like=before)


def _choice(whole: Assembled, definite: bool) -> tuple[str, tuple[NDArray[np.int64], int] | None]:
    """The method that has least to do, and a band's order where that is it."""
    matrix = whole.matrix
    n, d, size, pairs = matrix.pattern.n, matrix.dimension, matrix.size, len(matrix.pattern.i)
    if size <= TINY:
        return "dense", None
    n_bytes = direct_bytes(n, d, pairs)
    if n_bytes > DIRECT_BYTES[d]:
        return "krylov", None
    # Its elements beside those of the whole matrix's triangle.
    filled = min(0.7 * n_bytes / 8, 0.5 * size * size)
    library = BACKENDS[installed()[0]]
    sparse = OVERHEAD + ANALYSIS * d * d * (n + pairs) + 1.3 * filled**2 / size / library.rate
    order = band_order(whole) if definite else None
    width = size if order is None else order[1]
    banded = size * width**2  # operations, about
    least = min(banded, size**3 / 3)
    if least / LAPACK_RATE > sparse:
        return "direct", None
    return ("band", order) if banded == least else ("dense", None)


def direct_bytes(n: int, d: int, pairs: int) -> float:
    """About how large a sparse factor becomes (nested dissection; fitted to PARDISO's)."""
    blocks = n + pairs
    growth = 1.1 * np.log2(max(n, 2)) if d == 2 else 0.09 * n ** (2 / 3)
    return 8.0 * d * d * blocks * float(growth)


@one_blas_thread
def _lowest_densely(whole: Assembled) -> tuple[float, NDArray[np.float64]]:
    # The rigid motions are put above all else, so that they are not the lowest modes themselves.
    matrix = whole.matrix.full().toarray()
    top = float(np.max(np.sum(np.abs(matrix), axis=1)))
    matrix += top * (whole.rigid @ whole.rigid.T)
    values, modes = scipy.linalg.eigh(matrix, subset_by_index=[0, 0], overwrite_a=True)
    return float(values[0]), modes


def lowest_mode(theta: Any, state: State) -> tuple[float, NDArray[np.float64], float]:
    """The lowest eigenvalue of H, its mode (N, d), and H's mean diagonal element.

    Rigid motions and rattlers, known in the state, do not count.
    """
    n, d = state.positions.shape
    whole = assembled(theta, state)
    scale, rigid = whole.stiffness, whole.rigid
    if n * d <= DENSE[d]:
        lowest, mode = _lowest_densely(whole)
        return lowest, mode.reshape(n, d), scale
    shift = 1e-9
    while True:
        # Raised until it can be factorised: inverse iterations then find the lowest modes.
        try:
            raised = direct(whole.matrix.raised(shift * scale))
            break
        except NotPositiveError:
            shift *= 10

    def inverse(v: NDArray[np.float64]) -> NDArray[np.float64]:
        loads = v.reshape(-1, 1)
        loads = loads - rigid @ (rigid.T @ loads)
        found = raised.solve(loads)
        return (found - rigid @ (rigid.T @ found))[:, 0]

    try:
        with blas_on_one_thread():
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
