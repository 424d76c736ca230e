"""Plug-ins: what they register, where they are honoured, what a run keeps of them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest

from amorph import bridge, ensemble
from amorph.bridge.features.registry import FEATURES
from amorph.bridge.matter.registered import POTENTIAL_CLASSES
from amorph.campaigns.cli import main, options
from amorph.campaigns.errors import CampaignFileError, PluginError, RecordError
from amorph.campaigns.inputs import plugins
from amorph.campaigns.inputs.plugins import load_plugins
from amorph.campaigns.studies.files import load_campaign, load_preparation, study_called
from amorph.campaigns.studies.running import prepare_directory

PLUGIN = '''
import jax.numpy as jnp
from amorph import bridge


class Shoulder(bridge.PairPotential):
    parameters = ("stiffness", bridge.Parameter("height", zero_allowed=True, high=2.0))
    cutoff_in_sigma = 1.4

    @staticmethod
    def pair_energy(r, pair):
        core = jnp.maximum(1 - r / pair["sigma"], 0.0)
        step = 1 - r / (1.4 * pair["sigma"])
        return 0.5 * pair["stiffness"] * core**2 + pair["height"] * step**3


@bridge.feature(symbol="δ", units="length", source="here")
def plugged_gap(theta, state):
    """The mean gap."""
    return bridge.pair_mean(theta, state, lambda pair: pair.distance - pair.sigma)


@bridge.feature(scalar=True)
def plugged_list(theta, state):
    return jnp.ones(3)
'''  # fmt: skip

CAMPAIGN = """
plugins = ["shoulder.py"]

[potential]
kind = "shoulder"
diameters = [0.8, 1.0]
stiffness = 5.0
height = 1.0

[preparation]
n_particles = 32
density = 1.6
seed = 1

[design]
parameters = ["diameters", "height"]

[[objective]]
feature = "plugged_gap * 2"
target = 0.3

[stop]
steps = 8
loss = 1e-12
"""


@pytest.fixture(autouse=True)
def registries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave what is registered in this process as it was."""
    kept: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (d, dict(d)) for d in (FEATURES, POTENTIAL_CLASSES, plugins._LOADED)
    ]
    yield
    for registry, before in kept:
        registry.clear()
        registry.update(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shoulder.py").write_text(PLUGIN)
    (tmp_path / "x.toml").write_text(CAMPAIGN)
    return tmp_path


def test_a_campaign_runs_the_plugins_that_it_names(folder: Path) -> None:
    campaign = load_campaign(folder / "x.toml")
    assert campaign.potential.theta().potential == "shoulder"
    assert campaign.bounds_of("height") == (0.0, 2.0)
    assert campaign.components("height") == ["AA", "AB", "BB"]
    assert bridge.feature("plugged_gap").symbol == "δ"
    again = load_plugins(folder / "shoulder.py")
    assert again == plugins.loaded()[-1:]
    # A changed one takes the place of the first.
    (folder / "shoulder.py").write_text(PLUGIN.replace("δ", "g"))
    load_plugins(folder / "shoulder.py")
    assert bridge.feature("plugged_gap").symbol == "g"


def test_what_is_not_named_is_not_run(folder: Path) -> None:
    (folder / "x.toml").write_text(CAMPAIGN.replace('plugins = ["shoulder.py"]', ""))
    with pytest.raises(CampaignFileError, match=r"unknown kind 'shoulder'.*plugins = \['FILE'\]"):
        load_campaign(folder / "x.toml")
    assert "shoulder" not in POTENTIAL_CLASSES
    load_campaign(folder / "x.toml", plugins=[folder / "shoulder.py"])


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('"plugged_gap * 2"', '"plugged_list"', r"'plugged_list' gives shape \(3,\)"),
        ('"plugged_gap * 2"', '"elastic_constants[6] * 1"', r"component \[6\] of 'elastic_constan"),
        ('"plugged_gap * 2"', '"plugged_gap * "', "cannot be read .* at character 15"),
        ('"plugged_gap * 2"', '"plugged_gab * 2"', "at character 1: there is no feature 'plu"),
        ('"plugged_gap * 2"', '"coordination * 2"', "no differentiable scalar"),
        ("height = 1.0", "height = 3.0", "'height', element 0 is 3.0: .* at most 2"),
        ("height = 1.0", "heigth = 1.0", "no parameter 'heigth'; did you mean 'height'"),
        ("diameters = [0.8, 1.0]\n", "", "'diameters' is missing"),
        ('["diameters", "height"]', '["alpha"]', "unknown parameter 'alpha'"),
        ("[stop]", "[design.bounds]\nheight = [0.0, 3.0]\n[stop]", "must be finite and at least 0"),
        ('"shoulder.py"', '"other.py"', "other.py: there is no such file"),
        ('"shoulder.py"', "3", "plugins.0: = 3"),
    ],
)  # fmt: skip
def test_faults_are_named_before_work(folder: Path, old: str, new: str, match: str) -> None:
    assert old in CAMPAIGN
    (folder / "x.toml").write_text(CAMPAIGN.replace(old, new))
    with pytest.raises((CampaignFileError, PluginError), match=match):
        load_campaign(folder / "x.toml", plugins=[folder / "shoulder.py"])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("x = 1 +", r"bad.py, line 1: is no Python"),
        ("\n\nx = 1 / 0", r"bad.py, line 3: ZeroDivisionError"),
        ("import no_such_thing", "No module named 'no_such_thing'. A plug-in is one file"),
        ("raise SystemExit", "bad.py, line 1: SystemExit"),
        (
            "from amorph import bridge\nbridge.feature(name='pressure')(lambda t, s: 0.0)",
            "line 2: there is a feature 'pressure' already",
        ),
    ],
)
def test_a_plugin_that_fails_is_named_with_its_line(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(PluginError, match=match):
        load_plugins(tmp_path / "bad.py")
    assert "bad.py" not in [p.name for p in plugins.loaded()]


def test_files_that_are_no_plugins(tmp_path: Path) -> None:
    (tmp_path / "my plugin.py").write_text("")
    (tmp_path / "latin.py").write_bytes("# é".encode("latin-1"))
    (tmp_path / "folder.py").mkdir()
    for name, match in (
        ("my plugin.py", "letters, digits and underscores"),
        ("latin.py", "is not UTF-8"),
        ("folder.py", "is no file"),
        ("none.py", "no such file"),
    ):
        with pytest.raises(PluginError, match=match):
            load_plugins(tmp_path / name)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "twice.py").write_text("x = 1")
    (tmp_path / "twice.py").write_text("x = 2")
    with pytest.raises(PluginError, match=r"another plug-in is called twice\.py"):
        load_plugins([tmp_path / "a" / "twice.py", tmp_path / "twice.py"])


