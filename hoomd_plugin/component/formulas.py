"""What the pair forces share: parameters by pair of types, cutoffs that follow them, logs."""

import math
from collections.abc import Iterable, Mapping
from typing import ClassVar

import hoomd
import numpy as np
from hoomd.amorph import _amorph
from hoomd.amorph.acting import as_bytes, exclusions_at_work, others_at_work
from hoomd.data.collections import _to_base
from hoomd.data.parameterdicts import TypeParameterDict
from hoomd.data.typeconverter import RequiredArg, nonnegative_real, positive_real
from hoomd.data.typeparam import TypeParameter
from hoomd.error import IncompleteSpecificationError, TypeConversionError
from hoomd.logging import log
from hoomd.md.pair import Pair

__all__ = [
    "LONG",
    "LONGEST",
    "SHORT",
    "FormulaForce",
    "FormulaForceWithoutSwitch",
    "check_built_for",
    "logged",
    "nonnegative",
    "pairs_of",
    "positive",
]


# Bytes of what is logged as text: the longest mode, potential and list of exclusions fit.
SHORT, LONG, LONGEST = 8, 32, 256


def positive(value):
    """A finite number greater than 0, as a parameter."""
    return _finite(positive_real(value))


def nonnegative(value):
    """A finite number of at least 0, as a parameter."""
    return _finite(nonnegative_real(value))


def _finite(number):
    # HOOMD's own converters take NaN and infinity.
    if not math.isfinite(number):
        raise TypeConversionError(f"Expected a finite number, not {number}.")
    return number


class _Cutoffs(TypeParameterDict):
    """Distances by pair of types that follow the parameters where a user has set none."""

    def __init__(self, default):
        super().__init__(nonnegative, len_keys=2)
        if default is not None:
            self.default = default
        self._set = set()  # by the user
        self._least = {}

    def follow(self, pair, value, least):
        """Take what the parameters say, unless it has been set."""
        if pair not in self._set and self.default is RequiredArg:
            super()._single_setitem(pair, value)
        elif self._attached:
            _check_core(pair, self._dict[pair], least)
        self._least[pair] = least

    def _single_setitem(self, key, item):
        _check_core(key, item, self._least.get(key, 0.0))
        self._set.add(key)
        super()._single_setitem(key, item)

    def check(self, pair):
        """Raise for a value that was set before the parameters were."""
        if pair in self._set or self.default is not RequiredArg:
            value = self._dict.get(pair, self.default)
            _check_core(pair, value, self._least.get(pair, 0.0))

    def _attach(self, cpp_obj, param_name, types):
        before = set(self._set)
        super()._attach(cpp_obj, param_name, types)
        self._set = before

    def __getstate__(self):
        return {**super().__getstate__(), "_set": self._set, "_least": self._least}


def _check_core(pair, r_cut, least):
    # HOOMD may hold cutoffs in single precision.
    if 0.0 < r_cut < (1 - 1e-6) * least:
        raise ValueError(
            f"r_cut[{pair}] = {r_cut} lies below sigma = {least}: the core would be cut. Set 0 for "
            "pairs that shall not interact."
        )


class _Parameters(TypeParameterDict):
    """Parameters by pair of types, which the cutoffs are told of."""

    def __init__(self, potential, has_core, schema, defaults, r_cut, r_on):
        super().__init__(len_keys=2, **schema, _defaults=dict(defaults))
        self._potential = potential
        self._has_core = has_core
        self._r_cut, self._r_on = r_cut, r_on

    def _single_setitem(self, key, item):
        if self._attached:  # first, as it may refuse
            self._follow(key, item)
            super()._single_setitem(key, item)
        else:
            super()._single_setitem(key, item)
            self._follow(key, item)

    def _write(self, obj):
        if self._attached:
            super()._write(obj)
        else:  # a value within a pair's parameters
            self._follow(obj._identity, _to_base(obj._parent))

    def _follow(self, key, item):
        values = [item[name] for name in _amorph.potentials[self._potential]["parameters"]]
        if any(value is RequiredArg for value in values):
            return
        r_on, r_cut = _amorph.potentials[self._potential]["cutoffs"](values)
        self._r_cut.follow(key, r_cut, item["sigma"] if self._has_core else 0.0)
        self._r_on.follow(key, r_on, 0.0)

    def __getstate__(self):
        own = ("_potential", "_has_core", "_r_cut", "_r_on")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in own}}


