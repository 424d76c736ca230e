"""Campaigns: the command line, campaign files, optimisation loops, run records and reports.

`analyze_table` measures trajectories into a pandas data frame, `history_table` has every step of a
run as one.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .studies.analyze.running import analyze_table
    from .studies.design.history import history_table

__all__ = ["analyze_table", "history_table"]


def __getattr__(name: str) -> Any:
    # Heavy modules are imported where they are used: the command line answers at once.
    if name == "analyze_table":
        from .studies.analyze.running import analyze_table

        return analyze_table
    if name == "history_table":
        from .studies.design.history import history_table

        return history_table
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
