"""Pictures of designed kinetics: profiles, errors, measured rates, and what can be had together."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...pictures.style import GREY, SERIES, outside_legend, place_axes, styled

if TYPE_CHECKING:
    import pandas

__all__ = ["pictures"]

# Losses below this are drawn there.
LEAST_LOSS = 1e-16


def pictures(table: "pandas.DataFrame") -> Mapping[str, tuple[Figure, str]]:
    """What the designs show, by file name, with captions."""
    out: dict[str, tuple[Figure, str]] = {}
    if any(c.startswith("profile ") for c in table.columns):
        out["profiles"] = (
            profiles(table),
            "The energy along the path of steepest descent before the first step of the first "
            "design and after some of them, above the start's; dashed: the targets (as P4's Fig. "
            "3B).",
        )
    out["errors"] = (
        errors(table),
        "The relative error of what was designed against its target, a dot for each way of each "
        "transition (as P4's Fig. 4A and C).",
    )
    if "measured rate_0" in table.columns:
        out["rates"] = (
            rates(table),
            "Rates measured of Brownian trajectories against Kramers' rate of the same bindings, "
            "with 95 % intervals; open: Kramers' rate without the factors of rotation and of "
            "equivalent saddles; grey: where both are the same (as P4's Fig. 4B and D).",
        )
    if "trace filtered_0" in table.columns:
        out["trajectory"] = (
            trajectory(table),
            "The beginning of a Brownian trajectory of the first design: where it is along the "
            "path (grey), without what changes fast (Butterworth's filter), and in which of the "
            "two states that says it is; dashed: the saddle (as P4's Fig. 3C).",
        )
    if table["number"].nunique() > 1:
        out["together"] = (
            together(table),
            "The loss where designs end, against how many values are wanted at once; by whether "
            "the rank of the loss's Hessian says that they can be had (as P4's Fig. 5B).",
        )
    return out


def _columns(table: "pandas.DataFrame", start: str) -> list[str]:
    return [c for c in table.columns if c.startswith(start)]


@styled
def profiles(table: "pandas.DataFrame") -> Figure:
    """Energies along the path of the first design that has some."""
    names = _columns(table, "profile ")
    row = next(r for _, r in table.iterrows() if np.isfinite(r[names].to_numpy(float)).any())
    steps = sorted({int(n.removeprefix("profile ").rpartition("_")[0]) for n in names})
    figure = Figure(figsize=(5.6, 3.4))
    axes = place_axes(figure, 0.7, 0.5, 3.6, 2.75)
    axes.set(xlabel="along the path", ylabel="energy")
    for k, step in enumerate(steps):
        own = sorted(
            (n for n in names if n.startswith(f"profile {step}_")),
            key=lambda n: int(n.rpartition("_")[2]),
        )
        energy = row[own].to_numpy(float)
        if np.isfinite(energy).all():
            colour = SERIES[k % len(SERIES)]
            at = np.linspace(0.0, 1.0, len(energy))
            axes.plot(at, energy, "-", lw=1.2, color=colour, label=f"step {step}")
    there, back = float(row["target 0 there"]), float(row["target 0 back"])
    if "barriers_0" in row and abs(row["barriers_0"] - row["value 0 there"]) < 1e-9:
        for level in (there, there - back):
            axes.axhline(level, color=GREY, lw=0.8, ls="--", zorder=0)
    axes.set_xlim(0, 1)
    outside_legend(axes)
    return figure


def _ways(table: "pandas.DataFrame", name: str) -> NDArray[np.float64]:
    """All values of a kind, there and back, of all designs."""
    columns = [c for c in _columns(table, f"{name} ") if c.endswith((" there", " back"))]
    return table[columns].to_numpy(float).ravel()


@styled
def errors(table: "pandas.DataFrame") -> Figure:
    """Relative errors against targets."""
    target, value = _ways(table, "target"), _ways(table, "value")
    error = np.abs(value / target - 1.0)
    figure = Figure(figsize=(4.6, 3.4))
    axes = place_axes(figure, 0.8, 0.5, 3.5, 2.75)
    axes.set(xlabel="target", ylabel="relative error", yscale="log")
    axes.plot(target, np.maximum(error, 1e-16), "o", ms=3, color=SERIES[0])
    return figure


@styled
def rates(table: "pandas.DataFrame") -> Figure:
    """Measured rates against Kramers'."""
    figure = Figure(figsize=(5.8, 3.6))
    axes = place_axes(figure, 0.8, 0.5, 3.4, 2.95)
    axes.set(xlabel="Kramers' rate", ylabel="measured rate", xscale="log", yscale="log")
    ends = []
    for k, way in enumerate(("there", "back")):
        seen = table[table[f"passages_{k}"] > 0]
        predicted, plain = (seen[f"{n}_{k}"].to_numpy(float) for n in ("rate", "rate of eq. 4"))
        found = seen[f"measured rate_{k}"].to_numpy(float)
        low, high = (seen[f"measured {n}_{k}"].to_numpy(float) for n in ("low", "high"))
        axes.errorbar(
            predicted, found, yerr=(found - low, high - found),
            fmt="o", ms=3, lw=0.8, color=SERIES[k], label=way,
        )  # fmt: skip
        axes.plot(plain, found, "o", ms=4, mfc="none", color=SERIES[k], label=f"{way}, eq. 4")
        ends += [*predicted, *found]
    if ends:
        axes.plot([min(ends), max(ends)], [min(ends), max(ends)], color=GREY, lw=0.8, zorder=0)
    outside_legend(axes)
    return figure


