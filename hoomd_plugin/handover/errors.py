"""The named errors of the project. Every one derives from `AmorphError`.

A message names the file, frame, key or argument and the value at fault, and says what to do.
Every error takes one message, so that it survives pickling between processes.
"""

__all__ = [
    "AmorphError",
    "BoxTooSmallError",
    "CorruptFrameError",
    "DeviceError",
    "DirectoryGivenError",
    "EmptyFileError",
    "FileMissingError",
    "FrameError",
    "InputError",
    "NotFiniteError",
    "NotGSDError",
    "OutputError",
    "OutputExistsError",
    "PotentialMissingError",
    "SchemaError",
    "TableError",
    "UnknownPotentialError",
    "UnknownTypeError",
]


class AmorphError(Exception):
    """The base of every named error of the project."""


class InputError(AmorphError, ValueError):
    """An argument or a parameter is not what it must be; found before work starts."""


class BoxTooSmallError(InputError):
    """A width of the periodic box is less than twice the largest cutoff."""


class TableError(InputError):
    """No table of a pair potential has the accuracy asked for within the memory it may take."""


class NotFiniteError(AmorphError, ArithmeticError):
    """A feature, a gradient or a loss came out infinite or not a number.

    The message names it, the component or the parameter, and the packing.
    """


class DeviceError(AmorphError, RuntimeError):
    """There is no GPU that this build can use, or it failed."""


class OutputError(AmorphError, OSError):
    """A file cannot be written where it was asked for."""


class OutputExistsError(OutputError):
    """The output file exists already and may not be overwritten."""


class FrameError(AmorphError):
    """A GSD file, or one frame of it, cannot be used."""


class FileMissingError(FrameError, FileNotFoundError):
    """There is no file at the path."""


class DirectoryGivenError(FrameError, IsADirectoryError):
    """The path is a directory where a GSD file was expected."""


class NotGSDError(FrameError):
    """The file is not GSD, was cut short, or cannot be read."""


class EmptyFileError(FrameError):
    """The file holds no frame."""


class SchemaError(FrameError):
    """The file is GSD, but not of the schema hoomd in a version we know."""


class PotentialMissingError(FrameError):
    """A frame says nothing, or not everything, about the potential."""


class UnknownPotentialError(FrameError):
    """A potential is named, or was used in a run, that Amorph does not have."""


class UnknownTypeError(FrameError):
    """A particle is of a type that the frame or the potential does not know."""


class CorruptFrameError(FrameError):
    """A frame's data contradict themselves: not finite, of wrong shape, or not what was written."""
