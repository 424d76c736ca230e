"""Several designs at once: an overview, and how many succeeded in how many steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from amorph.handover import InputError

from ..history import History
from ..records import UNFINISHED
from .packing import View, aspect, draw_network, network_handles, strongest_of
from .style import BLACK, BLUE, GREY, ORANGE, SERIES, Floats, place_axes, styled
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


def _spread(count: int) -> Floats:
    """Places of points side by side, from -1 to 1, the same every time."""
    golden = 0.6180339887498949
    return 2 * np.mod(0.5 + golden * np.arange(count), 1.0) - 1


@styled
def success(designs: Sequence[Mapping[str, Any]]) -> Figure:
    """Of many designs: the fraction that reached each target, and the steps that took.

    Parameters
    ----------
    designs:
        The entries of a ``summary.json``: ``target``, ``initial`` and ``value`` or ``final`` (a
        number or a list), ``status``, ``steps``; ``feature`` if it is to be named; and ``swept``,
        by which they are told apart where more than the target was swept. A design succeeded if its
        status is ``converged``; those still running are left out.

    The bars are Wilson's 68 % interval. Raises `InputError` if no design has ended.
    """
    groups = _by_target(designs)
    if not groups:
        raise InputError("no design has ended yet: there is nothing to count.")
    targets = list(groups)
    single = all(len(t) == 1 for t in targets)
    places = np.array([t[0] for t in targets]) if single else np.arange(float(len(targets)))
    where = dict(zip(targets, places.tolist(), strict=True))
    step = float(np.diff(places).min()) if len(places) > 1 else 0.2
    figure = Figure(figsize=(9.4, 3.7), layout="constrained")
    grid = figure.add_gridspec(1, 2, wspace=0.06)
    left, right = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    feature = _feature_of(designs)
    series = by_series(designs)
    handles: list[Any] = []
    for k, (name, members) in enumerate(series.items()):
        colour = SERIES[k % len(SERIES)]
        width = 0.8 / len(series)
        offset = ((k + 0.5) / len(series) - 0.5) * 0.8 * step if len(series) > 1 else 0.0
        for target, group in _by_target(members).items():
            won = [d for d in group if d["status"] == "converged"]
            _draw_share(left, where[target] + offset, len(won), len(group), colour)
            if len(series) == 1:
                counted = f"{len(won)}/{len(group)}"
                at = (where[target], -0.115)
                left.annotate(counted, at, ha="center", fontsize=8.5, color=GREY)
            _draw_steps(right, where[target] + offset, width * step, won, colour)
        label = name or "fraction"
        if len(series) > 1:
            label += f" ({_each(_by_target(members))} a target)"
        label += "" if k else ", 68 % interval (Wilson)"
        handles.append(Line2D([], [], color=colour, marker="o", lw=1.4, label=label))
    left.set_ylim(-0.14, 1.06)
    left.set_yticks(np.linspace(0, 1, 6))
    left.set_ylabel("fraction of designs that succeeded")
    initial = np.array([_as_list(d["initial"])[0] for d in designs if d.get("initial") is not None])
    if single and len(initial) > 1:
        low, middle, high = np.percentile(initial, [16, 50, 84])
        left.axvspan(low, high, color=ORANGE, alpha=0.2, lw=0, zorder=0)
        left.axvline(middle, color=ORANGE, lw=1.2, zorder=0.5)
        handles.append(
            Patch(color=ORANGE, alpha=0.35, label="before the design (median, 68 % of packings)")
        )
    figure.legend(
        handles=handles + _step_handles(), loc="outside upper center", ncols=4, fontsize=8
    )
    right.set_yscale("log")
    right.set_ylabel("design steps of those that succeeded")
    if not any(d["status"] == "converged" for d in designs):
        right.set_ylim(1, 1000)
        right.text(0.5, 0.5, "none succeeded", transform=right.transAxes, ha="center", color=GREY)
    for axes in (left, right):
        axes.set_xlim(places[0] - 0.6 * step, places[-1] + 0.6 * step)
        if len(places) <= 12:
            texts = [", ".join(f"{v:.4g}" for v in t) for t in targets]
            axes.set_xticks(places, texts, rotation=0 if single else 30)
        axes.set_xlabel(f"target: {feature}" if feature else "target")
    return figure


def _feature_of(designs: Sequence[Mapping[str, Any]]) -> str:
    names = {tuple(np.atleast_1d(d["feature"])) for d in designs if d.get("feature") is not None}
    return ", ".join(str(n) for n in names.pop()) if len(names) == 1 else ""


def _each(groups: Mapping[tuple[float, ...], list[Any]]) -> str:
    counts = sorted({len(group) for group in groups.values()})
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _draw_share(axes: Axes, place: float, won: int, total: int, colour: str) -> None:
    from scipy.stats import binomtest  # a second to import

    share = won / total
    interval = binomtest(won, total).proportion_ci(0.6827, method="wilson")
    axes.errorbar(
        place,
        share,
        yerr=[[max(share - interval.low, 0.0)], [max(interval.high - share, 0.0)]],
        color=colour,
        marker="o",
        markersize=6,
        capsize=4,
        lw=1.4,
        zorder=3,
    )


def _draw_steps(
    axes: Axes, place: float, step: float, won: Sequence[Mapping[str, Any]], colour: str
) -> None:
    if not won:
        return
    # A design that starts at its target takes no step: it is shown at one.
    steps = np.sort(np.maximum([float(d["steps"]) for d in won], 1.0))
    lower, median, upper = np.percentile(steps, [25, 50, 75])
    around = place + 0.2 * step * _spread(len(steps))
    axes.plot(around, steps, "o", color=colour, ms=4, alpha=0.4, mew=0, zorder=2)
    axes.vlines(place, lower, upper, color=colour, lw=2.2, zorder=3)
    axes.hlines(median, place - 0.28 * step, place + 0.28 * step, color=colour, lw=2.2, zorder=3)


def _step_handles() -> list[Any]:
    return [
        Line2D([], [], ls="none", marker="o", ms=4, color=GREY, alpha=0.5, label="one design"),
        Line2D([], [], color=GREY, lw=2.2, label="median and quartiles"),
    ]
