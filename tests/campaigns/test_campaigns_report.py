"""Histories, pictures and reports, on short runs made by hand."""

import base64
import contextlib
import copy
import io
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from PIL import Image

from amorph import bridge, ensemble
from amorph.campaigns import history as histories
from amorph.campaigns import pictures
from amorph.campaigns.errors import RecordError
from amorph.campaigns.pictures.packing import flatten
from amorph.campaigns.report import entries, view_of, write_overview, write_report
from amorph.handover import (
    CorruptFrameError,
    EmptyFileError,
    FileMissingError,
    InputError,
    NotGSDError,
    OutputError,
    OutputExistsError,
    write_gsd,
)

STEPS = 6
FEATURES = ("poisson_ratio", "pressure")


def make_run(
    directory: Path,
    theta: bridge.PairPotential,
    *,
    n: int,
    density: float,
    dimension: int = 2,
    tilt: float = 0.0,
    features: Sequence[str] = FEATURES,
    steps: int = STEPS,
    **outcome: Any,
) -> Path:
    """A run directory whose parameters change a little in each step, as a design's do."""
    batch = ensemble.quench(theta, n, density, dimension, 1, seed=5)
    box, positions = batch.boxes[0], batch.positions[0]
    if tilt:
        sheared = box.copy()
        sheared[0, 1] = tilt * box[1, 1]
        positions, box = positions @ np.linalg.inv(box).T @ sheared.T, sheared
    packing = bridge.relax(bridge.Packing.of(positions, batch.typeid, box), theta).wrapped()
    target = np.linspace(0.2, 0.5, len(features))
    frames = []
    for step in range(steps + 1):
        if step:
            arrays = {k: v * (1 + 1e-3 * (k != "alpha")) for k, v in theta.arrays().items()}
            theta = bridge.from_arrays(theta.potential, arrays)
            packing = bridge.relax(packing, theta).wrapped()
        value = np.array([float(bridge.feature(f)(theta, packing)) for f in features])
        log = {
            "step": step,
            "loss": float(np.sum((value - target) ** 2)),
            "value": value,
            "each": value,
            "target": target,
            "weight": np.ones(len(features)),
            "learning_rate": 1e-3 / (step + 1),
            "rearranged": step == 3,
            "crossings": 10 * (step % 2),
            "moved": 0.01 * step,
            "gradient/diameters": 0.1 * theta.arrays()["diameters"],
        }
        frames.append(bridge.frame_of(packing, theta, log))
    directory.mkdir(parents=True, exist_ok=True)
    write_gsd(directory / "run.gsd", frames)
    write_outcome(
        directory,
        feature=list(features),
        target=target.tolist(),
        weight=[1.0] * len(features),
        steps=steps,
        loss=frames[-1].log["loss"][0],
        initial=frames[0].log["value"].tolist(),
        value=frames[-1].log["value"].tolist(),
        **outcome,
    )
    return directory


def write_outcome(directory: Path, **changed: Any) -> None:
    """Write `design.json`, or change a part of it."""
    path = directory / "design.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    basis = {"name": "tried", "status": "converged", "message": "", "seed": 5, "replica": 0}
    path.write_text(json.dumps({**basis, **old, **changed}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    theta = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0)
    return make_run(
        tmp_path_factory.mktemp("runs") / "one", theta, n=64, density=1.6, threshold=1e-6
    )


@pytest.fixture(scope="module")
def made_3d(tmp_path_factory: pytest.TempPathFactory) -> Path:
    theta = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=12.0)
    where = tmp_path_factory.mktemp("runs3d") / "one"
    return make_run(where, theta, n=80, density=1.4, dimension=3, features=["bulk_modulus"])


@pytest.fixture(scope="module")
def tilted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    theta = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=6.0)
    where = tmp_path_factory.mktemp("tilted") / "one"
    return make_run(where, theta, n=64, density=1.6, tilt=0.3, steps=1)


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "one"))


@pytest.fixture(scope="module")
def history(made: Path) -> histories.History:
    return histories.read_history(made, feature=["Poisson's ratio ν", "pressure p"], threshold=1e-6)


@pytest.fixture(scope="module")
def views(history: histories.History) -> tuple[pictures.View, pictures.View]:
    return view_of(history.first, "before"), view_of(history.last, "after")


# Histories


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


def test_one_type_has_one_pair(tmp_path: Path) -> None:
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


# What is drawn of a packing


def _clipped_length(flat: Any, box: np.ndarray) -> float:
    """The length of all lines that lies within the cell."""
    inverse = np.linalg.inv(box)
    total = 0.0
    for start, end in zip(flat.start, flat.end, strict=True):
        a, b = inverse @ start, inverse @ end
        enter, leave = 0.0, 1.0
        for x, y in zip(a, b, strict=True):
            if x == y:
                leave = leave if abs(x) <= 0.5 else 0.0
                continue
            cuts = sorted(((-0.5 - x) / (y - x), (0.5 - x) / (y - x)))
            enter, leave = max(enter, cuts[0]), min(leave, cuts[1])
        total += max(leave - enter, 0.0) * float(np.linalg.norm(end - start))
    return total


