"""Run the code of every page, and of README.md, as tests: each page in a directory of its own.

The Python blocks of a page are run in order and share a namespace. A shell block fails if its last
command does; one that installs something is read by the shell and not run. A TOML block is checked
by what reads such files. A page of HOOMD-blue is skipped where that is not installed.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(python|sh|bash|toml|mermaid)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"\b(pip install|cmake|sbatch|srun)\b")
# Before the blocks of the page on HOOMD-blue: the simulation that its reader has.
SIMULATION = """
import hoomd

types = ["A"]
simulation = hoomd.Simulation(device=hoomd.device.CPU(), seed=1)
snapshot = hoomd.Snapshot(simulation.device.communicator)
snapshot.configuration.box = [8, 8, 0, 0, 0, 0]
snapshot.particles.N = 2
snapshot.particles.types = types
snapshot.particles.position[:] = [[0, 0, 0], [1, 0, 0]]
simulation.create_state_from_snapshot(snapshot)
"""


def pytest_collect_file(parent: pytest.Collector, file_path: Path) -> "Page | None":
    if file_path == Path(__file__).resolve():  # README.md lies in no folder of tests
        return Page.from_parent(parent, path=ROOT / "README.md")
    return Page.from_parent(parent, path=file_path) if file_path.suffix == ".md" else None


class Page(pytest.File):
    def collect(self) -> Iterator[pytest.Item]:
        if BLOCK.search(self.path.read_text(encoding="utf-8")):
            yield Code.from_parent(self, name=self.path.stem)


class Code(pytest.Item):
    def runtest(self) -> None:
        text = self.path.read_text(encoding="utf-8")
        namespace: dict[str, object] = {"__name__": "__page__"}
        if self.path.name == "hoomd.md":
            pytest.importorskip("hoomd.amorph", reason="HOOMD-blue with hoomd.amorph is not there")
            exec(SIMULATION, namespace)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.config._tmp_path_factory.mktemp(self.name))
            for block in BLOCK.finditer(text):
                kind, code = block.groups()
                line = text[: block.start(2)].count("\n")
                if kind == "python":
                    # Blank lines keep the page's line numbers in tracebacks.
                    exec(compile("\n" * line + code, str(self.path), "exec"), namespace)
                elif kind in ("sh", "bash"):
                    self.run_shell(code)
                elif kind == "toml":
                    check_toml(code, f"{self.path.name}-{line + 1}.toml")

    def run_shell(self, code: str) -> None:
        # The commands of this Python's environment, whether it is activated or not.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        command = ["bash", "-n", "-c", code] if NOT_RUN.search(code) else ["sh", "-c", code]
        done = subprocess.run(
            command, env={**os.environ, "PATH": path}, capture_output=True, text=True
        )
        if done.returncode:
            raise AssertionError(f"{code}ended with {done.returncode}:\n{done.stderr}")

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"page {self.name}"


def check_toml(code: str, name: str) -> None:
    """Read a block as the file that it is (part of) one of; what it lacks is added."""
    from amorph.campaigns.inputs.files import load_potential
    from amorph.campaigns.studies.files import load_campaign, load_preparation

    tables = tomllib.loads(code)
    if "preparation" not in tables:
        load = load_potential
    else:
        load = load_campaign if "design" in tables else load_preparation
        if not {"potential", "bonds"} & tables.keys():
            code += '\n[potential]\nkind = "soft_sphere"\ndiameters = [0.9, 1.1]\nstiffness = 5.0\n'
    Path(name).write_text(code, encoding="utf-8")
    load(name)
