"""What do two ranks do that one does not? Ensemble designs, and a farm of individual designs.

Each repetition starts ``mpiexec`` with one rank and with two, and as many processes that know
nothing of each other, in turns: those are what the cores can do at best. In each process a short
campaign compiles what is needed; then comes the one that is timed, with all that a campaign does:
quenches, gradients, records brought to the disk. The processor time of all ranks over the wall time
of the timed part tells what waiting and communication cost; an empty round of work, timed by
itself, is the communication of a step. From a step's parts, measured on one rank, follows what many
ranks would take: `projected` says how.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import Contender, Report, Sample, parser, race

SHARED = """
[potential]
kind = "harmonic_morse"
diameters = [0.8, 1.0]
binding = 0.1
stiffness = 5.0
alpha = 6.0

[[objective]]
feature = "poisson_ratio"
target = {target}

[stop]
loss = 1e-30
steps = {steps}

[preparation]
n_particles = {n}
density = 1.6
seed = {seed}
replicas = {designs}

[design]
kind = "{kind}"
packings = {packings}
parameters = ["diameters", "binding"]
"""
CASES: dict[str, dict[str, Any]] = {
    "ensemble": {"kind": "ensemble", "packings": 32, "designs": 1, "target": 0.35},
    "ensemble of 8": {"kind": "ensemble", "packings": 8, "designs": 1, "target": 0.35},
    "farm": {"kind": "individual", "packings": 1, "designs": 32, "target": 0.4},
}


# Of a run beside its wall time: processor time of all ranks; an item that does nothing for each
# packing; the root's answer to a rank that asks for one.
PARTS = ("cpu", "empty round", "answer")

Times = list[tuple[float, list[float]]]


def inside(case: str, n: int, steps: int, seed: int) -> None:
    """On each rank: warm up, run, and print what the root found."""
    from amorph.campaigns.spread.starting import jax_on_one_thread

    jax_on_one_thread()
    from amorph.campaigns.spread.ranks import MPIRanks, world
    from amorph.campaigns.spread.teams import OneRank
    from amorph.campaigns.studies.files import parse_campaign
    from amorph.campaigns.studies.running import run_campaign, serve_campaign

    items: list[float] = []

    class Clocked(OneRank):
        """Notes how long each item takes."""

        def map(self, function: Any, shared: Any, given: Any) -> Any:
            def timed(shared: Any, item: Any) -> Any:
                began = time.perf_counter()
                found = function(shared, item)
                items.append(time.perf_counter() - began)
                return found

            return super().map(timed, shared, given)

    ranks = world()
    if ranks.size == 1:
        ranks = Clocked()

    def campaign(folder: Path, count: int) -> None:
        text = SHARED.format(**CASES[case], n=n, seed=seed, steps=count)
        if ranks.is_root:
            run_campaign(parse_campaign(text, case), text, folder, ranks=ranks)
        else:
            serve_campaign(ranks)

    with tempfile.TemporaryDirectory() as folder:
        campaign(Path(folder) / "warm", 2)
        together(ranks)
        items.clear()
        began, cpu = time.perf_counter(), time.process_time()
        campaign(Path(folder) / "timed", steps)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    spent = [cpu]
    idle = each = 0.0
    if isinstance(ranks, MPIRanks):
        from mpi4py import MPI

        spent = MPI.COMM_WORLD.gather(cpu, 0) or [cpu]
        each = answer(MPI.COMM_WORLD, 2000)
        if ranks.is_root:
            rounds = 200
            began = time.perf_counter()
            for _ in range(rounds):
                ranks.map(nothing, None, range(CASES[case]["packings"]))
            idle = (time.perf_counter() - began) / rounds
            ranks.dismiss()
        else:
            ranks.serve()
    if ranks.is_root:
        found = {"wall": wall, "cpu": sum(spent), "empty round": idle, "answer": each}
        print(json.dumps(found | {"items": items}))


def answer(comm: Any, many: int) -> float:
    """Seconds the root takes to give a waiting rank its next item: look, receive, send."""
    from mpi4py import MPI

    rank = comm.Get_rank()
    asked = [comm.isend(None, 0, 1) for _ in range(many)] if rank == 1 else []
    comm.Barrier()
    began = time.perf_counter()
    if rank == 0:
        for k in range(many):
            while not comm.iprobe(MPI.ANY_SOURCE, 1):
                pass
            comm.recv(source=1, tag=1)
            comm.send(k, 1, 2)
    took = time.perf_counter() - began
    for request in asked:
        comm.recv(source=0, tag=2)
        request.wait()
    comm.Barrier()
    return took / many


def together(ranks: Any) -> None:
    if ranks.size > 1:
        from mpi4py import MPI

        MPI.COMM_WORLD.Barrier()


def nothing(shared: None, item: int) -> int:
    """Work that takes no time."""
    return item


def contender(size: int, times: Times, case: str, n: int, steps: int, seed: int) -> Contender:
    """The case on so many ranks."""

    def run(i: int) -> Sample:
        command = _command(case, n, steps, seed + i)
        if size > 1:
            command = ["mpiexec", "-n", str(size), *command]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = _found(done.stdout)
        if size == 1:
            times.append((found["wall"], found["items"]))
        return Sample(found["wall"], 1.0, {k: found[k] for k in PARTS})

    return Contender(name(size), run)


def apart(size: int, case: str, n: int, steps: int, seed: int) -> Contender:
    """The whole case in each of several processes at once: what the cores can do at best."""

    def run(i: int) -> Sample:
        command = _command(case, n, steps, seed + i)
        jobs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(size)]
        found = [_found(job.communicate()[0]) for job in jobs]
        # Each did all of it: the time of one share.
        wall, cpu = (sum(f[k] for f in found) / size for k in ("wall", "cpu"))
        return Sample(wall / size, 1.0, dict.fromkeys(PARTS, 0.0) | {"cpu": cpu})

    return Contender(f"{size} apart", run)


def _command(case: str, n: int, steps: int, seed: int) -> list[str]:
    return [sys.executable, __file__, "--inside", case, str(n), str(steps), str(seed)]


def _found(printed: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    return found


def name(size: int) -> str:
    return f"{size} rank" + "s" * (size > 1)


def message_bytes(n: int, packings: int) -> dict[str, int]:
    """The bytes a step sends: the order to every rank, and each packing's result."""
    import numpy as np

    from amorph.bridge import Packing
    from amorph.campaigns.studies.design.members import Member, Order, fresh_member
    from amorph.campaigns.studies.files import parse_campaign

    text = SHARED.format(**CASES["ensemble of 8"], n=n, seed=0, steps=1)
    campaign = parse_campaign(text, "size")
    theta = campaign.potential.theta()
    order = (fresh_member, Order(campaign, theta, theta, 1), range(packings))
    box = (n / 1.6) ** 0.5 * np.eye(2)
    packing = Packing.of(
        np.zeros((n, 2)), np.zeros(n, dtype=int), box, images=np.zeros((n, 2), int)
    )
    slopes = {"diameters": np.zeros((1, 2)), "binding": np.zeros((1, 3))}
    results = {
        "the first packing's result": Member(packing, np.zeros(1), slopes),
        "another's": Member(None, np.zeros(1), slopes),
    }
    return {"order": len(pickle.dumps(order))} | {
        name: len(pickle.dumps(member)) for name, member in results.items()
    }


