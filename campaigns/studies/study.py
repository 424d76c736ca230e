"""What a study is: a kind of campaign file, the tasks it stands for, and what each leaves behind.

A study is a class with the table that its files are known by, the model of these files, and what is
done for one point of their sweep. Everything else is the same for all: files are checked, tasks and
their items are spread over ranks, what is finished is safe on disk, and a run can be stopped,
resumed, watched and reported (`amorph.campaigns.studies.running`, `status`, `reporting`). A study
of rows, most of them, derives from `amorph.campaigns.studies.rows.RowStudy`.
"""

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from amorph.handover import InputError

from ..errors import RecordError
from ..inputs.files import AnyFile
from ..spread.teams import Team
from ..store.durable import write_json

if TYPE_CHECKING:  # pictures are loaded where they are asked for
    from ..report.output import Output

__all__ = [
    "UNFINISHED",
    "End",
    "Progress",
    "Study",
    "Task",
    "Watcher",
    "Work",
    "last_sign",
    "plan",
    "read_outcome",
    "register_study",
    "registered_studies",
]

File = TypeVar("File", bound=AnyFile)

# The statuses of a task that has not ended: at work or killed; told to stop by a signal or limit.
UNFINISHED = ("running", "stopped")
# Longest name of a task's directory; longer ones are cut, and told apart by their number.
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Task(Generic[File]):
    """One task of a run: a point of the sweep, and of a design a replica of the preparation.

    Attributes
    ----------
    directory:
        Where it is kept.
    file:
        The run's file at that point.
    chosen:
        What sets it apart from the others, by the path in the file.
    replica:
        Its number among tasks of the same point.
    """

    directory: Path
    file: File
    chosen: Mapping[str, Any] = field(default_factory=dict)
    replica: int = 0


@dataclass(frozen=True)
class End:
    """How a task has ended: its status, and what there is to say. `idle`: nothing was to be done.

    Statuses are a study's own words; ``failed`` is all studies'.
    """

    status: str
    message: str = ""
    idle: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a task is, by what is safe on disk.

    Attributes
    ----------
    done, total:
        Of its unit (`Study.unit`).
    own:
        What else there is to tell, by name, for programs.
    shown:
        The same in words, by column, for tables.
    last_sign:
        When its files were written last, in seconds of the epoch; 0 where there are none.
    """

    done: int
    total: int
    own: Mapping[str, Any] = field(default_factory=dict)
    shown: Mapping[str, str] = field(default_factory=dict)
    last_sign: float = 0.0


class Watcher:
    """Told of a run's progress; does nothing unless overridden."""

    def started(self, study: "Study[Any]", number: int, total: int) -> None:
        """A task, the one of a number among so many, begins or goes on."""

    def progressed(self, study: "Study[Any]", done: int, total: int, info: str) -> None:
        """So much of a task is done."""

    def ended(self, study: "Study[Any]", outcome: Mapping[str, Any]) -> None:
        """A task has ended; `outcome` is what is kept of it."""

    def note(self, message: str) -> None:
        """Something the user should know."""


class Work:
    """A task at work: who computes, who is told, and its outcome on disk.

    Attributes
    ----------
    team:
        Who computes.
    before:
        The outcome that was kept when the task was begun or taken up; None where there was none.
    """

    def __init__(self, study: "Study[Any]", root: Path, team: Team, watcher: Watcher) -> None:
        self.team = team
        self._study = study
        self._root = root
        self._watcher = watcher
        self._path = study.task.directory / study.kept
        self.before: dict[str, Any] | None = None
        try:
            if self._path.exists():
                self.before = study.outcome_in(study.task.directory)
        except RecordError as error:
            watcher.note(f"{error} It is made anew.")
        self._earlier = float(self.before.get("seconds", 0.0)) if self.before else 0.0
        self._began = time.monotonic()

    def check(self) -> None:
        """Raise `StoppedError` where the run is to stop now."""
        self.team.until.check(self._study.label)

    def progress(self, done: int, total: int, info: str = "") -> None:
        """Tell that so much is done."""
        self._watcher.progressed(self._study, done, total, info)

    def note(self, message: str) -> None:
        """Tell the user something."""
        self._watcher.note(f"{self._study.label}: {message}")

    def save(self, end: End) -> dict[str, Any]:
        """Keep the task's outcome as it is now; returns it."""
        seconds = self._earlier if end.idle else self._earlier + time.monotonic() - self._began
        task = self._study.task
        outcome = {
            "study": self._study.table,
            "name": self._study.label,
            "directory": str(task.directory.relative_to(self._root)),
            "status": end.status,
            "message": end.message,
            "swept": dict(task.chosen),
            "seed": task.file.seed,
            "replica": task.replica,
            "seconds": seconds if end.idle else round(seconds, 3),
            "done": self._study.progress().done,
            **self._study.told(),
        }
        write_json(self._path, outcome)
        return outcome


