"""Pair potentials as JAX pytrees: their leaves are the parameters that a design changes.

A class that derives from `PairPotential` says how its energy follows from a distance and the
parameters of a pair, and which parameters these are. All else that is asked of a potential follows
from that, unless the class states it.
"""

import inspect
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from amorph.handover import POTENTIALS, InputError, PairTable, Parameter, pair_places
from amorph.handover.arguments import described, real_numbers
from amorph.handover.potentials import check_declared, n_types, names_of_components
from amorph.handover.showing import parameters_shown

from ..precision import require_float64
from . import searching
from .registered import check_free, register_potential
from .tabulating import table_of
from .tracing import traced

__all__ = ["OwnParameters", "PairPotential"]

DIAMETERS = Parameter("diameters", per_pair=False)
SIGMA = Parameter("sigma")


class PairPotential(ABC):
    """A pair potential with its parameters, in reduced units; the base of users' own.

    A subclass gives `pair_energy`, and `parameters`; that is enough:

    >>> class Yukawa(bridge.PairPotential):
    ...     parameters = ("strength", "kappa", "r_cut")
    ...
    ...     @staticmethod
    ...     def pair_energy(r, pair):
    ...         return pair["strength"] * jnp.exp(-pair["kappa"] * (r - pair["sigma"])) / r
    >>> theta = Yukawa(diameters=[0.9, 1.1], strength=1.0, kappa=5.0, r_cut=2.5)

    It has the name ``yukawa`` then, by which GSD files and TOML tables find it. Beyond the cutoff
    the energy is 0, whatever the formula says. A class that is defined again takes the place of the
    first.

    Sizes are ``diameters`` (n_types,), so that σ of a pair is their mean, or ``sigma`` over pairs
    of types in their place, where they do not add up. Parameters belong to pairs of types: vectors
    over ``numpy.triu_indices(n_types)``; a scalar is broadcast. A derivative with respect to one
    changes (i, j) and (j, i) together. Objects are frozen JAX pytrees, so a gradient is an object
    of the same class.

    Class attributes
    ----------------
    parameters:
        Names, or `Parameter` objects, which have bounds; a name alone stands for numbers greater
        than 0.
    potential:
        The potential's name; by default that of the class (``MyPotential`` is ``my_potential``).
    cutoff_in_sigma:
        Where u ends, in units of σ; by default it ends at the parameter ``r_cut``.

    table_tolerance:
        The relative error of `table` that the engine takes; 1e-8 by default. A formula with a root
        or another singular end needs more, or the table is large.

    Raises `InputError` for parameters that are missing, unknown, of wrong length or out of bounds,
    and for a class that does not say where u ends or whose formula cannot be used.
    """

    potential: ClassVar[str]
    parameters: ClassVar[tuple[Any, ...]] = ()
    cutoff_in_sigma: ClassVar[float | None] = None
    table_tolerance: ClassVar[float] = 1e-8
    springs: ClassVar[None] = None
    _values: dict[str, Any]
    _known: dict[Any, Any]

    def __init__(self, *listed: ArrayLike, **parameters: ArrayLike) -> None:
        require_float64()  # else the parameters would be rounded in silence
        kind = type(self)
        given = _bound(kind, listed, parameters)
        if traced(given):
            object.__setattr__(self, "_values", _traced(kind, given))
            return
        arrays: dict[str, NDArray[Any]] = {
            name: real_numbers(f"parameter {name!r}", value) for name, value in given.items()
        }
        if "diameters" in arrays and arrays["diameters"].ndim == 0:
            arrays["diameters"] = arrays["diameters"][None]
        checked = check_declared(kind.potential, declared(kind, arrays), arrays, types_of)
        with jax.ensure_compile_time_eval():  # numbers, also inside of a function that JAX traces
            values = {k: jnp.asarray(v) for k, v in checked.items()}
        object.__setattr__(self, "_values", values)
        if not kind.__module__.startswith("amorph."):  # which are tested
            from .checking import check_formula

            check_formula(self)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.parameters and "pair_energy" not in cls.__dict__:
            return  # a base of others
        _declare(cls)
        register_potential(cls)

        def flatten(theta: PairPotential) -> tuple[Any, tuple[str, ...]]:
            leaves = tuple((jax.tree_util.GetAttrKey(k), v) for k, v in theta._values.items())
            return leaves, tuple(theta._values)

        def unflatten(names: tuple[str, ...], leaves: Any) -> PairPotential:
            # Leaves may be tracers, gradients or anything else: nothing is checked here.
            theta = object.__new__(cls)
            object.__setattr__(theta, "_values", dict(zip(names, leaves, strict=True)))
            return theta

        jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: use replace({name}=...).")

    def __getattr__(self, name: str) -> Array:
        values = self.__dict__.get("_values", {})
        if name in values:
            return values[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")

    def __getstate__(self) -> dict[str, Any]:
        return {"_values": self._values}  # what is known of them is found anew

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
        """Diameters (n_types,): where σ stands over pairs of types, σ_ii."""
        if "diameters" in self._values:
            return self._values["diameters"]
        return self._values["sigma"][np.diagonal(pair_places(self.n_types))]

    @property
    def sizes(self) -> Array:
        """The diameters (n_types,), or σ over pairs of types (n_pairs,) in their place."""
        return self._values["diameters" if "diameters" in self._values else "sigma"]

    @property
    def n_types(self) -> int:
        """The number of types."""
        if "diameters" in self._values:
            return int(self._values["diameters"].shape[0])
        return _types_of_pairs(int(self._values["sigma"].shape[0]))

    @property
    def declared(self) -> tuple[Parameter, ...]:
        """The parameters with their bounds, sizes first."""
        return declared(type(self), self._values)

    def component_names(self, parameter: str, types: tuple[str, ...]) -> list[str]:
        """The names of a parameter's components: of types (A, B), or pairs of them (AA, AB, BB).

        Raises `InputError` for a parameter that there is not.
        """
        return names_of_components(self.potential, self.declared, parameter, types)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The parameters by name, float64 vectors over types or pairs of types."""
        return {k: np.asarray(v, dtype=np.float64) for k, v in self._values.items()}

    def frame_arrays(self) -> dict[str, NDArray[np.float64]]:
        """The parameters as frames have them: with diameters, σ_ii where σ is given instead."""
        return {"diameters": np.array(self.diameters, dtype=np.float64), **self.arrays()}

    def replace(self, **parameters: ArrayLike) -> Self:
        """A copy with some parameters changed; raises `InputError` as the constructor does."""
        return type(self)(**{**self._values, **parameters})

    def of_pairs(self, type_i: Any, type_j: Any) -> dict[str, Any]:
        """The parameters of pairs of particles of the given types (M,): sigma and the others."""
        return self._spread(self._values, type_i, type_j)

    def of_types(self) -> dict[str, Any]:
        """The parameters of all pairs of types, matrices (n_types, n_types), NumPy's or traced."""
        i, j = np.indices((self.n_types, self.n_types))
        return self._spread(self._values if traced(self._values) else self.arrays(), i, j)

    def resolved(self, type_i: Any, type_j: Any) -> "OwnParameters":
        """This potential with the parameters of each of a list of pairs, (M,) both."""
        return OwnParameters(self.kind, self.of_pairs(type_i, type_j), self)

    def _spread(self, values: Mapping[str, Any], i: Any, j: Any) -> dict[str, Any]:
        n = self.n_types
        places = pair_places(n)
        place = (jnp.asarray(places) if isinstance(i, jax.Array) else places)[i, j]
        out = {}
        if "diameters" in values:
            diameters = values["diameters"]
            out["sigma"] = 0.5 * (diameters[i] + diameters[j])
        out.update({k: v[place] for k, v in values.items() if k != "diameters"})
        return out

    def _once(self, name: Any, make: Any) -> Any:
        """A value that follows from the parameters, computed once for this object."""
        known = self.__dict__.setdefault("_known", {})
        if name not in known:
            known[name] = make()
        return known[name]

    def breaks(self) -> NDArray[np.float64]:
        """Distances at which u'' jumps, of pairs of types, (n_breaks, n_types, n_types).

        The last is the cutoff; those that a pair lacks lie beyond it.
        """

        def found() -> NDArray[np.float64]:
            cutoffs = self.cutoffs()
            at = self.kind.pair_breaks(self.of_types())
            return np.stack([np.broadcast_to(np.asarray(b), cutoffs.shape) for b in at])

        return self._once("breaks", found)

    @property
    def states_breaks(self) -> bool:
        """Whether the class says itself where u'' jumps."""
        return _states(self.kind, "pair_breaks")

    def break_slopes(self) -> dict[str, NDArray[np.float64]]:
        """∂b/∂p of `breaks` by each pair's own parameters, (n_breaks, n_types, n_types) each."""

        def found() -> dict[str, NDArray[np.float64]]:
            pair = self.of_types()
            if self.states_breaks:
                return _slopes_of(self.kind, "pair_breaks", pair)
            ends = _slopes_of(self.kind, "pair_cutoff", pair)
            inner = searching.break_slopes(self.kind, pair, self.breaks()[:-1])
            return {k: np.concatenate([v, ends[k][None]]) for k, v in inner.items()}

        return self._once("break_slopes", found)

    def attracts_of(self, type_i: Any, type_j: Any) -> Array:
        """`pair_attracts` of pairs of particles of the given types, (M,)."""
        return jnp.asarray(self.kind.pair_attracts(self.of_types()))[type_i, type_j]

    def cutoffs(self) -> NDArray[np.float64]:
        """The cutoffs of pairs of types, (n_types, n_types)."""
        return self._once("cutoffs", lambda: np.asarray(self.pair_cutoff(self.of_types())))

    def longest_cutoff(self) -> float:
        """The largest cutoff of any pair of types."""
        return float(np.max(self.cutoffs()))

    def max_stiffness(self) -> float:
        """The largest `pair_stiffness` of any pair of types."""

        def found() -> float:
            with np.errstate(over="ignore"):  # callers that use it as a scale refuse infinity
                return float(np.max(self.pair_stiffness(self.of_types())))

        return self._once("max_stiffness", found)

    def size_range(self) -> tuple[float, float]:
        """The smallest and largest diameter or σ: the unit of the lengths of steps and skins.

        Numbers, or traced by JAX where the parameters are.
        """
        if traced(self.sizes):
            smallest: Any = jnp.min(self.sizes)
            largest: Any = jnp.max(self.sizes)
            return smallest, largest
        sizes = np.asarray(self.sizes)
        return float(np.min(sizes)), float(np.max(sizes))

    def table(self, tolerance: float | None = None) -> PairTable:
        """This potential as a table, which the engine takes where it lacks the formula.

        Parameters
        ----------
        tolerance:
            The relative error of u and u', at least 1e-12; by default `table_tolerance`.

        Returns the `amorph.handover.PairTable`, built once for an object. Raises `TableError` where
        there is none of this accuracy in the memory it may take, and `InputError`, as
        `amorph.handover.build_table` does.
        """
        goal = self.table_tolerance if tolerance is None else tolerance
        return self._once(("table", goal), lambda: table_of(self, goal))

    @staticmethod
    @abstractmethod
    def pair_energy(r: Array, pair: Mapping[str, Array]) -> Array:
        """u(r) for distances r > 0 and parameters of pairs of the same shape."""

    # The functions below take pairs' parameters as NumPy or JAX arrays.

    @classmethod
    def pair_cutoff(cls, pair: Mapping[str, Any]) -> Any:
        """The distance beyond which u is 0: `cutoff_in_sigma` times σ, or ``r_cut``."""
        if cls.cutoff_in_sigma is not None:
            return cls.cutoff_in_sigma * pair["sigma"]
        return pair["r_cut"]

    @classmethod
    def pair_breaks(cls, pair: Mapping[str, Any]) -> tuple[Any, ...]:
        """The distances, ascending, at which u''(r) jumps; the last is the cutoff.

        By default they are looked for, in 2,048 cells between 0.2 σ and the cutoff: at most four,
        none where two lie within a cell, and none that changes u'' by less than a millionth of
        itself. Those that a pair lacks beside others lie beyond its cutoff. The search needs
        numbers: inside of JAX's transformations there are none.
        """
        if traced(pair):
            raise InputError(
                f"{cls.__name__} does not state where its u'' jumps, which cannot be looked for "
                "inside of a JAX transformation: give it a function pair_breaks(pair)."
            )
        numbers = {k: np.asarray(v) for k, v in pair.items()}
        return (*searching.find_breaks(cls, numbers), cls.pair_cutoff(numbers))

    @classmethod
    def pair_stiffness(cls, pair: Mapping[str, Any]) -> Any:
        """The u''(r) that steps and tolerances are measured by.

        By default the largest \\|u''\\| from a little inside of the first minimum (or of σ, for
        pairs that only repel) outwards, and of the whole of a core that is soft.
        """
        return searching.attracts_and_stiffness(cls, pair)[1]

    @classmethod
    def pair_attracts(cls, pair: Mapping[str, Any]) -> Any:
        """Whether the pair has an attractive part: by default, whether u' > 0 below the cutoff."""
        return searching.attracts_and_stiffness(cls, pair)[0]


def _slopes_of(kind: Any, which: str, pair: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Derivatives of a class's distances (..., of the pairs' shape) by the pairs' parameters."""
    arrays = {k: np.asarray(v) for k, v in pair.items()}
    with jax.ensure_compile_time_eval():
        found = _distance_slopes(kind, which, arrays)
        return {k: np.asarray(v) for k, v in found.items()}


@partial(jax.jit, static_argnums=(0, 1))
def _distance_slopes(kind: Any, which: str, values: dict[str, Array]) -> dict[str, Array]:
    def distances(pair: dict[str, Array]) -> Array:
        found = getattr(kind, which)(pair)
        return jnp.stack(found) if isinstance(found, tuple) else jnp.asarray(found)

    def along(name: str) -> Array:
        change = {k: jnp.full_like(v, float(k == name)) for k, v in values.items()}
        return jax.jvp(distances, (values,), (change,))[1]

    return {k: along(k) for k in values}


def _states(kind: type[PairPotential], name: str) -> bool:
    """Whether a class has a function of its own in place of the base's."""
    return next(k for k in kind.__mro__ if name in k.__dict__) is not PairPotential


def declared(kind: type[PairPotential], given: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """A potential's parameters, sizes first: σ where it was given in place of diameters."""
    own = kind.potential in POTENTIALS
    size = SIGMA if "sigma" in given and "diameters" not in given and not own else DIAMETERS
    return (size, *kind.parameters)


def types_of(arrays: Mapping[str, Any]) -> int:
    """The number of types that arrays describe; raises `InputError`."""
    if "sigma" not in arrays:
        return n_types(arrays)
    sigma = np.asarray(arrays["sigma"])
    return 1 if sigma.ndim == 0 else _types_of_pairs(sigma.size if sigma.ndim == 1 else 0)


def _types_of_pairs(pairs: int) -> int:
    types = (math.isqrt(8 * pairs + 1) - 1) // 2
    if types < 1 or types * (types + 1) // 2 != pairs:
        raise InputError(
            f"parameter 'sigma' has {pairs} components: it must have one for each pair of types, "
            "over numpy.triu_indices(n_types): 1, 3, 6, 10, ..."
        )
    return types


def _bound(
    kind: type[PairPotential], values: tuple[Any, ...], named: Mapping[str, Any]
) -> dict[str, Any]:
    """Parameters by name, those given in order too; raises `InputError`."""
    names = [p.name for p in declared(kind, named)]
    if len(values) > len(names):
        raise InputError(
            f"{kind.__name__}: {len(values)} parameters were given: it has {', '.join(names)}."
        )
    given = dict(zip(names, values, strict=False))
    for name in given:
        if name in named:
            raise InputError(f"{kind.__name__}: parameter {name!r} was given twice.")
    return {**given, **named}


def _traced(kind: type[PairPotential], given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters some of which JAX traces: their names and shapes are checked, no values."""
    wanted = declared(kind, given)
    arrays = {k: jnp.asarray(v, dtype=np.float64) for k, v in given.items()}
    if "diameters" in arrays and arrays["diameters"].ndim == 0:
        arrays["diameters"] = arrays["diameters"][None]
    ones = {k: np.ones(v.shape) for k, v in arrays.items()}
    unbounded = [Parameter(p.name, p.per_pair, zero_allowed=True, low=-math.inf) for p in wanted]
    shapes = check_declared(kind.potential, unbounded, ones, types_of)
    return {k: jnp.broadcast_to(arrays[k], v.shape) for k, v in shapes.items()}


def _declare(cls: type[PairPotential]) -> None:
    """Complete a class by what follows from what it states; raises `InputError`."""
    if "potential" not in cls.__dict__:
        cls.potential = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
    if not isinstance(cls.potential, str) or not re.fullmatch(r"[a-z_]\w{0,63}", cls.potential):
        raise InputError(
            f"{cls.__name__}.potential is {described(cls.potential)}: a name has small letters, "
            "digits and underscores."
        )
    check_free(cls)
    if cls.potential in POTENTIALS:  # of the engine: the registry refuses users' by these names
        cls.parameters = POTENTIALS[cls.potential][1:]
    cls.parameters = tuple(_parameter(cls, p) for p in _listed(cls))
    ends = _states(cls, "pair_cutoff") or cls.cutoff_in_sigma is not None
    if not ends and "r_cut" not in [p.name for p in cls.parameters]:
        raise InputError(
            f"{cls.__name__} does not say where u ends: give it the parameter 'r_cut', "
            "cutoff_in_sigma = 2.5 or such, or a function pair_cutoff(pair)."
        )
    if cls.cutoff_in_sigma is not None and not 0 < cls.cutoff_in_sigma < math.inf:
        raise InputError(
            f"{cls.__name__}.cutoff_in_sigma is {described(cls.cutoff_in_sigma)}: it must be "
            "finite and greater than 0."
        )
    if cls.potential not in POTENTIALS:
        _end_at_cutoff(cls)
    sizes = inspect.Parameter("diameters", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    cls.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [sizes, *(sizes.replace(name=p.name) for p in cls.parameters)]
    )


def _listed(cls: type[PairPotential]) -> tuple[Any, ...]:
    given: Any = cls.parameters
    if isinstance(given, (str, Parameter)):
        return (given,)
    if not isinstance(given, (tuple, list)):
        raise InputError(
            f"{cls.__name__}.parameters is {described(given)}: it must be names, as "
            '("epsilon", "r_cut").'
        )
    return tuple(given)


def _parameter(cls: type[PairPotential], given: Any) -> Parameter:
    made = Parameter(given) if isinstance(given, str) else given
    if not isinstance(made, Parameter) or not re.fullmatch(r"[A-Za-z]\w{0,63}", str(made.name)):
        raise InputError(
            f"{cls.__name__}.parameters holds {described(given)}: it must be names, or "
            "bridge.Parameter(name, ...)."
        )
    if made.name in ("diameters", "sigma"):
        raise InputError(
            f"{cls.__name__}.parameters: every potential has {made.name!r}: leave it out."
        )
    if not made.per_pair:
        raise InputError(
            f"{cls.__name__}.parameters: {made.name!r} belongs to types: all but diameters belong "
            "to pairs of types."
        )
    if hasattr(PairPotential, made.name):
        raise InputError(
            f"{cls.__name__}.parameters: {made.name!r} means something else here: choose another "
            "name."
        )
    return made


def _end_at_cutoff(cls: type[PairPotential]) -> None:
    """Let the energy be 0 beyond the cutoff, whatever the class's formula says there."""
    written = cls.__dict__.get("pair_energy")
    if written is None:
        return
    formula = written.__get__(None, cls) if hasattr(written, "__get__") else written

    def pair_energy(kind: type[PairPotential], r: Array, pair: Mapping[str, Array]) -> Array:
        cutoff = kind.pair_cutoff(pair)
        inside = r < cutoff
        # The branch that is not taken must not overflow: derivatives of `where` multiply it by 0.
        u = formula(jnp.where(inside, r, 0.5 * cutoff), pair)
        if np.shape(u) != np.shape(inside):
            raise InputError(
                f"{kind.__name__}.pair_energy gives shape {np.shape(u)} for distances "
                f"{np.shape(inside)}: it must give the energy of each, by that pair's parameters."
            )
        return jnp.where(inside, u, 0.0)

    pair_energy.__doc__ = getattr(formula, "__doc__", None)
    cls.pair_energy = classmethod(pair_energy)  # type: ignore[method-assign, assignment]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class OwnParameters:
    """A pair potential in which each of a list of pairs has its own parameters, (M,) each.

    It takes the place of a `PairPotential` where derivatives by every pair are wanted. All else
    that is read of it, such as ``diameters``, is that of the types.
    """

    kind: Any = field(metadata={"static": True})
    parameters: dict[str, Any] = field()
    types: Any = field()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("kind", "parameters", "types"):
            raise AttributeError(name)  # as JAX and Python look for them by themselves
        return getattr(self.types, name)
