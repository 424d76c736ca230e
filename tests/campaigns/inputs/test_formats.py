"""Trajectories of others: the same packings, whatever file they come in."""

import json
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path

import ase
import ase.io
import gsd.hoomd
import numpy as np
import pytest
from numpy.typing import NDArray

from amorph import bridge, ensemble
from amorph.campaigns import cli
from amorph.campaigns.errors import CampaignFileError, TrajectoryError
from amorph.campaigns.inputs import files
from amorph.campaigns.inputs.formats import find_source, read_trajectory
from amorph.campaigns.studies.analyze.rows import analyze, default_features
from amorph.handover import (
    CorruptFrameError,
    EmptyFileError,
    FileMissingError,
    FrameError,
    InputError,
    PotentialMissingError,
    UnknownTypeError,
    box_to_hoomd,
)

SOFT = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)
POTENTIAL = """
[potential]
kind = "soft_sphere"
diameters = [1.0, 1.4]
stiffness = 1.0
"""
Floats = NDArray[np.float64]
TILTED = np.array([[1.0, 0.3], [0.0, 1.0]])
TRICLINIC = np.array([[1.0, 0.3, -0.2], [0.0, 1.0, 0.1], [0.0, 0.0, 1.0]])


def packings(dimension: int, n: int, density: float, box: Floats) -> list[bridge.Packing]:
    """Random packings in a box of a shape."""
    start = ensemble.make_start(SOFT, n, density, dimension, 3, 7)
    assert start.boxes is not None
    side = start.boxes[0][0, 0]
    out = []
    for k in range(3):
        x = (start.positions[k] / side) @ (side * box).T
        out.append(bridge.Packing.of(x, start.typeid, side * box).wrapped())
    return out


CASES = {
    "square": packings(2, 40, 1.0, np.eye(2)),
    "tilted": packings(2, 40, 1.0, TILTED),
    "cube": packings(3, 60, 0.8, np.eye(3)),
    "triclinic": packings(3, 60, 0.8, TRICLINIC),
}


def three(x: Floats, z: float = 0.0) -> Floats:
    return x if x.shape[1] == 3 else np.column_stack([x, np.full(len(x), z)])


def cell_of(box: Floats) -> Floats:
    """Rows are vectors, the third of length 1 in two dimensions."""
    cell = np.eye(3)
    cell[: len(box), : len(box)] = box.T
    return cell


def write_dump(path: Path, frames: Sequence[bridge.Packing], *, columns: str = "x y z") -> None:
    """As LAMMPS's ``dump custom`` writes, particles in any order."""
    shuffle = np.random.default_rng(1)
    with path.open("w") as file:
        for k, packing in enumerate(frames):
            assert packing.box is not None
            cell = cell_of(packing.box)
            x = three(packing.positions)
            if columns.startswith("xs"):
                x = x @ np.linalg.inv(cell) + 0.5
            (lx, _, _), (xy, ly, _), (xz, yz, lz) = cell.tolist()
            low = -0.5 * cell.sum(axis=0)
            x0, y0, z0 = low.tolist()
            bounds = [
                (x0 + min(0, xy, xz, xy + xz), x0 + lx + max(0, xy, xz, xy + xz), xy),
                (y0 + min(0, yz), y0 + ly + max(0, yz), xz),
                (z0, z0 + lz, yz),
            ]
            tilt = bool(xy or xz or yz)
            file.write(f"ITEM: UNITS\nlj\nITEM: TIMESTEP\n{100 * k}\nITEM: NUMBER OF ATOMS\n")
            file.write(f"{len(x)}\nITEM: BOX BOUNDS {'xy xz yz ' if tilt else ''}pp pp pp\n")
            for a, b, t in bounds:
                file.write(f"{a!r} {b!r} {t!r}\n" if tilt else f"{a!r} {b!r}\n")
            file.write(f"ITEM: ATOMS id type {columns}\n")
            for i in shuffle.permutation(len(x)):
                place = " ".join(repr(v) for v in x[i].tolist())
                file.write(f"{i + 1} {packing.typeid[i] + 1} {place}\n")


def write_extxyz(
    path: Path,
    frames: Sequence[bridge.Packing],
    *,
    names: Sequence[str] = ("A", "B"),
    turn: Floats | None = None,
    pbc: str = "T T T",
) -> None:
    """As OVITO writes, the system turned by a rotation if there is one."""
    turn = np.eye(3) if turn is None else turn
    with path.open("w") as file:
        for packing in frames:
            x = three(packing.positions, z=0.25) @ turn.T
            lattice = ""
            if packing.box is not None:
                vectors = (cell_of(packing.box) @ turn.T).ravel().tolist()
                lattice = 'Lattice="' + " ".join(repr(v) for v in vectors) + '" '
            file.write(f'{len(x)}\n{lattice}Properties=species:S:1:pos:R:3 pbc="{pbc}"\n')
            for kind, place in zip(packing.typeid, x.tolist(), strict=True):
                file.write(f"{names[kind]} " + " ".join(repr(v) for v in place) + "\n")


