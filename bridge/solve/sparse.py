"""Sparse Hessians, and their factorisation by a library: PARDISO, CHOLMOD, or SciPy's SuperLU."""

import os
import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

from amorph.handover import InputError

__all__ = ["BACKENDS", "Direct", "NotPositiveError", "SparseHessian", "direct", "installed"]


SMALL = 500


class NotPositiveError(Exception):
    """A matrix that was to be factorised is not positive definite."""


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where the blocks of a symmetric matrix of (d, d) blocks stand: the upper triangle, by rows.

    Attributes: n, block rows; indices and indptr, of the rows; diagonal (n,) and place (M,), where
    the diagonal blocks and those of the pairs go; i, j (M,), the pairs.
    """

    n: int
    indices: NDArray[np.int32]
    indptr: NDArray[np.int64]
    diagonal: NDArray[np.int64]
    place: NDArray[np.int64]
    i: NDArray[np.int64]
    j: NDArray[np.int64]

    @classmethod
    def of(cls, n: int, i: NDArray[Any], j: NDArray[Any]) -> "Pattern":
        """The pattern of pairs i != j; a pair may stand there more than once."""
        low, high = np.minimum(i, j).astype(np.int64), np.maximum(i, j).astype(np.int64)
        key = low * n + high
        if (np.diff(key) > 0).all():
            distinct, which = key, np.arange(len(key))
        else:
            distinct, which = np.unique(key, return_inverse=True)
        rows, columns = distinct // n, distinct % n
        before = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
        # In each row the diagonal comes first.
        indptr = before + np.arange(n + 1)
        diagonal = indptr[:-1]
        at = np.arange(len(distinct)) + rows + 1
        indices = np.empty(len(distinct) + n, dtype=np.int32)
        indices[diagonal] = np.arange(n)
        indices[at] = columns
        return cls(n, indices, indptr, diagonal, at[which], low, high)


@dataclass(frozen=True, eq=False)
class SparseHessian:
    """A symmetric matrix of (d, d) blocks: its upper triangle, (n_blocks, d, d) by the pattern."""

    pattern: Pattern
    blocks: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        pattern: Pattern,
        pair_blocks: NDArray[np.float64],
        diagonal: NDArray[np.float64] | None = None,
    ) -> "SparseHessian":
        """From the stiffness matrices K of pairs, (M, d, d).

        A pair adds K to its ends' diagonal blocks and -K between them; ``diagonal`` (n, d, d) is
        added to the diagonal blocks.
        """
        n, d = pattern.n, pair_blocks.shape[1]
        blocks = np.zeros((len(pattern.indices), d, d))
        own = np.zeros((n, d, d)) if diagonal is None else diagonal.copy()
        for a in range(d):
            for b in range(a, d):
                values = np.ascontiguousarray(pair_blocks[:, a, b])
                total = np.bincount(pattern.i, values, n) + np.bincount(pattern.j, values, n)
                own[:, a, b] += total
                spread = np.bincount(pattern.place, values, len(blocks))
                blocks[:, a, b] = -spread
                if b > a:
                    own[:, b, a] += total
                    blocks[:, b, a] = -spread
        blocks[pattern.diagonal] = own
        return cls(pattern, blocks)

    def raised(self, by: float) -> "SparseHessian":
        """The same with every diagonal element raised."""
        blocks = self.blocks.copy()
        blocks[self.pattern.diagonal] += by * np.eye(self.dimension)
        return SparseHessian(self.pattern, blocks)

    @property
    def dimension(self) -> int:
        """d."""
        return int(self.blocks.shape[1])

    def upper(self) -> Any:
        """The upper triangle as a SciPy CSR matrix."""
        size = self.pattern.n * self.dimension
        whole = scipy.sparse.bsr_array(
            (self.blocks, self.pattern.indices, self.pattern.indptr), shape=(size, size)
        )
        return scipy.sparse.triu(whole.tocsr(), format="csr")

    def full(self) -> Any:
        """The whole matrix as a SciPy BSR matrix."""
        n, d = self.pattern.n, self.dimension
        rows = np.repeat(np.arange(n, dtype=np.int32), np.diff(self.pattern.indptr))
        columns = self.pattern.indices
        off = np.flatnonzero(rows != columns)
        all_rows = np.concatenate([rows, columns[off]])
        all_columns = np.concatenate([columns, rows[off]])
        order = np.lexsort((all_columns, all_rows))
        which = np.concatenate([np.arange(len(rows)), off])[order]  # blocks are symmetric
        indptr = np.concatenate([[0], np.cumsum(np.bincount(all_rows, minlength=n))])
        return scipy.sparse.bsr_array(
            (self.blocks[which], all_columns[order], indptr), shape=(n * d, n * d)
        )


class Direct(ABC):
    """A factorised symmetric positive definite matrix."""

    name: str

    @abstractmethod
    def __init__(self, matrix: SparseHessian, *, single: bool = False) -> None:
        """Factorise; raises `NotPositiveError`. ``single``: in float32, where the library can."""

    @abstractmethod
    def solve(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        """The solution (n d, k) of loads (n d, k)."""

    @property
    @abstractmethod
    def n_bytes(self) -> int:
        """The factor's size."""


