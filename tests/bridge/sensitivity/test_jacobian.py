"""The Jacobian of features by parameters of every kind, against differences with re-minimisation.

Differences are taken along random directions of all of a kind's parameters at once. u'' jumps at
the pair's breaks, so they mean something only where no pair crosses one within the stencil and two
step sizes agree: packings are tried until one is found, and none is a failure.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import Packing, PairPotential
from amorph.bridge.minima.relaxing import relaxation
from amorph.bridge.sensitivity.jacobian import Jacobian
from amorph.handover import AmorphError, InputError

STEP = 2e-6
AGREE = 1e-6
SCALARS = ["energy", "pressure", "bulk_modulus", "shear_modulus", "poisson_ratio"]
TENSORS = ["stress_components", "elastic_constants", "youngs_modulus", "youngs_moduli"]
MODES = ["lowest_modulus", "anisotropy", "frequencies_6"]
FEATURES = [*SCALARS, *TENSORS, *MODES]


class Crossed(Exception):
    """The differences mean nothing here."""


def own_types(theta: PairPotential, packing: Packing) -> tuple[PairPotential, Packing]:
    """The same packing with a type for each particle: its parameters are then its own."""
    n, types = packing.n_particles, packing.typeid
    i, j = np.triu_indices(n)
    spread = theta.of_types()
    values = {k: spread[k][types[i], types[j]] for k in theta.arrays() if k != "diameters"}
    diameters = theta.arrays()["diameters"][types]
    own = Packing.of(packing.positions, np.arange(n), packing.box)
    return type(theta)(diameters=diameters, **values), own


def changed(theta: PairPotential, name: str, change: np.ndarray) -> PairPotential:
    return theta.replace(**{name: theta.arrays()[name] + change})


def strain_of(components: np.ndarray, d: int) -> np.ndarray:
    axes = [(0, 0), (1, 1), (0, 1)] if d == 2 else [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    out = np.zeros((d, d))
    for value, (a, b) in zip(components, axes, strict=True):
        out[a, b] += 0.5 * value
        out[b, a] += 0.5 * value
    return out


def upright(packing: Packing, gradient: np.ndarray) -> tuple[Packing, np.ndarray]:
    """The packing deformed, turned so that its box is upper triangular; and the turn."""
    q, r = np.linalg.qr(gradient @ packing.box)
    sign = np.sign(np.diag(r))
    turn = (q * sign).T
    return (
        Packing(packing.positions @ gradient.T @ turn.T, packing.typeid, (r.T * sign).T),
        turn,
    )


def values_at(theta: Any, packing: Packing, features: list[str]) -> np.ndarray:
    found = bridge.measure(theta, packing, features).values
    return np.concatenate([np.ravel(found[f]) for f in features])


def differences(
    at: Callable[[float], tuple[Any, Packing]],
    features: list[str],
    before: tuple[Any, Packing],
    classes: Callable[..., np.ndarray] | None,
) -> np.ndarray:
    """d features / dγ by central differences along a path, (n_rows,), or `Crossed`."""
    start = classes(*before) if classes is not None else None
    rattlers = bridge.response(*before).rattlers
    found = []
    for h in (STEP, STEP / 2):
        ends = []
        for sign in (1, -1):
            theta, packing = at(sign * h)
            relaxed = relaxation(theta, packing)
            if relaxed.moved > 1e-3 or (relaxed.response.rattlers != rattlers).any():
                raise Crossed("moved")
            if start is not None and (classes(theta, relaxed.packing) != start).any():
                raise Crossed("a pair crossed")
            ends.append(values_at(theta, relaxed.packing, features))
        found.append((ends[0] - ends[1]) / (2 * h))
    # Fourth order from the two.
    return (4 * found[1] - found[0]) / 3


def errors(slope: np.ndarray, expected: np.ndarray, jacobian: Jacobian) -> dict[str, float]:
    """By feature, the largest error beside the largest component."""
    out = {}
    for name, rows in jacobian.row_slices.items():
        scale = np.abs(expected[rows]).max()
        assert scale > 0, name
        out[name] = float(np.abs(slope[rows] - expected[rows]).max() / scale)
    return out


def kinds(d: int) -> dict[str, Callable[..., Any]]:
    """By kind of parameter: (theta, packing, rng) -> (choice, direction, path, before)."""

    def by_type(name: str) -> Callable[..., Any]:
        def make(theta: PairPotential, packing: Packing, rng: Any) -> Any:
            v = rng.standard_normal(len(theta.arrays()[name])) * theta.arrays()[name]
            return name, v, lambda g: (changed(theta, name, g * v), packing), (theta, packing)

        return make

    def by_particle(theta: PairPotential, packing: Packing, rng: Any) -> Any:
        own_theta, own = own_types(theta, packing)
        v = rng.standard_normal(packing.n_particles)
        return (
            "diameters/particle",
            v,
            lambda g: (changed(own_theta, "diameters", g * v), own),
            (own_theta, own),
        )

    def by_group(theta: PairPotential, packing: Packing, rng: Any) -> Any:
        own_theta, own = own_types(theta, packing)
        groups = rng.integers(0, 5, packing.n_particles)
        groups[:5] = np.arange(5)
        v = rng.standard_normal(5)
        return (
            bridge.by_group("diameters", groups),
            v,
            lambda g: (changed(own_theta, "diameters", g * v[groups]), own),
            (own_theta, own),
        )

    def by_bond(theta: PairPotential, packing: Packing, rng: Any) -> Any:
        own_theta, own = own_types(theta, packing)
        n = packing.n_particles
        bonds = bridge.bond_contributions(theta, packing).pairs
        v = rng.standard_normal(len(bonds))
        place = np.zeros((n, n), dtype=int)
        place[np.triu_indices(n)] = np.arange(n * (n + 1) // 2)
        spread = np.zeros(n * (n + 1) // 2)
        spread[place[bonds.min(axis=1), bonds.max(axis=1)]] = v
        return (
            "stiffness/bond",
            v,
            lambda g: (changed(own_theta, "stiffness", g * spread), own),
            (own_theta, own),
        )

    def strain(theta: PairPotential, packing: Packing, rng: Any) -> Any:
        # No turn: the strained box must stay upper triangular.
        v = rng.standard_normal(d * (d + 1) // 2)
        v[d:] = 0.0

        def at(g: float) -> tuple[Any, Packing]:
            deformed, turn = upright(packing, np.eye(d) + g * strain_of(v, d))
            np.testing.assert_allclose(turn, np.eye(d), atol=1e-15)
            return theta, deformed

        return "strain", v, at, (theta, packing)

    def box(theta: PairPotential, packing: Packing, rng: Any) -> Any:
        v = rng.standard_normal(d * (d + 1) // 2)
        tilts = [k for k, (a, b) in enumerate(zip(*np.triu_indices(d), strict=True)) if a != b]
        v[tilts] = 0.0  # a tilt turns: scalars alone, below

        def at(g: float) -> tuple[Any, Packing]:
            new = packing.box.copy()
            new[np.triu_indices(d)] += g * v
            gradient = new @ np.linalg.inv(packing.box)
            return theta, Packing(packing.positions @ gradient.T, packing.typeid, new)

        return "box", v, at, (theta, packing)

    out = {name: by_type(name) for name in ("diameters", "binding", "stiffness", "alpha")}
    return {
        **out,
        "diameters/particle": by_particle,
        "diameters/group": by_group,
        "stiffness/bond": by_bond,
        "strain": strain,
        "box": box,
    }


def compare(
    theta: Any, packings: Iterable[Packing], kind: str, features: list[str], classes: Any
) -> dict[str, float]:
    """Errors by feature at the first packing without a crossing; fail if there is none."""
    why = []
    for k, packing in enumerate(packings):
        rng = np.random.default_rng(k)
        choice, v, path, before = kinds(packing.dimension)[kind](theta, packing, rng)
        try:
            expected = differences(path, features, before, classes)
        except (Crossed, AmorphError) as error:
            why.append(str(error))
            continue
        found = bridge.jacobian(theta, packing, features, choice)
        assert (
            found.matrix.shape == (len(expected), len(v)) == (len(found.rows), len(found.columns))
        )
        return errors(found.matrix @ v, expected, found)
    pytest.fail(f"no packing without crossings was found: {why}")


QUICK = ["diameters", "diameters/particle", "stiffness/bond", "strain"]


@pytest.mark.parametrize("kind", QUICK)
def test_plane(kind: str, theta2: Any, minima: Any, classes: Any) -> None:
    found = compare(theta2, minima(theta2, 48, 1.4, 2), kind, FEATURES, classes)
    assert max(found.values()) < AGREE, found


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(kinds(2)))
def test_table(kind: str, theta2: Any, spheres3: Any, minima: Any, classes: Any) -> None:
    """Every feature by every kind of parameter in either dimension; run with -s for the table."""
    theta3 = bridge.HarmonicMorse(
        diameters=[0.9, 1.1], binding=0.1, stiffness=[5.0, 5.5, 6.0], alpha=[14.0, 15.0, 16.0]
    )
    for d, theta, packings in (
        (2, theta2, minima(theta2, 48, 1.4, 2)),
        (3, theta3, minima(theta3, 64, 1.25, 3)),
    ):
        features = [*FEATURES, "psi_8"] if d == 2 else FEATURES
        found = compare(theta, packings, kind, features, classes)
        print(f"{kind:20s} {d}D  " + "  ".join(f"{k} {v:.0e}" for k, v in found.items()))
        assert max(found.values()) < AGREE, found


def test_soft_spheres_in_space(spheres3: Any, minima: Any, classes: Any) -> None:
    found = compare(spheres3, minima(spheres3, 40, 1.6, 3), "diameters/particle", FEATURES, classes)
    assert max(found.values()) < AGREE, found


def test_tilt_of_the_box(theta2: Any, minima: Any, classes: Any) -> None:
    """Scalars do not mind the turn that comes with a tilt."""
    features = [*SCALARS, "anisotropy", "frequencies_6"]
    why = []
    for packing in minima(theta2, 48, 1.4, 2):
        shear = np.array([[1.0, 0.13], [0.0, 1.0]])
        tilted = bridge.relax(
            theta2, Packing(packing.positions @ shear.T, packing.typeid, shear @ packing.box)
        )
        v = np.array([0.3, 0.7, -0.4])

        def at(g: float, tilted: Packing = tilted, v: np.ndarray = v) -> tuple[Any, Packing]:
            new = tilted.box.copy()
            new[np.triu_indices(2)] += g * v
            gradient = new @ np.linalg.inv(tilted.box)
            return theta2, Packing(tilted.positions @ gradient.T, tilted.typeid, new)

        try:
            expected = differences(at, features, (theta2, tilted), classes)
        except (Crossed, AmorphError) as error:
            why.append(str(error))
            continue
        found = bridge.jacobian(theta2, tilted, features, "box")
        assert max(errors(found.matrix @ v, expected, found).values()) < AGREE
        return
    pytest.fail(f"no packing without crossings was found: {why}")


def test_at_fixed_pressure(theta2: Any, minima: Any, classes: Any) -> None:
    """The box is found anew for each changed potential."""
    features = ["poisson_ratio", "bulk_modulus", "frequencies_4", "energy"]
    v = np.random.default_rng(1).standard_normal(2)
    why = []
    for packing in minima(theta2, 48, 1.4, 2):
        wanted = bridge.pressure(theta2, packing)

        def at(g: float, start: Packing = packing, wanted: float = wanted) -> Any:
            theta = changed(theta2, "diameters", g * v)
            here = bridge.relax(theta, start)
            for _ in range(6):
                found = bridge.jacobian(theta, here, "pressure", "strain")
                off = found.values["pressure"] - wanted
                if abs(off) < 1e-14:
                    break
                size = 1.0 - off / found.matrix[0, :2].sum()
                moved = Packing(size * here.positions, here.typeid, size * here.box)
                here = bridge.relax(theta, moved)
            return theta, here

        try:
            expected = differences(at, features, (theta2, packing), classes)
            found = bridge.jacobian(theta2, packing, features, "diameters", held="pressure")
        except (Crossed, AmorphError) as error:
            why.append(str(error))
            continue
        assert max(errors(found.matrix @ v, expected, found).values()) < AGREE
        fixed_box = bridge.jacobian(theta2, packing, features, "diameters")
        assert np.abs(fixed_box.matrix @ v - expected).max() > 1e-2 * np.abs(expected).max()
        return
    pytest.fail(f"no packing was found: {why}")


def test_at_fixed_stress(theta2: Any, minima: Any) -> None:
    """The stress held does not change, and the rest changes by the box's answer."""
    features = ["poisson_ratio", "bulk_modulus", "frequencies_4"]
    refused = 0
    for packing in minima(theta2, 48, 1.4, 2):
        try:
            found = bridge.jacobian(theta2, packing, features, held="stress")
        except bridge.errors.NotAMinimumError:
            refused += 1
            continue
        stress = bridge.jacobian(theta2, packing, "stress_components", held="stress")
        assert np.abs(stress.matrix).max() < 1e-12
        whole = bridge.jacobian(theta2, packing, [*features, "stress_components"])
        by_box = bridge.jacobian(theta2, packing, [*features, "stress_components"], "strain")
        n = len(whole.matrix) - 3
        answer = np.linalg.solve(by_box.matrix[n:], whole.matrix[n:])
        expected = whole.matrix[:n] - by_box.matrix[:n] @ answer
        np.testing.assert_allclose(found.matrix, expected, rtol=1e-8, atol=1e-11)
        return
    pytest.fail(f"all {refused} packings are unstable at fixed stress")


