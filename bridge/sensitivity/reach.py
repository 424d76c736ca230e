"""How far linear response carries along a direction of parameters, and what ends it.

Three lengths, in the direction's own units (Zu, Desai and Goodrich, "Fully independent response in
disordered solids", Fig. 3): γ̃, at which the second-order term is a tenth of the first; γ_r, the
first rearrangement; γ*, at which the change of the features is off the linear one by a tenth.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import AmorphError, InputError
from amorph.handover.arguments import check_kind, count, positive, real_numbers
from amorph.handover.showing import shown

from ..errors import FeatureError
from ..features.registry import Feature, features_of
from ..matter.arguments import check
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..minima.following import follow
from .jacobian import jacobian, second_order
from .measuring import measure, row_values

__all__ = ["Reach", "linear_reach"]

Array = NDArray[np.float64]

# By which part the features may be off the linear change.
OFF = 0.1
# Of γ*, halvings of the step in which it lies (on a logarithmic scale).
HALVINGS = 6


@dataclass(frozen=True, eq=False)
class Reach:
    """The change of features along a direction γ, and where linear response ends.

    Changes are of all components together, in their units: |Δy| is the length of a vector.

    Attributes
    ----------
    gamma:
        (K,) how far the parameters were changed, ascending.
    measured:
        (K, n_rows) by how much the features changed.
    slope:
        (n_rows,) of the linear change.
    curvature:
        (n_rows,) of the next term, γ²/2 of it; None for features of vibrational modes, of which it
        is not available.
    predicted_end:
        γ̃ = 2 OFF |slope| / |curvature|; None without the curvature.
    rearranged:
        γ_r, between which two of `gamma` the packing first rearranged; None where it did not.
    crossed:
        The same of the first pair that crossed a distance where u'' jumps.
    ended:
        γ*, between which two the features first were off by more than a tenth; None where they
        were not.
    stopped:
        Why it ended before the largest γ asked for, or empty.
    """

    gamma: Array
    measured: Array
    slope: Array
    curvature: Array | None
    rearranged: tuple[float, float] | None
    crossed: tuple[float, float] | None
    ended: tuple[float, float] | None
    stopped: str = ""

    @property
    def predicted_end(self) -> float | None:
        """γ̃, from the packing as it is alone."""
        if self.curvature is None:
            return None
        bend = float(np.linalg.norm(self.curvature))
        return 2.0 * OFF * float(np.linalg.norm(self.slope)) / bend if bend > 0 else np.inf

    @property
    def end(self) -> float | None:
        """γ*, the middle of `ended`."""
        return None if self.ended is None else float(np.sqrt(self.ended[0] * self.ended[1]))

    @property
    def tunability(self) -> float | None:
        """ζ = γ* |slope|, how far the features can be tuned linearly."""
        return None if self.end is None else self.end * float(np.linalg.norm(self.slope))

    def __repr__(self) -> str:
        def told(value: float | tuple[float, float] | None) -> str:
            if value is None:
                return "–"
            if isinstance(value, tuple):
                return f"{value[0]:.3g} to {value[1]:.3g}"
            return f"{value:.3g}"

        return shown(
            f"Reach of linear response along a direction, γ up to {self.gamma[-1]:.3g}",
            [
                ("|slope|", f"{np.linalg.norm(self.slope):.4g}"),
                ("γ̃, by the second order", told(self.predicted_end)),
                ("γ_r, first rearrangement", told(self.rearranged)),
                ("first pair crossing", told(self.crossed)),
                ("γ*, off by a tenth", told(self.ended)),
            ],
        )


def linear_reach(
    theta: Theta,
    packing: Packing,
    features: "str | Feature | Sequence[str | Feature]",
    direction: Mapping[str, ArrayLike],
    *,
    largest: float = 1e-1,
    smallest: float = 1e-7,
    per_decade: int = 4,
    units: ArrayLike | None = None,
    descend: "Callable[[Theta, Packing], Packing] | None" = None,
) -> Reach:
    """Follow a packing along a direction of its parameters until linear response has ended.

    Parameters
    ----------
    theta, packing:
        A packing as `relax` returns it, and its interactions.
    features:
        Names or features; all their components together are Δy.
    direction:
        By parameter of types or springs, how much it changes with γ: ``{"diameters": [1.0, 0.0]}``.
    largest, smallest, per_decade:
        The γ that are tried: so many a decade, from the smallest on, until the features are off
        and the packing has rearranged, or the largest.
    units:
        (n_rows,) what the components are counted in; by default reduced units.
    descend:
        As in `follow`.

    Returns where linear response ends: see `Reach`.

    Raises `InputError` for a direction that is none of types or springs, else as `jacobian` and
    `follow` do; where the packing cannot be followed on, `Reach.stopped` says why.

    Example
    -------
    >>> linear_reach(theta, packing, "elastic_constants", {"diameters": [1.0, 0.0]}).ended
    """
    check(theta=theta, packing=packing)
    top, bottom = positive("largest", largest), positive("smallest", smallest)
    if bottom >= top:
        raise InputError(f"smallest = {bottom:g}: it must be below largest = {top:g}.")
    count("per_decade", per_decade, least=1)
    change = _change_of(theta, direction)
    wanted = list(features_of("features", features))
    first = jacobian(theta, packing, wanted, list(change))
    unit = np.ones(len(first.rows)) if units is None else real_numbers("units", units)
    if unit.shape != (len(first.rows),) or not np.all(unit > 0):
        raise InputError(
            f"units: give a positive one for each of the {len(first.rows)} components."
        )
    slope = first.matrix @ np.concatenate(list(change.values())) / unit
    try:
        bent = second_order(theta, packing, wanted, change)
        curvature: Array | None = row_values(bent.curvatures, first.features) / unit
    except FeatureError:
        curvature = None
    start = row_values(first.values, first.features)

    def there(gamma: float) -> Theta:
        values = theta.arrays()
        return theta.replace(**{k: values[k] + gamma * v for k, v in change.items()})

    def at(gamma: float, now: Packing) -> Array:
        found = measure(there(gamma), now, wanted).values
        return (row_values(found, first.features) - start) / unit

    def off(gamma: float, measured: Array) -> bool:
        linear = gamma * slope
        return bool(np.linalg.norm(measured - linear) > OFF * np.linalg.norm(linear))

    decades = np.log10(top / bottom)
    trial = bottom * 10.0 ** (np.arange(int(np.ceil(decades * per_decade)) + 1) / per_decade)
    trial = np.minimum(trial, top)
    gammas: list[float] = []
    changes: list[Array] = []
    here, done = packing, 0.0
    rearranged = crossed = ended = None
    stopped = ""
    for gamma in trial.tolist():
        try:
            found = follow(there(done), here, there(gamma), descend=descend)
            measured = at(gamma, found.packing)
        except AmorphError as error:
            stopped = f"{type(error).__name__}: {error}"
            break
        gammas.append(gamma)
        changes.append(measured)
        if found.rearranged and rearranged is None:
            rearranged = (done + found.lost_at * (gamma - done), gamma)
        if found.crossings and crossed is None:
            crossed = (done, gamma)
        if ended is None and off(gamma, measured):
            ended = _narrowed(done, here, gamma, there, at, off, bottom, descend)
        here, done = found.packing, gamma
        if ended is not None and (rearranged is not None or gamma > 10 * ended[1]):
            break
    return Reach(
        np.array(gammas),
        np.array(changes).reshape(len(gammas), len(slope)),
        slope,
        curvature,
        rearranged,
        crossed,
        ended,
        stopped,
    )


def _narrowed(
    low: float,
    packing: Packing,
    high: float,
    there: Callable[[float], Theta],
    at: Callable[[float, Packing], Array],
    off: Callable[[float, Array], bool],
    smallest: float,
    descend: Callable[[Theta, Packing], Packing] | None,
) -> tuple[float, float]:
    """Where between two γ the features first are off, each half tried from the lower end."""
    for _ in range(HALVINGS):
        middle = float(np.sqrt(low * high)) if low > 0 else float(np.sqrt(0.01 * smallest * high))
        try:
            found = follow(there(low), packing, there(middle), descend=descend)
            beyond = off(middle, at(middle, found.packing))
        except AmorphError:
            beyond = True
        if beyond:
            high = middle
        else:
            low, packing = middle, found.packing
    return low, high


def _change_of(theta: Theta, direction: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """The direction by parameter; raises `InputError` for what `theta.replace` does not know."""
    check_kind("direction", direction, Mapping, "changes by parameter, {'diameters': [1.0, 0.0]}")
    known, out = theta.arrays(), {}
    for name, values in direction.items():
        if name not in known:
            raise InputError(
                f"direction: {name!r} is none of the parameters of types or springs, "
                f"{', '.join(known)}: a packing can be followed along these alone."
            )
        change = real_numbers(f"direction[{name!r}]", values)
        if change.shape != np.shape(known[name]):
            raise InputError(
                f"direction[{name!r}] has shape {change.shape}: {name} has {np.shape(known[name])}."
            )
        out[name] = change
    if not any(v.any() for v in out.values()):
        raise InputError("direction: is nothing but zeros.")
    return out
