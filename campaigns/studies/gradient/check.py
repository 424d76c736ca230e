"""Are gradients predictive? Exact derivatives beside finite changes of the parameters.

Of followed packings the loss's change is compared with the one that its gradient predicts (Zu
and Goodrich, Commun. Mater. 5 (2024), Fig. 1b). Of an ensemble the derivative of the mean, by
differences with common random starts, is compared with the mean of the derivatives (Fig. S1
there). The two are not the same: a feature jumps where a packing falls into another minimum, or a
pair crosses a distance where u'' does, and no packing's own derivative knows of it; and near such
an instability the derivatives are unbounded. The jump terms of the mean are known, however
(`amorph.bridge.sensitivity.jumps`): the mean is shown with them and without.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph import bridge
from amorph.handover import AmorphError, InputError

from ...inputs.files import Campaign
from ...spread.ranks import OneRank, Ranks
from ...store.durable import locked, remove_partials, write_json
from ..design.members import Order, follow_member, fresh_member, fresh_value
from ..design.optimizers import Free
from ..design.runs import prepare_directory
from ..samples import samples

__all__ = ["CHANGES", "LIMITS", "GradientCheck", "check_gradient"]

Floats = NDArray[np.float64]

CHANGES = {"individual": (1e-5, 1e-4, 1e-3), "ensemble": (3e-3, 1e-2, 3e-2)}
"""Changes of the parameters, as parts of themselves: small ones of a packing that is followed; of
an ensemble a change of 1e-4 already takes one packing in ten elsewhere, and the noise of that
falls with the change."""
LIMITS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Limits on a packing's gradient, in medians of its length, whose means are shown."""


@dataclass(frozen=True, eq=False)
class GradientCheck:
    """The result. C: free parameters, H: changes, R: packings, J: objectives.

    Attributes
    ----------
    followed:
        Whether packings were followed; else they were prepared anew from the same starts.
    features, targets, weights:
        The objectives, (J,).
    bounds:
        Between which each feature of an isotropic solid lies, (J, 2); infinite where unknown.
    components:
        What the free parameters are called, (C,).
    parts, changes:
        Changes of the parameters, as parts of themselves, (H,), and absolute ones, (C, H).
    value, slope:
        Of each packing, (R, J) and (R, J, C).
    jump_terms:
        Of each packing, (R, J, C); 0 where the campaign leaves them out.
    changed:
        The values at θ + change and θ - change, (R, C, H, 2, J), NaN where there are none: a
        parameter would be negative, or the packing could not be measured.
    rearranged:
        Whether a packing rearranged on the way, (R, C, H, 2); of followed ones.
    failed:
        How many packings could not be measured, which are left out.
    """

    followed: bool
    features: tuple[str, ...]
    targets: Floats
    weights: Floats
    bounds: Floats
    components: tuple[str, ...]
    parts: Floats
    changes: Floats
    value: Floats
    slope: Floats
    jump_terms: Floats
    changed: Floats
    rearranged: NDArray[np.bool_]
    failed: int

    def loss_changes(self) -> tuple[Floats, Floats]:
        """The change of each packing's loss, as predicted and as measured, both (R, C, H, 2)."""
        off = self.value - self.targets
        pull = 2.0 * self.weights * off
        steps = np.stack([self.changes, -self.changes], axis=-1)
        predicted = np.einsum("rj,rjc,chs->rchs", pull, self.slope, steps)
        new = np.sum(self.weights * (self.changed - self.targets) ** 2, axis=-1)
        return predicted, new - np.sum(self.weights * off**2, axis=-1)[:, None, None, None]

    def differences(self) -> tuple[Floats, Floats]:
        """d⟨f⟩/dθ by central differences with common starts, and its standard error, (J, C, H).

        A value outside of the bounds counts as the bound: ν of a packing is unbounded where B + G
        comes close to 0, and a few such packings would drown all others. NaN where fewer than two
        packings could be measured on either side.
        """
        values = np.clip(self.changed, self.bounds[:, 0], self.bounds[:, 1])
        each = (values[..., 0, :] - values[..., 1, :]) / (2 * self.changes[..., None])
        number = np.sum(np.isfinite(each), axis=0)
        known = number >= 2
        each = np.where(known, each, 0.0)
        mean, spread = np.nanmean(each, axis=0), np.nanstd(each, axis=0, ddof=1)
        error = spread / np.sqrt(np.maximum(number, 1))
        mean, error = np.where(known, mean, np.nan), np.where(known, error, np.nan)
        return np.moveaxis(mean, -1, 0), np.moveaxis(error, -1, 0)

    def mean_slopes(
        self, limit: float = np.inf, *, jump_terms: bool = True
    ) -> tuple[Floats, Floats]:
        """⟨df/dθ⟩ and its standard error, (J, C); packings' gradients cut at some medians.

        With the jump terms, or without.
        """
        slope = self.slope + self.jump_terms if jump_terms else self.slope
        length = np.sqrt(np.sum(slope**2, axis=-1, keepdims=True))
        longest = limit * np.median(length, axis=0) if np.isfinite(limit) else np.inf
        cut = slope * np.minimum(1.0, longest / np.maximum(length, 1e-300))
        return cut.mean(axis=0), cut.std(axis=0, ddof=1) / np.sqrt(len(cut))

    def summary(self) -> dict[str, Any]:
        """The contents of ``gradient.json``."""
        out: dict[str, Any] = {
            "packings": len(self.value),
            "failed": self.failed,
            "features": self.features,
            "components": self.components,
            "parts": self.parts.tolist(),
            "changes": self.changes.tolist(),
        }
        if self.followed:
            predicted, measured = self.loss_changes()
            usable = np.isfinite(measured) & ~self.rearranged & (predicted != 0)
            off = np.where(usable, np.abs(measured / np.where(usable, predicted, 1.0) - 1), np.nan)
            median = [
                [float(np.nanmedian(x)) if np.isfinite(x).any() else None for x in row]
                for row in np.moveaxis(off, 0, -1).reshape(*self.changes.shape, -1)
            ]
            out["relative error of the predicted change, median"] = median
            out["rearranged or lost"] = int((self.rearranged | np.isnan(measured)).sum())
        else:
            mean, error = self.differences()
            out["differences"] = {"mean": _or_none(mean), "error": _or_none(error)}
            for added in (True, False):
                limits: dict[str, Any] = {}
                for limit in (np.inf, *LIMITS):
                    mean, error = self.mean_slopes(limit, jump_terms=added)
                    limits[f"{limit:g}"] = {"mean": mean.tolist(), "error": error.tolist()}
                without = "" if added else ", without jump terms"
                out[f"mean gradient by its limit{without}"] = limits
        return out


