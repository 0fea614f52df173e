"""Move a job's pending items to the server: several batches in flight, memory bounded, restarts ridden out.

Each worker takes items from the journal, reads their images, sends them, and commits the answer before it takes more.
A worker holds one batch of images (`MAX_BATCH_BYTES`, and the few that are being read), whatever the job's size.

How near is too near depends on all classes of a gallery, and a half-filled one finds too many too close. So once all
else is in, what was refused for its neighbors alone is offered once more, and what was warned of them is checked once
more. What is found then stands.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial

from exemplar import (
    AsyncClient,
    DeadlineExceededError,
    Enrolled,
    Enrollment,
    ExemplarError,
    ExemplarWarning,
    Part,
    Region,
    UnavailableError,
    WarningKind,
)
from exemplar_indexer.images import ImageUnreadableError, read_image
from exemplar_indexer.items import Item
from exemplar_indexer.journal import Journal
from exemplar_indexer.outcomes import Note, Outcome
from exemplar_indexer.reach import ANYWHERE, Reach
from exemplar_indexer.readers import Readers

MAX_BATCH_BYTES = 8 * 1024 * 1024

# Images of one batch that are read at the same time; it matters for URLs.
_READ_AHEAD = 8
_MOST_READERS = 32

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0

# Errors that say nothing of the items: the same may be accepted later.
_FOR_NOW = (UnavailableError, DeadlineExceededError)

# Warnings that depend on a gallery's other classes.
_OF_NEIGHBORS = frozenset({str(WarningKind.DUPLICATE), str(WarningKind.TOO_CLOSE)})

# The warning about a class that is in, and of which those could not be had once more: the next run tries it.
_UNCHECKED = "CHECK_FAILED"

# A server may be set to smaller batches or messages than this job's.
_TOO_LARGE = frozenset({"BATCH_TOO_LARGE", "MESSAGE_TOO_LARGE"})

# A request that is refused with one of these may owe it to a single item: the rest has a right to be taken.
_OF_ONE_ITEM = frozenset({"INVALID_ARGUMENT", "INTERNAL", "UNKNOWN"})


@dataclass(frozen=True)
class Delivery:
    """How a job's items are sent, and where to.

    Attributes:
        gallery: Id of the gallery.
        batch_size: Classes a request, 1 to 256.
        in_flight: Requests at a time.
        strict: Refuse exemplars that have warnings.
        patience: Seconds for which a batch is offered to a server that does not answer.
    """

    gallery: str
    batch_size: int = 64
    in_flight: int = 4
    strict: bool = False
    patience: float = 120.0


@dataclass(frozen=True)
class Loaded:
    """An item with its image's bytes."""

    item: Item
    content: bytes

    def image(self) -> bytes | Part:
        """Return what is to be enrolled of it."""
        return Part(self.content, Region.parse(self.item.region)) if self.item.region else self.content


