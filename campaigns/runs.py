"""Running a campaign: its designs one after the other, each safe on disk at every step."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amorph import bridge, ensemble
from amorph.handover import AmorphError, OutputError, OutputExistsError

from .designs import Design, Step
from .durable import write_json
from .errors import RecordError
from .files import Campaign
from .preparing import prepare_ensemble
from .records import FRAMES_PER_SHARD, RunRecord, read_outcome

__all__ = ["DesignTask", "Watcher", "plan", "run_campaign", "start_packing"]


class Watcher:
    """Told of a run's progress; does nothing unless overridden."""

    def design_started(self, task: "DesignTask", number: int, total: int) -> None:
        """A design begins, or goes on."""

    def step_done(self, design: Design, step: Step) -> None:
        """A step is safe on disk."""

    def design_ended(self, task: "DesignTask", outcome: Mapping[str, Any]) -> None:
        """A design has ended; `outcome` is its entry in the summary."""

    def note(self, message: str) -> None:
        """Something the user should know."""


@dataclass(frozen=True)
class DesignTask:
    """One design of a campaign: a point of the sweep and a replica of the preparation."""

    directory: Path
    campaign: Campaign
    chosen: Mapping[str, Any]
    replica: int

    @property
    def label(self) -> str:
        """How the design is named in messages."""
        values = [f"{o.feature} → {o.target:g}" for o in self.campaign.objective]
        values += [f"{p} = {v}" for p, v in self.chosen.items() if not p.endswith(".target")]
        if self.campaign.preparation.n_replicas > 1:
            values.append(f"replica {self.replica}")
        return ", ".join(values)


def plan(campaign: Campaign, directory: Path) -> list[DesignTask]:
    """The designs of a campaign; a single one has the directory to itself."""
    tasks = [
        (chosen, point, replica)
        for chosen, point in campaign.points()
        for replica in range(point.preparation.n_replicas)
    ]
    if len(tasks) == 1:
        chosen, point, replica = tasks[0]
        return [DesignTask(directory, point, chosen, replica)]
    width = len(str(len(tasks) - 1))

    def name(number: int, chosen: Mapping[str, Any], replica: int) -> str:
        parts = [f"{number:0{width}d}"]
        parts += [f"{path.split('.')[-1]}-{value}" for path, value in chosen.items()]
        return "_".join([*parts, f"replica-{replica}"]).replace("/", "-")

    return [
        DesignTask(directory / name(k, chosen, replica), point, chosen, replica)
        for k, (chosen, point, replica) in enumerate(tasks)
    ]


def start_packing(campaign: Campaign, replica: int) -> bridge.Packing:
    """The quenched packing of a replica, as the campaign's preparation describes it.

    Raises `RecordError` if the quench does not converge.
    """
    batch = prepare_ensemble(campaign.potential, campaign.preparation, replica=replica)
    if not batch.converged.all():
        status = ensemble.Status(int(batch.status[0])).name.lower().replace("_", " ")
        raise RecordError(
            f"replica {replica}: the quench ended with '{status}' at a largest force of "
            f"{batch.max_force[0]:.1e}: raise preparation.max_steps or preparation.tolerance."
        )
    frame = next(batch.frames())
    return bridge.Packing.of(frame.positions, frame.typeid, frame.box)


