"""The pair potentials that the engine has too.

The formulas are those of the C++ headers in `hoomd_plugin/potentials`, against which they are
tested point by point; parameters and their bounds stand in `amorph.handover.POTENTIALS`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from amorph.handover import FOUR_TERM_ONSET, MORSE_SWITCH

from .potentials import PairPotential

__all__ = [
    "FourTerm",
    "HarmonicMorse",
    "HarmonicMorseReduced",
    "Morse",
    "SoftSphere",
]


def _xplor(r: Array, r_on: Array, r_cut: Array) -> Array:
    x, on, cut = r * r, r_on * r_on, r_cut * r_cut
    inner = (cut - x) ** 2 * (cut + 2 * x - 3 * on) / (cut - on) ** 3
    return jnp.where(r < r_on, 1.0, jnp.where(r < r_cut, inner, 0.0))


class _MorseWell:
    """Base of the potentials with a Morse well, switched off from σ + 5/a to σ + 9.9/a."""

    onset, cutoff = MORSE_SWITCH

    @classmethod
    def pair_cutoff(cls, pair: Mapping[str, Any]) -> Any:
        return pair["sigma"] + cls.cutoff / pair["alpha"]

    @staticmethod
    def pair_attracts(pair: Mapping[str, Any]) -> Any:
        return pair["binding"] > 0


class HarmonicMorse(_MorseWell, PairPotential):
    """The harmonic-Morse potential: a harmonic core and a Morse well.

    u(r) = (k/2)(σ - r)² - B for r < σ, B[exp(-2a(r-σ)) - 2 exp(-a(r-σ))] S(r) beyond, where
    σ = (D_i + D_j)/2 and S is the XPLOR switch from σ + 5/a to σ + 9.9/a.

    Parameters
    ----------
    diameters:
        D, (n_types,), length.
    binding:
        B >= 0, (n_pairs,) or a scalar, energy.
    stiffness:
        k, (n_pairs,) or a scalar, energy / length².
    alpha:
        a, (n_pairs,) or a scalar, 1 / length.

    Raises `InputError` for values of wrong length or out of bounds.

    Source: Zu and Goodrich, "Designing athermal disordered solids with automatic differentiation"
    (Commun. Mater. 5 (2024)), eq. 1; the figures 5 and 9.9 are its published code's.
    """

    potential = "harmonic_morse"

    @staticmethod
    def core_stiffness(pair: Mapping[str, Any]) -> Any:
        """u'' in the core."""
        return pair["stiffness"]

    @classmethod
    def pair_energy(cls, r: Array, pair: Mapping[str, Array]) -> Array:  # noqa: D102
        sigma, binding, alpha = pair["sigma"], pair["binding"], pair["alpha"]
        core = r < sigma
        # The exponential of the branch that is not taken must not overflow: derivatives of
        # `where` multiply it by zero.
        decay = jnp.exp(-alpha * jnp.where(core, 0.0, r - sigma))
        switch = _xplor(r, sigma + cls.onset / alpha, sigma + cls.cutoff / alpha)
        return jnp.where(
            core,
            0.5 * cls.core_stiffness(pair) * (sigma - r) ** 2 - binding,
            binding * decay * (decay - 2.0) * switch,
        )

    @classmethod
    def pair_breaks(cls, pair: Mapping[str, Any]) -> tuple[Any, ...]:  # noqa: D102
        sigma, alpha = pair["sigma"], pair["alpha"]
        return sigma, sigma + cls.onset / alpha, sigma + cls.cutoff / alpha

    @classmethod
    def pair_stiffness(cls, pair: Mapping[str, Any]) -> Any:  # noqa: D102
        core, well = cls.core_stiffness(pair), 2 * pair["alpha"] ** 2 * pair["binding"]
        return (jnp if isinstance(well, jax.Array) else np).maximum(core, well)


class HarmonicMorseReduced(HarmonicMorse):
    """The harmonic-Morse potential with the core (k/2)(1 - r/σ)² - B.

    Everything else and the parameters are `HarmonicMorse`'s; k is an energy.

    Source: Zu, Desai and Goodrich, "Fully independent response in disordered solids", eq. 1, which
    gives no cutoff.
    """

    potential = "harmonic_morse_reduced"

    @staticmethod
    def core_stiffness(pair: Mapping[str, Any]) -> Any:
        """u'' in the core."""
        return pair["stiffness"] / pair["sigma"] ** 2


class SoftSphere(PairPotential):
    """Soft spheres: u(r) = (k/2)(1 - r/σ)² for r < σ = (D_i + D_j)/2, 0 beyond.

    Parameters
    ----------
    diameters:
        D, (n_types,), length.
    stiffness:
        k, (n_pairs,) or a scalar, energy.

    Raises `InputError` for values of wrong length or out of bounds.

    Source: Zu, Desai and Goodrich, "Fully independent response in disordered solids", eq. 1 with
    B = 0.
    """

    potential = "soft_sphere"

    @staticmethod
    def pair_energy(r: Array, pair: Mapping[str, Array]) -> Array:  # noqa: D102
        overlap = 1.0 - r / pair["sigma"]
        return jnp.where(overlap > 0, 0.5 * pair["stiffness"] * overlap**2, 0.0)

    @staticmethod
    def pair_cutoff(pair: Mapping[str, Any]) -> Any:  # noqa: D102
        return pair["sigma"]

    @staticmethod
    def pair_breaks(pair: Mapping[str, Any]) -> tuple[Any, ...]:  # noqa: D102
        return (pair["sigma"],)

    @staticmethod
    def pair_stiffness(pair: Mapping[str, Any]) -> Any:  # noqa: D102
        return pair["stiffness"] / pair["sigma"] ** 2

    @staticmethod
    def pair_attracts(pair: Mapping[str, Any]) -> Any:  # noqa: D102
        return np.zeros(np.shape(pair["stiffness"]), dtype=bool)


class Morse(_MorseWell, PairPotential):
    """The Morse potential: u(r) = B[exp(-2a(r-σ)) - 2 exp(-a(r-σ))] S(r), σ = (D_i + D_j)/2.

    S is the XPLOR switch from σ + 5/a to σ + 9.9/a, as in `HarmonicMorse`.

    Parameters
    ----------
    diameters:
        D, (n_types,), length.
    binding:
        B >= 0, (n_pairs,) or a scalar, energy.
    alpha:
        a, (n_pairs,) or a scalar, 1 / length.

    Raises `InputError` for values of wrong length or out of bounds.

    Source: Goodrich, King, Schoenholz, Cubuk and Brenner, "Designing self-assembling kinetics with
    differentiable statistical physics models" (PNAS 118, e2024083118 (2021)), the interaction of
    its clusters, for which it gives no cutoff.
    """

    potential = "morse"

    @classmethod
    def pair_energy(cls, r: Array, pair: Mapping[str, Array]) -> Array:  # noqa: D102
        sigma, alpha = pair["sigma"], pair["alpha"]
        decay = jnp.exp(-alpha * (r - sigma))
        switch = _xplor(r, sigma + cls.onset / alpha, sigma + cls.cutoff / alpha)
        return pair["binding"] * decay * (decay - 2.0) * switch

    @classmethod
    def pair_breaks(cls, pair: Mapping[str, Any]) -> tuple[Any, ...]:  # noqa: D102
        sigma, alpha = pair["sigma"], pair["alpha"]
        return sigma + cls.onset / alpha, sigma + cls.cutoff / alpha

    @staticmethod
    def pair_stiffness(pair: Mapping[str, Any]) -> Any:  # noqa: D102
        # at the bottom of the well; the wall below it is steeper
        return 2 * pair["alpha"] ** 2 * pair["binding"]


class FourTerm(PairPotential):
    """The potential under which one kind of particle forms a honeycomb lattice.

    u(r) = [b0/r¹² - a0/r¹⁰ + a1 exp(-a2 r) - b1 exp(-b2 (r - a3)²)] S(r), with S the XPLOR switch
    from 0.8 r_cut to r_cut.

    Parameters
    ----------
    diameters:
        (n_types,), length: no part of u, but the unit of the lengths of steps and skins.
    b0, a0, a1, a2, b1, b2, a3:
        (n_pairs,) or scalars, in the units that follow from u; b0 > 0, the others >= 0.
    r_cut:
        The cutoff, (n_pairs,) or a scalar, length.

    Raises `InputError` for values of wrong length or out of bounds.

    Source: Goodrich, King, Schoenholz, Cubuk and Brenner, "Designing self-assembling kinetics with
    differentiable statistical physics models" (PNAS 118, e2024083118 (2021)), eq. 1; the cutoff is
    ours.
    """

    potential = "four_term"
    onset = FOUR_TERM_ONSET

    @classmethod
    def pair_energy(cls, r: Array, pair: Mapping[str, Array]) -> Array:  # noqa: D102
        u = (
            pair["b0"] * r**-12
            - pair["a0"] * r**-10
            + pair["a1"] * jnp.exp(-pair["a2"] * r)
            - pair["b1"] * jnp.exp(-pair["b2"] * (r - pair["a3"]) ** 2)
        )
        return u * _xplor(r, cls.onset * pair["r_cut"], pair["r_cut"])

    @staticmethod
    def pair_cutoff(pair: Mapping[str, Any]) -> Any:  # noqa: D102
        return pair["r_cut"]

    @classmethod
    def pair_breaks(cls, pair: Mapping[str, Any]) -> tuple[Any, ...]:  # noqa: D102
        return cls.onset * pair["r_cut"], pair["r_cut"]

    @classmethod
    def pair_stiffness(cls, pair: Mapping[str, Any]) -> Any:  # noqa: D102
        # From slightly inside the minimum outwards, as in the engine: the wall below is steeper
        # without bound.
        def of_one(one: dict[str, Array]) -> Array:
            def energy(r: Array) -> Array:
                return cls.pair_energy(r, one)

            u = jax.vmap(energy)
            second: Callable[[Array], Array] = jax.vmap(jax.grad(jax.grad(energy)))
            part = jnp.arange(1, 1000) / 1000
            lowest = part[jnp.argmin(u(one["r_cut"] * part))]
            within = jnp.linspace(0.95 * lowest, 1.0, 1001)
            return jnp.max(jnp.abs(second(one["r_cut"] * within)))

        flat = {k: jnp.ravel(jnp.asarray(v)) for k, v in pair.items()}
        found = jax.vmap(of_one)(flat).reshape(np.shape(pair["r_cut"]))
        return found if isinstance(pair["r_cut"], jax.Array) else np.asarray(found)

    @staticmethod
    def pair_attracts(pair: Mapping[str, Any]) -> Any:  # noqa: D102
        return (pair["a0"] > 0) | (pair["b1"] > 0)
