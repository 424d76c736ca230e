"""Bad input has a named error, before any work starts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amorph import ensemble
from amorph.handover import (
    AmorphError,
    BoxTooSmallError,
    InputError,
    OutputError,
    UnknownPotentialError,
    UnknownTypeError,
)

GOOD: dict[str, Any] = {
    "n_particles": 96,
    "density": 1.6,
    "dimension": 2,
    "replicas": 2,
    "seed": 1,
    "max_steps": 5,
}


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"n_particles": 40}, BoxTooSmallError, "twice the largest cutoff"),
        ({"density": 100.0}, BoxTooSmallError, "lower density"),
        ({"density": -1.6}, InputError, "density = -1.6"),
        ({"density": 0}, InputError, "density"),
        ({"density": np.nan}, InputError, "density"),
        ({"density": np.inf}, InputError, "density"),
        ({"density": "1.6"}, InputError, "density"),
        ({"n_particles": 0}, InputError, "n_particles"),
        ({"n_particles": -4}, InputError, "n_particles"),
        ({"n_particles": 96.5}, InputError, "n_particles"),
        ({"n_particles": np.nan}, InputError, "n_particles"),
        ({"n_particles": np.inf}, InputError, "n_particles"),
        ({"n_particles": None}, InputError, "n_particles"),
        ({"n_particles": True}, InputError, "n_particles"),
        ({"n_particles": 97}, InputError, "does not divide 97"),
        ({"composition": [1, 2, 3]}, InputError, "2 shares"),
        ({"composition": [0.3, 0.7]}, InputError, "does not divide"),
        ({"composition": [-1, 2]}, InputError, "composition"),
        ({"composition": [0, 0]}, InputError, "composition"),
        ({"composition": [0.5, 1.0]}, InputError, r"sum to 1\.5"),
        ({"composition": [np.nan, 1]}, InputError, "composition"),
        ({"dimension": 1}, InputError, "dimension"),
        ({"dimension": 4}, InputError, "dimension"),
        ({"dimension": "2"}, InputError, "dimension"),
        ({"dimension": 2.0}, InputError, "dimension"),
        ({"replicas": 0}, InputError, "replicas"),
        ({"replicas": -1}, InputError, "replicas"),
        ({"replicas": 1.5}, InputError, "replicas"),
        ({"seed": -1}, InputError, "seed"),
        ({"seed": 2**64}, InputError, "seed"),
        ({"seed": 0.5}, InputError, "seed"),
        ({"seed": None}, InputError, "seed"),
        ({"first_replica": -1}, InputError, "first_replica"),
        ({"first_replica": 2**32 - 1}, InputError, "replica numbers"),
        ({"tolerance": 0}, InputError, "tolerance"),
        ({"tolerance": -1e-10}, InputError, "tolerance"),
        ({"tolerance": np.nan}, InputError, "tolerance"),
        ({"max_steps": 0}, InputError, "max_steps"),
        ({"max_steps": 1.5}, InputError, "max_steps"),
        ({"threads": 0}, InputError, "threads"),
        ({"threads": -2}, InputError, "threads"),
    ],
    ids=lambda x: str(x) if isinstance(x, dict) else "",
)
@pytest.mark.usefixtures("no_work")
def test_quench(changes: dict, error: type, named: str, morse: Any) -> None:
    with pytest.raises(error, match=named):
        ensemble.quench(morse, **(GOOD | changes))


@pytest.mark.parametrize(
    ("potential", "changes", "error", "named"),
    [
        ("harmonic_morse", {"diameters": [0.8, -1.0]}, InputError, "diameters.*element 1 is -1.0"),
        ("harmonic_morse", {"diameters": [0.0, 1.0]}, InputError, "diameters.*element 0"),
        ("harmonic_morse", {"diameters": [0.8, np.nan]}, InputError, "diameters"),
        ("harmonic_morse", {"diameters": []}, InputError, "diameters"),
        ("harmonic_morse", {"stiffness": [5, -5, 5]}, InputError, "stiffness.*element 1"),
        ("harmonic_morse", {"stiffness": [5, 0, 5]}, InputError, "stiffness"),
        ("harmonic_morse", {"stiffness": [5, 5]}, InputError, "length 3"),
        ("harmonic_morse", {"binding": [0.1, -0.1, 0.1]}, InputError, "binding"),
        ("harmonic_morse", {"alpha": [6, 0, 6]}, InputError, "alpha"),
        ("harmonic_morse", {"alpha": [6, np.inf, 6]}, InputError, "alpha"),
        ("harmonic_morse", {"epsilon": 1.0}, InputError, "no parameter 'epsilon'"),
        ("harmonic_morse", {"binding": None}, InputError, "binding"),
        ("lennard_jones", {}, UnknownPotentialError, "lennard_jones"),
    ],
)
@pytest.mark.usefixtures("no_work")
def test_parameters(potential: str, changes: dict, error: type, named: str, morse: Any) -> None:
    theta = type(morse)(potential, {**morse.values, **changes})
    with pytest.raises(error, match=named):
        ensemble.quench(theta, **GOOD)


@pytest.mark.usefixtures("no_work")
def test_a_parameter_that_is_missing(morse: Any) -> None:
    values = {k: v for k, v in morse.values.items() if k != "alpha"}
    with pytest.raises(InputError, match="'alpha' is missing"):
        ensemble.quench(type(morse)("harmonic_morse", values), **GOOD)


X = np.random.default_rng(3).uniform(-4, 4, (2, 96, 2))
NAN = X.copy()
NAN[1, 5, 0] = np.nan
TYPES = np.repeat([0, 1], 48)
BOX = np.eye(2) * 8.0


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"positions": NAN}, InputError, "replica 1"),
        ({"positions": X[0, 0]}, InputError, "positions"),
        ({"positions": X[:, :, :1]}, InputError, "positions"),
        ({"positions": X[:0]}, InputError, "positions"),
        ({"positions": X[:, :0]}, InputError, "positions"),
        ({"typeid": TYPES[:-1]}, InputError, "typeid"),
        ({"typeid": TYPES * 1.0}, InputError, "typeid"),
        ({"typeid": TYPES + 1}, UnknownTypeError, "2 types"),
        ({"typeid": TYPES - 1}, UnknownTypeError, "-1"),
        ({"box": np.eye(3) * 8}, InputError, "box"),
        ({"box": np.stack([BOX] * 3)}, InputError, "3 boxes for 2 replicas"),
        ({"box": BOX + 1.0}, InputError, "triangular"),
        ({"box": -BOX}, InputError, "greater than 0"),
        ({"box": np.stack([BOX, 0.5 * BOX])}, BoxTooSmallError, "twice"),
        ({"box": [[8.0, 8.0], [0.0, 8.0]]}, None, ""),
        ({"box": [[8.0, 16.0], [0.0, 8.0]]}, BoxTooSmallError, "3.57771"),
        ({"instruction_set": "sse9"}, InputError, "generic"),
        ({"threads": 0}, InputError, "threads"),
    ],
)
@pytest.mark.parametrize("function", ["minimize", "forces"])
@pytest.mark.usefixtures("no_work")
def test_given_positions(
    function: str, changes: dict, error: type | None, named: str, morse: Any
) -> None:
    arguments = {"positions": X, "typeid": TYPES, "box": BOX} | changes
    with pytest.raises(error or AssertionError, match=named if error else "work was started"):
        getattr(ensemble, function)(morse, **arguments)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"fire": {"dt": 0.1}}, "no setting 'dt'"),
        ({"fire": {"dt_max": -0.1}}, "dt_max"),
        ({"fire": {"delay": 2.5}}, "delay"),
        ({"fire": {"mixing": np.nan}}, "mixing"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"first_replica": -1}, "first_replica"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"max_steps": -3}, "max_steps"),
    ],
    ids=lambda x: str(x) if isinstance(x, dict) else "",
)
@pytest.mark.usefixtures("no_work")
def test_minimize(changes: dict, named: str, morse: Any) -> None:
    with pytest.raises(InputError, match=named):
        ensemble.minimize(morse, X, TYPES, BOX, **changes)


def test_distances_of_pairs(parameters: Callable[..., Any]) -> None:
    theta = parameters("soft_sphere", [1.0], stiffness=1.0)
    for bad in ([0.0], [-1.0], [np.nan], [np.inf]):
        with pytest.raises(InputError, match="distances"):
            ensemble.evaluate_pairs(theta, bad)
    with pytest.raises(InputError, match="generic"):
        ensemble.evaluate_pairs(theta, [1.0], instruction_set="mmx")


def test_output_that_cannot_be_written(batch: Any, tmp_path: Any) -> None:
    (tmp_path / "there.gsd").write_text("mine")
    with pytest.raises(OutputError, match=r"there\.gsd"):
        batch.write(tmp_path / "there.gsd")
    assert (tmp_path / "there.gsd").read_text() == "mine"
    with pytest.raises(OutputError, match="no/such"):
        batch.write(tmp_path / "no/such/folder.gsd")
    assert [p.name for p in tmp_path.iterdir()] == ["there.gsd"]


def test_every_error_is_one_of_the_projects(morse: Any) -> None:
    for error in (InputError, BoxTooSmallError, UnknownTypeError, UnknownPotentialError):
        assert issubclass(error, AmorphError)