def test_kinds_agree(theta2: Any, solid: Packing) -> None:
    """Types are groups, groups are sums over particles, diameters are sums over bonds' σ."""
    features = ["poisson_ratio", "stress_components", "frequencies_3"]
    j = {
        kind: bridge.jacobian(theta2, solid, features, kind).matrix
        for kind in ("diameters", "diameters/particle", "sigma/bond", "binding", "binding/bond")
    }
    by_group = bridge.jacobian(
        theta2, solid, features, bridge.by_group("diameters", solid.typeid)
    ).matrix
    np.testing.assert_allclose(by_group, j["diameters"], rtol=1e-13)
    for t in range(2):
        own = j["diameters/particle"][:, solid.typeid == t].sum(axis=1)
        np.testing.assert_allclose(own, j["diameters"][:, t], rtol=1e-9)
    bonds = bridge.bond_contributions(theta2, solid).pairs
    for particle in (0, 7):
        own = 0.5 * j["sigma/bond"][:, (bonds == particle).any(axis=1)].sum(axis=1)
        np.testing.assert_allclose(own, j["diameters/particle"][:, particle], rtol=1e-9)
    pair = np.sort(solid.typeid[bonds], axis=1)
    for k, (a, b) in enumerate([(0, 0), (0, 1), (1, 1)]):
        own = j["binding/bond"][:, (pair == (a, b)).all(axis=1)].sum(axis=1)
        np.testing.assert_allclose(own, j["binding"][:, k], rtol=1e-9)


