"""Processes of this machine as a team: items handed out a few at a time, results as they come.

Nothing of ours but this module is imported before a worker starts; processes are spawned, since
JAX does not survive a fork. A worker that dies is told from one that fails, with the task it had.
What a worker warns of is warned of here, once, whichever worker it was.
"""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NoReturn, TypeVar

from amorph.handover import AmorphError, InputError

from ..errors import WorkerError
from ..inputs.plugins import Plugin, loaded, run_all
from .stopping import Until
from .teams import Team, tried

__all__ = ["Processes", "WorkerDied", "available_cores"]

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
# Items a process is given at a time: one at work, one waiting, so that it never waits for us.
IN_HAND = 2


def available_cores() -> int:
    """The number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerDied(WorkerError):
    """A worker process ended by itself.

    Attributes
    ----------
    item:
        What it had to do, if anything.
    status:
        Its exit status.
    """

    def __init__(self, item: Any, status: int | None) -> None:
        super().__init__(f"a worker process {_ended(status)}")
        self.item = item
        self.status = status

    @property
    def how(self) -> str:
        """Its end, in words."""
        return _ended(self.status)


def _ended(status: int | None) -> str:
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-status).name
            memory = " (out of memory, perhaps)" if name == "SIGKILL" else ""
            return f"was ended by {name}{memory}"
    return f"ended with exit status {status}"


class Processes(Team):
    """Processes of this machine, started for each `each` and ended with it, whatever they do then.

    Parameters
    ----------
    n:
        How many; 1 is a process of its own too.

    Raises `InputError` for less than one.
    """

    def __init__(self, n: int, until: Until | None = None) -> None:
        if n < 1:
            raise InputError(f"workers = {n}: it must be at least 1.")
        self.size = n
        self.until = until or Until()

    def each(
        self,
        function: Callable[..., Result],
        shared: Shared,
        items: Sequence[Item],
        *,
        stopping: str | None = None,
    ) -> Generator[tuple[int, Result], None, None]:
        """As `Team.each`; at most `IN_HAND` items a process are under way.

        Raises `WorkerDied` where a process ends by itself, `WorkerError` where an item fails in a
        way that has no name; the message has the traceback.
        """
        until = None if stopping is None else self.until
        given = 0
        hands = self._started(function, shared)
        try:
            for found in _worked(hands, items, until):
                given += 1
                yield found
        finally:
            for hand in hands:
                hand.process.kill()
            for hand in hands:
                hand.process.join()
                hand.pipe.close()
        if stopping is not None and given < len(items):
            self.until.check(stopping)

    def _started(self, function: Callable[..., Any], shared: Any) -> "list[_Hand]":
        hands: list[_Hand] = []
        context = multiprocessing.get_context("spawn")
        # What ends a run between items may reach every process of its group, as Ctrl-C does those
        # of a terminal: blocked in the workers, it is ours to act on.
        held = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
        try:
            for _ in range(self.size):
                ours, theirs = context.Pipe()
                # Pickled by itself: plug-ins are run before what they define is unpickled.
                work = pickle.dumps((function, shared))
                process = context.Process(
                    target=_serve, args=(loaded(), work, theirs), daemon=True, name="amorph-worker"
                )
                process.start()
                theirs.close()
                hands.append(_Hand(process, ours))
        except BaseException:
            for hand in hands:
                hand.process.kill()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return hands


def _worked(
    hands: "list[_Hand]", items: Sequence[Any], until: Until | None
) -> Iterator[tuple[int, Any]]:
    def to_begin() -> Iterator[tuple[int, Any]]:
        for k, item in enumerate(items):
            if until is not None and until.reason() is not None:
                return
            yield k, item

    waiting = to_begin()
    told: set[tuple[str, type[Warning]]] = set()
    errors: dict[int, AmorphError] = {}
    for _ in range(IN_HAND):
        for hand in hands:
            hand.give(waiting)
    while any(hand.tasks for hand in hands):
        busy = {hand.pipe: hand for hand in hands if hand.tasks}
        for pipe in multiprocessing.connection.wait(list(busy)):
            hand = busy[pipe]
            kind, value = hand.receive()
            if kind == "warned":
                if value not in told:
                    told.add(value)
                    text, category = value
                    warnings.warn(text, category, stacklevel=2)
                continue
            if kind == "failed":
                raise value
            k, _ = hand.tasks.popleft()
            if isinstance(value, AmorphError):
                errors[k] = value
            if not errors:
                hand.give(waiting)
            if k not in errors:
                yield k, value
    if errors:  # items are begun in their order: none before this one is unknown
        raise errors[min(errors)]


class _Hand:
    """A worker process as the parent sees it."""

    def __init__(self, process: Any, pipe: Any) -> None:
        self.process = process
        self.pipe = pipe
        self.tasks: deque[Any] = deque()

    def give(self, waiting: Iterator[Any]) -> None:
        for task in waiting:
            self.tasks.append(task)
            try:
                self.pipe.send(task[1])
            except (BrokenPipeError, ConnectionResetError):
                self._raise_dead()
            return

    def receive(self) -> tuple[str, Any]:
        try:
            found: tuple[str, Any] = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._raise_dead()
        return found

    def _raise_dead(self) -> NoReturn:
        self.process.join()
        item = self.tasks[0][1] if self.tasks else None
        raise WorkerDied(item, self.process.exitcode) from None


def _serve(plugins: tuple[Plugin, ...], pickled: bytes, pipe: Any) -> None:
    """Work until the parent has no more to do, or is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def pass_on(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        try:
            pipe.send(("warned", (str(message), category)))
        except (pickle.PicklingError, AttributeError):  # of a class that has no name
            pipe.send(("warned", (f"{category.__name__}: {message}", UserWarning)))

    warnings.showwarning = pass_on
    try:
        run_all(plugins)
        function, shared = pickle.loads(pickled)
        while True:
            pipe.send(("done", tried(None, function, shared, pipe.recv())))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except BaseException as error:
        if not isinstance(error, AmorphError):
            error = WorkerError(f"a worker process failed:\n{traceback.format_exc()}")
        with contextlib.suppress(OSError):  # the parent may be gone
            pipe.send(("failed", error))


def _end_with_parent() -> None:
    """End this process as soon as its parent has ended, in the middle of a task too."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
