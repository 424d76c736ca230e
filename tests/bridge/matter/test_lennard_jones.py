"""Lennard-Jones, WCA and Hertz against LAMMPS, matscipy and by finite differences."""

import itertools
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge.matter.lennard_jones import LennardJonesForceShifted, LennardJonesShifted

N = 216
SIDE = (N / 1.2) ** (1 / 3)


def disturbed() -> bridge.Packing:
    """216 particles of the Kob-Andersen mixture on a simple cubic lattice, displaced."""
    k = np.arange(N)
    cell = np.stack([k // 36, (k // 6) % 6, k % 6], axis=1)
    x = (cell + 0.5) * SIDE / 6 + 0.1 * np.sin(
        np.array([1.3, 2.7, 3.1]) * k[:, None] + np.arange(3)
    )
    return bridge.Packing.of(x, np.where(k % 5 == 4, 1, 0), SIDE * np.eye(3))


# LAMMPS 20250722, lj/cut, of the same positions: energy a particle without and with pair_modify
# shift, the pressure's components xx, yy, zz, xy, xz, yz, the forces on particles 0 and 100.
ENERGY = {"lennard_jones": 29.206690100391967, "lennard_jones_shifted": 29.764825980754527}
PRESSURE = [
    183.8135532754974, 192.63664056290398, 215.13614873186214,
    -1.0285268669261327, -4.104003948697059, 0.6297925726809486,
]  # fmt: skip
FORCES = [
    [-22.05948193, -1152.05330327, -1135.06269454],
    [10.34598507, -1191.2741649, 16.22501722],
]


@pytest.mark.parametrize("kind", [bridge.LennardJones, LennardJonesShifted])
def test_against_lammps(kind: type[bridge.LennardJones]) -> None:
    theta, packing = kind.kob_andersen(), disturbed()
    assert bridge.energy(theta, packing) / N == pytest.approx(ENERGY[theta.potential], rel=1e-11)
    xx, yy, zz, xy, xz, yz = PRESSURE
    expected = -np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    np.testing.assert_allclose(bridge.stress(theta, packing), expected, rtol=1e-11)
    forces = bridge.forces(theta, packing)
    np.testing.assert_allclose(forces[[0, 100]], FORCES, rtol=1e-9)


def test_a_glass_against_matscipy() -> None:
    """The Kob-Andersen mixture at rest: energy, Hessian and elastic constants."""
    ase = pytest.importorskip("ase")
    theirs = pytest.importorskip("matscipy.calculators.pair_potential")
    theta = LennardJonesForceShifted.kob_andersen()
    packing = bridge.relax(theta, disturbed()).wrapped()
    pair = theta.of_types()
    atoms = ase.Atoms(
        numbers=packing.typeid + 1, positions=packing.positions, cell=packing.box.T, pbc=True
    )
    atoms.calc = theirs.PairPotential(
        {
            (a + 1, b + 1): theirs.LennardJonesLinear(
                pair["epsilon"][a, b], pair["sigma"][a, b], pair["r_cut"][a, b]
            )
            for a, b in itertools.combinations_with_replacement(range(2), 2)
        }
    )
    assert atoms.get_potential_energy() == pytest.approx(bridge.energy(theta, packing), rel=1e-12)
    hessian = atoms.calc.get_property("hessian", atoms).toarray()
    np.testing.assert_allclose(
        bridge.hessian(theta, packing), hessian, atol=1e-12 * np.abs(hessian).max()
    )
    tight = {"x0": None, "rtol": 1e-12, "maxiter": None, "M": None, "atol": 1e-12, "callback": None}
    expected = atoms.calc.get_elastic_constants(atoms, cg_parameters=tight)
    tangent = bridge.tangent_stiffness(
        bridge.elastic_tensor(theta, packing), bridge.stress(theta, packing)
    )
    birch = 0.5 * (tangent + tangent.transpose(0, 1, 3, 2))
    assert np.abs(birch - expected).max() < 1e-8 * np.abs(birch).max()


@pytest.mark.parametrize(
    ("theta", "r", "u", "slope"),
    [
        # 0.4 ε (1/2)^(5/2), -(ε/σ) (1/2)^(3/2)
        (bridge.Hertz([2.0], 3.0), 1.0, 1.2 / 32**0.5, -1.5 / 8**0.5),
        (bridge.Hertz([2.0], 3.0), 2.0, 0.0, 0.0),
        (bridge.WCA([2.0], 3.0), 2.0, 3.0, -36.0),  # ε, -24 ε/σ at r = σ
        (bridge.WCA([2.0], 3.0), 2.0 * 2 ** (1 / 6), 0.0, 0.0),
        (bridge.WCA([2.0], 3.0), 1.0, 4 * 3.0 * 4032 + 3.0, -24 * 3.0 * (2 * 4096 - 64)),
    ],
)
def test_values_by_hand(theta: bridge.PairPotential, r: float, u: float, slope: float) -> None:
    packing = bridge.Packing.of([[0.0, 0.0], [r, 0.0]], [0, 0])
    assert bridge.energy(theta, packing) == pytest.approx(u, rel=1e-13, abs=1e-13)
    assert bridge.forces(theta, packing)[0, 0] == pytest.approx(slope, rel=1e-13, abs=1e-13)


CLUSTER = np.array([[0.0, 0.0], [1.05, 0.1], [0.5, 0.93], [1.6, 1.0], [0.9, 1.95], [2.2, 0.15]])


@pytest.mark.parametrize(
    "theta",
    [
        bridge.LennardJones([0.9, 1.1], epsilon=[1.0, 1.5, 0.5], r_cut=2.5),
        LennardJonesShifted(sigma=[1.0, 0.8, 0.9], epsilon=[1.0, 1.5, 0.5], r_cut=2.5),
        LennardJonesForceShifted([0.9, 1.1], epsilon=1.0, r_cut=[2.0, 2.2, 2.5]),
        bridge.WCA([0.9, 1.1], epsilon=[1.0, 1.5, 0.5]),
        bridge.Hertz([1.3, 1.5], epsilon=[1.0, 1.5, 0.5]),
    ],
    ids=lambda t: t.potential,
)
def test_forces_and_hessian_are_derivatives(theta: bridge.PairPotential) -> None:
    packing = bridge.Packing.of(CLUSTER, [0, 1, 0, 1, 1, 0])

    def moved(k: int, by: float) -> bridge.Packing:
        x = CLUSTER.ravel().copy()
        x[k] += by
        return packing.with_positions(x.reshape(-1, 2))

    def difference(function: Any, k: int) -> Any:
        h = 1e-4
        far, near = (
            (function(theta, moved(k, s)) - function(theta, moved(k, -s))) / (2 * s)
            for s in (2 * h, h)
        )
        return (4 * near - far) / 3

    forces = bridge.forces(theta, packing).ravel()
    found = [difference(bridge.energy, k) for k in range(12)]
    np.testing.assert_allclose(forces, -np.array(found), rtol=0, atol=1e-9 * np.abs(forces).max())
    hessian = bridge.hessian(theta, packing)
    found = [difference(bridge.forces, k).ravel() for k in range(12)]
    np.testing.assert_allclose(hessian, -np.array(found), rtol=0, atol=1e-9 * np.abs(hessian).max())
