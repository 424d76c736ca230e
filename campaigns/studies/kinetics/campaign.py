"""Files of the study ``[kinetics]``: which cluster, which of its transitions, towards what."""

from dataclasses import dataclass
from itertools import chain, combinations
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from amorph import bridge
from amorph.bridge import landscapes
from amorph.handover import InputError

from ...inputs.files import AnyFile
from ...inputs.tables import NotNegative, Positive, Table

__all__ = ["ClusterTable", "KineticsFile", "KineticsSettings", "Wanted"]

Count = Annotated[int, Field(ge=1)]
# Of [seed, number]: what random numbers are for.
TARGETS, BINDINGS = 1, 2
# Particles of one diameter, to this part of it.
ALIKE = 1e-9


class ClusterTable(Table):
    """``[cluster]``: a rigid cluster of sticky spheres, and which of its contacts break.

    `state` is its number in `amorph.bridge.landscapes.rigid_clusters`. `transitions` are numbers of
    its contacts: breaking one leads to the next cluster. By default all whose breaking leads over
    one saddle of the potential.
    """

    particles: Annotated[int, Field(ge=4, le=12)] = 7
    state: Annotated[int, Field(ge=0)] = 0
    transitions: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None


class Trajectories(Table):
    """``[trajectories]``: Brownian trajectories that measure the rates which were designed.

    `number` of them, half from the start and half from the end, of `time` each after a tenth of it,
    in steps of `dt`; by default a fifteenth of what the stiffest pair takes to answer. A frame is
    looked at every `frame`, and a trajectory counts as elsewhere where it differs from the path by
    more than `beside` (root of the mean square of distances).
    """

    number: Count = 200
    time: Positive
    dt: Positive | None = None
    frame: Positive = 0.02
    beside: Positive = 0.15


class KineticsSettings(Table):
    """``[kinetics]``: energy barriers, or rates, that are wanted, and how they are looked for.

    Targets are of each transition's way there and back: given by `targets`, a row for each design;
    or by `grid`, every pair of these values for a single transition; or by `subsets`, for every set
    of transitions at random: `between` two values, or `around` what they are at the beginning, by
    at most that part of it; at most `most_subsets` sets of all. Barriers are energies, rates in
    units of 1/time. `uneven`: by how much bindings differ at the beginning, as a part of
    themselves, at random. All bindings are free.
    """

    quantity: Literal["barrier", "rate"] = "barrier"
    targets: list[Annotated[list[float], Field(min_length=2)]] | None = None
    grid: Annotated[list[float], Field(min_length=1)] | None = None
    subsets: bool = False
    between: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    around: Annotated[float, Field(gt=0, lt=1)] | None = None
    most_subsets: Count | None = None
    temperature: Positive = 1.0
    friction: Positive = 1.0
    tolerance: Positive = 1e-4
    steps: Count = 100
    uneven: NotNegative = 0.1
    least_binding: Positive = 0.05
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _one_kind(self) -> "KineticsSettings":
        given = [self.targets is not None, self.grid is not None, self.subsets]
        if sum(given) != 1:
            raise ValueError("give one of targets, grid and subsets: what is wanted.")
        if self.subsets != ((self.between is None) != (self.around is None)):
            raise ValueError("subsets need between = [low, high] or around, which belong to them.")
        if self.most_subsets is not None and not self.subsets:
            raise ValueError("most_subsets is for subsets.")
        if self.between is not None and not self.between[0] < self.between[1]:
            raise ValueError(f"between = {self.between}: the lowest value comes first.")
        values = [*chain(*(self.targets or [])), *(self.grid or []), *(self.between or [])]
        if not all(v > 0 for v in values):
            raise ValueError("a barrier or a rate that is wanted is greater than 0.")
        return self


@dataclass(frozen=True)
class Wanted:
    """One design: the transitions with these numbers, and what is wanted of each, there and back.

    Attributes: transitions; values (T, 2), targets, or by what the values before are multiplied
    where ``relative``.
    """

    transitions: list[int]
    values: Any
    relative: bool = False

    def targets(self, before: Any) -> Any:
        """What is wanted (T, 2), of values (T, 2) at the beginning."""
        wanted = np.asarray(self.values, dtype=np.float64)
        return wanted * before if self.relative else wanted


