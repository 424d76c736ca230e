"""The Hessian as blocks of particles, and the forms of it that libraries factorise.

Between evaluating the pairs and the first arithmetic of a factorisation there is nothing but
bookkeeping: sums of a pair's block at its ends, and each block's place. It is done by NumPy on
arrays with the pairs last, so that every operation runs along them; XLA's scatter takes several
times as long.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax import Array
from numpy.typing import NDArray

from ..matter.mechanics import State, interactions
from .held import grounds
from .rigid import rigid_modes

__all__ = ["Assembled", "BlockMatrix", "Pattern", "assembled", "pair_stiffness"]

# A pair is weak where its stiffness is below this part of a particle's own.
WEAK = 0.02


@dataclass(frozen=True, eq=False)
class Pattern:
    """Which pairs of particles have a block: i < j (M,), ascending, each once, among n particles.

    Two patterns are the same where the pairs are; what was found for one (the order of a
    factorisation) then serves for the other.
    """

    n: int
    i: NDArray[np.int32]
    j: NDArray[np.int32]

    def same(self, other: "Pattern") -> bool:
        """Whether both hold the same pairs."""
        return self is other or (
            self.n == other.n
            and np.array_equal(self.i, other.i)
            and np.array_equal(self.j, other.j)
        )

    @cached_property
    def rows(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
        """The upper triangle by rows, in each row its diagonal block first.

        Column indices and their beginnings, as in CSR, and where the pairs' blocks stand (M,).
        """
        before = np.concatenate([[0], np.cumsum(np.bincount(self.i, minlength=self.n))])
        indptr = (before + np.arange(self.n + 1)).astype(np.int32)
        at = np.arange(len(self.i)) + self.i + 1
        indices = np.empty(len(self.i) + self.n, dtype=np.int32)
        indices[indptr[:-1]] = np.arange(self.n)
        indices[at] = self.j
        return indices, indptr, at

    @cached_property
    def scalar(self) -> dict[int, "Triangle"]:
        """Filled by `triangle`: the upper triangle of single elements, for each dimension."""
        return {}

    def triangle(self, d: int) -> "Triangle":
        """The upper triangle of single elements by rows, for blocks (d, d)."""
        if d not in self.scalar:
            self.scalar[d] = Triangle.of(self, d)
        return self.scalar[d]


@dataclass(frozen=True, eq=False)
class Triangle:
    """The upper triangle of a matrix of blocks, element by element, as CSR.

    Attributes: indices and indptr; own, where elements (a, b >= a) of the diagonal blocks stand,
    (d (d + 1) / 2, n); off, where elements (a, b) of the pairs' blocks stand, (d, d, M).
    """

    indices: NDArray[np.int32]
    indptr: NDArray[np.int32]
    own: NDArray[np.int64]
    off: NDArray[np.int64]

    @classmethod
    def of(cls, pattern: Pattern, d: int) -> "Triangle":
        n, i, j = pattern.n, pattern.i, pattern.j
        partners = np.bincount(i, minlength=n)
        # Row a of a particle begins with its own elements from the diagonal on.
        length = (d * partners)[:, None] + (d - np.arange(d))
        indptr = np.concatenate([[0], np.cumsum(length.ravel())])
        begins = indptr[:-1].reshape(n, d)
        own = np.stack([begins[:, a] + (b - a) for a in range(d) for b in range(a, d)])
        place = np.arange(len(i)) - (np.cumsum(partners) - partners)[i]
        off = np.stack(
            [np.stack([begins[i, a] + (d - a) + d * place + b for b in range(d)]) for a in range(d)]
        )
        indices = np.empty(indptr[-1], dtype=np.int32)
        k = 0
        for a in range(d):
            for b in range(a, d):
                indices[own[k]] = d * np.arange(n) + b
                k += 1
            for b in range(d):
                indices[off[a, b]] = d * j + b
        return cls(indices, indptr.astype(np.int32), own, off)


@dataclass(frozen=True, eq=False)
class BlockMatrix:
    """A symmetric matrix of (d, d) blocks.

    Attributes
    ----------
    pattern:
        The pairs with a block between them.
    off:
        Those blocks, (d, d, M): element (a, b) stands in row a of the first particle and column b
        of the second.
    own:
        The diagonal blocks, (d, d, n).
    """

    pattern: Pattern
    off: NDArray[np.float64]
    own: NDArray[np.float64]

    @classmethod
    def of_pairs(
        cls,
        n: int,
        i: NDArray[Any],
        j: NDArray[Any],
        stiffness: NDArray[np.float64],
        like: Pattern | None = None,
    ) -> "BlockMatrix":
        """The sum over pairs i != j of stiffness matrices K, (d, d, M) and symmetric.

        A pair adds K to its ends' diagonal blocks and -K between them; a pair may stand there more
        than once. The pattern is the very object ``like`` where that is the same.
        """
        d = len(stiffness)
        own = np.empty((d, d, n))
        for a in range(d):
            for b in range(a, d):
                values = stiffness[a, b]
                total = np.bincount(i, values, n) + np.bincount(j, values, n)
                own[a, b] = own[b, a] = total
        pattern, off = _merged(n, i, j, -stiffness)
        if like is not None and like.same(pattern):
            pattern = like
        return cls(pattern, off, own)

    @property
    def dimension(self) -> int:
        """d."""
        return len(self.own)

    @property
    def size(self) -> int:
        """n d."""
        return self.dimension * self.pattern.n

    def raised(self, by: float) -> "BlockMatrix":
        """The same with every diagonal element raised."""
        own = self.own.copy()
        for a in range(self.dimension):
            own[a, a] += by
        return replace(self, own=own)

    def plus(self, columns: NDArray[np.float64], weights: NDArray[np.float64]) -> "BlockMatrix":
        """The same with Σ c u uᵀ added, columns u (n d, k) and weights c (k,).

        A column adds blocks between all particles on which it has elements.
        """
        n, d = self.pattern.n, self.dimension
        own = self.own.copy()
        first, second, blocks = [self.pattern.i], [self.pattern.j], [self.off]
        for column, weight in zip(columns.T, weights, strict=True):
            u = column.reshape(n, d)
            on = np.flatnonzero(u.any(axis=1))
            own[:, :, on] += weight * np.einsum("ma,mb->abm", u[on], u[on])
            p, q = np.triu_indices(len(on), 1)
            first.append(on[p].astype(np.int32))
            second.append(on[q].astype(np.int32))
            blocks.append(weight * np.einsum("ma,mb->abm", u[on[p]], u[on[q]]))
        pattern, off = _merged(
            n, np.concatenate(first), np.concatenate(second), np.concatenate(blocks, axis=2)
        )
        return BlockMatrix(pattern, off, own)

    def dense(self) -> NDArray[np.float64]:
        """The lower triangle with its diagonal blocks, (n d, n d), in Fortran's order."""
        n, d, size = self.pattern.n, self.dimension, self.size
        flat = np.zeros(size * size)
        block = (self.pattern.i.astype(np.int64) * size + self.pattern.j) * d
        diagonal = np.arange(n) * (d * (size + 1))
        for a in range(d):
            for b in range(d):
                flat[block + (a * size + b)] = self.off[a, b]
                flat[diagonal + (a * size + b)] = self.own[a, b]
        return flat.reshape(size, size).T

    def banded(self, rank: NDArray[np.int64], width: int, length: int) -> NDArray[np.float64]:
        """The lower band of the particles put in an order, in LAPACK's form (width + 1, length).

        ``rank`` (n,) is each particle's place in it; columns beyond n d are zero.
        """
        d = self.dimension
        first, second = rank[self.pattern.i], rank[self.pattern.j]
        turned = first > second
        low = np.where(turned, second, first)
        apart = np.abs(first - second)
        flat = np.zeros((width + 1) * length)
        # Column d low + a, and below its diagonal element by d apart + b - a.
        block = low * (d * (width + 1)) + d * apart
        diagonal = rank * (d * (width + 1))
        for a in range(d):
            for b in range(d):
                values = self.off[a, b]
                if a != b:
                    values = np.where(turned, self.off[b, a], values)
                flat[block + (a * width + b)] = values
                if b >= a:
                    flat[diagonal + (a * width + b)] = self.own[a, b]
        return flat.reshape(length, width + 1).T

    def upper(self) -> Any:
        """The upper triangle as a SciPy CSR matrix."""
        triangle = self.pattern.triangle(self.dimension)
        data = self.upper_values(triangle)
        return scipy.sparse.csr_array(
            (data, triangle.indices, triangle.indptr), shape=(self.size, self.size)
        )

    def upper_values(self, triangle: Triangle) -> NDArray[np.float64]:
        """The elements of the upper triangle, in its order."""
        d = self.dimension
        data = np.empty(len(triangle.indices))
        k = 0
        for a in range(d):
            for b in range(a, d):
                data[triangle.own[k]] = self.own[a, b]
                k += 1
            for b in range(d):
                data[triangle.off[a, b]] = self.off[a, b]
        return data

    def rows(self) -> NDArray[np.float64]:
        """The blocks of the upper triangle by `Pattern.rows`, (n_blocks, d, d)."""
        indices, indptr, at = self.pattern.rows
        blocks = np.empty((len(indices), self.dimension, self.dimension))
        blocks[indptr[:-1]] = self.own.transpose(2, 0, 1)
        blocks[at] = self.off.transpose(2, 0, 1)
        return blocks

    def full(self) -> Any:
        """The whole matrix as a SciPy BSR matrix."""
        n, (i, j) = self.pattern.n, (self.pattern.i, self.pattern.j)
        ends = np.concatenate([i, j, np.arange(n, dtype=np.int32)])
        others = np.concatenate([j, i, np.arange(n, dtype=np.int32)])
        off = self.off.transpose(2, 0, 1)
        blocks = np.concatenate([off, off.transpose(0, 2, 1), self.own.transpose(2, 0, 1)])
        order = np.lexsort((others, ends))
        indptr = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=n))])
        return scipy.sparse.bsr_array(
            (blocks[order], others[order], indptr), shape=(self.size, self.size)
        )


