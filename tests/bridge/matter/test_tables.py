"""Potentials that the engine lacks: their tables, the packings it makes by them, their files."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge.matter.lennard_jones import LennardJonesForceShifted
from amorph.bridge.matter.registered import POTENTIAL_CLASSES
from amorph.bridge.matter.searching import evaluated
from amorph.handover import UnknownPotentialError, UnknownTypeError

# Two types in two dimensions, cut short, so that few particles are enough.
GLASS = LennardJonesForceShifted(sigma=[1.0, 0.8, 0.88], epsilon=[1.0, 1.5, 0.5], r_cut=1.8)


class Steps(bridge.PairPotential):
    """u'' jumps at half of sigma for pairs whose step is not 0, which is looked for."""

    parameters = ("height", bridge.Parameter("step", zero_allowed=True))
    cutoff_in_sigma = 1.0

    @staticmethod
    def pair_energy(r: Any, pair: Any) -> Any:
        x = 1 - r / pair["sigma"]
        return pair["height"] * x**3 + pair["step"] * jnp.where(x > 0.5, (x - 0.5) ** 2, 0.0)


@pytest.mark.parametrize(
    "theta",
    [GLASS, Steps(diameters=[0.8, 1.0], height=2.0, step=[0.0, 1.0, 0.5])],
    ids=lambda t: t.potential,
)
def test_a_table_is_the_formula(theta: bridge.PairPotential) -> None:
    table = theta.table()
    assert theta.table() is table
    assert table.potential == theta.potential
    assert np.array_equal(table.r_cut, theta.cutoffs())
    pair = theta.of_types()
    for a, b in ((0, 0), (0, 1), (1, 1)):
        cutoff = theta.cutoffs()[a, b]
        r = np.linspace(0.5, 1.02, 301) * cutoff
        u, slope, _ = table.evaluate(a, b, r)
        exact, exact_slope, curvature = evaluated(
            theta.kind, r, {k: v[a, b] for k, v in pair.items()}, 2
        )
        scale = np.abs(exact) + r * np.abs(exact_slope) + 1e-6 * np.abs(exact).max()
        assert np.abs((u - exact) / scale).max() < 1e-8
        scale = np.abs(exact_slope) + r * np.abs(curvature) + 1e-6 * np.abs(exact_slope).max()
        assert np.abs((slope - exact_slope) / scale).max() < 1e-8


def test_a_potential_without_a_singular_end_is_said_so() -> None:
    assert bridge.Hertz([1.0], 1.0).table().tolerance == 1e-6
    assert bridge.WCA([1.0], 1.0).table(1e-6).tolerance == 1e-6


def test_the_engine_prepares_by_the_table_and_the_bridge_goes_on_by_the_formula(
    tmp_path: Path,
) -> None:
    batch = ensemble.quench(GLASS, 40, 1.2, 2, 2, seed=3, composition=[0.6, 0.4], threads=1)
    assert batch.converged.all()
    found = list(bridge.packings_of(batch))
    for k, (theta, packing) in enumerate(found):
        assert type(theta) is LennardJonesForceShifted
        assert np.array_equal(theta.sigma, GLASS.sigma)
        assert bridge.energy(theta, packing) == pytest.approx(batch.energy[k], rel=1e-8)
        at_rest = bridge.relax(theta, packing)
        assert np.abs(at_rest.positions - packing.positions).max() < 1e-6
    path = tmp_path / "glass.gsd"
    bridge.write_gsd(path, found)
    for (theta, packing), (_, written) in zip(bridge.read_gsd(path), found, strict=True):
        for name, values in GLASS.arrays().items():
            assert np.array_equal(theta.arrays()[name], values)
        assert np.array_equal(packing.wrapped().positions, written.wrapped().positions)
    other = GLASS.replace(epsilon=2.0)
    assert next(bridge.read_gsd(path, theta=other))[0].epsilon.tolist() == [2.0] * 3
    few = bridge.WCA(sigma=[1.0], epsilon=1.0)
    with pytest.raises(UnknownTypeError, match="has parameters for 1"):
        next(bridge.read_gsd(path, theta=few))


def test_a_file_of_a_class_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theta = Steps(diameters=[1.0], height=2.0, step=1.0)
    packing = bridge.Packing.of([[0.0, 0.0], [0.9, 0.0]], [0, 0], 4 * np.eye(2))
    bridge.write_gsd(tmp_path / "steps.gsd", [(theta, packing)])
    monkeypatch.delitem(POTENTIAL_CLASSES, "steps")
    with pytest.raises(UnknownPotentialError, match=r"'steps'.*import it first.*--plugin FILE"):
        next(bridge.read_gsd(tmp_path / "steps.gsd"))


def test_derivatives_by_sigma_of_pairs() -> None:
    batch = ensemble.quench(GLASS, 40, 1.2, 2, 1, seed=3, composition=[0.6, 0.4], threads=1)
    _, packing = next(bridge.packings_of(batch))
    packing = bridge.relax(GLASS, packing)
    slope = bridge.measure(GLASS, packing, [], ["energy"]).gradients["energy"]
    assert isinstance(slope, LennardJonesForceShifted)
    for name in ("sigma", "epsilon"):
        for k in range(3):
            step = 1e-5

            def at(by: float, name: str = name, k: int = k) -> float:
                values = GLASS.arrays()[name].copy()
                values[k] += by
                theta = GLASS.replace(**{name: values})
                return bridge.energy(theta, bridge.relax(theta, packing))

            expected = (at(step) - at(-step)) / (2 * step)
            assert getattr(slope, name)[k] == pytest.approx(expected, rel=1e-6)
