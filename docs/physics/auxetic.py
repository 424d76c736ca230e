"""How two modes of a network decide its Poisson's ratio while its bonds are cut.

An open distorted triangular lattice between plates is pruned greedily to ν = -0.9 and to 0.9. On
the way the weights |C|² of its vibrational modes in the deformation under load are taken, with the
effective ratio ν′ of each (Zhu et al., "A cyclical route linking fundamental mechanism and AI
algorithm", Figs. 4e and f), and the length changes of bonds under loads along x and y (Fig. 1i).

    python docs/physics/auxetic.py -o auxetic

writes OUT/modes.png, OUT/bonds.png and OUT/modes.csv (a row a mode and moment), and compresses
networks by up to a tenth of their height, as the paper's experiment does. About half a minute.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from scipy.optimize import minimize

from amorph.bridge import networks

WAYS = {"to -0.9": (0.15, 0.0, -0.3, -0.6, -0.9), "to 0.9": (0.4, 0.5, 0.6, 0.75, 0.9)}
N_MODES = 60


def pruned(start: tuple, wanted: float) -> tuple:
    """The network whose bonds were cut to a Poisson's ratio."""
    springs, packing = start
    limits = {"poisson_ratios[0] - poisson_ratios[1]": (-0.1, 0.1)}
    pruning = networks.Pruning(
        springs,
        packing,
        {"poisson_ratio": wanted},
        constraints=networks.Constraints(convex=True, limits=limits),
        loading=networks.plates(packing),
    )
    found = networks.prune_greedily(pruning)
    if found.status != "reached":
        reached = f"{found.status} at {found.values[0]:.3f}"
        raise SystemExit(f"ν = {wanted}: {reached}: take another seed.")
    return found.network


def moments(start: tuple) -> pd.DataFrame:
    """The modes of the networks on both ways, a row each."""
    rows = []
    for way, targets in WAYS.items():
        here = start
        for target in targets:
            here = pruned(here, target)
            found = networks.mode_superposition(*here, n_modes=N_MODES)
            rows += [
                {
                    "way": way,
                    "target": target,
                    "ν": found.poisson_ratio,
                    "ω": w,
                    "ν′": r,
                    "weight": c,
                }
                for w, r, c in zip(found.frequencies, found.ratios, found.weights, strict=True)
            ]
    return pd.DataFrame(rows)


def compressed(network: tuple, strains: np.ndarray) -> np.ndarray:
    """ν of finite compressions between plates along y, to rest at each strain, (n_strains,).

    By SciPy's quasi-Newton method on the springs' energy, plates without friction: nothing of the
    linear response is in it. ν is the strain across over that along, both from the start.
    """
    springs, packing = networks.without_cut(*network)
    edges = networks.edge_nodes(packing)
    load = networks.plates(packing).loads[1]
    bonds, free = np.asarray(packing.bonds), ~load.held.ravel()
    k, rest = np.asarray(springs.stiffness), np.asarray(springs.length)
    x0 = np.asarray(packing.positions)

    def energy(y: np.ndarray, x: np.ndarray) -> tuple[float, np.ndarray]:
        x = x.copy()
        x.ravel()[free] = y
        vector = x[bonds[:, 1]] - x[bonds[:, 0]]
        r = np.linalg.norm(vector, axis=1)
        pull = (k * (r - rest) / r)[:, None] * vector
        force = np.zeros_like(x)
        np.add.at(force, bonds[:, 1], pull)
        np.add.at(force, bonds[:, 0], -pull)
        return float(0.5 * np.sum(k * (r - rest) ** 2)), force.ravel()[free]

    def width(x: np.ndarray) -> float:
        return float(x[edges["right"], 0].mean() - x[edges["left"], 0].mean())

    x, before, out = x0.copy(), 0.0, []
    for strain in strains:
        x += (strain - before) * load.carried[0]
        options = {"maxiter": 50_000, "maxfun": 100_000, "ftol": 0.0, "gtol": 1e-9}
        found = minimize(
            energy, x.ravel()[free], args=(x,), jac=True, method="L-BFGS-B", options=options
        )
        x.ravel()[free] = found.x
        before = strain
        out.append(-(width(x) / width(x0) - 1) / strain)
    return np.array(out)


