"""The study ``[prune]``: networks whose bonds are cut until they have the properties wanted."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from amorph import bridge
from amorph.bridge import networks
from amorph.bridge.matter.files import frame_of
from amorph.handover import AmorphError, InputError, write_gsd

from ..rows import RowStudy
from ..study import Task, register_study
from .campaign import PruneFile

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from ...report.output import Output

__all__ = ["PruneStudy", "network_file"]

# How many moments of the way are in a row.
MOMENTS = 50
# What is measured of periodic networks, in the end and at first.
MEASURED = ("poisson_ratio", "poisson_ratios", "bulk_modulus", "shear_modulus", "shear_moduli")


@register_study
class PruneStudy(RowStudy[PruneFile]):
    """Networks pruned towards objectives, one after another, spread over ranks."""

    table: ClassVar[str] = "prune"
    model: ClassVar[type[PruneFile]] = PruneFile
    rows: ClassVar[str] = "networks.csv"
    one: ClassVar[str] = "system"
    many: ClassVar[str] = "systems"
    unit: ClassVar[str] = "networks"

    def items(self) -> Sequence[int]:
        """The networks."""
        return range(self.file.prune.networks)

    def row(self, item: int) -> dict[str, Any]:
        """A network before and after, and the way; both are in a file of their own."""
        springs, packing = self._network(item)
        pruning = self.file.pruning(springs, packing, item)
        before = networks.without_cut(*pruning.network)
        springs, packing = before
        concave = len(networks.concave_nodes(packing))
        first = pruning.values
        found = self.file.pruned(pruning, item)
        after = networks.without_cut(*found.network)
        pairs = pruning.loading.pairs  # of an allostery the source first
        self._keep(item, before, after, found, pairs)  # whatever a look at it may end with
        toggled = _cut_at(found.bonds)
        moments = np.unique(np.linspace(0, len(found.bonds), MOMENTS).astype(int))
        out: dict[str, Any] = {
            "network": item,
            "status": found.status,
            "nodes": packing.n_particles,
            "bonds": springs.n_bonds,
            "cut": pruning.n_cut,
            "z": 2 * after[0].n_bonds / packing.n_particles,
            "z before": 2 * springs.n_bonds / packing.n_particles,
            "moves": len(found.bonds),
            "trials": found.trials,
            "drift": found.drift,
            "distance": pruning.distance,
            "exceeded": found.exceeded,
            "concave": len(networks.concave_nodes(after[1])),
            "concave before": concave,
        }
        for k, name in enumerate(found.names):
            out |= {f"{name} before": first[k], name: found.values[k]}
            out |= {f"target of {name}": found.target[k]}
        if self.file.measured and packing.box is not None:
            with suppress(AmorphError):  # the row says how it ended all the same
                out |= _measured("measured", after)
                out |= _measured("measured before", before)
        if packing.dimension == 2 and self.file.allostery is None:
            with suppress(AmorphError):  # a strain may cost nothing
                changes = networks.bond_changes(*after)
                out |= {"bond variance": changes.variance, "same sign": changes.same_sign}
        if self.file.prune.modes is not None:
            with suppress(AmorphError):
                out |= _modes(after, self.file.prune.modes)
        if len(pairs):
            out["pairs"] = pairs.ravel()
        out["way cut"] = toggled[moments]
        for k, name in enumerate(found.names):
            out[f"way {name}"] = found.trace[moments, k]
        return out

    def _network(self, item: int) -> Any:
        if self.file.network.kind != "contacts":
            return self.file.network.made(item)
        theta, packing = self.packing(item)
        if not isinstance(theta, bridge.PairPotential):
            raise InputError("network: contacts are of a pair potential alone.")
        own = self.file.network
        network = networks.contact_network(theta, packing, stiffness=own.stiffness or 1.0)
        return networks.opened(*network) if own.open and packing.box is not None else network

    def _keep(self, item: int, before: Any, after: Any, found: networks.Pruned, pairs: Any) -> None:
        path = network_file(self.task.directory, item)
        path.parent.mkdir(parents=True, exist_ok=True)
        told = {"prune/target": found.target}
        if len(pairs):
            told["prune/pairs"] = pairs
        frames = [
            frame_of(theta, packing, {"prune/value": value, **told})
            for (theta, packing), value in ((before, found.trace[0]), (after, found.values))
        ]
        write_gsd(path, frames, overwrite=True)

    def summary(self, table: "pandas.DataFrame") -> Mapping[str, Any]:
        """As `RowStudy.summary`: how many arrived, and after how many cuts."""
        good = table[table["failure"] == ""]
        names = [o.feature for o in self.file.objective]
        return {
            "reached": f"{int((good['status'] == 'reached').sum())} of {len(table)}",
            **{name: float(good[name].median()) for name in names},
            "bonds cut": float(good["cut"].median()),
            "z": float(good["z"].mean()),
            "concave nodes": int(good["concave"].max()),
            "largest drift": float(good["drift"].max()),
        }

    @classmethod
    def pictures(cls, table: "pandas.DataFrame") -> "Mapping[str, tuple[Figure, str]]":
        """As `RowStudy.pictures`."""
        from .pictures import pictures

        return pictures(table)

    @classmethod
    def page(
        cls, root: Path, tasks: Sequence[Task[PruneFile]], output: "Output"
    ) -> tuple[str, list[str]]:
        """As `RowStudy.page`, with each system's first network before and after."""
        from .pictures import network_pictures

        name, body = super().page(root, tasks, output)
        return name, [*body, *network_pictures(tasks, output)]


def _modes(network: Any, n_modes: int) -> dict[str, Any]:
    """The two modes that the deformation under load is made of most."""
    springs, packing = network
    found = networks.mode_superposition(springs, packing, n_modes)
    out: dict[str, Any] = {
        "modes superposed": found.superposed,
        "modes over all": found.over_all,
        "modes share": found.share,
        "modes seen": float(found.weights.sum()),
    }
    for name, k in (("+", found.positive), ("-", found.negative)):
        if k >= 0:
            out |= {
                f"mode {name} frequency": found.frequencies[k],
                f"mode {name} weight": found.weights[k],
                f"mode {name} ratio": found.ratios[k],
            }
    return out


def network_file(directory: Path, item: int) -> Path:
    """Where a network's frames are: before, and after."""
    return directory / "networks" / f"{item:04d}.gsd"


def _cut_at(bonds: Any) -> Any:
    """How many bonds are cut after each move, from 0 on; a bond that moves again comes back."""
    there: dict[int, bool] = {}
    counted = [0]
    for bond in bonds.tolist():
        there[bond] = not there.get(bond, True)
        counted.append(counted[-1] + (1 if not there[bond] else -1))
    return np.array(counted)


def _measured(name: str, network: Any) -> dict[str, Any]:
    """Moduli of the elastic tensor, solved for anew: nothing of the pruning is in them."""
    tensor = jnp.asarray(networks.NetworkResponse(*network).elastic_tensor)
    found = {f"{name} {k}": np.asarray(v) for k, v in _of_tensor(tensor).items()}
    return {k: v for k, v in found.items() if np.isfinite(v).all()}


@jax.jit
def _of_tensor(tensor: Any) -> dict[str, Any]:
    return {k: f(tensor) for k in MEASURED if (f := bridge.feature(k).of_tensor) is not None}
