"""One frame: its packing to scale, with the network of forces; in 3D the whole of it too."""

from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .packing import View, aspect, draw_network, network_handles, strongest_of
from .style import GREY, Floats, colour_of, place_axes, styled

# From where a packing in 3D is seen, in degrees: turned about z, then tilted towards the eye.
TURN, TILT = 28.0, 20.0


@styled
def frame(view: View, caption: str = "") -> Figure:
    """A packing with its forces, discs to scale and coloured by type, rattlers hollow.

    In 3D the whole packing is seen from aside, in parallel projection, with a layer through the
    middle of its box beside it, where the forces are. `caption` is written below; the title is the
    view's label.
    """
    side = 4.9
    height = side * aspect(view)
    solid = view.dimension == 3
    layer = not solid or view.box is not None
    above, below = 0.62 if solid else 0.42, 1.0 if caption else 0.78
    panels = int(solid) + int(layer)
    figure = Figure(figsize=(panels * (side + 0.2) + 0.1, height + above + below))
    strongest, widest = strongest_of([view.force]), 1.0
    if solid:
        _draw_solid(place_axes(figure, 0.15, below, side, height), view)
    if layer:
        left = 0.15 + (panels - 1) * (side + 0.2)
        axes = place_axes(figure, left, below, side, height)
        widest = draw_network(axes, view, strongest)
        if solid:
            forces = " with its forces" if view.force.any() else ""
            title = f"layer through the middle{forces}, seen along z; deeper is darker"
            axes.set_title(title, pad=4, fontsize=9.5)
    total = float(figure.get_size_inches()[1])
    figure.suptitle(view.label, y=1 - 0.08 / total, va="top", fontsize=11)
    handles = network_handles(strongest, widest, [view])
    if not view.force.any():
        handles = [h for h in handles if h.get_linestyle() == "None"]
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=len(handles) if panels > 1 else -(-len(handles) // 2),
        columnspacing=1.6,
        bbox_to_anchor=(0.5, (0.27 if caption else 0.03) / total),
    )
    if caption:
        figure.text(0.5, 0.08 / total, caption, ha="center", va="bottom", fontsize=9, color=GREY)
    return figure


def _looking() -> Floats:
    """(3, 3): rows are the directions to the right, up, and towards the eye."""
    turn, tilt = np.deg2rad(TURN), np.deg2rad(TILT)
    right = np.array([np.cos(turn), np.sin(turn), 0.0])
    to_eye = np.array([np.cos(tilt) * np.sin(turn), -np.cos(tilt) * np.cos(turn), np.sin(tilt)])
    return np.stack([right, np.cross(to_eye, right), to_eye])


def _draw_solid(axes: Axes, view: View) -> None:
    """All particles of a packing in 3D as balls, the nearer over the farther, in its box."""
    eye = _looking()
    inside = view.positions - view.positions.mean(axis=0)
    edges: NDArray[Any] = np.zeros((0, 2, 3))
    if view.box is not None:
        fractions = view.positions @ np.linalg.inv(view.box).T
        inside = (fractions - np.floor(fractions + 0.5)) @ view.box.T
        edges = _edges(view.box)
    seen = inside @ eye.T
    order = np.argsort(seen[:, 2], kind="stable")
    depth = seen[order, 2]
    depth = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-300)
    kinds = view.typeid[order]
    colours = np.array([colour_of(int(k)) for k in kinds]).reshape(-1, 3)
    hollow = np.zeros(len(order), dtype=np.bool_) if view.rattlers is None else view.rattlers[order]
    faces = np.where(hollow[:, None], 1.0, colours) * (0.5 + 0.5 * depth)[:, None]
    widths = view.diameters[kinds]
    balls = EllipseCollection(
        widths,
        widths,
        np.zeros(len(widths)),
        units="xy",
        offsets=seen[order, :2],
        offset_transform=axes.transData,
        facecolors=faces,
        edgecolors="#5A5A5A",
        linewidths=0.6 if len(order) < 1000 else 0.3,
        zorder=2,
    )
    axes.add_collection(balls)
    flat = edges @ eye.T
    if len(edges):
        # The three edges that meet in the farthest corner are behind everything.
        ends = np.round(flat.reshape(-1, 3), 9)
        farthest = ends[np.argmin(ends[:, 2])]
        behind = np.array([(np.round(e, 9) == farthest).all(axis=1).any() for e in flat])
        for hidden, zorder in ((True, 1), (False, 3)):
            lines = LineCollection(
                list(flat[behind == hidden][:, :, :2]),
                colors="#333333",
                linewidths=0.9,
                zorder=zorder,
            )
            axes.add_collection(lines)
    reach = np.concatenate([seen[:, :2], flat.reshape(-1, 3)[:, :2]])
    margin = 0.55 * float(view.diameters.max())
    low, high = reach.min(axis=0) - margin, reach.max(axis=0) + margin
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title("all particles, seen from aside", pad=4, fontsize=9.5)


def _edges(box: Floats) -> NDArray[Any]:
    """The twelve edges of a box in 3D, (12, 2, 3)."""
    corners = np.array(list(product((-0.5, 0.5), repeat=3)))
    pairs = [
        (a, b)
        for a in range(8)
        for b in range(a + 1, 8)
        if np.count_nonzero(corners[a] != corners[b]) == 1
    ]
    return np.array([[corners[a] @ box.T, corners[b] @ box.T] for a, b in pairs])
