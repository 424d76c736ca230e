"""Run directories: made for one file, or found to be of the same one."""

from collections.abc import Callable, Sequence
from pathlib import Path

from amorph.handover import OutputError, OutputExistsError

from ..errors import RecordError
from .durable import os_errors_named, written_whole

__all__ = ["SOURCE", "check_new", "keep_source", "open_directory"]

SOURCE = "campaign.toml"
"""The copy of a run's file in its directory."""


def open_directory(
    directory: Path,
    source: str,
    *,
    resume: bool,
    same: Callable[[Path, str], bool],
    apart: Sequence[str] = (),
) -> bool:
    """Make a run directory, or check that it belongs to the file that is resumed.

    Parameters
    ----------
    directory, source:
        The directory and the text of the run's file.
    resume:
        Whether a directory in use is gone on with.
    same:
        same(kept file, text) tells whether both are of the same run.
    apart:
        The tables in which they may differ.

    Returns whether it was in use.

    Raises `OutputExistsError` for a directory in use unless `resume`, `RecordError` if it was
    started from a file that is not the same, `OutputError` if it cannot be made.
    """
    if directory.exists() and not directory.is_dir():
        raise OutputExistsError(f"{directory}: is a file; choose another directory.")
    used = directory.exists() and any(directory.iterdir())
    if used and not resume:
        raise OutputExistsError(
            f"{directory}: is not empty; add --resume to go on with the run in it, or choose "
            "another directory."
        )
    kept = directory / SOURCE
    if used and kept.exists() and not same(kept, source):
        more = f", which differs in more than {_listed(apart)}" if apart else ""
        raise RecordError(
            f"{directory}: was started from another campaign file (its copy is {kept}){more}: "
            "resume with that one, or choose another directory."
        )
    if used and not kept.exists():
        raise RecordError(
            f"{directory}: is not empty and holds no {SOURCE}, so it is no run of ours: "
            "choose another directory."
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{directory}: cannot be written: {error.strerror}.") from error
    return used


def check_new(directory: Path) -> None:
    """Make a directory that is new or empty.

    Raises `OutputExistsError` for one in use, `OutputError` where it cannot be made.
    """
    with os_errors_named(directory):
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise OutputExistsError(f"{directory}: is in use; choose another directory.")
        directory.mkdir(parents=True, exist_ok=True)


def keep_source(directory: Path, source: str) -> None:
    """Keep the text of a run's file in its directory; raises `OutputError`."""
    kept = directory / SOURCE
    try:
        if not kept.exists() or kept.read_bytes() != source.encode("utf-8"):
            with written_whole(kept) as partial:
                partial.write_text(source, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{directory}: cannot be written: {error.strerror}.") from error


def _listed(tables: Sequence[str]) -> str:
    return ", ".join(f"[{name}]" for name in tables)
