"""Relaxation: the same minimum from near it, a proven one from afar, a name for every failure."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import Packing
from amorph.bridge.minima.relaxing import Work, relaxation, run_newton
from amorph.handover import AmorphError, BoxTooSmallError, InputError, UnknownTypeError


def proven(theta: Any, packing: Packing, rattlers: int = 0) -> None:
    """At rest, and every eigenvalue positive but the zero modes."""
    force = np.sqrt((bridge.forces(theta, packing) ** 2).sum(axis=1).max())
    assert force <= bridge.default_tolerance(theta, packing)
    eigenvalues = np.linalg.eigvalsh(bridge.hessian(theta, packing))
    zero = packing.dimension * (1 + rattlers)
    assert np.abs(eigenvalues[:zero]).max() < 1e-9
    assert eigenvalues[zero] > 1e-7


@pytest.mark.parametrize("size", [1e-8, 1e-5, 1e-3])
def test_back_to_the_same_minimum(size: float, theta2: Any, solid: Packing) -> None:
    rng = np.random.default_rng(1)
    push = size * rng.standard_normal(solid.positions.shape)
    found = relaxation(theta2, solid.with_positions(solid.positions + push))
    back = found.packing.positions - solid.positions
    back -= back.mean(axis=0)
    assert np.abs(back).max() < 1e-9
    assert found.moved == pytest.approx(
        np.sqrt(((found.packing.positions - solid.positions - push) ** 2).sum(1).max())
    )
    proven(theta2, found.packing)


def test_rounded_to_float32(theta2: Any, solid: Packing) -> None:
    rounded = solid.with_positions(solid.positions.astype(np.float32))
    found = relaxation(theta2, rounded)
    assert found.moved < 1e-5
    assert found.fire_steps == 0, "Newton alone is enough from here"
    proven(theta2, found.packing)


def test_already_at_rest(theta2: Any, solid: Packing) -> None:
    found = relaxation(theta2, solid)
    assert found.moved < 1e-12
    assert found.newton_steps <= 1
    assert found.response.tolerance == bridge.default_tolerance(theta2, solid)


def test_the_input_is_not_changed(theta2: Any, solid: Packing) -> None:
    x = solid.positions + 1e-3
    x[0] += 0.01
    kept = x.copy()
    bridge.relax(theta2, solid.with_positions(x))
    np.testing.assert_array_equal(x, kept)


def test_from_random_starts(theta2: Any, solid: Packing) -> None:
    """FIRE from infinite temperature, in the bridge alone: proven minima or a named failure."""
    starts = ensemble.random_positions(48, solid.box, 6, seed=77)
    proved = 0
    for x in starts:
        start = Packing(x, solid.typeid, solid.box)
        before = bridge.energy(theta2, start)
        try:
            found = relaxation(theta2, start)
        except AmorphError:
            continue
        proven(theta2, found.packing, int(found.response.rattlers.sum()))
        assert bridge.energy(theta2, found.packing) < before
        assert found.response.energy == pytest.approx(
            bridge.energy(theta2, found.packing), rel=1e-12
        )
        proved += 1
    assert proved >= 5


def test_a_perfect_square_lattice_is_left_or_named() -> None:
    """Repulsive spheres, forces exactly balanced, unstable to shear: no minimum."""
    theta = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
    grid = 0.9 * np.stack(np.meshgrid(*[np.arange(6.0)] * 2, indexing="ij"), -1).reshape(-1, 2)
    lattice = Packing.of(grid, np.zeros(36, dtype=int), np.eye(2) * 5.4)
    assert np.abs(bridge.forces(theta, lattice)).max() < 1e-13
    with pytest.raises(bridge.errors.NotAMinimumError, match="eigenvalue"):
        bridge.response(theta, lattice)
    try:
        found = relaxation(theta, lattice)
    except (bridge.errors.NotAMinimumError, bridge.errors.RelaxationError):
        return
    assert found.moved > 1e-3
    assert bridge.energy(theta, found.packing) < bridge.energy(theta, lattice) - 1e-3
    proven(theta, found.packing, int(found.response.rattlers.sum()))


def test_cluster(theta2: Any, solid: Packing) -> None:
    """Without a box: three more zero modes in the plane and in space, found and left alone."""
    theta = bridge.HarmonicMorse(diameters=[1.0], binding=1.0, stiffness=50.0, alpha=6.0)
    rng = np.random.default_rng(0)
    for d, rigid in ((2, 3), (3, 6)):
        x = 1.1 * rng.uniform(-1, 1, (7, d))
        found = bridge.relax(theta, Packing.of(x, np.zeros(7, dtype=int)))
        assert found.box is None
        eigenvalues = np.linalg.eigvalsh(bridge.hessian(theta, found))
        assert np.abs(eigenvalues[:rigid]).max() < 1e-8
        assert eigenvalues[rigid] > 1e-3
        value, gradient = bridge.value_and_grad("energy")(theta, found)
        assert value == pytest.approx(bridge.energy(theta, found), rel=1e-12)
        # dU/dB = U/B at fixed k... but the core has its own scale: by differences.
        h = 1e-5
        ends = [
            bridge.energy(
                theta.replace(binding=1.0 + s * h),
                bridge.relax(theta.replace(binding=1.0 + s * h), found),
            )
            for s in (1, -1)
        ]
        assert float(gradient.binding[0]) == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-7)
        with pytest.raises(bridge.errors.FeatureError, match="volume"):
            bridge.pressure(theta, found)


def test_rattlers_of_the_reference(references: Any) -> None:
    theta, packing, expected = references["soft2d_n128_rattlers_s12"]
    rattlers = bridge.response(theta, packing, tolerance=1e-11).rattlers
    assert rattlers.sum() == expected["n_rattlers"] == 4
    i, j, vector = _nearest(packing)
    sigma = theta.of_types()["sigma"][packing.typeid[i], packing.typeid[j]]
    touching = np.sqrt((vector**2).sum(-1)) < sigma
    contacts = np.bincount(np.concatenate([i[touching], j[touching]]), minlength=128)
    assert (contacts[rattlers] < 3).all()
    assert (contacts[~rattlers] >= 3).all()
    # Pushed against their neighbours they are rattlers still, and come to rest.
    pushed = packing.positions.copy()
    pushed[rattlers] += 0.02
    found = relaxation(theta, packing.with_positions(pushed))
    np.testing.assert_array_equal(found.response.rattlers, rattlers)
    nu = bridge.poisson_ratio(theta, found.packing)
    assert nu == pytest.approx(expected["poisson_ratio"], rel=1e-8)


@pytest.mark.parametrize("overlap", [1e-13, -1e-13])
def test_a_rattler_that_touches_by_round_off_holds_nobody(references: Any, overlap: float) -> None:
    """As they come to rest: at marginal contact, on this side of it or on that."""
    theta, packing, expected = references["soft2d_n128_rattlers_s12"]
    rattlers = bridge.response(theta, packing, tolerance=1e-11).rattlers
    k = int(np.flatnonzero(rattlers)[0])
    i, j, vector = _nearest(packing)
    mine = np.flatnonzero(((i == k) & ~rattlers[j]) | ((j == k) & ~rattlers[i]))
    sigma = theta.of_types()["sigma"][packing.typeid[i], packing.typeid[j]]
    gap = np.sqrt((vector**2).sum(-1)) - sigma
    nearest = mine[np.argmin(gap[mine])]
    towards = vector[nearest] / np.linalg.norm(vector[nearest])
    touching = packing.positions.copy()
    far = gap[nearest] + overlap * sigma[nearest]
    touching[k] += (far if i[nearest] == k else -far) * towards
    there = packing.with_positions(touching)
    assert np.array_equal(bridge.response(theta, there, tolerance=1e-11).rattlers, rattlers)
    for found in (
        bridge.measure(theta, there, ["elastic_tensor"], tolerance=1e-11).values["elastic_tensor"],
        bridge.measure_batch(
            theta, touching[None], packing.typeid, packing.box, ["elastic_tensor"], tolerance=1e-11
        ).values["elastic_tensor"][0],
        bridge.elastic_tensor(theta, bridge.minimum(theta, there)),
    ):
        np.testing.assert_allclose(found, expected["elastic_tensor"], rtol=1e-7, atol=1e-9)


def _nearest(packing: Packing) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    i, j = np.triu_indices(packing.n_particles, 1)
    vector = packing.positions[j] - packing.positions[i]
    return i, j, vector - np.round(vector / np.diag(packing.box)) * np.diag(packing.box)


# ---- Failures, by name


def test_not_at_rest(theta2: Any, solid: Packing) -> None:
    moved = solid.with_positions(
        solid.positions + 1e-3 * np.random.default_rng(0).standard_normal(solid.positions.shape)
    )
    for act in (
        lambda: bridge.poisson_ratio(theta2, moved),
        lambda: bridge.measure(theta2, moved, ["pressure"]),
        lambda: bridge.value_and_grad("pressure")(theta2, moved),
        lambda: bridge.bond_contributions(theta2, moved),
        lambda: bridge.lowest_frequencies(theta2, moved),
        lambda: bridge.response(theta2, moved),
    ):
        with pytest.raises(bridge.errors.NotAMinimumError, match="relax"):
            act()


def test_not_at_rest_at_other_parameters(theta2: Any, solid: Packing) -> None:
    other = theta2.replace(stiffness=1.1 * theta2.stiffness)
    with pytest.raises(bridge.errors.NotAMinimumError):
        bridge.poisson_ratio(other, solid)


def test_below_jamming() -> None:
    theta = bridge.SoftSphere(diameters=[0.5], stiffness=1.0)
    apart = np.stack(np.meshgrid(*[np.arange(6.0)] * 2, indexing="ij"), -1).reshape(-1, 2)
    packing = Packing.of(apart, np.zeros(36, dtype=int), np.eye(2) * 6)
    for act in (bridge.relax, bridge.response):
        with pytest.raises(bridge.errors.SingularHessianError, match="below jamming"):
            act(theta, packing)
    x = ensemble.random_positions(36, packing.box, 1, seed=1)[0]
    with pytest.raises(AmorphError) as failure:
        bridge.relax(theta, packing.with_positions(x))
    assert isinstance(
        failure.value, (bridge.errors.SingularHessianError, bridge.errors.RelaxationError)
    )


def test_floppy() -> None:
    """A chain of bound spheres across the box bends for free: zero modes, but no rattlers."""
    theta = bridge.HarmonicMorse(diameters=[1.0], binding=1.0, stiffness=50.0, alpha=20.0)
    x = np.stack([np.arange(6.0), np.zeros(6)], axis=1)
    packing = Packing.of(x, np.zeros(6, dtype=int), np.eye(2) * 6)
    with pytest.raises(bridge.errors.NotAMinimumError):
        bridge.response(theta, packing)


def test_box_too_small(theta2: Any, solid: Packing) -> None:
    wide = theta2.replace(alpha=4.0)
    for act in (
        bridge.relax, bridge.energy, bridge.forces, bridge.hessian, bridge.stress, bridge.response,
        bridge.lowest_frequencies, bridge.bond_contributions, bridge.pressure,
    ):  # fmt: skip
        with pytest.raises(BoxTooSmallError, match="less than twice"):
            act(wide, solid)


def test_unknown_type(solid: Packing) -> None:
    one = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
    for act in (bridge.relax, bridge.energy, bridge.response, bridge.poisson_ratio):
        with pytest.raises(UnknownTypeError, match="1 types"):
            act(one, solid)


def test_coincident_particles(theta2: Any, solid: Packing) -> None:
    x = solid.positions.copy()
    x[3] = x[4]
    with pytest.raises(bridge.errors.RelaxationError, match="coincide"):
        bridge.relax(theta2, solid.with_positions(x))


@pytest.mark.parametrize("name", ["forces", "hessian", "stress"])
def test_no_nan_stands_for_a_failure(name: str, theta2: Any, solid: Packing) -> None:
    x = solid.positions.copy()
    x[3] = x[4]
    with pytest.raises(InputError, match="is not finite: two particles coincide"):
        getattr(bridge, name)(theta2, solid.with_positions(x))


def test_steps_run_out(theta2: Any, solid: Packing) -> None:
    x = ensemble.random_positions(48, solid.box, 1, seed=5)[0]
    with pytest.raises(bridge.errors.RelaxationError, match="max_steps"):
        bridge.relax(theta2, Packing(x, solid.typeid, solid.box), max_steps=5)


@pytest.mark.parametrize("tolerance", [0.0, -1e-10, np.nan])
def test_impossible_tolerance(tolerance: float, theta2: Any, solid: Packing) -> None:
    with pytest.raises(InputError, match="tolerance"):
        bridge.relax(theta2, solid, tolerance=tolerance, max_steps=50)


@pytest.fixture
def float32() -> Iterator[None]:
    jax.config.update("jax_enable_x64", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", True)


@pytest.mark.usefixtures("float32")
def test_float64_switched_off(theta2: Any, solid: Packing) -> None:
    fresh = solid.with_positions(solid.positions)
    for act in (bridge.relax, bridge.energy, bridge.forces, bridge.hessian, bridge.response):
        with pytest.raises(bridge.errors.PrecisionError, match="jax_enable_x64"):
            act(theta2, fresh)


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(
    "act",
    [
        lambda t, p: bridge.measure(t, p, ["poisson_ratio"]),
        lambda t, p: bridge.measure(t, p, (), ["bulk_modulus"]),
        bridge.bond_contributions,
        bridge.lowest_frequencies,
    ],
    ids=["measure", "gradient", "bonds", "frequencies"],
)
def test_float64_switched_off_after_relaxing(act: Any, theta2: Any, solid: Packing) -> None:
    """The response is kept with the packing; precision is checked at each entry."""
    with pytest.raises(bridge.errors.PrecisionError, match="jax_enable_x64"):
        act(theta2, solid)


@pytest.mark.usefixtures("float32")
def test_parameters_made_in_float32() -> None:
    """Either an error, or parameters to the last bit; not 0.8 rounded in silence."""
    try:
        theta = bridge.SoftSphere(diameters=[0.8, 1.0], stiffness=1.0)
    except bridge.errors.PrecisionError:
        return
    assert theta.arrays()["diameters"].tolist() == [0.8, 1.0]


def test_float64_switched_off_in_a_context(theta2: Any, solid: Packing) -> None:
    switch = getattr(jax, "enable_x64", None)
    if switch is None:
        from jax.experimental import disable_x64

        context = disable_x64()
    else:
        context = switch(False)
    with context, pytest.raises(bridge.errors.PrecisionError):
        bridge.energy(theta2, solid.with_positions(solid.positions))


def test_positions_changed_in_place_are_not_mistaken(theta2: Any, solid: Packing) -> None:
    """A cached response must not outlive the positions it was computed at."""
    packing = bridge.relax(theta2, solid.with_positions(solid.positions.copy()))
    bridge.pressure(theta2, packing)
    try:
        packing.positions[0] += 0.05
    except ValueError:
        return  # read-only: as good
    with pytest.raises(bridge.errors.NotAMinimumError):
        bridge.pressure(theta2, packing)


def test_misspelt_features(theta2: Any, solid: Packing, solid3: Packing, spheres3: Any) -> None:
    with pytest.raises(bridge.errors.FeatureError, match="did you mean 'poisson_ratio'"):
        bridge.measure(theta2, solid, ["poison_ratio"])
    with pytest.raises(bridge.errors.FeatureError, match="did you mean 'bulk_modulus'"):
        bridge.value_and_grad("bulk_moduls")
    with pytest.raises(bridge.errors.FeatureError, match="psi_8"):
        bridge.feature("xyz")
    with pytest.raises(bridge.errors.FeatureError, match="2 dimensions"):
        bridge.feature("psi_8")(spheres3, solid3)
    with pytest.raises(bridge.errors.FeatureError, match="2 dimensions"):
        bridge.measure(spheres3, solid3, (), ["psi_8"])
    with pytest.raises(bridge.errors.FeatureError, match="no gradient"):
        bridge.measure(theta2, solid, (), ["psi_8_sharp"])
    assert bridge.register(bridge.FEATURES["pressure"]) is bridge.feature("pressure")
    with pytest.raises(InputError, match=r"packing is .*: it must be a Packing"):
        bridge.pressure(theta2, theta2)


def test_a_new_feature(theta2: Any, solid: Packing) -> None:
    """A function of (theta, state), measured and differentiated without being registered."""
    from amorph.bridge.matter.mechanics import pressure_of

    def ratio(theta: Any, state: Any) -> Any:
        return pressure_of(theta, state) / bridge.bulk_modulus.function(theta, state)

    new = bridge.Feature("pressure_over_bulk", ratio)
    found = bridge.measure(theta2, solid, (), [new, "pressure", "bulk_modulus"])
    p, b = found.values["pressure"], found.values["bulk_modulus"]
    assert found.values["pressure_over_bulk"] == pytest.approx(p / b, rel=1e-13)
    for name in theta2.arrays():
        dp, db, dq = (
            found.gradients[f].arrays()[name] for f in ("pressure", "bulk_modulus", new.name)
        )
        np.testing.assert_allclose(dq, dp / b - p * db / b**2, rtol=1e-9, atol=1e-12)


def test_packings_are_checked() -> None:
    good = np.zeros((2, 2))
    for arguments, named in [
        ((np.zeros((2, 4)), [0, 0]), "positions"),
        ((np.zeros((0, 2)), []), "positions"),
        (([[np.nan, 0.0]], [0]), "finite"),
        ((good, [0]), "typeid"),
        ((good, [0, -1]), "typeid"),
        ((good, [0.0, 1.0]), "typeid"),
        ((good, [0, 0], np.eye(3)), "3"),
        ((good, [0, 0], [[1, 0], [1, 1]]), "triangular"),
    ]:
        with pytest.raises(InputError, match=named):
            Packing.of(*arguments)


def test_potentials_are_frozen_pytrees(theta2: Any) -> None:
    with pytest.raises(AttributeError, match="replace"):
        theta2.binding = 1.0
    doubled = jax.tree_util.tree_map(lambda v: 2 * v, theta2)
    assert isinstance(doubled, bridge.HarmonicMorse)
    np.testing.assert_array_equal(doubled.arrays()["alpha"], 2 * theta2.arrays()["alpha"])
    again = bridge.from_arrays(theta2.potential, theta2.arrays())
    assert repr(again) == repr(theta2)
    with pytest.raises(InputError, match="binding"):
        theta2.replace(binding=-1.0)
    with pytest.raises(InputError, match="did you mean 'stiffness'"):
        bridge.from_arrays("soft_sphere", {"diameters": [1.0], "stifness": 1.0})


def test_a_dangling_particle_comes_to_rest_or_is_named() -> None:
    """It hangs in one well: no rattler to be pushed away, and nothing for Newton's method."""
    theta = bridge.Morse([1.0], 1.0, 50.0)
    x = [[0.0, 0.0], [1.0, 0.0], [0.5, 0.8660254], [2.01, 0.01]]
    found = relaxation(theta, Packing.of(x, [0] * 4), max_steps=50_000)
    assert found.response.rattlers.tolist() == [False, False, False, True]
    r = np.linalg.norm(found.packing.positions[3] - found.packing.positions[1])
    assert r == pytest.approx(1.0, abs=1e-12)


