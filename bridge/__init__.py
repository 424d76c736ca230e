"""The differentiable layer: packings re-minimised in float64, measured, and differentiated.

Importing it switches JAX to float64, for everything in the process. All quantities are in reduced
units, mass 1.
"""

from . import precision as _precision  # first: it switches JAX to float64

# isort: split
from .elasticity import BondContributions, bond_contributions
from .energy import energy, forces, hessian, stress
from .errors import (
    FeatureError,
    NotAMinimumError,
    PrecisionError,
    RattlerError,
    RelaxationError,
    SingularHessianError,
)
from .features import (
    FEATURES,
    Feature,
    Measurement,
    bulk_modulus,
    elastic_tensor,
    feature,
    measure,
    poisson_ratio,
    pressure,
    psi_8,
    psi_8_sharp,
    register,
    shear_modulus,
    value_and_grad,
)
from .gsd import frame_of, read_gsd, write_gsd
from .packing import Packing
from .potentials import HarmonicMorse, HarmonicMorseReduced, PairPotential, SoftSphere, from_arrays
from .relax import Relaxation, relax, relaxation
from .response import Response, default_tolerance, response
from .vibrations import lowest_frequencies

__all__ = [
    "FEATURES",
    "BondContributions",
    "Feature",
    "FeatureError",
    "HarmonicMorse",
    "HarmonicMorseReduced",
    "Measurement",
    "NotAMinimumError",
    "Packing",
    "PairPotential",
    "PrecisionError",
    "RattlerError",
    "Relaxation",
    "RelaxationError",
    "Response",
    "SingularHessianError",
    "SoftSphere",
    "bond_contributions",
    "bulk_modulus",
    "default_tolerance",
    "elastic_tensor",
    "energy",
    "feature",
    "forces",
    "frame_of",
    "from_arrays",
    "hessian",
    "lowest_frequencies",
    "measure",
    "poisson_ratio",
    "pressure",
    "psi_8",
    "psi_8_sharp",
    "read_gsd",
    "register",
    "relax",
    "relaxation",
    "response",
    "shear_modulus",
    "stress",
    "value_and_grad",
    "write_gsd",
]
