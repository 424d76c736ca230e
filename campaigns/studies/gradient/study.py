"""The study ``[gradient]``: the packings of a design, differentiated and followed to changes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from amorph import bridge
from amorph.handover import AmorphError, InputError

from ...inputs.tables import Table
from ...store.durable import write_json
from ..design.campaign import Campaign
from ..design.free import Free
from ..design.members import Order, follow_member, fresh_member, fresh_value
from ..rows import RowStudy, read_rows
from ..study import Task, register_study
from .check import GradientCheck

if TYPE_CHECKING:
    import pandas

    from ...report.output import Output

__all__ = ["CHANGES", "GradientFile", "GradientSettings", "GradientStudy", "read_check"]

Floats = NDArray[np.float64]

CHANGES = {"individual": (1e-5, 1e-4, 1e-3), "ensemble": (3e-3, 1e-2, 3e-2)}
"""Changes of the parameters, as parts of themselves: small ones of a packing that is followed; of
an ensemble a change of 1e-4 already takes one packing in ten elsewhere, and the noise of that
falls with the change."""


class GradientSettings(Table):
    """``[gradient]``: how many packings, and the changes of the parameters.

    Changes are of each free parameter, as parts of itself; by default `CHANGES`. Packings are by
    default 1,000 of an ensemble, and all of an individual campaign.
    """

    packings: Annotated[int, Field(ge=1)] | None = None
    changes: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)] | None = None


class GradientFile(Campaign):
    """A design's file with ``[gradient]``: the check at the parameters that the design starts from.

    The packings are those of the first step: replicas 0, 1, ...
    """

    gradient: GradientSettings = GradientSettings()

    @model_validator(mode="after")
    def _one_point(self) -> "GradientFile":
        if self.sweep:
            raise ValueError("a gradient is checked at one point: take [sweep] out of the file.")
        if self.design.kind == "ensemble" and self.n_packings < 2:
            raise ValueError(f"gradient.packings = {self.n_packings}: an error needs two at least.")
        frames = self.preparation.n_replicas
        if self.preparation.start == "file" and self.n_packings > frames:
            raise ValueError(
                f"gradient.packings = {self.n_packings}: {self.preparation.file} has {frames}."
            )
        return self

    @property
    def followed(self) -> bool:
        """Whether packings are followed; else they are prepared anew from the same starts."""
        return self.design.kind == "individual"

    @property
    def n_packings(self) -> int:
        """The number of packings."""
        every = self.n_designs * self.design.n_packings
        if self.preparation.start == "file":
            every = self.preparation.n_replicas
        few = self.followed or self.preparation.start == "file"
        return self.gradient.packings or (every if few else 1000)

    @property
    def parts(self) -> tuple[float, ...]:
        """The changes, as parts of the parameters."""
        return tuple(self.gradient.changes or CHANGES[self.design.kind])


@register_study
class GradientStudy(RowStudy[GradientFile]):
    """Exact derivatives beside finite changes of the parameters."""

    table: ClassVar[str] = "gradient"
    model: ClassVar[type[GradientFile]] = GradientFile
    requires: ClassVar[tuple[str, ...]] = ("design",)
    rows: ClassVar[str] = "packings.csv"
    one: ClassVar[str] = "check"
    many: ClassVar[str] = "checks"
    unit: ClassVar[str] = "packings"
    may_change: ClassVar[tuple[str, ...]] = ("stop", "optimizer", "validation")

    def __init__(self, task: Task[GradientFile]) -> None:
        super().__init__(task)
        theta = task.file.potential.theta()
        self._order = Order(task.file, theta, theta, 0)
        self._thetas = changed(task.file)[2]

    def items(self) -> Sequence[int]:
        """The replicas."""
        return range(self.file.n_packings)

    def row(self, item: int) -> dict[str, Any]:
        """A packing's value and slopes, and its values at changed parameters."""
        return {"packing": item, **_probed(self._order, self._thetas, item)}

    def summary(self, table: "pandas.DataFrame") -> Mapping[str, Any]:
        """As `RowStudy.summary`; ``gradient.json`` and ``gradient.png`` are written from it."""
        from ...report.output import png, write
        from .pictures import gradient

        found = check_of(self.file, table)
        write_json(self.task.directory / "gradient.json", found.summary())
        write(self.task.directory / "gradient.png", png(gradient(found)))
        return {"packings": len(found.value), "failed": found.failed}

    @classmethod
    def page(
        cls, root: Path, tasks: Sequence[Task[GradientFile]], output: "Output"
    ) -> tuple[str, list[str]]:
        """As `Study.page`."""
        from ...report import html
        from .pictures import gradient

        found = read_check(root, tasks[0].file)
        what = (
            "The change of each packing's loss, measured beside the predicted one."
            if found.followed
            else "The derivative of the mean, by differences from the same starts, beside the mean "
            "of the derivatives, each cut at some medians."
        )
        name = f"Gradients of {', '.join(found.features)}"
        return name, [
            f"<h1>{escape(name)}</h1>",
            f"<p>{len(found.value)} packings, {found.failed} that could not be measured; "
            f"parameters {escape(', '.join(found.components))}.</p>",
            html.figure(output.picture("gradient", gradient(found)), what),
            "<p class='note'>The numbers are in gradient.json, each packing's in packings.csv.</p>",
        ]


