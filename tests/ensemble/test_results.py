"""What an ensemble tells of itself: its packings, density, packing fraction, and its lines."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amorph import ensemble
from amorph.ensemble import Bonds, Minimize
from amorph.handover import Frame, InputError, read_gsd


@pytest.fixture(scope="module")
def pressed(theta_of: Callable[..., Any]) -> ensemble.Ensemble:
    """Three replicas at a pressure: boxes and the order of types are each one's own."""
    theta = theta_of("soft_sphere", [0.8, 1.1])
    return ensemble.quench(
        theta, 12, 1.2, 2, 3, seed=4, pressure=0.2, composition=[1, 2], order="random", threads=1
    )


def test_density_and_packing_fraction_are_those_of_each_box(pressed: ensemble.Ensemble) -> None:
    assert pressed.boxes is not None
    areas = [box[0, 0] * box[1, 1] for box in pressed.boxes]
    assert len(set(areas)) == 3
    assert np.allclose(pressed.density, [12 / area for area in areas], rtol=1e-14)
    discs = np.pi * (4 * 0.4**2 + 8 * 0.55**2)  # four of the small, eight of the large
    assert np.allclose(pressed.packing_fraction, [discs / area for area in areas], rtol=1e-14)
    table = pressed.table()
    assert np.array_equal(table["density"], pressed.density)
    assert np.array_equal(table["packing_fraction"], pressed.packing_fraction)


def test_spheres_fill_a_box_for_all_replicas(theta_of: Callable[..., Any]) -> None:
    theta = theta_of("soft_sphere", [1.0])
    found = ensemble.quench(theta, 32, 1.3, 3, 2, seed=1, start="fcc", threads=1)
    assert np.allclose(found.density, 1.3, rtol=1e-14)
    assert np.allclose(found.packing_fraction, 1.3 * np.pi / 6, rtol=1e-14)


def test_parameters_of_each_replica_count(theta_of: Callable[..., Any]) -> None:
    thetas = [theta_of("soft_sphere", [d]) for d in (0.5, 0.7)]
    x, box = ensemble.lattice("square", 16, 1.0)
    found = ensemble.minimize(thetas, np.stack([x, x]), np.zeros(16, dtype=int), box)
    assert np.allclose(found.packing_fraction, np.pi / 4 * np.array([0.5, 0.7]) ** 2, rtol=1e-14)


def test_its_packings_are_the_frames_of_its_file(pressed: ensemble.Ensemble, tmp_path: Any) -> None:
    pressed.write(tmp_path / "pressed.gsd")
    written = list(read_gsd(tmp_path / "pressed.gsd"))
    assert len(pressed.packings) == len(written) == 3
    for k, (packing, there) in enumerate(zip(pressed.packings, written, strict=True)):
        assert isinstance(packing, Frame)
        assert int(packing.log["replica"][0]) == k
        assert np.array_equal(packing.positions, pressed.positions[k])
        for name in ("positions", "typeid", "box"):
            assert np.array_equal(getattr(packing, name), getattr(there, name))


def test_the_bridge_takes_them(pressed: ensemble.Ensemble) -> None:
    bridge = pytest.importorskip("amorph.bridge")
    for given in (pressed, pressed.packings, iter(pressed.packings)):
        found = list(bridge.packings_of(given))
        assert len(found) == 3
        for k, (theta, packing) in enumerate(found):
            assert np.array_equal(packing.positions, pressed.positions[k])
            assert np.array_equal(packing.typeid, pressed.typeid[k])
            assert packing.density == pytest.approx(pressed.density[k], rel=1e-14)
            assert bridge.energy(theta, packing) == pytest.approx(pressed.energy[k], rel=1e-12)
    for wrong in (None, 3, [pressed], "pressed.gsd", [None]):
        with pytest.raises(InputError, match="an Ensemble, or frames"):
            list(bridge.packings_of(wrong))


def test_open_boundaries_and_springs_alone_have_none(theta_of: Callable[..., Any]) -> None:
    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.8]])
    bonds = Bonds([[0, 1], [1, 2], [0, 2]], 1.0, 1.0)
    network = ensemble.prepare(None, x, [0, 0, 0], np.eye(2) * 9, [Minimize()], bonds=bonds)
    assert np.allclose(network.density, 3 / 81)
    with pytest.raises(InputError, match="no diameters"):
        _ = network.packing_fraction
    cluster = ensemble.prepare(None, x, [0, 0, 0], None, [Minimize()], bonds=bonds)
    for name in ("density", "packing_fraction"):
        with pytest.raises(InputError, match="open boundaries"):
            getattr(cluster, name)
    assert "open space" in repr(cluster)
    assert "springs        3 a replica" in repr(network)


def test_it_shows_what_a_reader_wants_first(
    pressed: ensemble.Ensemble, theta_of: Callable[..., Any]
) -> None:
    lines = repr(pressed).splitlines()
    assert lines[0] == "Ensemble of 3 replicas of 12 particles in 2 dimensions"
    assert len(lines) < 12
    named = dict(line.split(maxsplit=1) for line in lines[1:])
    assert named["ended"] == "3 converged"
    assert named["potential"] == "soft_sphere(diameters=[0.8, 1.1], stiffness=2)"
    low, high = pressed.density.min(), pressed.density.max()
    assert named["density"] == f"{low:.6g} to {high:.6g}"
    assert "packing fraction" in repr(pressed)
    theta = theta_of("soft_sphere", [0.8, 1.1])
    result = ensemble.forces(theta, pressed.positions, pressed.typeid, pressed.boxes, threads=1)
    assert repr(result).startswith("ForceResult of 3 replicas of 12 particles in 2 dimensions")
