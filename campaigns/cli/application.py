"""The application ``amorph``, and how it ends."""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..spread.launched import hold_interrupts, launched_number, release_interrupts
from .terminal import let_all_be_written, say, tell

# Heavy modules are imported where they are used, so that `amorph --help` answers at once.
if TYPE_CHECKING:
    from amorph.handover import AmorphError

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain text: brackets would be taken for markup, and errors that quote users' input garbled.
    rich_markup_mode=None,
)


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
    joining = ("run", "prune", "barriers", "gradient", "analyze")  # these join the ranks
    if context.invoked_subcommand not in joining:
        release_interrupts()


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
    from ..errors import InterruptError, StoppedError
    from ..spread.stopping import INTERRUPTED

    stopped = isinstance(error, StoppedError)
    tell(f"amorph: {error}", "yellow" if stopped else "red")
    if isinstance(error, InterruptError):
        return INTERRUPTED
    return 75 if stopped else 2  # 75: EX_TEMPFAIL, try again


def _tell_interrupted() -> None:
    if launched_number() == 0:  # before the ranks know of each other
        tell("amorph: interrupted; what was finished is on disk.")