def prepare_directory(directory: Path, source: str, *, resume: bool) -> None:
    """Make a run directory, or check that it belongs to the campaign that is resumed.

    Raises `OutputExistsError` for a directory in use unless `resume`, `RecordError` if it was
    started from another campaign file, `OutputError` if it cannot be made.
    """
    if directory.exists() and not directory.is_dir():
        raise OutputExistsError(f"{directory}: is a file; choose another directory.")
    used = directory.exists() and any(directory.iterdir())
    if used and not resume:
        raise OutputExistsError(
            f"{directory}: is not empty; add --resume to go on with the run in it, or choose "
            "another directory."
        )
    kept = directory / "campaign.toml"
    if used and kept.exists() and kept.read_text(encoding="utf-8") != source:
        raise RecordError(
            f"{directory}: was started from another campaign file (its copy is {kept}): resume "
            "with that one, or choose another directory."
        )
    if used and not kept.exists():
        raise RecordError(
            f"{directory}: is not empty and holds no campaign.toml, so it is no run of ours: "
            "choose another directory."
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not kept.exists():
            partial = directory / ".campaign.toml.partial"
            partial.write_text(source, encoding="utf-8")
            partial.replace(kept)
    except OSError as error:
        raise OutputError(f"{directory}: cannot be written: {error.strerror}.") from error


def _outcome(
    task: DesignTask,
    root: Path,
    first: Step | None,
    last: Step | None,
    status: str,
    message: str,
    counts: Mapping[str, int],
    seconds: float,
) -> dict[str, Any]:
    c = task.campaign
    return {
        "name": task.label,
        "directory": str(task.directory.relative_to(root)),
        "feature": [o.feature for o in c.objective],
        "target": [o.target for o in c.objective],
        "weight": [o.weight for o in c.objective],
        "threshold": c.stop.loss,
        "status": status,
        "steps": last.number if last else 0,
        "loss": last.loss if last else None,
        "initial": first.value.tolist() if first else None,
        "value": last.value.tolist() if last else None,
        "rearrangements": counts["rearranged"],
        "crossings": counts["crossings"],
        "message": message,
        "seed": c.preparation.seed,
        "replica": task.replica,
        "seconds": round(seconds, 3),
    }


def _worth_publishing(frames: int) -> bool:
    """At 64, 128, 256, ... frames: `run.gsd` lags, but putting it together costs little."""
    shards, rest = divmod(frames, FRAMES_PER_SHARD)
    return rest == 0 and shards & (shards - 1) == 0


def run_design(task: DesignTask, root: Path, watcher: Watcher) -> dict[str, Any]:
    """Run one design to its end, from wherever its record stands; returns its outcome.

    Numerical failure ends the design with status ``failed`` and the reason; an interrupt leaves a
    record that can be resumed, and is raised again.
    """
    began = time.monotonic()
    kept = task.directory / "design.json"
    try:
        before = read_outcome(kept) if kept.exists() else None
    except RecordError as error:
        watcher.note(f"{error} It is made anew.")
        before = None
    earlier = float(before.get("seconds", 0.0)) if before else 0.0
    design = Design(task.campaign)
    first: Step | None = None
    step: Step | None = None
    counts = {"rearranged": 0, "crossings": 0}

    def outcome(status: str, message: str = "") -> dict[str, Any]:
        seconds = earlier + time.monotonic() - began
        return _outcome(task, root, first, step, status, message, counts, seconds)

    def count(s: Step) -> None:
        counts["rearranged"] += int(s.rearranged)
        counts["crossings"] += s.crossings

    with RunRecord(task.directory) as record:
        for note in record.notes:
            watcher.note(f"{task.label}: {note}")
        for frame in record.read():
            step = design.resume(frame)
            first = first or step
            count(step)
        # A finished design whose record is whole has nothing more to do.
        if before and before["status"] != "running" and step and before["steps"] == step.number:
            return before
        try:
            if step is None:
                first = step = design.start(start_packing(task.campaign, task.replica))
                record.append(design.frame(step))
            write_json(task.directory / "design.json", outcome("running"))
            while (ended := design.finished(step)) is None:
                step = design.advance(step)
                record.append(design.frame(step))
                count(step)
                watcher.step_done(design, step)
                if _worth_publishing(record.frames):
                    record.publish()
            result = outcome(ended)
        except (AmorphError, FloatingPointError) as error:
            if isinstance(error, OutputError):
                raise
            result = outcome("failed", str(error))
        finally:
            if record.frames:
                record.publish()
        write_json(task.directory / "design.json", result)
    return result


def run_campaign(
    campaign: Campaign,
    source: str,
    directory: Path,
    *,
    resume: bool = False,
    watcher: Watcher | None = None,
) -> list[dict[str, Any]]:
    """Run a campaign's designs and keep a summary of them.

    Parameters
    ----------
    campaign, source:
        The campaign and the text of its file, a copy of which stays with the run.
    directory:
        Where the run is kept: ``run.gsd`` and ``design.json`` for a single design, a directory
        with them for each of several, and ``summary.json``.
    resume:
        Go on with the run in the directory; an empty one is started afresh.
    watcher:
        Told of progress.

    Returns the designs' outcomes, as in ``summary.json``.

    Raises `OutputExistsError`, `RecordError`, `RunningError` for a directory that cannot be used.
    """
    watch = watcher or Watcher()
    prepare_directory(directory, source, resume=resume)
    tasks = plan(campaign, directory)
    outcomes: list[dict[str, Any]] = []
    for number, task in enumerate(tasks):
        watch.design_started(task, number, len(tasks))
        outcomes.append(run_design(task, directory, watch))
        watch.design_ended(task, outcomes[-1])
        write_json(directory / "summary.json", {"designs": list(_summary(outcomes))})
    return outcomes


def _summary(outcomes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for o in outcomes:
        single = len(o["target"]) == 1

        def plain(values: list[float] | None, single: bool = single) -> Any:
            return values[0] if single and values else values

        yield {
            **o,
            "target": plain(o["target"]),
            "initial": plain(o["initial"]),
            "final": plain(o["value"]),
        }
