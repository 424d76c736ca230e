"""Files that HOOMD or gsd.hoomd wrote: read as the schema says, with nothing of ours inherited."""

from pathlib import Path
from typing import Any

import gsd.fl
import gsd.hoomd
import numpy as np
import pytest

from amorph.handover import (
    CorruptFrameError,
    GSDReader,
    InputError,
    PotentialMissingError,
    UnknownPotentialError,
    UnknownTypeError,
    read_gsd,
)

POTENTIAL = "log/amorph/harmonic_morse/"
MORSE = {
    "diameters": np.array([0.8, 1.0]),
    "binding": np.array([[0.1, 0.2], [0.2, 0.3]]),
    "stiffness": np.full((2, 2), 5.0),
    "alpha": np.full((2, 2), 6.0),
}


def hoomd_frame(dimension: int = 2, n: int = 5, random: int = 0, **log: Any) -> gsd.hoomd.Frame:
    rng = np.random.default_rng(random)
    frame = gsd.hoomd.Frame()
    frame.particles.N = n
    position = rng.uniform(-2, 2, (n, 3)).astype(np.float32)
    if dimension == 2:
        position[:, 2] = 0
    frame.particles.position = position
    frame.particles.typeid = np.arange(n) % 2
    frame.particles.types = ["A", "B"]
    frame.configuration.box = [5, 4, 0 if dimension == 2 else 6, 0.5, 0, 0]
    if dimension == 3:
        frame.configuration.box[4:] = [0.25, -0.5]
    frame.log = dict(log)
    return frame


def with_potential(prefix: str = "amorph/harmonic_morse", **changes: Any) -> dict[str, Any]:
    return {f"{prefix}/{name}": value for name, value in (MORSE | changes).items()}


def write(path: Path, *frames: gsd.hoomd.Frame, precision: str = "single") -> Path:
    with gsd.hoomd.open(path, "w", precision=precision) as trajectory:
        trajectory.extend(frames)
    return path


@pytest.mark.parametrize("dimension", [2, 3])
def test_single_precision_without_log(tmp_path: Path, dimension: int) -> None:
    source = hoomd_frame(dimension)
    source.particles.image = np.arange(15).reshape(5, 3) * [1, 1, dimension - 2]
    later = hoomd_frame(dimension, random=1)
    for theirs in (source, later):
        theirs.bonds.N = 2
        theirs.bonds.types = ["b"]
        theirs.bonds.group = [[0, 1], [3, 4]]
    path = write(tmp_path / "hoomd.gsd", source, later)
    with gsd.fl.open(str(path), "r") as file:
        # gsd.hoomd leaves out what equals the first frame's; the schema says it is the same.
        for name in ("configuration/box", "particles/typeid", "particles/image", "bonds/group"):
            assert not file.chunk_exists(frame=1, name=name)
    first, second = read_gsd(path, need_potential=False)
    assert first.positions.dtype == np.float64
    assert np.array_equal(first.positions, source.particles.position[:, :dimension])
    assert not np.array_equal(second.positions, first.positions)
    assert first.types == second.types == ("A", "B")
    full = np.array([[5.0, 2.0, 1.5], [0.0, 4.0, -3.0], [0.0, 0.0, 6.0]])
    for frame in (first, second):
        assert frame.box is not None
        assert frame.box.tolist() == full[:dimension, :dimension].tolist()
        assert frame.potential is None
        assert frame.parameters == {}
        assert frame.log == {}
        assert frame.typeid.tolist() == [0, 1, 0, 1, 0]
        assert frame.bonds is not None
        assert frame.bonds.tolist() == [[0, 1], [3, 4]]
        assert frame.images is not None
        assert frame.images.tolist() == source.particles.image[:, :dimension].tolist()


def test_schema_defaults(tmp_path: Path) -> None:
    path = tmp_path / "bare.gsd"
    with gsd.fl.open(
        str(path), "w", application="a", schema="hoomd", schema_version=[1, 4]
    ) as file:
        file.write_chunk("particles/N", np.array([1], dtype=np.uint32))
        file.end_frame()
    (frame,) = read_gsd(path, need_potential=False)
    assert frame.positions.tolist() == [[0, 0, 0]]
    assert frame.types == ("A",)
    assert frame.typeid.tolist() == [0]
    assert frame.box is not None
    assert frame.box.tolist() == np.eye(3).tolist()


