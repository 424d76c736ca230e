"""Optimisers of first order: those of optax, and their learning rate.

The learning rate is itself learned, as in the published code of Zu and Goodrich, Commun. Mater. 5
(2024): it is sigmoid(η); after each step the loss at the new parameters is differentiated by η
through the step, and Adam moves η.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from amorph import bridge

from ...errors import RecordError
from .campaign import Campaign, Clip, Descent, Schedule
from .optimizer import Optimizer
from .steps import Arrays, Step

__all__ = ["DescentOptimizer", "Moved"]


@dataclass(frozen=True, eq=False)
class Moved:
    """The state of an optimisation: η, the optimiser's state and that of η's own, and dθ/dη."""

    eta: float
    optimizer: Any
    meta: Any
    slope: Arrays


class _Rules:
    """An optimiser and its learning rate's own, compiled."""

    def __init__(self, settings: Descent, bounds: Mapping[str, tuple[float, float]]) -> None:
        make: Callable[..., Any] = getattr(optax, settings.kind)
        self.optimizer = optax.inject_hyperparams(make, static_args=tuple(settings.options))(
            learning_rate=settings.learning_rate, **settings.options
        )
        self.meta = optax.adam(settings.meta_learning_rate)
        self._bounds = bounds
        self._clip = clipping(settings.clip)
        self._share = schedule(settings.schedule)
        self.update = jax.jit(self._update)
        self.learn = jax.jit(self._learn)
        self.rate = jax.jit(self._rate)

    def _rate(self, eta: Any, number: Any) -> Any:
        """The learning rate of the step that follows step `number`."""
        return self._share(number) * jax.nn.sigmoid(eta)

    def _update(
        self, eta: Any, number: Any, values: Arrays, gradient: Arrays, state: Any
    ) -> tuple[Arrays, Arrays, Any]:
        """New free numbers, their derivative by eta, and the optimiser's new state."""
        gradient, _ = self._clip.update(gradient, self._clip.init(values), values)

        def step(eta: Any) -> tuple[Arrays, Any]:
            hyper = {**state.hyperparams, "learning_rate": self._rate(eta, number)}
            change, new_state = self.optimizer.update(
                gradient, state._replace(hyperparams=hyper), values
            )
            moved = optax.apply_updates(values, change)
            return {k: jnp.clip(v, *self._bounds[k]) for k, v in moved.items()}, new_state

        (new, new_state), (slope, _) = jax.jvp(step, (eta,), (jnp.ones_like(eta),))
        return new, slope, new_state

    def _learn(self, eta: Any, gradient: Arrays, slope: Arrays, state: Any) -> tuple[Any, Any]:
        """η moved by the loss's gradient, and the state of η's own optimiser."""
        by_eta = sum(jnp.vdot(gradient[k], slope[k]) for k in gradient)
        change, state = self.meta.update(by_eta, state)
        return optax.apply_updates(eta, change), state


@cache
def _rules(settings: str, bounds: tuple[tuple[str, tuple[float, float]], ...]) -> _Rules:
    """The rules of a table (its JSON): compiled once for all the designs of a sweep."""
    return _Rules(Descent.model_validate_json(settings), dict(bounds))


class DescentOptimizer(Optimizer[Moved]):
    """An optimiser of optax, with a learning rate that may be learned or follow a schedule."""

    pace_name = "learning_rate"

    def __init__(self, campaign: Campaign, replica: int = 0) -> None:
        super().__init__(campaign, replica)
        assert isinstance(campaign.optimizer, Descent)
        self._settings = campaign.optimizer
        bounds = tuple((name, campaign.bounds_of(name)) for name in self.free.places)
        self._rules = _rules(self._settings.model_dump_json(), bounds)

    def start(self, theta: bridge.PairPotential) -> Moved:
        """As `Optimizer.start`."""
        rate = self._settings.learning_rate
        eta = float(np.log(rate / (1.0 - rate)))
        values = _on_jax(self.free.of(theta))
        nothing = {name: np.zeros(v.shape) for name, v in values.items()}
        rules = self._rules
        return Moved(eta, rules.optimizer.init(values), rules.meta.init(jnp.asarray(eta)), nothing)

    def pace(self, state: Moved, number: int) -> float:
        """As `Optimizer.pace`: the learning rate."""
        return float(self._rules.rate(state.eta, number))

    def propose(self, step: Step) -> tuple[bridge.PairPotential, Moved]:
        """As `Optimizer.propose`."""
        return self.step(step.number, step.theta, step.gradient, step.state)

    def step(
        self, number: int, theta: bridge.PairPotential, gradient: Arrays, state: Moved
    ) -> tuple[bridge.PairPotential, Moved]:
        """The parameters after step `number`, and the state but for η, which `learn` moves."""
        values, gradient = _on_jax(self.free.of(theta)), self.free.gathered(gradient)
        new, slope, rule = self._rules.update(state.eta, number, values, gradient, state.optimizer)
        return self.free.put(new, theta), Moved(state.eta, rule, state.meta, slope)

    def judge(self, step: Step, trial: Step) -> Step:
        """As `Optimizer.judge`: every step is taken, and the rate learns from it."""
        state = self.learn(trial.gradient, trial.state)
        return replace(trial, state=state, pace=self.pace(state, trial.number))

    def learn(self, gradient: Arrays, state: Moved) -> Moved:
        """η moved by the loss's gradient at the new parameters."""
        if self._settings.meta_learning_rate == 0:
            return state
        eta, meta = self._rules.learn(
            state.eta, self.free.gathered(gradient), state.slope, state.meta
        )
        return Moved(float(eta), state.optimizer, meta, state.slope)

    def log(self, state: Moved) -> Arrays:
        """As `Optimizer.log`."""
        out: Arrays = {"eta": state.eta}
        for name, tree in (("optimizer", state.optimizer), ("meta", state.meta)):
            for k, leaf in enumerate(jax.tree_util.tree_leaves(tree)):
                out[f"{name}/{k}"] = np.asarray(leaf)
        return out

    def restored(self, theta: bridge.PairPotential, log: Mapping[str, NDArray[Any]]) -> Moved:
        """As `Optimizer.restored`."""
        if "eta" not in log:
            raise RecordError(
                f"its frames are not of a design with [optimizer] kind = {self._settings.kind!r}: "
                "go on with the campaign that began it."
            )
        start = self.start(theta)
        return Moved(
            float(log["eta"][0]),
            _filled(start.optimizer, log, "optimizer"),
            _filled(start.meta, log, "meta"),
            start.slope,
        )


def _on_jax(values: Arrays) -> Arrays:
    return {name: jnp.asarray(v) for name, v in values.items()}


def clipping(settings: Clip | None) -> optax.GradientTransformation:
    """The rule by which the loss's gradient is limited."""
    if settings is None:
        return optax.identity()
    if settings.kind == "norm":
        return optax.clip_by_global_norm(settings.limit)
    return optax.clip(settings.limit)


def schedule(settings: Schedule | None) -> Callable[[int], Any]:
    """The learning rate at a step as a part of the first, between 0 and 1."""
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
