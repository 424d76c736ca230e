"""A step of an ensemble design is made of its packings; those that fail are left out and told."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.campaigns.errors import CampaignFileError, DesignError
from amorph.campaigns.studies.design import members
from amorph.campaigns.studies.design.designs import Design
from amorph.campaigns.studies.design.members import Member, Order, fresh_member
from amorph.campaigns.studies.design.validation import summary
from amorph.campaigns.studies.files import parse_campaign
from amorph.handover import InputError

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
seed = 3

[design]
kind = "ensemble"
packings = 5
parameters = ["diameters", "binding"]
gradient_limit = {limit}
{extra}

[[objective]]
feature = "poisson_ratio"
target = 0.2
weight = 3.0

[[objective]]
feature = "pressure"
target = 0.1
"""


def design(limit: float = 0.0, extra: str = "") -> Design:
    return Design(parse_campaign(CAMPAIGN.format(limit=limit, extra=extra), "x"))


def each_by_itself(wanted: Design) -> tuple[Order, list[Member]]:
    theta = wanted.campaign.potential.theta()
    order = Order(wanted.campaign, theta, theta, 0)
    return order, [fresh_member(order, k) for k in wanted.replicas]


def failing(monkeypatch: pytest.MonkeyPatch, *replicas: int) -> None:
    whole = members.first_member

    def first(order: Order, replica: int) -> Member:
        if replica in replicas:
            raise InputError(f"not packing {replica}")
        return whole(order, replica)

    monkeypatch.setattr(members, "first_member", first)


def same_place(a: bridge.Packing, b: Any) -> bool:
    return np.array_equal(a.positions, b.positions) and np.array_equal(a.images, b.images)


def test_loss_and_gradient_are_those_of_the_mean() -> None:
    wanted = design()
    _, alone = each_by_itself(wanted)
    step = wanted.start()
    value = np.mean([m.value for m in alone], axis=0)
    off = value - [0.2, 0.1]
    np.testing.assert_allclose(step.value, value)
    assert step.loss == pytest.approx(3.0 * off[0] ** 2 + off[1] ** 2)
    for name, gradient in step.gradient.items():
        slope = np.mean([m.slope(name) for m in alone], axis=0)
        np.testing.assert_allclose(gradient, 2 * (3.0 * off[0] * slope[0] + off[1] * slope[1]))
    assert not step.limited.any()
    assert len(step.packings) == 1
    assert same_place(step.packings[0], alone[0].packing)


def test_jump_terms_are_added_unless_the_campaign_says_otherwise() -> None:
    counted, own = design(), design(extra="jump_terms = false")
    _, with_them = each_by_itself(counted)
    _, without = each_by_itself(own)
    theta = own.campaign.potential.theta()
    for a, b in zip(with_them, without, strict=True):
        assert not b.jump_terms
        assert b.packing is not None
        measured = bridge.measure(
            theta, bridge.relax(theta, b.packing), (), ["poisson_ratio"], jump_terms=True
        )
        for name in ("diameters", "binding"):
            np.testing.assert_array_equal(b.slope(name), b.slopes[name])
            np.testing.assert_allclose(a.slopes[name], b.slopes[name], rtol=1e-9)
            gained = a.slope(name) - b.slope(name)
            expected = measured.jump_terms["poisson_ratio"].arrays()[name]
            np.testing.assert_allclose(gained[0], expected, rtol=1e-6)
            # A pressure does not jump; its adjoint is solved for beside other columns.
            np.testing.assert_allclose(gained[1], 0.0, atol=1e-13 * np.abs(b.slope(name)[1]).max())
    different = counted.start().gradient["diameters"] - own.start().gradient["diameters"]
    assert np.all(different != 0)


def test_what_needs_modes_has_no_jump_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    of_mode = bridge.Feature("of_mode", lambda theta, state: state.positions[0, 0], modes=1)
    monkeypatch.setitem(bridge.FEATURES, "of_mode", of_mode)
    text = CAMPAIGN.format(limit=0, extra="").replace("pressure", "of_mode")
    assert not parse_campaign(text, "x").adds_jump_terms
    with pytest.raises(CampaignFileError, match="leave jump_terms out"):
        parse_campaign(text.replace("packings = 5", "packings = 5\njump_terms = true"), "x")


def test_an_objective_that_is_not_one_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    two = bridge.Feature(
        "two", lambda theta, state: state.positions[:2, 0] - state.positions[2:4, 0]
    )
    monkeypatch.setitem(bridge.FEATURES, "two", two)
    text = CAMPAIGN.format(limit=0, extra="").replace("pressure", "two")
    with pytest.raises(CampaignFileError, match=r"'two' gives shape \(2,\).*as two\[0\]"):
        parse_campaign(text, "x")


def test_long_gradients_are_cut_to_the_median() -> None:
    free, cut = design().start(), design(limit=1.0).start()
    assert np.array_equal(cut.each, free.each)
    assert cut.limited.sum() == 2  # of five, those above the median
    _, alone = each_by_itself(design())
    off = free.value - [0.2, 0.1]
    parts = [
        np.concatenate(
            [
                2 / 5 * (3.0 * off[0] * s[0] + off[1] * s[1])
                for s in map(member.slope, member.slopes)
            ]
        )
        for member in alone
    ]
    lengths = np.linalg.norm(parts, axis=1)
    median = np.median(lengths)
    expected = sum(p * min(1.0, median / n) for p, n in zip(parts, lengths, strict=True))
    np.testing.assert_allclose(
        np.concatenate([cut.gradient[k] for k in alone[0].slopes]), expected, rtol=1e-10
    )


def test_packings_that_fail_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = design()
    _, alone = each_by_itself(wanted)
    failing(monkeypatch, 0, 3)
    step = wanted.start()
    np.testing.assert_array_equal(np.isnan(step.each).all(axis=1), [1, 0, 0, 1, 0])
    np.testing.assert_allclose(step.value, np.mean([alone[k].value for k in (1, 2, 4)], axis=0))
    assert same_place(step.packings[0], alone[1].packing)
    frame = wanted.frame(wanted.advance(step))
    again = wanted.resume(frame)
    assert np.array_equal(again.each, wanted.advance(step).each, equal_nan=True)


def test_too_few_packings_end_the_design(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, 1, 3, 4)
    with pytest.raises(DesignError, match=r"3 of 5 packings .* InputError: not packing 1"):
        design().start()


def test_a_validation_of_known_numbers() -> None:
    values = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 4.0], [10.0, 2.0]])
    told = summary(values, [2.0, 2.0], [1.0, 3.0])
    assert told["value"] == (3.0, 2.0)
    assert told["median"] == (1.0, 1.5)
    error = values.std(axis=0, ddof=1) / 2
    np.testing.assert_allclose(told["error"], error)
    assert told["loss"] == pytest.approx(1.0 - error[0] ** 2 - 3.0 * error[1] ** 2)
    assert all(low < v < high for v, (low, high) in zip((3.0, 2.0), told["interval"], strict=True))


def test_one_packing_alone_comes_itself() -> None:
    wanted = design()
    order, alone = each_by_itself(wanted)
    shown = Order(order.campaign, order.theta, order.theta, 0, shown=2)
    assert fresh_member(shown, 1).packing is None
    found = fresh_member(shown, 2).packing
    assert found is not None
    assert same_place(found, alone[2].packing)
