"""GSD files to packings and back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import Packing
from amorph.bridge.matter.files import frame_of
from amorph.bridge.minima.relaxing import relaxation
from amorph.handover import (
    FrameError,
    InputError,
    OutputExistsError,
    PotentialMissingError,
    UnknownTypeError,
    write_gsd,
)


@pytest.mark.filterwarnings("ignore:.*bonds have no springs:UserWarning")
def test_round_trip(
    theta2: Any, solid: Packing, spheres3: Any, solid3: Packing, tmp_path: Path
) -> None:
    slanted = Packing(solid.positions, solid.typeid, solid.box @ [[1.0, 0.3], [0.0, 1.0]])
    cluster = Packing.of(solid.positions, solid.typeid, None, bonds=[[0, 1], [3, 2]])
    for k, (theta, packing) in enumerate(
        [(theta2, solid), (spheres3, solid3), (theta2, slanted), (theta2, cluster)]
    ):
        path = tmp_path / f"{k}.gsd"
        bridge.write_gsd(path, [(theta, packing), (theta, packing)])
        frames = list(bridge.read_gsd(path))
        assert len(frames) == 2
        for potential, back in frames:
            wrapped = packing.wrapped()
            np.testing.assert_array_equal(back.positions, wrapped.positions)
            np.testing.assert_array_equal(back.typeid, packing.typeid)
            assert (back.box is None) == (packing.box is None)
            if packing.box is not None:
                np.testing.assert_array_equal(back.box, packing.box)
                images = 0 if back.images is None else back.images @ packing.box.T
                np.testing.assert_allclose(back.positions + images, packing.positions, atol=1e-13)
            assert repr(potential) == repr(theta)
            assert type(potential) is type(theta)
            if packing.bonds is not None:
                np.testing.assert_array_equal(back.bonds, packing.bonds)
        assert len(list(bridge.read_gsd(path, slice(1, None)))) == 1
        with pytest.raises(OutputExistsError):
            bridge.write_gsd(path, [(theta, packing)])
        bridge.write_gsd(path, [(theta, packing)], overwrite=True)
        assert len(list(bridge.read_gsd(path))) == 1


def test_a_minimum_stays_one(theta2: Any, solid: Packing, tmp_path: Path) -> None:
    bridge.write_gsd(tmp_path / "a.gsd", [(theta2, solid)])
    ((theta, back),) = bridge.read_gsd(tmp_path / "a.gsd")
    # Wrapping may round in the last place: still at rest.
    found = relaxation(theta, back)
    assert found.moved < 1e-12
    assert bridge.pressure(theta, found.packing) == pytest.approx(
        bridge.pressure(theta2, solid), rel=1e-10
    )


def test_from_the_engine(theta2: Any, tmp_path: Path) -> None:
    batch = ensemble.quench(theta2, 48, 1.4, 2, 4, seed=3, threads=1)
    batch.write(tmp_path / "quench.gsd")
    for k, (theta, packing) in enumerate(bridge.read_gsd(tmp_path / "quench.gsd")):
        np.testing.assert_array_equal(packing.positions, batch.positions[k])
        assert bridge.energy(theta, packing) == pytest.approx(batch.energy[k], rel=1e-12)
        assert repr(theta) == repr(theta2)


def test_another_potential(theta2: Any, solid: Packing, tmp_path: Path) -> None:
    bridge.write_gsd(tmp_path / "a.gsd", [(theta2, solid)])
    soft = bridge.SoftSphere(diameters=[1.0, 1.0], stiffness=2.0)
    ((theta, _),) = bridge.read_gsd(tmp_path / "a.gsd", theta=soft)
    assert theta is soft
    few = bridge.SoftSphere(diameters=[1.0], stiffness=2.0)
    with pytest.raises((UnknownTypeError, FrameError, InputError)):
        list(bridge.read_gsd(tmp_path / "a.gsd", theta=few))


def test_a_frame_without_potential(theta2: Any, solid: Packing, tmp_path: Path) -> None:
    from dataclasses import replace

    frame = replace(frame_of(theta2, solid), potential=None, parameters={})
    write_gsd(tmp_path / "bare.gsd", [frame])
    with pytest.raises(PotentialMissingError, match="no potential"):
        list(bridge.read_gsd(tmp_path / "bare.gsd"))
    ((theta, packing),) = bridge.read_gsd(tmp_path / "bare.gsd", theta=theta2)
    assert theta is theta2
    assert bridge.energy(theta, packing) == pytest.approx(bridge.energy(theta2, solid), rel=1e-12)


def test_bonds_without_springs_are_told(tmp_path: Path) -> None:
    soft = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
    packing = bridge.Packing.of([[0.0, 0.0], [0.9, 0.0]], [0, 0], 4 * np.eye(2), [[0, 1]])
    bridge.write_gsd(tmp_path / "a.gsd", [(soft, packing), (soft, packing)])
    with pytest.warns(UserWarning, match="its 1 bonds have no springs") as caught:
        assert len(list(bridge.read_gsd(tmp_path / "a.gsd"))) == 2
    assert len(caught) == 1
    springs = bridge.PairsAndSprings(soft, bridge.Springs([1.0], [0.9]))
    ((theta, _),) = list(bridge.read_gsd(tmp_path / "a.gsd", slice(1), theta=springs))
    assert theta is springs
