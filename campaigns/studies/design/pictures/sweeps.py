"""Pictures of a sweep's designs: their parameters, and fresh packings prepared with them.

Figures are numbered as in Zu and Goodrich, "Designing athermal disordered solids with automatic
differentiation" (Commun. Mater. 5 (2024)).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from amorph.handover import InputError

from ....pictures.style import BLACK, GREY, SERIES, draw_interval, outside_legend, styled
from .traces import MAX_NAMED, MAX_PANELS, PARAMETERS

if TYPE_CHECKING:
    from ..localisation import Localisation

__all__ = ["by_series", "localised", "trained", "validated", "validated_pairs"]

Designs = Sequence[Mapping[str, Any]]

# Swept keys that only repeat a design with other random numbers.
_REPEATS = ("preparation.seed",)


def _values(value: Any) -> list[float]:
    return [float(v) for v in np.atleast_1d(np.asarray(value, dtype=np.float64))]


def _spoken(path: str, value: Any) -> str:
    name = path.split(".")[-1]
    if path == "potential.diameters" and isinstance(value, list):
        return f"{len(value)} types"
    if path == "design.packings":
        return f"{value} packing" + "s" * (value != 1)
    shown = ", ".join(f"{v:g}" for v in value) if isinstance(value, list) else f"{value}"
    return f"{name} {shown}"


def by_series(designs: Designs) -> dict[str, list[Mapping[str, Any]]]:
    """Designs that differ in their target or their random numbers alone, by what they share.

    The name is what the sweep changed besides: ``4 types``, ``2 packings``; empty where nothing.
    """
    out: dict[str, list[Mapping[str, Any]]] = {}
    for design in designs:
        words = [
            _spoken(path, value)
            for path, value in (design.get("swept") or {}).items()
            if not path.endswith(".target") and path not in _REPEATS
        ]
        out.setdefault(", ".join(words), []).append(design)
    return out


# How a median is drawn.
MEDIAN: Mapping[str, Any] = {"marker": "x", "ms": 6.0, "mew": 1.5, "ls": "none"}


def _step_between(targets: Sequence[float]) -> float:
    apart = np.unique(np.round(targets, 12))
    return float(np.diff(apart).min()) if len(apart) > 1 else max(0.2 * abs(apart[0]), 0.1)


@dataclass(frozen=True, eq=False)
class _Point:
    """A design's last validation of a size: what is drawn of it, and where and how."""

    place: float
    n_particles: int
    value: float
    ends: tuple[float, float]
    median: float | None
    colour: str


def _points_of(design: Mapping[str, Any], place: float, colour: str) -> list[_Point]:
    last = {v["n_particles"]: v for v in design["validations"]}
    return [
        _Point(
            place,
            size,
            _values(found["value"])[0],
            (float(np.ravel(found["interval"])[0]), float(np.ravel(found["interval"])[1])),
            _values(found["median"])[0] if found.get("median") else None,
            colour,
        )
        for size, found in last.items()
    ]


def _marker_of(size: int, sizes: Sequence[int]) -> str:
    return "osD^v"[sizes.index(size) % 5]


def _draw_points(axes: Axes, points: Sequence[_Point], sizes: Sequence[int]) -> None:
    """Means, their intervals and medians; of intervals at one place the shorter is the thicker."""
    at: Counter[float] = Counter()
    for p in sorted(points, key=lambda p: p.ends[0] - p.ends[1]):
        rank = min(at[p.place], 4)
        at[p.place] += 1
        marker = _marker_of(p.n_particles, sizes)
        bar: dict[str, Any] = {"color": p.colour, "lw": 1.1 + 0.7 * rank, "cap": 3.0 + rank}
        draw_interval(axes, p.place, p.ends, alpha=0.75, zorder=2, **bar)
        filled = p.colour if marker == "o" else "white"
        axes.plot(p.place, p.value, marker, color=p.colour, ms=5.5, mfc=filled, zorder=3)
        if p.median is not None:
            axes.plot(p.place, p.median, color=p.colour, zorder=4, **MEDIAN)


