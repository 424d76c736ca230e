"""Energies, forces and stresses of given positions, as the engine computes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import InputError
from amorph.handover.showing import shown, spread_shown

from .engine import Parameters, tables
from .replicas import checked_replicas, run

__all__ = ["ForceResult", "forces"]


@dataclass(frozen=True)
class ForceResult:
    """Energy (R,), forces (R, N, d) and stress (R, d, d) = (1/V) dU/dε, tension positive."""

    energy: NDArray[np.float64]
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]

    def __repr__(self) -> str:
        r, n, d = self.forces.shape
        size = np.sqrt(np.max(np.sum(self.forces**2, axis=2), axis=1))
        return shown(
            f"ForceResult of {r} replicas of {n} particles in {d} dimensions",
            [
                ("energy", f"{spread_shown(self.energy / n)} a particle"),
                ("largest force", spread_shown(size)),
                ("pressure", spread_shown(-np.trace(self.stress, axis1=1, axis2=2) / d)),
            ],
        )


def forces(
    theta: Parameters | Sequence[Parameters],
    positions: ArrayLike,
    typeid: ArrayLike,
    box: ArrayLike,
    *,
    device: str = "cpu",
    threads: int | None = None,
    instruction_set: str = "auto",
) -> ForceResult:
    """Energy, forces and stress of replicas at given positions; nothing is moved.

    Parameters
    ----------
    theta:
        A potential, or one for each replica.
    positions:
        (R, N, d), or (N, d) for one replica.
    typeid:
        (N,), the same in every replica, or (R, N).
    box:
        (d, d), columns the box vectors, or (R, d, d).
    device, threads, instruction_set:
        As in `prepare`.

    Raises
    ------
    InputError, BoxTooSmallError, UnknownTypeError, UnknownPotentialError
        For what cannot be computed; `InputError` too where two particles coincide.
    DeviceError
        Where there is no such GPU, or CUDA fails.
    """
    table = tables(theta)
    start = checked_replicas(table, positions, typeid, box)
    result = run(
        table,
        start,
        [],
        want_forces=True,
        device=device,
        threads=threads,
        instruction_set=instruction_set,
    )
    finite = np.isfinite(result["forces"]).all(axis=(1, 2)) & np.isfinite(result["energy"])
    if not finite.all():
        raise InputError(
            f"the forces of replica {int(np.argmin(finite))} are not finite: two of its particles "
            "coincide. Move one of them."
        )
    return ForceResult(result["energy"], result["forces"], result["stress"])
