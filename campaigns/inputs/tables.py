"""The tables that describe how packings are made.

``[potential]``, ``[bonds]`` and ``[preparation]``.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from amorph import bridge, ensemble
from amorph.bridge.matter.registered import POTENTIAL_CLASSES
from amorph.ensemble.stages import MAX_STEPS, TOLERANCE
from amorph.handover import FrameError, InputError, count_frames, read_gsd

__all__ = [
    "Beginning",
    "Bonds",
    "Number",
    "Positive",
    "Potential",
    "Preparation",
    "Table",
    "unknown",
]

Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Values = Number | list[Number] | None
Temperature = NotNegative | Annotated[list[NotNegative], Field(min_length=1)]


class Table(BaseModel):
    """A table of a file: no keys but its own, values of their own types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Potential(Table):
    """``[potential]``: its kind and its parameters by their names, which the kind decides.

    The kind is a potential's name, of Amorph's own or of a plug-in.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    __pydantic_extra__: dict[str, Values]

    kind: str

    @model_validator(mode="after")
    def _possible(self) -> "Potential":
        if self.kind not in POTENTIAL_CLASSES:
            raise ValueError(
                f"{unknown('kind', self.kind, POTENTIAL_CLASSES)} One of your own is known by "
                "plugins = ['FILE'], or --plugin FILE."
            )
        _ = self.made
        return self

    def _given(self) -> dict[str, Any]:
        return self.model_dump(exclude={"kind"}, exclude_none=True)

    @cached_property
    def made(self) -> bridge.PairPotential:
        """`theta`, made once."""
        return bridge.from_arrays(self.kind, self._given())

    def theta(self) -> bridge.PairPotential:
        """The potential as the bridge has it."""
        return self.made


class Bonds(Table):
    """``[bonds]``: springs beside the potential, or instead of one: see `amorph.ensemble.Bonds`."""

    pairs: list[Annotated[list[int], Field(min_length=2, max_length=2)]] | None = None
    within: Positive | None = None
    stiffness: Positive | list[Positive] | None = None
    length: NotNegative | list[NotNegative] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "Bonds":
        if self.pairs is not None and self.within is not None:
            raise ValueError("bonds are the pairs listed, or all within a distance: give one.")
        return self

    def of(self, start: ensemble.Start, file: str | None) -> Sequence[ensemble.Bonds]:
        """The springs of a start's replicas: one list for all, or one for each."""
        if self.pairs is None and self.within is None:
            if file is None:
                raise ValueError("bonds need pairs, or a distance within which they are made.")
            if not start.bonds:
                raise ValueError(f"{file} has no bonds: give pairs, or within.")
            return start.bonds
        if self.stiffness is None:
            raise ValueError("bonds need a stiffness.")
        if self.pairs is not None:
            return [ensemble.Bonds(np.array(self.pairs), self.stiffness, self.length)]
        if isinstance(self.stiffness, list) or isinstance(self.length, list):
            raise ValueError("bonds within a distance have one stiffness and one length.")
        assert self.within is not None
        return [
            ensemble.Bonds.within(
                positions,
                start.boxes if start.boxes is None else start.boxes[r % len(start.boxes)],
                self.within,
                self.stiffness,
                self.length,
            )
            for r, positions in enumerate(start.positions)
        ]


class Minimize(Table):
    """A stage of a preparation: see `amorph.ensemble.Minimize`."""

    kind: Literal["minimize"]
    tolerance: Positive = TOLERANCE
    max_steps: Count = MAX_STEPS
    pressure: Number | None = None
    pressure_tolerance: Positive = 1e-6
    from_pressure: Positive | None = None


class Langevin(Table):
    """A stage of a preparation: see `amorph.ensemble.Langevin`."""

    kind: Literal["langevin"]
    steps: Count
    dt: Positive
    temperature: Temperature
    schedule: Literal["linear", "exponential"] = "linear"
    temperature_at: list[NotNegative] | None = None
    friction: NotNegative = 1.0
    draw_velocities: bool = True


class Brownian(Table):
    """A stage of a preparation: see `amorph.ensemble.Brownian`."""

    kind: Literal["brownian"]
    steps: Count
    dt: Positive
    temperature: Temperature
    schedule: Literal["linear", "exponential"] = "linear"
    temperature_at: list[NotNegative] | None = None
    friction: Positive = 1.0