@pytest.mark.parametrize("which", ["made", "tilted"])
def test_every_bond_is_drawn_once_in_the_cell(which: str, request: Any) -> None:
    """Images and clipping: what lies in the cell of all images is each bond's length, once."""
    view = view_of(histories.read_history(request.getfixturevalue(which)).first)
    flat = flatten(view)
    expected = float(np.linalg.norm(view.vector, axis=1).sum())
    assert _clipped_length(flat, view.box) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("which", ["made", "tilted"])
def test_every_disc_covers_the_cell_as_the_periodic_packing_does(which: str, request: Any) -> None:
    view = view_of(histories.read_history(request.getfixturevalue(which)).first)
    flat = flatten(view)
    points = (np.random.default_rng(0).random((200, 2)) - 0.5) @ view.box.T
    shifts = np.array(list(product(range(-3, 4), repeat=2))) @ view.box.T
    centres = (view.positions[:, None] + shifts[None]).reshape(-1, 2)
    radii = np.repeat(0.5 * view.diameters[view.typeid], len(shifts))
    expected = (np.linalg.norm(points[:, None] - centres, axis=2) < radii).sum(axis=1)
    found = (np.linalg.norm(points[:, None] - flat.centres, axis=2) < flat.radii).sum(axis=1)
    np.testing.assert_array_equal(found, expected)


def test_of_a_3d_packing_a_layer_is_drawn_and_said_so(made_3d: Path) -> None:
    history = histories.read_history(made_3d)
    before, after = view_of(history.first), view_of(history.last)
    flat = flatten(before)
    fractions = before.positions @ np.linalg.inv(before.box).T
    height = ((fractions - np.floor(fractions + 0.5)) @ before.box.T)[:, 2]
    assert 0 < len(flat.pair) < len(before.pairs)
    assert (np.abs(height[before.pairs[flat.pair]]) < 0.5).all()
    assert (np.diff(flat.depth) >= 0).all()  # nearer discs cover those beneath
    for figure in (pictures.packings(before, after), pictures.bonds(before, after)):
        assert re.match(r"Layer \|z\| < 0\.5 .*along z", figure.get_suptitle())


def test_a_view_holds_forces_in_balance_and_contributions_that_sum_to_the_moduli(
    history: histories.History, views: tuple[pictures.View, pictures.View]
) -> None:
    view = views[1]
    pull = view.force[:, None] * view.vector / np.linalg.norm(view.vector, axis=1)[:, None]
    total = np.zeros_like(view.positions)
    np.add.at(total, view.pairs[:, 1], pull)
    np.add.at(total, view.pairs[:, 0], -pull)
    assert np.abs(total).max() < 1e-11
    bulk, shear = view.bulk.sum(), view.shear.sum()
    assert (bulk - shear) / (bulk + shear) == pytest.approx(history.value[-1, 0], rel=1e-9)


# Figures


def _series(figure: Figure, label: str) -> Any:
    """The axes with that label on its vertical axis."""
    return next(axes for axes in figure.axes if axes.get_ylabel() == label)


def test_the_trace_shows_loss_values_targets_and_marks(history: histories.History) -> None:
    figure = pictures.trace(history)
    loss = _series(figure, "loss")
    assert loss.get_yscale() == "log"
    curves = [line.get_ydata() for line in loss.lines]
    assert any(len(y) == STEPS + 1 and np.array_equal(y, history.loss) for y in curves)
    assert any(np.array_equal(y, [1e-6, 1e-6]) for y in curves)
    for name, target in zip(history.feature, history.target, strict=True):
        panel = _series(figure, name)
        assert any(np.array_equal(line.get_ydata(), [target, target]) for line in panel.lines)
        assert any(np.array_equal(line.get_xdata(), [3, 3]) for line in panel.lines)
    strip = _series(figure, "crossings")
    (rug,) = [c for c in strip.collections if isinstance(c, LineCollection)]
    ticks = {float(s[0, 0]): float(s[1, 1]) for s in rug.get_segments()}
    assert ticks == {1.0: 10.0, 3.0: 10.0, 5.0: 10.0}


def test_the_parameters_that_changed_are_shown(history: histories.History) -> None:
    figure = pictures.parameters(history)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert len(labels) == 4
    assert any("diameter" in text and "%" in text for text in labels)  # too far apart to be seen
    binding = _series(figure, "binding energy $B$")
    shown = np.stack([line.get_ydata() for line in binding.lines if len(line.get_xdata()) > 2])
    np.testing.assert_array_equal(shown.T, history.parameters["binding"])
    texts = [text.get_text() for text in binding.get_legend().get_texts()]
    assert [t.split(":")[0] for t in texts] == ["AA", "AB", "BB"]
    assert texts[0] == "AA: 0.1 → 0.1006"
    assert _series(figure, "learning rate").get_yscale() == "log"


