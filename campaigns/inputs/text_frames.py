"""Frames of text: LAMMPS dumps and (extended) XYZ, each read from its own lines.

Where each frame begins is found once, in one pass, so that any of them can be read by itself. What
the formats have in common is here; what each looks like, in `amorph.campaigns.inputs.dump_frames`
and `amorph.campaigns.inputs.xyz_frames`.
"""

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from amorph.handover import (
    FLAT,
    CorruptFrameError,
    DirectoryGivenError,
    EmptyFileError,
    FileMissingError,
    reduce_tilt,
)

from ..errors import TrajectoryError

__all__ = ["LineTable", "RawFrame", "TextFrame", "check_regular", "in_our_box", "incomplete"]

# Cells whose angles differ from upper triangular by less than this part are round-off.
_ROUND_OFF = 1e-12
_NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf|infinity)", re.IGNORECASE
)
BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, eq=False)
class RawFrame:
    """A frame as its lines say it.

    Attributes
    ----------
    labels:
        By the name of their column: what may say the type of each particle, as text.
    positions:
        (N, 3), or (N, 2) where the file has no z.
    cell:
        (3, 3) with the vectors as rows, or None.
    periodic:
        (3,) whether the system is periodic along each.
    ids:
        (N,) the particles' numbers, which they are sorted by, or None.
    radii:
        (N,) or None.
    unused:
        Other content that changes the physics, in words.
    """

    labels: Mapping[str, Sequence[str]]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64] | None
    periodic: NDArray[np.bool_]
    ids: NDArray[np.int64] | None = None
    radii: NDArray[np.float64] | None = None
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class TextFrame:
    """A frame of text in Amorph's box.

    Attributes
    ----------
    labels, ids, radii, unused:
        As in `RawFrame`.
    positions, box:
        (N, d), and (d, d) with the box vectors as columns, upper triangular, or None: a cluster.
        In two dimensions where all particles lie in one plane of constant z.
    rotated:
        Whether the file's cell was not upper triangular, and the system was rotated.
    """

    labels: Mapping[str, Sequence[str]]
    ids: NDArray[np.int64] | None
    radii: NDArray[np.float64] | None
    unused: tuple[str, ...]
    positions: NDArray[np.float64]
    box: NDArray[np.float64] | None
    rotated: bool

    @classmethod
    def of(cls, raw: RawFrame, where: str) -> "TextFrame":
        """Bring a frame into Amorph's box; raises `CorruptFrameError` as `in_our_box` does."""
        positions, box, rotated = in_our_box(raw.positions, raw.cell, raw.periodic, where)
        return cls(raw.labels, raw.ids, raw.radii, raw.unused, positions, box, rotated)


