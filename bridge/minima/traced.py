"""The search for a minimum inside of JAX: pairs, rattlers and Newton's method as traced arrays.

It begins near a minimum and takes Newton steps alone. Where these do not lead to rest the status
says so, and what was found is NaN: a traced function cannot raise.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..matter.mechanics import State, driving_forces_of, interactions
from ..matter.pairs import Pairs
from ..matter.strains import strain_forces
from ..solve.differentiable import Operands, project
from ..solve.rigid import rigid_modes_of
from .rattlers import contacts_of
from .rules import is_loose, round_off_force, step_is_accepted
from .status import Status

__all__ = ["Found", "Search", "number_of_pairs", "search"]

MOST_NEWTON = 20
# Of a Newton step, at least so much is tried.
SMALLEST_PART = 0.125
# A pair may come into reach while its packing relaxes: lists reach this much farther, in units of
# the smallest diameter or rest length.
SKIN = 0.1


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Found:
    """A minimum, and what holds for all derivatives at it.

    Attributes
    ----------
    positions, nonaffine:
        R (N, d) and W = H⁻¹Ξ (N, d, n_strains), None without a box.
    pairs, bonds:
        Interacting pairs, whose shifts are made anew of ``crossed`` and ``beyond``.
    crossed, bonds_crossed:
        How many boxes lie between the ends of each pair, (M, d).
    beyond, bonds_beyond:
        By how much places past the last pair are put out of reach, (M, d).
    rattlers, status:
        (N,) bool, and a `Status`.
    rigid, lower:
        As in `amorph.bridge.solve.differentiable.Operands`.
    """

    positions: Any
    nonaffine: Any
    pairs: Pairs
    bonds: Pairs | None
    crossed: Any
    bonds_crossed: Any
    beyond: Any
    bonds_beyond: Any
    rattlers: Any
    status: Any
    rigid: Any
    lower: Any

    def state(self, typeid: Any, box: Any, fixed: Any) -> State:
        """The state at the minimum; shifts of pairs follow the box."""

        def shifted(pairs: Pairs, crossed: Any, beyond: Any) -> Pairs:
            return pairs if box is None else replace(pairs, shift=crossed @ box.T + beyond)

        return State(
            positions=self.positions,
            typeid=jnp.asarray(typeid),
            box=box,
            pairs=shifted(self.pairs, self.crossed, self.beyond),
            nonaffine=self.nonaffine,
            rattlers=self.rattlers,
            bonds=None
            if self.bonds is None
            else shifted(self.bonds, self.bonds_crossed, self.bonds_beyond),
            fixed=None if fixed is None else jnp.asarray(fixed),
            status=self.status,
        )


@dataclass(frozen=True)
class Search:
    """How a minimum is searched for: see `amorph.bridge.minimum`."""

    capacity: int
    reach: float
    tolerance: float | None


def number_of_pairs(theta: Any, x: Array, typeid: Any, box: Any, reach: float) -> Array:
    """How many places for pairs a search for the minimum of a packing needs."""
    _, _, near = _nearness(theta, x, typeid, box, reach, SKIN * smallest_size(theta))
    return jnp.sum(near)


def _nearness(
    theta: Any, x: Array, typeid: Any, box: Any, reach: Any, skin: Any
) -> tuple[Array, Array, Array]:
    """Of all pairs (N, N): boxes between, how far they are listed, and which i < j are."""
    n = x.shape[0]
    vector = x[None] - x[:, None]
    crossed = jnp.zeros_like(vector)
    if box is not None:
        crossed = -jnp.round(vector @ jnp.linalg.inv(box).T)
        vector = vector + crossed @ box.T
    types = jnp.asarray(typeid)
    parameters = theta.near.of_pairs(types[:, None], types[None])
    cutoff = jnp.maximum(theta.near.kind.pair_cutoff(parameters), reach) + skin
    near = jnp.sum(vector**2, axis=-1) < cutoff**2
    return crossed, cutoff, near & (jnp.arange(n)[:, None] < jnp.arange(n)[None])


def pairs_near(
    theta: Any, x: Array, typeid: Any, box: Any, reach: float, skin: Any, capacity: int
) -> tuple[Pairs, Array, Array]:
    """The pairs nearer than their cutoff or a reach, and a skin: a list of fixed length.

    Returns the pairs with their shifts, how many boxes lie between their ends (M, d), and by how
    much places past the last one are put out of reach (M, d). The count may exceed the capacity.
    """
    d = x.shape[1]
    crossed, cutoff, near = _nearness(theta, x, typeid, box, reach, skin)
    i, j = jnp.nonzero(near, size=capacity, fill_value=0)
    count = jnp.sum(near)
    real = (jnp.arange(capacity) < count)[:, None]
    far = jnp.zeros(d).at[0].set(10.0 * (jnp.max(cutoff) + 1.0))
    beyond = jnp.where(real, 0.0, far)
    images = jnp.where(real, crossed[i, j], 0.0)
    shift = beyond if box is None else images @ box.T + beyond
    return Pairs(i.astype(jnp.int32), j.astype(jnp.int32), shift, count), images, beyond


def bonds_of(theta: Any, x: Array, box: Any, bonds: Any) -> tuple[Pairs | None, Any]:
    """The pairs that springs join by the nearest images of their ends, and the boxes between."""
    if theta.springs is None:
        return None, None
    i, j = jnp.asarray(bonds).T
    crossed = jnp.zeros((len(bonds), x.shape[1]))
    shift = crossed
    if box is not None:
        crossed = -jnp.round((x[j] - x[i]) @ jnp.linalg.inv(box).T)
        shift = crossed @ box.T
    return Pairs(i, j, shift, jnp.asarray(len(bonds))), crossed


def rattlers_of(theta: Any, state: State, residual: Array) -> Array:
    """Which particles are rattlers, (N,): `find_rattlers`, traced."""
    n, d = state.positions.shape
    parts = contacts_of(theta, state, residual)

    def sums(weight_of: Any, shape: tuple[int, ...]) -> Array:
        out = jnp.zeros((n, *shape))
        for part in parts:
            weight = weight_of(part)
            out = out.at[part.i].add(weight).at[part.j].add(weight)
        return out

    def more(out: Array) -> Array:
        def live(part: Any) -> Array:
            return jnp.where(part.counts & ~out[part.i] & ~out[part.j], 1.0, 0.0)

        def outer(part: Any) -> Array:
            return live(part)[:, None, None] * part.unit[:, :, None] * part.unit[:, None, :]

        number = sums(live, ())
        pulls = sums(lambda part: live(part) * part.attracts, ()) > 0
        loose = is_loose(sums(outer, (d, d)), number, pulls)
        return out | (loose if state.fixed is None else loose & ~state.fixed)

    none = jnp.zeros(n, dtype=bool)
    return lax.while_loop(
        lambda c: jnp.any(c[0] != c[1]), lambda c: (c[1], more(c[1])), (none, more(none))
    )[1]


def largest(vectors: Array) -> Array:
    """The largest length of vectors (N, d)."""
    return jnp.sqrt(jnp.max(jnp.sum(vectors**2, axis=1)))


def search(
    how: Search, inverse: Any, theta: Any, x: Array, box: Any, typeid: Any, bonds: Any, fixed: Any
) -> Found:
    """Newton steps from positions to the minimum, its response, and a status."""
    n, d = x.shape
    sigma = smallest_size(theta)
    skin: Any = 0.0
    if theta.near is None:
        none = jnp.zeros((0, d))
        nobody = jnp.zeros(0, dtype=jnp.int32)
        pairs, crossed, beyond = Pairs(nobody, nobody, none, jnp.zeros((), int)), none, none
    else:
        skin = skin_in(theta, box, how.reach)
        pairs, crossed, beyond = pairs_near(theta, x, typeid, box, how.reach, skin, how.capacity)
    joined, bonds_crossed = bonds_of(theta, x, box, bonds)
    bonds_beyond = None if joined is None else jnp.zeros_like(x[:1])
    nobody = jnp.zeros(n, dtype=bool)
    state = State(x, typeid, box, pairs, None, nobody, joined, fixed=fixed)

    if how.tolerance is None:
        length = (
            jnp.max(jnp.ptp(x, axis=0)) if box is None else jnp.sqrt(jnp.max(jnp.sum(box**2, 0)))
        )
        limit = round_off_force(stiffest(theta), length)
    else:
        limit = jnp.asarray(how.tolerance)

    def forces(at: Array) -> Array:
        return driving_forces_of(theta, replace(state, positions=at))

    def factorised(at: Array, rattlers: Array) -> tuple[Operands, Array]:
        there = replace(state, positions=at, rattlers=rattlers)
        rigid = rigid_modes_of(there)
        lower, positive = inverse.prepare(theta, there, rigid)
        return Operands(theta, there, rigid, lower), positive

    def solved(operands: Operands, load: Array) -> Array:
        return project(operands, inverse(operands, project(operands, load)))

    def going(carry: tuple[Array, ...]) -> Array:
        _, force, good, _, steps = carry
        return good & (force > limit) & (steps < MOST_NEWTON)

    def step(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        at, force, _, part, steps = carry
        rattlers = rattlers_of(theta, replace(state, positions=at), force)
        operands, positive = factorised(at, rattlers)
        pull = driving_forces_of(theta, operands.state, held=True)
        move = part * solved(operands, pull[:, :, None])[:, :, 0]
        there = at + move
        smaller = largest(forces(there))
        accepted = step_is_accepted(force, smaller, largest(move), sigma, limit, part)
        # Where pairs cross a jump of u'' a whole step may lead nowhere: then half of it.
        at, force = jnp.where(accepted, there, at), jnp.where(accepted, smaller, force)
        part = jnp.where(accepted, 1.0, 0.5 * part)
        return at, force, positive & (part >= SMALLEST_PART), part, steps + 1

    first = largest(forces(x))
    begin: Any = (x, first, jnp.array(True), jnp.ones(()), jnp.zeros((), dtype=int))
    at, force, good, _, _ = lax.while_loop(going, step, begin)
    rattlers = rattlers_of(theta, replace(state, positions=at), limit)
    operands, positive = factorised(at, rattlers)
    nonaffine = None
    if box is not None:
        nonaffine = solved(operands, strain_forces(theta, operands.state))

    def when(status: Status, wrong: Any, told: Array) -> Array:
        return jnp.where(wrong, jnp.int32(status), told)

    told = jnp.int32(Status.OK)
    told = when(Status.SADDLE, ~positive, told)
    told = when(Status.NOT_HELD, jnp.all(rattlers), told)
    told = when(Status.NOT_AT_REST, ~(good & (force <= limit)), told)
    if theta.near is not None:
        # No pair may have come into reach from beyond the list.
        told = when(Status.MOVED_TOO_FAR, largest(at - x) > 0.5 * skin, told)
        told = when(Status.TOO_MANY_PAIRS, pairs.count > how.capacity, told)
    if box is not None:
        reach = longest(theta, state, how.reach)
        told = when(Status.BOX_TOO_SMALL, narrowest(box) < 2.0 * reach, told)
    told = when(Status.NOT_FINITE, ~jnp.isfinite(first), told)
    wrong = told != Status.OK

    def kept(value: Any) -> Any:
        return None if value is None else jnp.where(wrong, jnp.nan, value)

    return Found(
        kept(at), kept(nonaffine), pairs, joined, crossed, bonds_crossed, beyond, bonds_beyond,
        rattlers, told,
        operands.rigid, operands.lower,
    )  # fmt: skip


def narrowest(box: Array) -> Array:
    """The smallest width of a box."""
    return jnp.min(1.0 / jnp.sqrt(jnp.sum(jnp.linalg.inv(box) ** 2, axis=1)))


def skin_in(theta: Any, box: Any, reach: float) -> Array:
    """How much farther than they interact pairs are listed: no image of a particle twice."""
    skin = SKIN * smallest_size(theta)
    if box is None:
        return skin
    cutoffs = theta.near.kind.pair_cutoff(theta.near.of_types())
    room = 0.5 * narrowest(box) - jnp.maximum(jnp.max(cutoffs), reach)
    return jnp.clip(room, 0.0, skin)


def smallest_size(theta: Any) -> Array:
    """The smallest of `size_range`, traced."""
    if theta.near is None:
        return jnp.mean(theta.springs.length)
    return theta.near.size_range()[0]


def stiffest(theta: Any) -> Array:
    """`max_stiffness`, traced."""
    out = jnp.zeros(())
    if theta.near is not None:
        out = jnp.max(theta.near.kind.pair_stiffness(theta.near.of_types()))
    if theta.springs is not None:
        out = jnp.maximum(out, jnp.max(theta.springs.stiffness))
    return out


def longest(theta: Any, state: State, reach: float) -> Array:
    """How far particles of a state can interact: the longest cutoff, reach or spring."""
    out = jnp.asarray(reach)
    if theta.near is not None:
        out = jnp.maximum(out, jnp.max(theta.near.kind.pair_cutoff(theta.near.of_types())))
    if theta.springs is not None:
        bonded = interactions(theta, state)[-1]
        out = jnp.maximum(out, jnp.max(bonded.distance))
    return out
