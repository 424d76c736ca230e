"""Sparse factorisations by a library: PARDISO, CHOLMOD, or SciPy's SuperLU.

Weighed for Hessians of packings (N = 128 to 10,000 in the plane, 300 to 3,000 in space, one core):

- PARDISO (pypardiso) and CHOLMOD (cvxopt) take the same time in the plane; in space CHOLMOD
  factorises in 0.6 times PARDISO's, which solves in half of CHOLMOD's. PARDISO alone pivots in an
  indefinite matrix, at no extra cost, tells its inertia, and works in float32; CHOLMOD runs on
  every processor. Both are kept, PARDISO first. SuperLU takes five times as long, but comes with
  SciPy.
- sparsax 0.9 is the same CHOLMOD as cvxopt's, called by JAX, and no faster: factors sit in a cache
  of its own, an indefinite matrix is an internal error of JAX's, nothing tells the inertia, and an
  update works on a copy of the factor for each solution.
- splineax brings KLU, unsymmetric and without blocks, which takes ten times as long, and lineax,
  equinox and numba with it; its PARDISO and cuDSS are other packages'.
"""

import os
import site
import sys
import weakref
from abc import ABC, abstractmethod
from ctypes.util import find_library
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

from amorph.handover import InputError

from ..errors import ConvergenceError
from .blocks import BlockMatrix, Pattern
from .inertia import NotPositiveError

__all__ = ["BACKENDS", "Direct", "NotPositiveError", "direct", "installed"]


SMALL = 500  # PARDISO fails on some smaller matrices in float32
# Without pivoting the factors of an indefinite matrix may be inexact: solutions are refined, at
# most so often, until what is left is this part of the load.
MOST_REFINEMENTS = 4
RESIDUAL = 1e-12
ACCEPTED = 1e-9


@dataclass(eq=False)
class Analysis:
    """A library's analysis of a pattern, and the handles of it that no factor uses any more."""

    kind: tuple[Any, ...]
    pattern: Pattern
    free: list[Any] = field(default_factory=list)


@dataclass(eq=False)
class Handle:
    """A library's analysis of a pattern, and its factor of the last matrix with it."""

    matrix: Any
    library: Any
    size: int = 0
    n_bytes: int = 0


