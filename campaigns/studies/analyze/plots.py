"""``amorph analyze --plot``: histograms of what was measured, and pictures of chosen frames."""

from array import array
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from amorph import bridge
from amorph.bridge.features.elasticity import BondContributions
from amorph.handover import AmorphError, InputError, type_names

from ...inputs.formats import Snapshot
from ...store.parts import Parts
from ...store.row_files import check_file_output
from .rows import Request, Rows, Selection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ... import pictures

__all__ = ["Plot"]

# Numbers of a row that are drawn besides the features.
_COUNTS = {"n_rattlers": "rattlers"}


class Plot:
    """The folder of an analysis's pictures, and the frames that are drawn.

    Parameters
    ----------
    directory:
        A folder, made if it is not there. It gets ``histograms.png``, and ``frame-5.png`` for
        frame 5; where there are several files, ``NAME-frame-5.png``.
    frames:
        Numbers of frames, drawn of every file in which they were analysed; None: the first frame
        of the first file.
    overwrite:
        Replace pictures that are there.

    Attributes
    ----------
    written:
        The pictures that were made.
    notes:
        What could not be drawn, and why.
    """

    def __init__(
        self, directory: Path, frames: Sequence[int] | None = None, *, overwrite: bool = False
    ) -> None:
        self.directory = directory
        self.written: list[Path] = []
        self.notes: list[str] = []
        self._frames = frames
        self._overwrite = overwrite
        self._rows: list[tuple[int, Path]] = []

    def check(self, selection: Selection, request: Request) -> None:
        """Find out before any work which pictures there will be, and whether they can be written.

        Raises `InputError` for frames that are not analysed, `OutputExistsError` for a picture
        that is there already, `OutputError` for a directory that cannot be written to.
        """
        self._rows = self._chosen(selection)
        if self.directory.exists() and not self.directory.is_dir():
            raise InputError(f"--plot {self.directory}: is a file; name a folder.")
        if self.directory.exists():
            for path in (self.directory / "histograms.png", *(path for _, path in self._rows)):
                check_file_output(path, overwrite=self._overwrite)
        else:
            check_file_output(self.directory)

    def _chosen(self, selection: Selection) -> list[tuple[int, Path]]:
        if self._frames is None:
            return [(0, self._path(selection, 0, selection.frames[0][0]))]
        out = []
        for frame in self._frames:
            begin = 0
            found = False
            for k, indices in enumerate(selection.frames):
                if frame in indices:
                    found = True
                    out.append((begin + indices.index(frame), self._path(selection, k, frame)))
                begin += len(indices)
            if not found:
                raise InputError(
                    f"--plot-frames: frame {frame} is not among those that are analysed: "
                    f"{selection.where(0, selection.n_rows)}."
                )
        return out

    def _path(self, selection: Selection, k: int, frame: int) -> Path:
        if len(selection.sources) == 1:
            return self.directory / f"frame-{frame}.png"
        stems = [source.path.stem for source in selection.sources]
        stem = stems[k] if stems.count(stems[k]) == 1 else f"{k}-{stems[k]}"
        return self.directory / f"{stem}-frame-{frame}.png"

    def draw(self, selection: Selection, request: Request, parts: Parts) -> None:
        """Make the pictures; raises `OutputError` where they cannot be written."""
        # matplotlib is loaded where pictures are asked for.
        from ... import pictures
        from ...report.output import png, write

        quantities, caption = self._quantities(selection, parts)
        if quantities:
            path = self.directory / "histograms.png"
            write(path, png(pictures.histograms(quantities, caption)))
            self.written.append(path)
        rows = Rows(selection, request)
        try:
            for number, path in self._rows:
                try:
                    snapshot = rows.read(number)
                except AmorphError as error:  # the table has a row that says so
                    self.notes.append(f"{path.name} was not drawn: {error}")
                    continue
                view, text = _view(rows, number, snapshot)
                write(path, png(pictures.frame(view, text)))
                self.written.append(path)
        finally:
            rows.close()

    def _quantities(
        self, selection: Selection, parts: Parts
    ) -> "tuple[list[pictures.Quantity], str]":
        """Every scalar that was measured, over the frames."""
        from ... import pictures

        found: dict[str, dict[int, array[float]]] = {}
        without: Counter[str] = Counter()
        for rows in parts.rows():
            for row in rows:
                measured = False
                for name, value in row.items():
                    if not isinstance(value, (int, float)) or isinstance(value, bool):
                        continue
                    if name in _COUNTS or _is_feature(name):
                        kinds = found.setdefault(name, {2: array("d"), 3: array("d")})
                        kinds[row["dimension"]].append(value)
                        measured = True
                if not measured:
                    without[row["status"]] += 1
        quantities = [
            pictures.Quantity(
                name,
                _COUNTS.get(name) or bridge.feature(name).describe or name,
                {d: np.array(values) for d, values in kinds.items()},
            )
            for name, kinds in found.items()
        ]
        # Features first, counts last.
        quantities.sort(key=lambda q: q.name in _COUNTS)
        failed = without.total()
        caption = f"{selection.n_rows - failed:,} of {selection.n_rows:,} frames"
        if failed:
            reasons = [f"{n} {name}" for name, n in without.most_common()]
            caption += f"; {failed:,} could not be measured ({', '.join(reasons)})"
        files = [source.path.name for source in selection.sources]
        listed = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        return quantities, f"{caption}: {listed}"


