"""A minimum under JAX's transformations, beside central differences with re-minimisation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import Packing, programs

SHORT = bridge.HarmonicMorse(
    diameters=[0.85, 1.1],
    binding=[0.1, 0.15, 0.08],
    stiffness=[5.0, 6.0, 4.5],
    alpha=[20.0, 22.0, 24.0],
)
FIRST, SECOND = 1e-6, 1e-4  # how near derivatives must be
STEP = 2e-5
WIDEST = 2 * 20 * STEP  # of all differences, along the direction


@dataclass(frozen=True)
class System:
    """Packings at rest at theta, of one shape, and a direction in its parameters' space."""

    theta: Any
    packings: list[Packing]
    direction: Any

    def at(self, step: Any) -> Any:
        return moved_along(self.theta, self.direction, step)


def moved_along(theta: Any, way: Any, step: Any) -> Any:
    return jax.tree_util.tree_map(lambda p, v: p + step * v, theta, way)


def direction(theta: Any, seed: int = 3) -> Any:
    rng = np.random.default_rng(seed)
    return jax.tree_util.tree_map(lambda p: rng.uniform(-1, 1, p.shape) * np.asarray(p), theta)


def bonded(theta: Any, packing: Packing, seed: int) -> tuple[Packing, Any]:
    """The closest 2.6 N pairs (in space 4 N) as springs, nearly as long as these are."""
    found = bridge.bond_contributions(theta, packing)
    length = np.sqrt((found.vector**2).sum(axis=1))
    number = int((2.6 if packing.dimension == 2 else 4.0) * packing.n_particles)
    close = np.argsort(length)[:number]
    rng = np.random.default_rng(seed)
    springs = bridge.Springs(
        rng.uniform(0.5, 2.0, number), length[close] * rng.uniform(0.99, 1.01, number)
    )
    return Packing(
        packing.positions, packing.typeid, packing.box, found.pairs[close].astype(np.int32)
    ), springs


@pytest.fixture(scope="module")
def systems(minima: Any, classes: Any, own_theta: Any) -> Callable[[str], System]:
    known: dict[str, System] = {}

    def steady(theta: Any, packing: Packing) -> bool:
        """Whether no pair crosses a jump of u'' within the widest stencil of differences."""
        way = direction(theta)
        ends = [moved_along(theta, way, h) for h in (-WIDEST, WIDEST)]
        rest = [classes(t, bridge.relax(t, packing)) for t in ends]
        return bool((rest[0] == rest[1]).all())

    def two(theta: Any, n: int, density: float, d: int) -> list[Packing]:
        found = (p for p in minima(theta, n, density, d, tries=60) if steady(theta, p))
        return [next(found), next(found)]

    def make(name: str) -> System:
        if name == "plane":
            return System(SHORT, two(SHORT, 16, 1.45, 2), direction(SHORT))
        if name == "space":
            spheres = bridge.SoftSphere(diameters=[0.9, 1.1], stiffness=[4.0, 5.0, 6.0])
            return System(spheres, two(spheres, 40, 1.6, 3), direction(spheres))
        if name == "own potential":
            return System(own_theta, two(own_theta, 16, 1.45, 2), direction(own_theta))
        if name == "cluster":
            morse = bridge.Morse(diameters=[1.0, 1.1], binding=[1.0, 1.3, 0.9], alpha=3.0)
            rng = np.random.default_rng(5)
            types = np.array([0, 1, 0, 1, 0, 1, 0], dtype=np.int32)
            starts = [Packing(rng.uniform(0, 1.6, (7, 3)), types) for _ in range(2)]
            return System(morse, [bridge.relax(morse, p) for p in starts], direction(morse))
        plain = systems_of("plane")
        packing, springs = bonded(SHORT, plain.packings[0], 4)
        theta = springs if name == "springs" else bridge.PairsAndSprings(SHORT, springs)
        rest = bridge.relax(theta, packing)
        # The same network somewhere else, under another strain.
        strain = np.array([[1.01, 0.004], [0.0, 0.995]])
        other = Packing(rest.positions @ strain.T, rest.typeid, strain @ rest.box, rest.bonds)
        return System(theta, [rest, bridge.relax(theta, other)], direction(theta))

    def systems_of(name: str) -> System:
        if name not in known:
            known[name] = make(name)
        return known[name]

    return systems_of


def expression(theta: Any, packing: Packing, solver: str = "auto") -> Any:
    """Something of a minimum that is not stationary in W, and knows of R beside it."""
    state = bridge.minimum(theta, packing, solver=solver)
    x = state.positions
    away = x - jnp.mean(x, axis=0)
    value = jnp.mean(jnp.sum(away**2, axis=1) ** 2) ** 0.5
    if state.nonaffine is not None:
        value = value + 0.1 * jnp.sum(state.nonaffine**2) / x.shape[0]
    return value


