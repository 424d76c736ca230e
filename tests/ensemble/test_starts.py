"""Where preparations start: lattices, noise on them, who has which type, files of an ensemble."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gsd.hoomd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from amorph import bridge, ensemble
from amorph.ensemble import Brownian, Compress, Langevin, Minimize
from amorph.handover import FrameError, InputError, Purpose, uniforms

# Nearest neighbours, particles, and density for neighbours 1 apart.
LATTICES = {
    "square": (4, 49, 1.0),
    "triangular": (6, 60, 2 / np.sqrt(3)),
    "honeycomb": (3, 60, 4 / (3 * np.sqrt(3))),
    "fcc": (12, 108, np.sqrt(2.0)),
}


def distances(x: np.ndarray, box: np.ndarray) -> np.ndarray:
    length = np.diag(box)
    vector = x[:, None] - x[None]
    vector -= length * np.round(vector / length)
    return np.sqrt((vector**2).sum(-1)) + 1e3 * np.eye(len(x))


def test_all_lattices_are_tested() -> None:
    assert set(LATTICES) == set(ensemble.LATTICES)


@pytest.mark.parametrize("density", [0.3, 1.7])
@pytest.mark.parametrize("name", list(LATTICES))
def test_neighbours(name: str, density: float) -> None:
    neighbours, n, unit = LATTICES[name]
    x, box = ensemble.lattice(name, n, density)
    d = len(box)
    assert x.shape == (n, d)
    assert n / np.linalg.det(box) == pytest.approx(density, rel=1e-14)
    assert not (box - np.diag(np.diag(box))).any()
    assert (np.abs(x) <= np.diag(box) / 2).all()
    r = distances(x, box)
    nearest = (unit / density) ** (1 / d)
    np.testing.assert_allclose(r.min(axis=1), nearest, rtol=1e-12)
    count = (r < nearest * 1.01).sum(axis=1)
    assert (count == neighbours).all()
    # The second shell is apart: √2, √3, √3 and √2 neighbours' distances.
    second = np.where(r < nearest * 1.01, 1e3, r).min(axis=1)
    ratio = np.sqrt(2.0) if name in ("square", "fcc") else np.sqrt(3.0)
    np.testing.assert_allclose(second, ratio * nearest, rtol=1e-12)
    assert np.diag(box).max() <= 1.5 * np.diag(box).min()


@pytest.mark.parametrize("name", list(LATTICES))
def test_compressed_they_are_stationary(name: str, parameters: Any) -> None:
    """Each particle's neighbours push it in all directions alike."""
    neighbours, n, unit = LATTICES[name]
    theta = parameters("soft_sphere", [1.0], stiffness=3.0)
    x, box = ensemble.lattice(name, n, 1.2 * unit)
    found = ensemble.forces(theta, x, np.zeros(n, dtype=int), box)
    nearest = 1.2 ** (-1 / len(box))
    expected = n * neighbours / 2 * 1.5 * (1 - nearest) ** 2
    assert found.energy[0] == pytest.approx(expected, rel=1e-10)
    assert np.abs(found.forces).max() < 1e-12
    quenched = ensemble.quench(theta, n, 1.2 * unit, len(box), 2, 1, start=name)
    assert not quenched.steps.any()
    np.testing.assert_allclose(quenched.energy, expected, rtol=1e-10)
    np.testing.assert_allclose(quenched.positions[1], x, rtol=0, atol=1e-12)
    np.testing.assert_allclose(quenched.boxes[0], box, rtol=1e-14)


def numbers_in(message: str) -> list[int]:
    """What a message says would fit: the whole numbers after its last colon or semicolon."""
    return [int(k) for k in re.findall(r"\d+", re.split("[:;]", message)[-1])]


