"""The command line: ``amorph demo``, ``prepare``, ``analyze``, ``run``, ``report``, ``doctor``."""

import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from amorph.handover import AmorphError, InputError

# What computes is imported in the commands: `amorph --help` answers at once.
if TYPE_CHECKING:
    from .designs import Design, Step
    from .runs import DesignTask, Watcher

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Designs disordered solids: finds the particle interactions for which the material that "
    "forms by itself has the property you ask for.",
)
_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

Output = Annotated[Path, typer.Option("-o", "--output", help="Where the result goes.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[info]}"),
        console=_err,
    )


def _watcher(progress: Progress) -> "Watcher":
    from .runs import Watcher

    class Bars(Watcher):
        def __init__(self) -> None:
            self.designs = progress.add_task("designs", total=None, info="")
            self.steps = progress.add_task("step", total=None, info="")

        def design_started(self, task: "DesignTask", number: int, total: int) -> None:
            progress.update(self.designs, total=total, completed=number, info=task.label)
            limit = task.campaign.stop.steps
            progress.reset(self.steps, total=limit, info="quench and compile")

        def step_done(self, design: "Design", step: "Step") -> None:
            values = ", ".join(
                f"{f.name} {v:.4f} → {t:g}"
                for f, v, t in zip(design.features, step.value, design.target, strict=True)
            )
            progress.update(
                self.steps, completed=step.number, info=f"loss {step.loss:.1e}  {values}"
            )

        def design_ended(self, task: "DesignTask", outcome: Mapping[str, Any]) -> None:
            progress.advance(self.designs)
            if outcome["status"] == "failed":
                _err.print(f"amorph: {task.label}: {outcome['message']}", style="yellow")

        def note(self, message: str) -> None:
            _err.print(f"amorph: {message}", style="yellow")

    return Bars()


