"""Pictures of what the designs of a sweep found: their numbers are those of the records."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from amorph.campaigns.studies.design import pictures as drawings
from amorph.campaigns.studies.design.history import read_history
from amorph.campaigns.studies.files import parse_campaign
from amorph.campaigns.studies.reporting import write_report
from amorph.campaigns.studies.running import run_campaign
from amorph.handover import InputError


def design(target: Any, value: Any, **more: Any) -> dict[str, Any]:
    values = np.atleast_1d(value).tolist()
    found = {
        "kind": "ensemble",
        "status": "step_limit",
        "feature": ["ν"] * len(values),
        "target": target,
        "initial": [0.45] * len(values),
        "swept": {"objective.0.target": target},
        "steps": 10,
        "components": {"diameters": ["A", "B"], "binding": ["AA", "AB", "BB"]},
        "parameters": {"diameters": [0.8, 1.1], "binding": [0.1, 0.2, 0.3]},
        "validations": [
            {
                "n_particles": 128,
                "value": values,
                "interval": [[v - 0.01, v + 0.02] for v in values],
            }
        ],
    }
    return {**found, **more}


def test_series() -> None:
    designs = [
        design(0.3, 0.3, swept={"objective.0.target": 0.3, "potential.diameters": [0.8] * n})
        for n in (2, 4, 2)
    ]
    designs.append(design(0.3, 0.3, swept={"design.packings": 1, "preparation.seed": 3}))
    assert {k: len(v) for k, v in drawings.by_series(designs).items()} == {
        "2 types": 2,
        "4 types": 1,
        "1 packing": 1,
    }
    assert list(drawings.by_series([design(0.3, 0.3)])) == [""]


def said(figure: Figure) -> list[str]:
    return [t.get_text() for t in figure.legends[0].get_texts()]


def test_validated_says_what_it_shows() -> None:
    designs = [design(0.3, 0.31), design(0.5, 0.48), design(0.7, 0.6)]
    assert said(drawings.validated(designs)) == ["mean, N = 128", "equal", "before: 0.45"]
    alone = said(drawings.validated(designs[:1]))
    assert alone == ["mean, N = 128", "target", "before: 0.45"]
    again = said(drawings.validated([*designs, designs[0]]))
    assert again[:2] == ["design 1 of a target", "design 2 of a target"]
    with pytest.raises(InputError, match="no design was validated"):
        drawings.validated([{**designs[0], "validations": []}])


def test_a_mean_that_few_packings_carry_does_not_hide_the_others() -> None:
    found = {"n_particles": 128, "value": [0.45], "interval": [[-90.0, 91.0]], "median": [0.33]}
    designs = [design(0.3, 0.31), design(0.5, 0.48), design(0.5, 0.45, validations=[found])]
    figure = drawings.validated(designs)
    low, high = figure.axes[0].get_ylim()
    assert -0.1 < low < 0.2
    assert 0.6 < high < 1.0
    assert "median" in said(figure)
    # Records of before medians were kept hold none.
    before = drawings.validated([design(0.3, 0.3, validations=[{**found, "median": ()}])])
    assert "median" not in said(before)


def test_pairs() -> None:
    designs = [design([0.3, 0.1], [0.31, 0.1]), design([0.5, 0.2], [0.45, 0.22])]
    axes = drawings.validated_pairs(designs).axes[0]
    crosses = next(x for x in axes.lines if x.get_label() == "targets")
    np.testing.assert_allclose(np.array(crosses.get_data()).T, [[0.3, 0.1], [0.5, 0.2]])
    with pytest.raises(InputError, match="two objectives"):
        drawings.validated_pairs([design(0.3, 0.3)])


def test_trained_parameters() -> None:
    designs = [
        design(0.3, 0.3),
        design(0.5, 0.5, parameters={"diameters": [0.9, 1.2], "binding": [0.0, 0.1, 0.2]}),
        design(0.5, 0.5, parameters=None),
    ]
    figure = drawings.trained(designs)
    upper, lower = figure.axes
    heights = sorted(float(y) for line in upper.lines for y in np.atleast_1d(line.get_ydata()))
    # Points and the medians through them; what has none is left out.
    assert heights == sorted([0.8, 1.1, 0.9, 1.2] * 2)
    assert [t.get_text() for t in lower.get_legend().get_texts()] == ["AA", "AB", "BB"]
    with pytest.raises(InputError, match="no design has ended"):
        drawings.trained(designs[2:])


def test_designs_to_one_target_stand_beside_each_other() -> None:
    found = [[0.8, 1.1], [0.9, 1.2], [0.84, 1.0]]
    designs = [
        design(0.3, 0.31, parameters={"diameters": d, "binding": [0.1, 0.2, 0.3]}) for d in found
    ]
    upper, lower = drawings.trained(designs).axes
    points = [line for line in upper.lines if line.get_marker() == "o"]
    np.testing.assert_array_equal([line.get_ydata() for line in points], np.transpose(found))
    medians = [line.get_ydata()[0] for line in upper.lines if line.get_marker() != "o"]
    assert medians == [0.84, 1.1]
    assert [t.get_text() for t in lower.get_xticklabels()] == ["AA", "AB", "BB"]
    assert "target" in said(drawings.validated(designs))


def test_success_of_several_series() -> None:
    designs = [
        design(
            target,
            0.3,
            status="converged" if (n + k) % 2 else "step_limit",
            swept={"objective.0.target": target, "design.packings": n},
        )
        for target in (0.3, 0.5)
        for n in (1, 2)
        for k in range(3)
    ]
    titles = [axes.get_title() for axes in drawings.success(designs).axes]
    assert titles == [
        "1 packing (3 a target)",
        "1 packing",
        "2 packings (3 a target)",
        "2 packings",
    ]


CAMPAIGN = """
[potential]
kind = "harmonic_morse"
diameters = [0.8, 1.0]
binding = 0.1
stiffness = 5.0
alpha = 10.0

