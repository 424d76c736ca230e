"""Choices of parameters to differentiate by: of types, groups, particles, bonds, or the box.

Every derivative is first taken with respect to each pair's own parameters and to the strain of the
box; those asked for are sums of these.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import InputError, pair_places, type_names
from amorph.handover.arguments import check_kind, one_or_several, whole_numbers

from ..errors import FeatureError
from ..matter.mechanics import State
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..matter.strains import strain_basis

__all__ = [
    "Choice",
    "by_bond",
    "by_group",
    "by_particle",
    "by_type",
    "choices",
    "of_box",
    "of_strain",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Slopes:
    """Total derivatives of some rows by each pair's own parameters, and by the strain.

    Attributes
    ----------
    theta, state:
        Where they were taken.
    near:
        By name, (rows, M): sigma, the distance in units of which u is given, and the others.
    springs:
        By name, (rows, n_bonds); empty without springs.
    strain:
        (rows, n_strains), or None where it was not asked for.
    types:
        By name, (rows, n): partial derivatives by the parameters of types themselves, of features
        that read these.
    """

    theta: Theta
    state: State
    near: dict[str, Array]
    springs: dict[str, Array]
    strain: Array | None
    types: dict[str, Array]

    @property
    def ends(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The particles of each pair, (M,) both."""
        count = int(self.state.pairs.count)
        return np.asarray(self.state.pairs.i)[:count], np.asarray(self.state.pairs.j)[:count]


def check_pairs(what: str, types: dict[str, Array]) -> None:
    """Raise `FeatureError` where features read parameters of types: these are no pairs' own.

    ``types`` are partial derivatives by the parameters of types themselves.
    """
    for name, values in types.items():
        if values.any():
            raise FeatureError(
                f"{what}: a feature reads theta.{name} of types, which has no derivative by this. "
                f"Differentiate it by {name!r}, or have it read sigma and the others of pairs "
                "(bridge.pair_sum)."
            )


def _sums(values: Array, places: NDArray[Any], size: int) -> Array:
    """The sum of each row's values by place, (rows, size)."""
    return np.stack([np.bincount(places, row, size) for row in values])


class Choice(ABC):
    """Some parameters to differentiate by.

    Attributes: name, as it is written in strings and tables; of_types, whether they are those of
    types.
    """

    name: str
    needs_strain = False
    of_types = False

    @abstractmethod
    def check(self, theta: Theta, packing: Packing) -> None:
        """Raise `InputError` where the parameters are not theta's or do not fit the packing."""

    @abstractmethod
    def columns(self, slopes: Slopes) -> Array:
        """The derivatives of the rows by these parameters, (rows, n)."""

    @abstractmethod
    def labels(self, theta: Theta, state: State) -> list[str]:
        """The columns' names, (n,)."""

    def spread(self, values: ArrayLike, theta: Theta, state: State) -> dict[str, Array]:
        """A change of these parameters as a change of each pair's own, by name.

        Names of springs' parameters begin with ``springs.``. Raises `InputError` where the change
        is none of pairs' parameters.
        """
        raise InputError(f"{self.name}: is no parameter of the interactions.")


def _known(theta: Theta, name: str) -> bool:
    """Whether a parameter is one of springs; raises `InputError` if there is none of the name."""
    if theta.near is None:
        bonded, own = True, name.removeprefix("springs.")
    else:
        bonded, own = name.startswith("springs."), name.removeprefix("springs.")
    names = theta.arrays()
    allowed = list(dict.fromkeys([*names, *(["sigma"] if theta.near is not None else [])]))
    if (name if theta.near is not None else own) not in allowed:
        raise InputError(
            f"there is no parameter {name!r}: {theta.potential} has {', '.join(allowed)}."
        )
    return bonded