def read_check(directory: Path, file: GradientFile) -> GradientCheck:
    """The check that a run's directory holds; raises `InputError` if it is not finished."""
    table = directory / GradientStudy.rows
    if not table.exists():
        raise InputError(f"{directory}: holds no finished {table.name} yet: wait, or resume.")
    return check_of(file, read_rows(table))


def check_of(file: GradientFile, table: "pandas.DataFrame") -> GradientCheck:
    """What a table of packings says; raises `InputError` where too few could be measured."""
    measured = table[table["failure"] == ""]
    if len(measured) < (1 if file.followed else 2):
        why = table["failure"][table["failure"] != ""].iloc[0]
        raise InputError(f"{len(measured) or 'no'} packing could be measured: {why}")
    components, steps, _ = changed(file)
    features = [bridge.feature(o.feature) for o in file.objective]
    n, j, c, h = len(measured), len(features), *steps.shape

    def values(name: str, *shape: int) -> Floats:
        # Columns are numbered by their indices, the last of them fastest.
        columns = ["_".join([name, *map(str, index)]) for index in np.ndindex(*shape)]
        return np.asarray(measured[columns], dtype=np.float64).reshape(n, *shape)

    return GradientCheck(
        followed=file.followed,
        features=tuple(o.feature for o in file.objective),
        targets=np.array([o.target for o in file.objective]),
        weights=np.array([o.weight for o in file.objective]),
        bounds=np.array([f.range_in(file.preparation.dimension) for f in features]),
        components=components,
        parts=np.array(file.parts),
        changes=steps,
        value=values("value", j),
        slope=values("slope", j, c),
        jump_terms=values("jump_terms", j, c),
        changed=values("changed", c, h, 2, j),
        rearranged=values("rearranged", c, h, 2).astype(bool),
        failed=len(table) - len(measured),
    )


def changed(file: GradientFile) -> tuple[tuple[str, ...], Floats, tuple[Any, ...]]:
    """The free parameters' names, their changes (C, H), and the potentials θ + and - them."""
    theta, parts = file.potential.theta(), np.array(file.parts)
    free = Free(file)
    values = {name: np.asarray(v) for name, v in free.of(theta).items()}
    names, steps, thetas = [], [], []
    for name, own in values.items():
        shown = file.components(name)
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


def _probed(order: Order, thetas: Any, replica: int) -> dict[str, Any]:
    campaign = order.campaign
    followed = campaign.design.kind == "individual"
    member = fresh_member(order, replica)
    packing = member.packing
    if packing is None:
        return {"failure": member.failure}
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
        there = replace(order, theta=theta)
        if not followed:
            return fresh_value(there, replica)[0], False
        try:
            member = follow_member(there, packing)
        except AmorphError:
            return nothing, True
        return member.value.tolist(), member.rearranged

    found = [[[at(theta) for theta in both] for both in steps] for steps in thetas]
    return {
        "value": member.value.tolist(),
        "slope": slope,
        "jump_terms": by_component(member.jump_terms) if member.jump_terms else without,
        "changed": [[[v for v, _ in both] for both in steps] for steps in found],
        "rearranged": [[[r for _, r in both] for both in steps] for steps in found],
    }
