"""The command line, a function for each command of ``amorph``."""

import json
import sys
import time
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
    TimeRemainingColumn,
)
from rich.table import Table

from amorph.handover import AmorphError, InputError

# What computes is imported in the commands: `amorph --help` answers at once.
if TYPE_CHECKING:
    from .designs import Design, Step
    from .ranks import Ranks
    from .runs import DesignTask, Watcher
    from .stopping import Until

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


def _frames_progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=_err,
        speed_estimate_period=600,
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

        def validated(self, task: "DesignTask", done: int, total: int) -> None:
            progress.update(self.steps, info=f"validation: {done} of {total} packings")

        def design_ended(self, task: "DesignTask", outcome: Mapping[str, Any]) -> None:
            progress.advance(self.designs)
            if outcome["status"] == "failed":
                _err.print(f"amorph: {task.label}: {outcome['message']}", style="yellow")

        def note(self, message: str) -> None:
            _err.print(f"amorph: {message}", style="yellow")

    return Bars()


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
    from .files import load_preparation
    from .preparing import prepare_to_gsd
    from .row_files import check_file_output
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


def _frame_numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        numbers = [int(x) for x in text.split(",") if x.strip()]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0:
        raise InputError(f"--plot-frames {text!r}: write numbers of frames, from 0 on: 0,5,12.")
    return list(dict.fromkeys(numbers))


def _floats(option: str, text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(x) for x in text.split(",") if x.strip()]
    except ValueError:
        raise InputError(f"{option} {text!r}: write numbers: 1e-4,1e-3.") from None


@app.command()
def analyze(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Trajectories: GSD (Amorph's, HOOMD-blue's), LAMMPS dumps (.dump, .lammpstrj), "
            "XYZ, plain or extended (.xyz, .extxyz)."
        ),
    ],
    output: Output,
    features: Annotated[
        str | None, typer.Option(help="What to measure, a,b,...; by default everything.")
    ] = None,
    gradients: Annotated[
        str | None, typer.Option(help="What to differentiate by the parameters, a,b,...")
    ] = None,
    frames: Annotated[str | None, typer.Option(help="Which frames of each file, i:j.")] = None,
    potential: Annotated[
        Path | None, typer.Option(help="A TOML file with [potential], for files without one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that compute; by default one a core.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an analysis that was ended.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="A packing that comes to rest elsewhere than its file has it is an error.",
        ),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="A folder for histograms and pictures of frames.")
    ] = None,
    plot_frames: Annotated[
        str | None, typer.Option(help="Frames to draw, 0,5,...; by default the first.")
    ] = None,
    force: Force = False,
) -> None:
    """Relax and measure every frame of trajectories: a row a frame, as JSON, CSV or Parquet.

    Finished rows are kept beside the table until it is whole: --resume goes on after any kill.
    """
    from .workers import jax_on_one_thread

    jax_on_one_thread()  # before what is imported below brings JAX
    from .analyzing import analyze_to_file
    from .files import load_named_potential
    from .plotting import Plot

    chosen = _slice(frames)
    numbers = _frame_numbers(plot_frames)
    if plot is None and numbers is not None:
        raise InputError("--plot-frames needs --plot DIR, where the pictures go.")
    pictures = None if plot is None else Plot(plot, numbers, overwrite=force or resume)
    theta, types = (None, None) if potential is None else load_named_potential(potential)
    with _frames_progress() as progress:
        bar = progress.add_task("frames", total=None, rate="")
        began: list[tuple[int, float]] = []

        def show(done: int, total: int) -> None:
            now = time.monotonic()
            if not began:
                began.append((done, now))
            first, start = began[0]
            rate = f"{(done - first) / (now - start):.1f} frames/s" if done > first else ""
            progress.update(bar, completed=done, total=total, rate=rate)

        outcome = analyze_to_file(
            files,
            output,
            features=_names(features),
            gradients=_names(gradients) or (),
            frames=chosen,
            theta=theta,
            types=types,
            strict=strict,
            workers=workers,
            resume=resume,
            overwrite=force,
            before=None if pictures is None else pictures.check,
            finished=None if pictures is None else pictures.draw,
            progress=show,
        )
    undrawn = [] if pictures is None else pictures.notes
    for message in (*outcome.notes, *outcome.failures, *undrawn):
        _err.print(f"amorph: {message}", style="yellow", markup=False)
    found = f", {outcome.found} of them found there" if outcome.found else ""
    _out.print(f"{output}: {outcome.rows} frames{found}, {outcome.failed} of them not measured.")
    for number, words in (
        (outcome.other_minimum, "came to rest in another minimum than their file has"),
        (outcome.not_converged, "are not converged, says their file"),
        (outcome.unused, "hold content that plays no part in what was measured: column unused"),
    ):
        if number:
            _err.print(f"amorph: {number} of {outcome.rows} frames {words}.", style="yellow")
    if pictures is not None and pictures.written:
        _out.print(f"Pictures: {', '.join(str(p) for p in pictures.written)}.")
    if outcome.failed == outcome.rows:
        raise typer.Exit(1)


