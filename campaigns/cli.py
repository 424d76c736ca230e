"""The command line, a function for each command of ``amorph``."""

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .launched import hold_interrupts, launched_number, release_interrupts
from .terminal import bars, frame_bars, let_all_be_written, say, say_table, tell

# Heavy modules are imported where they are used, so that `amorph --help` answers at once.
if TYPE_CHECKING:
    from amorph.handover import AmorphError

    from .ranks import Ranks
    from .status import DesignStatus
    from .stopping import Until

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain text: brackets would be taken for markup, and errors that quote users' input garbled.
    rich_markup_mode=None,
)

Output = Annotated[Path, typer.Option("-o", "--output", help="Where the result goes.")]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        help="A Python file that registers features or potentials of your own; may be repeated.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"amorph {version('amorph')}")
        raise typer.Exit


@app.callback()
def amorph(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and end."
        ),
    ] = False,
) -> None:
    """Designs disordered solids.

    Finds the particle interactions for which the material that forms by itself has the property you
    ask for.
    """
    if context.invoked_subcommand not in ("run", "gradient"):  # which join the ranks
        release_interrupts()


def _say_outcomes(designs: Sequence[Mapping[str, Any]]) -> None:
    def text(values: Any) -> str:
        listed = values if isinstance(values, list) else [values]
        return ", ".join("–" if v is None else f"{v:.4f}" for v in listed)

    say_table(
        ("design", "target", "initial", "final", "steps", "status"),
        ("target", "initial", "final", "steps"),
        [
            (
                str(d["directory"]),
                text(d["target"]),
                text(d["initial"]),
                text(d.get("final", d.get("value"))),
                str(d["steps"]),
                str(d["status"]),
            )
            for d in designs
        ],
    )


@app.command(short_help="Quench two packings, design their Poisson's ratio, report.")
def demo(output: Output = Path("amorph-demo")) -> None:
    """Quench two packings, design their Poisson's ratio to 0.25 and 0.65, and report."""
    from .starting import start_jax

    start_jax()
    from .demo import run_demo
    from .watching import Bars

    with bars() as progress:
        summary = run_demo(output, Bars(progress))
    _say_outcomes(summary["designs"])
    say(f"The pictures: {output / 'report.html'} and {output / 'design.png'}.")


@app.command(short_help="Prepare an ensemble of packings from a file.")
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
    plugin: Plugins = None,
) -> None:
    """Prepare an ensemble of packings from a file, a frame of OUT.gsd for each replica.

    The file grows while the ensemble is computed, and is whole up to its last frame at any time.
    """
    from .starting import start_jax

    start_jax()
    from amorph.handover import InputError

    from .files import load_preparation
    from .plugins import run_installed
    from .preparing import prepare_to_gsd
    from .row_files import check_file_output
    from .statistics import StatisticsFile

    if force and append:
        raise InputError("--force replaces the file, --append goes on with it: give one of them.")
    run_installed()
    settings = load_preparation(file, plugins=plugin or ())
    if not append:
        check_file_output(output, overwrite=force)
    p = settings.preparation
    with bars() as progress, StatisticsFile(statistics, overwrite=force) as table:
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
    say(
        f"{output}: {result.found + result.written} packings{found}; energy per particle "
        f"{result.energy_per_particle:.6f}, pressure {result.pressure:.6f} (means)."
    )
    failed = result.computed - result.ok
    if failed:
        for line in result.failures[:10]:
            tell(f"amorph: {line}")
        tell(
            f"amorph: {failed} of {result.computed} did not end as they should (their frames say "
            "so in log/amorph/converged)."
        )


def _slice(text: str | None) -> slice | None:
    from amorph.handover import InputError

    from .tables import frames_slice

    try:
        return frames_slice(text)
    except ValueError as error:
        raise InputError(f"--{error}") from None


def _names(text: str | None) -> list[str] | None:
    """Names that commas divide, but for commas in brackets: elastic_tensor[0,0,1,1] is one."""
    if text is None:
        return None
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "[(") - (sign in "])")
        if sign == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [name for name in (part.strip() for part in parts) if name]


def _frame_numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    from amorph.handover import InputError

    try:
        numbers = [int(x) for x in text.split(",") if x.strip()]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0:
        raise InputError(f"--plot-frames {text!r}: write numbers of frames, from 0 on: 0,5,12.")
    return list(dict.fromkeys(numbers))


def _floats(option: str, text: str | None) -> list[float] | None:
    from amorph.handover import InputError

    try:
        return None if text is None else [float(x) for x in text.split(",") if x.strip()]
    except ValueError:
        raise InputError(f"{option} {text!r}: write numbers: 1e-4,1e-3.") from None


