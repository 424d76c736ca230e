"""What a design leaves on disk: shards of frames, a manifest of their checksums, and `run.gsd`.

A shard is a GSD file of up to `FRAMES_PER_SHARD` design steps, flushed at each; the manifest gets
a line for each frame once the frame is on disk. `run.gsd` is put together from the shards and
replaces the last one atomically. What a kill leaves behind is always a sequence of whole frames,
some of which may have to be computed anew; a shard that does not hold what the manifest says is
set aside under another name, never mended in silence.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from amorph.handover import Frame, FrameError, GSDWriter, checksum, read_gsd, write_gsd

from .durable import flushed, locked, set_aside, written_whole
from .errors import RecordError

__all__ = ["FRAMES_PER_SHARD", "RunRecord", "read_outcome"]

FRAMES_PER_SHARD = 64

OUTCOME_KEYS = ("feature", "target", "status", "initial", "value")


class RunRecord:
    """The durable record of one design, open for writing by one process at a time.

    Use as a context manager. `frames` is how many frames are safe, `last` the newest of them,
    `notes` what was found damaged and set aside when the record was opened.

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
        self._writer: GSDWriter | None = None
        self._manifest_file: Any = None
        self.shards.mkdir(parents=True, exist_ok=True)
        self._lock = locked(directory)
        try:
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
        """Find out which frames are safe, and set aside what is not."""
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
            good, reason = self._verify(path, expected)
            safe += len(good)
            if good:
                self.last = good[-1]
            if reason is not None:
                intact = False
                self._set_aside(path, reason)
                if good:
                    write_gsd(path, good, overwrite=True)
            elif len(good) < FRAMES_PER_SHARD:
                intact = False
        self.frames = safe
        if len(sums) != safe or (self.manifest.exists() and not sums):
            self._rewrite_manifest(sums[:safe])
        partial = safe % FRAMES_PER_SHARD
        if partial:
            self._writer = GSDWriter(self._shard(safe // FRAMES_PER_SHARD), mode="append")
        self._manifest_file = self.manifest.open("ab")

    def _verify(self, path: Path, expected: list[str]) -> tuple[list[Frame], str | None]:
        """The frames of a shard that are what the manifest says, and what is wrong with the rest.

        Frames past the manifest were being written when the run ended: they are made anew, as
        any frame whose checksum was never recorded.
        """
        good: list[Frame] = []
        try:
            for frame in read_gsd(path):
                if len(good) == len(expected):
                    return good, "it ends with a frame that was not recorded"
                if checksum(frame) != expected[len(good)]:
                    return good, f"frame {len(good)} is not what was written"
                good.append(frame)
        except FrameError as error:
            return good, str(error)
        if len(good) < len(expected):
            return good, f"it holds {len(good)} of {len(expected)} frames"
        return good, None

    def _set_aside(self, path: Path, reason: str) -> None:
        aside = set_aside(path)
        self.notes.append(f"{path.name} was set aside as {aside.name}: {reason}")

    def _rewrite_manifest(self, sums: list[str]) -> None:
        with written_whole(self.manifest) as partial:
            partial.write_bytes(b"".join(_line(k, sum_) for k, sum_ in enumerate(sums)))

    def append(self, frame: Frame) -> None:
        """Make a frame durable: in its shard first, then in the manifest."""
        if self.frames % FRAMES_PER_SHARD == 0:
            if self._writer is not None:
                self._writer.close()
            self._writer = GSDWriter(self._shard(self.frames // FRAMES_PER_SHARD))
        assert self._writer is not None
        self._writer.append(frame)
        self._writer.flush()
        self._manifest_file.write(_line(self.frames, checksum(frame)))
        flushed(self._manifest_file)
        self.frames += 1
        self.last = frame

    def read(self) -> Iterator[Frame]:
        """All safe frames, in order."""
        for number in range(-(-self.frames // FRAMES_PER_SHARD)):
            yield from read_gsd(self._shard(number))

    def publish(self) -> Path:
        """Put `run.gsd` together from the shards; the old one stays until the new one is whole."""
        if self.frames == 0:
            raise RecordError(f"{self.directory}: there is no frame to publish yet.")
        path = self.directory / "run.gsd"
        write_gsd(path, self.read(), overwrite=True)
        return path

    def close(self) -> None:
        """Close the files and release the directory."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._manifest_file is not None:
            self._manifest_file.close()
            self._manifest_file = None
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