def test_a_file_may_change_its_number_of_particles(tmp_path: Path) -> None:
    path = write(tmp_path / "n.gsd", hoomd_frame(n=5), hoomd_frame(n=3, random=1))
    first, second = read_gsd(path, need_potential=False)
    assert (first.n_particles, second.n_particles) == (5, 3)


@pytest.mark.parametrize(
    ("prefix", "potential"),
    [
        ("amorph/harmonic_morse", "harmonic_morse"),
        ("amorph/harmonic_morse_reduced", "harmonic_morse_reduced"),
        ("amorph/pair/HarmonicMorse", "harmonic_morse"),
        ("amorph/pair/HarmonicMorseReduced", "harmonic_morse_reduced"),
    ],
)
def test_parameters_under_either_name(tmp_path: Path, prefix: str, potential: str) -> None:
    log = with_potential(prefix) | {f"{prefix}/energy": [-3.5]}
    (frame,) = read_gsd(write(tmp_path / "p.gsd", hoomd_frame(**log)))
    assert frame.potential == potential
    assert frame.parameters["binding"].tolist() == [0.1, 0.2, 0.3]
    assert frame.parameters["diameters"].tolist() == [0.8, 1.0]
    # What is logged beside the parameters stays.
    assert list(frame.log) == [f"{prefix.removeprefix('amorph/')}/energy"]


def test_one_type_and_soft_spheres(tmp_path: Path) -> None:
    source = hoomd_frame()
    source.particles.typeid = [0] * 5
    source.particles.types = ["A"]
    source.log = {
        "amorph/pair/SoftSphere/diameters": np.array([1.1]),
        "amorph/pair/SoftSphere/stiffness": np.array([[2.0]], dtype=np.float32),
        "md/compute/energy": np.array([4.0]),
    }
    (frame,) = read_gsd(write(tmp_path / "s.gsd", source))
    assert frame.potential == "soft_sphere"
    assert frame.parameters["stiffness"].tolist() == [2.0]
    assert frame.log == {}


def test_nothing_of_ours_is_inherited(tmp_path: Path) -> None:
    box = {"amorph/box": np.array([5 + 1e-9, 4, 0, 0.5, 0, 0])}
    first = hoomd_frame(**with_potential(), **box, **{"amorph/converged": np.array([1])})
    path = write(tmp_path / "i.gsd", first, hoomd_frame(random=1))
    with gsd.hoomd.open(path) as trajectory:
        assert trajectory[1].log["amorph/converged"] == 1  # this is how gsd.hoomd has it
    a, b = read_gsd(path, need_potential=False)
    assert a.potential == "harmonic_morse"
    assert b.potential is None
    assert a.log["converged"] == 1
    assert b.log == {}
    assert a.box is not None
    assert a.box[0, 0] == 5 + 1e-9
    assert b.box is not None
    assert b.box[0, 0] == 5
    frames = read_gsd(path)
    next(frames)
    with pytest.raises(PotentialMissingError, match=r"i\.gsd, frame 1: .*of its own"):
        next(frames)
    partial = hoomd_frame(random=1, **with_potential())
    del partial.log["amorph/harmonic_morse/alpha"]
    path = write(tmp_path / "partial.gsd", first, partial)
    with pytest.raises(PotentialMissingError, match=r"frame 1.*lacks.*harmonic_morse/alpha"):
        list(read_gsd(path))


def test_the_caller_gives_the_potential(tmp_path: Path) -> None:
    given: dict[str, Any] = {"diameters": [1.0, 1.2], "stiffness": 2.0}
    bare = write(tmp_path / "bare.gsd", hoomd_frame())
    own = write(tmp_path / "own.gsd", hoomd_frame(**with_potential(), **{"amorph/seed": [3]}))
    for path in (bare, own):
        (frame,) = read_gsd(path, potential="soft_sphere", parameters=given)
        assert frame.potential == "soft_sphere"
        assert {k: v.tolist() for k, v in frame.parameters.items()} == {
            "diameters": [1.0, 1.2],
            "stiffness": [2.0, 2.0, 2.0],
        }
    assert list(frame.log) == ["seed"]
    one: dict[str, Any] = {"diameters": [1.0], "stiffness": 2.0}
    with pytest.raises(UnknownTypeError, match=r"bare\.gsd, frame 0.*2 types.*for 1"):
        list(read_gsd(bare, potential="soft_sphere", parameters=one))
    # The arguments are checked by the call, before a frame is asked for.
    with pytest.raises(InputError, match="both"):
        read_gsd(bare, potential="soft_sphere")
    with pytest.raises(InputError, match="both"):
        read_gsd(bare, parameters=given)
    with pytest.raises(InputError, match=r"'stiffness', element 0 is -1.0"):
        read_gsd(bare, potential="soft_sphere", parameters=given | {"stiffness": -1.0})
    with pytest.raises(UnknownPotentialError, match="'soft_spheres'; did you mean"):
        read_gsd(bare, potential="soft_spheres", parameters=given)


