"""How long does a time step of Langevin dynamics take? Amorph's engine, LAMMPS and HOOMD-blue.

The cases of ``quench.py``, on one core: each contender starts from the same packings, which the
engine has quenched, with velocities drawn at the temperature, and takes the same number of time
steps of the same length: the engine by BAOAB, LAMMPS and HOOMD by velocity Verlet with forces of
friction and noise, all with their neighbour lists. LAMMPS's and HOOMD's time is that of the steps
alone, the engine's that of the whole call. The kinetic temperature at the end, mean over all
repetitions, shows that all do the same; at a finite time step each has its own small error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import OURS, Report, Sample, enter, one_core, parser, race, wide_console
from numpy.typing import NDArray
from peers import DynamicsResult, PeerMissing
from peers.hoomd_langevin import HoomdLangevin
from peers.lammps_langevin import LammpsLangevin
from quench import Case, Starts, note_circumstances
from quench_table import QUICK_SIZES, SIZES, cases, label
from rich.table import Table

LAMMPS, HOOMD = "LAMMPS", "HOOMD"
PEERS = (LAMMPS, HOOMD)
REPETITIONS = 21
SECONDS, QUICK_SECONDS = 20.0, 2.0
PACKINGS = 3

Run = Callable[[NDArray[np.float64], int], DynamicsResult]


@dataclass(frozen=True)
class Motion:
    """The dynamics of a case.

    Attributes:
        temperature: kT, a tenth of the well's depth or a thousandth of the stiffness [energy].
        dt: a tenth of (stiffest pair)^(-1/2) [time].
        friction: one in ten time steps' units [1 / time].
        steps: so many that a repetition takes some tenths of a second.
    """

    temperature: float
    dt: float
    friction: float
    steps: int

    @classmethod
    def of(cls, case: Case) -> Motion:
        """The steps and times that suit a case."""
        temperature = 1e-3 if case.soft else 1e-2
        steps = max(200, min(5000, 1_000_000 // case.n))
        return cls(temperature, 0.1 * case.time, 0.1 / case.time, steps)


def amorph_run(case: Case, motion: Motion) -> Run:
    """The engine's Langevin stage, one thread; the time of the whole call."""
    try:
        from amorph import ensemble
    except ImportError as error:
        raise PeerMissing("Amorph", str(error)) from error
    box = case.length * np.eye(case.dimension)

    def run(positions: NDArray[np.float64], steps: int) -> DynamicsResult:
        stage = ensemble.Langevin(steps, motion.dt, motion.temperature, friction=motion.friction)
        began = time.perf_counter()
        done = ensemble.prepare(case.potential, positions, case.typeid, box, [stage], threads=1)
        seconds = time.perf_counter() - began
        return DynamicsResult.of(np.asarray(done.velocities), steps, seconds)

    return run


def lammps_run(case: Case, motion: Motion) -> Run:
    """LAMMPS with tables, small enough for the cache, or its own ``harmonic/cut``."""
    return LammpsLangevin(
        case.potential,
        case.typeid,
        case.length,
        dimension=case.dimension,
        dt=motion.dt,
        temperature=motion.temperature,
        friction=motion.friction,
        style="harmonic/cut" if case.soft else "table",
        points=4_000,
    )


def hoomd_run(case: Case, motion: Motion) -> Run:
    """HOOMD-blue with tables or its own soft spheres."""
    return HoomdLangevin(
        case.potential,
        case.typeid,
        case.length,
        dimension=case.dimension,
        dt=motion.dt,
        temperature=motion.temperature,
        friction=motion.friction,
        points=4_000,
    )


def packings(case: Case, seed: int) -> Starts:
    """Quenched packings to start from, shape (PACKINGS, N, d)."""
    from amorph import ensemble

    box = case.length * np.eye(case.dimension)
    starts = case.starts(PACKINGS, seed)
    done = ensemble.minimize(case.potential, starts, case.typeid, box, tolerance=1e-6, threads=1)
    return np.asarray(done.positions)


def measure(report: Report, case: Case, repetitions: int, seconds: float, seed: int) -> None:
    """Add one case's rows and ratios to the report."""
    motion = Motion.of(case)
    missing: Report = Report(report.benchmark)
    starts = packings(case, seed)

    def runner(make: Callable[[Case, Motion], Run]) -> Callable[[], Callable[[int], Sample]]:
        def set_up() -> Callable[[int], Sample]:
            run = make(case, motion)

            def repetition(i: int) -> Sample:
                cpu, wall = time.process_time(), time.perf_counter()
                done = run(starts[i % PACKINGS], motion.steps)
                share = (time.process_time() - cpu) / (time.perf_counter() - wall)
                temperature = done.kinetic_temperature / motion.temperature
                extra = {"kinetic temperature": temperature, "share of a core": share}
                micro = 1e6 * done.seconds / done.steps
                return Sample(micro, float(np.isfinite(temperature)), extra)

            return repetition

        return set_up

    makers = {OURS: amorph_run, LAMMPS: lammps_run, HOOMD: hoomd_run}
    contenders = [one for who, make in makers.items() for one in enter(missing, who, runner(make))]
    samples = race(contenders, repetitions, what=label(case), seconds=seconds)
    report.add(label(case), samples, unit="us a step")
    known = [absent["who"] for absent in report.missing]
    report.missing += [absent for absent in missing.missing if absent["who"] not in known]


def table_of(report: Report, chosen: list[Case]) -> Table:
    """One row a case, one column a contender."""
    table = Table(title="Langevin dynamics: the engine's steps, and how many times its peers' time")
    columns = ("potential", "d", "N", "steps/s", "us a step", *PEERS, "kinetic temperature / T")
    for name in columns:
        table.add_column(name, justify="left" if name == "potential" else "right")
    for case in chosen:
        rows: dict[str, dict[str, Any]] = {
            row["who"]: row for row in report.rows if row["case"] == label(case)
        }
        ratios = {one["of"]: one["median"] for one in report.ratios if one["case"] == label(case)}
        ours = rows[OURS]["median"]
        table.add_row(
            case.potential.potential,
            str(case.dimension),
            str(case.n),
            f"{1e6 / ours:,.0f}",
            f"{ours:.3g}",
            *(f"{ratios[who]:.1f}" if who in ratios else "–" for who in PEERS),
            ", ".join(f"{row['kinetic temperature']:.3f}" for row in rows.values()),
        )
    return table


def main() -> None:
    """Measure every case, print, write."""
    options = parser(__doc__.splitlines()[0], n=0, repetitions=REPETITIONS)
    chosen = options.parse_args()
    path: Path | None = chosen.json
    one_core()
    sizes = QUICK_SIZES if chosen.quick else SIZES
    if chosen.n:
        sizes = dict.fromkeys((2, 3), (chosen.n,))
    chosen_cases = cases(sizes)
    motions = {label(case): vars(Motion.of(case)) for case in chosen_cases}
    report = Report("Langevin dynamics", motions)
    for case in chosen_cases:
        seconds = QUICK_SECONDS if chosen.quick else SECONDS
        measure(report, case, chosen.repetitions, seconds, chosen.seed)
        report.write(path)
    note_circumstances(report)
    console = wide_console()
    console.print(table_of(report, chosen_cases))
    report.print_findings(console)
    report.write(path)


if __name__ == "__main__":
    main()