@app.command()
def run(
    campaign: Annotated[Path, typer.Argument(help="A campaign file.")],
    output: Output,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run there.")] = False,
    minutes: Annotated[
        float | None, typer.Option(help="Stop at the end of the step that is at work by then.")
    ] = None,
) -> None:
    """Run a campaign, alone or under mpiexec.

    Every step is safe on disk, and --resume goes on after any kill. SIGTERM, SIGUSR1 and --minutes
    end a run between two steps, with exit status 75.
    """
    from .workers import jax_on_one_thread

    jax_on_one_thread()  # results must not depend on the number of cores
    from .ranks import world
    from .stopping import Until, signals_noted

    until = Until(None if minutes is None else 60.0 * minutes)
    ranks = world()
    with signals_noted(until):
        if not ranks.is_root:
            from .runs import serve_campaign

            serve_campaign(ranks, until)
            return
        outcomes = _run_root(campaign, output, resume, ranks, until)
    _out.print(_outcome_table(outcomes))


def _run_root(
    file: Path, output: Path, resume: bool, ranks: "Ranks", until: "Until"
) -> list[dict[str, Any]]:
    from .files import load_campaign
    from .runs import release_ranks, run_campaign

    try:
        campaign = load_campaign(file)
        source = file.read_text(encoding="utf-8")
    except BaseException:
        release_ranks(ranks)
        raise
    with _progress() as progress:
        return run_campaign(
            campaign,
            source,
            output,
            resume=resume,
            watcher=_watcher(progress),
            ranks=ranks,
            until=until,
        )


@app.command()
def gradient(
    campaign: Annotated[Path, typer.Argument(help="A campaign file without [sweep].")],
    output: Output,
    packings: Annotated[
        int | None, typer.Option(help="How many; by default 1,000, or all that are followed.")
    ] = None,
    changes: Annotated[
        str | None, typer.Option(help="Of each parameter, as parts of itself: 0.01,0.03.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the check there.")] = False,
) -> None:
    """Check gradients against finite changes of the parameters, alone or under mpiexec.

    Of followed packings: the predicted change of the loss beside the measured one. Of an ensemble:
    the mean of the derivatives beside the derivative of the mean.
    """
    from .workers import jax_on_one_thread

    jax_on_one_thread()
    from .ranks import world

    ranks = world()
    if not ranks.is_root:
        ranks.serve()
        return
    from . import pictures
    from .files import load_campaign
    from .gradient_check import check_gradient
    from .report.output import png, write

    try:
        with _progress() as progress:
            bar = progress.add_task("packings", total=None, info="")
            found = check_gradient(
                load_campaign(campaign),
                campaign.read_text(encoding="utf-8"),
                output,
                packings=packings,
                changes=_floats("--changes", changes),
                resume=resume,
                ranks=ranks,
                progress=lambda done, total: progress.update(bar, completed=done, total=total),
            )
    finally:
        ranks.dismiss()
    picture = output / "gradient.png"
    write(picture, png(pictures.gradient(found)))
    _out.print(f"{output / 'gradient.json'}, {output / 'packings.csv'} and {picture}.")


@app.command()
def status(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Tell how far a run is: steps, loss, rate, time left; while it runs, or afterwards."""
    from .status import as_json as written
    from .status import read_status

    designs = read_status(directory)
    if as_json:
        print(written(designs))
        return
    table = Table(box=None)
    for name in ("design", "status", "steps", "loss", "value", "steps/s", "left"):
        table.add_column(name, justify="left" if name in ("design", "status") else "right")
    for d in designs:
        validating = f", {d.validated} validated" if d.validated else ""
        table.add_row(
            escape(d.directory),
            d.status + validating,
            f"{d.steps} of {d.limit}",
            "–" if d.loss is None else f"{d.loss:.2e}",
            "–" if d.value is None else ", ".join(f"{v:.4f}" for v in d.value),
            "–" if d.steps_per_second is None else f"{d.steps_per_second:.3g}",
            "–" if d.seconds_left is None else _duration(d.seconds_left),
        )
    _out.print(table)
    ended = sum(d.ended for d in designs)
    _out.print(f"{ended} of {len(designs)} designs have ended.")


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{hours:.1f} h" if hours >= 1 else f"{minutes:.0f} min" if minutes >= 1 else "< 1 min"


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
        from .errors import StoppedError

        stopped = isinstance(error, StoppedError)
        _err.print(f"amorph: {error}", style="yellow" if stopped else "red", markup=False)
        sys.exit(75 if stopped else 2)  # 75: EX_TEMPFAIL, try again
    except SystemExit as end:
        if end.code == 130:  # how typer ends on Ctrl-C
            _err.print("amorph: interrupted; what was finished is on disk.", style="yellow")
        raise


if __name__ == "__main__":
    main()
