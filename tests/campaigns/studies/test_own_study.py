"""A study of few lines has what every study has: checks, ranks, resume, status, a report."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from amorph import bridge, campaigns, ensemble
from amorph.campaigns.errors import CampaignFileError, RecordError, RunningError, StoppedError
from amorph.campaigns.inputs import plugins
from amorph.campaigns.inputs.plugins import load_plugins
from amorph.campaigns.spread.stopping import Until
from amorph.campaigns.spread.teams import OneRank
from amorph.campaigns.store.durable import locked
from amorph.campaigns.store.parts import Parts
from amorph.campaigns.store.row_files import read_table
from amorph.campaigns.studies import rows, study
from amorph.campaigns.studies.files import parse_campaign
from amorph.handover import InputError, OutputExistsError

PLUGIN = Path(__file__).parent / "energy_against_density.py"
MPIEXEC = shutil.which("mpiexec") or str(Path(sys.executable).parent / "mpiexec")
FILE = """
name = "energies"

[potential]
kind = "soft_sphere"
diameters = [0.8, 1.0]
stiffness = 1.0

[preparation]
n_particles = 24
density = 1.0
seed = 3

[energy]
densities = [1.6, 2.0]
packings = 10
"""


@pytest.fixture(autouse=True, scope="module")
def plugged() -> Iterator[None]:
    """The plug-in, for these tests alone."""
    before, known = dict(plugins._LOADED), dict(study._STUDIES)
    load_plugins(PLUGIN)
    yield
    for registry, kept in ((plugins._LOADED, before), (study._STUDIES, known)):
        registry.clear()
        registry.update(kept)  # type: ignore[call-overload]


def run(directory: Path, text: str = FILE, **settings: Any) -> list[dict[str, Any]]:
    return campaigns.run_campaign(parse_campaign(text, "x"), text, directory, **settings)


@pytest.fixture(scope="module")
def whole(plugged: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("energies") / "run"
    run(directory)
    return directory


def test_it_has_few_lines() -> None:
    assert len(PLUGIN.read_text().splitlines()) < 60


def test_its_rows_are_those_of_its_items(whole: Path) -> None:
    table = read_table(whole / "rows.csv")
    assert table["density"].tolist() == [1.6] * 10 + [2.0] * 10
    task = study.plan(study.registered_studies()["energy"], parse_campaign(FILE, "x"), whole)[0]
    theta, packing = study.registered_studies()["energy"](task).packing(3, density=2.0)  # type: ignore[attr-defined]
    assert packing.n_particles / np.linalg.det(packing.box) == pytest.approx(2.0)
    assert table["energy"][13] == bridge.energy(theta, packing) / 24
    outcome = json.loads((whole / "task.json").read_text())
    assert outcome["summary"] == {"lowest energy": table["energy"].min()}
    assert (outcome["study"], outcome["status"], outcome["rows"]) == ("energy", "done", 20)
    assert not list(whole.glob(".rows*"))


class After(Until):
    """Is to stop when it was asked so often."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def reason(self) -> str | None:
        self.left -= 1
        return "enough" if self.left < 0 else None


def test_it_is_stopped_and_goes_on_where_it_was(whole: Path, tmp_path: Path) -> None:
    for calls, done in ((8, 7), (1, 7), (9, 15)):
        with pytest.raises(StoppedError, match="energies: enough: go on with --resume"):
            run(tmp_path / "run", resume=True, until=After(calls))
        (status,) = campaigns.read_status(tmp_path / "run")
        assert (status.status, status.done, status.total) == ("stopped", done, 20)
    with pytest.raises(OutputExistsError):
        run(tmp_path / "run")
    (outcome,) = run(tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "rows.csv").read_bytes() == (whole / "rows.csv").read_bytes()
    (status,) = campaigns.read_status(tmp_path / "run")
    assert (status.status, status.done, status.ended) == ("done", 20, True)
    # Once more there is nothing to do.
    changed = (tmp_path / "run" / "rows.csv").stat().st_mtime_ns
    assert run(tmp_path / "run", resume=True)[0]["summary"] == outcome["summary"]
    assert (tmp_path / "run" / "rows.csv").stat().st_mtime_ns == changed
    with pytest.raises(RecordError, match="another campaign file"):
        run(tmp_path / "run", FILE.replace("= 10", "= 9"), resume=True)


