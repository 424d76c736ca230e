"""Preparing many disordered packings at a time: the batched engine.

Needs NumPy, gsd and the compiled engine; no JAX, no HOOMD-blue, no MPI. All quantities are in
reduced units, mass 1.
"""

from .bonds import Bonds
from .devices import GPU, check_device, gpus, why_no_gpu
from .engine import evaluate_pairs, instruction_sets, potentials
from .evaluation import ForceResult, forces
from .preparation import check, prepare
from .quenching import (
    anneal,
    anneal_stages,
    compress,
    compress_stages,
    minimize,
    quench,
    quench_stages,
)
from .result import Ensemble, Status, Trajectory
from .stages import Brownian, Compress, Langevin, Minimize, Stage
from .starts import LATTICES, Start, lattice, make_start, random_positions, read_start, typeids
from .streaming import Streamed, stream_to_gsd

__all__ = [
    "GPU",
    "LATTICES",
    "Bonds",
    "Brownian",
    "Compress",
    "Ensemble",
    "ForceResult",
    "Langevin",
    "Minimize",
    "Stage",
    "Start",
    "Status",
    "Streamed",
    "Trajectory",
    "anneal",
    "anneal_stages",
    "check",
    "check_device",
    "compress",
    "compress_stages",
    "evaluate_pairs",
    "forces",
    "gpus",
    "instruction_sets",
    "lattice",
    "make_start",
    "minimize",
    "potentials",
    "prepare",
    "quench",
    "quench_stages",
    "random_positions",
    "read_start",
    "stream_to_gsd",
    "typeids",
    "why_no_gpu",
]
