"""Gradients through the minimum against central differences with re-minimisation.

u'' jumps at the pair's breaks, so differences mean something only where no pair crosses one within
the stencil and two step sizes agree: packings are tried until one is found, and none is a failure.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import Packing, PairPotential
from amorph.bridge.minima.relaxing import relaxation
from amorph.handover import AmorphError

FEATURES = ["poisson_ratio", "pressure", "bulk_modulus", "shear_modulus"]
STEP = 1e-6  # relative; the other is half of it
AGREE = 1e-6


class Crossed(Exception):
    """The differences mean nothing here."""


def central_differences(
    theta: PairPotential,
    packing: Packing,
    features: list[str],
    classes: Callable[..., np.ndarray],
) -> dict[str, dict[str, np.ndarray]]:
    """(f(θ + h) - f(θ - h)) / 2h for every parameter, or `Crossed`."""
    before = classes(theta, packing)
    rattlers = bridge.response(theta, packing).rattlers
    out: dict[str, dict[str, np.ndarray]] = {f: {} for f in features}
    for name, values in theta.arrays().items():
        slopes = np.zeros((len(features), 2, len(values)))
        for k, value in enumerate(values):
            for s, h in enumerate((STEP * value, STEP * value / 2)):
                ends = []
                for sign in (1, -1):
                    moved = values.copy()
                    moved[k] += sign * h
                    changed = theta.replace(**{name: moved})
                    relaxed = relaxation(changed, packing)
                    held = ~rattlers
                    if (
                        relaxed.moved > 1e-3
                        or (classes(changed, relaxed.packing) != before).any()
                        or (relaxed.response.rattlers != rattlers).any()
                    ):
                        raise Crossed(f"{name}[{k}]")
                    assert held.any()
                    found = bridge.measure(changed, relaxed.packing, features)
                    ends.append((changed.arrays()[name][k], found.values))
                width = ends[0][0] - ends[1][0]
                for f, feature in enumerate(features):
                    slopes[f, s, k] = (ends[0][1][feature] - ends[1][1][feature]) / width
        for f, feature in enumerate(features):
            scale = np.abs(slopes[f, 1]).max()
            if np.abs(slopes[f, 0] - slopes[f, 1]).max() > 0.5 * AGREE * scale:
                raise Crossed(f"{feature} by {name}: the steps disagree")
            out[feature][name] = slopes[f, 1]
    return out


def check(
    theta: PairPotential,
    packings: Iterable[Packing],
    classes: Callable[..., np.ndarray],
    suits: Callable[[Packing], bool] = lambda packing: True,
    features: list[str] = FEATURES,
) -> Packing:
    """Compare at the first packing that suits and has no crossing; fail if there is none."""
    why = []
    for packing in packings:
        if not suits(packing):
            why.append("does not suit")
            continue
        try:
            expected = central_differences(theta, packing, features, classes)
        except (Crossed, AmorphError) as error:
            why.append(str(error))
            continue
        found = bridge.measure(theta, packing, (), features)
        for feature in features:
            for name, slope in expected[feature].items():
                gradient = found.gradients[feature].arrays()[name]
                scale = np.abs(slope).max()
                assert scale > 0, (feature, name)
                assert np.abs(gradient - slope).max() <= AGREE * scale, (feature, name)
        return packing
    pytest.fail(f"no packing without crossings was found: {why}")


def test_two_types_2d(theta2: Any, minima: Any, classes: Any) -> None:
    check(theta2, minima(theta2, 48, 1.4, 2), classes, features=[*FEATURES, "energy", "psi_8"])


def test_four_types_2d(minima: Any, classes: Any) -> None:
    rng = np.random.default_rng(4)
    theta = bridge.HarmonicMorse(
        diameters=[0.8, 0.9, 1.0, 1.1],
        binding=rng.uniform(0.05, 0.2, 10),
        stiffness=rng.uniform(4, 6, 10),
        alpha=rng.uniform(10, 12, 10),
    )
    check(theta, minima(theta, 48, 1.4, 2), classes)


def test_under_hydrostatic_tension(theta2: Any, minima: Any, classes: Any) -> None:
    def in_tension(packing: Packing) -> bool:
        return bool(np.linalg.eigvalsh(bridge.stress(theta2, packing))[0] > 0.01)

    packing = check(theta2, minima(theta2, 48, 1.1, 2, tries=30), classes, in_tension)
    assert bridge.pressure(theta2, packing) < 0, "tension in every direction"


def test_three_dimensions(minima: Any, classes: Any) -> None:
    theta = bridge.HarmonicMorse(
        diameters=[0.9, 1.1], binding=0.1, stiffness=[5.0, 5.5, 6.0], alpha=[14.0, 15.0, 16.0]
    )
    check(theta, minima(theta, 64, 1.25, 3), classes)


@pytest.mark.slow
def test_reduced_form_2d(theta2: Any, minima: Any, classes: Any) -> None:
    theta = bridge.HarmonicMorseReduced(**theta2.arrays())
    check(theta, minima(theta, 48, 1.4, 2), classes)


def test_soft_spheres_3d(spheres3: Any, minima: Any, classes: Any) -> None:
    check(spheres3, minima(spheres3, 40, 1.6, 3), classes)


@pytest.mark.slow
def test_four_types_3d(minima: Any, classes: Any) -> None:
    theta = bridge.SoftSphere(diameters=[0.85, 0.95, 1.05, 1.15], stiffness=np.linspace(3, 6, 10))
    check(theta, minima(theta, 40, 1.6, 3), classes)


def test_with_rattlers(minima: Any, classes: Any) -> None:
    """Not far above jamming: some particles hold nothing, and nothing holds them."""
    theta = bridge.SoftSphere(diameters=[0.8, 1.12], stiffness=[4.0, 5.0, 6.0])

    def has_rattlers(packing: Packing) -> bool:
        return bool(bridge.response(theta, packing).rattlers.any())

    packing = check(theta, minima(theta, 64, 1.21, 2, tries=60), classes, has_rattlers)
    n = int(bridge.response(theta, packing).rattlers.sum())
    assert 0 < n < 20
    # Features of the positions themselves depend on where a rattler lies.
    with pytest.raises(bridge.errors.RattlerError, match=f"{n} rattlers"):
        bridge.measure(theta, packing, (), ["psi_8"])
    assert np.isfinite(bridge.feature("psi_8")(theta, packing))


def test_gradient_of_arrays(theta2: Any, solid: Packing) -> None:
    """Leaves have the feature's shape followed by the parameter's; parts agree with the whole."""
    found = bridge.measure(theta2, solid, (), ["elastic_tensor", "stress", *FEATURES])
    tensor = found.gradients["elastic_tensor"]
    assert tensor.binding.shape == (2, 2, 2, 2, 3)
    assert tensor.diameters.shape == (2, 2, 2, 2, 2)
    assert found.gradients["stress"].alpha.shape == (2, 2, 3)
    for name in theta2.arrays():
        c = np.asarray(tensor.arrays()[name])
        bulk = np.einsum("iijjp->p", c) / 4
        shear = (np.einsum("ijijp->p", c) - 2 * bulk) / 4
        np.testing.assert_allclose(bulk, found.gradients["bulk_modulus"].arrays()[name], rtol=1e-9)
        np.testing.assert_allclose(
            shear, found.gradients["shear_modulus"].arrays()[name], rtol=1e-9
        )
        p = -np.einsum("iip->p", found.gradients["stress"].arrays()[name]) / 2
        np.testing.assert_allclose(p, found.gradients["pressure"].arrays()[name], rtol=1e-9)


def test_value_and_grad(theta2: Any, solid: Packing) -> None:
    value, gradient = bridge.value_and_grad(bridge.poisson_ratio)(theta2, solid)
    by_name, same = bridge.value_and_grad("poisson_ratio")(theta2, solid)
    assert isinstance(gradient, bridge.HarmonicMorse)
    assert by_name == value
    assert bridge.poisson_ratio(theta2, solid) == pytest.approx(value, rel=1e-14)
    for name, values in gradient.arrays().items():
        np.testing.assert_array_equal(values, same.arrays()[name])


@pytest.mark.slow
def test_pair_parameters_that_no_pair_has(minima: Any) -> None:
    """A type without particles: its derivatives are zero, not NaN."""
    theta = bridge.SoftSphere(diameters=[0.9, 1.1, 3e-1], stiffness=[4.0, 5, 1, 6, 1, 1])
    packing = next(iter_packings(theta))
    found = bridge.measure(theta, packing, (), FEATURES)
    for feature in FEATURES:
        gradient = found.gradients[feature].arrays()
        assert gradient["diameters"][2] == 0
        assert not gradient["stiffness"][[2, 4, 5]].any()
        assert gradient["stiffness"][[0, 1, 3]].all()


def iter_packings(theta: PairPotential) -> Iterator[Packing]:
    from amorph import ensemble

    found = ensemble.quench(theta, 40, 1.6, 2, 5, seed=3, composition=[1, 1, 0], threads=1)
    for k in np.flatnonzero(found.converged):
        yield bridge.relax(theta, Packing(found.positions[k], found.typeid, found.boxes[0]))
