"""Saddles and barriers of packings: proven, joined to their minima, differentiated and followed."""

from functools import cache

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import landscapes
from amorph.bridge.errors import NotASaddleError, NotFiniteError
from amorph.handover import InputError

Found = tuple[bridge.PairPotential, bridge.Packing, landscapes.Saddles]


def prepared(theta: bridge.PairPotential, n: int, density: float, dimension: int) -> bridge.Packing:
    batch = ensemble.quench(
        theta, n_particles=n, density=density, dimension=dimension, replicas=1, seed=3
    )
    return bridge.relax(theta, bridge.Packing.from_frame(next(iter(batch.frames()))))


@cache
def sticky() -> Found:
    """Sticky discs without rattlers."""
    theta = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0)
    packing = prepared(theta, 100, 1.6, 2)
    return theta, packing, landscapes.saddles_around(theta, packing, number=8, seed=1)


@cache
def soft() -> Found:
    """Soft spheres in space."""
    theta = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)
    packing = prepared(theta, 120, 0.72, 3)
    return theta, packing, landscapes.saddles_around(theta, packing, number=4, seed=2)


@cache
def over(case: str) -> tuple[bridge.PairPotential, bridge.Packing, list[landscapes.Transition]]:
    theta, packing, found = sticky() if case == "sticky" else soft()
    ways = landscapes.transitions_over(theta, list(found.found.values()))
    return theta, packing, [way for (way,) in ways.found.values()]


def leaving(case: str) -> tuple[bridge.PairPotential, landscapes.Transition]:
    """A transition out of the packing's own minimum."""
    theta, packing, ways = over(case)
    for way in ways:
        for one in (way, way.reversed()):
            if np.abs(one.start.positions - packing.positions).max() < 1e-6:
                return theta, one
    raise AssertionError("no saddle is joined to the packing")


@pytest.mark.parametrize("case", ["sticky", "soft"])
def test_saddles_are_proven(case: str) -> None:
    theta, _, found = sticky() if case == "sticky" else soft()
    assert len(found.found) >= len(found) // 2
    for saddle in found.found.values():
        assert np.abs(bridge.forces(theta, saddle.packing)).max() < 1e-11
        values, vectors = np.linalg.eigh(bridge.hessian(theta, saddle.packing))
        # Below zero but for rigid motions and rattlers, whose modes are zero.
        assert (values < -1e-7 * values[-1]).sum() == 1
        assert saddle.eigenvalue == pytest.approx(values[0], rel=1e-6)
        assert abs(np.vdot(saddle.mode.ravel(), vectors[:, 0])) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("case", ["sticky", "soft"])
def test_descents_are_downhill_and_end_at_minima(case: str) -> None:
    theta, _, ways = over(case)
    for way in ways:
        top = int(np.argmax(way.path_energies))
        assert np.array_equal(way.path[top], way.saddle.packing.positions)
        assert (np.diff(way.path_energies[: top + 1]) > -1e-13).all()
        assert (np.diff(way.path_energies[top:]) < 1e-13).all()
        assert way.barrier > 0
        assert way.reverse_barrier > 0
        for end in (way.start, way.end):
            assert np.abs(bridge.forces(theta, end)).max() < 1e-11
            bridge.response(theta, end)
    leaving(case)


def test_descents_are_those_of_small_steps() -> None:
    """Euler's steps, a hundred times shorter than what is stable, lead along the same way."""
    theta, way = leaving("sticky")
    top = int(np.argmax(way.path_energies))
    x = way.path[top + 1].copy()
    dt = 0.01 / theta.max_stiffness()
    beside = np.inf
    wanted = way.path[top + 6]
    for _ in range(20_000):
        x = x + dt * bridge.forces(theta, way.start.with_positions(x))
        now = np.abs(x - wanted).max()
        if now > beside:
            break
        beside = now
    assert beside < 0.005


def test_gradients_are_those_of_barriers_found_anew() -> None:
    theta, way = leaving("sticky")
    values, (there, back) = landscapes.barriers_and_gradients(theta, way)
    assert values == pytest.approx([way.barrier, way.reverse_barrier], abs=1e-10)
    for name, k in (("diameters", 1), ("binding", 1)):
        ends = []
        for step in (1e-5, -1e-5):
            array = np.array(theta.arrays()[name])
            array[k] += step
            own = theta.replace(**{name: array})
            saddle = landscapes.follow_transition(own, way).saddle
            ((anew,),) = landscapes.transitions_over(own, [saddle])
            flip = np.abs(anew.start.positions - way.start.positions).max() > 1e-2
            anew = anew.reversed() if flip else anew
            ends.append([anew.barrier, anew.reverse_barrier])
        slope = (np.array(ends[0]) - np.array(ends[1])) / 2e-5
        exact = [np.asarray(g.arrays()[name])[k] for g in (there, back)]
        assert slope == pytest.approx(exact, rel=1e-5, abs=1e-7)


