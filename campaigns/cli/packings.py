"""The commands that make packings and measure them: ``prepare`` and ``analyze``."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Force, Output, Plugins, frame_numbers_of, names_of, slice_of, until_of
from .terminal import bars, frame_bars, say, tell

if TYPE_CHECKING:
    from rich.progress import Progress


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
    from ..spread.starting import start_jax

    start_jax()
    from amorph.handover import InputError

    from ..inputs.plugins import run_installed
    from ..store.row_files import check_file_output
    from ..studies.files import load_preparation
    from ..studies.preparing import prepare_to_gsd
    from ..studies.statistics import StatisticsFile

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

    By some processes of this machine, or under mpiexec by its ranks. Finished rows are kept beside
    the table until it is whole: --resume goes on after any kill.
    """
    from ..spread.ranks import world
    from ..spread.starting import start_jax
    from ..spread.stopping import signals_noted

    ranks = world()
    start_jax(ranks, one_thread=True)  # before what is imported below brings JAX
    until_of(ranks)
    from amorph.handover import InputError

    from ..inputs.files import load_named_potential
    from ..inputs.plugins import load_plugins, run_installed
    from ..studies.analyze.plots import Plot
    from ..studies.analyze.running import analyze_to_file

    if not ranks.is_root:
        with signals_noted(ranks.until):
            ranks.serve()
        return
    try:
        chosen = slice_of(frames)
        numbers = frame_numbers_of(plot_frames)
        if plot is None and numbers is not None:
            raise InputError("--plot-frames needs --plot DIR, where the pictures go.")
        pictures = None if plot is None else Plot(plot, numbers, overwrite=force or resume)
        run_installed()
        load_plugins(plugin or ())
        theta, types = (None, None) if potential is None else load_named_potential(potential)
        with signals_noted(ranks.until), frame_bars() as progress:
            outcome = analyze_to_file(
                files,
                output,
                features=names_of(features),
                gradients=names_of(gradients) or (),
                frames=chosen,
                theta=theta,
                types=types,
                strict=strict,
                workers=workers,
                team=ranks,
                resume=resume,
                overwrite=force,
                before=None if pictures is None else pictures.check,
                finished=None if pictures is None else pictures.draw,
                progress=_frames_shown(progress),
            )
    finally:
        ranks.dismiss()
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


def respond(
    file: Annotated[Path, typer.Argument(help="Packings, as analyze reads them.")],
    output: Output,
    features: Annotated[str, typer.Option(help="What is to be tuned, a,b,...")],
    parameters: Annotated[
        str | None, typer.Option(help="By what, a,b,...; by default all of types and springs.")
    ] = None,
    change: Annotated[
        str | None,
        typer.Option(help="One step to a change: elastic_constants[0]=+5%,pressure=-0.01."),
    ] = None,
    species: Annotated[
        int | None, typer.Option(help="Assign particles anew to so many species of their type.")
    ] = None,
    relative: Annotated[
        bool, typer.Option("--relative", help="Count all in parts of their own values.")
    ] = False,
    frames: Annotated[str | None, typer.Option(help="Which frames, i:j; by default the first.")] = (
        "0:1"
    ),
    potential: Annotated[
        Path | None, typer.Option(help="A TOML file with [potential], for files without one.")
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Tell which features of packings can be tuned apart by which parameters, and how far.

    Singular values of the Jacobian, its rank with the round-off it is told from, the design modes,
    where linear response ends, and with --change one step to what is asked for, in a report.
    """
    from ..spread.starting import start_jax

    start_jax()
    from ..inputs.files import load_named_potential
    from ..inputs.plugins import load_plugins, run_installed
    from ..studies.respond.files import respond_to_file, wanted_changes

    run_installed()
    load_plugins(plugin or ())
    theta, types = (None, None) if potential is None else load_named_potential(potential)
    with bars() as progress:
        bar = progress.add_task("packings", total=None, info="")
        found = respond_to_file(
            file,
            output,
            features=names_of(features) or (),
            parameters=names_of(parameters),
            frames=slice_of(frames),
            theta=theta,
            types=types,
            species=species,
            relative=relative,
            change=wanted_changes(names_of(change) or ()),
            progress=lambda done: progress.update(bar, completed=done),
        )
    for packing in found:
        if "failure" in packing:
            tell(f"amorph: packing {packing['packing']}: {packing['failure']}")
            continue
        how = "fully" if packing["fully_independent"] else "partially"
        s = packing["susceptibilities"]
        say(
            f"packing {packing['packing']}: {packing['rank']} of {len(packing['rows'])} components "
            f"can be tuned apart by {len(packing['columns'])} parameters ({how} independent); "
            f"susceptibilities {s[0]:.3g} to {s[max(packing['rank'] - 1, 0)]:.3g}."
        )
    say(f"The report: {output / 'report.html'}.")
    if all("failure" in packing for packing in found):
        raise typer.Exit(1)


def _frames_shown(progress: "Progress") -> Callable[[int, int], None]:
    """A bar of frames, with their rate since it was begun."""
    bar = progress.add_task("frames", total=None, rate="")
    began: list[tuple[int, float]] = []

    def show(done: int, total: int) -> None:
        now = time.monotonic()
        if not began:
            began.append((done, now))
        first, start = began[0]
        rate = f"{(done - first) / (now - start):.1f} frames/s" if done > first else ""
        progress.update(bar, completed=done, total=total, rate=rate)

    return show
