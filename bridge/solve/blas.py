"""One thread for dense linear algebra.

The matrices of a packing are small: a team of BLAS threads gains little on one, and where the
cores are shared with other ranks or replicas its members wait for each other (a factorisation at
N = 368 then takes up to a hundred times as long). Work is spread over packings instead. One thread
also makes results independent of how many cores there are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import scipy.linalg.lapack  # noqa: F401  (loads the BLAS that JAX uses on the CPU)
from threadpoolctl import ThreadpoolController

__all__ = ["blas_on_one_thread", "one_blas_thread"]

P = ParamSpec("P")
R = TypeVar("R")

# To set the number of threads takes 30 µs: what is called from inside of a limited function, as
# often as a small packing's solutions are, finds it set.
_limited: ContextVar[bool] = ContextVar("limited", default=False)


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def blas_on_one_thread(*, when: bool = True) -> Iterator[None]:
    """Dense algebra within runs on one thread; unless ``when`` nothing is changed."""
    if not when or _limited.get():
        yield
        return
    token = _limited.set(True)
    try:
        with _controller().limit(limits=1, user_api="blas"):
            yield
    finally:
        _limited.reset(token)


def one_blas_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function, which must wait for its results, run its dense algebra on one thread."""

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        if _limited.get():
            return function(*args, **kwargs)
        with blas_on_one_thread():
            return function(*args, **kwargs)

    return limited
