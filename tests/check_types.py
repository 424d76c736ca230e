"""Run mypy on the installed packages, from outside the repository.

In the repository `bridge` would be a second copy of `amorph.bridge`. Run as
``python tests/check_types.py``; its exit status is mypy's.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = ("amorph",)


def main() -> int:
    settings = Path(__file__).resolve().parents[1] / "pyproject.toml"
    command = [sys.executable, "-m", "mypy", "--config-file", str(settings)]
    for package in PACKAGES:
        command += ["-p", package]
    with tempfile.TemporaryDirectory() as elsewhere:
        return subprocess.run(command, cwd=elsewhere, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
