"""Run the Python blocks of the tutorials as tests, each page in one namespace and directory."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


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
                # Blank lines keep the page's line numbers in tracebacks.
                padding = "\n" * text[: block.start(1)].count("\n")
                exec(compile(padding + block.group(1), str(self.path), "exec"), namespace)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"tutorial {self.name}"
