"""Steps of second order: the least change of parameters that meets the targets, by linear response.

With r the residuals and J their derivatives by the parameters in their scales, a step is the
shortest s that makes |r + J s| least, no longer than a trust radius and within bounds. For features
that do not rearrange this is Newton's way (Zu, Desai and Goodrich, "Fully independent response in
disordered solids", eq. 4); the radius is what linear response is trusted for.

Where a pair crosses a distance at which u'' jumps, so do the features. A radius in the parameters
alone would have to be as short as the way to the nearest of them; with many parameters there are
ways around. So gaps are among what a step is to change little: like an interior-point method's
(Dikin's ellipsoid) it is short in units of the gaps.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

__all__ = ["Held", "beside", "least_change", "within_bounds"]

Vector = NDArray[np.float64]

# Singular values below this part of the largest are round-off: nothing is asked of them.
NEGLIGIBLE = 1e-10
# Halvings of an interval on a logarithmic scale: to round-off from any start.
HALVINGS = 100


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
    return _damped(jacobian, residual, radius)[0]


def _damped(jacobian: Vector, residual: Vector, radius: float) -> tuple[Vector, float]:
    """The change of `least_change`, and λ."""
    u, s, vt = np.linalg.svd(jacobian, full_matrices=False)
    kept = s > NEGLIGIBLE * s.max(initial=0.0)
    if not kept.any() or not radius > 0:
        return np.zeros(jacobian.shape[1]), 0.0
    s, along, vt = s[kept], -(u.T @ residual)[kept], vt[kept]
    whole: Vector = vt.T @ (along / s)
    if np.linalg.norm(whole) <= radius:
        return whole, 0.0
    low, high = np.log(s.min() ** 2 * NEGLIGIBLE**2), np.log(np.linalg.norm(s * along) / radius)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        if np.linalg.norm(s * along / (s**2 + np.exp(middle))) > radius:
            low = middle
        else:
            high = middle
    cut: Vector = vt.T @ (s * along / (s**2 + np.exp(high)))
    return cut, float(np.exp(high))


class Held:
    """Changes of parameters by which something else is to change little, too.

    Parameters
    ----------
    jacobian:
        (m, n), of the residuals by parameters in units of their scales.
    rows:
        (k, n), of what else is to change by about 1 at most, each row.
    """

    def __init__(self, jacobian: Vector, rows: Vector) -> None:
        n = jacobian.shape[1]
        # In the basis of the eigenvectors every length below is a sum of squares.
        values, vectors = np.linalg.eigh(rows.T @ rows) if rows.size else (np.zeros(n), np.eye(n))
        self._values, self._vectors = np.maximum(values, 0.0), vectors
        self._jacobian, self._turned = jacobian, jacobian @ vectors

    def change(
        self,
        residual: Vector,
        radius: float,
        bounds: tuple[Vector, Vector] | None = None,
    ) -> Vector:
        """As `least_change` and `within_bounds`, in another length.

        That is (|s|²/radius² + |rows s|²)^½, which is at most 1.
        """
        if not radius > 0:
            return np.zeros(len(self._values))
        root = np.sqrt(1.0 / radius**2 + self._values)
        inside, damping = _damped(self._turned / root, residual, 1.0)
        out: Vector = self._vectors @ (inside / root)
        if bounds is None or (np.all(out >= bounds[0]) and np.all(out <= bounds[1])):
            return out
        length = root[:, None] * self._vectors.T
        return _bounded(self._jacobian, residual, length, damping, bounds)


def within_bounds(
    jacobian: Vector, residual: Vector, radius: float, low: Vector, high: Vector
) -> Vector:
    """As `least_change`, every component of s between `low` (n,) and `high` (n,).

    `low` must not be above 0 nor `high` below: s = 0 is within bounds. Where they count, s makes
    |r + J s|² + λ|s|² least within them, with the λ of the change without bounds, by SciPy's
    bounded least squares.
    """
    none = np.zeros((0, jacobian.shape[1]))
    return Held(jacobian, none).change(residual, radius, (low, high))


def _bounded(
    jacobian: Vector,
    residual: Vector,
    length: Vector,
    damping: float,
    bounds: tuple[Vector, Vector],
) -> Vector:
    """The s within bounds that makes |r + J s|² + λ|length s|² least, |length s| at most 1."""
    # What is fixed by its bounds has no part in it.
    free = bounds[1] > bounds[0]
    columns, length = jacobian[:, free], length[:, free]
    out = np.zeros(len(free))
    if not columns.any():
        return out
    least = NEGLIGIBLE * (np.linalg.norm(columns, 2) / np.linalg.norm(length, 2)) ** 2
    whole = np.concatenate([columns, np.sqrt(max(damping, float(least))) * length])
    target = np.concatenate([-residual, np.zeros(len(length))])
    within = (bounds[0][free], bounds[1][free])
    found = np.clip(lsq_linear(whole, target, within, method="bvls").x, *within)
    out[free] = found / max(1.0, float(np.linalg.norm(length @ found)))
    return out


def beside(
    jacobian: Vector,
    wanted: tuple[Vector, Vector],
    radius: float,
    rows: Vector,
    bounds: tuple[Vector, Vector],
) -> Vector:
    """The shortest change s that keeps |jacobian s| at 0 and changes something else by so much.

    `wanted` are the derivatives (k, n) of that and by how much it is to change (k,), `rows` as in
    `Held`. A parameter that would go beyond its bounds is left out. Returns s (n,); zeros where no
    change is left.
    """
    slopes, by = wanted
    out = np.zeros(jacobian.shape[1])
    free = bounds[1] > bounds[0]
    while free.any():
        _, s, vt = np.linalg.svd(jacobian[:, free])
        basis = vt[int(np.sum(s > NEGLIGIBLE * s.max(initial=0.0))) :].T
        held = Held(slopes[:, free] @ basis, rows[:, free] @ basis)
        change = basis @ held.change(-by, radius)
        beyond = (change < bounds[0][free]) | (change > bounds[1][free])
        if not beyond.any():
            out[free] = change
            break
        free[free] = ~beyond
    return out
