"""Potentials that only repel: WCA and Hertz, examples of interactions of users' own."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax import Array

from .lennard_jones import LOWEST, twelve_six
from .potentials import PairPotential

__all__ = ["WCA", "Hertz"]


class WCA(PairPotential):
    """The repulsive part of the Lennard-Jones potential: cut at its minimum, 2^(1/6) σ, and raised.

    u(r) = 4ε[(σ/r)¹² - (σ/r)⁶] + ε for r < 2^(1/6) σ, 0 beyond; u'' jumps there.

    Parameters
    ----------
    diameters, or sigma:
        (n_types,), of which σ is the mean, or σ (n_pairs,) where it is another, length.
    epsilon:
        ε > 0, (n_pairs,) or a scalar, energy.

    Raises `InputError` for values of wrong length or out of bounds.

    Source: Weeks, Chandler and Andersen, J. Chem. Phys. 54, 5237 (1971), eq. 4.
    """

    parameters = ("epsilon",)
    cutoff_in_sigma = LOWEST

    @staticmethod
    def pair_energy(r: Array, pair: Mapping[str, Array]) -> Array:  # noqa: D102
        return twelve_six(r, pair) + pair["epsilon"]

    @classmethod
    def pair_breaks(cls, pair: Mapping[str, Any]) -> tuple[Any, ...]:  # noqa: D102
        return (cls.pair_cutoff(pair),)

    @staticmethod
    def pair_attracts(pair: Mapping[str, Any]) -> Any:  # noqa: D102
        return np.zeros(np.shape(pair["epsilon"]), dtype=bool)


class Hertz(PairPotential):
    """Elastic spheres: u(r) = (2/5) ε (1 - r/σ)^(5/2) for r < σ, 0 beyond; u'' is continuous.

    Parameters
    ----------
    diameters, or sigma:
        (n_types,), of which σ is the mean, or σ (n_pairs,) where it is another, length.
    epsilon:
        ε > 0, (n_pairs,) or a scalar, energy.

    Raises `InputError` for values of wrong length or out of bounds.

    Source: O'Hern, Silbert, Liu and Nagel, Phys. Rev. E 68, 011306 (2003), eq. 1 with α = 5/2.
    """

    parameters = ("epsilon",)
    cutoff_in_sigma = 1.0
    table_tolerance = 1e-6  # polynomials follow the power 5/2 badly where it ends

    @staticmethod
    def pair_energy(r: Array, pair: Mapping[str, Array]) -> Array:  # noqa: D102
        return 0.4 * pair["epsilon"] * (1.0 - r / pair["sigma"]) ** 2.5

    @staticmethod
    def pair_breaks(pair: Mapping[str, Any]) -> tuple[Any, ...]:  # noqa: D102
        return (pair["sigma"],)

    @staticmethod
    def pair_stiffness(pair: Mapping[str, Any]) -> Any:  # noqa: D102
        return 1.5 * pair["epsilon"] / pair["sigma"] ** 2

    @staticmethod
    def pair_attracts(pair: Mapping[str, Any]) -> Any:  # noqa: D102
        return np.zeros(np.shape(pair["epsilon"]), dtype=bool)
