"""The study [prune]: its networks, what comes out, and what a file may not ask for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import networks
from amorph.campaigns.errors import CampaignFileError
from amorph.campaigns.studies.files import parse_campaign
from amorph.campaigns.studies.prune.pictures import _systems
from amorph.campaigns.studies.reporting import write_report
from amorph.campaigns.studies.rows import read_rows
from amorph.campaigns.studies.running import run_campaign
from amorph.handover import read_gsd

CAMPAIGN = """
[network]
kind = "triangular"
size = [8, 8]
distortion = 0.2
seed = 3

[prune]
networks = 2
convex = true

[[objective]]
feature = "poisson_ratio"
target = -0.6

[sweep]
"prune.method" = ["greedy", "annealing", "gradient"]
"""


def run(text: str, root: Path) -> list[Any]:
    run_campaign(parse_campaign(text, "test"), text, root)
    return [read_rows(path) for path in sorted(root.rglob("networks.csv"))]


def test_networks_arrive_and_are_kept(tmp_path: Path) -> None:
    """Rows beside what the bridge measures of the files; networks have seeds of their own."""
    root = tmp_path / "run"
    tables = run(CAMPAIGN, root)
    assert len(tables) == 3
    for k, table in enumerate(tables):
        assert (table["failure"] == "").all()
        assert (table["status"] == "reached").all()
        assert (table["concave"] == 0).all()
        assert table["poisson_ratio before"].nunique() == 2
        for item, row in table.iterrows():
            (path,) = root.glob(f"{k}_*/networks/{item:04d}.gsd")
            before, after = bridge.read_gsd(path)
            right = networks.triangular_network((8, 8), distortion=0.2, seed=3 + int(item))
            assert np.array_equal(before[1].bonds, right[1].bonds)
            nu = bridge.poisson_ratio(*after)
            assert nu == pytest.approx(-0.6, abs=0.01)
            assert row["poisson_ratio"] == pytest.approx(nu, rel=1e-9)
            assert row["measured poisson_ratio"] == pytest.approx(nu, rel=1e-9)
            assert row["cut"] == 192 - after[0].n_bonds
            assert row["z"] == pytest.approx(2 * after[0].n_bonds / 64)
            way = [row[f"way cut_{n}"] for n in range(50) if f"way cut_{n}" in table]
            known = [int(v) for v in way if np.isfinite(v)]
            assert (known[0], known[-1]) == (0, row["cut"])
            last = [row[f"way poisson_ratio_{n}"] for n in range(len(known))][-1]
            assert last == pytest.approx(nu, rel=1e-9)
    page = write_report(root).read_text(encoding="utf-8")
    assert "2 of 2" in page
    assert (root / "figures" / "way.png").exists()
    assert (root / "figures" / "network-2.png").exists()


def test_a_change_of_several_values(tmp_path: Path) -> None:
    """Two objectives with weights, one of them as a part of what the network starts with."""
    text = CAMPAIGN.replace("target = -0.6\n", "change = 0.1\n").replace(
        "[sweep]",
        '[[objective]]\nfeature = "bulk_modulus"\nchange = "-20%"\nweight = 4.0\n\n[sweep]',
    )
    text = text.replace('["greedy", "annealing", "gradient"]', '["annealing"]')
    (table,) = run(text, tmp_path / "run")
    for _, row in table.iterrows():
        off = row["poisson_ratio"] - (row["poisson_ratio before"] + 0.1)
        bulk = row["bulk_modulus"] - 0.8 * row["bulk_modulus before"]
        assert row["distance"] == pytest.approx(np.hypot(off, 2 * bulk), rel=1e-6)
        assert row["distance"] <= 0.01


def test_other_networks(tmp_path: Path) -> None:
    """Triangulations, open networks between plates, contacts of packings, and those of a file."""
    common = '\n[[objective]]\nfeature = "poisson_ratio"\ntarget = -0.1\n'
    opened = '[network]\nkind = "delaunay"\nnodes = 60\nopen = true\n[prune]\nload = "plates"\n'
    (table,) = run(opened + common, tmp_path / "open")
    assert table["status"].tolist() == ["reached"]
    contacts = (
        '[network]\nkind = "contacts"\n[prune]\nnetworks = 2\n'
        '[potential]\nkind = "soft_sphere"\ndiameters = [1.0, 1.4]\nstiffness = 1.0\n'
        "[preparation]\nn_particles = 64\ndensity = 0.8\nseed = 2\n"
    )
    (table,) = run(contacts + common, tmp_path / "contacts")
    assert table["status"].tolist() == ["reached", "reached"]
    assert table["nodes"].max() <= 64
    path = tmp_path / "own.gsd"
    bridge.write_gsd(path, [networks.triangular_network((6, 6), seed=k) for k in (4, 5)])
    filed = f'[network]\nkind = "file"\nfile = "{path}"\n[prune]\nnetworks = 2\n'
    (table,) = run(filed + common, tmp_path / "file")
    own = [bridge.poisson_ratio(*networks.triangular_network((6, 6), seed=k)) for k in (4, 5)]
    assert table["poisson_ratio before"].tolist() == pytest.approx(own, rel=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("poisson_ratio", "poisson", ["'poisson' cannot be had"]),
        ('"triangular"', '"square"', ["network.kind", "'triangular', 'delaunay'"]),
        ("size = [8, 8]", "nodes = 9", ["nodes is no key of kind = 'triangular'"]),
        ("size = [8, 8]\n", "", ["kind = 'triangular' needs size"]),
        ("convex = true", 'load = "plates"', ["presses open networks", "open = true"]),
        ("convex = true", "most_trials = 9", ["most_trials is no key of method = 'greedy'"]),
        ("convex = true", "convx = true", ["convx", "did you mean 'convex'"]),
        ("distortion = 0.2", "open = true", ["'poisson_ratio' cannot be had"]),
        ("target = -0.6", "target = -0.6\nwithin = [-1.0, 1.0]", ["within is for ensembles"]),
        ("seed = 3", "seed = 3\n[preparation]\nn_particles = 9", ["preparation"]),
        (
            "[sweep]",
            '[[objective]]\nfeature = "poisson_ratio"\ntarget = 0.1\n[sweep]',
            ["stands there twice"],
        ),
        ("convex = true", "limits = { bulk_modulus = [1.0, 0.5] }", ["lowest value comes first"]),
        ('"poisson_ratio"', '"elastic_constants[9]"', ["component [9]"]),
        ("convex = true", "[prune.limits]\nmodulus = [0.0, 1.0]", ["'modulus' cannot be had"]),
    ],
)
def test_what_a_file_may_not_ask_for(old: str, new: str, words: list[str]) -> None:
    text = CAMPAIGN.replace(old, new, 1)
    assert text != CAMPAIGN
    with pytest.raises(CampaignFileError) as raised:
        parse_campaign(text, "test")
    for word in words:
        assert word in str(raised.value)


def test_what_was_cut_before_is_not_counted(tmp_path: Path) -> None:
    """Bonds of stiffness 0 in a file; an allostery's row and file say which pairs it is about."""
    springs, packing = networks.triangular_network((8, 8), seed=1)
    k = np.asarray(springs.stiffness).copy()
    k[[3, 50, 99]] = 0.0
    path = tmp_path / "own.gsd"
    bridge.write_gsd(path, [(springs.replace(stiffness=k), packing)])
    text = f'[network]\nkind = "file"\nfile = "{path}"\n[prune]\n[allostery]\n'
    (table,) = run(text, tmp_path / "run")
    assert table["failure"].tolist() == [""]
    assert table["bonds"][0] == 192 - 3 - 2
    assert table["z before"][0] == pytest.approx(2 * 187 / 64)
    pairs = table[[f"pairs_{n}" for n in range(4)]].to_numpy(int).reshape(2, 2)
    frame = next(iter(read_gsd(tmp_path / "run" / "networks" / "0000.gsd")))
    assert np.array_equal(frame.log["prune/pairs"], pairs)
    joined = {tuple(sorted(b)) for b in np.asarray(frame.bonds).tolist()}
    assert not {tuple(sorted(b)) for b in pairs.tolist()} & joined


