"""Ensembles that go to a GSD file while they are computed, in bounded memory."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np

from amorph.handover import GSDWriter, InputError, OutputExistsError, count_frames, read_gsd
from amorph.handover.arguments import check_kind, count, file_path
from amorph.handover.showing import shown

from .result import Ensemble

__all__ = ["Streamed", "stream_to_gsd"]

Progress = Callable[[int, int], object]
Make = Callable[[int, int, Progress], Ensemble]

_SECONDS_A_BATCH = 5.0
_BYTES_A_BATCH = 2**26
_MOST_FAILURES = 100


class _Stopped(Exception):
    """Raised inside the engine's call for progress, to end it."""


@dataclass
class Streamed:
    """What went to the file.

    Attributes
    ----------
    computed, written, found:
        How many replicas were computed now, how many frames written now, and how many were there.
    ok:
        How many of those computed went through all their stages.
    energy_per_particle, pressure:
        Means over the replicas computed whose energy is finite.
    failures:
        A line for each replica that failed, the first 100.
    """

    computed: int = 0
    written: int = 0
    found: int = 0
    ok: int = 0
    energy_per_particle: float = 0.0
    pressure: float = 0.0
    failures: list[str] = field(default_factory=list)
    _measured: int = 0

    def __repr__(self) -> str:
        return shown(
            f"Streamed: {self.computed} replicas computed, {self.written} frames written",
            [
                ("went through", f"{self.ok} of {self.computed}"),
                ("there before", f"{self.found} frames" if self.found else ""),
                ("energy", f"{self.energy_per_particle:.6g} a particle, mean"),
                ("pressure", f"{self.pressure:.6g}, mean"),
                ("failures", "; ".join(self.failures[:3])),
            ],
        )

    def add(self, batch: Ensemble) -> None:
        """Count a batch in."""
        measured = np.isfinite(batch.energy)
        n = int(measured.sum())
        if n:
            self._measured += n
            part = n / self._measured
            energy = float(np.mean(batch.energy[measured])) / batch.positions.shape[1]
            self.energy_per_particle += part * (energy - self.energy_per_particle)
            if batch.stress is not None:
                self.pressure += part * (float(np.mean(batch.pressure[measured])) - self.pressure)
        self.computed += len(batch)
        self.ok += int(batch.ok.sum())
        self.failures += batch.failures()[: _MOST_FAILURES - len(self.failures)]


