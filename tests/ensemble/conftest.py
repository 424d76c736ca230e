"""What the engine's tests share: potentials, and the random numbers that it must follow."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amorph import ensemble
from amorph.handover import Purpose, uniforms

PAIRS = {
    "harmonic_morse": {"binding": 0.1, "stiffness": 5.0, "alpha": 10.0},
    "harmonic_morse_reduced": {"binding": 0.1, "stiffness": 5.0, "alpha": 10.0},
    "soft_sphere": {"stiffness": 2.0},
    "morse": {"binding": 0.3, "alpha": 8.0},
    "four_term": {
        "b0": 5.0,
        "a0": 5.89,
        "a1": 17.9,
        "a2": 2.49,
        "b1": 0.4,
        "b2": 40.0,
        "a3": 1.823,
        "r_cut": 2.4,
    },
}


@pytest.fixture(scope="session")
def theta_of(parameters: Callable[..., Any]) -> Callable[..., Any]:
    """A potential of a name, with usual parameters, for any diameters."""

    def make(potential: str, diameters: Any = (1.0,), **changes: float) -> Any:
        return parameters(potential, diameters, **(PAIRS[potential] | changes))

    return make


def standard_normals(
    seed: int, what: str, particles: Any, replica: int, md_step: int, dimension: int
) -> np.ndarray:
    """Box and Muller on `amorph.handover.uniforms`, as the keys of random numbers are defined."""
    purposes = {
        "noise": (Purpose.NOISE, Purpose.NOISE_Z),
        "velocity": (Purpose.VELOCITY, Purpose.VELOCITY_Z),
        "start": (Purpose.START_NOISE, Purpose.START_NOISE_Z),
    }[what]
    columns = []
    for purpose in purposes[: dimension - 1]:
        u = uniforms(seed, purpose, particles, replica, 0, md_step)
        radius = np.sqrt(-2 * np.log(1 - u[..., 0]))
        columns += [radius * np.cos(2 * np.pi * u[..., 1]), radius * np.sin(2 * np.pi * u[..., 1])]
    return np.stack(columns[:dimension], axis=-1)


@pytest.fixture(scope="session")
def normals() -> Callable[..., np.ndarray]:
    return standard_normals


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither positions are made nor the engine run."""

    class Idle:
        def __getattr__(self, name: str) -> Any:
            return getattr(ensemble._engine, name)

        def run(self, *_: Any, **__: Any) -> None:
            raise AssertionError("work was started: _engine.run")

        def random_positions(self, *_: Any) -> None:
            raise AssertionError("work was started: _engine.random_positions")

    for name in ("starts", "replicas"):
        monkeypatch.setattr(sys.modules[f"amorph.ensemble.{name}"], "_engine", Idle())
