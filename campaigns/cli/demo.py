"""``amorph demo``: the main job, small."""

import time
from pathlib import Path
from typing import Any

from ..store.durable import write_json
from ..studies.files import parse_campaign
from ..studies.running import run_campaign
from ..studies.study import Watcher

__all__ = ["DEMO", "run_demo"]

DEMO = """\
# The demo: two packings of 128 sticky discs, designed from their own Poisson's ratio to 0.25 and
# to 0.65 by changing two diameters and three binding energies.
name = "demo"

[potential]
kind = "harmonic_morse"
diameters = [0.8, 1.0]
binding = 0.1
stiffness = 5.0
alpha = 6.0

[preparation]
method = "quench"
dimension = 2
n_particles = 128
density = 1.6
replicas = 1
seed = 2
tolerance = 1e-10

[design]
kind = "individual"
parameters = ["diameters", "binding"]

[[objective]]
feature = "poisson_ratio"
target = 0.25

[stop]
loss = 1e-6
steps = 2000

[sweep]
"objective.0.target" = [0.25, 0.65]
"""


def run_demo(directory: Path, watcher: Watcher | None = None) -> dict[str, Any]:
    """Quench, design two Poisson's ratios, report.

    Writes into `directory`, which must be new or empty: ``summary.json``, ``report.html``,
    ``design.png``, and a run directory with its ``run.gsd`` for each design. Returns the summary.

    Raises as `amorph.campaigns.run_campaign` does.
    """
    from ..studies.design.at_a_glance import write_overview
    from ..studies.reporting import write_report

    began = time.monotonic()
    campaign = parse_campaign(DEMO, "demo")
    outcomes = run_campaign(campaign, DEMO, directory, watcher=watcher)
    designs = [
        {
            "target": o["target"][0],
            "initial": o["initial"][0] if o["initial"] else None,
            "final": o["value"][0] if o["value"] else None,
            "steps": o["steps"],
            "seconds": o["seconds"],
            "status": o["status"],
            "directory": o["directory"],
        }
        for o in outcomes
    ]
    write_report(directory)
    write_overview(directory, directory / "design.png")
    summary = {"designs": designs, "seconds": round(time.monotonic() - began, 3)}
    write_json(directory / "summary.json", summary)
    return summary
