"""A network in HOOMD-blue: its harmonic bonds give the same energy and forces."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import networks

from .conftest import KINDS

hoomd = pytest.importorskip("hoomd", reason="HOOMD-blue is not there")


@pytest.mark.parametrize("kind", ["uneven", "space"])
def test_harmonic_bonds(kind: str, tmp_path: Any) -> None:
    """Of the file that is written, its nodes moved from rest; a bond type for each bond."""
    springs, packing = KINDS[kind]()
    k = np.asarray(springs.stiffness).copy()
    k[::9] = 0.0
    theta, left = networks.without_cut(springs.replace(stiffness=k), packing)
    moved = np.random.default_rng(1).uniform(-0.05, 0.05, left.positions.shape)
    moved = (np.asarray(left.positions) + moved).astype(np.float32).astype(np.float64)
    left = left.with_positions(moved).wrapped()
    path = tmp_path / "network.gsd"
    bridge.write_gsd(path, [(theta, left)])
    ((theta, left),) = bridge.read_gsd(path)
    snapshot = hoomd.Snapshot()
    d, box = left.dimension, np.asarray(left.box)
    lengths = [*np.diag(box), *([0.0] if d == 2 else [])]
    snapshot.configuration.box = [*lengths, 0, 0, 0]
    snapshot.particles.N = left.n_particles
    snapshot.particles.types = ["A"]
    snapshot.particles.position[:, :d] = left.positions
    snapshot.bonds.N = theta.n_bonds
    snapshot.bonds.types = [str(e) for e in range(theta.n_bonds)]
    snapshot.bonds.group[:] = left.bonds
    snapshot.bonds.typeid[:] = np.arange(theta.n_bonds)
    simulation = hoomd.Simulation(device=hoomd.device.CPU(), seed=1)
    simulation.create_state_from_snapshot(snapshot)
    harmonic = hoomd.md.bond.Harmonic()
    for e, (stiffness, length) in enumerate(zip(theta.stiffness, theta.length, strict=True)):
        harmonic.params[str(e)] = {"k": float(stiffness), "r0": float(length)}
    simulation.operations.integrator = hoomd.md.Integrator(dt=0.0, forces=[harmonic])
    simulation.run(0)
    seen = simulation.state.get_snapshot().particles.position[:, :d].astype(np.float64)
    here = left.with_positions(seen)
    energy = bridge.energy(theta, here)
    assert energy > 0.01
    assert harmonic.energy == pytest.approx(energy, rel=1e-6)
    force = np.asarray(bridge.forces(theta, here))
    assert np.abs(harmonic.forces[:, :d] - force).max() < 1e-5 * np.abs(force).max()
