"""Networks of the kinds there are, from edges and packings, and what cannot be one."""

from typing import Any

import numpy as np
import pytest
from scipy.spatial import Delaunay

from amorph import bridge
from amorph.bridge import networks
from amorph.bridge.networks.building import bond_vectors
from amorph.handover import InputError

from .conftest import KINDS, vectors


def test_no_spring_is_stretched(network: Any) -> None:
    springs, packing = network
    length = np.linalg.norm(vectors(packing), axis=1)
    assert np.asarray(springs.length) == pytest.approx(length, rel=1e-14)
    assert bridge.energy(springs, packing) == pytest.approx(0, abs=1e-24)
    assert np.abs(bond_vectors(packing) - vectors(packing)).max() < 1e-12


def test_the_perfect_lattice() -> None:
    """ν = 1/3, B = √3 k/2 and G = √3 k/4 with springs of stiffness k."""
    springs, packing = networks.triangular_network((6, 8), distortion=0.0, stiffness=2.0)
    assert 2 * springs.n_bonds == 6 * packing.n_particles
    assert bridge.poisson_ratio(springs, packing) == pytest.approx(1 / 3, rel=1e-12)
    assert bridge.bulk_modulus(springs, packing) == pytest.approx(np.sqrt(3), rel=1e-12)
    assert bridge.shear_modulus(springs, packing) == pytest.approx(np.sqrt(3) / 2, rel=1e-12)
    assert np.asarray(springs.length) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("open_edges", [False, True])
def test_distorted_lattices(open_edges: bool) -> None:
    """Every node is moved by r, but for those at open edges; seeds tell networks apart."""
    kept = {"distortion": 0.0, "open_edges": open_edges}
    perfect = networks.triangular_network((9, 10), **kept)[1]
    moved = networks.triangular_network((9, 10), distortion=0.4, seed=3, open_edges=open_edges)[1]
    away = np.linalg.norm(np.asarray(moved.positions) - np.asarray(perfect.positions), axis=1)
    inside = away > 0
    assert away[inside] == pytest.approx(0.4, rel=1e-12)
    assert inside.sum() == (7 * 8 if open_edges else 90)
    assert np.array_equal(moved.bonds, perfect.bonds)
    other = networks.triangular_network((9, 10), distortion=0.4, seed=4, open_edges=open_edges)[1]
    assert np.abs(np.asarray(other.positions) - np.asarray(moved.positions)).max() > 0.1
    number = np.bincount(np.asarray(moved.bonds).ravel())
    assert number.max() == 6
    assert number.min() == (2 if open_edges else 6)


def test_triangulations() -> None:
    """Periodic: z = 6, and no point lies in the circle of a triangle; open: that of SciPy."""
    springs, packing = networks.delaunay_network(200, seed=1)
    assert 2 * springs.n_bonds == 6 * 200
    assert packing.density == pytest.approx(1.0, rel=1e-12)
    x, side = np.asarray(packing.positions), np.sqrt(200)
    apart = np.linalg.norm(x[:, None] - x - side * np.round((x[:, None] - x) / side), axis=2)
    assert apart[np.triu_indices(200, 1)].min() >= 0.5
    # Moved across the edges, the triangulation is the same.
    shifted = (x + np.array([3.7, 8.1])) % side
    tiles = np.array([(a, b) for a in (0, 1, -1) for b in (0, 1, -1)])
    triangles = Delaunay((shifted[None] + side * tiles[:, None]).reshape(-1, 2)).simplices
    inner = triangles[(triangles < 200).any(axis=1)] % 200
    sides = np.concatenate([inner[:, [0, 1]], inner[:, [1, 2]], inner[:, [0, 2]]])
    assert np.array_equal(np.unique(np.sort(sides, axis=1), axis=0), np.sort(packing.bonds, axis=1))
    opened = networks.delaunay_network(200, seed=1, open_edges=True)[1]
    assert opened.box is None
    assert 2 * len(opened.bonds) / 200 < 6