def test_a_tolerance_asked_for_stays(theta2: Any, solid: Packing) -> None:
    """A packing relaxed to a larger force can be measured without giving the tolerance again."""
    push = 1e-9 * np.random.default_rng(1).standard_normal(solid.positions.shape)
    loose = bridge.relax(theta2, solid.with_positions(solid.positions + push), tolerance=1e-6)
    assert np.abs(bridge.forces(theta2, loose)).max() > bridge.default_tolerance(theta2, loose)
    bridge.lowest_frequencies(theta2, loose)
    bridge.bond_contributions(theta2, loose)
    bridge.value_and_grad("pressure")(theta2, loose)
    fresh = loose.with_positions(loose.positions)
    with pytest.raises(bridge.errors.NotAMinimumError):
        bridge.pressure(theta2, fresh)


def test_arrays_of_others_are_copied(theta2: Any, solid: Packing) -> None:
    x = solid.positions.copy()
    packing = solid.with_positions(x)
    before = bridge.pressure(theta2, packing)
    x[0] += 0.1
    np.testing.assert_array_equal(packing.positions, solid.positions)
    assert bridge.pressure(theta2, packing) == before


def test_bonds_are_checked() -> None:
    x, types = np.zeros((3, 2)) + np.arange(3)[:, None], [0, 0, 0]
    for bonds, message in [
        ([[0, 3]], "3 particles"), ([[-1, 0]], "3 particles"), ([[1, 1]], "itself"),
        ([0, 1, 2], "shape"), ([[0.5, 1.0]], "integers"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=message):
            Packing.of(x, types, None, bonds)


def test_bounded_newton_steps_settle_what_plain_ones_do_not(theta2: Any) -> None:
    """Large packings have a place that is too soft somewhere: here, small ones that do."""
    batch = ensemble.quench(theta2, 128, 1.4, 2, 24, seed=5, tolerance=1e-3)
    refused = 0
    for k in range(len(batch)):
        start = Packing(batch.positions[k], batch.typeid, batch.boxes[0])
        limit = bridge.default_tolerance(theta2, start)
        plain, bounded = Work.start(theta2, start), Work.start(theta2, start)
        if run_newton(plain, limit)[0]:
            continue
        refused += 1
        assert run_newton(bounded, limit, bounded=True)[0]
        end = start.with_positions(bounded.state.positions)
        proven(theta2, end)
        assert bridge.energy(theta2, end) < bridge.energy(theta2, start)
    assert refused >= 4
