"""Examples: networks of one size, and the Poisson's ratio of each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amorph.handover import InputError
from amorph.handover.arguments import count, real_numbers

from ..features.registry import feature
from ..networks.building import Network, triangular_network
from ..networks.response import NetworkResponse

__all__ = ["Examples", "examples", "split"]


@dataclass(frozen=True, eq=False)
class Examples:
    """Networks and what they are to be known by.

    Attributes: networks, (springs, packing) each; labels (n,), ν.
    """

    networks: tuple[Network, ...]
    labels: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.networks)

    def part(self, chosen: NDArray[np.int64]) -> "Examples":
        """Some of them, by number."""
        return Examples(tuple(self.networks[k] for k in chosen.tolist()), self.labels[chosen])


def examples(
    number: int,
    size: tuple[int, int] = (12, 12),
    *,
    distortion: tuple[float, float] = (0.05, 0.95),
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Examples:
    """Distorted triangular lattices, periodic, of any distortion between two, with their ν.

    Raises `InputError` for numbers that cannot be, else as `triangular_network` does.

    Source: Zhu et al. (Methods): distortions of 0.05 to 0.95 for dynamical matrices, to 0.45 for
    images, in which bonds that cross are not told from a node.

    Example
    -------
    >>> found = surrogates.examples(2000, seed=1)
    >>> learned, validated, tested = surrogates.split(found)
    """
    count("number", number)
    ends = real_numbers("distortion", distortion, "(lowest, highest)")
    if ends.shape != (2,) or not 0 <= ends[0] <= ends[1]:
        raise InputError(f"distortion is {distortion!r}: it must be (lowest, highest), from 0 on.")
    low, high = ends.tolist()
    rng = np.random.default_rng(count("seed", seed, least=0))
    own = feature("poisson_ratio").of_tensor
    assert own is not None
    networks, labels = [], []
    for k in range(number):
        network = triangular_network(
            size, distortion=float(rng.uniform(low, high)), seed=int(rng.integers(2**31))
        )
        networks.append(network)
        labels.append(float(own(NetworkResponse(*network).elastic_tensor)))
        if progress is not None:
            progress(k + 1)
    return Examples(tuple(networks), np.array(labels))


def split(
    found: Examples, shares: Sequence[float] = (0.6, 0.2, 0.2), *, seed: int = 0
) -> tuple[Examples, ...]:
    """The examples in parts of these shares, at random: to learn, to validate and to test (6:2:2).

    Raises `InputError` for shares that do not sum to 1.
    """
    if not np.isclose(sum(shares), 1.0) or min(shares) < 0:
        raise InputError(f"shares are {list(shares)}: they must sum to 1.")
    order = np.random.default_rng(seed).permutation(len(found))
    ends = np.round(np.cumsum(shares) * len(found)).astype(int)
    return tuple(_parts(found, order, ends))


def _parts(
    found: Examples, order: NDArray[np.int64], ends: NDArray[np.int64]
) -> Iterator[Examples]:
    first = 0
    for end in ends.tolist():
        yield found.part(order[first:end])
        first = end
