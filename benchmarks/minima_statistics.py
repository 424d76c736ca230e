"""Do Amorph's engine and LAMMPS find the same kind of minima? Energy, pressure, Poisson's ratio.

Each quenches its own random starts, so that the samples are independent. Every packing, whoever
made it, is then relaxed and measured in the same way, by ``amorph.bridge`` in float64, and the
distributions are compared by two-sample Kolmogorov-Smirnov tests, with Holm's correction for
three. What a test that finds nothing is worth is told by the smallest shift of one sample that
would have been found in 90 of 100 such experiments at the strictest of Holm's levels; such
experiments are made by drawing both samples, with replacement, from all packings together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import OURS, Report, parser, two_types
from numpy.typing import NDArray
from peers import PeerMissing
from peers.formulas import HarmonicMorse
from peers.lammps_quench import LammpsQuench
from rich.console import Console
from rich.progress import track
from scipy import stats

DENSITY, DIAMETERS, BINDING, STIFFNESS = 1.6, [0.8, 1.0], 0.1, 5.0
QUANTITIES = {"energy per particle": "E/N", "pressure": "p", "Poisson's ratio": "ν"}
LEVEL, POWER = 0.05, 0.9
PEER = "LAMMPS"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Minima:
    """Packings as one contender left them: positions (R, N, d), the rest (R,); seconds each."""

    positions: Array
    converged: NDArray[np.bool_]
    steps: NDArray[np.int64]
    seconds: Array


def amorph_minima(
    typeid: NDArray[np.int32], length: float, alpha: float, count: int, seed: int
) -> Minima:
    """Quench ``count`` starts of the engine's own generator with the engine."""
    try:
        from amorph import ensemble
    except ImportError as error:
        raise PeerMissing("Amorph", str(error)) from error
    theta = HarmonicMorse(DIAMETERS, BINDING, STIFFNESS, alpha)
    box = length * np.eye(2)
    starts = ensemble.random_positions(typeid.size, box, count, seed)
    batch = ensemble.minimize(theta, starts, typeid, box, tolerance=1e-10, threads=1)
    return Minima(batch.positions, batch.converged, batch.steps, batch.seconds)


def lammps_minima(
    typeid: NDArray[np.int32], length: float, alpha: float, count: int, seed: int
) -> Minima:
    """Quench ``count`` starts of NumPy's generator with LAMMPS."""
    potential = HarmonicMorse(DIAMETERS, BINDING, STIFFNESS, alpha)
    generator = np.random.default_rng([seed, 1])
    with LammpsQuench(potential, typeid, length, dimension=2, stress=False) as quench:
        found = [
            quench(generator.uniform(size=(typeid.size, 2)) * length)
            for _ in watched(range(count), "LAMMPS quenches")
        ]
    return Minima(
        np.stack([one.positions for one in found]),
        np.array([one.converged for one in found]),
        np.array([one.steps for one in found]),
        np.array([one.seconds for one in found]),
    )


def watched(items: Iterable[Any], what: str) -> Iterable[Any]:
    """``items``, with a progress bar on standard error."""
    return track(items, what, console=Console(stderr=True))


def measurer(typeid: NDArray[np.int32], length: float, alpha: float) -> Callable[[Array], Array]:
    """A function that relaxes positions (N, d) and measures energy per particle, p and ν."""
    try:
        from amorph.bridge import HarmonicMorse as Theta
        from amorph.bridge import Packing, measure, relax
    except ImportError as error:
        raise PeerMissing("Amorph", str(error)) from error
    theta = Theta(diameters=DIAMETERS, binding=BINDING, stiffness=STIFFNESS, alpha=alpha)
    box = length * np.eye(2)

    def measure_one(positions: Array) -> Array:
        packing = relax(theta, Packing(positions=positions, typeid=typeid, box=box))
        values = measure(theta, packing, ["energy", "pressure", "poisson_ratio"]).values
        return np.array(
            [values["energy"] / typeid.size, values["pressure"], values["poisson_ratio"]]
        )

    return measure_one


