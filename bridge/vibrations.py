"""Vibrational frequencies of a packing at rest."""

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from .energy import hessian_of
from .packing import Packing
from .potentials import PairPotential
from .response import Response, response

__all__ = ["lowest_frequencies"]


def lowest_frequencies(
    packing: Packing, theta: PairPotential, n_modes: int = 16
) -> NDArray[np.float64]:
    """The lowest frequencies sign(λ) sqrt|λ| of the eigenvalues λ of H, ascending, mass 1.

    `n_modes` of them besides the zero modes of rigid translation (d) and of rattlers (d each),
    which are included: (n_modes + d (1 + rattlers),), or all there are.

    Raises as `response` does.
    """
    return frequencies_of(response(packing, theta), theta, n_modes)


def frequencies_of(found: Response, theta: PairPotential, n_modes: int) -> NDArray[np.float64]:
    """The lowest frequencies of a response's state; see `lowest_frequencies`."""
    state = found.state
    matrix = np.array(hessian_of(theta, state))
    d = state.positions.shape[1]
    free = np.repeat(found.rattlers, d)
    matrix[free] = 0.0
    matrix[:, free] = 0.0
    last = min(n_modes + d * (1 + int(found.rattlers.sum())), len(matrix)) - 1
    values = scipy.linalg.eigh(
        matrix, eigvals_only=True, subset_by_index=[0, last], check_finite=False
    )
    return np.sign(values) * np.sqrt(np.abs(values))
