"""A design on disk: shards of frames, a manifest of their checksums, and `run.gsd`.

A shard is a GSD file of up to `FRAMES_PER_SHARD` design steps; the manifest gets a line for each
frame once the frame is on disk. Steps faster than `SYNC_EVERY` come to the disk together: three
fsyncs a step of a thousand designs at once are more than a shared file system bears. `run.gsd` is
put together from the shards and replaces the last one atomically. What a kill leaves behind is
always a sequence of whole frames, of which those since the last sync have to be computed anew; a
shard that does not hold what the manifest says is set aside under another name, never mended in
silence.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

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
from .durable import flushed, locked, remove_partials, set_aside, written_whole

__all__ = ["FRAMES_PER_SHARD", "UNFINISHED", "RunRecord", "read_outcome"]

FRAMES_PER_SHARD = 64
# The longest time that frames wait for others to come to the disk with, s.
SYNC_EVERY = 0.5

# The statuses of a design that has not ended: at work or killed; told to stop by a signal or limit.
UNFINISHED = ("running", "stopped")
OUTCOME_KEYS = ("feature", "target", "status", "initial", "value")


class RunRecord:
    """The durable record of one design, open for writing by one process at a time.

    Use as a context manager. `frames` is how many frames there are, `last` the newest of them,
    `notes` what was found damaged and set aside when the record was opened, `failed` whether
    something could not be written: then the record has to be opened anew.

    Raises
    ------
    RunningError
        If another process has the directory open.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.shards = directory / "shards"
        self.manifest = directory / "manifest.jsonl"
        self.frames = 0
        self.last: Frame | None = None
        self.notes: list[str] = []
        self.failed = False
        self._writer: GSDWriter | None = None
        self._manifest_file: Any = None
        self._waiting: list[bytes] = []
        self._synced = -SYNC_EVERY
        self.shards.mkdir(parents=True, exist_ok=True)
        self._lock = locked(directory)
        try:
            remove_partials(directory, "*.gsd", "design.json", "manifest.jsonl", "validation*")
            remove_partials(self.shards, "*.gsd")
            self._recover()
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        """The record itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files and release the directory."""
        self.close()

    def _shard(self, number: int) -> Path:
        return self.shards / f"{number:06d}.gsd"

    def _checksums(self) -> list[str]:
        """The manifest's checksums, in order, up to the first line that is not whole."""
        found: list[str] = []
        if not self.manifest.exists():
            return found
        for line in self.manifest.read_bytes().split(b"\n")[:-1]:
            try:
                entry = json.loads(line)
                number, sum_ = int(entry["frame"]), str(entry["checksum"])
            except (ValueError, KeyError, TypeError):
                break
            if number != len(found):
                break
            found.append(sum_)
        return found

    def _recover(self) -> None:
        """Find out which frames are safe, and set the others aside."""
        sums = self._checksums()
        present = sorted(self.shards.glob("[0-9]*.gsd"))
        safe = 0
        intact = True
        for number, path in enumerate(present):
            if not intact or path != self._shard(number):
                self._set_aside(path, "it follows a damaged or missing shard")
                intact = False
                continue
            expected = sums[number * FRAMES_PER_SHARD : (number + 1) * FRAMES_PER_SHARD]
            good, more, reason = self._verify(path, expected)
            safe += len(good)
            if good:
                self.last = good[-1]
            if reason is not None:
                self._set_aside(path, reason)
            if good and (more or reason is not None):
                write_gsd(path, good, overwrite=True)
            elif not good and reason is None:
                path.unlink()
            intact = len(good) == FRAMES_PER_SHARD and not more and reason is None
        self.frames = safe
        if len(sums) != safe or (self.manifest.exists() and not sums):
            self._rewrite_manifest(sums[:safe])
        partial = safe % FRAMES_PER_SHARD
        if partial:
            self._writer = GSDWriter(self._shard(safe // FRAMES_PER_SHARD), mode="append")
        self._manifest_file = self.manifest.open("ab")

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

    def _set_aside(self, path: Path, reason: str) -> None:
        aside = set_aside(path)
        self.notes.append(f"{path.name} was set aside as {aside.name}: {reason}")

    def _rewrite_manifest(self, sums: list[str]) -> None:
        with written_whole(self.manifest) as partial:
            partial.write_bytes(b"".join(_line(k, sum_) for k, sum_ in enumerate(sums)))

    def append(self, frame: Frame) -> None:
        """Add a frame, which is safe after `sync`; that is done here every `SYNC_EVERY` seconds.

        Raises `OutputError` if it cannot be written; what came after the last sync is lost then.
        """
        with self._failing():
            if self._writer is None:
                self._writer = GSDWriter(self._shard(self.frames // FRAMES_PER_SHARD))
            self._writer.append(frame)
        self._waiting.append(_line(self.frames, checksum(frame)))
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
            self._manifest_file.write(b"".join(self._waiting))
            flushed(self._manifest_file)
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
                message = f"{self.manifest}: cannot be written: {error.strerror}."
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
        """Bring what there is to the disk, close the files and release the directory."""
        try:
            self.sync()
        finally:
            writer, self._writer = self._writer, None
            manifest, self._manifest_file = self._manifest_file, None
            if writer is not None:
                writer.close()
            if manifest is not None:
                with contextlib.suppress(OSError):  # `sync` has told
                    manifest.close()
            self._lock.close()


def read_outcome(path: Path) -> dict[str, Any]:
    """A design's ``design.json``; raises `RecordError` if it is not what a run writes."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: cannot be read as JSON: {error}.") from error
    missing = [k for k in OUTCOME_KEYS if not isinstance(loaded, dict) or k not in loaded]
    if missing:
        raise RecordError(
            f"{path}: lacks {', '.join(missing)}, so it is no design's record. It is written by "
            "`amorph run`: resume the run to have it made anew."
        )
    out: dict[str, Any] = loaded
    n_features, n_targets = np.size(out["feature"]), np.size(out["target"])
    if n_features != n_targets:
        raise RecordError(
            f"{path}: names {n_features} features but {n_targets} targets: a design has one of "
            "each for every objective. Resume the run to have it made anew."
        )
    return out


def _line(number: int, sum_: str) -> bytes:
    return json.dumps({"frame": number, "checksum": sum_}).encode() + b"\n"
