"""Running a campaign: its designs, each safe on disk as it goes, spread over ranks.

Several designs are a farm: each has a group of ranks, as many groups as there are designs or
ranks, and a group that has ended a design takes the next. Within a group the packings of a step are
spread. What comes out does not depend on the number of ranks.
"""

import re
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from amorph.handover import AmorphError, OutputError, OutputExistsError
from amorph.handover.arguments import check_kind, file_path

from ...errors import CampaignFileError, RecordError, StoppedError
from ...inputs.files import Campaign, file_text, parse_campaign
from ...inputs.plugins import check_kept, keep
from ...spread.ranks import MPIRanks, OneRank, Ranks
from ...spread.stopping import Until
from ...store.durable import locked, os_errors_named, remove_partials, write_json, written_whole
from ...store.records import FRAMES_PER_SHARD, UNFINISHED, RunRecord, read_outcome
from .confirming import why_not
from .designs import Design, Step, Verdict
from .validation import read_validations, validate

__all__ = ["DesignTask", "Watcher", "plan", "release_ranks", "run_campaign", "serve_campaign"]


class Watcher:
    """Told of a run's progress; does nothing unless overridden."""

    def design_started(self, task: "DesignTask", number: int, total: int) -> None:
        """A design begins, or goes on."""

    def step_done(self, design: Design, step: Step) -> None:
        """A step was taken and recorded (see `amorph.campaigns.store.records.RunRecord.append`)."""

    def validated(self, task: "DesignTask", done: int, total: int) -> None:
        """So many packings of a validation are safe on disk."""

    def design_ended(self, task: "DesignTask", outcome: Mapping[str, Any]) -> None:
        """A design has ended; `outcome` is its entry in the summary."""

    def note(self, message: str) -> None:
        """Something the user should know."""


# Longest name of a design's directory; longer ones are cut, and told apart by their number.
_LONGEST_NAME = 100


@dataclass(frozen=True)
class DesignTask:
    """One design of a campaign: a point of the sweep and a replica of the preparation."""

    directory: Path
    campaign: Campaign
    chosen: Mapping[str, Any]
    replica: int

    @property
    def label(self) -> str:
        """The design's name in messages."""
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
        whole = "_".join([*parts, f"replica-{replica}"])
        return re.sub(r"[^\w.+-]+", "-", whole)[:_LONGEST_NAME]

    return [
        DesignTask(directory / name(k, chosen, replica), point, chosen, replica)
        for k, (chosen, point, replica) in enumerate(tasks)
    ]


def prepare_directory(directory: Path, source: str, *, resume: bool) -> None:
    """Make a run directory, or check that it belongs to the campaign that is resumed.

    Raises `OutputExistsError` for a directory in use unless `resume`, `RecordError` if it was
    started from a campaign that differs in more than ``[stop]``, `OutputError` if it cannot be
    made.
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
    if used and kept.exists() and not _goes_on(kept, source):
        raise RecordError(
            f"{directory}: was started from another campaign file (its copy is {kept}), which "
            "differs in more than [stop]: resume with that one, or choose another directory."
        )
    if used and not kept.exists():
        raise RecordError(
            f"{directory}: is not empty and holds no campaign.toml, so it is no run of ours: "
            "choose another directory."
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{directory}: cannot be written: {error.strerror}.") from error
    if used:
        check_kept(directory)
    if not kept.exists():
        _keep_source(directory, source)
    with os_errors_named(directory):
        keep(directory)


def _keep_source(directory: Path, source: str) -> None:
    kept = directory / "campaign.toml"
    try:
        if not kept.exists() or kept.read_bytes() != source.encode("utf-8"):
            with written_whole(kept) as partial:
                partial.write_text(source, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{directory}: cannot be written: {error.strerror}.") from error


def _goes_on(kept: Path, source: str) -> bool:
    """Whether a run of the kept file is one of `source` too, but for where it stops."""
    before = file_text(kept)
    if before == source:
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever parsed the source has warned
        try:
            # As text: the order in which values are swept numbers the designs.
            first, second = (
                parse_campaign(text, kept.name).model_dump_json(exclude={"stop", "plugins"})
                for text in (before, source)
            )
        except CampaignFileError:
            return False
    return first == second


@dataclass
class _Progress:
    """The progress of a design: its first and last step, and what happened on the way."""

    first: Step | None = None
    last: Step | None = None
    rearrangements: int = 0
    crossings: int = 0
    failures: int = 0
    limited: int = 0
    below: int = 0
    began: float = field(default_factory=time.monotonic)
    earlier: float = 0.0

    def add(self, step: Step, threshold: float | None) -> None:
        self.first = self.first or step
        self.last = step
        self.below += threshold is not None and step.loss < threshold
        self.rearrangements += int(step.rearranged.sum())
        self.crossings += int(step.crossings.sum())
        self.failures += int(np.isnan(step.each).any(axis=1).sum())
        self.limited += int(step.limited.sum())


def _outcome(
    task: DesignTask,
    root: Path,
    progress: _Progress,
    status: str,
    message: str = "",
    confirmation: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    c, first, last = task.campaign, progress.first, progress.last
    return {
        "name": task.label,
        "directory": str(task.directory.relative_to(root)),
        "kind": c.design.kind,
        "packings": c.design.n_packings,
        "feature": [o.feature for o in c.objective],
        "target": [o.target for o in c.objective],
        "weight": [o.weight for o in c.objective],
        "threshold": c.threshold,
        "status": status,
        "steps": last.number if last else 0,
        "loss": last.loss if last else None,
        "swept": dict(task.chosen),
        "components": {name: c.components(name) for name in c.design.parameters},
        "parameters": (
            {name: last.theta.arrays()[name].tolist() for name in c.design.parameters}
            if last
            else None
        ),
        "initial": first.value.tolist() if first else None,
        "value": last.value.tolist() if last else None,
        "rearrangements": progress.rearrangements,
        "crossings": progress.crossings,
        "failures": progress.failures,
        "limited": progress.limited,
        "below": progress.below,
        "confirmation": confirmation,
        "message": message,
        "seed": c.preparation.seed,
        "replica": task.replica,
        "seconds": round(progress.earlier + time.monotonic() - progress.began, 3),
    }


def _is_final(outcome: Mapping[str, Any], step: Step, campaign: Campaign) -> bool:
    """Whether a record's last step is the end its outcome tells, by the campaign as it is now."""
    if outcome.get("steps") != step.number or outcome["status"] in UNFINISHED:
        return False
    if outcome["status"] == "failed":
        return True
    # Earlier versions wrote no confirmation: theirs is looked for now.
    if "confirmation" not in outcome or outcome.get("threshold") != campaign.threshold:
        return False
    return outcome["status"] == "converged" or step.number >= campaign.stop.steps