def _merged(
    n: int, i: NDArray[Any], j: NDArray[Any], blocks: NDArray[np.float64]
) -> tuple[Pattern, NDArray[np.float64]]:
    """The pattern of pairs, and their blocks (d, d, M) added up where a pair stands there twice."""
    low, high = np.minimum(i, j), np.maximum(i, j)
    key = low.astype(np.int64) * n + high
    turned = i > j
    if turned.any():
        blocks = np.where(turned, blocks.transpose(1, 0, 2), blocks)
    if (key[1:] > key[:-1]).all():
        return Pattern(n, low.astype(np.int32), high.astype(np.int32)), blocks
    distinct, which = np.unique(key, return_inverse=True)
    d = len(blocks)
    off = np.empty((d, d, len(distinct)))
    for a in range(d):
        for b in range(d):
            off[a, b] = np.bincount(which, blocks[a, b], len(distinct))
    rows, columns = np.divmod(distinct, n)
    return Pattern(n, rows.astype(np.int32), columns.astype(np.int32)), off


def pair_stiffness(theta: Any, state: State) -> list[Array]:
    """The stiffness matrices of the pairs of each kind, (d, d, M), the pairs last; traced."""
    return [jnp.moveaxis(part.stiffness_matrices(), 0, 2) for part in interactions(theta, state)]


