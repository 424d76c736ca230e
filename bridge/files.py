"""Packings and potentials from and to GSD files."""

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike

import numpy as np
from numpy.typing import ArrayLike

from amorph import handover
from amorph.handover import Frame, InputError

from .packing import Packing
from .potentials import PairPotential, from_arrays
from .springs import PairsAndSprings, Springs, Theta

__all__ = ["frame_of", "read_gsd", "theta_of", "write_gsd"]


def read_gsd(
    path: str | PathLike[str],
    frames: slice | None = None,
    *,
    theta: Theta | None = None,
) -> Iterator[tuple[Packing, Theta]]:
    """The packings of a GSD file with their potentials, frame by frame.

    Parameters
    ----------
    path:
        A file of ours or of HOOMD-blue's (float32 positions are taken as they are; relax them).
    frames:
        Which frames; by default all.
    theta:
        The potential, for files that have none, or in place of theirs; the springs of a file stay
        unless there are some here.

    Raises
    ------
    FrameError
        One of its kinds, by name: not a GSD file, truncated, empty, without a potential, with
        positions that are not numbers, with more types than the potential.
    InputError
        For springs that cannot be.
    """
    near = None if theta is None else theta.near
    read = handover.read_gsd(
        path,
        frames,
        need_potential=theta is None,
        potential=None if near is None else near.potential,
        parameters=None if near is None else near.arrays(),
    )
    for frame in read:
        whole = theta is not None and theta.springs is not None
        yield Packing.from_frame(frame), theta if whole and theta else theta_of(frame, near)


def theta_of(frame: Frame, near: PairPotential | None = None) -> Theta:
    """What a frame's particles interact by: its potential, its springs, or both.

    ``near`` takes the place of the frame's pair potential; its springs stay.

    Raises `InputError` for springs that cannot be, `UnknownPotentialError` as `from_arrays` does.
    """
    stiffness = frame.log.get("springs/stiffness")
    length = frame.log.get("springs/length")
    if (stiffness is None) != (length is None):
        raise InputError(f"{frame.where}: springs need both a stiffness and a length.")
    springs = None if stiffness is None or length is None else Springs(stiffness, length)
    if near is None and frame.potential is not None:
        near = from_arrays(frame.potential, frame.parameters)
    if near is None:
        assert springs is not None  # the reader refuses frames with neither
        return springs
    return near if springs is None else PairsAndSprings(near, springs)


def frame_of(packing: Packing, theta: Theta, log: Mapping[str, ArrayLike] | None = None) -> Frame:
    """A packing and its potential as a frame of a GSD file; particles are put into the box."""
    wrapped = packing.wrapped()
    near, springs = theta.near, theta.springs
    n_types = int(np.max(packing.typeid)) + 1 if near is None else near.n_types
    logged = dict(log or {})
    if springs is not None:
        logged.update({f"springs/{k}": v for k, v in springs.arrays().items()})
    return Frame(
        positions=wrapped.positions,
        typeid=wrapped.typeid,
        types=handover.type_names(n_types),
        box=wrapped.box,
        images=wrapped.images,
        bonds=wrapped.bonds,
        potential=None if near is None else near.potential,
        parameters={} if near is None else near.arrays(),
        log={key: np.asarray(value) for key, value in logged.items()},
    )


def write_gsd(
    path: str | PathLike[str],
    packings: Iterable[tuple[Packing, Theta]],
    *,
    overwrite: bool = False,
) -> None:
    """Write packings with their potentials, a frame each; the file appears only when whole.

    Raises `OutputExistsError` unless `overwrite`, `OutputError` where it cannot be written.
    """
    handover.write_gsd(path, (frame_of(p, t) for p, t in packings), overwrite=overwrite)
