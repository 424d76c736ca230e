"""The study ``[barriers]``: saddles around packings, and barriers that are raised."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from amorph import bridge
from amorph.bridge import landscapes
from amorph.bridge.errors import NoBarrierError
from amorph.bridge.features.vibrations import participation_ratio
from amorph.handover import InputError

from ..respond.systems import in_species
from ..rows import RowStudy
from ..study import register_study
from .campaign import BarriersFile
from .designing import raise_barrier

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["BarriersStudy", "distinct"]

# Minima are the same where no particle but rattlers differs by more, in smallest diameters.
SAME = 1e-3
# Two saddles are one where their energies and eigenvalues agree to this part.
AGREE = 1e-6
# Derivatives by so many parameters at most are in a row.
MOST_SLOPES = 16


@register_study
class BarriersStudy(RowStudy[BarriersFile]):
    """Saddles around packings and their barriers, one search after another, spread over ranks."""

    table: ClassVar[str] = "barriers"
    model: ClassVar[type[BarriersFile]] = BarriersFile
    rows: ClassVar[str] = "barriers.csv"
    one: ClassVar[str] = "ensemble"
    many: ClassVar[str] = "ensembles"
    unit: ClassVar[str] = "searches"

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self._relaxed: dict[int, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_relaxed": {}}

    def items(self) -> Sequence[tuple[int, int]]:
        """The packings with their searches; designs take all searches of a packing together."""
        own = self.file.barriers
        searches = 1 if own.factor is not None else own.searches
        return [(p, s) for p in range(own.packings) for s in range(searches)]

    def row(self, item: tuple[int, int]) -> dict[str, Any]:
        """A search and what it found, or a design."""
        number, search = item
        if self.file.barriers.factor is not None:
            return self._design(number)
        theta, packing = self._rest(number)
        saddle = self._saddles(theta, packing, number, [search])[0]
        ((way,),) = landscapes.transitions_over(theta, [saddle])
        out = {
            "packing": number,
            "search": search,
            "steps": saddle.steps,
            "evaluations": saddle.evaluations,
            "evaluations with descents": way.evaluations,
        }
        return out | _told(theta, packing, way)

    def _rest(self, number: int) -> tuple[Any, bridge.Packing]:
        """A packing at rest, kept: many searches begin there."""
        if number not in self._relaxed:
            self._relaxed = {number: self.packing(number)}
        found: tuple[Any, bridge.Packing] = self._relaxed[number]
        return found

    def _saddles(
        self, theta: Any, packing: bridge.Packing, number: int, searches: Sequence[int]
    ) -> landscapes.Saddles:
        own = self.file.barriers
        # Packing k has pushes of its own.
        seed = own.seed + 1_000_003 * number
        width = float(theta.size_range()[1])
        pushes = landscapes.random_pushes(packing, max(searches) + 1, seed=seed, width=width)
        return landscapes.saddles_around(
            theta, packing, pushes[list(searches)], max_steps=own.most_steps
        )

    def _design(self, number: int) -> dict[str, Any]:
        own = self.file.barriers
        assert own.factor is not None
        theta, packing = self._rest(number)
        if not isinstance(theta, bridge.PairPotential):
            raise InputError("barriers.factor: designs are of pair potentials alone.")
        n = packing.n_particles if own.species is None else own.species
        theta, packing = in_species(theta, packing, n, (own.seed, number))
        found = self._saddles(theta, packing, number, range(own.searches))
        ways = _leaving(theta, packing, list(found.found.values()), own.least)
        if not ways:
            raise NoBarrierError(
                f"of {own.searches} searches {len(found.found)} met a saddle, none of which joins "
                "the packing to another minimum by a barrier as high as asked for: try more."
            )
        way = ways[0]
        raised = raise_barrier(
            theta,
            way,
            own.factor,
            held=own.held,
            within=own.within,
            tolerance=own.tolerance,
            most=own.steps,
        )
        anew = _anew(raised.theta, raised.transition)
        agrees = anew is not None and bool(np.isclose(anew, raised.barriers[-1], rtol=1e-6))
        before, after = raised.held[0], raised.held[-1]
        change = np.asarray(raised.theta.diameters) / np.asarray(theta.diameters) - 1.0
        out = {
            "packing": number,
            "status": raised.status if agrees else f"{raised.status}, not found anew",
            "saddles": len(found.found),
            "ways out": len(ways),
            "barrier before": raised.barriers[0],
            "barrier": raised.barriers[-1],
            "factor": raised.barriers[-1] / raised.barriers[0],
            "steps": len(raised.barriers) - 1,
            "evaluations": raised.evaluations,
            "largest change": float(np.max(np.abs(change))),
            "change": float(np.linalg.norm(change)),
            "participation of change": _participation(change[:, None]),
            "way barrier": raised.barriers,
        }
        for k, name in enumerate(own.held):
            out |= {f"{name} before": before[k], name: after[k]}
        if own.held:
            out["largest drift"] = float(np.max(np.abs(after / before - 1.0)))
        return out

    def summary(self, table: "pandas.DataFrame") -> Mapping[str, Any]:
        """As `RowStudy.summary`."""
        good = table[table["failure"] == ""]
        if "factor" in good.columns:
            return {
                "reached": f"{int((good['status'] == 'reached').sum())} of {len(table)}",
                "factor": float(good["factor"].median()),
                "largest drift": float(good.get("largest drift", good["factor"] * 0).max()),
                "steps": float(good["steps"].median()),
            }
        own = good[good["joined"] == 1]
        return {
            "saddles": f"{len(good)} of {len(table)}",
            "distinct": int(distinct(good).sum()),
            "joined to their packing": f"{len(own)}, {int(distinct(own).sum())} distinct",
            "median barrier": float(own["barrier"].median()) if len(own) else "none",
            "steps": float(good["steps"].median()),
        }

    @classmethod
    def pictures(cls, table: "pandas.DataFrame") -> "Mapping[str, tuple[Figure, str]]":
        """As `RowStudy.pictures`."""
        from .pictures import pictures

        return pictures(table)


def distinct(table: "pandas.DataFrame") -> Any:
    """Which rows are the first to have met their saddle, (n,) bool."""
    first = np.zeros(len(table), dtype=bool)
    columns = ("packing", "above", "eigenvalue")
    known: dict[float, list[tuple[float, float]]] = {}
    rows = zip(*(table[c].to_numpy(float) for c in columns), strict=True)
    for k, (packing, above, eigenvalue) in enumerate(rows):
        first[k] = _is_new((above, eigenvalue), known.setdefault(packing, []))
    return first


def _is_new(told: tuple[float, float], known: list[tuple[float, float]]) -> bool:
    """Whether an energy and an eigenvalue are no known saddle's; they are known from now on."""
    if any(np.allclose(told, old, rtol=AGREE, atol=0) for old in known):
        return False
    known.append(told)
    return True


