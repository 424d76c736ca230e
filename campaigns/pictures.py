"""Pictures of designs: functions of arrays that return matplotlib figures.

Nothing here reads or writes files, and no global state of matplotlib is changed. Colours are Okabe
and Ito's, which the colour-blind can tell apart. All quantities are in reduced units.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.colors import Colormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon
from matplotlib.ticker import (
    FixedLocator,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)
from numpy.typing import NDArray
from scipy.stats import binomtest

from amorph.handover import InputError

from .history import History

__all__ = ["View", "bonds", "overview", "packings", "parameters", "success", "trace"]

Floats = NDArray[np.float64]
P = ParamSpec("P")

BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
VERMILLION, PURPLE, SKY, BLACK = "#D55E00", "#CC79A7", "#56B4E9", "#000000"
GREY, LIGHT = "#6E6E6E", "#D9D9D9"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("-", "--", "-.", ":")
REPELS, ATTRACTS = "#123A6B", VERMILLION
BEFORE, AFTER = ORANGE, BLUE
# Pale, so that the forces stand out; they differ in lightness too.
DISCS = ("#F6E7BE", "#BCD3E4", "#D6E8CF", "#E6D3E6", "#F3D2C1", "#DDDDDD")

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.labelsize": 10,
    "axes.titlesize": 11,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "axes.linewidth": 0.8,
    "axes.edgecolor": "#333333",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": True,
    "axes.formatter.limits": (-3, 4),
    "lines.linewidth": 1.6,
    "figure.dpi": 160,
    "savefig.dpi": 160,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}

PARAMETERS: Mapping[str, str] = {
    "diameters": "diameter $D$",
    "binding": "binding energy $B$",
    "stiffness": "stiffness $k$",
    "alpha": "inverse range $a$",
}

# The force, or the contribution, drawn with the greatest width, as a percentile of all of them.
_STRONGEST = 99.5
_SATURATED = 99.0
# Lines of less than this part of the greatest width are left out.
_FAINTEST = 0.02
# The greatest width of a line, in mean diameters.
_WIDEST = 0.17


def _styled(make: Callable[P, Figure]) -> Callable[P, Figure]:
    """Make a figure in the pictures' style, whatever the user's own settings are."""

    @wraps(make)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            return make(*args, **kwargs)

    return styled


@dataclass(frozen=True, eq=False)
class View:
    """A packing at rest as it is drawn.

    Attributes
    ----------
    positions:
        (N, d).
    typeid:
        (N,) indices into ``types``.
    types:
        Names of the types.
    diameters:
        (n_types,).
    box:
        (d, d), columns the box vectors.
    pairs:
        (M, 2) the interacting pairs.
    vector:
        (M, d) from the first particle of a pair to the second.
    force:
        (M,), positive where the pair repels.
    bulk, shear:
        (M,) contributions b_ij and g_ij of the pairs to the bulk and the shear modulus.
    label:
        What the packing is, for titles.
    """

    positions: Floats
    typeid: NDArray[np.int32]
    types: tuple[str, ...]
    diameters: Floats
    box: Floats
    pairs: NDArray[np.int32]
    vector: Floats
    force: Floats
    bulk: Floats
    shear: Floats
    label: str = ""


@dataclass(frozen=True, eq=False)
class _Flat:
    """What of a packing is drawn in the plane: all of it in 2D, a layer of it in 3D.

    centres (K, 2) and radii (K,) of discs with their images, in the order in which they are drawn;
    kind (K,) their types; depth (K,) from 0, far, to 1, near; start and end (L, 2) of lines and the
    pair (L,) each belongs to; corners (4, 2) of the cell.
    """

    centres: Floats
    radii: Floats
    kind: NDArray[np.int32]
    depth: Floats
    start: Floats
    end: Floats
    pair: NDArray[np.intp]
    corners: Floats


_SHIFTS = np.array([[a, b] for a in (-1, 0, 1) for b in (-1, 0, 1)], dtype=np.float64)


def _flatten(view: View) -> _Flat:
    """Put a packing into the plane, with the images that reach into the cell."""
    d = view.box.shape[0]
    cell = view.box[:2, :2]
    inverse = np.linalg.inv(view.box)
    fractions = view.positions @ inverse.T
    fractions -= np.floor(fractions + 0.5)
    inside = fractions @ view.box.T
    radii = 0.5 * view.diameters[view.typeid]
    drawn = np.ones(len(inside), dtype=np.bool_)
    half = float(view.diameters.max()) / 2
    if d == 3:
        drawn = np.abs(inside[:, 2]) < half
    plane = inside[:, :2]
    flat_inverse = np.linalg.inv(cell)
    # How far a unit length reaches in fractions of the cell.
    reach = np.linalg.norm(flat_inverse, axis=1)

    which, shift = np.nonzero(np.repeat(drawn[:, None], len(_SHIFTS), axis=1))
    centres = plane[which] + _SHIFTS[shift] @ cell.T
    near = np.abs(centres @ flat_inverse.T) <= 0.5 + radii[which][:, None] * reach
    keep = near.all(axis=1)
    which, centres = which[keep], centres[keep]
    height = inside[which, 2] if d == 3 else np.zeros(len(which))
    order = np.argsort(height, kind="stable")
    depth = (height + half) / (2 * half) if d == 3 else np.ones(len(which))

    i, j = view.pairs[:, 0], view.pairs[:, 1]
    lines = np.flatnonzero(drawn[i] & drawn[j])
    if d == 3:
        # The far end must be the particle in the layer, not an image of it beyond.
        ends = inside[i[lines], 2] + view.vector[lines, 2]
        lines = lines[np.abs(ends) < half]
    number, shift = np.nonzero(np.ones((len(lines), len(_SHIFTS)), dtype=np.bool_))
    pair = lines[number]
    start = plane[i[pair]] + _SHIFTS[shift] @ cell.T
    end = start + view.vector[pair, :2]
    a, b = start @ flat_inverse.T, end @ flat_inverse.T
    crosses = ((np.minimum(a, b) <= 0.5) & (np.maximum(a, b) >= -0.5)).all(axis=1)
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]) @ cell.T
    return _Flat(
        centres=centres[order],
        radii=radii[which][order],
        kind=view.typeid[which][order],
        depth=depth[order],
        start=start[crosses],
        end=end[crosses],
        pair=pair[crosses],
        corners=corners,
    )


def _frame(axes: Axes, flat: _Flat) -> Polygon:
    """Set the cell's limits, draw its outline, and return what clips to it."""
    low, high = flat.corners.min(axis=0), flat.corners.max(axis=0)
    margin = 0.012 * float((high - low).max())
    axes.set_xlim(low[0] - margin, high[0] + margin)
    axes.set_ylim(low[1] - margin, high[1] + margin)
    axes.set_aspect("equal")
    axes.set_axis_off()
    outline = Polygon(
        flat.corners.tolist(), closed=True, fill=False, edgecolor="#333333", lw=0.9, zorder=5
    )
    axes.add_patch(outline)
    return outline