@settings(max_examples=60)
@given(name=st.sampled_from(list(LATTICES)), n=st.integers(1, 700))
def test_every_number_fits_or_says_what_would(name: str, n: int) -> None:
    """And what it says then fits."""
    try:
        x, box = ensemble.lattice(name, n, 1.3)
    except InputError as error:
        message = str(error)
        assert f"n_particles = {n}" in message
        assert name in message
        offered = numbers_in(message)
        assert offered, message
        for k in offered:
            assert k != n
            assert k > 0, message
        if "compact" in message:
            for k in offered:
                assert len(ensemble.lattice(name, k, 1.3)[0]) == k
    else:
        assert len(x) == n
        assert n / np.linalg.det(box) == pytest.approx(1.3, rel=1e-12)
        r = distances(x, box)
        _, _, unit = LATTICES[name]
        if n > 1:
            assert r.min() == pytest.approx((unit / 1.3) ** (1 / len(box)), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "n", "cell"), [("triangular", 61, 2), ("honeycomb", 58, 4), ("fcc", 110, 4)]
)
def test_numbers_that_fill_no_cells(name: str, n: int, cell: int) -> None:
    with pytest.raises(InputError, match=f"{cell} particles a cell") as raised:
        ensemble.lattice(name, n, 1.0)
    low, high = numbers_in(str(raised.value))
    assert low < n < high
    # Those offered serve, and none nearer does.
    for good in (low, high):
        ensemble.lattice(name, good, 1.0)
    for nearer in range(low + 1, high):
        with pytest.raises(InputError):
            ensemble.lattice(name, nearer, 1.0)


@pytest.mark.parametrize(
    ("n", "named"), [(0, "n_particles"), (2.5, "n_particles"), (2**24, "n_particles")]
)
def test_numbers_that_are_none(n: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        ensemble.lattice("square", n, 1.0)
    with pytest.raises(InputError, match="density = -1"):
        ensemble.lattice("square", 49, -1)


@pytest.mark.parametrize("name", list(LATTICES))
def test_noise(name: str, parameters: Any, normals: Callable[..., np.ndarray]) -> None:
    """Normal, of the standard deviation asked for, different in every replica."""
    _, n, _ = LATTICES[name]
    theta = parameters("soft_sphere", [0.3], stiffness=1.0)
    sites, box = ensemble.lattice(name, n, 1.0)
    d = len(box)
    given_: Any = {"start": name, "noise": 0.07}
    start = ensemble.make_start(theta, n, 1.0, d, 40, 6, first_replica=3, **given_)
    np.testing.assert_allclose(start.boxes, box[None], rtol=1e-14)
    moved = (start.positions - sites) / 0.07
    expected = np.stack([normals(6, "start", np.arange(n), 3 + r, 0, d) for r in range(40)])
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-10)
    assert moved.std() == pytest.approx(1, rel=5 / np.sqrt(2 * moved.size))
    assert stats.kstest(moved.ravel(), "norm").pvalue > 1e-4
    assert len(np.unique(moved)) == moved.size
    # A replica's noise is its own, in any batch; the seed counts; no noise is none.
    one = ensemble.make_start(theta, n, 1.0, d, 1, 6, first_replica=20, **given_)
    np.testing.assert_array_equal(one.positions[0], start.positions[17])
    other = ensemble.make_start(theta, n, 1.0, d, 1, 7, first_replica=20, **given_)
    assert (np.abs(other.positions - one.positions).max(axis=2) > 1e-6).all()
    none = ensemble.make_start(theta, n, 1.0, d, 2, 6, start=name)
    np.testing.assert_array_equal(none.positions, np.stack([sites] * 2))


def test_noise_reaches_the_preparations(morse: Any) -> None:
    x: Any = {"start": "triangular", "noise": 0.25, "seed": 3, "first_replica": 5, "replicas": 2}
    start = ensemble.make_start(morse, 96, 1.6, 2, **x)
    by_hand = ensemble.minimize(morse, start.positions, start.typeid, start.boxes)
    e = ensemble.quench(morse, 96, 1.6, 2, **x)
    np.testing.assert_array_equal(e.positions, by_hand.positions)
    np.testing.assert_array_equal(e.boxes, start.boxes)
    assert np.diff(np.diag(e.boxes[0])) != 0  # no square
    assert abs(e.energy[0] - e.energy[1]) > 1e-6
    squeezed = ensemble.compress(morse, 96, 1.6, 1.65, 2, increments=2, **x)
    assert squeezed.converged.all()
    ratio = squeezed.boxes[0][0, 0] / squeezed.boxes[0][1, 1]
    assert ratio == pytest.approx(e.boxes[0][0, 0] / e.boxes[0][1, 1], rel=1e-12)


