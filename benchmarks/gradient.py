"""How long do a Poisson's ratio and its gradient take? Amorph, and jax-md with jaxopt.

Three cases. From a random start: quench, then value and gradient. From a quench to 1e-4: relax,
elastic tensor, gradient. At a minimum, known to 1e-10: what a design step costs once the packing
is followed; there both see the same packing, and the report says by how much their values and
gradients differ. Amorph differentiates with
respect to all parameters of the potential, jax-md with jaxopt to diameters and binding
energies, as the published programs do; "as published" has their FIRE 2 and time step, the
other jax-md's own FIRE at its best. Compilation is not in the times, except where a packing
needs longer lists of pairs than those before it, which the medians pass over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import OURS, Contender, Report, Sample, parser, race, two_types
from numpy.typing import NDArray
from peers import PeerMissing
from peers.formulas import HarmonicMorse

DENSITY, DIAMETERS, BINDING, STIFFNESS = 1.6, [0.8, 1.0], 0.1, 5.0
QUENCHED, NEAR = 1e-10, 1e-4
RANDOM = "quench, value, gradient"
FROM_NEAR = "from a quench at 1e-4: relax, tensor, gradient"
AT_REST = "at a minimum"
RELAXED = 1e-12
PEER, PUBLISHED = "jax-md + jaxopt", "jax-md + jaxopt, as published"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """The input of every contender: the packings' make-up, and each case's starts (R, N, d)."""

    typeid: NDArray[np.int32]
    length: float
    alpha: float
    starts: dict[str, Array]


@dataclass(frozen=True)
class Answer:
    """Value, derivatives with respect to diameters and binding energies, time, success."""

    value: float
    gradient: Array
    seconds: float
    converged: bool


Run = Callable[[Array, str], Answer]


def amorph_gradient(case: Case) -> Run:
    """Amorph: the engine's quench where the start is random, relax, value and gradient."""
    try:
        from amorph import ensemble
        from amorph.bridge import HarmonicMorse as Theta
        from amorph.bridge import Packing, measure, relax
    except ImportError as error:
        raise PeerMissing("Amorph", str(error)) from error
    theta = Theta(diameters=DIAMETERS, binding=BINDING, stiffness=STIFFNESS, alpha=case.alpha)
    box = case.length * np.eye(case.starts[RANDOM].shape[-1])

    def run(start: Array, what: str) -> Answer:
        began = time.perf_counter()
        positions, converged = start, True
        if what == RANDOM:
            batch = ensemble.minimize(
                theta, start[None], case.typeid, box, tolerance=QUENCHED, threads=1
            )
            positions, converged = batch.positions[0], bool(batch.converged[0])
        packing = relax(theta, Packing(positions=positions, typeid=case.typeid, box=box))
        tensor = ["elastic_tensor"] if what == FROM_NEAR else []
        measured = measure(theta, packing, tensor, ["poisson_ratio"])
        gradient = measured.gradients["poisson_ratio"]
        found = np.concatenate([np.asarray(gradient.diameters), np.asarray(gradient.binding)])
        value = float(measured.values["poisson_ratio"])
        return Answer(value, found, time.perf_counter() - began, converged)

    return run


def peer_gradient(case: Case, published: bool) -> Run:
    """jax-md with jaxopt, at its best or with the settings of the published programs."""
    from peers.jax_md_jaxopt_gradient import JaxMdJaxoptGradient, fire2

    settings: dict[str, Any] = (
        {"dt_start": 1e-3, "dt_max": 0.1, "capacity": 1.15, "cells": True, "minimizer": fire2}
        if published
        else {}
    )
    peer = JaxMdJaxoptGradient(
        DIAMETERS,
        BINDING,
        STIFFNESS,
        case.alpha,
        case.typeid,
        case.length,
        tolerance=RELAXED,
        **settings,
    )

    def run(start: Array, what: str) -> Answer:
        found = peer(start)
        gradient = np.concatenate([found.diameters, found.binding])
        return Answer(found.value, gradient, found.seconds, found.converged)

    return run


