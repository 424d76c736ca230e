"""Pictures of packings and of quantities: functions of arrays that return matplotlib figures.

Nothing here reads or writes files, and no global state of matplotlib is changed. Colours are Okabe
and Ito's, which the colour-blind can tell apart. All quantities are in reduced units. The pictures
of a study stand with it.
"""

from .frames import frame
from .histograms import Quantity, histograms
from .packing import View, bonds, modes, packings

__all__ = ["Quantity", "View", "bonds", "frame", "histograms", "modes", "packings"]
