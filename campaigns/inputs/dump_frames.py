"""LAMMPS dumps in text form: where their frames begin, and what the lines of one say.

See the LAMMPS documentation, `dump` command, styles ``atom`` and ``custom``.
"""

import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from amorph.handover import CorruptFrameError

from .text_frames import (
    LineTable,
    RawFrame,
    incomplete,
    integer_of,
    lines_of,
    numbers_of,
)

__all__ = ["find_dump_frames", "parse_dump"]

_TIMESTEP = b"ITEM: TIMESTEP"
# What says a particle's type, and its parts of the name that LAMMPS gives coordinates: as they
# are, unwrapped, scaled by the cell, scaled and unwrapped.
_LABELS = ("type", "typelabel", "element")
_COORDINATES = ("", "u", "s", "su")
# A dump without z is taken as two-dimensional if its box is thinner than this part of the others.
_THIN = 0.25


# LAMMPS writes these before a time step, where it is asked to.
_BEFORE = re.compile(rb"(\xef\xbb\xbf)?(ITEM: (UNITS|TIME)\r?\n[^\n]*\n)*")


def find_dump_frames(file: BinaryIO) -> Iterator[int]:
    """The offset of each frame of a dump, in bytes: that of its time step.

    Anything before the first one that does not belong there is a frame too, a damaged one. A file
    without any time step has none.
    """
    place, rest = 0, b""
    while block := file.read(1 << 22):
        text = rest + block
        start = 0
        while (found := text.find(_TIMESTEP, start)) >= 0:
            if place + start == 0 and found and not _BEFORE.fullmatch(text, 0, found):
                yield 0
            yield place + found
            start = found + len(_TIMESTEP)
        keep = max(start, len(text) - len(_TIMESTEP) + 1)  # the words may lie across two blocks
        place, rest = place + keep, text[keep:]


def parse_dump(data: bytes, where: str) -> RawFrame:
    """Read one frame from its lines; raises `CorruptFrameError` for one that is damaged."""
    lines = lines_of(data, where)
    sections = _sections(lines, where)
    integer_of(_one(sections, "TIMESTEP", where), where, "the time step")
    n = integer_of(_one(sections, "NUMBER OF ATOMS", where), where, "the number of atoms")
    bounds_title, bounds = _found(sections, "BOX BOUNDS", where)
    if len(bounds) != 3:
        raise incomplete(where, f"the box has {len(bounds)} lines in place of 3")
    cell, origin, periodic = _box(bounds_title, bounds, where)
    title, rows = _found(sections, "ATOMS", where)
    columns = title.split()
    if len(set(columns)) != len(columns):
        raise CorruptFrameError(f"{where}: a column stands twice: {title}.")
    if len(rows) != n:
        raise incomplete(where, f"it says it has {n} particles, but {len(rows)} are there")
    place = {name: k for k, name in enumerate(columns)}
    table = LineTable(rows, len(columns), where, f"named, {title!r}")
    positions = _positions(table, place, cell, origin, where)
    labels = {name: table.texts(place[name]) for name in _LABELS if name in place}
    ids = table.integers(place["id"]) if "id" in place else None
    order = slice(None) if ids is None else _order(ids, where)
    radii = _radii(table, place)
    return RawFrame(
        {name: np.array(values)[order].tolist() for name, values in labels.items()},
        positions[order],
        cell,
        periodic,
        None if ids is None else ids[order],
        None if radii is None else radii[order],
        _unused(table, place),
    )


def _sections(lines: list[str], where: str) -> dict[str, tuple[str, list[str]]]:
    """By their first words, the rest of each title and the lines below it."""
    names = ("TIMESTEP", "NUMBER OF ATOMS", "BOX BOUNDS", "ATOMS", "UNITS", "TIME")
    out: dict[str, tuple[str, list[str]]] = {}
    current: list[str] = []
    for line in lines:
        if not line.startswith("ITEM:"):
            current.append(line)
            continue
        title = line.removeprefix("ITEM:").strip()
        name = next((n for n in names if title == n or title.startswith(n + " ")), title)
        if name in out:
            raise CorruptFrameError(f"{where}: 'ITEM: {name}' stands twice in the frame.")
        current = []
        out[name] = title.removeprefix(name).strip(), current
    for _, section in out.values():
        while section and not section[-1].strip():
            section.pop()
    return out


def _found(
    sections: Mapping[str, tuple[str, list[str]]], name: str, where: str
) -> tuple[str, list[str]]:
    if name not in sections:
        others = [n for n in sections if n.startswith(("NUMBER OF", "ENTRIES", "GRID"))]
        if others and name == "NUMBER OF ATOMS":
            raise CorruptFrameError(
                f"{where}: it has 'ITEM: {others[0]}', no atoms: it is a dump of another style. "
                "Write one by `dump ... custom FILE id type x y z`."
            )
        raise incomplete(where, f"there is no 'ITEM: {name}'")
    return sections[name]


