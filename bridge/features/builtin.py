"""The features that come with Amorph, by name."""

from collections.abc import Callable
from functools import partial
from typing import Any

from jax import Array

from ..errors import FeatureError
from ..matter.mechanics import energy_of, pressure_of, stress_of
from ..matter.neighbours import FIRST_SHELL_SHARP, WITHIN_LARGEST_DIAMETER
from . import moduli
from .contact_numbers import coordination_feature, coordination_of
from .elasticity import elastic_tensor_of, of_tensor, stress_components_of
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
    "poisson_ratios",
    "pressure",
    "psi_8",
    "psi_8_sharp",
    "shear_moduli",
    "shear_modulus",
    "stress_components",
    "youngs_moduli",
    "youngs_modulus",
]

_MODULUS = "energy / length^d"


def _elastic(name: str, function: Callable[[Array], Array], **said: Any) -> Feature:
    """The feature of a function of the elastic tensor."""
    return register(Feature(name, of_tensor(function), of_tensor=function, stationary=True, **said))


poisson_ratio = _elastic(
    "poisson_ratio",
    moduli.poisson_ratio,
    describe="Poisson's ratio ν",
    bounds={2: (-1.0, 1.0), 3: (-1.0, 0.5)},
    symbol="ν",
    units="1",
)
bulk_modulus = _elastic(
    "bulk_modulus",
    moduli.bulk_modulus,
    describe="bulk modulus B",
    symbol="B",
    units=_MODULUS,
)
shear_modulus = _elastic(
    "shear_modulus",
    moduli.shear_modulus,
    describe="shear modulus G",
    symbol="G",
    units=_MODULUS,
)
pressure = register(
    Feature(
        "pressure",
        pressure_of,
        describe="pressure p",
        symbol="p",
        units=_MODULUS,
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
        units=_MODULUS,
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
        units=_MODULUS,
        stationary=True,
    )
)
lowest_modulus = _elastic(
    "lowest_modulus",
    moduli.lowest_modulus,
    describe="smallest eigenvalue of the elastic tensor",
    symbol="c_1",
    units=_MODULUS,
)
youngs_modulus = _elastic(
    "youngs_modulus",
    moduli.youngs_modulus,
    describe="Young's modulus E",
    symbol="E",
    units=_MODULUS,
)
youngs_moduli = _elastic(
    "youngs_moduli",
    moduli.youngs_moduli,
    scalar=False,
    describe="Young's moduli along the axes",
    listed=False,
    symbol="E_i",
    units=_MODULUS,
)
poisson_ratios = _elastic(
    "poisson_ratios",
    moduli.poisson_ratios,
    scalar=False,
    describe="Poisson's ratios along the axes",
    listed=False,
    symbol="ν_ij",
    units="1",
)
shear_moduli = _elastic(
    "shear_moduli",
    moduli.shear_moduli,
    scalar=False,
    describe="pure and simple shear moduli",
    listed=False,
    symbol="G_a",
    units=_MODULUS,
)
anisotropy = _elastic(
    "anisotropy",
    moduli.anisotropy,
    describe="universal elastic anisotropy",
    listed=False,
    symbol="A",
    units="1",
    source="Ranganathan and Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008)",
)
elastic_constants = _elastic(
    "elastic_constants",
    moduli.elastic_constants,
    scalar=False,
    describe="elastic constants",
    listed=False,
    symbol="C_ab",
    units=_MODULUS,
)
stress_components = register(
    Feature(
        "stress_components",
        stress_components_of,
        scalar=False,
        describe="components of the stress",
        listed=False,
        symbol="σ_a",
        units=_MODULUS,
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
