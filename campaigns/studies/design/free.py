"""The free numbers behind a design's parameters."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph import bridge

from .campaign import Campaign, component_groups

__all__ = ["Free"]

Arrays = dict[str, Any]


class Free:
    """The free numbers behind a campaign's parameters: some are held, some stand for several."""

    def __init__(self, campaign: Campaign) -> None:
        self.places = component_groups(campaign)
        self._first = {
            name: np.array([np.flatnonzero(where == k)[0] for k in range(where.max() + 1)])
            for name, where in self.places.items()
        }

    def of(self, theta: bridge.PairPotential) -> Arrays:
        """The free numbers of some parameters, by parameter."""
        arrays = theta.arrays()
        return {name: arrays[name][first] for name, first in self._first.items()}

    def put(self, free: Arrays, theta: bridge.PairPotential) -> bridge.PairPotential:
        """The parameters with their free numbers replaced; those held stay."""
        arrays = theta.arrays()
        new = {}
        for name, where in self.places.items():
            new[name] = np.where(where >= 0, np.asarray(free[name])[where], arrays[name])
        return theta.replace(**new)

    def gathered(self, gradient: Mapping[str, NDArray[np.float64]]) -> Arrays:
        """A gradient by the free numbers: components that are one add up."""
        out = {}
        for name, where in self.places.items():
            free = where >= 0
            out[name] = np.bincount(where[free], gradient[name][free], len(self._first[name]))
        return out
