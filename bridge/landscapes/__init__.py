"""Energy landscapes: minima, saddles, the paths between them, barriers and rates.

`find_saddles` and `find_transitions` search many small systems as one array computation;
`barriers` and `log_rates` are functions of the interactions, which JAX differentiates through the
motion of the stationary points; `path_position` and `count_passages` measure the rates of
trajectories. `rigid_clusters` enumerates clusters of sticky spheres.
"""

from .clusters import (
    Breaking,
    Cluster,
    break_contact,
    rigid_clusters,
    same_cluster,
    transition_graph,
)
from .connecting import find_transition, find_transitions
from .passages import Passages, count_passages, filtered, path_position
from .rates import Points, barriers, equivalent_saddles, log_rates, placed, points_of
from .saddles import Saddle, Saddles, find_saddles
from .transitions import Transition, Transitions, transitions_over

__all__ = [
    "Breaking",
    "Cluster",
    "Passages",
    "Points",
    "Saddle",
    "Saddles",
    "Transition",
    "Transitions",
    "barriers",
    "break_contact",
    "count_passages",
    "equivalent_saddles",
    "filtered",
    "find_saddles",
    "find_transition",
    "find_transitions",
    "log_rates",
    "path_position",
    "placed",
    "points_of",
    "rigid_clusters",
    "same_cluster",
    "transition_graph",
    "transitions_over",
]
