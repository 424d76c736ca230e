"""A network that is pruned: what cutting or returning each bond would bring, and doing so."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import InputError
from amorph.handover.arguments import check_kind, positive, real_numbers

from ..errors import FloppyModeError, SingularHessianError
from ..matter.packing import Packing
from ..matter.springs import Springs
from .building import Network, check_network
from .goals import Evaluator, Loading, periodic
from .response import NetworkResponse
from .shape import Shape

__all__ = ["Constraints", "Pruning"]


@dataclass(frozen=True)
class Constraints:
    """Constraints that a pruned network keeps to.

    Attributes
    ----------
    least_bonds:
        How many bonds a node keeps; by default one more than there are dimensions. A node that has
        fewer from the first keeps those.
    convex:
        Whether no node may become concave: then every polygon of a network in the plane stays
        convex (P2).
    limits:
        (lowest, highest) of features by name, or arithmetic of them: see `ISOTROPIC`. What is
        outside from the first may only come nearer.
    left:
        A bond is not cut whose part in the states of self stress, 1 - k M, is less: at 0 cutting
        it leaves a floppy mode, and rounding grows by 1 over it.

    The elastic tensor stays positive definite in any case.
    """

    least_bonds: int | None = None
    convex: bool = False
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    left: float = 1e-2

    def __post_init__(self) -> None:
        """Raise `InputError` for what is no part of 1, and what are no limits."""
        if not positive("left", self.left) < 1:
            raise InputError(f"left = {self.left!r}: it must lie between 0 and 1.")
        check_kind("limits", self.limits, Mapping, "(lowest, highest) by name")
        for name, limit in self.limits.items():
            ends = real_numbers(f"limits[{name!r}]", limit, "(lowest, highest)")
            if ends.shape != (2,) or not ends[0] < ends[1]:
                raise InputError(
                    f"limits[{name!r}] = {limit!r}: it must be (lowest, highest), a lowest "
                    "value below the highest one."
                )


@dataclass(frozen=True, eq=False)
class Changes:
    """Values after toggling bonds, each alone: cutting those there, returning the others.

    Attributes: values (n, n_goals); distance (n,), infinite where it is not allowed; exceeded (n,),
    how far limits are exceeded, as a part of their width.
    """

    values: NDArray[np.float64]
    distance: NDArray[np.float64]
    exceeded: NDArray[np.float64]


class Pruning:
    """A network on its way to goals, by cutting bonds and returning them.

    Parameters
    ----------
    springs, packing:
        The network. What is cut from the first never returns.
    goals:
        A target for each feature: features of the elastic tensor (``poisson_ratio``,
        ``elastic_constants[0]``, arithmetic of them), or what else `loading` has.
    constraints:
        What it keeps to.
    loading:
        How it is loaded: by default `periodic`, else `plates`.
    units:
        By which values count in the distance to the goals, each by its name; by default 1.

    Attributes: values (n_goals,) and distance, of the network as it is; exceeded, how far limits
    are exceeded, as a part of their width, 0 where all are kept.

    Raises
    ------
    SingularHessianError
        For a network that is not rigid.
    FeatureError, InputError
        As `Evaluator` and `NetworkResponse` do.

    Example
    -------
    >>> pruning = networks.Pruning(springs, packing, {"poisson_ratio": -0.9})
    >>> changes = pruning.try_toggles(np.arange(10))
    >>> pruning.toggle(int(np.argmin(changes.distance)))
    """

    def __init__(
        self,
        springs: Springs,
        packing: Packing,
        goals: Mapping[str, float],
        *,
        constraints: Constraints | None = None,
        loading: Loading | None = None,
        units: Mapping[str, float] | None = None,
    ) -> None:
        check_network(springs, packing)
        self.constraints = Constraints() if constraints is None else constraints
        check_kind("constraints", self.constraints, Constraints, "networks.Constraints")
        loading = periodic(packing) if loading is None else loading
        check_kind("loading", loading, Loading, "networks.periodic or networks.plates")
        loading.check_is_of(packing)
        self.packing = packing
        self.loading = loading
        self._full = springs.arrays()["stiffness"]
        self._rest = springs.arrays()["length"]
        self.evaluate = Evaluator(loading, goals, self.constraints.limits, units)
        self.responses = [NetworkResponse(springs, packing, load) for load in loading.loads]
        least = self.constraints.least_bonds
        self.shape = Shape(
            packing,
            self._full > 0,
            packing.dimension + 1 if least is None else least,
            self.constraints.convex,
        )
        self.values = np.zeros(len(self.evaluate.names))
        self.distance = self.exceeded = 0.0
        self._measure()

    @property
    def n_bonds(self) -> int:
        """How many bonds there are, those that were cut among them."""
        return len(self._full)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which bonds are there, (n_bonds,)."""
        return self.responses[0].stiffness > 0

    @property
    def n_cut(self) -> int:
        """How many bonds were cut and have not returned."""
        return int(np.sum((self._full > 0) & ~self.alive))

    def arrived(self, tolerance: float) -> bool:
        """Whether the goals are as near as that, within all limits."""
        return self.distance <= tolerance and self.exceeded == 0

    @property
    def drift(self) -> float:
        """By how much responses had gone astray where they were computed anew."""
        return max(r.drift for r in self.responses)

    @property
    def network(self) -> Network:
        """The springs as they are now, those that were cut with stiffness 0, and the packing."""
        return Springs(self.responses[0].stiffness.copy(), self._rest), self.packing

    def may_change(self) -> NDArray[np.int64]:
        """The bonds that may be toggled as far as the shape of the network goes."""
        alive = self.alive
        return np.flatnonzero(np.where(alive, self.shape.may_be_cut, self._full > 0))

    def may_be_cut(self) -> NDArray[np.int64]:
        """The bonds that may be cut as far as the shape of the network goes."""
        return np.flatnonzero(self.shape.may_be_cut)

    def slopes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The distances left to goals and of limits that are exceeded, (n,), and their derivatives.

        By each bond's stiffness, (n, n_bonds): ∂Y/∂k_e = X_e X_eᵀ, exact.
        """
        upper = [r.response[np.triu_indices(len(r.response))] for r in self.responses]
        left, slopes = self.evaluate.residuals(upper)
        out = np.zeros((len(left), self.n_bonds))
        for response, slope in zip(self.responses, slopes, strict=True):
            a, b = np.triu_indices(len(response.response))
            x = response.extension
            out += slope @ (x[:, a] * x[:, b]).T
        return left, out

    def set_stiffness(self, stiffness: NDArray[np.float64]) -> None:
        """Give every bond a stiffness, for a time: what is there and may be cut is not changed.

        Raises as `NetworkResponse.set_stiffness`.
        """
        self._set(stiffness)
        self._measure()

    def _set(self, stiffness: NDArray[np.float64]) -> None:
        """Give all responses these stiffnesses, or none of them."""
        before = self.responses[0].stiffness.copy()
        for k, response in enumerate(self.responses):
            try:
                response.set_stiffness(stiffness)
            except SingularHessianError:
                for other in self.responses[:k]:
                    other.set_stiffness(before)
                raise

    @property
    def full(self) -> NDArray[np.float64]:
        """Each bond's stiffness where it is there, (n_bonds,)."""
        return self._full.copy()

    def try_toggles(self, bonds: ArrayLike) -> Changes:
        """Values and distances after toggling each of some bonds alone.

        Raises `InputError` for what are no bonds.
        """
        return self.tried(self.responses[0].checked_bonds(bonds))

    def tried(self, chosen: NDArray[np.int32]) -> Changes:
        """As `try_toggles`, of bonds that there are, in the order of memory: for long chains."""
        stiffness = self.responses[0].stiffness[chosen]
        deltas = np.where(stiffness > 0, -stiffness, self._full[chosen])
        allowed = np.where(stiffness > 0, self.shape.may_be_cut[chosen], deltas > 0)
        packed = []
        for response in self.responses:
            trials = response.tried(chosen, deltas)
            allowed &= trials.left > self.constraints.left
            packed.append(trials.response)
        values, exceeded, distance = self.evaluate(packed)
        within = (exceeded == 0) | (exceeded < self.exceeded)
        return Changes(values, np.where(allowed & within, distance, np.inf), exceeded)

    def toggle(self, bond: int, found: tuple[Changes, int] | None = None) -> None:
        """Cut a bond that is there, or return one that was cut.

        ``found``: what `try_toggles` said of it, and its place there, where it was asked last.

        Raises `FloppyModeError` where a cut leaves a floppy mode: it is then not made. `InputError`
        for no such bond, and one that was cut from the first.
        """
        bond = self.responses[0].checked_bond(bond)
        there = bool(self.alive[bond])
        delta = -float(self._full[bond]) if there else float(self._full[bond])
        if not delta:
            raise InputError(f"bond = {bond}: it was cut from the first, and does not return.")
        for k, response in enumerate(self.responses):
            try:
                response.change(bond, delta)
            except FloppyModeError:
                for other in self.responses[:k]:
                    other.change(bond, -delta)
                raise
        (self.shape.cut if there else self.shape.put_back)(bond)
        if found is None:
            self._measure()
            return
        changes, k = found
        self.values, self.distance = changes.values[k], float(changes.distance[k])
        self.exceeded = float(changes.exceeded[k])

    def go_to(self, alive: NDArray[np.bool_]) -> None:
        """Have these bonds (n_bonds,), and no others, of those that there were from the first.

        Raises `SingularHessianError` where they leave it loose, `InputError` for other arrays.
        """
        there = np.asarray(alive)
        if there.shape != (self.n_bonds,) or there.dtype != np.bool_:
            raise InputError(f"alive must be {self.n_bonds} Booleans, one for each bond.")
        if (there & (self._full == 0)).any():
            first = int(np.argmax(there & (self._full == 0)))
            raise InputError(f"alive: bond {first} was cut from the first, and does not return.")
        changed = np.flatnonzero(there != self.shape.alive)
        self._set(np.where(there, self._full, 0.0))
        for bond in changed:
            (self.shape.put_back if there[bond] else self.shape.cut)(int(bond))
        self._measure()

    def renew(self) -> float:
        """Compute everything anew; returns by how much responses had drifted at most."""
        for response in self.responses:
            response.renew()
        self._measure()
        return self.drift

    def _measure(self) -> None:
        upper = [r.response[np.triu_indices(len(r.response))][None] for r in self.responses]
        values, exceeded, distance = self.evaluate(upper)
        self.values = values[0]
        self.distance = float(distance[0])
        self.exceeded = float(exceeded[0])
