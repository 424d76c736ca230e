"""What the compiled engine takes: potentials as tables over pairs of types, boxes, checks."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import (
    POTENTIALS,
    InputError,
    NotFiniteError,
    PairTable,
    UnknownPotentialError,
    check_box,
    check_box_matrix,
    check_parameters,
    n_types,
    pairs_to_matrix,
)
from amorph.handover.arguments import check_choice, count, described, real_numbers

from . import _engine

__all__ = ["Parameters", "Tables", "evaluate_pairs", "instruction_sets", "potentials", "tables"]


# sigma, r_cut, coefficients, cells, bits, max_stiffness
EngineTable = tuple[
    NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int, float
]


class Parameters(Protocol):
    """A potential with its parameters: a name, and arrays in float64.

    Of a formula that the engine lacks it takes a table: a `amorph.handover.PairTable`, which is
    such a potential itself, or what ``table()`` of the potential gives.
    """

    @property
    def potential(self) -> str:
        """The potential's name."""
        ...

    def arrays(self) -> Mapping[str, ArrayLike]:
        """Parameters by name: over types, or over ``numpy.triu_indices(n_types)``."""
        ...


@dataclass(frozen=True)
class Tables:
    """A potential with its parameters, for all replicas or for each, as the engine takes them.

    ``parameters`` has one dict, or one a replica; ``sigma``, ``pairs`` and ``r_cut`` are stacks
    (1 or R, n_types, n_types), ``max_stiffness`` (1 or R,) the stiffest pairs' u''. ``tabulated``
    are the tables themselves, where the potential is not one of the engine's formulas.
    """

    potential: str
    parameters: tuple[dict[str, NDArray[np.float64]], ...]
    sigma: NDArray[np.float64]
    pairs: list[NDArray[np.float64]]
    r_cut: NDArray[np.float64]
    max_stiffness: NDArray[np.float64]
    tabulated: tuple[PairTable, ...] = ()

    @property
    def for_engine(self) -> list[EngineTable] | None:
        """The tables as the engine takes them; None for one of its formulas."""
        if not self.tabulated:
            return None
        return [
            (sigma, own.r_cut, own.coefficients, own.cells, own.bits, float(stiffness))
            for sigma, own, stiffness in zip(
                self.sigma, self.tabulated, self.max_stiffness, strict=True
            )
        ]

    @property
    def n_types(self) -> int:
        """The number of types."""
        return int(self.sigma.shape[1])

    @property
    def max_force(self) -> float:
        """The unit of force: (largest pair stiffness) x (largest diameter)."""
        return float(self.max_stiffness.max() * self.sigma.max())


def potentials() -> dict[str, list[str]]:
    """The engine's potentials, each with its parameters by pair of types."""
    return _engine.potentials()


def instruction_sets() -> list[str]:
    """The instruction sets the engine can use on this processor, the one it will use first."""
    return _engine.instruction_sets()


def no_pairs(types: int, length: float) -> Tables:
    """The tables of particles that meet through bonds alone; ``length`` is a unit of length."""
    sigma = np.full((1, types, types), length)
    return Tables("none", ({},), sigma, [], np.zeros((1, types, types)), np.zeros(1))


def tabulated(theta: Parameters) -> Parameters:
    """A potential as the engine takes it: itself, or its table where the engine lacks its formula.

    Raises `InputError` for what is no potential, or whose ``table()`` gives something else.
    """
    check_potential_given(theta)
    make = getattr(theta, "table", None)
    if isinstance(theta, PairTable) or theta.potential in POTENTIALS or not callable(make):
        return theta
    made = make()
    if not isinstance(made, PairTable):
        raise InputError(
            f"{type(theta).__name__}.table() gives {described(made)}: it must give a PairTable, as "
            "amorph.handover.build_table makes it."
        )
    return made


def tables(theta: Parameters | Sequence[Parameters] | Tables) -> Tables:
    """Check a potential's parameters, or those of each replica, and lay them out for the engine.

    What is laid out already is passed on as it is.

    Raises `UnknownPotentialError` for a potential the engine lacks, `InputError` for what is no
    potential, for parameters that are missing, of wrong length or out of bounds, and for replicas
    that differ in potential or number of types.
    """
    if isinstance(theta, Tables):
        return theta
    each = [theta] if isinstance(theta, str) or not isinstance(theta, Sequence) else list(theta)
    if not each:
        raise InputError("there are no parameters: give a potential, or one for each replica.")
    each = [tabulated(own) for own in each]
    if any(isinstance(own, PairTable) for own in each):
        return _of_tables(each)
    available = _engine.potentials()
    potential = each[0].potential
    if potential not in available:
        raise UnknownPotentialError(
            f"the engine has no potential {potential!r}. It has: {', '.join(available)}; any other "
            "as a table: see amorph.handover.build_table."
        )
    checked = []
    for replica, own in enumerate(each):
        if own.potential != potential:
            raise InputError(
                f"replica {replica} has potential {own.potential!r}, replica 0 {potential!r}: "
                "prepare them apart."
            )
        checked.append(check_parameters(potential, own.arrays()))
        if n_types(checked[-1]) != n_types(checked[0]):
            raise InputError(
                f"replica {replica} has {n_types(checked[-1])} types, replica 0 "
                f"{n_types(checked[0])}: prepare them apart."
            )
    types = n_types(checked[0])
    diameters = np.stack([p["diameters"] for p in checked])
    sigma = 0.5 * (diameters[:, :, None] + diameters[:, None, :])
    pairs = [
        np.stack([pairs_to_matrix(p[name], types) for p in checked])
        for name in available[potential]
    ]
    r_cut, max_stiffness = _engine.scales(potential, sigma, pairs)
    return Tables(potential, tuple(checked), sigma, pairs, r_cut, max_stiffness)


