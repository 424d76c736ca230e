"""Networks from and to networkx, whose graphs hold them by node and edge attributes."""

from typing import TYPE_CHECKING, Any

import numpy as np

from amorph.handover import InputError

from ..errors import MissingExtraError
from ..matter.packing import Packing
from ..matter.springs import Springs
from .building import Network, check_network, from_bonds

if TYPE_CHECKING:
    import networkx

__all__ = ["from_networkx", "to_networkx"]


def to_networkx(springs: Springs, packing: Packing) -> "networkx.Graph":
    """A network as a graph: nodes with ``position``, edges with ``stiffness`` and ``length``.

    Nodes are numbered as in the packing; bonds that were cut (stiffness 0) are left out. The
    graph's attribute ``box`` has the box vectors as columns, None for open edges.

    Raises `InputError` for what is no network, `MissingExtraError` without networkx.

    Example
    -------
    >>> graph = networks.to_networkx(*networks.triangular_network((8, 8)))
    >>> networkx.average_clustering(graph)
    """
    check_network(springs, packing)
    nx = _networkx()
    graph = nx.Graph(box=None if packing.box is None else np.asarray(packing.box).tolist())
    for i, x in enumerate(np.asarray(packing.positions).tolist()):
        graph.add_node(i, position=tuple(x))
    values = springs.arrays()
    bonds = np.asarray(packing.bonds).tolist()
    for (i, j), k, length in zip(bonds, values["stiffness"], values["length"], strict=True):
        if k > 0:
            graph.add_edge(i, j, stiffness=float(k), length=float(length))
    return graph


def from_networkx(graph: "networkx.Graph", box: Any = None) -> Network:
    """The network of a graph, none of its springs stretched.

    Parameters
    ----------
    graph:
        Its nodes have ``position`` (or ``pos``, as networkx's layouts call it); edges may have
        ``stiffness``, by default 1. Nodes of any names are numbered in their order.
    box:
        Box vectors as columns; by default the graph's attribute ``box``.

    Raises `InputError` for nodes without a position, directed graphs and those with several edges
    between two nodes, and as `from_bonds` does.

    Example
    -------
    >>> graph = networkx.random_geometric_graph(200, 0.15, seed=1)
    >>> springs, packing = networks.from_networkx(graph)
    """
    nx = _networkx()
    if not isinstance(graph, nx.Graph) or graph.is_directed() or graph.is_multigraph():
        raise InputError("graph must be an undirected networkx.Graph with single edges.")
    numbers = {node: i for i, node in enumerate(graph)}
    positions = []
    for node, told in graph.nodes(data=True):
        position = told.get("position", told.get("pos"))
        if position is None:
            raise InputError(f"graph: node {node!r} has no position: give it position=(x, y).")
        positions.append(position)
    bonds = [(numbers[i], numbers[j]) for i, j in graph.edges]
    stiffness = [told.get("stiffness", 1.0) for _, _, told in graph.edges(data=True)]
    where = graph.graph.get("box") if box is None else box
    return from_bonds(positions, bonds, where, stiffness=stiffness)


def _networkx() -> Any:
    try:
        import networkx
    except ImportError:
        raise MissingExtraError("networkx is not installed: pip install networkx.") from None
    return networkx