SHARES = [[1, 1], [0.25, 0.75], [3, 1]]


@pytest.mark.parametrize("shares", SHARES)
def test_types_at_random(shares: list[float]) -> None:
    n, replicas = 40, 600
    types = ensemble.typeids(n, 2, shares, order="random", replicas=replicas, seed=5)
    assert types.shape == (replicas, n)
    assert types.dtype == np.int32
    # Exact in every replica,
    part = shares[1] / sum(shares)
    assert (types.sum(axis=1) == round(n * part)).all()
    # and anyone's on average: each particle has type 1 in its share of the replicas.
    mean = types.mean(axis=0)
    error = np.sqrt(part * (1 - part) / replicas)
    assert np.abs(mean - part).max() < 4.5 * error
    chi = ((mean - part) ** 2).sum() / error**2
    assert 15 < chi < 70  # of 39 degrees of freedom
    # Two particles' types are correlated as of drawing without putting back: -1/(N - 1).
    r = np.corrcoef(types.T)[np.triu_indices(n, 1)]
    assert r.mean() == pytest.approx(-1 / (n - 1), abs=2e-3)
    assert np.abs(r).max() < 5.5 / np.sqrt(replicas)
    # No two replicas have the same.
    assert len(np.unique(types, axis=0)) == replicas


def test_types_at_random_follow_from_seed_and_number() -> None:
    def shuffled(seed: int, first: int, replicas: int) -> np.ndarray:
        return ensemble.typeids(
            30, 3, [1, 2, 3], order="random", replicas=replicas, seed=seed, first_replica=first
        )

    whole = shuffled(9, 0, 8)
    np.testing.assert_array_equal(shuffled(9, 0, 8), whole)
    np.testing.assert_array_equal(shuffled(9, 5, 3), whole[5:])
    assert (shuffled(10, 0, 8) != whole).any(axis=1).all()
    for r in range(8):
        assert np.bincount(whole[r]).tolist() == [5, 10, 15]
        # The particles in the order of their numbers, as the keys define them.
        rank = uniforms(9, Purpose.TYPE_ORDER, np.arange(30), r)[:, 0]
        np.testing.assert_array_equal(whole[r][np.argsort(rank)], np.repeat([0, 1, 2], [5, 10, 15]))
    # Not those of the positions.
    x = ensemble.random_positions(30, np.eye(2), 8, 9)
    mean = [np.corrcoef(whole[r], x[r, :, a])[0, 1] for r in range(8) for a in range(2)]
    assert np.abs(mean).max() < 0.6
    assert abs(np.mean(mean)) < 4.5 / np.sqrt(30 * 16)


def test_a_quench_with_types_at_random(morse: Any, tmp_path: Path) -> None:
    e = ensemble.quench(morse, 96, 1.6, 2, 4, seed=2, order="random", composition=[1, 3])
    expected = ensemble.typeids(96, 2, [1, 3], order="random", replicas=4, seed=2)
    np.testing.assert_array_equal(e.typeid, expected)
    for r in range(4):
        alone = ensemble.minimize(
            morse, ensemble.random_positions(96, e.boxes[0], 1, 2, first_replica=r), expected[r],
            e.boxes[0],
        )  # fmt: skip
        np.testing.assert_array_equal(alone.positions[0], e.positions[r])
    e.write(tmp_path / "types.gsd")
    back = ensemble.read_start(tmp_path / "types.gsd")
    np.testing.assert_array_equal(back.typeid, expected)


def various(parameters: Callable[..., Any]) -> list[Any]:
    return [
        parameters(
            "harmonic_morse", [0.8 + 0.02 * k, 1.0 - 0.03 * k], binding=[0.1, 0.02 * k, 0.1],
            stiffness=5.0 + k, alpha=[6.0 + k, 8.0, 7.0],
        )
        for k in range(4)
    ]  # fmt: skip


STAGES: dict[str, list[Any]] = {
    "minimize": [Minimize()],
    "pressure": [Minimize(pressure=0.5)],
    "langevin": [Minimize(1e-2), Langevin(60, 0.03, 0.05), Minimize()],
    "brownian": [Minimize(1e-2), Brownian(60, 0.02, 0.05)],
    "compress": [Minimize(1e-3), Compress(1.6, 3)],
}


