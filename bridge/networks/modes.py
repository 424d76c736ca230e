"""Vibrational modes and a network's Poisson's ratio, and how bonds carry a load.

Source: Zhu et al., "A cyclical route linking fundamental mechanism and AI algorithm", Figs. 1i, j
and 4, whose derivation is in a supplement that is not to hand.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amorph.handover.showing import numbers_shown, shown

from ..errors import FeatureError
from ..features.vibrations import lowest_modes, project_on_modes, strain_ratios
from ..matter.packing import Packing
from ..matter.springs import Springs
from .building import without_cut
from .loads import between_plates, edge_nodes
from .response import NetworkResponse

__all__ = ["BondChanges", "Superposition", "bond_changes", "mode_superposition"]


@dataclass(frozen=True, eq=False)
class Superposition:
    """The lowest modes of an open network, and their part in its deformation between plates.

    Attributes
    ----------
    frequencies:
        (n_modes,), ascending.
    ratios:
        ν′ of each mode, (n_modes,), between -1 and 1: of the mean displacements of the nodes at
        the edges, along the axis where they are larger.
    weights:
        |C|² of each mode in the deformation under load, the mean of the two axes (n_modes,).
    positive, negative:
        The mode with the largest weight of those with ν′ > 0 and of those with ν′ < 0; -1: none.
    poisson_ratio:
        ν of the network, the mean of ν_x and ν_y.
    """

    frequencies: NDArray[np.float64]
    ratios: NDArray[np.float64]
    weights: NDArray[np.float64]
    positive: int
    negative: int
    poisson_ratio: float

    @property
    def superposed(self) -> float:
        """ν̄′ = |C₊|² ν′₊ + |C₋|² ν′₋ of the two dominant modes (P2, Fig. 4d)."""
        return sum(float(self.weights[k] * self.ratios[k]) for k in self._two)

    @property
    def over_all(self) -> float:
        """Σ |C|² ν′ over all modes that were found."""
        return float(self.weights @ self.ratios)

    @property
    def share(self) -> float:
        """The weight of the two dominant modes together."""
        return sum(float(self.weights[k]) for k in self._two)

    @property
    def _two(self) -> list[int]:
        return [k for k in (self.positive, self.negative) if k >= 0]

    def __repr__(self) -> str:
        return shown(
            f"Superposition of {len(self.frequencies)} modes",
            [
                ("frequencies", numbers_shown(self.frequencies)),
                ("poisson_ratio", f"{self.poisson_ratio:.6g}"),
                ("superposed", f"{self.superposed:.6g}, of weight {self.share:.3g}"),
            ],
        )


def mode_superposition(
    springs: Springs,
    packing: Packing,
    n_modes: int = 40,
    edges: dict[str, NDArray[np.int64]] | None = None,
) -> Superposition:
    """How the deformation of an open network between plates is made of its vibrational modes.

    Parameters
    ----------
    springs, packing:
        A network with open edges in the plane.
    n_modes:
        How many of the lowest modes, rigid motions left out.
    edges:
        As `edge_nodes` gives them, by default.

    Raises `FeatureError` for a network without edges, else as `NetworkResponse` and
    `amorph.bridge.lowest_modes` do.

    Example
    -------
    >>> network = networks.triangular_network((12, 12), open_edges=True)
    >>> networks.mode_superposition(*network).superposed
    """
    springs, packing = without_cut(springs, packing)
    found = edge_nodes(packing) if edges is None else edges
    modes = lowest_modes(springs, packing, n_modes)
    weights = np.zeros(len(modes.frequencies))
    ratio = 0.0
    for axis in (0, 1):
        response = NetworkResponse(springs, packing, between_plates(packing, axis, found))
        field = _without_rigid(packing, response.displacement(0))
        weights += 0.5 * project_on_modes(modes, field)
        ratio += 0.5 * float(response.response[0, 1])
    ratios = strain_ratios(
        np.array([_edge_strain(packing, found, v) for v in modes.vectors.T.swapaxes(1, 2)])
    )
    signed = [np.where(sign * ratios > 0, weights, -1.0) for sign in (1, -1)]
    positive, negative = (int(np.argmax(w)) if w.max() >= 0 else -1 for w in signed)
    return Superposition(modes.frequencies, ratios, weights, positive, negative, ratio)


def _without_rigid(packing: Packing, field: NDArray[np.float64]) -> NDArray[np.float64]:
    """A field (N, 2) without translation and rotation."""
    x = np.asarray(packing.positions) - np.mean(np.asarray(packing.positions), axis=0)
    turn = np.stack([-x[:, 1], x[:, 0]], axis=1)
    out = field - field.mean(axis=0)
    return out - turn * float(np.sum(turn * out) / np.sum(turn * turn))


def _edge_strain(
    packing: Packing, edges: dict[str, NDArray[np.int64]], field: NDArray[np.float64]
) -> NDArray[np.float64]:
    """e_xx and e_yy of the mean displacements (N, 2) of the nodes at the edges, (2,)."""
    x = np.asarray(packing.positions)
    out = []
    for axis, (low, high) in enumerate((("left", "right"), ("bottom", "top"))):
        first, last = edges[low], edges[high]
        apart = x[last, axis].mean() - x[first, axis].mean()
        out.append((field[last, axis].mean() - field[first, axis].mean()) / apart)
    return np.array(out)


@dataclass(frozen=True, eq=False)
class BondChanges:
    """How much longer each bond becomes under uniaxial loads.

    Attributes
    ----------
    changes:
        (n_bonds, 2): under a load along x and along y, as a part of the length and the strain
        along the load; of bonds that are there.
    """

    changes: NDArray[np.float64]

    @property
    def variance(self) -> float:
        """σ² = Σ |r_i - r_mean|² / n_bonds of the points (P2, Fig. 1j)."""
        return float(np.sum(np.var(self.changes, axis=0)))

    @property
    def same_sign(self) -> float:
        """Which part of σ² about 0 lies in quadrants I and III: what both loads do alike."""
        square = np.sum(self.changes**2, axis=1)
        alike = self.changes[:, 0] * self.changes[:, 1] > 0
        return float(square[alike].sum() / square.sum())


def bond_changes(springs: Springs, packing: Packing) -> BondChanges:
    """The length changes of bonds under uniaxial stress along x and along y (P2, Fig. 1i).

    Of a periodic network in the plane the box is strained so that no other stress remains; an open
    one lies between plates.

    Raises as `NetworkResponse` does, `FeatureError` for a network in space, and for a periodic one
    that has a strain without stress.

    Example
    -------
    >>> networks.bond_changes(*networks.triangular_network((12, 12))).variance
    """
    springs, packing = without_cut(springs, packing)
    length = np.asarray(springs.length)
    if packing.box is None:
        edges = edge_nodes(packing)
        pair = [between_plates(packing, axis, edges) for axis in (0, 1)]
        columns = [NetworkResponse(springs, packing, load).extension[:, 0] for load in pair]
        return BondChanges(np.stack(columns, axis=1) / length[:, None])
    if packing.dimension != 2:
        raise FeatureError("length changes are looked at under loads along two axes: in the plane.")
    response = NetworkResponse(springs, packing)
    n = response.load.n_strains
    modulus = response.response[:n, :n]
    if not np.linalg.eigvalsh(modulus)[0] > 1e-12 * np.trace(modulus):
        raise FeatureError("a strain costs the network nothing: no uniaxial stress answers it.")
    compliance = np.linalg.inv(modulus)
    strains = compliance[:, :2] / np.diagonal(compliance)[:2]
    return BondChanges(response.extension[:, :n] @ strains / length[:, None])
