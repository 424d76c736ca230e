"""Run the Python and shell blocks of the tutorials as tests, each page in one directory.

The Python blocks of a page share a namespace; a shell block fails if its last command does.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def pytest_collect_file(parent: pytest.Collector, file_path: Path) -> "Page | None":
    if file_path.suffix == ".md" and file_path.parent.name == "tutorials":
        return Page.from_parent(parent, path=file_path)
    return None


class Page(pytest.File):
    def collect(self) -> Iterator[pytest.Item]:
        yield Tutorial.from_parent(self, name=self.path.stem)


class Tutorial(pytest.Item):
    def runtest(self) -> None:
        text = self.path.read_text(encoding="utf-8")
        namespace: dict[str, object] = {"__name__": "__tutorial__"}
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.config._tmp_path_factory.mktemp(self.name))
            for block in BLOCK.finditer(text):
                kind, code = block.groups()
                if kind == "sh":
                    self.run_shell(code)
                    continue
                # Blank lines keep the page's line numbers in tracebacks.
                padding = "\n" * text[: block.start(2)].count("\n")
                exec(compile(padding + code, str(self.path), "exec"), namespace)

    def run_shell(self, code: str) -> None:
        # The commands of this Python's environment, whether it is activated or not.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        done = subprocess.run(
            code, shell=True, env={**os.environ, "PATH": path}, capture_output=True, text=True
        )
        if done.returncode:
            raise AssertionError(f"{code}ended with {done.returncode}:\n{done.stderr}")

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"tutorial {self.name}"