@pytest.mark.parametrize("kind", list(STAGES))
def test_parameters_of_each_replica(kind: str, parameters: Any) -> None:
    """Each is prepared as alone, bit for bit, and with its own."""
    thetas = various(parameters)
    start = ensemble.make_start(thetas[0], 96, 1.5, 2, 4, 1, order="random")
    e = ensemble.prepare(
        thetas, start.positions, start.typeid, start.boxes, STAGES[kind], seed=3, threads=2
    )
    assert e.ok.all()
    assert len(e.parameters) == 4
    for k in range(4):
        alone = ensemble.prepare(
            thetas[k], start.positions[k], start.typeid[k], start.boxes, STAGES[kind],
            seed=3, first_replica=k,
        )  # fmt: skip
        for name in ("positions", "energy", "stress", "max_force", "steps", "status"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(e, name)[k])
        np.testing.assert_array_equal(alone.boxes[0], e.boxes[k if len(e.boxes) > 1 else 0])
        # Not with another's.
        mine = ensemble.forces(thetas[k], alone.positions, start.typeid[k], alone.boxes)
        theirs = ensemble.forces(thetas[k - 1], alone.positions, start.typeid[k], alone.boxes)
        np.testing.assert_allclose(e.energy[k], mine.energy[0], rtol=1e-12)
        assert abs(theirs.energy[0] - mine.energy[0]) > 1e-3
    # All the same, given for each, or once.
    once = ensemble.prepare(
        thetas[2], start.positions, start.typeid, start.boxes, STAGES[kind], seed=3
    )
    each = ensemble.prepare(
        [thetas[2]] * 4, start.positions, start.typeid, start.boxes, STAGES[kind], seed=3
    )
    np.testing.assert_array_equal(once.positions, each.positions)
    # Forces take them too.
    both = ensemble.forces(thetas, e.positions, start.typeid, e.boxes)
    np.testing.assert_allclose(both.energy, e.energy, rtol=1e-12)


@pytest.mark.parametrize("kind", ["minimize", "pressure", "compress"])
def test_a_file_is_a_start(kind: str, parameters: Any, tmp_path: Path) -> None:
    """What was written is read to the bit, and a minimum read is where it ends."""
    thetas = various(parameters)
    start = ensemble.make_start(thetas[0], 96, 1.5, 2, 4, 1, order="random")
    e = ensemble.prepare(thetas, start.positions, start.typeid, start.boxes, STAGES[kind], seed=3)
    path = tmp_path / "ends.gsd"
    e.write(path)
    back = ensemble.read_start(path)
    np.testing.assert_array_equal(back.positions, e.positions)
    np.testing.assert_array_equal(back.typeid, e.typeid)
    np.testing.assert_array_equal(back.boxes, np.broadcast_to(e.boxes, (4, 2, 2)))
    assert len(back.parameters) == 4
    for k in range(4):
        assert back.parameters[k].potential == "harmonic_morse"
        own = back.parameters[k].arrays()
        assert set(own) == set(thetas[k].values)
        for name, values in thetas[k].values.items():
            np.testing.assert_array_equal(own[name], values)
    again = ensemble.prepare(
        back.parameters, back.positions, back.typeid, back.boxes,
        [Minimize(1.1e-10, pressure=0.5) if kind == "pressure" else Minimize(1.1e-10)],
    )  # fmt: skip
    assert again.converged.all()
    assert (again.steps <= 1).all()
    np.testing.assert_allclose(again.energy, e.energy, rtol=1e-12)
    apart = again.positions - e.positions
    length = np.diagonal(again.boxes, axis1=1, axis2=2)[:, None]
    assert np.abs(apart - length * np.round(apart / length)).max() < 1e-9
    # Some of the frames.
    some = ensemble.read_start(path, slice(1, None, 2))
    np.testing.assert_array_equal(some.positions, e.positions[1::2])
    np.testing.assert_array_equal(some.parameters[1].arrays()["alpha"], thetas[3]["alpha"])