def _colour_of(kind: int) -> tuple[float, float, float]:
    red, green, blue = to_rgb(DISCS[kind % len(DISCS)])
    return red, green, blue


def _draw_discs(axes: Axes, flat: _Flat, outline: Polygon, *, filled: bool) -> None:
    widths = 2 * flat.radii
    colours = np.array([_colour_of(int(k)) for k in flat.kind]).reshape(-1, 3)
    # In a layer of a 3D packing, what lies deeper is darker.
    shade = (0.62 + 0.38 * flat.depth)[:, None]
    thin = 0.55 if len(flat.radii) < 600 else 0.25
    common: dict[str, Any] = {
        "units": "xy",
        "offsets": flat.centres,
        "offset_transform": axes.transData,
    }
    angles = np.zeros(len(widths))
    if filled:
        discs = EllipseCollection(
            widths,
            widths,
            angles,
            facecolors=colours * shade,
            edgecolors="none",
            zorder=1,
            **common,
        )
        axes.add_collection(discs)
        discs.set_clip_path(outline)
    edges = EllipseCollection(
        widths,
        widths,
        angles,
        facecolors="none",
        edgecolors="#8A8A8A" if filled else "#BFC3C8",
        linewidths=thin,
        zorder=2,
        **common,
    )
    axes.add_collection(edges)
    edges.set_clip_path(outline)


