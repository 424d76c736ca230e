"""The table "What happens with files of others" of docs/files.md: every cell of it is tried.

A packing of soft discs at rest, in a file of each format and with each thing that files of others
have: the outcome is the table's, and where the file is read the energy is the packing's.
"""

import gzip
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gsd.hoomd
import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.campaigns.studies.analyze.rows import analyze
from amorph.handover import AmorphError

DOCUMENT = Path(__file__).parents[3] / "docs" / "files.md"
TITLE = "## What happens with files of others"
FORMATS = ("GSD", "dump", "XYZ", "extended XYZ")
ENDINGS = {"GSD": ".gsd", "dump": ".dump", "XYZ": ".xyz", "extended XYZ": ".extxyz"}
SOFT = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)
ONE = bridge.SoftSphere(diameters=[1.2], stiffness=1.0)
THREE = bridge.SoftSphere(diameters=[1.0, 1.4, 2.0], stiffness=1.0)


def table() -> dict[str, dict[str, str]]:
    """By what a file has, what happens in each format."""
    lines = DOCUMENT.read_text(encoding="utf-8").split(TITLE)[1].split("\n## ")[0].splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("| ")]
    head = [cell.strip() for cell in rows[0]]
    assert tuple(head[1:]) == FORMATS
    out = {}
    for row in rows[1:]:
        cells = [cell.strip() for cell in row]
        out[cells[0]] = dict(zip(FORMATS, cells[1:], strict=True))
    return out


@pytest.fixture(scope="module")
def packing() -> bridge.Packing:
    start = ensemble.make_start(SOFT, 24, 0.85, 2, 1, 3)
    assert start.boxes is not None
    made = bridge.Packing.of(start.positions[0], start.typeid, start.boxes[0])
    return bridge.relax(SOFT, made).wrapped()


@dataclass
class Frame:
    """One frame of a file, and how it is written."""

    packing: bridge.Packing
    names: tuple[str, ...] = ()
    labelled: str = "type"
    extra: dict[str, Any] = field(default_factory=dict)
    z: float = 0.0
    wide: bool = True
    tilt: int = 0
    ids: Any = None
    box: str = ""
    comment: str | None = None

    @property
    def side(self) -> float:
        assert self.packing.box is not None
        return float(self.packing.box[0, 0])

    def rows(self) -> list[list[str]]:
        n = self.packing.n_particles
        kinds = self.names or ("1", "2", "3")
        z = self.z * np.cos(np.arange(n))
        out = []
        for k, (x, y) in enumerate(self.packing.positions.tolist()):
            label = kinds[self.packing.typeid[k]] if self.labelled else ""
            place = [repr(x), repr(y), *([repr(float(z[k]))] if self.wide else [])]
            further = [str(v[k]) for v in self.extra.values()]
            out.append([label, *place, *further] if label else [*place, *further])
        return out


def dump(frame: Frame) -> str:
    n, half = frame.packing.n_particles, frame.side / 2
    tilt = frame.tilt * frame.side
    title = frame.box or ("xy xz yz pp pp pp" if tilt else "pp pp pp")
    bounds = f"{-half!r} {half + tilt!r}" + (f" {tilt!r}" if tilt else "")
    rest = " 0.0" if tilt else ""
    columns = " ".join(
        c for c in (frame.labelled, "x", "y", "z" if frame.wide else "", *frame.extra) if c
    )
    ids = range(1, n + 1) if frame.ids is None else frame.ids
    lines = [f"{i} {' '.join(row)}" for i, row in zip(ids, frame.rows(), strict=True)]
    head = (
        f"ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n{n}\nITEM: BOX BOUNDS {title}\n{bounds}\n"
        f"{-half!r} {half!r}{rest}\n-0.5 0.5{rest}\nITEM: ATOMS id {columns}\n"
    )
    return head + "\n".join(lines) + "\n"


