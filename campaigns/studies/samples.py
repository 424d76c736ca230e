"""Many packings measured over ranks, safe on disk as they come."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..spread.ranks import Ranks
from ..store.parts import Parts, begun
from ..store.row_files import write_table

__all__ = ["samples"]

Row = dict[str, Any]


@contextmanager
def samples(
    table: Path,
    header: Mapping[str, Any],
    total: int,
    ranks: Ranks,
    function: Callable[[Any, int], Row],
    shared: Any,
    progress: Callable[[int, int], object],
) -> Iterator[list[Row]]:
    """The rows function(shared, k) of k = 0, ..., total - 1, and a table of them.

    A row has ``failure``, empty where there is none. What was finished before is not done again: it
    is kept beside the table until the block is left. The header says what the rows belong to.

    Raises as `Parts` does.
    """
    chunk = max(16, 4 * ranks.size)
    with Parts(table, header, resume=begun(table)) as parts:
        for first, end in parts.missing(total, chunk):
            rows = ranks.map(function, shared, range(first, end))
            failed = sum(bool(row["failure"]) for row in rows)
            data = b"".join(json.dumps(row, allow_nan=False).encode() + b"\n" for row in rows)
            parts.add(first, end - first, failed, data)
            progress(parts.n_rows, total)
        write_table(parts.rows, table)
        yield [row for rows in parts.rows() for row in rows]
        parts.remove()
