"""The check for a machine with a GPU, tried with the processor in the GPU's place."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MISSING = [tool for tool in ("cmake", "ninja", "g++") if shutil.which(tool) is None]
MISSING += [] if importlib.util.find_spec("nanobind") else ["nanobind"]


@pytest.mark.slow  # compiles the engine
@pytest.mark.skipif(bool(MISSING), reason=f"there is no {', '.join(MISSING)} to build with")
def test_all_but_the_device_works(tmp_path: Path) -> None:
    out = tmp_path / "check.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_check.py"), "--emulated"]
    done = subprocess.run(
        [*command, "--out", str(out)], cwd=tmp_path, capture_output=True, text=True, timeout=900
    )
    steps = json.loads(out.read_text())["steps"]
    told = {name: step["status"] for name, step in steps.items()}
    assert done.returncode == 0, (told, done.stdout, done.stderr)
    assert {"build", "device tests", "throughput", "minima", "batches", "small"} <= set(told)
    # The Python tests of devices ran on it, none of them for want of a GPU.
    assert "21 passed" in steps["device tests"]["output"]
    assert all(found["converged"] == [1.0, 1.0] for found in steps["minima"]["found"].values())