@dataclass(frozen=True, eq=False)
class _ByGroup(Choice):
    """A parameter of groups of particles, or of pairs of groups."""

    parameter: str
    groups: NDArray[np.int64] | None  # None: the types
    called: str | None = None

    @property
    def of_types(self) -> bool:  # type: ignore[override]
        return self.groups is None

    @property
    def name(self) -> str:  # type: ignore[override]
        kind = self.parameter if self.groups is None else f"{self.parameter}/group"
        return self.called or kind

    def check(self, theta: Theta, packing: Packing) -> None:
        if _known(theta, self.parameter):
            if self.groups is not None:
                raise InputError(f"{self.parameter}: springs are bonds' own: use by_bond.")
        elif self.parameter == "sigma" and "sigma" not in theta.arrays():
            raise InputError("sigma: is half the sum of two diameters: use diameters, or by_bond.")
        if self.groups is not None and self.groups.shape != (packing.n_particles,):
            raise InputError(
                f"{self.name}: groups have shape {self.groups.shape}: give each of the "
                f"{packing.n_particles} particles a number."
            )

    def _places(self, theta: Theta, state: State) -> tuple[NDArray[np.int64], int]:
        if self.groups is not None:
            return self.groups, int(self.groups.max()) + 1
        assert theta.near is not None
        return np.asarray(state.typeid, dtype=np.int64), theta.near.n_types

    def _names(self, n: int) -> tuple[str, ...]:
        return type_names(n) if self.groups is None else tuple(map(str, range(n)))

    def columns(self, slopes: Slopes) -> Array:
        if _known(slopes.theta, self.parameter):
            return slopes.springs[self.parameter.removeprefix("springs.")]
        places, n = self._places(slopes.theta, slopes.state)
        own: Any = 0.0
        if self.of_types:
            own = slopes.types[self.parameter]
        else:
            check_pairs(self.name, slopes.types)
        i, j = (places[end] for end in slopes.ends)
        if self.parameter == "diameters":  # σ = (D_i + D_j)/2
            half = 0.5 * slopes.near["sigma"]
            return _sums(half, i, n) + _sums(half, j, n) + own
        return _sums(slopes.near[self.parameter], pair_places(n)[i, j], n * (n + 1) // 2) + own

    def labels(self, theta: Theta, state: State) -> list[str]:
        if _known(theta, self.parameter):
            return [f"{self.parameter}[{k}]" for k in range(theta.springs.n_bonds)]  # type: ignore[union-attr]
        _, n = self._places(theta, state)
        names = self._names(n)
        if self.parameter == "diameters":
            return [f"diameters[{a}]" for a in names]
        between = "" if self.groups is None else ","
        return [
            f"{self.parameter}[{names[a]}{between}{names[b]}]"
            for a, b in zip(*np.triu_indices(n), strict=True)
        ]

    def spread(self, values: ArrayLike, theta: Theta, state: State) -> dict[str, Array]:
        change = np.asarray(values, dtype=np.float64)
        wanted = len(self.labels(theta, state))
        if change.shape != (wanted,):
            raise InputError(f"{self.name}: a direction has {wanted} components here.")
        if _known(theta, self.parameter):
            return {f"springs.{self.parameter.removeprefix('springs.')}": change}
        places, n = self._places(theta, state)
        i, j = places[np.asarray(state.pairs.i)], places[np.asarray(state.pairs.j)]
        own = {f"types.{self.parameter}": change} if self.of_types else {}
        if self.parameter == "diameters":
            return {"sigma": 0.5 * (change[i] + change[j]), **own}
        return {self.parameter: change[pair_places(n)[i, j]], **own}


@dataclass(frozen=True, eq=False)
class _ByBond(Choice):
    """A parameter of each interacting pair, or of each spring."""

    parameter: str

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"{self.parameter}/bond"

    def check(self, theta: Theta, packing: Packing) -> None:
        if not _known(theta, self.parameter) and self.parameter == "diameters":
            raise InputError("diameters/bond: diameters are particles' own; a pair has sigma.")

    def _inside(self, theta: Theta, state: State) -> NDArray[np.int64]:
        return interacting(theta, state)

    def columns(self, slopes: Slopes) -> Array:
        if _known(slopes.theta, self.parameter):
            return slopes.springs[self.parameter.removeprefix("springs.")]
        check_pairs(self.name, slopes.types)
        return slopes.near[self.parameter][:, self._inside(slopes.theta, slopes.state)]

    def labels(self, theta: Theta, state: State) -> list[str]:
        if _known(theta, self.parameter):
            return [f"{self.parameter}[{k}]" for k in range(theta.springs.n_bonds)]  # type: ignore[union-attr]
        kept = self._inside(theta, state)
        i, j = np.asarray(state.pairs.i)[kept], np.asarray(state.pairs.j)[kept]
        return [f"{self.parameter}[{a},{b}]" for a, b in zip(i, j, strict=True)]

    def spread(self, values: ArrayLike, theta: Theta, state: State) -> dict[str, Array]:
        change = np.asarray(values, dtype=np.float64)
        bonded = _known(theta, self.parameter)
        kept = None if bonded else self._inside(theta, state)
        wanted = theta.springs.n_bonds if kept is None else len(kept)  # type: ignore[union-attr]
        if change.shape != (wanted,):
            raise InputError(f"{self.name}: a direction has {wanted} components here.")
        if kept is None:
            return {f"springs.{self.parameter.removeprefix('springs.')}": change}
        out = np.zeros(len(state.pairs.i))
        out[kept] = change
        return {self.parameter: out}


@dataclass(frozen=True, eq=False)
class _ByParticle(_ByGroup):
    """The diameter of each particle: every one is a group of its own."""

    groups: NDArray[np.int64] | None = None
    of_types = False

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"{self.parameter}/particle"

    def check(self, theta: Theta, packing: Packing) -> None:
        if self.parameter == "diameters" and theta.near is not None and "sigma" in theta.arrays():
            raise InputError(
                f"{self.name}: {theta.potential} has sigma of pairs of types here, no diameters: "
                "use sigma, or sigma/bond."
            )
        if _known(theta, self.parameter) or self.parameter != "diameters":
            raise InputError(
                f"{self.name}: only diameters are particles' own; {self.parameter} belongs to "
                "pairs: use by_bond, or by_group."
            )

    def _places(self, theta: Theta, state: State) -> tuple[NDArray[np.int64], int]:
        n = len(state.typeid)
        return np.arange(n), n

    def _names(self, n: int) -> tuple[str, ...]:
        return tuple(map(str, range(n)))


@dataclass(frozen=True, eq=False)
class _Strain(Choice):
    """The symmetric strain of the box."""

    name: str = "strain"
    needs_strain = True

    def check(self, theta: Theta, packing: Packing) -> None:
        _ = packing.volume

    def columns(self, slopes: Slopes) -> Array:
        assert slopes.strain is not None
        return slopes.strain

    def labels(self, theta: Theta, state: State) -> list[str]:
        d = np.shape(state.positions)[1]
        axes = ["xx", "yy", "xy"] if d == 2 else ["xx", "yy", "zz", "yz", "xz", "xy"]
        return [f"strain[{a}]" for a in axes]


@dataclass(frozen=True, eq=False)
class _Box(_Strain):
    """The elements of the box matrix, particles keeping their fractional coordinates."""

    name: str = "box"

    def columns(self, slopes: Slopes) -> Array:
        # A change dh of the box is the deformation dh h⁻¹, of which the symmetric part counts.
        assert slopes.strain is not None
        box = np.asarray(slopes.state.box)
        d = len(box)
        inverse = np.linalg.inv(box)
        basis = strain_basis(d)
        # Components of a symmetric strain along the basis: a shear counts twice.
        weight = 1.0 / np.einsum("aij,aij->a", basis, basis)
        out = []
        for a, b in zip(*np.triu_indices(d), strict=True):
            gradient = np.zeros((d, d))
            gradient[a] = inverse[b]
            components = weight * np.einsum("aij,ij->a", basis, 0.5 * (gradient + gradient.T))
            out.append(slopes.strain @ components)
        return np.stack(out, axis=1)

    def labels(self, theta: Theta, state: State) -> list[str]:
        d = np.shape(state.positions)[1]
        return [f"box[{a},{b}]" for a, b in zip(*np.triu_indices(d), strict=True)]


def interacting(theta: Theta, state: State) -> NDArray[np.int64]:
    """A mask of the listed pairs that are nearer than their cutoff."""
    assert theta.near is not None
    count = int(state.pairs.count)
    i, j = np.asarray(state.pairs.i)[:count], np.asarray(state.pairs.j)[:count]
    x = np.asarray(state.positions)
    distance = np.sqrt(np.sum((x[j] - x[i] + np.asarray(state.pairs.shift)[:count]) ** 2, axis=1))
    types = np.asarray(state.typeid)
    return np.flatnonzero(distance < theta.near.cutoffs()[types[i], types[j]])


def by_type(parameter: str) -> Choice:
    """A parameter of types or pairs of types, in theta's order."""
    check_kind("parameter", parameter, str, "the name of a parameter")
    return _ByGroup(parameter, None)


def by_group(parameter: str, groups: ArrayLike, *, name: str | None = None) -> Choice:
    """A parameter of groups of particles, as if each group were a type of its own.

    Parameters
    ----------
    parameter:
        ``diameters``, one for each group, or a parameter of pairs, over
        ``numpy.triu_indices(n_groups)``.
    groups:
        (N,) integers from 0: each particle's group.
    name:
        By default ``PARAMETER/group``.

    Source: Zu, Desai and Goodrich, "Fully independent response in disordered solids", where
    particles are assigned to new species at random.
    """
    check_kind("parameter", parameter, str, "the name of a parameter")
    right = "an integer of at least 0 for each particle"
    numbers = whole_numbers("groups", groups, right)
    if numbers.ndim != 1 or len(numbers) == 0 or numbers.min() < 0:
        raise InputError(f"groups must be {right}.")
    return _ByGroup(parameter, numbers.astype(np.int64), name)


def by_particle(parameter: str = "diameters") -> Choice:
    """The diameter of each particle, (N,)."""
    check_kind("parameter", parameter, str, "the name of a parameter")
    return _ByParticle(parameter)


def by_bond(parameter: str) -> Choice:
    """A parameter of each interacting pair (``sigma`` for its own σ), or of each spring.

    Interacting pairs are those nearer than their cutoff, in the order of `bond_contributions`.
    """
    check_kind("parameter", parameter, str, "the name of a parameter")
    return _ByBond(parameter)


def of_strain() -> Choice:
    """The symmetric strain of the box and all in it, components xx, yy, (zz, yz, xz,) xy.

    A shear component e stands for ε_xy = ε_yx = e/2, the derivative by it for half the sum of the
    derivatives by the two.
    """
    return _Strain()


def of_box() -> Choice:
    """The box matrix's elements over ``numpy.triu_indices(d)``, fractional coordinates fixed.

    Of tensors this leaves out the rotation that comes with a tilt: their derivatives are those in
    axes that turn with the material.
    """
    return _Box()


def choices(given: "str | Choice | Sequence[str | Choice] | None", theta: Theta) -> list[Choice]:
    """The choices that strings stand for; by default all parameters of types or springs.

    ``diameters`` is of types, ``diameters/particle`` of particles, ``stiffness/bond`` of pairs;
    ``strain`` and ``box`` are the box's.
    """
    if given is None:
        given = list(theta.arrays())
    right = (
        'names of parameters or choices, as "diameters", "stiffness/bond" or bridge.by_group(...)'
    )
    out: list[Choice] = []
    for one in one_or_several("with_respect_to", given, (str, Choice), right):
        if isinstance(one, Choice):
            out.append(one)
            continue
        name, _, kind = one.partition("/")
        if one in ("strain", "box"):
            out.append(of_strain() if one == "strain" else of_box())
        elif kind in ("", "type"):
            out.append(by_type(name))
        elif kind in ("particle", "bond"):
            out.append(by_particle(name) if kind == "particle" else by_bond(name))
        else:
            raise InputError(
                f"with_respect_to = {one!r}: write NAME, NAME/particle, NAME/bond, strain or box."
            )
    return out
