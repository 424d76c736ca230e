"""Pictures of designs: functions of arrays that return matplotlib figures.

Nothing here reads or writes files, and no global state of matplotlib is changed. Colours are Okabe
and Ito's, which the colour-blind can tell apart. All quantities are in reduced units.
"""

from .designs import overview, success
from .packing import View, bonds, packings
from .traces import parameters, trace

__all__ = ["View", "bonds", "overview", "packings", "parameters", "success", "trace"]
