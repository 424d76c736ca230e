"""A feature, a gradient or a loss of a design that is not finite: by name, with the packing."""

import json
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from amorph import bridge
from amorph.bridge.matter.mechanics import pressure_of
from amorph.campaigns.errors import DesignError, NotFiniteError
from amorph.campaigns.spread.teams import OneRank
from amorph.campaigns.studies.design import members
from amorph.campaigns.studies.design.designs import Design
from amorph.campaigns.studies.design.steps import Step
from amorph.campaigns.studies.design.validation import validate
from amorph.campaigns.studies.files import parse_campaign
from amorph.campaigns.studies.gradient.check import GradientCheck
from amorph.campaigns.studies.running import run_campaign

CAMPAIGN = """
[potential]
kind = "soft_sphere"
diameters = [0.9, 1.1]
stiffness = 2.0

[preparation]
n_particles = 24
density = 1.5
seed = 3

[design]
packings = 2
parameters = ["diameters"]

[[objective]]
feature = "pressure"
target = 0.3

[optimizer]
kind = "rmsprop"

[[validation]]
packings = 3
"""


@pytest.fixture
def kink(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature whose value is 0 and whose derivative is not finite."""
    made = bridge.Feature("kink", lambda t, s: jnp.sqrt(pressure_of(t, s) * 0.0))
    monkeypatch.setitem(bridge.FEATURES, "kink", made)


@pytest.fixture(scope="module")
def begun() -> tuple[Design, Step]:
    design = Design(parse_campaign(CAMPAIGN, "x"))
    return design, design.start()


@pytest.mark.usefixtures("kink")
def test_a_gradient_ends_the_design_with_feature_parameter_and_packing(tmp_path: Path) -> None:
    text = CAMPAIGN.replace('"pressure"', '"kink"')
    campaign = parse_campaign(text, "x")
    told = r"replica 0: the gradient of kink is not finite by diameters\[A\]"
    with pytest.raises(NotFiniteError, match=told) as caught:
        Design(campaign).start()
    assert "lowest eigenvalue of its Hessian is" in str(caught.value)
    assert "edge of stability" not in str(caught.value)
    (outcome,) = run_campaign(campaign, text, tmp_path / "run")
    assert outcome["status"] == "failed"
    assert outcome["message"] == str(caught.value)


def test_a_loss_has_its_values_and_targets(begun: tuple[Design, Step]) -> None:
    with pytest.raises(NotFiniteError, match=r"step 0: the loss is inf, of values \[0\.\d+\]"):
        Design(parse_campaign(CAMPAIGN.replace("0.3", "1e200"), "x")).start()


def test_a_gradient_of_an_earlier_record_is_no_edge_of_stability(
    begun: tuple[Design, Step],
) -> None:
    design, step = begun
    broken = replace(step, gradient={"diameters": np.array([0.1, np.nan])})
    with pytest.raises(
        NotFiniteError, match=r"step 0: the loss's gradient by diameters\[B\] is nan"
    ) as caught:
        design.advance(broken)
    assert "edge of stability" not in str(caught.value)


def test_of_several_packings_the_one_is_named(
    begun: tuple[Design, Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    design, step = begun
    followed = members.follow_member

    def second_fails(order: members.Order, packing: bridge.Packing) -> members.Member:
        if packing is step.packings[1]:
            raise NotFiniteError("the feature 'pressure' is nan.")
        return followed(order, packing)

    monkeypatch.setattr(members, "follow_member", second_fails)
    with pytest.raises(NotFiniteError, match="step 1: replica 1: the feature 'pressure' is nan"):
        design.advance(step)


def test_a_sum_that_overflows_names_a_packing(begun: tuple[Design, Step]) -> None:
    design, step = begun
    theta = step.theta
    parts = [
        members.Member(p, v, {"diameters": np.array([[slope, 1.0]])})
        for p, v, slope in zip(step.packings, step.each, (1.0, np.inf), strict=True)
    ]
    told = r"step 4: the loss's gradient by diameters\[A\] is -?inf, from replica 1\."
    with pytest.raises(NotFiniteError, match=told):
        design._step(4, theta, parts, step.state)


def test_a_validation_of_which_nothing_could_be_measured_says_why(
    begun: tuple[Design, Step], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    design, step = begun

    def failing(order: members.Order, replica: int) -> tuple[list[float | None], str]:
        return ([0.1], "") if replica == 1 else ([None], f"NotFiniteError: {replica} is nan")

    monkeypatch.setattr("amorph.campaigns.studies.design.validation.fresh_value", failing)
    told = "validation at step 0: 1 of 3 packings could be measured.* NotFiniteError: 0 is nan"
    with pytest.raises(DesignError, match=told):
        validate(tmp_path, design.campaign, 0, 0, step.theta, OneRank())
    assert not (tmp_path / "validation.json").exists()
    # What was found of the packings stays, under its final name.
    assert [p.name for p in tmp_path.iterdir()] == ["validation-0-0.csv"]


def test_a_design_stands_whatever_fresh_packings_are_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(order: members.Order, replica: int) -> tuple[list[float | None], str]:
        return [None], f"NotAMinimumError: {replica} is torn"

    monkeypatch.setattr("amorph.campaigns.studies.design.validation.fresh_value", failing)
    text = CAMPAIGN + "[stop]\nsteps = 2\n"
    (outcome,) = run_campaign(parse_campaign(text, "x"), text, tmp_path / "run")
    assert outcome["status"] in ("converged", "step_limit")
    assert "0 of 3 packings could be measured" in outcome["message"]
    assert "0 is torn" in outcome["message"]


def test_differences_that_are_not_known_are_null() -> None:
    changed = np.full((3, 2, 1, 2, 1), np.nan)
    changed[:2, 0, 0, :, 0] = [[1.1, 0.9], [1.3, 0.9]]
    changed[0, 1, 0, :, 0] = [2.0, 1.0]  # one packing has no error
    found = GradientCheck(
        followed=False,
        features=("pressure",),
        targets=np.zeros(1),
        weights=np.ones(1),
        bounds=np.array([[-np.inf, np.inf]]),
        components=("a", "b"),
        parts=np.array([0.1]),
        changes=np.array([[0.1], [0.1]]),
        value=np.ones((3, 1)),
        slope=np.ones((3, 1, 2)),
        jump_terms=np.zeros((3, 1, 2)),
        changed=changed,
        rearranged=np.zeros((3, 2, 1, 2), dtype=bool),
        failed=0,
    )
    told = json.loads(json.dumps(found.summary(), allow_nan=False))["differences"]
    assert told["mean"][0][0][0] == pytest.approx(1.5)
    assert told["mean"][0][1] == told["error"][0][1] == [None]
