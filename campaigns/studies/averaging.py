"""Means of packings' gradients."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["cut"]


def cut(length: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Factors (R,) that make gradients of some lengths (R,) no longer than `limit` medians.

    Near an instability a packing's gradient grows without bound (as the inverse of its lowest
    eigenvalue): one of them would outweigh all others of the step, and of many steps. A limit of 0
    is none.
    """
    out = np.ones(len(length))
    if limit:
        longest = limit * float(np.median(length))
        over = length > longest
        out[over] = longest / length[over]
    return out
