"""Bars of a run's designs and their steps, shown on a terminal while it is at work."""

from collections.abc import Mapping
from typing import Any

from rich.progress import Progress

from ..studies.design.designs import Design, Step
from ..studies.design.runs import DesignTask, Watcher
from .terminal import tell

__all__ = ["Bars"]


class Bars(Watcher):
    """Shows a run's progress by the bars of `amorph.campaigns.cli.terminal.bars`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._designs = progress.add_task("designs", total=None, info="")
        self._steps = progress.add_task("step", total=None, info="")

    def design_started(self, task: DesignTask, number: int, total: int) -> None:
        """Begin the bar of a design's steps."""
        self._progress.update(self._designs, total=total, completed=number, info=task.label)
        limit = task.campaign.stop.steps
        self._progress.reset(self._steps, total=limit, info="quench and compile")

    def step_done(self, design: Design, step: Step) -> None:
        """Show a step's loss and values."""
        values = ", ".join(
            f"{f.name} {v:.4f} → {t:g}"
            for f, v, t in zip(design.features, step.value, design.target, strict=True)
        )
        self._progress.update(
            self._steps, completed=step.number, info=f"loss {step.loss:.1e}  {values}"
        )

    def validated(self, task: DesignTask, done: int, total: int) -> None:
        """Show how many fresh packings are measured."""
        self._progress.update(self._steps, info=f"validation: {done} of {total} packings")

    def design_ended(self, task: DesignTask, outcome: Mapping[str, Any]) -> None:
        """Go on to the next design, and say what there is to say of this one."""
        self._progress.advance(self._designs)
        if outcome["message"]:
            tell(f"amorph: {task.label}: {outcome['message']}")

    def note(self, message: str) -> None:
        """Say what was found."""
        tell(f"amorph: {message}")