def _one(sections: Mapping[str, tuple[str, list[str]]], name: str, where: str) -> str:
    _, lines = _found(sections, name, where)
    if len(lines) != 1:
        raise incomplete(where, f"'ITEM: {name}' has {len(lines)} lines in place of one")
    return lines[0]


def _box(
    title: str, lines: list[str], where: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """The cell (3, 3) with its vectors as rows, its origin (3,), and which are periodic (3,)."""
    words = title.split()
    flags = [w for w in words if len(w) == 2 and set(w) <= set("pfsm")]
    if len(flags) != 3:
        raise CorruptFrameError(
            f"{where}: 'ITEM: BOX BOUNDS {title}' says no boundary flags, as dumps of before 2010 "
            "do, so that nobody knows whether the box is periodic: write 'ITEM: BOX BOUNDS pp pp "
            "pp' if it is."
        )
    periodic = np.array([flag == "pp" for flag in flags])
    form = [w for w in words if w not in flags]
    rows = [numbers_of(line.split(), where, "the bounds of the box") for line in lines]
    width = {(): 2, ("xy", "xz", "yz"): 3, ("abc", "origin"): 4}.get(tuple(form))
    if width is None or any(len(row) != width for row in rows):
        raise CorruptFrameError(
            f"{where}: 'ITEM: BOX BOUNDS {title}' does not fit its lines, {' / '.join(lines)}: two "
            "numbers in each, three for a tilted box (xy xz yz), four for a general one (abc "
            "origin)."
        )
    numbers = np.array(rows)
    if width == 4:
        return numbers[:, :3], numbers[:, 3], periodic
    xy, xz, yz = numbers[:, 2] if width == 3 else (0.0, 0.0, 0.0)
    # LAMMPS writes the bounds of what encloses a tilted box.
    low = numbers[:, 0] - [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]
    high = numbers[:, 1] - [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0]
    lx, ly, lz = high - low
    return np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]]), low, periodic


def _positions(
    table: LineTable,
    place: Mapping[str, int],
    cell: NDArray[np.float64],
    origin: NDArray[np.float64],
    where: str,
) -> NDArray[np.float64]:
    """(N, 3), or (N, 2) where there is no z."""
    for axes in ("xyz", "xy"):
        for kind in _COORDINATES:
            names = [axis + kind for axis in axes]
            if not all(name in place for name in names):
                continue
            if axes == "xy":
                _check_thin(cell, where)
            found = table.numbers([place[name] for name in names])
            d = len(axes)
            return found @ cell[:d, :d] + origin[:d] if kind.startswith("s") else found
    raise CorruptFrameError(
        f"{where}: its columns are {' '.join(place)}: there must be x y z, or xu yu zu, xs ys zs, "
        "xsu ysu zsu; in two dimensions z may be missing. Write them by `dump ... custom FILE id "
        "type x y z`."
    )


def _check_thin(cell: NDArray[np.float64], where: str) -> None:
    lx, ly, lz = np.sqrt(np.sum(cell**2, axis=1))
    if lz > _THIN * min(lx, ly):
        raise CorruptFrameError(
            f"{where}: there is no z, but the box is {lz:g} thick beside {lx:g} and {ly:g}: nobody "
            "knows whether the system is two-dimensional. Write z too; or, if it is, make the box "
            "thin, from -0.5 to 0.5."
        )


def _order(ids: NDArray[np.int64], where: str) -> NDArray[np.int64]:
    order = np.argsort(ids, kind="stable")
    doubled = np.flatnonzero(np.diff(ids[order]) == 0)
    if doubled.size:
        raise CorruptFrameError(
            f"{where}: particle {int(ids[order][doubled[0]])} stands twice in it: two frames are "
            "mixed, or it was damaged. Leave it out, or make it anew."
        )
    return order


def _radii(table: LineTable, place: Mapping[str, int]) -> NDArray[np.float64] | None:
    if "radius" in place:
        return table.numbers([place["radius"]])[:, 0]
    return 0.5 * table.numbers([place["diameter"]])[:, 0] if "diameter" in place else None


def _unused(table: LineTable, place: Mapping[str, int]) -> tuple[str, ...]:
    out = []
    if "mass" in place and (table.numbers([place["mass"]]) != 1).any():
        out.append("masses other than 1")
    if "q" in place and table.numbers([place["q"]]).any():
        out.append("charges")
    return tuple(out)