def slopes(system: System, k: int, h: float = STEP) -> tuple[float, float]:
    """First and second derivatives along the direction, by differences of fourth order."""
    near = {s: float(expression(system.at(s * h), system.packings[k])) for s in (-2, -1, 0, 1, 2)}
    first = (8 * (near[1] - near[-1]) - (near[2] - near[-2])) / (12 * h)
    wide = 20 * h
    far = {s: float(expression(system.at(s * wide), system.packings[k])) for s in (-2, -1, 1, 2)}
    second = (16 * (far[1] + far[-1]) - (far[2] + far[-2]) - 30 * near[0]) / (12 * wide**2)
    return first, second


def dot(tree: Any, along: Any) -> float:
    return float(
        sum(
            np.vdot(a, b)
            for a, b in zip(
                jax.tree_util.tree_leaves(tree), jax.tree_util.tree_leaves(along), strict=True
            )
        )
    )


def by_grad(f: Any, s: System) -> float:
    return dot(jax.grad(f)(s.theta, s.packings[0]), s.direction)


def by_jacfwd(f: Any, s: System) -> float:
    return dot(jax.jacfwd(f)(s.theta, s.packings[0]), s.direction)


def by_jacrev(f: Any, s: System) -> float:
    return dot(jax.jacrev(f)(s.theta, s.packings[0]), s.direction)


def by_jvp(f: Any, s: System) -> float:
    return float(jax.jvp(lambda t: f(t, s.packings[0]), (s.theta,), (s.direction,))[1])


def by_jit(f: Any, s: System) -> float:
    return dot(jax.jit(jax.grad(f))(s.theta, s.packings[0]), s.direction)


def by_hessian(f: Any, s: System) -> float:
    along = jax.hessian(lambda step: f(s.at(step), s.packings[0]))
    return float(along(jnp.zeros(())))


FIRST_ORDER = {"grad": by_grad, "jacfwd": by_jacfwd, "jacrev": by_jacrev, "jvp": by_jvp,
               "jit": by_jit}  # fmt: skip
OTHERS = ("hessian", "vmap over theta", "vmap over packings", "grad of jit of vmap")
SYSTEMS = ("plane", "space", "springs", "pairs and springs", "cluster", "own potential")
SOLVERS = ("dense", "direct")


def tried(name: str, system: System, solver: str) -> None:
    """One cell of the table: raises AssertionError where the derivative is another."""

    def f(theta: Any, packing: Packing) -> Any:
        return expression(theta, packing, solver)

    if name in FIRST_ORDER:
        first, _ = slopes(system, 0)
        assert FIRST_ORDER[name](f, system) == pytest.approx(first, rel=FIRST)
    elif name == "hessian":
        _, second = slopes(system, 0)
        assert by_hessian(f, system) == pytest.approx(second, rel=SECOND)
    elif name == "vmap over theta":
        steps = jnp.array([-2e-4, 1e-4, 3e-4])
        found = jax.vmap(lambda h: f(system.at(h), system.packings[0]))(steps)
        alone = [float(f(system.at(float(h)), system.packings[0])) for h in steps]
        np.testing.assert_allclose(found, alone, rtol=1e-9)
    else:
        stacked = jax.tree_util.tree_map(lambda *v: jnp.stack(v), *system.packings)
        if name == "vmap over packings":
            found = jax.vmap(f, (None, 0))(system.theta, stacked)
            alone = [float(f(system.theta, p)) for p in system.packings]
            np.testing.assert_allclose(found, alone, rtol=1e-9)
        else:
            whole = jax.jit(jax.vmap(f, (None, 0)))
            found = jax.grad(lambda t: jnp.sum(whole(t, stacked)))(system.theta)
            expected = sum(slopes(system, k)[0] for k in range(len(system.packings)))
            assert dot(found, system.direction) == pytest.approx(expected, rel=FIRST)


# One cell of each row and column in the ordinary run.
ORDINARY = {
    ("grad", "plane", "dense"),
    ("jacfwd", "cluster", "dense"),
    ("jacrev", "springs", "direct"),
    ("jvp", "space", "direct"),
    ("jit", "own potential", "dense"),
    ("vmap over theta", "plane", "dense"),
    ("vmap over packings", "cluster", "dense"),
    ("grad of jit of vmap", "pairs and springs", "dense"),
}
CELLS = [
    pytest.param(t, system, solver, marks=() if (t, system, solver) in ORDINARY
                 else pytest.mark.slow, id=f"{t}-{system}-{solver}")
    for t in (*FIRST_ORDER, *OTHERS) for system in SYSTEMS for solver in SOLVERS
]  # fmt: skip


