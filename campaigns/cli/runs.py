"""The commands of runs: ``demo``, ``run``, ``gradient``, ``status`` and ``report``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Force, Output, Plugins, floats_of
from .terminal import bars, say, say_table

if TYPE_CHECKING:
    from ..spread.ranks import Ranks
    from ..spread.stopping import Until
    from ..studies.status import DesignStatus


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


def demo(output: Output = Path("amorph-demo")) -> None:
    """Quench two packings, design their Poisson's ratio to 0.25 and 0.65, and report."""
    from ..spread.starting import start_jax

    start_jax()
    from .demo import run_demo
    from .watching import Bars

    with bars() as progress:
        summary = run_demo(output, Bars(progress))
    _say_outcomes(summary["designs"])
    say(f"The pictures: {output / 'report.html'} and {output / 'design.png'}.")


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
    from ..spread.ranks import world
    from ..spread.starting import start_jax
    from ..spread.stopping import signals_noted

    ranks = world()
    start_jax(ranks, one_thread=True)  # results must not depend on the number of cores
    until = _until(ranks, minutes)
    with signals_noted(until):
        if not ranks.is_root:
            from ..studies.design.runs import serve_campaign

            serve_campaign(ranks, until)
            return
        outcomes = _run_root(campaign, output, resume, ranks, until, plugin or ())
    _say_outcomes(outcomes)


def _until(ranks: "Ranks", minutes: float | None = None) -> "Until":
    """When to stop; as `Ranks.agree` where the minutes are none."""
    from amorph.handover import InputError

    from ..spread.stopping import Until

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
    from ..inputs.files import file_text, load_campaign
    from ..inputs.plugins import run_installed
    from ..studies.design.runs import release_ranks, run_campaign
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
    from ..spread.ranks import world
    from ..spread.starting import start_jax
    from ..spread.stopping import signals_noted

    ranks = world()
    start_jax(ranks, one_thread=True)
    until = _until(ranks)
    if not ranks.is_root:
        with signals_noted(until):
            ranks.serve()
        return
    from ..inputs.files import file_text, load_campaign
    from ..inputs.plugins import run_installed
    from ..report.output import png, write
    from ..studies.gradient.check import check_gradient
    from ..studies.gradient.pictures import gradient as drawn

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
                changes=floats_of("--changes", changes),
                resume=resume,
                ranks=ranks,
                progress=show,
            )
    finally:
        ranks.dismiss()
    picture = output / "gradient.png"
    write(picture, png(drawn(found)))
    say(f"{output / 'gradient.json'}, {output / 'packings.csv'} and {picture}.")


def status(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    plugin: Plugins = None,
) -> None:
    """Tell how far a run is: steps, loss, rate, time left; while it runs, or afterwards."""
    from ..spread.starting import start_jax

    start_jax()
    from ..inputs.plugins import load_plugins, run_installed
    from ..studies.status import as_json as written
    from ..studies.status import read_status

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


def report(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    plugin: Plugins = None,
    force: Force = False,
) -> None:
    """Make pictures and an HTML page from a run directory."""
    from ..spread.starting import start_jax

    start_jax()
    from ..inputs.plugins import load_plugins, run_installed

    run_installed()
    load_plugins(plugin or ())
    from ..studies.design.report import write_report

    say(f"{write_report(directory, overwrite=force)}")
