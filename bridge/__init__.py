"""The differentiable layer: packings re-minimised in float64, measured, and differentiated.

Importing it switches JAX to float64, for everything in the process. All quantities are in reduced
units, mass 1.
"""

from .precision import require_float64  # first: it switches JAX to float64

# isort: split
from .elasticity import BondContributions, bond_contributions
from .errors import (
    ConvergenceError,
    DegenerateModesError,
    FeatureError,
    NotAMinimumError,
    PrecisionError,
    RattlerError,
    RelaxationError,
    SingularHessianError,
)
from .factors import SOLVERS
from .features import (
    anisotropy,
    bulk_modulus,
    elastic_constants,
    elastic_tensor,
    lowest_modulus,
    poisson_ratio,
    pressure,
    psi_8,
    psi_8_sharp,
    shear_modulus,
    stress_components,
    youngs_moduli,
    youngs_modulus,
)
from .files import frame_of, read_gsd, write_gsd
from .following import Followed, crossings, follow
from .jacobian import Jacobian, SecondOrder, frequency_slopes, jacobian, second_order
from .linear_response import Response, default_tolerance, response
from .measuring import Measurement, measure, value_and_grad
from .mechanics import energy, forces, hessian, stress
from .minimizer import Relaxation, relax, relaxation
from .packing import Packing
from .parameters import by_bond, by_group, by_particle, by_type, of_box, of_strain
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
from .springs import PairsAndSprings, Springs
from .vibrations import (
    Modes,
    density_of_states,
    lowest_frequencies,
    lowest_modes,
    project_on_modes,
)

__all__ = [
    "FAMILIES",
    "FEATURES",
    "SOLVERS",
    "BondContributions",
    "ConvergenceError",
    "DegenerateModesError",
    "Feature",
    "FeatureError",
    "Followed",
    "FourTerm",
    "HarmonicMorse",
    "HarmonicMorseReduced",
    "Jacobian",
    "Measurement",
    "Modes",
    "Morse",
    "NotAMinimumError",
    "Packing",
    "PairPotential",
    "PairsAndSprings",
    "PrecisionError",
    "RattlerError",
    "Relaxation",
    "RelaxationError",
    "Response",
    "SecondOrder",
    "SingularHessianError",
    "SoftSphere",
    "Springs",
    "anisotropy",
    "bond_contributions",
    "bulk_modulus",
    "by_bond",
    "by_group",
    "by_particle",
    "by_type",
    "crossings",
    "default_tolerance",
    "density_of_states",
    "elastic_constants",
    "elastic_tensor",
    "energy",
    "feature",
    "follow",
    "forces",
    "frame_of",
    "frequency_slopes",
    "from_arrays",
    "hessian",
    "jacobian",
    "lowest_frequencies",
    "lowest_modes",
    "lowest_modulus",
    "measure",
    "of_box",
    "of_strain",
    "poisson_ratio",
    "pressure",
    "project_on_modes",
    "psi_8",
    "psi_8_sharp",
    "read_gsd",
    "register",
    "register_family",
    "relax",
    "relaxation",
    "require_float64",
    "response",
    "second_order",
    "shear_modulus",
    "stress",
    "stress_components",
    "value_and_grad",
    "write_gsd",
    "youngs_moduli",
    "youngs_modulus",
]
