"""Features of users' own: registered, evaluated, differentiated; and arithmetic of features."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amorph import bridge
from amorph.bridge.errors import FeatureError
from amorph.bridge.features.registry import FEATURES


@pytest.fixture(scope="module", autouse=True)
def registry() -> Iterator[None]:
    """Leave the registry as it was: other tests list it."""
    before = dict(FEATURES)
    yield
    FEATURES.clear()
    FEATURES.update(before)


def define() -> dict[str, bridge.Feature]:
    """Features as a user writes them."""

    @bridge.feature(symbol="δ", units="length")
    def own_gap(theta: Any, state: Any) -> Any:
        """The mean gap of interacting pairs."""
        return bridge.pair_mean(theta, state, lambda pair: pair.distance - pair.sigma)

    @bridge.feature
    def own_size(theta: Any, state: Any) -> Any:
        # Parameters of types, and of pairs, beside positions.
        sizes = jnp.sum(theta.diameters[state.typeid] ** 2)
        return sizes * bridge.pair_sum(theta, state, lambda pair: pair.distance / pair.sigma)

    @bridge.feature(scalar=False)
    def own_response(theta: Any, state: Any) -> Any:
        return jnp.sum(state.nonaffine**2, axis=(0, 1))

    return {f.name: f for f in (own_gap, own_size, own_response)}


OWN = define()


def step_of(theta: bridge.PairPotential, name: str, k: int) -> float:
    return float(1e-5 * theta.arrays()[name][k])


def by_differences(
    function: Callable[[Any], Any], theta: bridge.PairPotential, name: str, k: int
) -> Any:
    """A derivative by a component of a parameter, to fourth order in a small step."""
    step = step_of(theta, name, k)

    def at(by: float) -> Any:
        values = theta.arrays()[name].copy()
        values[k] += by
        return np.asarray(function(theta.replace(**{name: values})))

    wide, near = ((at(s) - at(-s)) / (2 * s) for s in (2 * step, step))
    return (4 * near - wide) / 3


@pytest.mark.parametrize("name", list(OWN))
def test_derivatives_are_those_of_the_packing_that_follows(
    name: str, theta2: Any, solid: bridge.Packing
) -> None:
    f = OWN[name]

    def followed(theta: Any) -> Any:
        return f(theta, bridge.relax(theta, solid))

    measured = bridge.measure(theta2, solid, [], [f])
    through = jax.jacrev(lambda theta: f(theta, bridge.minimum(theta, solid)))(theta2)
    assert np.allclose(measured.values[name], followed(theta2), rtol=1e-12)
    for parameter, k in (("diameters", 0), ("stiffness", 1), ("alpha", 2)):
        expected = by_differences(followed, theta2, parameter, k)
        # A sum of 24,663 has rounding that the step of a difference makes larger.
        rounding = 4e-16 * np.abs(measured.values[name]).max() / step_of(theta2, parameter, k)
        scale = np.abs(expected).max()
        for found in (measured.gradients[name], through):
            slope = np.asarray(getattr(found, parameter))[..., k]
            wrong = np.abs(slope - expected).max()
            assert wrong < 1e-6 * scale + rounding, (parameter, slope, expected)


def test_the_packing_itself_may_be_given_inside_of_a_transformation(
    theta2: Any, solid: bridge.Packing
) -> None:
    whole = jax.grad(lambda theta: bridge.bulk_modulus(theta, solid))(theta2)
    expected = bridge.measure(theta2, solid, [], ["bulk_modulus"]).gradients["bulk_modulus"]
    for parameter, values in expected.arrays().items():
        assert np.allclose(whole.arrays()[parameter], values, rtol=1e-9), parameter


def test_a_mean_over_pairs_is_that_of_the_pairs_that_interact(
    theta2: Any, solid: bridge.Packing, nearest_pairs: Any
) -> None:
    i, j, vector = nearest_pairs(solid)
    r = np.sqrt((vector**2).sum(-1))
    kinds = solid.typeid[i], solid.typeid[j]
    sigma = theta2.of_types()["sigma"][kinds]
    near = r < theta2.cutoffs()[kinds]
    expected = (r - sigma)[near].mean()
    gap = OWN["own_gap"]
    assert gap(theta2, solid) == pytest.approx(expected, rel=1e-12)
    # Where lists have a skin, or reach farther, it is the same.
    assert gap(theta2, jax.jit(bridge.minimum)(theta2, solid)) == pytest.approx(expected, rel=1e-9)
    far = bridge.minimum(theta2, solid, reach=2.0)
    assert gap(theta2, far) == pytest.approx(expected, rel=1e-12)
    distance, counts = bridge.pair_distances(theta2, far, within=1.9)
    assert int(counts.sum()) == int((r < 1.9).sum())
    assert np.allclose(np.sort(distance[counts]), np.sort(r[r < 1.9]), rtol=1e-12)
    rows = bridge.pair_sum(theta2, far, lambda pair: pair.unit[:, :, None] * pair.vector[:, None])
    assert np.trace(rows) == pytest.approx(r[near].sum(), rel=1e-12)


def test_parameters_of_types_have_no_derivative_by_pairs(
    theta2: Any, solid: bridge.Packing
) -> None:
    with pytest.raises(FeatureError, match="diameters/particle: a feature reads theta"):
        bridge.jacobian(theta2, solid, ["own_size"], "diameters/particle")
    assert bridge.jacobian(theta2, solid, ["own_gap"], "diameters/particle").matrix.any()
    second = bridge.second_order(theta2, solid, ["own_size"], {"diameters": [1.0, 0.5]})
    first = bridge.measure(theta2, solid, [], ["own_size"]).gradients["own_size"].diameters
    assert second.slopes["own_size"] == pytest.approx(float(first @ np.array([1.0, 0.5])), rel=1e-9)
    # What is not stationary in W has its second order too, along the same way.
    second = bridge.second_order(theta2, solid, ["own_response"], {"diameters": [1.0, 0.5]})
    first = bridge.measure(theta2, solid, [], ["own_response"]).gradients["own_response"].diameters
    np.testing.assert_allclose(second.slopes["own_response"], first @ [1.0, 0.5], rtol=1e-8)


def test_a_state_that_lists_too_little_is_refused(theta2: Any, solid: bridge.Packing) -> None:
    smooth = bridge.feature("coordination_smooth")
    far = smooth.reach(theta2)
    expected = smooth(theta2, solid)
    assert smooth(theta2, bridge.minimum(theta2, solid, reach=far)) == pytest.approx(expected)
    wide = bridge.coordination_feature(bridge.Window(1.5, 2.2), name="wide")
    with pytest.raises(FeatureError, match=r"'wide' looks as far as 2.42, .* reach=2.42"):
        wide(theta2, bridge.minimum(theta2, solid))
    traced = jax.jit(lambda theta: wide(theta, bridge.minimum(theta, solid)))
    assert np.isnan(traced(theta2))
    with pytest.raises(FeatureError, match="2 lowest modes"):
        bridge.feature("frequencies_2")(theta2, bridge.minimum(theta2, solid))


def test_defined_again_a_feature_takes_the_place_of_the_first() -> None:
    first = OWN["own_gap"]
    ratio = bridge.feature("own_gap / pressure")
    again = define()["own_gap"]
    assert again is not first
    assert bridge.feature("own_gap") is again
    assert bridge.feature("own_gap / pressure") is not ratio
    assert bridge.feature("own_gap / pressure") is bridge.feature("own_gap / pressure")
    OWN.update(define())
    with pytest.raises(FeatureError, match="there is a feature 'own_gap' already"):
        bridge.feature(name="own_gap")(lambda theta, state: 0.0)
    with pytest.raises(FeatureError, match="there is a feature 'pressure' already"):
        bridge.feature(name="pressure")(lambda theta, state: 0.0)


def test_what_a_feature_says_of_itself() -> None:
    f = OWN["own_gap"]
    assert (f.symbol, f.units, f.describe) == ("δ", "length", "The mean gap of interacting pairs")
    assert not f.needs_box
    assert f.dimensions == (2, 3)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: bridge.feature(unit="1")(lambda t, s: 0.0),
            "no option 'unit'; did you mean 'unit",
        ),
        (lambda: bridge.feature(lambda t, s: 0.0), "of the function <lambda> needs a name"),
        (lambda: bridge.feature("pressure", units="1"), "units: only a function's feature takes"),
        (lambda: bridge.feature(units="1")("pressure"), "'pressure' is no function"),
        (lambda: bridge.feature(3), "not 3"),
        (lambda: bridge.feature("presure"), "did you mean 'pressure'.*--plugin FILE"),
    ],
)
def test_wrong_features_are_refused_by_name(make: Any, match: str) -> None:
    with pytest.raises(FeatureError, match=match):
        make()


def test_arithmetic_of_features(theta2: Any, solid: bridge.Packing) -> None:
    texts = [
        "bulk_modulus / shear_modulus",
        "elastic_constants[0] - 2*elastic_tensor[0,1, 0,1]",
        "-sqrt(pressure**2 + 1) * (own_gap - 0.5e0) ** -2 + log(exp(2))",
    ]
    parts = ["bulk_modulus", "shear_modulus", "elastic_constants", "elastic_tensor", "pressure"]
    found = bridge.measure(theta2, solid, [], [*texts, *parts, "own_gap"])
    v, g = found.values, found.gradients
    b, s, c, t, p, d = (v[k] for k in (*parts, "own_gap"))
    expected = [b / s, c[0] - 2 * t[0, 1, 0, 1], -np.sqrt(p**2 + 1) * (d - 0.5) ** -2 + 2]
    assert np.allclose([v[text] for text in texts], expected, rtol=1e-13)

    def slope(name: str) -> Any:
        return g[name].diameters

    by_hand = [
        slope("bulk_modulus") / s - b / s**2 * slope("shear_modulus"),
        slope("elastic_constants")[0] - 2 * slope("elastic_tensor")[0, 1, 0, 1],
        -p / np.sqrt(p**2 + 1) * (d - 0.5) ** -2 * slope("pressure")
        + 2 * np.sqrt(p**2 + 1) * (d - 0.5) ** -3 * slope("own_gap"),
    ]
    for text, expected_slope in zip(texts, by_hand, strict=True):
        assert np.allclose(slope(text), expected_slope, rtol=1e-10, atol=1e-12), text


def test_arithmetic_has_what_its_parts_have(theta2: Any, solid: bridge.Packing) -> None:
    ratio = bridge.feature("bulk_modulus / shear_modulus")
    assert ratio.has_jump_terms
    assert not bridge.feature("own_gap * pressure").has_jump_terms
    assert bridge.feature("psi_6 * pressure").dimensions == (2,)
    assert bridge.feature("frequencies_3[2] - frequencies_3[0]").modes == 3
    assert not bridge.feature("coordination + 1").differentiable
    assert bridge.feature("energy + 1").needs_box is False
    gains = bridge.measure(
        theta2, solid, [], ["bulk_modulus", "shear_modulus", ratio], jump_terms=True
    )
    # Jump terms of a function are no sums of its parts': steps are finite. They are there.
    assert np.isfinite(gains.jump_terms[ratio.name].diameters).all()
    assert np.any(gains.jump_terms[ratio.name].diameters)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "bulk_modulus / shear_modulsu",
            "at character 16: there is no feature 'shear_modulsu'; did",
        ),
        (
            "elastic_constants * 2",
            "'elastic_constants', which is not one number: .* at character 1",
        ),
        ("bulk_modulus +", "cannot be read"),
        ("2 * (pressure", "cannot be read"),
        ("__import__('os').system('ls')", "has Call, which is not read, at character 1"),
        ("pressure.real + 1", "has Attribute, which is not read"),
        ("[x for x in pressure]", "has ListComp"),
        ("(lambda: pressure)()", "has Call"),
        ("pressure + 'a'", "has 'a', which is no number, at character 12"),
        ("pressure + True", "has True"),
        ("pressure + 1e999", "a number that is too large at character 12"),
        ("sin(pressure)", "no function of one value read here"),
        ("1 + 2", "has no feature in it"),
        ("elastic_constants[0.5]", "no whole number from 0 on at character 19"),
        ("elastic_constants[-1]", "no whole number from 0 on"),
        ("psi_6 * steinhardt_6", "defined in different dimensions"),
        ("pressure" + " + pressure" * 60, "at most 500"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, match: str) -> None:
    with pytest.raises(FeatureError, match=match):
        bridge.feature(text)


def test_a_component_that_there_is_not(theta2: Any, solid: bridge.Packing) -> None:
    with pytest.raises(FeatureError, match=r"component \[6\] of 'elastic_constants', .* \(6,\)"):
        bridge.feature("elastic_constants[6] + 0")(theta2, solid)
    with pytest.raises(FeatureError, match=r"component \[0\] of 'pressure', which has shape \(\)"):
        bridge.feature("pressure[0]")(theta2, solid)
