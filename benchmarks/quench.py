"""How long does a quench take? Amorph's engine and its peers from the same random starts.

Each contender minimises the energy of the same starts until the longest force vector is below
the tolerance, on one core to which the whole process is bound: LAMMPS, jax-md and HOOMD-blue
with their FIRE, one start at a time, and for soft spheres TorchSim with batches. Times: Amorph's
whole call, one start a call; LAMMPS's ``minimize`` command, reading tables and set-up apart;
jax-md's compiled loop, compilation apart; HOOMD's steps with the looks at the forces. LAMMPS and
HOOMD are there twice: with FIRE as it comes (the time step apart, which has no default that
could be meant for these units), and "tuned", with settings that take fewer steps and tables that
stay in the cache. Every time step is in units of (stiffest pair)^(-1/2). Paths from random
starts are chaotic, so that the minima differ; their mean energies must not. Where LAMMPS and
HOOMD read tables, they find minima of what they interpolate: by the formula, forces of 1e-6 to
1e-3 are left there.

In three dimensions harmonic-Morse spheres with alpha = 6 are no test: enough attraction reaches
beyond contact that the integral of u(r) over space is negative, and some starts fall together
into one clump without end. The default there is alpha = 10.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import (
    OURS,
    Contender,
    Report,
    Sample,
    enter,
    one_core,
    parser,
    race,
    two_types,
)
from numpy.typing import NDArray
from peers import PeerMissing, QuenchResult
from peers.formulas import HarmonicMorse, PairPotential, SoftSphere
from peers.hoomd_quench import HoomdFire, HoomdQuench
from peers.hoomd_system import describe_hoomd
from peers.lammps_quench import FireSettings, LammpsQuench

DENSITY = 1.6
PACKING_FRACTION = {2: 0.9, 3: 0.7}
MORSE_WIDTH = {2: 6.0, 3: 10.0}
LAMMPS, LAMMPS_TUNED = "LAMMPS", "LAMMPS tuned"
HOOMD, HOOMD_TUNED = "HOOMD", "HOOMD tuned"
JAX_MD, TORCH_SIM = "jax-md", "TorchSim"
PEERS = (LAMMPS, LAMMPS_TUNED, JAX_MD, HOOMD, HOOMD_TUNED)
MAX_STEPS = 100_000
BATCH = 16

Starts = NDArray[np.float64]
Quench = Callable[[Starts], QuenchResult]


@dataclass(frozen=True)
class Case:
    """A quench: N particles of two types in equal numbers, in a square or cubic box."""

    potential: PairPotential
    n: int
    dimension: int
    density: float
    tolerance: float = 1e-10

    @property
    def typeid(self) -> NDArray[np.int32]:
        """Types of the particles, shape (N,)."""
        return two_types(self.n)

    @property
    def length(self) -> float:
        """The box's edge [length]."""
        return float((self.n / self.density) ** (1 / self.dimension))

    @property
    def soft(self) -> bool:
        """Whether these are soft spheres."""
        return isinstance(self.potential, SoftSphere)

    @property
    def time(self) -> float:
        """(Largest second derivative of a pair's energy)^(-1/2), the mass being 1 [time]."""
        if isinstance(self.potential, HarmonicMorse):
            well = 2 * self.potential.alpha**2 * np.max(self.potential.binding)
            stiffest = max(float(np.max(self.potential.stiffness)), float(well))
        else:
            stiffest = float(np.max(self.potential.arrays()["stiffness"]))
            stiffest /= min(self.potential.diameters) ** 2
        return float(stiffest**-0.5)

    @property
    def settings(self) -> dict[str, Any]:
        """The case's settings, as a report prints them."""
        shown: dict[str, Any] = {
            "potential": self.potential.potential,
            "N": self.n,
            "dimension": self.dimension,
            "density": self.density,
            "tolerance": self.tolerance,
        }
        if isinstance(self.potential, HarmonicMorse):
            shown["alpha"] = self.potential.alpha
        else:
            shown["packing fraction"] = self.density * mean_volume(self.potential, self.dimension)
        return shown

    def starts(self, count: int, seed: int) -> Starts:
        """Random positions, shape (count, N, d)."""
        generator = np.random.default_rng(seed)
        return generator.uniform(size=(count, self.n, self.dimension)) * self.length


