"""Derivatives of local order and structure: by positions, and through the minimum."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import Feature, Packing, PairPotential, Window
from amorph.bridge.matter.mechanics import state_of
from amorph.bridge.minima.relaxing import relaxation
from amorph.handover import AmorphError

EDGES = np.linspace(0.7, 1.3, 7)
PLANE = {
    "psi_1": bridge.feature("psi_1"),
    "psi_5": bridge.feature("psi_5"),
    "psi_8": bridge.feature("psi_8"),
    "psi_6, by length": bridge.bond_order_feature(6, Window(1.2, 1.4, "length")),
    "g(r)": bridge.pair_distribution_feature(EDGES, 0.1),
    "g_01(r)": bridge.pair_distribution_feature(EDGES, 0.06, types=(0, 1)),
    "coordination": bridge.feature("coordination_smooth"),
}
SPACE = {
    "q_3": bridge.feature("steinhardt_3"),
    "q_6": bridge.feature("steinhardt_6"),
    "q_12": bridge.feature("steinhardt_12"),
    "q_6 averaged": bridge.steinhardt_feature(6, Window(0.9, 1.2), averaged=True),
    "g(r)": bridge.pair_distribution_feature(EDGES, 0.1),
}


def by_positions(f: Feature, theta: PairPotential, packing: Packing, seed: int) -> None:
    """Along three random directions, to fourth order; two step sizes agree."""
    state = state_of(theta, packing, reach=f.reach(theta))
    value = jax.jit(lambda x: f.function(theta, replace(state, positions=x)))
    x = packing.positions
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(3, *x.shape))
    slopes = jax.jit(jax.jacrev(value))(x)
    for u in directions:
        exact = np.sum(np.asarray(slopes) * u, axis=(-2, -1))
        found = []
        for h in (2e-5, 1e-5):
            one, two = (value(x + k * h * u) - value(x - k * h * u) for k in (1, 2))
            found.append(np.asarray(8 * one - two) / (12 * h))
        scale = np.abs(exact).max()
        assert scale > 1e-4
        assert np.abs(found[0] - found[1]).max() < 1e-7 * max(scale, 1)
        assert np.abs(found[1] - exact).max() < 1e-7 * max(scale, 1)


@pytest.mark.parametrize("name", PLANE)
def test_by_positions_2d(name: str, solid: Packing, theta2: Any) -> None:
    by_positions(PLANE[name], theta2, solid, 1)


@pytest.mark.parametrize("name", SPACE)
def test_by_positions_3d(name: str, spheres3: Any, minima: Any) -> None:
    packing = next(minima(spheres3, 64, 1.6, 3))
    by_positions(SPACE[name], spheres3, packing, 2)


class Crossed(Exception):
    """The differences mean nothing here."""


def by_diameters(
    theta: PairPotential,
    packing: Packing,
    features: list[Feature],
    classes: Callable[..., np.ndarray],
) -> dict[str, np.ndarray]:
    """Central differences with re-minimisation, (..., n_types), or `Crossed`."""
    before = classes(theta, packing)
    rattlers = bridge.response(theta, packing).rattlers
    diameters = theta.arrays()["diameters"]
    out: dict[str, list] = {f.name: [] for f in features}
    for k in range(len(diameters)):
        slopes = []
        for h in (1e-6, 5e-7):
            ends = []
            for sign in (1, -1):
                moved = diameters.copy()
                moved[k] += sign * h
                changed = theta.replace(diameters=moved)
                relaxed = relaxation(changed, packing)
                if (
                    relaxed.moved > 1e-3
                    or (classes(changed, relaxed.packing) != before).any()
                    or (relaxed.response.rattlers != rattlers).any()
                ):
                    raise Crossed(f"diameter {k}")
                ends.append(bridge.measure(changed, relaxed.packing, features).values)
            slopes.append({f.name: (ends[0][f.name] - ends[1][f.name]) / (2 * h) for f in features})
        for f in features:
            first, second = (np.asarray(s[f.name]) for s in slopes)
            if np.abs(first - second).max() > 1e-6 * np.abs(second).max():
                raise Crossed(f"{f.name}: the steps disagree")
            out[f.name].append(second)
    return {name: np.stack(columns, axis=-1) for name, columns in out.items()}


def check(
    theta: PairPotential,
    packings: Any,
    features: list[Feature],
    classes: Any,
    suits: Callable[[Packing], bool] = lambda packing: True,
) -> None:
    why = []
    for packing in packings:
        if not suits(packing):
            continue
        try:
            expected = by_diameters(theta, packing, features, classes)
        except (Crossed, AmorphError) as error:
            why.append(str(error))
            continue
        found = bridge.measure(theta, packing, (), features)
        for f in features:
            gradient = found.gradients[f.name].arrays()["diameters"]
            assert gradient.shape == expected[f.name].shape
            scale = np.abs(expected[f.name]).max()
            assert scale > 0, f.name
            assert np.abs(gradient - expected[f.name]).max() <= 2e-6 * scale, f.name
        return
    pytest.fail(f"no packing without crossings was found: {why}")


def test_through_the_minimum_2d(theta2: Any, minima: Any, classes: Any) -> None:
    features = [PLANE[n] for n in ("psi_5", "psi_6, by length", "g(r)", "coordination")]
    check(theta2, minima(theta2, 48, 1.4, 2), features, classes)


def test_through_the_minimum_3d(spheres3: Any, minima: Any, classes: Any) -> None:
    features = [SPACE[n] for n in ("q_6", "q_12", "q_6 averaged", "g(r)")]
    check(spheres3, minima(spheres3, 64, 1.6, 3), features, classes)


def test_coordination_with_rattlers(minima: Any, classes: Any) -> None:
    """Rattlers are left out, so that its gradient exists where ψ's does not."""
    theta = bridge.SoftSphere(diameters=[0.8, 1.12], stiffness=[4.0, 5.0, 6.0])
    f = bridge.coordination_feature(Window(0.9, 1.4))
    suited = []

    def has_rattlers(packing: Packing) -> bool:
        suited.append(packing)
        return bool(bridge.response(theta, packing).rattlers.any())

    check(theta, minima(theta, 64, 1.21, 2, tries=60), [f], classes, has_rattlers)
    with pytest.raises(bridge.errors.RattlerError):
        bridge.measure(theta, suited[-1], (), ["psi_6"])
