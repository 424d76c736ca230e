"""Concave nodes and bonds that may be cut, against angles and hulls by hand."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from amorph.bridge import networks
from amorph.bridge.networks.shape import Shape

from .conftest import KINDS, vectors


def concave_by_hand(packing: Any, alive: np.ndarray) -> np.ndarray:
    """Nodes whose directions do not hold each other: no positive sum of all of them is zero."""
    unit = vectors(packing)
    unit /= np.linalg.norm(unit, axis=1)[:, None]
    d = unit.shape[1]
    out = []
    for i in range(packing.n_particles):
        own = [
            s * unit[b]
            for end, s in ((0, 1), (1, -1))
            for b in np.flatnonzero(alive)
            if packing.bonds[b, end] == i
        ]
        u = np.array(own).reshape(-1, d)
        if np.linalg.matrix_rank(u) < d:
            out.append(i)
            continue
        # Weights of at least 1 each, so that none is left out.
        found = linprog(np.ones(len(u)), A_eq=u.T, b_eq=np.zeros(d), bounds=[(1, None)] * len(u))
        if found.status != 0:
            out.append(i)
    return np.array(out, dtype=np.int64)


@pytest.mark.parametrize("kind", ["delaunay", "space"])
def test_concave_nodes(kind: str) -> None:
    """Of random parts of a network, by linear programming."""
    packing = KINDS[kind]()[1]
    rng = np.random.default_rng(0)
    counted = 0
    for share in (0.0, 0.2, 0.35):
        alive = rng.random(len(packing.bonds)) >= share
        found = networks.concave_nodes(packing, alive)
        assert np.array_equal(found, concave_by_hand(packing, alive))
        counted += len(found)
    assert 0 < counted < 2 * packing.n_particles


def test_a_right_angle_is_none() -> None:
    """Three bonds, two of them in line: on one side of the line there is none."""
    x = [[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.3, -1.0]]
    packing = networks.from_bonds(x, [[0, 1], [0, 2], [0, 3], [4, 0]])[1]
    alive = np.array([True, True, True, False])
    assert 0 in networks.concave_nodes(packing, alive)
    assert 0 not in networks.concave_nodes(packing)


@pytest.mark.parametrize("kind", ["triangular", "delaunay", "space"])
@pytest.mark.parametrize("convex", [False, True])
def test_what_may_be_cut(kind: str, convex: bool) -> None:
    """After cuts and returns at random: as found anew, and cutting it leaves nothing concave."""
    packing = KINDS[kind]()[1]
    least = packing.dimension + 1
    n = len(packing.bonds)
    start = set(networks.concave_nodes(packing).tolist())
    shape = Shape(packing, np.ones(n, dtype=bool), least, convex)
    alive = np.ones(n, dtype=bool)
    rng = np.random.default_rng(1)
    for _ in range(60):
        free, cut = np.flatnonzero(shape.may_be_cut), np.flatnonzero(~alive)
        if len(cut) and (rng.random() < 0.3 or not len(free)):
            bond = int(rng.choice(cut))
            shape.put_back(bond)
        else:
            bond = int(rng.choice(free))
            shape.cut(bond)
        alive[bond] = not alive[bond]
    number = np.bincount(np.asarray(packing.bonds)[alive].ravel(), minlength=packing.n_particles)
    at_first = np.bincount(np.asarray(packing.bonds).ravel(), minlength=packing.n_particles)
    assert (number >= np.minimum(at_first, least)).all()
    if convex:
        assert set(networks.concave_nodes(packing, alive).tolist()) <= start
    for bond in np.flatnonzero(alive)[::5]:
        without = alive.copy()
        without[bond] = False
        ends = packing.bonds[bond]
        may = all(number[i] > min(at_first[i], least) for i in ends)
        if convex:
            concave = set(networks.concave_nodes(packing, without).tolist())
            may = may and concave <= start
        assert shape.may_be_cut[bond] == may
    assert not shape.may_be_cut[~alive].any()


def test_edges_stay_as_they_are() -> None:
    """Nodes at an open edge are concave from the first, and do not hold the others back."""
    packing = networks.triangular_network((8, 8), seed=1, open_edges=True)[1]
    edges = np.unique(np.concatenate(list(networks.edge_nodes(packing, 0.1).values())))
    concave = set(networks.concave_nodes(packing).tolist())
    assert set(edges.tolist()) <= concave
    shape = Shape(packing, np.ones(len(packing.bonds), dtype=bool), 3, True)
    corner = int(np.argmin(np.asarray(packing.positions).sum(axis=1)))
    own = np.flatnonzero((packing.bonds == corner).any(axis=1))
    assert len(own) < 4
    assert not shape.may_be_cut[own].any()
    assert shape.may_be_cut.sum() > 20
