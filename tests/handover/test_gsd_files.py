"""Files that cannot be read or written: each has its named error, and nothing is lost."""

import contextlib
import gc
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import gsd.fl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amorph.handover import (
    CorruptFrameError,
    DirectoryGivenError,
    EmptyFileError,
    FileMissingError,
    Frame,
    FrameError,
    GSDReader,
    GSDWriter,
    InputError,
    NotGSDError,
    OutputError,
    OutputExistsError,
    SchemaError,
    checksum,
    count_frames,
    read_gsd,
    verify_checksum,
    write_gsd,
)

MakeFrame = Callable[..., Frame]


@pytest.fixture
def good(make_frame: MakeFrame, tmp_path: Path) -> Path:
    path = tmp_path / "good.gsd"
    write_gsd(path, [make_frame(random=i) for i in range(3)])
    return path


def open_raw(path: Path, schema: str, version: list[int]) -> gsd.fl.GSDFile:
    return gsd.fl.open(str(path), "w", application="a", schema=schema, schema_version=version)


def test_a_file_cut_short_anywhere(good: Path, tmp_path: Path) -> None:
    whole = good.read_bytes()
    cut = tmp_path / "cut.gsd"
    for length in [*range(1, len(whole), 97), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(NotGSDError, match=r"cut\.gsd: .*make it anew"):
            list(read_gsd(cut))
        with pytest.raises(NotGSDError):
            count_frames(cut)


def test_any_frame_of_an_open_file(good: Path, tmp_path: Path) -> None:
    expected = [checksum(frame) for frame in read_gsd(good)]
    with GSDReader(good) as file:
        assert file.n_frames == 3
        assert [checksum(file.read(k)) for k in (2, 0, 1)] == [expected[k] for k in (2, 0, 1)]
        assert file.read(2).index == 2
        for wrong in (-1, 3):
            with pytest.raises(InputError, match=rf"no frame {wrong}: it has 3"):
                file.read(wrong)
    file.close()
    with pytest.raises(InputError, match="both potential and parameters"):
        GSDReader(good, potential="soft_sphere")
    with pytest.raises(FileMissingError):
        GSDReader(tmp_path / "none.gsd")


def test_zeroed_bytes_are_caught_by_the_checksum(good: Path, tmp_path: Path) -> None:
    # gsd reads them back in silence: this is what checksums are for.
    whole = good.read_bytes()
    frames = list(read_gsd(good))
    energy = frames[1].log["energy"].tobytes()
    start = whole.index(energy, whole.index(frames[1].positions.tobytes()))
    damaged = tmp_path / "damaged.gsd"
    damaged.write_bytes(whole[:start] + bytes(8) + whole[start + 8 :])
    found = list(read_gsd(damaged))
    assert found[1].log["energy"] == 0 != frames[1].log["energy"]
    for i, frame in enumerate(found):
        if i == 1:
            with pytest.raises(CorruptFrameError, match=r"damaged\.gsd, frame 1: the checksum"):
                verify_checksum(frame, checksum(frames[i]))
        else:
            verify_checksum(frame, checksum(frames[i]))


def test_zeroed_positions_are_caught_as_such(good: Path, tmp_path: Path) -> None:
    # They stand in a file twice, in float32 and in float64.
    whole = good.read_bytes()
    position = list(read_gsd(good))[1].positions[2]
    damaged = tmp_path / "damaged.gsd"
    for part in (position, position.astype(np.float32)):
        start = whole.index(part.tobytes())
        damaged.write_bytes(whole[:start] + bytes(4) + whole[start + 4 :])
        frames = read_gsd(damaged)
        next(frames)
        with pytest.raises(
            CorruptFrameError, match=r"frame 1: .*particle 2 .*changed in one place"
        ):
            next(frames)


def test_a_damaged_file_never_raises_anything_unnamed(good: Path, tmp_path: Path) -> None:
    whole = good.read_bytes()
    damaged = tmp_path / "damaged.gsd"
    named = 0
    for fill in (b"\0", b"\xff"):
        for start in range(0, len(whole) - 32, 149):
            damaged.write_bytes(whole[:start] + fill * 32 + whole[start + 32 :])
            try:
                list(read_gsd(damaged))
            except FrameError:
                named += 1
    assert named > 10


def test_no_gsd_file(tmp_path: Path) -> None:
    text = tmp_path / "notes.gsd"
    text.write_text("positions below\n" * 100)
    with pytest.raises(NotGSDError, match="not a GSD file"):
        read_gsd(text)
    text.write_text("x")
    with pytest.raises(NotGSDError):
        read_gsd(text)
    with pytest.raises(FileMissingError, match=r"none\.gsd: there is no such file") as caught:
        read_gsd(tmp_path / "none.gsd")
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(FileMissingError):
        count_frames(text / "below.gsd")
    with pytest.raises(DirectoryGivenError, match="is a directory") as other:
        read_gsd(tmp_path)
    assert isinstance(other.value, IsADirectoryError)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotGSDError, match="regular"):
        read_gsd(tmp_path / "pipe")


