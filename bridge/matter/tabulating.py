"""Pair potentials as tables, which the engine takes of formulas that it lacks."""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amorph.handover import PairTable, build_table

from . import searching

if TYPE_CHECKING:
    from .potentials import PairPotential

__all__ = ["table_of"]


def table_of(theta: "PairPotential", tolerance: float) -> PairTable:
    """The table of a potential's formula to a relative error; errors as `build_table` has them."""
    kind = theta.kind
    i, j = np.triu_indices(theta.n_types)
    pairs = {k: np.asarray(v)[i, j] for k, v in theta.of_types().items()}
    cutoffs, breaks = theta.cutoffs()[i, j], theta.breaks()[:, i, j]
    stiffness = np.asarray(kind.pair_stiffness(theta.of_types()))[i, j]

    def formula(k: int) -> Any:
        return partial(_values, kind, {name: v[k] for name, v in pairs.items()})

    def ends(k: int) -> NDArray[np.float64]:
        # Breaks that this pair lacks lie beyond its cutoff, which is the last.
        inner = breaks[:-1, k]
        return np.append(np.unique(inner[(inner > 0) & (inner < cutoffs[k])]), cutoffs[k])

    return build_table(
        [formula(k) for k in range(len(i))],
        [ends(k) for k in range(len(i))],
        np.asarray(theta.diameters),
        potential=theta.potential,
        parameters={k: v for k, v in theta.arrays().items() if k != "diameters"},
        tolerance=tolerance,
        stiffness=stiffness,
    )


def _values(kind: Any, pair: Any, r: NDArray[np.float64]) -> tuple[Any, ...]:
    return searching.evaluated(kind, np.asarray(r, dtype=np.float64), pair, 2)
