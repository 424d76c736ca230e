"""Standard output and error of the commands: lines, tables and bars of progress.

Names that users gave, and messages that hold them, are written as they are: nothing in them is
markup, and no line is broken or cut but by the terminal itself. A character that the stream's
encoding lacks is replaced.
"""

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = ["bars", "frame_bars", "let_all_be_written", "say", "say_table", "tell"]

_UNLIMITED = 1_000_000

# rich is imported where it is used: `amorph --help` answers at once.


def let_all_be_written() -> None:
    """Have standard output and error take any text: what their encoding lacks is replaced."""
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _nothing_more(stream: TextIO | None) -> None:
    """Discard a stream's unwritten output, or the interpreter complains when it ends."""
    if stream is None:
        return
    with suppress(OSError, ValueError):  # only files have a descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def say(text: str) -> None:
    """Write a line to standard output; raises `OutputError` where that cannot be written.

    The reader of a pipe may have what it wanted (``amorph status DIR | head -1``): then the process
    ends quietly, with the exit status of one that SIGPIPE ended.
    """
    _write(sys.stdout, "standard output", text)


def tell(text: str, style: str = "yellow") -> None:
    """Write a line to standard error, coloured where that is a terminal."""
    console = _error_console()
    if not console.is_terminal:
        _write(sys.stderr, "standard error", text)
        return
    from rich.text import Text

    console.print(Text(text), style=style, soft_wrap=True)


def _write(stream: TextIO | None, name: str, text: str) -> None:
    from amorph.handover import OutputError

    if stream is None:  # it was closed by who started this process
        return
    try:
        stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError:
        _nothing_more(stream)
        sys.exit(141)
    except OSError as error:
        _nothing_more(stream)
        raise OutputError(f"{name}: cannot be written: {error.strerror or error}.") from error


def say_table(names: Sequence[str], right: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table to standard output; `right` has the names of columns that end on the right.

    On a terminal, cells that have no place in a line go on in the next; elsewhere each row is one
    line, however long.
    """
    from rich.table import Table

    table = Table(box=None)
    for name in names:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    real = _console()
    written = io.StringIO()
    # Not on a terminal: as wide as the rows need.
    width = real.width if real.is_terminal else _UNLIMITED
    console = _console(file=written, force_terminal=real.is_terminal, width=width)
    console.print(table)
    say("\n".join(line.rstrip() for line in written.getvalue().splitlines()))


def _console(**options: Any) -> "Console":
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, **options)


@cache  # bars that move and lines between them are of one console
def _error_console() -> "Console":
    return _console(stderr=True)


def _bars(*columns: Any, **options: Any) -> "Progress":
    from rich.progress import Progress, SpinnerColumn

    console = _error_console()
    spinner = SpinnerColumn("dots" if console.encoding.startswith("utf") else "line")
    # Bars move: in a file they would be one last line, which the command's own says better.
    hidden = not console.is_terminal
    return Progress(spinner, *columns, console=console, disable=hidden, **options)


def _text(form: str) -> Any:
    from rich.progress import TextColumn
    from rich.table import Column

    return TextColumn(form, markup=False, table_column=Column(overflow="fold"))


def bars() -> "Progress":
    """Bars of progress on standard error, each with its time and its ``info``."""
    from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn

    return _bars(
        _text("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        _text("{task.fields[info]}"),
    )


def frame_bars() -> "Progress":
    """A bar of progress on standard error with its ``rate`` and the time left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return _bars(
        _text("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _text("{task.fields[rate]}"),
        TimeElapsedColumn(),
        _text("left"),
        TimeRemainingColumn(),
        speed_estimate_period=600,
    )
