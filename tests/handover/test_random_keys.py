"""The generator against its published answers, and the numbers made from it."""

import numpy as np
import pytest

from amorph.handover import InputError, Purpose, philox4x32, uniforms

# Random123's kat_vectors for philox4x32_10: counter, key, output.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN)
def test_known_answers(counter: str, key: str, output: str) -> None:
    result = philox4x32(words(key), words(counter))
    assert result.dtype == np.uint32
    assert result.tolist() == words(output)


def test_known_answers_at_once() -> None:
    keys = [words(key) for _, key, _ in KNOWN]
    counters = [words(counter) for counter, _, _ in KNOWN]
    assert philox4x32(keys, counters).tolist() == [words(output) for _, _, output in KNOWN]
    grid = philox4x32(np.array(keys)[:, None], np.array(counters)[None])
    assert grid.shape == (3, 3, 4)
    assert grid[1, 1].tolist() == words(KNOWN[1][2])
    assert grid[0, 1].tolist() != words(KNOWN[1][2])


def test_uniforms_are_made_of_the_words_as_written() -> None:
    seed, particle, replica, design, md = 0x299F31D0_A4093822, 0x3F6A88, 0x85A308D3, 0x13198A2E, 3
    purpose = Purpose.START_POSITION_Z
    w = philox4x32(
        [0xA4093822, 0x299F31D0], [(int(purpose) << 24) | particle, replica, design, md]
    ).tolist()
    expected = [
        ((w[0] >> 5) * 2**26 + (w[1] >> 6)) / 2**53,
        ((w[2] >> 5) * 2**26 + (w[3] >> 6)) / 2**53,
    ]
    assert uniforms(seed, purpose, particle, replica, design, md).tolist() == expected


def test_uniforms_of_known_answer() -> None:
    # Seed 0, everything 0: the first published vector, worked by hand.
    first = ((0x6627E8D5 >> 5) * 67108864 + (0xE169C58D >> 6)) / 9007199254740992
    assert uniforms(0, Purpose.START_POSITION, 0, 0)[0] == first
    assert 0.3990 < first < 0.3991


def test_uniforms_do_not_depend_on_company_or_order() -> None:
    particles = np.arange(1000)
    together = uniforms(9, Purpose.START_POSITION, particles[None], np.arange(4)[:, None])
    assert together.shape == (4, 1000, 2)
    assert np.array_equal(together[2, 41], uniforms(9, Purpose.START_POSITION, 41, 2))
    backwards = uniforms(9, Purpose.START_POSITION, particles[::-1], 3)
    assert np.array_equal(backwards[::-1], together[3])
    assert np.unique(together).size == together.size
    assert together.min() >= 0
    assert together.max() < 1
    # 8000 numbers: the mean is within 5 standard errors.
    assert abs(together.mean() - 0.5) < 5 / np.sqrt(12 * together.size)


@pytest.mark.parametrize(
    "other",
    [
        uniforms(8, Purpose.START_POSITION, 1, 2, 3, 4),
        uniforms(7 + 2**32, Purpose.START_POSITION, 1, 2, 3, 4),
        uniforms(7, Purpose.START_POSITION_Z, 1, 2, 3, 4),
        uniforms(7, Purpose.START_POSITION, 0, 2, 3, 4),
        uniforms(7, Purpose.START_POSITION, 1, 0, 3, 4),
        uniforms(7, Purpose.START_POSITION, 1, 2, 0, 4),
        uniforms(7, Purpose.START_POSITION, 1, 2, 3, 0),
    ],
)
def test_every_part_of_the_key_counts(other: np.ndarray) -> None:
    assert not np.isin(uniforms(7, Purpose.START_POSITION, 1, 2, 3, 4), other).any()


def test_limits_are_reached() -> None:
    numbers = uniforms(
        2**64 - 1, Purpose.START_POSITION, 2**24 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1
    )
    assert ((numbers >= 0) & (numbers < 1)).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((-1, 0, 0, 0), "seed = -1"),
        ((2**64, 0, 0, 0), "seed = 18446744073709551616"),
        ((1.0, 0, 0, 0), "seed"),
        ((True, 0, 0, 0), "seed"),
        (([1, 2], 0, 0, 0), "seed"),
        ((0, 256, 0, 0), "purpose = 256"),
        ((0, 0, 2**24, 0), "particle = 16777216"),
        ((0, 0, [0, -1], 0), "particle = -1"),
        ((0, 0, 0, 2**32), "replica = 4294967296"),
        ((0, 0, 0, 0, 2**32), "stream = 4294967296"),
        ((0, 0, 0, 0, 0, -5), "md_step = -5"),
        ((0, 0, 0.5, 0), "particle"),
        ((0, 0, [0, 1], [0, 1, 2]), "broadcast"),
    ],
)
def test_out_of_range(arguments: tuple, named: str) -> None:
    with pytest.raises(InputError, match=named):
        uniforms(*arguments)


@pytest.mark.parametrize(
    ("key", "counter"), [([0], [0] * 4), ([0, 0], 0), ([0, 0], [0, 0, 0, 2**32]),
                         (np.zeros((2, 2), int), np.zeros((3, 4), int))],
)  # fmt: skip
def test_malformed_words(key: object, counter: object) -> None:
    with pytest.raises(InputError):
        philox4x32(key, counter)  # type: ignore[arg-type]
