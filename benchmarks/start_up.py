"""Seconds from the start of a process to its first value, without and with compiled code on disk.

`python benchmarks/start_up.py` prints a row for each task: with ``AMORPH_CACHE=off``, with an empty
cache folder (cold), and with the same folder once more (warm). Wall time of the whole process and
the processor time of it and its children; the median of some runs, of cold ones each with a folder
of its own.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GRADIENT = """
from amorph import bridge
bridge.keep_compiled()
theta, packing = next(bridge.read_gsd("flat.gsd"))
packing = bridge.relax(theta, packing)
print(bridge.value_and_grad(bridge.poisson_ratio)(theta, packing)[0])
"""
MADE = """
from amorph import bridge, ensemble
flat = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0)
ensemble.quench(flat, 128, 1.6, 2, 1, seed=1).write("flat.gsd")
solid = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)
ensemble.quench(solid, 128, 0.75, 3, 1, seed=1).write("solid.gsd")
"""
AMORPH = [sys.executable, "-m", "amorph"]
TASKS = {
    "relax and gradient, N = 128": [sys.executable, "-c", GRADIENT],
    "analyze, one frame, 2D": [*AMORPH, "analyze", "flat.gsd", "-o", "o.csv", "--force"],
    "analyze, one frame, 3D": [*AMORPH, "analyze", "solid.gsd", "-o", "o.csv", "--force"],
    "amorph --help": [*AMORPH, "--help"],
}


def timed(command: list[str], folder: str, **environment: str) -> tuple[float, float]:
    """Wall and processor seconds of a command."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**clean, **environment}, capture_output=True, check=False
    )
    wall = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stderr.decode(errors="replace"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    print("| task | off: wall, processor | cold | warm |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        timed([sys.executable, "-c", MADE], folder)
        for name, command in TASKS.items():
            found: dict[str, list[tuple[float, float]]] = {"off": [], "cold": [], "warm": []}
            for run in range(runs):
                kept = str(Path(folder, f"{abs(hash(name))}-{run}"))
                Path(kept).mkdir()
                found["off"].append(timed(command, folder, AMORPH_CACHE="off"))
                for which in ("cold", "warm"):
                    found[which].append(timed(command, folder, XDG_CACHE_HOME=kept))
            cells = (
                "{:.2f}, {:.2f}".format(*map(statistics.median, zip(*times, strict=True)))
                for times in found.values()
            )
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
