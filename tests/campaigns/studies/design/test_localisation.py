"""Few pairs in one place, many pairs everywhere: the measures tell them apart."""

import numpy as np
import pytest

from amorph import bridge
from amorph.campaigns.studies.design import pictures as drawings
from amorph.campaigns.studies.design.localisation import (
    Localisation,
    localisation,
    participation,
    spread,
)
from amorph.campaigns.studies.design.members import Order, fresh_member
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
parameters = ["diameters"]

[[objective]]
feature = "poisson_ratio"
target = 0.2
"""


def test_limits() -> None:
    assert participation(np.array([-2.0, 2.0, 2.0])) == pytest.approx(1.0)
    assert participation(np.array([0.0, 0.0, 5.0, 0.0])) == pytest.approx(0.25)
    normal = np.random.default_rng(0).normal(size=100_000)
    assert participation(normal) == pytest.approx(2 / np.pi, abs=0.01)
    everywhere = np.random.default_rng(1).uniform(size=(100_000, 2))
    assert spread(normal, everywhere) == pytest.approx(1.0, abs=0.02)
    assert spread(normal, np.full((100_000, 2), 0.3)) == pytest.approx(0.0, abs=1e-12)
    # Across a side of the box is as close as anywhere.
    across = np.where(everywhere < 0.5, 0.01, 0.99)
    assert spread(normal, across) < 0.005


def test_a_packing_wherever_its_box_lies() -> None:
    campaign = parse_campaign(CAMPAIGN, "x")
    theta = campaign.potential.theta()
    packing = fresh_member(Order(campaign, theta, theta, 0), 0).packing
    assert packing is not None
    found = localisation(theta, bridge.relax(theta, packing))
    moved = packing.with_positions(packing.positions + np.array([1.3, -2.1])).wrapped()
    again = localisation(theta, bridge.relax(theta, moved))
    for name in ("bulk_participation", "shear_participation", "bulk_spread", "shear_spread"):
        assert 0 < getattr(found, name) < 1
        assert getattr(again, name) == pytest.approx(getattr(found, name), rel=1e-6)


def test_picture() -> None:
    found = [Localisation(0.3, 0.2, 0.8, 0.9), Localisation(0.1, 0.05, 0.4, 0.3)]
    figure = drawings.localised([0.4, -0.5], found, "ν")
    assert figure.axes[-1].get_xlabel() == "target: ν"
    with pytest.raises(InputError, match="no design reached"):
        drawings.localised([], [], "ν")