@styled
def validated(designs: Designs) -> Figure:
    """Means of fresh packings with the parameters found, against the target: Fig. 3, 4c, 5.

    A cross is a median. Few packings far out may carry a mean, and widen its interval, past what is
    shown: the frame is that of means, medians, targets and the start. All is drawn at its target:
    series have a panel each, and designs to one target a colour each; where there is one target,
    designs stand in a column each.

    Parameters
    ----------
    designs:
        Entries as in ``summary.json`` of one objective: ``target``, ``initial``, ``swept`` and
        ``validations`` (``n_particles``, ``value``, ``interval``, ``median`` where it is known), of
        which each design's last of a size is drawn, with its 95 % interval.

    Raises `InputError` if none was validated.
    """
    shown = [d for d in designs if d.get("validations")]
    if not shown:
        raise InputError("no design was validated: there is nothing to draw.")
    targets = sorted({_values(d["target"])[0] for d in shown})
    sizes = list(dict.fromkeys(v["n_particles"] for d in shown for v in d["validations"]))
    alone = len(targets) == 1
    panels, handles = _in_columns(shown) if alone else _at_targets(shown)
    points = [p for own in panels.values() for p in own]
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    size = (6.6 if columns == 1 else 4.6 * columns, 5.0 if rows == 1 else 0.9 + 3.3 * rows)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    initial = [_values(d["initial"])[0] for d in designs if d.get("initial") is not None]
    before = float(np.mean(initial)) if initial else None
    ends = np.array([targets[0], targets[-1]]) + _step_between(targets) * np.array([-0.5, 0.5])
    aim: dict[str, Any] = {"color": BLACK, "lw": 1.0, "ls": "--", "zorder": 0}
    start: dict[str, Any] = {"color": GREY, "lw": 1.0, "ls": ":", "zorder": 0}
    for axes, (name, own) in zip(grid, panels.items(), strict=False):
        _draw_points(axes, own, sizes)
        axes.set_title(name, fontsize=10)
        if alone:
            axes.axhline(targets[0], **aim)
        else:
            axes.plot(ends, ends, **aim)
        if before is not None:
            axes.axhline(before, **start)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    if alone:
        grid[0].set_xlim(0.4, points[-1].place + 0.6)
        grid[0].xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    else:
        grid[0].set_xlim(*ends)
    others = [*(targets if alone else ends.tolist()), *([] if before is None else [before])]
    grid[0].set_ylim(*_reach(points, others))
    feature = str(np.atleast_1d(designs[0]["feature"])[0])
    across = f"design to {feature} = {targets[0]:.4g}" if alone else f"target: {feature}"
    for axes in grid[max(0, len(panels) - columns) : len(panels)]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(across)
    for axes in grid[::columns]:
        axes.set_ylabel(f"mean of fresh packings: {feature}")
    for number in sizes:
        marker = _marker_of(number, sizes)
        look: dict[str, Any] = {"marker": marker, "mfc": GREY if marker == "o" else "white"}
        handles.append(Line2D([], [], ls="none", color=GREY, label=f"mean, N = {number}", **look))
    if any(p.median is not None for p in points):
        handles.append(Line2D([], [], color=GREY, label="median", **MEDIAN))
    handles.append(Line2D([], [], label="target" if alone else "equal", **aim))
    if before is not None:
        handles.append(Line2D([], [], label=f"before: {before:.3g}", **start))
    figure.legend(handles=handles, loc="outside upper center", ncols=4, fontsize=8.5)
    return figure


def _coloured(colour: str, label: str) -> Line2D:
    return Line2D([], [], ls="none", marker="o", color=colour, label=label)


def _in_columns(shown: Designs) -> tuple[dict[str, list[_Point]], list[Line2D]]:
    """Of designs to one target, a column each; the series by colour. What a legend says of them."""
    points: list[_Point] = []
    handles = []
    series = by_series(shown)
    for k, (name, group) in enumerate(series.items()):
        colour = SERIES[k % len(SERIES)]
        for design in group:
            points += _points_of(design, points[-1].place + 1 if points else 1.0, colour)
        if len(series) > 1:
            handles.append(_coloured(colour, name))
    return {"": points}, handles


def _at_targets(shown: Designs) -> tuple[dict[str, list[_Point]], list[Line2D]]:
    """By series, designs at their targets; several to one target by colour."""
    panels: dict[str, list[_Point]] = {}
    most = 1
    for k, (name, group) in enumerate(by_series(shown).items()):
        number = Counter(_values(d["target"])[0] for d in group)
        several = max(number.values()) > 1
        most = max(most, *number.values())
        stand: Counter[float] = Counter()
        panels[name] = []
        for design in group:
            target = _values(design["target"])[0]
            colour = SERIES[(stand[target] if several else k) % len(SERIES)]
            stand[target] += 1
            panels[name] += _points_of(design, target, colour)
    told = [_coloured(c, f"design {k + 1} of a target") for k, c in enumerate(SERIES[:most])]
    return panels, told if most > 1 else []


