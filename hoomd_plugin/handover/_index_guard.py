"""Frames that were flushed outlive a disk that fills up while a GSD file's index grows.

gsd 5.0 does not look at whether its index could be moved to a larger place (`gsd_flush` drops the
result of `gsd_expand_file_index`): if there was no room for it, the newest entries go over the
oldest and what follows them, the whole file is lost, and no error is raised. Names of chunks that
could not be written are taken for written when it flushes again, as it does on closing. So all of
that is kept before it grows, the growth is checked, and what was kept is put back on failure.
"""

import errno
import os
import struct
from collections.abc import Collection
from pathlib import Path

import numpy as np

__all__ = ["IndexGuard"]

# https://gsd.readthedocs.io/en/stable/file-layer.html: magic; where the index begins and how many
# entries it has room for; the same of the list of names; the rest of 256 bytes.
_HEADER_BYTES = 256
_PLACES = struct.Struct("<8xQQQQ")
_ENTRY_BYTES = 32
_NAME_BYTES = 64
_LOCATION = 2  # of an entry's four 64-bit words; no chunk begins at byte 0


class IndexGuard:
    """Keeps what a growing index may destroy.

    Parameters
    ----------
    path:
        A GSD file, all its frames flushed.

    Raises
    ------
    OSError
        It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: list[tuple[int, bytes]] = []
        self._size = 0
        self._waiting = 0
        self._names: set[str] = set()
        self._new_names = False
        blocks = self._blocks()
        words = np.frombuffer(blocks[1][1], dtype="<u8").reshape(-1, _ENTRY_BYTES // 8)
        self._entries = int(np.count_nonzero(words[:, _LOCATION]))
        self._room = len(words)

    def written(self, chunks: Collection[str]) -> None:
        """Chunks of these names are given to gsd."""
        self._waiting += len(chunks)
        self._new_names |= not self._names.issuperset(chunks)
        self._names.update(chunks)

    def keep(self) -> None:
        """gsd is about to flush, or to close; raises `OSError`."""
        grows = self._new_names or self._entries + self._waiting > self._room
        if grows and not self._kept:  # else a flush has failed already
            self._size = os.stat(self._path).st_size
            self._kept = self._blocks()

    def flushed(self) -> None:
        """gsd has flushed without an error; raises `OSError` if its index had no room for that."""
        self._entries += self._waiting
        self._waiting = 0
        self._new_names = False
        if self._kept:
            with self._path.open("rb") as file:
                self._room = _PLACES.unpack_from(file.read(_HEADER_BYTES))[1]
            if self._entries > self._room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            self._kept = []

    def put_back(self) -> None:
        """Make the file what it was at the last flush; raises `OSError`.

        Only what stands in the file already is written over, which needs no room.
        """
        if not self._kept:
            return
        with self._path.open("r+b") as file:
            for at, block in self._kept:
                file.seek(at)
                file.write(block)
            file.flush()
            os.ftruncate(file.fileno(), self._size)
            os.fsync(file.fileno())

    def _blocks(self) -> list[tuple[int, bytes]]:
        """The header, what the index may write over, the names: each with where it begins."""
        with self._path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
            index, entries, names, name_room = _PLACES.unpack_from(header)
            blocks = [(0, header)]
            entries = max(entries, self._waiting)
            for at, size in ((index, entries * _ENTRY_BYTES), (names, name_room * _NAME_BYTES)):
                file.seek(at)
                blocks.append((at, file.read(size)))
        return blocks
