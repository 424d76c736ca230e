"""Simulated annealing of a network: bonds are cut and returned at random, by Metropolis's rule."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from amorph.handover import InputError
from amorph.handover.arguments import check_kind, count, positive

from ..errors import FloppyModeError, SingularHessianError
from .building import seeds
from .outcome import Pruned, ended
from .pruning import Pruning

__all__ = ["anneal"]

# How many proposals are looked at together: those after the first that is taken are looked at anew.
FEWEST, MOST = 16, 1024
LARGEST = np.finfo(np.float64).max


def anneal(
    pruning: Pruning,
    *,
    temperature: float | None = None,
    coldest: float | None = None,
    cooling: float = 0.95,
    chain: int | None = None,
    tolerance: float = 1e-2,
    seed: int | Sequence[int] = 0,
    most_trials: int | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Pruned:
    """Prune by simulated annealing: any bond may be cut and return, worse networks are taken too.

    At each temperature T, `chain` bonds are drawn at random; toggling one, which changes the
    distance to the goals by Δ, is taken where Δ <= 0, else with probability exp(-Δ/T). Then T is
    multiplied by `cooling`. It ends where the goals are reached, or as cold as `coldest`; the best
    network on the way is what comes out.

    Parameters
    ----------
    pruning:
        The network with its goals; it is changed.
    temperature, coldest:
        The first T and the last, in the distance's units: of ν, where that is the goal. By default
        the median change that toggling a bond brings at first, and a thousandth of it.
    cooling:
        Between 0 and 1.
    chain:
        By default as many as there are bonds.
    tolerance:
        The distance from the goals at which they are reached.
    seed:
        Of the random numbers, one or several whole numbers.
    most_trials:
        It is stopped after so many.
    progress:
        Called with the number of trials and the distance, at each temperature.

    Raises `InputError` for numbers outside of their ranges.

    Source: Kirkpatrick, Gelatt and Vecchi, Science 220, 671 (1983), as Zhu et al. (Methods,
    "Simulated Annealing (SA) Method", eq. 2). T, cooling rate and chain length are not given there.

    Example
    -------
    >>> pruning = networks.Pruning(*networks.triangular_network((12, 12)), {"poisson_ratio": -0.9})
    >>> pruned = networks.anneal(pruning, seed=1)
    """
    check_kind("pruning", pruning, Pruning, "networks.Pruning(springs, packing, goals)")
    hot = _typical_change(pruning) if temperature is None else positive("temperature", temperature)
    cold = 1e-3 * hot if coldest is None else positive("coldest", coldest)
    positive("tolerance", tolerance)
    if not 0 < positive("cooling", cooling) < 1:
        raise InputError(f"cooling = {cooling!r}: it must lie between 0 and 1.")
    length = pruning.n_bonds if chain is None else count("chain", chain)
    left = 2**62 if most_trials is None else count("most_trials", most_trials, least=0)
    rng = np.random.default_rng(seeds("seed", seed))
    run = _Run(pruning, tolerance)
    while not run.reached and hot >= cold and left > 0:
        bonds = rng.integers(pruning.n_bonds, size=min(length, left), dtype=np.int32)
        run.chain(bonds, hot * -np.log1p(-rng.random(len(bonds))))
        left -= len(bonds)
        hot *= cooling
        if progress is not None:
            progress(run.trials, pruning.distance)
    status = "reached" if run.reached else ("stopped" if left <= 0 else "cold")
    if not run.reached and run.best[0] < (pruning.exceeded, pruning.distance):
        last = pruning.alive
        try:
            pruning.go_to(run.best[1])
        except SingularHessianError:  # too soft, computed anew: the last one it is
            pruning.go_to(last)
        else:
            back = np.flatnonzero(last != run.best[1]).tolist()
            trace = [*run.trace, *[pruning.values] * len(back)]
            return ended(pruning, status, [*run.bonds, *back], trace, run.trials)
    return ended(pruning, status, run.bonds, run.trace, run.trials)


def _typical_change(pruning: Pruning) -> float:
    """The median change of the distance that toggling a bond brings; 1 where none may change."""
    changes = np.abs(pruning.try_toggles(pruning.may_change()).distance - pruning.distance)
    found = changes[np.isfinite(changes) & (changes > 0)]
    return float(np.median(found)) if len(found) else 1.0


class _Run:
    """A network at work: what was taken so far, and the best there was."""

    def __init__(self, pruning: Pruning, tolerance: float) -> None:
        self.pruning = pruning
        self.tolerance = tolerance
        self.bonds: list[int] = []
        self.trace = [pruning.values]
        self.trials = 0
        self.best = (self._merit(), pruning.alive)
        self._together = FEWEST

    @property
    def reached(self) -> bool:
        """Whether the goals are reached."""
        return self.pruning.arrived(self.tolerance)

    def chain(self, bonds: NDArray[np.int32], bearable: NDArray[np.float64]) -> None:
        """Propose bonds one after another, each taken where the distance grows by less than that.

        Those that are looked at together give the same as one by one: nothing changes in between.
        """
        pruning, at = self.pruning, 0
        while at < len(bonds) and not self.reached:
            looked = bonds[at : at + self._together]
            changes = pruning.tried(looked)
            most = pruning.distance + bearable[at : at + len(looked)]
            taken = changes.distance <= np.minimum(most, LARGEST)  # infinite: not allowed
            if not taken.any():
                at += len(looked)
                self.trials += len(looked)
                self._together = min(2 * self._together, MOST)
                continue
            first = int(taken.argmax())
            at += first + 1
            self.trials += first + 1
            self._together = max(min(2 * (first + 1), self._together), FEWEST)
            try:
                pruning.toggle(int(looked[first]), (changes, first))
            except FloppyModeError:
                continue  # as if it were refused
            self.bonds.append(int(looked[first]))
            self.trace.append(pruning.values)
            if self._merit() < self.best[0]:
                self.best = (self._merit(), pruning.alive)

    def _merit(self) -> tuple[float, float]:
        """How far limits are exceeded, then the distance: the best compares least."""
        return self.pruning.exceeded, self.pruning.distance
