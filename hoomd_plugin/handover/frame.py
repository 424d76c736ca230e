"""One packing as it is handed over: a frame of a GSD file, in NumPy arrays."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arguments import check_kind, described
from .boxes import box_to_hoomd
from .errors import (
    CorruptFrameError,
    InputError,
    PotentialMissingError,
    UnknownTypeError,
)
from .hoomd_forces import is_force_key
from .potentials import (
    POTENTIALS,
    check_foreign_parameters,
    check_parameters,
    check_potential,
    n_types,
)
from .showing import box_shown, parameters_shown, shown

__all__ = ["Frame"]

# What gsd can hold, and gives back unchanged.
_LOG_DTYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8")
BOX_KEY = "box"
BOX_VECTORS_KEY = "box_vectors"
POSITIONS_KEY = "positions"
# The name of a potential that is not Amorph's own; its parameters stand under that.
FOREIGN_KEY = "potential"


@functools.cache
def _own_keys() -> frozenset[str]:
    keys = {BOX_KEY, BOX_VECTORS_KEY, POSITIONS_KEY, FOREIGN_KEY}
    keys.update(f"{name}/{p.name}" for name, parameters in POTENTIALS.items() for p in parameters)
    return frozenset(keys)


def is_reserved(key: str) -> bool:
    """Whether a key under ``log/amorph/`` is one that box, positions or potential are kept in."""
    return key in _own_keys() or is_force_key(key)


def log_value(key: str, value: ArrayLike) -> NDArray[Any]:
    """A logged value as gsd gives it back: the one form in which it is kept.

    A scalar becomes (1,), a column (N, 1) becomes (N,), a Boolean uint8, a text an array of shape
    (). Raises `InputError` for what gsd cannot hold: more than two dimensions, complex numbers,
    objects, texts that are empty or not ASCII.
    """
    array = np.asarray(value)
    if array.dtype.kind == "U" and array.ndim == 0:
        text = str(array)
        if not text or not text.isascii() or "\0" in text:
            raise InputError(f"log[{key!r}] = {text!r}: a text must be ASCII and not empty.")
        return array
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.str[1:] not in _LOG_DTYPES:
        raise InputError(
            f"log[{key!r}] is of type {array.dtype}: GSD holds integers, float32 and float64, "
            "and single texts."
        )
    if array.ndim > 2:
        raise InputError(
            f"log[{key!r}] has shape {array.shape}: GSD holds at most two dimensions; reshape it."
        )
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.shape[1] == 0:
        raise InputError(f"log[{key!r}] has shape {array.shape}: GSD holds no empty rows.")
    return np.ascontiguousarray(array)


@dataclass(frozen=True, eq=False)
class Frame:
    """A packing, its potential and what was logged with it; all in reduced units.

    Values are brought to one form when a frame is made: arrays are contiguous and of the types
    below, no bonds and images that are all zero become None, logged scalars become arrays of shape
    (1,). So a frame equals, to the last bit, what is read back after it was written. Whether the
    content makes sense is checked by `validate`, which reading and writing call.

    Attributes
    ----------
    positions:
        (N, d) float64, d = 2 or 3.
    typeid:
        (N,) int32, indices into ``types``.
    types:
        Names of the types.
    box:
        (d, d) float64, columns the box vectors (see `amorph.handover.boxes`), or None: open.
    potential:
        A name in `amorph.handover.POTENTIALS`, or None if the frame has none; any name, if it is
        ``foreign``.
    parameters:
        The potential's arrays: vectors over types, or over ``numpy.triu_indices(n_types)``; of a
        foreign potential also of length 1.
    foreign:
        Whether the potential is none of Amorph's own, but a formula of a user's: its name and its
        parameters are kept as they are, and whoever uses the frame decides whether it knows them.
    images:
        (N, d) int32: how many boxes a particle was carried over; None: none was.
    bonds:
        (M, 2) int32 pairs of particles, or None: no bonds.
    log:
        Further quantities, by their key under ``log/amorph/``: ``seed``, ``replica``, ``energy``,
        ``max_force``, ``converged``, ``steps``, ...: arrays of at most two dimensions, or texts.
    source, index:
        The file and the frame it was read from; no part of the content.

    Raises `CorruptFrameError` or `InputError` if a value cannot be brought to that form.
    """

    positions: NDArray[np.float64]
    typeid: NDArray[np.int32]
    types: tuple[str, ...]
    box: NDArray[np.float64] | None
    potential: str | None = None
    parameters: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    images: NDArray[np.int32] | None = None
    bonds: NDArray[np.int32] | None = None
    log: dict[str, NDArray[Any]] = field(default_factory=dict)
    foreign: bool = False
    source: str = ""
    index: int = 0

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        types: str | Sequence[str] = self.types
        check_kind("types", types, (str, list, tuple), "names of the types")
        for name in ("parameters", "log"):
            check_kind(name, getattr(self, name), Mapping, "a dict of arrays by name")
        put("types", (types,) if isinstance(types, str) else tuple(types))
        put("positions", self._floats("positions", self.positions))
        put("typeid", self._integers("typeid", self.typeid))
        if self.box is not None:
            put("box", self._floats("box", self.box))
        put("parameters", {k: self._floats(k, v) for k, v in self.parameters.items()})
        if self.images is not None:
            images = self._integers("images", self.images)
            put("images", images if images.any() else None)
        if self.bonds is not None:
            bonds = self._integers("bonds", self.bonds)
            put("bonds", bonds if bonds.size else None)
        put("log", {key: log_value(key, value) for key, value in self.log.items()})

    def _array(self, name: str, values: ArrayLike) -> NDArray[Any]:
        try:
            return np.asarray(values)
        except (TypeError, ValueError) as error:  # rows of different lengths
            raise CorruptFrameError(
                f"{self.where}: {name} is {described(values)}: it must be an array."
            ) from error

    def _floats(self, name: str, values: ArrayLike) -> NDArray[np.float64]:
        array = self._array(name, values)
        if array.dtype.kind not in "iuf":
            raise CorruptFrameError(
                f"{self.where}: {name} holds {array.dtype} values: it must hold real numbers."
            )
        return np.ascontiguousarray(array, dtype=np.float64)

    def _integers(self, name: str, values: ArrayLike) -> NDArray[np.int32]:
        array = self._array(name, values)
        if array.size and array.dtype.kind not in "iu":
            raise CorruptFrameError(
                f"{self.where}: {name} holds {array.dtype} values: it must hold integers."
            )
        limit = np.iinfo(np.int32)
        if array.size and (int(array.min()) < limit.min or int(array.max()) > limit.max):
            error = UnknownTypeError if name == "typeid" else CorruptFrameError
            raise error(
                f"{self.where}: {name} reaches from {array.min()} to {array.max()}: "
                "it must fit 32 bits."
            )
        return np.ascontiguousarray(array, dtype=np.int32)

    def __repr__(self) -> str:
        parameters = parameters_shown(self.parameters)
        whole = self.positions.ndim == 2
        size = f"{self.n_particles} particles in {self.dimension} dimensions" if whole else "?"
        numbers = [int((self.typeid == t).sum()) for t in range(len(self.types))]
        counts = [f"{n} {name}" for n, name in zip(numbers, self.types, strict=True)]
        return shown(
            f"Frame of {size}",
            [
                ("of", self.where if self.source else ""),
                ("box", box_shown(self.box) if self.box is None or self.box.ndim == 2 else "?"),
                ("types", ", ".join(counts[:6]) + (", ..." if len(counts) > 6 else "")),
                ("potential", f"{self.potential}({parameters})" if self.potential else "none"),
                ("bonds", "" if self.bonds is None else str(len(self.bonds))),
                ("log", ", ".join(self.log)),
            ],
        )

    @property
    def where(self) -> str:
        """Where the frame comes from, as error messages name it."""
        return f"{self.source}, frame {self.index}" if self.source else "frame"

    @property
    def dimension(self) -> int:
        """The number of dimensions, 2 or 3."""
        return int(self.positions.shape[-1])

    @property
    def n_particles(self) -> int:
        """The number of particles."""
        return int(self.positions.shape[0])

    def validate(self) -> None:
        """Check that the content makes sense, and say by name what does not.

        Raises
        ------
        CorruptFrameError
            A shape is wrong, there are no particles, positions or parameters are not finite or out
            of bounds, the box is malformed, a bond joins a particle that is not there.
        UnknownTypeError
            A ``typeid`` has no name in ``types``, or there are more types than the potential has.
        UnknownPotentialError, PotentialMissingError
            The potential is not known, or parameters are there without a potential.
        InputError
            A log key is one that the box, the positions and the potential are kept under, or is
            malformed.
        """
        self._validate_particles()
        self._validate_box()
        self._validate_bonds()
        self._validate_potential()
        for key in self.log:
            own = self.foreign and key.startswith(f"{self.potential}/")
            if own or is_reserved(key) or key.strip("/") != key or not key or "\0" in key:
                raise InputError(
                    f"{self.where}: log key {key!r} cannot be used: it is malformed or belongs to "
                    "the box, the positions or the potential. Choose another name."
                )

    def _validate_particles(self) -> None:
        shape = self.positions.shape
        if len(shape) != 2 or shape[1] not in (2, 3):
            raise CorruptFrameError(
                f"{self.where}: positions have shape {shape}: they must be (N, 2) or (N, 3)."
            )
        n = self.n_particles
        if n == 0:
            raise CorruptFrameError(f"{self.where}: there are no particles; leave the frame out.")
        if self.typeid.shape != (n,):
            raise CorruptFrameError(
                f"{self.where}: typeid has shape {self.typeid.shape}: it must be ({n},), "
                "one for each position."
            )
        finite = np.isfinite(self.positions).all(axis=1)
        if not finite.all():
            i = int(np.argmin(finite))
            raise CorruptFrameError(
                f"{self.where}: the position of particle {i} is {self.positions[i].tolist()}, "
                f"not finite ({int((~finite).sum())} such particles). The simulation that wrote it "
                "has blown up: leave the frame out (a slice of frames), or make it anew."
            )
        if len(set(self.types)) != len(self.types) or not all(
            isinstance(name, str) and name and "\0" not in name for name in self.types
        ):
            raise CorruptFrameError(
                f"{self.where}: types = {list(self.types)}: names must be unique and not empty."
            )
        outside = (self.typeid < 0) | (self.typeid >= len(self.types))
        if outside.any():
            i = int(np.argmax(outside))
            raise UnknownTypeError(
                f"{self.where}: particle {i} has typeid {int(self.typeid[i])}, but there are "
                f"{len(self.types)} types, {list(self.types)}. Name every type in particles/types."
            )
        if self.images is not None:
            if self.images.shape != shape:
                raise CorruptFrameError(
                    f"{self.where}: images have shape {self.images.shape}: they must be {shape}, "
                    "as the positions."
                )
            if self.box is None:
                raise CorruptFrameError(
                    f"{self.where}: there are images but no box; give a box, or no images."
                )

    def _validate_box(self) -> None:
        if self.box is None:
            return
        try:
            box_to_hoomd(self.box)
        except InputError as error:
            raise CorruptFrameError(f"{self.where}: {error}") from error
        if self.box.shape[0] != self.dimension:
            raise CorruptFrameError(
                f"{self.where}: the box has {self.box.shape[0]} dimensions, "
                f"but the positions {self.dimension}."
            )

    def _validate_bonds(self) -> None:
        if self.bonds is None:
            return
        if self.bonds.ndim != 2 or self.bonds.shape[1] != 2:
            raise CorruptFrameError(
                f"{self.where}: bonds have shape {self.bonds.shape}: they must be (M, 2)."
            )
        n = self.n_particles
        wrong = ((self.bonds < 0) | (self.bonds >= n)).any(axis=1)
        wrong |= self.bonds[:, 0] == self.bonds[:, 1]
        if wrong.any():
            i = int(np.argmax(wrong))
            raise CorruptFrameError(
                f"{self.where}: bond {i} joins particles {self.bonds[i].tolist()}: they must be "
                f"two different particles out of {n}."
            )

    def _validate_potential(self) -> None:
        if self.potential is None:
            if self.parameters:
                raise PotentialMissingError(
                    f"{self.where}: there are parameters {list(self.parameters)} but no "
                    "potential. Name the potential they belong to."
                )
            return
        if self.foreign and self.potential in POTENTIALS:
            raise InputError(
                f"{self.where}: {self.potential} is a potential of Amorph's own: leave foreign out."
            )
        if not self.foreign:
            check_potential(self.potential)
        check = check_foreign_parameters if self.foreign else check_parameters
        try:
            checked = check(self.potential, self.parameters)
        except InputError as error:
            raise CorruptFrameError(f"{self.where}: {error}") from error
        for name, array in self.parameters.items():
            if array.shape != checked[name].shape:
                raise CorruptFrameError(
                    f"{self.where}: parameter '{name}' has shape {array.shape}: "
                    f"it must be {checked[name].shape}."
                )
        known = n_types(self.parameters)
        if len(self.types) > known:
            raise UnknownTypeError(
                f"{self.where}: there are {len(self.types)} types, {list(self.types)}, but the "
                f"potential {self.potential} has parameters for {known}. "
                "Give parameters for every type."
            )
