"""Random starts: the numbers that handover defines, whatever the batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amorph import ensemble
from amorph.handover import InputError, Purpose, uniforms

SQUARE = np.diag([7.3, 5.1])
CUBE = np.diag([7.3, 5.1, 4.7])


def expected(n: int, box: np.ndarray, replica: np.ndarray, seed: int) -> np.ndarray:
    particle = np.arange(n)
    fraction = uniforms(seed, Purpose.START_POSITION, particle, replica[:, None])
    if len(box) == 3:
        z = uniforms(seed, Purpose.START_POSITION_Z, particle, replica[:, None])[..., :1]
        fraction = np.concatenate([fraction, z], axis=-1)
    return fraction - 0.5


@pytest.mark.parametrize("box", [SQUARE, CUBE], ids=["2D", "3D"])
@pytest.mark.parametrize(("seed", "first"), [(0, 0), (2**64 - 1, 2**32 - 5), (123456789, 77)])
def test_bit_for_bit(box: np.ndarray, seed: int, first: int) -> None:
    found = ensemble.random_positions(9, box, 4, seed, first_replica=first)
    fraction = expected(9, box, np.arange(first, first + 4), seed)
    np.testing.assert_array_equal(found, fraction * np.diag(box))
    assert found.shape == (4, 9, len(box))


@pytest.mark.parametrize("dimension", [2, 3])
def test_in_a_triclinic_box(dimension: int) -> None:
    box = np.array([[7.3, 2.0, -1.5], [0.0, 5.1, 3.0], [0.0, 0.0, 4.7]])[:dimension, :dimension]
    found = ensemble.random_positions(50, box, 3, 5)
    fraction = expected(50, box, np.arange(3), 5)
    np.testing.assert_allclose(found, fraction @ box.T, rtol=0, atol=1e-14)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**64 - 1), split=st.integers(1, 9), n=st.integers(1, 40))
def test_a_replica_depends_on_seed_and_number_alone(seed: int, split: int, n: int) -> None:
    whole = ensemble.random_positions(n, SQUARE, 10, seed)
    head = ensemble.random_positions(n, SQUARE, split, seed)
    tail = ensemble.random_positions(n, SQUARE, 10 - split, seed, first_replica=split)
    np.testing.assert_array_equal(np.concatenate([head, tail]), whole)
    assert len(np.unique(whole[:, 0, 0])) == 10
    other = ensemble.random_positions(n, SQUARE, 10, (seed + 1) % 2**64)
    assert (other != whole).all()


def test_uniform() -> None:
    x = ensemble.random_positions(2000, np.eye(3), 20, 8).reshape(-1, 3)
    assert x.min() >= -0.5
    assert x.max() < 0.5
    # 40,000 numbers: mean 0 +- 0.0014, variance 1/12 +- 0.0004, no correlation +- 0.005.
    assert np.abs(x.mean(axis=0)).max() < 5 * 0.00145
    assert np.abs(x.var(axis=0) - 1 / 12).max() < 5 * 0.0004
    assert np.abs(np.corrcoef(x.T) - np.eye(3)).max() < 5 * 0.005


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"seed": 0.5}, "seed"),
        ({"replicas": 0}, "replicas"),
        ({"replicas": 2**33}, "replica numbers"),
        ({"n_particles": 0}, "n_particles"),
        ({"n_particles": 2**24}, "n_particles"),
        ({"first_replica": -1}, "first_replica"),
        ({"box": np.zeros((2, 2))}, "box"),
        ({"box": np.ones((2, 2))}, "triangular"),
    ],
)
def test_out_of_bounds(changes: dict, named: str) -> None:
    given_ = {"n_particles": 4, "box": SQUARE, "replicas": 2, "seed": 3} | changes
    with pytest.raises(InputError, match=named):
        ensemble.random_positions(**given_)
