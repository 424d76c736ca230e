"""Ensembles of packings: many replicas prepared at a time, by Amorph's engine.

HOOMD-blue's own minimiser takes one system at a time, and a small system leaves most of a GPU idle.
The engine takes thousands of small ones together, on the device of a HOOMD script, and gives back
snapshots or a GSD file.
"""

import re
from collections.abc import Sequence

import hoomd
import numpy as np
from hoomd.amorph import pair

__all__ = ["Ensemble"]


class Ensemble:
    r"""Replicas of a system that start at random, on a lattice, or from snapshots.

    Args:
        device (hoomd.device.Device): where the engine computes.
        force (hoomd.amorph.pair): a pair force with parameters for all pairs of types, whose
            cutoffs and mode are its own.
        types (Sequence[str]): names of the particles' types; of snapshots theirs.
        n_particles (int): N of each replica.
        density (float): N/V at the start :math:`[\mathrm{length}^{-d}]`.
        dimension (int): 2 or 3.
        replicas (int): how many.
        seed (int): with a replica's number the key of its random numbers.
        first_replica (int): the number of the first.
        start (str): ``"random"``, or a lattice: ``"square"``, ``"triangular"``, ``"honeycomb"``,
            ``"fcc"``.
        noise (float): standard deviation of each component on a lattice
            :math:`[\mathrm{length}]`.
        composition (Sequence[float]): shares of the types; equal by default.
        order (str): ``"in_order"`` or ``"random"``: who has which type.

    Raises:
        TypeError: if ``device`` or ``force`` is something else.
        ValueError: for what cannot be prepared, before work starts.
        RuntimeError: if the device is not there for the engine, or spans several MPI ranks.

    .. code-block:: python

        force = hoomd.amorph.pair.SoftSphere(nlist=hoomd.md.nlist.Cell(buffer=0.3))
        force.params[("A", "A")] = dict(sigma=1.0, stiffness=1.0)
        ensemble = hoomd.amorph.prepare.Ensemble(
            hoomd.device.CPU(), force, ["A"], n_particles=128, density=1.2, replicas=1000, seed=1
        )
        ensemble.quench()
        ensemble.write("packings.gsd")
    """

    def __init__(
        self,
        device,
        force,
        types: Sequence[str],
        *,
        n_particles: int,
        density: float,
        dimension: int = 2,
        replicas: int = 1,
        seed: int = 0,
        first_replica: int = 0,
        start: str = "random",
        noise: float = 0.0,
        composition: Sequence[float] | None = None,
        order: str = "in_order",
    ):
        from amorph import ensemble

        self._set_up(device, force, types, seed, first_replica)
        begin = ensemble.make_start(
            self._theta,
            n_particles,
            density,
            dimension,
            replicas,
            seed,
            start=start,
            noise=noise,
            composition=composition,
            order=order,
            first_replica=first_replica,
        )
        self._positions, self._typeid, self._box = begin.positions, begin.typeid, begin.box

    @classmethod
    def from_snapshots(cls, device, force, snapshots, *, seed=0, first_replica=0):
        """Replicas that start where snapshots are.

        Args:
            device, force, seed, first_replica: as of the class.
            snapshots (Sequence[hoomd.Snapshot]): of equal size, dimension and types; frames of
                ``gsd.hoomd`` are taken too. Velocities and images are left aside, diameters become
                the potential's.

        Raises:
            TypeError: for what is no snapshot.
            ValueError: if snapshots differ in size, dimension or types, or hold what the engine
                does not have and `snapshots` would not give back: bonds and the like, bodies,
                masses other than 1, charges, orientations.
        """
        from amorph.handover import box_from_hoomd

        _check_device(device)
        each = [_as_snapshot(k, s, device) for k, s in enumerate(snapshots)]
        if not each:
            raise ValueError("there are no snapshots: give at least one.")
        for k, snapshot in enumerate(each):
            _check_content(k, snapshot)
        first = each[0]
        types = list(first.particles.types)
        dimension = first.configuration.dimensions
        for k, snapshot in enumerate(each):
            if (
                list(snapshot.particles.types) != types
                or snapshot.configuration.dimensions != dimension
                or snapshot.particles.N != first.particles.N
            ):
                raise ValueError(
                    f"snapshot {k} differs from the first in size, dimension or types: prepare "
                    "them apart."
                )
        made = cls.__new__(cls)
        made._set_up(device, force, types, seed, first_replica)
        made._positions = np.stack(
            [np.array(s.particles.position, float)[:, :dimension] for s in each]
        )
        made._typeid = np.stack([np.array(s.particles.typeid, np.int32) for s in each])
        boxes = [box_from_hoomd(s.configuration.box, dimension) for s in each]
        made._box = np.stack(boxes)
        return made

    def _set_up(self, device, force, types, seed, first_replica):
        _check_device(device)
        if not isinstance(force, tuple(getattr(pair, name) for name in pair.__all__)):
            raise TypeError(
                f"force = {force!r}: it must be a pair force of hoomd.amorph.pair "
                f"({', '.join(pair.__all__)}), with its parameters."
            )
        communicator = device.communicator
        if communicator.num_ranks > 1:
            raise RuntimeError(
                "the device spans several MPI ranks: give each a communicator of its own, "
                "hoomd.communicator.Communicator(ranks_per_partition=1), and another first_replica."
            )
        force.check_own_cutoffs(types)
        self._device, self._types = device, list(types)
        self._theta = force.to_theta(self._types)
        self._seed, self._first = seed, first_replica
        self._velocities = None
        self._result = None
        self._calls = 0
        if isinstance(device, hoomd.device.CPU):
            self._where = "cpu"
        else:
            # "[0] NAME ...": HOOMD-blue tells the number of the GPU that it took only there.
            found = re.match(r"\s*\[(\d+)\]", str(device.device))
            if found is None:
                raise RuntimeError(f"which GPU is {device.device!r}? Please report this.")
            self._where = f"gpu:{found[1]}"
        from amorph import ensemble

        ensemble.check_device(self._where)

    def _run(self, stages):
        from amorph import ensemble

        done = 0

        def report(now, total):
            nonlocal done
            if now * 10 // total > done * 10 // total:
                self._device.notice(f"amorph: {now} of {total} replicas")
            done = now

        result = ensemble.prepare(
            self._theta,
            self._positions,
            self._typeid,
            self._box,
            stages,
            velocities=self._velocities
            if any(not isinstance(s, (ensemble.Minimize, ensemble.Compress)) for s in stages)
            else None,
            seed=self._seed,
            first_replica=self._first,
            stream=self._calls,
            device=self._where,
            progress=report,
        )
        self._result = result
        self._calls += 1  # new noise in the next one
        # Replicas that broke down stay where they were, for the next call to take all of them.
        broken = ~np.isfinite(result.energy)
        before = self._positions, self._box, self._velocities
        self._positions, self._box = result.positions, result.boxes
        self._velocities = result.velocities
        if broken.any():
            self._positions = np.where(broken[:, None, None], before[0], self._positions)
            if len(self._box) > 1:
                self._box = np.where(broken[:, None, None], before[1], self._box)
            if self._velocities is not None:
                old = 0.0 if before[2] is None else before[2]
                self._velocities = np.where(broken[:, None, None], old, self._velocities)
        for line in result.failures():
            self._device.notice(f"amorph: *Warning*: {line}")
        return result

    def quench(self, tolerance=1e-10, max_steps=200_000, pressure=None):
        r"""Minimise the energy of every replica, or at a pressure the enthalpy, by FIRE.

        Args:
            tolerance (float): the largest force at the end
                :math:`[\mathrm{energy} \cdot \mathrm{length}^{-1}]`.
            max_steps (int): steps after which a replica ends unfinished, with a notice.
            pressure (float): held, if given, by the size of the box
                :math:`[\mathrm{energy} \cdot \mathrm{length}^{-d}]`.

        Returns:
            amorph.ensemble.Ensemble: what came of it, with energies, stresses and a status each.
        """
        from amorph import ensemble

        dimension = self._positions.shape[2]
        return self._run(
            ensemble.quench_stages(
                self._theta, dimension, tolerance=tolerance, max_steps=max_steps, pressure=pressure
            )
        )

    def langevin(self, steps, dt, kT, gamma=1.0):
        r"""Langevin dynamics of every replica, mass 1, by BAOAB.

        Velocities are drawn at the first temperature, after a quench anew; calls that follow one
        another go on with those there are.

        Args:
            steps (int): time steps.
            dt (float): their length :math:`[\mathrm{time}]`.
            kT (float | Sequence[float]): temperature, or temperatures evenly spaced over the
                steps, linear between them :math:`[\mathrm{energy}]`.
            gamma (float): friction :math:`[\mathrm{time}^{-1}]`.

        Returns:
            amorph.ensemble.Ensemble: as `quench`.
        """
        from amorph import ensemble

        draw = self._velocities is None
        return self._run([ensemble.Langevin(steps, dt, kT, friction=gamma, draw_velocities=draw)])

    @property
    def result(self):
        """amorph.ensemble.Ensemble: of the last stage; None before the first."""
        return self._result

    def snapshots(self) -> list[hoomd.Snapshot]:
        """The replicas as they stand, in HOOMD's single or double precision."""
        from amorph.handover import box_to_hoomd

        made = []
        dimension = self._positions.shape[2]
        for r, positions in enumerate(self._positions):
            box = self._box if self._box.ndim == 2 else self._box[r % len(self._box)]
            snapshot = hoomd.Snapshot(self._device.communicator)
            snapshot.configuration.box = list(box_to_hoomd(box))
            snapshot.particles.N = len(positions)
            snapshot.particles.types = self._types
            typeid = self._typeid if self._typeid.ndim == 1 else self._typeid[r]
            snapshot.particles.typeid[:] = typeid
            snapshot.particles.diameter[:] = np.asarray(self._theta.arrays()["diameters"])[typeid]
            snapshot.particles.position[:, :dimension] = positions
            if self._velocities is not None:
                snapshot.particles.velocity[:, :dimension] = self._velocities[r]
            made.append(snapshot)
        return made

    def write(self, filename, overwrite=False):
        """Write the replicas to a GSD file, with potential, statistics and double precision.

        Every HOOMD-blue reads it (``create_state_from_gsd``), in single precision; Amorph reads
        the exact positions and box, which stand in its log.

        Args:
            filename (str): the file.
            overwrite (bool): whether it may be replaced.

        Raises:
            RuntimeError: before anything was run.
            OSError: if the file exists, or cannot be written.
        """
        if self._result is None:
            raise RuntimeError("nothing was run yet: call quench or langevin first.")
        self._result.write(filename, overwrite=overwrite)


