"""Ending a run before its end: at a signal, or when the time that it was given is over."""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from amorph.handover import InputError

from ..errors import InterruptError, StoppedError

__all__ = ["INTERRUPTED", "Interrupt", "Until", "signals_noted"]

SIGNALS = ("SIGTERM", "SIGUSR1")
INTERRUPTED = 130
"""The exit status of what Ctrl-C has ended."""
# mpiexec and the terminal may both send one Ctrl-C; what comes so much later is another one, s.
_ANOTHER = 2.0


class Interrupt:
    """Ctrl-C on one of several ranks, none of which may leave the others waiting.

    It ends the item that is at work here, and is noted otherwise: the ranks come to an end together
    as soon as the others have heard of it. A second one ends this process at once.
    """

    def __init__(self) -> None:
        self.noted = False
        self._at = 0.0
        self._working = False

    def note(self, number: int, _: Any = None) -> None:
        """SIGINT's handler."""
        if self.noted and time.monotonic() - self._at > _ANOTHER:
            os._exit(INTERRUPTED)
        self.hear()
        if self._working:
            raise KeyboardInterrupt

    def hear(self) -> None:
        """Note it, without ending what is at work: another rank was interrupted."""
        if not self.noted:
            self._at = time.monotonic()
            self.noted = True

    @contextmanager
    def working(self) -> Iterator[None]:
        """Within the block an interrupt raises `KeyboardInterrupt`; one noted before does too."""
        self._working = True
        try:
            if self.noted:
                raise KeyboardInterrupt
            yield
        finally:
            self._working = False

    @staticmethod
    def error() -> InterruptError:
        """The error that an interrupt is."""
        return InterruptError("interrupted; what was finished is on disk: go on with --resume.")


class Until:
    """When to stop: asked at the end of each step, it never interrupts one.

    Parameters
    ----------
    seconds:
        From now on; None for no limit.
    interrupt:
        Which is asked too, where there are several ranks.

    Raises `InputError` for a time that is not above 0.
    """

    def __init__(self, seconds: float | None = None, interrupt: Interrupt | None = None) -> None:
        if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
            raise InputError(f"a run's time is {seconds:g} s: it must be a number above 0.")
        self._end = None if seconds is None else time.monotonic() + seconds
        self._interrupt = interrupt
        self._signal: str | None = None

    def note(self, number: int, _: Any = None) -> None:
        """A signal's handler."""
        self._signal = signal.Signals(number).name

    def reason(self) -> str | None:
        """Why to stop now, or None to go on."""
        if self._signal is not None:
            return f"{self._signal} was received"
        if self._end is not None and time.monotonic() >= self._end:
            return "its time is over"
        return None

    def check(self, name: str) -> None:
        """Raise `StoppedError` in the name of what is at work, if it is to stop now."""
        if self._interrupt is not None and self._interrupt.noted:
            raise self._interrupt.error()
        if (reason := self.reason()) is not None:
            raise StoppedError(f"{name}: {reason}: go on with --resume.")


@contextmanager
def signals_noted(until: Until) -> Iterator[None]:
    """Within the block SIGTERM and SIGUSR1 do nothing but ask to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.getsignal(getattr(signal, name)) for name in SIGNALS}
    for name in SIGNALS:
        signal.signal(getattr(signal, name), until.note)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
