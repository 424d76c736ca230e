"""One check of all that runs on a GPU, in eight minutes: builds, tests, times, one JSON file.

    python benchmarks/gpu_check.py --out gpu_check.json

On a machine with a GPU, nvcc, CMake, ninja, nanobind, NumPy, SciPy and JAX, and without Amorph: its
engine is built from this checkout, beside it nothing is installed. Each step has a process and a
time of its own, and what it found is in the file as soon as it has ended: a step that fails, hangs
or has no time left costs no other.

``--emulated`` puts the processor in the GPU's place (``tests/engine_device/emulated_cuda``), with
few and small cases: all of this but the device itself is tried by it, as the slow tests do.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "hoomd_plugin"
SECONDS = 480.0
# What the last lines of a step's output may take in the file.
TAIL = 3000

Found = dict[str, Any]


# --- the steps, each in a process of its own ------------------------------------------------------


def without_gsd() -> None:
    """Let packages that read GSD files be imported where gsd is not: no step reads one."""
    if importlib.util.find_spec("gsd") is None:
        for name in ("gsd", "gsd.fl", "gsd.hoomd"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["gsd"].fl = sys.modules["gsd.fl"]  # type: ignore[attr-defined]
        sys.modules["gsd"].hoomd = sys.modules["gsd.hoomd"]  # type: ignore[attr-defined]


def potential(kind: str = "harmonic_morse", alpha: float = 6.0) -> Any:
    """Parameters as the engine takes them; without JAX."""
    import numpy as np

    pairs: Mapping[str, Any] = {"stiffness": [5.0] * 3}
    if kind == "harmonic_morse":
        pairs = {**pairs, "binding": [0.1] * 3, "alpha": [alpha] * 3}
    values = {k: np.asarray(v) for k, v in {"diameters": [0.8, 1.0], **pairs}.items()}
    return types.SimpleNamespace(potential=kind, arrays=lambda: values)


def step_first_call(small: bool) -> Found:
    """The time of a process's first call: loading the code, compiling PTX where it is not kept."""
    from amorph import ensemble

    out: Found = {"gpus": [repr(g) for g in ensemble.gpus()]}
    if not ensemble.gpus():
        raise RuntimeError(ensemble.why_no_gpu())
    for call in ("first", "second"):
        began = time.perf_counter()
        found = ensemble.quench(potential(), 64, 1.6, 2, 2, seed=1, device="gpu")
        out[f"{call} call [s]"] = round(time.perf_counter() - began, 4)
    out["status"] = [int(s) for s in found.status]
    return out


def step_small(small: bool) -> Found:
    """Small cases of every stage, dimension and kind of potential, for a sanitizer to watch."""
    from amorph import ensemble
    from amorph.ensemble import Bonds, Brownian, Compress, Langevin, Minimize

    steps = 2 if small else 12
    stages = [
        Minimize(max_steps=steps),
        Langevin(steps, 0.01, 1e-3),
        Brownian(steps, 0.01, 1e-3),
        Minimize(1e-3, steps, 0.05),
    ]
    ran = 0
    for dimension, n, density in ((2, 100, 1.6), (3, 256, 1.6)):
        for kind in ("harmonic_morse", "soft_sphere"):
            theta = potential(kind, 14.0)
            start = ensemble.make_start(theta, n, density, dimension, 2, 3)
            # Each alone, the first in the kernels that know of nothing else; and springs.
            lists: list[Any] = [[stage] for stage in stages]
            lists.append([Minimize(1e-2, steps), Compress(1.01 * density, 1, 1e-2, steps)])
            for one in lists:
                ensemble.prepare(
                    theta, start.positions, start.typeid, start.box, one, seed=1, device="gpu"
                )
                ran += 1
            springs = [Bonds.within(x, start.boxes[0], 0.9, 1.0, 0.9) for x in start.positions]
            ensemble.prepare(
                theta, start.positions, start.typeid, start.box, stages[:1],
                bonds=springs, device="gpu",
            )  # fmt: skip
            ran += 1
    return {"calls": ran}


