"""The features that come with Amorph, by name."""

from functools import partial

from ..errors import FeatureError
from ..matter.mechanics import energy_of, pressure_of, stress_of
from ..matter.neighbours import FIRST_SHELL_SHARP, WITHIN_LARGEST_DIAMETER
from .contact_numbers import coordination_feature, coordination_of
from .elasticity import (
    anisotropy_of,
    bulk_modulus_of,
    elastic_constants_of,
    elastic_tensor_of,
    lowest_modulus_of,
    poisson_ratio_of,
    shear_modulus_of,
    stress_components_of,
    youngs_moduli_of,
    youngs_modulus_of,
)
from .order import bond_order_feature
from .registry import Feature, register, register_family
from .steinhardt import steinhardt_feature
from .vibrations import frequencies_of

__all__ = [
    "anisotropy",
    "bulk_modulus",
    "coordination",
    "elastic_constants",
    "elastic_tensor",
    "lowest_modulus",
    "poisson_ratio",
    "pressure",
    "psi_8",
    "psi_8_sharp",
    "shear_modulus",
    "stress_components",
    "youngs_moduli",
    "youngs_modulus",
]

poisson_ratio = register(
    Feature(
        "poisson_ratio",
        poisson_ratio_of,
        describe="Poisson's ratio ν",
        bounds={2: (-1.0, 1.0), 3: (-1.0, 0.5)},
        symbol="ν",
        units="1",
        stationary=True,
    )
)
bulk_modulus = register(
    Feature(
        "bulk_modulus",
        bulk_modulus_of,
        describe="bulk modulus B",
        symbol="B",
        units="energy / length^d",
        stationary=True,
    )
)
shear_modulus = register(
    Feature(
        "shear_modulus",
        shear_modulus_of,
        describe="shear modulus G",
        symbol="G",
        units="energy / length^d",
        stationary=True,
    )
)
pressure = register(
    Feature(
        "pressure",
        pressure_of,
        describe="pressure p",
        symbol="p",
        units="energy / length^d",
        stationary=True,
    )
)
_stress = register(
    Feature(
        "stress",
        stress_of,
        scalar=False,
        describe="stress",
        symbol="σ_ij",
        units="energy / length^d",
        stationary=True,
    )
)
elastic_tensor = register(
    Feature(
        "elastic_tensor",
        elastic_tensor_of,
        scalar=False,
        describe="elastic tensor",
        symbol="C_ijkl",
        units="energy / length^d",
        stationary=True,
    )
)
lowest_modulus = register(
    Feature(
        "lowest_modulus",
        lowest_modulus_of,
        describe="smallest eigenvalue of the elastic tensor",
        symbol="c_1",
        units="energy / length^d",
        stationary=True,
    )
)
youngs_modulus = register(
    Feature(
        "youngs_modulus",
        youngs_modulus_of,
        describe="Young's modulus E",
        symbol="E",
        units="energy / length^d",
        stationary=True,
    )
)
youngs_moduli = register(
    Feature(
        "youngs_moduli",
        youngs_moduli_of,
        scalar=False,
        describe="Young's moduli along the axes",
        listed=False,
        symbol="E_i",
        units="energy / length^d",
        stationary=True,
    )
)
anisotropy = register(
    Feature(
        "anisotropy",
        anisotropy_of,
        describe="universal elastic anisotropy",
        listed=False,
        symbol="A",
        units="1",
        source="Ranganathan and Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008)",
        stationary=True,
    )
)
elastic_constants = register(
    Feature(
        "elastic_constants",
        elastic_constants_of,
        scalar=False,
        describe="elastic constants",
        listed=False,
        symbol="C_ab",
        units="energy / length^d",
        stationary=True,
    )
)
stress_components = register(
    Feature(
        "stress_components",
        stress_components_of,
        scalar=False,
        describe="components of the stress",
        listed=False,
        symbol="σ_a",
        units="energy / length^d",
        stationary=True,
    )
)
_energy = register(
    Feature(
        "energy",
        energy_of,
        needs_box=False,
        describe="energy U",
        symbol="U",
        units="energy",
        stationary=True,
    )
)
psi_8 = register(bond_order_feature(8))
psi_8_sharp = register(bond_order_feature(8, WITHIN_LARGEST_DIAMETER))
coordination = register(
    Feature(
        "coordination",
        coordination_of,
        needs_box=False,
        differentiable=False,
        describe="mean contact number Z, rattlers left out",
        symbol="Z",
        units="1",
        source="O'Hern, Silbert, Liu and Nagel, Phys. Rev. E 68, 011306 (2003)",
        stationary=True,
    )
)


def _frequencies(n: int) -> Feature:
    if n < 1:
        raise FeatureError("frequencies_0: ask for at least one frequency.")
    return Feature(
        f"frequencies_{n}",
        partial(frequencies_of, n_modes=n),
        needs_box=False,
        scalar=False,
        describe=f"the {n} lowest frequencies ω",
        symbol="ω",
        units="(energy / length²)^(1/2)",
        modes=n,
        per_mode=True,
        stationary=True,
    )


register_family("frequencies_{n}", _frequencies)
# Families are measured only where they are asked for by name: their reach may be too much for a
# small box.
register_family("coordination_smooth", coordination_feature)
register_family("psi_{k}", bond_order_feature)
register_family("psi_{k}_sharp", lambda k: bond_order_feature(k, WITHIN_LARGEST_DIAMETER))
register_family("steinhardt_{l}", steinhardt_feature)
register_family(
    "steinhardt_{l}_sharp", lambda degree: steinhardt_feature(degree, FIRST_SHELL_SHARP)
)
register_family("steinhardt_{l}_averaged", partial(steinhardt_feature, averaged=True))
register_family(
    "steinhardt_{l}_averaged_sharp",
    lambda degree: steinhardt_feature(degree, FIRST_SHELL_SHARP, averaged=True),
)
