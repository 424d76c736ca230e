"""Files of the study ``[barriers]``: around which packings, how many searches, raised how far."""

from typing import Annotated

from pydantic import Field, model_validator

from amorph import bridge

from ...inputs.files import StudyFile
from ...inputs.tables import Positive, Table

__all__ = ["BarriersFile", "BarriersSettings"]

Count = Annotated[int, Field(ge=1)]


class BarriersSettings(Table):
    """``[barriers]``: how many saddles are looked for around each packing.

    `packings`: the first so many of ``[preparation]``; `searches`: pushes of each, [`seed`, k];
    `most_steps` of a search. With `factor` the lowest barrier out of each packing, of those at
    least `least` high, is multiplied by it, to one part in `tolerance`⁻¹, by diameters, a
    particle's or those of `species`, while the features `held` change by no more than `within` of
    themselves; in at most `steps` steps.
    """

    packings: Count = 1
    searches: Count = 20
    seed: Annotated[int, Field(ge=0)] = 0
    most_steps: Count = 200
    factor: Positive | None = None
    least: Annotated[float, Field(ge=0)] = 0.0
    species: Count | None = None
    held: list[str] = Field(default_factory=lambda: ["energy", "pressure"])
    within: Positive = 0.01
    tolerance: Positive = 1e-3
    steps: Count = 200

    @model_validator(mode="after")
    def _fits(self) -> "BarriersSettings":
        if self.species is not None and self.factor is None:
            raise ValueError("species is for designs, which have a factor.")
        for name in self.held:
            feature = bridge.feature(name)
            if not feature.differentiable or not feature.scalar:
                raise ValueError(f"held: {name!r} is not one number with a derivative.")
        return self


class BarriersFile(StudyFile):
    """A file with ``[barriers]`` for ``amorph run``."""

    barriers: BarriersSettings

    @model_validator(mode="after")
    def _of_pairs(self) -> "BarriersFile":
        if self.preparation.engine == "hoomd":
            raise ValueError("engine = 'hoomd' is for designs.")
        if self.bonds is not None and self.barriers.factor is not None:
            raise ValueError("barriers.factor: designs are of pair potentials alone.")
        if self.preparation.start == "file":
            frames = self.preparation.n_replicas
            if self.barriers.packings > frames:
                raise ValueError(
                    f"barriers.packings = {self.barriers.packings}: {self.preparation.file} has "
                    f"{frames}."
                )
        return self