def stream_to_gsd(
    path: str | PathLike[str],
    make: Make,
    replicas: int,
    *,
    first_replica: int = 0,
    append: bool = False,
    batch: int | None = None,
    each: Callable[[Ensemble], object] | None = None,
    progress: Progress | None = None,
) -> Streamed:
    """Compute replicas batch by batch, and add each batch to a GSD file while the next is computed.

    Frames stand in the order of the replicas. The file bears its name from the start: it is whole
    up to the last batch at any time, after a kill too, and holds the same frames however the work
    was divided.

    Parameters
    ----------
    path:
        The file.
    make:
        Called as make(first, count, progress): prepares replicas first, first + 1, ..., with
        ``first_replica=first`` and the progress given handed on.
    replicas, first_replica:
        How many, and the number of the first.
    append:
        Go on after the last replica of the file, if there is one; else a file that exists is
        refused.
    batch:
        Replicas a batch; by default as many as take about 5 seconds, and at most 64 MiB.
    each:
        Called with every batch once it is in the file.
    progress:
        Called as progress(done, replicas), those found in the file included.

    Raises
    ------
    OutputExistsError, OutputError
        The file exists (without ``append``), or cannot be written: what was flushed before is in
        it.
    InputError
        The file to append to holds another ensemble: other parameters, seed or replicas.
    FrameError
        It cannot be read.
    """
    total = count("replicas", replicas)
    target = file_path("path", path)
    check_kind("make", make, Callable, "a function make(first, count, progress)")
    count("first_replica", first_replica, least=0, below=2**32)
    if batch is not None:
        count("batch", batch)
    if target.exists() and not append:
        raise OutputExistsError(
            f"{target} exists: append to it, choose another name, or remove it."
        )
    result = Streamed()
    start = first_replica
    if target.exists():
        result.found = count_frames(target)
        last = list(read_gsd(target, slice(result.found - 1, result.found), need_potential=False))
        start = _replica_of(target, last[0].log) + 1
        if not first_replica < start <= first_replica + total:
            raise InputError(
                f"{target} ends with replica {start - 1}: to append, it must be one of the "
                f"{total} replicas from {first_replica} on."
            )
    end = first_replica + total
    stop = threading.Event()
    done_before = start - first_replica

    def run(first: int, number: int) -> tuple[Ensemble, float]:
        def report(done: int, _: int) -> None:
            if stop.is_set():
                raise _Stopped
            if progress is not None:
                progress(first - first_replica + done, total)

        began = time.perf_counter()
        made = make(first, number, report)
        return made, time.perf_counter() - began

    size = batch if batch is not None else 16
    with ThreadPoolExecutor(1, "amorph-ensemble") as worker:
        writer: GSDWriter | None = None
        try:
            pending: Future[tuple[Ensemble, float]] | None = None
            if start < end:
                pending = worker.submit(run, start, min(size, end - start))
                start += min(size, end - start)
            elif progress is not None:
                progress(done_before, total)
            while pending is not None:
                made, seconds = pending.result()
                pending = None
                if batch is None:
                    size = _next_size(size, made, seconds)
                if start < end:
                    pending = worker.submit(run, start, min(size, end - start))
                    start += min(size, end - start)
                if writer is None:
                    if result.found:
                        _check_same(target, made)
                    writer = GSDWriter(target, mode="append" if result.found else "new")
                for frame in made.frames():
                    writer.append(frame)
                    result.written += 1
                writer.flush()
                result.add(made)
                if each is not None:
                    each(made)
        finally:
            stop.set()
            if writer is not None:
                writer.close()
    return result


def _next_size(size: int, made: Ensemble, seconds: float) -> int:
    """Twice or half as many replicas until a batch takes some seconds, within bounded memory."""
    bytes_each = made.positions.nbytes / len(made)
    if made.velocities is not None:
        bytes_each *= 2
    if made.trajectory is not None:
        bytes_each += made.trajectory.positions.nbytes / len(made)
    most = max(16, int(_BYTES_A_BATCH / bytes_each))
    if seconds < 0.5 * _SECONDS_A_BATCH:
        size *= 2
    elif seconds > 2 * _SECONDS_A_BATCH:
        size = max(16, size // 2)
    return min(size, most)


def _replica_of(path: Path, log: Mapping[str, object]) -> int:
    value = np.asarray(log.get("replica", ())).reshape(-1)
    if value.size != 1:
        raise InputError(f"{path}: its frames have no replica numbers: it cannot be appended to.")
    return int(value[0])


def _check_same(path: Path, made: Ensemble) -> None:
    """Whether the file's first frame and a new one belong together."""
    old = next(read_gsd(path, slice(0, 1)))
    new = next(iter(made.frames()), None)
    if new is None:
        return
    for what, there, here in (
        ("potential", old.potential, new.potential),
        ("number of particles", len(old.positions), len(new.positions)),
        ("dimension", old.positions.shape[1], new.positions.shape[1]),
        ("seed", _one(old.log.get("seed")), _one(new.log.get("seed"))),
        ("tolerance", _one(old.log.get("tolerance")), _one(new.log.get("tolerance"))),
    ):
        if there != here:
            raise InputError(
                f"{path} holds another ensemble: its {what} is {there}, that of the new replicas "
                f"{here}. Write to another file."
            )
    if len(made.parameters) == 1:
        for name, values in new.parameters.items():
            if not np.array_equal(values, old.parameters[name]):
                raise InputError(
                    f"{path} holds another ensemble: its {name} is "
                    f"{old.parameters[name].tolist()}, that of the new replicas "
                    f"{values.tolist()}. Write to another file."
                )


def _one(value: object) -> object:
    return None if value is None else np.asarray(value).reshape(-1)[0].item()
