"""One thread for dense linear algebra.

The matrices of a packing are small: a team of BLAS threads gains little on one, and where the
cores are shared with other ranks or replicas its members wait for each other (a factorisation at
N = 368 then takes up to a hundred times as long). Work is spread over packings instead. One thread
also makes results independent of how many cores there are.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import scipy.linalg.lapack  # noqa: F401  (loads the BLAS that JAX uses on the CPU)
from threadpoolctl import ThreadpoolController

__all__ = ["one_blas_thread"]

P = ParamSpec("P")
R = TypeVar("R")


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def one_blas_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function, which must wait for its results, run its dense algebra on one thread."""

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with _controller().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited
