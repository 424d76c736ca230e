"""What a preparation gives back: the replicas, and how each of them ended."""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import POTENTIALS, Frame, InputError, type_names, write_gsd
from amorph.handover.showing import box_shown, parameters_shown, shown, spread_shown

from .bonds import CheckedBonds

if TYPE_CHECKING:
    import pandas

__all__ = ["Ensemble", "Status", "Trajectory"]


class Status(enum.IntEnum):
    """How a replica's preparation ended."""

    CONVERGED = 0
    """All stages done, the last of them a minimisation that reached its tolerance."""
    STEP_LIMIT = 1
    NOT_FINITE = 2
    RAN = 4
    """All stages done, the last of them not a minimisation."""
    UNSTABLE = 5
    BOX_TOO_SMALL = 6
    BOX_UNBOUNDED = 7


_WHY = {
    Status.STEP_LIMIT: "the minimisation did not reach its tolerance: allow more max_steps.",
    Status.NOT_FINITE: "a force or position ceased to be a number: two particles coincide, or the "
    "potential has no minimum there.",
    Status.UNSTABLE: "a particle moved farther in one time step than half the largest diameter: "
    "use a smaller dt, or minimise before the dynamics.",
    Status.BOX_TOO_SMALL: "the box shrank below twice the cutoff: take more particles, or a lower "
    "pressure or density.",
    Status.BOX_UNBOUNDED: "the box grew to a thousand times its volume: no state holds that "
    "pressure.",
}


@dataclass(frozen=True)
class Trajectory:
    """What was kept of the replicas on their way.

    Attributes
    ----------
    every:
        Time steps between frames; frame k stands at time step (k + 1) every.
    positions, velocities:
        (R, F, N, d), positions not wrapped into the box; velocities None if not asked for.
        What a replica that failed did not reach is NaN.
    """

    every: int
    positions: NDArray[np.float64]
    velocities: NDArray[np.float64] | None

    def __repr__(self) -> str:
        r, frames, n, d = self.positions.shape
        return shown(
            f"Trajectory of {r} replicas of {n} particles in {d} dimensions: {frames} frames each",
            [
                ("every", f"{self.every} time steps"),
                ("velocities", "kept" if self.velocities is not None else "not kept"),
            ],
        )


