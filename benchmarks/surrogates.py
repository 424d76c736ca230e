"""How well is a network's Poisson's ratio predicted, and how fast, beside solving for it?

Distorted triangular lattices (distortion 0.05 to 0.95), split 6 : 2 : 2: AlexNet on the dynamical
matrix, a residual network on a picture, messages along bonds, and linear regression on the lowest
modes. R² and the root mean square error on networks that none of them has seen; beyond what they
have learned: from distortions up to 0.45 on to larger ones, and pruned networks. Then seconds to
predict one network, to solve for it directly, and to try a cut by `amorph.bridge.networks`.
Source of the comparison: Zhu et al., Fig. 5.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from common import Report, parser

from amorph.bridge import networks, surrogates


def scores(predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """R² and RMSE."""
    off = predicted - labels
    spread = np.sum((labels - labels.mean()) ** 2)
    return {"R2": float(1 - np.sum(off**2) / spread), "RMSE": float(np.sqrt(np.mean(off**2)))}


def pruned(size: int, number: int) -> surrogates.Examples:
    """Networks whose bonds were cut greedily, to ν between -0.9 and 0.9."""
    found, labels = [], []
    for k, target in enumerate(np.linspace(-0.9, 0.9, number)):
        network = networks.triangular_network((size, size), distortion=0.2, seed=1000 + k)
        done = networks.prune_greedily(networks.Pruning(*network, {"poisson_ratio": target}))
        found.append(done.network)
        labels.append(done.values[0])
    return surrogates.Examples(tuple(found), np.array(labels))


def timed(function: Any, least: float = 0.2) -> float:
    """Seconds a call, the first one not counted."""
    function()
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < least:
        function()
        calls += 1
    return (time.perf_counter() - began) / calls


def main() -> None:
    """Learn, compare, print, write."""
    options = parser(__doc__.splitlines()[0], n=4000, repetitions=1)
    options.add_argument("--size", type=int, default=12, help="nodes in a row (%(default)s)")
    options.add_argument("--epochs", type=int, default=60, help="(%(default)s)")
    options.add_argument(
        "--kinds",
        default="modes,matrix,picture,graph",
        help="modes is the regression (%(default)s)",
    )
    options.add_argument(
        "--beyond",
        default="graph",
        help="kinds that learn a part of the range too (%(default)s)",
    )
    chosen = options.parse_args()
    n = 100 if chosen.quick else chosen.n
    epochs = 2 if chosen.quick else chosen.epochs
    size = (chosen.size, chosen.size)
    report = Report(
        "surrogates", {"examples": n, "nodes": chosen.size**2, "epochs": epochs, "split": "6:2:2"}
    )
    began = time.perf_counter()
    found = surrogates.examples(n, size, seed=chosen.seed)
    report.findings["seconds to make an example"] = (time.perf_counter() - began) / n
    learned, validated, tested = surrogates.split(found)
    report.findings["range of ν"] = [float(found.labels.min()), float(found.labels.max())]
    near = surrogates.examples(n, size, distortion=(0.05, 0.45), seed=chosen.seed + 1)
    near_learned, near_validated, near_tested = surrogates.split(near)
    far = surrogates.examples(n // 5, size, distortion=(0.45, 0.95), seed=chosen.seed + 2)
    cut = pruned(chosen.size, 5 if chosen.quick else 60)
    one = [tested.networks[0]]

    def told(name: str, model: Any, beyond: Any) -> dict[str, Any]:
        out: dict[str, Any] = scores(model.predict(tested.networks), tested.labels)
        out["seconds to predict one"] = timed(lambda: model.predict(one))
        out["pruned networks"] = scores(model.predict(cut.networks), cut.labels)
        if beyond is not None:
            out["distortion to 0.45, unseen"] = scores(
                beyond.predict(near_tested.networks), near_tested.labels
            )
            out["from these on to 0.95"] = scores(beyond.predict(far.networks), far.labels)
        report.findings[name] = out
        report.print_findings(_console())
        return out

    kinds = chosen.kinds.split(",")
    if "modes" in kinds:
        began = time.perf_counter()
        regression = surrogates.ModeRegression.fitted(learned)
        taken = time.perf_counter() - began
        told("regression on modes", regression, surrogates.ModeRegression.fitted(near_learned))
        report.findings["regression on modes"]["seconds to train"] = taken
    for kind in (k for k in kinds if k != "modes"):

        def shown(epoch: int, own: float, other: float, kind: str = kind) -> None:
            if epoch % 10 == 9:
                print(f"{kind}: epoch {epoch + 1}, {own:.4f}, {other:.4f}", flush=True)

        model, history = surrogates.train(
            kind, learned, validated, epochs=epochs, seed=chosen.seed, progress=shown
        )
        beyond = None
        if kind in chosen.beyond.split(","):
            beyond = surrogates.train(
                kind, near_learned, near_validated, epochs=epochs, seed=chosen.seed
            )[0]
        out = told(kind, model, beyond)
        out["seconds to train"] = history.seconds
        # One alone, not one of a batch.
        out["seconds to predict one"] = timed(lambda m=model: m.predict(one, batch=1))
        out["seconds to predict one of 64"] = timed(lambda m=model: m.predict(one * 64)) / 64
    network = one[0]
    report.findings["seconds to solve directly"] = timed(lambda: networks.NetworkResponse(*network))
    pruning = networks.Pruning(*network, {"poisson_ratio": 0.0})
    bonds = np.arange(pruning.n_bonds)
    report.findings["seconds a trial"] = timed(lambda: pruning.try_toggles(bonds)) / len(bonds)
    report.finish(chosen.json)


def _console() -> Any:
    from common import wide_console

    return wide_console()


if __name__ == "__main__":
    main()