def xyz(frame: Frame, *, extended: bool) -> str:
    side, tilt = frame.side, frame.tilt * frame.side
    comment = frame.comment
    if comment is None:
        comment = f'Lattice="{side!r} 0 0 {tilt!r} {side!r} 0 0 0 1"'
        if extended:
            kind = "I" if frame.labelled == "type" and not frame.names else "S"
            further = "".join(f":{name}:R:1" for name in frame.extra)
            label = f"{frame.labelled}:{kind}:1:" if frame.labelled else ""
            comment += f" Properties={label}pos:R:{3 if frame.wide else 2}{further}"
    lines = [" ".join(row) for row in frame.rows()]
    return f"{len(lines)}\n{comment}\n" + "\n".join(lines) + "\n"


def write_gsd(path: Path, frames: list[Frame]) -> None:
    with gsd.hoomd.open(path, "w") as file:
        for frame in frames:
            snapshot = gsd.hoomd.Frame()
            packing, side = frame.packing, frame.side
            n = packing.n_particles
            snapshot.particles.N = n
            snapshot.particles.types = list(
                frame.names or ("1", "2")[: int(packing.typeid.max()) + 1]
            )
            snapshot.particles.typeid = packing.typeid
            z = frame.z * np.cos(np.arange(n))
            snapshot.particles.position = np.column_stack([packing.positions, z])
            snapshot.configuration.box = [side, side, 0, frame.tilt, 0, 0]
            snapshot.configuration.dimensions = 2
            for name, value in frame.extra.items():
                if name == "bonds":
                    snapshot.bonds.N = len(value)
                    snapshot.bonds.group = value
                elif name == "converged":
                    snapshot.log["amorph/converged"] = np.array([value], dtype=np.uint8)
                else:
                    values = 2 * np.array(value) if name == "radius" else value
                    name = {"radius": "diameter", "q": "charge"}.get(name, name)
                    setattr(snapshot.particles, name, values)
            file.append(snapshot)


def write(path: Path, form: str, *frames: Frame) -> Path:
    if form == "GSD":
        write_gsd(path, list(frames))
    elif form == "dump":
        path.write_text("".join(map(dump, frames)))
    else:
        path.write_text("".join(xyz(f, extended=form == "extended XYZ") for f in frames))
    return path


