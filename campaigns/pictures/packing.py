"""Packings in the plane: their discs, the network of forces, what each pair contributes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from .style import (
    AFTER,
    ATTRACTS,
    BEFORE,
    FAINTEST,
    GREY,
    REPELS,
    SATURATED,
    STRONGEST,
    WIDEST,
    Floats,
    asinh_ticks,
    colour_of,
    diverging,
    diverging_colours,
    place_axes,
    rounded,
    styled,
)


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
        (d, d), columns the box vectors; None for a cluster in open space.
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
    rattlers:
        (N,): which particles are rattlers, drawn hollow; None where that is not shown.
    """

    positions: Floats
    typeid: NDArray[np.int32]
    types: tuple[str, ...]
    diameters: Floats
    box: Floats | None
    pairs: NDArray[np.int32]
    vector: Floats
    force: Floats
    bulk: Floats
    shear: Floats
    label: str = ""
    rattlers: NDArray[np.bool_] | None = None

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return int(self.positions.shape[1])


@dataclass(frozen=True, eq=False)
class Flat:
    """The part of a packing that is drawn in the plane: all of it in 2D, a layer of it in 3D.

    centres (K, 2) and radii (K,) of discs with their images, in the order in which they are drawn;
    kind (K,) their types; hollow (K,) which are rattlers; depth (K,) from 0, far, to 1, near;
    start and end (L, 2) of lines and the pair (L,) each belongs to; corners (4, 2) of the cell, or
    of what encloses a cluster.
    """

    centres: Floats
    radii: Floats
    kind: NDArray[np.int32]
    hollow: NDArray[np.bool_]
    depth: Floats
    start: Floats
    end: Floats
    pair: NDArray[np.intp]
    corners: Floats


_SHIFTS = np.array([[a, b] for a in (-1, 0, 1) for b in (-1, 0, 1)], dtype=np.float64)


def flatten(view: View) -> Flat:
    """Put a packing into the plane, with the images that reach into the cell."""
    if view.box is None:
        return _flatten_cluster(view)
    d = view.dimension
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
    return Flat(
        centres=centres[order],
        radii=radii[which][order],
        kind=view.typeid[which][order],
        hollow=_hollow(view)[which][order],
        depth=depth[order],
        start=start[crosses],
        end=end[crosses],
        pair=pair[crosses],
        corners=corners,
    )


def _hollow(view: View) -> NDArray[np.bool_]:
    if view.rattlers is None:
        return np.zeros(len(view.positions), dtype=np.bool_)
    return view.rattlers


def _flatten_cluster(view: View) -> Flat:
    """A cluster seen along z, with a margin around it."""
    plane = view.positions[:, :2]
    radii = 0.5 * view.diameters[view.typeid]
    low = (plane - radii[:, None]).min(axis=0) - 0.5 * radii.max()
    high = (plane + radii[:, None]).max(axis=0) + 0.5 * radii.max()
    order = np.arange(len(plane))
    depth = np.ones(len(plane))
    if view.dimension == 3:
        height = view.positions[:, 2]
        order = np.argsort(height, kind="stable")
        depth = (height - height.min()) / max(float(np.ptp(height)), 1e-300)
    start = plane[view.pairs[:, 0]]
    return Flat(
        centres=plane[order],
        radii=radii[order],
        kind=view.typeid[order],
        hollow=_hollow(view)[order],
        depth=depth[order],
        start=start,
        end=start + view.vector[:, :2],
        pair=np.arange(len(view.pairs)),
        corners=np.array([low, [high[0], low[1]], high, [low[0], high[1]]]),
    )


def _frame(axes: Axes, flat: Flat, *, drawn: bool = True) -> Polygon:
    """Set the cell's limits, draw its outline unless it is no box, and return what clips to it."""
    low, high = flat.corners.min(axis=0), flat.corners.max(axis=0)
    margin = 0.012 * float((high - low).max())
    axes.set_xlim(low[0] - margin, high[0] + margin)
    axes.set_ylim(low[1] - margin, high[1] + margin)
    axes.set_aspect("equal")
    axes.set_axis_off()
    outline = Polygon(
        flat.corners.tolist(),
        closed=True,
        fill=False,
        edgecolor="#333333" if drawn else "none",
        lw=0.9,
        zorder=5,
    )
    axes.add_patch(outline)
    return outline


def _draw_discs(axes: Axes, flat: Flat, outline: Polygon, *, filled: bool) -> None:
    widths = 2 * flat.radii
    colours = np.array([colour_of(int(k)) for k in flat.kind]).reshape(-1, 3)
    # In a layer of a 3D packing, what lies deeper is darker.
    shade = (0.62 + 0.38 * flat.depth)[:, None]
    faces = np.where(flat.hollow[:, None], 1.0, colours * shade)
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
            facecolors=faces,
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


