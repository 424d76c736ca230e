"""What moves the parameters: which of them are free, the optimiser, its learning rate.

The learning rate is itself learned, as P0's published code does: it is sigmoid(η); after each step
the loss at the new parameters is differentiated by η through the step, and Adam moves η.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from amorph import bridge

from .files import Campaign, Clip, Schedule, component_groups

__all__ = ["Free", "Moved", "Optimization"]

Arrays = dict[str, Any]


class Free:
    """The free numbers behind a campaign's parameters: some are held, some stand for several."""

    def __init__(self, campaign: Campaign) -> None:
        self.places = component_groups(campaign)
        self._first = {
            name: np.array([np.flatnonzero(where == k)[0] for k in range(where.max() + 1)])
            for name, where in self.places.items()
        }

    def of(self, theta: bridge.PairPotential) -> Arrays:
        """The free numbers of some parameters, by parameter."""
        arrays = theta.arrays()
        return {name: jnp.asarray(arrays[name][first]) for name, first in self._first.items()}

    def put(self, free: Arrays, theta: bridge.PairPotential) -> bridge.PairPotential:
        """The parameters with their free numbers replaced; what is held stays."""
        arrays = theta.arrays()
        new = {}
        for name, where in self.places.items():
            new[name] = np.where(where >= 0, np.asarray(free[name])[where], arrays[name])
        return theta.replace(**new)

    def gathered(self, gradient: Mapping[str, NDArray[np.float64]]) -> Arrays:
        """A gradient by the free numbers: components that are one add up."""
        out = {}
        for name, where in self.places.items():
            free = where >= 0
            out[name] = np.bincount(where[free], gradient[name][free], len(self._first[name]))
        return out


@dataclass(frozen=True, eq=False)
class Moved:
    """The state of an optimisation: η, the optimiser's state and that of η's own, and dθ/dη."""

    eta: float
    optimizer: Any
    meta: Any
    slope: Arrays


class Optimization:
    """The optimiser that a campaign describes."""

    def __init__(self, campaign: Campaign) -> None:
        settings = campaign.optimizer
        self.free = Free(campaign)
        self._settings = settings
        self._bounds = {name: campaign.bounds_of(name) for name in self.free.places}
        make: Callable[..., Any] = getattr(optax, settings.kind)
        self._rule = optax.inject_hyperparams(make, static_args=tuple(settings.options))(
            learning_rate=settings.learning_rate, **settings.options
        )
        self._clip = clipping(settings.clip)
        self._share = schedule(settings.schedule)
        self._meta = optax.adam(settings.meta_learning_rate)
        self._update = jax.jit(self._update_and_slope)

    def start(self, theta: bridge.PairPotential) -> Moved:
        """The state before the first step."""
        rate = self._settings.learning_rate
        eta = float(np.log(rate / (1.0 - rate)))
        values = self.free.of(theta)
        nothing = {name: np.zeros(v.shape) for name, v in values.items()}
        return Moved(eta, self._rule.init(values), self._meta.init(jnp.asarray(eta)), nothing)

    def learning_rate(self, eta: float, number: int) -> float:
        """The rate of the step that follows step `number`."""
        return float(jax.nn.sigmoid(eta)) * float(self._share(number))

    def step(
        self, number: int, theta: bridge.PairPotential, gradient: Arrays, state: Moved
    ) -> tuple[bridge.PairPotential, Moved]:
        """The parameters after step `number`, and the state but for η, which `learn` moves."""
        new, slope, rule = self._update(
            jnp.asarray(state.eta),
            jnp.asarray(self._share(number), dtype=float),
            self.free.of(theta),
            self.free.gathered(gradient),
            state.optimizer,
        )
        return self.free.put(new, theta), Moved(state.eta, rule, state.meta, slope)

    def learn(self, gradient: Arrays, state: Moved) -> Moved:
        """η moved by the loss's gradient at the new parameters."""
        if self._settings.meta_learning_rate == 0:
            return state
        found = self.free.gathered(gradient)
        by_eta = sum(jnp.vdot(found[k], state.slope[k]) for k in found)
        change, meta = self._meta.update(by_eta, state.meta)
        eta = float(optax.apply_updates(jnp.asarray(state.eta), change))
        return Moved(eta, state.optimizer, meta, state.slope)

    def log(self, state: Moved) -> Arrays:
        """The state as a frame records it."""
        out: Arrays = {"eta": state.eta}
        for name, tree in (("optimizer", state.optimizer), ("meta", state.meta)):
            for k, leaf in enumerate(jax.tree_util.tree_leaves(tree)):
                out[f"{name}/{k}"] = np.asarray(leaf)
        return out

    def restored(self, theta: bridge.PairPotential, log: Mapping[str, NDArray[Any]]) -> Moved:
        """The state that a frame recorded, to the last bit."""
        start = self.start(theta)
        return Moved(
            float(log["eta"][0]),
            _filled(start.optimizer, log, "optimizer"),
            _filled(start.meta, log, "meta"),
            start.slope,
        )

    def _update_and_slope(
        self, eta: Any, share: Any, values: Arrays, gradient: Arrays, state: Any
    ) -> tuple[Arrays, Arrays, Any]:
        """New free numbers, their derivative by eta, and the optimiser's new state."""
        gradient, _ = self._clip.update(gradient, self._clip.init(values), values)

        def step(eta: Any) -> tuple[Arrays, Any]:
            rate = share * jax.nn.sigmoid(eta)
            hyper = {**state.hyperparams, "learning_rate": rate}
            change, new_state = self._rule.update(
                gradient, state._replace(hyperparams=hyper), values
            )
            moved = optax.apply_updates(values, change)
            return {k: jnp.clip(v, *self._bounds[k]) for k, v in moved.items()}, new_state

        (new, new_state), (slope, _) = jax.jvp(step, (eta,), (jnp.ones_like(eta),))
        return new, slope, new_state


def clipping(settings: Clip | None) -> optax.GradientTransformation:
    """The rule by which the loss's gradient is limited."""
    if settings is None:
        return optax.identity()
    if settings.kind == "norm":
        return optax.clip_by_global_norm(settings.limit)
    return optax.clip(settings.limit)


def schedule(settings: Schedule | None) -> Callable[[int], Any]:
    """What is left of the learning rate at a step, between 0 and 1."""
    if settings is None:
        return optax.constant_schedule(1.0)
    steps, end = settings.steps, settings.end
    if settings.kind == "halve":
        return lambda number: 0.5 ** (number // steps)
    if settings.kind == "linear":
        return optax.linear_schedule(1.0, end, steps)
    if settings.kind == "cosine":
        return optax.cosine_decay_schedule(1.0, steps, end)
    return optax.exponential_decay(1.0, steps, end, end_value=end)


def _filled(template: Any, log: Mapping[str, NDArray[Any]], name: str) -> Any:
    """A state of the template's structure with the leaves that a frame recorded."""
    leaves, structure = jax.tree_util.tree_flatten(template)
    out = []
    for k, leaf in enumerate(leaves):
        shape, dtype = np.shape(leaf), np.asarray(leaf).dtype
        out.append(jnp.asarray(log[f"{name}/{k}"].astype(dtype).reshape(shape)))
    return jax.tree_util.tree_unflatten(structure, out)
