"""Local order and structure against freud, with freud's own neighbour lists.

freud computes in float32: its distances are off by about 1e-6, so that a pair as near as that to
a cut or an edge could be counted differently. The tests make sure that there is none.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import Packing, PairPotential, Window
from amorph.bridge.matter.neighbours import FIRST_SHELL_SHARP, WITHIN_LARGEST_DIAMETER

FLOAT32 = 5e-5
freud = pytest.importorskip("freud")

DISCS = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0)
SPHERES = bridge.SoftSphere(diameters=[0.9, 1.1], stiffness=[4.0, 5.0, 6.0])


def packings(theta: PairPotential, n: int, density: float, d: int, count: int) -> list[Packing]:
    found = ensemble.quench(theta, n, density, d, count, seed=5, threads=1)
    assert found.converged.all()
    return [Packing(x, found.typeid, found.boxes[0]).wrapped() for x in found.positions]


@pytest.fixture(scope="module")
def discs() -> list[Packing]:
    return packings(DISCS, 128, 1.6, 2, 20)


@pytest.fixture(scope="module")
def spheres() -> list[Packing]:
    return packings(SPHERES, 128, 1.6, 3, 3)


def system(packing: Packing) -> tuple[Any, np.ndarray]:
    n, d = packing.positions.shape
    points = np.zeros((n, 3))
    points[:, :d] = packing.positions
    lengths = np.diag(packing.box)
    assert np.array_equal(packing.box, np.diag(lengths))
    return freud.box.Box(*lengths), points


def neighbours(
    packing: Packing, r_max: float, cut: Callable[[np.ndarray, np.ndarray], Any] | None = None
) -> Any:
    """freud's list of pairs nearer than r_max, or than `cut` of their types."""
    box, points = system(packing)
    found = freud.locality.AABBQuery(box, points).query(
        points, {"r_max": r_max, "exclude_ii": True}
    )
    listed = found.toNeighborList()
    limit = np.full(len(listed), r_max)
    if cut is not None:
        limit = cut(packing.typeid[listed[:, 0]], packing.typeid[listed[:, 1]])
    assert np.abs(listed.distances - limit).min() > 2e-6, "float32 decides which pairs are in"
    listed.filter(listed.distances < limit)
    return listed


def sigma_of(theta: PairPotential) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    sigma = theta.of_types()["sigma"]
    return lambda a, b: sigma[a, b]


def compare_hexatic(packing: Packing, k: int) -> tuple[float, float]:
    """The largest difference of a particle's ψ_k, and that of their means, sharp."""
    order = freud.order.Hexatic(k).compute(
        system(packing), neighbors={"r_max": 1.0, "exclude_ii": True}
    )
    theirs = order.particle_order
    ours = bridge.bond_order(DISCS, packing, k, WITHIN_LARGEST_DIAMETER)
    lonely = np.isnan(theirs)  # freud's answer for a particle without neighbours
    assert (ours[lonely] == 0).all()
    theirs = np.where(lonely, 0, theirs)
    apart = np.abs(ours - theirs).max(), np.abs(np.abs(ours).mean() - np.abs(theirs).mean())
    return float(apart[0]), float(apart[1])


@pytest.mark.parametrize("k", [1, 3, 4, 5, 6, 8, 12])
def test_psi_k(discs: list[Packing], k: int) -> None:
    """Each particle's complex number: odd k tell one end of a bond from the other."""
    apart = np.array([compare_hexatic(packing, k) for packing in discs])
    assert (apart < FLOAT32).all(), apart.max(axis=0)


@pytest.mark.slow
def test_psi_8_on_1000_frames() -> None:
    found = ensemble.quench(DISCS, 128, 1.6, 2, 1000, seed=1, threads=2)
    assert found.converged.all()
    assert len(np.unique(found.energy)) == 1000, "they are different packings"
    apart = np.array(
        [
            compare_hexatic(Packing(x, found.typeid, found.boxes[0]).wrapped(), 8)
            for x in found.positions
        ]
    )
    assert (apart < FLOAT32).all(), apart.max(axis=0)


def test_feature_is_the_mean_over_particles(discs: list[Packing]) -> None:
    """The features of a packing at rest, by name, from the registry."""
    packing = bridge.relax(DISCS, discs[0])
    listed = neighbours(packing.wrapped(), 1.0)
    names = [f"psi_{k}_sharp" for k in (4, 6, 8)]
    found = bridge.measure(DISCS, packing, names).values
    for name, k in zip(names, (4, 6, 8), strict=True):
        order = freud.order.Hexatic(k).compute(system(packing.wrapped()), neighbors=listed)
        assert found[name] == pytest.approx(np.abs(order.particle_order).mean(), abs=FLOAT32)
    assert bridge.feature("psi_8_sharp")(DISCS, packing) == found["psi_8_sharp"]


