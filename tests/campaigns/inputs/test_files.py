"""Campaign and preparation files: every fault is named before work starts."""

from pathlib import Path

import pytest

from amorph.campaigns.errors import CampaignFileError
from amorph.campaigns.inputs.files import load_potential
from amorph.campaigns.studies.files import load_campaign, load_preparation, parse_campaign

RECIPES = Path(__file__).resolve().parents[3] / "campaigns" / "recipes"

GOOD = """
[potential]
kind = "harmonic_morse"
diameters = [0.8, 1.0]
binding = 0.1
stiffness = 5.0
alpha = 6.0

[preparation]
n_particles = 48
density = 1.6
seed = 3

[design]
parameters = ["diameters", "binding"]

[[objective]]
feature = "poisson_ratio"
target = 0.3
"""


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda p: p.name)
def test_every_recipe_is_a_valid_campaign(path: Path) -> None:
    assert list(load_campaign(path).points())


def test_the_reference_page_shows_a_valid_campaign() -> None:
    page = (RECIPES.parents[1] / "docs" / "files.md").read_text(encoding="utf-8")
    text = page.split("```toml\n")[1].split("```")[0]
    assert len(list(parse_campaign(text, "docs/files.md").points())) == 4


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("alpha = 6.0", "alhpa = 6.0", ["alhpa", "alpha"]),
        ("n_particles", "n_particle", ["n_particle", "n_particles"]),
        ("n_particles = 48", 'n_particles = "48"', ["preparation.n_particles", "'48'"]),
        ("n_particles = 48", "n_particles = 48.5", ["preparation.n_particles", "48.5"]),
        ("n_particles = 48", "n_particles = 47", ["47", "composition"]),
        ("n_particles = 48", "n_particles = 40", ["2.65", "cutoff"]),
        (
            "n_particles = 48",
            "n_particles = 48\ncomposition = [0.5, 1.0]",
            ["sum to 1.5", "[1, 3]"],
        ),
        ("density = 1.6", "density = -1.6", ["preparation.density", "-1.6"]),
        ("density = 1.6", "density = nan", ["preparation.density", "finite"]),
        ("diameters = [0.8, 1.0]", "diameters = [0.8, -1.0]", ["diameters", "-1.0"]),
        ("stiffness = 5.0", "stiffness = 0.0", ["stiffness", "0.0"]),
        ("binding = 0.1", "binding = [0.1, 0.1]", ["binding", "3"]),
        ("seed = 3", "seed = -1", ["preparation.seed", "-1"]),
        ("harmonic_morse", "harmonic_mors", ["harmonic_mors", "harmonic_morse"]),
        ("poisson_ratio", "poison_ratio", ["poison_ratio", "poisson_ratio"]),
        ("poisson_ratio", "psi_8_sharp", ["psi_8_sharp", "differentiable"]),
        ("poisson_ratio", "elastic_constants", ["elastic_constants", "scalar"]),
        ("poisson_ratio", "frequencies_1", ["frequencies_1", "scalar"]),
        ('["diameters", "binding"]', '["diameter"]', ["diameter", "diameters"]),
        ("[design]", "[design]\nbounds = {binding = [0.2, 0.1]}", ["binding", "lower"]),
        (
            "[design]",
            "[design]\nbounds = {diameters = [0.0, 1.0]}",
            ["diameters", "greater than 0"],
        ),
        ("[[objective]]", "[stop]\nlos = 1e-6\n[[objective]]", ["stop.los", "loss"]),
        ("[[objective]]", "[sweep]\n'objective.0.targte' = [1]\n[[objective]]", ["targte"]),
        ("[[objective]]", "[sweep]\n'objektive.0.target' = [1]\n[[objective]]", ["objektive"]),
    ],
)
def test_faults_are_named_with_what_would_be_right(old: str, new: str, words: list[str]) -> None:
    assert old in GOOD
    with pytest.raises(CampaignFileError) as caught:
        parse_campaign(GOOD.replace(old, new), "file.toml")
    message = str(caught.value)
    assert message.startswith(("file.toml", "sweep"))
    for word in words:
        assert word in message


def test_only_a_loss_that_was_asked_for_ends_an_ensemble() -> None:
    ensemble = GOOD.replace("[design]", '[design]\nkind = "ensemble"')
    asked = "[stop]\nloss = 1e-3\n[[objective]]"
    for text, default in ((GOOD, 1e-6), (ensemble, None)):
        assert parse_campaign(text, "file.toml").threshold == default
        assert parse_campaign(text.replace("[[objective]]", asked), "file.toml").threshold == 1e-3


def test_several_faults_are_reported_at_once() -> None:
    text = GOOD.replace("alpha = 6.0", "alhpa = 6.0").replace("density", "desnity")
    with pytest.raises(CampaignFileError) as caught:
        parse_campaign(text, "file.toml")
    assert "alhpa" in str(caught.value)
    assert "desnity" in str(caught.value)


@pytest.mark.parametrize(("dimension", "target"), [(2, 1.5), (2, -1.01), (3, 0.6)])
def test_an_impossible_target_is_a_warning(dimension: int, target: float) -> None:
    text = GOOD.replace("target = 0.3", f"target = {target}")
    text = text.replace("n_particles = 48", f"n_particles = 400\ndimension = {dimension}")
    with pytest.warns(UserWarning, match="isotropic solid"):
        parse_campaign(text, "file.toml")


def test_targets_of_a_sweep_warn_and_the_value_they_replace_does_not() -> None:
    text = GOOD.replace("target = 0.3", "target = 7.0")
    text = text.replace("[[objective]]", "[sweep]\n'objective.0.target' = [0.2]\n[[objective]]")
    (point,) = [campaign for _, campaign in parse_campaign(text, "file.toml").points()]
    assert point.objective[0].target == 0.2
    with pytest.warns(UserWarning, match="target 7"):
        parse_campaign(text.replace("[0.2]", "[0.2, 7.0]"), "file.toml")


def test_a_sweep_is_the_product_of_its_values() -> None:
    text = GOOD.replace(
        "[[objective]]",
        "[sweep]\n'objective.0.target' = [0.1, 0.2]\n'preparation.seed' = [1, 2, 3]\n[[objective]]",
    )
    points = list(parse_campaign(text, "file.toml").points())
    assert [(c.objective[0].target, c.preparation.seed) for _, c in points] == [
        (t, s) for t in (0.1, 0.2) for s in (1, 2, 3)
    ]


def test_files_that_are_not_toml_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[potential\n")
    with pytest.raises(CampaignFileError, match="is not TOML"):
        load_campaign(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CampaignFileError, match="UTF-8"):
        load_campaign(path)
    with pytest.raises(CampaignFileError, match="no such file"):
        load_campaign(tmp_path / "y.toml")
    with pytest.raises(CampaignFileError, match="directory"):
        load_preparation(tmp_path)


def test_a_preparation_may_be_a_campaign(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD)
    assert load_preparation(path).preparation.n_particles == 48
    assert load_potential(path).n_types == 2
    path.write_text(GOOD.replace("poisson_ratio", "poison_ratio"))
    with pytest.raises(CampaignFileError, match="poison_ratio"):
        load_preparation(path)
