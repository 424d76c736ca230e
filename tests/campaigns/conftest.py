"""Short runs made by hand, their histories, and what is drawn of their packings."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge.matter.files import frame_of
from amorph.campaigns import pictures
from amorph.campaigns.studies.design import history as histories
from amorph.campaigns.studies.design.entries import view_of
from amorph.handover import write_gsd

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def amorph() -> Command:
    """``amorph`` in a process of its own; a variable that is None is taken out of its environment.

    Without the flags that tests give to XLA, which each command would try first.
    """

    def run(
        *arguments: str, cwd: Path | None = None, **variables: str | None
    ) -> "subprocess.CompletedProcess[str]":
        changed = {"XLA_FLAGS": None, **variables}
        environment = {k: v for k, v in os.environ.items() if k not in changed}
        return subprocess.run(
            [sys.executable, "-m", "amorph", *arguments],
            cwd=cwd,
            env={**environment, **{k: v for k, v in changed.items() if v is not None}},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def run_made(
    directory: Path,
    theta: bridge.PairPotential,
    *,
    n: int,
    density: float,
    dimension: int = 2,
    tilt: float = 0.0,
    features: Sequence[str] = ("poisson_ratio", "pressure"),
    steps: int = 6,
    **outcome: Any,
) -> Path:
    """A run directory whose parameters change a little in each step, as a design's do."""
    batch = ensemble.quench(theta, n, density, dimension, 1, seed=5)
    box, positions = batch.boxes[0], batch.positions[0]
    if tilt:
        sheared = box.copy()
        sheared[0, 1] = tilt * box[1, 1]
        positions, box = positions @ np.linalg.inv(box).T @ sheared.T, sheared
    packing = bridge.relax(theta, bridge.Packing.of(positions, batch.typeid, box)).wrapped()
    target = np.linspace(0.2, 0.5, len(features))
    frames = []
    for step in range(steps + 1):
        if step:
            arrays = {k: v * (1 + 1e-3 * (k != "alpha")) for k, v in theta.arrays().items()}
            theta = bridge.from_arrays(theta.potential, arrays)
            packing = bridge.relax(theta, packing).wrapped()
        value = np.array([float(bridge.feature(f)(theta, packing)) for f in features])
        log = {
            "step": step,
            "loss": float(np.sum((value - target) ** 2)),
            "value": value,
            "each": value,
            "target": target,
            "weight": np.ones(len(features)),
            "learning_rate": 1e-3 / (step + 1),
            "rearranged": step == 3,
            "crossings": 10 * (step % 2),
            "moved": 0.01 * step,
            "gradient/diameters": 0.1 * theta.arrays()["diameters"],
        }
        frames.append(frame_of(theta, packing, log))
    directory.mkdir(parents=True, exist_ok=True)
    write_gsd(directory / "run.gsd", frames)
    outcome_written(
        directory,
        feature=list(features),
        target=target.tolist(),
        weight=[1.0] * len(features),
        steps=steps,
        loss=frames[-1].log["loss"][0],
        initial=frames[0].log["value"].tolist(),
        value=frames[-1].log["value"].tolist(),
        **outcome,
    )
    return directory


def outcome_written(directory: Path, **changed: Any) -> None:
    """Write `design.json`, or change a part of it."""
    path = directory / "design.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    basis = {"name": "tried", "status": "converged", "message": "", "seed": 5, "replica": 0}
    path.write_text(json.dumps({**basis, **old, **changed}))


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    return run_made


@pytest.fixture(scope="session")
def write_outcome() -> Callable[..., None]:
    return outcome_written


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    theta = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0)
    return run_made(
        tmp_path_factory.mktemp("runs") / "one", theta, n=64, density=1.6, threshold=1e-6
    )


@pytest.fixture(scope="session")
def made_3d(tmp_path_factory: pytest.TempPathFactory) -> Path:
    theta = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=12.0)
    where = tmp_path_factory.mktemp("runs3d") / "one"
    return run_made(where, theta, n=80, density=1.4, dimension=3, features=["bulk_modulus"])


@pytest.fixture(scope="session")
def tilted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    theta = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0)
    where = tmp_path_factory.mktemp("tilted") / "one"
    return run_made(where, theta, n=64, density=1.6, tilt=0.3, steps=1)


@pytest.fixture(scope="session")
def history(made: Path) -> histories.History:
    return histories.read_history(made, feature=["Poisson's ratio ν", "pressure p"], threshold=1e-6)


@pytest.fixture(scope="session")
def views(history: histories.History) -> tuple[pictures.View, pictures.View]:
    return view_of(history.first, "before"), view_of(history.last, "after")
