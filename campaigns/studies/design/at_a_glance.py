"""The picture of a run's designs at a glance."""

from os import PathLike
from pathlib import Path

from amorph.handover.arguments import file_path

from ...report.output import check_output, png, write
from . import pictures
from .entries import read_entries, views_of, with_history
from .page import MAX_OVERVIEW

__all__ = ["write_overview"]


def write_overview(
    directory: str | PathLike[str], path: str | PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write the picture of a run's designs, a row each: the value, the packing before and after.

    Parameters
    ----------
    directory:
        A run directory, of one design or of several; of many, the first four are shown.
    path:
        The PNG file, 1600 pixels wide.
    overwrite:
        Replace it if it exists.

    Raises
    ------
    OutputExistsError, OutputError
        If the picture may not or cannot be written there.
    FileMissingError, InputError, FrameError, RecordError
        If the directory is no run's, or its records cannot be used.
    """
    target = file_path("path", path)
    check_output(target, overwrite)
    _, entries = read_entries(file_path("directory", directory))
    rows = []
    for entry in entries[:MAX_OVERVIEW]:
        history = with_history(entry).history
        assert history is not None
        rows.append((history, *views_of(history)))
    write(target, png(pictures.overview(rows)))
    return target
