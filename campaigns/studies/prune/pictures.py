"""Pictures of pruned networks: the way to the goals, and the networks themselves."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from amorph import bridge
from amorph.bridge import networks
from amorph.bridge.networks.building import bond_vectors

from ...pictures.springs import SpringView, draw_springs, limits_of
from ...pictures.style import GREY, SERIES, outside_legend, place_axes, styled
from ...report import html
from .study import network_file

if TYPE_CHECKING:
    import pandas

    from ...report.output import Output
    from ..study import Task
    from .campaign import PruneFile

__all__ = ["network_pictures", "pictures"]

# The tables whose keys may be swept.
TABLES = ("network.", "prune.", "objective.", "allostery.", "preparation.", "potential.")
# Of many systems, how many have their networks shown.
MOST_SHOWN = 8


def pictures(table: "pandas.DataFrame") -> Mapping[str, tuple[Figure, str]]:
    """The way of every network to its goals, by file name, with captions."""
    names = [c.removeprefix("target of ") for c in table.columns if c.startswith("target of ")]
    out = {
        f"way-{k}" if k else "way": (
            way(table, name),
            f"{name} against the number of bonds that are cut, a line for each network; grey, "
            "dashed: the targets.",
        )
        for k, name in enumerate(names)
    }
    if "poisson_ratio" in names and "bond variance" in table.columns:
        out["variance"] = (
            scattered(table, "bond variance", "variance of bond length changes σ²"),
            "The variance of bonds' length changes under uniaxial loads against Poisson's ratio, a "
            "dot for each network.",
        )
    if "poisson_ratio" in names and "modes superposed" in table.columns:
        out["superposition"] = (
            scattered(table, "modes superposed", "Σ |C|² ν′ of two modes", line=True),
            "The effective Poisson's ratios of the two modes that the deformation is made of most, "
            "superposed by their weights, against Poisson's ratio; grey: where both are the same.",
        )
    return out


@styled
def scattered(table: "pandas.DataFrame", column: str, label: str, *, line: bool = False) -> Figure:
    """A column against Poisson's ratio, a dot for each network, coloured by case."""
    grouped = [("", table)]
    if "case" in table.columns:
        grouped = [(str(name), part) for name, part in table.groupby("case", sort=False)]
    figure = Figure(figsize=(4.6 if len(grouped) == 1 else 6.4, 3.6))
    axes = place_axes(figure, 0.7, 0.5, 3.6, 2.95)
    axes.set(xlabel="Poisson's ratio ν", ylabel=label)
    for k, (name, part) in enumerate(grouped):
        x = part["poisson_ratio"].to_numpy(float)
        y = part[column].to_numpy(float)
        axes.plot(x, y, "o", ms=3, color=SERIES[k % len(SERIES)], label=name or None)
    if line:
        axes.axline((0, 0), slope=1, color=GREY, lw=0.8, zorder=0)
    if len(grouped) > 1:
        outside_legend(axes)
    return figure


@styled
def way(table: "pandas.DataFrame", name: str) -> Figure:
    """An objective's value against bonds cut, as a part of all, coloured by system."""
    systems = _systems(table)
    figure = Figure(figsize=(6.0 if len(systems) == 1 else 8.4, 3.6))
    axes = place_axes(figure, 0.7, 0.5, 5.1, 2.95)
    axes.set(xlabel="bonds cut, of all", ylabel=name.replace("_", " "))
    at = sorted((c for c in table.columns if c.startswith("way cut_")), key=_number)
    values = sorted((c for c in table.columns if c.startswith(f"way {name}_")), key=_number)
    for k, (label, part) in enumerate(systems):
        colour = SERIES[k % len(SERIES)]
        cut = part[at].to_numpy(float) / part["bonds"].to_numpy(float)[:, None]
        for n, (x, y) in enumerate(zip(cut, part[values].to_numpy(float), strict=True)):
            known = np.isfinite(x) & np.isfinite(y)
            axes.plot(
                x[known], y[known], "-", lw=1.0, color=colour, label=label if n == 0 else None
            )
            axes.plot(x[known][-1:], y[known][-1:], "o", ms=3, color=colour)
    for target in np.unique(table[f"target of {name}"]):
        axes.axhline(target, color=GREY, lw=0.8, ls="--", zorder=0)
    axes.set_xlim(left=0)
    if len(systems) > 1:
        outside_legend(axes)
    return figure


def _number(column: str) -> int:
    return int(column.rpartition("_")[2])


def _systems(table: "pandas.DataFrame") -> "list[tuple[str, pandas.DataFrame]]":
    """The rows of each system, by what was swept; where these are too many, by one thing of it."""
    swept = [c for c in table.columns if c == "case" or c.startswith(TABLES)]
    if not swept:
        return [("", table)]
    if len(table[swept].drop_duplicates()) > len(SERIES):
        few = [c for c in swept if 1 < table[c].nunique() <= len(SERIES)]
        swept = [max(few, key=lambda c: int(table[c].nunique()))] if few else swept[:1]
    grouped = table.groupby(swept, sort=False)
    names = [
        ", ".join(str(v) for v in (key if isinstance(key, tuple) else (key,))) for key, _ in grouped
    ]
    return [(name, part) for name, (_, part) in zip(names, grouped, strict=True)]


def network_pictures(tasks: "Sequence[Task[PruneFile]]", output: "Output") -> list[str]:
    """The parts of a page that show some systems' first network, before and after."""
    body = []
    shown = np.unique(np.linspace(0, len(tasks) - 1, min(len(tasks), MOST_SHOWN)).astype(int))
    for k in shown.tolist():
        task = tasks[k]
        path = network_file(task.directory, 0)
        if not path.exists():
            continue
        before, after = bridge.read_gsd(path)
        if before[1].dimension != 2:
            continue
        swept = ", ".join(f"{key} = {value}" for key, value in task.chosen.items())
        caption = (
            (f"{swept}: " if swept else "")
            + "the first network, before and after; faint: what was cut; red: concave nodes "
            "(at open edges from the first)."
        )
        address = output.picture(f"network-{k}", before_and_after(before, after))
        body.append(html.figure(address, escape(caption)))
    return ["<h2>Networks</h2>", *body] if body else []


@styled
def before_and_after(before: Any, after: Any) -> Figure:
    """Two networks beside each other, (springs, packing) each, what was cut faint in the second."""
    views = [_view(*network) for network in (before, after)]
    low, high = limits_of(views[0])
    height = 4.0 * (high - low)[1] / (high - low)[0]
    figure = Figure(figsize=(8.4, height + 0.5))
    for k, (view, network) in enumerate(zip(views, (before, after), strict=True)):
        axes = place_axes(figure, 0.1 + 4.2 * k, 0.1, 4.0, height)
        draw_springs(axes, view, views[0] if k else None)
        z = 2 * len(view.bonds) / len(view.positions)
        told = f"z = {z:.2f}, {len(view.concave)} nodes concave"
        if network[1].box is not None:
            nu = bridge.poisson_ratio(*network)
            told = f"ν = {nu:.3f}, ".replace("-", "−") + told
        axes.set_title(told, fontsize=9)
    return figure


def _view(springs: Any, packing: Any) -> SpringView:
    box = None if packing.box is None else np.asarray(packing.box)
    return SpringView(
        np.asarray(packing.positions),
        np.asarray(packing.bonds),
        bond_vectors(packing),
        box,
        networks.concave_nodes(packing),
    )
