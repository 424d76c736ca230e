"""Design: parameters optimised until packings have the properties that a campaign asks for.

``individual``: the minima of one or several packings are followed while their common parameters
change, and each packing is to reach the targets: the loss is Σ_packings Σ w (f - target)².
``ensemble``: packings are prepared anew at every step, and their mean is: Σ w (⟨f⟩ - target)². The
two are "Training individual configurations" and "Training ensemble-average quantities" of Zu and
Goodrich, Commun. Mater. 5 (2024).

Everything a step needs stands in its frame, so that a run goes on from any frame as if it had
never stopped. The packings of a step are spread over ranks; sums over them go in their order.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph import bridge
from amorph.bridge.matter.files import frame_of
from amorph.handover import Frame

from ...errors import DesignError, NotFiniteError
from ...spread.teams import OneRank, Team
from .campaign import Campaign
from .confirming import (
    PART,
    Confirmation,
    nearest,
    next_crossed,
    probe,
    probe_member,
    tolerances,
)
from .members import Member, Order, first_member, follow_numbered, fresh_member
from .optimizers import Moved, Optimization

__all__ = ["Design", "Step", "Verdict"]

Arrays = dict[str, Any]
# An ensemble's step needs this part of its packings.
LEAST_MEASURED = 0.5


@dataclass(frozen=True, eq=False)
class Step:
    """A design after some steps: the packings at rest at its parameters, and the optimiser.

    Attributes
    ----------
    number:
        How many steps were taken.
    packings:
        Followed packings; of an ensemble the first that was measured.
    theta:
        The interactions.
    loss, value:
        The loss, and each objective's value, (n_objectives,), the mean over packings.
    each:
        Each packing's values (n_packings, n_objectives), NaN where it could not be measured.
    gradient:
        dloss/dparameter, by parameter.
    learning_rate:
        Of the step that follows.
    state:
        Of the optimiser.
    rearranged, crossings, moved:
        Of each packing, what happened in the step that led here: see `amorph.bridge.follow`.
    limited:
        Of each packing, whether its gradient was cut to the campaign's limit.
    before:
        The interactions one step before; None at step 0.
    """

    number: int
    packings: tuple[bridge.Packing, ...]
    theta: bridge.PairPotential
    loss: float
    value: NDArray[np.float64]
    each: NDArray[np.float64]
    gradient: Arrays
    learning_rate: float
    state: Moved
    rearranged: NDArray[np.bool_]
    crossings: NDArray[np.int64]
    moved: NDArray[np.float64]
    limited: NDArray[np.bool_]
    before: bridge.PairPotential | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether a design ends with a step.

    `ended` is ``converged``, ``step_limit``, or None while there is more to do; `confirmation` says
    whether a loss below the threshold holds, and is None where the loss is not below it.
    """

    ended: str | None
    confirmation: Confirmation | None = None


