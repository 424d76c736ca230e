"""HOOMD-blue as the engine that prepares a design's packings, and files that its runs wrote."""

import importlib.util
from pathlib import Path

import gsd.hoomd
import numpy as np
import pytest

from amorph import bridge, campaigns
from amorph.campaigns.errors import CampaignFileError, RecordError
from amorph.campaigns.studies.design.members import Order, fresh_member
from amorph.campaigns.studies.files import load_preparation, parse_campaign
from amorph.campaigns.studies.hoomd_preparing import prepared_by_hoomd
from amorph.campaigns.studies.running import run_campaign
from amorph.ensemble import Start

CAMPAIGN = """
[potential]
kind = "harmonic_morse"
diameters = [0.8, 1.0]
binding = 0.1
stiffness = 5.0
alpha = 6.0

[preparation]
engine = "hoomd"
n_particles = 64
density = 1.6
seed = 3
tolerance = 1e-6
PREPARATION

[design]
kind = "ensemble"
packings = 3
parameters = ["diameters"]

[[objective]]
feature = "pressure"
target = 0.2

[stop]
steps = 2
"""
PLAIN = CAMPAIGN.replace("PREPARATION", "")
ANNEAL = CAMPAIGN.replace(
    "PREPARATION",
    'method = "anneal"\nschedule = "exponential"\ntemperature = [0.3, 0.003]\n'
    "steps = 2000\ndt = 0.05",
)
WITH_HOOMD = importlib.util.find_spec("hoomd") is not None


needs_hoomd = pytest.mark.skipif(
    not WITH_HOOMD or importlib.util.find_spec("hoomd.amorph") is None,
    reason="HOOMD-blue with hoomd.amorph is not installed",
)


@needs_hoomd
def test_from_our_minimum_it_goes_nowhere() -> None:
    campaign = parse_campaign(PLAIN.replace('engine = "hoomd"', ""), "x")
    theta = campaign.potential.theta()
    ours = fresh_member(Order(campaign, theta, theta, 0), 5).packing
    assert ours is not None
    start = Start(ours.positions[None], ours.typeid, np.asarray(ours.box)[None])
    there = parse_campaign(PLAIN, "x").preparation
    found = prepared_by_hoomd(theta, there, start, (1, 2, 3))
    # HOOMD-blue may be of single precision.
    np.testing.assert_allclose(found.positions, ours.positions, atol=1e-5)
    relaxed = bridge.relax(theta, found)
    np.testing.assert_allclose(relaxed.positions, ours.positions, atol=1e-8)


@needs_hoomd
@pytest.mark.parametrize("text", [PLAIN, ANNEAL], ids=["quench", "anneal"])
def test_its_packings_are_like_ours(text: str) -> None:
    energies = []
    for engine in ("hoomd", "amorph"):
        campaign = parse_campaign(text.replace('"hoomd"', f'"{engine}"'), "x")
        theta = campaign.potential.theta()
        order = Order(campaign, theta, theta, 0)
        packings = [fresh_member(order, k).packing for k in range(30)]
        energies.append([float(bridge.energy(theta, p)) / 64 for p in packings if p is not None])
    (a, b), error = np.mean(energies, axis=1), np.std(energies, axis=1) / np.sqrt(30)
    assert abs(a - b) < 4 * np.hypot(*error)
    assert len(energies[0]) == len(energies[1]) == 30


@needs_hoomd
def test_a_design_with_it_is_repeatable(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run_campaign(parse_campaign(ANNEAL, name), ANNEAL, tmp_path / name)
    assert (tmp_path / "a" / "run.gsd").read_bytes() == (tmp_path / "b" / "run.gsd").read_bytes()


@needs_hoomd
def test_what_does_not_converge_is_named() -> None:
    campaign = parse_campaign(PLAIN.replace("tolerance = 1e-6", "max_steps = 100"), "x")
    theta = campaign.potential.theta()
    member = fresh_member(Order(campaign, theta, theta, 0), 0)
    assert member.packing is None
    assert RecordError.__name__ in member.failure
    assert "raise preparation.max_steps" in member.failure


@needs_hoomd
def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(CampaignFileError, match="no stage like Minimize"):
        parse_campaign(CAMPAIGN.replace("PREPARATION", "pressure = 0.1"), "x")


@pytest.mark.skipif(WITH_HOOMD, reason="HOOMD-blue is installed")
def test_without_it_a_campaign_is_refused() -> None:
    with pytest.raises(CampaignFileError, match="amorph doctor"):
        parse_campaign(PLAIN, "x")


def as_hoomd_logs(path: Path, *modes: str) -> Path:
    """A packing as runs in these modes would have written it, a frame each."""
    reference = Path(__file__).parents[3] / "data" / "reference" / "hm2d_n128_a6_s2.gsd"
    ((theta, packing),) = bridge.read_gsd(reference, slice(1))
    n_types, upper = theta.near.n_types, np.triu_indices(theta.near.n_types)
    frames = []
    for step, mode in enumerate(modes):
        frame = gsd.hoomd.Frame()
        frame.configuration.step, frame.configuration.dimensions = step, 2
        box = np.asarray(packing.box)
        frame.configuration.box = [box[0, 0], box[1, 1], 0, box[0, 1] / box[1, 1], 0, 0]
        frame.particles.N = len(packing.positions)
        frame.particles.types = ["A", "B", "C", "D"][:n_types]
        frame.particles.typeid = np.asarray(packing.typeid)
        wrapped = np.asarray(packing.wrapped().positions)
        frame.particles.position = np.column_stack([wrapped, np.zeros(len(wrapped))])
        for name, values in theta.near.arrays().items():
            logged = np.asarray(values)
            if name != "diameters":
                matrix = np.zeros((n_types, n_types))
                matrix[upper] = logged
                logged = np.maximum(matrix, matrix.T)
            frame.log[f"amorph/pair/HarmonicMorse/{name}"] = logged
        text = np.frombuffer(mode.encode() + b"\0", dtype=np.int8)
        frame.log["amorph/pair/HarmonicMorse/applied_mode"] = text
        frames.append(frame)
    with gsd.hoomd.open(path, "w") as trajectory:
        trajectory.extend(frames)
    return path


def test_a_run_in_another_mode_is_a_row_without_values(tmp_path: Path) -> None:
    path = as_hoomd_logs(tmp_path / "modes.gsd", "xplor", "shift")
    table = campaigns.analyze_table(path, features=["energy"])
    assert list(table["status"]) == ["ok", "UnknownPotentialError"]
    assert "mode = 'shift'" in table["message"][1]
    assert np.isfinite(table["energy"][0])
    assert not np.isfinite(table["energy"][1])
    ((theta, _),) = bridge.read_gsd(path, slice(1))
    on_purpose = campaigns.analyze_table(path, features=["energy"], theta=theta)
    assert list(on_purpose["status"]) == ["ok", "ok"]


def test_a_start_from_such_a_file_needs_a_potential(tmp_path: Path) -> None:
    path = as_hoomd_logs(tmp_path / "none.gsd", "none")
    text = f"[preparation]\nstart = 'file'\nfile = '{path}'\n"
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(CampaignFileError, match=r"give \[potential\].*mode = 'none'"):
        load_preparation(file)
    file.write_text(PLAIN.partition("[preparation]")[0] + text)
    load_preparation(file)