def _told(verdict: Verdict, design: Design) -> tuple[str, dict[str, Any] | None]:
    """An outcome's message and its confirmation."""
    if verdict.confirmation is None:
        return "", None
    told = verdict.confirmation.told()
    return "" if verdict.confirmation.holds else why_not(told, design.target.tolist()), told


def _worth_publishing(frames: int) -> bool:
    """At 64, 256, 1024, ... frames: `run.gsd` lags, but putting it together costs little."""
    shards, rest = divmod(frames, FRAMES_PER_SHARD)
    return rest == 0 and shards in (4**k for k in range(shards.bit_length()))


def run_design(
    task: DesignTask, root: Path, watcher: Watcher, ranks: Ranks, until: Until
) -> dict[str, Any]:
    """Run one design to its end, from wherever its record stands; returns its outcome.

    Numerical failure ends the design with status ``failed`` and the reason; an interrupt leaves a
    record that can be resumed, and is raised again. Raises `StoppedError` where it is asked to
    stop.
    """
    progress = _Progress()
    kept = task.directory / "design.json"
    try:
        before = read_outcome(kept) if kept.exists() else None
    except RecordError as error:
        watcher.note(f"{error} It is made anew.")
        before = None
    progress.earlier = float(before.get("seconds", 0.0)) if before else 0.0
    design = Design(task.campaign, task.replica, ranks)

    with RunRecord(task.directory) as record:
        for note in record.notes:
            watcher.note(f"{task.label}: {note}")
        for frame in record.read():
            earlier = progress.last.theta if progress.last else None
            progress.add(design.resume(frame, earlier), task.campaign.threshold)
        step = progress.last
        # A finished design whose record is whole has nothing more to do, unless [stop] has changed.
        if before and step and _is_final(before, step, task.campaign):
            # Its record tells it all; a version before may have written less of it.
            if not record.published():
                record.publish()
            told = (before["status"], before["message"], before.get("confirmation"))
            known = _outcome(task, root, progress, *told)
            write_json(kept, known | {"seconds": before["seconds"]})
            return known | {"seconds": before["seconds"]}

        def checked(step: Step) -> Verdict:
            verdict = design.verdict(step)
            for k, settings in enumerate(task.campaign.validation):
                now = settings.every is not None and step.number % settings.every == 0
                if not now and verdict.ended is None:
                    continue

                def tell(done: int, total: int) -> None:
                    watcher.validated(task, done, total)
                    until.check(task.label)

                validate(task.directory, task.campaign, k, step.number, step.theta, ranks, tell)
            return verdict

        try:
            if step is None:
                step = design.start()
                record.append(design.frame(step))
                progress.add(step, task.campaign.threshold)
            write_json(kept, _outcome(task, root, progress, "running"))
            verdict = checked(step)
            while verdict.ended is None:
                until.check(task.label)
                step = design.advance(step)
                record.append(design.frame(step))
                progress.add(step, task.campaign.threshold)
                watcher.step_done(design, step)
                if _worth_publishing(record.frames):
                    record.publish()
                verdict = checked(step)
            result = _outcome(task, root, progress, verdict.ended, *_told(verdict, design))
        except (StoppedError, KeyboardInterrupt):
            write_json(kept, _outcome(task, root, progress, "stopped"))
            raise
        except (AmorphError, FloatingPointError) as error:
            if isinstance(error, OutputError):
                raise
            result = _outcome(task, root, progress, "failed", str(error))
        finally:
            if record.frames and not record.failed:
                record.publish()
        write_json(kept, result)
    return result


