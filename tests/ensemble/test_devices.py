"""Where the engine computes. What a GPU does is tested where there is one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.ensemble import Brownian, Compress, Langevin, Minimize, Stage
from amorph.handover import AmorphError, DeviceError, InputError

GPU = pytest.mark.skipif(not ensemble.gpus(), reason=f"no GPU: {ensemble.why_no_gpu()}")
SOFT = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)


@pytest.mark.parametrize("device", ["tpu", "GPU", "gpu:", "gpu:-1", "gpu:a", "", 0, None])
def test_what_is_no_device_is_refused(device: Any) -> None:
    with pytest.raises(InputError, match="device = "):
        ensemble.check_device(device)


def test_the_cpu_is_there() -> None:
    ensemble.check_device("cpu")


def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(DeviceError, match=r"device = 'gpu:99': \w"):
        ensemble.check_device("gpu:99")


def test_there_are_gpus_or_a_reason() -> None:
    assert bool(ensemble.gpus()) != bool(ensemble.why_no_gpu())


@pytest.mark.skipif(bool(ensemble.gpus()), reason="there is a GPU")
@pytest.mark.parametrize(
    "call",
    [
        lambda: ensemble.quench(SOFT, 10, 0.5, device="gpu"),
        lambda: ensemble.forces(
            SOFT, [[0.0, 0.0], [0.5, 0.5]], [0, 1], 9 * np.eye(2), device="gpu"
        ),
        lambda: ensemble.minimize(SOFT, [[0.0, 0.0]], [0], 9 * np.eye(2), device="gpu"),
    ],
)
def test_without_a_gpu_nothing_is_computed_elsewhere(call: Callable[[], object]) -> None:
    with pytest.raises(AmorphError, match="device = 'gpu'"):
        call()


@GPU
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize(
    "stages",
    [
        [Minimize(max_steps=30, newton={"start": 0.0})],
        [Langevin(30, 0.01, 1e-3)],
        [Brownian(30, 0.01, [1e-3, 1e-4], "exponential", friction=2.0)],
        [Minimize(1e-6), Compress(1.0, 2, 1e-6)],
        [Minimize(max_steps=30, pressure=0.05, newton={"start": 0.0})],
    ],
    ids=["minimize", "langevin", "brownian", "compress", "pressure"],
)
def test_a_gpu_does_what_the_cpu_does(stages: list[Stage], dimension: int) -> None:
    name, n = {2: ("square", 196), 3: ("fcc", 256)}[dimension]
    positions, box = ensemble.lattice(name, n, 0.9)
    rng = np.random.default_rng(1)
    start = positions + 0.02 * rng.normal(size=(3, *positions.shape))
    typeid = np.arange(n) % 2
    on = {
        device: ensemble.prepare(SOFT, start, typeid, box, stages, seed=3, device=device)
        for device in ("cpu", "gpu")
    }
    ours, theirs = on["gpu"], on["cpu"]
    assert list(ours.status) == list(theirs.status)
    np.testing.assert_allclose(ours.energy, theirs.energy, rtol=1e-7, atol=1e-12)
    assert ours.boxes is not None
    assert theirs.boxes is not None
    np.testing.assert_allclose(ours.boxes, theirs.boxes, rtol=1e-10)
    if not isinstance(stages[-1], Compress):  # which has gone through minima
        away = ours.positions - theirs.positions
        away -= np.round(away / np.diag(box)) * np.diag(box)
        assert np.abs(away).max() < 1e-9


@GPU
def test_a_gpu_finds_minima() -> None:
    on = {d: ensemble.quench(SOFT, 100, 1.2, replicas=200, device=d) for d in ("cpu", "gpu")}
    assert on["gpu"].converged.all()
    spread = np.hypot(*(e.energy.std() / np.sqrt(len(e)) for e in on.values()))
    assert abs(on["gpu"].energy.mean() - on["cpu"].energy.mean()) < 5 * spread
