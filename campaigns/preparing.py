"""Packings as a preparation table describes them."""

from collections.abc import Callable

from amorph import ensemble

from .files import Potential, Preparation

__all__ = ["prepare_ensemble"]


def prepare_ensemble(
    potential: Potential,
    preparation: Preparation,
    *,
    replica: int | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> ensemble.Ensemble:
    """All replicas of a preparation, or the one of a number; errors as `amorph.ensemble.quench`."""
    return ensemble.quench(
        potential.theta(),
        preparation.n_particles,
        preparation.density,
        preparation.dimension,
        preparation.replicas if replica is None else 1,
        preparation.seed,
        composition=preparation.composition,
        tolerance=preparation.tolerance,
        max_steps=preparation.max_steps,
        threads=threads,
        progress=progress,
        first_replica=replica or 0,
    )