def _reach(points: Sequence[_Point], others: Sequence[float]) -> tuple[float, float]:
    """The frame: all means, medians and others, and of the intervals what lies about them."""
    inner = [p.value for p in points] + [p.median for p in points if p.median is not None]
    inner += others
    drawn = inner + [end for p in points for end in p.ends]
    margin = 0.15 * (max(inner) - min(inner)) or 0.1
    low, high = max(min(drawn), min(inner) - margin), min(max(drawn), max(inner) + margin)
    return low - 0.1 * margin, high + 0.1 * margin


@styled
def validated_pairs(designs: Designs) -> Figure:
    """Two objectives at once: each pair of targets, and where fresh packings came to lie (Fig. 6).

    Arguments as in `validated`, of two objectives. Raises `InputError` if none was validated.
    """
    shown = [d for d in designs if d.get("validations") and len(_values(d["target"])) == 2]
    if not shown:
        raise InputError("no design of two objectives was validated: there is nothing to draw.")
    figure = Figure(figsize=(6.6, 5.0), layout="constrained")
    axes = figure.add_subplot()
    targets = np.array([_values(d["target"]) for d in shown])
    found = np.array([_values(d["validations"][-1]["value"]) for d in shown])
    interval = np.array([d["validations"][-1]["interval"] for d in shown], dtype=np.float64)
    for a, b in zip(targets, found, strict=True):
        axes.plot(*np.stack([a, b], axis=1), color=GREY, lw=0.9, zorder=1)
    for (x, y), (across, up) in zip(found, interval, strict=True):
        draw_interval(axes, y, across, cap=2, upright=False, color=SERIES[0], lw=1.0, zorder=3)
        draw_interval(axes, x, up, cap=2, color=SERIES[0], lw=1.0, zorder=3)
    label = "fresh packings, 95 % interval"
    axes.plot(*found.T, "o", color=SERIES[0], ms=5, label=label, zorder=3)
    axes.plot(*targets.T, "x", color=BLACK, ms=7, mew=1.4, label="targets", zorder=2)
    initial = np.mean([_values(d["initial"]) for d in shown], axis=0)
    axes.plot(*initial, "*", color=SERIES[4], ms=12, label="before", zorder=2)
    names = [str(n) for n in shown[0]["feature"]]
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.margins(0.1)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@styled
def localised(target: Sequence[float], found: Sequence["Localisation"], feature: str) -> Figure:
    """Localisation of the moduli by the designs' targets (Fig. 1e).

    A row of panels for each modulus; lines join the medians.

    Parameters
    ----------
    target, found:
        Of each design that reached its target.
    feature:
        What the target is of.

    Raises `InputError` if there are none.
    """
    if not found:
        raise InputError("no design reached its target: there is nothing to draw.")
    places = np.array(target)
    figure = Figure(figsize=(8.4, 5.0), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey="col")
    shown = (
        ("participation", "part of the pairs that take part"),
        ("spread", "spread over the box, 0 to 1"),
    )
    moduli = (("bulk", "$b_{ij}$, bulk modulus"), ("shear", "$g_{ij}$, shear modulus"))
    for column, (what, label) in enumerate(shown):
        for row, (modulus, name) in enumerate(moduli):
            axes = panels[row, column]
            values = np.array([getattr(x, f"{modulus}_{what}") for x in found])
            _draw_component(axes, places, values, SERIES[row])
            axes.set_title(name, fontsize=10)
            axes.set_ylabel(label)
        panels[0, column].set_ylim(bottom=0.0)
        panels[1, column].set_xlabel(f"target: {feature}")
    return figure


