"""A row of properties for each frame of trajectories.

`analyze` gives the rows one at a time, in this process; `amorph.campaigns.studies.analyze.running`
spreads them over processes and keeps what is finished.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from amorph import bridge
from amorph.bridge.matter.arguments import check
from amorph.bridge.minima.departure import MOST_CHANGED, MOST_MOVED, Departure
from amorph.handover import AmorphError, CorruptFrameError, FrameError, InputError
from amorph.handover.arguments import file_path, one_or_several

from ...errors import NotAtRestError, NotFiniteError
from ...inputs.formats import (
    Reader,
    Snapshot,
    Source,
    find_source,
    open_source,
    selected,
    warn_of,
    with_names,
)

__all__ = [
    "Request",
    "Selection",
    "analyze",
    "default_features",
    "located",
    "measured_row",
    "select",
]

FREQUENCIES = "lowest_frequencies"
# Statuses of rows that have values, though not of what the file holds, or claims to hold.
OTHER_MINIMUM = "other_minimum"
NOT_CONVERGED = "not_converged"


def default_features(
    packing: bridge.Packing,
    registered: Iterable[str] | None = None,
    theta: bridge.Theta | None = None,
) -> list[str]:
    """The features measured by default: every listed one that is defined for a packing.

    Of those in the registry, or of those named; theta tells a network of springs.
    """
    network = theta is not None and theta.near is None
    features = [bridge.feature(f) for f in (bridge.FEATURES if registered is None else registered)]
    return [
        f.name
        for f in features
        if f.listed
        and packing.dimension in f.dimensions
        and not (f.needs_box and packing.box is None)
        and not (f.needs_pairs and network)
    ]


@dataclass(frozen=True)
class Request:
    """The properties asked of every frame.

    Attributes
    ----------
    features, gradients:
        Names of features to measure (None: all that are defined) and to differentiate.
    tolerance:
        As in `amorph.bridge.relax`.
    potential, parameters:
        The potential by name and arrays, in place of the files' own; or None.
    types:
        What files call the types, in the order of the parameters; or None.
    registered:
        Without `features`, those that were registered when the request was made: all that are
        defined are measured, in every process.
    strict:
        Whether a packing that comes to rest elsewhere than its file has it is an error.
    """

    features: tuple[str, ...] | None = None
    gradients: tuple[str, ...] = ()
    tolerance: float | None = None
    potential: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    types: tuple[str, ...] | None = None
    registered: tuple[str, ...] = ()
    strict: bool = False

    @classmethod
    def of(
        cls,
        features: str | Sequence[str] | None = None,
        gradients: str | Sequence[str] = (),
        *,
        theta: bridge.Theta | None = None,
        types: str | Sequence[str] | None = None,
        tolerance: float | None = None,
        strict: bool = False,
    ) -> "Request":
        """A request whose names are checked.

        Raises `FeatureError` for one that is not known, `InputError` for springs in theta (they
        belong to a file's bonds, and are read with them) and for arguments that are something else.
        """
        if theta is not None:
            check(theta=theta)
        if theta is not None and theta.springs is not None:
            raise InputError("theta: springs are read from the files: give the pair potential.")
        return cls(
            None if features is None else tuple(_known(f) for f in _names("features", features)),
            tuple(bridge.feature(g).name for g in _names("gradients", gradients)),
            tolerance,
            None if theta is None else theta.potential,
            {} if theta is None else {k: np.asarray(v) for k, v in theta.arrays().items()},
            None if types is None else tuple(_names("types", types)),
            tuple(bridge.FEATURES) if features is None else (),
            strict,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Every feature of the registry that may be measured or differentiated."""
        asked = self.registered if self.features is None else self.features
        return tuple(f for f in (*asked, *self.gradients) if f != FREQUENCIES)

    @property
    def theta(self) -> bridge.Theta | None:
        """The potential that was given."""
        if self.potential is None:
            return None
        return bridge.from_arrays(self.potential, dict(self.parameters))

    def features_of(self, theta: bridge.Theta, packing: bridge.Packing) -> tuple[str, ...]:
        """The features to measure of a packing."""
        if self.features is not None:
            return self.features
        names = default_features(packing, self.registered, theta)
        if FREQUENCIES not in names and packing.box is not None:
            names.append(FREQUENCIES)
        return tuple(names)


def _names(argument: str, given: str | Sequence[str]) -> list[str]:
    """Names as a list; one alone stands for itself. Raises `InputError` for anything else."""
    return one_or_several(argument, given, str, 'names, as ["poisson_ratio"]')


def paths_of(given: str | PathLike[str] | Iterable[str | PathLike[str]]) -> list[Path]:
    """The paths of files; one alone stands for itself. Raises `InputError` for anything else."""
    listed = one_or_several("paths", given, (str, PathLike), "the paths of files")
    if not listed:
        raise InputError("paths: there are none; name at least one file.")
    return [file_path("paths", path) for path in listed]


def _known(name: str) -> str:
    # The one property that is no feature of the registry: its length depends on the rattlers.
    return name if name == FREQUENCIES else bridge.feature(name).name


@dataclass(frozen=True, eq=False)
class Selection:
    """The frames to analyse: those of several files, numbered through as rows.

    Attributes
    ----------
    sources:
        The files.
    frames:
        Which frames of each.
    largest:
        The number of particles of the largest packing among the files' first frames.
    """

    sources: tuple[Source, ...]
    frames: tuple[range, ...]
    largest: int = 1

    def __post_init__(self) -> None:
        ends = np.cumsum([len(f) for f in self.frames]).tolist()
        object.__setattr__(self, "_ends", ends)

    @property
    def n_rows(self) -> int:
        """The number of frames in all files."""
        return int(self._ends[-1])  # type: ignore[attr-defined]

    def at(self, row: int) -> tuple[int, int]:
        """The file, as an index into `sources`, and the frame in it, of a row."""
        ends: list[int] = self._ends  # type: ignore[attr-defined]
        k = bisect_right(ends, row)
        return k, self.frames[k][row - (ends[k - 1] if k else 0)]

    def where(self, first: int, stop: int) -> str:
        """The files and frames of rows first to stop - 1, in words."""
        parts = []
        row = first
        while row < stop:
            k, frame = self.at(row)
            last = min(stop, self._ends[k]) - 1  # type: ignore[attr-defined]
            end = self.at(last)[1]
            shown = f"frame {frame}" if end == frame else f"frames {frame} to {end}"
            parts.append(f"{self.sources[k].path}, {shown}")
            row = last + 1
        return "; ".join(parts[:3]) + (" and others" if len(parts) > 3 else "")


def select(paths: Iterable[Path], frames: slice | None, request: Request) -> Selection:
    """Look at the files before any work: find their frames, and try one of each.

    The first that can be read; a frame that cannot is a row that says so. Warns of what the files
    hold that the results do not say (`amorph.campaigns.inputs.formats.warn_of`). Raises as
    `amorph.campaigns.inputs.formats.read_trajectory` does where neither the first nor the last
    frame of a file can be used for a reason other than damage, and `FeatureError` for a feature
    that is not defined for a file's packings.
    """
    theta = request.theta
    sources: list[Source] = []
    ranges: list[range] = []
    largest = 1
    for path in paths:
        source = find_source(path)
        chosen = selected(source, frames)
        found = _first_usable(source, chosen, theta, request.types)
        if found is not None:
            source, index, snapshot = found
            warn_of(snapshot, f"{path}, frame {index}", given=theta is not None)
            _check_features(request, snapshot.packing, f"{path}, frame {index}")
            largest = max(largest, snapshot.packing.n_particles)
        sources.append(source)
        ranges.append(chosen)
    return Selection(tuple(sources), tuple(ranges), largest)


# How many damaged frames are passed over in the search for one to look at.
MOST_TRIED = 100


def _first_usable(
    source: Source,
    chosen: range,
    theta: bridge.Theta | None,
    types: Sequence[str] | None,
) -> tuple[Source, int, Snapshot] | None:
    """The first frame that can be used, with its source; None where all that are tried are damaged.

    Errors of a frame other than damage are mostly those of its file: they are raised, unless
    the file's last frame can be used.
    """

    def tried(index: int) -> tuple[Source, int, Snapshot]:
        named = source if theta is None or types else with_names(source, index, theta)
        reader = open_source(named, theta, types)
        try:
            return named, index, reader.read(index)
        finally:
            reader.close()

    for index in chosen[:MOST_TRIED]:
        try:
            return tried(index)
        except CorruptFrameError:
            continue
        except FrameError:
            try:
                return tried(chosen[-1])
            except FrameError:
                pass
            raise
    return None


def _check_features(request: Request, packing: bridge.Packing, where: str) -> None:
    asked = [f for f in (*(request.features or ()), *request.gradients) if f != FREQUENCIES]
    for f in map(bridge.feature, asked):
        if packing.dimension not in f.dimensions:
            raise bridge.errors.FeatureError(
                f"{where}: feature {f.name!r} is defined in "
                f"{' and '.join(map(str, f.dimensions))} dimensions, but the packing has "
                f"{packing.dimension}: leave it out."
            )
        if f.needs_box and packing.box is None:
            raise bridge.errors.FeatureError(
                f"{where}: feature {f.name!r} needs a volume, but the packing is a cluster in "
                "open space: leave it out."
            )
    for f in map(bridge.feature, request.gradients):
        if not f.differentiable:
            raise bridge.errors.FeatureError(
                f"feature {f.name!r} jumps: it has no gradient. Use a smooth form."
            )


class Rows:
    """Rows of a selection, computed one at a time; the file read last stays open."""

    def __init__(self, selection: Selection, request: Request) -> None:
        self.selection = selection
        self.request = request
        self._theta = request.theta
        self._open: tuple[int, Reader] | None = None

    def read(self, row: int) -> Snapshot:
        """The packing of a row, as the file has it."""
        k, frame = self.selection.at(row)
        if self._open is None or self._open[0] != k:
            self.close()
            source = self.selection.sources[k]
            self._open = k, open_source(source, self._theta, self.request.types)
        return self._open[1].read(frame)

    def row(self, number: int) -> tuple[dict[str, Any], AmorphError | None]:
        """A row, and the error if its frame cannot be measured: then the row says so."""
        k, frame = self.selection.at(number)
        row: dict[str, Any] = {
            "source": _writable(str(self.selection.sources[k].path)),
            "frame": frame,
            "status": "ok",
        }
        try:
            snapshot = self.read(number)
            row["n_particles"] = snapshot.packing.n_particles
            row["dimension"] = snapshot.packing.dimension
            if snapshot.rotated:
                row["rotated"] = True
            if snapshot.unused:
                row["unused"] = "; ".join(snapshot.unused)
            row.update(measured_row(snapshot, self.request))
        except bridge.errors.PrecisionError:
            raise  # of the process, not of the frame
        except AmorphError as error:
            row["status"] = type(error).__name__
            row["message"] = _writable(str(error))
            return row, error
        return row, None

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None


def located(row: Mapping[str, Any]) -> str:
    """A row's message, with the file and frame in front where it does not begin with them."""
    where = f"{row['source']}, frame {row['frame']}: "
    message = str(row["message"])
    return message if message.startswith(where) else where + message


def _writable(text: str) -> str:
    """A text as tables can hold it: names of files need not be valid Unicode."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(value: Any) -> Any:
    array = np.asarray(value)
    return array.item() if array.ndim == 0 else array.tolist()


def measured_row(snapshot: Snapshot, request: Request) -> dict[str, Any]:
    """Relax a packing and measure it: see `analyze` for the keys.

    Raises as `amorph.bridge.relax` and `amorph.bridge.measure` do, `NotFiniteError`; and
    `NotAtRestError` where the request is strict.
    """
    theta = snapshot.theta
    packing = bridge.relax(theta, snapshot.packing, tolerance=request.tolerance)
    rattlers = bridge.response(theta, packing, tolerance=request.tolerance).rattlers
    away = bridge.departure(theta, snapshot.packing, packing, rattlers)
    steps = np.sum((packing.positions - snapshot.packing.positions) ** 2, axis=1)
    status, message = _judged(away, snapshot.converged)
    if request.strict and status != "ok":
        raise NotAtRestError(message)
    asked = request.features_of(theta, packing)
    found = bridge.measure(
        theta,
        packing,
        [f for f in asked if f != FREQUENCIES],
        request.gradients,
        tolerance=request.tolerance,
    )
    out: dict[str, Any] = {"status": status}
    if message:
        out["message"] = message
    out |= {
        "n_rattlers": int(rattlers.sum()),
        "max_force": found.response.max_force,
        "tolerance": found.response.tolerance,
        "moved": float(np.sqrt(np.max(steps))),
        "neighbours_changed": away.changed,
    }
    out.update({name: _plain(value) for name, value in found.values.items()})
    if FREQUENCIES in asked:
        out[FREQUENCIES] = bridge.lowest_frequencies(theta, packing).tolist()
    out["gradients"] = {
        name: {p: v.tolist() for p, v in slope.arrays().items()}
        for name, slope in found.gradients.items()
    }
    texts = ("gradients", "status", "message")
    wrong = [name for name, value in out.items() if name not in texts and not _finite(value)]
    wrong += [
        f"the gradient of {name}"
        for name, slope in out["gradients"].items()
        if not all(_finite(values) for values in slope.values())
    ]
    if wrong:
        raise NotFiniteError(
            f"{', '.join(wrong)}: infinite, or not a number, for this packing. Leave it out of "
            "what is measured."
        )
    return out


def _judged(away: Departure, converged: bool | None) -> tuple[str, str]:
    """A row's status, and why it is not ``ok``: whether what is measured is what the file holds."""
    if away.elsewhere:
        return OTHER_MINIMUM, (
            f"the packing came to rest elsewhere than the file has it: a particle moved by "
            f"{away.moved:.2g} smallest diameters (more than {MOST_MOVED:g} is another "
            f"minimum), {100 * away.changed:.2g} % of the neighbours are others (more than "
            f"{100 * MOST_CHANGED:g} %). What is measured is that other packing. Is the "
            "potential that of the file, are the types in its order, was it at rest?"
        )
    if converged is False:
        return NOT_CONVERGED, (
            "the file says that the packing was not prepared to its tolerance; it was brought to "
            "rest for what is measured."
        )
    return "ok", ""


def _finite(value: Any) -> bool:
    return bool(np.isfinite(np.asarray(value, dtype=np.float64)).all())


def analyze(
    paths: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    features: str | Sequence[str] | None = None,
    gradients: str | Sequence[str] = (),
    frames: slice | None = None,
    theta: bridge.Theta | None = None,
    types: Sequence[str] | None = None,
    tolerance: float | None = None,
    strict: bool = False,
    on_error: Callable[[str], object] | None = None,
) -> Iterator[dict[str, Any]]:
    """Relax and measure every frame of trajectories, one at a time, in this process.

    Parameters
    ----------
    paths:
        One or several: GSD files, ours or HOOMD-blue's; LAMMPS dumps; XYZ (see
        `amorph.campaigns.inputs.formats.read_trajectory`).
    features, gradients:
        What to measure (by default everything defined for the frame's packing), and what to
        differentiate by the parameters of types; one name alone stands for itself.
    frames:
        Which frames of each file.
    theta:
        The potential, for files without one or in place of theirs.
    types:
        What the files call the types, in the order of the potential's parameters.
    tolerance:
        As in `amorph.bridge.relax`.
    strict:
        Whether a packing that comes to rest elsewhere than its file has it, or that its file calls
        not converged, is an error (`NotAtRestError`).
    on_error:
        Called with a message for a frame that cannot be measured; the frame's row then has a
        ``status`` other than ``ok``, the error's name, and a ``message``, but no values. Without
        it the error is raised.

    Yields
    ------
    A dictionary a frame: ``source``, ``frame``, ``status``, ``message`` (unless the status is
    ``ok``), ``n_particles``, ``dimension``, ``rotated`` (where it is true), ``unused`` (content of
    the frame that plays no part, where there is some), ``n_rattlers``, ``max_force``,
    ``tolerance``, ``moved`` (the largest displacement of the re-minimisation),
    ``neighbours_changed`` (see `amorph.bridge.departure`), the features by name,
    ``lowest_frequencies``, and ``gradients``: {feature: {parameter: [...]}}. The status is
    ``other_minimum`` where the packing came to rest elsewhere than the file has it, else
    ``not_converged`` where its file says so: then the values are of the packing at rest.

    Raises `FeatureError` for an unknown feature before a file is read, and as `select` does before
    a frame is analysed; otherwise as `relax` and `measure` do.
    """
    request = Request.of(
        features, gradients, theta=theta, types=types, tolerance=tolerance, strict=strict
    )
    selection = select(paths_of(paths), frames, request)
    rows = Rows(selection, request)
    try:
        for number in range(selection.n_rows):
            row, error = rows.row(number)
            if error is not None:
                if on_error is None:
                    raise error
                on_error(located(row))
            yield row
    finally:
        rows.close()
