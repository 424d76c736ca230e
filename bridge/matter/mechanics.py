"""Energy, forces, stress and Hessian of a packing from its interactions.

The functions of a `State` can be traced by JAX; those of a `Packing` are for users. What is a sum
over pairs is taken piece by piece where there are many, so that memory follows the number of pairs
and not the size of what is computed for each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, wraps
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from amorph.handover import InputError

from ..errors import FeatureError
from ..precision import require_float64
from ..programs import make_room
from .arguments import check
from .packing import Packing
from .pairs import CHUNK, Pairs, find_bonds, find_pairs
from .potentials import OwnParameters
from .springs import Springs, Theta

__all__ = ["Interactions", "State", "energy", "forces", "hessian", "stress", "volume_of"]


@dataclass(frozen=True, eq=False)
class State:
    """The input of a feature: positions, and everything held fixed beside them.

    Attributes
    ----------
    positions:
        (N, d).
    typeid:
        (N,).
    box:
        (d, d) or None.
    pairs:
        The pairs in reach.
    nonaffine:
        W = H⁻¹Ξ, (N, d, n_strains): minus the displacement that the particles answer a unit strain
        with; None where no feature asked for it.
    rattlers:
        (N,) bool.
    fixed:
        (N,) bool: who is held where it is; None: nobody.
    bonds:
        The pairs that springs join; None without springs.
    modes:
        Orthonormal lowest vibrational modes, (N, d, n_modes); None where no feature asked for them.
    status:
        What `amorph.bridge.minimum` says of a minimum that was found inside of a JAX
        transformation, an integer: see `amorph.bridge.check_status`.
    reach:
        Pairs nearer than this are listed, if it is beyond their cutoff; None: it is not known.
    """

    positions: Any
    typeid: Any
    box: Any
    pairs: Pairs
    nonaffine: Any
    rattlers: Any
    bonds: Pairs | None = None
    modes: Any = None
    fixed: Any = None
    status: Any = None
    reach: Any = None
    memo: dict[Any, tuple[Any, Any]] = field(default_factory=dict, init=False, repr=False)

    @property
    def still(self) -> Any:
        """(N,) bool: who has no part in the response, rattlers and those that are fixed."""
        return self.rattlers if self.fixed is None else self.rattlers | self.fixed


jax.tree_util.register_dataclass(
    State,
    data_fields=[
        *("positions", "typeid", "box", "pairs", "nonaffine", "rattlers", "bonds", "modes"),
        *("fixed", "status", "reach"),
    ],
    meta_fields=[],
    drop_fields=["memo"],  # a state made anew, by JAX too, starts with none
)

Function = TypeVar("Function", bound=Callable[[Any, Any], Any])


def once(function: Function) -> Function:
    """Compute a function of (theta, state) once for a state: features share what they need."""

    @wraps(function)
    def remembered(theta: Any, state: State) -> Any:
        known = state.memo.get(remembered)
        if known is None or known[0] is not theta:
            state.memo[remembered] = known = (theta, function(theta, state))
        return known[1]

    return cast(Function, remembered)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Interactions:
    """All pairs of one kind: those within reach of a pair potential, or those joined by springs.

    Attributes
    ----------
    i, j:
        (M,).
    vector:
        From i to j, (M, d).
    parameters:
        Of u, each (M,).
    held:
        (M,) bool: whether neither end is a rattler. What a rattler's pairs resist with is no part
        of the response: it follows, wherever it lies.
    kind:
        The class whose `pair_energy` u is.
    """

    i: Any
    j: Any
    vector: Any
    parameters: dict[str, Any]
    held: Any
    kind: Any = field(metadata={"static": True})

    @cached_property
    def distance(self) -> Array:
        """r, (M,)."""
        return jnp.sqrt(jnp.sum(self.vector**2, axis=1))

    @cached_property
    def unit(self) -> Array:
        """n = r/|r|, (M, d)."""
        return self.vector / self.distance[:, None]

    @cached_property
    def energy(self) -> Array:
        """u, (M,)."""
        return self.kind.pair_energy(self.distance, self.parameters)

    @cached_property
    def slope(self) -> Array:
        """u', (M,)."""
        return self._slope_at(self.distance)

    @cached_property
    def held_slope(self) -> Array:
        """u' of pairs that are held, 0 of others, (M,)."""
        return jnp.where(self.held, self.slope, 0.0)

    @cached_property
    def slope_and_curvature(self) -> tuple[Array, Array]:
        """u' and u'' of pairs that are held, 0 of others, (M,) both."""
        found = jax.jvp(self._slope_at, (self.distance,), (jnp.ones_like(self.distance),))
        return jnp.where(self.held, found[0], 0.0), jnp.where(self.held, found[1], 0.0)

    def _slope_at(self, r: Array) -> Array:
        # u of a pair depends on that pair alone: the derivative along ones has each pair's own.
        def energy(x: Array) -> Array:
            return self.kind.pair_energy(x, self.parameters)

        return jax.jvp(energy, (r,), (jnp.ones_like(r),))[1]

    def stiffness_matrices(self) -> Array:
        """∂²u/∂r∂r, (M, d, d): u'' n n + (u'/r)(1 - n n)."""
        unit = self.unit
        along = unit[:, :, None] * unit[:, None, :]
        across = jnp.eye(unit.shape[1]) - along
        slope, curvature = self.slope_and_curvature
        bent = slope / self.distance
        return curvature[:, None, None] * along + bent[:, None, None] * across


