"""The GSD schema: which chunk of a frame holds what. Both directions stand here, side by side.

The schema is ``hoomd`` 2 in single precision: HOOMD-blue below 7 refuses a file in which the box,
positions or diameters are float64, and other readers of GSD expect float32 too. What HOOMD has no
place for stands under ``log/amorph/``: the exact positions (``positions``) and the exact box, in
HOOMD's form (``box``) and as its vectors (``box_vectors``, since a tilt factor times a length does
not always give the vector back to the last bit), the potential's parameters
(``<potential>/<parameter>``), and the quantities logged with the frame. Of a potential that is not
Amorph's own the name stands there too (``potential``), and all that stands under that name are its
parameters: over types (n_types,), over pairs of types (n_types, n_types), or one in all (1,).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._chunks import FrameChunks
from .boxes import FLAT, box_from_hoomd, box_to_hoomd
from .errors import (
    CorruptFrameError,
    FrameError,
    InputError,
    PotentialMissingError,
    UnknownPotentialError,
    UnknownTypeError,
)
from .frame import (
    BOX_KEY,
    BOX_VECTORS_KEY,
    FOREIGN_KEY,
    POSITIONS_KEY,
    Frame,
    is_reserved,
    log_value,
)
from .hoomd_forces import check_force, force_potentials, parameter_key
from .potentials import POTENTIALS, matrix_to_pairs, pairs_to_matrix

__all__ = ["LOG_PREFIX", "SCHEMA_NAME", "SCHEMA_VERSION", "frame_to_chunks", "read_frame"]

SCHEMA_NAME = "hoomd"
SCHEMA_VERSION = (2, 0)
LOG_PREFIX = "log/amorph/"
_BOND_TYPE = ("bond",)
# configuration/box is float32, log/amorph/box is exact: they agree to a float32's rounding.
_BOX_AGREEMENT = 1e-6


def frame_to_chunks(frame: Frame, step: int) -> dict[str, NDArray[Any] | str]:
    """Every chunk of a valid frame, by name, in the order in which they are written.

    All of them are written in every frame, also where they equal frame 0's or the schema's default:
    a frame that lacks one would inherit frame 0's when read.
    """
    n, d = frame.positions.shape
    six = box_to_hoomd(frame.box)
    diameters = np.ones(n)
    if frame.potential is not None:
        diameters = frame.parameters["diameters"][frame.typeid]
    chunks: dict[str, NDArray[Any] | str] = {
        "configuration/step": np.array([step], dtype=np.uint64),
        "configuration/dimensions": np.array([d], dtype=np.uint8),
        "configuration/box": _single(six, six[:d]),
        "particles/N": np.array([n], dtype=np.uint32),
        "particles/types": _names_to_bytes(frame.types),
        "particles/typeid": frame.typeid.astype(np.uint32),
        "particles/diameter": _single(diameters, diameters),
        "particles/position": _three_columns(_single(frame.positions)),
        "particles/image": np.zeros((n, 3), dtype=np.int32)
        if frame.images is None
        else _three_columns(frame.images),
        "bonds/N": np.array([0 if frame.bonds is None else len(frame.bonds)], dtype=np.uint32),
    }
    if frame.bonds is not None:
        chunks["bonds/types"] = _names_to_bytes(_BOND_TYPE)
        chunks["bonds/typeid"] = np.zeros(len(frame.bonds), dtype=np.uint32)
        chunks["bonds/group"] = frame.bonds.astype(np.uint32)
    chunks[LOG_PREFIX + POSITIONS_KEY] = frame.positions
    chunks[LOG_PREFIX + BOX_KEY] = six
    chunks[LOG_PREFIX + BOX_VECTORS_KEY] = np.zeros((d, d)) if frame.box is None else frame.box
    if frame.potential is not None:
        types = frame.parameters["diameters"].size
        if frame.foreign:
            chunks[LOG_PREFIX + FOREIGN_KEY] = frame.potential
            names = [(name, v.size != types and v.size > 1) for name, v in frame.parameters.items()]
        else:
            names = [(own.name, own.per_pair) for own in POTENTIALS[frame.potential]]
        for name, per_pair in names:
            values = frame.parameters[name]
            if per_pair:
                values = pairs_to_matrix(values, types)
            chunks[f"{LOG_PREFIX}{frame.potential}/{name}"] = values
    for key in sorted(frame.log):
        value = frame.log[key]
        chunks[LOG_PREFIX + key] = str(value) if value.dtype.kind == "U" else value
    return chunks


def _single(
    values: NDArray[np.float64], lengths: NDArray[np.float64] | None = None
) -> NDArray[Any]:
    """Values in float32; as they are if they overflow there, or if one of ``lengths`` vanishes."""
    limits = np.finfo(np.float32)
    smallest = np.inf if lengths is None else np.abs(lengths[lengths != 0]).min(initial=np.inf)
    if np.abs(values).max(initial=0.0) > limits.max or smallest < limits.tiny:
        return values
    return values.astype(np.float32)


def _names_to_bytes(names: tuple[str, ...]) -> NDArray[np.int8]:
    encoded = [name.encode() for name in names]
    width = max(len(name) for name in encoded) + 1
    block = b"".join(name.ljust(width, b"\0") for name in encoded)
    return np.frombuffer(block, dtype=np.int8).reshape(len(names), width).copy()


def _three_columns(array: NDArray[Any]) -> NDArray[Any]:
    if array.shape[1] == 3:
        return array
    return np.column_stack([array, np.zeros(len(array), dtype=array.dtype)])


# A damaged float32 may be a NaN of which the cast to float64 warns: it is refused by name.
@np.errstate(invalid="ignore")
def read_frame(
    chunks: FrameChunks,
    *,
    need_potential: bool,
    potential: str | None,
    parameters: Mapping[str, NDArray[np.float64]],
) -> Frame:
    """Put a frame together from its chunks and validate it.

    ``potential`` and ``parameters``, if given, take the place of what the file says.
    Raises the errors named in `amorph.handover.read_gsd`.
    """
    dimension, box = _read_box(chunks)
    n = _read_count(chunks, "particles/N")
    log = {
        name.removeprefix(LOG_PREFIX): value
        for name in chunks.own_names(LOG_PREFIX)
        if (value := chunks.own(name)) is not None
    }
    foreign = None
    if potential is None:
        try:
            foreign = _foreign_name(chunks, log)
            if foreign is None:
                potential, parameters = _read_potential(chunks, log, need_potential)
            else:
                potential, parameters = foreign, _read_foreign(chunks, foreign, log)
        except FrameError:
            if need_potential:
                raise
            parameters, foreign = {}, None  # whoever asks for none has another
    said = log.get(FOREIGN_KEY)
    theirs = "" if said is None or said.dtype.kind != "U" else f"{said}/"
    images = _read_particles(chunks, n, "image", "iu", 3)
    frame = Frame(
        positions=_exact_positions(chunks, log, _read_positions(chunks, n, dimension)),
        typeid=_read_typeid(chunks, n),
        types=_read_types(chunks),
        box=box,
        potential=potential,
        parameters=dict(parameters),
        images=None if images is None else images[:, :dimension],
        bonds=_read_bonds(chunks),
        log={
            key: _read_log_value(chunks, key, value)
            for key, value in log.items()
            if not is_reserved(key) and not (theirs and key.startswith(theirs))
        },
        foreign=potential is not None and potential not in POTENTIALS,
        source=chunks.source,
        index=chunks.index,
    )
    try:
        frame.validate()
    except InputError as error:
        raise CorruptFrameError(str(error)) from error
    return frame


def _read_log_value(chunks: FrameChunks, key: str, value: NDArray[Any]) -> NDArray[Any]:
    try:
        return log_value(key, value)
    except InputError as error:
        raise CorruptFrameError(f"{chunks.where}: {error}") from error


def _read_box(chunks: FrameChunks) -> tuple[int, NDArray[np.float64] | None]:
    six = chunks.inherited("configuration/box")
    if six is None:
        # The schema's default: a writer leaves out a box that equals it.
        six = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    if six.shape != (6,) or six.dtype.kind != "f" or not np.isfinite(six).all():
        raise CorruptFrameError(
            f"{chunks.where}: configuration/box is {six.tolist()}: it must be six finite numbers, "
            "Lx, Ly, Lz, xy, xz, yz."
        )
    six = six.astype(np.float64)
    stored = chunks.inherited("configuration/dimensions")
    if stored is None:
        # HOOMD's rule: a box of no thickness is two-dimensional; the schema's default is 3.
        dimension = 2 if six[2] == 0 and six.any() else 3
    else:
        dimension = int(stored[0]) if stored.shape == (1,) else 0
    if dimension not in (2, 3):
        raise CorruptFrameError(
            f"{chunks.where}: configuration/dimensions is {np.asarray(stored).tolist()}: "
            "it must be 2 or 3."
        )
    exact = chunks.own(LOG_PREFIX + BOX_KEY)
    vectors = chunks.own(LOG_PREFIX + BOX_VECTORS_KEY)
    used = six if exact is None else _checked_floats(chunks, LOG_PREFIX + BOX_KEY, exact, (6,))
    try:
        box = box_from_hoomd(used, dimension)
        coarse = box_from_hoomd(six, dimension)
    except InputError as error:
        raise CorruptFrameError(f"{chunks.where}: {error}") from error
    _check_agreement(chunks, LOG_PREFIX + BOX_KEY, box, coarse)
    if vectors is not None:
        shape = (dimension, dimension)
        full = _checked_floats(chunks, LOG_PREFIX + BOX_VECTORS_KEY, vectors, shape)
        exact_box = full if full.any() else None
        _check_agreement(chunks, LOG_PREFIX + BOX_VECTORS_KEY, exact_box, box)
        box = exact_box
    return dimension, box


def _check_agreement(
    chunks: FrameChunks,
    key: str,
    box: NDArray[np.float64] | None,
    coarse: NDArray[np.float64] | None,
) -> None:
    agree = box is None and coarse is None
    if box is not None and coarse is not None:
        difference = float(np.abs(box / 2 - coarse / 2).max())
        scale = float(np.abs(coarse).max())
        # The last term: products of tilt and length lose digits where they underflow.
        agree = difference <= _BOX_AGREEMENT * scale / 2 + float(np.finfo(np.float64).tiny)
    if not agree:
        raise CorruptFrameError(
            f"{chunks.where}: {key} says the box is {_listed(box)}, but the frame's other entries "
            f"say {_listed(coarse)} (columns the box vectors). The box was changed in one place "
            "only: correct or remove the other."
        )


def _listed(box: NDArray[np.float64] | None) -> str:
    return "open" if box is None else str(box.tolist())


def _checked_floats(
    chunks: FrameChunks, name: str, values: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    if values.shape != shape or values.dtype.kind != "f":
        raise CorruptFrameError(
            f"{chunks.where}: '{name}' has shape {values.shape} and type {values.dtype}: "
            f"it must be floating-point, of shape {shape}."
        )
    return values.astype(np.float64)


def _read_count(chunks: FrameChunks, name: str) -> int:
    count = chunks.inherited(name)
    if count is None:
        return 0
    if count.shape != (1,) or count.dtype.kind not in "iu":
        raise CorruptFrameError(
            f"{chunks.where}: '{name}' is {count.tolist()}: it must be one integer."
        )
    return int(count[0])


def _read_particles(
    chunks: FrameChunks, n: int, name: str, kinds: str, columns: int
) -> NDArray[Any] | None:
    """A quantity per particle; as the schema has it, frame 0's where N is frame 0's, else None."""
    values = chunks.own(f"particles/{name}")
    if values is None:
        first = FrameChunks(chunks.file, chunks.source, 0)
        if _read_count(first, "particles/N") != n:
            return None
        values = first.own(f"particles/{name}")
    if values is None:
        return None
    shape = (n,) if columns == 1 else (n, columns)
    if values.shape != shape or values.dtype.kind not in kinds:
        raise CorruptFrameError(
            f"{chunks.where}: 'particles/{name}' has shape {values.shape} and type "
            f"{values.dtype}, which does not fit the frame's {n} particles: {shape} was expected. "
            "The file was written incompletely: make the frame anew."
        )
    return values


def _read_positions(chunks: FrameChunks, n: int, dimension: int) -> NDArray[np.float64]:
    stored = _read_particles(chunks, n, "position", "f", 3)
    if stored is None:
        if n > 1:
            raise CorruptFrameError(
                f"{chunks.where}: there are {n} particles but no 'particles/position'. Write the "
                "positions in every frame."
            )
        # The schema's default, which a writer leaves out: one particle at the origin is possible.
        stored = np.zeros((n, 3))
    positions: NDArray[np.float64] = stored.astype(np.float64)
    if dimension == 3:
        return positions
    # HOOMD-blue left round-off in z (its issue 1907).
    with np.errstate(over="ignore"):  # what is not finite is refused later
        extent = float(np.ptp(positions[:, :2], axis=0).max()) if n else 0.0
        off = (positions[:, 2] != 0) & ~(np.abs(positions[:, 2]) <= FLAT * extent)
    if off.any():
        i = int(np.argmax(off))
        raise CorruptFrameError(
            f"{chunks.where}: the frame is two-dimensional, but particle {i} has "
            f"z = {float(positions[i, 2])!r}, more than round-off. Set z to 0 if the system is "
            "two-dimensional; if it is not, the file says so wrongly in configuration/dimensions."
        )
    return positions[:, :2]


def _exact_positions(
    chunks: FrameChunks, log: Mapping[str, NDArray[Any]], rounded: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The positions in float64, if the frame has its own; ``rounded`` (N, d) are the schema's."""
    if POSITIONS_KEY not in log:
        return rounded
    name = LOG_PREFIX + POSITIONS_KEY
    exact = _checked_floats(chunks, name, log[POSITIONS_KEY], rounded.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        same = (exact == rounded) | (exact.astype(np.float32) == rounded)
    if not same.all():
        i = int(np.argmin(same.all(axis=1)))
        raise CorruptFrameError(
            f"{chunks.where}: '{name}' says particle {i} is at {exact[i].tolist()}, but "
            f"'particles/position' at {rounded[i].tolist()}. The positions were changed in one "
            "place only: correct or remove the other."
        )
    return exact


def _read_typeid(chunks: FrameChunks, n: int) -> NDArray[np.int32]:
    typeid = _read_particles(chunks, n, "typeid", "iu", 1)
    if typeid is None:
        return np.zeros(n, dtype=np.int32)
    if n and int(typeid.max()) > np.iinfo(np.int32).max:
        i = int(np.argmax(typeid))
        raise UnknownTypeError(
            f"{chunks.where}: particle {i} has typeid {int(typeid[i])}: there is no such type."
        )
    return typeid.astype(np.int32)


def _read_types(chunks: FrameChunks) -> tuple[str, ...]:
    stored = chunks.inherited("particles/types")
    if stored is None:
        return ("A",)
    try:
        if stored.ndim != 2 or stored.dtype.itemsize != 1:
            raise ValueError(f"shape {stored.shape}, type {stored.dtype}")
        return tuple(row.tobytes().split(b"\0", 1)[0].decode() for row in stored)
    except ValueError as error:
        raise CorruptFrameError(
            f"{chunks.where}: 'particles/types' cannot be read ({error}): it must be a table of "
            "UTF-8 names."
        ) from error


def _read_bonds(chunks: FrameChunks) -> NDArray[np.int32] | None:
    count = _read_count(chunks, "bonds/N")
    if count == 0:
        return None
    group = chunks.own("bonds/group")
    if group is None:
        first = FrameChunks(chunks.file, chunks.source, 0)
        if _read_count(first, "bonds/N") == count:
            group = first.own("bonds/group")
    if group is None or group.shape != (count, 2) or group.dtype.kind not in "iu":
        found = "is missing" if group is None else f"has shape {group.shape}, type {group.dtype}"
        raise CorruptFrameError(
            f"{chunks.where}: there are {count} bonds, but 'bonds/group' {found}: "
            f"({count}, 2) integers were expected. Make the frame anew."
        )
    if int(group.max()) > np.iinfo(np.int32).max:
        raise CorruptFrameError(
            f"{chunks.where}: 'bonds/group' names particle {int(group.max())}: there is none such."
        )
    return group.astype(np.int32)


def _present(log: Mapping[str, NDArray[Any]]) -> list[tuple[str, str]]:
    """Amorph's own potentials in a frame: where they stand, and which they are."""
    present = [
        (name, name)
        for name, known in POTENTIALS.items()
        if any(parameter_key(name, p.name) in log for p in known)
    ]
    return [*present, *force_potentials(log).items()]


def _more_than_one(chunks: FrameChunks, prefixes: list[str]) -> CorruptFrameError:
    return CorruptFrameError(
        f"{chunks.where}: there is more than one potential: "
        f"{', '.join(LOG_PREFIX + prefix for prefix in prefixes)}. No potential here is "
        "their sum. To measure with one on purpose, give it when reading: on the command line, "
        "--potential FILE.toml."
    )


def _foreign_name(chunks: FrameChunks, log: Mapping[str, NDArray[Any]]) -> str | None:
    said = log.get(FOREIGN_KEY)
    if said is None or (said.dtype.kind == "U" and said.ndim == 0 and str(said)):
        return None if said is None else str(said)
    raise CorruptFrameError(
        f"{chunks.where}: '{LOG_PREFIX}{FOREIGN_KEY}' is {said.tolist()!r}: it must be the name of "
        "a potential."
    )


def _read_foreign(
    chunks: FrameChunks, potential: str, log: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.float64]]:
    """What stands under the name of a potential that is not Amorph's own."""
    others = [prefix for prefix, _ in _present(log)]
    if others:
        raise _more_than_one(chunks, [potential, *others])
    given = {
        key.removeprefix(f"{potential}/"): values
        for key, values in log.items()
        if key.startswith(f"{potential}/")
    }
    types = given["diameters"].size if "diameters" in given else 0
    out = {}
    for name, values in given.items():
        where = f"{chunks.where}: '{LOG_PREFIX}{potential}/{name}'"
        if values.dtype.kind not in "iuf":
            raise CorruptFrameError(
                f"{where} holds {values.dtype} values: it must hold real numbers."
            )
        if values.ndim == 2 and values.shape == (types, types):
            try:
                out[name] = matrix_to_pairs(values.astype(np.float64))
            except InputError as error:
                raise CorruptFrameError(f"{where}: {error}") from error
        elif values.ndim == 1 or types == 0:  # without diameters the frame is refused anyway
            out[name] = values.astype(np.float64)
        else:
            raise CorruptFrameError(
                f"{where} has shape {values.shape}: it must be ({types},), ({types}, {types}) or "
                "(1,)."
            )
    return out