@dataclass
class Outcome:
    """The rows, the error and the warnings of `analyze` for a file."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    error: AmorphError | None = None
    said: list[str] = field(default_factory=list)

    def word(self, energy: float) -> str:
        """The word of the table for it."""
        if self.error is not None:
            return f"refused: {type(self.error).__name__}"
        good = [r for r in self.rows if "energy" in r]
        for row in good:
            assert row["energy"] == pytest.approx(energy, rel=2e-5)
            assert row["status"] == ("not_converged" if "not prepared" in str(row) else "ok")
        bad = [r for r in self.rows if r not in good]
        if bad:
            (status,) = {r["status"] for r in bad}
            return f"{'rows' if good else 'row'}: {status}"
        if any(r["status"] == "not_converged" for r in self.rows):
            return "marked"
        return "warned" if self.said else "read"


@contextmanager
def noted(said: list[str]) -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    said += [str(w.message) for w in caught]


def outcome(path: Path, theta: bridge.Theta = SOFT, types: list[str] | None = None) -> Outcome:
    out = Outcome()
    try:
        with noted(out.said):
            out.rows = list(
                analyze(
                    [path], features=["energy"], theta=theta, types=types, on_error=lambda m: None
                )
            )
    except AmorphError as error:
        out.error = error
    return out


Case = Callable[[Path, str, bridge.Packing], Outcome]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def kept(function: Case) -> Case:
        CASES[name] = function
        return function

    return kept


def monodisperse(packing: bridge.Packing) -> bridge.Packing:
    """The same discs without types, at rest as such."""
    alone = bridge.Packing.of(packing.positions, np.zeros(packing.n_particles, int), packing.box)
    return bridge.relax(ONE, alone).wrapped()


@case("types that are numbers")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    return outcome(write(path, form, Frame(p)))


@case("types A, B, as many as the potential's")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    labelled = "typelabel" if form == "dump" else "species"
    return outcome(write(path, form, Frame(p, names=("A", "B"), labelled=labelled)))


@case("other names, and no `types`")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    shuffled = np.random.default_rng(3).permutation(p.n_particles)
    mixed = bridge.Packing.of(p.positions[shuffled], p.typeid[shuffled], p.box)
    labelled = "typelabel" if form == "dump" else "species"
    return outcome(write(path, form, Frame(mixed, names=("large", "small"), labelled=labelled)))


@case("labels in the order of the particles' ids, and no `types`")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    if form != "dump":
        return Outcome(said=["–"])
    return outcome(write(path, form, Frame(p, names=("small", "large"), labelled="typelabel")))


@case("other names, and `types`")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    labelled = "element" if form == "dump" else "species"
    frame = Frame(p, names=("Zr", "Cu"), labelled=labelled)
    return outcome(write(path, form, frame), types=["Zr", "Cu"])


@case("elements or masses, and no types")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    if form == "GSD":
        return Outcome(said=["–"])
    frame = Frame(p, names=("Cu", "Zr"), labelled="element")
    if form == "dump":
        frame = Frame(p, labelled="", extra={"mass": (1 + p.typeid).tolist()})
    return outcome(write(path, form, frame))


@case("no types, and a potential of one type")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    alone = monodisperse(p)
    labelled = "" if form in ("dump", "extended XYZ") else "type"
    return outcome(write(path, form, Frame(alone, labelled=labelled)), ONE)


@case("a type beyond the potential's")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    return outcome(write(path, form, Frame(p)), ONE)


@case("fewer types than the potential")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    return outcome(write(path, form, Frame(p)), THREE)


@case("letters in another order than the parameters")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    frame = Frame(p, names=("B", "A"), labelled="typelabel" if form == "dump" else "species")
    if form == "GSD":
        return outcome(write(path, form, frame))
    # By letter: A is the first type wherever it stands.
    swapped = bridge.Packing.of(p.positions, 1 - p.typeid, p.box)
    return outcome(write(path, form, Frame(swapped, ("B", "A"), frame.labelled)))


@case("the last number cut off")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    if form == "GSD":
        write(path, form, Frame(p), Frame(p))
        path.write_bytes(path.read_bytes()[:-40])
        return outcome(path)
    text = write(path, form, Frame(p), Frame(p, z=0.0)).read_text()
    path.write_text(text[:-3] if form != "dump" else text[:-2])
    return outcome(path)


@case("a line with fewer fields")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    return damaged(path, form, p, lambda line: line.rsplit(" ", 1)[0])


@case("a field that is no complete number")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    return damaged(path, form, p, lambda line: line.rsplit(" ", 1)[0] + " 0.5e-")


def damaged(path: Path, form: str, p: bridge.Packing, change: Callable[[str], str]) -> Outcome:
    if form == "GSD":
        return Outcome(said=["–"])
    lines = write(path, form, Frame(p), Frame(p)).read_text().split("\n")
    lines[12] = change(lines[12])
    path.write_text("\n".join(lines))
    return outcome(path)


@case("an id twice")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    if form != "dump":
        return Outcome(said=["–"])
    n = p.n_particles
    return outcome(write(path, form, Frame(p), Frame(p, ids=[1, *range(1, n)])))


@case("the first frame damaged, the second cut, the others whole")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    nan = copy(p)  # no packing can be made of such positions
    object.__setattr__(nan, "positions", np.full_like(p.positions, np.nan))
    if form == "GSD":
        return outcome(write(path, form, Frame(nan), Frame(p), Frame(nan), Frame(p)))
    parts = []
    for k, frame in enumerate([Frame(nan), Frame(p), Frame(p), Frame(p)]):
        text = write(path, form, frame).read_text()
        parts.append(text[: 2 * len(text) // 3 if k == 1 else None])
    path.write_text("".join(parts))
    found = outcome(path)
    # What a restarted writer adds begins in the middle of a line: that frame may be lost with it.
    statuses = [row["status"] for row in found.rows]
    assert statuses[0] == "CorruptFrameError"
    assert statuses[-1] == "ok"
    return found


@case("a cell in a form that is not read")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    if form == "GSD":
        return Outcome(said=["–"])
    if form == "dump":
        return outcome(_without_flags(write(path, form, Frame(p))))
    side = Frame(p).side
    found = set()
    for k, comment in enumerate(
        (f"step:0 cell:{side},{side},1.0", f"boxlength = {side}", f"{side} {side} {side}",
         f'lattice="{side} 0 0 0 {side} 0 0 0 1"', f"L={side} t=0", 'pbc="T T T"',
         f'Lattoce="{side} 0 0 0 {side} 0 0 0 1"')
    ):  # fmt: skip
        properties = " Properties=species:S:1:pos:R:3" if form == "extended XYZ" else ""
        frame = Frame(p, names=("A", "B"), comment=comment + properties)
        each = outcome(write(path.with_stem(f"t{k}"), form, frame))
        found.add(each.word(np.nan))
        assert "cell" in str(each.rows) or "Lattice" in str(each.rows)
    assert len(found) == 1
    return each


def _without_flags(path: Path) -> Path:
    path.write_text(path.read_text().replace(" pp pp pp", ""))
    return path


@case("charges, masses, radii or bonds that play no part")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    n = p.n_particles
    radii = {"radius": [0.6] * n}
    further: dict[str, Any] = {"q": np.ones(n), "mass": np.full(n, 2.0)}
    if form == "GSD":
        further["bonds"] = [[0, 1]]
    elif form == "extended XYZ":
        further = {"charge": np.ones(n), "mass": np.full(n, 2.0)}
    found = outcome(write(path, form, Frame(p, extra={**radii, **further})))
    words = ["columns after"] if form == "XYZ" else ["radii", "charges", "masses"]
    words += ["1 bonds"] if form == "GSD" else []
    assert all(word in found.rows[0]["unused"] and word in found.said[0] for word in words)
    return found


@case("radii that are the potential's")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    if form == "XYZ":
        return Outcome(said=["–"])
    radii = 0.5 * np.asarray(SOFT.diameters)[p.typeid]
    return outcome(write(path, form, Frame(p, extra={"radius": radii.tolist()})))


@case("z of round-off in two dimensions")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    return outcome(write(path, form, Frame(p, z=1e-9)))


@case("no z")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    if form == "GSD":
        return Outcome(said=["–"])
    return outcome(write(path, form, Frame(p, wide=False)))


@case("a tilt of three boxes")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    return outcome(write(path, form, Frame(p, tilt=3)))


@case("a mark that it is not converged")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    if form != "GSD":
        return Outcome(said=["–"])
    return outcome(write(path, form, Frame(p, extra={"converged": False})))


@case("a name that does not tell the format")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    return outcome(write(path.with_name("dump.1000"), form, Frame(p)))


@case("compressed")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    write(path, form, Frame(p))
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    found = outcome(packed)
    assert "gunzip" in str(found.error)
    path.write_bytes(packed.read_bytes())  # whatever its name says
    again = outcome(path)
    assert found.word(0) == again.word(0)
    return found


@case("a pipe")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    os.mkfifo(path)
    found = outcome(path)
    assert "regular" in str(found.error)
    return found


@case("a name that is too long, or a link to itself")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    path.symlink_to(path)
    loop, long = outcome(path), outcome(path.with_stem("a" * 300))
    assert loop.word(0) == long.word(0)
    return loop


@case("a byte order mark")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    if form == "GSD":
        return Outcome(said=["–"])
    text = write(path, form, Frame(p)).read_text()
    path.write_text(text, encoding="utf-16")
    assert "iconv" in str(outcome(path).error)
    path.write_text(text, encoding="utf-8-sig")
    return outcome(path)


@case("nothing of its format")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    path.write_text("hello\n" * 20)
    return outcome(path)


@case("no bytes")
def _(path: Path, form: str, p: bridge.Packing) -> Outcome:
    path.write_text("")
    return outcome(path)


def test_the_table_and_the_cases_are_the_same() -> None:
    assert list(table()) == list(CASES)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", CASES)
def test_cell(name: str, form: str, packing: bridge.Packing, tmp_path: Path) -> None:
    found = CASES[name](tmp_path / f"t{ENDINGS[form]}", form, packing)
    of_one = "one type" in name
    rest = monodisperse(packing) if of_one else packing
    energy = float(bridge.energy(ONE if of_one else SOFT, rest))
    word = "–" if found.said == ["–"] else found.word(energy)
    assert word == table()[name][form], (found.error, found.rows, found.said)
