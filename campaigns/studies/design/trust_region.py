"""Steps of second order: the least change of parameters that meets the targets, by linear response.

With r the residuals and J their derivatives by the parameters in their scales, a step is the
shortest s that makes |r + J s| least, no longer than a trust radius and within bounds. For features
that do not rearrange this is Newton's way (Zu, Desai and Goodrich, "Fully independent response in
disordered solids", eq. 4); the radius is what linear response is trusted for.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

__all__ = ["least_change", "within_bounds"]

Vector = NDArray[np.float64]

# Singular values below this part of the largest are round-off: nothing is asked of them.
NEGLIGIBLE = 1e-10
# Halvings of an interval on a logarithmic scale: to round-off from any start.
HALVINGS = 100
# A step within bounds may be shorter than the radius by so much.
SHORTER = 0.99


def least_change(jacobian: Vector, residual: Vector, radius: float) -> Vector:
    """The shortest change s that makes |residual + jacobian s| least, with |s| at most `radius`.

    Parameters
    ----------
    jacobian:
        (m, n), by parameters in units of their scales.
    residual:
        (m,).
    radius:
        The longest that s may be.

    Returns s (n,); zeros where no parameter matters, or the radius is 0. Where the radius counts, s
    is -(JᵀJ + λ)⁻¹Jᵀr with the λ that makes it as long as the radius (Levenberg-Marquardt).

    Example
    -------
    >>> least_change(np.array([[3.0, 4.0]]), np.array([-5.0]), radius=10.0)
    array([0.6, 0.8])
    """
    u, s, vt = np.linalg.svd(jacobian, full_matrices=False)
    kept = s > NEGLIGIBLE * s.max(initial=0.0)
    if not kept.any() or not radius > 0:
        return np.zeros(jacobian.shape[1])
    s, along, vt = s[kept], -(u.T @ residual)[kept], vt[kept]
    whole: Vector = vt.T @ (along / s)
    if np.linalg.norm(whole) <= radius:
        return whole
    low, high = np.log(s.min() ** 2 * NEGLIGIBLE**2), np.log(np.linalg.norm(s * along) / radius)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        if np.linalg.norm(s * along / (s**2 + np.exp(middle))) > radius:
            low = middle
        else:
            high = middle
    cut: Vector = vt.T @ (s * along / (s**2 + np.exp(high)))
    return cut


def within_bounds(
    jacobian: Vector, residual: Vector, radius: float, low: Vector, high: Vector
) -> Vector:
    """As `least_change`, every component of s between `low` (n,) and `high` (n,).

    `low` must not be above 0 nor `high` below: s = 0 is within bounds. Where they count, s makes
    |r + J s|² + λ|s|² least within them, by SciPy's bounded least squares, and is as long as the
    radius, or up to a hundredth shorter.
    """
    change = least_change(jacobian, residual, radius)
    if np.all(change >= low) and np.all(change <= high):
        return change
    # What is fixed by its bounds has no part in it.
    free = high > low
    columns, n = jacobian[:, free], int(free.sum())
    largest = float(np.linalg.norm(columns, 2)) if n else 0.0
    out = np.zeros(len(free))
    if largest == 0.0:
        return out
    bounds, target = (low[free], high[free]), np.concatenate([-residual, np.zeros(n)])

    def bounded(damping: float) -> Vector:
        whole = np.concatenate([columns, damping * np.eye(n)])
        found: Vector = lsq_linear(whole, target, bounds, method="bvls").x
        return np.clip(found, *bounds)

    least = largest * np.sqrt(NEGLIGIBLE)
    found = bounded(least)
    if np.linalg.norm(found) > radius:
        slack, tight = np.log(least), np.log(np.linalg.norm(columns.T @ residual) / radius) / 2
        for _ in range(HALVINGS):
            middle = 0.5 * (slack + tight)
            found = bounded(float(np.exp(middle)))
            length = np.linalg.norm(found)
            if SHORTER * radius <= length <= radius:
                break
            slack, tight = (middle, tight) if length > radius else (slack, middle)
    out[free] = found
    return out
