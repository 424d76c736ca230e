"""Starting JAX for a command, compiled code that is kept, and `doctor` where things are broken."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amorph.campaigns.cli import doctor, main
from amorph.campaigns.errors import JAXError
from amorph.campaigns.spread import starting
from amorph.campaigns.spread.teams import OneRank

Command = Callable[..., Any]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("JAX_PLATFORMS", "cuda", "JAX_PLATFORMS=cuda: unset it"),
        ("JAX_ENABLE_X64", "banana", "JAX_ENABLE_X64=banana: unset what should not be there"),
        ("XLA_FLAGS", "--xla_nonsense=1", "XLA refuses XLA_FLAGS=--xla_nonsense=1"),
    ],
)
def test_what_keeps_jax_from_starting_is_named(
    variable: str, value: str, said: str, tmp_path: Path, amorph: Command
) -> None:
    done = amorph("analyze", "x.gsd", "-o", "x.json", cwd=tmp_path, **{variable: value})
    assert done.returncode == 2
    (line,) = (x for x in done.stderr.splitlines() if x.startswith("amorph:"))
    assert said in line
    assert "Traceback" not in done.stderr


def test_ranks_hear_of_a_start_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(one_thread: bool) -> None:
        raise JAXError("no JAX")

    monkeypatch.setattr(starting, "_started", fails)
    with pytest.raises(JAXError, match="no JAX"):
        starting.start_jax(OneRank(), one_thread=True)
    with pytest.raises(JAXError, match="no JAX"):
        starting.start_jax()


def test_doctor_names_what_keeps_jax_from_starting(amorph: Command) -> None:
    done = amorph("doctor", JAX_PLATFORMS="cuda", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert done.returncode == 1
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    (devices,) = (line for line in lines if "JAX devices" in line)
    assert "the environment has JAX_PLATFORMS=cuda: unset what should not be there" in devices
    assert any("engine" in line and "instruction sets" in line for line in lines), "is looked for"


def test_nothing_that_is_broken_ends_doctor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("jax", "mpi4py"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise OSError(f'{__name__} is broken [x]')")
    (tmp_path / "hoomd.py").write_text("raise RuntimeError('no MPI here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))

    def broken() -> doctor.Finding:
        raise AssertionError

    looks = [(what, n, broken if what == "engine" else look) for what, n, look in doctor._LOOKS]
    monkeypatch.setattr(doctor, "_LOOKS", looks)
    with pytest.raises(SystemExit) as end:
        main(["doctor"])
    assert end.value.code == 1
    shown = capsys.readouterr().out
    assert "AssertionError" in shown
    assert "jax is broken [x]" in shown
    assert "mpi4py is broken [x]" in shown
    assert "no MPI here" in shown


def test_a_process_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PATIENCE", 0.2)
    assert doctor._tried("import time; time.sleep(60)") == ("", "no answer within 0.2 s")
    assert doctor._tried("import os; os._exit(7)") == ("", "the process ended with status 7")


@pytest.mark.slow
def test_results_are_the_same_with_and_without_compiled_code(
    tmp_path: Path, reference_folder: Path, amorph: Command
) -> None:
    """Also where entries were half written; and nothing is said of it."""
    made = tmp_path / "amorph" / "compiled"
    # The commands are to find the folder by themselves, not the one that the tests share.
    mine: dict[str, Any] = {
        "cwd": tmp_path,
        "XDG_CACHE_HOME": str(tmp_path),
        "JAX_COMPILATION_CACHE_DIR": None,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": None,
        "XLA_FLAGS": os.environ.get("XLA_FLAGS"),
    }
    file = str(reference_folder / "hm2d_n128_a6_s2.gsd")

    def analyzed(out: str, **more: str) -> tuple[bytes, list[Path]]:
        asked = ("analyze", file, "--frames", "0", "-o", out, "--features", "shear_modulus")
        done = amorph(*asked, **mine, **more)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        found = sorted(made.glob("*-threads-1-jax-*/*-cache"))
        return (tmp_path / out).read_bytes(), found

    without, entries = analyzed("off.json", AMORPH_CACHE="off")
    assert entries == []
    cold, entries = analyzed("cold.json")
    assert len(entries) > 3
    for entry in entries[::2]:
        entry.write_bytes(entry.read_bytes()[:100])
    warm, after = analyzed("warm.json")
    assert after == entries
    assert without == cold == warm
