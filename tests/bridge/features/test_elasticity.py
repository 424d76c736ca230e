"""The elastic tensor against jax-md, finite strains, symmetries and closed forms."""

import itertools
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import Packing
from amorph.bridge.minima.relaxing import relaxation

ALL = ["energy", "stress", "elastic_tensor", "bulk_modulus", "shear_modulus", "poisson_ratio"]


def values(theta: Any, packing: Packing) -> dict[str, np.ndarray]:
    return {k: np.asarray(v) for k, v in bridge.measure(theta, packing, ALL).values.items()}


YOUNG = (
    *("youngs_modulus", "youngs_moduli", "anisotropy", "elastic_constants"),
    *("poisson_ratios", "shear_moduli"),
)


def assert_same(a: dict, b: dict, rtol: float = 1e-8) -> None:
    for name in ALL:
        assert np.abs(a[name] - b[name]).max() <= rtol * np.abs(b[name]).max(), name


def strains(d: int) -> list[np.ndarray]:
    out = []
    for a in range(d):
        for b in range(a, d):
            e = np.zeros((d, d))
            e[a, b] += 0.5
            e[b, a] += 0.5
            out.append(e)
    return out


@pytest.mark.parametrize("dimension", [2, 3])
def test_symmetries_and_moduli(
    dimension: int, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing
) -> None:
    theta, packing = (theta2, solid) if dimension == 2 else (spheres3, solid3)
    v = values(theta, packing)
    c = v["elastic_tensor"]
    scale = np.abs(c).max()
    for axes in ((1, 0, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1)):
        assert np.abs(c - c.transpose(axes)).max() < 1e-12 * scale
    d = dimension
    bulk = np.einsum("iijj", c) / d**2
    shear = (np.einsum("ijij", c) - d * bulk) / (d * d + d - 2)
    assert v["bulk_modulus"] == pytest.approx(bulk, rel=1e-13)
    assert v["shear_modulus"] == pytest.approx(shear, rel=1e-13)
    assert v["poisson_ratio"] == pytest.approx(
        (d * bulk - 2 * shear) / (d * (d - 1) * bulk + 2 * shear), rel=1e-13
    )
    assert bridge.pressure(theta, packing) == pytest.approx(-np.trace(v["stress"]) / d, rel=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("dimension", [2, 3])
def test_against_jax_md(
    dimension: int, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        elasticity = pytest.importorskip("jax_md.elasticity")
    theta, packing = (theta2, solid) if dimension == 2 else (spheres3, solid3)
    inverse = np.linalg.inv(packing.box)
    i, j = np.triu_indices(packing.n_particles, 1)
    pair = {k: v[packing.typeid[i], packing.typeid[j]] for k, v in theta.of_types().items()}

    def energy(x: Any, perturbation: Any = None) -> Any:
        vector = x[j] - x[i]
        vector = vector - jnp.round(vector @ inverse.T) @ packing.box.T
        if perturbation is not None:
            vector = vector @ perturbation.T
        return jnp.sum(theta.pair_energy(jnp.sqrt(jnp.sum(vector**2, axis=1)), pair))

    held = ~bridge.response(theta, packing).rattlers
    assert held.any()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, converged = elasticity.athermal_moduli(
            energy, cg_tol=1e-11, check_convergence=True
        )(jnp.asarray(packing.wrapped().positions), jnp.asarray(packing.box))
    assert bool(converged)
    ours = values(theta, packing)["elastic_tensor"]
    assert np.abs(ours - np.asarray(theirs)).max() < 1e-6 * np.abs(ours).max()


def strained(packing: Packing, strain: np.ndarray) -> Packing:
    """r -> (1 + ε) r, turned so that the box is upper triangular again."""
    stretch = np.eye(len(strain)) + strain
    q, r = np.linalg.qr(stretch @ packing.box)
    q, r = q * np.sign(np.diag(r)), r * np.sign(np.diag(r))[:, None]
    return Packing(packing.positions @ stretch.T @ q, packing.typeid, np.triu(r))


@pytest.mark.parametrize("dimension", [2, 3])
def test_second_differences_of_the_energy_of_strained_minima(
    dimension: int, theta2: Any, spheres3: Any, minima: Any, classes: Any
) -> None:
    theta, n, density = (theta2, 48, 1.4) if dimension == 2 else (spheres3, 40, 1.6)
    why = []
    for packing in minima(theta, n, density, dimension, tries=20):
        before = classes(theta, packing)
        basis = strains(dimension)

        def energy(strain: np.ndarray, packing: Packing = packing, before: Any = before) -> float:
            relaxed = bridge.relax(theta, strained(packing, strain))
            if (classes(theta, relaxed) != before).any():
                raise RuntimeError("crossed")
            return bridge.energy(theta, relaxed)

        tensors = []
        try:
            for h in (4e-5, 8e-5):
                matrix = np.zeros((len(basis), len(basis)))
                for p, q in itertools.combinations_with_replacement(range(len(basis)), 2):
                    e, f = h * basis[p], h * basis[q]
                    second = energy(e + f) - energy(e - f) - energy(f - e) + energy(-e - f)
                    matrix[p, q] = matrix[q, p] = second / (4 * h * h) / packing.volume
                tensors.append(matrix)
        except RuntimeError as error:
            why.append(str(error))
            continue
        scale = np.abs(tensors[0]).max()
        if np.abs(tensors[0] - tensors[1]).max() > 1e-5 * scale:
            why.append("steps disagree")
            continue
        c = values(theta, packing)["elastic_tensor"]
        ours = np.array([[np.einsum("ij,ijkl,kl", e, c, f) for f in basis] for e in basis])
        assert np.abs(ours - tensors[0]).max() < 1e-5 * scale
        return
    pytest.fail(f"no packing without crossings: {why}")


def test_quarter_turn(theta2: Any, solid: Packing) -> None:
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    turned = Packing(solid.positions @ turn.T, solid.typeid, solid.box)
    a, b = values(theta2, solid), values(theta2, turned)
    a["stress"] = turn @ a["stress"] @ turn.T
    a["elastic_tensor"] = np.einsum("ia,jb,kc,ld,abcd", *[turn] * 4, a["elastic_tensor"])
    assert np.abs(a["stress"] - values(theta2, solid)["stress"]).max() > 1e-3
    assert_same(b, a)


def test_axes_permuted(spheres3: Any, solid3: Packing) -> None:
    order = [1, 2, 0]
    turned = Packing(solid3.positions[:, order], solid3.typeid, solid3.box)
    a, b = values(spheres3, solid3), values(spheres3, turned)
    a["stress"] = a["stress"][np.ix_(order, order)]
    a["elastic_tensor"] = a["elastic_tensor"][np.ix_(order, order, order, order)]
    assert_same(b, a)


def test_translation_relabelling_and_wrapping(theta2: Any, solid: Packing) -> None:
    rng = np.random.default_rng(0)
    start = values(theta2, solid)
    moved = solid.with_positions(solid.positions + np.array([17.3, -5.1]))
    assert_same(values(theta2, moved), start)
    assert_same(values(theta2, moved.wrapped()), start)
    order = rng.permutation(solid.n_particles)
    assert_same(
        values(theta2, Packing(solid.positions[order], solid.typeid[order], solid.box)), start
    )
    far = solid.positions + rng.integers(-4, 5, solid.positions.shape) @ solid.box.T
    assert_same(values(theta2, solid.with_positions(far)), start)
    assert moved.wrapped().images is not None
    back = moved.wrapped().positions + moved.wrapped().images @ solid.box.T
    np.testing.assert_allclose(back, moved.positions, atol=1e-13)


def test_scaling(theta2: Any, solid: Packing) -> None:
    c = 3.7
    scaled = theta2.replace(binding=c * theta2.binding, stiffness=c * theta2.stiffness)
    a, b = values(theta2, solid), values(scaled, bridge.relax(scaled, solid))
    for name in ("energy", "stress", "elastic_tensor", "bulk_modulus", "shear_modulus"):
        np.testing.assert_allclose(b[name], c * a[name], rtol=1e-9, atol=1e-10)
    assert b["poisson_ratio"] == pytest.approx(a["poisson_ratio"], rel=1e-9)
    # And lengths by s: U is unchanged with k / s², moduli go as s^-d.
    s = 1.9
    longer = theta2.replace(
        diameters=s * theta2.diameters,
        stiffness=theta2.stiffness / s**2,
        alpha=theta2.alpha / s,
    )
    large = Packing(s * solid.positions, solid.typeid, s * solid.box)
    b = values(longer, bridge.relax(longer, large))
    assert b["energy"] == pytest.approx(a["energy"], rel=1e-10)
    np.testing.assert_allclose(
        b["elastic_tensor"], a["elastic_tensor"] / s**2, rtol=1e-8, atol=1e-9
    )


@pytest.mark.parametrize("dimension", [2, 3])
def test_other_vectors_of_the_same_lattice(dimension: int) -> None:
    """Soft spheres' boxes are wide enough for it: widths shrink with the tilt."""
    theta = bridge.SoftSphere(diameters=[0.9, 1.1], stiffness=[4.0, 5.0, 6.0])
    from amorph import ensemble

    n, density = (40, 1.6) if dimension == 2 else (96, 1.6)
    found = ensemble.quench(theta, n, density, dimension, 4, seed=5, threads=1)
    (k, *_) = np.flatnonzero(found.converged)
    square = bridge.relax(theta, Packing(found.positions[k], found.typeid, found.boxes[0]))
    combination = np.eye(dimension)
    combination[0, 1] = 1.0
    if dimension == 3:
        combination[0, 2], combination[1, 2] = -1.0, 0.0
    slanted = Packing(square.positions, square.typeid, square.box @ combination)
    assert slanted.box[0, 1] != 0
    assert_same(values(theta, slanted), values(theta, square))
    assert_same(values(theta, slanted.wrapped()), values(theta, square))
    # The engine sees the same.
    a = ensemble.forces(theta, slanted.positions, square.typeid, slanted.box)
    assert a.energy[0] == pytest.approx(bridge.energy(theta, square), rel=1e-12)


def triangular(cells: int, spacing: float) -> Packing:
    height = spacing * np.sqrt(3)
    corner = np.array([[0, 0], [spacing / 2, height / 2]])
    cell = np.array([[i * spacing, j * height] for i in range(cells) for j in range(cells // 2)])
    x = (cell[:, None] + corner).reshape(-1, 2)
    return Packing.of(
        x, np.zeros(len(x), dtype=int), np.diag([cells * spacing, cells // 2 * height])
    )


@pytest.mark.parametrize(
    ("potential", "spacing"),
    [("soft_sphere", 0.95), ("harmonic_morse", 0.96), ("harmonic_morse", 1.005)],
)
def test_triangular_crystal(potential: str, spacing: float) -> None:
    """No particle moves against the others: B = √3 u''/2, G = √3 (u'' + u'/r)/4, p = -√3 u'/r."""
    k, b, a = 4.0, 0.2, 40.0
    if potential == "soft_sphere":
        theta: Any = bridge.SoftSphere(diameters=[1.0], stiffness=k)
    else:
        theta = bridge.HarmonicMorse(diameters=[1.0], binding=b, stiffness=k, alpha=a)
    if spacing < 1:
        slope, curvature = -k * (1 - spacing), k
    else:
        e = np.exp(-a * (spacing - 1))
        slope, curvature = 2 * a * b * (e - e * e), 2 * a * a * b * (2 * e * e - e)
    crystal = relaxation(theta, triangular(6, spacing))
    assert crystal.moved < 1e-12
    v = values(theta, crystal.packing)
    root = np.sqrt(3)
    assert v["bulk_modulus"] == pytest.approx(root / 2 * curvature, rel=1e-10)
    shear = root / 4 * (curvature + slope / spacing)
    assert v["shear_modulus"] == pytest.approx(shear, rel=1e-10)
    assert -np.trace(v["stress"]) / 2 == pytest.approx(-root * slope / spacing, rel=1e-10)
    ratio = (root / 2 * curvature - shear) / (root / 2 * curvature + shear)
    assert v["poisson_ratio"] == pytest.approx(ratio, rel=1e-10)
    c = v["elastic_tensor"]
    assert c[0, 0, 0, 0] == pytest.approx(c[1, 1, 1, 1], rel=1e-10)
    assert np.abs(c[0, 0, 0, 1]) < 1e-10
    # Isotropic: one Young's modulus, 4BG/(B + G), and no anisotropy.
    young = 4 * v["bulk_modulus"] * shear / (v["bulk_modulus"] + shear)
    found = bridge.measure(theta, crystal.packing, YOUNG).values
    assert found["youngs_modulus"] == pytest.approx(young, rel=1e-10)
    assert found["youngs_moduli"] == pytest.approx(young, rel=1e-10)
    assert found["poisson_ratios"] == pytest.approx([ratio, ratio], rel=1e-10)
    assert found["shear_moduli"] == pytest.approx([shear, shear], rel=1e-10)
    assert found["anisotropy"] == pytest.approx(0, abs=1e-9)
    voigt = [c[0, 0, 0, 0], c[0, 0, 1, 1], c[0, 0, 0, 1], c[1, 1, 1, 1], c[1, 1, 0, 1]]
    assert found["elastic_constants"] == pytest.approx([*voigt, c[0, 1, 0, 1]], abs=1e-12)


def test_face_centred_cubic_crystal() -> None:
    """Twelve neighbours under pressure, summed by hand: C of a lattice whose points are centres."""
    spacing, k = 0.95, 4.0
    edge = spacing * np.sqrt(2)
    corner = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) * edge / 2
    cell = np.array(list(itertools.product(range(2), repeat=3))) * edge
    x = (cell[:, None] + corner).reshape(-1, 3)
    theta = bridge.SoftSphere(diameters=[1.0], stiffness=k)
    packing = Packing.of(x, np.zeros(32, dtype=int), np.eye(3) * 2 * edge)
    v = values(theta, bridge.relax(theta, packing))
    bonds = [
        np.array(s) * edge / 2
        for s in itertools.product((-1, 0, 1), repeat=3)
        if np.count_nonzero(s) == 2
    ]
    assert len(bonds) == 12
    slope = -k * (1 - spacing)
    second = (k - slope / spacing) / spacing**2
    cell_volume = edge**3 / 4

    def modulus(a: np.ndarray, b: np.ndarray) -> float:
        # s = |(1 + ε) r|²: ∂s = 2 r·A·r, ∂²s = r·(AB + BA)·r.
        terms = [
            second * (r @ a @ r) * (r @ b @ r) + slope / spacing / 2 * (r @ (a @ b + b @ a) @ r)
            for r in bonds
        ]
        return 0.5 * sum(terms) / cell_volume

    c = v["elastic_tensor"]
    for e, f in itertools.product(strains(3), repeat=2):
        assert np.einsum("ij,ijkl,kl", e, c, f) == pytest.approx(modulus(e, f), abs=1e-10)
    assert v["bulk_modulus"] == pytest.approx(2 * np.sqrt(2) / 3 * k / spacing, rel=1e-10)
    # A cubic solid has closed forms in C_11, C_12 and C_44.
    one, two, four = c[0, 0, 0, 0], c[0, 0, 1, 1], c[0, 1, 0, 1]
    zener = 2 * four / (one - two)
    found = bridge.measure(theta, bridge.relax(theta, packing), YOUNG).values
    axial = (one - two) * (one + 2 * two) / (one + two)
    assert found["youngs_moduli"] == pytest.approx(axial, rel=1e-10)
    assert found["poisson_ratios"] == pytest.approx([two / (one + two)] * 6, rel=1e-10)
    assert found["shear_moduli"] == pytest.approx([(one - two) / 2] * 3 + [four] * 3, rel=1e-10)
    assert found["anisotropy"] == pytest.approx(1.2 * (zener**0.5 - zener**-0.5) ** 2, rel=1e-9)
    assert zener > 1.5, "it is far from isotropic"
    constants = np.zeros((6, 6))
    constants[:3, :3], constants[3:, 3:] = two, four * np.eye(3)
    np.fill_diagonal(constants[:3, :3], one)
    assert found["elastic_constants"] == pytest.approx(constants[np.triu_indices(6)], abs=1e-10)


@pytest.mark.parametrize("dimension", [2, 3])
def test_pulled_along_an_axis(
    dimension: int, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing
) -> None:
    """Young's moduli along the axes are the stress over the strain where the sides are free."""
    theta, packing = (theta2, solid) if dimension == 2 else (spheres3, solid3)
    found = bridge.measure(theta, packing, YOUNG).values
    c = bridge.elastic_tensor(theta, packing)
    basis = strains(dimension)
    for axis in range(dimension):
        # The strain under which this axis alone carries stress, by plain linear equations.
        loads = np.array([[np.einsum("ij,ijkl,kl", e, c, f) for f in basis] for e in basis])
        wanted = np.array([float(e[axis, axis]) for e in basis])
        strain = np.linalg.solve(loads, wanted)
        pulled = sum(s * e for s, e in zip(strain, basis, strict=True))
        stress = np.einsum("ijkl,kl", c, pulled)
        assert np.abs(np.delete(stress.ravel(), axis * (dimension + 1))).max() < 1e-12
        assert found["youngs_moduli"][axis] == pytest.approx(1 / pulled[axis, axis], rel=1e-10)
        across = -np.delete(pulled.diagonal(), axis) / pulled[axis, axis]
        ratios = found["poisson_ratios"].reshape(dimension, dimension - 1)
        assert ratios[axis] == pytest.approx(across, rel=1e-10)
    bulk, shear = bridge.bulk_modulus(theta, packing), bridge.shear_modulus(theta, packing)
    d = dimension
    same = 2 * shear * (1 + bridge.poisson_ratio(theta, packing))
    assert found["youngs_modulus"] == pytest.approx(same, rel=1e-12)
    # Voigt's averages over Reuss's, the latter from the inverse matrix.
    compliance = np.linalg.inv(
        np.array([[np.einsum("ij,ijkl,kl", e, c, f) for f in unit(basis)] for e in unit(basis)])
    )
    n = len(basis)
    dilation = np.array([np.trace(e) for e in unit(basis)])
    reuss_bulk = 1 / (dilation @ compliance @ dilation)
    shears = (np.trace(compliance) - dilation @ compliance @ dilation / d) / (n - 1)
    index = bulk / reuss_bulk + (n - 1) * shear * 2 * shears - n
    assert found["anisotropy"] == pytest.approx(index, rel=1e-9)
    assert found["anisotropy"] > 0


def unit(basis: list[np.ndarray]) -> list[np.ndarray]:
    return [e / np.linalg.norm(e) for e in basis]


@pytest.mark.parametrize("dimension", [2, 3])
def test_bond_contributions(
    dimension: int, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing
) -> None:
    theta, packing = (theta2, solid) if dimension == 2 else (spheres3, solid3)
    bonds = bridge.bond_contributions(theta, packing)
    v = values(theta, packing)
    assert bonds.bulk.sum() == pytest.approx(v["bulk_modulus"], rel=1e-11)
    assert bonds.shear.sum() == pytest.approx(v["shear_modulus"], rel=1e-11)
    i, j = bonds.pairs.T
    r = np.sqrt((bonds.vector**2).sum(-1))
    pair = {k: m[packing.typeid[i], packing.typeid[j]] for k, m in theta.of_types().items()}
    breaks = np.array(theta.pair_breaks(pair))
    assert (r < breaks[-1]).all()
    # Forces on particles follow from those of the bonds.
    net = np.zeros_like(packing.positions)
    np.add.at(net, i, -(bonds.force / r)[:, None] * bonds.vector)
    np.add.at(net, j, (bonds.force / r)[:, None] * bonds.vector)
    assert np.abs(net).max() < 1e-11
    attracts = bonds.force < 0
    assert attracts.any() == (dimension == 2)

    # Each bond along R - W t, ε = t: the second derivative of its own energy.
    d = dimension
    basis = strains(d)
    state = bridge.response(theta, packing).state
    w_all = np.asarray(state.nonaffine)
    order = [(0, 0), (1, 1), (0, 1)] if d == 2 else [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    w_of = {ab: w_all[:, :, k] for k, ab in enumerate(order)}
    tri = [(a, b) for a in range(d) for b in range(a, d)]

    def second(strain: np.ndarray, w: np.ndarray) -> np.ndarray:
        h = 2e-4
        energy = []
        for t in (-2 * h, -h, 0, h, 2 * h):
            vector = (bonds.vector - t * (w[j] - w[i])) @ (np.eye(d) + t * strain).T
            energy.append(np.asarray(theta.pair_energy(np.sqrt((vector**2).sum(-1)), pair)))
        return (-energy[0] + 16 * energy[1] - 30 * energy[2] + 16 * energy[3] - energy[4]) / (
            12 * h * h
        )

    bulk = second(np.eye(d), sum(w_of[a, a] for a in range(d))) / (packing.volume * d * d)
    parts = {ab: second(e, w_of[ab]) / packing.volume for ab, e in zip(tri, basis, strict=True)}
    total = sum(parts[a, a] for a in range(d)) + 2 * sum(parts[ab] for ab in tri if ab[0] != ab[1])
    shear = (total - d * bulk) / (d * d + d - 2)
    # A bond that may cross a distance where u'' jumps within the stencil is left out.
    reach = 4e-4 * (r + 2 * np.abs(w_all).max())
    clear = (np.abs(r - breaks) > reach).all(axis=0)
    assert clear.mean() > 0.8
    for found, expected in ((bonds.bulk, bulk), (bonds.shear, shear)):
        assert np.abs(found - expected)[clear].max() < 1e-5 * np.abs(found).max()


def test_bonds_of_a_cluster_have_no_moduli(theta2: Any, solid: Packing) -> None:
    with pytest.raises(ValueError, match="volume"):
        bridge.bond_contributions(theta2, Packing.of(solid.positions, solid.typeid))


@pytest.mark.parametrize("dimension", [2, 3])
def test_frequencies(
    dimension: int, theta2: Any, solid: Packing, spheres3: Any, solid3: Packing
) -> None:
    theta, packing = (theta2, solid) if dimension == 2 else (spheres3, solid3)
    n_zero = dimension * (1 + int(bridge.response(theta, packing).rattlers.sum()))
    eigenvalues = np.linalg.eigvalsh(bridge.hessian(theta, packing))
    for n_modes in (5, 10_000):
        found = bridge.lowest_frequencies(theta, packing, n_modes)
        assert not found[:n_zero].any()
        expected = np.sqrt(eigenvalues[n_zero : n_zero + n_modes])
        np.testing.assert_allclose(found[n_zero:], expected, rtol=1e-9)
    assert eigenvalues[n_zero] > 1e-6
