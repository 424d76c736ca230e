"""The energy of many places at once is that of each packing, in all its forms."""

from typing import Any

import jax
import numpy as np
import pytest

from amorph import bridge
from amorph.bridge.landscapes.batches import batch_of
from amorph.bridge.landscapes.surface import MOST_DENSE, surface_of
from amorph.handover import BoxTooSmallError, InputError, UnknownTypeError

from .conftest import lennard_jones, morse


def places(n: int, d: int, spacing: float, seed: int) -> np.ndarray:
    """A grid, shaken."""
    side = int(np.ceil(n ** (1 / d)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * d), axis=-1).reshape(-1, d)[:n]
    return spacing * (grid + 0.1 * np.random.default_rng(seed).normal(size=(n, d)))


def cases() -> dict[str, Any]:
    soft = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=2.0)
    box = np.array([[7.0, 0.6], [0.0, 6.5]])
    fixed = np.arange(30) < 4
    springs, network = bridge.networks.triangular_network((6, 6), seed=1)
    return {
        "cluster": (morse(), bridge.Packing.of(places(7, 3, 1.0, 1), np.arange(7))),
        "plane": (lennard_jones(), bridge.Packing.of(places(9, 2, 1.1, 2), np.zeros(9, int))),
        "box": (soft, bridge.Packing.of(places(36, 2, 1.0, 3), np.arange(36) % 2, box)),
        "held": (
            soft,
            bridge.Packing.of(places(30, 2, 0.9, 4), np.arange(30) % 2, box, fixed=fixed),
        ),
        "listed": (
            soft,
            bridge.Packing.of(places(60, 3, 1.0, 5), np.arange(60) % 2, 5.0 * np.eye(3)),
        ),
        "network": (springs, network),
    }


@pytest.mark.parametrize("name", cases())
def test_energy_gradient_and_hessian(name: str) -> None:
    theta, packing = cases()[name]
    surface = surface_of(theta, packing, skin=0.3)
    assert (surface.ends is None) == (packing.n_particles > MOST_DENSE or name == "network")
    rng = np.random.default_rng(0)
    x = np.asarray(packing.positions) + 0.02 * rng.normal(size=(3, *packing.positions.shape))
    energies, slopes = jax.vmap(surface.energy_and_gradient)(x)
    for k in range(3):
        there = packing.with_positions(x[k])
        assert energies[k] == pytest.approx(bridge.energy(theta, there), rel=1e-12)
        assert surface.energy(x[k]) == pytest.approx(float(energies[k]), rel=1e-12)
        right = -bridge.forces(theta, there)
        if packing.fixed is not None:
            right[packing.fixed] = 0.0
        scale = np.abs(right).max()
        assert np.allclose(slopes[k], right, rtol=0, atol=1e-12 * scale)
        matrix = bridge.hessian(theta, there)
        assert np.allclose(surface.hessian(x[k]), matrix, rtol=0, atol=1e-12 * np.abs(matrix).max())


def test_each_search_may_have_its_own_interactions() -> None:
    thetas = [morse(1), morse(2)]
    packing = bridge.Packing.of(places(7, 3, 1.0, 1), np.arange(7))
    batch = batch_of(thetas, packing)
    assert batch.own
    energies = jax.vmap(lambda s, x: s.energy(x), in_axes=(batch.axes, None))(
        batch.surface, np.asarray(packing.positions)
    )
    assert energies[0] == pytest.approx(bridge.energy(thetas[0], packing), rel=1e-12)
    assert energies[1] == pytest.approx(bridge.energy(thetas[1], packing), rel=1e-12)
    with pytest.raises(InputError, match="several kinds"):
        batch_of([thetas[0], lennard_jones()], packing)


def test_bad_input_is_named() -> None:
    packing = bridge.Packing.of(places(7, 3, 1.0, 1), np.arange(7))
    with pytest.raises(UnknownTypeError, match="typeid 6"):
        surface_of(bridge.SoftSphere(diameters=[1.0], stiffness=1.0), packing)
    small = bridge.Packing.of(places(4, 2, 1.0, 1), np.zeros(4, int), 1.5 * np.eye(2))
    with pytest.raises(BoxTooSmallError):
        surface_of(bridge.SoftSphere(diameters=[1.0], stiffness=1.0), small)
