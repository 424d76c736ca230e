"""Pair formulas in NumPy, for the peers that read tables; checked by differences when run.

``python formulas.py`` compares each derivative with central differences and prints the error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "HarmonicMorse",
    "LennardJones",
    "PairPotential",
    "PairTable",
    "SoftSphere",
    "pair_vector",
]

_ON, _CUT = 5.0, 9.9  # the switch works between sigma + 5/alpha and sigma + 9.9/alpha


def pair_vector(value: ArrayLike, n_types: int) -> NDArray[np.float64]:
    """A parameter of pairs of types over ``numpy.triu_indices(n_types)``; scalars broadcast."""
    n_pairs = n_types * (n_types + 1) // 2
    return np.ascontiguousarray(np.broadcast_to(np.asarray(value, np.float64), (n_pairs,)))


class PairPotential(ABC):
    """Additive pairs of types: sigma is the mean of two diameters."""

    diameters: Sequence[float]
    potential: ClassVar[str]

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The parameters by name: with ``potential``, what Amorph's engine asks of a potential."""

    @abstractmethod
    def cutoff(self, first: int, second: int) -> float:
        """Where the pair of types ends [length]."""

    @abstractmethod
    def energy(self, r: ArrayLike, first: int, second: int) -> NDArray[np.float64]:
        """u(r) of two types, the shape of ``r`` [energy]."""

    @abstractmethod
    def force(self, r: ArrayLike, first: int, second: int) -> NDArray[np.float64]:
        """-u'(r) of two types, the shape of ``r`` [energy / length]."""

    @property
    def n_types(self) -> int:
        """How many types there are."""
        return len(self.diameters)

    @property
    def largest_cutoff(self) -> float:
        """The largest cutoff over the pairs of types [length]."""
        return max(pair.cutoff for pair in self.pairs())

    def sigma(self, first: int, second: int) -> float:
        """The mean of two types' diameters [length]."""
        return float(0.5 * (self.diameters[first] + self.diameters[second]))

    def of_pair(self, parameter: ArrayLike, first: int, second: int) -> float:
        """A pair of types' entry of a parameter over ``numpy.triu_indices`` of the types."""
        low, high = sorted((first, second))
        rows, columns = np.triu_indices(self.n_types)
        index = int(np.flatnonzero((rows == low) & (columns == high))[0])
        return float(pair_vector(parameter, self.n_types)[index])

    def pairs(self) -> list[PairTable]:
        """Every pair of types, in the order of ``numpy.triu_indices``."""
        return [
            PairTable(int(i), int(j), self.cutoff(int(i), int(j)), self)
            for i, j in zip(*np.triu_indices(self.n_types), strict=True)
        ]


@dataclass(frozen=True)
class PairTable:
    """One pair of types: where it ends, and its energy and force at any distances.

    Attributes:
        first, second: the types, ``first <= second``.
        cutoff: distance from which the energy is zero [length].
        potential: the formula that :meth:`energy` and :meth:`force` evaluate.
    """

    first: int
    second: int
    cutoff: float
    potential: PairPotential

    def energy(self, r: ArrayLike) -> NDArray[np.float64]:
        """u(r), the shape of ``r`` [energy]."""
        return self.potential.energy(r, self.first, self.second)

    def force(self, r: ArrayLike) -> NDArray[np.float64]:
        """-u'(r), the shape of ``r`` [energy / length]."""
        return self.potential.force(r, self.first, self.second)


