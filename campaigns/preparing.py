"""Packings as a preparation table describes them."""

from collections.abc import Callable
from os import PathLike

from amorph import ensemble

from .tables import Potential, Preparation

__all__ = ["prepare_ensemble", "prepare_to_gsd"]

Progress = Callable[[int, int], object]


def prepare_ensemble(
    potential: Potential | None,
    preparation: Preparation,
    *,
    replica: int | None = None,
    replicas: int = 1,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
) -> ensemble.Ensemble:
    """All replicas of a preparation, or some from a number on; errors as `ensemble.prepare`."""
    first = replica or 0
    number = preparation.n_replicas if replica is None else replicas
    theta, start = preparation.begin(potential, first, number)
    return ensemble.prepare(
        theta,
        start.positions,
        start.typeid,
        start.boxes if len(start.boxes) > 1 else start.boxes[0],
        preparation.stages(theta, start.positions.shape[2]),
        seed=preparation.seed,
        first_replica=first,
        device=device,
        threads=threads,
        progress=progress,
    )


def prepare_to_gsd(
    potential: Potential | None,
    preparation: Preparation,
    path: str | PathLike[str],
    *,
    append: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    each: Callable[[ensemble.Ensemble], object] | None = None,
    progress: Progress | None = None,
) -> ensemble.Streamed:
    """A preparation's replicas, into a GSD file while they are computed.

    Arguments and errors as in `ensemble.stream_to_gsd`.
    """
    ensemble.check_device(device)

    def make(first: int, number: int, report: Progress) -> ensemble.Ensemble:
        return prepare_ensemble(
            potential,
            preparation,
            replica=first,
            replicas=number,
            device=device,
            threads=threads,
            progress=report,
        )

    return ensemble.stream_to_gsd(
        path, make, preparation.n_replicas, append=append, each=each, progress=progress
    )
