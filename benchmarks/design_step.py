"""How long does a step of an ensemble design take? Amorph, and jax-md with jaxopt.

A step is that of Zu and Goodrich, Commun. Mater. 5 (2024): as many packings quenched from random
starts, the Poisson's ratio of each and its gradient by diameters and binding energies; ours with
all else a step does (the optimiser, the record brought to the disk), theirs with nothing but the
packings. Both spread their packings over the same MPI ranks, one at a time to whichever rank is
free. "As published" has the FIRE 2, time step and neighbour lists of the published programs; the
other jax-md's own FIRE at its best. Compilation is not in the times.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from common import OURS, Contender, Report, Sample, parser, race, two_types
from ranks import CASES, SHARED

PEER, PUBLISHED = "jax-md + jaxopt", "jax-md + jaxopt, as published"


@cache
def peer(n: int, published: bool) -> Any:
    """The peer's compiled program, one on each rank."""
    import numpy as np
    from peers.jax_md_jaxopt_gradient import JaxMdJaxoptGradient, fire2

    more: dict[str, Any] = {}
    if published:
        more = {"dt_start": 1e-3, "dt_max": 0.1, "capacity": 1.15, "cells": True}
        more["minimizer"] = fire2
    length = float(np.sqrt(n / 1.6))
    return JaxMdJaxoptGradient([0.8, 1.0], 0.1, 5.0, 6.0, two_types(n), length, **more)


def peer_packing(shared: tuple[int, bool], seed: int) -> tuple[float, bool, int]:
    """One packing's part of the peer's step: value, convergence, steps of the minimiser."""
    import numpy as np

    n, published = shared
    program = peer(n, published)
    start = np.random.default_rng(seed).uniform(size=(n, 2)) * program.length
    found = program(start)
    return found.value, found.converged, found.steps


def contenders(chosen: argparse.Namespace, ranks: Any, folder: Path) -> list[Contender]:
    """Ours and theirs, on the root."""
    from amorph.campaigns.store.records import RunRecord
    from amorph.campaigns.studies.design.designs import Design
    from amorph.campaigns.studies.files import parse_campaign

    case = {**CASES["ensemble of 8"], "packings": chosen.packings}
    text = SHARED.format(**case, n=chosen.n, seed=chosen.seed, steps=1)
    design = Design(parse_campaign(text, "design step"), ranks=ranks)
    steps = [design.start()]
    for _ in range(4):  # each rank compiles for the lengths of lists that it meets
        steps[0] = design.advance(steps[0])
    record = RunRecord(folder / "run")

    def ours(i: int) -> Sample:
        began = time.perf_counter()
        steps[0] = design.advance(steps[0])
        record.append(design.frame(steps[0]))
        measured = float((steps[0].each == steps[0].each).mean())
        return Sample(time.perf_counter() - began, measured, {"mean": float(steps[0].value[0])})

    def theirs(published: bool) -> Contender:
        def run(i: int) -> Sample:
            seeds = [chosen.seed + 10_000 * i + k for k in range(chosen.packings)]
            began = time.perf_counter()
            found = ranks.map(peer_packing, (chosen.n, published), seeds)
            seconds = time.perf_counter() - began
            mean = sum(value for value, _, _ in found) / len(found)
            share = sum(converged for _, converged, _ in found) / len(found)
            return Sample(seconds, share, {"mean": mean})

        return Contender(PUBLISHED if published else PEER, run)

    return [Contender(OURS, ours, record.close), theirs(False), theirs(True)]


def options() -> argparse.ArgumentParser:
    """The command line's options."""
    found = parser(__doc__.splitlines()[0], n=368, repetitions=5)
    found.add_argument("--packings", type=int, default=8, help="of a step (%(default)s)")
    found.add_argument("--ranks", type=int, default=2, help="MPI ranks (%(default)s)")
    found.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return found


def inside(chosen: argparse.Namespace) -> None:
    """On each rank: the root races, the others serve."""
    from amorph.campaigns.spread.starting import jax_on_one_thread

    jax_on_one_thread()
    from amorph.campaigns.spread.ranks import world

    ranks = world()
    if not ranks.is_root:
        ranks.serve()
        return
    names = ("n", "packings", "ranks", "seed")
    settings = {name: getattr(chosen, name) for name in names}
    report = Report("a step of an ensemble design", settings)
    with tempfile.TemporaryDirectory() as folder:
        samples = race(contenders(chosen, ranks, Path(folder)), chosen.repetitions)
    ranks.dismiss()
    report.add("one step", samples, bars={PUBLISHED: 25.0})
    report.finish(chosen.json)


def main() -> None:
    """Start the ranks, compare, print, write."""
    chosen = options().parse_args()
    if chosen.quick:
        chosen.n, chosen.repetitions = 64, 1
    if chosen.ranks == 1 or chosen.inside:
        inside(chosen)
        return
    command = ["mpiexec", "-n", str(chosen.ranks), sys.executable, __file__, "--inside"]
    raise SystemExit(subprocess.run([*command, *sys.argv[1:]], check=False).returncode)


if __name__ == "__main__":
    main()
