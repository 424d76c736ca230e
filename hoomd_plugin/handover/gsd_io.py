"""Writing frames to GSD files and reading them back, whole or not at all."""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

import gsd.fl
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._chunks import FrameChunks
from ._index_guard import IndexGuard
from .arguments import check_kind, count, file_path
from .errors import (
    DirectoryGivenError,
    EmptyFileError,
    FileMissingError,
    InputError,
    NotGSDError,
    OutputError,
    OutputExistsError,
    SchemaError,
)
from .frame import Frame
from .potentials import check_foreign_parameters, check_parameters
from .schema import LOG_PREFIX, SCHEMA_NAME, SCHEMA_VERSION, frame_to_chunks, read_frame
from .unused import diameters_of, unused_content

__all__ = ["GSDReader", "GSDWriter", "count_frames", "frames_text", "read_gsd", "write_gsd"]

PathLike: TypeAlias = str | os.PathLike[str]

_APPLICATION = "amorph"


class GSDWriter:
    """Append frames to a GSD file; what `flush` has returned from survives a kill, and a full disk.

    A context manager, which closes (and so flushes) at the end::

        with GSDWriter("shard-0.gsd") as shard:
            shard.append(frame)
            shard.flush()

    Parameters
    ----------
    path:
        The file. It bears its name from the start: for a result that must appear whole or not at
        all, use `write_gsd`.
    mode:
        ``"new"`` refuses a file that exists; ``"append"`` adds to it, or makes it if there is none.

    Raises
    ------
    OutputExistsError
        The file exists, with ``mode="new"``.
    OutputError
        It cannot be written there.
    InputError
        Another mode was given.
    NotGSDError, EmptyFileError, SchemaError, DirectoryGivenError
        The file to append to is no GSD file, was cut short, has no bytes, or is of another schema.
    """

    def __init__(self, path: PathLike, *, mode: Literal["new", "append"] = "new") -> None:
        if mode not in ("new", "append"):
            raise InputError(f"mode = {mode!r}: it must be 'new' or 'append'.")
        self.path = file_path("path", path)
        self._keys: frozenset[str] | None = None
        self._failed = False
        self._file: gsd.fl.GSDFile | None = None
        exists = os.path.lexists(self.path)
        if exists and mode == "new":
            raise _exists(self.path)
        if exists:
            _open(self.path).close()
        else:
            _check_directory(self.path)
        try:
            self._file = gsd.fl.open(
                str(self.path),
                "r+" if exists else "x",
                application=_APPLICATION,
                schema=SCHEMA_NAME,
                schema_version=list(SCHEMA_VERSION),
            )
            if not exists:
                _sync_directory(self.path.parent)
            self._guard = IndexGuard(self.path)
        except FileExistsError as error:
            raise _exists(self.path) from error
        except (OSError, RuntimeError, ValueError) as error:
            self._abandon()
            if not exists:
                _remove(self.path)
            raise _cannot_write(self.path, error) from error
        if self._file.schema_version < SCHEMA_VERSION:
            version = ".".join(str(v) for v in self._file.schema_version)
            self._abandon()
            raise SchemaError(
                f"{self.path}: cannot append to schema {SCHEMA_NAME} {version}, which holds no "
                "float64. Write to a new file."
            )
        self._n_frames = int(self._file.nframes)
        if self._n_frames:
            first = FrameChunks(self._file, str(self.path), 0)
            self._keys = frozenset(first.own_names(LOG_PREFIX))

    @property
    def n_frames(self) -> int:
        """The number of frames in the file, those not yet flushed included."""
        return self._n_frames

    def append(self, frame: Frame) -> None:
        """Add a frame; it is durable once `flush` or `close` has returned.

        The frame is validated first, and nothing of it is written if it is refused. Every frame of
        a file has the same keys under ``log/amorph/``, since readers of GSD let a frame that lacks
        one inherit frame 0's.

        Raises `InputError` for other keys than the file's first frame has, what `Frame.validate`
        raises, and `OutputError` if the file cannot be written (a full disk).
        """
        file = self._opened()
        check_kind("frame", frame, Frame, "an amorph.handover.Frame")
        frame.validate()
        chunks = frame_to_chunks(frame, self._n_frames)
        keys = frozenset(name for name in chunks if name.startswith(LOG_PREFIX))
        if self._keys is not None and keys != self._keys:
            raise InputError(
                f"{self.path}: a frame must have the same keys as the file's first: "
                f"missing {sorted(self._keys - keys)}, not there before "
                f"{sorted(keys - self._keys)}. Log the same keys, with the same potential, in "
                "every frame, or write to another file."
            )
        try:
            self._guard.written(chunks.keys())
            for name, data in chunks.items():
                file.write_chunk(name, data)
            file.end_frame()
        except BaseException as error:
            # Part of a frame may stand in the buffer: another after it would hold a mixture.
            self._fail()
            if isinstance(error, (OSError, RuntimeError)):
                raise _cannot_write(self.path, error) from error
            raise
        self._keys = keys
        self._n_frames += 1

    def flush(self) -> None:
        """Bring every appended frame to the disk (fsync) before returning; raises `OutputError`."""
        file = self._opened()
        try:
            self._guard.keep()
            file.flush()
            # gsd syncs the data and the index it wrote; this covers whatever else it touches.
            _sync_file(self.path)
            self._guard.flushed()
        except (OSError, RuntimeError) as error:
            self._fail()
            raise _cannot_write(self.path, error) from error

    def close(self) -> None:
        """Flush and close the file; closing again does nothing. Raises `OutputError`."""
        if self._file is None:
            return
        try:
            self.flush()
        finally:
            self._abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _opened(self) -> "gsd.fl.GSDFile":
        if self._failed:
            raise OutputError(
                f"{self.path}: writing to it failed before. Open it anew to append; frames up to "
                "the last flush are in it."
            )
        if self._file is None:
            raise OutputError(f"{self.path}: the writer is closed. Open it anew to append.")
        return self._file

    def _fail(self) -> None:
        self._failed = True
        with contextlib.suppress(OSError):
            self._guard.keep()
        self._abandon()  # gsd writes once more as it closes
        with contextlib.suppress(OSError):
            self._guard.put_back()

    def _abandon(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError, RuntimeError):
                file.close()