def test_jax_knows_the_same_barriers() -> None:
    """By whole matrices, through the motion of the points; the first derivative is the same."""
    import jax

    theta, way = leaving("sticky")
    points = landscapes.points_of(theta, [way])
    values, (there, _) = landscapes.barriers_and_gradients(theta, way)
    found = landscapes.barriers(theta, points)
    assert np.asarray(found)[0] == pytest.approx(values, rel=1e-9)
    slope = jax.grad(lambda t: landscapes.barriers(t, points)[0, 0])(theta)
    assert np.allclose(slope.diameters, there.diameters, rtol=1e-6, atol=1e-9)
    other = theta.replace(diameters=np.asarray(theta.diameters) * [1.0, 1.001])
    followed = landscapes.follow_transition(other, way)
    moved = np.asarray(landscapes.barriers(other, points))[0]
    assert moved == pytest.approx([followed.barrier, followed.reverse_barrier], rel=1e-7)
    assert np.isfinite(np.asarray(landscapes.log_rates(theta, points, 0.01))).all()


def test_rattlers_are_refused_where_jax_would_follow() -> None:
    theta = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)
    packing = prepared(theta, 120, 0.68, 3)
    assert bridge.response(theta, packing).rattlers.any()
    found = landscapes.saddles_around(theta, packing, number=3, seed=2)
    assert found.found  # with rattlers too
    ways = landscapes.transitions_over(theta, list(found.found.values())[:1])
    ((way,),) = ways
    with pytest.raises(InputError, match="rattlers"):
        landscapes.points_of(theta, [way])
    landscapes.barriers_and_gradients(theta, way)


@pytest.mark.parametrize("case", ["sticky", "soft"])
def test_a_barrier_is_a_feature(case: str) -> None:
    theta, way = leaving(case)
    barrier = landscapes.barrier_feature(theta, way)
    measured = bridge.measure(theta, way.start, ["pressure"], gradients=[barrier])
    assert measured.values["barrier"] == pytest.approx(way.barrier, rel=1e-6)
    (_, _), (there, _) = landscapes.barriers_and_gradients(theta, way)
    for name, slope in measured.gradients["barrier"].arrays().items():
        assert np.allclose(slope, there.arrays()[name], rtol=1e-6, atol=1e-9)
    other = theta.replace(diameters=1.001 * np.asarray(theta.diameters))
    with pytest.raises(NotFiniteError):
        bridge.measure(other, bridge.relax(other, way.start), [barrier])


def test_a_transition_is_followed() -> None:
    theta, way = leaving("sticky")
    other = theta.replace(diameters=np.asarray(theta.diameters) * [1.002, 0.999])
    there = landscapes.follow_transition(other, way)
    assert np.abs(bridge.forces(other, there.saddle.packing)).max() < 1e-11
    assert there.barrier != pytest.approx(way.barrier, rel=1e-4)
    back = landscapes.follow_transition(theta, there)
    assert back.barrier == pytest.approx(way.barrier, rel=1e-8)
    with pytest.raises(NotASaddleError):
        landscapes.follow_transition(theta.replace(diameters=[1.1, 0.6]), way)


def test_pushes_are_local_and_their_own() -> None:
    packing = sticky()[1]
    pushes = landscapes.random_pushes(packing, 3, seed=5)
    assert np.array_equal(pushes[:2], landscapes.random_pushes(packing, 2, seed=5))
    size = np.sqrt(np.sum(pushes[0] ** 2, axis=1))
    assert (size > 0.1 * size.max()).sum() < 20


def test_a_plastic_event_gives_a_direction() -> None:
    """The displacement at a packing's first event is a way out of its minimum before."""
    theta, packing, _ = sticky()
    run = bridge.stress_strain(theta, packing, "simple_shear", max_strain=0.05, step=0.01)
    assert run.events
    found = landscapes.saddles_around(theta, packing, run.events[0].displacement[None])
    assert len(found) == 1


def test_wrong_arguments() -> None:
    theta, packing, found = sticky()
    with pytest.raises(InputError, match="directions"):
        landscapes.saddles_around(theta, packing, np.zeros((2, 100, 2)))
    with pytest.raises(InputError, match="shape"):
        landscapes.saddles_around(theta, packing, np.ones((100, 2)))
    with pytest.raises(InputError):
        landscapes.saddles_around(theta, packing, number=0)
    with pytest.raises(InputError):
        landscapes.barriers_and_gradients(theta, "way")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="saddles_around"):
        landscapes.find_saddles(theta, packing)
    _, way = leaving("sticky")
    with pytest.raises(bridge.errors.NotAMinimumError, match="follow_transition"):
        landscapes.barriers_and_gradients(theta.replace(diameters=[0.81, 1.0]), way)
    with pytest.raises(NotASaddleError):
        landscapes.saddles_around(theta, packing, number=1, max_steps=1)[0]
    assert found
