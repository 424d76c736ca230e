"""Pictures of independent response: singular values, ranks, and how far linear response carries."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from ...pictures.style import GREY, SERIES, outside_legend, styled
from .means import mean_response, slopes_in

if TYPE_CHECKING:
    import pandas

__all__ = ["pictures"]

MARKS = ("o", "D", "^", "s")
# What every row has; other columns say which system it is of.
_OWN = (
    "failure",
    "packing",
    "density",
    "rattlers",
    "features",
    "parameters",
    "rank",
    "error",
    "margin",
)


def pictures(table: "pandas.DataFrame") -> Mapping[str, tuple[Figure, str]]:
    """The pictures that a table of responses makes, with their captions, by file name.

    Source: Figs. 1, 2 and 4 of Zu, Desai and Goodrich, "Fully independent response in disordered
    solids".
    """
    by = systems(table)
    if any(c.startswith("d ") for c in table.columns):
        return {
            "means": (
                means(by),
                "The singular values of the Jacobian of means, with their standard errors, in "
                "colour; grey, beside: those of single packings, medians with what holds nine of "
                "ten. Noise alone may be as large as the grey bar across.",
            )
        }
    out = {
        "susceptibilities": (
            susceptibilities(by),
            "The singular values of the Jacobian, a dot for each of each packing, the bars their "
            "medians, by system; grey: what round-off may make of the largest derivatives; at the "
            "foot, how many are less than that. (Which of them count is found where all features "
            "and parameters weigh the same.)",
        )
    }
    if any(part["parameters"].nunique() > 1 for _, part in _series(table)):
        out["ranks"] = (
            ranks(table),
            "How many features can be tuned independently, against the number of parameters, the "
            "dots the larger the more packings; the lines are as many as there can be.",
        )
    if any(c.startswith("reach_") for c in table.columns):
        out["reach"] = (
            reach(by),
            "How far linear response carries along relevant design modes (γ*, left), and by how "
            "much the features can be tuned linearly (ζ = γ* s, right), against the susceptibility "
            "s.",
        )
    return out


def systems(table: "pandas.DataFrame") -> "dict[str, pandas.DataFrame]":
    """The rows of each system, by what sets it apart."""
    apart = [
        c for c in table.columns if c not in _OWN and not c.startswith(("susceptib", "reach_"))
    ]
    # Of means, the features' values have columns of their own.
    slopes = [c.removeprefix("d ").split(" / d ")[0] for c in apart if c.startswith("d ")]
    apart = [c for c in apart if not c.startswith("d ") and c not in slopes]
    if not apart:
        return {"": table}
    keys = table[apart].astype(str).agg(", ".join, axis=1)
    return {str(name): table[keys == name] for name in dict.fromkeys(keys)}


def _columns(part: "pandas.DataFrame") -> list[str]:
    """The columns of singular values that a system has, the largest first."""
    names = [c for c in part.columns if c.startswith("susceptibility_")]
    return [c for c in names if part[c].notna().all()]


@styled
def susceptibilities(by: "Mapping[str, pandas.DataFrame]") -> Figure:
    """Singular values by system, a column of dots for each; what is below round-off at its foot."""
    longest = max(len(name) for name in by)
    figure = Figure(
        figsize=(max(4.8, 1.6 + 0.36 * len(by)), 4.4 + 0.045 * longest), layout="constrained"
    )
    axes = figure.add_subplot()
    floor = 0.1 * min(float(part["error"].median()) for part in by.values())
    for k, part in enumerate(by.values()):
        names = _columns(part)
        values = part[names].to_numpy(dtype=float)
        medians = np.median(values, axis=0)
        shown, place = values.ravel(), np.full(values.size, float(k))
        axes.plot(place, np.maximum(shown, floor), ".", color=SERIES[0], ms=3, alpha=0.4, mew=0)
        seen = medians[medians > floor]
        axes.plot(np.full(len(seen), float(k)), seen, "_", color=SERIES[1], ms=9, mew=1.2)
        if none := len(medians) - len(seen):
            axes.annotate(f"{none}", (k, floor), (5, -2), textcoords="offset points", fontsize=6)
            axes.plot([k], [floor], "v", color=SERIES[1], ms=4)
        least = float(part["error"].median())
        axes.plot([k - 0.35, k + 0.35], [least, least], color=GREY, lw=1.5)
    axes.set_yscale("log")
    axes.set_ylim(bottom=floor / 3)
    axes.set_ylabel("susceptibility $s$")
    axes.set_xticks(range(len(by)), list(by), rotation=60, ha="right", fontsize=7)
    axes.set_xlim(-0.7, len(by) - 0.3)
    return figure


@styled
def means(by: "Mapping[str, pandas.DataFrame]") -> Figure:
    """Singular values of the Jacobian of means by system, beside those of single packings."""
    longest = max(len(name) for name in by)
    figure = Figure(
        figsize=(max(4.8, 1.6 + 0.5 * len(by)), 4.0 + 0.045 * longest), layout="constrained"
    )
    axes = figure.add_subplot()
    for k, part in enumerate(by.values()):
        good = part[part["failure"] == ""]
        if len(good) < 2:
            continue
        _, _, slopes = slopes_in(good)
        single = np.linalg.svd(slopes, compute_uv=False)
        beside = k + 0.12 + 0.25 * np.linspace(0.0, 1.0, single.shape[1])
        low, middle, high = np.quantile(single, [0.05, 0.5, 0.95], axis=0)
        axes.vlines(beside, low, high, color=GREY, lw=0.8)
        axes.plot(beside, middle, ".", color=GREY, ms=4, mew=0)
        found = mean_response(slopes)
        place = np.full(len(found.susceptibilities), float(k))
        axes.errorbar(
            place, found.susceptibilities, found.errors, fmt="o", color=SERIES[0], ms=4, capsize=2
        )
        axes.plot([k - 0.35, k + 0.35], [found.noise] * 2, color=GREY, lw=1.5)
    axes.set_yscale("log")
    axes.set_ylabel("susceptibility $s$")
    axes.set_xticks(range(len(by)), list(by), rotation=60, ha="right", fontsize=7)
    axes.set_xlim(-0.7, len(by) - 0.3)
    return figure


def _series(table: "pandas.DataFrame") -> "list[tuple[str, pandas.DataFrame]]":
    """The rows of each case and number of features."""
    if "case" not in table.columns:
        return [(f"{n} features", part) for n, part in table.groupby("features", sort=False)]
    groups = table.groupby(["case", "features"], sort=False)
    return [(f"{case} ({n:g})", part) for (case, n), part in groups]


@styled
def ranks(table: "pandas.DataFrame") -> Figure:
    """Rank against the number of parameters, a series for each case and number of features."""
    series = [(n, part) for n, part in _series(table) if part["parameters"].nunique() > 1]
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    top = int(max(part["parameters"].max() for _, part in series))
    for k, (name, part) in enumerate(series):
        colour, mark = SERIES[k % len(SERIES)], MARKS[(k // len(SERIES)) % len(MARKS)]
        features = int(part["features"].iloc[0])
        line = np.array([0, features, max(top, features)])
        axes.plot(line, np.minimum(line, features), color=colour, lw=0.6, alpha=0.5)
        found = part.groupby(["parameters", "rank"]).size().reset_index(name="packings")
        share = found["packings"] / found.groupby("parameters")["packings"].transform("sum")
        axes.scatter(
            found["parameters"], found["rank"], s=8 + 22 * share, marker=mark, color=colour,
            label=name, linewidths=0,
        )  # fmt: skip
    axes.set_xlabel(r"number of parameters $n_\theta$")
    axes.set_ylabel("rank of $J$")
    outside_legend(axes, fontsize=7)
    return figure


@styled
def reach(by: "Mapping[str, pandas.DataFrame]") -> Figure:
    """γ* and ζ against s, a colour for each system."""
    figure = Figure(figsize=(8.4, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    for k, (name, part) in enumerate(by.items()):
        modes = sorted(
            int(c.removeprefix("reach_").removesuffix(".end"))
            for c in part.columns
            if c.startswith("reach_") and c.endswith(".end") and part[c].notna().any()
        )
        found = []
        for mode in modes:
            s = part[f"susceptibility_{mode}"].to_numpy(dtype=float)
            end = part[f"reach_{mode}.end"].to_numpy(dtype=float)
            tuned = part[f"reach_{mode}.tunability"].to_numpy(dtype=float)
            found += [row for row in zip(s, end, tuned, strict=True) if np.isfinite(row[1])]
        if not found:
            continue
        s, end, tuned = np.array(found).T
        colour = SERIES[k % len(SERIES)]
        left.plot(s, end, "o", ms=3, color=colour, label=name or None)
        right.plot(s, tuned, "o", ms=3, color=colour)
    for axes, name in ((left, r"$\gamma^*$"), (right, r"$\zeta = \gamma^* s$")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("susceptibility $s$")
        axes.set_ylabel(name)
    if len(by) > 1:
        left.legend(fontsize=7)
    return figure