def _interactions(state: State, pairs: Pairs, parameters: Any, kind: Any) -> Interactions:
    vector = state.positions[pairs.j] - state.positions[pairs.i] + pairs.shift
    held = ~(state.rattlers[pairs.i] | state.rattlers[pairs.j])
    return Interactions(pairs.i, pairs.j, vector, parameters, held, kind)


def near_parameters(theta: Any, state: State) -> Any:
    """The pair potential's parameters for each listed pair."""
    if isinstance(theta.near, OwnParameters):
        return theta.near.parameters
    return theta.near.of_pairs(state.typeid[state.pairs.i], state.typeid[state.pairs.j])


@once
def interactions(theta: Any, state: State) -> tuple[Interactions, ...]:
    """Every kind of interaction between the particles of a state."""
    out = []
    if theta.near is not None:
        out.append(
            _interactions(state, state.pairs, near_parameters(theta, state), theta.near.kind)
        )
    if theta.springs is not None:
        assert state.bonds is not None
        size = state.bonds.i.shape[0]
        out.append(
            _interactions(state, state.bonds, theta.springs.padded(size), theta.springs.kind)
        )
    return tuple(out)


def listed(theta: Any, state: State, found: Sequence[tuple[Any, ...]]) -> list[NDArray[Any]]:
    """What was found for each kind of interaction, joined, without the places past the last."""
    lists = [state.pairs] if theta.near is not None else []
    if theta.springs is not None and state.bonds is not None:
        lists.append(state.bonds)
    columns = [
        [np.asarray(x)[: int(pairs.count)] for x in part]
        for pairs, part in zip(lists, found, strict=True)
    ]
    if len(columns) == 1:
        return columns[0]
    return [np.concatenate(parts) for parts in zip(*columns, strict=True)]


def attractive(theta: Any, state: State) -> list[Array]:
    """Whether each pair of each kind of interaction may pull, (M,) each."""
    out = []
    if theta.near is not None:
        i, j = state.typeid[state.pairs.i], state.typeid[state.pairs.j]
        out.append(theta.near.attracts_of(i, j))
    if theta.springs is not None:
        assert state.bonds is not None
        bonded = theta.springs.padded(state.bonds.i.shape[0])
        out.append(theta.springs.kind.pair_attracts(bonded))
    return out


@dataclass(frozen=True, eq=False)
class PairTerms:
    """The pairs near each other: vectors (M, d), distances (M,), unit vectors, parameters."""

    vector: Array
    distance: Array
    unit: Array
    parameters: dict[str, Array]


