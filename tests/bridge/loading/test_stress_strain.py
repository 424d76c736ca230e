"""Stress-strain curves: athermal, quasi-static deformation."""

import itertools
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import Packing
from amorph.bridge.loading.stress_strain import StressStrain
from amorph.handover import BoxTooSmallError, InputError


@pytest.fixture(scope="module")
def sheared(theta2: Any, solid: Packing) -> StressStrain:
    """A curve with a plastic event or more, and contacts that change."""
    return bridge.stress_strain(theta2, solid, max_strain=0.12, step=2e-3, keep=True)


@pytest.fixture(scope="module")
def elastic(theta2: Any, solid: Packing) -> StressStrain:
    """A curve without an event."""
    found = bridge.stress_strain(theta2, solid, max_strain=-0.01, step=1e-3, keep=True)
    assert not found.events
    return found


def test_the_curve_starts_at_the_packing(sheared: Any, theta2: Any, solid: Packing) -> None:
    n = 61
    assert sheared.complete
    np.testing.assert_allclose(sheared.strain, 2e-3 * np.arange(n), rtol=1e-12)
    assert sheared.strain[-1] == 0.12
    for name in ("energy", "volume", "pressure", "conjugate", "tangent", "rattlers", "plastic"):
        assert getattr(sheared, name).shape == (n,)
    assert sheared.stress.shape == (n, 2, 2)
    assert sheared.energy[0] == pytest.approx(bridge.energy(theta2, solid), rel=1e-13)
    assert len(sheared.packings) == n
    assert (sheared.max_force <= bridge.default_tolerance(theta2, solid)).all()
    for k in (0, 17, 60):
        packing = sheared.packings[k]
        assert bridge.energy(theta2, packing) == pytest.approx(sheared.energy[k], rel=1e-13)
        np.testing.assert_allclose(bridge.stress(theta2, packing), sheared.stress[k], atol=1e-13)
        np.testing.assert_allclose(
            packing.box, bridge.deform(solid, [[1, sheared.strain[k]], [0, 1]]).box, atol=1e-12
        )
        assert sheared.conjugate[k] == pytest.approx(sheared.stress[k][0, 1])
        assert sheared.pressure[k] == pytest.approx(-np.trace(sheared.stress[k]) / 2)
    assert sheared.nonaffine_squared[0] == sheared.contact_changes[0] == 0
    assert (sheared.nonaffine_squared[1:] > 0).all()


def test_contact_changes_and_nonaffine_motion(elastic: Any, theta2: Any, classes: Any) -> None:
    for k in range(1, len(elastic.strain)):
        before, after = elastic.packings[k - 1 : k + 1]
        expected = (classes(theta2, before) != classes(theta2, after)).sum()
        assert elastic.contact_changes[k] == expected
        f = np.eye(2)
        f[0, 1] = elastic.strain[k] - elastic.strain[k - 1]
        u = after.positions - before.positions @ f.T
        u = u - u.mean(0)
        assert elastic.nonaffine_squared[k] == pytest.approx(np.mean(np.sum(u**2, 1)), rel=1e-6)
    assert elastic.contact_changes.sum() > 0
    # And the first step is the linear response but for what is of the order of the step: 5 % of
    # its square at 1e-3, 0.4 % at 1e-4.
    linear = bridge.nonaffine_displacement(theta2, elastic.packings[0], [[0, -1e-3], [0, 0]])
    assert elastic.nonaffine_squared[1] == pytest.approx(np.mean(np.sum(linear**2, 1)), rel=0.06)


def integral(curve: StressStrain, first: int, last: int) -> float:
    """∫ V σ:L ds, corrected at the ends of each step by its derivative."""
    v, s, t = curve.volume, curve.conjugate, curve.tangent
    power = v * s
    slope = v * (t + np.trace(curve.velocity_gradient) * s)
    h = np.diff(curve.strain)
    parts = h / 2 * (power[1:] + power[:-1]) + h**2 / 12 * (slope[:-1] - slope[1:])
    return float(parts[first:last].sum())