def check_regular(path: Path) -> os.stat_result:
    """A file's status; it is there, may be read, is a regular file, not empty, and not UTF-16.

    Raises `FileMissingError`, `DirectoryGivenError`, `EmptyFileError`, or `TrajectoryError` with
    the operating system's reason.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileMissingError(f"{path}: there is no such file. Check the path.") from error
    except (OSError, ValueError) as error:
        raise _cannot_read(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise DirectoryGivenError(f"{path}: is a directory. Give the name of a file.")
    if not stat.S_ISREG(status.st_mode):
        raise TrajectoryError(
            f"{path}: is not a regular file but a pipe or a device: frames are read in any order. "
            "Write the data to a file first."
        )
    if status.st_size == 0:
        raise EmptyFileError(
            f"{path}: the file holds no frames: it is empty (0 bytes). Make it anew, or copy it "
            "again."
        )
    if first_bytes(path, 2) in _WIDE_BOMS:
        raise TrajectoryError(
            f"{path}: begins with the byte order mark of UTF-16. Write it as plain text: "
            "iconv -f UTF-16 -t UTF-8."
        )
    return status


def first_bytes(path: Path, number: int) -> bytes:
    """The first bytes of a file; raises `TrajectoryError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(number)
    except OSError as error:
        raise _cannot_read(path, error) from error


def _cannot_read(path: Path, error: Exception) -> TrajectoryError:
    reason = getattr(error, "strerror", None) or error
    return TrajectoryError(f"{path}: cannot be read: {reason}. Check its name and permissions.")


def incomplete(where: str, what: str) -> CorruptFrameError:
    """The error of a frame that was cut short."""
    return CorruptFrameError(
        f"{where}: {what}: the frame was cut short as it was written or copied. Leave it out, or "
        "make it anew."
    )


def lines_of(data: bytes, where: str) -> list[str]:
    """The lines of a frame, without their ends.

    Raises `CorruptFrameError` if they are not text, or the last of them has no end.
    """
    if data.startswith(BOM):
        data = data[len(BOM) :]
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise CorruptFrameError(
            f"{where}: byte {error.start} of the frame is no UTF-8 text: the file is damaged, or "
            "in another encoding. Copy it again, or convert it by iconv."
        ) from error
    if "\0" in text:
        raise CorruptFrameError(
            f"{where}: there are zero bytes in it, which a writer leaves behind whose machine "
            "stopped. Leave the frame out, or make it anew."
        )
    *lines, rest = text.split("\n")
    if rest.strip():
        raise incomplete(where, "its last line does not end with a newline, so that its last "
                         "number may lack digits")  # fmt: skip
    return lines


class LineTable:
    """Lines of equally many fields, a row a particle, read column by column.

    Raises `CorruptFrameError` for a line with another number of fields.
    """

    def __init__(self, lines: Sequence[str], width: int, where: str, first: str) -> None:
        self._where = where
        self._rows = [line.split() for line in lines]
        for k, row in enumerate(self._rows):
            if len(row) != width:
                raise incomplete(
                    where,
                    f"the line of particle {k} has {len(row)} fields, {lines[k][:60]!r}, but "
                    f"{width} are {first}",
                )

    def texts(self, column: int) -> list[str]:
        """A column as it stands."""
        return [row[column] for row in self._rows]

    def numbers(self, columns: Sequence[int]) -> NDArray[np.float64]:
        """Columns (N, n) of numbers; raises `CorruptFrameError` for a field that is none."""
        out = np.empty((len(self._rows), len(columns)))
        for c, column in enumerate(columns):
            texts = self.texts(column)
            for k, text in enumerate(texts):
                if not _NUMBER.fullmatch(text):
                    raise CorruptFrameError(
                        f"{self._where}: {text!r}, field {column + 1} in the line of particle {k}, "
                        "is no number: the frame was damaged or cut short. Leave it out, or make "
                        "it anew."
                    )
            out[:, c] = np.array(texts, dtype=np.float64) if texts else 0.0
        return out

    def integers(self, column: int) -> NDArray[np.int64]:
        """A column (N,) of integers; raises `CorruptFrameError` for a field that is none."""
        values = self.numbers([column])[:, 0]
        whole = np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 2**53)
        if not whole.all():
            k = int(np.argmin(whole))
            raise CorruptFrameError(
                f"{self._where}: {self._rows[k][column]!r}, field {column + 1} in the line of "
                f"particle {k}, is no integer."
            )
        return values.astype(np.int64)


def numbers_of(texts: Sequence[str], where: str, what: str) -> list[float]:
    """Texts as numbers; raises `CorruptFrameError` for one that is none."""
    if not all(_NUMBER.fullmatch(text) for text in texts):
        raise CorruptFrameError(f"{where}: {what}: {' '.join(texts)!r} are not numbers.")
    return [float(text) for text in texts]


def integer_of(text: str, where: str, what: str) -> int:
    """A line as a number of at least 0; raises `CorruptFrameError` if it is none."""
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit()):
        raise CorruptFrameError(f"{where}: {what} is {text[:40]!r}: it must be an integer.")
    return int(stripped)


def in_our_box(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64] | None,
    periodic: NDArray[np.bool_],
    where: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, bool]:
    """Positions (N, d) and box (d, d) or None as Amorph has them, and whether they were rotated.

    Of positions (N, 3), or (N, 2) without z, and a cell (3, 3) with its vectors as rows. Two
    dimensions where every particle has the same z, but for round-off (`FLAT`). Tilts of more than
    half a box vector are reduced: the lattice is the same.

    Raises `CorruptFrameError` for positions that are not finite, a cell without a volume or
    left-handed, and a system that is periodic in some directions only.
    """
    if not np.isfinite(positions).all():
        raise CorruptFrameError(
            f"{where}: positions are not finite. The simulation that wrote it has blown up: leave "
            "the frame out."
        )
    flat = positions.shape[1] == 2 or _in_one_plane(positions)
    d = 2 if flat else 3
    positions = positions[:, :d]
    if cell is None or not periodic.any():
        return positions, None, False
    if not periodic[:d].all():
        raise _mixed(periodic, where)
    if not np.isfinite(cell).all():
        raise CorruptFrameError(f"{where}: the cell {cell.tolist()} is not finite.")
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
        return positions, reduce_tilt(np.triu(vectors))[0], False
    turn, box = np.linalg.qr(vectors)
    signs = np.sign(np.diagonal(box))
    turn, box = turn * signs, np.triu(box * signs[:, None])
    return positions @ turn, reduce_tilt(box)[0], True


def _in_one_plane(positions: NDArray[np.float64]) -> bool:
    with np.errstate(over="ignore"):
        spread = np.ptp(positions, axis=0) if len(positions) else np.zeros(3)
    return bool(spread[2] <= FLAT * spread[:2].max())


def _mixed(periodic: NDArray[np.bool_], where: str) -> CorruptFrameError:
    shown = " ".join("T" if p else "F" for p in periodic)
    return CorruptFrameError(
        f"{where}: it is periodic in some directions and not in others (pbc {shown}): Amorph "
        "takes systems that are periodic in all directions, or clusters that are in none."
    )
