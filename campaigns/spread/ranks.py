"""Spreading work over MPI ranks, so that results do not depend on how many there are.

Each rank begins with one item; the root hands out the others one at a time, to itself and to the
ranks, by a thread of its own: all work, and none waits for another's long item. Results come back
in the order of the items, and with them what the ranks warned of. A rank that fails in a way that
has no name takes the job down with its traceback; one that is interrupted ends it with all others.
"""

import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from amorph.handover import AmorphError, InputError

from ..inputs.plugins import loaded, run_all
from .launched import launched_size, release_interrupts
from .stopping import Interrupt

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["MPIRanks", "OneRank", "Ranks", "world"]

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
# What a rank warns of: the text and its category.
Told = dict[tuple[str, type[Warning]], None]

_ASK, _GIVE = 1, 2
# How often the root's thread looks for a rank that asks for work, s: little beside any item.
_LOOK = 2e-4


class Ranks(ABC):
    """A group of ranks that work on one thing; the root decides, and the others serve it."""

    size: int
    is_root: bool
    interrupt: Interrupt | None = None
    """How Ctrl-C is noted, where it may not simply end this process."""

    @abstractmethod
    def agree(self, error: AmorphError | None) -> None:
        """Go on, unless a rank has an error: then the root raises the first, and the others end.

        Called by all, with what each of them has.
        """

    @abstractmethod
    def map(
        self, function: Callable[..., Result], shared: Shared, items: Sequence[Item]
    ) -> list[Result]:
        """function(shared, item) of each item, in their order; called by the root alone.

        Leaders of groups call function(shared, item, group). `function` is a module's own, all is
        pickled. An `AmorphError` is raised here once all items are done: that of the first item
        that had one; `InterruptError` once those at work have ended, where a rank is interrupted.
        """

    @abstractmethod
    def serve(self) -> None:
        """Work for the root until it calls `dismiss`; called by all others."""

    @abstractmethod
    def dismiss(self) -> None:
        """Let the others go; called by the root."""


class OneRank(Ranks):
    """A process on its own."""

    size = 1
    is_root = True

    def __init__(self, interrupt: Interrupt | None = None) -> None:
        self.interrupt = interrupt

    def agree(self, error: AmorphError | None) -> None:
        """As `Ranks.agree`."""
        if error is not None:
            raise error

    def map(
        self, function: Callable[..., Result], shared: Shared, items: Sequence[Item]
    ) -> list[Result]:
        """As `Ranks.map`."""
        return _results([_tried(self.interrupt, function, shared, item) for item in items])

    def serve(self) -> None:
        """Nothing to do: there are no others."""

    def dismiss(self) -> None:
        """Nothing to do: there are no others."""


