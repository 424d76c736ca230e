"""Histograms of measured quantities over frames, in small multiples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from amorph.handover import InputError

from .style import BLACK, BLUE, GREY, ORANGE, Floats, styled

# Beyond these percentiles values are counted, not drawn, where they would squeeze the others.
_TAIL = 0.25
_COLOURS: Mapping[int, str] = {2: BLUE, 3: ORANGE}


@dataclass(frozen=True, eq=False)
class Quantity:
    """A quantity over frames.

    Attributes
    ----------
    name:
        Its key in the table.
    label:
        What it is, in words.
    values:
        By the packings' dimension, 2 or 3: (n_frames,).
    """

    name: str
    label: str
    values: Mapping[int, Floats]


@styled
def histograms(quantities: Sequence[Quantity], caption: str = "") -> Figure:
    """A histogram of each quantity; packings in 2D and in 3D apart, by colour.

    A dashed line is a median, which stands above, with the central 68 % where the packings are of
    one dimension. Far tails that would squeeze the rest are left out of the picture and counted in
    it, as is what is no finite number. Raises `InputError` if there is nothing to show.
    """
    shown = [q for q in quantities if any(np.isfinite(v).any() for v in q.values.values())]
    if not shown:
        raise InputError("no frame has a value: there is no histogram to draw.")
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    size = (3.5 * columns + 0.3, 2.55 * rows + 0.9)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    for k, quantity in enumerate(shown):
        _draw(figure.add_subplot(rows, columns, k + 1), quantity, first=k % columns == 0)
    present = sorted({d for q in shown for d, v in q.values.items() if np.isfinite(v).any()})
    handles: list[Patch | Line2D] = [Line2D([], [], color=GREY, lw=1.1, ls="--", label="median")]
    if len(present) > 1:
        handles += [Patch(color=_COLOURS[d], alpha=0.55, label=f"in {d}D") for d in present]
    figure.legend(handles=handles, loc="outside upper right", ncols=3)
    if caption:
        figure.supxlabel(caption, fontsize=9, color=GREY)
    return figure


def _limits(values: Floats) -> tuple[float, float]:
    """The range drawn: all, or all but the far tails where these would squeeze the rest."""
    low, high = float(values.min()), float(values.max())
    inner_low, inner_high = np.percentile(values, [_TAIL, 100 - _TAIL])
    inner = float(inner_high - inner_low)
    if inner > 0 and high - low > 2.5 * inner:
        return (
            max(low, float(inner_low) - 0.15 * inner),
            min(high, float(inner_high) + 0.15 * inner),
        )
    return low, high


def _draw(axes: Axes, quantity: Quantity, *, first: bool) -> None:
    known = {d: v[np.isfinite(v)] for d, v in sorted(quantity.values.items())}
    pooled = np.concatenate(list(known.values()))
    low, high = _limits(pooled)
    width = high - low
    constant = width <= 1e-9 * max(abs(low), abs(high), 1e-300)
    if constant:
        width = abs(low) or 1.0
        low, high = low - 0.5 * width, high + 0.5 * width
    whole = bool((pooled == np.rint(pooled)).all()) and width <= 60
    if whole:
        edges = np.arange(np.floor(low) - 0.5, np.ceil(high) + 1.0)
    else:
        quartiles = np.percentile(pooled, [25, 75])
        step = 2 * float(np.ptp(quartiles)) / len(pooled) ** (1 / 3)
        n_bins = int(np.clip((high - low) / step if step > 0 else 12, 12, 60))
        edges = np.linspace(low, high, (1 if constant else n_bins) + 1)
    alone = sum(v.size > 0 for v in known.values()) == 1
    for dimension, values in known.items():
        if values.size:
            count, _ = np.histogram(values, bins=edges)
            colour = _COLOURS[dimension]
            axes.stairs(count, edges, color=colour, alpha=0.3, fill=True)
            axes.stairs(count, edges, color=colour, lw=1.2)
            median = float(np.median(values))
            axes.axvline(median, color=BLACK if alone else colour, lw=1.1, ls="--")
    beyond = int(((pooled < edges[0]) | (pooled > edges[-1])).sum())
    lost = sum(v.size for v in quantity.values.values()) - pooled.size
    counted = [f"{n} {word}" for n, word in ((beyond, "beyond"), (lost, "not finite")) if n]
    if counted:
        small: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": 8, "color": GREY}
        axes.text(0.99, 0.97, "\n".join(counted), transform=axes.transAxes, **small)
    axes.set_title(f"{quantity.label}\n", fontsize=10, pad=2)
    above: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 8.5, "color": GREY}
    axes.text(0.5, 1.02, _summary(known), transform=axes.transAxes, **above)
    axes.set_xlabel(quantity.name, fontsize=8.5, color=GREY)
    axes.xaxis.get_major_locator().set_params(nbins=5, integer=whole)  # type: ignore[call-arg]
    axes.yaxis.get_major_locator().set_params(nbins=4, integer=True)  # type: ignore[call-arg]
    axes.set_ylim(bottom=0)
    if first:
        axes.set_ylabel("frames")


def _summary(known: Mapping[int, Floats]) -> str:
    """The medians in words, with the central 68 % where the packings are of one dimension."""
    present = {d: v for d, v in known.items() if v.size}
    if len(present) > 1:
        text = ", ".join(f"{np.median(v):.4g} in {d}D" for d, v in present.items())
    else:
        (values,) = present.values()
        low, middle, high = np.percentile(values, [15.9, 50, 84.1])
        text, *ends = (f"{v:.4g}" for v in (middle, low, high))
        if ends[0] != ends[1]:
            text += f" ({ends[0]} to {ends[1]})"
    return text.replace("-", "−")
