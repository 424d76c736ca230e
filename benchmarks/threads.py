"""How much faster are two threads than one? A batch on both, and the idle tail of a large batch.

Two questions, each by pairs of runs of the same work, in an order that changes. A batch on one
thread and on more: wall-clock times over each other; beside them the share of the threads' time
that was spent computing (where it falls short of one, threads waited, or other programs had the
cores), and how much processor time the work took on one thread over that on more (below one,
the threads hindered each other). And a large batch on those threads against its replicas on one
thread, one a call or together: what remains of the ideal when a thread waits for another's last
replica.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from common import CORES, OURS, Contender, Report, Sample, parser, race, two_types
from numpy.typing import NDArray
from peers import PeerMissing
from peers.formulas import HarmonicMorse

DENSITY = 1.6
SPEEDUP_BAR, TAIL_BAR = 1.9, 0.97

Starts = NDArray[np.float64]
Quench = Callable[[Starts, int], int]


def quencher(n: int, tolerance: float) -> Quench:
    """A function that quenches starts (R, N, 2) on some threads and tells how many converged."""
    try:
        from amorph import ensemble
    except ImportError as error:
        raise PeerMissing(OURS, str(error)) from error
    potential, typeid = HarmonicMorse(), two_types(n)
    box = float((n / DENSITY) ** 0.5) * np.eye(2)

    def quench(starts: Starts, threads: int) -> int:
        done = ensemble.minimize(
            potential, starts, typeid, box, tolerance=tolerance, threads=threads
        )
        return int(done.converged.sum())

    return quench


def random_starts(n: int, count: int, seed: int) -> Starts:
    """Random positions, shape (count, N, 2)."""
    length = float((n / DENSITY) ** 0.5)
    return np.random.default_rng(seed).uniform(size=(count, n, 2)) * length


def timed(work: Callable[[], int], replicas: int, threads: int) -> Sample:
    """Time a piece of work; per replica in wall-clock time, with what the processor was used."""
    cpu, wall = time.process_time(), time.perf_counter()
    converged = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    extra = {"processor time": cpu / replicas, "share computing": cpu / (threads * wall)}
    return Sample(wall / replicas, converged / replicas, extra)


def batch_on_threads(report: Report, n: int, count: int, repetitions: int, seed: int) -> None:
    """The same batch on one thread and on ``report.settings["threads"]``."""
    threads = int(report.settings["threads"])
    quench = quencher(n, 1e-10)
    starts = random_starts(n, count, seed)

    def on(k: int) -> Callable[[int], Sample]:
        return lambda i: timed(lambda: quench(starts, k), count, k)

    one, more = "1 thread", f"{threads} threads"
    case = f"{count} quenches, N = {n}"
    samples = race([Contender(one, on(1)), Contender(more, on(threads))], repetitions, what=case)
    bars = {one: SPEEDUP_BAR} if threads == 2 else {}
    report.add(case, samples, bars=bars, reference=more)
    work = [
        a.extra["processor time"] / b.extra["processor time"]
        for a, b in zip(samples[one], samples[more], strict=True)
    ]
    report.findings[f"{case}: processor time on 1 thread over {threads}"] = float(np.median(work))


def idle_tail(report: Report, n: int, count: int, repetitions: int, seed: int) -> None:
    """A large batch on all threads against its replicas on one: thread-seconds a quench.

    On one thread they run one a call, and together: a call costs something too, which the batch
    on all threads saves.
    """
    threads = int(report.settings["threads"])
    quench = quencher(n, 1e-10)
    starts = random_starts(n, count, seed)

    def batch(_: int) -> Sample:
        one = timed(lambda: quench(starts, threads), count, threads)
        return Sample(threads * one.value, one.converged, one.extra)

    def single(_: int) -> Sample:
        return timed(lambda: sum(quench(start[None], 1) for start in starts), count, 1)

    def batch_on_one(_: int) -> Sample:
        return timed(lambda: quench(starts, 1), count, 1)

    together = f"a batch on {threads} threads"
    alone, serial = "one a call on 1 thread", "a batch on 1 thread"
    case = f"idle tail: {count} quenches, N = {n}, thread-seconds"
    contenders = [
        Contender(together, batch),
        Contender(alone, single),
        Contender(serial, batch_on_one),
    ]
    report.add(
        case,
        race(contenders, repetitions, what=case, warm_up=False),
        bars={alone: TAIL_BAR, serial: TAIL_BAR},
        reference=together,
    )


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__.splitlines()[0], n=368, repetitions=15)
    options.add_argument("--replicas", type=int, default=64, help="in a batch (%(default)s)")
    options.add_argument("--threads", type=int, default=2, help="against one (%(default)s)")
    options.add_argument("--tail-n", type=int, default=128, help="particles (%(default)s)")
    options.add_argument(
        "--tail-replicas", type=int, default=1000, help="in the large batch (%(default)s)"
    )
    chosen = options.parse_args()
    if chosen.threads > CORES:
        options.error(f"--threads {chosen.threads}: this process may use {CORES} cores")
    pairs, tails = (5, 3) if chosen.quick else (chosen.repetitions, 7)
    report = Report("threads", {"threads": chosen.threads, "alpha": 6.0, "density": DENSITY})
    try:
        batch_on_threads(report, chosen.n, chosen.replicas, pairs, chosen.seed)
        idle_tail(report, chosen.tail_n, chosen.tail_replicas, tails, chosen.seed)
    except PeerMissing as absent:
        report.missing.append({"who": absent.peer, "message": str(absent)})
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
