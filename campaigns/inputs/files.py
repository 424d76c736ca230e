"""Campaign and preparation files: TOML, checked whole before any work starts."""

import difflib
import itertools
import stat
import tomllib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from inspect import signature
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import optax
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError, model_validator

from amorph import bridge
from amorph.bridge.features.kinds import check_scalar
from amorph.handover import POTENTIALS, AmorphError, type_names
from amorph.handover.arguments import file_path

from ..errors import CampaignFileError
from .plugins import beside, load_plugins
from .tables import Bonds, Number, Positive, Potential, Preparation, Table, unknown

__all__ = [
    "Campaign",
    "Clip",
    "DesignSettings",
    "Objective",
    "Optimizer",
    "Potential",
    "Preparation",
    "PreparationFile",
    "Schedule",
    "Stop",
    "Validation",
    "component_groups",
    "file_text",
    "load_campaign",
    "load_named_potential",
    "load_potential",
    "load_preparation",
    "parse_campaign",
]

Model = TypeVar("Model", bound=BaseModel)


class DesignSettings(Table):
    """``[design]``: the free parameters, their bounds, and the packings.

    ``individual``: each of `packings` packings is to reach the targets, and is followed while the
    parameters change. ``ensemble``: the mean over `packings` packings is, prepared anew at every
    step (``fresh``), or from the same starts (``common``).
    """

    kind: Literal["individual", "ensemble"] = "individual"
    parameters: Annotated[list[str], Field(min_length=1)]
    packings: Annotated[int, Field(ge=1)] | None = None
    starts: Literal["fresh", "common"] | None = None
    bounds: dict[str, Annotated[list[Number], Field(min_length=2, max_length=2)]] = Field(
        default_factory=dict
    )
    held: dict[str, list[str]] = Field(default_factory=dict)
    shared: dict[str, list[Annotated[list[str], Field(min_length=2)]]] = Field(default_factory=dict)
    gradient_limit: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    jump_terms: bool | None = None

    @property
    def n_packings(self) -> int:
        """The number of packings a step measures: by default one, of an ensemble 8."""
        return self.packings or (1 if self.kind == "individual" else 8)

    @property
    def limit(self) -> float:
        """`gradient_limit`, by default 1 for an ensemble; 0: none."""
        if self.gradient_limit is not None:
            return self.gradient_limit
        return 1.0 if self.kind == "ensemble" else 0.0

    @model_validator(mode="after")
    def _whole(self) -> "DesignSettings":
        if self.kind == "individual":
            for name in ("starts", "gradient_limit", "jump_terms"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is for kind = 'ensemble'.")
        return self


class Objective(Table):
    """``[[objective]]``: a feature, its target and its weight in the loss."""

    feature: str
    target: Number
    weight: Positive = 1.0


class Schedule(Table):
    """``[optimizer.schedule]``: how the learning rate falls.

    ``halve``: by half every `steps`; the others: to `end` times itself over `steps`.
    """

    kind: Literal["halve", "linear", "cosine", "exponential"]
    steps: Annotated[int, Field(ge=1)]
    end: Annotated[float, Field(gt=0, le=1)] = 0.01


class Clip(Table):
    """``[optimizer.clip]``: the gradient's length (``norm``) or each component (``value``)."""

    kind: Literal["norm", "value"]
    limit: Positive


class Optimizer(Table):
    """``[optimizer]``: an optax optimiser, its learning rate, and the rate's own."""

    kind: Literal[
        "rmsprop", "adam", "sgd", "adabelief", "adagrad", "adamax", "amsgrad", "lion", "nadam",
        "radam", "yogi",
    ] = "rmsprop"  # fmt: skip
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    meta_learning_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 3e-3
    options: dict[str, bool | Number] = Field(default_factory=dict)
    schedule: Schedule | None = None
    clip: Clip | None = None

    @model_validator(mode="after")
    def _known(self) -> "Optimizer":
        known = [k for k in signature(getattr(optax, self.kind)).parameters if k != "learning_rate"]
        for name in self.options:
            if name not in known:
                raise ValueError(unknown(f"option of {self.kind}", name, known))
        return self


class Stop(Table):
    """``[stop]``: when a design ends: below a loss, or after so many steps.

    An ensemble's loss is mostly noise: by default it ends no design.
    """

    loss: Positive | None = None
    steps: Annotated[int, Field(ge=0)] = 5000


class Validation(Table):
    """``[[validation]]``: fresh packings, measured with the parameters that the design found.

    After the last step, and every `every` steps if that is given; of another size where
    `n_particles` is.
    """

    packings: Annotated[int, Field(ge=2)] = 2000
    n_particles: Annotated[int, Field(ge=1)] | None = None
    every: Annotated[int, Field(ge=1)] | None = None


class PreparationFile(Table):
    """A file for ``amorph prepare``."""

    name: str | None = None  # for the reader
    plugins: list[str] = Field(default_factory=list)
    potential: Potential | None = None  # a file to start from may have it
    bonds: Bonds | None = None
    preparation: Preparation

    @model_validator(mode="after")
    def _fits(self) -> "PreparationFile":
        if self.preparation.engine != "amorph":
            raise ValueError(
                f"engine = {self.preparation.engine!r} is for designs: HOOMD-blue's own scripts "
                "prepare ensembles with it."
            )
        self.preparation.check(self.potential, self.bonds)
        return self


class Campaign(Table):
    """A file for ``amorph run``."""

    name: str = "campaign"
    plugins: list[str] = Field(default_factory=list)
    potential: Potential
    preparation: Preparation
    design: DesignSettings
    objective: Annotated[list[Objective], Field(min_length=1)]
    optimizer: Optimizer = Optimizer()
    stop: Stop = Stop()
    validation: list[Validation] = Field(default_factory=list)
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> "Campaign":
        if self.preparation.start == "file":
            raise ValueError(
                "preparation.start = 'file': a campaign prepares its packings itself; start at "
                "random or on a lattice."
            )
        self.preparation.check(self.potential)
        if self.preparation.engine == "hoomd":
            from ..studies.hoomd_preparing import check_hoomd

            theta = self.potential.theta()
            if self.potential.kind not in POTENTIALS:
                raise ValueError(
                    f"preparation.engine = 'hoomd': {self.potential.kind} is no potential of "
                    f"hoomd.amorph ({', '.join(POTENTIALS)}): let Amorph's own engine prepare."
                )
            check_hoomd(self.preparation.stages(theta, self.preparation.dimension))
        known = {p.name: p for p in self.potential.theta().declared}
        for name in (*self.design.parameters, *self.design.bounds):
            if name not in known:
                raise ValueError(unknown("parameter", name, known))
        for name, (low, high) in self.design.bounds.items():
            if low > high:
                raise ValueError(f"design.bounds.{name} = [{low}, {high}]: the lower comes first.")
            if not known[name].allows(np.array([low, high])).all():
                raise ValueError(
                    f"design.bounds.{name} = [{low}, {high}]: {name} must be {known[name].bounds}."
                )
        component_groups(self)
        for objective in self.objective:
            feature = bridge.feature(objective.feature)
            if self.preparation.dimension not in feature.dimensions:
                raise ValueError(
                    f"feature {feature.name!r} is not defined in {self.preparation.dimension} "
                    "dimensions."
                )
            if not (feature.differentiable and feature.scalar):
                raise ValueError(
                    f"feature {feature.name!r} is no differentiable scalar: a design needs one."
                )
            check_scalar(feature, self.potential.theta(), self.preparation.dimension)
            if self.design.jump_terms and not feature.has_jump_terms:
                raise ValueError(
                    f"design.jump_terms: {feature.name!r} has none, since it needs vibrational "
                    "modes: leave jump_terms out."
                )
            low, high = feature.range_in(self.preparation.dimension)
            if not low <= objective.target <= high:
                warnings.warn(
                    f"objective: target {objective.target:g} for {feature.name} lies outside "
                    f"[{low:g}, {high:g}], what is possible for an isotropic solid in "
                    f"{self.preparation.dimension} dimensions.",
                    stacklevel=2,
                )
        return self

    @property
    def adds_jump_terms(self) -> bool:
        """Whether jump terms are added to packings' gradients: ``design.jump_terms``.

        By default those of an ensemble do, if all objectives can.
        """
        if self.design.jump_terms is not None:
            return self.design.jump_terms
        features = [bridge.feature(o.feature) for o in self.objective]
        return self.design.kind == "ensemble" and all(f.has_jump_terms for f in features)

    @property
    def threshold(self) -> float | None:
        """The loss below which a design has converged: ``stop.loss``.

        By default 1e-6 for individual designs, None for an ensemble.
        """
        if self.stop.loss is None and self.design.kind == "individual":
            return 1e-6
        return self.stop.loss

    def bounds_of(self, parameter: str) -> tuple[float, float]:
        """The bounds of a parameter: those of the file, or those of the potential."""
        if parameter in self.design.bounds:
            low, high = self.design.bounds[parameter]
            return low, high
        own = next(p for p in self.potential.theta().declared if p.name == parameter)
        # Not as far as a bound that is none of the values.
        closed = own.zero_allowed or own.low != 0
        return (own.low if closed else 1e-3), own.high

    def components(self, parameter: str) -> list[str]:
        """The names of a parameter's components: types (A, B) or pairs (AA, AB, BB)."""
        theta = self.potential.theta()
        return theta.component_names(parameter, type_names(theta.n_types))

    def points(self) -> Iterator[tuple[dict[str, Any], "Campaign"]]:
        """The campaigns of the sweep, each with the values that set it apart; one without sweep.

        Raises `CampaignFileError` if a swept key is not there or a value does not fit.
        """
        plain = self.model_dump(exclude={"sweep"}, exclude_none=True)
        for values in itertools.product(*self.sweep.values()):
            chosen = dict(zip(self.sweep, values, strict=True))
            changed = deepcopy(plain)
            for path, value in chosen.items():
                _set(changed, path, value)
            yield chosen, _checked(Campaign, changed, "sweep")


def component_groups(campaign: Campaign) -> dict[str, NDArray[np.int64]]:
    """For each designed parameter, which free number stands for each component; -1: held.

    Raises `ValueError` for components that are not there, or are one but start apart.
    """
    design = campaign.design
    for table, listed in (("held", design.held), ("shared", design.shared)):
        for name in listed:
            if name not in design.parameters:
                raise ValueError(
                    f"design.{table}.{name}: {name!r} is none of design.parameters, "
                    f"{design.parameters}."
                )
    values = campaign.potential.theta().arrays()
    out = {}
    for name in design.parameters:
        names = campaign.components(name)

        def place(component: str, names: list[str] = names, name: str = name) -> int:
            if component not in names:
                raise ValueError(unknown(f"component of {name}", component, names))
            return names.index(component)

        where = np.arange(len(names))
        for group in design.shared.get(name, []):
            places = [place(c) for c in group]
            if np.ptp(values[name][places]) != 0:
                raise ValueError(
                    f"design.shared.{name} = {group}: they are to be one, but start at "
                    f"{values[name][places].tolist()}."
                )
            where[np.isin(where, where[places])] = where[places].min()
        for component in design.held.get(name, []):
            where[where == where[place(component)]] = -1
        free = np.unique(where[where >= 0])
        if not len(free):
            raise ValueError(f"design.held.{name}: nothing is left to change: drop the parameter.")
        out[name] = np.where(where >= 0, np.searchsorted(free, where), -1)
    return out


def _set(table: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place: Any = table
    for key in parents:
        try:
            place = place[int(key)] if isinstance(place, list) else place[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise CampaignFileError(
                f"sweep: there is no {key!r} in {path!r}: write 'objective.0.target', "
                "'preparation.seed', ..."
            ) from None
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value


def _keys_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The keys a table at a location may have."""
    here: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        annotation = here.model_fields[part].annotation if part in here.model_fields else None
        while annotation is not None and not (
            isinstance(annotation, type) and issubclass(annotation, BaseModel)
        ):
            inner = [a for a in getattr(annotation, "__args__", ()) if a is not type(None)]
            annotation = inner[0] if inner else None
        if annotation is None:
            return []
        here = annotation
    return list(here.model_fields)


def _checked(model: type[Model], raw: Mapping[str, Any], source: str) -> Model:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        lines = []
        for fault in error.errors():
            where = ".".join(str(part) for part in fault["loc"] if part != "function-after")
            given = fault["input"]
            message = fault["msg"].removeprefix("Value error, ")
            if fault["type"] == "extra_forbidden":
                known = _keys_at(model, fault["loc"][:-1])
                near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else "."
                message = f"unknown key{hint} Possible here: {', '.join(known)}."
            elif fault["type"] == "missing":
                message = "is missing."
            elif not isinstance(given, dict):
                message = f"= {given!r}: {message}"
            lines.append(f"  {where or 'file'}: {message}")
        raise CampaignFileError(f"{source}:\n" + "\n".join(dict.fromkeys(lines))) from None
    except AmorphError as error:
        raise CampaignFileError(f"{source}:\n  {error}") from error


def file_text(path: str | PathLike[str]) -> str:
    """The text of a TOML file; raises `CampaignFileError` for whatever keeps it from being read."""
    given = file_path("path", path)
    try:
        mode = given.stat().st_mode
        if stat.S_ISREG(mode):
            return given.read_text(encoding="utf-8-sig")  # some editors begin with a mark
        what = "is a directory" if stat.S_ISDIR(mode) else "is not a regular file"
    except FileNotFoundError:
        raise CampaignFileError(f"{given}: there is no such file.") from None
    except UnicodeDecodeError as error:
        raise CampaignFileError(f"{given}: is not UTF-8 text: {error}.") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise CampaignFileError(f"{given}: cannot be read: {reason}.") from error
    raise CampaignFileError(f"{given}: {what}; give a TOML file.")


def _parsed(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CampaignFileError(f"{source}: is not TOML: {error}.") from error


def _read(path: str | PathLike[str]) -> dict[str, Any]:
    return _parsed(file_text(path), fspath(path))


def load_preparation(
    path: str | PathLike[str], *, plugins: Sequence[str | PathLike[str]] = ()
) -> PreparationFile:
    """Read and check a preparation file; a campaign file serves too.

    Its plug-ins, and those given, are run first. Raises `CampaignFileError`, which names every
    fault: key, value, and what would be right; `PluginError` as `load_plugins` does.
    """
    raw = _read(path)
    _run_plugins(path, raw, plugins)
    wanted = {k: v for k, v in raw.items() if k in ("plugins", "potential", "preparation")}
    if set(raw) & {"design", "objective"}:
        load_campaign(path)  # a campaign is checked whole, even where a part of it is used
        return _checked(PreparationFile, wanted, fspath(path))
    return _checked(PreparationFile, raw, fspath(path))


def _run_plugins(
    path: str | PathLike[str],
    raw: Mapping[str, Any],
    plugins: Sequence[str | PathLike[str]],
    kept: Path | None = None,
) -> None:
    named = beside(file_path("path", path), raw.get("plugins"))
    load_plugins([*plugins, *named], kept)


def load_campaign(
    path: str | PathLike[str],
    *,
    plugins: Sequence[str | PathLike[str]] = (),
    kept: Path | None = None,
    named: bool = True,
) -> Campaign:
    """Read and check a campaign file, each point of its sweep included.

    Its plug-ins, and those given, are run first; those of the file only if ``named``. ``kept`` is
    the directory of a run that goes on, whose copies are taken.

    Raises `CampaignFileError` as `load_preparation` does, `PluginError` and `RecordError` as
    `load_plugins` does; warns of targets that no isotropic solid can have.
    """
    text = file_text(path)
    _run_plugins(path, _parsed(text, fspath(path)) if named else {}, plugins, kept)
    return parse_campaign(text, fspath(path))


def parse_campaign(text: str, source: str) -> Campaign:
    """Check a campaign given as text; `source` is how errors call it. See `load_campaign`."""
    raw = _parsed(text, source)
    with warnings.catch_warnings():
        if "sweep" in raw:  # the points warn, not the values they replace
            warnings.simplefilter("ignore")
        campaign = _checked(Campaign, raw, source)
    for _ in campaign.points():
        pass
    return campaign


class NamedPotential(Potential):
    """``[potential]`` of a file for ``amorph analyze``: it may say what files call the types."""

    types: Annotated[list[str], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _named(self) -> "NamedPotential":
        if self.types is not None:
            if len(set(self.types)) != len(self.types):
                raise ValueError(f"types = {self.types}: a name stands twice.")
            if len(self.types) != self.theta().n_types:
                raise ValueError(
                    f"types = {self.types}: there must be a name for each of the "
                    f"{self.theta().n_types} types, in their order."
                )
        return self

    def _given(self) -> dict[str, Any]:
        return self.model_dump(exclude={"kind", "types"}, exclude_none=True)


def load_potential(path: str | PathLike[str]) -> bridge.PairPotential:
    """The potential of a TOML file with a ``[potential]`` table, for files that lack one.

    Raises `CampaignFileError`, which names every fault.
    """
    return load_named_potential(path)[0]


def load_named_potential(
    path: str | PathLike[str], *, plugins: Sequence[str | PathLike[str]] = ()
) -> tuple[bridge.PairPotential, tuple[str, ...] | None]:
    """As `load_potential`, with the names of ``types`` in the order of the parameters, or None.

    The file's plug-ins, and those given, are run first: `PluginError` as `load_plugins` raises it.
    """
    raw = _read(path)
    _run_plugins(path, raw, plugins)
    if "potential" not in raw:
        raise CampaignFileError(f"{fspath(path)}: has no [potential] table.")
    table = _checked(NamedPotential, raw["potential"], f"{fspath(path)}: potential")
    return table.theta(), None if table.types is None else tuple(table.types)
