"""The commands of runs: ``demo``, ``run``, ``prune``, ``barriers``, ``gradient``, ``status``..."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Force, Output, Plugins, floats_of, names_of, until_of
from .terminal import bars, say, say_table

if TYPE_CHECKING:
    from ..spread.teams import Team
    from ..studies.study import Study


def _say_outcomes(kind: "type[Study[Any]]", outcomes: Sequence[Mapping[str, Any]]) -> None:
    say_table(*kind.rows_of(outcomes))


def demo(output: Output = Path("amorph-demo")) -> None:
    """Quench two packings, design their Poisson's ratio to 0.25 and 0.65, and report."""
    from ..spread.starting import start_jax

    start_jax()
    from ..studies.design.study import DesignStudy
    from .demo import run_demo
    from .watching import Bars

    with bars() as progress:
        summary = run_demo(output, Bars(progress))
    _say_outcomes(DesignStudy, summary["designs"])
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
    from ..inputs.files import file_text

    def work(ranks: "Team") -> None:
        _run_source(campaign, lambda: file_text(campaign), output, resume, ranks, plugin or ())

    _spread(work, minutes)


def _spread(work: "Callable[[Team], None]", minutes: float | None = None) -> None:
    """Do a run's work on the root, which spreads it over all ranks; the others serve it."""
    from ..spread.ranks import world
    from ..spread.starting import start_jax
    from ..spread.stopping import signals_noted

    ranks = world()
    start_jax(ranks, one_thread=True)  # results must not depend on the number of cores
    until_of(ranks, minutes)
    with signals_noted(ranks.until):
        if ranks.is_root:
            work(ranks)
            return
        from ..studies.running import serve_campaign

        serve_campaign(ranks)


def _run_source(
    file: Path,
    source_of: Callable[[], str],
    output: Path,
    resume: bool,
    ranks: "Team",
    plugins: Sequence[Path],
) -> list[dict[str, Any]]:
    """Run a campaign's text, in the name of a file; returns the outcomes."""
    from ..inputs.files import run_plugins_of
    from ..inputs.plugins import run_installed
    from ..studies.files import parse_campaign, study_of
    from ..studies.running import release_ranks, run_campaign
    from .watching import Bars

    try:
        run_installed()
        source = source_of()
        run_plugins_of(file, source, plugins, output if resume else None)
        campaign = parse_campaign(source, str(file))
    except BaseException:
        release_ranks(ranks)
        raise
    with bars() as progress:
        outcomes = run_campaign(
            campaign, source, output, resume=resume, watcher=Bars(progress), ranks=ranks
        )
    _say_outcomes(study_of(campaign), outcomes)
    return outcomes


def prune(
    file: Annotated[
        Path, typer.Argument(help="Networks: frames with springs, or packings, whose contacts are.")
    ],
    output: Output,
    to: Annotated[str, typer.Option("--to", help="Goals: poisson_ratio=-0.9,bulk_modulus=-20%.")],
    method: Annotated[str, typer.Option(help="greedy, annealing or gradient.")] = "greedy",
    tolerance: Annotated[float, typer.Option(help="Of the distance to the goals.")] = 0.01,
    convex: Annotated[bool, typer.Option("--convex", help="No node becomes concave.")] = False,
    isotropic: Annotated[
        bool, typer.Option("--isotropic", help="ν_x and ν_y, both shear moduli stay near.")
    ] = False,
    plates: Annotated[
        bool, typer.Option("--plates", help="Open networks, pressed between plates.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run there.")] = False,
    plugin: Plugins = None,
) -> None:
    """Cut bonds of a file's networks until they have what is wanted, alone or under mpiexec.

    Each network is in DIR/networks, before and after; `amorph report DIR` makes a page of all. A
    campaign with [prune] can do more: the file that these options stand for is DIR/campaign.toml.
    """

    def source() -> str:
        from ..studies.prune.of_file import campaign_of

        return campaign_of(
            file,
            names_of(to) or [],
            method=method,
            tolerance=tolerance,
            convex=convex,
            isotropic=isotropic,
            plates=plates,
        )

    def work(ranks: "Team") -> None:
        (outcome,) = _run_source(file, source, output, resume, ranks, plugin or ())
        if outcome["status"] != "done":
            raise typer.Exit(1)
        told = ", ".join(f"{name} {value}" for name, value in outcome["summary"].items())
        say(f"{output / 'networks.csv'}: {told}.")

    _spread(work)


def barriers(
    file: Annotated[Path, typer.Argument(help="Packings with their potential.")],
    output: Output,
    searches: Annotated[int, typer.Option(min=1, help="Around each packing.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the pushes that searches begin with.")] = 0,
    factor: Annotated[
        float | None, typer.Option(help="Multiply each packing's lowest barrier, by diameters.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run there.")] = False,
    plugin: Plugins = None,
) -> None:
    """Look for saddles around a file's packings, and the barriers to other minima, or raise one.

    Each search is a row of DIR/barriers.csv; `amorph report DIR` makes a page of all. A campaign
    with [barriers] can do more: the file that these options stand for is DIR/campaign.toml.
    """

    def source() -> str:
        from ..studies.barriers.of_file import campaign_of

        return campaign_of(file, searches=searches, seed=seed, factor=factor)

    def work(ranks: "Team") -> None:
        (outcome,) = _run_source(file, source, output, resume, ranks, plugin or ())
        if outcome["status"] != "done":
            raise typer.Exit(1)
        told = ", ".join(f"{name} {value}" for name, value in outcome["summary"].items())
        say(f"{output / 'barriers.csv'}: {told}.")

    _spread(work)


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

    def source() -> str:
        from ..inputs.files import file_text

        table = _gradient_table(campaign, packings, floats_of("--changes", changes))
        return file_text(campaign) + table

    def work(ranks: "Team") -> None:
        (outcome,) = _run_source(campaign, source, output, resume, ranks, plugin or ())
        if outcome["status"] != "done":
            raise typer.Exit(1)
        names = ("gradient.json", "packings.csv", "gradient.png")
        say(f"{', '.join(str(output / name) for name in names)}.")

    _spread(work)


def _gradient_table(file: Path, packings: int | None, changes: list[float] | None) -> str:
    """The table that the options stand for; nothing where the file has it already.

    Raises `InputError` where both say something.
    """
    from amorph.handover import InputError

    from ..inputs.files import read_toml

    given = {"packings": packings, "changes": changes}
    lines = [f"{name} = {value!r}\n" for name, value in given.items() if value is not None]
    if "gradient" not in read_toml(file):
        return "\n[gradient]\n" + "".join(lines)
    if lines:
        raise InputError(f"{file}: has [gradient]: leave out --packings and --changes.")
    return ""


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
    found = read_status(directory)
    if as_json:
        say(written(found))
        return
    kind = found.kind
    columns = list(dict.fromkeys(name for t in found for name in t.shown if name))
    rate = f"{kind.unit}/s"
    say_table(
        (kind.one, "status", kind.unit, *columns, rate, "left"),
        (kind.unit, *columns, rate, "left"),
        [
            (
                t.directory,
                ", ".join(word for word in (t.status, t.shown.get("", "")) if word),
                f"{t.done} of {t.total}",
                *(t.shown.get(name, "–") for name in columns),
                "–" if t.per_second is None else f"{t.per_second:.3g}",
                "–" if t.seconds_left is None else _duration(t.seconds_left),
            )
            for t in found
        ],
    )
    say(f"{sum(t.ended for t in found)} of {len(found)} {kind.many} have ended.")


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
    from ..studies.reporting import write_report

    say(f"{write_report(directory, overwrite=force)}")
