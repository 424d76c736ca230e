"""Several designs at once: an overview, and how many succeeded in how many steps."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from amorph.handover import InputError

from ....pictures.packing import View, aspect, draw_network, network_handles, strongest_of
from ....pictures.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    SERIES,
    draw_interval,
    logarithmic,
    place_axes,
    styled,
)
from ...study import UNFINISHED
from ..history import History
from .sweeps import by_series
from .traces import draw_value, rearrangement_handle


@styled
def overview(designs: Sequence[tuple[History, View, View]]) -> Figure:
    """Several designs, a row each: the objective's value against the step, the packing before and
    after with its forces. For `amorph demo`; 1600 pixels wide.

    Raises `InputError` if there are no designs.
    """
    if not designs:
        raise InputError("there are no designs to show: give at least one.")
    width, side, plot = 10.0, 2.95, 2.65
    left, between, above, below, gap = 0.78, 0.32, 0.42, 0.98, 0.42
    height = side * max(aspect(v) for _, *views in designs for v in views)
    rows = len(designs)
    figure = Figure(figsize=(width, above + rows * height + (rows - 1) * gap + below))
    strongest = strongest_of([v.force for _, *views in designs for v in views])
    widest = 0.0
    for row, (history, before, after) in enumerate(designs):
        bottom = below + (rows - 1 - row) * (height + gap)
        axes = place_axes(figure, left, bottom + 0.14, plot, height - 0.14)
        draw_value(axes, history, 0, BLUE)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        axes.set_title(f"design to {history.target[0]:.4g}", pad=5)
        if row == rows - 1:
            axes.set_xlabel("design step")
        for column, view in enumerate((before, after)):
            start = left + plot + between + column * (side + 0.1)
            place = place_axes(figure, start, bottom, side, height)
            widest = max(widest, draw_network(place, view, strongest))
            place.set_title(view.label, pad=5)
    lines = [Line2D([], [], color=BLACK, lw=1.1, ls="--", label="target")]
    for history, *_ in designs:
        if len(lines) == 1:
            lines += rearrangement_handle(history)
    common: dict[str, Any] = {"loc": "lower center", "fontsize": 8.5}
    figure.legend(
        handles=lines, bbox_to_anchor=((left + plot / 2) / width, 0.006), ncols=2, **common
    )
    handles = network_handles(strongest, widest, [v for _, *views in designs for v in views])
    figure.legend(
        handles=handles,
        bbox_to_anchor=((left + plot + between + side) / width, 0.006),
        ncols=-(-len(handles) // 2),
        columnspacing=1.6,
        **common,
    )
    return figure


def _as_list(value: Any) -> list[float]:
    return [float(v) for v in np.atleast_1d(np.asarray(value, dtype=np.float64))]


def _by_target(designs: Sequence[Mapping[str, Any]]) -> dict[tuple[float, ...], list[Any]]:
    """The designs that have ended, by their targets, in ascending order."""
    groups: dict[tuple[float, ...], list[Any]] = {}
    for design in designs:
        if design["status"] not in UNFINISHED:
            groups.setdefault(tuple(_as_list(design["target"])), []).append(design)
    return dict(sorted(groups.items()))


@styled
def success(designs: Sequence[Mapping[str, Any]]) -> Figure:
    """Of many designs: the fraction that reached each target, and the steps that took.

    Parameters
    ----------
    designs:
        The entries of a ``summary.json``: ``target``, ``initial`` and ``value`` or ``final`` (a
        number or a list), ``status``, ``steps``; ``feature`` if it is to be named; and ``swept``,
        by which they are told apart where more than the target was swept: a row of panels each. A
        design succeeded if its status is ``converged``; those still running are left out.

    All is drawn at its target, and of several objectives in a column for each set of targets. The
    bars are Wilson's 68 % interval. A design that was at its target from the start took 0 steps.
    Raises `InputError` if no design has ended.
    """
    groups = _by_target(designs)
    if not groups:
        raise InputError("no design has ended yet: there is nothing to count.")
    series = by_series([d for d in designs if d["status"] not in UNFINISHED])
    columns = _Targets(groups)
    rows = len(series)
    size = (9.4, 3.7 if rows == 1 else 0.9 + 2.4 * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, 2, sharex=True, sharey="col", squeeze=False)
    won = [d for d in designs if d["status"] == "converged"]
    logarithmic(panels[0, 1], np.array([float(d["steps"]) for d in won]))
    for k, ((name, members), (left, right)) in enumerate(zip(series.items(), panels, strict=True)):
        colour = SERIES[k % len(SERIES)]
        for target, group in _by_target(members).items():
            reached = [d for d in group if d["status"] == "converged"]
            _draw_share(left, columns.place(target), len(reached), len(group), colour)
            if columns.labelled:
                counted = f"{len(reached)}/{len(group)}"
                at = (columns.place(target), -0.115)
                left.annotate(counted, at, ha="center", fontsize=7.5, color=GREY)
            _draw_steps(right, columns.place(target), reached, colour, columns.width)
        if rows > 1:
            left.set_title(f"{name} ({_each(_by_target(members))} a target)", fontsize=10)
            right.set_title(name, fontsize=10)
    middle = panels[(rows - 1) // 2]
    middle[0].set_ylabel("fraction of designs that succeeded", y=0.5 if rows % 2 else 0.0)
    middle[1].set_ylabel("design steps of those that succeeded", y=0.5 if rows % 2 else 0.0)
    panels[0, 0].set_ylim(-0.14, 1.06)
    panels[0, 0].set_yticks(np.linspace(0, 1, 6))
    handles: list[Any] = [
        Line2D([], [], color=GREY, marker="o", lw=1.4, label="fraction, 68 % interval (Wilson)")
    ]
    initial = np.array([_as_list(d["initial"])[0] for d in designs if d.get("initial") is not None])
    if columns.numeric and len(initial) > 1:
        low, half, high = np.percentile(initial, [16, 50, 84])
        for axes in panels[:, 0]:
            axes.axvspan(low, high, color=ORANGE, alpha=0.2, lw=0, zorder=0)
            axes.axvline(half, color=ORANGE, lw=1.2, zorder=0.5)
        handles.append(
            Patch(color=ORANGE, alpha=0.35, label="before the design (median, 68 % of packings)")
        )
    figure.legend(
        handles=handles + _step_handles(), loc="outside upper center", ncols=4, fontsize=8
    )
    if not won:
        panels[0, 1].set_ylim(1, 1000)
        centred: dict[str, Any] = {"transform": panels[0, 1].transAxes, "ha": "center"}
        panels[0, 1].text(0.5, 0.5, "none succeeded", color=GREY, **centred)
    feature = _feature_of(designs)
    for axes in panels[-1]:
        columns.label(axes)
        axes.set_xlabel(f"target: {feature}" if feature else "target")
    return figure


class _Targets:
    """Places of targets on an axis: single ones at their value, sets of several in columns."""

    def __init__(self, targets: Iterable[tuple[float, ...]]) -> None:
        self._targets = list(targets)
        self.numeric = all(len(t) == 1 for t in self._targets)
        columns: list[float] = [float(k) for k in range(len(self._targets))]
        self._places = [t[0] for t in self._targets] if self.numeric else columns
        step = float(np.diff(self._places).min()) if len(self._places) > 1 else 0.2
        reach = self._places[-1] - self._places[0]
        self._margin = max(0.6 * step, 0.04 * reach)
        # Whether there is room to write at each.
        self.labelled = not self.numeric or step >= 0.05 * reach
        # How wide a mark may be, in points, on axes of some four inches.
        self.width = float(np.clip(170 * step / (reach + 2 * self._margin), 3.0, 16.0))

    def place(self, target: tuple[float, ...]) -> float:
        """The place of a target."""
        return self._places[self._targets.index(target)]

    def label(self, axes: Axes) -> None:
        """Write at the horizontal axis what stands where."""
        axes.set_xlim(self._places[0] - self._margin, self._places[-1] + self._margin)
        if self.labelled:
            texts = [", ".join(f"{v:.4g}" for v in t) for t in self._targets]
            small: dict[str, Any] = {} if self.numeric else {"rotation": 40, "ha": "right"}
            if len(texts) > 12:
                small["fontsize"] = 7
            axes.set_xticks(self._places, texts, **small)


def _feature_of(designs: Sequence[Mapping[str, Any]]) -> str:
    names = {tuple(np.atleast_1d(d["feature"])) for d in designs if d.get("feature") is not None}
    return ", ".join(str(n) for n in names.pop()) if len(names) == 1 else ""


def _each(groups: Mapping[tuple[float, ...], list[Any]]) -> str:
    counts = sorted({len(group) for group in groups.values()})
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _draw_share(axes: Axes, place: float, won: int, total: int, colour: str) -> None:
    from scipy.stats import binomtest  # a second to import

    interval = binomtest(won, total).proportion_ci(0.6827, method="wilson")
    ends = (interval.low, interval.high)
    draw_interval(axes, place, ends, cap=4, color=colour, lw=1.4, zorder=3)
    axes.plot(place, won / total, "o", color=colour, ms=6, zorder=3)


def _draw_steps(
    axes: Axes, place: float, won: Sequence[Mapping[str, Any]], colour: str, width: float
) -> None:
    """Each design's steps as a pale dot, over a bar between the quartiles and the median."""
    if not won:
        return
    steps = np.array([float(d["steps"]) for d in won])
    lower, median, upper = np.percentile(steps, [25, 50, 75])
    wide: dict[str, Any] = {"color": colour, "lw": 0.55 * width, "alpha": 0.22, "zorder": 2}
    axes.plot([place, place], [lower, upper], solid_capstyle="butt", **wide)
    axes.plot(place, median, "_", color=colour, ms=width, mew=2.2, zorder=3)
    axes.plot(np.full(len(steps), place), steps, "o", color=colour, ms=4, alpha=0.5, mew=0)


def _step_handles() -> list[Any]:
    return [
        Line2D([], [], ls="none", marker="o", ms=4, color=GREY, alpha=0.5, label="one design"),
        Line2D([], [], color=GREY, lw=6, alpha=0.3, label="quartiles"),
        Line2D([], [], color=GREY, ls="none", marker="_", ms=14, mew=2.2, label="median"),
    ]
