"""Trajectories to analyse: GSD files, LAMMPS dumps, extended XYZ.

Any frame can be read by itself, at the same cost, whatever stands before it.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from amorph import bridge
from amorph.bridge.matter.arguments import check
from amorph.handover import (
    POTENTIALS,
    CorruptFrameError,
    EmptyFileError,
    Frame,
    GSDReader,
    InputError,
    PotentialMissingError,
    UnknownTypeError,
    frames_text,
    reduce_tilt,
    type_names,
)
from amorph.handover.arguments import check_kind, file_path

from .text_files import Format, TextFile, find_frames, format_of
from .type_labels import deduced_names, typeid_of, unknown_name

__all__ = [
    "Reader",
    "Snapshot",
    "Source",
    "find_source",
    "open_source",
    "read_trajectory",
]

# Diameters closer to the potential's than this part are the same, in single precision.
DIAMETER_AGREEMENT = 1e-6


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A frame of a trajectory, as its file has it.

    Attributes
    ----------
    theta, packing:
        The potential and the packing.
    rotated:
        Whether the file's cell was not upper triangular: positions and tensors then refer to axes
        with the first cell vector along x and the second in the xy plane.
    unused:
        Content of the frame that changes the physics and plays no part in theta, in words: bonds
        without springs, diameters other than the potential's, charges, ...
    converged:
        Whether the file says that the packing was prepared to its tolerance; None: it says nothing.
    """

    theta: bridge.Theta
    packing: bridge.Packing
    rotated: bool = False
    unused: tuple[str, ...] = ()
    converged: bool | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """A trajectory file, with all it takes to read any frame of it, in any process.

    Attributes
    ----------
    path:
        The file.
    form:
        Its format.
    n_frames:
        How many frames it has.
    begins:
        Where each frame of a text file begins, and where the last ends, in bytes; None for GSD.
    names:
        What the file calls its types, in the order of the parameters, where the file tells that
        order by names; else None.
    """

    path: Path
    form: Format
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

    Its format is told by the ending of its name (`amorph.campaigns.inputs.text_files.ENDINGS`),
    else by how it begins.

    Raises `FrameError`, by name: there is no such file, it is no regular one, empty, compressed, or
    not of its format.
    """
    form = format_of(path)
    if form != "gsd":
        begins = find_frames(path, form)
        return Source(path, form, len(begins) - 1, begins)
    with GSDReader(path, need_potential=False) as file:
        n_frames = file.n_frames
    if n_frames == 0:
        raise EmptyFileError(
            f"{path}: the file holds no frames. The run that wrote it ended before its first "
            "frame was flushed: make it anew."
        )
    return Source(path, form, n_frames)


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
            arrays = theta.arrays() if theta.near is None else theta.near.frame_arrays()
            self._file = GSDReader(
                source.path,
                potential=theta.potential,
                parameters=arrays,
                foreign=theta.near is not None and theta.near.potential not in POTENTIALS,
            )
        else:
            self._file = GSDReader(source.path, need_potential=False)

    def read(self, index: int) -> Snapshot:
        frame = self._file.read(index)
        packing = bridge.Packing.from_frame(frame)
        if self._theta is None:
            theta = bridge.theta_of(frame)
        else:
            if self._types is not None:
                packing = replace(packing, typeid=_by_types(frame, self._types))
            elif self._theta.near is not None:
                _check_letters(frame, self._theta.near.n_types)
            theta = bridge.theta_of(frame, self._theta.near)
        unused = self._file.unused(index)
        if packing.bonds is not None and theta.springs is None:
            unused = (f"{len(packing.bonds)} bonds", *unused)
        diameters = self._file.diameters(index)
        if diameters is not None:
            unused += _other_diameters(diameters, theta, packing)
        converged = frame.log.get("converged")
        return Snapshot(
            theta,
            _untilted(packing),
            unused=unused,
            converged=None if converged is None else bool(np.all(converged)),
        )

    def close(self) -> None:
        self._file.close()


def _by_types(frame: Frame, types: Sequence[str]) -> NDArray[np.int32]:
    """Typeids (N,) in the order of `types`, by the names that a GSD frame has for its own."""
    number = {name: k for k, name in enumerate(types)}
    of = np.array([number.get(name, -1) for name in frame.types], dtype=np.int32)
    typeid = of[frame.typeid]
    if (typeid < 0).any():
        strange = frame.types[int(frame.typeid[int(np.argmin(typeid))])]
        raise unknown_name(strange, types, frame.where)
    return typeid


def _check_letters(frame: Frame, n_types: int) -> None:
    """Refuse types called A, B, ... that stand in another order: is it the name that counts?"""
    letters = type_names(26)
    if len(frame.types) == n_types == 1:
        return
    if set(frame.types) <= set(letters) and frame.types != letters[: len(frame.types)]:
        raise UnknownTypeError(
            f"{frame.where}: its types are {', '.join(frame.types)}, in this order: nothing tells "
            "whether parameters go by the order or by the letters. Say which is which by types = "
            "[...] in the [potential] table, a name for each diameter."
        )


def _untilted(packing: bridge.Packing) -> bridge.Packing:
    """The packing with its lattice described by the vectors that are tilted least."""
    if packing.box is None:
        return packing
    box, steps = reduce_tilt(packing.box)
    if np.array_equal(box, packing.box):
        return packing
    images = packing.images
    if images is not None:
        # The same displacement by the new vectors: B n = B' (M^-1 n).
        images = np.rint(np.linalg.solve(steps.astype(np.float64), images.T)).T.astype(np.int32)
    return replace(packing, box=box, images=images)


def _other_diameters(
    diameters: NDArray[np.float64], theta: bridge.Theta, packing: bridge.Packing
) -> tuple[str, ...]:
    """Tell in words where a frame's diameters (N,) are not the potential's; else nothing."""
    if theta.near is None or diameters.shape != packing.typeid.shape:
        return ()
    ours = np.asarray(theta.near.diameters)
    if int(np.max(packing.typeid)) >= len(ours):
        return ()  # refused where the packing is used
    ours = ours[packing.typeid]
    other = np.abs(diameters - ours) > DIAMETER_AGREEMENT * ours
    if not other.any():
        return ()
    k = int(np.argmax(other))
    return (
        f"radii or diameters other than the potential's ({int(other.sum())} particles, the first "
        f"of diameter {diameters[k]:g}, not {ours[k]:g})",
    )


class _Text:
    """Frames of a LAMMPS dump or of extended XYZ, with a potential."""

    def __init__(self, source: Source, theta: bridge.Theta, types: Sequence[str] | None) -> None:
        assert source.begins is not None
        self._theta = theta
        self._n_types = _types(theta)
        self._names = source.names if types is None else tuple(types)
        self._file = TextFile(source.path, source.form, source.begins)

    def read(self, index: int) -> Snapshot:
        frame = self._file.read(index)
        where = f"{self._file.path}, frame {index}"
        typeid = typeid_of(frame, self._n_types, self._names, where)
        try:
            packing = bridge.Packing.of(frame.positions, typeid, frame.box)
        except InputError as error:
            raise CorruptFrameError(f"{where}: {error}") from error
        unused = frame.unused
        if frame.radii is not None:
            unused += _other_diameters(2.0 * frame.radii, self._theta, packing)
        return Snapshot(self._theta, packing, frame.rotated, unused)

    def close(self) -> None:
        self._file.close()


def _types(theta: bridge.Theta) -> int:
    """The number of types; raises `InputError` for springs alone: these formats have none."""
    if theta.near is None:
        raise InputError("LAMMPS dumps and XYZ files have no springs: give a pair potential.")
    return theta.near.n_types


def with_names(source: Source, index: int, theta: bridge.Theta) -> Source:
    """A text file's source that knows what its types are called, as a frame tells it.

    Warns where that is what the file suggests and does not say (`deduced_names`); raises
    `UnknownTypeError` where nothing tells, and as `TextFile.read` does.
    """
    if source.begins is None:
        return source
    file = TextFile(source.path, source.form, source.begins)
    try:
        frame = file.read(index)
    finally:
        file.close()
    names, said = deduced_names(frame, _types(theta), f"{source.path}, frame {index}")
    if said is not None:
        warnings.warn(said, stacklevel=2)
    return replace(source, names=names)


def warn_of(snapshot: Snapshot, where: str, *, given: bool) -> None:
    """Tell the user what a file holds that its results do not say.

    A cell that was rotated, content that plays no part; where the potential was `given` and is not
    the file's own, types of it that no particle is of.
    """
    if snapshot.rotated:
        warnings.warn(
            f"{where}: the cell is not upper triangular: the system is rotated so that its first "
            "cell vector lies along x and its second in the xy plane; tensors refer to these "
            "axes.",
            stacklevel=3,
        )
    if snapshot.unused:
        warnings.warn(
            f"{where}: not used, and without part in what is measured: "
            f"{'; '.join(snapshot.unused)}.",
            stacklevel=3,
        )
    near = snapshot.theta.near
    if given and near is not None:
        absent = sorted(set(range(near.n_types)) - set(snapshot.packing.typeid.tolist()))
        if absent:
            names = ", ".join(
                f"{k + 1} (diameter {float(near.diameters[k]):g})" for k in absent[:5]
            )
            warnings.warn(
                f"{where}: no particle is of the potential's type {names}: is it the potential of "
                "this file?",
                stacklevel=3,
            )


def read_trajectory(
    path: str | PathLike[str],
    frames: slice | None = None,
    *,
    theta: bridge.Theta | None = None,
    types: Sequence[str] | None = None,
) -> Iterator[tuple[bridge.Theta, bridge.Packing]]:
    """The frames of a trajectory, one at a time, as (theta, packing).

    GSD files (Amorph's, HOOMD-blue's), LAMMPS dumps in text form and (extended) XYZ; which it is,
    the ending of the name says, ``.gsd``, ``.dump``, ``.lammpstrj``, ``.xyz``, ``.extxyz``, else
    the first bytes. A text frame is taken as

    - two-dimensional where every particle has the same z but for round-off, or there is no z;
    - periodic, or a cluster in open space where it is periodic in no direction; in two dimensions
      the z direction does not count unless it is the only one;
    - rotated, with a warning, where its cell is not upper triangular (`amorph.handover.boxes`).

    A box that is tilted by more than half of itself is described by the least tilted vectors of the
    same lattice. Warns of what the first frame holds that plays no part in its potential.

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
        files are taken by typeid, numbered types from 1 on, and names only where the file tells
        their order (`amorph.campaigns.inputs.type_labels`).

    Raises
    ------
    FrameError
        By name: the file or a frame cannot be used, has no potential, types that are not known,
        or is periodic in some directions only.
    InputError
        The slice selects no frame.
    """
    source = find_source(file_path("path", path))
    if theta is not None:
        check(theta=theta)
    indices = selected(source, frames)
    if theta is not None and types is None:
        source = with_names(source, indices[0], theta)
    reader = open_source(source, theta, types)
    return _snapshots(reader, indices, str(path), given=theta is not None)


def _snapshots(
    reader: Reader, indices: range, path: str, *, given: bool
) -> Iterator[tuple[bridge.Theta, bridge.Packing]]:
    try:
        for index in indices:
            found = reader.read(index)
            if index == indices[0]:
                warn_of(found, f"{path}, frame {index}", given=given)
            yield found.theta, found.packing
    finally:
        reader.close()


def selected(source: Source, frames: slice | None) -> range:
    """The frames of a file that a slice selects; raises `InputError` if it selects none."""
    check_kind("frames", frames, (slice, NoneType), "a slice, as slice(0, 10), or None")
    try:
        indices = range(*(frames or slice(None)).indices(source.n_frames))
    except (TypeError, ValueError) as error:
        raise InputError(f"{frames_text(frames)}: {error}.") from error
    if not indices:
        raise InputError(
            f"{source.path}: {frames_text(frames)} selects none of its {source.n_frames} frames."
        )
    return indices
