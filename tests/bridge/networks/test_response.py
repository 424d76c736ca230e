"""Responses of networks after any changes of bonds, against dense algebra and the bridge's own."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amorph import bridge
from amorph.bridge import networks
from amorph.bridge.errors import FloppyModeError, SingularHessianError
from amorph.bridge.networks.loads import between_plates, periodic_load
from amorph.handover import InputError

from .conftest import dense


def assert_right(response: networks.NetworkResponse, rtol: float = 1e-10) -> None:
    """X, M and Y equal those of dense algebra with the stiffnesses as they are."""
    x, m, y = dense(response.stiffness.copy(), response.packing, response.load)
    for found, right in ((response.extension, x), (response.response, y)):
        assert np.abs(found - right).max() < rtol * np.abs(right).max()
    assert np.abs(response.compliance - np.diag(m)).max() < rtol * np.abs(m).max()


def cuttable(response: networks.NetworkResponse, least: float = 0.1) -> np.ndarray:
    return np.flatnonzero(
        response.stiffness * (1 - response.stiffness * response.compliance) > least
    )


def test_of_a_whole_network(network: Any) -> None:
    """X, M, Y by dense algebra; C as the bridge measures it."""
    springs, packing = network
    response = networks.NetworkResponse(springs, packing)
    assert_right(response)
    tensor = bridge.elastic_tensor(springs, packing)
    assert np.abs(response.elastic_tensor - tensor).max() < 1e-12 * np.abs(tensor).max()


def test_after_many_moves(network: Any) -> None:
    """Cut, returned, made softer and stiffer: all stays exact, and drifts by rounding alone."""
    springs, packing = network
    pairs = np.array([[0, packing.n_particles // 2], [3, 1]])
    response = networks.NetworkResponse(springs, packing, periodic_load(packing, pairs))
    rng = np.random.default_rng(1)
    cut: list[int] = []
    for _ in range(60):
        free = cuttable(response)
        if cut and (rng.random() < 0.4 or not len(free)):
            bond = cut.pop(int(rng.integers(len(cut))))
            response.change(bond, float(springs.stiffness[bond]))
            continue
        bond = int(rng.choice(free))
        if rng.random() < 0.3:
            response.change(bond, float(rng.uniform(-0.3, 0.5)))
        else:
            response.cut(bond)
            cut.append(bond)
    assert cut
    assert_right(response)
    before = response.response.copy()
    assert response.renew() < 1e-12
    assert np.abs(before - response.response).max() > 0, "it was computed anew"
    tensor = bridge.elastic_tensor(response.springs, packing)
    assert np.abs(response.elastic_tensor - tensor).max() < 1e-11 * np.abs(tensor).max()


def test_trials_are_what_moves_bring(network: Any) -> None:
    """Each trial, of a cut, a return and a change, equals the response after that move alone."""
    springs, packing = network
    response = networks.NetworkResponse(springs, packing)
    for bond in cuttable(response)[:3]:
        response.cut(int(bond))
    cut = np.flatnonzero(response.stiffness == 0)
    bonds = np.concatenate([cuttable(response)[:4], cut, cuttable(response)[4:6]])
    deltas = np.concatenate(
        [-response.stiffness[bonds[:4]], np.asarray(springs.stiffness)[cut], [0.3, -0.1]]
    )
    trials = response.try_changes(bonds, deltas)
    start = response.stiffness.copy()
    for k, (bond, delta) in enumerate(zip(bonds, deltas, strict=True)):
        after = start.copy()
        after[bond] += delta
        y = dense(after, packing, response.load)[2]
        tried = trials.response[k]
        assert np.abs(tried - y[np.triu_indices(len(y))]).max() < 1e-10 * np.abs(y).max()
    left = 1 - start[bonds[:4]] * response.compliance[bonds[:4]]
    assert trials.left[:4] == pytest.approx(left, rel=1e-12)
    again = response.try_cuts(bonds[:4])
    assert np.array_equal(again.response, trials.response[:4])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), renew=st.sampled_from([1, 3, 500]))
def test_any_order_of_moves_ends_at_the_same(seed: int, renew: int) -> None:
    """The response depends on which bonds there are, not on how it came to that."""
    springs, packing = networks.triangular_network((4, 6), seed=seed)
    response = networks.NetworkResponse(springs, packing, renew_every=renew)
    rng = np.random.default_rng(seed)
    for _ in range(25):
        free = cuttable(response, 0.05)
        cut = np.flatnonzero(response.stiffness == 0)
        bond = int(rng.choice(np.concatenate([free, cut])))
        if response.stiffness[bond]:
            response.cut(bond)
        else:
            response.change(bond, 1.0)
    fresh = networks.NetworkResponse(response.springs, packing)
    for a, b in (
        (response.extension, fresh.extension),
        (response.compliance, fresh.compliance),
        (response.response, fresh.response),
    ):
        assert np.abs(a - b).max() < 1e-8 * np.abs(b).max()


@pytest.mark.parametrize("axis", [0, 1])
def test_between_plates(axis: int) -> None:
    """Against dense algebra with the plates' nodes held; the wide lattice's ν comes to 1/3."""
    springs, packing = networks.triangular_network((7, 9), seed=2, open_edges=True)
    load = between_plates(packing, axis, networks.edge_nodes(packing))
    response = networks.NetworkResponse(springs, packing, load)
    assert_right(response)
    for bond in cuttable(response)[::7]:
        if 1 - response.compliance[bond] > 0.1:
            response.cut(int(bond))
    assert_right(response)
    away = []
    for n in (10, 20, 40):
        perfect = networks.triangular_network((n, n), distortion=0.0, open_edges=True)
        wide = between_plates(perfect[1], axis, networks.edge_nodes(perfect[1]))
        away.append(networks.NetworkResponse(*perfect, wide).response[0, 1] - 1 / 3)
    assert np.abs(away[2]) < 0.03
    assert np.abs(away[2]) < 0.6 * np.abs(away[0]), "edges matter less in larger networks"


def test_an_open_network_that_is_pulled_at_two_nodes() -> None:
    """Rigid motions are held without force: strains of pairs do not depend on what is held."""
    springs, packing = networks.delaunay_network(60, seed=3, open_edges=True)
    pairs = np.array([[5, 17], [30, 41]])
    load = periodic_load(packing, pairs)
    response = networks.NetworkResponse(springs, packing, load)
    assert load.held.sum() == 3
    assert_right(response)
    moved = bridge.Packing.of(packing.positions[::-1], packing.typeid, bonds=59 - packing.bonds)
    other = networks.NetworkResponse(springs, moved, periodic_load(moved, 59 - pairs))
    assert response.response == pytest.approx(other.response, rel=1e-9)
    assert not np.array_equal(load.held[::-1], other.load.held)


def test_what_is_loose_is_named() -> None:
    springs, packing = networks.triangular_network((8, 8), seed=1)
    k = np.asarray(springs.stiffness).copy()
    around = np.flatnonzero((packing.bonds == 20).any(axis=1))
    k[around[:5]] = 0.0  # one bond is left, and node 20 swings about
    with pytest.raises(SingularHessianError, match=r"not rigid: node 20, at \[.*is loose"):
        networks.NetworkResponse(springs.replace(stiffness=k), packing)
    # Two lattices with nothing between them.
    lattice = networks.triangular_network((8, 8), seed=1, open_edges=True)[1]
    x, bonds = np.asarray(lattice.positions), np.asarray(lattice.bonds)
    apart = np.concatenate([x, x + np.array([0.0, 20.0])])
    two = networks.from_bonds(apart, np.concatenate([bonds, bonds + len(x)]))
    with pytest.raises(SingularHessianError, match="is loose"):
        networks.NetworkResponse(*two)


def test_a_cut_that_leaves_a_floppy_mode_is_refused() -> None:
    """Bonds in no state of self stress: cut until there are such."""
    springs, packing = networks.triangular_network((4, 4), seed=1)
    response = networks.NetworkResponse(springs, packing)
    while True:
        left = np.where(response.stiffness > 0, 1 - response.compliance, 0)
        if left.max() < 1e-6:
            break
        response.cut(int(np.argmax(left)))
    bond = int(np.flatnonzero(response.stiffness)[0])
    before = response.response.copy()
    with pytest.raises(FloppyModeError, match=f"cutting bond {bond} leaves a floppy mode"):
        response.cut(bond)
    assert response.stiffness[bond] == 1
    assert np.array_equal(before, response.response)


def test_bad_input_is_named() -> None:
    springs, packing = networks.triangular_network((6, 6), seed=1)
    with pytest.raises(InputError, match=r"the packing has 108 bonds, and there are 2 springs"):
        networks.NetworkResponse(bridge.Springs([1.0, 1.0], [1.0, 1.0]), packing)
    stretched = springs.replace(length=np.asarray(springs.length) * 1.01)
    with pytest.raises(InputError, match=r"bond \d+ is .* long at a rest length of"):
        networks.NetworkResponse(stretched, packing)
    response = networks.NetworkResponse(springs, packing)
    with pytest.raises(InputError, match="bond = 108: there are 108"):
        response.cut(108)
    with pytest.raises(InputError, match=r"bond 3: a stiffness of -1 cannot be"):
        response.change(3, -2.0)
    with pytest.raises(InputError, match="no such bond"):
        response.try_changes([108], [0.1])
    with pytest.raises(InputError, match="108 numbers >= 0"):
        response.set_stiffness(-np.ones(108))
    open_network = networks.triangular_network((6, 6), open_edges=True)
    plates = between_plates(open_network[1], 0, networks.edge_nodes(open_network[1]))
    with pytest.raises(InputError, match="an elastic tensor is that of a periodic box"):
        networks.NetworkResponse(*open_network, plates).elastic_tensor  # noqa: B018
