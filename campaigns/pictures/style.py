"""The pictures' style: colours and sizes, where axes stand, ticks, legends."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
P = ParamSpec("P")

BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
VERMILLION, PURPLE, SKY, BLACK = "#D55E00", "#CC79A7", "#56B4E9", "#000000"
GREY, LIGHT = "#6E6E6E", "#D9D9D9"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("-", "--", "-.", ":")
REPELS, ATTRACTS = "#123A6B", VERMILLION
BEFORE, AFTER = ORANGE, BLUE
# Pale, so that the forces stand out; they differ in lightness too.
DISCS = ("#F6E7BE", "#BCD3E4", "#D6E8CF", "#E6D3E6", "#F3D2C1", "#DDDDDD")

# The force, or the contribution, drawn with the greatest width, as a percentile of all of them.
STRONGEST = 99.5
SATURATED = 99.0
# Lines of less than this part of the greatest width are left out.
FAINTEST = 0.02
# The greatest width of a line, in mean diameters.
WIDEST = 0.17

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.labelsize": 10,
    "axes.titlesize": 11,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "axes.linewidth": 0.8,
    "axes.edgecolor": "#333333",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": True,
    "axes.formatter.limits": (-3, 4),
    "lines.linewidth": 1.6,
    "figure.dpi": 160,
    "savefig.dpi": 160,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def styled(make: Callable[P, Figure]) -> Callable[P, Figure]:
    """Make a figure in the pictures' style, whatever the user's own settings are."""

    @wraps(make)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            return make(*args, **kwargs)

    return drawn


def colour_of(kind: int) -> tuple[float, float, float]:
    """The colour of the discs of a type."""
    red, green, blue = to_rgb(DISCS[kind % len(DISCS)])
    return red, green, blue


def diverging() -> Colormap:
    """Blue, white, red in steps that an eye can match with the colour bar."""
    return matplotlib.colormaps["RdBu_r"].resampled(21)


def diverging_colours(unit: Floats) -> NDArray[Any]:
    """The colours of numbers from 0 to 1, of which 0.5 is white."""
    return np.asarray(diverging()(unit))


def place_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches."""
    w, h = figure.get_size_inches()
    return figure.add_axes((left / w, bottom / h, width / w, height / h))


def asinh_ticks(low: float, high: float, width: float) -> list[float]:
    """0 and powers of ten on both sides, few enough to be read on an asinh axis."""
    span = float(np.arcsinh(high / width) - np.arcsinh(low / width))
    ticks, nearest = [0.0], np.inf
    top = int(np.floor(np.log10(max(-low, high))))
    for power in range(top, top - 12, -1):
        place = float(np.arcsinh(10.0**power / width))
        if place < 0.15 * span or nearest - place < 0.15 * span:
            continue
        nearest = place
        ticks += [t for t in (-(10.0**power), 10.0**power) if low <= t <= high]
    return sorted(ticks)


def draw_interval(
    axes: Axes,
    place: float,
    ends: Sequence[float],
    *,
    cap: float = 3.0,
    upright: bool = True,
    **options: Any,
) -> None:
    """Draw an interval from end to end, at a place on the other axis.

    It need not hold the value that is drawn with it, as error bars must: the bootstrapped interval
    of a mean that few carry may lie beside the mean. `cap` is half the width of its ends, points.
    """
    low, high = ends
    along, across = [low, high], [place, place]
    x, y = (across, along) if upright else (along, across)
    width = options.setdefault("lw", 1.2)
    marks = {"marker": "_" if upright else "|", "ms": 2 * cap, "mew": width}
    axes.plot(x, y, **(marks | options))


# How much of a decade the part from 0 to the least decade takes.
_ZERO_PART = 0.7


def logarithmic(axes: Axes, values: Floats) -> None:
    """Make the vertical axis logarithmic, with a place for 0 where there are zeros among values.

    A logarithmic axis has none: then it is linear from 0 to the decade of the least value above 0,
    and logarithmic from there on, with a tick that says 0.
    """
    known = values[np.isfinite(values)]
    above = known[known > 0]
    if len(above) == len(known):
        axes.set_yscale("log")
        return
    first = int(np.floor(np.log10(above.min()))) if above.size else 0
    last = max(int(np.ceil(np.log10(above.max()))) if above.size else 1, first + 1)
    axes.set_yscale("symlog", linthresh=10.0**first, linscale=_ZERO_PART)
    powers = range(first, last + 1, -(-(last - first) // 6))
    axes.yaxis.set_major_locator(FixedLocator([0.0, *(10.0**k for k in powers)]))
    axes.yaxis.set_major_formatter(FixedFormatter(["0", *(f"$10^{{{k}}}$" for k in powers)]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(-0.12 * 10.0**first, 1.5 * 10.0**last)


def outside_legend(axes: Axes, extra: Sequence[Any] = (), **options: Any) -> None:
    """A legend to the right of an axes, where it hides nothing; none if it would be empty."""
    handles = [*axes.get_legend_handles_labels()[0], *extra]
    if handles:
        place: dict[str, Any] = {
            "loc": "upper left",
            "bbox_to_anchor": (1.005, 1.02),
            "borderaxespad": 0.2,
        }
        axes.legend(handles=handles, **(place | options))


def rounded(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above a value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(m for m in (1, 2, 5) if m * power <= value * (1 + 1e-9)) * power)
