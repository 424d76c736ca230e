"""Whether a packing came to rest where it was, or in another minimum."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amorph.handover import InputError, widths
from amorph.handover.arguments import described

from ..matter.arguments import check
from ..matter.neighbours import FIRST_SHELL_SHARP
from ..matter.packing import Packing
from ..matter.pairs import Pairs, find_pairs
from ..matter.springs import Theta

__all__ = ["MOST_CHANGED", "MOST_MOVED", "Departure", "departure"]

# A packing is in another minimum once a particle that is no rattler has moved by more than this
# fraction of the smallest diameter, or more than this fraction of its neighbour pairs changed.
MOST_MOVED = 0.1
MOST_CHANGED = 0.02
# Below this displacement, in smallest diameters, no neighbour can have changed.
UNMOVED = 1e-8


@dataclass(frozen=True)
class Departure:
    """The distance of a packing at rest from where it began.

    Attributes
    ----------
    moved:
        The largest displacement of a particle that is no rattler, in smallest diameters.
    changed:
        The part of the pairs of neighbours, r < 1.275 σ_ij, that are neighbours only before or only
        after; rattlers are left out. 0 where there is no pair potential.
    """

    moved: float
    changed: float

    @property
    def elsewhere(self) -> bool:
        """Whether that is another minimum: moved > 0.1, or changed > 0.02."""
        return self.moved > MOST_MOVED or self.changed > MOST_CHANGED


def departure(
    theta: Theta, packing: Packing, new_packing: Packing, rattlers: NDArray[np.bool_]
) -> Departure:
    """Compare a packing with what `relax` made of it.

    Parameters
    ----------
    theta:
        The particles' interactions.
    packing, new_packing:
        The same particles (N, d) before and after, unwrapped alike, in one box.
    rattlers:
        (N,) bool, of `new_packing`: where a rattler lies says nothing of the minimum.

    Raises `InputError` for packings of different shapes and for arguments that are something else,
    and as `amorph.bridge.relax` does for a box that is too small.

    >>> import amorph.bridge as bridge
    >>> soft = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
    >>> pair = bridge.Packing.of([[0.0, 0.0], [0.9, 0.0]], [0, 0])
    >>> bridge.departure(soft, pair, pair, pair.typeid > 0)
    Departure(moved=0.0, changed=0.0)
    """
    check(theta=theta, packing=packing, new_packing=new_packing)
    if packing.positions.shape != new_packing.positions.shape:
        raise InputError(
            f"packing has positions of shape {packing.positions.shape}, new_packing of "
            f"{new_packing.positions.shape}: they must be of the same particles."
        )
    listed = np.asarray(rattlers)
    if listed.shape != (packing.n_particles,) or listed.dtype != np.bool_:
        raise InputError(
            f"rattlers are {described(rattlers)}: they must be ({packing.n_particles},) Booleans, "
            "as bridge.response(theta, packing).rattlers."
        )
    held = ~listed
    steps = np.sqrt(np.sum((new_packing.positions - packing.positions) ** 2, axis=1))
    sigma = theta.size_range()[0]
    moved = float(np.max(steps, initial=0.0, where=held)) / sigma
    farthest = float(steps.max())
    if theta.near is None or farthest <= UNMOVED * sigma:
        return Departure(moved, 0.0)
    if farthest <= MOST_MOVED * sigma:
        # This list holds the neighbours of both.
        pairs = _pairs(theta, new_packing, 2.0 * farthest)
        first, last = (_neighbours(theta, p, pairs, held) for p in (packing, new_packing))
    else:
        first, last = (
            _neighbours(theta, p, _pairs(theta, p), held) for p in (packing, new_packing)
        )
    either = len(np.union1d(first, last))
    return Departure(moved, len(np.setxor1d(first, last)) / either if either else 0.0)


def _pairs(theta: Theta, packing: Packing, further: float = 0.0) -> Pairs:
    """The pairs within reach of the first shell, and further by some distance."""
    reach = FIRST_SHELL_SHARP.reach(theta) + further
    if packing.box is not None:  # in a small box soft spheres may have no room for a shell
        reach = min(reach, 0.5 * float(widths(packing.box).min()))
    return find_pairs(theta.near, packing, reach=reach)


def _neighbours(
    theta: Theta, packing: Packing, pairs: Pairs, held: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The listed pairs that are neighbours in a packing, each as one number."""
    assert theta.near is not None
    count = int(pairs.count)
    i, j = pairs.i[:count].astype(np.int64), pairs.j[:count].astype(np.int64)
    vectors = packing.positions[j] - packing.positions[i] + pairs.shift[:count]
    sigma = theta.near.of_types()["sigma"][packing.typeid[i], packing.typeid[j]]
    chosen = np.sum(vectors**2, axis=1) < (FIRST_SHELL_SHARP.outer * sigma) ** 2
    chosen &= held[i] & held[j]
    return (i * packing.n_particles + j)[chosen]
