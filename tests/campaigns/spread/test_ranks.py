"""Work over MPI ranks: order, errors by name, groups; campaigns do not depend on their number."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from amorph import bridge, ensemble
from amorph.campaigns.spread.ranks import world
from amorph.campaigns.spread.teams import OneRank
from amorph.campaigns.studies.design.validation import read_validations
from amorph.campaigns.studies.status import read_status
from amorph.handover import InputError

pytest.importorskip("mpi4py")
MPIEXEC = shutil.which("mpiexec") or str(Path(sys.executable).parent / "mpiexec")
if not Path(MPIEXEC).exists():
    pytest.skip("there is no mpiexec", allow_module_level=True)


AMORPH = (sys.executable, "-m", "amorph", "run", "x.toml", "--resume", "-o")


def run(ranks: int, *command: str, cwd: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    if ranks > 1:
        command = (MPIEXEC, "-n", str(ranks), *command)
    environment = {**os.environ, "NPROC": "1"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done


WORK = """
import os, signal, sys, time, warnings
from amorph.handover import InputError
from amorph.campaigns.spread.ranks import MPIRanks, world

def square(shared, item):
    time.sleep(0.02 * (item == 0))
    return shared, item**2, os.getpid()

def refuse(shared, item):
    if item in (3, 5):
        raise InputError(f"item {item}")
    return item

def nested(shared, item, group):
    return group.size, [s for _, s, _ in group.map(square, None, range(item, item + 3))]

def warned(shared, item):
    if os.environ["PMI_RANK"] != "0":
        warnings.warn(f"odd {item % 2}")
    return item

def interrupted(shared, item):
    if item == shared:
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    return item

def break_down(shared, item):
    if item == 4:
        raise KeyError("no name for this")
    time.sleep(60)

ranks = world()
what = sys.argv[1]
if what == "agree":
    ranks.agree(None)
    try:
        ranks.agree(None if ranks.is_root else InputError("not here"))
    except InputError as error:
        print(error)
if what == "groups":
    leaders, group = ranks.divided(2)
    if leaders is None:
        group.serve()
    else:
        if leaders.is_root:
            for size, found in leaders.map(nested, None, range(5)):
                print(size, found)
            leaders.dismiss()
        else:
            leaders.serve()
        group.dismiss()
elif not ranks.is_root:
    ranks.serve()
elif what == "warn":
    assert ranks.map(warned, None, range(8)) == list(range(8))
    ranks.dismiss()
elif what.startswith("interrupt"):
    from amorph.campaigns.errors import InterruptError
    try:
        ranks.map(interrupted, int(what[9:]), range(9))
    except InterruptError as error:
        print(error)
    ranks.dismiss()
elif what == "agree":
    pass
elif what == "map":
    for _ in range(3):
        found = ranks.map(square, "told", range(40))
        assert [f[:2] for f in found] == [("told", k**2) for k in range(40)]
    print(len({f[2] for f in found}))
    assert ranks.map(square, 0, []) == []
    try:
        ranks.map(refuse, None, range(8))
    except InputError as error:
        print(error)
    ranks.dismiss()
else:
    ranks.map(break_down, None, range(5))
