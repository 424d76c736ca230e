"""Vibrations of a packing at rest, mass 1: frequencies, modes, and what they are made of."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from jax import Array
from numpy.typing import ArrayLike, NDArray

from amorph.handover import InputError
from amorph.handover.arguments import check_kind, count, real_numbers
from amorph.handover.showing import numbers_shown, shown, spread_shown

from ..errors import ConvergenceError
from ..matter.arguments import check
from ..matter.mechanics import Interactions, State, interactions, listed, sum_over_pairs
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..minima.responses import Response, keep, response
from ..solve.blas import blas_on_one_thread, one_blas_thread
from ..solve.factors import DENSE, Lapack
from ..solve.modes import above_all

__all__ = [
    "DensityOfStates",
    "Modes",
    "density_of_states",
    "fitted_strains",
    "frequencies_of",
    "lowest_frequencies",
    "lowest_modes",
    "project_on_modes",
    "response_with",
    "strain_ratios",
    "with_modes",
]


# Squared frequencies that differ by more than this, relatively, are in different groups.
CLOSED = 1e-6
# The largest matrix whose whole spectrum is computed: some minutes on one core.
MOST_DENSE = 12_000


def lowest_frequencies(theta: Theta, packing: Packing, n_modes: int = 16) -> NDArray[np.float64]:
    """The lowest frequencies sqrt(λ) of the eigenvalues λ of H, ascending, mass 1.

    First the zero modes of rigid motions (d translations; in open space the rotations too) and of
    rattlers (d each), exactly zero, then `n_modes` others, or all there are.

    Raises as `lowest_modes` does.
    """
    check(theta=theta, packing=packing, n_modes=n_modes)
    found = response(theta, packing)
    values, _ = _lowest(theta, found, _checked_number(found, n_modes), vectors=False)
    return np.concatenate([np.zeros(n_zero_modes(found)), np.sqrt(values)])


@dataclass(frozen=True, eq=False)
class Modes:
    """The lowest vibrational modes of a packing, zero modes left out.

    Attributes
    ----------
    frequencies:
        (n_modes,), ascending, 1 / time.
    vectors:
        (N, d, n_modes), orthonormal: the sum of squares over particles and axes is 1.
    n_zero:
        How many zero modes there are: rigid motions, and d for each rattler.
    theta, packing:
        Of which they are.
    """

    frequencies: NDArray[np.float64]
    vectors: NDArray[np.float64]
    n_zero: int
    theta: Theta
    packing: Packing

    def __repr__(self) -> str:
        n, d, number = self.vectors.shape
        return shown(
            f"Modes: the {number} lowest of a packing of {n} particles in {d} dimensions",
            [
                ("frequencies", numbers_shown(self.frequencies)),
                ("participation", numbers_shown(self.participation_ratio)),
                ("zero modes", f"{self.n_zero}, left out"),
            ],
        )

    @property
    def participation_ratio(self) -> NDArray[np.float64]:
        """(Σ_i |e_i|²)² / (N Σ_i |e_i|⁴) of each mode, (n_modes,): 1 if all particles move alike.

        N counts every particle, rattlers too. Source: Bell and Dean, "Atomic vibrations in
        vitreous silica" (Discuss. Faraday Soc. 50 (1970)).
        """
        return participation_ratio(self.vectors)

    def strain(self) -> NDArray[np.float64]:
        """The homogeneous strain nearest to each mode, (n_modes, d, d), symmetric.

        The displacement gradient that fits the relative displacements of interacting pairs best
        (least squares), its symmetric part: pairs and not positions, so that it means the same for
        a periodic packing as for a finite one.
        """
        state = response(self.theta, self.packing).state
        i, j, vector = _interacting(self.theta, state)
        return fitted_strains(self.vectors[j] - self.vectors[i], vector)

    def poisson_ratio(self) -> NDArray[np.float64]:
        """The effective Poisson's ratio ν′ of each mode, (n_modes,), in two dimensions.

        A mode taken as a displacement stretches the packing along one axis and shortens or
        stretches it along the other. With its `strain` e, ν′ = -e_yy/e_xx if |e_xx| >= |e_yy| and
        -e_xx/e_yy otherwise, between -1 and 1. NaN never: a mode that strains neither axis has
        ν′ = 0.

        Source: Zhu et al., "A cyclical route linking fundamental mechanism and AI algorithm", Fig.
        4, whose definition is in a supplement that is not to hand; the choice of axis is ours.
        Raises `InputError` in three dimensions.
        """
        if self.packing.dimension != 2:
            raise InputError("a mode's Poisson's ratio is defined in two dimensions.")
        strain = self.strain()
        return strain_ratios(strain[:, [0, 1], [0, 1]])


def fitted_strains(change: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Strains (n_modes, d, d) that fit relative displacements of pairs best, by least squares.

    The relative displacements are (M, d, n_modes), of pairs that are `vector` (M, d) apart.
    """
    gradient = np.einsum("mak,mb->kab", change, vector) @ np.linalg.inv(vector.T @ vector)
    strain: NDArray[np.float64] = 0.5 * (gradient + gradient.transpose(0, 2, 1))
    return strain