def test_widths_of_the_force_network_are_proportional_to_forces(
    views: tuple[pictures.View, pictures.View],
) -> None:
    figure = pictures.packings(*views)
    for axes, view in zip(figure.axes, views, strict=True):
        assert sum(isinstance(c, EllipseCollection) for c in axes.collections) == 2
        (lines,) = [c for c in axes.collections if isinstance(c, LineCollection)]
        flat = flatten(view)
        lookup = {
            tuple(np.round(np.concatenate([a, b]), 9)): abs(view.force[p])
            for a, b, p in zip(flat.start, flat.end, flat.pair, strict=True)
        }
        widths = np.asarray(lines.get_linewidths())
        forces = np.array([lookup[tuple(np.round(s.ravel(), 9))] for s in lines.get_segments()])
        below = widths < 0.999 * widths.max()
        np.testing.assert_allclose(np.ptp(widths[below] / forces[below]), 0, atol=1e-6)
    (legend,) = figure.legends
    texts = [t.get_text() for t in legend.get_texts()]
    assert sum("repulsion" in t for t in texts) == sum("attraction" in t for t in texts) == 2
    assert {"type A", "type B"} <= set(texts)


def test_distributions_of_contributions_are_normalised(
    views: tuple[pictures.View, pictures.View],
) -> None:
    figure = pictures.bonds(*views)
    panels = [axes for axes in figure.axes if axes.get_ylabel().startswith("$P(")]
    assert len(panels) == 2
    for panel in panels:
        assert panel.get_yscale() == "log"
        filled = [p for p in panel.patches if isinstance(p, StepPatch) and p.get_fill()]
        assert len(filled) == 2
        for patch in filled:
            values, edges, _ = patch.get_data()
            assert float(np.sum(values * np.diff(edges))) == pytest.approx(1.0, rel=1e-12)


def test_success_shows_fractions_with_wilsons_interval() -> None:
    designs = [
        {
            "target": 0.25,
            "initial": 0.4 + 0.01 * k,
            "status": "converged" if k < 3 else "step_limit",
            "steps": 10 * k,
        }
        for k in range(4)
    ]
    designs.append({"target": 0.25, "initial": None, "status": "running", "steps": 0})
    designs.append({"target": [0.65], "initial": [0.4], "status": "failed", "steps": 7})
    figure = pictures.success(designs)
    left = figure.axes[0]
    texts = {t.get_text() for t in left.texts}
    assert {"3/4", "0/1"} <= texts
    bars = {}
    for box in left.containers:
        x, y = box.lines[0].get_data()
        bars[float(x[0])] = (float(y[0]), box.lines[2][0].get_segments()[0][:, 1])
    share, ends = bars[0.25]
    n, z = 4, 1.0
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    np.testing.assert_allclose(ends, [middle - half, middle + half], atol=2e-4)
    assert bars[0.65][0] == 0


def test_success_of_several_objectives_and_of_none() -> None:
    designs = [
        {"target": [0.2, 0.5], "initial": [0.4, 0.3], "status": "step_limit", "steps": 5},
        {"target": [0.3, 0.5], "initial": [0.4, 0.3], "status": "step_limit", "steps": 5},
    ]
    figure = pictures.success(designs)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0.2, 0.5", "0.3, 0.5"]
    assert any(t.get_text() == "none succeeded" for t in figure.axes[1].texts)
    with pytest.raises(InputError, match="no design has ended"):
        pictures.success([{**designs[0], "status": "running"}])


def test_pictures_leave_matplotlib_as_it_was(
    history: histories.History, views: tuple[pictures.View, pictures.View]
) -> None:
    with matplotlib.rc_context({"font.size": 31, "text.usetex": True}):
        before = dict(matplotlib.rcParams)
        figure = pictures.overview([(history, *views)])
        assert dict(matplotlib.rcParams) == before
    assert figure.axes[0].yaxis.label.get_fontsize() < 12
    with pytest.raises(InputError, match="no designs"):
        pictures.overview([])


# Reports


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
    run: Path, status: str, message: str, says: str
) -> None:
    write_outcome(run, status=status, message=message, value=None, loss=None)
    found = checked(write_report(run))
    assert says in found.text
    assert len(found.images) == 4


def test_a_run_of_step_0_alone_is_reported(run: Path, made: Path) -> None:
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


def test_what_is_no_run_directory_is_refused_by_name(run: Path, tmp_path: Path) -> None:
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
def farm(made: Path, tmp_path: Path) -> Callable[[int, Mapping[int, dict[str, Any]]], Path]:
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
