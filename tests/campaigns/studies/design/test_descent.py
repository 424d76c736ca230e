"""Optimisers of first order: their options, schedules, clipping, the learned rate; free numbers."""

from typing import Any

import jax
import numpy as np
import optax
import pytest

from amorph.campaigns.errors import CampaignFileError
from amorph.campaigns.studies.design.campaign import Campaign
from amorph.campaigns.studies.design.descent import DescentOptimizer
from amorph.campaigns.studies.design.free import Free
from amorph.campaigns.studies.files import parse_campaign

BASE = """
[potential]
kind = "harmonic_morse"
diameters = [0.8, 0.9, 1.0]
binding = 0.1
stiffness = 5.0
alpha = 6.0

[preparation]
n_particles = 48
density = 1.6

[design]
parameters = ["diameters", "binding"]
DESIGN

[[objective]]
feature = "poisson_ratio"
target = 0.3

[optimizer]
OPTIMIZER
"""


def campaign(design: str = "", optimizer: str = 'kind = "rmsprop"') -> Campaign:
    return parse_campaign(BASE.replace("DESIGN", design).replace("OPTIMIZER", optimizer), "x")


def gradient_of(c: Campaign, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {k: rng.standard_normal(len(v)) for k, v in c.potential.theta().arrays().items()}


def test_held_and_shared() -> None:
    c = campaign('held.diameters = ["B"]\nshared.binding = [["AA", "CC"], ["AB", "BC", "AC"]]')
    free = Free(c)
    theta = c.potential.theta()
    assert c.components("binding") == ["AA", "AB", "AC", "BB", "BC", "CC"]
    assert free.places["diameters"].tolist() == [0, -1, 1]
    assert free.places["binding"].tolist() == [0, 1, 1, 2, 1, 0]
    values = free.of(theta)
    assert [len(v) for v in values.values()] == [2, 3]
    new = free.put({"diameters": np.array([0.7, 1.1]), "binding": np.array([1.0, 2.0, 3.0])}, theta)
    assert new.arrays()["diameters"].tolist() == [0.7, 0.9, 1.1]
    assert new.arrays()["binding"].tolist() == [1, 2, 2, 3, 2, 1]
    slope = {"diameters": np.array([1.0, 2.0, 3.0]), "binding": np.arange(6.0)}
    gathered = free.gathered(slope)
    assert gathered["diameters"].tolist() == [1, 3]
    assert gathered["binding"].tolist() == [0 + 5, 1 + 2 + 4, 3]


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ('held.diameters = ["D"]', "unknown component of diameters 'D'"),
        ('held.alpha = ["AA"]', r"none of design\.parameters"),
        ('shared.diameters = [["A", "B"]]', "start at"),
        ('held.diameters = ["A", "B", "C"]', "nothing is left"),
        ('shared.binding = [["AA"]]', "at least 2"),
        ('starts = "common"', "ensemble"),
        ("gradient_limit = 3", "ensemble"),
        ("jump_terms = true", "ensemble"),
    ],
)
def test_named_faults(design: str, message: str) -> None:
    with pytest.raises(CampaignFileError, match=message):
        campaign(design)


def test_unknown_options_are_named() -> None:
    with pytest.raises(CampaignFileError, match="momentum"):
        campaign(optimizer='kind = "sgd"\noptions = {momentun = 0.9}')


@pytest.mark.parametrize(
    "kind",
    ["rmsprop", "adam", "sgd", "adabelief", "adagrad", "adamax", "amsgrad", "lion", "nadam",
     "radam", "yogi"],
)  # fmt: skip
def test_as_optax_alone(kind: str) -> None:
    """Without a learned rate three steps are those of the optax optimiser on the same numbers."""
    c = campaign(
        "bounds.diameters = [0.5, 2.0]\nbounds.binding = [0.0, 10.0]",
        f'kind = "{kind}"\nlearning_rate = 0.01\nmeta_learning_rate = 0',
    )
    run = DescentOptimizer(c)
    theta = c.potential.theta()
    state = run.start(theta)
    rule = getattr(optax, kind)(0.01)
    values = {k: jax.numpy.asarray(theta.arrays()[k]) for k in ("diameters", "binding")}
    theirs = rule.init(values)
    for number in range(3):
        gradient = gradient_of(c, number)
        theta, state = run.step(number, theta, gradient, state)
        state = run.learn(gradient, state)
        change, theirs = rule.update({k: gradient[k] for k in values}, theirs, values)
        values = optax.apply_updates(values, change)
        for k in values:
            low, high = c.bounds_of(k)
            values[k] = jax.numpy.clip(values[k], low, high)
            np.testing.assert_allclose(theta.arrays()[k], values[k], rtol=1e-12)
    assert theta.arrays()["stiffness"].tolist() == [5.0] * 6


