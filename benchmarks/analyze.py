"""How fast `amorph analyze` goes through an ensemble, in how much memory, and whether it survives.

Packings (harmonic-Morse, a = 6, two types, number density 1.6) are quenched into a GSD file and
analysed by the command, with one worker and with two. Memory is the peak resident set, as Linux
keeps it (VmHWM), of the command and of its workers, for a tenth of the frames and for all. In the
end the command is killed at random moments, resumed each time, and its table compared with the
undisturbed one, byte by byte.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from common import CORES, Report, Sample, parser
from rich.console import Console

from amorph import bridge, ensemble

FEATURES = (
    "energy,pressure,stress,elastic_tensor,bulk_modulus,shear_modulus,poisson_ratio,psi_8,"
    "lowest_frequencies"
)
FRAMES, QUICK_FRAMES = 10_000, 100
QUICK_FEATURES = "energy,pressure"
KILLS, QUICK_KILLS = 5, 1


@dataclass
class Watched:
    """A run of the command: its wall time, the rate once parts come, and peaks of memory (MB)."""

    seconds: float = 0.0
    rate: float = 0.0
    parent: float = 0.0
    workers: dict[int, float] = field(default_factory=dict)

    @property
    def largest_worker(self) -> float:
        return max(self.workers.values(), default=0.0)


def command(source: Path, out: Path, features: str, frames: int, workers: int) -> list[str]:
    return [
        *(sys.executable, "-m", "amorph.campaigns.cli", "analyze", str(source), "-o", str(out)),
        *("--features", features, "--frames", f":{frames}", "--workers", str(workers)),
    ]


def peak(pid: int) -> float:
    """A process's peak resident set in MB; 0 once it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def children(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(text) for text in path.read_text().split()]
        except OSError:
            continue
    return found


def rows_kept(out: Path) -> int:
    """Rows in the finished parts beside a table."""
    names = [p.stem for p in out.with_name(f".{out.name}.parts").glob("0*.jsonl")]
    return sum(int(n.split("-")[1]) - int(n.split("-")[0]) + 1 for n in names)


def watch(arguments: list[str], out: Path) -> Watched:
    """Run the command to its end, looking at it ten times a second."""
    found = Watched()
    began = time.perf_counter()
    first: tuple[float, int] | None = None
    last = (began, 0)
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        found.parent = max(found.parent, peak(process.pid))
        for child in children(process.pid):
            found.workers[child] = max(found.workers.get(child, 0.0), peak(child))
        rows = rows_kept(out)
        now = time.perf_counter()
        if rows and first is None:
            first = now, rows
        if rows > last[1]:
            last = now, rows
        time.sleep(0.1)
    found.seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
    if first is not None and last[1] > first[1]:
        found.rate = (last[1] - first[1]) / (last[0] - first[0])
    # multiprocessing's resource tracker is a child too, a small one.
    found.workers = {pid: size for pid, size in found.workers.items() if size > 50}
    return found


def killed(arguments: list[str], out: Path, frames: int, kills: int) -> tuple[int, float]:
    """Kill the command at random moments, resume it; how often it was killed, and its seconds."""
    chance = random.Random(kills)
    done = 0
    began = time.perf_counter()
    for k in range(kills):
        more = ["--resume"] if k else []
        process = subprocess.Popen(
            [*arguments, *more], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        target = rows_kept(out) + chance.randint(1, max(1, frames // (kills + 1)))
        while rows_kept(out) < min(target, frames - 1) and process.poll() is None:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        done += process.wait() == -signal.SIGKILL
    subprocess.run(
        [*arguments, "--resume"], check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    return done, time.perf_counter() - began


def main() -> None:
    options = parser((__doc__ or "").splitlines()[0], n=128, repetitions=1)
    options.add_argument("--frames", type=int, help=f"how many ({FRAMES:,})")
    options.add_argument("--kills", type=int, help=f"how often it is killed ({KILLS})")
    given = options.parse_args()
    frames = given.frames or (QUICK_FRAMES if given.quick else FRAMES)
    kills = given.kills or (QUICK_KILLS if given.quick else KILLS)
    features = QUICK_FEATURES if given.quick else FEATURES
    settings = {"N": given.n, "frames": frames, "cores": CORES, "features": features}
    report = Report("analyze", settings)
    console = Console(stderr=True)
    theta = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "quench.gsd"
        began = time.perf_counter()
        ensemble.quench(theta, given.n, 1.6, 2, frames, given.seed).write(source)
        report.findings["quenching and writing, s"] = time.perf_counter() - began
        sizes = (frames,) if given.quick else (frames // 10, frames)
        for workers in (1, 2):
            for size in sizes:
                console.print(f"{size} frames, {workers} workers")
                samples = []
                for k in range(given.repetitions):
                    out = Path(folder) / f"{workers}-{size}-{k}.json"
                    run = watch(command(source, out, features, size, workers), out)
                    rows = json.loads(out.read_text())["frames"]
                    good = sum(row["status"] == "ok" for row in rows) / size
                    extra = {
                        "frames/s, steady": run.rate,
                        "seconds": run.seconds,
                        "parent, MB": run.parent,
                        "worker, MB": run.largest_worker,
                    }
                    samples.append(Sample(size / run.seconds, good, extra))
                who = f"{workers} worker{'s' if workers > 1 else ''}"
                report.add(f"{size} frames", {who: samples}, unit="frames/s")
        one, two = (Path(folder) / f"{w}-{frames}-0.json" for w in (1, 2))
        report.findings["one worker's table and two workers' are the same"] = (
            one.read_bytes() == two.read_bytes()
        )
        console.print(f"killed {kills} times")
        out = Path(folder) / "killed.json"
        done, seconds = killed(command(source, out, features, frames, 2), out, frames, kills)
        report.findings["killed and resumed"] = {
            "kills": done,
            "seconds, all runs": seconds,
            "table as undisturbed": out.read_bytes() == two.read_bytes(),
            "frames": len(json.loads(out.read_text())["frames"]),
        }
    report.finish(given.json)


if __name__ == "__main__":
    main()