@dataclass(frozen=True)
class _Run:
    """Everything that the leaders of groups share."""

    directory: Path
    tasks: Sequence[DesignTask]


# What a rank has of its own beside the work it is given: whom it tells, and when it stops.
_watcher: Watcher = Watcher()
_until: Until = Until()


def _run_task(run: _Run, number: int, ranks: Ranks) -> dict[str, Any]:
    task = run.tasks[number]
    _until.check(task.label)  # a farm's designs are handed out to the last: none is begun now
    _watcher.design_started(task, number, len(run.tasks))
    outcome = run_design(task, run.directory, _watcher, ranks, _until)
    _watcher.design_ended(task, outcome)
    write_summary(run.directory, run.tasks)
    return outcome


def run_campaign(
    campaign: Campaign,
    source: str,
    directory: Path,
    *,
    resume: bool = False,
    watcher: Watcher | None = None,
    ranks: Ranks | None = None,
    until: Until | None = None,
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
    ranks:
        Who computes; by default this process alone. This is the root; the others call
        `serve_campaign`.
    until:
        When to stop before the end.

    Returns the designs' outcomes, as in ``summary.json``.

    Raises `OutputExistsError`, `RecordError`, `RunningError` for a directory that cannot be used,
    and `StoppedError` where it was asked to stop.
    """
    global _watcher, _until
    _watcher, _until = watcher or Watcher(), until or Until()
    team = ranks or OneRank()
    groups = 0
    try:
        check_kind(
            "campaign", campaign, Campaign, "what amorph.campaigns.inputs.files.load_campaign gives"
        )
        check_kind("source", source, str, "the text of the campaign's file")
        directory = file_path("directory", directory)
        with os_errors_named(directory):
            prepare_directory(directory, source, resume=resume)
            tasks = plan(campaign, directory)
            with locked(directory, ".campaign.lock"):
                remove_partials(directory, "campaign.toml", "summary.json")
                _keep_source(
                    directory, source
                )  # where [stop] has changed; not before the lock is ours
                groups = min(len(tasks), team.size)
                leaders, group = _divided(team, groups)
                try:
                    run = _Run(directory, tasks)
                    if leaders is None:
                        return [_run_task(run, k, group) for k in range(len(tasks))]
                    return leaders.map(_run_task, run, range(len(tasks)))
                finally:
                    write_summary(directory, tasks)
                    if leaders is not None:
                        leaders.dismiss()
                    group.dismiss()
    finally:
        if groups == 0:  # nothing began, and the others wait to be told
            release_ranks(team)


def release_ranks(ranks: Ranks) -> None:
    """Let the other ranks go where there is no campaign to run after all."""
    _divided(ranks, 0)


def serve_campaign(ranks: Ranks, until: Until | None = None) -> None:
    """Serve the root while it runs `run_campaign`; for all other ranks."""
    global _until
    _until = until or Until()
    leaders, group = _divided(ranks, 0)
    if leaders is not None:
        leaders.serve()
        group.dismiss()
    else:
        group.serve()


def _divided(team: Ranks, groups: int) -> tuple[Ranks | None, Ranks]:
    """The leaders of groups, where there are several and this rank is one, and its own group.

    The root says how many groups there are; of none, nobody has work.
    """
    if not isinstance(team, MPIRanks):
        return None, team
    groups = team.told(groups)
    if groups == 0:
        return None, OneRank()
    if groups == 1:
        return None, team
    return team.groups(groups)


def write_summary(directory: Path, tasks: Sequence[DesignTask]) -> None:
    """``summary.json`` of the designs that have ended, in their order."""
    outcomes = []
    for task in tasks:
        kept = task.directory / "design.json"
        if kept.exists():
            outcome = read_outcome(kept)
            if outcome["status"] not in UNFINISHED:
                outcomes.append(_summary(outcome, task.directory))
    write_json(directory / "summary.json", {"designs": outcomes})


def _summary(o: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    single = len(o["target"]) == 1

    def plain(values: Any) -> Any:
        return values[0] if single and values else values

    out = {
        **o,
        "target": plain(o["target"]),
        "initial": plain(o["initial"]),
        "final": plain(o["value"]),
    }
    validations = [
        {
            "step": v.step,
            "n_particles": v.n_particles,
            "packings": v.packings,
            "value": plain(v.value),
            "error": plain(v.error),
            "interval": plain(v.interval),
            "median": plain(v.median),
            "loss": v.loss,
        }
        for v in read_validations(directory)
    ]
    if validations:
        out["validations"] = validations
    return out
