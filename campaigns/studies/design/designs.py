"""Design: parameters optimised until packings have the properties that a campaign asks for.

``individual``: the minima of one or several packings are followed while their common parameters
change, and each packing is to reach the targets: the loss is Σ_packings Σ w (f - target)².
``ensemble``: packings are prepared anew at every step, and their mean is: Σ w (⟨f⟩ - target)². The
two are "Training individual configurations" and "Training ensemble-average quantities" of Zu and
Goodrich, Commun. Mater. 5 (2024).

Everything a step needs stands in its frame, so that a run goes on from any frame as if it had
never stopped. The packings of a step are spread over ranks; sums over them go in their order.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph import bridge
from amorph.bridge.matter.files import frame_of
from amorph.handover import Frame

from ...errors import DesignError, NotFiniteError
from ...spread.teams import OneRank, Team
from ..averaging import cut
from .campaign import Campaign
from .confirming import (
    WITHIN,
    Confirmation,
    nearest,
    next_crossed,
    probe,
    probe_member,
    tolerances,
)
from .descent import DescentOptimizer
from .gauss_newton import GaussNewtonOptimizer
from .gauss_newton_means import MeanGaussNewtonOptimizer
from .members import Member, Order, first_member, follow_numbered, fresh_member, near_member
from .optimizer import Optimizer
from .steps import Arrays, Step, Verdict

__all__ = ["Design"]

# An ensemble's step needs this part of its packings.
LEAST_MEASURED = 0.5


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
        self.features = [bridge.feature(o.feature) for o in campaign.objective]
        self.weight = np.array([o.weight for o in campaign.objective])
        self.parameters = tuple(campaign.design.parameters)
        n = campaign.design.n_packings
        self.replicas = range(replica * n, (replica + 1) * n)
        self._followed = campaign.design.kind == "individual"
        self._ranks = ranks or OneRank()
        self._replica = replica
        self._aim(campaign)

    def _aim(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.target = np.array([o.target for o in campaign.objective])
        self._optimizer = optimizer_of(campaign, self._replica)

    def start(self) -> Step:
        """Step 0: packings prepared and measured with the campaign's own parameters.

        Raises `RecordError` where one cannot be prepared, else as `amorph.bridge.relax` and
        `amorph.bridge.measure` do.
        """
        theta = self.campaign.potential.theta()
        state = self._optimizer.start(theta)
        order = Order(self.campaign, theta, theta, 0)
        if self._followed:
            members = self._ranks.map(first_member, order, self.replicas)
            if self.campaign.changes:
                self._aim(self.campaign.from_values(members[0].value.tolist()))
        else:
            members = self._fresh(order)
        return self._step(0, theta, members, state)

    def advance(self, step: Step) -> Step:
        """One step of the optimiser, the packings brought to the new parameters and measured.

        Raises `DesignError` if there are no packings with a linear response there,
        `NotFiniteError` if a value, the loss or the gradient is not finite.
        """
        self._check_gradient(step.number, step.gradient)  # a frame may hold an earlier version's
        if self._followed and self._optimizer.needs_gaps and not step.near:
            # Of the packings as a frame has them: a resumed design finds the same.
            order = Order(self.campaign, step.theta, step.theta, 0)
            step = replace(step, near=tuple(self._ranks.map(near_member, order, step.packings)))
        theta, state = self._optimizer.propose(step)
        number = step.number + 1
        if self._followed:
            order = Order(self.campaign, theta, step.theta, 0, descent=self._optimizer.descent)
            numbered = list(zip(self.replicas, step.packings, strict=True))
            try:
                members = self._ranks.map(follow_numbered, order, numbered)
            except self._optimizer.refusals as error:
                return self._optimizer.refused(step, state, error)
        else:
            common = self.campaign.design.starts == "common"
            members = self._fresh(Order(self.campaign, theta, theta, 0 if common else number))
        try:
            trial = self._step(number, theta, members, state, before=step.theta)
        except DesignError as error:
            if DesignError not in self._optimizer.refusals:
                raise
            return self._optimizer.refused(step, state, error)
        return self._optimizer.judge(step, trial)

    def verdict(self, step: Step) -> Verdict:
        """Whether a step is the last, and whether its loss below the threshold holds.

        Where the loss is below the threshold, the values are measured at two changes of the
        parameters (see `amorph.campaigns.studies.design.confirming`): a design has converged where
        they stay within the threshold, and goes on where they do not. Where it ends, the next pair
        crossing is looked for in both senses.
        """
        threshold = self.campaign.threshold
        at_limit = step.number >= self.campaign.stop.steps
        if self._optimizer.arrived(step):
            return Verdict("converged")
        ended = "step_limit" if at_limit else None
        if self._optimizer.out_of_reach(step):
            ended = "out_of_reach"
        below = threshold is not None and step.loss < threshold
        # Where nothing was taken, the last verdict stands: what is below does not hold.
        if not below or not (step.accepted or at_limit):
            return Verdict(ended)
        along = self._optimizer.along(step)
        parts = (along.part, -along.part)
        thetas = [self._changed(step.theta, along.change, part) for part in parts]
        probes = [
            probe(part, self._probed(step, theta), self.campaign, LEAST_MEASURED)
            for part, theta in zip(parts, thetas, strict=True)
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
        return Verdict(ended, Confirmation(holds, along.name, tolerance, (first, second)))

    def estimated(self, step: Step) -> dict[str, Any] | None:
        """The optimiser's estimates at a step; None where they are what was measured."""
        return self._optimizer.told(step)

    def reason(self, step: Step) -> str:
        """Why a step may be as far as its optimiser comes; empty where there is nothing to say."""
        return self._optimizer.out_of_reach(step) or self._optimizer.reason(step)

    def _changed(
        self, theta: bridge.PairPotential, change: Arrays, part: float
    ) -> bridge.PairPotential:
        """Parameters moved by a part of a change, within their bounds."""
        free = self._optimizer.free
        moved = {
            k: np.clip(v + part * change[k], *self.campaign.bounds_of(k))
            for k, v in free.of(theta).items()
        }
        return free.put(moved, theta)

    def _probed(self, step: Step, theta: bridge.PairPotential) -> list[Member]:
        """The packings at other parameters: followed there, or prepared from the same starts."""
        if self._followed:
            order = Order(self.campaign, theta, step.theta, 0, descent=self._optimizer.descent)
            return self._ranks.map(probe_member, order, step.packings)
        number = 0 if self.campaign.design.starts == "common" else step.number
        order = Order(self.campaign, theta, theta, number, shown=-1)
        return self._ranks.map(fresh_member, order, self.replicas)

    def _next_crossing(
        self, step: Step, theta: bridge.PairPotential, part: float
    ) -> dict[str, Any] | None:
        order = Order(self.campaign, theta, step.theta, 0, reach=WITHIN / abs(part))
        return nearest(self._ranks.map(next_crossed, order, step.packings), part)

    def frame(self, step: Step) -> Frame:
        """A step as a frame of `run.gsd`."""
        log: dict[str, Any] = {
            "step": step.number,
            "loss": step.loss,
            "value": step.value,
            "target": self.target,
            "weight": self.weight,
            self._optimizer.pace_name: step.pace,
            "each": step.each.ravel(),
            "rearranged": step.rearranged,
            "crossings": step.crossings,
            "moved": step.moved,
            "limited": step.limited,
        }
        if self._optimizer.needs_slopes:
            log["accepted"] = step.accepted
            log.update({f"slopes/{k}": v.ravel() for k, v in step.slopes.items()})
        log.update({f"gradient/{k}": v for k, v in step.gradient.items()})
        log.update(self._optimizer.log(step.state))
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
        if self.campaign.changes:
            self._aim(self.campaign.to_targets(log["target"].tolist()))
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
        # First, since it tells a frame of another optimiser.
        state = self._optimizer.restored(theta, log)
        slopes = {}
        if self._optimizer.needs_slopes:
            shape = (len(self.replicas), len(self.features), -1)
            slopes = {k: log[f"slopes/{k}"].reshape(shape) for k in self.parameters}
        return Step(
            number=int(log["step"][0]),
            packings=packings,
            theta=theta,
            loss=float(log["loss"][0]),
            value=log["value"],
            each=log["each"].reshape(len(self.replicas), -1),
            gradient={k: log[f"gradient/{k}"] for k in self.parameters},
            pace=float(log[self._optimizer.pace_name][0]),
            state=state,
            rearranged=log["rearranged"].astype(bool),
            crossings=log["crossings"],
            moved=log["moved"],
            limited=log["limited"].astype(bool),
            before=before,
            slopes=slopes,
            accepted=bool(log["accepted"][0]) if "accepted" in log else True,
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
        state: Any,
        *,
        before: bridge.PairPotential | None = None,
    ) -> Step:
        each = np.stack([m.value for m in members])
        measured: NDArray[np.bool_] = np.asarray(np.isfinite(each).all(axis=1))
        counted = self.campaign.counted(each)
        if counted.sum(axis=0).min() < max(1, LEAST_MEASURED * len(members)):
            raise DesignError(f"step {number}: {self._few(members, measured, counted)}")
        value = np.where(counted, each, 0.0).sum(axis=0) / counted.sum(axis=0)
        if self._followed:
            off = each - self.target
            pulls = 2.0 * self.weight * off
        else:
            off = value - self.target
            pulls = np.where(counted, 2.0 * self.weight * off / counted.sum(axis=0), 0.0)
        own = {name: np.stack([m.slope(name) for m in members]) for name in self.parameters}
        # By packing and parameter; summed in the packings' order.
        slopes = {
            name: np.stack(
                [
                    pull @ one if good else np.zeros(one.shape[1])
                    for pull, one, good in zip(pulls, ones, measured, strict=True)
                ]
            )
            for name, ones in own.items()
        }
        with np.errstate(over="ignore"):
            loss = float(np.sum(self.weight * off**2))
        if not np.isfinite(loss):
            raise NotFiniteError(
                f"step {number}: the loss is {loss}, of values {value.tolist()} beside the targets "
                f"{self.target.tolist()}: they are beyond what numbers can hold."
            )
        limited = self._limit(slopes, np.asarray(counted.any(axis=1)))
        gradient = {name: np.add.reduce(parts, axis=0) for name, parts in slopes.items()}
        self._check_gradient(number, gradient, slopes)
        kept = [m.packing for m in members if m.packing is not None]
        return Step(
            number=number,
            packings=tuple(kept if self._followed else kept[:1]),
            theta=theta,
            loss=loss,
            value=value,
            each=each,
            gradient=gradient,
            pace=self._optimizer.pace(state, number),
            state=state,
            rearranged=np.array([m.rearranged for m in members]),
            crossings=np.array([m.crossings for m in members]),
            moved=np.array([m.moved for m in members]),
            limited=limited,
            before=before,
            slopes=own if self._optimizer.needs_slopes else {},
        )

    def _few(
        self, members: list[Member], measured: NDArray[np.bool_], counted: NDArray[np.bool_]
    ) -> str:
        """Why a step has too few packings, in words."""
        lost = len(members) - int(measured.sum())
        if lost:
            return (
                f"{lost} of {len(members)} packings could not be measured, the first because of "
                + next(m.failure for m in members if m.failure)
            )
        o = int(np.argmin(counted.sum(axis=0)))
        outside = len(members) - int(counted[:, o].sum())
        return (
            f"{outside} of {len(members)} packings have a {self.features[o].name} outside of "
            f"{self.campaign.objective[o].within}, and do not count."
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
        """Cut gradients that are long beside the step's median one (`cut`); which were cut."""
        length = np.sqrt(sum(np.sum(parts**2, axis=1) for parts in slopes.values()))
        factor = np.ones(len(length))
        factor[measured] = cut(length[measured], self.campaign.design.limit)
        limited: NDArray[np.bool_] = factor < 1.0
        for parts in slopes.values():
            parts[limited] *= factor[limited, None]
        return limited


def optimizer_of(campaign: Campaign, replica: int) -> Optimizer[Any]:
    """The optimiser that a campaign names."""
    if campaign.optimizer.kind != "gauss_newton":
        return DescentOptimizer(campaign, replica)
    if campaign.design.kind == "individual":
        return GaussNewtonOptimizer(campaign, replica)
    return MeanGaussNewtonOptimizer(campaign, replica)


def _images(packing: bridge.Packing) -> NDArray[np.int32]:
    none = np.zeros(packing.positions.shape, dtype=np.int32)
    return none if packing.images is None else packing.images