@dataclass(frozen=True)
class Ensemble:
    """Prepared replicas. R replicas of N particles in d dimensions, reduced units.

    Attributes
    ----------
    positions:
        (R, N, d), in the box.
    typeid:
        (N,), or (R, N).
    boxes:
        (1 or R, d, d), columns the box vectors; None for open boundaries.
    potential, parameters:
        What they were prepared with: parameters for all replicas, or for each. Of a table (see
        `amorph.handover.PairTable`) the formula's name and parameters.
    velocities:
        (R, N, d) at the end, or None where nothing moved with a temperature.
    energy, max_force, stress:
        (R,), (R,), (R, d, d): total energy, largest |F| over the particles, (1/V) dU/dε (None for
        open boundaries).
    status, stage, steps, hessian_products, list_builds, seconds:
        (R,) each: a `Status`, the stage it ended in, steps of all stages, products of the Hessian
        with a vector within them, builds of the neighbour list, time taken. Where the status is
        `NOT_FINITE`, `UNSTABLE` or `BOX_TOO_SMALL`, energy, max_force and stress are NaN.
    tolerance:
        The largest |F| at which a replica counts as converged, None if nothing was minimised.
    trajectory:
        What was kept on the way, or None.
    bonds:
        The springs of all replicas, or of each; none if there are none.
    seed, replica:
        The key of the random starts (None where positions were given) and (R,) replica numbers.
    """

    positions: NDArray[np.float64]
    typeid: NDArray[np.int32]
    boxes: NDArray[np.float64] | None
    potential: str | None
    parameters: tuple[Mapping[str, NDArray[np.float64]], ...]
    energy: NDArray[np.float64]
    max_force: NDArray[np.float64]
    stress: NDArray[np.float64] | None
    status: NDArray[np.int32]
    stage: NDArray[np.int32]
    steps: NDArray[np.int64]
    list_builds: NDArray[np.int64]
    hessian_products: NDArray[np.int64]
    seconds: NDArray[np.float64]
    tolerance: float | None
    seed: int | None
    replica: NDArray[np.int64]
    velocities: NDArray[np.float64] | None = None
    trajectory: Trajectory | None = None
    bonds: tuple[CheckedBonds, ...] = ()

    def __repr__(self) -> str:
        r, n, d = self.positions.shape
        boxes = self.boxes
        parameters = parameters_shown(self.parameters[0])
        more = " (others in other replicas)" if len(self.parameters) > 1 else ""
        ended = [f"{k} {s.name.lower()}" for s in Status if (k := int((self.status == s).sum()))]
        return shown(
            f"Ensemble of {r} replicas of {n} particles in {d} dimensions",
            [
                ("ended", ", ".join(ended)),
                ("potential", f"{self.potential}({parameters}){more}" if self.potential else ""),
                ("springs", f"{len(self.bonds[0].pairs)} a replica" if self.bonds else ""),
                ("box", box_shown(None if boxes is None else boxes[0])),
                ("density", "" if boxes is None else spread_shown(self.density)),
                (
                    "packing fraction",
                    spread_shown(self.packing_fraction) if self._has_fraction else "",
                ),
                ("energy", f"{spread_shown(self.energy / n)} a particle"),
                ("largest force", spread_shown(self.max_force)),
                ("pressure", "" if self.stress is None else spread_shown(self.pressure)),
            ],
        )

    def __len__(self) -> int:
        """The number of replicas."""
        return len(self.positions)

    @property
    def converged(self) -> NDArray[np.bool_]:
        """(R,): whether a replica reached the tolerance."""
        return self.status == Status.CONVERGED

    @property
    def ok(self) -> NDArray[np.bool_]:
        """(R,): whether a replica went through all its stages, the last one included."""
        return (self.status == Status.CONVERGED) | (self.status == Status.RAN)

    def failures(self) -> list[str]:
        """A line for each replica that did not: which, where, why, and what to do."""
        return [
            f"replica {self.replica[r]}, stage {self.stage[r]}, step {self.steps[r]}: "
            f"{_WHY[Status(self.status[r])]}"
            for r in np.flatnonzero(~self.ok)
        ]

    @property
    def pressure(self) -> NDArray[np.float64]:
        """(R,): -tr(stress)/d; raises `InputError` for open boundaries, which have none."""
        if self.stress is None:
            raise InputError("open boundaries have no pressure.")
        return -np.trace(self.stress, axis1=1, axis2=2) / self.positions.shape[2]

    @property
    def density(self) -> NDArray[np.float64]:
        """(R,): N/V; raises `InputError` for open boundaries, which have none."""
        if self.boxes is None:
            raise InputError("open boundaries have no density.")
        volumes = np.abs(np.linalg.det(self.boxes))
        return np.broadcast_to(self.positions.shape[1] / volumes, len(self)).copy()

    @property
    def _has_fraction(self) -> bool:
        return self.boxes is not None and self.potential is not None

    @property
    def packing_fraction(self) -> NDArray[np.float64]:
        """(R,): the volume of spheres (discs) of the particles' diameters, over V; no unit.

        Overlaps count twice. Raises `InputError` for open boundaries, and for particles that meet
        through bonds alone, which have no diameters.
        """
        if self.boxes is None:
            raise InputError("open boundaries have no packing fraction.")
        if self.potential is None:
            raise InputError("without a potential there are no diameters, and no packing fraction.")
        r, _, d = self.positions.shape
        types = np.broadcast_to(self.typeid, (r, self.typeid.shape[-1]))
        diameters = np.stack([p["diameters"] for p in self.parameters])
        each = np.take_along_axis(
            np.broadcast_to(diameters, (r, diameters.shape[1])), types, axis=1
        )
        volume = np.pi / 4 * each**2 if d == 2 else np.pi / 6 * each**3
        out: NDArray[np.float64] = volume.sum(axis=1) / np.abs(np.linalg.det(self.boxes))
        return out

    @property
    def packings(self) -> tuple[Frame, ...]:
        """The replicas that have positions, as frames: see `frames`, and `amorph.handover.Frame`.

        ``for theta, packing in bridge.packings_of(ensemble)`` goes through them as the bridge takes
        them.
        """
        return tuple(self.frames())

    def frames(self) -> Iterator[Frame]:
        """The replicas as frames of a GSD file, in order.

        A replica whose positions are not finite is left out, as there is nothing to write; the
        frames' logs tell each one's number, and whether it converged.
        """
        names = type_names(
            len(self.parameters[0]["diameters"])
            if self.potential is not None
            else int(self.typeid.max()) + 1
        )
        for r in np.flatnonzero(np.isfinite(self.positions).all(axis=(1, 2))):
            log: dict[str, ArrayLike] = {
                "replica": self.replica[r],
                "energy": self.energy[r],
                "max_force": self.max_force[r],
                "converged": self.converged[r],
                "steps": self.steps[r],
            }
            if self.tolerance is not None:
                log["tolerance"] = self.tolerance
            springs = self.bonds[r if len(self.bonds) > 1 else 0] if self.bonds else None
            if springs is not None:
                log["springs/stiffness"] = springs.stiffness
                log["springs/length"] = springs.length
            if self.seed is not None:
                log["seed"] = np.uint64(self.seed)
            yield Frame(
                positions=self.positions[r],
                typeid=self.typeid if self.typeid.ndim == 1 else self.typeid[r],
                types=names,
                box=None if self.boxes is None else self.boxes[r if len(self.boxes) > 1 else 0],
                potential=self.potential,
                foreign=self.potential is not None and self.potential not in POTENTIALS,
                bonds=None if springs is None else springs.pairs,
                parameters=dict(self.parameters[r if len(self.parameters) > 1 else 0]),
                log={key: np.asarray(value) for key, value in log.items()},
            )

    def write(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write a GSD file, one frame a replica; it appears under its name only when whole.

        Raises `OutputExistsError` unless `overwrite`, `OutputError` where it cannot be written.
        """
        write_gsd(path, self.frames(), overwrite=overwrite)

    def table(self) -> "pandas.DataFrame":
        """A pandas data frame, a row a replica: status, steps, density, energy, pressure, ..."""
        import pandas

        return pandas.DataFrame(
            {
                "replica": self.replica,
                "status": [Status(s).name.lower() for s in self.status],
                "steps": self.steps,
                "hessian_products": self.hessian_products,
                "list_builds": self.list_builds,
                "seconds": self.seconds,
                **({} if self.boxes is None else {"density": self.density}),
                **({"packing_fraction": self.packing_fraction} if self._has_fraction else {}),
                "energy": self.energy,
                "energy_per_particle": self.energy / self.positions.shape[1],
                "max_force": self.max_force,
                **({} if self.stress is None else {"pressure": self.pressure}),
            }
        )