def test_goals_with_points_in_their_names(tmp_path: Path) -> None:
    """A number in an expression is no swept key: every network is in the picture."""
    text = CAMPAIGN.split("[sweep]")[0].replace(
        'feature = "poisson_ratio"\ntarget = -0.6',
        'feature = "0.5 * bulk_modulus / shear_modulus"\ntarget = 0.7',
    )
    (table,) = run(text, tmp_path / "run")
    assert [len(part) for _, part in _systems(table)] == [2]


def test_a_network_that_is_loose_is_a_row_that_failed(tmp_path: Path) -> None:
    """The others go on; the message names the node."""
    path = tmp_path / "own.gsd"
    springs, packing = networks.triangular_network((6, 6), seed=1)
    k = np.asarray(springs.stiffness).copy()
    k[np.flatnonzero((packing.bonds == 20).any(axis=1))[:5]] = 0.0
    loose = networks.without_cut(springs.replace(stiffness=k), packing)
    bridge.write_gsd(path, [(springs, packing), loose])
    text = (
        f'[network]\nkind = "file"\nfile = "{path}"\n[prune]\nnetworks = 2\n'
        '[[objective]]\nfeature = "poisson_ratio"\ntarget = 0.0\n'
    )
    (table,) = run(text, tmp_path / "run")
    assert table["failure"][0] == ""
    assert table["failure"][1].startswith("SingularHessianError: the network is not rigid: node 20")
