"""Paths of steepest descent of packings of any size, one at a time.

dR/dt = F is stiff, and kinked where contacts open and close: implicit steps, which take the Hessian
where they begin for that on all of their way, bounce between two sides of a contact. Stabilised
explicit ones see every contact: Runge, Kutta and Chebyshev's (RKC) of s stages are stable for 0.65
s² over the largest eigenvalue. The minimum is gone to, and proven, by `relax` as soon as that does
not move the particles far.

Source: Sommeijer, Shampine and Verwer, J. Comput. Appl. Math. 88, 315 (1998).
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..errors import NotAMinimumError
from ..matter.mechanics import State, driving_forces_of, energy_of, interactions, state_of
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..minima.relaxing import relaxation
from ..minima.responses import largest

__all__ = ["flow"]

Vectors = NDArray[np.float64]

# Of a step, in smallest diameters: the largest error, and the farthest that a particle goes.
MOST_ERROR, MOST_MOVE = 0.002, 0.05
# `relax` is tried where the forces have fallen below this part of the largest on the way, and again
# each time they have fallen as much; it must not go farther than so many smallest diameters.
FALLEN, FAR = 0.1, 0.05
MOST_STAGES = 200
SHRINK, GROW, SAFETY = 0.1, 5.0, 0.8
# Of the stability polynomial (eq. 2.6), and how far it is stable beside s².
DAMPING = 2.0 / 13.0
STABLE = 0.65
ROUND = 16  # steps between two looks at the list of pairs
SKIN = 0.4  # of the largest diameter


def _stiffest(theta: Any, state: State) -> Array:
    """Gershgorin's bound of the largest eigenvalue: twice the largest sum of a particle's pairs."""
    total = jnp.zeros(state.positions.shape[0])
    for part in interactions(theta, state):
        slope, curvature = part.slope_and_curvature
        size = jnp.maximum(jnp.abs(curvature), jnp.abs(slope) / part.distance)
        total = total.at[part.i].add(size).at[part.j].add(size)
    return 2.0 * jnp.max(total)


def _step(theta: Any, state: State, x: Array, forces: Array, time: Array, stages: Array) -> Array:
    """A step of RKC of so many stages (their eqs. 2.2 to 2.8)."""
    s = stages.astype(x.dtype)
    w0 = 1.0 + DAMPING / s**2
    angle = jnp.arccosh(w0)
    whole, slope = jnp.cosh(s * angle), s * jnp.sinh(s * angle) / jnp.sinh(angle)
    w1 = slope / ((s**2 * whole - w0 * slope) / (w0**2 - 1.0))

    def chebyshev(j: Any) -> tuple[Array, Array]:
        """T_j(w0), and b_j."""
        j = jnp.maximum(j, 2.0)
        value, slope = jnp.cosh(j * angle), j * jnp.sinh(j * angle) / jnp.sinh(angle)
        return value, (j**2 * value - w0 * slope) / (w0**2 - 1.0) / slope**2

    def stage(j: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        before, last = carry
        k = j.astype(x.dtype)
        b = chebyshev(k)[1]
        # b_0 = b_1 = b_2, and T_1 = w0.
        value, b_last = chebyshev(k - 1.0)
        a_last = 1.0 - b_last * jnp.where(k > 2.5, value, w0)
        b_before = chebyshev(k - 2.0)[1]
        mu, nu = 2.0 * b * w0 / b_last, -b / b_before
        push = 2.0 * b * w1 / b_last
        there = driving_forces_of(theta, replace(state, positions=last))
        found = (1.0 - mu - nu) * x + mu * last + nu * before
        return last, found + push * time * (there - a_last * forces)

    first = x + chebyshev(2.0)[1] * w1 * time * forces
    return jax.lax.fori_loop(2, stages + 1, stage, (x, first))[1]


@jax.jit
def _advance(theta: Any, state: State, carry: dict[str, Array]) -> dict[str, Array]:
    """Steps until the round is over, or a particle has left the list of pairs."""
    most_error, most_move, leave = carry["error"], carry["move"], carry["leave"]

    def longest(vectors: Array) -> Array:
        return jnp.sqrt(jnp.max(jnp.sum(vectors**2, axis=1)))

    def going(c: dict[str, Array]) -> Array:
        near = longest(c["x"] - state.positions) < leave
        return (c["tried"] < ROUND) & near

    def step(c: dict[str, Array]) -> dict[str, Array]:
        x, forces = c["x"], c["forces"]
        stiffest = _stiffest(theta, replace(state, positions=x))
        most = STABLE * (MOST_STAGES**2 - 1.0) / stiffest
        time = jnp.minimum(c["time"], most)
        # Twice as stiff on the way as it is here.
        stages = 1.0 + jnp.sqrt(1.0 + 2.0 * time * stiffest / STABLE)
        stages = jnp.clip(jnp.ceil(stages).astype(int), 2, 2 * MOST_STAGES)
        y = _step(theta, state, x, forces, time, stages)
        there = replace(state, positions=y)
        own = driving_forces_of(theta, there)
        energy = energy_of(theta, there)
        wrong = 0.8 * (x - y) + 0.4 * time * (forces + own)
        error = jnp.maximum(longest(wrong) / most_error, (longest(y - x) / most_move) ** 3)
        error = jnp.where((energy <= c["energy"]) & jnp.isfinite(error), error, 1e3)
        good = error <= 1.0
        change = jnp.clip(SAFETY / jnp.maximum(error, 1e-12) ** (1.0 / 3.0), SHRINK, GROW)
        k = c["taken"]
        return c | {
            "x": jnp.where(good, y, x),
            "forces": jnp.where(good, own, forces),
            "energy": jnp.where(good, energy, c["energy"]),
            "time": time * change,
            "path": c["path"].at[k].set(jnp.where(good, y, c["path"][k])),
            "energies": c["energies"].at[k].set(jnp.where(good, energy, c["energies"][k])),
            "taken": k + jnp.where(good, 1, 0),
            "tried": c["tried"] + 1,
            "evaluations": c["evaluations"] + stages,
        }

    return jax.lax.while_loop(going, step, carry)


_look = jax.jit(lambda theta, state: (energy_of(theta, state), driving_forces_of(theta, state)))


def flow(
    theta: Theta, packing: Packing, tolerance: float, most_steps: int
) -> tuple[Packing, Vectors, Vectors, int]:
    """The minimum below a packing's particles, the path there, and how many gradients it took.

    The path is points (n, N, d) and energies (n,).

    Raises `NotAMinimumError` where the path does not lead to one.
    """
    size, largest_size = theta.size_range()
    skin = SKIN * largest_size
    state = state_of(theta, packing, skin=skin)
    x = np.asarray(packing.positions)
    energy, forces = _look(theta, state)
    path, energies = [x[None]], [np.array([float(energy)])]
    time = 1.0 / theta.max_stiffness()
    leave = 0.5 * skin - MOST_MOVE * size
    highest = threshold = 0.0
    evaluations = 1
    for _ in range(max(most_steps // ROUND, 1)):
        force = largest(forces)
        if force > highest:
            highest, threshold = force, FALLEN * force
        if force <= threshold:
            threshold = FALLEN * force
            found = relaxation(theta, packing.with_positions(x), tolerance=tolerance)
            if found.moved <= FAR * size:
                return found.packing, np.concatenate(path), np.concatenate(energies), evaluations
        if largest(x - state.positions) >= leave:
            state = state_of(theta, packing.with_positions(x), skin=skin)
        carry = {
            "x": x, "forces": forces, "energy": energy, "time": np.float64(time),
            "path": np.zeros((ROUND, *x.shape)), "energies": np.zeros(ROUND),
            "taken": 0, "tried": 0, "evaluations": 0,
            "error": MOST_ERROR * size, "move": MOST_MOVE * size, "leave": leave,
        }  # fmt: skip
        there = _advance(theta, state, jax.tree_util.tree_map(jnp.asarray, carry))
        taken = int(there["taken"])
        evaluations += int(there["evaluations"])
        path.append(np.asarray(there["path"])[:taken])
        energies.append(np.asarray(there["energies"])[:taken])
        x, energy, forces = np.asarray(there["x"]), there["energy"], there["forces"]
        time = float(there["time"])
    raise NotAMinimumError(
        f"steepest descent from the saddle did not end in {most_steps} steps: parts of the packing "
        "come apart, or the landscape is flat there."
    )
