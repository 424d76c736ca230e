"""Files of the study ``[prune]``: which networks, towards what, within what limits."""

from contextlib import suppress
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from amorph import bridge
from amorph.bridge.networks import (
    ISOTROPIC,
    Constraints,
    NetworkResponse,
    Pruned,
    Pruning,
    anneal,
    contact_network,
    delaunay_network,
    periodic,
    plates,
    prune_by_gradient,
    prune_greedily,
    triangular_network,
    without_cut,
)
from amorph.bridge.networks.goals import check_names
from amorph.handover import InputError, count_frames, read_gsd

from ...inputs.files import AnyFile
from ...inputs.objectives import Objective
from ...inputs.tables import NotNegative, Positive, Table

# What random numbers are for, where one seed serves several ends: [seed, number] chooses pairs.
ANNEALING = 1
# What a bond of an allosteric pair has to have as its part in states of self stress to be cut.
FREE = 0.1

__all__ = ["Allostery", "NetworkTable", "PruneFile", "PruneSettings"]

Count = Annotated[int, Field(ge=1)]


class NetworkTable(Table):
    """``[network]``: of which kind the networks are, and how large.

    ``triangular``: distorted lattices of `size` nodes in a row and rows; ``delaunay``:
    triangulations of `nodes` points; ``contacts``: the contacts of packings, which ``[potential]``
    and ``[preparation]`` prepare; ``file``: the frames of a file with springs, or of packings, of
    which the contacts are taken. Network k has the seed `seed` + k.
    """

    kind: Literal["triangular", "delaunay", "contacts", "file"]
    size: Annotated[list[int], Field(min_length=2, max_length=2)] | None = None
    distortion: NotNegative | None = None
    nodes: Count | None = None
    least_distance: NotNegative | None = None
    open: bool | None = None
    file: str | None = None
    stiffness: Positive | None = None
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _own(self) -> "NetworkTable":
        needed = {"triangular": "size", "delaunay": "nodes", "file": "file"}
        keys = {
            "triangular": {"size", "distortion", "open", "stiffness"},
            "delaunay": {"nodes", "least_distance", "open", "stiffness"},
            "contacts": {"open", "stiffness"},
            "file": {"file", "stiffness"},
        }
        for name in set().union(*keys.values()) - keys[self.kind]:
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is no key of kind = {self.kind!r}.")
        if self.kind in needed and getattr(self, needed[self.kind]) is None:
            raise ValueError(f"kind = {self.kind!r} needs {needed[self.kind]}.")
        return self

    def made(self, number: int) -> Any:
        """Network `number`, as (springs, packing); raises `InputError` as its maker does."""
        given = {
            name: getattr(self, name)
            for name in ("distortion", "least_distance", "stiffness")
            if getattr(self, name) is not None
        }
        if self.open is not None:
            given["open_edges"] = self.open
        seed = self.seed + number
        if self.kind == "triangular":
            assert self.size is not None
            return triangular_network(tuple(self.size), seed=seed, **given)
        if self.kind == "delaunay":
            assert self.nodes is not None
            return delaunay_network(self.nodes, seed=seed, **given)
        assert self.file is not None
        ((theta, packing),) = bridge.read_gsd(self.file, slice(number, number + 1))
        if isinstance(theta, bridge.Springs) and self.stiffness is not None:
            raise InputError(f"{self.file}: its springs have their own stiffness: leave it out.")
        if isinstance(theta, bridge.Springs):
            return without_cut(theta, packing)
        if isinstance(theta, bridge.PairPotential):
            given_k = 1.0 if self.stiffness is None else self.stiffness
            return contact_network(theta, bridge.relax(theta, packing), stiffness=given_k)
        raise InputError(f"{self.file}: frame {number} has springs and a potential: give one.")


