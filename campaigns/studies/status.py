"""The state of a run, from what it has on disk, while it runs or afterwards."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from amorph.handover.arguments import file_path

from ..errors import CampaignFileError, RecordError
from ..inputs.plugins import kept_in, loaded
from ..store.directories import SOURCE
from ..store.durable import held, os_errors_named
from .files import load_campaign, study_of
from .study import UNFINISHED, Study, plan

__all__ = ["RunStatus", "TaskStatus", "as_json", "kept_campaign", "read_status"]

# Where the lock does not tell, a run without a sign for so many seconds may have stopped.
SILENT = 600.0


@dataclass(frozen=True)
class TaskStatus:
    """One task of a run.

    Attributes
    ----------
    directory, name:
        Of the task.
    status:
        ``waiting``, ``running``, ``killed`` (it has not ended, and no process is at work on it),
        ``silent`` (that cannot be known, as another machine was, and nothing came for ten minutes),
        ``stopped`` (by a signal, its limit or Ctrl-C), ``failed``, or how its study says that it
        has ended: a design ``converged``, ``out_of_reach`` or ``step_limit``, a table of rows
        ``done``. A killed or
        stopped run goes on with ``--resume``.
    done, total:
        What is safe on disk, and how much there is at most, in the study's units.
    per_second, seconds_left:
        Since it was started or resumed, and to the end at that rate; None where it is not at work.
    own:
        What the study tells besides: of a design ``steps`` and their ``limit``, the ``loss`` and
        ``value`` of the last, packings ``validated``, and its ``confirmation``.
    shown:
        The same in words, by column.
    """

    directory: str
    name: str
    status: str
    done: int
    total: int
    per_second: float | None = None
    seconds_left: float | None = None
    own: Mapping[str, Any] = field(default_factory=dict)
    shown: Mapping[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to do."""
        return self.status not in ("waiting", "killed", "silent", *UNFINISHED)


@dataclass(frozen=True)
class RunStatus:
    """A run: its study, and its tasks in their order."""

    kind: type[Study[Any]]
    tasks: tuple[TaskStatus, ...]

    def __iter__(self) -> Any:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, number: int) -> TaskStatus:
        return self.tasks[number]


def kept_campaign(directory: Path) -> Any:
    """The campaign that a run directory keeps; its plug-ins were run before.

    Raises `RecordError` where there is none, or plug-ins of the run were not named.
    """
    kept = directory / SOURCE
    if not kept.exists():
        raise RecordError(
            f"{directory}: holds no {SOURCE}, so it is no run's directory. Give the one after "
            "-o of `amorph run`."
        )
    try:
        campaign = load_campaign(kept, named=False)
        if study_of(campaign).table == "design" and (directory / "gradient.json").exists():
            raise RecordError(
                f"{directory}: is a check of gradients that an earlier version made: its result is "
                "gradient.json. Run it anew in another directory for a status or a report."
            )
        return campaign
    except CampaignFileError as error:
        here = {(p.name, p.checksum) for p in loaded()}
        wanted = [p.name for p in kept_in(directory) if (p.name, p.checksum) not in here]
        if not wanted:
            raise
        raise RecordError(
            f"{directory}: was run with plug-ins, which are not run here unless they are named: "
            f"give {' '.join(f'--plugin {directory}/plugins/{name}' for name in wanted)}. ({error})"
        ) from error


def read_status(directory: str | PathLike[str]) -> RunStatus:
    """The state of a run's tasks, while it runs or afterwards.

    Parameters
    ----------
    directory:
        What stands after ``-o`` of ``amorph run``. Plug-ins of the run must have been run.

    Raises `RecordError` if it is no run's directory, `InputError` for anything but a path.

    Example
    -------
    >>> [(task.name, task.status, task.done, task.total) for task in read_status("run")]
    """
    root = file_path("directory", directory)
    campaign = kept_campaign(root)
    kind = study_of(campaign)
    with os_errors_named(root):
        studies = [kind(task) for task in plan(kind, campaign, root)]
        return RunStatus(kind, tuple(_status_of(study, root) for study in studies))


def as_json(run: RunStatus) -> str:
    """For programs."""
    told = [
        {
            "directory": t.directory,
            "name": t.name,
            "status": t.status,
            "done": t.done,
            "total": t.total,
            f"{run.kind.unit}_per_second": t.per_second,
            "seconds_left": t.seconds_left,
            **t.own,
        }
        for t in run
    ]
    return json.dumps({"study": run.kind.table, run.kind.many: told}, indent=1)


def _status_of(study: Study[Any], root: Path) -> TaskStatus:
    directory = study.task.directory
    kept = directory / study.kept
    progress = study.progress()
    status, rate = "waiting", None
    if kept.exists():
        outcome = study.outcome_in(directory)
        status = outcome["status"]
        if status == "running":
            at_work = held(directory)
            if at_work is False:
                status = "killed"
            elif at_work is None and time.time() - progress.last_sign > SILENT:
                status = "silent"
        if status == "running":
            # It was written when the task began or went on; what is finished is newer.
            took = progress.last_sign - kept.stat().st_mtime
            gone = progress.done - int(outcome.get("done", outcome.get("steps", 0)) or 0)
            rate = gone / took if took > 0 and gone > 0 else None
    left = progress.total - progress.done
    return TaskStatus(
        directory=str(directory.relative_to(root)),
        name=study.label,
        status=status,
        done=progress.done,
        total=progress.total,
        per_second=rate,
        seconds_left=None if not rate else left / rate,
        own=progress.own,
        shown=progress.shown,
    )