def mean_volume(potential: PairPotential, dimension: int) -> float:
    """Volume, in two dimensions area, of a sphere, over types in equal numbers [length^d]."""
    unit = np.pi / (4 if dimension == 2 else 6)
    return float(unit * np.mean(np.asarray(potential.diameters) ** dimension))


def harmonic_morse_case(n: int, dimension: int, alpha: float | None = None) -> Case:
    """Harmonic-Morse spheres as published, in three dimensions with a narrower well."""
    potential = HarmonicMorse(alpha=alpha or MORSE_WIDTH[dimension])
    return Case(potential, n, dimension, DENSITY)


def soft_sphere_case(n: int, dimension: int, packing_fraction: float | None = None) -> Case:
    """Soft spheres of diameters 1 and 1.4 at a packing fraction."""
    potential = SoftSphere((1.0, 1.4), 1.0)
    fraction = packing_fraction or PACKING_FRACTION[dimension]
    return Case(potential, n, dimension, fraction / mean_volume(potential, dimension))


def amorph_batch(case: Case) -> Callable[[Starts], list[QuenchResult]]:
    """Amorph's engine on all starts in one call, one thread; the call's time over their number."""
    try:
        from amorph import ensemble
    except ImportError as error:
        raise PeerMissing("Amorph", str(error)) from error
    box = case.length * np.eye(case.dimension)
    typeid = case.typeid

    def quench(starts: Starts) -> list[QuenchResult]:
        began = time.perf_counter()
        done = ensemble.minimize(
            case.potential,
            starts,
            typeid,
            box,
            tolerance=case.tolerance,
            max_steps=MAX_STEPS,
            threads=1,
        )
        seconds = (time.perf_counter() - began) / len(starts)
        return [
            QuenchResult(
                positions=np.asarray(done.positions[i]),
                energy=float(done.energy[i]),
                max_force=float(done.max_force[i]),
                steps=int(done.steps[i]),
                converged=bool(done.converged[i]),
                seconds=seconds,
            )
            for i in range(len(starts))
        ]

    return quench


def amorph_quench(case: Case) -> Quench:
    """Amorph's engine on one start at a time, one thread; the time of the whole call."""
    batch = amorph_batch(case)
    return lambda start: batch(start[None])[0]


def lammps_quench(case: Case, tuned: bool) -> Quench:
    """LAMMPS with tables or, for soft spheres, its own ``harmonic/cut``, which is faster."""
    timestep = 0.134 * case.time
    fire = FireSettings(timestep=timestep)
    if tuned and case.soft:
        fire = FireSettings(timestep=timestep, delaystep=5, alphashrink=0.98)
    elif tuned:
        # The fewest steps among some fifty settings tried at N = 368, alpha = 6, in two
        # dimensions.
        fire = FireSettings(
            timestep=timestep, delaystep=5, dtshrink=0.7, alphashrink=0.995, dmax=0.2
        )
    return LammpsQuench(
        case.potential,
        case.typeid,
        case.length,
        dimension=case.dimension,
        tolerance=case.tolerance,
        max_steps=MAX_STEPS,
        fire=fire,
        style="harmonic/cut" if case.soft else "table",
        points=4_000 if tuned else 20_000,
        skin=0.5 if tuned and case.soft else 0.3,
        stress=False,
    )


def jax_md_quench(case: Case, dt_max: float | None = None) -> Quench:
    """jax-md's FIRE with the largest time step that is best here."""
    from peers.jax_md_quench import JaxMdQuench

    best = (0.54 if case.dimension == 3 and not case.soft else 0.67) * case.time
    return JaxMdQuench(
        case.potential,
        case.typeid,
        case.length,
        dimension=case.dimension,
        tolerance=case.tolerance,
        max_steps=MAX_STEPS,
        dt_max=dt_max or best,
        cells=case.soft or case.n > 500,
    )