class PruneSettings(Table):
    """``[prune]``: how many networks, by which method, within which limits.

    `load`: ``strains`` of the periodic box, or ``plates`` between which an open network is pressed.
    `limits`: the lowest and the highest value of features by name; `isotropic` adds those of
    `amorph.bridge.networks.ISOTROPIC`. `pairs` of nodes may have strains as objectives:
    ``pair_strains[1, 0]``. `modes`: so many of the lowest modes of open networks are looked at in
    the end (`amorph.bridge.networks.mode_superposition`). `temperature`, `coldest`, `cooling`,
    `chain`, `most_trials` are of ``annealing``.
    """

    method: Literal["greedy", "annealing", "gradient"] = "greedy"
    networks: Count = 1
    load: Literal["strains", "plates"] = "strains"
    tolerance: Positive = 1e-2
    least_bonds: Count | None = None
    convex: bool = False
    isotropic: bool = False
    limits: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        default_factory=dict
    )
    left: Annotated[float, Field(gt=0, lt=1)] = 1e-2
    returns: bool = False
    pairs: list[Annotated[list[int], Field(min_length=2, max_length=2)]] | None = None
    modes: Count | None = None
    temperature: Positive | None = None
    coldest: Positive | None = None
    cooling: Annotated[float, Field(gt=0, lt=1)] | None = None
    chain: Count | None = None
    most_trials: Count | None = None
    most_cuts: Count | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "PruneSettings":
        for name, (low, high) in self.limits.items():
            if not low < high:
                raise ValueError(f"limits: {name} = [{low}, {high}]: the lowest value comes first.")
        return self

    @model_validator(mode="after")
    def _own(self) -> "PruneSettings":
        own = {
            "annealing": ("temperature", "coldest", "cooling", "chain", "most_trials"),
            "greedy": ("most_cuts",),
        }
        for method, names in own.items():
            for name in names if self.method != method else ():
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is no key of method = {self.method!r}.")
        if self.returns and self.method != "greedy":
            raise ValueError("returns is of method = 'greedy': the others return bonds anyway.")
        return self

    def constraints(self) -> Constraints:
        """The constraints that networks keep to."""
        limits = dict(ISOTROPIC) if self.isotropic else {}
        if self.isotropic and self.load == "plates":
            del limits["shear_moduli[0] / shear_moduli[1]"]
        limits |= {name: (v[0], v[1]) for name, v in self.limits.items()}
        return Constraints(self.least_bonds, self.convex, limits, self.left)


class Allostery(Table):
    """``[allostery]``: strains wanted far from where one is applied, in place of objectives.

    A bond at random is cut, and its nodes are pulled apart; the nodes of `targets` others that are
    cut too shall then move apart by `strain` times as much, or together: the signs are at random.
    How far networks are from that is the root of the mean square, as a part of `strain`.
    Source: Rocks et al., PNAS 114, 2520 (2017), and PNAS 116, 2506 (2019).
    """

    targets: Count = 1
    strain: Positive = 1.0


