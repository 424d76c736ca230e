"""Factors by LAPACK, on one thread: of the whole matrix, or of a band.

Put in order along one side of its box, a packing's Hessian is a band: as wide as the pairs reach,
around the box's other sides (twice that in a periodic box, whose ends meet in the fold). In the
plane the band takes a third of the whole matrix's operations at N = 368 and a seventh at 1,000,
at the same speed, and its order costs nothing to find.
"""

from abc import abstractmethod

import numpy as np
import scipy.linalg
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from .blas import one_blas_thread
from .blocks import Assembled
from .inertia import SMALLEST_PIVOT, Inertia, NotPositiveError
from .interface import Factor

__all__ = ["Band", "Dense", "Lapack", "band_order"]


# LAPACK solves with a band column by column; more than these are solved together, by blocks.
FEW_COLUMNS = 8


class Lapack(Factor):
    """A factor whose pivots are at hand."""

    @property
    @abstractmethod
    def pivots(self) -> NDArray[np.float64]:
        """The factorisation's pivots, (N d,)."""

    def inertia(self) -> Inertia:
        """By the signs of the pivots."""
        pivots = self.pivots / self.stiffness
        zero = np.abs(pivots) <= SMALLEST_PIVOT
        return Inertia(int(np.sum((pivots < 0) & ~zero)), int(np.sum(zero)), exact=True)

    def _smallest_pivot(self) -> float | None:
        return float(np.min(self.pivots)) if self.definite else None

    def singular(self) -> bool:
        """Whether a pivot is zero to round-off."""
        return not float(np.min(np.abs(self.pivots))) > SMALLEST_PIVOT * self.stiffness


class Dense(Lapack):
    """Of the whole matrix: by Cholesky, or where it may be indefinite by Bunch and Kaufman."""

    method = "dense"

    @one_blas_thread
    def __init__(self, whole: Assembled, *, definite: bool = True) -> None:
        super().__init__(whole, definite)
        matrix = whole.grounded().dense()
        if definite:
            self._lower, info = scipy.linalg.lapack.dpotrf(matrix, lower=1, clean=0, overwrite_a=1)
            if info != 0:
                raise NotPositiveError
        else:
            work, _ = scipy.linalg.lapack.dsytrf_lwork(len(matrix), lower=1)
            self._lower, self._swaps, _ = scipy.linalg.lapack.dsytrf(
                matrix, lower=1, lwork=int(work), overwrite_a=1
            )

    @property
    def pivots(self) -> NDArray[np.float64]:
        """Cholesky's, or the eigenvalues of Bunch and Kaufman's blocks, (N d,)."""
        diagonal = np.diagonal(self._lower)
        if self.definite:
            return diagonal**2
        # A pair of negative places is a block of 2 by 2.
        paired = np.flatnonzero(self._swaps < 0)[::2]
        out = diagonal.copy()
        a, b = out[paired], out[paired + 1]
        mean, half = 0.5 * (a + b), np.hypot(0.5 * (a - b), self._lower[paired + 1, paired])
        out[paired], out[paired + 1] = mean - half, mean + half
        return out

    @one_blas_thread
    def _solve(self, loads: NDArray[np.float64], rough: bool) -> NDArray[np.float64]:
        if self.definite:
            found, _ = scipy.linalg.lapack.dpotrs(self._lower, loads, lower=1)
        else:
            found, _ = scipy.linalg.lapack.dsytrs(self._lower, self._swaps, loads, lower=1)
        return np.asarray(found)

    @one_blas_thread
    def compliance(self, loads: NDArray[np.float64]) -> NDArray[np.float64]:
        """l·H⁻¹l of loads (N, d, k) without zero modes, (k,), by half of a solution."""
        if not self.definite:
            return super().compliance(loads)
        flat = np.asfortranarray(loads.reshape(len(self._lower), -1))
        half, _ = scipy.linalg.lapack.dtrtrs(self._lower, flat, lower=1, overwrite_b=1)
        out: NDArray[np.float64] = np.einsum("nk,nk->k", half, half)
        return out

    def again(self, whole: Assembled, definite: bool) -> "Dense":
        """Another matrix of the same packing, densely."""
        return Dense(whole, definite=definite)

    @property
    def n_bytes(self) -> int:
        """Its size."""
        return int(self._lower.nbytes)


