"""Does a design's end hold? Its values at slightly changed parameters, and the next pair crossing.

A packing's moduli jump wherever a pair crosses a distance at which u'' jumps (σ, r_on, r_cut). A
loss below its threshold may therefore be a passing touch between two such crossings. So a design
has converged only where its values stay within the threshold when the parameters are changed a
little, on and back: by a tenth of the last step, or by half of what would move the values by their
tolerance (`amorph.campaigns.studies.design.optimizer.Along`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph import bridge
from amorph.bridge.minima.following import next_crossing
from amorph.handover import AmorphError

from .campaign import Campaign
from .members import Member, Order, follow_member, unmeasured

__all__ = [
    "WITHIN",
    "Confirmation",
    "Crossed",
    "Probe",
    "nearest",
    "next_crossed",
    "probe",
    "probe_member",
    "tolerances",
    "why_not",
]

WITHIN = 1.0
"""As far as this part of the change that is probed the next pair crossing is looked for."""
# Just before and just beyond a crossing a packing is measured: so far, as a part of the way there.
BESIDE = 1e-3
# Iterations to find its place.
ATTEMPTS = 8


def probe_member(order: Order, packing: bridge.Packing) -> Member:
    """The values of a packing followed to slightly other parameters; what fails is told."""
    try:
        return replace(follow_member(order, packing), packing=None)
    except AmorphError as error:
        return unmeasured(order, error)


@dataclass(frozen=True, eq=False)
class Crossed:
    """A packing beyond the next pair crossing.

    `part` is where that is on the way from the order's parameters before to those now, and `value`
    what each objective is just beyond it, (n_objectives,).
    """

    part: float
    value: NDArray[np.float64]


def next_crossed(order: Order, packing: bridge.Packing) -> Crossed | None:
    """The next pair crossing on the way to a probe's parameters, and on beyond to a whole step.

    None where there is none so far, or where the packing cannot be followed to it.
    """
    try:
        there = bridge.follow(order.before, packing, order.theta).packing
        part = _next(order, packing, 1.0, there)
        for _ in range(ATTEMPTS):
            # From just before it, its place is known best: beyond it particles go another way.
            near = part * (1.0 - BESIDE)
            before = _followed(order, packing, near)
            if before is None:
                return None
            closer = _next(order, packing, near, before.packing)
            if closer < near or abs(closer - part) > BESIDE * part:
                part = closer
                continue
            behind = _followed(order, packing, closer * (1.0 + BESIDE))
            return None if behind is None else Crossed(closer, behind.value)
    except AmorphError:
        return None
    return None


def _next(order: Order, packing: bridge.Packing, part: float, there: Any) -> float:
    """The part of the way at which the next pair crosses, extrapolated from `part`."""
    start, end = (order.before, packing), (_on_the_way(order, part), there)
    return part * next_crossing(start, end, order.reach / part)


def _followed(order: Order, packing: bridge.Packing, part: float) -> Member | None:
    """The packing at a part of the way, or None if that is too far or it rearranges."""
    if part > order.reach:
        return None
    member = follow_member(replace(order, theta=_on_the_way(order, part)), packing)
    return None if member.rearranged else member


def _on_the_way(order: Order, part: float) -> bridge.PairPotential:
    """Parameters on the way from those before to those now, or on beyond."""
    before, now = order.before.arrays(), order.theta.arrays()
    names = order.campaign.design.parameters
    return order.before.replace(**{k: before[k] + part * (now[k] - before[k]) for k in names})


@dataclass(frozen=True)
class Probe:
    """A design's values at slightly changed parameters.

    Attributes
    ----------
    part:
        How far along the change, in parts of it; negative: back.
    value:
        Of each objective the mean over packings, (n_objectives,); None where none was measured.
    each:
        Of an individual design, each packing's values; None where one could not be measured. Empty
        of an ensemble.
    holds:
        Whether all are within the tolerance.
    crossings, rearranged:
        How many pairs crossed a distance where u'' jumps on the way there, and how many packings
        rearranged; of an ensemble 0.
    message:
        Why a packing could not be measured, if one could not.
    next_crossing:
        Of an individual design, where in this sense the next pair crosses a distance at which the
        jump is no small one (``part``; see `next_crossing`), of which of its packings
        (``packing``), and what each objective of this packing is just beyond (``value``); None
        where there is none within the whole change, or none was looked for.
    """

    part: float
    value: tuple[float | None, ...]
    each: tuple[tuple[float | None, ...], ...]
    holds: bool
    crossings: int
    rearranged: int
    message: str
    next_crossing: dict[str, Any] | None = None


@dataclass(frozen=True)
class Confirmation:
    """Whether a loss below its threshold holds.

    Attributes
    ----------
    holds:
        Whether it does at both probes.
    along:
        Along what the parameters were changed. Of the optimisers of first order the ``last step``;
        where no step was taken, or it changed nothing, ``next step``, the one that the optimiser
        would take; where that is nothing either, ``all parameters``, each by a thousandth of
        itself. Of Gauss-Newton ``tolerance``, the shortest change that by linear response moves
        the values by their tolerance.
    tolerance:
        How far a value may be from its target, by objective: see `tolerances`.
    probes:
        Along it, and back.
    """

    holds: bool
    along: str
    tolerance: tuple[float, ...]
    probes: tuple[Probe, Probe]

    def told(self) -> dict[str, Any]:
        """As ``design.json`` has it."""
        out: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return out


def tolerances(campaign: Campaign) -> tuple[float, ...]:
    """The distance from its target that each objective may have with the loss below threshold.

    The loss is a sum of weight (value - target)²: √(threshold / weight) is what one objective (of
    one packing, where packings are followed) can take of it.
    """
    assert campaign.threshold is not None
    return tuple(float(np.sqrt(campaign.threshold / o.weight)) for o in campaign.objective)


def probe(
    part: float,
    members: list[Member],
    campaign: Campaign,
    least: float,
) -> Probe:
    """A probe from its packings; of an ensemble at least a part of them must be measured."""
    followed = campaign.design.kind == "individual"
    each = np.stack([m.value for m in members])
    good = np.isfinite(each).all(axis=1)
    counted = campaign.counted(each)
    enough = (
        bool(good.all()) if followed else counted.sum(axis=0).min() >= max(1, least * len(members))
    )
    with np.errstate(invalid="ignore"):  # of none that counts
        mean = np.where(counted, each, 0.0).sum(axis=0) / counted.sum(axis=0)
    off = np.abs((each if followed else mean) - [o.target for o in campaign.objective])
    return Probe(
        part=part,
        value=_known(mean),
        each=tuple(_known(row) for row in each) if followed else (),
        holds=bool(enough and np.all(off <= tolerances(campaign))),
        crossings=sum(m.crossings for m in members),
        rearranged=sum(m.rearranged for m in members),
        message=next((m.failure for m in members if m.failure), ""),
    )


def nearest(found: list[Crossed | None], part: float) -> dict[str, Any] | None:
    """The nearest of packings' crossings, as a probe tells it; `part` is that of the probe."""
    known = [(x.part, k, x) for k, x in enumerate(found) if x is not None]
    if not known:
        return None
    _, k, first = min(known, key=lambda x: x[:2])
    return {"part": part * first.part, "packing": k, "value": first.value.tolist()}