def _told(theta: Any, packing: bridge.Packing, way: landscapes.Transition) -> dict[str, Any]:
    """A transition's row: from the packing itself where that is one of its ends."""
    ends = [_is(theta, packing, p) for p in (way.start, way.end)]
    way = way.reversed() if ends[1] and not ends[0] else way
    (there, back), (slope, _) = landscapes.barriers_and_gradients(theta, way)
    moved = np.asarray(way.end.positions) - np.asarray(way.start.positions)
    out: dict[str, Any] = {
        "joined": int(any(ends)),
        "same": int(_is(theta, way.start, way.end)),
        "above": way.saddle.energy - bridge.energy(theta, packing),
        "barrier": there,
        "back": back,
        "eigenvalue": way.saddle.eigenvalue,
        "participation": _participation(way.saddle.mode),
        "participation of the way": _participation(moved - moved.mean(axis=0)),
        "distance": float(np.sqrt(np.sum(moved**2))),
        "length": float(way.arc_length[-1]),
        "points": len(way.path),
    }
    for name, values in slope.arrays().items():
        if np.size(values) <= MOST_SLOPES:
            out[f"slope {name}"] = np.asarray(values)
    return out


def _participation(vectors: Any) -> float:
    return float(participation_ratio(np.asarray(vectors)[:, :, None])[0])


def _is(theta: Any, one: bridge.Packing, other: bridge.Packing) -> bool:
    """Whether two packings are the same minimum, rattlers apart."""
    held = ~(bridge.response(theta, one).rattlers | bridge.response(theta, other).rattlers)
    apart = np.asarray(one.positions) - np.asarray(other.positions)
    apart = apart - apart[held].mean(axis=0)
    return bool(np.abs(apart[held]).max() <= SAME * theta.size_range()[0])


def _leaving(
    theta: Any, packing: bridge.Packing, saddles: Sequence[landscapes.Saddle], least: float
) -> list[landscapes.Transition]:
    """The transitions out of a packing over different saddles, the lowest barrier first."""
    base = bridge.energy(theta, packing)
    known: list[tuple[float, float]] = []
    ways = []
    for saddle in saddles:
        if saddle.energy - base < least or not _is_new((saddle.energy, saddle.eigenvalue), known):
            continue
        for (way,) in landscapes.transitions_over(theta, [saddle]).found.values():
            ends = [_is(theta, packing, p) for p in (way.start, way.end)]
            if any(ends) and not all(ends):
                ways.append(way if ends[0] else way.reversed())
    return sorted(ways, key=lambda way: way.barrier)


def _anew(theta: Any, transition: landscapes.Transition) -> float | None:
    """The barrier by steepest descent from the saddle; None unless it leads to the same minimum."""
    for (way,) in landscapes.transitions_over(theta, [transition.saddle]).found.values():
        for one in (way, way.reversed()):
            if _is(theta, transition.start, one.start):
                return one.barrier
    return None
