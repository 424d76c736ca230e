"""What the designs of a sweep found: their parameters, and what fresh packings are like there."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from amorph.handover import InputError

from .style import BLACK, GREY, SERIES, styled
from .traces import PARAMETERS

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


# How a median stands beside its mean.
MEDIAN: Mapping[str, Any] = {"marker": "x", "ms": 6.0, "mew": 1.5, "ls": "none"}


def _offsets(number: int, width: float) -> Any:
    """Where designs stand beside each other at one target."""
    return np.zeros(1) if number == 1 else np.linspace(-0.5, 0.5, number) * width


def _step_between(targets: Sequence[float]) -> float:
    apart = np.unique(np.round(targets, 12))
    return float(np.diff(apart).min()) if len(apart) > 1 else max(0.2 * abs(apart[0]), 0.1)


@styled
def validated(designs: Designs) -> Figure:
    """Means of fresh packings with the parameters found, against the target: P0, Fig. 3, 4c, 5.

    A cross beside a mean is the median. Few packings far out may carry a mean, and widen its
    interval, past what is shown: the frame is that of means, medians, targets and the start.

    Parameters
    ----------
    designs:
        Entries as in ``summary.json`` of one objective: ``target``, ``initial``, ``swept`` and
        ``validations`` (``n_particles``, ``value``, ``interval``, ``median`` where it is known), of
        which each design's last of a size is drawn, with its 95 % interval.

    Raises `InputError` if none was validated.
    """
    series = by_series([d for d in designs if d.get("validations")])
    if not series:
        raise InputError("no design was validated: there is nothing to draw.")
    targets = [_values(d["target"])[0] for group in series.values() for d in group]
    alike = [Counter(_values(d["target"])[0] for d in group) for group in series.values()]
    repeats = max(max(counts.values()) for counts in alike)
    width = (0.3 if repeats == 1 else 0.7) * _step_between(targets)
    places = _offsets(len(series) * repeats, width).reshape(-1, repeats)
    figure = Figure(figsize=(6.6, 4.6), layout="constrained")
    axes = figure.add_subplot()
    points: list[float] = []
    medians = False
    for k, (name, group) in enumerate(series.items()):
        colour = SERIES[k % len(SERIES)]
        marked: dict[int, str] = {}
        stand: Counter[float] = Counter()
        for design in group:
            target = _values(design["target"])[0]
            place = target + places[k, stand[target]]
            stand[target] += 1
            last = {v["n_particles"]: v for v in design["validations"]}
            for size, found in last.items():
                marker = marked.setdefault(size, "osD^v"[len(marked) % 5])
                value = _values(found["value"])[0]
                bottom, top = np.asarray(found["interval"], dtype=np.float64).reshape(-1, 2)[0]
                points.append(value)
                if found.get("median"):
                    medians = True
                    points.append(_values(found["median"])[0])
                    axes.plot(place, points[-1], color=colour, **MEDIAN)
                axes.errorbar(
                    place,
                    value,
                    yerr=[[max(value - bottom, 0.0)], [max(top - value, 0.0)]],
                    color=colour,
                    marker=marker,
                    ms=5.5,
                    capsize=3,
                    lw=1.2,
                    mfc=colour if marker == "o" else "none",
                )
        for size, marker in marked.items():
            label = f"{name}, N = {size}" if name else f"N = {size}"
            axes.plot(
                [],
                [],
                ls="none",
                color=colour,
                marker=marker,
                mfc=colour if marker == "o" else "none",
                label=label,
            )
    if medians:
        axes.plot([], [], color=GREY, label="median", **MEDIAN)
    ends = np.array([min(targets), max(targets)]) + _step_between(targets) * np.array([-0.5, 0.5])
    if len(set(targets)) == 1:
        axes.axhline(targets[0], color=BLACK, lw=1.0, ls="--", zorder=0, label="target")
        axes.set_xticks(targets[:1])
        points.append(targets[0])
    else:
        axes.plot(ends, ends, color=BLACK, lw=1.0, ls="--", zorder=0, label="equal")
        points.extend(ends)
    initial = np.array([_values(d["initial"])[0] for d in designs if d.get("initial") is not None])
    if initial.size:
        mean = float(initial.mean())
        axes.axhline(mean, color=GREY, lw=1.0, ls=":", zorder=0, label=f"before: {mean:.3g}")
        points.append(mean)
    reach = np.array([min(points), max(points)])
    reach += 0.15 * float(np.ptp(reach)) * np.array([-1.0, 1.0])
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, reach[0]), min(top, reach[1]))
    axes.set_xlim(*ends)
    feature = str(np.atleast_1d(designs[0]["feature"])[0])
    axes.set_xlabel(f"target: {feature}")
    axes.set_ylabel(f"mean of fresh packings: {feature}")
    axes.legend(loc="best", fontsize=8.5)
    return figure


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
    axes.errorbar(
        found[:, 0],
        found[:, 1],
        xerr=np.abs(interval[:, 0].T - found[:, 0]),
        yerr=np.abs(interval[:, 1].T - found[:, 1]),
        ls="none",
        marker="o",
        ms=5,
        capsize=2,
        lw=1.0,
        color=SERIES[0],
        label="fresh packings, 95 % interval",
        zorder=3,
    )
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
    """How few pairs make the moduli, and how close they lie, by the designs' targets (Fig. 1e).

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
    figure = Figure(figsize=(8.4, 3.5), layout="constrained")
    shown = (
        ("participation", "part of the pairs that take part"),
        ("spread", "spread over the box, 0 to 1"),
    )
    for column, (what, label) in enumerate(shown):
        axes = figure.add_subplot(1, 2, column + 1)
        values = np.array([[getattr(x, f"{m}_{what}") for m in ("bulk", "shear")] for x in found])
        names = ("$b_{ij}$, bulk modulus", "$g_{ij}$, shear modulus")
        handles = _draw_components(axes, places, values, names, 0.25 * _step_between(target))
        if column == 0:
            figure.legend(handles=handles, loc="outside upper center", ncols=2)
        axes.set_ylim(bottom=0.0)
        axes.set_ylabel(label)
        axes.set_xlabel(f"target: {feature}")
    return figure


