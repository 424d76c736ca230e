"""Rates measured of Brownian trajectories by the engine, beside those that were designed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph import bridge, ensemble
from amorph.bridge import landscapes
from amorph.handover import InputError

from .campaign import Trajectories

__all__ = ["measured_rates", "passages_row"]

# Of the time that the stiffest pair takes to answer, a time step by default.
STEP = 1.0 / 15.0
# Frames that are kept in memory at once, of all trajectories.
MOST_FRAMES = 400_000
# Frames of the first trajectory that are shown, and what is filtered out of them: changes faster
# than this part of a frame's frequency.
SHOWN_FRAMES = 600
CUTOFF = 0.05
SHORTEST_TRACE = 20


def measured_rates(
    theta: bridge.PairPotential,
    transition: landscapes.Transition,
    settings: Trajectories,
    *,
    temperature: float,
    friction: float,
    seed: int,
    first: int,
) -> tuple[landscapes.Passages, dict[str, Any]]:
    """Passages over a transition in Brownian trajectories, and the first of these, to be shown.

    Half of them begin at its start, half at its end, each for a tenth of its time before anything
    counts; a trajectory that leaves both states, for a third one or to pieces, counts as long as it
    is there. ``first`` is the number of the first trajectory, of which its random numbers depend.

    Raises `InputError` where trajectories end by themselves: a smaller dt helps.
    """
    number = settings.number
    half = (number + 1) // 2
    x = np.concatenate(
        [
            np.repeat(np.asarray(transition.start.positions)[None], half, axis=0),
            np.repeat(np.asarray(transition.end.positions)[None], number - half, axis=0),
        ]
    )
    dt = settings.dt or STEP * friction / theta.max_stiffness()
    every = max(1, round(settings.frame / dt))
    frames = max(2, round(settings.time / (every * dt)))
    piece = max(2, min(frames, MOST_FRAMES // number))
    top = float(transition.arc_length[int(np.argmax(transition.path_energies))])
    top /= float(transition.arc_length[-1])
    wheres: list[Any] = []
    insides: list[Any] = []
    settling = max(1, frames // 10)
    for stream, count in enumerate([settling, *_pieces(frames, piece)]):
        stage = ensemble.Brownian(count * every, dt, temperature, friction=friction)
        run = ensemble.prepare(
            theta,
            x,
            np.asarray(transition.start.typeid),
            None,
            [stage],
            seed=seed,
            first_replica=first,
            stream=stream,
            trajectory_every=every,
            threads=1,
        )
        if failures := run.failures():
            raise InputError(f"a trajectory ended by itself: {failures[0]}")
        x = run.positions
        if stream:
            assert run.trajectory is not None
            where, beside = landscapes.path_position(transition, run.trajectory.positions)
            wheres.append(where)
            insides.append(beside < settings.beside)
    where = np.concatenate(wheres, axis=1)
    passages = landscapes.count_passages(
        where,
        every * dt,
        low=0.5 * top,
        high=0.5 * (1.0 + top),
        inside=np.concatenate(insides, axis=1),
    )
    return passages, _trace(where[0, :SHOWN_FRAMES], every * dt, top)


def _trace(where: NDArray[np.float64], frame: float, top: float) -> dict[str, Any]:
    """A trajectory along the path, as it is and filtered; and where it passes the saddle."""
    out: dict[str, Any] = {"trace": where, "trace frame": frame, "trace saddle": top}
    if len(where) > SHORTEST_TRACE:
        out["trace filtered"] = landscapes.filtered(where, CUTOFF)
    return out


def _pieces(frames: int, piece: int) -> list[int]:
    whole, rest = divmod(frames, piece)
    return [piece] * whole + ([rest] if rest else [])


def passages_row(found: landscapes.Passages) -> dict[str, Any]:
    """Passages as columns of a row: there and back."""
    return {
        "passages": found.number,
        "passage time": found.time,
        "measured rate": np.where(np.isfinite(found.rate), found.rate, 0.0),
        "measured low": np.where(np.isfinite(found.interval[:, 0]), found.interval[:, 0], 0.0),
        "measured high": np.where(np.isfinite(found.interval[:, 1]), found.interval[:, 1], 0.0),
    }