def test_rows_that_come_in_any_order_stand_in_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "ROWS_TOGETHER", 4)

    class Backwards(OneRank):
        def each(self, function: Any, shared: Any, items: Any, *, stopping: Any = None) -> Any:
            order = [3, 2, 9, 0, 1, 8, 7, 4, 6, 5]
            yield from ((k, function(shared, items[k])) for k in order)

    team, table = Backwards(), tmp_path / "t.csv"
    made = list(range(100, 110))
    with Parts(table, {}) as parts:
        rows.compute_rows(parts, squared, None, made, team, "x", lambda done, total: None)
        found = [row["square"] for several in parts.rows() for row in several]
    assert found == [k * k for k in made]


def squared(shared: None, item: int) -> dict[str, Any]:
    return {"square": item * item, "failure": ""}


def test_one_process_at_a_time(whole: Path) -> None:
    with locked(whole), pytest.raises(RunningError, match="another process"):
        run(whole, resume=True)


def test_a_row_that_cannot_be_computed_says_why(tmp_path: Path) -> None:
    text = FILE.replace("[1.6, 2.0]", "[1.6, -1.0]").replace("packings = 10", "packings = 2")
    (outcome,) = run(tmp_path / "run", text)
    assert outcome["status"] == "done"
    assert outcome["message"].startswith("2 of 4 rows failed, the first because of CampaignFile")
    table = pandas.read_csv(tmp_path / "run" / "rows.csv")
    assert table["failure"].isna().tolist() == [True, True, False, False]
    (outcome,) = run(tmp_path / "none", text.replace("[1.6, ", "["))
    assert outcome["status"] == "failed"
    assert "greater than 0" in outcome["message"]


def test_a_sweep_is_several_tasks_with_one_report(tmp_path: Path) -> None:
    text = (
        FILE.replace("packings = 10", "packings = 2") + '\n[sweep]\n"preparation.seed" = [1, 2]\n'
    )
    first, second = run(tmp_path / "run", text)
    assert first["swept"] == {"preparation.seed": 1}
    assert first["summary"] != second["summary"]
    assert len(json.loads((tmp_path / "run" / "summary.json").read_text())["tasks"]) == 2
    page = campaigns.write_report(tmp_path / "run").read_text()
    assert "Mean energy a particle against density.; 8 rows of 2 of 2 tasks" in page
    assert (tmp_path / "run" / "figures" / "energy.png").stat().st_size > 1000
    assert page.count("<figure>") == 1


