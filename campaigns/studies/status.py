"""The state of a run, from what it has on disk, while it runs or afterwards."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amorph.handover import AmorphError, GSDReader

from ..errors import CampaignFileError, RecordError
from ..inputs.files import load_campaign
from ..inputs.plugins import kept_in, loaded
from ..store.durable import held, os_errors_named
from ..store.parts import rows_finished
from ..store.records import UNFINISHED, read_outcome
from .design.runs import DesignTask, plan

__all__ = ["DesignStatus", "as_json", "read_status"]

# Where the lock does not tell, a run without a sign for so many seconds may have stopped.
SILENT = 600.0


@dataclass(frozen=True)
class DesignStatus:
    """One design.

    Attributes
    ----------
    directory, name:
        Of the design.
    status:
        ``waiting``, ``running``, ``killed`` (it has not ended, and no process is at work on it),
        ``silent`` (that cannot be known, as another machine was, and nothing came for ten minutes),
        ``stopped`` (by a signal, its limit or Ctrl-C), ``converged``, ``step_limit`` or ``failed``.
        A killed or stopped run goes on with ``--resume``.
    steps, limit:
        Steps that are safe on disk, and how many there are at most.
    loss, value:
        Of the last of them; None before the first.
    steps_per_second:
        Since it was started or resumed; None where it is not at work.
    seconds_left:
        To the limit, at that rate.
    validated:
        Packings of a validation at work that are safe on disk.
    confirmation:
        Of a design that ended with its loss below the threshold, whether that holds; as
        ``design.json`` has it.
    """

    directory: str
    name: str
    status: str
    steps: int
    limit: int
    loss: float | None
    value: tuple[float, ...] | None
    steps_per_second: float | None
    seconds_left: float | None
    validated: int
    confirmation: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to do."""
        return self.status not in ("waiting", "killed", "silent", *UNFINISHED)


def read_status(directory: Path) -> list[DesignStatus]:
    """The designs of a run directory, in their order; raises `RecordError` if it is none."""
    kept = directory / "campaign.toml"
    if not kept.exists():
        raise RecordError(
            f"{directory}: holds no campaign.toml, so it is no run's directory. Give the one after "
            "-o of `amorph run`."
        )
    try:
        campaign = load_campaign(kept, named=False)
    except CampaignFileError as error:
        wanted = [p.name for p in kept_in(directory) if p not in loaded()]
        if not wanted:
            raise
        raise RecordError(
            f"{directory}: was run with plug-ins, which are not run here unless they are named: "
            f"give {' '.join(f'--plugin {directory}/plugins/{name}' for name in wanted)}. ({error})"
        ) from error
    with os_errors_named(directory):
        return [_status_of(task, directory) for task in plan(campaign, directory)]


def as_json(designs: list[DesignStatus]) -> str:
    """For programs."""
    return json.dumps({"designs": [asdict(d) for d in designs]}, indent=1)


def _status_of(task: DesignTask, root: Path) -> DesignStatus:
    kept, manifest = task.directory / "design.json", task.directory / "manifest.jsonl"
    limit = task.campaign.stop.steps
    frames = manifest.read_bytes().count(b"\n") if manifest.exists() else 0
    steps, rate = max(0, frames - 1), None
    status = "waiting"
    outcome: dict[str, Any] = {}
    if kept.exists():
        outcome = read_outcome(kept)
        status = outcome["status"]
        if status == "running":
            at_work = held(task.directory)
            if at_work is False:
                status = "killed"
            elif at_work is None and time.time() - _last_sign(task.directory) > SILENT:
                status = "silent"
        if status == "running" and manifest.exists():
            # It was written when the design began or went on; the manifest is with each step.
            began, last = kept.stat().st_mtime, manifest.stat().st_mtime
            gone = steps - int(outcome.get("steps", 0))
            rate = gone / (last - began) if last > began and gone > 0 else None
    loss, value = _last_values(task.directory)
    return DesignStatus(
        directory=str(task.directory.relative_to(root)),
        name=task.label,
        status=status,
        steps=steps,
        limit=limit,
        loss=loss,
        value=value,
        steps_per_second=rate,
        seconds_left=None if not rate else (limit - steps) / rate,
        validated=sum(rows_finished(p) for p in task.directory.glob(".validation-*.parts")),
        confirmation=outcome.get("confirmation"),
    )


def _last_sign(directory: Path) -> float:
    """When the design's directory was written to last."""
    files = [*directory.glob("*.json*"), *directory.glob(".validation-*.parts/*")]
    return max((p.stat().st_mtime for p in files), default=0.0)


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
