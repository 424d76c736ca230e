"""The differentiable layer: packings re-minimised in float64, measured, and differentiated.

Importing it switches JAX to float64, for everything in the process. All quantities are in reduced
units, mass 1. These are the names that scripts need; the classes of results, and what else there
is, can be imported from the rooms: `amorph.bridge.matter`, `solve`, `minima`, `features`,
`sensitivity` and `loading`. Errors are in `amorph.bridge.errors`. `bridge.networks` and
`bridge.surrogates` have their own public names, and are loaded where they are asked for.
"""

from importlib import import_module
from typing import Any

from . import precision as precision  # first: it switches JAX to float64

# isort: split
from amorph.handover import Parameter

from . import errors
from .compiled import keep_compiled
from .features.builtin import (
    bulk_modulus,
    elastic_tensor,
    poisson_ratio,
    pressure,
    shear_modulus,
)
from .features.contact_numbers import contacts, coordination_feature
from .features.elasticity import bond_contributions
from .features.order import bond_order, bond_order_feature
from .features.pairwise import pair_distances, pair_mean, pair_sum
from .features.registry import FEATURES, Feature, feature, register, register_family
from .features.steinhardt import steinhardt_feature, steinhardt_order
from .features.structure import pair_distribution, pair_distribution_feature
from .features.vibrations import (
    density_of_states,
    lowest_frequencies,
    lowest_modes,
    project_on_modes,
)
from .loading.deformation import deform
from .loading.strain_response import nonaffine_displacement, tangent_stiffness
from .loading.stress_strain import stress_strain
from .matter.builtin_potentials import (
    FourTerm,
    HarmonicMorse,
    HarmonicMorseReduced,
    Morse,
    SoftSphere,
)
from .matter.files import packings_of, read_gsd, theta_of, write_gsd
from .matter.lennard_jones import LennardJones
from .matter.mechanics import energy, forces, hessian, stress
from .matter.neighbours import Window
from .matter.packing import Packing
from .matter.potentials import PairPotential
from .matter.registered import from_arrays
from .matter.repulsive import WCA, Hertz
from .matter.springs import PairsAndSprings, Springs, Theta
from .minima.departure import departure
from .minima.following import crossings, follow
from .minima.implicit import minimum
from .minima.relaxing import relax
from .minima.responses import default_tolerance, response
from .minima.status import check_status
from .sensitivity.batch import measure_batch
from .sensitivity.gaps import Gaps, gaps
from .sensitivity.independence import Independence, independence
from .sensitivity.jacobian import frequency_slopes, jacobian, second_order
from .sensitivity.measuring import measure, value_and_grad
from .sensitivity.parameters import by_group
from .sensitivity.reach import linear_reach

__all__ = [
    "FEATURES",
    "WCA",
    "Feature",
    "FourTerm",
    "Gaps",
    "HarmonicMorse",
    "HarmonicMorseReduced",
    "Hertz",
    "Independence",
    "LennardJones",
    "Morse",
    "Packing",
    "PairPotential",
    "PairsAndSprings",
    "Parameter",
    "SoftSphere",
    "Springs",
    "Theta",
    "Window",
    "bond_contributions",
    "bond_order",
    "bond_order_feature",
    "bulk_modulus",
    "by_group",
    "check_status",
    "contacts",
    "coordination_feature",
    "crossings",
    "default_tolerance",
    "deform",
    "density_of_states",
    "departure",
    "elastic_tensor",
    "energy",
    "errors",
    "feature",
    "follow",
    "forces",
    "frequency_slopes",
    "from_arrays",
    "gaps",
    "hessian",
    "independence",
    "jacobian",
    "keep_compiled",
    "linear_reach",
    "lowest_frequencies",
    "lowest_modes",
    "measure",
    "measure_batch",
    "minimum",
    "nonaffine_displacement",
    "packings_of",
    "pair_distances",
    "pair_distribution",
    "pair_distribution_feature",
    "pair_mean",
    "pair_sum",
    "poisson_ratio",
    "pressure",
    "project_on_modes",
    "read_gsd",
    "register",
    "register_family",
    "relax",
    "response",
    "second_order",
    "shear_modulus",
    "steinhardt_feature",
    "steinhardt_order",
    "stress",
    "stress_strain",
    "tangent_stiffness",
    "theta_of",
    "value_and_grad",
    "write_gsd",
]


def __getattr__(name: str) -> Any:
    if name in ("landscapes", "networks", "surrogates"):
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