def test_files_are_checked_before_work(tmp_path: Path) -> None:
    for old, new, message in (
        ("packings = 10", "packing = 10", "did you mean 'packings'"),
        (
            "[energy]",
            "[energie]",
            r"\[gradient\], \[kinetics\], \[prune\], \[respond\], \[energy\] is missing",
        ),
        ('kind = "soft_sphere"', 'kind = "soft_spheres"', "did you mean 'soft_sphere'"),
        ("[energy]", "[gradient]\n[energy]", r"has \[gradient\] and \[energy\]"),
    ):
        with pytest.raises(CampaignFileError, match=message):
            run(tmp_path / "run", FILE.replace(old, new))
    with pytest.raises(InputError, match="every file has that"):
        study.register_study(type("X", (study.registered_studies()["energy"],), {"table": "sweep"}))


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def commanded(tmp_path_factory: pytest.TempPathFactory, amorph: Command) -> Path:
    """The folder of a file, its plug-in and its run, by the command: JAX has one thread there."""
    folder = tmp_path_factory.mktemp("commanded")
    (folder / "e.toml").write_text('plugins = ["energy_against_density.py"]\n' + FILE)
    shutil.copy(PLUGIN, folder)
    done = amorph("run", "e.toml", "-o", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout
    return folder


def test_the_commands_know_it(whole: Path, commanded: Path, amorph: Command) -> None:
    tmp_path = commanded
    one, other = (read_table(path / "rows.csv") for path in (whole, commanded / "run"))
    np.testing.assert_allclose(one["energy"], other["energy"], rtol=1e-12)
    done = amorph("status", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert "--plugin run/plugins/energy_against_density.py" in done.stderr
    named = ("--plugin", "run/plugins/energy_against_density.py")
    told = json.loads(amorph("status", "run", "--json", *named, cwd=tmp_path).stdout)
    assert (told["study"], told["tasks"][0]["done"]) == ("energy", 20)
    assert "20 of 20" in amorph("status", "run", *named, cwd=tmp_path).stdout
    assert amorph("report", "run", *named, cwd=tmp_path).returncode == 0
    assert "lowest energy" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.skipif(not Path(MPIEXEC).exists(), reason="there is no mpiexec")
def test_ranks_killed_and_resumed_give_the_same_rows(commanded: Path, tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    (tmp_path / "e.toml").write_text(FILE)
    command = [
        *(MPIEXEC, "-n", "2", sys.executable, "-m", "amorph", "run", "e.toml", "-o", "run"),
        *("--resume", "--plugin", str(PLUGIN)),
    ]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}  # as `amorph` has it
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    kept = tmp_path / "run" / ".rows.csv.parts"
    until = time.monotonic() + 120
    while not (list(kept.glob("0*.jsonl")) or (tmp_path / "run" / "rows.csv").exists()):
        assert process.poll() is None or (tmp_path / "run" / "rows.csv").exists()
        assert time.monotonic() < until
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    made = (tmp_path / "run" / "rows.csv").read_bytes()
    assert made == (commanded / "run" / "rows.csv").read_bytes()


def test_a_kill_after_the_table_is_whole_costs_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_directory = tmp_path / "run"
    shutil.copytree(whole, run_directory)
    computed: list[int] = []
    kind = study.registered_studies()["energy"]
    own = kind.row  # type: ignore[attr-defined]
    monkeypatch.setattr(kind, "row", lambda self, item: computed.append(item) or own(self, item))

    class Killed(BaseException):
        pass

    def killed(self: Parts) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "remove", killed)
        with pytest.raises(Killed):
            run(tmp_path / "other")
    assert len(computed) == 20
    (outcome,) = run(tmp_path / "other", resume=True)
    assert len(computed) == 20
    assert outcome["status"] == "done"
    assert not list((tmp_path / "other").glob(".rows*"))


def test_how_fast_it_goes_is_told(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        run(tmp_path / "run", until=After(8))
    kept = tmp_path / "run" / "task.json"
    outcome = json.loads(kept.read_text())
    assert outcome["done"] == 7
    # As it is while the rest is computed: what was found is not counted, what is new is.
    kept.write_text(json.dumps({**outcome, "status": "running", "done": 2}))
    os.utime(kept, (time.time() - 100, time.time() - 100))
    with locked(tmp_path / "run"):
        (status,) = campaigns.read_status(tmp_path / "run")
    assert status.per_second == pytest.approx(0.05, rel=0.2)
    assert status.seconds_left == pytest.approx(260, rel=0.2)


def test_a_file_to_start_from_may_not_change_meanwhile(tmp_path: Path) -> None:
    theta = bridge.SoftSphere([0.8, 1.0], 1.0)
    file = tmp_path / "s.gsd"
    ensemble.quench(theta, 24, 2.0, 2, 3, seed=1).write(file)
    preparation = f'[preparation]\nstart = "file"\nfile = "{file}"\n'
    text = FILE.split("[preparation]")[0] + preparation
    text += "[energy]\npackings = 2\ndensities = [2.0]"
    (outcome,) = run(tmp_path / "one", text)
    assert outcome["status"] == "failed"
    assert "density is the file's own" in outcome["message"]
    ensemble.quench(theta, 24, 2.0, 2, 3, seed=2).write(file, overwrite=True)
    with pytest.raises(RecordError, match=r"s\.gsd: is not what the run .* was started with"):
        run(tmp_path / "one", text, resume=True)


@pytest.mark.skipif(not Path(MPIEXEC).exists(), reason="there is no mpiexec")
def test_what_cannot_be_sent_to_ranks_ends_them_all(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    script = tmp_path / "s.py"
    script.write_text(
        "from amorph.campaigns.spread.ranks import world\n"
        "ranks = world()\n"
        "if ranks.is_root:\n"
        "    try:\n"
        "        ranks.map(abs, lambda: 0, [1, 2])\n"
        "    finally:\n"
        "        ranks.dismiss()\n"
        "else:\n"
        "    ranks.serve()\n"
    )
    command = [MPIEXEC, "-n", "2", sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "pickle" in done.stderr
