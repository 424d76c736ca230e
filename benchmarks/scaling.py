"""Costs of relaxing, measuring and differentiating one packing against its size.

Packings (harmonic-Morse, a = 6, two types; in two dimensions with the density and binding of Zu and
Goodrich, Commun. Mater. 5 (2024); in three density 2.0 and half the binding, with which they are
free of stress: else they are in tension, and large ones tear) are quenched by the engine and
written to a folder, from which they are taken when the script is run again. Each size is measured
in a process of its own: re-minimisation to the bridge's tolerance, which includes the proof of the
minimum and the linear response; the elastic tensor; Poisson's ratio with its gradient by all
parameters. The second time in a process counts, without compilation. Memory is the process's peak
resident set at the end, the first pass and JAX's compiler included.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import Report, Sample, parser

SIZES = {
    2: (128, 368, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
    3: (368, 1000, 3000, 8000, 27_000),
}
QUICK = {2: (128, 1000, 3000), 3: (1000,)}
DENSITY = {2: 1.6, 3: 2.0}
BINDING = {2: 0.1, 3: 0.05}
DIAMETERS, STIFFNESS, ALPHA = [0.8, 1.0], 5.0, 6.0
QUENCHED = 1e-6
STAGES = ("relax", "tensor", "gradient")


def potential(d: int) -> Any:
    from amorph.bridge import HarmonicMorse

    return HarmonicMorse(DIAMETERS, BINDING[d], STIFFNESS, ALPHA)


def prepared(folder: Path, n: int, d: int, seed: int) -> Path:
    """The file of a packing of a size, quenched now unless it is there."""
    path = folder / f"d{d}-n{n}.gsd"
    if not path.exists():
        from amorph import ensemble

        batch = ensemble.quench(
            potential(d), n, DENSITY[d], d, 1, seed=seed, tolerance=QUENCHED, threads=1
        )
        batch.write(path)
    return path


def measure_here(path: Path, solver: str, passes: int) -> None:
    """In a process of its own: print the times and the peak of memory as JSON."""
    from amorph import bridge
    from amorph.bridge.minima.relaxing import relaxation

    times: list[dict[str, float]] = []
    found: dict[str, Any] = {}
    for _ in range(passes):
        ((theta, packing),) = bridge.read_gsd(path)
        seconds = {}
        began = time.perf_counter()
        rest = relaxation(theta, packing, solver=solver)
        seconds["relax"] = time.perf_counter() - began
        began = time.perf_counter()
        tensor = bridge.measure(theta, rest.packing, ["elastic_tensor"]).values["elastic_tensor"]
        seconds["tensor"] = time.perf_counter() - began
        began = time.perf_counter()
        nu, gradient = bridge.value_and_grad("poisson_ratio")(theta, rest.packing)
        seconds["gradient"] = time.perf_counter() - began
        times.append(seconds)
        found = {
            "solver": rest.response.solver,
            "factor GiB": rest.response.factor.n_bytes / 2**30,
            "max_force": rest.response.max_force,
            "steps": rest.newton_steps,
            "fire": rest.fire_steps,
            "Poisson's ratio": nu,
            "C_xxxx": float(tensor[0, 0, 0, 0]),
            "dν/dD": np.asarray(gradient.diameters).tolist(),
        }
        del packing, rest  # the factorisation stays with the packing
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"times": times, "peak GiB": peak, **found}))


def measured(path: Path, solver: str, passes: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", str(path), solver, str(passes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{path}: {done.stderr.strip().splitlines()[-1:]}")
    return dict(json.loads(done.stdout))


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Of the cost against N, over the last three sizes."""
    return float(np.polyfit(np.log(sizes[-3:]), np.log(seconds[-3:]), 1)[0])


