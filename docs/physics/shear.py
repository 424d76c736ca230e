"""A stress-strain curve of a disordered solid, its plastic events, and one of them in space.

Athermal quasi-static simple shear of a harmonic-Morse packing (the potential of
`docs/results.md`'s designs): elastic branches, along which the slope is the one that the elastic
tensor gives once it is corrected for the stress, end in plastic events, at which the packing falls
into another minimum and the stress drops (Malandro and Lacks, J. Chem. Phys. 110, 4593 (1999);
Maloney and Lemaitre, Phys. Rev. E 74, 016118 (2006)).

    python docs/physics/shear.py -o shear

writes OUT/shear.csv (a row a strain), OUT/events.csv (a row an event), OUT/shear.png, and how well
the slope, the work and the energy agree. About half a minute for 196
particles.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.collections import EllipseCollection

from amorph import bridge, ensemble
from amorph.bridge.loading.quasistatic import PlasticEvent
from amorph.bridge.loading.stress_strain import StressStrain

THETA = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0)
DENSITY = 1.6
ELASTIC, PLASTIC = "#3b6ea8", "#c1492f"


def prepared(n: int, seed: int) -> bridge.Packing:
    """A packing at rest, from a random start."""
    found = ensemble.quench(THETA, n, DENSITY, 2, 1, seed=seed)
    return bridge.relax(THETA, bridge.Packing(found.positions[0], found.typeid, found.boxes[0]))


def table_of(curve: StressStrain) -> pd.DataFrame:
    """A row a strain."""
    names = ("strain", "energy", "conjugate", "tangent", "pressure", "nonaffine_squared")
    columns = {name: getattr(curve, name) for name in names}
    counts = {name: getattr(curve, name) for name in ("contact_changes", "plastic", "rattlers")}
    return pd.DataFrame(columns | counts).rename(columns={"conjugate": "shear_stress"})


def events_of(curve: StressStrain) -> pd.DataFrame:
    """A row an event."""
    names = (
        "strain",
        "resolution",
        "energy_drop",
        "stress_drop",
        "participation_ratio",
        "contact_changes",
    )
    return pd.DataFrame([{name: getattr(e, name) for name in names} for e in curve.events])


def report(curve: StressStrain) -> None:
    """Slope against tensor, and work against energy, where nothing is plastic."""
    h = np.diff(curve.strain)
    quiet = ~curve.plastic[1:]
    smooth = quiet & (curve.contact_changes[1:] == 0)
    slope = np.diff(curve.conjugate) / h
    tangent = 0.5 * (curve.tangent[1:] + curve.tangent[:-1])
    power = curve.volume * curve.conjugate
    bend = curve.volume * curve.tangent  # at constant volume
    work = h / 2 * (power[1:] + power[:-1]) + h**2 / 12 * (bend[:-1] - bend[1:])
    change = np.diff(curve.energy)
    print(f"{len(curve.events)} plastic events to a strain of {curve.strain[-1]:g}")
    for name, part in (("no pair crosses", smooth), ("pairs cross", quiet & ~smooth)):
        if part.any():
            typical = np.median(np.abs(tangent[part]))
            off = np.median(np.abs(slope - tangent)[part]) / typical
            lost = np.abs(work - change)[part].sum() / np.abs(change)[part].sum()
            print(
                f"{part.sum():3d} steps, {name}: slope less tangent {off:.1e} (median, relative), "
                f"work less energy {lost:.1e}"
            )
    dissipated = sum(e.energy_drop for e in curve.events)
    print(f"energy change {curve.energy[-1] - curve.energy[0]:.6f}, dissipated {dissipated:.6f}")


def draw_curve(ax: plt.Axes, curve: StressStrain) -> None:
    """Stress against strain; branches are broken at the events, where both ends are known."""
    x, y = list(curve.strain), list(curve.conjugate)
    branches, drops = [[]], []
    points = [(s, 0, v) for s, v in zip(x, y, strict=True)]
    for e in curve.events:
        before, after = e.stress_before[0, 1], e.stress_after[0, 1]
        points += [(e.strain, -2, before), (e.strain, -1, after)]
        drops.append((e.strain, before, after))
    for strain, order, stress in sorted(points):
        if order == -1:
            branches.append([])
        branches[-1].append((strain, stress))
    for k, branch in enumerate(branches):
        ax.plot(*np.transpose(branch), color=ELASTIC, lw=1.4, label=None if k else "elastic branch")
    for k, (strain, before, after) in enumerate(drops):
        ax.plot(
            [strain, strain],
            [before, after],
            color=PLASTIC,
            lw=1.2,
            ls=(0, (2, 1)),
            label=None if k else "plastic event",
        )
    ax.plot([d[0] for d in drops], [d[1] for d in drops], ls="", marker="v", ms=4, color=PLASTIC)
    # The tangent from the tensor, as a short line through states that no event is near.
    reach = 0.018 * curve.strain[-1]
    ends = np.array([-reach, reach])
    at = np.array([d[0] for d in drops])
    shown, last = 0, -np.inf
    for k, strain in enumerate(x):
        if strain - last < 4.5 * reach or strain < reach or strain > x[-1] - reach:
            continue
        if len(at) and np.abs(at - strain).min() < 1.2 * reach:
            continue
        ax.plot(
            strain + ends,
            y[k] + curve.tangent[k] * ends,
            color="0.15",
            lw=2.6,
            solid_capstyle="butt",
            label=None if shown else "slope from the elastic tensor",
        )
        shown, last = shown + 1, strain
    ax.axhline(0, color="0.85", lw=0.8, zorder=0)
    ax.set(xlabel=r"shear strain $\gamma$", ylabel=r"shear stress $\sigma_{xy}$")
    ax.legend(frameon=False, fontsize=8, loc="upper left")


def draw_event(ax: plt.Axes, packing: bridge.Packing, event: PlasticEvent) -> None:
    """The displacements of an event, in the box that the packing has."""
    home = packing.wrapped().positions
    size = np.asarray(THETA.diameters)[packing.typeid]
    u = event.displacement
    length = np.linalg.norm(u, axis=1)
    discs = EllipseCollection(
        size,
        size,
        np.zeros_like(size),
        units="xy",
        offsets=home,
        transOffset=ax.transData,
        array=length / length.max(),
        cmap="Oranges",
        clim=(0, 1.3),
        edgecolor="0.75",
        linewidth=0.4,
    )
    ax.add_collection(discs)
    ax.quiver(
        *home.T,
        *u.T,
        angles="xy",
        scale_units="xy",
        scale=length.max() / 1.3,
        width=0.006,
        color="0.1",
    )
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) / 2 @ packing.box.T
    ax.plot(*corners.T, color="0.4", lw=0.8)
    reach = np.abs(corners).max(axis=0) + 0.7
    ax.set(
        aspect="equal",
        xticks=[],
        yticks=[],
        xlim=(-reach[0], reach[0]),
        ylim=(-reach[1], reach[1]),
    )
    ax.set_title(
        rf"displacements of the largest event, $\gamma$ = {event.strain:.4f},"
        "\n"
        rf"participation ratio {event.participation_ratio:.2f}",
        fontsize=9,
    )
    for side in ax.spines.values():
        side.set_visible(False)


def main() -> None:
    """Prepare, shear, draw."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("-o", "--output", type=Path, default=Path("shear"))
    options.add_argument("-n", "--particles", type=int, default=196)
    options.add_argument("--strain", type=float, default=0.15)
    options.add_argument("--step", type=float, default=1e-3)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    packing = prepared(chosen.particles, chosen.seed)
    curve = bridge.stress_strain(
        THETA, packing, "simple_shear", max_strain=chosen.strain, step=chosen.step, keep=True
    )
    table_of(curve).to_csv(chosen.output / "shear.csv", index=False)
    events_of(curve).to_csv(chosen.output / "events.csv", index=False)
    report(curve)
    figure, axes = plt.subplots(
        1, 2, figsize=(9.6, 3.8), width_ratios=(1.5, 1), layout="constrained"
    )
    draw_curve(axes[0], curve)
    if curve.events:
        largest = max(curve.events, key=lambda e: e.energy_drop)
        where = int(np.searchsorted(curve.strain, largest.strain)) - 1
        draw_event(axes[1], curve.packings[where], largest)
    figure.savefig(chosen.output / "shear.png", dpi=180)


if __name__ == "__main__":
    main()
