"""Writing pictures and pages: each appears whole under its final name, or not at all."""

import base64
import os
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from amorph.handover import OutputError, OutputExistsError

from ..store.durable import written_whole


class Output:
    """The folder of pictures and page; everything appears whole under its final name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def picture(self, name: str, figure: Figure) -> str:
        """Write ``figures/<name>.png``; returns an address that holds the picture."""
        data = png(figure)
        write(self.directory / "figures" / f"{name}.png", data)
        return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def png(figure: Figure) -> bytes:
    """A figure as PNG in 256 colours: a quarter of the bytes, and no difference to be seen."""
    drawn = BytesIO()
    figure.savefig(
        drawn,
        format="png",
        dpi=figure.get_dpi(),
        facecolor="white",
        pil_kwargs={"compress_level": 1},
    )
    buffer = BytesIO()
    with Image.open(drawn) as image:
        small = image.convert("RGB").quantize(
            256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
        small.save(buffer, format="png")
    return buffer.getvalue()


def write(path: Path, data: bytes) -> None:
    """Write a file whole under its name, or raise `OutputError` and leave nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}. Check the directory's "
            "permissions and the space left."
        ) from error


def check_output(path: Path, overwrite: bool) -> None:
    """Raise `OutputError` or `OutputExistsError` where a file may not or cannot be written."""
    if path.is_dir():
        raise OutputError(f"{path}: is a directory; give the name of a file.")
    if os.path.lexists(path) and not overwrite:
        raise OutputExistsError(
            f"{path}: exists already, and is kept. Remove it, or ask for it to be overwritten "
            "(--force)."
        )
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the directory {path.parent} does not exist. Make it first.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"{path}: the directory {path.parent} cannot be written. Check its permissions."
        )
