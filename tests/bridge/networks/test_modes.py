"""Displacements, modes and bonds under load, against dense algebra and finite strains."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import networks
from amorph.bridge.errors import FeatureError
from amorph.bridge.networks.loads import between_plates
from amorph.handover import InputError

from .conftest import KINDS, vectors


def small() -> Any:
    return networks.triangular_network((6, 7), seed=3, open_edges=True)


@pytest.mark.parametrize("axis", [0, 1])
def test_linear_response_is_that_of_small_strains(axis: int) -> None:
    """A network whose plates are moved a little and that comes to rest: ν, and where nodes go."""
    springs, packing = small()
    edges = networks.edge_nodes(packing)
    load = between_plates(packing, axis, edges)
    response = networks.NetworkResponse(springs, packing, load)
    found = response.displacement(0)
    # Plates of fixed nodes would hold them across too: so they slide on rods along the plates.
    ends = []
    for sign in (1, -1):
        strain = sign * 1e-4
        x = np.asarray(packing.positions).copy()
        high = edges["right" if axis == 0 else "top"]
        x[high, axis] += strain * load.carried[0, high, axis]
        ends.append(_at_rest(springs, packing, x, load.held) - np.asarray(packing.positions))
    slope = (ends[0] - ends[1]) / 2e-4
    assert np.abs(slope - found).max() < 1e-6 * np.abs(found).max()
    other = ("bottom", "top") if axis == 0 else ("left", "right")
    across = 1 - axis
    apart = np.asarray(packing.positions)[edges[other[1]], across].mean()
    apart -= np.asarray(packing.positions)[edges[other[0]], across].mean()
    widened = slope[edges[other[1]], across].mean() - slope[edges[other[0]], across].mean()
    assert response.response[0, 1] == pytest.approx(-widened / apart, rel=1e-6)


def _at_rest(springs: Any, packing: Any, x: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Positions without force on what is free, by Newton's method with dense algebra."""
    bonds = np.asarray(packing.bonds)
    k, length = np.asarray(springs.stiffness), np.asarray(springs.length)
    free = ~held.ravel()
    for _ in range(20):
        vector = x[bonds[:, 1]] - x[bonds[:, 0]]
        r = np.linalg.norm(vector, axis=1)
        unit = vector / r[:, None]
        force = np.zeros_like(x)
        np.add.at(force, bonds[:, 0], (k * (r - length))[:, None] * unit)
        np.add.at(force, bonds[:, 1], -(k * (r - length))[:, None] * unit)
        hessian = np.zeros((len(x), 2, len(x), 2))
        outer = np.einsum("ma,mb->mab", unit, unit)
        block = k[:, None, None] * outer
        block += (k * (1 - length / r))[:, None, None] * (np.eye(2) - outer)
        for (i, j), b in zip(bonds, block, strict=True):
            hessian[i, :, i] += b
            hessian[j, :, j] += b
            hessian[i, :, j] -= b
            hessian[j, :, i] -= b
        matrix = hessian.reshape(x.size, x.size)[np.ix_(free, free)]
        x.ravel()[free] += np.linalg.solve(matrix, force.ravel()[free])
    assert np.abs(force.ravel()[free]).max() < 1e-13
    return x


def test_finite_strains_of_a_periodic_network() -> None:
    """ν of linear response equals that of a box that is strained and comes to rest."""
    springs, packing = networks.triangular_network((8, 8), seed=2)
    pruning = networks.Pruning(springs, packing, {"poisson_ratio": -0.4})
    pruned = networks.prune_greedily(pruning)
    theta, network = networks.without_cut(*pruned.network)
    tensor = networks.NetworkResponse(theta, network).elastic_tensor
    stress = []
    for sign in (1, -1):
        strained = bridge.deform(network, np.diag([1 + sign * 1e-5, 1.0]))
        stress.append(bridge.stress(theta, bridge.relax(theta, strained)))
    slope = (stress[0] - stress[1]) / 2e-5
    assert slope[0, 0] == pytest.approx(tensor[0, 0, 0, 0], rel=1e-5)
    assert slope[1, 1] == pytest.approx(tensor[0, 0, 1, 1], rel=1e-5)


