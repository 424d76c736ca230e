"""Leading one packing along a deformation, and telling plastic events from elastic change.

Athermal quasi-static deformation: the packing is deformed affinely by a little and relaxed. While
its minimum goes on, Newton's method follows it from what linear response predicts; where it ends,
FIRE finds the minimum that lies downhill.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from amorph.handover.showing import shown

from ..errors import NotAMinimumError, RelaxationError
from ..matter.mechanics import energy
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..matter.strains import strain_components
from ..minima.following import crossed, same_minimum
from ..minima.relaxing import relaxation
from ..minima.responses import largest, response
from ..sensitivity.measuring import measure
from .deformation import deformation

__all__ = ["PlasticEvent"]

# Two minima are the same if no particle moved by more than this fraction of the smallest diameter:
# far above the minimiser's error, far below any rearrangement.
RETURNED = 1e-5


@dataclass(frozen=True, eq=False)
class PlasticEvent:
    """One irreversible rearrangement.

    Attributes
    ----------
    strain:
        Where the packing has rearranged; it still was in its old minimum `resolution` before.
    resolution:
        How far the place is known, > 0.
    energy_drop:
        What the relaxation at this strain dissipated: U of the last minimum, deformed affinely
        over the resolution, less U after.
    stress_drop:
        How much the stress conjugate to the strain fell, from the last minimum to the new one,
        counted along the way: positive where the packing bears less of what is done to it.
    stress_before, stress_after:
        (d, d), of the last minimum and of the new one.
    participation_ratio:
        (Σ|u|²)² / (N Σ|u|⁴) of the displacements u of the N particles that are no rattlers: 1 if
        all move alike, 1/N if one does.
    displacement:
        u, (N, d), the affine part and the mean taken off, in the frame of the velocity gradient;
        rattlers (before or after) have 0.
    contact_changes:
        How many pairs crossed a distance where u'' jumps.
    """

    strain: float
    resolution: float
    energy_drop: float
    stress_drop: float
    stress_before: NDArray[np.float64]
    stress_after: NDArray[np.float64]
    participation_ratio: float
    displacement: NDArray[np.float64]
    contact_changes: int

    def __repr__(self) -> str:
        return shown(
            f"PlasticEvent at strain {self.strain:.6g} (within {self.resolution:.1e})",
            [
                ("energy drop", f"{self.energy_drop:.6g}"),
                ("stress drop", f"{self.stress_drop:.6g}"),
                ("participation", f"{self.participation_ratio:.4g} of {len(self.displacement)}"),
                ("contact changes", str(self.contact_changes)),
            ],
        )


@dataclass(frozen=True, eq=False)
class Point:
    """A packing on the way; `rotation` turns its vectors into the frame of L."""

    packing: Packing
    strain: float
    rotation: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Move:
    """From one point to another: `gradient` is what the box and affine positions underwent."""

    point: Point
    gradient: NDArray[np.float64]
    event: PlasticEvent | None = None


@dataclass(frozen=True, eq=False)
class Path:
    """The deformation path of a packing, F = exp(strain · L).

    Attributes: theta; rate, L (d, d); limit, the largest |F| at rest; resolution, the smallest
    part of the strain; check, whether each step is taken back to see if it can be.
    """

    theta: Theta
    rate: NDArray[np.float64]
    limit: float
    resolution: float
    check: bool

    def rattlers(self, point: Point) -> NDArray[np.bool_]:
        """(N,): which particles are rattlers."""
        return response(self.theta, point.packing, tolerance=self.limit).rattlers

    def local_rate(self, point: Point) -> NDArray[np.float64]:
        """L in the frame of the point's box."""
        return point.rotation.T @ self.rate @ point.rotation

    def strained(self, here: Point, to: float) -> Move:
        """The packing deformed affinely."""
        found = deformation(here.packing, expm((to - here.strain) * self.local_rate(here)))
        there = Point(found.packing, to, here.rotation @ found.rotation)
        return Move(there, found.gradient)

    def relaxed(self, here: Point, to: float) -> Move:
        """Relaxed by FIRE from the affine deformation, to whichever minimum lies downhill."""
        move = self.strained(here, to)
        packing = relaxation(self.theta, move.point.packing, tolerance=self.limit).packing
        return replace(move, point=replace(move.point, packing=packing))

    def followed(self, here: Point, to: float) -> Move | None:
        """The same minimum at another strain, or None if it does not go there smoothly."""
        move = self.strained(here, to)
        strain = (to - here.strain) * strain_components(self.local_rate(here))
        found = response(self.theta, here.packing, tolerance=self.limit)
        predicted = -(np.asarray(found.state.nonaffine) @ strain) @ move.gradient.T
        packing = same_minimum(self.theta, move.point.packing, self.limit, predicted, before=found)
        return (
            None if packing is None else replace(move, point=replace(move.point, packing=packing))
        )

    def step(self, here: Point, to: float) -> Move | None:
        """As `followed`; with the check, only if the way back leads back."""
        move = self.followed(here, to)
        if move is None or not self.check:
            return move
        back = self.followed(move.point, here.strain)
        return move if back is not None and self.same(here, back.point) else None

    def advance(self, here: Point, target: float, part: float) -> tuple[Move, float]:
        """One step towards the target, of `part` at most, and the part to try next.

        The part is halved until the minimum can be followed. Where the resolution is not enough
        the packing goes downhill, and the move says whether that was a plastic event.
        """
        while True:
            rest = target - here.strain
            whole = abs(rest) <= abs(part) * (1 + 1e-9)
            to = target if whole else here.strain + np.copysign(part, rest)
            size = abs(to - here.strain)
            move = self.step(here, to)
            if move is None and size > self.resolution * (1 + 1e-9):
                part = 0.5 * size
                continue
            return (move if move is not None else self.lost(here, to)), 2.0 * max(part, size)

    def lost(self, here: Point, to: float) -> Move:
        """Relax to the state that the packing falls into when its minimum cannot be followed.

        Contacts that open or close can stop Newton at a minimum that goes on: it is an event only
        if the way back does not lead back.
        """
        move = self.relaxed(here, to)
        if self.reversible(here, move.point):
            return move
        there = move.point
        moved, held = self.displacement(here, move)
        squares = np.sum(moved[held] ** 2, axis=1)
        before, stress_before = self.conjugate(here)
        after, stress_after = self.conjugate(there)
        affine = self.strained(here, to).point.packing
        event = PlasticEvent(
            strain=float(to),
            resolution=float(abs(to - here.strain)),
            energy_drop=energy(self.theta, affine) - energy(self.theta, there.packing),
            stress_drop=float(np.sign(to - here.strain)) * (before - after),
            stress_before=stress_before,
            stress_after=stress_after,
            participation_ratio=float(squares.sum() ** 2 / (len(squares) * np.sum(squares**2))),
            displacement=moved,
            contact_changes=self.contact_changes(here, move),
        )
        return replace(move, event=event)

    def reversible(self, here: Point, there: Point) -> bool:
        """Whether the packing comes back when the strain does."""
        try:
            back = self.followed(there, here.strain) or self.relaxed(there, here.strain)
        except (RelaxationError, NotAMinimumError):
            return False
        return self.same(here, back.point)

    def same(self, here: Point, there: Point) -> bool:
        """Whether two packings at one strain are the same, rattlers apart."""
        unmoved = np.eye(here.packing.dimension)
        moved, held = self.displacement(here, Move(there, unmoved))
        sigma = self.theta.size_range()[0]
        return bool(held.any()) and largest(moved) <= RETURNED * sigma

    def displacement(
        self, here: Point, move: Move
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The non-affine displacement (N, d) in the frame of L, and who was and is held, (N,)."""
        there = move.point
        held = ~self.rattlers(here) & ~self.rattlers(there)
        moved = there.packing.positions - here.packing.positions @ move.gradient.T
        if held.any():
            moved = moved - moved[held].mean(axis=0)
        return np.where(held[:, None], moved, 0.0) @ there.rotation.T, held

    def conjugate(self, point: Point) -> tuple[float, NDArray[np.float64]]:
        """σ:L, and σ in the frame of L."""
        found = measure(self.theta, point.packing, ["stress"], tolerance=self.limit)
        stress = point.rotation @ np.asarray(found.values["stress"]) @ point.rotation.T
        return float(np.sum(stress * self.rate)), stress

    def contact_changes(self, here: Point, move: Move) -> int:
        """The number of pairs that crossed a distance where u'' jumps, rattlers' left out."""
        there, gradient = move.point, move.gradient
        free = self.rattlers(here) & self.rattlers(there)
        moved = there.packing.positions - here.packing.positions @ gradient.T
        moved = moved - moved[~free].mean(axis=0)
        moved[free] = 0.0
        # the largest affine change of a pair's length, half of it for each end
        stretch = np.linalg.norm(gradient.T @ gradient - np.eye(len(gradient)), 2)
        crossing, pairs = crossed(
            (self.theta, here.packing),
            (self.theta, there.packing),
            gradient=gradient,
            moved=largest(moved) + 0.5 * float(stretch) * self.theta.longest_cutoff(),
        )
        return int(np.count_nonzero(crossing & ~free[pairs].any(axis=1)))