def measured(
    minima: Minima, measure: Callable[[Array], Array], who: str
) -> tuple[Array, dict[str, int]]:
    """Values of every packing that can be measured, (R', 3), and how many failed, by error."""
    values: list[Array] = []
    failed: dict[str, int] = {}
    for positions in watched(minima.positions[minima.converged], f"measuring {who}"):
        try:
            values.append(measure(positions))
        except Exception as error:
            if not _named(error):
                raise
            name = type(error).__name__
            failed[name] = failed.get(name, 0) + 1
    return np.array(values).reshape(-1, len(QUANTITIES)), failed


def _named(error: Exception) -> bool:
    """Whether an error is one of Amorph's own, which name what is wrong with a packing."""
    from amorph.handover import AmorphError

    return isinstance(error, AmorphError)


def holm(p_values: Array) -> Array:
    """Holm's adjusted p-values, in the order given, shape (m,)."""
    order = np.argsort(p_values)
    factors = np.arange(p_values.size, 0, -1)
    adjusted = np.maximum.accumulate(np.minimum(1.0, p_values[order] * factors))
    result = np.empty_like(p_values)
    result[order] = adjusted
    return result


def ks_statistic(sorted_a: Array, sorted_b: Array) -> float:
    """Largest distance between the distribution functions of two sorted samples."""
    both = np.concatenate([sorted_a, sorted_b])
    below_a = np.searchsorted(sorted_a, both, side="right") / sorted_a.size
    below_b = np.searchsorted(sorted_b, both, side="right") / sorted_b.size
    return float(np.abs(below_a - below_b).max())


def smallest_shift(a: Array, b: Array, level: float, trials: int, seed: int) -> float:
    """Shift of one sample that a test at ``level`` finds with probability ``POWER``.

    Args:
        a, b: the two samples of one quantity.
        level: of the single test.
        trials: experiments to estimate a probability from.
        seed: of the experiments; all shifts are tried on the same ones.

    Returns:
        The shift, in the units of the samples.
    """
    pool = np.concatenate([a, b])
    critical = float(stats.kstwobign.isf(level)) * np.sqrt(1 / a.size + 1 / b.size)
    generator = np.random.default_rng(seed)
    draws = [
        (np.sort(generator.choice(pool, a.size)), np.sort(generator.choice(pool, b.size)))
        for _ in range(trials)
    ]

    def power(shift: float) -> float:
        return float(np.mean([ks_statistic(x + shift, y) > critical for x, y in draws]))

    low, high = 0.0, float(pool.std())
    while power(high) < POWER:
        low, high = high, 2 * high
    for _ in range(10):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def compare(values: dict[str, Array], trials: int, seed: int) -> dict[str, dict[str, Any]]:
    """Test each quantity of two contenders, and find what the tests could have shown."""
    ours, theirs = values[OURS], values[PEER]
    columns = range(len(QUANTITIES))
    tests = [stats.ks_2samp(ours[:, c], theirs[:, c], method="asymp") for c in columns]
    adjusted = holm(np.array([test.pvalue for test in tests]))
    found = {}
    for c, name in enumerate(QUANTITIES):
        a, b = ours[:, c], theirs[:, c]
        pool = np.concatenate([a, b])
        spread = float(pool.std())
        middle_half = float(np.subtract(*np.percentile(pool, [75, 25])))
        shift = smallest_shift(a, b, LEVEL / len(QUANTITIES), trials, seed + c)
        found[name] = {
            "mean, Amorph": float(a.mean()),
            "mean, LAMMPS": float(b.mean()),
            "standard deviation": spread,
            "interquartile range": middle_half,
            "difference of the means": float(a.mean() - b.mean()),
            "its standard error": float(np.sqrt(a.var() / a.size + b.var() / b.size)),
            "KS statistic": float(tests[c].statistic),
            "p": float(tests[c].pvalue),
            "p, Holm": float(adjusted[c]),
            "agree": bool(adjusted[c] > LEVEL),
            "smallest shift found": shift,
            "smallest shift found, in standard deviations": shift / spread,
            "smallest shift found, in interquartile ranges": shift / middle_half,
        }
    return found


