"""The C++ headers against JAX, against symbolic derivatives, and against handover's tables."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from amorph import bridge, ensemble
from amorph.ensemble import _engine
from amorph.handover import POTENTIALS

CLASSES = {
    "harmonic_morse": bridge.HarmonicMorse,
    "harmonic_morse_reduced": bridge.HarmonicMorseReduced,
    "soft_sphere": bridge.SoftSphere,
    "morse": bridge.Morse,
    "four_term": bridge.FourTerm,
}
# Those with a bounded core share their shapes; the others' walls are tested apart, below.
BOUNDED = ["harmonic_morse", "harmonic_morse_reduced", "soft_sphere"]
INSTRUCTION_SETS = ensemble.instruction_sets()
N_POINTS = 64


def test_headers_and_tables_name_the_same_potentials() -> None:
    in_headers = ensemble.potentials()
    assert list(in_headers) == list(POTENTIALS) == list(CLASSES)
    for name, parameters in POTENTIALS.items():
        assert in_headers[name] == [p.name for p in parameters if p.per_pair]
        assert CLASSES[name].potential == name


def test_statuses_are_the_engines() -> None:
    assert {s.name.lower(): int(s) for s in ensemble.Status} == _engine.statuses()


def test_the_generic_instruction_set_is_always_there() -> None:
    assert "generic" in INSTRUCTION_SETS
    assert len(set(INSTRUCTION_SETS)) == len(INSTRUCTION_SETS)


def breaks_of(potential: str, p: dict[str, float]) -> list[float]:
    """The formulas' own borders, from DESIGN.md."""
    if potential == "soft_sphere":
        return [p["sigma"]]
    return [p["sigma"], p["sigma"] + 5.0 / p["alpha"], p["sigma"] + 9.9 / p["alpha"]]


def distances(potential: str, p: dict[str, float], fractions: list[float]) -> np.ndarray:
    """Points inside, at, next to and between all borders, and beyond the last."""
    borders = breaks_of(potential, p)
    at = [r for b in borders for r in (np.nextafter(b, 0), b, np.nextafter(b, np.inf))]
    edges = [1e-3 * p["sigma"], *borders, borders[-1] + p["sigma"]]
    between = [
        a + f * (b - a) for a, b in zip(edges[:-1], edges[1:], strict=True) for f in fractions
    ]
    points = [*edges, *at, *between]
    assert len(points) <= N_POINTS
    return np.array(points + [edges[-1]] * (N_POINTS - len(points)))


def scales(p: dict[str, float], reduced: bool) -> tuple[float, float]:
    """The sizes of u and of u' r: what round-off is measured by."""
    k = p["stiffness"] * (1.0 if reduced else p["sigma"] ** 2)
    binding = p.get("binding", 0.0)
    return k / 2 + binding, k + 2 * p.get("alpha", 0.0) * p["sigma"] * binding


def make_theta(potential: str, p: dict[str, float]) -> Any:
    names = [parameter.name for parameter in POTENTIALS[potential] if parameter.per_pair]
    return CLASSES[potential](diameters=[p["sigma"]], **{name: p[name] for name in names})


@cache
def in_jax(potential: str) -> Callable[..., Any]:
    cls = CLASSES[potential]

    def slope(r: Any, pair: dict[str, Any]) -> Any:
        return jax.grad(cls.pair_energy)(r, pair)

    def both(r: Any, pair: dict[str, Any]) -> Any:
        return (
            jax.vmap(cls.pair_energy, (0, None))(r, pair),
            jax.vmap(slope, (0, None))(r, pair),
            jax.vmap(jax.grad(slope), (0, None))(r, pair),
        )

    return jax.jit(both)


def pair_parameters(potential: str, p: dict[str, float]) -> dict[str, np.ndarray]:
    names = ["sigma"] + [q.name for q in POTENTIALS[potential] if q.per_pair]
    return {name: np.float64(p[name]) for name in names}


positive = st.floats(0.05, 20.0)
shapes = st.fixed_dictionaries(
    {
        "sigma": st.floats(0.2, 3.0),
        "stiffness": positive,
        "binding": st.one_of(st.just(0.0), st.floats(1e-3, 5.0)),
        "alpha": st.floats(2.0, 60.0),
    }
)
insides = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12)