class FormulaForce(Pair):
    """What all of the forces share."""

    _ext_module = _amorph
    _potential = ""
    _has_core = True
    _own_mode = "xplor"
    _schema: ClassVar[Mapping] = {}
    _defaults: ClassVar[Mapping] = {}

    def __init__(self, nlist, default_r_cut=None, default_r_on=None, mode="xplor"):
        super().__init__(nlist, mode=mode)
        r_cut, r_on = _Cutoffs(default_r_cut), _Cutoffs(default_r_on)
        params = _Parameters(
            self._potential, self._has_core, self._schema, self._defaults, r_cut, r_on
        )
        self._typeparam_dict.clear()
        self._extend_typeparam(
            [
                TypeParameter(name, "particle_types", values)
                for name, values in (("r_cut", r_cut), ("r_on", r_on), ("params", params))
            ]
        )

    @property
    def _cpp_class_name(self):
        return f"PotentialPair_{self._potential}"

    def _attach_hook(self):
        for pair in pairs_of(self._simulation.state.particle_types):
            self._known(pair)
            self.r_cut.param_dict.check(pair)
        check_built_for(self._simulation.device)
        super()._attach_hook()

    def _known(self, pair) -> dict:
        """The parameters of a pair; reading them has the cutoffs follow a default too."""
        held = self.params.param_dict
        own = held.get(pair) or held.default
        if any(value is RequiredArg for value in dict(own).values()):
            names = ", ".join(f"{n}=..." for n in self._schema)
            raise IncompleteSpecificationError(
                f"{type(self).__name__} has no parameters for the types {pair}: set "
                f"params[{pair}] = dict({names})."
            )
        return dict(self.params[pair])

    @classmethod
    def from_theta(cls, theta, types, nlist=None, **settings):
        """A force with the parameters of a potential of `amorph.bridge` (or any with its arrays).

        Args:
            theta: has ``potential``, its name, and ``arrays()``: ``diameters`` by type, the others
                over ``numpy.triu_indices(n_types)``.
            types (Sequence[str]): the types' names, in theta's order.
            nlist (hoomd.md.nlist.NeighborList): neighbour list; by default cells with a buffer of
                0.3 of the largest diameter.
            settings: as the class takes them.

        Raises:
            ValueError: for another potential, or a wrong number of types.
        """
        if theta.potential != cls._potential:
            raise ValueError(
                f"theta is of the potential {theta.potential!r}: {cls.__name__} is "
                f"{cls._potential!r}."
            )
        arrays = {name: np.asarray(values, float) for name, values in theta.arrays().items()}
        diameters = arrays.pop("diameters")
        if len(types) != len(diameters):
            raise ValueError(f"there are {len(types)} types, but {len(diameters)} diameters.")
        if nlist is None:
            nlist = hoomd.md.nlist.Cell(buffer=0.3 * float(diameters.max()))
        force = cls(nlist=nlist, **settings)
        for p, (s, t) in enumerate(zip(*np.triu_indices(len(types)), strict=True)):
            sigma = 0.5 * (diameters[s] + diameters[t])
            own = {name: float(values[p]) for name, values in arrays.items()}
            force.params[(types[s], types[t])] = dict(sigma=float(sigma), **own)
        return force

    def to_theta(self, types=None):
        """The parameters as a potential of `amorph.bridge`.

        Args:
            types (Sequence[str]): the types' names in order; by default the simulation's.

        Raises:
            ValueError: where sigma of a pair is not the mean of its types' diameters, or where
                cutoffs or the mode are not the potential's own: the bridge has no such potential.
            hoomd.error.IncompleteSpecificationError: if a pair has no parameters.
        """
        from amorph import bridge

        names = self._names(types)
        self.check_own_cutoffs(names)
        self._check_means(names)
        arrays = self._arrays(names)
        upper = np.triu_indices(len(arrays["diameters"]))
        diameters = arrays.pop("diameters")
        pairs = {name: values[upper] for name, values in arrays.items()}
        return bridge.from_arrays(self._potential, {"diameters": diameters, **pairs})

    def check_own_cutoffs(self, types):
        """Raise where cutoffs or the mode are not the potential's own.

        The engine and the bridge have no others.

        Args:
            types (Sequence[str]): the types' names.

        Raises:
            ValueError: if ``mode``, ``r_cut`` or ``r_on`` were set to something else.
            hoomd.error.IncompleteSpecificationError: if a pair has no parameters.
        """
        if self.mode != self._own_mode:
            raise ValueError(
                f"mode = {self.mode!r}: Amorph's engine and bridge have {self._own_mode!r} alone. "
                "Leave mode out."
            )
        for key in pairs_of(types):
            own = self._known(key)
            names = _amorph.potentials[self._potential]["parameters"]
            r_on, r_cut = _amorph.potentials[self._potential]["cutoffs"]([own[n] for n in names])
            own_of = {"r_cut": r_cut} | ({"r_on": r_on} if self.mode == "xplor" else {})
            for name, value in own_of.items():
                if abs(getattr(self, name)[key] - value) > 1e-6 * value:
                    raise ValueError(
                        f"{name}[{key}] = {getattr(self, name)[key]}: Amorph's engine and bridge "
                        f"have the potential's own, {value}, alone. Leave {name} out."
                    )

    def _names(self, types=None) -> list[str]:
        if types is not None:
            return list(types)
        if self._simulation is None:
            raise ValueError("give the types: the force is in no simulation yet.")
        return list(self._simulation.state.particle_types)

    def _check_means(self, types):
        if not self._has_core:
            return
        for s, t in pairs_of(types):
            mean = 0.5 * (self._known((s, s))["sigma"] + self._known((t, t))["sigma"])
            sigma = self._known((s, t))["sigma"]
            if abs(sigma - mean) > 1e-12 * mean:
                raise ValueError(
                    f"params[{(s, t)}] has sigma = {sigma}: in Amorph's engine and bridge it is "
                    f"the mean of the diameters of the two types, {mean}. Set it to that."
                )

    def _arrays(self, types) -> dict[str, np.ndarray]:
        """Diameters (types,), the other parameters (types, types)."""
        arrays = {
            name: self._over_pairs(lambda pair, name=name: self._known(pair)[name], types)
            for name in self._schema
        }
        return {"diameters": np.diag(arrays.pop("sigma")).copy(), **arrays}

    def _over_pairs(self, value, types=None) -> np.ndarray:
        """A function's values for each pair of types, (types, types)."""
        names = self._names(types)
        place = {name: k for k, name in enumerate(names)}
        matrix = np.zeros((len(names), len(names)))
        for s, t in pairs_of(names):
            matrix[place[s], place[t]] = matrix[place[t], place[s]] = value((s, t))
        return matrix

    @log(category="sequence", requires_run=True)
    def potential(self):
        """Amorph's name of the potential, in bytes."""
        return as_bytes(self._potential, LONG)

    @log(category="sequence", requires_run=True)
    def sigma(self):
        """The parameter ``sigma`` over pairs of types, (types, types)."""
        return self._over_pairs(lambda pair: self._known(pair)["sigma"])

    @log(category="sequence", requires_run=True)
    def applied_r_cut(self):
        """``r_cut`` over pairs of types, (types, types)."""
        return self._over_pairs(lambda pair: self.r_cut[pair])

    @log(category="sequence", requires_run=True)
    def applied_r_on(self):
        """``r_on`` over pairs of types, (types, types)."""
        return self._over_pairs(lambda pair: self.r_on[pair])

    @log(category="sequence", requires_run=True)
    def applied_mode(self):
        """``mode``, in bytes."""
        return as_bytes(self.mode, SHORT)

    @log(category="sequence", requires_run=True)
    def applied_exclusions(self):
        """The exclusions of the neighbour list that leave out pairs of this system, in bytes."""
        return as_bytes(exclusions_at_work(self._simulation, self.nlist), LONGEST)

    @log(category="sequence", requires_run=True)
    def other_forces(self):
        """The names of all that acts on the particles besides this force, in bytes."""
        return as_bytes(others_at_work(self._simulation, self), LONGEST)