def test_a_run_keeps_its_plugins_and_goes_on_with_no_other(folder: Path) -> None:
    out, file = folder / "out", folder / "shoulder.py"
    load_campaign(folder / "x.toml")
    prepare_directory(out, CAMPAIGN, study_called("design"), resume=False)
    assert (out / "plugins" / "shoulder.py").read_text() == PLUGIN
    (listed,) = json.loads((out / "plugins.json").read_text())["plugins"]
    assert listed["name"] == "shoulder.py"
    # The kept one serves where the file is gone.
    file.unlink()
    load_campaign(folder / "x.toml", kept=out)
    prepare_directory(out, CAMPAIGN, study_called("design"), resume=True)
    file.write_text(PLUGIN + "\n")
    with pytest.raises(RecordError, match=r"shoulder\.py is not the file that the run was started"):
        load_campaign(folder / "x.toml", kept=out)
    load_plugins(file)
    with pytest.raises(RecordError, match=r"shoulder\.py is not the plug-in that the run was st"):
        prepare_directory(out, CAMPAIGN, study_called("design"), resume=True)
    (out / "plugins" / "shoulder.py").write_text("x = 1")
    with pytest.raises(RecordError, match=r"is not what the run was started with, by its checksum"):
        load_campaign(folder / "x.toml", kept=out)
    plugins._LOADED.clear()
    (out / "plugins" / "shoulder.py").write_text(PLUGIN)
    with pytest.raises(RecordError, match=r"the plug-in shoulder\.py, not named now"):
        prepare_directory(out, CAMPAIGN, study_called("design"), resume=True)


