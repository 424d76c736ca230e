"""Our own files come back to the last bit, whatever the frame."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gsd.hoomd
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from amorph.handover import (
    POTENTIALS,
    CorruptFrameError,
    Frame,
    GSDWriter,
    InputError,
    checksum,
    count_frames,
    n_pairs,
    read_gsd,
    write_gsd,
)

MakeFrame = Callable[..., Frame]

# Every finite double: negative zero and denormals included.
any_double = st.floats(allow_nan=False, allow_infinity=False, width=64)
positive = st.floats(min_value=5e-324, allow_infinity=False, allow_subnormal=True)
log_dtypes = st.sampled_from(
    [np.dtype(t) for t in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "?", ">f8")]
)
log_values = st.one_of(
    hnp.arrays(log_dtypes, hnp.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=3)),
    st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=4),
)
log_keys = st.sampled_from(["seed", "energy", "gradient/diameters", "stress", "\u03c3"])


@st.composite
def boxes(draw: st.DrawFn, d: int) -> np.ndarray | None:
    if draw(st.booleans()):
        return None
    box = np.triu(draw(hnp.arrays(np.float64, (d, d), elements=any_double)), 1)
    box[np.diag_indices(d)] = draw(hnp.arrays(np.float64, d, elements=positive))
    # A box whose tilt factors overflow is refused (tested with the boxes).
    with np.errstate(over="ignore"):
        tilts = np.triu(box, 1) / np.diag(box)
        assume(np.isfinite(tilts * np.diag(box)).all())
    return box


@st.composite
def frames(draw: st.DrawFn, **fixed: Any) -> Frame:
    n = draw(st.integers(1, 6))
    d = draw(st.sampled_from([2, 3]))
    n_types = draw(st.integers(1, 5))
    names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=5)
    potential = fixed["potential"] if fixed else draw(st.sampled_from([None, *POTENTIALS]))
    parameters = {}
    for p in POTENTIALS[potential] if potential else ():
        size = n_pairs(n_types) if p.per_pair else n_types
        values = st.one_of(positive, st.sampled_from([0.0, -0.0])) if p.zero_allowed else positive
        parameters[p.name] = draw(hnp.arrays(np.float64, size, elements=values))
    box = draw(boxes(d))
    integers = hnp.arrays(np.int32, (n, d))
    bonds = None
    if n > 1:
        pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(
            lambda pair: pair[0] != pair[1]
        )
        bonds = draw(st.one_of(st.none(), st.lists(pairs, max_size=4).map(
            lambda pairs: np.array(pairs, dtype=np.int32).reshape(-1, 2))))  # fmt: skip
    log = fixed["log"] if fixed else st.dictionaries(log_keys, log_values)
    return Frame(
        positions=draw(hnp.arrays(np.float64, (n, d), elements=any_double)),
        typeid=draw(hnp.arrays(np.int32, n, elements=st.integers(0, n_types - 1))),
        types=tuple(draw(st.lists(names, min_size=n_types, max_size=n_types, unique=True))),
        box=box,
        potential=potential,
        parameters=parameters,
        images=None if box is None else draw(st.one_of(st.none(), integers)),
        bonds=bonds,
        log=draw(log),
    )


def same(a: np.ndarray | None, b: np.ndarray | None) -> None:
    """Equal in type, shape and every bit (checksums are not relied upon here)."""
    assert (a is None) == (b is None)
    if a is not None and b is not None:
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()


def assert_same(written: Frame, read: Frame) -> None:
    for name in ("positions", "typeid", "box", "images", "bonds"):
        same(getattr(written, name), getattr(read, name))
    assert (written.types, written.potential) == (read.types, read.potential)
    for name in ("parameters", "log"):
        first, second = getattr(written, name), getattr(read, name)
        assert set(first) == set(second)
        for key in first:
            same(first[key], second[key])
    assert checksum(written) == checksum(read)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(frames())
def test_any_frame(frame: Frame) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.gsd"
        assert write_gsd(path, [frame]) == 1
        (back,) = read_gsd(path, need_potential=False)
        assert_same(frame, back)
        assert (back.source, back.index) == (str(path), 0)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_frames_that_share_their_keys(data: st.DataObject) -> None:
    # Different particle numbers, dimensions, boxes, bonds and images: nothing is inherited.
    potential = data.draw(st.sampled_from([None, *POTENTIALS]))
    log = st.fixed_dictionaries({"energy": any_double, "gradient": hnp.arrays("f8", (2, 3))})
    written = data.draw(st.lists(frames(potential=potential, log=log), min_size=2, max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.gsd"
        write_gsd(path, iter(written))
        back = list(read_gsd(path, need_potential=False))
        assert len(back) == len(written)
        for i, (a, b) in enumerate(zip(written, back, strict=True)):
            assert_same(a, b)
            assert b.index == i
        (last,) = read_gsd(path, slice(-1, None), need_potential=False)
        assert_same(written[-1], last)


def test_a_triclinic_box_that_its_tilt_factors_do_not_give_back(make_frame: MakeFrame) -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(50):
        lengths, offset = rng.uniform(3, 9, 2), float(rng.uniform(-2, 2))
        found += (offset / lengths[1]) * lengths[1] != offset
    assert found  # else this test shows nothing
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        written = []
        for _ in range(50):
            lengths, offset = rng.uniform(3, 9, 2), float(rng.uniform(-2, 2))
            written.append(make_frame(box=[[lengths[0], offset], [0.0, lengths[1]]]))
        path = Path(folder) / "tilted.gsd"
        write_gsd(path, written)
        for a, b in zip(written, read_gsd(path), strict=True):
            same(a.box, b.box)


def test_equal_frames_give_equal_files(make_frame: MakeFrame, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_gsd(tmp_path / f"{name}.gsd", [make_frame(random=i) for i in range(5)])
    assert (tmp_path / "a.gsd").read_bytes() == (tmp_path / "b.gsd").read_bytes()


def test_gsd_hoomd_reads_what_we_write(make_frame: MakeFrame, tmp_path: Path) -> None:
    frames = [
        make_frame(random=0, images=np.full((7, 2), 3), bonds=[[0, 1], [1, 2]]),
        make_frame(random=1, log={"seed": 2, "energy": -2.5, "converged": False}),
    ]
    path = tmp_path / "ours.gsd"
    write_gsd(path, frames)
    with gsd.hoomd.open(path) as trajectory:
        assert trajectory.file.schema_version == (2, 0)
        first, second = trajectory
        for i, read in enumerate((first, second)):
            assert read.configuration.step == i
            assert read.configuration.dimensions == 2
            # HOOMD-blue below 7 expects float32; the exact values stand in the log.
            six, sizes = [4.1, 4.7, 0.0, 0.3 / 4.7, 0.0, 0.0], [0.8, 1.0, 0.8, 1.0, 0.8, 1.0, 0.8]
            same(read.configuration.box, np.array(six, dtype=np.float32))
            same(read.particles.position[:, :2].copy(), frames[i].positions.astype(np.float32))
            assert not read.particles.position[:, 2].any()
            same(read.particles.diameter, np.array(sizes, dtype=np.float32))
            same(read.log["amorph/positions"], frames[i].positions)
            assert read.particles.types == ["A", "B"]
            assert read.log["amorph/harmonic_morse/binding"].tolist() == [[0.1, 0.2], [0.2, 0.3]]
            assert read.log["amorph/harmonic_morse/diameters"].tolist() == [0.8, 1.0]
            assert read.log["amorph/box"].tolist() == [4.1, 4.7, 0.0, 0.3 / 4.7, 0.0, 0.0]
        assert first.particles.image.tolist() == [[3, 3, 0]] * 7
        assert not second.particles.image.any()
        assert first.bonds.group.tolist() == [[0, 1], [1, 2]]
        assert first.bonds.types == ["bond"]
        assert second.bonds.N == 0
    history = gsd.hoomd.read_log(path)
    assert history["log/amorph/energy"].tolist() == [-1.25, -2.5]
    assert history["log/amorph/converged"].tolist() == [1, 0]
    assert history["configuration/step"].tolist() == [0, 1]


# What HOOMD-blue 4.8 to 6 take, bytes a row (its GSDReader.cc): another size is refused.
ROWS_OF_HOOMD = {
    "configuration/step": 8, "configuration/dimensions": 1, "configuration/box": 4,
    "particles/N": 4, "particles/typeid": 4, "particles/diameter": 4, "particles/position": 12,
    "particles/image": 12, "bonds/N": 4, "bonds/typeid": 4, "bonds/group": 8,
}  # fmt: skip


@pytest.mark.parametrize("d", [2, 3])
def test_chunks_have_the_sizes_that_every_hoomd_expects(
    make_frame: MakeFrame, tmp_path: Path, d: int
) -> None:
    box = np.diag([4.1, 4.7, 5.3][:d])
    positions = np.random.default_rng(1).uniform(-2, 2, (7, d))
    path = tmp_path / "sizes.gsd"
    write_gsd(path, [make_frame(positions=positions, box=box, bonds=[[0, 1]])])
    with gsd.fl.open(str(path), "r") as file:
        assert file.schema_version < (2, 1)
        names = [n for n in file.find_matching_chunk_names("") if not n.startswith("log/")]
        assert set(names) == {*ROWS_OF_HOOMD, "particles/types", "bonds/types"}
        for name, size in ROWS_OF_HOOMD.items():
            chunk = file.read_chunk(frame=0, name=name)
            assert chunk.nbytes == size * len(chunk), name


def test_what_float32_cannot_hold_stays_float64(make_frame: MakeFrame, tmp_path: Path) -> None:
    path = tmp_path / "extreme.gsd"
    for scale in (1e60, 1e-60):
        frame = make_frame(
            positions=scale * make_frame().positions, box=[[4 * scale, 0], [0, 5 * scale]]
        )
        write_gsd(path, [frame], overwrite=True)
        (back,) = read_gsd(path)
        assert_same(frame, back)
        with gsd.fl.open(str(path), "r") as file:
            assert file.read_chunk(frame=0, name="configuration/box").dtype == np.float64


def test_files_with_positions_in_float64_alone_are_read(
    make_frame: MakeFrame, tmp_path: Path
) -> None:
    # As they were written before HOOMD-blue below 7 was thought of.
    frame = make_frame()
    write_gsd(tmp_path / "new.gsd", [frame])
    with (
        gsd.fl.open(str(tmp_path / "new.gsd"), "r") as new,
        gsd.fl.open(
            str(tmp_path / "old.gsd"), "w", application="a", schema="hoomd", schema_version=[2, 0]
        ) as old,
    ):
        for name in new.find_matching_chunk_names(""):
            data = new.read_chunk(frame=0, name=name)
            if name == "particles/position":
                data = np.column_stack([frame.positions, np.zeros(7)])
            if name != "log/amorph/positions":
                old.write_chunk(name, data)
        old.end_frame()
    (back,) = read_gsd(tmp_path / "old.gsd")
    assert_same(frame, back)


@pytest.mark.parametrize("name", ["particles/position", "log/amorph/positions"])
def test_positions_changed_in_one_place_only_are_refused(
    make_frame: MakeFrame, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "moved.gsd"
    write_gsd(path, [make_frame()])
    with gsd.hoomd.open(path) as trajectory:
        (moved,) = trajectory
    values = moved.particles.position if name.startswith("particles") else moved.log[name[4:]]
    values[3, 1] += 1e-6
    with gsd.hoomd.open(path, "w", precision="double") as trajectory:
        trajectory.append(moved)
    with pytest.raises(CorruptFrameError, match=r"particle 3 is at .*changed in one place only"):
        list(read_gsd(path))
    del moved.log["amorph/positions"]
    with gsd.hoomd.open(path, "w") as trajectory:
        trajectory.append(moved)
    (frame,) = read_gsd(path)
    same(frame.positions, moved.particles.position[:, :2].astype(np.float64))


def test_every_chunk_stands_in_every_frame(make_frame: MakeFrame, tmp_path: Path) -> None:
    path = tmp_path / "same.gsd"
    write_gsd(path, [make_frame()] * 3)
    with gsd.fl.open(str(path), "r") as file:
        names = file.find_matching_chunk_names("")
        assert len(names) == 20
        for i in range(3):
            assert all(file.chunk_exists(frame=i, name=name) for name in names)


def test_a_generator_is_read_and_written_frame_by_frame(
    make_frame: MakeFrame, tmp_path: Path
) -> None:
    source, target = tmp_path / "source.gsd", tmp_path / "target.gsd"
    write_gsd(source, (make_frame(random=i) for i in range(6)))
    assert write_gsd(target, read_gsd(source, slice(None, None, -2))) == 3
    assert count_frames(target) == 3
    expected = [checksum(make_frame(random=i)) for i in (5, 3, 1)]
    assert [checksum(frame) for frame in read_gsd(target)] == expected


def test_shards_are_appended_to(make_frame: MakeFrame, tmp_path: Path) -> None:
    path, whole = tmp_path / "shard.gsd", tmp_path / "whole.gsd"
    with GSDWriter(path, mode="append") as writer:
        writer.append(make_frame(random=0))
        assert count_frames(path) == 0  # not yet flushed
        writer.flush()
        assert count_frames(path) == writer.n_frames == 1
        writer.append(make_frame(random=1))
        assert writer.n_frames == 2
    with GSDWriter(path, mode="append") as writer:
        assert writer.n_frames == 2
        with pytest.raises(InputError, match=r"missing \['log/amorph/converged'.*not there before"):
            writer.append(make_frame(log={"other": 1}))
        with pytest.raises(InputError, match="same potential"):
            writer.append(make_frame(potential=None, parameters={}))
        writer.append(make_frame(random=2))
    write_gsd(whole, [make_frame(random=i) for i in range(3)])
    sums = [[checksum(f) for f in read_gsd(p)] for p in (path, whole)]
    assert sums[0] == sums[1]
    with gsd.hoomd.open(path) as trajectory:
        assert [frame.configuration.step for frame in trajectory] == [0, 1, 2]
