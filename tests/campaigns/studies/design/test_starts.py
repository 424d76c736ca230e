"""Designs of packings that a file has, and of clusters in open space."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.campaigns.errors import CampaignFileError
from amorph.campaigns.studies.files import parse_campaign
from amorph.campaigns.studies.running import run_campaign
from amorph.handover import read_gsd

TEXT = """
[potential]
kind = "harmonic_morse"
diameters = [0.8, 1.0]
binding = 0.1
stiffness = 5.0
alpha = 10.0

[preparation]
START

[design]
parameters = ["diameters", "binding"]

[[objective]]
feature = "energy"
target = -5.0

[stop]
steps = 3
"""
THETA = bridge.HarmonicMorse([0.8, 1.0], 0.1, 5.0, 10.0)


def design(start: str, folder: Path, old: str = "", new: str = "") -> list[dict[str, Any]]:
    text = TEXT.replace("START", start).replace(old, new, 1)
    return run_campaign(parse_campaign(text, "x"), text, folder)


def test_packings_of_a_file_are_designed_frame_by_frame(tmp_path: Path) -> None:
    file = tmp_path / "packings.gsd"
    batch = ensemble.quench(THETA, 40, 1.4, 2, 5, seed=9)
    batch.write(file)
    start = f'start = "file"\nfile = "{file}"\nframes = "1:"'
    outcomes = design(start, tmp_path / "run")
    assert [o["replica"] for o in outcomes] == [0, 1, 2, 3]
    for outcome, energy in zip(outcomes, batch.energy[1:], strict=True):
        assert outcome["initial"] == pytest.approx([energy], abs=1e-9)
        assert abs(outcome["value"][0] + 5.0) < abs(energy + 5.0)
    # Several to one target: as many designs as the frames make.
    (outcome,) = design(start, tmp_path / "two", "[design]", "[design]\npackings = 3")
    first = next(iter(read_gsd(tmp_path / "two" / "run.gsd")))
    assert outcome["packings"] == 3
    assert first.log["each"] == pytest.approx(batch.energy[1:4], abs=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[design]", "[design]\npackings = 9", "has 5 frames"),
        ("[design]", '[design]\nkind = "ensemble"\npackings = 2', "starts = 'common'"),
        ("[stop]", "[[validation]]\npackings = 2\n[stop]", "fresh packings"),
        ("[design]", "dimension = 3\n[design]", "say dimension = 2"),
        ("[stop]", "[bonds]\nwithin = 1.0\nstiffness = 1.0\n[stop]", "no springs"),
    ],
)
def test_what_a_file_cannot_give_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "packings.gsd"
    ensemble.quench(THETA, 40, 1.4, 2, 5, seed=9).write(file)
    with pytest.raises(CampaignFileError, match=message):
        design(f'start = "file"\nfile = "{file}"', tmp_path / "run", old, new)


def test_a_cluster_is_designed_in_open_space(tmp_path: Path) -> None:
    start = "open = true\nn_particles = 6\nseed = 4"
    (outcome,) = design(start, tmp_path / "run", "target = -5.0", "target = -1.2")
    theta = THETA
    packing = bridge.relax(
        theta, next(bridge.packings_of(ensemble.quench(theta, 6, None, 2, 1, seed=4)))[1]
    )
    assert outcome["initial"] == pytest.approx([bridge.energy(theta, packing)], abs=1e-10)
    assert abs(outcome["value"][0] + 1.2) < abs(outcome["initial"][0] + 1.2)
    frames = list(read_gsd(tmp_path / "run" / "run.gsd"))
    assert all(frame.box is None for frame in frames)
    with pytest.raises(CampaignFileError, match="needs a volume"):
        design(start, tmp_path / "no", '"energy"', '"pressure"')
    for wrong, message in (("density = 1.0", "have no density"), ("", "density is missing")):
        other = f"n_particles = 6\n{wrong}" if not wrong else f"{start}\n{wrong}"
        with pytest.raises(CampaignFileError, match=message):
            design(other, tmp_path / "no")
    assert np.isfinite(outcome["loss"])
