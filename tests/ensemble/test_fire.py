"""Far from a minimum: FIRE comes from random starts to rest, for every potential."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amorph import ensemble
from amorph.ensemble import Minimize, Status

POTENTIALS = list(ensemble.potentials())
SIZES = {2: (64, 0.8), 3: (200, 0.8)}


def random_start(
    potential: str, dimension: int, theta_of: Callable[..., Any], replicas: int
) -> tuple[Any, ensemble.Start]:
    theta = theta_of(potential, [1.0, 0.9])
    n, density = SIZES[dimension]
    return theta, ensemble.make_start(theta, n, density, dimension, replicas, seed=1)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("potential", POTENTIALS)
def test_random_starts_come_to_rest(potential: str, dimension: int, theta_of: Any) -> None:
    theta, start = random_start(potential, dimension, theta_of, 6)
    e = ensemble.prepare(
        theta, start.positions, start.typeid, start.boxes, [Minimize(1e-8)], threads=2
    )
    assert e.converged.all(), e.failures()
    now = ensemble.forces(theta, e.positions, start.typeid, start.boxes)
    assert np.sqrt((now.forces**2).sum(-1)).max() <= 1.01e-8


@pytest.mark.parametrize("most", [0.1, 0.03])
@pytest.mark.parametrize("potential", POTENTIALS)
def test_no_step_is_longer_than_it_may(potential: str, most: float, theta_of: Any) -> None:
    """`max_move`, in units of the largest diameter; a kick in it may come on top."""
    theta, start = random_start(potential, 2, theta_of, 6)
    length = start.boxes[0][0, 0]
    before = start.positions
    for steps in range(1, 25):
        e = ensemble.prepare(
            theta, start.positions, start.typeid, start.boxes,
            [Minimize(1e-8, max_steps=steps, fire={"max_move": most}, newton={"start": 0})],
        )  # fmt: skip
        assert np.isfinite(e.positions).all()
        moved = e.positions - before
        moved -= length * np.round(moved / length)
        longest = np.sqrt((moved**2).sum(-1)).max()
        assert longest <= 2 * most, f"step {steps} moves a particle by {longest:.3g}"
        before = e.positions


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("potential", POTENTIALS)
def test_what_is_no_number_is_called_so(potential: str, dimension: int, theta_of: Any) -> None:
    """At fixed pressure, from anywhere: only what is not finite may have no positions."""
    theta, start = random_start(potential, dimension, theta_of, 6)
    for pressure in (1e-2, 1.0, 1e3):
        e = ensemble.prepare(
            theta, start.positions, start.typeid, start.boxes,
            [Minimize(1e-8, max_steps=20_000, pressure=pressure)],
        )  # fmt: skip
        for k in np.flatnonzero(e.status != Status.NOT_FINITE):
            what = f"replica {k} at pressure {pressure}, {Status(e.status[k]).name}"
            assert np.isfinite(e.positions[k]).all(), what
            assert (np.diagonal(e.boxes[k]) > 0.5).all(), f"{what}: box {e.boxes[k].tolist()}"
