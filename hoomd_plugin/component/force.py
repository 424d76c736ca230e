"""Forces from functions written in JAX: a bias on an order parameter, or any other energy."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hoomd.md.force import Custom

__all__ = ["FromJAX"]


class FromJAX(Custom):
    r"""The force of an energy that is a differentiable JAX function of the positions.

    Forces, and the virial for the pressure, come from automatic differentiation in double
    precision. The function is compiled once; what changes between runs are its parameters.

    Args:
        energy (Callable): ``energy(positions, box)`` or ``energy(positions, box, parameters)``,
            a scalar :math:`[\mathrm{energy}]`. ``positions`` are (N, d), in the order of the tags
            and within the box; ``box`` is (d, d), its columns the box vectors; images are the
            function's to take. In two dimensions d is 2.
        parameters: any tree of arrays and numbers, handed to the function.

    Raises:
        RuntimeError: on several MPI ranks, where no rank has all positions; in a run, if energy or
            forces are not finite.

    .. code-block:: python

        def spring(positions, box, parameters):
            apart = positions[1] - positions[0]
            return 0.5 * parameters["k"] * (jnp.linalg.norm(apart) - 1.0) ** 2

        bias = hoomd.amorph.force.FromJAX(spring, parameters={"k": 10.0})
        simulation.operations.integrator.forces.append(bias)
    """

    def __init__(self, energy: Callable[..., Any], parameters: Any = None):
        super().__init__(aniso=False)
        self._function = energy
        self._parameters = parameters
        self._compiled = None

    @property
    def parameters(self):
        """What the function is handed besides positions and box; may be set between runs."""
        return self._parameters

    @parameters.setter
    def parameters(self, value):
        if (value is None) != (self._parameters is None):
            self._compiled = None  # the function's arguments are others
        self._parameters = value

    def _attach_hook(self):
        if self._simulation.device.communicator.num_ranks > 1:
            raise RuntimeError(
                "FromJAX needs all positions, but the system is spread over several MPI ranks: run "
                "it on one, or give each rank a communicator of its own."
            )
        super()._attach_hook()
        self._compile()

    def __getstate__(self):
        # Compiled functions cannot be copied; they are made again.
        return {**super().__getstate__(), "_compiled": None}

    def _compile(self):
        import jax
        from jax import numpy as jnp

        from amorph import bridge  # noqa: F401  (switches double precision on)

        takes_parameters = self._parameters is not None

        def strained(positions, strain, box, parameters):
            # The symmetric part alone: a rotation costs nothing.
            deform = jnp.eye(box.shape[0]) + 0.5 * (strain + strain.T)
            arguments = (positions @ deform.T, deform @ box)
            if takes_parameters:
                return self._function(*arguments, parameters)
            return self._function(*arguments)

        self._compiled = jax.jit(jax.value_and_grad(strained, argnums=(0, 1)))

    def evaluate(self, positions, box):
        """Energy, forces (N, d) and dU/dstrain (d, d) of positions, as in a run."""
        if self._compiled is None:
            self._compile()
        zero = np.zeros((box.shape[0], box.shape[0]))
        energy, (slope, strain) = self._compiled(positions, zero, box, self._parameters)
        return float(energy), -np.asarray(slope), np.asarray(strain)

    def set_forces(self, timestep):
        """HOOMD's call at every step."""
        state = self._simulation.state
        d = state.box.dimensions
        full = state.box.to_matrix() if hasattr(state.box, "to_matrix") else state.box.matrix
        box = np.array(full, float)[:d, :d]
        with state.cpu_local_snapshot as local:
            tags = np.array(local.particles.tag, copy=True)
            positions = np.empty((len(tags), d))
            positions[tags] = np.array(local.particles.position)[:, :d]
        energy, forces, strain = self.evaluate(positions, box)
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise RuntimeError(
                f"FromJAX: at step {timestep} the energy is {energy} and "
                f"{int((~np.isfinite(forces)).any(axis=1).sum())} forces are not finite: look at "
                "the function where its square roots and divisions vanish."
            )
        n = len(tags)
        with self.cpu_local_force_arrays as arrays:
            arrays.force[:, :d] = forces[tags]
            # One energy for all: shared out evenly, as are -dU/dstrain.
            arrays.potential_energy[:] = energy / n
            wide = np.zeros((3, 3))
            wide[:d, :d] = -strain / n
            arrays.virial[:] = wide[np.triu_indices(3)]
