"""What searches on landscapes have in common: their arguments, and results of which some failed."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph.handover import AmorphError, InputError
from amorph.handover.arguments import positive

from ..matter.arguments import check
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..minima.responses import force_tolerance
from ..precision import require_float64
from .batches import Batch, batch_of
from .surface import MOST_DENSE

__all__ = [
    "Results",
    "check_same_particles",
    "each_theta",
    "searched",
    "searched_at_once",
    "tolerances",
]


class Results(Sequence[Any]):
    """Results of many searches, of which some have failed: asked for, these raise their error."""

    def __init__(self, found: Sequence[Any]) -> None:
        self._found = tuple(found)

    @property
    def failures(self) -> dict[int, AmorphError]:
        """The error of each search that failed, by its number."""
        return {k: f for k, f in enumerate(self._found) if isinstance(f, AmorphError)}

    @property
    def found(self) -> dict[int, Any]:
        """What was found, by the numbers of the searches."""
        return {k: f for k, f in enumerate(self._found) if not isinstance(f, AmorphError)}

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, k: Any) -> Any:
        if isinstance(k, slice):
            return type(self)(self._found[k])
        found = self._found[k]
        if isinstance(found, AmorphError):
            raise found
        return found

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__} of {len(self)} searches: {len(self.found)} found, "
            f"{len(self.failures)} failed"
        )


def searched(theta: Theta | Sequence[Theta], packing: Packing) -> Batch:
    """The landscapes that are searched; raises `InputError` for systems that are too large."""
    require_float64()
    one = theta if isinstance(theta, Theta) else theta[0]
    if not searched_at_once(one, packing):
        raise InputError(
            f"the packing has {packing.n_particles} particles: at most {MOST_DENSE}, without "
            "springs, are searched many at once. Of larger ones saddles_around finds saddles."
        )
    return batch_of(theta, packing)


def searched_at_once(theta: Theta, packing: Packing) -> bool:
    """Whether a packing's searches are one array computation."""
    return packing.n_particles <= MOST_DENSE and theta.springs is None


def each_theta(theta: Theta | Sequence[Theta], number: int) -> list[Theta]:
    """The interactions of each of a number of searches; raises `InputError`."""
    each: list[Any] = list(theta) if isinstance(theta, (list, tuple)) else [theta] * number
    for one in each:
        check(theta=one)
    if len(each) != number:
        raise InputError(f"theta: {len(each)} for {number} searches: give one, or one for each.")
    return each


def tolerances(
    thetas: Sequence[Theta], packing: Packing, tolerance: float | None
) -> NDArray[np.float64]:
    """The largest |F| at rest of each search, (B,); raises `InputError` for an impossible one."""
    if tolerance is not None:
        positive("tolerance", tolerance)
    known = {id(one): force_tolerance(one, packing, tolerance) for one in thetas}
    return np.array([known[id(one)] for one in thetas])


def check_same_particles(packings: Sequence[Packing]) -> None:
    """Raise `InputError` for packings that differ in more than where their particles are."""
    for other in packings[1:]:
        for name in ("typeid", "box", "fixed", "bonds"):
            a, b = getattr(packings[0], name), getattr(other, name)
            if (a is None) != (b is None) or (a is not None and not np.array_equal(a, b)):
                raise InputError(f"packings differ in their {name}: they must be one system's.")
