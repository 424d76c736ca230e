"""The report of a run of any study: pictures and one HTML page.

The page holds its pictures, so that the one file can be mailed; they stand beside it as PNG files
too, in ``figures/``.
"""

from os import PathLike
from pathlib import Path
from typing import Any

from amorph.handover import AmorphError, FileMissingError, InputError
from amorph.handover.arguments import file_path

from ..report.html import document
from ..report.output import Output, check_output, write
from ..store.directories import SOURCE
from ..store.durable import os_errors_named
from .files import study_called, study_of
from .status import kept_campaign
from .study import Study, Task, plan

__all__ = ["write_report"]


def write_report(directory: str | PathLike[str], *, overwrite: bool = False) -> Path:
    """Write ``report.html`` and ``figures/*.png`` into a run directory; returns the page's path.

    The page holds its pictures. Of a study of rows: its tasks, its pictures, where its table is. Of
    one design: what was asked and what came out, the traces, the parameters, the packing before and
    after with its forces, and the contributions of its pairs to the moduli. Of several: a table of
    all, what fraction succeeded, and the pictures of all or, if there are more than eight, of the
    best and the worst. An unfinished run is reported as far as it is published.

    Parameters
    ----------
    directory:
        A run directory, or that of one design of several.
    overwrite:
        Replace a report that is there.

    Raises
    ------
    OutputExistsError, OutputError
        If there is a report already, or the directory cannot be written.
    FileMissingError, InputError
        If there is no such directory, no run in it, or nothing to report yet.
    FrameError, RecordError
        If the only design's records are damaged; among several, the page says so instead.
    """
    root = file_path("directory", directory)
    if not root.exists():
        raise FileMissingError(f"{root}: there is no such directory. Check the path.")
    if not root.is_dir():
        raise InputError(f"{root}: is a file; give the run directory it lies in.")
    with os_errors_named(root):
        page = root / "report.html"
        check_output(page, overwrite)
        output = Output(root)
        kind, tasks = _run_in(root)
        title, body = kind.page(root, tasks, output)
        write(page, document(title, body).encode("utf-8"))
    return page


def _run_in(root: Path) -> tuple[type[Study[Any]], list[Task[Any]]]:
    """The study and the tasks of a run directory.

    Designs tell of themselves in their records: for them the campaign's file, and what it needs
    (plug-ins, HOOMD-blue, a file to start from), may be missing, and so may the directory of all.
    """
    design = study_called("design")
    designs = (root / design.kept).exists() or any(root.glob(f"*/{design.kept}"))
    if (root / SOURCE).exists():
        try:
            campaign = kept_campaign(root)
            kind = study_of(campaign)
            return kind, plan(kind, campaign, root)
        except AmorphError:
            if not designs:
                raise
    return design, []
