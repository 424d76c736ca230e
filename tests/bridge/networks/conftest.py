"""Networks of all kinds, and their responses by dense algebra in NumPy alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import networks


def spheres_in_space() -> Any:
    theta = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)
    found = ensemble.quench(theta, 80, 0.75, 3, 1, seed=5, threads=1)
    packing = bridge.relax(theta, bridge.Packing(found.positions[0], found.typeid, found.boxes[0]))
    return networks.contact_network(theta, packing)


def uneven(network: Any, seed: int) -> Any:
    """The same with other stiffnesses."""
    springs, packing = network
    k = np.random.default_rng(seed).uniform(0.5, 2.0, springs.n_bonds)
    return springs.replace(stiffness=k), packing


KINDS: dict[str, Callable[[], Any]] = {
    "triangular": lambda: networks.triangular_network((8, 8), seed=1),
    "uneven": lambda: uneven(networks.triangular_network((6, 8), distortion=0.4, seed=2), 3),
    "delaunay": lambda: uneven(networks.delaunay_network(70, seed=4), 4),
    "space": spheres_in_space,
}


@pytest.fixture(scope="session", params=KINDS)
def network(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]()


def vectors(packing: bridge.Packing) -> np.ndarray:
    x = np.asarray(packing.positions)
    out = x[packing.bonds[:, 1]] - x[packing.bonds[:, 0]]
    if packing.box is not None:
        out = out - np.round(out @ np.linalg.inv(packing.box).T) @ packing.box.T
    return out


def dense(k: np.ndarray, packing: bridge.Packing, load: Any) -> tuple[np.ndarray, ...]:
    """X (n_bonds, n_loads), M (n_bonds, n_bonds) and Y (n_loads, n_loads), as their formulas."""
    vector = vectors(packing)
    unit = vector / np.linalg.norm(vector, axis=1)[:, None]
    n, d = packing.positions.shape
    q = np.zeros((len(k), n, d))
    rows = np.arange(len(k))
    q[rows, packing.bonds[:, 1]] += unit
    q[rows, packing.bonds[:, 0]] -= unit
    free = ~load.held.ravel()
    q = q.reshape(len(k), -1)[:, free]
    read = load.functionals.reshape(-1, n * d)[:, free]
    inverse = np.linalg.inv(q.T @ (k[:, None] * q))
    strained = -inverse @ q.T @ (k[:, None] * load.strained)
    pulled = inverse @ read.T
    x = np.concatenate([load.strained + q @ strained, q @ pulled], axis=1)
    a = load.n_strains
    y = np.zeros((x.shape[1], x.shape[1]))
    y[:a, :a] = load.strained.T @ (k[:, None] * x[:, :a])
    y[a:, :a] = -(load.functionals_strained + read @ strained)
    y[:a, a:] = y[a:, :a].T
    y[a:, a:] = -read @ pulled
    return x, q @ inverse @ q.T, y
