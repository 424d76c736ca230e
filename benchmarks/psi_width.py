"""How far the smooth ψ_k lies from the sharp one, as a function of its window's width.

The sharp measure is that of Zu and Goodrich, Commun. Mater. 5 (2024): neighbours are the pairs
nearer than the largest diameter. The smooth one lets their weight fall from 1 to 0 over a window of
the given width about that distance. Both are means over the particles of a packing. Windows in
units of σ_ij, the default among them, stand beside the sharp cut in their middle; freud's own
choices of neighbours beside the paper's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from common import Report, output, parser
from numpy.typing import NDArray
from peers.formulas import HarmonicMorse
from rich.console import Console
from rich.progress import track

DENSITY, DIAMETERS, BINDING, STIFFNESS, ALPHA = 1.6, [0.8, 1.0], 0.1, 5.0, 6.0
WIDTHS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
MIDDLE = 1.275  # of the default window, in units of σ_ij

Array = NDArray[np.float64]


def packings(n: int, count: int, seed: int) -> list[Any]:
    """Quenched packings that converged, wrapped into their boxes."""
    from amorph import ensemble
    from amorph.bridge import Packing

    theta = HarmonicMorse(DIAMETERS, BINDING, STIFFNESS, ALPHA)
    found = ensemble.quench(theta, n, DENSITY, 2, count, seed, threads=1)
    done = found.positions[found.converged]
    return [Packing(x, found.typeid, found.boxes[0]).wrapped() for x in done]


def measured(frames: list[Any], k: int) -> dict[str, tuple[Array, Array]]:
    """ψ_k of every packing and every particle, (R,) and (R, N) complex, for each window."""
    from amorph.bridge import HarmonicMorse as Theta
    from amorph.bridge import Window, bond_order
    from amorph.bridge.matter.neighbours import FIRST_SHELL, WITHIN_LARGEST_DIAMETER

    theta = Theta(diameters=DIAMETERS, binding=BINDING, stiffness=STIFFNESS, alpha=ALPHA)
    cut = max(DIAMETERS)
    windows = {"sharp": WITHIN_LARGEST_DIAMETER, "sharp, sigma": Window.sharp(MIDDLE)}
    windows |= {f"{w:g}": Window(cut - w / 2, cut + w / 2, "length") for w in WIDTHS}
    windows |= {f"{w:g}, sigma": Window(MIDDLE - w / 2, MIDDLE + w / 2) for w in WIDTHS}
    windows["default"] = FIRST_SHELL
    found = {}
    for name, window in track(windows.items(), "windows", console=Console(stderr=True)):
        each = np.array([bond_order(theta, frame, k, window) for frame in frames])
        found[name] = (np.abs(each).mean(axis=1), each)
    return found


def by_freud(frames: list[Any], k: int) -> dict[str, tuple[Array, Array]]:
    """The same by freud: within the largest diameter, the k nearest (its default), Voronoi's."""
    import freud

    found: dict[str, list[Array]] = {}
    for frame in track(frames, "freud", console=Console(stderr=True)):
        points = np.column_stack([frame.positions, np.zeros(frame.n_particles)])
        system = (freud.box.Box(*np.diag(frame.box)), points)
        faces = freud.locality.Voronoi().compute(system).nlist
        near = {"r_max": max(DIAMETERS), "exclude_ii": True}
        for name, neighbours, weighted in (
            ("freud, r < largest diameter", near, False),
            (f"freud, {k} nearest (its default)", None, False),
            ("freud, Voronoi", faces, False),
            ("freud, Voronoi, weighted by sides", faces, True),
        ):
            order = freud.order.Hexatic(k, weighted=weighted).compute(system, neighbors=neighbours)
            # NaN for a particle without neighbours, where ours is 0
            found.setdefault(name, []).append(np.nan_to_num(order.particle_order))
    return {n: (np.abs(each).mean(axis=1), np.array(each)) for n, each in found.items()}


