"""The ranks of MPI as a team: the root hands out items one at a time, to itself and to the ranks.

Each rank begins with one item; the others are handed out by a thread of the root's: all work, and
none waits for another's long item. A result goes to the root with the question for the next item,
and with it what the rank warned of. A rank that fails in a way that has no name takes the job down
with its traceback; one that is interrupted ends it with all others.
"""

import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from amorph.handover import AmorphError, InputError

from ..inputs.plugins import loaded, run_all
from .launched import launched_size, release_interrupts
from .stopping import Interrupt, Until
from .teams import OneRank, Team, tried

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["MPIRanks", "world"]

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
# What a rank warns of: the text and its category.
Told = dict[tuple[str, type[Warning]], None]

_DONE, _GIVE = 1, 2
# How often the root looks for a rank that has done its item, s: little beside any item.
_LOOK = 2e-4
# How long mpiexec is given to read what was written, s: once it is to end the job it may not.
_READ = 0.1


class MPIRanks(Team):
    """The ranks of an MPI communicator, the first of them the root."""

    interrupt: Interrupt

    def __init__(
        self,
        comm: "MPI.Comm",
        group: Team | None = None,
        interrupt: Interrupt | None = None,
        until: Until | None = None,
    ) -> None:
        self._comm = comm
        self._group = () if group is None else (group,)
        self.interrupt = interrupt or Interrupt()
        self.until = until or Until(None, self.interrupt)
        self.size = comm.Get_size()
        self.is_root = comm.Get_rank() == 0

    def agree(self, error: AmorphError | None) -> None:
        """As `Team.agree`."""
        if self.interrupt.noted:
            error = self.interrupt.error()
        self._meet()
        for rank, found in enumerate(self._comm.allgather(error)):
            if found is None:
                continue
            if not self.is_root:
                raise SystemExit(0)  # the root tells, and has the exit status
            raise found if rank == 0 else type(found)(f"rank {rank}: {found}")

    def each(
        self,
        function: Callable[..., Result],
        shared: Shared,
        items: Sequence[Item],
        *,
        stopping: str | None = None,
    ) -> Generator[tuple[int, Result], None, None]:
        """As `Team.each`."""
        assert self.is_root
        if not items:
            return
        self._tell((function, shared, items))
        stops = self.until if stopping is not None else None
        desk = _Desk(self._comm, len(items), self.interrupt, stops)
        try:
            k: int | None = 0
            while k is not None:
                desk.take(k, self._worked(function, shared, items[k]))
                yield from desk.results()
                k = desk.next()
            while not desk.closed():
                time.sleep(_LOOK)
                yield from desk.results()
            yield from desk.results()
        finally:
            desk.close()  # also where nobody wants the rest
        for text, category in desk.told:
            warnings.warn(text, category, stacklevel=2)
        desk.raise_errors()
        if stopping is not None and not desk.done():
            self.until.check(stopping)

    def serve(self) -> None:
        """As `Team.serve`."""
        rank = self._comm.Get_rank()
        with _warnings_collected() as told:
            while (work := self._tell(None)) is not None:
                function, shared, items = work
                k = rank if rank < len(items) else None
                while k is not None:
                    result = self._worked(function, shared, items[k])
                    self._comm.send((k, result, dict(told), self.interrupt.noted), 0, _DONE)
                    told.clear()
                    asks = len(items) > self.size
                    k = self._comm.recv(source=0, tag=_GIVE) if asks else None

    def dismiss(self) -> None:
        """As `Team.dismiss`."""
        self._tell(None)

    def _worked(self, function: Callable[..., Any], shared: Any, item: Any) -> Any:
        """As `tried`; an error without a name ends the job, before anybody waits for this rank."""
        # An item that is a group's work ends with one of the group's own items.
        interrupt = None if self._group else self.interrupt
        try:
            return tried(interrupt, function, shared, item, *self._group)
        except BaseException:
            self._end_all()
            raise

    def _meet(self) -> None:
        """Wait for all ranks, asleep: MPI itself waits at full speed."""
        request = self._comm.Ibarrier()
        while not request.Test():
            time.sleep(_LOOK)

    def _tell(self, value: Any) -> Any:
        """The root's value, on every rank; plug-ins that it may need are run before."""
        if self.is_root:
            # What cannot be pickled raises before the others are met, and go on waiting.
            data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            self._meet()
            self._comm.bcast((loaded(), data), 0)
            return value
        self._meet()
        plugins, data = self._comm.bcast(None, 0)
        try:
            run_all(plugins)
            return pickle.loads(data)
        except BaseException:
            self._end_all()
            raise

    def _end_all(self) -> None:
        """End the job, with the traceback of what has no name here, before anybody waits for it."""
        traceback.print_exc()
        _abort(self._comm)

    def told(self, value: Item) -> Item:
        """As `Team.told`."""
        out: Item = self._tell(value)
        return out

    def divided(self, groups: int) -> tuple[Team | None, Team]:
        """As `Team.divided`."""
        groups = self.told(groups)
        if groups == 0:
            return None, OneRank(None, self.until)
        if groups == 1:
            return None, self
        from mpi4py import MPI

        rank = self._comm.Get_rank()
        comm = self._comm.Split(rank * groups // self.size, rank)
        leads = comm.Get_rank() == 0
        leaders = self._comm.Split(0 if leads else MPI.UNDEFINED, rank)
        own: Team = (
            OneRank(self.interrupt, self.until)
            if comm.Get_size() == 1
            else MPIRanks(comm, None, self.interrupt, self.until)
        )
        return (MPIRanks(leaders, own, self.interrupt, self.until) if leads else None), own


class _Desk:
    """The root's: gives the numbers of items to whoever asks, and takes what comes back.

    Each rank begins with the item of its own number, unasked. With no more items than ranks that is
    all, and the root itself takes the results once its own is done; else a thread does.
    """

    def __init__(
        self, comm: "MPI.Comm", total: int, interrupt: Interrupt, until: Until | None
    ) -> None:
        self._comm = comm
        self._until = until
        self._interrupt = interrupt
        self._total = total
        self._given = min(comm.Get_size(), total)
        self._busy = self._given - 1
        self._answers = total > comm.Get_size()
        self._lock = threading.Lock()
        self._results: deque[tuple[int, Any]] = deque()
        self._errors: dict[int, AmorphError] = {}
        self._taken = 0
        self._stopped = False
        self.told: Told = {}
        self._thread = threading.Thread(target=self._attend, daemon=True)
        if self._answers:
            self._thread.start()

    def next(self) -> int | None:
        """The number of an item nobody has; None if none is left, or none is to be begun."""
        with self._lock:
            if self._until is not None and self._until.reason() is not None:
                self._stopped = True
            none = self._stopped or self._errors or self._interrupt.noted
            if none or self._given == self._total:
                return None
            self._given += 1
            return self._given - 1

    def take(self, k: int, result: Any) -> None:
        """Keep a result, or the error in its place."""
        with self._lock:
            if isinstance(result, AmorphError):
                self._errors[k] = result
            else:
                self._results.append((k, result))
                self._taken += 1

    def results(self) -> Iterator[tuple[int, Any]]:
        """The results that have come since the last call, with their items' numbers."""
        while self._results:
            yield self._results.popleft()

    def done(self) -> bool:
        """Whether every item has its result."""
        return self._taken == self._total

    def closed(self) -> bool:
        """Whether all ranks have given what they had; without a thread one is heard of here."""
        if not self._answers and self._busy:
            self._hear()
        return not self._busy

    def close(self) -> None:
        """Begin nothing more, and wait for what is at work."""
        self._stopped = True
        while not self.closed():
            time.sleep(_LOOK)
        if self._answers:
            self._thread.join()

    def raise_errors(self) -> None:
        """Raise the first item's error, or that a rank was interrupted before all was done."""
        if not self.done() and self._interrupt.noted:
            raise self._interrupt.error()
        # Items are begun in their order: none before this one is unknown.
        if self._errors:
            raise self._errors[min(self._errors)]

    def _attend(self) -> None:
        try:
            while self._busy:
                if not self._hear():
                    time.sleep(_LOOK)
        except BaseException:
            traceback.print_exc()
            _abort(self._comm)

    def _hear(self) -> bool:
        """Take a rank's result and give it another item, if one has something to tell."""
        from mpi4py import MPI

        state = MPI.Status()
        if not self._comm.iprobe(MPI.ANY_SOURCE, _DONE, state):
            return False
        rank = state.Get_source()
        k, result, told, interrupted = self._comm.recv(source=rank, tag=_DONE)
        if interrupted:
            self._interrupt.hear()
        self.told.update(told)
        self.take(k, result)
        following = self.next() if self._answers else None
        if self._answers:
            self._comm.send(following, rank, _GIVE)
        self._busy -= following is None
        return True


def _abort(comm: "MPI.Comm") -> None:
    """End the job on all ranks, after what was written has gone out."""
    sys.stderr.flush()
    time.sleep(_READ)
    comm.Abort(1)


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


def world() -> Team:
    """All ranks this process was started with: one, or those of mpiexec.

    Under mpiexec an error without a name on any rank ends the whole job, and Ctrl-C is noted (see
    `Interrupt`).
    """
    try:
        return _world()
    finally:
        release_interrupts()  # one that was held comes now, and is noted if there are ranks


def _world() -> Team:
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
        _abort(comm)

    sys.excepthook = end
    ranks = MPIRanks(comm)
    signal.signal(signal.SIGINT, ranks.interrupt.note)
    return ranks
