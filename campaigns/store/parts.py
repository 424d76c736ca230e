"""Finished rows of an analysis under way, kept in parts beside the table.

Beside ``OUT.parquet`` lies ``.OUT.parquet.parts/``: a part holds the rows of consecutive frames, a
line of JSON each; it is written under another name, brought to the disk and renamed. The
manifest's first line holds the inputs and settings; it gets a line with each part's checksum once
the part is on disk. A kill leaves whole parts behind; a part that is not what the manifest says is
set aside under another name, and its frames are made anew.
"""

import contextlib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from amorph.handover import OutputError, OutputExistsError

from ..errors import RecordError
from .durable import locked, written_whole
from .manifest import Manifest

__all__ = ["Part", "Parts", "begun", "parts_directory", "rows_finished"]

_OURS = re.compile(
    r"\d{9}-\d{9}\.jsonl(\.aside-\d+)?|manifest\.jsonl"
    r"|\.(\d{9}-\d{9}|manifest)\.jsonl\.partial-\d+"
)


@dataclass(frozen=True)
class Part:
    """A finished part: rows first, first + 1, ..., of which so many failed; its checksum.

    ``marks`` counts rows by what is to be told of them besides.
    """

    first: int
    count: int
    failed: int
    checksum: str
    marks: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its file in the directory."""
        return f"{self.first:09d}-{self.first + self.count - 1:09d}.jsonl"


def parts_directory(output: Path) -> Path:
    """The folder of a table's parts, until it is whole."""
    return output.with_name(f".{output.name}.parts")


def begun(output: Path) -> bool:
    """Whether an unfinished analysis for a table is there."""
    return (parts_directory(output) / "manifest.jsonl").exists()


