"""The GPU's algorithms, run by threads of the processor: a C++ program, compiled here."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ENGINE = HERE.parents[1] / "hoomd_plugin" / "engine"
COMPILER = shutil.which("g++")
TWINS = HERE / "twins.cc"
SOURCES = {
    ENGINE / "kernels.cc": ["-O0", "-DAMORPH_ISA=generic"],
    ENGINE / "batch.cc": ["-O0"],
    ENGINE / "workspace.cc": ["-O0"],
    ENGINE / "device" / "pack.cc": ["-O0"],
    ENGINE / "device" / "plan.cc": ["-O0"],
    ENGINE / "device" / "gpu.cc": ["-O0"],
}

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the twins with")


def compile_all(sources: dict[Path, list[str]], folder: Path) -> list[str]:
    def compile_one(source: Path) -> str:
        out = folder / (source.stem + ".o")
        # No contraction to fused operations: the same bits in every instance of the templates.
        common = [str(COMPILER), "-std=c++20", "-ffp-contract=off", "-pthread"]
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
    objects = compile_all({TWINS: ["-O1", "-Wall", "-Wextra"]}, tmp_path)
    run(objects + engine, tmp_path / "twins")


def test_threads_do_not_race(engine: list[str], tmp_path: Path) -> None:
    sanitize = "-fsanitize=thread"
    probe = tmp_path / "probe.cc"
    probe.write_text("int main() { return 0; }\n")
    build = [str(COMPILER), sanitize, str(probe), "-o", str(tmp_path / "probe")]
    if (
        subprocess.run(build, capture_output=True).returncode != 0
        or subprocess.run([tmp_path / "probe"], capture_output=True).returncode != 0
    ):
        pytest.skip("no thread sanitizer here")
    objects = compile_all({TWINS: ["-O1", "-g", "-DAMORPH_FEW_CASES", sanitize]}, tmp_path)
    run(objects + engine, tmp_path / "twins", "races", flags=(sanitize,))
