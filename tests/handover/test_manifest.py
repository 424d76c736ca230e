"""The list of potentials: what is read of it in Python, and the C++ that is made of it."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph.ensemble import _engine
from amorph.handover import MORSE_SWITCH, POTENTIALS, own_cutoffs
from amorph.handover import potentials as module
from amorph.handover.potentials import MANIFEST, attracts

PLUGIN = Path(__file__).resolve().parents[2] / "hoomd_plugin"
FILES = runpy.run_path(str(PLUGIN / "potentials" / "manifest.py"))["files"]


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    return json.loads((PLUGIN / "handover" / "potentials.json").read_text(encoding="utf-8"))


def test_it_says_all_that_is_asked_of_it(written: dict[str, Any]) -> None:
    listed = written["potentials"]
    assert [own["name"] for own in listed] == list(POTENTIALS) == list(MANIFEST)
    for own in listed:
        assert own.keys() - {"r_on"} == {
            *("name", "class", "header", "summary", "formula", "source"),
            *("parameters", "r_cut", "attracts", "core"),
        }
        names = [p["name"] for p in own["parameters"]]
        assert all(p["unit"] and p["symbol"] for p in own["parameters"])
        assert own["attracts"] in ("always", "never", *names)
        assert (PLUGIN / "potentials" / own["header"]).exists()


@pytest.mark.parametrize("name", list(POTENTIALS))
def test_cutoffs_are_the_engines(name: str) -> None:
    rng = np.random.default_rng(1)
    sigma = rng.uniform(0.5, 1.5, 40)
    pairs = {p.name: rng.uniform(1, 3, 40) for p in POTENTIALS[name] if p.per_pair}
    mode, r_on, r_cut = own_cutoffs(name, sigma, pairs)
    stacks = [values[:, None, None].copy() for values in pairs.values()]
    ours, _ = _engine.scales(name, sigma[:, None, None].copy(), stacks)
    assert np.array_equal(ours.ravel(), r_cut)
    assert (mode == "none") == (r_on is r_cut)
    assert mode == "none" or (r_on < r_cut).all()


def test_the_switch_is_the_published_one() -> None:
    sigma, alpha = np.array([1.1]), np.array([4.0])
    for name in ("harmonic_morse", "harmonic_morse_reduced", "morse"):
        _, r_on, r_cut = own_cutoffs(name, sigma, {"alpha": alpha})
        assert (r_on, r_cut) == (pytest.approx(1.1 + 5 / 4), pytest.approx(1.1 + 9.9 / 4))
    assert MORSE_SWITCH == (5.0, 9.9)
    assert module.FOUR_TERM_ONSET == 0.8


def test_who_attracts() -> None:
    some, none = {"binding": np.array([0.0, 0.1])}, {"binding": np.zeros(2)}
    assert [attracts("morse", p) for p in (some, none)] == [True, False]
    assert attracts("four_term", {})
    assert not attracts("soft_sphere", {})


def test_cpp_is_made_of_it(written: dict[str, Any]) -> None:
    made = FILES(written)
    assert made["amorph_instances.h"].count("AMORPH_INSTANTIATE(") == len(POTENTIALS)
    assert re.search(
        r"#define AMORPH_POTENTIALS HarmonicMorse, .*, FourTerm\n", made["amorph_potentials.h"]
    )
    assert made["amorph_potentials.h"].count('harmonic_morse.h"') == 1
    entry = made["amorph_manifest.h"].partition("struct FourTerm {")[2]
    assert "r_on(const double* p) { return 0.8 * p[8]; }" in entry
    assert "r_cut(const double* p) { return p[8]; }" in entry
    entry = made["amorph_manifest.h"].partition("struct Morse {")[2]
    assert "r_cut(const double* p) { return p[0] + 9.9 / p[2]; }" in entry
