"""XYZ, plain and extended: where frames begin, and what the lines of one say.

A frame is its number of particles, a comment, and a line a particle. In extended XYZ the comment
says the cell and the columns (``Lattice``, ``pbc``, ``Properties``), as key=value pairs:
https://github.com/libAtoms/extxyz.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from amorph.handover import CorruptFrameError

from .text_frames import BOM, LineTable, RawFrame, incomplete, integer_of, lines_of, numbers_of

__all__ = ["find_xyz_frames", "parse_xyz"]

# A line that is a number alone begins a frame: in a line of a particle there is more.
_HEADER = re.compile(rb"^[ \t]*[0-9]+[ \t]*\r?$", re.MULTILINE)
_PAIR = re.compile(
    r"""([A-Za-z_][\w.:-]*)\s*=\s*("(?:[^"\\]|\\.)*"|'[^']*'|\{[^}]*\}|\[[^=]*\]|\S+)"""
)
# Words in a comment that tell of a cell.
_CELL = re.compile(r"cell|box|lattice|periodic|pbc|\b[LHabc][xyz123]?\s*[=:]", re.IGNORECASE)
# Keys that tell of no cell, and what looks like a length.
_HARMLESS = re.compile(
    r"(energy|energies|e|epot|ekin|etot|time|t|dt|step|timestep|frame|i|n|id|temperature|temp|"
    r"pressure|seed|version|pbc|properties)",
    re.IGNORECASE,
)
_LENGTH = re.compile(r"[0-9]\.[0-9]|[0-9][eE][+-]?[0-9]")
# Keys whose nine numbers are no cell.
_TENSOR = re.compile(r"stress|virial|strain|inertia|rotation|dipole", re.IGNORECASE)
# The columns that may say a particle's type, the one that says it best first.
LABELS = ("type", "species", "name", "label", "element", "symbol", "symbols", "kind")
_TRUE, _FALSE = ("t", "true", "1", "[t", "[true"), ("f", "false", "0")


def find_xyz_frames(file: BinaryIO) -> Iterator[int]:
    """The offset of each frame of an XYZ file, in bytes.

    A frame ends where the next number of particles stands on a line of its own, be it cut short or
    followed by what does not belong to it: then it has not the lines that it says. What comes
    before the first number is a frame too, a damaged one. A file without any has none.
    """
    begin: int | None = 0
    if not _HEADER.match(file.readline().removeprefix(BOM)):
        begin = _next_header(file)
        if begin is not None:
            yield 0
    while begin is not None:
        yield begin
        begin = _after_comment(file)
        if begin is None:
            begin = _next_header(file)


def _after_comment(file: BinaryIO) -> int | None:
    """The next frame, if a writer was stopped before the comment of this one; else None."""
    begin = file.tell()
    comment = file.readline()
    if not _HEADER.match(comment):
        return None
    # The comment may be a number too: then the line of a particle follows.
    place = file.tell()
    line = file.readline()
    file.seek(place)
    return begin if b"=" in line or len(line.split()) < 3 else None


def _next_header(file: BinaryIO) -> int | None:
    """The place of the next line that is a number alone; the file is then behind that line."""
    while True:
        place = file.tell()
        line = file.readline()
        if not line:
            return None
        if _HEADER.match(line):
            return place


def parse_xyz(data: bytes, where: str) -> RawFrame:
    """Read one frame from its lines; raises `CorruptFrameError` for one that is damaged."""
    lines = lines_of(data, where)
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) < 2:
        raise incomplete(where, "there is nothing below its number of particles")
    n = integer_of(lines[0], where, "the number of particles")
    comment, rows = lines[1], lines[2:]
    if len(rows) != n:
        raise incomplete(where, f"it says it has {n} particles, but {len(rows)} are there")
    known = {key: _unquoted(value) for key, value in _PAIR.findall(comment)}
    cell = _cell(known, where)
    periodic = _periodic(known, cell is not None, where)
    unread = _unread_cell(comment, known) if cell is None else None
    if unread is not None:
        raise CorruptFrameError(
            f"{where}: its comment seems to name a cell, {unread!r}, in a form that is not read: "
            'write Lattice="ax ay az bx by bz cx cy cz", or take it out if this is a cluster in '
            "open space."
        )
    unused = () if cell is not None else _unread_numbers(comment)
    if "Properties" not in known and re.search(r":[SRIL]:[0-9]", comment):
        raise CorruptFrameError(
            f"{where}: its comment, {comment[:60]!r}, names columns, but not by Properties=...: "
            "the comment was damaged. Correct it, or leave the frame out."
        )
    if "Properties" in known:
        found = _extended(rows, known["Properties"], cell, periodic, where)
        return replace(found, unused=(*found.unused, *unused))
    width = len(rows[0].split()) if rows else 4
    if width < 4:
        raise CorruptFrameError(
            f"{where}: its lines have {width} fields: a name and x y z were expected. Say what "
            "other columns are by Properties=..., as species:S:1:pos:R:2 in two dimensions."
        )
    table = LineTable(rows, width, where, "in the first line")
    further = () if width == 4 else (f"{width - 4} columns after x y z",)
    return RawFrame(
        {"name": table.texts(0)},
        table.numbers([1, 2, 3]),
        cell,
        periodic,
        unused=(*further, *unused),
    )