def test_strain_of_the_energy_is_the_stress(theta2: Any, solid: Packing) -> None:
    found = bridge.jacobian(theta2, solid, ["energy", "stress_components"], "strain")
    stress = found.values["stress_components"]
    np.testing.assert_allclose(found.matrix[0], stress * solid.volume, rtol=1e-10)
    # And of the stress the tensor, less what the volume's change does to it: at fixed axes,
    # dσ_ij/dε_kl = C_ijkl - σ_ij δ_kl + (rotation-free corrections for the stress).
    tensor = bridge.elastic_tensor(theta2, solid)
    sigma = bridge.stress(theta2, solid)
    eye = np.eye(2)
    expected = (
        tensor
        - np.einsum("ij,kl->ijkl", sigma, eye)
        + 0.25
        * (
            np.einsum("ik,jl->ijkl", eye, sigma) + np.einsum("jk,il->ijkl", eye, sigma)
            + np.einsum("il,jk->ijkl", eye, sigma) + np.einsum("jl,ik->ijkl", eye, sigma)
        )
    )  # fmt: skip
    axes = ([0, 1, 0], [0, 1, 1])
    rows = np.array([expected[a, b][axes] for a, b in zip(*axes, strict=True)])
    np.testing.assert_allclose(found.matrix[1:], rows, rtol=1e-8, atol=1e-10)


