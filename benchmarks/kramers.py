"""Which prefactor do overdamped clusters in open space have: with the factor of rotation, or not?

A trimer in the plane: two stiff bonds, and a contact between the outer particles. It passes from
one triangle to its mirror image over the one saddle at which it is straight. Brownian trajectories
by the engine, at several temperatures; passages counted against Kramers' rate with and without
(I_S/I_A)^½, as P4's eq. 4 has it, and extrapolated to kT → 0, where Kramers' rate is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import Report, parser, wide_console

from amorph import bridge, ensemble
from amorph.bridge import landscapes

TEMPERATURES = (1.4, 1.2, 1.0, 0.85, 0.7)


def trimer() -> Any:
    """Interactions, and the two triangles at rest."""
    none = 1e-9
    theta = bridge.Morse(
        diameters=np.ones(3),
        binding=[none, 60.0, 6.0, none, 60.0, none],
        alpha=[3.0, 1.6, 3.0, 3.0, 1.6, 3.0],
    )
    corners = np.array([[0.0, 0.0], [0.5, 0.75**0.5], [1.0, 0.0]])
    one = bridge.relax(theta, bridge.Packing.of(corners, np.arange(3)))
    return theta, one, one.with_positions(one.positions * [1.0, -1.0])


def main() -> None:
    """Predict, run, compare, extrapolate."""
    options = parser(__doc__.splitlines()[0], n=5000, repetitions=1)
    options.add_argument("--dt", type=float, default=2e-4, help="(%(default)s)")
    chosen = options.parse_args()
    wanted = 50 if chosen.quick else chosen.n
    theta, one, other = trimer()
    transition = landscapes.find_transition(theta, one, other)
    points = landscapes.points_of(theta, [transition])
    report = Report("kramers", {"passages": wanted, "dt": chosen.dt})
    replicas, every = 500, 100
    ratios = []
    for temperature in TEMPERATURES[: 2 if chosen.quick else None]:
        whole, bare = (
            float(np.exp(landscapes.log_rates(theta, points, temperature, rotations=r))[0, 0])
            for r in (True, False)
        )
        # A tenth as long to settle, then pieces that go on with one another.
        frames = int(np.ceil(wanted / whole / replicas / (chosen.dt * every)))
        piece = min(frames, 4000)
        x = np.repeat(np.asarray(one.positions)[None], replicas, axis=0)
        number, time = np.zeros(2, dtype=np.int64), np.zeros(2)
        stage = ensemble.Brownian(piece * every, chosen.dt, temperature)
        for k in range(-1, -(-frames // piece)):
            run = ensemble.prepare(
                theta, x, np.arange(3), None, [stage], seed=chosen.seed, stream=k + 1,
                trajectory_every=every, threads=1,
            )  # fmt: skip
            assert (run.status == ensemble.Status.RAN).all()
            x = run.positions
            if k < 0:
                continue
            where, _ = landscapes.path_position(transition, run.trajectory.positions)
            found = landscapes.count_passages(where, chosen.dt * every, low=0.25, high=0.75)
            number += found.number
            time += found.time
        rate = number.sum() / time.sum()
        error = 1.0 / np.sqrt(number.sum())
        ratios.append((temperature, rate / whole, rate / bare, error))
        report.findings[f"kT = {temperature}"] = {
            "barrier / kT": transition.barrier / temperature,
            "passages": int(number.sum()),
            "rate": rate,
            "over Kramers": rate / whole,
            "over Kramers without the factor": rate / bare,
            "relative error": error,
        }
        report.print_findings(wide_console())
    t, with_factor, without, error = np.array(ratios).T
    for name, ratio in (("with", with_factor), ("without", without)):
        fit, covariance = np.polyfit(t, ratio, 1, w=1.0 / (ratio * error), cov="unscaled")
        report.findings[f"extrapolated to kT = 0, {name} the factor"] = {
            "ratio": float(fit[1]),
            "standard error": float(covariance[1, 1] ** 0.5),
        }
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
