"""Pruning by the gradient of stiffnesses: bonds are made softer, and end as there or cut."""

from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from amorph.handover.arguments import check_kind, count, positive

from ..errors import FloppyModeError, SingularHessianError
from .greedy import prune_greedily
from .outcome import Pruned, ended
from .pruning import Pruning

__all__ = ["prune_by_gradient"]

# The largest change of a stiffness in a step, as a part of it, and the least worth a step.
FARTHEST, NEAREST = 0.2, 1e-4
# A bond is as good as cut, or as good as whole, so near to either.
AT_END = 1e-2
# So many steps may pass with hardly a bond that comes nearer to an end.
PATIENCE = 10
# The softest a bond becomes: it still holds its nodes.
SOFTEST = 1e-3


def prune_by_gradient(
    pruning: Pruning,
    *,
    tolerance: float = 1e-2,
    most: int = 400,
    progress: Callable[[int, float], None] | None = None,
) -> Pruned:
    """Prune by making bonds softer along the gradient of what is left to the goals.

    Each step is the shortest that meets the goals in linear response, and beside it, where the
    goals do not feel it, every bond goes towards the nearer of its two ends, whole or cut. With few
    goals few bonds stay between (as in a linear programme); these go to the nearer end, and what is
    then left is made up by cutting and returning single bonds.

    Parameters
    ----------
    pruning:
        The network with its goals; it is changed.
    tolerance:
        The distance from the goals at which they are reached.
    most:
        The most steps, each of which computes everything anew.
    progress:
        Called with the number of steps and the distance after each.

    Raises `InputError` for what is no number.

    Example
    -------
    >>> pruning = networks.Pruning(*networks.triangular_network((12, 12)), {"poisson_ratio": -0.9})
    >>> pruned = networks.prune_by_gradient(pruning)
    """
    check_kind("pruning", pruning, Pruning, "networks.Pruning(springs, packing, goals)")
    positive("tolerance", tolerance)
    count("most", most, least=0)
    full = pruning.full
    start, alive = pruning.values, pruning.alive
    part = np.where(alive, 1.0, 0.0)
    farthest = FARTHEST
    undecided = [np.inf]  # how far bonds are from their ends, all together
    for step in range(most):
        undecided.append(float(np.sum(np.minimum(part, 1.0 - part))))
        slow = undecided[-1] > 0.99 * undecided[-1 - PATIENCE] if step >= PATIENCE else False
        between = (part > AT_END) & (part < 1 - AT_END)
        if pruning.arrived(tolerance) and (slow or not between.any()):
            break
        tried = np.clip(part + _step(pruning, part, full, farthest), SOFTEST, 1.0)
        tried[part == 0] = 0.0
        before = pruning.distance
        if not _settled(pruning, tried * full) or pruning.distance > max(1.2 * before, tolerance):
            farthest *= 0.5
            _settled(pruning, part * full)
            if farthest < NEAREST:
                break
            continue
        farthest = min(1.5 * farthest, FARTHEST)
        part = tried
        if progress is not None:
            progress(step + 1, pruning.distance)
    pruning.go_to(alive)
    return _made_whole(pruning, part, start, tolerance)


def _step(
    pruning: Pruning, part: NDArray[np.float64], full: NDArray[np.float64], farthest: float
) -> NDArray[np.float64]:
    """The change of each bond's stiffness, as a part of it (n_bonds,)."""
    left, slopes = pruning.slopes()
    slopes = slopes * full
    # Bonds that are whole may become softer only, those that are cut stay so.
    room = np.where(full > 0, np.where(part > 0, np.minimum(part, 1.05 - part), 0.0), 0.0)
    scaled = slopes * room
    moment = scaled @ scaled.T
    moment += 1e-12 * np.trace(moment) * np.eye(len(moment))
    # Goals that no bond moves give a singular matrix, and no step.
    towards = -room * (scaled.T @ np.linalg.lstsq(moment, left)[0])
    most = np.max(np.abs(towards))
    if most > farthest:
        return towards * farthest / most
    ends = np.where(part < 0.5, -1.0, 1.0) * room
    ends[(part < 0.5) & ~pruning.shape.may_be_cut] = room[(part < 0.5) & ~pruning.shape.may_be_cut]
    ends -= room * (scaled.T @ np.linalg.lstsq(moment, slopes @ ends)[0])
    return towards + ends * min(1.0, (farthest - most) / max(np.max(np.abs(ends)), 1e-300))


def _settled(pruning: Pruning, stiffness: NDArray[np.float64]) -> bool:
    try:
        pruning.set_stiffness(stiffness)
    except SingularHessianError:
        return False
    return True


def _made_whole(
    pruning: Pruning, part: NDArray[np.float64], start: NDArray[np.float64], tolerance: float
) -> Pruned:
    """The network of bonds that are there or not, and what single bonds can still do for it."""
    bonds: list[int] = []
    trace = [start]
    trials = 0
    for bond in np.argsort(part, kind="stable"):
        if part[bond] == 0 or part[bond] >= 0.5:
            continue
        changes = pruning.try_toggles([int(bond)])
        trials += 1
        if np.isfinite(changes.distance[0]):
            with suppress(FloppyModeError):
                pruning.toggle(int(bond), (changes, 0))
                bonds.append(int(bond))
                trace.append(pruning.values)
    rest = prune_greedily(pruning, tolerance=tolerance, returns=True)
    return ended(
        pruning,
        rest.status,
        [*bonds, *rest.bonds.tolist()],
        [*trace, *rest.trace[1:]],
        trials + rest.trials,
    )
