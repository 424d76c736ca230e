"""What an analysis keeps on disk: no crash loses or doubles a row, nothing is mended in silence."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from amorph.campaigns.errors import RecordError, RunningError
from amorph.campaigns.store.parts import Parts, parts_directory
from amorph.campaigns.store.row_files import columns_of, write_table
from amorph.handover import OutputExistsError

HEADER = {"amorph": "1", "inputs": {"a.gsd": {"size": 3, "sha256": "x"}}, "features": ["energy"]}
TOTAL = 23


def rows_of(first: int, stop: int) -> list[dict[str, Any]]:
    return [{"source": "a.gsd", "frame": k, "energy": 0.1 * k} for k in range(first, stop)]


def data_of(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class Crash(BaseException):
    pass


@contextmanager
def crash_at(call: int) -> Iterator[list[int]]:
    """Let the process "die" at the n-th time that something is brought to the disk or renamed."""
    made = [0]
    real_fsync, real_replace = os.fsync, Path.replace

    def count() -> None:
        made[0] += 1
        if made[0] == call:
            raise Crash

    def fsync(descriptor: int) -> None:
        count()
        real_fsync(descriptor)

    def replace(path: Path, target: Path) -> Path:
        count()
        return real_replace(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        patch.setattr(Path, "replace", replace)
        yield made


def finish(output: Path, chunk: int, *, resume: bool = True) -> list[int]:
    """Make the rows that are missing, the later half of the chunks first; returns those made."""
    made: list[int] = []
    with Parts(output, HEADER, resume=resume) as parts:
        tasks = list(parts.missing(TOTAL, chunk))
        for first, stop in tasks[len(tasks) // 2 :] + tasks[: len(tasks) // 2]:
            parts.add(first, stop - first, 0, data_of(rows_of(first, stop)))
            made += range(first, stop)
        write_table(parts.rows, output)
        parts.remove()
    return made


def test_a_crash_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with crash_at(0) as calls:
        finish(tmp_path / "whole.json", 5, resume=False)
    assert calls[0] > 20
    whole = (tmp_path / "whole.json").read_bytes()
    assert json.loads(whole) == {"frames": rows_of(0, TOTAL)}
    for k in range(1, calls[0] + 1):
        output = tmp_path / f"{k}.json"
        with pytest.raises(Crash), crash_at(k):
            finish(output, 5, resume=False)
        # And once more on the way back, which has other chunks.
        with pytest.raises(Crash), crash_at(2):
            finish(output, 3)
        finish(output, 4)
        assert output.read_bytes() == whole
        assert not parts_directory(output).exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [f"{k}.json" for k in range(1, calls[0] + 1)] + ["whole.json"]
    )


def begin(output: Path) -> list[Path]:
    with Parts(output, HEADER) as parts:
        for first, stop in parts.missing(TOTAL, 6):
            parts.add(first, stop - first, 0, data_of(rows_of(first, stop)))
    return sorted(parts_directory(output).glob("0*.jsonl"))


@pytest.mark.parametrize("damage", ["byte", "cut", "gone"])
def test_a_damaged_part_is_set_aside_and_made_anew(tmp_path: Path, damage: str) -> None:
    output = tmp_path / "a.json"
    victim = begin(output)[1]
    content = victim.read_bytes()
    if damage == "gone":
        victim.unlink()
    else:
        bad = content[:-9] if damage == "cut" else content.replace(b"0.8", b"0.9")
        victim.write_bytes(bad)
    with Parts(output, HEADER, resume=True) as parts:
        assert list(parts.missing(TOTAL, 100)) == [(6, 12)]
        assert "rows 6 to 11 are made anew" in parts.notes[0]
        aside = victim.with_name(f"{victim.name}.aside-1")
        assert aside.exists() == (damage != "gone")
    assert finish(output, 100) == list(range(6, 12))
    assert json.loads(output.read_text())["frames"] == rows_of(0, TOTAL)


def test_damage_found_at_the_end_is_named(tmp_path: Path) -> None:
    output = tmp_path / "a.csv"
    begin(output)
    with Parts(output, HEADER, resume=True) as parts:
        victim = parts.directory / parts.parts[2].name
        victim.write_bytes(b"\0" * victim.stat().st_size)
        with pytest.raises(RecordError, match="--resume"):
            write_table(parts.rows, output)
    assert not output.exists()


def test_a_line_of_the_manifest_cut_short_costs_its_part_alone(tmp_path: Path) -> None:
    output = tmp_path / "a.json"
    begin(output)
    manifest = parts_directory(output) / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-5])
    assert finish(output, 100) == list(range(18, TOTAL))
    assert json.loads(output.read_text())["frames"] == rows_of(0, TOTAL)


def test_other_inputs_or_options_are_refused(tmp_path: Path) -> None:
    output = tmp_path / "a.json"
    kept = [p.read_bytes() for p in begin(output)]
    with pytest.raises(OutputExistsError, match="--resume"):
        Parts(output, HEADER)
    other = {**HEADER, "inputs": {"a.gsd": {"size": 4, "sha256": "y"}}}
    with pytest.raises(RecordError, match=r"inputs\.a\.gsd\.size was 3, and is now 4"):
        Parts(output, other, resume=True)
    with pytest.raises(RecordError, match=r"features was .* and is now"):
        Parts(output, {**HEADER, "features": None}, resume=True)
    assert [p.read_bytes() for p in sorted(parts_directory(output).glob("0*"))] == kept
    (parts_directory(output) / "manifest.jsonl").write_bytes(b"\0\0\n")
    with pytest.raises(RecordError, match="--force"):
        Parts(output, HEADER, resume=True)
    with Parts(output, HEADER, discard=True) as parts:
        assert parts.n_rows == 0
        assert not list(parts.directory.glob("0*"))


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    output = tmp_path / "a.json"
    with Parts(output, HEADER), pytest.raises(RunningError, match="another process"):
        Parts(output, HEADER, resume=True)


def test_what_is_not_ours_is_never_removed(tmp_path: Path) -> None:
    output = tmp_path / "a.json"
    begin(output)
    (parts_directory(output) / "thesis.tex").write_text("dear to somebody")
    finish(output, 5)
    assert [p.name for p in parts_directory(output).iterdir()] == ["thesis.tex"]


MIXED = [
    {"source": "a", "frame": 0, "status": "ok", "n": 3, "e": 0.1, "s": [[1.0, 2.0], [3.0, 4.0]]},
    {"source": "a", "frame": 1, "status": "Failed", "message": 'at "x",\nand y'},
    {"source": "b", "frame": 0, "status": "ok", "n": 4, "e": 1e-300, "s": [[5.0, 6.0, 7.5]]},
    {"source": "b", "frame": 1, "status": "ok", "n": 4, "e": 2, "gradients": {"e": {"d": [1.5]}}},
]


@pytest.mark.parametrize("size", [1, 3, 4])
def test_tables_hold_the_rows_of_all_batches(tmp_path: Path, size: int) -> None:
    def batches() -> Iterator[list[dict[str, Any]]]:
        for k in range(0, len(MIXED), size):
            yield MIXED[k : k + size]

    for ending in ("json", "csv", "parquet"):
        write_table(batches, tmp_path / f"t.{ending}")
    assert (tmp_path / "t.json").read_text() == json.dumps({"frames": MIXED}, indent=1) + "\n"
    expected = pandas.DataFrame([columns_of(row) for row in MIXED])
    for table in (pandas.read_csv(tmp_path / "t.csv"), pandas.read_parquet(tmp_path / "t.parquet")):
        assert list(table.columns) == [
            *("source", "frame", "status", "message", "n", "e"),
            *("s_0_0", "s_0_1", "s_1_0", "s_1_1", "s_0_2", "gradients.e.d_0"),
        ]
        pandas.testing.assert_frame_equal(
            table[expected.columns].replace({None: np.nan}),
            expected.replace({None: np.nan}),
            check_dtype=False,
        )


def test_an_empty_table_is_json_too(tmp_path: Path) -> None:
    write_table(lambda: iter([]), tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text()) == {"frames": []}
