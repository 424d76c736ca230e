"""Exact derivatives beside finite changes: what is computed, what is told, what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph.campaigns.cli import main
from amorph.campaigns.errors import RecordError
from amorph.campaigns.studies.design import members
from amorph.campaigns.studies.files import parse_campaign
from amorph.campaigns.studies.gradient.check import GradientCheck
from amorph.campaigns.studies.gradient.pictures import gradient as gradient_picture
from amorph.campaigns.studies.gradient.study import read_check
from amorph.campaigns.studies.running import run_campaign
from amorph.campaigns.studies.study import Study, Watcher
from amorph.handover import InputError

CAMPAIGN = """
[potential]
kind = "harmonic_morse"
diameters = [0.8, 1.0]
binding = [0.1, 0.0, 0.2]
stiffness = 5.0
alpha = 10.0

[preparation]
n_particles = 32
density = 1.4
seed = 6
replicas = 3

[design]
kind = "individual"
parameters = ["diameters", "binding"]
held.diameters = ["B"]

[[objective]]
feature = "pressure"
target = 0.3
"""


def check(
    tmp_path: Path,
    text: str = CAMPAIGN,
    *,
    resume: bool = False,
    watcher: Watcher | None = None,
    **settings: object,
) -> GradientCheck:
    text += "\n[gradient]\n" + "".join(f"{k} = {v}\n" for k, v in settings.items())
    campaign, directory = parse_campaign(text, "x"), tmp_path / "check"
    run_campaign(campaign, text, directory, resume=resume, watcher=watcher)
    return read_check(directory, campaign)


def test_followed_packings_predict_small_changes(tmp_path: Path) -> None:
    found = check(tmp_path, changes=[1e-6, 1e-5])
    assert found.components == ("diameters[A]", "binding[AA]", "binding[AB]", "binding[BB]")
    # A component of 0 is changed as the largest of its parameter is.
    np.testing.assert_allclose(found.changes[:, 0], [0.8e-6, 0.1e-6, 0.2e-6, 0.2e-6])
    predicted, measured = found.loss_changes()
    assert predicted.shape == measured.shape == (3, 4, 2, 2)
    # A binding energy of 0 cannot fall: that side is not there.
    there = np.isfinite(measured)
    assert not there[:, 2, :, 1].any()
    assert there[:, [0, 1, 3]].all()
    assert there[:, 2, :, 0].all()
    smooth = there[:, :, 0] & ~found.rearranged[:, :, 0]
    np.testing.assert_allclose(measured[:, :, 0][smooth], predicted[:, :, 0][smooth], rtol=1e-3)
    told = json.loads((tmp_path / "check" / "gradient.json").read_text())
    assert told["packings"] == 3
    assert max(row[0] for row in told["relative error of the predicted change, median"]) < 1e-3


def test_an_ensemble_that_stays_in_its_minima(tmp_path: Path) -> None:
    text = CAMPAIGN.replace("replicas = 3", 'start = "triangular"\nnoise = 0.03\norder = "random"')
    text = text.replace("individual", "ensemble").replace("[0.1, 0.0, 0.2]", "0.1")
    text = text.replace("[0.8, 1.0]", "[0.98, 1.0]").replace("= 32", "= 56")
    found = check(tmp_path, text, packings=10, changes=[1e-3])
    assert found.slope.shape == (10, 1, 4)
    by_difference, error = found.differences()
    mean, mean_error = found.mean_slopes()
    # Nothing jumps: the derivative of the mean is the mean of the derivatives.
    np.testing.assert_allclose(by_difference[0, :, 0], mean[0], rtol=1e-3)
    np.testing.assert_allclose(error[0, :, 0], mean_error[0], rtol=0.05)
    # A limit shortens the mean, and a lower one more.
    lengths = [np.linalg.norm(found.mean_slopes(x)[0]) for x in (np.inf, 1.0, 0.5)]
    assert lengths[0] > lengths[1] > lengths[2]


def test_means_and_errors_of_known_numbers() -> None:
    rng = np.random.default_rng(0)
    slope = rng.normal(size=(50, 1, 2))
    slope[0] = [[3e4, -4e4]]
    changes = np.array([[0.1], [0.2]])
    value = rng.normal(size=(50, 1))
    change = np.stack([slope * changes.T, -slope * changes.T], axis=-1)  # (R, J, C, 2)
    changed = np.moveaxis(value[..., None, None] + change, 1, -1)[:, :, None]
    found = GradientCheck(
        followed=False,
        features=("pressure",),
        targets=np.array([0.0]),
        weights=np.array([1.0]),
        bounds=np.array([[-np.inf, np.inf]]),
        components=("a", "b"),
        parts=np.array([0.1]),
        changes=changes,
        value=value,
        slope=0.25 * slope,
        jump_terms=0.75 * slope,
        changed=changed,
        rearranged=np.zeros((50, 2, 1, 2), dtype=bool),
        failed=0,
    )
    mean, error = found.differences()
    np.testing.assert_allclose(mean[0, :, 0], slope[:, 0].mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(
        error[0, :, 0], slope[:, 0].std(axis=0, ddof=1) / np.sqrt(50), rtol=1e-9
    )
    bounded, _ = replace(found, bounds=np.array([[-1.0, 1.0]])).differences()
    ends = np.clip(changed[:, :, 0, :, 0], -1, 1)
    expected = (ends[..., 0] - ends[..., 1]) / (2 * changes[:, 0])
    np.testing.assert_allclose(bounded[0, :, 0], expected.mean(axis=0))
    cut, _ = found.mean_slopes(2.0)
    median = np.median(np.linalg.norm(slope[:, 0], axis=1))
    kept = slope[:, 0] * np.minimum(1, 2 * median / np.linalg.norm(slope[:, 0], axis=1))[:, None]
    np.testing.assert_allclose(cut[0], kept.mean(axis=0))
    without, _ = found.mean_slopes(2.0, jump_terms=False)
    np.testing.assert_allclose(without[0], 0.25 * kept.mean(axis=0))
    figure = gradient_picture(found)
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert "difference over ±10 %" in labels
    assert "mean gradient, each at most 1 median, with jump terms" in labels
    assert "mean gradient, each at most 1 median, without" in labels


def test_a_check_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = check(tmp_path / "a", changes=[1e-5])

    class Killed(BaseException):
        pass

    class Killing(Watcher):
        def progressed(self, study: Study[Any], done: int, total: int, info: str) -> None:
            if done == 2:
                raise Killed

    with pytest.raises(Killed):
        check(tmp_path / "b", changes=[1e-5], watcher=Killing())
    again = check(tmp_path / "b", changes=[1e-5], resume=True)
    assert np.array_equal(whole.changed, again.changed, equal_nan=True)
    assert (tmp_path / "b" / "check" / "packings.csv").read_bytes() == (
        tmp_path / "a" / "check" / "packings.csv"
    ).read_bytes()


def test_a_packing_that_fails_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = members.packing_of

    def failing(theta: Any, preparation: Any, replica: int, **more: Any) -> Any:
        if replica == 1:
            raise RecordError("replica 1: not\rtoday")
        return prepared(theta, preparation, replica, **more)

    monkeypatch.setattr(members, "packing_of", failing)
    found = check(tmp_path, changes=[1e-5])
    assert (len(found.value), found.failed) == (2, 1)
    assert found.rearranged.dtype == bool
    outcome = json.loads((tmp_path / "check" / "task.json").read_text())
    assert outcome["message"].endswith("RecordError: replica 1: not today")


def test_a_check_may_go_on_with_another_end_of_its_design(tmp_path: Path) -> None:
    check(tmp_path, changes=[1e-5])
    check(tmp_path, CAMPAIGN + "\n[stop]\nsteps = 7\n", changes=[1e-5], resume=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"changes": [2.0]}, r"changes\.0: = 2.0"), ({"packings": 0}, "packings: = 0")],
)
def test_named_faults(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(tmp_path, **settings)
    assert not (tmp_path / "check").exists()


def test_a_sweep_is_refused(tmp_path: Path) -> None:
    text = CAMPAIGN + '\n[sweep]\n"objective.0.target" = [0.2, 0.3]\n'
    with pytest.raises(InputError, match=r"\[sweep\]"):
        check(tmp_path, text)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.toml"
    file.write_text(CAMPAIGN, encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["gradient", str(file), "-o", str(tmp_path / "g"), "--changes", "1e-5"])
    assert ended.value.code == 0
    assert (tmp_path / "g" / "gradient.png").stat().st_size > 5000
    assert "gradient.json" in capsys.readouterr().out.replace("\n", "")
    with pytest.raises(SystemExit) as ended:
        main(["gradient", str(file), "-o", str(tmp_path / "g")])
    assert ended.value.code == 2
    with pytest.raises(SystemExit) as ended:
        main(["gradient", str(file), "-o", str(tmp_path / "h"), "--changes", "a"])
    assert ended.value.code == 2
