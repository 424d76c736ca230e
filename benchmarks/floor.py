"""How many pair terms a second does the engine compute, and how many could the vector units?

A pair term is one pair of particles within its cutoff, its force computed and added to both. The
engine's are counted in three ways, each holding more of what a quench is made of: in the loop
over pairs alone; in FIRE steps, that go over the particles too; in FIRE from random starts,
which builds lists of neighbours besides. Steps are timed at a minimum, with a time step too
small to move anything; what they take without pairs is timed on particles too far apart to
touch. Pairs are counted with a k-d tree.

The floor: the arithmetic of one pair was counted by hand in the engine's AVX-512 kernel for two
dimensions (``engine/cpu/forces.h``, ``simd.h``, ``potentials/*.h``), in vector instructions
for eight pairs, and the instructions a second are those of the best matrix product that NumPy's
BLAS makes on one core, which is nothing but multiply-adds. That takes every instruction to cost
as much as a multiply-add, and all registers to be full. "With moves" has the instructions that
only move numbers take turns with these: gathering positions, looking up coefficients, scattering
forces. A processor that does both side by side can be above it, one that does not cannot. What
is lost besides is waiting, for loads, stores and results that the next instruction needs, which
weighs the more the shorter a particle's row of neighbours is; and the pairs that the lists hold
beyond the cutoff.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import OURS, Report, Sample, one_core, parser, wide_console
from numpy.typing import NDArray
from peers import PeerMissing
from peers.formulas import PairPotential
from quench import Case, harmonic_morse_case, soft_sphere_case
from rich.table import Table
from scipy.spatial import cKDTree
from threadpoolctl import threadpool_limits

WIDTH = 8  # doubles in a register
STILL = {"dt_start": 1e-9, "dt_max": 1e-9, "dt_min": 1e-12}
SMALLEST = 1e-290  # a tolerance that no force is below
NARROWEST_SKIN = 0.02  # of the engine's lists, in largest diameters

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Count:
    """Vector instructions for eight pairs in two dimensions: arithmetic, and those that move.

    The parts of the arithmetic, a fused multiply-add being one: distance, potential, force on
    both; the potential's rows are named in :data:`COUNTS`.
    """

    potential: int
    lookups: int
    distance: int = 4  # two differences, the square's sum
    force: int = 6  # two products, two sums for the one, two for the other particles

    @property
    def arithmetic(self) -> int:
        """Instructions that compute."""
        return self.distance + self.potential + self.force

    @property
    def moves(self) -> int:
        """Instructions that put numbers where they are needed; loads and stores apart."""
        kinds, gather, scatter = 1, 8, 14
        return kinds + self.lookups + gather + scatter


COUNTS = {
    # 1/sqrt 7, a (sigma - r) 2, the two sides of sigma 2, exponential 14, switch 7 and its end 1,
    # well, core and their derivatives 11; seven coefficients and the exponential's table
    "harmonic_morse": Count(potential=44, lookups=8),
    # 1/sqrt 7, overlap 1, its end 2, force 2; two coefficients
    "soft_sphere": Count(potential=12, lookups=2),
}


def multiply_adds(seconds: float = 1.0) -> float:
    """Vector multiply-adds a second, of the best matrix product on one core."""
    n = 512
    a = np.random.default_rng(0).uniform(size=(n, n))
    best, began = float("inf"), time.perf_counter()
    with threadpool_limits(1):
        while time.perf_counter() - began < seconds:
            start = time.perf_counter()
            a @ a
            best = min(best, time.perf_counter() - start)
    return n**3 / WIDTH / best


def pairs_within(case: Case, positions: Array, margin: float = 0.0) -> int:
    """Pairs nearer than their cutoff and a margin, in a packing of shape (N, d)."""
    potential, length = case.potential, case.length
    tree = cKDTree(np.mod(positions, length), boxsize=length)
    pairs = tree.query_pairs(potential.largest_cutoff + margin, output_type="ndarray")
    d = positions[pairs[:, 0]] - positions[pairs[:, 1]]
    d -= length * np.round(d / length)
    first, second = case.typeid[pairs].T
    types = range(potential.n_types)
    cutoff = np.array([[potential.cutoff(i, j) for j in types] for i in types])
    return int((np.linalg.norm(d, axis=1) < cutoff[first, second] + margin).sum())


class Engine:
    """The engine on one case, one thread."""

    def __init__(self, case: Case) -> None:
        try:
            from amorph import ensemble
        except ImportError as error:
            raise PeerMissing(OURS, str(error)) from error
        self._ensemble: Any = ensemble
        self.case = case

    def minimize(self, starts: Array, box: float | None = None, **settings: Any) -> Any:
        """``ensemble.minimize`` in a box of the case's length or another."""
        matrix = (box or self.case.length) * np.eye(self.case.dimension)
        return self._ensemble.minimize(
            self.case.potential, starts, self.case.typeid, matrix, threads=1, **settings
        )

    def still_step(self, positions: Array, box: float | None = None, steps: int = 2000) -> float:
        """Seconds a FIRE step takes that moves nothing, from positions (N, d); the best of 5."""
        done = self.minimize(
            np.repeat(positions[None], 5, axis=0),
            box,
            tolerance=SMALLEST,
            max_steps=steps,
            fire=STILL,
            newton={"start": 0.0},
        )
        return float((done.seconds / done.steps).min())