@pytest.mark.parametrize("mode", ["simple_shear", "pure_shear", "dilation", "matrix"])
@pytest.mark.parametrize("dimension", [2, 3])
def test_work_is_energy(
    dimension: int, mode: Any, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing
) -> None:
    """∫ V σ:L ds is the change of the energy; sharply where no pair crosses."""
    theta, packing = (theta2, solid) if dimension == 2 else (spheres3, solid3)
    if mode == "matrix":  # which turns the box
        mode = np.array([[0.3, -0.2, 0.1], [0.9, 0.1, 0.4], [-0.5, 0.6, 0.2]])[
            :dimension, :dimension
        ]
    curve = bridge.stress_strain(theta, packing, mode, max_strain=-4e-3, step=2.5e-4, check=False)
    change = np.diff(curve.energy)
    work = np.array([integral(curve, k, k + 1) for k in range(len(change))])
    # Up to the first event, short of the step before it: there the stress turns as the root of
    # the distance.
    quiet = np.cumsum(np.append(curve.plastic[2:], False)) == 0
    smooth = (curve.contact_changes[1:] == 0) & quiet
    scale = np.abs(change).max()
    assert smooth.sum() >= 4
    assert np.abs(work - change)[smooth].max() < 1e-7 * scale
    assert work[quiet].sum() == pytest.approx(change[quiet].sum(), rel=1e-4)
    without = np.diff(curve.strain) * (curve.volume * curve.conjugate)[:-1]
    assert np.abs(without - change)[smooth].max() > 1e-5 * scale


@pytest.mark.parametrize("dimension", [2, 3])
def test_stress_is_the_derivative_of_the_energy(
    dimension: int, theta2: Any, sheared: Any, spheres3: Any, solid3: Packing
) -> None:
    if dimension == 2:
        theta, packing, sigma = theta2, sheared.packings[40], sheared.stress[40]
    else:
        theta = spheres3
        curve = bridge.stress_strain(theta, solid3, max_strain=4e-3, step=2e-3)
        packing, sigma = curve.final, curve.stress[-1]
    h = 1e-5
    for a, b in itertools.combinations_with_replacement(range(dimension), 2):
        strain = np.zeros((dimension, dimension))
        strain[a, b] += 0.5
        strain[b, a] += 0.5
        strained = [bridge.deform(packing, np.eye(dimension) + t * strain) for t in (h, -h)]
        energies = [bridge.energy(theta, bridge.relax(theta, p)) for p in strained]
        slope = (energies[0] - energies[1]) / (2 * h) / packing.volume
        assert slope == pytest.approx(sigma[a, b], abs=1e-7)


def test_events_are_found_where_they_are(sheared: Any, theta2: Any, solid: Packing) -> None:
    assert sheared.events
    assert sheared.plastic.any()
    for event in sheared.events:
        k = int(np.searchsorted(sheared.strain, event.strain))
        assert sheared.plastic[k]
        assert 0 < event.resolution <= 2e-3 / 256 * 1.001
        assert event.energy_drop > 0
        assert 1 / 48 <= event.participation_ratio <= 1
        assert event.displacement.shape == (48, 2)
        assert np.abs(event.displacement.mean(0)).max() < 1e-10
        assert event.stress_drop == pytest.approx(
            event.stress_before[0, 1] - event.stress_after[0, 1]
        )
    first = sheared.events[0]
    # Up to there the way is elastic, and leads back.
    below = first.strain - 1.01 * first.resolution
    there = bridge.stress_strain(theta2, solid, max_strain=below, step=2e-3)
    assert not there.events
    back = bridge.stress_strain(theta2, there.final, max_strain=-below, step=2e-3)
    assert not back.events
    np.testing.assert_allclose(back.final.positions, solid.positions, atol=1e-8)
    # A finer look and other steps find it at the same place.
    beyond = first.strain + first.resolution
    finer = bridge.stress_strain(
        theta2, solid, max_strain=beyond, step=1.3e-3, resolution=first.resolution / 16
    )
    (same,) = finer.events
    assert abs(same.strain - first.strain) <= 1.3 * first.resolution
    # It lies anywhere within a resolution, and its size depends on where: by 1e-5 and 1e-3.
    assert same.energy_drop == pytest.approx(first.energy_drop, rel=1e-4)
    assert same.participation_ratio == pytest.approx(first.participation_ratio, rel=5e-3)
    # From behind it the way does not lead back.
    away = bridge.stress_strain(theta2, finer.final, max_strain=-beyond, step=2e-3)
    gone = away.final.positions - solid.positions
    assert np.abs(gone - gone.mean(0)).max() > 1e-2


