"""The tables of parameters: lengths, bounds, and pair vectors against matrices."""

from typing import Any

import numpy as np
import pytest

from amorph.handover import (
    POTENTIALS,
    InputError,
    UnknownPotentialError,
    check_parameters,
    matrix_to_pairs,
    n_pairs,
    n_types,
    pairs_to_matrix,
)

GOOD: dict[str, Any] = {
    "diameters": [0.8, 1.0],
    "binding": [0.0, 0.2, 0.3],
    "stiffness": 5,
    "alpha": [6.0, 6.0, 7.0],
}


def test_the_potentials() -> None:
    names = {name: [p.name for p in parameters] for name, parameters in POTENTIALS.items()}
    assert names == {
        "harmonic_morse": ["diameters", "binding", "stiffness", "alpha"],
        "harmonic_morse_reduced": ["diameters", "binding", "stiffness", "alpha"],
        "soft_sphere": ["diameters", "stiffness"],
        "morse": ["diameters", "binding", "alpha"],
        "four_term": ["diameters", "b0", "a0", "a1", "a2", "b1", "b2", "a3", "r_cut"],
    }


def test_pairs() -> None:
    assert [n_pairs(n) for n in (1, 2, 3, 4)] == [1, 3, 6, 10]
    matrix = pairs_to_matrix([1, 2, 3, 4, 5, 6], 3)
    assert matrix.tolist() == [[1, 2, 3], [2, 4, 5], [3, 5, 6]]
    assert matrix_to_pairs(matrix).tolist() == [1, 2, 3, 4, 5, 6]
    with pytest.raises(InputError, match=r"\(5,\).*6"):
        pairs_to_matrix([1, 2, 3, 4, 5], 3)
    with pytest.raises(InputError, match="n_types = 0"):
        n_pairs(0)


def test_matrices_must_be_symmetric_to_the_last_bit() -> None:
    with pytest.raises(InputError, match=r"\[0, 1\] = 0.1 but \[1, 0\] = 0.10000000000000002"):
        matrix_to_pairs([[1.0, 0.1], [np.nextafter(0.1, 1), 2.0]])
    for shape in ((2, 3), (4,), (0, 0)):
        with pytest.raises(InputError, match="square"):
            matrix_to_pairs(np.ones(shape))


def test_good_parameters_are_new_float64_vectors() -> None:
    given = dict(GOOD, diameters=np.array([0.8, 1.0], dtype=np.float32))
    checked = check_parameters("harmonic_morse", given)
    assert list(checked) == ["diameters", "binding", "stiffness", "alpha"]
    assert checked["stiffness"].tolist() == [5.0, 5.0, 5.0]
    assert checked["diameters"][0] == np.float32(0.8)
    for array in checked.values():
        assert array.dtype == np.float64
        assert array.flags.c_contiguous
    source = np.array([0.1, 0.2, 0.3])
    copied = check_parameters("harmonic_morse", dict(GOOD, binding=source))["binding"]
    assert not np.shares_memory(copied, source)
    assert n_types(GOOD) == 2


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"diameters": [0.8, -1.0]}, "'diameters', element 1 is -1.0.*greater than 0"),
        ({"diameters": [0.0, 1.0]}, "'diameters', element 0 is 0.0"),
        ({"diameters": []}, "diameters"),
        ({"diameters": 1.0}, "diameters"),
        ({"diameters": ["a", "b"]}, "real numbers"),
        ({"diameters": [True, True]}, "real numbers"),
        ({"binding": [0.1, -0.1, 0.1]}, "'binding', element 1 is -0.1.*at least 0"),
        ({"binding": [0.1, 0.1]}, r"'binding' has shape \(2,\).*length 3"),
        ({"binding": [[0.1, 0.2], [0.2, 0.3]]}, "binding"),
        ({"stiffness": [5.0, 0.0, 5.0]}, "'stiffness', element 1 is 0.0"),
        ({"stiffness": -5.0}, "'stiffness', element 0 is -5.0"),
        ({"alpha": [6.0, np.nan, 6.0]}, "'alpha', element 1 is nan"),
        ({"alpha": [6.0, np.inf, 6.0]}, "'alpha', element 1 is inf"),
        ({"alpha": 0}, "'alpha'"),
        ({"bindings": 0.1}, "'bindings'; did you mean 'binding'"),
    ],
)
def test_bad_parameters(changes: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        check_parameters("harmonic_morse", GOOD | changes)


def test_missing_and_foreign_parameters() -> None:
    with pytest.raises(InputError, match="'alpha' is missing"):
        check_parameters("harmonic_morse", {k: v for k, v in GOOD.items() if k != "alpha"})
    with pytest.raises(InputError, match="'diameters' is missing"):
        n_types({})
    with pytest.raises(InputError, match="soft_sphere has no parameter 'binding'"):
        check_parameters("soft_sphere", {"diameters": [1.0], "stiffness": 1, "binding": 1})
    with pytest.raises(UnknownPotentialError, match=r"'harmonic_mors'; did you mean 'harmonic_m"):
        check_parameters("harmonic_mors", GOOD)
