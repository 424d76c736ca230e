"""Building the component where it cannot be built: the target fails, and says why."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# As much of HOOMD-blue's own configuration as is read before it is run.
CONFIG = 'set(ENABLE_MPI "ON")\n'


def cmake(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["cmake", *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )


MISSING = {
    "cereal": (
        ["-DCMAKE_DISABLE_FIND_PACKAGE_cereal=ON", "-Dcereal_header=OFF"],
        "but cereal, which building for it needs, is not found: install it, or set cereal_DIR",
    ),
    "Eigen": (
        ["-DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON"],
        "but Eigen3, which building for it needs, is not found: install it, or set Eigen3_DIR",
    ),
    "HOOMD-blue": (["-Dhoomd_there=OFF"], "no HOOMD-blue found: activate the environment"),
}


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
@pytest.mark.parametrize("missing", list(MISSING))
def test_what_is_missing_is_named_by_the_target(tmp_path: Path, missing: str) -> None:
    hidden, reason = MISSING[missing]
    for name in ("pybind11Config", "Eigen3Config"):
        (tmp_path / f"{name}.cmake").touch()
    (tmp_path / "hoomd-config.cmake").write_text(CONFIG)
    found = [f"-D{name}_DIR={tmp_path}" for name in ("pybind11", "Eigen3", "HOOMD")]
    build = tmp_path / "build"
    configured = cmake("-S", ROOT, "-B", build, "-DAMORPH_CUDA=OFF", *found, *hidden)
    assert configured.returncode == 0, configured.stdout + configured.stderr
    assert "hoomd.amorph is left out: " in configured.stdout
    assert reason in configured.stdout
    built = cmake("--build", build, "--target", "_amorph")
    assert built.returncode != 0
    assert "hoomd.amorph cannot be built: " in built.stdout + built.stderr
    assert reason in built.stdout + built.stderr
    installed = cmake("--install", build)
    assert installed.returncode != 0
    assert "hoomd.amorph was not built" in installed.stdout + installed.stderr
