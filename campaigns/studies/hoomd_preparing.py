"""Packings prepared by HOOMD-blue itself, with the component's potentials: another engine.

Starts are those of our own engine, replica by replica; FIRE, Langevin and Brownian dynamics are
HOOMD-blue's, one packing at a time on a core.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from amorph import bridge, ensemble
from amorph.handover import InputError, box_to_hoomd, type_names

from ..errors import RecordError
from ..inputs.tables import Preparation

__all__ = ["check_hoomd", "prepared_by_hoomd"]

# Steps between two looks at whether FIRE has converged.
_AT_A_TIME = 100


def check_hoomd(stages: list[ensemble.Stage]) -> None:
    """Raise `InputError` where HOOMD-blue or the component is missing, or cannot do a stage."""
    try:
        import hoomd.amorph  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"engine = 'hoomd': HOOMD-blue with Amorph's component cannot be imported ({error}). "
            "`amorph doctor` tells how to get it."
        ) from error
    for stage in stages:
        fixed = isinstance(stage, ensemble.Minimize) and stage.pressure is None
        if not (fixed or isinstance(stage, ensemble.Langevin | ensemble.Brownian)):
            raise InputError(
                f"engine = 'hoomd' has no stage like {stage!r}: it minimises at fixed volume, and "
                "runs Langevin and Brownian dynamics. Leave the engine out."
            )


@cache
def _device() -> Any:
    import hoomd

    if not hoomd.version.mpi_enabled:
        return hoomd.device.CPU(notice_level=1)
    from mpi4py import MPI

    # Each rank has packings of its own.
    own = hoomd.communicator.Communicator(mpi_comm=MPI.COMM_SELF)
    return hoomd.device.CPU(communicator=own, notice_level=1)


def prepared_by_hoomd(
    theta: bridge.PairPotential, preparation: Preparation, start: ensemble.Start, key: Sequence[int]
) -> bridge.Packing:
    """The first replica of a start after the preparation's stages, not yet relaxed to rest.

    The key, of integers, is that of HOOMD-blue's random numbers, of which it takes 16 bits. Raises
    `RecordError` if a minimisation does not converge, `InputError` as `check_hoomd` does.
    """
    import hoomd

    dimension = start.positions.shape[2]
    stages = preparation.stages(theta, dimension)
    check_hoomd(stages)
    assert start.boxes is not None
    typeid = start.typeid if start.typeid.ndim == 1 else start.typeid[0]
    packing = bridge.Packing.of(start.positions[0], typeid, start.boxes[0]).wrapped()
    seed = int(np.random.SeedSequence(list(key)).generate_state(1)[0]) & 0xFFFF
    simulation = hoomd.Simulation(device=_device(), seed=seed)
    simulation.create_state_from_snapshot(_snapshot(theta, packing))
    force = _force(theta)
    for stage in stages:
        if isinstance(stage, ensemble.Minimize):
            _minimize(simulation, force, stage, theta)
        elif not isinstance(stage, ensemble.Compress):  # refused above
            _move(simulation, force, stage)
        simulation.operations.integrator.forces.clear()
    found = simulation.state.get_snapshot()
    images = found.particles.image[:, :dimension]
    positions = np.asarray(found.particles.position[:, :dimension], dtype=np.float64)
    return packing.with_positions(positions + images @ np.asarray(packing.box).T)


def _snapshot(theta: bridge.PairPotential, packing: bridge.Packing) -> Any:
    import hoomd

    snapshot = hoomd.Snapshot(_device().communicator)
    snapshot.configuration.box = list(box_to_hoomd(packing.box))
    snapshot.particles.N = len(packing.positions)
    snapshot.particles.types = list(type_names(theta.n_types))
    snapshot.particles.typeid[:] = packing.typeid
    snapshot.particles.position[:, : packing.dimension] = packing.positions
    return snapshot


def _force(theta: bridge.PairPotential) -> Any:
    import hoomd.amorph

    kinds = [getattr(hoomd.amorph.pair, name) for name in hoomd.amorph.pair.__all__]
    kind = next(k for k in kinds if k._potential == theta.potential)
    return kind.from_theta(theta, type_names(theta.n_types))


def _minimize(
    simulation: Any, force: Any, stage: ensemble.Minimize, theta: bridge.PairPotential
) -> None:
    """FIRE until the largest force is the stage's, whatever HOOMD-blue's own criterion is."""
    import hoomd

    settings = {"force_tol": 1e-300, "angmom_tol": 1.0, "energy_tol": 1e-300}
    fire = hoomd.md.minimize.FIRE(dt=0.4 / np.sqrt(theta.max_stiffness()), **settings)
    fire.forces.append(force)
    fire.methods.append(hoomd.md.methods.ConstantVolume(hoomd.filter.All()))
    simulation.operations.integrator = fire
    largest = np.inf
    for _ in range(-(-stage.max_steps // _AT_A_TIME)):
        simulation.run(_AT_A_TIME)
        largest = float(np.sqrt(np.max(np.sum(np.asarray(force.forces) ** 2, axis=1))))
        if largest <= stage.tolerance:
            return
    raise RecordError(
        f"HOOMD-blue's FIRE ended at a largest force of {largest:.1e} after {stage.max_steps} "
        "steps: raise preparation.max_steps or preparation.tolerance."
    )


def _move(simulation: Any, force: Any, stage: ensemble.Langevin | ensemble.Brownian) -> None:
    import hoomd

    everyone = hoomd.filter.All()
    kind = "Langevin" if isinstance(stage, ensemble.Langevin) else "Brownian"
    method = getattr(hoomd.md.methods, kind)(
        everyone, kT=_temperature(stage, simulation.timestep), default_gamma=stage.friction
    )
    if isinstance(stage, ensemble.Langevin) and stage.draw_velocities:
        simulation.state.thermalize_particle_momenta(everyone, kT=stage.temperatures()[1][0])
    simulation.operations.integrator = hoomd.md.Integrator(
        dt=stage.dt, methods=[method], forces=[force]
    )
    simulation.run(stage.steps)


def _temperature(stage: ensemble.Langevin | ensemble.Brownian, first: int) -> Any:
    """The stage's temperatures as HOOMD-blue takes them."""
    import hoomd

    at, values = stage.temperatures()
    exponential = stage.schedule == "exponential"
    shown = np.log(values) if exponential else np.array(values)

    class Table(hoomd.variant.Variant):  # type: ignore[misc]
        def __call__(self, timestep: int) -> float:
            found = float(np.interp((timestep - first) / stage.steps, at, shown))
            return float(np.exp(found)) if exponential else found

        def _min(self) -> float:
            return float(min(values))

        def _max(self) -> float:
            return float(max(values))

    return Table()