def test_second_order(theta2: Any, minima: Any, classes: Any) -> None:
    """The curvature along a direction, as the change of the exact slope."""
    features = ["energy", "poisson_ratio", "elastic_constants", "pressure"]
    why = []
    for packing in minima(theta2, 48, 1.4, 2):
        v = np.array([0.6, -0.8])
        before = classes(theta2, packing)
        ends = []
        try:
            for h in (1e-6, -1e-6):
                theta = changed(theta2, "diameters", h * v)
                there = bridge.relax(theta, packing)
                if (classes(theta, there) != before).any():
                    raise Crossed("a pair crossed")
                ends.append(bridge.jacobian(theta, there, features, "diameters"))
        except (Crossed, AmorphError) as error:
            why.append(str(error))
            continue
        found = bridge.second_order(theta2, packing, features, {"diameters": v})
        plain = bridge.jacobian(theta2, packing, features, "diameters")
        for name in features:
            np.testing.assert_allclose(found.values[name], plain.values[name], rtol=1e-12)
            slope = plain.matrix[plain.row_slices[name]] @ v
            np.testing.assert_allclose(np.ravel(found.slopes[name]), slope, rtol=1e-8)
            rows = plain.row_slices[name]
            bent = (ends[0].matrix[rows] - ends[1].matrix[rows]) @ v / 2e-6
            scale = np.abs(bent).max()
            off = np.abs(np.ravel(found.curvatures[name]) - bent).max()
            assert off < 1e-5 * scale, (name, off / scale)
        return
    pytest.fail(f"no packing without crossings was found: {why}")


