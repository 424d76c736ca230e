"""The folder of compiled code: by processor, threads and versions; bounded; never others' code."""

import gc
import os
import platform
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import compiled, programs


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a cache of the tests' own."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.delenv("AMORPH_CACHE", raising=False)
    monkeypatch.setenv("NPROC", "3")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "amorph" / "compiled"


def test_the_folder_is_named_after_what_code_depends_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = compiled._place()
    assert not isinstance(place, str)
    folder, root = place
    assert root == home
    assert folder.parent == home
    assert folder.name.startswith(f"{platform.machine()}-")
    assert folder.name.endswith(f"-threads-3-jax-{jax.__version__}-jaxlib-{jax.lib.__version__}")
    monkeypatch.setenv("NPROC", "1")
    assert "-threads-1-" in compiled._name()
    before = compiled._name()
    monkeypatch.setattr(compiled, "_OF_PROCESSOR", ("vendor_id",))
    assert compiled._name() != before, "another processor"
    found = compiled.compiled_code()
    assert (found.folder, found.why_not, found.entries, found.size) == (home, "", 0, 0)
    assert not home.exists(), "to ask makes nothing"


def test_where_the_user_wants_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = compiled._name()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "mine"))
    assert compiled._place() == (tmp_path / "mine" / name, None)
    # As a process that was started by one that keeps code finds it.
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "mine" / name))
    assert compiled._place() == (tmp_path / "mine" / name, None)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "gs://bucket/place")
    assert bridge.keep_compiled() is None
    assert "gs://bucket/place" in compiled.compiled_code().why_not


@pytest.mark.parametrize("off", ["off", "0", "False"])
def test_one_variable_switches_it_off(
    off: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMORPH_CACHE", off)
    assert bridge.keep_compiled() is None
    assert compiled.compiled_code().why_not == f"AMORPH_CACHE={off}"
    assert not home.exists()


def test_a_place_that_cannot_be_used_is_none(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert bridge.keep_compiled() is None
        monkeypatch.setenv("XDG_CACHE_HOME", "")
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as without a home
        assert bridge.keep_compiled() is None
        assert compiled.compiled_code().why_not == "there is no home folder"


def test_code_that_others_may_write_is_not_taken(home: Path) -> None:
    place = home / compiled._name()
    place.mkdir(parents=True)
    place.chmod(0o777)
    assert bridge.keep_compiled() is None
    assert f"others may write to {place}" in compiled.compiled_code().why_not


def test_what_is_half_written_or_too_much_is_removed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "LIMIT", 350)
    now = time.time()
    whole = zlib.compress(bytes(range(256)), 0)[:]
    assert len(whole) < 300
    kept = home / "x86_64-0-threads-1-jax-1"
    other = home / "aarch64-1-threads-8-jax-1"
    for folder in (kept, other):
        folder.mkdir(parents=True)
    foreign = home / "someone" / "else-cache"
    foreign.parent.mkdir()
    foreign.write_bytes(b"x")

    def made(path: Path, data: bytes, age: float) -> Path:
        path.write_bytes(data)
        os.utime(path, (now - age, now - age))
        return path

    new = made(kept / "new-cache", whole, 10)
    cut = made(kept / "cut-cache", whole[:40], 5)
    old = made(other / "old-cache", whole, 1000)
    compiled._tidy(home)
    assert new.exists()
    assert not cut.exists()
    assert not old.exists(), "used before the others, of which there is too much"
    assert foreign.exists()
    late = made(kept / "late-cache", whole[:40], 1)
    compiled._tidy(home)
    assert late.exists(), "once a day"
    os.utime(home / ".tidied", (now - 90_000, now - 90_000))
    compiled._tidy(home)
    assert not late.exists()
    assert new.exists()


@pytest.mark.skipif(not programs._MAPS.exists(), reason="the system counts no maps")
def test_programs_are_forgotten_before_maps_run_out(
    theta2: bridge.PairPotential, solid: bridge.Packing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured() -> tuple[float, np.ndarray]:
        anew = bridge.relax(theta2, solid.with_positions(solid.positions + 1e-4))
        found = bridge.measure(theta2, anew, (), "poisson_ratio")
        return found.values["poisson_ratio"], found.gradients["poisson_ratio"].diameters

    def maps() -> int:
        gc.collect()
        return programs._MAPS.read_bytes().count(b"\n")

    value, slope = measured()
    monkeypatch.setattr(programs, "PART", 1.0)  # tests before this one have taken some
    monkeypatch.setattr(programs._compiled, "number", programs.COUNTED_EVERY)
    assert not programs.make_room(), "there is room"
    assert programs._compiled.number == 0
    before = maps()
    monkeypatch.setattr(programs, "PART", 0.0)
    assert not programs.make_room(), "nothing was compiled"
    monkeypatch.setattr(programs._compiled, "number", programs.COUNTED_EVERY)
    again, slope_again = measured()
    assert programs._compiled.number > 0, "programs are compiled again, and counted"
    assert maps() < before
    assert again == value
    np.testing.assert_array_equal(slope_again, slope)


@pytest.mark.parametrize("which", ["theta2", "own_theta"])
def test_new_parameters_compile_nothing(
    which: str, minima: Any, request: pytest.FixtureRequest
) -> None:
    theta = request.getfixturevalue(which)
    packing = next(minima(theta, 60, 1.4, 2))

    def step(k: int) -> None:
        new = theta.replace(diameters=theta.arrays()["diameters"] * (1 + 1e-7 * k))
        there = bridge.follow(theta, packing, new).packing
        bridge.measure(new, there, ["pressure"], ["poisson_ratio"], jump_terms=True)
        bridge.jacobian(new, there, ["elastic_constants", "frequencies_3"], ["diameters", "strain"])
        bridge.second_order(new, there, ["pressure"], {"diameters": np.full(2, 1e-3)})
        bridge.crossings((theta, packing), (new, there))
        bridge.bond_contributions(new, there)
        bridge.lowest_modes(new, there, 3)
        bridge.minimum(new, there)

    step(1)
    step(2)
    before = programs._compiled.number
    step(3)
    assert programs._compiled.number == before