@pytest.mark.parametrize("potential", BOUNDED)
@settings(max_examples=60)
@given(p=shapes, fractions=insides)
def test_point_by_point_against_jax(
    potential: str, p: dict[str, float], fractions: list[float]
) -> None:
    r = distances(potential, p, fractions)
    u_scale, f_scale = scales(p, potential != "harmonic_morse")
    u_jax, slope_jax, _ = (
        np.asarray(x) for x in in_jax(potential)(r, pair_parameters(potential, p))
    )
    for name in INSTRUCTION_SETS:
        u, f = ensemble.evaluate_pairs(make_theta(potential, p), r, instruction_set=name)
        assert np.abs(u - u_jax).max() <= 1e-13 * u_scale, name
        assert np.abs(f + slope_jax / r)[r > 0.01 * p["sigma"]].max() * p["sigma"] ** 2 <= (
            1e-13 * f_scale * (p["sigma"] / r[r > 0.01 * p["sigma"]]).max()
        ), name
        assert np.abs(f * r**2 + slope_jax * r).max() <= 1e-13 * f_scale * max(
            1, r.max() / p["sigma"]
        )
        # Exactly nothing at the cutoff and beyond.
        beyond = r >= breaks_of(potential, p)[-1]
        assert beyond.any()
        assert not u[beyond].any()
        assert not f[beyond].any()
        assert not slope_jax[beyond].any()


# DESIGN.md's formulas, typed anew: S as a piecewise function of r, differentiated by sympy.
R, SIGMA, K, B, A = sympy.symbols("r sigma k B a", positive=True)
ON, CUT = SIGMA + 5 / A, SIGMA + sympy.Rational(99, 10) / A
SWITCH = (CUT**2 - R**2) ** 2 * (CUT**2 + 2 * R**2 - 3 * ON**2) / (CUT**2 - ON**2) ** 3
WELL = B * (sympy.exp(-2 * A * (R - SIGMA)) - 2 * sympy.exp(-A * (R - SIGMA)))
PIECES: dict[str, list[sympy.Expr]] = {
    "harmonic_morse": [K / 2 * (SIGMA - R) ** 2 - B, WELL, WELL * SWITCH],
    "harmonic_morse_reduced": [K / 2 * (1 - R / SIGMA) ** 2 - B, WELL, WELL * SWITCH],
    "soft_sphere": [K / 2 * (1 - R / SIGMA) ** 2],
}


@cache
def symbolic(potential: str) -> list[list[Callable[..., Any]]]:
    """u, u' and u'' of each piece, to be evaluated to 40 digits."""
    order = (R, SIGMA, K, B, A)
    return [
        [sympy.lambdify(order, sympy.diff(piece, R, n), "mpmath") for n in range(3)]
        for piece in PIECES[potential]
    ]


def exact(potential: str, p: dict[str, float], r: np.ndarray) -> np.ndarray:
    """u, u', u'' (3, n) by sympy and mpmath."""
    out = np.zeros((3, len(r)))
    with mpmath.workdps(40):
        sigma, alpha = mpmath.mpf(p["sigma"]), mpmath.mpf(p["alpha"])
        borders = [sigma, sigma + 5 / alpha, sigma + mpmath.mpf("9.9") / alpha]
        pieces = symbolic(potential)
        for i, x in enumerate(r):
            which = sum(mpmath.mpf(float(x)) >= b for b in borders[: len(pieces)])
            if which < len(pieces):
                for n in range(3):
                    out[n, i] = float(
                        pieces[which][n](
                            mpmath.mpf(float(x)), sigma, p["stiffness"], p["binding"], alpha
                        )
                    )
    return out


CASES = [
    {"sigma": 0.9, "stiffness": 5.0, "binding": 0.1, "alpha": 6.0},
    {"sigma": 1.1, "stiffness": 5.0, "binding": 0.1, "alpha": 50.0},
    {"sigma": 0.4, "stiffness": 0.3, "binding": 2.0, "alpha": 3.0},
    {"sigma": 2.5, "stiffness": 40.0, "binding": 0.0, "alpha": 12.0},
]


@pytest.mark.parametrize("p", CASES, ids=lambda p: f"a{p['alpha']:g}")
@pytest.mark.parametrize("potential", BOUNDED)
def test_against_symbolic_derivatives(potential: str, p: dict[str, float]) -> None:
    r = distances(potential, p, [0.1, 0.35, 0.6, 0.99])
    # u'' jumps at the borders, where round-off says on which side a point lies.
    borders = np.array(breaks_of(potential, p))
    clear = np.abs(r[:, None] / borders - 1).min(axis=1) > 1e-12
    u_scale, f_scale = scales(p, potential != "harmonic_morse")
    u, slope, curvature = exact(potential, p, r)
    u_jax, slope_jax, curvature_jax = (
        np.asarray(x) for x in in_jax(potential)(r, pair_parameters(potential, p))
    )
    reach = r.max() / p["sigma"]
    assert np.abs(u_jax - u).max() <= 1e-13 * u_scale
    assert np.abs(slope_jax * r - slope * r).max() <= 1e-13 * f_scale * reach
    second = p["stiffness"] * (1 if potential == "harmonic_morse" else p["sigma"] ** -2) + (
        4 * p["alpha"] ** 2 * p["binding"]
    )
    assert np.abs(curvature_jax - curvature)[clear].max() <= 1e-12 * second
    for name in INSTRUCTION_SETS:
        engine_u, engine_f = ensemble.evaluate_pairs(
            make_theta(potential, p), r, instruction_set=name
        )
        assert np.abs(engine_u - u).max() <= 1e-13 * u_scale
        assert np.abs(engine_f * r**2 + slope * r).max() <= 1e-13 * f_scale * reach


