"""Neighbours: weights of pairs that fall from 1 to 0 with their distance."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array

from amorph.handover import InputError
from amorph.handover.arguments import check_choice, not_negative

from .mechanics import State, pair_terms
from .springs import Theta

__all__ = ["FIRST_SHELL", "FIRST_SHELL_SHARP", "WITHIN_LARGEST_DIAMETER", "Window"]

UNITS = ("sigma", "length", "largest_diameter")
SOFTENING = 1e-6
WINDOW = "a bridge.Window, as bridge.Window(1.15, 1.4)"


@dataclass(frozen=True)
class Window:
    """Weights w(r) of pairs: 1 below `inner`, 0 from `outer` on, the C² quintic between.

    w = 1 - t³(10 - 15 t + 6 t²), t = (r/unit - inner)/(outer - inner). A window with inner = outer
    is sharp: neighbours are the pairs nearer than that, each with weight 1.

    Attributes
    ----------
    inner, outer:
        Where w begins to fall, and where it has fallen, in the unit; 0 <= inner <= outer.
    unit:
        ``"sigma"``: σ_ij = (D_i + D_j)/2 of each pair. ``"length"``: reduced units.
        ``"largest_diameter"``: that of all types, for sharp windows only, since it is no parameter
        of the pair.

    Raises `InputError` for values that do not fit.
    """

    inner: float
    outer: float
    unit: str = "sigma"

    def __post_init__(self) -> None:
        """Check, and make the values plain floats."""
        object.__setattr__(self, "inner", not_negative("a window's inner", self.inner))
        object.__setattr__(self, "outer", not_negative("a window's outer", self.outer))
        if not (self.inner <= self.outer and self.outer > 0):
            raise InputError(
                f"a window from {self.inner} to {self.outer}: it must be 0 <= inner <= outer, "
                "with outer finite and greater than 0."
            )
        check_choice("unit", self.unit, UNITS)
        if self.unit == "largest_diameter" and not self.is_sharp:
            raise InputError(
                "a smooth window cannot be in units of the largest diameter, which is no parameter "
                "of the pair: give it in units of 'sigma', or as a 'length'."
            )

    @classmethod
    def sharp(cls, cut: float, unit: str = "sigma") -> "Window":
        """The window in which pairs nearer than `cut` units are neighbours."""
        return cls(cut, cut, unit)

    @property
    def differentiable(self) -> bool:
        """Whether features built on it have derivatives by each pair's own parameters."""
        return not self.is_sharp and self.unit != "largest_diameter"

    @property
    def is_sharp(self) -> bool:
        """Whether the weight jumps, so that nothing built on it has derivatives."""
        return self.inner == self.outer

    def reach(self, theta: Theta) -> float:
        """The distance, in reduced units, beyond which no pair has a weight."""
        if self.unit == "length":
            return self.outer
        return self.outer * theta.size_range()[1]

    def weights(self, theta: Any, state: State) -> Array:
        """w of each pair, (M,)."""
        terms = pair_terms(theta, state)
        r, unit = terms.distance, jnp.asarray(1.0)
        if self.unit == "sigma":
            unit = terms.parameters["sigma"]
        elif self.unit == "largest_diameter":
            unit = jnp.max(theta.near.diameters)
        if self.is_sharp:
            return jnp.where(r < self.outer * unit, 1.0, 0.0)
        return fall((r / unit - self.inner) / (self.outer - self.inner))

    def __str__(self) -> str:
        if self.is_sharp:
            return f"r < {self.outer:g} {self.unit}"
        return f"{self.inner:g} to {self.outer:g} {self.unit}"


# A window around the gap of g(r/σ) after the first shell, and a sharp cut in its middle.
FIRST_SHELL = Window(1.15, 1.4)
FIRST_SHELL_SHARP = Window.sharp(1.275)
WITHIN_LARGEST_DIAMETER = Window.sharp(1.0, "largest_diameter")


def fall(t: Array) -> Array:
    """1 below t = 0, 0 above t = 1, the C² quintic between."""
    t = jnp.clip(t, 0.0, 1.0)
    return 1.0 - t**3 * (10.0 - 15.0 * t + 6.0 * t**2)


def sum_over_neighbours(state: State, seen_from_i: Array, seen_from_j: Array) -> Array:
    """For each particle the sum of what its pairs contribute to it, (N, ...)."""
    out = jnp.zeros((len(state.typeid), *seen_from_i.shape[1:]), dtype=seen_from_i.dtype)
    return out.at[state.pairs.i].add(seen_from_i).at[state.pairs.j].add(seen_from_j)


def saturating(total: Array) -> Array:
    """The divisor of a sum over neighbours of total weight s: s, and s + (1 - s)³/3 below 1.

    It is C² and never 0, so that a particle's last neighbour leaves smoothly.
    """
    return total + jnp.maximum(1.0 - total, 0.0) ** 3 / 3.0


def soft_modulus(squared: Array) -> Array:
    """sqrt(x² + e²) - e of x², e = 1e-6: a modulus that has derivatives at 0."""
    return jnp.sqrt(squared + SOFTENING**2) - SOFTENING
