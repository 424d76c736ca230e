"""Checks that values and derivatives are finite, with errors that name the one that is not.

Only small results are looked at. The eigenvalue that tells whether the packing is to blame is
computed once something is wrong.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NotFiniteError
from ..matter.springs import Theta
from ..minima.responses import Response
from ..solve.factors import lowest_mode

__all__ = ["check_finite", "check_slopes", "check_values"]

# A packing is at the edge of stability if its lowest eigenvalue is below this fraction of H's mean
# diagonal element: quantities that grow as its inverse have lost half of their digits.
EDGE = 1e-8
_MOST = 3


def check_values(
    names: Sequence[str], values: Sequence[Any], theta: Theta, found: Response
) -> None:
    """Raise `NotFiniteError` for a feature's value, or a component of it, that is not finite."""
    for name, value in zip(names, values, strict=True):
        check_finite(f"the feature {name!r}", value, theta, found)


def check_slopes(
    rows: Sequence[str],
    columns: Sequence[str],
    matrix: NDArray[np.float64],
    theta: Theta,
    found: Response,
    *,
    what: str = "the gradient of",
) -> None:
    """The same of derivatives (n_rows, n_columns), which are named by their rows and columns."""
    wrong = ~np.isfinite(matrix)
    if not wrong.any():
        return
    row = int(np.argmax(wrong.any(axis=1)))
    by = np.flatnonzero(wrong[row])
    named = ", ".join(f"{columns[c]} ({matrix[row, c]})" for c in by[:_MOST])
    more = f" and {len(by) - _MOST} others" if len(by) > _MOST else ""
    others = int(wrong.any(axis=1).sum()) - 1
    rest = f" (and of {others} others)" if others else ""
    raise NotFiniteError(
        f"{what} {rows[row]}{rest} is not finite by {named}{more}, {_of(found)}: "
        f"{_stability(theta, found)}"
    )


def check_finite(what: str, value: Any, theta: Theta, found: Response) -> None:
    """The same of one result, named in words."""
    array = np.asarray(value)
    wrong = ~np.isfinite(array)
    if not wrong.any():
        return
    if array.ndim == 0:
        told = f"is {array}"
    else:
        places = np.argwhere(wrong)
        named = ", ".join(
            f"[{','.join(map(str, p))}] ({array[tuple(p)]})" for p in places[:_MOST].tolist()
        )
        told = f"is not finite in {len(places)} of {array.size} components, {named}"
    raise NotFiniteError(f"{what} {told}, {_of(found)}: {_stability(theta, found)}")


def _of(found: Response) -> str:
    n, d = np.shape(found.state.positions)
    loose = int(found.rattlers.sum())
    return (
        f"of a packing of {n} particles in {d} dimensions, {loose} of them rattlers, of energy "
        f"{found.energy:.10g}"
    )


def _stability(theta: Theta, found: Response) -> str:
    """Tell in words how stable the packing is, by the lowest eigenvalue of its Hessian."""
    lowest, _, typical = lowest_mode(theta, found.state)
    told = f"the lowest eigenvalue of its Hessian is {lowest:.3e}, a typical one {typical:.1e}"
    if lowest <= EDGE * typical:
        return (
            f"it is at the edge of stability ({told}). Start from another packing, or change the "
            "parameters by less."
        )
    return (
        f"it is stable ({told}), so that it is the function itself that has no value or no "
        "derivative there. Leave it out, or mend it where it is your own."
    )
