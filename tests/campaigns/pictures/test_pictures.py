"""What pictures show of designs and packings, on short runs made by hand."""

import re
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from amorph.campaigns import pictures
from amorph.campaigns.pictures.packing import flatten
from amorph.campaigns.studies.design import history as histories
from amorph.campaigns.studies.design import pictures as drawings
from amorph.campaigns.studies.design.entries import view_of
from amorph.handover import (
    InputError,
)


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
    figure = drawings.trace(history)
    loss = _series(figure, "loss")
    assert loss.get_yscale() == "log"
    curves = [line.get_ydata() for line in loss.lines]
    assert any(len(y) == history.n_steps + 1 and np.array_equal(y, history.loss) for y in curves)
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
    figure = drawings.parameters(history)
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
    figure = drawings.success(designs)
    left = figure.axes[0]
    texts = {t.get_text() for t in left.texts}
    assert {"3/4", "0/1"} <= texts
    shares = {float(x.get_xdata()[0]): x for x in left.lines if x.get_marker() == "o"}
    intervals = {float(x.get_xdata()[0]): x for x in left.lines if x.get_marker() == "_"}
    bars = {k: (float(shares[k].get_ydata()[0]), x.get_ydata()) for k, x in intervals.items()}
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
    figure = drawings.success(designs)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0.2, 0.5", "0.3, 0.5"]
    assert any(t.get_text() == "none succeeded" for t in figure.axes[1].texts)
    with pytest.raises(InputError, match="no design has ended"):
        drawings.success([{**designs[0], "status": "running"}])


def test_pictures_leave_matplotlib_as_it_was(
    history: histories.History, views: tuple[pictures.View, pictures.View]
) -> None:
    with matplotlib.rc_context({"font.size": 31, "text.usetex": True}):
        before = dict(matplotlib.rcParams)
        figure = drawings.overview([(history, *views)])
        assert dict(matplotlib.rcParams) == before
    assert figure.axes[0].yaxis.label.get_fontsize() < 12
    with pytest.raises(InputError, match="no designs"):
        drawings.overview([])
