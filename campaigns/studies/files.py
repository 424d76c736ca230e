"""Campaign files of any study: which study a file is of, and the file read and checked by it."""

import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from amorph.handover import InputError

from ..errors import CampaignFileError
from ..inputs.files import (
    AnyFile,
    PreparationFile,
    checked,
    file_text,
    parsed,
    read_toml,
    run_plugins,
)
from ..inputs.tables import unknown
from .study import Study, registered_studies

__all__ = ["load_campaign", "load_preparation", "parse_campaign", "study_called", "study_of"]

# Our own studies, registered when a file is read; those of plug-ins register themselves.
_OURS = ("barriers", "design", "gradient", "kinetics", "prune", "respond")


def _studies() -> Mapping[str, type[Study[Any]]]:
    for name in _OURS:
        import_module(f"..{name}.study", __name__)
    known = registered_studies()
    return {**{name: known[name] for name in _OURS}, **known}


def study_called(table: str) -> type[Study[Any]]:
    """The study of a table; raises `InputError` where there is none."""
    known = _studies()
    if table not in known:
        raise InputError(unknown("study", table, known))
    return known[table]


def _study_in(raw: Mapping[str, Any], source: str) -> type[Study[Any]]:
    """The study whose table a file has; of one that another needs, the other."""
    known = _studies()
    found = [kind for table, kind in known.items() if table in raw]
    needed = {table for kind in found for table in kind.requires}
    chosen = [kind for kind in found if kind.table not in needed]
    if len(chosen) == 1:
        return chosen[0]
    tables = ", ".join(f"[{table}]" for table in known)
    if not chosen:
        raise CampaignFileError(
            f"{source}:\n  says of no study what it is: one of the tables {tables} is missing. A "
            "study of your own is known by plugins = ['FILE'], or --plugin FILE."
        )
    both = " and ".join(f"[{kind.table}]" for kind in chosen)
    raise CampaignFileError(f"{source}:\n  has {both}: a file is of one study.")


def study_of(campaign: AnyFile) -> type[Study[Any]]:
    """The study that a file was checked by; raises `InputError` where it is none."""
    for kind in _studies().values():
        if kind.model is type(campaign):
            return kind
    raise InputError(f"{type(campaign).__name__} is the file of no study that is registered.")


def parse_campaign(text: str, source: str) -> Any:
    """Check a campaign given as text; `source` is how errors call it. See `load_campaign`."""
    raw = parsed(text, source)
    model = _study_in(raw, source).model
    with warnings.catch_warnings():
        if "sweep" in raw:  # the points warn, not the values they replace
            warnings.simplefilter("ignore")
        campaign = checked(model, raw, source)
    for _ in campaign.points():
        pass
    return campaign


def load_campaign(
    path: str | PathLike[str],
    *,
    plugins: Sequence[str | PathLike[str]] = (),
    kept: Path | None = None,
    named: bool = True,
) -> Any:
    """Read and check a campaign file, each point of its sweep included.

    Parameters
    ----------
    path:
        A TOML file with the table of a study: ``[design]``, ``[gradient]``, or one of a plug-in.
    plugins:
        Files to run before, besides those that the file names.
    kept:
        The directory of a run that goes on, whose copies of plug-ins are taken.
    named:
        Whether the plug-ins that the file names are run.

    Returns the file as its study's model, as `run_campaign` takes it.

    Raises `CampaignFileError`, which names every fault: key, value, and what would be right;
    `PluginError` and `RecordError` as `amorph.campaigns.inputs.plugins.load_plugins` does. Warns of
    targets that no isotropic solid can have.
    """
    text = file_text(path)
    run_plugins(path, parsed(text, fspath(path)) if named else {}, plugins, kept)
    return parse_campaign(text, fspath(path))


def load_preparation(
    path: str | PathLike[str], *, plugins: Sequence[str | PathLike[str]] = ()
) -> PreparationFile:
    """Read and check a preparation file; a campaign file serves too.

    Its plug-ins, and those given, are run first. Raises `CampaignFileError`, which names every
    fault: key, value, and what would be right; `PluginError` as `load_plugins` does.
    """
    raw = read_toml(path)
    run_plugins(path, raw, plugins)
    if set(raw) & (set(_studies()) | {"objective"}):
        load_campaign(path)  # a campaign is checked whole, even where a part of it is used
        raw = {k: v for k, v in raw.items() if k in PreparationFile.model_fields and k != "name"}
    return checked(PreparationFile, raw, fspath(path))
