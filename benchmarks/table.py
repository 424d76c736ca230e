"""Quenches by a tabulated potential: beside the formula it is of, and beside LAMMPS's own.

Harmonic-Morse packings (N = 368, two dimensions, from random starts) by the engine's formula and by
its table; and a Kob-Andersen liquid (N = 1,000, three dimensions) by the table of Lennard-Jones and
by LAMMPS's ``lj/cut``, to its inherent structures, from the same starts on one core. The engine's
minimiser ends with Newton's method, LAMMPS's is FIRE to its end: a force loop's own time is given
beside each. What the table leaves: LAMMPS's energies and forces at the table's minima.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from common import OURS, Contender, Report, Sample, one_core, parser, race
from numpy.typing import NDArray
from peers import PeerMissing
from peers.formulas import HarmonicMorse, LennardJones, PairPotential
from peers.lammps_quench import FireSettings, LammpsQuench
from peers.lammps_system import LammpsSystem

from amorph import ensemble
from amorph.handover import PairTable, build_table

TABLE = f"{OURS}, table"
LAMMPS = "LAMMPS"
LOOPS = 200
Arrays = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def harmonic_morse_table(theta: HarmonicMorse) -> PairTable:
    """The engine's formula as a table."""

    def of(i: int, j: int) -> Callable[[NDArray[np.float64]], Arrays]:
        sigma = theta.sigma(i, j)
        stiffness = theta.of_pair(theta.stiffness, i, j)
        scale = theta.alpha**2 * theta.of_pair(theta.binding, i, j)
        on2, cut2 = (sigma + 5.0 / theta.alpha) ** 2, (sigma + 9.9 / theta.alpha) ** 2
        width = (cut2 - on2) ** 3

        def formula(r: NDArray[np.float64]) -> Arrays:
            # u'' = m'' S + 2 m' S' + m S'' of the well m, from those that the peers are given.
            _, slope, morse, morse_slope = theta._parts(r, sigma)
            switch = theta._parts(r, sigma)[0]
            r2 = r * r
            bend = 12 * ((cut2 - r2) * (on2 - r2) - 2 * r2 * (on2 + cut2 - 2 * r2)) / width
            bend = np.where((r2 < on2) | (r2 >= cut2), 0.0, bend)
            decay = np.exp(-theta.alpha * (np.maximum(r, sigma) - sigma))
            well = scale * (4 * decay * decay - 2 * decay) * switch
            well += scale / theta.alpha**2 * (2 * morse_slope * slope + morse * bend)
            curvature = np.where(r < sigma, stiffness, well)
            return theta.energy(r, i, j), -theta.force(r, i, j), curvature

        return formula

    breaks = [
        (theta.sigma(p.first, p.second), theta.sigma(p.first, p.second) + 5 / theta.alpha, p.cutoff)
        for p in theta.pairs()
    ]
    return tabulated(theta, of, breaks)


def lennard_jones_table(theta: LennardJones) -> PairTable:
    """Lennard-Jones as a table."""

    def of(i: int, j: int) -> Callable[[NDArray[np.float64]], Arrays]:
        return lambda r: (theta.energy(r, i, j), -theta.force(r, i, j), theta.curvature(r, i, j))

    return tabulated(theta, of, [(p.cutoff,) for p in theta.pairs()])


def tabulated(theta: PairPotential, of: Any, breaks: Any) -> PairTable:
    formulas = [of(p.first, p.second) for p in theta.pairs()]
    arrays = theta.arrays()
    return build_table(
        formulas, breaks, arrays["diameters"], potential=theta.potential, parameters=arrays
    )


def by_formula(report: Report, n: int, repetitions: int, seed: int) -> None:
    theta = HarmonicMorse([0.8, 1.0], 0.1, 5.0, 6.0)
    table = harmonic_morse_table(theta)

    def contender(name: str, potential: Any) -> Contender:
        def run(i: int) -> Sample:
            made = ensemble.quench(
                potential, n, 1.6, 2, 16, seed=seed, first_replica=16 * i, threads=1
            )
            seconds = float(made.seconds.sum())
            return Sample(
                seconds / 16,
                float(made.converged.mean()),
                {"steps": float(made.steps.mean()), "µs a step": 1e6 * seconds / made.steps.sum()},
            )

        return Contender(name, run)

    samples = race(
        [contender(OURS, theta), contender(TABLE, table)],
        repetitions,
        what=f"harmonic-Morse, N={n}",
    )
    report.add(f"harmonic-Morse, N = {n}", samples, reference=TABLE)
    report.findings["harmonic-Morse table, bytes"] = table.n_bytes


