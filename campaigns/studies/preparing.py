"""Packings as a preparation table describes them: whole ensembles, or one at rest."""

from collections.abc import Callable
from dataclasses import replace
from os import PathLike

from amorph import bridge, ensemble
from amorph.bridge.matter.files import theta_of
from amorph.bridge.minima.responses import round_off_force
from amorph.ensemble.engine import tables
from amorph.handover import InputError
from amorph.handover.boxes import nearest_images

from ..errors import RecordError
from ..inputs.tables import Bonds, Potential, Preparation

__all__ = ["descended", "packing_of", "prepare_ensemble", "prepare_to_gsd"]

Progress = Callable[[int, int], object]


def prepare_ensemble(
    potential: Potential | bridge.PairPotential | None,
    preparation: Preparation,
    *,
    bonds: Bonds | None = None,
    replica: int | None = None,
    replicas: int = 1,
    stream: int = 0,
    device: str = "cpu",
    threads: int | None = None,
    progress: Progress | None = None,
) -> ensemble.Ensemble:
    """All replicas of a preparation, or some from a number on; errors as `ensemble.prepare`.

    `stream` sets apart the random numbers of what goes on with the same replicas.
    """
    first = replica or 0
    number = preparation.n_replicas if replica is None else replicas
    theta = potential.theta() if isinstance(potential, Potential) else potential
    # Checked and laid out once; it is passed on as it is.
    table = None if theta is None else tables(theta)
    begin = preparation.begin(table, bonds, first, number, stream)
    return ensemble.prepare(
        begin.theta,
        begin.start.positions,
        begin.start.typeid,
        begin.start.box,
        preparation.stages(begin.theta, begin.start.positions.shape[2]),
        bonds=begin.bonds or None,
        seed=preparation.seed,
        first_replica=first,
        stream=stream,
        device=device,
        threads=threads,
        progress=progress,
    )


def prepare_to_gsd(
    potential: Potential | None,
    preparation: Preparation,
    path: str | PathLike[str],
    *,
    bonds: Bonds | None = None,
    append: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    each: Callable[[ensemble.Ensemble], object] | None = None,
    progress: Progress | None = None,
) -> ensemble.Streamed:
    """A preparation's replicas, into a GSD file while they are computed.

    Arguments and errors as in `ensemble.stream_to_gsd`.
    """
    ensemble.check_device(device)

    def make(first: int, number: int, report: Progress) -> ensemble.Ensemble:
        return prepare_ensemble(
            potential,
            preparation,
            bonds=bonds,
            replica=first,
            replicas=number,
            device=device,
            threads=threads,
            progress=report,
        )

    return ensemble.stream_to_gsd(
        path, make, preparation.n_replicas, append=append, each=each, progress=progress
    )


def packing_of(
    potential: Potential | bridge.PairPotential | None,
    preparation: Preparation,
    replica: int,
    *,
    step: int = 0,
    bonds: Bonds | None = None,
) -> tuple[bridge.Theta, bridge.Packing]:
    """One replica of a preparation, at rest, with its interactions.

    Its random numbers follow from (the preparation's seed, replica, step). With bonds the
    interactions are the potential and the springs; a file to start from may have both itself.

    Raises `RecordError` if the preparation does not converge, else as `amorph.bridge.relax` does.
    """
    near = potential.theta() if isinstance(potential, Potential) else potential
    if preparation.engine == "hoomd":
        if near is None or bonds is not None:
            raise InputError("engine = 'hoomd' prepares packings of a pair potential alone.")
        return near, bridge.relax(near, _by_hoomd(near, preparation, replica, step))
    batch = prepare_ensemble(
        near,
        _down_to_rest(near, preparation),
        bonds=bonds,
        replica=replica,
        stream=step,
        threads=1,
    )
    if not batch.converged.all():
        status = ensemble.Status(int(batch.status[0])).name.lower().replace("_", " ")
        raise RecordError(
            f"replica {replica}: the preparation ended with '{status}' at a largest force of "
            f"{batch.max_force[0]:.1e}: raise preparation.max_steps or preparation.tolerance."
        )
    frame = next(batch.frames())
    theta = theta_of(frame, near)
    packing = bridge.Packing.of(frame.positions, frame.typeid, frame.box, bonds=frame.bonds)
    return theta, bridge.relax(theta, packing)


def descended(
    theta: bridge.Theta, packing: bridge.Packing, most_steps: int | None = None
) -> bridge.Packing:
    """A packing that the engine brought downhill, near its minimum.

    What `amorph.bridge.follow` is given where a minimum is lost: the engine needs milliseconds.
    Where it does not come to rest within `most_steps`, `RelaxationError` is raised; without them
    the packing is given back as it was, for `amorph.bridge.relax` to go on with.
    """
    near, rest = theta.near, bridge.default_tolerance(theta, packing)
    if near is None or near is not theta:  # springs are the bridge's own
        return packing
    stage = ensemble.Minimize(tolerance=rest)
    if most_steps is not None:
        stage = replace(stage, max_steps=most_steps)
    batch = ensemble.prepare(
        near,
        packing.positions,
        packing.typeid,
        packing.box,
        [stage],
        threads=1,
    )
    if not batch.converged.all():
        if most_steps is None:
            return packing
        raise bridge.errors.RelaxationError(
            f"the packing lost its minimum, and comes to rest in none within {most_steps} steps of "
            f"FIRE: the largest force is {batch.max_force[0]:.1e}."
        )
    change = next(batch.frames()).positions - packing.positions
    if packing.box is not None:
        change = nearest_images(change, packing.box)
    return packing.with_positions(packing.positions + change)


def _down_to_rest(near: bridge.PairPotential | None, preparation: Preparation) -> Preparation:
    """The preparation, its quench going on until `bridge.relax` has nothing left to do.

    The last two decades cost the engine nothing; the relaxation would make a factorisation of them.
    """
    n, density = preparation.n_particles, preparation.density
    if near is None or not n or not density:
        return preparation
    if preparation.method != "quench" or preparation.pressure is not None:
        return preparation
    length = (n / density) ** (1 / preparation.dimension)
    rest = float(round_off_force(near.max_stiffness(), length))
    return preparation.model_copy(update={"tolerance": min(preparation.tolerance, rest)})


def _by_hoomd(
    theta: bridge.PairPotential, preparation: Preparation, replica: int, step: int
) -> bridge.Packing:
    from .hoomd_preparing import prepared_by_hoomd

    start = preparation.begin(theta, None, replica, 1, step).start
    return prepared_by_hoomd(theta, preparation, start, (preparation.seed, replica, step))