def test_second_order_refuses_what_rattlers_decide(references: Any) -> None:
    theta, packing, _ = references["soft2d_n128_rattlers_s12"]
    packing = bridge.relax(theta, packing)
    direction = {"diameters": np.eye(theta.n_types)[0]}
    with pytest.raises(bridge.errors.RattlerError):
        bridge.second_order(theta, packing, "psi_6", direction)
    found = bridge.second_order(theta, packing, "pressure", direction)
    assert np.isfinite(found.curvatures["pressure"])


def test_rank_and_susceptibilities(theta2: Any, solid: Packing) -> None:
    """Disordered packings respond independently (Zu et al. 2024); a clone of a feature does not."""
    found = bridge.jacobian(theta2, solid, ["elastic_constants"], "diameters/particle")
    assert found.rank() == 6
    u, s, wt = found.svd()
    np.testing.assert_allclose((u * s) @ wt, found.matrix, atol=1e-10 * s[0])
    whole = bridge.jacobian(theta2, solid, ["elastic_tensor"], "diameters/particle")
    assert whole.rank() == 6
    assert whole.block("elastic_tensor", "diameters/particle").shape == (2, 2, 2, 2, 48)


def test_named_failures(theta2: Any, solid: Packing, spheres3: Any, solid3: Packing) -> None:
    for wrong, message in [
        ("diameter", "diameters"),
        ("stiffness/particle", "by_bond"),
        ("diameters/bond", "sigma"),
        ("diameters/kind", "NAME/particle"),
        ("sigma", "half the sum"),
        (bridge.by_group("diameters", [0, 1]), "48 particles"),
    ]:
        with pytest.raises(InputError, match=message):
            bridge.jacobian(theta2, solid, ["pressure"], wrong)
    with pytest.raises(InputError, match="held"):
        bridge.jacobian(theta2, solid, ["pressure"], held="volume")
    with pytest.raises(InputError, match="strain cannot change"):
        bridge.jacobian(theta2, solid, ["pressure"], "strain", held="pressure")
    with pytest.raises(bridge.errors.FeatureError, match="jumps"):
        bridge.jacobian(theta2, solid, ["psi_8_sharp"])
    with pytest.raises(InputError, match="no 'xyz' here"):
        bridge.jacobian(theta2, solid, ["pressure"]).block("xyz", "diameters")
    with pytest.raises(bridge.errors.FeatureError, match="second order"):
        bridge.second_order(theta2, solid, ["frequencies_2"], {"diameters": [1.0, 0.0]})
    with pytest.raises(InputError, match="2 components"):
        bridge.second_order(theta2, solid, ["pressure"], {"diameters": [1.0]})

    with pytest.raises(InputError, match="at least one"):
        bridge.jacobian(theta2, solid, [])
    groups = [bridge.by_group("diameters", np.arange(48) % k) for k in (2, 3)]
    with pytest.raises(InputError, match="stands there twice"):
        bridge.jacobian(theta2, solid, "pressure", groups)
    named = bridge.by_group("diameters", np.arange(48) % 3, name="thirds")
    whole = bridge.jacobian(theta2, solid, "pressure", [groups[0], named])
    assert whole.block("pressure", "thirds").shape == (3,)

    def volume(theta: Any, state: Any) -> Any:
        return (theta.diameters[state.typeid] ** 2).sum()

    whole = bridge.jacobian(theta2, solid, bridge.Feature("volume", volume), "diameters")
    expected = 2 * theta2.diameters * np.bincount(solid.typeid)
    np.testing.assert_allclose(whole.matrix[0], expected, rtol=1e-12)
    with pytest.raises(bridge.errors.FeatureError, match="no derivative by this"):
        bridge.jacobian(theta2, solid, bridge.Feature("volume", volume), "diameters/particle")
    cluster = bridge.relax(theta2, Packing.of(solid.positions, solid.typeid))
    with pytest.raises(InputError, match="volume"):
        bridge.jacobian(theta2, cluster, "energy", held="pressure")

    def first_particle(theta: Any, state: Any) -> Any:
        return state.positions[0, 0]

    where = bridge.Feature("x of the first particle", first_particle)
    with pytest.raises(bridge.errors.FeatureError, match="as a whole"):
        bridge.jacobian(theta2, solid, [where])
