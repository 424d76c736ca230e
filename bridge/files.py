"""Packings and potentials from and to GSD files."""

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike

import numpy as np
from numpy.typing import ArrayLike

from amorph import handover
from amorph.handover import Frame

from .packing import Packing
from .potentials import from_arrays
from .springs import Theta

__all__ = ["frame_of", "read_gsd", "write_gsd"]


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
        The potential, for files that have none, or in place of theirs.

    Raises
    ------
    FrameError
        One of its kinds, by name: not a GSD file, truncated, empty, without a potential, with
        positions that are not numbers, with more types than the potential.
    """
    given = None if theta is None else theta.potential
    arrays = None if theta is None else theta.arrays()
    for frame in handover.read_gsd(path, frames, potential=given, parameters=arrays):
        assert frame.potential is not None  # the reader refuses frames without one
        yield Packing.from_frame(frame), theta or from_arrays(frame.potential, frame.parameters)


def frame_of(packing: Packing, theta: Theta, log: Mapping[str, ArrayLike] | None = None) -> Frame:
    """A packing and its potential as a frame of a GSD file; particles are put into the box."""
    wrapped = packing.wrapped()
    names = handover.type_names(theta.n_types)
    return Frame(
        positions=wrapped.positions,
        typeid=wrapped.typeid,
        types=names,
        box=wrapped.box,
        images=wrapped.images,
        bonds=wrapped.bonds,
        potential=theta.potential,
        parameters=theta.arrays(),
        log={key: np.asarray(value) for key, value in (log or {}).items()},
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
