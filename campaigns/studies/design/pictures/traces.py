"""Traces of designs: the loss, the values and the parameters against the step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)

from amorph.handover import InputError

from ....pictures.style import (
    BLACK,
    BLUE,
    DASHES,
    GREEN,
    GREY,
    PURPLE,
    SERIES,
    Floats,
    draw_interval,
    logarithmic,
    outside_legend,
    styled,
)
from ..history import History
from ..steps import PACES

PARAMETERS: Mapping[str, str] = {
    "diameters": "diameter $D$",
    "binding": "binding energy $B$",
    "stiffness": "stiffness $k$",
    "alpha": "inverse range $a$",
}


def _mark_rearrangements(axes: Axes, history: History) -> None:
    steps = history.step[history.rearranged]
    width = 1.0 if len(steps) <= 15 else 0.7 if len(steps) <= 60 else 0.4
    for step in steps:
        axes.axvline(float(step), color=PURPLE, lw=width, ls=(0, (4, 2)), zorder=0.5)


def rearrangement_handle(history: History) -> list[Any]:
    """The legend's entry for rearrangements; empty where there are none."""
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


def draw_value(axes: Axes, history: History, k: int, colour: str) -> None:
    """An objective's value against the step, with its target and the rearrangements."""
    _mark_rearrangements(axes, history)
    axes.axhline(
        float(history.target[k]),
        color=BLACK,
        lw=1.1,
        ls="--",
        label=f"target {history.target[k]:.4g}",
        zorder=1 if len(history.step) <= 600 else 4,
    )
    n = history.each.shape[1]
    beyond = 0
    if n > 1:
        each = history.each[:, :, k]
        steps = np.repeat(history.step, n)
        of = "followed" if history.followed else "fresh"
        axes.plot(
            steps,
            each.ravel(),
            ".",
            color=GREY,
            ms=5 if len(history.step) <= 600 else 2,
            mew=0,
            alpha=0.35,
            zorder=2,
            label=f"each of {n} {of} packings",
        )
        # Far outliers, close to an instability, are left out of the picture, and counted in it.
        shown = [*np.nanpercentile(each, [1, 99]), history.target[k]]
        shown += [found.value[k] for found in history.validations]
        low, high = min(shown), max(shown)
        margin = 0.1 * (high - low) or 0.1 * abs(high) or 0.1
        low, high = low - margin, high + margin
        axes.set_ylim(low, high)
        beyond = int(((each < low) | (each > high)).sum())
    label = "their mean" if n > 1 else None
    axes.plot(
        history.step, history.value[:, k], color=colour, zorder=3, label=label, **_marker(history)
    )
    if beyond:
        small: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": 8, "color": GREY}
        axes.text(0.99, 0.98, f"{beyond} beyond", transform=axes.transAxes, **small)
    _draw_validations(axes, history, k)
    axes.set_ylabel(history.feature[k])
    if n == 1:
        axes.margins(y=0.12)
    _limits_of_steps(axes, history)


def _draw_validations(axes: Axes, history: History, k: int) -> None:
    """Means of fresh packings at their steps, by size and number, with their intervals."""
    kinds = list(dict.fromkeys((v.packings, v.n_particles) for v in history.validations))
    told: set[int] = set()
    for found in history.validations:
        number = kinds.index((found.packings, found.n_particles))
        label = f"{found.packings} fresh packings, N = {found.n_particles}"
        draw_interval(axes, found.step, found.interval[k], color=BLACK, zorder=5)
        axes.plot(
            found.step,
            found.value[k],
            "D*sv^"[number % 5],
            ms=7,
            color=BLACK,
            mfc=GREEN,
            zorder=6,
            label=None if number in told else label,
        )
        told.add(number)


@styled
def trace(history: History) -> Figure:
    """The loss and each objective's value against the step.

    Rearrangements are dashed vertical lines; the strip at the bottom counts, apart from them, the
    pairs that crossed a distance where u'' jumps in each step. An ensemble's packings are others at
    each step: there are neither.
    """
    n = history.value.shape[1]
    strips = [0.75] if history.followed else []
    figure = Figure(figsize=(8.4, 2.35 + sum(strips) + 2.1 * n), layout="constrained")
    grid = figure.add_gridspec(1 + n + len(strips), 1, height_ratios=[2.1, *[2.0] * n, *strips])
    top = figure.add_subplot(grid[0])
    _mark_rearrangements(top, history)
    stop = [] if history.threshold is None or not history.followed else [history.threshold]
    _set_decades(top, np.array([*history.loss, *stop]))
    top.plot(history.step, history.loss, color=BLUE, zorder=3, **_marker(history))
    if stop:
        label = f"stop below {_power(stop[0])}"
        top.axhline(stop[0], color=BLACK, lw=1.1, ls=":", label=label, zorder=1)
    top.set_ylabel("loss")
    panels = [top]
    for k in range(n):
        axes = figure.add_subplot(grid[1 + k], sharex=top)
        draw_value(axes, history, k, SERIES[(k + 1) % len(SERIES)])
        panels.append(axes)
    for axes in panels:
        outside_legend(axes, rearrangement_handle(history) if axes is top else ())
    if strips:
        panels.append(figure.add_subplot(grid[1 + n], sharex=top))
        _draw_crossings(panels[-1], history)
    for axes in panels[:-1]:
        axes.tick_params(labelbottom=False)
    _limits_of_steps(panels[-1], history)
    panels[-1].set_xlabel("design step")
    return figure


