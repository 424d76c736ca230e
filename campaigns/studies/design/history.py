"""The history of a design as arrays, read from its `run.gsd`; or of a whole run as a table."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amorph.bridge.matter.potentials import declared
from amorph.bridge.matter.registered import potential_class
from amorph.handover import CorruptFrameError, Frame, read_gsd
from amorph.handover.arguments import file_path
from amorph.handover.potentials import names_of_components
from amorph.handover.showing import numbers_shown, shown

from ...errors import RecordError
from ...store.records import FRAMES_PER_SHARD
from .outcomes import read_design
from .steps import PACES
from .validation import Validated

if TYPE_CHECKING:
    import pandas

__all__ = ["History", "history_table", "read_history"]

Floats = NDArray[np.float64]

_LOGGED = ("step", "loss", "rearranged", "crossings", "moved", "each")


@dataclass(frozen=True, eq=False)
class History:
    """A design, step by step; S steps are on record, step 0 (the start) included.

    Attributes
    ----------
    source:
        The file it was read from.
    potential:
        The potential's name.
    step:
        (S,) int64, the number of each step.
    loss:
        (S,) the loss Σ w (value - target)².
    value:
        (S, n_objectives) what each objective measured.
    target, weight:
        (n_objectives,) of the loss.
    parameters:
        Every parameter of the potential by its name, (S, n_types) or (S, n_pairs).
    gradient:
        dloss/dparameter of the designed parameters by name, in the same shapes.
    pace:
        (S,) how far the optimiser's next step goes, by its own measure.
    paced_by:
        What that is: ``learning_rate``, or ``radius`` of a trust region.
    rearranged:
        (S,) bool: a minimum was lost on the way to this step, and its packing jumped.
    crossings:
        (S,) int64: pairs that crossed a distance where u'' jumps, on the way to this step.
    moved:
        (S,) the largest displacement of a particle on the way to this step.
    each:
        (S, n_packings, n_objectives) what each packing of a step measured; NaN where it could not.
    first, last:
        The frames of the first and of the last step.
    feature:
        How each objective is called, with its symbol, (n_objectives,).
    threshold:
        The loss at which the design stops, or None where that is not known.
    validations:
        What fresh packings were like at some of its steps; none where that is not known.
    """

    source: str
    potential: str
    step: NDArray[np.int64]
    loss: Floats
    value: Floats
    target: Floats
    weight: Floats
    parameters: dict[str, Floats]
    gradient: dict[str, Floats]
    pace: Floats
    paced_by: str
    rearranged: NDArray[np.bool_]
    crossings: NDArray[np.int64]
    moved: Floats
    each: Floats
    first: Frame
    last: Frame
    feature: tuple[str, ...]
    threshold: float | None = None
    validations: tuple[Validated, ...] = ()

    def __repr__(self) -> str:
        values = [
            f"{name}: {start:.6g} to {end:.6g}, target {target:.6g}"
            for name, start, end, target in zip(
                self.feature, self.value[0], self.value[-1], self.target, strict=True
            )
        ]
        return shown(
            f"History of a design: {self.n_steps} steps, {self.source}",
            [
                ("loss", f"{self.loss[0]:.6g} to {self.loss[-1]:.6g}"),
                ("values", "; ".join(values)),
                *((k, f"{numbers_shown(self.parameters[k][-1])} at the end") for k in self.changed),
                ("rearranged", f"in {int(self.rearranged.sum())} steps"),
            ],
        )

    @property
    def n_steps(self) -> int:
        """The number of steps taken: one less than there are frames."""
        return len(self.step) - 1

    @property
    def followed(self) -> bool:
        """Whether the packings are the same from step to step, as those of an ensemble are not."""
        return self.each.shape[1] == 1 or "packings/positions" in self.first.log

    @property
    def changed(self) -> tuple[str, ...]:
        """The parameters that the design changed, in the potential's order."""
        return tuple(
            name for name, values in self.parameters.items() if np.any(values != values[0])
        )

    def labels(self, parameter: str) -> tuple[str, ...]:
        """The names of a parameter's components: types (A, B) or pairs (AA, AB, BB)."""
        kind = potential_class(self.potential)
        wanted = declared(kind, self.first.parameters)
        names = names_of_components(self.potential, wanted, parameter, self.first.types)
        return tuple(names)