@once
def pair_terms(theta: Any, state: State) -> PairTerms:
    """The geometry of every listed pair, and the pair potential's parameters for it."""
    if theta.near is None:
        raise FeatureError(
            "neighbours are counted by diameters, and springs have none: this is not defined for a "
            "network without a pair potential."
        )
    near = interactions(theta, state)[0]
    distance = near.distance
    return PairTerms(near.vector, distance, near.vector / distance[:, None], near.parameters)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Resolved:
    """Interactions in which every pair has its own parameters; it takes the place of theta.

    A feature that reads parameters of types, such as ``theta.diameters``, finds them: its
    derivatives by these are taken apart from those by pairs' own.
    """

    near: OwnParameters | None
    springs: Springs | None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("near", "springs"):
            raise AttributeError(name)  # as JAX and Python look for them by themselves
        return getattr(self.springs if self.near is None else self.near, name)


def resolved(theta: Any, state: State) -> Resolved:
    """Theta with each pair's own parameters."""
    near = None
    if theta.near is not None:
        pairs = state.pairs
        near = theta.near.resolved(state.typeid[pairs.i], state.typeid[pairs.j])
    return Resolved(near, theta.springs)


Sum = TypeVar("Sum")


def sum_over_pairs(kernel: Callable[[Interactions], Sum], parts: tuple[Interactions, ...]) -> Sum:
    """The sum of a kernel over the interactions.

    The kernel takes some interactions of one kind and gives arrays already summed over them.
    """
    total: Any = None
    for part in parts:
        found = _in_pieces(kernel, part)
        total = found if total is None else jax.tree_util.tree_map(jnp.add, total, found)
    return cast(Sum, total)