@styled
def modes(
    view: View, values: Sequence[Floats], arrows: Sequence[Floats], titles: Sequence[str]
) -> Figure:
    """Changes of a packing, a panel each: its particles in colour by a value, and their motion.

    Parameters
    ----------
    view:
        The packing; of a 3D one a layer is drawn.
    values:
        (N,) of each panel; colours are those of `diverging`, to the largest in each.
    arrows:
        (N, d) of each panel, drawn to a common length.
    titles:
        Of the panels.
    """
    columns = min(3, len(values))
    rows = -(-len(values) // columns)
    figure = Figure(figsize=(3.3 * columns, 3.5 * rows), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    own = replace(
        view,
        typeid=np.arange(len(view.positions), dtype=np.int32),
        diameters=view.diameters[view.typeid],
        types=(),
        rattlers=None,
    )
    flat = flatten(own)
    mean = float(own.diameters.mean())
    for axes, value, arrow, title in zip(panels, values, arrows, titles, strict=False):
        outline = _frame(axes, flat)
        largest = float(np.abs(value).max()) or 1.0
        discs = EllipseCollection(
            2 * flat.radii,
            2 * flat.radii,
            np.zeros(len(flat.radii)),
            units="xy",
            offsets=flat.centres,
            offset_transform=axes.transData,
            facecolors=diverging_colours(0.5 + 0.5 * value[flat.kind] / largest),
            edgecolors="#8A8A8A",
            linewidths=0.4,
            zorder=1,
        )
        axes.add_collection(discs)
        discs.set_clip_path(outline)
        plane = arrow[flat.kind, :2]
        length = float(np.linalg.norm(arrow, axis=1).max())
        if length > 0:
            moved = plane * (1.2 * mean / length)
            drawn = axes.quiver(
                *flat.centres.T, *moved.T, angles="xy", scale_units="xy", scale=1.0,
                width=0.004, color="#222222", zorder=4,
            )  # fmt: skip
            drawn.set_clip_path(outline)
        axes.set_title(title, fontsize=9)
    for axes in panels[len(values) :]:
        axes.set_axis_off()
    return figure


def _points_per_unit(axes: Axes, flat: Flat) -> float:
    """The points on paper that a unit of length takes; the figure's layout must be settled."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    position = axes.get_position(original=True)
    width, height = figure.get_size_inches()
    extent = np.ptp(flat.corners, axis=0)
    return float(72 * min(position.width * width / extent[0], position.height * height / extent[1]))


def _widest(axes: Axes, flat: Flat, view: View) -> float:
    """The greatest width of a line, in points."""
    mean = float(view.diameters[view.typeid].mean())
    return max(WIDEST * mean * _points_per_unit(axes, flat), 0.6)


def _draw_lines(
    axes: Axes, flat: Flat, outline: Polygon, size: Floats, colours: NDArray[Any], widest: float
) -> None:
    """Draw lines of sizes from 0 to 1, the greatest on top; the faintest are left out."""
    order = np.argsort(size, kind="stable")
    order = order[size[order] >= FAINTEST]
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


def strongest_of(forces: Sequence[Floats]) -> float:
    """The force that is drawn with the greatest width."""
    pooled = np.abs(np.concatenate([np.zeros(1), *forces]))
    value = float(np.percentile(pooled, STRONGEST))
    return value if value > 0 else 1.0


def draw_network(axes: Axes, view: View, strongest: float) -> float:
    """Draw a packing with its forces; returns the greatest width, in points."""
    flat = flatten(view)
    outline = _frame(axes, flat, drawn=view.box is not None)
    _draw_discs(axes, flat, outline, filled=True)
    force = view.force[flat.pair]
    size = np.minimum(np.abs(force) / strongest, 1.0)
    widest = _widest(axes, flat, view)
    colours = np.where((force > 0)[:, None], to_rgb(REPELS), to_rgb(ATTRACTS))
    _draw_lines(axes, flat, outline, size, colours, widest)
    return widest


def network_handles(strongest: float, widest: float, views: Sequence[View]) -> list[Any]:
    """The legend of a force network: its colours with a scale of widths, and the discs."""
    large = rounded(strongest)
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
                markerfacecolor=colour_of(kind),
                markeredgecolor="#8A8A8A",
                label=f"type {name}",
            )
        )
    if any(view.rattlers is not None and view.rattlers.any() for view in views):
        handles.append(
            Line2D(
                [],
                [],
                ls="none",
                marker="o",
                markersize=9,
                markerfacecolor="white",
                markeredgecolor="#8A8A8A",
                label="rattler",
            )
        )
    return handles


def _slab(view: View) -> str:
    """The words that say which layer of a packing is shown in 3D; empty in 2D."""
    if view.dimension == 2 or view.box is None:
        return ""
    return (
        f"Layer |z| < {float(view.diameters.max()) / 2:.2g} through the middle of the box, seen "
        "along z; deeper particles are darker"
    )


def aspect(view: View) -> float:
    """Height over width of the cell in the plane."""
    flat = flatten(view)
    width, height = np.ptp(flat.corners, axis=0)
    return float(height / width)


@styled
def packings(before: View, after: View) -> Figure:
    """The packing before and after with the network of forces over it, on one scale of widths.

    In 3D a layer through the middle of the box is shown, as the title says.
    """
    slab = _slab(after)
    side = 4.6
    height = side * max(aspect(before), aspect(after))
    above, below = 0.62 if slab else 0.36, 0.74
    figure = Figure(figsize=(2 * side + 0.5, height + above + below))
    strongest = strongest_of([before.force, after.force])
    widest = 0.0
    for column, view in enumerate((before, after)):
        axes = place_axes(figure, 0.15 + column * (side + 0.2), below, side, height)
        widest = max(widest, draw_network(axes, view, strongest))
        axes.set_title(view.label, pad=5)
    if slab:
        figure.suptitle(slab, fontsize=9.5, y=1 - 0.04 / figure.get_size_inches()[1], va="top")
    handles = network_handles(strongest, widest, (before, after))
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=-(-len(handles) // 2),
        columnspacing=2.2,
        bbox_to_anchor=(0.5, 0.005),
    )
    return figure


def _draw_contributions(axes: Axes, view: View, values: Floats, scale: float) -> None:
    flat = flatten(view)
    outline = _frame(axes, flat)
    _draw_discs(axes, flat, outline, filled=False)
    share = values[flat.pair] / scale
    size = np.minimum(np.abs(share), 1.0)
    colours = diverging_colours(0.5 + 0.5 * np.clip(share, -1.0, 1.0))
    _draw_lines(axes, flat, outline, size, colours, _widest(axes, flat, view))


def _draw_bar(axes: Axes, scale: float, symbol: str) -> None:
    """The colour bar, in powers of ten where the numbers would be long."""
    power = int(np.floor(np.log10(scale)))
    if -3 < power < 4:
        power = 0
    limit = scale / 10.0**power
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    bar = figure.colorbar(
        ScalarMappable(Normalize(-limit, limit), diverging()), cax=axes, extend="both"
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
        edges[[0, -1]] = low, high  # round-off must leave no value out
        axes.set_xscale("asinh", linear_width=bulk)
        axes.xaxis.set_major_locator(FixedLocator(asinh_ticks(low, high, bulk)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    lowest = np.inf
    # Where both are alike, the wider line shows on both sides of the other.
    for values, colour, lw, label in (
        (before, BEFORE, 2.6, "before"),
        (after, AFTER, 1.2, "after"),
    ):
        count, _ = np.histogram(values, bins=edges)
        density = count / max(len(values), 1) / np.diff(edges)
        lowest = min(lowest, float(density[count > 0].min(initial=np.inf)))
        shown = np.where(count > 0, density, np.nan)
        axes.stairs(density, edges, color=colour, alpha=0.16, fill=True)
        axes.stairs(shown, edges, color=colour, lw=lw, label=label)
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


@styled
def bonds(before: View, after: View) -> Figure:
    """Each pair's contribution to the bulk modulus (b_ij) and to the shear modulus (g_ij).

    On the packing before and after, on one scale which saturates at a high percentile, and as
    distributions, as Fig. 1e of Zu and Goodrich, Commun. Mater. 5 (2024).
    """
    slab = _slab(after)
    side = 3.35
    height = side * max(aspect(before), aspect(after))
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
        scale = float(np.percentile(pooled, SATURATED)) or 1.0
        for column, (view, values) in enumerate(((before, old), (after, new))):
            axes = place_axes(figure, left + column * (side + 0.12), bottom, side, height)
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
        _draw_bar(place_axes(figure, right, bottom + 0.1, bar, height - 0.3), scale, symbol)
        axes = place_axes(figure, right + bar + 1.3, bottom + 0.14, panel, height - 0.26)
        _draw_distribution(axes, old, new, symbol)
        if row == 0:
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, borderaxespad=0.3)
    if slab:
        figure.suptitle(slab, fontsize=9.5, y=1 - 0.05 / figure.get_size_inches()[1], va="top")
    return figure
