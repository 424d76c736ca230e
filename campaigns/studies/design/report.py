"""Reports: pictures and one HTML page from a run directory, for one design or for many.

The page holds its pictures, so that the one file can be mailed; they stand beside it as PNG files
too, in ``figures/``.
"""

from os import PathLike
from pathlib import Path

from amorph.handover.arguments import file_path

from ...report.output import Output, check_output, png, write
from ...store.durable import os_errors_named
from . import pictures
from .entries import read_entries, view_of, views_of, with_history
from .page import MAX_OVERVIEW, document, many_page, single_page

__all__ = ["view_of", "write_overview", "write_report"]


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


def write_report(directory: str | PathLike[str], *, overwrite: bool = False) -> Path:
    """Write ``report.html`` and ``figures/*.png`` into a run directory; returns the page's path.

    The page holds its pictures. Of one design: what was asked and what came out, the traces, the
    parameters, the packing before and after with its forces, and the contributions of its pairs to
    the moduli. Of several: a table of all, what fraction succeeded, and the pictures of all or, if
    there are more than eight, of the best and the worst. An unfinished run is reported as far as it
    is published.

    Parameters
    ----------
    directory:
        The run directory of one design, or of several.
    overwrite:
        Replace a report that is there.

    Raises
    ------
    OutputExistsError, OutputError
        If there is a report already, or the directory cannot be written.
    FileMissingError, InputError
        If there is no such directory, no run in it, or no frames to report yet.
    FrameError, RecordError
        If the only design's records are damaged; among several, the page says so instead.
    """
    root = file_path("directory", directory)
    with os_errors_named(root):
        single, entries = read_entries(root)
        page = root / "report.html"
        check_output(page, overwrite)
        output = Output(root)
        if single:
            entry = with_history(entries[0])
            body = single_page(entry, output)
        else:
            entry, body = entries[0], many_page(root, entries, output)
        title = f"Amorph: {entry.name if single else root.resolve().name}"
        write(page, document(title, body).encode("utf-8"))
    return page