def test_energy_balance_over_events(sheared: Any) -> None:
    """U changes by the work, less what the events dissipate."""
    quiet = ~sheared.plastic[1:]
    n = len(quiet)
    work = np.array([integral(sheared, k, k + 1) for k in range(n)])
    change = np.diff(sheared.energy)
    assert np.abs(work - change)[quiet].max() < 1e-3 * np.abs(change).max()
    # Across an event, by the stresses before and after it.
    for k in np.flatnonzero(sheared.plastic[1:]):
        inside = [
            e for e in sheared.events if sheared.strain[k] < e.strain <= sheared.strain[k + 1]
        ]
        at, stress = [sheared.strain[k]], [sheared.conjugate[k]]
        for e in inside:
            at += [e.strain, e.strain]
            stress += [e.stress_before[0, 1], e.stress_after[0, 1]]
        at, stress = [*at, sheared.strain[k + 1]], [*stress, sheared.conjugate[k + 1]]
        done = sheared.volume[k] * np.trapezoid(stress, at)
        lost = sum(e.energy_drop for e in inside)
        # The rule of trapezoids is off by the square of the step: 1e-4 of the loss here.
        assert change[k] == pytest.approx(done - lost, abs=1e-3 * lost)


def test_elastic_ways_lead_back(elastic: Any, theta2: Any, solid: Packing) -> None:
    """Contacts change on the way; that is no event."""
    back = bridge.stress_strain(theta2, elastic.final, max_strain=0.01, step=2.5e-3)
    assert not back.events
    np.testing.assert_allclose(back.final.positions, solid.positions, atol=1e-9)
    assert back.energy[-1] == pytest.approx(elastic.energy[0], rel=1e-12)
    np.testing.assert_allclose(back.final.box, solid.box, atol=1e-14)


def test_steps_do_not_matter(elastic: Any, theta2: Any, solid: Packing) -> None:
    for step, check in ((3e-3, True), (-1e-2, False)):
        other = bridge.stress_strain(theta2, solid, max_strain=-0.01, step=step, check=check)
        assert len(other.strain) == (5 if step > 0 else 2)
        assert other.energy[-1] == pytest.approx(elastic.energy[-1], rel=1e-12)
        np.testing.assert_allclose(other.stress[-1], elastic.stress[-1], atol=1e-10)