@styled
def trained(designs: Designs) -> Figure:
    """The parameters that designs ended with, against the target: P0, Fig. 1d and 4d.

    Of designs to one target, all of each type and pair, side by side in their order, with medians.

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
    single = all(len(_values(d["target"])) == 1 for d in shown)
    if single:
        places = np.array([_values(d["target"])[0] for d in shown])
    else:
        unique = sorted({tuple(_values(d["target"])) for d in shown})
        places = np.array([float(unique.index(tuple(_values(d["target"])))) for d in shown])
    # Side by side only where a target has several designs.
    number = len(set(places.tolist()))
    one = single and number == 1 < len(places)
    width = 0.5 * _step_between(list(places)) if number < len(places) else 0.0
    figure = Figure(figsize=(8.4, 0.4 + 2.4 * len(names)), layout="constrained")
    for row, name in enumerate(names):
        axes = figure.add_subplot(len(names), 1, row + 1)
        values = np.array([d["parameters"][name] for d in shown])
        if one:
            _draw_beside(axes, values, shown[0]["components"][name])
            axes.set_ylabel(PARAMETERS.get(name, name))
            continue
        handles = _draw_components(axes, places, values, shown[0]["components"][name], width)
        many = len(handles) > 8
        axes.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(1.005, 1.02),
            borderaxespad=0.2,
            fontsize=7 if many else 9,
            labelspacing=0.2 if many else 0.5,
            ncols=2 if many else 1,
        )
        axes.set_ylabel(PARAMETERS.get(name, name))
        if row < len(names) - 1:
            axes.xaxis.set_major_formatter(NullFormatter())
    feature = ", ".join(str(n) for n in np.atleast_1d(shown[0]["feature"]))
    if one:
        axes.set_xlabel(f"{len(shown)} designs to {feature} = {places[0]:.4g}, and their median")
    else:
        axes.set_xlabel(f"target: {feature}" if single else f"pairs of targets in order: {feature}")
    return figure


def _draw_beside(axes: Axes, values: Any, labels: Sequence[str]) -> None:
    """Each component's values (designs, components) beside each other, and their median."""
    spread = _offsets(len(values), 0.5)
    for c in range(len(labels)):
        colour = SERIES[c % len(SERIES)]
        axes.plot(c + spread, values[:, c], "o", color=colour, ms=4.5, alpha=0.7, mew=0)
        median = float(np.median(values[:, c]))
        axes.plot([c - 0.35, c + 0.35], [median, median], color=colour, lw=1.2)
    axes.set_xticks(range(len(labels)), labels)
    axes.margins(x=0.06, y=0.1)


def _draw_components(
    axes: Axes, places: Any, values: Any, labels: Sequence[str], width: float
) -> list[Line2D]:
    """Each component's values, and a line through their medians; what a legend says of them."""
    offsets = _offsets(len(labels), width)
    handles = []
    for c, label in enumerate(labels):
        colour = SERIES[c % len(SERIES)]
        axes.plot(
            places + offsets[c], values[:, c], "o", color=colour, ms=3.5, alpha=0.6, mew=0, zorder=2
        )
        unique = np.unique(places)
        median = [np.median(values[places == p, c]) for p in unique]
        axes.plot(unique + offsets[c], median, color=colour, lw=1.0, zorder=1)
        handles.append(Line2D([], [], color=colour, marker="o", ms=3.5, lw=1.0, label=label))
    axes.margins(x=0.06, y=0.1)
    return handles
