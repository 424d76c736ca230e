"""Who computes: the one `map` by which every study spreads its items.

A team is this process alone, the ranks of MPI (`amorph.campaigns.spread.ranks`) or processes of
this machine (`amorph.campaigns.spread.processes`). What comes out does not depend on which of them
it is, nor on how many there are.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, TypeVar

from amorph.handover import AmorphError

from .stopping import Interrupt, Until

__all__ = ["OneRank", "Team", "tried"]

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Team(ABC):
    """Those who compute items of work; the root decides, and the others serve it.

    Attributes
    ----------
    size:
        How many there are.
    is_root:
        Whether this is the one that decides.
    interrupt:
        How Ctrl-C is noted, where it may not simply end this process.
    until:
        When this process is to stop; every rank has its own.
    """

    size: int = 1
    is_root: bool = True
    interrupt: Interrupt | None = None
    until: Until

    @abstractmethod
    def each(
        self,
        function: Callable[..., Result],
        shared: Shared,
        items: Sequence[Item],
        *,
        stopping: str | None = None,
    ) -> Generator[tuple[int, Result], None, None]:
        """(k, function(shared, items[k])) of every item, as they come; called by the root alone.

        `function` is a module's own, all is pickled; what a process keeps in `shared` from one
        item to the next is its own. Leaders of groups call function(shared, item, group).

        With `stopping`, the name of what is at work, no more are begun once `until` says so:
        `StoppedError` in that name is raised after what was at work.

        Raises the `AmorphError` of the first item that had one, once those at work have ended: no
        others are begun then, and whatever came before was given. `InterruptError` where a rank is
        interrupted. To be closed (`contextlib.closing`) where it is not read to its end.
        """

    def map(
        self, function: Callable[..., Result], shared: Shared, items: Sequence[Item]
    ) -> list[Result]:
        """The results of `each`, in the order of the items."""
        with closing(self.each(function, shared, items)) as results:
            found = dict(results)
        return [found[k] for k in range(len(items))]

    def agree(self, error: AmorphError | None) -> None:
        """Go on, unless a rank has an error: then the root raises the first, and the others end.

        Called by all, with what each of them has.
        """
        if error is not None:
            raise error

    def serve(self) -> None:
        """Work for the root until it calls `dismiss`; called by all others."""
        return

    def dismiss(self) -> None:
        """Let the others go; called by the root."""
        return

    def told(self, value: Item) -> Item:
        """The root's value, on every rank; called by all."""
        return value

    def divided(self, groups: int) -> "tuple[Team | None, Team]":
        """Divide into groups of nearly one size, as many as the root says; called by all.

        Returns those who lead a group each, where there are several groups and this is one of them,
        and this one's own group; the root leads its group and the leaders. Of no groups nobody has
        work: each is on its own.
        """
        return None, self


class OneRank(Team):
    """A process on its own."""

    def __init__(self, interrupt: Interrupt | None = None, until: Until | None = None) -> None:
        self.interrupt = interrupt
        self.until = until or Until()

    def each(
        self,
        function: Callable[..., Result],
        shared: Shared,
        items: Sequence[Item],
        *,
        stopping: str | None = None,
    ) -> Generator[tuple[int, Result], None, None]:
        """As `Team.each`."""
        for k, item in enumerate(items):
            if stopping is not None:
                self.until.check(stopping)
            result = tried(self.interrupt, function, shared, item)
            if isinstance(result, AmorphError):
                raise result
            yield k, result


def tried(interrupt: Interrupt | None, function: Callable[..., Any], *arguments: Any) -> Any:
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