_pair_stiffness = jax.jit(pair_stiffness)


@dataclass(frozen=True, eq=False)
class Assembled:
    """The Hessian of a state in blocks, and what holds its zero modes.

    Attributes
    ----------
    matrix:
        H; diagonal blocks of particles that are still are a stiffness, the others' raised as asked
        for.
    stiffness:
        H's mean diagonal element.
    grounds:
        Coordinates that are held against rigid motions, as many as there are of these.
    positions, box:
        Of the state: an order of the particles comes from them.
    rigid:
        Orthonormal rigid motions, (N d, n_rigid).
    rattlers, still:
        (N,): who is a rattler, and who is a rattler or fixed.
    """

    matrix: BlockMatrix
    stiffness: float
    grounds: NDArray[np.int64]
    positions: NDArray[np.float64]
    box: NDArray[np.float64] | None
    rigid: NDArray[np.float64]
    rattlers: NDArray[np.bool_]
    still: NDArray[np.bool_]

    @cached_property
    def any_still(self) -> bool:
        """Whether somebody is."""
        return bool(self.still.any())

    def grounded(self) -> BlockMatrix:
        """H with its rigid motions held by a few coordinates."""
        own = self.matrix.own.copy()
        particles, axes = np.divmod(self.grounds, len(own))
        own[axes, axes, particles] += self.stiffness
        return replace(self.matrix, own=own)

    def strong(self) -> BlockMatrix:
        """H, rigid motions free, without the pairs whose stiffness is small."""
        matrix = self.matrix
        size = np.sqrt(np.max(np.sum(matrix.off**2, axis=1), axis=0))
        kept = size > WEAK * self.stiffness
        own, pattern = matrix.own.copy(), matrix.pattern
        i, j, weak = pattern.i[~kept], pattern.j[~kept], matrix.off[:, :, ~kept]
        for a in range(len(own)):
            for b in range(len(own)):
                own[a, b] += np.bincount(i, weak[a, b], pattern.n)
                own[a, b] += np.bincount(j, weak[b, a], pattern.n)
        own = 0.5 * (own + own.transpose(1, 0, 2))
        return BlockMatrix(
            Pattern(pattern.n, pattern.i[kept], pattern.j[kept]), matrix.off[:, :, kept], own
        )

    def plus(self, columns: NDArray[np.float64], weights: NDArray[np.float64]) -> "Assembled":
        """The same with Σ c u uᵀ added, columns u (n d, k) and weights c (k,)."""
        return replace(self, matrix=self.matrix.plus(columns, weights))


