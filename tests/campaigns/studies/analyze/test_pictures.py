"""``amorph analyze --plot``: histograms and pictures that show what was measured."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.figure import Figure
from PIL import Image

from amorph import bridge, ensemble
from amorph.campaigns import cli, pictures
from amorph.handover import InputError

SOFT = bridge.SoftSphere(diameters=[1.0, 1.4], stiffness=1.0)


def ink(path: Path) -> float:
    """The share of a picture that is not white."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    return float((pixels < 250).any(axis=2).mean())


def texts(figure: Figure) -> str:
    return " | ".join(
        t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text")) if t.get_text()
    )


def test_plot_makes_histograms_and_frames(tmp_path: Path) -> None:
    flat = ensemble.quench(SOFT, 40, 1.0, 2, 6, 1)
    loose = bridge.Packing.of([[0.0, 0.0], [3.0, 1.0]], [0, 1], np.eye(2) * 8.0)
    frames = [bridge.Packing.of(flat.positions[k], flat.typeid, flat.boxes[0]) for k in range(6)]
    bridge.write_gsd(tmp_path / "flat.gsd", [(SOFT, p) for p in (*frames, loose)])
    folder = tmp_path / "pictures"
    command = ["analyze", str(tmp_path / "flat.gsd"), "-o", str(tmp_path / "a.csv")]
    command += ["--features", "pressure,energy", "--workers", "1", "--plot", str(folder)]
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, "--plot-frames", "99"])
    assert caught.value.code == 2
    assert not folder.exists()
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, "--plot-frames", "1,6"])
    assert caught.value.code == 0
    made = {p.name: p for p in folder.iterdir()}
    assert set(made) == {"histograms.png", "frame-1.png", "frame-6.png"}
    assert 0.02 < ink(made["histograms.png"]) < 0.5
    assert ink(made["frame-1.png"]) > 0.4
    assert 0.01 < ink(made["frame-6.png"]) < 0.2  # two discs, as they were read
    with pytest.raises(SystemExit) as caught:  # pictures that are there are kept
        cli.main([*command[:2], "-o", str(tmp_path / "b.csv"), *command[4:], "--plot-frames", "1"])
    assert caught.value.code == 2
    assert not (tmp_path / "b.csv").exists()


def view(dimension: int, *, box: bool = True, n: int = 30) -> pictures.View:
    places = np.random.default_rng(4).uniform(-3, 3, size=(n, dimension))
    vector = places[1:] - places[:-1]
    return pictures.View(
        positions=places,
        typeid=np.arange(n, dtype=np.int32) % 2,
        types=("A", "B"),
        diameters=np.array([1.0, 1.4]),
        box=6.0 * np.eye(dimension) if box else None,
        pairs=np.stack([np.arange(n - 1), np.arange(1, n)], axis=1).astype(np.int32),
        vector=vector,
        force=np.where(np.arange(n - 1) % 3 == 0, -1.0, 2.0),
        bulk=np.zeros(n - 1),
        shear=np.zeros(n - 1),
        label="a label",
        rattlers=np.arange(n) % 5 == 0,
    )


@pytest.mark.parametrize("box", [True, False])
@pytest.mark.parametrize("dimension", [2, 3])
def test_a_frame_shows_every_particle_to_scale(dimension: int, box: bool) -> None:
    figure = pictures.frame(view(dimension, box=box), "a caption")
    discs = figure.axes[0].findobj(EllipseCollection)[0]
    # All particles once, and in a box in 2D the images that reach into it.
    assert isinstance(discs, EllipseCollection)
    n_drawn = len(discs.get_offsets())
    assert n_drawn > 30 if dimension == 2 and box else n_drawn == 30
    # With axes of equal scale, widths in data units are to scale.
    assert figure.axes[0].get_aspect() == 1.0
    faces = np.asarray(discs.get_facecolor())
    white = (np.ptp(faces[:, :3], axis=1) < 1e-9).sum()
    assert white >= 6  # the rattlers
    said = texts(figure)
    for part in ("a label", "a caption", "type A", "type B", "rattler"):
        assert part in said
    assert len(figure.axes) == (2 if dimension == 3 and box else 1)
    if dimension == 2:
        assert figure.axes[0].findobj(LineCollection)
        assert "attraction" in said


def test_histograms_count_what_they_leave_out() -> None:
    chance = np.random.default_rng(5)
    values = np.append(chance.normal(0.4, 0.05, 3000), [70.0, -50.0])
    figure = pictures.histograms(
        [
            pictures.Quantity("poisson_ratio", "Poisson's ratio ν", {2: values, 3: values[:0]}),
            pictures.Quantity("n_rattlers", "rattlers", {2: chance.poisson(2, 500).astype(float)}),
            pictures.Quantity("constant", "constant", {2: np.full(9, 0.3), 3: np.full(2, 0.3)}),
        ],
        "3,002 of 3,002 frames",
    )
    said = texts(figure)
    assert "Poisson's ratio ν" in said
    assert "3,002 of 3,002 frames" in said
    assert "beyond" in said
    assert "in 3D" in said
    low, high = figure.axes[0].get_xlim()
    assert 0 < low < high < 1
    with pytest.raises(InputError, match="no histogram"):
        pictures.histograms([pictures.Quantity("a", "a", {2: np.zeros(0)})])
