"""Networks of springs: making them, their response to the change of any bond, and pruning.

A network is (springs, packing), which every function of the bridge takes. `NetworkResponse` knows
what cutting or returning a bond would do to it without solving for that, and `Pruning` is a network
on its way to goals, by `prune_greedily` or `anneal`.
"""

from .annealing import anneal
from .building import (
    contact_network,
    delaunay_network,
    from_bonds,
    opened,
    triangular_network,
    without_cut,
)
from .goals import ISOTROPIC, periodic, plates
from .gradient import prune_by_gradient
from .graphs import from_networkx, to_networkx
from .greedy import prune_greedily
from .loads import Load, edge_nodes
from .modes import bond_changes, mode_superposition
from .outcome import Pruned
from .pruning import Constraints, Pruning
from .response import NetworkResponse
from .shape import concave_nodes

__all__ = [
    "ISOTROPIC",
    "Constraints",
    "Load",
    "NetworkResponse",
    "Pruned",
    "Pruning",
    "anneal",
    "bond_changes",
    "concave_nodes",
    "contact_network",
    "delaunay_network",
    "edge_nodes",
    "from_bonds",
    "from_networkx",
    "mode_superposition",
    "opened",
    "periodic",
    "plates",
    "prune_by_gradient",
    "prune_greedily",
    "to_networkx",
    "triangular_network",
    "without_cut",
]