def strain_ratios(along: NDArray[np.float64]) -> NDArray[np.float64]:
    """ν′ (n,) of strains e_xx, e_yy (n, 2), along the axis where they are larger; 0 for none."""
    large = np.argmax(np.abs(along), axis=1)
    rows = np.arange(len(along))
    first, second = along[rows, large], along[rows, 1 - large]
    return np.where(first == 0, 0.0, -second / np.where(first == 0, 1.0, first))


def participation_ratio(vectors: ArrayLike) -> NDArray[np.float64]:
    """(Σ_i |e_i|²)² / (N Σ_i |e_i|⁴) of displacement fields (N, d, ...); 1/N for one particle."""
    squares = np.sum(np.asarray(vectors) ** 2, axis=1)
    return np.asarray(np.sum(squares, axis=0) ** 2 / (len(squares) * np.sum(squares**2, axis=0)))


def lowest_modes(theta: Theta, packing: Packing, n_modes: int = 16) -> Modes:
    """The lowest vibrational modes of a packing at rest.

    By dense diagonalisation for small packings, by Lanczos iterations with the factorised Hessian
    (shift-invert) for large ones. The sign of a mode, and the basis of a degenerate group, are
    arbitrary.

    Raises `InputError` for a number of modes that cannot be, `ConvergenceError` where Lanczos
    iterations do not end, and otherwise as `response` does.
    """
    check(theta=theta, packing=packing, n_modes=n_modes)
    found = response(theta, packing)
    values, vectors = _lowest(theta, found, _checked_number(found, n_modes), vectors=True)
    assert vectors is not None
    return Modes(np.sqrt(values), vectors, n_zero_modes(found), theta, packing)


def n_zero_modes(found: Response) -> int:
    """The number of zero modes: rigid motions, and d for each rattler."""
    d = found.state.positions.shape[1]
    return int(found.factor.rigid.shape[1]) + d * int(found.rattlers.sum())


def _checked_number(found: Response, n_modes: int) -> int:
    n, d = found.state.positions.shape
    return min(int(n_modes), n * d - n_zero_modes(found))


def has_modes(theta: Theta, found: Response, n_modes: int) -> bool:
    """Whether the lowest modes are there, with all that share the last one's frequency."""
    modes = found.state.modes
    if modes is None or modes.shape[2] < n_modes:
        return False
    n, d = found.state.positions.shape
    if modes.shape[2] == n * d - n_zero_modes(found):
        return True
    if modes.shape[2] == n_modes:
        return False
    squared = squared_frequencies(theta, found.state)
    return bool(np.any(squared[n_modes:] - squared[n_modes - 1] > CLOSED * squared[n_modes:]))


def with_modes(theta: Theta, found: Response, n_modes: int) -> Response:
    """A response whose state has the lowest modes, one more than asked for if there is one.

    The one above tells whether the last of them is degenerate; if it is, more are computed.
    """
    extra = 1
    while True:
        number = _checked_number(found, n_modes + extra)
        if number < n_modes:
            raise InputError(f"the packing has {number} modes, fewer than {n_modes}.")
        values, vectors = _lowest(theta, found, number, vectors=True)
        # Take degenerate groups whole: their mean has a derivative where single members have none.
        closed = values[-1] - values[n_modes - 1] > CLOSED * values[-1]
        if closed or number < n_modes + extra:
            return replace(found, state=replace(found.state, modes=vectors))
        extra *= 2


