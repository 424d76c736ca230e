"""The differentiable layer: packings re-minimised in float64, measured, and differentiated.

Importing it switches JAX to float64, for everything in the process. All quantities are in reduced
units, mass 1.
"""

from .precision import require_float64  # first: it switches JAX to float64

# isort: split
from .contact_numbers import Contacts, contacts, coordination_feature
from .deformation import Deformation, deform, deformation
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
    coordination,
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
from .neighbours import FIRST_SHELL, FIRST_SHELL_SHARP, WITHIN_LARGEST_DIAMETER, Window
from .order import bond_order, bond_order_feature
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
from .quasistatic import PlasticEvent
from .registry import FAMILIES, FEATURES, Feature, feature, register, register_family
from .steinhardt import steinhardt_feature, steinhardt_order
from .strain_response import nonaffine_displacement, nonaffine_forces, tangent_stiffness
from .stress_strain import DeformationError, StressStrain, stress_strain, velocity_gradient
from .structure import PairDistribution, pair_distribution, pair_distribution_feature
from .vibrations import lowest_frequencies

__all__ = [
    "FAMILIES",
    "FEATURES",
    "FIRST_SHELL",
    "FIRST_SHELL_SHARP",
    "WITHIN_LARGEST_DIAMETER",
    "BondContributions",
    "Contacts",
    "Deformation",
    "DeformationError",
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
    "PairDistribution",
    "PairPotential",
    "PlasticEvent",
    "PrecisionError",
    "RattlerError",
    "Relaxation",
    "RelaxationError",
    "Response",
    "SingularHessianError",
    "SoftSphere",
    "StressStrain",
    "Window",
    "bond_contributions",
    "bond_order",
    "bond_order_feature",
    "bulk_modulus",
    "contacts",
    "coordination",
    "coordination_feature",
    "crossings",
    "default_tolerance",
    "deform",
    "deformation",
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
    "nonaffine_displacement",
    "nonaffine_forces",
    "pair_distribution",
    "pair_distribution_feature",
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
    "steinhardt_feature",
    "steinhardt_order",
    "stress",
    "stress_strain",
    "tangent_stiffness",
    "value_and_grad",
    "velocity_gradient",
    "write_gsd",
]
