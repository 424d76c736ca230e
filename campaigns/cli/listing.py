"""The list of features that `amorph features` gives."""

import re
from contextlib import suppress
from typing import Any

from amorph import bridge
from amorph.bridge.features.registry import FAMILIES, FEATURES
from amorph.handover import AmorphError

__all__ = ["feature_rows"]


def feature_rows() -> list[dict[str, Any]]:
    """A row for each feature and each family: name, symbol, dimensions, units and more."""
    members = [(name, f) for name, f in FEATURES.items()]
    members += [(name, member) for name in FAMILIES if (member := _member(name)) is not None]
    return [
        {
            "name": name,
            "symbol": f.symbol,
            "dimensions": " and ".join(map(str, f.dimensions))
            + (", in a box" if f.needs_box else ""),
            "units": f.units,
            "gradient": "yes" if f.differentiable else "no",
            "describe": f.describe,
            "source": f.source,
        }
        for name, f in members
    ]


def _member(family: str) -> bridge.Feature | None:
    """A member of a family, which stands for all: the first that there is."""
    for number in range(1, 9):
        with suppress(AmorphError):
            found: bridge.Feature = bridge.feature(re.sub(r"\{\w+\}", str(number), family))
            return found
    return None