def step_throughput(small: bool) -> Found:
    """Replicas a second on the GPU and on all cores, quench and Langevin, N = 64 to 4,096."""
    import numpy as np

    from amorph import ensemble
    from amorph.ensemble import Langevin, Minimize

    sizes = {64: 16384, 256: 4096, 1024: 1024, 4096: 264}
    if small:
        sizes = {32: 2}
    rows = []
    for n, replicas in sizes.items():
        for kind in ("harmonic_morse", "soft_sphere"):
            theta = potential(kind, 14.0)
            stages: dict[str, list[Any]] = {
                "quench": [Minimize()],
                "langevin": [Minimize(1e-2), Langevin(20 if small else 2000, 0.02, 1e-3)],
            }
            start = ensemble.make_start(theta, n, 1.6, 2, replicas, 3)
            for what, list_ in stages.items():
                row: Found = {"what": what, "potential": kind, "n": n}
                for device, part in (("gpu", replicas), ("cpu", max(1, replicas // 8))):
                    began = time.perf_counter()
                    found = ensemble.prepare(
                        theta, start.positions[:part], start.typeid, start.box, list_,
                        seed=2, device=device,
                    )  # fmt: skip
                    seconds = time.perf_counter() - began
                    row[device] = {
                        "replicas": part,
                        "seconds": round(seconds, 4),
                        "replicas a second": part / seconds,
                        "particle steps a second": float(found.steps.sum()) * n / seconds,
                        "as they should": float(np.isin(found.status, (0, 4)).mean()),
                    }
                row["gpu / cpu"] = row["gpu"]["replicas a second"] / row["cpu"]["replicas a second"]
                rows.append(row)
    return {"threads": os.cpu_count(), "rows": rows}


def step_minima(small: bool) -> Found:
    """Minima that both find: their energies by the test of Kolmogorov and Smirnov."""
    import numpy as np
    from scipy.stats import ks_2samp

    from amorph import ensemble

    replicas, n = (12, 32) if small else (4000, 64)
    out: Found = {}
    for kind in ("harmonic_morse", "soft_sphere"):
        theta = potential(kind, 14.0)
        on = {
            device: ensemble.quench(
                theta, n, 1.6, 2, replicas, seed=5, first_replica=first, device=device
            )
            for device, first in (("gpu", 0), ("cpu", replicas))
        }
        energies = [e.energy[e.converged] / n for e in on.values()]
        test = ks_2samp(*energies)
        same = ensemble.quench(theta, n, 1.6, 2, min(replicas, 400), seed=5)
        gpu = on["gpu"].energy[: len(same)]
        out[kind] = {
            "replicas": replicas,
            "converged": [float(e.converged.mean()) for e in on.values()],
            "mean energy a particle": [float(np.mean(e)) for e in energies],
            "KS": float(test.statistic),
            "p": float(test.pvalue),
            "same minimum from the same start": float(
                np.mean(np.abs(gpu - same.energy) < 1e-8 * n)
            ),
        }
    if any(found["p"] < 1e-4 for found in out.values()):
        raise RuntimeError(f"the GPU finds other minima: {out}")
    return out


def step_batches(small: bool) -> Found:
    """The bridge's batches on JAX's device: times, and how far values are from the CPU's."""
    import jax
    import numpy as np

    from amorph import bridge, ensemble

    theta = bridge.HarmonicMorse([0.8, 1.0], 0.1, 5.0, 6.0)
    rows = []
    for n, replicas in ((48, 4),) if small else ((64, 1024), (128, 512), (368, 64)):
        batch = ensemble.quench(theta, n, 1.6, 2, replicas, seed=7, tolerance=1e-8)
        row: Found = {"n": n, "replicas": replicas}
        values: list[Any] = []
        for device in (jax.devices()[0], jax.devices("cpu")[0]):
            with jax.default_device(device):
                for call in ("compiling", "compiled"):
                    began = time.perf_counter()
                    found = bridge.measure_batch(
                        theta, batch.positions, batch.typeid, batch.boxes, (), ["poisson_ratio"]
                    )
                    row[f"{device.platform}, {call} [s]"] = round(time.perf_counter() - began, 3)
            values.append(found)
            row[f"{device.platform}: went alone"] = int(found.single)
        one, other = values
        both, k, m = np.intersect1d(one.replicas, other.replicas, return_indices=True)
        row["measured by both"] = len(both)
        row["largest difference of values"] = float(
            np.max(np.abs(one.values["poisson_ratio"][k] - other.values["poisson_ratio"][m]))
        )
        rows.append(row)
    return {"device": str(jax.devices()[0]), "rows": rows}


STEPS: dict[str, Callable[[bool], Found]] = {
    "first call": step_first_call,
    "small": step_small,
    "throughput": step_throughput,
    "minima": step_minima,
    "batches": step_batches,
}


# --- the driver -----------------------------------------------------------------------------------


class Check:
    """The file, and the time that is left."""

    def __init__(self, out: Path, folder: Path, emulated: bool, seconds: float) -> None:
        self.out, self.folder, self.emulated = out, folder, emulated
        self.ends = time.monotonic() + seconds
        self.report: Found = {"emulated": emulated, "steps": {}}

    def run(
        self,
        name: str,
        command: list[str],
        most: float,
        result: Path | None = None,
        **variables: str,
    ) -> bool:
        """Run a command as a step, for so many seconds at most; whether it ended well."""
        began = time.monotonic()
        left = min(most, self.ends - began)
        entry: Found = {"status": "no time was left"}
        if left > 1:
            environment = {**os.environ, **variables}
            try:
                done = subprocess.run(
                    command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=left
                )
                said, status = done.stdout + done.stderr, done.returncode
                entry["status"] = "ok" if status == 0 else f"ended with {status}"
            except subprocess.TimeoutExpired as over:
                said = "".join(
                    part.decode(errors="replace") if isinstance(part, bytes) else part or ""
                    for part in (over.stdout, over.stderr)
                )
                entry["status"] = f"not over after {left:.0f} s"
            except OSError as error:
                said, entry["status"] = str(error), f"could not be started: {error.strerror}"
            entry["output"] = said[-TAIL:]
        entry["seconds"] = round(time.monotonic() - began, 1)
        if result is not None and result.exists():
            entry["found"] = json.loads(result.read_text(encoding="utf-8"))
        self.keep(name, entry)
        return bool(entry["status"] == "ok")

    def skip(self, name: str, why: str) -> None:
        """Note a step that cannot be taken here."""
        self.keep(name, {"status": f"left out: {why}", "seconds": 0.0})

    def keep(self, name: str, entry: Found) -> None:
        """Put a step into the file."""
        self.report["steps"][name] = entry
        partial = self.out.with_name(f".{self.out.name}.partial")
        partial.write_text(json.dumps(self.report, indent=1), encoding="utf-8")
        partial.replace(self.out)
        print(f"{name:24} {entry['seconds']:7.1f} s  {entry['status']}", flush=True)

    def step(self, name: str, most: float, *before: str, shown: str = "", **more: str) -> bool:
        """One of `STEPS` in a process of its own, started by `before` where that is given."""
        result = self.folder / f"{shown or name}.json".replace(" ", "-")
        command = [*before, sys.executable, str(Path(__file__).resolve()), "--step", name]
        command += ["--out", str(result), *(["--emulated"] if self.emulated else [])]
        variables = {"PYTHONPATH": str(self.folder / "package"), **more}
        return self.run(shown or name, command, most, result, **variables)


def machine() -> Found:
    """The device, the compiler, the host and the commit, as they name themselves."""

    def said(*command: str) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{command[0]}: {error}"
        return (done.stdout or done.stderr).strip()

    query = "name,driver_version,memory.total,clocks.max.sm,compute_cap"
    return {
        "gpu": said("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"),
        "nvcc": said("nvcc", "--version").splitlines()[-1:],
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "commit": said("git", "-C", str(ROOT), "rev-parse", "HEAD"),
    }


def build(check: Check) -> bool:
    """The engine's module with its GPU half, and a package of it and of the sources around it."""
    folder = check.folder / "build"
    try:
        import nanobind
    except ImportError:
        check.skip("build", "nanobind is not installed, without which no Python module is built")
        return False
    gpu = ["-DAMORPH_CUDA=ON"]
    if check.emulated:
        emulated = ROOT / "tests" / "engine_device" / "emulated_cuda"
        gpu = ["-DAMORPH_CUDA=OFF", f"-DAMORPH_EMULATED_GPU={emulated}"]
    configure = [
        *("cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", "-DSKBUILD=1"),
        *("-DCMAKE_BUILD_TYPE=Release", f"-DPython_EXECUTABLE={sys.executable}", *gpu),
        f"-Dnanobind_DIR={nanobind.cmake_dir()}",
    ]
    if not check.run("configure", configure, 60):
        return False
    if not check.run("build", ["cmake", "--build", str(folder)], 1200 if check.emulated else 240):
        return False
    package = check.folder / "package" / "amorph"
    shutil.copytree(ROOT / "package" / "amorph", package)
    for name, source in (
        ("handover", PLUGIN / "handover"),
        ("ensemble", PLUGIN / "ensemble"),
        ("bridge", ROOT / "bridge"),
    ):
        shutil.copytree(source, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    for module in (folder / "hoomd_plugin" / "ensemble").glob("_engine*.so"):
        shutil.copy(module, package / "ensemble")
    return True


SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")


def check_all(check: Check) -> None:
    """All steps in their order: what is known sooner is worth more."""
    check.report["machine"] = machine()
    if not build(check):
        return
    if not check.step("first call", 60):
        return
    # The cache of compiled PTX is warm from here on.
    if importlib.util.find_spec("pytest") and importlib.util.find_spec("hypothesis"):
        tests = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
        tests += ["-o", "addopts=--import-mode=importlib"]
        if check.emulated:
            tests += ["-k", "not finds_minima"]
        tests += [str(ROOT / "tests" / "ensemble" / "test_devices.py")]
        check.run("device tests", tests, 90, PYTHONPATH=str(check.folder / "package"))
    else:
        check.skip("device tests", "there is no pytest, or no hypothesis")
    check.step("minima", 60)
    check.step("throughput", 150)
    memory = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    check.step("batches", 120, **memory)
    for tool in SANITIZERS:
        if check.emulated:
            check.skip(tool, "of processors: `pytest -m slow tests/engine_device` has one")
        elif shutil.which("compute-sanitizer") is None:
            check.skip(tool, "there is no compute-sanitizer")
        else:
            watched = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "9")
            check.step("small", 60, *watched, shown=tool)
    if check.emulated:
        check.step("small", 60)


def table(report: Found) -> str:
    """The figures, short."""
    lines = []
    steps = report["steps"]
    for row in steps.get("throughput", {}).get("found", {}).get("rows", ()):
        lines.append(
            f"{row['what']:9} {row['potential']:15} N = {row['n']:5}  GPU "
            f"{row['gpu']['replicas a second']:10.1f} / s   CPU "
            f"{row['cpu']['replicas a second']:10.1f} / s   ratio {row['gpu / cpu']:.2f}"
        )
    for row in steps.get("batches", {}).get("found", {}).get("rows", ()):
        times = "  ".join(f"{k} {v}" for k, v in row.items() if k.endswith("[s]"))
        lines.append(f"batch of {row['replicas']}, N = {row['n']}: {times}")
    for kind, found in steps.get("minima", {}).get("found", {}).items():
        lines.append(f"minima of {kind}: KS {found['KS']:.4f}, p = {found['p']:.3f}")
    return "\n".join(lines)


def main() -> int:
    """Take the steps; the exit status tells whether all were taken and ended well."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("gpu_check.json"))
    options.add_argument("--emulated", action="store_true", help="the processor in its place")
    options.add_argument("--seconds", type=float, default=SECONDS, help="in all (%(default)g)")
    options.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.step is not None:
        without_gsd()
        found = STEPS[chosen.step](chosen.emulated)
        chosen.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
        return 0
    with tempfile.TemporaryDirectory(prefix="amorph-gpu-") as folder:
        check = Check(chosen.out, Path(folder), chosen.emulated, chosen.seconds)
        check_all(check)
    print(table(check.report))
    print(f"{chosen.out}")
    wrong = [
        name
        for name, entry in check.report["steps"].items()
        if entry["status"] != "ok" and not entry["status"].startswith("left out")
    ]
    if wrong:
        print(f"not well: {', '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
