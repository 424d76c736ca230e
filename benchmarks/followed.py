"""Times of a followed step of a design, and of the response of a packing met for the first time.

Followed: one diameter is changed by 1e-4, the minimum is followed (`follow`), and Poisson's ratio
is measured with its gradient by all parameters. Response: that of a packing object that knows
nothing yet, its pairs to be searched for. On one core, harmonic-Morse, a = 6, number density 1.6,
two dimensions; compilation is not in the times.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from common import OURS, Report, Sample, one_core, parser
from rich.progress import track

from amorph import bridge, ensemble


def at_rest(theta: Any, n: int, seed: int) -> bridge.Packing:
    """The first packing of some seeds that relaxes to a minimum with a response."""
    while True:
        made = ensemble.quench(theta, n, 1.6, 2, 1, seed=seed, threads=1)
        start = bridge.Packing(made.positions[0], made.typeid, made.boxes[0])
        try:
            return bridge.relax(theta, start)
        except bridge.errors.NotAMinimumError:
            seed += 1


def timed(run: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    found = run()
    return time.perf_counter() - began, found


def main() -> None:
    """Time, print, write."""
    options = parser(__doc__.splitlines()[0], n=0, repetitions=60)
    chosen = options.parse_args()
    repetitions = 5 if chosen.quick else chosen.repetitions
    one_core()
    report = Report("a followed step, and a response", {"seed": chosen.seed})
    for n in (128,) if chosen.quick else (128, 368, 1000):
        theta = bridge.HarmonicMorse([0.8, 1.0], 0.1, 5.0, 6.0)
        packing = at_rest(theta, n, chosen.seed)
        steps, responses = [], []
        for k in track(range(repetitions + 4), f"N = {n}", transient=True):
            change = np.array([1.0 + (1e-4 if k % 2 else -1e-4), 1.0])
            new = theta.replace(diameters=theta.arrays()["diameters"] * change)

            def step(theta: Any = theta, packing: Any = packing, new: Any = new) -> Any:
                found = bridge.follow(theta, packing, new)
                bridge.value_and_grad("poisson_ratio")(new, found.packing)
                return found

            seconds, found = timed(step)
            theta, packing = new, found.packing
            anew = bridge.Packing(packing.positions, packing.typeid, packing.box)

            def respond(theta: Any = theta, anew: Any = anew) -> Any:
                return bridge.response(theta, anew)

            again, _ = timed(respond)
            if k >= 4:  # both signs of the change have been compiled for
                steps.append(Sample(seconds, float(not found.rearranged)))
                responses.append(Sample(again, 1.0))
        report.add(f"N = {n}, followed step", {OURS: steps})
        report.add(f"N = {n}, response", {OURS: responses})
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
