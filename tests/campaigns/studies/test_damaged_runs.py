"""Run directories with a damaged file: all that reads them ends with a name, or does its work.

Every file of a run is cut, emptied, overwritten, removed or replaced by a folder, one at a time.
"""

import random
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from amorph.campaigns.studies.design.entries import read_entries
from amorph.campaigns.studies.files import parse_campaign
from amorph.campaigns.studies.running import run_campaign
from amorph.campaigns.studies.status import read_status
from amorph.handover import AmorphError, checksum, read_gsd

CAMPAIGN = """
[potential]
kind = "soft_sphere"
diameters = [1.0, 1.4]
stiffness = 1.0

[preparation]
n_particles = 20
density = 0.9
seed = 4

[design]
parameters = ["diameters"]

[[objective]]
feature = "pressure"
target = 0.2

[[validation]]
packings = 2

[stop]
loss = 1e-12
steps = 2
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "run"
    run_campaign(parse_campaign(CAMPAIGN, "x"), CAMPAIGN, directory)
    return directory


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def overwritten(path: Path) -> None:
    data = bytearray(path.read_bytes())
    rng = random.Random(path.name)
    for _ in range(12 if data else 0):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)


def not_text(path: Path) -> None:
    path.write_bytes(bytes(range(128, 256)) * 4)


def removed(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: tuple[Callable[[Path], None], ...] = (
    cut,
    emptied,
    overwritten,
    not_text,
    removed,
    a_folder,
)


def tried(work: Callable[[], object], directory: Path, what: str) -> str:
    """Whether some work was done, or ended with a named error that tells where."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            work()
    except AmorphError as error:
        said = str(error)
    else:
        return "done"
    assert str(directory) in said, f"{what}: {said}"
    return "named"


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_what_is_damaged_has_a_name(
    damage: Callable[[Path], None], made: Path, tmp_path: Path
) -> None:
    files = sorted(p.relative_to(made) for p in made.rglob("*") if p.is_file())
    files = [p for p in files if not p.name.endswith("lock")]
    assert {"campaign.toml", "design.json", "manifest.jsonl", "run.gsd", "summary.json"} <= {
        p.name for p in files
    }
    good = [checksum(f) for f in read_gsd(made / "run.gsd")]
    ended: Counter[tuple[str, str]] = Counter()
    for k, file in enumerate(files):
        copy = tmp_path / str(k)
        shutil.copytree(made, copy)
        damage(copy / file)
        ended["status", tried(partial(read_status, copy), copy, f"status of {file}")] += 1
        ended["report", tried(partial(read_entries, copy), copy, f"report of {file}")] += 1
        again = partial(run_campaign, parse_campaign(CAMPAIGN, "x"), CAMPAIGN, copy, resume=True)
        how = tried(again, copy, f"resuming with {file}")
        ended["resume", how] += 1
        # Its record is whole again, whatever was lost; run.gsd where it cannot be read.
        if how == "done" and not (file.name == "run.gsd" and damage is overwritten):
            assert [checksum(f) for f in read_gsd(copy / "run.gsd")] == good, file
    # A folder in the place of a file is nobody's to remove.
    assert ended["resume", "done"] >= (2 if damage is a_folder else len(files) // 2)