def _known(values: Any) -> tuple[float | None, ...]:
    return tuple(float(v) if np.isfinite(v) else None for v in values)


# A confirmation's `along` in words.
_OF: Mapping[str, str] = {
    "last step": "a small part of the last step",
    "next step": "a small part of the step that would be next",
    "all parameters": "a small part of a change of all parameters by 0.1 %",
    "tolerance": "half of what would move the values by their tolerance",
}


def why_not(confirmation: Mapping[str, Any], target: Sequence[float]) -> str:
    """In words, of a design that ends with a loss below its threshold that does not hold."""
    sides = []
    for found in confirmation["probes"]:
        rows = found["each"] or [found["value"]]
        at = f"at {signed(found['part'])}"
        if any(v is None for row in rows for v in row):
            sides.append(f"{at} not all can be measured ({found['message']})")
            continue
        off = np.abs(np.array(rows) - np.asarray(target)) / confirmation["tolerance"]
        packing, j = np.unravel_index(int(np.argmax(off)), off.shape)
        sides.append(f"{rows[packing][j]:.5g} {at}{_crossing_beside(found, int(j))}")
    aims = ", ".join(
        f"{t:g} ± {tolerance:.2g}"
        for t, tolerance in zip(target, confirmation["tolerance"], strict=True)
    )
    return (
        f"The loss is below its threshold, but does not stay there when the parameters are changed "
        f"by {_OF[confirmation['along']]}: {'; '.join(sides)}. Asked for was {aims}. "
        "More steps may find a value that holds."
    )


def _crossing_beside(found: Mapping[str, Any], j: int) -> str:
    if (crossing := found["next_crossing"]) is None:
        return ""
    value = crossing["value"][j]
    return f" (the next pair crossing is at {signed(crossing['part'])}, {value:.5g} beyond it)"


def signed(part: float) -> str:
    """A part of a step with its sign."""
    return f"{part:+.3g}".replace("-", "−")
