"""The Jacobian of means over packings: how many averages can be tuned apart, and how surely.

The mean of the packings' Jacobians, with their jump terms, is that of the means, what
rearrangements do apart (`amorph.bridge.sensitivity.jumps`). Its errors are bootstrapped over the
packings.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amorph.handover import InputError

from ..averaging import cut

if TYPE_CHECKING:
    import pandas

__all__ = ["MeanResponse", "mean_response", "slope_name", "slopes_in", "summarised"]

Array = NDArray[np.float64]

# A packing's derivatives of a feature are cut to so many times their median length: close to an
# instability they grow without bound, and no mean of them would be known from any number.
LIMIT = 10.0
# How many tables of as many packings are drawn anew from those there are.
DRAWN = 1000
# A singular value counts that is larger than what noise alone is with this probability.
SURELY = 0.95


@dataclass(frozen=True, eq=False)
class MeanResponse:
    """The mean of packings' Jacobians.

    Attributes
    ----------
    mean, error:
        (n_rows, n_columns), and its standard error.
    drawn:
        (K, n_rows, n_columns), the means of packings drawn anew.
    """

    mean: Array
    error: Array
    drawn: Array

    @cached_property
    def _decomposed(self) -> tuple[Array, Array, Array]:
        return np.linalg.svd(self.mean, full_matrices=False)

    @property
    def susceptibilities(self) -> Array:
        """The singular values of the mean, largest first."""
        return self._decomposed[1]

    @property
    def errors(self) -> Array:
        """The standard error of each, along its own direction."""
        u, _, vt = self._decomposed
        along = np.einsum("rk,drc,kc->dk", u, self.drawn, vt)
        out: Array = along.std(axis=0, ddof=1)
        return out

    @property
    def noise(self) -> float:
        """The largest singular value of noise alone: it stays below this, 19 times of 20."""
        return _noise(self.drawn - self.mean)

    @property
    def rank(self) -> int:
        """How many means can be tuned independently.

        Since the rank does not depend on what features and parameters are counted in, it is found
        where each row, and then each column, is in units of its own noise: else that of a feature
        whose mean is known badly would hide others. It is the number of singular values there that
        are above what noise alone is.
        """
        mean, off = self.mean, self.drawn - self.mean
        for axes in ((0, 2), (0, 1)):
            own = np.sqrt(np.mean(off**2, axis=axes, keepdims=True))
            least = np.finfo(float).eps * np.abs(mean).max(initial=0.0)
            scale = np.maximum(own, max(least, np.finfo(float).tiny))
            mean, off = mean / scale[0], off / scale
        values = np.linalg.svd(mean, compute_uv=False)
        return int(np.sum(values > max(_noise(off), 1.0)))

    def told(self, rows: list[str], columns: list[str]) -> dict[str, Any]:
        """For JSON."""
        u, _, vt = self._decomposed
        return {
            "rows": rows,
            "columns": columns,
            "jacobian": self.mean.tolist(),
            "error": self.error.tolist(),
            "susceptibilities": self.susceptibilities.tolist(),
            "errors": self.errors.tolist(),
            "noise": self.noise,
            "left": u.tolist(),
            "right": vt.tolist(),
        }


def mean_response(slopes: Array, seed: int = 0) -> MeanResponse:
    """The mean of packings' Jacobians (n_packings, n_rows, n_columns), at least two of them."""
    n = len(slopes)
    flat = slopes.reshape(n, -1)
    rng = np.random.default_rng(seed)
    weight = rng.multinomial(n, np.full(n, 1.0 / n), size=DRAWN) / n
    drawn = (weight @ flat).reshape(DRAWN, *slopes.shape[1:])
    error = slopes.std(axis=0, ddof=1) / np.sqrt(n)
    return MeanResponse(slopes.mean(axis=0), error, drawn)


def slope_name(row: str, column: str) -> str:
    """The name of a table's column of derivatives: ``d pressure / d diameters[A]``."""
    return f"d {row} / d {column}"


def slopes_in(table: "pandas.DataFrame") -> tuple[list[str], list[str], Array]:
    """The features, the parameters, and the Jacobians (n_packings, n_rows, n_columns) of a table.

    Those that are long beside the median are cut. Only the parameters that all rows have: a sweep
    may have other ones.
    """
    names = [c for c in table.columns if c.startswith("d ") and table[c].notna().all()]
    pairs = [name.removeprefix("d ").split(" / d ") for name in names]
    rows, columns = (list(dict.fromkeys(part)) for part in zip(*pairs, strict=True))
    # By name: of several systems together, columns come in another order.
    values = np.array(
        [[table[slope_name(row, column)] for column in columns] for row in rows], dtype=float
    ).transpose(2, 0, 1)
    features = [row.partition("[")[0] for row in rows]
    for name in dict.fromkeys(features):
        of = np.array([f == name for f in features])
        factor = cut(np.linalg.norm(values[:, of], axis=(1, 2)), LIMIT)
        values[:, of] *= factor[:, None, None]
    return rows, columns, values


def summarised(table: "pandas.DataFrame", seed: int) -> dict[str, Any]:
    """The summary of a table of packings' derivatives: their means' response, for JSON.

    Raises `InputError` where fewer than two packings have a row.
    """
    if len(table) < 2:
        raise InputError(f"{len(table)} packings have derivatives: a mean needs two at least.")
    rows, columns, slopes = slopes_in(table)
    values = table[rows].to_numpy(dtype=float)
    found = mean_response(slopes, seed)
    return {
        "packings": len(table),
        "rank": found.rank,
        "features": len(rows),
        "parameters": len(columns),
        "value": dict(zip(rows, values.mean(axis=0).tolist(), strict=True)),
        **found.told(rows, columns),
    }


def _noise(off: Array) -> float:
    return float(np.quantile(np.linalg.norm(off, 2, axis=(1, 2)), SURELY))
