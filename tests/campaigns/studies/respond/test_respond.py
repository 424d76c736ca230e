"""The study [respond], and the systems it makes of packings."""

from pathlib import Path

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import networks
from amorph.campaigns.errors import CampaignFileError
from amorph.campaigns.studies.files import parse_campaign
from amorph.campaigns.studies.reporting import write_report
from amorph.campaigns.studies.respond.systems import in_species
from amorph.campaigns.studies.rows import read_rows
from amorph.campaigns.studies.running import run_campaign
from amorph.handover import InputError

CAMPAIGN = """
[potential]
kind = "soft_sphere"
diameters = [0.8, 1.2]
stiffness = 1.0

[preparation]
n_particles = 48
density = 1.1
pressure = 0.1
seed = 1
tolerance = 1e-13

[respond]
features = ["elastic_constants"]
parameters = ["diameters"]
packings = 2

[[case]]
name = "few"
"respond.species" = 4

[[case]]
name = "many"
"respond.species" = 12
"respond.reach" = [0]

[[case]]
name = "network"
"respond.parameters" = ["stiffness"]
"respond.network" = 2.0

[[case]]
name = "crystal"
"potential.diameters" = [1.0]
"preparation.start" = "triangular"
"preparation.pressure" = {}
"preparation.density" = 1.25
"respond.species" = 6
"""


@pytest.fixture(scope="module")
def solid() -> tuple[bridge.PairPotential, bridge.Packing]:
    theta = bridge.SoftSphere(diameters=[0.8, 1.2], stiffness=[1.0, 2.0, 3.0])
    batch = ensemble.quench(
        theta, n_particles=50, density=1.1, dimension=2, seed=2, tolerance=1e-13, pressure=0.05
    )
    _, packing = next(bridge.packings_of(batch))
    return theta, bridge.relax(theta, packing)


def test_species_of_their_own_kind_change_nothing(
    solid: tuple[bridge.PairPotential, bridge.Packing],
) -> None:
    theta, packing = solid
    new, there = in_species(theta, packing, 7, (5, 0))
    assert new.n_types == 7
    assert new.diameters.tolist() == [0.8] * 4 + [1.2] * 3
    assert set(there.typeid) == set(range(7))
    # Small ones are of small species, as evenly as can be.
    assert np.array_equal(there.typeid < 4, packing.typeid == 0)
    assert np.ptp(np.bincount(there.typeid)[:4]) <= 1
    np.testing.assert_array_equal(there.positions, packing.positions)
    before, after = (
        bridge.measure(t, p, ["energy", "elastic_constants"]).values
        for t, p in ((theta, packing), (new, there))
    )
    assert after["energy"] == pytest.approx(before["energy"], rel=1e-14)
    np.testing.assert_allclose(
        after["elastic_constants"], before["elastic_constants"], rtol=1e-12, atol=1e-14
    )
    # Together the new diameters of a kind are the old one.
    whole = bridge.jacobian(theta, packing, "pressure", "diameters").matrix[0]
    parts = bridge.jacobian(new, there, "pressure", "diameters").matrix[0]
    assert [parts[:4].sum(), parts[4:].sum()] == pytest.approx(whole, rel=1e-9)
    # Another key, another assignment.
    other = in_species(theta, packing, 7, (5, 1))[1]
    assert not np.array_equal(other.typeid, there.typeid)


def test_networks_are_of_the_contacts(
    solid: tuple[bridge.PairPotential, bridge.Packing],
) -> None:
    theta, packing = solid
    springs, network = networks.contact_network(theta, packing, stiffness=2.0)
    apart = packing.positions[:, None] - packing.positions[None]
    length = packing.box[0, 0]
    apart = np.linalg.norm(apart - length * np.rint(apart / length), axis=-1)
    sizes = np.asarray(theta.diameters)[packing.typeid]
    touching = apart < 0.5 * (sizes[:, None] + sizes[None])
    rattlers = bridge.response(theta, packing).rattlers
    touching[rattlers] = touching[:, rattlers] = False
    assert len(springs.stiffness) == (touching.sum() - (~rattlers).sum()) / 2
    assert network.n_particles == packing.n_particles - rattlers.sum()
    assert bridge.energy(springs, network) == pytest.approx(0.0, abs=1e-25)
    assert np.abs(bridge.stress(springs, network)).max() < 1e-12
    # Twice as stiff, all moduli are twice as large.
    stiff, same = networks.contact_network(theta, packing, stiffness=4.0)
    moduli = [bridge.bulk_modulus(s, n) for s, n in ((springs, network), (stiff, same))]
    assert moduli[1] == pytest.approx(2 * moduli[0], rel=1e-9)


def test_species_that_cannot_be(solid: tuple[bridge.PairPotential, bridge.Packing]) -> None:
    theta, packing = solid
    with pytest.raises(InputError, match="2 types already"):
        in_species(theta, packing, 1, (0, 0))
    with pytest.raises(InputError, match="have only 25 particles"):
        in_species(theta, packing, 60, (0, 0))


def test_a_campaign_of_cases_is_run_and_reported(tmp_path: Path) -> None:
    outcomes = run_campaign(parse_campaign(CAMPAIGN, "x"), CAMPAIGN, tmp_path / "run")
    assert [o["swept"] for o in outcomes] == [
        {"case": name} for name in ("few", "many", "network", "crystal")
    ]
    assert [o["status"] for o in outcomes] == ["done"] * 4
    few, many, network, crystal = (o["summary"] for o in outcomes)
    assert (few["rank"], few["parameters"]) == ([4], 4)
    assert (many["rank"], many["fully independent"]) == ([6], "2 of 2")
    assert network["rank"] == [6]
    assert crystal["rank"] == [1]
    assert many["least margin"] > 1e3
    table = read_rows(tmp_path / "run" / outcomes[1]["directory"] / "responses.csv")
    s = table[[f"susceptibility_{k}" for k in range(6)]].to_numpy()
    assert np.all(np.diff(s, axis=1) <= 0)
    assert np.all(table["reach_0.end"] > 0)
    assert not (table.filter(like="reach_0") == 0).to_numpy().any()  # what did not happen is empty
    np.testing.assert_allclose(
        table["reach_0.tunability"], table["reach_0.end"] * s[:, 0], rtol=0.2
    )
    page = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert "No picture" not in page
    found = {p.stem for p in (tmp_path / "run" / "figures").glob("*.png")}
    assert found == {"susceptibilities", "ranks", "reach"}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('features = ["elastic_constants"]', 'features = ["coordination"]', "no derivative"),
        ('name = "many"', 'name = "few"', "stands there twice"),
        ("packings = 2", "packings = 2\nnetwork = 1.0\nspecies = 3", "choose one"),
        ('"respond.species" = 4', '"respond.specie" = 4', "case 'few'"),
        ('"respond.species" = 4', '"responds.species" = 4', "there is no 'responds'"),
    ],
)
def test_named_faults(before: str, after: str, told: str) -> None:
    with pytest.raises(CampaignFileError, match=told):
        list(parse_campaign(CAMPAIGN.replace(before, after), "x").points())
