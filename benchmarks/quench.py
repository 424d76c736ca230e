"""How long does a quench take? Amorph's engine, LAMMPS and jax-md from the same random starts.

Each contender minimises the energy of the same starts with its own FIRE until the longest
force vector is below the tolerance. Times: Amorph's whole call, one start a call, one thread;
LAMMPS's ``minimize`` command, reading tables and set-up apart; jax-md's compiled loop,
compilation apart. "LAMMPS tuned" has FIRE settings with fewer steps and smaller tables, which
stay in the cache. Paths from random starts are chaotic, so that the minima differ; their mean
energies must not.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from common import OURS, Report, Sample, enter, parser, race, two_types
from numpy.typing import NDArray
from peers import PeerMissing, QuenchResult
from peers.formulas import HarmonicMorse
from peers.lammps_quench import FireSettings, LammpsQuench

DENSITY, DIAMETERS, BINDING, STIFFNESS = 1.6, [0.8, 1.0], 0.1, 5.0
# The fewest steps among some fifty settings tried at N = 368, alpha = 6, in two dimensions.
TUNED = FireSettings(delaystep=5, dtshrink=0.7, alphashrink=0.995, dmax=0.2)

Starts = NDArray[np.float64]
Quench = Callable[[Starts], QuenchResult]


def amorph_quench(
    typeid: NDArray[np.int32], length: float, dimension: int, alpha: float, tolerance: float
) -> Quench:
    """Amorph's engine on one start at a time, one thread; the time of the whole call."""
    try:
        from amorph import ensemble
    except ImportError as error:
        raise PeerMissing("Amorph", str(error)) from error
    theta = HarmonicMorse(DIAMETERS, BINDING, STIFFNESS, alpha)
    box = length * np.eye(dimension)

    def quench(start: Starts) -> QuenchResult:
        began = time.perf_counter()
        done = ensemble.minimize(
            theta, start[None], typeid, box, tolerance=tolerance, max_steps=100_000, threads=1
        )
        seconds = time.perf_counter() - began
        return QuenchResult(
            positions=np.asarray(done.positions[0]),
            energy=float(done.energy[0]),
            max_force=float(done.max_force[0]),
            steps=int(done.steps[0]),
            converged=bool(done.converged[0]),
            seconds=seconds,
        )

    return quench


def lammps_quench(
    typeid: NDArray[np.int32],
    length: float,
    dimension: int,
    alpha: float,
    tolerance: float,
    fire: FireSettings,
    points: int,
) -> Quench:
    """LAMMPS with the tables and the FIRE settings given."""
    return LammpsQuench(
        HarmonicMorse(DIAMETERS, BINDING, STIFFNESS, alpha),
        typeid,
        length,
        dimension=dimension,
        tolerance=tolerance,
        fire=fire,
        points=points,
        stress=False,
    )


def jax_md_quench(
    typeid: NDArray[np.int32],
    length: float,
    dimension: int,
    alpha: float,
    tolerance: float,
    dt_max: float,
) -> Quench:
    """jax-md's FIRE with the largest time step given."""
    from peers.jax_md_quench import JaxMdQuench

    return JaxMdQuench(
        DIAMETERS,
        BINDING,
        STIFFNESS,
        alpha,
        typeid,
        length,
        dimension=dimension,
        tolerance=tolerance,
        dt_max=dt_max,
    )


def main() -> None:
    """Compare, print, write."""
    options = parser(__doc__.splitlines()[0], n=368, repetitions=41)
    options.add_argument("--alpha", type=float, default=6.0, help="Morse width (%(default)s)")
    options.add_argument("--dimension", type=int, choices=(2, 3), default=2)
    options.add_argument("--tolerance", type=float, default=1e-10, help="force (%(default)s)")
    options.add_argument(
        "--dt-max",
        type=float,
        help="jax-md's largest time step (0.25 in two dimensions, 0.2 in three: its best)",
    )
    chosen = options.parse_args()
    repetitions = min(chosen.repetitions, 9) if chosen.quick else chosen.repetitions
    n, dimension = chosen.n, chosen.dimension
    typeid = two_types(n)
    length = float((n / DENSITY) ** (1 / dimension))
    common = (typeid, length, dimension, chosen.alpha, chosen.tolerance)
    dt_max = chosen.dt_max or (0.25 if dimension == 2 else 0.2)
    generator = np.random.default_rng(chosen.seed)
    starts = generator.uniform(size=(repetitions, n, dimension)) * length
    report = Report(
        "quench",
        {
            "N": n,
            "dimension": dimension,
            "alpha": chosen.alpha,
            "density": DENSITY,
            "tolerance": chosen.tolerance,
        },
    )

    def runner(make: Callable[[], Quench]) -> Callable[[], Callable[[int], Sample]]:
        def set_up() -> Callable[[int], Sample]:
            quench = make()

            def run(i: int) -> Sample:
                found = quench(starts[i])
                extra = {
                    "steps": float(found.steps),
                    "us a step": 1e6 * found.seconds / max(1, found.steps),
                    "energy per particle": found.energy / n,
                }
                return Sample(found.seconds, found.converged, extra)

            return run

        return set_up

    plain, tuned = FireSettings(), TUNED
    contenders = [
        *enter(report, OURS, runner(lambda: amorph_quench(*common))),
        *enter(report, "LAMMPS", runner(lambda: lammps_quench(*common, plain, 20_000))),
        *enter(report, "LAMMPS tuned", runner(lambda: lammps_quench(*common, tuned, 4_000))),
        *enter(report, "jax-md", runner(lambda: jax_md_quench(*common, dt_max))),
    ]
    samples = race(contenders, repetitions, what="quenching")
    report.add("quench", samples, bars={"LAMMPS": 1.0, "LAMMPS tuned": 1.0, "jax-md": 3.0})
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
