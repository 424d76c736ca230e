"""Pair potentials as JAX pytrees: their leaves are the parameters that a design changes.

The formulas are those of the C++ headers in `hoomd_plugin/potentials`, against which they are
tested point by point.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from amorph.handover import (
    FOUR_TERM_ONSET,
    MORSE_SWITCH,
    POTENTIALS,
    InputError,
    check_parameters,
    check_potential,
    pair_places,
)
from amorph.handover.arguments import described, real_numbers
from amorph.handover.showing import parameters_shown

from ..precision import require_float64

__all__ = [
    "FourTerm",
    "HarmonicMorse",
    "HarmonicMorseReduced",
    "Morse",
    "PairPotential",
    "SoftSphere",
    "from_arrays",
]


class PairPotential(ABC):
    """A pair potential with its parameters, in reduced units.

    Parameters of types are vectors (n_types,), those of pairs of types vectors over
    ``numpy.triu_indices(n_types)``; a scalar is broadcast. A derivative with respect to a pair
    parameter changes (i, j) and (j, i) together. Subclasses are frozen JAX pytrees, so a gradient
    is an object of the same class.
    """

    potential: ClassVar[str]
    springs: ClassVar[None] = None
    _values: dict[str, Any]

    def __init__(self, **parameters: ArrayLike) -> None:
        require_float64()  # else the parameters would be rounded in silence
        given: dict[str, NDArray[Any]] = {
            name: real_numbers(f"parameter {name!r}", value) for name, value in parameters.items()
        }
        if "diameters" in given and given["diameters"].ndim == 0:
            given["diameters"] = given["diameters"][None]
        checked = check_parameters(self.potential, given)
        object.__setattr__(self, "_values", {k: jnp.asarray(v) for k, v in checked.items()})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: use replace({name}=...).")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        names = tuple(p.name for p in POTENTIALS[cls.potential])

        def flatten(theta: PairPotential) -> tuple[tuple[tuple[Any, Any], ...], None]:
            return tuple((jax.tree_util.GetAttrKey(n), theta._values[n]) for n in names), None

        def unflatten(_: None, leaves: Any) -> PairPotential:
            # Leaves may be tracers, gradients or anything else: nothing is checked here.
            theta = object.__new__(cls)
            object.__setattr__(theta, "_values", dict(zip(names, leaves, strict=True)))
            return theta

        jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({parameters_shown(self._values)})"

    @property
    def near(self) -> Self:
        """This pair potential: it is all there is."""
        return self

    @property
    def kind(self) -> type[Self]:
        """The class whose `pair_energy` u is."""
        return type(self)

    @property
    def diameters(self) -> Array:
        """Diameters (n_types,)."""
        return self._values["diameters"]

    @property
    def n_types(self) -> int:
        """The number of types."""
        return int(self.diameters.shape[0])

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The parameters by name, float64 vectors over types or pairs of types."""
        return {k: np.asarray(v, dtype=np.float64) for k, v in self._values.items()}

    def replace(self, **parameters: ArrayLike) -> Self:
        """A copy with some parameters changed; raises `InputError` as the constructor does."""
        return type(self)(**{**self._values, **parameters})

    def of_pairs(self, type_i: Any, type_j: Any) -> dict[str, Any]:
        """The parameters of pairs of particles of the given types (M,): sigma and the others."""
        return self._spread(self._values, type_i, type_j)

    def of_types(self) -> dict[str, NDArray[np.float64]]:
        """The parameters of all pairs of types, NumPy matrices (n_types, n_types)."""
        i, j = np.indices((self.n_types, self.n_types))
        return self._spread(self.arrays(), i, j)

    def resolved(self, type_i: Any, type_j: Any) -> "OwnParameters":
        """This potential with the parameters of each of a list of pairs, (M,) both."""
        return OwnParameters(self.kind, self.of_pairs(type_i, type_j))

    def _spread(self, values: Mapping[str, Any], i: Any, j: Any) -> dict[str, Any]:
        n = self.n_types
        places = pair_places(n)
        place = (jnp.asarray(places) if isinstance(i, jax.Array) else places)[i, j]
        diameters = values["diameters"]
        out = {"sigma": 0.5 * (diameters[i] + diameters[j])}
        out.update({k: v[place] for k, v in values.items() if k != "diameters"})
        return out

    def cutoffs(self) -> NDArray[np.float64]:
        """The cutoffs of pairs of types, (n_types, n_types)."""
        return np.asarray(self.pair_cutoff(self.of_types()))

    def longest_cutoff(self) -> float:
        """The largest cutoff of any pair of types."""
        return float(np.max(self.cutoffs()))

    def max_stiffness(self) -> float:
        """The largest u'' of any pair of types."""
        with np.errstate(over="ignore"):  # whoever uses it as a scale refuses what is infinite
            return float(np.max(self.pair_stiffness(self.of_types())))

    def size_range(self) -> tuple[float, float]:
        """The smallest and largest diameter: the unit of the lengths of steps and skins."""
        diameters = self.arrays()["diameters"]
        return float(np.min(diameters)), float(np.max(diameters))

    @staticmethod
    @abstractmethod
    def pair_energy(r: Array, pair: Mapping[str, Array]) -> Array:
        """u(r) for distances r > 0 and parameters of pairs of the same shape."""

    # The functions below take pairs' parameters as NumPy or JAX arrays.

    @staticmethod
    @abstractmethod
    def pair_cutoff(pair: Mapping[str, Any]) -> Any:
        """The distance beyond which u(r) is zero."""

    @staticmethod
    @abstractmethod
    def pair_breaks(pair: Mapping[str, Any]) -> tuple[Any, ...]:
        """The distances, ascending, at which u''(r) jumps; the last is the cutoff."""

    @staticmethod
    @abstractmethod
    def pair_stiffness(pair: Mapping[str, Any]) -> Any:
        """The largest u''(r)."""

    @staticmethod
    @abstractmethod
    def pair_attracts(pair: Mapping[str, Any]) -> Any:
        """Whether the pair has an attractive part."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class OwnParameters:
    """A pair potential in which each of a list of pairs has its own parameters, (M,) each.

    It takes the place of a `PairPotential` where derivatives by every pair are wanted.
    """

    kind: Any = field(metadata={"static": True})
    parameters: dict[str, Any] = field()

    def of_pairs(self, type_i: Any, type_j: Any) -> dict[str, Any]:
        """The parameters, whatever the types."""
        return self.parameters


def _xplor(r: Array, r_on: Array, r_cut: Array) -> Array:
    x, on, cut = r * r, r_on * r_on, r_cut * r_cut
    inner = (cut - x) ** 2 * (cut + 2 * x - 3 * on) / (cut - on) ** 3
    return jnp.where(r < r_on, 1.0, jnp.where(r < r_cut, inner, 0.0))


class _MorseWell:
    """Base of the potentials with a Morse well, switched off from σ + 5/a to σ + 9.9/a."""

    onset, cutoff = MORSE_SWITCH
    _values: dict[str, Any]

    @property
    def binding(self) -> Array:
        """Binding energies (n_pairs,)."""
        return self._values["binding"]

    @property
    def alpha(self) -> Array:
        """Inverse ranges of the attraction (n_pairs,)."""
        return self._values["alpha"]

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

    def __init__(
        self,
        diameters: ArrayLike,
        binding: ArrayLike,
        stiffness: ArrayLike,
        alpha: ArrayLike,
    ) -> None:
        super().__init__(diameters=diameters, binding=binding, stiffness=stiffness, alpha=alpha)

    @property
    def stiffness(self) -> Array:
        """Stiffnesses of the core (n_pairs,)."""
        return self._values["stiffness"]

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

    def __init__(self, diameters: ArrayLike, stiffness: ArrayLike) -> None:
        super().__init__(diameters=diameters, stiffness=stiffness)

    @property
    def stiffness(self) -> Array:
        """Stiffnesses (n_pairs,)."""
        return self._values["stiffness"]

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

    def __init__(self, diameters: ArrayLike, binding: ArrayLike, alpha: ArrayLike) -> None:
        super().__init__(diameters=diameters, binding=binding, alpha=alpha)

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

    def __init__(
        self,
        diameters: ArrayLike,
        b0: ArrayLike,
        a0: ArrayLike,
        a1: ArrayLike,
        a2: ArrayLike,
        b1: ArrayLike,
        b2: ArrayLike,
        a3: ArrayLike,
        r_cut: ArrayLike,
    ) -> None:
        super().__init__(
            diameters=diameters, b0=b0, a0=a0, a1=a1, a2=a2, b1=b1, b2=b2, a3=a3, r_cut=r_cut
        )

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
        # From a little inside the lowest point outwards, as the engine has it: the wall below is
        # steeper without bound.
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


_CLASSES: dict[str, type[PairPotential]] = {
    cls.potential: cls for cls in (HarmonicMorse, HarmonicMorseReduced, SoftSphere, Morse, FourTerm)
}


def from_arrays(potential: str, arrays: Mapping[str, ArrayLike]) -> PairPotential:
    """The potential of a name with the given parameters, as a GSD file or a TOML table has them.

    Raises `UnknownPotentialError` or `InputError`.
    """
    check_potential(potential)
    if not isinstance(arrays, Mapping):
        raise InputError(
            f"arrays is {described(arrays)}: it must be a dict of arrays by parameter, as "
            "theta.arrays() gives it."
        )
    return _CLASSES[potential](**check_parameters(potential, arrays))
