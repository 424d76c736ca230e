"""The campaign that ``amorph prune FILE`` stands for."""

import json
import re
from collections.abc import Sequence
from os import PathLike, fspath

from amorph.handover import InputError, count_frames

__all__ = ["campaign_of"]


def campaign_of(
    path: str | PathLike[str],
    goals: Sequence[str],
    *,
    method: str = "greedy",
    tolerance: float = 1e-2,
    convex: bool = False,
    isotropic: bool = False,
    plates: bool = False,
) -> str:
    """The text of a campaign that prunes every frame of a file.

    Parameters
    ----------
    path:
        A GSD file of networks, or of packings, whose contacts are taken.
    goals:
        Texts such as ``poisson_ratio=-0.9`` and, for changes, ``bulk_modulus=-20%``.
    method, tolerance, convex, isotropic, plates:
        As the keys of ``[prune]`` of these names, and ``load``.

    Raises `InputError` for goals that are none, and as `amorph.handover.count_frames` does.

    Example
    -------
    >>> text = campaign_of("networks.gsd", ["poisson_ratio=-0.9"])
    """
    if not goals:
        raise InputError("--to: say what is wanted, as poisson_ratio=-0.9.")
    lines = [
        'name = "prune"',
        "[network]",
        'kind = "file"',
        f"file = {json.dumps(fspath(path), ensure_ascii=False)}",
    ]
    lines += [
        "[prune]",
        f"networks = {count_frames(fspath(path))}",
        f"method = {json.dumps(method)}",
        f"tolerance = {tolerance!r}",
        f"convex = {json.dumps(convex)}",
        f"isotropic = {json.dumps(isotropic)}",
        f"load = {json.dumps('plates' if plates else 'strains')}",
    ]
    for goal in goals:
        name, _, wanted = goal.rpartition("=")
        number = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
        found = re.fullmatch(rf"\s*({number})\s*(%?)\s*", wanted)
        if found is None or not name.strip():
            raise InputError(
                f"--to {goal.strip()!r}: write a feature and its target, poisson_ratio=-0.9, or by "
                "how much it is to change, bulk_modulus=-20%; commas divide several."
            )
        target = f'change = "{found[1]}%"' if found[2] else f"target = {float(found[1])!r}"
        lines += [
            "[[objective]]",
            f"feature = {json.dumps(name.strip(), ensure_ascii=False)}",
            target,
        ]
    return "\n".join(lines) + "\n"
