"""``amorph analyze`` over many frames: in parallel, killed, resumed, to the bit."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import amorph.campaigns
from amorph import bridge, ensemble
from amorph.campaigns import cli
from amorph.campaigns.errors import RecordError, WorkerError
from amorph.campaigns.store.parts import parts_directory
from amorph.campaigns.studies.analyze import running as analyzing
from amorph.campaigns.studies.analyze.rows import analyze
from amorph.handover import InputError, OutputExistsError

SOFT = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
N_FRAMES = 150
LOOSE = 77  # a frame that cannot be measured
FEATURES = ["pressure", "energy"]
ROWS_PER_CHUNK = 10


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyzing, "PARTICLES_PER_CHUNK", 40 * ROWS_PER_CHUNK)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("analyze")


@pytest.fixture(scope="module")
def trajectory(folder: Path) -> Path:
    """Frames that differ: shaken minima, and one below jamming."""
    held = ensemble.quench(SOFT, 40, 1.3, 2, 10, 1)
    shake = np.random.default_rng(3)
    packings = []
    for k in range(N_FRAMES):
        moved = held.positions[k % 10] + shake.normal(scale=1e-3, size=(40, 2))
        packings.append(bridge.Packing.of(moved, held.typeid, held.boxes[0]))
    packings[LOOSE] = bridge.Packing.of([[0.0, 0.0], [2.0, 1.0]], [0, 0], np.eye(2) * 6.0)
    bridge.write_gsd(folder / "q.gsd", [(SOFT, p) for p in packings])
    return folder / "q.gsd"


@pytest.fixture(scope="module")
def undisturbed(folder: Path, trajectory: Path) -> bytes:
    """The table of a run in this process that nothing disturbs."""
    out = folder / "undisturbed.json"
    done = analyzing.analyze_to_file([trajectory], out, features=FEATURES, workers=1)
    assert (done.rows, done.failed, done.found) == (N_FRAMES, 1, 0)
    assert f"frame {LOOSE}: no particle is held" in done.failures[0]
    return out.read_bytes()


def goes_on(trajectory: Path, out: Path, **more: Any) -> analyzing.Analyzed:
    return analyzing.analyze_to_file(
        [trajectory], out, features=FEATURES, workers=1, resume=True, **more
    )


def test_each_frame_has_its_row_in_order(trajectory: Path, undisturbed: bytes) -> None:
    rows = json.loads(undisturbed)["frames"]
    assert [row["frame"] for row in rows] == list(range(N_FRAMES))
    assert [k for k, row in enumerate(rows) if row["status"] != "ok"] == [LOOSE]
    assert rows[LOOSE]["status"] == "SingularHessianError"
    assert "below jamming" in rows[LOOSE]["message"]
    assert "pressure" not in rows[LOOSE]
    assert rows[0]["pressure"] != rows[10]["pressure"]  # minima are the same, bits are not
    assert rows[0]["pressure"] == pytest.approx(rows[10]["pressure"], rel=1e-9)
    alone = list(analyze([trajectory], features=FEATURES, frames=slice(-3, None)))
    assert alone == rows[-3:]
    with pytest.raises(bridge.errors.SingularHessianError):
        list(analyze([trajectory], features=["energy"], frames=slice(LOOSE, LOOSE + 1)))


def test_a_worker_that_dies_is_named_and_another_run_ends_as_if_none_had(
    trajectory: Path, undisturbed: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "t.json"
    killed: list[int] = []

    def kill_one(done: int, total: int) -> None:
        if done >= 3 * ROWS_PER_CHUNK and not killed:
            workers = [p for p in multiprocessing.active_children() if p.name == "amorph-worker"]
            assert len(workers) == 2
            assert workers[0].pid is not None
            killed.append(workers[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(WorkerError, match=r"SIGKILL.*q\.gsd, frames \d+ to \d+.*--resume"):
        analyzing.analyze_to_file(
            [trajectory], out, features=FEATURES, workers=2, progress=kill_one
        )
    assert not [p for p in multiprocessing.active_children() if p.name == "amorph-worker"]
    assert not out.exists()
    done = goes_on(trajectory, out)
    assert done.found >= 3 * ROWS_PER_CHUNK  # by workers; the others in this process
    assert out.read_bytes() == undisturbed
    assert not parts_directory(out).exists()


# In a process of its own, with small chunks; imported here, JAX has as many threads as there.
DRIVER = f"""
from amorph.campaigns import cli
from amorph.campaigns.studies.analyze import running as analyzing
if __name__ == "__main__":
    analyzing.PARTICLES_PER_CHUNK = {40 * ROWS_PER_CHUNK}
    cli.main()
