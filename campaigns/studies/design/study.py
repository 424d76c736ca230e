"""The study ``[design]``: each task is a design, safe on disk as it goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from amorph.handover import AmorphError, GSDReader

from ...errors import DesignError
from ...store.durable import remove_partials
from ...store.manifest import lines_in
from ...store.parts import rows_finished
from ...store.records import FRAMES_PER_SHARD, RunRecord
from ..study import UNFINISHED, End, Progress, Study, Task, Work, last_sign, register_study
from .campaign import Campaign
from .confirming import why_not
from .designs import Design
from .outcomes import KEPT, read_design
from .steps import Step, Verdict
from .validation import read_validations, validate

if TYPE_CHECKING:
    from ...report.output import Output

__all__ = ["DesignStudy"]


@dataclass
class _Tally:
    """What a design has done: its first and last step, and what happened on the way."""

    first: Step | None = None
    last: Step | None = None
    rearrangements: int = 0
    crossings: int = 0
    failures: int = 0
    limited: int = 0
    below: int = 0

    def add(self, step: Step, threshold: float | None) -> None:
        self.first = self.first or step
        self.last = step
        self.below += threshold is not None and step.loss < threshold
        self.rearrangements += int(step.rearranged.sum())
        self.crossings += int(step.crossings.sum())
        self.failures += int(np.isnan(step.each).any(axis=1).sum())
        self.limited += int(step.limited.sum())


@register_study
class DesignStudy(Study[Campaign]):
    """Parameters optimised until packings have the properties asked for."""

    table: ClassVar[str] = "design"
    model: ClassVar[type[Campaign]] = Campaign
    kept: ClassVar[str] = KEPT
    one: ClassVar[str] = "design"
    many: ClassVar[str] = "designs"
    unit: ClassVar[str] = "steps"
    may_change: ClassVar[tuple[str, ...]] = ("stop",)

    def __init__(self, task: Task[Campaign]) -> None:
        super().__init__(task)
        self._tally = _Tally()
        self._record: RunRecord | None = None
        self._design: Design | None = None
        self._confirmation: Mapping[str, Any] | None = None
        self._estimate: Mapping[str, Any] | None = None
        self._unvalidated = ""

    @property
    def label(self) -> str:
        """The design's name in messages."""
        values = [f"{o.feature} → {o.asked}" for o in self.file.objective]
        swept = self.task.chosen.items()
        values += [f"{p} = {v}" for p, v in swept if not p.endswith((".target", ".change"))]
        if self.file.n_designs > 1:
            values.append(f"replica {self.task.replica}")
        return ", ".join(values)

    @classmethod
    def points(cls, file: Campaign) -> Sequence[tuple[Mapping[str, Any], Campaign, int]]:
        """As `Study.points`: each point of the sweep as often as there are replicas."""
        return [
            (chosen, point, replica)
            for chosen, point in file.points()
            for replica in range(point.n_designs)
        ]

    def open(self, work: Work) -> End | None:
        """As `Study.open`: from wherever the record stands."""
        directory = self.task.directory
        remove_partials(directory, "validation*")
        self._design = design = Design(self.file, self.task.replica, work.team)
        self._record = record = RunRecord(directory)
        for note in record.notes:
            work.note(note)
        for frame in record.read():
            earlier = self._tally.last.theta if self._tally.last else None
            self._tally.add(design.resume(frame, earlier), self.file.threshold)
        step, before = self._tally.last, work.before
        # A finished design whose record is whole has nothing more to do, unless [stop] has changed.
        if before and step and _is_final(before, step, self.file):
            # Its record tells it all; a version before may have written less of it.
            if not record.published():
                record.publish()
            self._confirmation = before.get("confirmation")
            self._estimate = before.get("estimate")
            return End(before["status"], before["message"], idle=True)
        return None

    def run(self, work: Work) -> End:
        """As `Study.run`."""
        record, design = self._record, self._design
        assert record is not None
        assert design is not None
        limit = self.file.stop.steps
        try:
            step = self._tally.last
            if step is None:
                work.progress(0, limit, "quench and compile")
                step = design.start()
                record.append(design.frame(step))
                self._tally.add(step, self.file.threshold)
            work.save(End("running"))
            verdict = self._checked(step, work)
            while verdict.ended is None:
                work.check()
                step = design.advance(step)
                record.append(design.frame(step))
                self._tally.add(step, self.file.threshold)
                work.progress(step.number, limit, _shown(design, step))
                if _worth_publishing(record.frames):
                    record.publish()
                verdict = self._checked(step, work)
        finally:
            if record.frames and not record.failed:
                record.publish()
        message, self._confirmation = _told(verdict, design)
        self._estimate = design.estimated(step)
        if verdict.ended in ("step_limit", "out_of_reach"):
            message = " ".join(filter(None, (message, design.reason(step))))
        message = " ".join(filter(None, (message, self._unvalidated)))
        return End(verdict.ended, message)

    def _checked(self, step: Step, work: Work) -> Verdict:
        """Whether the design ends with a step, once the validations that are due are done."""
        assert self._design is not None
        verdict = self._design.verdict(step)
        for k, settings in enumerate(self.file.validation):
            now = settings.every is not None and step.number % settings.every == 0
            if not now and verdict.ended is None:
                continue

            def tell(done: int, total: int) -> None:
                info = f"validation: {done} of {total} packings"
                work.progress(step.number, self.file.stop.steps, info)

            campaign = self._design.campaign
            where = (self.task.directory, campaign, k, step.number, step.theta)
            try:
                validate(*where, work.team, tell, name=self.label)
            except DesignError as error:  # the design stands, whatever fresh packings are like
                self._unvalidated = str(error)
        return verdict

    def close(self) -> None:
        """As `Study.close`."""
        record, self._record = self._record, None
        if record is not None:
            record.close()

    def told(self) -> dict[str, Any]:
        """As `Study.told`."""
        c, first, last, tally = self.file, self._tally.first, self._tally.last, self._tally
        return {
            "kind": c.design.kind,
            "packings": c.design.n_packings,
            "feature": [o.feature for o in c.objective],
            "target": self._targets(),
            "weight": [o.weight for o in c.objective],
            "threshold": c.threshold,
            "error": c.stop.error,
            "steps": last.number if last else 0,
            "loss": last.loss if last else None,
            "components": {name: c.components(name) for name in c.design.parameters},
            "parameters": (
                {name: last.theta.arrays()[name].tolist() for name in c.design.parameters}
                if last
                else None
            ),
            "initial": first.value.tolist() if first else None,
            "value": last.value.tolist() if last else None,
            "rearrangements": tally.rearrangements,
            "crossings": tally.crossings,
            "failures": tally.failures,
            "limited": tally.limited,
            "below": tally.below,
            "confirmation": self._confirmation,
            "estimate": self._estimate,
        }

    def _targets(self) -> list[float | None]:
        """Of this design; None where they are a change of what its packing is yet to start with."""
        campaign = self._design.campaign if self._design else self.file
        return [None if isnan(o.target) else o.target for o in campaign.objective]

    def progress(self) -> Progress:
        """As `Study.progress`: the steps that are safe on disk."""
        directory = self.task.directory
        steps = max(0, lines_in(directory / "manifest.jsonl") - 1)
        loss, value = _last_values(directory)
        kept = directory / KEPT
        confirmation = read_design(kept).get("confirmation") if kept.exists() else None
        validated = sum(rows_finished(p) for p in directory.glob(".validation-*.parts"))
        files = [*directory.glob("*.json*"), *directory.glob(".validation-*.parts/*")]
        own = {
            "steps": steps,
            "limit": self.file.stop.steps,
            "loss": loss,
            "value": value,
            "validated": validated,
            "confirmation": confirmation,
        }
        words = [f"{validated} validated"] if validated else []
        if confirmation and not confirmation["holds"]:
            words.append("does not hold")
        shown = {
            "loss": "–" if loss is None else f"{loss:.2e}",
            "value": "–" if value is None else ", ".join(f"{v:.4f}" for v in value),
            "": ", ".join(words),
        }
        return Progress(steps, self.file.stop.steps, own, shown, last_sign(files))

    @classmethod
    def outcome_in(cls, directory: Path) -> dict[str, Any]:
        """As `Study.outcome_in`."""
        return read_design(directory / KEPT)

    @classmethod
    def summarised(cls, outcome: Mapping[str, Any], directory: Path) -> dict[str, Any]:
        """As `Study.summarised`: with what fresh packings were like."""
        return _summary(outcome, directory)

    @classmethod
    def rows_of(
        cls, outcomes: Sequence[Mapping[str, Any]]
    ) -> tuple[Sequence[str], Sequence[str], list[Sequence[str]]]:
        """As `Study.rows_of`."""

        def text(values: Any) -> str:
            listed = values if isinstance(values, list) else [values]
            return ", ".join("–" if v is None else f"{v:.4f}" for v in listed)

        rows = [
            (
                str(d["directory"]),
                text(d["target"]),
                text(d["initial"]),
                text(d.get("final", d.get("value"))),
                str(d["steps"]),
                str(d["status"]),
            )
            for d in outcomes
        ]
        columns = ("design", "target", "initial", "final", "steps", "status")
        return columns, ("target", "initial", "final", "steps"), list(rows)

    @classmethod
    def page(
        cls, root: Path, tasks: Sequence[Task[Campaign]], output: "Output"
    ) -> tuple[str, list[str]]:
        """As `Study.page`; of a design's own directory too."""
        from .entries import read_entries, with_history
        from .page import many_page, single_page

        single, entries = read_entries(root)
        if single:
            entry = with_history(entries[0])
            return f"Amorph: {entry.name}", single_page(entry, output)
        return f"Amorph: {root.resolve().name}", many_page(root, entries, output)


