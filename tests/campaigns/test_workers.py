"""Worker processes: bounded work in hand, failures with names, deaths with their task."""

import functools
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amorph.campaigns.errors import WorkerError
from amorph.campaigns.spread.workers import IN_HAND, WorkerDied, Workers
from amorph.handover import InputError, check_box_matrix


def test_results_come_and_few_tasks_are_in_hand() -> None:
    handed: list[int] = []

    def tasks() -> Iterator[int]:
        for k in range(200):
            handed.append(k)
            yield -k

    results: dict[int, int] = {}
    with Workers[int, int](2, functools.partial, abs) as workers:
        for task, result in workers.run(tasks()):
            results[task] = result
            assert len(handed) - len(results) <= 2 * IN_HAND
    assert results == {-k: k for k in range(200)}


def test_failures_have_names() -> None:
    boxes = Workers[Any, Any](1, functools.partial, check_box_matrix)
    with boxes, pytest.raises(InputError, match="a box has shape"):
        list(boxes.run([[1.0]]))
    numbers = Workers[Any, Any](1, functools.partial, abs)
    with numbers, pytest.raises(WorkerError, match=r"(?s)Traceback.*TypeError: bad operand"):
        list(numbers.run(["x"]))
    with pytest.raises(InputError, match="at least 1"):
        Workers[Any, Any](0, functools.partial, abs)


def warned(prefix: str, number: int) -> int:
    for _ in range(2):
        with warnings.catch_warnings():  # which forgets what was said before
            warnings.simplefilter("always")
            warnings.warn(f"{prefix} {number % 2}", RuntimeWarning, stacklevel=1)
    return number


def test_what_workers_warn_of_is_said_once() -> None:
    code = (
        "import sys, warnings\n"
        "from amorph.campaigns.spread.workers import Workers\n"
        "from functools import partial\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from test_workers import warned\n"
        "if __name__ == '__main__':\n"
        "    warnings.simplefilter('always')\n"
        "    with Workers(2, partial(partial, warned), 'odd') as w:\n"
        "        print(sorted(r for _, r in w.run(range(6))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "[0, 1, 2, 3, 4, 5]\n", done.stderr
    said = [line for line in done.stderr.splitlines() if "RuntimeWarning" in line]
    assert sorted(line.partition("RuntimeWarning: ")[2] for line in said) == ["odd 0", "odd 1"]


def test_a_death_is_told_with_its_task() -> None:
    workers = Workers[int, None](2, functools.partial, os._exit)
    with workers, pytest.raises(WorkerDied) as caught:
        list(workers.run([7]))
    assert (caught.value.task, caught.value.status) == (7, 7)
    assert "SIGKILL (out of memory, perhaps)" in WorkerDied(0, -9).how


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from amorph.campaigns.spread import workers\n"
        "import functools\n"
        "with workers.Workers(1, functools.partial, abs) as w:\n"
        "    try:\n"
        "        list(w.run([1]))\n"
        "    except workers.WorkerDied as death:\n"
        "        print('died with', death.status)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert "died with 1" in done.stdout
    assert "if __name__ == '__main__'" in done.stderr


def test_a_worker_ends_with_its_parent_in_the_middle_of_a_task(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import functools, os, signal, time\n"
        "from amorph.campaigns.spread import workers\n"
        "if __name__ == '__main__':\n"
        "    with workers.Workers(1, functools.partial, time.sleep) as w:\n"
        "        for task, _ in w.run([0.0, 600.0]):\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # The worker has the same standard output: at its end, and not before, this ends too.
    done = subprocess.run([sys.executable, script], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
