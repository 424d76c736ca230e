"""Prepare an ensemble of packings in a HOOMD script, and analyse it.

On a GPU, thousands at a time.
"""

import argparse
from pathlib import Path

import hoomd
import hoomd.amorph
from quench_large import PAIRS, SIGMA

from amorph import bridge


def main() -> None:
    """Prepare, write, measure."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--n", type=int, default=128, help="discs in each (%(default)s)")
    options.add_argument("--replicas", type=int, default=100, help="packings (%(default)s)")
    options.add_argument("--output", type=Path, default=Path("ensemble.gsd"))
    chosen = options.parse_args()

    force = hoomd.amorph.pair.HarmonicMorse(hoomd.md.nlist.Cell(buffer=0.3))
    for pair in PAIRS:
        force.params[pair] = dict(sigma=SIGMA[pair], binding=0.1, stiffness=5.0, alpha=6.0)
    ensemble = hoomd.amorph.prepare.Ensemble(
        hoomd.device.auto_select(),
        force,
        types=["A", "B"],
        n_particles=chosen.n,
        density=1.6,
        replicas=chosen.replicas,
        seed=1,
    )
    ensemble.quench()
    ensemble.write(chosen.output, overwrite=True)

    ratios = []
    for theta, packing in bridge.read_gsd(chosen.output):
        packing = bridge.relax(theta, packing)
        ratios.append(float(bridge.poisson_ratio(theta, packing)))
    print(f"{len(ratios)} packings, Poisson's ratio {sum(ratios) / len(ratios):.3f} on average")


if __name__ == "__main__":
    main()
