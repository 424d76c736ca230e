"""Compiled code on disk: what JAX has compiled once, the next process need not compile again.

This is JAX's persistent compilation cache, in a folder of the user's. JAX's keys hold the program,
the flags of XLA and the versions, but neither the processor that code was made for nor the number
of threads it was divided among: a subfolder is named after these, so that machines that share a
home never read each other's code, and results stay what they are without it, to the last bit.
"""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jax

__all__ = ["CompiledCode", "compiled_code", "keep_compiled"]

SWITCH = "AMORPH_CACHE"
LIMIT = 1 << 30
"""Bytes of compiled code that are kept, of all machines and versions; the least used goes first."""

# Seconds between clean-ups of files that killed processes left, and of those beyond the limit.
_TIDIED_EVERY = 86400.0
# Fields of /proc/cpuinfo that identify a processor, on x86 and on ARM.
_OF_PROCESSOR = (
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features",
)  # fmt: skip
_ZLIB = b"\x78"


@dataclass(frozen=True)
class CompiledCode:
    """The folder of compiled code, and how much of it there is.

    Attributes
    ----------
    folder:
        With a subfolder for each kind of processor, number of threads and version; None where
        nothing is kept.
    why_not:
        Why nothing is kept; empty where it is.
    entries, size:
        Programs in its subfolders, and their bytes.
    """

    folder: Path | None
    why_not: str
    entries: int = 0
    size: int = 0


def keep_compiled() -> Path | None:
    """Keep what JAX compiles on disk, and take from there what was compiled before.

    Call it before anything is computed. ``amorph``'s commands do so by themselves; a script needs
    this line. The folder is ``amorph/compiled`` in the user's cache folder (``$XDG_CACHE_HOME``,
    ``~/.cache``, on macOS ``~/Library/Caches``), or ``$JAX_COMPILATION_CACHE_DIR``; in it a
    subfolder for each kind of processor, number of threads, and version of JAX. Processes that are
    started from here keep and take the same. Results are the same to the last bit.

    Returns the subfolder, or None where nothing is kept: with ``AMORPH_CACHE=off``, or where the
    folder cannot be written or others may write to it, since code is taken from it.
    """
    found = _place()
    if isinstance(found, str):
        return None
    folder, root = found
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    if _unsafe(folder):
        return None
    if root is not None:
        _tidy(root)
    # An entry that cannot be read is compiled anew, one that cannot be written is not kept.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return folder


def compiled_code() -> CompiledCode:
    """The place and amount of what `keep_compiled` keeps; nothing is made or changed."""
    found = _place()
    if isinstance(found, str):
        return CompiledCode(None, found)
    folder, _ = found
    there = next(p for p in (folder, *folder.parents) if p.exists())
    why_not = _unsafe(folder) if folder.exists() else ""
    if not why_not and not os.access(there, os.W_OK | os.X_OK):
        why_not = f"{there} cannot be written to"
    if why_not:
        return CompiledCode(None, why_not)
    sizes = [size for place in _ours(folder.parent) for _, size, _ in _entries(place)]
    return CompiledCode(folder.parent, "", len(sizes), sum(sizes))


def _place() -> tuple[Path, Path | None] | str:
    """The subfolder, and the folder of all of them where it is ours; or why there is none."""
    switch = os.environ.get(SWITCH, "on").strip().lower()
    if switch in ("off", "0", "no", "false"):
        return f"{SWITCH}={os.environ[SWITCH]}"
    if not jax.config.jax_enable_compilation_cache:  # type: ignore[attr-defined]  # JAX makes it
        return "jax_enable_compilation_cache is off"
    name = _name()
    given = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if given:
        if "://" in given:
            return f"JAX_COMPILATION_CACHE_DIR={given} is no folder: JAX itself uses it"
        folder = Path(given).absolute()
        # A process that started this one has added the name already.
        return (folder if folder.name == name else folder / name), None
    home = _cache_home()
    if home is None:
        return "there is no home folder"
    return home / "amorph" / "compiled" / name, home / "amorph" / "compiled"


def _cache_home() -> Path | None:
    """The folder for what can be made anew, as the platform has it."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):  # others are to be ignored, says the specification
        return Path(given)
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        return None
    return Path(home, "Library", "Caches") if sys.platform == "darwin" else Path(home, ".cache")


def _name() -> str:
    """A name of all that compiled code depends on and JAX's keys leave out, with the versions."""
    given = os.environ.get("NPROC", "")
    if given.isdigit():
        threads = int(given)
    elif hasattr(os, "sched_getaffinity"):
        threads = len(os.sched_getaffinity(0))
    else:
        threads = os.cpu_count() or 1
    versions = "-".join(f"{p}-{importlib.metadata.version(p)}" for p in ("jax", "jaxlib"))
    return f"{platform.machine()}-{_processor()}-threads-{threads}-{versions}"


def _processor() -> str:
    """A checksum of the kind of processor and of what it can do."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
        lines = [line.split(":", 1) for line in first.splitlines() if ":" in line]
        told = [f"{k.strip()}:{v.strip()}" for k, v in lines if k.strip() in _OF_PROCESSOR]
    except OSError:
        told = [platform.processor(), platform.release()]
        if sys.platform == "darwin":
            asked = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            done = subprocess.run(asked, capture_output=True, text=True, check=False)
            told.append(done.stdout.strip())
    return hashlib.sha256("\n".join([platform.machine(), *told]).encode()).hexdigest()[:12]


def _unsafe(folder: Path) -> str:
    """Why code must not be taken from a folder, or nothing."""
    try:
        status = folder.stat()
    except OSError as error:
        return f"{folder}: {error.strerror}"
    if status.st_uid != os.getuid():
        return f"{folder} belongs to another user"
    if status.st_mode & 0o022:
        return f"others may write to {folder}: chmod go-w it"
    return ""


def _ours(root: Path) -> list[Path]:
    """The subfolders of all machines, numbers of threads and versions."""
    return [path for path in root.glob("*-threads-*") if path.is_dir()]


def _entries(folder: Path) -> Iterator[tuple[Path, int, float]]:
    """Programs in a folder, their bytes, and when they were used last, as far as the disk tells."""
    try:
        found = list(os.scandir(folder))
    except OSError:
        return
    for entry in found:
        if entry.name.endswith("-cache"):
            try:
                status = entry.stat()
            except OSError:
                continue  # another process has just removed it
            yield Path(entry.path), status.st_size, max(status.st_atime, status.st_mtime)


def _tidy(root: Path) -> None:
    """Once a day: remove what a kill left half written, and what was not used for longest."""
    mark = root / ".tidied"
    try:
        before = mark.stat().st_mtime
    except OSError:
        before = 0.0  # it was never tidied
    if time.time() - before < _TIDIED_EVERY:
        return
    try:
        mark.touch()
        entries = [found for folder in _ours(root) for found in _entries(folder)]
        kept = 0
        for path, size, used in sorted(entries, key=lambda entry: -entry[2]):
            kept += size
            if kept > LIMIT or (used >= before and not _whole(path)):
                path.unlink(missing_ok=True)
    except OSError:
        return  # read only, or full: existing entries can still be used


def _whole(path: Path) -> bool:
    """Whether an entry is as it was written; JAX replaces none that is there, whole or not."""
    data = path.read_bytes()
    if data[:1] != _ZLIB:  # of zstandard, where that is installed: it tells itself when it is read
        return bool(data)
    try:
        zlib.decompress(data)
    except zlib.error:
        return False
    return True