class Pardiso(Direct):
    """Intel MKL's PARDISO, by pypardiso."""

    name = "pardiso"

    def __init__(self, matrix: SparseHessian, *, single: bool = False) -> None:
        self._solver = _pardiso()
        single &= matrix.pattern.n > SMALL  # it fails on some small matrices in float32
        self._dtype = np.float32 if single else np.float64
        pattern = matrix.pattern
        # Blocks, so that the analysis sees particles and not coordinates: a quarter of its work.
        for parameter, value in ((1, 1), (2, 3), (28, int(single)), (37, matrix.dimension)):
            self._solver.set_iparm(parameter, value)
        self._matrix = SimpleNamespace(
            shape=(pattern.n, pattern.n),
            data=np.ascontiguousarray(matrix.blocks, dtype=self._dtype),
            indptr=pattern.indptr,
            indices=pattern.indices,
        )
        self._size = pattern.n * matrix.dimension
        nothing = np.zeros((self._size, 1), dtype=self._dtype)
        self._call(11, nothing)
        self._bytes = 1024 * int(self._solver.get_iparm(16) + self._solver.get_iparm(17))
        # Its memory is outside Python's: given back with this object.
        weakref.finalize(self, _release, self._solver, self._matrix, nothing)
        self._call(22, nothing)

    def _call(self, phase: int, load: NDArray[Any]) -> NDArray[Any]:
        from pypardiso.pardiso_wrapper import PyPardisoError

        self._solver.set_phase(phase)
        try:
            return np.asarray(self._solver._call_pardiso(self._matrix, load))
        except PyPardisoError as error:
            # -4: a pivot that is not positive. Where another thread was at work it stops with -13,
            # "interrupted", and either of the two is reported.
            if getattr(error, "value", None) in (-4, -13):
                raise NotPositiveError from error
            if getattr(error, "value", None) == -2:
                raise MemoryError(
                    f"PARDISO found no memory for a factor of {self._size} unknowns: choose "
                    "solver='krylov'."
                ) from error
            raise

    def solve(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = np.asfortranarray(load, dtype=self._dtype)
        return self._call(33, columns).astype(np.float64, copy=False)

    @property
    def n_bytes(self) -> int:
        return self._bytes


def _release(solver: Any, matrix: Any, nothing: NDArray[Any]) -> None:
    solver.set_phase(-1)
    solver._call_pardiso(matrix, nothing)


def _pardiso() -> Any:
    from pypardiso import PyPardisoSolver

    solver = PyPardisoSolver(mtype=2)
    # It looks through the whole environment for Intel's library: once is enough.
    os.environ.setdefault("PYPARDISO_MKL_RT", solver.libmkl._name)
    return solver


class Cholmod(Direct):
    """SuiteSparse's CHOLMOD, by cvxopt."""

    name = "cholmod"

    def __init__(self, matrix: SparseHessian, *, single: bool = False) -> None:
        import cvxopt
        import cvxopt.cholmod

        lower = matrix.upper().tocoo()
        size = lower.shape[0]
        # Its lower triangle, in columns: the upper one in rows.
        held = cvxopt.spmatrix(
            cvxopt.matrix(lower.data), cvxopt.matrix(lower.col.astype(np.int64)),
            cvxopt.matrix(lower.row.astype(np.int64)), (size, size),
        )  # fmt: skip
        del lower
        self._factor = cvxopt.cholmod.symbolic(held)
        try:
            cvxopt.cholmod.numeric(held, self._factor)
        except ArithmeticError as error:
            raise NotPositiveError from error
        self._bytes = 0

    def solve(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        import cvxopt
        import cvxopt.cholmod

        columns = cvxopt.matrix(np.asfortranarray(load))
        cvxopt.cholmod.solve(self._factor, columns)
        return np.array(columns)

    @property
    def n_bytes(self) -> int:
        return self._bytes


class SuperLU(Direct):
    """SciPy's SuperLU, as a factorisation without pivoting."""

    name = "superlu"

    def __init__(self, matrix: SparseHessian, *, single: bool = False) -> None:
        upper = matrix.upper()
        whole = (upper + scipy.sparse.triu(upper, 1).T).tocsc()
        try:
            self._factor = scipy.sparse.linalg.splu(
                whole.astype(np.float32) if single else whole,
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        except RuntimeError as error:  # exactly singular
            raise NotPositiveError from error
        # Positive definite: pivots on the diagonal, all positive (Sylvester's law of inertia).
        pivots = self._factor.U.diagonal()
        if (self._factor.perm_r != self._factor.perm_c).any() or not (pivots > 0).all():
            raise NotPositiveError
        self._single = single

    def solve(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = load.astype(np.float32) if self._single else load
        return np.asarray(self._factor.solve(columns), dtype=np.float64)

    @property
    def n_bytes(self) -> int:
        return int((4 if self._single else 8) * 1.5 * self._factor.nnz)


BACKENDS: dict[str, type[Direct]] = {"pardiso": Pardiso, "cholmod": Cholmod, "superlu": SuperLU}
"""The libraries that factorise sparse matrices, the preferred ones first."""

_MODULES = {"pardiso": "pypardiso", "cholmod": "cvxopt", "superlu": "scipy"}


@cache
def installed() -> tuple[str, ...]:
    """Those of `BACKENDS` that work here."""
    found = []
    for name, module in _MODULES.items():
        if find_spec(module) is None:
            continue
        if name == "pardiso":
            try:
                _pardiso()
            except ImportError:  # without Intel's library
                continue
        found.append(name)
    return tuple(found)


def direct(matrix: SparseHessian, backend: str | None = None, *, single: bool = False) -> Direct:
    """Factorise by the library named, or the first that is installed.

    Raises `NotPositiveError`, and `InputError` for a library that is not installed.
    """
    name = backend or installed()[0]
    if name not in installed():
        raise InputError(
            f"solver {name!r} is not installed here (there are: {', '.join(installed())}): "
            "pip install 'amorph[sparse]'."
        )
    return BACKENDS[name](matrix, single=single)
