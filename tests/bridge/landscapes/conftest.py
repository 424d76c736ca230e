"""Clusters whose landscapes the tests look at, and their physics in NumPy alone."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import landscapes


def morse(seed: int = 1) -> bridge.Morse:
    """Seven sticky spheres, each pair bound by its own energy."""
    binding = np.random.default_rng(seed).uniform(0.8, 1.2, 28)
    return bridge.Morse(diameters=np.ones(7), binding=binding, alpha=14.0)


def lennard_jones() -> bridge.LennardJones:
    """Without a cutoff, as far as seven particles are concerned."""
    return bridge.LennardJones(diameters=[1.0], epsilon=1.0, r_cut=1000.0)


def rest(theta: Any, x: Any) -> bridge.Packing:
    return bridge.relax(theta, bridge.Packing.of(x, np.arange(len(x)) % theta.n_types))


def trimer() -> tuple[Any, bridge.Packing, bridge.Packing]:
    """Two stiff bonds in the plane and a contact: a triangle, and its mirror image."""
    none = 1e-9
    theta = bridge.Morse(
        diameters=np.ones(3),
        binding=[none, 60.0, 6.0, none, 60.0, none],
        alpha=[3.0, 1.6, 3.0, 3.0, 1.6, 3.0],
    )
    one = rest(theta, np.array([[0.0, 0.0], [0.5, 0.75**0.5], [1.0, 0.0]]))
    return theta, one, one.with_positions(one.positions * [1.0, -1.0])


def turned(packing: bridge.Packing, seed: int) -> bridge.Packing:
    """The same, turned and moved at random."""
    rng = np.random.default_rng(seed)
    d = packing.dimension
    turn, _ = np.linalg.qr(rng.normal(size=(d, d)))
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    return packing.with_positions(packing.positions @ turn + rng.normal(size=d))


def real_modes(theta: Any, packing: bridge.Packing) -> np.ndarray:
    """Eigenvalues of H without those of rigid motions, ascending."""
    values = np.linalg.eigvalsh(bridge.hessian(theta, packing))
    d = packing.dimension
    rigid = d * (d + 1) // 2
    kept = np.sort(np.argsort(np.abs(values))[rigid:])
    assert np.abs(np.delete(values, kept)).max() < 1e-6 * np.abs(values).max()
    return values[kept]


@pytest.fixture(scope="session")
def graph() -> Any:
    return landscapes.transition_graph(7)


@pytest.fixture(scope="session")
def ways(graph: Any) -> list[tuple[bridge.Packing, bridge.Packing]]:
    """Neighbouring minima of seven spheres, of several kinds."""
    theta = morse()
    out = []
    for u, v in ((0, 2), (2, 1), (3, 4), (4, 4), (1, 4), (2, 2)):
        breaking = graph.get_edge_data(u, v)[0]["breaking"]
        out.append((rest(theta, breaking.path[0]), rest(theta, breaking.path[-1])))
    return out