def test_empty_files(tmp_path: Path) -> None:
    (tmp_path / "zero.gsd").touch()
    for call in (read_gsd, count_frames):
        with pytest.raises(EmptyFileError, match="0 bytes"):
            call(tmp_path / "zero.gsd")
    open_raw(tmp_path / "none.gsd", "hoomd", [2, 0]).close()
    assert count_frames(tmp_path / "none.gsd") == 0
    with pytest.raises(EmptyFileError, match="no frames"):
        read_gsd(tmp_path / "none.gsd")


@pytest.mark.parametrize(("schema", "version"), [("other", [2, 0]), ("hoomd", [3, 0])])
def test_other_schemas(tmp_path: Path, schema: str, version: list[int]) -> None:
    open_raw(tmp_path / "other.gsd", schema, version).close()
    with pytest.raises(SchemaError, match=f"'{schema}' {version[0]}.0, not 'hoomd' 1 or 2"):
        read_gsd(tmp_path / "other.gsd")
    with pytest.raises(SchemaError):
        GSDWriter(tmp_path / "other.gsd", mode="append")


def test_slices(good: Path) -> None:
    for frames, indices in [
        (None, [0, 1, 2]),
        (slice(1, None), [1, 2]),
        (slice(None, None, 2), [0, 2]),
        (slice(-1, None), [2]),
        (slice(0, 99), [0, 1, 2]),
    ]:
        assert [frame.index for frame in read_gsd(good, frames)] == indices
    with pytest.raises(InputError, match="frames 3: selects none of its 3 frames"):
        read_gsd(good, slice(3, None))
    with pytest.raises(InputError, match="zero"):
        read_gsd(good, slice(None, None, 0))
    with pytest.raises(InputError, match="slice"):
        read_gsd(good, 2)  # type: ignore[arg-type]


def never() -> Iterator[Frame]:
    raise AssertionError("a frame was asked for before the path was checked")
    yield


def test_an_existing_file_is_kept(good: Path, make_frame: MakeFrame) -> None:
    before = good.read_bytes()
    with pytest.raises(OutputExistsError, match=r"good\.gsd: exists already") as caught:
        write_gsd(good, never())
    assert isinstance(caught.value, OSError)
    with pytest.raises(OutputExistsError):
        GSDWriter(good)
    assert good.read_bytes() == before
    write_gsd(good, [make_frame(random=9)], overwrite=True)
    assert [checksum(f) for f in read_gsd(good)] == [checksum(make_frame(random=9))]
    assert os.listdir(good.parent) == ["good.gsd"]


def test_unwritable_places(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, named in [
        (tmp_path / "missing" / "a.gsd", "does not exist"),
        (tmp_path / "file" / "a.gsd", "does not exist"),
        (tmp_path, "is a directory"),
        (tmp_path / ("a" * 300), "cannot be written"),
    ]:
        with pytest.raises(OutputError, match=named):
            write_gsd(path, never(), overwrite=True)
    assert os.listdir(tmp_path) == ["file"]
    with pytest.raises(OutputError, match="does not exist"):
        GSDWriter(tmp_path / "missing" / "a.gsd")
    with pytest.raises(InputError, match="mode"):
        GSDWriter(tmp_path / "a.gsd", mode="w")  # type: ignore[arg-type]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="permissions"):
            write_gsd(tmp_path / "a.gsd", never())
    finally:
        tmp_path.chmod(0o700)


def test_a_directory_said_to_be_unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The same for root, to whom the system never says so.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match=r"a\.gsd: .*Check its permissions"):
        write_gsd(tmp_path / "a.gsd", never())
    assert os.listdir(tmp_path) == []


class InterruptionError(BaseException):
    """Stands for Ctrl-C."""


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", [InterruptionError, FileNotFoundError, CorruptFrameError])
def test_an_error_on_the_way_leaves_nothing(
    make_frame: MakeFrame, tmp_path: Path, kind: type[BaseException], overwrite: bool
) -> None:
    path = tmp_path / "out.gsd"
    if overwrite:
        path.write_bytes(b"precious")
    seen = []

    def frames() -> Iterator[Frame]:
        yield make_frame()
        seen.extend(os.listdir(tmp_path))
        if kind is CorruptFrameError:
            yield make_frame(typeid=[0])
        raise kind("as it came")

    with pytest.raises(kind):
        write_gsd(path, frames(), overwrite=overwrite)
    # While at work the frames stand under the temporary name, and only there.
    assert f".out.gsd.partial-{os.getpid()}" in seen
    assert ("out.gsd" in seen) == overwrite
    assert os.listdir(tmp_path) == (["out.gsd"] if overwrite else [])
    assert not overwrite or path.read_bytes() == b"precious"


def test_no_frames_make_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frames"):
        write_gsd(tmp_path / "out.gsd", [])
    assert os.listdir(tmp_path) == []


def test_a_file_that_appears_meanwhile_is_kept(make_frame: MakeFrame, tmp_path: Path) -> None:
    path = tmp_path / "out.gsd"

    def frames() -> Iterator[Frame]:
        path.write_bytes(b"theirs")
        yield make_frame()

    with pytest.raises(OutputExistsError):
        write_gsd(path, frames())
    assert path.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["out.gsd"]


