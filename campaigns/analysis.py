"""``amorph analyze``: a row of measured properties for each frame of GSD files."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from amorph import bridge
from amorph.handover import InputError, OutputError, OutputExistsError

from .records import write_json, written_whole

__all__ = ["FORMATS", "analyze", "check_output", "default_features", "write_table"]

FORMATS = (".json", ".csv", ".parquet")


def default_features(dimension: int) -> list[str]:
    """What is measured unless told otherwise: every feature defined in the dimension."""
    return [name for name, f in bridge.FEATURES.items() if dimension in f.dimensions]


def _plain(value: Any) -> Any:
    array = np.asarray(value)
    return array.item() if array.ndim == 0 else array.tolist()


def analyze(
    paths: Sequence[Path],
    *,
    features: Sequence[str] | None = None,
    gradients: Sequence[str] = (),
    frames: slice | None = None,
    theta: bridge.PairPotential | None = None,
    tolerance: float | None = None,
    on_error: Callable[[str], object] | None = None,
) -> Iterator[dict[str, Any]]:
    """Relax and measure every frame of GSD files, one at a time.

    Parameters
    ----------
    paths:
        GSD files, ours or HOOMD-blue's.
    features, gradients:
        What to measure (by default everything defined in the frame's dimension), and what to
        differentiate by the parameters of types.
    frames:
        Which frames of each file.
    theta:
        The potential, for files without one or in place of theirs.
    tolerance:
        As in `amorph.bridge.relax`.
    on_error:
        Called with a message for a frame that cannot be measured; the frame's row then has a
        ``status`` other than ``ok``, the message, and no values. Without it the error is raised.

    Yields
    ------
    A dictionary a frame: ``source``, ``frame``, ``status``, ``n_particles``, ``dimension``,
    ``n_rattlers``, ``max_force``, ``moved`` (the largest displacement of the re-minimisation), the
    features by name, ``lowest_frequencies``, and ``gradients``: {feature: {parameter: [...]}}.

    Raises `FeatureError` for an unknown feature before a file is read; otherwise as `read_gsd`,
    `relax` and `measure` do.
    """
    names = None if features is None else [bridge.feature(f).name for f in features if f != FREQ]
    slopes = [bridge.feature(g).name for g in gradients]
    with_frequencies = features is None or FREQ in features
    for path in paths:
        first = 0 if frames is None else frames.indices(2**62)[0]
        step = 1 if frames is None else frames.step or 1
        for k, (packing, potential) in enumerate(bridge.read_gsd(path, frames, theta=theta)):
            number = first + k * step
            row: dict[str, Any] = {
                "source": str(path),
                "frame": number,
                "status": "ok",
                "n_particles": packing.n_particles,
                "dimension": packing.dimension,
            }
            wanted = default_features(packing.dimension) if names is None else names
            try:
                row.update(
                    _measured(packing, potential, wanted, slopes, with_frequencies, tolerance)
                )
            except (
                bridge.RelaxationError,
                bridge.NotAMinimumError,
                bridge.RattlerError,
            ) as error:
                if on_error is None:
                    raise
                on_error(f"{path}, frame {number}: {error}")
                row["status"] = type(error).__name__
                row["message"] = str(error)
            yield row


FREQ = "lowest_frequencies"


def _measured(
    packing: bridge.Packing,
    theta: bridge.PairPotential,
    features: Sequence[str],
    gradients: Sequence[str],
    with_frequencies: bool,
    tolerance: float | None,
) -> dict[str, Any]:
    rest = bridge.relaxation(packing, theta, tolerance=tolerance)
    found = bridge.measure(rest.packing, theta, features, gradients, tolerance=tolerance)
    out: dict[str, Any] = {
        "n_rattlers": int(found.response.rattlers.sum()),
        "max_force": found.response.max_force,
        "tolerance": found.response.tolerance,
        "moved": rest.moved,
    }
    out.update({name: _plain(value) for name, value in found.values.items()})
    if with_frequencies:
        out[FREQ] = bridge.lowest_frequencies(rest.packing, theta).tolist()
    out["gradients"] = {
        name: {p: v.tolist() for p, v in slope.arrays().items()}
        for name, slope in found.gradients.items()
    }
    return out


def check_output(path: Path, *, overwrite: bool = False) -> None:
    """Check before any work that a table can be written under a name.

    Raises `InputError` for an unknown ending, `OutputExistsError` for a name that is taken unless
    `overwrite`, `OutputError` for a directory that is not there or cannot be written to.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: the name must end with one of {', '.join(FORMATS)}.")
    check_file_output(path, overwrite=overwrite)


def check_file_output(path: Path, *, overwrite: bool = False) -> None:
    """As `check_output`, whatever the ending."""
    if path.is_dir():
        raise OutputExistsError(f"{path}: is a directory; name a file.")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path}: exists already; add --force to replace it.")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no directory {path.parent}; make it first.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: the directory {path.parent} cannot be written to.")


def _columns(row: dict[str, Any]) -> dict[str, Any]:
    """A row with a column for each element of an array: ``stress_0_1``, ``gradients.p.b_2``."""
    out: dict[str, Any] = {}

    def put(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                put(f"{name}.{key}", inner)
        elif isinstance(value, list):
            for k, inner in enumerate(value):
                put(f"{name}_{k}", inner)
        else:
            out[name] = value

    for key, value in row.items():
        put(key, value)
    return out


def write_table(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """Write rows as JSON, CSV or Parquet, by the name's ending; it appears only when whole."""
    if path.suffix == ".json":
        write_json(path, {"frames": list(rows)})
        return
    import pandas

    table = pandas.DataFrame([_columns(row) for row in rows])
    with written_whole(path) as partial:
        if path.suffix == ".csv":
            table.to_csv(partial, index=False)
        else:
            table.to_parquet(partial, index=False)
