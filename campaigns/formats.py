"""Trajectories to analyse: GSD files, LAMMPS dumps, extended XYZ.

Any frame can be read by itself, at the same cost, whatever stands before it.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from amorph import bridge
from amorph.handover import (
    CorruptFrameError,
    EmptyFileError,
    GSDReader,
    InputError,
    PotentialMissingError,
    UnknownTypeError,
)

from .text_frames import TextFile, find_frames, is_text

__all__ = [
    "Reader",
    "Snapshot",
    "Source",
    "find_source",
    "open_source",
    "read_trajectory",
]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A frame of a trajectory: the packing, its potential, and whether it was rotated to fit.

    ``rotated`` is True where the file's cell was not upper triangular: positions and tensors then
    refer to axes with the first cell vector along x and the second in the xy plane.
    """

    packing: bridge.Packing
    theta: bridge.Theta
    rotated: bool = False


@dataclass(frozen=True, eq=False)
class Source:
    """A trajectory file: what is needed to read any frame of it, in any process.

    Attributes
    ----------
    path:
        The file.
    n_frames:
        How many frames it has.
    begins:
        Where each frame of a text file begins, and where the last ends, in bytes; None for GSD.
    names:
        Of a text file without `types`: the names of its types in the order of their typeid, as
        the first selected frame has them; None where types are numbers.
    """

    path: Path
    n_frames: int
    begins: NDArray[np.int64] | None = None
    names: tuple[str, ...] | None = None


class Reader(Protocol):
    """A file held open, of which any frame can be read."""

    def read(self, index: int) -> Snapshot:
        """Frame ``index``, counted from 0."""

    def close(self) -> None:
        """Close the file."""


def find_source(path: Path) -> Source:
    """Look at a file: check that it can be read, and find its frames.

    ``.dump`` and ``.lammpstrj`` are LAMMPS dumps (text), ``.xyz`` and ``.extxyz`` extended XYZ;
    everything else is GSD.

    Raises
    ------
    ReaderMissingError
        The file needs ASE, which is not installed.
    FrameError
        By name: there is no such file, it is a directory, empty, or not of its format.
    """
    if not is_text(path):
        with GSDReader(path, need_potential=False) as file:
            n_frames = file.n_frames
        if n_frames == 0:
            raise EmptyFileError(
                f"{path}: the file holds no frames. The run that wrote it ended before its first "
                "frame was flushed: make it anew."
            )
        return Source(path, n_frames)
    begins = find_frames(path)
    return Source(path, len(begins) - 1, begins)


def open_source(
    source: Source,
    theta: bridge.Theta | None = None,
    types: Sequence[str] | None = None,
) -> Reader:
    """Open a file; errors as in `read_trajectory`."""
    if source.begins is None:
        return _GSD(source, theta, types)
    if theta is None:
        raise PotentialMissingError(
            f"{source.path}: the format holds no potential: give one, on the command line with "
            "--potential FILE.toml, a file with a [potential] table."
        )
    return _Text(source, theta, types)


class _GSD:
    """Frames of a GSD file, with the file's potential or another."""

    def __init__(
        self,
        source: Source,
        theta: bridge.Theta | None,
        types: Sequence[str] | None,
    ) -> None:
        self._theta = theta
        self._types = types
        if theta is None:
            self._file = GSDReader(source.path)
        elif types is None:
            self._file = GSDReader(
                source.path, potential=theta.potential, parameters=theta.arrays()
            )
        else:
            self._file = GSDReader(source.path, need_potential=False)

    def read(self, index: int) -> Snapshot:
        frame = self._file.read(index)
        packing = bridge.Packing.from_frame(frame)
        if self._theta is None:
            return Snapshot(packing, bridge.theta_of(frame))
        if self._types is not None:
            names = [frame.types[k] for k in frame.typeid]
            typeid = _by_name(names, self._types, frame.where)
            packing = bridge.Packing.of(
                packing.positions, typeid, packing.box, packing.bonds, packing.images
            )
        return Snapshot(packing, bridge.theta_of(frame, self._theta.near))

    def close(self) -> None:
        self._file.close()


class _Text:
    """Frames of a LAMMPS dump or of extended XYZ, with a potential."""

    def __init__(self, source: Source, theta: bridge.Theta, types: Sequence[str] | None) -> None:
        assert source.begins is not None
        self._theta = theta
        self._names = source.names if types is None else tuple(types)
        self._file = TextFile(source.path, source.begins)

    def read(self, index: int) -> Snapshot:
        frame = self._file.read(index)
        where = f"{self._file.path}, frame {index}"
        if self._names is not None:
            typeid = _by_name(frame.names, self._names, where)
        else:
            typeid = _by_number(frame.names, _types(self._theta), where)
        try:
            packing = bridge.Packing.of(frame.positions, typeid, frame.box)
        except InputError as error:
            raise CorruptFrameError(f"{where}: {error}") from error
        return Snapshot(packing, self._theta, frame.rotated)

    def close(self) -> None:
        self._file.close()