@cache
def _is_feature(name: str) -> bool:
    try:
        bridge.feature(name)
    except bridge.errors.FeatureError:
        return False
    return True


def _view(rows: Rows, number: int, snapshot: Snapshot) -> "tuple[pictures.View, str]":
    """A row's packing at rest as it is drawn, and a caption; as it was read if it has no rest."""
    from ... import pictures

    k, frame = rows.selection.at(number)
    theta, tolerance = snapshot.theta, rows.request.tolerance
    if theta.near is not None:
        diameters = np.asarray(theta.near.diameters)
    else:  # of a network: nodes, drawn much smaller than the springs are long
        n_types = int(np.max(snapshot.packing.typeid)) + 1
        diameters = np.full(n_types, 0.3 * theta.size_range()[0])

    def drawn(
        packing: bridge.Packing,
        rattlers: "NDArray[np.bool_] | None" = None,
        found: BondContributions | None = None,
    ) -> pictures.View:
        none, nowhere = np.zeros(0), np.zeros((0, packing.dimension))
        return pictures.View(
            positions=np.asarray(packing.positions),
            typeid=np.asarray(packing.typeid),
            types=rows.request.types or type_names(len(diameters)),
            diameters=diameters,
            box=None if packing.box is None else np.asarray(packing.box),
            pairs=np.zeros((0, 2), dtype=np.int32) if found is None else found.pairs,
            vector=nowhere if found is None else found.vector,
            force=none if found is None else found.force,
            bulk=none if found is None else found.bulk,
            shear=none if found is None else found.shear,
            label=f"{rows.selection.sources[k].path.name}, frame {frame}",
            rattlers=rattlers,
        )

    size = f"N = {snapshot.packing.n_particles}"
    try:
        packing = bridge.relax(theta, snapshot.packing, tolerance=tolerance)
        response = bridge.response(theta, packing, tolerance=tolerance)
        if packing.box is None:
            return drawn(packing, response.rattlers), f"{size}, at rest"
        found = bridge.bond_contributions(theta, packing)
        pressure = bridge.pressure(theta, packing)
    except AmorphError as error:
        text = f"{size}; as in the file, without forces: {type(error).__name__}"
        return drawn(snapshot.packing), text
    n = int(response.rattlers.sum())
    caption = f"{size}, at rest: p = {pressure:.4g}, {n or 'no'} rattler{'' if n == 1 else 's'}"
    return drawn(packing, response.rattlers, found), caption.replace("-", "−")
