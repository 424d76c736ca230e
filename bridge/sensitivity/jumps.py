"""Jump terms: the part of a mean's derivative due to pairs that cross where u'' jumps.

A feature f made of second derivatives of the energy jumps by Δf when a pair crosses such a distance
b. A packing's own derivative knows nothing of that, but a mean over packings goes smoothly: pairs
cross at the rate at which they are found at b. So

    d⟨f⟩/dθ = ⟨df/dθ⟩ + ⟨Σ_pairs δ(r - b) Δf d(r - b)/dθ⟩,

what rearrangements do apart. Each pair close to b stands for those at b: δ is a kernel as wide as
it takes to hold some of them. Δf is exact (`crossings`). With its weights fixed the sum
differentiates as a feature does, by the same adjoint.

Source: derived here; an application of smoothed perturbation analysis (Gong and Ho, IEEE Trans.
Autom. Control 32, 858 (1987)).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..features.registry import Feature
from ..matter.mechanics import State
from ..matter.springs import Theta
from ..minima.responses import Response
from .crossings import Crossings, check_jump_terms, close_pairs, steps

__all__ = ["Jumps", "jumps_of"]

# The kernel is as wide as it takes to hold this many pairs per particle, and between FEWEST and
# MOST, but at most WIDEST of the smallest diameter. (With diameters 0.8 and 1.0, a = 6 and density
# 1.6 the nearest 0.08 lie within 0.003 σ; kernels of 0.003 σ and 0.01 σ give the same sum within
# its error, one of 0.03 σ twice as much.)
PAIRS_A_PARTICLE = 0.08
FEWEST, MOST = 8, 256
WIDEST = 0.01


@dataclass(frozen=True, eq=False)
class Jumps:
    """Pairs close to where u'' jumps, and what features gain when they cross.

    Attributes
    ----------
    close:
        The pairs, m of them.
    density:
        What each contributes to the density of pairs at b, (m,), 1 / length.
    step:
        Of features' components, with the pair beyond b less with it within, (rows, m).
    """

    close: Crossings
    density: NDArray[np.float64]
    step: NDArray[np.float64]

    def partials(
        self, state: State
    ) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64], NDArray[np.float64]]:
        """Partial derivatives of Σ density step (r - b) at fixed weights.

        By each listed pair's own parameters, (rows, M); by positions, (rows, N, d); by the strain,
        (rows, n_strains).
        """
        weight = self.density * self.step
        rows, size = len(weight), len(np.asarray(state.pairs.i))
        own = {}
        for name, slope in self.close.slopes.items():
            by_pair = np.zeros((size, rows))
            # One may be close to two breaks.
            np.add.at(by_pair, self.close.pairs, (-weight * slope).T)
            own[name] = by_pair.T
        n, d = np.shape(state.positions)
        pull = weight.T[:, :, None] * self.close.unit[:, None, :]  # (m, rows, d)
        loads = np.zeros((n, rows, d))
        np.add.at(loads, self.close.second, pull)
        np.add.at(loads, self.close.first, -pull)
        return own, loads.transpose(1, 0, 2), weight @ self.close.stretch()


def jumps_of(
    features: Sequence[Feature],
    theta: Theta,
    found: Response,
    tensor: Any,
) -> Jumps | None:
    """The pairs close to a jump of u'', and the steps of features as each of them crosses it.

    `tensor` is the packing's elastic tensor, or None.

    None where nothing jumps: springs are smooth, and clusters have no moduli. A pair whose crossing
    would leave a saddle has no step, since the packing then rearranges.

    Raises `FeatureError` for features of vibrational modes.
    """
    check_jump_terms(features, "leave jump_terms out.")
    state = found.state
    if theta.near is None or tensor is None:
        return None
    n = len(np.asarray(state.positions))
    number = int(np.clip(np.ceil(PAIRS_A_PARTICLE * n), FEWEST, MOST))
    # The pair list may end at the last break, the cutoff: only pairs within it are used there.
    close = close_pairs(theta.near, found, number)
    if not close.pairs.size:
        return None
    width = np.minimum(close.following, WIDEST * theta.near.size_range()[0])
    # Epanechnikov's. Pairs beyond its width contribute nothing; they stay, for their number to be
    # always one.
    density = 0.75 * np.maximum(1.0 - (close.offset / width) ** 2, 0.0) / width
    density *= np.where(close.of_break == len(theta.near.breaks()) - 1, 2.0, 1.0)
    compliance = found.factor.compliance(close.pulls(n).transpose(1, 2, 0))
    step = steps(features, theta, state, tensor, close, compliance)
    return Jumps(close, density, np.where(close.offset >= 0, -1.0, 1.0) * step)
