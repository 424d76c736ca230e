"""What HOOMD's logger says of a pair force: used where a potential is it, refused where none is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gsd.hoomd
import numpy as np
import pytest

from amorph import bridge, handover
from amorph.handover import (
    CorruptFrameError,
    Frame,
    InputError,
    PotentialMissingError,
    UnknownPotentialError,
    own_cutoffs,
    read_gsd,
)

SIGMA = np.array([[0.8, 0.9], [0.9, 1.0]])
THETAS = {
    "HarmonicMorse": bridge.HarmonicMorse([0.8, 1.0], [0.1, 0.2, 0.3], 5.0, [6.0, 7.0, 8.0]),
    "HarmonicMorseReduced": bridge.HarmonicMorseReduced([0.8, 1.0], 0.1, 5.0, [6.0, 7.0, 8.0]),
    "SoftSphere": bridge.SoftSphere([0.8, 1.0], [1.0, 2.0, 3.0]),
    "Morse": bridge.Morse([0.8, 1.0], 0.1, [6.0, 7.0, 8.0]),
    "FourTerm": bridge.FourTerm(
        [0.8, 1.0], b0=5.0, a0=5.9, a1=18.0, a2=2.5, b1=1.8, b2=40.0, a3=1.8, r_cut=[2.4, 2.5, 2.6]
    ),
}
# Written out, so as not to rest on the product's own formulas.
ALPHA = np.array([[6.0, 7.0], [7.0, 8.0]])
OWN = dict.fromkeys(
    ("HarmonicMorse", "HarmonicMorseReduced", "Morse"),
    ("xplor", SIGMA + 5 / ALPHA, SIGMA + 9.9 / ALPHA),
) | {
    "SoftSphere": ("none", SIGMA, SIGMA),
    "FourTerm": (
        "xplor",
        0.8 * np.array([[2.4, 2.5], [2.5, 2.6]]),
        np.array([[2.4, 2.5], [2.5, 2.6]]),
    ),
}


def text(value: str, width: int = 0) -> np.ndarray:
    """As HOOMD logs a text: bytes that a zero ends."""
    return np.frombuffer(value.encode().ljust(width, b"\0") + b"\0", dtype=np.int8)


def logged(cls: str, name: str | None = None, **changes: Any) -> dict[str, Any]:
    """The keys of a force in a GSD file; None leaves one out."""
    theta = THETAS[cls]
    mode, r_on, r_cut = OWN[cls]
    values: dict[str, Any] = {
        "cutoff" if key == "r_cut" else key: np.asarray(array)
        if key == "diameters"
        else handover.pairs_to_matrix(array, 2)
        for key, array in theta.arrays().items()
    }
    values |= {
        "potential": text(theta.potential),
        "sigma": SIGMA,
        "applied_r_cut": r_cut,
        "applied_r_on": r_on,
        "applied_mode": text(mode, 7),
        "applied_exclusions": text("none", 70),
        "other_forces": text("none", 200),
    }
    values |= changes
    return {f"amorph/pair/{name or cls}/{k}": v for k, v in values.items() if v is not None}


def write(path: Path, log: dict[str, Any]) -> Path:
    frame = gsd.hoomd.Frame()
    frame.particles.N = 4
    frame.particles.position = np.zeros((4, 3))
    frame.particles.position[:, 0] = [-2, -1, 1, 2]
    frame.particles.typeid = [0, 1, 0, 1]
    frame.particles.types = ["A", "B"]
    frame.configuration.box = [9, 9, 0, 0, 0, 0]
    frame.configuration.dimensions = 2
    frame.log = log
    with gsd.hoomd.open(path, "w") as trajectory:
        trajectory.append(frame)
    return path


@pytest.mark.parametrize("name", [None, "CLASS_1", "core"])
@pytest.mark.parametrize("cls", list(THETAS))
def test_what_the_potential_is_is_read(tmp_path: Path, cls: str, name: str | None) -> None:
    name = None if name is None else name.replace("CLASS", cls)
    log = logged(cls, name) | {f"amorph/pair/{name or cls}/energy": np.array([-2.5])}
    (frame,) = read_gsd(write(tmp_path / "a.gsd", log))
    assert frame.potential == THETAS[cls].potential
    for key, values in THETAS[cls].arrays().items():
        np.testing.assert_array_equal(frame.parameters[key], np.broadcast_to(values, (
            len(frame.parameters[key]),
        )))  # fmt: skip
    # What is no part of the potential stays, what is does not come twice.
    assert list(frame.log) == [f"pair/{name or cls}/energy"]


@pytest.mark.parametrize("cls", list(THETAS))
def test_own_cutoffs_are_the_bridges(cls: str) -> None:
    theta = THETAS[cls]
    upper = np.triu_indices(2)
    arrays = {k: np.asarray(v) for k, v in theta.arrays().items() if k != "diameters"}
    mode, r_on, r_cut = own_cutoffs(theta.potential, SIGMA[upper], arrays)
    np.testing.assert_allclose(r_cut, theta.cutoffs()[upper], rtol=1e-15)
    assert mode == OWN[cls][0]
    np.testing.assert_allclose(r_on, OWN[cls][1][upper], rtol=1e-15)
    np.testing.assert_allclose(r_cut, OWN[cls][2][upper], rtol=1e-15)


def test_cutoffs_of_a_hoomd_in_single_precision_are_its_own(tmp_path: Path) -> None:
    _, r_on, r_cut = OWN["HarmonicMorse"]
    log = logged("HarmonicMorse", applied_r_cut=np.float32(r_cut), applied_r_on=np.float32(r_on))
    (frame,) = read_gsd(write(tmp_path / "a.gsd", log))
    assert frame.potential == "harmonic_morse"


def changed(values: np.ndarray, by: float, where: tuple[int, int] = (0, 1)) -> np.ndarray:
    new = values.copy()
    new[where] = new[where[::-1]] = by
    return new


CUT = OWN["HarmonicMorse"][2]
ON = OWN["HarmonicMorse"][1]
SHORT = {"applied_r_cut": changed(CUT, 1.2)}
REFUSED = {
    "r_cut of a pair": ("HarmonicMorse", SHORT, r"r_cut = 1\.2 for \(A, B\).*has 2\.314.*unset"),
    "a pair that does not interact": (
        "HarmonicMorse", {"applied_r_cut": changed(CUT, 0.0)},
        r"r_cut = 0 for \(A, B\).*do not interact",
    ),
    "a longer r_cut": ("Morse", {"applied_r_cut": CUT * 1.001}, r"r_cut = 2\.45\d+ for \(A, A\)"),
    "soft spheres' r_cut": (
        "SoftSphere", {"applied_r_cut": changed(SIGMA, 0.0, (1, 1))}, r"r_cut = 0 for \(B, B\)",
    ),
    "another r_cut than the parameter": (
        "FourTerm", {"applied_r_cut": np.full((2, 2), 2.5)}, r"r_cut = 2\.5 for \(A, A\).*has 2\.4",
    ),
    "r_cut that is none": (
        "HarmonicMorse", {"applied_r_cut": changed(CUT, np.nan)}, r"r_cut = nan for \(A, B\)",
    ),
    "r_on": ("HarmonicMorse", {"applied_r_on": changed(ON, 1.0)}, r"r_on = 1 for \(A, B\)"),
    "mode none": ("HarmonicMorse", {"applied_mode": text("none")}, "mode = 'none'.*'xplor' alone"),
    "mode shift": ("Morse", {"applied_mode": text("shift")}, "mode = 'shift'.*Leave mode unset"),
    "exclusions": (
        "HarmonicMorse", {"applied_exclusions": text("bond, angle")},
        r"by the exclusions bond, angle of.*\(\)",
    ),
    "another force": (
        "HarmonicMorse", {"other_forces": text("md.pair.LJ, md.bond.Harmonic")},
        r"besides HarmonicMorse these acted in the run: md\.pair\.LJ, md\.bond\.Harmonic",
    ),
    "sigma that is not the mean": (
        "HarmonicMorseReduced", {"sigma": changed(SIGMA, 0.95)},
        r"sigma = 0\.95 for \(A, B\).*two types, 0\.9\.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_no_potential_is_is_refused_by_name(tmp_path: Path, case: str) -> None:
    cls, changes, named = REFUSED[case]
    path = write(tmp_path / "a.gsd", logged(cls, **changes))
    for read in (read_gsd, bridge.read_gsd):
        with pytest.raises(UnknownPotentialError, match=named) as caught:
            list(read(path))
        assert str(caught.value).startswith(f"{path}, frame 0: ")
        assert "--potential FILE.toml" in str(caught.value)
    # Whoever gives a potential decides, and whoever needs none is given none.
    given = THETAS["SoftSphere"]
    (frame,) = read_gsd(path, potential="soft_sphere", parameters=given.arrays())
    assert frame.potential == "soft_sphere"
    assert frame.log == {}
    ((theta, _),) = bridge.read_gsd(path, theta=given)
    assert theta.near is given
    (bare,) = read_gsd(path, need_potential=False)
    assert (bare.potential, bare.parameters, bare.log) == (None, {}, {})


def test_a_diameter_on_which_no_force_depends_may_be_any(tmp_path: Path) -> None:
    log = logged("FourTerm", sigma=changed(SIGMA, 0.5))
    (frame,) = read_gsd(write(tmp_path / "a.gsd", log))
    assert frame.potential == "four_term"


def test_r_on_without_a_switch_may_be_any(tmp_path: Path) -> None:
    log = logged("SoftSphere", applied_r_on=np.zeros((2, 2)))
    (frame,) = read_gsd(write(tmp_path / "a.gsd", log))
    assert frame.potential == "soft_sphere"


@pytest.mark.parametrize(
    "second", [("HarmonicMorse", "HarmonicMorse_1"), ("SoftSphere", None), ("Morse", "tail")]
)
@pytest.mark.parametrize("old", [False, True])
def test_two_forces_are_refused(tmp_path: Path, second: tuple[str, str | None], old: bool) -> None:
    log = logged("HarmonicMorse") | logged(*second)
    if old and second[1] != "tail":  # without the keys that are new
        log = {k: v for k, v in log.items() if "applied" not in k and not k.endswith("_forces")}
        log = {k: v for k, v in log.items() if k.rpartition("/")[2] not in ("potential", "sigma")}
    path = write(tmp_path / "a.gsd", log)
    with pytest.raises(CorruptFrameError, match=r"more than one potential: .*--potential"):
        list(read_gsd(path))
    (frame,) = read_gsd(path, potential="soft_sphere", parameters=THETAS["SoftSphere"].arrays())
    assert frame.potential == "soft_sphere"


def test_files_that_say_nothing_of_the_run_are_read(tmp_path: Path) -> None:
    log = {k: v for k, v in logged("HarmonicMorse").items() if "applied" not in k}
    for key in ("potential", "sigma", "other_forces"):
        del log[f"amorph/pair/HarmonicMorse/{key}"]
    (frame,) = read_gsd(write(tmp_path / "old.gsd", log))
    assert frame.potential == "harmonic_morse"


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"applied_r_cut": np.ones(3)}, CorruptFrameError, r"applied_r_cut' has shape \(3,\)"),
        ({"applied_r_on": text("two.")}, CorruptFrameError, r"applied_r_on' has shape \(5,\)"),
        ({"sigma": np.ones((3, 3))}, CorruptFrameError, r"sigma' has shape \(3, 3\)"),
        ({"potential": text("yukawa")}, UnknownPotentialError, r"unknown potential, 'yukawa'"),
        ({"potential": text("morse"), "alpha": None}, PotentialMissingError, "lacks.*alpha"),
        ({"other_forces": np.array([1.5])}, UnknownPotentialError, "these acted"),
    ],
)
def test_what_is_malformed_is_named(
    tmp_path: Path, changes: dict[str, Any], error: type, named: str
) -> None:
    path = write(tmp_path / "a.gsd", logged("HarmonicMorse", **changes))
    with pytest.raises(error, match=named) as caught:
        list(read_gsd(path))
    assert str(caught.value).startswith(f"{path}, frame 0: ")


def test_a_frame_without_a_force_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(PotentialMissingError, match=r"--potential FILE\.toml.*run\(0\)"):
        list(read_gsd(write(tmp_path / "a.gsd", {})))


def test_keys_of_forces_cannot_be_taken(make_frame: Callable[..., Frame]) -> None:
    for key in ("pair/HarmonicMorse_1/binding", "pair/mine/other_forces", "positions"):
        with pytest.raises(InputError, match="Choose another name"):
            make_frame(log={key: 1.0}).validate()
    make_frame(log={"pair/mine/energy": 1.0}).validate()