class Compress(Table):
    """A stage of a preparation: see `amorph.ensemble.Compress`."""

    kind: Literal["compress"]
    density: Positive
    increments: Count = 100
    tolerance: Positive = TOLERANCE
    max_steps: Count = MAX_STEPS


StageTable = Annotated[Minimize | Langevin | Brownian | Compress, Field(discriminator="kind")]
_STAGES = {
    "minimize": ensemble.Minimize,
    "langevin": ensemble.Langevin,
    "brownian": ensemble.Brownian,
    "compress": ensemble.Compress,
}
# What each method has besides what all of them have.
_METHODS: dict[str, set[str]] = {
    "quench": {"pressure", "pressure_tolerance"},
    "anneal": {
        "pressure",
        "pressure_tolerance",
        "temperature",
        "schedule",
        "temperature_at",
        "steps",
        "dt",
        "friction",
        "dynamics",
    },
    "compress": {"final_density", "increments"},
    "stages": {"stage"},
}


class Preparation(Table):
    """``[preparation]``: how packings are made: where they start, and what is done to them.

    The engine is our own, or in designs HOOMD-blue where it is installed with the component.
    """

    engine: Literal["amorph", "hoomd"] = "amorph"
    method: Literal["quench", "anneal", "compress", "stages"] = "quench"
    # the start
    start: str = "random"
    noise: NotNegative = 0.0
    file: str | None = None
    frames: str | None = None
    dimension: Literal[2, 3] = 2
    n_particles: Count | None = None
    density: Positive | None = None
    open: bool = False  # no box: clusters, which have no density
    composition: list[Number] | None = None
    order: Literal["in_order", "random"] = "in_order"
    replicas: Count | None = None
    seed: Annotated[int, Field(ge=0, lt=2**64)] = 0
    # the stages
    tolerance: Positive = TOLERANCE
    max_steps: Count = MAX_STEPS
    pressure: Number | None = None
    pressure_tolerance: Positive | None = None
    temperature: Temperature | None = None
    schedule: Literal["linear", "exponential"] | None = None
    temperature_at: list[NotNegative] | None = None
    steps: Count | None = None
    dt: Positive | None = None
    friction: NotNegative | None = None
    dynamics: Literal["langevin", "brownian"] | None = None
    final_density: Positive | None = None
    increments: Count | None = None
    stage: list[StageTable] | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Preparation":
        if self.start == "file":
            if self.file is None:
                raise ValueError("start = 'file' needs file = 'NAME.gsd'.")
            made = ("n_particles", "density", "composition", "replicas")
            for name in (n for n in made if getattr(self, n) is not None):
                raise ValueError(f"{name} is the file's own with start = 'file': leave it out.")
            if self.open:
                raise ValueError("open is for clusters that are made: a file has boxes or none.")
        else:
            if self.start != "random" and self.start not in ensemble.LATTICES:
                raise ValueError(
                    unknown("start", self.start, ["random", "file", *ensemble.LATTICES])
                )
            if self.n_particles is None:
                raise ValueError("n_particles is missing.")
            if self.density is None and not self.open:
                raise ValueError("density is missing; open = true is for clusters in open space.")
            if self.density is not None and self.open:
                raise ValueError("open = true: clusters in open space have no density.")
            for name in (n for n in ("file", "frames") if getattr(self, n) is not None):
                raise ValueError(f"{name} is for start = 'file' alone.")
        for method, names in _METHODS.items():
            for name in names - _METHODS[self.method]:
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is no key of method = {self.method!r} ({method}).")
        needed = {
            "anneal": ("temperature", "steps"),
            "compress": ("final_density",),
            "stages": ("stage",),
        }
        for name in needed.get(self.method, ()):
            if getattr(self, name) is None:
                raise ValueError(f"method = {self.method!r} needs {name}.")
        return self

    @property
    def n_replicas(self) -> int:
        """The number of replicas; of a file, that of its frames."""
        return len(self._frames()) if self.start == "file" else (self.replicas or 1)

    def _frames(self) -> range:
        """The file's frames that are meant."""
        chosen = frames_slice(self.frames) or slice(None)
        return range(count_frames(str(self.file)))[chosen]

    def _file(self, bonds: Bonds | None, first: int, count: int) -> ensemble.Start:
        listed = bonds is not None and (bonds.pairs is not None or bonds.within is not None)
        part = self._frames()[first : first + count]
        if not part:
            raise InputError(
                f"{self.file}: there is no packing {first}: {len(self._frames())} frames are meant."
            )
        stop = part.stop if part.stop >= 0 else None  # of a range that runs down to 0
        return ensemble.read_start(
            str(self.file),
            slice(part.start, stop, part.step),
            # Of the file's own bonds; where others are listed these do not matter.
            stiffness=1.0 if listed else (bonds.stiffness if bonds is not None else None),
            length=bonds.length if bonds is not None and not listed else None,
        )

    def begin(
        self,
        potential: Any,
        bonds: Bonds | None,
        first: int,
        count: int,
        stream: int = 0,
    ) -> "Beginning":
        """The potential, start and springs of replicas first, first + 1, ...

        Of a `Potential`, or of one as the bridge or the engine has it; or of none.
        """
        theta = potential.theta() if isinstance(potential, Potential) else potential
        if self.start == "file":
            start = self._file(bonds, first, count)
            springs = start.bonds if bonds is None else bonds.of(start, self.file)
            if potential is None and not start.parameters and not springs:
                raise ValueError(
                    f"{self.file} has no potential that can be used: give [potential]."
                    f"{_why_none(str(self.file), frames_slice(self.frames))}"
                )
            known = start.parameters or None
            return Beginning(known if theta is None else theta, start, springs)
        if potential is None and bonds is None:
            raise ValueError("[potential] is missing.")
        assert self.n_particles is not None
        start = ensemble.make_start(
            theta,
            self.n_particles,
            self.density,
            self.dimension,
            count,
            self.seed,
            start=self.start,
            noise=self.noise,
            composition=self.composition,
            order=self.order,
            first_replica=first,
            stream=stream,
        )
        return Beginning(theta, start, () if bonds is None else bonds.of(start, None))

    def stages(self, theta: Any, dimension: int) -> list[ensemble.Stage]:
        """The stages of the preparation, as `amorph.ensemble.prepare` takes them."""
        if self.stage is not None:
            return [_STAGES[s.kind](**s.model_dump(exclude={"kind"})) for s in self.stage]
        common = {"tolerance": self.tolerance, "max_steps": self.max_steps}
        own = {
            name: getattr(self, name)
            for name in _METHODS[self.method]
            if getattr(self, name) is not None
        }
        makers: dict[str, Callable[..., list[ensemble.Stage]]] = {
            "quench": ensemble.quench_stages,
            "anneal": ensemble.anneal_stages,
            "compress": ensemble.compress_stages,
        }
        return makers[self.method](theta, dimension, **common, **own)

    def check(self, potential: Potential | None, bonds: Bonds | None = None) -> None:
        """Raise `AmorphError` or `ValueError` for what only shows beside potential and bonds."""
        # Of a file all frames: what differs among them shows before work.
        begin = self.begin(potential, bonds, 0, self.n_replicas if self.start == "file" else 1)
        ensemble.check(
            begin.theta,
            begin.start.positions,
            begin.start.typeid,
            begin.start.box,
            self.stages(begin.theta, begin.start.positions.shape[2]),
            bonds=begin.bonds or None,
        )


