"""Why a minimum that was searched for inside of a JAX transformation is none."""

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike

from amorph.handover import BoxTooSmallError, InputError
from amorph.handover.arguments import check_kind

from ..errors import (
    NotAMinimumError,
    NotFiniteError,
    RelaxationError,
    SingularHessianError,
)
from ..matter.mechanics import State

__all__ = ["Status", "check_status"]


class Status(IntEnum):
    """The outcome of a search for a minimum; `check_status` says what each means."""

    OK = 0
    NOT_AT_REST = 1
    SADDLE = 2
    NOT_HELD = 3
    MOVED_TOO_FAR = 4
    TOO_MANY_PAIRS = 5
    BOX_TOO_SMALL = 6
    NOT_FINITE = 7


_ERRORS: dict[Status, tuple[type[Exception], str]] = {
    Status.NOT_AT_REST: (
        RelaxationError,
        "Newton's method did not bring it to rest: relax it outside of the transformation first "
        "(bridge.relax), or change the parameters by less",
    ),
    Status.SADDLE: (
        NotAMinimumError,
        "it is no proven minimum: its Hessian has a negative mode, or a zero mode that is no rigid "
        "motion. bridge.relax(theta, packing) leaves a saddle",
    ),
    Status.NOT_HELD: (
        SingularHessianError,
        "no particle is held by its neighbours: compress it, or enlarge the diameters",
    ),
    Status.MOVED_TOO_FAR: (
        RelaxationError,
        "a particle moved so far that pairs may have come into reach which are not listed: relax "
        "it outside of the transformation first (bridge.relax)",
    ),
    Status.TOO_MANY_PAIRS: (
        InputError,
        "it has more pairs than places for them: give more by max_pairs",
    ),
    Status.BOX_TOO_SMALL: (
        BoxTooSmallError,
        "its box is narrower than twice the longest cutoff: take more particles",
    ),
    Status.NOT_FINITE: (
        NotFiniteError,
        "its forces are not finite: two particles coincide, or the parameters are extreme",
    ),
}


def check_status(state: State) -> None:
    """Raise by name where a state that comes from inside of a JAX transformation is no minimum.

    A traced function cannot raise: what `minimum` returns inside of ``jit`` or ``vmap`` is NaN
    where there is no minimum, and its ``status`` says why. Call this on what the transformed
    function returned, of one packing or of a batch.

    Raises
    ------
    RelaxationError, NotAMinimumError, SingularHessianError, NotFiniteError, BoxTooSmallError,
    InputError
        The first packing's that has one, with its number in the batch.

    Example
    -------
    >>> state = jax.jit(bridge.minimum)(theta, packing)
    >>> bridge.check_status(state)
    """
    check_kind("state", state, State, "a State, as bridge.minimum returns it")
    if state.status is None:
        return
    codes: ArrayLike = np.asarray(state.status)
    flat = np.ravel(codes)
    for k in np.flatnonzero(flat != Status.OK)[:1].tolist():
        error, why = _ERRORS[Status(int(flat[k]))]
        which = "the packing has no minimum here" if flat.size == 1 else f"packing {k} has none"
        raise error(f"{which}: {why}.")
