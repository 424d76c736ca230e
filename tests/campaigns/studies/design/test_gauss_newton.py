"""Designs of second order: they arrive, hold, keep bounds, cross jumps, and go on to the bit."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.campaigns.errors import CampaignFileError, DesignError, RecordError
from amorph.campaigns.studies.design import designs, members
from amorph.campaigns.studies.design.designs import Design
from amorph.campaigns.studies.design.gauss_newton import REFUSALS, STUCK
from amorph.campaigns.studies.design.steps import Step
from amorph.campaigns.studies.files import parse_campaign
from amorph.campaigns.studies.preparing import descended
from amorph.handover import checksum

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
parameters = ["diameters", "binding"]
DESIGN

[[objective]]
feature = "poisson_ratio"
target = TARGET

MORE

[stop]
loss = 1e-6
"""


def begun(target: float, design: str = "", more: str = "") -> tuple[Design, Step]:
    text = CAMPAIGN.replace("TARGET", repr(target)).replace("DESIGN", design).replace("MORE", more)
    made = Design(parse_campaign(text, "x"))
    return made, made.start()


def ended(design: Design, step: Step, limit: int = 150) -> tuple[Step, list[Step]]:
    """A design to its end, or to a limit, and all its steps."""
    steps = [step]
    while design.verdict(step).ended is None and step.number < limit:
        step = design.advance(step)
        steps.append(step)
    return step, steps


@pytest.mark.parametrize("target", [0.2, 0.7])
def test_it_arrives_and_holds(target: float) -> None:
    design, start = begun(target)
    step, steps = ended(design, start)
    verdict = design.verdict(step)
    assert verdict.ended == "converged"
    assert verdict.confirmation is not None
    assert verdict.confirmation.along == "tolerance"
    # By linear response the probes move the value by half its tolerance.
    on, back = (p.value[0] for p in verdict.confirmation.probes)
    assert abs(on - back) == pytest.approx(1e-3, rel=0.3)
    # What was taken brought the values nearer, but for steps across a jump; the rest changed none.
    losses = [s.loss for s in steps]
    for before, after in zip(steps, steps[1:], strict=False):
        if not after.accepted:
            assert after.packings is before.packings
            assert after.theta is before.theta
        elif not after.state.across:
            assert after.loss < before.loss
    assert losses[-1] < 1e-6
    fresh = bridge.relax(step.theta, step.packings[0])
    assert float(bridge.poisson_ratio(step.theta, fresh)) == pytest.approx(target, abs=1e-3)


def test_it_goes_on_from_any_frame_to_the_bit() -> None:
    design, step = begun(-0.9)
    kinds = set()
    for _ in range(40):
        before, step = step, design.advance(step)
        again = design.advance(design.resume(design.frame(before)))
        assert checksum(design.frame(again)) == checksum(design.frame(step))
        kinds.add((step.accepted, step.state.across))
    assert {(True, False), (False, False), (True, True)} <= kinds


def test_bounds_held_and_shared_parameters_are_kept() -> None:
    design, start = begun(
        0.75,
        'bounds.diameters = [0.798, 1.001]\nheld.binding = ["BB"]\nshared.binding = [["AA", "AB"]]',
    )
    _, steps = ended(design, start, 60)
    assert len(steps) > 3
    for step in steps:
        assert np.all(step.theta.diameters >= 0.798)
        assert np.all(step.theta.diameters <= 1.001)
        assert step.theta.binding[2] == 0.1
        assert step.theta.binding[0] == step.theta.binding[1] >= 0
    assert steps[-1].theta.binding[0] != 0.1


def test_two_objectives_of_one_packing() -> None:
    more = '[[objective]]\nfeature = "pressure"\ntarget = 0.35\nweight = 2.0'
    design, start = begun(0.5, "", more)
    step, _ = ended(design, start)
    assert design.verdict(step).ended == "converged"
    np.testing.assert_allclose(step.value, [0.5, 0.35], atol=1e-3)


def test_two_packings_with_common_parameters() -> None:
    design, start = begun(0.45, "packings = 2")
    step, _ = ended(design, start)
    assert design.verdict(step).ended == "converged"
    np.testing.assert_allclose(step.each[:, 0], 0.45, atol=1e-3)


CONSTANTS = """
[potential]
kind = "soft_sphere"
diameters = [0.8, 0.8, 0.8, 0.8, 1.2, 1.2, 1.2, 1.2]
stiffness = 1.0

[preparation]
n_particles = 64
density = 1.0
pressure = 0.1
seed = 4
tolerance = 1e-13

[design]
parameters = ["diameters", "stiffness"]

OBJECTIVES

[stop]
loss = 1e-8
"""


