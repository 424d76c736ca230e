"""Gradients beside finite changes of the parameters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ...pictures.style import BLACK, GREY, LIGHT, SERIES, Floats, styled

if TYPE_CHECKING:
    from .check import GradientCheck

__all__ = ["gradient"]


@styled
def gradient(check: "GradientCheck") -> Figure:
    """Exact derivatives beside finite changes: see `amorph.campaigns.studies.gradient.check`."""
    return _followed(check) if check.followed else _mean(check)


def _followed(check: "GradientCheck") -> Figure:
    """The measured change of the loss against the predicted one, by parameter.

    On logarithmic axes; changes of the other sign have a panel of their own below, mirrored, and
    zeros are counted.
    """
    predicted, measured = check.loss_changes()
    known = np.isfinite(measured)
    across, up = np.abs(predicted), measured * np.sign(predicted)
    shown = known & (across > 0) & (up != 0)
    nothing = int((known & ~shown).sum())
    wrong = int((shown & (up < 0)).sum())
    text = f"{len(check.value)} packings; {wrong} of {int(known.sum())} changes of the other sign"
    if nothing:
        text += f", {nothing} predicted or measured as 0"
    if lost := int((~known).sum()):
        text += f", {lost} lost"
    figure = Figure(figsize=(6.6, 6.0 if wrong else 4.6), layout="constrained")
    ratios = [3.2, 1.4] if wrong else [1.0]
    panels = figure.subplots(
        len(ratios), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios}
    ).ravel()
    for axes, sign in zip(panels, (1, -1), strict=False):
        _draw_changes(axes, check, across, sign * up, shown)
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes = panels[0]
    if shown.any():
        ends = np.array([across[shown].min() / 2, across[shown].max() * 2])
        axes.plot(ends, ends, color=BLACK, lw=1.0, ls="--", zorder=0)
    if wrong:
        panels[1].invert_yaxis()
        panels[1].set_ylabel("of the other sign")
    panels[-1].set_xlabel("predicted change of the loss, |∂L/∂θ Δθ|")
    axes.set_ylabel("measured change, of the same sign")
    handles: list[Any] = [
        Line2D([], [], ls="none", marker="o", ms=4, color=SERIES[c % len(SERIES)], label=name)
        for c, name in enumerate(check.components)
    ]
    handles += [
        Line2D([], [], color=BLACK, lw=1.0, ls="--", label="equal"),
        Line2D([], [], color=GREY, ls="none", marker="o", mfc="none", ms=4, label="rearranged"),
    ]
    axes.legend(handles=handles, loc="upper left")
    axes.set_title(text, fontsize=9, color=GREY)
    return figure


def _draw_changes(
    axes: Axes, check: "GradientCheck", across: Floats, up: Floats, shown: NDArray[np.bool_]
) -> None:
    """The changes above 0, by parameter; open where the packing rearranged."""
    for c in range(len(check.components)):
        for rearranged, style in ((False, {"mew": 0}), (True, {"mfc": "none", "mew": 0.8})):
            chosen = shown[:, c] & (check.rearranged[:, c] == rearranged) & (up[:, c] > 0)
            axes.plot(
                across[:, c][chosen],
                up[:, c][chosen],
                "o",
                color=SERIES[c % len(SERIES)],
                ms=4,
                alpha=0.7,
                **style,
            )


def _mean(check: "GradientCheck") -> Figure:
    """The derivative of the mean by differences, beside the mean of the derivatives."""
    rows = len(check.features)
    figure = Figure(figsize=(8.4, 1.0 + 3.0 * rows), layout="constrained")
    by_difference, difference_error = check.differences()
    for j, feature in enumerate(check.features):
        axes = figure.add_subplot(rows, 1, j + 1)
        series: list[tuple[str, Floats, Floats]] = []
        for h, part in enumerate(check.parts):
            name = f"difference over ±{100 * part:.3g} %"
            series.append((name, by_difference[j, :, h], difference_error[j, :, h]))
        n_differences = len(series)
        counted = bool(check.jump_terms.any())
        for limit, added in ((10.0, counted), (1.0, counted), *[(1.0, False)] * counted):
            mean, error = check.mean_slopes(limit, jump_terms=added)
            name = f"mean gradient, each at most {limit:g} median" + "s" * (limit != 1)
            if counted:
                name += ", with jump terms" if added else ", without"
            series.append((name, mean[j], error[j]))
        _draw_series(axes, check.components, series, n_differences)
        axes.set_ylabel(f"d⟨{feature}⟩/dθ")
        if j == 0:
            figure.legend(
                *axes.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=8.5
            )
    bounded = np.isfinite(check.bounds).all(axis=1).any()
    figure.supxlabel(
        f"{len(check.value)} packings from the same starts; bars: standard errors"
        + ("; values beyond a feature's bounds count as the bound" if bounded else ""),
        fontsize=9,
        color=GREY,
    )
    return figure


def _draw_series(
    axes: Axes,
    components: Sequence[str],
    series: Sequence[tuple[str, Floats, Floats]],
    n_differences: int,
) -> None:
    places = np.arange(float(len(components)))
    width = 0.7 / len(series)
    for k, (name, mean, error) in enumerate(series):
        axes.errorbar(  # side by side in a parameter's column
            places + (k - (len(series) - 1) / 2) * width,
            mean,
            yerr=error,
            ls="none",
            marker="s" if k < n_differences else "o",
            ms=5,
            capsize=2.5,
            lw=1.2,
            color=SERIES[k % len(SERIES)],
            label=name,
        )
    axes.axhline(0.0, color=BLACK, lw=0.8, zorder=0)
    size = np.abs(np.concatenate([mean for _, mean, _ in series]))
    middle = float(np.nanmedian(size))
    if np.nanmax(size) > 20 * middle > 0:
        axes.set_yscale("symlog", linthresh=middle)
    axes.set_xticks(places, components)
    axes.set_xlim(-0.5, len(components) - 0.5)
    for place in places[1:]:
        axes.axvline(place - 0.5, color=LIGHT, lw=0.8, zorder=0)
