"""Shared by all tests: reproducible hypothesis, the reference packings, quenched packings."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import ArrayLike

from amorph import ensemble

settings.register_profile(
    "amorph",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("amorph")


# What XLA compiles for tests runs a little slower and is compiled in half the time.
QUICKLY_COMPILED = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1"
)


def pytest_configure(config: pytest.Config) -> None:
    """Share JAX's compiled code among all workers and commands that tests start.

    Most of the tests' time is compilation. JAX reads this when it is imported; workers inherit it.
    """
    # What is traced stays; to look through it for garbage so often took a twentieth of the time.
    gc.set_threshold(100_000, 20, 50)
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = tempfile.mkdtemp(prefix="amorph-tests-compiled-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    if "XLA_FLAGS" not in os.environ and _accepted(QUICKLY_COMPILED):
        os.environ["XLA_FLAGS"] = QUICKLY_COMPILED


# Long files come first, so that no worker is left with one at the end.
LONG = (
    "campaigns/spread/test_ranks.py",
    "engine_device/test_twins.py",
    "physics/test_deformation.py",
    "tutorials/design-a-packing.md",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG))


def _accepted(flags: str) -> bool:
    """Whether this XLA knows the flags: it ends a process that names others."""
    tried = [sys.executable, "-c", "import jax; jax.numpy.zeros(1)"]
    environment = {**os.environ, "XLA_FLAGS": flags}
    return subprocess.run(tried, env=environment, capture_output=True).returncode == 0


# Started in the background by a script, Ctrl-C is ignored here and in all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Parameters:
    """A potential as the engine sees it: a name and arrays, without JAX."""

    potential: str
    values: Mapping[str, ArrayLike]

    def arrays(self) -> Mapping[str, ArrayLike]:
        return self.values

    def __getitem__(self, name: str) -> np.ndarray:
        return np.asarray(self.values[name], dtype=float)


def make_parameters(potential: str, diameters: ArrayLike, **pairs: ArrayLike) -> Parameters:
    n = np.size(diameters)
    m = n * (n + 1) // 2
    spread = {k: np.broadcast_to(np.asarray(v, dtype=float), (m,)).copy() for k, v in pairs.items()}
    return Parameters(potential, {"diameters": np.asarray(diameters, dtype=float), **spread})


@pytest.fixture(scope="session")
def parameters() -> Callable[..., Parameters]:
    return make_parameters


@pytest.fixture(scope="session")
def morse() -> Parameters:
    """The standard case: harmonic-Morse discs of two sizes."""
    return make_parameters("harmonic_morse", [0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0)


@pytest.fixture(scope="session")
def batch(morse: Parameters) -> ensemble.Ensemble:
    """Twelve different replicas of the standard case, quenched to 1e-10."""
    return ensemble.quench(morse, 96, 1.6, 2, 12, seed=11, threads=2)


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    return Path(__file__).parent / "data" / "reference"
