"""Energy landscapes: minima, saddles, the paths between them, barriers and rates.

`find_saddles` and `find_transitions` search many small systems as one array computation,
`saddles_around` looks around the minimum of a packing of any size; `transitions_over` says which
minima a saddle joins. `barriers` and `log_rates` are functions of the interactions, which JAX
differentiates through the motion of the stationary points; of large packings
`barriers_and_gradients` are, and `follow_transition` follows them. `path_position` and
`count_passages` measure the rates of trajectories. `rigid_clusters` enumerates clusters of sticky
spheres.
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
from .escapes import random_pushes, saddles_around
from .passages import Passages, count_passages, filtered, path_position
from .passes import barrier_feature, barriers_and_gradients, follow_transition
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
    "barrier_feature",
    "barriers",
    "barriers_and_gradients",
    "break_contact",
    "count_passages",
    "equivalent_saddles",
    "filtered",
    "find_saddles",
    "find_transition",
    "find_transitions",
    "follow_transition",
    "log_rates",
    "path_position",
    "placed",
    "points_of",
    "random_pushes",
    "rigid_clusters",
    "saddles_around",
    "same_cluster",
    "transition_graph",
    "transitions_over",
]
