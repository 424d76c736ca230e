"""Preparing many disordered packings at a time: the batched engine.

Needs NumPy, gsd and the compiled engine; no JAX, no HOOMD-blue, no MPI. All quantities are in
reduced units, mass 1.
"""

from .engine import evaluate_pairs, instruction_sets, potentials
from .evaluation import ForceResult, forces
from .quenching import Ensemble, Status, minimize, quench, random_positions, typeids

__all__ = [
    "Ensemble",
    "ForceResult",
    "Status",
    "evaluate_pairs",
    "forces",
    "instruction_sets",
    "minimize",
    "potentials",
    "quench",
    "random_positions",
    "typeids",
]