def _refuse_ranks() -> None:
    ranks = next(
        (os.environ[k] for k in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE") if k in os.environ), "1"
    )
    if ranks not in ("", "1"):
        raise InputError(
            f"amorph run was started on {ranks} ranks, but this version runs a campaign on one: "
            "start it without mpiexec."
        )


def _outcome_table(designs: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None)
    for name in ("design", "target", "initial", "final", "steps", "status"):
        table.add_column(name, justify="left" if name in ("design", "status") else "right")

    def text(values: Any) -> str:
        listed = values if isinstance(values, list) else [values]
        return ", ".join("–" if v is None else f"{v:.4f}" for v in listed)

    for d in designs:
        table.add_row(
            str(d["directory"]),
            text(d["target"]),
            text(d["initial"]),
            text(d.get("final", d.get("value"))),
            str(d["steps"]),
            str(d["status"]),
        )
    return table


@app.command()
def demo(output: Output = Path("amorph-demo")) -> None:
    """Quench two packings, design their Poisson's ratio to 0.25 and 0.65, and report."""
    from .demo import run_demo

    with _progress() as progress:
        summary = run_demo(output, _watcher(progress))
    _out.print(_outcome_table(summary["designs"]))
    _out.print(f"The pictures: {output / 'report.html'} and {output / 'design.png'}.")


@app.command()
def prepare(
    file: Annotated[Path, typer.Argument(help="A TOML file: [potential], [preparation].")],
    output: Output,
    force: Force = False,
    append: Annotated[
        bool, typer.Option("--append", help="Go on after the last replica of OUT.gsd.")
    ] = False,
    statistics: Annotated[
        Path | None, typer.Option(help="Also a table, a row a replica: .csv or .parquet.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, gpu, or gpu:N for one of several.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="Threads of the CPU over replicas.")] = None,
) -> None:
    """Prepare an ensemble of packings from a file, a frame of OUT.gsd for each replica.

    The file grows while the ensemble is computed, and is whole up to its last frame at any time.
    """
    from .analysis import check_file_output
    from .files import load_preparation
    from .preparing import prepare_to_gsd
    from .statistics import StatisticsFile

    if force and append:
        raise InputError("--force replaces the file, --append goes on with it: give one of them.")
    settings = load_preparation(file)
    if not append:
        check_file_output(output, overwrite=force)
    p = settings.preparation
    with _progress() as progress, StatisticsFile(statistics, overwrite=force) as table:
        if force:
            output.unlink(missing_ok=True)
        bar = progress.add_task("replicas", total=p.n_replicas, info="")
        result = prepare_to_gsd(
            settings.potential,
            p,
            output,
            bonds=settings.bonds,
            append=append,
            device=device,
            threads=threads,
            each=table.add,
            progress=lambda done, _: progress.update(bar, completed=done),
        )
    found = f", {result.found} of them found there" if result.found else ""
    _out.print(
        f"{output}: {result.found + result.written} packings{found}; energy per particle "
        f"{result.energy_per_particle:.6f}, pressure {result.pressure:.6f} (means)."
    )
    failed = result.computed - result.ok
    if failed:
        for line in result.failures[:10]:
            _err.print(f"amorph: {line}", style="yellow")
        _err.print(
            f"amorph: {failed} of {result.computed} did not end as they should (their frames say "
            "so in log/amorph/converged).",
            style="yellow",
        )


def _slice(text: str | None) -> slice | None:
    from .tables import frames_slice

    try:
        return frames_slice(text)
    except ValueError as error:
        raise InputError(f"--{error}") from None


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [n for n in (x.strip() for x in text.split(",")) if n]


@app.command()
def analyze(
    files: Annotated[list[Path], typer.Argument(help="GSD files, Amorph's or HOOMD-blue's.")],
    output: Output,
    features: Annotated[
        str | None, typer.Option(help="What to measure, a,b,...; by default everything.")
    ] = None,
    gradients: Annotated[
        str | None, typer.Option(help="What to differentiate by the parameters, a,b,...")
    ] = None,
    frames: Annotated[str | None, typer.Option(help="Which frames, i:j.")] = None,
    potential: Annotated[
        Path | None, typer.Option(help="A TOML file with [potential], for files without one.")
    ] = None,
    force: Force = False,
) -> None:
    """Relax and measure every frame of GSD files: a row a frame, as JSON, CSV or Parquet."""
    from .analysis import analyze as rows_of
    from .analysis import check_output, write_table
    from .files import load_potential

    check_output(output, overwrite=force)
    chosen = _slice(frames)
    theta = None if potential is None else load_potential(potential)
    failed: list[str] = []
    rows: list[dict[str, Any]] = []
    with _progress() as progress:
        bar = progress.add_task("frames", total=None, info="")
        for row in rows_of(
            files,
            features=_names(features),
            gradients=_names(gradients) or (),
            frames=chosen,
            theta=theta,
            on_error=failed.append,
        ):
            rows.append(row)
            progress.update(bar, completed=len(rows), info=row["source"])
    write_table(rows, output)
    for message in failed[:10]:
        _err.print(f"amorph: {message}", style="yellow")
    _out.print(f"{output}: {len(rows)} frames, {len(failed)} of them not measured.")
    if failed and len(failed) == len(rows):
        raise typer.Exit(1)


@app.command()
def run(
    campaign: Annotated[Path, typer.Argument(help="A campaign file.")],
    output: Output,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run there.")] = False,
) -> None:
    """Run a campaign; every step is safe on disk, and --resume goes on after any kill."""
    from .files import load_campaign
    from .runs import run_campaign

    _refuse_ranks()
    loaded = load_campaign(campaign)
    source = campaign.read_text(encoding="utf-8")
    with _progress() as progress:
        outcomes = run_campaign(loaded, source, output, resume=resume, watcher=_watcher(progress))
    _out.print(_outcome_table(outcomes))


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    force: Force = False,
) -> None:
    """Make pictures and an HTML page from a run directory."""
    from .report import write_report

    _out.print(f"{write_report(directory, overwrite=force)}")


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Tell what this machine offers, and how to get what is missing."""
    from .doctor import report as examined

    found = examined()
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        table = Table(box=None)
        for name in ("", "what", "found", "how to get it"):
            table.add_column(name)
        for f in found["findings"]:
            mark = "✓" if f["present"] else ("✗" if f["needed"] else "·")
            table.add_row(mark, *(escape(str(f[key])) for key in ("what", "detail", "cure")))
        _out.print(table)
    if not found["ok"]:
        raise typer.Exit(1)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    _err.print(f"amorph: warning: {message}", style="yellow")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; named errors end it with their message and exit status 2."""
    warnings.showwarning = _show_warning
    command: Callable[..., Any] = typer.main.get_command(app)
    try:
        command(args=None if arguments is None else list(arguments), prog_name="amorph")
    except AmorphError as error:
        _err.print(f"amorph: {error}", style="red", markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        _err.print("amorph: interrupted; what was finished is on disk.", style="yellow")
        sys.exit(130)


if __name__ == "__main__":
    main()
