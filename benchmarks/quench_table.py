"""How many times as fast as its peers does Amorph quench, from N = 64 to 4096, in 2D and 3D?

The cases of ``quench.py``, one row each, on one core: the engine's quenches per second, and per
peer how many times as many that is, the median over starts that all contenders share, with the
share that converged. Repetitions go on until a case's time is up. TorchSim, in batches, stands
in rows of up to some hundred particles: it takes a second or more a quench.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import OURS, Report, one_core, race, wide_console
from common import output as output_path
from quench import (
    PEERS,
    TORCH_SIM,
    Case,
    bars,
    harmonic_morse_case,
    in_batches,
    note_circumstances,
    one_at_a_time,
    soft_sphere_case,
)
from rich.table import Table

SIZES: dict[int, tuple[int, ...]] = {2: (64, 128, 368, 1024, 4096), 3: (256, 1024)}
QUICK_SIZES: dict[int, tuple[int, ...]] = {2: (64,), 3: (256,)}
REPETITIONS = 41
SECONDS, QUICK_SECONDS = 50.0, 2.0
LARGEST_BATCHED = 400


def cases(sizes: dict[int, tuple[int, ...]]) -> list[Case]:
    """Harmonic-Morse and soft spheres of these sizes."""
    return [
        make(n, dimension)
        for make in (harmonic_morse_case, soft_sphere_case)
        for dimension, numbers in sizes.items()
        for n in numbers
    ]


def label(case: Case) -> str:
    """The case's name, by which rows and ratios are found again."""
    return f"{case.potential.potential}, {case.dimension}D, N = {case.n}"


def measure(report: Report, case: Case, seconds: float, seed: int, quick: bool) -> None:
    """Add one case's rows and ratios to the report."""
    missing: Report = Report(report.benchmark)
    starts = case.starts(REPETITIONS, seed)
    contenders = one_at_a_time(missing, case, starts)
    samples = race(contenders, REPETITIONS, what=label(case), seconds=seconds)
    report.add(label(case), samples, bars=bars(case))
    if case.soft and case.n <= LARGEST_BATCHED:
        batches, batch = (1, 2) if quick else (2, 8)
        starts = case.starts(batches * batch, seed).reshape(batches, batch, case.n, case.dimension)
        contenders = in_batches(missing, case, starts)
        samples = race(contenders, batches, what=f"{label(case)}, batches", warm_up=False)
        report.add(f"{label(case)}, batches", samples)
    known = [absent["who"] for absent in report.missing]
    report.missing += [absent for absent in missing.missing if absent["who"] not in known]


def table_of(report: Report, chosen: Sequence[Case]) -> Table:
    """One row a case, one column a contender."""
    table = Table(title="times as many quenches per second as its peers (share converged)")
    for name in ("potential", "d", "N", f"{OURS}, quenches/s"):
        table.add_column(name, justify="left" if name == "potential" else "right")
    peers = [*PEERS, TORCH_SIM]
    for name in peers:
        table.add_column(name, justify="right")

    def row_of(case: str, who: str) -> dict[str, Any] | None:
        found = [row for row in report.rows if (row["case"], row["who"]) == (case, who)]
        return found[0] if found else None

    def cell(case: str, who: str) -> str:
        row = row_of(case, who)
        ratios = [one for one in report.ratios if (one["case"], one["of"]) == (case, who)]
        if row is None:
            return "–"
        ratio = f"{ratios[0]['median']:.1f}" if ratios else f"{1 / row['median']:.3g}"
        bar = ratios[0]["bar"] if ratios else None
        if bar is not None:
            ratio += f" [bar {bar:g}: {'met' if ratios[0]['met'] else 'missed'}]"
        return f"{ratio} ({row['share_converged']:.0%})"

    for case in chosen:
        name = label(case)
        cells = [cell(f"{name}, batches" if who == TORCH_SIM else name, who) for who in peers]
        table.add_row(
            case.potential.potential,
            str(case.dimension),
            str(case.n),
            cell(name, OURS),
            *(text.replace("[", "\\[") for text in cells),
        )
    return table


def main() -> None:
    """Measure every case, print, write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "--seconds", type=float, default=SECONDS, help="for each case (%(default)s)"
    )
    options.add_argument("--seed", type=int, default=1, help="of the starts (%(default)s)")
    options.add_argument("--json", type=output_path, metavar="OUT", help="write rows and ratios")
    options.add_argument("--quick", action="store_true", help="end within a minute")
    given = options.parse_args()
    path: Path | None = given.json
    one_core()
    chosen = cases(QUICK_SIZES if given.quick else SIZES)
    report = Report("table of quenches", {label(case): case.settings for case in chosen})
    for case in chosen:
        measure(
            report, case, QUICK_SECONDS if given.quick else given.seconds, given.seed, given.quick
        )
        report.write(path)
    note_circumstances(report)
    console = wide_console()
    console.print(table_of(report, chosen))
    report.print_findings(console)
    report.write(path)


if __name__ == "__main__":
    main()