def _points_per_unit(axes: Axes, flat: _Flat) -> float:
    """How many points on paper a unit of length takes; the figure's layout must be settled."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    position = axes.get_position(original=True)
    width, height = figure.get_size_inches()
    extent = np.ptp(flat.corners, axis=0)
    return float(72 * min(position.width * width / extent[0], position.height * height / extent[1]))


def _widest(axes: Axes, flat: _Flat, view: View) -> float:
    """The greatest width of a line, in points."""
    mean = float(view.diameters[view.typeid].mean())
    return max(_WIDEST * mean * _points_per_unit(axes, flat), 0.6)


def _draw_lines(
    axes: Axes, flat: _Flat, outline: Polygon, size: Floats, colours: NDArray[Any], widest: float
) -> None:
    """Draw lines of sizes from 0 to 1, the greatest on top; the faintest are left out."""
    order = np.argsort(size, kind="stable")
    order = order[size[order] >= _FAINTEST]
    widths = widest * size
    segments = np.stack([flat.start, flat.end], axis=1)
    lines = LineCollection(
        list(segments[order]),
        linewidths=widths[order].tolist(),
        colors=[tuple(c) for c in colours[order]],
        capstyle="round",
        zorder=3,
    )
    axes.add_collection(lines)
    lines.set_clip_path(outline)


def _strongest(forces: Sequence[Floats]) -> float:
    """The force that is drawn with the greatest width."""
    pooled = np.abs(np.concatenate([np.zeros(1), *forces]))
    value = float(np.percentile(pooled, _STRONGEST))
    return value if value > 0 else 1.0


def _draw_network(axes: Axes, view: View, strongest: float) -> float:
    """Draw a packing with its forces; returns the greatest width, in points."""
    flat = _flatten(view)
    outline = _frame(axes, flat)
    _draw_discs(axes, flat, outline, filled=True)
    force = view.force[flat.pair]
    size = np.minimum(np.abs(force) / strongest, 1.0)
    widest = _widest(axes, flat, view)
    colours = np.where((force > 0)[:, None], to_rgb(REPELS), to_rgb(ATTRACTS))
    _draw_lines(axes, flat, outline, size, colours, widest)
    return widest


def _rounded(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above a value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(m for m in (1, 2, 5) if m * power <= value * (1 + 1e-9)) * power)


def _network_handles(strongest: float, widest: float, views: Sequence[View]) -> list[Any]:
    """The legend of a force network: its colours with a scale of widths, and the discs."""
    large = _rounded(strongest)
    handles: list[Any] = []
    kinds = [(REPELS, "repulsion")]
    if any((view.force < 0).any() for view in views):
        kinds.append((ATTRACTS, "attraction"))
    for colour, name in kinds:
        for value in (large, large / 4):
            handles.append(
                Line2D(
                    [],
                    [],
                    color=colour,
                    lw=widest * value / strongest,
                    solid_capstyle="butt",
                    label=f"{name} $|f|$ = {value:.3g}",
                )
            )
    for kind, name in enumerate(views[0].types):
        handles.append(
            Line2D(
                [],
                [],
                ls="none",
                marker="o",
                markersize=9,
                markerfacecolor=_colour_of(kind),
                markeredgecolor="#8A8A8A",
                label=f"type {name}",
            )
        )
    return handles


def _slab(view: View) -> str:
    """How the picture shows a packing in 3D; nothing in 2D."""
    if view.box.shape[0] == 2:
        return ""
    return (
        f"Layer |z| < {float(view.diameters.max()) / 2:.2g} through the middle of the box, seen "
        "along z; deeper particles are darker"
    )


def _aspect(view: View) -> float:
    """Height over width of the cell in the plane."""
    flat = _flatten(view)
    width, height = np.ptp(flat.corners, axis=0)
    return float(height / width)


def _mark_rearrangements(axes: Axes, history: History) -> None:
    steps = history.step[history.rearranged]
    width = 1.0 if len(steps) <= 15 else 0.7 if len(steps) <= 60 else 0.4
    for step in steps:
        axes.axvline(float(step), color=PURPLE, lw=width, ls=(0, (4, 2)), zorder=0.5)


def _rearrangement_handle(history: History) -> list[Any]:
    if not history.rearranged.any():
        return []
    return [Line2D([], [], color=PURPLE, lw=1.0, ls=(0, (4, 2)), label="rearrangement")]


def _limits_of_steps(axes: Axes, history: History) -> None:
    low, high = float(history.step.min()), float(history.step.max())
    margin = max(0.015 * (high - low), 0.25)
    axes.set_xlim(low - margin, high + margin)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


def _marker(history: History) -> dict[str, Any]:
    """Few steps are shown each, many as a line, very many as a thin one."""
    if len(history.step) <= 60:
        return {"marker": "o", "markersize": 3.2}
    return {"lw": 1.6 if len(history.step) <= 600 else 0.8}


def _draw_value(axes: Axes, history: History, k: int, colour: str) -> None:
    _mark_rearrangements(axes, history)
    axes.axhline(
        float(history.target[k]),
        color=BLACK,
        lw=1.1,
        ls="--",
        label=f"target {history.target[k]:.4g}",
        zorder=1 if len(history.step) <= 600 else 4,
    )
    axes.plot(history.step, history.value[:, k], color=colour, zorder=3, **_marker(history))
    axes.set_ylabel(history.feature[k])
    axes.margins(y=0.12)
    _limits_of_steps(axes, history)


def _outside_legend(axes: Axes, extra: Sequence[Any] = (), **options: Any) -> None:
    """A legend to the right of an axes, where it hides nothing; none if it would be empty."""
    handles = [*axes.get_legend_handles_labels()[0], *extra]
    if handles:
        place: dict[str, Any] = {
            "loc": "upper left",
            "bbox_to_anchor": (1.005, 1.02),
            "borderaxespad": 0.2,
        }
        axes.legend(handles=handles, **(place | options))


@_styled
def trace(history: History) -> Figure:
    """The loss and each objective's value against the step.

    Rearrangements are dashed vertical lines; the strip at the bottom counts, apart from them, the
    pairs that crossed a distance where u'' jumps in each step.
    """
    n = history.value.shape[1]
    figure = Figure(figsize=(8.4, 3.1 + 2.1 * n), layout="constrained")
    grid = figure.add_gridspec(2 + n, 1, height_ratios=[2.1, *[2.0] * n, 0.75])
    top = figure.add_subplot(grid[0])
    _mark_rearrangements(top, history)
    positive = np.where(history.loss > 0, history.loss, np.nan)
    top.set_yscale("log")
    stop = [] if history.threshold is None else [history.threshold]
    _set_decades(top, np.array([*history.loss, *stop]))
    top.plot(history.step, positive, color=BLUE, zorder=3, **_marker(history))
    if history.threshold is not None:
        label = f"stop below {_power(history.threshold)}"
        top.axhline(history.threshold, color=BLACK, lw=1.1, ls=":", label=label, zorder=1)
    top.set_ylabel("loss")
    panels = [top]
    for k in range(n):
        axes = figure.add_subplot(grid[1 + k], sharex=top)
        _draw_value(axes, history, k, SERIES[(k + 1) % len(SERIES)])
        panels.append(axes)
    for axes in panels:
        axes.tick_params(labelbottom=False)
        _outside_legend(axes, _rearrangement_handle(history) if axes is top else ())
    strip = figure.add_subplot(grid[1 + n], sharex=top)
    _draw_crossings(strip, history)
    _limits_of_steps(strip, history)
    strip.set_xlabel("design step")
    return figure


def _set_decades(axes: Axes, values: Floats) -> None:
    """Limits of a logarithmic axis: all that is above 0, and enough that powers of ten label it."""
    above = values[np.isfinite(values) & (values > 0)]
    low, high = (above.min() / 2, above.max() * 2) if above.size else (0.1, 10.0)
    middle = np.sqrt(low * high)
    axes.set_ylim(float(min(low, middle / 10)), float(max(high, middle * 10)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_crossings(axes: Axes, history: History) -> None:
    """The rug of pair crossings: a tick for each step with some, its height their number."""
    happened = history.crossings > 0
    counts = history.crossings[happened]
    # Narrower ticks where there are many; a single crossing must still show on the log scale.
    width = float(np.clip(400 / max(len(history.step), 1), 0.5, 2.0))
    axes.vlines(history.step[happened], 0.5, counts, color=GREY, lw=width)
    axes.set_yscale("log")
    axes.set_ylim(0.5, max(20.0, 2.0 * float(counts.max(initial=0))))
    axes.yaxis.set_major_locator(LogLocator(numticks=3))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    axes.set_ylabel("crossings")
    axes.text(
        1.012,
        0.5,
        "pairs that crossed\nσ, $r_\\mathrm{on}$ or $r_\\mathrm{cut}$",
        transform=axes.transAxes,
        va="center",
        fontsize=9,
        color=GREY,
    )


def _power(value: float) -> str:
    """A number such as 1e-6 as a power of ten."""
    exponent = np.log10(value)
    if abs(exponent - round(exponent)) < 1e-9:
        return f"$10^{{{round(exponent)}}}$"
    return f"{value:.2g}"


def _draw_parameter(axes: Axes, history: History, name: str) -> None:
    """A parameter by type or pair; where its components lie far apart, how each has changed."""
    values = history.parameters[name]
    start = values[0]
    largest_change = float(np.abs(values - start).max())
    apart = largest_change > 0 and np.ptp(start) > 3 * largest_change
    relative = bool(apart and start.min() > 0)
    shown = 100 * (values / start - 1) if relative else values
    for k, label in enumerate(history.labels(name)):
        axes.plot(
            history.step,
            shown[:, k],
            color=SERIES[k % len(SERIES)],
            ls=DASHES[(k // len(SERIES)) % len(DASHES)],
            label=f"{label}: {_arrow(start[k], values[-1, k])}",
            **_marker(history),
        )
    text = PARAMETERS.get(name, name)
    axes.set_ylabel(f"change of\n{text} (%)" if relative else text)
    axes.margins(y=0.12)


def _arrow(first: float, last: float) -> str:
    return f"{first:.4g}" if first == last else f"{first:.4g} → {last:.4g}"


@_styled
def parameters(history: History) -> Figure:
    """The diameters, the pair parameters that changed, and the learning rate against the step.

    A parameter whose components lie too far apart for their changes to be seen is shown by its
    relative change; the legends have the first and the last values.
    """
    names = ["diameters", *(name for name in history.changed if name != "diameters")]
    figure = Figure(figsize=(8.4, 0.5 + 2.05 * len(names) + 1.6), layout="constrained")
    grid = figure.add_gridspec(len(names) + 1, 1, height_ratios=[2.05] * len(names) + [1.6])
    rate = figure.add_subplot(grid[len(names)])
    for row, name in enumerate(names):
        axes = figure.add_subplot(grid[row], sharex=rate)
        _mark_rearrangements(axes, history)
        _draw_parameter(axes, history, name)
        axes.tick_params(labelbottom=False)
        many = history.parameters[name].shape[1] > 8
        _outside_legend(axes, fontsize=7 if many else 9, labelspacing=0.2 if many else 0.5)
    _mark_rearrangements(rate, history)
    rate.plot(history.step, history.learning_rate, color=GREY, **_marker(history))
    low, high = float(history.learning_rate.min()), float(history.learning_rate.max())
    if low > 0 and high > 3 * low:
        rate.set_yscale("log")
    elif high - low < 1e-9 * high:
        rate.set_ylim(0, 2 * high)
    rate.set_ylabel("learning rate")
    rate.set_xlabel("design step")
    _outside_legend(rate, _rearrangement_handle(history))
    _limits_of_steps(rate, history)
    return figure


def _place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches."""
    w, h = figure.get_size_inches()
    return figure.add_axes((left / w, bottom / h, width / w, height / h))