def main() -> None:
    """Measure, print, write, draw."""
    if sys.argv[1:2] == ["--one"]:
        measure_here(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
        return
    options = parser(__doc__.splitlines()[0], n=0, repetitions=1)
    options.add_argument("--packings", type=Path, default=Path("scaling-packings"))
    options.add_argument("--largest", type=int, default=1_000_000, help="N in 2D (%(default)s)")
    options.add_argument("--solver", default="auto")
    options.add_argument("--picture", type=Path)
    chosen = options.parse_args()
    chosen.packings.mkdir(parents=True, exist_ok=True)
    report = Report(
        "cost against size",
        {
            "density": str(DENSITY),
            "binding": str(BINDING),
            "alpha": ALPHA,
            "quenched to": QUENCHED,
            "solver": chosen.solver,
        },
    )
    curves: dict[int, list[dict[str, Any]]] = {}
    for d, sizes in (QUICK if chosen.quick else SIZES).items():
        rows = curves.setdefault(d, [])
        for n in sizes:
            if n > chosen.largest:
                continue
            path = prepared(chosen.packings, n, d, chosen.seed)
            # The largest take minutes, beside which compilation is little.
            found = measured(path, chosen.solver, 1 if n > 300_000 else 2)
            rows.append({"n": n, **found})
            extra = {
                "peak GiB": found["peak GiB"],
                "factor GiB": found["factor GiB"],
                **found["times"][-1],
            }
            total = sum(found["times"][-1].values())
            who = f"{found['solver']}"
            report.add(
                f"{d}D, N = {n:,}", {who: [Sample(total, 1.0, extra)]}, unit="s", reference=who
            )
        for stage in STAGES:
            if len(rows) >= 3:
                found_exponent = exponent(
                    [r["n"] for r in rows], [r["times"][-1][stage] for r in rows]
                )
                report.findings[f"exponent of {stage}, {d}D, last three sizes"] = found_exponent
    report.details["rows"] = {f"{d}D": rows for d, rows in curves.items()}
    report.finish(chosen.json)
    if chosen.picture is not None:
        draw(curves, chosen.picture)


def draw(curves: dict[int, list[dict[str, Any]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = {"relax": "#1b6ca8", "tensor": "#e08e2b", "gradient": "#3a7d44"}
    symbols = {"dense": "o", "pardiso": "s", "cholmod": "s", "superlu": "s", "krylov": "^"}
    figure, panels = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
    for d, rows in curves.items():
        sizes = [r["n"] for r in rows]
        line = "-" if d == 2 else "--"
        for stage in STAGES:
            seconds = [r["times"][-1][stage] for r in rows]
            panels[0].plot(
                sizes, seconds, line, color=colours[stage],
                label={"relax": "relax and respond", "tensor": "elastic tensor",
                       "gradient": "ν and its gradient"}[stage] if d == 2 else None,
            )  # fmt: skip
            for r, s in zip(rows, seconds, strict=True):
                panels[0].plot(
                    r["n"], s, symbols[r["solver"]], color=colours[stage], ms=5,
                    mfc="white" if d == 3 else None,
                )  # fmt: skip
        panels[1].plot(sizes, [r["peak GiB"] for r in rows], line, color="#444444", label=f"{d}D")
        for r in rows:
            panels[1].plot(
                r["n"], r["peak GiB"], symbols[r["solver"]], color="#444444", ms=5,
                mfc="white" if d == 3 else None,
            )  # fmt: skip
    names = {"o": "dense Cholesky", "s": "sparse Cholesky", "^": "conjugate gradients"}
    for symbol, name in names.items():
        panels[1].plot([], [], symbol, color="#444444", ms=5, label=name)
    for panel, label in zip(panels, ("time, s (two cores)", "peak memory, GiB"), strict=True):
        panel.set(xscale="log", yscale="log", xlabel="N", ylabel=label)
        panel.grid(alpha=0.25, which="both", lw=0.4)
        panel.legend(frameon=False, fontsize=8)
    panels[0].set_title("2D: lines, 3D: dashed", fontsize=9)
    figure.savefig(path, dpi=160)


if __name__ == "__main__":
    main()