def _of_tables(each: Sequence[Parameters]) -> Tables:
    own = [table for table in each if isinstance(table, PairTable)]
    if len(own) < len(each):
        raise InputError("some replicas have a table, others none: prepare them apart.")
    for replica, table in enumerate(own):
        for what, there, here in (
            ("potential", own[0].potential, table.potential),
            ("number of types", own[0].n_types, table.n_types),
        ):
            if there != here:
                raise InputError(
                    f"the {what} of replica {replica} is {here}, that of replica 0 {there}: "
                    "prepare them apart."
                )
    diameters = np.stack([table.diameters for table in own])
    return Tables(
        own[0].potential,
        tuple(table.arrays() for table in own),
        0.5 * (diameters[:, :, None] + diameters[:, None, :]),
        [],
        np.stack([table.r_cut for table in own]),
        np.array([table.stiffness.max() for table in own]),
        tuple(own),
    )


def check_potential_given(theta: object) -> None:
    """Raise `InputError` for what is no potential with its parameters; says how to make one."""
    made = not isinstance(theta, type) and callable(getattr(theta, "arrays", None))
    if made and isinstance(getattr(theta, "potential", None), str):
        return
    if isinstance(theta, type):
        cure = f"give it its parameters: {theta.__name__}(...)"
    elif isinstance(theta, Mapping):
        cure = 'make one of arrays by name: bridge.from_arrays("harmonic_morse", {...})'
    else:
        cure = "one such as bridge.HarmonicMorse(...)"
    raise InputError(f"theta is {described(theta)}: it must be a potential: {cure}.")


def boxes_for(box: ArrayLike, table: Tables, replicas: int, dimension: int) -> NDArray[np.float64]:
    """Boxes as the engine takes them, (1 or replicas, d, d), each wide enough for the cutoff."""
    right = f"({dimension}, {dimension}) numbers, or such a matrix for each replica"
    given = real_numbers("box", box, right)
    stack = given[None] if given.ndim == 2 else given
    if stack.ndim != 3 or stack.shape[1:] != (dimension, dimension):
        raise InputError(
            f"box has shape {given.shape}: it must be ({dimension}, {dimension}), its columns the "
            f"box vectors, or one such matrix for each of the {replicas} replicas."
        )
    if len(stack) not in (1, replicas):
        raise InputError(f"there are {len(stack)} boxes for {replicas} replicas: give 1 or all.")
    r_cut = table.r_cut.max(axis=(1, 2))
    if len(stack) == 1:
        check_box(check_box_matrix(stack[0]), float(r_cut.max()))
    else:
        for replica, matrix in enumerate(stack):
            check_box(check_box_matrix(matrix), float(r_cut[replica if len(r_cut) > 1 else 0]))
    return np.array(stack, order="C")  # the engine's to change


def thread_count(threads: int | None) -> int:
    """The number of threads asked for, or as many as this process may use."""
    if threads is None:
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else (os.cpu_count() or 1)
        )
    return count("threads", threads)


def chosen_instruction_set(name: str) -> str:
    """The instruction set asked for, ``auto`` the widest there is; raises `InputError`."""
    available = _engine.instruction_sets()
    if name == "auto":
        return available[0]
    check_choice("instruction_set", name, available)
    return name


def evaluate_pairs(
    theta: Parameters, r: ArrayLike, *, instruction_set: str = "auto"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Energy u(r) and -u'(r)/r of a pair of particles of the first type, as the engine has them.

    Parameters
    ----------
    theta:
        A potential.
    r:
        Distances (n,), > 0.
    instruction_set:
        ``auto``, or one of `instruction_sets`.

    Returns
    -------
    energy, force_over_r:
        (n,) each.

    Raises
    ------
    InputError, UnknownPotentialError
        For parameters or distances out of bounds.
    NotFiniteError
        Where the energy or the force is not finite, as very close to a pole.
    """
    distances = real_numbers("r", r, "distances").reshape(-1)
    if not (np.isfinite(distances) & (distances > 0)).all():
        raise InputError("distances must be finite and greater than 0.")
    table = tables(theta)
    energy, force_over_r = _engine.evaluate_pairs(
        table.potential,
        table.sigma,
        table.pairs,
        table.for_engine,
        distances,
        chosen_instruction_set(instruction_set),
    )
    wrong = ~(np.isfinite(energy) & np.isfinite(force_over_r))
    if wrong.any():
        k = int(np.argmax(wrong))
        raise NotFiniteError(
            f"{table.potential} at r = {float(distances[k])!r}: u is {energy[k]}, -u'/r is "
            f"{force_over_r[k]}: beyond what numbers can hold. Leave such distances out."
        )
    return energy, force_over_r
