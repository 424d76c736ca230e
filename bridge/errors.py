"""The bridge's named failures. Their messages say what to do."""

from typing import Any

from amorph.handover import AmorphError, InputError, NotFiniteError

__all__ = [
    "ConvergenceError",
    "DeformationError",
    "DegenerateModesError",
    "FeatureError",
    "FloppyModeError",
    "FurtherMinimaError",
    "MissingExtraError",
    "NoBarrierError",
    "NotAMinimumError",
    "NotASaddleError",
    "NotFiniteError",
    "PathError",
    "PrecisionError",
    "RattlerError",
    "RelaxationError",
    "SingularHessianError",
]


class ConvergenceError(AmorphError):
    """An iterative solution did not reach its tolerance."""


class DegenerateModesError(AmorphError):
    """A degenerate mode's frequency has no derivative: it splits with the others of its group."""


class PrecisionError(AmorphError):
    """JAX was switched back from float64 after `amorph.bridge` had switched it on."""


class RelaxationError(AmorphError):
    """A packing's forces could not be brought below the tolerance."""


class NotAMinimumError(AmorphError):
    """A packing is no minimum of its energy: forces remain, or the energy falls along a mode."""


class SingularHessianError(NotAMinimumError):
    """The Hessian has zero modes beyond rigid motions and rattlers: responses are undefined."""


class FloppyModeError(SingularHessianError):
    """A change of bonds leaves a floppy mode: a packing so changed has no linear response."""


class NotASaddleError(AmorphError):
    """A search for a saddle ended where there is none, or none of one negative mode."""


class NoBarrierError(AmorphError):
    """The energy along a path between two states is nowhere higher than at its ends."""


class PathError(AmorphError):
    """There is no path between two states to begin with, or none was found that can be proven."""


class FurtherMinimaError(AmorphError):
    """A path between two states leads through other minima; its saddles come along.

    Attributes: chain, the `Transition` of each part that was found, in their order.
    """

    def __init__(self, message: str, chain: Any) -> None:
        super().__init__(message)
        self.chain = chain


class RattlerError(AmorphError):
    """A derivative would depend on where a rattler happens to lie."""


class FeatureError(InputError):
    """There is no such feature, or it is not defined for this packing."""


class MissingExtraError(AmorphError, ImportError):
    """An optional part of Amorph was asked for whose packages are not installed."""


class DeformationError(AmorphError):
    """A packing could not be deformed as far as was asked; its result so far comes along.

    Attributes: result, the `StressStrain` up to the last state at rest. What went wrong is the
    ``__cause__``.
    """

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message)
        self.result = result