@styled
def trained(designs: Designs) -> Figure:
    """The parameters that designs ended with, against the target: Fig. 1d and 4d.

    Where targets have several designs, a panel for each type or pair, one for all if there are more
    than four; lines join the medians. Sets of several targets have a column each. Of designs to
    one target, all of each type and pair, side by side in their order, with medians.

    Parameters
    ----------
    designs:
        Entries as in ``design.json``: ``target``, ``parameters`` and their
        ``components``, which all have alike.

    Raises `InputError` if there are none.
    """
    shown = [d for d in designs if d.get("parameters")]
    if not shown:
        raise InputError("no design has ended with parameters to draw.")
    names = list(shown[0]["parameters"])
    targets = sorted({tuple(_values(d["target"])) for d in shown})
    single = all(len(t) == 1 for t in targets)
    stand = {t: t[0] if single else float(k) for k, t in enumerate(targets)}
    places = np.array([stand[tuple(_values(d["target"]))] for d in shown])
    feature = ", ".join(str(n) for n in np.atleast_1d(shown[0]["feature"]))
    if len(targets) == 1 < len(shown):
        aim = ", ".join(f"{t:.4g}" for t in targets[0])
        return _trained_beside(shown, names, f"{feature} = {aim}")
    widest = max(len(shown[0]["components"][name]) for name in names)
    apart = len(targets) < len(shown) and widest <= MAX_PANELS
    columns = widest if apart else 1
    size = (8.4 if columns < 3 else 1.2 + 2.8 * columns, 0.6 + 2.4 * len(names))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(names), columns, sharex=True, sharey="row", squeeze=False)
    for row, name in zip(grid, names, strict=True):
        values = np.array([d["parameters"][name] for d in shown])
        labels = shown[0]["components"][name]
        handles = []
        for c, label in enumerate(labels):
            colour = SERIES[c % len(SERIES)]
            axes = row[c if apart else 0]
            mark = "os^D"[(c // len(SERIES)) % 4]
            _draw_component(axes, places, values[:, c], colour, mark=mark, line=single)
            handles.append(Line2D([], [], color=colour, marker=mark, ms=3.5, lw=1.0, label=label))
            if apart:
                axes.set_title(label, fontsize=10)
        if not apart and len(handles) <= MAX_NAMED:
            many = len(handles) > 8
            small: dict[str, Any] = {"fontsize": 7, "labelspacing": 0.2, "ncols": 2} if many else {}
            outside_legend(row[0], handles, **small)
        for axes in row[len(labels) if apart else 1 :]:
            axes.set_axis_off()
        row[0].set_ylabel(PARAMETERS.get(name, name))
    for axes in grid[-1]:
        if not single:
            if len(targets[0]) > 2 or len(targets) > MAX_NAMED:
                continue  # no room for their numbers
            texts = [", ".join(f"{v:.4g}" for v in t) for t in targets]
            axes.set_xticks(list(stand.values()), texts, rotation=40, ha="right")
    for column in grid.T:
        lowest = [axes for axes in column if axes.axison][-1]
        lowest.tick_params(labelbottom=True)
        told = f"set of targets, in ascending order: {feature}"
        lowest.set_xlabel(f"target: {feature}" if len(targets[0]) <= 2 else fill(told, 70))
    return figure


def _trained_beside(shown: Designs, names: Sequence[str], aim: str) -> Figure:
    """A column for each type or pair, in it the designs to one target in their order."""
    figure = Figure(figsize=(8.4, 0.4 + 2.4 * len(names)), layout="constrained")
    beside = np.linspace(-0.25, 0.25, len(shown))
    for row, name in enumerate(names):
        axes = figure.add_subplot(len(names), 1, row + 1)
        values = np.array([d["parameters"][name] for d in shown])
        labels = shown[0]["components"][name]
        for c in range(len(labels)):
            colour = SERIES[c % len(SERIES)]
            axes.plot(c + beside, values[:, c], "o", color=colour, ms=4.5, alpha=0.7, mew=0)
            median = float(np.median(values[:, c]))
            axes.plot([c - 0.35, c + 0.35], [median, median], color=colour, lw=1.2)
        axes.set_xticks(range(len(labels)), labels)
        axes.margins(x=0.06, y=0.1)
        axes.set_ylabel(PARAMETERS.get(name, name))
    axes.set_xlabel(f"{len(shown)} designs to {aim}, side by side in their order, and their median")
    return figure


def _draw_component(
    axes: Axes, places: Any, values: Any, colour: str, *, mark: str = "o", line: bool = True
) -> None:
    """Values at their places, and a line through their medians."""
    axes.plot(places, values, mark, color=colour, ms=3.5, alpha=0.5, mew=0, zorder=2)
    if line:
        unique = np.unique(places)
        median = [np.median(values[places == p]) for p in unique]
        axes.plot(unique, median, color=colour, lw=1.0, zorder=1)
    axes.margins(x=0.06, y=0.1)
