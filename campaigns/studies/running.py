"""Running a campaign: its tasks, each safe on disk as it goes, spread over ranks.

Several tasks are a farm: each has a group of ranks, as many groups as there are tasks or ranks, and
a group that has ended a task takes the next. Within a group the items of a task are spread. What
comes out does not depend on the number of ranks.
"""

import json
import time
import warnings
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from amorph.handover import AmorphError, InputError, OutputError
from amorph.handover.arguments import check_kind, file_path

from ..errors import CampaignFileError, RecordError, StoppedError
from ..inputs.files import AnyFile, file_text
from ..inputs.plugins import check_kept, keep
from ..spread.stopping import Until
from ..spread.teams import OneRank, Team
from ..store.directories import keep_source, open_directory
from ..store.durable import file_checksum, locked, os_errors_named, remove_partials, write_json
from .files import parse_campaign, study_of
from .study import UNFINISHED, End, Study, Task, Watcher, Work, plan

# How often the summary is brought up to date while tasks go on, s.
SUMMARY_EVERY = 5.0

__all__ = ["prepare_directory", "release_ranks", "run_campaign", "serve_campaign"]


def prepare_directory(
    directory: Path, source: str, kind: type[Study[Any]], *, resume: bool
) -> None:
    """Make a run directory, or check that it belongs to the campaign that is resumed.

    The text of the campaign's file and its plug-ins are kept in it. Raises `OutputExistsError` for
    a directory in use unless `resume`, `RecordError` if it was started from a campaign that differs
    in more than the study allows, `OutputError` if it cannot be made.
    """
    apart = kind.may_change
    if open_directory(directory, source, resume=resume, same=_goes_on, apart=apart):
        check_kept(directory)
    else:
        keep_source(directory, source)
    with os_errors_named(directory):
        keep(directory)


def _goes_on(kept: Path, source: str) -> bool:
    """Whether a run of the kept file is one of `source` too."""
    before = file_text(kept)
    if before == source:
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever parsed the source has warned
        try:
            first, second = (parse_campaign(text, kept.name) for text in (before, source))
        except CampaignFileError:
            return False
    kind = study_of(second)
    return kind is study_of(first) and kind.continues(first, second)


@dataclass(frozen=True)
class _Run:
    """Everything that the leaders of groups share; each has a watcher of its own."""

    directory: Path
    kind: type[Study[Any]]
    tasks: Sequence[Task[Any]]
    watcher: Watcher = field(default_factory=Watcher)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "watcher": Watcher()}


