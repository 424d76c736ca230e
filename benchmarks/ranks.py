"""What do two ranks do that one does not? An ensemble design, and a farm of individual designs.

Each repetition starts ``mpiexec`` with one rank and with two, in turns. In each process a short
campaign compiles what is needed; then comes the one that is timed, with all that a campaign does:
quenches, gradients, records brought to the disk. The processor time of all ranks over the wall time
of the timed part tells what waiting and communication cost; an empty round of work, timed by
itself, is the communication of a step.
"""

from __future__ import annotations

import json
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
    "farm": {"kind": "individual", "packings": 1, "designs": 16, "target": 0.4},
}


def inside(case: str, n: int, steps: int, seed: int) -> None:
    """On each rank: warm up, run, and print what the root found."""
    from amorph.campaigns.workers import jax_on_one_thread

    jax_on_one_thread()
    from amorph.campaigns.files import parse_campaign
    from amorph.campaigns.ranks import MPIRanks, world
    from amorph.campaigns.runs import run_campaign, serve_campaign

    ranks = world()

    def campaign(folder: Path, count: int) -> None:
        text = SHARED.format(**CASES[case], n=n, seed=seed, steps=count)
        if ranks.is_root:
            run_campaign(parse_campaign(text, case), text, folder, ranks=ranks)
        else:
            serve_campaign(ranks)

    with tempfile.TemporaryDirectory() as folder:
        campaign(Path(folder) / "warm", 2)
        together(ranks)
        began, cpu = time.perf_counter(), time.process_time()
        campaign(Path(folder) / "timed", steps)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    spent = [cpu]
    idle = each = 0.0
    if isinstance(ranks, MPIRanks):
        from mpi4py import MPI

        spent = MPI.COMM_WORLD.gather(cpu, 0) or [cpu]
        if ranks.is_root:
            rounds, many = 200, 1000
            began = time.perf_counter()
            for _ in range(rounds):
                ranks.map(nothing, None, range(CASES[case]["packings"]))
            idle = (time.perf_counter() - began) / rounds
            began = time.perf_counter()
            for _ in range(10):
                ranks.map(nothing, None, range(many))
            each = ((time.perf_counter() - began) / 10 - idle) / many
            ranks.dismiss()
        else:
            ranks.serve()
    if ranks.is_root:
        print(
            json.dumps({"wall": wall, "cpu": sum(spent), "empty round": idle, "empty item": each})
        )


def together(ranks: Any) -> None:
    if ranks.size > 1:
        from mpi4py import MPI

        MPI.COMM_WORLD.Barrier()


def nothing(shared: None, item: int) -> int:
    """Work that takes no time."""
    return item


def contender(case: str, size: int, n: int, steps: int, seed: int) -> Contender:
    def run(i: int) -> Sample:
        command = [sys.executable, __file__, "--inside", case, str(n), str(steps), str(seed + i)]
        if size > 1:
            command = ["mpiexec", "-n", str(size), *command]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.strip().splitlines()[-1])
        return Sample(found["wall"], 1.0, {k: v for k, v in found.items() if k != "wall"})

    return Contender(name(size), run)


def name(size: int) -> str:
    return f"{size} rank" + "s" * (size > 1)


def message_bytes(n: int, packings: int) -> dict[str, int]:
    """What a step sends: the order to every rank, and each packing's result."""
    import numpy as np

    from amorph.bridge import Packing
    from amorph.campaigns.files import parse_campaign
    from amorph.campaigns.members import Member, Order, fresh_member

    text = SHARED.format(**CASES["ensemble of 8"], n=n, seed=0, steps=1)
    campaign = parse_campaign(text, "size")
    theta = campaign.potential.theta()
    order = (fresh_member, Order(campaign, theta, theta, 1), range(packings))
    box = (n / 1.6) ** 0.5 * np.eye(2)
    packing = Packing.of(np.zeros((n, 2)), np.zeros(n, dtype=int), box, images=np.zeros((n, 2)))
    slopes = {"diameters": np.zeros((1, 2)), "binding": np.zeros((1, 3))}
    member = Member(packing, np.zeros(1), slopes)
    return {"order": len(pickle.dumps(order)), "packing's result": len(pickle.dumps(member))}


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
    for case in ("ensemble of 8",) if chosen.quick else CASES:
        sizes = (1, chosen.largest)
        samples = race(
            [contender(case, size, chosen.n, chosen.steps, chosen.seed) for size in sizes],
            chosen.repetitions,
            warm_up=False,
        )
        one, more = (samples[name(size)] for size in sizes)
        report.add(case, samples, reference=name(chosen.largest), bars={name(1): 1.9})
        share = [a.extra["cpu"] / b.extra["cpu"] for a, b in zip(one, more, strict=True)]
        report.findings[f"{case}: processor time of one rank over that of all"] = sorted(share)[
            len(share) // 2
        ]
    report.findings["bytes a step sends"] = message_bytes(chosen.n, 8)
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
