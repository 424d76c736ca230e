"""The worked HOOMD scripts of docs/hoomd, small, where HOOMD-blue and hoomd.amorph are."""

import subprocess
import sys
from pathlib import Path

import pytest

from amorph import bridge

SCRIPTS = Path(__file__).resolve().parents[2] / "docs" / "hoomd"
SMALL = {
    "quench_large.py": ["--n", "600", "--steps", "2000"],
    "anneal.py": ["--n", "200", "--steps", "1000"],
    "prepare_ensemble.py": ["--n", "64", "--replicas", "3"],
    "honeycomb.py": ["--steps", "2000"],
    "umbrella.py": ["--n", "16", "--steps", "1000", "--windows", "3"],
}


def test_every_script_is_run() -> None:
    assert {path.name for path in SCRIPTS.glob("*.py")} == set(SMALL)


@pytest.mark.parametrize("script", list(SMALL))
def test_script(script: str, component: None, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPTS / script, *SMALL[script]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for file in tmp_path.glob("*.gsd"):
        # What HOOMD wrote holds all that an analysis asks.
        for theta, packing in bridge.read_gsd(file):
            assert packing.positions.shape[1] == 2
            assert theta.potential in ("harmonic_morse", "four_term")
