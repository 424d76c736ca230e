"""Every public function of landscapes refuses wrong arguments by name."""

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import landscapes
from amorph.handover import AmorphError

from .conftest import trimer

THETA, START, END = trimer()
CLUSTER = landscapes.rigid_clusters(4)[0]
ARRAY = np.ones(3)
RESULTS = {"Breaking", "Cluster", "Passages", "Points", "Saddle", "Saddles", "Transition"}
WRONG: dict[str, tuple[Any, ...]] = {
    "theta": (None, START, ARRAY, bridge.Morse, [THETA, THETA, THETA]),
    "packing": (None, ARRAY, THETA, "file.gsd"),
    "start": (None, ARRAY, THETA),
    "end": (None, ARRAY, START.with_positions(START.positions * 2.0)),
    "starts": ("text", ARRAY, [[0.0]], np.full((1, 3, 2), np.nan)),
    "saddles": (3, [START], "saddle"),
    "ends": (3, [START], [(START,)], [(START, 3)], "ends"),
    "paths": (3, [ARRAY], ["way"], []),
    "transitions": (3, [START], [], "way"),
    "transition": (None, START, "way"),
    "positions": (None, "text", ARRAY),
    "n_images": (0, 2, 3.5, "many"),
    "optimiser": ("newton", 3, None),
    "max_steps": (0, 2.5, "all"),
    "most_saddles": (0, 1.5, "all"),
    "tolerance": ("small", -1.0, 0.0, float("nan")),
    "cluster": (None, START, ARRAY),
    "one": (None, START),
    "other": (None, START),
    "contact": (None, [0, 0], [0, 9], "text", [[[0, 1]]]),
    "n": (None, 2, 4.5, "all"),
    "dimension": (None, 1, 4, "space"),
    "points": (None, START, ARRAY),
    "temperature": (0.0, -1.0, "warm"),
    "friction": (0.0, -1.0, "much"),
    "signal": (None, "text", np.zeros((2, 2, 2))),
    "interval": (None, 0.0, -1.0, "long"),
    "cutoff": (None, 0.0, 0.7, "low"),
    "inside": (ARRAY, "all", np.ones(3, bool)),
    "confidence": (0.0, 1.0, 2.0, "sure"),
}


@cache
def known() -> Any:
    return landscapes.find_transition(THETA, START, END)


def good(name: str) -> dict[str, Any]:
    way = known()
    return {
        "theta": THETA,
        "packing": START,
        "start": START,
        "end": END,
        "ends": [(START, END)],
        "saddles": [way.saddle],
        "transitions": [way],
        "transition": way,
        "positions": way.path,
        "cluster": CLUSTER,
        "one": CLUSTER,
        "other": CLUSTER,
        "contact": CLUSTER.contacts[0],
        "n": 4,
        "points": landscapes.points_of(THETA, [way]),
        "signal": np.zeros((1, 50)),
        "interval": 1.0,
        "cutoff": 0.1,
        "low": 0.5,
    }


def cases() -> Iterator[Any]:
    for name in landscapes.__all__:
        if name in RESULTS or name == "Transitions":
            continue
        for argument in inspect.signature(getattr(landscapes, name)).parameters:
            # Traced by JAX, theta is what it is differentiated by.
            if argument in WRONG and not (
                argument == "theta" and name in ("barriers", "log_rates", "placed")
            ):
                yield pytest.param(name, argument, id=f"{name}-{argument}")


@pytest.mark.parametrize(("name", "argument"), list(cases()))
def test_a_wrong_argument_is_refused_by_name(name: str, argument: str) -> None:
    function = getattr(landscapes, name)
    parameters = inspect.signature(function).parameters
    here = good(name)
    needed = inspect.Parameter.empty
    given = {p: here[p] for p, v in parameters.items() if v.default is needed and p in here}
    for wrong in WRONG[argument]:
        if wrong is None and parameters[argument].default is None:
            continue
        with pytest.raises(AmorphError) as caught:
            function(**{**given, argument: wrong})
        assert len(str(caught.value)) > 20, wrong
        assert not isinstance(caught.value.__cause__, (AttributeError, KeyError)), wrong


def test_all_functions_take_part() -> None:
    tried = {case.values[0] for case in cases()}
    assert not set(landscapes.__all__) - tried - RESULTS - {"Transitions"}