def by_lammps(report: Report, n: int, repetitions: int, seed: int) -> None:
    theta = LennardJones()
    table = lennard_jones_table(theta)
    liquid = ensemble.anneal(
        table,
        n,
        1.2,
        3,
        repetitions + 1,
        seed,
        temperature=[3.0, 1.0],
        steps=2000,
        dt=0.003,
        composition=[0.8, 0.2],
        tolerance=1e-2,
    )
    # From hot positions: a step of Langevin dynamics from each minimum.
    hot = ensemble.prepare(
        table,
        liquid.positions,
        liquid.typeid,
        liquid.boxes,
        [ensemble.Langevin(1500, 0.003, 1.0)],
        seed=seed,
    )
    box = hot.boxes[0]
    tolerance = 1e-8
    minima: dict[int, tuple[NDArray[np.float64], float]] = {}

    def ours(i: int) -> Sample:
        made = ensemble.minimize(
            table, hot.positions[i : i + 1], hot.typeid, box, tolerance=tolerance, threads=1
        )
        minima[i] = made.positions[0], float(made.energy[0])
        began = time.perf_counter()
        moved = ensemble.prepare(
            table,
            hot.positions[i : i + 1],
            hot.typeid,
            box,
            [ensemble.Langevin(LOOPS, 0.003, 1.0, friction=0.0)],
            velocities=hot.velocities[i : i + 1],
            threads=1,
        )
        return Sample(
            float(made.seconds[0]),
            float(made.converged[0]),
            {
                "steps": float(made.steps[0] + made.hessian_products[0]),
                "µs a step of NVE": 1e6 * float(moved.seconds[0]) / LOOPS,
                "wall": time.perf_counter() - began,
            },
        )

    apart: list[float] = []
    forces: list[float] = []
    contenders = [Contender(TABLE, ours)]
    try:
        # With larger steps FIRE loses particles of hot starts.
        fire = FireSettings(timestep=0.02)
        quench = LammpsQuench(
            theta, hot.typeid, np.diagonal(box), style="lj/cut", tolerance=tolerance, stress=False,
            fire=fire,
        )  # fmt: skip
        dynamics = LammpsSystem(theta, hot.typeid, np.diagonal(box), style="lj/cut")
    except PeerMissing as error:
        report.missing.append({"who": LAMMPS, "why": str(error)})
    else:
        dynamics._lammps.command("fix moves all nve")

        def theirs(i: int) -> Sample:
            made = quench(hot.positions[i])
            if i in minima:
                x, energy = minima.pop(i)
                dynamics.begin(x, 0.003)
                dynamics._lammps.command("run 0")
                apart.append(abs(energy / float(dynamics._lammps.get_thermo("pe")) - 1))
                forces.append(float(np.abs(dynamics.gather("f")).max()))
            dynamics.begin(hot.positions[i], 0.003)
            began = time.perf_counter()
            dynamics._lammps.command(f"run {LOOPS}")
            moved = time.perf_counter() - began
            return Sample(
                made.seconds,
                float(made.converged),
                {"steps": made.steps, "µs a step of NVE": 1e6 * moved / LOOPS, "wall": moved},
            )

        contenders.append(Contender(LAMMPS, theirs, quench.close))
    samples = race(contenders, repetitions, what=f"Kob-Andersen, N={n}")
    case = f"Kob-Andersen, N = {n}"
    report.add(case, samples, reference=TABLE)
    loops = {
        who: [Sample(1e-6 * one.extra["µs a step of NVE"], 1.0) for one in own]
        for who, own in samples.items()
    }
    report.add(f"{case}, a step of NVE", loops, reference=TABLE)
    report.findings["Lennard-Jones table, bytes"] = table.n_bytes
    if apart:
        report.findings["energies of the table's minima, relative to LAMMPS's"] = max(apart)
        report.findings["LAMMPS's largest force at the table's minima"] = max(forces)


def main() -> None:
    """Compare, print, write."""
    chosen = parser(__doc__.splitlines()[0], n=1000, repetitions=7).parse_args()
    one_core()
    report = Report("tabulated potentials", {"tolerance of tables": 1e-8})
    repetitions = 2 if chosen.quick else chosen.repetitions
    by_formula(report, 368, repetitions, chosen.seed)
    by_lammps(report, chosen.n, repetitions, chosen.seed)
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