def test_other_windows(discs: list[Packing]) -> None:
    """A cut at a length, and one in units of each pair's σ."""
    packing = discs[1]
    for window, listed in (
        (Window.sharp(1.21, "length"), neighbours(packing, 1.21)),
        (
            Window.sharp(1.3),
            neighbours(packing, 1.3, lambda a, b: 1.3 * DISCS.of_types()["sigma"][a, b]),
        ),
    ):
        order = freud.order.Hexatic(6).compute(system(packing), neighbors=listed)
        ours = bridge.bond_order(DISCS, packing, 6, window)
        assert ours == pytest.approx(order.particle_order, abs=FLOAT32)


def test_smooth_psi_is_freuds_weighted(discs: list[Packing]) -> None:
    """freud's own list, with our weights: `weighted=True` divides by their sum, as we do."""
    packing = discs[2]
    listed, weight = weighted_list(DISCS, packing, FLOAT32)
    order = freud.order.Hexatic(8, weighted=True).compute(system(packing), neighbors=listed)
    assert (np.bincount(listed[:, 0], weight, minlength=128) >= 1).all(), "nothing saturates"
    assert bridge.bond_order(DISCS, packing, 8) == pytest.approx(order.particle_order, abs=FLOAT32)


def weighted_list(theta: PairPotential, packing: Packing, least: float) -> tuple[Any, np.ndarray]:
    sigma = sigma_of(theta)
    listed = neighbours(packing, 1.4 * theta.arrays()["diameters"].max())
    i, j = listed[:, 0], listed[:, 1]
    s = listed.distances.astype(float) / sigma(packing.typeid[i], packing.typeid[j])
    t = np.clip((s - 1.15) / 0.25, 0, 1)
    weight = 1 - 10 * t**3 + 15 * t**4 - 6 * t**5
    keep = weight > 0
    assert (weight[keep] < 1 - least).any(), "some lie within the window"
    out = freud.locality.NeighborList.from_arrays(
        packing.n_particles,
        packing.n_particles,
        i[keep],
        j[keep],
        listed.vectors[keep],
        weight[keep],
    )
    return out, weight[keep]


def test_nearest_and_voronoi_neighbours_are_other_measures(discs: list[Packing]) -> None:
    """freud's default, the k nearest, and Voronoi's neighbours: differences of about 0.01."""
    packing = discs[3]
    ours = np.abs(bridge.bond_order(DISCS, packing, 8, WITHIN_LARGEST_DIAMETER)).mean()
    nearest = freud.order.Hexatic(8).compute(system(packing))
    faces = freud.locality.Voronoi().compute(system(packing)).nlist
    voronoi = freud.order.Hexatic(8).compute(system(packing), neighbors=faces)
    for other in (nearest, voronoi):
        assert 1e-4 < abs(np.abs(other.particle_order).mean() - ours) < 0.1


DEGREES = (1, 2, 3, 4, 6, 8, 10, 12)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("degree", DEGREES)
def test_steinhardt(spheres: list[Packing], degree: int, averaged: bool) -> None:
    """Sharp, r < 1.275 σ_ij; averaged: Lechner and Dellago."""
    for packing in spheres:
        listed = neighbours(
            packing, 1.275 * 1.1, lambda a, b: 1.275 * SPHERES.of_types()["sigma"][a, b]
        )
        order = freud.order.Steinhardt(degree, average=averaged)
        order.compute(system(packing), neighbors=listed)
        ours = bridge.steinhardt_order(
            SPHERES, packing, degree, FIRST_SHELL_SHARP, averaged=averaged
        )
        assert ours == pytest.approx(order.particle_order, abs=FLOAT32)


def test_steinhardt_features_are_means_over_particles(spheres: list[Packing]) -> None:
    packing = bridge.relax(SPHERES, spheres[2])
    found = bridge.measure(
        SPHERES,
        packing,
        [
            f"steinhardt_{degree}{form}"
            for degree in (4, 6)
            for form in ("_sharp", "_averaged_sharp")
        ],
    ).values
    listed = neighbours(
        packing.wrapped(), 1.275 * 1.1, lambda a, b: 1.275 * SPHERES.of_types()["sigma"][a, b]
    )
    for name, value in found.items():
        order = freud.order.Steinhardt(int(name.split("_")[1]), average="averaged" in name)
        order.compute(system(packing.wrapped()), neighbors=listed)
        assert value == pytest.approx(order.particle_order.mean(), abs=FLOAT32)


