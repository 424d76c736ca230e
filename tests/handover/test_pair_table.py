"""Tables of pair potentials: against their formulas, against differences, and what is refused."""

import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amorph.handover import (
    InputError,
    NotFiniteError,
    PairTable,
    TableError,
    build_table,
    pair_places,
)
from amorph.handover.pair_table import cell_number, cell_start

Formula = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


def lennard_jones(depth: float, size: float) -> Formula:
    def formula(r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        a = (size / r) ** 6
        return (
            4 * depth * (a * a - a),
            depth * (24 * a - 48 * a * a) / r,
            depth * (624 * a * a - 168 * a) / r**2,
        )

    return formula


def stepped(sigma: float, end: float) -> Formula:
    """A stiff core, a softer shell: u'' is 7 below sigma, 2 from there to the end."""

    def formula(r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        core = r < sigma
        x, y = end - r, sigma - r
        return (
            x * x + np.where(core, 2.5 * y * y, 0),
            -2 * x - np.where(core, 5 * y, 0),
            np.where(core, 7.0, 2.0),
        )

    return formula


DEPTH, SIZE = np.array([1.0, 1.5, 0.5]), np.array([1.0, 0.8, 0.88])
RANGE = 2.5


@pytest.fixture(scope="module")
def mixture() -> PairTable:
    """Kob and Andersen's."""
    return build_table(
        [lennard_jones(*own) for own in zip(DEPTH, SIZE, strict=True)],
        [[RANGE * size] for size in SIZE],
        [1.0, 0.88],
        potential="lennard_jones_cut",
        parameters={"depth": DEPTH, "size": SIZE, "range": [RANGE]},
        derivatives={"depth": [lennard_jones(1.0, size) for size in SIZE]},
    )


@pytest.fixture(scope="module")
def core_and_shell() -> PairTable:
    """Three breaks at odd places, none, and one: the last pair does not interact."""
    return build_table(
        [stepped(1.0, 1.3), stepped(1.1, 1.7), lennard_jones(1.0, 1.0)],
        [[1.0, 1.3], [1.1, 1.1 * (1 + 2**-20), 1.7], []],
        [1.0, 1.2],
        potential="steps",
        tolerance=1e-9,
    )


def test_it_is_as_near_its_formula_as_it_says(mixture: PairTable) -> None:
    rng = np.random.default_rng(1)
    assert mixture.energy_error <= 1e-8
    assert mixture.force_error <= 1e-8
    for (i, j), p in np.ndenumerate(pair_places(2)):
        r = rng.uniform(mixture.r_first[i, j], RANGE * SIZE[p], 20_000)
        u, slope, curvature = mixture.evaluate(i, j, r)
        exact = lennard_jones(DEPTH[p], SIZE[p])(r)
        energies = np.abs(exact[0]) + r * np.abs(exact[1])
        forces = np.abs(exact[1]) + r * np.abs(exact[2])
        assert np.abs(u - exact[0]).max() > 0
        assert (np.abs(u - exact[0]) / energies).max() < 1e-8
        assert (np.abs(slope - exact[1]) / forces).max() < 1e-8
        assert (np.abs(curvature - exact[2]) / (np.abs(exact[2]) + forces / r)).max() < 1e-6


def test_it_takes_a_few_kilobytes(mixture: PairTable) -> None:
    assert mixture.bits == 4
    assert mixture.n_bytes == mixture.cells.nbytes * 2 < 50_000
    assert "bytes" in repr(mixture)


def test_it_goes_to_other_processes(mixture: PairTable) -> None:
    again = pickle.loads(pickle.dumps(mixture))
    assert np.array_equal(again.cells, mixture.cells)
    assert again.parameters.keys() == mixture.parameters.keys()


def test_a_pair_alone_has_its_own_cells(mixture: PairTable, core_and_shell: PairTable) -> None:
    for table in (mixture, core_and_shell):
        for i, j in np.ndindex(2, 2):
            coefficients, cells = table.of_pair(i, j)
            alone = dataclasses.replace(
                table,
                potential="alone",
                parameters={"diameters": [1.0]},
                coefficients=coefficients[None, None],
                cells=cells,
                derivatives={},
                **{
                    name: getattr(table, name)[i : i + 1, j : j + 1]
                    for name in ("r_cut", "r_first", "stiffness", "attracts")
                },
            )
            r = np.linspace(0, 3, 3001)
            for a, b in zip(alone.evaluate(0, 0, r), table.evaluate(i, j, r), strict=True):
                assert np.array_equal(a, b)
    with pytest.raises(InputError, match="type_j = 2"):
        mixture.of_pair(0, 2)


def test_its_force_is_that_of_its_energy(mixture: PairTable) -> None:
    r = np.linspace(0.8, 1.9, 5001)
    h = 1e-4
    u, slope, curvature = (mixture.evaluate(0, 1, r + k * h) for k in (-1, 0, 1))
    ahead = [(b - a) / (2 * h) for a, b in zip(u[:2], curvature[:2], strict=True)]
    # Less their third derivatives' share, h^2 / 6.
    assert np.abs(ahead[0] - slope[1]).max() < 1e-5 * np.abs(slope[1]).max()
    assert np.abs(ahead[1] - slope[2]).max() < 1e-5 * np.abs(slope[2]).max()


@pytest.mark.parametrize(("i", "j"), [(0, 0), (0, 1), (1, 1)])
def test_it_is_twice_differentiable_at_the_borders_of_its_cells(
    mixture: PairTable, i: int, j: int
) -> None:
    # From far below the first cell to the cutoff.
    ends = np.array([0.01, 0.999 * mixture.r_cut[i, j] ** 2])
    numbers = np.arange(*cell_number(ends, mixture.bits)) + 1
    r = np.sqrt(cell_start(numbers, mixture.bits))
    below = mixture.evaluate(i, j, r * (1 - 3e-16))
    above = mixture.evaluate(i, j, r * (1 + 3e-16))
    u, slope, curvature = (np.abs(x) for x in below)
    scales = (u + r * slope, slope + r * curvature, slope / r + curvature)
    for a, b, scale, most in zip(below, above, scales, (1e-13, 5e-13, 1e-10), strict=True):
        assert (np.abs(a - b) / scale).max() < most


def test_what_jumps_is_what_the_formula_says(core_and_shell: PairTable) -> None:
    for (i, j), breaks in (((0, 0), (1.0, 1.3)), ((1, 0), (1.1, 1.7))):
        for at, jump in zip(breaks, (-5.0, -2.0), strict=True):
            below = core_and_shell.evaluate(i, j, at * (1 - 4e-16))
            above = core_and_shell.evaluate(i, j, at * (1 + 4e-16))
            assert above[2] - below[2] == pytest.approx(jump, abs=1e-8)
            assert above[1] - below[1] == pytest.approx(0, abs=1e-12)
            assert above[0] - below[0] == pytest.approx(0, abs=1e-14)
    r = np.linspace(0.3, 2, 3001)
    for pair, formula, end in (((0, 0), stepped(1.0, 1.3), 1.3), ((0, 1), stepped(1.1, 1.7), 1.7)):
        for found, exact, most in zip(
            core_and_shell.evaluate(*pair, r), formula(r), (1e-9, 1e-8, 1e-5), strict=True
        ):
            assert np.abs(found - np.where(r < end, exact, 0))[np.abs(r - end) > 1e-9].max() < most
    assert not np.any(core_and_shell.evaluate(1, 1, r))
    assert core_and_shell.r_cut[1, 1] == core_and_shell.r_first[1, 1] == 0


def test_beyond_the_cutoff_there_is_nothing(mixture: PairTable) -> None:
    for i, j in np.ndindex(2, 2):
        cut = mixture.r_cut[i, j]
        for r in (cut, np.nextafter(cut, np.inf), 2 * cut, 1e6):
            assert not np.any(mixture.evaluate(i, j, r))
        # This formula is cut where it is not 0.
        assert mixture.evaluate(i, j, np.nextafter(cut, 0))[0] < -0.005


def test_the_wall_is_the_one_that_is_stated(mixture: PairTable) -> None:
    for (i, j), p in np.ndenumerate(pair_places(2)):
        first = mixture.r_first[i, j]
        assert 0.1 < first / mixture.diameters[[i, j]].mean() <= 0.25
        assert np.log2(first**2) == np.round(np.log2(first**2))
        u, slope, curvature = lennard_jones(DEPTH[p], SIZE[p])(np.array(first))
        a = slope / (2 * first)
        b = (curvature - slope / first) / (4 * first**2)
        r = np.linspace(0, first, 2001)
        y = r * r - first**2
        x = b * y / a
        found = mixture.evaluate(i, j, r)
        assert found[1] == pytest.approx(2 * r * a * (1 + x + x * x / 2), rel=1e-11)
        wall = u + a * (y + b * y * y / (2 * a) + (b / a) ** 2 * y**3 / 6)
        assert found[0] == pytest.approx(wall, rel=1e-12)
        assert (np.diff(found[0]) < 0).all()
        assert np.isfinite(found).all()


def test_derivatives_stand_beside_it(mixture: PairTable) -> None:
    r = np.linspace(0.7, 1.99, 1001)
    for found, exact in zip(
        mixture.evaluate(1, 0, r, derivative="depth"), lennard_jones(1.0, 0.8)(r), strict=True
    ):
        assert found == pytest.approx(exact, rel=1e-6, abs=1e-7)
    with pytest.raises(InputError, match="derivative = 'size': the table has depth"):
        mixture.evaluate(0, 0, r, derivative="size")


def test_soft_formulas_are_followed_inwards() -> None:
    def gauss(r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        u = np.exp(-r * r)
        return u, -2 * r * u, (4 * r * r - 2) * u

    made = build_table([gauss], [[4.0]], [1.0], potential="gauss")
    assert made.r_first[0, 0] == 2**-6
    assert not made.attracts.any()
    r = np.linspace(0, 3, 1001)
    assert made.evaluate(0, 0, r)[0] == pytest.approx(np.exp(-r * r), rel=1e-7)
    farther = build_table([gauss], [[4.0]], [1.0], potential="gauss", first=0.3)
    assert farther.r_first[0, 0] == 0.25
    assert farther.stiffness[0, 0] == made.stiffness[0, 0]


def test_stiffness_is_measured_or_given(mixture: PairTable, core_and_shell: PairTable) -> None:
    # At 0.95 of the minimum at 2^(1/6) sizes.
    at = 0.95 * 2 ** (1 / 6) * SIZE
    expected = [lennard_jones(*own)(r)[2] for *own, r in zip(DEPTH, SIZE, at, strict=True)]
    assert mixture.stiffness[np.triu_indices(2)] == pytest.approx(expected, rel=0.05)
    assert mixture.attracts.all()
    assert core_and_shell.stiffness.tolist() == [[7.0, 7.0], [7.0, 0.0]]
    assert not core_and_shell.attracts.any()
    given = build_table([stepped(1.0, 1.3)], [[1.0, 1.3]], [1.0], potential="x", stiffness=3.0)
    assert given.stiffness.tolist() == [[3.0]]


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-8])
def test_tolerances_are_kept_by_no_more_cells_than_needed(tolerance: float) -> None:
    def make(tolerance: float) -> PairTable:
        return build_table(
            [lennard_jones(1.0, 1.0)], [[2.5]], [1.0], potential="x", tolerance=tolerance
        )

    made = make(tolerance)
    assert max(made.energy_error, made.force_error) <= tolerance
    assert made.cells.nbytes < make(1e-11).cells.nbytes


def refused(error: type[Exception], match: str, **changes: Any) -> None:
    given: dict[str, Any] = {
        "formulas": [lennard_jones(1.0, 1.0)],
        "breaks": [[2.5]],
        "diameters": [1.0],
        "potential": "x",
    }
    with pytest.raises(error, match=match):
        build_table(**(given | changes))


def test_what_cannot_be_tabulated_is_told() -> None:
    # A jump that was not named: of u'', and of u'.
    refused(
        TableError,
        r"most_bytes = 200000.*Name all distances at which u'' jumps",
        formulas=[stepped(1.0, 1.3)],
        breaks=[[1.3]],
        most_bytes=200_000,
    )
    lj = lennard_jones(1.0, 1.0)
    refused(
        TableError,
        r"of the pair of types \(0, 0\).*at best.*to all digits",
        formulas=[lambda r: tuple(np.float32(x) for x in lj(np.float32(r)))],
    )
    refused(
        TableError,
        "20100 pairs of types take 20582400 bytes at least: more than most_bytes = 10000000",
        formulas=[lj] * 20100,
        breaks=[[2.5]] * 20100,
        diameters=[1.0] * 200,
        most_bytes=10_000_000,
    )
    refused(
        InputError,
        r"the pair of types \(0, 0\) has u' = .* a soft wall can continue repulsion alone",
        formulas=[lambda r: (-1 / r, r**-2.0, -2 * r**-3.0)],
    )
    refused(
        NotFiniteError,
        r"u' of the pair of types \(0, 0\) is nan at r = ",
        formulas=[lambda r: (lj(r)[0], np.where(r > 2, np.nan, lj(r)[1]), lj(r)[2])],
    )
    refused(InputError, "must give three arrays", formulas=[lambda r: lj(r)[0]])
    refused(InputError, r"u of the .* has shape \(\)", formulas=[lambda r: (1.0, *lj(r)[1:])])
    refused(InputError, "must be finite and ascend", breaks=[[2.5, 1.0]])
    refused(InputError, "9 breaks: at most 8", breaks=[np.linspace(1, 2, 9)])
    refused(InputError, "2 entries: 1 types have 1 pairs", breaks=[[2.5], [2.5]])
    refused(InputError, "no table better than 1e-12", tolerance=1e-13)
    refused(InputError, "less than the cutoff", first=4.0)
    refused(InputError, "potential's name is 'a/b'", potential="a/b")
    refused(InputError, "potential's name is 'springs'", potential="springs")
    refused(InputError, "'depth' has length 2: it must be one of 1", parameters={"depth": [1, 2]})
    refused(InputError, "parameter 'binding' is missing", potential="harmonic_morse")


def test_a_table_that_was_tampered_with_is_refused(mixture: PairTable) -> None:
    moved = mixture.coefficients.copy()
    moved[1, 1, 0] += 1
    for changes, match in (
        ({"coefficients": moved}, "reach beyond the 342 cells"),
        ({"coefficients": mixture.coefficients[:1]}, "coefficients have shape"),
        ({"cells": mixture.cells[:-1], "derivatives": {}}, "reach beyond"),
        ({"cells": mixture.cells[:, :7]}, "cells has shape"),
        ({"cells": np.roll(mixture.cells, -5, 0)}, "the first cell must be empty"),
        ({"cells": mixture.cells * np.nan}, "not finite"),
        ({"derivatives": {"depth": mixture.cells[1:]}}, "derivatives"),
        ({"bits": 40}, "bits = 40"),
        ({"r_cut": mixture.r_cut[:1]}, "r_cut must be"),
        ({"attracts": [True]}, "attracts has shape"),
    ):
        with pytest.raises(InputError, match=match):
            dataclasses.replace(mixture, **changes)
    for name in ("cells", "coefficients", "r_cut"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(mixture, name)[0] = 1
    for wrong in ((2, 0, 1.0), (0, -1, 1.0), (0, 0, -1.0), (0, 0, np.nan), (0.5, 0, 1.0)):
        with pytest.raises(InputError):
            mixture.evaluate(*wrong)
