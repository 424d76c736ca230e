"""One design of barriers or rates: Gauss-Newton steps that stationary points follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from amorph import bridge
from amorph.bridge import landscapes
from amorph.bridge.landscapes.rates import Points
from amorph.handover import AmorphError

from ..trust_region import within_bounds

__all__ = ["Designed", "design", "found_anew", "rank", "transitions_along"]

# Of the trust region, in units of the mean binding.
FIRST, LARGEST, SMALLEST = 0.3, 1.0, 1e-4
GOOD, POOR = 0.5, 0.25
# Modes of the loss below this part of the largest eigenvalue are zero.
ZERO = 1e-8
# A step that is to bring less than this part of what is left is none.
LEAST_GAIN = 1e-4
# Images of the bands by which transitions are found.
IMAGES = 10

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Designed:
    """Where a design ended.

    Attributes
    ----------
    theta:
        With the bindings found.
    status:
        ``reached``; ``no gain``: no change of the bindings brings the values nearer; ``lost``: a
        stationary point ceases to be one on all ways on; ``stopped``: by the number of steps.
    values:
        (T, 2), there and back.
    loss:
        The sum of squares of what is left, after each step that was taken, (n_steps + 1,): of
        energies, or of logarithms of rates.
    evaluations:
        How often values and derivatives were computed.
    history:
        The interactions after each step that was taken.
    """

    theta: bridge.PairPotential
    status: str
    values: Vector
    loss: Vector
    evaluations: int
    history: tuple[bridge.PairPotential, ...]


def transitions_along(
    theta: bridge.PairPotential, breakings: Sequence[landscapes.Breaking]
) -> landscapes.Transitions:
    """The transitions of a potential that begin along the ways of sticky spheres.

    One that is none for this potential has its error in its place.
    """
    size = theta.size_range()[0]
    types = np.arange(breakings[0].end.n_particles)
    ends: list[tuple[bridge.Packing, bridge.Packing]] = []
    paths = []
    for breaking in breakings:
        way = size * breaking.path
        first, last = (bridge.relax(theta, bridge.Packing.of(x, types)) for x in (way[0], way[-1]))
        ends.append((first, last))
        paths.append(_resampled(way, IMAGES))
    return landscapes.find_transitions(theta, ends, paths=paths, n_images=IMAGES)


def _resampled(path: Vector, number: int) -> Vector:
    """Points of a path at equal distances, its ends left out."""
    steps = np.sqrt(np.sum(np.diff(path, axis=0) ** 2, axis=(1, 2)))
    at = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0.0, at[-1], number + 2)[1:-1]
    flat = path.reshape(len(path), -1)
    columns = [np.interp(wanted, at, column) for column in flat.T]
    return np.stack(columns, axis=1).reshape(number, *path.shape[1:])


@dataclass(frozen=True)
class Quantity:
    """What is designed: energy barriers, or logarithms of rates."""

    name: str
    temperature: float
    friction: float

    def of(self, theta: Any, points: Points) -> jax.Array:
        """Values (T, 2), traced."""
        if self.name == "barrier":
            return landscapes.barriers(theta, points)
        return landscapes.log_rates(theta, points, self.temperature, self.friction)

    def shown(self, values: Vector) -> Vector:
        """Barriers, or rates."""
        return values if self.name == "barrier" else np.exp(values)

    def wanted(self, targets: Vector) -> Vector:
        """Targets as `of` has values."""
        return targets if self.name == "barrier" else np.log(targets)


@partial(jax.jit, static_argnums=0)
def _measured(quantity: Quantity, theta: Any, points: Points, binding: Any) -> Any:
    """Values (T, 2), their derivatives by bindings (T, 2, n), and where the points are."""

    def values(binding: Any) -> Any:
        own = theta.replace(binding=binding)
        return quantity.of(own, points), landscapes.placed(own, points)

    def both(binding: Any) -> Any:
        found, places = values(binding)
        return found, (found, places)

    slopes, (found, places) = jax.jacfwd(both, has_aux=True)(binding)
    return found, slopes, places


@partial(jax.jit, static_argnums=0)
def _curvature(quantity: Quantity, theta: Any, points: Points, free: Any) -> Any:
    """The Hessian of the loss whose targets are the values there are, by the free bindings."""
    now = jax.lax.stop_gradient(quantity.of(theta, points))

    def loss(some: Any) -> Any:
        binding = theta.binding.at[free].set(some)
        return jnp.sum((quantity.of(theta.replace(binding=binding), points) - now) ** 2)

    return jax.hessian(loss)(theta.binding[free])


def rank(
    quantity: Quantity, theta: bridge.PairPotential, points: Points, free: NDArray[np.int64]
) -> int:
    """How many modes of the loss at its zero are not zero: so many values can be had together.

    Source: Goodrich et al., PNAS 118, e2024083118 (2021), "Simultaneous Training".
    """
    values = np.linalg.eigvalsh(np.asarray(_curvature(quantity, theta, points, free)))
    return int(np.sum(values > ZERO * values[-1]))


def design(
    quantity: Quantity,
    theta: bridge.PairPotential,
    transitions: Sequence[landscapes.Transition],
    targets: Vector,
    free: NDArray[np.int64],
    *,
    tolerance: float,
    most: int,
    least: float,
) -> Designed:
    """Change the free bindings until barriers or rates are what is wanted.

    Parameters
    ----------
    targets:
        (T, 2), there and back.
    free:
        Numbers of the bindings that are free, over pairs of types.
    tolerance:
        The largest relative error at which they are reached.
    most:
        Steps.
    least:
        The lowest binding, as a part of their mean at the beginning.
    """
    points = landscapes.points_of(theta, transitions)
    wanted = quantity.wanted(targets)
    scale = float(np.mean(np.asarray(theta.binding)[free]))
    binding = np.array(theta.binding)
    low, high = least * scale, 100.0 * scale

    def measured(binding: Vector, points: Points) -> Any:
        found, slopes, places = _measured(quantity, theta, points, binding)
        return np.asarray(found), np.asarray(slopes), np.asarray(places)

    values, slopes, places = measured(binding, points)
    evaluations, radius, status = 1, FIRST, "stopped"
    losses = [float(np.sum((values - wanted) ** 2))]
    history = [theta]
    lost = False
    for _ in range(most):
        if np.max(np.abs(quantity.shown(values) / targets - 1.0)) <= tolerance:
            status = "reached"
            break
        residual = (values - wanted).ravel()
        jacobian = scale * slopes[..., free].reshape(len(residual), -1)
        room = ((low - binding[free]) / scale, (high - binding[free]) / scale)
        change = within_bounds(jacobian, residual, radius, *room)
        length = float(np.linalg.norm(residual))
        predicted = length - float(np.linalg.norm(residual + jacobian @ change))
        if predicted <= LEAST_GAIN * length or radius < SMALLEST:
            status = "lost" if lost else "no gain"
            break
        tried = binding.copy()
        tried[free] += scale * change
        found = measured(tried, points.moved_to(places))
        evaluations += 1
        lost = not np.isfinite(found[0]).all()
        actual = -np.inf if lost else length - float(np.linalg.norm(found[0] - wanted))
        far = float(np.linalg.norm(change))
        if not actual > 0:
            radius = far / 3.0
            continue
        if actual < POOR * predicted:
            radius = 0.5 * far
        elif actual > GOOD * predicted and far > 0.9 * radius:
            radius = min(2.0 * radius, LARGEST)
        binding, (values, slopes, places) = tried, found
        losses.append(float(np.sum((values - wanted) ** 2)))
        history.append(theta.replace(binding=binding))
    return Designed(
        history[-1],
        status,
        quantity.shown(values),
        np.array(losses),
        evaluations,
        tuple(history),
    )


def found_anew(
    quantity: Quantity,
    theta: bridge.PairPotential,
    breakings: Sequence[landscapes.Breaking],
) -> tuple[list[Any], Vector | None]:
    """The transitions looked for from the beginning, and their values (T, 2); None where one fails.

    Nothing that was followed is in them: they prove what a design says.
    """
    found = transitions_along(theta, breakings)
    ways = []
    for k in range(len(breakings)):
        try:
            chain = found[k]
        except AmorphError:
            return [], None
        if len(chain) != 1:
            return [], None
        ways.append(chain[0])
    values = quantity.of(theta, landscapes.points_of(theta, ways))
    return ways, quantity.shown(np.asarray(values))
