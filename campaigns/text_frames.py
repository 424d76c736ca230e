"""LAMMPS dumps and (extended) XYZ: frames of text, each read by ASE from its own lines.

Where each frame begins is found once, in one pass, so that any of them can be read by itself.
"""

import io
import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from amorph.handover import (
    CorruptFrameError,
    DirectoryGivenError,
    EmptyFileError,
    FileMissingError,
    InputError,
)

from .errors import ReaderMissingError, TrajectoryError

__all__ = ["TextFile", "TextFrame", "find_frames", "is_text"]

LAMMPS = (".dump", ".lammpstrj")
XYZ = (".extxyz", ".xyz")
_TIMESTEP = b"ITEM: TIMESTEP"
# Angles of a cell that differ from upper triangular by less than this part are round-off.
_ROUND_OFF = 1e-12


@dataclass(frozen=True, eq=False)
class TextFrame:
    """A frame as it stands in a text file.

    Attributes
    ----------
    names:
        What it calls the type of each particle: numbers from 1 on, or names.
    positions, box:
        (N, d), and (d, d) with the box vectors as columns, upper triangular, or None: a cluster.
        In two dimensions where every particle has the same z.
    rotated:
        Whether the file's cell was not upper triangular, and the system was rotated.
    """

    names: list[int] | list[str]
    positions: NDArray[np.float64]
    box: NDArray[np.float64] | None
    rotated: bool


def is_text(path: Path) -> bool:
    """Whether a file is a LAMMPS dump or extended XYZ, by the ending of its name."""
    return path.suffix.lower() in (*LAMMPS, *XYZ)


def find_frames(path: Path) -> NDArray[np.int64]:
    """Where each frame of a text file begins, and where the last ends, in bytes: (n_frames + 1,).

    Raises `ReaderMissingError` where ASE is not installed, and a `FrameError` by name: there is no
    such file, it is a directory, empty, or not of its format.
    """
    _ase_reader(path)
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileMissingError(f"{path}: there is no such file. Check the path.") from error
    if stat.S_ISDIR(status.st_mode):
        raise DirectoryGivenError(f"{path}: is a directory. Give the name of a file.")
    find = _lammps_frames if path.suffix.lower() in LAMMPS else _xyz_frames
    try:
        with path.open("rb") as file:
            begins = np.fromiter(find(file, path), dtype=np.int64)
    except OSError as error:
        raise TrajectoryError(
            f"{path}: cannot be read: {error.strerror or error}. Check its permissions."
        ) from error
    if len(begins) == 0:
        raise EmptyFileError(f"{path}: the file holds no frames. Make it anew, or copy it again.")
    return np.append(begins, status.st_size)


def _lammps_frames(file: BinaryIO, path: Path) -> Iterator[int]:
    """Where each frame of a dump begins: at its time step."""
    if not file.peek(1).startswith(b"ITEM:"):  # type: ignore[attr-defined]
        if os.fstat(file.fileno()).st_size:
            raise TrajectoryError(
                f"{path}: is no LAMMPS dump in text form: it does not begin with 'ITEM:'. Write "
                "it by `dump ... custom FILE id type x y z`."
            )
        return
    place, rest = 0, b""
    while block := file.read(1 << 22):
        text = rest + block
        start = 0
        while (found := text.find(_TIMESTEP, start)) >= 0:
            yield place + found
            start = found + len(_TIMESTEP)
        keep = max(start, len(text) - len(_TIMESTEP) + 1)  # the words may lie across two blocks
        place, rest = place + keep, text[keep:]


def _xyz_frames(file: BinaryIO, path: Path) -> Iterator[int]:
    """Where each frame of an XYZ file begins: at its number of particles."""
    while True:
        begin = file.tell()
        line = file.readline()
        if not line:
            return
        if not line.strip():
            continue
        try:
            n = int(line)
        except ValueError:
            raise TrajectoryError(
                f"{path}: is no XYZ file: a frame begins with its number of particles, but at "
                f"byte {begin} there is {line[:40]!r}."
            ) from None
        yield begin
        deque(islice(file, n + 1), maxlen=0)