def constants_of_one(changes: dict[int, str], loss: float = 1e-8) -> Design:
    """The six elastic constants of a packing of soft discs, by 44 parameters."""
    objectives = [
        f'[[objective]]\nfeature = "elastic_constants[{k}]"\nchange = "{changes.get(k, "0%")}"'
        for k in range(6)
    ]
    text = CONSTANTS.replace("OBJECTIVES", "\n".join(objectives)).replace("1e-8", repr(loss))
    return Design(parse_campaign(text, "x"))


def test_with_many_parameters_it_goes_around_crossings(monkeypatch: pytest.MonkeyPatch) -> None:
    """One constant by a fifth while five stay: a jump would kick all six."""
    design = constants_of_one({0: "+20%"})
    start = design.start()
    step, steps = ended(design, start, 60)
    assert design.verdict(step).ended == "converged"
    wanted = start.each[0] * [1.2, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(design.target, wanted, rtol=1e-12)
    np.testing.assert_allclose(step.each[0], wanted, atol=1e-4)
    crossings = sum(int(s.crossings.sum()) for s in steps)

    # Without the gaps the same steps lead nowhere.
    def none(order: members.Order, packing: bridge.Packing) -> members.Near:
        n = {k: len(v) for k, v in order.theta.arrays().items()}
        return members.Near({k: np.zeros((0, v)) for k, v in n.items()}, np.zeros((6, 0)))

    monkeypatch.setattr(designs, "near_member", none)
    other, steps = ended(design, start, step.number)
    assert other.loss > 1e-5
    assert sum(int(s.crossings.sum()) for s in steps) > crossings


def test_before_an_end_holds_pairs_are_moved_away_at_the_same_values() -> None:
    design = constants_of_one({}, loss=1e-4)
    start = design.start()  # all that was asked for is there: who goes on knows it does not hold
    assert start.loss == 0
    parameters = ["diameters", "stiffness"]

    def room(step: Step) -> np.ndarray:
        """Each gap, in units of what a probe changes it by."""
        change = design._optimizer.along(step).change
        found = bridge.gaps(step.theta, step.packings[0], (), parameters)
        probe = found.slopes @ np.concatenate([change[name] for name in parameters])
        return np.abs(found.gap / probe)

    moved = design.advance(start)
    assert moved.state.across
    assert moved.accepted
    assert not moved.crossings.any()
    assert room(start).min() < 1.5 < room(moved).min()
    assert np.abs(moved.theta.diameters - start.theta.diameters).max() > 1e-4
    assert moved.loss < 1e-4


def test_a_change_is_from_the_packing_s_own_value_also_when_resumed() -> None:
    design, _ = begun(0.5)
    text = CAMPAIGN.replace("target = TARGET", 'change = "-10%"')
    text = text.replace("DESIGN", "").replace("MORE", "")
    design = Design(parse_campaign(text, "x"))
    start = design.start()
    assert design.target[0] == pytest.approx(0.9 * start.value[0], rel=1e-14)
    step = design.advance(start)
    again = Design(parse_campaign(text, "x"))
    resumed = again.resume(design.frame(step), start.theta)
    assert again.target[0] == design.target[0]
    assert checksum(again.frame(again.advance(resumed))) == checksum(
        design.frame(design.advance(step))
    )
    absolute = Design(parse_campaign(text.replace('"-10%"', "0.02"), "x"))
    start = absolute.start()
    assert absolute.target[0] == pytest.approx(start.value[0] + 0.02, rel=1e-14)


@pytest.mark.parametrize(
    ("objective", "design", "told"),
    [
        ("", "", "give target"),
        ("target = 0.3\nchange = 0.1", "", "not both"),
        ("target = inf", "", "finite"),
        ('change = "20"', "", "per cent as"),
        ('change = "1.2.3%"', "", "per cent as"),
        ("change = 0.1", "packings = 2", "several packings"),
        ("change = 0.1", 'kind = "ensemble"', "from a packing's own value"),
    ],
)
def test_changes_that_cannot_be(objective: str, design: str, told: str) -> None:
    text = CAMPAIGN.replace("target = TARGET", objective)
    text = text.replace("DESIGN", design).replace("MORE", "")
    with pytest.raises(CampaignFileError, match=told):
        parse_campaign(text, "x")


def test_a_frequency_is_an_objective_too() -> None:
    text = CAMPAIGN.replace('"poisson_ratio"', '"frequencies_3[0]"')
    text = text.replace("target = TARGET", 'change = "-20%"')
    design = Design(parse_campaign(text.replace("DESIGN", "").replace("MORE", ""), "x"))
    start = design.start()
    step, _ = ended(design, start, 60)
    assert design.verdict(step).ended == "converged"
    lowest = bridge.measure(step.theta, step.packings[0], "frequencies_3").values["frequencies_3"]
    assert lowest[0] == pytest.approx(0.8 * start.value[0], abs=1e-3)


def test_the_scales_say_what_a_step_may_change() -> None:
    steps = []
    for scales in ("", "scales = { diameters = 1e-9 }"):
        design, start = begun(0.7, more=f'[optimizer]\nkind = "gauss_newton"\n{scales}')
        step = design.advance(start)
        change = {k: v - start.theta.arrays()[k] for k, v in step.theta.arrays().items()}
        steps.append({k: np.abs(v).max() for k, v in change.items()})
    free, stiff = steps
    assert free["diameters"] > 1e-4
    assert stiff["diameters"] < 1e-9 < 1e-3 < stiff["binding"]


def test_a_step_to_nowhere_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    design, start = begun(0.3)

    def failing(order: members.Order, packing: bridge.Packing) -> Any:
        raise bridge.errors.NotAMinimumError("the packing is torn.")

    with monkeypatch.context() as patched:
        patched.setattr(members, "follow_member", failing)
        step = design.advance(start)
        assert not step.accepted
        assert step.number == 1
        assert step.packings is start.packings
        assert step.pace < start.pace
        for _ in range(REFUSALS - 2):
            step = design.advance(step)
        with pytest.raises(DesignError, match=rf"step {REFUSALS}: no packing .* is torn"):
            design.advance(step)
    assert design.advance(start).accepted


def test_the_engine_brings_a_lost_packing_downhill() -> None:
    _, start = begun(0.3)
    packing = start.packings[0].with_positions(start.packings[0].positions + 100.0)  # far out
    new = start.theta.replace(diameters=start.theta.diameters[::-1])
    there = descended(new, packing)
    assert np.abs(bridge.forces(new, there)).max() <= bridge.default_tolerance(new, there)
    moved = there.positions - packing.positions
    assert 0.01 < np.abs(moved).max() < 2.0  # not by a box length
    assert bridge.energy(new, there) < bridge.energy(new, packing)
    assert np.abs(bridge.relax(new, there).positions - there.positions).max() < 1e-9


def test_it_does_not_wait_for_one_that_comes_to_no_rest() -> None:
    _, start = begun(0.3)
    new = start.theta.replace(diameters=start.theta.diameters[::-1])
    with pytest.raises(bridge.errors.RelaxationError, match="none within 3 steps of FIRE"):
        descended(new, start.packings[0], 3)


def test_where_the_loss_is_low_but_does_not_hold_it_goes_elsewhere() -> None:
    """As it is at a touch between two crossings: the last step there is to be had is none."""
    design, start = begun(0.7)
    touch = dataclasses.replace(start, each=start.each * 0 + 0.7, loss=0.0)
    step = design.advance(touch)
    assert step.state.across
    assert step.accepted
    assert np.abs(step.theta.diameters - start.theta.diameters).max() > 1e-4


def test_stuck_at_a_jump_it_steps_across_and_says_so() -> None:
    design, start = begun(0.3)
    stuck = dataclasses.replace(start, state=dataclasses.replace(start.state, radius=STUCK / 2))
    step = design.advance(stuck)
    assert step.state.across
    assert step.state.attempts == 1
    assert "in the last 1 attempts to step across a jump" in design.reason(step)
    assert design.reason(start) == ""
    # The next random part is another's.
    again = design.advance(dataclasses.replace(stuck, number=1))
    assert not np.array_equal(again.theta.diameters, step.theta.diameters)


def test_named_faults() -> None:
    for more, told in (
        ('[optimizer]\nkind = "gauss_newton"\nscales = {alpha = 1.0}', "unknown parameter 'alpha'"),
        ('[optimizer]\nkind = "gauss_newton"\nlearning_rate = 0.1', "learning_rate"),
        ("[optimizer]\nlearning_rate = 0.1", "say which kind"),
        ('[optimizer]\nkind = "newton"', "gauss_newton"),
    ):
        with pytest.raises(CampaignFileError, match=told):
            begun(0.3, more=more)


def test_frames_of_another_optimiser_are_refused() -> None:
    design, start = begun(0.3)
    first, other = begun(0.3, more='[optimizer]\nkind = "rmsprop"')
    with pytest.raises(RecordError, match="kind = 'rmsprop' was"):
        design.resume(first.frame(other))
    with pytest.raises(RecordError, match=r"not of a design with .* 'rmsprop'"):
        first.resume(design.frame(start))
