"""One frame of an open GSD file, chunk by chunk, with or without gsd's inheritance from frame 0."""

from typing import Any

import gsd.fl
import numpy as np
from numpy.typing import NDArray

from .errors import CorruptFrameError, NotGSDError

__all__ = ["FrameChunks"]


class FrameChunks:
    """The chunks of frame ``index`` of an open file; ``source`` names the file in errors."""

    def __init__(self, file: "gsd.fl.GSDFile", source: str, index: int) -> None:
        self.file = file
        self.source = source
        self.index = index

    @property
    def where(self) -> str:
        """The file and frame, as error messages name them."""
        return f"{self.source}, frame {self.index}"

    def own(self, name: str) -> NDArray[Any] | None:
        """What stands in this very frame, or None: nothing is inherited."""
        return self._read(self.index, name)

    def inherited(self, name: str) -> NDArray[Any] | None:
        """What stands in this frame, else in frame 0, as the schema has it; or None."""
        own = self._read(self.index, name)
        return own if own is not None else self._read(0, name)

    def own_names(self, prefix: str) -> list[str]:
        """The names that start with ``prefix`` and stand in this very frame, sorted."""
        try:
            names = self.file.find_matching_chunk_names(prefix)
        except UnicodeDecodeError as error:
            raise NotGSDError(
                f"{self.source}: a chunk's name cannot be read ({error}): the file is damaged. "
                "Copy it again from its origin, or make it anew."
            ) from error
        return sorted(n for n in names if self.file.chunk_exists(frame=self.index, name=n))

    def _read(self, frame: int, name: str) -> NDArray[Any] | None:
        if not self.file.chunk_exists(frame=frame, name=name):
            return None
        try:
            return np.asarray(self.file.read_chunk(frame=frame, name=name))
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            raise CorruptFrameError(
                f"{self.source}, frame {frame}: '{name}' cannot be read ({error}): the file is "
                "damaged or was cut short. Copy it again from its origin, or make it anew."
            ) from error
