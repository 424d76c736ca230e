"""Good files with something changed at random: nothing but named errors, and no wrong number.

A file of three frames of different packings; bytes are cut out, overwritten or doubled, fields and
lines are swapped, the end is cut off. A row that says ``ok`` must be of one of the packings, or of
what the changed file says to another reader too (gsd.hoomd, ASE), which then is a valid file.
"""

import io
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import gsd.hoomd
import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.campaigns.inputs.formats import open_source
from amorph.campaigns.studies.analyze.rows import Request, Rows, select
from amorph.handover import AmorphError

SOFT = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)
ENDINGS = ("gsd", "dump", "xyz", "extxyz")
# Of one and the same packing, relaxed again from other digits.
SAME = 1e-6


@pytest.fixture(scope="module")
def packings() -> list[bridge.Packing]:
    start = ensemble.make_start(SOFT, 16, 0.95, 2, 3, 7)
    assert start.boxes is not None
    made = [bridge.Packing.of(x, start.typeid, start.boxes[0]) for x in start.positions]
    return [bridge.relax(SOFT, p).wrapped() for p in made]


@pytest.fixture(scope="module")
def good(packings: list[bridge.Packing], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    with gsd.hoomd.open(folder / "t.gsd", "w") as file:
        for p in packings:
            frame = gsd.hoomd.Frame()
            frame.particles.N = p.n_particles
            frame.particles.types = ["A", "B"]
            frame.particles.typeid = p.typeid
            frame.particles.position = np.column_stack([p.positions, np.zeros(p.n_particles)])
            side = p.box[0, 0]
            frame.configuration.box = [side, side, 0, 0, 0, 0]
            frame.configuration.dimensions = 2
            file.append(frame)
    texts = {"dump": "", "xyz": "", "extxyz": ""}
    for k, p in enumerate(packings):
        side, n = float(p.box[0, 0]), p.n_particles
        lattice = f'Lattice="{side!r} 0 0 0 {side!r} 0 0 0 1"'
        place = [f"{x!r} {y!r} 0.0" for x, y in p.positions.tolist()]
        texts["dump"] += (
            f"ITEM: TIMESTEP\n{100 * k}\nITEM: NUMBER OF ATOMS\n{n}\nITEM: BOX BOUNDS pp pp pp\n"
            f"{-side / 2!r} {side / 2!r}\n{-side / 2!r} {side / 2!r}\n-0.5 0.5\n"
            "ITEM: ATOMS id type x y z\n"
        ) + "".join(
            f"{i + 1} {t + 1} {x}\n" for i, (t, x) in enumerate(zip(p.typeid, place, strict=True))
        )
        rows = "".join(f"{'AB'[t]} {x}\n" for t, x in zip(p.typeid, place, strict=True))
        texts["xyz"] += f"{n}\n{lattice}\n{rows}"
        texts["extxyz"] += f'{n}\n{lattice} Properties=species:S:1:pos:R:3 pbc="T T T"\n{rows}'
    for ending, text in texts.items():
        (folder / f"t.{ending}").write_text(text)
    return folder


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    at, number = rng.integers(len(data)), rng.integers(1, 40)
    return data[:at] + data[at + number :]


def overwritten(data: bytes, rng: np.random.Generator) -> bytes:
    at, number = rng.integers(len(data)), rng.integers(1, 9)
    kind = rng.integers(3)
    new = rng.integers(0, 256, number).astype(np.uint8).tobytes()
    if kind == 1:
        new = bytes(rng.choice(list(b"0123456789.-+eE \nABx"), number).tolist())
    elif kind == 2:
        new = bytes(number)
    return data[:at] + new + data[at + number :]


def doubled(data: bytes, rng: np.random.Generator) -> bytes:
    at, number = rng.integers(len(data)), rng.integers(1, 200)
    return data[: at + number] + data[at:]


def truncated(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data))]


def fields_swapped(data: bytes, rng: np.random.Generator) -> bytes:
    """Two neighbouring fields of a line; of a binary file, eight bytes and the next eight."""
    lines = data.split(b"\n")
    if len(lines) < 20 or b"\0" in data:
        at = rng.integers(len(data) - 16)
        return data[:at] + data[at + 8 : at + 16] + data[at : at + 8] + data[at + 16 :]
    k = rng.integers(len(lines))
    words = lines[k].split(b" ")
    if len(words) > 1:
        w = rng.integers(len(words) - 1)
        words[w], words[w + 1] = words[w + 1], words[w]
    lines[k] = b" ".join(words)
    return b"\n".join(lines)


def lines_swapped(data: bytes, rng: np.random.Generator) -> bytes:
    lines = data.split(b"\n")
    a, b = rng.integers(len(lines), size=2)
    lines[a], lines[b] = lines[b], lines[a]
    return b"\n".join(lines)


MUTATIONS = (cut, overwritten, doubled, truncated, fields_swapped, lines_swapped)


