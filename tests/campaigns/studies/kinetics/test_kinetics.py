"""The study [kinetics]: what was wanted comes out and is found anew; what a file may not ask."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import landscapes
from amorph.campaigns.errors import CampaignFileError
from amorph.campaigns.studies.files import parse_campaign
from amorph.campaigns.studies.reporting import write_report
from amorph.campaigns.studies.rows import read_rows
from amorph.campaigns.studies.running import run_campaign
from amorph.handover import InputError

CAMPAIGN = """
[potential]
kind = "morse"
diameters = 1.0
binding = 5.0
alpha = 14.0

[cluster]
particles = 6
state = 1
transitions = [0]

[kinetics]
grid = [3.0, 5.0]
seed = 3
"""


def run(text: str, root: Path) -> Any:
    run_campaign(parse_campaign(text, "test"), text, root)
    return read_rows(root / "designs.csv")


def pictures(root: Path) -> set[str]:
    write_report(root)
    return {path.stem for path in (root / "figures").glob("*.png")}


def test_barriers_come_out(tmp_path: Path) -> None:
    """As transitions looked for outside of the study have them."""
    table = run(CAMPAIGN, tmp_path / "run")
    assert (table["failure"] == "").all()
    assert (table["status"] == "reached").all()
    assert table["target 0 there"].tolist() == [3, 3, 5, 5]
    assert table["target 0 back"].tolist() == [3, 5, 3, 5]
    cluster = landscapes.rigid_clusters(6)[1]
    way = landscapes.break_contact(cluster, cluster.contacts[0]).path
    names = sorted((c for c in table if c.startswith("binding_")), key=lambda c: int(c[8:]))
    for _, row in table.iterrows():
        binding = np.ones(21)
        binding[np.not_equal(*np.triu_indices(6))] = row[names].to_numpy(float)
        theta = bridge.Morse(diameters=np.ones(6), binding=binding, alpha=14.0)
        ends = [bridge.relax(theta, bridge.Packing.of(x, np.arange(6))) for x in (way[0], way[-1])]
        found = landscapes.find_transition(theta, *ends)
        wanted = row[["target 0 there", "target 0 back"]].to_numpy(float)
        assert [found.barrier, found.reverse_barrier] == pytest.approx(wanted, rel=2e-4)
        assert row["barriers_0"] == pytest.approx(found.barrier, abs=1e-8)
    assert pictures(tmp_path / "run") == {"errors", "profiles"}


def test_rates_come_out_and_are_measured(tmp_path: Path) -> None:
    text = CAMPAIGN.replace("grid = [3.0, 5.0]", 'quantity = "rate"\ntargets = [[2.0, 1.0]]')
    text = text.replace("binding = 5.0", "binding = 12.0")
    text += "\n[trajectories]\nnumber = 12\ntime = 8.0\n"
    table = run(text, tmp_path / "run")
    (row,) = (r for _, r in table.iterrows())
    assert row["status"] == "reached"
    assert [row["rate_0"], row["rate_1"]] == pytest.approx([2.0, 1.0], rel=2e-4)
    assert row["passages_0"] + row["passages_1"] > 20
    for k in (0, 1):
        low, high = row[f"measured low_{k}"], row[f"measured high_{k}"]
        assert 0.6 * low < row[f"rate_{k}"] < 1.7 * high  # few passages, and Kramers' own error
    trace = row[[f"trace_{k}" for k in range(100)]].to_numpy(float)
    assert trace.min() >= 0
    assert trace.max() <= 1
    smooth = row[[f"trace filtered_{k}" for k in range(100)]].to_numpy(float)
    assert np.abs(np.diff(smooth)).mean() < 0.5 * np.abs(np.diff(trace)).mean()
    assert {"rates", "trajectory"} <= pictures(tmp_path / "run")


def test_what_cannot_be_had_together(tmp_path: Path) -> None:
    """Sets of transitions: each row says how many values are wanted, and the rank of the loss."""
    text = CAMPAIGN.replace("grid = [3.0, 5.0]", "subsets = true\naround = 0.1\nmost_subsets = 6")
    text = text.replace("transitions = [0]", "transitions = [0, 1, 2]")
    table = run(text, tmp_path / "run")
    assert len(table) == 6
    assert (table["number"] == 2 * table["transitions"].astype(str).str.split().str.len()).all()
    assert (table["rank"] <= table["number"]).all()
    assert (table["met"] == (table["loss"] < 1e-2)).all()
    assert "together" in pictures(tmp_path / "run")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("grid = [3.0, 5.0]", "", "give one of targets, grid and subsets"),
        ("grid = [3.0, 5.0]", "grid = [3.0, -5.0]", "greater than 0"),
        ("grid = [3.0, 5.0]", "subsets = true", "subsets need between"),
        ("grid = [3.0, 5.0]", "targets = [[3.0, 4.0, 5.0]]", "two values for each"),
        ("transitions = [0]", "transitions = [0, 1]", "grid is for one transition"),
        ("transitions = [0]", "transitions = [12]", "numbered up to 11"),
        ("diameters = 1.0", "diameters = [1.0, 1.0]", "has 2 types: give 1 or 6"),
        ("[kinetics]", "[preparation]\nn_particles = 6\ndensity = 0.1\n[kinetics]", "no .prepar"),
    ],
)
def test_a_file_that_cannot_be_is_refused(old: str, new: str, named: str) -> None:
    with pytest.raises(CampaignFileError, match=named):
        parse_campaign(CAMPAIGN.replace(old, new), "test")


def test_a_state_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="from 0 on"):
        run(CAMPAIGN.replace("state = 1", "state = 2"), tmp_path / "run")
