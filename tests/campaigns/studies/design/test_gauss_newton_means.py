"""Designs of second order for ensembles: what is known is put together, with its errors."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.campaigns.errors import CampaignFileError, DesignError
from amorph.campaigns.studies.design import designs
from amorph.campaigns.studies.design.designs import Design
from amorph.campaigns.studies.design.gauss_newton_means import MOST, SETTLED, Known, estimate
from amorph.campaigns.studies.design.steps import Step
from amorph.campaigns.studies.design.validation import summary
from amorph.campaigns.studies.files import parse_campaign
from amorph.handover import checksum

CAMPAIGN = """
[potential]
kind = "harmonic_morse"
diameters = [0.8, 1.0]
binding = 0.1
stiffness = 5.0
alpha = 6.0

[preparation]
n_particles = 48
density = 1.6
seed = 4

[design]
kind = "ensemble"
packings = 12
parameters = ["diameters", "binding"]
DESIGN

[[objective]]
feature = "pressure"
target = TARGET

MORE

[stop]
STOP
"""


def campaign(target: float = 0.4, design: str = "", more: str = "", stop: str = "steps = 9") -> Any:
    text = CAMPAIGN.replace("TARGET", repr(target)).replace("DESIGN", design)
    return parse_campaign(text.replace("MORE", more).replace("STOP", stop), "x")


def ended(design: Design) -> tuple[Step, Any]:
    step = design.start()
    while (verdict := design.verdict(step)).ended is None:
        step = design.advance(step)
    return step, verdict


def known_on_a_line(
    slopes: np.ndarray, noise: float, at: np.ndarray, rng: np.random.Generator, told: float = 1.0
) -> Known:
    """Steps of 20 packings each, with means on a line; their derivatives are told times as long."""
    mean = at @ slopes + 3.0 + noise / np.sqrt(20) * rng.standard_normal(len(at))
    one = np.ones((len(at), 1))
    slope = np.broadcast_to(told * slopes, (len(at), 1, len(slopes)))
    return Known(at, mean[:, None], noise**2 * one, 20 * one, slope, 1e-6 * one)


def test_on_a_line_the_estimate_and_its_error_are_right() -> None:
    rng = np.random.default_rng(1)
    slopes, at = np.array([0.5, -0.3, 0.2]), np.array([0.1, 0.0, -0.1])
    off, errors = [], []
    for _ in range(400):
        steps = at + 0.05 * rng.standard_normal((12, 3))
        known = known_on_a_line(slopes, 0.2, steps, rng)
        found = estimate(known, at)
        off.append(found.mean[0] - (at @ slopes + 3.0))
        errors.append(found.error[0])
    # 240 packings; the errors are what the estimates scatter by, or a little more, since the
    # line might bend.
    assert np.std(off) == pytest.approx(0.2 / np.sqrt(240), rel=0.15)
    assert 0.9 * np.std(off) < np.mean(errors) < 1.3 * np.std(off)
    assert abs(np.mean(off)) < 3 * np.std(off) / 20


def test_derivatives_that_are_told_too_short_are_seen_in_the_means() -> None:
    rng = np.random.default_rng(2)
    slopes = np.array([0.5, -0.3])
    steps = np.linspace(-0.2, 0.2, 30)[:, None] * slopes / np.linalg.norm(slopes)
    known = known_on_a_line(slopes, 0.05, steps, rng, told=0.6)
    found = estimate(known, np.zeros(2))
    assert np.linalg.norm(found.slope[0]) > 0.8 * np.linalg.norm(slopes)
    assert found.mean[0] == pytest.approx(3.0, abs=0.01)


def test_what_is_far_counts_less_and_scattered_derivatives_hardly() -> None:
    one = np.ones((2, 1))
    at = np.array([[0.0, 0.0], [3.0, 0.0]])
    slope = np.array([[[0.1, 0.0]], [[0.1, 0.0]]])
    known = Known(at, np.array([[1.0], [9.0]]), 0.01 * one, 10 * one, slope, 1e-4 * one)
    assert estimate(known, at[0]).mean[0] == pytest.approx(1.0, abs=0.05)
    # Of two steps at one place the one whose derivatives scatter says little of them.
    slope = np.array([[[0.1, 0.0]], [[-5.0, 0.0]]])
    scatter = np.array([[1e-4], [1e2]])
    known = Known(0 * at, one, 0.01 * one, 10 * one, slope, scatter)
    assert estimate(known, at[0]).slope[0, 0] == pytest.approx(0.1, abs=0.01)


def test_it_ends_where_the_mean_is_known_to_be_as_asked() -> None:
    step, verdict = ended(Design(campaign(0.42, stop="error = 0.004\nsteps = 60")))
    assert verdict.ended == "converged"
    design = Design(campaign(0.42))
    told = design.estimated(step)
    assert told is not None
    assert abs(told["mean"][0] - 0.42) + 2 * told["error"][0] <= 0.004
    assert told["packings"][0] == 12 * (step.number + 1)
    # Fresh packings agree, within three of both errors.
    fresh = []
    for number in range(900, 906):
        order = designs.Order(design.campaign, step.theta, step.theta, number)
        fresh += [m.value[0] for m in map_fresh(order, range(12))]
    error = np.hypot(np.std(fresh) / np.sqrt(len(fresh)), told["error"][0])
    assert abs(np.mean(fresh) - 0.42) < 3 * error


def test_it_ends_where_the_target_is_out_of_reach() -> None:
    bounds = 'held.diameters = ["A"]\nbounds.diameters = [0.79, 1.0]\nbounds.binding = [0.09, 0.11]'
    design = Design(campaign(0.9, bounds, stop="steps = 60"))
    step, verdict = ended(design)
    assert verdict.ended == "out_of_reach"
    assert SETTLED - 1 <= step.number < 40
    told = design.reason(step)
    assert "within their bounds brings the means nearer: pressure 0." in told
    assert "in place of 0.9, with diameters[B], binding[" in told
    # One that is met is in reach, however often it is asked.
    other = Design(campaign(0.42, stop="steps = 25"))
    assert ended(other)[1].ended == "step_limit"


def map_fresh(order: Any, replicas: range) -> list[Any]:
    return [designs.fresh_member(order, k) for k in replicas]


def test_it_goes_on_from_any_frame_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amorph.campaigns.studies.design.gauss_newton_means.MOST", 4)
    design = Design(campaign())
    step = design.start()
    for _ in range(6):
        before, step = step, design.advance(step)
        again = design.advance(design.resume(design.frame(before)))
        assert checksum(design.frame(again)) == checksum(design.frame(step))
    assert len(step.state.known.at) == 4 < MOST


def test_packings_beyond_the_window_do_not_count() -> None:
    wide = Design(campaign()).start()
    within = np.sort(wide.each[:, 0])[[2, 9]]
    target = float(within.mean())
    window = f"within = {within.tolist()}"
    design = Design(campaign(target, more=window))
    step = design.start()
    np.testing.assert_array_equal(step.each, wide.each)
    inside = np.sort(wide.each[:, 0])[2:10]
    assert step.value[0] == pytest.approx(inside.mean(), rel=1e-14)
    estimated = design.estimated(step)
    assert estimated is not None
    assert estimated["packings"] == [8.0]
    # Validated alike, with what is outside beside it.
    values = wide.each[:, :1]
    told = summary(values, [target], [1.0], design.campaign.counted(values))
    assert told["value"][0] == pytest.approx(inside.mean(), rel=1e-14)
    assert told["outside"] == (4,)
    assert told["plain"][0] == pytest.approx(values.mean(), rel=1e-14)
    # Where most lie outside there is no step.
    narrow = np.sort(wide.each[:, 0])[[5, 6]] + [-1e-9, 1e-9]
    with pytest.raises(DesignError, match="10 of 12 packings have a pressure outside"):
        Design(campaign(float(narrow.mean()), more=f"within = {narrow.tolist()}")).start()


def test_a_step_that_loses_its_packings_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    design = Design(campaign())
    start = design.start()
    with monkeypatch.context() as patched:

        def failing(order: Any, replica: int) -> Any:
            return designs.fresh_member(
                dataclasses.replace(order, theta=order.theta.replace(diameters=[0.1, 0.1])), replica
            )

        original = design._ranks.map

        def lost(function: Any, order: Any, items: Any) -> Any:
            return original(failing, order, items)

        patched.setattr(design._ranks, "map", lost)
        step = design.advance(start)
    assert not step.accepted
    assert step.theta is start.theta
    assert step.pace < start.pace
    assert len(step.state.known.at) == 0  # its own is in the step itself
    following = design.advance(step)
    assert following.accepted
    assert len(following.state.known.at) == 1
    assert isinstance(following.theta, bridge.HarmonicMorse)


@pytest.mark.parametrize(
    ("design", "more", "stop", "told"),
    [
        ("", "within = [0.5, 0.6]", "steps = 3", "the target 0.4 lies outside"),
        ('starts = "common"', "", "error = 0.1", "stop.error is for"),
        ("", '[optimizer]\nkind = "rmsprop"', "error = 0.1", "stop.error is for"),
    ],
)
def test_named_faults(design: str, more: str, stop: str, told: str) -> None:
    with pytest.raises(CampaignFileError, match=told):
        campaign(0.4, design, more, stop)


def test_one_packing_has_no_error() -> None:
    text = CAMPAIGN.replace("TARGET", "0.4").replace("DESIGN", "").replace("MORE", "")
    text = text.replace("STOP", "steps = 3")
    with pytest.raises(CampaignFileError, match="at least 2"):
        parse_campaign(text.replace("packings = 12", "packings = 1"), "x")
    individual = text.replace('kind = "ensemble"\npackings = 12', "")
    windowed = individual.replace("target = 0.4", "target = 0.4\nwithin = [0, 1]")
    with pytest.raises(CampaignFileError, match="each packing counts"):
        parse_campaign(windowed, "x")
    assert parse_campaign(text.replace("packings = 12", ""), "x").design.n_packings == 32