@pytest.mark.parametrize(("transformation", "system", "solver"), CELLS)
def test_transformations(transformation: str, system: str, solver: str, systems: Any) -> None:
    tried(transformation, systems(system), solver)


def differences(f: Callable[[float], Any], h: float) -> Any:
    """A derivative by differences of fourth order."""
    near = {s: np.asarray(f(s * h)) for s in (-2, -1, 1, 2)}
    return (8 * (near[1] - near[-1]) - (near[2] - near[-2])) / (12 * h)


def test_of_the_box(systems: Any) -> None:
    s = systems("plane")
    packing = s.packings[0]
    change = np.array([[0.7, -0.3], [0.0, 0.4]])

    def moved(step: Any) -> Packing:
        # Particles stay where they are in space: they come to rest anyway.
        return Packing(packing.positions, packing.typeid, packing.box + step * change)

    def f(box: Any) -> Any:
        there = jax.tree_util.tree_map(lambda v: v, packing)
        object.__setattr__(there, "box", box)
        return elastic(s.theta, there)

    slope = np.vdot(jax.grad(f)(jnp.asarray(packing.box)), change)
    expected = differences(lambda h: elastic(s.theta, moved(h)), 1e-5)
    assert slope == pytest.approx(expected, rel=FIRST)


def elastic(theta: Any, packing: Packing) -> Any:
    state = bridge.minimum(theta, packing)
    return jnp.sum(state.nonaffine**2) + bridge.feature("poisson_ratio").function(theta, state)


@pytest.mark.slow
def test_of_fixed_particles(systems: Any) -> None:
    s = systems("plane")
    rest = s.packings[0]
    fixed = np.zeros(rest.n_particles, dtype=bool)
    fixed[[2, 7, 11]] = True
    rng = np.random.default_rng(2)
    push = np.where(fixed[:, None], 0.02 * rng.standard_normal(rest.positions.shape), 0.0)
    packing = bridge.relax(
        s.theta, Packing(rest.positions + push, rest.typeid, rest.box, fixed=fixed)
    )
    change = np.where(fixed[:, None], rng.standard_normal(rest.positions.shape), 0.0)

    def f(x: Any) -> Any:
        there = jax.tree_util.tree_map(lambda v: v, packing)
        object.__setattr__(there, "positions", x)
        return expression(s.theta, there)

    slope = np.vdot(jax.grad(f)(jnp.asarray(packing.positions)), change)

    def moved(h: float) -> Any:
        return expression(s.theta, packing.with_positions(packing.positions + h * change))

    assert slope == pytest.approx(differences(moved, 1e-5), rel=FIRST)
    # Where they stand is what was given, and nothing moves as a whole.
    state = bridge.minimum(s.theta, packing)
    np.testing.assert_array_equal(state.positions[fixed], packing.positions[fixed])
    response = bridge.response(s.theta, packing)
    assert response.factor.rigid.shape[1] == 0
    assert bridge.forces(s.theta, packing)[~fixed] == pytest.approx(0.0, abs=1e-12)
    assert np.abs(bridge.forces(s.theta, packing)[fixed]).max() > 1e-3
    by_theta = jax.grad(expression)(s.theta, packing)
    along = differences(lambda h: expression(s.at(h), packing), 1e-5)
    assert dot(by_theta, s.direction) == pytest.approx(along, rel=FIRST)


def test_second_derivatives_are_those_of_second_order(systems: Any) -> None:
    s = systems("plane")
    packing = s.packings[0]
    names = {k: np.asarray(v) for k, v in s.direction._values.items()}
    features = ["poisson_ratio", "bulk_modulus", "pressure", "energy"]
    expected = bridge.second_order(s.theta, packing, features, names)

    def along(step: Any) -> Any:
        theta = s.at(step)
        state = bridge.minimum(theta, packing)
        return [bridge.feature(name).function(theta, state) for name in features]

    found = jax.jacfwd(jax.jacfwd(along))(jnp.zeros(()))
    for name, value in zip(features, found, strict=True):
        assert float(value) == pytest.approx(expected.curvatures[name], rel=1e-8)


def test_a_feature_that_is_not_stationary(systems: Any) -> None:
    s = systems("plane")
    packing = s.packings[0]
    squares = bridge.Feature("squares", lambda _, state: jnp.sum(state.nonaffine**2))
    found = bridge.measure(s.theta, packing, (), [squares]).gradients["squares"]
    by_jax = jax.grad(lambda t: squares.function(t, bridge.minimum(t, packing)))(s.theta)
    for a, b in zip(
        jax.tree_util.tree_leaves(found), jax.tree_util.tree_leaves(by_jax), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(b).max())
    strained = bridge.jacobian(s.theta, packing, [squares], "strain").matrix[0]
    axes = np.array([[1.0, 0.0], [0.0, 0.0]])

    def pulled(h: float) -> Any:
        there = bridge.deform(packing, np.eye(2) + h * axes, flip=False)
        return jnp.sum(bridge.minimum(s.theta, there).nonaffine ** 2)

    assert strained[0] == pytest.approx(differences(pulled, 1e-5), rel=FIRST)
    twice = bridge.second_order(
        s.theta, packing, [squares], {k: np.asarray(v) for k, v in s.direction._values.items()}
    )
    along = jax.jacfwd(
        jax.jacfwd(lambda h: squares.function(s.at(h), bridge.minimum(s.at(h), packing)))
    )(jnp.zeros(()))
    assert twice.curvatures["squares"] == pytest.approx(float(along), rel=1e-8)


