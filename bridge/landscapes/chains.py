"""What is known between two minima while a way is looked for: others, transitions, what to try."""

from itertools import pairwise
from typing import Any

import networkx
import numpy as np
from numpy.typing import NDArray

from amorph.handover import AmorphError

from ..errors import PathError
from ..matter.packing import Packing
from .paths import aligned, carried, distance
from .saddles import Saddle
from .transitions import Transition

__all__ = ["SAME", "Known"]

# Two minima are one where no particle lies farther from its place, in smallest diameters.
SAME = 1e-3
# What a transition weighs beside a gap, whose weight is the square of its length in diameters.
TRANSITION = 1e-3


class Known:
    """Minima and transitions between two minima, the first and the second of them.

    The way on is the shortest one, on which a transition is short and a gap as long as its ends are
    apart (squared: many short gaps are better than one long one). A gap that was tried is none.

    Source: Carr, Trygubenko and Wales, J. Chem. Phys. 122, 234903 (2005).
    """

    def __init__(self, packing: Packing, ends: NDArray[np.float64], size: float, most: int) -> None:
        self._packing = packing
        self._size = size
        self._most = most
        self.minima: list[NDArray[np.float64]] = []
        self._graph = networkx.Graph()
        self._tried: set[tuple[int, int]] = set()
        self.reason: AmorphError | None = None
        for x in ends:
            self._number(x)

    def same(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> bool:
        """Whether two places are one minimum."""
        return bool(distance(self._packing.with_positions(x), y) <= SAME * self._size)

    def _number(self, x: NDArray[np.float64]) -> int:
        """The number of a minimum, which is new or known."""
        here = self._packing.with_positions(x)
        for k, y in enumerate(self.minima):
            if distance(here, y) <= SAME * self._size:
                return k
        new = len(self.minima)
        self._graph.add_node(new)
        for k, y in enumerate(self.minima):
            apart = np.sum((aligned(here, y) - x) ** 2) / self._size**2
            self._graph.add_edge(k, new, weight=float(apart), way=None)
        self.minima.append(x)
        return new

    def add(self, transition: Transition) -> None:
        """Take a transition in, the lowest between two minima."""
        i, j = self._number(transition.start.positions), self._number(transition.end.positions)
        if i == j:
            return
        known = self._graph.get_edge_data(i, j)
        if known is None or known["way"] is None or transition.energies[1] < known["top"] - 1e-9:
            way = transition if i < j else transition.reversed()
            self._graph.add_edge(
                i, j, weight=TRANSITION, way=way, top=float(transition.energies[1])
            )

    def next_gap(self) -> tuple[int, int] | None:
        """The gap to try next on the shortest way; None where the way is whole.

        Raises `PathError` where there is no way left, or it is too long.
        """
        try:
            way = networkx.shortest_path(self._graph, 0, 1, weight="weight")
        except networkx.NetworkXNoPath:
            if self.reason is not None and len(self.minima) == 2:
                raise self.reason from None
            raise PathError(
                f"no way was found: of {len(self.minima)} minima that are known, all gaps between "
                "those of the start and those of the end were tried. Give more images, or another "
                "first path, with paths."
            ) from self.reason
        steps = list(pairwise(way))
        if len(steps) > self._most:
            raise PathError(
                f"more than {self._most} saddles lie on the way. Give more with most_saddles, or "
                "another first path, with paths."
            )
        for i, j in steps:
            if self._graph.edges[i, j]["way"] is None:
                return i, j
        return None

    def tried(self, gap: tuple[int, int], reason: AmorphError | None) -> None:
        """Remember that a gap was tried, and why nothing was found."""
        if reason is not None:
            self.reason = reason
        if self._graph.has_edge(*gap) and self._graph.edges[gap]["way"] is None:
            self._graph.remove_edge(*gap)

    def chain(self, start: Packing) -> tuple[Transition, ...]:
        """The transitions of the way, each turned to begin where the one before ends."""
        way = networkx.shortest_path(self._graph, 0, 1, weight="weight")
        out: list[Transition] = []
        for i, j in pairwise(way):
            found = self._graph.edges[i, j]["way"]
            out.append(
                _laid(start if not out else out[-1].end, found if i < j else found.reversed())
            )
        return tuple(out)


def _laid(at: Packing, found: Transition) -> Transition:
    """A transition moved and turned as a whole to begin at a packing."""
    path: Any = carried(at, found.path[0], found.path)
    saddle = found.saddle
    mode = saddle.mode
    if at.box is None:
        nothing = np.zeros((1, *mode.shape))
        mode = (carried(at, found.path[0], mode[None]) - carried(at, found.path[0], nothing))[0]
    placed = carried(at, found.path[0], np.asarray(saddle.packing.positions)[None])[0]
    return Transition(
        at.with_positions(path[0]),
        Saddle(
            at.with_positions(placed),
            saddle.energy,
            saddle.force,
            saddle.eigenvalue,
            mode,
            saddle.steps,
            saddle.evaluations,
        ),
        at.with_positions(path[-1]),
        found.energies,
        path,
        found.path_energies,
        found.evaluations,
    )
