"""Transitions between given minima: proven, the same however they are asked for, or refused."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import landscapes
from amorph.bridge.errors import (
    FurtherMinimaError,
    NoBarrierError,
    NotAMinimumError,
    PathError,
)
from amorph.bridge.landscapes.paths import distance
from amorph.handover import InputError

from .conftest import lennard_jones, morse, real_modes, trimer, turned

Ways = list[tuple[bridge.Packing, bridge.Packing]]


@pytest.fixture(scope="module")
def found(ways: Ways) -> landscapes.Transitions:
    return landscapes.find_transitions(morse(), ways)


def test_each_is_proven(ways: Ways, found: landscapes.Transitions) -> None:
    theta = morse()
    assert not found.failures
    for (start, end), (way,) in zip(ways, found, strict=True):
        assert distance(way.start, start.positions) < 1e-6
        assert distance(way.end, end.positions) < 1e-6
        saddle = way.saddle
        assert np.abs(bridge.forces(theta, saddle.packing)).max() < 1e-10
        assert (real_modes(theta, saddle.packing) < 0).sum() == 1
        energies = [bridge.energy(theta, p) for p in (way.start, saddle.packing, way.end)]
        assert way.energies == pytest.approx(energies, abs=1e-12)
        assert way.barrier == pytest.approx(energies[1] - energies[0], abs=1e-12)
        assert way.reverse_barrier > 0
        assert way.reversed().barrier == way.reverse_barrier
        # Along one path, laid on the start; the mode is turned with it.
        assert np.allclose(way.path[0], way.start.positions, atol=1e-12)
        top = int(np.argmax(way.path_energies))
        assert np.allclose(way.path[top], saddle.packing.positions, atol=1e-12)
        matrix = bridge.hessian(theta, saddle.packing)
        pushed = matrix @ saddle.mode.ravel()
        assert np.allclose(pushed, saddle.eigenvalue * saddle.mode.ravel(), atol=1e-7)


@pytest.mark.parametrize("optimiser", ["lbfgs", "fire"])
def test_one_at_a_time_and_turned(
    ways: Ways, found: landscapes.Transitions, optimiser: str
) -> None:
    """Alone, with turned ends, the other way round, by another optimiser: the same saddles."""
    theta = morse()
    for k, (start, end) in enumerate(ways[:4]):
        (right,) = found[k]
        here, there = turned(end, k), turned(start, 100 + k)
        way = landscapes.find_transition(theta, here, there, optimiser=optimiser)
        assert way.reverse_barrier == pytest.approx(right.barrier, abs=1e-9)
        assert way.barrier == pytest.approx(right.reverse_barrier, abs=1e-9)
        assert np.allclose(way.start.positions, here.positions, atol=1e-6)


def test_own_interactions_for_each(ways: Ways) -> None:
    thetas = [morse(k) for k in range(3)]
    breaking = ways[1]
    pairs = [tuple(bridge.relax(t, p) for p in breaking) for t in thetas]
    many = landscapes.find_transitions(thetas, pairs)
    for theta, pair, (way,) in zip(thetas, pairs, many, strict=True):
        alone = landscapes.find_transition(theta, *pair)
        assert way.barrier == pytest.approx(alone.barrier, abs=1e-10)


def test_a_chain_of_saddles() -> None:
    """Two minima far apart: the parts follow one another, each over a saddle of its own."""
    theta = lennard_jones()
    rng = np.random.default_rng(1)
    packing = bridge.Packing.of(0.7 * rng.normal(size=(7, 3)), np.zeros(7, int))
    starts = 0.75 * rng.normal(size=(30, 7, 3))
    saddles = landscapes.find_saddles(theta, packing, starts, max_steps=200)
    over = landscapes.transitions_over(theta, list(saddles.found.values())[:4])
    ends = [way.start for (way,) in over.found.values()]
    pairs = [(a, b) for a, b in pairwise(ends) if distance(a, b.positions) > 0.1]
    found = landscapes.find_transitions(theta, pairs, n_images=16, most_saddles=30)
    assert not found.failures
    for pair, chain in zip(pairs, found, strict=True):
        assert len(chain) > 1
        assert np.allclose(chain[0].start.positions, pair[0].positions, atol=3e-3)
        assert distance(chain[-1].end, pair[1].positions) < 1e-3
        for before, after in pairwise(chain):
            assert np.allclose(before.end.positions, after.start.positions, atol=3e-3)
        for way in chain:
            assert (real_modes(theta, way.saddle.packing) < 0).sum() == 1
            assert np.abs(bridge.forces(theta, way.saddle.packing)).max() < 1e-10
    given = {"n_images": 16, "most_saddles": 30}
    with pytest.raises(FurtherMinimaError, match=r"through \d+ other minima") as error:
        landscapes.find_transition(theta, *pairs[0], **given)
    assert len(error.value.chain) > 1
    with pytest.raises(PathError, match=r"more than 1 saddles|no way was found"):
        landscapes.find_transition(theta, *pairs[0], n_images=16, most_saddles=1)


def test_failures_are_named(ways: Ways) -> None:
    theta = morse()
    start, end = ways[0]
    moved = start.with_positions(start.positions * 1.3)
    found = landscapes.find_transitions(
        theta, [(start, turned(start, 3)), (moved, end), (start, end)]
    )
    with pytest.raises(NoBarrierError, match="pair 0: its start and its end are the same minimum"):
        found[0]
    with pytest.raises(NotAMinimumError, match=r"pair 1: its start is no minimum .* bridge.relax"):
        found[1]
    assert len(found[2]) == 1  # others' failures do not matter
    with pytest.raises(PathError, match=r"pair 0: .*max_steps|pair 0: no way"):
        landscapes.find_transition(theta, start, end, max_steps=2)
    other = bridge.Packing.of(end.positions, np.arange(7)[::-1])
    with pytest.raises(InputError, match="differ in their typeid"):
        landscapes.find_transitions(theta, [(start, other)])


def test_particles_that_would_pass_through_one_another() -> None:
    """Two outer particles of a straight trimer change places: no path is straight."""
    theta, one, other = trimer()
    line = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    path = np.linspace(line, line[::-1], 12)[1:-1]
    with pytest.raises(PathError, match=r"pass through one another"):
        landscapes.find_transitions(theta, [(one, other)], paths=[path])[0]
    way = landscapes.find_transition(theta, one, other)
    x = way.saddle.packing.positions
    assert np.linalg.matrix_rank(x - x.mean(axis=0), tol=1e-8) == 1


def test_in_a_box() -> None:
    """A vacancy's neighbour hops into it, by the nearest images."""
    theta = bridge.WCA(diameters=[1.0], epsilon=1.0)
    side = 5
    box = 1.08 * np.array([[side, side / 2], [0.0, side * 0.75**0.5]])
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2) / side
    x = grid @ box.T
    hop = x[1:].copy()
    hop[0] = x[0]
    packing = bridge.Packing.of(x[1:], np.zeros(side * side - 1, int), box)
    start = bridge.relax(theta, packing)
    end = bridge.relax(theta, packing.with_positions(hop))
    way = landscapes.find_transition(theta, start, end)
    assert way.barrier == pytest.approx(way.reverse_barrier, rel=1e-6)
    assert way.barrier > 0
    values = np.linalg.eigvalsh(bridge.hessian(theta, way.saddle.packing))
    assert (values < -1e-9).sum() == 1


def test_paths_are_checked(ways: Ways) -> None:
    theta = morse()
    good: Any = np.zeros((10, 7, 3))
    for wrong, named in (
        ([good, good], "2 for 1 pairs"),
        ([np.zeros((3, 7, 3))], "it must be"),
        (["way"], "paths"),
    ):
        with pytest.raises(InputError, match=named):
            landscapes.find_transitions(theta, ways[:1], paths=wrong)