def _is_final(outcome: Mapping[str, Any], step: Step, campaign: Campaign) -> bool:
    """Whether a record's last step is the end its outcome tells, by the campaign as it is now."""
    if outcome.get("steps") != step.number or outcome["status"] in UNFINISHED:
        return False
    if outcome["status"] == "failed":
        return True
    # Earlier versions wrote no confirmation: theirs is looked for now.
    if "confirmation" not in outcome or outcome.get("threshold") != campaign.threshold:
        return False
    if outcome.get("error") != campaign.stop.error:
        return False
    if outcome["status"] in ("converged", "out_of_reach"):
        return True
    return step.number >= campaign.stop.steps


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


def _shown(design: Design, step: Step) -> str:
    """A step's loss and values, as bars show them."""
    values = ", ".join(
        f"{f.name} {v:.4f} → {t:g}"
        for f, v, t in zip(design.features, step.value, design.target, strict=True)
    )
    return f"loss {step.loss:.1e}  {values}"


def _last_values(directory: Path) -> tuple[float | None, tuple[float, ...] | None]:
    """Loss and values of the newest frame that can be read."""
    for shard in sorted((directory / "shards").glob("[0-9]*.gsd"), reverse=True):
        try:
            with GSDReader(shard) as frames:
                log = frames.read(frames.n_frames - 1).log
                return float(log["loss"][0]), tuple(log["value"].tolist())
        except (AmorphError, KeyError):
            continue  # being written
    return None, None


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
            **({"outside": plain(v.outside), "plain": plain(v.plain)} if v.outside else {}),
        }
        for v in read_validations(directory)
    ]
    if validations:
        out["validations"] = validations
    return out
