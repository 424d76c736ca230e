"""The study [barriers]: rows that are found anew outside of it, designs that hold, and faults."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import landscapes
from amorph.campaigns.errors import CampaignFileError
from amorph.campaigns.studies.barriers.study import BarriersStudy, distinct
from amorph.campaigns.studies.files import parse_campaign
from amorph.campaigns.studies.reporting import write_report
from amorph.campaigns.studies.rows import read_rows
from amorph.campaigns.studies.running import run_campaign
from amorph.campaigns.studies.study import Task

CAMPAIGN = """
[potential]
kind = "harmonic_morse"
diameters = [0.8, 1.0]
binding = 0.1
stiffness = 5.0
alpha = 6.0

[preparation]
n_particles = 64
density = 1.6
seed = 4

[barriers]
searches = 6
seed = 1
"""


def run(text: str, root: Path) -> Any:
    run_campaign(parse_campaign(text, "test"), text, root)
    return read_rows(root / "barriers.csv")


def test_rows_are_saddles(tmp_path: Path) -> None:
    table = run(CAMPAIGN, tmp_path / "run")
    good = table[table["failure"] == ""]
    assert len(good) >= 4
    assert good["joined"].sum() >= 2
    study = BarriersStudy(Task(tmp_path, parse_campaign(CAMPAIGN, "test")))
    theta, packing = study.packing(0)
    _, row = next(iter(good[good["joined"] == 1].iterrows()))
    pushes = landscapes.random_pushes(packing, 6, seed=1, width=1.0)
    found = landscapes.saddles_around(theta, packing, pushes[[int(row["search"])]])[0]
    assert found.energy - bridge.energy(theta, packing) == pytest.approx(row["barrier"], rel=1e-8)
    assert found.eigenvalue == pytest.approx(row["eigenvalue"], rel=1e-6)
    sizes = np.sum(found.mode**2, axis=1)
    assert row["participation"] == pytest.approx(1.0 / (64 * np.sum(sizes**2)), rel=1e-4)
    # The derivative by a diameter, of the barrier followed to both sides.
    ends = []
    for step in (1e-5, -1e-5):
        own = theta.replace(diameters=np.asarray(theta.diameters) + np.array([0.0, step]))
        ((way,),) = landscapes.transitions_over(theta, [found])
        if abs(way.barrier - row["barrier"]) > 1e-9:
            way = way.reversed()
        ends.append(landscapes.follow_transition(own, way).barrier)
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(row["slope diameters_1"], rel=1e-5)
    write_report(tmp_path / "run")
    assert {p.stem for p in (tmp_path / "run" / "figures").glob("*.png")} == {
        "distribution",
        "participation",
    }


def test_a_barrier_is_raised(tmp_path: Path) -> None:
    table = run(CAMPAIGN + "factor = 2.0\n", tmp_path / "run")
    (row,) = (r for _, r in table.iterrows())
    assert row["status"] == "reached"  # found anew by its descents
    assert row["factor"] == pytest.approx(2.0, rel=1e-3)
    assert row["largest drift"] < 0.01
    for name in ("energy", "pressure"):
        assert row[name] == pytest.approx(row[f"{name} before"], rel=0.01)
    assert row["largest change"] < 0.1
    write_report(tmp_path / "run")
    assert (tmp_path / "run" / "figures" / "designs.png").exists()


def test_saddles_met_twice_are_counted_once() -> None:
    import pandas

    table = pandas.DataFrame(
        {
            "packing": [0, 0, 0, 1],
            "above": [0.1, 0.1 + 1e-9, 0.2, 0.1],
            "eigenvalue": [-1.0, -1.0, -1.0, -1.0],
        }
    )
    assert distinct(table).tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("searches = 6", "searches = 0", ["searches"]),
        ("searches = 6", "species = 4", ["species", "factor"]),
        ("searches = 6", 'held = ["coordination"]', ["coordination"]),
        ("searches = 6", 'held = ["elastic_constants"]', ["elastic_constants"]),
        ("searches = 6", "factor = -1.0", ["factor"]),
    ],
)
def test_what_a_file_may_not_ask_for(old: str, new: str, words: list[str]) -> None:
    with pytest.raises(CampaignFileError) as raised:
        parse_campaign(CAMPAIGN.replace(old, new), "test")
    for word in words:
        assert word in str(raised.value)


def test_a_barrier_that_is_not_there(tmp_path: Path) -> None:
    """Higher than any of them."""
    table = run(CAMPAIGN + "factor = 2.0\nleast = 1e3\n", tmp_path / "run")
    assert "NoBarrierError" in table["failure"][0]


def test_the_command(amorph: Callable[..., Any], tmp_path: Path) -> None:
    text = CAMPAIGN.partition("[barriers]")[0].replace("seed = 4", "seed = 4\nreplicas = 2")
    (tmp_path / "prepare.toml").write_text(text)
    amorph("prepare", "prepare.toml", "-o", "packings.gsd", cwd=tmp_path)
    done = amorph("barriers", "packings.gsd", "-o", "out", "--searches", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "saddles" in done.stdout
    table = read_rows(tmp_path / "out" / "barriers.csv")
    assert table["packing"].tolist() == [0, 0, 1, 1]
