"""How results show themselves: a title, and a few aligned lines with what a reader wants first."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["box_shown", "numbers_shown", "parameters_shown", "shown", "spread_shown"]

_MOST = 6


def shown(title: str, lines: Iterable[tuple[str, str]] = ()) -> str:
    """A title and below it named values; those that are empty are left out."""
    kept = [(name, value) for name, value in lines if value]
    width = max((len(name) for name, _ in kept), default=0)
    return "\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in kept)])


def numbers_shown(values: ArrayLike, most: int = _MOST, *, alike: bool = True) -> str:
    """Numbers to six digits: one where all are alike, and the first few of many."""
    if values is None:
        return "None"
    try:
        array = np.asarray(values)
        flat = array.ravel().astype(np.float64)
    except (TypeError, ValueError):  # a leaf of a tree that JAX traces, or what takes its place
        return _abstract(values)
    if flat.size == 0:
        return "none"
    if array.ndim == 0 or (alike and (flat == flat[0]).all()):
        return f"{flat[0]:.6g}"
    if array.ndim > 1 and flat.size > most:
        return f"{array.shape}, {spread_shown(flat)}"
    listed = ", ".join(f"{x:.6g}" for x in flat[:most])
    return f"[{listed}]" if flat.size <= most else f"[{listed}, ... {flat.size} in all]"


def parameters_shown(values: Mapping[str, Any]) -> str:
    """Parameters as they are given: those of pairs as one number where all are alike."""
    return ", ".join(
        # As many diameters as there are types.
        f"{name}={numbers_shown(value, alike=name != 'diameters')}"
        for name, value in values.items()
    )


def _abstract(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__}{'' if shape is None else shape}"


def spread_shown(values: ArrayLike) -> str:
    """The smallest and the largest of numbers, those that are not finite apart."""
    flat = np.ravel(np.asarray(values, dtype=np.float64))
    good = flat[np.isfinite(flat)]
    if good.size == 0:
        return "none finite" if flat.size else "none"
    lowest, highest = float(good.min()), float(good.max())
    told = f"{lowest:.6g}" if lowest == highest else f"{lowest:.6g} to {highest:.6g}"
    return told if good.size == flat.size else f"{told} ({flat.size - good.size} not finite)"


def box_shown(box: NDArray[np.float64] | None) -> str:
    """A box in words: its sides, and its tilt where it has one."""
    if box is None:
        return "open space"
    lengths = " x ".join(f"{x:.6g}" for x in np.diagonal(box))
    off: Sequence[float] = box[np.triu_indices(len(box), 1)].tolist()
    return lengths if not any(off) else f"{lengths}, tilted by {', '.join(f'{x:.4g}' for x in off)}"
