"""What must be true of nature: energy, pressure and stiffness of solids, by other routes."""

from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import Packing

N, DENSITY = 48, 1.4


@pytest.fixture(scope="module")
def theta() -> Any:
    return bridge.HarmonicMorse(diameters=[0.85, 1.1], binding=0.1, stiffness=5.0, alpha=11.0)


def scaled(packing: Packing, factor: float) -> Packing:
    return Packing(packing.positions * factor, packing.typeid, packing.box * factor)


def class_of(theta: Any, packing: Packing) -> np.ndarray:
    i, j = np.triu_indices(packing.n_particles, 1)
    length = np.diag(packing.box)
    vector = packing.positions[j] - packing.positions[i]
    vector -= length * np.round(vector / length)
    r = np.sqrt((vector**2).sum(-1))
    breaks = theta.pair_breaks(theta.of_types())
    return sum((r >= b[packing.typeid[i], packing.typeid[j]]).astype(int) for b in breaks)


def test_a_quench_goes_downhill(theta: Any) -> None:
    batch = ensemble.quench(theta, N, DENSITY, 2, 10, seed=5, threads=1)
    x = ensemble.random_positions(N, batch.boxes[0], 10, seed=5)
    before = ensemble.forces(theta, x, batch.typeid, batch.boxes[0]).energy
    assert batch.converged.all()
    assert (batch.energy < before).all()
    # Bound, but by no more than a bond for each of the neighbours there can be.
    assert (batch.energy < 0).all()
    assert (batch.energy / N > -0.1 * 20).all()


def test_pressure_and_bulk_modulus_are_derivatives_by_volume(theta: Any) -> None:
    """p = -dU/dV, and -V dp/dV = B + (d-1) p/d, along minima of a box that breathes."""
    why = []
    for seed in range(20):
        batch = ensemble.quench(theta, N, DENSITY, 2, 1, seed=seed, threads=1)
        packing = bridge.relax(theta, Packing(batch.positions[0], batch.typeid, batch.boxes[0]))
        classes = class_of(theta, packing)
        volume = packing.volume
        energies, pressures, volumes = [], [], []
        crossed = False
        for step in (-1e-5, 1e-5):
            there = bridge.relax(theta, scaled(packing, 1 + step))
            crossed |= bool((class_of(theta, there) != classes).any())
            energies.append(bridge.energy(theta, there))
            pressures.append(float(-np.trace(bridge.stress(theta, there)) / 2))
            volumes.append(there.volume)
        if crossed:
            why.append(seed)
            continue
        width = volumes[1] - volumes[0]
        found = bridge.measure(theta, packing, ["pressure", "bulk_modulus"]).values
        p, b = found["pressure"], found["bulk_modulus"]
        assert p == pytest.approx(-(energies[1] - energies[0]) / width, rel=1e-6)
        stiffness = -volume * (pressures[1] - pressures[0]) / width
        assert stiffness == pytest.approx(b + p / 2, rel=1e-6)
        # The correction is no round-off: without it the test would fail.
        assert abs(p / 2) > 1e-3 * b
        return
    pytest.fail(f"a pair crossed in every packing: {why}")


@pytest.mark.parametrize("diameter", [1.0, 0.7])
def test_a_triangular_crystal_at_rest_has_a_third(diameter: float) -> None:
    """Cauchy solids in two dimensions: ν = 1/3 for central forces without prestress."""
    # Spheres at the bottom of the well, r = σ; the core's side is taken: r a hair below.
    theta = bridge.HarmonicMorse(
        diameters=[diameter], binding=0.3, stiffness=8.0, alpha=40 / diameter
    )
    spacing = diameter * (1 - 1e-13)
    height = spacing * np.sqrt(3)
    cell = np.array([[i * spacing, j * height] for i in range(6) for j in range(3)])
    x = (cell[:, None] + np.array([[0, 0], [spacing / 2, height / 2]])).reshape(-1, 2)
    crystal = Packing.of(x, np.zeros(36, dtype=int), np.diag([6 * spacing, 3 * height]))
    # u'' at σ jumps from k to 2 a² B: choose parameters where it does not.
    smooth = theta.replace(stiffness=2 * theta.alpha**2 * theta.binding)
    found = bridge.measure(smooth, bridge.relax(smooth, crystal), ["poisson_ratio", "pressure"])
    assert found.values["poisson_ratio"] == pytest.approx(1 / 3, abs=1e-9)
    assert abs(found.values["pressure"]) < 1e-9


@pytest.mark.slow
def test_random_solids_are_isotropic_on_average(theta: Any) -> None:
    """No direction is special: the mean tensor of many quenches is that of an isotropic solid."""
    batch = ensemble.quench(theta, N, DENSITY, 2, 400, seed=1, threads=2)
    tensors = []
    for k in np.flatnonzero(batch.converged):
        try:
            packing = bridge.relax(theta, Packing(batch.positions[k], batch.typeid, batch.boxes[0]))
            tensors.append(np.asarray(bridge.elastic_tensor(theta, packing)))
        except (bridge.errors.NotAMinimumError, bridge.errors.RelaxationError):
            continue
    c = np.array(tensors)
    assert len(c) > 380
    # Quantities that are zero for every isotropic solid; the box is square, so that those odd
    # under its symmetries vanish whatever the box does, and the first does not.
    zeros = {
        "xx - yy": c[:, 0, 0, 0, 0] - c[:, 1, 1, 1, 1],
        "xxxy": c[:, 0, 0, 0, 1],
        "yyxy": c[:, 1, 1, 0, 1],
        "anisotropy": (c[:, 0, 0, 0, 0] + c[:, 1, 1, 1, 1]) / 2
        - c[:, 0, 0, 1, 1]
        - 2 * c[:, 0, 1, 0, 1],
    }
    for name, samples in zeros.items():
        error = samples.std(ddof=1) / np.sqrt(len(samples))
        assert abs(samples.mean()) < 4.5 * error, name
        # Individual packings are not isotropic: what vanishes is the mean.
        assert samples.std() > 10 * error


@pytest.mark.slow
def test_replicas_are_independent() -> None:
    """Replicas are independent: energies of neighbours in the batch are not correlated."""
    theta = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=10.0)
    energy = ensemble.quench(theta, 64, 1.6, 2, 2000, seed=3, threads=2).energy
    r = np.corrcoef(energy[:-1], energy[1:])[0, 1]
    assert abs(r) < 4 / np.sqrt(len(energy))