def assembled(
    theta: Any,
    state: State,
    raised: float = 0.0,
    like: Pattern | None = None,
    stiffness: Sequence[Any] | None = None,
) -> Assembled:
    """The Hessian of a state in blocks.

    Parameters
    ----------
    raised:
        Every diagonal element is raised by this part of their mean.
    like:
        A pattern that becomes this matrix's own, if it is the same.
    stiffness:
        What `pair_stiffness` gives, where it is known.

    Pairs without stiffness, beyond their cutoff or of a rattler, have no block.
    """
    found = _pair_stiffness(theta, state) if stiffness is None else stiffness
    lists = [state.pairs] if theta.near is not None else []
    if theta.springs is not None and state.bonds is not None:
        lists.append(state.bonds)
    parts = []
    for pairs, of_kind in zip(lists, found, strict=True):
        number = int(pairs.count)
        i, j = np.asarray(pairs.i)[:number], np.asarray(pairs.j)[:number]
        parts.append((i, j, np.asarray(of_kind)[:, :, :number]))
    i, j, blocks = parts[0]
    if len(parts) > 1:
        i, j = (np.concatenate([p[k] for p in parts]) for k in range(2))
        blocks = np.concatenate([p[2] for p in parts], axis=2)
    x, rattlers, still = (np.asarray(v) for v in (state.positions, state.rattlers, state.still))
    n, d = x.shape
    moving = n - int(np.count_nonzero(still))
    there = blocks.any(axis=(0, 1))
    if moving < n:
        there &= ~(still[i] & still[j])
    if not there.all():
        i, j, blocks = i[there], j[there], blocks[:, :, there]
    anchored = still[i] | still[j] if moving < n else np.zeros(0, dtype=bool)
    if anchored.any():
        # A fixed particle holds its neighbours, and is no degree of freedom.
        ends = np.where(still[i], j, i)[anchored]
        held, i, j, blocks = (
            blocks[:, :, anchored], i[~anchored], j[~anchored], blocks[:, :, ~anchored]
        )  # fmt: skip
        matrix = BlockMatrix.of_pairs(n, i, j, blocks, like)
        for a in range(d):
            for b in range(d):
                matrix.own[a, b] += np.bincount(ends, held[a, b], n)
    else:
        matrix = BlockMatrix.of_pairs(n, i, j, blocks, like)
    mean = float(np.einsum("aan->", matrix.own)) / max(moving * d, 1)
    for a in range(d):
        matrix.own[a, a] += np.where(still, mean, raised * mean)
    rigid = rigid_modes(state)
    return Assembled(
        matrix=matrix,
        stiffness=mean,
        grounds=grounds(rigid, translations=state.box is not None),
        positions=x,
        box=None if state.box is None else np.asarray(state.box),
        rigid=rigid,
        rattlers=rattlers,
        still=still,
    )
