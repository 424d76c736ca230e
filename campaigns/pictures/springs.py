"""Networks in the plane: their bonds as lines, those that were cut as faint ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from .style import GREY, Floats

__all__ = ["SpringView", "draw_springs", "limits_of"]


@dataclass(frozen=True, eq=False)
class SpringView:
    """A network as it is drawn.

    Attributes
    ----------
    positions:
        (N, 2) of the nodes, length.
    bonds:
        (M, 2).
    vector:
        (M, 2) from the first node of each bond to the second.
    box:
        (2, 2), columns the box vectors; None for open edges.
    concave:
        The nodes that are marked as concave.
    """

    positions: Floats
    bonds: NDArray[Any]
    vector: Floats
    box: Floats | None
    concave: NDArray[np.int64]


def draw_springs(axes: Axes, view: SpringView, faint: SpringView | None = None) -> None:
    """Draw a network into an axes, over another one that is faint: what it was cut from.

    A bond that leaves a periodic box is drawn from both of its nodes, as far as the frame.
    """
    for own, colour, width in ((faint, "#dcdcdc", 0.6), (view, "#1f3b5c", 0.9)):
        if own is not None:
            axes.add_collection(LineCollection(_lines(own), colors=colour, linewidths=width))
    x = _wrapped(view)
    if len(view.concave):
        axes.plot(*x[view.concave].T, "o", ms=2.5, color="#c0392b", zorder=3)
    low, high = limits_of(view)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(view.box is not None)
        spine.set_color(GREY)


def _wrapped(view: SpringView) -> Floats:
    """Positions in the box."""
    if view.box is None:
        return view.positions
    inside: Floats = (np.linalg.solve(view.box, view.positions.T) % 1.0).T @ view.box.T
    return inside


def limits_of(view: SpringView) -> tuple[Floats, Floats]:
    """The corners of the picture, (2,) each: the box, or what the nodes need."""
    if view.box is None:
        low, high = view.positions.min(axis=0), view.positions.max(axis=0)
        margin = 0.03 * (high - low)
        return low - margin, high + margin
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) @ view.box.T
    return corners.min(axis=0), corners.max(axis=0)


def _lines(view: SpringView) -> list[Floats]:
    x = _wrapped(view)
    first = x[view.bonds[:, 0]]
    lines = [np.stack([first, first + view.vector], axis=1)]
    if view.box is not None:
        # From the other end as well: the same line, unless it left the box.
        second = x[view.bonds[:, 1]]
        out = np.abs(first + view.vector - second).max(axis=1) > 1e-9
        lines.append(np.stack([second - view.vector, second], axis=1)[out])
    return list(np.concatenate(lines))