@styled
def trajectory(table: "pandas.DataFrame") -> Figure:
    """A trajectory along the path of the first design that has one."""
    row = next(r for _, r in table.iterrows() if np.isfinite(r["trace filtered_0"]))

    def values(name: str) -> NDArray[np.float64]:
        own = [c for c in _columns(table, f"{name}_") if c.rpartition("_")[2].isdigit()]
        found = row[sorted(own, key=lambda c: int(c.rpartition("_")[2]))].to_numpy(float)
        return found[np.isfinite(found)]

    raw, smooth = values("trace"), values("trace filtered")
    time = np.arange(len(raw)) * float(row["trace frame"])
    top = float(row["trace saddle"])
    figure = Figure(figsize=(6.6, 3.0))
    axes = place_axes(figure, 0.7, 0.5, 4.3, 2.35)
    axes.plot(time, raw, "-", lw=0.5, color=GREY, label="along the path")
    axes.plot(time, smooth, "-", lw=1.0, color=SERIES[0], label="filtered")
    axes.step(
        time, (smooth > top).astype(float), where="mid", lw=1.2, color=SERIES[1], label="state"
    )
    axes.axhline(top, color=GREY, lw=0.8, ls="--", zorder=0)
    axes.set(xlabel="time", ylabel="part of the path")
    outside_legend(axes)
    return figure


@styled
def together(table: "pandas.DataFrame") -> Figure:
    """The last loss against the number of values wanted, by what the rank says."""
    figure = Figure(figsize=(6.0, 3.4))
    axes = place_axes(figure, 0.8, 0.5, 3.6, 2.75)
    axes.set(xlabel="values wanted at once", ylabel="loss at the end", yscale="log")
    can = (table["rank"] == table["number"]).to_numpy(bool)
    spread = np.random.default_rng(0).uniform(-0.5, 0.5, len(table))
    for k, (own, label) in enumerate(((can, "can be had"), (~can, "cannot"))):
        x = table["number"].to_numpy(float)[own] + spread[own]
        y = np.maximum(table["loss"].to_numpy(float)[own], LEAST_LOSS)
        axes.plot(x, y, "o", ms=2.5, color=SERIES[k], label=label)
    axes.axhline(1e-2, color=GREY, lw=0.8, ls="--", zorder=0)
    axes.set_xticks(np.unique(table["number"].to_numpy(int)))
    outside_legend(axes)
    return figure
