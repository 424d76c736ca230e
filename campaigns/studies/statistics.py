"""Tables of how replicas ended, written while an ensemble is computed."""

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from amorph.ensemble import Ensemble
from amorph.handover import InputError, OutputError, OutputExistsError

__all__ = ["StatisticsFile"]


class StatisticsFile:
    """A CSV or Parquet file with a row for each replica, added batch by batch.

    It appears under its name when it is closed; before, and after an error, beside it under
    ``.<name>.partial``. Without a path it takes what it is given and keeps nothing.

    Raises `InputError` for another ending than ``.csv`` or ``.parquet``, `OutputExistsError` for a
    file that exists unless ``overwrite``, `OutputError` where it cannot be written.
    """

    def __init__(self, path: Path | None, *, overwrite: bool = False) -> None:
        self.path = path
        self._writer: Any = None
        if path is None:
            return
        if path.suffix not in (".csv", ".parquet"):
            raise InputError(f"{path}: a table is written as .csv or .parquet.")
        if path.exists() and not overwrite:
            raise OutputExistsError(f"{path} exists: choose another name, or give --force.")
        if not path.parent.is_dir():
            raise OutputError(f"{path}: there is no folder {path.parent}; make it first.")
        self._partial = path.with_name(f".{path.name}.partial")

    def add(self, batch: Ensemble) -> None:
        """Add a batch's rows."""
        if self.path is None:
            return
        table = batch.table()
        try:
            if self.path.suffix == ".csv":
                first = self._writer is None
                if first:
                    self._writer = self._partial.open("w", encoding="utf-8", newline="")
                table.to_csv(self._writer, header=first, index=False)
                self._writer.flush()
            else:
                import pyarrow
                import pyarrow.parquet

                rows = pyarrow.Table.from_pandas(table, preserve_index=False)
                if self._writer is None:
                    self._writer = pyarrow.parquet.ParquetWriter(self._partial, rows.schema)
                self._writer.write_table(rows)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error}.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.path is None or self._writer is None:
            return
        try:
            self._writer.close()
            if error is None:
                os.replace(self._partial, self.path)
        except OSError as fault:
            if error is None:
                raise OutputError(f"{self.path}: cannot be written: {fault}.") from fault
