"""Worker processes: tasks handed out a few at a time, results as they come.

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
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, NoReturn, Self, TypeVar

from amorph.handover import AmorphError, InputError

from ..errors import WorkerError
from ..inputs.plugins import Plugin, loaded, run_all

__all__ = ["WorkerDied", "Workers", "available_cores"]

Task = TypeVar("Task")
Result = TypeVar("Result")
# Tasks a worker is given at a time: one at work, one waiting, so that it never waits for us.
IN_HAND = 2


def available_cores() -> int:
    """The number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerDied(Exception):
    """A worker process ended by itself: the task it had, if any, and its exit status."""

    def __init__(self, task: Any, status: int | None) -> None:
        super().__init__(task, status)
        self.task = task
        self.status = status

    @property
    def how(self) -> str:
        """Its end, in words."""
        if self.status is not None and self.status < 0:
            with contextlib.suppress(ValueError):
                name = signal.Signals(-self.status).name
                memory = " (out of memory, perhaps)" if name == "SIGKILL" else ""
                return f"was ended by {name}{memory}"
        return f"ended with exit status {self.status}"


class Workers(Generic[Task, Result]):
    """Processes that compute the same function of different tasks.

    Parameters
    ----------
    n:
        How many.
    make:
        Called in each with `argument`: returns the function of a task. Both must be picklable.

    Use as a context manager, at whose end the processes are ended, whatever they are doing.
    """

    def __init__(
        self, n: int, make: Callable[[Any], Callable[[Task], Result]], argument: Any
    ) -> None:
        if n < 1:
            raise InputError(f"workers = {n}: it must be at least 1.")
        self._hands: list[_Hand] = []
        context = multiprocessing.get_context("spawn")
        # Ctrl-C reaches every process of a terminal: blocked in the workers, it is ours to act on.
        held = {signal.SIGINT}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
        try:
            for _ in range(n):
                ours, theirs = context.Pipe()
                # Pickled by itself: plug-ins are run before what they define is unpickled.
                work = pickle.dumps((make, argument))
                process = context.Process(
                    target=_serve, args=(loaded(), work, theirs), daemon=True, name="amorph-worker"
                )
                process.start()
                theirs.close()
                self._hands.append(_Hand(process, ours))
        except BaseException:
            self.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Result]]:
        """Results as they come, in any order; at most `IN_HAND` tasks a worker are under way.

        Raises
        ------
        WorkerDied
            A process ended by itself.
        AmorphError
            A task failed with a named error.
        WorkerError
            A task failed otherwise; the message has the traceback.
        """
        waiting = iter(tasks)
        told: set[tuple[str, type[Warning]]] = set()
        hands = self._hands
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
                task = hand.tasks.popleft()
                hand.give(waiting)
                yield task, value

    def close(self) -> None:
        """End the processes at once."""
        for hand in self._hands:
            hand.process.kill()
        for hand in self._hands:
            hand.process.join()
            hand.pipe.close()
        self._hands = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


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
                self.pipe.send(task)
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
        raise WorkerDied(self.tasks[0] if self.tasks else None, self.process.exitcode) from None


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
        make, argument = pickle.loads(pickled)
        work = make(argument)
        while True:
            pipe.send(("done", work(pipe.recv())))
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
