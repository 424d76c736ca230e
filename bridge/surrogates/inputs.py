"""Inputs of models: a network's dynamical matrix, a picture of it, or its bonds."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from amorph.handover import InputError

from ..matter.packing import Packing
from ..matter.springs import Springs
from ..networks.building import bond_units, bond_vectors, check_network

__all__ = ["Graph", "dynamical_matrix", "graph", "picture"]


def dynamical_matrix(springs: Springs, packing: Packing) -> NDArray[np.float32]:
    """H of a network, (N d, N d), nodes in their order, single precision as models take it.

    Raises `InputError` for what is no network.
    """
    check_network(springs, packing)
    unit = bond_units(packing)
    n, d = packing.n_particles, packing.dimension
    block = springs.arrays()["stiffness"][:, None, None] * unit[:, :, None] * unit[:, None, :]
    out = np.zeros((n, n, d, d))
    i, j = np.asarray(packing.bonds).T
    out[i, j] = out[j, i] = -block  # no two bonds join the same nodes
    out[np.arange(n), np.arange(n)] = -out.sum(axis=1)
    return out.transpose(0, 2, 1, 3).reshape(n * d, n * d).astype(np.float32)


def picture(springs: Springs, packing: Packing, pixels: int = 96) -> NDArray[np.float32]:
    """A network's bonds as lines in a square picture of its box, (pixels, pixels), 0 to 1.

    A bond that leaves the box comes in at the other side.

    Raises `InputError` for what is no network in a box in the plane.
    """
    check_network(springs, packing)
    if packing.box is None or packing.dimension != 2:
        raise InputError("a picture is of a periodic network in the plane.")
    inverse = np.linalg.inv(np.asarray(packing.box))
    first = np.asarray(packing.positions)[np.asarray(packing.bonds)[:, 0]] @ inverse.T
    along = bond_vectors(packing) @ inverse.T
    there = springs.arrays()["stiffness"] > 0
    steps = int(np.ceil(2 * pixels * np.abs(along).max())) + 1
    at = np.linspace(0.0, 1.0, steps)[None, :, None]
    points = (first[there, None] + at * along[there, None]).reshape(-1, 2)
    x, y = np.floor((points % 1.0) * pixels).astype(int).T % pixels
    out = np.zeros((pixels, pixels), dtype=np.float32)
    out[y, x] = 1.0
    return out


class Graph(NamedTuple):
    """A network as its bonds: nodes i, j (n_bonds,), vector (n_bonds, d) from i to j, stiffness."""

    i: Any
    j: Any
    vector: Any
    stiffness: Any
    n_nodes: int


def graph(springs: Springs, packing: Packing) -> Graph:
    """A network as its bonds; raises `InputError` for what is none."""
    check_network(springs, packing)
    i, j = np.asarray(packing.bonds).T
    return Graph(
        i.astype(np.int32),
        j.astype(np.int32),
        bond_vectors(packing).astype(np.float32),
        np.asarray(springs.stiffness, dtype=np.float32),
        packing.n_particles,
    )


def batched(graphs: list[Graph]) -> dict[str, Array]:
    """Graphs of the same numbers of nodes and bonds as arrays with a batch axis.

    ``nodes`` (n, n_nodes) says by its shape how many nodes there are.
    """
    out = {
        name: jnp.asarray(np.stack([getattr(g, name) for g in graphs]))
        for name in ("i", "j", "vector", "stiffness")
    }
    return {**out, "nodes": jnp.zeros((len(graphs), graphs[0].n_nodes), dtype=jnp.int8)}
