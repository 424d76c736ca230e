"""Networks of springs, alone and beside a pair potential."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import Packing
from amorph.bridge.minima.relaxing import relaxation
from amorph.handover import BoxTooSmallError, InputError

FEATURES = ["poisson_ratio", "bulk_modulus", "shear_modulus", "pressure", "frequencies_5"]


def network(theta: Any, packing: Packing, stretch: float, seed: int) -> tuple[Any, Packing]:
    """The contact network of a packing: springs nearly as long as the contacts."""
    found = bridge.bond_contributions(theta, packing)
    close = np.argsort(np.sqrt((found.vector**2).sum(axis=1)))[: int(2.6 * packing.n_particles)]
    rng = np.random.default_rng(seed)
    length = np.sqrt((found.vector[close] ** 2).sum(axis=1))
    springs = bridge.Springs(
        rng.uniform(0.5, 2.0, len(close)),
        length * rng.uniform(1 - stretch, 1 + stretch, len(close)),
    )
    bonded = Packing.of(packing.positions, packing.typeid, packing.box, found.pairs[close])
    return springs, bonded


@pytest.fixture(scope="module", params=["springs", "pairs and springs", "space"])
def bonded(
    request: Any, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing
) -> tuple[Any, Packing]:
    if request.param == "space":
        theta, packing = spheres3, solid3
        found = bridge.bond_contributions(theta, packing)
        length = np.sqrt((found.vector**2).sum(axis=1))
        rng = np.random.default_rng(1)
        springs = bridge.Springs(
            rng.uniform(1, 2, len(length)), length * rng.uniform(0.98, 1.02, len(length))
        )
        bonded = Packing.of(packing.positions, packing.typeid, packing.box, found.pairs)
        return springs, bridge.relax(springs, bonded)
    springs, packing = network(theta2, solid, 0.01, 3)
    both = springs if request.param == "springs" else bridge.PairsAndSprings(theta2, springs)
    return both, bridge.relax(both, packing)


def test_energy_by_hand(bonded: tuple[Any, Packing]) -> None:
    theta, packing = bonded
    springs = theta.springs
    i, j = packing.bonds.T
    vector = packing.positions[j] - packing.positions[i]
    vector -= np.round(vector / np.diag(packing.box)) * np.diag(packing.box)
    r = np.sqrt((vector**2).sum(axis=1))
    k, rest = (np.asarray(v) for v in springs.arrays().values())
    energy = 0.5 * np.sum(k * (r - rest) ** 2)
    if theta.near is not None:
        energy += bridge.energy(theta.near, packing)
    assert bridge.energy(theta, packing) == pytest.approx(energy, rel=1e-12)
    # Derivatives of the energy, by differences.
    rng = np.random.default_rng(0)
    moved = packing.positions + 0.01 * rng.standard_normal(packing.positions.shape)
    shaken = packing.with_positions(moved)
    along = rng.standard_normal(moved.shape)
    h = 1e-6
    ends = [shaken.with_positions(moved + s * h * along) for s in (1, -1)]
    slope = (bridge.energy(theta, ends[0]) - bridge.energy(theta, ends[1])) / (2 * h)
    assert slope == pytest.approx(-np.vdot(bridge.forces(theta, shaken), along), rel=1e-6)
    bent = -(bridge.forces(theta, ends[0]) - bridge.forces(theta, ends[1])) / (2 * h)
    hessian = bridge.hessian(theta, shaken)
    assert np.median(np.abs((hessian @ along.ravel()).reshape(moved.shape) - bent)) < 1e-7


def differences(theta: Any, packing: Packing, change: Callable[[float], Any], h: float) -> Any:
    ends = []
    for sign in (1, -1):
        there = change(sign * h)
        found = bridge.measure(there, bridge.relax(there, packing), FEATURES).values
        ends.append(np.concatenate([np.ravel(found[f]) for f in FEATURES]))
    return (ends[0] - ends[1]) / (2 * h)


@pytest.mark.parametrize("parameter", ["stiffness", "length"])
def test_jacobian_by_bond(parameter: str, bonded: tuple[Any, Packing]) -> None:
    theta, packing = bonded
    name = parameter if theta.near is None else f"springs.{parameter}"
    values = theta.arrays()[name]
    v = np.random.default_rng(2).standard_normal(len(values))

    def change(g: float) -> Any:
        return theta.replace(**{name: values + g * v})

    # Springs alone are smooth: a longer step leaves less round-off.
    step = 1e-4 if theta.near is None else 2e-6
    wide, narrow = (differences(theta, packing, change, h) for h in (2 * step, step))
    expected = (4 * narrow - wide) / 3
    found = bridge.jacobian(theta, packing, FEATURES, name)
    assert found.matrix.shape[1] == len(values) == len(packing.bonds)
    for feature, rows in found.row_slices.items():
        scale = np.abs(expected[rows]).max()
        off = np.abs(found.matrix[rows] @ v - expected[rows]).max()
        # Beside a pair potential a pair may cross a break within the stencil: two steps tell.
        if np.abs(wide - narrow)[rows].max() < 1e-6 * scale or theta.near is None:
            assert off < 1e-6 * scale, feature
    bond = bridge.jacobian(theta, packing, FEATURES, f"{name}/bond")
    np.testing.assert_array_equal(bond.matrix, found.matrix)
    gradient = bridge.value_and_grad("pressure")(theta, packing)[1]
    np.testing.assert_allclose(
        gradient.arrays()[name], found.block("pressure", name), rtol=1e-9, atol=1e-14
    )


def test_second_order(theta2: Any, solid: Packing) -> None:
    theta, packing = network(theta2, solid, 0.01, 3)
    packing = bridge.relax(theta, packing)
    v = np.random.default_rng(4).standard_normal(len(packing.bonds))
    features = ["poisson_ratio", "pressure"]
    found = bridge.second_order(theta, packing, features, {"stiffness": v})
    ends = []
    for h in (1e-5, -1e-5):
        there = theta.replace(stiffness=theta.stiffness + h * v)
        ends.append(bridge.jacobian(there, bridge.relax(there, packing), features, "stiffness"))
    bent = (ends[0].matrix - ends[1].matrix) @ v / 2e-5
    for name, expected in zip(features, bent, strict=True):
        assert found.curvatures[name] == pytest.approx(expected, rel=1e-6)


def test_contributions_sum_up(bonded: tuple[Any, Packing]) -> None:
    theta, packing = bonded
    found = bridge.bond_contributions(theta, packing)
    assert found.bulk.sum() == pytest.approx(bridge.bulk_modulus(theta, packing), rel=1e-10)
    assert found.shear.sum() == pytest.approx(bridge.shear_modulus(theta, packing), rel=1e-10)
    if theta.near is None:
        np.testing.assert_array_equal(found.pairs, packing.bonds)


def test_triangular_network() -> None:
    """Unstressed: λ = μ = √3 k / 4, ν = 1/3, in closed form."""
    side = 6
    cell = np.array([[0.0, 0.0], [0.5, np.sqrt(3) / 2]])
    at = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).reshape(-1, 2)
    x = (at[:, None] * [1.0, np.sqrt(3)] + cell).reshape(-1, 2)
    box = np.diag([side, np.sqrt(3) * side])
    bonds = ensemble.Bonds.within(x, box, 1.1, 1.0)
    lattice = Packing.of(x, np.zeros(len(x), dtype=int), box, bonds.pairs)
    k = 1.7
    springs = bridge.Springs(np.full(len(lattice.bonds), k), np.ones(len(lattice.bonds)))
    found = bridge.measure(springs, lattice, ["elastic_tensor", "poisson_ratio"]).values
    lame = np.sqrt(3) * k / 4
    c = found["elastic_tensor"]
    assert c[0, 0, 0, 0] == pytest.approx(3 * lame, rel=1e-12)
    assert c[0, 0, 1, 1] == pytest.approx(lame, rel=1e-12)
    assert c[0, 1, 0, 1] == pytest.approx(lame, rel=1e-12)
    assert found["poisson_ratio"] == pytest.approx(1 / 3, rel=1e-12)
    # A bond that is cut is one of stiffness 0.
    cut = springs.replace(stiffness=np.where(np.arange(len(lattice.bonds)) == 4, 0.0, k))
    kept = np.arange(len(lattice.bonds)) != 4
    fewer = Packing.of(x, lattice.typeid, box, lattice.bonds[kept])
    rest = bridge.Springs(np.full(kept.sum(), k), np.ones(kept.sum()))
    assert bridge.poisson_ratio(cut, lattice) == pytest.approx(
        bridge.poisson_ratio(rest, fewer), rel=1e-12
    )


def test_files(bonded: tuple[Any, Packing], tmp_path: Path) -> None:
    theta, packing = bonded
    bridge.write_gsd(tmp_path / "network.gsd", [(theta, packing.wrapped())])
    ((again, read),) = bridge.read_gsd(tmp_path / "network.gsd")
    assert type(again) is type(theta)
    for name, values in theta.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], values)
    np.testing.assert_array_equal(read.bonds, packing.bonds)
    nu = bridge.poisson_ratio(again, bridge.relax(again, read))
    assert nu == pytest.approx(bridge.poisson_ratio(theta, packing), rel=1e-9)


def test_what_the_engine_prepared(tmp_path: Path) -> None:
    """A network relaxed by the engine is at rest here too, with its own springs."""
    packed = ensemble.quench(
        bridge.SoftSphere(diameters=[1.4], stiffness=1.0), 60, 60 / 81, 2, 1, seed=3, threads=1
    )
    x = packed.positions[0]
    bonds = ensemble.Bonds.within(x, packed.boxes[0], 1.6, 1.0, 1.1)
    stages = [ensemble.Minimize(tolerance=1e-11)]
    types = np.zeros(60, dtype=np.int32)
    batch = ensemble.prepare(None, x[None], types, packed.boxes[0], stages, bonds=bonds)
    batch.write(tmp_path / "engine.gsd")
    ((springs, packing),) = bridge.read_gsd(tmp_path / "engine.gsd")
    assert isinstance(springs, bridge.Springs)
    assert bridge.energy(springs, packing) == pytest.approx(float(batch.energy[0]), rel=1e-10)
    found = relaxation(springs, packing)
    assert found.moved < 1e-8


def test_named_failures(solid: Packing, theta2: Any) -> None:
    springs, bonded = network(theta2, solid, 0.01, 3)
    with pytest.raises(InputError, match="0 bonds"):
        bridge.relax(springs, solid)
    with pytest.raises(InputError, match="stiffness"):
        bridge.Springs([1.0, -1.0], [1.0, 1.0])
    with pytest.raises(InputError, match="every stiffness is 0"):
        bridge.Springs([0.0, 0.0], [1.0, 1.0])
    with pytest.raises(InputError, match="a value for each bond"):
        bridge.Springs([1.0], [1.0, 1.0])
    far = Packing.of(bonded.positions, bonded.typeid, bonded.box, [[0, 1]])
    length = float(bonded.box[0, 0])
    apart = far.with_positions(
        np.where(np.arange(48)[:, None] == 1, bonded.positions[0] + 0.499 * length,
                 bonded.positions)
    )  # fmt: skip
    with pytest.raises(BoxTooSmallError):
        bridge.energy(bridge.Springs([1.0], [1.0]), apart)
    with pytest.raises(bridge.errors.FeatureError, match="springs have none"):
        bridge.feature("psi_8")(springs, bridge.relax(springs, bonded))


def test_a_dangling_node(theta2: Any, solid: Packing) -> None:
    """A node on one bond, and one on none, are rattlers; the rest answers."""
    springs, bonded = network(theta2, solid, 0.01, 3)
    keep = np.ones(len(bonded.bonds), dtype=bool)
    for node, left in ((0, 1), (1, 0)):
        own = np.flatnonzero((bonded.bonds == node).any(axis=1))
        keep[own[left:]] = False
    cut = springs.replace(stiffness=np.where(keep, springs.stiffness, 0.0))
    found = relaxation(cut, bonded)
    assert found.response.rattlers[:2].all()
    fewer = Packing.of(bonded.positions, bonded.typeid, bonded.box, bonded.bonds[keep])
    kept = bridge.Springs(springs.stiffness[keep], springs.length[keep])
    same = bridge.relax(kept, fewer)
    assert bridge.poisson_ratio(cut, found.packing) == pytest.approx(
        bridge.poisson_ratio(kept, same), rel=1e-8
    )


def test_bonded_and_touching_is_one_contact(spheres3: Any, solid3: Packing) -> None:
    alone = bridge.contacts(spheres3, solid3)
    some = alone.pairs[::7][:, ::-1]  # written the other way round
    vector = solid3.positions[some[:, 1]] - solid3.positions[some[:, 0]]
    vector -= np.round(vector / np.diag(solid3.box)) * np.diag(solid3.box)
    springs = bridge.Springs(np.ones(len(some)), np.sqrt((vector**2).sum(axis=1)))
    both = bridge.PairsAndSprings(spheres3, springs)
    packing = Packing.of(solid3.positions, solid3.typeid, solid3.box, some)
    found = bridge.contacts(both, packing)
    assert found.n_contacts == alone.n_contacts
    assert (found.pairs[:, 0] < found.pairs[:, 1]).all()
    assert bridge.feature("coordination")(both, packing) == pytest.approx(alone.mean)
