"""Potentials of users' own: what a class must say, what follows from it, and what is refused."""

import math
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amorph import bridge
from amorph.handover import InputError, UnknownPotentialError


class Yukawa(bridge.PairPotential):
    """As short as a user's class may be."""

    parameters = ("strength", "kappa", "r_cut")

    @staticmethod
    def pair_energy(r: Any, pair: Any) -> Any:
        return pair["strength"] * jnp.exp(-pair["kappa"] * (r - pair["sigma"])) / r


YUKAWA = Yukawa(diameters=[0.9, 1.1], strength=[1.0, 2.0, 3.0], kappa=5.0, r_cut=2.5)


def searched(kind: type[bridge.PairPotential], **parameters: Any) -> bridge.PairPotential:
    """A built-in formula without what it states of itself."""
    members = {
        "potential": f"searched_{kind.potential}",
        "parameters": kind.parameters,
        "pair_energy": staticmethod(kind.pair_energy),
        "pair_cutoff": staticmethod(kind.pair_cutoff),
    }
    made = type(f"Searched{kind.__name__}", (bridge.PairPotential,), members)
    return made(**parameters)


def test_a_class_is_a_potential_like_the_built_in_ones() -> None:
    assert YUKAWA.potential == "yukawa"
    assert YUKAWA.n_types == 2
    assert YUKAWA.kappa.tolist() == [5.0] * 3
    assert repr(YUKAWA) == "Yukawa(diameters=[0.9, 1.1], strength=[1, 2, 3], kappa=5, r_cut=2.5)"
    assert YUKAWA.replace(kappa=4.0).kappa[0] == 4.0
    by_order = Yukawa([0.9, 1.1], [1.0, 2.0, 3.0], 5.0, 2.5)
    for name, value in YUKAWA.arrays().items():
        assert np.array_equal(by_order.arrays()[name], value)
        assert np.array_equal(pickle.loads(pickle.dumps(YUKAWA)).arrays()[name], value)
    again = bridge.from_arrays("yukawa", YUKAWA.arrays())
    assert type(again) is Yukawa
    leaves, tree = jax.tree_util.tree_flatten(YUKAWA)
    assert len(leaves) == 4
    assert isinstance(jax.tree_util.tree_unflatten(tree, leaves), Yukawa)
    slope = jax.grad(lambda t: jnp.sum(t.strength * t.diameters[0]))(YUKAWA)
    assert slope.strength.tolist() == [0.9] * 3
    with pytest.raises(AttributeError, match="frozen: use replace"):
        YUKAWA.kappa = 1.0
    with pytest.raises(AttributeError, match="no attribute 'kapa'"):
        _ = YUKAWA.kapa


def test_an_object_made_inside_of_a_transformation() -> None:
    def stiffest(kappa: Any) -> Any:
        theta = YUKAWA.replace(kappa=kappa)
        return jnp.max(theta.kind.pair_energy(jnp.array(1.0), theta.of_pairs(0, 0)))

    # d/dκ of exp(-κ(1 - 0.9)) at r = 1
    assert jax.grad(stiffest)(5.0) == pytest.approx(-0.1 * math.exp(-0.5), rel=1e-14)
    with pytest.raises(InputError, match=r"parameter 'kappa' has shape \(2,\)"):
        jax.jit(lambda k: YUKAWA.replace(kappa=k).kappa)(np.ones(2))


def test_a_constant_of_a_traced_function_is_examined_at_once() -> None:
    @jax.jit
    def scaled(x: Any) -> Any:
        theta = Yukawa(diameters=[0.9, 1.1], strength=1.0, kappa=5.0, r_cut=2.5)
        slopes = theta.break_slopes()["r_cut"].sum()
        return x * theta.max_stiffness() + theta.breaks().sum() + slopes

    theta = Yukawa(diameters=[0.9, 1.1], strength=1.0, kappa=5.0, r_cut=2.5)
    assert scaled(2.0) == pytest.approx(2.0 * theta.max_stiffness() + 4 * 2.5 + 4, rel=1e-14)


def test_beyond_the_cutoff_there_is_nothing() -> None:
    r = jnp.array([2.4999, 2.5, 2.6, 1e3])
    pair = {k: jnp.broadcast_to(v, r.shape) for k, v in YUKAWA.of_pairs(0, 1).items()}
    u = Yukawa.pair_energy(r, pair)
    assert u[0] == pytest.approx(2.0 * math.exp(-5.0 * 1.4999) / 2.4999, rel=1e-14)
    assert u[1:].tolist() == [0.0, 0.0, 0.0]
    slope = jax.jvp(lambda x: Yukawa.pair_energy(x, pair), (r,), (jnp.ones(4),))[1]
    assert np.isfinite(slope).all()
    assert slope[1:].tolist() == [0.0, 0.0, 0.0]


BUILT_IN = [
    bridge.HarmonicMorse(
        diameters=[0.8, 1.0], binding=[0.1, 0.2, 0.3], stiffness=5.0, alpha=[6.0, 7.0, 8.0]
    ),
    bridge.SoftSphere(diameters=[0.8, 1.0], stiffness=[4.0, 5.0, 6.0]),
    bridge.Morse(diameters=[0.8, 1.0], binding=0.1, alpha=6.0),
]


