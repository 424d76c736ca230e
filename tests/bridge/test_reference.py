"""The reference packings, made independently: values 1e-8, frequencies 1e-6, gradients 1e-5."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge.minima.relaxing import relaxation

NAMES = [
    "hm2d_n120_a6_sp4_s5",
    "hm2d_n128_a12_s7",
    "hm2d_n128_a6_s2",
    "hm2d_n128_a6_s21",
    "hm2d_n128_a6_s41",
    "hm3d_n220_a6_s4",
    "soft2d_n128_rattlers_s12",
    "soft3d_n96_s3",
]
VALUES = (
    "energy", "pressure", "stress", "elastic_tensor", "bulk_modulus", "shear_modulus",
    "poisson_ratio",
)  # fmt: skip


@pytest.fixture(scope="module", params=NAMES)
def case(request: Any, references: Any) -> Any:
    theta, packing, expected = references[request.param]
    relaxed = relaxation(theta, packing)
    gradients = list(expected["gradients"])
    assert set(gradients) == {"poisson_ratio", "pressure", "bulk_modulus", "shear_modulus"}
    measured = bridge.measure(theta, relaxed.packing, VALUES, gradients)
    return theta, packing, expected, relaxed, measured


def off(found: Any, expected: Any) -> float:
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_reference(case: Any) -> None:
    theta, packing, expected, relaxed, measured = case
    assert relaxed.moved < 1e-9, "the reference is at rest"
    assert relaxed.response.max_force <= bridge.default_tolerance(theta, packing)
    for name in VALUES:
        assert off(measured.values[name], expected[name]) < 1e-9, name
    for feature, by_parameter in expected["gradients"].items():
        for parameter, values in by_parameter.items():
            found = measured.gradients[feature].arrays()[parameter]
            # The references' own finite differences are good to 3e-6.
            assert off(found, values) < 3e-6, (feature, parameter)
    assert abs(measured.values["poisson_ratio"] - expected["poisson_ratio_by_jax_md"]) < 1e-6

    frequencies = bridge.lowest_frequencies(theta, relaxed.packing)
    wanted = np.asarray(expected["lowest_frequencies"])
    zero = packing.dimension * (1 + expected["n_rattlers"])
    assert frequencies.shape == wanted.shape == (16 + zero,)
    assert not frequencies[:zero].any()
    assert off(frequencies[zero:], wanted[zero:]) < 1e-9
    assert np.abs(wanted[:zero]).max() < 1e-6

    assert int(relaxed.response.rattlers.sum()) == expected["n_rattlers"]
    if expected["n_rattlers"]:
        # Those that touch nothing in the reference.
        gaps = bridge.forces(theta, packing)
        moved = np.abs(gaps).sum(axis=1)
        assert not moved[relaxed.response.rattlers].any()


def test_from_float32_positions(references: Any) -> None:
    """As in a HOOMD file: forces of 1e-6, from which the same minimum is found."""
    theta, packing, expected = references["hm2d_n128_a6_s2"]
    rounded = packing.with_positions(packing.positions.astype(np.float32))
    assert 1e-8 < np.abs(bridge.forces(theta, rounded)).max() < 1e-4
    relaxed = bridge.relax(theta, rounded)
    # Functions of any packing, and features one at a time.
    assert off(bridge.stress(theta, packing), expected["stress"]) < 1e-9
    assert bridge.energy(theta, packing) == pytest.approx(expected["energy"], rel=1e-12)
    assert off(bridge.poisson_ratio(theta, relaxed), expected["poisson_ratio"]) < 1e-8
    assert np.abs(relaxed.positions - packing.positions).max() < 1e-5
    found = bridge.measure(theta, relaxed, VALUES)
    for name in VALUES:
        assert off(found.values[name], expected[name]) < 1e-8, name