def test_no_minimum_inside_of_a_transformation(systems: Any) -> None:
    s = systems("plane")
    packing = s.packings[0]
    rng = np.random.default_rng(1)
    pushed = packing.positions + 0.1 * rng.standard_normal(packing.positions.shape)
    found = jax.jit(
        lambda x: [
            bridge.minimum(s.theta, Packing(p, packing.typeid, packing.box), max_pairs=size)
            for p, size in ((x[0], None), (x[1], None), (x[2], 3))
        ]
    )(np.stack([packing.positions, pushed, packing.positions]))
    assert [int(state.status) for state in found] == [0, 1, 5]
    bridge.check_status(found[0])
    assert np.isfinite(found[0].positions).all()
    assert np.isnan(found[1].positions).all()
    assert np.isnan(found[1].nonaffine).all()
    with pytest.raises(bridge.errors.RelaxationError, match="did not bring it to rest"):
        bridge.check_status(found[1])
    with pytest.raises(Exception, match="max_pairs"):
        bridge.check_status(found[2])


def test_a_loop_compiles_once(systems: Any) -> None:
    s = systems("springs")
    stacked = jax.tree_util.tree_map(lambda *v: jnp.stack(v), *s.packings)

    def again() -> int:
        before = programs._compiled.number
        many = jax.vmap(lambda p: bridge.minimum(s.theta, p, solver="direct").positions)
        assert np.isfinite(many(stacked)).all()
        return programs._compiled.number - before

    again()
    assert again() == 0


@pytest.mark.parametrize("name", [pytest.param("plane", marks=pytest.mark.slow), "cluster"])
def test_modes_follow(name: str, systems: Any) -> None:
    s = systems(name)
    packing, f = s.packings[0], bridge.feature("frequencies_4")

    def along(step: Any) -> Any:
        theta = s.at(step)
        state = bridge.minimum(theta, packing, modes=4)
        sizes = jnp.sum(jnp.sum(state.modes**2, axis=1) ** 2, axis=0)  # whatever their signs
        return jnp.concatenate([f(theta, state), sizes])

    found = bridge.measure(s.theta, packing, [], [f])
    by_jax = jax.jacrev(lambda theta: f(theta, packing))(s.theta)  # by `minimum` of its own accord
    for a, b in zip(
        jax.tree_util.tree_leaves(found.gradients[f.name]),
        jax.tree_util.tree_leaves(by_jax),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(a).max())
    value, slope = jax.jvp(along, (0.0,), (1.0,))
    np.testing.assert_allclose(value[:4], found.values[f.name], rtol=1e-12)
    expected = differences(along, 1e-5)
    np.testing.assert_allclose(slope, expected, rtol=FIRST, atol=FIRST * np.abs(expected).max())
    second = jax.jit(jax.jacfwd(jax.jacrev(along)))(0.0)
    steep = differences(lambda h: jax.jvp(along, (h,), (1.0,))[1], 1e-5)
    np.testing.assert_allclose(second, steep, rtol=SECOND, atol=SECOND * np.abs(steep).max())


def test_a_degenerate_mode_has_no_derivative() -> None:
    morse = bridge.Morse(diameters=[1.0], binding=1.0, alpha=3.0)
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])
    triangle = bridge.relax(morse, Packing.of(corners, [0, 0, 0]))

    def frequency(theta: Any, k: int) -> Any:
        return bridge.feature("frequencies_3")(theta, bridge.minimum(theta, triangle, modes=3))[k]

    # Two modes that change its shape, and above them one that changes its size.
    shape, same, size = (float(frequency(morse, k)) for k in range(3))
    assert shape == pytest.approx(same, rel=1e-12)
    assert np.isnan(jax.grad(frequency)(morse, 0).binding).all()
    assert float(jax.jacfwd(frequency)(morse, 2).binding[0]) == pytest.approx(0.5 * size)
    state = bridge.minimum(morse, triangle, modes=2)
    with pytest.raises(bridge.errors.FeatureError, match="modes=3"):
        bridge.feature("frequencies_3")(morse, state)
