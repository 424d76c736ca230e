"""One interface to linear systems with a packing's Hessian, however it was factorised."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph.handover import InputError
from amorph.handover.arguments import real_numbers

from ..errors import FloppyModeError, SingularHessianError
from ..matter.mechanics import State
from .blocks import Assembled, Pattern
from .inertia import SMALLEST_PIVOT, Inertia, NotPositiveError

__all__ = ["Factor", "Updated"]

# Pivots above this part of the stiffness, times the matrix's size, leave no doubt: the smallest
# eigenvalue may lie below the smallest pivot, in practice by no more than the size.
CLEAR_PIVOT = 10 * SMALLEST_PIVOT
# The change of a bond in no state of self stress has 1 + c M = 0 up to the rounding of M.
FLOPPY = 1e-8
# An update that makes rounding this many times larger is made by factorising anew.
MOST_GROWTH = 1e5
# What a column may have along rattlers and rigid motions, beside its length.
ALONG_ZERO_MODES = 1e-9


class Factor(ABC):
    """A factorised Hessian H, its zero modes (rigid motions and rattlers) held.

    Fixed particles are no degrees of freedom: their coordinates are zero in every solution.

    H is symmetric, and so is each factor's solution: it serves for the transposed system as well.

    Attributes
    ----------
    whole:
        H in blocks, as it was factorised.
    definite:
        Whether a factorisation was made for that fails unless H is positive definite.
    method:
        How it was done: dense, band, a library's name, or krylov.
    gain:
        By how much a further step with this factor must lower the forces to be worth its time:
        less than a new factorisation would, where solving is cheap beside factorising.
    """

    method: str
    gain = 4.0

    def __init__(self, whole: Assembled, definite: bool) -> None:
        self.whole = whole
        self.definite = definite

    @property
    def stiffness(self) -> float:
        """H's mean diagonal element."""
        return self.whole.stiffness

    @property
    def rigid(self) -> NDArray[np.float64]:
        """Orthonormal rigid motions, (N d, n_rigid)."""
        return self.whole.rigid

    @property
    def pattern(self) -> Pattern:
        """Which pairs have a block in H."""
        return self.whole.matrix.pattern

    def is_of(self, state: State) -> bool:
        """Whether the same particles are still in a state: its factor may serve there too."""
        return np.array_equal(self.whole.still, np.asarray(state.still))

    def project(self, loads: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take rigid motions, rattlers and fixed particles out of (N d, k)."""
        out = loads - self.rigid @ (self.rigid.T @ loads)
        if self.whole.any_still:
            out.reshape(*self.whole.positions.shape, -1)[self.whole.still] = 0.0
        return out

    def solve(self, load: Any, *, rough: bool = False) -> NDArray[np.float64]:
        """H⁻¹ load for loads (N, d, k); what they have along zero modes is left out.

        ``rough`` is enough for a step of a minimisation: iterations then end sooner.

        Raises `ConvergenceError` where iterations do not reach their tolerance,
        `NotPositiveError` where they meet a negative mode of what was to be definite, and
        `SingularHessianError` where an indefinite matrix has zero modes beyond those held.
        """
        if self._zero:
            raise SingularHessianError(
                f"the Hessian has {self._zero} zero modes besides rigid motions and rattlers: its "
                "linear response is not defined."
            )
        loads = np.asarray(load)
        flat = loads.reshape(self.whole.matrix.size, -1)
        return self.project(self._solve(self.project(flat), rough)).reshape(loads.shape)

    def compliance(self, loads: NDArray[np.float64]) -> NDArray[np.float64]:
        """l·H⁻¹l of loads (N, d, k) without zero modes, (k,); as good as a rough solution."""
        out: NDArray[np.float64] = np.einsum("ndk,ndk->k", loads, self.solve(loads, rough=True))
        return out

    @cached_property
    def _zero(self) -> int:
        """Zero modes that forbid a solution; a definite matrix is proven by whoever asks for it."""
        found = None if self.definite else self.inertia()
        return 0 if found is None else found.zero

    @abstractmethod
    def _solve(self, loads: NDArray[np.float64], rough: bool) -> NDArray[np.float64]:
        """The solution (N d, k) of loads without zero modes."""

    @abstractmethod
    def inertia(self) -> Inertia | None:
        """H's negative modes, and zero modes beyond those held; None where this is not known.

        Exact by the pivots of a direct factorisation. Conjugate gradients that converged give an
        estimate, other iterations nothing.
        """

    def smallest(self) -> float:
        """An estimate, from above, of the smallest |eigenvalue| beside `stiffness`.

        By inverse iteration, zero modes left out: what the smallest is like, not its digits.
        """
        return smallest_by_iteration(self)

    def prove(self) -> None:
        """Raise `NotPositiveError` unless H, its zero modes held, is positive definite.

        Neither factorising nor solving says so: a response at a saddle is a response. A smallest
        eigenvalue of less than `SMALLEST_PIVOT` of the stiffness does not count as positive.
        """
        least = self._smallest_pivot()
        if least is not None and least > CLEAR_PIVOT * self.whole.matrix.size * self.stiffness:
            return
        found = self.inertia()
        if found is None or found.negative or found.zero or not self.smallest() > SMALLEST_PIVOT:
            raise NotPositiveError

    def _smallest_pivot(self) -> float | None:
        """The smallest pivot of a definite matrix, None where it is not known."""
        return None

    def singular(self) -> bool:
        """Whether the factorisation itself shows a zero mode that should not be there."""
        return False

    def update(self, columns: Any, weights: Any) -> "Factor":
        """The factor of H + Σ c u uᵀ, by Woodbury's formula on this one.

        A bond along n (cut, added or made stiffer by c) is one column: -n at one end, n at the
        other. Its force adds a column for each direction across, with c = u'/r. Exact, and as
        accurate as this factor for changes that leave the packing rigid: rounding grows by
        1/|1 + c M| (M = u·H⁻¹u), and where that is too much the new matrix is factorised. An
        update of an update is one update of the first factor, with all columns.

        Parameters
        ----------
        columns:
            u, (N, d, k), with nothing on rattlers.
        weights:
            c, (k,).

        Returns
        -------
        This factor's like for the new matrix, to be used and updated as this one. It need not be
        positive definite: see `inertia`.

        Raises
        ------
        FloppyModeError
            Where 1 + c M vanishes (for several columns: has a zero mode): the change leaves a
            floppy mode. A bond in no state of self stress cannot be cut.
        InputError
            For columns of another shape, on rattlers, or whose sum holds the packing as a whole.
        """
        u, c = self._checked_change(columns, weights)
        return Updated.of(self, u, c)

    def _checked_change(
        self, columns: Any, weights: Any
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        u = real_numbers("columns", columns, "(N, d, k) numbers")
        c = real_numbers("weights", weights, "(k,) numbers")
        shape = self.whole.positions.shape
        if u.ndim != 3 or u.shape[:2] != shape or c.shape != u.shape[2:]:
            raise InputError(
                f"columns have shape {u.shape} and weights {c.shape}: they must be "
                f"({shape[0]}, {shape[1]}, k) and (k,)."
            )
        if not (np.isfinite(u).all() and np.isfinite(c).all()):
            raise InputError("columns and weights must be finite.")
        if u[self.whole.rattlers].any():
            raise InputError(
                "a column has elements on a rattler: a bond that holds it changes which particles "
                "are rattlers. Factorise the changed packing."
            )
        u[self.whole.still] = 0.0  # a bond to a fixed particle holds the other end alone
        flat = u.reshape(self.whole.matrix.size, -1)
        kept = np.flatnonzero((c != 0) & flat.any(axis=0))
        flat, c = flat[:, kept], c[kept]
        size = np.linalg.norm(flat, axis=0)
        along = self.rigid.T @ flat
        pushed = np.linalg.norm((c * flat) @ along.T)
        if pushed > ALONG_ZERO_MODES * float(np.sum(np.abs(c) * size**2)):
            raise InputError(
                "the change holds the packing as a whole: its columns do not add up to nothing "
                "along a rigid motion. Give both ends of each bond, and all columns of a change "
                "that keeps forces balanced at once."
            )
        return flat - self.rigid @ along, c

    @abstractmethod
    def again(self, whole: Assembled, definite: bool) -> "Factor":
        """Another matrix of the same packing, factorised in the same way."""

    @property
    @abstractmethod
    def n_bytes(self) -> int:
        """Its size."""


def smallest_by_iteration(factor: Factor, steps: int = 3) -> float:
    """The smallest |eigenvalue| beside the stiffness by inverse iteration, from above.

    A few steps do not converge to it, but find its size where it stands out below the others, as
    that of a mode that should not be there does.
    """
    n, d = factor.whole.positions.shape
    vector = factor.project(np.random.default_rng(0).standard_normal((n * d, 1)))
    estimate = np.inf
    for _ in range(steps):
        vector /= np.linalg.norm(vector)
        vector = factor.solve(vector.reshape(n, d, 1)).reshape(n * d, 1)
        estimate = min(estimate, 1.0 / float(np.linalg.norm(vector)))
    return estimate / factor.stiffness


class Updated(Factor):
    """H + U C Uᵀ by (H + U C Uᵀ)⁻¹ = H⁻¹ - X (C⁻¹ + M)⁻¹ Xᵀ, with X = H⁻¹U and M = UᵀX.

    With |C|^½ taken out of it, K = sign C + |C|^½ M |C|^½ is what is solved with: where it has a
    zero eigenvalue, so has the new matrix. The inertia follows from the matrix [H U; Uᵀ -C⁻¹],
    whose two Schur complements are the new matrix and -(C⁻¹ + M) (Haynsworth 1968).

    Attributes
    ----------
    base:
        The factor of H.
    rank:
        How many columns are changed.
    growth:
        By how much rounding may have grown beside the base: 1 over K's smallest |eigenvalue|.
    """

    def __init__(
        self,
        base: Factor,
        columns: NDArray[np.float64],
        weights: NDArray[np.float64],
        solved: NDArray[np.float64],
        core: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> None:
        # The changed matrix itself is made only where it is factorised.
        super().__init__(base.whole, base.definite)
        self.base, self.method, self.gain = base, base.method, base.gain
        self._columns, self._weights, self._solved = columns, weights, solved
        self._values, vectors = core
        self._half = (np.sqrt(np.abs(weights))[:, None] * vectors).T
        self.rank = len(weights)
        self.growth = 1.0 / float(np.min(np.abs(self._values), initial=1.0))

    @classmethod
    def of(
        cls,
        factor: Factor,
        columns: NDArray[np.float64],
        weights: NDArray[np.float64],
    ) -> Factor:
        """The updated factor of one that may be updated itself; see `Factor.update`."""
        base, shape = factor, factor.whole.positions.shape
        known: tuple[NDArray[np.float64], ...] = ()
        if isinstance(factor, Updated):
            base, known = factor.base, (factor._columns, factor._weights, factor._solved)
        solved = base.solve(columns.reshape(*shape, -1)).reshape(columns.shape)
        if known:
            columns = np.concatenate([known[0], columns], axis=1)
            weights = np.concatenate([known[1], weights])
            solved = np.concatenate([known[2], solved], axis=1)
        moment = columns.T @ solved
        root = np.sqrt(np.abs(weights))
        core = root[:, None] * (0.5 * (moment + moment.T)) * root + np.diag(np.sign(weights))
        values, vectors = np.linalg.eigh(core)
        smallest = float(np.min(np.abs(values), initial=1.0))
        if not smallest > FLOPPY:
            raise FloppyModeError(
                f"the change leaves a floppy mode: 1 + c u·H⁻¹u is {smallest:.1e} (at least "
                f"{FLOPPY:.0e} is needed). A bond that takes no part in any state of self stress "
                "cannot be cut: leave it, or add others first."
            )
        out = cls(base, columns, weights, solved, (values, vectors))
        return out.renewed() if out.growth > MOST_GROWTH else out

    def renewed(self) -> Factor:
        """The changed matrix, factorised: its solutions are as good as any factor's."""
        found = self.inertia()
        definite = self.definite and found is not None and found.negative == 0
        whole = self.base.whole.plus(self._columns, self._weights)
        return self.base.again(whole, definite)

    def again(self, whole: Assembled, definite: bool) -> Factor:
        """Another matrix of the same packing, as the base was factorised."""
        return self.base.again(whole, definite)

    def _correction(self, loads: NDArray[np.float64]) -> NDArray[np.float64]:
        """|C|^½ Xᵀ loads in K's eigenvectors, (rank, k)."""
        return np.asarray(self._half @ (self._solved.T @ loads))

    def _solve(self, loads: NDArray[np.float64], rough: bool) -> NDArray[np.float64]:
        found = self.base._solve(loads, rough)
        inner = self._correction(loads) / self._values[:, None]
        return found - self._solved @ (self._half.T @ inner)

    def compliance(self, loads: NDArray[np.float64]) -> NDArray[np.float64]:
        """l·H⁻¹l of loads (N, d, k) without zero modes, (k,), of the changed matrix."""
        flat = self.project(loads.reshape(self.whole.matrix.size, -1))
        along = self._correction(flat)
        return self.base.compliance(loads) - np.sum(along**2 / self._values[:, None], axis=0)

    def inertia(self) -> Inertia | None:
        """As exact as the base's."""
        found = self.base.inertia()
        if found is None:
            return None
        gained = int(np.sum(self._values > 0)) - int(np.sum(self._weights > 0))
        return Inertia(found.negative + gained, found.zero, found.exact)

    def singular(self) -> bool:
        """Whether the base's factorisation shows a zero mode."""
        return self.base.singular()

    @property
    def n_bytes(self) -> int:
        """Its size, the base's included."""
        return self.base.n_bytes + int(2 * self._columns.nbytes)