def _set_decades(axes: Axes, values: Floats) -> None:
    """A logarithmic axis with limits that hold all, and enough for powers of ten to label it."""
    logarithmic(axes, values)
    above = values[np.isfinite(values) & (values > 0)]
    if axes.get_yscale() == "log":
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


# More types or pairs than this are lines of one colour, without a name each.
MAX_NAMED = 24


def _draw_parameter(axes: Axes, history: History, name: str) -> None:
    """A parameter by type or pair; where its components lie far apart, how each has changed."""
    values = history.parameters[name]
    start = values[0]
    largest_change = float(np.abs(values - start).max())
    apart = largest_change > 0 and np.ptp(start) > 3 * largest_change
    relative = bool(apart and start.min() > 0)
    shown = 100 * (values / start - 1) if relative else values
    labels = history.labels(name)
    if len(labels) > MAX_NAMED:
        axes.plot(history.step, shown, color=SERIES[0], lw=0.6, alpha=0.35)
        axes.plot([], [], color=SERIES[0], lw=0.6, label=f"{len(labels)} of them")
        labels = ()
    for k, label in enumerate(labels):
        # What coincides shows through: dashes, and no markers, over the first of them.
        same = sum(np.allclose(shown[:, k], shown[:, j], rtol=1e-6) for j in range(k))
        axes.plot(
            history.step,
            shown[:, k],
            color=SERIES[k % len(SERIES)],
            ls=DASHES[(k // len(SERIES) + same) % len(DASHES)],
            label=f"{label}: {_arrow(start[k], values[-1, k])}",
            **({} if same and len(history.step) > 1 else _marker(history)),
        )
    text = PARAMETERS.get(name, name)
    axes.set_ylabel(f"change of\n{text} (%)" if relative else text)
    axes.margins(y=0.12)


def _arrow(first: float, last: float) -> str:
    return f"{first:.4g}" if first == last else f"{first:.4g} → {last:.4g}"


@styled
def parameters(history: History) -> Figure:
    """The diameters, the pair parameters that changed, and the optimiser's pace against the step.

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
        outside_legend(axes, fontsize=7 if many else 9, labelspacing=0.2 if many else 0.5)
    _mark_rearrangements(rate, history)
    rate.plot(history.step, history.pace, color=GREY, **_marker(history))
    low, high = float(history.pace.min()), float(history.pace.max())
    if low > 0 and high > 3 * low:
        rate.set_yscale("log")
    elif high - low < 1e-9 * high:
        rate.set_ylim(0, 2 * high)
    rate.set_ylabel(PACES[history.paced_by])
    rate.set_xlabel("design step")
    outside_legend(rate, rearrangement_handle(history))
    _limits_of_steps(rate, history)
    return figure


# More types or pairs than this share a panel.
MAX_PANELS = 4


@styled
def paths(histories: Sequence[History]) -> Figure:
    """The parameters of several designs against the step: where each came to rest.

    As Fig. 4b of Zu and Goodrich, Commun. Mater. 5 (2024).

    Of each parameter that some design changed, a panel for each type or pair with a line a design;
    where there are many of them, one panel for all. The designs must have the same types.

    Raises `InputError` for no designs.
    """
    if not histories:
        raise InputError("no designs: there is nothing to draw.")
    first = histories[0]
    names = [n for n in first.parameters if any(n in h.changed for h in histories)]
    labels = {name: first.labels(name) for name in names}
    columns = max(len(found) for found in labels.values())
    columns = columns if columns <= MAX_PANELS else 1
    figure = Figure(figsize=(2.0 + 2.6 * columns, 0.5 + 2.2 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), columns, sharex=True, sharey="row", squeeze=False)
    last = max(int(h.step[-1]) for h in histories)
    for row, name in zip(grid, names, strict=True):
        for k, label in enumerate(labels[name]):
            axes = row[k if columns > 1 else 0]
            colour = SERIES[k % len(SERIES)]
            for h in histories:
                values = h.parameters[name][:, k]
                axes.plot(h.step, values, color=colour, lw=0.8, alpha=0.75)
                axes.plot(h.step[-1], values[-1], "o", color=colour, ms=3.5, mew=0)
            if columns > 1:
                axes.set_title(label, fontsize=10)
        for axes in row[len(labels[name]) if columns > 1 else 1 :]:
            axes.set_axis_off()
        row[0].set_ylabel(PARAMETERS.get(name, name))
    for axes in grid[-1]:
        axes.set_xlim(-0.015 * last, 1.03 * last + 0.25)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        axes.set_xlabel("design step")
    return figure
