from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

# sigma, r_cut, coefficients, cells, bits, max_stiffness
Tabulated = tuple[Doubles, Doubles, Doubles, Doubles, int, float]

most_breaks: int
most_bits: int

class GpuError(RuntimeError): ...

def potentials() -> dict[str, list[str]]: ...
def instruction_sets() -> list[str]: ...
def gpus() -> list[dict[str, Any]]: ...
def why_no_gpu() -> str: ...
def statuses() -> dict[str, int]: ...
def scales(
    potential: str, sigma: Doubles, pair_parameters: Sequence[Doubles]
) -> tuple[Doubles, Doubles]: ...
def evaluate_pairs(
    potential: str,
    sigma: Doubles,
    pair_parameters: Sequence[Doubles],
    tabulated: Sequence[Tabulated] | None,
    r: Doubles,
    instruction_set: str,
) -> tuple[Doubles, Doubles]: ...
def random_positions(
    key: tuple[int, int, int],
    purposes: Sequence[int],
    boxes: Doubles,
    positions: Doubles,
) -> None: ...
def stage_kinds() -> dict[str, int]: ...
def run(
    potential: str,
    sigma: Doubles,
    pair_parameters: Sequence[Doubles],
    tabulated: Sequence[Tabulated] | None,
    boxes: Doubles,
    typeid: NDArray[np.int32],
    positions: Doubles,
    *,
    velocities: Doubles | None,
    stages: Sequence[Mapping[str, Any]],
    want_forces: bool,
    key: tuple[int, int, int],
    purposes: Sequence[int],
    every: int,
    trajectory: Doubles | None,
    trajectory_velocities: Doubles | None,
    bonds: tuple[list[int], NDArray[np.int32], Doubles, Doubles] | None,
    threads: int,
    instruction_set: str,
    gpu: int | None,
    progress: Callable[[int], object] | None,
) -> dict[str, Any]: ...
