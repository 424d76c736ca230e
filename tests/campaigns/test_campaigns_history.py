"""Histories of designs, on short runs made by hand."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from amorph import bridge
from amorph.campaigns import history as histories
from amorph.campaigns.report import write_report
from amorph.handover import (
    CorruptFrameError,
    EmptyFileError,
    FileMissingError,
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
    for (packing, theta), value in zip(
        bridge.read_gsd(made / "run.gsd"), history.value, strict=True
    ):
        rest = bridge.relax(packing, theta)
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
