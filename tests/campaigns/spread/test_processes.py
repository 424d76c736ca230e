"""Processes as a team: results as they come, failures with names, deaths with their item."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from amorph.campaigns.errors import StoppedError, WorkerError
from amorph.campaigns.spread.processes import Processes, WorkerDied
from amorph.campaigns.spread.stopping import Until
from amorph.campaigns.spread.teams import OneRank, Team
from amorph.handover import InputError

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)  # of spawned processes too

from worked_items import added, broken, ended, refused  # noqa: E402


@pytest.mark.parametrize("team", [OneRank(), Processes(2)], ids=["alone", "processes"])
def test_every_item_has_its_result(team: Team) -> None:
    assert dict(team.each(added, 100, range(30))) == {k: 100 + k for k in range(30)}
    assert team.map(added, 1, range(5)) == [1, 2, 3, 4, 5]
    assert team.map(added, 1, []) == []


@pytest.mark.parametrize("team", [OneRank(), Processes(2)], ids=["alone", "processes"])
def test_the_first_failure_has_its_name_and_what_came_before_is_given(team: Team) -> None:
    given: list[tuple[int, int]] = []
    with pytest.raises(InputError, match="item 3"):
        given.extend(team.each(refused, None, range(100)))
    results = {result for _, result in given}
    assert {0, 1, 2} <= results <= {0, 1, 2, 4, 6}, "none is begun after a failure"


class After(Until):
    """Is to stop when it was asked so often."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def reason(self) -> str | None:
        self.left -= 1
        return "enough" if self.left < 0 else None


@pytest.mark.parametrize("kind", ["alone", "processes"])
def test_items_at_work_are_given_before_a_stop(kind: str) -> None:
    team = OneRank(None, After(6)) if kind == "alone" else Processes(2, After(6))
    given: list[tuple[int, int]] = []
    with pytest.raises(StoppedError, match=r"the count: enough: go on with --resume"):
        given.extend(team.each(added, 0, range(50), stopping="the count"))
    assert sorted(given) == [(k, k) for k in range(6)]
    # Where no name is given a team does not stop between items.
    team.until = After(0)
    assert len(team.map(added, 0, range(9))) == 9


def test_failures_without_a_name_have_their_traceback() -> None:
    with pytest.raises(WorkerError, match=r"(?s)Traceback.*TypeError: unsupported operand"):
        list(Processes(1).each(broken, None, [1]))
    with pytest.raises(InputError, match="at least 1"):
        Processes(0)


def test_what_processes_warn_of_is_said_once() -> None:
    code = (
        "import sys, warnings\n"
        "from amorph.campaigns.spread.processes import Processes\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from worked_items import warned\n"
        "if __name__ == '__main__':\n"
        "    warnings.simplefilter('always')\n"
        "    print(Processes(2).map(warned, 'odd', range(6)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, HERE],
        env={**os.environ, "PYTHONPATH": HERE},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "[0, 1, 2, 3, 4, 5]\n", done.stderr
    said = [line for line in done.stderr.splitlines() if "RuntimeWarning" in line]
    assert sorted(line.partition("RuntimeWarning: ")[2] for line in said) == ["odd 0", "odd 1"]


def test_a_death_is_told_with_its_item() -> None:
    with pytest.raises(WorkerDied, match="exit status 7") as caught:
        list(Processes(2).each(ended, None, [7]))
    assert (caught.value.item, caught.value.status) == (7, 7)
    assert "SIGKILL (out of memory, perhaps)" in WorkerDied(0, -9).how


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from amorph.campaigns.spread.processes import Processes, WorkerDied\n"
        "from operator import add\n"
        "try:\n"
        "    Processes(1).map(add, 1, [1])\n"
        "except WorkerDied as death:\n"
        "    print('died with', death.status)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert "died with 1" in done.stdout
    assert "if __name__ == '__main__'" in done.stderr


def test_a_process_ends_with_its_parent_in_the_middle_of_an_item(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, sys\n"
        f"sys.path.insert(0, {HERE!r})\n"
        "from amorph.campaigns.spread.processes import Processes\n"
        "from worked_items import slept\n"
        "if __name__ == '__main__':\n"
        "    for _ in Processes(1).each(slept, None, [0.0, 600.0]):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # The process has the same standard output: at its end, and not before, this ends too.
    done = subprocess.run([sys.executable, script], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
