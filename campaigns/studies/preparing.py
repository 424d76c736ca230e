"""Packings as a preparation table describes them."""

from collections.abc import Callable
from os import PathLike

from amorph import bridge, ensemble

from ..inputs.tables import Bonds, Potential, Preparation

__all__ = ["prepare_ensemble", "prepare_to_gsd"]

Progress = Callable[[int, int], object]


def prepare_ensemble(
    potential: Potential | bridge.PairPotential | None,
    preparation: Preparation,
    *,
    bonds: Bonds | None = None,
    replica: int | None = None,
    replicas: int = 1,
    design_step: int = 0,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
) -> ensemble.Ensemble:
    """All replicas of a preparation, or some from a number on; errors as `ensemble.prepare`.

    `design_step` gives each step of a design random numbers of its own.
    """
    first = replica or 0
    number = preparation.n_replicas if replica is None else replicas
    begin = preparation.begin(potential, bonds, first, number, design_step)
    return ensemble.prepare(
        begin.theta,
        begin.start.positions,
        begin.start.typeid,
        begin.start.box,
        preparation.stages(begin.theta, begin.start.positions.shape[2]),
        bonds=begin.bonds or None,
        seed=preparation.seed,
        first_replica=first,
        design_step=design_step,
        device=device,
        threads=threads,
        progress=progress,
    )


def prepare_to_gsd(
    potential: Potential | None,
    preparation: Preparation,
    path: str | PathLike[str],
    *,
    bonds: Bonds | None = None,
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
            bonds=bonds,
            replica=first,
            replicas=number,
            device=device,
            threads=threads,
            progress=report,
        )

    return ensemble.stream_to_gsd(
        path, make, preparation.n_replicas, append=append, each=each, progress=progress
    )