def _check_device(device):
    if not isinstance(device, hoomd.device.Device):
        raise TypeError(
            f"device = {device!r}: it must be a hoomd.device.Device, as hoomd.device.CPU()."
        )


def _as_snapshot(k, given, device):
    if isinstance(given, hoomd.Snapshot):
        return given
    if hasattr(given, "configuration") and hasattr(given, "validate"):  # gsd.hoomd.Frame
        return hoomd.Snapshot.from_gsd_frame(given, device.communicator)
    raise TypeError(
        f"snapshot {k} is {given!r}: it must be a hoomd.Snapshot, as state.get_snapshot() gives, "
        "or a frame of gsd.hoomd."
    )


_GROUPS = {
    "bonds": "bonds",
    "angles": "angles",
    "dihedrals": "dihedrals",
    "impropers": "impropers",
    "pairs": "special pairs",
    "constraints": "constraints",
}
_PLAIN = {
    "mass": 1.0,
    "charge": 0.0,
    "body": -1,
    "moment_inertia": 0.0,
    "orientation": (1.0, 0.0, 0.0, 0.0),
    "angmom": 0.0,
}


def _check_content(k, snapshot):
    """Raise for what neither the engine nor the snapshots it gives back would have."""
    found, cures = [], []
    for name, called in _GROUPS.items():
        number = getattr(snapshot, name).N
        if number:
            found.append(f"{number} {called}")
            cures.append(f"{name}.N = 0")
    for name, plain in _PLAIN.items():
        values = np.array(getattr(snapshot.particles, name))
        if name == "body":
            values = values.astype(np.int32)  # -1 of unsigned numbers
        if not (values == np.asarray(plain)).all():
            found.append(f"particles.{name} other than {plain}")
            cures.append(f"particles.{name}[:] = {plain}")
    if found:
        raise ValueError(
            f"snapshot {k} has {', '.join(found)}: the engine has none of that, every particle is "
            f"a point of mass 1. If it shall be left aside, set snapshot.{', '.join(cures)}; else "
            "minimise with hoomd.md.minimize.FIRE."
        )
