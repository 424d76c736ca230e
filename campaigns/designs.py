"""Individual design: one packing's minimum is followed while its interactions are optimised.

P0, "Training individual configurations". The loss is Σ w (f - target)² over the objectives. The
learning rate is itself learned, as P0's published code does: it is sigmoid(η); after each step
the loss at the new parameters is differentiated by η through the step, and Adam moves η.

Everything a step needs stands in its frame, so that a run goes on from any frame as if it had
never stopped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from amorph import bridge
from amorph.handover import Frame

from .errors import DesignError
from .files import Campaign

__all__ = ["Design", "Step"]

Arrays = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Step:
    """A design after some steps: the packing at rest at its parameters, and the optimiser.

    Attributes
    ----------
    number:
        How many steps were taken.
    packing, theta:
        The followed packing and its interactions.
    loss, value:
        The loss and each objective's value, (n_objectives,).
    gradient:
        dloss/dparameter, by parameter.
    eta, learning_rate:
        The learning rate is sigmoid(eta), halved as often as the campaign's schedule says.
    optimizer, meta:
        The states of the optimiser and of the one that moves eta.
    rearranged, crossings, moved:
        What happened in the step that led here: see `amorph.bridge.Followed`.
    """

    number: int
    packing: bridge.Packing
    theta: bridge.PairPotential
    loss: float
    value: NDArray[np.float64]
    gradient: Arrays
    eta: float
    learning_rate: float
    optimizer: Any
    meta: Any
    rearranged: bool
    crossings: int
    moved: float


class Design:
    """The optimisation that a campaign (one point of its sweep) describes."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.features = [bridge.feature(o.feature) for o in campaign.objective]
        self.target = np.array([o.target for o in campaign.objective])
        self.weight = np.array([o.weight for o in campaign.objective])
        self.parameters = tuple(campaign.design.parameters)
        self.bounds = {name: campaign.bounds_of(name) for name in self.parameters}
        make: Callable[..., Any] = getattr(optax, campaign.optimizer.kind)
        self._optimizer = optax.inject_hyperparams(make)(
            learning_rate=campaign.optimizer.learning_rate
        )
        self._meta = optax.adam(campaign.optimizer.meta_learning_rate)
        self._update = jax.jit(self._update_and_slope)

    def start(self, packing: bridge.Packing) -> Step:
        """Step 0: the packing relaxed and measured with the campaign's own parameters.

        Raises as `amorph.bridge.relax` and `amorph.bridge.measure` do.
        """
        theta = self.campaign.potential.theta()
        rest = bridge.relax(packing, theta).wrapped()
        loss, value, gradient = self._measure(rest, theta)
        rate = self.campaign.optimizer.learning_rate
        eta = float(np.log(rate / (1.0 - rate)))
        return Step(
            number=0,
            packing=rest,
            theta=theta,
            loss=loss,
            value=value,
            gradient=gradient,
            eta=eta,
            learning_rate=rate,
            optimizer=self._optimizer.init(self._designed(theta)),
            meta=self._meta.init(jnp.asarray(eta)),
            rearranged=False,
            crossings=0,
            moved=0.0,
        )

    def advance(self, step: Step) -> Step:
        """One step of the optimiser, the minimum followed to the new parameters and measured.

        Raises `DesignError` if no packing with a linear response is found there, or if the
        gradient is not finite.
        """
        if not all(np.isfinite(g).all() for g in step.gradient.values()):
            raise DesignError(
                f"step {step.number}: the gradient is not finite: the packing is at the edge of "
                "stability. Start from another packing, or lower the learning rate."
            )
        old = self._designed(step.theta)
        new, slope, state = self._update(
            jnp.asarray(step.eta), self._share(step.number), old, step.gradient, step.optimizer
        )
        theta = step.theta.replace(**{k: np.asarray(v) for k, v in new.items()})
        try:
            followed = bridge.follow(step.packing, step.theta, theta)
            packing = followed.packing.wrapped()
            loss, value, gradient = self._measure(packing, theta)
        except (bridge.RelaxationError, bridge.NotAMinimumError, bridge.RattlerError) as error:
            raise DesignError(
                f"step {step.number + 1}: no packing to go on from at the new parameters: {error}"
            ) from error
        eta, meta = jnp.asarray(step.eta), step.meta
        if self.campaign.optimizer.meta_learning_rate > 0:
            by_eta = sum(jnp.vdot(gradient[k], slope[k]) for k in self.parameters)
            change, meta = self._meta.update(by_eta, meta)
            eta = optax.apply_updates(eta, change)
        return Step(
            number=step.number + 1,
            packing=packing,
            theta=theta,
            loss=loss,
            value=value,
            gradient=gradient,
            eta=float(eta),
            learning_rate=float(jax.nn.sigmoid(eta)) * self._share(step.number + 1),
            optimizer=state,
            meta=meta,
            rearranged=followed.rearranged,
            crossings=followed.crossings,
            moved=followed.moved,
        )

    def finished(self, step: Step) -> str | None:
        """``converged``, ``step_limit``, or None while there is more to do."""
        if step.loss < self.campaign.stop.loss:
            return "converged"
        return "step_limit" if step.number >= self.campaign.stop.steps else None

    def frame(self, step: Step) -> Frame:
        """A step as a frame of `run.gsd`."""
        log: dict[str, Any] = {
            "step": step.number,
            "loss": step.loss,
            "value": step.value,
            "target": self.target,
            "weight": self.weight,
            "learning_rate": step.learning_rate,
            "rearranged": step.rearranged,
            "crossings": step.crossings,
            "moved": step.moved,
            "eta": step.eta,
        }
        log.update({f"gradient/{k}": v for k, v in step.gradient.items()})
        for name, state in (("optimizer", step.optimizer), ("meta", step.meta)):
            for k, leaf in enumerate(jax.tree_util.tree_leaves(state)):
                log[f"{name}/{k}"] = np.asarray(leaf)
        return bridge.frame_of(step.packing, step.theta, log)

    def resume(self, frame: Frame) -> Step:
        """The step that a frame was written from, to the last bit."""
        assert frame.potential is not None
        theta = bridge.from_arrays(frame.potential, frame.parameters)
        log = frame.log

        def number(key: str) -> float:
            return float(log[key][0])

        designed = self._designed(theta)
        eta = number("eta")
        return Step(
            number=int(number("step")),
            packing=bridge.Packing.from_frame(frame),
            theta=theta,
            loss=number("loss"),
            value=log["value"],
            gradient={k: log[f"gradient/{k}"] for k in self.parameters},
            eta=eta,
            learning_rate=number("learning_rate"),
            optimizer=_filled(self._optimizer.init(designed), log, "optimizer"),
            meta=_filled(self._meta.init(jnp.asarray(eta)), log, "meta"),
            rearranged=bool(number("rearranged")),
            crossings=int(number("crossings")),
            moved=number("moved"),
        )

    def _share(self, number: int) -> float:
        """What the schedule leaves of the learning rate in a step."""
        every = self.campaign.optimizer.halve_every
        return 0.5 ** (number // every) if every else 1.0

    def _designed(self, theta: bridge.PairPotential) -> Arrays:
        arrays = theta.arrays()
        return {name: jnp.asarray(arrays[name]) for name in self.parameters}

    def _measure(
        self, packing: bridge.Packing, theta: bridge.PairPotential
    ) -> tuple[float, NDArray[np.float64], Arrays]:
        measured = bridge.measure(packing, theta, (), self.features)
        value = np.array([measured.values[f.name] for f in self.features])
        off = self.weight * (value - self.target)
        gradient: Arrays = {}
        for name in self.parameters:
            slopes = [measured.gradients[f.name].arrays()[name] for f in self.features]
            gradient[name] = np.asarray(2.0 * np.einsum("f,fk->k", off, np.stack(slopes)))
        return float(np.sum(off * (value - self.target))), value, gradient

    def _update_and_slope(
        self, eta: Any, share: Any, values: Arrays, gradient: Arrays, state: Any
    ) -> tuple[Arrays, Arrays, Any]:
        """New parameters, their derivative by eta, and the optimiser's new state."""

        def step(eta: Any) -> tuple[Arrays, Any]:
            rate = share * jax.nn.sigmoid(eta)
            hyper = {**state.hyperparams, "learning_rate": rate}
            change, new_state = self._optimizer.update(
                gradient, state._replace(hyperparams=hyper), values
            )
            moved = optax.apply_updates(values, change)
            return {k: jnp.clip(v, *self.bounds[k]) for k, v in moved.items()}, new_state

        (new, new_state), (slope, _) = jax.jvp(step, (eta,), (jnp.ones_like(eta),))
        return new, slope, new_state


def _filled(template: Any, log: dict[str, NDArray[Any]], name: str) -> Any:
    """A state of the template's structure with the leaves that a frame recorded."""
    leaves, structure = jax.tree_util.tree_flatten(template)
    out = []
    for k, leaf in enumerate(leaves):
        shape, dtype = np.shape(leaf), np.asarray(leaf).dtype
        out.append(jnp.asarray(log[f"{name}/{k}"].astype(dtype).reshape(shape)))
    return jax.tree_util.tree_unflatten(structure, out)
