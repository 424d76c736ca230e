"""Pictures of independent response: singular values, ranks, and how far linear response carries."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from ...pictures.style import GREY, SERIES, styled

if TYPE_CHECKING:
    import pandas

__all__ = ["pictures"]

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
    out = {
        "susceptibilities": (
            susceptibilities(by),
            "The singular values of the Jacobian, a dot for each of each packing, the bars their "
            "medians, by system; grey: what round-off may make of the largest derivatives. (Which "
            "of them count is found where all features and parameters weigh the same.)",
        )
    }
    sizes = {name: int(part["parameters"].median()) for name, part in by.items()}
    if len(set(sizes.values())) > 1:
        out["ranks"] = (
            ranks(table),
            "How many features can be tuned independently, against the number of parameters; the "
            "lines are as many as there can be.",
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
    """Singular values by system, a column of dots for each."""
    width = max(4.8, 1.6 + 0.42 * len(by))
    figure = Figure(figsize=(width, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for k, part in enumerate(by.values()):
        names = _columns(part)
        values = part[names].to_numpy(dtype=float)
        place = np.full(values.size, float(k))
        axes.plot(place, values.ravel(), ".", color=SERIES[0], ms=2.5, alpha=0.4, mew=0)
        medians = np.median(values, axis=0)
        axes.plot(np.full(len(names), float(k)), medians, "_", color=SERIES[1], ms=11, mew=1.2)
        least = float(part["error"].median())
        axes.plot([k - 0.35, k + 0.35], [least, least], color=GREY, lw=1.5)
    axes.set_yscale("log")
    axes.set_ylabel("susceptibility $s$")
    axes.set_xticks(range(len(by)), list(by), rotation=60, ha="right", fontsize=7)
    axes.set_xlim(-0.7, len(by) - 0.3)
    return figure


@styled
def ranks(table: "pandas.DataFrame") -> Figure:
    """Rank against the number of parameters, a series for each number of features."""
    figure = Figure(figsize=(5.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    groups: dict[tuple[Any, ...], Any] = {}
    named = [c for c in ("case",) if c in table.columns]
    for key, part in table.groupby([*named, "features"], sort=False):
        groups[key if isinstance(key, tuple) else (key,)] = part
    top = int(table["parameters"].max())
    for k, (key, part) in enumerate(groups.items()):
        features = int(key[-1])
        colour = SERIES[k % len(SERIES)]
        label = f"{key[0]} ({features})" if named else f"{features} features"
        for parameters, same in part.groupby("parameters"):
            for rank, several in same.groupby("rank"):
                axes.plot(
                    [parameters],
                    [rank],
                    "o",
                    color=colour,
                    ms=3 + 3 * len(several) / max(len(same), 1),
                    label=label,
                )
                label = "_"
        line = np.array([0, features, max(top, features)])
        axes.plot(line, np.minimum(line, features), color=colour, lw=0.8, alpha=0.6)
    axes.set_xlabel(r"number of parameters $n_\theta$")
    axes.set_ylabel("rank of $J$")
    axes.legend(fontsize=7)
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
            found += [row for row in zip(s, end, tuned, strict=True) if row[1] > 0]
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