def write_gsd(path: PathLike, frames: Iterable[Frame], *, overwrite: bool = False) -> int:
    """Write frames to a GSD file that appears whole or not at all; returns how many there were.

    The frames are written beside the target, under ``.<name>.partial-<process id>``, brought to the
    disk and renamed. One frame is held in memory if ``frames`` is a generator. Whether the target
    may be written is checked before the first frame is asked for. On an error, or Ctrl-C, nothing
    is left behind, and a file that was to be overwritten is as it was.

    Raises
    ------
    OutputExistsError
        The path exists and ``overwrite`` is false.
    OutputError
        The path is a directory, its directory is missing or cannot be written, the disk is full.
    InputError
        There are no frames, or they do not all have the same keys (see `GSDWriter.append`).
    FrameError
        A frame is not valid: see `Frame.validate`.
    """
    target = file_path("path", path)
    check_kind("frames", frames, Iterable, "frames, as [frame]")
    if os.path.lexists(target) and not overwrite:
        raise _exists(target)
    if os.path.isdir(target):
        raise OutputError(f"{target}: is a directory; give the name of a file.")
    _check_directory(target)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    # One of that name can only be left from a process that was killed and had our number.
    _remove(partial)
    try:
        with GSDWriter(partial) as writer:
            for frame in frames:
                writer.append(frame)
            count = writer.n_frames
        if count == 0:
            raise InputError(f"{target}: there are no frames to write; the file was not made.")
        if os.path.lexists(target) and not overwrite:
            raise _exists(target)
        try:
            os.replace(partial, target)
            _sync_directory(target.parent)
        except OSError as error:
            raise _cannot_write(target, error) from error
    finally:
        _remove(partial)
    return count


def count_frames(path: PathLike) -> int:
    """The number of frames in a GSD file; 0 is possible.

    Raises `FileMissingError`, `DirectoryGivenError`, `NotGSDError`, `EmptyFileError` (a file of 0
    bytes) and `SchemaError`.
    """
    with _open(file_path("path", path)) as file:
        return int(file.nframes)