def altered(**changes: Any) -> gsd.hoomd.Frame:
    """A frame with a potential, with ``particles_...`` and the like replaced."""
    frame = hoomd_frame(3, **with_potential())
    for name, value in changes.items():
        group, _, field = name.partition("_")
        setattr(getattr(frame, group), field, value)
    return frame


NAN = np.zeros((5, 3))
NAN[4, 2] = np.nan
FLAT = np.array([5, 4, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("frame", "error", "named"),
    [
        (altered(particles_position=NAN), CorruptFrameError, "particle 4.*nan"),
        (altered(particles_typeid=[0, 1, 0, 2, 0]), UnknownTypeError, "particle 3.*typeid 2"),
        (altered(particles_typeid=[0, 1, 0, 2**32 - 1, 0]), UnknownTypeError, "typeid 4294967295"),
        (altered(particles_types=["A", "B", "C"]), UnknownTypeError, "3 types"),
        (altered(configuration_box=[5, -4, 6, 0, 0, 0]), CorruptFrameError, "Ly"),
        (altered(configuration_box=[5, np.nan, 6, 0, 0, 0]), CorruptFrameError, "six finite"),
        (altered(configuration_dimensions=4), CorruptFrameError, r"dimensions is \[4\]"),
        (altered(configuration_dimensions=2, configuration_box=FLAT), CorruptFrameError, "z = "),
        (hoomd_frame(**with_potential(alpha=np.full(3, 6.0))), CorruptFrameError, "symmetric"),
        (hoomd_frame(**with_potential(alpha=np.array([[6.0, 1], [2, 6]]))), CorruptFrameError,
         r"alpha'.*\[0, 1\] = 1.0 but \[1, 0\] = 2.0"),
        (hoomd_frame(**with_potential(alpha=np.full((2, 2), np.nan))), CorruptFrameError,
         "'alpha', element 0 is nan"),
        (hoomd_frame(**with_potential(stiffness=np.full((2, 2), -1.0))), CorruptFrameError,
         "'stiffness', element 0 is -1.0"),
        (hoomd_frame(**with_potential(diameters=np.array([0.8, 0.0]))), CorruptFrameError,
         "'diameters', element 1 is 0.0"),
        (hoomd_frame(**with_potential(alpha="six")), CorruptFrameError, "real numbers"),
        (hoomd_frame(**with_potential(), **{"amorph/soft_sphere/diameters": np.ones(2)}),
         CorruptFrameError, "more than one potential"),
        (hoomd_frame(**with_potential("amorph/yukawa")), UnknownPotentialError, "yukawa"),
        (hoomd_frame(), PotentialMissingError, "no potential.*TOML"),
        (hoomd_frame(**with_potential(), **{"amorph/box": np.array([6.0, 4, 0, 0.5, 0, 0])}),
         CorruptFrameError, "changed in one place"),
        (hoomd_frame(**with_potential(), **{"amorph/box": np.zeros(6)}), CorruptFrameError, "open"),
        (hoomd_frame(**with_potential(), **{"amorph/box": np.ones(3)}), CorruptFrameError,
         r"\(6,\)"),
        (hoomd_frame(**with_potential(), **{"amorph/box_vectors": np.eye(2)}), CorruptFrameError,
         "box_vectors says"),
    ],
)  # fmt: skip
def test_bad_frames(tmp_path: Path, frame: gsd.hoomd.Frame, error: type, named: str) -> None:
    good = hoomd_frame(3, **with_potential())
    path = write(tmp_path / "bad.gsd", good, frame, precision="double")
    frames = read_gsd(path)
    assert next(frames).potential == "harmonic_morse"
    with pytest.raises(error, match=named) as caught:
        next(frames)
    assert str(caught.value).startswith(f"{path}, frame 1: ")


CHUNKS: dict[str, Any] = {
    "configuration/box": np.array([5.0, 4, 6, 0, 0, 0]),
    "particles/N": np.array([3], dtype=np.uint32),
    "particles/types": np.array([[65, 0]], dtype=np.int8),
    "particles/typeid": np.zeros(3, dtype=np.uint32),
    "particles/position": np.ones((3, 3)),
}


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"particles/position": np.ones((2, 3))}, CorruptFrameError, r"position.*\(2, 3\)"),
        ({"particles/position": np.ones((3, 3), dtype=np.int32)}, CorruptFrameError, "int32"),
        ({"particles/position": None}, CorruptFrameError, "no 'particles/position'"),
        ({"particles/typeid": np.zeros(4, dtype=np.uint32)}, CorruptFrameError, "typeid"),
        ({"particles/typeid": np.zeros(3)}, CorruptFrameError, "typeid"),
        ({"particles/types": np.array([[65, 0], [65, 0]], dtype=np.int8)}, CorruptFrameError,
         "unique"),
        ({"particles/types": np.array([65, 66], dtype=np.int8)}, CorruptFrameError, "names"),
        ({"particles/types": np.array([[-1, 0]], dtype=np.int8)}, CorruptFrameError, "UTF-8"),
        ({"particles/image": np.ones((3, 2), dtype=np.int32)}, CorruptFrameError, "image"),
        ({"particles/N": np.array([0], dtype=np.uint32)}, CorruptFrameError, "0 particles"),
        ({"particles/N": np.array([1, 3], dtype=np.uint32)}, CorruptFrameError, "one integer"),
        ({"configuration/box": np.ones(3)}, CorruptFrameError, "six finite"),
        ({"bonds/N": np.array([2], dtype=np.uint32)}, CorruptFrameError, "group' is missing"),
        ({"bonds/N": np.array([1], dtype=np.uint32),
          "bonds/group": np.array([[0, 3]], dtype=np.uint32)}, CorruptFrameError, "bond 0"),
        ({"bonds/N": np.array([1], dtype=np.uint32),
          "bonds/group": np.array([[0, 2**32 - 1]], dtype=np.uint32)}, CorruptFrameError,
         "4294967295"),
    ],
)  # fmt: skip
def test_malformed_chunks(tmp_path: Path, changes: Any, error: type, named: str) -> None:
    for name, content in (("good", CHUNKS), ("bad", CHUNKS | changes)):
        with gsd.fl.open(
            str(tmp_path / name), "w", application="a", schema="hoomd", schema_version=[2, 0]
        ) as file:
            for chunk, data in content.items():
                if data is not None:
                    file.write_chunk(chunk, data)
            file.end_frame()
    assert len(list(read_gsd(tmp_path / "good", need_potential=False))) == 1
    with pytest.raises(error, match=named):
        list(read_gsd(tmp_path / "bad", need_potential=False))