class PruneFile(AnyFile):
    """A file with ``[prune]`` for ``amorph run``."""

    network: NetworkTable
    prune: PruneSettings = PruneSettings()
    objective: list[Objective] = Field(default_factory=list)
    allostery: Allostery | None = None

    @property
    def seed(self) -> int:
        """As `AnyFile.seed`."""
        return self.network.seed

    @property
    def started_from(self) -> str | None:
        """As `AnyFile.started_from`."""
        return self.network.file if self.network.kind == "file" else super().started_from

    @property
    def measured(self) -> bool:
        """Whether the elastic tensor is what networks are pruned for, and worth a look."""
        return self.prune.load == "strains" and self.allostery is None

    @model_validator(mode="after")
    def _fits(self) -> "PruneFile":
        if (self.network.kind == "contacts") != (self.preparation is not None):
            raise ValueError("[preparation] is for [network] kind = 'contacts', which needs it.")
        if self.network.kind != "contacts" and self.potential is not None:
            raise ValueError("[potential] is for [network] kind = 'contacts'.")
        if self.preparation is not None and self.potential is None:
            raise ValueError("[potential] is missing: contacts are of a pair potential.")
        if bool(self.objective) == (self.allostery is not None):
            raise ValueError("give [[objective]] or [allostery]: towards what networks are pruned.")
        if self.allostery is not None and (self.prune.pairs or self.prune.load == "plates"):
            raise ValueError("[allostery] chooses its pairs, and has no plates: leave them out.")
        for objective in self.objective:
            if objective.within is not None:
                raise ValueError("objective: within is for ensembles.")
        if self.network.kind == "file":
            frames = count_frames(str(self.network.file))
            if self.prune.networks > frames:
                raise ValueError(f"prune.networks = {self.prune.networks}: there are {frames}.")
        self._check_names()
        return self

    def _check_names(self) -> None:
        """Raise `FeatureError` or `ValueError` for objectives that the networks do not have."""
        own = self.prune
        dimension, box = 2, not self.network.open
        if self.preparation is not None:
            dimension = self.preparation.dimension
            box = not (self.network.open or self.preparation.open)
        elif self.network.kind == "file":
            (frame,) = read_gsd(str(self.network.file), slice(0, 1), need_potential=False)
            dimension, box = frame.positions.shape[1], frame.box is not None
        if own.load == "plates" and (box or dimension == 3):
            raise ValueError(
                "prune.load = 'plates' presses open networks in the plane: open = true."
            )
        if own.isotropic and dimension == 3:
            raise ValueError("prune.isotropic is for networks in the plane: give limits instead.")
        if own.pairs is not None and min(min(pair) for pair in own.pairs) < 0:
            raise ValueError("prune.pairs: nodes are numbered from 0 on.")
        if own.modes is not None and (box or dimension == 3):
            raise ValueError("prune.modes looks at open networks in the plane: open = true.")
        names = [o.feature for o in self.objective]
        pairs = len(own.pairs or ()) if self.allostery is None else self.allostery.targets + 1
        if len(set(names)) < len(names):
            raise ValueError("objective: a feature stands there twice.")
        limits = own.constraints().limits
        check_names(
            "plates" if own.load == "plates" else "periodic",
            dimension,
            [*names, *limits],
            pairs=pairs,
            box=box,
        )

    def pruning(self, springs: Any, packing: Any, number: int) -> Pruning:
        """Network `number` with its goals; raises as `amorph.bridge.networks.Pruning` does."""
        own = self.prune
        if self.allostery is not None:
            return self._allosteric(springs, packing, number)
        loading = (
            plates(packing)
            if own.load == "plates"
            else periodic(packing, None if own.pairs is None else np.array(own.pairs))
        )
        names = [o.feature for o in self.objective]
        units = {o.feature: o.weight**-0.5 for o in self.objective}
        given: dict[str, Any] = {
            "constraints": own.constraints(),
            "loading": loading,
            "units": units,
        }
        start = np.zeros(len(names))
        if any(o.change is not None for o in self.objective):
            start = Pruning(springs, packing, dict.fromkeys(names, 0.0), **given).values
        goals = {
            o.feature: o.target_from(float(v)) for o, v in zip(self.objective, start, strict=True)
        }
        return Pruning(springs, packing, goals, **given)

    def _allosteric(self, springs: Any, packing: Any, number: int) -> Pruning:
        """A network with source and targets: bonds at random that it can do without."""
        wanted = self.allostery
        assert wanted is not None
        rng = np.random.default_rng([self.network.seed, number])
        response = NetworkResponse(springs, packing)
        chosen: list[int] = []
        for bond in rng.permutation(springs.n_bonds).tolist():
            k = float(response.stiffness[bond])
            if k > 0 and 1.0 - k * response.compliance[bond] > FREE:
                with suppress(bridge.errors.FloppyModeError):
                    response.cut(bond)
                    chosen.append(bond)
            if len(chosen) > wanted.targets:
                break
        else:
            raise InputError(
                f"the network has no {wanted.targets + 1} bonds that it can do without."
            )
        signs = rng.choice([-1.0, 1.0], size=wanted.targets)
        goals = {
            f"pair_strains[{k + 1}, 0]": float(sign * wanted.strain) for k, sign in enumerate(signs)
        }
        return Pruning(
            response.springs,
            packing,
            goals,
            constraints=self.prune.constraints(),
            loading=periodic(packing, np.asarray(packing.bonds)[chosen]),
            units=dict.fromkeys(goals, wanted.strain * wanted.targets**0.5),
        )

    def pruned(self, pruning: Pruning, number: int) -> Pruned:
        """Prune by the file's method; network `number` has random numbers of its own."""
        own = self.prune
        if own.method == "greedy":
            return prune_greedily(
                pruning, tolerance=own.tolerance, most=own.most_cuts, returns=own.returns
            )
        if own.method == "gradient":
            return prune_by_gradient(pruning, tolerance=own.tolerance)
        names = ("temperature", "coldest", "cooling", "chain", "most_trials")
        given = {n: getattr(own, n) for n in names if getattr(own, n) is not None}
        # Not what the network itself was made of.
        seeds = [self.network.seed, number, ANNEALING]
        return anneal(pruning, tolerance=own.tolerance, seed=seeds, **given)