class FormulaForceWithoutSwitch(FormulaForce):
    """What those share that end by themselves: HOOMD-blue's mode none."""

    _accepted_modes = ("none",)
    _own_mode = "none"

    def __init__(self, nlist, default_r_cut=None):
        super().__init__(nlist, default_r_cut, mode="none")


def check_built_for(device):
    """Raise for a GPU that the component was not built for."""
    if not isinstance(device, hoomd.device.CPU) and not _amorph.gpu:
        raise RuntimeError(
            "hoomd.amorph was built without GPU support: build it with a HOOMD-blue that has it, "
            "or run on hoomd.device.CPU()."
        )


def pairs_of(types: Iterable[str]):
    """All pairs of types, each once."""
    names = list(types)
    return [tuple(sorted((s, t))) for i, s in enumerate(names) for t in names[i:]]


def logged(name: str, shown: str = ""):
    """A loggable quantity of a force: a parameter over its types, shown by a name."""

    def parameter(self):
        return self._arrays(self._names())[name]

    parameter.__name__ = parameter.__qualname__ = shown or name
    parameter.__doc__ = (
        "Diameters of the types, (types,)."
        if name == "diameters"
        else f"The parameter ``{name}`` over pairs of types, (types, types)."
    )
    return log(category="sequence", requires_run=True)(parameter)
