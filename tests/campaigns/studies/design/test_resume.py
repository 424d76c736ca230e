"""A run that is killed and resumed ends as the run that never was, to the bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from amorph.campaigns.errors import RecordError
from amorph.campaigns.studies.design.designs import Design
from amorph.campaigns.studies.files import parse_campaign
from amorph.campaigns.studies.running import run_campaign
from amorph.handover import OutputExistsError, checksum, read_gsd

CAMPAIGN = """
[potential]
kind = "harmonic_morse"
diameters = [0.8, 1.0]
binding = 0.1
stiffness = 5.0
alpha = 6.0

[preparation]
n_particles = 48
density = 1.6
seed = 6

[design]
parameters = ["diameters", "binding"]

[[objective]]
feature = "poisson_ratio"
target = -0.9

[stop]
loss = 1e-30
steps = 400
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    directory = tmp_path_factory.mktemp("undisturbed")
    run_campaign(parse_campaign(CAMPAIGN, "x"), CAMPAIGN, directory)
    return [checksum(f) for f in read_gsd(directory / "run.gsd")]


def test_a_step_resumed_from_its_frame_goes_on_to_the_bit() -> None:
    design = Design(parse_campaign(CAMPAIGN, "x"))
    step = design.start()
    for _ in range(4):
        again = design.advance(design.resume(design.frame(step)))
        step = design.advance(step)
        assert checksum(design.frame(again)) == checksum(design.frame(step))


def frames_on_disk(directory: Path) -> int:
    manifest = directory / "manifest.jsonl"
    return manifest.read_bytes().count(b"\n") if manifest.exists() else 0


def killed_runs(directory: Path, kills: int, seed: int) -> None:
    campaign = directory.parent / "campaign.toml"
    campaign.write_text(CAMPAIGN)
    command = [sys.executable, "-m", "amorph.campaigns.cli", "run", str(campaign)]
    command += ["-o", str(directory), "--resume"]
    chance = random.Random(seed)
    for _ in range(kills):
        target = frames_on_disk(directory) + chance.randint(1, 15)
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=directory.parent)
        deadline = time.monotonic() + 120
        while frames_on_disk(directory) < target:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.03))  # anywhere in a step, or in a write
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, cwd=directory.parent)


@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_and_resumed_is_as_never_killed(
    tmp_path: Path, undisturbed: list[str], kills: int
) -> None:
    killed_runs(tmp_path / "run", kills, seed=kills)
    assert [checksum(f) for f in read_gsd(tmp_path / "run" / "run.gsd")] == undisturbed


def test_resume_of_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    text = CAMPAIGN.replace("steps = 400", "steps = 2")
    campaign = parse_campaign(text, "x")
    first = run_campaign(campaign, text, tmp_path / "run")
    kept = (tmp_path / "run" / "run.gsd").read_bytes()
    assert run_campaign(campaign, text, tmp_path / "run", resume=True) == first
    assert (tmp_path / "run" / "run.gsd").read_bytes() == kept
    with pytest.raises(OutputExistsError, match="--resume"):
        run_campaign(campaign, text, tmp_path / "run")
    other = text.replace("seed = 6", "seed = 7")
    with pytest.raises(RecordError, match="another campaign file"):
        run_campaign(parse_campaign(other, "x"), other, tmp_path / "run", resume=True)


def test_more_steps_go_on_from_the_last_as_if_they_had_been_asked_for_at_first(
    tmp_path: Path, undisturbed: list[str]
) -> None:
    directory = tmp_path / "run"
    for steps in (2, 5):
        text = CAMPAIGN.replace("steps = 400", f"steps = {steps}  # more")
        (outcome,) = run_campaign(parse_campaign(text, "x"), text, directory, resume=True)
        assert (outcome["status"], outcome["steps"]) == ("step_limit", steps)
        assert (directory / "campaign.toml").read_text() == text
    frames = [checksum(f) for f in read_gsd(directory / "run.gsd")]
    assert frames == undisturbed[:6]
    looser = text.replace("loss = 1e-30", "loss = 10.0")
    (outcome,) = run_campaign(parse_campaign(looser, "x"), looser, directory, resume=True)
    assert (outcome["status"], outcome["steps"]) == ("converged", 5)


def test_resume_refuses_a_directory_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear to somebody")
    with pytest.raises(RecordError, match=r"no campaign\.toml"):
        run_campaign(parse_campaign(CAMPAIGN, "x"), CAMPAIGN, tmp_path, resume=True)
