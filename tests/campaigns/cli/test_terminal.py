"""What commands write: names whole and unmarked, in any encoding and width, said once."""

import io
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import amorph as package
from amorph.campaigns import cli
from amorph.campaigns.cli import main, terminal
from amorph.handover import InputError, OutputError

NAME = "run[seed=1]/a[/o :warning: [bold]/" + "a-long-directory-name-" * 8 + "é–"


class Stream(io.TextIOWrapper):
    """A stream that may say that it is a terminal."""

    def __init__(self, encoding: str, *, terminal: bool = False) -> None:
        self.raw_bytes = io.BytesIO()
        self.is_terminal = terminal
        super().__init__(self.raw_bytes, encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return self.is_terminal

    @property
    def text(self) -> str:
        return self.raw_bytes.getvalue().decode(self.encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "latin-1"])
def test_lines_and_tables_are_whole_in_any_encoding(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = Stream(encoding), Stream(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("COLUMNS", "30")
    terminal.let_all_be_written()
    terminal.say(f"{NAME}: 1 frames ✓")
    terminal.say_table(("", "name", "n"), ("n",), [("✓", NAME, "12"), ("·", "short [x]", "3")])
    terminal.tell(f"amorph: {NAME} ✓")
    shown = NAME.encode(encoding, "replace").decode(encoding)
    first, header, *rows = out.text.splitlines()
    assert first.startswith(f"{shown}: 1 frames ")
    assert header.split() == ["name", "n"]
    assert len(rows) == 2
    assert shown in rows[0]
    assert rows[0].endswith(" 12")
    assert "short [x]" in rows[1]
    (told,) = err.text.splitlines()
    assert NAME.encode(encoding, "backslashreplace").decode(encoding) in told


def test_narrow_terminals_fold_but_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Stream("utf-8", terminal=True)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    name = "0_target-0.25[x]_replica-0-and-more"
    terminal.say_table(("design", "status"), (), [(name, "step_limit")])
    rows = [line.split() for line in out.text.splitlines()[1:]]
    assert len(rows) > 1
    status = rows[0].pop()  # the others go on with the name
    assert "".join(part for row in rows for part in row) == name
    assert status == "step_limit"


def test_bars_are_for_terminals_and_hold_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    err = Stream("utf-8")
    monkeypatch.setattr(sys, "stderr", err)
    with terminal.bars() as progress:
        progress.add_task("steps", total=2, info="a[/b] → 0.3")
    assert err.text == ""
    shown = terminal._text("{task.fields[info]}").render(progress.tasks[0])
    assert shown.plain == "a[/b] → 0.3"


def test_an_output_that_is_full_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for write in (lambda: terminal.say("much"), lambda: terminal.say_table("a", "", ["b"])):
        with open("/dev/full", "w") as full:
            monkeypatch.setattr(sys, "stdout", full)
            with pytest.raises(OutputError, match="standard output: cannot be written: No space"):
                write()
    monkeypatch.setattr(sys, "stdout", None)
    terminal.say("nobody listens")


def test_a_pipe_that_is_closed_ends_quietly(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from amorph.campaigns.cli.terminal import say\n"
        "for k in range(100_000): say(f'line {k}')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"line 0\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141


def test_help_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    for command, said in (
        ("prepare", "A TOML file: [potential], [preparation]."),
        ("analyze", "A TOML file with [potential], for files without one."),
        ("gradient", "A campaign file without [sweep]."),
    ):
        with pytest.raises(SystemExit) as end:
            main([command, "--help"])
        assert end.value.code == 0
        assert said in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out.partition("Commands:")[2]
    assert len(listed.strip().splitlines()) == 12
    assert "..." not in listed


def test_version(capsys: pytest.CaptureFixture[str], amorph: Callable[..., Any]) -> None:
    assert package.__version__ == version("amorph")
    with pytest.raises(AttributeError, match="nothing"):
        _ = package.nothing
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"amorph {package.__version__}\n"
    assert amorph("--version").stdout == f"amorph {package.__version__}\n"


def test_what_users_gave_is_told_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / NAME.partition("/")[0] / ("b" * 90)
    with pytest.raises(SystemExit) as end:
        main(["prepare", str(folder / "x[/y].toml"), "-o", str(tmp_path / "o.gsd")])
    assert end.value.code == 2
    assert f"amorph: {folder / 'x[/y].toml'}: there is no such file." in capsys.readouterr().err


def test_a_name_that_is_no_text_is_refused_before_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["analyze", "gr\udcf6\udcdfe.dump", "-o", str(tmp_path / "o.csv")])
    assert end.value.code == 2
    assert r"amorph: gr\xf6\xdfe.dump: is no text in utf-8." in capsys.readouterr().err


def test_a_warning_is_said_once_and_unmarked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def warned(*_: object, **__: object) -> None:
        for _ in range(3):
            with warnings.catch_warnings():  # which forgets what was said before
                warnings.simplefilter("always")
                warnings.warn("[x] is odd [/y]", stacklevel=1)
        raise InputError("[a] is wrong [/b]")

    monkeypatch.setattr(cli.application.typer.main, "get_command", lambda _: warned)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert said == ["amorph: warning: [x] is odd [/y]", "amorph: [a] is wrong [/b]"]
