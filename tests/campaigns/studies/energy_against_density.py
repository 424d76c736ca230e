"""The mean energy of packings against their density: a study of few lines, as a plug-in."""

from typing import Annotated

from matplotlib.figure import Figure
from pydantic import Field

from amorph import bridge
from amorph.campaigns import RowStudy, StudyFile, Table, register_study


class Settings(Table):
    """``[energy]``: the densities, and how many packings of each."""

    densities: Annotated[list[float], Field(min_length=1)]
    packings: Annotated[int, Field(ge=1)] = 4


class EnergyFile(StudyFile):
    """A file with ``[energy]``."""

    energy: Settings


@register_study
class Energy(RowStudy[EnergyFile]):
    """Mean energy a particle against density."""

    table, model = "energy", EnergyFile

    def items(self):
        own = self.file.energy
        return [(density, k) for density in own.densities for k in range(own.packings)]

    def row(self, item):
        density, replica = item
        theta, packing = self.packing(replica, density=density)
        energy = bridge.energy(theta, packing) / packing.n_particles
        return {"density": density, "packing": replica, "energy": energy}

    def summary(self, table):
        return {"lowest energy": table["energy"].min()}

    @classmethod
    def pictures(cls, table):
        figure = Figure()
        axes = figure.add_subplot(xlabel="density", ylabel="energy / N")
        axes.plot(table["density"], table["energy"], "o")
        return {"energy": (figure, "The energy of each packing.")}
