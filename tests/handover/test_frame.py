"""What a frame makes of its values, what it refuses, and its checksum."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest

from amorph.handover import (
    AmorphError,
    CorruptFrameError,
    Frame,
    InputError,
    PotentialMissingError,
    UnknownPotentialError,
    UnknownTypeError,
    checksum,
    errors,
    verify_checksum,
)

MakeFrame = Callable[..., Frame]


def test_one_form(make_frame: MakeFrame) -> None:
    frame = make_frame(
        positions=np.asfortranarray(np.ones((7, 2), dtype=np.float32)),
        images=np.zeros((7, 2), dtype=np.int64),
        bonds=np.zeros((0, 2), dtype=int),
        log={"a": 1, "b": True, "c": [[1.0], [2.0]], "d": [[1.0, 2.0]], "e": "text", "f": []},
    )
    frame.validate()
    assert frame.positions.dtype == np.float64
    assert frame.positions.flags.c_contiguous
    assert frame.typeid.dtype == np.int32
    assert frame.images is None
    assert frame.bonds is None
    assert (frame.dimension, frame.n_particles) == (2, 7)
    shapes = {key: (value.shape, value.dtype.kind) for key, value in frame.log.items()}
    assert shapes == {
        "a": ((1,), "i"), "b": ((1,), "u"), "c": ((2,), "f"),
        "d": ((1, 2), "f"), "e": ((), "U"), "f": ((0,), "f"),
    }  # fmt: skip
    with pytest.raises(FrozenInstanceError):
        frame.index = 3  # type: ignore[misc]


NAN = np.full((7, 2), 0.5)
NAN[3, 1] = np.nan
PARAMETERS = {"diameters": [0.8], "stiffness": [1.0]}


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"positions": NAN}, CorruptFrameError, r"particle 3 is \[0.5, nan\]"),
        ({"positions": np.where(np.isnan(NAN), np.inf, NAN)}, CorruptFrameError, "particle 3.*inf"),
        ({"positions": np.ones((7, 4))}, CorruptFrameError, r"\(7, 4\)"),
        ({"positions": np.ones(7)}, CorruptFrameError, r"\(7,\)"),
        ({"positions": np.ones((7, 2), dtype=complex)}, CorruptFrameError, "real"),
        ({"positions": np.ones((0, 2)), "typeid": []}, CorruptFrameError, "no particles"),
        ({"positions": np.ones((7, 3))}, CorruptFrameError, "box has 2 dimensions"),
        ({"typeid": [0] * 6}, CorruptFrameError, r"typeid has shape \(6,\)"),
        ({"typeid": [0.0] * 7}, CorruptFrameError, "integers"),
        ({"typeid": [0, 1, 0, 2, 0, 0, 0]}, UnknownTypeError, "particle 3 has typeid 2.*2 types"),
        ({"typeid": [0, 1, 0, 1, -1, 0, 0]}, UnknownTypeError, "particle 4 has typeid -1"),
        ({"typeid": np.full(7, 2**32 - 1, dtype=np.uint32)}, UnknownTypeError, "4294967295"),
        ({"types": ("A", "B", "C")}, UnknownTypeError, "3 types.*harmonic_morse.*for 2"),
        ({"types": ("A", "A")}, CorruptFrameError, "unique"),
        ({"types": ("A", "")}, CorruptFrameError, "not empty"),
        ({"box": np.diag([1.0, -1.0])}, CorruptFrameError, "Ly = -1.0"),
        ({"box": [[1.0, 0.0], [0.5, 1.0]]}, CorruptFrameError, "upper triangular"),
        ({"box": np.diag([1.0, np.inf])}, CorruptFrameError, "not finite"),
        ({"images": np.ones((7, 3), dtype=int)}, CorruptFrameError, r"images have shape \(7, 3\)"),
        ({"images": np.ones((7, 2), dtype=int), "box": None}, CorruptFrameError, "no box"),
        ({"images": np.full((7, 2), 2**31)}, CorruptFrameError, "32 bits"),
        ({"bonds": [[0, 1], [2, 7]]}, CorruptFrameError, r"bond 1 joins particles \[2, 7\]"),
        ({"bonds": [[3, 3]]}, CorruptFrameError, r"bond 0 joins particles \[3, 3\]"),
        ({"bonds": [[0, 1, 2]]}, CorruptFrameError, r"\(1, 3\)"),
        ({"potential": "yukawa"}, UnknownPotentialError, "'yukawa'.*Known: harmonic_morse"),
        ({"potential": None}, PotentialMissingError, "diameters"),
        ({"parameters": {"diameters": [1.0, 1.0]}}, CorruptFrameError, "'binding' is missing"),
        ({"potential": "soft_sphere", "parameters": PARAMETERS}, UnknownTypeError, "2 types"),
        ({"potential": "soft_sphere", "parameters": {"diameters": [1.0, 1.0], "stiffness": 1.0}},
         CorruptFrameError, "stiffness"),
        ({"log": {"box": 1.0}}, InputError, "'box'"),
        ({"log": {"soft_sphere/stiffness": 1.0}}, InputError, "soft_sphere/stiffness"),
        ({"log": {"pair/HarmonicMorse/alpha": 1.0}}, InputError, "pair/HarmonicMorse/alpha"),
        ({"log": {"": 1.0}}, InputError, "log key"),
        ({"log": {"/a": 1.0}}, InputError, "log key"),
        ({"log": {"a": np.zeros((2, 2, 2))}}, InputError, r"\(2, 2, 2\)"),
        ({"log": {"a": 1j}}, InputError, "complex"),
        ({"log": {"a": None}}, InputError, "object"),
        ({"log": {"a": ""}}, InputError, "ASCII"),
        ({"log": {"a": "\u03c3"}}, InputError, "ASCII"),
        ({"log": {"a": ["x", "y"]}}, InputError, "texts"),
    ],
)  # fmt: skip
def test_refused(make_frame: MakeFrame, changes: Any, error: type, named: str) -> None:
    make_frame().validate()
    with pytest.raises(error, match=named) as caught:
        make_frame(**changes).validate()
    assert isinstance(caught.value, AmorphError)


def test_errors_name_file_and_frame(make_frame: MakeFrame) -> None:
    with pytest.raises(CorruptFrameError, match=r"^run\.gsd, frame 12: the position"):
        make_frame(positions=NAN, source="run.gsd", index=12).validate()


def test_every_error_survives_pickling() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert issubclass(kind, AmorphError)
        again = pickle.loads(pickle.dumps(kind("frame 3: wrong")))
        assert type(again) is kind
        assert str(again) == "frame 3: wrong"


def test_checksum_covers_every_part(make_frame: MakeFrame) -> None:
    frame = make_frame(images=np.ones((7, 2), dtype=int), bonds=[[0, 1]])
    parameters = frame.parameters | {"alpha": [6.0, 6.5, np.nextafter(7.0, 8)]}
    moved = frame.positions.copy()
    moved[6, 1] = np.nextafter(moved[6, 1], 9)
    zero, minus = frame.positions.copy(), frame.positions.copy()
    zero[0, 0], minus[0, 0] = 0.0, -0.0
    assert frame.box is not None
    others = [
        frame,
        replace(frame, positions=moved),
        replace(frame, positions=zero),
        replace(frame, positions=minus),
        replace(frame, typeid=1 - frame.typeid),
        replace(frame, types=("AB", "")),
        replace(frame, types=("A", "C")),
        replace(frame, box=frame.box * 2),
        replace(frame, box=None),
        replace(frame, potential="harmonic_morse_reduced"),
        replace(frame, parameters=parameters),
        replace(frame, images=np.ones((7, 2), dtype=int) * 2),
        replace(frame, images=None),
        replace(frame, bonds=[[1, 0]]),
        replace(frame, bonds=None),
        replace(frame, log=frame.log | {"energy": -1.5}),
        replace(frame, log=frame.log | {"energy": np.float32(-1.25)}),
        replace(frame, log=frame.log | {"more": 1}),
    ]
    sums = [checksum(other) for other in others]
    assert len(set(sums)) == len(sums)
    assert all(len(s) == 64 for s in sums)


def test_checksum_does_not_cover_where_it_was_read_or_in_what_order(make_frame: MakeFrame) -> None:
    frame = make_frame()
    same = replace(
        frame,
        source="b.gsd",
        index=4,
        log=dict(reversed(frame.log.items())),
        parameters=dict(reversed(frame.parameters.items())),
    )
    assert checksum(same) == checksum(frame)
    verify_checksum(same, checksum(frame))
    with pytest.raises(CorruptFrameError, match=r"b\.gsd, frame 4: the checksum"):
        verify_checksum(same, checksum(make_frame(random=6)))


def test_checksum_is_the_same_in_another_process() -> None:
    script = (
        "from amorph.handover import Frame, checksum\n"
        "print(checksum(Frame(positions=[[0.5, -0.0, 1e-320]], typeid=[0], types=('A',), box=None,"
        " log={'z': 1.5, 'a': 2})))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    frame = Frame(
        positions=np.array([[0.5, -0.0, 1e-320]]),
        typeid=np.array([0]),
        types=("A",),
        box=None,
        log={"a": np.array([2]), "z": np.array([1.5])},
    )
    assert runs == [checksum(frame)] * 2