def test_values_worked_by_hand() -> None:
    theta = bridge.HarmonicMorse(diameters=[1.0], binding=0.1, stiffness=5.0, alpha=6.0)
    u, f = ensemble.evaluate_pairs(theta, [0.5, 1.0, 1.5, 2.7])
    well = 0.1 * (np.exp(-6) - 2 * np.exp(-3))
    slope = 0.1 * 12 * (np.exp(-3) - np.exp(-6))
    assert u == pytest.approx([0.525, -0.1, well, 0.0], rel=1e-14, abs=0)
    assert f == pytest.approx([5.0, 0.0, -slope / 1.5, 0.0], rel=1e-14, abs=0)
    # The two forms' cores differ by sigma squared.
    p = {"binding": 0.0, "stiffness": 3.0, "alpha": 6.0}
    whole, _ = ensemble.evaluate_pairs(bridge.HarmonicMorse(diameters=[2.0], **p), [1.0])
    reduced, _ = ensemble.evaluate_pairs(bridge.HarmonicMorseReduced(diameters=[2.0], **p), [1.0])
    assert whole.tolist() == [1.5]
    assert reduced.tolist() == [0.375]


@pytest.mark.parametrize("potential", BOUNDED)
@pytest.mark.parametrize("p", CASES[:3], ids=lambda p: f"a{p['alpha']:g}")
def test_the_bridge_knows_where_u_jumps_and_ends(potential: str, p: dict[str, float]) -> None:
    theta = make_theta(potential, p)
    pair = theta.of_types()
    assert [float(b[0, 0]) for b in theta.pair_breaks(pair)] == pytest.approx(
        breaks_of(potential, p), rel=1e-15
    )
    assert theta.cutoffs()[0, 0] == pytest.approx(breaks_of(potential, p)[-1], rel=1e-15)
    # k_max bounds u'' from above, closely (to the share of the switch).
    borders = [1e-3, *breaks_of(potential, p)]
    r = np.concatenate(
        [np.linspace(a, b, 50)[:-1] for a, b in zip(borders, borders[1:], strict=False)]
    )
    _, _, curvature = exact(potential, p, r)
    assert np.abs(curvature).max() <= theta.max_stiffness() * (1 + 1e-12)
    assert np.abs(curvature).max() >= 0.9 * theta.max_stiffness()


def test_cutoffs_of_all_pairs_of_types() -> None:
    theta = bridge.HarmonicMorse(
        diameters=[0.5, 0.8, 1.1], binding=0.1, stiffness=5.0, alpha=[6, 7, 8, 9, 10, 11]
    )
    alpha = np.array([[6, 7, 8], [7, 9, 10], [8, 10, 11]])
    sigma = np.add.outer([0.5, 0.8, 1.1], [0.5, 0.8, 1.1]) / 2
    np.testing.assert_allclose(theta.cutoffs(), sigma + 9.9 / alpha, rtol=1e-15)
    from amorph.ensemble.engine import tables

    np.testing.assert_allclose(tables(theta).r_cut[0], sigma + 9.9 / alpha, rtol=1e-15)


# The potentials with a wall, typed anew from their papers: terms, so that round-off has a scale.
P = sympy.symbols("b0 a0 a1 a2 b1 b2 a3 r_cut", positive=True)
B0, A0, A1, A2, B1, B2, A3, RCUT = P
MORSE_TERMS = [B * sympy.exp(-2 * A * (R - SIGMA)), -2 * B * sympy.exp(-A * (R - SIGMA))]
FOUR_TERMS = [
    B0 / R**12,
    -A0 / R**10,
    A1 * sympy.exp(-A2 * R),
    -B1 * sympy.exp(-B2 * (R - A3) ** 2),
]
RECHTSMAN = {
    "b0": 5.0,
    "a0": 5.89,
    "a1": 17.9,
    "a2": 2.49,
    "b1": 0.4,
    "b2": 40.0,
    "a3": 1.823,
    "r_cut": 3.0,
}


