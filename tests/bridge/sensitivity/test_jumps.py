"""Jump terms: the derivative of a mean where pairs cross a distance at which u'' jumps."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import Packing, PairPotential
from amorph.bridge.sensitivity.derivatives import by_choices
from amorph.bridge.sensitivity.jumps import Jumps, jumps_of
from amorph.bridge.sensitivity.parameters import by_type, of_strain

NAMES = ["poisson_ratio", "bulk_modulus", "elastic_constants", "youngs_moduli", "anisotropy"]
MORSE = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.12, stiffness=5.0, alpha=6.0)
REDUCED = bridge.HarmonicMorseReduced(
    diameters=[0.9, 1.0, 1.1], binding=[0.1, 0.2, 0.05, 0.1, 0.3, 0.02], stiffness=4.0, alpha=10.0
)
SOFT = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)
CASES = [
    (MORSE, 2, 64, 1.6),
    pytest.param(REDUCED, 3, 150, 1.6, marks=pytest.mark.slow),
    (SOFT, 2, 64, 1.0),
]


def quenched(theta: PairPotential, d: int, n: int, density: float, seed: int) -> Packing:
    batch = ensemble.quench(
        theta, n_particles=n, density=density, dimension=d, seed=seed, tolerance=1e-11
    )
    frame = next(batch.frames())
    return bridge.relax(theta, Packing.of(frame.positions, frame.typeid, frame.box))


def jumps_at(theta: PairPotential, packing: Packing, names: list[str]) -> tuple[Jumps, Any]:
    features = [bridge.feature(name) for name in names]
    measured = bridge.measure(theta, packing, [*features, "elastic_tensor"])
    tensor = measured.values["elastic_tensor"]
    jumps = jumps_of(features, theta, measured.response, tensor)
    assert jumps is not None
    return jumps, measured.response


def components(theta: PairPotential, packing: Packing) -> np.ndarray:
    values = bridge.measure(theta, packing, NAMES).values
    return np.concatenate([np.ravel(values[name]) for name in NAMES])


@pytest.mark.parametrize(("theta", "d", "n", "density"), CASES)
def test_a_step_is_what_features_gain_when_the_pair_crosses(
    theta: PairPotential, d: int, n: int, density: float
) -> None:
    tried = 0
    for seed in range(1, 9):
        try:
            check_step(theta, quenched(theta, d, n, density, seed))
        except Rearranged:
            continue
        tried += 1
        if tried == 2:
            return
    pytest.fail("the packings rearrange before their pairs touch")


class Rearranged(Exception):
    """The packing is no longer the one whose pair was to cross."""


def check_step(theta: PairPotential, packing: Packing) -> None:
    """All diameters are scaled until the pair nearest to a break is there; then it crosses."""
    jumps, found = jumps_at(theta, packing, NAMES)
    k = int(np.argmin(np.abs(jumps.close.offset)))
    pairs, place = found.state.pairs, jumps.close.pairs[k]
    i, j = int(pairs.i[place]), int(pairs.j[place])

    def scaled(x: float) -> tuple[PairPotential, Packing, float]:
        """All diameters x times larger: the packing, and how far the pair is from touching."""
        changed = theta.replace(diameters=theta.diameters * (1 + x))
        there = bridge.follow(theta, packing, changed)
        if there.rearranged:
            raise Rearranged
        size = np.asarray(changed.diameters)[packing.typeid[[i, j]]].mean()
        vector = there.packing.positions[j] - there.packing.positions[i] + pairs.shift[place]
        return changed, there.packing, float(np.linalg.norm(vector) - size)

    x, h = 0.0, 1e-8
    for _ in range(4):  # by Newton's method to where it touches
        gap = scaled(x)[2]
        x -= gap * h / (scaled(x + h)[2] - gap)
    sides = [scaled(x - h), scaled(x + h)]
    grows = sides[1][2] > 0
    touching, apart = sides if grows else sides[::-1]
    assert touching[2] < 0 < apart[2]
    if bridge.crossings(apart[:2], touching[:2]) != 1:
        raise Rearranged
    gained = components(*apart[:2]) - components(*touching[:2])
    # Less what features gain smoothly on either side.
    change = np.asarray(theta.diameters) * (h if grows else -h)
    for side in sides:
        gained = gained - bridge.jacobian(*side[:2], NAMES, "diameters").matrix @ change
    # Soft spheres are listed where they touch alone.
    for side in (touching,) if theta is SOFT else (touching, apart):
        here, _ = jumps_at(*side[:2], NAMES)
        k = int(np.argmin(np.abs(here.close.offset)))
        assert abs(here.close.offset[k]) < 1e-6
        scale = np.abs(here.step[:, k]).max()
        np.testing.assert_allclose(here.step[:, k], gained, rtol=1e-4, atol=1e-6 * scale)


@pytest.mark.parametrize(("theta", "d", "n", "density"), CASES)
def test_the_gain_is_the_derivative_of_a_weighted_sum_of_distances(
    theta: PairPotential, d: int, n: int, density: float
) -> None:
    packing = quenched(theta, d, n, density, 5)
    names = ["poisson_ratio", "stress_components"]
    features = [bridge.feature(name) for name in names]
    jumps, found = jumps_at(theta, packing, names)
    assert np.any(jumps.density > 0)
    assert np.any(jumps.step[0] != 0)
    assert np.all(jumps.step[1:] == 0)  # the stress has no second derivative
    weight = jumps.density * jumps.step[0]

    def distances(theta: Any, state: Any) -> Any:
        i, j = state.pairs.i[jumps.close.pairs], state.pairs.j[jumps.close.pairs]
        vector = state.positions[j] - state.positions[i] + state.pairs.shift[jumps.close.pairs]
        parameters = theta.near.of_pairs(state.typeid[i], state.typeid[j])
        sigma = parameters["sigma"]
        sigma = sigma if sigma.shape == i.shape else sigma[jumps.close.pairs]
        return (weight * ((vector**2).sum(axis=1) ** 0.5 - sigma)).sum()

    chosen = [by_type(name) for name in theta.arrays()] + [of_strain()]
    _, both = by_choices(features, theta, found, chosen, jump_terms=True)
    _, plain = by_choices(features, theta, found, chosen)
    _, expected = by_choices([bridge.Feature("distances", distances)], theta, found, chosen)
    rows = len(plain)
    np.testing.assert_allclose(both[:rows], plain, rtol=1e-12, atol=1e-13 * np.abs(plain).max())
    scale = np.abs(expected).max()
    np.testing.assert_allclose(both[rows], expected[0], atol=1e-11 * scale)
    assert np.all(both[rows + 1 :] == 0)
    measured = bridge.measure(theta, packing, (), features, jump_terms=True)
    n_types = len(theta.diameters)
    np.testing.assert_allclose(
        measured.jump_terms["poisson_ratio"].diameters, both[rows, :n_types], rtol=1e-12
    )
    assert not bridge.measure(theta, packing, (), features).jump_terms


@pytest.mark.parametrize("solver", ["direct", "krylov"])
def test_another_solver_gives_the_same(solver: str) -> None:
    packing = quenched(MORSE, 2, 64, 1.6, 7)
    feature = bridge.feature("poisson_ratio")
    jumps, found = jumps_at(MORSE, packing, ["poisson_ratio"])
    again = bridge.response(
        MORSE, Packing.of(packing.positions, packing.typeid, packing.box), solver=solver
    )
    assert found.solver == "dense" != again.solver
    tensor = bridge.measure(MORSE, packing, ["elastic_tensor"]).values["elastic_tensor"]
    other = jumps_of([feature], MORSE, again, tensor)
    assert other is not None
    order, same = np.argsort(jumps.close.pairs), np.argsort(other.close.pairs)
    np.testing.assert_allclose(other.density[same], jumps.density[order], rtol=1e-6)
    # Iterations end where the solution is rough, 1e-4 of the load.
    rtol = 1e-8 if solver == "direct" else 1e-2
    np.testing.assert_allclose(other.step[0, same], jumps.step[0, order], rtol=rtol)


def test_the_derivative_of_the_mean() -> None:
    """Crystals of two sizes whose pairs touch here and there: they do not rearrange, but cross."""
    names, replicas, step = ["bulk_modulus", "shear_modulus", "pressure"], 60, 4e-3
    sizes = np.array([0.93, 1.0])

    def potential(diameters: np.ndarray) -> PairPotential:
        return bridge.HarmonicMorse(diameters=diameters, binding=0.3, stiffness=5.0, alpha=6.0)

    def packings(theta: PairPotential) -> list[Packing]:
        batch = ensemble.quench(
            theta, n_particles=56, density=1.2, dimension=2, replicas=replicas, seed=11,
            start="triangular", noise=0.02, order="random", tolerance=1e-11,
        )  # fmt: skip
        frames = [Packing.of(f.positions, f.typeid, f.box) for f in batch.frames()]
        return [bridge.relax(theta, p) for p in frames]

    theta = potential(sizes)
    own, gained, differences = [], [], []
    for packing in packings(theta):
        found = bridge.measure(theta, packing, (), names, jump_terms=True)
        own.append([found.gradients[n].diameters for n in names])
        gained.append([found.jump_terms[n].diameters for n in names])
    for k in (0, 1):
        changed = [potential(sizes + s * step * np.eye(2)[k]) for s in (1, -1)]
        ends = [
            [list(bridge.measure(t, p, names).values.values()) for p in packings(t)]
            for t in changed
        ]
        differences.append((np.array(ends[0]) - np.array(ends[1])) / (2 * step))
    difference = np.stack(differences, axis=-1)  # (replicas, names, 2)
    without, with_them = np.array(own), np.array(own) + np.array(gained)

    def off(gradient: np.ndarray) -> np.ndarray:
        each = gradient - difference
        error = each.std(axis=0, ddof=1) / np.sqrt(replicas)
        return np.abs(each.mean(axis=0)) / error

    assert np.all(off(without)[:2] > 10)
    assert np.all(np.sign(without[:, :2, 1].mean(axis=0)) != np.sign(difference[:, :2, 1].mean(0)))
    assert np.all(off(with_them)[:2] < 4)
    # The pressure has no second derivative: it is right as it is.
    assert np.all(np.array(gained)[:, 2] == 0)


def test_where_no_pair_is_close_there_is_nothing() -> None:
    """A compressed crystal: all neighbours overlap by far more than the kernel is wide."""
    x, y = np.meshgrid(np.arange(8.0), np.arange(8.0))
    points = 0.9 * np.stack([x.ravel() + 0.5 * y.ravel(), np.sqrt(0.75) * y.ravel()], axis=1)
    box = 0.9 * np.array([[8.0, 4.0], [0.0, 8 * np.sqrt(0.75)]])
    packing = Packing.of(points, np.zeros(64, dtype=np.int64), box)
    theta = bridge.HarmonicMorse(diameters=[1.0], binding=0.1, stiffness=5.0, alpha=10.0)
    found = bridge.measure(theta, packing, (), ["bulk_modulus"], jump_terms=True)
    assert abs(float(found.gradients["bulk_modulus"].diameters[0])) > 1e-3
    assert all(np.all(v == 0) for v in found.jump_terms["bulk_modulus"].arrays().values())


def test_frequencies_are_refused() -> None:
    packing = quenched(MORSE, 2, 64, 1.6, 1)
    with pytest.raises(bridge.errors.FeatureError, match="leave jump_terms out"):
        bridge.measure(MORSE, packing, (), ["frequencies_2"], jump_terms=True)


def test_springs_are_smooth(theta2: PairPotential, solid: Packing) -> None:
    bonds = bridge.bond_contributions(theta2, solid)
    length = np.sqrt((bonds.vector**2).sum(axis=1))
    springs = bridge.Springs(np.ones(len(length)), 0.999 * length)
    packing = Packing.of(solid.positions, solid.typeid, solid.box, bonds.pairs)
    packing = bridge.relax(springs, packing)
    found = bridge.measure(springs, packing, (), ["poisson_ratio"], jump_terms=True)
    assert np.any(found.gradients["poisson_ratio"].arrays()["stiffness"] != 0)
    assert all(np.all(v == 0) for v in found.jump_terms["poisson_ratio"].arrays().values())
