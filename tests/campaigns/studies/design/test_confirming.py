"""Converged means that it holds: a touch between two pair crossings is none, and both are told."""

import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.campaigns.spread.teams import OneRank
from amorph.campaigns.studies.design.confirming import tolerances
from amorph.campaigns.studies.design.designs import Design
from amorph.campaigns.studies.design.optimizer import PART
from amorph.campaigns.studies.design.steps import Step
from amorph.campaigns.studies.files import parse_campaign
from amorph.campaigns.studies.reporting import write_report
from amorph.campaigns.studies.running import run_campaign
from amorph.campaigns.studies.status import read_status
from amorph.handover import checksum, read_gsd

CAMPAIGN = """
[potential]
kind = "harmonic_morse"
diameters = [0.8, 1.0]
binding = 0.1
stiffness = 5.0
alpha = 10.0

[preparation]
n_particles = 48
density = 1.4
seed = 6

[design]
packings = PACKINGS
parameters = ["diameters"]

[[objective]]
feature = "FEATURE"
target = TARGET
weight = 4.0

[optimizer]
kind = "rmsprop"

[stop]
loss = LOSS
steps = STEPS
"""


def text(
    target: float,
    loss: float,
    *,
    feature: str = "poisson_ratio",
    steps: int = 50,
    packings: int = 1,
    kind: str = "",
) -> str:
    out = CAMPAIGN.replace("FEATURE", feature).replace("TARGET", repr(target))
    out = out.replace("LOSS", repr(loss)).replace("STEPS", str(steps))
    return out.replace("PACKINGS", f"{packings}\n{kind}")


def begun(target: float, loss: float, **more: Any) -> tuple[Design, Step]:
    design = Design(parse_campaign(text(target, loss, **more), "x"))
    return design, design.start()


def followed(start: Step, theta: bridge.PairPotential) -> tuple[bridge.Packing, float, np.ndarray]:
    """A packing at other parameters, its ν, and which of all pairs are nearer than σ."""
    found = bridge.follow(start.theta, start.packings[0], theta)
    assert not found.rearranged
    packing = found.packing
    length = packing.box[0, 0]
    apart = packing.positions[:, None] - packing.positions[None]
    distance = np.linalg.norm(apart - length * np.round(apart / length), axis=-1)
    sizes = np.asarray(theta.diameters)[packing.typeid]
    touch = distance < 0.5 * (sizes[:, None] + sizes[None])
    return packing, float(bridge.poisson_ratio(theta, packing)), touch


Crossing = tuple[Step, Callable[[float], bridge.PairPotential], float]


@pytest.fixture(scope="module")
def crossing() -> Crossing:
    """A packing, a way of its parameters, and where on it (found by bisection) a pair crosses σ."""
    _, start = begun(0.4, 1e-6)
    touch = followed(start, start.theta)[2]

    def way(part: float) -> bridge.PairPotential:
        return start.theta.replace(diameters=start.theta.diameters * (1 + 2e-3 * part))

    low, high = 0.0, 1.0
    for _ in range(26):
        middle = 0.5 * (low + high)
        same = np.array_equal(followed(start, way(middle))[2], touch)
        low, high = (middle, high) if same else (low, middle)
    assert (followed(start, way(high))[2] != touch).sum() == 2  # a pair, seen from both ends
    return start, way, high


def stepped(crossing: Crossing, ahead: float) -> tuple[Design, Step, float, float]:
    """A step at its target, from which a pair crosses at a part `ahead` of the last step.

    And ν just before and just behind the crossing; the tolerance is a third of what it jumps by.
    """
    start, way, at = crossing
    before, behind = (followed(start, way(at * (1 + s)))[1] for s in (-1e-5, 1e-5))
    length = 0.02 * at  # so short that ν changes little by it, but for the jump
    here = way(at - ahead * length)
    packing, value, _ = followed(start, here)
    design, _ = begun(value, 4.0 * ((behind - before) / 3) ** 2)
    last = replace(
        start,
        number=7,
        packings=(packing,),
        theta=here,
        before=way(at - (1 + ahead) * length),
        value=np.array([value]),
        each=np.array([[value]]),
        loss=0.0,
    )
    return design, last, before, behind