def test_an_installed_plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "own_plugin-1.2.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: own-plugin\nVersion: 1.2\n")
    (package / "entry_points.txt").write_text("[amorph.plugins]\nown = own_plugin_module\n")
    (tmp_path / "own_plugin_module.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    plugins.run_installed()
    assert plugins.loaded()[-1] == plugins.Plugin(
        "own", "own-plugin 1.2", None, "own_plugin_module"
    )
    assert "plugged_gap" in FEATURES
    plugins._LOADED.clear()
    with pytest.raises(PluginError, match=r"'other' .* is not installed here"):
        plugins.run_all([plugins.Plugin("other", "other 1.0")])
    sys.modules.pop("own_plugin_module")


def test_a_preparation_may_name_plugins(folder: Path) -> None:
    text = CAMPAIGN.split("[design]")[0]
    (folder / "p.toml").write_text(text)
    assert load_preparation(folder / "p.toml").potential.theta().potential == "shoulder"


def test_features_lists_all_there_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["features", "--plugin", str(folder / "shoulder.py"), "--json"])
    assert not end.value.code
    rows = {r["name"]: r for r in json.loads(capsys.readouterr().out)["features"]}
    assert {"bulk_modulus", "psi_{k}", "steinhardt_{l}_averaged"} <= set(rows)
    own = rows["plugged_gap"]
    assert (own["symbol"], own["units"], own["source"]) == ("δ", "length", "here")
    assert rows["bulk_modulus"]["units"] == "energy / length^d"
    assert rows["psi_8_sharp"]["gradient"] == "no"


def test_names_are_divided_outside_of_brackets() -> None:
    text = "pressure, elastic_tensor[0,0, 1,1] / 2,sqrt(pressure)"
    assert options.names_of(text) == ["pressure", "elastic_tensor[0,0, 1,1] / 2", "sqrt(pressure)"]


def frames_on_disk(directory: Path) -> int:
    manifest = directory / "manifest.jsonl"
    return manifest.read_bytes().count(b"\n") if manifest.exists() else 0


@pytest.mark.slow
def test_on_two_ranks_killed_and_resumed_it_ends_as_alone(folder: Path, amorph: Any) -> None:
    pytest.importorskip("mpi4py")
    mpiexec = shutil.which("mpiexec") or str(Path(sys.executable).parent / "mpiexec")
    if not Path(mpiexec).exists():
        pytest.skip("there is no mpiexec")
    text = CAMPAIGN.replace("[design]", "[design]\npackings = 2")
    text = text.replace("steps = 8", "steps = 100")  # some seconds: it is to be caught at work
    (folder / "x.toml").write_text(text)
    run = (sys.executable, "-m", "amorph", "run", "x.toml", "--resume", "-o")
    environment = {**os.environ, "NPROC": "1"}
    subprocess.run((*run, "one"), cwd=folder, env=environment, check=True, timeout=300)
    process = subprocess.Popen(
        (mpiexec, "-n", "2", *run, "two"),
        cwd=folder, env=environment, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 200
    while frames_on_disk(folder / "two") < 4:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert frames_on_disk(folder / "two") < 101
    (folder / "shoulder.py").unlink()  # its copy serves
    for _ in range(50):  # ranks outlive mpiexec for a moment
        done = subprocess.run(
            (mpiexec, "-n", "2", *run, "two"),
            cwd=folder, env=environment, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        if "another process is writing" not in done.stderr:
            break
        time.sleep(0.2)
    assert done.returncode == 0, done.stderr
    assert (folder / "two" / "run.gsd").read_bytes() == (folder / "one" / "run.gsd").read_bytes()
    told = amorph("status", "two", cwd=folder)
    assert told.returncode == 2
    assert "give --plugin two/plugins/shoulder.py" in told.stderr
    told = amorph("status", "two", "--plugin", "two/plugins/shoulder.py", cwd=folder)
    assert "1 of 1 designs have ended" in told.stdout


def test_workers_run_the_plugins_of_their_parent(folder: Path, amorph: Any) -> None:
    load_plugins(folder / "shoulder.py")
    theta = bridge.from_arrays(
        "shoulder", {"diameters": [0.8, 1.0], "stiffness": 5.0, "height": 1.0}
    )
    made = list(bridge.packings_of(ensemble.quench(theta, 32, 1.6, 2, 2, seed=1, threads=1)))
    bridge.write_gsd(folder / "p.gsd", made)
    done = amorph(
        "analyze", "p.gsd", "--plugin", "shoulder.py", "--features", "plugged_gap*2,energy",
        "--workers", "2", "-o", "p.csv", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = pandas.read_csv(folder / "p.csv")
    for (theta, packing), gap in zip(made, found["plugged_gap*2"], strict=True):
        at_rest = bridge.relax(theta, packing)
        expected = 2 * bridge.feature("plugged_gap")(theta, at_rest)
        assert gap == pytest.approx(expected, rel=1e-9)
