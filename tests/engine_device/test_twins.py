"""The GPU's algorithms, run by threads of the processor: a C++ program, compiled here."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ENGINE = HERE.parents[1] / "hoomd_plugin" / "engine"
COMPILER = shutil.which("g++")
TWINS = [HERE / f"{name}.cc" for name in ("main", "minimisation", "stages", "twins")]
TEAMS = [HERE / f"{name}.cc" for name in ("teams", "twins")]
SOURCES = {
    ENGINE / "cpu" / "kernels.cc": ["-O0", "-DAMORPH_ISA=generic"],
    ENGINE / "batch.cc": ["-O0"],
    ENGINE / "cpu" / "workspace.cc": ["-O0"],
    ENGINE / "gpu" / "pack.cc": ["-O0"],
    ENGINE / "gpu" / "plan.cc": ["-O0"],
    ENGINE / "gpu" / "gpu.cc": ["-O0"],
}

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the twins with")


def compile_all(sources: dict[Path, list[str]], folder: Path) -> list[str]:
    plugin = ENGINE.parent
    made = folder / "generated"
    listed = [plugin / "potentials" / "manifest.py", plugin / "handover" / "potentials.json"]
    subprocess.run([sys.executable, *listed, made], check=True)

    def compile_one(source: Path) -> str:
        out = folder / (source.stem + ".o")
        # No contraction to fused operations: the same bits in every instance of the templates.
        common = [str(COMPILER), "-std=c++20", "-ffp-contract=off", "-pthread", f"-I{made}"]
        done = subprocess.run(
            [*common, *sources[source], "-c", str(source), "-o", str(out)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return str(out)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(compile_one, sources))


def run(objects: list[str], program: Path, *arguments: str, flags: tuple[str, ...] = ()) -> None:
    subprocess.run([str(COMPILER), "-pthread", *flags, *objects, "-o", str(program)], check=True)
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return compile_all(SOURCES, tmp_path_factory.mktemp("engine"))


def test_twins_agree_with_the_engine_and_with_each_other(engine: list[str], tmp_path: Path) -> None:
    objects = compile_all({file: ["-Og", "-Wall", "-Wextra"] for file in TWINS}, tmp_path)
    run(objects + engine, tmp_path / "twins")


def test_no_function_is_shared_by_instruction_sets(engine: list[str]) -> None:
    # Of a function that is not inlined the linker keeps one set's, which another processor may
    # not be able to run.
    found = subprocess.run(
        ["nm", "-C", next(o for o in engine if o.endswith("kernels.o"))],
        capture_output=True,
        text=True,
        check=True,
    )
    weak = [line for line in found.stdout.splitlines() if " W " in line or " V " in line]
    assert weak
    assert [line for line in weak if "generic" not in line and " std::" not in line] == []


@pytest.mark.slow  # under the thread sanitizer, compiled for it alone
def test_neither_threads_nor_blocks_race(engine: list[str], tmp_path: Path) -> None:
    flags: tuple[str, ...] = ("-fsanitize=thread", "-g")
    probe = tmp_path / "probe.cc"
    probe.write_text("int main() { return 0; }\n")
    build = [str(COMPILER), *flags, str(probe), "-o", str(tmp_path / "probe")]
    if (
        subprocess.run(build, capture_output=True).returncode != 0
        or subprocess.run([tmp_path / "probe"], capture_output=True).returncode != 0
    ):
        flags = ()  # no sanitizer here: the bits are compared all the same
    few = ["-Og", "-Wall", "-Wextra", "-DAMORPH_FEW_CASES", *flags]
    objects = compile_all(dict.fromkeys(TEAMS, few), tmp_path)
    for part in ("races", "blocks"):
        run(objects + engine, tmp_path / part, part, flags=flags)