def rows_finished(directory: Path) -> int:
    """The number of rows in a directory's parts, which may be at work."""
    try:
        lines = (directory / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[1:]
        return sum(int(json.loads(line)["count"]) for line in lines)
    except (OSError, ValueError, KeyError):
        return 0  # the manifest is being written, or was just removed


class Parts:
    """The parts of one table, open for writing by one process at a time.

    Parameters
    ----------
    output:
        The table's final name.
    header:
        Inputs and settings, for JSON; a resumed analysis must have the same.
    resume:
        Go on with parts that are there, if they are.
    discard:
        Remove parts that are there.
    cure:
        What to do, in the words of whoever is asked to, where the parts are of something else.

    Attributes
    ----------
    directory:
        Where they are.
    parts:
        The finished parts, in the order of their rows.
    n_rows, n_failed:
        How many rows are finished, and how many of them are of frames that could not be measured.
    marks:
        How many rows are marked by what.

    Raises
    ------
    OutputExistsError
        There are parts, and neither `resume` nor `discard` is asked for.
    RunningError
        Another process has the parts open.
    RecordError
        They are of another analysis (the message says what differs), or their manifest is damaged.
    OutputError
        The directory cannot be written.
    """

    def __init__(
        self,
        output: Path,
        header: Mapping[str, Any],
        *,
        resume: bool = False,
        discard: bool = False,
        cure: str = "Begin anew with --force.",
    ) -> None:
        self._cure = cure
        self.directory = parts_directory(output)
        self.parts: list[Part] = []
        self.n_rows = self.n_failed = 0
        self.marks: Counter[str] = Counter()
        self._output = output
        self._manifest = Manifest(self.directory / "manifest.jsonl")
        if self._manifest.path.exists() and not (resume or discard):
            raise OutputExistsError(
                f"{self.directory}: an unfinished analysis for {output.name} is there: go on with "
                "it by --resume, or discard it by --force."
            )
        try:
            self.directory.mkdir(exist_ok=True)
            self._lock = locked(self.directory)
        except OSError as error:
            raise self._cannot_write(error) from error
        try:
            # Without a manifest these files are leftovers of a finished table.
            if discard or not self._manifest.path.exists():
                self._clear()
            # What was begun is compared as it is read back: tuples are lists in JSON.
            wanted = json.loads(json.dumps(header))
            if self._manifest.path.exists():
                self._recover(wanted)
            else:
                self._manifest.rewrite([wanted])
            self._manifest.open()
        except OSError as error:
            self._lock.close()
            raise self._cannot_write(error) from error
        except BaseException:
            self._lock.close()
            raise

    def missing(self, total: int, chunk: int) -> Iterator[tuple[int, int]]:
        """The rows still to be made, first and one past the last, at most `chunk` at a time."""
        at = 0
        for first, end in [*((p.first, p.first + p.count) for p in self.parts), (total, total)]:
            while at < first:
                stop = min(at + chunk, first)
                yield at, stop
                at = stop
            at = end

    def add(
        self,
        first: int,
        count: int,
        failed: int,
        data: bytes,
        marks: Mapping[str, int] | None = None,
    ) -> None:
        """Make rows durable: the part first, then its line in the manifest.

        Raises `OutputError` where they cannot be written.
        """
        part = Part(first, count, failed, hashlib.sha256(data).hexdigest(), dict(marks or {}))
        try:
            with written_whole(self.directory / part.name) as partial:
                partial.write_bytes(data)
            self._manifest.add([asdict(part)])
        except OSError as error:
            raise self._cannot_write(error) from error
        self._append(part)
        if len(self.parts) > 1 and self.parts[-2].first > first:
            self.parts.sort(key=lambda p: p.first)

    def rows(self) -> Iterator[list[dict[str, Any]]]:
        """All finished rows, part by part, in order; may be asked for again.

        Raises `RecordError` for a part that is not what was written.
        """
        for part in self.parts:
            data = self._data(part)
            if data is None:
                raise RecordError(
                    f"{self.directory / part.name}: was damaged since it was written. Run the "
                    "analysis again with --resume: it sets the part aside and makes its frames "
                    "anew."
                )
            yield [json.loads(line) for line in data.splitlines()]

    def remove(self) -> None:
        """Remove the parts, once the table is whole; anything of others stays."""
        self._manifest.close()
        self._clear()
        (self.directory / ".lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    def close(self) -> None:
        """Leave the parts as they are, for another time."""
        self._manifest.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _append(self, part: Part) -> None:
        self.parts.append(part)
        self.n_rows += part.count
        self.n_failed += part.failed
        self.marks.update(part.marks)

    def _data(self, part: Part) -> bytes | None:
        """A part's bytes, or None if they are not those that were written."""
        try:
            data = (self.directory / part.name).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == part.checksum else None

    def _clear(self) -> None:
        # The manifest goes first: without it, parts are leftovers.
        self._manifest.path.unlink(missing_ok=True)
        for path in list(self.directory.iterdir()):
            if _OURS.fullmatch(path.name):
                path.unlink(missing_ok=True)

    @property
    def notes(self) -> list[str]:
        """Messages about what was found damaged and set aside."""
        return self._manifest.notes

    def _recover(self, wanted: Mapping[str, Any]) -> None:
        def understood(entry: Any, number: int) -> dict[str, Any] | Part:
            return dict(entry) if number == 0 else Part(**entry)

        header, *listed = self._manifest.read(understood) or [{}]
        if not isinstance(header, dict) or not header:
            raise RecordError(
                f"{self._manifest.path}: is damaged: its first line cannot be read, so that nobody "
                f"knows what the parts belong to. {self._cure}"
            )
        differences = list(_differences(header, wanted))
        if differences:
            raise RecordError(
                f"{self.directory}: the analysis there is another than the one asked for: "
                + "; ".join(differences)
                + f". Ask for the same; else: {self._cure}"
            )
        end = 0
        for part in sorted((p for p in listed if isinstance(p, Part)), key=lambda p: p.first):
            if part.first < end or self._data(part) is None:
                doubled = part.first < end
                reason = "it repeats rows of another" if doubled else "it is not what was written"
                made = f"rows {part.first} to {part.first + part.count - 1} are made anew"
                self._manifest.set_aside(self.directory / part.name, f"{reason}; {made}")
                continue
            end = part.first + part.count
            self._append(part)
        if not self._manifest.holds(1 + len(self.parts)):
            self._manifest.rewrite([header, *map(asdict, self.parts)])

    def _cannot_write(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.directory}: cannot be written: {error.strerror or error}. What was finished "
            "is kept there. Check the directory's permissions and the space left, then go on with "
            "--resume."
        )


def _differences(was: Any, now: Any, name: str = "") -> Iterator[str]:
    """The differences of two headers, in words."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*was, *now]):
            inner = f"{name}.{key}" if name else str(key)
            yield from _differences(was.get(key), now.get(key), inner)
    elif was != now:
        yield f"{name} was {_short(was)}, and is now {_short(now)}"


def _short(value: Any) -> str:
    text = "not given" if value is None else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