def response_with(
    theta: Theta,
    packing: Packing,
    *,
    reach: float = 0.0,
    n_modes: int = 0,
    tolerance: float | None = None,
    solver: str = "auto",
) -> Response:
    """The response of a packing, with pairs up to a distance and as many of the lowest modes."""
    found = response(theta, packing, tolerance=tolerance, reach=reach, solver=solver)
    if n_modes and not has_modes(theta, found, n_modes):
        found = with_modes(theta, found, n_modes)
        keep(theta, packing, reach, found)
    return found


def _lowest(
    theta: Theta, found: Response, number: int, *, vectors: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """The lowest eigenvalues that are not zero modes', and their modes (N, d, number)."""
    n, d = found.state.positions.shape
    small = isinstance(found.factor, Lapack) and n * d <= DENSE[d]
    if small or number > n * d // 8:
        if n * d > MOST_DENSE:
            raise InputError(
                f"{number} modes of {n * d} are too many for iterations, and dense algebra bears "
                f"{MOST_DENSE} degrees of freedom: ask for fewer."
            )
        return _dense(theta, found, number, vectors=vectors)

    def inverse(v: NDArray[np.float64]) -> NDArray[np.float64]:
        return found.solve(v.reshape(n, d, 1)).reshape(n * d)

    operator = scipy.sparse.linalg.LinearOperator((n * d, n * d), inverse, dtype=np.float64)
    start = found.factor.project(np.random.default_rng(0).standard_normal((n * d, 1)))[:, 0]
    try:
        # ARPACK's own matrices are tiny: a team of threads takes ten times as long with them.
        with blas_on_one_thread():
            values, modes = scipy.sparse.linalg.eigsh(
                operator, k=number, which="LA", v0=start, ncv=max(2 * number + 1, 20)
            )
    except scipy.sparse.linalg.ArpackNoConvergence as error:
        raise ConvergenceError(f"the lowest modes were not found: {error}.") from error
    order = np.argsort(-values)
    # Converged: one more power of H⁻¹ would change eigenvalues by round-off alone.
    return 1.0 / values[order], modes[:, order].reshape(n, d, number) if vectors else None


@one_blas_thread
def _dense(
    theta: Theta, found: Response, number: int, *, vectors: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    n, d = found.state.positions.shape
    matrix = np.array(_above_all(theta, found.state, found.factor.rigid))
    out = scipy.linalg.eigh(
        matrix,
        eigvals_only=not vectors,
        subset_by_index=[0, number - 1],
        overwrite_a=True,
        check_finite=False,
    )
    if not vectors:
        return np.asarray(out), None
    return out[0], out[1].reshape(n, d, number)


_above_all = jax.jit(above_all)


def squared_between(theta: Any, state: State, modes: Any) -> Array:
    """v_kᵀ H v_l of modes (N, d, n), (n, n): on the diagonal the squared frequencies.

    Stationary in each mode on the diagonal, so that derivatives at fixed modes are exact there.
    """

    def of(part: Interactions) -> Array:
        change = modes[part.j] - modes[part.i]  # (M, d, n)
        unit = part.unit
        slope, curvature = part.slope_and_curvature
        along = jnp.einsum("md,mdk->mk", unit, change)
        bent = slope / part.distance
        whole = jnp.einsum("m,mdk,mdl->kl", bent, change, change)
        return whole + jnp.einsum("m,mk,ml->kl", curvature - bent, along, along)

    return sum_over_pairs(of, interactions(theta, state))


@jax.jit
def _squared(theta: Theta, state: State) -> Array:
    return squared_between(theta, state, state.modes)


def squared_frequencies(theta: Theta, state: State) -> NDArray[np.float64]:
    """The squared frequencies of the state's modes, (n_modes,)."""
    return np.diagonal(np.asarray(_squared(theta, state)))


def frequencies_of(theta: Any, state: State, n_modes: int) -> Array:
    """The lowest frequencies that are not zero, (n_modes,), with the modes held fixed."""
    modes = state.modes[:, :, :n_modes]

    def of(part: Interactions) -> Array:
        change = modes[part.j] - modes[part.i]
        slope, curvature = part.slope_and_curvature
        along = jnp.einsum("md,mdk->mk", part.unit, change)
        bent = slope / part.distance
        return jnp.einsum("m,mdk->k", bent, change**2) + (curvature - bent) @ along**2

    return jnp.sqrt(sum_over_pairs(of, interactions(theta, state)))


def _interacting(
    theta: Theta, state: State
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
    """The pairs nearer than their cutoff and the vectors between them."""
    found = [
        (p.i, p.j, p.vector, p.distance < p.kind.pair_cutoff(p.parameters))
        for p in interactions(theta, state)
    ]
    i, j, vector, inside = listed(theta, state, found)
    return i[inside], j[inside], vector[inside]


@dataclass(frozen=True, eq=False)
class DensityOfStates:
    """A density of vibrational states: edges (n_bins + 1,), density (n_bins,), n_modes counted."""

    edges: NDArray[np.float64]
    density: NDArray[np.float64]
    n_modes: int

    def __repr__(self) -> str:
        return shown(
            f"DensityOfStates of {self.n_modes} modes in {len(self.density)} bins",
            [("frequencies", spread_shown(self.edges)), ("density", spread_shown(self.density))],
        )


@one_blas_thread
def density_of_states(
    theta: Theta,
    packing: Packing,
    bins: "int | ArrayLike" = 60,
) -> DensityOfStates:
    """The density of states D(ω) of a packing at rest, normalised to 1, zero modes left out.

    Parameters
    ----------
    bins:
        How many of equal width from 0 to the highest frequency, or their edges.

    Raises `InputError` for packings of more than 12,000 degrees of freedom, whose whole spectrum
    is too much for dense algebra, and otherwise as `response` does.
    """
    check(theta=theta, packing=packing)
    edges = _checked_bins(bins)
    n, d = packing.positions.shape
    if n * d > MOST_DENSE:
        raise InputError(
            f"the whole spectrum of {n * d} degrees of freedom is more than dense algebra can bear "
            f"(up to {MOST_DENSE}): ask for the lowest modes, or average smaller packings."
        )
    found = response(theta, packing)
    number = n * d - n_zero_modes(found)
    matrix = np.array(_above_all(theta, found.state, found.factor.rigid))
    values = scipy.linalg.eigvalsh(matrix, overwrite_a=True, check_finite=False)[:number]
    frequencies = np.sqrt(values)
    if isinstance(edges, int):
        edges = np.linspace(0.0, float(frequencies[-1]) * (1 + 1e-12), edges + 1)
    counts, _ = np.histogram(frequencies, edges)
    return DensityOfStates(edges, counts / (number * np.diff(edges)), number)


def _checked_bins(bins: "int | ArrayLike") -> "int | NDArray[np.float64]":
    """The number of bins, or their edges; raises `InputError` for anything else."""
    edges = real_numbers("bins", bins, "a whole number, or ascending edges")
    if edges.ndim == 0:
        return count("bins", np.asarray(bins).item())
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise InputError("bins: edges must be at least two ascending frequencies.")
    return edges


def project_on_modes(modes: Modes, displacement: ArrayLike) -> NDArray[np.float64]:
    """|C_k|², the weight of each mode in a displacement field (N, d), (n_modes,).

    C_k = ⟨e_k|δr⟩ with δr normalised to 1; over all modes, zero modes included, the weights sum to
    1. Source: Zhu et al., "A cyclical route linking fundamental mechanism and AI algorithm", eq. 1.

    Raises `InputError` for a field that is zero or does not fit.
    """
    check_kind("modes", modes, Modes, "what bridge.lowest_modes returns")
    field = real_numbers("displacement", displacement, "(N, d) numbers")
    if field.shape != modes.vectors.shape[:2]:
        raise InputError(
            f"a displacement field has shape {field.shape}: it must be {modes.vectors.shape[:2]}."
        )
    size = float(np.linalg.norm(field))
    if not (np.isfinite(size) and size > 0):
        raise InputError("the displacement field is zero or not finite: it has no direction.")
    return np.einsum("ndk,nd->k", modes.vectors, field / size) ** 2