@dataclass(frozen=True)
class HarmonicMorse(PairPotential):
    """Harmonic repulsion, Morse attraction, XPLOR switch.

    Below sigma, the mean of two diameters, u = (k/2)(sigma - r)^2 - B; from there on
    u = B (e^(-2 a (r - sigma)) - 2 e^(-a (r - sigma))) S(r), and S falls from 1 at
    sigma + 5/a to 0 at sigma + 9.9/a.

    Attributes:
        diameters: one a type [length].
        binding: B, over ``numpy.triu_indices`` of the types, or one for all [energy].
        stiffness: k, likewise [energy / length^2].
        alpha: a [1 / length].
    """

    diameters: Sequence[float] = (0.8, 1.0)
    binding: Sequence[float] | float = 0.1
    stiffness: Sequence[float] | float = 5.0
    alpha: float = 6.0

    potential: ClassVar[str] = "harmonic_morse"

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The parameters by name: with ``potential``, what Amorph's engine asks of a potential."""
        return {
            "diameters": np.asarray(self.diameters, np.float64),
            "binding": pair_vector(self.binding, self.n_types),
            "stiffness": pair_vector(self.stiffness, self.n_types),
            "alpha": pair_vector(self.alpha, self.n_types),
        }

    def cutoff(self, first: int, second: int) -> float:
        """Where the pair of types ends [length]."""
        return self.sigma(first, second) + _CUT / self.alpha

    def _of_pair(self, first: int, second: int) -> tuple[float, float, float]:
        return (
            self.sigma(first, second),
            self.of_pair(self.binding, first, second),
            self.of_pair(self.stiffness, first, second),
        )

    def _parts(self, r: NDArray[np.float64], sigma: float) -> tuple[NDArray[np.float64], ...]:
        on2, cut2 = (sigma + _ON / self.alpha) ** 2, (sigma + _CUT / self.alpha) ** 2
        r2 = r * r
        width = (cut2 - on2) ** 3
        inside = (cut2 - r2) ** 2 * (cut2 + 2 * r2 - 3 * on2) / width
        slope = 12 * r * (cut2 - r2) * (on2 - r2) / width
        switch = np.where(r2 < on2, 1.0, np.where(r2 < cut2, inside, 0.0))
        switch_slope = np.where((r2 < on2) | (r2 >= cut2), 0.0, slope)
        decay = np.exp(-self.alpha * (np.maximum(r, sigma) - sigma))
        morse = decay * decay - 2 * decay
        morse_slope = 2 * self.alpha * (decay - decay * decay)
        return switch, switch_slope, morse, morse_slope

    def energy(self, r: ArrayLike, first: int, second: int) -> NDArray[np.float64]:
        """u(r) of two types, the shape of ``r`` [energy]."""
        r = np.asarray(r, np.float64)
        sigma, binding, stiffness = self._of_pair(first, second)
        switch, _, morse, _ = self._parts(r, sigma)
        repulsion = 0.5 * stiffness * (sigma - r) ** 2 - binding
        return np.where(r < sigma, repulsion, binding * morse * switch)

    def force(self, r: ArrayLike, first: int, second: int) -> NDArray[np.float64]:
        """-u'(r) of two types, the shape of ``r`` [energy / length]."""
        r = np.asarray(r, np.float64)
        sigma, binding, stiffness = self._of_pair(first, second)
        switch, switch_slope, morse, morse_slope = self._parts(r, sigma)
        attraction = -binding * (morse_slope * switch + morse * switch_slope)
        return np.where(r < sigma, stiffness * (sigma - r), attraction)


@dataclass(frozen=True)
class SoftSphere(PairPotential):
    """Soft spheres: u = (k/2) (1 - r/sigma)^2 below sigma, the mean of two diameters.

    Attributes:
        diameters: one a type [length].
        stiffness: k, over ``numpy.triu_indices`` of the types, or one for all [energy].
    """

    diameters: Sequence[float] = (1.0, 1.4)
    stiffness: Sequence[float] | float = 1.0

    potential: ClassVar[str] = "soft_sphere"

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The parameters by name: with ``potential``, what Amorph's engine asks of a potential."""
        return {
            "diameters": np.asarray(self.diameters, np.float64),
            "stiffness": pair_vector(self.stiffness, self.n_types),
        }

    def cutoff(self, first: int, second: int) -> float:
        """Where the pair of types ends: sigma [length]."""
        return self.sigma(first, second)

    def energy(self, r: ArrayLike, first: int, second: int) -> NDArray[np.float64]:
        """u(r) of two types, the shape of ``r`` [energy]."""
        overlap = self._overlap(r, first, second)
        return 0.5 * self.of_pair(self.stiffness, first, second) * overlap**2

    def force(self, r: ArrayLike, first: int, second: int) -> NDArray[np.float64]:
        """-u'(r) of two types, the shape of ``r`` [energy / length]."""
        scale = self.of_pair(self.stiffness, first, second) / self.sigma(first, second)
        return scale * self._overlap(r, first, second)

    def _overlap(self, r: ArrayLike, first: int, second: int) -> NDArray[np.float64]:
        return np.maximum(0.0, 1.0 - np.asarray(r, np.float64) / self.sigma(first, second))