def quenched(
    starts: Array, typeid: NDArray[np.int32], length: float, alpha: float, tolerance: float
) -> Array:
    """Packings quenched to a largest force, shape (R, N, d), by the first contender there is."""
    try:
        from amorph import ensemble
    except ImportError:
        from peers.jax_md_quench import JaxMdQuench

        potential = HarmonicMorse(DIAMETERS, BINDING, STIFFNESS, alpha)
        quench = JaxMdQuench(potential, typeid, length, tolerance=tolerance)
        return np.stack([quench(start).positions for start in starts])
    theta = HarmonicMorse(DIAMETERS, BINDING, STIFFNESS, alpha)
    box = length * np.eye(starts.shape[-1])
    return np.asarray(ensemble.minimize(theta, starts, typeid, box, tolerance=tolerance).positions)


def main() -> None:
    """Compare, print, write."""
    options = parser(__doc__.splitlines()[0], n=368, repetitions=15)
    options.add_argument("--alpha", type=float, default=6.0, help="Morse width (%(default)s)")
    chosen = options.parse_args()
    repetitions = min(chosen.repetitions, 4) if chosen.quick else chosen.repetitions
    n, typeid = chosen.n, two_types(chosen.n)
    length = float((n / DENSITY) ** 0.5)
    generator = np.random.default_rng(chosen.seed)
    starts = generator.uniform(size=(repetitions, n, 2)) * length
    near, minima = (
        quenched(starts, typeid, length, chosen.alpha, tolerance) for tolerance in (NEAR, QUENCHED)
    )
    begin = {RANDOM: starts, FROM_NEAR: near, AT_REST: minima}
    case = Case(typeid, length, chosen.alpha, begin)
    report = Report(
        "gradient of the Poisson's ratio",
        {
            "N": n,
            "dimension": 2,
            "alpha": chosen.alpha,
            "density": DENSITY,
            "tolerance": RELAXED,
        },
    )
    makers: dict[str, Callable[[], Run]] = {
        OURS: lambda: amorph_gradient(case),
        PEER: lambda: peer_gradient(case, published=False),
    }
    if not chosen.quick:
        makers[PUBLISHED] = lambda: peer_gradient(case, published=True)
    runs: dict[str, Run] = {}
    for who, make in makers.items():
        try:
            runs[who] = make()
        except PeerMissing as absent:
            report.missing.append({"who": who, "message": str(absent)})
    answers: dict[str, dict[int, Answer]] = {who: {} for who in runs}

    def contender(who: str, what: str) -> Contender:
        def run(i: int) -> Sample:
            answer = runs[who](case.starts[what][i], what)
            if what == AT_REST:
                answers[who][i] = answer
            return Sample(answer.seconds, answer.converged, {"Poisson's ratio": answer.value})

        return Contender(who, run)

    for name in case.starts:
        bar = 25.0 if name == FROM_NEAR else 10.0
        samples = race([contender(who, name) for who in runs], repetitions, what=name)
        report.add(name, samples, bars={PEER: bar, PUBLISHED: bar})
    if OURS in runs and PEER in runs:
        report.findings["difference at the same minimum"] = _differences(
            answers[OURS], answers[PEER]
        )
    report.finish(chosen.json)


def _differences(ours: dict[int, Answer], theirs: dict[int, Answer]) -> dict[str, float]:
    """The differences of two contenders' values and gradients, over the packings."""
    values = [abs(ours[i].value - theirs[i].value) for i in ours]
    gradients = [
        float(np.abs(ours[i].gradient - theirs[i].gradient).max() / np.abs(ours[i].gradient).max())
        for i in ours
    ]
    return {
        "value, median": float(np.median(values)),
        "value, largest": float(np.max(values)),
        "gradient, relative, median": float(np.median(gradients)),
        "gradient, relative, largest": float(np.max(gradients)),
    }


if __name__ == "__main__":
    main()