@app.command(short_help="Relax and measure every frame of trajectories.")
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
    plugin: Plugins = None,
    force: Force = False,
) -> None:
    """Relax and measure every frame of trajectories: a row a frame, as JSON, CSV or Parquet.

    Finished rows are kept beside the table until it is whole: --resume goes on after any kill.
    """
    from .starting import start_jax

    start_jax(one_thread=True)  # before what is imported below brings JAX
    from amorph.handover import InputError

    from .analyzing import analyze_to_file
    from .files import load_named_potential
    from .plotting import Plot
    from .plugins import load_plugins, run_installed

    chosen = _slice(frames)
    numbers = _frame_numbers(plot_frames)
    if plot is None and numbers is not None:
        raise InputError("--plot-frames needs --plot DIR, where the pictures go.")
    pictures = None if plot is None else Plot(plot, numbers, overwrite=force or resume)
    run_installed()
    load_plugins(plugin or ())
    theta, types = (None, None) if potential is None else load_named_potential(potential)
    with frame_bars() as progress:
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
        tell(f"amorph: {message}")
    found = f", {outcome.found} of them found there" if outcome.found else ""
    say(f"{output}: {outcome.rows} frames{found}, {outcome.failed} of them not measured.")
    for number, words in (
        (outcome.other_minimum, "came to rest in another minimum than their file has"),
        (outcome.not_converged, "are not converged, says their file"),
        (outcome.unused, "hold content that plays no part in what was measured: column unused"),
    ):
        if number:
            tell(f"amorph: {number} of {outcome.rows} frames {words}.")
    if pictures is not None and pictures.written:
        say(f"Pictures: {', '.join(str(p) for p in pictures.written)}.")
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
    plugin: Plugins = None,
) -> None:
    """Run a campaign, alone or under mpiexec.

    Every step is safe on disk, and --resume goes on after any kill. SIGTERM, SIGUSR1 and --minutes
    end a run between two steps, with exit status 75.
    """
    from .ranks import world
    from .starting import start_jax
    from .stopping import signals_noted

    ranks = world()
    start_jax(ranks, one_thread=True)  # results must not depend on the number of cores
    until = _until(ranks, minutes)
    with signals_noted(until):
        if not ranks.is_root:
            from .runs import serve_campaign

            serve_campaign(ranks, until)
            return
        outcomes = _run_root(campaign, output, resume, ranks, until, plugin or ())
    _say_outcomes(outcomes)


def _until(ranks: "Ranks", minutes: float | None = None) -> "Until":
    """When to stop; as `Ranks.agree` where the minutes are none."""
    from amorph.handover import InputError

    from .stopping import Until

    error = None
    if minutes is not None and not 0 < minutes < float("inf"):
        error = InputError(f"--minutes {minutes:g}: give a number of minutes above 0.")
    ranks.agree(error)
    return Until(None if minutes is None else 60.0 * minutes, ranks.interrupt)


def _run_root(
    file: Path,
    output: Path,
    resume: bool,
    ranks: "Ranks",
    until: "Until",
    plugins: Sequence[Path] = (),
) -> list[dict[str, Any]]:
    from .files import file_text, load_campaign
    from .plugins import run_installed
    from .runs import release_ranks, run_campaign
    from .watching import Bars

    try:
        run_installed()
        campaign = load_campaign(file, plugins=plugins, kept=output if resume else None)
        source = file_text(file)
    except BaseException:
        release_ranks(ranks)
        raise
    with bars() as progress:
        return run_campaign(
            campaign,
            source,
            output,
            resume=resume,
            watcher=Bars(progress),
            ranks=ranks,
            until=until,
        )


@app.command(short_help="Check gradients against finite changes of parameters.")
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
    plugin: Plugins = None,
) -> None:
    """Check gradients against finite changes of the parameters, alone or under mpiexec.

    Of followed packings: the predicted change of the loss beside the measured one. Of an ensemble:
    the mean of the derivatives beside the derivative of the mean.
    """
    from .ranks import world
    from .starting import start_jax
    from .stopping import signals_noted

    ranks = world()
    start_jax(ranks, one_thread=True)
    until = _until(ranks)
    if not ranks.is_root:
        with signals_noted(until):
            ranks.serve()
        return
    from . import pictures
    from .files import file_text, load_campaign
    from .gradient_check import check_gradient
    from .plugins import run_installed
    from .report.output import png, write

    try:
        run_installed()
        with signals_noted(until), bars() as progress:
            bar = progress.add_task("packings", total=None, info="")

            def show(done: int, total: int) -> None:
                progress.update(bar, completed=done, total=total)
                until.check("gradients")

            found = check_gradient(
                load_campaign(campaign, plugins=plugin or (), kept=output if resume else None),
                file_text(campaign),
                output,
                packings=packings,
                changes=_floats("--changes", changes),
                resume=resume,
                ranks=ranks,
                progress=show,
            )
    finally:
        ranks.dismiss()
    picture = output / "gradient.png"
    write(picture, png(pictures.gradient(found)))
    say(f"{output / 'gradient.json'}, {output / 'packings.csv'} and {picture}.")