@dataclass(frozen=True)
class LennardJones(PairPotential):
    """Lennard-Jones, cut: u = 4 e ((s/r)^12 - (s/r)^6) below ``range`` s, nothing beyond.

    The defaults are the mixture of Kob and Andersen, Phys. Rev. E 51, 4626 (1995).

    Attributes:
        diameters: one a type: a unit of length for steps and skins alone [length].
        depth: e, over ``numpy.triu_indices`` of the types, or one for all [energy].
        size: s, likewise [length].
        range: the cutoff over s.
    """

    diameters: Sequence[float] = (1.0, 0.88)
    depth: Sequence[float] | float = (1.0, 1.5, 0.5)
    size: Sequence[float] | float = (1.0, 0.8, 0.88)
    range: float = 2.5

    potential: ClassVar[str] = "lennard_jones_cut"

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The parameters by name."""
        return {
            "diameters": np.asarray(self.diameters, np.float64),
            "depth": pair_vector(self.depth, self.n_types),
            "size": pair_vector(self.size, self.n_types),
            "range": np.array([self.range]),
        }

    def cutoff(self, first: int, second: int) -> float:
        """Where the pair of types ends [length]."""
        return self.range * self.of_pair(self.size, first, second)

    def energy(self, r: ArrayLike, first: int, second: int) -> NDArray[np.float64]:
        """u(r) of two types, the shape of ``r`` [energy]."""
        a = self._sixth(r, first, second)
        return 4 * self.of_pair(self.depth, first, second) * (a * a - a)

    def force(self, r: ArrayLike, first: int, second: int) -> NDArray[np.float64]:
        """-u'(r) of two types, the shape of ``r`` [energy / length]."""
        a = self._sixth(r, first, second)
        return self.of_pair(self.depth, first, second) * (48 * a * a - 24 * a) / np.asarray(r)

    def curvature(self, r: ArrayLike, first: int, second: int) -> NDArray[np.float64]:
        """u''(r) of two types, the shape of ``r`` [energy / length^2]."""
        a = self._sixth(r, first, second)
        scale = self.of_pair(self.depth, first, second)
        return scale * (624 * a * a - 168 * a) / np.asarray(r) ** 2

    def _sixth(self, r: ArrayLike, first: int, second: int) -> NDArray[np.float64]:
        r = np.asarray(r, np.float64)
        a = (self.of_pair(self.size, first, second) / r) ** 6
        return np.where(r < self.cutoff(first, second), a, 0.0)


def largest_difference_error(potential: PairPotential, step: float = 1e-6) -> float:
    """The worst |-u' - central difference| over all pairs, away from the kinks of u''."""
    worst = 0.0
    for pair in potential.pairs():
        least, most = (0.9, -0.1) if isinstance(potential, LennardJones) else (0.05, 0.1)
        r = np.linspace(least, pair.cutoff + most, 4001)
        numerical = -(pair.energy(r + step) - pair.energy(r - step)) / (2 * step)
        worst = max(worst, float(np.abs(numerical - pair.force(r)).max()))
    return worst


if __name__ == "__main__":
    binding = [0.1, 0.2, 0.05, 0.1, 0.3, 0.1]
    cases: list[PairPotential] = [
        HarmonicMorse([0.8, 1.0, 1.3], binding, 5.0, alpha) for alpha in (6.0, 12.0, 50.0)
    ]
    for case in [*cases, SoftSphere([1.0, 1.4], [1.0, 2.0, 0.5]), LennardJones()]:
        error = largest_difference_error(case)
        print(f"{case}: force against differences of the energy: {error:.1e}")
        if error > 1e-4:
            raise SystemExit(1)