def projected(times: Times, steps: int, packings: int, ranks: int, per_item: float) -> float:
    """A step's speed-up over one rank, on paper.

    On one rank a step takes its packings' times, one after the other, and what the root does
    alone. On many the packings are handed out one at a time, to whoever is free first, and the
    root answers `per_item` seconds for each beyond the first of every rank. The packings' times
    are drawn from those measured; the largest of them is the floor.
    """
    import numpy as np

    items = np.concatenate([each for _, each in times])
    alone = sum(wall - sum(each) for wall, each in times) / (len(times) * steps)
    chance = np.random.default_rng(0)
    one = many = 0.0
    for _ in range(200):
        drawn = chance.choice(items, packings)
        free = [0.0] * ranks
        for k, item in enumerate(drawn):
            begins = heapq.heappop(free)
            if k >= ranks:
                begins = max(begins, (k - ranks + 1) * per_item)
            heapq.heappush(free, begins + item)
        one += drawn.sum() + alone
        many += max(free) + alone
    return one / many


def main() -> None:
    """Run the cases, print, write."""
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2], *map(int, sys.argv[3:6]))
        return
    options = parser(__doc__.splitlines()[0], n=368, repetitions=7)
    options.add_argument("--steps", type=int, default=20, help="of each design (%(default)s)")
    options.add_argument("--largest", type=int, default=2, help="ranks (%(default)s)")
    chosen = options.parse_args()
    if chosen.quick:
        chosen.n, chosen.steps, chosen.repetitions = 64, 3, 1
    report = Report("ranks", {"N": chosen.n, "steps": chosen.steps, "seed": chosen.seed})
    with tempfile.TemporaryDirectory() as compiled:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        for case in ("ensemble of 8",) if chosen.quick else CASES:
            compare(case, chosen, report)
    report.findings["bytes a step sends"] = message_bytes(chosen.n, 8)
    report.finish(chosen.json)


def compare(case: str, chosen: argparse.Namespace, report: Report) -> None:
    """One case: ranks against one and against processes apart; what follows for many ranks."""
    times: Times = []
    work = (case, chosen.n, chosen.steps, chosen.seed)
    one, more = 1, chosen.largest
    samples = race(
        [
            contender(one, times, *work),
            contender(more, times, *work),
            apart(more, *work),
        ],
        chosen.repetitions,
        what=case,
        warm_up=False,
    )
    report.add(case, samples, reference=name(more), bars={name(one): 1.9})
    share = [
        a.extra["cpu"] / b.extra["cpu"]
        for a, b in zip(samples[name(one)], samples[name(more)], strict=True)
    ]
    middle = sorted(share)[len(share) // 2]
    report.findings[f"{case}: processor time of one rank over that of all"] = middle
    if CASES[case]["kind"] == "ensemble":
        per_item = sum(s.extra["answer"] for s in samples[name(more)]) / chosen.repetitions
        for ranks in (2, 8, 64, 1024):
            for packings in sorted({CASES[case]["packings"], 8 * ranks}):
                found = projected(times, chosen.steps, packings, ranks, per_item)
                report.findings[f"{case}'s parts, {packings} packings on {ranks} ranks"] = found


if __name__ == "__main__":
    main()
