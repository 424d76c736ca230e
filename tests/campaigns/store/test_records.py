"""The durable record: whatever happens to its files, what is read is what was written."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from amorph.campaigns.store import manifest, records
from amorph.campaigns.store.records import RunRecord
from amorph.handover import Frame, OutputError, checksum, count_frames, read_gsd


def frame(number: int) -> Frame:
    rng = np.random.default_rng(number)
    return Frame(
        positions=rng.uniform(-1.5, 1.5, (5, 2)),
        typeid=np.zeros(5, dtype=np.int32),
        types=("A",),
        box=np.eye(2) * 3.0,
        potential="soft_sphere",
        parameters={"diameters": np.array([1.0]), "stiffness": np.array([1.0])},
        log={"step": np.array([number]), "loss": rng.uniform(size=1)},
    )


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "FRAMES_PER_SHARD", 4)
    monkeypatch.setattr(records, "SYNC_EVERY", 0.0)


def write(directory: Path, count: int) -> None:
    with RunRecord(directory) as record:
        for k in range(record.frames, count):
            record.append(frame(k))
        record.publish()


def assert_holds(directory: Path, count: int) -> None:
    frames = list(read_gsd(directory / "run.gsd"))
    assert [checksum(f) for f in frames] == [checksum(frame(k)) for k in range(count)]


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 11])
def test_a_record_goes_on_where_it_stopped(tmp_path: Path, count: int) -> None:
    write(tmp_path, count)
    assert_holds(tmp_path, count)
    with RunRecord(tmp_path) as record:
        assert record.frames == count
        assert not record.notes
        assert record.last is not None
        assert checksum(record.last) == checksum(frame(count - 1))
    write(tmp_path, 13)
    assert_holds(tmp_path, 13)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def zero(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.find(frame(5).positions.tobytes()[:16])
    assert at > 0
    content[at : at + 40] = bytes(40)
    path.write_bytes(content)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "least"), [(cut, 4), (zero, 5), (remove, 4)], ids=["cut", "zeroed", "removed"]
)
def test_a_damaged_shard_is_set_aside_and_made_anew(
    tmp_path: Path, damage: Callable[[Path], None], least: int
) -> None:
    write(tmp_path, 11)
    damage(tmp_path / "shards" / "000001.gsd")
    with RunRecord(tmp_path) as record:
        assert record.frames == least
        assert record.notes
        assert list((tmp_path / "shards").glob("*.aside-*"))
    write(tmp_path, 11)
    assert_holds(tmp_path, 11)


def test_what_the_manifest_did_not_record_is_made_anew(tmp_path: Path) -> None:
    write(tmp_path, 7)
    manifest = tmp_path / "manifest.jsonl"
    lines = manifest.read_bytes().split(b"\n")
    manifest.write_bytes(b"\n".join(lines[:6]) + b"\n" + lines[6][:20])  # a line cut short
    with RunRecord(tmp_path) as record:
        assert record.frames == 6
        assert not record.notes
    write(tmp_path, 9)
    assert_holds(tmp_path, 9)


def test_frames_of_which_the_manifest_knows_nothing_are_kept_aside(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (tmp_path / "manifest.jsonl").unlink()
    with RunRecord(tmp_path) as record:
        assert record.frames == 0
        assert record.notes
    assert count_frames(tmp_path / "shards" / "000000.gsd.aside-1") == 3
    write(tmp_path, 9)
    assert_holds(tmp_path, 9)


def test_a_manifest_that_runs_ahead_of_its_shard_is_cut_back(tmp_path: Path) -> None:
    write(tmp_path, 6)
    with (tmp_path / "manifest.jsonl").open("ab") as file:
        file.write(json.dumps({"frame": 6, "checksum": "0" * 64}).encode() + b"\n")
    with RunRecord(tmp_path) as record:
        assert record.frames == 6
    write(tmp_path, 9)
    assert_holds(tmp_path, 9)


def test_a_kill_while_a_shard_begins_leaves_a_record_that_goes_on(tmp_path: Path) -> None:
    write(tmp_path, 4)
    (tmp_path / "shards" / "000001.gsd").write_bytes(b"")
    with RunRecord(tmp_path) as record:
        assert record.frames == 4
        assert not record.notes
    write(tmp_path, 9)
    assert_holds(tmp_path, 9)


@pytest.mark.parametrize("torn", [b'{"frame": 6, "che', b'{"frame": 6, "checksum": "00"}'])
def test_a_line_that_a_kill_cut_short_is_no_part_of_the_next(tmp_path: Path, torn: bytes) -> None:
    write(tmp_path, 6)
    with (tmp_path / "manifest.jsonl").open("ab") as file:
        file.write(torn)
    write(tmp_path, 9)
    assert_holds(tmp_path, 9)
    with RunRecord(tmp_path) as record:
        assert record.frames == 9
        assert not record.notes


def test_run_gsd_is_whole_at_any_time(tmp_path: Path) -> None:
    write(tmp_path, 5)
    with RunRecord(tmp_path) as record:
        for k in range(5, 9):
            record.append(frame(k))
            assert count_frames(tmp_path / "run.gsd") == 5
        record.publish()
    assert_holds(tmp_path, 9)


def recorded(directory: Path) -> int:
    return len((directory / "manifest.jsonl").read_bytes().splitlines())


def test_fast_steps_come_to_the_disk_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "SYNC_EVERY", 100.0)
    now = 1000.0
    monkeypatch.setattr(records.time, "monotonic", lambda: now)
    with RunRecord(tmp_path) as record:
        seen = []
        for k in range(7):
            now += 30.0
            record.append(frame(k))
            seen.append(recorded(tmp_path))
        # The first at once, a full shard at once, the seventh 90 s later, not yet.
        assert seen == [1, 1, 1, 4, 4, 4, 4]
        now += 30.0
        record.append(frame(7))
        record.append(frame(8))
        assert recorded(tmp_path) == 8
        record.publish()
        assert recorded(tmp_path) == 9
        assert_holds(tmp_path, 9)
        record.append(frame(9))
    assert recorded(tmp_path) == 10


def test_a_failed_write_is_named_and_loses_nothing_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "SYNC_EVERY", 100.0)

    def full(file: object) -> None:
        raise OSError(28, "No space left on device")

    with RunRecord(tmp_path) as record:
        for k in range(6):
            record.append(frame(k))
        monkeypatch.setattr(manifest, "flushed", full)
        with pytest.raises(OutputError, match=r"manifest\.jsonl: cannot be written: No space"):
            record.sync()
        assert record.failed
    monkeypatch.undo()
    monkeypatch.setattr(records, "FRAMES_PER_SHARD", 4)
    with RunRecord(tmp_path) as record:
        assert record.frames >= 4
    write(tmp_path, 9)
    assert_holds(tmp_path, 9)
