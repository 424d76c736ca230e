"""Compression and expansion in steps, minimising after each."""

from typing import Any

import numpy as np
import pytest

from amorph import ensemble
from amorph.ensemble import Compress, Minimize, Status


def spheres(parameters: Any) -> Any:
    return parameters("soft_sphere", [1.0, 1.4], stiffness=1.0)


@pytest.mark.parametrize("increments", [1, 7, 100])
@pytest.mark.parametrize(("density", "final"), [(0.6, 0.85), (1.0, 0.7)])
@pytest.mark.parametrize("dimension", [2, 3])
def test_the_density_is_the_one_asked_for(
    dimension: int, density: float, final: float, increments: int, parameters: Any
) -> None:
    e = ensemble.compress(
        spheres(parameters), 64, density, final, dimension, 3, seed=1,
        increments=increments, tolerance=1e-8, threads=2,
    )  # fmt: skip
    assert e.converged.all(), e.failures()
    assert e.boxes.shape == (3, dimension, dimension)
    np.testing.assert_allclose(64 / np.linalg.det(e.boxes), final, rtol=1e-12)
    # A cube it was, a cube it is, to the bit.
    np.testing.assert_array_equal(e.boxes, e.boxes[:, :1, :1] * np.eye(dimension))
    now = ensemble.forces(spheres(parameters), e.positions, e.typeid, e.boxes)
    assert np.sqrt((now.forces**2).sum(-1)).max() <= 1.01e-8
    np.testing.assert_allclose(e.energy, now.energy, rtol=1e-10, atol=1e-15)
    half = e.boxes[:, 0, 0][:, None, None] / 2
    assert (np.abs(e.positions) <= half * (1 + 1e-12)).all()


@pytest.mark.parametrize("final", [1.2, 0.9])
@pytest.mark.parametrize("dimension", [2, 3])
def test_by_hand_it_is_the_same(dimension: int, final: float, parameters: Any) -> None:
    """Scale positions and box by equal factors, minimise, and again: to round-off."""
    theta = spheres(parameters)
    n, increments = 60, 6
    start = ensemble.quench(theta, n, 1.05, dimension, 3, seed=5)
    e = ensemble.prepare(
        theta, start.positions, start.typeid, start.boxes, [Compress(final, increments)]
    )
    x, box = start.positions, start.boxes[0]
    factor = ((n / final) / np.linalg.det(box)) ** (1 / dimension / increments)
    for _ in range(increments):
        box = factor * box
        by_hand = ensemble.minimize(theta, factor * x, start.typeid, box)
        assert by_hand.converged.all()
        x = by_hand.positions
    assert e.converged.all()
    np.testing.assert_allclose(e.boxes, np.stack([box] * 3), rtol=1e-13)
    np.testing.assert_allclose(e.energy, by_hand.energy, rtol=1e-9)
    length = box[0, 0]
    apart = e.positions - x
    assert np.abs(apart - length * np.round(apart / length)).max() < 1e-7
    # It is the way that counts: at once, other minima are found.
    at_once = ensemble.prepare(
        theta, start.positions, start.typeid, start.boxes, [Compress(final, 1)]
    )
    assert at_once.converged.all()
    assert (e.energy > 0).all()


def test_the_way_depends_on_the_increments(parameters: Any) -> None:
    ends = [
        ensemble.compress(spheres(parameters), 64, 0.6, 0.95, 2, 8, seed=2, increments=k).energy
        for k in (1, 10)
    ]
    assert (np.abs(ends[0] / ends[1] - 1) > 1e-3).sum() >= 6


def test_compress_is_a_quench_and_the_stage(parameters: Any) -> None:
    theta = spheres(parameters)
    e = ensemble.compress(theta, 64, 0.7, 0.9, 2, 3, seed=4, increments=5, first_replica=9)
    start = ensemble.make_start(theta, 64, 0.7, 2, 3, 4, first_replica=9)
    by_hand = ensemble.prepare(
        theta, start.positions, start.typeid, start.boxes[0], [Minimize(), Compress(0.9, 5)]
    )
    np.testing.assert_array_equal(e.positions, by_hand.positions)
    np.testing.assert_array_equal(e.boxes, by_hand.boxes)
    assert e.replica.tolist() == [9, 10, 11]
    assert e.seed == 4


def test_a_tilted_box_keeps_its_shape(parameters: Any) -> None:
    theta = spheres(parameters)
    box = np.array([[9.0, 2.0], [0.0, 8.0]])
    boxes = np.stack([box, 1.1 * box, box * [[1.2, 1], [1, 1.0]]])
    x = np.random.default_rng(2).uniform(-0.5, 0.5, (3, 50, 2)) @ boxes.transpose(0, 2, 1)
    e = ensemble.prepare(theta, x, ensemble.typeids(50, 2), boxes, [Compress(0.9, 10)])
    assert e.converged.all()
    for k in range(3):
        scale = np.sqrt(50 / 0.9 / np.linalg.det(boxes[k]))
        np.testing.assert_allclose(e.boxes[k], scale * boxes[k], rtol=1e-12)


def test_there_and_back(parameters: Any) -> None:
    """A small compression of a solid is elastic: undone, it leaves no trace."""
    theta = parameters("harmonic_morse", [0.8, 1.0], binding=0.1, stiffness=5.0, alpha=10.0)
    start = ensemble.quench(theta, 64, 1.5, 2, 4, seed=3)
    stages = [Compress(1.5 * (1 + 1e-5), 3), Compress(1.5, 2)]
    e = ensemble.prepare(theta, start.positions, start.typeid, start.boxes, stages)
    assert e.converged.all()
    np.testing.assert_allclose(np.linalg.det(e.boxes), 64 / 1.5, rtol=1e-12)
    np.testing.assert_allclose(e.energy, start.energy, rtol=1e-10)


def test_a_minimisation_on_the_way_that_stops_early_is_told(parameters: Any) -> None:
    """None of the increments may pass for a minimum when its steps ran out."""
    e = ensemble.compress(
        spheres(parameters), 64, 0.7, 0.95, 2, 4, seed=1, increments=3, max_steps=4
    )
    assert (e.status == Status.STEP_LIMIT).all()
    assert not e.ok.any()
    assert len(e.failures()) == 4
    assert "max_steps" in e.failures()[0]
