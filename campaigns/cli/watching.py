"""Bars of a run's tasks and of what each does, shown on a terminal while it is at work."""

from collections.abc import Mapping
from typing import Any

from rich.progress import Progress

from ..studies.study import Study, Watcher
from .terminal import tell

__all__ = ["Bars"]


class Bars(Watcher):
    """Shows a run's progress by the bars of `amorph.campaigns.cli.terminal.bars`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks = progress.add_task("", total=None, info="")
        self._parts = progress.add_task("", total=None, info="")

    def started(self, study: Study[Any], number: int, total: int) -> None:
        """Begin a task's bar."""
        tasks = study.many if total > 1 else study.one
        self._progress.update(
            self._tasks, description=tasks, total=total, completed=number, info=study.label
        )
        self._progress.reset(self._parts, description=study.unit, total=None, info="")

    def progressed(self, study: Study[Any], done: int, total: int, info: str) -> None:
        """Show how far it is."""
        self._progress.update(self._parts, completed=done, total=total, info=info)

    def ended(self, study: Study[Any], outcome: Mapping[str, Any]) -> None:
        """Go on to the next, and say what there is to say of this one."""
        self._progress.advance(self._tasks)
        if outcome["message"]:
            tell(f"amorph: {study.label}: {outcome['message']}")

    def note(self, message: str) -> None:
        """Say what was found."""
        tell(f"amorph: {message}")
