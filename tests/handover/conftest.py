"""A frame to start from; each test alters what it is about."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amorph.handover import Frame

FrameFactory = Callable[..., Frame]


@pytest.fixture
def make_frame() -> FrameFactory:
    def make(**changes: Any) -> Frame:
        rng = np.random.default_rng(changes.pop("random", 5))
        n = changes.pop("n", 7)
        content: dict[str, Any] = {
            "positions": rng.uniform(-2, 2, (n, 2)),
            "typeid": np.arange(n) % 2,
            "types": ("A", "B"),
            "box": [[4.1, 0.3], [0.0, 4.7]],
            "potential": "harmonic_morse",
            "parameters": {
                "diameters": [0.8, 1.0],
                "binding": [0.1, 0.2, 0.3],
                "stiffness": [5.0, 6.0, 7.0],
                "alpha": [6.0, 6.5, 7.0],
            },
            "log": {"seed": 2**64 - 1, "energy": -1.25, "converged": True},
        }
        return Frame(**(content | changes))

    return make