def test_a_touch_before_a_crossing_is_not_converged(crossing: Crossing) -> None:
    design, step, before, behind = stepped(crossing, 0.05)
    verdict = design.verdict(step)
    assert verdict.ended is None  # it goes on
    found = verdict.confirmation
    assert found is not None
    assert (found.holds, found.along) == (False, "last step")
    assert found.tolerance == (pytest.approx(abs(behind - before) / 3),)  # √(loss / weight)
    on, back = found.probes
    assert (on.part, on.holds, on.crossings) == (PART, False, 1)
    assert (back.part, back.holds, back.crossings) == (-PART, True, 0)
    assert on.value[0] == pytest.approx(behind, abs=0.1 * abs(behind - before))
    assert back.value[0] == pytest.approx(before, abs=0.1 * abs(behind - before))
    assert on.next_crossing is None  # not looked for, while there are steps left

    limit = design.campaign.stop.model_copy(update={"steps": 7})
    design.campaign = design.campaign.model_copy(update={"stop": limit})
    verdict = design.verdict(step)
    assert verdict.ended == "step_limit"
    assert verdict.confirmation is not None
    told = verdict.confirmation.probes[0].next_crossing
    assert told is not None
    assert told["part"] == pytest.approx(0.05, rel=1e-3)
    assert told["packing"] == 0
    assert told["value"] == [pytest.approx(behind, abs=0.01 * abs(behind - before))]


def test_what_holds_is_converged_and_tells_of_the_next_crossing(crossing: Crossing) -> None:
    design, step, before, behind = stepped(crossing, 0.4)
    verdict = design.verdict(step)
    assert verdict.ended == "converged"
    found = verdict.confirmation
    assert found is not None
    assert found.holds
    assert [p.crossings for p in found.probes] == [0, 0]
    told = found.probes[0].next_crossing
    assert told is not None
    assert told["part"] == pytest.approx(0.4, rel=1e-3)
    assert told["value"] == [pytest.approx(behind, abs=0.01 * abs(behind - before))]
    # On the other side of the last step there is none within a step.
    assert found.probes[1].next_crossing is None


def test_at_the_target_from_the_start_it_is_the_next_step_that_is_tried() -> None:
    design, start = begun(0.4, 1e-6, feature="pressure")
    value = float(start.value[0])
    design, start = begun(value + 1e-4, 1e-6, feature="pressure")
    verdict = design.verdict(start)
    assert verdict.confirmation is not None
    assert verdict.confirmation.along == "next step"
    following = design.advance(start).theta.diameters
    on = start.theta.diameters + PART * (following - start.theta.diameters)
    there = bridge.follow(start.theta, start.packings[0], start.theta.replace(diameters=on)).packing
    expected = float(bridge.pressure(start.theta.replace(diameters=on), there))
    assert verdict.confirmation.probes[0].value[0] == pytest.approx(expected, rel=1e-9)
    # Where there is no next step either, it is all parameters.
    design, start = begun(value, 1e-6, feature="pressure")
    still = replace(start, gradient={k: 0 * g for k, g in start.gradient.items()}, loss=0.0)
    verdict = design.verdict(still)
    assert verdict.confirmation is not None
    assert verdict.confirmation.along == "all parameters"
    assert verdict.ended == "converged"


def test_a_loss_above_the_threshold_asks_for_nothing() -> None:
    design, start = begun(0.4, 1e-12, steps=1)
    assert design.verdict(start).confirmation is None
    assert design.verdict(start).ended is None
    assert design.verdict(design.advance(start)).ended == "step_limit"


def test_what_cannot_be_measured_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    design, start = begun(0.4, 1e3)

    def lost(*_: Any, **__: Any) -> Any:
        raise bridge.errors.NotAMinimumError("it is gone")

    monkeypatch.setattr(bridge, "follow", lost)
    verdict = design.verdict(start)
    assert verdict.ended is None
    assert verdict.confirmation is not None
    for found in verdict.confirmation.probes:
        assert (found.holds, found.each) == (False, ((None,),))
        assert found.message == "NotAMinimumError: it is gone"


def test_an_ensemble_with_a_threshold_is_tried_with_the_same_starts() -> None:
    design, start = begun(0.4, 1.0, packings=3, kind='kind = "ensemble"')
    first = design.advance(start)
    verdict = design.verdict(first)
    assert verdict.ended == "converged"
    assert verdict.confirmation is not None
    change = first.theta.diameters - start.theta.diameters
    for found, sign in zip(verdict.confirmation.probes, (1, -1), strict=True):
        theta = first.theta.replace(diameters=first.theta.diameters + sign * PART * change)
        again = design.advance(replace(start, theta=theta))  # prepares with step 1's starts
        assert found.each == ()
        assert found.next_crossing is None
        assert again.number == first.number
    assert verdict.confirmation.probes[0].value != verdict.confirmation.probes[1].value


# Runs


class Pickled(OneRank):
    """Others do the work, the last item first: all is pickled on its way."""

    def map(self, function: Any, shared: Any, items: Sequence[Any]) -> list[Any]:
        done = [
            pickle.loads(pickle.dumps(super(Pickled, self).map(*work)))
            for work in pickle.loads(pickle.dumps([(function, shared, [x]) for x in items]))[::-1]
        ]
        return [found for (found,) in done[::-1]]


