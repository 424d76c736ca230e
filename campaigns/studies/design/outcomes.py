"""``design.json``: what is kept of a design."""

from pathlib import Path
from typing import Any

import numpy as np

from ...errors import RecordError
from ..study import read_outcome

__all__ = ["KEPT", "read_design"]

KEPT = "design.json"
_KEYS = ("feature", "target", "status", "initial", "value")


def read_design(path: Path) -> dict[str, Any]:
    """A design's ``design.json``; raises `RecordError` if it is not what a run writes."""
    out = read_outcome(path, _KEYS)
    n_features, n_targets = np.size(out["feature"]), np.size(out["target"])
    if n_features != n_targets:
        raise RecordError(
            f"{path}: names {n_features} features but {n_targets} targets: a design has one of "
            "each for every objective. Resume the run to have it made anew."
        )
    return out