class Study(ABC, Generic[File]):
    """A kind of study; an object of it is one task of a run.

    Class attributes
    ----------------
    table:
        The table by which its files are known: ``design``.
    model:
        What its files may hold.
    requires:
        Tables of other studies that its files have too.
    kept:
        The file with a task's outcome, in its directory.
    one, many, unit:
        What a task, several of them, and the parts of one are called.
    may_change:
        Tables and keys of the file in which a run that goes on may differ.
    """

    table: ClassVar[str]
    model: ClassVar[type[AnyFile]]
    requires: ClassVar[tuple[str, ...]] = ()
    kept: ClassVar[str] = "task.json"
    one: ClassVar[str] = "task"
    many: ClassVar[str] = "tasks"
    unit: ClassVar[str] = "items"
    may_change: ClassVar[tuple[str, ...]] = ()

    def __init__(self, task: Task[File]) -> None:
        self.task = task
        self.file: File = task.file

    @property
    def label(self) -> str:
        """What the task is called in messages."""
        swept = ", ".join(f"{path} = {value}" for path, value in self.task.chosen.items())
        return swept or self.file.name

    @classmethod
    def points(cls, file: File) -> Sequence[tuple[Mapping[str, Any], File, int]]:
        """What is chosen, the file there, and the replica, for each task: the points of a sweep."""
        return [(chosen, point, 0) for chosen, point in file.points()]

    @classmethod
    def continues(cls, before: File, file: File) -> bool:
        """Whether a run of one file goes on as one of another: where they are the same.

        But for `may_change`, their names, and their plug-ins, which are compared by themselves.
        """
        apart = {"plugins", "name", *cls.may_change}
        # As text: the order in which values are swept numbers the tasks.
        return before.model_dump_json(exclude=apart) == file.model_dump_json(exclude=apart)

    def open(self, work: Work) -> End | None:
        """Take up what is on disk; its end where nothing is left to do. Errors end the run."""
        return None

    @abstractmethod
    def run(self, work: Work) -> End:
        """Go on to the task's end.

        Asks ``work.check()`` between its steps. An `AmorphError` ends the task as ``failed``, but
        for `OutputError`, which ends the run, and `StoppedError`.
        """

    def settle(self) -> None:
        """Remove what only a run that goes on needs; called once the outcome of `run` is safe."""
        return

    def close(self) -> None:
        """Let go of what `open` took up."""
        return

    @abstractmethod
    def told(self) -> dict[str, Any]:
        """The study's own part of the outcome, for JSON, at any time after `open`."""

    @abstractmethod
    def progress(self) -> Progress:
        """How far the task is, from its files alone, while it runs or afterwards."""

    @classmethod
    def outcome_in(cls, directory: Path) -> dict[str, Any]:
        """The outcome that a task's directory keeps; raises `RecordError` if it is none."""
        return read_outcome(directory / cls.kept, ("status",))

    @classmethod
    def summarised(cls, outcome: Mapping[str, Any], directory: Path) -> dict[str, Any]:
        """An outcome as ``summary.json`` has it."""
        return dict(outcome)

    @classmethod
    def rows_of(
        cls, outcomes: Sequence[Mapping[str, Any]]
    ) -> tuple[Sequence[str], Sequence[str], list[Sequence[str]]]:
        """What the command says at the end: columns, those of numbers among them, and rows."""
        rows = [[str(o["directory"]), str(o["status"]), str(o["message"])] for o in outcomes]
        return (cls.one, "status", "message"), (), list(rows)

    @classmethod
    @abstractmethod
    def page(
        cls, root: Path, tasks: Sequence[Task[File]], output: "Output"
    ) -> tuple[str, list[str]]:
        """The title and the body of a run's page; pictures go through `output`.

        Raises `InputError` where there is nothing to report yet.
        """


def last_sign(files: Iterable[Path]) -> float:
    """When the youngest of some files was written; those that are gone by now are passed over."""
    last = 0.0
    for path in files:
        with suppress(OSError):
            last = max(last, path.stat().st_mtime)
    return last


def plan(kind: type[Study[File]], file: File, directory: Path) -> list[Task[File]]:
    """The tasks of a run; a single one has the directory to itself."""
    points = kind.points(file)
    if len(points) == 1:
        chosen, point, replica = points[0]
        return [Task(directory, point, chosen, replica)]
    width = len(str(len(points) - 1))

    def name(number: int, chosen: Mapping[str, Any], replica: int) -> str:
        parts = [f"{number:0{width}d}"]
        parts += [f"{path.split('.')[-1]}-{value}" for path, value in chosen.items()]
        whole = "_".join([*parts, f"replica-{replica}"])
        return re.sub(r"[^\w.+-]+", "-", whole)[:_LONGEST_NAME]

    return [
        Task(directory / name(k, chosen, replica), point, chosen, replica)
        for k, (chosen, point, replica) in enumerate(points)
    ]


def read_outcome(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """A task's outcome; raises `RecordError` if it is not what a run writes, with these keys."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: cannot be read as JSON: {error}.") from error
    missing = [k for k in keys if not isinstance(loaded, dict) or k not in loaded]
    if missing:
        raise RecordError(
            f"{path}: lacks {', '.join(missing)}, so it is no task's record. It is written by "
            "`amorph run`: resume the run to have it made anew."
        )
    out: dict[str, Any] = loaded
    return out


# The registry of studies, by their tables.
_STUDIES: dict[str, type[Study[Any]]] = {}


def register_study(new: type[Study[Any]]) -> type[Study[Any]]:
    """Have campaign files with a study's table be its own; a decorator, for plug-ins too.

    One that is registered anew takes the place of the first. Raises `InputError` for a table that
    every file has.
    """
    if new.table in AnyFile.model_fields:
        raise InputError(f"{new.__name__}.table = {new.table!r}: every file has that.")
    _STUDIES[new.table] = new
    return new


def registered_studies() -> Mapping[str, type[Study[Any]]]:
    """The studies there are, by their tables."""
    return _STUDIES
