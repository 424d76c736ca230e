"""Umbrella sampling of the hexatic order of discs, by a bias that is a JAX function.

The order parameter is the modulus of psi_6 over all pairs that are near, smoothed so that it has a
gradient. HOOMD-blue runs Langevin dynamics under k/2 (psi - c)^2 for a row of centres c; the
weighted histograms (WHAM: Ferrenberg and Swendsen, Phys. Rev. Lett. 63, 1195 (1989)) give the free
energy over psi, which an unbiased run checks where it has data.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import hoomd
import hoomd.amorph
import jax.numpy as jnp
import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

REACH, SOFTNESS = 1.35, 0.05  # a pair counts up to about here, and fades over so much


def psi_6(positions, box):
    """The modulus of the mean of exp(6 i angle) over near pairs, a scalar between 0 and 1."""
    apart = positions[:, None] - positions[None]
    apart = apart - jnp.diag(box) * jnp.round(apart / jnp.diag(box))
    i, j = jnp.triu_indices(len(positions), 1)
    x, y = apart[i, j, 0], apart[i, j, 1]
    squared = x**2 + y**2
    weight = 1 / (1 + jnp.exp((jnp.sqrt(squared) - REACH) / SOFTNESS))
    # (x + iy)^6 / r^6, without angles, whose derivatives fail on the axes.
    even = x**6 - 15 * x**4 * y**2 + 15 * x**2 * y**4 - y**6
    odd = 6 * x**5 * y - 20 * x**3 * y**3 + 6 * x * y**5
    whole = jnp.sum(weight)
    real = jnp.sum(weight * even / squared**3) / whole
    imaginary = jnp.sum(weight * odd / squared**3) / whole
    return jnp.sqrt(real**2 + imaginary**2 + 1e-12)


def bias(positions, box, parameters):
    """The umbrella."""
    return 0.5 * parameters["k"] * (psi_6(positions, box) - parameters["centre"]) ** 2


class Sampler:
    """A simulation whose order parameter is recorded, under umbrellas one after another."""

    def __init__(self, n: int, density: float, kT: float, seed: int):
        device = hoomd.device.CPU()
        spheres = hoomd.amorph.pair.SoftSphere(hoomd.md.nlist.Cell(buffer=0.3))
        spheres.params[("A", "A")] = dict(sigma=1.0, stiffness=100.0)
        start = hoomd.amorph.prepare.Ensemble(
            device, spheres, ["A"], n_particles=n, density=density, start="triangular", seed=seed
        )
        self.simulation = hoomd.Simulation(device=device, seed=seed)
        self.simulation.create_state_from_snapshot(start.snapshots()[0])
        self.umbrella = hoomd.amorph.force.FromJAX(bias, {"k": 0.0, "centre": 0.0})
        langevin = hoomd.md.methods.Langevin(hoomd.filter.All(), kT=kT, default_gamma=1.0)
        self.simulation.operations.integrator = hoomd.md.Integrator(
            dt=0.01, methods=[langevin], forces=[spheres, self.umbrella]
        )
        self.simulation.state.thermalize_particle_momenta(hoomd.filter.All(), kT=kT)
        self._measure = hoomd.amorph.force.FromJAX(psi_6)

    def run(self, k: float, centre: float, steps: int, every: int) -> np.ndarray:
        """Values of the order parameter, the first fifth left out."""
        self.umbrella.parameters = {"k": k, "centre": centre}
        values = []
        for _ in range(steps // every):
            self.simulation.run(every)
            snapshot = self.simulation.state.get_snapshot()
            sides = snapshot.configuration.box[:2]
            positions = np.array(snapshot.particles.position, float)[:, :2]
            values.append(self._measure.evaluate(positions, np.diag(sides).astype(float))[0])
        return np.array(values[len(values) // 5 :])


def wham(samples, centres, k, kT, edges):
    """Free energy over the bins, in units of kT, its least value 0; NaN where nothing was seen."""
    middles = 0.5 * (edges[1:] + edges[:-1])
    counts = np.array([np.histogram(s, edges)[0] for s in samples], float)
    boltzmann = np.exp(-0.5 * k * (middles - np.asarray(centres)[:, None]) ** 2 / kT)
    free = np.zeros(len(samples))
    for _ in range(20_000):
        density = counts.sum(0) / (counts.sum(1) * np.exp(free) @ boltzmann)
        new = -np.log(boltzmann @ density)
        new -= new[0]
        if np.abs(new - free).max() < 1e-9:
            break
        free = new
    with np.errstate(divide="ignore"):
        profile = -np.log(density / np.diff(edges))
    profile[~np.isfinite(profile)] = np.nan
    return profile - np.nanmin(profile)


def main() -> None:
    """Sample under each umbrella and without, and draw the free energy."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--n", type=int, default=30, help="discs (%(default)s)")
    options.add_argument("--density", type=float, default=0.95, help="(%(default)s)")
    options.add_argument("--steps", type=int, default=40_000, help="a window (%(default)s)")
    options.add_argument("--windows", type=int, default=11, help="(%(default)s)")
    options.add_argument("--output", type=Path, default=Path("umbrella.png"))
    chosen = options.parse_args()

    kT, k, every = 0.5, 120.0, 20
    centres = np.linspace(0.05, 0.75, chosen.windows)
    sampler = Sampler(chosen.n, chosen.density, kT, seed=1)
    samples = []
    for centre in centres[::-1]:  # from order, where it starts, to disorder
        samples.insert(0, sampler.run(k, float(centre), chosen.steps, every))
        print(f"window {centre:.2f}: psi_6 = {samples[0].mean():.3f} ± {samples[0].std():.3f}")
    free = sampler.run(0.0, 0.0, 4 * chosen.steps, every)

    edges = np.linspace(0.0, 0.9, 46)
    middles = 0.5 * (edges[1:] + edges[:-1])
    profile = wham(samples, centres, k, kT, edges)
    overlap = [
        np.minimum(*(np.histogram(s, edges)[0] / len(s) for s in pair)).sum()
        for pair in pairwise(samples)
    ]
    counts = np.histogram(free, edges)[0]
    seen = counts > 0.005 * len(free)
    direct = np.full(len(middles), np.nan)
    direct[seen] = -np.log(counts[seen])
    shift = np.nanmean((direct - profile)[seen])
    difference = np.nanmax(np.abs(direct - shift - profile)[seen])
    print(
        f"neighbouring windows share at least {min(overlap):.0%}; the unbiased histogram differs "
        f"by {difference:.2f} kT at most, over {seen.sum()} bins"
    )

    figure, axes = plt.subplots(2, 1, figsize=(6, 6), sharex=True, constrained_layout=True)
    for values in samples:
        axes[0].hist(values, edges, histtype="step", density=True)
    axes[0].set_ylabel("probability density\nunder each umbrella")
    axes[1].plot(middles, profile, "-", color="black", label="umbrella sampling")
    axes[1].plot(middles, direct - shift, "o", color="tab:red", label="unbiased run")
    axes[1].set_xlabel(r"order parameter $|\\psi_6|$".replace("\\\\", "\\"))
    axes[1].set_ylabel("free energy / kT")
    axes[1].legend(frameon=False)
    figure.savefig(chosen.output, dpi=150)


if __name__ == "__main__":
    main()
