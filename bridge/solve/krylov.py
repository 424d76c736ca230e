"""Conjugate gradients for Hessians too large to be factorised, preconditioned by a part of them.

The preconditioner is the factorisation, in float32, of the Hessian without the pairs that are weak
beside the others: it has the long waves right, which is what makes plain iterations slow, and
costs a fraction of the whole one's memory.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..errors import ConvergenceError
from .sparse import Direct, NotPositiveError, SparseHessian, direct

__all__ = ["Krylov"]

# Pairs are left out of the preconditioner where none of their stiffnesses is above this part of a
# particle's own; its diagonal is raised by this part, for the float32 and the prestress.
WEAK = 0.02
RAISED = 1e-4
TOLERANCE = 1e-12  # of the residual beside the load
MAX_STEPS = 2000


class Krylov:
    """Solves H x = b by preconditioned conjugate gradients, the residual checked in the end."""

    def __init__(
        self,
        matrix: SparseHessian,
        strong: SparseHessian,
        scale: float,
        project: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    ) -> None:
        """Prepare the preconditioner from ``strong``, the matrix without its weak pairs.

        ``scale`` is a particle's own stiffness; ``project`` takes rigid motions out of (n d, k).
        """
        self._full = matrix.full()
        self._project = project
        self._inner = _raised(strong, scale)
        self.steps = 0

    @property
    def n_bytes(self) -> int:
        """The size of the preconditioner and the matrix."""
        return self._inner.n_bytes + int(self._full.data.nbytes + self._full.indices.nbytes)

    def solve(self, load: NDArray[np.float64], tolerance: float = TOLERANCE) -> NDArray[np.float64]:
        """The solution (n d, k) of loads (n d, k), each column by its own iteration.

        Raises `NotPositiveError` where the matrix is seen to have a negative mode, and
        `ConvergenceError` where the residual stays above the tolerance.
        """
        b = self._project(load)
        size = np.linalg.norm(b, axis=0)
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
        left = np.linalg.norm(b - self._full @ x, axis=0)
        worst = float(np.max(left / np.maximum(size, np.finfo(float).tiny)))
        if not worst <= 100 * tolerance:
            raise ConvergenceError(
                f"conjugate gradients left a residual of {worst:.1e} of the load after "
                f"{self.steps} steps: the packing is close to losing its rigidity. Use "
                "solver='direct' if there is memory for it."
            )
        return self._project(x)


def _raised(strong: SparseHessian, scale: float) -> Direct:
    """Factorise with the diagonal raised as far as it takes to be positive definite."""
    for raised in RAISED * 10.0 ** np.arange(5):
        try:
            return direct(strong.raised(raised * scale), single=True)
        except NotPositiveError:
            continue
    raise NotPositiveError
