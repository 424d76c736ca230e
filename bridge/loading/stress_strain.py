"""Nonlinear stress-strain curves by athermal quasi-static deformation."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import expm

from amorph.handover import BoxTooSmallError, InputError, check_box
from amorph.handover.arguments import described, positive
from amorph.handover.showing import shown, spread_shown

from ..errors import DeformationError, NotAMinimumError, NotFiniteError, RelaxationError
from ..matter.arguments import check as check_arguments
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..minima.responses import force_tolerance, response
from ..sensitivity.measuring import measure
from ..solve.blas import one_blas_thread
from .deformation import deformation, square_matrix
from .quasistatic import Move, Path, PlasticEvent, Point
from .strain_response import tangent_stiffness

__all__ = ["StressStrain", "stress_strain", "velocity_gradient"]

# A step is divided down to this part of it before the minimum counts as lost.
SMALLEST_PART = 2.0**-8
MOST_STEPS = 1_000_000


def velocity_gradient(mode: str | ArrayLike, dimension: int) -> NDArray[np.float64]:
    """L, (d, d), of a mode of deformation F(s) = exp(s L), s the strain.

    ``"simple_shear"``: L_xy = 1, F = 1 + γ e_x e_y, s = γ. ``"pure_shear"``: L = diag(1, -1) or
    diag(1, -1, 0), F = diag(e^s, e^-s), s the logarithmic strain along x. ``"dilation"``: L = 1,
    V = V0 e^(d s). A matrix stands for itself.

    Raises `InputError` for another name, and a matrix of another shape, not finite or zero.
    """
    if dimension not in (2, 3):
        raise InputError(f"dimension = {described(dimension)}: it must be 2 or 3.")
    if not isinstance(mode, str):
        out = square_matrix(mode, dimension, "the velocity gradient")
        if not out.any():
            raise InputError("the velocity gradient is zero: nothing would be deformed.")
        return out
    out = np.zeros((dimension, dimension))
    if mode == "simple_shear":
        out[0, 1] = 1.0
    elif mode == "pure_shear":
        out[0, 0], out[1, 1] = 1.0, -1.0
    elif mode == "dilation":
        out = np.eye(dimension)
    else:
        raise InputError(
            f"there is no mode {mode!r}: choose simple_shear, pure_shear, dilation, or give a "
            f"velocity gradient ({dimension}, {dimension})."
        )
    return out


@dataclass(frozen=True, eq=False)
class StressStrain:
    """A stress-strain curve: n states at rest, the first of them the packing that was given.

    Stresses, moduli and pressures are energies / length^d, tension positive; tensors are in the
    frame of the velocity gradient, whatever turn the box needed.

    Attributes
    ----------
    velocity_gradient:
        L, (d, d); the deformation is F = exp(strain · L).
    requested:
        The strain asked for; `strain[-1]` if the curve is complete.
    strain, energy, volume, pressure, max_force:
        (n,), total energy U, and largest |F| over particles.
    stress:
        σ, (n, d, d), the true (Cauchy) stress per present volume.
    conjugate:
        (n,), σ:L, for which dU/dstrain = V σ:L at any strain: σ_xy, σ_xx - σ_yy or -d p in the
        three modes.
    tangent:
        (n,), d(σ:L)/dstrain, from the elastic tensor at this strain: L:A:L with A of
        `tangent_stiffness`. In an isotropic solid without stress: G, 4 G or d² B.
    nonaffine_squared:
        (n,), the mean over particles of |u|², u a particle's displacement since the state before,
        less the affine part and the mean; plastic events included, rattlers not. 0 first.
    contact_changes:
        (n,), how many pairs crossed a distance where u'' jumps since the state before; those of
        rattlers do not count. 0 first.
    plastic:
        (n,), whether there was a plastic event since the state before.
    rattlers:
        (n,), how many there are.
    events:
        The plastic events, in order.
    packings:
        The n packings, where they were kept.
    final:
        The last packing.
    """

    velocity_gradient: NDArray[np.float64]
    requested: float
    strain: NDArray[np.float64]
    energy: NDArray[np.float64]
    volume: NDArray[np.float64]
    pressure: NDArray[np.float64]
    max_force: NDArray[np.float64]
    stress: NDArray[np.float64]
    conjugate: NDArray[np.float64]
    tangent: NDArray[np.float64]
    nonaffine_squared: NDArray[np.float64]
    contact_changes: NDArray[np.int64]
    plastic: NDArray[np.bool_]
    rattlers: NDArray[np.int64]
    events: tuple[PlasticEvent, ...]
    packings: tuple[Packing, ...] | None
    final: Packing

    def __repr__(self) -> str:
        n, d = self.final.positions.shape
        reached = f"{self.strain[0]:.6g} to {self.strain[-1]:.6g}"
        return shown(
            f"StressStrain of {n} particles in {d} dimensions: {len(self.strain)} states at rest",
            [
                ("strain", reached if self.complete else f"{reached} of {self.requested:.6g}"),
                ("stress along it", spread_shown(self.conjugate)),
                ("tangent", spread_shown(self.tangent)),
                ("plastic events", str(len(self.events))),
                ("packings", "kept" if self.packings is not None else "not kept"),
            ],
        )

    @property
    def complete(self) -> bool:
        """Whether the strain that was asked for was reached."""
        return bool(self.strain[-1] == self.requested)


@dataclass
class _Record:
    """The rows of a result, as they come."""

    path: Path
    requested: float
    keep: bool
    rows: list[dict[str, Any]] = field(default_factory=list)
    events: list[PlasticEvent] = field(default_factory=list)
    packings: list[Packing] = field(default_factory=list)
    final: Packing | None = None

    def add(self, point: Point, plastic: bool, squared: float = 0.0, changes: int = 0) -> None:
        features = ["energy", "stress", "elastic_tensor"]
        found = measure(self.path.theta, point.packing, features, tolerance=self.path.limit)
        stress = np.asarray(found.values["stress"])
        stiffness = tangent_stiffness(found.values["elastic_tensor"], stress)
        rate = self.path.local_rate(point)
        self.rows.append(
            {
                "strain": point.strain,
                "energy": float(found.values["energy"]),
                "volume": point.packing.volume,
                "pressure": -float(np.trace(stress)) / len(stress),
                "max_force": found.response.max_force,
                "stress": point.rotation @ stress @ point.rotation.T,
                "conjugate": float(np.sum(stress * rate)),
                "tangent": float(np.einsum("ij,ijkl,kl", rate, stiffness, rate)),
                "nonaffine_squared": squared,
                "contact_changes": changes,
                "plastic": plastic,
                "rattlers": int(np.count_nonzero(found.response.rattlers)),
            }
        )
        self.final = point.packing
        if self.keep:
            # A new object: the factorisation that is kept with the old one is large.
            self.packings.append(replace(point.packing))

    def result(self) -> StressStrain:
        assert self.final is not None
        return StressStrain(
            velocity_gradient=self.path.rate,
            requested=self.requested,
            events=tuple(self.events),
            packings=tuple(self.packings) if self.keep else None,
            final=self.final,
            **{name: np.array([row[name] for row in self.rows]) for name in self.rows[0]},
        )


def _strains(max_strain: float, step: float) -> NDArray[np.float64]:
    """The strains to measure at, the first after 0."""
    for name, value in (("max_strain", max_strain), ("step", step)):
        usable = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if not (usable and np.isfinite(value) and value != 0):
            raise InputError(
                f"{name} = {described(value)}: it must be a finite strain other than 0."
            )
    if step < 0 < max_strain:
        raise InputError(
            f"step = {step!r} leads away from max_strain = {max_strain!r}: give both one sign (the "
            "step may always be positive)."
        )
    number = int(min(np.ceil(abs(max_strain / step) * (1 - 1e-12)), MOST_STEPS + 1))
    if number > MOST_STEPS:
        raise InputError(f"{max_strain!r} in steps of {step!r} are more than {MOST_STEPS:,} steps.")
    strains = np.copysign(step, max_strain) * np.arange(1, number + 1)
    strains[-1] = max_strain
    return strains


def _check_boxes(
    theta: Theta, packing: Packing, rate: NDArray[np.float64], strains: NDArray[np.float64]
) -> None:
    """Raise `BoxTooSmallError` now if a box on the way will be too narrow."""
    empty = Packing(np.zeros((1, packing.dimension)), np.zeros(1, dtype=np.int32), packing.box)
    reach = theta.longest_cutoff()
    for strain in (0.0, *strains[:: max(1, len(strains) // 1000)].tolist(), float(strains[-1])):
        with np.errstate(all="ignore"):
            gradient = expm(strain * rate)
        if not (np.isfinite(gradient).all() and np.linalg.det(gradient) > 0):
            raise InputError(f"a strain of {strain:g} is beyond what numbers can hold.")
        try:
            check_box(deformation(empty, gradient).packing.box, reach)
        except BoxTooSmallError as error:
            raise BoxTooSmallError(f"at strain {strain:g} {error}") from None


@one_blas_thread
def stress_strain(
    theta: Theta,
    packing: Packing,
    mode: str | ArrayLike = "simple_shear",
    *,
    max_strain: float,
    step: float,
    resolution: float | None = None,
    check: bool = True,
    tolerance: float | None = None,
    keep: bool = False,
    callback: Callable[[float, Packing], object] | None = None,
) -> StressStrain:
    """The stress of a packing under finite strain, by athermal quasi-static deformation.

    The packing is deformed by small affine steps and relaxed after each (Malandro and Lacks,
    J. Chem. Phys. 110, 4593 (1999); Maloney and Lemaître, Phys. Rev. E 74, 016118 (2006)), as
    F = exp(strain · L), L a constant velocity gradient.

    While the minimum goes on, Newton follows it: a step counts if the displacement agrees with the
    linear response, to within half, and is halved otherwise. A minimum that cannot be followed over
    `resolution` is relaxed by FIRE instead, and taken back by as much: if that does not restore it,
    rattlers apart, there was a plastic event. A change of contacts alone is reversible, and none;
    so is a rearrangement that undoes itself within the same step back.

    Parameters
    ----------
    theta, packing:
        At rest, in a box, and its potential.
    mode:
        ``"simple_shear"``, ``"pure_shear"``, ``"dilation"``, or L, (d, d): see `velocity_gradient`.
    max_strain:
        The last strain; negative for the other direction.
    step:
        Between the states that are recorded.
    resolution:
        How closely plastic events are located in strain, at most the step, by default step / 256.
    check:
        Take back every step, and divide it if the packing does not return. This finds
        rearrangements so small beside the elastic motion that a step over them looks smooth;
        without it the curve takes half the time.
    tolerance:
        The largest |F| at rest; by default `default_tolerance` of the packing.
    keep:
        Whether the result has the packings.
    callback:
        Called with each strain and packing at rest, the first included. Features of the packing
        are cheap there: its response is known.

    Raises
    ------
    InputError, BoxTooSmallError
        Before work starts: a cluster without a box, a mode, strain or step that is none, a strain
        at which the box would be narrower than twice the cutoff.
    NotAMinimumError, SingularHessianError
        Before work starts: the packing is not at rest, or has no linear response.
    DeformationError
        If a state on the way cannot be relaxed, or is marginal (dilated until nothing holds it,
        for example). It has the result so far.
    """
    check_arguments(theta=theta, packing=packing)
    _ = packing.volume  # raises for a cluster
    rate = velocity_gradient(mode, packing.dimension)
    strains = _strains(max_strain, step)
    finest = SMALLEST_PART * abs(step) if resolution is None else positive("resolution", resolution)
    if not 0 < finest <= abs(step):
        raise InputError(
            f"resolution = {resolution!r}: it must be greater than 0 and at most the step, "
            f"{abs(step):g}."
        )
    limit = force_tolerance(theta, packing, tolerance)
    _check_boxes(theta, packing, rate, strains)
    response(theta, packing, tolerance=limit)

    path = Path(theta, rate, limit, finest, check)
    record = _Record(path, float(max_strain), keep)
    here = Point(packing, 0.0, np.eye(packing.dimension))
    record.add(here, False)
    if callback is not None:
        callback(0.0, packing)
    part = abs(step)
    for target in strains.tolist():
        start, total = here, np.eye(packing.dimension)
        events: list[PlasticEvent] = []
        try:
            while here.strain != target:
                move, part = path.advance(here, target, min(part, abs(step)))
                here, total = move.point, move.gradient @ total
                if move.event is not None:
                    events.append(move.event)
        except (RelaxationError, NotAMinimumError, NotFiniteError, InputError) as error:
            record.events += events
            raise DeformationError(
                f"the packing could be deformed to a strain of {here.strain:.6g}, not to "
                f"{target:.6g}: {error} What was computed before is in the error's `result`.",
                record.result(),
            ) from error
        record.events += events
        whole = Move(here, total)
        moved, held = path.displacement(start, whole)
        squared = float(np.sum(moved**2) / np.count_nonzero(held)) if held.any() else 0.0
        record.add(here, bool(events), squared, path.contact_changes(start, whole))
        if callback is not None:
            callback(here.strain, here.packing)
    return record.result()
