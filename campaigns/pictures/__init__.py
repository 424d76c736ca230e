"""Pictures of designs and of frames: functions of arrays that return matplotlib figures.

Nothing here reads or writes files, and no global state of matplotlib is changed. Colours are Okabe
and Ito's, which the colour-blind can tell apart. All quantities are in reduced units.
"""

from .designs import overview, success
from .frames import frame
from .gradients import gradient
from .histograms import Quantity, histograms
from .packing import View, bonds, packings
from .sweeps import by_series, localised, trained, validated, validated_pairs
from .traces import parameters, paths, trace

__all__ = [
    "Quantity",
    "View",
    "bonds",
    "by_series",
    "frame",
    "gradient",
    "histograms",
    "localised",
    "overview",
    "packings",
    "parameters",
    "paths",
    "success",
    "trace",
    "trained",
    "validated",
    "validated_pairs",
]
