"""``amorph analyze``: many frames, spread over processes, kept as they are finished.

A chunk is a few consecutive rows, computed by one process. What a row says depends on its frame
alone, never on how many processes there are or which of them computed it.
"""

import glob
import importlib.metadata
import json
import os
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amorph import bridge
from amorph.handover import InputError, OutputExistsError
from amorph.handover.arguments import count

from ...errors import RecordError, WorkerError
from ...inputs.plugins import loaded
from ...spread.processes import Processes, WorkerDied, available_cores
from ...spread.stopping import Until
from ...spread.teams import OneRank, Team
from ...store.durable import file_checksum
from ...store.parts import Parts, begun
from ...store.row_files import check_output, columns_of, write_table
from .rows import (
    NOT_CONVERGED,
    OTHER_MINIMUM,
    Request,
    Rows,
    Selection,
    located,
    paths_of,
    select,
)

if TYPE_CHECKING:
    import pandas

__all__ = ["Analyzed", "Chunk", "analyze_table", "analyze_to_file"]

# Particles in the frames of a chunk: a second or a few of work, which a kill may cost.
PARTICLES_PER_CHUNK = 4096
# Files up to this size are identified by checksum, larger ones by modification time.
CHECKSUM_LIMIT = 1 << 30

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Chunk:
    """Finished rows first, first + 1, ...: a line of JSON each, and what went wrong.

    ``marks`` counts those with values by what is to be told of them.
    """

    first: int
    count: int
    data: bytes
    messages: tuple[str, ...] = ()
    marks: Mapping[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """The number of rows of frames that could not be measured."""
        return len(self.messages)

    def rows(self) -> list[dict[str, Any]]:
        """The rows, as `amorph.campaigns.studies.analyze.rows.analyze` gives them."""
        return [json.loads(line) for line in self.data.splitlines()]


@dataclass
class Analyzed:
    """The outcome of an analysis.

    Attributes
    ----------
    rows, failed:
        Frames in the table, and those among them that could not be measured.
    other_minimum, not_converged:
        Frames of these statuses, which were measured: see
        `amorph.campaigns.studies.analyze.rows.analyze`.
    unused:
        Frames with content that plays no part in what was measured.
    found:
        Rows that an earlier, unfinished analysis had made.
    failures:
        The first messages of frames that could not be measured.
    notes:
        Parts that were found damaged and set aside.
    """

    rows: int
    failed: int
    found: int = 0
    other_minimum: int = 0
    not_converged: int = 0
    unused: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _Work:
    """What a process has of an analysis: its rows, and the file that is open here."""

    def __init__(self, selection: Selection, request: Request) -> None:
        self._selection, self._request = selection, request
        self._rows: Rows | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": None}

    def chunk(self, task: tuple[int, int]) -> Chunk:
        """Rows first to stop - 1."""
        first, stop = task
        if self._rows is None:
            for name in self._request.names:
                _known_here(name)
            self._rows = Rows(self._selection, self._request)
        lines: list[bytes] = []
        messages: list[str] = []
        marks: Counter[str] = Counter()
        for number in range(first, stop):
            row, error = self._rows.row(number)
            if error is not None:
                messages.append(located(row))
            elif row["status"] != "ok":
                marks[row["status"]] += 1
            marks["unused"] += "unused" in row
            lines.append(json.dumps(row, allow_nan=False).encode())
        return Chunk(first, stop - first, b"\n".join(lines) + b"\n", tuple(messages), marks)

    def close(self) -> None:
        """Close the file that is open."""
        if self._rows is not None:
            self._rows.close()


def _known_here(name: str) -> None:
    try:
        bridge.feature(name)
    except bridge.errors.FeatureError as error:
        raise bridge.errors.FeatureError(
            f"feature {name!r} was registered in the main process alone: analyse with workers=1, "
            "or register it in a module that the script imports outside of `if __name__ == "
            f"'__main__':`. ({error})"
        ) from None


def _size(n_rows: int, largest: int, team: Team) -> int:
    """How many rows a chunk has: a second or a few of work, and a chunk for everybody."""
    size = max(1, PARTICLES_PER_CHUNK // largest)
    return max(1, min(size, -(-n_rows // team.size)))


def team_of(n_rows: int, largest: int, workers: int | None, until: Until | None = None) -> Team:
    """The processes that make so many rows: by default one for each core that may be used.

    Fewer where there is less than a chunk for each. Raises `InputError` for less than one process.
    """
    if workers is not None:
        count("workers", workers)
    else:
        size = max(1, PARTICLES_PER_CHUNK // largest)
        workers = min(available_cores(), -(-n_rows // size))  # each takes seconds to start
    workers = max(1, min(workers, n_rows))
    return OneRank(None, until) if workers == 1 else Processes(workers, until)


def _chunk(work: _Work, task: tuple[int, int]) -> Chunk:
    return work.chunk(task)


def _computed(
    selection: Selection,
    request: Request,
    tasks: Sequence[tuple[int, int]],
    team: Team,
    kept: str,
) -> Generator[Chunk, None, None]:
    """Chunks as they are finished, in any order; `kept` ends the message of a worker's death."""
    work = _Work(selection, request)
    try:
        with closing(team.each(_chunk, work, tasks, stopping="the analysis")) as found:
            for _, chunk in found:
                yield chunk
    except WorkerDied as death:
        if death.status == 1:
            raise WorkerError(
                "a worker process ended as it started. A script that analyses with more than one "
                "worker must do so under `if __name__ == '__main__':`, since each worker imports "
                "it; or analyse with workers=1."
            ) from None
        raise WorkerError(
            f"a worker process {death.how} at {selection.where(*death.item)}. {kept}"
        ) from None
    finally:
        work.close()


def _identity(path: Path) -> dict[str, Any]:
    """A file's size and checksum, or its modification time where it is large."""
    status = path.stat()
    if status.st_size > CHECKSUM_LIMIT:
        return {"size": status.st_size, "modified_ns": status.st_mtime_ns}
    return {"size": status.st_size, "sha256": file_checksum(path)}


def _header(selection: Selection, request: Request) -> dict[str, Any]:
    """The manifest's first line: an analysis's inputs and settings."""
    return {
        "amorph": importlib.metadata.version("amorph"),
        "inputs": {
            f"{k} {source.path}": _identity(source.path)
            for k, source in enumerate(selection.sources)
        },
        "frames": [[r.start, r.stop, r.step] for r in selection.frames],
        "features": None if request.features is None else list(request.features),
        "registered": list(request.registered),
        "gradients": list(request.gradients),
        "tolerance": request.tolerance,
        "strict": request.strict,
        "potential": request.potential,
        "parameters": {k: np.asarray(v).tolist() for k, v in request.parameters.items()},
        "types": None if request.types is None else list(request.types),
        **({"plugins": {p.name: p.checksum for p in loaded()}} if loaded() else {}),
    }


def _states(selection: Selection) -> list[tuple[int, int]]:
    states = [os.stat(source.path) for source in selection.sources]
    return [(state.st_size, state.st_mtime_ns) for state in states]


def analyze_to_file(
    paths: Sequence[Path],
    output: Path,
    *,
    features: Sequence[str] | None = None,
    gradients: Sequence[str] = (),
    frames: slice | None = None,
    theta: bridge.Theta | None = None,
    types: Sequence[str] | None = None,
    tolerance: float | None = None,
    strict: bool = False,
    workers: int | None = None,
    team: Team | None = None,
    resume: bool = False,
    overwrite: bool = False,
    before: Callable[[Selection, Request], object] | None = None,
    finished: Callable[[Selection, Request, Parts], object] | None = None,
    progress: Progress | None = None,
) -> Analyzed:
    """Relax and measure every frame of trajectories, into a JSON, CSV or Parquet table.

    Rows are in the order of the files and their frames, and the same to the last bit whatever the
    number of workers. Finished chunks are kept beside the output (`amorph.campaigns.store.parts`)
    until the table is whole, which then takes its name in one step. Memory does not grow with the
    number of frames.

    Parameters
    ----------
    paths, features, gradients, frames, theta, types, tolerance, strict:
        As in `amorph.campaigns.studies.analyze.rows.analyze`; a frame that cannot be measured has a
        row that says so.
    output:
        The table; the ending of its name says of which format.
    workers:
        How many processes compute; by default one for each core that may be used, fewer if there
        is little to do. 1 computes in this process.
    team:
        Who computes, in place of `workers`: the ranks of MPI. This is the root.
    resume:
        Go on with an unfinished analysis of the same, if there is one.
    overwrite:
        Replace a table, and discard an unfinished analysis.
    before:
        Called with the selection and the request before any work; may refuse by raising.
    finished:
        Called once the table has its name, while the parts are still there to be read.
    progress:
        Called with the rows finished and those there are in all.

    Raises
    ------
    FeatureError, FrameError, InputError, OutputError
        Before any work, as `check_output` and `select` do.
    OutputExistsError, RecordError, RunningError
        As `amorph.campaigns.store.parts.Parts` does; and `RecordError` if an input was changed
        meanwhile.
    WorkerError
        A worker died: the message tells of which frames; what was finished is kept.
    """
    if resume and overwrite:
        raise InputError("--force begins anew, --resume goes on: give one of them.")
    request = Request.of(
        features, gradients, theta=theta, types=types, tolerance=tolerance, strict=strict
    )
    if workers is not None:
        if team is not None and team.size > 1:
            raise InputError("--workers are processes of one machine: under mpiexec ranks compute.")
        count("workers", workers)
    unfinished = begun(output)
    if resume and output.exists() and not unfinished:
        raise OutputExistsError(
            f"{output}: is there, and no unfinished analysis beside it: it is whole. --force makes "
            "it anew."
        )
    check_output(output, overwrite=overwrite or (resume and unfinished))
    selection = select(paths, frames, request)
    if before is not None:
        before(selection, request)
    states = _states(selection)
    total = selection.n_rows
    with Parts(output, _header(selection, request), resume=resume, discard=overwrite) as parts:
        found = parts.n_rows
        outcome = Analyzed(total, 0, found, notes=list(parts.notes))
        if progress is not None:
            progress(found, total)
        if found < total:
            left = total - found
            if team is None or team.size == 1:
                team = team_of(
                    left, selection.largest, workers, None if team is None else team.until
                )
            tasks = list(parts.missing(total, _size(left, selection.largest, team)))
            kept = (
                f"What was finished is kept in {parts.directory}: go on with --resume, with fewer "
                "--workers if memory ran out."
            )
            with closing(_computed(selection, request, tasks, team, kept)) as chunks:
                for chunk in chunks:
                    parts.add(chunk.first, chunk.count, chunk.failed, chunk.data, chunk.marks)
                    outcome.failures += chunk.messages[: 10 - len(outcome.failures)]
                    if progress is not None:
                        progress(parts.n_rows, total)
        if _states(selection) != states:
            raise RecordError(
                "an input file was changed while it was analysed: rows of both its states may be "
                f"in {parts.directory}. Begin anew with --force once it is whole."
            )
        outcome.failed = parts.n_failed
        outcome.other_minimum = parts.marks[OTHER_MINIMUM]
        outcome.not_converged = parts.marks[NOT_CONVERGED]
        outcome.unused = parts.marks["unused"]
        for partial in output.parent.glob(f".{glob.escape(output.name)}.partial-*"):
            partial.unlink(missing_ok=True)  # of a process that was killed while it wrote the table
        write_table(parts.rows, output)
        if finished is not None:
            finished(selection, request, parts)
        parts.remove()
    return outcome


def analyze_table(
    paths: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    features: str | Sequence[str] | None = None,
    gradients: str | Sequence[str] = (),
    frames: slice | None = None,
    theta: bridge.Theta | None = None,
    types: str | Sequence[str] | None = None,
    tolerance: float | None = None,
    strict: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> "pandas.DataFrame":
    """Relax and measure every frame of trajectories, into a pandas data frame: a row a frame.

    The columns are those of ``amorph analyze``: a column for each element of an array, named
    ``stress_0_1``, ``gradients.poisson_ratio.diameters_0``. A frame that cannot be measured has
    the error's name in ``status``, its ``message``, and no values. All rows are held in memory.

    Parameters
    ----------
    paths:
        One trajectory or several; the others as in `amorph.campaigns.studies.analyze.rows.analyze`.
    workers:
        How many processes compute; 1 computes in this process. With more, a script must call this
        under ``if __name__ == "__main__":``, since each worker imports the script.
    progress:
        Called with the rows finished and those there are in all.

    Raises
    ------
    FeatureError, FrameError, InputError
        Before any work, as `amorph.campaigns.studies.analyze.rows.select` does.
    WorkerError
        A worker died: the message tells of which frames.
    """
    import pandas

    listed = paths_of(paths)
    request = Request.of(
        features, gradients, theta=theta, types=types, tolerance=tolerance, strict=strict
    )
    selection = select(listed, frames, request)
    total = selection.n_rows
    team = team_of(total, selection.largest, workers)
    size = _size(total, selection.largest, team)
    tasks = [(at, min(at + size, total)) for at in range(0, total, size)]
    chunks: dict[int, Chunk] = {}
    done = 0
    kept = "Analyse with fewer workers if memory ran out, or by `amorph analyze`, which can resume."
    with closing(_computed(selection, request, tasks, team, kept)) as computed:
        for chunk in computed:
            chunks[chunk.first] = chunk
            done += chunk.count
            if progress is not None:
                progress(done, total)
    rows = [columns_of(row) for at in sorted(chunks) for row in chunks[at].rows()]
    return pandas.DataFrame(rows)
