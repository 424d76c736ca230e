"""A Kob-Andersen glass from a table, by the formula, and beside others' own potentials.

Glasses of Lennard-Jones particles (four A to one B, density 1.2, three dimensions; the force goes
to zero at 2.5 sigma) are annealed by the engine through its table, and relaxed by the bridge with
the formula. At the bridge's minimum: energy, stress and forces of LAMMPS's ``lj/smooth/linear``,
energy, Hessian and elastic constants of matscipy. What the table left is the distance between the
engine's minimum and the bridge's.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from common import Report, parser
from peers import PeerMissing
from peers.formulas import LennardJones
from peers.lammps_system import LammpsSystem

from amorph import bridge, ensemble
from amorph.bridge.matter.lennard_jones import LennardJonesForceShifted


def relative(found: Any, expected: Any) -> float:
    """The largest difference, of the largest expected value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def beside_lammps(theta: Any, packing: bridge.Packing) -> dict[str, float]:
    """Energy, stress and forces of LAMMPS at a minimum of the bridge's."""
    x, edges = packing.positions, np.diagonal(packing.box)
    system = {"style": "lj/smooth/linear", "thermo": "c_virial[1]"}
    with LammpsSystem(LennardJones(), packing.typeid, edges, **system) as lammps:
        lammps.begin(x + 0.5 * edges, 0.001)
        lammps._lammps.command("run 0")
        energy = float(lammps._lammps.get_thermo("pe"))
        stress = lammps.stress()
        force = float(np.sqrt((lammps.gather("f") ** 2).sum(axis=1)).max())
    return {
        "energy beside LAMMPS's": abs(energy / bridge.energy(theta, packing) - 1),
        "stress beside LAMMPS's": relative(bridge.stress(theta, packing), stress),
        "LAMMPS's largest force there": force,
    }


def beside_matscipy(theta: Any, packing: bridge.Packing) -> dict[str, float]:
    """Energy, Hessian and elastic constants of matscipy at a minimum of the bridge's."""
    try:
        import ase
        from matscipy.calculators import pair_potential as theirs
    except ImportError as error:
        raise PeerMissing("matscipy", str(error)) from error

    pair, wrapped = theta.of_types(), packing.wrapped()
    atoms = ase.Atoms(
        numbers=packing.typeid + 1, positions=wrapped.positions, cell=packing.box.T, pbc=True
    )
    formulas = {
        (a + 1, b + 1): theirs.LennardJonesLinear(
            pair["epsilon"][a, b], pair["sigma"][a, b], pair["r_cut"][a, b]
        )
        for a, b in itertools.combinations_with_replacement(range(2), 2)
    }
    atoms.calc = theirs.PairPotential(formulas)
    tight = {"x0": None, "rtol": 1e-12, "maxiter": None, "M": None, "atol": 1e-12, "callback": None}
    expected = atoms.calc.get_elastic_constants(atoms, cg_parameters=tight)
    tangent = bridge.tangent_stiffness(
        bridge.elastic_tensor(theta, packing), bridge.stress(theta, packing)
    )
    birch = 0.5 * (tangent + tangent.transpose(0, 1, 3, 2))
    hessian = atoms.calc.get_property("hessian", atoms).toarray()
    energy = float(atoms.get_potential_energy())
    return {
        "energy beside matscipy's": abs(energy / bridge.energy(theta, packing) - 1),
        "Hessian beside matscipy's": relative(bridge.hessian(theta, wrapped), hessian),
        "elastic constants beside matscipy's": relative(birch, expected),
    }


def main() -> None:
    """Prepare, compare, print, write."""
    options = parser(__doc__.splitlines()[0], n=1000, repetitions=3)
    chosen = options.parse_args()
    theta = LennardJonesForceShifted.kob_andersen()
    table = theta.table()
    report = Report(
        "a Kob-Andersen glass", {"N": chosen.n, "seed": chosen.seed, "table, bytes": table.n_bytes}
    )
    glasses = ensemble.anneal(
        table, chosen.n, 1.2, 3, chosen.repetitions, chosen.seed,
        temperature=[1.5, 0.3], steps=20_000, dt=0.003, composition=[0.8, 0.2],
    )  # fmt: skip
    worst: dict[str, float] = {}
    for k in np.flatnonzero(glasses.converged):
        start = bridge.Packing(glasses.positions[k], glasses.typeid, glasses.boxes[0])
        packing = bridge.relax(theta, start)
        apart = np.sqrt(((packing.positions - start.positions) ** 2).sum(axis=1))
        energy = bridge.energy(theta, packing)
        found = {
            "table's minimum from the formula's, length": float(apart.max()),
            "table's energy beside the formula's": abs(float(glasses.energy[k]) / energy - 1),
        }
        for beside in (beside_lammps, beside_matscipy):
            try:
                found |= beside(theta, packing)
            except PeerMissing as error:
                report.missing.append({"who": beside.__name__, "why": str(error)})
        worst = {name: max(value, worst.get(name, 0.0)) for name, value in found.items()}
        report.details[f"replica {k}"] = {"energy a particle": energy / chosen.n, **found}
    report.findings |= {"glasses": int(glasses.converged.sum()), **worst}
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