def test_what_plays_no_part_is_listed(tmp_path: Path) -> None:
    plain = hoomd_frame(3, **with_potential())
    full = hoomd_frame(3, **with_potential())
    n = full.particles.N
    full.particles.mass = [2.0] + [1.0] * (n - 1)
    full.particles.charge = [0.0] * (n - 1) + [-1.0]
    full.particles.body = [0, 0, *([-1] * (n - 2))]
    full.particles.diameter = np.linspace(0.5, 1.0, n)
    full.angles.N, full.angles.group, full.angles.types = 1, [[0, 1, 2]], ["a"]
    full.angles.typeid = [0]
    full.constraints.N, full.constraints.group = 2, [[0, 1], [1, 2]]
    full.constraints.value = [1.0, 1.0]
    path = write(tmp_path / "t.gsd", plain, full)
    with GSDReader(path) as file:
        assert file.unused(0) == ()
        assert file.diameters(0) is None
        assert file.unused(1) == (
            "1 angles",
            "2 constraints",
            "1 rigid bodies",
            "charges",
            "masses other than 1",
        )
        found = file.diameters(1)
        assert found is not None
        np.testing.assert_allclose(found, np.linspace(0.5, 1.0, n), rtol=1e-7)


def test_z_of_round_off_is_none_in_two_dimensions(tmp_path: Path) -> None:
    frame = hoomd_frame(2)
    frame.particles.position = np.array(frame.particles.position, dtype=np.float32)
    extent = np.ptp(frame.particles.position[:, :2], axis=0).max()
    for part, good in ((0.9e-6, True), (1.1e-6, False)):
        frame.particles.position[1, 2] = -part * extent
        path = write(tmp_path / f"{good}.gsd", frame)
        if good:
            (read,) = read_gsd(path, need_potential=False)
            np.testing.assert_array_equal(read.positions, frame.particles.position[:, :2])
        else:
            with pytest.raises(CorruptFrameError, match="more than round-off") as caught:
                list(read_gsd(path, need_potential=False))
            assert "dimensions to 3" not in str(caught.value)
