"""Files of trajectories: of which format they are; those of text, read frame by frame."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from amorph.handover import EmptyFileError, InputError

from ..errors import TrajectoryError
from .dump_frames import find_dump_frames, parse_dump
from .text_frames import RawFrame, TextFrame, check_regular, first_bytes
from .xyz_frames import find_xyz_frames, parse_xyz

__all__ = ["ENDINGS", "TextFile", "find_frames", "format_of"]

Format = Literal["gsd", "dump", "xyz"]
_BY_ENDING: dict[str, Format] = {
    ".gsd": "gsd",
    ".dump": "dump",
    ".lammpstrj": "dump",
    ".xyz": "xyz",
    ".extxyz": "xyz",
}
ENDINGS = ", ".join(_BY_ENDING)
_GSD_MAGIC = bytes.fromhex("DF65DF65DF65DF65")
_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
    b"PK\x03\x04": ("zip", "unzip"),
}
_FINDERS: dict[str, Callable[[BinaryIO], Iterator[int]]] = {
    "dump": find_dump_frames,
    "xyz": find_xyz_frames,
}
_PARSERS: dict[str, Callable[[bytes, str], RawFrame]] = {"dump": parse_dump, "xyz": parse_xyz}


def format_of(path: Path) -> Format:
    """The format of a file, by the ending of its name, else by how it begins.

    A name such as ``dump.1000`` has no ending that tells: GSD files and LAMMPS dumps are known by
    their first bytes.

    Raises `FrameError`, by name: there is no such file, it is no regular one, empty, compressed,
    or of a format that is not read.
    """
    check_regular(path)
    head = first_bytes(path, 64)
    for magic, (name, tool) in _COMPRESSED.items():
        if head.startswith(magic):
            raise TrajectoryError(
                f"{path}: is compressed ({name}): unpack it first ({tool}). Files that are read "
                f"end in {ENDINGS}."
            )
    ending = path.suffix.lower()
    if ending in _BY_ENDING:
        return _BY_ENDING[ending]
    if head.startswith(_GSD_MAGIC):
        return "gsd"
    if head.removeprefix(b"\xef\xbb\xbf").startswith(b"ITEM:"):
        return "dump"
    raise TrajectoryError(
        f"{path}: neither its ending nor its first bytes tell a format that is read: GSD, LAMMPS "
        f"dumps in text form and XYZ, by the endings {ENDINGS}. Rename it if it is one of these."
    )


def find_frames(path: Path, form: Format) -> NDArray[np.int64]:
    """The offset of each frame of a text file, and the last one's end, in bytes: (n_frames + 1,).

    Raises `FrameError`, by name: the file cannot be read, is empty, or not of its format.
    """
    status = check_regular(path)
    try:
        with path.open("rb") as file:
            begins = np.fromiter(_FINDERS[form](file), dtype=np.int64)
    except OSError as error:
        raise TrajectoryError(
            f"{path}: cannot be read: {error.strerror or error}. Check its permissions."
        ) from error
    if len(begins):
        return np.append(begins, status.st_size)
    if not first_bytes(path, 1 << 16).strip():
        raise EmptyFileError(f"{path}: the file holds no frames. Make it anew, or copy it again.")
    if form == "dump":
        raise TrajectoryError(
            f"{path}: is no LAMMPS dump in text form: there is no 'ITEM: TIMESTEP' in it. Write it "
            "by `dump ... custom FILE id type x y z`."
        )
    raise TrajectoryError(
        f"{path}: is no XYZ file: no frame begins with its number of particles on a line of its "
        "own."
    )


class TextFile:
    """A text file held open; `begins` as `find_frames` returns it.

    Raises `TrajectoryError` where it cannot be opened.
    """

    def __init__(self, path: Path, form: Format, begins: NDArray[np.int64]) -> None:
        self.path = path
        self._begins = begins
        self._parse = _PARSERS[form]
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise TrajectoryError(
                f"{path}: cannot be read: {error.strerror or error}. Check its permissions."
            ) from error

    def read(self, index: int) -> TextFrame:
        """Frame ``index``, counted from 0.

        Raises `InputError` for one that is not there, `CorruptFrameError` for one that cannot be
        read or has no place in Amorph: cut short, with positions that are not finite, a cell
        without a volume or left-handed, periodic in some directions only.
        """
        n_frames = len(self._begins) - 1
        if not 0 <= index < n_frames:
            raise InputError(f"{self.path}: there is no frame {index}: it has {n_frames}.")
        where = f"{self.path}, frame {index}"
        begin, end = self._begins[index : index + 2]
        try:
            self._file.seek(int(begin))
            data = self._file.read(int(end - begin))
        except OSError as error:
            raise TrajectoryError(f"{where}: cannot be read: {error.strerror or error}.") from error
        return TextFrame.of(self._parse(data, where), where)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
