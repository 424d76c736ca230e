"""Reports, on short runs made by hand."""

import base64
import contextlib
import io
import re
import shutil
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from amorph.campaigns.errors import RecordError
from amorph.campaigns.studies.design import entries
from amorph.campaigns.studies.design import history as histories
from amorph.campaigns.studies.design.at_a_glance import write_overview
from amorph.campaigns.studies.reporting import write_report
from amorph.handover import (
    FileMissingError,
    InputError,
    OutputError,
    OutputExistsError,
    write_gsd,
)


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "one"))


class _Checked(HTMLParser):
    """Collects texts and pictures of a page, and sees to it that its tags are closed."""

    void: frozenset[str] = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[bytes] = []
        self.words: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.code = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img":
            head, data = str(given["src"]).split(",", 1)
            assert head == "data:image/png;base64"
            assert given["alt"]
            self.images.append(base64.b64decode(data, validate=True))
        if "id" in given:
            self.ids.append(str(given["id"]))
        if tag == "a":
            self.links.append(str(given["href"]).removeprefix("#"))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "pre":
            self.code += data
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def checked(page: Path) -> _Checked:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(src|href)='https?:", text)
    return _Checked(text)


def pngs(directory: Path) -> set[str]:
    return {str(p.relative_to(directory / "figures")) for p in directory.glob("figures/**/*.png")}


def leftovers(directory: Path) -> list[Path]:
    return [p for p in directory.rglob("*") if ".partial" in p.name]


def test_the_report_of_one_design(run: Path, history: histories.History) -> None:
    page = write_report(run)
    assert page == run / "report.html"
    names = {"trace.png", "parameters.png", "packings.png", "bonds.png"}
    assert pngs(run) == names
    found = checked(page)
    assert set(found.images) == {(run / "figures" / name).read_bytes() for name in names}
    for value in (*history.value[0], *history.value[-1]):
        assert f"{value:.6g}" in found.text
    assert "1 (at step 3)" in found.text
    assert "30, in 3 of the steps" in found.text
    assert "Poisson's ratio ν" in found.text
    assert "converged" in found.text
    assert leftovers(run) == []


