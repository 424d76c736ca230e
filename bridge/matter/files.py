"""Packings and potentials from and to GSD files."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from amorph import handover
from amorph.handover import Frame, InputError
from amorph.handover.arguments import check_kind, described, one_or_several

from .arguments import check
from .packing import Packing
from .potentials import PairPotential
from .registered import from_arrays
from .springs import PairsAndSprings, Springs, Theta

__all__ = ["frame_of", "packings_of", "read_gsd", "theta_of", "write_gsd"]

PAIRS = "packings with their potentials, as [(theta, packing)]"


@runtime_checkable
class HasFrames(Protocol):
    """Something that gives frames, as an `amorph.ensemble.Ensemble` does."""

    def frames(self) -> Iterator[Frame]:
        """The frames, in order."""
        ...


def read_gsd(
    path: str | PathLike[str],
    frames: slice | None = None,
    *,
    theta: Theta | None = None,
) -> Iterator[tuple[Theta, Packing]]:
    """The packings of a GSD file with their potentials, frame by frame.

    Errors in the arguments, or in the file as a whole, are raised by the call itself.

    Parameters
    ----------
    path:
        A file of ours or of HOOMD-blue's (float32 positions are taken as they are; relax them).
    frames:
        Which frames; by default all.
    theta:
        The potential, for files that have none, or in place of theirs; the springs of a file stay
        unless there are some here. Warns of bonds that have no springs.

    Raises
    ------
    FrameError
        One of its kinds, by name: not a GSD file, truncated, empty, without a potential, with
        positions that are not numbers, with more types than the potential.
    InputError
        For springs that cannot be, and for arguments that are something else.
    """
    if theta is not None:
        check(theta=theta)
    near = None if theta is None else theta.near
    read = handover.read_gsd(
        path,
        frames,
        need_potential=theta is None,
        potential=None if near is None else near.potential,
        parameters=None if near is None else near.frame_arrays(),
        foreign=near is not None and near.potential not in handover.POTENTIALS,
    )
    whole = theta if theta is not None and theta.springs is not None else None
    return _with_theta(read, whole, near)


def _with_theta(
    frames: Iterable[Frame], whole: Theta | None, near: PairPotential | None
) -> Iterator[tuple[Theta, Packing]]:
    said = False
    for frame in frames:
        theta = theta_of(frame, near) if whole is None else whole
        if frame.bonds is not None and theta.springs is None and not said:
            said = True
            warnings.warn(
                f"{frame.where}: its {len(frame.bonds)} bonds have no springs: they play no part. "
                "Give bridge.PairsAndSprings, a stiffness and a length for each, if they should.",
                stacklevel=2,
            )
        yield theta, Packing.from_frame(frame)


def packings_of(frames: "Frame | HasFrames | Iterable[Frame]") -> Iterator[tuple[Theta, Packing]]:
    """The packings of an ensemble, or of frames, as (theta, packing).

    Parameters
    ----------
    frames:
        An `amorph.ensemble.Ensemble`, of which replicas without positions are left out; a frame; or
        some of them, as `Ensemble.packings` and `amorph.handover.read_gsd` give.

    Raises `InputError` for anything else, and as `theta_of` does.
    """
    if isinstance(frames, HasFrames):
        frames = frames.frames()
    right = "an Ensemble, or frames"
    if not isinstance(frames, Iterator):
        frames = one_or_several("frames", frames, Frame, right)

    def checked(frame: Frame) -> tuple[Theta, Packing]:
        check_kind("frames", frame, Frame, right)
        return theta_of(frame), Packing.from_frame(frame)

    return map(checked, frames)


def theta_of(frame: Frame, near: PairPotential | None = None) -> Theta:
    """The interactions of a frame's particles: its potential, its springs, or both.

    ``near`` takes the place of the frame's pair potential; its springs stay.

    Raises `InputError` for springs that cannot be and frames with neither, `UnknownPotentialError`
    as `from_arrays` does.
    """
    check_kind("frame", frame, Frame, "an amorph.handover.Frame")
    if near is not None:
        check_kind("near", near, PairPotential, "a pair potential")
    stiffness = frame.log.get("springs/stiffness")
    length = frame.log.get("springs/length")
    if (stiffness is None) != (length is None):
        raise InputError(f"{frame.where}: springs need both a stiffness and a length.")
    springs = None if stiffness is None or length is None else Springs(stiffness, length)
    if near is None and frame.potential is not None:
        near = from_arrays(frame.potential, frame.parameters)
    if near is None:
        if springs is None:
            raise InputError(
                f"{frame.where}: has neither a potential nor springs: give a potential."
            )
        return springs
    return near if springs is None else PairsAndSprings(near, springs)


def frame_of(theta: Theta, packing: Packing, log: Mapping[str, ArrayLike] | None = None) -> Frame:
    """A packing and its potential as a frame of a GSD file; particles are put into the box.

    Raises `InputError` for anything but a packing and a potential, or values that cannot be logged.
    """
    check(theta=theta, packing=packing)
    if packing.fixed is not None and packing.fixed.any():
        raise InputError(
            f"{int(packing.fixed.sum())} particles are fixed, which a frame cannot say: write the "
            "packing without it (dataclasses.replace(packing, fixed=None)), and the mask beside it."
        )
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
        parameters={} if near is None else near.frame_arrays(),
        foreign=near is not None and near.potential not in handover.POTENTIALS,
        log={key: np.asarray(value) for key, value in logged.items()},
    )


def write_gsd(
    path: str | PathLike[str],
    packings: Iterable[tuple[Theta, Packing]],
    *,
    overwrite: bool = False,
) -> None:
    """Write packings with their potentials, a frame each; the file appears only when whole.

    Raises `OutputExistsError` unless `overwrite`, `OutputError` where it cannot be written,
    `InputError` for anything but (theta, packing) pairs.
    """
    check_kind("packings", packings, Iterable, PAIRS)

    def frames() -> Iterator[Frame]:
        for pair in packings:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise InputError(f"packings hold {described(pair)}: they must be {PAIRS}.")
            yield frame_of(*pair)

    handover.write_gsd(path, frames(), overwrite=overwrite)
