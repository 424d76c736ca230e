"""Preparing many disordered packings at a time: the batched engine.

Needs NumPy, gsd and the compiled engine; no JAX, no HOOMD-blue, no MPI. All quantities are in
reduced units, mass 1.
"""

from .engine import evaluate_pairs, instruction_sets, potentials
from .evaluation import ForceResult, forces
from .preparation import prepare
from .quenching import anneal, compress, minimize, quench
from .result import Ensemble, Status, Trajectory
from .stages import Brownian, Compress, Langevin, Minimize
from .starts import LATTICES, Start, lattice, make_start, random_positions, read_start, typeids

__all__ = [
    "LATTICES",
    "Brownian",
    "Compress",
    "Ensemble",
    "ForceResult",
    "Langevin",
    "Minimize",
    "Start",
    "Status",
    "Trajectory",
    "anneal",
    "compress",
    "evaluate_pairs",
    "forces",
    "instruction_sets",
    "lattice",
    "make_start",
    "minimize",
    "potentials",
    "prepare",
    "quench",
    "random_positions",
    "read_start",
    "typeids",
]
