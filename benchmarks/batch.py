"""Poisson's ratios with gradients a second: a batch as one array computation, and one by one.

Packings (harmonic-Morse, a = 6, two types, number density 1.6) quenched to 1e-6. The batch runs on
JAX's first device, a GPU where there is one: by `measure_batch`, which deals with those that its
fast way does not settle, and by the gradient of a plain ``vmap`` of `minimum`, which leaves them as
NaN. One by one they run on one core of the CPU, each with `relax` and `value_and_grad`.
Compilation is not in the times. The share that ended as they should is given beside them.
"""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np
from common import OURS, Contender, Report, Sample, parser, race

from amorph import bridge, ensemble

DENSITY = 1.6
BATCH = f"{OURS}, batch"
VMAP = f"{OURS}, vmap of minimum"
AT_ONCE = 128  # packings of a vmap
LARGEST_VMAP = 128  # its dense algebra takes minutes beyond


def prepared(n: int, replicas: int, seed: int) -> tuple[Any, Any]:
    theta = bridge.HarmonicMorse([0.8, 1.0], 0.1, 5.0, 6.0)
    return theta, ensemble.quench(theta, n, DENSITY, 2, replicas, seed=seed, tolerance=1e-6)


def vmapped(theta: Any, batch: Any) -> Any:
    """Values and gradients of all packings, by JAX's transformations alone."""
    poisson_ratio = bridge.feature("poisson_ratio").function

    @jax.jit
    def many(theta: Any, x: Any) -> Any:
        def one(t: Any, x: Any) -> Any:
            packing = bridge.Packing(x, batch.typeid, batch.boxes[0])
            return poisson_ratio(t, bridge.minimum(t, packing))

        return jax.vmap(jax.value_and_grad(one), (None, 0))(theta, x)

    def run() -> Any:
        parts = np.array_split(batch.positions, -(-len(batch.positions) // AT_ONCE))
        found = [jax.block_until_ready(many(theta, x)) for x in parts]
        return np.concatenate([value for value, _ in found])

    return run


def main() -> None:
    """Compare, print, write."""
    options = parser(__doc__.splitlines()[0], n=0, repetitions=3)
    options.add_argument("--replicas", type=int, default=1024)
    options.add_argument("--single", type=int, default=64, help="one by one, so many (%(default)s)")
    chosen = options.parse_args()
    replicas = 32 if chosen.quick else chosen.replicas
    device = jax.devices()[0]
    cpu = jax.devices("cpu")[0]
    report = Report(
        "Poisson's ratios with gradients, a second",
        {"replicas": replicas, "device": f"{device.platform}: {device.device_kind}"},
    )
    sizes = (chosen.n,) if chosen.n else (64, 128, 368)
    for n in (64,) if chosen.quick else sizes:
        theta, batch = prepared(n, replicas, chosen.seed)
        few = min(chosen.single, replicas)

        def at_once(i: int, theta: Any = theta, batch: Any = batch) -> Sample:
            began = time.perf_counter()
            found = bridge.measure_batch(
                theta, batch.positions, batch.typeid, batch.boxes, (), ["poisson_ratio"]
            )
            seconds = time.perf_counter() - began
            return Sample(
                seconds / replicas,
                len(found.replicas) / replicas,
                {"a second": replicas / seconds, "went alone": found.single / replicas},
            )

        def alone(i: int, theta: Any = theta, batch: Any = batch, few: int = few) -> Sample:
            ok = 0
            differentiate = bridge.value_and_grad("poisson_ratio")
            began = time.perf_counter()
            with jax.default_device(cpu):
                for x in batch.positions[:few]:
                    packing = bridge.Packing(x, batch.typeid, batch.boxes[0])
                    try:
                        differentiate(theta, bridge.relax(theta, packing))
                    except bridge.errors.NotAMinimumError:
                        continue
                    ok += 1
            seconds = time.perf_counter() - began
            return Sample(seconds / few, ok / few, {"a second": few / seconds, "went alone": 1.0})

        values = vmapped(theta, batch)

        def by_vmap(i: int, values: Any = values) -> Sample:
            began = time.perf_counter()
            found = values()
            seconds = time.perf_counter() - began
            ok = float(np.isfinite(found).mean())
            return Sample(
                seconds / replicas, ok, {"a second": replicas / seconds, "went alone": 0.0}
            )

        contenders = [Contender(BATCH, at_once), Contender(OURS, alone)]
        if n <= LARGEST_VMAP:
            contenders.insert(1, Contender(VMAP, by_vmap))
        for contender in contenders:
            contender.run(0)  # compiles
        samples = race(
            contenders,
            2 if chosen.quick else chosen.repetitions,
            what=f"N = {n}",
        )
        report.add(f"N = {n}", samples, unit="s", reference=BATCH)
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