def _read_potential(
    chunks: FrameChunks, log: Mapping[str, NDArray[Any]], needed: bool
) -> tuple[str | None, dict[str, NDArray[np.float64]]]:
    present = _present(log)
    if len(present) > 1:
        raise _more_than_one(chunks, [prefix for prefix, _ in present])
    if not present:
        if not needed or "springs/stiffness" in log:  # a network needs no pair potential
            return None, {}
        unknown = [key.removesuffix("/diameters") for key in log if key.endswith("/diameters")]
        if unknown:
            raise UnknownPotentialError(
                f"{chunks.where}: unknown potential '{LOG_PREFIX}{unknown[0]}'. "
                f"Known: {', '.join(POTENTIALS)}. Give the potential to use when reading: on the "
                "command line, --potential FILE.toml."
            )
        raise PotentialMissingError(
            f"{chunks.where}: the frame has no potential (no '{LOG_PREFIX}<potential>/...' of its "
            f"own). Give one when reading: a name ({', '.join(POTENTIALS)}) and its parameters; on "
            "the command line, --potential FILE.toml, a TOML file with a [potential] table. (A "
            "force of hoomd.amorph is logged while it is in a simulation that has run, run(0) "
            "included.)"
        )
    prefix, potential = present[0]
    if potential not in POTENTIALS:
        raise UnknownPotentialError(
            f"{chunks.where}: '{LOG_PREFIX}{prefix}' is of an unknown potential, {potential!r}. "
            f"Known: {', '.join(POTENTIALS)}. Give the potential to use when reading: on the "
            "command line, --potential FILE.toml."
        )
    parameters: dict[str, NDArray[np.float64]] = {}
    types = 0
    for parameter in POTENTIALS[potential]:
        key = parameter_key(prefix, parameter.name)
        if key not in log:
            raise PotentialMissingError(
                f"{chunks.where}: the potential {potential} lacks '{LOG_PREFIX}{key}' in this "
                "frame (what frame 0 says of it is not taken over). Write every parameter in "
                "every frame, or give the potential when reading: on the command line, --potential "
                "FILE.toml."
            )
        values = log[key]
        if values.dtype.kind not in "iuf":
            raise CorruptFrameError(
                f"{chunks.where}: '{LOG_PREFIX}{key}' holds {values.dtype} values: it must hold "
                "real numbers."
            )
        values = values.astype(np.float64)
        if not parameter.per_pair:
            types = types or values.size
        elif values.size == types * types:
            # gsd gives a (1, 1) matrix back as (1,).
            try:
                values = matrix_to_pairs(values.reshape(types, types))
            except InputError as error:
                raise CorruptFrameError(f"{chunks.where}: '{LOG_PREFIX}{key}': {error}") from error
        else:
            raise CorruptFrameError(
                f"{chunks.where}: '{LOG_PREFIX}{key}' has shape {values.shape}: it must be "
                f"({types}, {types}), a symmetric matrix over the types of the potential."
            )
        parameters[parameter.name] = values
    if prefix != potential:
        check_force(chunks.where, prefix, potential, parameters, log, _read_types(chunks))
    return potential, parameters
