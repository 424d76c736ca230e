"""What is known of a packing belongs to the object, and serves for the same question alone."""

import pickle
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import Packing


def test_a_response_is_given_again_for_equal_parameters(theta2: Any, solid: Packing) -> None:
    packing = solid.with_positions(solid.positions)
    first = bridge.response(theta2, packing)
    assert bridge.response(theta2, packing) is first
    same = theta2.replace(binding=np.array(theta2.binding))
    assert same is not theta2
    assert bridge.response(same, packing) is first
    assert bridge.relax(same, packing) is packing
    # Of another object, or at other parameters, it is not.
    assert bridge.response(theta2, solid.with_positions(solid.positions)) is not first
    changed = theta2.replace(binding=np.asarray(theta2.binding) * (1 + 1e-9))
    with pytest.raises(bridge.errors.NotAMinimumError):
        bridge.response(changed, packing)


def test_a_solver_that_is_asked_for_answers(theta2: Any, solid: Packing) -> None:
    packing = solid.with_positions(solid.positions)
    first = bridge.response(theta2, packing, solver="dense")
    assert bridge.response(theta2, packing).solver == "dense"
    other = bridge.response(theta2, packing, solver="superlu")
    assert other.solver == "superlu"
    np.testing.assert_allclose(other.state.nonaffine, first.state.nonaffine, atol=1e-10)


def test_what_is_kept_stays_here(theta2: Any, solid: Packing) -> None:
    packing = solid.with_positions(solid.positions)
    bridge.response(theta2, packing)
    sent = pickle.loads(pickle.dumps(packing))
    assert sent.kept == {}
    np.testing.assert_array_equal(sent.positions, packing.positions)
    np.testing.assert_array_equal(sent.typeid, packing.typeid)


def test_a_saddle_has_a_response(theta2: Any, solid: Packing) -> None:
    # Four spheres on a square, held by their neighbours' attraction, shear without a force.
    spheres = bridge.Morse(diameters=[1.0], binding=1.0, alpha=5.0)
    square = Packing.of([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], [0] * 4)
    side = _side(spheres, square)
    saddle = square.with_positions(square.positions * side)
    with pytest.raises(bridge.errors.NotAMinimumError, match="saddle"):
        bridge.response(spheres, saddle)
    found = bridge.response(spheres, saddle, minimum=False)
    values = np.linalg.eigvalsh(bridge.hessian(spheres, saddle))
    assert found.factor.inertia().negative == np.sum(values < -1e-9) == 1
    rng = np.random.default_rng(0)
    load = found.factor.project(rng.standard_normal((8, 1)))
    answer = found.solve(load.reshape(4, 2, 1)).reshape(8, 1)
    np.testing.assert_allclose(bridge.hessian(spheres, saddle) @ answer, load, atol=1e-10)


def _side(theta: Any, square: Packing) -> float:
    """The side at which a square of particles has no force."""
    low, high = 0.8, 1.1
    for _ in range(100):
        side = 0.5 * (low + high)
        force = bridge.forces(theta, square.with_positions(square.positions * side))
        outwards = float(np.sum(force * (square.positions - 0.5)))
        low, high = (side, high) if outwards > 0 else (low, side)
    return side