def others_packings(path: Path) -> list[bridge.Packing]:
    """The frames of a file as another reader has them, as long as it can read on."""
    out: list[bridge.Packing] = []
    try:
        if path.suffix == ".gsd":
            with gsd.hoomd.open(path) as file:
                for frame in file:
                    box = bridge_box(frame.configuration.box)
                    x = frame.particles.position[:, :2].astype(float)
                    out.append(bridge.Packing.of(x, frame.particles.typeid.astype(int), box))
            return out
        text = path.read_text(errors="replace")
        form = "lammps-dump-text" if path.suffix == ".dump" else "extxyz"
        for index in range(10):
            part = frame_text(text, path.suffix, index)
            if not part:
                break
            atoms = ase.io.read(io.StringIO(part), format=form, index=0)
            names = atoms.arrays.get("names")
            typeid = (
                np.array([{"A": 0, "B": 1}[n] for n in names])
                if names is not None
                else atoms.arrays["type"] - 1
            )
            d = 2 if np.ptp(atoms.positions[:, 2]) < 1e-6 else 3
            cell = atoms.cell.array.T[:d, :d]
            out.append(bridge.Packing.of(atoms.positions[:, :d], typeid, cell))
    except Exception:  # whatever a damaged file leads the other reader to
        return out
    return out


def bridge_box(six: Any) -> np.ndarray:
    lx, ly, _, xy, _, _ = map(float, six)
    return np.array([[lx, xy * ly], [0.0, ly]])


def frame_text(text: str, suffix: str, index: int) -> str:
    if suffix == ".dump":
        parts = text.split("ITEM: TIMESTEP")
        return "ITEM: TIMESTEP" + parts[index + 1] if index + 1 < len(parts) else ""
    lines = text.split("\n")
    at = 0
    for _ in range(index):
        if at >= len(lines) or not lines[at].strip().isdigit():
            return ""
        at += int(lines[at]) + 2
    if at >= len(lines) or not lines[at].strip().isdigit():
        return ""
    part = lines[at : at + int(lines[at]) + 2]
    part[1] = part[1].replace("species:S:1", "names:S:1")
    if "Properties" not in part[1]:
        part[1] += " Properties=names:S:1:pos:R:3"
    return "\n".join(part) + "\n"


def tried(path: Path, energies: list[float]) -> Counter[str]:
    """Count what `amorph analyze` makes of a changed file; fails on anything wrong."""
    out: Counter[str] = Counter()
    request = Request.of(["energy"], theta=SOFT)
    try:
        selection = select([path], None, request)
    except AmorphError:
        out["refused"] += 1
        return out
    rows = Rows(selection, request)
    others: list[bridge.Packing] | None = None
    try:
        for number in range(selection.n_rows):
            row, error = rows.row(number)
            if error is not None:
                out["row with an error"] += 1
                continue
            if row["status"] != "ok":
                out[row["status"]] += 1
                continue
            if any(abs(row["energy"] - e) <= SAME * abs(e) for e in energies):
                out["ok, a packing of the good file"] += 1
                continue
            others = others_packings(path) if others is None else others
            reader = open_source(selection.sources[0], SOFT)
            try:
                ours = reader.read(selection.at(number)[1]).packing
            finally:
                reader.close()
            assert any(same(ours, p) for p in others), (
                f"{path}, row {number}: measured {row}, which no other reader finds there"
            )
            out["ok, a valid file of another packing"] += 1
    finally:
        rows.close()
    return out


def same(a: bridge.Packing, b: bridge.Packing) -> bool:
    """The same particles, by another reader: in the same box, in any order."""
    if a.positions.shape != b.positions.shape or (a.box is None) != (b.box is None):
        return False
    if a.box is not None and not np.allclose(a.box, b.box, rtol=1e-6):
        return False

    def listed(p: bridge.Packing) -> np.ndarray:
        x = p.positions - p.positions.mean(axis=0)
        rows = np.column_stack([p.typeid, x])
        return rows[np.lexsort(np.round(rows.T, 6))]

    return bool(np.allclose(listed(a), listed(b), atol=1e-6))


def run(good: Path, ending: str, number: int, path: Path, packings: Any) -> Counter[str]:
    data = (good / f"t.{ending}").read_bytes()
    energies = [float(bridge.energy(SOFT, p)) for p in packings]
    total: Counter[str] = Counter()
    for seed in range(number):
        rng = np.random.default_rng([ENDINGS.index(ending), seed])
        change: Callable[..., bytes] = MUTATIONS[seed % len(MUTATIONS)]
        target = path / f"{seed}.{ending}"
        target.write_bytes(change(data, rng))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what is said of a file is not at issue
            total += tried(target, energies)
        target.unlink()
    return total


@pytest.mark.parametrize("ending", ENDINGS)
def test_sixty_changed_files(
    ending: str, good: Path, packings: list[bridge.Packing], tmp_path: Path
) -> None:
    total = run(good, ending, 60, tmp_path, packings)
    assert total["ok, a packing of the good file"] > 30  # one bad frame does not spoil the others
    assert total["row with an error"] + total["refused"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_five_hundred_changed_files(
    ending: str, good: Path, packings: list[bridge.Packing], tmp_path: Path
) -> None:
    total = run(good, ending, 500, tmp_path, packings)
    print(ending, dict(total))