class KineticsFile(AnyFile):
    """A file with ``[kinetics]`` for ``amorph run``."""

    cluster: ClusterTable
    kinetics: KineticsSettings
    trajectories: Trajectories | None = None

    @property
    def seed(self) -> int:
        """As `AnyFile.seed`."""
        return self.kinetics.seed

    @model_validator(mode="after")
    def _fits(self) -> "KineticsFile":
        if self.preparation is not None or self.bonds is not None:
            raise ValueError("[kinetics] is of clusters: it has no [preparation] and no [bonds].")
        if self.potential is None:
            raise ValueError("[potential] is missing.")
        theta = self.potential.made
        if "binding" not in theta.arrays():
            raise ValueError(f"[potential] {theta.potential}: it has no binding to design.")
        n = self.cluster.particles
        if theta.n_types not in (1, n):
            raise ValueError(f"[potential] has {theta.n_types} types: give 1 or {n}, one each.")
        if np.ptp(np.asarray(theta.sizes)) > ALIKE * float(np.max(theta.sizes)):
            raise ValueError("[potential]: sticky spheres have one diameter.")
        own = self.kinetics
        contacts = 3 * n - 6
        chosen = self.cluster.transitions
        if chosen is not None and max(chosen) >= contacts:
            raise ValueError(f"cluster.transitions: contacts are numbered up to {contacts - 1}.")
        number = None if chosen is None else len(chosen)
        if own.grid is not None and number != 1:
            raise ValueError("grid is for one transition: cluster.transitions = [K].")
        for row in own.targets or []:
            if number is None or len(row) != 2 * number:
                raise ValueError(
                    "targets: each row has two values for each of cluster.transitions."
                )
        return self

    def theta(self, design: int) -> bridge.PairPotential:
        """The interactions a design begins with: each pair its own, unevenly bound."""
        assert self.potential is not None
        given = self.potential.made
        n, own = self.cluster.particles, self.kinetics
        pairs = n * (n + 1) // 2
        arrays = {k: np.asarray(v) for k, v in given.arrays().items()}
        if given.n_types == 1:
            arrays = {
                k: np.full(n if k == "diameters" else pairs, float(v.ravel()[0]))
                for k, v in arrays.items()
            }
        rng = np.random.default_rng([own.seed, design, BINDINGS])
        factor = 1.0 + own.uneven * rng.uniform(-1.0, 1.0, pairs)
        return type(given)(**{**arrays, "binding": arrays["binding"] * factor})

    def wanted(self, number: int) -> list[Wanted]:
        """The designs, of a cluster with so many transitions."""
        own, every = self.kinetics, list(range(number))
        if own.targets is not None:
            return [Wanted(every, [row[2 * k : 2 * k + 2] for k in every]) for row in own.targets]
        if own.grid is not None:
            return [Wanted([0], [[there, back]]) for there in own.grid for back in own.grid]
        sets = [s for size in range(1, number + 1) for s in combinations(every, size)]
        rng = np.random.default_rng([own.seed, 0, TARGETS])
        if own.most_subsets is not None and own.most_subsets < len(sets):
            kept = np.sort(rng.choice(len(sets), own.most_subsets, replace=False))
            sets = [sets[k] for k in kept]
        relative = own.around is not None
        low, high = own.between or (1.0 - (own.around or 0.0), 1.0 + (own.around or 0.0))
        return [
            Wanted(list(chosen), rng.uniform(low, high, size=(len(chosen), 2)), relative)
            for chosen in sets
        ]

    def cluster_made(self) -> landscapes.Cluster:
        """The cluster; raises `InputError` for a state that there is not."""
        known = landscapes.rigid_clusters(self.cluster.particles)
        if self.cluster.state >= len(known):
            raise InputError(
                f"cluster.state = {self.cluster.state}: there are {len(known)} rigid clusters of "
                f"{self.cluster.particles} spheres, from 0 on."
            )
        return known[self.cluster.state]

    def breakings(self) -> list[Any]:
        """The ways that breaking the cluster's contacts leads, in their order."""
        cluster = self.cluster_made()
        chosen = self.cluster.transitions
        numbers = range(len(cluster.contacts)) if chosen is None else chosen
        return [landscapes.break_contact(cluster, cluster.contacts[k]) for k in numbers]
