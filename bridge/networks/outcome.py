"""The outcome of a pruning: the network, the way to it, and why it ended."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amorph.handover.showing import shown

from ..errors import SingularHessianError
from .building import Network
from .pruning import Pruning

__all__ = ["Pruned", "ended"]


@dataclass(frozen=True, eq=False)
class Pruned:
    """A pruned network, and the way to it.

    Attributes
    ----------
    network:
        (springs, packing); bonds that were cut have stiffness 0.
    status:
        ``reached``, within all limits; ``no gain``: no bond that may change brings it nearer;
        ``nothing to cut``: no bond may be cut; ``cold``: an annealing came to its end; ``stopped``:
        by the number of moves or trials.
    names, values, target:
        Of the goals, (n_goals,).
    bonds:
        The bond of each move, (n_moves,): cut where it was there, else returned.
    trace:
        The values before the first and after each move, (n_moves + 1, n_goals). Where an annealing
        goes back to its best network, it does so at once: these moves have its values.
    trials:
        How many changes were tried.
    exceeded:
        How far limits are exceeded, as a part of their width.
    drift:
        By how much the responses had gone astray at most, where they were computed anew.
    """

    network: Network
    status: str
    names: tuple[str, ...]
    values: NDArray[np.float64]
    target: NDArray[np.float64]
    bonds: NDArray[np.int64]
    trace: NDArray[np.float64]
    trials: int
    drift: float
    exceeded: float

    @property
    def n_cut(self) -> int:
        """How many bonds have stiffness 0."""
        return int(np.sum(np.asarray(self.network[0].stiffness) == 0))

    def __repr__(self) -> str:
        found = [
            (name, f"{value:.6g} ({target:g} wanted)")
            for name, value, target in zip(self.names, self.values, self.target, strict=True)
        ]
        return shown(
            f"Pruned: {self.status}",
            [*found, ("cut", f"{self.n_cut} of {self.network[0].n_bonds} bonds")],
        )


def ended(
    pruning: Pruning, status: str, bonds: list[int], trace: list[NDArray[np.float64]], trials: int
) -> Pruned:
    """A pruning's result, its last values computed anew.

    Moves without which the network turns out to be rigid, or its elastic tensor to be positive
    definite, are taken back.
    """
    try:
        pruning.renew()
        firm = bool(np.isfinite(pruning.distance))
    except SingularHessianError:
        firm = False
    if not firm:
        status = "stopped"
        _taken_back(pruning, bonds, trace)
    trace[-1] = pruning.values
    return Pruned(
        pruning.network,
        status,
        pruning.evaluate.names,
        pruning.values,
        pruning.evaluate.target,
        np.array(bonds, dtype=np.int64),
        np.array(trace),
        trials,
        pruning.drift,
        pruning.exceeded,
    )


def _taken_back(pruning: Pruning, bonds: list[int], trace: list[NDArray[np.float64]]) -> None:
    """Take moves back, the last first, until the network is firm; raises where it never is."""
    alive = pruning.alive
    while bonds:
        trace.pop()
        bond = bonds.pop()
        alive[bond] = not alive[bond]
        with suppress(SingularHessianError):
            pruning.go_to(alive)
            if np.isfinite(pruning.distance):
                return
    raise SingularHessianError("the network is not rigid from the first.")
