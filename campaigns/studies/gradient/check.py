"""Are gradients predictive? Exact derivatives beside finite changes of the parameters.

Of followed packings the loss's change is compared with the one that its gradient predicts (Zu
and Goodrich, Commun. Mater. 5 (2024), Fig. 1b). Of an ensemble the derivative of the mean, by
differences with common random starts, is compared with the mean of the derivatives (Fig. S1
there). The two are not the same: a feature jumps where a packing falls into another minimum, or a
pair crosses a distance where u'' does, and no packing's own derivative knows of it; and near such
an instability the derivatives are unbounded. The jump terms of the mean are known, however
(`amorph.bridge.sensitivity.jumps`): the mean is shown with them and without.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LIMITS", "GradientCheck"]

Floats = NDArray[np.float64]

LIMITS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Limits on a packing's gradient, in medians of its length, whose means are shown."""


@dataclass(frozen=True, eq=False)
class GradientCheck:
    """The result. C: free parameters, H: changes, R: packings, J: objectives.

    Attributes
    ----------
    followed:
        Whether packings were followed; else they were prepared anew from the same starts.
    features, targets, weights:
        The objectives, (J,).
    bounds:
        Between which each feature of an isotropic solid lies, (J, 2); infinite where unknown.
    components:
        What the free parameters are called, (C,).
    parts, changes:
        Changes of the parameters, as parts of themselves, (H,), and absolute ones, (C, H).
    value, slope:
        Of each packing, (R, J) and (R, J, C).
    jump_terms:
        Of each packing, (R, J, C); 0 where the campaign leaves them out.
    changed:
        The values at θ + change and θ - change, (R, C, H, 2, J), NaN where there are none: a
        parameter would be negative, or the packing could not be measured.
    rearranged:
        Whether a packing rearranged on the way, (R, C, H, 2); of followed ones.
    failed:
        How many packings could not be measured, which are left out.
    """

    followed: bool
    features: tuple[str, ...]
    targets: Floats
    weights: Floats
    bounds: Floats
    components: tuple[str, ...]
    parts: Floats
    changes: Floats
    value: Floats
    slope: Floats
    jump_terms: Floats
    changed: Floats
    rearranged: NDArray[np.bool_]
    failed: int

    def loss_changes(self) -> tuple[Floats, Floats]:
        """The change of each packing's loss, as predicted and as measured, both (R, C, H, 2)."""
        off = self.value - self.targets
        pull = 2.0 * self.weights * off
        steps = np.stack([self.changes, -self.changes], axis=-1)
        predicted = np.einsum("rj,rjc,chs->rchs", pull, self.slope, steps)
        new = np.sum(self.weights * (self.changed - self.targets) ** 2, axis=-1)
        return predicted, new - np.sum(self.weights * off**2, axis=-1)[:, None, None, None]

    def differences(self) -> tuple[Floats, Floats]:
        """d⟨f⟩/dθ by central differences with common starts, and its standard error, (J, C, H).

        A value outside of the bounds counts as the bound: ν of a packing is unbounded where B + G
        comes close to 0, and a few such packings would drown all others. NaN where fewer than two
        packings could be measured on either side.
        """
        values = np.clip(self.changed, self.bounds[:, 0], self.bounds[:, 1])
        each = (values[..., 0, :] - values[..., 1, :]) / (2 * self.changes[..., None])
        number = np.sum(np.isfinite(each), axis=0)
        known = number >= 2
        each = np.where(known, each, 0.0)
        mean, spread = np.nanmean(each, axis=0), np.nanstd(each, axis=0, ddof=1)
        error = spread / np.sqrt(np.maximum(number, 1))
        mean, error = np.where(known, mean, np.nan), np.where(known, error, np.nan)
        return np.moveaxis(mean, -1, 0), np.moveaxis(error, -1, 0)

    def mean_slopes(
        self, limit: float = np.inf, *, jump_terms: bool = True
    ) -> tuple[Floats, Floats]:
        """⟨df/dθ⟩ and its standard error, (J, C); packings' gradients cut at some medians.

        With the jump terms, or without.
        """
        slope = self.slope + self.jump_terms if jump_terms else self.slope
        length = np.sqrt(np.sum(slope**2, axis=-1, keepdims=True))
        longest = limit * np.median(length, axis=0) if np.isfinite(limit) else np.inf
        cut = slope * np.minimum(1.0, longest / np.maximum(length, 1e-300))
        return cut.mean(axis=0), cut.std(axis=0, ddof=1) / np.sqrt(len(cut))

    def summary(self) -> dict[str, Any]:
        """The contents of ``gradient.json``."""
        out: dict[str, Any] = {
            "packings": len(self.value),
            "failed": self.failed,
            "features": self.features,
            "components": self.components,
            "parts": self.parts.tolist(),
            "changes": self.changes.tolist(),
        }
        if self.followed:
            predicted, measured = self.loss_changes()
            usable = np.isfinite(measured) & ~self.rearranged & (predicted != 0)
            off = np.where(usable, np.abs(measured / np.where(usable, predicted, 1.0) - 1), np.nan)
            median = [
                [float(np.nanmedian(x)) if np.isfinite(x).any() else None for x in row]
                for row in np.moveaxis(off, 0, -1).reshape(*self.changes.shape, -1)
            ]
            out["relative error of the predicted change, median"] = median
            out["rearranged or lost"] = int((self.rearranged | np.isnan(measured)).sum())
        else:
            mean, error = self.differences()
            out["differences"] = {"mean": _or_none(mean), "error": _or_none(error)}
            for added in (True, False):
                limits: dict[str, Any] = {}
                for limit in (np.inf, *LIMITS):
                    mean, error = self.mean_slopes(limit, jump_terms=added)
                    limits[f"{limit:g}"] = {"mean": mean.tolist(), "error": error.tolist()}
                without = "" if added else ", without jump terms"
                out[f"mean gradient by its limit{without}"] = limits
        return out


def _or_none(values: Floats) -> Any:
    """Nested lists of numbers, None for those that are not known: JSON has no NaN."""
    return np.where(np.isfinite(values), values.astype(object), np.array(None)).tolist()
