"""The command line, as a user meets it."""

import json
from pathlib import Path

import numpy as np
import pandas
import pytest

from amorph import bridge, ensemble
from amorph.campaigns import cli
from amorph.campaigns.cli import doctor

MORSE = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0)

PREPARATION = """
name = "three of 48"

[potential]
kind = "harmonic_morse"
diameters = [0.8, 1.0]
binding = 0.1
stiffness = 5.0
alpha = 6.0

[preparation]
n_particles = 48
density = 1.6
replicas = 3
seed = 5
"""


def succeeds(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 0


@pytest.fixture(scope="module")
def quench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quench")
    (folder / "p.toml").write_text(PREPARATION)
    succeeds(["prepare", str(folder / "p.toml"), "-o", str(folder / "q.gsd")])
    return folder / "q.gsd"


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err.replace("\n", " ")


def test_prepare_writes_the_ensemble_of_the_file(quench: Path) -> None:
    batch = ensemble.quench(MORSE, 48, 1.6, 2, 3, 5)
    for k, (theta, packing) in enumerate(bridge.read_gsd(quench)):
        np.testing.assert_array_equal(packing.positions, batch.positions[k])
        assert theta.arrays()["binding"].tolist() == [0.1] * 3
    assert k == 2


def test_analyze_writes_a_row_a_frame(quench: Path, tmp_path: Path) -> None:
    features = "poisson_ratio,pressure,elastic_tensor,lowest_frequencies"
    for ending in ("json", "csv", "parquet"):
        out = tmp_path / f"a.{ending}"
        succeeds(
            f"analyze {quench} --frames 1: -o {out} "
            f"--features {features} --gradients poisson_ratio".split()
        )
    rows = json.loads((tmp_path / "a.json").read_text())["frames"]
    assert [r["frame"] for r in rows] == [1, 2]
    frames = list(bridge.read_gsd(quench))
    for row in rows:
        theta, packing = frames[row["frame"]]
        rest = bridge.relax(theta, packing)
        nu, slope = bridge.value_and_grad(bridge.poisson_ratio)(theta, rest)
        assert row["poisson_ratio"] == pytest.approx(nu, rel=1e-12)
        np.testing.assert_allclose(
            row["gradients"]["poisson_ratio"]["diameters"], slope.diameters, rtol=1e-10
        )
        assert np.shape(row["elastic_tensor"]) == (2, 2, 2, 2)
        assert len(row["lowest_frequencies"]) == 18
        assert row["status"] == "ok"
    for table in (
        pandas.read_csv(tmp_path / "a.csv"),
        pandas.read_parquet(tmp_path / "a.parquet"),
    ):
        np.testing.assert_allclose(
            table["poisson_ratio"], [r["poisson_ratio"] for r in rows], rtol=1e-14
        )
        np.testing.assert_allclose(
            table["elastic_tensor_0_1_0_1"], [r["elastic_tensor"][0][1][0][1] for r in rows]
        )


def test_a_frame_that_cannot_be_measured_is_named_and_the_others_go_on(
    quench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soft = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
    loose = bridge.Packing.of([[0.0, 0.0], [2.0, 1.0]], [0, 0], np.eye(2) * 6.0)
    held = ensemble.quench(soft, 40, 1.3, 2, 1, 1)
    tight = bridge.Packing.of(held.positions[0], held.typeid, held.boxes[0])
    path = tmp_path / "mixed.gsd"
    bridge.write_gsd(path, [(soft, loose), (soft, tight)])
    succeeds(["analyze", str(path), "--features", "pressure", "-o", str(tmp_path / "a.json")])
    rows = json.loads((tmp_path / "a.json").read_text())["frames"]
    assert [r["status"] for r in rows] == ["SingularHessianError", "ok"]
    assert "pressure" not in rows[0]
    assert rows[1]["pressure"] > 0
    assert "below jamming" in capsys.readouterr().err.replace("\n", " ")


def test_bad_input_is_refused_before_work(
    quench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "o.json")
    assert "poisson_ratio" in fails(
        ["analyze", str(quench), "--features", "poison_ratio", "-o", out], capsys
    )
    assert ".parquet" in fails(["analyze", str(quench), "-o", str(tmp_path / "o.txt")], capsys)
    assert "no directory" in fails(
        ["analyze", str(quench), "-o", str(tmp_path / "no" / "o.json")], capsys
    )
    assert "--frames" in fails(["analyze", str(quench), "--frames", "a:b", "-o", out], capsys)
    none = fails(["analyze", str(quench), "--frames", "7:", "-o", out], capsys)
    assert "q.gsd: frames 7: selects none of its 3 frames" in none
    cut = tmp_path / "cut.gsd"
    cut.write_bytes(quench.read_bytes()[:-100])
    assert "cut.gsd" in fails(["analyze", str(cut), "-o", out], capsys)
    assert not Path(out).exists()
    Path(out).write_text("kept")
    assert "--force" in fails(["analyze", str(quench), "-o", out], capsys)
    assert Path(out).read_text() == "kept"


@pytest.mark.parametrize("minutes", ["-1", "0", "nan", "inf"])
def test_minutes_are_above_0(
    minutes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fails(["run", "x.toml", "-o", str(tmp_path / "run"), "--minutes", minutes], capsys)
    assert f"--minutes {minutes}: give a number of minutes above 0." in said
    assert list(tmp_path.iterdir()) == []


def test_doctor_tells_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    succeeds(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert {"engine", "float64 in JAX", "HOOMD-blue"} <= {f["what"] for f in found["findings"]}


def test_doctor_shows_brackets_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = doctor.Finding("x[y]", False, False, "[z] is not here", "pip install 'a[b]'")
    monkeypatch.setattr(doctor, "examine", lambda: [missing])
    succeeds(["doctor"])
    shown = capsys.readouterr().out
    assert "x[y]" in shown
    assert "pip install 'a[b]'" in shown


@pytest.mark.slow
def test_demo_reaches_its_targets(tmp_path: Path) -> None:
    succeeds(["demo", "-o", str(tmp_path / "demo")])
    designs = json.loads((tmp_path / "demo" / "summary.json").read_text())["designs"]
    assert [d["target"] for d in designs] == [0.25, 0.65]
    for d in designs:
        assert abs(d["final"] - d["target"]) < 1e-3
        assert abs(d["initial"] - d["target"]) > 1e-2
    for name in ("report.html", "design.png"):
        assert (tmp_path / "demo" / name).stat().st_size > 10_000