def hoomd_quench(case: Case, tuned: bool) -> Quench:
    """HOOMD-blue's FIRE, the simulation's default settings or those that take the fewest steps."""
    fire = HoomdFire(dt=0.27 * case.time)
    if tuned and case.soft:
        fire = HoomdFire(dt=0.6 * case.time, alpha_start=0.15)
    elif tuned:
        largest = 0.54 if case.dimension == 3 else 0.67
        fire = HoomdFire(dt=largest * case.time, alpha_start=0.25, fdec_dt=0.7)
    return HoomdQuench(
        case.potential,
        case.typeid,
        case.length,
        dimension=case.dimension,
        tolerance=case.tolerance,
        max_steps=MAX_STEPS,
        fire=fire,
        points=4_000 if tuned else 20_000,
    )


def torch_sim_batch(case: Case, batch: int) -> Callable[[Starts], list[QuenchResult]]:
    """TorchSim's batched FIRE with the settings that are best here; soft spheres only."""
    from peers.torch_sim_quench import TorchSimFire, TorchSimQuench

    if not isinstance(case.potential, SoftSphere):
        raise TypeError("TorchSim is set up for soft spheres only")
    return TorchSimQuench(
        case.potential,
        case.typeid,
        case.length,
        dimension=case.dimension,
        tolerance=case.tolerance,
        max_steps=MAX_STEPS,
        fire=TorchSimFire(dt_max=0.7 * case.time, md_flavor="vv_fire"),
        batch=batch,
    )


def one_at_a_time(
    report: Report, case: Case, starts: Starts, dt_max: float | None = None
) -> list[Contender]:
    """The contenders that take one start at a time, those that are installed."""

    def runner(make: Callable[[], Quench]) -> Callable[[], Callable[[int], Sample]]:
        def set_up() -> Callable[[int], Sample]:
            quench = make()
            return lambda i: sample(lambda: [quench(starts[i])], case.n)

        return set_up

    makers: dict[str, Callable[[], Quench]] = {
        OURS: lambda: amorph_quench(case),
        LAMMPS: lambda: lammps_quench(case, tuned=False),
        LAMMPS_TUNED: lambda: lammps_quench(case, tuned=True),
        JAX_MD: lambda: jax_md_quench(case, dt_max),
        HOOMD: lambda: hoomd_quench(case, tuned=False),
        HOOMD_TUNED: lambda: hoomd_quench(case, tuned=True),
    }
    return [one for who, make in makers.items() for one in enter(report, who, runner(make))]


def in_batches(report: Report, case: Case, starts: Starts) -> list[Contender]:
    """Amorph's engine and TorchSim on batches: starts of shape (repetitions, batch, N, d)."""

    def runner(
        make: Callable[[], Callable[[Starts], list[QuenchResult]]],
    ) -> Callable[[], Callable[[int], Sample]]:
        def set_up() -> Callable[[int], Sample]:
            quench = make()
            return lambda i: sample(lambda: quench(starts[i]), case.n)

        return set_up

    batch = starts.shape[1]
    return [
        *enter(report, OURS, runner(lambda: amorph_batch(case))),
        *enter(report, TORCH_SIM, runner(lambda: torch_sim_batch(case, batch))),
    ]


def sample(run: Callable[[], list[QuenchResult]], n: int) -> Sample:
    """One repetition, of one start or of a batch: time a quench, and the share converged.

    "share of a core" is what of its time the contender computed: below one, other programs had
    the core, and the time is too long.
    """
    cpu, wall = time.process_time(), time.perf_counter()
    found = run()
    share = (time.process_time() - cpu) / (time.perf_counter() - wall)
    steps = float(np.mean([one.steps for one in found]))
    seconds = float(np.mean([one.seconds for one in found]))
    extra = {
        "steps": steps,
        "us a step": 1e6 * seconds / max(1.0, steps),
        "energy per particle": float(np.mean([one.energy for one in found])) / n,
        "largest force": max(one.max_force for one in found),
        "share of a core": share,
    }
    return Sample(seconds, float(np.mean([one.converged for one in found])), extra)


