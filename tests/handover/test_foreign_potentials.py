"""Frames of potentials that are not Amorph's own: kept as they are, or refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gsd.fl
import numpy as np
import pytest

from amorph.handover import (
    CorruptFrameError,
    Frame,
    InputError,
    UnknownPotentialError,
    checksum,
    count_frames,
    read_gsd,
    write_gsd,
)

PARAMETERS = {
    "diameters": [0.8, 1.0],
    "depth": [1.0, 1.5, 0.5],
    "charge": [-1.0, 2.0],
    "range": [2.5],
}
MakeFrame = Callable[..., Frame]


@pytest.fixture
def foreign(make_frame: MakeFrame) -> MakeFrame:
    def make(**changes: Any) -> Frame:
        content = {"potential": "kob-andersen", "parameters": PARAMETERS, "foreign": True}
        return make_frame(**(content | changes))

    return make


def test_they_come_back_to_the_last_bit(foreign: MakeFrame, tmp_path: Path) -> None:
    one = {k: v[:1] for k, v in PARAMETERS.items()}
    frames = [
        foreign(random=1),
        foreign(random=2, parameters={**PARAMETERS, "depth": [0.1, 0.2, 1 / 3]}),
        foreign(types="A", typeid=np.zeros(7, dtype=int), parameters=one),
    ]
    path = tmp_path / "frames.gsd"
    write_gsd(path, frames)
    back = list(read_gsd(path))
    for frame, found in zip(frames, back, strict=True):
        assert found.foreign
        assert found.potential == "kob-andersen"
        assert set(found.parameters) == set(PARAMETERS)
        assert checksum(found) == checksum(frame)
        assert set(found.log) == set(frame.log)
    with gsd.fl.open(path, "r") as file:
        assert file.read_chunk(0, "log/amorph/kob-andersen/depth").shape == (2, 2)
        assert file.read_chunk(0, "particles/diameter").tolist() == pytest.approx(
            np.array(PARAMETERS["diameters"])[frames[0].typeid].tolist()
        )


def test_another_potential_may_take_their_place(foreign: MakeFrame, tmp_path: Path) -> None:
    path = tmp_path / "frames.gsd"
    write_gsd(path, [foreign()])
    given = {"diameters": [1.0, 1.0], "stiffness": 2.0}
    frame = next(iter(read_gsd(path, potential="soft_sphere", parameters=given)))
    assert frame.potential == "soft_sphere"
    assert not frame.foreign
    assert not [key for key in frame.log if key.startswith("kob")]
    assert count_frames(path) == 1


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"foreign": False}, UnknownPotentialError, "unknown potential 'kob-andersen'"),
        ({"potential": "morse"}, InputError, "leave foreign out"),
        ({"potential": "a/b"}, CorruptFrameError, "potential's name is 'a/b'"),
        ({"parameters": {"depth": [1.0]}}, CorruptFrameError, "'diameters' is missing"),
        ({"parameters": {"diameters": [1.0, -1.0]}}, CorruptFrameError, "element 1 is -1.0"),
        (
            {"parameters": {**PARAMETERS, "depth": [1.0, 2.0, 3.0, 4.0]}},
            CorruptFrameError,
            "'depth' has length 4: it must be one of 2 .types., 3 .pairs of types., 1 .in all.",
        ),
        ({"parameters": {**PARAMETERS, "x": [np.nan]}}, CorruptFrameError, "'x', element 0 is nan"),
        ({"log": {"kob-andersen/depth": 1.0}}, InputError, "cannot be used"),
        ({"log": {"potential": "x"}}, InputError, "cannot be used"),
    ],
)
def test_what_they_cannot_be_is_told(
    foreign: MakeFrame, changes: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        foreign(**changes).validate()


def rewritten(path: Path, changes: dict[str, Any]) -> None:
    with gsd.fl.open(path, "r") as file:
        chunks = {n: file.read_chunk(0, n) for n in file.find_matching_chunk_names("")}
    with gsd.fl.open(path, "w", application="x", schema="hoomd", schema_version=(2, 0)) as file:
        for name, value in (chunks | changes).items():
            if value is not None:
                file.write_chunk(name, value)
        file.end_frame()


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("potential", np.ones(1), "must be the name of a potential"),
        ("kob-andersen/diameters", None, "'diameters' is missing"),
        ("kob-andersen/depth", np.arange(4.0).reshape(2, 2), "depth': .* not symmetric"),
        ("kob-andersen/depth", np.ones((3, 2)), r"has shape \(3, 2\): it must be \(2,\)"),
        ("kob-andersen/depth", np.ones(5), "'depth' has length 5"),
        ("kob-andersen/note", "words", "must hold real numbers"),
        ("morse/alpha", np.ones(1), "more than one potential: .*kob-andersen, log/amorph/morse"),
    ],
)
def test_damage_is_told(
    foreign: MakeFrame, tmp_path: Path, key: str, value: Any, match: str
) -> None:
    path = tmp_path / "frames.gsd"
    write_gsd(path, [foreign()])
    rewritten(path, {f"log/amorph/{key}": value})
    with pytest.raises(CorruptFrameError, match=match):
        list(read_gsd(path))
