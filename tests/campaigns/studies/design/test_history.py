"""Histories of designs, on short runs made by hand."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from amorph import bridge
from amorph.campaigns import history_table
from amorph.campaigns.errors import RecordError
from amorph.campaigns.store.records import RunRecord
from amorph.campaigns.studies.design import history as histories
from amorph.campaigns.studies.reporting import write_report
from amorph.handover import (
    CorruptFrameError,
    EmptyFileError,
    FileMissingError,
    InputError,
    NotGSDError,
    write_gsd,
)

STEPS = 6  # of the run made


def test_a_history_holds_every_step_as_arrays(made: Path, history: histories.History) -> None:
    assert history.n_steps == STEPS
    assert history.step.tolist() == list(range(STEPS + 1))
    assert history.loss.shape == (STEPS + 1,)
    assert history.value.shape == (STEPS + 1, 2)
    assert history.target.tolist() == [0.2, 0.5]
    assert history.weight.tolist() == [1.0, 1.0]
    assert history.parameters["diameters"].shape == (STEPS + 1, 2)
    assert history.parameters["binding"].shape == (STEPS + 1, 3)
    assert history.gradient["diameters"].shape == (STEPS + 1, 2)
    assert np.flatnonzero(history.rearranged).tolist() == [3]
    assert history.crossings.tolist() == [0, 10, 0, 10, 0, 10, 0]
    assert history.moved[-1] == 0.01 * STEPS
    assert history.potential == "harmonic_morse"
    for (theta, packing), value in zip(
        bridge.read_gsd(made / "run.gsd"), history.value, strict=True
    ):
        rest = bridge.relax(theta, packing)
        assert float(bridge.poisson_ratio(theta, rest)) == pytest.approx(value[0], rel=1e-9)


def test_a_history_says_what_changed_and_names_types_and_pairs(history: histories.History) -> None:
    assert history.changed == ("diameters", "binding", "stiffness")
    assert history.labels("diameters") == ("A", "B")
    assert history.labels("binding") == ("AA", "AB", "BB")


def test_one_type_has_one_pair(make_run: Callable[..., Path], tmp_path: Path) -> None:
    theta = bridge.SoftSphere(diameters=[1.0], stiffness=1.0)
    directory = make_run(tmp_path / "soft", theta, n=36, density=1.4, steps=2)
    history = histories.read_history(directory)
    assert history.labels("diameters") == ("A",)
    assert history.labels("stiffness") == ("AA",)
    assert history.feature == ("objective 0", "objective 1")
    assert write_report(directory).is_file()


def test_a_history_of_what_is_no_design_is_refused_by_name(made: Path, tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match=r"run\.gsd"):
        histories.read_history(tmp_path)
    frames = list(bridge.read_gsd(made / "run.gsd"))
    bridge.write_gsd(tmp_path / "quench.gsd", frames)
    with pytest.raises(CorruptFrameError, match=r"log/amorph/step.*no step of a design"):
        histories.read_history(tmp_path / "quench.gsd")
    (tmp_path / "run.gsd").write_bytes(b"")
    with pytest.raises(EmptyFileError):
        histories.read_history(tmp_path)
    (tmp_path / "run.gsd").write_bytes((made / "run.gsd").read_bytes()[:2000])
    with pytest.raises(NotGSDError):
        histories.read_history(tmp_path)


def test_frames_of_two_designs_make_no_history(made: Path, tmp_path: Path) -> None:
    frames = list(histories.read_gsd(made / "run.gsd"))
    other = copy.deepcopy(frames[1])
    other.log["value"] = np.ones(3)
    write_gsd(tmp_path / "run.gsd", [frames[0], other])
    with pytest.raises(CorruptFrameError, match="frame 1: its logged quantities differ"):
        histories.read_history(tmp_path)
    for frame in frames:
        frame.log["target"] = np.ones(1)
    write_gsd(tmp_path / "run.gsd", frames, overwrite=True)
    with pytest.raises(CorruptFrameError, match="2 values, but 1 of log/amorph/target"):
        histories.read_history(tmp_path)


def test_a_run_is_a_table_in_one_call(made: Path, history: histories.History) -> None:
    for given in (made, str(made), made / "run.gsd"):
        table = history_table(given)
        assert table["step"].tolist() == list(range(STEPS + 1))
        assert np.array_equal(table["loss"], history.loss)
        assert np.array_equal(table["diameters.B"], history.parameters["diameters"][:, 1])
        assert np.array_equal(table["binding.AB"], history.parameters["binding"][:, 1])
        assert np.array_equal(table["gradient.diameters.A"], history.gradient["diameters"][:, 0])
        assert table["rearranged"].tolist() == [k == 3 for k in range(STEPS + 1)]
        assert table["crossings"].tolist() == history.crossings.tolist()
        assert np.array_equal(table["learning_rate"], history.pace)
        assert "design" not in table
    # A file alone does not know what its objectives are called; its run does.
    assert np.array_equal(history_table(made)["pressure"], history.value[:, 1])
    assert set(history_table(made)["target.pressure"]) == {0.5}
    assert np.array_equal(table["objective 1"], history.value[:, 1])
    assert repr(history).startswith(f"History of a design: {STEPS} steps, ")
    assert f"pressure p: {history.value[0, 1]:.6g} to {history.value[-1, 1]:.6g}" in repr(history)


def test_two_objectives_of_one_feature_have_two_columns(
    made: Path, history: histories.History, tmp_path: Path, write_outcome: Callable[..., None]
) -> None:
    run = shutil.copytree(made, tmp_path / "run")
    write_outcome(run, feature=["pressure", "pressure"])
    table = history_table(run)
    assert np.array_equal(table["pressure.1"], history.value[:, 1])
    assert np.array_equal(table["pressure.0"], history.value[:, 0])
    assert set(table["target.pressure.0"]) == {0.2}


def test_a_sweep_is_one_table_told_apart_by_design(made: Path, tmp_path: Path) -> None:
    names = ["0_target-0.1_replica-0", "1_target-0.3_replica-0"]
    for name in names:
        shutil.copytree(made, tmp_path / name)
    frames = list(histories.read_gsd(made / "run.gsd"))
    write_gsd(tmp_path / names[1] / "run.gsd", frames[:3], overwrite=True)
    (tmp_path / "figures").mkdir()
    table = history_table(tmp_path)
    assert table.columns[0] == "design"
    assert table["design"].tolist() == [names[0]] * (STEPS + 1) + [names[1]] * 3
    assert table["step"].tolist() == [*range(STEPS + 1), 0, 1, 2]


def test_a_run_at_work_shows_what_is_safe(
    made: Path, history: histories.History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amorph.campaigns.store.records.SYNC_EVERY", 1e9)
    frames = list(histories.read_gsd(made / "run.gsd"))
    with pytest.raises(RecordError, match="holds no steps of a design"):
        history_table(tmp_path)
    with RunRecord(tmp_path) as record:
        for frame in frames[:4]:
            record.append(frame)
        record.sync()
        record.append(frames[4])  # waits for others to come to the disk with
        assert history_table(tmp_path)["step"].tolist() == [0, 1, 2, 3]
        record.sync()
        table = history_table(tmp_path)
        assert np.array_equal(table["loss"], history.loss[:5])
        record.append(frames[5])
    assert len(history_table(tmp_path)) == 6
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(6))


def test_a_table_of_what_is_no_run_is_refused(made: Path, tmp_path: Path) -> None:
    for wrong in (None, 3, [made], b"run"):
        with pytest.raises(InputError, match="path of a file"):
            history_table(wrong)  # type: ignore[arg-type]
    with pytest.raises(FileMissingError):
        history_table(tmp_path / "nothing")
    bridge.write_gsd(tmp_path / "run.gsd", list(bridge.read_gsd(made / "run.gsd"))[:1])
    with pytest.raises(CorruptFrameError, match="no step of a design"):
        history_table(tmp_path)
