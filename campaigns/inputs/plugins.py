"""Plug-ins: Python files of users' own, which register potentials and features when they are run.

A campaign names them (``plugins = ["my_features.py"]``), a command does (``--plugin FILE``), or an
installed package does (entry points ``amorph.plugins``). Nothing else is ever executed. A plug-in
is one file: what it imports must be installed. Workers and ranks get its text from the process that
read it, so that all run the same; a run keeps it, with its checksum, in its directory, and goes on
with that.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import ModuleType

from amorph.handover import AmorphError
from amorph.handover.arguments import file_path, one_or_several

from ..errors import PluginError, RecordError
from ..store.durable import write_json, written_whole

__all__ = [
    "GROUP",
    "Plugin",
    "check_kept",
    "keep",
    "load_plugins",
    "loaded",
    "run_all",
    "run_installed",
]

GROUP = "amorph.plugins"
FOLDER, MANIFEST = "plugins", "plugins.json"


@dataclass(frozen=True)
class Plugin:
    """A plug-in that was read.

    Attributes
    ----------
    name:
        The file's, without its folder; of an installed one the entry point's.
    checksum:
        SHA-256 of the text; of an installed one its package and version.
    text:
        None for an installed one.
    path:
        Where the file was, for tracebacks.
    """

    name: str
    checksum: str
    text: str | None = None
    path: str = ""

    @property
    def module(self) -> str:
        """The name of the module that it is, by which its classes and functions are known."""
        return f"amorph_plugin_{Path(self.name).stem}"


_LOADED: dict[str, Plugin] = {}  # the registry of those that were run, by name


def loaded() -> tuple[Plugin, ...]:
    """The plug-ins that were run in this process, in order."""
    return tuple(_LOADED.values())


def load_plugins(
    paths: "str | PathLike[str] | Sequence[str | PathLike[str]]", kept: Path | None = None
) -> tuple[Plugin, ...]:
    """Run plug-ins from their files, each once; one that was changed takes the place of the first.

    Parameters
    ----------
    paths:
        The files.
    kept:
        A run directory to go on in: its copies are taken, and files that differ are refused.

    Raises
    ------
    PluginError
        A file that cannot be read, is no Python, or fails; two of one name.
    RecordError
        A file that is not what the run directory keeps.
    """
    given = [
        file_path("plugins", p) for p in one_or_several("plugins", paths, (str, PathLike), "files")
    ]
    before = {} if kept is None else {p.name: p for p in kept_in(kept)}
    found: dict[str, Plugin] = {}
    for path in given:
        own = before.get(path.name)
        if own is None or path.exists():
            plugin = _read(path)
            if own is not None and own.checksum != plugin.checksum:
                _refuse(kept, plugin.name, f"{path} is not the file that the run was started with")
            own = own or plugin
        if path.name in found and found[path.name].checksum != own.checksum:
            raise PluginError(f"{path}: another plug-in is called {path.name}: rename one of them.")
        found[path.name] = own
    for plugin in found.values():
        _run(plugin)
    return tuple(found.values())


def run_all(plugins: Iterable[Plugin]) -> None:
    """Run plug-ins that another process of the same work has read; raises `PluginError`."""
    for plugin in plugins:
        _run(plugin)


def run_installed() -> None:
    """Run what installed packages name as entry points ``amorph.plugins``.

    Raises `PluginError` for one that fails.
    """
    for entry in importlib.metadata.entry_points(group=GROUP):
        dist = entry.dist
        version = "" if dist is None else f"{dist.name} {dist.version}"
        _run(Plugin(entry.name, version, None, entry.value))


def _read(path: Path) -> Plugin:
    try:
        if path.exists() and not path.is_file():
            raise PluginError(f"{path}: is no file; name a Python file.")
        data = path.read_bytes()
        text = data.decode("utf-8")
    except FileNotFoundError:
        raise PluginError(
            f"{path}: there is no such file. Plug-ins of a campaign are looked for beside its file."
        ) from None
    except UnicodeDecodeError as error:
        raise PluginError(f"{path}: is not UTF-8 text: {error}.") from error
    except OSError as error:
        raise PluginError(f"{path}: cannot be read: {error.strerror}.") from error
    if not re.fullmatch(r"[A-Za-z_]\w*\.py", path.name):
        raise PluginError(
            f"{path}: a plug-in's name has letters, digits and underscores, and ends with .py."
        )
    return Plugin(path.name, hashlib.sha256(data).hexdigest(), text, str(path.resolve()))


def _run(plugin: Plugin) -> None:
    """Run a plug-in, unless the same one was run in this process before."""
    there = _LOADED.get(plugin.name)
    if there is not None and there.checksum == plugin.checksum:
        return
    where = plugin.path or plugin.name
    try:
        if plugin.text is None:
            _load_entry_point(plugin)
        else:
            # Known by its name before it runs: what it defines is pickled by that.
            module = ModuleType(plugin.module)
            module.__file__ = plugin.path
            sys.modules[plugin.module] = module
            exec(compile(plugin.text, where, "exec"), module.__dict__)
    except PluginError:
        raise
    except SyntaxError as error:
        raise PluginError(f"{where}, line {error.lineno}: is no Python: {error.msg}.") from error
    except ModuleNotFoundError as error:
        raise PluginError(
            f"{where}: {error}. A plug-in is one file: install what it imports."
        ) from error
    except (Exception, SystemExit) as error:  # whatever a user's file may raise
        line = next(
            (
                f.lineno
                for f in reversed(traceback.extract_tb(error.__traceback__))
                if f.filename == where
            ),
            None,
        )
        at = where if line is None else f"{where}, line {line}"
        said = str(error) if isinstance(error, AmorphError) else f"{type(error).__name__}: {error}"
        raise PluginError(f"{at}: {said}") from error
    _LOADED[plugin.name] = plugin


def _load_entry_point(plugin: Plugin) -> None:
    for entry in importlib.metadata.entry_points(group=GROUP, name=plugin.name):
        entry.load()
        return
    raise PluginError(
        f"the plug-in {plugin.name!r} ({plugin.checksum}) is not installed here: install it."
    )


def keep(directory: Path) -> None:
    """Keep the plug-ins of this process in a run directory: their text, and their checksums."""
    plugins = loaded()
    if not plugins or (directory / MANIFEST).exists():
        return
    folder = directory / FOLDER
    for plugin in plugins:
        if plugin.text is None:
            continue
        folder.mkdir(exist_ok=True)
        target = folder / plugin.name
        if not target.exists():
            with written_whole(target) as partial:
                partial.write_bytes(plugin.text.encode("utf-8"))
    write_json(
        directory / MANIFEST,
        {
            "plugins": [
                {"name": p.name, "checksum": p.checksum, "installed": p.text is None}
                for p in plugins
            ]
        },
    )


def kept_in(directory: Path) -> tuple[Plugin, ...]:
    """The plug-ins that a run directory keeps, as they were; none where it keeps none.

    Raises `RecordError` for copies that are not what was kept.
    """
    manifest = directory / MANIFEST
    if not manifest.exists():
        return ()
    try:
        listed = [
            (str(p["name"]), str(p["checksum"]), bool(p["installed"]))
            for p in json.loads(manifest.read_text(encoding="utf-8"))["plugins"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{manifest}: cannot be read as a list of plug-ins: {error}.") from error
    out = []
    for name, checksum, installed in listed:
        if installed:
            out.append(Plugin(name, checksum))
            continue
        path = directory / FOLDER / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RecordError(f"{path}: cannot be read: {error.strerror}.") from error
        if hashlib.sha256(data).hexdigest() != checksum:
            raise RecordError(
                f"{path}: is not what the run was started with, by its checksum in {manifest}: put "
                "the file back, or choose another directory."
            )
        out.append(Plugin(name, checksum, data.decode("utf-8"), str(path)))
    return tuple(out)


def check_kept(directory: Path) -> None:
    """Raise `RecordError` unless the plug-ins that a run directory keeps were run here."""
    before = {p.name: p.checksum for p in kept_in(directory)}
    now = {p.name: p.checksum for p in loaded()}
    for name in before:
        if name not in now:
            _refuse(directory, name, f"the run was started with the plug-in {name}, not named now")
        if before[name] != now[name]:
            _refuse(directory, name, f"{name} is not the plug-in that the run was started with")


def _refuse(directory: Path | None, name: str, why: str) -> None:
    raise RecordError(
        f"{directory}: {why} (its copy is {FOLDER}/{name}, its checksum in {MANIFEST}): resume "
        "with the same plug-ins, or choose another directory."
    )


def beside(source: Path, names: object) -> list[Path]:
    """The paths of plug-ins that a TOML file names, relative to its folder.

    Names that are none are left to the check of the file.
    """
    listed = names if isinstance(names, list) else []
    with contextlib.suppress(TypeError):
        return [source.parent / name for name in listed if isinstance(name, str) and name]
    return []
