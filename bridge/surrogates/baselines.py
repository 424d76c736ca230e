"""The baseline that a model has to beat: linear regression on a network's lowest modes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

from amorph.handover import InputError
from amorph.handover.arguments import count, not_negative

from ..features.vibrations import fitted_strains
from ..networks.building import Network, bond_vectors
from .data import Examples
from .inputs import dynamical_matrix

__all__ = ["ModeRegression", "mode_numbers"]

# Up to this many degrees of freedom the spectrum is computed whole.
DENSE = 1000
# Inverses are of the matrix raised by this part of its mean diagonal: rigid motions cost nothing.
SHIFT = 1e-4


def mode_numbers(network: Network, n_modes: int) -> NDArray[np.float64]:
    """Numbers of the lowest modes, (3 n_modes,): frequencies, and strains of the plane.

    Of each mode ω, and the two invariants of the strain that fits it best: the trace squared and
    the square of what is left, in units of the mode's amplitude a bond.
    """
    springs, packing = network
    most = packing.dimension * (packing.n_particles - 1)
    if n_modes > most:
        raise InputError(f"n_modes = {n_modes}: a network of this size has {most}.")
    matrix = dynamical_matrix(springs, packing).astype(np.float64)
    first = packing.dimension  # rigid motions of a periodic network
    values, vectors = _lowest(matrix, first + n_modes)
    chosen = vectors[:, first : first + n_modes].T.reshape(n_modes, packing.n_particles, -1)
    vector, bonds = bond_vectors(packing), np.asarray(packing.bonds)
    change = chosen[:, bonds[:, 1]] - chosen[:, bonds[:, 0]]
    strain = fitted_strains(change.transpose(1, 2, 0), vector)
    trace = np.einsum("kaa->k", strain)
    rest = np.einsum("kab,kab->k", strain, strain) - trace**2 / packing.dimension
    size = np.einsum("kma,kma->k", change, change) / len(bonds)
    frequencies = np.sqrt(np.maximum(values[first : first + n_modes], 0.0))
    return np.concatenate([frequencies, trace**2 / size, rest / size])


def _lowest(
    matrix: NDArray[np.float64], number: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lowest eigenvalues, ascending, and their eigenvectors; of large matrices by Lanczos."""
    if len(matrix) <= max(DENSE, 4 * number):
        return scipy.linalg.eigh(matrix, subset_by_index=[0, number - 1])
    below = -SHIFT * float(np.trace(matrix)) / len(matrix)
    start = np.random.default_rng(0).standard_normal(len(matrix))
    values, vectors = scipy.sparse.linalg.eigsh(
        scipy.sparse.csc_matrix(matrix), k=number, sigma=below, v0=start
    )
    order = np.argsort(values)
    return values[order], vectors[:, order]


@dataclass(frozen=True, eq=False)
class ModeRegression:
    """ν by ridge regression on what `mode_numbers` says of the lowest modes.

    Attributes: n_modes; centre, scale (3 n_modes,) of the numbers; weights (3 n_modes + 1,).
    """

    n_modes: int
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def fitted(cls, learned: Examples, *, n_modes: int = 40, ridge: float = 1e-3) -> Self:
        """The regression of examples; raises `InputError` for numbers that cannot be."""
        count("n_modes", n_modes)
        not_negative("ridge", ridge)
        seen = np.stack([mode_numbers(network, n_modes) for network in learned.networks])
        centre, scale = seen.mean(axis=0), seen.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        x = np.column_stack([(seen - centre) / scale, np.ones(len(seen))])
        penalty = ridge * len(seen) * np.eye(x.shape[1])
        penalty[-1, -1] = 0.0
        return cls(n_modes, centre, scale, np.linalg.solve(x.T @ x + penalty, x.T @ learned.labels))

    def predict(self, networks: Sequence[Network]) -> NDArray[np.float64]:
        """ν of networks, (n,)."""
        seen = np.stack([mode_numbers(network, self.n_modes) for network in networks])
        x = np.column_stack([(seen - self.centre) / self.scale, np.ones(len(seen))])
        return np.asarray(x @ self.weights)
