"""How fast is the pruning of a network? Trials and moves, beside a solve for each trial.

Distorted triangular lattices, periodic, Poisson's ratio. First what each of all single cuts would
make of it, a trial: by Amorph; by one solve with a factor of the uncut network for each bond and
Sherman and Morrison's formula (the method of the public lib_network_tuning: Woodbury's formula on a
factor); and by factorising the cut network, with SciPy's SuperLU and with PARDISO, for a sample of
bonds. Then whole prunings to ±0.9, and what a trial and a move of annealing cost.
"""

from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sl
from common import OURS, Contender, Report, Sample, parser, race

from amorph.bridge import networks
from amorph.bridge.networks.building import bond_vectors

WOODBURY, ANEW, PARDISO = "one solve a trial (Woodbury)", "SuperLU anew", "PARDISO anew"
SAMPLED = 8  # bonds whose cut network is factorised
MANY = 2048  # bonds that are solved for, at most


class Plain:
    """A network for the peers: Q, the strained bonds, as SciPy has them."""

    def __init__(self, network: Any) -> None:
        packing = network[1]
        vector = bond_vectors(packing)
        length = np.linalg.norm(vector, axis=1)
        unit = vector / length[:, None]
        n, m = packing.n_particles, len(unit)
        bonds, rows = np.asarray(packing.bonds), np.arange(m)
        columns = [2 * bonds[:, e] + a for e in (0, 1) for a in (0, 1)]
        values = np.concatenate([-unit[:, 0], -unit[:, 1], unit[:, 0], unit[:, 1]])
        whole = sp.csr_matrix(
            (values, (np.tile(rows, 4), np.concatenate(columns))), shape=(m, 2 * n)
        )
        self.q = whole[:, : 2 * n - 2].tocsr()  # one node is held
        self.strained = np.stack(
            [unit[:, 0] ** 2, unit[:, 1] ** 2, unit[:, 0] * unit[:, 1]], axis=1
        )
        self.strained *= length[:, None]
        self.volume = packing.volume

    def ratio(self, c: Any) -> Any:
        """ν of matrices of elastic constants (..., 3, 3)."""
        bulk = (c[..., 0, 0] + c[..., 1, 1] + 2 * c[..., 0, 1]) / 4
        shear = ((c[..., 0, 0] + c[..., 1, 1] - 2 * c[..., 0, 1]) / 4 + c[..., 2, 2]) / 2
        return (bulk - shear) / (bulk + shear)

    def one_solve_a_trial(self, bonds: Any) -> Any:
        """ν after each of some single cuts."""
        h = (self.q.T @ self.q).tocsc()
        factor = sl.splu(
            h, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
        x = self.strained - self.q @ factor.solve(self.q.T @ self.strained)
        own = np.empty(len(bonds))
        for first in range(0, len(bonds), 512):  # all at once would take n_bonds × n_unknowns
            part = self.q[bonds[first : first + 512]]
            solved = factor.solve(part.T.toarray())
            own[first : first + 512] = np.asarray(part.multiply(solved.T).sum(axis=1)).ravel()
        c, x = self.strained.T @ x, x[bonds]
        return self.ratio(c - x[:, :, None] * x[:, None, :] / (1 - own)[:, None, None])

    def anew(self, bond: int, solve: Any) -> float:
        """ν after one cut, by a factorisation of what is left."""
        kept = np.arange(self.q.shape[0]) != bond
        q, strained = self.q[kept], self.strained[kept]
        u = solve((q.T @ q).tocsc(), q.T @ strained)
        return float(self.ratio(strained.T @ (strained - q @ u)))


def superlu(matrix: Any, load: Any) -> Any:
    return sl.splu(
        matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    ).solve(load)


def trials(report: Report, size: int, repetitions: int) -> None:
    """Microseconds a trial, all contenders checked against each other."""
    network = networks.triangular_network((size, size), seed=1)
    plain = Plain(network)
    pruning = networks.Pruning(*network, {"poisson_ratio": -0.9})
    bonds = np.arange(pruning.n_bonds)
    right = pruning.try_toggles(bonds).values[:, 0]
    sample = np.linspace(0, len(bonds) - 1, SAMPLED).astype(int)
    many = np.unique(np.linspace(0, len(bonds) - 1, MANY).astype(int))

    def ours(i: int) -> Sample:
        began = time.perf_counter()
        for _ in range(20):
            pruning.try_toggles(bonds)
        return Sample((time.perf_counter() - began) / 20 / len(bonds) * 1e6, 1.0)

    def woodbury(i: int) -> Sample:
        began = time.perf_counter()
        found = plain.one_solve_a_trial(many)
        taken = (time.perf_counter() - began) / len(many) * 1e6
        return Sample(taken, float(np.abs(found - right[many]).max() < 1e-8))

    def anew(solve: Any) -> Any:
        def run(i: int) -> Sample:
            began = time.perf_counter()
            found = np.array([plain.anew(int(b), solve) for b in sample])
            taken = (time.perf_counter() - began) / len(sample) * 1e6
            return Sample(taken, float(np.abs(found - right[sample]).max() < 1e-8))

        return run

    contenders = [
        Contender(OURS, ours),
        Contender(WOODBURY, woodbury),
        Contender(ANEW, anew(superlu)),
    ]
    try:
        from pypardiso import spsolve
    except ImportError:
        report.missing.append({"who": PARDISO, "message": "pip install pypardiso"})
    else:
        contenders.append(Contender(PARDISO, anew(lambda m, b: spsolve(m.tocsr(), b))))
    samples = race(contenders, repetitions)
    report.add(f"a trial, {size} x {size}", samples, unit="µs")


def whole(report: Report, size: int) -> None:
    """Seconds to ±0.9 greedily, without constraints of shape, and with them."""
    for target in (-0.9, 0.9):
        for held in (False, True):
            given = networks.Constraints(convex=held, limits=networks.ISOTROPIC if held else {})
            found = []
            for _ in range(2):  # the first compiles
                network = networks.triangular_network((size, size), seed=1, distortion=0.2)
                began = time.perf_counter()
                pruning = networks.Pruning(*network, {"poisson_ratio": target}, constraints=given)
                set_up = time.perf_counter() - began
                pruned = networks.prune_greedily(pruning)
                found = [set_up, time.perf_counter() - began - set_up]
                if size > 64:
                    break
            name = f"{size} x {size} to {target:+.1f}" + (", convex, isotropic" if held else "")
            report.findings[name] = {
                "set-up, s": found[0],
                "pruning, s": found[1],
                "status": pruned.status,
                "cuts": pruned.n_cut,
                "trials": pruned.trials,
                "trials a second": pruned.trials / found[1],
                "drift": pruned.drift,
            }


def annealing(report: Report, size: int, accepted: int) -> None:
    """Measure the cost of trials and accepted moves, and the drift of many without renewal."""
    network = networks.triangular_network((size, size), seed=1)
    pruning = networks.Pruning(*network, {"poisson_ratio": -0.92})
    for width in (16, 32, 64, 128, 256, 512, 1024):
        pruning.try_toggles(np.arange(width) % pruning.n_bonds)  # compiled once
    toggling = 0.0
    toggle = pruning.toggle

    def timed(*arguments: Any) -> Any:
        nonlocal toggling
        began = time.perf_counter()
        try:
            return toggle(*arguments)
        finally:
            toggling += time.perf_counter() - began

    pruning.toggle = timed  # type: ignore[method-assign]  # of this one network
    began = time.perf_counter()
    moves = run_trials = 0
    seed = 0
    while moves < accepted:
        found = networks.anneal(
            pruning, temperature=2e-3, coldest=1.9e-3, chain=20_000, tolerance=1e-12, seed=seed
        )
        moves, run_trials, seed = moves + len(found.bonds), run_trials + found.trials, seed + 1
    taken = time.perf_counter() - began
    report.findings[f"annealing, {size} x {size}"] = {
        "trials": run_trials,
        "accepted": moves,
        "share accepted": moves / run_trials,
        "µs a trial, moves apart": (taken - toggling) / run_trials * 1e6,
        "ms an accepted move": toggling / moves * 1e3,
        "largest drift of Y": found.drift,
    }
    # Without renewal: by how much ν drifts.
    free = networks.NetworkResponse(*network, renew_every=10**9)
    rng = np.random.default_rng(0)
    k = free.stiffness
    for _ in range(accepted):
        left = np.where(k > 0, 1 - free.compliance, 1.0)
        bond = int(rng.choice(np.flatnonzero(left > 0.1)))
        if k[bond]:
            free.cut(bond)
        else:
            free.change(bond, 1.0)
        k = free.stiffness
    before = Plain(network).ratio(free.response[:3, :3])
    drift = free.drift
    free.renew()
    report.findings[f"after {accepted} moves at random, {size} x {size}"] = {
        "drift of ν since everything was computed anew last": float(
            abs(before - Plain(network).ratio(free.response[:3, :3]))
        ),
        "largest drift of Y seen": max(drift, free.drift),
    }


def main() -> None:
    """Compare, print, write."""
    options = parser(__doc__.splitlines()[0], n=32, repetitions=5)
    chosen = options.parse_args()
    report = Report("pruning", {"repetitions": chosen.repetitions})
    sizes = (12, 32) if chosen.quick else (12, 32, 64, 128)
    for size in sizes:
        trials(report, size, chosen.repetitions if size < 100 else min(2, chosen.repetitions))
        whole(report, size)
    annealing(report, chosen.n, 500 if chosen.quick else 10_000)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    report.findings["most memory of the process, GiB"] = round(used, 2)
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
