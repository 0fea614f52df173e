"""The one way in for changes: a bounded queue, and a thread that commits what waits in groups.

A group is one transaction, with one wait for the disk. In it each change is made by itself, in the order of their
coming, and sees those before it; one that is refused costs only itself. Nobody is told anything before the group is
on disk and in the indexes. A change whose caller has given up is not begun.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, TypeVar

import structlog

from exemplar_server.call import this_call
from exemplar_server.errors import ResourceExhaustedError, ServiceError, UnavailableError
from exemplar_server.metrics import Metrics
from exemplar_server.readiness import Readiness
from exemplar_server.store import GalleryStore, Request
from exemplar_server.store.gallery_store import SearchedGalleries

_log = structlog.get_logger()

T = TypeVar("T")

# PostgreSQL keeps track of so many savepoints cheaply; and by then the wait for the disk is shared by enough.
_MOST = 64

# Why a change may fail through no fault of its own, and how long that lasts is told.
_CONDITIONS = {
    "DISK_FULL": "disk_full",
    "DISK_FAILING": "read_only",
    "MARK_UNWRITABLE": "read_only",
    "STORE_READ_ONLY": "read_only",
    "STORE_REPLACED": "read_only",
}

# So long a group takes in changes: the first of them waits for the last.
_SECONDS = 0.05


class _Change:
    """A caller's change and its outcome; `done` is touched by the event loop's thread only, but for a look."""

    __slots__ = ("alone", "call", "done", "error", "frees", "gallery", "make", "request_id", "result", "size")

    def __init__(
        self,
        gallery: str,
        make: Callable[[SearchedGalleries], Any],
        request_id: str | None,
        size: int,
        alone: bool,
        frees: bool,
        done: asyncio.Future[Any],
    ) -> None:
        self.gallery = gallery
        self.make = make
        self.request_id = request_id
        self.size = size
        self.alone = alone
        self.frees = frees
        self.done = done
        self.call = this_call()
        self.result: Any = None
        self.error: BaseException | None = None

    def given_up(self, end: float) -> bool:
        """Whether the caller will not wait until `end`, in seconds of `time.monotonic`."""
        return self.done.done() or self.call.expired or self.call.deadline < end

    def run(self, group: SearchedGalleries) -> None:
        """Make it, and keep what came of it."""
        try:
            self.result, self.error = self.make(group), None
        except Exception as error:  # noqa: BLE001 - it is the caller's answer; the group goes on
            self.error = error


class Writer:
    """See the module. Its methods belong to one event loop."""

    def __init__(self, store: GalleryStore, metrics: Metrics, readiness: Readiness, capacity: int = 1024) -> None:
        """Start the thread; call it inside the event loop.

        Args:
            store: where the changes are made.
            metrics: told of groups and times.
            readiness: told when the store takes no more changes, and when it does again.
            capacity: how much to hold at once, counted in images; a change that is larger is taken when nothing else
                is held.
        """
        self._store = store
        self._metrics = metrics
        self._readiness = readiness
        self._capacity = capacity
        self._loop = asyncio.get_running_loop()
        self._held = 0
        self._coming: SimpleQueue[_Change | None] = SimpleQueue()
        self._waiting: deque[_Change] = deque()  # the thread's own
        self._closing = False
        self._seconds_per_image = 0.001
        self._seconds_per_group = 0.01
        metrics.changes_waiting.set_function(lambda: self._held)
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    async def change(
        self,
        gallery: str,
        make: Callable[[SearchedGalleries], T],
        request: Request[Any] | None = None,
        images: int = 0,
        alone: bool = False,
        frees: bool = False,
    ) -> T:
        """Make a change; once this returns it is durable and visible.

        A caller who goes away does not stop what has begun.

        Args:
            gallery: the gallery that it changes.
            make: makes it in the store that is given, in the writer's thread; it may be called again where it was
                undone together with others.
            request: the request that it is made for.
            images: how many it stores.
            alone: whether nothing else is to be in its group: it changes a gallery as a whole.
            frees: whether it deletes something: it is to be made on a full disk too.

        Raises:
            UnavailableError: too much is waiting already, or more than the caller has time for; nothing was changed.
        """
        size = max(1, images)
        request_id = None if request is None else request.id
        change = _Change(gallery, make, request_id, size, alone, frees, self._loop.create_future())
        wait = self._held * self._seconds_per_image
        if self._held and (self._held + size > self._capacity or change.given_up(monotonic() + wait)):
            raise self._too_much()
        self._held += size
        self._coming.put(change)
        result: T = await change.done
        return result

    def close(self) -> None:
        """Finish the group that is being committed, refuse what waits, and end the thread."""
        self._closing = True
        self._coming.put(None)
        self._thread.join()

    def _run(self) -> None:
        while group := self._next_group():
            self._commit(group)

    def _next_group(self) -> list[_Change]:
        """Wait for changes and take those that the first of them can be committed with; none at the end."""
        if not self._waiting:
            self._reclaim()
            if (first := self._coming.get()) is not None:
                self._waiting.append(first)
        try:
            while (change := self._coming.get_nowait()) is not None:
                self._waiting.append(change)
        except Empty:
            pass
        if self._closing:
            self._end(self._waiting, _stopping())
            return []
        first = self._waiting[0]
        # Where other processes change the store too, a group keeps them from its one gallery only.
        group = [
            each
            for each in self._waiting
            if not each.alone and not first.alone and (each.gallery == first.gallery or not self._store.remote)
        ][:_MOST] or [first]
        taken = set(group)
        self._waiting = deque(each for each in self._waiting if each not in taken)
        return group

    def _reclaim(self) -> None:
        """Give back what deletions left, as long as nothing else is to be done."""
        try:
            while self._coming.empty() and self._store.reclaim():
                pass
        except ServiceError as error:  # it can wait, and is tried again after the next change
            _log.warning("space could not be given back", reason=error.message)

    def _commit(self, group: list[_Change]) -> None:
        start = monotonic()
        made: list[_Change] = []
        late: list[_Change] = []
        rest: list[_Change] = []
        try:
            with self._store.together(
                group[0].gallery, [each.request_id for each in group if each.request_id]
            ) as store:
                for number, change in enumerate(group):
                    if made and monotonic() - start > _SECONDS:
                        rest = group[number:]
                        break
                    # The first need not hear of it soon: how long a group takes is learned from those that are made.
                    if change.given_up(start + self._seconds_per_group if made else start):
                        late.append(change)
                    else:
                        made.append(change)
                        change.run(store)
        except UnavailableError as error:
            self._end(group, error)
        except Exception as error:  # noqa: BLE001 - it is the callers' answer; this thread serves others
            if len(group) == 1 and self._made_room([(group[0], error)]):
                self._waiting.appendleft(group[0])
            elif len(group) == 1:  # what the change met says more than that its transaction is gone
                self._end(group, group[0].error or error)
            else:  # nothing of it was committed: each by itself finds out whether it is to blame
                for change in group:
                    self._commit([change])
        else:
            again = self._made_room([(change, change.error) for change in made])
            made = [change for change in made if change not in again]
            self._waiting.extendleft(reversed(again + rest))
            self._learn(monotonic() - start, made)
            self._end(made)
            self._end(late, self._too_much())

    def _made_room(self, outcomes: Sequence[tuple[_Change, BaseException | None]]) -> list[_Change]:
        """Let go of the reserve for deletions that the disk had no room for; those to be made again."""
        wanting = [
            change
            for change, error in outcomes
            if change.frees and isinstance(error, ResourceExhaustedError) and error.reason == "DISK_FULL"
        ]
        return wanting if wanting and self._store.release_reserve() else []

    def _learn(self, seconds: float, made: Sequence[_Change]) -> None:
        if not made:
            return
        self._metrics.commit_seconds.observe(seconds)
        self._metrics.commit_changes.observe(len(made))
        images = sum(change.size for change in made)
        self._seconds_per_image += images / (images + 100) * (seconds / images - self._seconds_per_image)
        self._seconds_per_group += 0.2 * (seconds - self._seconds_per_group)

    def _end(self, changes: Iterable[_Change], error: BaseException | None = None) -> None:
        """Tell the callers what came of their changes; or that it was this error."""
        outcomes = [(change, change.result, error or change.error) for change in changes]
        if outcomes:
            self._tell_condition(outcomes)
            self._loop.call_soon_threadsafe(self._deliver, outcomes)

    def _tell_condition(self, outcomes: Sequence[tuple[_Change, Any, BaseException | None]]) -> None:
        stored = False
        for change, _, error in outcomes:
            stored = stored or (error is None and not change.frees)
            if isinstance(error, ServiceError) and error.reason in _CONDITIONS:
                self._readiness.begin(_CONDITIONS[error.reason], error.message)
                return
        if stored:
            for condition in ("disk_full", "read_only"):
                self._readiness.end(condition)

    def _deliver(self, outcomes: Sequence[tuple[_Change, Any, BaseException | None]]) -> None:
        for change, result, error in outcomes:
            self._held -= change.size
            if change.done.done():
                continue
            if error is None:
                change.done.set_result(result)
            else:
                change.done.set_exception(error)

    def _too_much(self) -> UnavailableError:
        held = self._held
        return UnavailableError(
            "QUEUE_FULL",
            f"{held:,} images are waiting to be stored, for which the server takes about "
            f"{held * self._seconds_per_image:.2g} s; try again later",
            {"held": str(held), "capacity": str(self._capacity)},
            retry_after=min(10.0, max(0.05, held * self._seconds_per_image)),
        )


def _stopping() -> UnavailableError:
    return UnavailableError("DRAINING", "the server is shutting down; another may be there already", retry_after=1.0)