@_styled
def packings(before: View, after: View) -> Figure:
    """The packing before and after with the network of forces over it, on one scale of widths.

    In 3D a layer through the middle of the box is shown, as the title says.
    """
    slab = _slab(after)
    side = 4.6
    height = side * max(_aspect(before), _aspect(after))
    above, below = 0.62 if slab else 0.36, 0.74
    figure = Figure(figsize=(2 * side + 0.5, height + above + below))
    strongest = _strongest([before.force, after.force])
    widest = 0.0
    for column, view in enumerate((before, after)):
        axes = _place(figure, 0.15 + column * (side + 0.2), below, side, height)
        widest = max(widest, _draw_network(axes, view, strongest))
        axes.set_title(view.label, pad=5)
    if slab:
        figure.suptitle(slab, fontsize=9.5, y=1 - 0.04 / figure.get_size_inches()[1], va="top")
    handles = _network_handles(strongest, widest, (before, after))
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=-(-len(handles) // 2),
        columnspacing=2.2,
        bbox_to_anchor=(0.5, 0.005),
    )
    return figure


def _draw_contributions(axes: Axes, view: View, values: Floats, scale: float) -> None:
    flat = _flatten(view)
    outline = _frame(axes, flat)
    _draw_discs(axes, flat, outline, filled=False)
    share = values[flat.pair] / scale
    size = np.minimum(np.abs(share), 1.0)
    colours = _colours(0.5 + 0.5 * np.clip(share, -1.0, 1.0))
    _draw_lines(axes, flat, outline, size, colours, _widest(axes, flat, view))