def test_modes_and_their_weights() -> None:
    """Over all modes the weights sum to one; ratios, weights by dense diagonalisation."""
    springs, packing = small()
    n = packing.n_particles
    found = networks.mode_superposition(springs, packing, 2 * n - 3)
    assert found.weights.sum() == pytest.approx(1.0, rel=1e-9)
    edges = networks.edge_nodes(packing)
    x = np.asarray(packing.positions)
    unit = vectors(packing)
    unit /= np.linalg.norm(unit, axis=1)[:, None]
    q = np.zeros((len(unit), n, 2))
    q[np.arange(len(unit)), packing.bonds[:, 1]] += unit
    q[np.arange(len(unit)), packing.bonds[:, 0]] -= unit
    q = q.reshape(len(unit), -1)
    values, modes = np.linalg.eigh(q.T @ q)
    assert np.abs(values[:3]).max() < 1e-12
    assert found.frequencies == pytest.approx(np.sqrt(values[3:]), rel=1e-9)
    weights = np.zeros(2 * n - 3)
    for axis in (0, 1):
        load = between_plates(packing, axis, edges)
        field = networks.NetworkResponse(springs, packing, load).displacement(0).ravel()
        along = modes[:, 3:].T @ field
        weights += 0.5 * along**2 / (along @ along)
    assert found.weights == pytest.approx(weights, abs=1e-9)
    ratios = []
    for mode in modes[:, 3:].T.reshape(-1, n, 2):
        ex = mode[edges["right"], 0].mean() - mode[edges["left"], 0].mean()
        ey = mode[edges["top"], 1].mean() - mode[edges["bottom"], 1].mean()
        ex /= x[edges["right"], 0].mean() - x[edges["left"], 0].mean()
        ey /= x[edges["top"], 1].mean() - x[edges["bottom"], 1].mean()
        ratios.append(-ey / ex if abs(ex) >= abs(ey) else -ex / ey)
    assert found.ratios == pytest.approx(np.array(ratios), rel=1e-6)
    two = found.weights[[found.positive, found.negative]]
    assert found.ratios[found.positive] > 0 > found.ratios[found.negative]
    assert found.superposed == pytest.approx(two @ found.ratios[[found.positive, found.negative]])
    assert found.share == pytest.approx(two.sum())
    assert found.over_all == pytest.approx(found.weights @ found.ratios)
    fewer = networks.mode_superposition(springs, packing, 10)
    assert fewer.weights == pytest.approx(found.weights[:10], abs=1e-9)


def test_bonds_under_load() -> None:
    """The perfect lattice by hand; a periodic network by its strained, relaxed packing."""
    perfect = networks.triangular_network((6, 6), distortion=0.0)
    changes = networks.bond_changes(*perfect).changes
    along = vectors(perfect[1])[:, 0] ** 2
    # ε_x = 1, ε_y = -ν = -1/3: a bond at an angle is longer by cos² - sin²/3.
    assert changes[:, 0] == pytest.approx(along - (1 - along) / 3, abs=1e-12)
    assert changes[:, 1] == pytest.approx(1 - along - along / 3, abs=1e-12)
    network = networks.triangular_network((6, 8), distortion=0.3, seed=5)
    found = networks.bond_changes(*network)
    compliance = np.linalg.inv(networks.NetworkResponse(*network).response[:3, :3])
    strain = compliance[:, 0] / compliance[0, 0]
    gradient = np.array([[strain[0], strain[2] / 2], [strain[2] / 2, strain[1]]])
    moved = [
        bridge.relax(network[0], bridge.deform(network[1], np.eye(2) + sign * 1e-5 * gradient))
        for sign in (1, -1)
    ]
    length = [np.linalg.norm(vectors(m), axis=1) for m in moved]
    slope = (length[0] - length[1]) / 2e-5 / np.asarray(network[0].length)
    assert found.changes[:, 0] == pytest.approx(slope, abs=1e-6)
    mean = found.changes.mean(axis=0)
    right = np.mean(np.sum((found.changes - mean) ** 2, axis=1))
    assert found.variance == pytest.approx(right, rel=1e-12)
    opened = networks.bond_changes(*small())
    assert opened.changes.shape == (len(small()[1].bonds), 2)
    assert 0 < opened.same_sign < 1


def test_an_opened_network() -> None:
    """No bond leaves the box, no node hangs by one bond; the rest is as it was."""
    springs, packing = networks.delaunay_network(100, seed=2)
    opened = networks.opened(springs, packing)
    assert opened[1].box is None
    assert np.asarray(opened[0].length).max() <= np.asarray(springs.length).max() + 1e-12
    assert opened[1].n_particles == 100
    assert len(opened[1].bonds) < len(packing.bonds)
    assert networks.mode_superposition(*opened, 5).frequencies[0] > 0
    # A node that hangs by one bond, and the one that it leaves hanging.
    chain = networks.from_bonds(
        [[1, 1], [2, 1], [1.5, 2], [3, 1], [4, 1]],
        [[0, 1], [1, 2], [0, 2], [1, 3], [3, 4]],
        np.diag([9.0, 9.0]),
    )
    assert networks.opened(*chain)[1].n_particles == 3
    with pytest.raises(InputError, match="open edges already"):
        networks.opened(*opened)
    with pytest.raises(InputError, match="nothing is left"):
        networks.opened(*networks.from_bonds([[0, 0], [1, 0]], [[0, 1]], np.diag([9.0, 9.0])))


def test_where_there_are_no_edges() -> None:
    for network in (networks.triangular_network((6, 6)), KINDS["space"]()):
        with pytest.raises(FeatureError, match="only open networks in the plane have edges"):
            networks.mode_superposition(*network)
    with pytest.raises(FeatureError, match="in the plane"):
        networks.bond_changes(*KINDS["space"]())
    springs, packing = small()
    load = between_plates(packing, 0, networks.edge_nodes(packing))
    response = networks.NetworkResponse(springs, packing, load)
    with pytest.raises(InputError, match="load = 5"):
        response.displacement(5)
    moved = replace(packing, positions=np.asarray(packing.positions) * 1.1)
    with pytest.raises(InputError, match="at a rest length"):
        networks.bond_changes(springs, moved)
