"""The Lennard-Jones potential, cut off in three ways: examples of interactions of users' own."""

from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .potentials import PairPotential

__all__ = ["LennardJones", "LennardJonesForceShifted", "LennardJonesShifted"]

# In units of σ: where u is lowest.
LOWEST = 2.0 ** (1.0 / 6.0)


def twelve_six(r: Array, pair: Mapping[str, Array]) -> Array:
    """4ε[(σ/r)¹² - (σ/r)⁶]."""
    x = (pair["sigma"] / r) ** 6
    return 4.0 * pair["epsilon"] * (x * x - x)


class LennardJones(PairPotential):
    """The Lennard-Jones potential, cut: u(r) = 4ε[(σ/r)¹² - (σ/r)⁶] for r < r_cut, 0 beyond.

    At the cutoff u and u' jump. A packing in which a pair lies there has no minimum in the usual
    sense, and cannot be relaxed: `LennardJonesForceShifted` has none of this.

    Parameters
    ----------
    diameters, or sigma:
        (n_types,), of which σ is the mean, or σ (n_pairs,) where it is another, length.
    epsilon:
        ε > 0, (n_pairs,) or a scalar, energy.
    r_cut:
        The cutoff, (n_pairs,) or a scalar, length.

    Raises `InputError` for values of wrong length or out of bounds.

    Example
    -------
    >>> theta = bridge.LennardJones(diameters=[1.0], epsilon=1.0, r_cut=2.5)

    Source: LAMMPS's pair style ``lj/cut``.
    """

    parameters = ("epsilon", "r_cut")

    @staticmethod
    def pair_energy(r: Array, pair: Mapping[str, Array]) -> Array:  # noqa: D102
        return twelve_six(r, pair)

    @staticmethod
    def pair_breaks(pair: Mapping[str, Any]) -> tuple[Any, ...]:  # noqa: D102
        return (pair["r_cut"],)

    @staticmethod
    def pair_attracts(pair: Mapping[str, Any]) -> Any:  # noqa: D102
        return pair["r_cut"] > LOWEST * pair["sigma"]

    @classmethod
    def kob_andersen(cls) -> Self:
        """The Kob-Andersen mixture, to be taken of 4 A to 1 B, cut at 2.5 σ_ij.

        σ and ε over AA, AB, BB: 1, 0.8, 0.88 and 1, 1.5, 0.5. The number density is 1.2.

        Source: Kob and Andersen, Phys. Rev. E 51, 4626 (1995).
        """
        sigma = np.array([1.0, 0.8, 0.88])
        return cls(sigma=sigma, epsilon=[1.0, 1.5, 0.5], r_cut=2.5 * sigma)


class LennardJonesShifted(LennardJones):
    """The Lennard-Jones potential, cut and shifted: `LennardJones` less its value at r_cut.

    At the cutoff u' jumps, as `LennardJones` says. Its forces are those of the cut potential.

    Source: LAMMPS's ``lj/cut`` with ``pair_modify shift yes``.
    """

    @staticmethod
    def pair_energy(r: Array, pair: Mapping[str, Array]) -> Array:  # noqa: D102
        return twelve_six(r, pair) - twelve_six(pair["r_cut"], pair)


class LennardJonesForceShifted(LennardJones):
    """The Lennard-Jones potential whose force goes to 0 at the cutoff, where u'' alone jumps.

    u(r) - u(r_cut) - (r - r_cut) u'(r_cut), u that of `LennardJones`.

    Source: Toxvaerd and Dyre, J. Chem. Phys. 134, 081102 (2011), eq. 3.
    """

    @staticmethod
    def pair_energy(r: Array, pair: Mapping[str, Array]) -> Array:  # noqa: D102
        cut = jnp.asarray(pair["r_cut"])
        value, slope = jax.jvp(lambda x: twelve_six(x, pair), (cut,), (jnp.ones_like(cut),))
        return twelve_six(r, pair) - value - (r - cut) * slope