def bars(case: Case) -> dict[str, float]:
    """How many times as long a contender must take at least, where that was laid down."""
    if case.n != 368 or case.dimension != 2:
        return {}
    if case.soft:
        return {LAMMPS: 2.0, LAMMPS_TUNED: 2.0}
    if isinstance(case.potential, HarmonicMorse) and case.potential.alpha == 6.0:
        return {LAMMPS: 4.0, LAMMPS_TUNED: 4.0, JAX_MD: 15.0, HOOMD: 30.0, HOOMD_TUNED: 30.0}
    return {}


def note_circumstances(report: Report) -> None:
    """Put into the report how HOOMD was built, and how undisturbed the contenders were."""
    least = min(report.rows, key=lambda row: row["share of a core"], default=None)
    if least is not None:
        report.findings["least share of a core"] = {
            f"{least['who']}, {least['case']}": least["share of a core"]
        }
    try:
        report.findings["HOOMD-blue"] = describe_hoomd()
    except PeerMissing:
        return


def chosen_case(chosen: argparse.Namespace) -> Case:
    """The case that the command line's options describe."""
    n, dimension = chosen.n, chosen.dimension
    if chosen.potential == "soft_sphere":
        case = soft_sphere_case(n, dimension, chosen.packing_fraction)
    else:
        case = harmonic_morse_case(n, dimension, chosen.alpha)
    return Case(case.potential, n, dimension, case.density, chosen.tolerance)


def main() -> None:
    """Compare, print, write."""
    options = parser(__doc__.splitlines()[0], n=368, repetitions=41)
    options.add_argument(
        "--potential", choices=("harmonic_morse", "soft_sphere"), default="harmonic_morse"
    )
    options.add_argument("--dimension", type=int, choices=(2, 3), default=2)
    options.add_argument(
        "--alpha", type=float, help="Morse width (6 in two dimensions, 10 in three)"
    )
    options.add_argument(
        "--packing-fraction",
        type=float,
        help="of soft spheres (0.9 in two dimensions, 0.7 in three)",
    )
    options.add_argument("--tolerance", type=float, default=1e-10, help="force (%(default)s)")
    options.add_argument("--dt-max", type=float, help="jax-md's largest time step (its best)")
    chosen = options.parse_args()
    soft = chosen.potential == "soft_sphere"
    if soft and chosen.alpha is not None:
        options.error("--alpha: soft spheres have no Morse width")
    if not soft and chosen.packing_fraction is not None:
        options.error("--packing-fraction: of soft spheres; harmonic-Morse has density 1.6")
    one_core()
    case = chosen_case(chosen)
    repetitions = min(chosen.repetitions, 9) if chosen.quick else chosen.repetitions
    report = Report("quench", case.settings)
    starts = case.starts(repetitions, chosen.seed)
    contenders = one_at_a_time(report, case, starts, chosen.dt_max)
    samples = race(contenders, repetitions, what="quenching")
    report.add("one at a time", samples, bars=bars(case))
    if case.soft:
        batch, batches = (4, 1) if chosen.quick else (BATCH, 3)
        starts = case.starts(batches * batch, chosen.seed).reshape(
            batches, batch, case.n, case.dimension
        )
        contenders = in_batches(report, case, starts)
        samples = race(contenders, batches, what="quenching batches", warm_up=False)
        report.add(f"batches of {batch}", samples)
    report.findings["quenches per second per core"] = {
        f"{row['who']}, {row['case']}": 1.0 / row["median"] for row in report.rows
    }
    note_circumstances(report)
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
