"""Files that outlive a kill: whole under their names, written by one process, never thrown away."""

import errno
import fcntl
import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from amorph.handover import AmorphError, OutputError

from ..errors import RecordError, RunningError

__all__ = [
    "file_checksum",
    "flushed",
    "held",
    "locked",
    "os_errors_named",
    "remove_partials",
    "set_aside",
    "write_json",
    "written_whole",
]

LOCK = ".lock"
# Seconds to retry: a process that only tests whether a lock is held takes it for a moment.
_PATIENCE = 0.5


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


def file_checksum(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flushed(file: IO[Any]) -> None:
    """Bring what was written to an open file to the disk."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def os_errors_named(directory: Path) -> Iterator[None]:
    """Give whatever an operating system says of a directory's files a name.

    Raises `RecordError` in place of an `OSError` that has none of ours.
    """
    try:
        yield
    except AmorphError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise RecordError(
            f"{error.filename or directory}: {reason}. A run in {directory} needs it as a run "
            "leaves it: check what is there, its permissions and the space left, then resume."
        ) from error


def remove_partials(directory: Path, *names: str) -> None:
    """Remove what processes that were killed had begun to write for files of some names.

    To be called by who has the directory's lock. The names may have ``*`` in them; what is not
    finished is called as `written_whole` and `amorph.handover.write_gsd` do. Raises `OSError`
    where something cannot be removed.
    """
    for name in names:
        for path in directory.glob(f".{name}.partial-*"):
            path.unlink(missing_ok=True)


def locked(directory: Path, name: str = LOCK) -> IO[str]:
    """The open lock file of a directory: until it is closed, no other process can have it.

    It says which process on which machine has it. Raises `RunningError` where another process has
    one, `OutputError` where the file system has no locks, `OSError` where the file cannot be made.
    """
    lock = (directory / name).open("a+", encoding="utf-8")
    patient_until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() < patient_until:
                time.sleep(0.02)
                continue
            lock.close()
            raise RunningError(
                f"{directory}: another process is writing there; wait for it, or choose another "
                "output."
            ) from None
        except OSError as error:
            lock.close()
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            raise OutputError(
                f"{directory}: its file system has no locks ({error.strerror}), without which two "
                "runs could write there at once: choose a directory on another one."
            ) from error
    with suppress(OSError):  # on a full disk the lock is one all the same
        lock.seek(0)
        lock.truncate()
        json.dump({"machine": _machine(), "pid": os.getpid()}, lock)
        lock.write("\n")
        lock.flush()
    return lock


def held(directory: Path, name: str = LOCK) -> bool | None:
    """Whether a process has the lock of a directory; None where that cannot be known.

    Some file systems keep locks to the machine that took them: of a lock that another machine took
    last, nothing is known here where it seems to be free.
    """
    path = directory / name
    try:
        with path.open(encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            try:
                machine = json.load(lock)["machine"]
            except (ValueError, KeyError, TypeError):
                return None  # of an earlier version
            return False if machine == _machine() else None
    except FileNotFoundError:
        return False
    except OSError:
        return None


def _machine() -> str:
    """A name that tells this machine, since it was started, from others."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        started = ""
    # Containers of a machine have names of their own, but share what locks there are.
    return started or platform.node()


def set_aside(path: Path) -> Path:
    """Rename a damaged file to a name that is free, which is returned."""
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
