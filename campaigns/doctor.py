"""``amorph doctor``: what this machine offers, and how to get what is missing."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Finding", "examine", "report"]


@dataclass(frozen=True)
class Finding:
    """One thing looked for: what it is, whether it is there, what was seen, how to get it."""

    what: str
    present: bool
    needed: bool
    detail: str
    cure: str = ""


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package(what: str, package: str, *, needed: bool, cure: str) -> Finding:
    found = _version(package)
    return Finding(what, found is not None, needed, found or "not installed", "" if found else cure)


def _engine() -> Finding:
    from amorph import ensemble

    sets = ensemble.instruction_sets()
    return Finding("engine", True, True, f"instruction sets {', '.join(sets)}; uses {sets[0]}")


def _float64() -> Finding:
    import jax.numpy as jnp

    from amorph import bridge  # noqa: F401  (switches float64 on)

    dtype = str(jnp.zeros(()).dtype)
    return Finding(
        "float64 in JAX",
        dtype == "float64",
        True,
        dtype,
        "" if dtype == "float64" else "something switched jax_enable_x64 off after the import",
    )


def _jax_devices() -> Finding:
    import jax

    devices = jax.devices()
    kinds = ", ".join(sorted({f"{d.platform} ({d.device_kind})" for d in devices}))
    return Finding("JAX devices", True, True, f"{len(devices)}: {kinds}")


def _gpu() -> Finding:
    from amorph import ensemble

    gpus = ensemble.gpus()
    if gpus:
        names = "; ".join(f"{gpu.name}, {gpu.memory / 2**30:.0f} GiB" for gpu in gpus)
        return Finding("GPU", True, False, f"{names}; the engine uses one with device = 'gpu'")
    return Finding(
        "GPU", False, False, ensemble.why_no_gpu(), "none needed: everything runs on the CPU"
    )


def _hoomd() -> Finding:
    spec = importlib.util.find_spec("hoomd")
    if spec is None:
        return Finding(
            "HOOMD-blue",
            False,
            False,
            "not installed",
            "conda install -c conda-forge hoomd; only HOOMD scripts need it",
        )
    return Finding("HOOMD-blue", True, False, _version("hoomd") or "installed")


def _component() -> Finding:
    what, how = "hoomd.amorph", "build it with CMake: see docs/hoomd.md; only HOOMD scripts need it"
    if importlib.util.find_spec("hoomd") is None:
        return Finding(what, False, False, "needs HOOMD-blue", how)
    # In a process of its own: importing HOOMD-blue may start MPI, or fail.
    code = "import hoomd, hoomd.amorph as a; print(hoomd.version.version, a.built_for_gpu())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it cannot be imported"])[-1]
        return Finding(what, False, False, last, how)
    version, gpu = done.stdout.split()
    half = "CPU and GPU" if gpu == "True" else "CPU"
    return Finding(what, True, False, f"for HOOMD-blue {version}, {half}")


def _mpiexec() -> Finding:
    path = shutil.which("mpiexec")
    return Finding(
        "mpiexec",
        path is not None,
        False,
        path or "not on the path",
        "" if path else "pip install 'amorph[mpi]'",
    )


def _threads() -> Finding:
    usable = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return Finding("threads", True, True, f"{usable} of {os.cpu_count()} processors may be used")


def examine() -> list[Finding]:
    """Look at everything that Amorph can use."""
    return [
        Finding("Python", True, True, f"{platform.python_version()} on {platform.platform()}"),
        _package("Amorph", "amorph", needed=True, cure="pip install ."),
        _engine(),
        _threads(),
        _package("JAX", "jax", needed=True, cure="pip install jax"),
        _float64(),
        _jax_devices(),
        _package("gsd", "gsd", needed=True, cure="pip install 'gsd>=5'"),
        _package("optax", "optax", needed=True, cure="pip install optax"),
        _gpu(),
        _hoomd(),
        _component(),
        _package("mpi4py", "mpi4py", needed=False, cure="pip install 'amorph[mpi]'"),
        _mpiexec(),
        _package("PARDISO", "pypardiso", needed=False, cure="pip install 'amorph[sparse]'"),
        _package("CHOLMOD", "cvxopt", needed=False, cure="pip install 'amorph[sparse]'"),
        _package("freud", "freud-analysis", needed=False, cure="pip install freud-analysis"),
    ]


def report() -> dict[str, Any]:
    """What `examine` finds, for JSON."""
    findings = examine()
    return {
        "ok": all(f.present for f in findings if f.needed),
        "findings": [asdict(f) for f in findings],
    }
