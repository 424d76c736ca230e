"""Compiled programs in memory: forgotten before a process has no room for them.

XLA keeps each function it compiled in three memory maps of its own, and JAX each program for as
long as the process lives. Linux allows a process 65,530 maps; one packing size (relaxed, measured
and differentiated) takes about 900, and where maps run out XLA ends by a segmentation fault.
"""

from pathlib import Path

import jax

__all__ = ["make_room"]

# Maps are counted each time that so many programs were compiled: to count takes milliseconds.
COUNTED_EVERY = 64
# Of the maps that are allowed: this part may be taken when they are counted.
PART = 0.5

_MAPS = Path("/proc/self/maps")
_ALLOWED = Path("/proc/sys/vm/max_map_count")


class _Compiled:
    """How many programs were compiled since maps were counted; JAX tells of each."""

    def __init__(self) -> None:
        self.number = 0
        jax.monitoring.register_event_duration_secs_listener(self._told)

    def _told(self, event: str, *_: object, **__: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            self.number += 1


_compiled = _Compiled()  # of the process, as its maps are


def make_room() -> bool:
    """Whether compiled programs were forgotten, since half of the process's maps were taken.

    What is called afterwards is compiled again, or read from the folder of `keep_compiled`. Where
    the system does not count maps nothing is forgotten.
    """
    if _compiled.number < COUNTED_EVERY:
        return False
    _compiled.number = 0
    try:
        taken, allowed = _MAPS.read_bytes().count(b"\n"), int(_ALLOWED.read_text())
    except (OSError, ValueError):
        return False
    if taken < PART * allowed:
        return False
    jax.clear_caches()
    return True
