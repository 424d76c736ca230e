"""The differentiable layer: packings re-minimised in float64, measured, and differentiated.

Importing it switches JAX to float64, for everything in the process. All quantities are in reduced
units, mass 1.
"""

from .precision import require_float64  # first: it switches JAX to float64

# isort: split
from amorph.handover import Parameter

from .compiled import keep_compiled
from .errors import (
    ConvergenceError,
    DegenerateModesError,
    FeatureError,
    NotAMinimumError,
    NotFiniteError,
    PrecisionError,
    RattlerError,
    RelaxationError,
    SingularHessianError,
)
from .features.builtin import (
    anisotropy,
    bulk_modulus,
    coordination,
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
from .features.contact_numbers import Contacts, contacts, coordination_feature
from .features.elasticity import BondContributions, bond_contributions
from .features.order import bond_order, bond_order_feature
from .features.registry import FAMILIES, FEATURES, Feature, feature, register, register_family
from .features.steinhardt import steinhardt_feature, steinhardt_order
from .features.structure import PairDistribution, pair_distribution, pair_distribution_feature
from .features.vibrations import (
    Modes,
    density_of_states,
    lowest_frequencies,
    lowest_modes,
    project_on_modes,
)
from .loading.deformation import Deformation, deform, deformation
from .loading.quasistatic import PlasticEvent
from .loading.strain_response import nonaffine_displacement, nonaffine_forces, tangent_stiffness
from .loading.stress_strain import DeformationError, StressStrain, stress_strain, velocity_gradient
from .matter.builtin_potentials import (
    FourTerm,
    HarmonicMorse,
    HarmonicMorseReduced,
    Morse,
    SoftSphere,
)
from .matter.files import frame_of, packings_of, read_gsd, theta_of, write_gsd
from .matter.lennard_jones import (
    LennardJones,
    LennardJonesForceShifted,
    LennardJonesShifted,
)
from .matter.mechanics import energy, forces, hessian, stress
from .matter.neighbours import FIRST_SHELL, FIRST_SHELL_SHARP, WITHIN_LARGEST_DIAMETER, Window
from .matter.packing import Packing
from .matter.potentials import PairPotential
from .matter.registered import POTENTIAL_CLASSES, from_arrays
from .matter.repulsive import WCA, Hertz
from .matter.springs import PairsAndSprings, Springs, Theta
from .minima.departure import MOST_CHANGED, MOST_MOVED, Departure, departure
from .minima.following import Followed, crossings, follow, next_crossing
from .minima.implicit import minimum
from .minima.relaxing import Relaxation, relax, relaxation
from .minima.responses import Response, default_tolerance, response, round_off_force
from .minima.status import Status, check_status
from .sensitivity.batch import BatchMeasurement, measure_batch
from .sensitivity.jacobian import Jacobian, SecondOrder, frequency_slopes, jacobian, second_order
from .sensitivity.measuring import Measurement, measure, value_and_grad
from .sensitivity.parameters import by_bond, by_group, by_particle, by_type, of_box, of_strain
from .solve.factors import SOLVERS

__all__ = [
    "FAMILIES",
    "FEATURES",
    "FIRST_SHELL",
    "FIRST_SHELL_SHARP",
    "MOST_CHANGED",
    "MOST_MOVED",
    "POTENTIAL_CLASSES",
    "SOLVERS",
    "WCA",
    "WITHIN_LARGEST_DIAMETER",
    "BatchMeasurement",
    "BondContributions",
    "Contacts",
    "ConvergenceError",
    "Deformation",
    "DeformationError",
    "DegenerateModesError",
    "Departure",
    "Feature",
    "FeatureError",
    "Followed",
    "FourTerm",
    "HarmonicMorse",
    "HarmonicMorseReduced",
    "Hertz",
    "Jacobian",
    "LennardJones",
    "LennardJonesForceShifted",
    "LennardJonesShifted",
    "Measurement",
    "Modes",
    "Morse",
    "NotAMinimumError",
    "NotFiniteError",
    "Packing",
    "PairDistribution",
    "PairPotential",
    "PairsAndSprings",
    "Parameter",
    "PlasticEvent",
    "PrecisionError",
    "RattlerError",
    "Relaxation",
    "RelaxationError",
    "Response",
    "SecondOrder",
    "SingularHessianError",
    "SoftSphere",
    "Springs",
    "Status",
    "StressStrain",
    "Theta",
    "Window",
    "anisotropy",
    "bond_contributions",
    "bond_order",
    "bond_order_feature",
    "bulk_modulus",
    "by_bond",
    "by_group",
    "by_particle",
    "by_type",
    "check_status",
    "contacts",
    "coordination",
    "coordination_feature",
    "crossings",
    "default_tolerance",
    "deform",
    "deformation",
    "density_of_states",
    "departure",
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
    "keep_compiled",
    "lowest_frequencies",
    "lowest_modes",
    "lowest_modulus",
    "measure",
    "measure_batch",
    "minimum",
    "next_crossing",
    "nonaffine_displacement",
    "nonaffine_forces",
    "of_box",
    "of_strain",
    "packings_of",
    "pair_distribution",
    "pair_distribution_feature",
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
    "round_off_force",
    "second_order",
    "shear_modulus",
    "steinhardt_feature",
    "steinhardt_order",
    "stress",
    "stress_components",
    "stress_strain",
    "tangent_stiffness",
    "theta_of",
    "value_and_grad",
    "velocity_gradient",
    "write_gsd",
    "youngs_moduli",
    "youngs_modulus",
]