class MPIRanks(Ranks):
    """The ranks of an MPI communicator, the first of them the root."""

    interrupt: Interrupt

    def __init__(
        self, comm: "MPI.Comm", group: Ranks | None = None, interrupt: Interrupt | None = None
    ) -> None:
        self._comm = comm
        self._group = () if group is None else (group,)
        self.interrupt = interrupt or Interrupt()
        self.size = comm.Get_size()
        self.is_root = comm.Get_rank() == 0

    def agree(self, error: AmorphError | None) -> None:
        """As `Ranks.agree`."""
        if self.interrupt.noted:
            error = self.interrupt.error()
        self._meet()
        for rank, found in enumerate(self._comm.allgather(error)):
            if found is None:
                continue
            if not self.is_root:
                raise SystemExit(0)  # the root tells, and has the exit status
            raise found if rank == 0 else type(found)(f"rank {rank}: {found}")

    def map(
        self, function: Callable[..., Result], shared: Shared, items: Sequence[Item]
    ) -> list[Result]:
        """As `Ranks.map`."""
        assert self.is_root
        self._tell((function, shared, items))
        hand_out = _HandOut(self._comm, len(items), self.interrupt)
        if hand_out.needed:
            hand_out.start()
        found: dict[int, Any] = {}
        k = 0 if items else None
        while k is not None:
            found[k] = self._worked(function, shared, items[k])
            k = hand_out.next()
        if hand_out.needed:
            hand_out.join()
        self._meet()
        told: Told = {}
        for part, warned in self._comm.gather(({}, {}), 0) or ():
            found.update(part)
            told.update(warned)
        for text, category in told:
            warnings.warn(text, category, stacklevel=2)
        if len(found) < len(items):  # the rest was not handed out
            raise self.interrupt.error()
        return _results([found[k] for k in range(len(items))])

    def serve(self) -> None:
        """As `Ranks.serve`."""
        with _warnings_collected() as told:
            while (work := self._tell(None)) is not None:
                function, shared, items = work
                found: dict[int, Any] = {}
                rank = self._comm.Get_rank()
                k = rank if rank < len(items) else None
                while k is not None:
                    found[k] = self._worked(function, shared, items[k])
                    k = self._asked() if len(items) > self.size else None
                self._meet()
                self._comm.gather((found, told), 0)
                told.clear()

    def dismiss(self) -> None:
        """As `Ranks.dismiss`."""
        self._tell(None)

    def _asked(self) -> int | None:
        """The number of an item nobody has, from the root, which hears of an interrupt here."""
        self._comm.send(self.interrupt.noted, 0, _ASK)
        k: int | None = self._comm.recv(source=0, tag=_GIVE)
        return k

    def _worked(self, function: Callable[..., Any], shared: Any, item: Any) -> Any:
        """As `_tried`; an error without a name ends the job, before anybody waits for this rank."""
        # An item that is a group's work ends with one of the group's own items.
        interrupt = None if self._group else self.interrupt
        try:
            return _tried(interrupt, function, shared, item, *self._group)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            self._comm.Abort(1)
            raise

    def _meet(self) -> None:
        """Wait for all ranks, asleep: MPI itself waits at full speed."""
        request = self._comm.Ibarrier()
        while not request.Test():
            time.sleep(_LOOK)

    def _tell(self, value: Any) -> Any:
        """The root's value, on every rank; plug-ins that it may need are run before."""
        self._meet()
        if self.is_root:
            self._comm.bcast((loaded(), pickle.dumps(value, pickle.HIGHEST_PROTOCOL)), 0)
            return value
        plugins, data = self._comm.bcast(None, 0)
        run_all(plugins)
        return pickle.loads(data)

    def groups(self, number: int) -> tuple["Ranks | None", "Ranks"]:
        """Divide the ranks into groups of nearly one size.

        Returns the ranks that lead a group each (None for one that does not) and this rank's own
        group; this root leads its group and the leaders.
        """
        from mpi4py import MPI

        rank = self._comm.Get_rank()
        group = self._comm.Split(rank * number // self.size, rank)
        leads = group.Get_rank() == 0
        leaders = self._comm.Split(0 if leads else MPI.UNDEFINED, rank)
        alone = group.Get_size() == 1
        own = OneRank(self.interrupt) if alone else MPIRanks(group, None, self.interrupt)
        return (MPIRanks(leaders, own, self.interrupt) if leads else None), own

    def told(self, value: Item) -> Item:
        """The root's value, on every rank; called by all."""
        out: Item = self._tell(value)
        return out


class _HandOut(threading.Thread):
    """Gives the numbers of items to whoever asks: the root by `next`, the others by message.

    Each rank begins with the item of its own number, unasked; with no more items than ranks that
    is all, and no thread is `needed`.
    """

    def __init__(self, comm: "MPI.Comm", total: int, interrupt: Interrupt) -> None:
        super().__init__(daemon=True)
        self._comm = comm
        self._interrupt = interrupt
        self._total = total
        self._given = min(comm.Get_size(), total)
        self.needed = total > comm.Get_size()
        self._lock = threading.Lock()

    def next(self) -> int | None:
        """The number of an item nobody has, or None if there is none left."""
        with self._lock:
            if self._interrupt.noted:
                return None
            if self._given == self._total:
                return None
            self._given += 1
            return self._given - 1

    def run(self) -> None:
        """Answer each of the others until all were told that there is no more."""
        from mpi4py import MPI

        left = self._comm.Get_size() - 1
        state = MPI.Status()
        while left:
            if not self._comm.iprobe(MPI.ANY_SOURCE, _ASK, state):
                time.sleep(_LOOK)
                continue
            rank = state.Get_source()
            if self._comm.recv(source=rank, tag=_ASK):
                self._interrupt.hear()
            k = self.next()
            left -= k is None
            self._comm.send(k, rank, _GIVE)


def _tried(interrupt: Interrupt | None, function: Callable[..., Any], *arguments: Any) -> Any:
    """A result, or the named error that stands for it."""
    try:
        if interrupt is None:
            return function(*arguments)
        with interrupt.working():
            return function(*arguments)
    except AmorphError as error:
        return error
    except KeyboardInterrupt:
        if interrupt is None:
            raise
        return interrupt.error()


@contextmanager
def _warnings_collected() -> Iterator[Told]:
    """Collect the warnings of the block, for the root to say."""
    told: Told = {}

    def note(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        told[str(message), category] = None

    before = warnings.showwarning
    warnings.showwarning = note
    try:
        yield told
    finally:
        warnings.showwarning = before


def _results(found: list[Any]) -> list[Any]:
    for result in found:
        if isinstance(result, AmorphError):
            raise result
    return found


def world() -> Ranks:
    """All ranks this process was started with: one, or those of mpiexec.

    Under mpiexec an error without a name on any rank ends the whole job, and Ctrl-C is noted (see
    `Interrupt`).
    """
    try:
        return _world()
    finally:
        release_interrupts()  # one that was held comes now, and is noted if there are ranks


def _world() -> Ranks:
    size = launched_size()
    if size == 1:
        return OneRank()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the latter without an MPI library
        raise InputError(
            f"started on {size} ranks, but mpi4py cannot be imported ({error}): install it and "
            "an MPI (pip install 'amorph[mpi]'), or start without mpiexec."
        ) from error
    comm = MPI.COMM_WORLD
    if comm.Get_size() == 1:
        raise InputError(
            f"started as one of {size} processes, but MPI sees one: each would do all of the "
            "work. Start with the mpiexec of the MPI that mpi4py uses; in SLURM, with an srun "
            "that can start that MPI (srun --mpi=list)."
        )
    # Or a rank that asks for work waits while the root's own work holds the interpreter (5 ms).
    sys.setswitchinterval(_LOOK)

    def end(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        traceback.print_exception(kind, error, trace)
        sys.stderr.flush()
        comm.Abort(1)

    sys.excepthook = end
    ranks = MPIRanks(comm)
    signal.signal(signal.SIGINT, ranks.interrupt.note)
    return ranks
