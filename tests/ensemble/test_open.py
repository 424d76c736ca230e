"""Open boundaries: clusters of a few particles."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.handover import InputError, read_gsd

# Seven spheres with sticky contacts, each its own kind, as in Goodrich et al., PNAS 118 (2021).
MORSE = bridge.Morse(diameters=np.ones(7), binding=1.0, alpha=15.0)


def starts(replicas: int, seed: int = 3) -> Any:
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.9, 0.9, (replicas, 7, 3))


def test_clusters_of_seven_sticky_spheres_are_the_known_ones() -> None:
    # A long reach brings them together, a short one sticks.
    near = bridge.Morse(diameters=np.ones(7), binding=1.0, alpha=4.0)
    first = ensemble.minimize(near, starts(300), np.arange(7), None, tolerance=1e-6)
    rng = np.random.default_rng(8)
    shaken = first.positions + 0.15 * rng.standard_normal(first.positions.shape)
    done = ensemble.minimize(MORSE, shaken, np.arange(7), None, tolerance=1e-9)
    assert done.converged.all()
    r = np.linalg.norm(done.positions[:, :, None] - done.positions[:, None], axis=3)
    contacts = (np.triu(r < 1.2, 1)).sum(axis=(1, 2))
    # Rigid clusters of seven hard sticky spheres have 15 contacts (Arkus et al., Phys. Rev. Lett.
    # 103, 118303 (2009)): the energy is about -15. The lowest is the pentagonal bipyramid, whose
    # sixteenth pair, that of the poles, is 1.0515 apart before the others give way to it.
    rigid = contacts >= 15
    assert rigid.sum() > 20
    assert done.energy[contacts == 15] == pytest.approx(-15.0, abs=0.2)
    polar = np.exp(-15 * (np.sqrt(2 - 2 / np.sqrt(5)) - 1))
    assert -16 < done.energy.min() < -15 + polar * (polar - 2)
    # At least three different ones were met, told apart by their numbers of contacts a particle.
    degrees = np.sort((r < 1.2).sum(axis=2) - 1, axis=1)[rigid]
    assert len(np.unique(degrees, axis=0)) >= 3


def test_translations_change_nothing() -> None:
    x = starts(5)
    shift = np.array([13.0, -250.0, 1000.0])
    one = ensemble.forces(MORSE, x, np.arange(7), 40.0 * np.eye(3))
    here = ensemble.minimize(MORSE, x, np.arange(7), None, max_steps=1)
    there = ensemble.minimize(MORSE, x + shift, np.arange(7), None, max_steps=1)
    assert there.energy == pytest.approx(here.energy, rel=1e-9)
    # A box without images in reach is as good as none.
    boxed = ensemble.minimize(MORSE, x, np.arange(7), 40.0 * np.eye(3), max_steps=1)
    np.testing.assert_array_equal(boxed.energy, here.energy)
    assert np.isfinite(one.energy).all()


def test_what_needs_a_box_says_so(tmp_path: Path) -> None:
    x = starts(2)
    done = ensemble.minimize(MORSE, x, np.arange(7), None)
    assert done.boxes is None
    assert done.stress is None
    with pytest.raises(InputError, match="no pressure"):
        _ = done.pressure
    assert "pressure" not in done.table()
    for stage in (ensemble.Minimize(pressure=0.1), ensemble.Compress(density=1.0)):
        with pytest.raises(InputError, match="open boundaries"):
            ensemble.prepare(MORSE, x, np.arange(7), None, [stage])
    done.write(tmp_path / "clusters.gsd")
    frames = list(read_gsd(tmp_path / "clusters.gsd"))
    assert all(frame.box is None for frame in frames)
    np.testing.assert_array_equal(frames[1].positions, done.positions[1])


def test_brownian_clusters_stay_together_when_cold() -> None:
    done = ensemble.minimize(MORSE, starts(20), np.arange(7), None, tolerance=1e-9)
    moved = ensemble.prepare(
        MORSE,
        done.positions,
        np.arange(7),
        None,
        [ensemble.Brownian(2000, 1e-4, 0.05)],
        seed=1,
        trajectory_every=2000,
    )
    assert moved.ok.all()
    # The noise moved them, the bonds held: the energy is the minimum's and a few T.
    assert (np.abs(moved.positions - done.positions).max(axis=(1, 2)) > 1e-3).all()
    assert (moved.energy < done.energy + 30 * 0.05).all()


THREE = bridge.HarmonicMorse(diameters=[1.0], binding=0.1, stiffness=5.0, alpha=6.0)


def test_clusters_begin_without_a_box(morse: Any) -> None:
    start = ensemble.make_start(morse, 12, None, 3, 4, seed=5)
    assert start.boxes is None
    assert np.abs(start.positions).max() <= 0.5 * 12 ** (1 / 3)
    # Three sticky discs: in the lowest of their minima each touches both others.
    found = ensemble.quench(THREE, 3, None, 2, 40, seed=2)
    assert found.boxes is None
    assert found.converged.all()
    assert found.energy.min() == pytest.approx(-0.3, abs=1e-12)
    assert found.energy.min() == pytest.approx(found.energy[found.energy < -0.25].max(), abs=1e-9)
    again = ensemble.quench(THREE, 3, None, 2, 10, seed=2, first_replica=30)
    np.testing.assert_array_equal(again.positions, found.positions[30:])
    for refused in (
        lambda: ensemble.quench(THREE, 3, None, 2, pressure=0.1),
        lambda: ensemble.make_start(morse, 9, None, 2, 1, 0, start="square"),
    ):
        with pytest.raises(InputError, match=r"open boundaries|needs a density"):
            refused()