@pytest.mark.parametrize("stated", BUILT_IN, ids=lambda t: t.potential)
def test_what_is_found_is_what_the_built_in_ones_state(stated: bridge.PairPotential) -> None:
    found = searched(stated.kind, **stated.arrays())
    assert not found.states_breaks
    assert np.allclose(found.breaks(), stated.breaks(), rtol=1e-12, atol=0)
    for name, slopes in stated.break_slopes().items():
        assert np.allclose(found.break_slopes()[name], slopes, rtol=0, atol=3e-8), name
    attracts = found.pair_attracts(found.of_types())
    assert np.array_equal(attracts, stated.pair_attracts(stated.of_types()))
    traced = jax.jit(lambda t: (t.attracts_of(0, 1), t.kind.pair_stiffness(t.of_types())))(found)
    assert bool(traced[0]) == bool(attracts[0, 1])
    assert np.allclose(traced[1], found.pair_stiffness(found.of_types()), rtol=1e-12)
    if stated.potential != "morse":  # whose own figure is the well's bottom, not its inner flank
        assert found.max_stiffness() == pytest.approx(stated.max_stiffness(), rel=5e-3)


def test_a_far_cutoff_hides_no_well() -> None:
    """A well is found on a grid of σ, not of the cutoff."""
    near, far, farther = (
        bridge.LennardJones(diameters=[1.0], epsilon=1.0, r_cut=r) for r in (9.9, 100.0, 1e4)
    )
    assert far.max_stiffness() == pytest.approx(near.max_stiffness(), rel=0.03)
    assert farther.max_stiffness() == far.max_stiffness()
    assert farther.kind.pair_attracts(farther.of_types()).all()


def test_a_hard_core_counts_from_a_little_inside_of_its_minimum() -> None:
    theta = bridge.LennardJones(diameters=[1.0], epsilon=1.0, r_cut=2.5)
    r = 0.95 * 2 ** (1 / 6)
    exact = 4 * (156 * r**-14 - 42 * r**-8)
    # The first point of a grid of 1,000 from there on.
    assert exact * (1 - 14 * 0.0025 / r) <= theta.max_stiffness() <= exact
    assert bridge.WCA(diameters=[1.0], epsilon=1.0).max_stiffness() > theta.max_stiffness()
    assert bridge.Hertz(diameters=[2.0], epsilon=4.0).max_stiffness() == 1.5


def test_values_are_computed_once_for_an_object() -> None:
    calls = []

    class Counted(bridge.WCA):
        @classmethod
        def pair_cutoff(cls, pair: Any) -> Any:
            calls.append(1)
            return super().pair_cutoff(pair)

    theta = Counted(diameters=[1.0], epsilon=1.0)
    first = theta.cutoffs(), theta.max_stiffness(), theta.breaks()
    seen = len(calls)
    assert all(a is b for a, b in zip(first, (theta.cutoffs(), theta.max_stiffness(),
                                             theta.breaks()), strict=True))  # fmt: skip
    assert len(calls) == seen
    assert theta.replace(epsilon=2.0).max_stiffness() == 2 * first[1]