"""


@pytest.fixture
def work(tmp_path: Path) -> str:
    (tmp_path / "work.py").write_text(WORK)
    return str(tmp_path / "work.py")


def test_all_ranks_work_and_results_keep_their_order(tmp_path: Path, work: str) -> None:
    done = run(3, sys.executable, work, "map", cwd=tmp_path)
    assert done.stdout.split("\n")[:2] == ["3", "item 3"]


def test_groups(tmp_path: Path, work: str) -> None:
    done = run(3, sys.executable, work, "groups", cwd=tmp_path)
    lines = done.stdout.strip().split("\n")
    assert [line.split(" ", 1)[1] for line in lines] == [
        str([k**2, (k + 1) ** 2, (k + 2) ** 2]) for k in range(5)
    ]
    assert {line.split(" ", 1)[0] for line in lines} <= {"1", "2"}


def test_what_other_ranks_warn_of_is_said_once_by_the_root(tmp_path: Path, work: str) -> None:
    done = run(3, sys.executable, work, "warn", cwd=tmp_path)
    said = [x.partition("UserWarning: ")[2] for x in done.stderr.splitlines() if "odd" in x]
    assert sorted(s for s in said if s) == ["odd 0", "odd 1"]


@pytest.mark.parametrize("item", [0, 1, 4])
def test_an_interrupt_of_any_rank_ends_all_together(item: int, tmp_path: Path, work: str) -> None:
    """Of the root's first item, another rank's, and a later one; none leaves the others waiting."""
    done = run(2, sys.executable, work, f"interrupt{item}", cwd=tmp_path)
    assert done.stdout == "interrupted; what was finished is on disk: go on with --resume.\n"
    assert done.stderr == ""


def test_an_error_of_any_rank_is_told_by_the_root(tmp_path: Path, work: str) -> None:
    done = run(3, sys.executable, work, "agree", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("rank 1: not here\n", "")


def test_an_error_without_a_name_ends_the_job_at_once(tmp_path: Path, work: str) -> None:
    """Though others would have worked for a minute."""
    command = (MPIEXEC, "-n", "2", sys.executable, work, "break")
    script = WORK.replace("time.sleep(60)", "time.sleep(60 if item else 0.1)")
    (tmp_path / "work.py").write_text(script.replace("item == 4", "item == 1"))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=40)
    assert done.returncode != 0
    assert "no name for this" in done.stderr


def test_one_rank() -> None:
    ranks = OneRank()
    assert ranks.map(pow, 2, range(5)) == [1, 2, 4, 8, 16]

    def refuse(_: None, item: int) -> int:
        if item > 1:
            raise InputError(f"item {item}")
        return item

    with pytest.raises(InputError, match="item 2"):
        ranks.map(refuse, None, range(5))


def test_ranks_that_do_not_see_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "64")
    with pytest.raises(InputError, match="one of 64 processes, but MPI sees one"):
        world()


HEAD = """
[potential]
kind = "harmonic_morse"
diameters = [0.8, 1.0]
binding = 0.1
stiffness = 5.0
alpha = 10.0

[[objective]]
feature = "poisson_ratio"
target = 0.45

[stop]
loss = 1e-12
steps = 6

[preparation]
n_particles = 48
density = 1.4
seed = 6
"""
ENSEMBLE = (
    HEAD
    + """
[design]
kind = "ensemble"
packings = 5
parameters = ["diameters", "binding"]
gradient_limit = 10

[[validation]]
packings = 20
[[validation]]
packings = 6
n_particles = 64
every = 3
"""
)
FARM = (
    HEAD.replace("loss = 1e-12", "loss = 2e-3")  # which one of them touches, and goes on from
    + """
replicas = 2

[design]
packings = 2
parameters = ["diameters", "binding"]

