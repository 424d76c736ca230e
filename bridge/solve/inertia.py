"""How many negative and zero modes a matrix has, and the error of one that has some."""

from dataclasses import dataclass

__all__ = ["SMALLEST_PIVOT", "Inertia", "NotPositiveError"]

# A pivot or an eigenvalue this small beside the mean diagonal is a zero mode that should not be
# there: no number computed through it would be good to more than a few digits.
SMALLEST_PIVOT = 1e-12


@dataclass(frozen=True)
class Inertia:
    """The numbers of a Hessian's negative modes, and of zero modes beyond those that are held.

    Attributes
    ----------
    negative:
        How many eigenvalues are below zero.
    zero:
        How many are zero to round-off, rigid motions and rattlers apart.
    exact:
        Whether the numbers come from the pivots of a factorisation (Sylvester's law of inertia).
        Otherwise they are an estimate: no negative mode was met on the way to a solution.
    """

    negative: int
    zero: int
    exact: bool


class NotPositiveError(Exception):
    """A matrix that was to be factorised or proven is not positive definite."""
