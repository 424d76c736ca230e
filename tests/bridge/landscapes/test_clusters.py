"""Rigid clusters of sticky spheres: as many as are known, and the ways between them."""

from typing import Any

import numpy as np
import pytest

from amorph.bridge import landscapes
from amorph.bridge.errors import FloppyModeError, PathError
from amorph.handover import InputError


@pytest.mark.parametrize(("n", "up_to_mirrors", "all_of_them"), [(5, 1, 1), (6, 2, 2), (7, 5, 6)])
def test_as_many_as_are_known(n: int, up_to_mirrors: int, all_of_them: int) -> None:
    """Arkus, Manoharan and Brenner (2009)."""
    found = landscapes.rigid_clusters(n)
    assert len(found) == up_to_mirrors
    assert len(found) + sum(c.chiral for c in found) == all_of_them
    for cluster in found:
        assert len(cluster.contacts) == 3 * n - 6
        i, j = np.triu_indices(n, 1)
        r = np.linalg.norm(cluster.positions[j] - cluster.positions[i], axis=1)
        assert (r > 1 - 1e-9).all()
        assert (np.abs(r - 1) < 1e-7).sum() == 3 * n - 6


@pytest.mark.slow
def test_eight_spheres() -> None:
    found = landscapes.rigid_clusters(8)
    assert (len(found), sum(c.chiral for c in found)) == (13, 3)


def test_discs() -> None:
    """Six discs have three, seven four: the hexagon has a contact more than hold it."""
    assert [len(landscapes.rigid_clusters(n, 2)) for n in (4, 5, 6, 7)] == [1, 1, 3, 4]
    assert len(landscapes.rigid_clusters(7, 2)[0].contacts) == 12


def test_known_symmetries() -> None:
    assert [c.symmetry_number for c in landscapes.rigid_clusters(6)] == [24, 2]
    bipyramid = landscapes.rigid_clusters(7)[0]
    assert (bipyramid.symmetry_number, bipyramid.chiral) == (10, False)


def test_as_many_ways_there_as_back(graph: Any) -> None:
    """Of all numbered clusters: n_uv N!/σ_u = n_vu N!/σ_v, of both mirror images of each."""
    clusters = [graph.nodes[k]["cluster"] for k in graph]
    states = [(2 if c.chiral else 1) / c.symmetry_number for c in clusters]
    for u in graph:
        assert graph.out_degree(u) == 15
        for v in graph:
            there = graph.number_of_edges(u, v) * states[u]
            assert there == pytest.approx(graph.number_of_edges(v, u) * states[v])


def test_a_broken_contact_leads_to_a_neighbour(graph: Any) -> None:
    """Along the way all other contacts hold and nothing overlaps."""
    for _, v, data in list(graph.edges(data=True))[::7]:
        breaking = data["breaking"]
        (broken,) = breaking.broken.tolist()
        assert landscapes.same_cluster(graph.nodes[v]["cluster"], breaking.end) is not None
        start = landscapes.Cluster.of(breaking.path[0])
        kept = [c for c in start.contacts.tolist() if c != broken]
        for x in breaking.path:
            r = np.linalg.norm(x[:, None] - x[None], axis=2)
            assert np.abs([r[i, j] - 1 for i, j in kept]).max() < 1e-9
            assert r[np.triu_indices(7, 1)].min() > 1 - 1e-9
        assert len(breaking.formed) == 1


def test_renumbered_turned_and_mirrored() -> None:
    rng = np.random.default_rng(2)
    clusters = landscapes.rigid_clusters(7)
    for cluster in clusters:
        p = rng.permutation(7)
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        turn[:, 0] *= np.sign(np.linalg.det(turn))
        other = landscapes.Cluster.of(cluster.positions[p] @ turn + 1.0)
        found = landscapes.same_cluster(cluster, other, mirror=False)
        assert found is not None
        back = landscapes.Cluster.of(other.positions[found])
        assert np.array_equal(back.contacts, cluster.contacts)
        mirror = landscapes.same_cluster(cluster, other.mirrored, mirror=False)
        assert (mirror is None) == cluster.chiral
        assert landscapes.same_cluster(cluster, other.mirrored) is not None
    assert landscapes.same_cluster(clusters[0], clusters[1]) is None
    assert "symmetry number 10" in " ".join(repr(clusters[0]).split())


def test_bad_input_is_named() -> None:
    octahedron = landscapes.rigid_clusters(6)[0]
    apart = next(
        [i, j] for i in range(6) for j in range(i) if [j, i] not in octahedron.contacts.tolist()
    )
    with pytest.raises(InputError, match="these do not touch"):
        landscapes.break_contact(octahedron, apart)
    with pytest.raises(FloppyModeError, match="leaves 2 motions, not one"):
        landscapes.break_contact(octahedron, octahedron.contacts[:2])
    hexagon = landscapes.rigid_clusters(7, 2)[0]
    with pytest.raises(PathError, match="leaves 0 motions"):
        landscapes.break_contact(hexagon, hexagon.contacts[0])
    with pytest.raises(FloppyModeError, match="no rigid cluster"):
        landscapes.Cluster.of([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]])
    for n, dimension in ((3, 3), (6, 4), ("six", 3)):
        with pytest.raises(InputError):
            landscapes.rigid_clusters(n, dimension)  # type: ignore[arg-type]
