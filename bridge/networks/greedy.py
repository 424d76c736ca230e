"""Greedy pruning: again and again the bond whose cut brings a network nearest to its goals."""

from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from amorph.handover.arguments import check_kind, count, not_negative, positive

from ..errors import FloppyModeError, SingularHessianError
from .outcome import Pruned, ended
from .pruning import Changes, Pruning

__all__ = ["prune_greedily"]

# Cuts that bring less than this are none.
LEAST_GAIN = 1e-9


def prune_greedily(
    pruning: Pruning,
    *,
    tolerance: float = 1e-2,
    most: int | None = None,
    least_gain: float = LEAST_GAIN,
    returns: bool = False,
    progress: Callable[[int, float], None] | None = None,
) -> Pruned:
    """Cut, one after another, the bond that brings a network nearest to its goals.

    Every bond that may be cut is tried at every step, at the cost of arithmetic alone.

    Parameters
    ----------
    pruning:
        The network with its goals; it is changed.
    tolerance:
        The distance from the goals at which they are reached.
    most:
        The most cuts; by default as many as there are bonds.
    least_gain:
        A cut that brings less is none.
    returns:
        Whether bonds that were cut may come back, where that brings most.
    progress:
        Called with the number of cuts and the distance after each.

    Raises `InputError` for what is no number, else as `Pruning.toggle` does.

    Source: Goodrich, Liu and Nagel, Phys. Rev. Lett. 114, 225501 (2015); here the change of the
    goal itself is known of each bond, not its contribution to a modulus alone.

    Example
    -------
    >>> pruning = networks.Pruning(*networks.triangular_network((32, 32)), {"poisson_ratio": -0.9})
    >>> pruned = networks.prune_greedily(pruning)
    """
    check_kind("pruning", pruning, Pruning, "networks.Pruning(springs, packing, goals)")
    positive("tolerance", tolerance)
    not_negative("least_gain", least_gain)
    most = pruning.n_bonds if most is None else count("most", most, least=0)
    bonds: list[int] = []
    trace = [pruning.values]
    trials, status = 0, ""
    while not status:
        free = pruning.may_change() if returns else pruning.may_be_cut()
        if pruning.arrived(tolerance):
            status = "reached"
        elif len(bonds) >= most:
            status = "stopped"
        elif not len(free):
            status = "nothing to cut"
        else:
            changes = pruning.try_toggles(free)
            trials += len(free)
            try:
                best = _taken(pruning, free, changes, least_gain)
            except SingularHessianError:
                status = "stopped"  # computed anew it is loose: `ended` takes cuts back
                break
            if best is None:
                status = "no gain"
            else:
                bonds.append(best)
                trace.append(pruning.values)
                if progress is not None:
                    progress(len(bonds), pruning.distance)
    return ended(pruning, status, bonds, trace, trials)


def _taken(
    pruning: Pruning, free: NDArray[np.int64], changes: Changes, least_gain: float
) -> int | None:
    """Toggle the best bond that can be; None where none brings enough."""
    wanted = pruning.distance - least_gain
    distance = changes.distance.copy()
    while True:
        best = int(np.argmin(distance))
        if not distance[best] < wanted:
            return None
        with suppress(FloppyModeError):  # the next best, then
            pruning.toggle(int(free[best]), (changes, best))
            return int(free[best])
        distance[best] = np.inf
