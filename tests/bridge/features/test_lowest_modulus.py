"""The smallest eigenvalue of the elastic tensor flags a packing that its box alone holds."""

from pathlib import Path

import numpy as np
import pytest

from amorph import bridge

REFERENCE = Path(__file__).resolve().parents[2] / "data" / "reference"


@pytest.mark.parametrize("name", ["hm2d_n128_a6_s2", "soft3d_n96_s3"])
def test_it_is_the_least_energy_of_a_unit_strain(name: str) -> None:
    theta, packing = next(bridge.read_gsd(REFERENCE / f"{name}.gsd"))
    tensor = bridge.elastic_tensor(theta, packing)
    lowest = bridge.feature("lowest_modulus")(theta, packing)
    rng = np.random.default_rng(0)
    d = packing.dimension
    energies = []
    for _ in range(20_000):
        strain = rng.normal(size=(d, d))
        strain = strain + strain.T
        strain /= np.linalg.norm(strain)
        energies.append(np.einsum("ij,ijkl,kl->", strain, tensor, strain))
    assert lowest <= min(energies)
    # Twenty thousand directions in three dimensions come close; in six, less so.
    assert min(energies) < lowest * (1.01 if d == 2 else 1.5)
