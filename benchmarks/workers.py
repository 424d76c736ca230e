"""Contenders in processes of their own.

Some peers keep threads that go on computing after a call, and fill caches and allocators that the
next contender would share: LAMMPS was seen to take ten times as long in one process with jax-md.
Each has a process, which is stopped while another one's turn is being timed.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

from peers import PeerMissing

__all__ = ["Worker"]


class Worker:
    """A function of a repetition's number, set up and called in a process of its own.

    Args:
        make: sets it up there; what it refers to is inherited, so that nothing has to be sent.

    Raises:
        PeerMissing: if ``make`` does.
        RuntimeError: for whatever else fails there, when it is set up or called.
    """

    def __init__(self, make: Callable[[], Callable[[int], Any]]) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(make, theirs), daemon=True)
        self._process.start()
        theirs.close()
        atexit.register(self.close)
        self._receive()

    def __call__(self, repetition: int) -> Any:
        """The function's value."""
        os.kill(self._pid, signal.SIGCONT)
        self._pipe.send(repetition)
        return self._receive()

    def close(self) -> None:
        """End the process."""
        if self._process.is_alive():
            self._process.kill()  # which ends a stopped process too
        self._process.join()

    @property
    def _pid(self) -> int:
        pid = self._process.pid
        if pid is None:
            raise RuntimeError("the contender's process never started")
        return pid

    def _receive(self) -> Any:
        try:
            kind, value = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(
                f"a contender's process died, exit status {self._process.exitcode}"
            ) from None
        os.kill(self._pid, signal.SIGSTOP)
        if kind == "missing":
            self.close()
            raise PeerMissing(*value)
        if kind == "failed":
            self.close()
            raise RuntimeError(f"a contender failed:\n{value}")
        return value


def _serve(make: Callable[[], Callable[[int], Any]], pipe: Any) -> None:
    try:
        run = make()
        pipe.send(("ready", None))
        while True:
            pipe.send(("done", run(pipe.recv())))
    except PeerMissing as absent:
        pipe.send(("missing", (absent.peer, absent.detail, absent.how)))
    except (EOFError, KeyboardInterrupt):
        return
    except Exception:
        pipe.send(("failed", traceback.format_exc()))