def _or_none(values: Floats) -> Any:
    """Nested lists of numbers, None for those that are not known: JSON has no NaN."""
    return np.where(np.isfinite(values), values.astype(object), np.array(None)).tolist()


@dataclass(frozen=True, eq=False)
class _Probe:
    """Everything that the packings of a check share."""

    order: Order
    changed: tuple[tuple[tuple[bridge.PairPotential | None, ...], ...], ...]


def check_gradient(
    campaign: Campaign,
    source: str,
    directory: Path,
    *,
    packings: int | None = None,
    changes: Sequence[float] | None = None,
    resume: bool = False,
    ranks: Ranks | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> GradientCheck:
    """Compare gradients with finite changes, at the parameters that a campaign starts from.

    The packings are those of the first step: replicas 0, 1, ... What was computed of each is in
    ``packings.csv``, and what comes of it in ``gradient.json``.

    Parameters
    ----------
    campaign, source:
        The campaign and the text of its file, a copy of which stays in the directory.
    directory:
        Where the result goes.
    packings:
        How many; by default 1,000 of an ensemble, and all of an individual campaign.
    changes:
        Of each free parameter, as parts of itself; by default `CHANGES`.
    resume:
        Go on with a check that was ended.
    ranks:
        Who computes; this is the root.

    Raises
    ------
    InputError
        For a campaign with a sweep, fewer than two packings of an ensemble, or changes that are
        not between 0 and 1.
    OutputExistsError, OutputError, RecordError, RunningError
        If the directory cannot be used.
    """
    team = ranks or OneRank()
    if campaign.sweep:
        raise InputError("a gradient is checked at one point: take [sweep] out of the file.")
    followed = campaign.design.kind == "individual"
    every = campaign.preparation.n_replicas * campaign.design.n_packings
    total = packings if packings is not None else every if followed else 1000
    if total < (1 if followed else 2):
        raise InputError(f"packings = {total}: an error needs two at least.")
    parts = np.array(changes or CHANGES[campaign.design.kind], dtype=np.float64)
    if not np.all((parts > 0) & (parts < 1)):
        raise InputError(f"changes = {parts.tolist()}: they must lie between 0 and 1.")
    theta = campaign.potential.theta()
    features = [bridge.feature(o.feature) for o in campaign.objective]
    dimension = campaign.preparation.dimension
    components, steps, thetas = _changed(campaign, theta, parts)
    probe = _Probe(Order(campaign, theta, theta, 0), thetas)
    prepare_directory(directory, source, resume=resume)
    header = {"packings": total, "changes": parts.tolist()}
    table = directory / "packings.csv"
    with (
        locked(directory, ".campaign.lock"),
        samples(table, header, total, team, _probed, probe, progress) as rows,
    ):
        remove_partials(directory, "campaign.toml", "gradient.*", "packings.csv")
        measured = [row for row in rows if not row["failure"]]
        if len(measured) < (1 if followed else 2):
            why = next(row["failure"] for row in rows if row["failure"])
            raise InputError(f"{len(measured) or 'no'} packing could be measured: {why}")
        found = GradientCheck(
            followed=followed,
            features=tuple(o.feature for o in campaign.objective),
            targets=np.array([o.target for o in campaign.objective]),
            weights=np.array([o.weight for o in campaign.objective]),
            bounds=np.array([f.range_in(dimension) for f in features]),
            components=components,
            parts=parts,
            changes=steps,
            value=np.array([row["value"] for row in measured]),
            slope=np.array([row["slope"] for row in measured]),
            jump_terms=np.array([row["jump_terms"] for row in measured]),
            changed=np.array([row["changed"] for row in measured], dtype=np.float64),
            rearranged=np.array([row["rearranged"] for row in measured], dtype=bool),
            failed=len(rows) - len(measured),
        )
        write_json(directory / "gradient.json", found.summary())
    return found


def _changed(
    campaign: Campaign, theta: bridge.PairPotential, parts: Floats
) -> tuple[tuple[str, ...], Floats, tuple[Any, ...]]:
    """The free parameters' names, their changes (C, H), and the potentials θ + and - them."""
    free = Free(campaign)
    values = {name: np.asarray(v) for name, v in free.of(theta).items()}
    names, steps, thetas = [], [], []
    for name, own in values.items():
        shown = campaign.components(name)
        # A parameter of 0 has no part of itself: then it is changed as the largest of its kind.
        unit = np.where(own != 0, np.abs(own), np.max(np.abs(own), initial=0.0) or 1.0)
        for k in range(len(own)):
            where = np.flatnonzero(free.places[name] == k)
            names.append(f"{name}[{'='.join(shown[i] for i in where)}]")
            steps.append(parts * unit[k])

            def moved(step: float, k: int = k, name: str = name) -> bridge.PairPotential | None:
                new = values[name].copy()
                new[k] += step
                try:
                    return free.put({**values, name: new}, theta)
                except InputError:
                    return None  # below 0

            thetas.append(tuple((moved(step), moved(-step)) for step in steps[-1]))
    return tuple(names), np.array(steps), tuple(thetas)


def _probed(probe: _Probe, replica: int) -> dict[str, Any]:
    """A packing's value and slopes, and its values at changed parameters; on any rank."""
    order = probe.order
    campaign = order.campaign
    followed = campaign.design.kind == "individual"
    member = fresh_member(order, replica)
    packing = member.packing
    if packing is None:
        return {"packing": replica, "failure": member.failure}
    free = Free(campaign)

    def by_component(slopes: dict[str, Floats]) -> list[list[float]]:
        gathered = [
            free.gathered({name: by_objective[j] for name, by_objective in slopes.items()})
            for j in range(len(campaign.objective))
        ]
        return [[float(x) for name in free.places for x in g[name]] for g in gathered]

    slope = by_component(member.slopes)
    without = [[0.0] * len(row) for row in slope]
    nothing: list[float | None] = [None] * len(campaign.objective)

    def at(theta: bridge.PairPotential | None) -> tuple[list[float | None], bool]:
        if theta is None:
            return nothing, False
        changed = replace(order, theta=theta)
        if not followed:
            return fresh_value(changed, replica)[0], False
        try:
            there = follow_member(changed, packing)
        except AmorphError:
            return nothing, True
        return there.value.tolist(), there.rearranged

    found = [[[at(theta) for theta in both] for both in steps] for steps in probe.changed]
    return {
        "packing": replica,
        "value": member.value.tolist(),
        "slope": slope,
        "jump_terms": by_component(member.jump_terms) if member.jump_terms else without,
        "changed": [[[v for v, _ in both] for both in steps] for steps in found],
        "rearranged": [[[r for _, r in both] for both in steps] for steps in found],
        "failure": "",
    }
