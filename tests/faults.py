"""Faults at random moments, many of each: what resumes must end as the undisturbed run does.

    python tests/faults.py --trials 20

A small campaign runs on two ranks. Each trial lets it come to a random step, does something to it,
looks at what is on disk, resumes it, and compares `run.gsd` with the undisturbed run byte by byte;
no step that was recorded before may be lost.
"""

import argparse
import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

CAMPAIGN = """
[potential]
kind = "harmonic_morse"
diameters = [0.8, 1.0]
binding = 0.1
stiffness = 5.0
alpha = 10.0

[preparation]
n_particles = 48
density = 1.4
seed = 6

[design]
kind = "ensemble"
packings = 4
parameters = ["diameters", "binding"]

[[objective]]
feature = "poisson_ratio"
target = 0.45

[optimizer]
kind = "rmsprop"

[stop]
loss = 1e-12
steps = 400
"""
STEPS = 400
RUN = (sys.executable, "-m", "amorph.campaigns.cli", "run", "x.toml", "--resume", "-o")
MPIEXEC = shutil.which("mpiexec") or str(Path(sys.executable).parent / "mpiexec")


@dataclass
class Trial:
    """A run in a folder of its own that something happens to."""

    folder: Path
    chance: random.Random
    whole: bytes
    said: str = ""
    process: "subprocess.Popen[str] | None" = None

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def recorded(self) -> list[bytes]:
        """The manifest's lines."""
        manifest = self.run / "manifest.jsonl"
        return manifest.read_bytes().split(b"\n")[:-1] if manifest.exists() else []

    def start(self, ranks: int = 2, limit: int | None = None) -> None:
        command = (MPIEXEC, "-n", str(ranks), *RUN) if ranks > 1 else RUN

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        self.process = subprocess.Popen(
            (*command, "run"), cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, start_new_session=True, preexec_fn=None if limit is None else limited,
        )  # fmt: skip

    def reach(self, step: int) -> None:
        """Wait until a step is recorded, and then a moment more."""
        assert self.process is not None
        end = time.monotonic() + 120
        while len(self.recorded) <= step:
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < end, "it hangs"
            time.sleep(0.001)
        time.sleep(self.chance.uniform(0, 0.5))

    def ended(self, within: float = 30) -> int:
        """The exit status; after a fault the job must be over within half a minute."""
        assert self.process is not None
        try:
            self.said = self.process.communicate(timeout=within)[1]
        except subprocess.TimeoutExpired:
            steps = len(self.recorded)
            for pid in (*self.ranks(), self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.communicate()
            raise AssertionError(
                f"not over within {within:g} s: {steps} steps are recorded"
            ) from None
        return self.process.returncode

    def ranks(self) -> list[int]:
        """The processes that compute."""
        assert self.process is not None
        found, below = [], [self.process.pid]
        while below:
            pid = below.pop()
            try:
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                name = Path(f"/proc/{pid}/comm").read_text()
            except FileNotFoundError:
                continue
            below += map(int, children)
            if name.startswith("python"):
                found.append(pid)
        return found

    def middle(self) -> int:
        return self.chance.randint(3, STEPS - 150)

    def killed_at(self, step: int) -> None:
        self.start()
        self.reach(step)
        for pid in self.ranks():
            os.kill(pid, signal.SIGKILL)
        assert self.ended() != 0


def kill_one(t: Trial) -> None:
    t.start()
    t.reach(t.middle())
    os.kill(t.chance.choice(t.ranks()), signal.SIGKILL)
    assert t.ended() != 0


def kill_all(t: Trial) -> None:
    t.killed_at(t.middle())


def terminate(t: Trial) -> None:
    t.start()
    t.reach(t.middle())
    for pid in t.ranks():
        os.kill(pid, signal.SIGTERM)
    assert t.ended() == 75, t.said
    assert "SIGTERM was received: go on with --resume" in t.said


def full_disk(t: Trial) -> None:
    """No file may grow beyond a size that the shard meets at a random step."""
    t.start(ranks=1, limit=t.chance.randint(20_000, 200_000))
    assert t.ended() == 2, t.said
    assert "cannot be written" in t.said, t.said


def truncated(t: Trial) -> None:
    t.killed_at(t.middle())
    shard = sorted((t.run / "shards").glob("*.gsd"))[-1]
    os.truncate(shard, shard.stat().st_size - t.chance.randint(1, 2000))


def corrupted(t: Trial) -> None:
    t.killed_at(t.middle())
    shard = t.chance.choice(sorted((t.run / "shards").glob("*.gsd")))
    with shard.open("r+b") as file:
        file.seek(t.chance.randint(300, shard.stat().st_size // 2))
        file.write(bytes(t.chance.randrange(256) for _ in range(64)))


def twice(t: Trial) -> None:
    t.start()
    t.reach(t.middle() // 2)
    second = subprocess.run(
        (*RUN, "run"), cwd=t.folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 2
    assert "another process is writing" in second.stderr
    assert t.ended() == 0


@dataclass
class Fault:
    """What happens, and whether recorded steps may have to be made anew."""

    act: Callable[[Trial], None]
    damages: bool = False
    good: int = 0
    lost: list[int] = field(default_factory=list)


FAULTS = {
    "SIGKILL of one rank": Fault(kill_one),
    "SIGKILL of all ranks": Fault(kill_all),
    "SIGTERM": Fault(terminate),
    "full disk": Fault(full_disk),
    "last shard cut short": Fault(truncated, damages=True),
    "bytes of a shard overwritten": Fault(corrupted, damages=True),
    "a second run in the directory": Fault(twice),
}


def trial(fault: Fault, whole: bytes, manifest: list[bytes], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        t = Trial(Path(folder), random.Random(seed), whole)
        (t.folder / "x.toml").write_text(CAMPAIGN)
        fault.act(t)
        recorded = t.recorded
        assert recorded == manifest[: len(recorded)], "a step differs from the undisturbed run's"
        t.start()
        kept = len(recorded)
        assert t.ended(within=300) == 0, t.said  # as slow as the machine is
        if fault.damages and "set aside" in t.said:
            fault.lost.append(kept)
        elif not fault.damages:
            assert "set aside" not in t.said, t.said
        assert t.recorded == manifest
        assert (t.run / "run.gsd").read_bytes() == whole, "it ends otherwise"
    fault.good += 1


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--trials", type=int, default=20, help="of each fault (%(default)s)")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", help="faults whose name holds this")
    chosen = options.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as compiled:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled  # most of a trial is compilation
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        sys.exit(try_all(chosen, console))


def try_all(chosen: argparse.Namespace, console: Console) -> bool:
    """All trials; whether one went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.toml").write_text(CAMPAIGN)
        subprocess.run((*RUN, "run"), cwd=folder, check=True, capture_output=True)
        whole = (Path(folder) / "run" / "run.gsd").read_bytes()
        manifest = (Path(folder) / "run" / "manifest.jsonl").read_bytes().split(b"\n")[:-1]
    table = Table("fault", "trials", "ended as the undisturbed run", "shards set aside", box=None)
    failed = False
    for name, fault in FAULTS.items():
        if chosen.only and chosen.only not in name:
            continue
        for k in track(range(chosen.trials), name, console=Console(stderr=True)):
            try:
                trial(fault, whole, manifest, 1000 * chosen.seed + k)
            except AssertionError as error:
                failed = True
                console.print(f"{name}, seed {1000 * chosen.seed + k}: {error}", style="red")
        console.print(f"{name}: {fault.good} of {chosen.trials} ended as the undisturbed run")
        table.add_row(name, str(chosen.trials), str(fault.good), str(len(fault.lost)))
    console.print(table)
    return failed


if __name__ == "__main__":
    main()
