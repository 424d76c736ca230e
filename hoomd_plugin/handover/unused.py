"""Content of others' GSD frames that changes the physics, and that Amorph has no place for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._chunks import FrameChunks

__all__ = ["diameters_of", "unused_content"]

# Groups of particles that a run may have had forces or constraints between.
_GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "angles": "angles",
        "dihedrals": "dihedrals",
        "impropers": "impropers",
        "constraints": "constraints",
        "pairs": "special pairs",
    }
)


def unused_content(chunks: FrameChunks) -> tuple[str, ...]:
    """Content of a frame that plays no part in what is measured, in words; bonds are not counted.

    Angles and their like, constraints, rigid bodies, charges, and masses other than 1. A chunk that
    is not of the form the schema gives it says nothing here: what is used is checked where it is
    read.
    """
    found = []
    for group, words in _GROUPS.items():
        count = chunks.inherited(f"{group}/N")
        if count is not None and count.shape == (1,) and count.dtype.kind in "iu" and count[0]:
            found.append(f"{int(count[0])} {words}")
    body = _of_particles(chunks, "body")
    if body is not None and (body >= 0).any():
        found.append(f"{len(np.unique(body[body >= 0]))} rigid bodies")
    charge = _of_particles(chunks, "charge")
    if charge is not None and charge.any():
        found.append("charges")
    mass = _of_particles(chunks, "mass")
    if mass is not None and (mass != 1).any():
        found.append("masses other than 1")
    return tuple(found)


@np.errstate(invalid="ignore")
def diameters_of(chunks: FrameChunks) -> NDArray[np.float64] | None:
    """Each particle's diameter (N,) as the frame says it; None where it says the default, 1."""
    found = _of_particles(chunks, "diameter")
    return None if found is None or (found == 1).all() else found.astype(np.float64)


def _of_particles(chunks: FrameChunks, name: str) -> NDArray[Any] | None:
    values = chunks.inherited(f"particles/{name}")
    if values is None or values.ndim != 1 or values.dtype.kind not in "iuf" or not values.size:
        return None
    return values