def test_options_reach_the_optimiser() -> None:
    plain, heavy = (
        campaign(optimizer=f'kind = "sgd"\nmeta_learning_rate = 0\n{more}')
        for more in ("", "options = {momentum = 0.9, nesterov = true}")
    )
    ends = []
    for c in (plain, heavy):
        run, theta = DescentOptimizer(c), c.potential.theta()
        state = run.start(theta)
        for number in range(2):
            theta, state = run.step(number, theta, gradient_of(c), state)
        ends.append(theta.arrays()["diameters"])
    assert np.abs(ends[0] - ends[1]).max() > 1e-4


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ('{kind = "halve", steps = 10}', {0: 1, 9: 1, 10: 0.5, 25: 0.25}),
        ('{kind = "linear", steps = 10, end = 0.2}', {0: 1, 5: 0.6, 10: 0.2, 50: 0.2}),
        ('{kind = "cosine", steps = 10, end = 0.2}', {0: 1, 5: 0.6, 10: 0.2, 50: 0.2}),
        ('{kind = "exponential", steps = 10, end = 0.01}', {0: 1, 5: 0.1, 10: 0.01, 50: 0.01}),
    ],
)
def test_schedules(schedule: str, shares: dict[int, float]) -> None:
    rate = f'kind = "rmsprop"\nlearning_rate = 0.01\nschedule = {schedule}'
    run = DescentOptimizer(campaign(optimizer=rate))
    state = run.start(campaign().potential.theta())
    for number, share in shares.items():
        assert run.pace(state, number) == pytest.approx(0.01 * share, rel=1e-6)


def test_clipping() -> None:
    for kind, expected in (("norm", 0.5 / 13 * np.array([3, 4, 12])), ("value", [0.5, 0.5, 0.5])):
        c = campaign(
            'held.binding = ["AA", "AB", "AC", "BB", "BC"]',
            f'kind = "sgd"\nlearning_rate = 0.01\nmeta_learning_rate = 0\n'
            f'clip = {{kind = "{kind}", limit = 0.5}}',
        )
        run, theta = DescentOptimizer(c), c.potential.theta()
        gradient = {"diameters": np.array([3.0, 4.0, 12.0]), "binding": np.zeros(6)}
        new, _ = run.step(0, theta, gradient, run.start(theta))
        moved = (theta.arrays()["diameters"] - new.arrays()["diameters"]) / 0.01
        np.testing.assert_allclose(moved, expected, rtol=1e-9)


def test_learned_rate_follows_the_loss() -> None:
    """On a quadratic bowl the rate rises while steps are too short; its slope is the true one."""
    c = campaign(optimizer='kind = "sgd"\nlearning_rate = 1e-3\nmeta_learning_rate = 0.1')
    run, theta = DescentOptimizer(c), c.potential.theta()
    state = run.start(theta)
    target = {k: 1.1 * v for k, v in theta.arrays().items()}

    def slope(theta: Any) -> dict[str, Any]:
        return {k: 2 * (v - target[k]) for k, v in theta.arrays().items()}

    eta = [state.eta]
    for number in range(20):
        theta, state = run.step(number, theta, slope(theta), state)
        state = run.learn(slope(theta), state)
        eta.append(state.eta)
    assert (np.diff(eta) > 0).all()
    # dθ/dη by differences.
    ends = []
    for h in (1e-6, -1e-6):
        moved = type(state)(state.eta + h, state.optimizer, state.meta, state.slope)
        ends.append(run.step(20, theta, slope(theta), moved)[0].arrays()["diameters"])
    _, after = run.step(20, theta, slope(theta), state)
    np.testing.assert_allclose((ends[0] - ends[1]) / 2e-6, after.slope["diameters"], rtol=1e-6)


def test_state_from_its_log() -> None:
    c = campaign(optimizer='kind = "adam"')
    run, theta = DescentOptimizer(c), c.potential.theta()
    state = run.start(theta)
    for number in range(3):
        theta, state = run.step(number, theta, gradient_of(c, number), state)
        state = run.learn(gradient_of(c, number + 1), state)
    log = {k: np.atleast_1d(v) for k, v in run.log(state).items()}
    again = run.restored(theta, log)
    ours, theirs = (run.step(3, theta, gradient_of(c, 9), s)[0].arrays() for s in (state, again))
    assert all((ours[k] == theirs[k]).all() for k in ours)
