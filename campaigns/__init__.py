"""Campaigns: studies of many packings, from a file to a report; and the command line.

`load_campaign` and `run_campaign` run a campaign file as ``amorph run`` does, `write_report` makes
its page, `history_table` has every step of a run of designs as a pandas data frame. `analyze_table`
measures trajectories into one. A study of one's own derives from `RowStudy` (or `Study`), has its
file's tables as `Table` and `StudyFile`, and is registered by `register_study`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inputs.files import StudyFile
    from .inputs.tables import Table
    from .studies.analyze.running import analyze_table
    from .studies.design.history import history_table
    from .studies.files import load_campaign
    from .studies.reporting import write_report
    from .studies.rows import RowStudy
    from .studies.running import run_campaign
    from .studies.status import read_status
    from .studies.study import Study, register_study

__all__ = [
    "RowStudy",
    "Study",
    "StudyFile",
    "Table",
    "analyze_table",
    "history_table",
    "load_campaign",
    "read_status",
    "register_study",
    "run_campaign",
    "write_report",
]

_WHERE = {
    "RowStudy": "studies.rows",
    "Study": "studies.study",
    "StudyFile": "inputs.files",
    "Table": "inputs.tables",
    "analyze_table": "studies.analyze.running",
    "history_table": "studies.design.history",
    "load_campaign": "studies.files",
    "read_status": "studies.status",
    "register_study": "studies.study",
    "run_campaign": "studies.running",
    "write_report": "studies.reporting",
}


def __getattr__(name: str) -> Any:
    # Heavy modules are imported where they are used: the command line answers at once.
    if name in _WHERE:
        return getattr(import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
