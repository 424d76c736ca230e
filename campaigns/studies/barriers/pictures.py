"""Pictures of barriers: their distribution, how many particles take part, and designs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from ...pictures.style import GREY, SERIES, outside_legend, place_axes, styled
from .study import distinct

if TYPE_CHECKING:
    import pandas

__all__ = ["pictures"]

BINS = 24


def pictures(table: "pandas.DataFrame") -> Mapping[str, tuple[Figure, str]]:
    """Pictures of the searches or of the designs, by file name, with captions."""
    if "factor" in table.columns:
        return {
            "designs": (
                designs(table),
                "The barrier of each design after each of its steps, beside what it was.",
            )
        }
    table = table[table["same"] == 0]
    table = table[distinct(table)]
    if len(table) < 2:
        return {}
    return {
        "distribution": (
            distribution(table),
            "How many of the saddles, each counted once, have a barrier of which height: those "
            "that join the packings to other minima, and above them those between minima nearby.",
        ),
        "participation": (
            participation(table),
            "The participation ratio of the negative mode (dots) and of the displacement from "
            "minimum to minimum (open) against the barrier, for the same saddles.",
        ),
    }


@styled
def distribution(table: "pandas.DataFrame") -> Figure:
    """A histogram of barriers, on a logarithmic scale."""
    barrier = table["barrier"].to_numpy(float)
    joined = table["joined"].to_numpy() == 1
    figure = Figure(figsize=(6.2, 3.3))
    axes = place_axes(figure, 0.7, 0.55, 3.7, 2.6)
    edges = np.geomspace(barrier.min() * 0.999, barrier.max() * 1.001, BINS + 1).tolist()
    axes.hist(
        [barrier[joined], barrier[~joined]],
        edges,
        stacked=True,
        color=[SERIES[0], GREY],
        label=["out of a packing", "nearby"],
    )
    axes.set(xscale="log", xlabel="barrier ΔE", ylabel="saddles")
    outside_legend(axes)
    return figure


@styled
def participation(table: "pandas.DataFrame") -> Figure:
    """Participation ratios against barriers."""
    figure = Figure(figsize=(6.6, 3.3))
    axes = place_axes(figure, 1.0, 0.55, 3.7, 2.6)
    x = table["barrier"].to_numpy(float)
    way = table["participation of the way"]
    axes.plot(x, way, "o", ms=3.5, mfc="none", color=GREY, label="the whole way")
    axes.plot(x, table["participation"], "o", ms=3, color=SERIES[0], label="negative mode")
    axes.set(xscale="log", yscale="log", xlabel="barrier ΔE", ylabel="participation ratio")
    outside_legend(axes)
    return figure


@styled
def designs(table: "pandas.DataFrame") -> Figure:
    """Barriers along the steps of designs, in units of what they were."""
    names = sorted(
        (c for c in table.columns if c.startswith("way barrier_")),
        key=lambda c: int(c.rpartition("_")[2]),
    )
    figure = Figure(figsize=(4.7, 3.3))
    axes = place_axes(figure, 0.7, 0.55, 3.7, 2.6)
    for k, (_, row) in enumerate(table.iterrows()):
        values = row[names].to_numpy(float)
        values = values[np.isfinite(values)]
        axes.plot(values / values[0], "-o", ms=2.5, lw=1, color=SERIES[k % len(SERIES)])
    axes.set(xlabel="step", ylabel="barrier / barrier before")
    return figure