def test_the_lines_of_python_on_the_page_run(
    run: Path, history: histories.History, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = checked(write_report(run)).code
    monkeypatch.chdir(run)
    said = io.StringIO()
    space: dict[str, Any] = {}
    with contextlib.redirect_stdout(said):
        exec(code, space)
    assert float(said.getvalue()) == pytest.approx(history.value[-1, 0], rel=1e-9)
    np.testing.assert_array_equal(space["log"]["log/amorph/loss"].ravel(), history.loss)


def test_a_report_is_kept_unless_it_may_be_replaced(run: Path) -> None:
    first = write_report(run).read_bytes()
    with pytest.raises(OutputExistsError, match=r"report\.html: exists already"):
        write_report(run)
    assert write_report(run, overwrite=True).read_bytes() == first
    (run / "report.html").unlink()
    (run / "report.html").mkdir()
    with pytest.raises(OutputError, match="is a directory"):
        write_report(run, overwrite=True)


def test_where_figures_cannot_be_written_no_page_appears(run: Path) -> None:
    (run / "figures").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(run)
    assert not (run / "report.html").exists()
    assert leftovers(run) == []


@pytest.mark.parametrize(
    ("status", "message", "says"),
    [
        ("failed", "step 7: <b>no</b> packing & nothing", "step 7: <b>no</b> packing & nothing"),
        ("running", "", "This run is unfinished: it is at work, or was killed"),
        ("stopped", "", "This run is unfinished: a signal or its time limit stopped it"),
        ("step_limit", "", "stopped at the step limit"),
    ],
)
def test_a_design_that_did_not_converge_is_reported(
    write_outcome: Callable[..., None], run: Path, status: str, message: str, says: str
) -> None:
    write_outcome(run, status=status, message=message, value=None, loss=None)
    found = checked(write_report(run))
    assert says in found.text
    assert len(found.images) == 4


def test_a_run_of_step_0_alone_is_reported(
    write_outcome: Callable[..., None], run: Path, made: Path
) -> None:
    write_gsd(run / "run.gsd", histories.read_gsd(made / "run.gsd", slice(0, 1)), overwrite=True)
    write_outcome(run, status="running", steps=0)
    assert len(checked(write_report(run)).images) == 4


@pytest.mark.parametrize("first", [0, 2])
def test_a_loss_of_zero_is_no_trouble(run: Path, made: Path, first: int) -> None:
    frames = list(histories.read_gsd(made / "run.gsd"))
    for frame in frames[first:]:
        frame.log["loss"] = np.zeros(1)
    write_gsd(run / "run.gsd", frames, overwrite=True)
    assert len(checked(write_report(run)).images) == 4


def test_a_packing_that_cannot_be_measured_leaves_the_rest_of_the_report(
    run: Path, made: Path
) -> None:
    frames = list(histories.read_gsd(made / "run.gsd"))
    frames[-1].parameters["diameters"][:] = 0.3  # nothing touches any more
    frames[-1].parameters["binding"][:] = 0.0
    write_gsd(run / "run.gsd", frames, overwrite=True)
    found = checked(write_report(run))
    assert len(found.images) == 2
    assert "cannot be shown with its forces and bonds" in found.text


def test_what_is_no_run_directory_is_refused_by_name(
    write_outcome: Callable[..., None], run: Path, tmp_path: Path
) -> None:
    with pytest.raises(FileMissingError, match="no such directory"):
        write_report(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"looked for design\.json and run\.gsd"):
        write_report(tmp_path / "empty")
    with pytest.raises(InputError, match="is a file"):
        write_report(run / "run.gsd")
    (run / "run.gsd").unlink()
    with pytest.raises(FileMissingError, match=r"run\.gsd: is not there.*'converged'"):
        write_report(run)
    write_outcome(run, status="running")
    with pytest.raises(FileMissingError, match="--resume"):
        write_report(run)
    write_outcome(run, status="stopped")
    with pytest.raises(FileMissingError, match=r"a signal or its time limit stopped it.*--resume"):
        write_report(run)
    write_outcome(run, target=[0.2])
    with pytest.raises(RecordError, match="2 features but 1 targets"):
        write_report(run)
    (run / "design.json").write_text("{")
    with pytest.raises(RecordError, match=r"design\.json: cannot be read as JSON"):
        write_report(run)
    (run / "design.json").write_text("[1]")
    with pytest.raises(RecordError, match="lacks feature, target"):
        write_report(run)
    assert not (run / "report.html").exists()
    assert not (run / "figures").exists()


@pytest.fixture
def farm(
    write_outcome: Callable[..., None], made: Path, tmp_path: Path
) -> Callable[[int, Mapping[int, dict[str, Any]]], Path]:
    def make(count: int, changed: Mapping[int, dict[str, Any]]) -> Path:
        for k in range(count):
            shutil.copytree(made, tmp_path / "farm" / f"{k:02d}")
            write_outcome(tmp_path / "farm" / f"{k:02d}", replica=k, **changed.get(k, {}))
        return tmp_path / "farm"

    return make


def test_the_report_of_two_designs(farm: Callable[..., Path]) -> None:
    directory = farm(2, {1: {"target": [0.3, 0.5]}})
    found = checked(write_report(directory))
    assert len(found.images) == 1 + 2 * 4
    assert "overview.png" in pngs(directory)
    assert "success.png" not in pngs(directory)  # one design a target: nothing to count
    assert found.links == ["00", "01"]
    assert set(found.links) <= set(found.ids)


def test_the_report_of_many_designs_shows_the_best_and_the_worst(
    farm: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MAX_SHOWN", 4)
    changed: dict[int, dict[str, Any]] = {
        k: {"steps": 100 + k, "loss": 1e-7, "target": [0.2, 0.5]} for k in range(10)
    }
    changed[4] = {"status": "failed", "loss": 0.5, "target": [0.2, 0.5]}
    changed[7] = {"steps": 3, "loss": 1e-7, "target": [0.2, 0.5]}
    directory = farm(10, changed)
    found = checked(write_report(directory))
    assert "9 converged, 1 failed" in found.text
    assert {"04", "07"} <= set(found.links)
    assert len(found.links) == 4
    assert len(found.images) == 1 + 4 * 4
    assert "success.png" in pngs(directory)
    assert {p for p in pngs(directory) if p.startswith("07/")} == {
        "07/trace.png",
        "07/parameters.png",
        "07/packings.png",
        "07/bonds.png",
    }


def test_a_damaged_design_among_several_is_named_and_the_others_reported(
    farm: Callable[..., Path],
) -> None:
    directory = farm(3, {2: {"status": "running"}})
    (directory / "01" / "run.gsd").write_bytes(b"no GSD file at all")
    (directory / "02" / "run.gsd").unlink()
    found = checked(write_report(directory))
    assert "01/run.gsd" in found.text
    assert "not a GSD file" in found.text
    assert "02/run.gsd: is not there" in found.text
    assert len(found.images) == 1 + 4


def test_a_3d_design_is_reported(made_3d: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(made_3d, tmp_path / "one"))
    found = checked(write_report(directory))
    assert "80 particles (40 A, 40 B) in 3 dimensions" in found.text
    assert len(found.images) == 4


def test_the_overview_is_1600_pixels_wide(farm: Callable[..., Path], tmp_path: Path) -> None:
    directory = farm(2, {})
    path = write_overview(directory, tmp_path / "design.png")
    with Image.open(path) as image:
        assert image.width == 1600
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    with pytest.raises(OutputExistsError):
        write_overview(directory, path)
    with pytest.raises(OutputError, match="does not exist"):
        write_overview(directory, tmp_path / "nowhere" / "design.png")
    assert write_overview(directory / "00", path, overwrite=True) == path
