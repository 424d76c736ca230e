"""The differentiable layer: packings re-minimised in float64, measured, and differentiated.

Importing it switches JAX to float64, for everything in the process. All quantities are in reduced
units, mass 1.
"""

from .precision import require_float64  # first: it switches JAX to float64

# isort: split
from .elasticity import BondContributions, bond_contributions
from .errors import (
    FeatureError,
    NotAMinimumError,
    PrecisionError,
    RattlerError,
    RelaxationError,
    SingularHessianError,
)
from .features import (
    bulk_modulus,
    elastic_tensor,
    lowest_modulus,
    poisson_ratio,
    pressure,
    psi_8,
    psi_8_sharp,
    shear_modulus,
)
from .files import frame_of, read_gsd, write_gsd
from .following import Followed, crossings, follow
from .linear_response import Response, default_tolerance, response
from .measuring import Measurement, measure, value_and_grad
from .mechanics import energy, forces, hessian, stress
from .minimizer import Relaxation, relax, relaxation
from .packing import Packing
from .potentials import (
    FourTerm,
    HarmonicMorse,
    HarmonicMorseReduced,
    Morse,
    PairPotential,
    SoftSphere,
    from_arrays,
)
from .registry import FAMILIES, FEATURES, Feature, feature, register, register_family
from .vibrations import lowest_frequencies

__all__ = [
    "FAMILIES",
    "FEATURES",
    "BondContributions",
    "Feature",
    "FeatureError",
    "Followed",
    "FourTerm",
    "HarmonicMorse",
    "HarmonicMorseReduced",
    "Measurement",
    "Morse",
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
    "crossings",
    "default_tolerance",
    "elastic_tensor",
    "energy",
    "feature",
    "follow",
    "forces",
    "frame_of",
    "from_arrays",
    "hessian",
    "lowest_frequencies",
    "lowest_modulus",
    "measure",
    "poisson_ratio",
    "pressure",
    "psi_8",
    "psi_8_sharp",
    "read_gsd",
    "register",
    "register_family",
    "relax",
    "relaxation",
    "require_float64",
    "response",
    "shear_modulus",
    "stress",
    "value_and_grad",
    "write_gsd",
]