class Design:
    """The optimisation that a campaign (one point of its sweep) describes.

    Parameters
    ----------
    campaign:
        The design.
    replica:
        Which packings of the preparation it is about: an individual design's first one is
        `replica` times their number.
    ranks:
        Who computes the packings.
    """

    def __init__(self, campaign: Campaign, replica: int = 0, ranks: Team | None = None) -> None:
        self.campaign = campaign
        self.features = [bridge.feature(o.feature) for o in campaign.objective]
        self.target = np.array([o.target for o in campaign.objective])
        self.weight = np.array([o.weight for o in campaign.objective])
        self.parameters = tuple(campaign.design.parameters)
        n = campaign.design.n_packings
        self.replicas = range(replica * n, (replica + 1) * n)
        self._followed = campaign.design.kind == "individual"
        self._optimization = Optimization(campaign)
        self._ranks = ranks or OneRank()

    def start(self) -> Step:
        """Step 0: packings prepared and measured with the campaign's own parameters.

        Raises `RecordError` where one cannot be prepared, else as `amorph.bridge.relax` and
        `amorph.bridge.measure` do.
        """
        theta = self.campaign.potential.theta()
        state = self._optimization.start(theta)
        order = Order(self.campaign, theta, theta, 0)
        if self._followed:
            members = self._ranks.map(first_member, order, self.replicas)
        else:
            members = self._fresh(order)
        return self._step(0, theta, members, state)

    def advance(self, step: Step) -> Step:
        """One step of the optimiser, the packings brought to the new parameters and measured.

        Raises `DesignError` if there are no packings with a linear response there,
        `NotFiniteError` if a value, the loss or the gradient is not finite.
        """
        self._check_gradient(step.number, step.gradient)  # a frame may hold an earlier version's
        theta, state = self._optimization.step(step.number, step.theta, step.gradient, step.state)
        number = step.number + 1
        if self._followed:
            order = Order(self.campaign, theta, step.theta, 0)
            try:
                members = self._ranks.map(
                    follow_numbered, order, list(zip(self.replicas, step.packings, strict=True))
                )
            except NotFiniteError as error:
                raise NotFiniteError(f"step {number}: {error}") from error
            except (
                bridge.errors.RelaxationError,
                bridge.errors.NotAMinimumError,
                bridge.errors.RattlerError,
            ) as error:
                raise DesignError(
                    f"step {number}: no packing to go on from at the new parameters: {error}"
                ) from error
        else:
            common = self.campaign.design.starts == "common"
            members = self._fresh(Order(self.campaign, theta, theta, 0 if common else number))
        return self._step(number, theta, members, state, before=step.theta)

    def verdict(self, step: Step) -> Verdict:
        """Whether a step is the last, and whether its loss below the threshold holds.

        Where the loss is below the threshold, the values are measured at two changes of the
        parameters (see `amorph.campaigns.studies.design.confirming`): a design has converged where
        they stay within the threshold, and goes on where they do not. Where it ends, the next pair
        crossing is looked for in both senses.
        """
        threshold = self.campaign.threshold
        at_limit = step.number >= self.campaign.stop.steps
        if threshold is None or not step.loss < threshold:
            return Verdict("step_limit" if at_limit else None)
        along, change = self._along(step)
        thetas = [self._changed(step.theta, change, part) for part in (PART, -PART)]
        probes = [
            probe(part, self._probed(step, theta), self.campaign, LEAST_MEASURED)
            for part, theta in zip((PART, -PART), thetas, strict=True)
        ]
        holds = all(p.holds for p in probes)
        ended = "converged" if holds else "step_limit" if at_limit else None
        if ended and self._followed:
            probes = [
                replace(p, next_crossing=self._next_crossing(step, theta, p.part))
                for p, theta in zip(probes, thetas, strict=True)
            ]
        first, second = probes
        tolerance = tolerances(self.campaign)
        return Verdict(ended, Confirmation(holds, along, tolerance, (first, second)))

    def _along(self, step: Step) -> tuple[str, Arrays]:
        """A change of the free parameters, and its name: the last step, or one in place of it."""
        now = _plain(self._optimization.free.of(step.theta))

        def change(other: bridge.PairPotential) -> Arrays:
            return {k: v - now[k] for k, v in _plain(self._optimization.free.of(other)).items()}

        if step.before is not None:
            last = {k: -v for k, v in change(step.before).items()}
            if any(v.any() for v in last.values()):
                return "last step", last
        if all(np.isfinite(g).all() for g in step.gradient.values()):
            theta, _ = self._optimization.step(step.number, step.theta, step.gradient, step.state)
            following = change(theta)
            if any(v.any() for v in following.values()):
                return "next step", following
        return "all parameters", {k: 1e-3 * v for k, v in now.items()}

    def _changed(
        self, theta: bridge.PairPotential, change: Arrays, part: float
    ) -> bridge.PairPotential:
        """Parameters moved by a part of a change, within their bounds."""
        free = self._optimization.free
        now = _plain(free.of(theta))
        moved = {
            k: np.clip(v + part * change[k], *self.campaign.bounds_of(k)) for k, v in now.items()
        }
        return free.put(moved, theta)

    def _probed(self, step: Step, theta: bridge.PairPotential) -> list[Member]:
        """The packings at other parameters: followed there, or prepared from the same starts."""
        if self._followed:
            order = Order(self.campaign, theta, step.theta, 0)
            return self._ranks.map(probe_member, order, step.packings)
        number = 0 if self.campaign.design.starts == "common" else step.number
        order = Order(self.campaign, theta, theta, number, shown=-1)
        return self._ranks.map(fresh_member, order, self.replicas)

    def _next_crossing(
        self, step: Step, theta: bridge.PairPotential, part: float
    ) -> dict[str, Any] | None:
        order = Order(self.campaign, theta, step.theta, 0)
        return nearest(self._ranks.map(next_crossed, order, step.packings), part)

    def frame(self, step: Step) -> Frame:
        """A step as a frame of `run.gsd`."""
        log: dict[str, Any] = {
            "step": step.number,
            "loss": step.loss,
            "value": step.value,
            "target": self.target,
            "weight": self.weight,
            "learning_rate": step.learning_rate,
            "each": step.each.ravel(),
            "rearranged": step.rearranged,
            "crossings": step.crossings,
            "moved": step.moved,
            "limited": step.limited,
        }
        log.update({f"gradient/{k}": v for k, v in step.gradient.items()})
        log.update(self._optimization.log(step.state))
        if self._followed and len(step.packings) > 1:
            log["packings/positions"] = np.concatenate([p.positions for p in step.packings])
            log["packings/images"] = np.concatenate([_images(p) for p in step.packings])
            log["packings/typeid"] = np.stack([p.typeid for p in step.packings])
        return frame_of(step.theta, step.packings[0], log)

    def resume(self, frame: Frame, before: bridge.PairPotential | None = None) -> Step:
        """The step that a frame was written from, to the last bit; `before` as in `Step`."""
        assert frame.potential is not None
        theta = bridge.from_arrays(frame.potential, frame.parameters)
        log = frame.log
        first = bridge.Packing.from_frame(frame)
        packings: tuple[bridge.Packing, ...] = (first,)
        if "packings/positions" in log:
            n = len(self.replicas)
            packings = tuple(
                bridge.Packing.of(x, typeid, first.box, images=images)
                for x, typeid, images in zip(
                    np.split(log["packings/positions"], n),
                    log["packings/typeid"],
                    np.split(log["packings/images"], n),
                    strict=True,
                )
            )
        return Step(
            number=int(log["step"][0]),
            packings=packings,
            theta=theta,
            loss=float(log["loss"][0]),
            value=log["value"],
            each=log["each"].reshape(len(self.replicas), -1),
            gradient={k: log[f"gradient/{k}"] for k in self.parameters},
            learning_rate=float(log["learning_rate"][0]),
            state=self._optimization.restored(theta, log),
            rearranged=log["rearranged"].astype(bool),
            crossings=log["crossings"],
            moved=log["moved"],
            limited=log["limited"].astype(bool),
            before=before,
        )

    def _fresh(self, order: Order) -> list[Member]:
        """Fresh packings measured; only the first that could be comes itself, with its values."""
        order = replace(order, shown=self.replicas[0])
        members = self._ranks.map(fresh_member, order, self.replicas)
        k = next((k for k, member in enumerate(members) if not member.failure), 0)
        if k:
            order = replace(order, shown=self.replicas[k])
            members[k : k + 1] = self._ranks.map(fresh_member, order, [self.replicas[k]])
        return members

    def _step(
        self,
        number: int,
        theta: bridge.PairPotential,
        members: list[Member],
        state: Moved,
        *,
        before: bridge.PairPotential | None = None,
    ) -> Step:
        each = np.stack([m.value for m in members])
        measured: NDArray[np.bool_] = np.asarray(np.isfinite(each).all(axis=1))
        if measured.sum() < max(1, LEAST_MEASURED * len(members)):
            raise DesignError(
                f"step {number}: {len(members) - int(measured.sum())} of {len(members)} packings "
                f"could not be measured, the first because of "
                + next(m.failure for m in members if m.failure)
            )
        value = each[measured].mean(axis=0)
        if self._followed:
            off = each - self.target
            pulls = 2.0 * self.weight * off
        else:
            off = value - self.target
            pulls = np.where(measured[:, None], 2.0 * self.weight * off / measured.sum(), 0.0)
        # By packing and parameter; summed in the packings' order.
        slopes = {
            name: np.stack(
                [
                    pull @ m.slope(name) if good else np.zeros(m.slopes[name].shape[1])
                    for pull, m, good in zip(pulls, members, measured, strict=True)
                ]
            )
            for name in self.parameters
        }
        with np.errstate(over="ignore"):
            loss = float(np.sum(self.weight * off**2))
        if not np.isfinite(loss):
            raise NotFiniteError(
                f"step {number}: the loss is {loss}, of values {value.tolist()} beside the targets "
                f"{self.target.tolist()}: they are beyond what numbers can hold."
            )
        limited = self._limit(slopes, measured)
        gradient = {name: np.add.reduce(parts, axis=0) for name, parts in slopes.items()}
        self._check_gradient(number, gradient, slopes)
        if before is not None:
            state = self._optimization.learn(gradient, state)
        kept = [m.packing for m in members if m.packing is not None]
        return Step(
            number=number,
            packings=tuple(kept if self._followed else kept[:1]),
            theta=theta,
            loss=loss,
            value=value,
            each=each,
            gradient=gradient,
            learning_rate=self._optimization.learning_rate(state.eta, number),
            state=state,
            rearranged=np.array([m.rearranged for m in members]),
            crossings=np.array([m.crossings for m in members]),
            moved=np.array([m.moved for m in members]),
            limited=limited,
            before=before,
        )

    def _check_gradient(self, number: int, gradient: Arrays, slopes: Arrays | None = None) -> None:
        """Raise `NotFiniteError` for the loss's gradient, naming parameter and packing.

        A packing's own derivatives are finite, or it was refused with what its lowest eigenvalue
        says: these here are products and sums of theirs.
        """
        for name, values in gradient.items():
            wrong = np.flatnonzero(~np.isfinite(values))
            if not wrong.size:
                continue
            k = int(wrong[0])
            of = ""
            if slopes is not None:
                packings = np.flatnonzero(~np.isfinite(slopes[name][:, k]))
                of = "".join(f", from replica {self.replicas[p]}" for p in packings[:1].tolist())
            component = self.campaign.components(name)[k]
            raise NotFiniteError(
                f"step {number}: the loss's gradient by {name}[{component}] "
                f"is {values[k]}{of}. Start from another packing, or lower the learning rate."
            )

    def _limit(self, slopes: Arrays, measured: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Cut gradients that are long beside the step's median one; which were cut.

        Near an instability a packing's gradient grows without bound (as the inverse of its lowest
        eigenvalue): one of them would outweigh all others of the step, and of many steps.
        """
        limit = self.campaign.design.limit
        length = np.sqrt(sum(np.sum(parts**2, axis=1) for parts in slopes.values()))
        if not limit:
            return np.zeros(len(length), dtype=bool)
        longest = limit * float(np.median(length[measured]))
        limited: NDArray[np.bool_] = length > longest
        for parts in slopes.values():
            parts[limited] *= (longest / length[limited])[:, None]
        return limited


def _plain(values: Arrays) -> Arrays:
    return {name: np.asarray(v) for name, v in values.items()}


def _images(packing: bridge.Packing) -> NDArray[np.int32]:
    none = np.zeros(packing.positions.shape, dtype=np.int32)
    return none if packing.images is None else packing.images