def _diverging() -> Colormap:
    """Blue, white, red in steps that an eye can match with the colour bar."""
    return matplotlib.colormaps["RdBu_r"].resampled(21)


def _colours(unit: Floats) -> NDArray[Any]:
    return np.asarray(_diverging()(unit))


def _draw_bar(axes: Axes, scale: float, symbol: str) -> None:
    """The colour bar, in powers of ten where the numbers would be long."""
    power = int(np.floor(np.log10(scale)))
    if -3 < power < 4:
        power = 0
    limit = scale / 10.0**power
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    bar = figure.colorbar(
        ScalarMappable(Normalize(-limit, limit), _diverging()), cax=axes, extend="both"
    )
    bar.ax.yaxis.set_major_locator(MaxNLocator(nbins=6, symmetric=True))
    unit = f" / $10^{{{power}}}$" if power else ""
    bar.ax.set_title(f"${symbol}_{{ij}}${unit}", loc="left", fontsize=10, pad=8)


def _draw_distribution(axes: Axes, before: Floats, after: Floats, symbol: str) -> None:
    """P(x) before and after; where tails dwarf the bulk, on an axis that is linear near 0 only."""
    pooled = np.concatenate([np.zeros(1), before, after])
    low, high = float(pooled.min()), float(pooled.max())
    if not high > low:
        low, high = low - 1.0, high + 1.0
    bulk = float(np.percentile(np.abs(pooled), 90))
    n_edges = int(np.clip(2.5 * np.sqrt(max(len(before), len(after))), 16, 56))
    edges = np.linspace(low, high, n_edges)
    stretched = bulk > 0 and max(-low, high) > 12 * bulk
    if stretched:
        edges = bulk * np.sinh(
            np.linspace(np.arcsinh(low / bulk), np.arcsinh(high / bulk), n_edges)
        )
        axes.set_xscale("asinh", linear_width=bulk)
        axes.xaxis.set_major_locator(FixedLocator(_ticks(low, high, bulk)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    lowest = np.inf
    for values, colour, label in ((before, BEFORE, "before"), (after, AFTER, "after")):
        count, _ = np.histogram(values, bins=edges)
        density = count / max(len(values), 1) / np.diff(edges)
        lowest = min(lowest, float(density[count > 0].min(initial=np.inf)))
        shown = np.where(count > 0, density, np.nan)
        axes.stairs(density, edges, color=colour, alpha=0.16, fill=True)
        axes.stairs(shown, edges, color=colour, lw=1.5, label=label)
    axes.set_yscale("log")
    if np.isfinite(lowest):
        axes.set_ylim(bottom=0.5 * lowest)
    axes.axvline(0.0, color=GREY, lw=0.7, zorder=0)
    transform = axes.xaxis.get_transform()
    inner = transform.transform(edges[[0, -1]])
    margin = 0.02 * (inner[1] - inner[0]) * np.array([-1.0, 1.0])
    axes.set_xlim(*transform.inverted().transform(inner + margin))
    axes.set_xlabel(f"${symbol}_{{ij}}$" + (" (asinh scale)" if stretched else ""))
    axes.set_ylabel(f"$P({symbol}_{{ij}})$")


def _ticks(low: float, high: float, width: float) -> list[float]:
    """0 and powers of ten on both sides, few enough to be read on an asinh axis."""
    span = float(np.arcsinh(high / width) - np.arcsinh(low / width))
    ticks, nearest = [0.0], np.inf
    top = int(np.floor(np.log10(max(-low, high))))
    for power in range(top, top - 12, -1):
        place = float(np.arcsinh(10.0**power / width))
        if place < 0.15 * span or nearest - place < 0.15 * span:
            continue
        nearest = place
        ticks += [t for t in (-(10.0**power), 10.0**power) if low <= t <= high]
    return sorted(ticks)


@_styled
def bonds(before: View, after: View) -> Figure:
    """What each pair contributes to the bulk modulus (b_ij) and to the shear modulus (g_ij).

    On the packing before and after, on one scale which saturates at a high percentile, and as
    distributions: P0's Fig. 1e.
    """
    slab = _slab(after)
    side = 3.35
    height = side * max(_aspect(before), _aspect(after))
    above, gap = 0.75 if slab else 0.45, 0.42
    panel, bar = 2.75, 0.13
    left = 0.55
    width = left + 2 * side + 0.12 + 0.12 + bar + 1.3 + panel + 0.15
    figure = Figure(figsize=(width, above + 2 * height + gap + 0.5))
    rows = (
        ("b", "bulk modulus $B$", before.bulk, after.bulk),
        ("g", "shear modulus $G$", before.shear, after.shear),
    )
    for row, (symbol, name, old, new) in enumerate(rows):
        bottom = 0.5 + (1 - row) * (height + gap)
        pooled = np.abs(np.concatenate([np.zeros(1), old, new]))
        scale = float(np.percentile(pooled, _SATURATED)) or 1.0
        for column, (view, values) in enumerate(((before, old), (after, new))):
            axes = _place(figure, left + column * (side + 0.12), bottom, side, height)
            _draw_contributions(axes, view, values, scale)
            if row == 0:
                axes.set_title(view.label, pad=5)
            if column == 0:
                axes.text(
                    -0.02,
                    0.5,
                    f"contributions to\nthe {name}",
                    transform=axes.transAxes,
                    rotation=90,
                    ha="right",
                    va="center",
                )
        right = left + 2 * side + 0.12 + 0.12
        _draw_bar(_place(figure, right, bottom + 0.1, bar, height - 0.3), scale, symbol)
        axes = _place(figure, right + bar + 1.3, bottom + 0.14, panel, height - 0.26)
        _draw_distribution(axes, old, new, symbol)
        if row == 0:
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, borderaxespad=0.3)
    if slab:
        figure.suptitle(slab, fontsize=9.5, y=1 - 0.05 / figure.get_size_inches()[1], va="top")
    return figure


@_styled
def overview(designs: Sequence[tuple[History, View, View]]) -> Figure:
    """Several designs, a row each: the objective's value against the step, the packing before and
    after with its forces. For `amorph demo`; 1600 pixels wide.

    Raises `InputError` if there are no designs.
    """
    if not designs:
        raise InputError("there are no designs to show: give at least one.")
    width, side, plot = 10.0, 2.95, 2.65
    left, between, above, below, gap = 0.78, 0.32, 0.42, 0.98, 0.42
    height = side * max(_aspect(v) for _, *views in designs for v in views)
    rows = len(designs)
    figure = Figure(figsize=(width, above + rows * height + (rows - 1) * gap + below))
    strongest = _strongest([v.force for _, *views in designs for v in views])
    widest = 0.0
    for row, (history, before, after) in enumerate(designs):
        bottom = below + (rows - 1 - row) * (height + gap)
        axes = _place(figure, left, bottom + 0.14, plot, height - 0.14)
        _draw_value(axes, history, 0, BLUE)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        axes.set_title(f"design to {history.target[0]:.4g}", pad=5)
        if row == rows - 1:
            axes.set_xlabel("design step")
        for column, view in enumerate((before, after)):
            start = left + plot + between + column * (side + 0.1)
            place = _place(figure, start, bottom, side, height)
            widest = max(widest, _draw_network(place, view, strongest))
            place.set_title(view.label, pad=5)
    lines = [Line2D([], [], color=BLACK, lw=1.1, ls="--", label="target")]
    for history, *_ in designs:
        if len(lines) == 1:
            lines += _rearrangement_handle(history)
    common: dict[str, Any] = {"loc": "lower center", "fontsize": 8.5}
    figure.legend(
        handles=lines, bbox_to_anchor=((left + plot / 2) / width, 0.006), ncols=2, **common
    )
    handles = _network_handles(strongest, widest, [v for _, *views in designs for v in views])
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
        if design["status"] != "running":
            groups.setdefault(tuple(_as_list(design["target"])), []).append(design)
    return dict(sorted(groups.items()))


def _spread(count: int) -> Floats:
    """Places of points side by side, from -1 to 1, the same every time."""
    golden = 0.6180339887498949
    return 2 * np.mod(0.5 + golden * np.arange(count), 1.0) - 1


@_styled
def success(designs: Sequence[Mapping[str, Any]]) -> Figure:
    """Of many designs: the fraction that reached each target, and the steps that took.

    Parameters
    ----------
    designs:
        The entries of a ``summary.json``: ``target``, ``initial`` and ``value`` or ``final`` (a
        number or a list), ``status``, ``steps``; and ``feature`` if it is to be named. A design
        succeeded if its status is ``converged``; those still running are left out.

    The bars are Wilson's 68 % interval. Raises `InputError` if no design has ended.
    """
    groups = _by_target(designs)
    if not groups:
        raise InputError("no design has ended yet: there is nothing to count.")
    targets = list(groups)
    single = all(len(t) == 1 for t in targets)
    places = np.array([t[0] for t in targets]) if single else np.arange(float(len(targets)))
    step = float(np.diff(places).min()) if len(places) > 1 else 0.2
    figure = Figure(figsize=(9.4, 3.7), layout="constrained")
    grid = figure.add_gridspec(1, 2, wspace=0.06)
    left, right = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    feature = _feature_of(designs)
    for place, members in zip(places, groups.values(), strict=True):
        won = [d for d in members if d["status"] == "converged"]
        share = len(won) / len(members)
        interval = binomtest(len(won), len(members)).proportion_ci(0.6827, method="wilson")
        left.errorbar(
            place,
            share,
            yerr=[[max(share - interval.low, 0.0)], [max(interval.high - share, 0.0)]],
            color=BLUE,
            marker="o",
            markersize=6,
            capsize=4,
            lw=1.4,
            zorder=3,
        )
        left.annotate(
            f"{len(won)}/{len(members)}",
            (place, -0.115),
            ha="center",
            fontsize=8.5,
            color=GREY,
        )
        _draw_steps(right, place, step, won)
    left.set_ylim(-0.14, 1.06)
    left.set_yticks(np.linspace(0, 1, 6))
    left.set_ylabel("fraction of designs that succeeded")
    initial = np.array([_as_list(d["initial"])[0] for d in designs if d.get("initial") is not None])
    handles: list[Any] = [
        Line2D([], [], color=BLUE, marker="o", lw=1.4, label="fraction, 68 % interval (Wilson)")
    ]
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


def _draw_steps(axes: Axes, place: float, step: float, won: Sequence[Mapping[str, Any]]) -> None:
    if not won:
        return
    # A design that starts at its target takes no step: it is shown at one.
    steps = np.sort(np.maximum([float(d["steps"]) for d in won], 1.0))
    lower, median, upper = np.percentile(steps, [25, 50, 75])
    axes.plot(
        place + 0.16 * step * _spread(len(steps)), steps, "o", color=SKY, ms=4, alpha=0.75, zorder=2
    )
    axes.vlines(place, lower, upper, color=BLUE, lw=2.2, zorder=3)
    axes.hlines(median, place - 0.22 * step, place + 0.22 * step, color=BLUE, lw=2.2, zorder=3)


def _step_handles() -> list[Any]:
    return [
        Line2D([], [], ls="none", marker="o", ms=4, color=SKY, label="one design"),
        Line2D([], [], color=BLUE, lw=2.2, label="median and quartiles"),
    ]
