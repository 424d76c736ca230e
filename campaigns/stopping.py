"""Ending a run before its end: at a signal, or when the time that it was given is over."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import StoppedError

__all__ = ["Until", "signals_noted"]

SIGNALS = ("SIGTERM", "SIGUSR1")


class Until:
    """When to stop: asked at the end of each step, it never interrupts one.

    Parameters
    ----------
    seconds:
        From now on; None for no limit.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
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
