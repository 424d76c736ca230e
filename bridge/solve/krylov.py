"""Iterations for Hessians too large to be factorised, preconditioned by a part of them.

Conjugate gradients where the matrix is positive definite; MINRES (Paige and Saunders 1975), by
SciPy, where it need not be.

The preconditioner is the factorisation, in float32, of the Hessian without the pairs that are weak
beside the others: it has the long waves right, which is what makes plain iterations slow, and
costs a fraction of the whole one's memory.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, minres

from ..errors import ConvergenceError
from .blocks import BlockMatrix
from .inertia import NotPositiveError
from .sparse import Direct, direct

__all__ = ["Krylov"]

# The preconditioner's diagonal is raised by this part of a particle's own stiffness, for the
# float32 and the prestress.
RAISED = 1e-4
TOLERANCE = 1e-12  # of the residual beside the load
MAX_STEPS = 2000
# MINRES stops by the preconditioned residual: it starts again from the true one, so often.
MOST_ROUNDS = 8
ROUND = 1e-8


class Krylov:
    """Solves H x = b by preconditioned iterations, the residual checked in the end."""

    def __init__(
        self,
        matrix: BlockMatrix,
        strong: BlockMatrix,
        scale: float,
        project: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        *,
        definite: bool = True,
    ) -> None:
        """Prepare the preconditioner from ``strong``, the matrix without its weak pairs.

        ``scale`` is a particle's own stiffness; ``project`` takes rigid motions out of (n d, k);
        ``definite`` says whether conjugate gradients will do.
        """
        self._definite = definite
        self._full = matrix.full()
        self._project = project
        self._inner = _raised(strong, scale, definite)
        self.steps = 0

    @property
    def n_bytes(self) -> int:
        """The size of the preconditioner and the matrix."""
        return self._inner.n_bytes + int(self._full.data.nbytes + self._full.indices.nbytes)

    def solve(self, load: NDArray[np.float64], tolerance: float = TOLERANCE) -> NDArray[np.float64]:
        """The solution (n d, k) of loads (n d, k), each column by its own iteration.

        Raises `NotPositiveError` where a matrix to be definite is seen to have a negative mode, and
        `ConvergenceError` where the residual stays above the tolerance.
        """
        b = self._project(load)
        size = np.linalg.norm(b, axis=0)
        if not self._definite:
            return self._by_minres(b, size, tolerance)
        x, r = np.zeros_like(b), b.copy()
        live = np.flatnonzero(size > 0)
        direction = np.zeros_like(b)
        before = np.ones(b.shape[1])
        for step in range(MAX_STEPS):
            z = self._project(self._inner.solve(r[:, live]))
            now = np.einsum("nk,nk->k", r[:, live], z)
            beta = now / before[live] if step else np.zeros(len(live))
            direction[:, live] = z + beta * direction[:, live]
            before[live] = now
            moved = self._full @ direction[:, live]
            curvature = np.einsum("nk,nk->k", direction[:, live], moved)
            if not (curvature > 0).all():
                raise NotPositiveError
            along = now / curvature
            x[:, live] += along * direction[:, live]
            r[:, live] -= along * moved
            self.steps = step + 1
            live = live[np.linalg.norm(r[:, live], axis=0) > tolerance * size[live]]
            if not len(live):
                break
        # The recursion's residual drifts from the true one by round-off: that one is checked.
        self._check(np.linalg.norm(b - self._full @ x, axis=0), size, tolerance)
        return self._project(x)

    def _check(
        self, left: NDArray[np.float64], size: NDArray[np.float64], tolerance: float
    ) -> None:
        worst = float(np.max(left / np.maximum(size, np.finfo(float).tiny)))
        if not worst <= 100 * tolerance:
            raise ConvergenceError(
                f"iterations left a residual of {worst:.1e} of the load after {self.steps} steps: "
                "the packing is close to losing its rigidity, or far from a minimum. Use "
                "solver='direct' if there is memory for it."
            )

    def _by_minres(
        self, b: NDArray[np.float64], size: NDArray[np.float64], tolerance: float
    ) -> NDArray[np.float64]:
        """Each column by its own iteration, in rounds, each of the residual that is left."""

        def operator(of: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> LinearOperator:
            def applied(v: NDArray[np.float64]) -> NDArray[np.float64]:
                return self._project(of(v.reshape(-1, 1)))[:, 0]

            return LinearOperator((len(b), len(b)), applied, dtype=np.float64)

        matrix = operator(lambda v: self._full @ v)
        inverse = operator(lambda v: self._inner.solve(self._project(v)))
        x = np.zeros_like(b)
        self.steps = 0

        def counted(_: NDArray[np.float64]) -> None:
            self.steps += 1

        for column in np.flatnonzero(size > 0):
            for _ in range(MOST_ROUNDS):
                rest = self._project((b - self._full @ x)[:, column : column + 1])[:, 0]
                if np.linalg.norm(rest) <= tolerance * size[column]:
                    break
                found, _ = minres(
                    matrix, rest, M=inverse, rtol=max(ROUND, 0.1 * tolerance),
                    maxiter=MAX_STEPS, callback=counted,
                )  # fmt: skip
                x[:, column] += found
        self._check(np.linalg.norm(self._project(b - self._full @ x), axis=0), size, tolerance)
        return self._project(x)


def _raised(strong: BlockMatrix, scale: float, definite: bool) -> Direct:
    """Factorise with the diagonal raised as far as it takes to be positive definite.

    Raises `NotPositiveError` where a matrix to be definite would need more than its own stiffness.
    """
    raised = RAISED
    while True:
        try:
            return direct(strong.raised(raised * scale), single=True)
        except NotPositiveError:
            if definite and raised >= 0.99:
                raise
            raised *= 10.0