KILLED = """
import os, signal, sys
from amorph.handover import Frame, GSDWriter
writer = GSDWriter(sys.argv[1])
for i in range(5):
    writer.append(Frame(positions=[[i, 0.5]], typeid=[0], types=("A",), box=None, log={"i": i}))
    if i == 2:
        writer.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_flushed_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "shard.gsd"
    run = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert run.returncode == -signal.SIGKILL
    assert count_frames(path) == 3
    with GSDWriter(path, mode="append") as writer:
        for frame in read_gsd(path, slice(0, 1), need_potential=False):
            writer.append(frame)
    values = [float(f.positions[0, 0]) for f in read_gsd(path, need_potential=False)]
    assert values == [0, 1, 2, 0]


def test_a_refused_frame_leaves_the_writer_usable(make_frame: MakeFrame, tmp_path: Path) -> None:
    path = tmp_path / "a.gsd"
    with GSDWriter(path) as writer:
        writer.append(make_frame(random=0))
        with pytest.raises(CorruptFrameError):
            writer.append(make_frame(typeid=[0]))
        writer.append(make_frame(random=1))
    expected = [checksum(make_frame(random=i)) for i in range(2)]
    assert [checksum(frame) for frame in read_gsd(path)] == expected
    writer.close()
    with pytest.raises(OutputError, match="closed"):
        writer.append(make_frame())


def test_a_write_that_fails_is_not_followed_by_another(
    make_frame: MakeFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "full.gsd"
    writer = GSDWriter(path)
    writer.append(make_frame(random=0))
    writer.flush()

    class FullDisk:
        """The open file, but the third chunk finds the disk full."""

        def __init__(self, file: gsd.fl.GSDFile) -> None:
            self.file = file
            self.left = 2

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

        def write_chunk(self, name: str, data: object) -> None:
            if self.left == 0:
                raise OSError(28, "No space left on device", str(path))
            self.left -= 1
            self.file.write_chunk(name, data)

    monkeypatch.setattr(writer, "_file", FullDisk(writer._file))
    with pytest.raises(OutputError, match="No space left on device"):
        writer.append(make_frame(random=1))
    with pytest.raises(OutputError, match="failed before"):
        writer.append(make_frame(random=1))
    with pytest.raises(OutputError, match="failed before"):
        writer.flush()
    writer.close()
    assert [checksum(f) for f in read_gsd(path)] == [checksum(make_frame(random=0))]


# Many names, and an index that grows three times.
MANY = [
    Frame(
        positions=np.random.default_rng(k).uniform(-2, 2, (7, 2)),
        typeid=[0] * 7,
        types=("A",),
        box=np.diag([4.1, 4.7]),
        potential="soft_sphere",
        parameters={"diameters": [1.0], "stiffness": [1.0]},
        log={f"a/name/of/some/length/{i}": np.arange(1.0 + i % 5) + k for i in range(20)},
    )
    for k in range(20)
]
SUMS = [checksum(frame) for frame in MANY]


@contextlib.contextmanager
def no_file_beyond(limit: int) -> Iterator[None]:
    """No file can grow beyond so many bytes, as on a disk that is full there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def append_until_full(path: Path, frames: Sequence[Frame], together: int, limit: int) -> int:
    """How many frames the file was told to hold when there was no more room, or no more frames."""
    flushed = 0
    with no_file_beyond(limit), contextlib.suppress(OutputError):
        writer = GSDWriter(path, mode="append")
        flushed = writer.n_frames
        for k, frame in enumerate(frames[flushed:], flushed + 1):
            writer.append(frame)
            if k % together == 0:
                writer.flush()
                flushed = k
        writer.close()
        flushed = len(frames)
    gc.collect()  # gsd closes once more what was not closed well
    return flushed


@pytest.fixture(scope="module")
def little_to_collect() -> Iterator[None]:
    """What other modules hold is not looked at whenever garbage is collected."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("little_to_collect")
@given(limit=st.integers(300, 60_000), together=st.integers(1, 12), more=st.integers(0, 20_000))
@settings(max_examples=40, deadline=None)
def test_what_was_flushed_survives_a_full_disk(limit: int, together: int, more: int) -> None:
    """Wherever the disk fills up: while data, names or the index grow, twice in a row."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.gsd"
        flushed = 0
        for room in (limit, limit + more):
            flushed = max(flushed, append_until_full(path, MANY, together, room))
            found = [checksum(frame) for frame in read_gsd(path)] if flushed else []
            assert len(found) >= flushed
            assert found == SUMS[: len(found)]
        assert append_until_full(path, MANY, together, 10**9) == len(MANY)
        assert [checksum(frame) for frame in read_gsd(path)] == SUMS


def test_appending_to_what_is_no_file_of_ours(good: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gsd"
    cut.write_bytes(good.read_bytes()[:-1])
    with pytest.raises(NotGSDError):
        GSDWriter(cut, mode="append")
    open_raw(tmp_path / "old.gsd", "hoomd", [1, 4]).close()
    with pytest.raises(SchemaError, match=r"hoomd 1\.4.*new file"):
        GSDWriter(tmp_path / "old.gsd", mode="append")
