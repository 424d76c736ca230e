"""Gaps: how far pairs are from where u'' jumps, and what features do when one of them closes.

Moduli and whatever else is made of second derivatives of the energy go smoothly with parameters
only until a pair crosses such a distance, a contact of soft spheres that opens or closes among
them. Gaps say how far parameters can go until then, and what comes of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph.handover import widths
from amorph.handover.arguments import count
from amorph.handover.showing import shown, spread_shown

from ..features.builtin import elastic_tensor
from ..features.registry import Feature, check_features, features_of, values_of
from ..matter.arguments import check
from ..matter.mechanics import resolved
from ..matter.packing import Packing
from ..matter.springs import Theta
from ..minima.responses import Response, response
from .crossings import Crossings, check_jump_terms, close_pairs, steps
from .derivatives import Rows, through
from .parameters import Choice, Slopes, choices

__all__ = ["Gaps", "gaps"]

Array = NDArray[np.float64]

# Pairs are listed up to so many of the smallest diameter beyond the cutoff.
MARGIN = 0.1
# Pairs of each break, if not said: what is held grows with their number and the packing's size.
MOST = 512
# Rows of derivatives that are held for all pairs at once.
CHUNK = 256


@dataclass(frozen=True, eq=False)
class Gaps:
    """The pairs of a packing that are nearest to a distance at which u'' jumps, m of them.

    Attributes
    ----------
    pairs:
        (m, 2), the particles. A pair between two such distances may be there twice.
    gap:
        (m,), r - b, with b the distance; 0 or above where the pair is beyond it.
    slopes:
        (m, n_columns), derivatives of the gap by parameters, through the minimum, at fixed box.
    steps:
        (n_rows, m), by how much each component of the features jumps as the pair crosses; 0 where
        the minimum is lost.
    lost:
        (m,), whether the minimum is lost as the pair crosses, so that the packing rearranges.
    columns:
        The parameters' names.
    """

    pairs: NDArray[np.int64]
    gap: Array
    slopes: Array
    steps: Array
    lost: NDArray[np.bool_]
    columns: tuple[str, ...]

    def __repr__(self) -> str:
        m, n = self.slopes.shape
        return shown(
            f"Gaps of {m} pairs, by {n} parameters",
            [
                ("gap", spread_shown(self.gap)),
                ("derivatives", spread_shown(self.slopes)),
                ("steps of features", spread_shown(self.steps)),
                ("lose the minimum", str(int(self.lost.sum()))),
            ],
        )


def gaps(
    theta: Theta,
    packing: Packing,
    features: "str | Feature | Sequence[str | Feature]" = (),
    with_respect_to: "str | Choice | Sequence[str | Choice] | None" = None,
    *,
    number: int | None = None,
) -> Gaps:
    """The pairs nearest to where u'' jumps: how far, how that changes, and what crossing does.

    Parameters
    ----------
    theta, packing:
        A packing as `relax` returns it, and its interactions.
    features:
        Names or features, of which the steps are asked.
    with_respect_to:
        As `amorph.bridge.jacobian` takes it.
    number:
        Of each distance at which u'' jumps, how many of the nearest pairs; by default as many as
        there are particles, 512 at most. What does not count: pairs of rattlers, those farther
        beyond the cutoff than a tenth of the smallest diameter (less where the box has no room),
        and jumps of less than a hundredth of the stiffest pair's u''. Springs have none.

    Raises
    ------
    FeatureError
        For features without jump terms (see `Feature.has_jump_terms`), else as
        `amorph.bridge.jacobian` does, which raises the other errors too.

    Source: derived here (`amorph.bridge.sensitivity.crossings`).

    Example
    -------
    How far can the diameters go along a direction until a first contact opens or closes?

    >>> found = bridge.gaps(theta, packing, with_respect_to="diameters")
    >>> ends = -found.gap / (found.slopes @ direction)
    >>> ends[ends > 0].min()
    """
    check(theta=theta, packing=packing)
    most = min(packing.n_particles, MOST) if number is None else count("number", number)
    chosen = choices(with_respect_to, theta)
    for choice in chosen:
        choice.check(theta, packing)
    wanted = features_of("features", features)
    check_features(packing, wanted)
    check_jump_terms(wanted, "leave it out: its steps are not known.")
    near, reach = theta.near, 0.0
    if near is not None:
        reach = near.longest_cutoff() + MARGIN * near.size_range()[0]
        if packing.box is not None:  # a small one may have room for the cutoff, and no more
            reach = min(reach, 0.5 * float(widths(packing.box).min()))
    found = response(theta, packing, reach=reach)
    rows = sum(np.size(v) for v in values_of(wanted, theta, found)) if wanted else 0
    columns = tuple(name for c in chosen for name in c.labels(theta, found.state))
    close = None if near is None else close_pairs(near, found, most, beyond_cutoff=True)
    if close is None or not close.pairs.size:
        return Gaps(
            pairs=np.zeros((0, 2), dtype=np.int64),
            gap=np.zeros(0),
            slopes=np.zeros((0, len(columns))),
            steps=np.zeros((rows, 0)),
            lost=np.zeros(0, dtype=bool),
            columns=columns,
        )
    pulls = close.pulls(packing.n_particles)
    adjoint = found.solve(np.ascontiguousarray(pulls.transpose(1, 2, 0)))
    compliance = np.einsum("mnd,ndm->m", pulls, adjoint)
    step = np.zeros((rows, len(close.pairs)))
    if rows and packing.box is not None:
        (tensor,) = values_of([elastic_tensor], theta, found)
        step = steps(wanted, theta, found.state, tensor, close, compliance)
    parts = [slice(k, k + CHUNK) for k in range(0, len(close.pairs), CHUNK)]
    slopes = [_slopes(theta, found, close, part, pulls, adjoint, chosen) for part in parts]
    return Gaps(
        pairs=np.stack([close.first, close.second], axis=1).astype(np.int64),
        gap=close.offset,
        slopes=np.concatenate(slopes),
        steps=step,
        lost=close.lost(compliance),
        columns=columns,
    )


def _slopes(
    theta: Theta,
    found: Response,
    close: Crossings,
    part: slice,
    pulls: Array,
    adjoint: Array,
    chosen: Sequence[Choice],
) -> Array:
    """The derivatives of some of the gaps by what was chosen, (rows, n_columns)."""
    state = found.state
    own = resolved(theta, state)
    places, pulls, rows = close.pairs[part], pulls[part], len(close.pairs[part])

    def zeros(values: Mapping[str, Any]) -> Rows:
        return {k: np.zeros((rows, np.size(v))) for k, v in values.items()}

    assert own.near is not None
    near = zeros(own.near.parameters)
    for name, slope in close.slopes.items():
        near[name][np.arange(rows), places] = -slope[part]
    springs = {} if own.springs is None else zeros(own.springs._values)
    near, springs = through(theta, state, near, springs, adjoint[:, :, part])
    strain = None
    if any(c.needs_strain for c in chosen):
        strain = close.stretch()[part] - np.einsum("rnd,nda->ra", pulls, state.nonaffine)
    types = zeros(own.near.types._values)
    slopes = Slopes(theta, state, near, springs, strain, types)
    return np.concatenate([c.columns(slopes) for c in chosen], axis=1)
