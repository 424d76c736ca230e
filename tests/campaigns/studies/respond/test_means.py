"""The Jacobian of means: what it is the derivative of, its rank, and who cannot have one."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from amorph import bridge
from amorph.campaigns.errors import CampaignFileError
from amorph.campaigns.studies.files import parse_campaign
from amorph.campaigns.studies.preparing import packing_of
from amorph.campaigns.studies.respond.means import mean_response, slope_name, slopes_in
from amorph.campaigns.studies.running import run_campaign

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
seed = 5

[respond]
features = ["pressure", "bulk_modulus"]
parameters = ["diameters"]
packings = 12
means = true
MORE
"""


def test_rank_and_errors_of_what_is_known() -> None:
    rng = np.random.default_rng(1)
    truth = np.array([[1.0, 0.5, 0.0], [0.0, 100.0, 50.0], [2.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    noise = np.array([0.1, 30.0, 0.1, 1.0])[:, None]  # the third row is the first one's double
    ranks, off = [], []
    for _ in range(20):
        found = mean_response(truth + noise * rng.normal(size=(400, 4, 3)))
        ranks.append(found.rank)
        off.append((found.mean - truth) / found.error)
        assert found.susceptibilities[0] == pytest.approx(np.linalg.norm(truth, 2), rel=0.1)
        assert found.errors[0] == pytest.approx(30.0 / 20, rel=0.3)
    # A singular value more than there is, 1 time in 20.
    assert ranks.count(2) >= 16
    assert min(ranks) == 2
    assert np.std(off) == pytest.approx(1.0, abs=0.15)


def test_identical_packings_have_no_noise() -> None:
    truth = np.array([[1.0, 2.0], [2.0, 4.0]])
    found = mean_response(np.repeat(truth[None], 5, axis=0))
    assert found.rank == 1
    assert found.noise < 1e-12
    assert np.all(found.errors < 1e-12)


def test_columns_are_known_by_their_names() -> None:
    slopes = np.arange(12.0).reshape(2, 2, 3) + 1
    names = [slope_name(row, column) for row in ("a", "b[0]") for column in "xyz"]
    table = pandas.DataFrame(slopes.reshape(2, 6), columns=names)
    rows, columns, found = slopes_in(table[[names[k] for k in (3, 0, 1, 4, 5, 2)]])
    assert sorted(rows) == ["a", "b[0]"]
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            np.testing.assert_array_equal(found[:, r, c], table[slope_name(row, column)])


def test_a_study_of_means(tmp_path: Path) -> None:
    text = CAMPAIGN.replace("MORE", "")
    file = parse_campaign(text, "x")
    (system,) = run_campaign(file, text, tmp_path / "out")
    table = pandas.read_csv(tmp_path / "out" / "responses.csv", keep_default_na=False)
    rows, columns, slopes = slopes_in(table)
    assert rows == ["pressure", "bulk_modulus"]
    assert columns == ["diameters[A]", "diameters[B]"]
    summary = system["summary"]
    np.testing.assert_allclose(summary["jacobian"], slopes.mean(axis=0), rtol=1e-12)
    assert summary["value"]["pressure"] == pytest.approx(table["pressure"].mean())
    # Row by row they are the bridge's, jump terms and all.
    theta, packing = file_packing(file, 3)
    found = bridge.jacobian(
        theta, packing, ["pressure", "bulk_modulus"], "diameters", jump_terms=True
    )
    assert found.jump_terms is not None
    assert np.all(found.jump_terms[0] == 0)  # the pressure does not jump
    assert np.any(found.jump_terms[1] != 0)
    np.testing.assert_allclose(slopes[3], found.matrix + found.jump_terms, rtol=1e-9)


def file_packing(file: Any, replica: int) -> tuple[bridge.Theta, bridge.Packing]:
    return packing_of(file.potential, file.preparation, replica)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("network = 1.0", "respond.network is for single packings"),
        ("reach = [0]", "respond.reach is for single packings"),
        ("relative = true", "respond.relative is for single packings"),
        ('parameters = ["diameters/particle"]', "have no mean"),
        ("packings = 1", "a mean needs two at least"),
    ],
)
def test_what_has_no_mean(more: str, told: str) -> None:
    key = more.split(" = ")[0]
    kept = [line for line in CAMPAIGN.replace("MORE", "").splitlines() if not line.startswith(key)]
    with pytest.raises(CampaignFileError, match=told):
        parse_campaign("\n".join([*kept, more]), "x")


def test_jump_terms_are_of_a_fixed_box() -> None:
    theta, packing = file_packing(parse_campaign(CAMPAIGN.replace("MORE", ""), "x"), 0)
    with pytest.raises(bridge.errors.InputError, match="fixed box"):
        bridge.jacobian(theta, packing, "pressure", held="pressure", jump_terms=True)