def test_of_a_packing() -> None:
    springs, packing = KINDS["space"]()
    assert (np.asarray(springs.stiffness) == 1).all()
    number = np.bincount(np.asarray(packing.bonds).ravel(), minlength=packing.n_particles)
    assert number.min() >= 4, "rattlers are left out"
    assert bridge.elastic_tensor(springs, packing)[0, 0, 0, 0] > 0


def test_files_have_what_is_left(tmp_path: Any) -> None:
    """Through GSD: positions, bonds and springs to the last bit, those that were cut left out."""
    springs, packing = networks.triangular_network((8, 8), seed=5)
    k = np.asarray(springs.stiffness).copy()
    k[[3, 17, 60]] = 0.0
    left = networks.without_cut(springs.replace(stiffness=k), packing)
    assert left[0].n_bonds == springs.n_bonds - 3
    assert not {tuple(b) for b in packing.bonds[[3, 17, 60]]} & {tuple(b) for b in left[1].bonds}
    bridge.write_gsd(tmp_path / "network.gsd", [left])
    ((read, where),) = bridge.read_gsd(tmp_path / "network.gsd")
    assert np.array_equal(read.stiffness, left[0].stiffness)
    assert np.array_equal(read.length, left[0].length)
    assert np.array_equal(where.bonds, left[1].bonds)
    before = bridge.elastic_tensor(*left)
    assert np.abs(bridge.elastic_tensor(read, where) - before).max() < 1e-13
    assert np.abs(before - bridge.elastic_tensor(springs, packing)).max() > 1e-4


@pytest.mark.parametrize("kind", ["uneven", "space"])
def test_graphs(kind: str) -> None:
    """Through networkx and back: the same network, what was cut left out."""
    networkx = pytest.importorskip("networkx")
    springs, packing = KINDS[kind]()
    k = np.asarray(springs.stiffness).copy()
    k[4] = 0.0
    graph = networks.to_networkx(springs.replace(stiffness=k), packing)
    assert graph.number_of_edges() == springs.n_bonds - 1
    assert graph.number_of_nodes() == packing.n_particles
    assert networkx.is_connected(graph)
    left = networks.without_cut(springs.replace(stiffness=k), packing)
    back = networks.from_networkx(graph)
    here = bridge.elastic_tensor(*left)
    assert np.abs(bridge.elastic_tensor(*back) - here).max() < 1e-12 * np.abs(here).max()
    named = networkx.relabel_nodes(graph, {0: "first"})
    again = networks.from_networkx(named, packing.box)
    assert np.abs(bridge.elastic_tensor(*again) - here).max() < 1e-12 * np.abs(here).max()
    plain = networkx.Graph([(0, 1)])
    with pytest.raises(InputError, match="node 0 has no position"):
        networks.from_networkx(plain)
    with pytest.raises(InputError, match="undirected"):
        networks.from_networkx(networkx.DiGraph())


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: networks.triangular_network((3, 8)), "size = 3: it must be .* at least 4"),
        (lambda: networks.triangular_network(8), "two whole numbers"),
        (lambda: networks.triangular_network((8, 7)), "7 rows: .* an even number"),
        (lambda: networks.triangular_network((8, 8), distortion=-1.0), "distortion = -1"),
        (lambda: networks.triangular_network((4, 4), distortion=0.9), "half of the box"),
        (lambda: networks.triangular_network((8, 8), stiffness=-1.0), "stiffness must be finite"),
        (lambda: networks.delaunay_network(9), "n_nodes = 9"),
        (lambda: networks.delaunay_network(99, least_distance=0.9), "between 0 and 0.7"),
        (lambda: networks.from_bonds([[0.0, 0.0], [1.0, 0.0]], []), "no network"),
        (lambda: networks.from_bonds([[0, 0], [1, 0]], [[0, 1], [1, 0]]), "0 and 1 .* twice"),
        (lambda: networks.from_bonds([[0, 0], [0, 0]], [[0, 1]]), "lie at one place"),
        (lambda: networks.from_bonds([[0, 0], [1, 0]], [[0, 2]]), "there are 2 particles"),
        (lambda: networks.from_bonds([[0, 0], [1, 0]], [[0, 0]]), "with itself"),
    ],
)
def test_what_is_no_network_is_named(make: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        make()
