"""The house: who imports whom, what is not loaded, and that pages name what exists."""

import re
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
        (
            "amorph.campaigns.studies.design.study, amorph.campaigns.studies.gradient.study",
            ["matplotlib", "pandas", "mpi4py", "hoomd", "PIL"],
        ),
        ("amorph", ["importlib.metadata", "numpy"]),
    ],
)
def test_nothing_is_loaded_that_is_not_needed(package: str, absent: list[str]) -> None:
    code = f"import {package}, sys; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


PAGES = [HERE.parent / "README.md", *sorted((HERE.parent / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_pages_name_files_and_functions_that_exist(page: Path) -> None:
    from amorph import bridge

    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"\bbridge\.([a-zA-Z][\w.]*\w)", text):
        found = bridge
        for part in name.split("."):
            assert hasattr(found, part), f"bridge.{name}"
            found = getattr(found, part)
    folders = ("hoomd_plugin", "bridge", "campaigns", "docs", "tests", "benchmarks")
    files = [str(p) for f in folders for p in (HERE.parent / f).rglob("*") if p.is_file()]
    for name in re.findall(r"`([\w/-]+\.(?:py|h|cc|cu))`", text):
        assert any(path.endswith(f"/{name}") for path in files), name