"""


def finished_parts(out: Path) -> int:
    """Those that the manifest knows of; its first line is about the whole."""
    manifest = parts_directory(out) / "manifest.jsonl"
    try:
        return max(0, manifest.read_bytes().count(b"\n") - 1)
    except FileNotFoundError:
        return 0


def start(trajectory: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    driver = out.with_suffix(".py")
    driver.write_text(DRIVER)
    command = [sys.executable, str(driver), "analyze", str(trajectory), "-o", str(out)]
    command += ["--features", ",".join(FEATURES), "--workers", str(workers)]
    if parts_directory(out).exists():
        command.append("--resume")
    return subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)


def wait_for_parts(process: subprocess.Popen[bytes], out: Path, number: int) -> None:
    deadline = time.monotonic() + 120
    while finished_parts(out) < number:
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def end_of(process: subprocess.Popen[bytes], signal_: signal.Signals) -> str:
    """Send a signal to the process, or Ctrl-C to all of its terminal; what it said at its end."""
    if signal_ == signal.SIGINT:
        os.killpg(process.pid, signal_)
    else:
        process.send_signal(signal_)
    said = process.communicate(timeout=60)[1].decode()
    deadline = time.monotonic() + 60
    while True:  # the workers end with their parent
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return said
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def test_interrupted_and_killed_it_goes_on(
    trajectory: Path, undisturbed: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "t.json"
    process = start(trajectory, out, workers=2)
    wait_for_parts(process, out, 2)
    said = end_of(process, signal.SIGINT)
    assert process.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    kept = finished_parts(out)
    assert kept >= 2
    with pytest.raises(OutputExistsError, match="--resume"):
        analyzing.analyze_to_file([trajectory], out, features=FEATURES)
    with pytest.raises(RecordError, match="gradients"):
        goes_on(trajectory, out, gradients=["pressure"])
    assert finished_parts(out) == kept
    done = goes_on(trajectory, out)
    assert done.found >= 2 * ROWS_PER_CHUNK
    assert out.read_bytes() == undisturbed
    with pytest.raises(OutputExistsError, match="it is whole"):
        goes_on(trajectory, out)


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_each_frame_is_there_once(
    trajectory: Path, undisturbed: bytes, tmp_path: Path, kills: int
) -> None:
    out = tmp_path / "t.json"
    chance = random.Random(kills)
    for k in range(kills):
        # A resumed run may have less to do than chunks are left: then it is killed at any time.
        process = start(trajectory, out, workers=1 + k % 2)
        deadline = time.monotonic() + chance.uniform(0, 20)
        target = finished_parts(out) + 1
        while finished_parts(out) < target and process.poll() is None:
            if k and time.monotonic() > deadline:
                break
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.05))
        end_of(process, signal.SIGKILL)
        if out.exists():
            assert out.read_bytes() == undisturbed
            out.unlink()
    goes_on(trajectory, out)
    assert out.read_bytes() == undisturbed
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_an_input_that_changes_is_refused(trajectory: Path, tmp_path: Path) -> None:
    copy = tmp_path / "q.gsd"
    copy.write_bytes(trajectory.read_bytes())
    out = tmp_path / "t.csv"
    chosen = {"features": ["energy"], "workers": 1, "frames": slice(0, 12)}

    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyzing.analyze_to_file([copy], out, progress=stop, **chosen)  # type: ignore[arg-type]
    copy.write_bytes(copy.read_bytes()[:-1] + b"\1")
    with pytest.raises(RecordError, match=r"q\.gsd\.sha256 was"):
        analyzing.analyze_to_file([copy], out, resume=True, **chosen)  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="changed while"):
        analyzing.analyze_to_file(
            [copy], out, overwrite=True, progress=lambda *_: os.utime(copy), **chosen
        )  # type: ignore[arg-type]
    assert not out.exists()
    analyzing.analyze_to_file([copy], out, overwrite=True, **chosen)  # type: ignore[arg-type]
    assert list(pandas.read_csv(out)["frame"]) == list(range(12))


def test_at_most_a_few_chunks_are_under_way(
    trajectory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows go to disk chunk by chunk: nothing but one chunk is ever held."""
    most = 0
    real = analyzing._Work.chunk

    def spied(self: Any, task: tuple[int, int]) -> analyzing.Chunk:
        nonlocal most
        most = max(most, task[1] - task[0])
        before = len(list(parts_directory(tmp_path / "t.csv").glob("0*.jsonl")))
        assert before * 4 == task[0]
        return real(self, task)

    monkeypatch.setattr(analyzing._Work, "chunk", spied)
    monkeypatch.setattr(analyzing, "PARTICLES_PER_CHUNK", 160)
    analyzing.analyze_to_file(
        [trajectory], tmp_path / "t.csv", features=["energy"], workers=1, frames=slice(20)
    )
    assert most == 4


