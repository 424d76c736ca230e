"""Packings at rest and the tools to check them: NumPy alone where a check must be independent."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge import Packing, PairPotential
from amorph.handover import AmorphError


def quench(
    theta: PairPotential, n: int, density: float, dimension: int, seed: int, replicas: int = 1
) -> list[Packing]:
    found = ensemble.quench(theta, n, density, dimension, replicas, seed=seed, threads=1)
    return [
        Packing(found.positions[k], found.typeid, found.boxes[0])
        for k in np.flatnonzero(found.converged)
    ]


@pytest.fixture(scope="session")
def minima() -> Callable[..., Iterator[Packing]]:
    """Relaxed packings of random starts, one after another; failures by name are passed over."""

    def find(theta: PairPotential, n: int, density: float, dimension: int, tries: int = 12) -> Any:
        for seed in range(tries):
            for packing in quench(theta, n, density, dimension, seed):
                try:
                    yield bridge.relax(theta, packing)
                except AmorphError:
                    continue

    return find


def all_pairs(packing: Packing) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """i < j and the vector to the nearest image of j, by trying the images around."""
    x, box = packing.positions, packing.box
    i, j = np.triu_indices(len(x), 1)
    vector = x[j] - x[i]
    if box is not None:
        vector = vector - np.round(vector @ np.linalg.inv(box).T) @ box.T
        shells = np.array(list(itertools.product(range(-2, 3), repeat=x.shape[1]))) @ box.T
        images = vector[:, None] + shells
        nearest = np.argmin((images**2).sum(-1), axis=1)
        vector = images[np.arange(len(i)), nearest]
    return i, j, vector


def pair_classes(theta: PairPotential, packing: Packing) -> np.ndarray:
    """Between which of the distances where u'' jumps each of all pairs lies."""
    i, j, vector = all_pairs(packing)
    r = np.sqrt((vector**2).sum(-1))
    breaks = theta.pair_breaks(theta.of_types())
    t, s = packing.typeid[i], packing.typeid[j]
    return sum((r >= np.asarray(b)[t, s]).astype(int) for b in breaks)


@pytest.fixture(scope="session")
def nearest_pairs() -> Any:
    return all_pairs


@pytest.fixture(scope="session")
def classes() -> Any:
    return pair_classes


@pytest.fixture(scope="session")
def references(reference_folder: Any) -> dict[str, tuple[PairPotential, Packing, dict]]:
    import json

    out = {}
    for path in sorted(reference_folder.glob("*.gsd")):
        ((theta, packing),) = bridge.read_gsd(path)
        out[path.stem] = (theta, packing, json.loads(path.with_suffix(".json").read_text()))
    assert len(out) == 8
    return out


@pytest.fixture(scope="session")
def theta2() -> PairPotential:
    """Two types, short-ranged, so that 48 particles are enough."""
    return bridge.HarmonicMorse(
        diameters=[0.85, 1.1], binding=[0.1, 0.15, 0.08], stiffness=[5.0, 6.0, 4.5],
        alpha=[10.0, 11.0, 12.0],
    )  # fmt: skip


class Shouldered(bridge.PairPotential):
    """A user's own: a soft core, and a bond of finite range."""

    parameters = ("stiffness", "height")
    cutoff_in_sigma = 1.4

    @staticmethod
    def pair_energy(r: Any, pair: Any) -> Any:
        core = jnp.maximum(1 - r / pair["sigma"], 0.0)
        return 0.5 * pair["stiffness"] * core**2 - pair["height"] * (1.4 - r / pair["sigma"]) ** 3


@pytest.fixture(scope="session")
def own_theta() -> PairPotential:
    """A user's potential, of which what it does not state is searched for."""
    return Shouldered(diameters=[0.85, 1.1], stiffness=[5.0, 6.0, 4.5], height=[0.1, 0.15, 0.2])


@pytest.fixture(scope="session")
def solid(theta2: PairPotential, minima: Any) -> Packing:
    """A packing at rest at `theta2`, in two dimensions."""
    return next(minima(theta2, 48, 1.4, 2))


@pytest.fixture(scope="session")
def spheres3() -> PairPotential:
    return bridge.SoftSphere(diameters=[0.9, 1.1], stiffness=[4.0, 5.0, 6.0])


@pytest.fixture(scope="session")
def solid3(spheres3: PairPotential, minima: Any) -> Packing:
    """A packing of soft spheres in three dimensions."""
    return next(minima(spheres3, 40, 1.6, 3))


@pytest.fixture(scope="session")
def loose(references: Any) -> tuple[Any, Packing]:
    """Soft spheres near jamming, with rattlers."""
    theta, packing, _ = references["soft2d_n128_rattlers_s12"]
    packing = bridge.relax(theta, packing)
    assert bridge.response(theta, packing).rattlers.sum() == 4
    return theta, packing