def _unquoted(value: str) -> str:
    return value[1:-1] if value[:1] in "\"'{" and len(value) > 1 else value


def _cell(known: dict[str, str], where: str) -> np.ndarray | None:
    if "Lattice" not in known:
        return None
    numbers = numbers_of(known["Lattice"].split(), where, "Lattice")
    if len(numbers) != 9:
        raise CorruptFrameError(
            f"{where}: Lattice has {len(numbers)} numbers: it must have 9, three vectors one after "
            "the other."
        )
    return np.array(numbers).reshape(3, 3)


def _periodic(known: dict[str, str], has_cell: bool, where: str) -> np.ndarray:
    if "pbc" not in known:
        return np.full(3, has_cell)
    words = known["pbc"].strip("[]").replace(",", " ").lower().split()
    if len(words) != 3 or not set(words) <= {*_TRUE, *_FALSE}:
        raise CorruptFrameError(f'{where}: pbc = {known["pbc"]!r}: write it as pbc="T T T".')
    periodic = np.array([word in _TRUE for word in words])
    if periodic.any() and not has_cell:
        raise CorruptFrameError(
            f'{where}: pbc says that it is periodic, but there is no Lattice: write Lattice="ax '
            'ay az bx by bz cx cy cz".'
        )
    return periodic


def _unread_cell(comment: str, known: dict[str, str]) -> str | None:
    """The words of a comment without Lattice that look like a cell, or None."""
    for key in known:
        if key not in ("pbc", "Properties") and re.search(r"cell|box|lattice", key, re.IGNORECASE):
            return f"{key}={known[key]}"
    for key, value in known.items():
        if len(value.split()) == 9 and not _TENSOR.search(key):
            return f"{key}={value}"[:60]
    told = _PAIR.sub(lambda m: "" if m[1] in ("pbc", "Properties") else m[0], comment)
    found = _CELL.search(told)
    if found is not None:
        return told[found.start() :].strip()[:60]
    words = told.split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return None
    # Nothing but three, six or nine numbers: the lengths or the vectors of a cell.
    return told.strip()[:60] if len(numbers) in (3, 6, 9) else None


def _unread_numbers(comment: str) -> tuple[str, ...]:
    """Tell in words of numbers in a comment that may be a cell, though no word says so."""
    told = _PAIR.sub(lambda m: "" if _HARMLESS.fullmatch(m[1]) else m[0], comment).strip()
    if not _LENGTH.search(told):
        return ()
    return (f"the numbers in its comment, {told[:60]!r}, which may be a cell (write Lattice=...)",)


def _extended(
    rows: list[str],
    properties: str,
    cell: np.ndarray | None,
    periodic: np.ndarray,
    where: str,
) -> RawFrame:
    parts = properties.split(":")
    if len(parts) % 3 or not all(p.isascii() and p.isdigit() for p in parts[2::3]):
        raise CorruptFrameError(
            f"{where}: Properties={properties} are no triples name:kind:columns, as "
            "species:S:1:pos:R:3."
        )
    place: dict[str, tuple[str, int, int]] = {}
    width = 0
    for name, kind, number in zip(parts[0::3], parts[1::3], map(int, parts[2::3]), strict=True):
        if name.lower() in place:
            raise CorruptFrameError(f"{where}: Properties names {name!r} twice.")
        place[name.lower()] = kind, width, number
        width += number
    table = LineTable(rows, width, where, f"named by Properties={properties}")
    if "pos" not in place or place["pos"][2] not in (2, 3):
        raise CorruptFrameError(
            f"{where}: Properties={properties} names no positions: pos:R:3, or pos:R:2 in two "
            "dimensions."
        )
    _, first, d = place["pos"]
    positions = table.numbers(range(first, first + d))

    def column(name: str) -> int | None:
        return place[name][1] if name in place and place[name][2] == 1 else None

    labels = {}
    for name in LABELS:
        at = column(name)
        if at is not None:
            labels[name] = table.texts(at)
    radius, diameter = column("radius"), column("diameter")
    radii = None
    if radius is not None:
        radii = table.numbers([radius])[:, 0]
    elif diameter is not None:
        radii = 0.5 * table.numbers([diameter])[:, 0]
    unused = []
    for name, words, usual in (("mass", "masses other than 1", 1.0), ("masses", "masses other "
                               "than 1", 1.0), ("charge", "charges", 0.0),
                               ("charges", "charges", 0.0)):  # fmt: skip
        at = column(name)
        if at is not None and (table.numbers([at]) != usual).any():
            unused.append(words)
    if "bonds" in place:
        unused.append("bonds")
    return RawFrame(labels, positions, cell, periodic, radii=radii, unused=tuple(unused))
