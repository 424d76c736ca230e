"""Every picture of every report shows its data where they are: coordinates read back from it.

What is drawn has known places; they are read from matplotlib's own lines, collections and patches.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from matplotlib.quiver import Quiver

from amorph.campaigns import pictures
from amorph.campaigns.pictures import View, modes
from amorph.campaigns.pictures.frames import _looking
from amorph.campaigns.pictures.style import diverging_colours
from amorph.campaigns.studies.design import pictures as drawings
from amorph.campaigns.studies.design.history import History
from amorph.campaigns.studies.design.localisation import Localisation
from amorph.campaigns.studies.design.validation import Validated
from amorph.campaigns.studies.gradient.check import GradientCheck
from amorph.campaigns.studies.gradient.pictures import gradient as gradient_picture

Points = list[tuple[float, float]]


def points(axes: Axes, *markers: str) -> Points:
    """Where lines with such markers have their points, sorted."""
    found = [
        (float(x), float(y))
        for line in axes.lines
        if line.get_marker() in markers
        for x, y in zip(*np.broadcast_arrays(*map(np.atleast_1d, line.get_data())), strict=True)
    ]
    return sorted(found)


def ends(axes: Axes, marker: str = "_") -> Points:
    """From where to where intervals go, along their own axis, with their place before."""
    lines = [x for x in axes.lines if x.get_marker() == marker and len(x.get_xdata()) == 2]
    return sorted(tuple(map(float, np.ravel(x.get_data()))) for x in lines)


def panel(figure: Figure, label: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_ylabel() == label)


# Many designs


def design(target: Any, **more: Any) -> dict[str, Any]:
    found = {
        "kind": "individual",
        "status": "converged",
        "feature": ["ν"] * np.size(target),
        "target": target,
        "initial": [0.45] * np.size(target),
        "swept": {"objective.0.target": target},
        "components": {"diameters": ["A", "B"], "binding": ["AA", "AB", "BB"]},
    }
    return {**found, **more}


def test_success_stands_at_its_target_and_no_step_at_zero() -> None:
    taken = {0.25: [0, 3, 20], 0.65: [7, 7]}
    designs = [design(t, steps=n) for t, steps in taken.items() for n in steps]
    designs.append(design(0.65, steps=50, status="step_limit"))
    left, right = drawings.success(designs).axes
    assert points(left, "o") == [(0.25, 1.0), (0.65, 2 / 3)]
    assert {place for place, _, _, _ in ends(left)} == {0.25, 0.65}
    assert points(right, "o") == [(0.25, 0), (0.25, 3), (0.25, 20), (0.65, 7), (0.65, 7)]
    assert points(right, "_") == [(0.25, 3), (0.65, 7)]
    assert right.get_yscale() == "symlog"
    texts = [t.get_text() for t in right.get_yticklabels()]
    labels = dict(zip(right.get_yticks().tolist(), texts, strict=True))
    assert (labels[0.0], labels[10.0]) == ("0", "$10^{1}$")
    assert [(float(t.xy[0]), t.get_text()) for t in left.texts] == [(0.25, "3/3"), (0.65, "2/3")]
    # Without a design of no steps the axis is logarithmic throughout.
    assert drawings.success(designs[1:]).axes[1].get_yscale() == "log"


def test_success_of_series_has_a_row_each_and_of_pairs_a_column_each() -> None:
    designs = [
        design(t, steps=10 * n, swept={"objective.0.target": t, "design.packings": n})
        for n in (1, 2)
        for t in (0.25, 0.65)
    ]
    figure = drawings.success(designs)
    for n, (left, right) in zip((1, 2), np.reshape(figure.axes, (2, 2)), strict=True):
        assert points(left, "o") == [(0.25, 1.0), (0.65, 1.0)]
        assert points(right, "o") == [(0.25, 10.0 * n), (0.65, 10.0 * n)]
    pairs = [design([0.3, b], steps=5) for b in np.linspace(0.1, 0.5, 15).round(3).tolist()]
    left, right = drawings.success(pairs).axes
    assert points(right, "o") == [(float(k), 5.0) for k in range(15)]
    assert [t.get_text() for t in left.get_xticklabels()][:2] == ["0.3, 0.1", "0.3, 0.129"]


def found(value: float, low: float, high: float, size: int = 128) -> dict[str, Any]:
    return {"n_particles": size, "value": [value], "interval": [[low, high]], "median": [value + 1]}


def test_validated_means_stand_at_their_target_each_with_its_interval() -> None:
    # The second interval lies beside its mean.
    designs = [
        design(0.25, validations=[found(0.3, 0.2, 0.4), found(0.31, 0.3, 0.33, 512)]),
        design(0.25, validations=[found(0.5, 0.1, 0.45)]),
        design(0.65, validations=[found(0.6, 0.55, 0.7)]),
    ]
    (axes,) = drawings.validated(designs).axes
    assert points(axes, "o") == [(0.25, 0.3), (0.25, 0.5), (0.65, 0.6)]
    assert points(axes, "s") == [(0.25, 0.31)]
    assert points(axes, "x") == [(0.25, 1.3), (0.25, 1.31), (0.25, 1.5), (0.65, 1.6)]
    assert ends(axes) == [
        (0.25, 0.25, 0.1, 0.45),
        (0.25, 0.25, 0.2, 0.4),
        (0.25, 0.25, 0.3, 0.33),
        (0.65, 0.65, 0.55, 0.7),
    ]
    colours = {y: line.get_color() for line in axes.lines for y in line.get_ydata()}
    assert colours[0.3] == colours[1.3] == colours[0.2]  # what is one design's is of one colour
    assert len({colours[0.3], colours[0.5]}) == 2


def test_validated_series_have_a_panel_each_and_designs_to_one_target_a_column_each() -> None:
    designs = [
        design(
            t,
            validations=[found(t + 0.1 * n, t, t + 0.5)],
            swept={"objective.0.target": t, "design.packings": n},
        )
        for n in (1, 2)
        for t in (0.25, 0.65)
    ]
    panels = drawings.validated(designs).axes
    for n, axes in zip((1, 2), panels, strict=True):
        assert points(axes, "o") == [(t, t + 0.1 * n) for t in (0.25, 0.65)]
    (axes,) = drawings.validated([designs[0], designs[2]]).axes
    assert points(axes, "o") == [(1.0, 0.35), (2.0, 0.45)]
    assert axes.get_xlabel() == "design to ν = 0.25"


def test_validated_pairs_stand_where_both_values_are() -> None:
    both = {"n_particles": 128, "value": [0.31, 0.12], "interval": [[0.3, 0.35], [0.13, 0.15]]}
    (axes,) = drawings.validated_pairs([design([0.3, 0.1], validations=[both])]).axes
    assert points(axes, "o") == [(0.31, 0.12)]
    assert points(axes, "x") == [(0.3, 0.1)]
    assert points(axes, "*") == [(0.45, 0.45)]
    assert ends(axes, "|") == [(0.3, 0.35, 0.12, 0.12)]
    assert ends(axes) == [(0.31, 0.31, 0.13, 0.15)]  # as it is, though it does not hold the mean


def test_localised_stands_at_its_target() -> None:
    target = [0.25, 0.65, 0.25]
    moduli = [(0.3, 0.2, 0.8, 0.9), (0.1, 0.05, 0.4, 0.3), (0.5, 0.4, 0.6, 0.7)]
    figure = drawings.localised(target, [Localisation(*m) for m in moduli], "ν")
    order = [0, 2, 1, 3]  # a row for each modulus, a column for each measure
    for axes, k in zip(figure.axes, order, strict=True):
        values = [m[k] for m in moduli]
        assert points(axes, "o") == sorted(zip(target, values, strict=True))
        (line,) = [x for x in axes.lines if x.get_marker() == "None"]
        medians = [np.median([values[0], values[2]]), values[1]]
        np.testing.assert_array_equal(line.get_data(), [[0.25, 0.65], medians])


def parameters(k: int) -> dict[str, Any]:
    return {"diameters": [0.8 + k, 1.0 + k], "binding": [0.1 + k, 0.2 + k, 0.3 + k]}


def test_trained_parameters_stand_at_their_target() -> None:
    designs = [design(t, parameters=parameters(k)) for k, t in enumerate((0.65, 0.25, 0.65))]
    # A panel for each type and pair, where a target has several designs.
    panels = [a for a in drawings.trained(designs).axes if a.axison]
    firsts = [0.8, 1.0, 0.1, 0.2, 0.3]
    assert [a.get_title() for a in panels] == ["A", "B", "AA", "AB", "BB"]
    for axes, first in zip(panels, firsts, strict=True):
        assert points(axes, "o") == [(0.25, first + 1), (0.65, first), (0.65, first + 2)]
    # One for all, where it has one.
    upper, lower = drawings.trained(designs[:2]).axes
    assert points(upper, "o") == [(0.25, 1.8), (0.25, 2.0), (0.65, 0.8), (0.65, 1.0)]
    assert {x for x, _ in points(lower, "o")} == {0.25, 0.65}


def test_trained_to_pairs_and_to_one_target_stand_in_columns() -> None:
    pairs = [design(t, parameters=parameters(k)) for k, t in enumerate(([0.3, 0.5], [0.3, 0.1]))]
    upper, lower = drawings.trained(pairs).axes
    assert points(upper, "o") == [(0, 1.8), (0, 2.0), (1, 0.8), (1, 1.0)]
    assert [t.get_text() for t in lower.get_xticklabels()] == ["0.3, 0.1", "0.3, 0.5"]
    alone = [design(0.3, parameters=parameters(k)) for k in range(3)]
    upper, _ = drawings.trained(alone).axes
    assert [t.get_text() for t in upper.get_xticklabels()] == ["A", "B"]
    for x, y in points(upper, "o"):
        assert round(x) == (0 if np.isclose(y % 1, 0.8) else 1)  # within its type's column
        assert abs(x - round(x)) <= 0.25


# One design


def line_of(axes: Axes, label: str | None = None, colour: str | None = None) -> np.ndarray:
    """The first curve of a label or a colour, (2, S)."""
    for line in axes.lines:
        if (label and line.get_label().startswith(label)) or line.get_color() == colour:
            return np.array(line.get_data(), dtype=float)
    raise AssertionError(f"no line {label or colour}")


def test_the_trace_has_every_step_at_its_number(history: History) -> None:
    loss = history.loss.copy()
    loss[[2, 5]] = 0.0
    fresh = Validated(
        step=4,
        n_particles=32,
        packings=9,
        failed=0,
        value=(0.9, 0.5),
        error=(0.1, 0.1),
        interval=((0.91, 0.95), (0.4, 0.6)),
        loss=0.0,
    )
    changed = replace(history, step=history.step + 10, loss=loss, validations=(fresh,))
    figure = drawings.trace(changed)
    top = panel(figure, "loss")
    np.testing.assert_array_equal(line_of(top, colour="#0072B2"), [changed.step, loss])
    assert top.get_yscale() == "symlog"
    low, high = top.get_ylim()
    assert low < 0 < loss.max() < high
    assert top.get_yticks()[0] == 0
    for k, name in enumerate(history.feature):
        axes = panel(figure, name)
        curves = [np.array(line.get_data()) for line in axes.lines]
        expected = [changed.step, history.value[:, k]]
        assert any(np.array_equal(c, expected) for c in curves if c.shape == (2, 7))
        assert points(axes, "D") == [(4.0, fresh.value[k])]
        assert ends(axes) == [(4.0, 4.0, *fresh.interval[k])]
        marks = [line.get_xdata() for line in axes.lines if line.get_color() == "#CC79A7"]
        np.testing.assert_array_equal(marks, [[13, 13]])
    rug = panel(figure, "crossings").collections[0]
    assert isinstance(rug, LineCollection)
    heights = {float(s[0, 0]): float(s[1, 1]) for s in rug.get_segments()}
    assert heights == dict.fromkeys((11.0, 13.0, 15.0), 10.0)


def test_each_packing_of_a_step_is_shown_or_counted(history: History) -> None:
    rng = np.random.default_rng(0)
    each = np.concatenate([history.each + 0.01 * rng.normal(size=(7, 1, 2)) for _ in range(40)], 1)
    each[3, 7, 0] = 99.0
    figure = drawings.trace(replace(history, each=each))
    axes = panel(figure, history.feature[0])
    expected = sorted(zip(np.repeat(history.step, 40), each[:, :, 0].ravel(), strict=True))
    np.testing.assert_array_equal(points(axes, "."), expected)
    low, high = axes.get_ylim()
    beyond = int(((each[:, :, 0] < low) | (each[:, :, 0] > high)).sum())
    assert beyond >= 1
    assert f"{beyond} beyond" in [t.get_text() for t in axes.texts]


def test_parameters_have_every_step_at_its_number(history: History) -> None:
    binding = history.parameters["binding"].copy()
    binding[:, 2] = binding[:, 0]  # shared
    changed = replace(history, parameters={**history.parameters, "binding": binding})
    figure = drawings.parameters(changed)
    axes = panel(figure, "binding energy $B$")
    for k, name in enumerate(("AA", "AB", "BB")):
        np.testing.assert_array_equal(line_of(axes, name), [history.step, binding[:, k]])
    # None hides another that it coincides with, and AB is as AA from the start.
    assert len({line.get_linestyle() for line in axes.lines if line.get_label()[1] in "AB"}) == 3
    relative = panel(figure, "change of\ndiameter $D$ (%)")
    values = history.parameters["diameters"]
    for k, name in enumerate(("A", "B")):
        shown = [history.step, 100 * (values[:, k] / values[0, k] - 1)]
        np.testing.assert_allclose(line_of(relative, name), shown, rtol=1e-12)
    rate = panel(figure, "learning rate")
    np.testing.assert_array_equal(line_of(rate, colour="#6E6E6E"), [history.step, history.pace])


def test_paths_have_every_step_at_its_number_and_end_in_a_dot(history: History) -> None:
    other = replace(history, step=history.step + 3)
    figure = drawings.paths([history, other])
    shown = [axes for axes in figure.axes if axes.axison]
    columns = [(n, k) for n in history.changed for k in range(history.parameters[n].shape[1])]
    assert len(shown) == len(columns)
    for axes, (name, k) in zip(shown, columns, strict=True):
        values = history.parameters[name][:, k]
        for h, line in zip((history, other), axes.lines[::2], strict=True):
            np.testing.assert_array_equal(line.get_data(), [h.step, values])
        assert points(axes, "o") == [(6.0, values[-1]), (9.0, values[-1])]


# Packings


def view(dimension: int = 2, label: str = "") -> pictures.View:
    """Three particles in a box of side 4; one lies across its right side, bound to the second."""
    positions = np.array([[1.8, 0.5, 0.1], [-1.6, 0.5, 0.0], [0.0, -1.0, -0.2]])[:, :dimension]
    return pictures.View(
        positions=positions,
        typeid=np.array([0, 1, 0], dtype=np.int32),
        types=("A", "B"),
        diameters=np.array([1.0, 1.4]),
        box=4.0 * np.eye(dimension),
        pairs=np.array([[0, 1], [0, 2]], dtype=np.int32),
        vector=np.array([[0.6, 0.0, -0.1], [-1.8, -1.5, -0.3]])[:, :dimension],
        force=np.array([2.0, -1.0]),
        bulk=np.array([3.0, -1.5]),
        shear=np.array([0.5, 0.25]),
        label=label,
        rattlers=np.array([False, False, True]),
    )


# Where the three are seen, with the image of the first and of the second that reach into the cell.
DISCS = {(1.8, 0.5): 1.0, (-2.2, 0.5): 1.0, (-1.6, 0.5): 1.4, (2.4, 0.5): 1.4, (0.0, -1.0): 1.0}
BONDS = {
    (1.8, 0.5, 2.4, 0.5),
    (-2.2, 0.5, -1.6, 0.5),
    (1.8, 0.5, 0.0, -1.0),
}


def discs(axes: Axes) -> dict[tuple[float, float], float]:
    """The places of discs, and their diameters in units of the axes, which are alike."""
    assert axes.get_aspect() == 1.0
    found = next(c for c in axes.collections if isinstance(c, EllipseCollection))
    offsets = np.asarray(found.get_offsets())
    assert found.get_offset_transform() == axes.transData
    widths = np.asarray(found.get_widths())
    np.testing.assert_array_equal(widths, found.get_heights())
    return {(round(x, 9), round(y, 9)): float(w) for (x, y), w in zip(offsets, widths, strict=True)}


def bonds(axes: Axes) -> dict[tuple[float, ...], tuple[float, Any]]:
    """From where to where bonds go, with their width and colour."""
    found = next(c for c in axes.collections if isinstance(c, LineCollection))
    return {
        tuple(round(float(v), 9) for v in np.ravel(s)): (float(w), tuple(c))
        for s, w, c in zip(
            found.get_segments(), found.get_linewidths(), found.get_colors(), strict=True
        )
    }


def assert_shows(axes: Axes) -> None:
    assert discs(axes) == DISCS
    assert set(bonds(axes)) >= BONDS
    # Its images of the bond across the side, and of nothing else.
    assert {b[2:] for b in set(bonds(axes)) - BONDS} <= {(-4.0, -1.0)}


def test_packings_stand_where_their_particles_are() -> None:
    before, after = view(label="before"), view(label="after")
    figure = pictures.packings(before, after)
    for axes in figure.axes:
        assert_shows(axes)
        (strong, blue), (weak, red) = (bonds(axes)[b] for b in sorted(BONDS)[1:][::-1])
        assert strong == pytest.approx(2 * weak, rel=0.02)
        assert blue[2] > blue[0]  # repulsion
        assert red[0] > red[2]


def test_bonds_stand_where_their_pairs_are_and_are_counted_at_their_value() -> None:
    figure = pictures.bonds(view(), view())
    networks = [axes for axes in figure.axes if axes.get_aspect() == 1.0]
    assert len(networks) == 4
    for axes in networks:
        assert_shows(axes)
    for panel_, values in zip(
        [a for a in figure.axes if a.get_ylabel().startswith("$P(")],
        ([3.0, -1.5], [0.5, 0.25]),
        strict=True,
    ):
        patch = next(p for p in panel_.patches if isinstance(p, StepPatch))
        density, edges, _ = patch.get_data()
        for value in values:
            bin_ = min(np.searchsorted(edges, value, side="right") - 1, len(density) - 1)
            assert density[bin_] * np.diff(edges)[bin_] == pytest.approx(0.5)
        assert np.count_nonzero(density) == 2


def test_the_overview_shows_each_design_at_its_place(history: History) -> None:
    figure = drawings.overview([(history, view(), view())])
    value, before, after = figure.axes
    np.testing.assert_array_equal(
        line_of(value, colour="#0072B2"), [history.step, history.value[:, 0]]
    )
    for axes in (before, after):
        assert_shows(axes)


def test_a_frame_stands_where_its_particles_are() -> None:
    (axes,) = pictures.frame(view()).axes
    assert_shows(axes)
    faces = next(c for c in axes.collections if isinstance(c, EllipseCollection)).get_facecolor()
    white = np.asarray(faces)[:, :3].min(axis=1) == 1.0
    assert white.sum() == 1  # the rattler


def test_a_frame_in_3d_stands_as_it_is_seen_with_its_layer() -> None:
    solid, layer = pictures.frame(view(3)).axes
    right, up, eye = _looking()
    np.testing.assert_allclose(_looking() @ _looking().T, np.eye(3), atol=1e-12)
    assert eye[2] > 0  # from above
    seen = {(round(float(p @ right), 9), round(float(p @ up), 9)) for p in view(3).positions}
    assert set(discs(solid)) == seen
    assert discs(layer) == DISCS  # all are in it
    # The box: twelve edges between the corners as they are seen.
    drawn = [
        s for c in solid.collections if isinstance(c, LineCollection) for s in c.get_segments()
    ]
    corners = {(round(float(2 * s @ right), 9), round(float(2 * s @ up), 9)) for s in _CORNERS}
    assert len(drawn) == 12
    assert {tuple(np.round(end, 9).tolist()) for s in drawn for end in s} == corners


_CORNERS = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])


# Many frames, and gradients


def test_histograms_count_frames_between_the_edges_they_draw() -> None:
    values = np.array([0.0, 0.1, 0.1, 0.9, np.nan, np.inf])
    rattlers = np.array([0.0, 2.0, 2.0, 5.0])
    figure = pictures.histograms(
        [
            pictures.Quantity("a", "a", {2: values[:3], 3: values[3:]}),
            pictures.Quantity("n", "n", {2: rattlers, 3: rattlers[:0]}),
        ]
    )
    first, second = figure.axes
    for patch, shown in zip(first.patches[::2], (values[:3], values[3:4]), strict=True):
        assert isinstance(patch, StepPatch)
        count, edges, _ = patch.get_data()
        np.testing.assert_array_equal(count, np.histogram(shown, edges)[0])
        assert count.sum() == len(shown)
    medians = [float(line.get_xdata()[0]) for line in first.lines]
    assert medians == [0.1, 0.9]
    assert "2 not finite" in [t.get_text() for t in first.texts]
    patch = second.patches[0]
    assert isinstance(patch, StepPatch)
    count, edges, _ = patch.get_data()
    centres = 0.5 * (edges[1:] + edges[:-1])
    counted = dict(zip(centres.tolist(), count.tolist(), strict=True))
    assert counted == {0.0: 1, 1.0: 0, 2.0: 2, 3.0: 0, 4.0: 0, 5.0: 1}


def check(*, followed: bool) -> GradientCheck:
    """Two packings, two parameters, one change; of the loss value², as the targets are 0."""
    value = np.array([[1.0], [2.0]])
    slope = np.array([[[1.0, 0.5]], [[2.0, -1.0]]])
    changed = np.zeros((2, 2, 1, 2, 1))
    for r in range(2):
        for c in range(2):
            for k, sign in enumerate((1.0, -1.0)):
                changed[r, c, 0, k, 0] = value[r, 0] + sign * 0.1 * slope[r, 0, c]
    changed[1, 1, 0, 0, 0] = 2.3  # rises, where the slope says that it falls
    changed[0, 1, 0, 1, 0] = 1.0  # does not change
    changed[0, 0, 0, 0, 0] = np.nan
    rearranged = np.zeros((2, 2, 1, 2), dtype=bool)
    rearranged[1, 0, 0, 0] = True
    return GradientCheck(
        followed=followed,
        features=("a",),
        targets=np.zeros(1),
        weights=np.ones(1),
        bounds=np.array([[-np.inf, np.inf]]),
        components=("D[A]", "D[B]"),
        parts=np.array([0.1]),
        changes=np.full((2, 1), 0.1),
        value=value,
        slope=slope,
        jump_terms=np.zeros((2, 1, 2)),
        changed=changed,
        rearranged=rearranged,
        failed=0,
    )


def test_changes_of_a_loss_stand_at_what_was_predicted_and_measured() -> None:
    found = check(followed=True)
    predicted, measured = found.loss_changes()
    same, other = gradient_picture(found).axes
    expected: dict[bool, Points] = {True: [], False: []}
    for p, m in zip(predicted.ravel(), measured.ravel(), strict=True):
        if np.isfinite(m) and m != 0:
            expected[bool(m * p > 0)].append((abs(p), abs(m)))
    assert (len(expected[True]), len(expected[False])) == (5, 1)
    np.testing.assert_allclose(points(same, "o"), sorted(expected[True]))
    np.testing.assert_allclose(points(other, "o"), sorted(expected[False]))
    low, high = other.get_ylim()
    assert low > high  # mirrored
    title = "2 packings; 1 of 7 changes of the other sign, 1 predicted or measured as 0, 1 lost"
    assert same.get_title() == title
    # Where nothing is predicted to change there is nothing to draw, and no error.
    nothing = gradient_picture(replace(found, value=np.zeros((2, 1)))).axes
    assert points(nothing[0], "o") == []


def test_derivatives_of_means_stand_in_the_column_of_their_parameter() -> None:
    found = check(followed=False)
    found.changed[0, 0, 0, 0, 0] = 1.2
    (axes,) = gradient_picture(found).axes
    assert [t.get_text() for t in axes.get_xticklabels()] == ["D[A]", "D[B]"]
    differences, errors = found.differences()
    means = [found.mean_slopes(limit, jump_terms=False) for limit in (10.0, 1.0)]
    expected = [(differences[0, :, 0], errors[0, :, 0]), *((m[0], e[0]) for m, e in means)]
    assert len(axes.containers) == len(expected)
    for box, (mean, error) in zip(axes.containers, expected, strict=True):
        x, y = box.lines[0].get_data()
        np.testing.assert_array_equal(np.rint(x), [0, 1])
        np.testing.assert_array_equal(y, mean)
        for segment, m, e in zip(box.lines[2][0].get_segments(), mean, error, strict=True):
            np.testing.assert_allclose(segment[:, 1], [m - e, m + e])


def test_modes_colour_each_particle_by_its_own_value() -> None:
    """And its arrow starts at its centre: of a square of four, each with its image or without."""
    centres = np.array([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
    nothing = np.zeros(0)
    view = View(
        positions=centres,
        typeid=np.zeros(4, dtype=np.int32),
        types=("A",),
        diameters=np.array([1.0]),
        box=4.0 * np.eye(2),
        pairs=np.zeros((0, 2), dtype=np.int32),
        vector=np.zeros((0, 2)),
        force=nothing,
        bulk=nothing,
        shear=nothing,
    )
    value = np.array([1.0, -1.0, 0.5, 0.0])
    arrow = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    figure = modes(view, [value], [arrow], ["mode 0"])
    axes = figure.axes[0]
    discs = next(c for c in axes.collections if isinstance(c, EllipseCollection))
    quiver = next(c for c in axes.collections if isinstance(c, Quiver))
    offsets = np.asarray(discs.get_offsets())
    assert len(offsets) == 4
    expected = diverging_colours(0.5 + 0.5 * value)
    for place, colour in zip(offsets, discs.get_facecolors(), strict=True):
        k = int(np.argmin(np.linalg.norm(centres - place, axis=1)))
        np.testing.assert_allclose(place, centres[k])
        np.testing.assert_allclose(colour, expected[k])
    start = np.stack([quiver.X, quiver.Y], axis=1)
    for place, u, v in zip(start, quiver.U, quiver.V, strict=True):
        k = int(np.argmin(np.linalg.norm(centres - place, axis=1)))
        np.testing.assert_allclose([u, v], 1.2 * arrow[k])
    assert axes.get_title() == "mode 0"


def test_of_hundreds_of_parameters_no_names_are_written(recwarn: pytest.WarningsRecorder) -> None:
    rng = np.random.default_rng(1)
    labels = [f"{a}-{b}" for a in range(32) for b in range(a, 32)]
    designs = [
        {
            "target": [0.1 * k, 0.2, 0.3],
            "feature": ["bulk_modulus", "shear_modulus", "pressure"],
            "parameters": {"stiffness": rng.uniform(0.5, 1.5, len(labels)).tolist()},
            "components": {"stiffness": labels},
        }
        for k in range(30)
    ]
    figure = drawings.trained(designs)
    figure.canvas.draw()
    (axes,) = figure.axes
    assert axes.get_legend() is None
    assert sum(len(line.get_xdata()) for line in axes.lines) == 30 * len(labels)
    assert not [w for w in recwarn if "layout" in str(w.message)]