def _logged(frame: Frame, key: str) -> NDArray[Any]:
    if key not in frame.log:
        raise CorruptFrameError(
            f"{frame.where}: there is no log/amorph/{key}, so this is no step of a design. Give "
            "the run.gsd of a run that `amorph run` or `amorph demo` made."
        )
    value = frame.log[key]
    if value.dtype.kind not in "iuf" or value.ndim != 1 or value.size == 0:
        raise CorruptFrameError(
            f"{frame.where}: log/amorph/{key} has shape {value.shape} and type {value.dtype}: a "
            "design logs it as a vector of numbers."
        )
    return value


def _collected(frame: Frame) -> dict[str, NDArray[Any]]:
    """All that a frame adds to the history, as vectors."""
    row = {key: _logged(frame, key) for key in (*_LOGGED, "value", "target", "weight")}
    row |= {name: _logged(frame, name) for name in PACES if name in frame.log}
    row |= {key: _logged(frame, key) for key in sorted(frame.log) if key.startswith("gradient/")}
    return row | {f"parameter/{name}": values for name, values in frame.parameters.items()}


def read_history(
    path: str | PathLike[str],
    *,
    feature: Sequence[str] | None = None,
    threshold: float | None = None,
) -> History:
    """Read the history of a design, a frame at a time: only the first and the last are kept.

    Parameters
    ----------
    path:
        A ``run.gsd``, or the run directory of one design that holds it.
    feature:
        How to call the objectives; by default "objective 0", "objective 1", ...
    threshold:
        The loss at which the design stops, if known.

    Raises
    ------
    FrameError
        One of its kinds, by name: the file is missing, damaged, empty, or not a design's.
    """
    source = file_path("path", path)
    if source.is_dir():
        source = source / "run.gsd"
    return _history(read_gsd(source), source, feature, threshold)


def _history(
    frames: Iterable[Frame], source: Path, feature: Sequence[str] | None, threshold: float | None
) -> History:
    """The history that frames hold; there is at least one, with a potential."""
    rows: dict[str, list[NDArray[Any]]] = {}
    first: Frame | None = None
    last: Frame | None = None
    for frame in frames:
        row = _collected(frame)
        if first is None:
            first = frame
            rows = {key: [] for key in row}
        alike = row.keys() == rows.keys() and all(
            value.shape == rows[key][0].shape for key, value in row.items() if rows[key]
        )
        if not alike or frame.potential != first.potential:
            raise CorruptFrameError(
                f"{frame.where}: its logged quantities differ in name or shape from frame 0's: a "
                "run.gsd holds the steps of one design. Make it anew with `amorph run --resume`."
            )
        for key, value in row.items():
            rows[key].append(value)
        last = frame
    # The reader refuses an empty file, and frames without a potential.
    assert first is not None
    assert last is not None
    assert first.potential is not None
    columns = {key: np.stack(values) for key, values in rows.items()}
    n_objectives = columns["value"].shape[1]
    for key in ("target", "weight"):
        if columns[key].shape[1] != n_objectives:
            raise CorruptFrameError(
                f"{source}: there are {n_objectives} values, but {columns[key].shape[1]} of "
                f"log/amorph/{key}: a design has one of each for every objective."
            )
    paced_by = next((name for name in PACES if name in columns), None)
    if paced_by is None:
        raise CorruptFrameError(
            f"{source}: has none of {', '.join(f'log/amorph/{name}' for name in PACES)}: a frame "
            "of a design has the one of its optimiser."
        )
    names = tuple(feature) if feature is not None else ()
    if len(names) != n_objectives:
        names = tuple(f"objective {k}" for k in range(n_objectives))

    def column(key: str, dtype: type) -> NDArray[Any]:
        return columns[key][:, 0].astype(dtype)

    def floats(prefix: str) -> dict[str, Floats]:
        return {
            key.removeprefix(prefix): values.astype(np.float64)
            for key, values in columns.items()
            if key.startswith(prefix)
        }

    return History(
        source=str(source),
        potential=first.potential,
        step=column("step", np.int64),
        loss=column("loss", np.float64),
        value=columns["value"].astype(np.float64),
        target=columns["target"][-1].astype(np.float64),
        weight=columns["weight"][-1].astype(np.float64),
        parameters=floats("parameter/"),
        gradient=floats("gradient/"),
        pace=column(paced_by, np.float64),
        paced_by=paced_by,
        rearranged=np.asarray(columns["rearranged"].any(axis=1)),
        crossings=columns["crossings"].sum(axis=1).astype(np.int64),
        moved=columns["moved"].max(axis=1).astype(np.float64),
        each=columns["each"].reshape(len(columns["each"]), -1, n_objectives),
        first=first,
        last=last,
        feature=names,
        threshold=threshold,
    )


