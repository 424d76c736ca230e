"""Studies of rows: many items, each of which gives a row of a table.

A row depends on its item alone, so that the table is the same however the items are spread; what
is finished is kept, a part at a time, until the table is whole.
"""

import json
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from amorph import bridge
from amorph.handover import AmorphError, InputError, NotFiniteError

from ..inputs.files import AnyFile, checked
from ..inputs.tables import Preparation
from ..spread.teams import Team
from ..store.durable import remove_partials
from ..store.parts import Parts, begun, parts_directory, rows_finished
from ..store.row_files import read_table, write_table
from .preparing import packing_of
from .study import UNFINISHED, End, Progress, Study, Task, Work, last_sign

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from ..report.output import Output

__all__ = ["RowStudy", "compute_rows", "read_rows"]

File = TypeVar("File", bound=AnyFile)
Row = dict[str, Any]

# Rows come to the disk together: so many, or those of so many seconds.
ROWS_TOGETHER = 16
SECONDS_TOGETHER = 2.0


class RowStudy(Study[File]):
    """A study whose tasks are tables: `items`, and the `row` of each.

    Class attributes
    ----------------
    rows:
        The table's name in the task's directory: ``rows.csv``.

    Example
    -------
    >>> class Settings(Table):
    ...     packings: int = 10
    >>> class EnergyFile(StudyFile):
    ...     energy: Settings
    >>> @register_study
    ... class Energy(RowStudy[EnergyFile]):
    ...     table, model = "energy", EnergyFile
    ...     def items(self):
    ...         return range(self.file.energy.packings)
    ...     def row(self, item):
    ...         theta, packing = self.packing(item)
    ...         return {"energy": bridge.energy(theta, packing)}
    """

    rows: ClassVar[str] = "rows.csv"
    unit: ClassVar[str] = "rows"

    def __init__(self, task: Task[File]) -> None:
        super().__init__(task)
        self._parts: Parts | None = None
        self._summary: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_parts": None}

    @abstractmethod
    def items(self) -> Sequence[Any]:
        """The items of work, which any process must be able to unpickle."""

    @abstractmethod
    def row(self, item: Any) -> Row:
        """An item's row: numbers, texts, and lists of them, by column.

        Computed by any process, from the item and the task alone. An `AmorphError` becomes the
        row's ``failure``.
        """

    def summary(self, table: "pandas.DataFrame") -> Mapping[str, Any]:
        """What comes out of the whole table, for JSON; part of the task's outcome.

        An `AmorphError` ends the task as ``failed``; its table stays.
        """
        return {}

    @classmethod
    def pictures(cls, table: "pandas.DataFrame") -> "Mapping[str, tuple[Figure, str]]":
        """Pictures with their captions, by file name, of all tasks' rows together.

        The table has the columns of `row`, and for a sweep one for each swept key.
        """
        return {}

    def packing(
        self, replica: int, *, step: int = 0, **changes: Any
    ) -> tuple[bridge.Theta, bridge.Packing]:
        """A packing of the file's preparation at rest, and its potential.

        Parameters
        ----------
        replica:
            Its number: the same number gives the same packing.
        step:
            A further number its random numbers depend on.
        changes:
            Keys of ``[preparation]`` with other values: ``density=1.2``.

        Raises `RecordError` where it cannot be prepared, else as `amorph.bridge.relax` does.
        """
        file = self.file
        preparation = file.preparation
        if preparation is None:
            raise InputError("[preparation] is missing.")
        if changes:
            given = {**preparation.model_dump(exclude_none=True), **changes}
            preparation = checked(Preparation, given, "preparation")
        return packing_of(file.potential, preparation, replica, step=step, bonds=file.bonds)

    def open(self, work: Work) -> End | None:
        """As `Study.open`: the parts that are finished, or the whole table."""
        table = self.task.directory / self.rows
        before = work.before
        ended = before is not None and before["status"] not in UNFINISHED
        if before is not None and ended and table.exists() and not begun(table):
            self._summary = dict(before.get("summary", {}))
            return End(before["status"], before["message"], idle=True)
        # Without defaults, so that a later version may have further keys.
        apart = {"name", "plugins", "sweep", *self.may_change}
        file = json.loads(self.file.model_dump_json(exclude=apart, exclude_defaults=True))
        remove_partials(self.task.directory, self.rows)
        header = {"study": self.table, "file": file}
        self._parts = Parts(table, header, resume=begun(table), cure=_CURE)
        for note in self._parts.notes:
            work.note(note)
        return None

    def run(self, work: Work) -> End:
        """As `Study.run`."""
        assert self._parts is not None
        items = self.items()
        if not items:
            raise InputError(f"{self.label}: there are no items of work.")
        work.save(End("running"))
        compute_rows(self._parts, _tried_row, self, items, work.team, self.label, work.progress)
        table = self.task.directory / self.rows
        write_table(self._parts.rows, table)
        found = read_rows(table)
        failed = found["failure"] != ""
        if failed.all():
            end = End("failed", f"no row could be computed: {found['failure'].iloc[0]}")
        else:
            self._summary = plain(self.summary(found))
            several = f"{int(failed.sum())} of {len(found)} rows failed, the first because of "
            end = End("done", several + found["failure"][failed].iloc[0] if failed.any() else "")
        return end

    def settle(self) -> None:
        """As `Study.settle`: the table has all that the parts had."""
        assert self._parts is not None
        self._parts.remove()

    def close(self) -> None:
        """As `Study.close`."""
        if self._parts is not None:
            self._parts.close()
            self._parts = None

    def told(self) -> dict[str, Any]:
        """As `Study.told`."""
        return {"rows": len(self.items()), "summary": self._summary}

    def progress(self) -> Progress:
        """As `Study.progress`."""
        directory = self.task.directory
        table, total = directory / self.rows, len(self.items())
        unfinished = begun(table)
        done = rows_finished(parts_directory(table)) if unfinished else total * table.exists()
        last = last_sign([directory / self.kept, *parts_directory(table).glob("*")])
        return Progress(done, total, last_sign=last)

    @classmethod
    def page(
        cls, root: Path, tasks: Sequence[Task[File]], output: "Output"
    ) -> tuple[str, list[str]]:
        """As `Study.page`: the tasks and what they found, the pictures, the table."""
        from ..report import html

        tables = [(task, task.directory / cls.rows) for task in tasks]
        tables = [(task, path) for task, path in tables if path.exists()]
        if not tables:
            raise InputError(f"{root}: holds no finished {cls.rows} yet: wait for it, or resume.")
        table = _joined([(task, read_rows(path)) for task, path in tables])
        name = tasks[0].file.name
        body = [
            f"<h1>{escape(name)}</h1>",
            f"<p class='sub'>{escape(cls.__doc__.splitlines()[0] if cls.__doc__ else cls.table)}"
            f"; {len(table)} rows of {len(tables)} of {len(tasks)} {cls.many}</p>",
        ]
        outcomes = [cls.outcome_in(task.directory) for task, _ in tables]
        names = list(dict.fromkeys(k for o in outcomes for k in o.get("summary", {})))
        body.append(
            html.table(
                (cls.one, "status", "rows", *map(escape, names)),
                [
                    (
                        escape(str(o["name"])),
                        html.badge(str(o["status"])),
                        str(o["rows"]),
                        *(html.value(o.get("summary", {}).get(k)) for k in names),
                    )
                    for o in outcomes
                ],
                "index",
            )
        )
        body += [html.problem(str(o["message"])) for o in outcomes if o["message"]]
        measured = table[table["failure"] == ""]
        for key, (figure, caption) in cls.pictures(measured).items():
            body.append(html.figure(output.picture(key, figure), caption))
        where = tables[0][1].relative_to(root)
        body += [
            "<h2>The data in Python</h2>",
            f'<pre>import pandas\ntable = pandas.read_csv("{escape(str(where))}")</pre>',
        ]
        return name, body


