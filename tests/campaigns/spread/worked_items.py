"""What the tests of processes compute: spawned processes import it by name."""

import os
import time
import warnings

from amorph.handover import InputError


def added(shared: int, item: int) -> int:
    return shared + item


def refused(shared: object, item: int) -> int:
    if item in (3, 5):
        raise InputError(f"item {item}")
    return item


def broken(shared: object, item: int) -> int:
    return item + "x"  # type: ignore[operator]


def ended(shared: object, item: int) -> None:
    os._exit(item)


def slept(shared: object, item: float) -> float:
    time.sleep(item)
    return item


def warned(prefix: str, number: int) -> int:
    for _ in range(2):
        with warnings.catch_warnings():  # which forgets what was said before
            warnings.simplefilter("always")
            warnings.warn(f"{prefix} {number % 2}", RuntimeWarning, stacklevel=1)
    return number
