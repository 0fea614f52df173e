# Generated from exemplar/aio/coalescing.py by `make proto`: change that, not this.
"""Single calls that are made at the same time travel as one batch.

Promises: a call goes out at once, as without this module, where none of its kind is under way. While one is, calls of
that kind gather; they go out together when it is answered, when they fill a message, or when the first of them has
waited as long as it may. Whoever waits has a deadline of its own and may give up at any time; a batch that nobody
waits for any more is cancelled.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections import Counter
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Any, Protocol

from google.protobuf.message import Message

from exemplar.batching import MAX_ITEM_BYTES, MAX_ITEMS


class UnderWay(Protocol):
    """A request that was sent: a task or a gRPC future."""

    def add_done_callback(self, done: Callable[[Any], None], /) -> object:
        """Have a function called with it when it has ended."""

    def cancel(self) -> object:
        """End it."""


Send = Callable[[list[Any], float], UnderWay]
"""Sends items as one request, with a deadline in seconds."""


class Waiting:
    """A single call: what it sends, when it gives up (by the monotonic clock), and its place in its batch."""

    def __init__(self, item: Message, deadline: float) -> None:
        self.item = item
        self.deadline = deadline
        self.size = item.ByteSize()
        self.place = 0


class Batch:
    """Calls that go out together; `over` is done when `response` or `error` is there."""

    def __init__(self, kind: Hashable, send: Send) -> None:
        self.kind = kind
        self.send = send
        self.waiting: list[Waiting] = []
        self.room = MAX_ITEM_BYTES
        self.gone = 0
        self.under_way: UnderWay | None = None
        self.over: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.response: Any = None
        self.error: BaseException | None = None


class Coalescer:
    """Gathers calls of any kind; those of one kind can be items of one request."""

    def __init__(self, longest: float) -> None:
        """Prepare for calls that wait for company for so many seconds at most."""
        self._longest = longest
        # Threads share a client; in an event loop nobody ever waits for the lock.
        self._lock = threading.Lock()
        self._gathering: dict[Hashable, Batch] = {}
        self._under_way: Counter[Hashable] = Counter()

    def begin(self, kind: Hashable) -> bool:
        """Tell whether a call should go by itself, since none of its kind is under way; `end` comes after it."""
        with self._lock:
            if self._under_way[kind]:
                return False
            self._under_way[kind] = 1
            return True

    def end(self, kind: Hashable) -> None:
        """Tell that a call or a batch has ended: those that have gathered follow."""
        following = None
        with self._lock:
            self._under_way[kind] -= 1
            if not self._under_way[kind]:
                del self._under_way[kind]
            if kind in self._gathering:
                following = self._depart(self._gathering[kind])
        if following is not None:
            self._start(following)

    def answer(self, kind: Hashable, item: Message, send: Send, seconds: float) -> Any:
        """Send an item, by itself or with others.

        Args:
            kind: What calls must have in common to share a request.
            item: What is sent.
            send: Sends items of that kind.
            seconds: The deadline.

        Returns:
            Its entry of the response's `results`, or the error that the whole request met (not raised: others have
            the same one).

        Raises:
            TimeoutError: There was no answer by then.
        """
        waiting = Waiting(item, monotonic() + seconds)
        batch, first = self._join(kind, waiting, send)
        try:
            if first and self._longest < seconds:  # it sees to it that the batch goes out
                concurrent.futures.wait([batch.over], timeout=self._longest)
                self._send(batch)
            concurrent.futures.wait([batch.over], timeout=waiting.deadline - monotonic())
        finally:
            self._leave(batch, waiting)
        if not batch.over.done():
            raise TimeoutError
        return batch.response.results[waiting.place] if batch.error is None else batch.error

    def _join(self, kind: Hashable, waiting: Waiting, send: Send) -> tuple[Batch, bool]:
        """Put a call into a batch; tell whether it is the first of one that still gathers."""
        leaving = []
        with self._lock:
            batch = self._gathering.get(kind)
            if batch is not None and waiting.size > batch.room:
                leaving.append(self._depart(batch))
                batch = None
            if batch is None:
                batch = self._gathering[kind] = Batch(kind, send)
            batch.waiting.append(waiting)
            batch.room -= waiting.size
            if not self._under_way[kind] or len(batch.waiting) == MAX_ITEMS:
                leaving.append(self._depart(batch))
            first = batch.waiting[0] is waiting and batch not in leaving
        for each in leaving:
            self._start(each)
        return batch, first

    def _leave(self, batch: Batch, waiting: Waiting) -> None:
        """Take out a call that is answered or has given up."""
        abandoned = leaving = None
        with self._lock:
            if self._gathering.get(batch.kind) is batch:
                first = batch.waiting[0] is waiting
                batch.waiting.remove(waiting)
                batch.room += waiting.size
                if not batch.waiting:
                    del self._gathering[batch.kind]
                elif first:
                    leaving = self._depart(batch)
            else:
                batch.gone += 1
                if batch.gone == len(batch.waiting) and not batch.over.done():
                    abandoned = batch.under_way
        if leaving:
            self._start(leaving)
        if abandoned:
            abandoned.cancel()

    def _send(self, batch: Batch) -> None:
        """Send a batch if it still gathers."""
        with self._lock:
            if self._gathering.get(batch.kind) is not batch:
                return
            self._depart(batch)
        self._start(batch)

    def _depart(self, batch: Batch) -> Batch:
        """Close a batch, under the lock; it has to be started next, without the lock."""
        del self._gathering[batch.kind]
        self._under_way[batch.kind] += 1
        for place, waiting in enumerate(batch.waiting):
            waiting.place = place
        return batch

    def _start(self, batch: Batch) -> None:
        seconds = max(waiting.deadline for waiting in batch.waiting) - monotonic()
        try:
            batch.under_way = batch.send([waiting.item for waiting in batch.waiting], seconds)
        except Exception as error:  # noqa: BLE001 - it is the answer of all who wait
            self._finish(batch, error)
        else:
            batch.under_way.add_done_callback(lambda call: self._ended(batch, call))

    def _ended(self, batch: Batch, call: Any) -> None:
        error = concurrent.futures.CancelledError() if call.cancelled() else call.exception()
        if error is None:
            batch.response = call.result()
        self._finish(batch, error)

    def _finish(self, batch: Batch, error: BaseException | None) -> None:
        batch.error = error
        batch.over.set_result(None)
        self.end(batch.kind)