_CURE = "Go on with the version that began it, or run it anew in another directory."


def _tried_row(study: RowStudy[Any], item: Any) -> Row:
    try:
        return {"failure": "", **plain(study.row(item))}
    except bridge.errors.PrecisionError:
        raise  # of the process, not of the item
    except AmorphError as error:
        # On one line, however the message is broken.
        return {"failure": " ".join(f"{type(error).__name__}: {error}".split())}


def plain(named: Mapping[str, Any]) -> dict[str, Any]:
    """Values for JSON: numbers, texts, and lists of them, of arrays and NumPy's numbers too.

    Raises `NotFiniteError` for a number that is infinite or none, by its name.
    """
    out = {}
    for name, value in named.items():
        own = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        if isinstance(own, str):
            own = own.replace("\r", " ")  # which ends a line for some readers of tables
        try:
            json.dumps(own, allow_nan=False)
        except ValueError:
            raise NotFiniteError(f"{name} is {own}: infinite, or not a number.") from None
        out[name] = own
    return out


def read_rows(path: Path) -> "pandas.DataFrame":
    """A table of rows as it was computed; ``failure`` is empty where there is none."""
    table = read_table(path)
    return table.assign(failure=["" if f != f else f for f in table["failure"]])  # NaN: none


def _joined(tables: "Sequence[tuple[Task[Any], pandas.DataFrame]]") -> "pandas.DataFrame":
    """The rows of several tasks, with what was chosen for each."""
    import pandas

    out = []
    for task, table in tables:
        chosen = {path: [value] * len(table) for path, value in task.chosen.items()}
        out.append(table.assign(**chosen))
    return pandas.concat(out, ignore_index=True)