class TextFile:
    """A text file held open; `begins` as `find_frames` returns it."""

    def __init__(self, path: Path, begins: NDArray[np.int64]) -> None:
        self.path = path
        self._begins = begins
        self._read = _ase_reader(path)
        self._file = path.open("rb")

    def read(self, index: int) -> TextFrame:
        """Frame ``index``, counted from 0.

        Raises `InputError` for one that is not there, `CorruptFrameError` for one that cannot be
        read or has no place in Amorph: positions that are not finite, a cell without a volume or
        left-handed, periodic in some directions only.
        """
        n_frames = len(self._begins) - 1
        if not 0 <= index < n_frames:
            raise InputError(f"{self.path}: there is no frame {index}: it has {n_frames}.")
        where = f"{self.path}, frame {index}"
        atoms = self._atoms(self._text(index), where)
        positions, box, rotated = _in_our_box(
            np.asarray(atoms.positions, dtype=np.float64),
            np.asarray(atoms.cell.array, dtype=np.float64),
            np.asarray(atoms.pbc, dtype=np.bool_),
            where,
        )
        return TextFrame(_type_names(atoms), positions, box, rotated)

    def _text(self, index: int) -> str:
        begin, end = self._begins[index : index + 2]
        self._file.seek(int(begin))
        text = self._file.read(int(end - begin)).decode("utf-8", errors="replace")
        return text.replace("\r\n", "\n")

    def _atoms(self, text: str, where: str) -> Any:
        try:
            atoms = self._read(text)
        except Exception as error:  # ASE's readers raise whatever a malformed line leads to
            raise CorruptFrameError(
                f"{where}: ASE cannot read it ({type(error).__name__}: {error}). The frame was "
                "written incompletely, or not in this format: leave it out, or write it anew."
            ) from error
        expected = _expected_number(text)
        if len(atoms) != expected:
            raise CorruptFrameError(
                f"{where}: it says it has {expected} particles, but {len(atoms)} are there: it "
                "was written incompletely. Leave it out, or make it anew."
            )
        return atoms

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _expected_number(text: str) -> int:
    lines = text.split("\n", 8)
    if lines[0].startswith("ITEM:"):
        k = next(k for k, line in enumerate(lines) if line.startswith("ITEM: NUMBER OF ATOMS"))
        return int(lines[k + 1])
    return int(lines[0])


def _ase_reader(path: Path) -> Callable[[str], Any]:
    """What makes ASE's atoms of the text of one frame; raises `ReaderMissingError`."""
    try:
        import ase.io
    except ImportError as error:
        raise ReaderMissingError(
            f"{path}: LAMMPS dumps and XYZ files are read by ASE, which is not installed: "
            "pip install 'amorph[formats]'."
        ) from error
    if path.suffix.lower() in LAMMPS:
        return lambda text: ase.io.read(io.StringIO(text), format="lammps-dump-text", index=0)
    return lambda text: ase.io.read(io.StringIO(_any_names(text)), format="extxyz", index=0)


# ASE takes species for chemical elements and refuses any other name: read them as a plain column.
_NAMES = "amorph_names"


def _any_names(text: str) -> str:
    head, comment, rest = text.split("\n", 2)
    if "Properties=" in comment:
        comment = re.sub(r"\bspecies:S:1", f"{_NAMES}:S:1", comment)
    else:
        # Plain XYZ: a name and three coordinates; a comment that is not key=value says nothing.
        known = comment if "Lattice=" in comment else ""
        comment = f"Properties={_NAMES}:S:1:pos:R:3 {known}"
    return f"{head}\n{comment}\n{rest}"


def _type_names(atoms: Any) -> list[int] | list[str]:
    """What a file calls the type of each particle: a number from 1 on, or a name."""
    if _NAMES in atoms.arrays:
        return [str(n) for n in atoms.arrays[_NAMES]]
    if "type" in atoms.arrays:
        return [int(t) for t in atoms.arrays["type"]]
    return [str(s) for s in atoms.get_chemical_symbols()]


def _in_our_box(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    periodic: NDArray[np.bool_],
    where: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, bool]:
    """Positions and box as Amorph has them, of a cell with its vectors as rows.

    Two dimensions where every particle has the same z. Returns positions (N, d), box (d, d) or
    None, and whether they were rotated.
    """
    if not np.isfinite(positions).all():
        raise CorruptFrameError(
            f"{where}: positions are not finite. The simulation that wrote it has blown up: leave "
            "the frame out."
        )
    flat = len(positions) > 0 and bool((positions[:, 2] == positions[0, 2]).all())
    d = 2 if flat else 3
    if flat:
        positions = positions[:, :2]
    if not periodic.any():
        return positions, None, False
    if not periodic[:d].all():
        raise _mixed(periodic, where)
    vectors = cell.T[:d, :d]  # as columns
    scale = float(np.abs(cell[:d]).max()) or 1.0
    if flat and float(np.abs(cell[:2, 2]).max()) > _ROUND_OFF * scale:
        raise CorruptFrameError(
            f"{where}: every particle has the same z, but the first two cell vectors leave the xy "
            f"plane: {cell.tolist()}. A two-dimensional system lies in that plane."
        )
    if not float(np.linalg.det(vectors / scale)) > 0:
        raise CorruptFrameError(
            f"{where}: the cell vectors {cell[:d].tolist()} are no right-handed set with a volume: "
            "swap two of them."
        )
    if float(np.abs(np.tril(vectors, -1)).max()) <= _ROUND_OFF * scale:
        return positions, np.triu(vectors), False
    turn, box = np.linalg.qr(vectors)
    signs = np.sign(np.diagonal(box))
    turn, box = turn * signs, np.triu(box * signs[:, None])
    return positions @ turn, box, True


def _mixed(periodic: NDArray[np.bool_], where: str) -> CorruptFrameError:
    shown = " ".join("T" if p else "F" for p in periodic)
    return CorruptFrameError(
        f"{where}: it is periodic in some directions and not in others (pbc {shown}): Amorph "
        "takes systems that are periodic in all directions, or clusters that are in none."
    )
