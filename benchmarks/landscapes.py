"""Bands and saddles a second: many at once, one at a time, and by ASE, pele and Sella.

Lennard-Jones clusters without a cutoff. Bands: pairs of neighbouring minima of seven particles,
straight paths, ten images, a climbing image, until the force on it is below a tolerance; ASE's NEB
with the same tangent, images and end (NEBOptimizer's way of old, by FIRE). Saddles: of seven
particles from starts at random, beside pele's; those joined to the global minimum of thirteen,
beside pele's from the same starts; and Sella from near some of ours.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from common import Report, parser, wide_console

from amorph import bridge
from amorph.bridge import landscapes

THETA = bridge.LennardJones(diameters=[1.0], epsilon=1.0, r_cut=1000.0)
LOWEST_13 = -44.326801
IMAGES = 10
# Two energies are one saddle's.
SAME = 1e-4
# The force on a climbing image at which a band ends: ours is 1e-3 of k_max σ.
END = 1e-3 * THETA.max_stiffness()


def cluster(x: np.ndarray) -> bridge.Packing:
    """Particles of one type."""
    return bridge.Packing.of(x, np.zeros(len(x), int))


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came out."""
    began = time.perf_counter()
    out = function()
    return time.perf_counter() - began, out


def distinct(energies: Any) -> np.ndarray:
    """Energies that differ, ascending."""
    return np.unique(np.round(np.asarray(energies), 4))


def neighbours(number: int, seed: int) -> list[tuple[bridge.Packing, bridge.Packing]]:
    """Pairs of minima of seven particles that one saddle joins."""
    rng = np.random.default_rng(seed)
    starts = 0.75 * rng.normal(size=(5 * number, 7, 3))
    saddles = landscapes.find_saddles(THETA, cluster(starts[0]), starts, max_steps=150)
    over = landscapes.transitions_over(THETA, list(saddles.found.values()))
    return [(way.start, way.end) for (way,) in over.found.values()][:number]


def ase_band(start: bridge.Packing, end: bridge.Packing) -> tuple[float, int]:
    """The highest energy of ASE's band, and how many gradients it took."""
    from ase import Atoms
    from ase.calculators.lj import LennardJones
    from ase.mep import NEB
    from ase.optimize import FIRE

    from amorph.bridge.landscapes.paths import aligned

    calls = 0

    class Counted(LennardJones):
        def calculate(self, *args: Any, **more: Any) -> None:
            nonlocal calls
            calls += 1
            super().calculate(*args, **more)

    x, y = start.positions, aligned(start, end.positions)
    images = [Atoms("Ar7", positions=x + t * (y - x)) for t in np.linspace(0, 1, IMAGES + 2)]
    for image in images:
        image.calc = Counted(sigma=1.0, epsilon=1.0, rc=1000.0, smooth=False)
    band = NEB(images, k=1.0, climb=True, method="improvedtangent")
    FIRE(band, logfile=None, dt=0.02, dtmax=0.05).run(fmax=END, steps=500)
    return max(image.get_potential_energy() for image in images), calls


def pele_saddles(system: Any, starts: np.ndarray) -> tuple[list[float], int]:
    """Energies of pele's saddles, and how many gradients they took."""
    from pele.transition_states import findTransitionState

    settings = system.params.double_ended_connect.local_connect_params.tsSearchParams
    energies, calls = [], 0
    for x in starts:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
            found = findTransitionState(x.ravel(), system.get_potential(), **settings)
            calls += int(found.nfev)
            if found.success:
                energies.append(float(found.energy))
    return energies, calls


