"""The contents of a run directory: its designs, which of them are shown, their packings."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from amorph import bridge
from amorph.handover import AmorphError, FileMissingError, Frame, GSDReader, InputError

from ...pictures import View
from .history import History, read_history
from .outcomes import read_design
from .validation import read_validations

# Of many designs, how many are shown with all their pictures.
MAX_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Entry:
    """A design as its directory tells of it.

    `history` is None where there is no usable `run.gsd`, or where it was not read; `problem` says
    what is wrong with it, if anything.
    """

    directory: Path
    name: str
    outcome: Mapping[str, Any]
    history: History | None = None
    problem: str = ""

    @property
    def status(self) -> str:
        """The design's outcome, or `running`."""
        return str(self.outcome["status"])

    @property
    def target(self) -> tuple[float, ...]:
        """A number for each objective."""
        return _numbers(self.outcome["target"])

    @property
    def feature(self) -> tuple[str, ...]:
        """The objectives' features, in words."""
        names = self.outcome["feature"]
        return tuple(_described(str(n)) for n in ([names] if isinstance(names, str) else names))

    @property
    def threshold(self) -> float | None:
        """The loss below which the design stops, where it is known."""
        value = self.outcome.get("threshold")
        return None if value is None else float(value)

    @property
    def initial(self) -> tuple[float, ...]:
        """The objectives' values at the start."""
        if self.history is not None:
            return tuple(self.history.value[0].tolist())
        return _numbers(self.outcome["initial"])

    @property
    def final(self) -> tuple[float, ...]:
        """The objectives' values at the last step."""
        if self.history is not None:
            return tuple(self.history.value[-1].tolist())
        return _numbers(self.outcome["value"])

    @property
    def loss(self) -> float:
        """The last loss; infinite where none is known, so that it sorts last."""
        if self.history is not None:
            return float(self.history.loss[-1])
        value = self.outcome.get("loss")
        return float("inf") if value is None else float(value)

    @property
    def steps(self) -> int:
        """The number of steps taken."""
        if self.history is not None:
            return int(self.history.step[-1])
        return int(self.outcome.get("steps") or 0)

    def told(self) -> dict[str, Any]:
        """The entry as the pictures of many designs take it."""
        validations = [asdict(v) for v in read_validations(self.directory)]
        return {**self.outcome, "feature": list(self.feature), "validations": validations}

    def count(self, what: str) -> str:
        """The number of rearrangements or of crossings, where it is known."""
        if self.history is not None:
            counted = {
                "rearrangements": int(self.history.rearranged.sum()),
                "crossings": int(self.history.crossings.sum()),
            }
            return str(counted[what])
        return str(self.outcome[what]) if what in self.outcome else "–"


def _numbers(value: Any) -> tuple[float, ...]:
    if value is None:
        return ()
    return tuple(float(v) for v in np.atleast_1d(np.asarray(value, dtype=np.float64)))


def _described(feature: str) -> str:
    known = bridge.FEATURES.get(feature)
    return known.describe if known is not None and known.describe else feature


# Of each status of a run that has not ended, why it has not.
WHY_UNFINISHED: Mapping[str, str] = {
    "running": "it is at work, or was killed",
    "stopped": "a signal or its time limit stopped it",
}


def with_history(entry: Entry) -> Entry:
    """The same with its history read; raises as `read_history` does."""
    path = entry.directory / "run.gsd"
    if not path.exists():
        hint = (
            f"{WHY_UNFINISHED[entry.status]}, and publishes run.gsd at frame 64 and when it ends: "
            "wait if it is at work, or go on with it by `amorph run CAMPAIGN.toml -o DIR --resume`"
            if entry.status in WHY_UNFINISHED
            else "resume the run, which puts it together from its shards"
        )
        raise FileMissingError(
            f"{path}: is not there, so there are no steps to report (design.json says "
            f"'{entry.status}'): {hint}."
        )
    history = read_history(path, feature=entry.feature, threshold=entry.threshold)
    history = replace(history, validations=tuple(read_validations(entry.directory)))
    return Entry(entry.directory, entry.name, entry.outcome, history)


def tried_history(entry: Entry) -> Entry:
    """The same with its history, or with what is wrong with it."""
    try:
        return with_history(entry)
    except AmorphError as error:
        return Entry(entry.directory, entry.name, entry.outcome, None, str(error))