[sweep]
"objective.0.target" = [0.4, 0.5]
"""
)


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("ensemble", (1, 3)),
        ("farm", (1, 2)),
        pytest.param("ensemble", (1, 2, 3), marks=pytest.mark.slow),
        pytest.param("farm", (1, 2, 5), marks=pytest.mark.slow),
    ],
)
def test_results_do_not_depend_on_the_number_of_ranks(
    kind: str, sizes: tuple[int, ...], tmp_path: Path
) -> None:
    (tmp_path / "x.toml").write_text(ENSEMBLE if kind == "ensemble" else FARM)
    for ranks in sizes:
        run(ranks, *AMORPH, str(ranks), cwd=tmp_path)
    files = sorted(p.relative_to(tmp_path / "1") for p in (tmp_path / "1").rglob("run.gsd"))
    assert len(files) == (1 if kind == "ensemble" else 4)
    contents = {(tmp_path / "1" / file).read_bytes() for file in files}
    assert len(contents) == len(files), "they are different designs"
    for ranks in sizes[1:]:
        for file in files:
            one, other = ((tmp_path / str(k) / file).read_bytes() for k in (1, ranks))
            assert one == other, (file, ranks)
    if kind == "farm":
        told = [
            [json.loads(p.read_text()) for p in sorted((tmp_path / str(k)).glob("*/design.json"))]
            for k in sizes
        ]
        found = [
            [(d["status"], d["below"], d["confirmation"]) for d in designs] for designs in told
        ]
        assert all(f == found[0] for f in found)
        assert any(c is not None for _, _, c in found[0])
    if kind == "ensemble":
        kept = [list(read_validations(tmp_path / str(k))) for k in sizes]
        assert all(k == kept[0] for k in kept)
        assert [(v.step, v.n_particles) for v in kept[0]] == [(0, 64), (3, 64), (6, 48), (6, 64)]


def test_frames_are_analysed_by_ranks_as_by_one(tmp_path: Path) -> None:
    theta = bridge.HarmonicMorse([0.8, 1.0], 0.1, 5.0, 10.0)
    ensemble.quench(theta, 48, 1.4, 2, 7, seed=3).write(tmp_path / "p.gsd")
    command = (sys.executable, "-m", "amorph", "analyze", "p.gsd", "--features", "pressure", "-o")
    run(1, *command, "one.csv", "--workers", "1", cwd=tmp_path)
    run(2, *command, "two.csv", cwd=tmp_path)
    assert (tmp_path / "two.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    done = run(2, *command, "no.csv", "--workers", "2", cwd=tmp_path, status=2)
    assert done.stderr.count("under mpiexec ranks compute") == 1


def test_faults_are_told_once(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(HEAD)
    done = run(2, *AMORPH, "out", "--minutes", "-1", cwd=tmp_path, status=2)
    assert done.stderr == "amorph: --minutes -1: give a number of minutes above 0.\n"
    done = run(2, *AMORPH, "out", cwd=tmp_path, status=2)
    assert done.stderr.count("says of no study what it is") == 1
    assert not (tmp_path / "out").exists()


def frames_on_disk(directory: Path) -> int:
    manifest = directory / "manifest.jsonl"
    return manifest.read_bytes().count(b"\n") if manifest.exists() else 0


# Records come to the disk twice a second, dozens of steps at a time: three faults have to fit in.
STEPS = 150
LONG = ENSEMBLE.replace("steps = 6", f"steps = {STEPS}").split("[[validation]]")[0]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What one rank makes of the campaign, undisturbed."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "x.toml").write_text(LONG)
    run(1, *AMORPH, "one", cwd=folder)
    return (folder / "one" / "run.gsd").read_bytes()


@pytest.mark.parametrize(
    "faults",
    [
        ("rank",),
        pytest.param(("SIGTERM", "rank", "SIGINT"), marks=pytest.mark.slow),
        pytest.param(("SIGUSR1", "all"), marks=pytest.mark.slow),
    ],
)
def test_stopped_and_killed_under_mpiexec_and_resumed(
    faults: tuple[str, ...], alone: bytes, tmp_path: Path
) -> None:
    """Signals end it between two steps, a rank's death at once; what resumes ends as one rank's."""
    (tmp_path / "x.toml").write_text(LONG)
    for what in faults:
        # Ranks that are at work: more is recorded than they found.
        frames = frames_on_disk(tmp_path / "two") + 5
        process = subprocess.Popen(
            (MPIEXEC, "-n", "2", *AMORPH, "two"),
            cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while frames_on_disk(tmp_path / "two") < frames:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        if what.startswith("SIG"):
            for rank in ranks_of(process.pid):
                os.kill(rank, getattr(signal, what))
        else:
            for rank in ranks_of(process.pid)[: 1 if what == "rank" else None]:
                os.kill(rank, signal.SIGKILL)
        said = process.communicate(timeout=30)[1]
        if what == "SIGINT":
            assert process.returncode == 130, said
            assert (
                said == "amorph: interrupted; what was finished is on disk: go on with --resume.\n"
            )
        elif what.startswith("SIG"):
            assert process.returncode == 75, said
            assert f"{what} was received: go on with --resume" in said
        if what.startswith("SIG"):
            assert frames <= frames_on_disk(tmp_path / "two") <= STEPS
            assert read_status(tmp_path / "two")[0].status == "stopped"
        else:
            assert process.returncode != 0
            assert read_status(tmp_path / "two")[0].status == "killed"
    run(2, *AMORPH, "two", cwd=tmp_path)
    assert not [p for p in (tmp_path / "two").rglob("*") if ".partial" in p.name]
    assert (tmp_path / "two" / "run.gsd").read_bytes() == alone


def ranks_of(mpiexec: int) -> list[int]:
    """The Python processes below mpiexec."""
    found = []
    below = [mpiexec]
    while below:
        process = below.pop()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        below += map(int, children)
        if "amorph" in Path(f"/proc/{process}/cmdline").read_text().split("\0"):
            found.append(process)
    return [p for p in found if p != mpiexec and "mpiexec" not in _name(p)]


def _name(process: int) -> str:
    return Path(f"/proc/{process}/comm").read_text()


def test_time_is_over(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(ENSEMBLE)
    done = run(1, *AMORPH, "out", "--minutes", "0.0001", cwd=tmp_path, status=75)
    assert "its time is over: go on with --resume" in done.stderr
    done = run(1, *AMORPH, "out", cwd=tmp_path)
    assert "step_limit" in done.stdout