def read_gsd(
    path: PathLike,
    frames: slice | None = None,
    *,
    need_potential: bool = True,
    potential: str | None = None,
    parameters: Mapping[str, ArrayLike] | None = None,
    foreign: bool = False,
) -> Iterator[Frame]:
    """Read the frames of a GSD file of ours or of HOOMD's, one at a time.

    Our own files come back to the last bit. From others, float32 values become the same numbers in
    float64. Particle data, bonds and ``configuration/`` that a frame lacks are frame 0's, as the
    schema has it; the potential, the exact box and what was logged must stand in the frame itself.
    A force of ``hoomd.amorph`` is a potential only if the run used it as such: with other cutoffs,
    another mode, excluded neighbours or other forces beside it, the frame is refused.

    Parameters
    ----------
    path:
        The file, which must not change while it is being read.
    frames:
        Which frames, counted as in a list; None for all.
    need_potential:
        Whether a frame without a potential that can be used and without springs is an error; if
        not, its ``potential`` is None.
    potential, parameters:
        Both or neither: used for every frame in place of what the file says, in the form that
        `check_parameters` takes.
    foreign:
        Whether that potential is none of Amorph's own, but a formula of a user's, with parameters
        as `check_foreign_parameters` takes them.

    Raises
    ------
    InputError, UnknownPotentialError
        The slice selects no frame, or the potential given is malformed or unknown.
    FileMissingError, DirectoryGivenError, NotGSDError, EmptyFileError, SchemaError
        The file cannot be used. These and the above are raised by the call itself; those below
        when the frame is reached.
    PotentialMissingError, UnknownPotentialError, UnknownTypeError, CorruptFrameError
        A frame cannot be used; the message names it.
    """
    source = file_path("path", path)
    given = _given(potential, parameters, foreign)
    if frames is not None and not isinstance(frames, slice):
        raise InputError(f"frames = {frames!r}: it must be a slice, as slice(0, 10), or None.")
    with _open(source) as file:
        count = int(file.nframes)
    if count == 0:
        raise EmptyFileError(
            f"{source}: the file holds no frames. The run that wrote it ended before its first "
            "frame was flushed: make it anew."
        )
    try:
        indices = range(*(frames or slice(None)).indices(count))
    except (TypeError, ValueError) as error:
        raise InputError(f"{frames_text(frames)}: {error}.") from error
    if not indices:
        raise InputError(f"{source}: {frames_text(frames)} selects none of its {count} frames.")
    return _frames(source, indices, need_potential, potential, given)


def frames_text(frames: slice | None) -> str:
    """Frames as a user writes them: frames 0:10, or 0:10:2."""
    if frames is None:
        return "frames :"
    parts = [frames.start, frames.stop, *([] if frames.step is None else [frames.step])]
    return "frames " + ":".join("" if part is None else str(part) for part in parts)


def _given(
    potential: str | None, parameters: Mapping[str, ArrayLike] | None, foreign: bool
) -> dict[str, NDArray[np.float64]]:
    if (potential is None) != (parameters is None):
        raise InputError("give both potential and parameters, or neither.")
    if potential is None or parameters is None:
        return {}
    check = check_foreign_parameters if foreign else check_parameters
    return check(potential, parameters)


def _frames(
    source: Path,
    indices: range,
    need_potential: bool,
    potential: str | None,
    parameters: Mapping[str, NDArray[np.float64]],
) -> Iterator[Frame]:
    with _open(source) as file:
        for index in indices:
            yield read_frame(
                FrameChunks(file, str(source), index),
                need_potential=need_potential,
                potential=potential,
                parameters=parameters,
            )


