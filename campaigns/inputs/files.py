"""TOML files, checked whole before any work starts: what those of all studies share."""

import difflib
import itertools
import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from amorph import bridge
from amorph.handover import AmorphError
from amorph.handover.arguments import file_path

from ..errors import CampaignFileError
from .plugins import beside, load_plugins
from .tables import Bonds, Potential, Preparation, Table

__all__ = [
    "AnyFile",
    "NamedPotential",
    "PreparationFile",
    "StudyFile",
    "checked",
    "file_text",
    "load_named_potential",
    "load_potential",
    "parsed",
    "read_toml",
    "run_plugins",
    "run_plugins_of",
]

Model = TypeVar("Model", bound=BaseModel)


class Case(BaseModel):
    """``[[case]]``: a point of a campaign by name, with the keys that it sets, by their paths."""

    model_config = ConfigDict(extra="allow")

    name: str

    @property
    def keys(self) -> dict[str, Any]:
        """The keys that it sets, by their paths."""
        return dict(self.model_extra or {})


class AnyFile(Table):
    """The part every study's file shares: its name, cases and a sweep; perhaps who is prepared.

    Each case sets keys of its own, by their paths (an empty table, ``{}``, takes one out); each
    combination of the sweep's values is computed for every case.
    """

    name: str = "campaign"
    plugins: list[str] = Field(default_factory=list)
    potential: Potential | None = None  # a file to start from may have it
    bonds: Bonds | None = None
    preparation: Preparation | None = None
    case: list[Case] = Field(default_factory=list)
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [case.name for case in self.case]
        for name in (n for n in names if names.count(n) > 1):
            raise ValueError(f"case {name!r} stands there twice: each has a name of its own.")
        return self

    @model_validator(mode="after")
    def _prepared(self) -> Self:
        if self.preparation is not None:
            self.preparation.check(self.potential, self.bonds)
        return self

    @property
    def seed(self) -> int:
        """Of the random numbers, as outcomes tell it."""
        return 0 if self.preparation is None else self.preparation.seed

    @property
    def started_from(self) -> str | None:
        """The file whose frames a run starts from, which must not change while it goes on."""
        return None if self.preparation is None else self.preparation.file

    def points(self) -> Iterator[tuple[dict[str, Any], Self]]:
        """The files of the cases and the sweep, each with what sets it apart; one without them.

        Raises `CampaignFileError` if a key is not there or a value does not fit.
        """
        plain = self.model_dump(exclude={"sweep", "case"}, exclude_none=True)
        cases: list[Case | None] = [*self.case] or [None]
        for case in cases:
            for values in itertools.product(*self.sweep.values()):
                swept = dict(zip(self.sweep, values, strict=True))
                changed = deepcopy(plain)
                for path, value in {**(case.keys if case else {}), **swept}.items():
                    _set(changed, path, value)
                where = f"case {case.name!r}" if case else "sweep"
                apart = {"case": case.name} if case else {}
                yield {**apart, **swept}, checked(type(self), changed, where)


class StudyFile(AnyFile):
    """The file of a study of packings that are prepared: see `AnyFile`."""

    preparation: Preparation


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
    elif value == {}:
        place.pop(last, None)
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


def checked(model: type[Model], raw: Mapping[str, Any], source: str) -> Model:
    """A file's contents as its model; raises `CampaignFileError`, which names every fault."""
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


def parsed(text: str, source: str) -> dict[str, Any]:
    """The contents of a TOML text; raises `CampaignFileError`."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CampaignFileError(f"{source}: is not TOML: {error}.") from error


def read_toml(path: str | PathLike[str]) -> dict[str, Any]:
    """The contents of a TOML file; raises `CampaignFileError`."""
    return parsed(file_text(path), fspath(path))


def run_plugins_of(
    path: str | PathLike[str],
    text: str,
    plugins: Sequence[str | PathLike[str]],
    kept: Path | None = None,
) -> None:
    """As `run_plugins`, of a file's text."""
    run_plugins(path, parsed(text, fspath(path)), plugins, kept)


def run_plugins(
    path: str | PathLike[str],
    raw: Mapping[str, Any],
    plugins: Sequence[str | PathLike[str]],
    kept: Path | None = None,
) -> None:
    """Run the plug-ins that a file names, and others; errors as `load_plugins` has them."""
    named = beside(file_path("path", path), raw.get("plugins"))
    load_plugins([*plugins, *named], kept)


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
    raw = read_toml(path)
    run_plugins(path, raw, plugins)
    if "potential" not in raw:
        raise CampaignFileError(f"{fspath(path)}: has no [potential] table.")
    table = checked(NamedPotential, raw["potential"], f"{fspath(path)}: potential")
    return table.theta(), None if table.types is None else tuple(table.types)
