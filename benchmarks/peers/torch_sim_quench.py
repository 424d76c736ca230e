"""Quenches of soft spheres by TorchSim: its batched FIRE, in float64, on one CPU core.

A batch is one call of ``torch_sim.optimize`` with its FIRE; a replica leaves the batch when its
longest force vector is below the tolerance, and waiting ones take its place. The potential is
TorchSim's own ``SoftSphereMultiModel``: epsilon/alpha (1 - r/sigma)^alpha with
alpha = 2. TorchSim has three dimensions only: in two, all particles have z = 0 in a box thicker
than the cutoff, and their forces along z are exactly zero.

What was found in TorchSim 0.3.0, the newest for Python 3.11, is dealt with here: the model hands
its neighbour list an argument under a wrong name, ``sorti``, and fails; and its forces are twice
the energy's derivative. The first is mended on import of this module, the second is measured on
two particles and made up for in epsilon.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import QuenchResult, require
from .formulas import SoftSphere

_HOW = "`pip install torch torch-sim-atomistic`"
torch: Any = require("torch", "PyTorch", _HOW)
torch_sim: Any = require("torch_sim", "TorchSim", _HOW)
_soft_sphere: Any = require("torch_sim.models.soft_sphere", "TorchSim", _HOW)

__all__ = ["TorchSimFire", "TorchSimQuench"]


def _mended(neighbor_list: Any) -> Any:
    """``neighbor_list``, which takes ``sort_id``, callable with ``sorti`` too."""

    def call(sorti: bool | None = None, **arguments: Any) -> Any:
        if sorti is not None:
            arguments["sort_id"] = sorti
        return neighbor_list(**arguments)

    return call


_soft_sphere.vesin_nl_ts = _mended(_soft_sphere.vesin_nl_ts)


@dataclass(frozen=True)
class TorchSimFire:
    """TorchSim's FIRE, by the names of its settings; the defaults are its own but ``dt_max``.

    Attributes:
        dt_start, dt_max: first and largest time step [time].
        alpha_start, f_alpha: mixing of the velocity with the force, and its factor.
        n_min: steps with positive power before the time step may grow.
        f_inc, f_dec: factors by which the time step grows and shrinks.
        max_step: longest displacement of all particles of a replica together [length];
            ``ase_fire`` only.
        md_flavor: ``ase_fire`` or ``vv_fire``.
    """

    dt_start: float = 0.1
    dt_max: float = 0.5
    alpha_start: float = 0.1
    f_alpha: float = 0.99
    n_min: int = 5
    f_inc: float = 1.1
    f_dec: float = 0.5
    max_step: float = 0.2
    md_flavor: str = "ase_fire"

    def arguments(self) -> dict[str, Any]:
        """The arguments of ``torch_sim.optimizers.fire``."""
        return dict(vars(self))


class TorchSimQuench:
    """FIRE quenches of batches of starts, one thread.

    Args:
        potential: soft spheres.
        typeid: the particles' types from zero, shape (N,).
        length: edge of the square or cubic box [length].
        dimension: 2 or 3.
        tolerance: length of the longest force vector at convergence [energy / length].
        max_steps: steps after which the batch ends.
        fire: the minimiser's settings.
        batch: replicas minimised together; more than these wait.
        steps_between_swaps: steps between two looks at the forces.
    """

    def __init__(
        self,
        potential: SoftSphere,
        typeid: NDArray[np.integer[Any]],
        length: float,
        *,
        dimension: int = 2,
        tolerance: float = 1e-10,
        max_steps: int = 100_000,
        fire: TorchSimFire | None = None,
        batch: int = 16,
        steps_between_swaps: int = 10,
    ) -> None:
        self.potential, self.typeid = potential, typeid
        self.length, self.dimension = float(length), int(dimension)
        self.tolerance, self.max_steps = float(tolerance), int(max_steps)
        self.batch, self._between = int(batch), int(steps_between_swaps)
        self.fire = fire or TorchSimFire()
        self._edges = [self.length] * 3
        if dimension == 2:
            self._edges[2] = 3.0 * potential.largest_cutoff
        self._excess = self._force_over_gradient()
        self._model = self._make_model(typeid, 1.0 / self._excess)
        self._evaluations = 0
        forward = self._model.forward

        def counted(state: Any) -> Any:
            self._evaluations += int(state.n_systems)
            return forward(state)

        self._model.forward = counted
        self._compile(np.random.default_rng(0).uniform(size=(2, typeid.size, dimension)))

    def _compile(self, fractions: NDArray[np.float64]) -> None:
        """Let TorchScript optimise what it will run, by some steps from these starts."""
        most, self.max_steps = self.max_steps, 2 * self._between
        self(fractions * self.length)
        self.max_steps = most

    def _make_model(self, typeid: NDArray[np.integer[Any]], factor: float) -> Any:
        types = range(self.potential.n_types)
        sigma = [[self.potential.sigma(i, j) for j in types] for i in types]
        stiffness = [
            [factor * self.potential.of_pair(self.potential.stiffness, i, j) for j in types]
            for i in types
        ]
        return _soft_sphere.SoftSphereMultiModel(
            species=torch.as_tensor(np.asarray(typeid, np.int64)),
            sigma_matrix=torch.tensor(sigma, dtype=torch.float64),
            epsilon_matrix=torch.tensor(stiffness, dtype=torch.float64),
            alpha_matrix=torch.full((len(sigma), len(sigma)), 2.0, dtype=torch.float64),
            dtype=torch.float64,
        )

    def _force_over_gradient(self) -> float:
        """How many times -dU/dr the model's force between two particles is."""
        r = 0.5 * self.potential.sigma(0, 1)
        positions = np.zeros((1, 2, self.dimension))
        positions[0, 1, 0] = r
        typeid = np.array([0, 1])
        found = self._make_model(typeid, 1.0)(self._state(positions))
        force = float(found["forces"][1, 0])
        return force / float(self.potential.force(r, 0, 1))

    def _state(self, starts: NDArray[np.float64]) -> Any:
        """The starts, shape (R, n, d), as one state of R systems."""
        replicas, n, d = starts.shape
        positions = np.zeros((replicas * n, 3))
        positions[:, :d] = starts.reshape(-1, d)
        cell = torch.diag(torch.tensor(self._edges, dtype=torch.float64))
        return torch_sim.SimState(
            positions=torch.as_tensor(positions),
            masses=torch.ones(replicas * n, dtype=torch.float64),
            cell=cell.repeat(replicas, 1, 1),
            pbc=True,
            atomic_numbers=torch.ones(replicas * n, dtype=torch.long),
            system_idx=torch.repeat_interleave(torch.arange(replicas), n),
        )

    def __call__(self, starts: NDArray[np.float64]) -> list[QuenchResult]:
        """Quench starts, shape (R, N, d) [length]; ``seconds`` is the batch's time over R.

        TorchSim does not count each replica's steps: all are given the mean of their number.
        """
        replicas, n, d = starts.shape
        self._evaluations = 0
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        batcher = torch_sim.autobatching.InFlightAutoBatcher(
            self._model,
            memory_scales_with="n_atoms",
            max_memory_scaler=n * self.batch + 0.5,
            max_iterations=self.max_steps // self._between,
        )
        began = time.perf_counter()
        with warnings.catch_warnings():  # that the batch has reached its largest number of steps
            warnings.simplefilter("ignore", UserWarning)
            done = torch_sim.optimize(
                self._state(np.mod(starts, self.length)),
                self._model,
                optimizer=torch_sim.optimizers.fire,
                convergence_fn=torch_sim.runners.generate_force_convergence_fn(
                    self.tolerance, include_cell_forces=False
                ),
                autobatcher=batcher,
                max_steps=self.max_steps,
                steps_between_swaps=self._between,
                **self.fire.arguments(),
            )
        seconds = (time.perf_counter() - began) / replicas
        torch.set_num_threads(threads)
        forces = done.forces.numpy().reshape(replicas, n, 3)
        longest = np.sqrt((forces**2).sum(-1).max(-1))
        positions = done.positions.numpy().reshape(replicas, n, 3)[:, :, :d]
        return [
            QuenchResult(
                positions=np.mod(positions[i], self.length),
                energy=float(done.energy[i]) * self._excess,
                max_force=float(longest[i]),
                steps=round(self._evaluations / replicas),
                converged=bool(longest[i] < self.tolerance),
                seconds=seconds,
            )
            for i in range(replicas)
        ]
