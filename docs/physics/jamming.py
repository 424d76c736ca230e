"""Soft spheres near jamming: excess contacts and G/B against pressure, with their finite sizes.

O'Hern, Silbert, Liu and Nagel, Phys. Rev. E 68, 011306 (2003): above isostaticity,
N_iso = d (N - N_rattlers) - d contacts, the excess per particle and G/B grow as p^(1/2); below
p ~ 1/N^2 the excess contacts of a packing at fixed pressure stay near one and the curve levels off
(Goodrich, Liu and Nagel, Phys. Rev. Lett. 109, 095704 (2012)).

    python docs/physics/jamming.py -o jamming

prepares the packings into OUT/N-p.gsd (those that are there are not made again), measures them and
writes OUT/jamming.csv, OUT/jamming.png and the slopes.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from amorph import bridge, ensemble

THETA = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)
FRACTION = 0.84  # packing fraction of the starts
PRESSURES = 10.0 ** np.arange(-7.0, -1.9, 0.5)


def prepared(folder: Path, n: int, pressure: float, replicas: int, seed: int) -> Path:
    """The packings of one size and pressure, in a GSD file."""
    path = folder / f"{n}-{pressure:.2e}.gsd"
    density = FRACTION / (np.pi / 8 * (1 + 1.4**2))

    def make(first: int, count: int, progress: object) -> ensemble.Ensemble:
        return ensemble.quench(
            THETA,
            n,
            density,
            2,
            count,
            seed,
            first_replica=first,
            pressure=pressure,
            tolerance=min(1e-10, 1e-5 * pressure),
            max_steps=2_000_000,
            progress=progress,
        )

    done = ensemble.stream_to_gsd(path, make, replicas, append=True, batch=replicas)
    for line in done.failures:
        print(line)
    return path


def measured(path: Path) -> list[dict[str, float]]:
    """Contacts, rattlers, moduli of each packing of a file."""
    rows = []
    for number, (theta, packing) in enumerate(bridge.read_gsd(path)):
        try:
            packing = bridge.relax(theta, packing)
        except (bridge.errors.RelaxationError, bridge.errors.NotAMinimumError) as error:
            print(f"left out: {path}, frame {number}: {error}")
            continue
        held = ~bridge.response(theta, packing).rattlers
        n, d = packing.n_particles, packing.dimension
        rows.append(
            {
                "N": n,
                "pressure": float(bridge.pressure(theta, packing)),
                "rattlers": int((~held).sum()),
                "excess": contacts(theta, packing, held) - (d * int(held.sum()) - d),
                "B": float(bridge.bulk_modulus(theta, packing)),
                "G": float(bridge.shear_modulus(theta, packing)),
            }
        )
    return rows


def contacts(theta: bridge.SoftSphere, packing: bridge.Packing, held: np.ndarray) -> int:
    """The number of overlapping pairs of particles that are no rattlers."""
    side = np.diag(packing.box)
    apart = packing.positions[:, None] - packing.positions[None]
    apart -= side * np.rint(apart / side)
    sigma = 0.5 * np.add.outer(*2 * [np.asarray(theta.diameters)[packing.typeid]])
    touching = (np.linalg.norm(apart, axis=2) < sigma) & held[:, None] & held[None]
    return int(np.triu(touching, 1).sum())


def slope(table: pd.DataFrame, column: str) -> tuple[float, float]:
    """Exponent of a column against pressure, and its standard error, from the means at each p."""
    means = table.groupby("target")[column].agg(["mean", "sem"])
    x, y = np.log(means.index.to_numpy()), np.log(means["mean"])
    weight = means["mean"] / means["sem"]
    design = np.stack([x, np.ones_like(x)], axis=1) * weight.to_numpy()[:, None]
    covariance = np.linalg.inv(design.T @ design)
    solution = covariance @ design.T @ (y * weight).to_numpy()
    return float(solution[0]), float(np.sqrt(covariance[0, 0]))


def draw(table: pd.DataFrame, path: Path) -> None:
    """Excess contacts and G/B against pressure, one colour a size."""
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), layout="constrained")
    colours = plt.get_cmap("viridis")(np.linspace(0.1, 0.8, table["N"].nunique()))
    for colour, (n, rows) in zip(colours, table.groupby("N"), strict=True):
        means = rows.groupby("target")[["dz", "ratio"]].agg(["mean", "sem"])
        for ax, column in zip(axes, ("dz", "ratio"), strict=True):
            ax.errorbar(
                means.index,
                means[column, "mean"],
                means[column, "sem"],
                fmt="o",
                ms=3.5,
                lw=1,
                color=colour,
                label=f"N = {n}",
            )
            if column == "dz":
                one = "one contact, 2/N" if n == table["N"].max() else None
                ax.axhline(2 / n, color=colour, lw=0.8, ls=":", label=one)
    for ax, label in zip(axes, (r"$Z - Z_{iso}$", r"$G/B$"), strict=True):
        p = np.array([1e-6, 1e-2])
        at = 0.5 * ax.get_ylim()[1]
        ax.plot(p, at * (p / p[1]) ** 0.5, color="0.4", lw=1, label=r"$p^{1/2}$")
        ax.set(xscale="log", yscale="log", xlabel="pressure $p$", ylabel=label)
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=180)


def main() -> None:
    """Prepare, measure, draw."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("-o", "--output", type=Path, default=Path("jamming"))
    options.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1024])
    options.add_argument("--replicas", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    rows = []
    cases = [(n, p) for n in chosen.sizes for p in PRESSURES]
    for n, p in track(cases, "preparing", console=Console(stderr=True)):
        path = prepared(chosen.output, n, p, chosen.replicas, chosen.seed)
        rows += [{"target": p, **row} for row in measured(path)]
    table = pd.DataFrame(rows)
    # A contact is two particles': Z counts it twice.
    table["dz"] = 2 * table["excess"] / (table["N"] - table["rattlers"])
    table["ratio"] = table["G"] / table["B"]
    table.to_csv(chosen.output / "jamming.csv", index=False)
    # In small packings G, at fixed shape of the box, may be negative: no power law to fit.
    for n, of_size in table[table["N"] >= 1024].groupby("N"):
        scaling = of_size[(of_size["target"] > 10 / n**2) & (of_size["target"] < 1e-2 * 1.01)]
        for column, name in (("dz", "Z - Z_iso"), ("ratio", "G/B")):
            exponent, error = slope(scaling, column)
            print(f"N = {n}, 10/N^2 < p <= 1e-2: {name} ~ p^({exponent:.3f} +- {error:.3f})")
    draw(table, chosen.output / "jamming.png")


if __name__ == "__main__":
    main()
