"""Checksums of frames: whether what was read is what was written."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from .arguments import check_kind
from .errors import CorruptFrameError
from .frame import Frame

__all__ = ["checksum", "verify_checksum"]


def checksum(frame: Frame) -> str:
    """The SHA-256 of a frame's content, 64 hexadecimal digits, the same in every process.

    It covers every array (name, type, shape and bytes), the names of the types and the
    potential, whatever order parameters and log were given in; not where the frame was read.
    Two frames have the same checksum if they are equal to the last bit: -0.0 is not 0.0.
    """
    check_kind("frame", frame, Frame, "an amorph.handover.Frame")
    digest = hashlib.sha256()

    def add(name: str, array: NDArray[np.generic] | None) -> None:
        if array is None:
            _add_bytes(digest, name, "none", b"")
            return
        # Little-endian everywhere, so that a manifest can move between machines.
        portable = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        head = f"{portable.dtype.str}{portable.shape}"
        _add_bytes(digest, name, head, portable.tobytes())

    _add_bytes(digest, "schema", "", b"amorph frame 1")
    add("positions", frame.positions)
    add("typeid", frame.typeid)
    for name in frame.types:
        _add_bytes(digest, "type", "", name.encode())
    add("box", frame.box)
    _add_bytes(digest, "potential", "", (frame.potential or "").encode())
    add("images", frame.images)
    add("bonds", frame.bonds)
    for key in sorted(frame.parameters):
        add(f"parameters/{key}", frame.parameters[key])
    for key in sorted(frame.log):
        add(f"log/{key}", frame.log[key])
    return digest.hexdigest()


def _add_bytes(digest: "hashlib._Hash", name: str, head: str, body: bytes) -> None:
    # Each part is preceded by its length, so that no two frames run together to the same bytes.
    for part in (name.encode(), head.encode(), body):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)


def verify_checksum(frame: Frame, expected: str) -> None:
    """Raise `CorruptFrameError` if a frame's checksum is not the one that was noted down."""
    found = checksum(frame)
    if found != expected:
        raise CorruptFrameError(
            f"{frame.where}: the checksum is {found}, but {expected} was noted when it was "
            "written: the file was damaged or altered since. Set it aside and make the frame anew."
        )