def far_apart(case: Case) -> tuple[Array, float]:
    """Particles on a lattice wider than the reach of any, but for the first two; and their box.

    Those two feel each other, so that the engine goes on.
    """
    reach = case.potential.largest_cutoff
    side = int(np.ceil(case.n ** (1 / case.dimension)))
    spacing = 2.0 * reach + 1.0
    sites = np.indices((side,) * case.dimension).reshape(case.dimension, -1).T[: case.n]
    positions = np.asarray((sites + 0.5) * spacing, np.float64)
    positions[1] = positions[0]
    positions[1, 0] += 0.9 * case.potential.cutoff(0, 0)
    return positions, side * spacing


def measure(case: Case, replicas: int, repetitions: int, seed: int, peak: float) -> list[Sample]:
    """One case's pair terms a second in the loop, in steps and in quenches, and the floors."""
    engine, count = Engine(case), COUNTS[case.potential.potential]
    minimum = engine.minimize(case.starts(1, seed), tolerance=case.tolerance).positions[0]
    pairs = pairs_within(case, minimum)
    listed = pairs_within(case, minimum, NARROWEST_SKIN * max(case.potential.diameters))
    nudged = minimum + 1e-6 * np.random.default_rng(seed).normal(size=minimum.shape)
    empty, box = far_apart(case)
    floor = WIDTH * peak / count.arithmetic
    with_moves = WIDTH * peak / (count.arithmetic + count.moves)
    samples = []
    for i in range(repetitions):
        step, without = engine.still_step(nudged), engine.still_step(empty, box)
        quenched = engine.minimize(
            case.starts(replicas, seed + i), tolerance=case.tolerance, newton={"start": 0.0}
        )
        loop = pairs / (step - without)
        found = {
            "pairs a particle": pairs / case.n,
            "in steps": pairs / step,
            "from random starts": pairs * float(quenched.steps.sum() / quenched.seconds.sum()),
            "floor, arithmetic": floor,
            "floor, with moves": with_moves,
            "loop over floor": loop / floor,
            "loop over floor with moves": loop / with_moves,
            "step not in the loop": without / step,
            "listed beyond the cutoff": listed / pairs - 1.0,
        }
        samples.append(Sample(loop, float(quenched.converged.mean()), found))
    return samples


def instructions(potential: PairPotential) -> str:
    """The instructions counted for a potential, in words."""
    count = COUNTS[potential.potential]
    return f"{count.arithmetic} compute, {count.moves} move, for {WIDTH} pairs"


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__.splitlines()[0], n=368, repetitions=5)
    options.add_argument(
        "--large", type=int, default=4096, help="particles of the second size (%(default)s)"
    )
    options.add_argument(
        "--flops",
        type=float,
        help="peak of one core in FLOP/s, clock x FLOPs a cycle (as NumPy's BLAS attains)",
    )
    chosen = options.parse_args()
    one_core()
    peak = chosen.flops / (2 * WIDTH) if chosen.flops else multiply_adds()
    report = Report(
        "floor",
        {"dimension": 2, "GFLOP/s of one core": round(2e-9 * WIDTH * peak, 1), "width": WIDTH},
    )
    try:
        from amorph.ensemble import instruction_sets

        report.settings["instruction set"] = instruction_sets()[0]
        if report.settings["instruction set"] != "avx512":
            report.findings["caution"] = "the instructions were counted for avx512"
        sizes = (chosen.n,) if chosen.quick else (chosen.n, chosen.large)
        repetitions = min(chosen.repetitions, 3) if chosen.quick else chosen.repetitions
        for make in (harmonic_morse_case, soft_sphere_case):
            for n in sizes:
                case = make(n, 2)
                replicas = max(1, 8 * 368 // n)
                found = measure(case, replicas, repetitions, chosen.seed, peak)
                name = f"{case.potential.potential}, N = {n}"
                report.add(name, {OURS: found}, unit="pair terms/s")
            report.findings[f"vector instructions, {case.potential.potential}"] = instructions(
                case.potential
            )
    except (ImportError, PeerMissing) as absent:
        report.missing.append({"who": OURS, "message": str(absent)})
    print_rows(report)
    report.write(chosen.json)


def print_rows(report: Report) -> None:
    """Print the figures, a line each, a column a case."""
    settings = ", ".join(f"{name} = {value}" for name, value in report.settings.items())
    table = Table(title=f"floor, million pair terms a second: {settings}")
    table.add_column("")
    for row in report.rows:
        table.add_column(row["case"], justify="right")

    def add(title: str, name: str, factor: float, form: str) -> None:
        table.add_row(title, *(format(factor * row[name], form) for row in report.rows))

    add("pairs a particle", "pairs a particle", 1.0, ".1f")
    add("in the pair loop", "median", 1e-6, ".0f")
    for rate in ("in steps", "from random starts", "floor, arithmetic", "floor, with moves"):
        add(rate, rate, 1e-6, ".0f")
    for share in (
        *("loop over floor", "loop over floor with moves"),
        *("step not in the loop", "listed beyond the cutoff", "share_converged"),
    ):
        add(share, share, 1.0, ".1%")
    console = wide_console()
    console.print(table)
    report.print_findings(console)


if __name__ == "__main__":
    main()