@app.command(short_help="Tell how far a run is, while it runs or afterwards.")
def status(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    plugin: Plugins = None,
) -> None:
    """Tell how far a run is: steps, loss, rate, time left; while it runs, or afterwards."""
    from .starting import start_jax

    start_jax()
    from .plugins import load_plugins, run_installed
    from .status import as_json as written
    from .status import read_status

    run_installed()
    load_plugins(plugin or ())
    designs = read_status(directory)
    if as_json:
        say(written(designs))
        return
    say_table(
        ("design", "status", "steps", "loss", "value", "steps/s", "left"),
        ("steps", "loss", "value", "steps/s", "left"),
        [
            (
                d.directory,
                _status_words(d),
                f"{d.steps} of {d.limit}",
                "–" if d.loss is None else f"{d.loss:.2e}",
                "–" if d.value is None else ", ".join(f"{v:.4f}" for v in d.value),
                "–" if d.steps_per_second is None else f"{d.steps_per_second:.3g}",
                "–" if d.seconds_left is None else _duration(d.seconds_left),
            )
            for d in designs
        ],
    )
    ended = sum(d.ended for d in designs)
    say(f"{ended} of {len(designs)} designs have ended.")


def _status_words(design: "DesignStatus") -> str:
    words = [design.status]
    if design.validated:
        words.append(f"{design.validated} validated")
    if design.confirmation and not design.confirmation["holds"]:
        words.append("does not hold")
    return ", ".join(words)


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{hours:.1f} h" if hours >= 1 else f"{minutes:.0f} min" if minutes >= 1 else "< 1 min"


@app.command(short_help="Make pictures and a page from a run directory.")
def report(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    plugin: Plugins = None,
    force: Force = False,
) -> None:
    """Make pictures and an HTML page from a run directory."""
    from .starting import start_jax

    start_jax()
    from .plugins import load_plugins, run_installed

    run_installed()
    load_plugins(plugin or ())
    from .report import write_report

    say(f"{write_report(directory, overwrite=force)}")


@app.command(short_help="List what packings can be measured and designed by.")
def features(
    plugin: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List all features, those of plug-ins too, and the families of them.

    Arithmetic of them is one too: "bulk_modulus / shear_modulus", "elastic_constants[0] * 2".
    """
    from .starting import start_jax

    start_jax()
    from .listing import feature_rows
    from .plugins import load_plugins, run_installed

    run_installed()
    load_plugins(plugin or ())
    rows = feature_rows()
    if as_json:
        say(json.dumps({"features": rows}, indent=1, ensure_ascii=False))
        return
    columns = ("name", "symbol", "dimensions", "units", "gradient", "source")
    say_table(columns, (), [tuple(str(row[c]) for c in columns) for row in rows])


@app.command(short_help="Tell what this machine offers, and what is missing.")
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Tell what this machine offers, and how to get what is missing."""
    from .doctor import report as examined

    found = examined()
    if as_json:
        say(json.dumps(found, indent=1))
    else:
        marks = {True: "✓", False: "✗", None: "·"}
        say_table(
            ("", "what", "found", "how to get it"),
            (),
            [
                (
                    marks[True if f["present"] else False if f["needed"] else None],
                    *(str(f[key]) for key in ("what", "detail", "cure")),
                )
                for f in found["findings"]
            ],
        )
    if not found["ok"]:
        raise typer.Exit(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; named errors end it with their message and exit status 2."""
    hold_interrupts()
    let_all_be_written()
    said: set[str] = set()

    def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in said:
            said.add(str(message))
            tell(f"amorph: warning: {message}")

    warnings.showwarning = show_warning
    given = sys.argv[1:] if arguments is None else list(arguments)
    command: Callable[..., Any] = typer.main.get_command(app)
    try:
        _check_text(given)
        command(args=given, prog_name="amorph")
    except Exception as error:
        from amorph.handover import AmorphError

        if not isinstance(error, AmorphError):
            raise
        sys.exit(_ended(error))
    except SystemExit as end:
        if end.code == 130:  # how typer ends on Ctrl-C
            _tell_interrupted()
        raise


def _check_text(arguments: Sequence[str]) -> None:
    """Raise `InputError` for an argument that is no text, and so cannot stand in any table."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            from amorph.handover import InputError

            shown = os.fsencode(argument).decode("ascii", "backslashreplace")
            raise InputError(
                f"{shown}: is no text in {sys.getfilesystemencoding()}. If it is in a UTF-8 "
                "locale, set one (LC_ALL=C.UTF-8); otherwise rename the file."
            ) from None


def _ended(error: "AmorphError") -> int:
    """Say an error; returns the exit status."""
    from .errors import InterruptError, StoppedError
    from .stopping import INTERRUPTED

    stopped = isinstance(error, StoppedError)
    tell(f"amorph: {error}", "yellow" if stopped else "red")
    if isinstance(error, InterruptError):
        return INTERRUPTED
    return 75 if stopped else 2  # 75: EX_TEMPFAIL, try again


def _tell_interrupted() -> None:
    if launched_number() == 0:  # before the ranks know of each other
        tell("amorph: interrupted; what was finished is on disk.")


if __name__ == "__main__":
    main()
