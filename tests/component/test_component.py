"""The tests of hoomd.amorph, where it is installed; else their names, skipped.

They lie with the component, which is installed into HOOMD-blue's Python: `pytest --pyargs
hoomd.amorph` runs them there.
"""

import ast
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "hoomd_plugin" / "component" / "pytest"


def names() -> list[str]:
    found = []
    for file in sorted(FOLDER.glob("test_*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.append(f"{file.stem}.{node.name}")
    return found


@pytest.fixture(scope="module")
def outcomes(
    component: None, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[tuple[str, str]]]:
    """How each test ended, all of them run once: for each of its cases what and why."""
    report = tmp_path_factory.mktemp("component") / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--pyargs", "hoomd.amorph"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", f"--junitxml={report}"],
        cwd=report.parent,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert report.exists(), done.stdout + done.stderr
    found: dict[str, list[tuple[str, str]]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.attrib['classname'].split('.')[-1]}.{case.attrib['name'].split('[')[0]}"
        ends = [(end.tag, end.attrib.get("message", "")) for end in case]
        found.setdefault(name, []).append(ends[0] if ends else ("passed", ""))
    return found


@pytest.mark.parametrize("name", names())
def test_of_the_component(name: str, outcomes: dict[str, list[tuple[str, str]]]) -> None:
    own = outcomes[name]
    assert [end for end in own if end[0] in ("failure", "error")] == []
    if all(kind == "skipped" for kind, _ in own):
        pytest.skip(own[0][1])