class GSDReader:
    """A GSD file held open, of which any frame is read at the same cost.

    A context manager, which closes at the end. Arguments and errors as in `read_gsd`, but a file
    without frames can be opened; what cannot be used of a frame is raised by `read`.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        need_potential: bool = True,
        potential: str | None = None,
        parameters: Mapping[str, ArrayLike] | None = None,
        foreign: bool = False,
    ) -> None:
        self.path = file_path("path", path)
        self._need_potential = need_potential
        self._potential = potential
        self._parameters = _given(potential, parameters, foreign)
        self._file = _open(self.path)
        self.n_frames = int(self._file.nframes)

    def read(self, index: int) -> Frame:
        """Frame ``index``, counted from 0; raises `InputError` for one that is not there."""
        count("index", index, least=-(2**63))
        if not 0 <= index < self.n_frames:
            raise InputError(f"{self.path}: there is no frame {index}: it has {self.n_frames}.")
        return read_frame(
            FrameChunks(self._file, str(self.path), index),
            need_potential=self._need_potential,
            potential=self._potential,
            parameters=self._parameters,
        )

    def unused(self, index: int) -> tuple[str, ...]:
        """Content of a frame that Amorph has no place for, though it changes the physics, in words.

        Angles, constraints, rigid bodies, charges, masses other than 1; bonds are in the frame.
        """
        return unused_content(FrameChunks(self._file, str(self.path), index))

    def diameters(self, index: int) -> NDArray[np.float64] | None:
        """Each particle's diameter (N,) as a frame says it, or None where it says none but 1.

        HOOMD-blue and Amorph take sizes from the potential: it is for pictures.
        """
        return diameters_of(FrameChunks(self._file, str(self.path), index))

    def close(self) -> None:
        """Close the file; closing again does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _open(path: Path) -> "gsd.fl.GSDFile":
    """Open a file for reading, its schema checked; every way this can fail has its name."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileMissingError(f"{path}: there is no such file. Check the path.") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise _cannot_read(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise DirectoryGivenError(f"{path}: is a directory. Give the name of a GSD file.")
    if not stat.S_ISREG(status.st_mode):
        raise NotGSDError(f"{path}: is not a regular file. Give the name of a GSD file.")
    if status.st_size == 0:
        raise EmptyFileError(
            f"{path}: the file is empty (0 bytes). Make it anew, or copy it again."
        )
    try:
        file = gsd.fl.open(str(path), "r")
    except (OSError, UnicodeEncodeError) as error:
        raise _cannot_read(path, error) from error
    except RuntimeError as error:
        raise NotGSDError(f"{path}: {_reason(error, path)}") from error
    if file.schema != SCHEMA_NAME or not (1, 0) <= file.schema_version < (3, 0):
        schema, version = file.schema, ".".join(str(v) for v in file.schema_version)
        file.close()
        raise SchemaError(
            f"{path}: its GSD schema is '{schema}' {version}, not '{SCHEMA_NAME}' 1 or 2. Write it "
            "with HOOMD-blue, gsd.hoomd or Amorph."
        )
    return file


def _cannot_read(path: Path, error: OSError | ValueError) -> NotGSDError:
    return NotGSDError(
        f"{path}: cannot be read: {_cause(error)}. Check its name, its permissions and the disk."
    )


def _cause(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "its name is no UTF-8 text, which the gsd library needs"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _reason(error: RuntimeError, path: Path) -> str:
    text = str(error)
    anew = "it was damaged or cut short: copy it again from its origin, or make it anew."
    if text.startswith("Corrupt"):
        return f"the file begins as a GSD file, but its index does not fit it: {anew}"
    if text.startswith("Unsupported"):
        return (
            "the file is of a version of GSD that the installed gsd does not read: pip install "
            "--upgrade gsd."
        )
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError:
        head = b""
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")):
        return "not a GSD file but a compressed one: unpack it first."
    if head.startswith(b"ITEM:"):
        return (
            "not a GSD file but a LAMMPS dump: `amorph analyze` reads it; here a GSD file is "
            "needed."
        )
    if head and head.isascii() and head.replace(b"\n", b" ").decode().isprintable():
        return "not a GSD file but text. Give a GSD file, as HOOMD-blue and Amorph write them."
    return f"not a GSD file. If it should be one, {anew}"


def _exists(path: Path) -> OutputExistsError:
    return OutputExistsError(
        f"{path}: exists already, and is kept. Choose another name, remove it, or ask for it to be "
        "overwritten."
    )


def _cannot_write(path: Path, error: Exception) -> OutputError:
    return OutputError(
        f"{path}: cannot be written: {_cause(error)}. Check the directory's permissions and the "
        "space left, or choose another path."
    )


def _check_directory(path: Path) -> None:
    parent = path.parent
    if not os.path.isdir(parent):
        raise OutputError(f"{path}: the directory {parent} does not exist. Make it first.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"{path}: the directory {parent} cannot be written. Check its permissions, or choose "
            "another."
        )


def _remove(partial: Path) -> None:
    try:
        partial.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(partial, error) from error


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    # Only then does the new name itself survive a power cut; Windows has no such call.
    if os.name == "posix":
        _sync_file(path)