[preparation]
n_particles = 32
density = 1.4
seed = 6

[design]
kind = "KIND"
packings = 2
parameters = ["diameters"]

[[objective]]
feature = "pressure"
target = 0.3

[stop]
loss = LOSS
steps = 1

[[validation]]
packings = 5

[sweep]
"objective.0.target" = [0.25, 0.3]
"""


@pytest.mark.parametrize(
    ("kind", "loss", "also"),
    [
        ("ensemble", 1e-30, {"validated", "trained"}),
        ("individual", 10.0, {"validated", "trained", "localised"}),
        ("individual", 1e-30, {"validated"}),  # none reaches its target
    ],
)
def test_the_report_of_a_sweep_has_them(
    tmp_path: Path, kind: str, loss: float, also: set[str]
) -> None:
    text = CAMPAIGN.replace("KIND", kind).replace("LOSS", str(loss))
    outcomes = run_campaign(parse_campaign(text, "x"), text, tmp_path / "run")
    assert [o["swept"] for o in outcomes] == [
        {"objective.0.target": 0.25},
        {"objective.0.target": 0.3},
    ]
    assert outcomes[0]["components"] == {"diameters": ["A", "B"]}
    assert len(outcomes[0]["parameters"]["diameters"]) == 2
    page = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert "No picture" not in page
    found = {p.stem for p in (tmp_path / "run" / "figures").glob("*.png")}
    assert found & {"validated", "trained", "localised", "success", "paths"} == also


def test_the_report_of_designs_to_one_target_shows_their_ways(tmp_path: Path) -> None:
    text = CAMPAIGN.replace("KIND", "ensemble").replace("LOSS", "1e-30")
    text = text.replace('"objective.0.target" = [0.25, 0.3]', '"preparation.seed" = [1, 2]')
    outcomes = run_campaign(parse_campaign(text, "x"), text, tmp_path / "run")
    page = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert "No picture" not in page
    assert (tmp_path / "run" / "figures" / "paths.png").is_file()
    histories = [read_history(path) for path in sorted((tmp_path / "run").glob("*_*"))]
    # The diameters alone are designed: a panel for each type, in each a line and a dot a design.
    figure = drawings.paths(histories)
    for k, axes in enumerate(figure.axes):
        lines, dots = axes.lines[::2], axes.lines[1::2]
        for outcome, history, line, dot in zip(outcomes, histories, lines, dots, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), history.parameters["diameters"][:, k])
            assert float(np.squeeze(dot.get_ydata())) == outcome["parameters"]["diameters"][k]
    assert [axes.get_title() for axes in figure.axes] == ["A", "B"]
    with pytest.raises(InputError, match="no designs"):
        drawings.paths([])


def test_a_finished_record_is_brought_up_to_date(tmp_path: Path) -> None:
    text = CAMPAIGN.replace("KIND", "ensemble").replace("LOSS", "10").split("[sweep]")[0]
    campaign = parse_campaign(text, "x")
    (whole,) = run_campaign(campaign, text, tmp_path / "run")
    kept = tmp_path / "run" / "design.json"
    told = json.loads(kept.read_text())
    for key in ("swept", "components", "parameters"):
        del told[key]
    kept.write_text(json.dumps(told))
    (again,) = run_campaign(campaign, text, tmp_path / "run", resume=True)
    assert again == whole
    assert json.loads(kept.read_text()) == whole
