"""The keys of random numbers: Philox4x32-10, a function of a key and a counter and of nothing else.

A number is named by what it is for, so that it does not depend on the order of work, the number of
threads or the device. The key is the seed; the counter is (purpose and particle, replica, stream,
MD step). See Salmon et al., SC '11, doi:10.1145/2063384.2063405.
"""

import enum
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arguments import count
from .errors import InputError

__all__ = ["Purpose", "RandomKey", "philox4x32", "random_key", "uniforms"]


class Purpose(enum.IntEnum):
    """What a random number is for; the top 8 bits of the first counter word."""

    START_POSITION = 0
    """The x and y of a particle's random start, as fractions of the box."""
    START_POSITION_Z = 1
    """The z of a particle's random start (the first number of the two)."""
    NOISE = 2
    """Thermal noise on x and y, at each step of Langevin and Brownian dynamics."""
    NOISE_Z = 3
    """Thermal noise on z."""
    VELOCITY = 4
    """The x and y of a particle's thermal velocity."""
    VELOCITY_Z = 5
    """The z of a particle's thermal velocity."""
    START_NOISE = 6
    """A particle's displacement from its lattice site in x and y."""
    START_NOISE_Z = 7
    """A particle's displacement from its lattice site in z."""
    TYPE_ORDER = 8
    """A particle's rank (the first number of the two) where types are assigned at random."""
    DESIGN_STEP = 9
    """A design's step across a jump: a free parameter's part of its direction."""


class RandomKey(NamedTuple):
    """Where the random numbers of replicas stand.

    Attributes
    ----------
    seed:
        0 to 2^64 - 1.
    replica:
        The number of the first replica; the others follow.
    stream:
        A further number, which sets apart what goes on with the same replicas: 0 to 2^32 - 1.
    """

    seed: int = 0
    replica: int = 0
    stream: int = 0


def random_key(
    seed: int, first_replica: int = 0, stream: int = 0, *, replicas: int = 1
) -> RandomKey:
    """The key of so many replicas' random numbers, checked; raises `InputError`."""
    key = RandomKey(
        count("seed", seed, least=0, below=2**64),
        count("first_replica", first_replica, least=0, below=2**32),
        count("stream", stream, least=0, below=2**32),
    )
    if key.replica + replicas > 2**32:
        raise InputError(
            f"first_replica = {key.replica} with {replicas} replicas: replica numbers end at "
            f"{2**32 - 1}."
        )
    return key


_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)


def philox4x32(key: ArrayLike, counter: ArrayLike) -> NDArray[np.uint32]:
    """The Philox4x32-10 block of each counter under each key.

    ``key`` is (..., 2) and ``counter`` (..., 4), of integers below 2**32; their leading shapes are
    broadcast. Returns (..., 4) uint32. Raises `InputError` for other shapes or values.
    """
    keys = _words("key", key, 2)
    words = _words("counter", counter, 4)
    try:
        shape = np.broadcast_shapes(keys.shape[:-1], words.shape[:-1])
    except ValueError as error:
        raise InputError(
            f"key {keys.shape} and counter {words.shape} cannot be broadcast together."
        ) from error
    k0, k1 = (np.broadcast_to(keys[..., i], shape) for i in range(2))
    c0, c1, c2, c3 = (np.broadcast_to(words[..., i], shape) for i in range(4))
    for _ in range(_ROUNDS):
        # Words of 32 bits are kept in 64, where their products are exact.
        p0, p1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> _WORD) ^ c1 ^ k0, p1 & _LOW, (p0 >> _WORD) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _KEY_STEPS[0]) & _LOW, (k1 + _KEY_STEPS[1]) & _LOW
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def uniforms(
    seed: int,
    purpose: Purpose,
    particle: ArrayLike,
    replica: ArrayLike,
    stream: ArrayLike = 0,
    md_step: ArrayLike = 0,
) -> NDArray[np.float64]:
    """Two numbers, uniform in [0, 1) with 53 bits each, for each counter.

    Parameters
    ----------
    seed:
        The key, 0 to 2**64 - 1: its low 32 bits first, then its high ones.
    purpose:
        What the numbers are for.
    particle:
        Below 2**24.
    replica, stream, md_step:
        Below 2**32.

    ``particle`` and the rest are broadcast together to a shape (...); returns (..., 2) float64.
    Of the block's words w, the numbers are ``((w[0] >> 5) * 2**26 + (w[1] >> 6)) * 2**-53`` and
    the same of w[2] and w[3]. Raises `InputError` for what is out of range or not an integer.
    """
    (seed_value,) = _integers("seed", np.asarray(seed).reshape(-1), 64, one=True)
    (purpose_value,) = _integers("purpose", np.asarray(purpose).reshape(-1), 8, one=True)
    first = (purpose_value << np.uint64(24)) | _integers("particle", particle, 24)
    rest = [
        _integers(name, value, 32)
        for name, value in (
            ("replica", replica),
            ("stream", stream),
            ("md_step", md_step),
        )
    ]
    try:
        counter = np.stack(np.broadcast_arrays(first, *rest), axis=-1)
    except ValueError as error:
        raise InputError(
            "particle, replica, stream and md_step cannot be broadcast together: shapes "
            f"{first.shape}, {', '.join(str(a.shape) for a in rest)}."
        ) from error
    w = philox4x32(np.stack([seed_value & _LOW, seed_value >> _WORD]), counter).astype(np.uint64)
    high, low = w[..., 0::2] >> np.uint64(5), w[..., 1::2] >> np.uint64(6)
    # The sum is below 2**53, so the conversion and the scaling are exact.
    bits = (high << np.uint64(26)) + low
    return np.asarray(bits.astype(np.float64) * 2.0**-53)


def _words(name: str, values: ArrayLike, length: int) -> NDArray[np.uint64]:
    words = _integers(name, values, 32)
    if words.ndim == 0 or words.shape[-1] != length:
        raise InputError(f"{name} has shape {words.shape}: its last axis must be {length} long.")
    return words


def _integers(name: str, values: ArrayLike, bits: int, *, one: bool = False) -> NDArray[np.uint64]:
    array = np.asarray(values)
    if one and array.size != 1:
        raise InputError(f"{name} must be one integer, not {array.size}.")
    # A Python integer of more than 64 bits makes an array of objects: out of range all the same.
    if array.dtype.kind not in "iu" and not (
        array.dtype.kind == "O" and all(type(value) is int for value in array.flat)
    ):
        raise InputError(f"{name} must be an integer, not {array.dtype}.")
    if array.size:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= 2**bits:
            wrong = low if low < 0 else high
            raise InputError(f"{name} = {wrong}: it must be at least 0 and below 2**{bits}.")
    return array.astype(np.uint64)
