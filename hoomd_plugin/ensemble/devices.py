"""Where the engine computes: the processor's cores, or a GPU."""

import re
from dataclasses import dataclass

from amorph.handover import DeviceError, InputError

from . import _engine

__all__ = ["GPU", "check_device", "gpus", "why_no_gpu"]


@dataclass(frozen=True)
class GPU:
    """A GPU that the engine can use.

    Attributes
    ----------
    index:
        Its number N, as in ``device="gpu:N"``.
    name:
        What its maker calls it.
    memory:
        In bytes.
    compute_capability:
        (major, minor).
    multiprocessors:
        How many it has.
    """

    index: int
    name: str
    memory: int
    compute_capability: tuple[int, int]
    multiprocessors: int


def gpus() -> list[GPU]:
    """The GPUs that the engine can use; none where `why_no_gpu` has a reason."""
    return [GPU(**gpu) for gpu in _engine.gpus()]


def why_no_gpu() -> str:
    """Why the engine cannot use a GPU here, and what to do; empty where it can."""
    return _engine.why_no_gpu()


def check_device(device: str) -> None:
    """Raise for what `prepare` would refuse as its device: `InputError` or `DeviceError`."""
    chosen_device(device)


def chosen_device(device: str) -> int | None:
    """None for the CPU, or the index of the GPU asked for.

    Raises `InputError` for a name that is neither ``cpu``, ``gpu`` nor ``gpu:N``, `DeviceError`
    where there is no such GPU.
    """
    if device == "cpu":
        return None
    match = re.fullmatch(r"gpu(?::(\d+))?", device) if isinstance(device, str) else None
    if match is None:
        raise InputError(f"device = {device!r}: it must be 'cpu', 'gpu' or 'gpu:N'.")
    index = int(match[1] or 0)
    there = gpus()
    if not there:
        raise DeviceError(f"device = {device!r}: {why_no_gpu()}.")
    if index >= len(there):
        raise DeviceError(f"device = {device!r}: there are {len(there)} GPUs, numbered from 0.")
    return index
