"""Tables on disk: rows as JSON, CSV or Parquet, written batch by batch in bounded memory."""

import csv
import json
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from amorph.handover import InputError, OutputError, OutputExistsError

from .durable import written_whole

if TYPE_CHECKING:
    import pandas

__all__ = [
    "FORMATS",
    "Batches",
    "check_file_output",
    "check_output",
    "columns_of",
    "read_table",
    "write_table",
]

FORMATS = (".json", ".csv", ".parquet")
# Rows of a table may lack keys; these come first wherever they stand in the first row.
_FIRST = ("source", "frame", "status", "message")
# How many values a row group of a Parquet file holds at most: about 8 MB in memory.
_VALUES_PER_GROUP = 1_000_000

Batches: TypeAlias = Callable[[], Iterator[list[dict[str, Any]]]]
"""Gives the rows of a table from the start, batch by batch, whenever it is called."""


def check_output(path: Path, *, overwrite: bool = False) -> None:
    """Check before any work that a table can be written under a name.

    Raises `InputError` for an unknown ending, `OutputExistsError` for a name that is taken unless
    `overwrite`, `OutputError` for a directory that is not there or cannot be written to.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: the name must end with one of {', '.join(FORMATS)}.")
    check_file_output(path, overwrite=overwrite)


def check_file_output(path: Path, *, overwrite: bool = False) -> None:
    """As `check_output`, whatever the ending."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot be written: {reason}. Choose another name.") from error
    if path.is_dir():
        raise OutputExistsError(f"{path}: is a directory; name a file.")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path}: exists already; add --force to replace it.")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no directory {path.parent}; make it first.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: the directory {path.parent} cannot be written to.")


def columns_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with a column for each element of an array: ``stress_0_1``, ``gradients.p.b_2``."""
    out: dict[str, Any] = {}

    def put(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                put(f"{name}.{key}", inner)
        elif isinstance(value, list):
            for k, inner in enumerate(value):
                put(f"{name}_{k}", inner)
        else:
            out[name] = value

    for key, value in row.items():
        put(key, value)
    return out


def write_table(batches: Batches, path: Path) -> None:
    """Write rows as JSON, CSV or Parquet, by the name's ending; it appears only when whole.

    Rows may have different keys: a table has the columns of all of them, and no value where a row
    has none. Of CSV and Parquet the rows are read twice, once for the columns. One batch is held
    in memory, or one row group of Parquet.

    Raises `OutputError` where the file cannot be written.
    """
    try:
        with written_whole(path) as partial:
            if path.suffix == ".json":
                _write_json(partial, batches())
            elif path.suffix == ".csv":
                _write_csv(partial, batches)
            else:
                _write_parquet(partial, batches)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}. Check the directory's "
            "permissions and the space left."
        ) from error


def _write_json(path: Path, batches: Iterable[list[dict[str, Any]]]) -> None:
    """The text that `json.dump({"frames": rows}, file, indent=1)` would write."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{\n "frames": [')
        before = "\n"
        for rows in batches:
            for row in rows:
                text = json.dumps(row, indent=1, allow_nan=False)
                file.write(before + textwrap.indent(text, "  "))
                before = ",\n"
        file.write("\n ]\n}\n")


def _columns(batches: Batches) -> dict[str, set[type]]:
    """The columns of all rows with the types of their values, in the order of a table.

    A quantity's columns stand together, where its name comes first in the rows.
    """
    found: dict[str, dict[str, set[type]]] = {key: {} for key in _FIRST}
    for rows in batches():
        for row in rows:
            for key, value in row.items():
                columns = found.setdefault(key, {})
                for name, element in columns_of({key: value}).items():
                    columns.setdefault(name, set()).add(type(element))
    return {name: kinds for columns in found.values() for name, kinds in columns.items()}


def _write_csv(path: Path, batches: Batches) -> None:
    names = list(_columns(batches))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, names, lineterminator="\n")
        table.writeheader()
        for rows in batches():
            table.writerows(columns_of(row) for row in rows)


def _write_parquet(path: Path, batches: Batches) -> None:
    import pyarrow
    import pyarrow.parquet

    def kind(types: set[type]) -> Any:
        if types == {bool}:
            return pyarrow.bool_()
        if types == {int}:
            return pyarrow.int64()
        return pyarrow.float64() if types <= {int, float} else pyarrow.string()

    columns = {name: types - {type(None)} for name, types in _columns(batches).items()}
    schema = pyarrow.schema([(name, kind(types)) for name, types in columns.items()])
    limit = max(1, _VALUES_PER_GROUP // max(1, len(columns)))
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        group: list[dict[str, Any]] = []
        for rows in batches():
            group += map(columns_of, rows)
            if len(group) >= limit:
                writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))
                group = []
        if group:
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))


def read_table(path: Path) -> "pandas.DataFrame":
    """A CSV table that `write_table` wrote, to the last bit of its numbers.

    Numbers and truths that are missing are NaN, and so is a column of nothing; missing texts are
    empty. A column of texts that are all numbers is one of numbers.
    """
    import pandas

    with path.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    columns = [list(cells) for cells in zip(*rows, strict=True)] or [[] for _ in names]
    return pandas.DataFrame({n: _read(cells) for n, cells in zip(names, columns, strict=True)})


_INTEGER = re.compile(r"-?(0|[1-9]\d*)")
_FLOAT = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?(e[-+]?\d+)?")  # as Python writes them


def _read(cells: list[str]) -> list[Any]:
    """A column's values, by what all of its cells can be, as `write_table` writes them."""
    truths: dict[str, Any] = {"True": True, "False": False}
    there = [cell for cell in cells if cell]
    whole = len(there) == len(cells)
    if there and all(cell in truths for cell in there):
        if whole:
            return [truths[cell] for cell in cells]
        return [float(truths[cell]) if cell else float("nan") for cell in cells]
    if whole and all(_INTEGER.fullmatch(cell) for cell in cells):
        return [int(cell) for cell in cells]
    if all(_FLOAT.fullmatch(cell) for cell in there):
        return [float(cell or "nan") for cell in cells]
    return cells
