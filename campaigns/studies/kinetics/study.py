"""The study ``[kinetics]``: bindings of a cluster that give it the barriers or rates wanted."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from amorph import bridge
from amorph.bridge import landscapes
from amorph.handover import AmorphError, InputError

from ..rows import RowStudy
from ..study import register_study
from .campaign import KineticsFile
from .designing import Quantity, design, found_anew, rank, transitions_along
from .trajectories import measured_rates, passages_row

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["KineticsStudy"]

# Points of a path whose energies are in a row, and after how many steps they are.
PROFILE_POINTS = 61
PROFILES = 6
# A loss below this counts as met: P4's Fig. 5B, in energies squared.
MET = 1e-2


@register_study
class KineticsStudy(RowStudy[KineticsFile]):
    """Designs of barriers or rates of a cluster, one after another, spread over ranks."""

    table: ClassVar[str] = "kinetics"
    model: ClassVar[type[KineticsFile]] = KineticsFile
    rows: ClassVar[str] = "designs.csv"
    one: ClassVar[str] = "cluster"
    many: ClassVar[str] = "clusters"
    unit: ClassVar[str] = "designs"

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {k: v for k, v in state.items() if k != "_breakings"}

    @cached_property
    def _breakings(self) -> list[landscapes.Breaking]:
        """The transitions' ways; those that are none for this potential are left out by default."""
        every = self.file.breakings()
        if self.file.cluster.transitions is not None:
            return every
        theta = self.file.theta(0)
        found = transitions_along(theta, every)
        kept = [k for k, chain in found.found.items() if len(chain) == 1]
        if not kept:
            raise InputError("cluster: none of its contacts breaks at a saddle of this potential.")
        return [every[k] for k in kept]

    def items(self) -> Sequence[int]:
        """The designs."""
        return range(len(self.file.wanted(self._number)))

    @cached_property
    def _number(self) -> int:
        return len(self._breakings)

    def row(self, item: int) -> dict[str, Any]:
        """A design: what was wanted, what came out, found anew from the beginning."""
        own = self.file.kinetics
        wanted = self.file.wanted(self._number)[item]
        breakings = [self._breakings[k] for k in wanted.transitions]
        quantity = Quantity(own.quantity, own.temperature, own.friction)
        theta = self.file.theta(item)
        n = theta.n_types
        free = np.flatnonzero(np.not_equal(*np.triu_indices(n)))
        start, before = found_anew(quantity, theta, breakings)
        if before is None:
            raise bridge.errors.PathError("a transition is not there before the design begins.")
        predicted = rank(quantity, theta, landscapes.points_of(theta, start), free)
        targets = wanted.targets(before)
        found = design(
            quantity,
            theta,
            start,
            targets,
            free,
            tolerance=own.tolerance,
            most=own.steps,
            least=own.least_binding,
        )
        ways, values = found_anew(quantity, found.theta, breakings)
        proven = values is not None and bool(np.allclose(values, found.values, rtol=1e-6))
        out: dict[str, Any] = {
            "design": item,
            "status": found.status if proven else f"{found.status}, not found anew",
            "transitions": " ".join(map(str, wanted.transitions)),
            "number": 2 * len(breakings),
            "rank": predicted,
            "steps": len(found.loss) - 1,
            "evaluations": found.evaluations,
            "loss": found.loss[-1],
            "met": int(found.loss[-1] < MET),
            "largest error": float(np.max(np.abs(found.values / targets - 1.0))),
        }
        for name, array in (("target", targets), ("before", before), ("value", found.values)):
            for t in range(len(breakings)):
                out |= {f"{name} {t} there": array[t, 0], f"{name} {t} back": array[t, 1]}
        out["binding"] = np.asarray(found.theta.binding)[free]
        if proven:
            points = landscapes.points_of(found.theta, ways)
            for name, settings in (
                ("rate", {}),
                ("rate of eq. 4", {"rotations": False, "equivalents": False}),
            ):
                logs = landscapes.log_rates(
                    found.theta, points, own.temperature, own.friction, **settings
                )
                out[name] = np.exp(np.asarray(logs)).ravel()
            out["barriers"] = np.asarray(landscapes.barriers(found.theta, points)).ravel()
            if len(ways) == 1:
                out |= self._profiles(found.history, breakings)
            if len(ways) == 1 and self.file.trajectories is not None:
                passages, trace = measured_rates(
                    found.theta,
                    ways[0],
                    self.file.trajectories,
                    temperature=own.temperature,
                    friction=own.friction,
                    seed=own.seed,
                    first=item * self.file.trajectories.number,
                )
                out |= passages_row(passages) | trace
        return out

    def _profiles(self, history: Sequence[Any], breakings: Sequence[Any]) -> dict[str, Any]:
        """Energies along the path of steepest descent, above the start's, after some steps."""
        out = {}
        chosen = np.unique(np.linspace(0, len(history) - 1, PROFILES).round().astype(int))
        for step in chosen.tolist():
            found = transitions_along(history[step], breakings)
            try:
                (way,) = found[0]
            except (AmorphError, ValueError):
                continue
            at = np.linspace(0.0, 1.0, PROFILE_POINTS)
            part = way.arc_length / way.arc_length[-1]
            out[f"profile {step}"] = np.interp(at, part, way.path_energies) - way.energies[0]
        return out

    def summary(self, table: "pandas.DataFrame") -> Mapping[str, Any]:
        """As `RowStudy.summary`: how many were met, and whether the rank said so."""
        good = table[table["failure"] == ""]
        met = good["met"] == 1
        predicted = good["rank"] == good["number"]
        return {
            "reached": f"{int((good['status'] == 'reached').sum())} of {len(table)}",
            "met": f"{int(met.sum())} of {len(table)}",
            "predicted rightly": f"{int((met == predicted).sum())} of {len(good)}",
            "largest error": float(good["largest error"].max()),
            "evaluations": float(good["evaluations"].median()),
        }

    @classmethod
    def pictures(cls, table: "pandas.DataFrame") -> "Mapping[str, tuple[Figure, str]]":
        """As `RowStudy.pictures`."""
        from .pictures import pictures

        return pictures(table)
