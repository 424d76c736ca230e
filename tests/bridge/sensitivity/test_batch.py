"""Many packings at once: the answers of single ones, whatever the chunk, and named failures."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import Packing
from amorph.handover import AmorphError, BoxTooSmallError, InputError, UnknownTypeError

FEATURES = ["elastic_tensor", "energy"]
GRADIENTS = ["poisson_ratio", "stress_components"]


def single(x: Any, types: Any, box: Any, theta: Any, gradients: list[str]) -> Any:
    packing = bridge.relax(theta, Packing.of(x, types, box))
    return bridge.measure(theta, packing, FEATURES, gradients)


@pytest.mark.parametrize("dimension", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_as_single_packings(dimension: int, theta2: Any, spheres3: Any) -> None:
    theta, n, density = (theta2, 48, 1.4) if dimension == 2 else (spheres3, 40, 1.6)
    batch = ensemble.quench(theta, n, density, dimension, 7, seed=5, tolerance=1e-5, threads=1)
    found = bridge.measure_batch(
        theta, batch.positions, batch.typeid, batch.boxes, FEATURES, GRADIENTS, chunk=3
    )
    assert len(found.replicas) >= 5
    for row, k in enumerate(found.replicas):
        expected = single(batch.positions[k], batch.typeid, batch.boxes[0], theta, GRADIENTS)
        for name, value in expected.values.items():
            np.testing.assert_allclose(found.values[name][row], value, rtol=1e-8, atol=1e-11)
        for name, gradient in expected.gradients.items():
            for parameter, slope in gradient.arrays().items():
                got = found.gradients[name][parameter][row]
                assert got.shape == slope.shape
                scale = np.abs(slope).max()
                assert np.abs(got - slope).max() < 1e-7 * scale, (name, parameter)
    for k in set(range(7)) - set(found.replicas.tolist()):
        with pytest.raises(AmorphError) as error:
            single(batch.positions[k], batch.typeid, batch.boxes[0], theta, GRADIENTS)
        assert found.status[k] == type(error.value).__name__
        assert found.messages[k]
    assert found.single < 5, "most go the fast way"


@pytest.mark.slow
def test_chunks_do_not_matter(theta2: Any) -> None:
    batch = ensemble.quench(theta2, 48, 1.4, 2, 6, seed=8, tolerance=1e-6, threads=1)
    runs = [
        bridge.measure_batch(
            theta2, batch.positions, batch.typeid, batch.boxes, ["pressure"], chunk=chunk
        )
        for chunk in (2, 6)
    ]
    np.testing.assert_array_equal(runs[0].replicas, runs[1].replicas)
    np.testing.assert_allclose(runs[0].values["pressure"], runs[1].values["pressure"], rtol=1e-11)


def test_each_with_its_own_parameters(theta2: Any) -> None:
    """Different potentials, boxes and types in one batch."""
    batch = ensemble.quench(theta2, 48, 1.4, 2, 4, seed=11, tolerance=1e-6, threads=1)
    thetas = [theta2.replace(stiffness=(1 + 1e-4 * k) * theta2.stiffness) for k in range(4)]
    scale = 1 + 1e-5 * np.arange(4)
    boxes = scale[:, None, None] * batch.boxes[0]
    x = scale[:, None, None] * batch.positions
    found = bridge.measure_batch(thetas, x, batch.typeid, boxes, ["energy"], ["pressure"])
    seen = []
    for row, k in enumerate(found.replicas):
        packing = bridge.relax(thetas[k], Packing.of(x[k], batch.typeid, boxes[k]))
        expected = bridge.measure(thetas[k], packing, ["energy"], ["pressure"])
        assert found.values["energy"][row] == pytest.approx(expected.values["energy"], rel=1e-10)
        slope = expected.gradients["pressure"].arrays()["stiffness"]
        np.testing.assert_allclose(
            found.gradients["pressure"]["stiffness"][row], slope, rtol=1e-7, atol=1e-12
        )
        seen.append(found.values["energy"][row])
    assert len(set(seen)) == len(seen) >= 3


def test_what_the_fast_way_leaves(theta2: Any) -> None:
    """From random starts everything goes the slow way, and still ends as single packings do."""
    box = (48 / 1.4) ** 0.5 * np.eye(2)
    x = ensemble.random_positions(48, box, 2, seed=3)
    types = np.arange(48) % 2
    found = bridge.measure_batch(theta2, x, types, box, ["energy"])
    assert found.single == 2
    for row, k in enumerate(found.replicas):
        packing = bridge.relax(theta2, Packing.of(x[k], types, box))
        assert (
            found.values["energy"][row]
            == bridge.measure(theta2, packing, ["energy"]).values["energy"]
        )


def test_rattlers(references: Any) -> None:
    theta, packing, expected = references["soft2d_n128_rattlers_s12"]
    x = np.stack([packing.positions] * 2)
    x[1] += [0.3, -0.2]
    found = bridge.measure_batch(theta, x, packing.typeid, packing.box, [], ["poisson_ratio"])
    assert (found.status == "ok").all()
    assert found.single == 0
    for value in found.values["poisson_ratio"]:
        assert value == pytest.approx(expected["poisson_ratio"], rel=1e-8)
    refused = bridge.measure_batch(theta, x, packing.typeid, packing.box, [], ["psi_8"])
    assert (refused.status == "RattlerError").all()
    assert "rattlers" in refused.messages[0]
    assert refused.values["psi_8"].shape == (0,)


def test_named_failures(theta2: Any, solid: Packing) -> None:
    x, types, box = solid.positions[None], solid.typeid, solid.box
    with pytest.raises(InputError, match="shape"):
        bridge.measure_batch(theta2, x[0], types, box, ["energy"])
    with pytest.raises(InputError, match="give one pair potential, or 1"):
        bridge.measure_batch([theta2, theta2], x, types, box, ["energy"])
    with pytest.raises(UnknownTypeError):
        bridge.measure_batch(theta2, x, types + 1, box, ["energy"])
    with pytest.raises(BoxTooSmallError):
        bridge.measure_batch(theta2, x, types, 0.5 * box, ["energy"])
    with pytest.raises(bridge.errors.FeatureError, match="modes"):
        bridge.measure_batch(theta2, x, types, box, ["frequencies_3"])
    with pytest.raises(InputError, match="tolerance"):
        bridge.measure_batch(theta2, x, types, box, ["energy"], tolerance=-1.0)


def test_one_box_for_different_cutoffs(theta2: Any, solid: Packing) -> None:
    wide = theta2.replace(alpha=4.0)
    x = np.stack([solid.positions] * 2)
    with pytest.raises(BoxTooSmallError):
        bridge.measure_batch([theta2, wide], x, solid.typeid, solid.box, ["energy"])
    soft = bridge.SoftSphere([0.85, 1.1], 1.0)
    with pytest.raises(InputError, match="one kind"):
        bridge.measure_batch([theta2, soft], x, solid.typeid, solid.box, ["energy"])


def test_what_moves_with_the_packing_has_no_gradient(theta2: Any, solid: Packing) -> None:
    where = bridge.Feature("where", lambda theta, state: state.positions[:, 0].mean())
    found = bridge.measure_batch(
        theta2, solid.positions[None], solid.typeid, solid.box, (), [where]
    )
    assert found.status.tolist() == ["FeatureError"]