def draw_modes(table: pd.DataFrame) -> plt.Figure:
    """|C|² against ω, a panel a moment, coloured by ν′."""
    rows = max(len(t) for t in WAYS.values())
    figure, axes = plt.subplots(rows, 2, figsize=(8, 1.5 * rows), sharex=True, layout="constrained")
    colours = ScalarMappable(Normalize(-1, 1), "coolwarm")
    for column, (way, targets) in enumerate(WAYS.items()):
        for row, target in enumerate(targets):
            part = table[(table["way"] == way) & (table["target"] == target)]
            panel = axes[row, column]
            panel.bar(part["ω"], part["weight"], width=0.008, color=colours.to_rgba(part["ν′"]))
            told = f"ν = {part['ν'].iloc[0]:.2f}".replace("-", "−")
            panel.text(0.97, 0.9, told, transform=panel.transAxes, ha="right", va="top")
            panel.set_ylim(0, 1)
            panel.set_xlim(0, 0.6)
            panel.set_ylabel("|C|²" if column == 0 else "")
        axes[-1, column].set_xlabel("frequency ω")
    figure.colorbar(colours, ax=axes, label="ν′ of the mode", shrink=0.4)
    return figure


def draw_bonds(start: tuple) -> plt.Figure:
    """Length changes under a load along y against those under one along x, for three networks."""
    figure, axes = plt.subplots(
        1, 3, figsize=(9, 3.2), sharex=True, sharey=True, layout="constrained"
    )
    for panel, network in zip(axes, (pruned(start, -0.9), start, pruned(start, 0.9)), strict=True):
        found = networks.bond_changes(*network)
        nu = networks.mode_superposition(*network, n_modes=2).poisson_ratio
        panel.plot(*found.changes.T, ".", ms=3, color="#1f3b5c")
        panel.axhline(0, color="#999999", lw=0.6, zorder=0)
        panel.axvline(0, color="#999999", lw=0.6, zorder=0)
        told = f"ν = {nu:.2f}, σ² = {found.variance:.2f}".replace("-", "−")
        panel.set(
            title=told, xlabel="change under a load along x", xlim=(-1.3, 1.3), ylim=(-1.3, 1.3)
        )
    axes[0].set_ylabel("change under a load along y")
    return figure


def main() -> None:
    """Prune, draw, write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("-o", "--output", type=Path, default=Path("auxetic"))
    options.add_argument("--seed", type=int, default=2)
    chosen = options.parse_args()
    start = networks.triangular_network((12, 12), distortion=0.2, seed=chosen.seed, open_edges=True)
    chosen.output.mkdir(parents=True, exist_ok=True)
    table = moments(start)
    table.to_csv(chosen.output / "modes.csv", index=False)
    draw_modes(table).savefig(chosen.output / "modes.png", dpi=110)
    draw_bonds(start).savefig(chosen.output / "bonds.png", dpi=110)
    strains = np.concatenate([[-1e-5], -np.arange(1, 11) / 100])
    for wanted in (-0.9, -0.6, 0.0, None, 0.6, 0.9):
        network = start if wanted is None else pruned(start, wanted)
        linear = networks.NetworkResponse(*network, networks.plates(network[1]).loads[1])
        found = compressed(network, strains)
        few = zip(strains[1::3], found[1::3], strict=True)
        told = ", ".join(f"{strain:g}: {nu:.3f}" for strain, nu in few)
        first = f"{linear.response[0, 1]:.6f}, at a strain of -1e-5 {found[0]:.6f}"
        print(f"ν_y by linear response {first}; at {told}")
    heaviest = table.sort_values("weight").groupby(["way", "target"], sort=False).tail(2)
    print(heaviest.sort_values(["way", "ν", "weight"]).round(3).to_string(index=False))
    print(
        "weight seen, at least:",
        np.round(table.groupby(["way", "target"])["weight"].sum().min(), 3),
    )


if __name__ == "__main__":
    main()