class Direct(ABC):
    """A factorised symmetric matrix."""

    name: str
    rate = 10e9  # operations a second, about: what a choice of method goes by

    def __init__(
        self,
        matrix: BlockMatrix,
        *,
        definite: bool = True,
        single: bool = False,
        like: "Direct | None" = None,
    ) -> None:
        """Factorise.

        Parameters
        ----------
        definite:
            Raise `NotPositiveError` unless the matrix is positive definite; otherwise factorise
            whatever it is.
        single:
            In float32, where the library can.
        like:
            A factor whose analysis serves again, if it is of the same pattern and kind.
        """
        self.definite = definite
        kind = (type(self), matrix.dimension, definite, single)
        analysis: Analysis | None = None if like is None else like._analysis
        if analysis is None or analysis.kind != kind or not analysis.pattern.same(matrix.pattern):
            analysis = Analysis(kind, matrix.pattern)
        self._analysis: Analysis = analysis
        # A handle is analysis and numbers in one: it is free once its factor is gone.
        free = analysis.free
        self._handle = free.pop() if free else self._analyse(matrix, single)
        weakref.finalize(self, free.append, self._handle).atexit = False
        self._numeric(matrix)

    @abstractmethod
    def _analyse(self, matrix: BlockMatrix, single: bool) -> Any:
        """The library's handle for matrices of this pattern."""

    @abstractmethod
    def _numeric(self, matrix: BlockMatrix) -> None:
        """Factorise with the handle; raises `NotPositiveError`."""

    @abstractmethod
    def solve(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        """The solution (n d, k) of loads (n d, k)."""

    @abstractmethod
    def inertia(self, smallest: float) -> tuple[int, int]:
        """The numbers of negative pivots, and of those no larger than ``smallest``."""

    def smallest_pivot(self) -> float | None:
        """The smallest pivot of a definite matrix, None where the library does not tell."""
        return None

    @property
    @abstractmethod
    def n_bytes(self) -> int:
        """The factor's size."""


class Pardiso(Direct):
    """Intel MKL's PARDISO, by pypardiso: Cholesky's factorisation, or Bunch and Kaufman's."""

    name = "pardiso"

    def _analyse(self, matrix: BlockMatrix, single: bool) -> Any:
        single &= matrix.pattern.n > SMALL
        solver = _pardiso(2 if self.definite else -2)
        # Parameters given; METIS in parallel; float32.
        for parameter, value in ((1, 1), (2, 3), (28, int(single))):
            solver.set_iparm(parameter, value)
        dtype = np.float32 if single else np.float64
        data: NDArray[Any]
        pattern, d = matrix.pattern, matrix.dimension
        if self.definite:
            # Blocks, so that the analysis sees particles and not coordinates: a quarter of its
            # work.
            solver.set_iparm(37, d)
            indices, indptr, _ = pattern.rows
            data, size = np.empty((len(indices), d, d), dtype=dtype), pattern.n
        else:
            # Pivots of 1 by 1 and 2 by 2; those below 1e-13 of the matrix count as zero.
            for parameter, value in ((10, 13), (21, 1)):
                solver.set_iparm(parameter, value)
            triangle = pattern.triangle(d)
            indices, indptr = triangle.indices, triangle.indptr
            data, size = np.empty(len(indices), dtype=dtype), matrix.size
        held = SimpleNamespace(shape=(size, size), data=data, indptr=indptr, indices=indices)
        self._fill(held, matrix)
        handle = Handle(held, solver, matrix.size)
        nothing = np.zeros((matrix.size, 1), dtype=dtype)
        # Its memory is outside Python's: given back with this object.
        weakref.finalize(handle, _release, solver, held, nothing)
        _call(handle, 11, nothing)
        handle.n_bytes = 1024 * int(solver.get_iparm(16) + solver.get_iparm(17))
        return handle

    def _fill(self, held: Any, matrix: BlockMatrix) -> None:
        if self.definite:
            held.data[...] = matrix.rows()
        else:
            held.data[...] = matrix.upper_values(matrix.pattern.triangle(matrix.dimension))

    def _numeric(self, matrix: BlockMatrix) -> None:
        self._fill(self._handle.matrix, matrix)
        _call(self._handle, 22, np.zeros((matrix.size, 1), dtype=self._handle.matrix.data.dtype))
        solver = self._handle.library
        self._counts = (int(solver.get_iparm(23)), int(solver.get_iparm(14)))

    def solve(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = np.asfortranarray(load, dtype=self._handle.matrix.data.dtype)
        return _call(self._handle, 33, columns).astype(np.float64, copy=False)

    def inertia(self, smallest: float) -> tuple[int, int]:
        return (0, 0) if self.definite else self._counts

    @property
    def n_bytes(self) -> int:
        return int(self._handle.n_bytes)


def _call(handle: Any, phase: int, load: NDArray[Any]) -> NDArray[Any]:
    from pypardiso.pardiso_wrapper import PyPardisoError

    handle.library.set_phase(phase)
    try:
        return np.asarray(handle.library._call_pardiso(handle.matrix, load))
    except PyPardisoError as error:
        # -4: a pivot that is not positive. Where another thread was at work it stops with -13,
        # "interrupted", and either of the two is reported.
        if getattr(error, "value", None) in (-4, -13):
            raise NotPositiveError from error
        if getattr(error, "value", None) == -2:
            raise MemoryError(
                f"PARDISO found no memory for a factor of {handle.size} unknowns: choose "
                "solver='krylov'."
            ) from error
        raise


def _release(solver: Any, matrix: Any, nothing: NDArray[Any]) -> None:
    solver.set_phase(-1)
    solver._call_pardiso(matrix, nothing)


def _pardiso(matrix_type: int = 2) -> Any:
    # It would look through every folder of the environment for Intel's library, for half a second.
    told = "PYPARDISO_MKL_RT"
    if told not in os.environ and find_library("mkl_rt") is None:
        folders = [Path(root) / "lib" for root in (sys.prefix, site.USER_BASE) if root]
        at_hand = sorted(str(f) for folder in folders for f in folder.glob("*mkl_rt*"))
        if at_hand:
            os.environ[told] = min(at_hand, key=len)
    from pypardiso import PyPardisoSolver

    solver = PyPardisoSolver(mtype=matrix_type)
    os.environ.setdefault(told, solver.libmkl._name)
    return solver


class Unpivoted(Direct):
    """A factorisation L D Lᵀ that keeps to its order whatever the pivots are.

    Exact for a definite matrix. For another the inertia is that of D, and solutions are refined:
    they raise `ConvergenceError` where the pivots were so small that this does not help.
    """

    def _numeric(self, matrix: BlockMatrix) -> None:
        self._full = None if self.definite else matrix.full()

    @abstractmethod
    def _solved(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        """The solution by the factors alone."""

    def solve(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        found = self._solved(load)
        if self._full is None:
            return found
        size = np.maximum(np.linalg.norm(load, axis=0), np.finfo(float).tiny)
        for step in range(MOST_REFINEMENTS + 1):
            rest = load - self._full @ found
            left = float(np.max(np.linalg.norm(rest, axis=0) / size))
            if left <= RESIDUAL or step == MOST_REFINEMENTS or not np.isfinite(left):
                break
            found = found + self._solved(rest)
        if not left <= ACCEPTED:
            raise ConvergenceError(
                f"{self.name} left a residual of {left:.1e} of the load: it does not pivot, and "
                "this indefinite matrix needs it. Use solver='dense' or solver='pardiso'."
            )
        return found


class Cholmod(Unpivoted):
    """SuiteSparse's CHOLMOD, by cvxopt: by supernodes, or for an indefinite matrix row by row."""

    name = "cholmod"

    def _analyse(self, matrix: BlockMatrix, single: bool) -> Any:
        import cvxopt

        size, triangle = matrix.size, matrix.pattern.triangle(matrix.dimension)
        rows = np.repeat(np.arange(size), np.diff(triangle.indptr))
        # Its lower triangle, in columns: the upper one in rows.
        held = cvxopt.spmatrix(
            cvxopt.matrix(matrix.upper_values(triangle)),
            cvxopt.matrix(triangle.indices.astype(np.int64)),
            cvxopt.matrix(rows),
            (size, size),
        )
        return Handle(held, self._with_mode(lambda c: c.symbolic(held)))

    def _with_mode(self, do: Any) -> Any:
        """Call the library in the mode wanted: the mode is a setting of the whole module."""
        from cvxopt import cholmod

        before = cholmod.options.get("supernodal", 2)
        cholmod.options["supernodal"] = 2 if self.definite else 0
        try:
            return do(cholmod)
        finally:
            cholmod.options["supernodal"] = before

    def _numeric(self, matrix: BlockMatrix) -> None:
        import cvxopt

        super()._numeric(matrix)
        handle = self._handle
        values = matrix.upper_values(matrix.pattern.triangle(matrix.dimension))
        handle.matrix.V = cvxopt.matrix(values)
        try:
            self._with_mode(lambda c: c.numeric(handle.matrix, handle.library))
        except ArithmeticError as error:
            raise NotPositiveError from error

    def _solved(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        import cvxopt
        import cvxopt.cholmod

        columns = cvxopt.matrix(np.asfortranarray(load))
        cvxopt.cholmod.solve(self._handle.library, columns)
        return np.array(columns)

    def _pivots(self) -> NDArray[np.float64]:
        import cvxopt
        import cvxopt.cholmod

        if self.definite:
            diagonal = np.array(cvxopt.cholmod.diag(self._handle.library)).ravel()
            return diagonal**2
        ones = cvxopt.matrix(1.0, (self._handle.matrix.size[0], 1))
        cvxopt.cholmod.solve(self._handle.library, ones, sys=6)  # D x = 1
        return 1.0 / np.array(ones).ravel()

    def inertia(self, smallest: float) -> tuple[int, int]:
        return _counted(self._pivots(), smallest)

    def smallest_pivot(self) -> float | None:
        return float(np.min(self._pivots())) if self.definite else None

    @property
    def n_bytes(self) -> int:
        return 0


class SuperLU(Unpivoted):
    """SciPy's SuperLU, as a factorisation without pivoting."""

    name = "superlu"
    rate = 1.5e9

    def _analyse(self, matrix: BlockMatrix, single: bool) -> Any:
        return single  # it has no analysis of its own

    def _numeric(self, matrix: BlockMatrix) -> None:
        super()._numeric(matrix)
        upper = matrix.upper()
        whole = (upper + scipy.sparse.triu(upper, 1).T).tocsc()
        try:
            self._factor = scipy.sparse.linalg.splu(
                whole.astype(np.float32) if self._handle else whole,
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        except RuntimeError as error:  # exactly singular
            raise NotPositiveError from error
        # Pivots on the diagonal: U is D Lᵀ.
        self._pivots = self._factor.U.diagonal()
        on_diagonal = (self._factor.perm_r == self._factor.perm_c).all()
        if self.definite and not (on_diagonal and (self._pivots > 0).all()):
            raise NotPositiveError
        if not on_diagonal:
            raise ConvergenceError(
                "SuperLU met a pivot that is zero: it does not pivot as an indefinite matrix "
                "demands. Use solver='dense' or solver='pardiso'."
            )

    def _solved(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = load.astype(np.float32) if self._handle else load
        return np.asarray(self._factor.solve(columns), dtype=np.float64)

    def inertia(self, smallest: float) -> tuple[int, int]:
        return _counted(self._pivots, smallest)

    def smallest_pivot(self) -> float | None:
        return float(np.min(self._pivots)) if self.definite else None

    @property
    def n_bytes(self) -> int:
        return int((4 if self._handle else 8) * 1.5 * self._factor.nnz)


def _counted(pivots: NDArray[Any], smallest: float) -> tuple[int, int]:
    return int(np.sum(pivots < -smallest)), int(np.sum(np.abs(pivots) <= smallest))


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


def direct(
    matrix: BlockMatrix,
    backend: str | None = None,
    *,
    definite: bool = True,
    single: bool = False,
    like: Direct | None = None,
) -> Direct:
    """Factorise by the library named, or the first that is installed: see `Direct`.

    Raises `NotPositiveError`, and `InputError` for a library that is not installed.
    """
    name = backend or installed()[0]
    if name not in installed():
        raise InputError(
            f"solver {name!r} is not installed here (there are: {', '.join(installed())}): "
            "pip install 'amorph[sparse]'."
        )
    return BACKENDS[name](matrix, definite=definite, single=single, like=like)
