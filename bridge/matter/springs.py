"""Springs between bonded particles: networks, alone or beside a pair potential."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from amorph.handover import InputError
from amorph.handover.arguments import described, real_numbers
from amorph.handover.showing import parameters_shown

from ..precision import require_float64
from .potentials import PairPotential

__all__ = ["PairsAndSprings", "Springs", "Theta"]


class Springs:
    """Springs along a packing's bonds: u(r) = (k/2)(r - l)², at any distance.

    Parameters
    ----------
    stiffness:
        k >= 0, (n_bonds,), in the order of the packing's bonds, energy / length². A spring of
        stiffness 0 is a bond that was cut.
    length:
        The rest lengths l >= 0, (n_bonds,), length.

    A frozen JAX pytree, so a gradient is an object of the same class. Raises `InputError` for
    values that are not vectors of one length, not finite, or negative.
    """

    potential: ClassVar[str] = "springs"
    near: ClassVar[None] = None
    _values: dict[str, Any]

    def __init__(self, stiffness: ArrayLike, length: ArrayLike) -> None:
        require_float64()
        values = {
            "stiffness": real_numbers("springs: stiffness", stiffness),
            "length": real_numbers("springs: length", length),
        }
        for name, value in values.items():
            if value.ndim != 1 or len(value) == 0 or value.shape != values["stiffness"].shape:
                raise InputError(
                    f"springs: {name} has shape {value.shape}: stiffness and length are vectors "
                    "with a value for each bond."
                )
            if not (np.isfinite(value).all() and (value >= 0).all()):
                raise InputError(f"springs: {name} must be finite and at least 0.")
        if not values["stiffness"].any():
            raise InputError("springs: every stiffness is 0: nothing holds the particles.")
        object.__setattr__(self, "_values", {k: jnp.asarray(v) for k, v in values.items()})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Springs is frozen: use replace({name}=...).")

    def __repr__(self) -> str:
        return f"Springs of {np.size(self.stiffness)} bonds ({parameters_shown(self._values)})"

    @property
    def springs(self) -> "Springs":
        """These springs: they are all there is."""
        return self

    @property
    def kind(self) -> "type[Springs]":
        """The class whose `pair_energy` u is."""
        return Springs

    @property
    def stiffness(self) -> Array:
        """Stiffnesses (n_bonds,)."""
        return self._values["stiffness"]

    @property
    def length(self) -> Array:
        """Rest lengths (n_bonds,)."""
        return self._values["length"]

    @property
    def n_bonds(self) -> int:
        """The number of springs."""
        return int(self.stiffness.shape[0])

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The parameters by name, float64 (n_bonds,)."""
        return {k: np.asarray(v, dtype=np.float64) for k, v in self._values.items()}

    def replace(self, **parameters: ArrayLike) -> Self:
        """A copy with some parameters changed; raises `InputError` as the constructor does."""
        return type(self)(**{**self._values, **parameters})

    def padded(self, size: int) -> dict[str, Array]:
        """The parameters of a list of bonds with places past the last: these have no stiffness."""
        rest = (0, size - self.n_bonds)
        return {k: jnp.pad(v, rest) for k, v in self._values.items()}

    def longest_cutoff(self) -> float:
        """0: particles meet along bonds alone."""
        return 0.0

    def max_stiffness(self) -> float:
        """The largest u''."""
        return float(np.max(self.arrays()["stiffness"]))

    def size_range(self) -> tuple[float, float]:
        """The mean rest length, as smallest and largest: the unit of the lengths of steps."""
        length = float(np.mean(self.arrays()["length"]))
        if not length > 0:
            raise InputError("springs: every rest length is 0: the network has no size of its own.")
        return length, length

    @staticmethod
    def pair_energy(r: Array, pair: Mapping[str, Array]) -> Array:
        """u(r)."""
        return 0.5 * pair["stiffness"] * (r - pair["length"]) ** 2

    @staticmethod
    def pair_cutoff(pair: Mapping[str, Any]) -> Any:
        """A spring that was cut ends at once, any other nowhere."""
        return jnp.where(pair["stiffness"] > 0, jnp.inf, 0.0)

    @staticmethod
    def pair_attracts(pair: Mapping[str, Any]) -> Any:
        """A spring pulls and pushes."""
        return pair["stiffness"] > 0


class PairsAndSprings:
    """A pair potential and springs beside it, as in a bonded packing.

    Parameters
    ----------
    near:
        The pair potential, between all particles, bonded ones too.
    springs:
        Of the packing's bonds.

    A frozen JAX pytree. Its parameters are the pair potential's by their names, and
    ``springs.stiffness`` and ``springs.length``.
    """

    potential: ClassVar[str] = "pairs_and_springs"
    near: PairPotential
    springs: Springs

    def __init__(self, near: PairPotential, springs: Springs) -> None:
        if not (isinstance(near, PairPotential) and isinstance(springs, Springs)):
            raise InputError(
                f"near is {described(near)}, springs {described(springs)}: give a pair potential "
                "and bridge.Springs."
            )
        object.__setattr__(self, "near", near)
        object.__setattr__(self, "springs", springs)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"PairsAndSprings is frozen: use replace({name}=...).")

    def __repr__(self) -> str:
        return f"PairsAndSprings({self.near!r}, {self.springs!r})"

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The parameters by name."""
        own = {f"springs.{k}": v for k, v in self.springs.arrays().items()}
        return {**self.near.arrays(), **own}

    def replace(self, **parameters: ArrayLike) -> Self:
        """A copy with some parameters changed, ``springs.stiffness`` by ``**{...}``.

        Raises `InputError` as the parts do.
        """
        bonded = {
            k.removeprefix("springs."): v for k, v in parameters.items() if k.startswith("springs.")
        }
        rest = {k: v for k, v in parameters.items() if not k.startswith("springs.")}
        return type(self)(self.near.replace(**rest), self.springs.replace(**bonded))

    def longest_cutoff(self) -> float:
        """The pair potential's largest cutoff."""
        return self.near.longest_cutoff()

    def max_stiffness(self) -> float:
        """The largest u''."""
        return max(self.near.max_stiffness(), self.springs.max_stiffness())

    def size_range(self) -> tuple[float, float]:
        """The smallest and largest diameter."""
        return self.near.size_range()


def _made(cls: type[Any], **values: Any) -> Any:
    # Leaves may be tracers, gradients or anything else: nothing is checked here.
    made = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def _flat(values: Mapping[str, Any]) -> tuple[tuple[tuple[Any, Any], ...], None]:
    return tuple((jax.tree_util.GetAttrKey(k), v) for k, v in values.items()), None


jax.tree_util.register_pytree_with_keys(
    Springs,
    lambda springs: _flat(springs._values),
    lambda _, leaves: _made(
        Springs, _values=dict(zip(("stiffness", "length"), leaves, strict=True))
    ),
)
jax.tree_util.register_pytree_with_keys(
    PairsAndSprings,
    lambda both: _flat({"near": both.near, "springs": both.springs}),
    lambda _, leaves: _made(PairsAndSprings, **dict(zip(("near", "springs"), leaves, strict=True))),
)

Theta = PairPotential | Springs | PairsAndSprings
"""The particles' interactions: a pair potential, springs, or both."""
