"""Many searches on energy landscapes as one array computation.

Those that have ended make room for the others: what goes on is put together anew after every few
steps, in as few shapes as need be compiled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import jax
import numpy as np

from amorph.handover import InputError

from ..matter.packing import Packing
from ..matter.springs import Theta
from .surface import Surface, surface_of

__all__ = ["Batch", "batch_of", "in_flight"]

# Fewer than these are computed as so many: one program less to compile.
FEWEST = 4


@dataclass(frozen=True, eq=False)
class Batch:
    """The landscape of each of some searches.

    Attributes
    ----------
    surface:
        Of the same particles; its theta and size have a leading axis where each search has its own.
    own:
        Whether they do.
    """

    surface: Surface
    own: bool

    @property
    def axes(self) -> Any:
        """The axes over which `jax.vmap` maps the surface."""
        return Surface(0, cast(Any, None), None, 0) if self.own else None

    def of(self, rows: Any) -> Surface:
        """The landscapes of some of the searches."""
        return chosen(self.surface, rows) if self.own else self.surface


def chosen(surface: Surface, rows: Any) -> Surface:
    """Some of a batch of landscapes, or one."""
    theta = jax.tree_util.tree_map(lambda a: a[rows], surface.theta)
    return replace(surface, theta=theta, size=surface.size[rows])


def batch_of(theta: Theta | Sequence[Theta], packing: Packing, *, skin: float = 0.0) -> Batch:
    """The landscape of a packing's particles by one theta, or by each of several.

    Raises `InputError` for several of different kinds, and as `surface_of` does.
    """
    if isinstance(theta, Theta):
        return Batch(surface_of(theta, packing, skin=skin), False)
    kinds = {jax.tree_util.tree_structure(one) for one in theta}
    shapes = {tuple(np.shape(x) for x in jax.tree_util.tree_leaves(one)) for one in theta}
    if len(kinds) != 1 or len(shapes) != 1:
        raise InputError("theta: interactions of several kinds or numbers of types: one at a time.")
    longest = max(theta, key=lambda one: one.longest_cutoff())
    whole = jax.tree_util.tree_map(lambda *x: np.stack([np.asarray(v) for v in x]), *theta)
    size = np.array([one.size_range()[0] for one in theta])
    return Batch(replace(surface_of(longest, packing, skin=skin), theta=whole, size=size), True)


def in_flight(
    advance: Callable[[Surface, Any], Any],
    batch: Batch,
    carry: Any,
    most_rounds: int,
    note: Callable[[Any, Any], object] | None = None,
) -> Any:
    """Advance searches again and again until each has ended, and return where they are.

    Parameters
    ----------
    advance:
        Takes landscapes and searches, ``carry`` with a leading axis, some steps on.
    batch:
        The landscapes.
    carry:
        A dict of arrays with a leading axis; ``going`` says which searches go on.
    most_rounds:
        How often it is called at most.
    note:
        Told after each round which searches took part, and what they carry.
    """
    carry = jax.tree_util.tree_map(lambda a: np.array(a), carry)
    for _ in range(most_rounds):
        going = np.flatnonzero(carry["going"])
        if not len(going):
            break
        rows = np.resize(going, padded(len(going)))
        there = jax.tree_util.tree_map(lambda a, rows=rows: a[rows], carry)
        there = jax.tree_util.tree_map(np.asarray, advance(batch.of(rows), there))
        for name, value in there.items():
            carry[name][going] = value[: len(going)]
        if note is not None:
            note(going, {name: value[: len(going)] for name, value in there.items()})
    return carry


def padded(number: int) -> int:
    """The next power of two: few shapes, each compiled once."""
    return max(FEWEST, 1 << (number - 1).bit_length())