def write_hoomd(path: Path, frames: Sequence[bridge.Packing]) -> None:
    """As HOOMD-blue writes: float32, and no potential."""
    with gsd.hoomd.open(path, "w") as file:
        for packing in frames:
            frame = gsd.hoomd.Frame()
            frame.particles.N = packing.n_particles
            frame.particles.types = ["A", "B"]
            frame.particles.typeid = packing.typeid
            frame.particles.position = three(packing.positions).astype(np.float32)
            frame.configuration.box = box_to_hoomd(packing.box).astype(np.float32)
            frame.configuration.dimensions = packing.dimension
            file.append(frame)


WRITERS: dict[str, Callable[[Path, Sequence[bridge.Packing]], None]] = {
    "t.lammpstrj": write_dump,
    "t.dump": lambda path, frames: write_dump(path, frames, columns="xs ys zs"),
    "t.extxyz": write_extxyz,
    "t.gsd": write_hoomd,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", WRITERS)
def test_packings_come_back_from_every_format(name: str, case: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, CASES[case])
    found = list(read_trajectory(tmp_path / name, theta=SOFT))
    assert len(found) == 3
    exact = name in ("t.lammpstrj", "t.extxyz")
    for packing, (theta, read) in zip(CASES[case], found, strict=True):
        assert theta is SOFT
        assert read.box is not None
        assert packing.box is not None
        np.testing.assert_array_equal(read.typeid, packing.typeid)
        np.testing.assert_allclose(read.box, packing.box, rtol=3e-7, atol=1e-12)
        difference = np.linalg.solve(packing.box, (read.positions - packing.positions).T)
        if exact:
            np.testing.assert_allclose(difference, 0, atol=1e-14)
        else:
            # Scaled coordinates start at the box's corner: the same up to a translation.
            difference -= difference[:, :1]
            np.testing.assert_allclose(difference - np.rint(difference), 0, atol=1e-6)
    (_, last), *_ = read_trajectory(tmp_path / name, slice(-1, None), theta=SOFT)
    np.testing.assert_array_equal(last.positions, found[2][1].positions)


def test_rows_are_those_of_the_gsd_file(tmp_path: Path) -> None:
    """Through ``amorph analyze``, float32 and tilted boxes included: the same minima."""
    (tmp_path / "p.toml").write_text(POTENTIAL)
    square = [bridge.relax(SOFT, p) for p in CASES["square"]]
    tilted = [bridge.relax(SOFT, p) for p in CASES["tilted"]]
    bridge.write_gsd(tmp_path / "own.gsd", [(SOFT, p) for p in (*square, *tilted)])
    write_hoomd(tmp_path / "hoomd.gsd", square + tilted)
    write_dump(tmp_path / "t.lammpstrj", square + tilted)
    write_extxyz(tmp_path / "t.extxyz", square + tilted)
    names = ["own.gsd", "hoomd.gsd", "t.lammpstrj", "t.extxyz"]
    command = ["analyze", *(str(tmp_path / name) for name in names)]
    command += ["-o", str(tmp_path / "a.json"), "--potential", str(tmp_path / "p.toml")]
    command += ["--features", "pressure,stress", "--workers", "1"]
    with pytest.raises(SystemExit) as caught:
        cli.main(command)
    assert caught.value.code == 0
    rows = json.loads((tmp_path / "a.json").read_text())["frames"]
    own = rows[:6]
    for k, row in enumerate(rows):
        assert (row["source"], row["frame"]) == (str(tmp_path / names[k // 6]), k % 6)
        assert row["status"] == "ok"
        assert row["moved"] < (1e-4 if names[k // 6] == "hoomd.gsd" else 1e-10)
        tolerance = 1e-5 if names[k // 6] == "hoomd.gsd" else 1e-9
        assert row["pressure"] == pytest.approx(own[k % 6]["pressure"], rel=tolerance)
        np.testing.assert_allclose(
            row["stress"], own[k % 6]["stress"], rtol=10 * tolerance, atol=1e-6
        )


def test_a_turned_cell_is_turned_back_and_said(tmp_path: Path) -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    write_extxyz(tmp_path / "t.xyz", CASES["triclinic"], turn=turn)
    with pytest.warns(UserWarning, match="rotated so that its first cell vector lies along x"):
        found = list(read_trajectory(tmp_path / "t.xyz", theta=SOFT))
    for packing, (_, read) in zip(CASES["triclinic"], found, strict=True):
        np.testing.assert_allclose(read.box, packing.box, atol=1e-13)
        np.testing.assert_allclose(read.positions - packing.positions, 0, atol=1e-12)
        assert read.box is not None
        assert not np.tril(read.box, -1).any()
    # In two dimensions a turn in the plane.
    angle = np.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    write_extxyz(tmp_path / "flat.xyz", CASES["tilted"], turn=angle, pbc="T T F")
    with pytest.warns(UserWarning, match="rotated"):
        row = next(analyze([tmp_path / "flat.xyz"], features=["energy"], theta=SOFT))
    assert row["rotated"] is True
    assert row["dimension"] == 2


def test_clusters_and_what_ase_writes_itself(tmp_path: Path) -> None:
    morse = bridge.HarmonicMorse(diameters=[1.0], binding=1.0, stiffness=50.0, alpha=3.0)
    corners = np.array([[0, 0, 0], [1, 0, 0], [0.5, 0.8, 0], [0.5, 0.3, 0.8]])
    ase.io.write(tmp_path / "c.xyz", [ase.Atoms("Ar4", corners)] * 2, format="extxyz")
    (tmp_path / "plain.xyz").write_text("3\na comment\nA 0 0 5\nA 1 0 5\nA 0.5 0.8 5\n")
    for name, d in (("c.xyz", 3), ("plain.xyz", 2)):
        _, packing = next(read_trajectory(tmp_path / name, theta=morse))
        assert packing.box is None
        assert packing.dimension == d
        np.testing.assert_array_equal(packing.positions, corners[: 5 - (d == 2) * 2 - (d == 3), :d])
    assert {"energy", "psi_8"} <= set(default_features(packing))
    assert "pressure" not in default_features(packing)
    row = next(analyze([tmp_path / "plain.xyz"], features=["energy"], theta=morse))
    assert row["energy"] == pytest.approx(-3.0)
    with pytest.raises(bridge.errors.FeatureError, match=r"plain\.xyz, frame 0.*volume"):
        next(analyze([tmp_path / "plain.xyz"], features=["pressure"], theta=morse))


def write_species(path: Path, names: str, pbc: str = "T T T") -> Path:
    lines = [f"{name} {k % 3} {k // 3} {k % 2}" for k, name in enumerate(names)]
    head = f'Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 pbc="{pbc}"'
    path.write_text(f"{len(names)}\n{head}\n" + "\n".join(lines) + "\n")
    return path


def test_types_are_taken_by_name(tmp_path: Path) -> None:
    def kinds(path: Path, types: Sequence[str] | None = None) -> list[int]:
        return next(read_trajectory(path, theta=SOFT, types=types))[1].typeid.tolist()

    path = write_species(tmp_path / "t.xyz", "BABB")
    assert kinds(path) == [1, 0, 1, 1]
    assert kinds(path, ["B", "A"]) == [0, 1, 0, 0]
    with pytest.raises(UnknownTypeError, match=r"'B', but the types are A, C.*types = "):
        kinds(path, ["A", "C"])
    alone = write_species(tmp_path / "alone.xyz", "BBB")
    with pytest.raises(UnknownTypeError, match=r"types are B, and .* for 2: .*types = \[\.\.\.\]"):
        kinds(alone)
    with pytest.warns(UserWarning, match="no particle is of the potential's type 1 "):
        assert kinds(alone, ["A", "B"]) == [1, 1, 1]
    write_hoomd(tmp_path / "t.gsd", CASES["square"])
    swapped = kinds(tmp_path / "t.gsd", ["B", "A"])
    assert swapped == (1 - CASES["square"][0].typeid).tolist()
    write_dump(tmp_path / "t.dump", CASES["square"])
    one = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
    with pytest.raises(UnknownTypeError, match=r"of type 2, but .* types 1 to 1"):
        next(read_trajectory(tmp_path / "t.dump", theta=one))


def test_types_in_the_potential_table(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(POTENTIAL + 'types = ["big", "small"]\n')
    theta, types = files.load_named_potential(tmp_path / "p.toml")
    assert types == ("big", "small")
    assert theta.n_types == 2
    for wrong in ('["A"]', '["A", "A"]'):
        (tmp_path / "p.toml").write_text(POTENTIAL + f"types = {wrong}\n")
        with pytest.raises(CampaignFileError, match="types"):
            files.load_named_potential(tmp_path / "p.toml")


@pytest.fixture(scope="module")
def at_rest() -> list[bridge.Packing]:
    return [bridge.relax(SOFT, p) for p in CASES["square"]]


def test_a_frame_cut_short_is_a_row_that_says_so(
    at_rest: list[bridge.Packing], tmp_path: Path
) -> None:
    for name, write in (("t.dump", write_dump), ("t.xyz", write_extxyz)):
        path = tmp_path / name
        write(path, at_rest)
        text = path.read_text()
        path.write_text(text[: text.rindex("\n", 0, -200) + 1])
        said: list[str] = []
        rows = list(analyze([path], features=["energy"], theta=SOFT, on_error=said.append))
        assert [row["status"] for row in rows[1:]] == ["ok", "CorruptFrameError"]
        assert f"{name}, frame 2" in said[-1]


@pytest.mark.parametrize("bad", [0, 1])
def test_a_frame_that_is_not_finite_is_a_row_that_says_so(
    bad: int, at_rest: list[bridge.Packing], tmp_path: Path
) -> None:
    broken = list(at_rest)
    broken[bad] = copy(broken[bad])  # no packing can be made of such positions
    object.__setattr__(broken[bad], "positions", np.full((40, 2), np.nan))
    write_hoomd(tmp_path / "t.gsd", broken)
    said: list[str] = []
    path = tmp_path / "t.gsd"
    rows = list(analyze([path], features=["energy"], theta=SOFT, on_error=said.append))
    assert [row["status"] == "ok" for row in rows] == [k != bad for k in range(3)]
    assert rows[bad]["status"] == "CorruptFrameError"
    assert f"frame {bad}" in said[0]


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ("8.43 8.43", True),
        ("Lx 8.43 Ly 8.43", True),
        ("side 8.43", True),
        ("step 3, 8.4e0", True),
        ("frame 12", False),
        ("i = 3, time = 0.5, E = -12.25", False),
        ("energy=-3.5 step=100", False),
        ("", False),
    ],
)
def test_numbers_in_a_comment_that_may_be_a_cell_are_told(
    comment: str, said: bool, tmp_path: Path
) -> None:
    (tmp_path / "t.xyz").write_text(f"2\n{comment}\nA 0 0 0\nA 0.9 0 0\n")
    theta = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
    if said:
        with pytest.warns(UserWarning, match="which may be a cell"):
            ((_, packing),) = read_trajectory(tmp_path / "t.xyz", theta=theta)
    else:
        ((_, packing),) = read_trajectory(tmp_path / "t.xyz", theta=theta)
    assert packing.box is None


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    def refused(path: Path, error: type[FrameError], match: str) -> None:
        with pytest.raises(error, match=match):
            next(read_trajectory(path, theta=SOFT))

    mixed = write_species(tmp_path / "mixed.xyz", "ABAB", pbc="T T F")
    refused(mixed, CorruptFrameError, r"mixed\.xyz, frame 0.*pbc T T F")
    left = tmp_path / "left.xyz"
    text = mixed.read_text().replace("T T F", "T T T")
    left.write_text(text.replace("9 0 0 0 9 0 0 0 9", "0 9 0 9 0 0 0 0 9"))
    refused(left, CorruptFrameError, "right-handed.*swap two")
    refused(tmp_path / "no.xyz", FileMissingError, "no such file")
    (tmp_path / "empty.dump").write_text("")
    refused(tmp_path / "empty.dump", EmptyFileError, "no frames")
    (tmp_path / "text.dump").write_text("hello\n")
    refused(tmp_path / "text.dump", TrajectoryError, "no LAMMPS dump")
    (tmp_path / "text.xyz").write_text("hello\n")
    refused(tmp_path / "text.xyz", TrajectoryError, "no XYZ file")
    good = write_species(tmp_path / "good.xyz", "ABAB")
    with pytest.raises(PotentialMissingError, match="--potential"):
        next(analyze([good], features=["energy"]))
    with pytest.raises(InputError, match="frames 5:9 selects none"):
        read_trajectory(good, slice(5, 9), theta=SOFT)


def test_frames_of_a_dump_are_found_across_blocks(tmp_path: Path) -> None:
    """Blocks of 4 MB: words that lie across two of them are found, and found once."""
    frame = "ITEM: TIMESTEP\n0\n" + "x" * 1000 + "\n"
    path = tmp_path / "long.dump"
    n = 3 * (1 << 22) // len(frame)
    path.write_text(frame * n)
    source = find_source(path)
    assert source.n_frames == n
    assert source.begins is not None
    assert set(np.diff(source.begins)) == {len(frame)}