def history_table(directory: str | PathLike[str]) -> "pandas.DataFrame":
    """Every step of a run as a pandas data frame: of a design, or of all designs of a sweep.

    While the run is at work it holds the steps that are safe on disk.

    Parameters
    ----------
    directory:
        Where `amorph run`, `run_campaign` or `amorph demo` keeps the run; the directory of one of
        its designs; or a ``run.gsd``.

    Returns
    -------
    A row a step, step 0 (the start) included, with the columns: ``design``, its directory, where
    there are several; ``step``; ``loss``; the objectives by their features' names (mean over
    the packings), and ``target.FEATURE``; ``learning_rate``, or ``radius`` of a trust region;
    every parameter by its component, such as ``diameters.A`` and ``binding.AB``, and
    ``gradient.diameters.A`` where the loss was differentiated by it; ``rearranged``, whether a
    minimum was lost on the way to the step; ``crossings`` and ``moved``, how many pairs crossed
    a distance where u'' jumps, and the largest
    displacement. Of an objective whose feature another has too the name ends with its number:
    ``pressure.1``.

    Raises
    ------
    InputError
        For anything but a path.
    RecordError
        For a directory that holds no run, or none that has taken its first step yet.
    FrameError
        One of its kinds, by name: a file is missing, damaged, or not a design's.
    """
    import pandas

    root = file_path("directory", directory)
    if not root.is_dir():
        return pandas.DataFrame(_columns(read_history(root)))
    if _begun(root):
        return pandas.DataFrame(_columns(_history_so_far(root)))
    designs = sorted(path for path in root.iterdir() if path.is_dir() and _begun(path))
    if not designs:
        raise RecordError(
            f"{root}: holds no steps of a design. Give the directory after -o of `amorph run`; if "
            "it is at work, wait for its first step."
        )
    tables = [pandas.DataFrame(_columns(_history_so_far(path))) for path in designs]
    for path, table in zip(designs, tables, strict=True):
        table.insert(0, "design", path.name)
    return pandas.concat(tables, ignore_index=True)


def _begun(directory: Path) -> bool:
    return (directory / "run.gsd").exists() or _steps_on_disk(directory) > 0


def _steps_on_disk(directory: Path) -> int:
    """The number of safe frames: those with a whole line in the manifest."""
    manifest = directory / "manifest.jsonl"
    return manifest.read_bytes().count(b"\n") if manifest.exists() else 0


def _frames_so_far(directory: Path) -> Iterator[Frame]:
    """The frames that are safe on disk, from the shards; `run.gsd` lags behind them."""
    count = _steps_on_disk(directory)
    if count == 0:
        yield from read_gsd(directory / "run.gsd")
        return
    for number in range(-(-count // FRAMES_PER_SHARD)):
        first = number * FRAMES_PER_SHARD
        shard = directory / "shards" / f"{number:06d}.gsd"
        yield from read_gsd(shard, slice(0, min(FRAMES_PER_SHARD, count - first)))


def _history_so_far(directory: Path) -> History:
    kept = directory / "design.json"
    known = read_design(kept) if kept.exists() else {}
    features = known.get("feature")
    return _history(_frames_so_far(directory), directory, features, known.get("threshold"))


def _columns(history: History) -> dict[str, NDArray[Any]]:
    """The columns of a design's table, by name."""
    names = [
        name if history.feature.count(name) == 1 else f"{name}.{k}"
        for k, name in enumerate(history.feature)
    ]
    steps = np.ones(len(history.step))
    out: dict[str, NDArray[Any]] = {"step": history.step, "loss": history.loss}
    out |= {name: history.value[:, k] for k, name in enumerate(names)}
    out |= {f"target.{name}": steps * history.target[k] for k, name in enumerate(names)}
    out[history.paced_by] = history.pace
    for prefix, arrays in (("", history.parameters), ("gradient.", history.gradient)):
        for parameter, values in arrays.items():
            for label, column in zip(history.labels(parameter), values.T, strict=True):
                out[f"{prefix}{parameter}.{label}"] = column
    out["rearranged"] = history.rearranged
    out["crossings"] = history.crossings
    out["moved"] = history.moved
    return out
