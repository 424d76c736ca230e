"""Frames on disk: shards of them, a manifest of their checksums, and `run.gsd`.

A shard is a GSD file of up to `FRAMES_PER_SHARD` steps; the manifest gets a line for each
frame once the frame is on disk. Steps faster than `SYNC_EVERY` come to the disk together: three
fsyncs a step of a thousand designs at once are more than a shared file system bears. `run.gsd` is
put together from the shards and replaces the last one atomically. What a kill leaves behind is
always a sequence of whole frames, of which those since the last sync have to be computed anew; a
shard that does not hold what the manifest says is set aside under another name, never mended in
silence.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from amorph.handover import (
    EmptyFileError,
    Frame,
    FrameError,
    GSDWriter,
    OutputError,
    checksum,
    count_frames,
    read_gsd,
    write_gsd,
)

from ..errors import RecordError
from .durable import remove_partials
from .manifest import Manifest

__all__ = ["FRAMES_PER_SHARD", "RunRecord"]

FRAMES_PER_SHARD = 64
# The longest time that frames wait for others to come to the disk with, s.
SYNC_EVERY = 0.5


class RunRecord:
    """The durable record of steps, a frame each, of one who has the directory's lock.

    Use as a context manager. `frames` is how many frames there are, `last` the newest of them,
    `failed` whether something could not be written: then the record has to be opened anew.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.shards = directory / "shards"
        self._manifest = Manifest(directory / "manifest.jsonl")
        self.frames = 0
        self.last: Frame | None = None
        self.failed = False
        self._writer: GSDWriter | None = None
        self._waiting: list[dict[str, Any]] = []
        self._synced = -SYNC_EVERY
        self.shards.mkdir(parents=True, exist_ok=True)
        remove_partials(directory, "*.gsd", "manifest.jsonl")
        remove_partials(self.shards, "*.gsd")
        self._recover()

    def __enter__(self) -> Self:
        """The record itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files."""
        self.close()

    def _shard(self, number: int) -> Path:
        return self.shards / f"{number:06d}.gsd"

    @property
    def notes(self) -> list[str]:
        """What was found damaged and set aside when the record was opened."""
        return self._manifest.notes

    def _checksums(self) -> list[str]:
        """The manifest's checksums, in order, up to the first line that is not whole."""

        def understood(entry: Any, number: int) -> str:
            if int(entry["frame"]) != number:
                raise ValueError
            return str(entry["checksum"])

        return self._manifest.read(understood)

    def _recover(self) -> None:
        """Find out which frames are safe, and set the others aside."""
        sums = self._checksums()
        present = sorted(self.shards.glob("[0-9]*.gsd"))
        safe = 0
        intact = True
        for number, path in enumerate(present):
            if not intact or path != self._shard(number):
                self._manifest.set_aside(path, "it follows a damaged or missing shard")
                intact = False
                continue
            expected = sums[number * FRAMES_PER_SHARD : (number + 1) * FRAMES_PER_SHARD]
            good, more, reason = self._verify(path, expected)
            safe += len(good)
            if good:
                self.last = good[-1]
            if reason is not None:
                self._manifest.set_aside(path, reason)
            if good and (more or reason is not None):
                write_gsd(path, good, overwrite=True)
            elif not good and reason is None:
                path.unlink()
            intact = len(good) == FRAMES_PER_SHARD and not more and reason is None
        self.frames = safe
        if not self._manifest.holds(safe):
            self._manifest.rewrite(_entry(k, sum_) for k, sum_ in enumerate(sums[:safe]))
        partial = safe % FRAMES_PER_SHARD
        if partial:
            self._writer = GSDWriter(self._shard(safe // FRAMES_PER_SHARD), mode="append")
        self._manifest.open()

    def _verify(self, path: Path, expected: list[str]) -> tuple[list[Frame], bool, str | None]:
        """The frames that the manifest knows, whether there are more, and the damaged files.

        Frames past the manifest were being written when the run ended: they are made anew. A shard
        that holds frames, none of which is in the manifest, counts as damaged: the manifest may be
        what was lost.
        """
        good: list[Frame] = []
        try:
            for frame in read_gsd(path):
                if len(good) == len(expected):
                    return good, True, None if good else "none of its frames was recorded"
                if checksum(frame) != expected[len(good)]:
                    return good, False, f"frame {len(good)} is not what was written"
                good.append(frame)
        except EmptyFileError as error:
            return good, False, str(error) if expected else None
        except FrameError as error:
            return good, False, str(error)
        if len(good) < len(expected):
            return good, False, f"it holds {len(good)} of {len(expected)} frames"
        return good, False, None

    def append(self, frame: Frame) -> None:
        """Add a frame, which is safe after `sync`; that is done here every `SYNC_EVERY` seconds.

        Raises `OutputError` if it cannot be written; what came after the last sync is lost then.
        """
        with self._failing():
            if self._writer is None:
                self._writer = GSDWriter(self._shard(self.frames // FRAMES_PER_SHARD))
            self._writer.append(frame)
        self._waiting.append(_entry(self.frames, checksum(frame)))
        self.frames += 1
        self.last = frame
        full = self.frames % FRAMES_PER_SHARD == 0
        if full or time.monotonic() - self._synced >= SYNC_EVERY:
            self.sync()
        if full:
            self._writer.close()
            self._writer = None

    def sync(self) -> None:
        """Bring every frame to the disk: in its shard first, then in the manifest."""
        if not self._waiting or self.failed:
            return
        assert self._writer is not None
        with self._failing():
            self._writer.flush()
            self._manifest.add(self._waiting)
        self._waiting.clear()
        self._synced = time.monotonic()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Mark the record as failed where writing raises."""
        try:
            yield
        except BaseException as error:
            self.failed = True
            if isinstance(error, OSError) and not isinstance(error, OutputError):
                message = f"{self._manifest.path}: cannot be written: {error.strerror}."
                raise OutputError(message) from error
            raise

    def read(self) -> Iterator[Frame]:
        """All frames, in order."""
        self.sync()
        for number in range(-(-self.frames // FRAMES_PER_SHARD)):
            yield from read_gsd(self._shard(number))

    def publish(self) -> Path:
        """Put `run.gsd` together from the shards; the old one stays until the new one is whole."""
        if self.frames == 0:
            raise RecordError(f"{self.directory}: there is no frame to publish yet.")
        path = self.directory / "run.gsd"
        write_gsd(path, self.read(), overwrite=True)
        return path

    def published(self) -> bool:
        """Whether `run.gsd` is there and has every frame; what stands in them is not compared."""
        try:
            return count_frames(self.directory / "run.gsd") == self.frames
        except FrameError:
            return False

    def close(self) -> None:
        """Bring what there is to the disk, and close the files."""
        try:
            self.sync()
        finally:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()
            with contextlib.suppress(OSError):  # `sync` has told
                self._manifest.close()


def _entry(number: int, sum_: str) -> dict[str, Any]:
    return {"frame": number, "checksum": sum_}
