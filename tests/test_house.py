"""The house: who imports whom, and what is not loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def test_imports_go_only_where_they_may() -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "check_imports.py")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("package", "absent"),
    [
        ("amorph.handover", ["jax", "scipy", "mpi4py", "hoomd", "pandas"]),
        ("amorph.ensemble", ["jax", "mpi4py", "hoomd", "pandas", "amorph.bridge"]),
        ("amorph.bridge", ["mpi4py", "hoomd", "amorph.ensemble", "matplotlib", "pandas"]),
        (
            "amorph.campaigns.cli",
            ["jax", "numpy", "rich", "matplotlib", "pandas", "mpi4py", "hoomd"],
        ),
        ("amorph", ["importlib.metadata", "numpy"]),
    ],
)
def test_nothing_is_loaded_that_is_not_needed(package: str, absent: list[str]) -> None:
    code = f"import {package}, sys; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