def main() -> None:
    """Bands, saddles of seven, saddles of thirteen."""
    options = parser(__doc__.splitlines()[0], n=256, repetitions=1)
    chosen = options.parse_args()
    n = 16 if chosen.quick else chosen.n
    report = Report("landscapes", {"bands": n, "images": IMAGES})
    console = wide_console()

    pairs = neighbours(n, chosen.seed)
    landscapes.find_transitions(THETA, pairs, n_images=IMAGES)  # compiled
    landscapes.find_transitions(THETA, pairs[:1], n_images=IMAGES)
    seconds, found = timed(lambda: landscapes.find_transitions(THETA, pairs, n_images=IMAGES))
    report.findings["bands, all at once"] = {
        "a second, proven": len(found.found) / seconds,
        "found": f"{len(found.found)} of {len(pairs)}",
        "gradients a transition, all told": float(
            np.median([c[0].evaluations for c in found.found.values()])
        ),
    }
    few = pairs[: 4 if chosen.quick else 16]
    seconds, alone = timed(
        lambda: [landscapes.find_transitions(THETA, [p], n_images=IMAGES) for p in few]
    )
    report.findings["bands, one at a time"] = {"a second, proven": len(alone) / seconds}
    fewer = range(2 if chosen.quick else 6)
    with contextlib.suppress(ImportError):
        seconds, theirs = timed(lambda: [ase_band(*pairs[k]) for k in fewer])
        ours = [max(w.energies[1] for w in found.found[k]) for k in fewer if k in found.found]
        report.findings["bands, ASE"] = {
            "a second, not proven": len(theirs) / seconds,
            "gradients a band": float(np.median([c for _, c in theirs])),
            "highest energies, theirs less ours": [
                round(e - o, 4) for (e, _), o in zip(theirs, ours, strict=False)
            ],
        }
    report.print_findings(console)

    rng = np.random.default_rng(chosen.seed)
    starts = 0.75 * rng.normal(size=(200 if chosen.quick else 2000, 7, 3))
    seconds, saddles = timed(
        lambda: landscapes.find_saddles(THETA, cluster(starts[0]), starts, max_steps=500)
    )
    seven = distinct([s.energy for s in saddles.found.values()])
    report.findings["saddles of 7"] = {
        "found": len(saddles.found),
        "distinct": seven.tolist(),
        "seconds each": seconds / max(len(saddles.found), 1),
        "steps each, a gradient and a Hessian": float(
            np.median([s.steps for s in saddles.found.values()])
        ),
    }
    with contextlib.suppress(ImportError):
        from pele.systems import LJCluster

        system = LJCluster(7)
        some = starts[: 20 if chosen.quick else 200]
        seconds, (energies, calls) = timed(lambda: pele_saddles(system, some))
        own = distinct(energies)
        known = [bool(np.abs(seven - e).min() < 2 * SAME) for e in own]
        report.findings["saddles of 7, pele"] = {
            "found": f"{len(energies)} of {len(some)}",
            "distinct": own.tolist(),
            "among ours": f"{sum(known)} of {len(known)}",
            "seconds each": seconds / max(len(energies), 1),
            "gradients each": calls / max(len(energies), 1),
        }
    report.print_findings(console)

    from scipy.optimize import minimize

    def energy(flat: np.ndarray) -> tuple[float, np.ndarray]:
        packing = cluster(flat.reshape(-1, 3))
        return bridge.energy(THETA, packing), -bridge.forces(THETA, packing).ravel()

    golden = (1 + 5**0.5) / 2
    corners = [[0.0, 0, 0]]
    for a in (-1, 1):
        for b in (-golden, golden):
            corners += [[0, a, b], [a, b, 0], [b, 0, a]]
    icosahedron = minimize(energy, 0.57 * np.array(corners).ravel(), jac=True).x.reshape(-1, 3)
    lowest = bridge.relax(THETA, cluster(icosahedron))
    assert abs(bridge.energy(THETA, lowest) - LOWEST_13) < 1e-4
    shaken = np.asarray(lowest.positions) + rng.uniform(0.05, 0.25, (1500, 1, 1)) * rng.normal(
        size=(1500, 13, 3)
    )
    shaken = shaken[:100] if chosen.quick else shaken
    seconds, saddles = timed(lambda: landscapes.find_saddles(THETA, lowest, shaken, max_steps=150))
    over = landscapes.transitions_over(THETA, list(saddles.found.values()))
    joined = distinct(
        [
            way.energies[1]
            for (way,) in over.found.values()
            if min(abs(way.energies[0] - LOWEST_13), abs(way.energies[2] - LOWEST_13)) < 1e-4
        ]
    )
    every = distinct([s.energy for s in saddles.found.values()])
    report.findings["saddles of 13"] = {
        "searches": len(shaken),
        "found": len(saddles.found),
        "distinct": len(every),
        "joined to the global minimum": joined.tolist(),
        "seconds each": seconds / max(len(saddles.found), 1),
    }
    with contextlib.suppress(ImportError):
        from pele.systems import LJCluster

        some = shaken[: 10 if chosen.quick else 200]
        seconds, (energies, calls) = timed(lambda: pele_saddles(LJCluster(13), some))
        own = distinct(energies)
        known = [bool(np.abs(every - e).min() < 2 * SAME) for e in own]
        report.findings["saddles of 13, pele"] = {
            "found": f"{len(energies)} of {len(some)}",
            "distinct": len(own),
            "among ours": f"{sum(known)} of {len(known)}",
            "seconds each": seconds / max(len(energies), 1),
            "gradients each": calls / max(len(energies), 1),
        }
    with contextlib.suppress(ImportError):
        from ase import Atoms
        from ase.calculators.lj import LennardJones
        from sella import Sella

        agree, steps = 0, []
        chain = list(saddles.found.values())[:8]
        for saddle in chain:
            x = saddle.packing.positions + 0.02 * rng.normal(size=(13, 3))
            atoms = Atoms("Ar13", positions=x)
            atoms.calc = LennardJones(sigma=1.0, epsilon=1.0, rc=1000.0, smooth=False)
            search = Sella(atoms, internal=False, logfile=None)
            search.run(fmax=1e-5, steps=300)
            agree += abs(atoms.get_potential_energy() - saddle.energy) < SAME
            steps.append(search.nsteps)
        report.findings["Sella from near ours"] = {
            "the same": f"{agree} of {len(chain)}",
            "steps": float(np.median(steps)),
        }
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
