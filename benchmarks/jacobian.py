"""How long does the Jacobian of a packing's mechanics take? Amorph, and a straightforward one.

Fully independent response (Zu, Desai and Goodrich): soft spheres in three dimensions at a pressure
of about 0.1, two sizes 1 : 1.4 divided at random into 32 species, whose diameters are the
parameters; 37 features, namely the 21 elastic constants, the 6 components of the stress and the 10
lowest frequencies. The straightforward way is one `jax.jacrev` over the features as functions of
the diameters: the minimum by the implicit function theorem, H and Ξ by `jax.hessian` of the
energy, W by `jax.numpy.linalg.solve`, the frequencies by `jax.numpy.linalg.eigh`, all dense and
compiled. Both start from the packing at rest; compilation is not in the times.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from common import OURS, Contender, Report, Sample, parser, race

from amorph import bridge, ensemble

SPECIES, MODES, PRESSURE = 32, 10, 0.1
PEER = "jax.jacrev"


def packing_of(n: int, seed: int) -> tuple[bridge.PairPotential, bridge.Packing, Any]:
    """A packing at rest with a type for each species, its potential, and the number of tries."""
    rng = np.random.default_rng(seed)
    species = np.tile(np.arange(SPECIES), -(-n // SPECIES))[:n]
    large = np.arange(SPECIES) >= SPECIES // 2
    rng.shuffle(species)
    theta = bridge.SoftSphere(diameters=np.where(large, 1.4, 1.0), stiffness=1.0)
    volume = np.pi / 6 * np.mean(theta.arrays()["diameters"][species] ** 3)
    # Compressed until the pressure is near the wanted one.
    fraction = 0.8
    for _ in range(20):
        length = (n * volume / fraction) ** (1 / 3)
        box = length * np.eye(3)
        start = ensemble.random_positions(n, box, 1, seed=seed)
        batch = ensemble.minimize(theta, start, species.astype(np.int32), box, tolerance=1e-10)
        packing = bridge.relax(theta, bridge.Packing(batch.positions[0], species, box))
        pressure = float(bridge.pressure(theta, packing))
        if abs(pressure / PRESSURE - 1) < 0.1:
            break
        fraction *= 1 + 0.3 * (1 - pressure / PRESSURE) * 0.5
    return theta, packing, pressure


def ours(theta: bridge.PairPotential, packing: bridge.Packing) -> Any:
    features = ["elastic_constants", "stress_components", f"frequencies_{MODES}"]

    def run(i: int) -> Any:
        fresh = packing.with_positions(packing.positions)  # nothing is known of this one yet
        began = time.perf_counter()
        found = bridge.jacobian(theta, fresh, features, "diameters")
        return time.perf_counter() - began, found.matrix

    return run


def straightforward(theta: bridge.PairPotential, packing: bridge.Packing) -> Any:
    import jax
    import jax.numpy as jnp

    n, d = packing.positions.shape
    first, second = np.triu_indices(n, 1)
    # Only pairs that can touch: all of them would take n² / z times as long.
    vector = packing.positions[second] - packing.positions[first]
    shift = -np.round(vector @ np.linalg.inv(packing.box).T) @ packing.box.T
    near = np.sqrt(((vector + shift) ** 2).sum(axis=1)) < 1.6
    first, second, shift = first[near], second[near], shift[near]
    volume = packing.volume
    types = packing.typeid
    axes = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    basis = np.zeros((6, 3, 3))
    for k, (a, b) in enumerate(axes):
        basis[k, a, b] += 0.5
        basis[k, b, a] += 0.5

    def energy(x: Any, strain: Any, diameters: Any) -> Any:
        gradient = jnp.eye(3) + jnp.tensordot(strain, basis, 1)
        r = (x[second] - x[first] + shift) @ gradient.T
        distance = jnp.sqrt(jnp.sum(r**2, axis=1))
        own = diameters[types]
        overlap = 1 - distance / (0.5 * (own[first] + own[second]))
        return jnp.sum(jnp.where(overlap > 0, 0.5 * overlap**2, 0.0))

    zero = jnp.zeros(6)
    # The lowest modes by translation are left out with a projection.
    rigid = np.tile(np.eye(3), (n, 1)) / np.sqrt(n)

    def held(h: Any) -> Any:
        return h + rigid @ rigid.T

    @jax.custom_vjp
    def minimum(diameters: Any) -> Any:
        return jnp.asarray(packing.positions)

    def forward(diameters: Any) -> Any:
        x = minimum(diameters)
        return x, (x, diameters)

    def backward(kept: Any, bar: Any) -> Any:
        x, diameters = kept
        h = jax.hessian(energy)(x, zero, diameters).reshape(n * d, n * d)
        adjoint = jnp.linalg.solve(held(h), bar.reshape(-1)).reshape(n, d)
        _, pull = jax.vjp(lambda t: jax.grad(energy)(x, zero, t), diameters)
        return (-pull(adjoint)[0],)

    minimum.defvjp(forward, backward)

    def features(diameters: Any) -> Any:
        x = minimum(diameters)
        h = jax.hessian(energy)(x, zero, diameters).reshape(n * d, n * d)
        xi = jax.jacfwd(jax.grad(energy), argnums=1)(x, zero, diameters).reshape(n * d, 6)
        born = jax.hessian(energy, argnums=1)(x, zero, diameters)
        tensor = (born - xi.T @ jnp.linalg.solve(held(h), xi)) / volume
        stress = jax.grad(energy, argnums=1)(x, zero, diameters) / volume
        frequencies = jnp.sqrt(jnp.linalg.eigvalsh(held(h))[:MODES])
        return jnp.concatenate([tensor[np.triu_indices(6)], stress, frequencies])

    jacobian = jax.jit(jax.jacrev(features))
    diameters = jnp.asarray(theta.arrays()["diameters"])
    jax.block_until_ready(jacobian(diameters))

    def run(i: int) -> Any:
        began = time.perf_counter()
        found = np.asarray(jacobian(diameters))
        return time.perf_counter() - began, found

    return run


def main() -> None:
    """Compare, print, write."""
    options = parser(__doc__.splitlines()[0], n=256, repetitions=5)
    chosen = options.parse_args()
    n = 64 if chosen.quick else chosen.n
    theta, packing, pressure = packing_of(n, chosen.seed)
    rattlers = int(bridge.response(theta, packing).rattlers.sum())
    report = Report(
        "Jacobian of 37 features by 32 diameters",
        {"N": n, "dimension": 3, "pressure": pressure, "rattlers": rattlers},
    )
    runs = {OURS: ours(theta, packing), PEER: straightforward(theta, packing)}
    matrices: dict[str, Any] = {}
    began = time.perf_counter()
    runs[OURS](0)
    report.findings["Amorph, first time, with compilation, s"] = time.perf_counter() - began

    def contender(who: str) -> Contender:
        def run(i: int) -> Sample:
            seconds, matrices[who] = runs[who](i)
            return Sample(seconds, 1.0)

        return Contender(who, run)

    samples = race([contender(who) for who in runs], 2 if chosen.quick else chosen.repetitions)
    report.add("37 features, 32 diameters", samples)
    a, b = matrices[OURS], matrices[PEER]
    scale = np.abs(a).max(axis=1)
    report.findings["largest difference between the two, relative by row"] = float(
        (np.abs(a - b).max(axis=1) / scale).max()
    )
    report.findings["rank"] = int(np.linalg.matrix_rank(a, tol=1e-10 * np.abs(a).max()))
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