def picture(path: Path, values: dict[str, Array], tests: dict[str, dict[str, Any]]) -> None:
    """Draw the three pairs of distributions into ``path``."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(QUANTITIES), figsize=(11, 3.4), layout="constrained")
    for c, (axis, (name, symbol)) in enumerate(zip(axes, QUANTITIES.items(), strict=True)):
        pool = np.concatenate([sample[:, c] for sample in values.values()])
        least, low, middle, high, most = np.percentile(pool, [0, 25, 50, 75, 100])
        reach = 4 * (high - low)  # tails beyond are too thin to be seen
        edges = np.linspace(max(least, middle - reach), min(most, middle + reach), 51)
        for (who, sample), filled in zip(values.items(), (True, False), strict=True):
            axis.hist(
                sample[:, c],
                edges,
                density=True,
                histtype="stepfilled" if filled else "step",
                alpha=0.45 if filled else 1.0,
                color="tab:blue" if filled else "black",
                label=f"{who}, {len(sample)}",
            )
        axis.set_xlabel(symbol)
        axis.set_yticks([])
        axis.locator_params(axis="x", nbins=5)
        axis.set_title(f"{name}: p = {tests[name]['p, Holm']:.2g} (Holm)", fontsize=10)
    axes[0].set_ylabel("share of the packings")
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=160)
    plt.close(figure)


def main() -> None:
    """Quench, measure, test, print, write."""
    options = parser(__doc__.splitlines()[0], n=128, repetitions=5000)
    options.add_argument("--alpha", type=float, default=6.0, help="Morse width (%(default)s)")
    options.add_argument("--picture", type=Path, metavar="OUT", help="draw the distributions here")
    options.add_argument("--trials", type=int, default=400, help="experiments for the power")
    chosen = options.parse_args()
    if chosen.picture is not None and not chosen.picture.parent.is_dir():
        options.error(f"there is no folder {chosen.picture.parent}; make it first")
    count = min(chosen.repetitions, 100) if chosen.quick else chosen.repetitions
    typeid = two_types(chosen.n)
    length = float((chosen.n / DENSITY) ** 0.5)
    report = Report(
        "statistics of minima",
        {"N": chosen.n, "dimension": 2, "alpha": chosen.alpha, "density": DENSITY, "each": count},
    )
    common = (typeid, length, chosen.alpha)
    try:
        measure = measurer(*common)
        minima = {
            OURS: amorph_minima(*common, count, chosen.seed),
            PEER: lammps_minima(*common, count, chosen.seed),
        }
    except PeerMissing as absent:
        report.missing.append({"who": absent.peer, "message": str(absent)})
        report.finish(chosen.json)
        raise SystemExit(1) from absent
    values = {}
    for who, found in minima.items():
        values[who], failed = measured(found, measure, who)
        report.rows.append(
            {
                "case": "quench",
                "who": who,
                "median": float(np.median(found.seconds)),
                "spread": float(np.subtract(*np.percentile(found.seconds, [75, 25]))),
                "unit": "s",
                "share_converged": float(found.converged.mean()),
                "repetitions": count,
                "mean steps": float(found.steps.mean()),
                "measured": len(values[who]),
                "not measured": sum(failed.values()),
            }
        )
        if failed:
            report.findings[f"not measured, {who}"] = failed
    tests = compare(values, chosen.trials, chosen.seed)
    report.findings.update(tests)
    if chosen.picture is not None:
        picture(chosen.picture, values, tests)
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
