"""Saddles are saddles, all of seven Lennard-Jones particles are found, and failures have names."""

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import landscapes
from amorph.bridge.errors import NotASaddleError
from amorph.bridge.landscapes import transitions
from amorph.handover import InputError

from .conftest import lennard_jones, morse, real_modes, rest

# Of LJ7: energies of its 4 minima (Tsai and Jordan, J. Phys. Chem. 97, 11227 (1993)).
MINIMA = [-16.505384, -15.935043, -15.593211, -15.533060]


@pytest.fixture(scope="module")
def found() -> landscapes.Saddles:
    rng = np.random.default_rng(0)
    starts = 0.75 * rng.normal(size=(600, 7, 3))
    packing = bridge.Packing.of(starts[0], np.zeros(7, int))
    return landscapes.find_saddles(lennard_jones(), packing, starts, max_steps=200)


def test_all_saddles_of_seven_particles(found: landscapes.Saddles) -> None:
    """Twelve of them, as pele and eOn have, between four minima; each proven by NumPy."""
    theta = lennard_jones()
    saddles = list(found.found.values())
    energies = np.unique(np.round([s.energy for s in saddles], 4))
    kept = energies[energies < -14]
    assert len(kept) == 11  # the twelfth, at -12.549, is rarely met
    for energy in kept:
        saddle = next(s for s in saddles if abs(s.energy - energy) < 1e-4)
        assert np.abs(bridge.forces(theta, saddle.packing)).max() < 1e-10
        values = real_modes(theta, saddle.packing)
        assert (values < 0).sum() == 1
        assert saddle.eigenvalue == pytest.approx(values[0], rel=1e-8)
        matrix = bridge.hessian(theta, saddle.packing)
        assert np.allclose(matrix @ saddle.mode.ravel(), values[0] * saddle.mode.ravel(), atol=1e-7)


def test_descents_lead_to_the_known_minima(found: landscapes.Saddles) -> None:
    theta = lennard_jones()
    saddles = list(found.found.values())[:40]
    over = landscapes.transitions_over(theta, saddles)
    joined = set()
    for saddle, (way,) in zip(saddles, over, strict=True):
        assert way.saddle is saddle
        for end, energy in ((way.start, way.energies[0]), (way.end, way.energies[2])):
            assert np.abs(np.array(MINIMA) - energy).min() < 1e-5
            assert (real_modes(theta, end) > 0).all()
            assert np.abs(bridge.forces(theta, end)).max() < 1e-10
        top = int(np.argmax(way.path_energies))
        assert np.array_equal(way.path[top], saddle.packing.positions)
        # Downhill all the way, in short steps.
        assert (np.diff(way.path_energies[: top + 1]) > 0).all()
        assert (np.diff(way.path_energies[top:]) < 0).all()
        assert np.sqrt(np.sum(np.diff(way.path, axis=0) ** 2, axis=(1, 2))).max() < 0.03
        joined.add(tuple(np.sort(way.energies[::2]).round(2)))
    assert len(joined) >= 4


def test_a_path_of_steepest_descent_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tangent is the gradient's direction, to second order in the steps' length."""
    theta = morse()
    start = rest(theta, landscapes.rigid_clusters(7)[2].positions)
    rng = np.random.default_rng(3)
    saddles = landscapes.find_saddles(
        theta, start, start.positions + 0.15 * rng.normal(size=(40, 7, 3))
    )
    saddle = next(iter(saddles.found.values()))
    off = []
    for length in (0.02, 0.005):
        monkeypatch.setattr(transitions, "DESCENT_STEP", length)
        (way,) = landscapes.transitions_over(theta, [saddle])[0]
        points = way.path[2:-2]
        sine = []
        for x, s in zip(0.5 * (points[1:] + points[:-1]), np.diff(points, axis=0), strict=True):
            force = bridge.forces(theta, start.with_positions(x))
            cosine = np.sum(force * s) / (np.linalg.norm(force) * np.linalg.norm(s))
            sine.append(np.sqrt(max(0.0, 1.0 - cosine**2)))
        off.append(np.median(sine))
    assert off[0] < 0.1
    assert off[1] < 0.25 * off[0]


def test_failures_are_named() -> None:
    theta = morse()
    start = rest(theta, landscapes.rigid_clusters(7)[0].positions)
    x = np.asarray(start.positions)
    rng = np.random.default_rng(0)
    together = x.copy()
    together[1] = together[0]
    apart = x + 40.0 * rng.normal(size=x.shape)
    tries = np.stack([x, together, apart, x + 0.2 * rng.normal(size=x.shape)])
    found = landscapes.find_saddles(theta, start, tries, max_steps=60)
    assert len(found) == 4
    assert "searches" in repr(found)
    with pytest.raises(NotASaddleError, match="ended at a minimum"):
        found[0]
    with pytest.raises(NotASaddleError, match="not finite: two particles coincide"):
        found[1]
    with pytest.raises(NotASaddleError, match="the energy is flat along"):
        found[2]
    with pytest.raises(NotASaddleError, match=r"did not end in 1 steps: a force of .* is left"):
        landscapes.find_saddles(theta, start, tries[3:], max_steps=1)[0]
    with pytest.raises(InputError, match=r"starts have shape .* they must be \(B, 7, 3\)"):
        landscapes.find_saddles(theta, start, x)
    with pytest.raises(InputError, match="2 for 4 searches"):
        landscapes.find_saddles([theta, theta], start, tries)
    springs, network = bridge.networks.triangular_network((8, 8))
    with pytest.raises(InputError, match="64 particles: at most 48"):
        landscapes.find_saddles(springs, network)
    assert landscapes.transitions_over(theta, []).found == {}
