"""Whose turn it is: the caller's who has had the least so far.

Each caller's things come in the order in which they came in. Between callers, what counts is the cost of what each
has had (start-time fair queuing: Goyal, Vin, Cheng, "Start-time Fair Queuing", SIGCOMM 1996). Who begins to wait
starts level with those who are served, so nobody saves up turns by staying away, and nobody else waits for that.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush, nlargest
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST_REMEMBERED = 1024


class Accounts:
    """What each caller has had so far, and where those stand who are served."""

    def __init__(self) -> None:
        self.had: dict[str, float] = {}
        self.level = 0.0

    def charge(self, caller: str, cost: float) -> None:
        """Add to what a caller has had."""
        self.had[caller] = self.had.get(caller, self.level) + cost
        if len(self.had) > 2 * _MOST_REMEMBERED:
            # Who is forgotten starts level with the others, and these are the nearest to that.
            self.had = {each: self.had[each] for each in nlargest(_MOST_REMEMBERED, self.had, self.had.__getitem__)}


class Turns(Generic[T]):
    """Things that wait for their callers' turns. Several may share the accounts, but no threads."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._waiting: dict[str, deque[T]] = {}
        self._order: list[tuple[float, int, str]] = []  # one entry for each caller who waits, with what it had then
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, caller: str, thing: T) -> None:
        """Let a thing wait behind its caller's others."""
        waiting = self._waiting.get(caller)
        if waiting is None:
            waiting = self._waiting[caller] = deque()
            self._queue(caller)
        waiting.append(thing)

    def standing(self) -> float | None:
        """Return what the next caller has had so far; None if nothing waits."""
        while self._order:
            stood, _, caller = self._order[0]
            had = self._accounts.had.get(caller, stood)
            if had <= stood:
                return stood
            heappop(self._order)
            self._queue(caller)
        return None

    def first(self) -> T:
        """Return what `take` would take.

        Raises:
            LookupError: nothing waits.
        """
        if self.standing() is None:
            raise LookupError("nothing waits")
        return self._waiting[self._order[0][2]][0]

    def take(self, cost: float) -> T:
        """Take the next thing, and charge its caller.

        Raises:
            LookupError: nothing waits.
        """
        stood = self.standing()
        if stood is None:
            raise LookupError("nothing waits")
        _, _, caller = heappop(self._order)
        waiting = self._waiting[caller]
        thing = waiting.popleft()
        self._accounts.level = max(self._accounts.level, stood)
        self._accounts.had[caller] = stood
        self._accounts.charge(caller, cost)
        if waiting:
            self._queue(caller)
        else:
            del self._waiting[caller]
        return thing

    def _queue(self, caller: str) -> None:
        self._count += 1  # among equals, who has waited longer
        stands = max(self._accounts.level, self._accounts.had.get(caller, 0.0))
        heappush(self._order, (stands, self._count, caller))
