"""Pictures of designs: their traces, several at a glance, and what a sweep of them gave."""

from .overview import overview, success
from .sweeps import by_series, localised, trained, validated, validated_pairs
from .traces import parameters, paths, trace

__all__ = [
    "by_series",
    "localised",
    "overview",
    "parameters",
    "paths",
    "success",
    "trace",
    "trained",
    "validated",
    "validated_pairs",
]