def test_steinhardt_with_a_cutoff(spheres: list[Packing]) -> None:
    packing = spheres[0]
    order = freud.order.Steinhardt(6).compute(
        system(packing), neighbors={"r_max": 1.3, "exclude_ii": True}
    )
    neighbours(packing, 1.3)
    ours = bridge.steinhardt_order(SPHERES, packing, 6, Window.sharp(1.3, "length"))
    assert ours == pytest.approx(order.particle_order, abs=FLOAT32)
    # freud's `order` is that of the packing as a whole: of the mean q_lm.
    assert order.order < 0.5 * ours.mean()


def test_smooth_steinhardt_is_freuds_weighted(spheres: list[Packing]) -> None:
    """But for the average: freud weighs the neighbours' bonds, not the neighbours."""
    packing = spheres[1]
    listed, _ = weighted_list(SPHERES, packing, FLOAT32)
    for degree in DEGREES:
        order = freud.order.Steinhardt(degree, weighted=True)
        order.compute(system(packing), neighbors=listed)
        ours = bridge.steinhardt_order(SPHERES, packing, degree)
        assert ours == pytest.approx(order.particle_order, abs=FLOAT32)
    order = freud.order.Steinhardt(6, weighted=True, average=True)
    order.compute(system(packing), neighbors=listed)
    ours = bridge.steinhardt_order(SPHERES, packing, 6, averaged=True)
    assert 1e-3 < np.abs(ours - order.particle_order).max() < 0.1


@pytest.mark.parametrize("dimension", [2, 3])
def test_pair_distribution(discs: list[Packing], spheres: list[Packing], dimension: int) -> None:
    packing = (discs if dimension == 2 else spheres)[0]
    r_max = bins_between_pairs(packing, 2.0, 50)
    found = bridge.pair_distribution(packing, r_max=r_max, bins=50)
    rdf = freud.density.RDF(bins=50, r_max=r_max).compute(system(packing))
    assert found.g == pytest.approx(rdf.rdf, rel=FLOAT32, abs=FLOAT32)
    assert found.r == pytest.approx(rdf.bin_centers, rel=1e-6)
    assert found.g.max() > 2, "there is a first peak"


@pytest.mark.parametrize("dimension", [2, 3])
def test_partial_pair_distribution(
    discs: list[Packing], spheres: list[Packing], dimension: int
) -> None:
    packing = (discs if dimension == 2 else spheres)[1]
    box, points = system(packing)
    r_max = bins_between_pairs(packing, 1.9, 40)
    parts = {}
    for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        found = bridge.pair_distribution(packing, r_max=r_max, bins=40, types=(a, b))
        rdf = freud.density.RDF(bins=40, r_max=r_max).compute(
            (box, points[packing.typeid == a]),
            query_points=points[packing.typeid == b],
            neighbors={"r_max": r_max, "exclude_ii": a == b},
        )
        assert found.g == pytest.approx(rdf.rdf, rel=FLOAT32, abs=FLOAT32)
        parts[a, b] = found.g
    assert not np.allclose(parts[0, 0], parts[1, 1])
    whole = bridge.pair_distribution(packing, r_max=r_max, bins=40).g
    share = np.bincount(packing.typeid) / packing.n_particles
    summed = sum(share[a] * share[b] * g for (a, b), g in parts.items())
    assert summed == pytest.approx(whole, abs=1e-12)


def bins_between_pairs(packing: Packing, near: float, bins: int) -> float:
    """A range near the one asked for, of which no bin's edge lies as near to a pair as 1e-6."""
    distances = neighbours(packing, 1.02 * near).distances
    for r_max in near * np.linspace(0.98, 1.0, 41):
        edges = np.linspace(0, r_max, bins + 1)
        if np.abs(distances[:, None] - edges).min() > 1e-6:
            return float(r_max)
    pytest.fail("float32 decides which bin a pair is in, whatever the range")


def test_contact_numbers(spheres: list[Packing]) -> None:
    """Soft spheres: freud's bonds shorter than σ_ij are the contacts, but for rattlers'."""
    for packing in spheres:
        relaxed = bridge.relax(SPHERES, packing)
        found = bridge.contacts(SPHERES, relaxed)
        listed = neighbours(relaxed.wrapped(), 1.1, sigma_of(SPHERES))
        held = ~found.rattlers
        both = held[listed[:, 0]] & held[listed[:, 1]]
        listed.filter(both)
        assert np.array_equal(found.number, listed.neighbor_counts)
        assert found.mean == listed.neighbor_counts[held].mean()
        assert bridge.feature("coordination")(SPHERES, relaxed) == pytest.approx(
            found.mean, abs=1e-12
        )