def read_entries(directory: Path) -> tuple[bool, list[Entry]]:
    """Whether the directory is of a single design, and its designs.

    Raises `FileMissingError` for no such directory, `InputError` for one that is no run's.
    """
    if not directory.exists():
        raise FileMissingError(f"{directory}: there is no such directory. Check the path.")
    if not directory.is_dir():
        raise InputError(f"{directory}: is a file; give the run directory it lies in.")
    own = directory / "design.json"
    if own.is_file():
        outcome = read_design(own)
        return True, [Entry(directory, directory.resolve().name, outcome)]
    found = sorted(path for path in directory.glob("*/design.json") if path.is_file())
    if not found:
        raise InputError(
            f"{directory}: is no run directory: looked for design.json and run.gsd in it (one "
            "design) or in its folders (several), and found neither. Give the DIR of "
            "`amorph run ... -o DIR` or of `amorph demo -o DIR`."
        )
    return False, [Entry(p.parent, p.parent.name, read_design(p)) for p in found]


def choose(entries: Sequence[Entry]) -> dict[str, str]:
    """The designs to show in full, by name, and why."""
    if len(entries) <= MAX_SHOWN:
        return {e.name: "" for e in entries}
    picked: dict[str, str] = {}
    targets = sorted({e.target for e in entries})
    groups = [[e for e in entries if e.target == t] for t in targets]
    if 2 * len(groups) > MAX_SHOWN:
        groups = [list(entries)]
    for group in groups:
        where = "" if len(groups) == 1 else " of its target"
        won = sorted((e for e in group if e.status == "converged"), key=lambda e: e.steps)
        rest = sorted((e for e in group if e.status != "converged"), key=lambda e: e.loss)
        ranked = won + rest
        each = max(1, MAX_SHOWN // (2 * len(groups)))
        for e in ranked[:each]:
            word = "fewest steps" if e.status == "converged" else "smallest loss"
            picked.setdefault(e.name, f"among the best{where}: {word}")
        for e in ranked[max(each, len(ranked) - each) :]:
            word = "most steps" if e.status == "converged" else "did not reach the target"
            picked.setdefault(e.name, f"among the worst{where}: {word}")
    return {e.name: picked[e.name] for e in entries if e.name in picked}


def view_of(frame: Frame, label: str = "") -> View:
    """A frame's packing at rest, as the pictures draw it.

    Raises `InputError` for a frame without a box or a potential, and as `amorph.bridge.relax` does.
    """
    if frame.box is None or frame.potential is None:
        missing = "box" if frame.box is None else "potential"
        raise InputError(f"{frame.where}: has no {missing}: a design's picture needs one.")
    theta = bridge.from_arrays(frame.potential, frame.parameters)
    packing = bridge.relax(theta, bridge.Packing.from_frame(frame))
    found = bridge.bond_contributions(theta, packing)
    return View(
        positions=np.asarray(packing.positions),
        typeid=frame.typeid,
        types=frame.types,
        diameters=np.asarray(theta.diameters),
        box=frame.box,
        pairs=found.pairs,
        vector=found.vector,
        force=found.force,
        bulk=found.bulk,
        shear=found.shear,
        label=label,
    )


def last_packing(entry: Entry) -> tuple[bridge.PairPotential, bridge.Packing]:
    """The potential of a design's last step, and its (first) packing at rest.

    Raises as `amorph.handover.GSDReader` and `amorph.bridge.relax` do.
    """
    with GSDReader(entry.directory / "run.gsd") as reader:
        frame = reader.read(reader.n_frames - 1)
    assert frame.potential is not None
    theta = bridge.from_arrays(frame.potential, frame.parameters)
    return theta, bridge.relax(theta, bridge.Packing.from_frame(frame))


def _symbol(feature: str) -> str:
    last = feature.split(" ")[-1]
    return last if len(last) <= 2 else "value"


def views_of(history: History) -> tuple[View, View]:
    """The packing before and after; raises as `view_of` does."""

    def label(when: str, index: int) -> str:
        measured = ", ".join(
            f"{_symbol(name)} = {value:.4f}".replace("-", "−")
            for name, value in zip(history.feature[:2], history.value[index], strict=False)
        )
        return f"{when} (step {history.step[index]}): {measured}"

    after = "after" if history.n_steps else "start"
    return view_of(history.first, label("before", 0)), view_of(history.last, label(after, -1))