def switched(terms: list[sympy.Expr], on: sympy.Expr, cut: sympy.Expr, beyond: bool) -> list[Any]:
    switch = (cut**2 - R**2) ** 2 * (cut**2 + 2 * R**2 - 3 * on**2) / (cut**2 - on**2) ** 3
    return [term * switch if beyond else term for term in terms]


@pytest.mark.parametrize(
    ("theta", "terms", "on", "cut", "values"),
    [
        pytest.param(
            bridge.Morse(diameters=[1.2], binding=0.7, alpha=8.0),
            MORSE_TERMS,
            SIGMA + 5 / A,
            SIGMA + sympy.Rational(99, 10) / A,
            {SIGMA: 1.2, B: 0.7, A: 8.0},
            id="morse",
        ),
        pytest.param(
            bridge.FourTerm(diameters=[1.0], **RECHTSMAN),
            FOUR_TERMS,
            sympy.Rational(4, 5) * RCUT,
            RCUT,
            {symbol: RECHTSMAN[str(symbol)] for symbol in P},
            id="four_term",
        ),
    ],
)
def test_potentials_with_a_wall(
    theta: Any, terms: list[Any], on: Any, cut: Any, values: dict[Any, float]
) -> None:
    r_on, r_cut = (float(x.subs(values)) for x in (on, cut))
    assert theta.cutoffs()[0, 0] == pytest.approx(r_cut, rel=1e-15)
    r = np.concatenate([np.linspace(0.5, r_on, 60), np.linspace(r_on, r_cut, 40)[1:-1]])
    expected, scale = np.zeros((2, 3, len(r)))
    for n in range(3):
        for term in range(len(terms)):
            for beyond in (False, True):
                expression = sympy.diff(switched(terms, on, cut, beyond)[term].subs(values), R, n)
                value = sympy.lambdify(R, expression, "mpmath")
                for i, x in enumerate(r):
                    if (x > r_on) == beyond:
                        with mpmath.workdps(30):
                            part = float(value(mpmath.mpf(float(x))))
                        expected[n, i] += part
                        scale[n, i] += abs(part)
    for name in INSTRUCTION_SETS:
        u, f = ensemble.evaluate_pairs(theta, r, instruction_set=name)
        assert (np.abs(u - expected[0]) <= 1e-13 * scale[0]).all(), name
        assert (np.abs(f * r + expected[1]) <= 1e-13 * scale[1] + 1e-13 * scale[0] / r).all(), name
        at_cut, beyond_cut = ensemble.evaluate_pairs(
            theta, [r_cut, np.nextafter(r_cut, 9), 2 * r_cut], instruction_set=name
        )
        assert not at_cut.any()
        assert not beyond_cut.any()
    pair = {k: v[0, 0] for k, v in theta.of_types().items()}
    in_jax = jax.vmap(lambda x: theta.pair_energy(x, pair))(r)
    assert (np.abs(in_jax - expected[0]) <= 1e-13 * scale[0]).all()
    # The scale of stiffness is that of the well, and the engine's and the bridge's the same.
    from amorph.ensemble.engine import tables

    assert tables(theta).max_stiffness[0] == pytest.approx(theta.max_stiffness(), rel=1e-12)
    if theta.potential == "morse":
        assert theta.max_stiffness() == pytest.approx(2 * 8.0**2 * 0.7, rel=1e-15)
    else:
        inside = r > 0.96 * r[np.argmin(expected[0])]
        steepest = np.abs(expected[2])[inside].max()
        assert 0.8 * theta.max_stiffness() <= steepest <= 1.02 * theta.max_stiffness()


def test_four_terms_hold_a_honeycomb() -> None:
    """Rechtsman's parameters, at their specific area of 1.45."""
    theta = bridge.FourTerm(diameters=[1.0], **RECHTSMAN)
    start, box = ensemble.lattice("honeycomb", 96, 1 / 1.45)
    moved = ensemble.make_start(theta, 96, 1 / 1.45, 2, 3, 4, start="honeycomb", noise=0.02)
    done = ensemble.minimize(theta, moved.positions, moved.typeid, box)
    crystal = ensemble.forces(theta, start, moved.typeid, box)
    assert done.converged.all()
    assert done.energy == pytest.approx(np.repeat(crystal.energy, 3), rel=1e-9)


def test_morse_quench_is_a_minimum_for_the_bridge() -> None:
    theta = bridge.Morse(diameters=[0.9, 1.1], binding=[1.0, 1.5, 0.8], alpha=6.0)
    done = ensemble.quench(theta, 128, 0.9, 2, 2, seed=3)
    assert done.converged.all()
    frame = next(iter(done.frames()))
    packing = bridge.Packing(frame.positions, frame.typeid, frame.box)
    relaxed = bridge.relax(theta, packing)
    assert np.abs(np.asarray(relaxed.positions) - frame.positions).max() < 1e-8