def test_other_vectors_of_the_lattice_and_a_flip_on_the_way(theta2: Any, solid: Packing) -> None:
    """A box that starts just below half its tilt is replaced on the way; nothing else changes."""
    leaning = bridge.deform(solid, [[1.0, 0.497], [0.0, 1.0]])
    leaning = bridge.relax(theta2, leaning)
    combination = np.array([[1.0, -1.0], [0.0, 1.0]])
    other = Packing(leaning.positions, leaning.typeid, leaning.box @ combination)
    assert other.box[0, 1] < 0 < leaning.box[0, 1]
    a = bridge.stress_strain(theta2, leaning, max_strain=0.006, step=2e-3)
    b = bridge.stress_strain(theta2, other, max_strain=0.006, step=2e-3)
    assert a.final.box[0, 1] < 0
    assert len(a.events) == len(b.events)
    np.testing.assert_allclose(a.energy, b.energy, rtol=1e-11)
    np.testing.assert_allclose(a.stress, b.stress, atol=1e-10)
    np.testing.assert_allclose(a.tangent, b.tangent, atol=1e-7)
    np.testing.assert_array_equal(a.contact_changes, b.contact_changes)
    np.testing.assert_allclose(a.nonaffine_squared, b.nonaffine_squared, rtol=1e-6)


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_turned_box_is_in_the_frame_of_the_gradient(
    dimension: int, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing
) -> None:
    """y sheared along x is x sheared along y with the axes exchanged."""
    theta, packing = (theta2, solid) if dimension == 2 else (spheres3, solid3)
    order = [1, 0, 2][:dimension]
    mirrored = Packing(packing.positions[:, order], packing.typeid, packing.box)
    assert packing.box[0, 0] == packing.box[1, 1]
    rate = np.zeros((dimension, dimension))
    rate[1, 0] = 1.0
    a = bridge.stress_strain(theta, packing, "simple_shear", max_strain=4e-3, step=1e-3)
    b = bridge.stress_strain(theta, mirrored, rate, max_strain=4e-3, step=1e-3)
    assert (b.final.box != a.final.box).any()
    np.testing.assert_allclose(a.energy, b.energy, rtol=1e-10)
    np.testing.assert_allclose(a.conjugate, b.conjugate, atol=1e-9)
    np.testing.assert_allclose(a.tangent, b.tangent, rtol=1e-6)
    np.testing.assert_allclose(a.stress, b.stress[:, order][:, :, order], atol=1e-9)
    np.testing.assert_allclose(a.nonaffine_squared, b.nonaffine_squared, rtol=1e-6)


def test_rattlers_are_neither_motion_nor_events(loose: Any) -> None:
    theta, packing = loose
    rattlers = bridge.response(theta, packing).rattlers
    curve = bridge.stress_strain(theta, packing, max_strain=2e-5, step=1e-5)
    assert curve.rattlers[0] == 4
    assert not curve.events
    # Elsewhere in their cages they make no difference.
    for shift in (1e-4, -1e-4):
        moved = packing.with_positions(packing.positions + shift * rattlers[:, None])
        moved = bridge.relax(theta, moved)
        other = bridge.stress_strain(theta, moved, max_strain=2e-5, step=1e-5)
        np.testing.assert_allclose(other.energy, curve.energy, rtol=1e-9)
        np.testing.assert_allclose(other.nonaffine_squared, curve.nonaffine_squared, rtol=1e-5)
        np.testing.assert_array_equal(other.contact_changes, curve.contact_changes)
        assert not other.events


# Failures.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "shear"}, "there is no mode 'shear'"),
        ({"mode": np.zeros((2, 2))}, "zero"),
        ({"mode": np.eye(3)}, "shape"),
        ({"mode": [[0.0, np.nan], [0.0, 0.0]]}, "finite"),
        ({"max_strain": np.nan}, "max_strain = nan"),
        ({"max_strain": 0.0}, "max_strain = 0.0"),
        ({"max_strain": np.inf}, "max_strain = inf"),
        ({"step": 0.0}, "step = 0.0"),
        ({"step": np.nan}, "step = nan"),
        ({"step": -1e-3}, "leads away"),
        ({"step": 1e-12}, "more than 1,000,000 steps"),
        ({"resolution": 0.0}, "resolution"),
        ({"resolution": 1.0}, "resolution"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"mode": "dilation", "max_strain": -500.0, "step": 100.0}, "beyond what numbers|wide"),
    ],
)
def test_what_is_refused_before_work(
    theta2: Any, solid: Packing, change: dict, message: str
) -> None:
    called: list[float] = []
    given = {"mode": "simple_shear", "max_strain": 0.01, "step": 1e-3, **change}
    with pytest.raises(InputError, match=message):
        bridge.stress_strain(theta2, solid, callback=lambda s, _: called.append(s), **given)
    assert not called


