"""One packing's part of a design step: followed or prepared anew, measured, differentiated.

Everything here runs on any rank, and depends on its arguments alone.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph import bridge
from amorph.handover import AmorphError

from ...errors import NotFiniteError
from ..preparing import descended, packing_of
from .campaign import Campaign

__all__ = [
    "Member",
    "Near",
    "Order",
    "first_member",
    "follow_member",
    "follow_numbered",
    "fresh_member",
    "fresh_value",
    "near_member",
    "unmeasured",
]

# A gap counts as so much of the smallest diameter at least: what is closer crosses anyway.
LEAST_GAP = 1e-6


@dataclass(frozen=True, eq=False)
class Order:
    """Everything that the members of a step share.

    Attributes
    ----------
    campaign:
        The design.
    theta, before:
        The parameters now, and those the packings were at rest at.
    number:
        Which random numbers fresh packings start from.
    shown:
        The one fresh packing that is wanted itself, not its values alone; None for every one.
    reach:
        How far beyond, in units of the way to `theta`, the next pair crossing is looked for.
    descent:
        Steps of FIRE after which a packing that lost its minimum is given up; None: not so soon.
    """

    campaign: Campaign
    theta: bridge.PairPotential
    before: bridge.PairPotential
    number: int
    shown: int | None = None
    reach: float = 1.0
    descent: int | None = None


@dataclass(frozen=True, eq=False)
class Member:
    """A packing measured.

    Attributes
    ----------
    packing:
        At rest; None where there is none, or none is wanted.
    value:
        Of each objective, (n_objectives,).
    slopes:
        By parameter, (n_objectives, n_components).
    jump_terms:
        As the slopes, to be added to them (`amorph.bridge.sensitivity.jumps`); empty where the
        campaign leaves them out.
    rearranged, crossings, moved:
        As `amorph.bridge.follow` tells them.
    failure:
        Why there is no value, or empty.
    """

    packing: bridge.Packing | None
    value: NDArray[np.float64]
    slopes: dict[str, NDArray[np.float64]]
    jump_terms: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    rearranged: bool = False
    crossings: int = 0
    moved: float = 0.0
    failure: str = ""

    def slope(self, parameter: str) -> NDArray[np.float64]:
        """A packing's part of the mean's derivative by a parameter: its own, and its jump terms."""
        own = self.slopes[parameter]
        return own + self.jump_terms[parameter] if self.jump_terms else own


@dataclass(frozen=True, eq=False)
class Near:
    """The pairs of a packing that are near to where u'' jumps, m of them.

    Attributes: `slopes`, the derivatives of the gap's logarithm by parameter, (m, n_components);
    `steps`, by how much each objective jumps as the pair crosses, (n_objectives, m), infinite where
    that is not known.
    """

    slopes: dict[str, NDArray[np.float64]]
    steps: NDArray[np.float64]


def _at_rest(order: Order, replica: int) -> bridge.Packing:
    """A packing prepared and relaxed; raises as `packing_of` does."""
    return packing_of(order.theta, order.campaign.preparation, replica, step=order.number)[1]


def _measured(order: Order, packing: bridge.Packing) -> Member:
    features = [bridge.feature(o.feature) for o in order.campaign.objective]
    campaign = order.campaign
    measured = bridge.measure(
        order.theta, packing, (), features, jump_terms=campaign.adds_jump_terms
    )

    def by_parameter(gradients: dict[str, Any]) -> dict[str, NDArray[np.float64]]:
        if not gradients:
            return {}
        arrays = [gradients[f.name].arrays() for f in features]
        return {p: np.stack([a[p] for a in arrays]) for p in campaign.design.parameters}

    for f in features:
        shape = np.shape(measured.values[f.name])
        if shape:  # of a registered one that is not marked so
            raise bridge.errors.FeatureError(
                f"feature {f.name!r} has shape {shape}: an objective needs a single number."
            )
    values = np.array([measured.values[f.name] for f in features])
    slopes, gained = by_parameter(measured.gradients), by_parameter(measured.jump_terms)
    # Wrapped only now: a packing's factorisation stays with the object that was relaxed.
    return Member(packing.wrapped(), values, slopes, gained)


def first_member(order: Order, replica: int) -> Member:
    """A followed packing before the first step, prepared and relaxed.

    Raises `RecordError` where it cannot be prepared, else as `amorph.bridge.relax` and
    `amorph.bridge.measure` do; `NotFiniteError` names the replica.
    """
    try:
        return _measured(order, _at_rest(order, replica))
    except NotFiniteError as error:
        raise NotFiniteError(f"replica {replica}: {error}") from error


def follow_member(order: Order, packing: bridge.Packing) -> Member:
    """A packing followed to the new parameters.

    Raises `RelaxationError`, `NotAMinimumError` or `RattlerError` where there is nothing to go on
    from, `NotFiniteError` as `amorph.bridge.measure` does.
    """
    downhill = partial(descended, most_steps=order.descent)
    followed = bridge.follow(order.before, packing, order.theta, descend=downhill)
    return replace(
        _measured(order, followed.packing),
        rearranged=followed.rearranged,
        crossings=followed.crossings,
        moved=followed.moved,
    )


def follow_numbered(order: Order, numbered: tuple[int, bridge.Packing]) -> Member:
    """As `follow_member`, of a replica and its packing; `NotFiniteError` names the replica."""
    replica, packing = numbered
    try:
        return follow_member(order, packing)
    except NotFiniteError as error:
        raise NotFiniteError(f"replica {replica}: {error}") from error


def near_member(order: Order, packing: bridge.Packing) -> Near:
    """The pairs of a packing at rest that are near to where u'' jumps."""
    features = [bridge.feature(o.feature) for o in order.campaign.objective]
    known = np.array([f.has_jump_terms for f in features])
    parameters = list(order.campaign.design.parameters)
    found = bridge.gaps(order.theta, packing, [f for f in features if f.has_jump_terms], parameters)
    steps = np.full((len(features), len(found.gap)), np.inf)
    steps[known] = np.where(found.lost, np.inf, found.steps)
    arrays = order.theta.arrays()
    cuts = np.cumsum([arrays[name].size for name in parameters])[:-1]
    least = LEAST_GAP * order.theta.size_range()[0]
    gap = np.copysign(np.maximum(np.abs(found.gap), least), found.gap)
    slopes = np.split(found.slopes / gap[:, None], cuts, axis=1)
    return Near(dict(zip(parameters, slopes, strict=True)), steps)


def fresh_value(order: Order, replica: int) -> tuple[list[float | None], str]:
    """The objectives of a packing of the ensemble, without derivatives, or why there are none."""
    features = [bridge.feature(o.feature) for o in order.campaign.objective]
    try:
        values = bridge.measure(order.theta, _at_rest(order, replica), features).values
        return [float(values[f.name]) for f in features], ""
    except AmorphError as error:
        return [None] * len(features), _told(error)


def fresh_member(order: Order, replica: int) -> Member:
    """A packing of the ensemble at the new parameters; what fails of it is told, not raised."""
    try:
        member = first_member(order, replica)
        return member if order.shown in (None, replica) else replace(member, packing=None)
    except AmorphError as error:
        return unmeasured(order, error)


def unmeasured(order: Order, error: AmorphError) -> Member:
    """A member that stands for a packing that could not be measured."""
    n = len(order.campaign.objective)
    nothing: dict[str, Any] = {
        name: np.full((n, len(order.theta.arrays()[name])), np.nan)
        for name in order.campaign.design.parameters
    }
    return Member(None, np.full(n, np.nan), nothing, failure=_told(error))


def _told(error: AmorphError) -> str:
    return f"{type(error).__name__}: {error}"
