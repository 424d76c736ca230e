"""Files that outlive a kill: whole under their names, written by one process, never thrown away."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import RunningError

__all__ = ["flushed", "locked", "set_aside", "write_json", "written_whole"]


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; once the block ends well it is on disk and has the name."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_directory(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that the file under that name is always whole."""
    with written_whole(path) as partial, partial.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, allow_nan=False)
        file.write("\n")


def flushed(file: IO[Any]) -> None:
    """Bring what was written to an open file to the disk."""
    file.flush()
    os.fsync(file.fileno())


def locked(directory: Path, name: str = ".lock") -> IO[str]:
    """The open lock file of a directory: until it is closed, no other process can have it.

    Raises `RunningError` where one has, `OSError` where the file cannot be made.
    """
    lock = (directory / name).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise RunningError(
            f"{directory}: another process is writing there; wait for it, or choose another output."
        ) from None
    return lock


def set_aside(path: Path) -> Path:
    """Rename a file that is not what it should be to a name that is free; returns that."""
    k = 1
    while (aside := path.with_name(f"{path.name}.aside-{k}")).exists():
        k += 1
    path.rename(aside)
    return aside


def _sync_directory(directory: Path) -> None:
    # Only then does the new name itself survive a power cut.
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