def _by_name(names: Sequence[object], types: Sequence[str], where: str) -> NDArray[np.int32]:
    number = {name: k for k, name in enumerate(types)}
    try:
        return np.array([number[str(name)] for name in names], dtype=np.int32)
    except KeyError as error:
        raise UnknownTypeError(
            f"{where}: a particle is of type {error.args[0]!r}, but the types are "
            f"{', '.join(types)}. Name them all, in the order of the parameters, by types = "
            "[...] in the [potential] table."
        ) from None


def _types(theta: bridge.Theta) -> int:
    """The number of types; raises `InputError` for springs alone: these formats have none."""
    if theta.near is None:
        raise InputError("LAMMPS dumps and XYZ files have no springs: give a pair potential.")
    return theta.near.n_types


def _by_number(names: Sequence[object], n_types: int, where: str) -> NDArray[np.int32]:
    numbers = np.array(names, dtype=np.int64)
    wrong = (numbers < 1) | (numbers > n_types)
    if wrong.any():
        raise UnknownTypeError(
            f"{where}: particle {int(np.argmax(wrong))} is of type "
            f"{int(numbers[np.argmax(wrong)])}, but the potential has parameters for types 1 to "
            f"{n_types}: give a diameter for each, or name the types in their order by types = "
            "[...] in the [potential] table."
        )
    return (numbers - 1).astype(np.int32)


def with_names(
    source: Source, first: int, theta: bridge.Theta, types: Sequence[str] | None
) -> Source:
    """A source that knows what its types are called; other sources as they are.

    Names are sorted, as the first selected frame has them, and must be as many as the potential
    has types: else they do not tell which is which. Raises `UnknownTypeError` then.
    """
    if source.begins is None or types is not None:
        return source
    file = TextFile(source.path, source.begins)
    try:
        found = file.read(first).names
    finally:
        file.close()
    names = sorted({str(name) for name in found if not isinstance(name, int)})
    if names and len(names) != _types(theta):
        raise UnknownTypeError(
            f"{source.path}, frame {first}: its types are {', '.join(names)}, but the potential "
            f"has parameters for {_types(theta)}: say which is which by types = [...], a name for "
            "each diameter, in the [potential] table."
        )
    return Source(source.path, source.n_frames, source.begins, tuple(names) or None)


def warn_if_rotated(snapshot: Snapshot, where: str) -> None:
    """Tell the user that a trajectory's axes are not those of its results."""
    if snapshot.rotated:
        warnings.warn(
            f"{where}: the cell is not upper triangular: the system is rotated so that its first "
            "cell vector lies along x and its second in the xy plane; tensors refer to these "
            "axes.",
            stacklevel=3,
        )


def read_trajectory(
    path: str | PathLike[str],
    frames: slice | None = None,
    *,
    theta: bridge.Theta | None = None,
    types: Sequence[str] | None = None,
) -> Iterator[tuple[bridge.Packing, bridge.Theta]]:
    """The packings of a trajectory with their potentials, one frame at a time.

    GSD files (Amorph's, HOOMD-blue's), LAMMPS dumps in text form (``.dump``, ``.lammpstrj``) and
    (extended) XYZ (``.xyz``, ``.extxyz``), the latter two through ASE. A text frame is taken as

    - two-dimensional where every particle has the same z, and three-dimensional otherwise;
    - periodic, or a cluster in open space where it is periodic in no direction; in two dimensions
      the z direction does not count unless it is the only one;
    - rotated, with a warning, where its cell is not upper triangular (`amorph.handover.boxes`).

    Parameters
    ----------
    path:
        The file.
    frames:
        Which frames; by default all.
    theta:
        The potential: for files that have none, and in place of theirs.
    types:
        What the file calls the types, in the order of the potential's parameters. Without it, GSD
        files are taken by typeid, numbered types from 1 on, and names in sorted order, if they are
        as many as the potential has types.

    Raises
    ------
    ReaderMissingError
        ASE is needed and not installed.
    FrameError
        By name: the file or a frame cannot be used, has no potential, types that are not known,
        or is periodic in some directions only.
    InputError
        The slice selects no frame.
    """
    source = find_source(Path(path))
    indices = selected(source, frames)
    if theta is not None:
        source = with_names(source, indices[0], theta, types)
    reader = open_source(source, theta, types)
    return _snapshots(reader, indices, str(path))


def _snapshots(
    reader: Reader, indices: range, path: str
) -> Iterator[tuple[bridge.Packing, bridge.Theta]]:
    try:
        for index in indices:
            found = reader.read(index)
            if index == indices[0]:
                warn_if_rotated(found, f"{path}, frame {index}")
            yield found.packing, found.theta
    finally:
        reader.close()


def selected(source: Source, frames: slice | None) -> range:
    """The frames of a file that a slice selects; raises `InputError` if it selects none."""
    try:
        indices = range(*(frames or slice(None)).indices(source.n_frames))
    except (TypeError, ValueError) as error:
        raise InputError(f"frames = {frames!r}: {error}.") from error
    if not indices:
        raise InputError(f"{source.path}: {frames!r} selects none of its {source.n_frames} frames.")
    return indices