def test_sigma_over_pairs_takes_the_place_of_diameters() -> None:
    theta = bridge.LennardJones.kob_andersen()
    assert theta.n_types == 2
    assert theta.diameters.tolist() == [1.0, 0.88]
    assert theta.size_range() == (0.8, 1.0)
    assert theta.of_types()["sigma"].tolist() == [[1.0, 0.8], [0.8, 0.88]]
    assert theta.cutoffs()[0, 1] == 2.0
    assert [p.name for p in theta.declared] == ["sigma", "epsilon", "r_cut"]
    assert theta.component_names("sigma", ("A", "B")) == ["AA", "AB", "BB"]
    additive = bridge.WCA(diameters=[1.0, 1.2], epsilon=1.0)
    same = bridge.WCA(sigma=[1.0, 1.1, 1.2], epsilon=1.0)
    assert np.allclose(additive.cutoffs(), same.cutoffs(), rtol=1e-15)
    with pytest.raises(InputError, match="'sigma' has 2 components"):
        bridge.WCA(sigma=[1.0, 1.1], epsilon=1.0)
    with pytest.raises(InputError, match="wca has no parameter 'sigma'"):
        bridge.WCA(sigma=[1.0], diameters=[1.0], epsilon=1.0)
    with pytest.raises(InputError, match="soft_sphere has no parameter 'sigma'"):
        bridge.SoftSphere(sigma=[1.0], stiffness=1.0)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"strength": -1.0}, "'strength', element 0 is -1.0: it must be finite and greater than 0"),
        ({"strength": [1.0, np.nan, 1.0]}, "element 1 is nan"),
        ({"kappa": [1.0, 2.0]}, r"'kappa' has shape \(2,\): it must have length 3"),
        ({"kappa": "x"}, "parameter 'kappa' is 'x'"),
        ({"kapa": 1.0}, "yukawa has no parameter 'kapa'; did you mean 'kappa'"),
        ({"diameters": [0.0, 1.0]}, "'diameters', element 0 is 0.0"),
    ],
)
def test_wrong_parameters_are_named(given: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        YUKAWA.replace(**given)


def test_missing_and_double_parameters_are_named() -> None:
    with pytest.raises(InputError, match="parameter 'r_cut' is missing"):
        Yukawa([1.0], 1.0, 5.0)
    with pytest.raises(InputError, match="'kappa' was given twice"):
        Yukawa([1.0], 1.0, 5.0, kappa=5.0)
    with pytest.raises(InputError, match="5 parameters were given"):
        Yukawa([1.0], 1.0, 5.0, 2.5, 3.0)


def test_bounds_can_be_stated() -> None:
    class Charged(bridge.PairPotential):
        parameters = (
            bridge.Parameter("charge", low=-math.inf),
            bridge.Parameter("softness", zero_allowed=True, high=1.0),
        )
        cutoff_in_sigma = 2.0

        @staticmethod
        def pair_energy(r: Any, pair: Any) -> Any:
            return pair["charge"] * (2 * pair["sigma"] - r) ** 3 / (r + pair["softness"])

    theta = Charged(diameters=[1.0], charge=-1.0, softness=0.0)
    assert theta.pair_attracts(theta.of_types()).all()
    assert not theta.replace(charge=1.0).pair_attracts(theta.replace(charge=1.0).of_types()).any()
    with pytest.raises(InputError, match="it must be finite and at least 0 and at most 1"):
        theta.replace(softness=1.5)


def test_defined_again_a_class_takes_the_place_of_the_first() -> None:
    def define(factor: float) -> type[bridge.PairPotential]:
        class Again(bridge.PairPotential):
            parameters = "epsilon"
            cutoff_in_sigma = 1.0

            @staticmethod
            def pair_energy(r: Any, pair: Any) -> Any:
                return factor * pair["epsilon"] * (1 - r / pair["sigma"]) ** 2

        return Again

    for factor in (1.0, 2.0):
        define(factor)
        theta = bridge.from_arrays("again", {"diameters": [1.0], "epsilon": 1.0})
        u = theta.kind.pair_energy(jnp.array(0.5), theta.of_pairs(0, 0))
        assert u == 0.25 * factor


def test_another_one_of_a_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"a potential 'yukawa' already, .*\.Yukawa"):
        type("Other", (Yukawa,), {"potential": "yukawa"})
    with pytest.raises(InputError, match="a potential 'morse' already"):
        type("Morse", (bridge.PairPotential,), {"pair_energy": lambda r, pair: r})


def test_an_unknown_name_says_how_it_becomes_known() -> None:
    with pytest.raises(UnknownPotentialError, match=r"did you mean 'yukawa'.*--plugin FILE"):
        bridge.from_arrays("yukava", {})


def make(**members: Any) -> None:
    """An object of a class with such members, all else right."""
    whole = {
        "potential": "made",
        "parameters": ("epsilon",),
        "cutoff_in_sigma": 1.0,
        "pair_energy": staticmethod(lambda r, pair: pair["epsilon"] * (1 - r) ** 2),
        **members,
    }
    kind = type("Made", (bridge.PairPotential,), {k: v for k, v in whole.items() if v is not None})
    kind(diameters=[1.0], epsilon=1.0)


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ({"cutoff_in_sigma": None}, "does not say where u ends: give it the parameter 'r_cut'"),
        ({"cutoff_in_sigma": -1.0}, "cutoff_in_sigma is -1.0"),
        ({"parameters": 3}, "parameters is 3: it must be names"),
        ({"parameters": ("a b",)}, "parameters holds 'a b'"),
        ({"parameters": ("sigma",)}, "every potential has 'sigma'"),
        ({"parameters": ("replace",)}, "'replace' means something else"),
        ({"parameters": (bridge.Parameter("x", per_pair=False),)}, "'x' belongs to types"),
        ({"potential": "My potential"}, "a name has small letters"),
        ({"pair_energy": lambda r, pair: pair["k"] * r}, "reads pair\\['k'\\], which is not decl"),
        ({"pair_energy": lambda r, pair: jnp.sum(r)}, r"gives shape \(\)"),
        ({"pair_energy": lambda r, pair: float(r)}, "Made.pair_energy cannot be used: "),
        ({"pair_energy": lambda r, pair: jnp.log(0.8 - r)}, "u = nan.*must be finite"),
        ({"pair_cutoff": lambda pair: -pair["sigma"]}, r"pair_cutoff gives \[-1.0\]"),
        ({"pair_breaks": lambda pair: (0.5 * pair["sigma"],)}, "the last break is the cutoff"),
        (
            {
                "pair_energy": lambda r, pair: jnp.where(r < 0.7, (r - 0.7) ** 2, 0.0),
                "pair_breaks": lambda pair: (pair["sigma"],),
            },
            "u'' jumps at r = 0.7 for",
        ),
    ],
)  # fmt: skip
def test_a_class_that_cannot_be_used_is_refused_by_name(
    members: dict[str, Any], match: str
) -> None:
    with pytest.raises(InputError, match=match):
        make(**members)
