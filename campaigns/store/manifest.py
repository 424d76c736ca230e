"""Manifests: lines of JSON that tell what is safe on disk, each written once that is."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, TypeVar

from .durable import flushed, set_aside, written_whole

__all__ = ["Manifest", "lines_in"]

Entry = TypeVar("Entry")


def lines_in(path: Path) -> int:
    """The number of whole lines, whatever they say; 0 for a file that is not there."""
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


class Manifest:
    """The manifest of a directory, which a kill leaves with whole lines and a part of one at most.

    Parameters
    ----------
    path:
        Its file, which need not be there.

    Attributes
    ----------
    notes:
        What was found damaged and set aside.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._file: IO[bytes] | None = None

    def read(self, understood: Callable[[Any, int], Entry]) -> list[Entry]:
        """The entries, understood(line's JSON, its number), up to the first that is damaged.

        Damaged is a line that is no JSON, or of which `understood` raises `ValueError`, `TypeError`
        or `KeyError`.
        """
        found: list[Entry] = []
        if self.path.exists():
            for line in self.path.read_bytes().split(b"\n")[:-1]:
                try:
                    found.append(understood(json.loads(line), len(found)))
                except (ValueError, KeyError, TypeError):
                    break
        return found

    def holds(self, number: int) -> bool:
        """Whether it has so many lines and no part of another, to which new ones would be added."""
        if not self.path.exists():
            return number == 0
        data = self.path.read_bytes()
        return data.count(b"\n") == number and (not data or data.endswith(b"\n"))

    def rewrite(self, entries: Iterable[Any]) -> None:
        """Replace it by other entries, at once."""
        with written_whole(self.path) as partial:
            partial.write_bytes(b"".join(map(_line, entries)))

    def open(self) -> None:
        """Open it to add entries."""
        self._file = self.path.open("ab")

    def add(self, entries: Iterable[Any]) -> None:
        """Add entries, and bring them to the disk. Raises `OSError` where that fails."""
        assert self._file is not None
        self._file.write(b"".join(map(_line, entries)))
        flushed(self._file)

    def set_aside(self, path: Path, reason: str) -> None:
        """Rename what is damaged, if it is there, and note why."""
        if not path.exists():
            self.notes.append(f"{path.name} is not there any more: {reason}")
            return
        self.notes.append(f"{path.name} was set aside as {set_aside(path).name}: {reason}")

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _line(entry: Any) -> bytes:
    return json.dumps(entry, allow_nan=False).encode() + b"\n"
