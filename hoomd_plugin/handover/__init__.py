"""What passes between the halves of Amorph: frames, GSD files, checksums, keys of random numbers.

Needs NumPy and gsd only. All quantities are in reduced units, mass 1.
"""

from .boxes import box_from_hoomd, box_to_hoomd, check_box, check_box_matrix, widths, wrap
from .checksums import checksum, verify_checksum
from .errors import (
    AmorphError,
    BoxTooSmallError,
    CorruptFrameError,
    DeviceError,
    DirectoryGivenError,
    EmptyFileError,
    FileMissingError,
    FrameError,
    InputError,
    NotGSDError,
    OutputError,
    OutputExistsError,
    PotentialMissingError,
    SchemaError,
    UnknownPotentialError,
    UnknownTypeError,
)
from .frame import Frame
from .gsd_io import GSDReader, GSDWriter, count_frames, read_gsd, write_gsd
from .potentials import (
    POTENTIALS,
    Parameter,
    check_parameters,
    check_potential,
    component_names,
    matrix_to_pairs,
    n_pairs,
    n_types,
    pair_places,
    pairs_to_matrix,
    type_names,
)
from .random_keys import Purpose, philox4x32, uniforms

__all__ = [
    "POTENTIALS",
    "AmorphError",
    "BoxTooSmallError",
    "CorruptFrameError",
    "DeviceError",
    "DirectoryGivenError",
    "EmptyFileError",
    "FileMissingError",
    "Frame",
    "FrameError",
    "GSDReader",
    "GSDWriter",
    "InputError",
    "NotGSDError",
    "OutputError",
    "OutputExistsError",
    "Parameter",
    "PotentialMissingError",
    "Purpose",
    "SchemaError",
    "UnknownPotentialError",
    "UnknownTypeError",
    "box_from_hoomd",
    "box_to_hoomd",
    "check_box",
    "check_box_matrix",
    "check_parameters",
    "check_potential",
    "checksum",
    "component_names",
    "count_frames",
    "matrix_to_pairs",
    "n_pairs",
    "n_types",
    "pair_places",
    "pairs_to_matrix",
    "philox4x32",
    "read_gsd",
    "type_names",
    "uniforms",
    "verify_checksum",
    "widths",
    "wrap",
    "write_gsd",
]