def test_narrow_boxes_are_found_before_work(theta2: Any, solid: Packing) -> None:
    called: list[float] = []
    for mode, strain in (("pure_shear", 0.5), ("pure_shear", -0.5), ("dilation", -0.5)):
        with pytest.raises(BoxTooSmallError, match=f"at strain .*{strain:.1g}"):
            bridge.stress_strain(
                theta2, solid, mode, max_strain=strain, step=0.5,
                callback=lambda s, _: called.append(s),
            )  # fmt: skip
    assert not called


def test_packings_that_cannot_start(theta2: Any, solid: Packing, spheres3: Any) -> None:
    shaken = solid.with_positions(solid.positions + 0.01 * np.sin(np.arange(96.0)).reshape(-1, 2))
    with pytest.raises(bridge.errors.NotAMinimumError, match="relax"):
        bridge.stress_strain(theta2, shaken, max_strain=0.01, step=1e-3)
    with pytest.raises(InputError, match="volume"):
        bridge.stress_strain(
            theta2, Packing.of(solid.positions, solid.typeid), max_strain=0.01, step=1e-3
        )
    gas = Packing.of([[0.0, 0, 0], [2.0, 2, 2]], [0, 0], np.eye(3) * 5)
    with pytest.raises(bridge.errors.SingularHessianError, match="below jamming"):
        bridge.stress_strain(spheres3, gas, max_strain=0.01, step=1e-3)


def test_what_was_computed_is_not_lost() -> None:
    """Dilated until nothing holds it: the curve up to there comes with the error."""
    theta = bridge.SoftSphere(diameters=[1.0], stiffness=4.0)
    side, height = 0.95, 0.95 * np.sqrt(3)
    corners = np.array([[0, 0], [side / 2, height / 2]])
    cells = np.array([[i * side, j * height] for i in range(4) for j in range(2)])
    x = (cells[:, None] + corners).reshape(-1, 2)
    crystal = Packing.of(x, np.zeros(16, dtype=int), np.diag([4 * side, 2 * height]))
    lost = -np.log(0.95)
    with pytest.raises(bridge.errors.DeformationError, match="could be deformed to") as caught:
        bridge.stress_strain(theta, crystal, "dilation", max_strain=0.1, step=1e-2)
    result = caught.value.result
    assert isinstance(caught.value.__cause__, bridge.errors.SingularHessianError)
    assert not result.complete
    np.testing.assert_allclose(result.strain, 1e-2 * np.arange(1 + int(lost / 1e-2)), atol=1e-15)
    assert len(result.energy) == len(result.stress) == len(result.plastic) == len(result.strain)
    assert result.final.volume == pytest.approx(result.volume[-1])
    assert f"{lost:.4f}"[:5] in str(caught.value)


@pytest.mark.slow
def test_a_disordered_packing_is_dilated_until_it_is_lost(loose: Any) -> None:
    theta, packing = loose
    with pytest.raises(bridge.errors.DeformationError, match="could be deformed to") as caught:
        bridge.stress_strain(theta, packing, "dilation", max_strain=0.05, step=2e-3)
    assert isinstance(
        caught.value.__cause__, bridge.errors.NotAMinimumError | bridge.errors.RelaxationError
    )
    assert 1 <= len(caught.value.result.strain) < 26
    assert caught.value.result.energy[0] == bridge.energy(theta, packing)


def test_callback_sees_each_packing(theta2: Any, solid: Packing) -> None:
    seen: list[tuple[float, float]] = []
    curve = bridge.stress_strain(
        theta2, solid, max_strain=-3e-3, step=1e-3,
        callback=lambda s, p: seen.append((s, bridge.energy(theta2, p))),
    )  # fmt: skip
    np.testing.assert_allclose([s for s, _ in seen], curve.strain)
    np.testing.assert_allclose([u for _, u in seen], curve.energy, rtol=1e-13)
    assert curve.packings is None