def band_order(whole: Assembled) -> tuple[NDArray[np.int64], int]:
    """Each particle's place (n,) along one side of the box, and the matrix's half band width.

    The side with the longest way between its faces; in a periodic box the order goes from both
    ends to the middle. Without a box it is the axis along which particles lie farthest apart.
    """
    x, d = whole.positions, whole.matrix.dimension
    if whole.box is None:
        along = x[:, int(np.argmax(np.ptp(x, axis=0)))]
    else:
        inverse = np.linalg.inv(whole.box)
        side = int(np.argmin(np.sum(inverse**2, axis=1)))
        along = x @ inverse[side]
        along = np.abs(along - np.floor(along) - 0.5)
    rank = np.empty(len(x), dtype=np.int64)
    rank[np.argsort(along, kind="stable")] = np.arange(len(x))
    pattern = whole.matrix.pattern
    apart = int(np.max(np.abs(rank[pattern.i] - rank[pattern.j]), initial=0))
    return rank, d * apart + d - 1


class Band(Lapack):
    """Of a band, by Cholesky; there is none for an indefinite matrix."""

    method = "band"

    @one_blas_thread
    def __init__(
        self, whole: Assembled, order: tuple[NDArray[np.int64], int] | None = None
    ) -> None:
        super().__init__(whole, definite=True)
        rank, width = band_order(whole) if order is None else order
        d, size = whole.matrix.dimension, whole.matrix.size
        self._width = width
        self._place = (d * rank[:, None] + np.arange(d)).ravel()
        # Some columns are added, to make it a whole number of blocks as long as the band is wide.
        self._band = whole.grounded().banded(rank, width, -(-size // width) * width)
        lower, info = scipy.linalg.lapack.dpbtrf(self._band[:, :size], lower=1, overwrite_ab=1)
        if info != 0:
            raise NotPositiveError
        self._lower = lower
        if not np.shares_memory(lower, self._band):  # LAPACK's interface may make a copy
            self._band[:, :size] = lower
        self._band[0, size:] = 1.0

    @property
    def pivots(self) -> NDArray[np.float64]:
        """Cholesky's, (N d,)."""
        return np.asarray(self._lower[0] ** 2)

    def _ordered(self, loads: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.empty(loads.shape, order="F")
        out[self._place] = loads
        return out

    def _blocks(self, loads: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Ordered loads in pieces as long as the band is wide."""
        width, n = self._width, self._band.shape[1]
        padded = np.zeros((n, loads.shape[1]))
        padded[self._place] = loads
        return [np.asfortranarray(padded[k : k + width]) for k in range(0, n, width)]

    def _triangle(self, block: int, *, below: bool = False) -> NDArray[np.float64]:
        """A block on the factor's diagonal, its lower triangle; or below it, its upper triangle.

        LAPACK's band, its columns read one element shorter than they are, is the matrix itself:
        blocks as long as the band is wide lie there one after another.
        """
        width = self._width
        start = block * width * (width + 1) + (width if below else 0)
        flat = self._band.T.reshape(-1)[start:]
        return as_strided(flat, (width, width), (flat.itemsize, width * flat.itemsize))

    def _half(self, pieces: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """L⁻¹ of pieces, by dense operations on blocks."""
        out: list[NDArray[np.float64]] = []
        for k, piece in enumerate(pieces):
            if k:
                below = self._triangle(k - 1, below=True)
                piece = piece - scipy.linalg.blas.dtrmm(1.0, below, out[-1], lower=0)
            out.append(scipy.linalg.blas.dtrsm(1.0, self._triangle(k), piece, lower=1))
        return out

    @one_blas_thread
    def _solve(self, loads: NDArray[np.float64], rough: bool) -> NDArray[np.float64]:
        if loads.shape[1] <= FEW_COLUMNS:
            found, _ = scipy.linalg.lapack.dpbtrs(
                self._lower, self._ordered(loads), lower=1, overwrite_b=1
            )
            return np.asarray(found[self._place])
        pieces = self._half(self._blocks(loads))
        for k in reversed(range(len(pieces))):
            piece = pieces[k]
            if k + 1 < len(pieces):
                below = self._triangle(k, below=True)
                piece = piece - scipy.linalg.blas.dtrmm(
                    1.0, below, pieces[k + 1], lower=0, trans_a=1
                )
            pieces[k] = scipy.linalg.blas.dtrsm(1.0, self._triangle(k), piece, lower=1, trans_a=1)
        return np.concatenate(pieces)[self._place]

    @one_blas_thread
    def compliance(self, loads: NDArray[np.float64]) -> NDArray[np.float64]:
        """l·H⁻¹l of loads (N, d, k) without zero modes, (k,), by half of a solution."""
        pieces = self._half(self._blocks(loads.reshape(len(self._place), -1)))
        out: NDArray[np.float64] = sum(np.einsum("nk,nk->k", x, x) for x in pieces)
        return out

    def again(self, whole: Assembled, definite: bool) -> Factor:
        """Another matrix; of an indefinite one the dense factor."""
        return Band(whole) if definite else Dense(whole, definite=False)

    @property
    def n_bytes(self) -> int:
        """Its size."""
        return int(self._band.nbytes)
