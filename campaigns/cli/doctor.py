"""``amorph doctor``: what this machine offers, and how to get what is missing.

It is asked where something does not work: whatever that is, it is a line of the answer. What may
end or hold up a process (JAX and its plugins, MPI, HOOMD-blue) is tried in a process of its own.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ..spread.starting import variables

__all__ = ["Finding", "examine", "report"]


# How long something is tried, s.
_PATIENCE = 120


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


def _python() -> Finding:
    return Finding("Python", True, True, f"{platform.python_version()} on {platform.platform()}")


def _engine() -> Finding:
    from amorph import ensemble

    sets = ensemble.instruction_sets()
    return Finding("engine", True, True, f"instruction sets {', '.join(sets)}; uses {sets[0]}")


def _tried(code: str) -> tuple[str, str]:
    """The output of Python code in a process of its own, or else why it printed nothing."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            # The last line of a traceback is the error, not a hint how to see more of it.
            env={**os.environ, "JAX_TRACEBACK_FILTERING": "off"},
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer within {_PATIENCE} s"
    if done.returncode == 0:
        return done.stdout.strip(), ""
    told = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    # XLA ends a process for a flag that it does not know, and says so in the middle.
    xla = next((line.partition("] ")[2] for line in told if "XLA_FLAGS" in line), "")
    why = xla or (told[-1] if told else "")
    return "", why or f"the process ended with status {done.returncode}"


_JAX = """
import json, jax
from amorph import bridge
from amorph.bridge.compiled import compiled_code
kept = compiled_code()
print(json.dumps({
    "dtype": str(jax.numpy.zeros(()).dtype),
    "devices": [f"{d.platform} ({d.device_kind})" for d in jax.devices()],
    "folder": None if kept.folder is None else str(kept.folder),
    "why_not": kept.why_not, "entries": kept.entries, "size": kept.size,
}))
"""


def _jax() -> list[Finding]:
    """The devices of JAX, its precision, and the code it has compiled already."""
    names = "float64 in JAX", "JAX devices", "compiled code"
    answer, why = _tried(_JAX)
    if not answer:
        told = ", ".join(variables())
        cure = f"the environment has {told}: unset what should not be there" if told else (
            "pip install --force-reinstall jax jaxlib"
        )  # fmt: skip
        return [
            Finding(names[1], False, True, f"JAX cannot compute: {why}", cure),
            *(Finding(n, False, n == names[0], "unknown, since JAX cannot compute") for n in
              (names[0], names[2])),
        ]  # fmt: skip
    found = json.loads(answer.splitlines()[-1])
    dtype, devices = found["dtype"], found["devices"]
    if found["folder"] is None:
        how = "AMORPH_CACHE=on, and a home folder of your own that can be written to"
        kept = Finding(names[2], False, False, f"not kept: {found['why_not']}", how)
    else:
        kept = Finding(
            names[2],
            True,
            False,
            f"{found['entries']} programs, {found['size'] / 1e6:.1f} MB in {found['folder']}",
        )
    return [
        Finding(
            names[0],
            dtype == "float64",
            True,
            dtype,
            "" if dtype == "float64" else "something switched jax_enable_x64 off after the import",
        ),
        Finding(names[1], True, True, f"{len(devices)}: {', '.join(sorted(set(devices)))}"),
        kept,
    ]


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
    code = "import hoomd, hoomd.amorph as a; print(hoomd.version.version, a.built_for_gpu())"
    answer, why = _tried(code)
    if not answer:
        return Finding(what, False, False, why, how)
    version, gpu = answer.splitlines()[-1].split()
    half = "CPU and GPU" if gpu == "True" else "CPU"
    return Finding(what, True, False, f"for HOOMD-blue {version}, {half}")


def _mpi4py() -> Finding:
    version, how = _version("mpi4py"), "pip install 'amorph[mpi]'; only mpiexec needs it"
    if version is None:
        return Finding("mpi4py", False, False, "not installed", how)
    answer, why = _tried(
        "from mpi4py import MPI; print(MPI.Get_library_version().split(chr(10))[0])"
    )
    if not answer:
        return Finding("mpi4py", False, False, f"{version} cannot be used: {why}", how)
    return Finding(
        "mpi4py", True, False, f"{version}, with {' '.join(answer.splitlines()[0].split())}"
    )


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


def _looked(what: str, needed: bool, look: Callable[[], Finding | list[Finding]]) -> list[Finding]:
    """The findings of a look; a look that fails is a finding too."""
    try:
        found = look()
    except Exception as error:  # whatever is broken here is what is asked for
        message = f"{type(error).__name__}: {error}"
        return [Finding(what, False, needed, message, "install it anew, or see what it names")]
    return found if isinstance(found, list) else [found]


def _optional(what: str, package: str, cure: str) -> Callable[[], Finding]:
    return lambda: _package(what, package, needed=False, cure=cure)


def _needed(what: str, package: str, cure: str) -> Callable[[], Finding]:
    return lambda: _package(what, package, needed=True, cure=cure)


_LOOKS: list[tuple[str, bool, Callable[[], Finding | list[Finding]]]] = [
    ("Python", True, _python),
    ("Amorph", True, _needed("Amorph", "amorph", "pip install .")),
    ("engine", True, _engine),
    ("threads", True, _threads),
    ("JAX", True, _needed("JAX", "jax", "pip install jax")),
    ("JAX devices", True, _jax),
    ("gsd", True, _needed("gsd", "gsd", "pip install 'gsd>=5'")),
    ("optax", True, _needed("optax", "optax", "pip install optax")),
    ("GPU", False, _gpu),
    ("HOOMD-blue", False, _hoomd),
    ("hoomd.amorph", False, _component),
    ("mpi4py", False, _mpi4py),
    ("mpiexec", False, _mpiexec),
    ("PARDISO", False, _optional("PARDISO", "pypardiso", "pip install 'amorph[sparse]'")),
    ("CHOLMOD", False, _optional("CHOLMOD", "cvxopt", "pip install 'amorph[sparse]'")),
    ("surrogates", False, _optional("surrogates", "flax", "pip install 'amorph[surrogate]'")),
    ("networkx", False, _optional("networkx", "networkx", "pip install 'amorph[networks]'")),
    ("freud", False, _optional("freud", "freud-analysis", "pip install freud-analysis")),
]


def examine() -> list[Finding]:
    """Look at everything that Amorph can use; nothing that is broken raises."""
    return [finding for look in _LOOKS for finding in _looked(*look)]


def report() -> dict[str, Any]:
    """The findings of `examine`, for JSON."""
    findings = examine()
    return {
        "ok": all(f.present for f in findings if f.needed),
        "findings": [asdict(f) for f in findings],
    }
