"""What was measured is what the file holds, or its row says that it is not."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from amorph import bridge, ensemble
from amorph.bridge.matter.files import frame_of
from amorph.campaigns import cli
from amorph.campaigns.errors import NotAtRestError
from amorph.campaigns.studies.analyze.rows import analyze
from amorph.campaigns.studies.analyze.running import analyze_to_file
from amorph.handover import NotGSDError, OutputError, write_gsd

THETA = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0)


@pytest.fixture(scope="module")
def quenched() -> ensemble.Ensemble:
    return ensemble.quench(THETA, 64, 1.6, 2, 3, seed=5)


def test_a_quenched_packing_is_measured_where_it_is(
    quenched: ensemble.Ensemble, tmp_path: Path
) -> None:
    quenched.write(tmp_path / "a.gsd")
    for row in analyze([tmp_path / "a.gsd"], features=["energy"]):
        assert row["status"] == "ok"
        assert "message" not in row
        assert row["neighbours_changed"] == 0


@pytest.mark.filterwarnings("ignore:.*diameters other than the potential's:UserWarning")
def test_other_potentials_and_swapped_types_are_another_packing(
    quenched: ensemble.Ensemble, tmp_path: Path
) -> None:
    quenched.write(tmp_path / "a.gsd")
    swapped = THETA.replace(diameters=[1.0, 0.8])
    other = bridge.SoftSphere(diameters=[0.8, 1.0], stiffness=1.0)
    for theta in (swapped, other):
        rows = list(analyze([tmp_path / "a.gsd"], features=["energy"], theta=theta))
        for row in rows:
            assert row["status"] == "other_minimum"
            assert "came to rest elsewhere" in row["message"]
            assert np.isfinite(row["energy"])  # it has values all the same
        with pytest.raises(NotAtRestError, match="came to rest elsewhere"):
            next(analyze([tmp_path / "a.gsd"], features=["energy"], theta=theta, strict=True))


def test_a_quench_cut_off_is_marked_and_counted(
    quenched: ensemble.Ensemble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = ensemble.quench(THETA, 64, 1.6, 2, 2, seed=5, max_steps=5)
    cut.write(tmp_path / "cut.gsd")
    nearly = ensemble.quench(THETA, 64, 1.6, 2, 1, seed=5, tolerance=1e-10, max_steps=200_000)
    frame = next(iter(bridge.read_gsd(_written(nearly, tmp_path / "nearly.gsd"))))
    theta, packing = frame
    log = {"converged": np.array([0], dtype=np.uint8)}
    write_gsd(tmp_path / "marked.gsd", [frame_of(theta, packing, log)])
    command = ["analyze", str(tmp_path / "cut.gsd"), str(tmp_path / "marked.gsd")]
    options = ["--features", "energy", "--workers", "1"]
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "-o", str(tmp_path / "o.json"), *options])
    assert ended.value.code == 0
    rows = json.loads((tmp_path / "o.json").read_text())["frames"]
    assert [r["status"] for r in rows] == ["other_minimum", "other_minimum", "not_converged"]
    said = " ".join(capsys.readouterr().err.split())
    assert "2 of 3 frames came to rest in another minimum" in said
    assert "1 of 3 frames are not converged" in said
    # As an error: rows without values, and none of them measured.
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "-o", str(tmp_path / "strict.json"), *options, "--strict"])
    assert ended.value.code == 1
    rows = json.loads((tmp_path / "strict.json").read_text())["frames"]
    assert [r["status"] for r in rows] == ["NotAtRestError"] * 3
    assert not any("energy" in r for r in rows)


def _written(made: ensemble.Ensemble, path: Path) -> Path:
    made.write(path)
    return path


def test_positions_in_single_precision_are_the_same_packing(
    quenched: ensemble.Ensemble, tmp_path: Path
) -> None:
    """As HOOMD-blue writes them, and shaken by a hundredth of a diameter: back to the minimum."""
    rng = np.random.default_rng(2)
    path = _written(quenched, tmp_path / "a.gsd")
    packings = []
    for theta, packing in bridge.read_gsd(path):
        rounded = packing.positions.astype(np.float32).astype(np.float64)
        shaken = packing.positions + 1e-3 * rng.normal(size=packing.positions.shape)
        packings += [(theta, packing.with_positions(x)) for x in (rounded, shaken)]
    bridge.write_gsd(tmp_path / "b.gsd", packings)
    exact = [row["energy"] for row in analyze([path], features=["energy"])]
    for k, row in enumerate(analyze([tmp_path / "b.gsd"], features=["energy"])):
        assert row["status"] == "ok"
        assert row["energy"] == pytest.approx(exact[k // 2], rel=1e-12)


@pytest.mark.parametrize("ending", [".json", ".csv", ".parquet"])
def test_a_file_whose_name_is_no_text_has_its_rows(
    ending: str, quenched: ensemble.Ensemble, tmp_path: Path
) -> None:
    _, packing = next(bridge.read_gsd(_written(quenched, tmp_path / "a.gsd")))
    rows = "".join(
        f"{k} {x!r} {y!r} 0\n"
        for k, (x, y) in zip(packing.typeid + 1, packing.positions.tolist(), strict=True)
    )
    side = float(packing.box[0, 0])
    odd = tmp_path / os.fsdecode(b"gr\xf6\xdfe.xyz")
    odd.write_text(f'64\nLattice="{side!r} 0 0 0 {side!r} 0 0 0 1"\n{rows}64\nx\n')
    found = analyze_to_file(
        [odd], tmp_path / f"t{ending}", features=["energy"], theta=THETA, workers=1
    )
    assert (found.rows, found.failed) == (2, 1)
    assert (tmp_path / f"t{ending}").stat().st_size > 0
    with pytest.raises(OutputError, match="no UTF-8 text"):
        _written(quenched, odd.with_suffix(".gsd"))
    os.link(tmp_path / "a.gsd", odd.with_suffix(".gsd"))
    with pytest.raises(NotGSDError, match="no UTF-8 text"):
        next(bridge.read_gsd(odd.with_suffix(".gsd")))