class Pipeline:
    """Run a job's pending items; whatever ends it, the journal holds what was acknowledged."""

    def __init__(
        self,
        client: AsyncClient,
        journal: Journal,
        delivery: Delivery,
        on_progress: Callable[[Sequence[Outcome]], None],
        reach: Reach = ANYWHERE,
    ) -> None:
        """Prepare a run; `on_progress` gets each batch's outcomes after they are committed, `reach` bounds reads."""
        self._client = client
        self._journal = journal
        self._delivery = delivery
        self._on_progress = on_progress
        self._reach = reach
        self._readers = Readers(min(_READ_AHEAD * delivery.in_flight, _MOST_READERS))
        self._taken = 0
        self._filling = True

    async def run(self) -> None:
        """Enroll every pending item, and judge again what a half-filled gallery found too close to another.

        Raises:
            ExemplarError: The server refused all alike, or did not answer for as long as the job's patience.
        """
        with self._readers:
            await self._at_once(self._enroll_pending)
            self._filling = False
            await self._at_once(self._enroll_pending)
            await self._at_once(self._check_warned)

    async def _at_once(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        self._taken = 0
        workers = [asyncio.create_task(work()) for _ in range(self._delivery.in_flight)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _enroll_pending(self) -> None:
        while items := self._take(self._journal.pending):
            async for batch in self._batches(items):
                self._commit(await self._send(batch))

    async def _check_warned(self) -> None:
        while items := self._take(partial(self._journal.warned, _OF_NEIGHBORS | {_UNCHECKED})):
            for item in items:
                read = await self._read(item)
                if isinstance(read, Loaded):  # else it is gone since it was enrolled, and what was found stands
                    self._journal.warn(item.class_id, await self._check(read))

    def _take(self, rows_after: Callable[[int, int], list[tuple[int, Item]]]) -> list[Item]:
        rows = rows_after(self._taken, self._delivery.batch_size)
        if rows:
            self._taken = rows[-1][0]
        return [item for _, item in rows]

    def _commit(self, outcomes: Sequence[Outcome]) -> None:
        self._journal.acknowledge(outcomes)
        self._on_progress(outcomes)

    async def _batches(self, items: Sequence[Item]) -> AsyncIterator[list[Loaded]]:
        batch: list[Loaded] = []
        size = 0
        for start in range(0, len(items), _READ_AHEAD):
            reads = (self._read(item) for item in items[start : start + _READ_AHEAD])
            for read in await asyncio.gather(*reads):
                if isinstance(read, Outcome):
                    self._commit([read])
                    continue
                if batch and size + len(read.content) > MAX_BATCH_BYTES:
                    yield batch
                    batch, size = [], 0
                batch.append(read)
                size += len(read.content)
        if batch:
            yield batch

    def _read(self, item: Item) -> asyncio.Future[Loaded | Outcome]:
        return asyncio.wrap_future(self._readers.submit(_read, item, self._reach))

    async def _send(self, batch: Sequence[Loaded]) -> list[Outcome]:
        """Enroll a batch, and offer what the server cannot take now again until the job's patience ends.

        A refusal that may be owed to one item has the batch halved until the item stands alone and fails alone.
        """
        outcomes: list[Outcome] = []
        patience = _Patience(self._delivery.patience)
        while True:
            try:
                answers = await self._enroll(batch)
            except _FOR_NOW as error:
                answers = [error] * len(batch)
            except ExemplarError as error:
                if not _may_be_of_one_item(error):
                    raise
                if len(batch) == 1:
                    return [*outcomes, _outcome(batch[0].item, error)]
                half = len(batch) // 2
                return outcomes + await self._send(batch[:half]) + await self._send(batch[half:])
            pairs = list(zip(batch, answers, strict=True))
            outcomes += [
                _outcome(loaded.item, answer)
                for loaded, answer in pairs
                if not isinstance(answer, _FOR_NOW) and not (self._filling and _too_close(answer))
            ]
            left = [(loaded, answer) for loaded, answer in pairs if isinstance(answer, _FOR_NOW)]
            if not left:
                return outcomes
            batch = [loaded for loaded, _ in left]
            await patience.wait(left[0][1])

    async def _check(self, loaded: Loaded) -> list[Note]:
        """Return the warnings about an enrolled item as its gallery is now."""
        item, patience = loaded.item, _Patience(self._delivery.patience)
        while True:
            try:
                found = await self._client.check(
                    loaded.image(), gallery=self._delivery.gallery, class_id=item.class_id
                )
            except _FOR_NOW as error:
                await patience.wait(error)
            except ExemplarError as error:
                if not _may_be_of_one_item(error):
                    raise
                message = f"it is in, but was near another class, and how near could not be checked: {error.message}"
                return [Note("warning", item.class_id, item.image, item.place, error.code, _UNCHECKED, message)]
            else:
                return _notes(item, found.warnings)

    async def _enroll(self, batch: Sequence[Loaded]) -> list[Enrolled | ExemplarError]:
        wanted = [
            Enrollment(each.item.class_id, each.image(), each.item.display_name, each.item.attributes)
            for each in batch
        ]
        return await self._client.enroll_many(self._delivery.gallery, wanted, strict=self._delivery.strict)


class _Patience:
    """The pauses between tries, longer and longer, until there have been enough."""

    def __init__(self, seconds: float) -> None:
        self._give_up = time.monotonic() + seconds
        self._pause = _FIRST_PAUSE

    async def wait(self, failure: ExemplarError) -> None:
        """Pause after a failure, or raise it where patience has ended."""
        if time.monotonic() > self._give_up:
            raise failure
        await asyncio.sleep(max(failure.retry_after or 0.0, self._pause * random.uniform(0.5, 1.0)))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


def _read(item: Item, reach: Reach) -> Loaded | Outcome:
    try:
        return Loaded(item, read_image(item.image, reach=reach))
    except ImageUnreadableError as error:
        return Outcome.failed(item, "IMAGE_UNREADABLE", str(error))


def _outcome(item: Item, answer: Enrolled | ExemplarError) -> Outcome:
    if isinstance(answer, ExemplarError):
        return Outcome.failed(item, answer.reason, answer.message, answer.code)
    return Outcome(item.class_id, True, _notes(item, answer.warnings))


def _may_be_of_one_item(error: ExemplarError) -> bool:
    return error.code in _OF_ONE_ITEM or error.reason in _TOO_LARGE


def _too_close(answer: Enrolled | ExemplarError) -> bool:
    """Return whether an item was refused for nothing but its neighbors."""
    if not isinstance(answer, ExemplarError) or answer.reason != "EXEMPLAR_REFUSED":
        return False
    return _OF_NEIGHBORS.issuperset(answer.metadata.get("warnings", "").split(","))


def _notes(item: Item, warnings: Sequence[ExemplarWarning]) -> list[Note]:
    return [
        Note("warning", item.class_id, item.image, item.place, "", warning.kind, warning.message)
        for warning in warnings
    ]