def _in_pieces(kernel: Callable[[Interactions], Any], part: Interactions) -> Any:
    size = part.i.shape[0]
    if size <= 4 * CHUNK:
        return kernel(part)
    pieces = jax.tree_util.tree_map(
        lambda a: jnp.reshape(a, (size // CHUNK, CHUNK, *a.shape[1:])), part
    )

    # Reverse mode keeps each piece's input and computes the rest again.
    @jax.checkpoint
    def add(total: Any, piece: Interactions) -> tuple[Any, None]:
        return jax.tree_util.tree_map(jnp.add, total, kernel(piece)), None

    first = jax.tree_util.tree_map(lambda a: a[0], pieces)
    shapes = jax.eval_shape(kernel, first)
    zero = jax.tree_util.tree_map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return lax.scan(add, zero, pieces)[0]


def volume_of(state: State) -> Array:
    """The volume of the state's box."""
    box = jnp.asarray(state.box)
    if box.shape[0] == 2:
        return box[0, 0] * box[1, 1] - box[0, 1] * box[1, 0]
    return jnp.dot(box[:, 0], jnp.cross(box[:, 1], box[:, 2]))


def energy_of(theta: Any, state: State) -> Array:
    """The total energy."""
    return sum_over_pairs(lambda part: jnp.sum(part.energy), interactions(theta, state))


def forces_of(theta: Any, state: State) -> Array:
    """Forces (N, d), on fixed particles too."""
    return _forces(theta, state, lambda part: part.slope)


def driving_forces_of(theta: Any, state: State, *, held: bool = False) -> Array:
    """Forces (N, d) that move particles: 0 on fixed ones; ``held``: without rattlers' part."""

    out = _forces(theta, state, lambda part: part.held_slope if held else part.slope)
    return out if state.fixed is None else jnp.where(state.fixed[:, None], 0.0, out)


def _forces(theta: Any, state: State, slope_of: Callable[[Interactions], Array]) -> Array:
    out = jnp.zeros_like(state.positions)
    for part in interactions(theta, state):
        pull = slope_of(part)[:, None] * part.unit  # on i, towards j
        out = out.at[part.i].add(pull).at[part.j].add(-pull)
    return out


@once
def stress_of(theta: Any, state: State) -> Array:
    """(1/V) dU/dε, (d, d), tension positive."""

    def virial(part: Interactions) -> Array:
        unit = part.unit
        return (part.slope * part.distance * unit.T) @ unit

    return sum_over_pairs(virial, interactions(theta, state)) / volume_of(state)


def pressure_of(theta: Any, state: State) -> Array:
    """-tr(stress)/d."""
    stress_tensor = stress_of(theta, state)
    return -jnp.trace(stress_tensor) / len(stress_tensor)


def hessian_of(theta: Any, state: State) -> Array:
    """∂²U/∂R², dense, (N d, N d)."""
    n, d = state.positions.shape
    out = jnp.zeros((n, n, d, d))
    for part in interactions(theta, state):
        blocks = part.stiffness_matrices()
        i, j = part.i, part.j
        out = out.at[i, j].add(-blocks).at[j, i].add(-blocks)
        out = out.at[i, i].add(blocks).at[j, j].add(blocks)
    return out.transpose(0, 2, 1, 3).reshape(n * d, n * d)


def state_of(
    theta: Any,
    packing: Packing,
    *,
    skin: float = 0.0,
    reach: float = 0.0,
    pairs: Pairs | None = None,
) -> State:
    """The state of a packing, without its response; errors as `find_pairs` and `find_bonds`.

    With ``pairs`` these are its pairs, and none are searched for.
    """
    require_float64()
    make_room()
    if pairs is None:
        pairs = find_pairs(theta.near, packing, skin=skin, reach=reach)
    return State(
        positions=np.asarray(packing.positions, dtype=np.float64),
        typeid=packing.typeid,
        box=packing.box,
        pairs=pairs,
        nonaffine=None,
        rattlers=np.zeros(packing.n_particles, dtype=bool),
        bonds=find_bonds(theta.springs, packing),
        fixed=packing.fixed,
    )


def strained(state: State, gradient: Any) -> State:
    """The state under the homogeneous deformation r → F r, F (d, d)."""

    def of(pairs: Pairs | None) -> Pairs | None:
        return None if pairs is None else replace(pairs, shift=pairs.shift @ gradient.T)

    return replace(
        state,
        positions=state.positions @ gradient.T,
        box=gradient @ state.box,
        pairs=cast(Pairs, of(state.pairs)),
        bonds=of(state.bonds),
    )


@partial(jax.jit, static_argnums=0)
def _evaluate(function: Any, theta: Theta, state: State) -> Any:
    return function(theta, state)


def _finite(name: str, function: Any, theta: Theta, packing: Packing) -> NDArray[np.float64]:
    check(theta=theta, packing=packing)
    found = np.asarray(_evaluate(function, theta, state_of(theta, packing)))
    if not np.isfinite(found).all():
        raise InputError(
            f"the {name} of the packing is not finite: two particles coincide, or the parameters "
            "are extreme. Move one of them."
        )
    return found


def energy(theta: Theta, packing: Packing) -> float:
    """The packing's total energy.

    Raises as `find_pairs` does, and `InputError` if it is not finite.
    """
    return float(_finite("energy", energy_of, theta, packing))


def forces(theta: Theta, packing: Packing) -> NDArray[np.float64]:
    """Forces (N, d), energy / length.

    Raises as `find_pairs` does, and `InputError` if they are not finite (two particles coincide).
    """
    return _finite("field of forces", forces_of, theta, packing)


def hessian(theta: Theta, packing: Packing) -> NDArray[np.float64]:
    """∂²U/∂R², (N d, N d), energy / length², of all particles, rattlers included.

    Raises as `find_pairs` does, and `InputError` if it is not finite (two particles coincide).
    """
    return _finite("Hessian", hessian_of, theta, packing)


def stress(theta: Theta, packing: Packing) -> NDArray[np.float64]:
    """(1/V) ∂U/∂ε, (d, d), energy / length^d, tension positive, whatever the forces.

    Raises as `find_pairs` does, and `InputError` for a packing without a box or if it is not
    finite (two particles coincide).
    """
    check(theta=theta, packing=packing)
    _ = packing.volume
    return _finite("stress", stress_of, theta, packing)