def test_one_order_of_types_is_kept_once(morse: Any, tmp_path: Path) -> None:
    e = ensemble.quench(morse, 96, 1.6, 2, 3, seed=2)
    e.write(tmp_path / "same.gsd")
    back = ensemble.read_start(tmp_path / "same.gsd")
    assert back.typeid.shape == (96,)
    np.testing.assert_array_equal(back.typeid, e.typeid)


def test_clusters_start_without_a_box(tmp_path: Path) -> None:
    well = bridge.Morse(diameters=[1.0], binding=1.0, alpha=14.0)
    rng = np.random.default_rng(2)
    start = np.stack([0.8 * rng.normal(size=(7, 3)) for _ in range(2)])
    stages = [Langevin(2000, 1e-3, 0.05, friction=5.0), Minimize()]
    first = ensemble.prepare(well, start, np.zeros(7, int), None, [Minimize(1e-2)], seed=1)
    first.write(tmp_path / "clusters.gsd")
    begin = ensemble.read_start(tmp_path / "clusters.gsd")
    assert begin.boxes is None
    assert begin.box is None
    again = ensemble.prepare(begin.parameters, begin.positions, begin.typeid, begin.box, stages)
    assert again.converged.all()
    assert (again.energy <= first.energy + 1e-9).all()


def test_files_that_are_no_start(morse: Any, tmp_path: Path) -> None:
    with pytest.raises(FrameError, match=r"nothing\.gsd"):
        ensemble.read_start(tmp_path / "nothing.gsd")
    e = ensemble.quench(morse, 96, 1.6, 2, 3, seed=2, max_steps=3)
    e.write(tmp_path / "three.gsd")
    with pytest.raises((FrameError, InputError)):
        ensemble.read_start(tmp_path / "three.gsd", slice(5, 9))
    from amorph.handover import Frame, write_gsd

    frames = list(e.frames())
    smaller = Frame(
        positions=frames[1].positions[:80], typeid=frames[1].typeid[:80], types=("A", "B"),
        box=frames[1].box, potential=frames[1].potential, parameters=frames[1].parameters,
        log=frames[1].log,
    )  # fmt: skip
    write_gsd(tmp_path / "mixed.gsd", [frames[0], smaller])
    with pytest.raises(InputError, match=r"frame 1 has 80 particles.*prepare them apart"):
        ensemble.read_start(tmp_path / "mixed.gsd")
    cluster = Frame(
        positions=frames[1].positions, typeid=frames[1].typeid, types=("A", "B"), box=None,
        potential=frames[1].potential, parameters=frames[1].parameters, log=frames[1].log,
    )  # fmt: skip
    write_gsd(tmp_path / "some_open.gsd", [frames[0], cluster])
    with pytest.raises(InputError, match="one of the frames 0 and 1 has a box, the other none"):
        ensemble.read_start(tmp_path / "some_open.gsd")
    # A frame without a potential is a start all the same: the potential is given.
    bare = Frame(
        positions=frames[0].positions, typeid=frames[0].typeid, types=("A", "B"), box=frames[0].box
    )
    write_gsd(tmp_path / "bare.gsd", [bare, bare])
    back = ensemble.read_start(tmp_path / "bare.gsd")
    assert back.parameters == ()
    np.testing.assert_array_equal(back.positions[1], frames[0].positions)


def test_what_a_start_does_not_take_over_is_said(tmp_path: Path) -> None:
    frame = gsd.hoomd.Frame()
    frame.particles.N = 3
    frame.particles.types = ["B", "A"]
    frame.particles.typeid = [0, 1, 1]
    frame.particles.position = [[0, 0, 0], [2, 0, 0], [0, 2, 0]]
    frame.particles.charge = [1.0, 0.0, -1.0]
    frame.configuration.box = [6, 6, 0, 0, 0, 0]
    frame.configuration.dimensions = 2
    with gsd.hoomd.open(tmp_path / "t.gsd", "w") as file:
        file.append(frame)
    with pytest.warns(UserWarning, match="charges|taken in this order") as caught:
        start = ensemble.read_start(tmp_path / "t.gsd")
    assert start.typeid.tolist() == [0, 1, 1]
    said = [str(w.message) for w in caught]
    assert any("charges" in text for text in said)
    assert any("types B, A are taken in this order" in text for text in said)