def compute_rows(
    parts: Parts,
    function: Callable[[Any, Any], Row],
    shared: Any,
    items: Sequence[Any],
    team: Team,
    name: str,
    progress: Callable[[int, int], object],
) -> None:
    """The rows function(shared, item) that are missing, made by a team and safe as they come.

    A row has ``failure``, empty where there is none. Raises `OutputError` where parts cannot be
    written, `StoppedError` in the name of what is at work; what was finished is kept.
    """
    total = len(items)
    missing = [k for first, end in parts.missing(total, total) for k in range(first, end)]
    progress(parts.n_rows, total)
    kept = _Kept(parts)
    try:
        wanted = [items[k] for k in missing]
        with closing(team.each(function, shared, wanted, stopping=name)) as found:
            for number, row in found:
                kept.add(missing[number], row)
                progress(parts.n_rows + kept.waiting, total)
    finally:
        kept.flush()


class _Kept:
    """Rows that wait for others, to come to the disk with them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._rows: dict[int, Row] = {}
        self._written = time.monotonic()

    @property
    def waiting(self) -> int:
        """How many there are."""
        return len(self._rows)

    def add(self, number: int, row: Row) -> None:
        """Take a row, and write what is due."""
        self._rows[number] = row
        late = time.monotonic() - self._written > SECONDS_TOGETHER
        if late or len(self._rows) >= ROWS_TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Write all there are, a part for each run of consecutive rows."""
        rows, self._rows = self._rows, {}
        for first, run in _consecutive(rows):
            failed = sum(bool(row["failure"]) for row in run)
            data = b"".join(json.dumps(row, allow_nan=False).encode() + b"\n" for row in run)
            self._parts.add(first, len(run), failed, data)
        self._written = time.monotonic()


def _consecutive(rows: Mapping[int, Row]) -> Iterator[tuple[int, list[Row]]]:
    run: list[Row] = []
    first = 0
    for number in sorted(rows):
        if run and number != first + len(run):
            yield first, run
            run = []
        if not run:
            first = number
        run.append(rows[number])
    if run:
        yield first, run
