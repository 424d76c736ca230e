"""The contenders that Amorph is measured against, each used as its own users would use it.

Nothing here imports Amorph, and importing this package imports no peer: each module loads its
peer when it is first used and raises :class:`PeerMissing` where the peer is not installed.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

__all__ = ["DynamicsResult", "PeerMissing", "QuenchResult", "require"]


class PeerMissing(ImportError):
    """A program to compare with is not installed; the message says how to install it."""

    def __init__(self, peer: str, detail: str = "", how: str = "") -> None:
        self.peer, self.detail, self.how = peer, detail, how
        reason = f" ({detail})" if detail else ""
        how = how or "install the contenders with `pip install 'amorph[bench]'`"
        super().__init__(f"{peer} is not installed{reason}; {how}")


def require(module: str, peer: str, how: str = "") -> ModuleType:
    """Import ``module``, or raise :class:`PeerMissing` in the name of ``peer``.

    Args:
        module: its full name.
        peer: whose it is, for the message.
        how: how to install it, where that is not by the extra ``bench``.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PeerMissing(peer, str(error), how) from error


@dataclass(frozen=True)
class QuenchResult:
    """One energy minimisation, whoever did it.

    Attributes:
        positions: final positions in the order given, shape (N, d), inside the box, [length].
        energy: potential energy of all particles [energy].
        max_force: the largest length of a particle's force vector [energy / length].
        steps: minimiser steps.
        converged: whether ``max_force`` is below the tolerance asked for.
        seconds: wall-clock time of the minimisation alone; set-up, the reading of tables and
            compilation are not in it.
        stress: (1/V) dU/d(strain), tension positive, shape (d, d) [energy / length^d], or
            None where the peer was not asked for it.
    """

    positions: NDArray[np.float64]
    energy: float
    max_force: float
    steps: int
    converged: bool
    seconds: float
    stress: NDArray[np.float64] | None = None

    @property
    def pressure(self) -> float:
        """-tr(stress)/d [energy / length^d]; ``ValueError`` where the stress was not asked for."""
        if self.stress is None:
            raise ValueError("this quench was made without the stress; ask for it")
        return float(-np.trace(self.stress) / self.stress.shape[0])


@dataclass(frozen=True)
class DynamicsResult:
    """Some time steps at a temperature, whoever took them.

    Attributes:
        steps: how many.
        seconds: wall-clock time of the steps alone.
        kinetic_temperature: mean of v^2 over particles and dimensions at the end, mass 1 [energy].
    """

    steps: int
    seconds: float
    kinetic_temperature: float

    @classmethod
    def of(cls, velocities: NDArray[np.float64], steps: int, seconds: float) -> DynamicsResult:
        """From the final velocities, shape (N, d)."""
        return cls(steps, seconds, float(np.mean(velocities**2)))
