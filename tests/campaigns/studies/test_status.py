"""What is told of a run: before, within and after each design."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from amorph.campaigns.cli import main
from amorph.campaigns.errors import RecordError, RunningError, StoppedError
from amorph.campaigns.spread.stopping import Until
from amorph.campaigns.store.durable import held, locked
from amorph.campaigns.studies.files import parse_campaign
from amorph.campaigns.studies.running import run_campaign
from amorph.campaigns.studies.status import read_status
from amorph.handover import OutputError

CAMPAIGN = """
[potential]
kind = "harmonic_morse"
diameters = [0.8, 1.0]
binding = 0.1
stiffness = 5.0
alpha = 10.0

[preparation]
n_particles = 48
density = 1.4
seed = 6

[design]
kind = "ensemble"
packings = 2
parameters = ["diameters"]

[[objective]]
feature = "poisson_ratio"
target = 0.3

[stop]
loss = 1e-12
steps = 4

[[validation]]
packings = 40

[sweep]
"objective.0.target" = [0.3, 0.5]
"""


class After(Until):
    """Stops when it was asked so often."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def reason(self) -> str | None:
        self.left -= 1
        return "enough" if self.left < 0 else None


def test_as_a_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    campaign, run = parse_campaign(CAMPAIGN, "x"), tmp_path / "run"
    # Two steps of the first design, then some of its validation, then the second design.
    with pytest.raises(StoppedError, match=r"0\.3.*enough: go on with --resume"):
        run_campaign(campaign, CAMPAIGN, run, until=After(3))
    first, second = read_status(run)
    assert (first.status, first.done, first.total, first.own["validated"]) == ("stopped", 2, 4, 0)
    (value,) = first.own["value"]
    assert first.own["loss"] == pytest.approx((value - 0.3) ** 2)
    assert (second.status, second.done, second.own["loss"]) == ("waiting", 0, None)

    with pytest.raises(StoppedError):
        run_campaign(campaign, CAMPAIGN, run, resume=True, until=After(19))
    first, _ = read_status(run)
    assert (first.status, first.done, first.own["validated"]) == ("stopped", 4, 16)
    assert not first.ended
    kept = run / first.directory / "design.json"
    kept.write_text(kept.read_text().replace('"stopped"', '"running"'))  # as a kill leaves it
    first, _ = read_status(run)
    assert (first.status, first.ended) == ("killed", False)
    with held_elsewhere(run / first.directory):
        assert read_status(run)[0].status == "running"
    # Another machine had it last: whether its lock would be seen here cannot be known.
    lock = run / first.directory / ".lock"
    for said in ('{"machine": "another", "pid": 7}', ""):
        lock.write_text(said)
        assert read_status(run)[0].status == "running"
    old = time.time() - 3600
    for path in run.rglob("*"):
        os.utime(path, (old, old))
    assert read_status(run)[0].status == "silent"
    for name in (".run.gsd.partial-7", ".design.json.partial-7", "shards/.000000.gsd.partial-7"):
        (run / first.directory / name).write_text("half")
    (run / ".summary.json.partial-7").write_text("half")
    (run / ".mine.csv.partial-7").write_text("of others")

    run_campaign(campaign, CAMPAIGN, run, resume=True)
    assert [p.name for p in run.rglob(".*.partial-*")] == [".mine.csv.partial-7"]
    designs = read_status(run)
    assert [(d.status, d.done, d.own["validated"]) for d in designs] == [("step_limit", 4, 0)] * 2
    main_status(run, "--json")
    told = json.loads(capsys.readouterr().out)["designs"]
    assert [d["steps"] for d in told] == [4, 4]
    main_status(run)
    assert "2 of 2 designs have ended." in capsys.readouterr().out
    kept = json.loads((run / "summary.json").read_text())["designs"]
    assert [d["validations"][0]["packings"] for d in kept] == [40, 40]
    values = {d["validations"][0]["value"] for d in kept}
    assert len(values) == 2, "the designs found different parameters"


@contextmanager
def held_elsewhere(directory: Path) -> Iterator[None]:
    """Another process has the lock of a directory."""
    code = (
        "import pathlib, sys\n"
        "from amorph.campaigns.store.durable import locked\n"
        "lock = locked(pathlib.Path(sys.argv[1]))\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield
        process.communicate()
    assert process.returncode == 0


def test_who_asks_for_a_lock_does_not_keep_it_from_who_takes_it(tmp_path: Path) -> None:
    assert held(tmp_path) is False, "there is none"
    with held_elsewhere(tmp_path):
        assert held(tmp_path) is True
        with pytest.raises(RunningError, match="another process is writing there"):
            locked(tmp_path)
    assert held(tmp_path) is False
    asking = (tmp_path / ".lock").open()
    fcntl.flock(asking, fcntl.LOCK_SH)
    threading.Timer(0.1, asking.close).start()
    locked(tmp_path).close()


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(OutputError, match="has no locks"):
        locked(tmp_path)
    (tmp_path / ".lock").write_text("")
    assert held(tmp_path) is None


def main_status(run: Path, *options: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(["status", str(run), *options])
    assert end.value.code in (0, None)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no campaign\.toml"):
        read_status(tmp_path)


def test_once_it_is_to_stop_no_design_is_begun(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(StoppedError, match="enough: go on with --resume"):
        run_campaign(parse_campaign(CAMPAIGN, "x"), CAMPAIGN, run, until=After(0))
    assert [d.status for d in read_status(run)] == ["waiting", "waiting"]
    assert not any(path.is_dir() for path in run.iterdir())


def test_a_check_of_an_earlier_version_is_no_design(tmp_path: Path) -> None:
    (tmp_path / "campaign.toml").write_text(CAMPAIGN.split("[sweep]")[0])
    (tmp_path / "gradient.json").write_text("{}")
    with pytest.raises(RecordError, match="an earlier version"):
        read_status(tmp_path)
