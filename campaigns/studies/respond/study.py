"""The study ``[respond]``: singular values, rank and reach of many packings' Jacobians."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from amorph import bridge
from amorph.bridge.networks import contact_network
from amorph.bridge.sensitivity.measuring import row_values
from amorph.handover import InputError

from ...inputs.files import StudyFile
from ...inputs.tables import Positive, Table
from ..rows import RowStudy
from ..study import register_study
from .means import slope_name, summarised
from .systems import in_species

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["RespondFile", "RespondSettings", "RespondStudy"]


class RespondSettings(Table):
    """``[respond]``: which features, by which parameters, of how many packings.

    `species`: particles are assigned anew to so many species of their own type. `network`: springs
    of this stiffness take the place of contacts. `reach`: along which relevant design modes, from
    0 for the most susceptible, packings are followed to where linear response ends, up to
    `largest`. `means`: the Jacobian of the features' means over the packings, in place of each
    packing's.
    """

    features: Annotated[list[str], Field(min_length=1)]
    parameters: Annotated[list[str], Field(min_length=1)]
    packings: Annotated[int, Field(ge=1)] = 10
    species: Annotated[int, Field(ge=1)] | None = None
    network: Positive | None = None
    degenerate: Literal["raise", "mean"] = "raise"
    relative: bool = False
    units: dict[str, Positive] = Field(default_factory=dict)
    reach: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    largest: Positive = 0.1
    means: bool = False


class RespondFile(StudyFile):
    """A file with ``[respond]`` for ``amorph run``."""

    respond: RespondSettings

    @model_validator(mode="after")
    def _fits(self) -> "RespondFile":
        settings = self.respond
        for name in settings.features:
            feature = bridge.feature(name)
            if not feature.differentiable:
                raise ValueError(f"feature {feature.name!r} has no derivative.")
            if self.preparation.dimension not in feature.dimensions:
                raise ValueError(
                    f"feature {feature.name!r} is not defined in {self.preparation.dimension} "
                    "dimensions."
                )
        if self.preparation.engine == "hoomd":
            raise ValueError("engine = 'hoomd' is for designs.")
        if settings.network is not None and settings.species is not None:
            raise ValueError("respond.network has springs, which are of no species: choose one.")
        if settings.network is not None and settings.reach:
            raise ValueError("respond.reach follows packings by parameters of types, not of bonds.")
        if settings.means:
            self._fits_means()
        if self.preparation.start == "file":
            frames = self.preparation.n_replicas
            if settings.packings > frames:
                raise ValueError(
                    f"respond.packings = {settings.packings}: {self.preparation.file} has {frames}."
                )
        return self

    def _fits_means(self) -> None:
        """Raise `ValueError` for what single packings alone have."""
        settings = self.respond
        for name in ("network", "reach", "relative", "units"):
            if getattr(settings, name):
                raise ValueError(f"respond.{name} is for single packings: leave it or means out.")
        for name in settings.parameters:
            if "/" in name:
                raise ValueError(
                    f"respond.parameters: {name} are other ones in each packing, and have no mean."
                )
        if settings.packings < 2:
            raise ValueError(f"respond.packings = {settings.packings}: a mean needs two at least.")


@register_study
class RespondStudy(RowStudy[RespondFile]):
    """How many properties can be tuned apart, by how much, and how far linear response carries."""

    table: ClassVar[str] = "respond"
    model: ClassVar[type[RespondFile]] = RespondFile
    rows: ClassVar[str] = "responses.csv"
    one: ClassVar[str] = "system"
    many: ClassVar[str] = "systems"
    unit: ClassVar[str] = "packings"

    def items(self) -> Sequence[int]:
        """The replicas."""
        return range(self.file.respond.packings)

    def row(self, item: int) -> dict[str, Any]:
        """A packing's rank and singular values, and how far linear response carries."""
        settings = self.file.respond
        theta, packing = self._system(item)
        if settings.means:
            return {"packing": item, **self._slopes(theta, packing)}
        found = bridge.independence(
            theta,
            packing,
            settings.features,
            settings.parameters,
            units=settings.units,
            relative=settings.relative,
            degenerate=settings.degenerate,
            seed=item,
        )
        state = bridge.response(theta, packing)
        out: dict[str, Any] = {
            "packing": item,
            "density": packing.n_particles / packing.volume,
            "rattlers": int(state.rattlers.sum()),
            "features": found.matrix.shape[0],
            "parameters": found.matrix.shape[1],
            "rank": found.rank,
            "error": found.error,
            "margin": found.margin,
            "susceptibility": found.susceptibilities,
        }
        for k in settings.reach:
            out |= self._reached(theta, packing, found, k)
        return out

    def _slopes(self, theta: bridge.Theta, packing: bridge.Packing) -> dict[str, Any]:
        """A packing's values, and their derivatives with jump terms where all have them."""
        settings = self.file.respond
        features = [bridge.feature(name) for name in settings.features]
        found = bridge.jacobian(
            theta,
            packing,
            features,
            settings.parameters,
            degenerate=settings.degenerate,
            jump_terms=all(f.has_jump_terms for f in features),
        )
        matrix = found.matrix if found.jump_terms is None else found.matrix + found.jump_terms
        values = row_values(found.values, found.features)
        out = dict(zip(found.rows, values.tolist(), strict=True))
        for row, slopes in zip(found.rows, matrix.tolist(), strict=True):
            out |= {slope_name(row, c): v for c, v in zip(found.columns, slopes, strict=True)}
        return out

    def _system(self, item: int) -> tuple[bridge.Theta, bridge.Packing]:
        settings = self.file.respond
        theta, packing = self.packing(item)
        if settings.network is None and settings.species is None:
            return theta, packing
        if not isinstance(theta, bridge.PairPotential):
            raise InputError("respond: species and networks are made of a pair potential alone.")
        if settings.network is not None:
            return contact_network(theta, packing, stiffness=settings.network)
        assert settings.species is not None
        seed = self.file.preparation.seed
        return in_species(theta, packing, settings.species, (seed, item))

    def _reached(
        self, theta: bridge.Theta, packing: bridge.Packing, found: bridge.Independence, k: int
    ) -> dict[str, Any]:
        """Where linear response ends along a relevant design mode; without what did not happen."""
        if k >= found.rank:
            raise InputError(f"respond.reach: there is no mode {k}, the rank is {found.rank}.")
        reach = bridge.linear_reach(
            theta,
            packing,
            self.file.respond.features,
            found.mode(k),
            largest=self.file.respond.largest,
            units=found.feature_units,
        )

        def middle(pair: tuple[float, float] | None) -> float | None:
            return None if pair is None else float(np.sqrt(max(pair[0], 0.1 * pair[1]) * pair[1]))

        found_at = {
            "end": middle(reach.ended),
            "second_order": reach.predicted_end,
            "rearranged": middle(reach.rearranged),
            "crossed": middle(reach.crossed),
            "tunability": reach.tunability,
        }
        return {f"reach_{k}.{name}": v for name, v in found_at.items() if v is not None}

    def summary(self, table: "pandas.DataFrame") -> Mapping[str, Any]:
        """As `RowStudy.summary`: ranks, and whether all packings are fully independent."""
        good = table[table["failure"] == ""]
        if self.file.respond.means:
            return summarised(good, self.file.preparation.seed)
        most = np.minimum(good["features"], good["parameters"])
        return {
            "features": int(good["features"].iloc[0]),
            "parameters": int(good["parameters"].median()),
            "rank": sorted({int(r) for r in good["rank"]}),
            "fully independent": f"{int((good['rank'] == most).sum())} of {len(good)}",
            "least susceptibility": float(_susceptibilities(good).min(axis=1).median()),
            "largest": float(_susceptibilities(good).max(axis=1).median()),
            "uncertain by": float(good["error"].max()),
            "least margin": float(good["margin"].min()),
        }

    @classmethod
    def pictures(cls, table: "pandas.DataFrame") -> "Mapping[str, tuple[Figure, str]]":
        """As `RowStudy.pictures`."""
        from .pictures import pictures

        return pictures(table)


def _susceptibilities(table: "pandas.DataFrame") -> Any:
    """The columns of singular values, (n_packings, K)."""
    names = [c for c in table.columns if c.startswith("susceptibility_")]
    return table[names]