def _run_task(run: _Run, number: int, team: Team) -> dict[str, Any]:
    """Run one task to its end, from wherever its record stands; returns its outcome.

    A named error ends the task with status ``failed`` and the reason; an interrupt leaves what can
    be resumed, and is raised again. Raises `StoppedError` where it is asked to stop.
    """
    study = run.kind(run.tasks[number])
    team.until.check(study.label)  # tasks are handed out to the last: none is begun now
    run.watcher.started(study, number, len(run.tasks))
    directory = study.task.directory
    with os_errors_named(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with locked(directory):
            remove_partials(directory, study.kept)
            outcome = _ended(study, Work(study, run.directory, team, run.watcher))
    run.watcher.ended(study, outcome)
    return outcome


def _ended(study: Study[Any], work: Work) -> dict[str, Any]:
    try:
        end = study.open(work)
        if end is not None:
            return work.save(end)
        try:
            end = study.run(work)
        except (StoppedError, KeyboardInterrupt):
            work.save(End("stopped"))
            raise
        except (AmorphError, FloatingPointError) as error:
            if isinstance(error, OutputError):
                raise
            return work.save(End("failed", str(error)))
        outcome = work.save(end)
        study.settle()
        return outcome
    finally:
        study.close()


def run_campaign(
    campaign: AnyFile,
    source: str,
    directory: str | PathLike[str],
    *,
    resume: bool = False,
    watcher: Watcher | None = None,
    ranks: Team | None = None,
    until: Until | None = None,
) -> list[dict[str, Any]]:
    """Run a campaign's tasks and keep a summary of them.

    Parameters
    ----------
    campaign, source:
        The campaign, as `load_campaign` gives it, and the text of its file, a copy of which stays
        with the run.
    directory:
        Where the run is kept: what a study writes, of a design ``run.gsd`` and ``design.json``, for
        a single task, a directory with that for each of several, and ``summary.json``.
    resume:
        Go on with the run in the directory; an empty one is started afresh.
    watcher:
        Told of progress.
    ranks:
        Who computes; by default this process alone. This is the root; the others call
        `serve_campaign`.
    until:
        When to stop before the end; by default as the ranks have it.

    Returns the tasks' outcomes, as in ``summary.json``.

    Raises `OutputExistsError`, `RecordError`, `RunningError` for a directory that cannot be used,
    and `StoppedError` where it was asked to stop.

    Example
    -------
    >>> campaign = load_campaign("design.toml")
    >>> run_campaign(campaign, Path("design.toml").read_text(), "run")
    """
    team = ranks or OneRank()
    if until is not None:
        team.until = until
    groups = 0
    try:
        check_kind("campaign", campaign, AnyFile, "what amorph.campaigns.load_campaign gives")
        check_kind("source", source, str, "the text of the campaign's file")
        directory = file_path("directory", directory)
        kind = study_of(campaign)
        with os_errors_named(directory):
            tasks = plan(kind, campaign, directory)
            if not tasks:
                raise InputError("the campaign has no tasks: there is nothing to run.")
            prepare_directory(directory, source, kind, resume=resume)
            _check_inputs(directory, tasks)
            with locked(directory, ".campaign.lock"):
                remove_partials(directory, "campaign.toml", "summary.json")
                # Where [stop] has changed; not before the lock is ours.
                keep_source(directory, source)
                groups = min(len(tasks), team.size)
                leaders, group = team.divided(groups)
                run = _Run(directory, kind, tasks, watcher or Watcher())
                found: dict[int, dict[str, Any]] = {}
                written = time.monotonic()
                try:
                    with closing(_each(run, leaders, group)) as outcomes:
                        for number, outcome in outcomes:
                            found[number] = outcome
                            if time.monotonic() - written > SUMMARY_EVERY:
                                write_summary(directory, kind, tasks)
                                written = time.monotonic()
                finally:
                    try:
                        write_summary(directory, kind, tasks)
                    finally:
                        if leaders is not None:
                            leaders.dismiss()
                        group.dismiss()
                return [found[k] for k in range(len(tasks))]
    finally:
        if groups == 0:  # nothing began, and the others wait to be told
            release_ranks(team)


def _each(
    run: _Run, leaders: Team | None, group: Team
) -> Generator[tuple[int, dict[str, Any]], None, None]:
    """The outcomes of all tasks, by their numbers, as they end."""
    if leaders is not None:
        yield from leaders.each(_run_task, run, range(len(run.tasks)))
        return
    for number in range(len(run.tasks)):
        yield number, _run_task(run, number, group)


def release_ranks(ranks: Team) -> None:
    """Let the other ranks go where there is no campaign to run after all."""
    ranks.divided(0)


def serve_campaign(ranks: Team) -> None:
    """Serve the root while it runs `run_campaign`; for all other ranks."""
    leaders, group = ranks.divided(0)
    if leaders is not None:
        leaders.serve()
        group.dismiss()
    else:
        group.serve()


INPUTS = "inputs.json"


def _check_inputs(directory: Path, tasks: Sequence[Task[Any]]) -> None:
    """Keep what files a run starts from, or raise `RecordError` where one has changed since."""
    files = dict.fromkeys(str(f) for t in tasks if (f := t.file.started_from) is not None)
    now = {name: file_checksum(Path(name)) for name in files}
    kept = directory / INPUTS
    if kept.exists():
        try:
            before = dict(json.loads(kept.read_text(encoding="utf-8"))["files"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{kept}: cannot be read as a list of files: {error}.") from error
        for name, checksum in now.items():
            if before.get(name, checksum) != checksum:
                raise RecordError(
                    f"{name}: is not what the run in {directory} was started with, by its checksum "
                    f"in {kept.name}: put the file back, or choose another directory."
                )
    elif now:
        write_json(kept, {"files": now})


def write_summary(directory: Path, kind: type[Study[Any]], tasks: Sequence[Task[Any]]) -> None:
    """``summary.json`` of the tasks that have ended, in their order."""
    outcomes = []
    for task in tasks:
        if (task.directory / kind.kept).exists():
            outcome = kind.outcome_in(task.directory)
            if outcome["status"] not in UNFINISHED:
                outcomes.append(kind.summarised(outcome, task.directory))
    write_json(directory / "summary.json", {"study": kind.table, kind.many: outcomes})
