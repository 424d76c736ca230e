"""Barriers and rates of transitions, as functions of the interactions that JAX differentiates.

The rate over a saddle S from a minimum A of particles with friction γ, at temperatures well below
the barrier (Kramers, Physica 7, 284 (1940); Langer, Ann. Phys. 54, 258 (1969)), is

    k = n (|λ_b|/2πγ) (det I_S/det I_A)^½ (det' H_A/|det' H_S|)^½ exp(-ΔE/kT),

with the negative eigenvalue λ_b at the saddle and determinants over all modes but rigid motions:
of seven spheres, 15 stable ones at the minimum and 14 at the saddle. In open space a cluster of
particles of equal friction turns freely, and each state has as many orientations as its tensor of
inertia Σ (r² 1 - r r), without masses, says: (det I)^½, in the plane I^½. And n saddles are
equivalent: where mirror images of a path join the same two states, a rate doubles. Goodrich et al.
(PNAS 118, e2024083118 (2021), eq. 4) have neither of these two factors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from amorph.handover import InputError
from amorph.handover.arguments import check_kind, positive

from ..matter.arguments import check
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..matter.tracing import traced
from ..minima.relaxing import relaxation
from ..minima.responses import largest
from ..precision import require_float64
from ..solve.modes import spectrum
from .chains import SAME
from .following import FARTHEST, followed, held_matrix
from .paths import distance
from .searches import searched_at_once
from .surface import Surface, surface_of
from .transitions import Transition

__all__ = ["Points", "barriers", "equivalent_saddles", "log_rates", "placed", "points_of"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Points:
    """The stationary points of some transitions, each once.

    Attributes
    ----------
    surface:
        Of all; its theta is what the points were found with.
    positions:
        (P, N, d).
    negative:
        (P,), how many negative modes each has: 0 or 1.
    ways:
        (T, 3), the numbers of start, saddle and end of each transition.
    equivalent:
        (T,), how many saddles are equivalent.
    """

    surface: Surface
    positions: Any
    negative: Any
    ways: Any
    equivalent: Any

    def moved_to(self, positions: Any) -> "Points":
        """The same points elsewhere, (P, N, d)."""
        return Points(self.surface, positions, self.negative, self.ways, self.equivalent)


def points_of(theta: Theta, transitions: Sequence[Transition]) -> Points:
    """The stationary points of transitions of the same particles; minima that they share once.

    Parameters
    ----------
    theta:
        What they were found with.
    transitions:
        At least one.

    Raises `InputError` for what is none, transitions of different particles, and rattlers in
    packings of more than 48 particles; of these the matrices are whole ones, (N d)².

    Example
    -------
    >>> points = landscapes.points_of(theta, [transition])
    >>> jax.grad(lambda theta: landscapes.barriers(theta, points)[0, 0])(theta)
    """
    check(theta=theta)
    require_float64()
    check_kind("transitions", transitions, Sequence, "a list of Transition")
    if not transitions:
        raise InputError("transitions: there are none.")
    first = transitions[0]
    check_kind("a transition", first, Transition, "a Transition, as find_transition gives it")
    size = theta.size_range()[0]
    found: list[NDArray[np.float64]] = []
    negative: list[int] = []
    ways = np.zeros((len(transitions), 3), dtype=np.int64)
    for t, transition in enumerate(transitions):
        check_kind("a transition", transition, Transition, "a Transition")
        if transition.start.positions.shape != first.start.positions.shape:
            raise InputError("transitions are of different particles.")
        three = (transition.start, transition.saddle.packing, transition.end)
        for k, (packing, index) in enumerate(zip(three, (0, 1, 0), strict=True)):
            x = np.asarray(packing.positions)
            known = [
                p
                for p, (y, i) in enumerate(zip(found, negative, strict=True))
                if i == index and distance(packing, y) <= SAME * size
            ]
            if known:
                ways[t, k] = known[0]
                continue
            ways[t, k] = len(found)
            found.append(x)
            negative.append(index)
    equivalent = np.array([equivalent_saddles(t, size=size) for t in transitions], dtype=np.float64)
    return Points(
        surface_of(theta, first.start, skin=_skin(theta, first.start, found)),
        np.stack(found),
        np.array(negative),
        ways,
        equivalent,
    )


def _skin(theta: Theta, packing: Packing, found: Sequence[NDArray[np.float64]]) -> float:
    """How much farther than their cutoffs pairs are to be listed, for the points to be followed.

    Raises `InputError` for rattlers in a packing that is too large for all pairs to be looked at.
    """
    if searched_at_once(theta, packing):
        return 0.0
    if relaxation(theta, packing).response.rattlers.any():
        raise InputError(
            "the packing has rattlers, whose modes are zero: its barriers follow parameters by "
            "landscapes.follow_transition, and barriers_and_gradients gives their derivatives."
        )
    farthest = max(largest(x - np.asarray(packing.positions)) for x in found)
    return 2.0 * (farthest + FARTHEST * float(theta.size_range()[0]))


def equivalent_saddles(transition: Transition, *, size: float = 1.0) -> int:
    """The number of saddles that join the same two minima as mirror images of one another: 1 or 2.

    2 where both minima are their own mirror images, as planar ones in space are (particles are told
    apart), and the saddle is not: it may be passed on either side. In a box always 1.

    Parameters
    ----------
    transition:
        In open space.
    size:
        The unit of lengths.

    Raises `InputError` for what is no transition.
    """
    check_kind("transition", transition, Transition, "a Transition")
    if transition.start.box is not None or transition.start.fixed is not None:
        return 1

    def symmetric(packing: Packing) -> bool:
        x = np.asarray(packing.positions)
        mirror = x * np.where(np.arange(x.shape[1]) == 0, -1.0, 1.0)
        return bool(distance(packing, mirror) <= SAME * size)

    ends = symmetric(transition.start) and symmetric(transition.end)
    return 2 if ends and not symmetric(transition.saddle.packing) else 1


def placed(theta: Any, points: Points) -> Array:
    """Where the stationary points are at other interactions, (P, N, d), as a function JAX knows.

    NaN for a point that is lost; see `barriers`.
    """
    check_kind("points", points, Points, "stationary points, as points_of gives them")
    return _placed(theta, points, True)[1]


def _placed(theta: Any, points: Points, motion: bool) -> tuple[Surface, Any]:
    surface = Surface(theta, points.surface.state, points.surface.ends, points.surface.size)
    if not motion:
        return surface, jnp.asarray(points.positions)

    def one(x: Array, negative: Array) -> Array:
        return followed(surface, x, negative, None)

    return surface, jax.vmap(one)(jnp.asarray(points.positions), jnp.asarray(points.negative))


def barriers(theta: Any, points: Points, *, motion: bool = True) -> Array:
    """Energy barriers (T, 2) of transitions, from start and from end, as a function JAX knows.

    It composes with ``grad``, ``jacfwd``, ``hessian``, ``jit`` and ``vmap`` over theta.

    Parameters
    ----------
    theta:
        The interactions; the points follow from where they were.
    points:
        As `points_of` gives them.
    motion:
        Whether the points follow theta. Without it they stay where they are; the first derivative
        is the same there, since the energy is stationary, higher ones are not.

    Returns energies (T, 2); NaN where a point is lost: it is no stationary point of its kind any
    more, or lies half a diameter away.

    Example
    -------
    >>> def loss(theta):
    ...     return jnp.sum((landscapes.barriers(theta, points) - target) ** 2)
    >>> jax.grad(loss)(theta).binding
    """
    check_kind("points", points, Points, "stationary points, as points_of gives them")
    return _barriers(theta, points, motion)


@partial(jax.jit, static_argnames="motion")
def _barriers(theta: Any, points: Points, motion: bool) -> Array:
    surface, x = _placed(theta, points, motion)
    energies = jax.vmap(surface.energy)(x)
    ways = jnp.asarray(points.ways)
    return energies[ways[:, 1]][:, None] - energies[ways[:, ::2]]


def log_rates(
    theta: Any,
    points: Points,
    temperature: Any = 1.0,
    friction: Any = 1.0,
    *,
    rotations: bool = True,
    equivalents: bool = True,
    motion: bool = True,
) -> Array:
    """Logarithms of Kramers' overdamped rates (T, 2), from start and from end.

    A function of theta, temperature and friction that JAX differentiates to any order; see this
    module for the formula.

    Parameters
    ----------
    theta, points, motion:
        As in `barriers`. Without motion the points stay where they are, and so do the places at
        which modes are taken: the derivative is then another one.
    temperature:
        kT, energy.
    friction:
        γ, mass / time.
    rotations, equivalents:
        Whether the factors of rotation and of equivalent saddles are in it. Without both it is
        Goodrich et al.'s eq. 4.

    Returns log k (T, 2), of rates in units of 1/time; NaN where a point is lost.

    Example
    -------
    >>> jnp.exp(landscapes.log_rates(theta, points, temperature=0.2))
    """
    check_kind("points", points, Points, "stationary points, as points_of gives them")
    for name, value in (("temperature", temperature), ("friction", friction)):
        if not traced(value):
            positive(name, value)
    return _log_rates(theta, points, temperature, friction, rotations, equivalents, motion)


@partial(jax.jit, static_argnames=("rotations", "equivalents", "motion"))
def _log_rates(
    theta: Any,
    points: Points,
    temperature: Any,
    friction: Any,
    rotations: bool,
    equivalents: bool,
    motion: bool,
) -> Array:
    surface, x = _placed(theta, points, motion)

    def one(x: Array, negative: Array) -> tuple[Array, Array, Array]:
        matrix, stiffness, number = held_matrix(surface, x)
        # Zero modes hold a stiffness of their own, which is taken out again.
        modes = jnp.linalg.slogdet(matrix)[1] - number * jnp.log(stiffness)
        # Above all modes, zero modes are not the lowest one themselves.
        lowest = spectrum(1, matrix)[0][0]
        down = jnp.where(negative > 0, -lowest, 1.0)
        return surface.energy(x) / temperature + 0.5 * modes, jnp.log(down), _orientations(x)

    free, down, turned = jax.vmap(one)(x, jnp.asarray(points.negative))
    if rotations and surface.state.box is None and surface.state.fixed is None:
        free = free - 0.5 * turned
    ways = jnp.asarray(points.ways)
    top, ends = ways[:, 1], ways[:, ::2]
    out = down[top][:, None] - jnp.log(2.0 * jnp.pi * friction) - free[top][:, None] + free[ends]
    if equivalents:
        out = out + jnp.log(jnp.asarray(points.equivalent))[:, None]
    return out


def _orientations(x: Array) -> Array:
    """log det of the tensor of inertia of particles of mass 1."""
    own = x - jnp.mean(x, axis=0)
    square = jnp.sum(own**2)
    if x.shape[1] == 2:
        return jnp.log(square)
    return jnp.linalg.slogdet(square * jnp.eye(3) - own.T @ own)[1]
