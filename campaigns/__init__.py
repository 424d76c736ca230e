"""Campaigns: the command line, campaign files, optimisation loops, run records and reports.

`analyze_table` measures trajectories into a pandas data frame.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analyzing import analyze_table

__all__ = ["analyze_table"]


def __getattr__(name: str) -> Any:
    # What computes is imported where it is used: the command line answers at once.
    if name == "analyze_table":
        from .analyzing import analyze_table

        return analyze_table
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
