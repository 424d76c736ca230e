"""Objectives of a study, ``[[objective]]``: a feature and its target."""

import re
from math import isinf, isnan, nan
from typing import Annotated

from pydantic import Field, model_validator

from .tables import Number, Positive, Table

__all__ = ["Objective"]


class Objective(Table):
    """``[[objective]]``: a feature, its target and its weight in the loss.

    `change`, in place of a target: by how much the feature is to differ from what the packing
    starts with, as a number or as a part of it ("+20%").

    `within`: of an ensemble, packings whose value is not between these two have no part in its
    mean, in training and in validation; how many they are is told.
    """

    feature: str
    target: float = nan
    change: Number | str | None = None
    weight: Positive = 1.0
    within: Annotated[list[Number], Field(min_length=2, max_length=2)] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "Objective":
        if isinf(self.target) or (self.change is None) == isnan(self.target):
            raise ValueError("give target = ..., a finite number, or change = ..., not both.")
        if isinstance(self.change, str):
            self._part()
        if self.within is not None and not self.within[0] < self.target < self.within[1]:
            raise ValueError(f"within = {self.within}: the target {self.target:g} lies outside.")
        return self

    def _part(self) -> float:
        """A change in per cent as a part of the value; raises `ValueError` for another text."""
        found = re.fullmatch(r"\s*([-+]?[0-9.]+)\s*%\s*", str(self.change))
        try:
            if found is None:
                raise ValueError
            return float(found[1]) / 100
        except ValueError:
            raise ValueError(
                f"change = {self.change!r}: write a number, or per cent as '+20%'."
            ) from None

    @property
    def asked(self) -> str:
        """The target or the change, in words."""
        if self.change is None:
            return f"{self.target:g}"
        return self.change if isinstance(self.change, str) else f"{self.change:+g}"

    def target_from(self, value: float) -> float:
        """The target for a packing of some value."""
        if self.change is None:
            return self.target
        return value + (self._part() * value if isinstance(self.change, str) else self.change)
