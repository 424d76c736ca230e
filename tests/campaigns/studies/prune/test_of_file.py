"""``amorph prune``: the campaign it stands for, and what it leaves behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amorph import bridge, ensemble
from amorph.bridge import networks
from amorph.campaigns.studies.files import parse_campaign
from amorph.campaigns.studies.prune.of_file import campaign_of
from amorph.handover import InputError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own.gsd"
    made = [networks.triangular_network((6, 6), seed=k, distortion=0.2) for k in (1, 2)]
    bridge.write_gsd(path, made)
    return path


def test_the_campaign_says_what_was_asked(file: Path) -> None:
    text = campaign_of(
        file, ["poisson_ratio=-0.5", "bulk_modulus = -20%"], method="annealing", convex=True
    )
    campaign = parse_campaign(text, "test")
    assert campaign.prune.networks == 2
    assert campaign.prune.method == "annealing"
    assert campaign.prune.convex
    first, second = campaign.objective
    assert (first.feature, first.target) == ("poisson_ratio", -0.5)
    assert (second.feature, second.change) == ("bulk_modulus", "-20%")


@pytest.mark.parametrize(
    "goal", ["poisson_ratio", "=-0.5", "poisson_ratio=low", "a=1=%", "a=0.5.1", "a=."]
)
def test_what_is_no_goal_is_named(goal: str, file: Path) -> None:
    with pytest.raises(InputError, match=r"--to .*write a feature and its target"):
        campaign_of(file, [goal])


def test_nothing_wanted(file: Path) -> None:
    with pytest.raises(InputError, match="say what is wanted"):
        campaign_of(file, [])


def test_the_command(amorph: Callable[..., Any], tmp_path: Path) -> None:
    """Packings' contacts, pruned; each network beside what it was."""
    theta = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)
    batch = ensemble.quench(theta, 64, 0.9, 2, 2, seed=1)
    batch.write(tmp_path / "packings.gsd")
    done = amorph(
        *("prune", "packings.gsd", "-o", "out", "--to", "poisson_ratio=0.7"), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "reached 2 of 2" in done.stdout
    for number in range(2):
        before, after = bridge.read_gsd(tmp_path / "out" / "networks" / f"{number:04d}.gsd")
        assert after[0].n_bonds < before[0].n_bonds
        assert bridge.poisson_ratio(*after) == pytest.approx(0.7, abs=0.01)
    done = amorph("prune", "packings.gsd", "-o", "other", "--to", "nu=1", cwd=tmp_path)
    assert done.returncode == 2
    assert "'nu' cannot be had" in done.stderr
    assert not (tmp_path / "other").exists()