def test_a_data_frame_of_files_in_two_and_three_dimensions(
    trajectory: Path, tmp_path: Path
) -> None:
    solid = ensemble.quench(SOFT, 40, 1.2, 3, 2, 1)
    solid.write(tmp_path / "solid.gsd")
    table = amorph.campaigns.analyze_table(
        [trajectory, tmp_path / "solid.gsd"],
        features=["pressure", "stress"],
        frames=slice(0, 2),
    )
    assert list(table["dimension"]) == [2, 2, 3, 3]
    assert list(table["frame"]) == [0, 1, 0, 1]
    flat = [f"stress_{a}_{b}" for a in range(2) for b in range(2)]
    assert table[flat].notna().all(axis=None)
    assert list(table["stress_2_2"].notna()) == [False, False, True, True]
    traces = table[["stress_0_0", "stress_1_1", "stress_2_2"]].sum(axis=1)
    np.testing.assert_allclose(table["pressure"], -traces / table["dimension"], rtol=1e-12)
    out = tmp_path / "t.parquet"
    analyzing.analyze_to_file(
        [trajectory, tmp_path / "solid.gsd"],
        out,
        features=["pressure", "stress"],
        frames=slice(0, 2),
        workers=1,
    )
    pandas.testing.assert_frame_equal(
        pandas.read_parquet(out)[table.columns], table, check_dtype=False, check_exact=True
    )


def test_what_cannot_be_is_refused_before_work(trajectory: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.json"
    for wrong in (
        {"workers": 0},
        {"frames": slice(500, 600)},
        {"resume": True, "overwrite": True},
        {"features": ["no_such"]},
        {"gradients": ["psi_8_sharp"]},
    ):
        with pytest.raises(InputError):
            analyzing.analyze_to_file([trajectory], out, **wrong)  # type: ignore[arg-type]
    with pytest.raises(SystemExit) as caught:
        cli.main(["analyze", str(trajectory), "-o", str(out), "--plot-frames", "3"])
    assert caught.value.code == 2
    assert not list(tmp_path.iterdir())


def test_all_frames_failing_is_exit_status_one(trajectory: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.json"
    command = ["analyze", str(trajectory), "-o", str(out), "--features", "energy"]
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, "--frames", str(LOOSE)])
    assert caught.value.code == 1
    (row,) = json.loads(out.read_text())["frames"]
    assert row["status"] == "SingularHessianError"
