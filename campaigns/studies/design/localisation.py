"""Localisation: to what degree few pairs in one place make a packing's moduli.

Source: Zu and Goodrich, "Designing athermal disordered solids with automatic differentiation"
(Commun. Mater. 5 (2024)), Fig. 1e; the measures are our choice.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amorph import bridge

__all__ = ["Localisation", "localisation", "participation", "spread"]

Floats = NDArray[np.float64]


def participation(contributions: Floats) -> float:
    """The part of the pairs that take part: (Σ|x|)² / (M Σ x²) of contributions (M,).

    1 where all are of one size, 0.64 for normally distributed ones, 1/M where one pair does all.
    """
    return float(np.abs(contributions).sum() ** 2 / (len(contributions) * np.sum(contributions**2)))


def spread(contributions: Floats, fractions: Floats) -> float:
    """The spread of contributions (M,) over the box, from 0 (at one place) to 1.

    The fractions (M, d) of the box vectors say where the pairs are. With weights x², along each box
    vector, 1 - |Σ w exp(2πi f)|; the mean of these.
    """
    weight = contributions**2 / np.sum(contributions**2)
    around = np.abs(np.einsum("m,md->d", weight, np.exp(2j * np.pi * fractions)))
    return float(np.mean(1.0 - around))


@dataclass(frozen=True)
class Localisation:
    """Of a packing's contributions to the bulk modulus, b_ij, and to the shear modulus, g_ij.

    Attributes: bulk_participation, shear_participation, bulk_spread, shear_spread.
    """

    bulk_participation: float
    shear_participation: float
    bulk_spread: float
    shear_spread: float


def localisation(theta: bridge.PairPotential, packing: bridge.Packing) -> Localisation:
    """The localisation of a packing at rest, in a box.

    Raises as `amorph.bridge.response` does.
    """
    found = bridge.bond_contributions(theta, packing)
    assert packing.box is not None
    centres = packing.positions[found.pairs[:, 0]] + 0.5 * found.vector
    fractions: Floats = np.asarray(np.linalg.solve(packing.box, centres.T).T, dtype=np.float64)
    return Localisation(
        participation(found.bulk),
        participation(found.shear),
        spread(found.bulk, fractions),
        spread(found.shear, fractions),
    )