def _why_none(path: str, frames: slice | None) -> str:
    """The reader's words on frames whose potential is asked for."""
    try:
        list(read_gsd(path, frames))
    except FrameError as error:
        return f" ({error})"
    return ""


@dataclass(frozen=True)
class Beginning:
    """The potential (one, one a replica, or none), the start, and the springs, as `prepare` takes.

    There is one list of springs for all replicas, one for each, or none.
    """

    theta: Any
    start: ensemble.Start
    bonds: Sequence[ensemble.Bonds]


def frames_slice(text: str | None) -> slice | None:
    """Frames as ``i:j``, ``i:j:k`` or a number; raises `ValueError`."""
    if text is None:
        return None
    parts = text.split(":")
    try:
        numbers = [int(p) if p else None for p in parts]
    except ValueError:
        raise ValueError(f"frames {text!r}: write i:j, i:j:k, or a number.") from None
    if len(numbers) == 1 and numbers[0] is not None:
        first = numbers[0]
        return slice(first, first + 1 if first != -1 else None)
    if len(numbers) in (2, 3):
        return slice(*numbers)
    raise ValueError(f"frames {text!r}: write i:j, i:j:k, or a number.")


def unknown(what: str, given: str, known: Mapping[str, object] | list[str]) -> str:
    """The message for a name that is not there, with the nearest of those that are."""
    near = difflib.get_close_matches(given, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ":"
    return f"unknown {what} {given!r}{hint} there are {', '.join(known)}."
