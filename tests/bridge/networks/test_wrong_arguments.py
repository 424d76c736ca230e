"""Every public function of networks refuses wrong arguments by name."""

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import networks
from amorph.handover import AmorphError

SPRINGS, PACKING = networks.triangular_network((6, 6), seed=1)
OPEN = networks.triangular_network((6, 6), seed=1, open_edges=True)
ARRAY = np.ones(3)
NOT_A_PACKING = (None, ARRAY, SPRINGS, "file.gsd")
WRONG: dict[str, tuple[Any, ...]] = {
    "springs": (None, ARRAY, PACKING, "file.gsd", bridge.Springs),
    "packing": NOT_A_PACKING,
    "theta": (None, SPRINGS, ARRAY),
    "pruning": (None, SPRINGS, (SPRINGS, PACKING), "text"),
    "goals": (None, 3, "poisson_ratio", ["poisson_ratio"], {}, {"poisson_ratio": "low"}),
    "load": (3, "strains", ARRAY),
    "loading": (3, "plates", ARRAY),
    "constraints": (3, "convex", {"convex": True}),
    "positions": (None, "text", [[0.0], [1.0]], [["a", "b"]]),
    "bonds": (None, "text", [[0]], [[0, 99]], [[0.5, 1.0]]),
    "pairs": ("text", [[0, 999]], [[0.5, 1.0]], [[2, 2]]),
    "graph": (None, 3, "text", {}),
    "size": (None, 8, "88", (8,), (8.5, 8), (-8, 8)),
    "distortion": (None, "much", -0.1, float("nan")),
    "n_nodes": (None, "many", 2.5, 3),
    "least_distance": (None, "near", -0.1, 0.9),
    "stiffness": (None, "text", -1.0, float("nan")),
    "tolerance": (None, "small", -1.0, 0.0, float("nan")),
    "most": ("all", 2.5, -1),
    "n_modes": (None, "all", 0, 2.5),
    "depth": (None, "far", -1.0),
    "alive": ("all", ARRAY, [True]),
    "cooling": (None, "slow", 0.0, 1.0),
    "temperature": ("hot", -1.0, 0.0),
    "coldest": ("cold", -1.0, 0.0),
    "chain": ("long", 0, 1.5),
    "most_trials": ("all", -1, 1.5),
    "least_gain": (None, "small", -1.0),
    "renew_every": (None, "often", 0, 1.5),
    "seed": (None, "text", -1, 1.5),
    "edges": (3, "all", {}, {"left": [0]}, {k: [0] for k in ("left", "right", "bottom", "top")}),
    "units": (3, {"bulk_modulus": 1.0}, {"poisson_ratio": "large"}, {"poisson_ratio": 0.0}),
}


def good(name: str) -> dict[str, Any]:
    opened = name in ("edge_nodes", "mode_superposition", "plates")
    springs, packing = OPEN if opened else (SPRINGS, PACKING)
    if name == "contact_network":
        packing = bridge.Packing.of([[0.0, 0.0], [0.9, 0.0]], [0, 0], 4.0 * np.eye(2))
    return {
        "springs": springs,
        "packing": packing,
        "theta": bridge.SoftSphere(diameters=[1.0], stiffness=1.0),
        "goals": {"poisson_ratio": 0.1},
        "positions": [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]],
        "bonds": [[0, 1], [1, 2]],
        "graph": None,
        "size": (6, 6),
        "n_nodes": 64,
    }


def cases() -> Iterator[Any]:
    for name in networks.__all__:
        function = getattr(networks, name)
        if not callable(function) or name in ("Load", "Pruned", "Constraints"):
            continue
        for argument in inspect.signature(function).parameters:
            if argument in WRONG:
                yield pytest.param(name, argument, id=f"{name}-{argument}")


@pytest.mark.parametrize(("name", "argument"), list(cases()))
def test_a_wrong_argument_is_refused_by_name(name: str, argument: str) -> None:
    function = getattr(networks, name)
    parameters = inspect.signature(function).parameters
    here = good(name)
    if "pruning" in parameters and argument != "pruning":
        here["pruning"] = networks.Pruning(SPRINGS, PACKING, {"poisson_ratio": 0.24})
    here.setdefault("pruning", None)
    given = {p: here[p] for p, v in parameters.items() if v.default is inspect.Parameter.empty}
    for wrong in WRONG[argument]:
        if wrong is None and parameters[argument].default is None:
            continue
        with pytest.raises(AmorphError) as caught:
            function(**{**given, argument: wrong})
        assert len(str(caught.value)) > 20, wrong
        assert not isinstance(caught.value.__cause__, (AttributeError, KeyError)), wrong


def test_all_functions_take_part() -> None:
    tried = {case.values[0] for case in cases()}
    left = set(networks.__all__) - tried - {"ISOTROPIC", "Load", "Pruned", "Constraints"}
    assert not left