def compared(one: tuple[Array, Array], other: tuple[Array, Array]) -> dict[str, float]:
    """Absolute differences of packings' ψ_k, and the largest of particles' complex ψ_k."""
    apart = np.abs(one[0] - other[0])
    low, middle, high = np.percentile(apart, [25, 50, 75])
    return {
        "median": float(middle),
        "spread": float(high - low),
        "mean": float(apart.mean()),
        "largest": float(apart.max()),
        "with sign": float((one[0] - other[0]).mean()),
        "of a particle": float(np.abs(one[1] - other[1]).max()),
    }


def picture(path: Path, k: int, found: dict[str, dict[str, dict[str, float]]]) -> None:
    """Draw the differences against the width into ``path``."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True, layout="constrained")
    titles = {
        "about the largest diameter": ("the largest diameter", "width of the window (length)"),
        "about 1.275 sigma": (f"{MIDDLE:g} σ", "width of the window (σ)"),
    }
    for axis, (group, (about, label)) in zip(axes, titles.items(), strict=True):
        rows = found[group]
        width = [float(name) for name in rows]
        for value, marker, text in (
            ("largest", "s", "largest of the packings"),
            ("mean", "o", "mean of the packings"),
        ):
            axis.loglog(width, [row[value] for row in rows.values()], f"-{marker}", label=text)
        axis.set_xlabel(label)
        axis.set_title(f"window about {about}", fontsize=10)
        axis.grid(which="major", alpha=0.3)
    axes[1].axvline(0.25, color="gray", ls="--", lw=1)
    axes[1].text(0.24, 0.03, "default", ha="right", transform=axes[1].get_xaxis_transform())
    axes[0].set_ylabel(f"|smooth ψ$_{{{k}}}$ − sharp ψ$_{{{k}}}$|")
    axes[0].legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=160)
    plt.close(figure)


def main() -> None:
    """Quench, measure, compare, print, write."""
    options = parser(__doc__.splitlines()[0], n=128, repetitions=1000)
    options.add_argument("--k", type=int, default=8, help="fold (%(default)s)")
    options.add_argument("--picture", type=output, metavar="OUT", help="draw the differences here")
    chosen = options.parse_args()
    count = min(chosen.repetitions, 50) if chosen.quick else chosen.repetitions
    frames = packings(chosen.n, count, chosen.seed)
    report = Report(
        f"|difference| of psi_{chosen.k}",
        {"N": chosen.n, "density": DENSITY, "alpha": ALPHA, "seed": chosen.seed},
    )

    def compare(case: str, who: str, one: tuple[Array, Array], other: Any) -> dict[str, float]:
        row = compared(one, other)
        counted = {"share_converged": len(frames) / count, "repetitions": len(frames)}
        report.rows.append({"case": case, "who": who, "unit": "", **row, **counted})
        return row

    values = measured(frames, chosen.k)
    sharp, middle = values["sharp"], values["sharp, sigma"]
    groups: dict[str, dict[str, dict[str, float]]] = {}
    for about, suffix, other in (
        ("the largest diameter", "", sharp),
        (f"{MIDDLE:g} sigma", ", sigma", middle),
    ):
        groups[f"about {about}"] = {
            f"{w:g}": compare(
                f"to sharp, r < {about}", f"width {w:g}", values[f"{w:g}{suffix}"], other
            )
            for w in WIDTHS
        }
    case = "to sharp, r < the largest diameter"
    compare(case, "default, 1.15 to 1.4 sigma", values["default"], sharp)
    compare(case, f"sharp, r < {MIDDLE:g} sigma", middle, sharp)
    try:
        for who, other in by_freud(frames, chosen.k).items():
            compare(case, who, other, sharp)
    except ImportError as absent:
        report.missing.append({"who": "freud", "message": f"{absent}: pip install freud-analysis"})
    for who, name in (("sharp", "sharp"), ("smooth, default window", "default")):
        report.findings[f"mean psi_{chosen.k}, {who}"] = float(values[name][0].mean())
    if chosen.picture is not None:
        picture(chosen.picture, chosen.k, groups)
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
