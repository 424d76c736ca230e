"""Contacts of particles, and their mean number with rattlers left out."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from amorph.handover import InputError
from amorph.handover.arguments import check_kind
from amorph.handover.showing import shown

from ..errors import NotAMinimumError
from ..matter.arguments import check
from ..matter.mechanics import State, driving_forces_of, listed, state_of
from ..matter.neighbours import FIRST_SHELL, WINDOW, Window
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..minima.rattlers import contacts_of, find_rattlers
from ..minima.responses import check_forces, force_tolerance, largest
from .registry import Feature

__all__ = ["Contacts", "contacts", "coordination_feature", "coordination_of"]


@dataclass(frozen=True, eq=False)
class Contacts:
    """The contacts of a packing at rest, rattlers left out.

    Attributes
    ----------
    pairs:
        The particles of each contact (n_contacts, 2), i < j, neither of them a rattler.
    number:
        How many contacts each particle has (N,); 0 for rattlers.
    rattlers:
        Which particles are rattlers (N,), bool.
    n_rigid:
        How many rigid motions the packing has: d in a box, d (d + 1)/2 in open space.
    dimension:
        d.
    """

    pairs: NDArray[np.int32]
    number: NDArray[np.int64]
    rattlers: NDArray[np.bool_]
    n_rigid: int
    dimension: int

    def __repr__(self) -> str:
        held = len(self.rattlers) - self.n_rattlers
        return shown(
            f"Contacts of {len(self.rattlers)} particles in {self.dimension} dimensions",
            [
                ("contacts", str(self.n_contacts)),
                ("mean number", f"{self.mean:.6g}" if held else ""),
                ("beyond isostatic", str(self.excess)),
                ("rattlers", str(self.n_rattlers)),
            ],
        )

    @property
    def n_contacts(self) -> int:
        """The number of contacts, N_c."""
        return len(self.pairs)

    @property
    def n_rattlers(self) -> int:
        """The number of rattlers, N_r."""
        return int(self.rattlers.sum())

    @property
    def mean(self) -> float:
        """Z = 2 N_c / (N - N_r); raises `InputError` where every particle is a rattler."""
        held = len(self.rattlers) - self.n_rattlers
        if held == 0:
            raise InputError(
                "every particle is a rattler: there is no contact number. Compress the packing or "
                "enlarge the diameters."
            )
        return 2.0 * self.n_contacts / held

    @property
    def excess(self) -> int:
        """N_c - N_iso, the contacts beyond isostaticity, N_iso = d (N - N_r) - n_rigid.

        A jammed packing of soft spheres has at least one where it was made at fixed pressure or
        has a positive bulk modulus (Goodrich, Liu and Nagel, Phys. Rev. Lett. 109, 095704 (2012)).
        """
        held = len(self.rattlers) - self.n_rattlers
        return self.n_contacts - (self.dimension * held - self.n_rigid)


def _held_contacts(theta: Theta, state: State, residual: Any) -> list[tuple[Array, ...]]:
    """Ends of each pair, and whether it is a contact of particles that are no rattlers."""
    held = ~jnp.asarray(state.rattlers)
    n = len(state.typeid)
    found: list[tuple[Array, ...]] = [
        (c.i, c.j, c.counts & held[c.i] & held[c.j]) for c in contacts_of(theta, state, residual)
    ]
    if len(found) == 2:
        # A pair that touches and is bonded is one contact.
        (i, j, near), (a, b, bonded) = found
        key = jnp.where(bonded, jnp.minimum(a, b) * n + jnp.maximum(a, b), -1)
        found[0] = (i, j, near & ~jnp.isin(i * n + j, key))
    return found


def coordination_of(theta: Theta, state: State) -> Array:
    """Z = 2 N_c / (N - N_r), the mean number of contacts of particles that are no rattlers.

    A packing in a box is isostatic at N_iso = d (N - N_r) - d contacts, that is at
    Z_iso = 2d - 2d/(N - N_r); `Contacts.excess` counts those beyond.
    """
    held = jnp.sum(~jnp.asarray(state.rattlers))
    return 2.0 * sum(jnp.sum(c) for _, _, c in _held_contacts(theta, state, 0.0)) / held


def coordination_smooth_of(theta: Theta, state: State, window: Window) -> Array:
    """The mean weight of the neighbours of particles that are no rattlers.

    Neighbours that are rattlers do not count either, so that nothing depends on where they lie.
    """
    held = ~jnp.asarray(state.rattlers)
    both = held[state.pairs.i] & held[state.pairs.j]
    weight = jnp.where(both, window.weights(theta, state), 0.0)
    return 2.0 * jnp.sum(weight) / jnp.sum(held)


def coordination_feature(window: Window = FIRST_SHELL, *, name: str | None = None) -> Feature:
    """The feature (1/(N - N_r)) Σ_i Σ_j w(r_ij): neighbours instead of contacts.

    With the default window it is the number of neighbours in the first shell. With a window from 1
    to 1 + δ in units of σ_ij it tends, as δ goes to 0, to the contact number of soft spheres; the
    narrower, the steeper. Rattlers are left out, on both sides of a pair, and which particles are
    rattlers is held fixed in a derivative: so it exists where there are rattlers too.

    Parameters
    ----------
    window:
        Who is a neighbour, and with which weight; in a sharp one the feature has no gradient.
    name:
        Its name; by default ``coordination_smooth`` for the default window, and ``coordination
        (WINDOW)`` for others.

    Returns
    -------
    A `Feature` to give to `measure`, `value_and_grad` or `register`.
    """
    check_kind("window", window, Window, WINDOW)
    if name is None:
        name = "coordination_smooth" if window == FIRST_SHELL else f"coordination ({window})"
    return Feature(
        name,
        partial(coordination_smooth_of, window=window),
        reach=window.reach,
        needs_box=False,
        needs_pairs=True,
        differentiable=window.differentiable,
        describe="mean number of neighbours Z",
        symbol="Z",
        units="1",
        stationary=True,
    )


_examined = jax.jit(_held_contacts)
_forces = jax.jit(driving_forces_of)


def contacts(theta: Theta, packing: Packing, *, tolerance: float | None = None) -> Contacts:
    """The contacts of each particle of a packing at rest, and which particles are rattlers.

    A repulsive pair is a contact if its force is above 1e-9 of the mean contact force and above
    the tolerance. A pair with an attractive part (binding > 0, or `FourTerm`) is a contact
    wherever it lies below its cutoff, also where it does not repel: for long-ranged attractions
    that is more than the first shell, and `coordination_feature` may be the better measure.
    Rattlers are found recursively, by `minima.rattlers.find_rattlers`, which shares this
    definition, and contacts with them do not count.

    Parameters
    ----------
    theta, packing:
        A packing as `relax` returns it, and its potential. It need not be rigid.
    tolerance:
        The largest |F| that counts as rest; by default `default_tolerance`.

    Raises
    ------
    NotAMinimumError
        If forces above the tolerance remain.
    NotFiniteError
        If forces are not finite: two particles coincide.
    BoxTooSmallError, UnknownTypeError, PrecisionError, InputError
        As `measure` does.

    Source: O'Hern, Silbert, Liu and Nagel, Phys. Rev. E 68, 011306 (2003), for the contact number
    without rattlers.
    """
    check(theta=theta, packing=packing)
    limit = force_tolerance(theta, packing, tolerance)
    state = state_of(theta, packing)
    max_force = largest(_forces(theta, state))
    check_forces(max_force, state)
    if not max_force <= limit:
        raise NotAMinimumError(
            f"the largest force is {max_force:.2e}, above the tolerance {limit:.1e}: call "
            "bridge.relax(theta, packing) first."
        )
    rattlers = find_rattlers(theta, state, residual=limit)
    state = replace(state, rattlers=rattlers)
    i, j, counted = listed(theta, state, _examined(theta, state, limit))
    pairs = np.sort(np.column_stack([i[counted], j[counted]]), axis=1)
    d = packing.dimension
    return Contacts(
        pairs,
        np.bincount(pairs.ravel(), minlength=packing.n_particles),
        rattlers,
        d if packing.box is not None else d * (d + 1) // 2,
        d,
    )
