"""Ensembles that go to a file while they are computed: order, appending, kills, full disks."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import ensemble
from amorph.handover import InputError, OutputExistsError, count_frames, read_gsd

N = 16


def soft() -> Any:
    from amorph.ensemble.starts import FrameParameters

    return FrameParameters(
        "soft_sphere", {"diameters": np.array([1.0, 1.4]), "stiffness": np.ones(3)}
    )


def maker(calls: list[tuple[int, int]] | None = None, **changes: Any) -> Any:
    arguments = {"n_particles": N, "density": 0.75, "dimension": 2, "seed": 7, "threads": 1}

    def make(first: int, count: int, progress: Any) -> ensemble.Ensemble:
        if calls is not None:
            calls.append((first, count))
        return ensemble.quench(
            soft(),
            replicas=count,
            first_replica=first,
            progress=progress,
            **{**arguments, **changes},
        )

    return make


def frames_of(path: Path) -> list[tuple[int, bytes, float]]:
    return [
        (int(f.log["replica"][0]), f.positions.tobytes(), float(f.log["energy"][0]))
        for f in read_gsd(path)
    ]


def test_frames_stand_in_order_however_the_work_was_divided(tmp_path: Path) -> None:
    whole = ensemble.quench(soft(), N, 0.75, 2, 40, seed=7)
    whole.write(tmp_path / "whole.gsd")
    seen: list[int] = []
    for batch in (1, 7, 40, None):
        calls: list[tuple[int, int]] = []
        path = tmp_path / f"{batch}.gsd"
        done: list[int] = []
        result = ensemble.stream_to_gsd(
            path,
            maker(calls),
            40,
            batch=batch,
            each=lambda b: seen.extend(b.replica.tolist()),
            progress=lambda n, total, done=done: done.append(n),  # type: ignore[misc]
        )
        assert (result.computed, result.written, result.found, result.ok) == (40, 40, 0, 40)
        assert result.energy_per_particle == pytest.approx(whole.energy.mean() / N, rel=1e-12)
        assert result.pressure == pytest.approx(whole.pressure.mean(), rel=1e-12)
        assert frames_of(path) == frames_of(tmp_path / "whole.gsd")
        assert done[-1] == 40
        assert done == sorted(done)
        if batch:
            assert calls == [(k, min(batch, 40 - k)) for k in range(0, 40, batch)]
    assert seen == list(range(40)) * 4


def test_append_goes_on_after_the_last_replica(tmp_path: Path) -> None:
    once, twice = tmp_path / "once.gsd", tmp_path / "twice.gsd"
    ensemble.stream_to_gsd(once, maker(), 25, batch=10)
    ensemble.stream_to_gsd(twice, maker(), 11, batch=10)
    calls: list[tuple[int, int]] = []
    result = ensemble.stream_to_gsd(twice, maker(calls), 25, append=True, batch=10)
    assert (result.found, result.computed, result.written) == (11, 14, 14)
    assert calls == [(11, 10), (21, 4)]
    assert frames_of(once) == frames_of(twice)
    # Nothing is left to do: nothing is done.
    calls.clear()
    result = ensemble.stream_to_gsd(twice, maker(calls), 25, append=True)
    assert (result.found, result.computed, calls) == (25, 0, [])
    # And append to nothing begins.
    ensemble.stream_to_gsd(tmp_path / "new.gsd", maker(), 3, append=True)
    assert count_frames(tmp_path / "new.gsd") == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 8}, "seed is 7, that of the new replicas 8"),
        ({"n_particles": 18}, "number of particles is 16"),
        ({"tolerance": 1e-9}, "tolerance is 1e-10"),
    ],
)
def test_another_ensemble_is_not_mixed_in(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.gsd"
    ensemble.stream_to_gsd(path, maker(), 5)
    before = path.read_bytes()
    with pytest.raises(InputError, match=message):
        ensemble.stream_to_gsd(path, maker(**changes), 10, append=True)
    assert path.read_bytes() == before


def test_what_exists_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.gsd"
    ensemble.stream_to_gsd(path, maker(), 2)
    with pytest.raises(OutputExistsError, match="append"):
        ensemble.stream_to_gsd(path, maker(), 2)
    with pytest.raises(InputError, match="ends with replica 1"):
        ensemble.stream_to_gsd(path, maker(), 5, first_replica=4, append=True)


def test_an_error_in_a_later_batch_keeps_the_earlier_ones(tmp_path: Path) -> None:
    make = maker()

    def failing(first: int, count: int, progress: Any) -> ensemble.Ensemble:
        if first >= 20:
            raise RuntimeError("no more")
        return make(first, count, progress)  # type: ignore[no-any-return]

    path = tmp_path / "a.gsd"
    with pytest.raises(RuntimeError, match="no more"):
        ensemble.stream_to_gsd(path, failing, 40, batch=10)
    assert [f[0] for f in frames_of(path)] == list(range(20))


SCRIPT = """
import resource, sys
import numpy as np
from amorph import ensemble
from amorph.ensemble.starts import FrameParameters

path, limit, replicas = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if limit:
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
soft = FrameParameters("soft_sphere", {"diameters": np.array([1.0, 1.4]), "stiffness": np.ones(3)})
def make(first, count, progress):
    return ensemble.quench(soft, 16, 0.75, 2, count, 7, first_replica=first, threads=1,
                           progress=progress)
ensemble.stream_to_gsd(path, make, replicas, batch=50)
"""


def start(path: Path, limit: int, replicas: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(path), str(limit), str(replicas)],
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_run_is_whole_up_to_a_frame_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "killed.gsd"
    process = start(path, 0, 100_000)
    deadline = time.monotonic() + 60
    while not (path.exists() and path.stat().st_size > 300_000):
        assert time.monotonic() < deadline, "nothing was written"
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    found = frames_of(path)
    assert len(found) >= 50
    assert [f[0] for f in found] == list(range(len(found)))
    total = len(found) + 37
    ensemble.stream_to_gsd(path, maker(), total, append=True)
    ensemble.stream_to_gsd(tmp_path / "undisturbed.gsd", maker(), total)
    assert frames_of(path) == frames_of(tmp_path / "undisturbed.gsd")


@pytest.mark.skipif(sys.platform != "linux", reason="limits a file's size as Linux does")
def test_a_full_disk_is_named_and_leaves_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "full.gsd"
    process = start(path, 400_000, 5_000)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "OutputError" in errors
    assert str(path) in errors
    found = frames_of(path)
    assert len(found) >= 50
    assert [f[0] for f in found] == list(range(len(found)))
