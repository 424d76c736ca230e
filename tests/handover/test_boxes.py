"""Boxes against hand-worked cases and against geometry done another way."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amorph.handover import (
    BoxTooSmallError,
    InputError,
    box_from_hoomd,
    box_to_hoomd,
    check_box,
    reduce_tilt,
    widths,
    wrap,
)

TRICLINIC = np.array([[5.0, 2.0, 1.5], [0.0, 4.0, -3.0], [0.0, 0.0, 6.0]])


def test_hoomd_form() -> None:
    assert box_to_hoomd(TRICLINIC).tolist() == [5, 4, 6, 0.5, 0.25, -0.5]
    assert box_to_hoomd(TRICLINIC[:2, :2]).tolist() == [5, 4, 0, 0.5, 0, 0]
    assert box_to_hoomd(None).tolist() == [0] * 6
    back = box_from_hoomd([5, 4, 6, 0.5, 0.25, -0.5], 3)
    assert back is not None
    assert back.tolist() == TRICLINIC.tolist()
    flat = box_from_hoomd([5, 4, 1, 0.5, 0.25, -0.5], 2)
    assert flat is not None
    assert flat.tolist() == [[5, 2], [0, 4]]
    assert box_from_hoomd(np.zeros(6), 2) is None


def faces_apart(box: np.ndarray) -> list[float]:
    """Distances between opposite faces: volume over the area of the face."""
    d = len(box)
    volume = abs(np.linalg.det(box))
    apart = []
    for i in range(d):
        others = [box[:, j] for j in range(d) if j != i]
        area = np.linalg.norm(others[0] if d == 2 else np.cross(*others))
        apart.append(float(volume / area))
    return apart


tilts = st.floats(-2, 2)
lengths = st.floats(0.5, 20)


@given(
    st.tuples(lengths, lengths, lengths, tilts, tilts, tilts),
    st.sampled_from([2, 3]),
)
def test_widths_are_distances_between_faces(six: tuple, dimension: int) -> None:
    box = box_from_hoomd(six, dimension)
    assert box is not None
    np.testing.assert_allclose(widths(box), faces_apart(box), rtol=1e-12)
    np.testing.assert_allclose(box_to_hoomd(box)[:2], six[:2], rtol=0)
    np.testing.assert_allclose(box_to_hoomd(box)[3], six[3], rtol=1e-15, atol=1e-300)


def test_widths_without_tilt_are_exact() -> None:
    assert widths(np.diag([0.1, 0.3, 0.7])).tolist() == [0.1, 0.3, 0.7]


def test_check_box() -> None:
    check_box(np.diag([4.0, 5.0]), 2.0)  # equal to twice the cutoff is wide enough
    check_box(None, 1e9)
    with pytest.raises(BoxTooSmallError, match=r"x faces.*lower density"):
        check_box(np.diag([np.nextafter(4.0, 0), 5.0]), [1.0, 2.0])
    with pytest.raises(BoxTooSmallError, match="y faces"):
        check_box(np.diag([5.0, 3.0]), [[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(BoxTooSmallError, match="x faces"):
        # Each length is above 4, but the tilt brings two faces closer.
        check_box([[4.5, 4.5], [0.0, 4.5]], 2.0)
    for bad in (-1.0, np.nan, np.inf, []):
        with pytest.raises(InputError, match="r_cut"):
            check_box(np.diag([4.0, 4.0]), bad)


@pytest.mark.parametrize(
    "box",
    [
        np.eye(4),
        np.ones(3),
        [[1.0, 0.0], [0.1, 1.0]],
        np.diag([1.0, -1.0]),
        np.diag([1.0, 0.0, 1.0]),
        np.diag([1.0, np.nan]),
        [[1.0, 1e300], [0.0, 1e-300]],
        [[1.0, np.finfo(float).max], [0.0, 6.760627104100321e16]],
    ],
)
def test_malformed_boxes(box: object) -> None:
    with pytest.raises(InputError, match="box"):
        box_to_hoomd(box)  # type: ignore[arg-type]


def test_malformed_hoomd_boxes() -> None:
    with pytest.raises(InputError, match="dimension"):
        box_from_hoomd([1, 1, 1, 0, 0, 0], 4)
    with pytest.raises(InputError, match="shape"):
        box_from_hoomd([1, 1, 1], 3)
    with pytest.raises(InputError, match="Lz"):
        box_from_hoomd([1, 1, 0, 0, 0, 0], 3)
    with pytest.raises(InputError, match="finite"):
        box_from_hoomd([1, 1, 1, np.inf, 0, 0], 3)


@given(
    st.lists(st.tuples(*[st.floats(-1e3, 1e3)] * 3), min_size=1, max_size=5),
    st.tuples(lengths, lengths, lengths, tilts, tilts, tilts),
    st.sampled_from([2, 3]),
)
def test_wrap(points: list, six: tuple, dimension: int) -> None:
    positions = np.array(points)[:, :dimension]
    before = positions.copy()
    box = box_from_hoomd(six, dimension)
    assert box is not None
    wrapped, images = wrap(positions, box)
    assert np.array_equal(positions, before)
    assert images.dtype == np.int32
    np.testing.assert_allclose(wrapped + images @ box.T, positions, rtol=0, atol=1e-10)
    fractions = np.linalg.solve(box, wrapped.T)
    assert (np.abs(fractions) <= 0.5 + 1e-12).all()


def test_wrap_faces_and_images() -> None:
    box = np.diag([3.0, 5.0])
    wrapped, images = wrap([[1.5, -2.5], [-1.5, 2.5], [0.1, -0.0], [7.0, -11.0]], box)
    assert wrapped.tolist() == [[-1.5, -2.5], [-1.5, -2.5], [0.1, 0.0], [1.0, -1.0]]
    assert np.signbit(wrapped[2, 1])
    assert images.tolist() == [[1, 0], [0, 1], [0, 0], [2, -2]]


def test_wrap_tilted_image() -> None:
    for image in itertools.product([-2, 0, 3], repeat=3):
        wrapped, images = wrap([np.array([0.3, 0.2, -0.4]) + TRICLINIC @ image], TRICLINIC)
        assert images.tolist() == [list(image)]
        np.testing.assert_allclose(wrapped, [[0.3, 0.2, -0.4]], atol=1e-14)


def test_wrap_is_idempotent_next_to_faces() -> None:
    box = np.diag([0.1, 0.3, 0.7])
    edges = np.array([[s * np.nextafter(0.5, t) for s in (0.1, 0.3, 0.7)] for t in (0, 1)])
    points = np.concatenate([edges, -edges, edges + 1e3, edges * 0 + 0.5 * np.diag(box)])
    once, _ = wrap(points, box)
    twice, images = wrap(once, box)
    assert np.array_equal(once, twice)
    assert not images.any()


def test_wrap_open_boundary_and_errors() -> None:
    positions = np.array([[1e6, -2.0, 3.0]])
    wrapped, images = wrap(positions, None)
    assert np.array_equal(wrapped, positions)
    assert images.tolist() == [[0, 0, 0]]
    with pytest.raises(InputError, match="finite"):
        wrap([[np.nan, 0.0]], np.eye(2))
    with pytest.raises(InputError, match="dimensions"):
        wrap([[0.0, 0.0]], np.eye(3))
    with pytest.raises(InputError, match="shape"):
        wrap([0.0, 0.0], np.eye(2))
    for far in (1e10, 1e300):
        with pytest.raises(InputError, match="blown up"):
            wrap([[far, 0.0]], np.diag([1.0, 1e-10]))


@given(
    st.integers(2, 3),
    st.lists(st.floats(0.2, 5.0), min_size=3, max_size=3),
    st.lists(st.floats(-40.0, 40.0), min_size=3, max_size=3),
)
def test_a_reduced_tilt_is_the_same_lattice(d: int, lengths: list, tilts: list) -> None:
    box = np.diag(lengths[:d])
    for (row, column), tilt in zip(((0, 1), (0, 2), (1, 2)), tilts, strict=True):
        if column < d:
            box[row, column] = tilt
    reduced, steps = reduce_tilt(box)
    assert np.array_equal(np.diagonal(steps), np.ones(d))
    assert not np.tril(steps, -1).any()
    np.testing.assert_allclose(box @ steps, reduced, rtol=0, atol=1e-11)
    np.testing.assert_array_equal(np.diagonal(reduced), np.diagonal(box))
    for column in range(d):
        for row in range(column):
            assert abs(reduced[row, column]) <= 0.5000001 * reduced[row, row]
    assert widths(reduced).min() >= widths(box).min() * (1 - 1e-12)
    again, none = reduce_tilt(reduced)
    np.testing.assert_array_equal(again, reduced)
    np.testing.assert_array_equal(none, np.eye(d))


def test_a_small_tilt_is_left_as_it_is() -> None:
    for tilt in (0.5, -0.5, 0.123456789, 0.0, -0.0):
        box = np.array([[3.0, 3.0 * tilt], [0.0, 2.0]])
        assert reduce_tilt(box)[0].tobytes() == box.tobytes()


def test_a_box_that_is_only_tilted_too_far_says_so() -> None:
    box = np.array([[6.0, 18.0], [0.0, 6.0]])
    with pytest.raises(BoxTooSmallError, match="reduce_tilt"):
        check_box(box, 2.5)
    check_box(reduce_tilt(box)[0], 2.5)
    with pytest.raises(BoxTooSmallError, match="Use more particles"):
        check_box(box, 3.5)
    with pytest.raises(InputError, match="tilted by"):
        reduce_tilt([[1.0, 1e20], [0.0, 1.0]])