@pytest.fixture(scope="module")
def touching(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, dict[str, Any]]:
    """A run whose last loss is just below the threshold: one of the probes must be above it."""
    whole = text(0.1, 1e-30, feature="pressure", steps=5)
    first = tmp_path_factory.mktemp("first")
    run_campaign(parse_campaign(whole, "x"), whole, first)
    losses = [float(f.log["loss"][0]) for f in read_gsd(first / "run.gsd")]
    assert losses[5] == min(losses)
    limited = whole.replace("loss = 1e-30", f"loss = {losses[5] * (1 + 1e-9)!r}")
    second = tmp_path_factory.mktemp("second") / "run"
    (outcome,) = run_campaign(parse_campaign(limited, "x"), limited, second)
    return limited, second, outcome


def test_a_run_that_ends_with_a_touch_says_so(touching: Any) -> None:
    _, directory, outcome = touching
    assert (outcome["status"], outcome["steps"], outcome["below"]) == ("step_limit", 5, 1)
    on, back = outcome["confirmation"]["probes"]
    assert (on["holds"], back["holds"]) == (True, False)
    (tolerance,) = outcome["confirmation"]["tolerance"]
    assert abs(outcome["value"][0] - 0.1) < tolerance < abs(back["value"][0] - 0.1)
    assert f"{back['value'][0]:.5g} at −0.1" in outcome["message"]
    assert f"Asked for was 0.1 ± {tolerance:.2g}" in outcome["message"]
    kept = json.loads((directory / "design.json").read_text())
    assert kept == outcome
    (entry,) = json.loads((directory / "summary.json").read_text())["designs"]
    assert entry["confirmation"] == outcome["confirmation"]
    (status,) = read_status(directory)
    assert status.own["confirmation"] == outcome["confirmation"]
    page = write_report(directory).read_text(encoding="utf-8")
    assert "does not stay there" in page
    assert "held under ±10 % of the last step" in page


def test_more_steps_go_on_from_a_touch_whoever_computes(touching: Any, tmp_path: Path) -> None:
    limited, directory, _ = touching
    more = limited.replace("steps = 5", "steps = 12")
    campaign = parse_campaign(more, "x")
    (whole,) = run_campaign(campaign, more, tmp_path / "whole")
    assert whole["status"] == "converged"
    assert 5 < whole["steps"] < 12
    (others,) = run_campaign(campaign, more, tmp_path / "others", ranks=Pickled())
    (resumed,) = run_campaign(campaign, more, directory, resume=True)
    for found, where in ((others, tmp_path / "others"), (resumed, directory)):
        assert {**found, "seconds": 0} == {**whole, "seconds": 0}
        frames = [
            [checksum(f) for f in read_gsd(d / "run.gsd")] for d in (tmp_path / "whole", where)
        ]
        assert frames[0] == frames[1]
    # Once more, and nothing is done; a record of before there were confirmations gets its own.
    assert run_campaign(campaign, more, directory, resume=True) == [resumed]
    told = json.loads((directory / "design.json").read_text())
    del told["confirmation"]
    (directory / "design.json").write_text(json.dumps(told))
    (again,) = run_campaign(campaign, more, directory, resume=True)
    assert {**again, "seconds": 0} == {**resumed, "seconds": 0}


def test_of_several_packings_each_must_hold() -> None:
    design, start = begun(0.4, 1e3, packings=2)
    step = design.advance(start)
    verdict = design.verdict(step)
    assert verdict.confirmation is not None
    each = np.array([p.each for p in verdict.confirmation.probes])
    assert each.shape == (2, 2, 1)
    for k, sign in enumerate((1, -1)):
        change = step.theta.diameters - start.theta.diameters
        theta = step.theta.replace(diameters=step.theta.diameters + sign * PART * change)
        for r, packing in enumerate(step.packings):
            there = bridge.follow(step.theta, packing, theta).packing
            expected = float(bridge.poisson_ratio(theta, there))
            assert each[k, r, 0] == pytest.approx(expected, rel=1e-9)
    # Between what the two are off by, neither the sum's threshold nor the mean decides.
    off = np.abs(each[:, :, 0] - 0.4)
    limit = float(np.sort(off.max(axis=0))[0]) * (1 + 1e-6)
    assert limit < off.max()
    stop = design.campaign.stop.model_copy(update={"loss": 4.0 * limit**2})
    design.campaign = design.campaign.model_copy(update={"stop": stop})
    assert tolerances(design.campaign) == (pytest.approx(limit),)
    verdict = design.verdict(replace(step, loss=0.0))
    assert verdict.confirmation is not None
    assert not verdict.confirmation.holds
