"""The campaign that ``amorph barriers FILE`` stands for."""

import json
from os import PathLike, fspath

from amorph.handover import count_frames

__all__ = ["campaign_of"]


def campaign_of(
    path: str | PathLike[str],
    *,
    searches: int = 20,
    seed: int = 0,
    factor: float | None = None,
) -> str:
    """The text of a campaign that looks for saddles around every frame of a file.

    Parameters
    ----------
    path:
        A GSD file of packings with their potential, as `amorph prepare` writes it.
    searches, seed, factor:
        As the keys of ``[barriers]`` of these names.

    Raises as `amorph.handover.count_frames` does.

    Example
    -------
    >>> text = campaign_of("packings.gsd", searches=50)
    """
    lines = [
        'name = "barriers"',
        "[preparation]",
        'start = "file"',
        f"file = {json.dumps(fspath(path), ensure_ascii=False)}",
        "[barriers]",
        f"packings = {count_frames(fspath(path))}",
        f"searches = {searches}",
        f"seed = {seed}",
    ]
    if factor is not None:
        lines.append(f"factor = {factor!r}")
    return "\n".join(lines) + "\n"
