"""Options that several commands have, and how what is given for them is read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..spread.teams import Team

__all__ = [
    "Force",
    "Output",
    "Plugins",
    "floats_of",
    "frame_numbers_of",
    "names_of",
    "slice_of",
    "until_of",
]

Output = Annotated[Path, typer.Option("-o", "--output", help="Where the result goes.")]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        help="A Python file that registers features or potentials of your own; may be repeated.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]


def slice_of(text: str | None) -> slice | None:
    """Frames as ``i:j``; raises `InputError` for anything else."""
    from amorph.handover import InputError

    from ..inputs.tables import frames_slice

    try:
        return frames_slice(text)
    except ValueError as error:
        raise InputError(f"--{error}") from None


def names_of(text: str | None) -> list[str] | None:
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


def frame_numbers_of(text: str | None) -> list[int] | None:
    """Numbers of frames, each once; raises `InputError` for anything else."""
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


def floats_of(option: str, text: str | None) -> list[float] | None:
    """Numbers that commas divide; raises `InputError` for anything else."""
    from amorph.handover import InputError

    try:
        return None if text is None else [float(x) for x in text.split(",") if x.strip()]
    except ValueError:
        raise InputError(f"{option} {text!r}: write numbers: 1e-4,1e-3.") from None


def until_of(ranks: "Team", minutes: float | None = None) -> None:
    """Tell the ranks when to stop; raises as `Team.agree` where the minutes are none."""
    from amorph.handover import InputError

    from ..spread.stopping import Until

    error = None
    if minutes is not None and not 0 < minutes < float("inf"):
        error = InputError(f"--minutes {minutes:g}: give a number of minutes above 0.")
    ranks.agree(error)
    ranks.until = Until(None if minutes is None else 60.0 * minutes, ranks.interrupt)
